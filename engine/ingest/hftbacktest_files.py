"""Event arrays of hftbacktest, `.npy` or `.npz`, read some hundred thousand events at a time.

An array has one record an event: what it is and whom it concerns (`ev`), two times, price, quantity, order.
A packed `.npz` is unpacked on the way, so memory does not grow with the file. The format is that of
hftbacktest 2: https://hftbacktest.readthedocs.io/en/latest/data.html
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from engine.model.errors import InputError

EVENT = np.dtype(
    [
        ("ev", "<u8"),
        ("exch_ts", "<i8"),
        ("local_ts", "<i8"),
        ("px", "<f8"),
        ("qty", "<f8"),
        ("order_id", "<u8"),
        ("ival", "<i8"),
        ("fval", "<f8"),
    ]
)
Events = npt.NDArray[np.void]  # of EVENT
# The low byte of `ev` says what happened ...
DEPTH, TRADE, CLEAR, SNAPSHOT, BEST = 1, 2, 3, 4, 5
ADD_ORDER, CANCEL_ORDER, MODIFY_ORDER, FILL = 10, 11, 12, 13
CODES = (DEPTH, TRADE, CLEAR, SNAPSHOT, BEST, ADD_ORDER, CANCEL_ORDER, MODIFY_ORDER, FILL)
# ... and its top bits where it is to be processed, and for which side.
EXCHANGE, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
_MAGIC = b"\x93NUMPY"
_CHUNK = 131_072
_ITS_FORM = "an array of hftbacktest 2 has the fields " + ", ".join(EVENT.names or ())


@dataclass(frozen=True)
class EventFile:
    """One array. `member` is its name inside an .npz, "" for a plain .npy."""

    path: Path
    name: str
    member: str
    count: int

    def chunks(self) -> Iterator[tuple[int, Events]]:
        """The events from the first on: number of the chunk's first (from 1), and the chunk."""
        try:
            with _stream(self.path, self.member) as stream:
                _header(stream)
                done = 0
                while done < self.count:
                    wanted = min(_CHUNK, self.count - done)
                    content = stream.read(wanted * EVENT.itemsize)
                    if len(content) < wanted * EVENT.itemsize:
                        there = done + len(content) // EVENT.itemsize
                        raise InputError(f"{self.name}: ends after {there:,} of {self.count:,} events")
                    yield done + 1, np.frombuffer(content, dtype=EVENT)
                    done += wanted
        except (OSError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.name}: cannot be read: {error}") from None


def is_array_file(path: Path) -> bool:
    """Whether a file is a NumPy array, or a zip of such."""
    try:
        with path.open("rb") as file:
            start = file.read(6)
        if start == _MAGIC:
            return True
        if start[:2] != b"PK":
            return False
        with zipfile.ZipFile(path) as archive:
            return any(member.endswith(".npy") for member in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return path.suffix == ".npz"


def open_events(path: Path, name: str) -> EventFile:
    """Look at an array's head. InputError when it is no array of events."""
    try:
        member = _member(path, name)
        with _stream(path, member) as stream:
            shape, dtype = _header(stream)
    except (OSError, EOFError) as error:
        raise InputError(f"{name}: cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    except (ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{name}: cannot be read as a NumPy array: {error}") from None
    if dtype.names != EVENT.names or any(dtype[n] != EVENT[n] for n in EVENT.names or ()):
        what = f"has the fields {', '.join(dtype.names)}" if dtype.names else f"holds {dtype} {shape}"
        raise InputError(
            f"{name}: is no array of events: it {what}",
            hint=f"{_ITS_FORM}; hftbacktest.data.utils.migration2 converts older ones",
        )
    if dtype.itemsize != EVENT.itemsize or len(shape) != 1:
        raise InputError(f"{name}: is no plain array of events: its shape is {shape}", hint=_ITS_FORM)
    return EventFile(path, name, member, shape[0])


def _member(path: Path, name: str) -> str:
    with path.open("rb") as file:
        if file.read(6) == _MAGIC:
            return ""
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.namelist() if member.endswith(".npy")]
    if "data.npy" in members:
        return "data.npy"
    if len(members) != 1:
        raise InputError(
            f"{name}: holds {len(members)} arrays, none of them called data",
            hint="save it with numpy.savez_compressed(FILE, data=events)",
        )
    return members[0]


@contextmanager
def _stream(path: Path, member: str) -> Iterator[IO[bytes]]:
    if not member:
        with path.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive, archive.open(member) as unpacked:
        yield unpacked


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.void]]:
    """Shape and type of the array whose values follow; ValueError when it is none."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    return shape, dtype
