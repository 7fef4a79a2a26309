"""What a recording has taken in so far, counted from the written batches."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np

from engine.live.machine import STOPPED
from engine.log.schema import Batch
from engine.model.kinds import Flag, InstrumentData, Kind, StatusData
from engine.model.rows import kind_name
from engine.model.units import trim_decimal

_TRADE, _STATUS, _INSTRUMENT = int(Kind.TRADE), int(Kind.STATUS), int(Kind.INSTRUMENT)
_LAST, _REJECTED = int(Flag.LAST), int(Flag.REJECTED_TICK)


class Tally:
    """Rows by kind, messages, what went wrong, and last prices."""

    def __init__(self) -> None:
        self.rows = 0
        self.messages = 0
        self.events: Counter[str] = Counter()  # STATUS rows by event
        self.disconnects = 0  # while it was recording: neither what came before it nor its own end
        self.last_prices: dict[str, str] = {}  # symbol to decimal text
        self._kinds = np.zeros(256, dtype=np.int64)
        self._definitions: dict[int, InstrumentData] = {}

    @property
    def kinds(self) -> dict[str, int]:
        """Rows by the name of their kind, in order of the codes."""
        codes = np.flatnonzero(self._kinds).tolist()
        return {kind_name(code).lower(): int(self._kinds[code]) for code in codes}

    def end(self) -> None:
        """Count a file's END row, which the writer appends by itself."""
        self._kinds[int(Kind.END)] += 1
        self.rows += 1
        self.messages += 1

    def take(self, batch: Batch) -> None:
        """Count a batch that has been written."""
        kind = batch.kind
        counts = np.bincount(kind, minlength=256)
        self._kinds += counts
        self.rows += batch.count
        self.messages += int(np.count_nonzero(batch.flags & _LAST))
        if counts[_INSTRUMENT] or counts[_STATUS]:
            for row in np.flatnonzero((kind == _INSTRUMENT) | (kind == _STATUS)).tolist():
                self._note(batch, row)
        if counts[_TRADE]:
            self._prices(batch)

    def _note(self, batch: Batch, row: int) -> None:
        data = batch.data_at(row) or b"{}"
        if int(batch.kind[row]) == _INSTRUMENT:
            self._definitions[int(batch.instrument[row])] = msgspec.json.decode(data, type=InstrumentData)
        else:
            status = msgspec.json.decode(data, type=StatusData)
            self.events[status.event] += 1
            own = status.detail == STOPPED or bool(status.first)
            self.disconnects += status.event == "disconnected" and not own

    def _prices(self, batch: Batch) -> None:
        trades = np.flatnonzero((batch.kind == _TRADE) & (batch.flags & _REJECTED == 0))
        # The last trade of each instrument: the first one of the reversed order.
        numbers, at = np.unique(batch.instrument[trades[::-1]], return_index=True)
        for number, place in zip(numbers.tolist(), at.tolist(), strict=True):
            definition = self._definitions.get(number)
            if definition is not None:
                price = int(batch.price[trades[len(trades) - 1 - place]])
                self.last_prices[definition.symbol] = trim_decimal(price, definition.price_decimals)
