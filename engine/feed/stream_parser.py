"""What parsers share whose venue sends everything over one stream: books whole, bars, trades.

A message is worked on in three steps. Its times are read, which may be refused; its decimals are read, which
may be refused; then it is applied, which cannot fail. So what is refused has changed nothing. Decimals finer
than their instrument's definition are no reason to refuse: an INSTRUMENT message with version + 1 goes before
the frame's own, one nanosecond earlier, and the decimals are read again. (Times come first, because after
that message there is no way back.)

See engine.feed.parser for what all parsers promise.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from engine.feed.decimals import TooFine
from engine.feed.instrument_rows import InstrumentRows
from engine.feed.parser import LAST, Malformed, Notice, Want, append_malformed
from engine.feed.stamps import Stamps
from engine.model.errors import DecimalError
from engine.model.kinds import InstrumentData, Kind, SourceData, StatusData, encode_canonical
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME

INSTRUMENT, CONTROL, STATUS = int(Kind.INSTRUMENT), int(Kind.CONTROL), int(Kind.STATUS)
# What a number that is none does to a table of decimals: a list cannot even be looked up.
NOT_CONVERTED = (DecimalError, TypeError)

RowsT = TypeVar("RowsT", bound=InstrumentRows)
Text = tuple[str, RowsT, bool, Any]  # path in the frame, whose, whether a price (else a size), the number


class StreamParser(ABC, Generic[RowsT]):
    """One connection's frames into rows. Subclasses say what the frames are."""

    definition_endpoints: tuple[str, ...] = ()  # REST answers that hold definitions

    def __init__(
        self,
        instruments: Mapping[str, tuple[int, InstrumentData]],
        source: int,
        channels: Sequence[str] = (),
    ) -> None:
        """`instruments`: symbol -> (number in the file, definition). `source`: the connection's number."""
        self.source = source
        self.channels = tuple(channels)
        self.wants: list[Want] = []
        self.notices: list[Notice] = []
        self.unknown: Counter[str] = Counter()
        self.symbols: dict[str, RowsT] = {}
        self.stamps = Stamps()
        for number, definition in instruments.values():
            self.define(number, definition)

    @abstractmethod
    def new_rows(self, number: int, definition: InstrumentData) -> RowsT:
        """What keeps one instrument."""

    @abstractmethod
    def take(self, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """Append the rows of one frame. Raises Malformed, having changed nothing but `rows`."""

    @abstractmethod
    def definitions_of(self, body: bytes) -> dict[str, InstrumentData]:
        """Those of our instruments in a REST answer about definitions. Raises Malformed."""

    @abstractmethod
    def synchronised(self, symbol: str) -> bool:
        """Whether the symbol's book is in step with the venue's."""

    def carry_book(self, symbol: str, last: int) -> None:
        """The symbol's book is in step: it was carried over from an earlier file."""

    def define(self, number: int, definition: InstrumentData) -> None:
        """Take an instrument's definition, new or changed, under its number in the log."""
        state = self.symbols.get(definition.symbol)
        if state is None:
            self.symbols[definition.symbol] = self.new_rows(number, definition)
        else:
            state.number = number
            state.define(definition)

    @property
    def instruments(self) -> dict[str, tuple[int, InstrumentData]]:
        """The definitions now in force, by symbol."""
        return {symbol: (state.number, state.definition) for symbol, state in self.symbols.items()}

    def connection_lost(self, symbol: str = "") -> None:
        """Books are out of step until their next snapshot: of one symbol, or of all."""
        for name, state in self.symbols.items():
            if symbol in ("", name):
                state.connection_lost()

    def feed(self, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """Append the rows of one frame received at `ts` (ns). Never raises for what the venue sends."""
        start = rows.count
        try:
            self.take(frame, ts, rows)
        except Malformed as problem:
            rows.truncate(start)
            append_malformed(problem, frame, ts, self.source, rows)

    def feed_rest(self, source: SourceData, body: bytes, ts: int, rows: RowBuffer, number: int) -> None:
        """Append the rows of a REST answer: INSTRUMENT rows for definitions that changed, else CONTROL."""
        start = rows.count
        try:
            if source.endpoint in self.definition_endpoints:
                self.redefine(self.definitions_of(body), body, ts, rows, number)
            else:
                self.control(source.endpoint or "rest", body, ts, rows, number)
        except Malformed as problem:
            rows.truncate(start)
            append_malformed(problem, body, ts, number, rows)

    def redefine(
        self, found: Mapping[str, InstrumentData], wire: bytes, ts: int, rows: RowBuffer, source: int
    ) -> None:
        """INSTRUMENT rows for the definitions among `found` that differ from ours; CONTROL if none does."""
        start = rows.count
        for symbol, definition in found.items():
            state = self.symbols[symbol]
            if definition != state.definition:
                version = state.definition.version + 1
                state.define(msgspec.structs.replace(definition, version=version))
                self._definition(state, wire if rows.count == start else None, ts, rows, source)
        if rows.count == start:
            self.control("", wire, ts, rows, source)
        else:
            rows.end_message()

    def widen(self, texts: Iterable[Text[RowsT]], ts: int, rows: RowBuffer) -> None:
        """Give the instruments the decimals that a message needs; Malformed if one of its numbers is none."""
        numbers = list(texts)
        needed: dict[str, list[int]] = {}
        for path, state, is_price, number in numbers:
            old = state.definition
            decimals = needed.setdefault(old.symbol, [old.price_decimals, old.size_decimals])
            try:
                (state.prices if is_price else state.sizes)[number]
            except TooFine as error:
                decimals[not is_price] = max(decimals[not is_price], error.decimals)
            except NOT_CONVERTED as error:
                raise _refused(path, number, error) from None
        for path, state, is_price, number in numbers:
            decimals = needed[state.definition.symbol]
            try:
                state.mantissas(decimals[not is_price])[number]
            except DecimalError as error:
                raise _refused(path, number, error) from None
        start = rows.count
        for symbol, (price_decimals, size_decimals) in needed.items():
            state = self.symbols[symbol]
            old = state.definition
            if (price_decimals, size_decimals) != (old.price_decimals, old.size_decimals):
                wider = msgspec.structs.replace(
                    old, price_decimals=price_decimals, size_decimals=size_decimals, version=old.version + 1
                )
                state.define(wider)
                self._definition(state, None, ts - 1, rows, self.source)
        if rows.count > start:
            rows.end_message()

    def control(
        self,
        unknown: str,
        wire: bytes | None,
        ts: int,
        rows: RowBuffer,
        source: int,
        *,
        flags: int = 0,
    ) -> None:
        """A CONTROL row that ends a message; `unknown` names what nobody knows."""
        if unknown:
            self.unknown[unknown] += 1
        rows.append(ts, CONTROL, source=source, flags=flags | LAST, wire=wire)

    def status(self, data: StatusData, wire: bytes, ts: int, rows: RowBuffer, *, instrument: int = 0) -> None:
        """A STATUS row that is a message of its own."""
        rows.append(
            ts,
            STATUS,
            ts_venue=NULL_TIME,
            source=self.source,
            flags=LAST,
            instrument=instrument,
            data=encode_canonical(data),
            wire=wire,
        )

    def _definition(self, state: RowsT, wire: bytes | None, ts: int, rows: RowBuffer, source: int) -> None:
        data = encode_canonical(state.definition)
        rows.append(ts, INSTRUMENT, source=source, instrument=state.number, data=data, wire=wire)


def _refused(path: str, number: Any, error: Exception) -> Malformed:
    shown = number if isinstance(number, str) else json.dumps(number)
    words = error.message if isinstance(error, DecimalError) else "not a number"
    return Malformed(words, field=path, value=shown)
