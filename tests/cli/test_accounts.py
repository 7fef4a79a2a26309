"""`engine backtest`: fees, slippage, accounts, splits and dividends, as options and in what a run leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.helpers.command import call

# Trades of an invented share on 2024-06-03; XNYS opens at 13:30 UTC. Its split counts at 13:31.
TRADES = """symbol,ts,price,size,side
EXMP,2024-06-03T13:30:00Z,100.00,10,buy
EXMP,2024-06-03T13:30:10Z,100.00,10,sell
EXMP,2024-06-03T13:30:40Z,102.00,10,buy
EXMP,2024-06-03T13:31:30Z,25.50,40,buy
EXMP,2024-06-03T13:32:30Z,25.75,40,sell
EXMP,2024-06-03T13:33:00Z,25.75,40,sell
"""
ACTIONS = """symbol,ts,action,ratio,amount,currency
EXMP,2024-06-03T13:30:30Z,dividend,,0.24,USD
EXMP,2024-06-03T13:31:00Z,split,4:1,,
"""
MINE = """
import engine

class Mine(engine.Strategy):
    size: float = 10.0

    def on_start(self, ctx):
        self.seen = 0

    def on_trade(self, ctx, trade):
        self.seen += 1
        if self.seen == 1:
            ctx.market(trade.instrument, self.size)
        if self.seen == 5:
            ctx.market(trade.instrument, -ctx.owned(trade.instrument))

    def on_fill(self, ctx, fill):
        ctx.log("fill", fill.side, fill.size, fill.fee, fill.fee_in)

    def on_corporate(self, ctx, action):
        ctx.log(action.action, action.ratio, action.amount, action.position)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log of trades, a dividend and a split, and a strategy that holds through them."""
    place = tmp_path_factory.mktemp("accounts")
    for name, content in (("trades.csv", TRADES), ("corporate.csv", ACTIONS), ("mine.py", MINE)):
        (place / name).write_text(content)
    (place / "fast.py").write_text(MINE.replace("class Mine", "@engine.compiled\nclass Mine"))
    options = ("--to", "exmp.arrow", "--venue", "nasdaq")
    call("log", "import", "trades.csv", "corporate.csv", *options, cwd=place).ok()
    return place


def run(folder: Path, *options: str, strategy: str = "mine.py") -> dict[str, Any]:
    """One backtest at zero latency without slippage, as its JSON."""
    fixed = ("backtest", "exmp.arrow", "--strategy", strategy, "--latency", "0", "--slippage", "0", "--json")
    options = ("--currency", "USD", *options)
    result: dict[str, Any] = call(*fixed, *options, cwd=folder).ok().json
    return result


def config_of(folder: Path, result: dict[str, Any]) -> Any:
    """The configuration in run.json."""
    return msgspec.json.decode((folder / result["run_dir"] / "run.json").read_bytes())["config"]


def test_a_position_goes_through_a_dividend_and_a_split(folder: Path) -> None:
    """10 at 100.00, 0.24 for each, 4:1, 40 sold at 25.75: 1,030 - 1,000 + 2.40."""
    result = run(folder, "--maker-fee-bp", "0", "--taker-fee-bp", "0")
    assert result["pnl"] == pytest.approx(32.4)
    assert (result["dividends"], result["position"], result["round_trips"]) == (2.4, {}, 1)
    said = call("why", result["run_dir"], cwd=folder).ok().out
    assert "dividend  position of 10  given 2.4" in said
    assert "split  position changed by 30  taken 0" in said
    assert "log  split 4.0 0.0 40.0" in said


@pytest.mark.parametrize(
    ("options", "buy", "sell"),
    [
        (("--taker-fee-bp", "10"), 1.0, 1.03),
        (("--profile", "alpaca-stock"), 0.0, 0.028634 + 40 * 0.000166),
        (("--profile", "default", "--taker-fee-bp", "0", "--fee-per-unit", "0.005"), 0.05, 0.2),
        (("--taker-fee-bp", "0", "--fee-per-fill", "1", "--buy-fee-bp", "1"), 1.1, 1.0),
    ],
)
def test_fees_by_option_and_profile(folder: Path, options: tuple[str, ...], buy: float, sell: float) -> None:
    """Of 1,000.00 bought and 1,030.00 sold."""
    result = run(folder, *options)
    assert result["fees"] == pytest.approx(buy + sell, abs=5e-8)
    assert set(result["fees_by_asset"]) == {"USD"}


@pytest.mark.parametrize("account", ["research", "cash", "margin"])
@pytest.mark.parametrize("strategy", ["mine.py", "fast.py"])
def test_a_run_with_all_of_it_verifies(folder: Path, strategy: str, account: str) -> None:
    """Interpreted or compiled: one hash, and `engine verify` gives it again."""
    more = ("--leverage", "1.5", "--borrow-fee", "2.5") if account == "margin" else ()
    options = ("--slippage", "random:5bp", "--seed", "3", "--fee-per-unit", "0.01", "--account", account)
    result = run(folder, *options, *more, strategy=strategy)
    assert call("verify", result["run_dir"], cwd=folder).ok()
    assert result["journal_hash"] == run(folder, *options, *more)["journal_hash"]
    assert (result["account"], result["slippage"]) == (account, "random, up to 5 bp")
    config = config_of(folder, result)
    assert config["account"]["type"] == account
    assert config["fees"]["per_unit"] == "0.01"
    assert (config["slippage_rate"], config["slippage_drawn"]) == (500_000, True)
    if account == "margin":
        assert (config["account"]["leverage_millionths"], config["account"]["borrow_rate"]) == (
            1_500_000,
            25_000_000,
        )


def test_the_table_names_the_account_and_what_it_was_charged(folder: Path) -> None:
    """As people read it."""
    options = ["--account", "margin", "--leverage", "3", "--borrow-fee", "2", "--slippage", "2bp"]
    options += ["--currency", "USD"]
    text = call("backtest", "exmp.arrow", "--strategy", "mine.py", *options, cwd=folder).ok().out
    assert "margin, capital 100,000.00 USD, up to 3 times the equity, shorts borrowed at 2 % a year" in text
    assert "slippage 2 bp" in text
    assert "charges      dividends +2.40 USD" in text


def test_a_venue_takes_its_fees_from_another_profile(folder: Path) -> None:
    """40 bp of Kraken's for what is traded at nasdaq; run.json has them by venue."""
    result = run(folder, "--venue-fees", "nasdaq=kraken-spot")
    assert result["fees"] == pytest.approx(1_000 * 0.004 + 1_030 * 0.004)
    assert config_of(folder, result)["venue_fees"]["nasdaq"]["taker"] == 4_000_000


def test_a_profile_of_ones_own_has_tiers_and_venues(folder: Path) -> None:
    """From 500 traded on one basis point; --taker-fee-bp puts the tiers out of force."""
    (folder / "tiers.toml").write_text(
        'note = "Mine."\n[fees]\ntaker_bp = "10"\nmaker_bp = "0"\n'
        '[[fees.tiers]]\nnotional = "500"\nmaker_bp = "0"\ntaker_bp = "1"\n'
        '[venues.kraken]\nasset = "received"\n'
    )
    assert run(folder, "--profile", "tiers.toml")["fees"] == pytest.approx(1.0 + 0.103)
    flat = run(folder, "--profile", "tiers.toml", "--taker-fee-bp", "10")
    assert flat["fees"] == pytest.approx(1.0 + 1.03)
    assert config_of(folder, flat)["fees"]["tiers"] == []
    assert config_of(folder, flat)["venue_fees"]["kraken"]["asset"] == "received"


def test_received_fees_cannot_go_through_a_split(folder: Path) -> None:
    """What they took is of old units; the row is named, and what to do."""
    done = call("backtest", "exmp.arrow", "--strategy", "mine.py", "--fee-asset", "received", cwd=folder)
    assert done.code == 2
    assert "splits EXMP.nasdaq, of which fees were taken" in done.err
    assert "choose --fee-asset quote" in done.err
