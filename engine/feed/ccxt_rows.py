"""What ccxt handed over into rows, each flagged LOSSY: the library merges updates before anybody sees them.

A frame is canonical JSON that `engine.live.ccxt_feed` makes of what the library returned, and stands in
`wire` as such; rows are a function of frames, as with any venue:

    {"channel": "trade", "symbol": "BTC/USDT", "trades": [{"id", "timestamp", "side", "price", "amount", …}]}
    {"channel": "quote", "symbol": "BTC/USDT", "ticker": {"bid", "bidVolume", "ask", "askVolume", …}}
    {"channel": "book", "symbol": "BTC/USDT", "whole": true, "bids": [[price, size], …], "asks": […], "nonce"}

A book is whole at first; afterwards a frame has the levels that differ from the book before it, those that
went with size 0. Each frame is one message. Times are milliseconds. A trade whose id was seen is a DUPLICATE
(4,096 ids are remembered for each symbol); there are no sequence numbers, so a gap is seen by the library or
not at all.

Numbers are exact as handed over: texts, where the library leaves the venue's texts alone; the shortest
decimal of a float, where it does not, which is the venue's own up to fifteen digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from engine.feed.decimals import Mantissas
from engine.feed.parser import (
    DECODE_FAILURES,
    DUPLICATE,
    LAST,
    Malformed,
    malformed_of,
)
from engine.feed.parser_base import ParserBase
from engine.feed.plain import plain
from engine.feed.row_words import CLEAR, EMPTY_BOOK, LOSSY, MAYBE_BAD_BOOK, NO_LEVELS, SNAPSHOT
from engine.model.errors import DecimalError
from engine.model.kinds import (
    ASK,
    BID,
    BUY,
    NO_SIDE,
    SELL,
    InstrumentData,
    Kind,
    SourceData,
    encode_canonical,
)
from engine.model.rows import RowBuffer
from engine.model.units import MILLISECOND_NS, NULL_TIME, decimals_of

REMEMBERED = 4_096  # ids of trades, of each symbol
_LATEST_MS = (2**63 - 1) // MILLISECOND_NS
_SIDES = {"buy": BUY, "sell": SELL}

Number = msgspec.Raw  # a JSON number, or a text of one, or null
Level = tuple[Number, Number]


class _Trade(msgspec.Struct):
    price: Number
    amount: Number
    id: str | int | None = None
    timestamp: int | None = None
    side: str | None = None


class _Ticker(msgspec.Struct):
    bid: Number = Number(b"null")
    bidVolume: Number = Number(b"null")  # noqa: N815
    ask: Number = Number(b"null")
    askVolume: Number = Number(b"null")  # noqa: N815
    timestamp: int | None = None


class _Frame(msgspec.Struct):
    channel: str
    symbol: str
    trades: list[_Trade] = []
    ticker: _Ticker | None = None
    whole: bool = False
    bids: list[Level] = []
    asks: list[Level] = []
    nonce: int | None = None
    timestamp: int | None = None


class _Fact(msgspec.Struct):
    """A row to be, with its numbers as plain texts."""

    kind: Kind
    side: int
    price: str
    size: str
    ts_venue: int
    id: int = 0
    flags: int = LOSSY


class _Symbol:
    """One symbol's definition, the ids that were seen, and whether its book is in step."""

    def __init__(self, number: int, definition: InstrumentData) -> None:
        self.number = number
        self.seen: dict[str, None] = {}
        self.in_step = False
        self.define(definition)

    def define(self, definition: InstrumentData) -> None:
        self.definition = definition
        self.prices = Mantissas(definition.price_decimals)
        self.sizes = Mantissas(definition.size_decimals)


_frames = msgspec.json.Decoder(_Frame)


class CcxtParser(ParserBase[_Symbol]):
    """Frames of one venue. It wants nothing: the library asks for its own."""

    def new_rows(self, number: int, definition: InstrumentData) -> _Symbol:
        """A symbol's."""
        return _Symbol(number, definition)

    def lose(self, state: _Symbol) -> None:
        """Its book is out of step."""
        state.in_step = False

    def take(self, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """Append the rows of one frame. Raises Malformed."""
        try:
            message = _frames.decode(frame)
        except DECODE_FAILURES as error:
            raise malformed_of(error, frame) from None
        symbol = self.symbols.get(message.symbol)
        if symbol is None or message.channel not in {"trade", "quote", "book"}:
            self.count_unknown(message.channel)
            self.control("", frame, ts, rows, self.source)
            return
        facts = list(_facts(message))
        self._fit(symbol, facts, ts, rows)
        self._write(symbol, message, facts, frame, ts, rows)

    def take_rest(self, source: SourceData, body: bytes, ts: int, rows: RowBuffer, number: int) -> None:  # noqa: ARG002
        """A REST answer, which the library keeps to itself: nothing is in it for a run."""
        self.control("", body, ts, rows, number)

    def synchronised(self, symbol: str) -> bool:
        """Whether the symbol's book is in step with the library's."""
        return symbol in self.symbols and self.symbols[symbol].in_step

    def carry_book(self, symbol: str, last: int) -> None:  # noqa: ARG002  its updates have no numbers
        """The symbol's book is in step: it was carried over from an earlier file."""
        self.symbols[symbol].in_step = True

    def _fit(self, symbol: _Symbol, facts: Sequence[_Fact], ts: int, rows: RowBuffer) -> None:
        """Widen the definition if a number needs it. Raises Malformed, and then nothing has changed."""
        old = symbol.definition
        prices = max([old.price_decimals, *(decimals_of(fact.price) for fact in facts)])
        sizes = max([old.size_decimals, *(decimals_of(fact.size) for fact in facts)])
        wider = (prices, sizes) != (old.price_decimals, old.size_decimals)
        price_of = Mantissas(prices) if wider else symbol.prices
        size_of = Mantissas(sizes) if wider else symbol.sizes
        try:
            for fact in facts:
                price_of[fact.price], size_of[fact.size]
        except DecimalError as error:
            raise Malformed(error.message, field=fact.kind.name.lower()) from None
        if wider:
            symbol.define(
                msgspec.structs.replace(
                    old, price_decimals=prices, size_decimals=sizes, version=old.version + 1
                )
            )
            rows.append(
                ts - 1,
                Kind.INSTRUMENT,
                source=self.source,
                flags=LAST,
                instrument=symbol.number,
                data=encode_canonical(symbol.definition),
            )

    def _write(
        self, symbol: _Symbol, message: _Frame, facts: list[_Fact], frame: bytes, ts: int, rows: RowBuffer
    ) -> None:
        flags = 0
        wire: bytes | None = frame
        if message.channel == "trade":
            for trade, fact in zip(message.trades, facts, strict=True):
                fact.flags |= _seen(symbol, trade.id)
        elif message.channel == "book":
            flags = SNAPSHOT if message.whole else 0 if symbol.in_step else MAYBE_BAD_BOOK
            symbol.in_step = symbol.in_step or message.whole
            first = flags | LOSSY | (CLEAR if message.whole else 0)
            if facts:
                facts[0].flags |= first
            else:
                note = EMPTY_BOOK if message.whole else NO_LEVELS
                rows.append(
                    ts, Kind.BOOK, source=self.source, flags=first | LAST, instrument=symbol.number,
                    data=note, wire=frame,
                )  # fmt: skip
                return
        if not facts:
            rows.append(ts, Kind.CONTROL, source=self.source, flags=LAST, wire=frame)
            return
        for fact in facts:
            rows.append(
                ts,
                fact.kind,
                ts_venue=fact.ts_venue,
                source=self.source,
                flags=fact.flags | flags,
                instrument=symbol.number,
                side=fact.side,
                price=symbol.prices[fact.price],
                size=symbol.sizes[fact.size],
                id=fact.id,
                wire=wire,
            )
            wire = None
        rows.end_message()


def _facts(message: _Frame) -> Iterator[_Fact]:
    """Rows to be, in the order of the frame. Raises Malformed."""
    if message.channel == "trade":
        for number, trade in enumerate(message.trades):
            where = f"trades[{number}]"
            yield _Fact(
                Kind.TRADE,
                _SIDES.get(trade.side or "", NO_SIDE),
                _positive(trade.price, f"{where}.price"),
                _positive(trade.amount, f"{where}.amount"),
                _time(trade.timestamp, f"{where}.timestamp"),
                _number(trade.id),
            )
    elif message.channel == "quote" and message.ticker is not None:
        ticker = message.ticker
        time = _time(ticker.timestamp, "ticker.timestamp")
        for name, side, price, size in (
            ("bid", BID, ticker.bid, ticker.bidVolume),
            ("ask", ASK, ticker.ask, ticker.askVolume),
        ):
            if bytes(price) != b"null":
                text = "0" if bytes(size) == b"null" else _plain(size, f"ticker.{name}Volume")
                yield _Fact(Kind.QUOTE, side, _positive(price, f"ticker.{name}"), text, time)
    elif message.channel == "book":
        time = _time(message.timestamp, "timestamp")
        nonce = _number(message.nonce)
        for name, side, levels in (("bids", BID, message.bids), ("asks", ASK, message.asks)):
            for number, (price, size) in enumerate(levels):
                where = f"{name}[{number}]"
                yield _Fact(
                    Kind.BOOK, side, _positive(price, f"{where}[0]"), _plain(size, f"{where}[1]"), time, nonce
                )


def _positive(raw: Number, field: str) -> str:
    found = _plain(raw, field)
    if not found.strip("0."):
        raise Malformed("is not positive", field=field, value=found)
    return found


def _plain(raw: Number, field: str) -> str:
    """A plain decimal. Raises Malformed."""
    text = bytes(raw).decode("utf-8", "replace").strip('"')
    try:
        return plain(text)
    except DecimalError as error:
        raise Malformed(error.message, field=field, value=text) from None


def _time(milliseconds: int | None, field: str) -> int:
    if milliseconds is None:
        return NULL_TIME
    if not 0 <= milliseconds <= _LATEST_MS:
        raise Malformed("is no time in milliseconds since 1970", field=field, value=str(milliseconds))
    return milliseconds * MILLISECOND_NS


def _number(given: str | int | None) -> int:
    """An id that fits its column; 0 for any other, which stays in the wire."""
    text = str(given)
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        return 0
    number = int(text)
    return number if number < 2**64 else 0


def _seen(symbol: _Symbol, given: str | int | None) -> int:
    """DUPLICATE for an id that was seen; remembers it."""
    if given is None:
        return 0
    known = str(given) in symbol.seen
    symbol.seen[str(given)] = None
    if len(symbol.seen) > REMEMBERED:
        del symbol.seen[next(iter(symbol.seen))]
    return DUPLICATE if known else 0
