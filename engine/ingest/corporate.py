"""Splits and dividends from a table, as CORPORATE rows.

An action counts from the instant that stands in the row's `ts` (and `ts_venue`): when the session of its day
opens. A column `ts` says that instant, or a column `date` the day, and a calendar when its session opens. A
split multiplies sizes by numerator / denominator and divides prices by it: "4:1" makes four of one.

Imported beside market data, only what falls into their time is taken, and only of their instruments: a list
of twenty years and five hundred companies may be given for one day of one of them. Actions at the open of
the first session are in it, also when they are before the first row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
import pyarrow as pa

from engine.ingest.sessions import Calendar
from engine.ingest.sources import Source
from engine.ingest.tabular_blocks import Block
from engine.ingest.tabular_columns import Layout
from engine.ingest.tabular_files import Chunk, TableFile
from engine.ingest.tabular_lines import Tally
from engine.ingest.tabular_survey import Survey, TableOptions
from engine.ingest.tabular_times import TimeReader
from engine.ingest.tabular_values import Column
from engine.model.errors import InputError, UsageError
from engine.model.kinds import CorporateData, Flag, Kind, encode_canonical
from engine.model.rows import ROW

_RATIO = re.compile(r"^\s*(\d+)\s*[:/]\s*(\d+)\s*$")
_ACTIONS = {
    "split": "split",
    "dividend": "dividend",
    "cash_dividend": "dividend",
    "cash dividend": "dividend",
}
_DAY_NS = 86_400_000_000_000
_LEFT_OUT = "actions are of other instruments, or of another time than the market data: left out"


class CorporateSource(Source):
    """A table of splits and dividends. `calendar` is set before it is looked at, where one was named."""

    kind = "corporate"

    def __init__(self, file: TableFile, layout: Layout, options: TableOptions) -> None:
        self.path, self.name = file.path, file.name
        self.unused = layout.unused
        self.tally = Tally()
        self.calendar: Calendar | None = None
        self.actions: list[tuple[int, str, CorporateData]] = []
        self._file, self._layout, self._options = file, layout, options
        self._times = TimeReader(options.time_unit, options.zone)

    def look(self, _undefined: Callable[[str], bool], progress: Callable[[int], None]) -> Survey:
        """Read the whole table: it is small."""
        found = Survey()
        for chunk in self._file.chunks(list(self._layout.fields.values())):
            progress(len(chunk))
            if not len(chunk):
                continue
            for ts, symbol, data in zip(
                self._instants(chunk), self._symbols(chunk), self._data(chunk), strict=True
            ):
                if self._options.symbols and symbol not in self._options.symbols:
                    found.skipped += 1
                    continue
                found.out_of_order += bool(self.actions and ts < self.actions[-1][0])
                self.actions.append((ts, symbol, data))
        self.actions.sort(key=lambda action: action[0])
        if not self.actions:
            raise InputError(f"{self.name}: holds no rows" + (" of these symbols" if found.skipped else ""))
        self._sum_up(found)
        return found

    def keep(self, found: Survey, symbols: set[str], first_ts: int, last_ts: int) -> None:
        """Leave out what is not of these symbols or not of this time, ends included."""
        kept = [a for a in self.actions if a[1] in symbols and first_ts <= a[0] <= last_ts]
        left_out = len(self.actions) - len(kept)
        found.skipped += left_out
        self.tally.add(self.tally.notes, _LEFT_OUT, left_out)
        self.actions = kept
        found.decimals, found.channels = {}, {}
        self._sum_up(found)

    def _sum_up(self, found: Survey) -> None:
        found.rows = len(self.actions)
        if self.actions:
            found.first_ts, found.last_ts = self.actions[0][0], self.actions[-1][0]
        for _, symbol, _ in self.actions:
            found.decimals[symbol] = (0, 0)

    def blocks(self, _work: Path) -> Iterator[Block]:
        """One row an action, each a message of its own."""
        if not self.actions:
            return
        packed = np.zeros(len(self.actions), dtype=ROW)
        packed["ts"] = packed["ts_venue"] = [ts for ts, _, _ in self.actions]
        packed["source"] = self.number
        packed["kind"] = int(Kind.CORPORATE)
        packed["flags"] = int(Flag.LAST | Flag.IMPORTED)
        packed["instrument"] = [self.placed[symbol].number for _, symbol, _ in self.actions]
        texts = [encode_canonical(data) for _, _, data in self.actions]
        packed["data_length"] = [len(text) for text in texts]
        packed["wire_length"] = -1
        yield Block(packed, pa.array([text.decode() for text in texts], pa.string()))

    # ------------------------------------------------------------------------------------ columns

    def _column(self, chunk: Chunk, name: str) -> Column | None:
        column = self._layout.fields.get(name)
        return None if column is None else chunk.column(column)

    def _texts(self, chunk: Chunk, name: str) -> list[str]:
        column = self._column(chunk, name)
        if column is None:
            return [""] * len(chunk)
        return ["" if v is None else str(v).strip() for v in column.values.to_pylist()]

    def _instants(self, chunk: Chunk) -> list[int]:
        ts = self._column(chunk, "ts")
        if ts is not None:
            instants: list[int] = self._times.read(ts, required=True).tolist()
            return instants
        day = self._column(chunk, "date")
        assert day is not None
        day.require()
        if self.calendar is None:
            raise UsageError(
                f"{self.name}: its rows name days; an action counts from when that day's session opens",
                hint="name the exchange's calendar, --calendar XNYS, or give a column ts with the instant",
            )
        days = []
        for index, text in enumerate(self._texts(chunk, "date")):
            try:
                days.append(date.fromisoformat(text))
            except ValueError:
                raise day.error(index, "is not a day", "write it like 2024-06-03") from None
        opens = self.calendar.opens_on(set(days))
        return [opens[day] for day in days]

    def _symbols(self, chunk: Chunk) -> list[str]:
        column = self._column(chunk, "symbol")
        if column is None:
            if len(self._options.symbols) != 1:
                raise UsageError(
                    f"{self.name}: has no column for the symbol", hint="say whose these are: --symbol AAPL"
                )
            return [self._options.symbols[0]] * len(chunk)
        column.require()
        return self._texts(chunk, "symbol")

    def _data(self, chunk: Chunk) -> Iterator[CorporateData]:
        action = self._column(chunk, "action")
        assert action is not None
        action.require()
        currencies = self._texts(chunk, "currency")
        for index, word in enumerate(self._texts(chunk, "action")):
            known = _ACTIONS.get(word.lower())
            if known is None:
                raise action.error(
                    index, "is neither split nor dividend", "cut the row out: a log holds these two"
                )
            if known == "split":
                numerator, denominator = self._ratio(chunk, index)
                yield CorporateData("split", numerator, denominator)
            else:
                yield CorporateData("dividend", amount=self._amount(chunk, index), currency=currencies[index])

    def _ratio(self, chunk: Chunk, index: int) -> tuple[int, int]:
        column = self._column(chunk, "ratio")
        if column is not None and column.values[index].is_valid:
            found = _RATIO.match(str(column.values[index].as_py()))
            if found is None or not (int(found[1]) and int(found[2])):
                raise column.error(index, "is no ratio", "write 4:1 for four of one")
            return int(found[1]), int(found[2])
        numbers = []
        for name in ("numerator", "denominator"):
            column = self._column(chunk, name)
            if column is None:
                raise UsageError(
                    f"{self.name}: a split needs a ratio, or a numerator and a denominator",
                    hint="name the column: --column ratio=NAME",
                )
            text = str(column.values[index].as_py()).strip()
            if not text.isdigit() or int(text) == 0:
                raise column.error(
                    index, "is no whole number above zero", "a split has 4 and 1 for four of one"
                )
            numbers.append(int(text))
        return numbers[0], numbers[1]

    def _amount(self, chunk: Chunk, index: int) -> str:
        column = self._column(chunk, "amount")
        if column is None:
            raise UsageError(
                f"{self.name}: a dividend needs an amount", hint="name the column: --column amount=NAME"
            )
        text = str(column.values[index].as_py()).strip()
        try:
            amount = Decimal(text)
        except InvalidOperation:
            amount = Decimal("nan")
        if not amount.is_finite() or amount <= 0:
            raise column.error(index, "is no amount above zero", "write what one unit is paid, like 0.24")
        return f"{amount:f}"


def settle_actions(sources: Sequence[Source], surveys: Sequence[Survey]) -> None:
    """Cut tables of actions down to the market data beside them, where there are some."""
    pairs = list(zip(sources, surveys, strict=True))
    market = [(s, f) for s, f in pairs if s.kind not in {"corporate", "news"}]
    if not market:
        return
    first_ts = min(found.first_ts for _, found in market)
    last_ts = max(found.last_ts for _, found in market)
    for source, found in pairs:
        if not isinstance(source, CorporateSource):
            continue
        begins = first_ts - first_ts % _DAY_NS
        if source.calendar is not None:
            touched = source.calendar.touched(first_ts, last_ts)
            begins = min(touched[0].opens, first_ts) if touched else first_ts
        symbols = {symbol for other, f in market if other.venue == source.venue for symbol in f.decimals}
        found.first_ts, found.last_ts = first_ts, last_ts
        source.keep(found, symbols, begins, last_ts)
