"""How fast is the engine beside nautilus_trader and hftbacktest, on the same work?

All run the crossing strategy (bench/strategies/cross.py and its twins) over W1, W2 and W3, in turn, each
run in a fresh process. In W3 the strategy takes the trades and nothing else, while the book is kept. Each
peer lives in an environment of its own under bench/.cache, made on first use. Counted is the time of the
run itself: nautilus without making its objects, hftbacktest without compiling. Ours is there in both forms:
the Python strategy from the sealed file's first byte to the last decision, the compiled one with its
columns in memory, as hftbacktest has them, until its journal is hashed and written (bench/with_engine.py
has the details). An event is a row of the workload, the same for all. hftbacktest keeps W1, which has no
book, in a hash map, and the others in its fast vector.

    python -m bench.peers [--runs 5] [--only w1,w3]
"""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.common import CACHE, ROOT, alternate, arguments, backtest, machine, medians, run_json
from bench.logs import log_of
from bench.workloads import workload

PEERS = {
    "nautilus_trader": "1.221.0",
    "hftbacktest": "2.4.4",
    "backtesting": "0.6.6",
    "vectorbt": "1.2.0",
    "ccxt": "4.5.90",
    "cryptofeed": "2.4.1",
}
READS_PARQUET = {"backtesting": "pyarrow==26.0.1", "vectorbt": "pyarrow==26.0.1"}  # what is installed beside
SCRIPTS = {"nautilus_trader": "with_nautilus.py", "hftbacktest": "with_hftbacktest.py"}
EVENTS = {"w1": 2_000_000, "w2": 3_000_000, "w3": 5_418_607}
# Zero latency, and the last trade of W1 included or not, everyone must come to these.
ORDERS = {"w1": 8_264, "w2": 4_039, "w3": 1_816}
# As the peers are set up: no latency, makers free, takers 1 basis point.
OPTIONS = ("--latency", "0", "--maker-fee-bp", "0", "--taker-fee-bp", "1")
NAMES = {
    "compiled": "engine, compiled strategy, columns in memory",
    "ours": "engine, Python strategy, from the sealed file",
    "nautilus_trader": f"nautilus_trader {PEERS['nautilus_trader']}, Python strategy",
    "hftbacktest": f"hftbacktest {PEERS['hftbacktest']}, compiled strategy",
}
# At least so many times the peer's rate.
WANTED = {
    ("compiled", "w1"): 4,
    ("compiled", "w2"): 6,
    ("ours", "w1"): 10,
    ("ours", "w2"): 10,
    ("ours", "w3"): 25,
}


def environment_of(peer: str) -> Path:
    """The Python of a peer's own environment, made if it is not there."""
    folder = CACHE / "peers" / f"{peer}-{PEERS[peer]}"
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists():
        print(f"installing {peer} {PEERS[peer]} into {folder.relative_to(ROOT)}", file=sys.stderr, flush=True)
        venv.create(folder, clear=True, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        wanted = [f"{peer}=={PEERS[peer]}", *([READS_PARQUET[peer]] if peer in READS_PARQUET else [])]
        subprocess.run([*install, *wanted], check=True)
        ready.touch()
    return python


def run_peer(peer: str, work: str) -> dict[str, Any]:
    """One run of a peer in a fresh process."""
    script = ROOT / "bench" / SCRIPTS[peer]
    result: dict[str, Any] = run_json([environment_of(peer), script, work, workload(work)])
    return _checked(peer, work, result)


def run_ours(work: str) -> dict[str, Any]:
    """One run of the engine in a fresh process."""
    return _checked("ours", work, backtest(log_of(work), *OPTIONS))


def run_compiled(work: str) -> dict[str, Any]:
    """One run of the engine with the strategy compiled and the columns in memory, in a fresh process."""
    strategy = ROOT / "bench" / "strategies" / "cross.py"
    start: list[str | Path] = [
        sys.executable,
        "-m",
        "bench.with_engine",
        log_of(work),
        "--strategy",
        strategy,
    ]
    return _checked("compiled", work, run_json(start))


def _checked(who: str, work: str, result: dict[str, Any]) -> dict[str, Any]:
    if result["orders"] != ORDERS[work]:
        raise SystemExit(f"{who} sent {result['orders']} orders in {work}; {ORDERS[work]} are right")
    return result


def rates(work: str, runs: int, contenders: tuple[str, ...] = tuple(NAMES)) -> dict[str, float]:
    """Median events a second of each contender, alternating."""
    calls: dict[str, Callable[[], float]] = {}
    for name in contenders:
        own = {"ours": run_ours, "compiled": run_compiled}.get(name)
        call = partial(run_peer, name, work) if own is None else partial(own, work)
        calls[name] = partial(_rate, call, work)
    return medians(alternate(calls, runs))


def _rate(call: Callable[[], dict[str, Any]], work: str) -> float:
    return float(EVENTS[work] / call()["seconds"])


def _table(measured: dict[str, dict[str, float]]) -> str:
    lines = ["| events a second | " + " | ".join(work.upper() for work in measured) + " |"]
    lines.append("|---|" + "---|" * len(measured))
    for name, title in NAMES.items():
        lines.append(f"| {title} | " + " | ".join(f"{rate[name]:,.0f}" for rate in measured.values()) + " |")
    lines += ["", "| ratio | " + " | ".join(work.upper() for work in measured) + " |"]
    lines.append("|---|" + "---|" * len(measured))
    for mine, other in (("compiled", "hftbacktest"), ("ours", "nautilus_trader")):
        cells = []
        for work, rate in measured.items():
            wanted = WANTED.get((mine, work))
            cells.append(f"{rate[mine] / rate[other]:.1f} ×" + (f" (wanted {wanted})" if wanted else ""))
        lines.append(f"| {NAMES[mine]} / {other} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print a table for the README."""
    parser = arguments(__doc__)
    parser.add_argument("--only", default="w1,w2,w3", help="workloads, comma between")
    options = parser.parse_args()
    measured = {work: rates(work, options.runs) for work in options.only.split(",")}
    print(f"\n### Peers on the same work\n\n{machine()}; medians of {options.runs} alternating runs.\n")
    print(_table(measured), flush=True)


if __name__ == "__main__":
    main()
