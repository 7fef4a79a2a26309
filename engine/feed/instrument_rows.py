"""Rows of one instrument at a venue that numbers its trades and sends books whole over the stream.

Kraken and Coinbase differ in words and in how a book is checked; what becomes of trades, bars and levels is
the same, and stands here. Methods append rows and leave it to the caller to end the message: one frame may
hold several instruments. `frame` goes on the message's first row, which is the one at `start`.

Everything that can be refused (decimals, stamps) is converted by the caller beforehand: nothing here raises
after something was changed.

Trades are numbered, one after the other. A subscription begins with the latest ones, which is history:

    seen before                              DUPLICATE
    not seen (all of them, the first time)   BACKFILLED, and with that no gap any more
    still missing before them                STATUS gap

BACKFILLED rows never reach a strategy as events: they come too late for that.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from typing import NamedTuple

from engine.feed.bar_series import Bar, BarSeries
from engine.feed.decimals import Mantissas
from engine.feed.parser import DUPLICATE, OUT_OF_ORDER, Sequence
from engine.feed.row_words import (
    BACKFILLED,
    BAR,
    BOOK,
    CLEAR,
    CLOSE,
    EMPTY_BOOK,
    HIGH,
    LOW,
    NO_LEVELS,
    OPEN,
    STATUS,
    TRADE,
)
from engine.model.kinds import (
    NO_SIDE,
    BarData,
    InstrumentData,
    StatusData,
    encode_canonical,
)
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME

LevelFact = tuple[int, int, int, int]  # a level ready to be written: side, price, size, stamp
UNNUMBERED = -1  # a trade whose number is none: logged, and not looked for


class TradeFact(NamedTuple):
    """A trade ready to be written."""

    number: int
    side: int
    price: int
    size: int
    stamp: int


class InstrumentRows:
    """One instrument's definition, its sequences, and the rows that its messages become."""

    __slots__ = ("bars", "definition", "number", "prices", "sizes", "source", "trades")

    def __init__(self, number: int, definition: InstrumentData, source: int) -> None:
        self.number = number
        self.source = source
        self.trades = Sequence()
        self.bars: dict[int, BarSeries] = {}  # by interval
        self.define(definition)

    def define(self, definition: InstrumentData) -> None:
        """Use this definition from now on."""
        self.definition = definition
        self.prices = self.mantissas(definition.price_decimals)
        self.sizes = self.mantissas(definition.size_decimals)

    def mantissas(self, decimals: int) -> Mantissas:
        """How this venue's decimals are read."""
        return Mantissas(decimals)

    def connection_lost(self) -> None:
        """Forget what only holds for one life of a connection. Trades are counted across them."""
        self.trades.lost()
        for series in self.bars.values():
            series.lost()

    def trade_rows(
        self,
        trades: Many[TradeFact],
        flags: int,
        frame: bytes,
        start: int,
        ts: int,
        rows: RowBuffer,
        *,
        history: bool,
    ) -> None:
        """TRADE rows; a STATUS row before the one that shows that some are missing."""
        sequence, append = self.trades, rows.append_fast
        for number, side, price, size, stamp in trades:
            more = flags
            if number == UNNUMBERED:
                number = 0  # noqa: PLW2901  the column has no other way to say it
                more |= BACKFILLED if history else 0
            elif number == sequence.last + 1 and number and not history:
                sequence.last = number
                sequence.stamp = stamp
            else:
                if sequence.begins_anew(number, stamp):
                    data = StatusData("renumbered", "trade", first=number, last=sequence.last)
                    self.status(data, frame, start, ts, rows)
                    sequence.begin()
                judged, missing = self._judge(number, history=history)
                more |= judged
                if missing is not None:
                    self.gap("trade", missing, "", frame, start, ts, rows)
                sequence.take(number)
                if number == sequence.last:
                    sequence.stamp = stamp
            append(
                ts,
                stamp,
                self.source,
                TRADE,
                0,
                more,
                self.number,
                side,
                price,
                size,
                number,
                None,
                frame if rows.count == start else None,
            )

    def _judge(self, number: int, *, history: bool) -> tuple[int, tuple[int, int] | None]:
        flags, missing = self.trades.judge(number)
        if history and not flags & DUPLICATE:
            flags = BACKFILLED
        return flags, missing

    def bar_rows(
        self,
        bars: list[Bar],
        flags: int,
        stamp: int,
        frame: bytes,
        start: int,
        ts: int,
        rows: RowBuffer,
    ) -> None:
        """Of each bar four rows: OPEN (`ts_venue`: its start), HIGH, LOW, CLOSE (volume, number of trades).

        `stamp` is the message's own; what its bars end (see bar_series) stands before them. Bars of a message
        that is a repeat or late, by `flags`, are stated and end nothing.
        """
        if flags & (DUPLICATE | OUT_OF_ORDER):
            for bar in bars:
                self._bar(bar, flags, stamp, frame, start, ts, rows)
            return
        series: dict[int, list[Bar]] = {}
        for bar in bars:
            series.setdefault(bar.interval_ns, []).append(bar)
        for interval_ns, of_interval in series.items():
            known = self.bars.get(interval_ns)
            if known is None:
                known = self.bars[interval_ns] = BarSeries()
            for bar, more in known.take(of_interval):
                self._bar(bar, flags | more, stamp, frame, start, ts, rows)

    def _bar(
        self, bar: Bar, flags: int, stamp: int, frame: bytes, start: int, ts: int, rows: RowBuffer
    ) -> None:
        prices, source, number, append = self.prices, self.source, self.number, rows.append_fast
        data = encode_canonical(
            BarData(interval_ns=bar.interval_ns, close_time=bar.begin_ns + bar.interval_ns)
        )
        wire = frame if rows.count == start else None
        begin = bar.begin_ns
        append(ts, begin, source, BAR, OPEN, flags, number, NO_SIDE, prices[bar.open], 0, 0, data, wire)
        append(ts, stamp, source, BAR, HIGH, flags, number, NO_SIDE, prices[bar.high], 0, 0, None, None)
        append(ts, stamp, source, BAR, LOW, flags, number, NO_SIDE, prices[bar.low], 0, 0, None, None)
        append(
            ts,
            stamp,
            source,
            BAR,
            CLOSE,
            flags,
            number,
            NO_SIDE,
            prices[bar.close],
            self.sizes[bar.volume],
            bar.trades,
            None,
            None,
        )

    def level_rows(
        self,
        levels: Many[LevelFact],
        number: int,
        flags: int,
        frame: bytes,
        start: int,
        ts: int,
        rows: RowBuffer,
        *,
        stamp: int = NULL_TIME,
    ) -> None:
        """BOOK rows; CLEAR, if among the flags, on the first only. Without a level, one row that says so."""
        append, source, instrument = rows.append_fast, self.source, self.number
        wire = frame if rows.count == start else None
        if not levels:
            note = EMPTY_BOOK if flags & CLEAR else NO_LEVELS
            append(ts, stamp, source, BOOK, 0, flags, instrument, NO_SIDE, 0, 0, number, note, wire)
        for side, price, size, level_stamp in levels:
            append(ts, level_stamp, source, BOOK, 0, flags, instrument, side, price, size, number, None, wire)
            flags, wire = flags & ~CLEAR, None

    def gap(
        self,
        channel: str,
        missing: tuple[int, int],
        detail: str,
        frame: bytes,
        start: int,
        ts: int,
        rows: RowBuffer,
    ) -> None:
        """A STATUS row: what is missing of a channel, by number or by time."""
        data = StatusData(event="gap", channel=channel, detail=detail, first=missing[0], last=missing[1])
        self.status(data, frame, start, ts, rows)

    def status(self, data: StatusData, frame: bytes, start: int, ts: int, rows: RowBuffer) -> None:
        """A STATUS row of this instrument."""
        wire = frame if rows.count == start else None
        text = encode_canonical(data)
        rows.append_fast(ts, NULL_TIME, self.source, STATUS, 0, 0, self.number, NO_SIDE, 0, 0, 0, text, wire)
