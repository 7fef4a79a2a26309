"""One flipped bit anywhere: never a wrong row, always a named error with its offset."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from engine.log.check import check
from engine.log.decode import SMALL_BODY_BYTES
from engine.log.reader import LogReader
from engine.model.errors import DamagedLog
from tests.helpers.logs import make_log, market, read_rows, rows_of

FLIPS = 1500


def _columns_of(path: Path, columns: tuple[str, ...]) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    try:
        for batch in LogReader(path, columns).batches(join_rows=0):
            found += zip(*(getattr(batch, name).tolist() for name in columns), strict=True)
    except DamagedLog:
        pass
    return found


def _rows_before_damage(path: Path) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    try:
        for batch in LogReader(path).batches():
            found += rows_of([batch])
    except DamagedLog:
        pass
    return found


def _damage(path: Path) -> tuple[int | None, str]:
    """Where check sees damage, and what it says; (None, "") when it sees none."""
    try:
        report = check(path)
    except DamagedLog as error:
        return error.offset, error.message
    return report.damage_offset, report.damage


@pytest.mark.parametrize(
    ("sealed", "seed"), [(False, 21), (True, 22)], ids=["unsealed-seed21", "sealed-seed22"]
)
def test_a_flipped_bit_is_named_and_changes_no_row(tmp_path: Path, sealed: bool, seed: int) -> None:  # noqa: FBT001
    """Whatever bit flips, readers yield a prefix of the true rows, and check names the place."""
    path = make_log(tmp_path / "a.arrow", market(60, seed), per_batch=7, sealed=sealed)
    whole, rows = bytearray(path.read_bytes()), read_rows(path)
    some = ("ts", "kind", "flags", "price")
    projected = _columns_of(path, some)
    chance = random.Random(seed)
    flipped = tmp_path / "flipped.arrow"
    for _ in range(FLIPS):
        at, bit = chance.randrange(len(whole)), chance.randrange(8)
        where = f"byte {at} bit {bit}"
        whole[at] ^= 1 << bit
        flipped.write_bytes(whole)
        whole[at] ^= 1 << bit

        found, part = _rows_before_damage(flipped), _columns_of(flipped, some)
        assert found == rows[: len(found)], where
        assert part == projected[: len(part)], where

        offset, text = _damage(flipped)
        assert offset is not None, where
        assert offset <= at, where
        assert text, where


@pytest.mark.parametrize("seed", [24, 25])
def test_flips_in_large_batches_are_found_column_by_column(tmp_path: Path, seed: int) -> None:
    """In large batches a reader verifies only the columns that it reads, and check everything."""
    path = make_log(tmp_path / "a.arrow", market(12_000, seed), per_batch=10**9, sealed=True)
    whole = bytearray(path.read_bytes())
    assert next(LogReader(path).messages()).body + SMALL_BODY_BYTES < len(whole)
    some = ("ts", "kind", "price")
    true = _columns_of(path, some)
    chance = random.Random(seed)
    flipped = tmp_path / "flipped.arrow"
    untouched = 0
    for _ in range(150):
        at, bit = chance.randrange(len(whole)), chance.randrange(8)
        whole[at] ^= 1 << bit
        flipped.write_bytes(whole)
        whole[at] ^= 1 << bit
        found = _columns_of(flipped, some)
        assert found in ([], true), at
        untouched += found == true
        offset, text = _damage(flipped)
        assert offset is not None, at
        assert text, at
    assert 0 < untouched < 150  # some flips hit columns that were not read


def test_padding_between_columns_is_covered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where values are verified by column, check names a change in the bytes between them."""
    monkeypatch.setattr("engine.log.decode.SMALL_BODY_BYTES", 0)
    path = make_log(tmp_path / "a.arrow", market(12, seed=26), sealed=True)
    whole, rows = bytearray(path.read_bytes()), read_rows(path)
    message = next(LogReader(path).messages())
    flipped = tmp_path / "flipped.arrow"
    harmless = 0
    for at in range(message.body, message.end):
        whole[at] ^= 1
        flipped.write_bytes(whole)
        whole[at] ^= 1
        assert _damage(flipped)[0] == message.offset, at
        found = _rows_before_damage(flipped)
        assert found in ([], rows), at
        harmless += found == rows
    assert harmless  # there is padding, and it was tried


@pytest.mark.long
@pytest.mark.parametrize("sealed", [False, True], ids=["unsealed", "sealed"])
def test_each_single_byte_is_covered(tmp_path: Path, sealed: bool) -> None:  # noqa: FBT001
    """Every byte of a file, changed in one bit, is named by check: no byte is outside every checksum."""
    path = make_log(tmp_path / "a.arrow", market(12, seed=23), per_batch=5, sealed=sealed)
    whole = bytearray(path.read_bytes())
    flipped = tmp_path / "flipped.arrow"
    for at in range(len(whole)):
        whole[at] ^= 1 << (at % 8)
        flipped.write_bytes(whole)
        whole[at] ^= 1 << (at % 8)
        assert _damage(flipped)[0] is not None, at


@pytest.mark.parametrize("seed", range(31, 34))
def test_garbage_and_splices_are_named(tmp_path: Path, seed: int) -> None:
    """Overwritten stretches, batches swapped, repeated or left out: a prefix of the true rows at most."""
    path = make_log(tmp_path / "a.arrow", market(60, seed), per_batch=6)
    whole, rows = path.read_bytes(), read_rows(path)
    chance = random.Random(seed)
    ends = [message.end for message in LogReader(path).messages()]
    changed_file = tmp_path / "changed.arrow"
    for i in range(120):
        changed = bytearray(whole)
        a, b = sorted(chance.sample(range(len(ends) - 1), 2))
        if i % 4 == 0:
            start = chance.randrange(len(whole) - 64)
            changed[start : start + 64] = chance.randbytes(64)
        elif i % 4 == 1:  # left out
            del changed[ends[a] : ends[b]]
        elif i % 4 == 2:  # repeated
            changed[ends[b] : ends[b]] = whole[ends[a] : ends[b]]
        else:  # swapped: the second before the first
            first, second = whole[ends[a] : ends[a + 1]], whole[ends[b] : ends[b + 1]]
            changed[ends[b] : ends[b + 1]] = first
            changed[ends[a] : ends[a + 1]] = second
        if changed == whole:
            continue
        changed_file.write_bytes(changed)
        found = _rows_before_damage(changed_file)
        assert found == rows[: len(found)], i
        assert _damage(changed_file)[0] is not None, i
