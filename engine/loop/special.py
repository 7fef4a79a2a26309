"""Rows that are no market data: definitions, status, news and commands, and what they change."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.config import RunConfig
from engine.execution.state import MATCH_BOOK
from engine.log.schema import Batch, batch_of_buffer
from engine.loop.asking import Asking
from engine.loop.caller import Caller
from engine.loop.charges import Charges
from engine.loop.codes import H_NEWS, H_STATUS, IGNORED
from engine.loop.memory import Memory
from engine.loop.series import seq_of
from engine.model.errors import InputError, UsageError
from engine.model.instruments import Instrument, Registry
from engine.model.kinds import (
    AnswerData,
    CommandData,
    CorporateData,
    Flag,
    Kind,
    NewsData,
    SessionData,
    SourceData,
    StatusData,
)
from engine.model.rows import RowBuffer, kind_name
from engine.model.units import NULL_TIME
from engine.strategy.api import News, Status, Strategy

_HALTING_EVENTS, _HALTING_LEVEL = ("clock_offset", "disk_low"), 2


class SpecialRows:
    """Reads the rows that kernels leave to Python."""

    def __init__(
        self,
        config: RunConfig,
        strategy: Strategy,
        caller: Caller,
        memory: Memory,
        registry: Registry,
        charges: Charges,
        asking: Asking,
    ) -> None:
        self._charges = charges
        self._asking = asking
        self.commands: list[str] = []
        self._config = config
        self._symbols = strategy.symbols
        self._caller = caller
        self._context = caller.context
        self._memory = memory
        self._registry = registry
        self._sources: dict[tuple[int, int], SourceData] = {}
        self._on_news = caller.handler("on_news")
        self._on_status = caller.handler("on_status")
        self._halts: dict[str, bool] = {}  # what halts new orders, each for itself
        self._batch = Batch()
        self._file = 0

    def check_symbols(self) -> None:
        """Raise UsageError when the strategy asks for a symbol that no log has."""
        known = self._registry.instruments
        for name in self._symbols:
            if not any(name in (who.key, who.symbol) for who in known):
                listing = ", ".join(who.key for who in known) or "no instrument"
                raise UsageError(f'unknown symbol "{name}"', hint=f"the log has {listing}")

    def take(self, batch: Batch, file: int) -> None:
        """The batch that rows are read of from now on."""
        self._batch = batch
        self._file = file

    def read(self, code: int, row: int) -> None:
        """Do what a row says, and tell the strategy if it wants to hear of it.

        Raises InputError when its data cannot be read.
        """
        try:
            self._read(code, row)
        except msgspec.DecodeError as error:  # never a strategy's own: those are StrategyErrors by now
            raise InputError(
                f"row {seq_of(self._batch, row)} of the run's log {self._file + 1}: the data of this "
                f"{kind_name(int(self._batch.kind[row]))} row cannot be read: {error}",
                hint="engine log check says whether the log is what was written",
            ) from None

    def _read(self, code: int, row: int) -> None:
        text = self._batch.data_at(row) or b"{}"
        if code == H_NEWS:
            self._news(row, text)
        elif code == H_STATUS:
            self._status(row, text)
        else:
            kind = int(self._batch.kind[row])
            if kind == Kind.COMMAND:
                self._command(msgspec.json.decode(text, type=CommandData))
            elif kind == Kind.SESSION:
                session = msgspec.json.decode(text, type=SessionData)
                self._memory.add_session(
                    session.venue, session.opens, session.closes, self._registry.instruments
                )
                self._charges.session(session)
            elif kind == Kind.SOURCE:
                self._sources[self._file, int(self._batch.source[row])] = msgspec.json.decode(
                    text, type=SourceData
                )
            elif kind == Kind.ANSWER:
                self._asking.row(msgspec.json.decode(text, type=AnswerData))
            elif kind == Kind.CORPORATE:
                self._corporate(row, text)
            else:
                self.announce(int(self._batch.instrument[row]))

    def lift_halts(self) -> None:
        """Forget what halted new orders."""
        self._halts.clear()
        if not self._context.stopped:
            self._memory.set("trading_state", 0)

    def kept(self) -> dict[str, Any]:
        """What was read of such rows so far, as plain values."""
        sources = [[*place, msgspec.to_builtins(data)] for place, data in sorted(self._sources.items())]
        return {"commands": list(self.commands), "halts": dict(self._halts), "sources": sources}

    def put_back(self, kept: dict[str, Any]) -> None:
        """Take what `kept` gave in another process."""
        self.commands[:] = kept["commands"]
        self._halts = dict(kept["halts"])
        for file, source, data in kept["sources"]:
            self._sources[file, source] = msgspec.convert(data, SourceData)

    def follow(self, index: int) -> None:
        """The strategy follows an instrument."""
        if not self._context.stopped:
            self._memory.set_of_instrument(index, "want", self._caller.want)
        self._context.visible = (*self._context.visible, self._registry.instruments[index])

    def announce(self, index: int) -> None:
        """An instrument is there: the strategy follows it unless it asked for others only."""
        instrument = self._registry.instruments[index]
        wanted = self._symbols
        if wanted and instrument.key not in wanted and instrument.symbol not in wanted:
            return
        if not self._context.stopped:
            self._memory.set_of_instrument(index, "want", self._caller.want)
        if instrument not in self._context.visible:
            self._context.visible = (*self._context.visible, instrument)

    def _corporate(self, row: int, text: bytes) -> None:
        if int(self._batch.flags[row]) & IGNORED:
            return
        stamp = int(self._batch.ts_venue[row])
        where = f"row {self._batch.first_seq + row} of the run's log {self._file + 1}"
        self._charges.announce(
            msgspec.json.decode(text, type=CorporateData),
            int(self._batch.instrument[row]),
            int(self._batch.ts[row]) if stamp == NULL_TIME else stamp,
            where,
        )

    def _news(self, row: int, text: bytes) -> None:
        if self._on_news is None or self._context.stopped or int(self._batch.flags[row]) & IGNORED:
            return
        data = msgspec.json.decode(text, type=NewsData)
        index = int(self._batch.instrument[row])
        stamp = int(self._batch.ts_venue[row])
        news = News(
            data.id,
            data.headline,
            data.summary,
            data.source,
            data.url,
            data.symbols,
            self._instrument_or_none(index),
            int(self._batch.ts[row]),
            None if stamp == NULL_TIME else stamp,
        )
        self._caller.call(self._on_news, news)

    def _instrument_or_none(self, index: int) -> Instrument | None:
        return self._registry.instruments[index] if 0 <= index < len(self._registry.instruments) else None

    def _status(self, row: int, text: bytes) -> None:
        data = msgspec.json.decode(text, type=StatusData)
        index = int(self._batch.instrument[row])
        instrument = self._instrument_or_none(index)
        if data.event == "disconnected" or (data.event == "gap" and data.channel in ("book", "orders")):
            # Until the next snapshot the book is not what the venue has.
            source = self._sources.get((self._file, int(self._batch.source[row])))
            for who in self._registry.instruments:
                if self._memory.of_instrument(who.index, "match_on") != MATCH_BOOK:
                    continue  # a quote or a trade is a whole picture: the next one needs no snapshot
                if who == instrument or (
                    instrument is None and source and source.brings(who.venue, who.symbol)
                ):
                    # A venue with a clock of its own hears of it in its own stream of rows.
                    self._memory.doubt_book(who.index, at_venue=self._config.clock != "venue")
        if data.event in _HALTING_EVENTS and not self._context.stopped:
            # The clock or the disk cannot be trusted: no new orders until a row says that they can again.
            self._halts[data.event] = data.last >= _HALTING_LEVEL
            self._memory.set("trading_state", 1 if any(self._halts.values()) else 0)
        if self._on_status is not None and not self._context.stopped:
            ts = int(self._batch.ts[row])
            self._caller.call(self._on_status, Status(data.event, data.channel, data.detail, instrument, ts))

    def _command(self, command: CommandData) -> None:
        if not self._config.with_commands:
            return
        if command.command != "stop":
            raise InputError(
                f"the log holds the command {command.command!r}, which this version does not know",
                hint="run it with the engine that recorded it",
            )
        self.commands.append(command.command)
        self._memory.set("trading_state", 1)
        self._context.stopped = True
        for instrument in self._registry.instruments:
            self._memory.set_of_instrument(instrument.index, "want", 0)
        self._caller.mute()
        self._context.cancel_all()


def clock_row(ts: int, seq: int) -> Batch:
    """A batch of one CLOCK row, which goes by that number."""
    rows = RowBuffer(1)
    rows.append(ts, Kind.CLOCK, flags=Flag.LAST)
    return batch_of_buffer(rows, seq)
