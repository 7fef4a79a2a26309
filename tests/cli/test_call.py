"""`engine backtest --answers call`: what the store lacks is bought during the run, and never again."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from engine.live import spending
from tests.helpers.asking_strategy import NAME, SAMPLE, TEXT, lines_of, no_sockets
from tests.helpers.command import Done, call, run_folders, running, until
from tests.helpers.local_api import local_api


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the user stands, with the strategy in it."""
    (tmp_path / NAME).write_text(TEXT)
    return tmp_path


def backtest(folder: Path, *more: str) -> Done:
    """A run over the sample."""
    return call("backtest", SAMPLE, "--strategy", NAME, "--json", *more, cwd=folder)


def test_answers_are_bought_once_with_their_latency(folder: Path) -> None:
    """Four questions, two of them new: two calls. Afterwards nobody is asked, and all is as it was."""
    with local_api(faults=("latency:30ms",)) as api:
        first = backtest(folder, "--answers", "call", "--claude-url", api.url).ok()
        assert api.requests == 2
    assert "bought 2 answers for 0.0" in first.err
    run = folder / first.json["run_dir"]
    lines = lines_of(run)
    assert [line[1] for line in lines] == ["answered"] * 4
    assert all(int(line[2]) >= 30_000_000 for line in lines)
    with no_sockets():
        assert call("verify", run, cwd=folder).ok()
        for how in ("call", "error"):
            again = backtest(folder, "--answers", how).ok().json
            assert again["journal_hash"] == first.json["journal_hash"]
    told = call("why", run, "1", "--json", cwd=folder).ok().json
    assert told["questions"][0]["outcome"] == "answered"
    assert not (folder / "data" / "spending.json").exists()  # a local server costs nothing


def test_what_came_instead_of_answers_is_verified_too(folder: Path) -> None:
    """Two questions fail and two are refused: the run says so, and is repeated without asking."""
    with local_api(faults=("400:first1", "refusal:first2")) as api:
        done = backtest(folder, "--answers", "call", "--claude-url", api.url, "--set", "questions=8").ok()
    run = folder / done.json["run_dir"]
    outcomes = {line[1] for line in lines_of(run)}
    assert outcomes == {"failed", "refused", "answered"}
    assert any("questions without an answer: failed" in warning for warning in done.json["warnings"])
    with no_sockets():
        again = call("verify", run, "--json", cwd=folder).ok().json
    assert (again["same"], again["replayed_hash"]) == (True, done.json["journal_hash"])


def test_a_budget_ends_the_buying_and_not_the_run(folder: Path) -> None:
    """Money for one question: it is answered, the others get their defaults with the outcome `budget`."""
    with local_api() as api:
        done = backtest(folder, "--answers", "call", "--claude-url", api.url, "--budget", "0.00057").ok()
        assert api.requests == 1
    run = folder / done.json["run_dir"]
    assert [line[1] for line in lines_of(run)].count("budget") == 2
    with no_sockets():
        assert call("verify", run, cwd=folder).ok()


def test_a_run_that_asks_is_not_continued(folder: Path) -> None:
    """Its questions that came to nothing are counted from the beginning, which a snapshot is not."""
    with local_api() as api:
        done = backtest(folder, "--answers", "call", "--claude-url", api.url, "--snapshot-every", "2000").ok()
    again = backtest(folder, "--from-snapshot", done.json["run_dir"])
    assert again.code == 2
    assert "--from-snapshot: the run asked Claude as it went" in again.err


def test_a_run_that_goes_on_has_the_answers_of_the_one_before(folder: Path) -> None:
    """From a snapshot after the questions: verified from the first row, without a store or a network."""
    with local_api() as api:
        backtest(folder, "--answers", "call", "--claude-url", api.url).ok()
    first = backtest(folder, "--snapshot-every", "2000").ok().json
    again = backtest(folder, "--from-snapshot", first["run_dir"]).ok().json
    assert again["journal_hash"] == first["journal_hash"]
    (folder / "data/answers").rename(folder / "elsewhere")
    with no_sockets():
        assert call("verify", again["run_dir"], cwd=folder).ok()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--budget", "1"), "--budget counts where Claude is asked"),
        (("--answers", "call", "--budget", "0"), "--budget 0: nothing could be asked"),
        (("--answers", "call", "--budget-day", "x"), '--budget-day: "x" is no number'),
        (("--answers", "call", "--claude-url", "http://example.com"), "must not travel without encryption"),
    ],
)
def test_options_that_cannot_be_meant(folder: Path, more: tuple[str, ...], message: str) -> None:
    """Said before anything runs."""
    done = backtest(folder, *more)
    assert (done.code, run_folders(folder)) == (2, [])
    assert message in done.err


def test_a_killed_run_loses_no_answer(folder: Path) -> None:
    """Killed while the second question is asked: the first one's answer is in the store of whoever looks."""
    with local_api(faults=("timeout:every2",)) as api:
        command = ("backtest", SAMPLE, "--strategy", NAME, "--answers", "call", "--claude-url", api.url)
        with running(*command, cwd=folder) as process:
            until(lambda: api.requests >= 2, "the second question is asked")
            process.kill()
        listed = call("answers", "list", "--json", cwd=folder).ok()
        assert "took in 1 answer that a killed run had bought" in listed.err
        assert listed.json["answers"] == 1
    with local_api() as api:
        assert backtest(folder, "--answers", "call", "--claude-url", api.url).ok()
        assert api.requests == 1


def test_an_interrupted_run_keeps_what_it_bought(folder: Path) -> None:
    """Ctrl-C while the second question is asked: the run ends at once, and the store has the first answer."""
    with local_api(faults=("timeout:every2",)) as api:
        command = ("backtest", SAMPLE, "--strategy", NAME, "--answers", "call", "--claude-url", api.url)
        with running(*command, cwd=folder) as process:
            until(lambda: api.requests >= 2, "the second question is asked")
            process.send(signal.SIGINT)
            done = process.end()
    assert (done.code, done.out) == (130, "")
    assert "bought 1 answer for 0.0" in done.err
    assert "Traceback" not in done.err
    assert [path.suffix for path in (folder / "data/answers").iterdir()] == [".arrow"]
    (run,) = run_folders(folder)
    with no_sockets():
        verified = call("verify", run, cwd=folder).ok()
    assert ": the same, " in verified.out
    assert "in the replay no answer is recorded" in verified.out


def test_a_run_without_its_answers_says_where_they_belong(folder: Path) -> None:
    """Verifying takes them from the run's folder and nowhere else, so buying is no way to mend it."""
    with local_api() as api:
        ran = backtest(folder, "--answers", "call", "--claude-url", api.url).ok().json
    shutil.rmtree(folder / ran["run_dir"] / "answers")
    done = call("verify", ran["run_dir"], cwd=folder)
    assert done.code == 2
    assert f"{ran['run_dir']}/answers: no answer is recorded for what asking asked" in done.err
    assert "hint: they were there when the run ended: put them back" in done.err
    (folder / ran["run_dir"] / "summary.json").unlink()  # as if it had been killed
    assert (
        "hint: the run was killed before they were put there"
        in call("verify", ran["run_dir"], cwd=folder).err
    )


def test_a_day_is_shared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run spent is written down; the next one, and batches, have what is left of the day's budget."""
    monkeypatch.setattr(spending, "is_loopback", lambda _: False)  # as if it cost something
    with local_api() as api:
        calling = ("--answers", "call", "--claude-url", api.url, "--budget-day", "0.0007")
        first = backtest(folder, *calling).ok()
        assert api.requests == 2
        kept = json.loads((folder / "data/spending.json").read_text())
        assert kept["open"] == {}
        (spent,) = kept["days"].values()
        assert spent == first.json["questions"]["cost_nano_usd"] // 2  # each answer came to two questions
        more = ("--set", "questions=20")
        second = backtest(folder, *more, *calling).ok()
        outcomes = second.json["questions"]["outcomes"]
        assert outcomes["answered"] == 2 * api.requests == 20 - outcomes["budget"]
        assert outcomes["budget"] > 0
        (spent,) = json.loads((folder / "data/spending.json").read_text())["days"].values()
        assert spent <= 700_000
        done = call(
            *("enrich", SAMPLE, "--strategy", NAME, "--claude-url", api.url, "--yes", *more),
            *("--budget-day", "0.0007"),
            cwd=folder,
        )
        assert (done.code, api.batch_billed.calls) == (2, 0)
        assert "the budget of this day is 0.000700 USD" in done.err
        (folder / "data/spending.json").write_text("{")
        damaged = backtest(folder, *calling)
        assert damaged.code == 2
        assert "data/spending.json: no record of what was spent" in damaged.err
