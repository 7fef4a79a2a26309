"""Binance spot market data: frames in, rows out (see engine.feed.parser for what all parsers promise).

A frame takes one of two ways. The known way: the bytes up to the first comma ('{"stream":"btcusdt@trade"')
lead to a decoder for exactly that message and to the symbol's row maker; one decoding pass, no looking
around. Everything else, and every frame that fails there, takes the careful way, which looks what the
frame is, names what is wrong with it, or widens an instrument's definition. The known way is only a
short cut: what it accepts, the careful way turns into the same rows.

Wider definitions: when a price or size has more decimals than the instrument's definition, an INSTRUMENT
message with version + 1 goes before the frame's own, one nanosecond earlier, and stands under this
connection's source.

Not here: addresses (binance_reference), message shapes (binance_messages), rows (binance_rows), the
synchronisation rules (binance_book).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from engine.feed.binance_backfill import (
    CHANNEL_OF_ENDPOINT,
    append_entries,
    entry_texts,
    missing_entries,
)
from engine.feed.binance_messages import (
    AggregateTrade,
    BookTicker,
    Decoded,
    DepthSnapshot,
    DepthUpdate,
    Kline,
    MarketMessage,
    ServerShutdown,
    Trade,
    decimal_texts,
    decode,
    decode_snapshot,
    nanoseconds,
)
from engine.feed.binance_reference import definitions, stream_names
from engine.feed.binance_rows import INSTRUMENT, SymbolRows
from engine.feed.decimals import Mantissas, TooFine
from engine.feed.parser import LAST, Malformed, Notice, Want, append_malformed
from engine.feed.parser import Sequence as Ids
from engine.model.errors import DecimalError
from engine.model.kinds import InstrumentData, Kind, SourceData, StatusData, encode_canonical
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME

_Apply = Callable[[Any, bytes, int, RowBuffer], None]
_METHOD: dict[type, str] = {
    Trade: "trade",
    AggregateTrade: "aggregate",
    BookTicker: "quote",
    DepthUpdate: "depth",
    Kline: "kline",
}
_Envelope = {
    kind: msgspec.defstruct(f"{kind.__name__}Envelope", [("data", kind)], gc=False) for kind in _METHOD
}
_ENVELOPE_DECODERS = {kind: msgspec.json.Decoder(envelope) for kind, envelope in _Envelope.items()}
_ROUTES = 8_192  # short cuts remembered; stream names come from outside
# What makes a frame leave the short cut. Anything else would be a bug and must be seen.
_LEAVE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, DecimalError)


class BinanceParser:
    """One connection's frames, and the REST answers that belong to them, into rows.

    `instruments`: symbol -> (number in the file, definition). `source`: the connection's number in the file.
    `channels`: what the connection subscribes to, as users name it; see `streams`.
    """

    def __init__(
        self,
        instruments: Mapping[str, tuple[int, InstrumentData]],
        source: int,
        channels: Sequence[str] = (),
    ) -> None:
        self.source = source
        self.channels = tuple(channels)
        self.wants: list[Want] = []
        self.notices: list[Notice] = []
        self.unknown: Counter[str] = Counter()
        self._symbols: dict[str, SymbolRows] = {}
        self._routes: dict[bytes, tuple[Callable[[bytes], Any], _Apply, str]] = {}
        for number, definition in instruments.values():
            self.define(number, definition)

    def define(self, number: int, definition: InstrumentData) -> None:
        """Take an instrument's definition, new or changed, under its number in the log."""
        state = self._symbols.get(definition.symbol)
        if state is None:
            self._symbols[definition.symbol] = SymbolRows(number, definition, self.source, self.wants)
        else:
            state.number = number
            state.define(definition)

    @property
    def instruments(self) -> dict[str, tuple[int, InstrumentData]]:
        """The definitions now in force, by symbol."""
        return {symbol: (state.number, state.definition) for symbol, state in self._symbols.items()}

    def streams(self) -> list[str]:
        """The venue's names of the streams to subscribe to."""
        return stream_names(list(self._symbols), self.channels)

    def synchronised(self, symbol: str) -> bool:
        """Whether the symbol's book is in step with the venue's."""
        return self._symbols[symbol].book.synchronised

    def carry_book(self, symbol: str, last: int) -> None:
        """The symbol's book is in step up to update `last`: it was carried over from an earlier file."""
        self._symbols[symbol].book.carry(last)

    def sequence(self, symbol: str, channel: str) -> Ids:
        """The ids of a symbol's channel, "trade" or "aggtrade": what came last, and the holes."""
        return self._symbols[symbol].sequence(channel)

    def connection_lost(self, symbol: str = "") -> None:
        """Books are out of step until their next snapshot: of one symbol, or of all."""
        for name, state in self._symbols.items():
            if symbol in ("", name):
                state.book.lost()

    def feed(self, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """Append the rows of one frame received at `ts` (ns). Never raises for what the venue sends."""
        route = self._routes.get(frame[: frame.find(b",")])
        if route is not None:
            decode_frame, apply, symbol = route
            try:
                message = decode_frame(frame).data
                if message.symbol == symbol:
                    apply(message, frame, ts, rows)
                    return
            except _LEAVE:
                pass
        start = rows.count
        try:
            self._feed(decode(frame), frame, ts, rows)
        except Malformed as problem:
            rows.truncate(start)
            append_malformed(problem, frame, ts, self.source, rows)

    def feed_rest(self, source: SourceData, body: bytes, ts: int, rows: RowBuffer, number: int) -> None:
        """Append the rows of a REST answer; `source` says what was asked, `number` is its own in the log.

        A depth answer synchronises the book of `source.symbol`; exchangeInfo gives INSTRUMENT rows for
        definitions that changed; trades, historicalTrades and aggTrades give the trades that are missing
        (engine.feed.binance_backfill); anything else is kept as a CONTROL row.
        """
        start = rows.count
        try:
            if source.endpoint == "depth":
                self._feed_snapshot(source.symbol, body, ts, rows, number)
            elif source.endpoint == "exchangeInfo":
                self._feed_definitions(body, ts, rows, number)
            elif source.endpoint in CHANNEL_OF_ENDPOINT:
                self._feed_missing(source, body, ts, rows, number)
            else:
                self._control(source.endpoint or "rest", body, ts, rows, number)
        except Malformed as problem:
            rows.truncate(start)
            append_malformed(problem, body, ts, number, rows)
            if source.endpoint == "depth" and source.symbol in self._symbols:
                self._symbols[source.symbol].ask_again("failed")

    def _feed(self, decoded: Decoded, frame: bytes, ts: int, rows: RowBuffer) -> None:
        message = decoded.message
        if isinstance(message, ServerShutdown):
            data = StatusData(event="server_shutdown")
            self.notices.append(Notice("shutdown", "serverShutdown"))
            self._status(data, nanoseconds(message.event_time), frame, ts, rows, self.source)
        elif isinstance(message, DepthSnapshot):
            self._feed_partial(message, decoded, frame, ts, rows)
        elif message is not None:
            self._feed_market(message, decoded, frame, ts, rows)
        elif decoded.rejection is not None:
            refusal = decoded.rejection
            detail = refusal.msg if refusal.code is None else f"{refusal.code} {refusal.msg}"
            data = StatusData(event="rejected", detail=detail)
            self.notices.append(Notice("rejected", detail, code=refusal.code or 0))
            self._status(data, NULL_TIME, frame, ts, rows, self.source)
        else:
            if not decoded.unknown:
                self.notices.append(Notice("subscribed"))
            self._control(decoded.unknown, frame, ts, rows, self.source)

    def _feed_market(
        self, message: MarketMessage, decoded: Decoded, frame: bytes, ts: int, rows: RowBuffer
    ) -> None:
        state = self._symbols.get(message.symbol)
        if state is None:
            self._control(f"symbol {message.symbol}", frame, ts, rows, self.source)
            return
        apply: _Apply = getattr(state, _METHOD[type(message)])
        try:
            apply(message, frame, ts, rows)
        except DecimalError:
            self._widen(state, decimal_texts(message), decoded.prefix, ts, rows)
            apply(message, frame, ts, rows)
        prefix = frame[: frame.find(b",")]
        if decoded.stream and prefix.startswith(b'{"stream":"') and len(self._routes) < _ROUTES:
            self._routes[prefix] = (_ENVELOPE_DECODERS[type(message)].decode, apply, message.symbol)

    def _feed_partial(
        self, message: DepthSnapshot, decoded: Decoded, frame: bytes, ts: int, rows: RowBuffer
    ) -> None:
        if decoded.stream:
            symbol = decoded.stream.partition("@")[0].upper()
        elif len(self._symbols) == 1:
            symbol = next(iter(self._symbols))
        else:
            raise Malformed("a book without a symbol: only a combined stream names it", field="stream")
        state = self._symbols.get(symbol)
        if state is None:
            self._control(f"symbol {symbol}", frame, ts, rows, self.source)
            return
        try:
            state.partial(message, frame, ts, rows)
        except DecimalError:
            self._widen(state, decimal_texts(message), decoded.prefix, ts, rows)
            state.partial(message, frame, ts, rows)

    def _feed_snapshot(self, symbol: str, body: bytes, ts: int, rows: RowBuffer, number: int) -> None:
        state = self._symbols.get(symbol)
        if state is None:
            self._control(f"symbol {symbol}", body, ts, rows, number)
            return
        try:
            message = decode_snapshot(body)
        except Malformed:
            refusal = decode(body).rejection
            if refusal is None:
                raise
            data = StatusData(event="rejected", channel="book", detail=f"{refusal.code} {refusal.msg}")
            self._status(data, NULL_TIME, body, ts, rows, number, state.number)
            state.ask_again("failed")
            return
        try:
            state.snapshot(message, body, ts, rows, number)
        except DecimalError:
            self._widen(state, decimal_texts(message), "", ts, rows)
            state.snapshot(message, body, ts, rows, number)

    def _feed_missing(self, source: SourceData, body: bytes, ts: int, rows: RowBuffer, number: int) -> None:
        """Trades of an answer: those that are missing here, or a CONTROL row when there are none."""
        state = self._symbols.get(source.symbol)
        if state is None:
            self._control(f"symbol {source.symbol}", body, ts, rows, number)
            return
        endpoint = source.endpoint
        channel = CHANNEL_OF_ENDPOINT[endpoint]
        try:
            entries = missing_entries(endpoint, body, state.sequence(channel))
        except Malformed:
            refusal = decode(body).rejection
            if refusal is None:
                raise
            data = StatusData(event="rejected", channel=channel, detail=f"{refusal.code} {refusal.msg}")
            self._status(data, NULL_TIME, body, ts, rows, number, state.number)
            return
        if not entries:
            self._control("", body, ts, rows, number)
            return
        try:
            append_entries(entries, endpoint, state, body, ts, rows, number)
        except DecimalError:
            self._widen(state, entry_texts(entries), "", ts, rows)
            append_entries(entries, endpoint, state, body, ts, rows, number)

    def _feed_definitions(self, body: bytes, ts: int, rows: RowBuffer, number: int) -> None:
        known = {symbol: state.definition for symbol, state in self._symbols.items()}
        changed = {
            symbol: definition
            for symbol, definition in definitions(body, known, known).items()
            if definition != known[symbol]
        }
        if not changed:
            self._control("", body, ts, rows, number)
            return
        wire: bytes | None = body
        for symbol, definition in changed.items():
            state = self._symbols[symbol]
            state.define(msgspec.structs.replace(definition, version=definition.version + 1))
            self._definition(state, ts, rows, number, 0, wire)
            wire = None
        rows.end_message()

    def _widen(
        self,
        state: SymbolRows,
        decimals: Iterable[tuple[str, bool, str]],
        prefix: str,
        ts: int,
        rows: RowBuffer,
    ) -> None:
        """Give the instrument the decimals that a message needs; Malformed if its texts are no decimals."""
        old = state.definition
        price_decimals, size_decimals = old.price_decimals, old.size_decimals
        texts = list(decimals)
        for path, is_price, text in texts:
            try:
                (state.prices if is_price else state.sizes)[text]
            except TooFine as error:
                if is_price:
                    price_decimals = max(price_decimals, error.decimals)
                else:
                    size_decimals = max(size_decimals, error.decimals)
            except DecimalError as error:
                raise Malformed(error.message, field=prefix + path, value=text) from None
        prices, sizes = Mantissas(price_decimals), Mantissas(size_decimals)
        for path, is_price, text in texts:
            try:
                (prices if is_price else sizes)[text]
            except DecimalError as error:
                raise Malformed(error.message, field=prefix + path, value=text) from None
        state.define(
            msgspec.structs.replace(
                old, price_decimals=price_decimals, size_decimals=size_decimals, version=old.version + 1
            )
        )
        self._definition(state, ts - 1, rows, self.source, LAST, None)

    def _definition(
        self, state: SymbolRows, ts: int, rows: RowBuffer, source: int, flags: int, wire: bytes | None
    ) -> None:
        rows.append(
            ts,
            INSTRUMENT,
            source=source,
            flags=flags,
            instrument=state.number,
            data=encode_canonical(state.definition),
            wire=wire,
        )

    def _status(
        self,
        data: StatusData,
        ts_venue: int,
        frame: bytes,
        ts: int,
        rows: RowBuffer,
        source: int,
        instrument: int = 0,
    ) -> None:
        rows.append(
            ts,
            Kind.STATUS,
            ts_venue=ts_venue,
            source=source,
            flags=LAST,
            instrument=instrument,
            data=encode_canonical(data),
            wire=frame,
        )

    def _control(self, unknown: str, frame: bytes, ts: int, rows: RowBuffer, source: int) -> None:
        if unknown:
            self.unknown[unknown] += 1
        rows.append(ts, Kind.CONTROL, source=source, flags=LAST, wire=frame)
