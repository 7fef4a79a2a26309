"""Importing tables: where times come from, and in what order rows of several files stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.ingest import tabular_order
from engine.model.kinds import Flag
from tests.helpers.tables import T0, flags, load, only

# ------------------------------------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        (f"{T0}", 0),
        (f"{T0 // 10**3}", 0),
        (f"{T0 // 10**6}", 0),
        (f"{T0 // 10**9}", 0),
        (f"{T0 // 10**9}.000000001", 1),
        (f"{T0 // 10**6}.25", 250_000),
        ("2024-06-01T12:00:00Z", 0),
        ("2024-06-01 12:00:00.000000001Z", 1),
        ("2024-06-01T14:00:00.5+02:00", 500_000_000),
    ],
)
def test_times_are_told_by_their_form(tmp_path: Path, text: str, ns: int) -> None:
    """Numbers in four units, with exact fractions, and ISO texts with a zone are times."""
    _, rows = load(tmp_path, {"t.csv": f"time,price,size\n{text},1,1\n"})
    assert only(rows, "ts", "ts_venue") == [(ns, ns)]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([T0], pa.int64()),
        pa.array([T0], pa.timestamp("ns", "UTC")),
        pa.array([T0 // 1000], pa.timestamp("us", "America/New_York")),
        pa.array([T0 // 10**9], pa.int32()),
        pa.array([T0 / 1e9], pa.float64()),
        pa.array(["2024-06-01T12:00:00Z"]),
    ],
    ids=lambda column: str(column.type),
)
def test_parquet_times_of_every_type(tmp_path: Path, column: pa.Array) -> None:
    """Integers, floats, stamps and texts of a Parquet file are the same time."""
    _, rows = load(tmp_path, {"t.parquet": pa.table({"time": column, "price": [1.0], "size": [1.0]})})
    assert only(rows, "ts") == [(0,)]


def test_times_without_a_zone_need_one(tmp_path: Path) -> None:
    """--zone gives the zone, daylight saving included."""
    text = "time,price,size\n2024-06-01 08:00:00,1,1\n"
    _, rows = load(tmp_path, {"t.csv": text}, zone="America/New_York")
    assert only(rows, "ts") == [(0,)]


def test_a_row_without_receive_time_is_known_after_the_feed_latency(tmp_path: Path) -> None:
    """Ts is the receive time where there is one, else the venue's time + feed latency."""
    text = f"ts_recv,ts_event,price,size\n{T0 + 3},{T0},1,1\n,{T0 + 1},1,1\n"
    _, rows = load(tmp_path, {"t.csv": text}, feed_latency_ns=20_000_000)
    assert only(rows, "ts", "ts_venue") == [(3, 0), (20_000_001, 1)]


# ------------------------------------------------------------------------------------------- order


def test_files_are_merged_by_time_and_then_by_their_order(tmp_path: Path) -> None:
    """At one time the first file's row comes first; each message is later than the one before."""
    files: dict[str, str | pa.Table] = {
        "a.csv": f"time,price,size\n{T0},1,1\n{T0 + 10},2,1\n",
        "b.csv": f"time,price,size\n{T0},3,1\n{T0 + 5},4,1\n{T0 + 10},5,1\n",
    }
    report, rows = load(tmp_path, files)
    assert only(rows, "ts", "price") == [(0, 100), (1, 300), (5, 400), (10, 200), (11, 500)]
    assert report.moved == 2


@pytest.mark.parametrize("seed", [1, 2])
def test_rows_out_of_order_are_sorted_and_counted(tmp_path: Path, seed: int) -> None:
    """Sorting is stable, whatever the sizes of runs and blocks; the report says how many were late."""
    generator = np.random.default_rng(seed)
    n = 140_000  # more than one chunk
    times = T0 + generator.integers(0, 50_000, n)
    table = pa.table(
        {"time": times, "price": np.ones(n, dtype=np.int64), "size": pa.array([1] * n), "id": np.arange(n)}
    )
    report, rows = load(tmp_path, {"t.parquet": table})
    order = np.argsort(times, kind="stable")
    assert [row["id"] for row in rows] == order.tolist()
    assert report.files[0].out_of_order == int((times < np.maximum.accumulate(times)).sum())
    assert all(np.diff([row["ts"] for row in rows]) > 0)


def test_a_book_message_is_never_cut_by_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of seven rows give the log of one chunk."""
    text = "time,side,price,size,update_id\n" + "".join(
        f"{T0 + i // 5},bid,{i % 90 + 1}.00,{i % 7},{i // 5}\n" for i in range(200)
    )
    whole, _ = load(tmp_path, {"b.csv": text})
    (tmp_path / "out.arrow").unlink()
    real = tabular_order.book_messages

    def in_pieces(blocks: Any, **options: Any) -> Any:
        pieces = (block.take(slice(i, i + 7)) for block in blocks for i in range(0, len(block), 7))
        return real(pieces, **options)

    monkeypatch.setattr("engine.ingest.tabular_source.book_messages", in_pieces)
    pieces, rows = load(tmp_path, {"b.csv": text})
    assert pieces.chain == whole.chain
    assert sum(Flag.LAST in flags(row) for row in rows) == 40


def test_the_same_files_give_the_same_chain(tmp_path: Path) -> None:
    """Every byte of the log is a function of the files and the options; the folder does not matter."""
    logs = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        report, _ = load(folder, {"t.csv": f"time,price,size\n{T0 + 1},1,1\n{T0},2,1\n"})
        logs.append((report.chain, (folder / "out.arrow").read_bytes()))
    assert logs[0] == logs[1]


@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize("shuffled", ["in order", "out of order"])
def test_chunks_of_any_size_give_one_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, shuffled: str
) -> None:
    """How a file is cut into chunks while it is read shows nowhere: trades, quotes and book, merged."""
    generator = np.random.default_rng(7)
    n = 200
    times = T0 + np.sort(generator.integers(0, 300, n))
    if shuffled == "out of order":
        times = generator.permutation(times)
    prices = generator.integers(1, 50, n)
    files: dict[str, str | pa.Table] = {
        "t.parquet": pa.table({"time": times, "price": prices, "size": prices, "id": np.arange(n)}),
        "q.csv": "time,bid,ask,bid_size,ask_size\n" + "".join(f"{t},1,2,3,4\n" for t in times),
        "b.parquet": pa.table(
            {"time": times, "side": ["bid"] * n, "price": prices, "size": prices, "update_id": times // 3}
        ),
    }
    whole, _ = load(tmp_path, files)
    (tmp_path / "out.arrow").unlink()
    monkeypatch.setattr("engine.ingest.tabular_files._CHUNK_ROWS", size)
    monkeypatch.setattr("engine.ingest.tabular_files._BLOCK_BYTES", 64 * size)
    pieces, _ = load(tmp_path, files)
    assert pieces.chain == whole.chain


@pytest.mark.long
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Eight times the rows, out of order too, need about the same anonymous memory."""
    peaks = []
    for rows in (1_000_000, 8_000_000):
        script = MEASURE.format(rows=rows, folder=tmp_path / str(rows))
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.5 * peaks[0], f"MB at 1 M and at 8 M rows: {peaks}"


MEASURE = """
import re, threading
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from engine.ingest.tabular import import_tables
from engine.ingest.tabular_survey import TableOptions
from engine.ingest.tabular_units import UnitsWanted

folder = Path("{folder}")
folder.mkdir()
schema = pa.schema([("time", pa.int64()), ("price", pa.int64()), ("size", pa.int64())])
with pq.ParquetWriter(folder / "t.parquet", schema) as writer:
    for start in range(0, {rows}, 100_000):
        times = 10**18 + start * 10 + np.arange(100_000)[::-1]
        writer.write_table(pa.table([times, times % 97, times % 31], schema=schema))

def anonymous_mb():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

peak, stop = 0, threading.Event()
def watch():
    global peak
    while not stop.wait(0.02):
        peak = max(peak, anonymous_mb())

watcher = threading.Thread(target=watch)
watcher.start()
try:
    import_tables([(folder / "t.parquet", "t")], folder / "o.arrow",
                  TableOptions(venue="x", symbols=("A",)), UnitsWanted("1", "1"))
finally:
    stop.set()
    watcher.join()
print(peak)
"""
