"""When a strategy fails, the run stops and says where: file, line, event, row, time."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.loop.backtest import run_backtest
from engine.model.errors import StrategyError
from engine.strategy.loader import load_strategy
from tests.loop.logs import write_market
from tests.reference.drive import ListedJournal
from tests.reference.scenario import TRADES, quote, settings, trades

MARKET = [trades(1 + i, (1, 100 + i, 1)) for i in range(9)]

FAILING = '''"""Fails when told to."""

import engine


class Failing(engine.Strategy):
    """Raises in one handler."""

    where: str = ""

    def on_start(self, ctx):
        ctx.at(1_717_200_003_500_000_000, "half past three")
        self.fail("start")

    def on_trade(self, ctx, trade):
        if trade.price == 103.0:
            if self.where == "busy":
                ctx.limit(trade.instrument, 1, 50)
            self.fail("trade")
        if trade.price == 102.0 and self.where in ("order", "fill"):
            ctx.market(trade.instrument, 1)
        if trade.price == 104.0:
            self.fail("busy")

    def on_order(self, ctx, update):
        self.fail("order")

    def on_fill(self, ctx, fill):
        self.fail("fill")

    def on_timer(self, ctx, name):
        self.fail("timer")

    def on_stop(self, ctx):
        self.fail("stop")

    def fail(self, here):
        if self.where == here:
            raise ZeroDivisionError(f"in {here}")
'''


@pytest.mark.parametrize("batch_rows", [0, 1])
@pytest.mark.parametrize(
    ("where", "seq", "second", "given"),
    [
        ("start", 1, "23:59:59.999999001", ""),
        ("trade", 5, "00:00:04.000000000", "price=103.0"),
        ("busy", 6, "00:00:05.000000000", "price=104.0"),
        ("order", 4, "00:00:03.000000000", "state='accepted'"),
        ("fill", 4, "00:00:03.000000000", "reason='TAKER'"),
        ("timer", 4, "00:00:03.500000000", "'half past three'"),
        ("stop", 12, "00:00:10.000000000", ""),
    ],
)
def test_an_exception_names_file_line_row_time_and_event(
    tmp_path: Path, where: str, seq: int, second: str, given: str, batch_rows: int
) -> None:
    """From whichever handler it comes, in either gear, with the row that was applied last."""
    source = tmp_path / "failing.py"
    source.write_text(FAILING)
    log = write_market(tmp_path / "a.arrow", [*MARKET, quote(10, 1, 1, 2, 1)], [TRADES])
    journal = ListedJournal()
    loaded = load_strategy(str(source), [f"where={where}"])
    with pytest.raises(StrategyError) as caught:
        run_backtest([log], settings(), loaded, journal, batch_rows=batch_rows)
    said = caught.value.message
    line = FAILING[: FAILING.index("raise Zero")].count("\n") + 1
    assert f"failing.py:{line} in fail: ZeroDivisionError: in {where}" in said
    assert f"seq {seq}, " in said
    assert f"T{second}Z" in said
    assert given in said
    assert caught.value.hint


def test_what_was_decided_before_is_in_the_journal(tmp_path: Path) -> None:
    """The order of the event before the failure."""
    source = tmp_path / "failing.py"
    source.write_text(FAILING)
    log = write_market(tmp_path / "a.arrow", MARKET, [TRADES])
    journal = ListedJournal()
    with pytest.raises(StrategyError):
        run_backtest([log], settings(), load_strategy(str(source), ["where=order"]), journal)
    assert [d.kind for d in journal.decisions] == ["submit", "accepted"]
