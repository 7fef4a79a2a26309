"""The local Alpaca over real loopback, with a client that only speaks WebSocket: frames, limits, faults."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from engine.serve.account import Account
from engine.serve.alpaca_keys import Keys
from engine.serve.alpaca_server import LocalAlpaca
from engine.serve.alpaca_source import AlpacaSource
from engine.serve.alpaca_symbols import alpaca_model
from engine.serve.faults import parse_faults
from engine.serve.sample import write_sample
from engine.serve.source import RecordingSource
from engine.serve.synthetic import SyntheticMarket
from engine.serve.venue import MAX_SPEED
from tests.helpers.patience import run

HEADERS = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}
AUTH = {"action": "auth", "key": "k", "secret": "s"}


def venue(*symbols: str, rate: float = 1.0, **options: Any) -> LocalAlpaca:
    market = SyntheticMarket(7, symbols or ("AAPL", "MSFT"), rate=rate, model=alpaca_model)
    options.setdefault("account", True)
    return LocalAlpaca(AlpacaSource(market, test_symbol=False), **options)


@asynccontextmanager
async def client(
    local: LocalAlpaca, path: str = "/v2/iex", **headers: str
) -> AsyncIterator[ClientConnection]:
    async with connect(
        local.ws_url + path, additional_headers=headers, proxy=None, max_queue=None
    ) as connection:
        yield connection


@asynccontextmanager
async def subscribed(local: LocalAlpaca, **lists: list[str]) -> AsyncIterator[ClientConnection]:
    """A client that has logged in by headers and subscribed, and has read the answers."""
    async with client(local, **HEADERS) as connection:
        for _ in range(2):
            await connection.recv()
        await connection.send(json.dumps({"action": "subscribe", **lists}))
        assert (await read(connection))[0]["T"] == "subscription"
        yield connection


async def read(connection: ClientConnection) -> Any:
    return json.loads(await connection.recv())


async def read_all(connection: ClientConnection) -> list[str | bytes]:
    found: list[str | bytes] = []
    try:
        while True:
            found.append(await connection.recv())
    except ConnectionClosed:
        return found


def test_json_is_text_and_messagepack_is_binary() -> None:
    """The same messages to both, each in its encoding, several to a frame."""

    async def scene() -> None:
        async with venue(speed=20, wait_for=2) as local:
            packed = {"Content-Type": "application/msgpack"}
            async with client(local) as one, client(local, **packed) as two:
                assert await read(one) == [{"T": "success", "msg": "connected"}]
                assert msgspec.msgpack.decode(await two.recv(decode=False)) == [
                    {"T": "success", "msg": "connected"}
                ]
                wanted = {"action": "subscribe", "trades": ["AAPL"], "quotes": ["*"]}
                for connection, encode in ((one, _text), (two, msgspec.msgpack.encode)):
                    for message in (AUTH, wanted):
                        await connection.send(encode(message))
                        await connection.recv()
                texts: list[Any] = []
                values: list[Any] = []
                while len(texts) < 200:
                    texts += await read(one)
                while len(values) < 200:
                    values += msgspec.msgpack.decode(await two.recv(decode=False))
            plain = [{name: v for name, v in each.items() if name != "t"} for each in texts[:200]]
            assert plain == [{n: v for n, v in each.items() if n != "t"} for each in values[:200]]
            assert {each["T"] for each in texts} == {"t", "q"}

    run(scene)


def _text(message: Any) -> str:
    return json.dumps(message)


def test_fragmented_messages_are_heard() -> None:
    """A subscription in many pieces is one message."""

    async def scene() -> None:
        async with venue() as local, client(local, **HEADERS) as connection:
            for _ in range(2):
                await connection.recv()
            text = json.dumps({"action": "subscribe", "quotes": ["AAPL", "MSFT"]})
            await connection.send(text[at : at + 7] for at in range(0, len(text), 7))
            assert (await read(connection))[0]["quotes"] == ["AAPL", "MSFT"]

    run(scene)


def test_who_does_not_log_in_is_sent_away() -> None:
    """404 after the time for it, and the end; who has logged in stays."""

    async def scene() -> None:
        async with venue(authenticate_s=0.2) as local:
            async with client(local) as late, client(local, **HEADERS) as early:
                frames = [json.loads(frame) for frame in await read_all(late)]
                assert frames[-1] == [{"T": "error", "code": 404, "msg": "auth timeout"}]
                assert late.close_code == 1008
                await early.send(_text({"action": "subscribe", "quotes": ["AAPL"]}))
                kinds = [(await read(early))[0]["T"] for _ in range(4)]
            assert kinds == ["success", "success", "subscription", "q"]

    run(scene)


def test_a_free_plan_has_one_connection_to_a_feed() -> None:
    """406 and the end for the second, whose place is free when the first has gone; other feeds are others."""

    async def scene() -> None:
        async with venue(keys=Keys(plan="free")) as local:
            async with client(local, **HEADERS) as one, client(local, "/v2/test", **HEADERS) as other:
                for connection in (one, other):
                    frames = [(await read(connection))[0].get("msg") for _ in range(2)]
                    assert frames == ["connected", "authenticated"]
                async with client(local, **HEADERS) as two:
                    assert json.loads((await read_all(two))[-1])[0]["code"] == 406
            async with client(local, **HEADERS) as three:
                assert [(await read(three))[0]["T"] for _ in range(2)] == ["success", "success"]

    run(scene)


def test_a_slow_client_is_told_so() -> None:
    """407 stands behind what it has not read, then the connection ends; others go on."""

    async def scene() -> None:
        async with venue(speed=100, rate=5.0, queue_bytes=40_000, account=False) as local:
            async with client(local, **HEADERS) as slow:
                slow.transport.pause_reading()
                await slow.send(_text({"action": "subscribe", "quotes": ["*"], "trades": ["*"]}))
                while not local.dropped:  # noqa: ASYNC110  the venue's list has no event
                    await asyncio.sleep(0.01)
                slow.transport.resume_reading()
                frames = await read_all(slow)
            assert local.dropped[0][1].startswith("slow consumer")
            assert any(json.loads(frame)[0].get("code") == 407 for frame in frames[-1:])

    run(scene)


def test_other_paths_are_rest_or_nothing() -> None:
    """News over HTTP has the stream's own path; an unknown stream is a 404."""

    async def scene() -> None:
        async with venue(past_s=30.0) as local:
            async with httpx2.AsyncClient(base_url=local.http_url, headers=HEADERS, trust_env=False) as http:
                assert (await http.get("/v1beta1/news")).json() == {"news": [], "next_page_token": None}
                trades = (await http.get("/v2/stocks/trades?symbols=AAPL")).json()["trades"]["AAPL"]
                assert len(trades) == len(local.market.trades("AAPL")) > 0
                assert (await http.get("/v2/iex")).status_code == 404
            with pytest.raises(InvalidStatus):
                await connect(local.ws_url + "/v2/nowhere", proxy=None)

    run(scene)


def test_the_past_joins_the_present() -> None:
    """History before the first client and what is streamed then have no gap between them."""

    async def scene() -> None:
        async with venue("AAPL", past_s=20.0, speed=5) as local:
            before = len(local.market.trades("AAPL"))
            async with subscribed(local, trades=["*"]) as connection:
                first = (await read(connection))[0]
            items = [item for _, item in local.market.trades("AAPL").between(0, 1 << 62)]
            assert before > 0
            streamed = [each.last for each in local.sent if each.stream == "trades@AAPL"]
            assert first["i"] == streamed[0]
            ids = {item["i"] for item in items if item["i"] < 10**11}  # above: corrected ones
            missing = {*range(min(ids), max(ids) + 1)} - ids
            assert len(missing) <= 6  # late ones that are still on their way

    run(scene)


FAULTS = ["gap:0.1", "duplicate:0.1", "reorder:0.1", "garbage:0.1", "stall:200ms:every200ms", "slow:200000"]


@pytest.mark.parametrize("faults", [*FAULTS, ",".join(FAULTS[:4])])
def test_every_fault_is_accounted_for(faults: str) -> None:
    """Each message made was sent or is in the list of faults; what came is what was sent."""

    async def scene() -> None:
        async with venue(speed=20, faults=parse_faults([faults]), fault_seed=3) as local:
            got: list[tuple[str, str]] = []
            async with subscribed(local, trades=["*"], quotes=["*"]) as connection:
                while len(got) < 400:
                    got += _readable(await connection.recv(decode=False))
                local.calm()
                local.halt()
                await local.wait_ended()
                account = local.account
                assert account is not None
                while len(got) < len(account.sent) or _unsent(account):
                    got += _readable(await connection.recv(decode=False))
            assert not _unsent(account)
            assert Counter(stream for stream, _ in got) == Counter(each.stream for each in account.sent)
            names = set(faults.replace(",", ":").split(":"))
            assert {each.fault for each in account.faults} <= names

    run(scene)


def _unsent(account: Account) -> set[tuple[str, int]]:
    """Messages that were made, neither sent nor hit by a fault."""
    sent = {(each.stream, each.stamp) for each in account.sent}
    hit = {(each.stream, each.stamp) for each in account.faults if each.fault in {"gap", "garbage"}}
    return {(each.stream, each.stamp) for each in account.made} - sent - hit


_CHANNELS = {"t": "trades", "q": "quotes", "c": "corrections", "x": "cancelErrors"}


def _readable(frame: bytes) -> list[tuple[str, str]]:
    """Stream and stamp of a frame's messages; nothing of a frame that is garbage."""
    try:
        messages = json.loads(frame)
        return [(f"{_CHANNELS[each['T']]}@{each['S']}", each["t"]) for each in messages]
    except (ValueError, LookupError, TypeError):
        return []


def test_a_cut_connection_can_come_again() -> None:
    """Disconnect ends it without a close frame; the handshake's 429 has Retry-After."""

    async def scene() -> None:
        faults = parse_faults(["disconnect:5", "429:1s:first1"])
        async with venue(speed=20, faults=faults) as local:
            with pytest.raises(InvalidStatus) as refused:
                await connect(local.ws_url + "/v2/iex", proxy=None)
            assert refused.value.response.status_code == 429
            assert refused.value.response.headers["Retry-After"] == "1"
            local.faults.calm = False
            await asyncio.sleep(1.0)
            async with subscribed(local, quotes=["*"]) as connection:
                await read_all(connection)
                assert connection.close_code == 1006

    run(scene)


def test_a_recording_of_another_venue_is_served(tmp_path: Path) -> None:
    """A Binance log: its trades with their ids, its books as orderbooks, under Alpaca's names for pairs."""
    path = tmp_path / "short.arrow"
    write_sample(path, minutes=0.2)

    async def scene() -> None:
        source = AlpacaSource(RecordingSource(path), test_symbol=False)
        async with LocalAlpaca(source, seed=None, speed=MAX_SPEED, account=True, keep_times=True) as local:
            assert local.market.symbols("crypto") == ["BTC/USDT", "ETH/USDT"]
            async with client(local, "/v1beta3/crypto/us", **HEADERS) as connection:
                for _ in range(2):
                    await connection.recv()
                await connection.send(_text({"action": "subscribe", "trades": ["*"], "orderbooks": ["*"]}))
                got: list[Any] = []
                await local.wait_ended()
                while len(got) < len(local.sent) + 3:  # the lists, and two whole books
                    got += await read(connection)
            events = RecordingSource(path).events()
            expected = [event.payload["t"] for event in events if event.stream.endswith("@trade")]
            assert [each["i"] for each in got if each["T"] == "t"] == expected
            assert sum(each["T"] == "o" and bool(each.get("r")) for each in got) == 2

    run(scene)
