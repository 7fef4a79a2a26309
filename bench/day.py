"""Does a recorder's memory stay flat over a day of 1,000 messages a second?

The day is run at twenty times its speed: 86.4 million trades of 200 symbols over two connections, 20,000 a
second, in 72 minutes; files of 1 GB are rotated and sealed beside it. The recorder's resident memory is read
every ten seconds; flat means that its median over the last tenth is not above that of the first tenth after
five minutes by more than a twentieth.

    python -m bench.day [--minutes 72] [--rate 20000]
"""

from __future__ import annotations

import argparse
import json
import select
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.common import CACHE, ROOT, engine_command, show
from bench.many import CONNECTIONS, SYMBOLS, feeds_at

SAMPLE_S = 10.0
WARM_UP_S = 300.0
TOLERANCE = 1.05


def resident_mb(pid: int) -> float:
    """What a process holds in memory now."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    """Run, sample, print; ends with an error when memory grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=72.0)
    parser.add_argument("--rate", type=float, default=20_000.0)
    options = parser.parse_args()
    folder = CACHE / "day"
    shutil.rmtree(folder, ignore_errors=True)
    seconds = options.minutes * 60
    arguments = [str(SYMBOLS), str(CONNECTIONS), str(options.rate), str(seconds)]
    samples: list[tuple[float, float]] = []
    with subprocess.Popen(
        [sys.executable, "-m", "bench.sender_many", *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as sender:
        assert sender.stdout is not None
        feeds = feeds_at(sender.stdout.readline().strip())
        command = engine_command("record", *feeds, "--to", str(folder), "--rotate", "1GB", "--json")
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as recorder:
            began = time.monotonic()
            try:
                sent = None
                while sent is None and recorder.poll() is None:
                    samples.append((time.monotonic() - began, resident_mb(recorder.pid)))
                    if select.select([sender.stdout], [], [], SAMPLE_S)[0]:
                        sent = json.loads(sender.stdout.readline())
                time.sleep(SAMPLE_S)  # what is on its way
                recorder.send_signal(signal.SIGINT)
                out, _ = recorder.communicate(timeout=600)
            finally:
                sender.kill()
                recorder.kill()
    if sent is None:
        raise SystemExit("the recorder ended before the sender did")
    result = json.loads(out)
    warm = [mb for now, mb in samples if now >= min(WARM_UP_S, seconds / 10)]
    tenth = max(len(warm) // 10, 1)
    first, last = statistics.median(warm[:tenth]), statistics.median(warm[-tenth:])
    show(
        f"A day in {options.minutes:g} minutes",
        [
            ("messages in the log", f"{result['kinds']['trade']:,}", f"{sent['sent']:,}"),
            ("gaps, disconnects", f"{result['gaps']}, {result['disconnects']}", "0, 0"),
            ("memory after the first minutes; at the end, MB", f"{first:.0f}; {last:.0f}", "flat"),
            ("most at any time, MB", f"{max(mb for _, mb in samples):.0f}", ""),
            (
                "lag from receipt to file, ms",
                f"p50 {result['lag_p50_ms']:.1f}, p99 {result['lag_p99_ms']:.1f}",
                "",
            ),
        ],
    )
    if last > TOLERANCE * first:
        raise SystemExit("memory grows")


if __name__ == "__main__":
    main()
