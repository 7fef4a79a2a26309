"""Orders that concern each other: pairs that cancel each other, and brackets."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config import Account, Latency, Rules
from engine.model.units import MILLISECOND_NS
from tests.reference.drive import run_engine, run_twin
from tests.reference.scenario import (
    DEPTH,
    Deed,
    Script,
    book,
    clock,
    describe,
    play,
    run,
    settings,
    status,
    trades,
)

BOOK = book(0, bids={99: 5, 98: 6, 97: 1}, asks={101: 3, 102: 4, 110: 9})
MARKET = [BOOK, trades(0, (1, 100, 1))]


def pair(size: int, price: int, stop: int, **more: object) -> Deed:
    """A limit order and a stop."""
    return lambda ctx, it: ctx.oco(it, size, price, stop, **more)


def bracket(size: int, price: int | None, target: int, stop: int, **more: object) -> Deed:
    """An entry, a target and a stop."""
    return lambda ctx, it: ctx.bracket(it, size, price, target, stop, **more)


# --- pairs ---


def test_a_fill_of_the_limit_order_cancels_the_stop() -> None:
    """Filled whole by a trade through it; the stop's price comes later and finds nothing."""
    messages = [*MARKET, trades(2, (1, 106, 9)), trades(3, (-1, 97, 9))]
    assert play(messages, {1: pair(-4, 105, 97)}) == [
        "2 fill #1 4@105 through",
        "2 cancelled #2 linked",
    ]


def test_a_fill_of_the_stop_cancels_the_limit_order() -> None:
    """Triggered and filled whole; the buyer at 106 comes later and finds nothing."""
    messages = [*MARKET, trades(2, (-1, 97, 9)), trades(3, (1, 106, 9))]
    assert play(messages, {1: pair(-4, 105, 97)}) == [
        "2 triggered #2",
        "2 fill #2 4@99 taker",
        "2 cancelled #1 linked",
    ]


def test_what_one_fills_is_taken_off_the_other() -> None:
    """The limit order fills 1 of 4: the stop is good for 3; then it fills these."""
    messages = [*MARKET, trades(2, (1, 106, 1)), trades(3, (-1, 97, 9))]
    outcome, script = run(messages, {1: pair(-4, 105, 97)})
    assert [(d.kind, d.order, d.size) for d in outcome.journal if d.kind not in ("submit", "accepted")] == [
        ("fill", 1, 1),
        ("amended", 2, 3),
        ("triggered", 2, 3),
        ("fill", 2, 3),
        ("cancelled", 1, 4),
    ]
    assert "2 #2 amended 0" in script.heard
    assert script.words[1] == "linked"


def test_a_triggered_stop_limit_that_rests_shrinks_its_partner_as_it_fills() -> None:
    """Triggered at 97 with a limit of 100, it rests there; 3 of 4 fill, then a buyer takes the last."""
    thin = book(0, bids={90: 5}, asks={104: 3})
    messages = [
        thin,
        trades(0, (1, 100, 1)),
        trades(2, (-1, 97, 1)),
        trades(3, (1, 101, 3)),
        trades(4, (1, 106, 9)),
    ]
    assert play(messages, {1: pair(-4, 105, 97, limit=100)}) == [
        "2 triggered #2",
        "3 fill #2 3@100 through",
        "3 amended #1 linked",
        "4 fill #2 1@100 through",
        "4 cancelled #1 linked",
    ]


@pytest.mark.parametrize("which", [1, 2])
def test_the_end_of_one_is_the_end_of_both(which: int) -> None:
    """A cancel of either."""
    deeds = {1: pair(-4, 105, 97), 2: lambda ctx, _: ctx.cancel(which)}
    assert play([*MARKET, clock(3)], deeds) == [
        f"2 cancelled #{which} requested",
        f"2 cancelled #{3 - which} linked",
    ]


def test_a_partner_that_takes_at_once_cancels_the_one_behind_it() -> None:
    """The limit order reaches the bid on arrival, before the stop has arrived at the same instant."""
    assert play(MARKET, {1: pair(-4, 99, 97)}) == ["1 fill #1 4@99 taker", "1 cancelled #2 linked"]


def test_a_pair_counts_once() -> None:
    """A position of 4 and a cap of 4: a pair of sales is no double sale, and two pairs are too many."""
    deeds = {
        1: lambda ctx, it: ctx.market(it, 4),
        2: pair(-4, 105, 97),
        3: lambda ctx, it: ctx.market(it, -5),
        4: lambda ctx, _: ctx.cancel_all(),
        5: lambda ctx, it: ctx.market(it, -8),
    }
    assert play([*MARKET, clock(9)], deeds, settings(cap="4")) == [
        "1 fill #1 3@101 taker",
        "1 fill #1 1@102 taker",
        "3 refused #4 position_cap",
        "4 cancelled #2 requested",
        "4 cancelled #3 linked",
        "5 fill #5 5@99 taker",
        "5 fill #5 3@98 taker",
    ]


def test_in_a_cash_account_a_pair_locks_once_and_the_stop_can_pay() -> None:
    """A cash account of 420: 4 at 95 or 4 at 105 are locked once, and the stop's fill is paid."""
    config = settings(account=Account(type="cash", capital="420"))
    messages = [*MARKET, trades(2, (1, 105, 9))]
    assert play(messages, {1: pair(4, 95, 105)}, config) == [
        "2 triggered #2",
        "2 fill #2 3@101 taker",
        "2 fill #2 1@102 taker",
        "2 cancelled #1 linked",
    ]


@pytest.mark.parametrize(("price", "stop"), [(97, 105), (105, 105)])
def test_legs_on_the_wrong_sides_of_each_other_are_refused(price: int, stop: int) -> None:
    """A sale's limit lies above its stop; both are refused, with words."""
    outcome, script = run(MARKET, {1: pair(-4, price, stop)})
    assert [(d.kind, d.order, d.reason) for d in outcome.journal] == [
        ("refused", 1, "legs_crossed"),
        ("refused", 2, "entry_refused"),
    ]
    assert "wrong sides" in script.words[1]


# --- brackets ---


def test_children_work_from_the_entrys_first_fill_and_are_sized_to_it() -> None:
    """The entry rests and fills 1, then 3 of 4: the children are good for 1, then for 4."""
    messages = [*MARKET, trades(2, (-1, 97, 1)), trades(3, (-1, 97, 3)), trades(4, (1, 106, 9))]
    outcome, _ = run(messages, {1: bracket(4, 98, 105, 95)})
    assert [(d.kind, d.order, d.size) for d in outcome.journal if d.kind != "submit"] == [
        ("accepted", 1, 4),
        ("fill", 1, 1),
        ("accepted", 2, 1),
        ("accepted", 3, 1),
        ("fill", 1, 3),
        ("amended", 2, 4),
        ("amended", 3, 4),
        ("fill", 2, 4),
        ("cancelled", 3, 4),
    ]


def test_children_are_not_there_before_the_entry_fills() -> None:
    """A buyer at 106 and a seller at 95 pass by; only the entry is touched, by the second."""
    messages = [*MARKET, trades(2, (1, 106, 9)), trades(3, (-1, 97, 2)), trades(4, (-1, 95, 1))]
    assert play(messages, {1: bracket(2, 98, 105, 95)}) == [
        "3 fill #1 2@98 through",
        "4 triggered #3",
        "4 fill #3 2@99 taker",
        "4 cancelled #2 linked",
    ]


def test_an_entry_at_the_market_has_its_children_at_once() -> None:
    """Filled on arrival, before the children arrive at the same instant."""
    messages = [*MARKET, trades(2, (1, 106, 9))]
    assert play(messages, {1: bracket(3, None, 105, 95)}) == [
        "1 fill #1 3@101 taker",
        "2 fill #2 3@105 through",
        "2 cancelled #3 linked",
    ]


@pytest.mark.parametrize(
    ("deeds", "expected"),
    [
        (
            {1: bracket(4, 98, 105, 95), 2: lambda ctx, _: ctx.cancel(1)},
            ["2 cancelled #1 requested", "2 cancelled #2 parent", "2 cancelled #3 parent"],
        ),
        (
            {1: bracket(4, 98, 105, 95, tif="fok")},
            ["1 expired #1 fok_unfillable", "1 cancelled #2 parent", "1 cancelled #3 parent"],
        ),
    ],
)
def test_children_go_when_the_entry_ends_without_a_fill(deeds: dict[int, Deed], expected: list[str]) -> None:
    """Cancelled, or expired on arrival."""
    assert play([*MARKET, clock(3)], deeds) == expected


def test_an_entry_that_ends_part_filled_leaves_its_children_what_it_filled() -> None:
    """1 of 4 filled, the rest cancelled: the stop sells 1."""
    messages = [*MARKET, trades(2, (-1, 97, 1)), trades(4, (-1, 95, 1))]
    deeds = {1: bracket(4, 98, 105, 95), 3: lambda ctx, _: ctx.cancel(1)}
    assert play(messages, deeds) == [
        "2 fill #1 1@98 through",
        "3 cancelled #1 requested",
        "4 triggered #3",
        "4 fill #3 1@99 taker",
        "4 cancelled #2 linked",
    ]


def test_a_child_that_is_done_works_again_when_the_entry_fills_more() -> None:
    """Entry fills 1 of 4, the target sells it; then 3 more, which the stop sells: all is guarded."""
    messages = [
        *MARKET,
        trades(2, (-1, 97, 1)),
        trades(3, (1, 106, 1)),
        trades(4, (-1, 97, 3)),
        trades(5, (-1, 95, 1)),
    ]
    outcome, _ = run(messages, {1: bracket(4, 98, 105, 95)})
    assert [(d.kind, d.order, d.size) for d in outcome.journal if d.kind not in ("submit", "accepted")] == [
        ("fill", 1, 1),
        ("fill", 2, 1),
        ("fill", 1, 3),
        ("amended", 2, 4),
        ("amended", 3, 3),
        ("triggered", 3, 3),
        ("fill", 3, 3),
        ("cancelled", 2, 4),
    ]


def test_a_stop_child_whose_price_is_there_already_triggers_at_once() -> None:
    """The trade that fills the entry at 94 is below the stop of 95."""
    messages = [*MARKET, trades(2, (-1, 94, 9))]
    assert play(messages, {1: bracket(2, 98, 105, 95)}) == [
        "2 fill #1 2@98 through",
        "2 triggered #3",
        "2 fill #3 2@99 taker",
        "2 cancelled #2 linked",
    ]


def test_a_short_bracket_mirrors_it() -> None:
    """Sold at 103 as maker, bought back at 95 by the target."""
    messages = [*MARKET, trades(2, (1, 104, 2)), trades(3, (-1, 94, 9))]
    assert play(messages, {1: bracket(-2, 103, 95, 107)}) == [
        "2 fill #1 2@103 through",
        "3 fill #2 2@95 through",
        "3 cancelled #3 linked",
    ]


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        (bracket(4, 98, 95, 105), "legs_crossed"),
        (bracket(4, 98, 105, 0), "price_increment"),
        (lambda ctx, it: ctx.bracket(it, 4, 98, 105.5, 95), "price_increment"),
        (lambda ctx, it: ctx.bracket(it, 4, 98, 105, float("nan")), "not_finite"),
        (bracket(9, 98, 105, 95), "position_cap"),
    ],
)
def test_what_is_wrong_with_one_of_them_refuses_all(deed: Deed, reason: str) -> None:
    """Nobody enters without the way out that was asked for."""
    outcome, _ = run(MARKET, {1: deed}, settings(cap="8"))
    assert [(d.kind, d.order, d.reason) for d in outcome.journal] == [
        ("refused", 1, reason),
        ("refused", 2, "entry_refused"),
        ("refused", 3, "entry_refused"),
    ]


def test_children_of_an_entry_under_a_bad_book_wait_with_it() -> None:
    """The entry arrives under a gap; the snapshot fills it, and its children work from there."""
    messages = [
        *MARKET,
        status(0.5, "gap", "book", instrument=1),
        book(4, bids={99: 2}, asks={101: 9}, snapshot=True),
        trades(5, (1, 106, 9)),
    ]
    assert play(messages, {1: bracket(3, None, 105, 95)}) == [
        "4 fill #1 3@101 taker",
        "5 fill #2 3@105 through",
        "5 cancelled #3 linked",
    ]


def test_reports_of_linked_orders_come_after_the_response() -> None:
    """Everything that one trade brings about at the venue is heard of 15 ms later."""
    config = settings(latency=Latency(5 * MILLISECOND_NS, 10 * MILLISECOND_NS, 20 * MILLISECOND_NS))
    messages = [*MARKET, trades(2, (1, 106, 9))]
    assert play(messages, {1: pair(-4, 105, 97)}, config) == [
        "2.015 fill #1 4@105 through",
        "2.015 cancelled #2 linked",
    ]


def test_a_rejected_stop_takes_its_partner_with_it() -> None:
    """Where a stop that would trigger at once is rejected, the limit order does not stay alone."""
    config = settings(rules=Rules(stop_must_wait=True))
    messages = [BOOK, trades(0, (1, 96, 1))]
    assert play(messages, {1: pair(-4, 105, 97)}, config) == [
        "1 rejected #2 would_trigger",
        "1 cancelled #1 linked",
    ]


@pytest.mark.parametrize("which", [2, 3])
def test_the_end_of_one_exit_is_the_end_of_both_also_when_they_wait_for_more(which: int) -> None:
    """Entry fills 1 of 4, the target sells it; then a cancel of either; 3 more are bought unguarded."""
    messages = [*MARKET, trades(2, (-1, 97, 1)), trades(3, (1, 106, 1)), trades(5, (-1, 97, 3))]
    deeds = {1: bracket(4, 98, 105, 90), 4: lambda ctx, _: ctx.cancel(which)}
    assert play([*messages, trades(6, (1, 106, 9)), trades(7, (-1, 90, 9))], deeds) == [
        "2 fill #1 1@98 through",
        "3 fill #2 1@105 through",
        f"4 cancelled #{which} requested",
        f"4 cancelled #{5 - which} linked",
        "5 fill #1 3@98 through",
    ]


def test_nothing_of_a_bracket_or_a_pair_leaves_when_its_stop_cannot() -> None:
    """No mark has come for the stop to look at: the entry at the market does not go ahead alone."""
    config = settings(rules=Rules(stop_source="mark"))
    outcome, script = run(MARKET, {1: bracket(3, None, 105, 95), 2: pair(-3, 99, 95)}, config)
    assert [(d.kind, d.order, d.reason) for d in outcome.journal] == [
        ("refused", 1, "no_trigger_price"),
        ("refused", 2, "entry_refused"),
        ("refused", 3, "entry_refused"),
        ("refused", 4, "no_trigger_price"),
        ("refused", 5, "entry_refused"),
    ]
    assert "mark prices" in script.words[1]


@pytest.mark.parametrize(
    ("more", "words"),
    [({"limit": 103.5}, "limit 103.5"), ({"limit": 0}, "multiple of 1"), ({}, "stop 104.5")],
)
def test_a_pair_whose_stop_is_off_the_increments_is_refused_whole(more: dict[str, float], words: str) -> None:
    """Its limit order would take at once; it does not leave alone."""
    stop = 105 if more else 104.5
    outcome, script = run(MARKET, {1: lambda ctx, it: ctx.oco(it, 4, 101, stop, **more)})
    assert [(d.kind, d.order, d.reason) for d in outcome.journal] == [
        ("refused", 1, "price_increment"),
        ("refused", 2, "entry_refused"),
    ]
    assert words in script.words[1]


def test_a_target_is_measured_against_its_entry_and_not_against_the_market() -> None:
    """Collar 2 %: bought at 95, sold at 97, far below the market of 100; 92 is far below 95."""
    config = settings(collar=20_000)
    messages = [*MARKET, trades(2, (-1, 94, 9)), book(3, bids={99: 0, 98: 0, 97: 0}), trades(4, (1, 98, 9))]
    assert play(messages, {1: bracket(2, 95, 97, 90), 3.5: bracket(2, 95, 92, 90)}, config) == [
        "2 fill #1 2@95 through",
        "2 fill #2 2@99 taker",
        "2 cancelled #3 linked",
        "3.5 refused #4 price_collar",
        "3.5 refused #5 entry_refused",
        "3.5 refused #6 entry_refused",
    ]


def test_a_pair_that_waits_for_a_snapshot_is_cut_before_it_is_accepted() -> None:
    """The limit order sells 2 of 4 to the first bid of the snapshot: the stop behind it is good for 2."""
    messages = [
        *MARKET,
        status(0.5, "gap", "book", instrument=1),
        book(4, bids={105: 2, 104: 3}, asks={106: 9}, snapshot=True),
    ]
    outcome, _ = run(messages, {1: pair(-4, 105, 97)})
    assert [(d.kind, d.order, d.size) for d in outcome.journal if d.kind != "submit"] == [
        ("accepted", 1, 4),
        ("fill", 1, 2),
        ("amended", 2, 2),
        ("accepted", 2, 2),
    ]


def test_in_a_cash_account_an_exit_cannot_sell_what_has_been_sold_meanwhile() -> None:
    """Sold by the strategy as soon as it hears of the entry's fill, before the exits count."""

    class Hasty(Script):
        def on_fill(self, ctx: Any, fill: Any) -> None:
            if fill.order == 1:
                ctx.market(fill.instrument, -fill.size)

    config = settings(account=Account(type="cash", capital="1000"))
    messages = [*MARKET, trades(2, (1, 106, 9)), clock(9)]
    deeds = {1: bracket(3, None, 105, 95)}
    outcome = run_engine(messages, Hasty(deeds), config, (DEPTH,))
    assert outcome.journal == run_twin(messages, Hasty(deeds), config, (DEPTH,)).journal
    assert [describe(d) for d in outcome.journal if d.kind not in ("submit", "accepted")] == [
        "1 fill #1 3@101 taker",
        "1 fill #4 3@99 taker",
        "2 cancelled #2 insufficient_funds",
        "2 cancelled #3 linked",
    ]


def test_what_must_fill_whole_at_the_market_fills_whole_or_not_at_all() -> None:
    """16 are offered: to a bracket's entry, and to a stop that has triggered."""
    assert play(MARKET, {1: bracket(16, None, 120, 95, tif="fok")}) == [
        "1 fill #1 3@101 taker",
        "1 fill #1 4@102 taker",
        "1 fill #1 9@110 taker",
    ]
    assert play(MARKET, {1: bracket(17, None, 120, 95, tif="fok")}) == [
        "1 expired #1 fok_unfillable",
        "1 cancelled #2 parent",
        "1 cancelled #3 parent",
    ]
    assert play(MARKET, {1: lambda ctx, it: ctx.stop(it, 17, 100, tif="fok")}) == [
        "1 triggered #1",
        "1 expired #1 fok_unfillable",
    ]
