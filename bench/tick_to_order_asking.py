"""How much longer does an order take while a hundred questions to Claude are under way?

The live loop of `tick_to_order`, once as it is, once with a strategy that keeps a hundred questions open at a
local Messages API in a process of its own, which answers each after 2 to 6 seconds: some 25 answers a second
come in, and as many questions leave, while frames arrive at 5,000 a second. Latencies are the sender's, from
the moment a frame was scheduled to its order. The sender has a processor to itself, because it stands for a
machine elsewhere; session and asker share the other, which is the worst that can happen to them. The first
second, in which the hundred questions leave at once, has a percentile of its own.

    python -m bench.tick_to_order_asking [--runs 5] [--rows 25000]
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from typing import Any

from bench.common import CACHE, ROOT, alternate, arguments, medians, show
from bench.tick_to_order import PER_SECOND, paced

OPEN = 100
LATENCY = "latency:2s-6s"


def measured(count: int, *asking: str) -> dict[str, Any]:
    """The sender's figures, with those of the session's questions."""
    folder = CACHE / "tick_to_order"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return paced(
        count,
        ["bench.live_loop", "PORT", str(folder / "session.arrow"), *asking],
        apart=True,
        first=PER_SECOND,
    )


def main() -> None:
    """Alternate, print both percentiles."""
    options = arguments(__doc__).parse_args()
    count = options.rows or 25_000
    command = [sys.executable, "-m", "engine", "serve", "--as", "messages", "--port", "0", "--json"]
    # It stands for a machine elsewhere: here it gets what the other processes leave.
    command = ["nice", "-n", "19", *command, "--fault", LATENCY]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert server.stdout is not None
    try:
        url = json.loads(server.stdout.readline())["http"]
        results = alternate(
            {"asking": lambda: measured(count, url, str(OPEN)), "silent": lambda: measured(count)},
            options.runs,
        )
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
    for run in results["asking"]:
        if run["taker"]["most_open"] < OPEN:
            raise SystemExit(f"only {run['taker']['most_open']} questions were under way at once")
    rows = []
    for name, wanted in (
        ("p50", "at most 1.1 ×"),
        ("p99", "at most 1.5 ×"),
        ("first_p99", "p99 of the first second: no bar"),
    ):
        median = medians({who: [run[f"{name}_us"] for run in runs] for who, runs in results.items()})
        mine, other = median["asking"], median["silent"]
        rows.append((name, f"{mine / other:.2f} × ({mine:,.0f} µs against {other:,.0f} µs)", wanted))
    answered = [run["taker"]["answered"] for run in results["asking"]]
    rows.append(("answers during a run", ", ".join(f"{count:,}" for count in answered), "some"))
    show(f"Message to order at {PER_SECOND:,} messages a second, {OPEN} questions under way", rows)


if __name__ == "__main__":
    main()
