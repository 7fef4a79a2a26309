"""The venue's own clock: when a row meets our orders, when it reaches the strategy, what comes first.

Latencies are 20 ms to us, 5 ms to the venue, 7 ms for its answers: an order decided at 1 is at the venue at
1.005 and heard of at 1.012. Three are offered at 101, four at 102; a row takes the offer of 101 away. Whether
the order pays 101 or 102 tells which came first.
"""

from __future__ import annotations

from typing import Any

import pytest

from engine.config import Latency, Rules, RunConfig
from engine.loop.run import Runner
from engine.model.kinds import Flag, Kind, NewsData, encode_canonical
from engine.model.units import MILLISECOND_NS, NULL_TIME
from tests.helpers.logs import Message, Row, at
from tests.reference.drive import ListedJournal, loaded, run_engine, run_twin
from tests.reference.scenario import (
    DEPTH,
    Script,
    book,
    clock,
    play,
    settings,
    status,
    together,
    trades,
    whole,
)

MS = MILLISECOND_NS
BOOK = book(0, bids={99: 5}, asks={101: 3, 102: 4}, stamp=at(0))
TAKE = {1: lambda ctx, it: ctx.market(it, 1)}
LATENCY = Latency(20 * MS, 5 * MS, 7 * MS)


def own(latency: Latency = LATENCY, **more: Any) -> RunConfig:
    """The clock of the venue."""
    return settings(latency=latency, clock="venue", **more)


def gone(received: float, stamp: float | None = None, **more: Any) -> Message:
    """The offer at 101 goes."""
    return book(received, asks={101: 0}, stamp=NULL_TIME if stamp is None else at(stamp), **more)


@pytest.mark.parametrize(
    ("rows", "pays"),
    [
        ([gone(1.030, 1.004)], 102),  # stamped before the order is there, received long after
        ([gone(1.030, 1.006)], 101),
        ([gone(1.030, 1.005)], 101),  # at one time: what is due first, then the venue's row
        ([gone(1.024)], 102),  # no stamp: 20 ms before it was received
        ([gone(1.025)], 101),
        ([gone(1.003, 1.050)], 102),  # stamped after its receipt: held back to it
        ([book(1.029, bids={98: 1}, stamp=at(1.006)), gone(1.030, 1.001)], 101),  # not before the row above
        ([clock(1.0055), gone(1.030, 1.004)], 102),  # which a row of the engine's own is not
    ],
)
def test_a_row_meets_orders_when_the_venue_stamped_it(rows: list[Message], pays: int) -> None:
    """An order that arrives at 1.005."""
    assert play([BOOK, *rows], TAKE, own()) == [f"1.012 fill #1 1@{pays} taker"]


def test_a_headline_is_no_row_of_the_venues() -> None:
    """Its stamp of 1.0055 does not hold the book's row of 1.004 up."""
    data = encode_canonical(NewsData(id="1", headline="Something happened"))
    news = Message(at(1.0055), (Row(Kind.NEWS, at(1.0055), data=data),))
    assert play([BOOK, news, gone(1.030, 1.004)], TAKE, own()) == ["1.012 fill #1 1@102 taker"]


@pytest.mark.parametrize(("shift_ms", "pays"), [(0, 101), (-1, 101), (-2, 102)])
def test_the_venues_stamps_are_shifted(shift_ms: int, pays: int) -> None:
    """Stamped 1.006: with -2 ms it happened at 1.004."""
    config = own(venue_shift_ns={"binance": shift_ms * MS})
    assert play([BOOK, gone(1.030, 1.006)], TAKE, config) == [f"1.012 fill #1 1@{pays} taker"]


@pytest.mark.parametrize(("lookahead_ms", "pays"), [(26, 102), (25, 101), (20, 101)])
def test_no_row_is_older_than_the_look_ahead(lookahead_ms: int, pays: int) -> None:
    """Stamped 0.9 and received at 1.030: it is taken to be that old at most."""
    config = own(lookahead_ns=lookahead_ms * MS)
    assert play([BOOK, gone(1.030, 0.9)], TAKE, config) == [f"1.012 fill #1 1@{pays} taker"]


@pytest.mark.parametrize(("row_by_row", "pays"), [(False, 101), (True, 102)])
def test_a_message_happens_when_its_last_row_does(pays: int, *, row_by_row: bool) -> None:
    """Its rows are stamped 1.004 and 1.006; row by row each has its own time."""
    both = together(gone(1.030, 1.004), book(1.030, bids={98: 1}, stamp=at(1.006)))
    config = own(rules=Rules(row_by_row=row_by_row))
    assert play([BOOK, both], TAKE, config) == [f"1.012 fill #1 1@{pays} taker"]


def test_a_snapshot_happens_with_its_last_row_even_row_by_row() -> None:
    """It is one step: nothing of it counts before all of it is there."""
    rows = book(1.030, asks={102: 4}, bids={99: 5}, snapshot=True, stamp=at(1.004)).rows
    late = Row(Kind.BOOK, at(1.006), 1, 0, int(Flag.SNAPSHOT), 1, 1, 98, 1)
    config = own(rules=Rules(row_by_row=True))
    assert play([BOOK, Message(at(1.030), (*rows, late))], TAKE, config) == ["1.012 fill #1 1@101 taker"]


def test_the_strategy_sees_a_row_when_it_is_received() -> None:
    """At 1.010 the venue's offer of 101 has been gone for 6 ms; the strategy sees it until 1.030."""
    seen: list[float] = []
    deeds = {s: lambda ctx, it: seen.append(ctx.book(it).asks[0][0]) for s in (1.010, 1.029, 1.031)}
    play([BOOK, gone(1.030, 1.004)], deeds, own())
    assert seen == [101.0, 101.0, 102.0] * 2  # by the engine and by the twin


def test_a_fill_may_be_heard_before_the_trade_that_made_it() -> None:
    """Sold through us at 2, heard of at 2.007, the trade itself received at 2.020."""
    market = [BOOK, trades(2.020, (-1, 98, 3), stamp=at(2))]
    deeds = {1: lambda ctx, it: ctx.limit(it, 4, 99)}
    assert play(market, deeds, own()) == ["2.007 fill #1 3@99 through"]


@pytest.mark.parametrize(("entry", "pays"), [(0, 102), (1, 102)])
def test_at_one_time_agenda_then_venue_then_strategy(entry: int, pays: int) -> None:
    """The venue's row of time 2 comes before the strategy acts on what it receives at 2, even at once."""
    market = [BOOK, trades(2, (1, 101, 1), stamp=at(2)), gone(2.030, 2)]

    class Follows(Script):
        """Buys one with each trade."""

        def on_trade(self, ctx: Any, trade: Any) -> None:
            """Buy."""
            ctx.market(trade.instrument, 1)

    config = own(Latency(0, entry * MS, 0))
    outcome = run_engine([*market, clock(9)], Follows({}), config, [DEPTH])
    assert [d.price for d in outcome.journal if d.kind == "fill"] == [pays]
    assert outcome.journal == run_twin([*market, clock(9)], Follows({}), config, [DEPTH]).journal


TWO = (DEPTH, whole("trade", "book", key="XY.kraken", venue="kraken"))


def test_each_venue_has_its_own_time() -> None:
    """A row of kraken's, stamped 1.2, does not hold up binance's of 1.004."""
    other = book(1.201, bids={50: 1}, stamp=at(1.2), instrument=2)
    market = [BOOK, other, gone(1.230, 1.004)]
    assert play(market, TAKE, own(), TWO) == ["1.012 fill #1 1@102 taker"]


def test_a_message_of_two_venues_ends_at_both() -> None:
    """Binance's row of it does not wait for binance's next message."""
    mixed = together(gone(1.030, 1.004), book(1.030, bids={50: 1}, stamp=at(1.030), instrument=2))
    market = [BOOK, mixed, book(1.5, bids={97: 1}, stamp=at(1.5))]
    assert play(market, TAKE, own(), TWO) == ["1.012 fill #1 1@102 taker"]


def test_a_gap_comes_to_the_venue_in_its_own_rows() -> None:
    """Told at 2, at the venue 20 ms before; the snapshot of 1.985, received at 2.010, has mended the book."""
    again = book(2.010, bids={99: 5}, asks={101: 3}, snapshot=True, stamp=at(1.985))
    deeds = {3: lambda ctx, it: ctx.market(it, 1)}
    for gap in (status(2, "gap", "book", instrument=1), status(2, "disconnected")):
        assert play([BOOK, gap, again], deeds, own()) == ["3.012 fill #1 1@101 taker"]
        assert play([BOOK, gap], deeds, own()) == []


def test_a_feed_slower_than_the_look_ahead_is_waited_for() -> None:
    """Rows without a stamp are a second old, the look-ahead is 10 ms: they still come in time."""
    config = own(Latency(1000 * MS, 5 * MS, 7 * MS), lookahead_ns=10 * MS)
    assert play([BOOK, clock(1.5), gone(2.004)], TAKE, config) == ["1.012 fill #1 1@102 taker"]


def test_a_run_without_a_row_ends() -> None:
    """There is nothing to wait for."""
    runner = Runner(own(), loaded(Script({})), ListedJournal())
    runner.finish()
    assert runner.finished
