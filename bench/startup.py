"""How long until a user sees something?

Whole processes, from start to exit: `engine --help`, a backtest of the sample with the kernels compiled, and
the same the first time ever (an empty cache).

    python -m bench.startup [--runs 5]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
from pathlib import Path

from bench.common import CACHE, ROOT, Stopwatch, arguments, engine_command, show

SAMPLE = ROOT / "recordings" / "2024-06-01.arrow"


def seconds(command: list[str], cache: str | None = None) -> float:
    """How long a command takes; its output is thrown away."""
    environment = {**os.environ, "ENGINE_CACHE": cache} if cache else None
    with Stopwatch() as watch:
        subprocess.run(
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=ROOT,
        )
    return watch.seconds


def main() -> None:
    """Medians of the warm ones, one of the cold."""
    options = arguments(__doc__).parse_args()
    backtest = engine_command("backtest", SAMPLE, "--runs", CACHE / "runs")
    with tempfile.TemporaryDirectory() as empty:
        cold = seconds(backtest, empty)
        warm = statistics.median(seconds(backtest, empty) for _ in range(options.runs))
    usage = statistics.median(seconds(engine_command("--help")) for _ in range(options.runs))
    name = Path(SAMPLE).relative_to(ROOT)
    show(
        "Start-up, whole processes",
        [
            ("`engine --help`", f"{usage:.2f} s", "at most 0.25 s"),
            (f"`engine backtest {name}`, warm", f"{warm:.2f} s", "at most 1.2 s"),
            ("the same, the first time ever", f"{cold:.1f} s", "at most 30 s"),
        ],
    )


if __name__ == "__main__":
    main()
