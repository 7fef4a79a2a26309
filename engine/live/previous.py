"""What an earlier recorder left in a folder: the segment that a new recording continues, and its headlines.

A file is continued when its name is a segment's, it comes from the same venues, nobody is writing to it, and
it was recorded (the shipped sample, being synthetic, says so in its header's note). A file that cannot be
read is not continued, and not touched either: `engine log check` says what is wrong with it.
"""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path

import msgspec

from engine.log.reader import LogReader
from engine.log.seal import exclusive
from engine.log.segments import End, segment_order
from engine.model.errors import EngineError
from engine.model.kinds import Kind, SourceData
from engine.model.units import parse_time

_NAME = re.compile(r"\d{4}-\d\d-\d\d[T.\d]*\.arrow")


class Segment(msgspec.Struct, frozen=True):
    """A finished or broken-off segment."""

    end: End
    last_ts: int  # of its last good row
    sealed: bool
    whole: bool  # no torn bytes behind the last good row


def last_segment(folder: Path, venues: tuple[str, ...]) -> Segment | None:
    """The latest segment that a recording of these venues continues, or None."""
    named = [path for path in folder.glob("*.arrow") if _NAME.fullmatch(path.name)]
    for path in sorted(named, key=segment_order, reverse=True):
        segment = _read(path, venues)
        if segment is not None:
            return segment
    return None


def _read(path: Path, venues: tuple[str, ...]) -> Segment | None:
    try:
        with exclusive(path), LogReader(path, columns=("ts",)) as reader:  # refused while it is being written
            if reader.header.note or reader.header.venues != venues:
                return None
            last_ts = parse_time(reader.header.created)  # killed before its first rows
            for batch in reader.batches():
                last_ts = int(batch.ts[-1])
            end = End(path, reader.header, reader.next_seq, reader.chain_head)
            return Segment(end, last_ts, reader.sealed, not reader.tail)
    except EngineError:
        return None


def headlines_of(path: Path, most: int) -> dict[str, list[tuple[int, bytes]]]:
    """The latest NEWS rows of a segment, by the address of their source: publication times and data.

    As far as the file can be read; its damage is the business of others.
    """
    addresses: dict[int, str] = {}
    found: dict[str, deque[tuple[int, bytes]]] = {}
    try:
        with LogReader(path, columns=("ts_venue", "source", "kind", "data")) as reader:
            for batch in reader.batches():
                for row in ((batch.kind == Kind.NEWS) | (batch.kind == Kind.SOURCE)).nonzero()[0].tolist():
                    number, data = int(batch.source[row]), batch.data_at(row) or b"{}"
                    if int(batch.kind[row]) == Kind.SOURCE:
                        addresses[number] = msgspec.json.decode(data, type=SourceData).url
                    elif number in addresses:
                        latest = found.setdefault(addresses[number], deque(maxlen=most))
                        latest.append((int(batch.ts_venue[row]), data))
    except (EngineError, msgspec.DecodeError):
        pass
    return {address: list(latest) for address, latest in found.items()}
