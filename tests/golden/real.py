"""The market maker over real market data: what each case decided when its figures were last accepted.

    ENGINE_TEST_DATA=FOLDER python -m tests.golden.real

runs all cases anew and writes their figures to real.json. Do so after a change that is meant to change
decisions, and look at what changed. The data themselves are not part of the project: only hashes and counts
are kept.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config import Latency, RunConfig
from engine.ingest.capture import import_capture
from engine.ingest.tabular import import_tables
from engine.ingest.tabular_survey import TableOptions
from engine.ingest.tabular_units import UnitsWanted
from engine.model.units import MILLISECOND_NS
from tests.helpers.played import play

FILE = Path(__file__).with_name("real.json")
BINANCE = ("btcusdt_20240808.gz", "btcusdt_20240809.gz")  # the snapshot is in the first
# The markets move little in so short a time: quotes close enough to be met.
NEAR = {"half_spread_bp": 0.5, "tolerance_bp": 0.1, "skew_bp": 0.5}
SHARES = {"half_spread_bp": 2.0, "tolerance_bp": 1.8, "size": 100.0, "limit": 500.0, "interval": "60s"}


@dataclass(frozen=True)
class Case:
    """One run: of which data, under which clock."""

    data: str  # a function of `Logs`
    clock: str = "received"

    def __str__(self) -> str:
        return f"{self.data}, clock {self.clock}"


CASES = (
    Case("google_by_order"),
    Case("google_by_order", clock="venue"),
    Case("google_by_price"),
    Case("bitcoin"),
    Case("bitcoin", clock="venue"),
)


class Logs:
    """The logs of the cases, made from the captures in `source` when they are asked for."""

    def __init__(self, source: Path, folder: Path) -> None:
        self._source = source
        self._folder = folder

    def of(self, name: str) -> Path:
        """A log by its name."""
        log = self._folder / f"{name}.arrow"
        if not log.exists():
            getattr(self, name)(log)
        return log

    def bitcoin(self, log: Path) -> None:
        """Binance's trades, quotes and depth of BTCUSDT, eleven minutes of 2024-08-08 and 09."""
        import_capture([self._source / "binance_spot" / name for name in BINANCE], log, symbol="BTCUSDT")

    def google_by_order(self, log: Path) -> None:
        """LOBSTER's free sample, level 1 of GOOG on 2012-06-21, as orders."""
        self._google(log, by_order=True)

    def google_by_price(self, log: Path) -> None:
        """The same as levels."""
        self._google(log, by_order=False)

    def _google(self, log: Path, *, by_order: bool) -> None:
        (packed,) = (self._source / "lobster").glob("*.zip")
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(self._folder)
        (path,) = self._folder.glob("*_message_1.csv")
        import_tables([(path, path.name)], log, TableOptions(by_order=by_order), UnitsWanted())


def figures(logs: Logs, case: Case, *, compiled: bool = True, batch_rows: int = 65_536) -> dict[str, Any]:
    """What a case comes to."""
    config = RunConfig(latency=Latency(MILLISECOND_NS, MILLISECOND_NS, MILLISECOND_NS), clock=case.clock)
    parameters = NEAR if case.data == "bitcoin" else SHARES
    log = logs.of(case.data)
    run = play("market_maker", log, config, parameters, compiled=compiled, batch_rows=batch_rows)
    run.check_money()
    reasons = Counter(d.reason for d in run.fills)
    return {"hash": run.hash, "orders": len(run.of("submit")), "fills": dict(sorted(reasons.items()))}


def kept() -> dict[str, dict[str, Any]]:
    """The figures as they were last accepted, by case."""
    found: dict[str, dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def main() -> int:
    """Accept what the cases come to now."""
    folder = os.environ.get("ENGINE_TEST_DATA")
    if not folder:
        sys.stderr.write("ENGINE_TEST_DATA is not set: it names the folder of captured market data\n")
        return 2
    with tempfile.TemporaryDirectory() as made:
        logs = Logs(Path(folder), Path(made))
        found = {str(case): figures(logs, case) for case in CASES}
    FILE.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(FILE.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
