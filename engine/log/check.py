"""Verifies a log completely: every byte, every hash, and the rules that rows keep.

Damage (bytes that are not what was written) ends the check: nothing behind it can be believed. Broken
rules (bytes as written, but rows that no writer should have written) are collected, up to a limit, since
they show a bug and one wants to see its pattern.

The rules: time never goes back inside a message and grows from message to message; sides are -1, 0, 1;
`wire` stands on a message's first row only; instruments and sources are defined before they are used; END
is the last row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from engine.log import framing
from engine.log.decode import Decoder, chain_head_of
from engine.log.framing import Damage
from engine.log.reader import LogReader
from engine.log.schema import COLUMNS, CRC_KEY, Batch, Chain, batch_of_record, column_crc
from engine.model.kinds import DATA_OF_KIND, Flag, Kind
from engine.model.rows import kind_name

MAX_BROKEN_RULES = 20


class BrokenRule(msgspec.Struct, frozen=True):
    """A row that no writer should have written."""

    seq: int
    rule: str


class CheckReport(msgspec.Struct):
    """What a check found. `damage` is "" for a file whose every byte is what was written."""

    path: str
    sealed: bool
    bytes: int
    batches: int = 0
    messages: int = 0
    rows: int = 0
    rows_of_kind: dict[str, int] = {}
    chain: str = ""
    ended: bool = False  # its last row is END
    damage: str = ""
    damage_offset: int | None = None
    broken_rules: list[BrokenRule] = []
    more_broken_rules: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing at all was found."""
        return not self.damage and not self.broken_rules


def check(path: Path) -> CheckReport:
    """Verify the whole file.

    Raises InputError when it is no log, DamagedLog when its header cannot be trusted; all else stands in
    the report.
    """
    reader = LogReader(path)
    report = CheckReport(path=str(path), sealed=reader.sealed, bytes=reader.size)
    rules = _Rules(report)
    chain = Chain(reader.header.previous_chain)
    try:
        for batch in _batches(reader, chain):
            report.batches += 1
            rules.take(batch)
    except Damage as damage:
        report.damage, report.damage_offset = damage.reason, damage.offset
    report.chain = chain.head()
    report.rows_of_kind = {kind_name(code): int(n) for code, n in enumerate(rules.of_kind) if n}
    return report


def _batches(reader: LogReader, chain: Chain) -> Iterator[Batch]:
    """Every batch as it stands in the file, each of its bytes and hashes verified; raises Damage."""
    decoder = Decoder(reader.source)
    for message in reader.messages():
        framing.verify_body(reader.source, message)
        record = decoder.decode(message, reader.next_seq)
        batch = batch_of_record(record, reader.next_seq)
        if not np.array_equal(record.column(0), np.arange(batch.first_seq, batch.first_seq + batch.count)):
            raise Damage(message.offset, "the seq column does not count on from the batch's first seq")
        codes = message.value(CRC_KEY) or b""
        for i, name in enumerate(COLUMNS[1:]):
            if b"%08x" % column_crc(batch, name) != codes[8 * i : 8 * i + 8]:
                raise Damage(message.offset, f"the checksum of column {name} does not fit")
        chain.update(batch)
        if chain.head() != chain_head_of(message):
            raise Damage(message.offset, "the chain after this batch is not the one that it states")
        reader.next_seq += batch.count
        yield batch


class _Rules:
    """The rules of rows, applied batch by batch; what they find goes into the report."""

    def __init__(self, report: CheckReport) -> None:
        self.report = report
        self.of_kind = np.zeros(256, dtype=np.int64)
        self._last_ts = -(2**63)
        self._defined: dict[str, set[int]] = {"instrument": set(), "source": set()}

    def take(self, batch: Batch) -> None:
        """Check one batch of whole messages."""
        report = self.report
        report.rows += batch.count
        self.of_kind += np.bincount(batch.kind, minlength=256)
        ends = (batch.flags & np.uint16(Flag.LAST)) != 0
        starts = np.concatenate(([True], ends[:-1]))
        report.messages += int(ends.sum())
        self._time(batch, starts)
        self._broken(batch, np.abs(batch.side) > 1, "side is neither -1, 0 nor 1")
        has_wire = batch.texts()[1][0] >= 0
        self._broken(batch, has_wire & ~starts, "wire stands on a row that is not its message's first")
        self._definitions(batch)
        is_end = batch.kind == Kind.END
        if report.ended:
            self._broken(batch, starts & (np.arange(batch.count) == 0), "rows follow the END row")
        self._broken(batch, is_end & (np.arange(batch.count) < batch.count - 1), "END is not the last row")
        report.ended = bool(is_end[-1])

    def _time(self, batch: Batch, starts: npt.NDArray[np.bool_]) -> None:
        before = np.concatenate(([self._last_ts], batch.ts[:-1]))
        self._broken(batch, starts & (batch.ts <= before), "ts does not grow from message to message")
        self._broken(batch, ~starts & (batch.ts < before), "ts goes back inside a message")
        self._last_ts = int(batch.ts[-1])

    def _definitions(self, batch: Batch) -> None:
        for column, kind in (("instrument", Kind.INSTRUMENT), ("source", Kind.SOURCE)):
            numbers: npt.NDArray[Any] = getattr(batch, column)
            defined = self._defined[column]
            for row in np.flatnonzero(batch.kind == kind).tolist():
                self._definition(batch, row, kind)
            used, first_use = np.unique(numbers, return_index=True)
            for number, row in zip(used.tolist(), first_use.tolist(), strict=True):
                if number and number not in defined:
                    defined.add(number)  # said once
                    if batch.kind[row] != kind:
                        self._add(batch.first_seq + row, f"{column} {number} is used before it is defined")

    def _definition(self, batch: Batch, row: int, kind: Kind) -> None:
        try:
            msgspec.json.decode(batch.data_at(row) or b"", type=DATA_OF_KIND[kind])
        except msgspec.DecodeError as error:
            self._add(batch.first_seq + row, f"its data is no definition: {error}")

    def _broken(self, batch: Batch, rows: npt.NDArray[np.bool_], rule: str) -> None:
        for row in np.flatnonzero(rows).tolist():
            self._add(batch.first_seq + row, rule)

    def _add(self, seq: int, rule: str) -> None:
        if len(self.report.broken_rules) < MAX_BROKEN_RULES:
            self.report.broken_rules.append(BrokenRule(seq, rule))
        else:
            self.report.more_broken_rules += 1
