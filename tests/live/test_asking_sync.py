"""A backtest that buys what it lacks: once, at once on the disk, and verified without anybody being asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.answers.purchases import Purchases, recover
from engine.answers.source import RunSource
from engine.answers.store import AnswerStore
from engine.live.asking import Clocks
from engine.live.asking_client import AskingConfig
from engine.live.asking_sync import CallingSource
from engine.model.errors import EngineError, InputError
from engine.model.units import MILLISECOND_NS
from tests.helpers.answers import asked, kept
from tests.helpers.local_api import local_api


def source_to(url: str, folder: Path, store: Path, **settings: Any) -> CallingSource:
    """A source that asks there, and waits for nothing between attempts."""

    async def no_wait(_: float) -> None:
        return

    config = AskingConfig(base_url=url, **settings)
    return CallingSource(AnswerStore(store), config, folder, clocks=Clocks(sleep=no_wait))


def test_a_question_is_bought_once(tmp_path: Path) -> None:
    """The same one again in the run, and in the next run, is looked up; nobody is asked twice."""
    store = tmp_path / "store"
    with local_api(faults=("latency:20ms",)) as api:
        source = source_to(api.url, tmp_path, store)
        first = source.find(asked("Profit rises"))
        assert source.find(asked("Profit rises")) is first
        assert first.outcome == "answered"
        assert (first.ticket, first.cost_nano_usd) == (0, source.spent_nano_usd)
        assert first.latency_ns >= 20 * MILLISECOND_NS
        source.close()
        again = source_to("http://127.0.0.1:9", tmp_path, store)
        assert again.find(asked("Profit rises")) == first
        again.close()
        assert (api.requests, source.bought, again.bought) == (1, 1, 0)
    assert [path.suffix for path in store.iterdir()] == [".arrow"]


def test_what_is_no_answer_is_the_runs_alone(tmp_path: Path) -> None:
    """A question fails, is asked anew and answered: the store has the answer, the run has both in order."""
    store = tmp_path / "store"
    request = asked("Profit rises")
    with local_api(faults=("500:first2",)) as api:
        source = source_to(api.url, tmp_path, store, attempts=2)
        outcomes = [source.find(request) for _ in range(3)]
        source.keep(tmp_path)
        source.close()
    assert [data.outcome for data in outcomes] == ["failed", "answered", "answered"]
    assert [attempt.status for attempt in outcomes[0].attempts] == [500, 500]
    (warning,) = source.warnings
    assert warning.startswith("questions without an answer: failed 1; the first: HTTP 500 api_error")
    assert len(AnswerStore(store)) == 1
    replay = RunSource(tmp_path)
    assert [replay.find(request) for _ in range(3)] == outcomes
    assert replay.find(asked("Another")) is None


def test_without_money_nothing_is_sent(tmp_path: Path) -> None:
    """The outcome is `budget`, at once, and it is the run's as any other."""
    with local_api() as api:
        source = source_to(api.url, tmp_path, tmp_path / "store", per_run_nano_usd=1)
        data = source.find(asked("Profit rises"))
        source.close()
        assert (data.outcome, api.requests, source.bought) == ("budget", 0, 0)
    assert RunSource(tmp_path).find(asked("Profit rises")) == data
    assert not (tmp_path / "store").exists()


def test_what_cannot_be_asked_is_no_fault_of_the_strategy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key: an error of the engine's with its hint, when the first question is to be asked."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    source = source_to("https://example.invalid", tmp_path, tmp_path)
    with pytest.raises(EngineError, match="ANTHROPIC_API_KEY is not set") as caught:
        source.find(asked("Profit rises"))
    assert type(caught.value) is EngineError
    source.close()


def test_a_kill_loses_nothing_that_was_paid_for(tmp_path: Path) -> None:
    """A process buys two answers and is killed: whoever needs the store next puts them there."""
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom engine.answers.purchases import Purchases\n"
        "from engine.answers.store import AnswerStore\nfrom tests.helpers.answers import kept\n"
        "bought = Purchases(AnswerStore(Path(sys.argv[1])))\nbought.put(kept('One'))\n"
        "bought.put(kept('Two'))\nos.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -9
    (left,) = tmp_path.iterdir()
    with left.open("ab") as file:
        file.write(b"0000")  # what a kill in the middle of a write leaves
    assert len(AnswerStore(tmp_path)) == 0
    assert recover(tmp_path) == 2
    assert recover(tmp_path) == 0
    assert {asked(text).key for text in ("One", "Two")} == {
        versions[0].key for versions in AnswerStore(tmp_path).each()
    }
    assert not left.exists()


def test_what_still_buys_is_left_alone(tmp_path: Path) -> None:
    """The file of a running process is its own; at its end it is in the store."""
    bought = Purchases(AnswerStore(tmp_path))
    bought.put(kept("One"))
    assert recover(tmp_path) == 0
    bought.close()
    assert len(AnswerStore(tmp_path)) == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".arrow"]


def test_a_kill_between_the_store_and_the_removal_is_no_double(tmp_path: Path) -> None:
    """What is in the store already is known; its file goes."""
    bought = Purchases(AnswerStore(tmp_path))
    bought.put(kept("One"))
    (path,) = tmp_path.iterdir()
    left = path.read_bytes()
    bought.close()
    path.write_bytes(left)
    assert recover(tmp_path) == 1
    assert len(AnswerStore(tmp_path)) == 1
    assert not path.exists()


def test_damage_in_the_middle_is_said(tmp_path: Path) -> None:
    """A line that is whole and does not fit its checksum is an error, and the file stays."""
    path = tmp_path / "bought.x.jsonl"
    path.write_bytes(b"00000000 {}\n")
    with pytest.raises(InputError, match="line 1: damaged: its checksum does not hold"):
        recover(tmp_path)
    assert path.exists()
    path.write_bytes(b"nonsense\n")
    with pytest.raises(InputError, match="line 1: damaged"):
        recover(tmp_path)
