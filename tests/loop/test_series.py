"""`ctx.bars`: bars made of trades while they come in, and when on_bar gets them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from engine.model.errors import StrategyError
from engine.model.kinds import Flag, InstrumentData
from engine.model.units import SECOND_NS
from engine.strategy.api import Strategy
from tests.helpers.logs import Message, at
from tests.loop.test_definitions import definition
from tests.reference.drive import run_engine, run_twin
from tests.reference.scenario import BARS, TRADES, bar, clock, settings, trades, whole

PRINTS = [
    trades(1, (1, 100, 2), (1, 103, 1)),
    trades(59, (-1, 99, 4)),
    trades(60, (1, 101, 5)),
    trades(200, (-1, 98, 1)),
    clock(250),
]


class Listener(Strategy):
    """Asks for bars, and writes down what it is told and when."""

    def __init__(self, every: Sequence[str], deed: Callable[..., object] | None = None) -> None:
        super().__init__()
        self.every = every
        self.deed = deed
        self.told: list[str] = []
        self.bars: list[Any] = []

    def on_start(self, ctx: Any) -> None:
        """Ask."""
        self.numbers = [ctx.bars(ctx.instruments[0], every) for every in self.every]

    def on_trade(self, ctx: Any, trade: Any) -> None:
        """Write down."""
        self.told.append(f"{_seconds(ctx.now)} trade {trade.price:g}")

    def on_bar(self, ctx: Any, bar: Any) -> None:
        """Write down, and do what was given to do."""
        prices = " ".join(f"{value:g}" for value in (bar.open, bar.high, bar.low, bar.close))
        begun = f"{_seconds(bar.start)} to {_seconds(bar.end)}"
        self.told.append(
            f"{_seconds(ctx.now)} #{bar.series} {begun}: {prices}, {bar.volume:g} of {bar.trades}"
        )
        self.bars.append(bar)
        if self.deed is not None:
            self.deed(ctx, bar)


def _seconds(ts: int) -> str:
    return f"{(ts - at(0)) / SECOND_NS:g}"


def told(
    every: Sequence[str], messages: Sequence[Message], instruments: Sequence[InstrumentData] = (TRADES,)
) -> list[str]:
    """What a strategy with these series is told, the bars alone; the twin and any batches agree."""
    twin = Listener(every)
    run_twin(messages, twin, settings(), instruments)
    for batch_rows in (1, 3, 65_536):
        for chunk in (1, 1024):
            ours = Listener(every)
            run_engine(messages, ours, settings(), instruments, batch_rows=batch_rows, chunk=chunk)
            assert ours.told == twin.told
            assert ours.bars == twin.bars
    return [line for line in twin.told if "#" in line]


def test_a_time_bar_is_told_at_its_end_when_a_row_comes_that_is_not_earlier() -> None:
    """The minute from 0 to 60 s: told at 60, before the trade of 60; the next trade of it came at 200."""
    assert told(["1m"], PRINTS) == [
        "60 #1 0 to 60: 100 103 99 99, 7 of 3",
        "120 #1 60 to 120: 101 101 101 101, 5 of 1",
        "240 #1 180 to 240: 98 98 98 98, 1 of 1",
    ]


def test_a_bar_that_is_open_at_the_end_is_no_bar() -> None:
    """Its end at 240 s was never reached."""
    assert told(["1m"], PRINTS[:-1])[-1] == "120 #1 60 to 120: 101 101 101 101, 5 of 1"


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ("2t", ["1 #1 1 to 1: 100 103 100 103, 3 of 2", "60 #1 59 to 60: 99 101 99 101, 9 of 2"]),
        ("5v", ["59 #1 1 to 59: 100 103 99 99, 7 of 3", "60 #1 60 to 60: 101 101 101 101, 5 of 1"]),
        ("303d", ["1 #1 1 to 1: 100 103 100 103, 3 of 2", "59 #1 59 to 59: 99 99 99 99, 4 of 1"]),
    ],
)
def test_other_bars_are_told_after_the_trade_that_filled_them(every: str, expected: list[str]) -> None:
    """2 trades; 2 + 1 + 4 is not less than 5; 2 * 100 + 1 * 103 is just 303."""
    bars = told([every], PRINTS)
    assert bars[:2] == expected


def test_what_is_told_at_one_time_comes_in_order() -> None:
    """The minute first, then the trade, then the bar that it filled; series in the order of asking."""
    strategy = Listener(["2t", "1m", "30s", "1t"])
    run_engine(PRINTS, strategy, settings(), (TRADES,))
    assert strategy.numbers == [1, 2, 3, 4]
    assert [line.split(":")[0] for line in strategy.told if line.startswith("60 ")] == [
        "60 #2 0 to 60",
        "60 #3 30 to 60",
        "60 trade 101",
        "60 #1 59 to 60",
        "60 #4 60 to 60",
    ]


def test_the_same_words_are_the_same_series() -> None:
    """Asking twice makes no second bar."""
    assert told(["3t", "3t"], PRINTS) == ["59 #1 1 to 59: 100 103 99 99, 7 of 3"]


def test_trades_that_match_nothing_are_in_no_bar() -> None:
    """Doubled, late, rejected; and aggregates where the log has the trades one by one."""
    odd = [
        trades(1 + n, (1, 100 + n, 1), flags=flag)
        for n, flag in enumerate((Flag.DUPLICATE, Flag.OUT_OF_ORDER, Flag.REJECTED_TICK, Flag.AGGREGATE, 0))
    ]
    assert told(["1t"], odd) == ["5 #1 5 to 5: 104 104 104 104, 1 of 1"]


def test_no_order_fills_on_a_bar_that_was_made() -> None:
    """The instrument is matched on its trades: an order fills at once, at the last one and a tick."""
    strategy = Listener(["1m"], lambda ctx, bar: ctx.market(bar.instrument, 1))
    outcome = run_engine(PRINTS, strategy, settings(), (TRADES,))
    fills = [(_seconds(d.ts), d.price, d.reason) for d in outcome.journal if d.kind == "fill"]
    assert fills == [("60", 100, "taker"), ("120", 102, "taker"), ("240", 99, "taker")]


def test_bars_of_the_log_are_series_zero() -> None:
    """Beside those that were asked for."""
    both = whole("trade", "bar")
    strategy = Listener(["1t"])
    run_engine([trades(1, (1, 100, 2)), bar(60, 100, 100, 99, 99)], strategy, settings(), (both,))
    assert [(b.series, b.interval_ns) for b in strategy.bars] == [(1, 1), (0, 60 * SECOND_NS)]


def test_a_decision_names_the_row_that_caused_it() -> None:
    """Rows of bars are no rows of the log: its numbers stay."""

    def causes(every: Sequence[str]) -> list[int]:
        strategy = Listener(every, lambda ctx, bar: ctx.market(bar.instrument, 1))
        outcome = run_engine(PRINTS, strategy, settings(), (TRADES,))
        return [d.cause_seq for d in outcome.journal if d.kind == "submit"]

    # Definitions are rows 0 and 1; the trade at 60 s is row 5, the ones before it 2, 3 and 4.
    assert causes(["1m"]) == [4, 5, 6]
    assert causes(["5v"]) == [4, 5]


def test_a_bar_that_falls_due_is_something_to_wait_for() -> None:
    """Live, a CLOCK row is written for it, as for a timer."""
    strategy = Listener(["1m"])
    runner = run_engine([trades(61, (1, 100, 1))], strategy, settings(), (TRADES,)).runner
    assert runner.next_due() == at(120)


def test_a_bar_goes_on_when_the_instrument_gains_decimals() -> None:
    """Half of the volume in tenths, half in hundredths: the bar is filled by both."""
    narrow = whole("trade", size_decimals=1, size_increment="0.1")
    wide = whole(
        "trade", size_decimals=2, size_increment="0.01", price_decimals=1, price_increment="0.1", version=2
    )
    strategy = Listener(["10v", "1m", "450d"])
    messages = [
        trades(1, (1, 100, 40)),
        definition(trades(2, (1, 100, 40)), 1, wide),
        trades(3, (1, 1010, 600)),
        clock(60),
    ]
    run_engine(messages, strategy, settings(), (narrow,))
    assert [line for line in strategy.told if "#" in line] == [
        "3 #1 1 to 3: 100 101 100 101, 10 of 2",
        "3 #3 1 to 3: 100 101 100 101, 10 of 2",
        "60 #2 0 to 60: 100 101 100 101, 10 of 2",
    ]


@pytest.mark.parametrize(
    ("every", "words"),
    [
        ("1x", "is no duration"),
        ("0t", "the step must be between 1"),
        ("1.5t", "1.5 trades cannot be"),
        ("0.5v", "no more than 0 decimals"),
        ("1d", "for 1 days write 24h"),
        ("0", "the step must be between 1"),
    ],
)
def test_what_cannot_be_is_said_at_once(every: str, words: str) -> None:
    """In on_start, with what to write instead."""
    with pytest.raises(StrategyError) as caught:
        run_engine(PRINTS, Listener([every]), settings(), (TRADES,))
    assert words in f"{caught.value} {caught.value.hint}"


def test_bars_are_asked_for_in_on_start_of_what_has_trades_by_who_hears_them() -> None:
    """Later, without on_bar, or of an instrument that has bars alone, it is an error."""
    late = Listener(["1t"], lambda ctx, bar: ctx.bars(bar.instrument, "2t"))
    with pytest.raises(StrategyError, match="only in on_start"):
        run_engine(PRINTS, late, settings(), (TRADES,))
    with pytest.raises(StrategyError, match="no trades of XY"):
        run_engine([bar(0, 1, 1, 1, 1)], Listener(["1t"]), settings(), (BARS,))
