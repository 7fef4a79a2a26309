"""How many frames a second are parsed and logged, by venue, against handlers that store nothing?

Frames are in memory, one process on one processor. Ours go the whole way: stamped, parsed, judged, written
with their bytes, column checksums and the chain hash, flushed as a busy recorder does (bench.with_venue).
ccxt.pro's and cryptofeed's handlers of Binance trades decode the same market into their own objects, and that
is all; each lives in an environment of its own under bench/.cache, made on first use. All take turns.

    python -m bench.venues [--runs 5] [--rows 300000]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

from bench.common import ROOT, alternate, arguments, medians, run_json, show
from bench.frames_venues import FRAMES
from bench.peers import environment_of

COUNTS = {"binance-depth": 5, "kraken-book": 2}  # so many times fewer frames: they are larger
ATLEAST = 200_000


def ours(kind: str, count: int) -> float:
    """Frames a second."""
    result = run_json([sys.executable, "-m", "bench.with_venue", kind, str(count)])
    return float(result["messages"] / result["seconds"])


def peer(name: str, count: int) -> float:
    """Frames a second of a peer's handler."""
    result = run_json([environment_of(name), ROOT / "bench" / f"with_{name}.py", str(count)])
    return float(result["frames"] / result["seconds"])


def main() -> None:
    """Alternate, print."""
    options = arguments(__doc__).parse_args()
    count = options.rows or 300_000
    calls: dict[str, Callable[[], float]] = {
        kind: partial(ours, kind, count // COUNTS.get(kind, 1)) for kind in FRAMES
    }
    calls |= {"ccxt": partial(peer, "ccxt", count // 5), "cryptofeed": partial(peer, "cryptofeed", count)}
    rates = medians(alternate(calls, options.runs))
    trades = rates["binance-trade"]
    lines = [(f"messages a second: {kind}", f"{rates[kind]:,.0f}", "") for kind in FRAMES]
    lines[0] = (lines[0][0], lines[0][1], f"at least {ATLEAST:,}")
    lines += [
        (
            f"Binance trades parsed and logged / {name}'s handler",
            f"{trades / rates[name]:.2f} (against {rates[name]:,.0f})",
            wanted,
        )
        for name, wanted in (("ccxt", "more than 1"), ("cryptofeed", "at least 0.5"))
    ]
    show("Venues", lines)


if __name__ == "__main__":
    main()
