"""The first look through a file that is to be imported: everything that must be known before a row is made.

A survey reads the time columns only (and prices and sizes where their decimals are not known): how many
rows, from when to when, which symbols, whether they stand in order. Then the import can choose units,
merge without holding files open, and sort only what needs sorting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow.compute as pc

from engine.ingest.tabular_columns import (
    TIME_FIELDS,
    Layout,
    is_price,
    is_size,
    layout_of,
    symbol_and_interval_of,
)
from engine.ingest.tabular_files import Chunk, TableFile
from engine.ingest.tabular_lines import FilePlan, times_of
from engine.ingest.tabular_tardis import is_tardis, tardis_layout
from engine.ingest.tabular_times import TimeReader, Unit
from engine.ingest.tabular_values import decimals_needed, whole_numbers
from engine.model.errors import InputError, UsageError
from engine.model.kinds import Flag
from engine.model.units import SECOND_NS

_INTERVAL_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True)
class TableOptions:
    """What the user says about the files; the defaults say nothing."""

    kind: str = "auto"
    venue: str = ""
    symbols: tuple[str, ...] = ()
    time_unit: Unit = "auto"
    zone: str = ""
    feed_latency_ns: int = 0
    interval_ns: int = 0
    columns: dict[str, str] = field(default_factory=dict)  # field -> column, "-" for none
    format: str = "auto"  # whose files: see engine.ingest.sources.FORMATS
    by_order: bool = False  # of LOBSTER: rows by order in place of rows by price
    calendar: str = ""  # whose sessions are to be written
    since: str = ""  # of sessions without files: first and last day
    until: str = ""


@dataclass
class Survey:
    """What a first look found. Times are of rows that were asked for; decimals per symbol: price, size.

    `decimals` are those that increments may be guessed from; `finest` what prices need besides, by symbol.
    """

    rows: int = 0
    skipped: int = 0  # rows of symbols that were not asked for
    first_ts: int = 0
    last_ts: int = 0
    out_of_order: int = 0
    decimals: dict[str, tuple[int, int]] = field(default_factory=dict)
    finest: dict[str, int] = field(default_factory=dict)
    channels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    exchange: str = ""  # of a Tardis file: that of its first row


def plan_of(file: TableFile, options: TableOptions, warn: Callable[[str], None]) -> FilePlan:
    """What a file holds and how it is to be read; UsageError when that cannot be told."""
    tardis = options.format == "tardis" or (options.format == "auto" and is_tardis(file.columns))
    if tardis:
        if not is_tardis(file.columns):
            raise UsageError(
                f"{file.name}: is no file of Tardis: its columns are {', '.join(file.columns)}",
                hint="those begin with exchange,symbol,timestamp,local_timestamp",
            )
        layout = tardis_layout(file.name, file.columns, options.kind, options.columns)
    elif file.dump and options.kind in ("auto", file.dump.kind):
        layout = layout_of(file.name, file.columns, file.dump.kind, options.columns)
        layout = Layout(layout.kind, layout.fields, layout.unused, aggregate=file.dump.aggregate)
    else:
        layout = layout_of(file.name, file.columns, options.kind, options.columns)
    named_symbol, named_interval = symbol_and_interval_of(file.path.name)
    symbols = options.symbols or ((named_symbol,) if named_symbol and "symbol" not in layout.fields else ())
    if layout.kind != "news" and "symbol" not in layout.fields and len(symbols) != 1:
        raise UsageError(
            f"{file.name}: has no column for the symbol, and --symbol names {len(symbols) or 'none'}",
            hint="say whose data these are: --symbol BTCUSDT",
        )
    plan = FilePlan(
        file=file,
        layout=layout,
        times={
            name: TimeReader(
                "us" if tardis and options.time_unit == "auto" else options.time_unit, options.zone
            )
            for name in TIME_FIELDS
        },
        symbols=symbols,
        feed_latency_ns=options.feed_latency_ns,
    )
    if layout.kind == "bars":
        plan.interval_ns = options.interval_ns or interval_of(named_interval) or _interval_in(plan, warn)
    return plan


def interval_of(text: str) -> int:
    """Nanoseconds of "1m", "4h" …; 0 for an empty text, UsageError for another."""
    if not text:
        return 0
    number, unit = text[:-1], text[-1]
    if not number.isdigit() or int(number) == 0 or unit not in _INTERVAL_SECONDS:
        raise UsageError(f'"{text}" is no interval of bars', hint="write 1s, 1m, 5m, 1h, 1d or 1w")
    return int(number) * _INTERVAL_SECONDS[unit] * SECOND_NS


def _interval_in(plan: FilePlan, warn: Callable[[str], None]) -> int:
    """The interval that the file's own column states, else the smallest distance between bars."""
    columns = plan.columns(("ts", "start", "interval_ns"))
    chunk = next((c for c in plan.file.chunks(columns) if len(c)), None)
    if chunk is None:
        raise InputError(f"{plan.file.name}: holds no rows")
    stated = plan.column(chunk, "interval_ns")
    if stated is not None:
        stated.require()
        return int(whole_numbers(stated)[0])
    ts, start = times_of(chunk, plan)
    times = start if "start" in plan.layout.fields else ts
    distances = np.diff(np.unique(times))
    if not len(distances):
        raise UsageError(
            f"{plan.file.name}: how long is a bar? One alone does not tell", hint="say it: --interval 1m"
        )
    shortest = int(distances.min())
    warn(
        f"{plan.file.name}: bars are taken to be {shortest / SECOND_NS:g} s long, "
        "the smallest distance between two; --interval says it for certain"
    )
    return shortest


def survey(plan: FilePlan, undefined: Callable[[str], bool], progress: Callable[[int], None]) -> Survey:
    """Look through a whole file. `undefined` tells for which symbols decimals are wanted.

    Raises InputError for times that are none, and for a file without rows. progress: called with the
    number of rows seen in each chunk.
    """
    result = Survey()
    fields: tuple[str, ...] = (*TIME_FIELDS, "symbol", "exchange", "mark", "flags")
    if _wants_decimals(plan, undefined):
        fields += tuple(name for name in plan.layout.fields if is_price(name) or is_size(name))
    columns = plan.columns(fields)
    latest = -1
    for chunk in plan.file.chunks(columns):
        progress(len(chunk))
        kept, groups = plan.selected(chunk)
        result.skipped += len(chunk) - len(kept)
        if not len(kept):
            continue
        result.rows += len(kept)
        for symbol, where in groups:
            part = kept if where is None else kept.take(np.flatnonzero(where))
            _take_decimals(result, plan, symbol, part if undefined(symbol) else None)
            _take_mark(result, plan, symbol, part)
            _take_channel(result, plan, symbol, part)
        _take_exchange(result, plan, kept)
        ts, _ = times_of(kept, plan)
        before = np.maximum.accumulate(np.append(latest, ts))
        result.out_of_order += int((ts < before[:-1]).sum())
        first = int(ts.min())
        result.first_ts = min(result.first_ts, first) if latest >= 0 else first
        latest = result.last_ts = int(before[-1])
    if not result.rows:
        reason = f" of {', '.join(plan.symbols)}" if result.skipped else ""
        raise InputError(f"{plan.file.name}: holds no rows{reason}")
    return result


def _wants_decimals(plan: FilePlan, undefined: Callable[[str], bool]) -> bool:
    if plan.layout.kind == "news":
        return False
    if "symbol" in plan.layout.fields and not plan.symbols:
        return True  # which symbols there are is not known yet
    return any(undefined(symbol) for symbol in plan.symbols)


def _take_decimals(result: Survey, plan: FilePlan, symbol: str, chunk: Chunk | None) -> None:
    price, size = result.decimals.get(symbol, (0, 0))
    if chunk is not None and plan.layout.kind != "news":
        for name in plan.layout.fields:
            if not (is_price(name) or is_size(name)):
                continue
            column = plan.column(chunk, name)
            assert column is not None
            needed = decimals_needed(column)
            if is_price(name):
                price = max(price, needed)
            else:
                size = max(size, needed)
    result.decimals[symbol] = (price, size)


def _take_mark(result: Survey, plan: FilePlan, symbol: str, chunk: Chunk) -> None:
    """A mark price is an average: it may be finer than any price that can be quoted."""
    mark = plan.column(chunk, "mark")
    if mark is not None:
        result.finest[symbol] = max(result.finest.get(symbol, 0), decimals_needed(mark))


_CHANNELS = {"trades": "trade", "quotes": "quote", "book": "book", "book states": "book", "bars": "bar"}


def _take_channel(result: Survey, plan: FilePlan, symbol: str, chunk: Chunk) -> None:
    channel = "aggtrade" if plan.layout.aggregate else _CHANNELS.get(plan.layout.kind, "")
    flags = plan.column(chunk, "flags")
    if channel == "book" and flags is not None and (whole_numbers(flags) & np.uint64(Flag.BY_ORDER)).any():
        channel = "orders"
    before = result.channels.setdefault(symbol, ())
    if channel and channel not in before:
        result.channels[symbol] = (*before, channel)


def _take_exchange(result: Survey, plan: FilePlan, chunk: Chunk) -> None:
    column = plan.column(chunk, "exchange")
    if column is None:
        return
    column.require()
    result.exchange = result.exchange or str(column.values[0].as_py())
    other = pc.not_equal(column.values, result.exchange)
    if pc.any(other).as_py():
        raise column.error(
            int(pc.index(other, True).as_py()),
            f"is not {result.exchange}, the exchange of the rows before it",
            "split the file, one exchange in each",
        )
