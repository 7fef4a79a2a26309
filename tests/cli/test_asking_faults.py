"""A paper session whose questions are answered slowly, late, wrongly or not at all, and its repetition."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engine.log.journal import read_journal
from tests.helpers.command import call, local_venue, run_folders, running, until
from tests.helpers.logs import BTC, definitions, make_log, quote

QUESTIONS = 30
PLANTED = "sk-planted-0123456789abcdefghij"
ASKING = f"""
from typing import Annotated

import engine
import msgspec


class Sentiment(msgspec.Struct):
    sentiment: Annotated[float, msgspec.Meta(ge=-1, le=1)]
    rationale: str


SENTIMENT = engine.Prompt("sentiment", 1, "Headline: profit rises for the {{number}}th time", Sentiment)


class Asking(engine.Strategy):
    def on_start(self, ctx):
        self.asked = 0

    def on_trade(self, ctx, trade):
        if self.asked < {QUESTIONS}:
            self.asked += 1
            default = Sentiment(0.0, "")
            ctx.ask(SENTIMENT, trade.instrument, timeout="100ms", default=default, number=self.asked)

    def on_answer(self, ctx, answer):
        ctx.log(answer.ticket, answer.outcome, answer.late)
        if answer.value.sentiment > 0.1:
            with ctx.because(answer.ticket):
                ctx.market(answer.about, 0.01)
"""
FAULTS = ("latency:20ms-300ms", "529:0.2", "refusal:0.15", "outside:0.15", "malformed:0.1", "timeout:0.1")
# The command as it stands, in a process that can open no socket.
OFFLINE = """
import socket, sys

class Cut(socket.socket):
    def __init__(self, *_, **__):
        raise AssertionError("a repetition reached for the network")

socket.socket = socket.create_connection = Cut
from engine.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def told(folder: Path) -> list[tuple[int, str, bool]]:
    """Ticket, outcome and lateness of everything that the strategy was told."""
    path = folder / "journal.arrow"
    lines = [r["text"] for r in read_journal(path).to_pylist() if r["kind"] == 0] if path.exists() else []
    return [(int(ticket), outcome, late == "True") for ticket, outcome, late in map(str.split, lines)]


def test_slow_failing_and_late_answers_are_repeated_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process, where no socket can be made, comes to the same journal; no file has the key."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", PLANTED)
    (tmp_path / "asking.py").write_text(ASKING)
    serve = ["serve", "--as", "messages", "--port", "0", "--seed", "5", "--json"]
    for fault in FAULTS:
        serve += ["--fault", fault]
    with local_venue(tmp_path) as venue, running(*serve, cwd=tmp_path) as api:
        address = msgspec.json.decode(api.line())["http"]
        live = ["live", "--paper", "--symbols", "BTCUSDT", "--url", venue, "--claude-url", address, "--json"]
        with running(*live, "--strategy", "asking.py", "--asking-limit", "3", cwd=tmp_path) as session:
            until(
                lambda: any(
                    len({ticket for ticket, outcome, _ in told(f) if outcome != "deadline"}) == QUESTIONS
                    for f in run_folders(tmp_path)
                ),
                "every question has come to an end",
            )
            session.send(signal.SIGINT)
            result = session.end().ok().json
    (folder,) = run_folders(tmp_path)
    said = told(folder)
    outcomes = {outcome for _, outcome, _ in said}
    assert {"answered", "deadline"} < outcomes
    assert outcomes & {"refused", "invalid", "malformed", "failed", "expired", "broken"}
    assert any(late for _, _, late in said)
    assert result["questions"]["asked"] == QUESTIONS
    assert sum(result["questions"]["outcomes"].values()) == QUESTIONS
    assert result["orders"] > 0
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, "verify", str(folder), "--json"],
        env={**os.environ, "PYTHONHASHSEED": "11"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    verdict = msgspec.json.decode(done.stdout)
    assert verdict["same"]
    assert verdict["replayed_hash"] == result["journal_hash"]
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or PLANTED.encode() not in path.read_bytes(), path


OPEN_QUESTION = """
import msgspec
import engine


class Mood(msgspec.Struct):
    sentiment: float


PROMPT = engine.Prompt("mood", 1, "Headline: {headline}", Mood)


class Open(engine.Strategy):
    def on_start(self, ctx):
        self.asked = False

    def on_quote(self, ctx, quote):
        if not self.asked:
            self.asked = True
            ctx.ask(PROMPT, default=Mood(0.0), timeout="2500ms", headline="x")

    def on_answer(self, ctx, answer):
        pass
"""


def test_a_snapshot_with_an_open_question_is_refused_with_the_reason(tmp_path: Path) -> None:
    """A question is not kept in a snapshot: nothing begins at one, but at the next."""
    rows = [*definitions((BTC,)), *(quote(n + 0.5, 10000, 10002, 500_000) for n in range(8))]
    make_log(tmp_path / "a.arrow", rows, with_definitions=False, sealed=True)
    (tmp_path / "open.py").write_text(OPEN_QUESTION)
    words = ("--strategy", "open.py", "--answers", "default", "--json")
    whole = call("backtest", "a.arrow", *words, "--snapshot-every", "1s", cwd=tmp_path).ok().json
    refused = call("backtest", "a.arrow", *words, "--from-snapshot", f"{whole['run_dir']}:2", cwd=tmp_path)
    assert refused.code == 2
    assert "1 of its questions had no answer yet" in refused.err
    again = call("backtest", "a.arrow", *words, "--from-snapshot", f"{whole['run_dir']}:6", cwd=tmp_path).ok()
    assert again.json["journal_hash"] == whole["journal_hash"]
    assert again.json["questions"] == whole["questions"]
