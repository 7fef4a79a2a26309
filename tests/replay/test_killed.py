"""Sessions that are killed: what their orders depended on is in the log, and a replay decides the same."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.execution.journal_kinds import JournalKind
from engine.log.journal import STRATEGY_LINE, read_journal
from engine.log.reader import LogReader
from engine.model.kinds import Kind
from tests.helpers.command import ENGINE, call, local_venue, run_folders, running, until, warm
from tests.helpers.rows import Row, rows_of_batch
from tests.helpers.venue import FakeVenue

STRATEGIES = Path(__file__).parents[1] / "helpers" / "strategies"
BUSY = ("--strategy", str(STRATEGIES / "busy.py"))
LATE = ("--strategy", str(STRATEGIES / "late.py"))
LIMIT_S = 40.0


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A local venue with an invented market, for all tests of this file."""
    with local_venue(tmp_path_factory.mktemp("venue")) as address:
        yield address


def journal_of(cwd: Path) -> list[dict[str, Any]]:
    """What the only run below `cwd` has in its journal by now; [] before it has one."""
    folders = run_folders(cwd)
    if not folders or not (folders[0] / "journal.arrow").exists():
        return []
    return list(read_journal(folders[0] / "journal.arrow").to_pylist())


def check_killed_run(cwd: Path, strategy: tuple[str, str]) -> tuple[list[dict[str, Any]], list[Row]]:
    """Causes are logged, verify agrees, and the journal is how a backtest's begins; journal and log."""
    (folder,) = run_folders(cwd)
    recorded = journal_of(cwd)
    with LogReader(folder / "log.arrow") as reader:
        rows = [row for batch in reader.batches() for row in rows_of_batch(batch)]
        assert not reader.sealed
    assert all(record["cause_seq"] < len(rows) for record in recorded)
    verified = call("verify", folder, *strategy, "--json", cwd=cwd).ok().json
    assert verified["same"]
    assert not verified["finished"]
    assert verified["decisions"] == len([r for r in recorded if r["kind"] != STRATEGY_LINE]) > 0
    assert "the run did not finish" in verified["notes"][-1]
    again = ("backtest", folder / "log.arrow", *strategy, "--with-commands", "--runs", "again", "--json")
    replayed = read_journal(cwd / call(*again, cwd=cwd).ok().json["run_dir"] / "journal.arrow").to_pylist()
    # Record by record with what the hash leaves out: the causing row, the trigger, the strategy's lines.
    assert replayed[: len(recorded)] == recorded
    return recorded, rows


def kill_once(url: str, cwd: Path, chance: random.Random) -> None:
    """Start a session, let it decide a random number of things and go on a little, kill it, check."""
    listen = ("--symbols", "BTCUSDT,ETHUSDT", "--url", url)
    with running("live", "--paper", *listen, *BUSY, cwd=cwd) as session:
        wanted = chance.randrange(1, 60)
        until(lambda: len(journal_of(cwd)) >= wanted, f"{wanted} decisions")
        for _ in range(chance.randrange(20_000)):
            pass
        session.send(signal.SIGKILL)
        assert session.end().code == -signal.SIGKILL
    check_killed_run(cwd, BUSY)


@pytest.mark.parametrize("seed", range(21, 25), ids=lambda seed: f"seed{seed}")
def test_killed_at_a_random_moment(seed: int, venue: str, tmp_path: Path) -> None:
    """Every row that a decision depended on is in the log; verify passes; the replay begins like it."""
    kill_once(venue, tmp_path, random.Random(seed))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1_000, 1_040), ids=lambda seed: f"seed{seed}")
def test_killed_at_many_random_moments(seed: int, venue: str, tmp_path: Path) -> None:
    """The same, forty times."""
    kill_once(venue, tmp_path, random.Random(seed))


def test_a_timer_after_the_last_message_fires_at_the_same_place_in_a_replay(tmp_path: Path) -> None:
    """The venue falls silent, a timer sends an order, the session is killed: the replay agrees exactly."""

    def submitted() -> bool:
        return any(record["kind"] == JournalKind.SUBMIT for record in journal_of(tmp_path))

    async def story() -> None:
        fake = FakeVenue(("BTCUSDT",))
        async with fake.running(), asyncio.timeout(LIMIT_S):
            listen = ("--symbols", "BTCUSDT", "--channels", "trade", "--url", fake.url)
            process = await asyncio.create_subprocess_exec(
                *ENGINE, "live", "--paper", *listen, *LATE, cwd=tmp_path, stdout=asyncio.subprocess.DEVNULL
            )
            await fake.connected()
            await fake.send(fake.trade("BTCUSDT"))
            await asyncio.to_thread(until, submitted, "the timer's order")
            process.kill()
            await process.wait()

    warm()
    asyncio.run(story())
    recorded, rows = check_killed_run(tmp_path, LATE)
    line, submit = recorded[:2]
    assert line["text"] == "the timer buy fired"
    assert submit["trigger"] == 2
    trade = next(row for row in rows if row.kind is Kind.TRADE)
    assert submit["ts"] == trade.ts + 150_000_000
    clock = rows[rows.index(trade) + 1]
    assert clock.kind is Kind.CLOCK
    assert clock.ts >= submit["ts"]
