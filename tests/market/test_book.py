"""The book's ladders hold what dicts would: levels, consumption, own orders and their fronts."""

from __future__ import annotations

import pytest

from engine.config import Account, Latency, Risk, RunConfig
from engine.execution.state import SIDES_EACH
from engine.loop.memory import Memory
from engine.market.book import LOWEST_KEY, UNKNOWN
from engine.model.kinds import InstrumentData
from engine.model.units import MILLISECOND_NS
from tests.reference.book import Side
from tests.reference.drive import run_engine, run_twin
from tests.reference.markets import BOOKED, QUOTED, RandomMarket
from tests.reference.scenario import DEPTH, Script, book, settings
from tests.reference.traders import RandomTrader

Levels = dict[int, tuple[int | None, int, list[tuple[int, int | None]]]]


def kernel_levels(memory: Memory, index: int, sign: int) -> Levels:
    """Price -> displayed size, consumed, (order, front) in queue order; as the kernel's arrays have it."""
    k = SIDES_EACH * index + (0 if sign > 0 else 1)
    found: Levels = {}
    keys = []
    books = memory.books
    for key, size, index_of_note in books.levels(k):
        orders = []
        note = books.notes[index_of_note]
        slot = int(note["head"]) if index_of_note >= 0 else -1
        consumed = int(note["consumed"]) if index_of_note >= 0 else 0
        previous = -1
        while slot >= 0:
            order = memory.orders[slot]
            assert int(order["previous"]) == previous
            front = int(order["front"])
            orders.append((int(order["number"]), None if front == UNKNOWN else front))
            previous, slot = slot, int(order["next"])
        if orders:
            assert int(note["tail"]) == previous
        assert size > 0 or orders, "a level that nothing is displayed at and nobody waits at was kept"
        assert index_of_note < 0 or orders or consumed, "a note that says nothing was kept"
        found[key * sign] = (None if size == UNKNOWN else size, consumed, orders)
        keys.append(key)
    assert keys == sorted(set(keys), reverse=True), "best first, each price once"
    shown = [key for key, size, _ in books.levels(k) if size > 0]
    own = [key for key in keys if found[key * sign][2]]
    assert int(books.sides[k]["own_key"]) == (own[0] if own else LOWEST_KEY)
    best = [(key * sign, found[key * sign][0]) for key in shown[:5]]
    assert memory.best_levels(index, sign, 5) == best
    for name in ("shown", "noted"):
        assert not (books.ladders[k].bits["stale"] & books.ladders[k].bits[name]).any()
    return found


def twin_levels(side: Side) -> Levels:
    """The same of the twin's dict."""
    return {
        price: (
            level.size,
            level.consumed,
            [(o.number, None if o.front is None else int(o.front)) for o in level.orders],
        )
        for price, level in side.levels.items()
    }


@pytest.mark.parametrize("data", [BOOKED, QUOTED], ids=lambda d: d.symbol)
@pytest.mark.parametrize("account", ["research", "cash"])
def test_books_agree_level_by_level_after_any_number_of_messages(data: InstrumentData, account: str) -> None:
    """Sizes, what we took, who waits where and behind how much, at forty points of random runs."""
    config = RunConfig(
        latency=Latency(1 * MILLISECOND_NS, 0, 2 * MILLISECOND_NS),
        risk=Risk(collar_millionths=50_000),
        account=Account(account, "50"),
    )
    waiting = 0
    for seed in range(60, 100):
        messages = RandomMarket(seed, (data,)).messages(10 * (seed - 55), end=False)
        outcome = run_engine(messages, RandomTrader(seed, patient=True), config, (data,))
        twin = run_twin(messages, RandomTrader(seed, patient=True), config, (data,))
        memory, market = outcome.runner.memory, twin.markets[0]
        for sign, side in market.sides.items():
            ours, theirs = kernel_levels(memory, 0, sign), twin_levels(side)
            assert ours == theirs, f"seed {seed}, side {sign}"
            waiting += sum(len(orders) for _, _, orders in ours.values())
            known = int(memory.books.sides[0 if sign > 0 else 1]["known_key"])
            assert known == (LOWEST_KEY if side.known is None else side.known * sign), f"seed {seed}"
        assert memory.of_instrument(0, "resting") == len(twin.venue.resting)
        assert memory.last_price(0) == market.last
        if account == "cash":
            assert memory.assets[0]["venue_locked"] == twin.venue.purses[0].locked
            assert memory.assets[0]["locked"] == twin.purses[0].locked
    assert waiting > 50


def test_a_deep_book_keeps_its_order() -> None:
    """Two thousand levels a side, in any order, some taken away again: best last, arrays grown on the way."""
    bids = {10_000 - (i * 7919) % 2003: 1 + i % 50 for i in range(2000)}
    asks = {10_001 + (i * 7919) % 2003: 1 + i % 50 for i in range(2000)}
    gone = dict.fromkeys(list(bids)[::3], 0)
    outcome = run_engine([book(0, bids=bids, asks=asks), book(1, bids=gone)], Script({}), settings(), [DEPTH])
    left = {price: size for price, size in bids.items() if price not in gone}
    memory = outcome.runner.memory
    assert {p: size for p, (size, _, _) in kernel_levels(memory, 0, 1).items()} == left
    assert {p: size for p, (size, _, _) in kernel_levels(memory, 0, -1).items()} == asks
