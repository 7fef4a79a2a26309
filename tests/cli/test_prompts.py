"""`engine answers prompts`, and prompt files as a user meets them in a run and its verification."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from engine.answers.prompt_files import read_prompt
from engine.answers.requests import request_of
from engine.answers.store import AnswerStore
from engine.answers.stored import StoredAnswer
from tests.helpers.answers import answer_to, wire_of
from tests.helpers.command import call

SAMPLE = Path(__file__).parents[2] / "recordings" / "2024-06-01.arrow"
SHIPPED = Path(__file__).parents[2] / "data" / "prompts"
ASKING = """
import engine

MOOD = engine.prompt("mood")


class Asking(engine.Strategy):
    def on_news(self, ctx, news):
        ctx.ask(MOOD, ctx.instruments[0], default=MOOD.answer(score=0.0), headline=news.headline)

    def on_answer(self, ctx, answer):
        ctx.log(answer.outcome, answer.value.score)
"""
MOOD = """
name = "mood"
version = 1
quoted = ["headline"]
text = "<headline>{headline}</headline>"
[answer.score]
type = "number"
"""


def write(folder: Path, text: str = MOOD) -> Path:
    """The user's own prompt, and a strategy that asks it."""
    path = folder / "data" / "prompts" / "mood.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    (folder / "asking.py").write_text(ASKING)
    return path


def test_the_list_has_own_and_shipped_ones(tmp_path: Path) -> None:
    """Name, version, model, places and where from; as text and as one object."""
    write(tmp_path)
    lines = {
        one["name"]: one for one in call("answers", "prompts", "--json", cwd=tmp_path).ok().json["prompts"]
    }
    assert sorted(lines) == sorted(["mood", *(path.stem for path in SHIPPED.iterdir())])
    own, shipped = lines["mood"], lines["sentiment"]
    assert (own["origin"], own["file"], own["version"]) == ("own", "data/prompts/mood.toml", 1)
    assert (shipped["origin"], shipped["model"]) == ("shipped", "claude-haiku-5-5")
    assert shipped["places"] == ["symbol", "headline", "summary"]
    assert shipped["answer"] == ["rationale", "sentiment", "topic", "risk"]
    text = call("answers", "prompts", cwd=tmp_path).ok().out
    assert "version 1  claude-haiku-5-5  own: data/prompts/mood.toml" in text
    assert "asked with symbol, headline, summary" in text


def test_one_is_shown_whole(tmp_path: Path) -> None:
    """System text, text and schema."""
    shown = call("answers", "prompts", "sentiment", "--json", cwd=tmp_path).ok().json
    assert shown["quoted"] == ["symbol", "headline", "summary"]
    assert shown["schema"]["properties"]["topic"]["enum"][0] == "earnings"
    text = call("answers", "prompts", "sentiment", cwd=tmp_path).ok().out
    assert text.startswith("sentiment, version 1, claude-haiku-5-5, at most 300 tokens\n")
    assert "places: symbol (quoted), headline (quoted), summary (quoted)" in text
    assert "  <headline>{headline:.1000}</headline>" in text
    assert '"additionalProperties": false' in text


def test_a_wrong_one_is_in_the_list_with_what_is_wrong(tmp_path: Path) -> None:
    """It hides none of the others, and the exit code says that there is one; a wrong name is said."""
    write(tmp_path, MOOD.replace("number", "float"))
    done = call("answers", "prompts", cwd=tmp_path)
    assert done.code == 1
    assert 'wrong: data/prompts/mood.toml: [answer.score]: type = "float" is none' in done.out
    assert "shipped: data/prompts/sentiment.toml" in done.out
    done = call("answers", "prompts", "moood", cwd=tmp_path)
    assert (done.code, 'did you mean "mood"?' in done.err) == (2, True)


def test_a_run_says_which_prompt_it_asked_and_verify_that_it_has_changed(tmp_path: Path) -> None:
    """The file's digest stands in run.json; another text is another question, and the note says why."""
    path = write(tmp_path)
    asked = ("--strategy", "asking.py", "--answers", "default", "--json")
    folder = call("backtest", SAMPLE, *asked, cwd=tmp_path).ok().json["run_dir"]
    assert '"mood.toml":' in (tmp_path / folder / "run.json").read_text()
    again = call("verify", folder, "--json", cwd=tmp_path).ok().json
    assert (again["same"], again["notes"]) == (True, [])
    elsewhere = call("verify", tmp_path / folder, "--json", cwd=SHIPPED).ok().json
    assert (elsewhere["same"], elsewhere["notes"]) == (True, [])
    path.write_text(MOOD.replace("</headline>", "</headline>."))
    done = call("verify", folder, "--json", cwd=tmp_path)
    assert done.code == 1
    assert done.json["notes"] == ["prompt file mood.toml has changed since the run"]
    assert done.json["divergence"]["fields"] == ["terms"]


def test_a_run_that_was_answered_cannot_be_asked_anew(tmp_path: Path) -> None:
    """With another prompt nobody was asked what it asks now: the error says which file is the reason."""
    path = write(tmp_path)
    prompt = read_prompt(path).prompt
    with (SHIPPED.parent / "headlines" / "synthetic-2024-06-01.csv").open(encoding="utf-8") as file:
        headlines = [row["headline"] for row in csv.DictReader(file)]
    requests = [request_of(prompt, {"headline": headline}) for headline in headlines]
    answers = [StoredAnswer(answer_to(request, '{"score":0.5}'), wire_of(), 1) for request in requests]
    AnswerStore(tmp_path / "data" / "answers").add(answers)
    run = ("backtest", SAMPLE, "--strategy", "asking.py", "--json")
    folder = call(*run, cwd=tmp_path).ok().json["run_dir"]
    assert call("verify", folder, "--json", cwd=tmp_path).ok().json["same"]
    path.write_text(MOOD.replace("</headline>", "</headline>."))
    done = call("verify", folder, cwd=tmp_path)
    assert done.code == 2
    assert "prompt file mood.toml has changed since the run: no answer is recorded for what " in done.err


@pytest.mark.parametrize("page", ["claude.md", "strategies.md"])
def test_the_examples_that_ask_can_be_run(tmp_path: Path, page: str) -> None:
    """Each that a page has, over the sample, where every headline that names an instrument is asked about."""
    text = (SHIPPED.parents[1] / "docs" / page).read_text(encoding="utf-8")
    examples = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "ctx.ask(" in code]
    assert examples
    for code in examples:
        (tmp_path / "example.py").write_text(code)
        asked = ("--strategy", "example.py", "--answers", "default", "--json")
        done = call("backtest", SAMPLE, *asked, cwd=tmp_path).ok()
        assert "21 questions have no recorded answer" in " ".join(done.json["warnings"])
