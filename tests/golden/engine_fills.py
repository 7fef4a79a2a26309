"""The golden cases run by the engine: rows as a log, traders as strategies, fills as the journal has them.

Profile `hftbacktest`, in either clock. Where a row reaches venue and strategy at one time (`none`, `orders`)
the clocks coincide; in `feed_and_orders` only the venue's own clock says what hftbacktest does.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from msgspec.structs import replace

from engine.config import Fees, Latency, Risk, RunConfig, parse_queue
from engine.execution.orders import Reason
from engine.log.journal import Journal, read_journal
from engine.log.schema import LogHeader
from engine.log.writer import LogWriter
from engine.loop.backtest import Backtest, run_backtest
from engine.model.kinds import ASK, BID, Flag, InstrumentData, Kind, SourceData, encode_canonical
from engine.model.rows import ROW
from engine.profiles import load_profile
from engine.strategy.loader import load_strategy
from tests.golden.fills import ORDER_LATENCY_NS, Fills, Requests, Rows

TRADERS = Path(__file__).resolve().parent / "traders"
INSTRUMENT = InstrumentData(
    key="BTCUSDT.binance",
    symbol="BTCUSDT",
    venue="binance",
    price_decimals=1,
    size_decimals=3,
    price_increment="0.1",
    size_increment="0.001",
    base="BTC",
    quote="USDT",
    channels=("trade", "book"),
)
QUEUE_OPTIONS = {"power_2": "power:2", "power_3": "power:3", "power2_3": "power2:3", "power3_3": "power3:3"}
FILL = 6  # kind of a journal record
_LAST, _SNAPSHOT, _CLEAR = int(Flag.LAST), int(Flag.SNAPSHOT), int(Flag.CLEAR)


def write_log(path: Path, rows: Rows) -> Path:
    """The rows as a log: the first message is the snapshot that the book begins with."""
    packed = np.zeros(len(rows.local_ts), ROW)
    packed["ts"], packed["ts_venue"] = rows.local_ts, rows.exch_ts
    packed["kind"] = np.where(rows.kind == 1, int(Kind.TRADE), int(Kind.BOOK))
    packed["side"] = np.where(rows.side == 1, BID, ASK)
    packed["price"], packed["size"] = rows.price_tick, rows.size_lots
    packed["source"] = packed["instrument"] = 1
    packed["flags"] = np.where(rows.last == 1, _LAST, 0)
    packed["flags"][: int(np.argmax(rows.last)) + 1] |= _SNAPSHOT
    packed["flags"][0] |= _CLEAR
    packed["wire_length"] = packed["data_length"] = -1
    before = int(rows.local_ts[0])
    with LogWriter(path, LogHeader(engine="test", venues=("binance",))) as writer:
        source, definition = encode_canonical(SourceData(name="binance")), encode_canonical(INSTRUMENT)
        writer.rows.append(before - 2, Kind.SOURCE, source=1, flags=_LAST, data=source)
        writer.rows.append(before - 1, Kind.INSTRUMENT, source=1, instrument=1, flags=_LAST, data=definition)
        writer.flush()
        writer.rows.extend(packed, [], [])
        writer.close(reason="end of the rows", ts=int(rows.local_ts[-1]))
    return path


def write_trader(folder: Path, requests: Requests) -> Path:
    """The strategy that carries out the list, but for changes, with the list beside it."""
    kept = requests.action != 2
    lines = [f"    {row}," for row in zip(*(column[kept].tolist() for column in requests), strict=True)]
    (folder / "asked.py").write_text("\n".join(["REQUESTS = [", *lines, "]", ""]), encoding="utf-8")
    return Path(shutil.copy(TRADERS / "list_keeper.py", folder))


def config_of(queue: str, latency: str, clock: str) -> RunConfig:
    """What a case asks of a run."""
    profile = load_profile("hftbacktest")
    order_ns = ORDER_LATENCY_NS[latency]
    return RunConfig(
        latency=Latency(0, order_ns, order_ns),
        profile=profile.name,
        fees=Fees(0, 100_000),
        rules=replace(profile.rules, **parse_queue(QUEUE_OPTIONS.get(queue, queue), "queue")),
        risk=Risk(collar_millionths=0),
        clock=clock,
    )


def run_case(
    log: Path, trader: Path, begin: int, case: tuple[str, str, str], folder: Path, *, interpreted: bool = True
) -> tuple[Fills, Backtest]:
    """Fills of a queue model, latency and clock, and the run they are of; `begin` as the README has it."""
    queue, latency, clock = case
    config = config_of(queue, latency, clock)
    journal = Journal(folder / "journal.arrow")
    loaded = load_strategy(str(trader), [f"begin={begin}"])
    result = run_backtest([log], config, loaded, journal, interpreted=interpreted)
    journal.close()
    return fills_of(folder / "journal.arrow", config.latency.response_ns), result


def fills_of(journal: Path, response_ns: int) -> Fills:
    """The journal's fills, in its order; each was told `response_ns` after it happened."""
    table: Any = read_journal(journal)
    table = table.filter(pc.equal(table["kind"], FILL))
    told, side, price, size, order, reason = (
        np.asarray(table[name].to_numpy(), np.int64)
        for name in ("ts", "side", "price", "size", "order", "reason")
    )
    maker = (reason != Reason.TAKER).astype(np.int64)
    return Fills(told - response_ns, told, side, price, size, order, maker)


def rows_of_workload(folder: Path, *, feed_latency: bool) -> Rows:
    """All rows of W3, as `first_minute` has the first of them."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "w3_l2.parquet")
    names = ("ts_event", "ts_recv", "kind", "side", "last")
    sent, received, kind, side, last = (np.asarray(table[name].to_numpy(), np.int64) for name in names)
    price = np.rint(table["price"].to_numpy() / 0.1).astype(np.int64)
    size = np.rint(table["size"].to_numpy() / 0.001).astype(np.int64)
    return Rows(sent if feed_latency else received, received, kind, side, price, size, last)
