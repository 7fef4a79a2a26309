"""Prompt files and strategies: which are read and when, what the run's record says, what is refused."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from engine.model.errors import InputError, StrategyError
from engine.strategy.loader import load_strategy
from engine.strategy.prompts import named_in

MOOD = """
name = "mood"
version = 1
text = "<headline>{headline}</headline>"
[answer.score]
type = "number"
"""
HEAD = "import engine\n"
BODY = """
class Mine(engine.Strategy):
    def on_start(self, ctx):
        self.version = engine.prompt("mood").version
    def on_answer(self, ctx, answer):
        pass
"""


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's with one prompt of theirs, where they stand."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "prompts").mkdir(parents=True)
    write()
    return tmp_path


def write(text: str = MOOD) -> Path:
    """The user's prompt file."""
    path = Path("data/prompts/mood.toml")
    path.write_text(text)
    return path


def load(code: str) -> Any:
    """A strategy of this code, loaded."""
    Path("mine.py").write_text(code)
    return load_strategy("mine.py")


@pytest.mark.parametrize(
    "code",
    [
        HEAD + BODY,
        HEAD + 'MOOD = engine.prompt("mood")\n' + BODY,
        HEAD + 'from engine import prompt as asked\nMOOD = asked("mood")\n' + BODY,
        HEAD + 'import engine as e\nMOOD = [e.prompt(name) for name in ("mood",)]\n' + BODY,
    ],
    ids=["in on_start", "at the top", "by another name", "in a loop"],
)
def test_a_prompt_file_belongs_to_the_strategy(code: str) -> None:
    """It is in the record's files and in the fingerprint, and what runs has what was read on loading."""
    before = load(code)
    assert list(before.files) == ["mine.py", "data/prompts/mood.toml"]
    write(MOOD.replace("version = 1", "version = 2"))
    after = load(code)
    assert after.fingerprint != before.fingerprint
    assert after.files["mine.py"] == before.files["mine.py"]
    for loaded, version in ((before, 1), (after, 2)):
        loaded.strategy.on_start(None)
        assert loaded.strategy.version == version


def test_without_prompts_a_fingerprint_stays_what_it_was() -> None:
    """A strategy that asks nothing does not notice prompt files."""
    code = HEAD + "class Mine(engine.Strategy):\n    def on_trade(self, ctx, trade):\n        pass\n"
    before = load(code)
    write(MOOD.replace("1", "2"))
    assert load(code).fingerprint == before.fingerprint
    assert list(before.files) == ["mine.py"]


def test_a_file_beside_the_strategy_can_name_a_prompt() -> None:
    """What a helper asks for is read and recorded too."""
    Path("helper.py").write_text('import engine\n\n\ndef mood():\n    return engine.prompt("mood")\n')
    loaded = load(HEAD + "import helper\n" + BODY.replace('engine.prompt("mood")', "helper.mood()"))
    assert list(loaded.files) == ["mine.py", "helper.py", "data/prompts/mood.toml"]
    loaded.strategy.on_start(None)
    assert loaded.strategy.version == 1


def test_a_name_that_a_handler_makes_up_is_refused() -> None:
    """Its file was not read on loading, and nothing is read in a run."""
    loaded = load(HEAD + BODY.replace('"mood"', '"mo" + "od"'))
    with pytest.raises(StrategyError) as caught:
        loaded.strategy.on_start(None)
    assert caught.value.message.startswith("mine.py:5: engine.prompt('mood'): its file was not read")
    assert "write names out" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (HEAD + BODY.replace('"mood"', '"moood"'), 5),
        (HEAD + 'NAME = "moo"\nMOOD = engine.prompt(NAME + "od")\n' + BODY, 3),
    ],
    ids=["written out", "made up"],
)
def test_a_wrong_name_is_said_with_its_line(code: str, line: int) -> None:
    """Before the run, with what is near."""
    with pytest.raises(StrategyError) as caught:
        load(code)
    assert caught.value.message.startswith(f"mine.py:{line}: there is no prompt 'moood'")
    assert 'did you mean "mood"?' in caught.value.hint


def test_a_wrong_file_is_said_as_such() -> None:
    """The error is the file's, not the strategy's."""
    write(MOOD.replace('type = "number"', 'type = "float"'))
    with pytest.raises(InputError) as caught:
        load(HEAD + BODY)
    assert caught.value.message == 'data/prompts/mood.toml: [answer.score]: type = "float" is none'


def test_a_prompt_in_the_strategys_own_code_stays_possible() -> None:
    """`engine.Prompt` needs no file."""
    code = 'import msgspec\nclass A(msgspec.Struct):\n    x: int\nP = engine.Prompt("p", 1, "{x}", A)\n'
    assert list(load(HEAD + code + BODY.replace('engine.prompt("mood")', "P")).files) == ["mine.py"]


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ('engine.prompt("a")\nengine.prompt(name="b")', [("a", 1), ("b", 2)]),
        ('import engine as e\ne.prompt("a")', [("a", 2)]),
        ('from engine import prompt, Ema\nprompt("a")', [("a", 2)]),
        ('other.prompt("a"); prompt("b"); engine.prompt(c); engine.prompt(); engine.prompt(1)', []),
        ('from .engine import prompt\nprompt("a")', []),
    ],
)
def test_which_names_a_source_gives(code: str, names: list[tuple[str, int]]) -> None:
    """Those written out in calls of `engine.prompt`, however it is called there."""
    assert named_in(ast.parse(code)) == names
