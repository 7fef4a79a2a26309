"""Headlines as Alpaca's news feed shows them: articles with a number, created once, perhaps updated.

An article that comes again under the same id is an update: it keeps its number and the time of its creation,
and only its latest form is left for REST, as there. Ids that are no numbers get one, the same for the same
list of headlines. Symbols of coins are written without a slash: BTCUSD.
"""

from __future__ import annotations

import zlib
from html import escape
from typing import Any

from engine.model.kinds import NewsData
from engine.serve.alpaca_history import Key
from engine.serve.alpaca_wire import Stamp
from engine.serve.news_source import Headline

NEWS_STREAM = "news@"  # of the source's events
_FIRST_ID = 30_000_000
_DESK = "Local Desk"


class NewsDesk:
    """All articles so far. `keep_times`: they keep the times of their publication."""

    def __init__(self, *, keep_times: bool = False) -> None:
        self._keep_times = keep_times
        self._articles: dict[int, dict[str, Any]] = {}
        self._numbers: dict[str, int] = {}
        self._taken: set[int] = set()

    def publish(self, payload: dict[str, Any], now_ns: int) -> tuple[dict[str, Any], list[str]]:
        """An article of the source comes out: as it is shown, and the streams that it belongs to."""
        headline: Headline = payload["headline"]
        news = headline.news
        number = self._number(news.id)
        at_ns = headline.published_ns if self._keep_times else now_ns
        before = self._articles.get(number)
        created = before["created_at"] if before else Stamp(at_ns)
        article = _article(number, news, created, Stamp(max(at_ns, created.ns + 1) if before else at_ns))
        self._articles[number] = article
        return article, ["news@*", *(f"news@{symbol}" for symbol in article["symbols"])]

    def articles(self, symbols: set[str], start_ns: int, end_ns: int) -> list[tuple[Key, dict[str, Any]]]:
        """Those of any of the symbols, or all, last updated between two times, oldest first."""
        found = [
            ((article["updated_at"].ns, number), article)
            for number, article in self._articles.items()
            if start_ns <= article["updated_at"].ns <= end_ns
            and (not symbols or symbols & set(article["symbols"]))
        ]
        return sorted(found, key=lambda item: item[0])

    def _number(self, name: str) -> int:
        if name in self._numbers:
            return self._numbers[name]
        if name.isascii() and name.isdecimal() and len(name) <= 15:
            number = int(name)
        else:
            number = _FIRST_ID + zlib.crc32(name.encode()) % _FIRST_ID
        while number in self._taken:
            number += 1
        self._taken.add(number)
        self._numbers[name] = number
        return number


def _article(number: int, news: NewsData, created: Stamp, updated: Stamp) -> dict[str, Any]:
    return {
        "id": number,
        "headline": news.headline,
        "summary": news.summary,
        "author": _DESK,
        "created_at": created,
        "updated_at": updated,
        "url": news.url or f"https://news.example/{number}",
        "content": f"<p>{escape(news.summary or news.headline)}</p>",
        "symbols": list(dict.fromkeys(map(news_symbol, news.symbols))),
        "source": news.source or "local",
    }


def news_symbol(symbol: str) -> str:
    """A symbol as articles name it: BTC/USD and BTCUSDT are BTCUSD."""
    plain = symbol.replace("/", "").upper()
    return plain.removesuffix("T") if plain.endswith("USDT") else plain
