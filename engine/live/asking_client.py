"""One call of the Messages API: the library's client, its key, and what a failed call means.

The library makes one attempt and nothing else: it neither retries (every attempt is recorded by whoever
calls) nor reads the answer (its raw bytes are kept). It is an extra, and importing it takes most of a second:
it is imported in a thread when the first question is asked, or ahead of that by `open`.

The key comes from the configuration, or from where credentials stand (engine.live.credentials), and goes to
the configured address alone: redirects are not followed, and only this machine may be talked to without
encryption. A local server needs no key, and is never behind a proxy. No text that leaves this module has the
key in it.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import msgspec

from engine.answers.breaker import BreakerSettings
from engine.answers.retry import BackOff, Failure, retry_after_ns
from engine.live.credentials import Secret, required
from engine.live.redact import HIDDEN, KNOWN
from engine.live.refusal import is_loopback
from engine.model.errors import UsageError
from engine.model.units import SECOND_NS

ADDRESS = "https://api.anthropic.com"
KEY_VARIABLE = "ANTHROPIC_API_KEY"
ADDRESS_VARIABLE = "ANTHROPIC_BASE_URL"
HEADERS_VARIABLE = "ANTHROPIC_CUSTOM_HEADERS"  # of a company's own proxy: may hold secrets
LOCAL_KEY = "local"  # for this machine's own server, which asks for none
MAX_CONCURRENCY = 256
MAX_ATTEMPTS = 20
_SHOWN = 300  # characters of the API's words that an error repeats
# What looks like a key or a header that carries one, whoever's it is.
_KEY_LIKE = re.compile(r"sk-[A-Za-z0-9_-]{8,}|(?<=Bearer )[^\s'\"]+")


class AskingConfig(msgspec.Struct, frozen=True):
    """How Claude is asked, and for how much."""

    base_url: str = ""  # "": the environment's, or Anthropic's
    api_key: Secret | None = None  # None: from where credentials stand
    concurrency: int = 8  # calls under way at once
    limit_s: float = 30.0  # from the question to the end of all patience
    connect_s: float = 5.0
    read_s: float = 20.0  # without a byte of the answer
    attempts: int = 4  # calls for one question
    per_run_nano_usd: int = SECOND_NS  # 1 USD
    per_day_nano_usd: int = 5 * SECOND_NS
    spending: str = ""  # file that shares the day's budget with other runs; "": it is this run's alone
    hold_cap_ns: int = 60 * SECOND_NS  # the longest that rate-limit headers may hold calls back
    back_off: BackOff = BackOff()
    breaker: BreakerSettings = BreakerSettings()
    seed: int = 0  # of the chance in the waits


class Called(msgspec.Struct, frozen=True):
    """What came of one call: a body with status 200, or a failure."""

    failure: Failure | None = None
    body: bytes | None = None  # an error's as well, if one came
    request_id: str = ""
    headers: dict[str, str] = {}  # names in lower case


def check_asking(config: AskingConfig, environment: Mapping[str, str] = os.environ) -> AskingConfig:
    """The configuration with its address; UsageError when it cannot be carried out."""
    if not config.base_url:
        address = environment.get(ADDRESS_VARIABLE, "").strip() or ADDRESS
        config = msgspec.structs.replace(config, base_url=address)
    _check_address(config.base_url)
    for name, most in (("concurrency", MAX_CONCURRENCY), ("attempts", MAX_ATTEMPTS)):
        if not 1 <= getattr(config, name) <= most:
            raise UsageError(f"asking: {name} {getattr(config, name)}", hint=f"1 to {most}")
    for name in ("limit_s", "connect_s", "read_s"):
        if not 0 < getattr(config, name) <= 3_600:
            raise UsageError(f"asking: {name} {getattr(config, name)}", hint="more than 0, at most 3600")
    for name in ("per_run_nano_usd", "per_day_nano_usd"):
        if getattr(config, name) < 0:
            raise UsageError(f"asking: {name} {getattr(config, name)}: a budget is not negative")
    return config


def _check_address(base_url: str) -> None:
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f'the address of Claude, "{base_url}", is none', hint=f"write {ADDRESS}")
    if parts.username or parts.password:
        raise UsageError(
            "the address of Claude has a user or a password in it", hint=f"set {KEY_VARIABLE} instead"
        )
    if parts.scheme == "http" and not is_loopback(base_url):
        raise UsageError(f"{base_url}: a key must not travel without encryption", hint="write https://…")


def key_for(config: AskingConfig, environment: Mapping[str, str] | None = None) -> Secret:
    """The key to ask with. Raises what `required` raises where one is needed."""
    if config.api_key is not None:
        return config.api_key
    if is_loopback(config.base_url):
        # The real key is nothing that a local server should ever see.
        return Secret(LOCAL_KEY)
    return required(KEY_VARIABLE, "asking Claude", environment=environment)


def check_package() -> None:
    """UsageError when the library is not installed. Imports nothing."""
    if find_spec("anthropic") is None:
        raise UsageError(
            "asking Claude needs the package anthropic, which is not installed",
            hint='pip install "engine[claude]"',
        )


def open_client(config: AskingConfig, key: Secret) -> Any:
    """An `anthropic.AsyncAnthropic` that makes one attempt a call. Imports the library.

    `config` is as `check_asking` gave it.
    """
    import anthropic
    import httpx2

    if is_loopback(config.base_url):  # the library would send these to whoever is asked
        os.environ.pop(HEADERS_VARIABLE, None)
    http = httpx2.AsyncClient(
        trust_env=not is_loopback(config.base_url),
        timeout=httpx2.Timeout(config.read_s, connect=config.connect_s),
        limits=httpx2.Limits(max_connections=config.concurrency),
    )
    client = anthropic.AsyncAnthropic(
        api_key=key.reveal(), base_url=config.base_url, max_retries=0, timeout=http.timeout, http_client=http
    )
    client.messages  # noqa: B018  it is imported when it is first looked at: now, not in the event loop
    return client


class Caller:
    """Makes calls, one attempt each. `close` when no more are to come."""

    def __init__(self, config: AskingConfig) -> None:
        self._config = check_asking(config)
        self._key: Secret | None = None
        self._client: Any = None
        self._opening = asyncio.Lock()

    def check(self) -> None:
        """UsageError when a call would lack the library or a key."""
        if self._key is None:
            check_package()
            self._key = key_for(self._config)

    def open(self) -> None:
        """Import the library and make the client now, so that the first question need not wait for it."""
        self.check()
        if self._client is None and self._key is not None:
            self._client = open_client(self._config, self._key)

    async def ready(self) -> Any:
        """As `open`, without holding up the event loop; the client."""
        if self._client is not None:
            return self._client
        async with self._opening:
            if self._client is None:  # nobody was faster
                self.check()
                assert self._key is not None
                self._client = await asyncio.to_thread(open_client, self._config, self._key)
        return self._client

    async def call(self, body: dict[str, Any]) -> Called:
        """Ask once. Raises nothing that the network or the API can cause."""
        return await self.tried(lambda client: client.messages.with_raw_response.create(**body))

    async def tried(self, make: Callable[[Any], Awaitable[Any]]) -> Called:
        """What came of one request that `make` makes with the client, as raw bytes. Raises as `call`."""
        client = await self.ready()
        import anthropic

        try:
            response = await make(client)
            content = await response.read() if hasattr(response, "http_response") else response.content
        except anthropic.APIStatusError as error:
            return self._refused(error)
        except anthropic.APIConnectionError as error:
            return Called(self._unreached(error))
        headers = response.headers
        request_id = self.scrub(headers.get("request-id", ""))
        return Called(None, KNOWN.body(content), request_id, _lower(headers))

    def scrub(self, text: str) -> str:
        """A text without the key, or what looks like one."""
        return _KEY_LIKE.sub(HIDDEN, KNOWN.text(text))

    async def close(self) -> None:
        """Close the connections that were kept open."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _refused(self, error: Any) -> Called:
        """What an answer with a status other than 200 means."""
        headers = _lower(error.response.headers)
        kind = f" {error.type}" if error.type else ""
        code = error.error_code or ""
        words = error.api_message if isinstance(error.api_message, str) else error.response.text
        said = f"HTTP {error.status_code}{kind}{f' ({code})' if code else ''}: {words or '(nothing)'}"
        failure = Failure(
            status=error.status_code,
            error=self.scrub(said)[:_SHOWN],
            error_code=code,
            retry_after_ns=retry_after_ns(headers),
        )
        body = KNOWN.body(error.response.content)
        return Called(failure, body or None, self.scrub(error.request_id or ""), headers)

    def _unreached(self, error: Any) -> Failure:
        """What it means that no answer came."""
        import httpx2

        cause = error.__cause__
        words = f"{type(cause or error).__name__}: {cause or error.message}".rstrip(": ")
        never_sent = (
            httpx2.ConnectError,
            httpx2.ConnectTimeout,
            httpx2.PoolTimeout,
            httpx2.ProxyError,
            httpx2.UnsupportedProtocol,
            httpx2.LocalProtocolError,
            httpx2.InvalidURL,
        )
        return Failure(error=self.scrub(words)[:_SHOWN], sent=not isinstance(cause, never_sent))


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
