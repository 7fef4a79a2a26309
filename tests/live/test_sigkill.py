"""A recorder that is killed at a random moment: what it had acknowledged is there, and it goes on."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import sys
from pathlib import Path

import pytest

from engine.log.reader import LogReader
from engine.log.segments import segment_order
from engine.model.kinds import Flag, Kind
from tests.helpers.rows import Row, rows_of_batch, wires
from tests.helpers.venue import FakeVenue

LIMIT_S = 30.0
ROOT = Path(__file__).resolve().parents[2]
BOTH = ("BTCUSDT", "ETHUSDT")


class Killed:
    """One life of a recorder: what it had acknowledged before it was killed."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, int] = {}  # file name to rows
        self.sent_before = 0  # frames the venue had sent when it connected


async def _start(venue: FakeVenue, folder: Path, rotate: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.helpers.recording",
        venue.url,
        str(folder),
        rotate,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )


async def _send_until(venue: FakeVenue, stop: asyncio.Event) -> None:
    while not stop.is_set():
        for symbol in BOTH:
            await venue.send(venue.trade(symbol), venue.depth(symbol), venue.quote(symbol))
        await asyncio.sleep(0)


async def _live_and_die(venue: FakeVenue, folder: Path, chance: random.Random, rotate: str) -> Killed:
    """Start a recorder, let it take in a random number of flushes, kill it."""
    life = Killed()
    connects = venue.connects
    process = await _start(venue, folder, rotate)
    assert process.stdout is not None
    await venue.connected(connects + 1)
    life.sent_before = len(venue.sent)
    stop = asyncio.Event()
    sending = asyncio.ensure_future(_send_until(venue, stop))
    # The kill comes after a random number of flushes and a random number of turns more, so that it meets
    # a flush at any point of its work.
    async with asyncio.timeout(LIMIT_S):
        for _ in range(chance.randrange(1, 40)):
            name, rows = (await process.stdout.readline()).split()
            life.acknowledged[name.decode()] = int(rows)
        for _ in range(chance.randrange(0, 60)):
            await asyncio.sleep(0)
        process.send_signal(signal.SIGKILL)
        for line in (await process.stdout.read()).splitlines():
            name, rows = line.split()
            life.acknowledged[name.decode()] = int(rows)
        assert await process.wait() == -signal.SIGKILL
        stop.set()
        await sending
        await venue.disconnected()
    return life


def read(path: Path) -> tuple[LogReader, list[Row]]:
    with LogReader(path) as reader:
        return reader, [row for batch in reader.batches() for row in rows_of_batch(batch)]


def assert_life_is_kept(life: Killed, folder: Path, venue: FakeVenue) -> None:
    """Every acknowledged row is in its file; the frames are what the venue sent, from the first on."""
    frames: list[str] = []
    for name in sorted(life.acknowledged, key=lambda name: segment_order(folder / name)):
        reader, rows = read(folder / name)
        assert reader.next_seq >= life.acknowledged[name], (name, reader.tail)
        assert all(row.flags & Flag.LAST for row in rows[-1:]), "a batch holds whole messages"
        assert all(a.ts <= b.ts for a, b in itertools.pairwise(rows))
        frames += wires(rows, 1)
    assert frames == venue.sent[life.sent_before : life.sent_before + len(frames)]
    assert frames


def story(folder: Path, *, seed: int, kills: int, rotate: str) -> None:
    """Kill a recorder again and again; each time another one goes on; the last is ended politely."""
    chance = random.Random(seed)

    async def run() -> tuple[FakeVenue, list[Killed]]:
        venue = FakeVenue(seed=seed)
        async with venue.running():
            lives = [await _live_and_die(venue, folder, chance, rotate) for _ in range(kills)]
            process = await _start(venue, folder, rotate)
            await venue.connected(kills + 1)
            assert process.stdout is not None
            async with asyncio.timeout(LIMIT_S):
                await process.stdout.readline()
                process.terminate()
                await process.stdout.read()
                assert await process.wait() == 0
        return venue, lives

    venue, lives = asyncio.run(run())
    for life in lives:
        assert_life_is_kept(life, folder, venue)
    paths = sorted(folder.glob("*.arrow"), key=segment_order)
    if rotate == "daily":
        assert len(paths) == kills + 1
    before: LogReader | None = None
    last: Row | None = None
    for number, path in enumerate(paths, start=1):
        reader, rows = read(path)
        assert reader.header.segment == number
        if before is not None:
            assert reader.header.previous_file == before.path.name
            assert reader.header.previous_chain == before.chain_head
        before = reader
        if not rows:  # killed between the file's creation and its first flush
            continue
        assert last is None or rows[0].ts > last.ts
        if last is not None and last.kind is not Kind.END:  # killed there
            interruption = next(row for row in rows if row.kind is Kind.STATUS)
            assert interruption.event == "disconnected"
            assert interruption.data["first"] >= last.ts
        last = rows[-1]
    assert last is not None
    assert last.data == {"reason": "SIGTERM"}


@pytest.mark.parametrize(("seed", "rotate"), [(11, "daily"), (12, "40KB")])
def test_killed_while_recording(tmp_path: Path, seed: int, rotate: str) -> None:
    """Five kills, without and with rotation: acknowledged rows are there, each restart a new segment."""
    story(tmp_path, seed=seed, kills=5, rotate=rotate)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 110))
def test_killed_while_recording_many_times(tmp_path: Path, seed: int) -> None:
    """A hundred kills: the same."""
    story(tmp_path, seed=seed, kills=10, rotate=("daily", "40KB", "15KB")[seed % 3])
