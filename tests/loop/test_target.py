"""`target`: the position and its own unfilled order are compared with the wish, one order at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.config import Latency, RunConfig
from engine.model.kinds import InstrumentData
from engine.model.units import MILLISECOND_NS
from tests.helpers.logs import Message
from tests.reference.drive import run_engine, run_twin
from tests.reference.scenario import (
    DEPTH,
    QUOTES,
    Deeds,
    Script,
    book,
    clock,
    describe,
    play,
    quote,
    run,
    settings,
    trades,
    whole,
)

MS = MILLISECOND_NS
BOOK = book(0, bids={99: 50}, asks={101: 50})
TRAVEL = settings(latency=Latency(0, 100 * MS, 100 * MS))


def lines(
    market: list[Message],
    deeds: Deeds,
    config: RunConfig | None = None,
    instruments: Sequence[InstrumentData] = (DEPTH,),
) -> list[str]:
    """Commands and ends, without acknowledgements."""
    return [x for x in play(market, deeds, config, instruments, commands=True) if "accepted" not in x]


def test_it_sends_the_difference_as_one_market_order() -> None:
    """From 0 to 5, to -2, to -2 again, to 0."""
    deeds = {
        1: lambda ctx, it: ctx.target(it, 5),
        2: lambda ctx, it: ctx.target(it, -2),
        3: lambda ctx, it: ctx.target(it, -2),
        4: lambda ctx, it: ctx.target(it, 0),
    }
    assert lines([BOOK], deeds) == [
        "1 submit #1",
        "1 fill #1 5@101 taker",
        "2 submit #2",
        "2 fill #2 7@99 taker",
        "4 submit #3",
        "4 fill #3 2@101 taker",
    ]


def test_asked_at_every_event_it_sends_once() -> None:
    """While its order travels, and after."""
    deeds = {1 + i / 50: lambda ctx, it: ctx.target(it, 5) for i in range(20)}
    assert lines([BOOK, clock(2)], deeds, TRAVEL) == ["1 submit #1", "1.2 fill #1 5@101 taker"]


def test_a_changed_wish_waits_until_the_old_order_is_final() -> None:
    """A resting target of 5 at 90 is cancelled; only when that is heard, the rest for 3 is sent."""
    deeds = {
        1: lambda ctx, it: ctx.target(it, 5, 90),
        2: lambda ctx, it: ctx.target(it, 3),
        2.05: lambda ctx, it: ctx.target(it, 3),
    }
    assert lines([BOOK, clock(3)], deeds, TRAVEL) == [
        "1 submit #1",
        "2 cancel #1",
        "2.2 cancelled #1 requested",
        "2.2 submit #2",
        "2.4 fill #2 3@101 taker",
    ]


def test_what_filled_meanwhile_is_taken_into_account() -> None:
    """The order that is being cancelled fills 2 on the way: only 1 of the 3 is sent for."""
    deeds = {1: lambda ctx, it: ctx.target(it, 5, 98), 2: lambda ctx, it: ctx.target(it, 3)}
    assert lines([BOOK, trades(2.05, (-1, 97, 2)), clock(3)], deeds, TRAVEL) == [
        "1 submit #1",
        "2 cancel #1",
        "2.15 fill #1 2@98 through",
        "2.2 cancelled #1 requested",
        "2.2 submit #2",
        "2.4 fill #2 1@101 taker",
    ]


def test_a_wish_that_changes_back_is_sent_again_after_the_cancel() -> None:
    """5, then 3, then 5 while the cancel travels."""
    deeds = {
        1: lambda ctx, it: ctx.target(it, 5, 90),
        2: lambda ctx, it: [ctx.target(it, 3, 90), ctx.target(it, 5, 90)],
    }
    assert lines([BOOK, clock(3)], deeds, TRAVEL)[1:] == [
        "2 cancel #1",
        "2.2 cancelled #1 requested",
        "2.2 submit #2",
    ]


def test_another_price_moves_the_order() -> None:
    """Same size, a tick higher."""
    deeds = {1: lambda ctx, it: ctx.target(it, 5, 90), 2: lambda ctx, it: ctx.target(it, 5, 91)}
    assert lines([BOOK, clock(3)], deeds) == [
        "1 submit #1",
        "2 cancel #1",
        "2 cancelled #1 requested",
        "2 submit #2",
    ]


def test_below_the_minimum_size_it_sends_nothing() -> None:
    """2 away with a minimum of 3."""
    data = whole("trade", "book", min_size="3")
    deeds = {1: lambda ctx, it: ctx.target(it, 2), 2: lambda ctx, it: ctx.target(it, 3)}
    assert lines([BOOK], deeds, None, (data,)) == ["2 submit #1", "2 fill #1 3@101 taker"]


def test_a_refused_target_waits_a_second() -> None:
    """Over the cap of 3: asked ten times a second, refused once a second; another size at once."""
    deeds = {1 + i / 10: lambda ctx, it: ctx.target(it, 5) for i in range(15)}
    deeds[2.9] = lambda ctx, it: ctx.target(it, 3)
    assert lines([BOOK], deeds, settings(cap="3")) == [
        "1 refused #1 position_cap",
        "2 refused #2 position_cap",
        "2.9 submit #3",
        "2.9 fill #3 3@101 taker",
    ]


def test_a_target_off_the_increments_is_refused_once_a_second() -> None:
    """Not at every event."""
    deeds = {1 + i / 10: lambda ctx, it: ctx.target(it, 1.5) for i in range(15)}
    assert lines([BOOK], deeds) == ["1 refused #1 size_increment", "2 refused #2 size_increment"]


def test_a_target_that_the_market_cannot_fill_does_not_spin() -> None:
    """5 wanted, 2 to be had, no latency: the rest is tried again after a second, when asked."""
    thin = book(0, bids={99: 5}, asks={101: 2})
    deeds = {1 + i / 4: lambda ctx, it: ctx.target(it, 5) for i in range(8)}
    assert lines([thin, book(1.6, asks={101: 4})], deeds) == [
        "1 submit #1",
        "1 fill #1 2@101 taker",
        "1 cancelled #1 no_liquidity",
        "2 submit #2",
        "2 fill #2 2@101 taker",
        "2 cancelled #2 no_liquidity",
    ]


def test_a_target_order_that_the_strategy_cancels_stays_cancelled() -> None:
    """Until target is called again."""
    deeds = {
        1: lambda ctx, it: ctx.target(it, 5, 90),
        2: lambda ctx, _: ctx.cancel_all(),
        3: lambda ctx, it: ctx.target(it, 5, 90),
    }
    assert lines([BOOK, clock(4)], deeds) == [
        "1 submit #1",
        "2 cancel #1",
        "2 cancelled #1 requested",
        "3 submit #2",
    ]


def test_orders_of_its_own_are_not_the_targets() -> None:
    """A plain order moves the position; the next call corrects it."""
    deeds = {
        1: lambda ctx, it: ctx.target(it, 5),
        2: lambda ctx, it: ctx.market(it, 1),
        3: lambda ctx, it: ctx.target(it, 5),
    }
    assert lines([BOOK], deeds)[2:] == [
        "2 submit #2",
        "2 fill #2 1@101 taker",
        "3 submit #3",
        "3 fill #3 1@99 taker",
    ]


def test_on_quotes_it_gets_what_it_asks_for() -> None:
    """The rest one tick worse."""
    deeds = {1: lambda ctx, it: ctx.target(it, -9)}
    assert lines([quote(0, 99, 5, 101, 4)], deeds, None, (QUOTES,))[1:] == [
        "1 fill #1 5@99 taker",
        "1 fill #1 4@98 taker",
    ]


def test_after_a_stop_nothing_is_pursued() -> None:
    """The run ends with what there is."""
    outcome, _ = run([BOOK], {1: lambda ctx, it: ctx.target(it, 1, 90)})
    assert [d.kind for d in outcome.journal] == ["submit", "accepted"]


def test_a_failure_counts_before_the_strategy_hears_of_it() -> None:
    """Asked again from on_order when the order was rejected, with no latency: it waits its second."""

    class Stubborn(Script):
        """Asks again whatever it hears."""

        def on_order(self, ctx: Any, update: Any) -> None:
            """At once."""
            ctx.target(update.instrument, 5)

    market = [book(0, bids={99: 5}, asks={101: 5}), book(0.5, asks={101: 0}), clock(1.5), clock(3)]
    deeds = {1: lambda ctx, it: ctx.target(it, 5), 2.5: lambda ctx, it: ctx.target(it, 5)}
    outcome = run_engine(market, Stubborn(deeds), settings(), [DEPTH])
    twin = run_twin(market, Stubborn(deeds), settings(), [DEPTH])
    assert outcome.journal == twin.journal
    assert [describe(d) for d in outcome.journal if d.kind == "rejected"] == [
        "1 rejected #1 empty_side",
        "2.5 rejected #2 empty_side",
    ]


def test_target_in_on_fill_sees_the_position_after_the_fill() -> None:
    """A plain order fills 2 on top of the 5 that were wanted: asked in on_fill, 2 are sold again."""

    class Keeper(Script):
        """Keeps 5."""

        def on_fill(self, ctx: Any, fill: Any) -> None:
            """Back to 5."""
            ctx.target(fill.instrument, 5)

    deeds = {1: lambda ctx, it: ctx.target(it, 5), 2: lambda ctx, it: ctx.market(it, 2)}
    outcome = run_engine([BOOK, clock(3)], Keeper(deeds), settings(), [DEPTH])
    assert [describe(d) for d in outcome.journal if d.kind == "fill"] == [
        "1 fill #1 5@101 taker",
        "2 fill #2 2@101 taker",
        "2 fill #3 2@99 taker",
    ]
