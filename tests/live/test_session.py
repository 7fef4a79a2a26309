"""A paper session against a venue under the test's hand: what is logged, when, and how it ends."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.config import Latency, RunConfig
from engine.execution.journal_kinds import JournalKind
from engine.execution.orders import Reason
from engine.live import session as module
from engine.live.clock import Sequencer
from engine.live.session import Answerer, Deliver, Session, SessionConfig
from engine.live.tap import TapConfig
from engine.log.journal import STRATEGY_LINE, Journal, read_journal
from engine.log.reader import LogReader
from engine.log.schema import Batch
from engine.log.seal import seal
from engine.log.segments import FreeSpace
from engine.loop.backtest import run_backtest
from engine.model.errors import StrategyError
from engine.model.kinds import Flag, Kind
from engine.model.units import MILLISECOND_NS, SECOND_NS
from engine.strategy.loader import load_strategy
from tests.helpers.logs import make_log, trade, write_log
from tests.helpers.rows import Row, rows_of_batch
from tests.helpers.venue import FakeVenue
from tests.strategy.write import write_strategy

LIMIT_S = 30.0
HOUR_NS = 3600 * SECOND_NS
AT_ONCE = RunConfig(with_commands=True, latency=Latency(0, 0, 0))
NEVER = RunConfig(with_commands=True, latency=Latency(0, 1_000 * SECOND_NS, 0))  # orders stay on their way

# Beats every 20 ms from the first trade on, and tries to buy at each beat.
BEATING = """
class Beating(engine.Strategy):
    def on_trade(self, ctx, trade):
        self.who = trade.instrument
        ctx.every("20ms", "beat")
    def on_timer(self, ctx, name):
        ctx.market(self.who, 1.0)
"""


class Stage:
    """A session of one strategy, its folder, and what can be waited for."""

    def __init__(
        self,
        folder: Path,
        strategy: Path,
        *,
        url: str = "",
        tail: Path | None = None,
        config: RunConfig = AT_ONCE,
        sequencer: Sequencer | None = None,
        answerer: Callable[[Deliver], Answerer] | None = None,
    ) -> None:
        self.folder = folder
        self.strategy = strategy
        self.config = config
        self.changed = asyncio.Event()
        taps = (TapConfig(symbols=("BTCUSDT",), channels=("trade",), url=url),) if url else ()
        self.session = Session(
            SessionConfig(folder=folder, run=config, taps=taps, tail=tail),
            load_strategy(str(strategy)),
            Journal(folder / "journal.arrow"),
            sequencer=sequencer,
            on_decided=self.changed.set,
            answerer=answerer,
        )
        self.running = asyncio.ensure_future(self.session.run())

    @property
    def decisions(self) -> list[dict[str, Any]]:
        """What has been decided so far."""
        return [r for r in read_journal(self.folder / "journal.arrow").to_pylist() if r["kind"]]

    @property
    def rows(self) -> list[Row]:
        """The session's log; [] before it has one."""
        if self.session.log_header is None:
            return []
        with LogReader(self.session.log_path) as reader:
            return [row for batch in reader.batches() for row in rows_of_batch(batch)]

    def count(self, kind: int) -> int:
        """Decisions of a kind."""
        return sum(record["kind"] == kind for record in self.decisions)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; it is looked at after every turn."""
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self.changed.clear()
                turned = asyncio.ensure_future(self.changed.wait())
                await asyncio.wait((turned, self.running), return_when=asyncio.FIRST_COMPLETED)
                turned.cancel()
                assert not self.running.done() or condition(), self.running

    async def ended(self) -> None:
        """Wait for the session's end; raises what it raised."""
        async with asyncio.timeout(LIMIT_S):
            await self.running
        self.session.runner.journal.close()

    def check_replay(self) -> None:
        """A run over the session's log decides the same, record by record."""
        again = Journal(self.folder / "again.arrow")
        run_backtest([self.session.log_path], self.config, load_strategy(str(self.strategy)), again)
        again.close()
        ours = read_journal(self.folder / "journal.arrow").to_pylist()
        assert read_journal(self.folder / "again.arrow").to_pylist() == ours


def beating(folder: Path) -> Path:
    """The strategy that beats, as a file."""
    path = folder / "beating.py"
    path.write_text("import engine\n" + BEATING)
    return path


def test_timers_keep_their_pace_while_the_wall_clock_steps_an_hour(tmp_path: Path) -> None:
    """Forward and back: beats stay 20 ms apart, time never jumps, orders halt and say why."""
    step_ns = 0

    async def story() -> Stage:
        nonlocal step_ns
        sequencer = Sequencer(wall=lambda: time.time_ns() + step_ns, interval_ns=50 * MILLISECOND_NS)
        venue = FakeVenue(("BTCUSDT",))
        async with venue.running():
            stage = Stage(tmp_path, beating(tmp_path), url=venue.url, sequencer=sequencer)
            await venue.connected()
            await venue.send(venue.trade("BTCUSDT"))
            await stage.until(lambda: stage.count(JournalKind.SUBMIT) >= 5)
            step_ns = HOUR_NS
            await stage.until(lambda: stage.count(JournalKind.REFUSED) >= 5)
            step_ns = -HOUR_NS
            await stage.until(lambda: stage.count(JournalKind.REFUSED) >= 15)
            step_ns = 0
            before = stage.count(JournalKind.SUBMIT)
            await stage.until(lambda: stage.count(JournalKind.SUBMIT) >= before + 5)
            stage.session.stop("the test")
            await stage.ended()
        return stage

    stage = asyncio.run(story())
    beats = [r["ts"] for r in stage.decisions if r["kind"] in {JournalKind.SUBMIT, JournalKind.REFUSED}]
    assert {b - a for a, b in itertools.pairwise(beats)} == {20 * MILLISECOND_NS}
    times = [row.ts for row in stage.rows]
    assert all(a < b for a, b in itertools.pairwise(times))
    assert max(b - a for a, b in itertools.pairwise(times)) < LIMIT_S * SECOND_NS
    levels = [row.data.get("last", 0) for row in stage.rows if row.event == "clock_offset"]
    assert levels[0] == 2
    assert levels[-1] == 0
    assert {r["reason"] for r in stage.decisions if r["kind"] == JournalKind.REFUSED} == {Reason.HALTED}
    stage.check_replay()


def test_the_loop_sees_no_row_that_is_not_in_the_file(tmp_path: Path) -> None:
    """At every step, a reader of the file already finds the rows that the step is about."""
    seen: list[int] = []

    async def story() -> Stage:
        venue = FakeVenue(("BTCUSDT",))
        async with venue.running():
            stage = Stage(tmp_path, beating(tmp_path), url=venue.url)
            feed = stage.session.runner.feed

            def checked(batch: Batch, file: int = 0) -> None:
                with LogReader(stage.session.log_path) as reader:
                    safe = sum(found.count for found in reader.batches())
                assert batch.first_seq + batch.count <= safe
                seen.append(safe)
                feed(batch, file)

            stage.session.runner.feed = checked  # type: ignore[method-assign]
            await venue.connected()
            for _ in range(20):
                await venue.send(venue.trade("BTCUSDT"))
            await stage.until(lambda: stage.count(JournalKind.FILL) >= 3)
            stage.session.stop("the test")
            await stage.ended()
        return stage

    stage = asyncio.run(story())
    assert seen[-1] == len(stage.rows)
    stage.check_replay()


def test_a_second_stop_does_not_wait_for_the_ends_of_orders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders that never arrive would be waited for; the second Ctrl-C ends it, and the replay agrees."""
    monkeypatch.setattr(module, "PATIENCE_S", 10_000.0)

    async def story() -> Stage:
        venue = FakeVenue(("BTCUSDT",))
        async with venue.running():
            stage = Stage(tmp_path, beating(tmp_path), url=venue.url, config=NEVER)
            await venue.connected()
            await venue.send(venue.trade("BTCUSDT"))
            await stage.until(lambda: stage.count(JournalKind.SUBMIT) >= 2)
            stage.session.stop("SIGINT")
            await stage.until(lambda: stage.count(JournalKind.CANCEL) >= 2)
            assert not stage.running.done()
            stage.session.stop("SIGINT")
            await stage.ended()
        return stage

    stage = asyncio.run(story())
    assert stage.session.reason == "SIGINT"
    assert stage.session.runner.context.live
    assert stage.rows[-1].kind is Kind.END
    stage.check_replay()


def test_patience_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders whose ends do not come hold nobody up for ever."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)

    async def story() -> Stage:
        venue = FakeVenue(("BTCUSDT",))
        async with venue.running():
            stage = Stage(tmp_path, beating(tmp_path), url=venue.url, config=NEVER)
            await venue.connected()
            await venue.send(venue.trade("BTCUSDT"))
            await stage.until(lambda: stage.count(JournalKind.SUBMIT) >= 2)
            stage.session.stop("SIGTERM")
            await stage.ended()
        return stage

    stage = asyncio.run(story())
    assert stage.rows[-1].data == {"reason": "SIGTERM"}
    stage.check_replay()


def test_a_stop_before_anything_arrived(tmp_path: Path) -> None:
    """A venue that accepts and says nothing: a stop ends the session without a log."""

    async def story() -> Stage:
        silent, left = asyncio.Event(), asyncio.Event()

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            silent.set()
            while await reader.read(4096):
                pass
            writer.close()
            await writer.wait_closed()
            left.set()

        server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = next(iter(server.sockets)).getsockname()[1]
        stage = Stage(tmp_path, beating(tmp_path), url=f"ws://127.0.0.1:{port}")
        async with asyncio.timeout(LIMIT_S):
            await silent.wait()
        stage.session.stop("SIGINT")
        await stage.ended()
        async with asyncio.timeout(LIMIT_S):
            await left.wait()
        server.close()
        await server.wait_closed()
        return stage

    stage = asyncio.run(story())
    assert stage.session.log_header is None
    assert stage.session.ended
    assert not stage.session.log_path.exists()


def test_a_strategys_exception_closes_the_log(tmp_path: Path) -> None:
    """File, line, seq and event are in the error; the log ends, can be sealed, and fails alike again."""
    strategy = write_strategy(
        tmp_path,
        """
        self.count = getattr(self, "count", 0) + 1
        if self.count == 2:
            ctx.market(trade.instrument, 1.0)
        if self.count == 4:
            raise ValueError(f"a bad price {1 / 0}")
        """,
    )
    strategy.write_text(strategy.read_text().replace('getattr(self, "count", 0)', "self.count"))
    strategy.write_text(strategy.read_text().replace("    def on_trade", "    count = 0\n    def on_trade"))

    async def story() -> Stage:
        venue = FakeVenue(("BTCUSDT",))
        async with venue.running():
            stage = Stage(tmp_path, strategy, url=venue.url)
            await venue.connected()
            for _ in range(6):
                await venue.send(venue.trade("BTCUSDT"))
            with pytest.raises(StrategyError) as caught:
                await stage.ended()
            failures.append(caught.value)
        stage.session.runner.journal.close()
        return stage

    failures: list[StrategyError] = []
    stage = asyncio.run(story())
    trades = [(seq, row) for seq, row in enumerate(stage.rows) if row.kind is Kind.TRADE]
    seq, fourth = trades[3]
    message = failures[0].message
    assert f"seq {seq}, " in message
    assert "mine.py:" in message
    assert "in on_trade: ZeroDivisionError: division by zero" in message
    assert "Trade(instrument=" in message
    assert f"id={fourth.id}" in message
    assert stage.count(JournalKind.SUBMIT) == 1
    assert stage.rows[-1].kind is Kind.END
    assert stage.rows[-1].data == {"reason": "error"}
    assert seal(stage.session.log_path).rows == len(stage.rows)
    with pytest.raises(StrategyError) as again:
        stage.check_replay()
    assert again.value.message == message


@pytest.mark.parametrize("level", ["warn", "stop"])
def test_a_disk_that_runs_full(level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below a tenth free a row says so; below a fiftieth new orders are refused, and a replay agrees."""
    space = FreeSpace(50 << 30, 0.5, "ok")
    monkeypatch.setattr(module, "free_space", lambda _folder: space)
    monkeypatch.setattr(module, "DISK_CHECK_S", 0.005)

    async def story() -> Stage:
        nonlocal space
        venue = FakeVenue(("BTCUSDT",))
        async with venue.running():
            stage = Stage(tmp_path, beating(tmp_path), url=venue.url)
            await venue.connected()
            await venue.send(venue.trade("BTCUSDT"))
            await stage.until(lambda: stage.count(JournalKind.SUBMIT) >= 2)
            space = FreeSpace(1 << 30, 0.01, level)
            await stage.until(lambda: any(row.event == "disk_low" for row in stage.rows))
            before = stage.count(JournalKind.SUBMIT)
            if level == "stop":
                await stage.until(lambda: stage.count(JournalKind.REFUSED) >= 2)
                space = FreeSpace(50 << 30, 0.5, "ok")
            await stage.until(lambda: stage.count(JournalKind.SUBMIT) > before)
            stage.session.stop("the test")
            await stage.ended()
        return stage

    stage = asyncio.run(story())
    details = [row.data["detail"] for row in stage.rows if row.event == "disk_low"]
    assert details[0].endswith(f"free: {level}")
    assert (stage.count(JournalKind.REFUSED) > 0) == (level == "stop")
    stage.check_replay()


def test_a_followed_log_that_has_ended(tmp_path: Path) -> None:
    """Its rows, without its END row, are the session's; the session ends by itself and replays."""
    original = make_log(tmp_path / "recorded.arrow", [trade(n / 10, id=n) for n in range(1, 60)])

    async def story() -> Stage:
        stage = Stage(tmp_path, beating(tmp_path), tail=original)
        await stage.ended()
        return stage

    stage = asyncio.run(story())
    assert stage.session.reason == "the followed log ended"
    assert stage.rows[-1].data == {"reason": "the followed log ended"}
    with LogReader(original) as reader:
        recorded = [row for batch in reader.batches() for row in rows_of_batch(batch)]
    assert stage.rows[:-1] == recorded[:-1]
    assert stage.count(JournalKind.SUBMIT) > 100  # its timers live on the followed log's time
    stage.check_replay()


def test_a_stop_stands_between_followed_rows(tmp_path: Path) -> None:
    """The COMMAND takes the next nanosecond; a followed row that came at that very time goes after it."""
    first, second = trade(1, id=1), trade(1.000000001, id=2)
    third = trade(2, id=3)

    async def story() -> Stage:
        writer = write_log(tmp_path / "recorded.arrow", [first])
        stage = Stage(tmp_path, beating(tmp_path), tail=writer.path, config=NEVER)
        # The strategy has begun to beat; now its order needs the recorder's time to go on.
        await stage.until(lambda: any(row.kind is Kind.TRADE for row in stage.rows))
        stage.session.stop("the test")
        await stage.until(lambda: any(row.kind is Kind.COMMAND for row in stage.rows))
        await stage.ended()
        writer.abandon()
        return stage

    stage = asyncio.run(story())
    command = next(row for row in stage.rows if row.kind is Kind.COMMAND)
    assert command.ts == first.ts + 1
    # The same moment again, from the other side: rows that do not increase are moved, messages kept whole.
    buffer = write_log(tmp_path / "more.arrow", [])
    for message in (first, second, third):
        message.append_to(buffer.rows)
    packed = buffer.rows.view().copy()
    buffer.abandon()
    stage.session.sequencer.last = first.ts + 1
    stage.session._retime(packed)
    assert packed["ts"].tolist() == [first.ts + 2, first.ts + 3, third.ts]
    assert stage.session.sequencer.last == third.ts
    assert bool((packed["flags"] & Flag.LAST).all())
    stage.check_replay()


def test_lines_of_the_strategy_are_in_the_journal(tmp_path: Path) -> None:
    """`ctx.log` while it runs: outside the hash, beside the decisions, where they were said."""
    strategy = write_strategy(tmp_path, 'ctx.log("saw", trade.id)\nctx.market(trade.instrument, 1.0)')

    async def story() -> Stage:
        venue = FakeVenue(("BTCUSDT",))
        async with venue.running():
            stage = Stage(tmp_path, strategy, url=venue.url)
            await venue.connected()
            for _ in range(3):
                await venue.send(venue.trade("BTCUSDT"))
            await stage.until(lambda: stage.count(JournalKind.FILL) >= 3)
            stage.session.stop("the test")
            await stage.ended()
        return stage

    stage = asyncio.run(story())
    records = read_journal(tmp_path / "journal.arrow").to_pylist()
    lines = [record for record in records if record["kind"] == STRATEGY_LINE]
    trades = [row.id for row in stage.rows if row.kind is Kind.TRADE]
    assert [line["text"] for line in lines] == [f"saw {number}" for number in trades]
    stage.check_replay()
