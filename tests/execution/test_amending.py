"""Amendments: what keeps its place, what goes to the back, and what the venue or risk will not have."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config import Account, Latency, Rules
from engine.model.units import MILLISECOND_NS
from tests.reference.drive import run_engine, run_twin
from tests.reference.scenario import DEPTH, Deed, Script, book, clock, play, run, settings, status, trades

BOOK = book(0, bids={99: 5, 98: 6, 97: 1}, asks={101: 3, 102: 4, 110: 9})


def buy(size: int = 4, price: int = 99, **more: object) -> Deed:
    """A resting buy."""
    return lambda ctx, it: ctx.limit(it, size, price, **more)


def amend(**changes: object) -> Deed:
    """An amendment of the first order."""
    return lambda ctx, _: ctx.amend(1, **changes)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        # 5 stand before it; of 8 sold, 3 are ours
        ({"size": 3}, ["2 amended #1 requested", "3 fill #1 3@99 queue"]),
        # behind 5 and the 4 that came meanwhile
        ({"size": 5}, ["2 amended #1 requested"]),
        # the same price said again keeps the place
        ({"price": 99}, ["2 amended #1 requested", "3 fill #1 3@99 queue"]),
        ({"size": 2, "price": 98}, ["2 amended #1 requested"]),
    ],
)
def test_a_smaller_size_keeps_its_place_and_anything_else_goes_to_the_back(
    change: dict[str, int], expected: list[str]
) -> None:
    """After it came, 4 more were displayed behind it."""
    messages = [BOOK, book(1.5, bids={99: 9}), trades(3, (-1, 99, 8))]
    assert play(messages, {1: buy(), 2: amend(**change)}) == expected


def test_another_price_takes_what_it_reaches() -> None:
    """Moved to 102: 3 at 101 and 1 at 102 are taken."""
    assert play([BOOK, clock(3)], {1: buy(), 2: amend(price=102)}) == [
        "2 amended #1 requested",
        "2 fill #1 3@101 taker",
        "2 fill #1 1@102 taker",
    ]


def test_post_only_that_would_match_stays_where_it_was() -> None:
    """Rejected; the order fills at its old price."""
    messages = [BOOK, trades(3, (-1, 98, 9))]
    assert play(messages, {1: buy(post_only=True), 2: amend(price=101)}) == [
        "2 amend_rejected #1 post_only_would_match",
        "3 fill #1 4@99 through",
    ]


def test_a_size_that_has_been_filled_already_ends_the_order() -> None:
    """2 of 4 filled, amended to 2."""
    messages = [BOOK, trades(1.5, (-1, 98, 2))]
    assert play([*messages, clock(3)], {1: buy(), 2: amend(size=2)}) == [
        "1.5 fill #1 2@99 through",
        "2 cancelled #1 requested",
    ]


def test_an_amendment_that_comes_too_late_is_forgotten() -> None:
    """The order's end has been heard of by then, or is on its way."""
    messages = [BOOK, trades(1.5, (-1, 98, 4))]
    assert play([*messages, clock(3)], {1: buy(), 2: amend(size=2)}) == ["1.5 fill #1 4@99 through"]
    late = settings(latency=Latency(0, 0, 600 * MILLISECOND_NS))
    assert play([*messages, clock(3)], {1: buy(), 2: amend(size=2)}, late) == ["2.1 fill #1 4@99 through"]


def test_the_strategy_sees_the_amended_order() -> None:
    """Price and size of ctx.orders and of on_order, from the report on; until then the old ones."""
    seen = []

    def look(ctx: object, _: object) -> None:
        seen.append([(o.price, o.size, o.state) for o in ctx.orders()])  # type: ignore[attr-defined]

    config = settings(latency=Latency(0, 100 * MILLISECOND_NS, 50 * MILLISECOND_NS))
    deeds = {1: buy(), 2: amend(size=6, price=97), 2.05: look, 2.12: look, 3: look}
    outcome, script = run([BOOK, clock(9)], deeds, config)
    before, after = [(99.0, 4.0, "working")], [(97.0, 6.0, "working")]
    assert seen == [before, before, after] * 2  # the engine's and the twin's
    assert script.heard[-1] == "2.15 #1 amended 0"
    assert [(d.kind, d.price, d.size) for d in outcome.journal] == [
        ("submit", 99, 4),
        ("accepted", 99, 4),
        ("amend", 97, 6),
        ("amended", 97, 6),
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"size": 9}, "position_cap"),
        ({"price": 98.5}, "price_increment"),
        ({"size": 3.5}, "size_increment"),
        ({"stop": 97}, "price_increment"),
        ({"price": 0}, "price_increment"),
    ],
)
def test_risk_looks_at_an_amended_order_as_at_a_new_one(change: dict[str, float], reason: str) -> None:
    """Refused before it leaves: the order stays as it was, and its words say why."""
    messages = [BOOK, trades(3, (-1, 98, 9))]
    outcome, script = run(messages, {1: buy(), 2: amend(**change)}, settings(cap="8"))
    assert [(d.kind, d.reason) for d in outcome.journal[2:]] == [
        ("amend_rejected", reason),
        ("fill", "through"),
    ]
    assert script.heard[1] == "2 #1 amend_rejected 0"


def test_an_amendment_on_its_way_counts_as_the_larger_size() -> None:
    """Cap 8: amended from 4 to 6, so that 3 more are refused and 2 are not, until it has come down to 2."""
    config = settings(cap="8", latency=Latency(0, 100 * MILLISECOND_NS, 0))
    deeds = {
        1: buy(),
        2: lambda ctx, it: [ctx.amend(1, size=6), ctx.limit(it, 3, 98), ctx.limit(it, 2, 98)],
        3: lambda ctx, it: [ctx.amend(1, size=2), ctx.limit(it, 1, 98)],
        4: lambda ctx, it: ctx.limit(it, 4, 98),
    }
    assert play([BOOK, clock(9)], deeds, config) == [
        "2 refused #2 position_cap",
        "2.1 amended #1 requested",
        "3 refused #4 position_cap",
        "3.1 amended #1 requested",
    ]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(5, ["2 amended #1 requested"]), (6, ["2 amend_rejected #1 cash"])],
)
def test_in_a_cash_account_the_difference_must_be_there(size: int, expected: list[str]) -> None:
    """500: 5 at 99 are 495, 6 are 594."""
    config = settings(account=Account(type="cash", capital="500"))
    assert play([BOOK, clock(3)], {1: buy(), 2: amend(size=size)}, config) == expected


def test_a_stop_may_be_amended_before_it_triggers() -> None:
    """From 103 to 105: 104 does nothing, 105 triggers."""
    messages = [BOOK, trades(0, (1, 100, 1)), trades(3, (1, 104, 1)), trades(4, (1, 105, 1))]
    deeds = {1: lambda ctx, it: ctx.stop(it, 3, 103), 2: amend(stop=105)}
    assert play(messages, deeds) == [
        "2 amended #1 requested",
        "4 triggered #1",
        "4 fill #1 3@101 taker",
    ]


def test_a_childs_price_may_be_amended_and_its_size_may_not() -> None:
    """The target of a bracket moves to 103; its size follows the entry."""
    messages = [BOOK, trades(0, (1, 100, 1)), trades(4, (1, 104, 9))]
    deeds = {
        1: lambda ctx, it: ctx.bracket(it, 3, None, 108, 95),
        2: lambda ctx, _: ctx.amend(2, price=103),
        3: lambda ctx, _: ctx.amend(2, size=1),
    }
    assert play(messages, deeds) == [
        "1 fill #1 3@101 taker",
        "2 amended #2 requested",
        "3 amend_rejected #2 linked_size",
        "4 fill #2 3@103 through",
        "4 cancelled #3 linked",
    ]


def test_an_amendment_of_another_thing_leaves_a_trailing_stop_where_it_has_come() -> None:
    """It has followed 104 to 101; a smaller size at 102 does not put it back to 99."""
    messages = [
        BOOK,
        trades(0, (1, 100, 1)),
        trades(2, (1, 104, 1)),
        trades(3, (1, 102, 1)),
        trades(5, (1, 101, 1)),
    ]
    deeds = {1: lambda ctx, it: ctx.trail(it, -3, 3), 4: amend(size=2)}
    assert play(messages, deeds) == ["4 amended #1 requested", "5 triggered #1", "5 fill #1 2@99 taker"]


def test_a_trailing_stop_may_be_moved_back() -> None:
    """By its stop, said again: from 101 to 98, which 101 does not reach."""
    messages = [BOOK, trades(0, (1, 100, 1)), trades(2, (1, 104, 1)), trades(3, (1, 102, 1))]
    more = [trades(5, (1, 101, 1)), trades(6, (1, 98, 1))]
    deeds = {1: lambda ctx, it: ctx.trail(it, -3, 3, stop=98), 4: amend(stop=98)}
    assert play([*messages, *more], deeds) == [
        "4 amended #1 requested",
        "6 triggered #1",
        "6 fill #1 3@99 taker",
    ]


def test_a_stop_that_must_wait_stays_where_it_was_when_it_would_trigger() -> None:
    """From 103 to 100, which is the price: rejected, and 103 triggers it."""
    messages = [BOOK, trades(0, (1, 100, 1)), trades(3, (1, 103, 1))]
    deeds = {1: lambda ctx, it: ctx.stop(it, 3, 103), 2: amend(stop=100)}
    assert play(messages, deeds, settings(rules=Rules(stop_must_wait=True))) == [
        "2 amend_rejected #1 would_trigger",
        "3 triggered #1",
        "3 fill #1 3@101 taker",
    ]
    assert play(messages, deeds) == [
        "2 amended #1 requested",
        "2 triggered #1",
        "2 fill #1 3@101 taker",
    ]


def test_an_order_that_waits_for_a_snapshot_may_be_amended() -> None:
    """Sent under a gap and moved to 98 before anybody has accepted it."""
    gap = status(0.5, "gap", "book", instrument=1)
    messages = [BOOK, gap, book(4, bids={99: 5}, asks={101: 9}, snapshot=True), trades(5, (-1, 97, 9))]
    assert play(messages, {1: buy(), 2: amend(price=98)}) == [
        "2 amended #1 requested",
        "5 fill #1 4@98 through",
    ]


def test_a_target_that_waits_for_its_entry_may_be_amended() -> None:
    """From 105 to 103, before the entry has filled."""
    messages = [BOOK, trades(0, (1, 100, 1)), trades(3, (-1, 97, 9)), trades(4, (1, 104, 9))]
    deeds = {
        1: lambda ctx, it: ctx.bracket(it, 2, 98, 105, 95),
        2: lambda ctx, _: ctx.amend(2, price=103),
    }
    assert play(messages, deeds) == [
        "2 amended #2 requested",
        "3 fill #1 2@98 through",
        "4 fill #2 2@103 through",
        "4 cancelled #3 linked",
    ]


def test_the_price_of_a_target_that_is_done_is_looked_at_too() -> None:
    """It has sold all that the entry bought, and may sell more: 0 is no price for that."""
    messages = [
        BOOK,
        trades(0, (1, 100, 1)),
        trades(2, (-1, 97, 1)),
        trades(3, (1, 106, 1)),
        trades(5, (-1, 97, 3)),
        trades(6, (1, 106, 9)),
    ]
    deeds = {
        1: lambda ctx, it: ctx.bracket(it, 4, 98, 105, 90),
        4: lambda ctx, _: ctx.amend(2, price=0),
    }
    assert play(messages, deeds) == [
        "2 fill #1 1@98 through",
        "3 fill #2 1@105 through",
        "4 amend_rejected #2 price_increment",
        "5 fill #1 3@98 through",
        "5 amended #2 parent",
        "5 amended #3 parent",
        "6 fill #2 3@105 through",
        "6 cancelled #3 linked",
    ]


def test_an_amended_price_does_not_bring_back_what_the_partner_has_filled() -> None:
    """A pair of 4: its stop's limit sold 3 at 100 while the amendment travelled; 1 is left at 104."""
    config = settings(latency=Latency(0, 100 * MILLISECOND_NS, 100 * MILLISECOND_NS))
    messages = [
        book(0, bids={90: 5}, asks={110: 3}),
        trades(0, (1, 100, 1)),
        trades(2, (-1, 97, 1)),
        trades(3, (1, 101, 3)),
        trades(4, (1, 106, 9)),
    ]
    deeds = {
        1: lambda ctx, it: ctx.oco(it, -4, 105, 97, limit=100),
        2.95: lambda ctx, _: ctx.amend(1, price=104),
    }
    outcome, _ = run(messages, deeds, config)
    fills = [(d.order, d.size, d.price) for d in outcome.journal if d.kind == "fill"]
    assert fills == [(2, 3, 100), (2, 1, 100)]
    assert [d.size for d in outcome.journal if d.kind == "amended" and d.order == 1] == [1, 1]


def test_a_refused_amendment_says_nothing_of_a_size_that_changed_at_the_same_time() -> None:
    """The stop of a pair has been cut to 3 at the instant at which risk refuses its amendment."""
    seen: list[float] = []

    class Late(Script):
        def on_fill(self, ctx: Any, fill: Any) -> None:
            if fill.order == 1:
                ctx.amend(2, stop=96.5)

        def on_timer(self, ctx: Any, name: str) -> None:
            super().on_timer(ctx, name)
            if name == "3":
                seen.extend(o.size for o in ctx.orders() if o.order == 2)

    deeds = {1: lambda ctx, it: ctx.oco(it, -4, 105, 97), 3: lambda _ctx, _it: None}
    messages = [BOOK, trades(0, (1, 100, 1)), trades(2, (1, 106, 1)), clock(9)]
    run_engine(messages, Late(deeds), settings(), (DEPTH,))
    run_twin(messages, Late(deeds), settings(), (DEPTH,))
    assert seen == [3.0, 3.0]
