"""Which fields of the loop's records are state, and why the others are not.

What is not named here is state: it is hashed, kept and put back by its name, so that a field that somebody
adds counts from the first run on. Left out is what says where something stands in memory, how much room
there is, what follows from the configuration or from definitions, and what only counts within a step. A
reference to a slot is never state: it is kept as the number of the order or timer that stands there.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np

from engine.execution.accounting import HOLDING
from engine.execution.state import (
    ASSET,
    DELIVERY,
    EQUITY,
    FEE_TABLE,
    FEE_TIER,
    INSTRUMENT,
    ITEM,
    JOURNAL,
    MARKET,
    ORDER,
    STATE,
    STREAM,
    TERMS,
)
from engine.loop.made_bars import MADE
from engine.loop.tables import NUMBER, REFUSAL, TIMER, TRACK, WISH
from engine.market.aggregate import AGGREGATE
from engine.market.book import LEVEL, NOTE, SIDE
from engine.market.orders_book import ENTRY, TABLE

_OUT = tuple(name for name in STATE.names or () if name.startswith(("out_", "told_", "fail_")))
_RUN = tuple(name for name in STATE.names or () if name.startswith("run_"))

# Record -> reason -> fields. A record that is left out altogether has "*".
LEFT_OUT: dict[str, dict[str, tuple[str, ...]]] = {
    "STATE": {
        "the rows at hand": STREAM.names or (),
        "where the input stands; kept beside the state": ("cause_seq",),
        "addresses": (
            *("venue_streams", "markets", "latency_table", "deliveries", "instruments", "sides", "notes"),
            *("assets", "orders", "items", "heap", "journal", "equity", "tracks", "numbers", "wishes"),
            *("timers", "refusals", "make_room", "log_line", "operations", "strategy", "strategy_record"),
            *("visible", "column_interval", "terms", "order_tables", "fee_tables", "fee_tiers", *_RUN),
        ),
        "room": (
            *("delivery_capacity", "note_capacity", "note_free", "note_free_count", "order_capacity"),
            *("order_free", "item_capacity", "item_free", "item_free_count", "journal_capacity"),
            *("equity_capacity", "widest_side", "number_mask", "timer_capacity", "timer_free"),
            "refusal_capacity",
        ),
        "lists, kept as what is in them": ("live_head", "live_tail", "visible_count"),
        "how many there are, which the arrays say": (
            *("venue_stream_count", "instrument_count", "asset_count", "delivery_count", "delivery_next"),
            *("journal_count", "equity_count", "refusal_count", "terms_count"),
            *("fee_table_count", "fee_tier_count"),
        ),
        "the configuration": (
            *("own_clock", "feed_latency", "entry_latency", "response_latency", "latency_rows", "seen"),
            *("account_type", "collar_millionths", "queue_model", "queue_power", "row_by_row", "consume"),
            *("share_trades", "set_apart_late", "unseen_is_empty", "whole_through", "whole_fills"),
            *("post_only_expires", "remainder_expires", "stop_must_wait", "sample_ns", "bar_latency"),
            *("slippage_rate", "slippage_drawn", "leverage_millionths"),
        ),
        "the strategy's handlers": ("quiet_accepts", "strategy_handlers"),
        "within a step": (
            *(*_OUT, "message_trades", "trigger", "trigger_id", "link_head", "link_tail"),
            *("next_stop", "next_trail", "next_expires", "next_parent", "next_group"),
            *("bar_begun", "bars_matched", "special_row"),
            # It tells one message from those before it, and is the same for none of these: how many went the
            # general way depends on where batches end.
            "message_number",
        ),
    },
    "INSTRUMENT": {
        "its definition": (
            *("tick", "lot", "min_size", "max_size", "min_notional", "decimals", "price_decimals"),
            *("size_decimals", "match_on", "has_trades", "tradable", "stop_source", "by_order"),
        ),
        "kept as the calendar's rows": ("sessions", "session_count"),
        "the configuration": (
            *("slippage_ticks", "position_cap", "fee_plan", "fee_mode", "fee_table", "buy_rate", "sell_rate"),
            *("buy_unit_fee", "sell_unit_fee", "most_unit_fee", "fill_fee"),
        ),
        "what the tier of its fee table says": ("maker_rate", "taker_rate"),
        "found anew among the definitions": ("fee_asset", "fee_priced_by"),
        "the strategy's handlers": ("want",),
        "references, kept as what they mean": (
            *("asset", "waiting_head", "waiting_tail", "stop_head", "stop_tail", "bar_head", "bar_tail"),
        ),
    },
    "MARKET": {},
    "ASSET": {"found anew among the definitions": ("priced_by",)},
    "FEE_TABLE": {"the configuration": ("tier_end",)},
    "FEE_TIER": {"the configuration": ("*",)},
    "AGGREGATE": {
        "what the words say that asked for it": ("kind",),
        "a bar that is made already": tuple(n for n in AGGREGATE.names or () if n.startswith("last_")),
    },
    "MADE": {"within a step": ("*",)},
    "ORDER": {
        "references, kept as what they mean": (
            *("instrument", "next", "previous", "partner", "partner_generation"),
            *("child", "child_generation"),
        ),
        "what tells an order from those before it in its slot": ("generation",),
        "within a step": ("next_link", "in_links"),
    },
    "TRACK": {"references, kept as the order of the orders": ("next", "previous")},
    "ITEM": {
        "references, kept as what they mean": ("slot", "generation", "next"),
    },
    "WISH": {},
    "TIMER": {"references, kept as what they mean": ("word", "next")},
    "SIDE": {
        "addresses": ("sizes", "notes", "shown", "noted", "stale", "far"),
        "the ladder's layout": (
            *("width", "base", "unit", "reach", "inverse", "best", "laid", "far_count", "far_capacity"),
            "misses",
        ),
    },
    "LEVEL": {"within a step": ("stale",), "references, kept as what they mean": ("note",)},
    "NOTE": {
        "references, kept as what they mean": ("head", "tail", "next"),
        "within a step": ("before", "message"),
    },
    "ENTRY": {"within a step": ("picture",)},
    "TABLE": {
        "addresses": ("entries",),
        "room": ("capacity", "shift"),
        "how many there are, which the entries say": ("count",),
        "within a step": ("picture", "in_picture", "touched"),
    },
    "HOLDING": {},
    "NUMBER": {"made from the live orders": ("*",)},
    "REFUSAL": {"taken out before the state is kept": ("*",)},
    "JOURNAL": {"taken out before the state is kept": ("*",)},
    "TERMS": {"taken out before the state is kept": ("*",)},
    "EQUITY": {"taken out before the state is kept": ("*",)},
    "DELIVERY": {"the rows at hand": ("*",)},
    "STREAM": {"the rows at hand; kept as how far each stream has come": ("*",)},
}
RECORDS: dict[str, np.dtype[Any]] = {
    "STATE": STATE,
    "INSTRUMENT": INSTRUMENT,
    "MARKET": MARKET,
    "ASSET": ASSET,
    "ORDER": ORDER,
    "TRACK": TRACK,
    "ITEM": ITEM,
    "WISH": WISH,
    "TIMER": TIMER,
    "SIDE": SIDE,
    "LEVEL": LEVEL,
    "NOTE": NOTE,
    "ENTRY": ENTRY,
    "TABLE": TABLE,
    "FEE_TABLE": FEE_TABLE,
    "FEE_TIER": FEE_TIER,
    "AGGREGATE": AGGREGATE,
    "MADE": MADE,
    "HOLDING": HOLDING,
    "NUMBER": NUMBER,
    "REFUSAL": REFUSAL,
    "JOURNAL": JOURNAL,
    "TERMS": TERMS,
    "EQUITY": EQUITY,
    "DELIVERY": DELIVERY,
    "STREAM": STREAM,
}
# Fields that mean something only while another one is set; what an order before left there is not state.
ONLY_WHILE = {"queue_front": "resting", "queue_traded": "resting"}
# The same of an order that rests in a book by order: its place in the queue.
IN_QUEUE = (
    *("ahead", "joined", "joined_stamp", "matched", "matched_stamp", "matched_message", "blind", "hidden"),
)
# Fields that hold an order's slot, and the fields that say which of the orders that stood there is meant.
SLOTS = {"partner": "partner_generation", "child": "child_generation"}
# What is asked of such an order when it is over.
LEFT_OF_ORDER = {"partner": ("venue_filled", "venue_state"), "child": ()}
# Lists of orders, by instrument: the fields where they begin and end. They go through `next`.
LISTS = {
    "waiting": ("waiting_head", "waiting_tail"),
    "stopped": ("stop_head", "stop_tail"),
    "on bars": ("bar_head", "bar_tail"),
}
ONE_WAY = {"waiting"}  # lists without a way back


def kept_fields(record: str) -> tuple[str, ...]:
    """The fields of a record that are state, in the record's order; padding is none."""
    left_out = {name for names in LEFT_OUT[record].values() for name in names}
    if "*" in left_out:
        return ()
    names = RECORDS[record].names or ()
    return tuple(name for name in names if name not in left_out and not name.startswith("pad"))


def layout() -> str:
    """What tells one engine's fields from another's: a state can only be put back where it is the same."""
    names = ";".join(f"{record}={','.join(kept_fields(record))}" for record in RECORDS)
    return blake2b(names.encode(), digest_size=8).hexdigest()


def rows_of(record: str, array: Any) -> list[dict[str, Any]]:
    """The records of an array as plain values, their kept fields by name."""
    names = kept_fields(record)
    columns = [array[name].tolist() for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def put_rows(record: str, array: Any, rows: list[dict[str, Any]]) -> None:
    """Write what `rows_of` gave into the first records of an array."""
    for name in kept_fields(record):
        if rows:
            array[name][: len(rows)] = [row[name] for row in rows]
