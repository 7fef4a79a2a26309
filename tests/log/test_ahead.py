"""Decoding ahead in threads: the same batches, the same damage in the same place, only earlier."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from engine.log.reader import LogReader
from engine.log.schema import COLUMNS
from engine.model.errors import InputError
from engine.model.units import NULL_TIME
from tests.helpers.logs import book, make_log, market
from tests.helpers.sealed import (
    KERNEL_COLUMNS,
    columns_verified_one_by_one,
    read,
    sealed_in_batches,
    values_of,
)

PROJECTIONS = [COLUMNS[1:], KERNEL_COLUMNS, ("ts", "price"), ("data",), ("wire", "ts_venue")]


@pytest.mark.parametrize("seed", [501, 502], ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("columns", PROJECTIONS, ids=lambda c: "+".join(c[:2]) + f"-{len(c)}")
@pytest.mark.parametrize("join_rows", [0, 250])
def test_threads_hand_out_what_a_plain_reader_does(
    tmp_path: Path, seed: int, columns: tuple[str, ...], join_rows: int
) -> None:
    """Rows, limits of batches, and what the reader says afterwards, for several numbers of batches ahead."""
    path = sealed_in_batches(tmp_path / "a.arrow", market(400, seed))
    plain = read(LogReader(path, columns), prefetch=0, join_rows=join_rows)
    assert len(plain.batches) > 2
    assert len(plain.rows) == LogReader(path).header.sealed_rows
    for prefetch in (1, 2, 5):
        assert read(LogReader(path, columns), prefetch=prefetch, join_rows=join_rows) == plain
    with columns_verified_one_by_one():
        assert read(LogReader(path, columns), prefetch=2, join_rows=join_rows) == plain


def test_an_unsealed_file_is_read_ahead_as_well(tmp_path: Path) -> None:
    """Up to its last good batch, with the same words about what follows."""
    path = make_log(tmp_path / "a.arrow", market(100, seed=503), per_batch=7)
    path.write_bytes(path.read_bytes()[:-9])
    plain = read(LogReader(path, ("ts", "price")), prefetch=0)
    assert "are not used" in plain.after[1]
    assert read(LogReader(path, ("ts", "price")), prefetch=2) == plain


@pytest.mark.parametrize("seed", [504, 505], ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("columns", [COLUMNS[1:], ("ts", "flags", "price")], ids=["all", "three"])
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_damage_is_found_where_a_plain_reader_finds_it(
    tmp_path: Path,
    seed: int,
    columns: tuple[str, ...],
    large: bool,  # noqa: FBT001
) -> None:
    """One flipped bit anywhere behind the header: the same good rows, the same offset, footer included."""
    path = sealed_in_batches(tmp_path / "a.arrow", market(60, seed), rows=40)
    whole = bytearray(path.read_bytes())
    start = LogReader(path)._start
    good = read(LogReader(path, columns), prefetch=0)
    chance = random.Random(seed)
    flipped = tmp_path / "flipped.arrow"
    harmless = 0
    with pytest.MonkeyPatch.context() as patch:
        if large:
            patch.setattr("engine.log.decode.SMALL_BODY_BYTES", 0)
            patch.setattr("engine.log.ahead.SMALL_BODY_BYTES", 0)
        for _ in range(250):
            at, bit = chance.randrange(start, len(whole)), chance.randrange(8)
            whole[at] ^= 1 << bit
            flipped.write_bytes(whole)
            whole[at] ^= 1 << bit
            plain = read(LogReader(flipped, columns), prefetch=0)
            ahead = read(LogReader(flipped, columns), prefetch=2)
            assert ahead.rows == plain.rows, at
            assert ahead.damage[0] == plain.damage[0], at
            assert ahead.after[0] == plain.after[0], at
            assert ahead.after[3] == plain.after[3], at
            assert good.rows[: len(ahead.rows)] == ahead.rows, at
            harmless += plain.damage[0] is None
    # In a large batch what was not read may be damaged; padding between columns may be in any case.
    assert (harmless > 0) == large


@pytest.mark.parametrize("cut", [1, 9, 200, 4000])
def test_a_cut_sealed_file_ends_with_damage_after_its_good_rows(tmp_path: Path, cut: int) -> None:
    """Without its footer there is no list of batches; what is whole is read all the same."""
    path = sealed_in_batches(tmp_path / "a.arrow", market(200, seed=506))
    path.write_bytes(path.read_bytes()[:-cut])
    plain = read(LogReader(path), prefetch=0)
    assert plain.damage[0] is not None
    assert plain.rows
    assert read(LogReader(path), prefetch=2) == plain


def test_a_reader_that_is_left_ends_its_threads(tmp_path: Path) -> None:
    """Nobody decodes for a caller that has gone."""
    path = sealed_in_batches(tmp_path / "a.arrow", market(300, seed=507), rows=50)
    batches = LogReader(path).batches(prefetch=3, join_rows=0)
    next(batches)
    assert any("log-read-ahead" in thread.name for thread in threading.enumerate())
    batches.close()  # type: ignore[attr-defined]  # it is a generator
    assert not any("log-read-ahead" in thread.name for thread in threading.enumerate())


@pytest.mark.parametrize("prefetch", [0, 2])
def test_blank_columns_are_there_without_being_read(tmp_path: Path, prefetch: int) -> None:
    """Zeros and no time, whatever stands in the file, damage included; the other columns are as ever."""
    levels = [(1, 100 + i, 5) for i in range(30)]
    path = sealed_in_batches(tmp_path / "a.arrow", [book(i, *levels, id=7) for i in range(1, 9)])
    full = read(LogReader(path, ("ts", "price")), prefetch=0)
    log = LogReader(path, KERNEL_COLUMNS, blank=("id", "ts_venue", "source"))
    batches = list(log.batches(prefetch, 0))
    rows = [row for batch in batches for row in values_of(batch, ("ts", "price"))]
    assert rows == full.rows
    for batch in batches:
        assert (batch.id == 0).all()
        assert (batch.ts_venue == NULL_TIME).all()
        assert (batch.source == 0).all()
        assert len(batch.id) == len(batch.ts_venue) == len(batch.source) == batch.count
        assert not batch.id.flags.writeable
        assert batch.wire is None
    without_texts = next(LogReader(path, ("ts", "data"), blank=("data",)).batches(prefetch, 0))
    assert without_texts.data is None


def test_blank_columns_have_to_be_columns(tmp_path: Path) -> None:
    """A name that no log has is refused, as for columns."""
    path = make_log(tmp_path / "a.arrow", market(3, seed=508))
    with pytest.raises(InputError, match="a log has no column prise"):
        LogReader(path, ("ts",), blank=("prise",))
