"""How is the golden data made that our fills are compared with, one by one?

    python -m bench.golden

runs hftbacktest in its own environment (bench/hftbacktest_fills.py), its market maker over W3 and a list of
requests (bench/golden_requests.py) over W3's first minute, under every queue model and latency, and writes
tests/golden/hftbacktest anew; one minute, the first time some more for the environment and the workload.
Nothing in it depends on chance: unchanged versions give unchanged tables. What the files hold is said in the
README beside them.

The queue models agree on most fills, so a latency has one table of all fills that any of them gave, and one
column per model: the number of the order that was filled, or null. The first minute of W3 itself stands
beside them, so that a test can run without the workload.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bench.common import ROOT, run_json
from bench.golden_requests import COLUMNS, draw
from bench.peers import PEERS, environment_of
from bench.workloads import workload

GOLDEN = ROOT / "tests" / "golden" / "hftbacktest"
QUEUES = ("risk_averse", "power_2", "power_3", "power2_3", "power3_3", "log", "log2")
LATENCIES = ("none", "orders", "feed_and_orders")
FILES = {"maker": "", "requests": "requests_"}  # who trades, and how the names of its files begin
MINUTE_NS = 60_000_000_000

# As bench/hftbacktest_fills.py orders them.
EXCH_TS, LOCAL_TS, SIDE, PRICE_TICK, SIZE_LOTS, ORDER, MAKER = range(7)

Table = npt.NDArray[np.int64]


def union(tables: dict[str, Table]) -> pa.Table:
    """Fills of several queue models as one table: what is common once, and an order number per model."""
    numbers: dict[tuple[int, ...], dict[str, int]] = {}
    for queue, table in tables.items():
        for row in table.tolist():
            fill = (row[LOCAL_TS], row[EXCH_TS], row[SIDE], row[PRICE_TICK], row[SIZE_LOTS], row[MAKER])
            by_queue = numbers.setdefault(fill, {})
            if queue in by_queue:
                raise SystemExit(
                    f"{queue} has two equal fills at {row[EXCH_TS]}: they need a key of their own"
                )
            by_queue[queue] = row[ORDER]
    every = sorted(numbers)
    columns: dict[str, Any] = {
        "exch_ts": pa.array([fill[1] for fill in every], pa.int64()),
        "report_ns": pa.array([fill[0] - fill[1] for fill in every], pa.int32()),
        "side": pa.array([fill[2] for fill in every], pa.int8()),
        "price_tick": pa.array([fill[3] for fill in every], pa.int32()),
        "size_lots": pa.array([fill[4] for fill in every], pa.int32()),
        "maker": pa.array([fill[5] for fill in every], pa.int8()),
    }
    for queue in tables:
        columns[queue] = pa.array([numbers[fill].get(queue) for fill in every], pa.int32())
    return pa.table(columns)


def first_minute(folder: Path) -> pa.Table:
    """The rows of W3 that the venue sent in the first 60 seconds, whole messages, in ticks and lots."""
    rows = pq.read_table(folder / "w3_l2.parquet")
    sent = rows["ts_event"].to_numpy()
    rows = rows.slice(0, int(np.searchsorted(sent, sent[0] + MINUTE_NS, side="right")))
    return pa.table(
        {
            "exch_ts": rows["ts_event"].cast(pa.int64()),
            "local_ts": rows["ts_recv"].cast(pa.int64()),
            "kind": rows["kind"].cast(pa.int8()),
            "side": rows["side"].cast(pa.int8()),
            "price_tick": pa.array(np.rint(rows["price"].to_numpy() / 0.1), pa.int32()),
            "size_lots": pa.array(np.rint(rows["size"].to_numpy() / 0.001), pa.int32()),
            "last": rows["last"].cast(pa.int8()),
        }
    )


def write(path: Path, table: pa.Table) -> None:
    """As small as Parquet gets: differences of neighbours, packed, then zstd."""
    packed = ("exch_ts", "local_ts", "price_tick", *QUEUES)
    encoding = {name: "DELTA_BINARY_PACKED" if name in packed else "PLAIN" for name in table.column_names}
    pq.write_table(
        table, path, compression="zstd", compression_level=19, use_dictionary=False, column_encoding=encoding
    )


def main() -> None:
    """Run all cases in one process of the peer, then write."""
    python, folder = environment_of("hftbacktest"), workload("w3")
    minute = first_minute(folder)
    requests = draw({name: minute[name].to_numpy() for name in minute.column_names})
    cases = [f"{trader}:{queue}:{latency}" for trader in FILES for latency in LATENCIES for queue in QUEUES]
    with tempfile.TemporaryDirectory() as scratch:
        asked, output = Path(scratch) / "requests.npz", Path(scratch) / "fills.npz"
        np.savez(asked, requests=requests, rows=len(minute))
        command: list[str | Path] = [python, "-m", "bench.hftbacktest_fills", folder, asked, output, *cases]
        summaries: dict[str, Any] = run_json(command)
        with np.load(output) as fills:
            tables = {case: fills[case] for case in cases}
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for trader, prefix in FILES.items():
        for latency in LATENCIES:
            of_latency = {queue: tables[f"{trader}:{queue}:{latency}"] for queue in QUEUES}
            write(GOLDEN / f"{prefix}{latency}.parquet", union(of_latency))
    write(GOLDEN / "first_minute.parquet", minute)
    columns = {name: pa.array(requests[:, at], pa.int32()) for at, name in enumerate(COLUMNS)}
    write(GOLDEN / "requests.parquet", pa.table(columns))
    record = {"hftbacktest": PEERS["hftbacktest"], "cases": summaries}
    (GOLDEN / "totals.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in GOLDEN.iterdir())
    print(f"{len(cases)} cases, {sum(len(table) for table in tables.values()):,} fills, {size:,} bytes")


if __name__ == "__main__":
    main()
