"""Opens a file and says what it is: a log, a damaged log, a newer one, or something else entirely.

Everything a user can point the engine at by mistake gets its own sentence here.
"""

from __future__ import annotations

import mmap
from pathlib import Path

import pyarrow as pa

from engine.log import framing
from engine.log.framing import MAGIC, Damage
from engine.log.schema import HEADER_KEY, LogHeader, header_of
from engine.model.errors import DamagedLog, InputError

_IMPORT_HINT = "bring other data in with: engine log import"


def map_file(path: Path) -> mmap.mmap:
    """The whole file, mapped for reading; InputError when that is not possible."""
    try:
        if path.is_dir():
            raise InputError(
                f"{path}: is a folder", hint=f"name a log file, or all of them: '{path}/*.arrow'"
            )
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except ValueError:  # mmap refuses an empty file
        raise InputError(
            f"{path}: the file is empty", hint="a log begins with a header; this is none"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def open_header(source: memoryview, name: str) -> tuple[LogHeader, int]:
    """The header at the beginning of a file, and where its first batch begins.

    Raises InputError for what is no log of this engine (or a newer one), DamagedLog for a damaged one.
    """
    magic = bytes(source[: len(MAGIC)])
    try:
        message = framing.read_message(source, len(MAGIC))
    except Damage as damage:
        raise _no_header(source, name, magic, damage) from None
    if message is None or message.kind != framing.SCHEMA_MESSAGE:
        raise InputError(f"{name}: not a log (no schema at its beginning)")
    if magic != MAGIC:
        raise DamagedLog(f"{name}: damaged at byte 0: it does not begin with {MAGIC[:6]!r}", offset=0)
    schema = pa.ipc.read_schema(pa.py_buffer(source[len(MAGIC) : message.end]))
    return header_of(schema, name), message.end


def _no_header(source: memoryview, name: str, magic: bytes, damage: Damage) -> InputError:
    start = bytes(source[: 64 << 10])
    ours = HEADER_KEY in start or b"message-crc32:" in start
    if ours:
        return DamagedLog(
            f"{name}: damaged at byte {damage.offset}: {damage.reason}; the header cannot be trusted",
            hint="nothing can be read without it; take the copy of the file that you have",
            offset=damage.offset,
        )
    if magic == MAGIC:
        try:
            schema = pa.ipc.read_schema(pa.py_buffer(source[len(MAGIC) :]))
        except (pa.ArrowException, OSError):
            if len(source) < 1024:
                return InputError(
                    f"{name}: cut off before the end of its header ({len(source)} bytes)",
                    hint="there is no row in it",
                )
            return InputError(f"{name}: begins like an Arrow file, but holds no schema")
        return InputError(
            f"{name}: an Arrow file, but not a log of this engine (columns {', '.join(schema.names[:6])}…)",
            hint=_IMPORT_HINT,
        )
    if start[:4] == framing.CONTINUATION:
        return InputError(
            f"{name}: an Arrow stream, not a log file of this engine",
            hint=_IMPORT_HINT,
        )
    kind = {b"PAR1": "a Parquet file", b"\x1f\x8b\x08\x00": "a gzip file"}.get(start[:4], "not an Arrow file")
    return InputError(f"{name}: {kind}, not a log", hint=_IMPORT_HINT)
