"""`engine enrich`: shows, asks, buys, and a backtest that misses nothing afterwards, without a network."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engine.live import batches
from engine.serve.messages import LocalMessages
from tests.helpers.asking_strategy import NAME, SAMPLE, TEXT, lines_of, no_sockets
from tests.helpers.command import ENGINE, Done, call, engine, running
from tests.helpers.local_api import local_api


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user stands, with the strategy in it; nobody waits between two looks at a batch."""
    monkeypatch.setattr(batches, "FIRST_WAIT_S", 0.001)
    (tmp_path / NAME).write_text(TEXT)
    return tmp_path


def enrich(folder: Path, api: LocalMessages, *more: str) -> Done:
    """Buy for the sample."""
    return call("enrich", SAMPLE, "--strategy", NAME, "--claude-url", api.url, *more, cwd=folder)


def backtest(folder: Path, *more: str) -> Done:
    """A run over the sample that needs all its answers."""
    return call("backtest", SAMPLE, "--strategy", NAME, "--json", *more, cwd=folder)


def batch_files(folder: Path) -> list[Path]:
    """Files of batches that are not over."""
    return list((folder / "data/answers/pending").glob("*.jsonl"))


def test_what_is_bought_is_all_that_a_backtest_needs(folder: Path) -> None:
    """Two answers for four questions; then the backtest passes and verifies with the network cut off."""
    missing = backtest(folder)
    assert missing.code == 2
    assert f"hint: engine enrich {SAMPLE} --strategy {NAME} buys all that is missing" in missing.err
    with local_api() as api:
        done = enrich(folder, api, "--yes", "--json", "--answer-latency", "700ms").ok()
        assert api.batch_billed.calls == 2
        assert enrich(folder, api, "--json").ok().json["bought"] == 0
        assert (api.batch_billed.calls, api.requests) == (2, 0)
    result = done.json
    assert (result["asked"], result["missing"], result["bought"], result["failed"]) == (4, 0, 2, [])
    assert (result["plans"][0]["questions"], result["plans"][0]["prompts"]) == (2, {"first 1": 2})
    assert 0 < result["cost_nano_usd"] < result["plans"][0]["most_nano_usd"]
    with no_sockets():
        ran = backtest(folder).ok().json
        assert call("verify", ran["run_dir"], "--json", cwd=folder).ok().json["same"]
    lines = lines_of(folder / ran["run_dir"])
    assert [(outcome, wait) for _, outcome, wait in lines] == [("answered", "700000000")] * 4
    key = call("answers", "list", "--each", "--json", cwd=folder).ok().json["each"][0]["key"]
    assert (
        "bought in a batch, latency assumed: 700.000 ms" in call("answers", "show", key, cwd=folder).ok().out
    )
    assert call("answers", "verify", cwd=folder).ok()


def test_answers_that_lead_to_questions_take_another_round(folder: Path) -> None:
    """The follow-ups exist only once the first answers are there; each round is shown with its cost."""
    with local_api() as api:
        done = enrich(folder, api, "--set", "follow=true", "--yes", "--json").ok()
        assert [plan["prompts"] for plan in done.json["plans"]] == [{"first 1": 2}, {"more 1": 4}]
        assert api.batch_billed.calls == 6
    assert "round 2: 4 answers are missing" in done.err
    with no_sockets():
        assert backtest(folder, "--set", "follow=true").ok()


def test_rounds_end(folder: Path) -> None:
    """After the last one what is still missing is said, and the exit code is 1."""
    with local_api() as api:
        done = enrich(folder, api, "--set", "follow=true", "--yes", "--rounds", "1")
        assert (done.code, api.batch_billed.calls) == (1, 2)
    assert "still missing: 4 answers; the same command buys what is left" in done.out


def test_a_dry_run_only_shows(folder: Path) -> None:
    """Count, models, prompts and cost; no key, no server, no file."""
    with no_sockets():
        done = call("enrich", SAMPLE, "--strategy", NAME, "--dry-run", cwd=folder).ok()
    assert "2 answers are missing\n  models   claude-haiku-5-5 (2)\n  prompts  first 1 (2)\n" in done.err
    assert "at most 0.000557 USD, about 0.000074 USD" in done.err
    assert done.out == "nothing was bought\n"
    assert [path.name for path in folder.iterdir()] == [NAME]


def test_without_a_terminal_nothing_is_bought_unasked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can be asked: an error that says what to do. Somebody says no: nothing. Yes: bought."""
    with local_api() as api:
        done = enrich(folder, api)
        assert done.code == 2
        assert "without a terminal nobody can be asked" in done.err
        assert "--yes buys" in done.err
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        for reply, code, calls in (("n", 1, 0), ("", 1, 0), ("y", 0, 2)):
            asked: list[str] = []

            def said(text: str, reply: str = reply, asked: list[str] = asked) -> str:
                asked.append(text)
                return reply

            monkeypatch.setattr("click.termui.visible_prompt_func", said)
            done = enrich(folder, api)
            assert (done.code, api.batch_billed.calls, len(asked)) == (code, calls, 1)
            assert "buy 2 answers for at most 0.000557 USD? [y/N]" in done.err + asked[0]


def test_the_budget_holds(folder: Path) -> None:
    """What can cost more than the budget is not bought; nothing of it is."""
    with local_api() as api:
        done = enrich(folder, api, "--yes", "--budget", "0.0005")
        assert (done.code, api.batch_billed.calls) == (2, 0)
        assert "--budget 0.0005: 0.000500 USD of it are left, and these answers can cost" in done.err
        # The first round fits; the second would pass what is left of it.
        done = enrich(folder, api, "--set", "follow=true", "--yes", "--budget", "0.001")
        assert (done.code, api.batch_billed.calls) == (2, 2)
    assert "bought 2 answers" in done.out
    assert "--budget 0.001: 0.000" in done.err


def test_items_that_fail_are_said_and_bought_by_the_next_run(folder: Path) -> None:
    """One of four fails: exit code 1, its key, prompt, question and error; the next run buys it alone."""
    options = ("--set", "questions=8", "--yes")
    with local_api(faults=("500:every4",)) as api:
        done = enrich(folder, api, *options)
        assert (done.code, api.batch_billed.calls) == (1, 3)
        (line,) = [line for line in done.out.splitlines() if line.startswith("failed: ")]
        assert 'first 1 "Headline: profit rises, the 4th time": errored: api_error: The server' in line
        assert enrich(folder, api, *options).ok().out.startswith("bought 1 answer for")
        assert api.batch_billed.calls == 4


def test_a_killed_purchase_is_finished(folder: Path) -> None:
    """Killed while it waits for its batch: --resume fetches what was paid for; nothing is bought twice."""
    with local_api(batch_polls=3) as api:
        command = ("enrich", SAMPLE, "--strategy", NAME, "--claude-url", api.url, "--yes")
        with running(*command, cwd=folder) as process:
            stderr = process.process.stderr
            assert stderr is not None
            while "0 of 2 done" not in stderr.readline():
                assert process.process.poll() is None
            process.kill()
        assert len(batch_files(folder)) == 1
        shown = enrich(folder, api, "--dry-run").ok()
        assert "bought and not fetched yet: engine enrich --resume" in shown.err
        done = call("enrich", "--resume", "--claude-url", api.url, cwd=folder).ok()
        assert done.out.startswith("bought 2 answers for")
        assert (api.batch_billed.calls, batch_files(folder)) == (2, [])
        assert call("enrich", "--resume", "--claude-url", api.url, cwd=folder).ok().out == (
            "nothing was interrupted\n"
        )
    with no_sockets():
        assert backtest(folder).ok()


def test_an_interrupted_purchase_says_how_it_goes_on(folder: Path) -> None:
    """Ctrl-C while it waits: exit 130, the command that fetches it, and the file that says what is there."""
    with local_api(batch_polls=1000) as api:
        command = ("enrich", SAMPLE, "--strategy", NAME, "--claude-url", api.url, "--yes")
        with running(*command, cwd=folder) as process:
            stderr = process.process.stderr
            assert stderr is not None
            while "0 of 2 done" not in stderr.readline():
                assert process.process.poll() is None
            process.send(signal.SIGINT)
            done = process.end()
        assert done.code == 130
        assert "goes on without us: engine enrich --resume fetches it" in done.err
        assert "Traceback" not in done.err
        assert len(batch_files(folder)) == 1
        assert api.batch_billed.calls == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "a log to find questions in, or --resume"),
        ((SAMPLE, "--resume"), "a log to find questions in, or --resume"),
        (("--resume", "--dry-run"), "--dry-run shows what a log's backtest would miss"),
        ((SAMPLE, "--strategy", "ema_cross"), "--strategy ema_cross: asks nothing"),
        ((SAMPLE, "--strategy", NAME, "--answer-latency", "0s"), "--answer-latency 0s: more than nothing"),
        ((SAMPLE, "--strategy", NAME, "--claude-url", "nonsense"), 'the address of Claude, "nonsense"'),
        (("nowhere.arrow", "--strategy", NAME), "nowhere.arrow"),
    ],
)
def test_what_cannot_be_meant(folder: Path, arguments: tuple[Any, ...], message: str) -> None:
    """Said before anything runs or is bought."""
    done = call("enrich", *arguments, cwd=folder)
    assert done.code in {2, 3}
    assert message in done.err


def test_a_key_is_needed_to_buy(folder: Path) -> None:
    """The API itself without a key: an error, nothing pending, and nothing spent."""
    done = engine(
        *("enrich", SAMPLE, "--strategy", NAME, "--yes"),
        cwd=folder,
        env={"ANTHROPIC_API_KEY": "", "ANTHROPIC_BASE_URL": "https://example.invalid"},
    )
    assert done.code == 2
    assert "ANTHROPIC_API_KEY is not set" in done.err
    assert batch_files(folder) == []


def test_nothing_of_the_client_is_loaded_before_it_is_needed(folder: Path) -> None:
    """A dry run, and a backtest from the store, never import anthropic."""
    code = (
        "import sys\nfrom engine.cli.main import main\n"
        "assert main(sys.argv[1:]) == 0\nassert 'anthropic' not in sys.modules\n"
    )
    with local_api() as api:
        enrich(folder, api, "--yes").ok()
    for command in (("enrich", "--dry-run"), ("backtest",), ("backtest", "--answers", "call")):
        done = subprocess.run(
            [ENGINE[0], "-c", code, *command, str(SAMPLE), "--strategy", NAME],
            cwd=folder,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


AGAIN = """
from typing import Annotated

import engine
import msgspec


class Mood(msgspec.Struct):
    sentiment: Annotated[float, msgspec.Meta(ge=-1, le=1)]
    rationale: str


MOOD = engine.Prompt("mood", 1, "Headline: profit rises", Mood)


class Again(engine.Strategy):
    def on_start(self, ctx):
        self.trades = 0

    def on_trade(self, ctx, trade):
        self.trades += 1
        if self.trades in (5, 3000):
            ctx.ask(MOOD, trade.instrument, timeout="10s", default=Mood(0.0, ""))

    def on_answer(self, ctx, answer):
        if answer.value.sentiment > 0.1:
            ctx.market(answer.about, 0.01)
"""


def test_a_run_that_goes_on_is_told_what_it_was_told_before(folder: Path) -> None:
    """A question that had its default before the snapshot has it after it, although it was bought since."""
    (folder / NAME).write_text(AGAIN)
    first = backtest(folder, "--answers", "default", "--snapshot-every", "2000").ok().json
    with local_api() as api:
        assert enrich(folder, api, "--yes", "--json").ok().json["bought"] == 1
    assert backtest(folder).ok().json["orders"] == 2
    goes_on = backtest(folder, "--from-snapshot", f"{first['run_dir']}:1").ok().json
    assert goes_on["journal_hash"] == first["journal_hash"]
    assert call("verify", goes_on["run_dir"], "--json", cwd=folder).ok().json["same"]
