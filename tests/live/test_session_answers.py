"""Questions of a paper session: when they leave, how answers come back, and that a rerun asks nobody."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from engine.answers.requests import Request
from engine.config import Latency, RunConfig
from engine.execution.journal_kinds import JournalKind
from engine.live.session import Deliver
from engine.log.journal import read_journal
from engine.model.errors import InternalError
from engine.model.kinds import AnswerData, Kind
from tests.helpers.venue import FakeVenue
from tests.live.test_session import Stage

CONFIG = RunConfig(with_commands=True, latency=Latency(0, 0, 0), answers="log")
ASKING = """
from typing import Annotated

import engine
import msgspec


class Mood(msgspec.Struct):
    sentiment: Annotated[float, msgspec.Meta(ge=-1, le=1)]


MOOD = engine.Prompt("mood", 1, "The price is {price}", Mood)


class Asking(engine.Strategy):
    def on_start(self, ctx):
        self.asked = 0

    def on_trade(self, ctx, trade):
        self.asked += 1
        patience = "1ms" if self.asked == 2 else "60s"
        ctx.ask(MOOD, trade.instrument, timeout=patience, default=Mood(0.0), price=trade.price)

    def on_answer(self, ctx, answer):
        ctx.log(answer.ticket, answer.outcome, answer.late)
        if answer.value.sentiment > 0.5:
            ctx.market(answer.about, 1.0)
"""
REPLAY = (
    "import socket, sys\n"
    "def no(*_): raise AssertionError('a replay reached for the network')\n"
    "socket.socket.connect = socket.socket.connect_ex = socket.create_connection = no\n"
    "from pathlib import Path\nfrom engine.loop.backtest import run_backtest\n"
    "from engine.log.journal import Journal\nfrom engine.strategy.loader import load_strategy\n"
    "import msgspec\nfrom engine.config import RunConfig\n"
    "config = msgspec.json.decode(sys.argv[3], type=RunConfig)\n"
    "journal = Journal()\n"
    "run_backtest([Path(sys.argv[1])], config, load_strategy(sys.argv[2]), journal)\n"
    "assert 'anthropic' not in sys.modules\nprint(journal.close())\n"
)


class Hand:
    """Takes questions; the test answers them."""

    def __init__(self) -> None:
        self.deliver: Deliver = lambda _data, _wire: None
        self.asked: list[tuple[int, Request]] = []
        self.in_the_journal: list[int] = []  # questions there when each was asked
        self.journal: Path | None = None
        self.closed = False

    def taking(self, deliver: Deliver) -> Hand:
        """Itself, knowing where answers go."""
        self.deliver = deliver
        return self

    def ask(self, ticket: int, request: Request, loop_time_ns: int) -> None:
        """Note the question, and how many the journal holds by now."""
        assert loop_time_ns > 0
        self.asked.append((ticket, request))
        assert self.journal is not None
        kinds = [record["kind"] for record in read_journal(self.journal).to_pylist()]
        self.in_the_journal.append(kinds.count(JournalKind.ASK))

    def answer(self, place: int, sentiment: float) -> None:
        """Answer a question."""
        ticket, request = self.asked[place]
        self.deliver(
            AnswerData(
                key=request.key,
                request=request.canonical().decode(),
                outcome="answered",
                ticket=ticket,
                text=f'{{"sentiment":{sentiment}}}',
            ),
            b'{"raw":true}',
        )

    def hurry(self) -> None:
        """It waits for nobody anyway."""

    async def aclose(self) -> None:
        """What nobody has answered has failed."""
        self.closed = True
        for ticket, request in self.asked[2:]:
            failed = AnswerData(request.key, "{}", "failed", ticket=ticket, error="ended")
            self.deliver(failed, None)


def test_questions_leave_after_the_journal_and_answers_are_rows(tmp_path: Path) -> None:
    """One answered in time, one late, one at the end; the loop never waited, and a rerun says the same."""
    (tmp_path / "asking.py").write_text(ASKING)
    hand = Hand()
    hand.journal = tmp_path / "journal.arrow"

    async def story() -> Stage:
        venue = FakeVenue(("BTCUSDT",))
        async with venue.running():
            stage = Stage(
                tmp_path, tmp_path / "asking.py", url=venue.url, config=CONFIG, answerer=hand.taking
            )
            await venue.connected()
            await venue.send(venue.trade("BTCUSDT"))
            await stage.until(lambda: len(hand.asked) == 1)
            hand.answer(0, 0.9)
            await venue.send(venue.trade("BTCUSDT"))
            await stage.until(lambda: any(r["text"] == "2 deadline False" for r in lines(tmp_path)))
            hand.answer(1, 0.8)
            await venue.send(venue.trade("BTCUSDT"))
            await stage.until(lambda: len(hand.asked) == 3)
            stage.session.stop("the test")
            await stage.ended()
        return stage

    stage = asyncio.run(story())
    assert hand.in_the_journal == [1, 2, 3]
    assert hand.closed
    said = [record["text"] for record in lines(tmp_path)]
    assert said[:3] == ["1 answered False", "2 deadline False", "2 answered True"]
    assert [row.data["ticket"] for row in stage.rows if row.kind is Kind.ANSWER] == [1, 2, 3]
    answers = [row for row in stage.rows if row.kind is Kind.ANSWER]
    assert [row.wire for row in answers] == [b'{"raw":true}', b'{"raw":true}', None]
    assert answers[1].data["latency_ns"] > 1_000_000
    assert stage.count(JournalKind.SUBMIT) == 2
    causes = [(r["trigger"], r["trigger_id"]) for r in stage.decisions if r["kind"] == JournalKind.SUBMIT]
    assert causes == [(5, 1), (5, 2)]
    stage.check_replay()
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            REPLAY,
            str(stage.session.log_path),
            str(stage.strategy),
            msgspec.json.encode(CONFIG).decode(),
        ],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == stage.session.runner.journal.hash.head(), done.stderr


def test_a_session_outlives_whoever_asks_for_it(tmp_path: Path) -> None:
    """The end of the process that asks is kept for the session's caller; the log has its end all the same."""
    (tmp_path / "asking.py").write_text(ASKING)

    class Gone(Hand):
        async def aclose(self) -> None:
            raise InternalError("it is gone")

    hand = Gone()
    hand.journal = tmp_path / "journal.arrow"

    async def story() -> Stage:
        venue = FakeVenue(("BTCUSDT",))
        async with venue.running():
            asking = tmp_path / "asking.py"
            stage = Stage(tmp_path, asking, url=venue.url, config=CONFIG, answerer=hand.taking)
            await venue.connected()
            await venue.send(venue.trade("BTCUSDT"))
            await stage.until(lambda: len(hand.asked) == 1)
            stage.session.stop("the test")
            await stage.ended()
        return stage

    stage = asyncio.run(story())
    assert stage.rows[-1].kind is Kind.END
    assert str(stage.session.asking_failure) == "it is gone"
    stage.check_replay()


def lines(folder: Path) -> list[dict[str, str]]:
    """The strategy's own lines so far."""
    path = folder / "journal.arrow"
    return [r for r in read_journal(path).to_pylist() if r["kind"] == 0] if path.exists() else []
