"""What does a row cost as the work grows: with more rows, more instruments, more orders of ours?

A compiled market maker (bench/strategies/turns.py) over W3, columns in memory, a fresh process a run, runs
of all sizes in turn. Each figure is the time a row takes, over the time it takes at the first size:

rows          the log ×1, ×2, ×4, ×8
instruments   1, 10, 200, each with W3's beginning as its market, a few microseconds apart, so that the rows
              are as many and so are the turns; quotes go round
orders        1, 100, 10,000 resting on 1,000 prices behind the market (1 on one), laid before the clock
              starts

    python -m bench.scaling [--runs 5] [--rows 1250000]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import CACHE, ROOT, alternate, arguments, medians, run_json, show
from bench.logs import LAST, ROWS_PER_BATCH, Packed, log_of, packed_rows
from engine.log.schema import LogHeader
from engine.log.seal import seal
from engine.log.writer import LogWriter
from engine.model.kinds import InstrumentData, Kind, SourceData, encode_canonical

ROWS = 1_250_000
TIMES = (1, 2, 4, 8)
INSTRUMENTS = (1, 10, 200)
ORDERS = (1, 100, 10_000)
TURNS = 2_000
APART_NS = 1_000
WANTED = {"rows": "at most 1.3", "orders": "at most 1.3", 10: "at most 1.3", 200: "at most 1.5"}


def log_of_instruments(count: int, rows: int) -> tuple[Path, int]:
    """A sealed log of so many instruments and about so many rows in all; and its span, ns."""
    path = CACHE / "logs" / f"w3-{rows}-{count}-instruments.arrow"
    packed = _beside_each_other(count, rows)
    span = int(packed["ts"][-1] - packed["ts"][0])
    if not path.exists():
        building = path.with_suffix(".building")
        building.unlink(missing_ok=True)
        _write(building, packed, count)
        seal(building)
        building.replace(path)
    return path, span


def _beside_each_other(count: int, rows: int) -> Packed:
    """W3's first messages once for each instrument, merged by time, whole messages."""
    market = packed_rows("w3")
    ends = np.flatnonzero(market["flags"] & LAST) + 1
    market = market[: int(ends[np.searchsorted(ends, rows // count)])]
    copies = []
    for number in range(count):
        copy = market.copy()
        copy["instrument"] = number + 1
        copy["ts"] += number * APART_NS
        copies.append(copy)
    merged = np.concatenate(copies)
    message = np.concatenate([np.cumsum(np.append(0, (copy["flags"] & LAST)[:-1] > 0)) for copy in copies])
    return merged[np.lexsort((message, merged["instrument"], merged["ts"]))]


def _write(path: Path, packed: Packed, count: int) -> None:
    first_ts = int(packed["ts"][0])
    source = SourceData(name="bench", detail={"workload": f"w3 of {count} instruments"})
    with LogWriter(path, LogHeader(engine="bench", venues=("binance",))) as writer:
        before = first_ts - count - 2
        writer.rows.append(before, Kind.SOURCE, source=1, flags=LAST, data=encode_canonical(source))
        for number in range(1, count + 1):
            data = encode_canonical(_instrument(number))
            writer.rows.append(
                before + number, Kind.INSTRUMENT, source=1, instrument=number, flags=LAST, data=data
            )
        writer.flush()
        ends = np.flatnonzero(packed["flags"] & LAST) + 1
        start = 0
        while start < len(packed):
            place = np.searchsorted(ends, start + ROWS_PER_BATCH, side="right") - 1
            stop = int(ends[max(place, np.searchsorted(ends, start, side="right"))])
            writer.rows.extend(packed[start:stop], [], [])
            writer.flush()
            start = stop
        writer.close(reason="end of workload", ts=int(packed["ts"][-1]) + 1)


def _instrument(number: int) -> InstrumentData:
    return InstrumentData(
        key=f"COIN{number}USDT.binance",
        symbol=f"COIN{number}USDT",
        venue="binance",
        price_decimals=1,
        size_decimals=3,
        price_increment="0.1",
        size_increment="0.001",
        base=f"COIN{number}",
        quote="USDT",
        channels=("trade", "book"),
    )


def run(log: Path, *options: str) -> dict[str, Any]:
    """One run in a fresh process; its first batch, in which the orders are laid, is not counted."""
    strategy = ROOT / "bench" / "strategies" / "turns.py"
    start: list[str | Path] = [sys.executable, "-m", "bench.with_engine", log, "--strategy", strategy]
    result: dict[str, Any] = run_json([*start, "--skip-rows", "60000", *options])
    return result


def cost(call: Callable[[], dict[str, Any]], seen: dict[str, Any]) -> float:
    """Nanoseconds a row; what was decided is kept beside it."""
    result = call()
    seen.update(result)
    return 1e9 * float(result["seconds"]) / float(result["rows"])


def measure(
    title: str,
    calls: Mapping[int, Callable[[], dict[str, Any]]],
    runs: int,
    rows: list[tuple[str, str, str]],
) -> None:
    """All sizes in turn; a line of the table for each."""
    seen: dict[int, dict[str, Any]] = {size: {} for size in calls}
    contenders: dict[str, Callable[[], float]] = {
        str(size): partial(cost, call, seen[size]) for size, call in calls.items()
    }
    measured = medians(alternate(contenders, runs))
    first = next(iter(measured.values()))
    for size, result in seen.items():
        each = measured[str(size)]
        what = (
            f"{result['rows']:,} rows, {result['orders']:,} orders, {result['open_orders']:,} open at the end"
        )
        wanted = "" if each is first else WANTED.get(size, WANTED.get(title, ""))
        rows.append((f"{title} {size:,}: {what}", f"{each:.1f} ns a row, {each / first:.2f} ×", wanted))


def main() -> None:
    """Measure, and print a table."""
    options = arguments(__doc__).parse_args()
    count = options.rows or ROWS
    rows: list[tuple[str, str, str]] = []
    logs = {times: log_of("w3", count * times) for times in TIMES}
    measure("rows", {times: partial(run, log) for times, log in logs.items()}, options.runs, rows)
    calls = {}
    for number in INSTRUMENTS:
        log, span = log_of_instruments(number, count)
        calls[number] = partial(run, log, "--set", f"interval_ns={span // TURNS}")
    measure("instruments", calls, options.runs, rows)
    orders = {number: partial(run, logs[1], "--set", f"resting={number}") for number in ORDERS}
    measure("orders", orders, options.runs, rows)
    show("Cost of a row as the work grows, compiled market maker", rows)


if __name__ == "__main__":
    main()
