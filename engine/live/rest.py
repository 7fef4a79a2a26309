"""REST requests to a venue: one GET, and what its failure means.

Only the body of a good answer leaves this module; everything else is a `Refused` that says which address,
which status, how long to wait and what to do. A page of HTML with status 200 (a login page, a captive
portal, a proxy) is a refusal too. Nothing is repeated here once anything has begun: who asks knows whether
asking again makes sense, and writes the row. Before that a venue that limits is waited for.

"Come back in a minute" is said to all of us, whoever asked: until then every request waits. Several books
that are asked for at the same time would otherwise break each other's ban again and again, and venues double
it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from engine.feed.parser import DECODE_FAILURES
from engine.live.ban import Ban
from engine.live.http_client import http_client
from engine.live.redact import KNOWN
from engine.live.refusal import FIRST_WAITS, REACH_HINT, hint_of_status, is_loopback, is_soon, retry_after_of
from engine.model.errors import VenueError

if TYPE_CHECKING:
    import httpx2

_PIECES = 6  # times the limit for a part of an answer: for all of it
_SHOWN = 120  # characters of an answer that an error repeats
_MINUTE_S = 60
_WEIGHT_DIGITS = 18  # more are no weight


class Refused(VenueError):
    """A request that brought no answer: `status` is 0 when nothing was answered at all."""

    def __init__(
        self, message: str, *, hint: str = "", status: int = 0, code: int = 0, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(KNOWN.text(message), hint=hint)
        self.status = status
        self.code = code  # the venue's own, -1121 for an unknown symbol
        self.retry_after_s = retry_after_s


class Rest:
    """A venue's REST interface under one address."""

    def __init__(self, base: str, *, timeout_s: float = 10.0) -> None:
        self.base = base.rstrip("/")
        self.weight_per_minute = 0  # of requests, where the venue weighs them; 0: not known
        self.weight_used = 0  # of this minute, as the venue's last answer says; 0: it does not say
        self._minute = -1  # when it said so
        self._timeout_s = timeout_s
        self.ban = Ban()  # of the venue's: its connections know it as well
        self._client: httpx2.AsyncClient | None = None

    async def spare(self, share: float) -> None:
        """Wait for the next minute while more than this share of a minute's weight is used.

        Windows begin with the minute.
        """
        while (  # noqa: ASYNC110  time has no event
            self.weight_per_minute
            and self.weight_used > share * self.weight_per_minute
            and int(time.time()) // _MINUTE_S == self._minute
        ):
            await asyncio.sleep(_MINUTE_S - time.time() % _MINUTE_S)

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> bytes:
        """The body of a good JSON answer; raises Refused for anything else. `path` may have a query.

        `headers` may hold a key: they go to this address alone, and redirects are not followed with them.

        Raises UsageError for a proxy in the environment that cannot be used.

        A venue that limits limits a whole address: what one request was told of when to come back holds for
        all, or each that comes too soon would make the wait of all others longer.
        """
        import httpx2

        await self.ban.over()
        if self._client is None:
            self._client = http_client(
                timeout_s=self._timeout_s, loopback=is_loopback(self.base), follow_redirects=True
            )
        where = f"{self.base}{path}"
        try:
            # The client's own limit is between two pieces of an answer: one that drips would never end.
            async with asyncio.timeout(_PIECES * self._timeout_s):
                response = await self._client.get(where, headers=headers, follow_redirects=not headers)
        except httpx2.TimeoutException:
            raise Refused(f"{where} did not answer within {self._timeout_s:g} s", hint=REACH_HINT) from None
        except TimeoutError:
            words = f"did not come to the end of its answer within {_PIECES * self._timeout_s:g} s"
            raise Refused(f"{where} {words}", hint=REACH_HINT) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise Refused(
                f"{where} cannot be reached ({error or type(error).__name__})", hint=REACH_HINT
            ) from None
        weight = response.headers.get("X-MBX-USED-WEIGHT-1M", "")
        self.weight_used = int(weight) if weight.isdecimal() and len(weight) <= _WEIGHT_DIGITS else 0
        self._minute = int(time.time()) // _MINUTE_S
        body = KNOWN.body(response.content)
        retry_after_s = 0.0
        if response.status_code != 200:  # whatever the page looks like
            retry_after_s = retry_after_of(response.headers.get("Retry-After"))
            self.ban.note(retry_after_s)
        kind = response.headers.get("Content-Type", "")
        if "html" in kind or body.lstrip()[:1] == b"<":
            raise Refused(
                f"{where} answered HTTP {response.status_code} with an HTML page instead of JSON",
                hint=hint_of_status(response.status_code),
                status=response.status_code,
                retry_after_s=retry_after_s,
            )
        if response.status_code != 200:
            code, words = _venue_error(body)
            raise Refused(
                f"{where} answered HTTP {response.status_code}: {words}",
                hint=hint_of_status(response.status_code),
                status=response.status_code,
                code=code,
                retry_after_s=retry_after_s,
            )
        return body

    async def get_patiently(self, path: str) -> bytes:
        """As `get`, but a venue that limits, and says when to come back, within a minute, is waited for."""
        for _ in range(FIRST_WAITS):
            try:
                return await self.get(path)
            except Refused as refusal:
                if not is_soon(refusal.retry_after_s):
                    raise
        return await self.get(path)

    async def close(self) -> None:
        """Close the connections that were kept open."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


class _VenueError(msgspec.Struct):
    code: int = 0
    msg: str = ""


def _venue_error(body: bytes) -> tuple[int, str]:
    """Code and words of a venue's own error object, or the beginning of whatever came."""
    try:
        error = msgspec.json.decode(body, type=_VenueError)
    except DECODE_FAILURES:
        error = _VenueError()
    if not error.msg:  # another's JSON, or none
        return error.code, body[:_SHOWN].decode("utf-8", "replace") or "(nothing)"
    return error.code, f"{error.msg} (code {error.code})"
