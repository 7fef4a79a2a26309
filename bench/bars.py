"""How many bars a second, beside what people use for bars?

W4, a million one-minute bars: long while the mean of the last 20 closes is above that of the last 100, else
short, filled at the next open. backtesting.py calls a Python strategy for every bar, as the engine does with
one that is not compiled; vectorbt has no loop and no strategy, it multiplies columns: beside it stands the
compiled strategy. Peers live in environments of their own, made on first use (vectorbt then compiles for a
minute). Each runs in a fresh process, in turn. Counted is the run itself (see the files for what that is);
all send the same orders, but for backtesting.py's first, which comes a bar late.

    python -m bench.bars [--runs 5]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.common import ROOT, alternate, arguments, machine, medians, run_json
from bench.logs import log_of
from bench.peers import PEERS, environment_of
from bench.workloads import workload

ORDERS = 13_726
SCRIPTS = {"backtesting": "with_backtesting.py", "vectorbt": "with_vectorbt.py"}
STRATEGY = ROOT / "bench" / "strategies" / "bar_cross.py"
ROWS_A_BAR = 4
WANTED = {"backtesting": ("interpreted", 5.0), "vectorbt": ("compiled", 2.0)}
NAMES = {
    "interpreted": "this engine, Python strategy",
    "compiled": "this engine, compiled strategy",
    "backtesting": f"backtesting.py {PEERS['backtesting']}, Python strategy",
    "vectorbt": f"vectorbt {PEERS['vectorbt']}, columns only",
}


def run_peer(peer: str) -> dict[str, Any]:
    """One run of a peer in a fresh process."""
    result: dict[str, Any] = run_json([environment_of(peer), ROOT / "bench" / SCRIPTS[peer], workload("w4")])
    if result["orders"] != ORDERS:
        raise SystemExit(f"{peer} sent {result['orders']} orders in w4; {ORDERS} are right")
    return result


def run_engine(form: str) -> dict[str, Any]:
    """One run of the engine in a fresh process."""
    command: list[str | Path] = [sys.executable, "-m", "bench.with_engine", log_of("w4")]
    command += ["--strategy", STRATEGY]
    command += ["--interpreted"] if form == "interpreted" else []
    result: dict[str, Any] = run_json(command)
    if result["orders"] != ORDERS:
        raise SystemExit(f"{form}: {result['orders']} orders in w4; {ORDERS} are right")
    result["events"] = result["rows"] / ROWS_A_BAR
    return result


def rates(runs: int, contenders: dict[str, Callable[[], dict[str, Any]]]) -> dict[str, float]:
    """Median bars a second of each contender, alternating."""
    return medians(alternate({name: partial(_rate, call) for name, call in contenders.items()}, runs))


def _rate(call: Callable[[], dict[str, Any]]) -> float:
    result = call()
    return float(result["events"] / result["seconds"])


def main() -> None:
    """Measure, and print a table."""
    runs = arguments(__doc__).parse_args().runs
    contenders: dict[str, Callable[[], dict[str, Any]]] = {}
    for peer, (form, _) in WANTED.items():
        contenders[peer] = partial(run_peer, peer)
        contenders[form] = partial(run_engine, form)
    measured = rates(runs, contenders)
    print(f"\n### W4, a million bars\n\n{machine()}; medians of {runs} alternating runs.\n")
    print("| engine | bars a second |\n|---|---|")
    for peer, rate in measured.items():
        print(f"| {NAMES[peer]} | {rate:,.0f} |")
    print("\n| beside | times as fast | wanted |\n|---|---|---|")
    for peer, (form, wanted) in WANTED.items():
        print(f"| {NAMES[peer]} | {measured[form] / measured[peer]:.2f} | {wanted:g} |")


if __name__ == "__main__":
    main()
