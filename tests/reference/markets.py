"""Random markets from a seed: everything that a log may hold, close together, so that orders meet it.

Prices move over some twenty ticks, sizes over some tens of lots; books are sent as changes, snapshots
that cover only part of what is known, under gaps and disconnects, with late, doubled and rejected rows
between. Nothing keeps the books from crossing for a message or two: the loop has to take what comes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from engine.model.kinds import (
    BarData,
    Flag,
    InstrumentData,
    Kind,
    NewsData,
    Part,
    SessionData,
    StatusData,
    encode_canonical,
)
from engine.model.units import NULL_TIME
from tests.helpers.logs import BTC, START, Message, Row

TICK = 50  # mantissa: 0.50
LOT = 100  # mantissa: 0.00100
MID = 10_000  # mantissa: 100.00
ODD_FLAGS = (Flag.DUPLICATE, Flag.OUT_OF_ORDER, Flag.BACKFILLED, Flag.REJECTED_TICK, Flag.REVISED)


def instrument(name: str, *channels: str, quote: str = "USDT", venue: str = "binance") -> InstrumentData:
    """An instrument with a tick of 0.50 and a lot of 0.001, prices around 100."""
    return InstrumentData(
        key=f"{name}.{venue}",
        symbol=name,
        venue=venue,
        price_decimals=2,
        size_decimals=5,
        price_increment="0.5",
        size_increment="0.001",
        quote=quote,
        min_size="0.002",
        max_size="0.3",
        channels=channels,
    )


BOOKED = instrument("BOOKED", "trade", "quote", "book")
QUOTED = instrument("QUOTED", "trade", "quote")
TRADED = instrument("TRADED", "trade")
AGGREGATED = instrument("AGGREGATED", "aggtrade", quote="EUR")
BARRED = instrument("BARRED", "bar")
ELSEWHERE = instrument("ELSEWHERE", "trade", "book", venue="kraken")
ALL = (BOOKED, QUOTED, TRADED, AGGREGATED, BARRED)
assert BTC.venue == BOOKED.venue


class RandomMarket:
    """Messages one after the other."""

    def __init__(
        self,
        seed: int,
        instruments: Sequence[InstrumentData] = ALL,
        *,
        ages: Sequence[int] = (),
        extras: bool = False,
    ) -> None:
        """`ages`, ns: how old stamps may be; every market row is stamped then, but for some.

        `extras`: marks and sessions too.
        """
        self.chance = random.Random(seed)
        self.instruments = instruments
        self.ages = ages
        self.extras = extras
        self.venues = list(dict.fromkeys(i.venue for i in instruments))
        self.ts = START
        self.mid = dict.fromkeys(range(1, len(instruments) + 1), MID)
        self.bad: set[int] = set()
        self.id = 0

    def messages(self, count: int, *, end: bool = True) -> list[Message]:
        """`count` messages, and an END row."""
        made = [self.message() for _ in range(count)]
        if end:
            made.append(Message(self.ts + 1, (Row(Kind.END, source=0),)))
        return made

    def message(self) -> Message:
        """The next one."""
        chance = self.chance
        self.ts += chance.choice((1, 1_000, 250_000, 3_000_000, 20_000_000, 150_000_000))
        number = chance.randrange(1, len(self.instruments) + 1)
        rows = self._extra(number) if self.extras and chance.random() < 0.1 else self._rows(number)
        if chance.random() < 0.1:
            rows += self._rows(chance.randrange(1, len(self.instruments) + 1))
        if chance.random() < 0.05:
            odd = chance.choice(ODD_FLAGS)
            rows = [replace(row, flags=row.flags | odd) if row.kind < Kind.NEWS else row for row in rows]
        if self.ages:
            rows = self._stamped(rows)
        return Message(self.ts, tuple(map(self._sourced, rows)))

    def _extra(self, number: int) -> list[Row]:
        chance = self.chance
        if chance.random() < 0.8:
            price = self.mid[number] + TICK * chance.randrange(-3, 4)
            return [Row(Kind.MARK, ts_venue=self._stamp(), instrument=number, price=price)]
        opens = self.ts + chance.choice((-500, 0, 300, 2000)) * 1_000_000
        closes = opens + chance.choice((200, 600, 1500)) * 1_000_000
        venue = chance.choice(("", *self.venues))
        data = SessionData("XTST", "2024-06-01", opens, closes, venue)
        return [Row(Kind.SESSION, source=0, data=encode_canonical(data))]

    def _sourced(self, row: Row) -> Row:
        """A row of an instrument comes from its venue's source."""
        return replace(row, source=self._source(row.instrument)) if row.instrument else row

    def _source(self, number: int) -> int:
        return 1 + self.venues.index(self.instruments[number - 1].venue)

    def _stamped(self, rows: list[Row]) -> list[Row]:
        chance = self.chance
        age = chance.choice(self.ages)
        made = []
        for row in rows:
            if chance.random() < 0.1:
                age = chance.choice(self.ages)
            stamp = NULL_TIME if chance.random() < 0.15 else self.ts - age
            made.append(replace(row, ts_venue=stamp) if row.kind < Kind.NEWS else row)
        return made

    def _rows(self, number: int) -> list[Row]:  # noqa: PLR0911  one return a kind
        chance = self.chance
        channels = self.instruments[number - 1].channels
        dice = chance.random()
        if dice < 0.03:
            return [Row(Kind.CLOCK, source=0)]
        if dice < 0.05:
            data = NewsData(id=str(self.ts), headline="Something happened")
            return [Row(Kind.NEWS, ts_venue=self._stamp(), data=encode_canonical(data))]
        if dice < 0.065:
            return self._gap(number)
        possible = [name for name in ("trade", "aggtrade", "quote", "book", "bar") if name in channels]
        if not possible:
            return [Row(Kind.CONTROL, instrument=0)]
        self.mid[number] += TICK * chance.choice((-1, 0, 0, 0, 0, 1))
        self.mid[number] += TICK * ((self.mid[number] < MID - 8 * TICK) - (self.mid[number] > MID + 8 * TICK))
        name = chance.choice(possible)
        if name == "book":
            return self._book(number)
        if name == "quote":
            return self._quote(number)
        if name == "bar":
            return self._bar(number)
        return [self._trade(number, name) for _ in range(chance.choice((1, 1, 1, 2, 4)))]

    def _stamp(self) -> int:
        back = self.chance.choice((0, 1_000, 2_000_000, 50_000_000))
        return NULL_TIME if self.chance.random() < 0.1 else self.ts - back

    def _size(self, most: int = 30) -> int:
        return self.chance.randrange(1, most) * LOT

    def _trade(self, number: int, name: str) -> Row:
        chance = self.chance
        flags = Flag.AGGREGATE if name == "aggtrade" or chance.random() < 0.05 else 0
        self.id += 1
        return Row(
            Kind.TRADE,
            ts_venue=self._stamp(),
            flags=flags,
            instrument=number,
            side=chance.choice((1, 1, 1, -1, -1, -1, 0)),
            price=self.mid[number] + TICK * chance.randrange(-3, 4),
            size=self._size(),
            id=self.id,
        )

    def _bar(self, number: int) -> list[Row]:
        chance = self.chance
        flags = chance.choice((Flag.FINAL,) * 8 + (Flag(0), Flag.REVISED, Flag.FINAL | Flag.REVISED))
        # Most begin where orders may have arrived a moment ago; a few before, or nobody knows when.
        begun = self.ts - chance.choice((0, 0, 1_000, 3_000_000, 20_000_000, 400_000_000))
        prices = [self.mid[number] + TICK * chance.randrange(-3, 4) for _ in range(4)]
        low, *_, high = sorted(prices)
        data = encode_canonical(BarData(chance.choice((1_000_000_000, 60_000_000_000))))
        four = ((Part.OPEN, prices[0]), (Part.HIGH, high), (Part.LOW, low), (Part.CLOSE, prices[1]))
        if chance.random() < 0.05:
            begun = NULL_TIME
        return [
            Row(
                Kind.BAR,
                ts_venue=begun,
                part=part,
                flags=flags,
                instrument=number,
                price=price,
                size=self._size() if part == Part.CLOSE else 0,
                id=chance.randrange(1, 9) if part == Part.CLOSE else 0,
                data=data if part == Part.OPEN and chance.random() < 0.8 else None,
            )
            for part, price in four
        ]

    def _quote(self, number: int) -> list[Row]:
        chance = self.chance
        half = TICK * chance.choice((0, 1, 1, 2))
        rows = []
        for side in (1, -1):
            empty = chance.random() < 0.03
            price = 0 if empty else self.mid[number] - side * half
            size = 0 if empty else self._size()
            rows.append(Row(Kind.QUOTE, instrument=number, side=side, price=price, size=size))
        return rows

    def _book(self, number: int) -> list[Row]:
        chance = self.chance
        if chance.random() < (0.3 if number in self.bad else 0.04):
            self.bad.discard(number)
            return self._snapshot(number)
        if chance.random() < 0.02:
            self.bad.add(number)
        flags = Flag.MAYBE_BAD_BOOK if number in self.bad else 0
        stamp = self._stamp()
        rows = []
        for _ in range(chance.choice((1, 1, 2, 3, 6))):
            side = chance.choice((1, -1))
            away = chance.choice((-1, 0, 0, 1, 1, 2, 2, 3, 4, 7))
            gone = chance.random() < (0.8 if away < 0 else 0.3)
            size = 0 if gone else self._size()
            price = self.mid[number] - side * TICK * away
            rows.append(
                Row(
                    Kind.BOOK,
                    ts_venue=stamp,
                    flags=flags,
                    instrument=number,
                    side=side,
                    price=price,
                    size=size,
                )
            )
        return rows

    def _snapshot(self, number: int) -> list[Row]:
        chance = self.chance
        rows = []
        for side in (1, -1):
            for away in range(chance.choice((0, 1, 3, 6))):
                if chance.random() < 0.8:
                    price = self.mid[number] - side * TICK * (away + 1)
                    rows.append(
                        Row(Kind.BOOK, flags=Flag.SNAPSHOT, instrument=number, side=side, price=price)
                    )
        rows = [replace(row, size=self._size()) for row in rows]
        if not rows:
            rows = [Row(Kind.BOOK, flags=Flag.SNAPSHOT, instrument=number)]
        return [replace(rows[0], flags=Flag.SNAPSHOT | Flag.CLEAR), *rows[1:]]

    def _gap(self, number: int) -> list[Row]:
        chance = self.chance
        if "book" in self.instruments[number - 1].channels and chance.random() < 0.7:
            self.bad.add(number)
            status = Row(
                Kind.STATUS, instrument=number, data=encode_canonical(StatusData("gap", channel="book"))
            )
            return [status, *self._book_rows_under(number)]
        if chance.random() < 0.4:
            source = self._source(number)
            for n, other in enumerate(self.instruments, 1):
                if "book" in other.channels and self._source(n) == source:
                    self.bad.add(n)
            return [Row(Kind.STATUS, source=source, data=encode_canonical(StatusData("disconnected")))]
        return [
            Row(Kind.STATUS, instrument=number, data=encode_canonical(StatusData("gap", channel="trade")))
        ]

    def _book_rows_under(self, number: int) -> list[Row]:
        row = Row(
            Kind.BOOK,
            flags=Flag.MAYBE_BAD_BOOK,
            instrument=number,
            side=1,
            price=self.mid[number],
            size=self._size(),
        )
        return [row] * self.chance.randrange(0, 3)
