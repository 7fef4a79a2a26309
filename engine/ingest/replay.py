"""A log's messages through today's parsers: the working half of `rebuild`, which compares the outcome.

    first row has a wire         the frame is fed to its source's parser; what comes out replaces the message
    INSTRUMENT of a connection   the parser made it (a wider definition): its next frame must make it again
    any other INSTRUMENT         told to the parsers
    STATUS "disconnected"        told to the parser of that connection
    BOOK of the engine itself    a book carried over from the segment before: told to the parsers
    everything else              carried over: what was imported from tables, what the engine wrote

What then stands there is judged by tick quality as it was when it was recorded, if its source says so
(engine.feed.quality); a file's flags follow from that file alone.

It makes rows and remembers which came from which; it compares nothing and knows no files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

from engine.feed.alpaca import AlpacaParser
from engine.feed.binance import BinanceParser
from engine.feed.ccxt_rows import CcxtParser
from engine.feed.coinbase import CoinbaseParser
from engine.feed.kraken import KrakenParser
from engine.feed.parser import Parser
from engine.feed.quality import EVENTS, FLAGS, Quality, mode_of
from engine.log.schema import FIXED, Batch, text_parts
from engine.model.kinds import EndData, Flag, InstrumentData, Kind, SourceData, StatusData
from engine.model.rows import RowBuffer

PARSERS: dict[str, Callable[[Mapping[str, tuple[int, InstrumentData]], int], Parser]] = {
    **dict.fromkeys(("binance", "binanceus"), BinanceParser),
    **dict.fromkeys(("alpaca", "alpaca-sip", "alpaca-crypto", "alpaca-news", "alpaca-test"), AlpacaParser),
    "kraken": KrakenParser,
    "coinbase": CoinbaseParser,
    "ccxt": CcxtParser,  # and whichever venue it brought
}
CONTENT = (*FIXED, "data", "wire")  # what a row consists of, apart from its place
_LAST, _CLEAR = int(Flag.LAST), int(Flag.CLEAR)
_BOOK, _END, _INSTRUMENT, _SOURCE, _STATUS = (
    int(Kind.BOOK),
    int(Kind.END),
    int(Kind.INSTRUMENT),
    int(Kind.SOURCE),
    int(Kind.STATUS),
)
_sources = msgspec.json.Decoder(SourceData)
_instruments = msgspec.json.Decoder(InstrumentData)
_statuses = msgspec.json.Decoder(StatusData)
_ends = msgspec.json.Decoder(EndData)

Row = tuple[Any, ...]  # the columns of CONTENT, in that order


class Span(NamedTuple):
    """Rows old to old_end of a batch became rows new to new_end of the buffer."""

    old: int
    old_end: int
    new: int
    new_end: int


class Cells:
    """A batch whose texts can be had one at a time, as bytes, without going through Arrow for each."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._texts = {}
        for name in ("data", "wire"):
            lengths, content = text_parts(getattr(batch, name))
            ends = np.cumsum(np.maximum(lengths, 0))
            self._texts[name] = (lengths, ends, content)
        self.has_wire = self._texts["wire"][0] >= 0

    def text(self, name: str, row: int) -> bytes | None:
        """`data` or `wire` of a row."""
        lengths, ends, content = self._texts[name]
        if lengths[row] < 0:
            return None
        return bytes(content[ends[row] - lengths[row] : ends[row]])

    def data(self, row: int) -> bytes:
        """`data` of a row that must have it."""
        return self.text("data", row) or b"{}"

    def wire(self, row: int) -> bytes:
        """`wire` of a row that has it."""
        return self.text("wire", row) or b""

    def rows(self, start: int, end: int) -> list[tuple[int, Row]]:
        """Rows start to end, each with its seq."""
        fixed = [getattr(self.batch, name)[start:end].tolist() for name in FIXED]
        texts = [[self.text(name, row) for row in range(start, end)] for name in ("data", "wire")]
        first = self.batch.first_seq + start
        return list(enumerate(zip(*fixed, *texts, strict=True), start=first))

    def same(self, other: Cells) -> bool:
        """Whether both hold the same rows, whatever their seq."""
        return (
            self.batch.count == other.batch.count
            and all(np.array_equal(getattr(self.batch, name), getattr(other.batch, name)) for name in FIXED)
            and all(
                np.array_equal(self._texts[name][0], other._texts[name][0])
                and self._texts[name][2] == other._texts[name][2]
                for name in self._texts
            )
        )


class Replay:
    """One file's batches, in order, through parsers that may have come from the file before."""

    def __init__(self, rows: RowBuffer, before: Replay | None = None) -> None:
        """`before`: the segment that this one goes on from, when the recording was not interrupted."""
        self.rows = rows
        self.counts: Counter[str] = Counter()
        self.rotated = False  # the file ends because the next one begins
        self.sources: dict[int, SourceData] = {}
        self.parsers: dict[int, Parser] = {}  # by the number of the connection
        self._quality = Quality()
        self._judged: set[int] = set()  # numbers of the sources that it judges
        self._definitions: dict[int, InstrumentData] = {}
        self._earlier = (
            {} if before is None else {n: (before.sources[n], p) for n, p in before.parsers.items()}
        )

    def batch(self, cells: Cells) -> tuple[list[Span], int]:
        """Append the rows that a batch should have; where they came from, and the first row left open.

        Left open are definitions at the end, made by a parser for a frame that is in the next batch.
        """
        batch = cells.batch
        kinds, sources = batch.kind.tolist(), batch.source.tolist()
        stamps, has_wire = batch.ts.tolist(), cells.has_wire.tolist()
        spans: list[Span] = []
        start = begin = 0  # of this message; of it and the definitions that its frame made
        for last in np.flatnonzero(batch.flags & _LAST).tolist():
            end, new = last + 1, self.rows.count
            kind, source = kinds[start], sources[start]
            if not has_wire[start] and kind == _INSTRUMENT and source in self.parsers:
                start = end
                continue
            if not (has_wire[start] and self._feed(source, cells.wire(start), stamps[start])):
                self._carry(cells, start, end)
                self._learn(cells, start, end, kind, source)
            self._quality.take(self.rows, new)
            spans.append(Span(begin, end, new, self.rows.count))
            start = begin = end
        return spans, begin

    def _feed(self, number: int, wire: bytes, ts: int) -> bool:
        """Have a frame parsed; False when there is nobody to do it."""
        source = self.sources.get(number)
        if source is None:
            return self._unparsed()
        if not source.endpoint:
            parser = self.parsers.get(number)
            if parser is None:
                return self._unparsed()
            parser.feed(wire, ts, self.rows)
        else:
            parser = self._answered(source)
            if parser is None:
                return self._unparsed()
            parser.feed_rest(source, wire, ts, self.rows, number)
        self.counts["frames"] += 1
        return True

    def _unparsed(self) -> bool:
        self.counts["unparsed"] += 1
        return False

    def _answered(self, source: SourceData) -> Parser | None:
        """The parser that a REST answer was for: one that waits for it, else its symbols' or venue's."""
        connections = {n: p for n, p in self.parsers.items() if self.sources[n].venue == source.venue}
        if source.symbols:
            for number, parser in connections.items():
                if self.sources[number].symbols in ((), source.symbols):
                    return parser
        of_venue = list(connections.values())
        of_symbol = [p for p in of_venue if source.symbol in p.instruments]
        waiting = (p for p in of_symbol if not p.synchronised(source.symbol))
        return next(waiting, next(iter(of_symbol or of_venue), None))

    def _carry(self, cells: Cells, start: int, end: int) -> None:
        self.counts["carried"] += end - start
        before = self.rows.count
        for _, row in cells.rows(start, end):
            ts, ts_venue, source, kind, part, flags, instrument, side, price, size, number, data, wire = row
            if source in self._judged:
                if kind == _STATUS and _statuses.decode(data or b"{}").event in EVENTS:
                    continue  # made again with the flags
                flags &= ~FLAGS
            self.rows.append_fast(
                ts, ts_venue, source, kind, part, flags, instrument, side, price, size, number, data, wire
            )
        if self.rows.count > before:
            self.rows.end_message()

    def _learn(self, cells: Cells, row: int, end: int, kind: int, source: int) -> None:
        """Take what a message without a wire tells the parsers."""
        instrument = int(cells.batch.instrument[row])
        if kind == _SOURCE:
            self._define_source(source, _sources.decode(cells.data(row)))
        elif kind == _INSTRUMENT:
            self._define(instrument, _instruments.decode(cells.data(row)))
        elif kind == _STATUS and _statuses.decode(cells.data(row)).event == "disconnected":
            self._disconnect(instrument, source)
        elif kind == _BOOK and source == 0 and cells.batch.flags[row] & _CLEAR:
            self._carry_book(instrument, cells.batch, row, end)
        elif kind == _END:
            self.rotated = _ends.decode(cells.data(row)).reason == "rotation"

    def _define(self, instrument: int, definition: InstrumentData) -> None:
        self._definitions[instrument] = definition
        for number, parser in self.parsers.items():
            if self.sources[number].brings(definition.venue, definition.symbol):
                parser.define(instrument, definition)

    def _disconnect(self, instrument: int, source: int) -> None:
        definition = self._definitions.get(instrument)
        for number, parser in self.parsers.items():
            if source in (0, number):
                parser.connection_lost("" if definition is None else definition.symbol)

    def _carry_book(self, instrument: int, batch: Batch, row: int, end: int) -> None:
        definition = self._definitions.get(instrument)
        last = int(batch.id[row])
        for number, parser in self.parsers.items():
            if definition is None or not self.sources[number].brings(definition.venue, definition.symbol):
                continue
            parser.carry_book(definition.symbol, last)
            if isinstance(parser, KrakenParser):
                columns = (batch.side, batch.price, batch.size)
                levels = zip(*(column[row:end].tolist() for column in columns), strict=True)
                stamp, ts = int(batch.ts_venue[row]), int(batch.ts[row])
                parser.carry_levels(definition.symbol, last, levels, stamp, ts)

    def _define_source(self, number: int, source: SourceData) -> None:
        self.sources[number] = source
        if mode_of(source) != "off":
            self._judged.add(number)
        kind = PARSERS.get(source.venue.partition(":")[0])
        if kind is None or source.endpoint:
            return
        earlier = self._earlier.get(number)
        if earlier is not None and earlier[0] == source:
            self.parsers[number] = earlier[1]
            return
        self.parsers[number] = kind({}, number)
        for instrument, definition in self._definitions.items():
            if source.brings(definition.venue, definition.symbol):
                self.parsers[number].define(instrument, definition)
