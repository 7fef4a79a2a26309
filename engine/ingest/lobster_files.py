"""Pairs of LOBSTER files: found by their names, read side by side, checked value by value.

`TICKER_2012-06-21_34200000_57600000_message_5.csv` has a message a line: seconds after midnight at the
exchange, type, order id, shares, price, direction. `…_orderbook_5.csv` has, in the same line, the five best
levels of each side after it: ask price, ask size, bid price, bid size, then the second ones … Prices are
1/10,000 dollars. Where a side has fewer levels, the others have size 0.

Types: 1 a new order, 2 part of one cancelled, 3 one deleted, 4 one executed, 5 a hidden one executed, 6 a
cross (an auction), 7 a halt (price -1), quoting again (0), trading again (1). The direction is the resting
order's. Source: https://lobsterdata.com/info/DataStructure.php
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from engine.ingest.tabular_columns import Dump
from engine.ingest.tabular_files import Chunk, TableFile, opened
from engine.ingest.tabular_values import Integers, mantissas
from engine.model.errors import InputError
from engine.model.units import SECOND_NS

PRICE_DECIMALS = 4
ADDED, REDUCED, DELETED, EXECUTED, HIDDEN, CROSS, HALT = range(1, 8)
_ZONE = ZoneInfo("America/New_York")
_NAME = re.compile(
    r"^(?P<symbol>.+)_(?P<day>\d{4}-\d{2}-\d{2})_(?P<begin>\d+)_(?P<end>\d+)"
    r"_(?P<what>message|orderbook)_(?P<levels>\d+)\.csv(?P<packed>\.gz|\.zst|\.bz2)?$"
)
# Files since 2020 may end with who gave the order, which nothing here needs.
_ATTRIBUTION = "attribution"
_MESSAGE = ("time", "type", "order_id", "size", "price", "direction")
_STATES = 4_000_000  # of a piece: states × levels², what comparing two windows needs


@dataclass(frozen=True)
class Pair:
    """A message file and its orderbook file; names are how messages call them."""

    symbol: str
    day: str
    levels: int
    messages: TableFile
    book: TableFile


@dataclass(frozen=True)
class Events:
    """Consecutive lines of a pair. Prices in 1/10,000; a side is (prices, sizes), each (lines, levels)."""

    row: Integers  # numbers of the lines, from 1
    ts: Integers  # ns since 1970 UTC
    type: Integers
    id: Integers
    size: Integers
    price: Integers
    direction: Integers
    bids: tuple[Integers, Integers]
    asks: tuple[Integers, Integers]


def is_lobster(path: Path) -> bool:
    """Whether a file is named like one of theirs."""
    return _NAME.match(path.name) is not None


def pairs_of(paths: list[tuple[Path, str]]) -> list[Pair]:
    """The pairs that these files (path, and how messages call it) belong to, in the order first named.

    A file's other half may be given as well, or stands beside it; InputError when it does not.
    """
    given = dict(paths)
    done: set[tuple[Path, str]] = set()
    pairs = []
    for path, name in paths:
        found = _NAME.match(path.name)
        if found is None:
            raise InputError(
                f"{name}: is not named like a file of LOBSTER",
                hint="the name says symbol, day and levels: AAPL_2012-06-21_34200000_57600000_message_5.csv",
            )
        half = {found["what"]: path}
        other = "orderbook" if found["what"] == "message" else "message"
        begin, end = found.span("what")
        half[other] = path.with_name(path.name[:begin] + other + path.name[end:])
        key = (half["message"].parent, half["message"].name)
        if key in done:
            continue
        done.add(key)
        if half[other] not in given and not half[other].is_file():
            raise InputError(
                f"{name}: there is no {half[other].name} beside it",
                hint="messages and orderbook are read together: put both into one folder",
            )
        names = {what: given.get(p, str(Path(name).with_name(p.name))) for what, p in half.items()}
        levels = int(found["levels"])
        if not levels:
            raise InputError(f"{name}: its name says that it has 0 levels")
        pairs.append(
            Pair(
                found["symbol"],
                found["day"],
                levels,
                _table(half["message"], names["message"], _MESSAGE),
                _table(half["orderbook"], names["orderbook"], book_columns(levels)),
            )
        )
    return pairs


def book_columns(levels: int) -> tuple[str, ...]:
    """What the orderbook file's columns are called in messages."""
    return tuple(
        f"{side}_{what}_{level}"
        for level in range(1, levels + 1)
        for side in ("ask", "bid")
        for what in ("price", "size")
    )


def _table(path: Path, name: str, columns: tuple[str, ...]) -> TableFile:
    try:
        with opened(path) as source:
            first = source.read(4096).split(b"\n", 1)[0]
    except (OSError, EOFError) as error:
        raise InputError(f"{name}: cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    if not first.strip():
        raise InputError(f"{name}: is empty")
    if columns is _MESSAGE and first.count(b",") == len(_MESSAGE):
        columns = (*columns, _ATTRIBUTION)
    dump = Dump("LOBSTER", "", columns)
    return TableFile(path, name, parquet=False, columns=columns, dump=dump)


def midnight_of(day: str, name: str) -> int:
    """What to add to the seconds after midnight of a day of the exchange: ns since 1970 UTC."""
    try:
        noon = datetime.combine(datetime.fromisoformat(day).date(), time(12), _ZONE)
    except ValueError:
        raise InputError(f'{name}: "{day}" in its name is not a day') from None
    # Clocks change at night: noon's offset is that of the trading hours.
    return (int(noon.astimezone(UTC).timestamp()) - 12 * 3600) * SECOND_NS


def read_messages(pair: Pair, midnight: int) -> Iterator[tuple[Integers, Integers]]:
    """Row numbers and values (time, type, id, size, price, direction) of the message file, checked."""
    latest = 0
    for chunk in pair.messages.chunks(_MESSAGE):
        if not len(chunk):
            continue
        values = np.empty((len(chunk), len(_MESSAGE)), dtype=np.int64)
        for i, name in enumerate(_MESSAGE):
            column = chunk.column(name)
            column.require()
            values[:, i] = mantissas(column, 9 if name == "time" else 0, option="")
        _check(chunk, values)
        times = values[:, 0]
        back = times < np.append(latest, times[:-1])
        if back.any():
            raise chunk.column("time").error(int(back.argmax()), "is earlier than the line before it")
        latest = int(times[-1])
        values[:, 0] += midnight
        yield chunk.rows, values


def _check(chunk: Chunk, values: Integers) -> None:
    """InputError at the first value that a message cannot have."""
    times, kinds, ids, sizes, prices, directions = values.T
    order = (kinds >= ADDED) & (kinds <= HIDDEN)
    of_order = (kinds >= ADDED) & (kinds <= EXECUTED)
    wrong = (
        ("time", (times < 0) | (times >= 86_400 * SECOND_NS), "is not within a day"),
        ("type", (kinds < ADDED) | (kinds > HALT), "is no type of message: they are 1 to 7"),
        ("order_id", of_order & ((ids < 0) | (ids >= 2**62)), "is no order id"),
        ("size", order & (sizes <= 0), "is no number of shares"),
        ("price", order & (prices <= 0), "is no price"),
        ("direction", order & (np.abs(directions) != 1), "is neither 1 (a buy order) nor -1 (a sell order)"),
    )
    for name, where, problem in wrong:
        if where.any():
            raise chunk.column(name).error(int(where.argmax()), problem)


def _read_book(pair: Pair) -> Iterator[tuple[Integers, Integers]]:
    columns = book_columns(pair.levels)
    for chunk in pair.book.chunks(columns):
        if not len(chunk):
            continue
        values = np.empty((len(chunk), len(columns)), dtype=np.int64)
        for i, name in enumerate(columns):
            column = chunk.column(name)
            column.require()
            values[:, i] = mantissas(column, 0, option="")
            wrong = values[:, i] < 0
            if "size" in name and wrong.any():
                raise column.error(int(wrong.argmax()), "is no number of shares")
        yield chunk.rows, values


def read_pair(pair: Pair, midnight: int) -> Iterator[Events]:
    """Both files side by side, some thousands of lines at a time.

    Raises InputError naming file, row, column and value, and when one has more lines than the other.
    """
    most = max(64, _STATES // pair.levels**2)
    left, right = read_messages(pair, midnight), _read_book(pair)
    messages, states = next(left, None), next(right, None)
    while messages is not None and states is not None:
        count = min(len(messages[0]), len(states[0]), most)
        yield _events(messages[0][:count], messages[1][:count], states[1][:count])
        messages = _rest(messages, count) or next(left, None)
        states = _rest(states, count) or next(right, None)
    if messages is not None or states is not None:
        longer, rest = (pair.messages, messages) if messages is not None else (pair.book, states)
        shorter = pair.book if longer is pair.messages else pair.messages
        assert rest is not None
        raise InputError(
            f"{longer.name}: row {int(rest[0][0])} and what follows have no line in {shorter.name}",
            hint="both files have one line for each message: fetch them again",
        )


def _rest(part: tuple[Integers, Integers], count: int) -> tuple[Integers, Integers] | None:
    return (part[0][count:], part[1][count:]) if len(part[0]) > count else None


def _events(rows: Integers, messages: Integers, states: Integers) -> Events:
    def side(first: int) -> tuple[Integers, Integers]:
        return np.ascontiguousarray(states[:, first::4]), np.ascontiguousarray(states[:, first + 1 :: 4])

    ts, kind, order, size, price, direction = (np.ascontiguousarray(c) for c in messages.T)
    return Events(rows, ts, kind, order, size, price, direction, bids=side(2), asks=side(0))


def tick_decimals(prices: npt.NDArray[np.int64]) -> int:
    """How many of the four decimals these prices need."""
    for decimals in range(PRICE_DECIMALS):
        if not (prices % 10 ** (PRICE_DECIMALS - decimals)).any():
            return decimals
    return PRICE_DECIMALS
