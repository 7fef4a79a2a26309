"""The journal: what its hash covers, how it is written, and what a torn or full one still gives."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.execution.state import JOURNAL, TERMS
from engine.log.journal import HASH_FIELDS, JOURNAL_SCHEMA, Journal, hash_of_table, read_journal
from engine.model.errors import EngineError, InputError

KEYS = ["BTCUSDT.binance", "ETHUSDT.binance"]
LEFT_OUT = {"file", "cause_seq", "trigger", "trigger_id"}


def records(count: int, *, first: int = 1, seed: int = 3) -> np.ndarray[Any, Any]:
    """`count` invented records, numbered from `first`."""
    chance = np.random.default_rng(seed)
    made = np.zeros(count, dtype=JOURNAL)
    for name in JOURNAL.names or ():
        if made[name].ndim == 1:
            made[name] = chance.integers(0, 100, count)
    made["kind"] = chance.integers(1, 9, count)
    made["number"] = np.arange(first, first + count)
    made["instrument"] = chance.integers(0, 2, count)
    return made


def write(path: Path, parts: list[np.ndarray[Any, Any]], keys: list[str] = KEYS) -> str:
    """A journal of these parts; its hash."""
    journal = Journal(path)
    for part in parts:
        journal.append(part, keys)
    return journal.close()


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    """Every column of every record, with keys in place of numbers, and the same hash."""
    made = records(500)
    head = write(tmp_path / "journal.arrow", [made[:100], made[100:100], made[100:]])
    table = read_journal(tmp_path / "journal.arrow")
    assert table.schema == JOURNAL_SCHEMA
    for name in JOURNAL_SCHEMA.names:
        if name == "instrument":
            assert table[name].to_pylist() == [KEYS[i] for i in made["instrument"]]
        elif name not in ("terms", "text"):
            assert table[name].to_pylist() == made[name].tolist(), name
    assert hash_of_table(table) == head
    with pa.ipc.open_stream(str(tmp_path / "journal.arrow")) as stream:
        assert stream.read_all() == table  # readable as it is


@pytest.mark.parametrize("size", [1, 7, 64, 500])
def test_the_hash_does_not_depend_on_the_parts(size: int, tmp_path: Path) -> None:
    """One by one or all at once; with a file or without."""
    made = records(500)
    parts = [made[at : at + size] for at in range(0, 500, size)]
    assert write(tmp_path / "a.arrow", parts) == write(tmp_path / "b.arrow", [made])
    in_memory = Journal()
    for part in parts:
        in_memory.append(part, KEYS)
    assert in_memory.close() == write(tmp_path / "c.arrow", [made])


def test_the_hash_depends_on_keys_and_not_on_numbers(tmp_path: Path) -> None:
    """The same instruments in another order of definition give the same hash; another key does not."""
    made = records(50)
    swapped = made.copy()
    swapped["instrument"] = 1 - made["instrument"]
    head = write(tmp_path / "a.arrow", [made])
    assert write(tmp_path / "b.arrow", [swapped], KEYS[::-1]) == head
    assert write(tmp_path / "c.arrow", [made], [KEYS[0], "SOLUSDT.binance"]) != head


@pytest.mark.parametrize("name", [n for n in JOURNAL_SCHEMA.names if n not in ("terms", "text")])
def test_what_the_hash_covers(name: str, tmp_path: Path) -> None:
    """Every column that says what was decided; not where the input stood."""
    made = records(50)
    other = made.copy()
    other[name][20] = 1 - other[name][20] if name == "instrument" else other[name][20] + 1
    same = write(tmp_path / "a.arrow", [made]) == write(tmp_path / "b.arrow", [other])
    assert same == (name in LEFT_OUT)
    assert same == (name not in HASH_FIELDS)


def terms(*entries: tuple[int, int]) -> np.ndarray[Any, Any]:
    """TERMS records of some decisions, with a stop each."""
    made = np.zeros(len(entries), dtype=TERMS)
    for entry, (decision, stop) in zip(made, entries, strict=True):
        entry["decision"], entry["stop"], entry["group"] = decision, stop, 7
    return made


def test_terms_from_two_places_are_one(tmp_path: Path) -> None:
    """What a kernel says of an order and what the runner adds; either alone stands as it is."""
    path = tmp_path / "journal.arrow"
    journal = Journal(path)
    said = {2: '{"because":[1]}', 3: '{"because":[2]}'}
    journal.append(records(3), KEYS, terms((1, 51), (2, 52)), said)
    head = journal.close()
    table = read_journal(path)
    assert table["terms"].to_pylist() == [
        '{"group":7,"stop":51}',
        '{"because":[1],"group":7,"stop":52}',
        '{"because":[2]}',
    ]
    assert hash_of_table(table) == head


def test_an_instrument_that_is_new_behind_terms_is_hashed_behind_them(tmp_path: Path) -> None:
    """Cut between the two or not: the terms belong to the record before, the definition to the one after."""
    made = records(2)
    made["instrument"] = (0, 1)
    heads = []
    for name, parts in (("whole", [made]), ("cut", [made[:1], made[1:]])):
        journal = Journal(tmp_path / f"{name}.arrow")
        for part in parts:
            journal.append(part, KEYS, terms((1, 51)) if part["number"][0] == 1 else None)
        heads.append(journal.close())
    assert heads[0] == heads[1] == hash_of_table(read_journal(tmp_path / "cut.arrow"))


def test_terms_are_hashed_where_their_decision_stands(tmp_path: Path) -> None:
    """However the records were cut; another stop, or the stop of another decision, is another hash."""
    made = records(6)
    journals = []
    for number, parts in enumerate(([6], [3, 3], [2, 1, 1, 2])):
        journal = Journal(tmp_path / f"{number}.arrow")
        first = 0
        for count in parts:
            numbers = made["number"][first : first + count]
            said = terms(*((n, 50 + n) for n in (2, 3, 6) if n in numbers))
            journal.append(made[first : first + count], KEYS, said)
            first += count
        journals.append((journal.close(), read_journal(tmp_path / f"{number}.arrow")))
    assert len({head for head, _ in journals}) == 1
    for head, table in journals:
        assert hash_of_table(table) == head
        assert table["terms"].to_pylist()[1:3] == ['{"group":7,"stop":52}', '{"group":7,"stop":53}']
        assert table["terms"].null_count == 3
    for other in (terms((2, 53), (3, 53), (6, 56)), terms((2, 52), (4, 53), (6, 56)), terms()):
        journal = Journal()
        journal.append(made, KEYS, other)
        assert journal.close() != journals[0][0]


def test_lines_and_words_stand_beside_the_decisions(tmp_path: Path) -> None:
    """In order, outside the hash."""
    made = records(4)
    journal = Journal(tmp_path / "a.arrow")
    journal.line(5, 0, 17, "before")
    journal.explain(2, "because")
    journal.append(made, KEYS)
    journal.line(6, 0, 18, "behind")
    head = journal.close()
    table = read_journal(tmp_path / "a.arrow")
    assert table["text"].to_pylist() == ["before", None, "because", None, None, "behind"]
    assert table["kind"].to_pylist()[0] == table["kind"].to_pylist()[-1] == 0
    assert (table["ts"][0].as_py(), table["cause_seq"][0].as_py()) == (5, 17)
    assert head == hash_of_table(table) == write(tmp_path / "b.arrow", [made])


def test_many_lines_are_not_kept_in_memory(tmp_path: Path) -> None:
    """A strategy that talks for ever: its lines are written now and then, all of them in order."""
    journal = Journal(tmp_path / "a.arrow")
    for number in range(10_000):
        journal.line(number, 0, number, str(number))
    assert (tmp_path / "a.arrow").stat().st_size > 100_000
    journal.close()
    assert read_journal(tmp_path / "a.arrow")["text"].to_pylist() == [str(n) for n in range(10_000)]


def test_a_torn_journal_is_read_up_to_its_last_whole_batch(tmp_path: Path) -> None:
    """Cut at every byte: the whole batches before the cut, never an error behind the header."""
    path = tmp_path / "a.arrow"
    sizes = []
    journal = Journal(path)
    sizes.append(path.stat().st_size)
    for n in range(4):
        journal.append(records(3, first=1 + 3 * n), KEYS)
        sizes.append(path.stat().st_size)
    journal.close()
    content = path.read_bytes()
    for cut in range(sizes[0], len(content) + 1):
        path.write_bytes(content[:cut])
        whole = sum(size <= cut for size in sizes) - 1
        assert read_journal(path)["number"].to_pylist() == list(range(1, 1 + 3 * whole)), f"cut at {cut}"


def test_what_is_no_journal(tmp_path: Path) -> None:
    """Missing, of another kind, of other columns: named; an empty one has no decisions yet."""
    path = tmp_path / "journal.arrow"
    with pytest.raises(InputError, match="no such journal"):
        read_journal(path)
    path.touch()
    assert read_journal(path).num_rows == 0
    path.write_text("something else, of some length at least")
    with pytest.raises(InputError, match="not a journal"):
        read_journal(path)
    with pa.ipc.new_stream(str(path), pa.schema([("a", pa.int64())])):
        pass
    with pytest.raises(InputError, match="not the columns of a journal"):
        read_journal(path)


def test_a_journal_is_never_written_over(tmp_path: Path) -> None:
    """A file of that name is kept."""
    write(tmp_path / "a.arrow", [records(1)])
    with pytest.raises(EngineError, match="cannot be created: File exists"):
        Journal(tmp_path / "a.arrow")
    with pytest.raises(EngineError, match="cannot be created: No such file"):
        Journal(tmp_path / "nowhere" / "a.arrow")


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files may not grow beyond 20,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("small_files")
def test_a_full_disk(tmp_path: Path) -> None:
    """Named; every later write says the same; closing does not; what is in the file can be read."""
    path = tmp_path / "a.arrow"
    journal = Journal(path)

    def fill() -> None:
        for first in range(1, 1_000, 10):
            journal.append(records(10, first=first), KEYS)

    with pytest.raises(EngineError) as caught:
        fill()
    good = journal.records - 10
    assert caught.value.message == f"{path}: the journal cannot be written: File too large"
    assert "make room" in caught.value.hint
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with pytest.raises(EngineError, match="cannot be written"):
        journal.append(records(10, first=good + 1), KEYS)  # there is room again, behind a torn batch
    journal.close()
    assert good > 0
    assert read_journal(path)["number"].to_pylist() == list(range(1, good + 1))


def test_every_write_is_one_batch_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One system call for what was decided in a turn."""
    writes: list[int] = []
    real = os.write

    def counted(file: int, content: Any) -> int:
        writes.append(real(file, content))
        return writes[-1]

    monkeypatch.setattr("engine.log.journal.os.write", counted)
    journal = Journal(tmp_path / "a.arrow")
    header = len(writes)
    journal.append(records(5), KEYS)
    journal.append(records(500, first=6), KEYS)
    assert len(writes) == header + 2
    journal.close()
