"""Alpaca market data: frames in, rows out (see engine.feed.parser for what all parsers promise).

One parser does for all of the venue's streams (stocks, crypto, news) and both encodings: what a message is,
its own type says. A frame is an array of messages, of several types and symbols, and is one message of the
log: one `ts`, the frame in the `wire` of its first row, LAST on its last.

A frame takes one of two ways. The known way decodes it in one pass and reads every message (see
alpaca_rows) before anything is written. A frame that fails there takes the careful way, which looks what
each message is, widens the definitions of instruments that need more decimals, or names what is wrong; then
the whole frame is MALFORMED, and nothing of it is remembered. What the known way accepts, the careful one
turns into the same rows.

Wider definitions: one INSTRUMENT message goes before the frame's own, one nanosecond earlier. An increment
that was one unit of the last decimal follows it.

The rows of one book stand together even if the frame has other messages between them: a full picture is
recognised by the run of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.msgpack import Ext

from engine.feed.alpaca_articles import NEWS_ENDPOINT, NewsRows
from engine.feed.alpaca_errors import notice_of
from engine.feed.alpaca_messages import (
    CHANNEL_OF_LIST,
    Article,
    Book,
    Cancel,
    Correction,
    DailyBar,
    Imbalance,
    MinuteBar,
    PriceBand,
    Quote,
    Refusal,
    Subscription,
    Success,
    Trade,
    TradingStatus,
    Unknown,
    UpdatedBar,
    decode,
    decode_carefully,
)
from engine.feed.alpaca_missed import ENDPOINT, Missed, MissedTrades, missing_trades
from engine.feed.alpaca_rows import Memory, SymbolRows
from engine.feed.alpaca_values import Amounts, NotATime, decimal_words, packed_time
from engine.feed.decimals import TooFine
from engine.feed.parser import DECODE_FAILURES, Malformed, Notice
from engine.feed.parser_base import ParserBase
from engine.feed.row_words import CONTROL, STATUS
from engine.model.errors import DecimalError
from engine.model.kinds import NO_SIDE, InstrumentData, SourceData, StatusData, encode_canonical
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME, trim_decimal

# What makes a frame leave the known way. Anything else would be a bug and must be seen.
_LEAVE = (*DECODE_FAILURES, DecimalError, NotATime, Malformed)
_Found = tuple[Callable[..., None], Any, Any]  # what writes, for whom, what has been read
_Symbols = Mapping[str, SymbolRows]
_Places = Mapping[str, Any]  # messages by where they stand in their frame or answer
_MARKET: dict[type, tuple[Callable[..., Any], Callable[..., None]]] = {
    Trade: (SymbolRows.read_trade, SymbolRows.write_trade),
    Quote: (SymbolRows.read_quote, SymbolRows.write_quote),
    MinuteBar: (SymbolRows.read_bar, SymbolRows.write_minute),
    UpdatedBar: (SymbolRows.read_bar, SymbolRows.write_update),
    DailyBar: (SymbolRows.read_bar, SymbolRows.write_day),
    Book: (SymbolRows.read_book, SymbolRows.write_book),
    Correction: (SymbolRows.read_correction, SymbolRows.write_revision),
    Cancel: (SymbolRows.read_cancel, SymbolRows.write_revision),
    TradingStatus: (SymbolRows.read_status, SymbolRows.write_status),
    PriceBand: (SymbolRows.read_band, SymbolRows.write_status),
    Imbalance: (SymbolRows.read_imbalance, SymbolRows.write_status),
}
_BARS = (MinuteBar, UpdatedBar, DailyBar)
_IN_WORDS = (PriceBand, Imbalance)  # their numbers become texts, which no definition limits
_PRICES = {"open", "high", "low", "close", "price", "old_price", "bid", "ask"}
_TIMES = {"time", "created_at", "updated_at"}
_WORDS = {"up", "down", "price"}
_SIZES = {"volume", "size", "old_size", "bid_size", "ask_size"}


class AlpacaParser(ParserBase[SymbolRows]):
    """One connection's frames into rows. Nothing that it needs comes by REST."""

    def __init__(
        self,
        instruments: Mapping[str, tuple[int, InstrumentData]],
        source: int,
        channels: Sequence[str] = (),
    ) -> None:
        self._authenticated = False
        self._memory = Memory()
        self._news = NewsRows(source)
        super().__init__(instruments, source, channels)
        self._heard = NULL_TIME  # when the last frame came
        self._missed = MissedTrades("trade", self.wants, self._newest, lambda: self._heard)
        self._missed_news = Missed("news", self.wants, lambda: self._news.newest, lambda: self._heard)

    def new_rows(self, number: int, definition: InstrumentData) -> SymbolRows:
        """A symbol's."""
        return SymbolRows(number, definition, self.source, self.wants, self._memory)

    def lose(self, state: SymbolRows) -> None:
        """As it says itself."""
        state.lost()

    def _newest(self) -> int:
        states = self.symbols.values()
        latest = max((state.latest for state in states), default=NULL_TIME)
        return max((state.newest(latest) for state in states), default=NULL_TIME)

    def synchronised(self, symbol: str) -> bool:
        """Whether the symbol's book is in step with the venue's."""
        return self.symbols[symbol].synchronised

    def carry_book(self, symbol: str, last: int) -> None:  # noqa: ARG002  nothing is numbered here
        """The symbol's book is in step: it was carried over from an earlier file."""
        self.symbols[symbol].synchronised = True

    def connection_lost(self, symbol: str = "") -> None:
        """Books are out of step; if all of them, we have to say again who we are."""
        super().connection_lost(symbol)
        if not symbol:
            self._authenticated = False
            self._missed.lost(self.symbols)
            self._missed_news.lost(())

    def feed(self, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """Append the rows of one frame received at `ts` (ns). Never raises for what the venue sends."""
        read, symbols = self._read, self.symbols
        try:
            found = [read(message, symbols) for message in decode(frame)]
        except _LEAVE:
            found = []
        if len(found) == 1:
            write, owner, fact = found[0]
            write(owner, fact, frame, ts, rows)
            rows.end_message()
        elif found:
            self._write(found, frame, ts, rows)
        else:
            super().feed(frame, ts, rows)
        self._heard = ts
        if ts > self._missed.settles_at:
            self._missed.settle(ts)

    def take(self, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """The careful way. Raises Malformed."""
        try:
            messages = decode_carefully(frame)
            places = {f"[{index}]": message for index, message in enumerate(messages)}
            wider = self._wider(places)
            found = self._read_all(places, {**self.symbols, **wider})
        except Malformed:
            for state in self.symbols.values():
                state.doubt()
            self._missed.unreadable(ts)
            self._missed_news.unreadable(ts)
            raise
        self._define_wider(wider, ts, rows)
        if found:
            self._write(found, frame, ts, rows)
        else:  # an array of nothing
            self.control("", frame, ts, rows, self.source)

    def take_rest(self, source: SourceData, body: bytes, ts: int, rows: RowBuffer, number: int) -> None:
        """What was missing of an answer's trades or headlines, in one message; CONTROL if nothing was."""
        if source.endpoint == NEWS_ENDPOINT:
            if not self._news.fill(body, ts, rows, number):
                self.control("", body, ts, rows, number)
            return
        if source.endpoint != ENDPOINT:
            super().take_rest(source, body, ts, rows, number)
            return
        trades = missing_trades(body, ts, self._missed, self._memory)
        wider = self._wider(trades)
        found = self._read_all(trades, {**self.symbols, **wider})
        self._define_wider(wider, ts, rows)
        wire: bytes | None = body
        for _, state, fact in found:
            state.write_missed(fact, wire, ts, rows, number)
            wire = None
        if found:
            rows.end_message()
        else:
            self.control("", body, ts, rows, number)

    def _define_wider(self, wider: Mapping[str, SymbolRows], ts: int, rows: RowBuffer) -> None:
        """A message of INSTRUMENT rows, if there are any."""
        for symbol, trial in wider.items():
            self.symbols[symbol].define(trial.definition)
            self.definition_row(trial, None, ts - 1, rows, self.source)
        if wider:
            rows.end_message()

    def _write(self, found: list[_Found], frame: bytes, ts: int, rows: RowBuffer) -> None:
        if sum(write is SymbolRows.write_book for write, _, _ in found) > 1:
            found = _books_together(found)
        wire: bytes | None = frame
        for write, owner, fact in found:
            write(owner, fact, wire, ts, rows)
            wire = None
        rows.end_message()

    # --- from a message to what writes it; may raise one of _LEAVE, changes nothing ------------------------

    def _read(self, message: Any, symbols: _Symbols) -> _Found:
        pair = _MARKET.get(type(message))
        if pair is None:
            return self._read_other(message)
        state = symbols.get(message.symbol)
        if state is None:
            return AlpacaParser._write_unknown, self, f"symbol {message.symbol}"
        return pair[1], state, pair[0](state, message, packed_time(message.time))

    def _read_other(self, message: Any) -> _Found:
        if isinstance(message, Article):
            created, updated = (
                NULL_TIME if stamp is None else packed_time(stamp)
                for stamp in (message.created_at, message.updated_at)
            )
            return NewsRows.write, self._news, self._news.read(message, created, updated)
        if isinstance(message, Success):
            return AlpacaParser._write_success, self, message
        if isinstance(message, Refusal):
            return AlpacaParser._write_refusal, self, message
        if isinstance(message, Subscription):
            return AlpacaParser._write_subscription, self, message
        assert isinstance(message, Unknown), "there is no other kind of message"
        return AlpacaParser._write_unknown, self, message.name

    # --- the careful way ---------------------------------------------------------------------------------

    def _read_all(self, messages: _Places, symbols: _Symbols) -> list[_Found]:
        """Every message read, for the symbols' own states; raises Malformed, naming field and value."""
        found = []
        for place, message in messages.items():
            try:
                write, owner, fact = self._read(message, symbols)
            except (DecimalError, NotATime, Malformed) as problem:
                name, value = _culprit(message, problem)
                raise Malformed(_words(problem), field=f"{place}.{name}".rstrip("."), value=value) from None
            if isinstance(owner, SymbolRows):
                owner = self.symbols[owner.symbol]
            found.append((write, owner, fact))
        return found

    def _wider(self, messages: _Places) -> dict[str, SymbolRows]:
        """What the symbols of which a message needs more decimals would be; raises Malformed."""
        wider: dict[str, SymbolRows] = {}
        for place, message in messages.items():
            symbol = getattr(message, "symbol", "")
            state = wider.get(symbol) or self.symbols.get(symbol)
            if state is None or isinstance(message, _IN_WORDS):
                continue
            for name, is_price, value in _amounts_of(message):
                state = wider.get(symbol, state)
                try:
                    _amounts(state, message, is_price=is_price)[value]
                except TooFine as needed:
                    definition = _with_decimals(
                        state.definition,
                        needed.decimals,
                        is_price=is_price,
                        version=self.symbols[symbol].definition.version + 1,
                    )
                    wider[symbol] = SymbolRows(state.number, definition, self.source, [], self._memory)
                except DecimalError as problem:
                    raise Malformed(problem.message, field=f"{place}.{name}", value=str(value)) from None
        return wider

    # --- messages of no symbol ---------------------------------------------------------------------------

    def _write_unknown(self, name: str, wire: bytes | None, ts: int, rows: RowBuffer) -> None:
        self.count_unknown(name)
        self._control_row(wire, ts, rows)

    def _write_success(self, message: Success, wire: bytes | None, ts: int, rows: RowBuffer) -> None:
        if message.msg == "connected":
            self._missed.greeted()
            self._missed_news.greeted()
            self.notices.append(Notice("welcome"))
        elif message.msg == "authenticated":
            self._authenticated = True
            self.notices.append(Notice("authenticated"))
        else:
            self.count_unknown(f"success {message.msg}")
        self._control_row(wire, ts, rows)

    def _write_subscription(
        self, message: Subscription, wire: bytes | None, ts: int, rows: RowBuffer
    ) -> None:
        """A notice for each list that is not empty, and one without a channel: these were all.

        A second row says what was missed of those that are heard again.
        """
        names = zip(message.__struct_fields__, message.__struct_encode_fields__, strict=True)
        for name, wire_name in names:
            symbols = getattr(message, name)
            if symbols is not UNSET and symbols:
                channel = CHANNEL_OF_LIST[wire_name]
                self.notices.append(Notice("subscribed", channel=channel, symbols=tuple(symbols)))
        self.notices.append(Notice("subscribed"))
        self._control_row(wire, ts, rows)
        trades = message.trades or ()
        ours = self.symbols if "*" in trades else [symbol for symbol in trades if symbol in self.symbols]
        for missed, heard, what in (
            (self._missed, ours, "trades of"),
            (self._missed_news, message.news or (), "headlines about"),
        ):
            if (want := missed.subscribed(heard, ts)) is not None:
                words = f"all {what} {', '.join(want.symbols)}"
                data = StatusData("gap", want.channel, words, want.first, want.last)
                self._status_row(data, None, ts, rows)

    def _write_refusal(self, message: Refusal, wire: bytes | None, ts: int, rows: RowBuffer) -> None:
        notice = notice_of(message.code, message.msg, authenticated=self._authenticated)
        if notice.event == "authenticated":
            self._authenticated = True
        self.notices.append(notice)
        self._status_row(StatusData("rejected", detail=notice.detail), wire, ts, rows)

    def _status_row(self, data: StatusData, wire: bytes | None, ts: int, rows: RowBuffer) -> None:
        text = encode_canonical(data)
        rows.append_fast(ts, NULL_TIME, self.source, STATUS, 0, 0, 0, NO_SIDE, 0, 0, 0, text, wire)

    def _control_row(self, wire: bytes | None, ts: int, rows: RowBuffer) -> None:
        rows.append_fast(ts, NULL_TIME, self.source, CONTROL, 0, 0, 0, NO_SIDE, 0, 0, 0, None, wire)


def _books_together(found: list[_Found]) -> list[_Found]:
    """The same in the order of arrival, but a symbol's later book messages right behind its first."""
    first: dict[Any, int] = {}
    places = []
    for index, (write, owner, _) in enumerate(found):
        is_book = write is SymbolRows.write_book
        places.append(first.setdefault(owner.symbol, index) if is_book else index)
    return [found[index] for index in sorted(range(len(found)), key=places.__getitem__)]


def _amounts_of(message: Any) -> Iterator[tuple[str, bool, Any]]:
    """Every price and size of a message that becomes a column: its path, whether it is a price, its value."""
    for name, wire_name in zip(message.__struct_fields__, message.__struct_encode_fields__, strict=True):
        if name in _PRICES or name in _SIZES:
            yield wire_name, name in _PRICES, getattr(message, name)
    if isinstance(message, Book):
        for side, levels in (("b", message.bids), ("a", message.asks)):
            for index, level in enumerate(levels or ()):
                yield f"{side}[{index}].p", True, level.price
                yield f"{side}[{index}].s", False, level.size


def _amounts(state: SymbolRows, message: Any, *, is_price: bool) -> Amounts:
    if isinstance(message, _BARS):
        return state.bar_prices if is_price else state.bar_sizes
    return state.prices if is_price else state.sizes


def _with_decimals(old: InstrumentData, decimals: int, *, is_price: bool, version: int) -> InstrumentData:
    """The definition with more decimals; an increment of one unit of the last decimal stays one."""
    now = old.price_decimals if is_price else old.size_decimals
    increment = old.price_increment if is_price else old.size_increment
    if increment == trim_decimal(1, now):
        increment = trim_decimal(1, decimals)
    if is_price:
        return msgspec.structs.replace(
            old, price_decimals=decimals, price_increment=increment, version=version
        )
    return msgspec.structs.replace(old, size_decimals=decimals, size_increment=increment, version=version)


def _words(problem: DecimalError | NotATime | Malformed) -> str:
    return problem.data.error if isinstance(problem, Malformed) else problem.message


def _culprit(message: Any, problem: DecimalError | NotATime | Malformed) -> tuple[str, str]:
    """The field, and its value, that could not be read, as far as that can be told."""
    if isinstance(problem, Malformed):
        return problem.data.field, problem.data.value
    for name, wire_name in zip(message.__struct_fields__, message.__struct_encode_fields__, strict=True):
        value = getattr(message, name)
        try:
            if name in _TIMES and value is not None:
                packed_time(value)
            elif name in _WORDS and isinstance(message, _IN_WORDS):
                decimal_words(value)
        except (DecimalError, NotATime):
            return wire_name, "" if isinstance(value, Ext) else str(value)
    return "", ""
