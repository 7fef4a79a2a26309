"""Coinbase Advanced Trade market data: frames in, rows out (see engine.feed.parser for what parsers promise).

    market_trades   TRADE; the first event of a subscription is history (see instrument_rows)
    l2_data         BOOK (coinbase_rows)
    candles         BAR of five minutes; final when a later one is shown (bar_series)
    heartbeats, subscriptions   CONTROL, and a notice
    errors          STATUS "rejected", and a notice

One counter numbers all messages of a connection, whatever their channel, from 0. A number left out means that
something was missed, nobody can say of which product: a STATUS row "gap" for the connection, one for each
product whose book came over it, their books are MAYBE_BAD_BOOK, and a notice "failed", because only a new
connection begins the count anew. A number that is not the next is a repeat or late: its rows are flagged
DUPLICATE or OUT_OF_ORDER, and books stay as they are.

The side of a trade: documentation and practice disagree on whether it is the taker's or, as on the older
Coinbase Exchange feed, the maker's. It is read as the taker's unless `trade_side` says "maker".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from engine.feed import coinbase_messages, coinbase_reference
from engine.feed.bar_series import Bar
from engine.feed.coinbase_messages import (
    Book,
    Candle,
    Candles,
    Error,
    Heartbeat,
    Subscriptions,
    TradeItem,
    Trades,
    Unknown,
)
from engine.feed.coinbase_rows import ProductRows
from engine.feed.instrument_rows import UNNUMBERED, LevelFact, TradeFact
from engine.feed.parser import Malformed, Notice, SnapshotWanted
from engine.feed.parser import Sequence as Numbers
from engine.feed.row_words import STATUS
from engine.feed.stream_parser import NOT_CONVERTED, StreamParser, Text
from engine.model.kinds import BUY, NO_SIDE, SELL, InstrumentData, StatusData, encode_canonical
from engine.model.rows import RowBuffer
from engine.model.units import MAX_INT64, SECOND_NS

CANDLE_NS = 300 * SECOND_NS
TradeSide = Literal["taker", "maker"]
_ID_DIGITS = 18  # a trade's number with more of them is none
# What a message's rows are made from, once nothing in it can be refused any more.
_Write = Callable[[int, int], None]  # where the message begins, flags of all its rows


class CoinbaseParser(StreamParser[ProductRows]):
    """One connection's frames, and the REST answers that belong to them, into rows."""

    definition_endpoints = (coinbase_reference.PRODUCTS,)

    def __init__(
        self,
        instruments: Mapping[str, tuple[int, InstrumentData]],
        source: int,
        channels: Sequence[str] = (),
        *,
        trade_side: TradeSide = "taker",
    ) -> None:
        super().__init__(instruments, source, channels)
        self._sequence = Numbers()
        self._sides = {"BUY": BUY, "SELL": SELL} if trade_side == "taker" else {"BUY": SELL, "SELL": BUY}

    def new_rows(self, number: int, definition: InstrumentData) -> ProductRows:
        """A product's."""
        return ProductRows(number, definition, self.source)

    def synchronised(self, symbol: str) -> bool:
        """Whether the symbol's book is in step with the venue's."""
        return self.symbols[symbol].synchronised

    def carry_book(self, symbol: str, last: int) -> None:  # noqa: ARG002  the connection counts, not the book
        """The symbol's book is in step: it was carried over from an earlier file."""
        state = self.symbols[symbol]
        state.synchronised = state.has_book = True

    def connection_lost(self, symbol: str = "") -> None:
        """Books are out of step; if all of them, the next connection counts from the beginning."""
        super().connection_lost(symbol)
        if not symbol:
            self._sequence = Numbers()

    def definitions_of(self, body: bytes) -> dict[str, InstrumentData]:
        """Those of our products in a list of products."""
        known = self.definitions
        return coinbase_reference.definitions(body, known, known)

    def take(self, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """Append the rows of one frame. Raises Malformed."""
        message = coinbase_messages.decode(frame)
        if isinstance(message, Error):
            self._error(message, frame, ts, rows)
            return
        if isinstance(message, Unknown):
            self.count_unknown(message.name)
        write = self._prepared(message, frame, ts, rows)
        start = rows.count
        flags = 0 if message.sequence_num is None else self._counted(message.sequence_num, frame, ts, rows)
        if write is not None:
            write(start, flags)
        if rows.count > start and write is not None:
            rows.end_message()
        else:
            wire = frame if rows.count == start else None
            self.control("", wire, ts, rows, self.source, flags=flags)

    def _prepared(
        self,
        message: coinbase_messages.Message | Unknown,
        frame: bytes,
        ts: int,
        rows: RowBuffer,
    ) -> _Write | None:
        """All of a message converted: what is left cannot fail. Raises Malformed."""
        if isinstance(message, Book):
            return self._book(message, frame, ts, rows)
        if isinstance(message, Trades):
            return self._trades(message, frame, ts, rows)
        if isinstance(message, Candles):
            return self._candles(message, frame, ts, rows)
        if isinstance(message, Heartbeat):
            self.notices.append(Notice("heartbeat"))
            for symbol, state in self.symbols.items():
                if state.overdue(ts):
                    self.wants.append(SnapshotWanted(symbol, "first"))
        elif isinstance(message, Subscriptions):
            self._subscribed(message, ts)
        return None

    def _counted(self, number: int, frame: bytes, ts: int, rows: RowBuffer) -> int:
        """Take the connection's next number: flags of the message's rows, after STATUS rows for a gap."""
        sequence = self._sequence
        if number == sequence.last + 1 and number:
            sequence.last = number
            return 0
        flags, missing = sequence.judge(number)
        if missing is not None:
            start = rows.count
            data = StatusData(event="gap", first=missing[0], last=missing[1], detail="sequence_num")
            rows.append(ts, STATUS, source=self.source, data=encode_canonical(data), wire=frame)
            for state in self.symbols.values():
                state.missed(missing, frame, start, ts, rows)
            words = f"messages {missing[0]} to {missing[1]} of the connection are missing"
            self.notices.append(Notice("failed", detail=words))
        sequence.take(number)
        return flags

    def _book(self, message: Book, frame: bytes, ts: int, rows: RowBuffer) -> _Write:
        ns, products = self.stamps.ns, self.symbols
        events = [event for event in message.events if event.product_id in products]
        stamps = []
        for event in events:
            last, stamp, of_event = None, 0, []
            for update in event.updates:
                if update.event_time != last:  # a snapshot's are all the same
                    last = update.event_time
                    stamp = ns(last, "events[].updates[].event_time")
                of_event.append(stamp)
            stamps.append(of_event)

        def convert() -> list[list[LevelFact]]:
            return [
                products[event.product_id].book_facts(event, of_event)
                for event, of_event in zip(events, stamps, strict=True)
            ]

        facts = self._converted(convert, message, ts, rows)
        self._count_others(event.product_id for event in message.events)

        def write(start: int, flags: int) -> None:
            for event, levels in zip(events, facts, strict=True):
                state = products[event.product_id]
                reason = state.book(event, levels, message.sequence_num, flags, frame, start, ts, rows)
                if reason:
                    self.wants.append(SnapshotWanted(event.product_id, reason))

        return write

    def _trades(self, message: Trades, frame: bytes, ts: int, rows: RowBuffer) -> _Write:
        ns, products = self.stamps.ns, self.symbols
        stamps = [[ns(t.time, "events[].trades[].time") for t in event.trades] for event in message.events]

        def convert() -> list[dict[str, list[TradeFact]]]:
            found: list[dict[str, list[TradeFact]]] = []
            for event, of_event in zip(message.events, stamps, strict=True):
                by_product: dict[str, list[TradeFact]] = {}
                for trade, stamp in zip(event.trades, of_event, strict=True):
                    state = products.get(trade.product_id)
                    if state is not None:
                        fact = self._trade_fact(state, trade, stamp)
                        by_product.setdefault(trade.product_id, []).append(fact)
                found.append(by_product)
            return found

        facts = self._converted(convert, message, ts, rows)
        self._count_others(trade.product_id for event in message.events for trade in event.trades)

        def write(start: int, flags: int) -> None:
            for event, by_product in zip(message.events, facts, strict=True):
                history = event.type == "snapshot"
                for symbol, trades in by_product.items():
                    trades.sort(key=_oldest_first)
                    state = products[symbol]
                    state.trade_rows(trades, flags, frame, start, ts, rows, history=history)

        return write

    def _trade_fact(self, state: ProductRows, trade: TradeItem, stamp: int) -> TradeFact:
        text = trade.trade_id
        number = int(text) if text.isdigit() and text.isascii() and len(text) <= _ID_DIGITS else UNNUMBERED
        side = self._sides.get(trade.side, NO_SIDE)
        return TradeFact(number, side, state.prices[trade.price], state.sizes[trade.size], stamp)

    def _candles(self, message: Candles, frame: bytes, ts: int, rows: RowBuffer) -> _Write:
        stamp = self.stamps.ns(message.timestamp, "timestamp")
        products = self.symbols
        candles = [candle for event in message.events for candle in event.candles]
        starts = [_start(candle) for candle in candles]

        def convert() -> dict[str, list[Bar]]:
            by_product: dict[str, list[Bar]] = {}
            for candle, begin in zip(candles, starts, strict=True):
                state = products.get(candle.product_id)
                if state is not None:
                    bar = _bar(state, candle, begin)
                    by_product.setdefault(candle.product_id, []).append(bar)
            return by_product

        facts = self._converted(convert, message, ts, rows)
        self._count_others(candle.product_id for candle in candles)

        def write(start: int, flags: int) -> None:
            for symbol, bars in facts.items():
                products[symbol].bar_rows(bars, flags, stamp, frame, start, ts, rows)

        return write

    def _converted(
        self, convert: Callable[[], Any], message: Book | Trades | Candles, ts: int, rows: RowBuffer
    ) -> Any:
        try:
            return convert()
        except NOT_CONVERTED:
            self.widen(self._texts(message), ts, rows)
            return convert()

    def _texts(self, message: Book | Trades | Candles) -> Iterator[Text[ProductRows]]:
        """Every decimal of a message that is ours."""
        for symbol, path, is_price, text in _decimals(message):
            state = self.symbols.get(symbol)
            if state is not None:
                yield path, state, is_price, text

    def _count_others(self, symbols: Iterator[str]) -> None:
        for symbol in symbols:
            if symbol not in self.symbols:
                self.count_unknown(f"symbol {symbol}")

    def _subscribed(self, message: Subscriptions, ts: int) -> None:
        for event in message.events:
            for name, products in event.subscriptions.items():
                if not products:  # of a channel that was left
                    continue
                channel = coinbase_messages.CHANNEL_OF.get(name, name)
                symbols = () if channel == coinbase_messages.HEARTBEATS else tuple(products)
                self.notices.append(Notice("subscribed", channel=channel, symbols=symbols))
                for symbol in products if channel == "book" else ():
                    state = self.symbols.get(symbol)
                    if state is not None and not state.synchronised and not state.subscribed_ns:
                        state.subscribed_ns = ts

    def _error(self, message: Error, frame: bytes, ts: int, rows: RowBuffer) -> None:
        hint = "the venue says so of a channel or product that it does not have as well"
        self.notices.append(Notice("rejected", detail=message.message, hint=hint))
        self.status(StatusData(event="rejected", detail=message.message), frame, ts, rows, self.source)


def _oldest_first(fact: TradeFact) -> tuple[int, int]:
    return fact.number, fact.stamp


def _start(candle: Candle) -> int:
    text = candle.start
    seconds = int(text) if text.isdigit() and text.isascii() and len(text) < 12 else 0
    if not 0 < seconds <= MAX_INT64 // SECOND_NS:
        raise Malformed(f'"{text}" is not a number of seconds', field="events[].candles[].start", value=text)
    return seconds * SECOND_NS


def _bar(state: ProductRows, candle: Candle, begin: int) -> Bar:
    for price in (candle.open, candle.high, candle.low, candle.close):
        state.prices[price]
    state.sizes[candle.volume]
    return Bar(begin, CANDLE_NS, candle.open, candle.high, candle.low, candle.close, candle.volume)


def _decimals(message: Book | Trades | Candles) -> Iterator[tuple[str, str, bool, str]]:
    """Every decimal: its product, its path, whether it is a price (else a size), its text."""
    if isinstance(message, Book):
        for at, event in enumerate(message.events):
            for index, update in enumerate(event.updates):
                path = f"events[{at}].updates[{index}]"
                yield event.product_id, f"{path}.price_level", True, update.price_level
                yield event.product_id, f"{path}.new_quantity", False, update.new_quantity
    elif isinstance(message, Trades):
        for at, batch in enumerate(message.events):
            for index, trade in enumerate(batch.trades):
                path = f"events[{at}].trades[{index}]"
                yield trade.product_id, f"{path}.price", True, trade.price
                yield trade.product_id, f"{path}.size", False, trade.size
    else:
        for at, bars in enumerate(message.events):
            for index, candle in enumerate(bars.candles):
                path = f"events[{at}].candles[{index}]"
                for name in ("open", "high", "low", "close"):
                    yield candle.product_id, f"{path}.{name}", True, getattr(candle, name)
                yield candle.product_id, f"{path}.volume", False, candle.volume
