"""Does a recorder lose anything of two connections with 200 symbols at 50,000 messages a second?

`engine record` as a user starts it, two feeds of a hundred symbols each, against a sender in another process
that stamps every trade with the moment when it was due. Then the log is read: each symbol's ids must be those
that were sent, without a gap; the lag is from that moment to the row's time, the sender's lateness included.

    python -m bench.many [--seconds 60] [--rate 50000] [--queue-mb 0]
    python -m bench.many --rate 0 --queue-mb 8 --seconds 20

With --queue-mb the sender closes connections that lag so far behind, as venues do; what then is missing must
lie in gaps that the log names. `--rate 0` measures what the recorder sustains, then sends twice that.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.common import CACHE, ROOT, arguments, engine_command, show
from bench.sender_many import symbols_of
from engine.log.reader import LogReader
from engine.model.kinds import Flag, InstrumentData, Kind, StatusData

SYMBOLS, CONNECTIONS = 200, 2
STILL_S = 1.0


def sustained(folder: Path, count: int = 300_000) -> float:
    """Messages a second that the recorder takes when there are always more: the reader sets the pace."""
    result = run(1e9, count / 1e9, 0.0, folder)
    return float(result["log"]["trades"] / result["log"]["seconds"])


def run(rate: float, seconds: float, queue_mb: float, folder: Path) -> dict[str, Any]:
    """One recording: the sender's account, the recorder's summary, and what its log holds."""
    shutil.rmtree(folder, ignore_errors=True)
    arguments = [str(SYMBOLS), str(CONNECTIONS), str(rate), str(seconds)]
    if queue_mb:
        arguments.append(str(queue_mb))
    with subprocess.Popen(
        [sys.executable, "-m", "bench.sender_many", *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as sender:
        assert sender.stdout is not None
        command = engine_command(
            "record", *feeds_at(sender.stdout.readline().strip()), "--to", folder, "--no-seal", "--json"
        )
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as recorder:
            try:
                account = json.loads(sender.stdout.readline())
                _wait_until_still(folder)
                recorder.send_signal(signal.SIGINT)
                out, _ = recorder.communicate(timeout=120)
            finally:
                sender.kill()
                recorder.kill()
    return {"sender": account, "recorder": json.loads(out), "log": _log(folder, account)}


def feeds_at(port: str) -> list[str]:
    """What a recorder is told of a sender of `SYMBOLS`: its address, and one feed for each connection."""
    names, part = symbols_of(SYMBOLS), SYMBOLS // CONNECTIONS
    feeds = ["--url", f"ws://127.0.0.1:{port}"]
    for start in range(0, SYMBOLS, part):
        feeds += ["--feed", "binance:" + ",".join(names[start : start + part])]
    return [*feeds, "--channels", "trade"]


def _wait_until_still(folder: Path) -> None:
    before = -1.0
    while (now := sum(file.stat().st_size for file in folder.glob("*.arrow"))) > before + 100_000:
        before = now
        time.sleep(STILL_S)


def _log(folder: Path, account: dict[str, Any]) -> dict[str, Any]:
    """Per symbol: what came, and what gaps name; then the lags."""
    came: dict[int, list[np.ndarray[Any, Any]]] = {}
    missing: dict[int, int] = {}
    names: dict[int, str] = {}
    lags, stamps = [], []
    disconnects = 0
    for path in sorted(folder.glob("*.arrow")):
        with LogReader(path) as reader:
            for batch in reader.batches():
                trades = (batch.kind == Kind.TRADE) & (batch.flags & int(Flag.DUPLICATE) == 0)
                lags.append((batch.ts - batch.ts_venue)[trades])
                stamps.append(batch.ts[trades])
                for number in np.unique(batch.instrument[trades]).tolist():
                    came.setdefault(number, []).append(batch.id[trades & (batch.instrument == number)])
                for row in np.flatnonzero((batch.kind == Kind.STATUS) | (batch.kind == Kind.INSTRUMENT)):
                    text, number = batch.data_at(int(row)) or b"{}", int(batch.instrument[row])
                    if batch.kind[row] == Kind.INSTRUMENT:
                        names[number] = msgspec.json.decode(text, type=InstrumentData).symbol
                        continue
                    status = msgspec.json.decode(text, type=StatusData)
                    if status.event == "gap":
                        missing[number] = missing.get(number, 0) + status.last - status.first + 1
                    disconnects += status.event == "disconnected"
    sent = dict(zip(symbols_of(SYMBOLS), account["ids"], strict=True))
    unaccounted = 0
    for number, parts in came.items():
        ids = np.unique(np.concatenate(parts))
        unaccounted += sent[names[number]] - len(ids) - missing.get(number, 0)
    lag, times = np.sort(np.concatenate(lags)), np.concatenate(stamps)
    return {
        "seconds": float(times[-1] - times[0]) / 1e9,
        "trades": len(lag),
        "in_gaps": sum(missing.values()),
        "unaccounted": unaccounted,
        "disconnects": disconnects - CONNECTIONS,
        "lag_ms": {name: float(lag[int(share * (len(lag) - 1))] / 1e6) for name, share in _SHARES.items()},
    }


_SHARES = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}


def main() -> None:
    """Run, print."""
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=50_000.0, help="0: twice what is sustained")
    parser.add_argument("--queue-mb", type=float, default=0.0)
    options = parser.parse_args()
    folder = CACHE / "many"
    if not options.rate:
        rate = sustained(folder)
        print(f"sustained: {rate:,.0f} messages/s; now twice that")
        options.rate = 2 * rate
    result = run(options.rate, options.seconds, options.queue_mb, folder)
    log, sender = result["log"], result["sender"]
    lag = ", ".join(f"{name} {value:.1f}" for name, value in log["lag_ms"].items())
    total = sum(sender["ids"])
    show(
        f"{SYMBOLS} symbols over {CONNECTIONS} connections, {options.rate:,.0f}/s for {options.seconds:g} s",
        [
            ("trades in the log, of those that were made", f"{log['trades']:,} of {total:,}", "all"),
            ("in gaps that the log names", f"{log['in_gaps']:,}", ""),
            ("unaccounted for", f"{log['unaccounted']:,}", "0"),
            ("disconnects", f"{log['disconnects']:,}", ""),
            ("lag from due to row, ms", lag, "stated"),
            ("sender late at most, s", f"{sender['late_s']}", ""),
            ("unread at most, bytes", f"{result['recorder']['most_waiting_bytes']:,}", ""),
        ],
    )
    if log["unaccounted"]:
        raise SystemExit("something is missing that no row accounts for")


if __name__ == "__main__":
    main()
