"""A strategy that asks, from a paper session to a rerun that asks nobody, as a user meets it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.live.asking_process import AskingProcess
from engine.log.journal import read_journal
from engine.log.reader import LogReader
from engine.model.errors import InternalError
from engine.model.kinds import Kind
from tests.helpers.command import call, engine, local_venue, run_folders, running, until
from tests.helpers.rows import rows_of_batch

ASKING = """
from typing import Annotated

import engine
import msgspec


class Sentiment(msgspec.Struct):
    sentiment: Annotated[float, msgspec.Meta(ge=-1, le=1)]
    rationale: str


SENTIMENT = engine.Prompt("sentiment", 1, "Headline: profit rises at price {price}", Sentiment)


class Asking(engine.Strategy):
    def on_start(self, ctx):
        self.asked = 0

    def on_trade(self, ctx, trade):
        if self.asked < 5:
            self.asked += 1
            ctx.ask(
                SENTIMENT,
                trade.instrument,
                timeout="20s",
                default=Sentiment(0.0, ""),
                price=round(trade.price, -3),
            )

    def on_answer(self, ctx, answer):
        ctx.log(answer.ticket, answer.outcome, answer.value.rationale)
        if answer.value.sentiment > 0.1:
            with ctx.because(answer.ticket):
                ctx.market(answer.about, 0.01)
"""

# A session whose venue is not there: it is not reached before it is known whether one can ask.
NOWHERE = (
    *("live", "--paper", "--symbols", "BTCUSDT"),
    *("--url", "http://127.0.0.1:9", "--strategy", "asking.py"),
)


def answered(folder: Path) -> list[str]:
    """What the strategy wrote down of its answers."""
    path = folder / "journal.arrow"
    if not path.exists():
        return []
    return [record["text"] for record in read_journal(path).to_pylist() if record["kind"] == 0]


def test_a_session_is_answered_and_every_rerun_gives_the_same_without_asking(tmp_path: Path) -> None:
    """Live against the local API; verify, its log once more, and from the store with what was bought."""
    (tmp_path / "asking.py").write_text(ASKING)
    mine = ("--strategy", "asking.py", "--json")
    with (
        local_venue(tmp_path) as venue,
        running("serve", "--as", "messages", "--port", "0", "--json", cwd=tmp_path) as api,
    ):
        address = msgspec.json.decode(api.line())["http"]
        live = ("live", "--paper", "--symbols", "BTCUSDT", "--url", venue, "--claude-url", address, *mine)
        with running(*live, cwd=tmp_path) as session:
            until(lambda: any(len(answered(f)) >= 5 for f in run_folders(tmp_path)), "it is answered")
            session.send(signal.SIGINT)
            result = session.end().ok().json
    (folder,) = run_folders(tmp_path)
    assert [line.split()[1] for line in answered(folder)] == ["answered"] * 5
    with LogReader(folder / "log.arrow") as reader:
        rows = [row for batch in reader.batches() for row in rows_of_batch(batch) if row.kind is Kind.ANSWER]
    assert len(rows) == 5
    assert call("verify", folder, *mine, cwd=tmp_path).ok().json["same"]
    told = call("why", folder, "1", cwd=tmp_path).ok().out
    assert "shaped by" in told
    assert "because of question" in told
    assert "Headline: profit rises at price" in told
    assert '"sentiment"' in told
    assert '"type":"message"' in told.replace(" ", "")  # the API's own bytes
    trades = call("why", folder, "--trades", "--json", cwd=tmp_path).ok().json["trades"]
    assert {(row["outcome"], row["prompt"]) for row in trades} == {("answered", "sentiment")}
    assert all(row["rationale"].startswith("Fixed word list") and row["request_id"] for row in trades)
    log = f"{result['run_dir']}/log.arrow"
    again = call("backtest", log, "--with-commands", *mine, cwd=tmp_path).ok().json
    assert again["journal_hash"] == result["journal_hash"]
    missing = call("backtest", log, *mine, cwd=tmp_path)
    assert missing.code == 2
    assert (
        "what asking asked about BTCUSDT.binance: prompt sentiment version 1, sample 0: price" in missing.err
    )
    assert f"hint: engine enrich {log} --strategy asking.py buys all that is missing" in missing.err
    call("answers", "import", log, cwd=tmp_path).ok()
    stored: dict[str, Any] = call("backtest", log, *mine, cwd=tmp_path).ok().json
    assert stored["orders"] > 0
    assert (tmp_path / stored["run_dir"] / "answers").is_dir()
    assert call("verify", stored["run_dir"], *mine, cwd=tmp_path).ok().json["same"]
    (question,) = call("why", stored["run_dir"], "1", "--json", cwd=tmp_path).ok().json["questions"]
    assert question["outcome"] == "answered"
    assert question["request"]["prompt"] == "sentiment"
    again = call("why", stored["run_dir"], "--trades", "--json", cwd=tmp_path).ok().json["trades"]
    assert {row["key"] for row in again} == {row["key"] for row in trades}


def test_without_an_answer_the_strategy_can_have_its_default(tmp_path: Path) -> None:
    """`--answers default`: at the deadline, and the run goes on."""
    (tmp_path / "asking.py").write_text(ASKING)
    sample = Path(__file__).parents[2] / "recordings" / "2024-06-01.arrow"
    done = call(
        "backtest", sample, "--strategy", "asking.py", "--answers", "default", "--json", cwd=tmp_path
    ).ok()
    assert done.json["orders"] == 0
    assert answered(tmp_path / done.json["run_dir"]) == [f"{n} deadline " for n in range(1, 6)]


@pytest.mark.parametrize(
    ("more", "environment", "message"),
    [
        ((), {"ANTHROPIC_API_KEY": ""}, "ANTHROPIC_API_KEY is not set"),
        (("--claude-url", "nonsense"), {}, 'the address of Claude, "nonsense", is none'),
        (("--budget", "0"), {}, "--budget 0: nothing could be asked"),
        (("--budget", "much"), {}, '--budget: "much" is no number'),
    ],
)
def test_a_session_that_could_not_ask_does_not_begin(
    tmp_path: Path, more: tuple[str, ...], environment: dict[str, str], message: str
) -> None:
    """No key, no address, no money: said before anything is opened."""
    (tmp_path / "asking.py").write_text(ASKING)
    base = {name: value for name, value in os.environ.items() if name != "ANTHROPIC_BASE_URL"}
    done = engine(*NOWHERE, *more, cwd=tmp_path, env={**base, "ANTHROPIC_BASE_URL": "", **environment})
    assert done.code == 2, done
    assert message in done.err
    assert not run_folders(tmp_path)


def test_a_session_that_is_stopped_before_it_can_ask_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the library is imported in the other process: nothing has begun."""

    def stopped(asking: AskingProcess) -> None:
        os.kill(asking.pid, signal.SIGKILL)
        with pytest.raises(InternalError):  # and nothing of it is left
            ready(asking)
        raise KeyboardInterrupt

    ready = AskingProcess.wait_until_ready

    monkeypatch.setattr(AskingProcess, "wait_until_ready", stopped)
    (tmp_path / "asking.py").write_text(ASKING)
    done = call(*NOWHERE, "--claude-url", "http://127.0.0.1:9", cwd=tmp_path)
    assert done.code == 130
    assert not run_folders(tmp_path)
