"""A news endpoint on this machine: headlines of a file, released over time, for whoever polls.

    GET /news?last=10&symbol=BTCUSDT                   newest first
    GET /stable/stock/BTCUSDT/news/last/5              the same, as IEX Cloud wrote it
    GET /stable/stock/market/news/last/5

Answers have the shape that IEX Cloud's news had, without an id. They carry an ETag and, when that is exact,
a Last-Modified, and are 304 for those who have them already. Time runs from the first request on, so that it
does not matter when somebody comes.

Last-Modified counts whole seconds: two changes within one would look alike. It is left out until the second
of the latest change is over; the ETag has no such trouble.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate, parsedate_to_datetime
from hashlib import blake2b
from urllib.parse import parse_qs, unquote

import msgspec

from engine.model.units import MILLISECOND_NS, SECOND_NS
from engine.serve.http import Exchange, HttpRequest, HttpServer
from engine.serve.local_api import LocalApi
from engine.serve.news_faults import NewsFault
from engine.serve.news_release import SHOWN_MAX, Releases, Shown
from engine.serve.rest import Reply

PATH = "/news"
LAST = 10
_DIGITS = 4  # of the most that can be asked for
_MARKET = "market"
_STOCKS = "/stable/stock/"
_encode = msgspec.json.Encoder().encode


class LocalNews(LocalApi):
    """The endpoint while it is entered: `async with LocalNews(releases) as news: news.url`.

    Args:
        releases: what is shown when.
        host, port: where to listen; port 0 takes a free one.
        faults: what requests meet, each deciding for itself; edits are the business of `releases`.
        seed: of the faults.
        now_ns: wall time, which must not go back.

    Attributes:
        requests: requests that came, however they ended.
        not_modified: of them, those that were told that they have everything.
    """

    def __init__(
        self,
        releases: Releases,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: tuple[NewsFault, ...] = (),
        seed: int = 7,
        now_ns: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(HttpServer(self._handle, host=host, port=port))
        self.releases = releases
        self.not_modified = 0
        self._faults = faults
        self._seed = seed
        self._now_ns = now_ns or _steady_clock()

    @property
    def url(self) -> str:
        """What a client polls."""
        return self._http.url + PATH

    async def _handle(self, exchange: Exchange) -> None:
        self._count()
        now_ns = self._now_ns()
        self.releases.advance(now_ns)
        fault = next((f for f in self._faults if f.strikes(self.requests, self._seed)), None)
        name = "" if fault is None else fault.name
        if fault is not None and name == "stall":
            if not fault.duration_ns:
                await exchange.hang()
                return
            await asyncio.sleep(fault.duration_ns / SECOND_NS)
        elif fault is not None and name == "429":
            wait = f"{fault.duration_ns / SECOND_NS:g}"
            await exchange.send(_error(429, "Too many requests, on purpose.", [("Retry-After", wait)]))
            return
        elif name == "500":
            await exchange.send(_error(500, "Out of order, on purpose."))
            return
        reply = self._reply(exchange.request, now_ns)
        if name == "malformed" and reply.status == 200:
            reply = Reply(200, [("Content-Type", "application/json")], reply.body[: len(reply.body) // 2])
        await exchange.send(reply)

    def _reply(self, request: HttpRequest, now_ns: int) -> Reply:
        if request.method != "GET":
            return _error(405, f"{request.method} is not served here.", [("Allow", "GET")])
        asked = _asked(request)
        if asked is None:
            return _error(404, f"{request.path} is not served here; {PATH} is.")
        last, symbol = asked
        if not (last.isdecimal() and len(last) <= _DIGITS and 1 <= int(last) <= SHOWN_MAX):
            return _error(400, f"last={last[:20]}: a number from 1 to {SHOWN_MAX}.")
        shown = self.releases.newest(int(last), "" if symbol.lower() == _MARKET else symbol)
        body = _encode([_item(each) for each in shown])
        etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
        headers = [("ETag", etag)]
        changed_s = max((each.changed_ns for each in shown), default=now_ns) // SECOND_NS
        if changed_s < now_ns // SECOND_NS:
            headers.append(("Last-Modified", formatdate(changed_s, usegmt=True)))
        if _has_it(request, etag, changed_s):
            self.not_modified += 1
            return Reply(304, headers, b"")
        return Reply(200, [("Content-Type", "application/json"), *headers], body)


def _asked(request: HttpRequest) -> tuple[str, str] | None:
    """How many, and of which symbol; None for a path that is not ours."""
    query = parse_qs(request.query)
    last = query.get("last", [str(LAST)])[-1]
    path = request.path.rstrip("/")
    if path == PATH:
        return last, query.get("symbol", [""])[-1]
    if path.startswith(_STOCKS):
        match [unquote(part) for part in path.removeprefix(_STOCKS).split("/")]:
            case [symbol, "news"] if symbol:
                return last, symbol
            case [symbol, "news", "last", number] if symbol:
                return number, symbol
    return None


def _item(shown: Shown) -> dict[str, str | int | bool]:
    news = shown.news
    return {
        "datetime": shown.datetime_ns // MILLISECOND_NS,
        "headline": news.headline,
        "source": news.source,
        "url": news.url,
        "summary": news.summary,
        "related": ",".join(news.symbols),
        "image": "",
        "lang": "en",
        "hasPaywall": False,
    }


def _has_it(request: HttpRequest, etag: str, changed_s: int) -> bool:
    """Whether the client has this very answer; an ETag, where it sends one, decides alone."""
    tags = request.headers.get("if-none-match")
    if tags is not None:
        return any(tag.strip().removeprefix("W/") in {etag, "*"} for tag in tags.split(","))
    since = request.headers.get("if-modified-since")
    if since is None:
        return False
    try:
        return parsedate_to_datetime(since).timestamp() >= changed_s
    except (ValueError, OverflowError):
        return False


def _error(status: int, text: str, headers: list[tuple[str, str]] | None = None) -> Reply:
    return Reply(status, [("Content-Type", "application/json"), *(headers or [])], _encode({"error": text}))


def _steady_clock() -> Callable[[], int]:
    """Wall time from now on, which goes on evenly whatever is done to the system's clock."""
    began_ns = time.time_ns() - time.monotonic_ns()
    return lambda: began_ns + time.monotonic_ns()
