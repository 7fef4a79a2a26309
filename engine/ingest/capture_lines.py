"""Lines of capture files: a receive time and a frame each, as recorders write them.

    1723161254087896568 {"stream":"btcusdt@trade","data":{…}}        time and frame
    1633998512.0633569: {"stream":…}                                 with a colon
    https://…/api/v3/depth?symbol=X&limit=1000 -> 1633998512.32: {…} a REST answer, with its address
    wss://… <-> 1633998511.159679                                    a connection was opened: only its address

Plain or gzip. A time is a decimal number of seconds, milliseconds, microseconds or nanoseconds since 1970,
told by magnitude unless the caller knows; a fraction is taken exactly. A line that begins with no time takes
that of the line before, so that nothing is dropped.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast
from urllib.parse import parse_qs, urlsplit

from engine.model.errors import InputError, UsageError

TIME_UNITS = {"s": 9, "ms": 6, "us": 3, "ns": 0}  # decimals between the unit and a nanosecond
_GZIP = b"\x1f\x8b"
_TIMED = re.compile(rb"(\d{1,19})(?:\.(\d+))?:? (.*)", re.DOTALL)
_ADDRESSED = re.compile(rb"([a-z]+://\S+) (?:<->|->) (\d{1,19})(?:\.(\d+))?(?:: (.*))?\s*\Z", re.DOTALL)
_BARE_SNAPSHOT = b'{"lastUpdateId"'


class Line(NamedTuple):
    """One frame as it was received. `endpoint` is "" for a frame of a stream."""

    ts: int
    frame: bytes
    endpoint: str = ""  # of a REST answer: "depth"
    symbol: str = ""  # of a REST answer, when its address names it
    url: str = ""
    number: int = 0  # of the line in its file, from 1
    timed: bool = True


def read_lines(path: Path, time_unit: str = "auto") -> Iterator[Line]:
    """Every line of a capture that holds a frame or an address, in the file's order.

    A line of a connection's address has an empty frame. Raises InputError naming file and line when the
    file cannot be read, or does not begin like a capture.
    """
    if time_unit != "auto" and time_unit not in TIME_UNITS:
        raise UsageError(
            f'"{time_unit}" is no time unit', hint=f"one of auto, {', '.join(TIME_UNITS)} is possible"
        )
    number, ts = 0, -1
    try:
        with _open(path) as file:
            for number, raw in enumerate(file, start=1):
                text = raw.rstrip(b"\r\n")
                if not text.strip():
                    continue
                line = _line(text, number, time_unit, path)
                if line is None:
                    if ts < 0:
                        raise InputError(
                            f"{path}: line {number} does not begin with a receive time: {_shown(text)}",
                            hint="a capture has lines of <receive time> <frame>",
                        )
                    line = Line(ts, text, number=number, timed=False)
                ts = line.ts
                yield line
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: cannot be read after line {number}: {error}",
            hint="the file may have been cut off while it was written or copied",
        ) from None


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        start = file.read(2)
    return cast("BinaryIO", gzip.open(path)) if start == _GZIP else path.open("rb")


def _line(text: bytes, number: int, time_unit: str, path: Path) -> Line | None:
    head, _, frame = text.partition(b" ")
    if head.isdigit() and len(head) < 20:  # most lines of most captures
        ts = _nanoseconds(int(head), b"", time_unit, path, number)
        return _timed(ts, frame, number)
    if match := _TIMED.match(text):
        whole, fraction, frame = match.groups(default=b"")
        return _timed(_nanoseconds(int(whole), fraction, time_unit, path, number), frame, number)
    if match := _ADDRESSED.match(text):
        address, whole, fraction, body = match.groups(default=b"")
        ts = _nanoseconds(int(whole), fraction, time_unit, path, number)
        url = address.decode("utf-8", "replace")
        if not body:
            return Line(ts, b"", url=url, number=number)
        parts = urlsplit(url)
        endpoint = parts.path.rstrip("/").rpartition("/")[2]
        symbol = parse_qs(parts.query).get("symbol", [""])[0].upper()
        return Line(ts, body, endpoint, symbol, url, number)
    return None


def _timed(ts: int, frame: bytes, number: int) -> Line:
    if frame.startswith(_BARE_SNAPSHOT):
        return Line(ts, frame, "depth", number=number)
    return Line(ts, frame, number=number)


def _nanoseconds(whole: int, fraction: bytes, time_unit: str, path: Path, number: int) -> int:
    if time_unit == "auto":
        # Now is 1.8e9 s: each unit owns the three decades around a thousand times the one before.
        places = 9 if whole < 10**11 else 6 if whole < 10**14 else 3 if whole < 10**17 else 0
    else:
        places = TIME_UNITS[time_unit]
    if fraction[places:].strip(b"0"):
        raise InputError(
            f"{path}: line {number}: the time {whole}.{fraction.decode()} is finer than a nanosecond",
            hint="say which unit it is in with --time-unit",
        )
    ts: int = whole * 10**places + int(fraction[:places].ljust(places, b"0") or b"0")
    if ts >= 2**63:
        raise InputError(
            f"{path}: line {number}: the time {whole} is beyond the year 2262",
            hint="say which unit it is in with --time-unit",
        )
    return ts


def _shown(text: bytes) -> str:
    shown = text[:60].decode("utf-8", "replace")
    return f'"{shown}"' if len(text) <= 60 else f'"{shown}…"'
