"""Saves what is good of a damaged or unfinished log into a new, sealed file.

The good part is a prefix: every whole batch from the first row up to the damage. Batches behind the
damage may be intact, but a log has no holes, so they are counted and left. The original is never touched.

When the header itself is damaged, the batches can still be read, since their columns are the format's own;
the new file then says in its note that the header was lost.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.log.compressed import put_in_place
from engine.log.decode import first_seq_of
from engine.log.reader import LogReader
from engine.log.schema import LogHeader
from engine.log.seal import write_sealed
from engine.model.errors import DamagedLog, UsageError

HEADER_SEARCH_BYTES = 64 << 10  # a header is far smaller


class RecoverReport(msgspec.Struct, frozen=True):
    """What was saved and what was not. `offset` is None when nothing is lost."""

    path: str
    out: str
    rows: int
    rows_stated: int  # by the header of a sealed file; 0: unknown
    bytes: int
    offset: int | None
    lost_bytes: int
    reason: str
    later_batches: int  # whole batches behind the damage
    later_first_seq: int | None
    header_lost: bool


def recover(path: Path, out: Path | None = None) -> RecoverReport:
    """Write the good part of `path` to `out` (default: NAME.recovered.arrow beside it), sealed.

    Raises InputError when the file is no log, UsageError when `out` exists, EngineError when the disk is
    full.
    """
    out = out or path.with_name(f"{path.name.removesuffix('.arrow')}.recovered.arrow")
    if out.exists():
        raise UsageError(f"{out}: exists already", hint="name another file with --out")
    reader = _open(path)
    header = msgspec.structs.replace(reader.header, sealed_rows=0, sealed_chain="")
    temporary = out.with_name(out.name + ".tmp")
    sealed = write_sealed(reader, temporary, header)
    put_in_place(temporary, out)
    damage = reader.tail_damage
    lost = 0 if damage is None else reader.size - damage.offset
    later = (0, None) if damage is None else _later(reader, damage.offset + 1)
    return RecoverReport(
        path=str(path),
        out=str(out),
        rows=sealed.sealed_rows,
        rows_stated=reader.header.sealed_rows,
        bytes=reader.size,
        offset=None if damage is None else damage.offset,
        lost_bytes=lost,
        reason="" if damage is None else damage.reason,
        later_batches=later[0],
        later_first_seq=later[1],
        header_lost=reader.rescue,
    )


def _open(path: Path) -> LogReader:
    try:
        return LogReader(path)
    except DamagedLog as error:
        header = LogHeader(note=f"its header was lost: {error.message}")
        # A reader of anything but the header: a first batch has to be there for it to make sense.
        first = LogReader(path, start=(header, 0)).next_whole_batch(0, HEADER_SEARCH_BYTES)
        if first is None or first_seq_of(first) != 0:
            raise
        return LogReader(path, start=(header, first.offset))


def _later(reader: LogReader, offset: int) -> tuple[int, int | None]:
    """How many whole batches stand behind `offset`, and the seq of the first."""
    message = reader.next_whole_batch(offset)
    first = None if message is None else first_seq_of(message)
    count = 0
    while message is not None:
        count += 1
        message = reader.next_whole_batch(message.end)
    return count, first
