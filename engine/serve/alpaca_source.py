"""Everything that the local Alpaca shows, as one source: a market, headlines, and the test stream's symbol.

A recording's own headlines are shown when it has some, else those of a list. Headlines of the market's own
day keep their times; others begin a second after the market and keep their distances, or come one by one at
an even pace. The test symbol lives beside the market, and only as long as that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Protocol

from engine.model.kinds import InstrumentData
from engine.model.units import SECOND_NS
from engine.serve.alpaca_news import NEWS_STREAM
from engine.serve.alpaca_symbols import FAKE, alpaca_model
from engine.serve.news_source import Headline
from engine.serve.synthetic import Event, SyntheticMarket

_DAY_NS = 86_400 * SECOND_NS


class _Market(Protocol):
    """A source of market data; see engine.serve.source."""

    @property
    def instruments(self) -> Sequence[InstrumentData]: ...

    @property
    def description(self) -> str: ...

    def events(self) -> Iterator[Event]: ...


class AlpacaSource:
    """A market with headlines; a source of the local Alpaca.

    Args:
        market: recording or synthetic market.
        headlines: in the order in which they come.
        every_ns: one headline each so often; 0: at their own pace.
        test_symbol: whether FAKEPACA is there.
        seed: of FAKEPACA.
    """

    def __init__(
        self,
        market: _Market,
        headlines: Sequence[Headline] = (),
        *,
        every_ns: int = 0,
        test_symbol: bool = True,
        seed: int = 7,
    ) -> None:
        self._market = market
        self._headlines = headlines
        self._every_ns = every_ns
        self._fake = SyntheticMarket(seed, [FAKE], model=alpaca_model) if test_symbol else None
        self._seed = seed
        fake = self._fake.instruments if self._fake is not None else []
        self.instruments: list[InstrumentData] = [*market.instruments, *fake]
        told = f", {len(headlines)} headlines" if headlines else ""
        self.description = market.description + told

    def events(self) -> Iterator[Event]:
        """The market's events, and the others between them."""
        events = iter(self._market.events())
        first = next(events, None)
        if first is None:
            return
        news = self._news(first.time_ns)
        fake: Iterator[Event] = iter(())
        if self._fake is not None:
            market = SyntheticMarket(self._seed, [FAKE], start_ns=first.time_ns, model=alpaca_model)
            fake = market.events()
        beside = (news, fake)
        waiting = [next(each, None) for each in beside]
        for event in chain((first,), events):
            while (place := _first_before(waiting, event.time_ns)) is not None:
                event_beside = waiting[place]
                assert event_beside is not None
                yield event_beside
                waiting[place] = next(beside[place], None)
            yield event
        if waiting[0] is not None:  # headlines are worth telling after the market's end
            yield waiting[0]
            yield from news

    def _news(self, start_ns: int) -> Iterator[Event]:
        if not self._headlines:
            return
        first_ns = self._headlines[0].at_ns
        own = not self._every_ns and 0 <= first_ns - start_ns < _DAY_NS
        for place, headline in enumerate(self._headlines):
            after_ns = place * self._every_ns if self._every_ns else headline.at_ns - first_ns
            at_ns = headline.at_ns if own else start_ns + SECOND_NS + after_ns
            payload: dict[str, Any] = {"headline": headline}
            yield Event(at_ns, NEWS_STREAM, payload)


def _first_before(waiting: list[Event | None], time_ns: int) -> int | None:
    """Which of the waiting events comes next, if it comes before a time."""
    due = [(event.time_ns, place) for place, event in enumerate(waiting) if event is not None]
    return min(due)[1] if due and min(due)[0] < time_ns else None
