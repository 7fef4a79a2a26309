"""The HTTP under the local Messages API, in bytes: what a client less tidy than the real one meets."""

from __future__ import annotations

import asyncio
import json

import pytest

from engine.model.errors import VenueError
from engine.serve.http import MOST_BYTES, Exchange, HttpServer
from engine.serve.messages import LocalMessages
from tests.helpers.messages import PATIENCE_S, body

KEY = "x-api-key: any"
VERSION = "anthropic-version: 2026-10-21"
JSON = json.dumps(body()).encode()


def request(*lines: str, content: bytes = JSON, target: str = "POST /v1/messages HTTP/1.1") -> bytes:
    """The bytes of a request, with its length."""
    head = "\r\n".join([target, "Host: here", *lines, f"Content-Length: {len(content)}", "", ""])
    return head.encode("latin-1") + content


def told(*parts: bytes, most_bytes: int = MOST_BYTES) -> list[tuple[int, bytes]]:
    """(status, body) of every answer on one connection to which these bytes are sent, one by one."""

    async def scene() -> list[tuple[int, bytes]]:
        async with asyncio.timeout(PATIENCE_S), LocalMessages(most_bytes=most_bytes) as api:
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port, limit=1 << 20)
            for part in parts:
                writer.write(part)
                await writer.drain()
            writer.write_eof()
            answers = []
            while head := await _head(reader):
                length = int(next(line for line in head if line.startswith("content-length")).split(":")[1])
                answers.append((int(head[0].split()[1]), await reader.readexactly(length)))
            writer.close()
            await writer.wait_closed()
            return answers

    return asyncio.run(scene())


async def _head(reader: asyncio.StreamReader) -> list[str]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return []
    return head.decode("latin-1").lower().split("\r\n")[:-2]


def message_of(answer: tuple[int, bytes]) -> str:
    return str(json.loads(answer[1])["error"]["message"])


@pytest.mark.parametrize("key", ["x-api-key: any", "Authorization: Bearer any", "AUTHORIZATION: bearer any"])
def test_either_key_opens(key: str) -> None:
    """The API's own header, and the one that the client sends; names in any case."""
    assert [status for status, _ in told(request(key, VERSION))] == [200]


@pytest.mark.parametrize(
    "lines", [[], ["x-api-key: "], ["Authorization: Bearer"], ["Authorization: Basic any"]]
)
def test_without_a_key_nothing_opens(lines: list[str]) -> None:
    """None, an empty one, another scheme: 401 in the API's shape, before anything else is looked at."""
    (answer,) = told(request(*lines, content=b"no JSON"))
    assert answer[0] == 401
    assert json.loads(answer[1]) == {
        "type": "error",
        "error": {
            "type": "authentication_error",
            "message": "Authorization: Bearer, or x-api-key, is required; any value will do here.",
        },
        "request_id": "req_local_000000001",
    }


def test_the_version_is_required() -> None:
    """400, naming the header."""
    (answer,) = told(request(KEY))
    assert (answer[0], message_of(answer)) == (400, "anthropic-version: the header is required")


BODIES = [
    (b"", "The body is not JSON"),
    (b"{", "The body is not JSON"),
    (b"\xff", "The body is not JSON"),
    (b"[" * 100_000, "The body is not JSON"),
    (b"[]", "The body is not a JSON object."),
    (b"{}", "model: a text is required"),
]


@pytest.mark.parametrize(
    ("content", "message"), BODIES, ids=[each[0][:5].decode("latin-1") for each in BODIES]
)
def test_a_body_that_is_no_question(content: bytes, message: str) -> None:
    """400, and why."""
    (answer,) = told(request(KEY, VERSION, content=content))
    assert answer[0] == 400
    assert message_of(answer).startswith(message)


def test_a_compressed_body_is_refused() -> None:
    """With the header's name; it is not guessed at."""
    (answer,) = told(request(KEY, VERSION, "Content-Encoding: gzip"))
    assert message_of(answer).startswith("content-encoding: ")


def test_requests_on_one_connection_are_answered_in_turn() -> None:
    """Three at once, cut anywhere: three answers, then the connection is the client's to end."""
    sent = request(KEY, VERSION) * 3
    assert [status for status, _ in told(sent)] == [200, 200, 200]
    pieces = [sent[at : at + 97] for at in range(0, len(sent), 97)]
    assert told(*pieces) == told(sent)


def test_a_client_may_end_the_connection() -> None:
    """Connection: close is obeyed: a second request is not read."""
    assert len(told(request(KEY, VERSION, "Connection: close") + request(KEY, VERSION))) == 1


def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    """Expect: 100-continue gets its 100 before the answer."""

    async def scene() -> list[str]:
        async with asyncio.timeout(PATIENCE_S), LocalMessages() as api:
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
            sent = request(KEY, VERSION, "Expect: 100-continue")
            writer.write(sent[: -len(JSON)])
            heads = [(await _head(reader))[0]]
            writer.write(sent[-len(JSON) :])
            heads.append((await _head(reader))[0])
            writer.close()
            await writer.wait_closed()
            return heads

    assert asyncio.run(scene()) == ["http/1.1 100 continue", "http/1.1 200 ok"]


UNREADABLE = [
    (b"GET http://[ HTTP/1.1\r\n\r\n", 400, b"Invalid IPv6 URL"),
    (b"hello\r\n\r\n", 400, b"no request line"),
    (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, b'"no colon" is no header'),
    (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, b'"-1" is no number'),
    (b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n", 400, b'9" is no number'),
    (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411, b"needs a Content-Length"),
    (b"GET / HTTP/1.1\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", 431, b"at most 65536 bytes"),
]


@pytest.mark.parametrize(
    ("sent", "status", "why"), UNREADABLE, ids=[str(each[1]) + str(each[2]) for each in UNREADABLE]
)
def test_what_is_no_http_is_told_so(sent: bytes, status: int, why: bytes) -> None:
    """A status, a reason in words, and the end of the connection."""
    (answer,) = told(sent)
    assert answer[0] == status
    assert why in answer[1]


@pytest.mark.parametrize("count", [1, 60, len(request(KEY, VERSION)) - 1])
def test_a_request_cut_off_is_no_request(count: int) -> None:
    """Nothing is answered, and the server goes on."""
    assert told(request(KEY, VERSION)[:count]) == []


def test_a_body_above_the_limit_is_read_away() -> None:
    """413 after all of it was taken, so that the next request on the connection is understood."""
    answers = told(request(KEY, VERSION, content=b"x" * 300_000), request(KEY, VERSION), most_bytes=1_000)
    assert [status for status, _ in answers] == [413, 200]


@pytest.mark.parametrize("target", ["GET /v1/messages HTTP/1.1", "POST / HTTP/1.1", "DELETE /v1/x HTTP/1.1"])
def test_what_is_not_served_is_not_found(target: str) -> None:
    """404, naming method and path."""
    (answer,) = told(request(KEY, VERSION, target=target))
    assert answer[0] == 404
    assert message_of(answer) == f"{target.removesuffix(' HTTP/1.1')} is not served here."


def test_a_port_that_is_taken_is_an_error() -> None:
    """It names the address and what to do."""

    async def scene() -> None:
        async with LocalMessages() as api:
            with pytest.raises(VenueError, match=f"cannot listen on 127.0.0.1:{api.port}") as caught:
                await LocalMessages(port=api.port).__aenter__()
            assert "choose another --port" in caught.value.hint

    asyncio.run(scene())


def test_a_handler_that_fails_is_heard_of() -> None:
    """Its client's connection ends without an answer, and closing the server raises what it raised."""

    async def failing(_: Exchange) -> None:
        raise LookupError("a bug")

    async def scene() -> None:
        server = HttpServer(failing)
        await server.__aenter__()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request())
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        with pytest.raises(LookupError, match="a bug"):
            await server.close()

    asyncio.run(scene())


def test_closing_what_never_listened_is_nothing() -> None:
    """Close is harmless before and after."""

    async def scene() -> None:
        server = HttpServer(lambda exchange: exchange.hang())
        await server.close()
        async with server:
            pass
        await server.close()

    asyncio.run(scene())
