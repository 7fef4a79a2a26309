"""Results of runs that asked a model are split at the end of what it can have read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.loop.asking import Figures
from engine.report.hindsight import question_warnings
from tests.helpers.command import call
from tests.helpers.logs import BTC, Message, at, definitions, make_log, quote

QUOTED = msgspec.structs.replace(BTC, channels=("trade", "quote"))
CUT = 760 * 86_400  # seconds from 2024-06-01 to 2026-07-01, the day after the cutoff
# Buys one at the first quote and holds it; asks at every quote.
STRATEGY = """
import msgspec
import engine


class Mood(msgspec.Struct, frozen=True):
    sentiment: float


PROMPT = engine.Prompt("mood", 1, "Headline: {headline}", Mood)


class Holder(engine.Strategy):
    asks: bool = True

    def on_start(self, ctx):
        self.bought = False

    def on_quote(self, ctx, quote):
        if self.asks:
            ctx.ask(PROMPT, quote.instrument, default=Mood(0.0), timeout="1ms", headline=str(ctx.now))
        if not self.bought:
            self.bought = True
            ctx.market(quote.instrument, 1.0)

    def on_answer(self, ctx, answer):
        pass
"""
PRICES = [
    (10000, 10002),
    (10300, 10302),
    (10100, 10102),
    (10500, 10502),
]  # bid and ask in cents, a second apart


def run(cwd: Path, first: float, *options: str) -> dict[str, Any]:
    """The holder over four quotes, a second apart, from `first` seconds after 2024-06-01."""
    start = [Message(at(first) - 1000 + n, each.rows) for n, each in enumerate(definitions((QUOTED,)))]
    quotes = [quote(first + n, bid, ask, 500_000) for n, (bid, ask) in enumerate(PRICES)]
    make_log(cwd / "a.arrow", [*start, *quotes], with_definitions=False, sealed=True)
    (cwd / "holder.py").write_text(STRATEGY)
    words = ("--answers", "default", "--latency", "0ms", "--taker-fee-bp", "0", "--capital", "1000", *options)
    result: dict[str, Any] = (
        call("backtest", "a.arrow", "--strategy", "holder.py", *words, "--json", cwd=cwd).ok().json
    )
    return result


def test_a_run_over_the_cutoff_has_two_results(tmp_path: Path) -> None:
    """Two quotes before midnight, two after: bought at 100.02, marked at 103.01, then at 105.01."""
    result = run(tmp_path, CUT - 2)
    split = result["hindsight"]
    assert (split["cutoff"], split["models"]) == ("2026-06-30", ["claude-haiku-5-5"])
    before, after = split["before"], split["after"]
    assert before["contaminated"]
    assert not after["contaminated"]
    assert before["pnl"] == pytest.approx(103.01 - 100.02, abs=1e-9)
    assert after["pnl"] == pytest.approx(105.01 - 103.01, abs=1e-9)
    assert after["return_percent"] == pytest.approx(100 * 2.0 / 1002.99, rel=1e-9)
    assert after["max_drawdown"] == pytest.approx(103.01 - 101.01, abs=1e-9)
    assert (before["orders"], before["fills"], before["questions"]) == (1, 1, 2)
    assert (after["orders"], after["fills"], after["questions"]) == (0, 0, 2)
    assert (before["first"], after["first"]) == (
        "2026-06-30T23:59:57.999999000Z",
        "2026-07-01T00:00:00.000000000Z",
    )
    assert before["pnl"] + after["pnl"] == pytest.approx(result["pnl"], abs=1e-9)


@pytest.mark.parametrize(("first", "sides"), [(0, (True, False)), (CUT, (False, True))])
def test_a_run_on_one_side_has_one_result(tmp_path: Path, first: int, sides: tuple[bool, bool]) -> None:
    """All of it known, or none of it; the side that there is has all of the profit."""
    result = run(tmp_path, first + (0.5 if first else 0))
    split = result["hindsight"]
    assert (split["before"] is not None, split["after"] is not None) == sides
    (side,) = (each for each in (split["before"], split["after"]) if each is not None)
    assert side["pnl"] == pytest.approx(result["pnl"], abs=1e-9)
    said = [
        words for words in result["warnings"] if words.startswith("contaminated: claude-haiku-5-5 may have")
    ]
    assert bool(said) == sides[0]


def test_people_are_told_as_well(tmp_path: Path) -> None:
    """Table and warning name the model, the label and the day."""
    run(tmp_path, 0)
    done = call("backtest", "a.arrow", "--strategy", "holder.py", "--answers", "default", cwd=tmp_path).ok()
    assert "claude-haiku-5-5 may have read what happened up to 2026-06-30" in done.out
    assert "nothing: no data is later than what the model may have read" in done.out
    assert (
        "4 to claude-haiku-5-5: 3 by default at the deadline, 1 still open; 0.000000 USD when they were asked"
        in done.out
    )
    assert "contaminated: claude-haiku-5-5 may have read what happened before 2026-06-30 was over" in done.err
    assert "4 questions have no recorded answer" in done.err


def test_a_run_that_asks_nothing_has_no_hindsight(tmp_path: Path) -> None:
    """No model, no label, no line."""
    result = run(tmp_path, 0, "--set", "asks=false")
    assert (result["hindsight"], result["questions"]) == (None, None)
    assert not any("contaminated" in words for words in result["warnings"])


@pytest.mark.parametrize(("answers", "said"), [("log", True), ("error", False), ("default", False)])
def test_rows_that_nobody_reads_are_no_strangers(answers: str, *, said: bool) -> None:
    """A run that has its answers from a store passes those of the log over; that is no trouble."""
    warnings = question_warnings(Figures(asked=3, unasked=3), None, answers=answers)
    assert any("belong to no question" in words for words in warnings) == said


def test_an_interval_has_both_for_each_of_its_models(tmp_path: Path) -> None:
    """--interval: the split stands under each queue model, and in the table."""
    result = run(tmp_path, CUT - 2, "--interval")
    for headline in result["interval"].values():
        assert headline["hindsight"]["before"]["contaminated"]
    words = ("--answers", "default", "--interval")
    done = call("backtest", "a.arrow", "--strategy", "holder.py", *words, cwd=tmp_path).ok()
    assert "P&L contaminated" in done.out
