"""Records one a line, appended as they come: what is in the file when a process is killed is whole.

A line is the CRC-32 of its JSON in eight hexadecimal digits, a space, the JSON. A line without its end is
what a kill leaves and is nothing; any other that does not fit its checksum is damage and an error.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar
from zlib import crc32

import msgspec

from engine.model.errors import InputError

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


def append_line(handle: int, record: object, *, sync: bool) -> None:
    """Write one record behind the others; with `sync` it is on the disk on return. Raises OSError."""
    text = _encode(record)
    rest = memoryview(b"%08x %b\n" % (crc32(text), text))
    while rest:
        rest = rest[os.write(handle, rest) :]
    if sync:
        os.fsync(handle)


def read_lines(path: Path, kind: type[T], advice: str) -> list[T]:
    """The records of a file; none when it does not exist. Raises InputError with `advice` for damage."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}", hint=advice) from None
    decode = msgspec.json.Decoder(kind).decode
    records = []
    for number, line in enumerate(lines[:-1], 1):  # behind the last end: nothing, or what was cut off
        try:
            if int(line[:8], 16) != crc32(line[9:]):
                raise InputError(f"{path}: line {number}: damaged: its checksum does not hold", hint=advice)
            records.append(decode(line[9:]))
        except (ValueError, msgspec.DecodeError) as error:
            raise InputError(f"{path}: line {number}: damaged: {error}", hint=advice) from None
    return records
