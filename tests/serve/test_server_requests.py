"""The local venue and what clients should not say: too much, half a character, an order."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from engine.serve import wire
from engine.serve.alpaca_server import LocalAlpaca
from engine.serve.alpaca_symbols import alpaca_model
from engine.serve.market import VenueMarket
from engine.serve.server import LocalVenue
from engine.serve.synthetic import SyntheticMarket
from tests.serve.test_server import client, read, read_all, run

LIMIT_REACHED = "too many messages: the limit is 5 in a second"


@pytest.mark.parametrize("path", ["/ws", "/stream"])
def test_whatever_is_said_the_connection_goes_on(path: str) -> None:
    """Half a character, an id without end, brackets without end: an error each, and then a proper answer."""
    spoken = [r'{"method":"\ud800","id":1}', '{"method":"LIST_SUBSCRIPTIONS","id":' + "9" * 5_000 + "}"]
    spoken += ["[" * 100_000, r'{"method":"SUBSCRIBE","params":["\ud800"],"id":1}']

    async def scene() -> None:
        async with LocalVenue(SyntheticMarket(7)) as venue, client(venue, path) as connection:
            for text in spoken:
                await connection.send(text)
            errors = await read(connection, len(spoken))
            assert [error["code"] for error in errors] == [3, 2, 3, 3]
            await connection.send('{"method":"LIST_SUBSCRIPTIONS","id":5}')
            assert await read(connection, 1) == [{"result": [], "id": 5}]

    run(scene)


def test_too_many_streams_in_an_address_are_refused() -> None:
    """The handshake is answered with the venue's error, and 1,024 streams are let in."""

    async def scene() -> None:
        async with LocalVenue(SyntheticMarket(7)) as venue:
            names = [f"s{n}@b" for n in range(1_025)]
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{venue.ws_url}/stream?streams={'/'.join(names)}")
            assert refused.value.response.status_code == 400
            assert json.loads(refused.value.response.body)["code"] == 2
            async with client(venue, "/stream?streams=" + "/".join(names[1:])) as connection:
                await connection.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
                assert len((await read(connection, 1))[0]["result"]) == 1_024

    run(scene)


@pytest.mark.parametrize("how", ["whole", "in pieces", "chunked", "large"])
def test_an_order_is_answered_though_none_is_taken(how: str) -> None:
    """POST with a body, however it is sent, gets the venue's error object, as does DELETE without one."""
    form = b"symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1"
    content: Any = form * 4_000 if how == "large" else form

    async def pieces() -> AsyncIterator[bytes]:
        for byte in form:
            yield bytes((byte,))

    async def scene() -> None:
        async with LocalVenue(SyntheticMarket(7)) as venue, httpx2.AsyncClient() as http:
            url = venue.http_url + "/api/v3/order"
            sized = {"Content-Length": str(len(form))} if how == "in pieces" else {}
            body = pieces() if how in {"in pieces", "chunked"} else content
            posted = await http.post(url, content=body, headers=sized)
            for answer in (posted, await http.delete(url)):
                assert (answer.status_code, answer.json()["code"]) == (400, -1020)
                assert "takes no orders" in answer.json()["msg"]
            assert (await http.post(venue.http_url + "/api/v3/time", content=form)).status_code == 405

    run(scene)


def test_a_handshake_with_a_body_opens_no_stream() -> None:
    """What follows such a request is no frame, so it is answered as plain HTTP."""
    lines = ["GET /ws/btcusdt@trade HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13", "Content-Length: 4"]

    async def scene() -> None:
        async with LocalVenue(SyntheticMarket(7)) as venue:
            reader, writer = await asyncio.open_connection("127.0.0.1", venue.port)
            for byte in ("\r\n".join(lines) + "\r\n\r\nbody").encode():  # a head may come in any pieces
                writer.write(bytes((byte,)))
                await writer.drain()
            assert (await reader.readline()).startswith(b"HTTP/1.1 404")
            assert not venue.clients
            writer.close()

    run(scene)


@pytest.mark.parametrize(("kind", "ends"), [("ping", True), ("pong", True), ("mixed", True), ("few", False)])
def test_pings_and_pongs_count_among_a_clients_messages(kind: str, *, ends: bool) -> None:
    """Six in a second are too many, of whatever kinds; five are not."""

    async def scene() -> None:
        async with LocalVenue(SyntheticMarket(7)) as venue, client(venue, "/ws") as connection:
            for _ in range({"mixed": 2, "few": 4}.get(kind, 6)):
                await (connection.pong() if kind == "pong" else connection.ping())
            if kind == "mixed":
                for _ in range(2):
                    await connection.pong()
                    await connection.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
            if not ends:
                await connection.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
                assert await read(connection, 1) == [{"result": [], "id": 1}]
                return
            await read_all(connection)
            assert (connection.close_code, venue.dropped[0][1]) == (1008, LIMIT_REACHED)

    run(scene)


def test_alpacas_venue_answers_an_order_too() -> None:
    """POST with a body gets JSON and not a closed connection, though nothing of the sort is there."""

    async def scene() -> None:
        source = SyntheticMarket(7, ["AAPL"], model=alpaca_model)
        async with LocalAlpaca(source) as venue, httpx2.AsyncClient() as http:
            answer = await http.post(venue.http_url + "/v2/orders", json={"symbol": "AAPL", "qty": "1"})
            assert (answer.status_code, answer.json()) == (405, {"message": "method not allowed"})

    run(scene)


def test_a_stream_begins_anew_for_who_comes_when_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The market is told of a stream's first listener, and of the first after the last has left."""
    begun: list[str] = []
    monkeypatch.setattr(VenueMarket, "begin", lambda _market, stream: begun.append(stream))
    said = [
        json.dumps({"method": method, "params": ["btcusdt@kline_1m"], "id": 1})
        for method in ("SUBSCRIBE", "UNSUBSCRIBE")
    ]

    async def scene() -> None:
        async with (
            LocalVenue(SyntheticMarket(7), wait_for=3) as venue,
            client(venue, "/ws") as one,
            client(venue, "/ws") as two,
        ):
            for connection, text, times in [
                *((one, said[0], 1), (two, said[0], 1), (one, said[1], 1), (one, said[0], 1)),
                *((one, said[1], 1), (two, said[1], 1), (two, said[0], 2)),
            ]:
                await connection.send(text)
                await read(connection, 1)
                assert begun == ["btcusdt@kline_1m"] * times

    run(scene)


PING = b"GET /api/v3/ping HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
MASKED_LIST = b'{"method":"LIST_SUBSCRIPTIONS","id":5}'


async def say(venue: LocalVenue, pieces: Sequence[bytes]) -> bytes:
    """What comes back until the venue closes, or has sent the answer to a control message."""
    reader, writer = await asyncio.open_connection("127.0.0.1", venue.port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    received = b""
    while (more := await reader.read(4_096)) and b'"id":5' not in received + more:
        received += more
    writer.close()
    return received + more


@pytest.mark.parametrize(
    "pieces",
    [
        [PING + PING],
        [PING + b"\r\n"],
        [PING, b"\r\n", PING],
        [PING[:-2], PING[-2:] + b"\x81\x00"],
        [PING[at : at + 1] for at in range(len(PING))],
    ],
    ids=["two at once", "a line too many", "a line too many, later", "a frame", "byte by byte"],
)
def test_the_first_request_is_answered_whatever_follows(pieces: list[bytes]) -> None:
    """What comes after the head of a request that opens no stream is thrown away."""

    async def scene() -> None:
        async with LocalVenue(SyntheticMarket(7)) as venue:
            said = await say(venue, pieces)
            assert said.startswith(b"HTTP/1.1 200 OK\r\n")
            assert said.count(b"HTTP/1.1") == 1
            assert said.endswith(b"{}")

    run(scene)


def test_frames_that_come_with_the_handshake_are_heard() -> None:
    """A client need not wait for the answer to its handshake before it says something."""
    frame = bytes((0x81, 0x80 | len(MASKED_LIST), 0, 0, 0, 0)) + MASKED_LIST

    async def scene() -> None:
        async with LocalVenue(SyntheticMarket(7)) as venue:
            said = await say(venue, [UPGRADE + frame])
            assert said.startswith(b"HTTP/1.1 101")
            assert b'{"result":[],"id":5}' in said

    run(scene)


def test_a_head_that_comes_in_pieces_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the pieces are, the bytes that are searched are a few times those of the head."""
    searched: list[int] = []

    class Counted:
        @staticmethod
        def search(head: bytearray, begin: int) -> re.Match[bytes] | None:
            searched.append(len(head) - begin)
            return whole.search(head, begin)

    whole = wire._HEAD_END
    monkeypatch.setattr(wire, "_HEAD_END", Counted)
    head = b"GET /api/v3/ping HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 3_000

    async def scene() -> None:
        async with LocalVenue(SyntheticMarket(7)) as venue:
            assert (await say(venue, [*(bytes((b,)) for b in head), b"\r\n\r\n"])).endswith(b"{}")
            assert sum(searched) <= 4 * (len(head) + 4)

    run(scene)
