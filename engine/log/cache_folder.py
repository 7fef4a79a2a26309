"""Where decoded columns are kept, how much of them, and which go first.

    CACHE/decoded/KEY/ts.column      one folder a log, one file a column that some run has read

KEY is a hash of the log's closing part, in which its chain head, its number of rows, and place and length
of each batch stand: a copy of a log has the same key wherever it lies, and a log with other rows another.
Everything here may be deleted at any time, also while it is read. When there is too much, the logs that
have not been read for longest go.

    ENGINE_CACHE_BYTES      how much there may be; 0 keeps nothing. Otherwise 20 GB, or a tenth of what is
                            free, whichever is less
"""

from __future__ import annotations

import os
import shutil
from hashlib import blake2b
from pathlib import Path

import msgspec

from engine.model import image
from engine.model.errors import UsageError

VARIABLE = "ENGINE_CACHE_BYTES"
MOST_BYTES = 20_000_000_000
SHARE_OF_FREE = 10


class Usage(msgspec.Struct, frozen=True):
    """What stands in the cache. Logs come in the order in which they would go."""

    logs: tuple[Path, ...]
    sizes: tuple[int, ...]

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return sum(self.sizes)


def decoded_folder() -> Path:
    """The folder that holds the logs' folders; need not be there."""
    return image.cache_root() / "decoded"


def key_of(tail: bytes) -> str:
    """The name of a sealed log's folder, from its bytes behind the last batch."""
    return blake2b(tail, digest_size=16).hexdigest()


def usage(folder: Path) -> Usage:
    """Everything below `folder`, the log read longest ago first."""
    found = []
    for log in folder.glob("*"):
        try:
            if log.is_dir():
                size = sum(file.stat().st_size for file in log.iterdir())
                found.append((log.stat().st_mtime_ns, log.name, log, size))
        except FileNotFoundError:  # another process clears up
            continue
    found.sort()
    return Usage(tuple(entry[2] for entry in found), tuple(entry[3] for entry in found))


def asked_bytes() -> int | None:
    """How much the user wants to be kept, None where nothing is said; UsageError for what is no number."""
    text = os.environ.get(VARIABLE, "")
    if text and not text.isdecimal():
        raise UsageError(f'{VARIABLE}="{text}" is no number of bytes', hint="write 0 to keep nothing")
    return int(text) if text else None


def limit_bytes(folder: Path, used: int) -> int:
    """How much may be kept, `used` being there already."""
    asked = asked_bytes()
    if asked is not None:
        return asked
    there = folder
    while not there.exists():
        there = there.parent
    # What is kept already counts as free, or the limit would shrink while the cache grows.
    return min(MOST_BYTES, (shutil.disk_usage(there).free + used) // SHARE_OF_FREE)


def make_room(folder: Path, need: int, keep: Path) -> bool:
    """Remove logs other than `keep` until `need` bytes more fit; where they cannot, none, and False."""
    there = usage(folder)
    limit = limit_bytes(folder, there.total_bytes)
    kept = sum(size for log, size in zip(there.logs, there.sizes, strict=True) if log == keep)
    if kept + need > limit:
        return False
    total = there.total_bytes
    for log, size in zip(there.logs, there.sizes, strict=True):
        if total + need <= limit:
            break
        if log != keep:
            shutil.rmtree(log, ignore_errors=True)
            total -= size
    return True


def touch(log: Path) -> None:
    """This log has just been read."""
    os.utime(log)
