"""The engine's state out of its plain form, into a runner that has seen nothing yet.

Everything is laid out anew: orders stand in slots by their age, the agenda is sorted, ladders lie around
their best prices. Then the run goes on as it would have: nothing that decides depends on where things stand.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from engine.execution.state import ITEM_CHARGE, ITEM_TIMER, SIDES_EACH
from engine.loop.snapshots.capture import asset_labels, fee_table_names
from engine.loop.snapshots.displayed import put_tables
from engine.loop.snapshots.fields import LEFT_OF_ORDER, LISTS, ONE_WAY, SLOTS, put_rows
from engine.loop.snapshots.sides import lay
from engine.loop.tables import enter_all
from engine.model.errors import InternalError
from engine.model.instruments import Instrument
from engine.model.words import word_of

if TYPE_CHECKING:
    from engine.loop.memory import Memory
    from engine.loop.run import Runner

_GONE = -1  # generation of an order that no slot holds any more


def put_engine(runner: Runner, tree: dict[str, Any], rest: dict[str, Any]) -> None:
    """Put a state that `capture` took into a fresh runner. `rest`: its surroundings."""
    memory = runner.memory
    # Before the definitions, which take their rates from the tiers.
    put_rows("FEE_TABLE", memory.fee_plans.tables, [tree["fee_tables"][n] for n in fee_table_names(memory)])
    _instruments(runner, tree)
    for name, value in tree["loop"].items():
        memory.set(name, value)
    memory.set("message_number", 2)  # later than all that orders remember, which is 1
    labels = asset_labels(memory)
    if sorted(tree["assets"]) != sorted(labels):
        raise InternalError(f"the snapshot has the assets {', '.join(tree['assets'])}")
    put_rows("ASSET", memory.assets, [tree["assets"][name] for name in labels])
    slots = _orders(memory, tree, runner.keeper.keys)
    _books(memory, tree, slots)
    _agenda(memory, tree, slots, _timers(memory, tree))
    runner.keeper.refusals.update({int(number): words for number, words in tree["refusals"].items()})
    runner.ledger.put_back(tree["ledger"], runner.keeper.keys)
    runner.charges.put_back(tree["charges"])
    runner.asking.put_back(tree["questions"])
    runner.context.series.put_back(tree["bars"], runner.registry.instruments)
    runner.special.put_back({**tree["rows"], "sources": rest["sources"]})
    for key in tree["follows"]:
        runner.special.follow(runner.keeper.keys.index(key))
    if runner.venue_clock is not None:
        runner.venue_clock.put_back({"venues": tree["venues"], **rest["clock"]})
    memory.set("cause_seq", rest["cause_seq"])
    memory.set("file", rest["file"])
    runner.rows = runner.told = rest["rows"]
    runner.messages = rest["messages"]
    runner.first_ts, runner.last_ts = rest["first_ts"], rest["last_ts"]
    runner.places.update(map(tuple, rest["places"]))


def _instruments(runner: Runner, tree: dict[str, Any]) -> None:
    memory = runner.memory
    for kept in tree["instruments"]:
        instrument = msgspec.convert(kept["definition"], Instrument)
        runner.registry.put_back(instrument)
        memory.define(instrument, None)
        runner.keeper.keys.append(instrument.key)
        if runner.venue_clock is not None:
            runner.venue_clock.define(instrument)
    for venue, opens, closes in tree["sessions"]:
        memory.add_session(venue, opens, closes, runner.registry.instruments)
    put_rows("INSTRUMENT", memory.instruments, tree["instruments"])
    put_rows("WISH", memory.tables.wishes, [kept["target"] for kept in tree["instruments"]])
    for index, kept in enumerate(tree["instruments"]):
        put_rows("MARKET", memory.markets[2 * index :], kept["markets"])
        put_tables(memory.order_tables, index, kept["displayed"])


def _orders(memory: Memory, tree: dict[str, Any], keys: list[str]) -> dict[int, int]:
    """Orders into slots by age; the slots by number."""
    orders, tables = tree["orders"], memory.tables
    over = [order[name] for order in orders for name in SLOTS if order[name] and not order[name]["number"]]
    while len(memory.orders) < len(orders) + len(over):
        memory.grow_orders()
    # Orders that are over, but still linked to, stand in the last places, which no other gets.
    count, room = len(orders), len(memory.orders) - len(over)
    put_rows("ORDER", memory.orders, orders)
    put_rows("TRACK", tables.tracks, [order["track"] for order in orders])
    records, tracks = memory.orders, tables.tracks
    records["instrument"][:count] = [keys.index(order["instrument"]) for order in orders]
    records["next"][:count] = records["previous"][:count] = -1
    records["next"][count:room] = [*range(count + 1, room), -1][: room - count]
    memory.set("order_free", count if count < room else -1)
    tracks["next"][:count] = [*range(1, count), -1][:count]
    tracks["previous"][:count] = np.arange(-1, count - 1)
    memory.set("live_head", 0 if count else -1)
    memory.set("live_tail", count - 1)
    enter_all(memory.address)
    slots = {order["number"]: slot for slot, order in enumerate(orders)}
    records["next_link"][:count] = -1
    for slot, order in enumerate(orders):
        for name, generation in SLOTS.items():
            other = order[name]
            records[slot][name], records[slot][generation] = -1, 0
            if other is None:
                continue
            if other["number"]:
                records[slot][name] = slots[other["number"]]
                records[slot][generation] = records[slots[other["number"]]]["generation"]
                continue
            records[slot][name], records[slot][generation] = room, _GONE
            for field in LEFT_OF_ORDER[name]:
                records[room][field] = other[field]
            room += 1
    return slots


def _queue(memory: Memory, queue: list[int]) -> tuple[int, int]:
    """Chain orders that wait for each other; the first and the last."""
    for before, after in pairwise(queue):
        memory.orders[before]["next"], memory.orders[after]["previous"] = after, before
    return (queue[0], queue[-1]) if queue else (-1, -1)


def _books(memory: Memory, tree: dict[str, Any], slots: dict[int, int]) -> None:
    books = memory.books
    found = [note for kept in tree["instruments"] for side in kept["sides"] for note in side["notes"]]
    if len(found) >= len(books.notes):
        books.grow_notes(len(found))
    put_rows("NOTE", books.notes, found)
    for index, note in enumerate(found):
        first, last = _queue(memory, [slots[number] for number in note["orders"]])
        books.notes[index]["head"], books.notes[index]["tail"] = first, last
    room, count = len(books.notes), len(found)
    books.notes["next"][count:] = [*range(count + 1, room), -1]
    memory.set("note_free", count)
    memory.set("note_free_count", room - count)
    laid = 0
    for index, kept in enumerate(tree["instruments"]):
        for name, (head, tail) in LISTS.items():
            chained = [slots[number] for number in kept["lists"][name]]
            first, last = _queue(memory, chained)
            if name in ONE_WAY:
                memory.orders["previous"][chained] = -1
            memory.set_of_instrument(index, head, first)
            memory.set_of_instrument(index, tail, last)
        for k, side in enumerate(kept["sides"], SIDES_EACH * index):
            laid += lay(books, k, side, laid, memory.of_instrument(index, "tick"))


def _timers(memory: Memory, tree: dict[str, Any]) -> dict[int, int]:
    """Timers into slots; the slots by number."""
    tables, timers = memory.tables, tree["timers"]
    while len(tables.timers) <= len(timers):
        tables.grow_timers()
    put_rows("TIMER", tables.timers, timers)
    count, room = len(timers), len(tables.timers)
    tables.timers["word"][:count] = [word_of(timer["name"]) for timer in timers]
    tables.timers["next"][count:] = [*range(count + 1, room), -1]
    memory.set("timer_free", count)
    return {timer["number"]: slot for slot, timer in enumerate(timers)}


def _agenda(memory: Memory, tree: dict[str, Any], slots: dict[int, int], timers: dict[int, int]) -> None:
    agenda = tree["agenda"]
    if len(agenda) >= len(memory.items):
        memory.grow_items(len(agenda))
    put_rows("ITEM", memory.items, agenda)
    items = memory.items
    for place, kept in enumerate(agenda):
        slot = slots.get(kept["order"])
        items[place]["slot"] = 0 if slot is None else slot
        items[place]["generation"] = _GONE if slot is None else memory.orders[slot]["generation"]
        items[place]["next"] = -1
        if kept["kind"] == ITEM_CHARGE:
            items[place]["slot"], items[place]["generation"] = -1, 0
        elif kept["kind"] == ITEM_TIMER:
            items[place]["slot"] = -1
            items[place]["size"] = timers.get(kept["id"], 0)  # a forgotten one's number is nobody's
    count, room = len(agenda), len(items)
    items["next"][count:] = [*range(count + 1, room), -1]
    memory.heap[:count] = np.arange(count)  # sorted, hence a heap
    memory.set("item_free", count)
    memory.set("item_free_count", room - count)
