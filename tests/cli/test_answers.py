"""`engine answers list | show | import | export | verify` as a user types them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.answers.store import AnswerStore
from engine.cli.answers_list import usd
from engine.ingest.answers import answers_of
from engine.log.schema import LogHeader
from engine.model.kinds import AttemptData
from tests.helpers.answers import PROMPT, answer_message, answer_to, asked, kept, wire_of
from tests.helpers.command import Done, call
from tests.helpers.logs import at, make_log, news, trade, write_log

STORE = Path("data/answers")
OTHER = '{"sentiment":-0.5,"topic":"other"}'
NEXT = msgspec.structs.replace(PROMPT, version=2, text="Again: {headline}")
CUT = asked("Rates are cut")
RAISED = asked("Rates are raised")


def log_of_a_session(path: Path, **options: Any) -> Path:
    """A log with two answers, a refusal, and three questions that nothing came of."""
    slow = (
        AttemptData(1_000, 90_000_000, 529, "overloaded", request_id="req_0"),
        AttemptData(120_000_000, 60_000_000, 200, waited_ns=30_000_000, request_id="req_1"),
    )
    messages = [
        trade(1),
        news(2, "Rates are cut"),
        answer_message(3, answer_to(CUT, ticket=1, attempts=slow), wire_of()),
        answer_message(4, answer_to(RAISED, OTHER, ticket=2, cost_nano_usd=1_000_000_000), wire_of(OTHER)),
        answer_message(
            5, answer_to(asked("x", prompt=NEXT), "", outcome="refused", error="refusal", ticket=3), b"{}"
        ),
        answer_message(6, answer_to(asked("y"), "", outcome="expired", error="30 s", ticket=4)),
        answer_message(7, answer_to(asked("z"), "", outcome="failed", error="500", ticket=5)),
        answer_message(8, answer_to(asked("z"), "", outcome="failed", error="500", ticket=6)),
        trade(9),
    ]
    return make_log(path, messages, **options)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a session's log, and the answers of it imported."""
    log_of_a_session(tmp_path / "a.arrow")
    call("answers", "import", "a.arrow", cwd=tmp_path).ok()
    return tmp_path


# ------------------------------------------------------------------------------------------- import


@pytest.mark.parametrize("sealed", [False, True], ids=["unsealed", "sealed"])
def test_a_log_fills_a_store(tmp_path: Path, *, sealed: bool) -> None:
    """What came is kept with its raw bytes; what never came is counted and left out."""
    log_of_a_session(tmp_path / "a.arrow", sealed=sealed)
    done = call("answers", "import", "a.arrow", "--json", cwd=tmp_path).ok()
    (log,) = done.json["logs"]
    assert (log["file"], log["answers"], log["added"], log["known"]) == ("a.arrow", 3, 3, 0)
    assert log["left_out"] == {"expired": 1, "failed": 2}
    assert (done.json["folder"], len(done.json["files"]), done.json["added"]) == ("data/answers", 1, 3)
    store = AnswerStore(tmp_path / STORE)
    found = store.get(CUT.key)
    assert found is not None
    assert (found.wire, found.recorded, found.data.ticket) == (wire_of(), at(3), 0)
    assert [attempt.status for attempt in found.data.attempts] == [529, 200]
    assert store.get(asked("y").key) is None


def test_importing_again_adds_nothing(here: Path) -> None:
    """The store stays as it is, and the text says so."""
    before = sorted((here / STORE).iterdir())
    done = call("answers", "import", "a.arrow", cwd=here).ok()
    assert "a.arrow: 3 answers, 0 added, 3 known already; not answers: expired 1, failed 2" in done.out
    assert "data/answers: nothing to add" in done.out
    assert sorted((here / STORE).iterdir()) == before


def test_a_later_answer_to_the_same_question_stands_beside(here: Path) -> None:
    """Another session asked the same: both stay, the first goes on being served."""
    make_log(here / "b.arrow", [answer_message(20, answer_to(CUT, OTHER), wire_of(OTHER))])
    done = call("answers", "import", "b.arrow", "a.arrow", cwd=here).ok()
    assert (
        "b.arrow: 1 answer, 1 added, 0 known already, 1 beside another answer to the same question"
        in done.out
    )
    found = AnswerStore(here / STORE).get(CUT.key)
    assert found is not None
    assert found.recorded == at(3)
    shown = call("answers", "show", CUT.key, cwd=here).ok().out
    assert "answer 1 of 2, the one that is served" in shown
    assert "answer 2 of 2" in shown
    checked = call("answers", "verify", cwd=here).ok().out
    assert f"double: {CUT.key[:12]} (sentiment), answered at 2024-06-01T00:00:03.000000000Z, 2024" in checked
    assert "1 double" in call("answers", "list", cwd=here).ok().out


def test_patterns_and_folders_may_be_named(here: Path) -> None:
    """Logs by a pattern, the store by --answers-folder."""
    log_of_a_session(here / "c.arrow")
    done = call("answers", "import", "*.arrow", "--answers-folder", "kept", "--json", cwd=here).ok()
    assert [log["known"] for log in done.json["logs"]] == [0, 3]
    assert len(AnswerStore(here / "kept")) == 3


def test_an_altered_row_adds_nothing(here: Path) -> None:
    """A key that is not its request's: the log, the row and the key are named, and nothing was added."""
    data = answer_to(asked("fresh"))
    wrong = msgspec.structs.replace(data, request=data.request.replace("fresh", "stale"))
    good = answer_message(1, answer_to(asked("good")), b"{}")
    make_log(here / "b.arrow", [good, answer_message(2, wrong, b"{}")])
    done = call("answers", "import", "b.arrow", cwd=here)
    assert done.code == 2
    assert f"b.arrow: seq 4: answer {data.key[:12]}: its key is {data.key}" in done.err
    assert AnswerStore(here / STORE).get(asked("good").key) is None


def test_data_that_is_no_answer_is_an_error(here: Path) -> None:
    """An ANSWER row that cannot be read is named."""
    message = answer_message(1, answer_to(asked("x")))
    row = msgspec.json.encode({"key": 1})
    broken = type(message)(message.ts, tuple(type(r)(r.kind, source=0, data=row) for r in message.rows))
    make_log(here / "b.arrow", [broken])
    done = call("answers", "import", "b.arrow", cwd=here)
    assert (done.code, "seq 3: ANSWER: " in done.err) == (2, True)


def test_a_log_that_is_being_written_is_read_as_far_as_it_goes(here: Path) -> None:
    """Its good rows are imported, and a warning says what is not used."""
    writer = write_log(here / "b.arrow", [answer_message(1, answer_to(asked("live")), b"{}")])
    writer.abandon()
    with (here / "b.arrow").open("ab") as file:
        file.write(b"\xff\xff\xff\xff torn")
    done = call("answers", "import", "b.arrow", cwd=here).ok()
    assert "warning: b.arrow: " in done.err
    assert "1 added" in done.out


def test_a_log_without_answers_makes_no_store(tmp_path: Path) -> None:
    """Nothing to keep, nothing made."""
    make_log(tmp_path / "a.arrow", [trade(1)])
    out = call("answers", "import", "a.arrow", cwd=tmp_path).ok().out
    assert "a.arrow: 0 answers, 0 added" in out
    assert [path.name for path in tmp_path.iterdir()] == ["a.arrow"]


def test_a_folder_that_cannot_be_made_is_named(here: Path) -> None:
    """Where a file stands in the way, or the disk refuses."""
    done = call("answers", "import", "a.arrow", "--answers-folder", "a.arrow/answers", cwd=here)
    assert (done.code, "a.arrow/answers: answers cannot be written" in done.err) == (1, True), done


@pytest.mark.parametrize("name", ["absent.arrow", "text.arrow"])
def test_what_is_no_log_is_named(here: Path, name: str) -> None:
    """A file that is not there, and one that is something else."""
    (here / "text.arrow").write_text("key,answer\n")
    done = call("answers", "import", name, cwd=here)
    assert (done.code, name in done.err) == (2, True)


def test_answers_of_a_log_are_values(here: Path) -> None:
    """Whoever needs a log's answers without a store has them in the log's order."""
    assert [answer.recorded for answer in answers_of(here / "a.arrow")] == [at(3), at(4), at(5)]


# --------------------------------------------------------------------------------------------- list


def test_list_counts_by_prompt_version_and_model(here: Path) -> None:
    """Answers, outcomes, tokens, cost and span of each, and of all."""
    listed = call("answers", "list", "--json", cwd=here).ok().json
    assert (listed["folder"], listed["files"], listed["answers"], listed["questions"]) == (
        "data/answers",
        1,
        3,
        3,
    )
    assert listed["cost_nano_usd"] == 1_000_044_000
    assert (listed["first"], listed["last"]) == (
        "2024-06-01T00:00:03.000000000Z",
        "2024-06-01T00:00:05.000000000Z",
    )
    rows = [(row["prompt"], row["version"], row["answers"], row["outcomes"]) for row in listed["prompts"]]
    assert rows == [("sentiment", 1, 2, {"answered": 2}), ("sentiment", 2, 1, {"refused": 1})]
    assert listed["prompts"][0]["input_tokens"] == 240
    assert listed["each"] == []


def test_list_is_a_table(here: Path) -> None:
    """The text has the same figures, dollars exactly."""
    out = call("answers", "list", cwd=here).ok().out
    assert "data/answers: 3 answers in 1 file, $1.000044\n" in out
    assert "2024-06-01T00:00:03.000000000Z to 2024-06-01T00:00:05.000000000Z" in out
    assert "claude-haiku-5-5        2        240   40  $1.000022  answered 2" in out


def test_list_each_names_every_answer(here: Path) -> None:
    """In the order of their recording, as many as wanted; refusals show why."""
    out = call("answers", "list", "--each", cwd=here).ok().out
    lines = [line.split() for line in out.splitlines() if "sentiment" in line and "Z" in line]
    assert [line[0] for line in lines] == [CUT.key[:12], RAISED.key[:12], asked("x", prompt=NEXT).key[:12]]
    assert lines[2][-2:] == ["refused", "refusal"]
    assert "(2 more: --limit 0 shows all)" in call("answers", "list", "--each", "--limit", "1", cwd=here).out
    each = call("answers", "list", "--each", "--json", cwd=here).ok().json["each"]
    assert [line["key"] for line in each][:2] == [CUT.key, RAISED.key]


def test_an_empty_store_says_how_to_fill_it(tmp_path: Path) -> None:
    """No store is no error for list and verify."""
    assert "fill it with: engine answers import LOG" in call("answers", "list", cwd=tmp_path).ok().out
    assert call("answers", "verify", "--json", cwd=tmp_path).ok().json["answers"] == 0
    assert list(tmp_path.iterdir()) == []


def test_a_prompt_without_answers_is_said(here: Path) -> None:
    """A name that nothing was asked under is a mistake, not an empty list."""
    done = call("answers", "list", "--prompt", "topics", cwd=here)
    assert (done.code, "has no answer to a prompt topics" in done.err) == (2, True)


# --------------------------------------------------------------------------------------------- show


def test_show_has_question_answer_attempts_and_cost(here: Path) -> None:
    """The whole of one answer, by the first digits of its key."""
    out = call("answers", "show", CUT.key[:6].upper(), cwd=here).ok().out
    for text in (
        f"key       {CUT.key}",
        "prompt    sentiment, version 1, sample 0",
        "2024-06-01T00:00:03.000000000Z, 180.000 ms after the question",
        "outcome   answered",
        "120 in",
        "cost      $0.000022",
        "attempt 1: began 0.001 ms, took 90.000 ms, status 529, overloaded, req_0",
        "attempt 2: began 120.000 ms, took 60.000 ms, status 200, req_1",
        "[system] You read headlines.",
        "[user] Headline: Rates are cut",
        '{"sentiment":0.5,"topic":"macro"}',
    ):
        assert text in out


def test_show_as_json_has_the_request_as_an_object(here: Path) -> None:
    """Nothing is left out, the raw bytes included."""
    shown = call("answers", "show", CUT.key, "--json", cwd=here).ok().json
    (answer,) = shown["answers"]
    assert shown["key"] == answer["key"] == CUT.key
    assert answer["request"]["body"] == CUT.body
    assert answer["wire"] == wire_of().decode()
    assert answer["cost_nano_usd"] == 22_000


def test_words_of_others_cannot_command_a_terminal(tmp_path: Path) -> None:
    """Escape sequences in a headline, an answer or an error are printed as what they are."""
    nasty = "\x1b[2J\x1b]0;owned\x07\u202e"
    AnswerStore(tmp_path / STORE).add([kept(nasty, text=nasty, error=nasty)])
    for arguments in (("show", kept(nasty).key[:8]), ("list", "--each"), ("show", kept(nasty).key, "--json")):
        out = call("answers", *arguments, cwd=tmp_path).ok().out
        assert "owned" in out
        assert not {"\x1b", "\x07"} & set(out)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("xyz", "not made of at most 64 hexadecimal digits"),
        ("", "not made of"),
        ("0" * 65, "not made of"),
        ("0" * 64, "no answer has a key that begins with"),
    ],
)
def test_a_key_that_is_none_is_said(here: Path, key: str, said: str) -> None:
    """What stands there, and where keys are listed."""
    done = call("answers", "show", key, cwd=here)
    assert (done.code, said in done.err, "engine answers list --each" in done.err) == (2, True, True)


def test_a_beginning_of_several_keys_names_them(tmp_path: Path) -> None:
    """With seventeen keys two begin alike; both are named."""
    AnswerStore(tmp_path / STORE).add([kept(f"headline {number}") for number in range(17)])
    keys = sorted(kept(f"headline {number}").key for number in range(17))
    digit = next(key[0] for key, after in pairwise(keys) if key[0] == after[0])
    done = call("answers", "show", digit, cwd=tmp_path)
    assert done.code == 2
    assert all(key[:12] in done.err for key in [key for key in keys if key[0] == digit][:3])


# ------------------------------------------------------------------------------------ export, verify


def test_an_export_is_imported_as_it_was(here: Path) -> None:
    """One file of everything; the store made of it is the same, answer for answer."""
    done = call("answers", "export", "out/all.arrow", "--json", cwd=here).ok()
    assert (done.json["file"], done.json["answers"]) == ("out/all.arrow", 3)
    call("answers", "import", "out/all.arrow", "--answers-folder", "other", cwd=here).ok()
    assert list(AnswerStore(here / "other").each()) == list(AnswerStore(here / STORE).each())
    again = call("answers", "import", "out/all.arrow", "a.arrow", "--json", cwd=here).ok()
    assert again.json["added"] == 0


def test_an_export_of_one_prompt_has_only_that(here: Path) -> None:
    """By the prompt's name, all its versions."""
    AnswerStore(here / STORE).add([kept("t", sample=4)])
    topics = msgspec.structs.replace(PROMPT, name="topics")
    make_log(here / "b.arrow", [answer_message(1, answer_to(asked("x", prompt=topics)), b"{}")])
    call("answers", "import", "b.arrow", cwd=here).ok()
    done = call("answers", "export", "s.arrow", "--prompt", "topics", cwd=here).ok()
    assert "s.arrow: 1 answer, " in done.out
    (answer,) = answers_of(here / "s.arrow")
    assert answer.request.prompt == "topics"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("all.parquet",), "does not end in .arrow"),
        (("a.arrow",), "exists already"),
        (("data/answers/all.arrow",), "lies in the store itself"),
        (("b.arrow", "--prompt", "none"), "has no answer to a prompt none"),
        (("new/b.arrow", "--answers-folder", "nowhere"), "has no answer"),
        (("b.arrow", "--answers-folder", "a.arrow"), "is a file, not a folder"),
    ],
)
def test_an_export_that_cannot_be_is_refused(here: Path, arguments: tuple[str, ...], said: str) -> None:
    """Nothing is overwritten, and nothing is left behind."""
    before = sorted(path.name for path in here.rglob("*"))
    done = call("answers", "export", *arguments, cwd=here)
    assert (done.code, said in done.err) == (2, True), done
    assert sorted(path.name for path in here.rglob("*")) == before


def test_verify_says_that_all_is_well(here: Path) -> None:
    """Files, rows and answers counted; exit code 0."""
    out = call("answers", "verify", cwd=here).ok().out
    assert "data/answers: 1 file, 3 rows, 3 different answers" in out
    assert "every key is its request's" in out


def damaged(folder: Path) -> Done:
    """`verify` of a store of which one file lost its end and another one byte."""
    (path,) = (folder / STORE).iterdir()
    content = path.read_bytes()
    (folder / STORE / "half.arrow").write_bytes(content[: len(content) // 2])
    path.write_bytes(content.replace(b'"cost_nano_usd":22000', b'"cost_nano_usd":22001', 1))
    return call("answers", "verify", cwd=folder)


def test_verify_names_every_damaged_file(here: Path) -> None:
    """Exit code 1, each problem with its file, and what to do."""
    done = damaged(here)
    assert done.code == 1
    assert "half.arrow: damaged" in done.out
    assert "its checksum does not hold" in done.out
    assert "2 problems: move such files away and import their logs again" in done.out


def test_a_damaged_store_is_an_error_for_the_others(here: Path) -> None:
    """List, show, export and import name the file and say what to do."""
    damaged(here)
    for arguments in (("list",), ("show", "00"), ("export", "x.arrow"), ("import", "a.arrow")):
        done = call("answers", *arguments, cwd=here)
        assert (done.code, "half.arrow: damaged" in done.err) == (2, True), arguments
        assert "engine answers import LOG" in done.err


def test_a_log_in_the_folder_is_told_from_answers(here: Path) -> None:
    """Somebody put the log itself into the store: the hint has the command."""
    log_of_a_session(here / STORE / "log.arrow", header=LogHeader(engine="test"), sealed=True)
    done = call("answers", "list", cwd=here)
    assert (done.code, "log.arrow: not a file of answers" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (22_000, "$0.000022"),
        (1_500_000_000, "$1.50"),
        (10**13, "$10,000.00"),
    ],
)
def test_costs_are_exact(nano: int, text: str) -> None:
    """Nano-dollars as dollars, no digit lost and at least two of them."""
    assert usd(nano) == text
