"""The answer store: found again, kept for ever, merged in any order, and honest about damage."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import duckdb
import msgspec
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.answers import files
from engine.answers.checking import check_store
from engine.answers.files import AnswerFile, is_answer_file, write_answers
from engine.answers.store import SEARCHED_FILES, AnswerStore
from engine.answers.stored import StoredAnswer, stored, versions_of
from engine.model.errors import EngineError, InputError
from engine.model.kinds import AttemptData
from tests.helpers.answers import answer_to, asked, kept, wire_of
from tests.helpers.logs import at

OTHER = '{"sentiment":-0.5,"topic":"other"}'


def store_with(folder: Path, *groups: list[StoredAnswer]) -> AnswerStore:
    """A store to which each group was added by itself, so that each is a file."""
    store = AnswerStore(folder)
    for group in groups:
        store.add(group)
    return store


def altered(path: Path, part: bytes, by: bytes) -> None:
    """Replace the one place in a file that holds `part` by something of the same length."""
    content = path.read_bytes()
    assert content.count(part) == 1
    assert len(part) == len(by)
    path.write_bytes(content.replace(part, by))


def written(folder: Path, answers: list[StoredAnswer]) -> Path:
    """A file of answers as they are given, nothing checked."""
    path = write_answers(folder, answers)
    assert path is not None
    return path


# ------------------------------------------------------------------------------------------ look-up


def test_an_answer_is_found_by_its_key_as_it_was(tmp_path: Path) -> None:
    """Data, raw bytes and time come back, the run's ticket does not; another question finds nothing."""
    request = asked("Rates are cut")
    data = answer_to(request, ticket=7)
    store_with(tmp_path, [stored(data, wire_of(), at(1))])
    found = AnswerStore(tmp_path).get(request.key)
    assert found is not None
    assert found.data == msgspec.structs.replace(data, ticket=0)
    assert (found.wire, found.recorded, found.request) == (wire_of(), at(1), request)
    assert AnswerStore(tmp_path).get(asked("Rates are cut!").key) is None


def test_a_store_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """Nothing is found in it and nothing is made of it by looking."""
    store = AnswerStore(tmp_path / "answers")
    assert (len(store), store.get(asked("x").key), list(store.each())) == (0, None, [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [1, SEARCHED_FILES, SEARCHED_FILES + 1, 12])
@pytest.mark.parametrize("rows", [3, 16_384])
def test_every_answer_is_found_however_the_store_is_divided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, rows: int
) -> None:
    """In one file or many, with an index or without, in batches of any size; and misses are misses."""
    monkeypatch.setattr(files, "BATCH_ROWS", rows)
    answers = [kept(f"headline {number}", number) for number in range(60)]
    store = store_with(tmp_path, *(answers[number::count] for number in range(count)))
    assert (len(store.files), len(store)) == (count, 60)
    for answer in answers:
        assert store.get(answer.key) == answer
    assert not any(store.get(asked(f"headline {number}").key) for number in range(60, 160))
    assert [versions[0].key for versions in store.each()] == sorted(answer.key for answer in answers)


def test_keys_at_the_edges_are_found(tmp_path: Path) -> None:
    """Keys of all zeros, of all ones, and equal in their first bytes or ending in zeros are told apart."""
    digits = [
        "00" * 32,
        "00" * 31 + "01",
        "ab" * 8 + "00" * 24,
        "ab" * 8 + "01" * 24,
        "ff" * 31 + "00",
        "ff" * 32,
    ]
    base = kept()
    answers = [
        StoredAnswer(msgspec.structs.replace(base.data, key=key), base.wire, number)
        for number, key in enumerate(digits)
    ]
    written(tmp_path / "one", answers)
    for answer in answers:
        written(tmp_path / "many", [answer])
    for folder in ("one", "many"):
        store = AnswerStore(tmp_path / folder)
        assert [store.get(key) for key in digits] == answers
        assert store.get("ab" * 8 + "00" * 23 + "01") is None


def test_a_key_is_found_by_its_beginning(tmp_path: Path) -> None:
    """All keys that begin so are named, up to as many as wanted, over several files."""
    answers = [kept(f"headline {number}") for number in range(200)]
    store = store_with(tmp_path, answers[:90], answers[80:])
    keys = sorted(answer.key for answer in answers)
    assert store.keys_with("", 1000) == keys
    assert store.keys_with("a", 1000) == [key for key in keys if key.startswith("a")]
    assert store.keys_with("a", 2) == [key for key in keys if key.startswith("a")][:2]
    assert store.keys_with(keys[50], 5) == [keys[50]]
    assert store.keys_with("f" * 40, 5) == []


# -------------------------------------------------------------------------------------- one for ever


def test_two_samples_of_one_question_keep_both_answers_in_order(tmp_path: Path) -> None:
    """Asked again on purpose, a question has a second answer; both are found, and read in their order."""
    first, second = kept(seconds=9), kept(seconds=5, text=OTHER, sample=1)
    store = store_with(tmp_path, [second], [first])
    assert (store.get(first.key), store.get(second.key)) == (first, second)
    assert list(store.samples(asked("Rates are cut", sample=1))) == [first, second]
    assert list(store.samples(asked("something else"))) == []


def test_the_same_answer_twice_is_one(tmp_path: Path) -> None:
    """What is there already makes no file, and copied files do not make two answers of one."""
    answers = [kept("a"), kept("b")]
    store = store_with(tmp_path / "one", answers)
    done = store.add(answers)
    assert (done.answers, done.added, done.known, done.files) == (2, 0, 2, ())
    (path,) = (tmp_path / "one").iterdir()
    (tmp_path / "one" / "copy.arrow").write_bytes(path.read_bytes())
    again = AnswerStore(tmp_path / "one")
    assert (len(again), [len(versions) for versions in again.each()]) == (4, [1, 1])
    assert check_store(tmp_path / "one").doubles == []


def test_one_call_that_served_two_questions_of_a_run_is_one_answer(tmp_path: Path) -> None:
    """Tickets, waits and attempts do not make an answer another one; the earliest record of it counts."""
    early = kept(seconds=2, latency_ns=100)
    late = kept(seconds=3, latency_ns=5, attempts=(AttemptData(0, 1),))
    assert versions_of([late, early]) == [early]
    store = store_with(tmp_path, [late, early])
    assert (len(store), store.get(early.key)) == (1, early)


def test_the_earliest_of_different_answers_is_served(tmp_path: Path) -> None:
    """Both stay; what is added later, and was recorded later, changes no rerun."""
    early, late = kept(seconds=2), kept(seconds=3, text=OTHER)
    store = store_with(tmp_path, [early])
    done = store.add([late])
    assert (done.added, done.doubles) == (1, 1)
    assert store.get(early.key) == early
    assert store.versions(early.key) == [early, late]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from(["x", "y"]), st.integers(0, 2)),
        min_size=1,
        max_size=12,
    ),
    st.randoms(use_true_random=False),
    st.integers(1, 5),
)
def test_stores_are_merged_in_any_order(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[tuple[int, int, str, int]],
    chance: object,
    size: int,
) -> None:
    """Whichever way round answers are added, in whatever groups, the same ones are served and kept."""
    folder = tmp_path_factory.mktemp("merge")
    answers = [
        kept(f"headline {about}", seconds, text, latency_ns=latency)
        for about, seconds, text, latency in drawn
    ]
    shuffled = answers.copy()
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    one = store_with(folder / "one", answers)
    groups = [shuffled[begin : begin + size] for begin in range(0, len(shuffled), size)]
    other = store_with(folder / "other", *groups)
    assert list(one.each()) == list(other.each())
    for answer in answers:
        same_key = [a for a in answers if a.key == answer.key]
        assert one.get(answer.key) == min(same_key, key=lambda a: a.rank)


def test_adding_many_answers_is_done_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into memory at once becomes several files, and nothing of it is lost."""
    monkeypatch.setattr("engine.answers.store._BLOCK", 7)
    answers = [kept(f"headline {number}") for number in range(20)]
    done = AnswerStore(tmp_path).add(iter(answers))
    assert (done.answers, done.added, len(done.files)) == (20, 20, 3)
    assert all(AnswerStore(tmp_path).get(answer.key) == answer for answer in answers)


# ----------------------------------------------------------------------------------- what may enter


def test_a_key_that_is_not_its_requests_is_refused() -> None:
    """Altered requests and altered keys do not enter, and the message says which answer of which row."""
    data = answer_to(asked("Rates are cut"))
    wrong = msgspec.structs.replace(data, request=data.request.replace("cut", "cat"))
    with pytest.raises(InputError, match=r"^log: seq 4: answer .*its request hashes to") as caught:
        stored(wrong, None, 0, where="log: seq 4: ")
    assert "take it from the log" in caught.value.hint


def test_a_request_that_is_not_canonical_is_refused() -> None:
    """With a space more the same question would have a second key."""
    data = answer_to(asked("Rates are cut"))
    text = data.request.replace('"sample":0', '"sample": 0')
    key = sha256(text.encode()).hexdigest()
    with pytest.raises(InputError, match="not in canonical form"):
        stored(msgspec.structs.replace(data, request=text, key=key), None, 0)


@pytest.mark.parametrize(("text", "said"), [("{}", "cannot be read"), ("\x00", "cannot be read")])
def test_what_is_no_request_is_refused(text: str, said: str) -> None:
    """Also under its own hash."""
    data = msgspec.structs.replace(kept().data, request=text, key=sha256(text.encode()).hexdigest())
    with pytest.raises(InputError, match=said):
        stored(data, None, 0)


@pytest.mark.parametrize("outcome", ["failed", "expired", "budget", "broken", "nonsense"])
def test_what_never_came_is_not_kept(outcome: str) -> None:
    """A failure is no answer: the next run may ask again."""
    with pytest.raises(InputError, match=f'outcome "{outcome}" is not kept'):
        stored(answer_to(asked("x"), outcome=outcome), None, 0)


# ---------------------------------------------------------------------------------------- the files


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full leaves what was there before, and nothing else."""
    store = store_with(tmp_path, [kept("a")])
    before = sorted(tmp_path.iterdir())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EngineError, match="cannot be written: No space left on device"):
        store.add([kept("b")])
    assert sorted(tmp_path.iterdir()) == before


def test_the_same_answers_are_the_same_file(tmp_path: Path) -> None:
    """A file is named by its first day and its content, and its bytes are the same everywhere."""
    one, other = (store_with(tmp_path / name, [kept("a"), kept("b")]) for name in ("one", "other"))
    assert [file.path.name for file in one.files] == [file.path.name for file in other.files]
    assert one.files[0].path.name.startswith("2024-06-01-")
    assert one.files[0].path.read_bytes() == other.files[0].path.read_bytes()


def test_polars_and_duckdb_read_the_columns(tmp_path: Path) -> None:
    """Key, data, wire, time and the plain columns, sorted by key."""
    store = store_with(tmp_path, [kept("a"), kept("b", 2, sample=3)])
    path = store.files[0].path
    table = pl.read_ipc(path)
    assert table.columns == [
        "key",
        "data",
        "wire",
        "recorded",
        "crc32",
        "model",
        "prompt",
        "version",
        "sample",
    ]
    assert sorted(table["sample"]) == [0, 3]
    assert table["key"].is_sorted()
    assert table["recorded"].dt.epoch("ns").sort().to_list() == [at(1), at(2)]
    asking = duckdb.connect()
    asking.register("answers", pa.ipc.open_file(str(path)).read_all())
    found = asking.execute(
        "SELECT prompt, count(*), sum(CAST(data->>'cost_nano_usd' AS BIGINT)) FROM answers GROUP BY 1"
    )
    assert found.fetchall() == [("sentiment", 2, 44_000)]


def test_only_files_of_answers_are_taken_for_one(tmp_path: Path) -> None:
    """By their beginning, whatever their name, whole or not."""
    path = store_with(tmp_path, [kept()]).files[0].path
    half = tmp_path / "half"
    half.write_bytes(path.read_bytes()[:600])
    other = tmp_path / "other.arrow"
    pl.DataFrame({"a": [1]}).write_ipc(other)
    assert [is_answer_file(p) for p in (path, half, other, tmp_path / "absent")] == [True, True, False, False]


# ------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("keep", [0, 5, 300, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_named(tmp_path: Path, keep: float) -> None:
    """Wherever it ends: the file, and what to do."""
    path = store_with(tmp_path, [kept(f"{number}") for number in range(20)]).files[0].path
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
    with pytest.raises(InputError) as caught:
        AnswerStore(tmp_path)
    assert str(path) in caught.value.message
    assert "engine answers import LOG" in caught.value.hint


def test_another_file_in_the_folder_is_named(tmp_path: Path) -> None:
    """A table of somebody else's is no file of answers, and the message says so."""
    pl.DataFrame({"a": [1]}).write_ipc(tmp_path / "other.arrow")
    with pytest.raises(InputError, match=r"other\.arrow: not a file of answers"):
        AnswerStore(tmp_path)


def test_a_newer_form_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of a later engine is not read as if it were one of today's."""
    monkeypatch.setattr(files, "STORE_VERSION", 2)
    written(tmp_path, [kept()])
    monkeypatch.undo()
    with pytest.raises(InputError, match="written in form 2, this engine reads up to 1"):
        AnswerStore(tmp_path)


@pytest.mark.parametrize(
    ("part", "by"),
    [
        (b'"latency_ns":180', b'"latency_ns":181'),
        (b"msg_1", b"msg_2"),
        (b"22000", b"22001"),
    ],
)
def test_an_altered_answer_is_never_served(tmp_path: Path, part: bytes, by: bytes) -> None:
    """Wait, raw bytes, cost: a row whose checksum does not hold is an error with file and row."""
    path = store_with(tmp_path, [kept()]).files[0].path
    altered(path, part, by)
    with pytest.raises(InputError, match=r"row 0: damaged: its checksum does not hold"):
        AnswerStore(tmp_path).get(kept().key)
    report = check_store(tmp_path)
    assert (report.good, report.count) == (False, 1)
    assert str(path) in report.problems[0]


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    """Every second byte of a small file: an error or, in padding and in what nobody reads, no difference."""
    answer = kept()
    path = store_with(tmp_path, [answer]).files[0].path
    content = bytearray(path.read_bytes())
    padding = 0
    for offset in range(0, len(content), 2):
        flipped = content.copy()
        flipped[offset] ^= 0x10
        path.write_bytes(flipped)
        report = check_store(tmp_path)
        if report.good:
            assert AnswerStore(tmp_path).get(answer.key) == answer, offset
            padding += 1
    assert padding < len(content) / 2


# ------------------------------------------------------------------------------------------- verify


def test_verify_finds_what_a_look_up_would_not(tmp_path: Path) -> None:
    """Rows out of order, keys of other requests, outcomes that are none: each with file, row and key."""
    a, b = sorted((kept("a"), kept("b")), key=lambda answer: answer.key)
    unsorted = written(tmp_path, [b, a])
    wrong = msgspec.structs.replace(a.data, request=a.data.request.replace("Headline: ", "Headline; "))
    strange = written(tmp_path, [StoredAnswer(wrong, b"", 0)])
    failed = written(
        tmp_path,
        [
            kept("c", outcome="failed"),
        ],
    )
    ticket = written(tmp_path, [kept("d", ticket=3)])
    report = check_store(tmp_path)
    assert (report.files, report.rows, report.good) == (4, 5, False)
    said = "\n".join(report.problems)
    assert f"{unsorted}: row 1: its key is below that of the row before" in said
    assert f"{strange}: row 0: answer {a.key[:12]}: its key is {a.key}, but its request hashes to" in said
    assert f'{failed}: row 0: answer {kept("c").key[:12]}: its outcome is "failed"' in said
    assert f"{ticket}: row 0: answer {kept('d').key[:12]}: it has the ticket 3 of a run" in said
    assert report.count == 4


def test_verify_compares_the_plain_columns(tmp_path: Path) -> None:
    """What polars reads in `prompt` is what the request says."""
    path = store_with(tmp_path, [kept()]).files[0].path
    table = pa.ipc.open_file(str(path)).read_all()
    other = table.set_column(6, table.schema.field("prompt"), pa.array(["sentimental"]))
    _, note = pa.ipc.open_file(str(path)).get_batch_with_custom_metadata(0)
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_batch(other.to_batches()[0], custom_metadata=note)
    (problem,) = check_store(tmp_path).problems
    assert "its columns say" in problem
    assert "sentimental" in problem


def test_a_damaged_file_does_not_hide_the_others(tmp_path: Path) -> None:
    """Verify goes on behind it, and doubles of the good files are reported."""
    early, late = kept(seconds=2), kept(seconds=3, text=OTHER)
    store = store_with(tmp_path, [early], [late], [kept("other")])
    broken = next(
        file.path for file in store.files if list(file.keys()) == [bytes.fromhex(kept("other").key)]
    )
    broken.write_bytes(broken.read_bytes()[:100])
    report = check_store(tmp_path)
    assert (report.files, report.rows, report.answers, report.count) == (3, 2, 2, 1)
    (double,) = report.doubles
    assert (double.key, double.prompt, double.recorded) == (early.key, "sentiment", (at(2), at(3)))


def test_doubles_alone_are_no_error(tmp_path: Path) -> None:
    """Two answers to one question are kept on purpose."""
    store_with(tmp_path, [kept(seconds=2)], [kept(seconds=3, text=OTHER)])
    report = check_store(tmp_path)
    assert (report.good, len(report.doubles)) == (True, 1)


def test_an_open_store_outlives_its_files(tmp_path: Path) -> None:
    """What was mapped stays readable when somebody tidies the folder."""
    store = store_with(tmp_path, [kept()])
    for path in tmp_path.iterdir():
        path.unlink()
    assert store.get(kept().key) == kept()
    assert isinstance(store.files[0], AnswerFile)
