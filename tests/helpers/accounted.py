"""A real recorder at a local venue with faults, in one event loop: its files, and the venue's own lists."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.live.clock import Sequencer
from engine.live.connection import Timeouts
from engine.live.machine import BackOff
from engine.live.recorder import Recorder, RecorderConfig, Summary
from engine.live.tap import TapConfig
from engine.serve.account import Account, Made, Sent
from engine.serve.faults import parse_faults
from engine.serve.server import LocalVenue
from engine.serve.source import Source
from engine.serve.synthetic import SyntheticMarket

LIMIT_S = 60.0
SYMBOLS = ("BTCUSDT", "ETHUSDT")
QUICK = Timeouts(silence_s=0.2, pong_s=1.0, patience=4, overlap_s=0.1, queue_s=0.1)
BACK_OFF = BackOff(base_s=0.01, cap_s=0.05)


@dataclass
class Recorded:
    """One recording and everything that the venue knows of it."""

    files: list[Path]
    summary: Summary
    venue: LocalVenue
    account: Account


def record_under(
    faults: str,
    folder: Path,
    *,
    seed: int = 1,
    messages: int = 1_200,
    channels: tuple[str, ...] = ("trade", "quote", "book"),
    sequencer: Sequencer | None = None,
    enough: Callable[[LocalVenue], bool] = lambda _: True,
    rotate: str = "daily",
    limit_s: float = LIMIT_S,
    source: Source | None = None,
    **dials: object,
) -> Recorded:
    """Record until so many messages were made and it is `enough`, then a calm end. Everything is seeded."""

    async def run() -> Recorded:
        async with asyncio.timeout(limit_s):
            return await _record(
                source or SyntheticMarket(seed, SYMBOLS),
                faults,
                folder,
                seed,
                messages,
                channels,
                sequencer,
                enough,
                rotate,
                {"speed": 20.0, **dials},
            )

    return asyncio.run(run())


async def _record(
    market: Source,
    faults: str,
    folder: Path,
    seed: int,
    messages: int,
    channels: tuple[str, ...],
    sequencer: Sequencer | None,
    enough: Callable[[LocalVenue], bool],
    rotate: str,
    dials: dict[str, object],
) -> Recorded:
    planned = parse_faults([faults])
    venue = LocalVenue(market, faults=planned, fault_seed=seed, account=True, **dials)  # type: ignore[arg-type]
    async with venue:
        account = venue.account
        assert account is not None
        tap = TapConfig(
            symbols=SYMBOLS, channels=channels, url=venue.ws_url, back_off=BACK_OFF, timeouts=QUICK
        )
        config = RecorderConfig(taps=(tap,), folder=folder, rotate=rotate, seal=False, flush_ms=5.0)
        recorder = Recorder(config, sequencer=sequencer)
        recording = asyncio.ensure_future(recorder.record())
        try:
            await until(lambda: recording.done() or (len(account.made) >= messages and enough(venue)))
            venue.calm()
            await _until_all_streams_flow(venue, account, recorder, recording)
            venue.halt()
            await venue.wait_ended()
            await until(lambda: all(client.behind == 0 for client in venue.clients.values()))
            await _until_read(recorder)
            if any("@depth@" in message.stream for message in account.made):
                # What was sent before the calm may have cost a book its step just now.
                await until(lambda: recording.done() or all(map(recorder.intake.synchronised, SYMBOLS)))
        finally:
            recorder.stop("SIGINT")
            await asyncio.wait((recording,))
    return Recorded(recorder.files, recording.result(), venue, account)


async def _until_all_streams_flow(
    venue: LocalVenue, account: Account, recorder: Recorder, recording: asyncio.Future[Summary]
) -> None:
    """After the faults: every stream has brought something new to somebody connected, books are in step.

    New is what was made since, and not only sent: what was kept back tells nothing of what was left out.
    """
    begun, sent_before = len(account.made), len(account.sent)
    streams = {message.stream for message in account.made}

    def flow() -> bool:
        here = venue.clients.keys()
        new = {_named(message) for message in account.made[begun:]}
        sent = (sent for sent in account.sent[sent_before:] if sent.client in here)
        flowing = {message.stream for message in sent if _named(message) in new}
        steady = "@depth@100ms" not in "".join(streams) or all(map(recorder.intake.synchronised, SYMBOLS))
        return recording.done() or (flowing >= streams and steady)

    await until(flow)


def _named(message: Made | Sent) -> tuple[str, int, int]:
    return message.stream, message.first, message.stamp


async def _until_read(recorder: Recorder) -> None:
    """Nothing that was sent is still on its way."""
    seen = -1
    while seen != recorder.intake.frames:
        seen = recorder.intake.frames
        await asyncio.sleep(0.05)


def struck(fault: str, times: int) -> Callable[[LocalVenue], bool]:
    """Enough: so many faults of a name have been committed."""

    def enough(venue: LocalVenue) -> bool:
        assert venue.account is not None
        return sum(committed.fault == fault for committed in venue.account.faults) >= times

    return enough


def joined(clients: int) -> Callable[[LocalVenue], bool]:
    """Enough: so many clients have been sent something, one after the other."""
    return lambda venue: any(sent.client >= clients for sent in reversed(venue.sent))


def struck_all(faults: Iterable[str]) -> Callable[[LocalVenue], bool]:
    """Enough: each of these has been committed."""
    parts = [struck(fault, 1) for fault in faults]
    return lambda venue: all(part(venue) for part in parts)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds, giving the event loop its turns."""
    while not condition():  # noqa: ASYNC110  conditions on lists have no event
        await asyncio.sleep(0.005)
