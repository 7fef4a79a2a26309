"""How does a measurement here become a figure?

Ours and the other run in turn, five times each unless told otherwise, in fresh processes where start-up
or memory matters; what is compared is the median of each. Absolute figures belong to one machine on one
day, so every result is printed as a ratio with both sides beside it and with the machine it was seen on.
Nothing here knows the engine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "bench" / ".cache"
RUNS = 5

Result = TypeVar("Result")


class Stopwatch:
    """Seconds between entering and leaving."""

    seconds = 0.0

    def __enter__(self) -> Self:
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._began


def alternate(contenders: dict[str, Callable[[], Result]], runs: int = RUNS) -> dict[str, list[Result]]:
    """Call every contender in turn, `runs` rounds; all results by name."""
    results: dict[str, list[Result]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, call in contenders.items():
            results[name].append(call())
    return results


def medians(results: dict[str, list[float]]) -> dict[str, float]:
    """Median of each contender's figures."""
    return {name: statistics.median(values) for name, values in results.items()}


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the ordered values lie."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def run_json(command: Sequence[str | Path], **options: Any) -> Any:
    """Run a command and decode the JSON object that is the last line it prints; its stderr is ours."""
    done = subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, check=True, cwd=ROOT, **options
    )
    return json.loads(done.stdout.splitlines()[-1])


def engine_command(*arguments: str | Path) -> list[str]:
    """The engine of this environment, as a user starts it; of this checkout where none is installed."""
    script = Path(sys.executable).with_name("engine")
    start = [str(script)] if script.exists() else [sys.executable, "-m", "engine"]
    return [*start, *map(str, arguments)]


def backtest(log: Path, *options: str) -> dict[str, Any]:
    """What `engine backtest --json` says of the crossing strategy over a log, run in Python."""
    strategy = ROOT / "bench" / "strategies" / "cross.py"
    command = engine_command("backtest", log, "--strategy", strategy, "--interpreted", *options)
    result: dict[str, Any] = run_json([*command, "--runs", CACHE / "runs", "--json"])
    return result


def machine() -> str:
    """One line on where and when: it belongs beside every figure."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {_processor()}, {os.cpu_count()} CPUs, "
        f"{platform.system()}, Python {platform.python_version()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def show(title: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """Print a small Markdown table: what, measured, wanted."""
    print(f"\n### {title}\n\n{machine()}\n")
    print("| what | measured | wanted |\n|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every bench has."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS, help="alternating runs of each (default 5)")
    parser.add_argument("--rows", type=int, default=0, help="use only so many rows, for a quick look")
    return parser
