"""One recording, several files: their names, when the next one begins, and how they are found again.

    2024-06-01.arrow        one day (UTC), the default
    2024-06-01.2.arrow      begun again on the same day: a restart, or a size that was reached
    2024-06-01T13.arrow     with rotation by the hour (or several hours)
    2024-06-01T1330.arrow   with rotation by less

A segment's header names the file before it and that file's chain head (`previous_file`,
`previous_chain`), so that a reader can tell a seamless continuation from a neighbour. Times come from the
caller; nothing here reads a clock.
"""

from __future__ import annotations

import glob
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine.log.schema import LogHeader
from engine.model.errors import InputError, UsageError
from engine.model.units import SECOND_NS, format_time

DAY_NS = 86_400 * SECOND_NS
HOUR_NS = 3_600 * SECOND_NS
MINUTE_NS = 60 * SECOND_NS
MAX_BYTES = 2**63 - 1

ROTATION = "rotation"  # the reason on the END row of a segment that another one follows

WARN_FREE = 0.10  # below this share of free space a recorder warns,
STOP_FREE = 0.02  # and below this one no new orders are taken

_PERIODS = {"s": SECOND_NS, "m": MINUTE_NS, "min": MINUTE_NS, "h": HOUR_NS, "d": DAY_NS}
_SIZES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_NAME = re.compile(r"(?P<stem>\d{4}-\d\d-\d\d(?:T\d\d(?:\d\d(?:\d\d)?)?)?)(?:\.(?P<number>\d+))?\.arrow")


class Rotation(msgspec.Struct, frozen=True):
    """When the next file begins: at each full period (UTC), and when a file has reached `max_bytes`."""

    period_ns: int = DAY_NS
    max_bytes: int = MAX_BYTES

    @classmethod
    def parse(cls, text: str) -> Rotation:
        """From "daily", "hourly", "1h", "30m", "1GB", or a period and a size: "1h,500MB"."""
        period, size = DAY_NS, MAX_BYTES
        for part in text.split(","):
            word = {"daily": "1d", "hourly": "1h"}.get(part.strip().lower(), part.strip())
            match = re.fullmatch(r"(\d+)\s*([A-Za-z]+)", word)
            count = int(match[1]) if match else 0
            unit = match[2] if match else ""
            if count and unit.upper() in _SIZES:
                size = count * _SIZES[unit.upper()]
            elif count and unit.lower() in _PERIODS:
                period = count * _PERIODS[unit.lower()]
            else:
                raise UsageError(f'"{part}" is no rotation', hint="write daily, 1h, 30m, 1GB or 1h,500MB")
        if DAY_NS % period:
            raise UsageError(
                f'"{text}" does not divide a day', hint="files begin at the same times every day"
            )
        return cls(period, size)

    def is_due(self, begun: int, now: int, size_bytes: int) -> bool:
        """Whether a file begun at `begun`, of this size, ends before a row of time `now`."""
        return now // self.period_ns > begun // self.period_ns or size_bytes >= self.max_bytes

    def stem(self, ts: int) -> str:
        """The name of the period that holds `ts`, without counter and suffix."""
        stamp = format_time(ts // self.period_ns * self.period_ns)
        if self.period_ns % DAY_NS == 0:
            return stamp[:10]
        if self.period_ns % HOUR_NS == 0:
            return stamp[:13]
        digits = 16 if self.period_ns % MINUTE_NS == 0 else 19
        return stamp[:13] + stamp[13:digits].replace(":", "")


DAILY = Rotation()


def next_path(folder: Path, ts: int, rotation: Rotation = DAILY) -> Path:
    """Where a segment that begins at `ts` goes: after every file of the same period, never over one."""
    stem = rotation.stem(ts)
    taken = [_number(path) for path in folder.glob(f"{stem}*.arrow*") if _stem(path) == stem]
    number = max(taken, default=0) + 1
    return folder / (f"{stem}.arrow" if number == 1 else f"{stem}.{number}.arrow")


def _stem(path: Path) -> str:
    match = _NAME.match(path.name)
    return match["stem"] if match else ""


def _number(path: Path) -> int:
    match = _NAME.match(path.name)
    return int(match["number"] or 1) if match else 0


def segment_order(path: Path) -> tuple[str, str, int, str]:
    """Sort key that puts the segments of a folder into the order of their making (9 before 10)."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return (str(path.parent), path.name, 0, "")
    return (str(path.parent), match["stem"], int(match["number"] or 1), path.name)


class End(NamedTuple):
    """Where a file's good rows end."""

    path: Path
    header: LogHeader
    rows: int
    chain: str


def following(header: LogHeader, end: End) -> LogHeader:
    """`header` for the segment that follows `end`."""
    return msgspec.structs.replace(
        header, segment=end.header.segment + 1, previous_file=end.path.name, previous_chain=end.chain
    )


def expand(patterns: Iterable[str]) -> list[Path]:
    """The files that arguments name: paths as they stand, and glob patterns in the order of segments.

    Raises InputError when a pattern matches nothing or a file stands there twice.
    """
    paths: list[Path] = []
    for pattern in patterns:
        path = Path(pattern)
        if path.exists() or not glob.has_magic(pattern):
            paths.append(path)
            continue
        found = sorted((Path(name) for name in glob.glob(pattern, recursive=True)), key=segment_order)  # noqa: PTH207  patterns may be absolute
        found = [path for path in found if path.suffix == ".arrow"]
        if not found:
            raise InputError(f"{pattern}: matches no log", hint="logs end in .arrow; quote the pattern")
        paths += found
    seen: set[Path] = set()
    places = [path.resolve() for path in paths]  # a link, or ./ in front, is the same file
    for path, place in zip(paths, places, strict=True):
        original = place.with_name(place.name.replace(".recovered.arrow", ".arrow"))
        if place in seen or (original != place and original in places):
            raise InputError(f"{path}: its rows are named twice", hint="name each recording once")
        seen.add(place)
    return paths


class FreeSpace(msgspec.Struct, frozen=True):
    """Free space where a log is written. `level` is "ok", "warn" (below 10 %) or "stop" (below 2 %)."""

    free_bytes: int
    share: float
    level: str


def free_space(folder: Path) -> FreeSpace:
    """How much room is left for what is written into `folder`."""
    usage = shutil.disk_usage(folder)
    share = usage.free / usage.total if usage.total else 0.0
    level = "stop" if share < STOP_FREE else "warn" if share < WARN_FREE else "ok"
    return FreeSpace(usage.free, share, level)
