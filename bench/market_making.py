"""How fast are markets made in W3, and how long is it from the command to the result?

W3's market maker, compiled (bench/strategies/maker.py; for hftbacktest bench/with_hftbacktest.py), over 5.4
million level-2 rows with the risk-averse queue, the engine under profile `hftbacktest`, so that all come to
the same orders and fills:

`zero`        no latency at all: venue and strategy see the same book. The engine by the clock `received`
`latencies`   rows reach the strategy 1 to 20 ms after the venue, requests and reports take 1 ms: two books.
              The engine by the clock `venue`
`whole`       zero latency, a whole process: start, imports, loading the file, compiling, running, printing.
              hftbacktest has its own .npz, compressed as its converters write it (a plain one loads half
              a second faster); the engine its sealed log, once with everything warm (kernels, strategy and
              decoded columns in the cache), once with a strategy that it has never seen

Each run is a fresh process. In the first two the data is in memory and the strategy compiled before the
clock starts; the engine's time ends when its journal is hashed and written (bench/with_engine.py).

    python -m bench.market_making [--runs 5]
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import CACHE, ROOT, Stopwatch, alternate, arguments, engine_command, medians, run_json, show
from bench.logs import log_of
from bench.peers import environment_of
from bench.workloads import workload

ROWS = 5_418_607
LATENCY_NS = "1000000"
OPTIONS: dict[str, tuple[str, ...]] = {
    "zero": (),
    "latencies": ("--feed-latency", "--entry-ns", LATENCY_NS, "--response-ns", LATENCY_NS),
}
ENGINE: dict[str, tuple[str, ...]] = {
    "zero": (),
    "latencies": ("--clock", "venue", "--latency", "0,1ms,1ms"),
}
MAKER = ROOT / "bench" / "strategies" / "maker.py"
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


def run_engine(setting: str) -> dict[str, Any]:
    """One run of the engine in a fresh process, its columns in memory."""
    first = np.load(workload("w3") / "w3_hft_lat.npy", mmap_mode="r")[0]
    begin = first["exch_ts"] if setting == "latencies" else first["local_ts"]
    start: list[str | Path] = [sys.executable, "-m", "bench.with_engine", log_of("w3"), "--strategy", MAKER]
    options = ("--profile", "hftbacktest", "--set", f"begin={int(begin)}", *ENGINE[setting])
    return _checked(run_json([*start, *options]), setting)


def rate_of_engine(setting: str) -> float:
    """Rows a second, of the run alone."""
    result = run_engine(setting)
    return float(result["rows"] / result["seconds"])


def seconds_of_engine(strategy: Path = MAKER) -> float:
    """A whole process, from its start to its summary."""
    options = ("--profile", "hftbacktest", "--latency", "0", "--taker-fee-bp", "1", "--collar", "0")
    command = engine_command("backtest", log_of("w3"), "--strategy", strategy, *options)
    with Stopwatch() as watch:
        result = run_json([*command, "--runs", str(CACHE / "runs"), "--json"])
    _checked(result, "zero")
    return watch.seconds


_COUNT = itertools.count()


def seconds_of_new_strategy(folder: Path) -> float:
    """The same with a strategy that nobody has compiled: its timer has another name each time."""
    path = folder / f"maker_{next(_COUNT)}.py"
    text = MAKER.read_text(encoding="utf-8")
    path.write_text(text.replace('"decide"', f'"{path.stem}_{folder.name}"'), encoding="utf-8")
    return seconds_of_engine(path)


def _checked(result: dict[str, Any], setting: str) -> dict[str, Any]:
    if (result["orders"], result["fills"]) != RIGHT[setting]:
        raise SystemExit(f"engine: {result['orders']} orders, {result['fills']} fills; not {RIGHT[setting]}")
    return result


def main() -> None:
    """Measure, and print a table."""
    runs = arguments(__doc__).parse_args().runs
    seconds_of_engine()  # kernels, strategy and decoded columns are in the cache from here on
    with tempfile.TemporaryDirectory() as folder:
        measured = medians(
            alternate(
                {
                    **{f"peer {name}": partial(rate_of_hftbacktest, name) for name in OPTIONS},
                    **{f"engine {name}": partial(rate_of_engine, name) for name in ENGINE},
                    "peer whole": seconds_of_hftbacktest,
                    "engine warm": seconds_of_engine,
                    "engine new": partial(seconds_of_new_strategy, Path(folder)),
                },
                runs,
            )
        )

    def rate(setting: str) -> str:
        mine, other = measured[f"engine {setting}"], measured[f"peer {setting}"]
        return f"{mine / other:.1f} × ({mine:,.0f} against {other:,.0f} rows/s)"

    def whole(name: str) -> str:
        mine, other = measured[f"engine {name}"], measured["peer whole"]
        return f"{other / mine:.1f} × ({mine:.2f} s against {other:.2f} s)"

    show(
        "Market making in W3, the engine against hftbacktest",
        [
            ("no latency, clock `received`", rate("zero"), "at least 6 ×"),
            ("latencies, two books, clock `venue`", rate("latencies"), "at least 2.5 ×"),
            ("whole process, all warm", whole("warm"), "at least 5 ×"),
            ("whole process, a strategy never seen", whole("new"), "at least 2 ×"),
        ],
    )


if __name__ == "__main__":
    main()
