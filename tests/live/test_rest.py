"""REST requests to a venue: what one is told of when to come back holds for all; refusals in words."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from engine.live.address import Address
from engine.live.fetch_client import Http
from engine.live.polling import Conditional
from engine.live.rest import Refused, Rest
from engine.model.errors import UsageError
from engine.serve.faults import parse_faults
from engine.serve.server import LocalVenue
from engine.serve.synthetic import SyntheticMarket
from tests.helpers.venue import FakeVenue

INFO = '/api/v3/exchangeInfo?symbols=["BTCUSDT"]'


def test_nobody_asks_before_the_venue_wants_to_be_asked() -> None:
    """After one refusal all requests wait for as long as it said: the venue has no reason for a ban."""

    async def scene() -> None:
        venue = LocalVenue(SyntheticMarket(7), faults=parse_faults(["429:1s:first1"]), account=True)
        async with venue, asyncio.timeout(15):
            rest = Rest(venue.http_url)
            with pytest.raises(Refused) as caught:
                await rest.get("/api/v3/time")
            assert (caught.value.status, caught.value.retry_after_s) == (429, 1.0)
            paths = ("/api/v3/time", "/api/v3/ping", "/api/v3/depth?symbol=BTCUSDT")
            bodies = await asyncio.gather(*map(rest.get, paths))
            assert b"serverTime" in bodies[0]
            assert b"lastUpdateId" in bodies[2]
            await rest.close()
        assert venue.account is not None
        assert [fault.fault for fault in venue.account.faults] == ["429"]

    asyncio.run(scene())


def test_who_asks_sooner_is_banned() -> None:
    """The same venue, asked by one who does not know of the other's refusal."""

    async def scene() -> None:
        venue = LocalVenue(SyntheticMarket(7), faults=parse_faults(["429:1s:first1"]))
        async with venue, asyncio.timeout(15):
            for status in (429, 418):
                rest = Rest(venue.http_url)
                with pytest.raises(Refused) as caught:
                    await rest.get("/api/v3/time")
                assert caught.value.status == status
                await rest.close()
            assert caught.value.retry_after_s == 2.0
            assert "wait" in caught.value.hint

    asyncio.run(scene())


def test_an_answer_that_never_ends_is_given_up() -> None:
    """A venue that sends a little of its answer again and again keeps nobody for ever."""
    gone = asyncio.Event()

    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"1\r\n \r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.transport.abort()
        gone.set()

    async def scene() -> None:
        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        async with server, asyncio.timeout(15):
            port = server.sockets[0].getsockname()[1]
            rest = Rest(f"http://127.0.0.1:{port}", timeout_s=0.1)
            with pytest.raises(Refused, match="did not come to the end of its answer"):
                await rest.get("/api/v3/time")
            await rest.close()
            await gone.wait()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"code":-1121,"msg":"Invalid symbol."}', "HTTP 404: Invalid symbol. (code -1121)"),
        ('{"message":"endpoint not found."}', 'HTTP 404: {"message":"endpoint not found."}'),
        ("{}", "HTTP 404: {}"),
        ("no such page", "HTTP 404: no such page"),
        ("", "HTTP 404: (nothing)"),
    ],
)
def test_an_answer_that_is_none_is_said_in_the_venues_words(body: str, words: str) -> None:
    """The venue's own error object where it is one; whatever came, where it is another's."""

    async def run() -> str:
        venue = FakeVenue(seed=3)
        venue.answer_all = (404, body)
        async with venue.running():
            rest = Rest(venue.url.replace("ws:", "http:"))
            with pytest.raises(Refused) as refused:
                await rest.get(INFO)
            await rest.close()
        return refused.value.message

    assert asyncio.run(run()).endswith(words)


def test_a_refusal_without_a_time_holds_nobody_back() -> None:
    """Without Retry-After whoever asks decides how long to wait."""

    async def run() -> None:
        venue = FakeVenue(seed=3)
        async with venue.running():
            rest = Rest(venue.url.replace("ws:", "http:"))
            venue.busy = ["soon"]
            with pytest.raises(Refused, match="HTTP 429"):
                await rest.get(INFO)
            async with asyncio.timeout(10):
                assert b"BTCUSDT" in await rest.get(INFO)
            await rest.close()

    asyncio.run(run())


@asynccontextmanager
async def answering(head: str, body: bytes) -> AsyncIterator[Rest]:
    """A venue that gives this one answer to everything, byte for byte."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, asyncio.timeout(15):
        rest = Rest(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        yield rest
        await rest.close()


@pytest.mark.parametrize("kind", ["text/html", "application/json", "text/plain"])
@pytest.mark.parametrize("body", [b"<html>slow down</html>", b'{"code":-1003,"msg":"slow down"}', b""])
def test_when_to_come_back_counts_whatever_the_page(kind: str, body: bytes) -> None:
    """A page of HTML, such as a gate before the venue sends, says it in the same header."""

    async def run() -> None:
        head = f"429 Too Many Requests\r\nContent-Type: {kind}\r\nRetry-After: 30"
        async with answering(head, body) as rest:
            with pytest.raises(Refused, match="HTTP 429") as refused:
                await rest.get(INFO)
            assert refused.value.retry_after_s == 30.0
            assert 29.0 < rest.ban.left_s <= 31.0

    asyncio.run(run())


@pytest.mark.parametrize(
    "body",
    [b'{"code":-1,"msg":"\xff\xfe"}', b'{"x":' + b"[" * 100_000, b'{"code":' + b"9" * 5_000 + b"}", b"\xff"],
    ids=["no UTF-8", "nested", "a long number", "a byte"],
)
def test_an_answer_that_cannot_be_read_is_a_refusal(body: bytes) -> None:
    """Whatever it is, it ends no recording."""

    async def run() -> None:
        async with answering("400 Bad Request\r\nContent-Type: application/json", body) as rest:
            with pytest.raises(Refused, match="HTTP 400"):
                await rest.get(INFO)

    asyncio.run(run())


def test_a_weight_that_is_none_is_not_taken() -> None:
    """The header comes from outside, and may be any text."""

    async def run() -> None:
        head = f"200 OK\r\nContent-Type: application/json\r\nX-MBX-USED-WEIGHT-1M: {'9' * 5_000}"
        async with answering(head, b"{}") as rest:
            assert await rest.get(INFO) == b"{}"
            assert rest.weight_used == 0

    asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ALL_PROXY", "socks5://secret:word@127.0.0.1:9", "SOCKS"),
        ("https_proxy", "http://secret:word@proxy.local:notaport", "no address of a proxy"),
        ("HTTPS_PROXY", "foo://secret:word@proxy:1", "no address of a proxy"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_said_by_its_variable(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not by its value, in which a password may stand."""
    for known in ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(known, raising=False)
        monkeypatch.delenv(known.lower(), raising=False)
    monkeypatch.setenv(name, value)
    base = "https://api.example.com"
    feed = Conditional(Address(base), timeout_s=1.0, most_bytes=1)
    for ask in (Rest(base).get, Http(base, {}), feed.ask):
        with pytest.raises(UsageError, match=words) as wrong:
            asyncio.run(ask("/"))
        assert wrong.value.message.startswith(f"{name} in the environment")
        assert "unset it" in wrong.value.hint
        assert "secret" not in str(wrong.value)
