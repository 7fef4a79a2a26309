"""What the parsers of one connection have in common, whatever the venue: instruments, refusals, definitions.

A parser keeps one object for each of its instruments (`symbols`), of a kind of its own: it has a number in
the log, a definition in force, and makes the rows. A subclass says what such an object is (`new_rows`), what
a frame means (`take`), and what a REST answer means if it is not about definitions (`take_rest`).

A frame or an answer that `take` refuses becomes one MALFORMED row, in place of all rows that it had begun.

See engine.feed.parser for what all parsers promise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from engine.feed.parser import LAST, Malformed, Notice, Want, append_malformed
from engine.feed.row_words import CONTROL, INSTRUMENT, STATUS
from engine.model.kinds import InstrumentData, SourceData, StatusData, encode_canonical
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME

_UNKNOWN_NAMES = 256  # what nobody knows is counted by names that come from outside: not by all of them,
_UNKNOWN_CHARACTERS = 80  # and not by the whole of them


class Kept(Protocol):
    """What a parser keeps of one instrument."""

    number: int
    definition: InstrumentData

    def define(self, definition: InstrumentData) -> None:
        """Use this definition from now on."""


KeptT = TypeVar("KeptT", bound=Kept)


class ParserBase(ABC, Generic[KeptT]):
    """One connection's frames, and the REST answers that belong to them, into rows."""

    definition_endpoints: tuple[str, ...] = ()  # REST answers that hold definitions

    def __init__(
        self,
        instruments: Mapping[str, tuple[int, InstrumentData]],
        source: int,
        channels: Sequence[str] = (),
    ) -> None:
        """What to read, and for whom.

        `instruments`: symbol -> (number in the file, definition). `source`: the connection's number in the
        file. `channels`: what the connection subscribes to, as users name it.
        """
        self.source = source
        self.channels = tuple(channels)
        self.wants: list[Want] = []
        self.notices: list[Notice] = []
        self.unknown: Counter[str] = Counter()
        self.symbols: dict[str, KeptT] = {}
        for number, definition in instruments.values():
            self.define(number, definition)

    @abstractmethod
    def new_rows(self, number: int, definition: InstrumentData) -> KeptT:
        """What keeps one instrument."""

    @abstractmethod
    def lose(self, state: KeptT) -> None:
        """The instrument's book is out of step, and whatever else only holds for one life of a connection."""

    @abstractmethod
    def take(self, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """Append the rows of one frame. Raises Malformed, having changed nothing but `rows`."""

    @abstractmethod
    def synchronised(self, symbol: str) -> bool:
        """Whether the symbol's book is in step with the venue's."""

    def definitions_of(self, body: bytes) -> dict[str, InstrumentData]:  # noqa: ARG002
        """Those of our instruments in an answer of `definition_endpoints`. Raises Malformed."""
        return {}

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
        """The definitions now in force, by symbol, each with its number in the log."""
        return {symbol: (state.number, state.definition) for symbol, state in self.symbols.items()}

    @property
    def definitions(self) -> dict[str, InstrumentData]:
        """The same without the numbers."""
        return {symbol: state.definition for symbol, state in self.symbols.items()}

    def connection_lost(self, symbol: str = "") -> None:
        """Books are out of step until their next whole picture: of one symbol, or of all."""
        for name, state in self.symbols.items():
            if symbol in ("", name):
                self.lose(state)

    def feed(self, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """Append the rows of one frame received at `ts` (ns). Never raises for what the venue sends."""
        start = rows.count
        try:
            self.take(frame, ts, rows)
        except Malformed as problem:
            rows.truncate(start)
            append_malformed(problem, frame, ts, self.source, rows)

    def feed_rest(self, source: SourceData, body: bytes, ts: int, rows: RowBuffer, number: int) -> None:
        """Append the rows of a REST answer; `source` says what was asked, `number` is its own in the log."""
        start = rows.count
        try:
            self.take_rest(source, body, ts, rows, number)
        except Malformed as problem:
            rows.truncate(start)
            append_malformed(problem, body, ts, number, rows)

    def take_rest(self, source: SourceData, body: bytes, ts: int, rows: RowBuffer, number: int) -> None:
        """INSTRUMENT rows for definitions that changed, else CONTROL. Raises Malformed."""
        if source.endpoint in self.definition_endpoints:
            self.redefine(self.definitions_of(body), body, ts, rows, number)
        else:
            self.control(source.endpoint or "rest", body, ts, rows, number)

    def redefine(
        self, found: Mapping[str, InstrumentData], wire: bytes, ts: int, rows: RowBuffer, source: int
    ) -> None:
        """INSTRUMENT rows for the definitions among `found` that differ from ours; CONTROL if none does."""
        start = rows.count
        for symbol, definition in found.items():
            state = self.symbols[symbol]
            if definition != state.definition:
                self.change(state, definition, wire if rows.count == start else None, ts, rows, source)
        if rows.count == start:
            self.control("", wire, ts, rows, source)
        else:
            rows.end_message()

    def change(
        self,
        state: KeptT,
        definition: InstrumentData,
        wire: bytes | None,
        ts: int,
        rows: RowBuffer,
        source: int,
    ) -> None:
        """Use a definition as the instrument's next version: its INSTRUMENT row, which ends no message."""
        state.define(msgspec.structs.replace(definition, version=state.definition.version + 1))
        self.definition_row(state, wire, ts, rows, source)

    def definition_row(self, state: KeptT, wire: bytes | None, ts: int, rows: RowBuffer, source: int) -> None:
        """The INSTRUMENT row of the definition in force."""
        data = encode_canonical(state.definition)
        rows.append(ts, INSTRUMENT, source=source, instrument=state.number, data=data, wire=wire)

    def count_unknown(self, name: str) -> None:
        """A message that nobody knows, by its type or what else it names."""
        name = name[:_UNKNOWN_CHARACTERS]
        known = name in self.unknown or len(self.unknown) < _UNKNOWN_NAMES
        self.unknown[name if known else "others"] += 1

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
            self.count_unknown(unknown)
        rows.append(ts, CONTROL, source=source, flags=flags | LAST, wire=wire)

    def status(
        self,
        data: StatusData,
        wire: bytes,
        ts: int,
        rows: RowBuffer,
        source: int,
        *,
        ts_venue: int = NULL_TIME,
        instrument: int = 0,
    ) -> None:
        """A STATUS row that is a message of its own."""
        rows.append(
            ts,
            STATUS,
            ts_venue=ts_venue,
            source=source,
            flags=LAST,
            instrument=instrument,
            data=encode_canonical(data),
            wire=wire,
        )
