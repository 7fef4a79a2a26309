"""How a session ends, and what it takes from a log that it follows: the corners."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.execution.journal_kinds import JournalKind
from engine.live import session as module
from engine.log.segments import FreeSpace
from engine.model.errors import EngineError, StrategyError, UsageError
from engine.model.kinds import CommandData, Kind
from tests.helpers.logs import engine_row, make_log, trade, write_log
from tests.helpers.venue import FakeVenue
from tests.live.test_session import NEVER, Stage, beating

FAILING_STOP = """
class Failing(engine.Strategy):
    def on_trade(self, ctx, trade):
        pass
    def on_stop(self, ctx):
        raise ValueError("not like this")
"""


def test_a_strategy_that_fails_in_on_stop(tmp_path: Path) -> None:
    """The log has one END row, and a replay fails alike."""
    strategy = tmp_path / "failing.py"
    strategy.write_text("import engine\n" + FAILING_STOP)
    original = make_log(tmp_path / "recorded.arrow", [trade(n, id=n) for n in range(1, 5)])

    async def story() -> Stage:
        stage = Stage(tmp_path, strategy, tail=original)
        with pytest.raises(StrategyError, match="not like this"):
            await stage.ended()
        stage.session.runner.journal.close()
        return stage

    stage = asyncio.run(story())
    assert [row.kind for row in stage.rows].count(Kind.END) == 1
    with pytest.raises(StrategyError, match="not like this"):
        stage.check_replay()


def test_a_closed_session_does_not_wake_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something is still due when patience ends: no timer is left that would write to a closed log."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)

    async def story() -> Stage:
        venue = FakeVenue(("BTCUSDT",))
        async with venue.running():
            stage = Stage(tmp_path, beating(tmp_path), url=venue.url, config=NEVER)
            await venue.connected()
            await venue.send(venue.trade("BTCUSDT"))
            await stage.until(lambda: stage.count(JournalKind.SUBMIT) >= 2)
            stage.session.stop("the test")
            await stage.ended()
        return stage

    stage = asyncio.run(story())
    assert stage.session.runner.next_due() is not None
    timer = stage.session._due_timer
    assert timer is None or timer.cancelled()


def test_a_stop_waits_for_what_is_sent_before_the_loop_has_it(tmp_path: Path) -> None:
    """Nothing is open when Ctrl-C comes, but the turn before the COMMAND row still sends an order."""

    async def story() -> None:
        venue = FakeVenue(("BTCUSDT",))
        async with venue.running():
            stage = Stage(tmp_path, beating(tmp_path), url=venue.url)
            await venue.connected()
            await stage.until(lambda: bool(stage.rows))
            session = stage.session
            assert not session.runner.context.live
            session.stop("the test")
            session._rows.append(session.sequencer.stamp(), Kind.CLOCK, flags=module.LAST)
            session._turn()
            assert not session._drained.is_set()
            await stage.ended()
            assert session._drained.is_set()
            assert [row.kind for row in stage.rows].count(Kind.COMMAND) == 1

    asyncio.run(story())


def test_commands_to_another_session_are_not_followed(tmp_path: Path) -> None:
    """A log of another session's holds its stop: ours goes on, and its log has no command."""
    messages = [trade(n / 10, id=n) for n in range(1, 40)]
    messages.insert(20, engine_row(2.05, Kind.COMMAND, CommandData("stop", "SIGINT")))
    original = make_log(tmp_path / "recorded.arrow", messages)

    async def story() -> Stage:
        stage = Stage(tmp_path, beating(tmp_path), tail=original)
        await stage.ended()
        return stage

    stage = asyncio.run(story())
    assert not [row for row in stage.rows if row.kind is Kind.COMMAND]
    after = [row.ts for row in stage.rows if row.kind is Kind.TRADE][25]
    assert [r for r in stage.decisions if r["kind"] == JournalKind.SUBMIT and r["ts"] > after]
    stage.check_replay()


def test_a_followed_log_that_has_no_rows_yet(tmp_path: Path) -> None:
    """A stop before its first row leaves no log: there is no time that its rows could have."""

    async def story() -> Stage:
        writer = write_log(tmp_path / "recorded.arrow", [], with_definitions=False)
        stage = Stage(tmp_path, beating(tmp_path), tail=writer.path)
        stage.session.stop("the test")
        await stage.ended()
        writer.abandon()
        return stage

    stage = asyncio.run(story())
    assert stage.session.log_header is None
    assert not stage.session.log_path.exists()


def test_a_disk_that_runs_full_while_a_log_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row stands a nanosecond after the last one that was followed, and halts orders."""
    monkeypatch.setattr(module, "DISK_CHECK_S", 0.005)
    monkeypatch.setattr(module, "free_space", lambda _folder: FreeSpace(1 << 20, 0.001, "stop"))

    async def story() -> Stage:
        writer = write_log(tmp_path / "recorded.arrow", [trade(1, id=1)])
        stage = Stage(tmp_path, beating(tmp_path), tail=writer.path)
        await stage.until(lambda: any(row.event == "disk_low" for row in stage.rows))
        trade(2, id=2).append_to(writer.rows)
        writer.flush()
        await stage.until(lambda: stage.count(JournalKind.REFUSED) >= 2)
        stage.session.stop("the test")
        await stage.ended()
        writer.abandon()
        return stage

    stage = asyncio.run(story())
    place = next(i for i, row in enumerate(stage.rows) if row.event == "disk_low")
    assert stage.rows[place].ts == stage.rows[place - 1].ts + 1 == trade(1).ts + 1
    stage.check_replay()


def test_a_disk_that_cannot_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session ends with its name, and its log with an END row."""

    def gone(_folder: Path) -> FreeSpace:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module, "DISK_CHECK_S", 0.005)

    async def story() -> Stage:
        venue = FakeVenue(("BTCUSDT",))
        async with venue.running():
            stage = Stage(tmp_path, beating(tmp_path), url=venue.url)
            await venue.connected()
            await stage.until(lambda: bool(stage.rows))
            monkeypatch.setattr(module, "free_space", gone)
            with pytest.raises(EngineError, match="what is free there cannot be read: Input/output error"):
                await stage.ended()
        return stage

    stage = asyncio.run(story())
    assert stage.rows[-1].data == {"reason": "error"}


def test_a_log_that_cannot_be_created_leaves_the_venue(tmp_path: Path) -> None:
    """The connection was open by then: it is closed before the error is told."""

    async def story() -> None:
        venue = FakeVenue(("BTCUSDT",))
        async with venue.running():
            stage = Stage(tmp_path, beating(tmp_path), url=venue.url)
            stage.session.log_path.touch()
            with pytest.raises(UsageError, match="exists already"):
                await stage.ended()
            assert venue.connects == 1
            await venue.disconnected()

    asyncio.run(story())
