"""Headlines over time: which ones an endpoint shows by now, and since when each is what it is.

The first headline appears at once, the others after it: in the distances that they had, divided by the
speed, or one by one at an even pace. Their times are those of their appearing, unless they are to be kept.
When the list is over it may begin again, under other ids and addresses, so that a long session has something
to read.

Plain values and no clock: whoever asks says what the time is, and it never goes back. At most `SHOWN_MAX` of
the newest are kept.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from engine.model.errors import UsageError
from engine.model.kinds import NewsData
from engine.model.units import MILLISECOND_NS, SECOND_NS
from engine.serve.news_faults import NewsFault
from engine.serve.news_source import Headline

SHOWN_MAX = 1_000
_LONE_GAP_NS = 60 * SECOND_NS  # between rounds of a list in which no time passes
_GAP_MIN_NS = 100 * MILLISECOND_NS  # an idle night must not become hours of work
_CORRECTED = " (corrected)"


class Shown(msgspec.Struct):
    """A headline as it is shown: its time, and when it last changed."""

    news: NewsData
    datetime_ns: int
    changed_ns: int


class _Due(NamedTuple):
    """What appears: when, counted from the first, and under which id."""

    after_ns: int
    round: int
    headline: Headline


class Releases:
    """What is shown at a time that only grows.

    Args:
        headlines: in the order in which they come; one with the id of an earlier one edits that one.
        speed: how many times faster than they came; infinite: all at once.
        every_ns: one each so often, whatever their own distances; 0: their own.
        keep_times: show the times of their publication instead of those of their appearing.
        repeat: begin again at the end.
        edits, seed: the faults that correct headlines.
    """

    def __init__(
        self,
        headlines: list[Headline],
        *,
        speed: float = 1.0,
        every_ns: int = 0,
        keep_times: bool = False,
        repeat: bool = False,
        edits: tuple[NewsFault, ...] = (),
        seed: int = 7,
    ) -> None:
        """Raises UsageError for a list that would repeat without any time passing."""
        if repeat and not every_ns and math.isinf(speed):
            raise UsageError("--repeat with --speed max would never end", hint="add --headline-every 5s")
        self.released = 0
        self._keep_times = keep_times
        self._edits, self._seed = edits, seed
        self._shown: dict[str, Shown] = {}  # by id; the latest to appear last
        self._due = _schedule(headlines, speed, every_ns, repeat=repeat)
        self._next = next(self._due, None)
        self._corrections: list[tuple[int, int, str, NewsData]] = []  # a heap: when, number, id, as it was
        self._began_ns: int | None = None

    @property
    def over(self) -> bool:
        """Whether everything has appeared."""
        return self._next is None

    def advance(self, now_ns: int) -> None:
        """Let appear what is due; the first call is when it begins."""
        if self._began_ns is None:
            self._began_ns = now_ns
        while True:
            release_ns = None if self._next is None else self._began_ns + self._next.after_ns
            correct_ns = self._corrections[0][0] if self._corrections else None
            first = min((at for at in (release_ns, correct_ns) if at is not None), default=None)
            if first is None or first > now_ns:
                return
            if first == release_ns:
                assert self._next is not None
                self._release(self._next, first)
                self._next = next(self._due, None)
            else:
                self._correct(first)

    def newest(self, most: int, symbol: str = "") -> list[Shown]:
        """At most so many, newest first; of one symbol if it is named, whatever its case."""
        wanted = symbol.upper()
        found: list[Shown] = []
        for shown in reversed(self._shown.values()):
            if len(found) == most:
                break
            if not wanted or wanted in (name.upper() for name in shown.news.symbols):
                found.append(shown)
        return found

    def _release(self, due: _Due, now_ns: int) -> None:
        self.released += 1
        news = _of_round(due.headline.news, due.round)
        earlier = self._shown.get(news.id)
        if earlier is not None:
            earlier.news, earlier.changed_ns = news, now_ns
            return
        datetime_ns = due.headline.published_ns if self._keep_times else now_ns
        self._shown[news.id] = Shown(news, datetime_ns, now_ns)
        for fault in self._edits:
            if fault.strikes(self.released, self._seed):
                item = (now_ns + fault.duration_ns, self.released, news.id, news)
                heapq.heappush(self._corrections, item)
                break
        if len(self._shown) > SHOWN_MAX:
            del self._shown[next(iter(self._shown))]

    def _correct(self, now_ns: int) -> None:
        _, _, name, news = heapq.heappop(self._corrections)
        shown = self._shown.get(name)
        if shown is not None and shown.news == news:  # neither gone nor edited by the list itself
            shown.news = msgspec.structs.replace(news, headline=news.headline + _CORRECTED)
            shown.changed_ns = now_ns


def _schedule(headlines: list[Headline], speed: float, every_ns: int, *, repeat: bool) -> Iterator[_Due]:
    """When what appears, round after round."""
    first_ns = headlines[0].at_ns if headlines else 0
    offsets = [
        place * every_ns if every_ns else max(0, int((headline.at_ns - first_ns) / speed))
        for place, headline in enumerate(headlines)
    ]
    if not offsets:
        return
    last = offsets[-1]
    gap_ns = every_ns or (last // (len(offsets) - 1) if last else int(_LONE_GAP_NS / speed))
    for number in count():
        begins = number * (last + max(gap_ns, _GAP_MIN_NS))
        for offset, headline in zip(offsets, headlines, strict=True):
            yield _Due(begins + offset, number, headline)
        if not repeat:
            return


def _of_round(news: NewsData, number: int) -> NewsData:
    """A headline with an id and an address that no other round has."""
    name = f"{news.id}-{number + 1}" if number else news.id
    url = news.url or f"https://news.example/{quote(news.id, safe='')}"
    if number:
        url += f"{'&' if '?' in url else '?'}round={number + 1}"
    return msgspec.structs.replace(news, id=name, url=url)
