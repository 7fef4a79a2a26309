"""The figures of a run, held against a small example worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.model.kinds import InstrumentData
from engine.report.summary import Summary, table
from tests.helpers.command import call
from tests.helpers.logs import BTC, Message, definitions, make_log, quote, trade
from tests.strategy.write import write_strategy

QUOTED = msgspec.structs.replace(BTC, channels=("trade", "quote"))

# What the strategy does at its n-th quote; every order fills at that quote's other side, at once.
ORDERS = {1: 1.0, 3: -1.0, 4: -2.0, 5: 2.0, 6: 0.5}
# bid and ask in cents, at 0.5 s, 1.5 s and so on; one whole unit and more on each side
QUOTES = [(10000, 10002), (10300, 10302), (10100, 10102), (10098, 10100), (10298, 10300), (10298, 10300)]
LAST = (10400, 10402)

# cash: 1000 − 100.02 − 0.10002 = 899.87998           bought 1 at 100.02, fee 0.1 %
#       + 101.00 − 0.10100       = 1000.77898         sold 1 at 101.00: the trip won 0.77898
#       + 201.96 − 0.20196       = 1202.53702         sold 2 at 100.98
#       − 206.00 − 0.20600       = 996.33102          bought 2 at 103.00: the trip lost 4.44796
#       − 51.50 − 0.05150        = 944.77952          bought 0.5 at 103.00
# end:  + 0.5 × 104.01 (mid)     = 996.78452
PNL = -3.21548
FEES = 0.10002 + 0.101 + 0.20196 + 0.206 + 0.0515
TURNOVER = 100.02 + 101.0 + 201.96 + 206.0 + 51.5
# Equity at each second, after the quote half a second before:
#   1: 899.87998 + 100.01 = 999.88998   2: 899.87998 + 103.01 = 1002.88998   3: 1000.77898
#   4: 1202.53702 − 2 × 100.99 = 1000.55702   5: 996.33102   6: 944.77952 + 0.5 × 102.99 = 996.27452
PEAK, TROUGH = 1002.88998, 996.27452


def log(path: Path, messages: list[Message], instrument: InstrumentData = QUOTED) -> Path:
    """A log of one instrument."""
    return make_log(path, [*definitions((instrument,)), *messages], with_definitions=False, sealed=True)


def run(cwd: Path, *options: str) -> dict[str, Any]:
    """The hand-made example, run at zero latency."""
    prices = [*QUOTES, LAST]
    log(cwd / "a.arrow", [quote(n + 0.5, bid, ask, 500_000) for n, (bid, ask) in enumerate(prices)])
    strategy = cwd / "by_hand.py"
    strategy.write_text(
        "import engine\n\nclass ByHand(engine.Strategy):\n"
        "    count = 0\n"
        "    def on_quote(self, ctx, quote):\n"
        "        self.count += 1\n"
        f"        size = {ORDERS!r}.get(self.count)\n"
        "        if size:\n"
        "            ctx.market(quote.instrument, size)\n"
    )
    zero = ("--latency", "0ms", "--capital", "1000", "--taker-fee-bp", "10")
    done = call("backtest", "a.arrow", "--strategy", "by_hand.py", *zero, *options, "--json", cwd=cwd)
    result: dict[str, Any] = done.ok().json
    return result


def test_an_example_worked_out_by_hand(tmp_path: Path) -> None:
    """P&L, fees, turnover, round trips, drawdown, position: the numbers of the comment above."""
    result = run(tmp_path)
    assert result["pnl"] == PNL
    assert result["equity"] == 1000 + PNL
    assert result["return_percent"] == pytest.approx(PNL / 10, rel=1e-12)
    assert result["fees"] == pytest.approx(FEES, abs=1e-12)
    assert result["turnover"] == pytest.approx(TURNOVER, abs=1e-9)
    assert (result["orders"], result["fills"]) == (5, 5)
    assert result["fills_by_reason"] == {"TAKER": 5}
    assert result["ends_by_reason"] == {}
    assert result["position"] == {"BTCUSDT.binance": 0.5}
    assert (result["round_trips"], result["win_rate_percent"]) == (2, 50.0)
    assert result["max_drawdown"] == pytest.approx(PEAK - TROUGH, abs=1e-9)
    assert result["max_drawdown_percent"] == pytest.approx(100 * (PEAK - TROUGH) / PEAK, rel=1e-9)
    assert result["sharpe"] is None  # seven seconds
    assert (result["currency"], result["capital"]) == ("USDT", 1000.0)


def test_a_rebate_is_a_negative_fee(tmp_path: Path) -> None:
    """Two basis points back on every taken unit."""
    result = run(tmp_path, "--taker-fee-bp", "-2")
    assert result["fees"] == pytest.approx(-TURNOVER * 0.0002, abs=1e-9)
    assert result["pnl"] == pytest.approx(PNL + FEES + TURNOVER * 0.0002, abs=1e-9)


def test_a_position_is_marked_at_the_last_trade_where_no_quote_is(tmp_path: Path) -> None:
    """Trades alone: the last price marks it, and a taker pays the slippage of one tick."""
    trades = [trade(n, price, id=n, size=100_000) for n, price in enumerate((10000, 10000, 10500), start=1)]
    log(tmp_path / "a.arrow", trades, msgspec.structs.replace(BTC, channels=("trade",)))
    write_strategy(tmp_path, "if trade.id == 1:\n    ctx.market(trade.instrument, 1.0)")
    options = ("--latency", "0ms", "--taker-fee-bp", "0", "--capital", "1000", "--json")
    result = call("backtest", "a.arrow", "--strategy", "mine.py", *options, cwd=tmp_path).ok().json
    assert result["pnl"] == pytest.approx(105.00 - 100.01, abs=1e-12)


# -- the table


def lines_of(summary: Summary) -> dict[str, str]:
    """The table's rows by name."""
    return {
        line[2:].split("  ")[0]: line.strip().split("  ", 1)[1].strip()
        for line in table(summary).splitlines()[1:]
    }


def test_the_table_of_a_run_without_anything() -> None:
    """No fills, no position, no Sharpe, no folder: said in words."""
    lines = lines_of(Summary(strategy="idle", account="cash", currency="EUR", capital=5.0))
    assert lines["P&L"] == "+0.00 EUR (+0.000 %)"
    assert lines["Sharpe"] == "none: too short or flat a curve"
    assert lines["round trips"] == "0"
    assert lines["orders"] == "0 sent, 0 refused"
    assert lines["position"] == "flat"
    assert lines["account"] == "cash, capital 5.00 EUR"
    assert "files" not in lines


def test_the_table_counts_reasons_and_names_positions() -> None:
    """Orders and fills by reason, positions by key, the Sharpe ratio with its sampling."""
    summary = Summary(
        strategy="busy",
        account="research",
        currency="USDT",
        orders=12,
        refused=1_234,
        fills=9,
        ends_by_reason={"refused: price_collar": 1_234},
        fills_by_reason={"QUEUE": 2, "TAKER": 7},
        position={"A.x": 0.5, "B.x": -2.0},
        sharpe=-1.5,
        sharpe_returns=60,
        round_trips=4,
        win_rate_percent=25.0,
        inputs=["a.arrow", "b.arrow"],
        run_dir="runs/one",
    )
    lines = lines_of(summary)
    assert table(summary).startswith("busy over a.arrow, b.arrow\n")
    assert lines["orders"] == "12 sent, 1,234 refused (1,234 refused: price_collar)"
    assert lines["fills"] == "9 (2 QUEUE, 7 TAKER)"
    assert lines["position"] == "A.x 0.5, B.x -2"
    assert lines["Sharpe"] == "-1.50 from 60 one-minute returns, annualised over 365 days"
    assert lines["round trips"] == "4, 25.0 % won"
    assert lines["account"].endswith("unlimited: shorts and credit cost nothing")
    assert lines["files"] == "runs/one"
