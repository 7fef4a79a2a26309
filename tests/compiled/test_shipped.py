"""Every shipped strategy that can be compiled decides the same in both forms, on every processor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engine.config import Latency, Risk, RunConfig
from engine.log.journal import Journal
from engine.loop.backtest import run_backtest
from engine.model.errors import StrategyError
from engine.strategy.loader import load_strategy, shipped_names
from tests.helpers.logs import definitions, make_log
from tests.helpers.played import SAMPLE
from tests.helpers.two_venues import two_venues
from tests.reference.markets import ALL, BOOKED, QUOTED, RandomMarket
from tests.reference.scenario import BARS, bar

BENCH = Path(__file__).parent.parent.parent / "bench" / "strategies"
# Those that have no compiled form, with why.
INTERPRETED_ONLY = {
    "momentum_sentiment": r"making a Watch",
    str(BENCH / "echo_asking.py"): r"ctx\.ask\(\) has no compiled form",
}
SETTINGS = {
    "ma_band": ["band=0.0005"],
    "momentum": ["threshold=0.0001"],
    "imbalance": ["threshold=0.3"],
    "pairs": ["window=30", "enter=1.5"],
}
ELSEWHERE = msgspec.structs.replace(BOOKED, key="BOOKED.elsewhere", venue="elsewhere")
MARKETS = {"pairs": (BOOKED, QUOTED), "arbitrage": (BOOKED, ELSEWHERE)}
NAMES = [*shipped_names(), *(str(path) for path in sorted(BENCH.glob("[!_]*.py")))]
CONFIG = RunConfig(latency=Latency(1_000_000, 2_000_000, 3_000_000), risk=Risk(collar_millionths=30_000))


def run(name: str, log: Path, *, compiled: bool, batch_rows: int = 0) -> tuple[str, int]:
    """Journal hash and number of decisions of a run."""
    loaded = load_strategy(name, SETTINGS.get(name, []))
    type(loaded.strategy).__engine_compiled__ = compiled
    journal = Journal()
    result = run_backtest([log], CONFIG, loaded, journal, batch_rows=batch_rows)
    assert (result.runner.memory.get("strategy") != 0) == compiled
    return journal.close(), journal.records


@pytest.mark.parametrize("name", NAMES, ids=lambda name: Path(name).stem)
def test_both_forms_give_one_hash_on_the_sample(name: str, tmp_path: Path) -> None:
    """An hour of trades, quotes and books; where it takes two venues or bars, of those."""
    if name in INTERPRETED_ONLY:
        with pytest.raises(StrategyError, match=INTERPRETED_ONLY[name]):
            run(name, SAMPLE, compiled=True)
        return
    log = two_venues(tmp_path / "venues.arrow") if name == "arbitrage" else SAMPLE
    if Path(name).stem == "bar_cross":
        closes = [100 + 9 * abs(n % 300 - 150) // 150 for n in range(900)]
        bars = [bar(60 * n, price, price + 1, price - 1, price) for n, price in enumerate(closes)]
        head = definitions([msgspec.structs.replace(BARS, size_decimals=2, size_increment="0.01")])
        log = make_log(tmp_path / "bars.arrow", [*head, *bars], with_definitions=False)
    expected = run(name, log, compiled=False)
    assert run(name, log, compiled=True) == expected
    assert run(name, log, compiled=True, batch_rows=1000) == expected
    assert expected[1] > 0


@pytest.mark.parametrize("name", NAMES, ids=lambda name: Path(name).stem)
def test_both_forms_give_one_hash_on_random_markets(name: str, tmp_path: Path) -> None:
    """Five instruments (two, where it takes two) with every kind of data, gaps and resyncs."""
    if name in INTERPRETED_ONLY:
        pytest.skip(INTERPRETED_ONLY[name])
    instruments = MARKETS.get(name, ALL)
    messages = RandomMarket(61, instruments).messages(3000, end=False)
    log = make_log(
        tmp_path / "market.arrow",
        [*definitions(instruments), *messages],
        per_batch=200,
        with_definitions=False,
    )
    expected = run(name, log, compiled=False)
    assert run(name, log, compiled=True) == expected
    assert run(name, log, compiled=True, batch_rows=7) == expected


@pytest.mark.long  # the kernels are compiled once more
@pytest.mark.parametrize("name", ["imbalance", "market_maker", "grid", "pairs"])
def test_another_processor_gives_the_same_hash(name: str) -> None:
    """A process that compiles for the plainest processor of this kind."""
    expected = run(name, SAMPLE, compiled=True)
    text = (
        "from tests.compiled.test_shipped import SAMPLE, run\n"
        f"print(run('{name}', SAMPLE, compiled=True)[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", text],
        env={**os.environ, "NUMBA_CPU_NAME": "generic"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected[0]
