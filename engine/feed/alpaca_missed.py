"""What a connection to Alpaca missed: trades or headlines, since when, and which of an answer's trades.

Nothing numbers the venue's trades, so what is missing is known by time alone, and by the venue's own, which
neither a clock that is wrong, nor a machine that slept, nor one that reads late can put into disorder. A gap
begins with the newest trade or quote that was read before the connection was lost: TCP brought what was sent
before it. It ends with the newest that has been read when the first answer comes, or `SETTLE_NS` have passed;
until the stream has brought something anew it is open. A frame that could not be read may have held trades,
too.

An answer of the history is read against that, and against nobody's memory of what was asked: an entry is
missing if its time lies in a gap and no trade of its symbol, exchange, id and time came before. Exchanges'
clocks differ, so a gap begins `MARGIN_NS` earlier, where an entry without an id is passed over. What the
venue itself calls cancelled or incorrect is not missing. So the rows of an answer follow from the frames
before it and from its body.

Source: docs.alpaca.markets, historical API pages (2026-01).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from engine.feed.alpaca_history import CRYPTO, STOCKS
from engine.feed.alpaca_messages import Trade
from engine.feed.alpaca_rows import Memory
from engine.feed.alpaca_values import NotATime, NumberText, number_of_json, text_time
from engine.feed.parser import DECODE_FAILURES, Malformed, PeriodWanted, Want, malformed_of
from engine.model.units import MAX_INT64, NULL_TIME, SECOND_NS, format_time

ENDPOINT = "trades"  # of the source of such answers
PAGE = 2_000  # trades: some milliseconds of work, for which frames wait
MARGIN_NS = 2 * SECOND_NS
SETTLE_NS = 10 * SECOND_NS  # what the stream brings later is not to be remembered until there is an answer
GAPS = 64  # of one symbol, that are remembered; the oldest is forgotten first
_NO_TRADE = frozenset({"canceled", "incorrect"})  # what an entry may have become since


class _Entry(msgspec.Struct, gc=False):
    time: str = msgspec.field(name="t")
    price: NumberText = msgspec.field(name="p")
    size: NumberText = msgspec.field(name="s")
    id: int = msgspec.field(name="i", default=0)
    exchange: str = msgspec.field(name="x", default="")
    taker: str = msgspec.field(name="tks", default="")
    update: str = msgspec.field(name="u", default="")


class _Answer(msgspec.Struct):
    trades: dict[str, list[_Entry] | None] | None  # null: none


class _Onward(msgspec.Struct):
    next_page_token: str | None = None


_answers = msgspec.json.Decoder(_Answer, dec_hook=number_of_json, float_hook=NumberText)
_onward = msgspec.json.Decoder(_Onward)


class _Gap(msgspec.Struct):
    """Venue times. `end`: NULL_TIME while it is open; `read`: the newest when the symbol was heard again."""

    begin: int
    read: int
    end: int = NULL_TIME


class Missed:
    """Since when one connection does not hear whom, of one channel; what is missing becomes a want."""

    def __init__(
        self, channel: str, wants: list[Want], newest: Callable[[], int], heard: Callable[[], int]
    ) -> None:
        """`newest`: the venue's time of the newest that was read. `heard`: our time of the last frame.

        Both answer NULL_TIME for none.
        """
        self._channel = channel
        self._wants = wants
        self._newest = newest
        self._heard = heard
        self._greeted = False
        self._listening: set[str] = set()
        self._silent: dict[str, int] = {}  # since when nothing of a symbol is heard

    def greeted(self) -> None:
        """A connection has begun: nothing is subscribed to."""
        self._greeted = True

    def lost(self, symbols: Iterable[str]) -> None:
        """The connection is gone; `symbols` are all that there are."""
        since = self._since()
        # Who was never greeted reads a log from the middle on, where everything is subscribed to already.
        for symbol in self._listening if self._greeted else symbols:
            if since != NULL_TIME:
                self._silent.setdefault(symbol, since)
        self._listening.clear()
        self._greeted = True

    def subscribed(self, symbols: Iterable[str], ts: int) -> PeriodWanted | None:
        """All of these are heard from now on; what was missed until now, if anything was."""
        heard = dict.fromkeys(symbols)  # a venue may name one twice
        self._listening.update(heard)
        return self._missing({s: self._silent.pop(s) for s in heard if s in self._silent}, ts)

    def unreadable(self, ts: int) -> None:
        """A frame that may have held trades could not be read."""
        if self._listening and (since := self._since()) != NULL_TIME:
            self._missing(dict.fromkeys(sorted(self._listening), since), ts)

    def _since(self) -> int:
        newest = self._newest()
        return self._heard() if newest == NULL_TIME else newest  # of a silent market there is only our clock

    def _missing(self, since: Mapping[str, int], ts: int) -> PeriodWanted | None:
        if not since:
            return None
        begin = min(since.values())
        want = PeriodWanted(tuple(since), self._channel, begin, max(ts, begin))
        if self._wants and isinstance(last := self._wants[-1], PeriodWanted):
            self._wants[-1] = last.joined(want)  # who reads a log asks for nothing, and drains nothing
        else:
            self._wants.append(want)
        return want


class MissedTrades(Missed):
    """The same, and the gaps that an answer is read against."""

    def __init__(
        self, channel: str, wants: list[Want], newest: Callable[[], int], heard: Callable[[], int]
    ) -> None:
        super().__init__(channel, wants, newest, heard)
        self.settles_at = MAX_INT64  # our time from which on `settle` should be called
        self._gaps: dict[str, list[_Gap]] = {}

    def _missing(self, since: Mapping[str, int], ts: int) -> PeriodWanted | None:
        newest = self._newest()
        for symbol, begin in since.items():
            gaps = self._gaps.setdefault(symbol, [])
            if gaps and (gaps[-1].end == NULL_TIME or begin <= gaps[-1].end + MARGIN_NS):
                gaps[-1].read, gaps[-1].end = newest, NULL_TIME  # it goes on
            else:
                gaps.append(_Gap(begin, newest))
                del gaps[:-GAPS]
        if since:
            self.settles_at = ts + SETTLE_NS
        return super()._missing(since, ts)

    def settle(self, ts: int) -> None:
        """Those gaps end since which something was heard."""
        newest, self.settles_at = self._newest(), MAX_INT64
        for gaps in self._gaps.values():
            if gaps[-1].end == NULL_TIME:  # only the last one can be open
                if newest > gaps[-1].read:
                    gaps[-1].end = newest
                else:
                    self.settles_at = ts + SETTLE_NS

    def gaps(self, symbol: str) -> list[_Gap]:
        """A symbol's."""
        return self._gaps.get(symbol, [])


def missing_trades(body: bytes, ts: int, missed: MissedTrades, memory: Memory) -> dict[str, Trade[Any, Any]]:
    """The trades of an answer that had not come, in its order, by where they stand. Raises Malformed."""
    found: dict[str, Trade[Any, Any]] = {}
    keys = set()
    answer = _answer(body)
    missed.settle(ts)
    for symbol, entries in (answer.trades or {}).items():
        gaps = missed.gaps(symbol)
        for index, entry in enumerate(entries or ()):
            place = f"trades.{symbol}[{index}]"
            try:
                stamp = text_time(entry.time)
            except NotATime as problem:
                raise Malformed(problem.message, field=f"{place}.t", value=entry.time) from None
            early = stamp + (MARGIN_NS if entry.id else 0)
            if entry.update in _NO_TRADE or not any(
                gap.begin <= early and (stamp <= gap.end or gap.end == NULL_TIME) for gap in gaps
            ):
                continue
            key = (symbol, entry.exchange, entry.id, stamp)
            if entry.id and (key in memory or key in keys):
                continue
            keys.add(key)
            found[place] = Trade(
                symbol, entry.price, entry.size, entry.time, entry.id, entry.exchange, entry.taker
            )
    return found


def next_page(body: bytes) -> str:
    """The token of the page after this one, of trades or news, which has been read; "" after the last."""
    return _onward.decode(body).next_page_token or ""


def _answer(body: bytes) -> _Answer:
    try:
        return _answers.decode(body)
    except DECODE_FAILURES as error:
        raise malformed_of(error, body) from None


def trades_path(symbols: Sequence[str], since: int, *, feed: str, token: str) -> str:
    """Path and query of a page of the trades from `since` (ns) until now. `feed`: of stocks; "" for coins."""
    asked: dict[str, Any] = {
        "symbols": ",".join(symbols),
        "start": format_time(max(since, 0)),
        "limit": PAGE,
        "sort": "asc",
    }
    asked |= {"feed": feed} if feed else {}
    asked |= {"page_token": token} if token else {}
    return f"{STOCKS if feed else CRYPTO}/trades?{urlencode(asked)}"
