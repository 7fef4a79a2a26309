"""Asks a venue for its history as fast as it allows, and no faster: GET, limits, and trying again.

What a venue allows it says itself: Binance in exchangeInfo and in `X-MBX-USED-WEIGHT-1M` on every answer (a
minute is a minute of the venue's clock, and everybody behind one address shares it), Alpaca in
`X-RateLimit-Remaining` and `X-RateLimit-Reset`. A fetch leaves a fifth of Binance's weight to others, such as
a recorder beside it, waits for the next window before it would exceed the rest, and obeys Retry-After on 429
and 418. A network that fails, a status of 5xx and an answer that is none are tried again, later and later; a
refusal that will not change (an unknown symbol, a wrong key) is not.

Keys travel in headers to the venue's own address alone: redirects are not followed. A server may repeat them,
in an error or in a good answer: nobody behind this module sees more of them than stars.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from engine.feed.parser import DECODE_FAILURES, Malformed
from engine.live.http_client import http_client
from engine.live.redact import KNOWN
from engine.live.refusal import is_loopback
from engine.live.rest import Refused
from engine.model.errors import UsageError, VenueError

if TYPE_CHECKING:
    import httpx2

SHARE = 0.8  # of the venue's weight limit
ATTEMPTS = 8
BACKOFF_S, BACKOFF_MOST_S = 1.0, 60.0
PATIENCE_S = 600.0  # a longer ban ends the fetch; it can be started again afterwards
_BANNED = {418, 429}
_AGAIN = "what has come is kept: start it again, and it goes on there"
_REACH = f"check the address and the network. {_AGAIN[0].upper()}{_AGAIN[1:]}"
_SHOWN = 120

Headers = Mapping[str, str]


class Answer(msgspec.Struct, frozen=True):
    """What came back: any status. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


Transport = Callable[[str], Awaitable[Answer]]  # a path and query; raises OSError or TimeoutError


class Clock(msgspec.Struct, frozen=True):
    """Time and waiting; tests have their own."""

    now_s: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Http:
    """The transport over a network: one venue, one address, headers that go with every request."""

    def __init__(self, base: str, headers: Headers, *, timeout_s: float = 30.0) -> None:
        self.base = base.rstrip("/")
        self._headers = dict(headers)
        self._timeout_s = timeout_s
        self._client: httpx2.AsyncClient | None = None

    async def __call__(self, path: str) -> Answer:
        """One GET. Raises OSError or TimeoutError where nothing came back, UsageError for the proxy."""
        import httpx2

        if self._client is None:
            self._client = http_client(
                timeout_s=self._timeout_s, loopback=is_loopback(self.base), headers=self._headers
            )
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._client.get(self.base + path)
        except httpx2.TimeoutException:
            raise TimeoutError from None
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise OSError(str(error) or type(error).__name__) from None
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, response.content)

    async def close(self) -> None:
        """Close the connection that was kept open."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


class Allowance:
    """How much may still be asked for, by what the venue said last."""

    def __init__(self, clock: Clock) -> None:
        self.weight_limit = 0  # a minute; 0: the venue has not said
        self.used = 0
        self.ahead_s = 0.0  # the venue's clock against ours
        self._clock = clock
        self._minute = -1
        self._blocked_until = 0.0

    def wait_s(self, weight: int) -> float:
        """How long to wait before a request of this weight."""
        now = self._clock.now_s()
        wait = max(self._blocked_until - now, 0.0)
        venue_now = now + self.ahead_s
        full = self.weight_limit and self.used + weight > self.weight_limit * SHARE
        if full and int(venue_now // 60) == self._minute:
            wait = max(wait, 60 - venue_now % 60 + 0.05)
        return wait

    def heard(self, headers: Headers) -> None:
        """Take what an answer says of the limits."""
        now = self._clock.now_s()
        used = _number(headers.get("x-mbx-used-weight-1m") or headers.get("x-mbx-used-weight"))
        if used is not None:
            self.used, self._minute = int(used), int((now + self.ahead_s) // 60)
        remaining, reset = (
            _number(headers.get(name)) for name in ("x-ratelimit-remaining", "x-ratelimit-reset")
        )
        if remaining is not None and remaining < 1 and reset is not None:
            self._blocked_until = max(self._blocked_until, min(reset, now + 120.0) + 0.05)


class Client:
    """GET with limits and patience. `requests`, `retries` and `on_wait` are for whoever shows progress."""

    def __init__(
        self,
        transport: Transport,
        base: str,
        *,
        clock: Clock | None = None,
        weight_of: Callable[[str], int] = lambda _path: 1,
    ) -> None:
        self.base = base
        self.requests = 0
        self.retries = 0
        self.on_wait: Callable[[float], None] = lambda _seconds: None  # told when a wait begins and ends
        self.on_trouble: Callable[[str], None] = lambda _words: None  # told why it is going to ask again
        self.clock = clock or Clock()
        self.allowance = Allowance(self.clock)
        self._transport = transport
        self._weight_of = weight_of
        self._chance = random.Random()  # noqa: S311  of the jitter alone

    async def get(self, path: str, take: Callable[[bytes], object]) -> bytes:
        """The body of a good answer that `take` accepts (it raises Malformed for what is none).

        Raises VenueError when patience is at its end, Refused for what asking again cannot change.
        """
        failed = banned = 0
        while True:
            await self._wait(self.allowance.wait_s(self._weight_of(path)))
            self.requests += 1
            try:
                answer = await self._transport(path)
                self.allowance.heard(answer.headers)
                body = self._good(path, answer)
                take(body)
            except _Banned as ban:
                banned += 1
                if ban.wait_s > PATIENCE_S or banned > ATTEMPTS:
                    raise Refused(
                        f"{ban.words}, and asks to wait {ban.wait_s:,.0f} s",
                        hint=f"wait that long, and ask for less at a time; {_AGAIN}",
                        status=ban.status,
                        retry_after_s=ban.wait_s,
                    ) from None
                await self._wait(ban.wait_s)
            except _Passing as trouble:
                failed = await self._again(failed, str(trouble))
            except TimeoutError:
                failed = await self._again(failed, f"{self.base}{path} did not answer in time")
            except OSError as error:
                failed = await self._again(failed, f"{self.base}{path} cannot be reached ({error})")
            except Malformed as problem:
                field = f" ({problem.data.field}: {problem.data.value})" if problem.data.field else ""
                words = f"{self.base}{path} answered what is no such page: {problem}{field}"
                failed = await self._again(failed, words)
            else:
                return body

    async def _again(self, failed: int, words: str) -> int:
        words = KNOWN.text(words)
        failed += 1
        self.retries += 1
        if failed >= ATTEMPTS:
            raise VenueError(f"{words}; tried {failed} times", hint=_REACH)
        if failed == 1:
            self.on_trouble(words)
        wait = min(BACKOFF_S * 2 ** (failed - 1), BACKOFF_MOST_S)
        await self._wait(wait * self._chance.uniform(0.5, 1.0))
        return failed

    async def _wait(self, seconds: float) -> None:
        if seconds > 0:
            self.on_wait(seconds)
            await self.clock.sleep(seconds)
            self.on_wait(0.0)

    def _good(self, path: str, answer: Answer) -> bytes:
        where, status, body = f"{self.base}{path}", answer.status, KNOWN.body(answer.body)
        page = "html" in answer.headers.get("content-type", "") or body.lstrip()[:1] == b"<"
        if status in _BANNED:
            seconds = _number(answer.headers.get("retry-after"))
            raise _Banned(f"{where} answered HTTP {status}", status, 60.0 if seconds is None else seconds)
        if status >= 500:
            raise _Passing(f"{where} answered HTTP {status}")
        if page:
            raise Refused(
                f"{where} answered HTTP {status} with an HTML page instead of JSON",
                hint="the address is not this venue's, or a proxy or login page stands between",
                status=status,
            )
        if status != 200:
            code, words = _venue_error(body)
            raise Refused(
                f"{where} answered HTTP {status}: {words}", hint=_hint(status), status=status, code=code
            )
        return body


class _Banned(Exception):
    """Asked too much. Never leaves this module."""

    def __init__(self, words: str, status: int, wait_s: float) -> None:
        super().__init__(words)
        self.words, self.status, self.wait_s = words, status, max(wait_s, 0.0)


class _Passing(Exception):
    """A trouble that may pass. Never leaves this module."""


class _Error(msgspec.Struct):
    code: int = 0
    msg: str = ""
    message: str = ""


def _venue_error(body: bytes) -> tuple[int, str]:
    try:
        error = msgspec.json.decode(body, type=_Error)
    except DECODE_FAILURES:
        error = _Error()
    words = error.msg or error.message or body[:_SHOWN].decode("utf-8", "replace") or "(nothing)"
    return error.code, f"{words[:_SHOWN]} (code {error.code})" if error.code else words[:_SHOWN]


def _hint(status: int) -> str:
    if status in {401, 403, 451}:
        return "the venue refuses this machine's address, its country, or the keys: check both of them"
    if 300 <= status < 400:
        return "redirects are not followed: name the address itself with --url"
    return "the request is as this version knows the venue; --url may point at something else"


def _number(text: str | None) -> float | None:
    """A header's number; None for none, and for what is none."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def base_of(url: str, own: str) -> str:
    """Where REST is: the venue's own address, or what --url says. UsageError for what is no address."""
    if not url:
        return own
    schemes = {"ws": "http", "http": "http", "wss": "https", "https": "https"}
    try:
        parts = urlsplit(url)
        scheme, host, _ = schemes.get(parts.scheme, ""), parts.hostname, parts.port
    except ValueError:
        scheme, host = "", None
    if not scheme or not host or parts.username is not None or parts.query or parts.fragment:
        raise UsageError("--url is not an address", hint="write http://127.0.0.1:9443 or https://host")
    return f"{scheme}://{parts.netloc}{parts.path}".rstrip("/")
