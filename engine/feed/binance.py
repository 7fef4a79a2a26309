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
from engine.feed.binance_rows import SymbolRows
from engine.feed.decimals import Mantissas, TooFine
from engine.feed.parser import Malformed, Notice
from engine.feed.parser import Sequence as Ids
from engine.feed.parser_base import ParserBase
from engine.model.errors import DecimalError
from engine.model.kinds import InstrumentData, SourceData, StatusData
from engine.model.rows import RowBuffer

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


class BinanceParser(ParserBase[SymbolRows]):
    """One connection's frames, and the REST answers that belong to them, into rows; see also `streams`."""

    definition_endpoints = ("exchangeInfo",)

    def __init__(
        self,
        instruments: Mapping[str, tuple[int, InstrumentData]],
        source: int,
        channels: Sequence[str] = (),
    ) -> None:
        super().__init__(instruments, source, channels)
        self._routes: dict[bytes, tuple[Callable[[bytes], Any], _Apply, str]] = {}

    def new_rows(self, number: int, definition: InstrumentData) -> SymbolRows:
        """A symbol's."""
        return SymbolRows(number, definition, self.source, self.wants)

    def lose(self, state: SymbolRows) -> None:
        """The book, and what numbers may not outlive a connection."""
        state.connection_lost()

    def definitions_of(self, body: bytes) -> dict[str, InstrumentData]:
        """Those of our symbols in an answer to exchangeInfo."""
        known = self.definitions
        return definitions(body, known, known)

    def streams(self) -> list[str]:
        """The venue's names of the streams to subscribe to."""
        return stream_names(list(self.symbols), self.channels)

    def synchronised(self, symbol: str) -> bool:
        """Whether the symbol's book is in step with the venue's."""
        return self.symbols[symbol].book.synchronised

    def carry_book(self, symbol: str, last: int) -> None:
        """The symbol's book is in step up to update `last`: it was carried over from an earlier file."""
        self.symbols[symbol].book.carry(last)

    def sequence(self, symbol: str, channel: str) -> Ids:
        """The ids of a symbol's channel, "trade" or "aggtrade": what came last, and the holes."""
        return self.symbols[symbol].sequence(channel)

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
        super().feed(frame, ts, rows)

    def take(self, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """The careful way. Raises Malformed."""
        self._feed(decode(frame), frame, ts, rows)

    def take_rest(self, source: SourceData, body: bytes, ts: int, rows: RowBuffer, number: int) -> None:
        """A depth answer synchronises the book of `source.symbol`; one that is refused is asked for again.

        trades, historicalTrades and aggTrades give the trades that are missing
        (engine.feed.binance_backfill).
        """
        if source.endpoint in CHANNEL_OF_ENDPOINT:
            self._feed_missing(source, body, ts, rows, number)
            return
        if source.endpoint != "depth":
            super().take_rest(source, body, ts, rows, number)
            return
        try:
            self._feed_snapshot(source.symbol, body, ts, rows, number)
        except Malformed:
            if source.symbol in self.symbols:
                self.symbols[source.symbol].ask_again("failed")
            raise

    def _feed(self, decoded: Decoded, frame: bytes, ts: int, rows: RowBuffer) -> None:
        message = decoded.message
        if isinstance(message, ServerShutdown):
            data = StatusData(event="server_shutdown")
            self.notices.append(Notice("shutdown", "serverShutdown"))
            self.status(data, frame, ts, rows, self.source, ts_venue=nanoseconds(message.event_time))
        elif isinstance(message, DepthSnapshot):
            self._feed_partial(message, decoded, frame, ts, rows)
        elif message is not None:
            self._feed_market(message, decoded, frame, ts, rows)
        elif decoded.rejection is not None:
            refusal = decoded.rejection
            detail = refusal.msg if refusal.code is None else f"{refusal.code} {refusal.msg}"
            data = StatusData(event="rejected", detail=detail)
            self.notices.append(Notice("rejected", detail, code=refusal.code or 0))
            self.status(data, frame, ts, rows, self.source)
        else:
            if not decoded.unknown:
                self.notices.append(Notice("subscribed"))
            self.control(decoded.unknown, frame, ts, rows, self.source)

    def _feed_market(
        self, message: MarketMessage, decoded: Decoded, frame: bytes, ts: int, rows: RowBuffer
    ) -> None:
        state = self.symbols.get(message.symbol)
        if state is None:
            self.control(f"symbol {message.symbol}", frame, ts, rows, self.source)
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
        elif len(self.symbols) == 1:
            symbol = next(iter(self.symbols))
        else:
            raise Malformed("a book without a symbol: only a combined stream names it", field="stream")
        state = self.symbols.get(symbol)
        if state is None:
            self.control(f"symbol {symbol}", frame, ts, rows, self.source)
            return
        try:
            state.partial(message, frame, ts, rows)
        except DecimalError:
            self._widen(state, decimal_texts(message), decoded.prefix, ts, rows)
            state.partial(message, frame, ts, rows)

    def _feed_snapshot(self, symbol: str, body: bytes, ts: int, rows: RowBuffer, number: int) -> None:
        state = self.symbols.get(symbol)
        if state is None:
            self.control(f"symbol {symbol}", body, ts, rows, number)
            return
        try:
            message = decode_snapshot(body)
        except Malformed:
            refusal = decode(body).rejection
            if refusal is None:
                raise
            data = StatusData(event="rejected", channel="book", detail=f"{refusal.code} {refusal.msg}")
            self.status(data, body, ts, rows, number, instrument=state.number)
            state.ask_again("failed")
            return
        try:
            state.snapshot(message, body, ts, rows, number)
        except DecimalError:
            self._widen(state, decimal_texts(message), "", ts, rows)
            state.snapshot(message, body, ts, rows, number)

    def _feed_missing(self, source: SourceData, body: bytes, ts: int, rows: RowBuffer, number: int) -> None:
        """Trades of an answer: those that are missing here, or a CONTROL row when there are none."""
        state = self.symbols.get(source.symbol)
        if state is None:
            self.control(f"symbol {source.symbol}", body, ts, rows, number)
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
            self.status(data, body, ts, rows, number, instrument=state.number)
            return
        if not entries:
            self.control("", body, ts, rows, number)
            return
        try:
            append_entries(entries, endpoint, state, body, ts, rows, number)
        except DecimalError:
            self._widen(state, entry_texts(entries), "", ts, rows)
            append_entries(entries, endpoint, state, body, ts, rows, number)

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
        wider = msgspec.structs.replace(old, price_decimals=price_decimals, size_decimals=size_decimals)
        self.change(state, wider, None, ts - 1, rows, self.source)
        rows.end_message()
