"""How fast is recording to a durable log, against a loop that only receives and decodes?

Both take the same flood of Binance trade frames over a loopback WebSocket from a sender in another process.
Ours is `engine record` as a user starts it: stamped, parsed, checked, logged with its frame, and flushed;
its rate is counted from the first to the last row's time in the log that it leaves; with websockets and with
picows, an extra. The other is websockets and msgspec in a loop, from its first decoded frame to its last.

    python -m bench.record_rate [--runs 5] [--rows 500000]
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.common import CACHE, ROOT, alternate, arguments, engine_command, medians, run_json, show
from engine.live.transport import VARIABLE
from engine.log.reader import LogReader
from engine.model.kinds import Kind

STILL_S = 0.5
STILL_BYTES = 50_000  # a log that grows by less than this in that time gets nothing but CLOCK rows


class Flood:
    """A sender in a process of its own, for one receiver."""

    def __init__(self, count: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.sender", "flood", str(count)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        self._lines = self.process.stdout
        self.port = self._lines.readline().strip()

    def wait_sent(self) -> None:
        """Return when the last frame has been given to the socket."""
        while self._lines.readline().strip() not in {"sent", ""}:
            pass

    def end(self) -> None:
        """Take the sender down."""
        self.process.terminate()
        self.process.wait()


def bare(count: int) -> float:
    """Messages a second of the receive-and-decode loop."""
    flood = Flood(count)
    try:
        result = run_json([sys.executable, "-m", "bench.bare_receiver", "decode", flood.port, str(count)])
    finally:
        flood.end()
    return float(count / result["seconds"])


def ours(count: int, transport: str) -> float:
    """Messages a second of `engine record`."""
    folder = CACHE / "record_rate"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    flood = Flood(count)
    url = f"ws://127.0.0.1:{flood.port}"
    command = engine_command("record", "--venue", "binance", "--symbols", "BTCUSDT", "--channels", "trade")
    recorder = subprocess.Popen(
        [*command, "--url", url, "--to", str(folder), "--json"],
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ, VARIABLE: transport},
    )
    try:
        flood.wait_sent()
        _wait_until_still(folder)
        recorder.send_signal(signal.SIGINT)
        if recorder.wait(timeout=120) != 0:
            raise SystemExit(f"engine record ended with {recorder.returncode}")
    finally:
        flood.end()
        recorder.kill()
    return _rate(folder, count)


def _wait_until_still(folder: Path) -> None:
    before = -STILL_BYTES
    while (now := sum(file.stat().st_size for file in folder.glob("*.arrow"))) - before >= STILL_BYTES:
        before = now
        time.sleep(STILL_S)


def _rate(folder: Path, count: int) -> float:
    times: list[npt.NDArray[np.int64]] = []
    for path in sorted(folder.glob("*.arrow")):
        batches = LogReader(path, ["ts", "kind"]).batches()
        times.extend(batch.ts[batch.kind == Kind.TRADE] for batch in batches)
    stamps = np.concatenate(times)
    if len(stamps) != count:
        raise SystemExit(f"{len(stamps)} of {count} trades are in the log")
    return float(count / (int(stamps[-1] - stamps[0]) / 1e9))


def main() -> None:
    """Alternate, print the ratios."""
    options = arguments(__doc__).parse_args()
    count = options.rows or 500_000
    rates = medians(
        alternate(
            {
                "websockets": lambda: ours(count, "websockets"),
                "picows": lambda: ours(count, "picows"),
                "bare": lambda: bare(count),
            },
            options.runs,
        )
    )

    def against_bare(name: str) -> str:
        return (
            f"{rates[name] / rates['bare']:.2f} ({rates[name]:,.0f} messages/s against {rates['bare']:,.0f})"
        )

    show(
        "Recording",
        [
            ("recording to a durable log / receive and decode", against_bare("websockets"), "at least 0.6"),
            ("the same, received by picows", against_bare("picows"), "more"),
        ],
    )


if __name__ == "__main__":
    main()
