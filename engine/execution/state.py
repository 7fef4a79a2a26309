"""Everything the loop knows, as NumPy records in memory that kernels reach by address.

One STATE record holds counters, settings and the addresses of all arrays. Fields come by descending size
with explicit pads, always zeroed, so that a copy of the bytes is a snapshot. No record holds a Python
object.
"""

from __future__ import annotations

import numpy as np

from engine.model import jit

COLUMNS = ("ts", "ts_venue", "kind", "flags", "instrument", "side", "price", "size", "id", "part", "source")

# A stream of rows through the kernels: their columns, and where it stands. The state record begins with the
# one that the strategy is told of; with a clock of the venue's own there is another one before it.
_STREAM = [f"column_{name}" for name in COLUMNS] + [
    "column_time",  # address of the times that the stream runs by
    "rows",  # in this batch
    "row",  # next to be applied
    "first_seq",
    "file",
    "offset",  # of the sides it is laid into: 0 the venue's, 2 those of the strategy
    "matches",  # 1: orders of ours meet what it brings
    "told",  # 1: the strategy is told of it
    "ended",  # 1: no more rows will come
    "known_until",  # before this time all its rows are known
    "last_time",  # of the rows given to it so far
    "here",  # address of this record
    "seqs",  # address of the rows' numbers in the log; 0: they follow each other from first_seq on
]
STREAM = np.dtype([(name, "<i8") for name in _STREAM])
STATE = np.dtype(
    [(name, "<i8") for name in _STREAM]
    + [
        (name, "<i8")
        for name in (
            "now",
            "cause_seq",  # last row of the message applied last
            "own_clock",  # 1: the venue has a clock of its own; rows meet orders at `ts_venue`
            "venue_streams",  # address of STREAM[venue_stream_count]
            "venue_stream_count",
            "markets",  # address of MARKET[2 * instrument_count]
            "feed_latency",  # that a received row is old; 0 with `own_clock`
            "entry_latency",
            "response_latency",
            "latency_table",  # address of int64[3 * latency_rows]: sent, at the venue, answered
            "latency_rows",  # 0: latencies are constant
            "last_arrival",  # of what was sent, at the venue
            "last_heard",
            # what is to be delivered of this batch
            "deliveries",  # address of DELIVERY[]
            "delivery_count",
            "delivery_capacity",
            "delivery_next",
            # arrays
            "instruments",
            "instrument_count",
            "sides",
            "seen",  # offset of the sides that the strategy sees: 0, or 2 with `own_clock`
            "notes",
            "note_capacity",
            "note_free",
            "note_free_count",
            "assets",
            "asset_count",
            "orders",
            "order_capacity",
            "order_free",  # head of the free list, -1: none
            "live_orders",
            "waiting_orders",  # of them: at a venue whose book is in doubt
            "message_trades",  # trades of the message that is applied
            "items",
            "item_capacity",
            "item_free",
            "item_free_count",
            "heap",
            "agenda_count",
            "venue_items",  # agenda entries that are not timers
            "journal",
            "journal_count",
            "journal_capacity",
            "equity",
            "equity_count",
            "equity_capacity",
            "widest_side",  # levels that the largest book side can hold
            # counters
            "creation",
            "order_number",
            "decisions",
            # settings
            # terms of the order that is sent next, beside its price; zeroed when it has been
            "next_stop",
            "next_trail",
            "next_expires",
            "next_parent",  # number of its bracket's entry
            "next_group",  # number of the first of those that cancel each other
            # orders whose fill or end concerns those that they are linked to, until that is done
            "linked_orders",  # live ones
            "stop_orders",  # live ones, triggered or not
            "link_head",
            "link_tail",
            "terms",  # address of TERMS[journal_capacity], beside the journal
            "terms_count",
            "account_type",  # ACCOUNT_*
            "collar_millionths",
            "queue_model",  # engine.execution.queues
            "queue_power",
            # rules of the venue, as the profile has them; 1: so
            "row_by_row",  # every row is a step of the matching
            "consume",  # what we took of a displayed size stays taken
            "share_trades",  # one trade's size is shared by our orders
            "set_apart_late",  # a trade that the book already shows moves no queue
            "unseen_is_empty",  # a price that the venue never showed has nothing before us
            "whole_through",  # a trade beyond our price fills all that is left of the order
            "whole_fills",  # a match fills all that is left of the order, whatever was displayed or traded
            "post_only_expires",
            "remainder_expires",  # of IOC and FOK
            "stop_must_wait",  # a stop that would trigger on arrival is rejected
            "trading_state",  # 0 active, 1 halted
            "sample_ns",
            "quiet_accepts",  # 1: nobody wants to hear that an order was accepted
            "next_sample",
            "trigger",  # what the strategy is being called for: 0 message, 1 report, 2 timer, 3 start, 4 stop
            "trigger_id",
            # what a kernel hands back
            "out_event",
            "out_slot",
            "out_number",
            "out_instrument",
            "out_side",
            "out_size",
            "out_price",
            "out_fee",
            "out_notional",
            "out_reason",
            "out_state",
            "out_filled",
            "out_order_size",
            "out_maker",
            "out_timer",
            "out_due",
            "out_first",
            "out_last",
            "out_need",
            # what the loop keeps beside orders (engine.loop.tables)
            "tracks",  # address of TRACK[order_capacity]: live orders, oldest first
            "live_head",
            "live_tail",
            "numbers",  # address of NUMBER[]: order number -> slot
            "number_mask",
            "wishes",  # address of WISH[instrument_count]
            "timers",  # address of TIMER[timer_capacity]
            "timer_capacity",
            "timer_free",
            "timer_numbers",  # given so far
            "refusals",  # address of REFUSAL[refusal_capacity]: what their words need
            "refusal_count",
            "refusal_capacity",
            "stopped",  # 1: the strategy has been stopped
            "random_high",  # PCG64
            "random_low",
            "random_step_high",
            "random_step_low",
            "instant",  # time of the last report or timer, and how many there were at it
            "instant_calls",
            "out_word",  # of a timer's name
            "out_status",  # of a compiled handler that failed, and which
            "out_handler",
            # kernels that others call by their address, so that each is compiled once
            "run_plain",
            "run_step",
            "run_due",
            "run_enter",
            "run_links",
            "run_crossed",
            "run_trade",
            "run_stops",
            "run_fill",
            "run_bars",
            "run_orders",
            "run_sample",
            "run_submit",
            "run_amend",
            "run_advance",
            # a compiled strategy; addresses of this process, part of no snapshot
            "make_room",  # function: room for what a kernel lacks
            "log_line",  # function: a line of the strategy's own
            "operations",  # address of addresses of functions that the strategy calls
            "strategy",  # function, 0: the strategy is interpreted
            "strategy_record",
            "strategy_handlers",  # bit per handler that is compiled
            "visible",  # address of int64[]: instruments that the strategy follows
            "visible_count",
            "column_interval",  # of bars, where it is wanted
            # the report that the strategy is being told of
            "told_event",
            "told_slot",
            "told_number",
            "told_instrument",
            "told_side",
            "told_size",
            "told_price",
            "told_fee",
            "told_notional",
            "told_reason",
            "told_state",
            "told_filled",
            "told_order_size",
            "told_maker",
            "told_order_price",
            "special_row",  # where the next message begins that Python has to read a row of
            "fail_a",  # what a failure of a compiled handler was about
            "fail_b",
            # books by order
            "order_tables",  # address of TABLE[2 * instrument_count]: orders at the venue, and as seen
            "message_number",  # of the message that is applied, among those that take the general way
            # fees, slippage, margin
            "fee_tables",  # address of FEE_TABLE[fee_table_count]
            "fee_table_count",
            "fee_tiers",  # address of FEE_TIER[fee_tier_count]
            "fee_tier_count",
            "slippage_rate",  # 1e-9 of the price; 0: the model is one of ticks
            "slippage_drawn",  # 1: the slippage is drawn, up to the model's amount
            "slippage_high",  # PCG64 of its own
            "slippage_low",
            "slippage_step_high",
            "slippage_step_low",
            "leverage_millionths",  # of a margin account
            "out_fee_asset",
            "told_fee_asset",
            # bars
            "bar_latency",  # 1: orders on bars have the latencies of all others; else none
            "bar_begun",  # while a bar meets orders: when it began; else 0
            "bar_orders",  # on the lists of instruments that are matched on bars
            "bars_matched",  # last row of the message whose bars have met them; the batch's own count
        )
    ]
)

INSTRUMENT = np.dtype(
    [
        (name, "<i8")
        for name in (
            # what every row asks for, side by side: of many instruments few are in the cache
            "match_on",  # MATCH_*
            "has_trades",  # plain trades are recorded, so aggregates are not used
            "want",  # bit per handler
            "resting",  # orders of ours in the book
            "stops",  # orders of ours that wait for a trigger
            "stop_source",  # STOP_*
            "watch_above",  # a price of the source from here on concerns one of them,
            "watch_below",  # or from here down
            "by_order",  # 1: its BOOK rows state orders, not levels
            "bar_head",  # orders that meet bars, oldest first
            "tick",
            "lot",
            "min_size",
            "max_size",
            "min_notional",  # money
            "decimals",  # of price and size together
            "price_decimals",
            "size_decimals",
            "asset",  # of cash
            "tradable",
            "quote_bid",
            "quote_bid_size",
            "quote_ask",
            "quote_ask_size",
            "quote_seen",
            "position",  # as reported
            "venue_position",
            "open_buy",  # unfilled size of live orders, as the strategy knows them
            "open_sell",
            "waiting_head",  # orders that arrived while the book was bad
            "waiting_tail",
            "maker_rate",
            "taker_rate",
            "slippage_ticks",
            "position_cap",  # 0: none
            "stop_head",  # oldest of them
            "stop_tail",
            "sessions",  # address of int64[2 * session_count]: opens, closes, by time
            "session_count",
            "fee_plan",  # 0: a maker and a taker rate in the quote currency, and nothing else
            "fee_mode",  # FEE_IN_*: the asset that fees are charged in
            "fee_table",  # whose tiers count
            "buy_rate",  # surcharge on the notional of one side, 1e-9
            "sell_rate",
            "buy_unit_fee",  # money a base unit
            "sell_unit_fee",
            "most_unit_fee",  # of one fill, 0: no limit
            "fill_fee",  # money a fill
            "fee_asset",  # the named asset's ASSET
            "fee_priced_by",  # instrument that values it in the quote currency, -1: there is none
            "fee_price",  # its price when it was last looked at
            "fee_base",  # fees in units of 1e-8 of the base asset, as reported
            "venue_fee_base",
            "bar_tail",
        )
    ]
)
# What is known of an instrument's market at the venue, and by the strategy; both are one without `own_clock`.
MARKET = np.dtype(
    [
        (name, "<i8")
        for name in (
            "last_price",
            "depth_ts_venue",
            "depth_id",
            "book_bad",
            "resynchronise",  # the snapshot being applied ends a bad period
            "touched",  # by the message: 1, or 2 by a snapshot
            "mark",  # price of the last MARK row, 0: none
        )
    ]
)
# What a stop looks at: the last trade, the side that it would take, or MARK rows.
STOP_LAST, STOP_BID_ASK, STOP_MARK, STOP_BARS = range(4)
SIDES_EACH = 4  # bids and asks at the venue; bids and asks as the strategy sees them
MATCH_NONE, MATCH_BARS, MATCH_TRADES, MATCH_QUOTES, MATCH_BOOK = range(5)

ACCOUNT_RESEARCH, ACCOUNT_CASH, ACCOUNT_MARGIN = range(3)
FEE_IN_QUOTE, FEE_IN_RECEIVED, FEE_IN_NAMED, FEE_IN_BASE = range(4)
FEE_QUOTE, FEE_BASE, FEE_NAMED = range(3)  # the asset of one fill's fee, as the journal has it

ASSET = np.dtype(
    [
        (name, "<i8")
        for name in (
            "cash",
            "venue_cash",
            "locked",
            "venue_locked",
            "fees",
            "priced_by",  # instrument that values it in the run's currency, plus 1; 0: it is not counted
        )
    ]
)
# The fees of one venue: its tiers lie one after the other in the array of all.
FEE_TABLE = np.dtype([(name, "<i8") for name in ("turnover", "tier", "tier_end")])
FEE_TIER = np.dtype([(name, "<i8") for name in ("least", "maker", "taker")])

ORDER = np.dtype(
    [
        (name, "<i8")
        for name in (
            "number",
            "price",
            "size",  # as reported last; what a reduce-only order is cut to at the venue is not known before
            "venue_size",
            "venue_filled",
            "filled",
            "front",
            "locked",
            "venue_locked",
            "counted",
            "stop",  # trigger price as reported last, 0: none
            "venue_stop",
            "trail",  # distance of a trailing stop
            "expires",  # venue time, 0: never
            "parent",  # number of its bracket's entry, 0: none
            "group",  # number of the first of those that cancel each other, 0: none
            "allowance",  # of a bracket's child: how much its entry has filled
            "asked_size",  # largest size that an amendment on its way asks for
            # in a book by order, see engine.execution.order_queue
            "ahead",
            "joined",
            "joined_stamp",
            "matched",
            "matched_stamp",
            "matched_message",
            "blind",
            "hidden",
            "since",  # of an order on bars: when it arrived, 0: it is on no list
            "known_price",  # limit as reported last; `price` is the venue's
        )
    ]
    + [("queue_front", "<f8"), ("queue_traded", "<f8")]
    + [(name, "<i4") for name in ("instrument", "next", "previous", "generation")]
    + [
        (name, "<i4")
        for name in (
            "partner",  # slot of the order that it and this one cancel each other, -1: none
            "partner_generation",
            "child",  # slot of a bracket's first child, whose partner is the second; -1: none
            "child_generation",
            "next_link",  # in the list of those whose links are to be seen to
            "amendments",  # on their way
        )
    ]
    + [
        (name, "u1")
        for name in ("kind", "tif", "post_only", "reduce_only", "state", "venue_state", "resting")
    ]
    + [("side", "i1")]
    + [
        (name, "u1")
        for name in (
            "accepted",  # and that has been reported
            "triggered",
            "linked",  # has a partner or children
            "in_links",
            "reduced",  # by its partner's fill, which is to be reported
            "parent_over",
            "refused",  # by risk: it never left
            "pad_1",
        )
    ]
)
VENUE_TRAVELLING, VENUE_WAITING, VENUE_WORKING, VENUE_DONE, VENUE_HELD, VENUE_ARMED = range(6)

ITEM = np.dtype(
    [(name, "<i8") for name in ("due", "creation", "size", "price", "total", "fee", "notional", "id")]
    + [(name, "<i4") for name in ("slot", "generation", "next", "reason")]
    + [(name, "u1") for name in ("rank", "kind", "event", "maker", "fee_asset", "pad_1")]
    + [("pad_2", "<u2")]
)
RANK_ARRIVAL, RANK_REPORT, RANK_ANSWER, RANK_TIMER = range(4)
ITEM_ORDER, ITEM_CANCEL, ITEM_AMEND, ITEM_REPORT, ITEM_TIMER, ITEM_EXPIRY = range(1, 7)
ITEM_CHARGE = 16  # a day ends for whoever lends to us; like a timer, nothing at the venue

JOURNAL = np.dtype(
    [
        (name, "<i8")
        for name in (
            "number",
            "ts",
            "order",
            "price",
            "size",
            "fee",
            "cause_seq",
            "trigger_id",
        )
    ]
    + [("instrument", "<i4"), ("file", "<i4"), ("reason", "<u2")]
    + [(name, "u1") for name in ("kind", "order_kind", "tif", "options", "trigger", "price_decimals")]
    + [("size_decimals", "u1"), ("side", "i1"), ("maker", "u1"), ("fee_asset", "u1"), ("pad_4", "<u4")]
)

# What an order was sent or amended with beside its price, under the number of its decision; 0: not so.
TERMS = np.dtype([(name, "<i8") for name in ("decision", "stop", "trail", "expires", "parent", "group")])

DELIVERY = np.dtype([("handler", "<i8"), ("first", "<i8"), ("last", "<i8"), ("end", "<i8")])
EQUITY = np.dtype([("ts", "<i8"), ("equity", "<f8")])

state_at = jit.records_at(STATE)
stream_at = jit.records_at(STREAM)
markets_at = jit.records_at(MARKET)
instruments_at = jit.records_at(INSTRUMENT)
assets_at = jit.records_at(ASSET)
orders_at = jit.records_at(ORDER)
items_at = jit.records_at(ITEM)
heap_at = jit.records_at(np.dtype("<i4"))
journal_at = jit.records_at(JOURNAL)
terms_at = jit.records_at(TERMS)
fee_tables_at = jit.records_at(FEE_TABLE)
fee_tiers_at = jit.records_at(FEE_TIER)
deliveries_at = jit.records_at(DELIVERY)
equity_at = jit.records_at(EQUITY)
int64_at = jit.records_at(np.dtype("<i8"))
uint32_at = jit.records_at(np.dtype("<u4"))
uint16_at = jit.records_at(np.dtype("<u2"))
uint8_at = jit.records_at(np.dtype("u1"))
int8_at = jit.records_at(np.dtype("i1"))
