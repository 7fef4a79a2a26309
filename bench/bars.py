"""How many bars a second do the peers take that people use for bars?

W4, a million one-minute bars: long while the mean of the last 20 closes is above that of the last 100, else
short, filled at the next open. backtesting.py calls a Python strategy for every bar; vectorbt has no loop and
no strategy, it multiplies columns. Each lives in an environment of its own, made on first use (vectorbt then
compiles for a minute), and runs in a fresh process, in turn. Counted is the run itself.

The engine is not among them: its simulated venue does not fill orders on bars yet, and a run without fills
would not be the same work.

    python -m bench.bars [--runs 5]
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from bench.common import ROOT, alternate, arguments, machine, medians, run_json
from bench.peers import PEERS, environment_of
from bench.workloads import workload

ORDERS = 13_726
SCRIPTS = {"backtesting": "with_backtesting.py", "vectorbt": "with_vectorbt.py"}
NAMES = {
    "backtesting": f"backtesting.py {PEERS['backtesting']}, Python strategy",
    "vectorbt": f"vectorbt {PEERS['vectorbt']}, columns only",
}


def run_peer(peer: str) -> dict[str, Any]:
    """One run of a peer in a fresh process."""
    result: dict[str, Any] = run_json([environment_of(peer), ROOT / "bench" / SCRIPTS[peer], workload("w4")])
    if result["orders"] != ORDERS:
        raise SystemExit(f"{peer} sent {result['orders']} orders in w4; {ORDERS} are right")
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
    measured = rates(runs, {peer: partial(run_peer, peer) for peer in SCRIPTS})
    print(f"\n### W4, a million bars\n\n{machine()}; medians of {runs} alternating runs.\n")
    print("| engine | bars a second |\n|---|---|")
    for peer, rate in measured.items():
        print(f"| {NAMES[peer]} | {rate:,.0f} |")


if __name__ == "__main__":
    main()
