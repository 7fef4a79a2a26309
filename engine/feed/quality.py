"""Tick quality: trades and quotes that cannot be right are flagged, before they are written.

    parsers ──rows──► RowBuffer ──► Quality.take ──► LogWriter.flush

`take` goes over the rows in their order, whole messages, just before they are written. It sets flags on the
rows of a tick (engine.feed.ticks says by which rules) and puts a STATUS row behind the rows of each tick that
it rejects, in the same message: which rule, the price, the median, the limit. It removes nothing, moves
nothing else, and looks at no level of a book and at no bar.

What it does follows from the rows alone, however they were cut into batches:

- a source's mode stands in its SOURCE row (`detail`, MODE_KEY); rows of a source without one are not judged;
- an instrument's price increment and decimals stand in its INSTRUMENT rows; when the decimals grow, what is
  remembered of its prices is multiplied up, when they shrink it is forgotten;
- a SOURCE row with a number that is known already begins a file: everything is forgotten. So the flags of a
  segment follow from that segment, and `rebuild` needs no other.

The kernels are loaded when the first SOURCE row asks for a mode, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from engine.model.errors import DecimalError, InputError, UsageError
from engine.model.kinds import Flag, InstrumentData, Kind, SourceData, encode_canonical
from engine.model.rows import RowBuffer
from engine.model.units import MAX_DECIMALS, NULL_TIME, POWERS_OF_TEN, parse_decimal

if TYPE_CHECKING:
    from engine.feed.windows import Windows

MODE_KEY = "quality"  # in the detail of a SOURCE row
MODES = ("off", "warn", "strict")  # in the order of the kernel's codes
DEFAULT_MODE = "warn"
EVENTS = ("rejected_tick", "rebased")  # of the STATUS rows made here
FLAGS = int(Flag.REJECTED_TICK | Flag.UNUSUAL | Flag.EXTREME)  # set here

_SOURCE, _INSTRUMENT, _STATUS = int(Kind.SOURCE), int(Kind.INSTRUMENT), int(Kind.STATUS)
_LAST = int(Flag.LAST)
_sources = msgspec.json.Decoder(SourceData)
_instruments = msgspec.json.Decoder(InstrumentData)

Made = tuple[int, bytes]  # a STATUS row: behind which row it stands, and its data


def checked_mode(mode: str) -> str:
    """One of MODES; UsageError otherwise."""
    if mode not in MODES:
        raise UsageError(f'--quality "{mode}" is not known', hint=f"write one of {', '.join(MODES)}")
    return mode


def with_mode(source: SourceData, mode: str) -> SourceData:
    """The source as its SOURCE row has to state it, so that its rows are judged in this mode."""
    return msgspec.structs.replace(source, detail={**source.detail, MODE_KEY: checked_mode(mode)})


def mode_of(source: SourceData) -> str:
    """The mode that a SOURCE row states; "off" when it states none."""
    return source.detail.get(MODE_KEY, MODES[0])


def prepare() -> None:
    """Load the kernels ahead of the rows, some 60 ms of work; where nobody has compiled them yet, do that."""
    from engine.feed.windows import Windows

    Windows().judge(RowBuffer(1), 0)


def increment_of(definition: InstrumentData) -> int:
    """The price increment as a mantissa; 1, the finest there is, where the definition has none that fits."""
    if not 0 <= definition.price_decimals <= MAX_DECIMALS:
        return 1
    try:
        return max(parse_decimal(definition.price_increment, definition.price_decimals), 1)
    except DecimalError:
        return 1  # whoever trades by the definition names it; prices are steps of one unit at least


class Quality:
    """Judges what is about to be written to one log, or to one segment of it after the other."""

    def __init__(self) -> None:
        self._sources: set[int] = set()  # numbers that are defined
        self._definitions: dict[int, InstrumentData] = {}
        self._windows: Windows | None = None  # None: no source asks for it

    def take(self, rows: RowBuffer, start: int = 0) -> None:
        """Judge the rows from index `start` on: whole messages, which no call has had before.

        Raises InputError for a SOURCE row whose mode this version does not know.
        """
        position = start
        made: list[Made] = []
        while position < rows.count:
            if self._windows is None:
                position = self._next_definition(rows, position)
            else:
                events = self._windows.judge(rows, position)
                position = self._windows.position
                if events:
                    made += self._said(events, rows)
            if position < rows.count and not self._is_full(rows, position):
                self._define(rows, position)
                position += 1
        if made:
            _insert(rows, start, made)

    @staticmethod
    def _next_definition(rows: RowBuffer, start: int) -> int:
        """Where the next SOURCE or INSTRUMENT row is; the number of rows when there is none."""
        kinds = rows.view()["kind"][start:]
        places = np.flatnonzero((kinds == _SOURCE) | (kinds == _INSTRUMENT))
        return start + int(places[0]) if len(places) else rows.count

    @staticmethod
    def _is_full(rows: RowBuffer, position: int) -> bool:
        """Whether judging stopped for the number of its findings, and not at a definition."""
        return int(rows.view()["kind"][position]) not in (_SOURCE, _INSTRUMENT)

    def _define(self, rows: RowBuffer, row: int) -> None:
        """Take the SOURCE or INSTRUMENT row."""
        view = rows.view()
        text = rows.data[int(np.count_nonzero(view["data_length"][:row] >= 0))]
        if view["kind"][row] == _SOURCE:
            self._source(int(view["source"][row]), _sources.decode(text))
        else:
            self._instrument(int(view["instrument"][row]), _instruments.decode(text))

    def _source(self, number: int, source: SourceData) -> None:
        if number in self._sources:  # a file begins
            self._sources.clear()
            self._definitions.clear()
            self._windows = None
        self._sources.add(number)
        mode = mode_of(source)
        if mode not in MODES:
            raise InputError(
                f'source {number}, {source.name}: its {MODE_KEY} is "{mode}"',
                hint=f"this version of the engine knows {', '.join(MODES)}",
            )
        if mode != MODES[0]:
            if self._windows is None:
                from engine.feed.windows import Windows

                self._windows = Windows()
                for known, definition in self._definitions.items():
                    self._windows.define(known, increment_of(definition))
            self._windows.modes[number] = MODES.index(mode)

    def _instrument(self, number: int, definition: InstrumentData) -> None:
        before = self._definitions.get(number)
        self._definitions[number] = definition
        if self._windows is None:
            return
        self._windows.define(number, increment_of(definition))
        if before is None:
            return
        more = definition.price_decimals - before.price_decimals
        if more != 0 or before.key != definition.key:
            wider = 0 < more <= MAX_DECIMALS and before.key == definition.key
            self._windows.rescale(number, POWERS_OF_TEN[more] if wider else 0)

    def _said(self, events: list[np.void], rows: RowBuffer) -> list[Made]:
        """The STATUS rows of what has been found."""
        from engine.feed import quality_words

        view = rows.view()
        made = []
        for event in events:
            definition = self._definitions[int(view["instrument"][event["leg"]])]
            status = quality_words.status(event, view, definition, increment_of(definition))
            made.append((int(event["row"]), encode_canonical(status)))
        return made


def _insert(rows: RowBuffer, start: int, made: list[Made]) -> None:
    """Put STATUS rows behind the ticks that they are about, in the messages of these."""
    packed = rows.view()[start:].copy()
    with_data, with_wire = packed["data_length"] >= 0, packed["wire_length"] >= 0
    data = rows.data[len(rows.data) - int(with_data.sum()) :]
    wire = rows.wire[len(rows.wire) - int(with_wire.sum()) :]
    ticks = np.array([row - start for row, _ in made])
    status = packed[ticks]  # of the tick's time, source, instrument and id
    for column in ("price", "size", "side", "part"):
        status[column] = 0
    status["kind"], status["ts_venue"], status["wire_length"] = _STATUS, NULL_TIME, -1
    status["data_length"] = [len(text) for _, text in made]
    last_of_tick = np.append(ticks[1:] != ticks[:-1], True)
    status["flags"] = np.where(last_of_tick, status["flags"] & _LAST, 0)
    packed["flags"][ticks] &= ~np.uint16(_LAST)
    texts_before = np.cumsum(with_data)[ticks].tolist()
    texts: list[bytes] = []
    done = 0
    for before, (_, text) in zip(texts_before, made, strict=True):
        texts += [*data[done:before], text]
        done = before
    texts += data[done:]
    rows.truncate(start)
    whole: Any = np.insert(packed, ticks + 1, status)
    rows.extend(whole, texts, wire)
