"""How fast does hftbacktest make markets in W3, and how long from the command to the result?

W3's market maker (bench/with_hftbacktest.py) over 5.4 million level-2 rows with the risk-averse queue:

`zero`        no latency at all: what a run takes when venue and strategy see the same book
`latencies`   rows reach the strategy 1 to 20 ms after the venue, requests and reports take 1 ms: two books
`whole`       zero latency, a whole process: start, imports, loading the file, compiling, running, printing.
              The file is hftbacktest's own .npz, compressed as its converters write it (a plain one loads
              half a second faster)

Each run is a fresh process. In the first two the data is in memory and the strategy compiled before the clock
starts.

    python -m bench.market_making [--runs 5]
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import ROOT, Stopwatch, alternate, arguments, medians, run_json, show
from bench.peers import environment_of
from bench.workloads import workload

ROWS = 5_418_607
LATENCY_NS = "1000000"
OPTIONS: dict[str, tuple[str, ...]] = {
    "zero": (),
    "latencies": ("--feed-latency", "--entry-ns", LATENCY_NS, "--response-ns", LATENCY_NS),
}
# Orders and fills that every engine comes to under hftbacktest's rules.
RIGHT = {"zero": (70_016, 55_275), "latencies": (69_218, 38_993)}


def run_hftbacktest(setting: str, *more: str | Path) -> dict[str, Any]:
    """One run in a fresh process."""
    script = ROOT / "bench" / "with_hftbacktest.py"
    start: list[str | Path] = [environment_of("hftbacktest"), script, "w3", workload("w3")]
    result: dict[str, Any] = run_json([*start, "--strategy", "maker", *OPTIONS[setting], *more])
    if (result["orders"], result["fills"]) != RIGHT[setting]:
        raise SystemExit(
            f"hftbacktest: {result['orders']} orders, {result['fills']} fills; not {RIGHT[setting]}"
        )
    return result


def npz() -> Path:
    """W3 as hftbacktest's converters would have left it, made if it is not there."""
    folder = workload("w3")
    path = folder / "w3_hft.npz"
    if not path.exists():
        building = folder / "w3_hft.building.npz"
        np.savez_compressed(building, data=np.load(folder / "w3_hft.npy"))
        building.replace(path)
    return path


def rate_of_hftbacktest(setting: str) -> float:
    """Rows a second, of the run alone."""
    return float(ROWS / run_hftbacktest(setting)["seconds"])


def seconds_of_hftbacktest() -> float:
    """A whole process, from its start to its result."""
    file = npz()
    with Stopwatch() as watch:
        run_hftbacktest("zero", "--npz", file)
    return watch.seconds


def main() -> None:
    """Measure, and print a table."""
    runs = arguments(__doc__).parse_args().runs
    contenders = {setting: partial(rate_of_hftbacktest, setting) for setting in OPTIONS}
    measured = medians(alternate({**contenders, "whole": seconds_of_hftbacktest}, runs))
    show(
        "Market making in W3, hftbacktest",
        [
            ("no latency", f"{measured['zero']:,.0f} rows/s", "to compare with"),
            ("latencies, two books", f"{measured['latencies']:,.0f} rows/s", "to compare with"),
            ("whole process, its own .npz", f"{measured['whole']:.1f} s", "to compare with"),
        ],
    )


if __name__ == "__main__":
    main()
