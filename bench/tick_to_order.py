"""How long from a message to the order that it caused, against a loop that only receives and replies?

A sender in another process writes Binance trade frames at 5,000 a second, each at its scheduled time whatever
happened before, and takes one reply for each. A reply's latency is counted from the moment its frame was
scheduled, so a stall counts in full for every frame that waited behind it.

Ours: received, parsed, logged and flushed, stepped, order decided, journal written, order written out.
The other: received, decoded, replied.

    python -m bench.tick_to_order [--runs 5] [--rows 25000]
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any

from bench.common import CACHE, ROOT, alternate, arguments, medians, show

PER_SECOND = 5_000


def paced(count: int, receiver: list[str], *, apart: bool = False, first: int = 0) -> dict[str, Any]:
    """The sender's result with a receiver at its other end; "PORT" in the command becomes the port.

    `apart`: the sender has the first processor, and the receiver, with what it starts, another.
    """
    cpus = sorted(os.sched_getaffinity(0))
    alone = ["taskset", "-c", str(cpus[0])] if apart else []
    other = ["taskset", "-c", str(cpus[1])] if apart else []
    sender = subprocess.Popen(
        [*alone, sys.executable, "-m", "bench.sender", "pace", str(count), str(PER_SECOND), str(first)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert sender.stdout is not None
    try:
        port = sender.stdout.readline().strip()
        command = [*other, sys.executable, "-m", *(part if part != "PORT" else port for part in receiver)]
        taker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        try:
            result: dict[str, Any] = json.loads(sender.stdout.read().splitlines()[-1])
            said, _ = taker.communicate(timeout=60)
            if taker.returncode != 0:
                raise SystemExit(f"{' '.join(command)} ended with {taker.returncode}")
            result["taker"] = json.loads(said.splitlines()[-1]) if said.strip() else {}
        finally:
            taker.kill()
    finally:
        sender.kill()
        sender.wait()
    if result["replies"] != count:
        raise SystemExit(f"{result['replies']} replies to {count} frames")
    return result


def ours(count: int) -> dict[str, Any]:
    """The engine's live path."""
    folder = CACHE / "tick_to_order"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return paced(count, ["bench.live_loop", "PORT", str(folder / "session.arrow")])


def bare(count: int) -> dict[str, Any]:
    """The receive-and-reply loop."""
    return paced(count, ["bench.bare_receiver", "reply", "PORT", str(count)])


def main() -> None:
    """Alternate, print both percentiles."""
    options = arguments(__doc__).parse_args()
    count = options.rows or 25_000
    results = alternate({"ours": lambda: ours(count), "bare": lambda: bare(count)}, options.runs)
    rows = []
    for name, wanted in (("p50", "at most 4 × the other's"), ("p99", "at most 2 × the other's + 1,000 µs")):
        median = medians({who: [run[f"{name}_us"] for run in runs] for who, runs in results.items()})
        mine, other = median["ours"], median["bare"]
        measured = f"{mine / other:.1f} × ({mine:,.0f} µs against {other:,.0f} µs)"
        rows.append((name, measured, wanted))
    show(f"Message to order at {PER_SECOND:,} messages a second", rows)


if __name__ == "__main__":
    main()
