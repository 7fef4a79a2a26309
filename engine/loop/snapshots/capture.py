"""The engine's state as plain values, in an order that nothing of a process decides.

A tree of dicts, lists, numbers, texts and bytes. Equal states give equal bytes: however much room the
arrays have, wherever orders, notes and agenda items stand in them, however the input was cut, and whichever
form of the strategy ran. Slots are spoken of by the number of the order or timer in them, instruments and
assets by their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from engine.execution.state import ITEM_TIMER, SIDES_EACH
from engine.loop.snapshots.displayed import tables_of
from engine.loop.snapshots.fields import (
    IN_QUEUE,
    LEFT_OF_ORDER,
    LISTS,
    ONLY_WHILE,
    SLOTS,
    kept_fields,
    layout,
    rows_of,
)
from engine.loop.snapshots.sides import side_of
from engine.model.kinds import Flag
from engine.model.words import text_of

if TYPE_CHECKING:
    from engine.loop.memory import Memory
    from engine.loop.run import Runner

_LAST = int(Flag.LAST)
_encode = msgspec.msgpack.Encoder(order="sorted").encode


def engine_bytes(tree: dict[str, Any]) -> bytes:
    """The tree as bytes: msgpack, keys sorted."""
    return _encode(tree)


def engine_state(runner: Runner) -> dict[str, Any]:
    """Everything but the strategy's own fields that decides what a run does from here on.

    The runner stands between two messages, what it has decided has been taken out of the kernels' memory.
    """
    memory = runner.memory
    state = memory.state[0]
    slots = live_slots(memory)
    keys = runner.keeper.keys
    orders = _orders(memory, slots, keys)
    numbers = memory.orders["number"].tolist()
    following = memory.orders["next"].tolist()
    own_clock = bool(state["own_clock"])
    live = {order["number"] for order in orders}
    tree: dict[str, Any] = {
        "loop": {name: int(state[name]) for name in kept_fields("STATE")},
        "assets": dict(zip(asset_labels(memory), rows_of("ASSET", memory.assets), strict=True)),
        "fee_tables": dict(
            zip(fee_table_names(memory), rows_of("FEE_TABLE", memory.fee_plans.tables), strict=True)
        ),
        "instruments": [
            {
                "definition": msgspec.to_builtins(who),
                "asset": memory.asset_names[int(memory.instruments[who.index]["asset"])],
                "lists": {
                    name: _chain(int(memory.instruments[who.index][head]), numbers, following)
                    for name, (head, _) in LISTS.items()
                },
                "markets": rows_of("MARKET", memory.markets[2 * who.index :][: 1 + own_clock]),
                "sides": [
                    side_of(memory.books, k, numbers, following)
                    for k in range(SIDES_EACH * who.index, SIDES_EACH * who.index + (4 if own_clock else 2))
                ],
                "displayed": tables_of(memory.order_tables, who.index, 1 + own_clock),
                "target": rows_of("WISH", memory.tables.wishes[who.index : who.index + 1])[0],
                **row,
            }
            for who, row in zip(
                runner.registry.instruments, rows_of("INSTRUMENT", memory.instruments), strict=True
            )
        ],
        "orders": orders,
        "agenda": _agenda(memory, set(slots), numbers),
        "timers": _timers(memory),
        "refusals": {str(n): words for n, words in sorted(runner.keeper.refusals.items()) if n in live},
        "follows": [who.key for who in runner.context.visible],
        "ledger": runner.ledger.kept(keys),
        "sessions": memory.sessions,
        "charges": runner.charges.kept(),
        "questions": runner.asking.kept(),
        "bars": runner.context.series.kept(),
        "rows": {name: value for name, value in runner.special.kept().items() if name != "sources"},
    }
    if runner.venue_clock is not None:
        tree["venues"] = runner.venue_clock.kept()["venues"]
    return tree


def surroundings(runner: Runner) -> dict[str, Any]:
    """What else a run needs to go on: where it stands in its input, and what a report will say of it."""
    clock = runner.venue_clock.kept() if runner.venue_clock is not None else {}
    return {
        "layout": layout(),
        "rows": runner.told,
        "messages": runner.messages - sum(int((batch.flags & _LAST).sum()) for batch, _ in runner.waiting),
        "first_ts": runner.first_ts,
        "last_ts": runner.last_ts,
        "cause_seq": runner.memory.get("cause_seq"),
        "file": runner.memory.get("file"),
        "places": sorted(runner.places.items()),
        "sources": runner.special.kept()["sources"],
        "clock": {name: value for name, value in clock.items() if name != "venues"},
    }


def asset_labels(memory: Memory) -> list[str]:
    """What assets are called in a state: fees may be charged in one that something is quoted in as well."""
    charged = set(memory.fee_plans.assets.values())
    return [f"{name}, for fees" if n in charged else name for n, name in enumerate(memory.asset_names)]


def fee_table_names(memory: Memory) -> list[str]:
    """Of whose fills the tables of fees are: all venues', then those of single ones."""
    return ["all venues", *memory.config.venue_fees]


def live_slots(memory: Memory) -> list[int]:
    """Slots of the live orders, oldest first."""
    following = memory.tables.tracks["next"].tolist()
    slots = []
    slot = memory.get("live_head")
    while slot >= 0:
        slots.append(slot)
        slot = following[slot]
    return slots


def _orders(memory: Memory, slots: list[int], keys: list[str]) -> list[dict[str, Any]]:
    rows = rows_of("ORDER", memory.orders[slots])
    for row, track, index in zip(
        rows,
        rows_of("TRACK", memory.tables.tracks[slots]),
        memory.orders["instrument"][slots].tolist(),
        strict=True,
    ):
        row["track"] = track
        row["instrument"] = keys[index]
        for name, condition in ONLY_WHILE.items():
            if not row[condition]:
                row[name] = 0.0
        _queue_place(row, by_order=bool(memory.instruments[index]["by_order"]))
    live = set(slots)
    for name, generation in SLOTS.items():
        for row, slot, meant in zip(
            rows, memory.orders[name][slots].tolist(), memory.orders[generation][slots].tolist(), strict=True
        ):
            row[name] = _other(memory, live, name, slot, meant)
    return rows


def _queue_place(row: dict[str, Any], *, by_order: bool) -> None:
    """An order's place in a book by order, without what nobody will look at again."""
    if not (by_order and row["resting"]):
        row.update(dict.fromkeys(IN_QUEUE, 0))
        return
    # Of a trade that came with rows of its book only counts that its message is over.
    told = row["matched"] > 0 and row["matched_message"] != 0
    row["matched_message"] = int(told)
    if told or not row["matched"]:
        row["matched_stamp"] = 0


def _other(memory: Memory, live: set[int], field: str, slot: int, generation: int) -> dict[str, int] | None:
    """The order that another one is linked to; of one that is over, what is still asked of it."""
    if slot < 0:
        return None
    order = memory.orders[slot]
    if slot in live and order["generation"] == generation:
        return {"number": int(order["number"])}
    mine = slot not in live and order["generation"] == generation + 1  # nobody else has stood there since
    return {"number": 0, **{name: int(order[name]) if mine else 0 for name in LEFT_OF_ORDER[field]}}


def _chain(slot: int, numbers: list[int], following: list[int]) -> list[int]:
    found = []
    while slot >= 0:
        found.append(numbers[slot])
        slot = following[slot]
    return found


def _agenda(memory: Memory, live: set[int], numbers: list[int]) -> list[dict[str, Any]]:
    """What is due, in the order in which it will be; `order` is 0 where it is about none that is live."""
    items = memory.items[memory.heap[: memory.get("agenda_count")]]
    items = items[np.lexsort((items["creation"], items["rank"], items["due"]))]
    rows = rows_of("ITEM", items)
    generations = memory.orders["generation"].tolist()
    for row, slot, generation in zip(rows, items["slot"].tolist(), items["generation"].tolist(), strict=True):
        there = slot in live and generations[slot] == generation
        row["order"] = numbers[slot] if there else 0
        if row["kind"] == ITEM_TIMER:
            row["size"] = 0  # its timer's slot
    return rows


def _timers(memory: Memory) -> list[dict[str, Any]]:
    timers = memory.tables.timers
    timers = timers[timers["number"] > 0]
    timers = timers[np.argsort(timers["number"])]
    rows = rows_of("TIMER", timers)
    for row, word in zip(rows, timers["word"].tolist(), strict=True):
        row["name"] = text_of(word)
    return rows
