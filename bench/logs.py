"""How do the workloads look as logs of this engine?

Each becomes one sealed file: trades are messages of one row, quotes of two, bars of four, W3's steps stay
whole messages. Repeated, a workload goes on where it ended: later in time, with a new snapshot of the book,
so that a log of any length can be made.

    python -m bench.logs [w1 w2 w3 w4]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from bench.common import CACHE, Stopwatch
from bench.workloads import BUYER, W3_TRADE, workload
from engine.log.schema import LogHeader
from engine.log.seal import seal
from engine.log.writer import LogWriter
from engine.model.kinds import ASK, BID, BarData, Flag, InstrumentData, Kind, SourceData, encode_canonical
from engine.model.rows import ROW

ROWS_PER_BATCH = 65_536
LAST, SNAPSHOT, CLEAR = int(Flag.LAST), int(Flag.SNAPSHOT), int(Flag.CLEAR)
TICK = {"w1": ("0.01", 2), "w2": ("0.01", 2), "w3": ("0.1", 1), "w4": ("0.01", 2)}
CHANNELS = {"w1": ("trade",), "w2": ("trade", "quote"), "w3": ("trade", "book"), "w4": ("bar",)}
BAR_NS = 60_000_000_000
BAR_TEXT = encode_canonical(BarData(interval_ns=BAR_NS))

Columns = dict[str, npt.NDArray[Any]]
Packed = npt.NDArray[np.void]


def log_of(name: str, rows: int = 0) -> Path:
    """The sealed log of a workload, made if it is not there; with `rows`, repeated or cut to about that."""
    path = CACHE / "logs" / (f"{name}-{rows}.arrow" if rows else f"{name}.arrow")
    if not path.exists():
        building = path.with_suffix(".building")
        building.unlink(missing_ok=True)
        with Stopwatch() as watch:
            write_log(name, building, rows)
            seal(building)
            building.replace(path)
        print(f"{path.name} written in {watch.seconds:.1f} s", flush=True)
    return path


def write_log(name: str, path: Path, rows: int = 0) -> None:
    """An unsealed log of a workload at `path`."""
    packed = packed_rows(name)
    increment, price_decimals = TICK[name]
    source = SourceData(name="bench", detail={"workload": name})
    instrument = InstrumentData(
        key="BTCUSDT.binance",
        symbol="BTCUSDT",
        venue="binance",
        price_decimals=price_decimals,
        size_decimals=3,
        price_increment=increment,
        size_increment="0.001",
        base="BTC",
        quote="USDT",
        channels=CHANNELS[name],
    )
    first_ts = int(packed["ts"][0])
    header = LogHeader(
        engine="bench", created="2024-01-01T00:00:00Z", venues=("binance",), note=f"workload {name}"
    )
    with LogWriter(path, header) as writer:
        writer.rows.append(first_ts - 2, Kind.SOURCE, source=1, flags=LAST, data=encode_canonical(source))
        writer.rows.append(
            first_ts - 1,
            Kind.INSTRUMENT,
            source=1,
            instrument=1,
            flags=LAST,
            data=encode_canonical(instrument),
        )
        writer.flush()
        last_ts = first_ts
        for chunk in _chunks(packed, rows):
            writer.rows.extend(chunk, [BAR_TEXT] * int((chunk["data_length"] > 0).sum()), [])
            writer.flush()
            last_ts = int(chunk["ts"][-1])
        writer.close(reason="end of workload", ts=last_ts + 1)


def _chunks(packed: Packed, rows: int) -> Iterator[Packed]:
    """Whole messages, about ROWS_PER_BATCH rows at a time; `packed` again and again until `rows` are out."""
    ends = np.flatnonzero(packed["flags"] & LAST) + 1
    span = int(packed["ts"][-1] - packed["ts"][0]) + 1_000_000
    written = 0
    wanted = rows or len(packed)
    while written < wanted:
        start = 0
        while start < len(packed) and written < wanted:
            most = start + min(ROWS_PER_BATCH, wanted - written)
            # The last message that ends within the limit; at least one message.
            position = max(
                np.searchsorted(ends, most, side="right") - 1, np.searchsorted(ends, start, "right")
            )
            stop = int(ends[position])
            yield packed[start:stop]
            written += stop - start
            start = stop
        packed["ts"] += span
        packed["ts_venue"] += span


def packed_rows(name: str) -> Packed:
    """A workload's rows as the log's records."""
    folder = workload(name)
    files = {"w1": "w1_trades.parquet", "w2": "w2_l1.parquet", "w3": "w3_l2.parquet", "w4": "w4_bars.parquet"}
    file = files[name]
    table = pq.read_table(folder / file)
    columns: Columns = {each: table[each].to_numpy() for each in table.column_names}
    return {"w1": _w1, "w2": _w2, "w3": _w3, "w4": _w4}[name](columns)


def _records(columns: Columns, price_scale: int, price: str = "price", size: str = "size") -> Packed:
    rows = np.zeros(len(columns["ts_recv"]), ROW)
    rows["ts"] = columns["ts_recv"]
    rows["ts_venue"] = columns["ts_event"]
    rows["source"] = rows["instrument"] = 1
    rows["price"] = np.rint(columns[price] * price_scale)
    rows["size"] = np.rint(columns[size] * 1000)
    rows["wire_length"] = rows["data_length"] = -1
    return rows


def _trades(columns: Columns, ids: str) -> Packed:
    rows = _records(columns, 100)
    rows["kind"] = int(Kind.TRADE)
    rows["side"] = np.where(columns["side"] == BUYER, BID, ASK)
    rows["id"] = columns[ids]
    rows["flags"] = LAST
    return rows


def _w1(columns: Columns) -> Packed:
    return _trades(columns, "trade_id")


def _w2(columns: Columns) -> Packed:
    is_trade = columns["is_trade"] == 1
    trades = _trades({name: values[is_trade] for name, values in columns.items()}, "id")
    quotes = {name: values[~is_trade] for name, values in columns.items()}
    bids, asks = _records(quotes, 100, "bid_px", "bid_sz"), _records(quotes, 100, "ask_px", "ask_sz")
    bids["side"], asks["side"] = BID, ASK
    for side in (bids, asks):
        side["kind"] = int(Kind.QUOTE)
        side["id"] = quotes["id"]
    asks["flags"] = LAST
    rows = np.concatenate([trades, bids, asks])
    # By time, a quote's bid before its ask: what is LAST comes after what is not.
    return rows[np.lexsort((rows["flags"], rows["ts"]))]


def _w3(columns: Columns) -> Packed:
    rows = _records(columns, 10)
    trade = columns["kind"] == W3_TRADE
    rows["kind"] = np.where(trade, int(Kind.TRADE), int(Kind.BOOK))
    rows["side"] = np.where(columns["side"] == 1, BID, ASK)
    rows["id"] = np.arange(1, len(rows) + 1)
    rows["flags"] = np.where(columns["last"] == 1, LAST, 0)
    first = int(np.flatnonzero(rows["flags"])[0]) + 1
    rows["flags"][:first] |= SNAPSHOT
    rows["flags"][0] |= CLEAR
    return rows


def _w4(columns: Columns) -> Packed:
    rows = np.zeros(4 * len(columns["ts"]), ROW)
    rows["ts"] = np.repeat(columns["ts"], 4)
    rows["ts_venue"] = rows["ts"] - BAR_NS
    rows["kind"] = int(Kind.BAR)
    rows["flags"] = int(Flag.FINAL | Flag.IMPORTED)
    rows["flags"][3::4] |= LAST
    rows["source"] = rows["instrument"] = 1
    for i, name in enumerate(("open", "high", "low", "close")):
        rows["part"][i::4] = i + 1
        rows["price"][i::4] = np.rint(columns[name] * 100)
    rows["size"][3::4] = np.rint(columns["volume"] * 1000)
    rows["wire_length"] = rows["data_length"] = -1
    rows["data_length"][0::4] = len(BAR_TEXT)
    return rows


if __name__ == "__main__":
    for each in sys.argv[1:] or ("w1", "w2", "w3", "w4"):
        log_of(each)
