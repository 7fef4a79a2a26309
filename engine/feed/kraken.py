"""Kraken WebSocket v2 market data: frames in, rows out (see engine.feed.parser for what all parsers promise).

    trade        TRADE; the first message of a subscription is history (see instrument_rows)
    book         BOOK, checked by its checksum (kraken_book, kraken_rows)
    ticker       QUOTE: best bid and ask
    ohlc         BAR; final when a later one is shown (bar_series)
    instrument   INSTRUMENT where a pair of ours has changed, else CONTROL
    status, heartbeat, pong, acknowledgements   CONTROL, and a notice
    a refusal    STATUS "rejected", and a notice: the socket stays open, and silent about what was refused

The depth that a book is kept to is the acknowledged one. When no snapshot has come ten seconds after the
acknowledgement, the venue's next heartbeat is the occasion to want it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from engine.feed import kraken_messages, kraken_reference
from engine.feed.bar_series import Bar
from engine.feed.instrument_rows import TradeFact
from engine.feed.kraken_book import DEPTHS
from engine.feed.kraken_messages import (
    Answer,
    Book,
    Heartbeat,
    Instrument,
    Ohlc,
    Status,
    Ticker,
    Trade,
    Unknown,
)
from engine.feed.kraken_rows import PairRows
from engine.feed.parser import Malformed, Notice, SnapshotWanted
from engine.feed.stream_parser import NOT_CONVERTED, StreamParser, Text
from engine.model.kinds import ASK, BID, BUY, SELL, InstrumentData, StatusData
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME

MINUTE_NS = 60_000_000_000
_FactsT = TypeVar("_FactsT")
# Parts of the venue's words that say that the request itself is wrong.
_FATAL = ("not supported", "unsupported", "invalid", "malformed", "not found", "unknown")


class KrakenParser(StreamParser[PairRows]):
    """One connection's frames, and the REST answers that belong to them, into rows."""

    definition_endpoints = (kraken_reference.ASSET_PAIRS,)

    def __init__(
        self,
        instruments: Mapping[str, tuple[int, InstrumentData]],
        source: int,
        channels: Sequence[str] = (),
    ) -> None:
        super().__init__(instruments, source, channels)
        self._handlers: dict[type, Callable[[Any, bytes, int, RowBuffer], None]] = {
            Book: self._book,
            Trade: self._trade,
            Ticker: self._ticker,
            Ohlc: self._ohlc,
            Instrument: self._instrument,
            Status: self._system,
            Heartbeat: self._heartbeat,
            Answer: self._answer,
            Unknown: self._unknown,
        }

    def new_rows(self, number: int, definition: InstrumentData) -> PairRows:
        """A pair's."""
        return PairRows(number, definition, self.source)

    def synchronised(self, symbol: str) -> bool:
        """Whether the symbol's book is in step with the venue's."""
        return self.symbols[symbol].book.synchronised

    def carry_levels(
        self, symbol: str, last: int, levels: Iterable[tuple[int, int, int]], stamp: int, ts: int
    ) -> None:
        """The symbol's book was carried over from an earlier file: (side, price, size) of its levels.

        Their digits on the wire are taken to be as many as the definition has; `last`, the checksum that the
        book had, shows whether that is so.
        """
        sides: dict[int, list[tuple[int, int, bytes]]] = {BID: [], ASK: []}
        for side, price, size in levels:
            if side:
                sides[side].append((price, size, f"{price or ''}{size}".encode()))
        self.symbols[symbol].book.carry(sides[BID], sides[ASK], last, stamp, ts)

    def definitions_of(self, body: bytes) -> dict[str, InstrumentData]:
        """Those of our pairs in an answer to AssetPairs."""
        known = self.definitions
        return kraken_reference.definitions(body, known, known)

    def take(self, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """Append the rows of one frame. Raises Malformed."""
        message = kraken_messages.decode(frame)
        self._handlers[type(message)](message, frame, ts, rows)

    def _book(self, message: Book, frame: bytes, ts: int, rows: RowBuffer) -> None:
        items = message.data
        state = self.symbols.get(items[0].symbol) if len(items) == 1 else None
        if state is None:
            self._books(message, frame, ts, rows)
            return
        # What nearly every message is: one pair's book, with decimals that its definition has.
        item, start = items[0], rows.count
        stamp = self.stamps.ns(item.timestamp, "data[0].timestamp")
        try:
            facts = state.book_facts(item, stamp)
        except NOT_CONVERTED:
            self._books(message, frame, ts, rows)
            return
        take = state.update if message.type == "update" else state.snapshot
        reason = take(facts, frame, start, ts, rows)
        if reason:
            self.wants.append(SnapshotWanted(item.symbol, reason))
        rows.end_message()

    def _books(self, message: Book, frame: bytes, ts: int, rows: RowBuffer) -> None:
        start, facts = self._facts(message, PairRows.book_facts, self._stamps(message), ts, rows)
        for state, each in facts:
            if message.type == "update":
                reason = state.update(each, frame, start, ts, rows)
            else:
                reason = state.snapshot(each, frame, start, ts, rows)
            if reason:
                self.wants.append(SnapshotWanted(state.definition.symbol, reason))
        self._end(frame, start, ts, rows)

    def _trade(self, message: Trade, frame: bytes, ts: int, rows: RowBuffer) -> None:
        start, facts = self._facts(message, _trade_facts, self._stamps(message), ts, rows)
        history = message.type == "snapshot"
        if len(facts) == 1 and not history:
            state, fact = facts[0]
            state.trade_rows((fact,), 0, frame, start, ts, rows, history=False)
        else:
            by_pair: dict[str, tuple[PairRows, list[TradeFact]]] = {}
            for state, fact in facts:
                by_pair.setdefault(state.definition.symbol, (state, []))[1].append(fact)
            for state, trades in by_pair.values():
                trades.sort(key=_number)
                state.trade_rows(trades, 0, frame, start, ts, rows, history=history)
        self._end(frame, start, ts, rows)

    def _ticker(self, message: Ticker, frame: bytes, ts: int, rows: RowBuffer) -> None:
        start, facts = self._facts(message, PairRows.quote_facts, self._stamps(message), ts, rows)
        for state, each in facts:
            state.quote(each, frame, start, ts, rows)
        self._end(frame, start, ts, rows)

    def _ohlc(self, message: Ohlc, frame: bytes, ts: int, rows: RowBuffer) -> None:
        stamp = self.stamps.ns(message.timestamp, "timestamp")
        begins = [
            self.stamps.ns(item.interval_begin, f"data[{index}].interval_begin")
            for index, item in enumerate(message.data)
        ]
        if NULL_TIME in begins:
            index = begins.index(NULL_TIME)
            text = message.data[index].interval_begin
            raise Malformed("a bar without a start", field=f"data[{index}].interval_begin", value=text)
        start, facts = self._facts(message, _bar_facts, begins, ts, rows)
        by_pair: dict[str, tuple[PairRows, list[Bar]]] = {}
        for state, bar in facts:
            by_pair.setdefault(state.definition.symbol, (state, []))[1].append(bar)
        for state, bars in by_pair.values():
            state.bar_rows(bars, 0, stamp, frame, start, ts, rows)
        self._end(frame, start, ts, rows)

    def _stamps(self, message: Book | Trade | Ticker) -> list[int]:
        ns = self.stamps.ns
        data: list[Any] = message.data
        return [ns(item.timestamp, f"data[{index}].timestamp") for index, item in enumerate(data)]

    def _facts(
        self,
        message: Book | Trade | Ticker | Ohlc,
        convert: Callable[[PairRows, Any, int], _FactsT],
        stamps: list[int],
        ts: int,
        rows: RowBuffer,
    ) -> tuple[int, list[tuple[PairRows, _FactsT]]]:
        """Each item of ours converted, and where the message's rows begin; wider definitions if need be."""
        try:
            facts = self._converted(message, convert, stamps)
        except NOT_CONVERTED:
            self.widen(self._texts(message), ts, rows)
            facts = self._converted(message, convert, stamps)
        others: list[Any] = message.data
        if len(facts) < len(others):
            for other in others:
                if other.symbol not in self.symbols:
                    self.count_unknown(f"symbol {other.symbol}")
        return rows.count, facts

    def _converted(
        self,
        message: Book | Trade | Ticker | Ohlc,
        convert: Callable[[PairRows, Any, int], _FactsT],
        stamps: list[int],
    ) -> list[tuple[PairRows, _FactsT]]:
        symbols = self.symbols
        items: list[Any] = message.data
        return [
            (symbols[item.symbol], convert(symbols[item.symbol], item, stamp))
            for item, stamp in zip(items, stamps, strict=True)
            if item.symbol in symbols
        ]

    def _texts(self, message: Book | Trade | Ticker | Ohlc) -> Iterator[Text[PairRows]]:
        items: list[Any] = message.data
        for index, item in enumerate(items):
            state = self.symbols.get(item.symbol)
            if state is not None:
                for path, is_price, number in _numbers(item):
                    yield f"data[{index}].{path}", state, is_price, number

    def _end(self, frame: bytes, start: int, ts: int, rows: RowBuffer) -> None:
        """The message's last row; a row for a message of which nothing is ours."""
        if rows.count > start:
            rows.end_message()
        else:
            self.control("", frame, ts, rows, self.source)

    def _instrument(self, message: Instrument, frame: bytes, ts: int, rows: RowBuffer) -> None:
        found = {}
        for index, pair in enumerate(message.data.pairs):
            state = self.symbols.get(pair.symbol)
            if state is not None:
                field = f"data.pairs[{index}]"
                found[pair.symbol] = kraken_reference.definition_of(pair, state.definition, field)
        self.redefine(found, frame, ts, rows, self.source)

    def _system(self, message: Status, frame: bytes, ts: int, rows: RowBuffer) -> None:
        system = message.data[0].system if message.data else ""
        self.notices.append(Notice("welcome", detail=system))
        self.control("", frame, ts, rows, self.source)

    def _heartbeat(self, _message: Heartbeat, frame: bytes, ts: int, rows: RowBuffer) -> None:
        self.notices.append(Notice("heartbeat"))
        for symbol, state in self.symbols.items():
            if state.book.overdue(ts):
                self.wants.append(SnapshotWanted(symbol, "first"))
        self.control("", frame, ts, rows, self.source)

    def _unknown(self, message: Unknown, frame: bytes, ts: int, rows: RowBuffer) -> None:
        self.control(message.name, frame, ts, rows, self.source)

    def _answer(self, answer: Answer, frame: bytes, ts: int, rows: RowBuffer) -> None:
        result = answer.result or kraken_messages.Result()
        channel = kraken_messages.CHANNEL_OF.get(result.channel, result.channel)
        if not channel and answer.req_id is not None:
            channel = kraken_messages.CHANNEL_OF_REQUEST.get(answer.req_id, "")
        symbol = result.symbol or answer.symbol
        symbols = (symbol,) if symbol else ()
        state = self.symbols.get(symbol)
        if answer.error or answer.success is False:
            self._rejected(answer, channel, symbols, frame, ts, rows)
            return
        if answer.method in ("subscribe", "unsubscribe"):
            event = f"{answer.method}d"
            warnings = "; ".join(result.warnings or ())
            self.notices.append(Notice(event, detail=warnings, channel=channel, symbols=symbols))
            if event == "subscribed" and channel == "book" and state is not None:
                if result.depth in DEPTHS:
                    state.book.depth = result.depth
                if not state.book.synchronised:
                    state.book.subscribed_ns = ts
        else:
            self.notices.append(Notice("heartbeat"))
        self.control("", frame, ts, rows, self.source)

    def _rejected(
        self, answer: Answer, channel: str, symbols: tuple[str, ...], frame: bytes, ts: int, rows: RowBuffer
    ) -> None:
        words = answer.error or "refused without a reason"
        fatal = any(part in words.lower() for part in _FATAL)
        hint = (
            "the request cannot succeed: check symbol, channel and depth"
            if fatal
            else "the venue may take it later; too many requests in a short time are refused as well"
        )
        if answer.method != "unsubscribe":  # what could not be left is there, and nothing is missing
            self.notices.append(
                Notice("rejected", detail=words, channel=channel, symbols=symbols, hint=hint, fatal=fatal)
            )
        state = self.symbols.get(symbols[0]) if symbols else None
        detail = " ".join(part for part in (answer.method, *symbols, words) if part)
        data = StatusData(event="rejected", channel=channel, detail=detail)
        self.status(data, frame, ts, rows, self.source, instrument=state.number if state is not None else 0)


def _trade_facts(state: PairRows, item: kraken_messages.TradeItem, stamp: int) -> TradeFact:
    side = BUY if item.side == "buy" else SELL
    return TradeFact(item.trade_id, side, state.prices[item.price], state.sizes[item.qty], stamp)


def _bar_facts(state: PairRows, item: kraken_messages.OhlcItem, begin: int) -> Bar:
    for _, is_price, number in _numbers(item):
        (state.prices if is_price else state.sizes)[number]
    interval = item.interval * MINUTE_NS
    return Bar(begin, interval, item.open, item.high, item.low, item.close, item.volume, item.trades)


def _number(fact: TradeFact) -> int:
    return fact.number


def _numbers(item: Any) -> Iterable[tuple[str, bool, Any]]:
    """Every decimal of an item: its path, whether it is a price (else a size), the number."""
    if isinstance(item, kraken_messages.BookItem):
        for side, levels in (("bids", item.bids), ("asks", item.asks)):
            for index, level in enumerate(levels):
                yield f"{side}[{index}].price", True, level.price
                yield f"{side}[{index}].qty", False, level.qty
    elif isinstance(item, kraken_messages.TradeItem):
        yield from (("price", True, item.price), ("qty", False, item.qty))
    elif isinstance(item, kraken_messages.TickerItem):
        yield from (("bid", True, item.bid), ("bid_qty", False, item.bid_qty))
        yield from (("ask", True, item.ask), ("ask_qty", False, item.ask_qty))
    else:
        for name in ("open", "high", "low", "close"):
            yield name, True, getattr(item, name)
        yield "volume", False, item.volume
