"""What an earlier recorder left in a folder: the segment that a new recording continues.

A file is continued when its name is a segment's, it comes from the same venue, nobody is writing to it, and
it was recorded (the shipped sample, being synthetic, says so in its header's note). A file that cannot be
read is not continued, and not touched either: `engine log check` says what is wrong with it.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from engine.log.reader import LogReader
from engine.log.seal import exclusive
from engine.log.segments import End, segment_order
from engine.model.errors import EngineError
from engine.model.units import parse_time

_NAME = re.compile(r"\d{4}-\d\d-\d\d[T.\d]*\.arrow")


class Segment(msgspec.Struct, frozen=True):
    """A finished or broken-off segment."""

    end: End
    last_ts: int  # of its last good row
    sealed: bool
    whole: bool  # no torn bytes behind the last good row


def last_segment(folder: Path, venue: str) -> Segment | None:
    """The latest segment that a recording of this venue continues, or None."""
    named = [path for path in folder.glob("*.arrow") if _NAME.fullmatch(path.name)]
    for path in sorted(named, key=segment_order, reverse=True):
        segment = _read(path, venue)
        if segment is not None:
            return segment
    return None


def _read(path: Path, venue: str) -> Segment | None:
    try:
        with exclusive(path), LogReader(path, columns=("ts",)) as reader:  # refused while it is being written
            if reader.header.note or reader.header.venues != (venue,):
                return None
            last_ts = parse_time(reader.header.created)  # killed before its first rows
            for batch in reader.batches():
                last_ts = int(batch.ts[-1])
            end = End(path, reader.header, reader.next_seq, reader.chain_head)
            return Segment(end, last_ts, reader.sealed, not reader.tail)
    except EngineError:
        return None
