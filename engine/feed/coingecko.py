"""CoinGecko's simple price into MARK rows: what a coin is said to be worth, and since when.

    {"bitcoin": {"usd": 67187.33, "usd_24h_change": 3.6, "last_updated_at": 1711356300}, …}

A price that somebody averaged over exchanges is no trade and no quote: nobody dealt at it, and nobody will.
So it is a MARK row, whose time is `last_updated_at` (seconds), flagged LOSSY, since the prices between two
polls are not seen; its instrument cannot be traded. What else an answer says (volume, change, capitalisation)
stays in `wire`. One answer is one message: a row for each pair with news, in the order in which they were
asked for, and the answer on the first of them.

Caches answer for up to a minute, and not all of them the same: a price is news when that price at that time
was not seen before (64 of them are remembered for each pair). An older time than the newest is OUT_OF_ORDER,
another price at a time that is known is REVISED.

Prices are exact: the digits of the JSON text, exponents included. What an instrument's definition has no
decimals for makes a new version of it first; more than 18 decimals, or a value that is no positive number,
makes the answer MALFORMED.

What the venue does not know it leaves out without a word. In the first answer that is an error of whoever
asked; later it is a STATUS row "rejected", once, until it is there again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from engine.feed.decimals import Mantissas
from engine.feed.parser import DECODE_FAILURES, LAST, Malformed, malformed_of
from engine.feed.plain import plain
from engine.feed.polled import Refusals, Taken
from engine.model.errors import DecimalError, UsageError
from engine.model.kinds import Flag, InstrumentData, Kind, StatusData, encode_canonical
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME, SECOND_NS, decimals_of

VENUE = "coingecko"
REMEMBERED = 64  # times of each pair
STATUS = "REFERENCE"  # of its instruments: nothing can be sent for them
_LEAST_DECIMALS = 2
_LATEST_S = (2**63 - 1) // SECOND_NS
_LOSSY, _REVISED, _LATE = int(Flag.LOSSY), int(Flag.REVISED), int(Flag.OUT_OF_ORDER)
_decoder = msgspec.json.Decoder(dict[str, dict[str, msgspec.Raw]])
_times = msgspec.json.Decoder(int | None)


class Price(msgspec.Struct, frozen=True):
    """What an answer says of a pair. `text` is a plain decimal."""

    symbol: str
    text: str
    ts_venue: int


class _Pair:
    """One pair's definition, and the prices that were seen."""

    def __init__(self, number: int, definition: InstrumentData) -> None:
        self.number = number
        self.seen: dict[int, int] = {}  # time to mantissa, latest taken last
        self.newest = NULL_TIME
        self.missing = False
        self.define(definition)

    def define(self, definition: InstrumentData) -> None:
        self.definition = definition
        self.prices = Mantissas(definition.price_decimals)

    def widen(self, decimals: int) -> None:
        """A new version with more decimals; what is remembered is multiplied up."""
        factor = 10 ** (decimals - self.definition.price_decimals)
        self.seen = {time: price * factor for time, price in self.seen.items()}
        self.define(
            msgspec.structs.replace(
                self.definition,
                price_decimals=decimals,
                price_increment=_increment(decimals),
                version=self.definition.version + 1,
            )
        )

    def judge(self, price: int, time: int) -> int | None:
        """Flags of a row of this price; None where it was seen already. Remembers it."""
        before = self.seen.pop(time, None)
        self.seen[time] = price
        if len(self.seen) > REMEMBERED:
            del self.seen[next(iter(self.seen))]
        flags = _LOSSY
        if before is not None:
            if before == price:
                return None
            # What has no time is the price of now, each time.
            flags |= _REVISED if time != NULL_TIME else 0
        if NULL_TIME < time < self.newest:
            flags |= _LATE
        self.newest = max(self.newest, time)
        return flags


class CoinGeckoParser:
    """Answers of one list of pairs, one after the other."""

    def __init__(self, coins: Sequence[str], currencies: Sequence[str]) -> None:
        self.source = 0
        self._wanted = [(coin, currency) for coin in coins for currency in currencies]
        self._pairs: dict[str, _Pair] = {}
        self._refusals = Refusals()

    @property
    def instruments(self) -> Mapping[str, tuple[int, InstrumentData]]:
        """The definitions now in force; empty before the first contact."""
        return {symbol: (pair.number, pair.definition) for symbol, pair in self._pairs.items()}

    def read(self, body: bytes) -> list[Price]:
        """The prices of what was asked for, as far as they are there. Raises Malformed."""
        try:
            answer = _decoder.decode(body)
        except DECODE_FAILURES as error:
            raise malformed_of(error, body) from None
        if "error_code" in answer.get("status", {}):
            raise Malformed(
                "is an error", field="status.error_code", value=_text(answer["status"]["error_code"])
            )
        found = []
        for coin, currency in self._wanted:
            said = answer.get(coin, {})
            text = _text(said.get(currency, msgspec.Raw(b"null")))
            if text == "null":
                continue
            price = _price(text, f"{coin}.{currency}")
            found.append(Price(f"{coin}/{currency}", price, _time(said.get("last_updated_at"), coin)))
        return found

    def contact(self, read: Sequence[Price]) -> None:
        """Define the instruments. Raises UsageError for what has no price."""
        texts = {price.symbol: price.text for price in read}
        for number, (coin, currency) in enumerate(self._wanted, start=1):
            symbol = f"{coin}/{currency}"
            if symbol not in texts:
                raise UsageError(
                    f"CoinGecko has no price of {symbol}",
                    hint="write ids as it does: bitcoin,ethereum/usd; a symbol such as btc is none",
                )
            decimals = max(_LEAST_DECIMALS, decimals_of(texts[symbol]))
            self._pairs[symbol] = _Pair(number, _definition(coin, currency, decimals))

    def number(self, source: int, instrument: int) -> None:
        """Take the numbers of this log."""
        self.source = source
        for number, pair in enumerate(self._pairs.values(), start=instrument):
            pair.number = number

    def take(self, read: Sequence[Price], body: bytes, stamp: Callable[[], int], rows: RowBuffer) -> Taken:
        """Append what is new of the prices of an answer, and what is missing from it."""
        taken = Taken()
        try:
            marks = [(self._pairs[price.symbol], price, self._decimals(price)) for price in read]
        except Malformed as problem:
            return self.refuse(problem, body, stamp, rows)
        fresh: list[tuple[_Pair, Price, int]] = []
        for pair, price, decimals in marks:
            if decimals > pair.definition.price_decimals:
                pair.widen(decimals)
                self._append(Kind.INSTRUMENT, pair, pair.definition, stamp(), rows)
                taken.other += 1
            flags = pair.judge(pair.prices[price.text], price.ts_venue)
            if flags is None:
                taken.unchanged += 1
            else:
                fresh.append((pair, price, flags))
        if fresh:
            self._marks(fresh, body, stamp(), rows)
        taken.revised = sum(bool(flags & _REVISED) for _, _, flags in fresh)
        taken.new = len(fresh) - taken.revised
        self._note_missing({price.symbol for price in read}, stamp, rows, taken)
        return taken

    def refuse(self, problem: Malformed, body: bytes, stamp: Callable[[], int], rows: RowBuffer) -> Taken:
        """Append the row of an answer that is none."""
        count = self._refusals.refuse(problem, body, self.source, stamp, rows)
        return Taken(malformed=count, readable=False)

    def remember(self, data: bytes, ts_venue: int) -> None:
        """Nothing: the first prices of a recording are news to it."""

    def query(self) -> str:
        """The address says it all."""
        return ""

    def lost(self) -> None:
        """Nothing is left open between two answers."""

    def _decimals(self, price: Price) -> int:
        """Decimals that the pair's definition must have for a price. Raises Malformed where none do."""
        pair = self._pairs[price.symbol]
        decimals = max(pair.definition.price_decimals, decimals_of(price.text))
        try:
            Mantissas(decimals)[price.text]
        except DecimalError as error:
            raise Malformed(error.message, field=price.symbol.replace("/", "."), value=price.text) from None
        return decimals

    def _marks(self, fresh: list[tuple[_Pair, Price, int]], body: bytes, ts: int, rows: RowBuffer) -> None:
        wire: bytes | None = body
        for pair, price, flags in fresh:
            rows.append(
                ts,
                Kind.MARK,
                ts_venue=price.ts_venue,
                source=self.source,
                flags=flags,
                instrument=pair.number,
                price=pair.prices[price.text],
                wire=wire,
            )
            wire = None
        rows.end_message()

    def _note_missing(self, there: set[str], stamp: Callable[[], int], rows: RowBuffer, taken: Taken) -> None:
        """Say of a pair, once, that an answer has no price of it."""
        for symbol, pair in self._pairs.items():
            missing = symbol not in there
            if missing and not pair.missing:
                data = StatusData(event="rejected", channel="mark", detail=f"no price of {symbol} any more")
                self._append(Kind.STATUS, pair, data, stamp(), rows)
                taken.other += 1
            pair.missing = missing

    def _append(self, kind: Kind, pair: _Pair, data: object, ts: int, rows: RowBuffer) -> None:
        rows.append(
            ts, kind, source=self.source, flags=LAST, instrument=pair.number, data=encode_canonical(data)
        )


def _definition(coin: str, currency: str, decimals: int) -> InstrumentData:
    return InstrumentData(
        key=f"{coin}/{currency}.{VENUE}",
        symbol=f"{coin}/{currency}",
        venue=VENUE,
        price_decimals=decimals,
        size_decimals=0,
        price_increment=_increment(decimals),
        size_increment="1",
        base=coin,
        quote=currency.upper(),
        status=STATUS,
    )


def _text(raw: msgspec.Raw) -> str:
    return bytes(raw).decode("utf-8", "replace")


def _increment(decimals: int) -> str:
    return f"0.{'1'.rjust(decimals, '0')}"


def _price(text: str, field: str) -> str:
    """A JSON number as a plain decimal. Raises Malformed for what is no price."""
    try:
        found = plain(text)
    except DecimalError as error:
        raise Malformed(error.message, field=field, value=text) from None
    if not found.strip("0."):
        raise Malformed("is no price", field=field, value=text)
    return found


def _time(raw: msgspec.Raw | None, coin: str) -> int:
    """Nanoseconds of `last_updated_at`. Raises Malformed."""
    try:
        seconds: int | None = None if raw is None else _times.decode(raw)
    except DECODE_FAILURES:
        seconds = -1
    if seconds is None:
        return NULL_TIME
    if not 0 <= seconds <= _LATEST_S:
        value = _text(raw or msgspec.Raw(b""))
        raise Malformed("is no time in seconds since 1970", field=f"{coin}.last_updated_at", value=value)
    return seconds * SECOND_NS
