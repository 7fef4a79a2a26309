"""Which library opens sockets, and what both do at the edges: handshakes, closes, pings, fragments."""

from __future__ import annotations

import asyncio
import gc
import struct
import sys
from collections.abc import Awaitable, Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

import pytest
from websockets.asyncio.server import ServerConnection

from engine.live import transport as module
from engine.live import transport_picows
from engine.live.transport import NAMES, VARIABLE, Socket, chosen, open_socket
from engine.model.errors import UsageError
from tests.helpers.sockets import meet, stay, until_closed
from tests.helpers.waiting import LIMIT_S

Talk = Callable[[ServerConnection], Awaitable[None]]


# --- which ---


@pytest.mark.parametrize(
    ("named", "installed", "used"),
    [
        ("", True, "picows"),
        ("", False, "websockets"),
        ("websockets", True, "websockets"),
        ("picows", True, "picows"),
    ],
)
def test_picows_is_used_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
    named: str,
    installed: bool,  # noqa: FBT001
    used: str,
) -> None:
    """Unless the environment names the other."""
    monkeypatch.setenv(VARIABLE, named)
    found = ModuleSpec("picows", None) if installed else None
    monkeypatch.setattr(module, "find_spec", lambda _name: found)
    assert chosen() == used


@pytest.mark.parametrize(
    ("named", "words", "hint"),
    [
        ("uvloop", 'ENGINE_TRANSPORT="uvloop" is no transport', "write websockets or picows"),
        ("picows", "ENGINE_TRANSPORT=picows, and picows is not installed", "pip install 'engine[fast]'"),
    ],
)
def test_what_cannot_be_used_is_said(
    monkeypatch: pytest.MonkeyPatch, named: str, words: str, hint: str
) -> None:
    """With what to do."""
    monkeypatch.setenv(VARIABLE, named)
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    with pytest.raises(UsageError) as caught:
        chosen()
    assert (caught.value.message, caught.value.hint) == (words, hint)


def test_a_library_that_is_broken_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed picows that cannot be imported is no traceback."""
    monkeypatch.setenv(VARIABLE, "picows")
    monkeypatch.setattr(module, "find_spec", lambda _name: ModuleSpec("picows", None))
    monkeypatch.setitem(sys.modules, "picows", None)
    monkeypatch.delitem(sys.modules, "engine.live.transport_picows")
    monkeypatch.delattr("engine.live.transport_picows")
    with pytest.raises(UsageError, match="picows is installed and cannot be used") as caught:
        asyncio.run(open_socket("ws://127.0.0.1:1", {}, open_s=1.0, close_s=1.0))
    assert "ENGINE_TRANSPORT=websockets" in caught.value.hint


# --- what both do ---


CLOSES: list[tuple[int, str, str]] = [
    (1000, "", "the venue closed: 1000"),
    (1001, "going away", "the venue closed: 1001 going away"),
    (1008, "slow consumer, é", "the venue closed: 1008 slow consumer, é"),
    (1011, "", "the venue closed: 1011"),
    (3000, "ours", "the venue closed: 3000 ours"),
    (4406, "limit", "the venue closed: 4406 limit"),
]


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize(("code", "reason", "words"), CLOSES)
def test_a_close_has_its_code_and_reason(code: int, reason: str, words: str) -> None:
    """Those of the protocol, of frameworks and of applications."""

    async def close(client: ServerConnection) -> None:
        await client.close(code, reason)

    assert meet(close, until_closed) == words


@pytest.mark.usefixtures("transport")
def test_a_close_without_a_code_is_1005() -> None:
    """As the protocol counts it."""

    async def close(client: ServerConnection) -> None:
        client.transport.write(b"\x88\x00")
        await client.wait_closed()

    assert meet(close, until_closed) == "the venue closed: 1005"


BROKEN = [
    b"\xc1\x01a",  # a bit that nobody agreed on
    b"\x83\x01a",  # an opcode that is none
    b"\x88\x01a",  # a close with half a code
    b"\x80\x01a",  # the end of a message that did not begin
    b"\x01\x01a\x81\x01b",  # a message in the middle of another
    b"\x81\x81\x00\x00\x00\x00a",  # masked, which a server must not
    b"\x82\x7f" + struct.pack(">Q", 1 << 40),  # too long for anybody
]


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("frame", BROKEN, ids=[frame[:4].hex() for frame in BROKEN])
def test_a_server_that_breaks_the_protocol_is_left(frame: bytes) -> None:
    """The connection broke off; why, if the library says it, stands in brackets."""

    async def talk(client: ServerConnection) -> None:
        client.transport.write(frame)
        await client.wait_closed()

    assert meet(talk, until_closed).startswith(("the connection broke off", "the venue closed: 100"))


@pytest.mark.usefixtures("transport")
def test_a_ping_is_answered_or_it_is_not() -> None:
    """In time; not by a server that has gone."""
    answers: list[bool] = []

    async def ask(opened: Socket) -> None:
        answers.append(await opened.answers(5.0))
        opened.transport.abort()
        answers.append(await opened.answers(0.05))

    assert meet(stay, ask).startswith("the connection broke off")
    assert answers == [True, False]


@pytest.mark.usefixtures("transport")
def test_nothing_is_said_after_the_end() -> None:
    """Neither text nor binary; before it both arrive as what they are."""
    heard: list[str | bytes] = []
    said: list[bool] = []

    async def listen(client: ServerConnection) -> None:
        heard.extend([await client.recv(), await client.recv()])
        await client.close()

    async def speak(opened: Socket) -> None:
        said.extend([await opened.say("text"), await opened.say(b"\x81\xa1a")])
        await until_closed(opened)
        said.append(await opened.say("too late"))

    meet(listen, speak)
    assert heard == ["text", b"\x81\xa1a"]
    assert said == [True, True, False]


@pytest.mark.usefixtures("transport")
def test_a_server_that_does_not_close_is_not_waited_for() -> None:
    """The time that a close may take, and no more: then the socket is cut off."""

    async def deaf(client: ServerConnection) -> None:
        client.transport.pause_reading()
        await client.wait_closed()

    async def leave(opened: Socket) -> None:
        opened.close_s = 3_600.0
        leaving = asyncio.ensure_future(opened.leave())
        await asyncio.sleep(0)
        await opened.leave(0.05)
        await leaving

    meet(deaf, leave)


@pytest.mark.usefixtures("transport")
def test_nothing_is_taken_after_a_close() -> None:
    """A frame behind it, in the same packet, is none."""
    frames: list[bytes] = []

    async def talk(client: ServerConnection) -> None:
        client.transport.write(b"\x81\x01a\x88\x02\x03\xe8\x81\x01b")
        await client.wait_closed()

    async def listen(opened: Socket) -> None:
        opened.listen(frames.append)
        await until_closed(opened)

    meet(talk, listen)
    assert frames == [b"a"]


def test_fragments_are_joined_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message without an end does not fill the memory."""
    monkeypatch.setenv(VARIABLE, "picows")
    monkeypatch.setattr(transport_picows, "FRAME_BYTES_MAX", 1_000)

    async def endless(client: ServerConnection) -> None:
        client.transport.write(b"\x02\x64" + b"a" * 100 + (b"\x00\x64" + b"a" * 100) * 20)
        await client.wait_closed()

    assert meet(endless, until_closed) == "the connection broke off (a message of more than 1,000 bytes)"


@pytest.mark.usefixtures("transport")
def test_a_message_has_no_more_than_so_many_fragments() -> None:
    """Joining them would take ever longer, and those without a byte have no other bound."""
    heard: list[bytes] = []

    async def talk(client: ServerConnection) -> None:
        client.transport.write(b"\x01\x01a" + b"\x00\x00" * 4_000 + b"\x80\x01b")
        client.transport.write(b"\x01\x01c" + b"\x00\x00" * 5_000 + b"\x80\x01d")
        await client.wait_closed()

    async def listen(opened: Socket) -> None:
        opened.listen(heard.append)
        await until_closed(opened)

    assert meet(talk, listen).startswith("the connection broke off (")
    assert heard == [b"ab"]


def test_an_attempt_that_is_ended_twice_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is left, and nothing is printed of how it ended."""
    monkeypatch.setenv(VARIABLE, "picows")
    printed: list[dict[str, object]] = []

    async def attempt() -> None:
        reached = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reached.set()
            await reader.read()
            writer.close()

        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: printed.append(context))
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        async with server, asyncio.timeout(LIMIT_S):
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            opening = asyncio.ensure_future(open_socket(url, {}, open_s=5.0, close_s=1.0))
            await reached.wait()
            for _ in range(2):
                opening.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await opening
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            if rest:
                await asyncio.wait(rest)
            del rest, opening
            gc.collect()

    asyncio.run(attempt())
    assert printed == []


def test_both_are_there() -> None:
    """The environment of the tests has the extra, or half of them would show nothing."""
    assert NAMES == ("websockets", "picows")
    assert find_spec("picows") is not None
