"""Opening a socket: what a handshake says that fails, proxies, redirects, and ends at any moment."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from picows import WSTransport
from websockets.asyncio.server import ServerConnection
from websockets.utils import accept_key

from engine.live import transport_picows
from engine.live.refusal import NotOpened, refusal_of
from engine.live.transport import VARIABLE, Socket, open_socket
from tests.helpers.serving import serving
from tests.helpers.sockets import stay
from tests.helpers.waiting import LIMIT_S

Talk = Callable[[ServerConnection], Awaitable[None]]


def opening_at(port: int) -> asyncio.Future[Socket]:
    """An attempt that is under way."""
    return asyncio.ensure_future(open_socket(f"ws://127.0.0.1:{port}", {}, open_s=5.0, close_s=1.0))


async def answer(raw: bytes, *, open_s: float = 5.0) -> BaseException:
    """What comes of an address that answers these bytes, whatever it is asked, and hangs up."""
    over = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if raw:
            writer.write(raw)
            await writer.drain()
        else:
            await reader.read()
        writer.close()
        over.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server, asyncio.timeout(LIMIT_S):
        port = server.sockets[0].getsockname()[1]
        try:
            await open_socket(f"ws://127.0.0.1:{port}", {}, open_s=open_s, close_s=1.0)
        except (OSError, TimeoutError, NotOpened) as error:
            await over.wait()
            return error
    raise AssertionError("it was opened")


HANDSHAKES: list[tuple[bytes, str, float]] = [
    (
        b"HTTP/1.1 429 Slow down\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
        "answered HTTP 429 instead",
        7.0,
    ),
    (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        "answered HTTP 200 (an HTML page) instead",
        0.0,
    ),
    (b"HTTP/1.1 451 No\r\nContent-Length: 0\r\n\r\n", "answered HTTP 451 instead", 0.0),
    (
        b"HTTP/1.1 520 \r\ncontent-type: text/html\r\nretry-after: 9\r\nContent-Length: 0\r\n\r\n",
        "answered HTTP 520 (an HTML page) instead",
        9.0,
    ),
    (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "does not speak HTTP", 0.0),
    (
        b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: A\r\n\r\n",
        "refused the WebSocket",
        0.0,
    ),
]


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize(("raw", "words", "retry_after_s"), HANDSHAKES, ids=[each[1] for each in HANDSHAKES])
def test_a_handshake_that_fails_says_why(raw: bytes, words: str, retry_after_s: float) -> None:
    """The same words from both; nothing stays open."""
    refusal = refusal_of(asyncio.run(answer(raw)), "ws://it")
    assert refusal.detail.startswith(f"ws://it {words}")
    assert refusal.retry_after_s == retry_after_s
    assert refusal.hint


@pytest.mark.usefixtures("transport")
def test_a_handshake_may_say_more_than_it_has_to() -> None:
    """A server, or what stands before it, may keep the connection alive and upgrade it."""

    async def run() -> str:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            request = await reader.readuntil(b"\r\n\r\n")
            key = next(
                line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
            )
            accept = accept_key(key.partition(b":")[2].strip().decode())
            writer.write(b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n")
            writer.write(f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode() + b"\x88\x02\x03\xe9")
            await reader.read()
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        async with server, asyncio.timeout(LIMIT_S):
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            opened = await open_socket(url, {}, open_s=5.0, close_s=0.1)
            opened.listen(lambda _frame: None)
            words = await opened.receive()
            await opened.leave()
            return words

    assert asyncio.run(run()) == "the venue closed: 1001"


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("proxy", ["user:planted@127.0.0.1:1", "http://user:planted@", "nothing://planted"])
def test_a_proxys_password_is_not_repeated(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """An address that is none may have one in it."""
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(NotOpened) as caught:
        asyncio.run(open_socket("wss://venue.invalid", {}, open_s=5.0, close_s=1.0))
    assert "planted" not in refusal_of(caught.value, "wss://it").detail


PROXIES = [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"HTTP/1.1 407 Who\r\n\r\n", b"SSH-2.0\r\n\r\n", b"HTTP/1.1"]


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("raw", PROXIES)
def test_a_proxy_that_refuses_is_a_refusal(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    """A recording outlives it as it does any other."""

    async def attempt() -> BaseException:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(raw)
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        async with server, asyncio.timeout(LIMIT_S):
            port = server.sockets[0].getsockname()[1]
            monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
            monkeypatch.setenv("no_proxy", "")
            with pytest.raises(NotOpened) as caught:
                await open_socket("wss://venue.invalid", {}, open_s=5.0, close_s=1.0)
            return caught.value

    refusal = refusal_of(asyncio.run(attempt()), "wss://it")
    assert refusal.detail.startswith("wss://it refused the WebSocket (")


@pytest.mark.usefixtures("transport")
def test_a_redirect_to_where_nobody_answers_is_not_waited_for() -> None:
    """The time of the attempt is that of all its connections."""

    async def attempt() -> None:
        with socket.socket() as full, socket.socket() as first, socket.socket() as second:
            full.bind(("127.0.0.1", 0))
            full.listen(0)  # the kernel answers no more than this one and another
            target = full.getsockname()
            for waiting in (first, second):
                waiting.setblocking(False)
                waiting.connect_ex(target)

            async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n")
                writer.write(f"Location: ws://127.0.0.1:{target[1]}/\r\n\r\n".encode())
                writer.close()

            server = await asyncio.start_server(talk, "127.0.0.1", 0)
            async with server, asyncio.timeout(LIMIT_S):
                url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
                opening = asyncio.ensure_future(open_socket(url, {}, open_s=0.1, close_s=1.0))
                done, _ = await asyncio.wait((opening,), timeout=LIMIT_S / 2)
                assert done, "it is waited for"
                assert isinstance(opening.exception(), TimeoutError)

    asyncio.run(attempt())


@pytest.mark.usefixtures("transport")
def test_an_address_that_does_not_answer_is_not_waited_for() -> None:
    """Neither an open port that says nothing, nor one that nobody listens at."""
    error = asyncio.run(answer(b"", open_s=0.05))
    assert refusal_of(error, "ws://it").detail == "ws://it did not answer in time"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(ConnectionRefusedError):
            asyncio.run(open_socket(url, {}, open_s=5.0, close_s=1.0))


@pytest.mark.usefixtures("transport")
def test_an_attempt_can_be_ended_at_any_moment() -> None:
    """Cancelled after each step of the event loop on its way, it leaves nothing open."""

    async def attempt(steps: int) -> bool:
        async with serving(stay) as port, asyncio.timeout(LIMIT_S):
            opening = opening_at(port)
            for _ in range(steps):
                if opening.done():
                    break
                await asyncio.sleep(0)
            if opening.done():
                await opening.result().leave()
                return True
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            return False

    steps = 0
    while not asyncio.run(attempt(steps)):
        steps += 1
    assert steps > 3


def test_an_attempt_that_succeeds_as_it_is_ended_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket that nobody gets is closed, at every step between its handshake and who asked for it."""
    monkeypatch.setenv(VARIABLE, "picows")
    made: list[transport_picows.PicowsSocket] = []

    class Seen(transport_picows.PicowsSocket):
        def on_ws_connected(self, transport: WSTransport) -> None:
            super().on_ws_connected(transport)
            made.append(self)

    monkeypatch.setattr(transport_picows, "PicowsSocket", Seen)

    async def attempt(steps: int) -> bool:
        made.clear()
        async with serving(stay) as port, asyncio.timeout(LIMIT_S):
            opening = opening_at(port)
            while not made:  # noqa: ASYNC110  the steps of the event loop are what is counted
                await asyncio.sleep(0)
            for _ in range(steps):
                await asyncio.sleep(0)
            if opening.done():
                await opening.result().leave()
                return True
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            assert not await made[0].say("anybody?"), steps
            return False

    steps = 0
    while not asyncio.run(attempt(steps)):
        steps += 1
    assert steps > 2
