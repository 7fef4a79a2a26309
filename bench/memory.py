"""How much memory does a long backtest need, and does it grow with the log?

The peak of RssAnon in /proc/PID/status, read every 10 ms: what the process allocated. Pages of the mapped
log are left out: the system takes them back whenever it likes.

    python -m bench.memory [--rows 20000000]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench.common import CACHE, ROOT, arguments, engine_command, show
from bench.logs import log_of

EVERY_S = 0.01


def anonymous_bytes(pid: int) -> int:
    """RssAnon of a process; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def peak_bytes(command: list[str]) -> int:
    """The largest RssAnon that a command had; SystemExit when it fails."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)
    peak = 0
    while process.poll() is None:
        peak = max(peak, anonymous_bytes(process.pid))
        time.sleep(EVERY_S)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return peak


def main() -> None:
    """Once over `rows` rows of W3, once over twice as many."""
    options = arguments(__doc__).parse_args()
    rows = options.rows or 20_000_000
    strategy = ROOT / "bench" / "strategies" / "cross.py"
    peaks = {}
    for count in (rows, 2 * rows):
        log = log_of("w3", count)
        asked = ("--strategy", strategy, "--interpreted", "--runs", CACHE / "runs", "--json")
        command = engine_command("backtest", log, *asked)
        peaks[count] = peak_bytes(command)
        print(f"{count:,} rows: {peaks[count] / 1e6:.0f} MB", file=sys.stderr, flush=True)
    show(
        "Peak anonymous memory of a backtest",
        [
            (f"{rows:,} rows", f"{peaks[rows] / 1e6:.0f} MB", "at most 400 MB"),
            (f"{2 * rows:,} rows", f"{peaks[2 * rows] / 1e6:.0f} MB", "no more than that"),
        ],
    )


if __name__ == "__main__":
    main()
