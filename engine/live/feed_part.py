"""A part of an intake that has one source, one working task, and a machine to say how it stands.

    contact ──► number ──► header ──► begin ──► run … stop

What is the same whoever is asked: the rows that a file begins with, the task that works until `stop`, and the
STATUS rows that events of the connection are worth. A subclass reaches out (`contact`), works (`_work`) and
lets go (`_close`); its parser makes the rows of what comes. One life only.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

from engine.live.clock import Sequencer
from engine.live.machine import STOPPED, Event, Machine, State
from engine.model.kinds import Flag, InstrumentData, Kind, SourceData, StatusData, encode_canonical
from engine.model.rows import RowBuffer

_LAST = int(Flag.LAST)


class Reader(Protocol):
    """What is known here of a parser."""

    source: int

    @property
    def instruments(self) -> Mapping[str, tuple[int, InstrumentData]]:
        """Definitions by symbol, with their numbers."""


ReaderT = TypeVar("ReaderT", bound=Reader)


class FeedPart(ABC, Generic[ReaderT]):
    """One source into `rows`."""

    def __init__(
        self, source: SourceData, machine: Machine, parser: ReaderT, sequencer: Sequencer, rows: RowBuffer
    ) -> None:
        self.source = source
        self.machine = machine
        self._parser = parser
        self._sequencer = sequencer
        self._rows = rows
        self._working: asyncio.Task[None] | None = None
        self._stopped = False

    @abstractmethod
    async def contact(self) -> None:
        """Ask for the first time. What it raises ends the start; then nothing is open."""

    @abstractmethod
    def number(self, source: int, instrument: int = 1) -> None:
        """Take the number of our source, and the first one of our instruments; before `header`."""

    @abstractmethod
    async def _work(self) -> None:
        """Take in, for ever; cancelled by `stop`."""

    @abstractmethod
    async def _close(self) -> None:
        """Let go of what is open."""

    @property
    def sources(self) -> tuple[SourceData, ...]:
        """What is to be numbered for `begin`: one source."""
        return (self.source,)

    @property
    def instruments(self) -> Mapping[str, tuple[int, InstrumentData]]:
        """Definitions by symbol, with their numbers; there are none before the first contact."""
        return self._parser.instruments

    def header(self) -> None:
        """Append the SOURCE and INSTRUMENT rows that a file begins with, as they are now."""
        number, stamp = self._parser.source, self._sequencer.stamp
        data = encode_canonical(self.source)
        self._rows.append(stamp(), Kind.SOURCE, source=number, flags=_LAST, data=data)
        self.define()

    def define(self) -> None:
        """Append the INSTRUMENT rows alone: the engine's own; those of our source the parser makes."""
        for number, definition in self.instruments.values():
            self._rows.append(
                self._sequencer.stamp(),
                Kind.INSTRUMENT,
                instrument=number,
                flags=_LAST,
                data=encode_canonical(definition),
            )

    async def run(self) -> None:
        """Take in until `stop`; never ends by itself."""
        if self._stopped:
            return
        self._working = asyncio.ensure_future(self._work())
        await asyncio.wait((self._working,))
        if not self._working.cancelled():
            self._working.result()

    async def stop(self) -> None:
        """End it; the last rows are in the buffer when this returns."""
        self._stopped = True
        if self._working is not None:
            self._working.cancel()  # it holds nothing back: rows are appended without a wait between them
            await asyncio.wait((self._working,))
        await self._close()
        if self.machine.state not in {State.IDLE, State.STOPPED}:
            self._tell(Event.STOP, STOPPED)

    def _tell(self, event: Event, detail: str = "", retry_after_s: float = 0.0) -> None:
        """Something happened to the connection: the rows that it is worth."""
        for status in self.machine.on(event, self._now_s(), detail, retry_after_s=retry_after_s):
            self._status(status)

    def _status(self, data: StatusData, instrument: int = 0) -> None:
        self._rows.append(
            self._sequencer.stamp(),
            Kind.STATUS,
            source=self._parser.source,
            instrument=instrument,
            flags=_LAST,
            data=encode_canonical(data),
        )

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()
