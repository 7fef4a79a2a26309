"""Fifty clients at one venue, each with faults of its own: nobody waits for anybody."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from engine.serve.account import Account, Committed, Made, Sent
from engine.serve.faults import ClientFaults, parse_faults
from engine.serve.server import LocalVenue
from engine.serve.synthetic import SyntheticMarket

CLIENTS = 50
PATIENCE_S = 40.0
STREAMS = "/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms"
Message = tuple[str, int]  # stream, last id


def key(message: Made | Sent) -> Message:
    """What tells a message from others."""
    return message.stream, message.last


class Reader:
    """A client that keeps what it is sent, and is told when so many good messages have come."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.got: list[Message] = []
        self.garbled = 0
        self.reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        try:
            async for frame in self.connection:
                self._take(frame)
        except ConnectionClosed:
            return

    def _take(self, frame: str | bytes) -> None:
        try:
            message: Any = json.loads(frame)
            data = message["data"]
            number = next(data[name] for name in ("t", "u") if name in data)
        except (ValueError, TypeError, KeyError, StopIteration):
            number = None
        if isinstance(number, int):
            self.got.append((message["stream"], number))
        else:
            self.garbled += 1


async def with_clients(
    venue: LocalVenue, scene: Callable[[list[Reader]], Any], clients: int = CLIENTS
) -> list[Reader]:
    """Connect so many readers, let the scene go, and end calmly: every frame has been read."""
    async with venue, asyncio.timeout(PATIENCE_S):
        connections = [
            await connect(venue.ws_url + STREAMS, compression=None, max_queue=None) for _ in range(clients)
        ]
        readers = [Reader(connection) for connection in connections]
        await scene(readers)
        venue.calm()
        venue.halt()
        await venue.wait_ended()
        while any(client.behind for client in venue.clients.values()):  # noqa: ASYNC110  no event
            await asyncio.sleep(0.002)
        await venue.close()
        await asyncio.gather(*(reader.reading for reader in readers))
        for connection in connections:
            await connection.close()
        return readers


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds, giving the event loop its turns."""
    while not condition():  # noqa: ASYNC110  conditions on lists have no event
        await asyncio.sleep(0.002)


def account_of(venue: LocalVenue) -> Account:
    assert venue.account is not None
    return venue.account


def sent_to(venue: LocalVenue) -> dict[int, list[Message]]:
    """What the venue says that it sent to each client, in order."""
    found: dict[int, list[Message]] = {number: [] for number in range(1, CLIENTS + 1)}
    for sent in account_of(venue).sent:
        found[sent.client].append(key(sent))
    return found


def venue_of(faults: str, *, seed: int = 0, **dials: Any) -> LocalVenue:
    market = SyntheticMarket(7, ["BTCUSDT"])
    return LocalVenue(
        market,
        speed=8,
        faults=parse_faults([faults]),
        fault_seed=seed,
        account=True,
        wait_for=CLIENTS,
        **dials,
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_the_venues_lists_are_complete_for_each_client(seed: int) -> None:
    """Each client read what the venue says that it sent; what it was not sent, a committed fault explains."""
    venue = venue_of("gap:0.02,duplicate:0.02,reorder:0.02,garbage:0.02,stall:50ms:0.005", seed=seed)

    async def scene(_: list[Reader]) -> None:
        await until(lambda: len(account_of(venue).made) >= 400)

    readers = asyncio.run(with_clients(venue, scene))
    sent = sent_to(venue)
    hit: dict[tuple[int, str], Counter[Message]] = {}
    for fault in account_of(venue).faults:
        hit.setdefault((fault.client, fault.fault), Counter())[fault.stream, fault.last] += 1
    made = Counter(key(message) for message in account_of(venue).made)
    for number, reader in enumerate(readers, start=1):
        assert reader.got == sent[number]
        left_out = hit.get((number, "gap"), Counter()) + hit.get((number, "garbage"), Counter())
        assert Counter(reader.got) == made - left_out + hit.get((number, "duplicate"), Counter())
        assert reader.garbled == hit.get((number, "garbage"), Counter()).total()
    patterns = {tuple(sorted(hit.get((number, "gap"), Counter()))) for number in range(1, CLIENTS + 1)}
    assert len(patterns) > CLIENTS // 2, "the clients' faults are not the same"


def test_the_same_seed_and_traffic_give_the_same_faults() -> None:
    """Two venues, one source, one seed: of each client the same messages are hit, by the same bytes."""

    def faults_of_a_run() -> list[list[Committed]]:
        venue = venue_of("gap:0.05,duplicate:0.05,reorder:0.05,garbage:0.05", seed=4, keep_times=True)

        async def scene(_: list[Reader]) -> None:
            await until(lambda: len(account_of(venue).made) >= 250)

        asyncio.run(with_clients(venue, scene))
        limit = {key(message) for message in account_of(venue).made[:250]}
        return [
            [f for f in account_of(venue).faults if f.client == client and (f.stream, f.last) in limit]
            for client in range(1, CLIENTS + 1)
        ]

    first = faults_of_a_run()
    assert first == faults_of_a_run()
    assert sum(map(len, first)) > 1_000


def test_nobody_waits_for_a_slow_client() -> None:
    """One gets 2,000 bytes a second and is cut off in the end; the others have every message by then."""
    venue = venue_of("", queue_bytes=30_000)

    async def scene(_: list[Reader]) -> None:
        slow = venue.clients[1]
        slow._faults = ClientFaults(parse_faults(["slow:2000"]))
        await until(lambda: bool(venue.dropped))
        made = len(account_of(venue).made)
        assert all(client.behind < slow._queue_bytes // 10 for client in venue.clients.values())
        assert made > 50, "the market went on"

    readers = asyncio.run(with_clients(venue, scene))
    ((number, reason),) = venue.dropped
    assert number == 1
    assert reason.startswith("slow consumer: ")
    sent = sent_to(venue)
    made = [key(message) for message in account_of(venue).made]
    assert all(reader.got == sent[n] == made for n, reader in enumerate(readers, start=1) if n > 1)
    assert sent[1] == readers[0].got == made[: len(sent[1])]
    assert len(sent[1]) < len(made) // 2
