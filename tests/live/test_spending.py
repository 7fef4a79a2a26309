"""What a day's questions cost all sessions together: claims, ends, deaths, holds, a file that is whole."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from engine.answers.budget import Budget
from engine.live import spending
from engine.live.asking import Clocks, Edge
from engine.live.asking_client import AskingConfig
from engine.live.spending import Claims, Spending, process_born, spending_of
from engine.model.errors import EngineError, InputError
from engine.model.kinds import AnswerData
from tests.helpers.asking import COST, MOST, NOON, WELL, Desk, question
from tests.helpers.scripted_api import ScriptedApi, answers

DAY = "2026-11-21"


def shared(folder: Path, per_day: int = 100) -> Spending:
    """A session's view of the file in a folder."""
    return Spending(folder / "spending.json", per_day=per_day)


def test_two_sessions_share_a_day(tmp_path: Path) -> None:
    """What one has claimed the other cannot; what it gives back the other can."""
    one, other = shared(tmp_path), shared(tmp_path)
    assert one.claim({DAY: 60}, [(DAY, 60)]) == ([""], {})
    objections, others = other.claim({DAY: 50}, [(DAY, 50)])
    assert objections[0].startswith("the budget of this day is 0.000001 USD")
    assert others == {DAY: 60}
    assert one.look() == {DAY: 0}
    one.claim({DAY: 20}, [])
    assert other.claim({DAY: 80}, [(DAY, 80)])[0] == [""]
    one.end({DAY: 20})
    other.end({DAY: 75})
    assert shared(tmp_path).look() == {DAY: 95}
    assert json.loads((tmp_path / "spending.json").read_text())["open"] == {}


def test_of_several_claims_the_last_ones_are_refused(tmp_path: Path) -> None:
    """Three of 40 within 100: two fit, and the next day has room of its own."""
    session = shared(tmp_path)
    claims = [(DAY, 40), (DAY, 40), (DAY, 40), ("2026-11-22", 90)]
    objections, _ = session.claim({DAY: 120, "2026-11-22": 90}, claims)
    assert [bool(objection) for objection in objections] == [False, False, True, False]
    assert shared(tmp_path).look() == {DAY: 80, "2026-11-22": 90}


def test_what_a_killed_session_had_reserved_is_spent(tmp_path: Path) -> None:
    """The share of a process that is gone belongs to the days; that of one that runs stays its own."""
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom engine.live.spending import Spending\n"
        f"Spending(Path(sys.argv[1]), per_day=100).claim({{'{DAY}': 70}}, [('{DAY}', 70)])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "spending.json")], check=False)
    assert done.returncode == -9
    next_one = shared(tmp_path)
    assert next_one.claim({DAY: 31}, [(DAY, 31)])[0] != [""]
    assert next_one.claim({DAY: 30}, [(DAY, 30)])[0] == [""]
    kept = json.loads((tmp_path / "spending.json").read_text())
    assert kept["days"] == {DAY: 70}
    assert [share["pid"] for share in kept["open"].values()] == [os.getpid()]


def test_a_number_that_another_process_has_now_is_not_the_old_one() -> None:
    """A process is known by when it began; one that is not there has no such time."""
    assert process_born(os.getpid()) == process_born(os.getpid()) > 0
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert process_born(gone.pid) == 0


def test_a_killed_session_of_the_same_number_is_not_ourselves(tmp_path: Path) -> None:
    """In a container every session has the same process number: what the last one had taken is spent."""
    before = Spending(tmp_path / "spending.json", per_day=100, born=lambda _: 1)
    before.claim({DAY: 60}, [(DAY, 60)])
    (name,) = json.loads((tmp_path / "spending.json").read_text())["open"]
    session = Spending(tmp_path / "spending.json", per_day=100, born=lambda _: 2)
    session._name = name
    assert session.claim({DAY: 50}, [(DAY, 50)])[0] != [""]
    session.end({})
    assert shared(tmp_path).look() == {DAY: 60}


def test_a_lock_that_nobody_gives_back_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process may hold it: an error says so, and nothing is granted."""
    monkeypatch.setattr(spending, "LOCKED_WITHIN_S", 0.01)
    with (tmp_path / "spending.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EngineError, match="another process has had its lock for"):
            shared(tmp_path).claim({DAY: 1}, [(DAY, 1)])
    assert shared(tmp_path).claim({DAY: 1}, [(DAY, 1)]) == ([""], {})


def test_a_hold_outlives_its_process_until_it_is_settled(tmp_path: Path) -> None:
    """A batch's share counts for everybody; settled once, at what it really cost, on its own day."""
    assert shared(tmp_path).hold("b1", DAY, 90) == ""
    assert "the call may cost" in shared(tmp_path).hold("b2", DAY, 11)
    assert shared(tmp_path).look() == {DAY: 90}
    shared(tmp_path).settle("b1", 30)
    shared(tmp_path).settle("b1", 30)
    assert shared(tmp_path).look() == {DAY: 30}
    assert shared(tmp_path).hold("b3", DAY, 10) == ""
    shared(tmp_path).settle("b3", 0)
    assert shared(tmp_path).look() == {DAY: 30}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"version":9}', '{"days":{"2026-11-21":-1}}', '{"days":{"today":1}}', '{"more":1}'],
)
def test_a_file_that_is_none_is_an_error(tmp_path: Path, text: str) -> None:
    """Nothing is guessed, nothing is overwritten: what was spent is not known."""
    (tmp_path / "spending.json").write_text(text)
    with pytest.raises(InputError, match="no record of what was spent"):
        shared(tmp_path).claim({DAY: 1}, [(DAY, 1)])
    assert (tmp_path / "spending.json").read_text() == text


def test_a_write_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is granted that is not written down, and no half file is left."""
    session = shared(tmp_path)
    session.claim({DAY: 10}, [(DAY, 10)])
    before = (tmp_path / "spending.json").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EngineError, match="cannot be written down: No space left on device"):
        session.claim({DAY: 20}, [(DAY, 10)])
    assert (tmp_path / "spending.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spending.json", "spending.json.lock"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_however_sessions_take_turns_the_day_holds(tmp_path: Path, seed: int) -> None:
    """Three sessions reserve, settle and release by chance: all together never pass the limit."""
    chance = Random(seed)

    async def story() -> int:
        budgets = [Budget(10_000, 1_000) for _ in range(3)]
        claims = [Claims(budget, shared(tmp_path, 1_000)) for budget in budgets]

        async def session(budget: Budget, claim: Claims) -> int:
            granted = 0
            for _ in range(12):
                reservation = budget.reserve(chance.randrange(1, 200), NOON)
                if reservation is None:
                    continue
                if await claim.objection(reservation):
                    budget.release(reservation)
                else:
                    granted += 1
                    cost = chance.randrange(reservation.nano_usd + 1)
                    budget.settle(reservation, cost) if cost else budget.release(reservation)
                claim.changed()
                assert sum(one.spent for one in budgets) <= 1_000
            await claim.close()
            return granted

        counts = await asyncio.gather(*(session(*pair) for pair in zip(budgets, claims, strict=True)))
        assert shared(tmp_path).look() == {DAY: sum(budget.spent for budget in budgets)}
        return sum(counts)

    assert asyncio.run(story()) > 3


def test_the_edge_asks_only_what_all_together_may(tmp_path: Path) -> None:
    """Another session took all but one call of the day: the first question is answered, the second is not."""
    limit = 10 * MOST

    async def story() -> list[AnswerData]:
        desk = Desk()
        async with ScriptedApi([answers(WELL)]) as api:
            config = AskingConfig(base_url=api.url, per_day_nano_usd=limit)
            desk.edge = Edge(
                config,
                desk.deliver,
                clocks=Clocks(desk.clock, desk.clock, desk.clock),
                spending=shared(tmp_path, limit),
            )
            shared(tmp_path, limit).claim({DAY: 9 * MOST}, [(DAY, 9 * MOST)])
            await desk.ask(question("a"))
            await desk.ask(question("b"))
            await desk.edge.aclose()
            assert len(api.heard) == 1
        return [answer for answer, _ in desk.delivered]

    first, second = asyncio.run(story())
    assert (first.outcome, first.cost_nano_usd) == ("answered", COST)
    assert (second.outcome, second.cost_nano_usd) == ("budget", 0)
    assert "budget of this day" in second.error
    assert shared(tmp_path, limit).look() == {DAY: 9 * MOST + COST}


def test_a_server_of_this_machine_costs_nothing(tmp_path: Path) -> None:
    """The API's spending is written down, a local server's is not, and no file means none."""
    file = str(tmp_path / "spending.json")
    real = spending_of(AskingConfig(base_url="https://example.invalid", spending=file, per_day_nano_usd=5))
    assert real is not None
    assert (real.path, real.per_day) == (tmp_path / "spending.json", 5)
    assert spending_of(AskingConfig(base_url="http://127.0.0.1:9444", spending=file)) is None
    assert spending_of(AskingConfig(base_url="https://example.invalid")) is None
