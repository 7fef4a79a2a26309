"""Trades of one symbol faster than anybody reads them, or at an exact pace: a sender for measurements.

Flood: frames have one of two lengths, so a chunk of them is a template filled in behind ready frame heads;
nothing is encoded per frame, and the sender is not what is measured.

Paced: frame i is due at start + i / rate, whatever happened to the frames before, and its stamps E and T
hold that scheduled time in microseconds (also for a client that did not ask for that unit), so that
whoever receives it can count a stall from the moment when the frame should have been there.

    python -m engine.serve.flood 1000000           flood; prints one JSON line with the address
    python -m engine.serve.flood 50000 5000        5,000 a second

Prices move up and down in a triangle of 20,000 ticks, one tick a trade; ids count up from FIRST_ID.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import click
import msgspec

from engine.model.errors import UsageError
from engine.serve.account import Sent
from engine.serve.binance import MILLISECOND, StreamSession, wrap
from engine.serve.client import Client
from engine.serve.packets import text_frame
from engine.serve.server import MAX_SPEED, LocalVenue
from engine.serve.synthetic import Event, SyntheticMarket

FIRST_ID = 1_000_000_001
_LEAD_NS = 50_000_000  # from the first subscriber to the first paced frame
_CHUNK = 256
_LOW_TICKS, _TURN = 6_700_000, 20_000
_PAYLOAD = b'{"e":"trade","E":%d,"s":"%b","t":%d,"p":"%d.%02d000000","q":"0.%05d000","T":%d,"m":%b,"M":true}'
_SPIN_NS = 300_000  # nearer than this, the paced sender does not sleep


def trade_payload(index: int, stamp: int, symbol: bytes) -> bytes:
    """The raw payload of flood trade `index` (from 0), its two stamps given as they are written."""
    step = index % _TURN
    ticks = _LOW_TICKS + (step if step < _TURN // 2 else _TURN - step)
    size = 1 + index * 7 % 9_999
    maker = b"true" if index % 3 else b"false"
    return _PAYLOAD % (
        stamp,
        symbol,
        FIRST_ID + index,
        ticks // 100,
        ticks % 100,
        size,
        stamp,
        maker,
    )


def flood(count: int, *, symbol: str = "BTCUSDT", combined: bool = True, stamp: int = 0) -> Iterator[bytes]:
    """`count` trade payloads, as text frames hold them; `stamp` 0 means now, in milliseconds."""
    stamp = stamp or time.time_ns() // 1_000_000
    name, stream = symbol.encode(), f"{symbol.lower()}@trade"
    for index in range(count):
        payload = trade_payload(index, stamp, name)
        yield wrap(stream, payload) if combined else payload


class _Nothing:
    """A source with instruments and no events."""

    def __init__(self, symbol: str) -> None:
        self.instruments = SyntheticMarket(0, [symbol]).instruments
        self.description = "flood of trades"

    def events(self) -> Iterator[Event]:
        """None."""
        return iter(())


class FloodVenue(LocalVenue):
    """A local venue that sends `count` trades of one symbol to each client subscribed at the start.

    `rate` 0 floods; else that many a second, on schedule. `first_due_ns` is the schedule's beginning.
    `spin` keeps the processor busy between frames, for a send time exact to some microseconds.
    """

    def __init__(
        self,
        count: int,
        *,
        rate: float = 0.0,
        symbol: str = "BTCUSDT",
        spin: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
        wait_for: int = 1,
        account: bool = False,
    ) -> None:
        if count < 1 or rate < 0:
            raise UsageError("a flood needs one trade or more, and a rate of 0 or more")
        super().__init__(
            _Nothing(symbol),
            host=host,
            port=port,
            speed=MAX_SPEED,
            wait_for=wait_for,
            account=account,
            queue_bytes=4 << 20,
            stall_s=60.0,
        )
        self.count, self.rate = count, rate
        self.first_due_ns = 0
        self._symbol = symbol
        self._stream = f"{symbol.lower()}@trade"
        self._spin = spin

    async def _run_fast(self) -> None:
        clients = list(self.listeners.of(self._stream))
        if self.rate:
            await self._paced(clients)
        else:
            await self._flood(clients)

    async def _flood(self, clients: list[Client[StreamSession]]) -> None:
        for start in range(0, self.count, _CHUNK):
            stop = min(start + _CHUNK, self.count)
            stamp_us = time.time_ns() // 1_000
            self._send(clients, start, [stamp_us] * (stop - start), exact=False)
            await self._wait_for_readers()

    async def _paced(self, clients: list[Client[StreamSession]]) -> None:
        self.first_due_ns = time.time_ns() + _LEAD_NS
        period_ns = 1e9 / self.rate
        done = 0
        while done < self.count:
            late_ns = time.time_ns() - self.first_due_ns
            due = min(self.count, int(late_ns / period_ns) + 1) if late_ns >= 0 else 0
            if due > done:
                stamps = [(self.first_due_ns + round(i * period_ns)) // 1_000 for i in range(done, due)]
                self._send(clients, done, stamps, exact=True)
                done = due
            wait_ns = self.first_due_ns + round(done * period_ns) - time.time_ns()
            exact = self._spin and wait_ns < _SPIN_NS
            # A timer of the event loop is late by up to a millisecond: the last stretch is spun.
            await asyncio.sleep(0 if exact else max(0.0, (wait_ns - self._spin * _SPIN_NS) / 1e9))

    def _send(
        self, clients: list[Client[StreamSession]], start: int, stamps_us: list[int], *, exact: bool
    ) -> None:
        name = self._symbol.encode()
        for client in clients:
            session = client.session
            divisor = 1_000 if session.unit == MILLISECOND and not exact else 1
            payloads = [trade_payload(start + i, stamp // divisor, name) for i, stamp in enumerate(stamps_us)]
            if session.combined:
                payloads = [wrap(self._stream, payload) for payload in payloads]
            heads = {len(p): text_frame(p)[: -len(p)] for p in {len(p): p for p in payloads}.values()}
            client.write(b"".join([heads[len(p)] + p for p in payloads]), len(payloads))
            if self.account is not None:
                ids = range(FIRST_ID + start, FIRST_ID + start + len(payloads))
                self.account.sent.extend(Sent(client.number, self._stream, i, i) for i in ids)


@click.command()
@click.argument("count", type=click.IntRange(min=1))
@click.argument("rate", type=float, default=0.0)
@click.option("--port", type=int, default=0, show_default=True)
@click.option("--symbol", default="BTCUSDT", show_default=True)
@click.option("--wait-for", type=int, default=1, show_default=True, help="Clients to wait for.")
def main(count: int, rate: float, port: int, symbol: str, wait_for: int) -> None:
    """Send COUNT trades as fast as they are read, or RATE a second; ends when all are read."""

    async def run() -> None:
        venue = FloodVenue(count, rate=rate, port=port, symbol=symbol, wait_for=wait_for)
        async with venue:
            address = {"ws": venue.ws_url, "http": venue.http_url, "port": venue.port}
            click.echo(msgspec.json.encode(address).decode())
            await venue.wait_ended()
            # A client leaves when it has what it wants.
            await asyncio.gather(*(c.connection.wait_closed() for c in venue.clients.values()))

    asyncio.run(run())


if __name__ == "__main__":
    main()
