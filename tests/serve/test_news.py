"""The local news endpoint over HTTP: answers, conditions, paths, mistakes, faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from engine.model.kinds import NewsData
from engine.model.units import SECOND_NS
from engine.serve.news import LocalNews
from engine.serve.news_faults import parse_news_faults
from engine.serve.news_release import Releases
from engine.serve.news_source import Headline

LIMIT_S = 20.0
BEGAN = 1_717_200_000 * SECOND_NS + 250_000_000
FIELDS = {"datetime", "headline", "source", "url", "summary", "related", "image", "lang", "hasPaywall"}


def headlines(count: int) -> list[Headline]:
    """One each second, of BTCUSDT, and every third of ETHUSDT, too."""
    return [
        Headline(
            n * SECOND_NS,
            n * SECOND_NS,
            NewsData(
                id=f"n{n}",
                headline=f"Headline {n}",
                summary="s",
                source="w",
                symbols=("BTCUSDT", "ETHUSDT") if n % 3 == 0 else ("BTCUSDT",),
            ),
        )
        for n in range(count)
    ]


class Client:
    """Asks the endpoint, on a clock that a test turns."""

    def __init__(self, news: LocalNews, http: httpx2.AsyncClient, clock: list[int]) -> None:
        self.news = news
        self.http = http
        self._clock = clock

    def at(self, second: float) -> None:
        """Let it be so many seconds after the beginning."""
        self._clock[0] = BEGAN + int(second * SECOND_NS)

    async def get(self, path: str = "/news", **headers: str) -> httpx2.Response:
        """One request; `_` in names of headers is `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.get(f"http://127.0.0.1:{self.news.port}{path}", headers=named)

    async def numbers(self, path: str = "/news") -> list[int]:
        """The headlines shown, by their numbers."""
        return [int(item["headline"].split()[1]) for item in (await self.get(path)).json()]


def play(
    story: Callable[[Client], Awaitable[None]],
    *,
    count: int = 30,
    faults: tuple[str, ...] = (),
    **options: Any,
) -> LocalNews:
    """Run a story with an endpoint and a client of it."""

    async def run() -> LocalNews:
        clock = [BEGAN]
        requests, edits = parse_news_faults(faults)
        releases = Releases(headlines(count), edits=edits, **options)
        news = LocalNews(releases, faults=requests, now_ns=lambda: clock[0])
        async with (
            news,
            httpx2.AsyncClient(trust_env=False, timeout=LIMIT_S) as http,
            asyncio.timeout(LIMIT_S),
        ):
            await story(Client(news, http, clock))
        return news

    return asyncio.run(run())


def test_headlines_appear_one_after_the_other() -> None:
    """Newest first, at most ten unless told; every field of the shape; the time is that of appearing."""

    async def story(client: Client) -> None:
        assert await client.numbers() == [0]
        client.at(3)
        assert await client.numbers() == [3, 2, 1, 0]
        assert await client.numbers("/news?last=2") == [3, 2]
        client.at(1_000)
        assert await client.numbers() == list(range(29, 19, -1))
        assert len(await client.numbers("/news?last=1000")) == 30
        response = await client.get("/news?last=1000")
        assert response.headers["content-type"] == "application/json"
        last = response.json()[-1]
        assert last.keys() == FIELDS
        assert last["datetime"] == BEGAN // 1_000_000
        assert (last["related"], last["url"]) == ("BTCUSDT,ETHUSDT", "https://news.example/n0")

    play(story)


def test_the_paths_of_iex_cloud() -> None:
    """By symbol, in any case, and of the whole market; with and without a number."""

    async def story(client: Client) -> None:
        await client.get()
        client.at(9)
        assert await client.numbers("/stable/stock/ethusdt/news/last/2") == [9, 6]
        assert await client.numbers("/stable/stock/ETHUSDT/news") == [9, 6, 3, 0]
        assert await client.numbers("/stable/stock/market/news/last/3?token=any") == [9, 8, 7]
        assert await client.numbers("/news?symbol=ETHUSDT&last=1") == [9]
        assert await client.numbers("/stable/stock/XYZ/news/last/3") == []

    play(story)


def test_who_has_it_already_is_told_so() -> None:
    """By ETag, also in a list or weak; a new headline is another answer, and so is another path."""

    async def story(client: Client) -> None:
        first = await client.get()
        tag = first.headers["etag"]
        for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = await client.get(if_none_match=sent)
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert (await client.get(if_none_match='"other"')).status_code == 200
        assert (await client.get("/news?symbol=none", if_none_match=tag)).status_code == 200
        client.at(1)
        changed = await client.get(if_none_match=tag)
        assert (changed.status_code, len(changed.json())) == (200, 2)
        assert client.news.not_modified == 4

    play(story)


def test_last_modified_is_only_said_when_it_is_exact() -> None:
    """Within the second of a change a date could hide the next one, so there is none."""

    async def story(client: Client) -> None:
        assert "last-modified" not in (await client.get()).headers  # at a quarter past the second
        client.at(0.75)
        said = (await client.get()).headers["last-modified"]
        assert said == "Sat, 01 Jun 2024 00:00:00 GMT"
        assert (await client.get(if_modified_since=said)).status_code == 304
        assert (await client.get(if_modified_since="Fri, 31 May 2024 23:59:59 GMT")).status_code == 200
        assert (await client.get(if_modified_since="yesterday")).status_code == 200
        assert (await client.get(if_modified_since=said, if_none_match='"other"')).status_code == 200
        client.at(1)
        assert (await client.get(if_modified_since=said)).status_code == 200

    play(story)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/news?last=0", 400),
        ("/news?last=1001", 400),
        ("/news?last=-1", 400),
        ("/news?last=ten", 400),
        ("/news?last=" + "0" * 5_000, 400),
        ("/stable/stock/BTC/news/last/x", 400),
        ("/stable/stock/BTC/quote", 404),
        ("/stable/stock//news", 404),
        ("/stable/stock/BTC/news/first/1", 404),
        ("/", 404),
        ("/newsletter", 404),
    ],
    ids=lambda value: str(value)[:30],
)
def test_mistakes_are_answered(path: str, status: int) -> None:
    """A status and a word of why, as JSON."""

    async def story(client: Client) -> None:
        response = await client.get(path)
        assert response.status_code == status
        assert response.json()["error"]

    play(story)


def test_only_get_is_served() -> None:
    """Other methods are told so."""

    async def story(client: Client) -> None:
        response = await client.http.post(client.news.url, content=b"{}")
        assert (response.status_code, response.headers["allow"]) == (405, "GET")

    play(story)


def test_faults_strike_requests() -> None:
    """Too many requests with a wait, an error, half a list; then all is well."""

    async def story(client: Client) -> None:
        limited = await client.get()
        assert (limited.status_code, limited.headers["retry-after"]) == (429, "2.5")
        assert (await client.get()).status_code == 500
        half = await client.get()
        assert half.status_code == 200
        assert "etag" not in half.headers
        with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
            half.json()
        assert await client.numbers() == [0]

    play(story, faults=("429:2.5s:first1", "500:first2", "malformed:first3"))


def test_a_stalled_request() -> None:
    """Without a duration no answer ever comes; with one it comes after it."""

    async def story(client: Client) -> None:
        hanging = asyncio.ensure_future(client.get())
        await client.news.wait_requests(1)
        assert await client.numbers() == [0]
        assert not hanging.done()
        hanging.cancel()
        await asyncio.wait((hanging,))

    play(story, faults=("stall:first1", "stall:1ms:first2"))


def test_an_edited_headline_is_another_answer() -> None:
    """The same item with another text: the tag changes, the date too."""

    async def story(client: Client) -> None:
        tag = (await client.get()).headers["etag"]
        client.at(5)
        response = await client.get(if_none_match=tag)
        (edited,) = response.json()
        assert edited["headline"] == "Headline 0 (corrected)"
        assert edited["datetime"] == BEGAN // 1_000_000
        client.at(6)
        assert (await client.get()).headers["last-modified"] == "Sat, 01 Jun 2024 00:00:05 GMT"

    play(story, count=1, faults=("edit:5s",))
