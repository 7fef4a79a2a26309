"""One conditional request: what came of asking an address whether there is something new.

The answer to the last good request is remembered by its validators (ETag, Last-Modified), so that an
endpoint that has nothing new says so in a few bytes. Only a status 200 has a body that leaves this module,
and never more than `most_bytes` of it: it is read piece by piece and given up beyond. Compression is not
asked for, so that a small answer cannot become a large one.

A redirect is followed only where it stays on the host (see Address.allows): an answer of another host, or one
that came without encryption, is not what the user named. With credentials in the headers none is followed.

Validators belong to one address and query: what is asked with another query is asked for whole.

Everything else is a `Refused`, in words in which nothing secret stands.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import msgspec

from engine.live.address import Address
from engine.live.credentials import Secret
from engine.live.http_client import http_client
from engine.live.refusal import hint_of_status
from engine.live.rest import Refused

if TYPE_CHECKING:
    import httpx2

RETRY_AFTER_MAX_S = 3_600.0  # a server may ask for any wait; longer ones are asked again after this one
REDIRECTS_MAX = 5
_VALIDATOR_MAX = 1_024
_REDIRECTS = {301, 302, 303, 307, 308}
_CHECK_HINT = "check the address and the network"
_REDIRECT_HINT = "name that address, if it is the right one"


class Answer(msgspec.Struct, frozen=True):
    """A good answer: a body, or None where there is nothing new. The validators belong to the body."""

    body: bytes | None
    etag: str = ""
    modified: str = ""
    url: str = ""  # that it is an answer of


class Conditional:
    """Asks one address. `keep` an answer, and the next one is asked for only if it is another."""

    def __init__(
        self,
        address: Address,
        *,
        timeout_s: float,
        most_bytes: int,
        accept: str = "application/json",
        headers: Mapping[str, Secret] | None = None,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        """`timeout_s` is for a whole answer, redirects included; `headers` are the credentials, if any."""
        self.address = address
        self._timeout_s = timeout_s
        self._most_bytes = most_bytes
        self._accept = accept
        self._secret = dict(headers or {})
        self._wall_s = wall_s
        self._kept = Answer(None)
        self._client: httpx2.AsyncClient | None = None

    async def ask(self, query: str = "") -> Answer:
        """One request, with this query beside the address's own. Raises Refused; UsageError for the proxy."""
        import httpx2

        shown = self.address.shown
        if self._client is None:
            self._client = http_client(timeout_s=self._timeout_s, loopback=self.address.loopback)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(self._client, self.address.with_query(query))
        except (TimeoutError, httpx2.TimeoutException):
            raise Refused(f"{shown} did not answer within {self._timeout_s:g} s", hint=_CHECK_HINT) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            words = self.address.clean(str(error)) or type(error).__name__
            raise Refused(f"{shown} cannot be reached ({words})", hint=_CHECK_HINT) from None

    def keep(self, answer: Answer) -> None:
        """Ask from now on only for what is not this answer."""
        self._kept = answer

    async def close(self) -> None:
        """Close the connection that was kept open."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _follow(self, client: httpx2.AsyncClient, first: str) -> Answer:
        url = first
        for _ in range(REDIRECTS_MAX + 1):
            async with client.stream("GET", url, headers=self._headers(first)) as response:
                if response.status_code not in _REDIRECTS:
                    return await self._answer(response, first)
                target = urljoin(url, response.headers.get("Location", ""))
            if self._secret or not self.address.allows(target):
                where = self.address.clean(target.partition("?")[0]) or "nowhere"
                raise Refused(
                    f"{self.address.shown} redirects to {where}, which is not followed",
                    hint=_REDIRECT_HINT,
                    status=response.status_code,
                )
            url = target
        raise Refused(f"{self.address.shown} redirects more than {REDIRECTS_MAX} times", hint=_CHECK_HINT)

    def _headers(self, url: str) -> dict[str, str]:
        headers = {"Accept": self._accept, "Accept-Encoding": "identity"}
        headers |= {name: secret.reveal() for name, secret in self._secret.items()}
        if self._kept.url == url and self._kept.etag:
            headers["If-None-Match"] = self._kept.etag
        if self._kept.url == url and self._kept.modified:
            headers["If-Modified-Since"] = self._kept.modified
        return headers

    async def _answer(self, response: httpx2.Response, url: str) -> Answer:
        status, shown = response.status_code, self.address.shown
        if status == 304 and self._kept.url == url and (self._kept.etag or self._kept.modified):
            return Answer(None)
        if status != 200:
            page = " with an HTML page" if "html" in response.headers.get("Content-Type", "") else ""
            raise Refused(
                f"{shown} answered HTTP {status}{page}",
                hint=hint_of_status(status),
                status=status,
                retry_after_s=self._retry_after_s(response.headers.get("Retry-After")),
            )
        body = bytearray()
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > self._most_bytes:
                raise Refused(
                    f"{shown} answered more than {self._most_bytes:,} bytes, which is not read",
                    hint="ask for less, if the address can say how much",
                    status=status,
                )
        return Answer(
            self.address.clean_bytes(bytes(body)),
            _sendable(response.headers.get("ETag", "")),
            _sendable(response.headers.get("Last-Modified", "")),
            url,
        )

    def _retry_after_s(self, text: str | None) -> float:
        """Seconds of a Retry-After header, of either form; 0 for none and for what is neither."""
        try:
            seconds = float(text or 0)
        except ValueError:
            try:
                seconds = parsedate_to_datetime(text or "").timestamp() - self._wall_s()
            except (ValueError, OverflowError):
                return 0.0
        return min(max(0.0, seconds), RETRY_AFTER_MAX_S) if not math.isnan(seconds) else 0.0


def _sendable(value: str) -> str:
    """A validator that can be sent back; "" for one that no header can hold."""
    return value if value.isascii() and value.isprintable() and len(value) <= _VALIDATOR_MAX else ""
