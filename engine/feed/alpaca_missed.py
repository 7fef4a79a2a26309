"""Trades that a connection to Alpaca missed: between which times, and which of an answer's were missing.

Nothing numbers the venue's trades, so what is missing is known by time alone. It begins with the last frame
before the connection was lost (TCP brought all that was sent before it) and ends with the frame that says
that the symbol is subscribed to again. A frame that could not be read may have held trades as well.

An answer of the history is read against that, and against nobody's memory of what was asked: an entry is
missing if its time lies in such a period and no trade of its symbol, exchange, id and time came before. The
venue's clock is not ours, so periods are longer by `MARGIN_NS` on either side, where only the trades that
came tell what is missing; there an entry without an id is passed over. So the rows of an answer follow from
the frames before it and from its body.

Source: docs.alpaca.markets, historical API pages (2026-01).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from engine.feed.alpaca_history import CRYPTO, LIMIT, STOCKS, answer_of
from engine.feed.alpaca_messages import Trade
from engine.feed.alpaca_rows import Memory
from engine.feed.alpaca_values import NotATime, text_time
from engine.feed.parser import Malformed, PeriodWanted, Want
from engine.model.units import NULL_TIME, SECOND_NS, format_time

ENDPOINT = "trades"  # of the source of such answers
MARGIN_NS = 2 * SECOND_NS
PERIODS = 16  # of one symbol, that are remembered; near ones are one, the oldest is forgotten first

Period = tuple[int, int]  # from, to: ns of our clock


class Missed:
    """When one connection did not hear whom."""

    def __init__(self, wants: list[Want]) -> None:
        self.heard = NULL_TIME  # when the last frame came
        self._wants = wants
        self._greeted = False
        self._listening: set[str] = set()
        self._silent: dict[str, int] = {}  # since when nothing of a symbol is heard
        self._periods: dict[str, list[Period]] = {}

    def greeted(self) -> None:
        """A connection has begun: nothing is subscribed to."""
        self._greeted = True

    def lost(self, symbols: Iterable[str]) -> None:
        """The connection is gone; `symbols` are all that there are."""
        # Who was never greeted reads a log from the middle on, where everything is subscribed to already.
        for symbol in self._listening if self._greeted else symbols:
            if self.heard != NULL_TIME:
                self._silent.setdefault(symbol, self.heard)
        self._listening.clear()
        self._greeted = True

    def subscribed(self, symbols: Iterable[str], ts: int) -> PeriodWanted | None:
        """All of these are heard from now on; what was missed until now, if anything was."""
        heard = dict.fromkeys(symbols)  # a venue may name one twice
        self._listening.update(heard)
        return self._missing({s: self._silent.pop(s) for s in heard if s in self._silent}, ts)

    def unreadable(self, ts: int) -> None:
        """A frame that may have held trades could not be read."""
        if self._listening and self.heard != NULL_TIME:
            self._missing(dict.fromkeys(sorted(self._listening), self.heard), ts)

    def _missing(self, since: Mapping[str, int], ts: int) -> PeriodWanted | None:
        for symbol, first in since.items():
            periods = self._periods.setdefault(symbol, [])
            near = bool(periods) and first - periods[-1][1] <= 2 * MARGIN_NS
            # Near ones are one, or many small ones would drive a long one out.
            periods.append((periods.pop()[0] if near else first, ts))
            del periods[:-PERIODS]
        if not since:
            return None
        want = PeriodWanted(tuple(since), "trade", min(since.values()), ts)
        if self._wants and isinstance(last := self._wants[-1], PeriodWanted):
            self._wants[-1] = last.joined(want)  # who reads a log asks for nothing, and drains nothing
        else:
            self._wants.append(want)
        return want

    def covers(self, symbol: str, stamp: int, margin_ns: int) -> bool:
        """Whether a trade of that time may be missing."""
        return any(
            first - margin_ns <= stamp <= last + margin_ns for first, last in self._periods.get(symbol, ())
        )


def missing_trades(body: bytes, missed: Missed, memory: Memory) -> dict[str, Trade[Any, Any]]:
    """The trades of an answer that had not come, in its order, by where they stand. Raises Malformed."""
    found: dict[str, Trade[Any, Any]] = {}
    keys = set()
    for symbol, entries in answer_of(body).trades.items():
        for index, entry in enumerate(entries):
            place = f"trades.{symbol}[{index}]"
            try:
                stamp = text_time(entry.time)
            except NotATime as problem:
                raise Malformed(problem.message, field=f"{place}.t", value=entry.time) from None
            if not missed.covers(symbol, stamp, MARGIN_NS if entry.id else 0):
                continue
            key = (symbol, entry.exchange, entry.id, stamp)
            if entry.id and (key in memory or key in keys):
                continue
            keys.add(key)
            found[place] = Trade(
                symbol, entry.price, entry.size, entry.time, entry.id, entry.exchange, entry.taker
            )
    return found


def trades_path(symbols: Sequence[str], begin: int, end: int, *, feed: str, token: str) -> str:
    """Path and query of a page of the trades from `begin` to `end` (ns). `feed`: of stocks; "" for coins."""
    asked: dict[str, Any] = {
        "symbols": ",".join(symbols),
        "start": format_time(begin),
        "end": format_time(end),
        "limit": LIMIT,
        "sort": "asc",
    }
    asked |= {"feed": feed} if feed else {}
    asked |= {"page_token": token} if token else {}
    return f"{STOCKS if feed else CRYPTO}/trades?{urlencode(asked)}"
