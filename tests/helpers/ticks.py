"""Ticks as tests write them down: into a buffer, through Quality, and what has become of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec

from engine.feed.quality import EVENTS, Quality, with_mode
from engine.model.kinds import Flag, InstrumentData, Kind, SourceData, encode_canonical
from engine.model.rows import RowBuffer
from tests.helpers.rows import Row, rows_of_buffer
from tests.reference.quality import Fact, Said

LAST = Flag.LAST
SOURCE = SourceData(name="venue", venue="venue")
CENTS = InstrumentData("A.venue", "A", "venue", 2, 3, "0.01", "0.001")
# What the words of a rejection begin to say after the price; the twin's names of the rules.
_WORDS = {
    "the size": "size",
    "is not positive": "price",
    "is above": "crossed",
    "away from": "far",
    "z-score": "score",
}


def put(rows: RowBuffer, facts: Iterable[Fact]) -> None:
    """Append rows; an INSTRUMENT with its definition."""
    for fact in facts:
        data = None
        if fact.kind is Kind.INSTRUMENT:
            name = f"I{fact.instrument}"
            changed = {"symbol": name, "price_decimals": fact.decimals, "price_increment": fact.increment}
            data = encode_canonical(msgspec.structs.replace(CENTS, key=f"{name}.venue", **changed))
        rows.append(
            fact.ts,
            fact.kind,
            source=fact.source,
            flags=int(fact.flags),
            instrument=fact.instrument,
            side=fact.side,
            price=fact.price,
            size=fact.size,
            id=fact.id,
            data=data,
            wire=b"frame %d" % fact.id if fact.kind in (Kind.TRADE, Kind.QUOTE) and fact.side >= 0 else None,
        )


def head(rows: RowBuffer, mode: str, sources: Sequence[int] = (1,)) -> None:
    """The SOURCE rows that a file begins with."""
    for number in sources:
        source = with_mode(SOURCE, mode) if mode else SOURCE
        rows.append(0, Kind.SOURCE, source=number, flags=int(LAST), data=encode_canonical(source))


@dataclass
class Judged:
    """What became of facts: each row's flags, what was said behind which, and all rows as they are now."""

    flags: list[Flag] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


def judged(
    facts: Sequence[Fact], mode: str = "warn", *, cuts: Iterable[int] = (), definitions: int = 1
) -> Judged:
    """Facts through Quality, in one batch or cut before these of them; each instrument has two decimals."""
    rows, quality = RowBuffer(8), Quality()
    head(rows, mode)
    put(rows, [Fact(Kind.INSTRUMENT, n, decimals=2) for n in range(1, definitions + 1)])
    everything: list[Row] = []

    def write() -> None:
        quality.take(rows)
        everything.extend(rows_of_buffer(rows))
        rows.clear()

    edges = [0, *sorted(cuts), len(facts)]
    for start, stop in pairwise(edges):
        put(rows, facts[start:stop])
        if rows.count:
            write()
    return taken_apart(everything[1 + definitions :])


def taken_apart(rows: list[Row]) -> Judged:
    """Rows of facts, and the STATUS rows among them; LAST as it was before these came."""
    result = Judged(rows=rows)
    for row in rows:
        if row.event in EVENTS:
            if row.flags & LAST:
                result.flags[-1] |= LAST
            detail = str(row.data["detail"])
            rule = next((rule for words, rule in _WORDS.items() if words in detail), "")
            if row.event == "rebased":
                rule = ""
            result.details.append(detail)
            place = len(result.flags) - 1
            result.said.append(Said(place, rule, row.data.get("first", 0), row.data.get("last", 0)))
        else:
            result.flags.append(row.flags)
    return result


def message_ends(facts: Sequence[Fact]) -> list[int]:
    """Where facts may be cut: before each of these."""
    return [n for n in range(1, len(facts)) if facts[n - 1].flags & LAST]


def trade(price: int, size: int = 1, *, number: int = 0, instrument: int = 1, flags: Flag = LAST) -> Fact:
    """A trade that is a message of its own."""
    return Fact(Kind.TRADE, instrument, side=1, price=price, size=size, id=number, flags=flags, ts=number)


def quote(
    bid: int, ask: int, bid_size: int = 1, ask_size: int = 1, *, number: int = 0, flags: Flag = LAST
) -> list[Fact]:
    """A quote of two rows that is a message of its own."""
    first = Fact(Kind.QUOTE, side=1, price=bid, size=bid_size, id=number, flags=flags & ~LAST, ts=number)
    return [first, first._replace(side=-1, price=ask, size=ask_size, flags=flags)]


def trades(prices: Iterable[int], start: int = 1) -> list[Fact]:
    """Trades of one instrument, numbered from `start` on."""
    return [trade(price, number=number) for number, price in enumerate(prices, start)]
