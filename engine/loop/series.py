"""The series of bars that a strategy has asked for: their specification, their rows among those of the log.

"1m"       a bar a minute, of the loop's time; ns, us, ms, s, m, h
"500t"     a bar every 500 trades
"10v"      a bar every 10 base units traded
"100000d"  a bar every 100,000 of the quote currency traded
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.config import parse_duration
from engine.execution.state import COLUMNS
from engine.log.schema import Batch
from engine.loop.made_bars import MADE, make_bars
from engine.loop.memory import Memory
from engine.market.aggregate import AGGREGATE, DOLLAR, NEVER, TICK, TIME, VOLUME, prepare
from engine.model.errors import StrategyError, UsageError
from engine.model.instruments import Instrument
from engine.model.kinds import Flag, Kind, Part
from engine.model.units import NULL_TIME

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)([tvd])")
_LONGEST_MONTH = 31
_WORD, _WORD_MASK = 62, 2**62 - 1
_PARTS = np.array([Part.OPEN, Part.HIGH, Part.LOW, Part.CLOSE], np.uint8)
_PRICES = ("open", "high", "low", "close")
_KEPT = tuple(name for name in AGGREGATE.names or () if name != "kind" and not name.startswith("last_"))
_OPEN = tuple(name.removeprefix("last_") for name in AGGREGATE.names or () if name.startswith("last_"))
_BAR_PRICES = ("open", "high", "low", "close", "last_open", "last_high", "last_low", "last_close")


class Woven(Batch):
    """A batch with rows of the engine's own among those of the log; `seqs` says which row is whose."""

    __slots__ = ("seqs",)
    seqs: npt.NDArray[np.int64]


def seq_of(batch: Batch, row: int) -> int:
    """The log's number of a row."""
    return int(batch.seqs[row]) if isinstance(batch, Woven) else batch.first_seq + row


def specification(text: str, who: Instrument) -> tuple[int, int]:
    """Kind and step of a series, as engine.market.aggregate takes them; UsageError for what is none."""
    amount = _AMOUNT.fullmatch(text.strip())
    what = f'bars("{text}")'
    if amount is None:
        return TIME, parse_duration(text, what)
    number, letter = amount[1], amount[2]
    if letter == "t":
        if "." in number:
            raise UsageError(f"{what}: {number} trades cannot be", hint="write a whole number: 500t")
        return TICK, int(number)
    if letter == "d" and float(number) <= _LONGEST_MONTH:
        raise UsageError(
            f"{what}: d stands for money traded, and {number} is less than anybody means",
            hint=f"for {number} days write {float(number) * 24:g}h",
        )
    decimals = who.size_decimals + (who.price_decimals if letter == "d" else 0)
    if "." in number and len(number.partition(".")[2].rstrip("0")) > decimals:
        raise UsageError(f"{what}: {who.key} counts no more than {decimals} decimals", hint="write fewer")
    whole, _, fraction = number.partition(".")
    step = int(whole + fraction[:decimals].ljust(decimals, "0"))
    return (VOLUME if letter == "v" else DOLLAR), step


class Series:
    """All series of a run. `count` of 0: nobody has asked for any."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._records = np.zeros(0, AGGREGATE)
        self._owners = np.zeros(0, np.int64)
        self._nexts = np.zeros(0, np.int64)
        self._heads = np.zeros(0, np.int64)
        self._made = np.zeros(0, MADE)
        self._texts: list[tuple[Instrument, str]] = []
        self.count = 0

    def ask(self, who: Instrument, text: str) -> int:
        """The number of the series, from 1 on; the same one for the same words."""
        if (who, text) in self._texts:
            return self._texts.index((who, text)) + 1
        kind, step = specification(text, who)
        record = np.zeros(1, AGGREGATE)
        prepare(record[0], kind, step)
        self._records = np.append(self._records, record)
        self._owners = np.append(self._owners, who.index)
        self._texts.append((who, text))
        self.count += 1
        self._link()
        return self.count

    def _link(self) -> None:
        """Lists of the series of each instrument, in the order in which they were asked for."""
        self._heads = np.full(len(self._memory.instruments), -1, np.int64)
        self._nexts = np.full(self.count, -1, np.int64)
        for number in range(self.count - 1, -1, -1):
            owner = int(self._owners[number])
            self._nexts[number] = self._heads[owner]
            self._heads[owner] = number

    def kept(self) -> list[dict[str, Any]]:
        """What was asked for and the bars that are open, as plain values, in the order of their numbers."""
        found = []
        for (who, text), record in zip(self._texts, self._records, strict=True):
            idle = () if record["trades"] else _OPEN
            values = {name: 0 if name in idle else int(record[name]) for name in _KEPT}
            found.append({"instrument": who.key, "every": text, **values})
        return found

    def put_back(self, kept: Sequence[dict[str, Any]], instruments: Sequence[Instrument]) -> None:
        """Take what `kept` gave in another process; the instruments have been defined."""
        by_key = {who.key: who for who in instruments}
        for one in kept:
            number = self.ask(by_key[one["instrument"]], one["every"])
            record = self._records[number - 1]
            for name in _KEPT:
                record[name] = one[name]

    def due(self) -> int | None:
        """When the next time bar ends; None while none is open."""
        if not self.count:
            return None
        earliest = int(self._records["due"].min())
        return None if earliest == NEVER else earliest

    def redefine(self, before: Instrument, after: Instrument) -> None:
        """An instrument has gained decimals: what is open, and the steps, are counted in the new ones."""
        price = 10 ** (after.price_decimals - before.price_decimals)
        size = 10 ** (after.size_decimals - before.size_decimals)
        if price == 1 and size == 1:
            return
        for number in np.flatnonzero(self._owners == after.index).tolist():
            record = self._records[number]
            for name in _BAR_PRICES:
                record[name] = int(record[name]) * price
            for name in ("volume", "last_volume"):
                record[name] = int(record[name]) * size
            for high, low in (("money_high", "money_low"), ("last_money_high", "last_money_low")):
                money = ((int(record[high]) << _WORD) + int(record[low])) * price * size
                record[high], record[low] = money >> _WORD, money & _WORD_MASK
            if record["kind"] == VOLUME:
                record["step"] = int(record["step"]) * size
            elif record["kind"] == DOLLAR:
                step = ((int(record["step"]) << _WORD) + int(record["step_low"])) * price * size
                record["step"], record["step_low"] = step >> _WORD, step & _WORD_MASK

    def weave(self, batch: Batch) -> Batch:
        """The batch whose columns the kernels see, with the bars that its rows finish among them."""
        if len(self._heads) < len(self._memory.instruments):
            self._link()
        most = (batch.count + 1) * self.count
        if len(self._made) < most:
            self._made = np.zeros(2 * most, MADE)
        found = make_bars(
            self._memory.address,
            self._records.ctypes.data,
            self.count,
            self._owners.ctypes.data,
            self._heads.ctypes.data,
            self._nexts.ctypes.data,
            self._made.ctypes.data,
        )
        if found < 0:
            who, text = self._texts[-1 - found]
            raise StrategyError(f'the bars "{text}" of {who.key} add up to more than 64 bits hold')
        return self._woven(batch, self._made[:found]) if found else batch

    def _woven(self, batch: Batch, made: npt.NDArray[np.void]) -> Woven:
        places = np.repeat(made["before"], 4)
        count = len(places)
        zeros = np.zeros(count, np.int64)
        volumes, ids, prices, stamps, flags = (zeros.copy() for _ in range(5))
        ids[0::4], ids[1::4], ids[3::4] = made["series"], made["interval"], made["trades"]
        volumes[3::4] = made["volume"]
        flags[:] = int(Flag.FINAL)
        flags[3::4] |= int(Flag.LAST)
        stamps[:] = NULL_TIME
        stamps[0::4] = made["start"]
        for i, name in enumerate(_PRICES):
            prices[i::4] = made[name]
        rows: dict[str, Any] = {
            "ts": np.repeat(made["ts"], 4),
            "ts_venue": stamps,
            "kind": np.full(count, int(Kind.BAR)),
            "flags": flags,
            "instrument": np.repeat(made["instrument"], 4),
            "side": zeros,
            "price": prices,
            "size": volumes,
            "id": ids,
            "part": np.tile(_PARTS, len(made)),
            "source": zeros,
        }
        woven = Woven()
        woven.first_seq, woven.rows, woven.wire = batch.first_seq, None, None
        woven.count = batch.count + count
        for name in COLUMNS:
            column = getattr(batch, name)
            setattr(woven, name, np.insert(column, places, rows[name].astype(column.dtype)))
        # A bar's own number is that of the row that finished it; of the batch's first row, the one before.
        seqs = batch.first_seq + np.arange(batch.count)
        causes = batch.first_seq + places - 1
        causes[places == 0] = self._memory.get("cause_seq")
        woven.seqs = np.insert(seqs, places, causes)
        woven.data = None
        if batch.data is not None:
            index = np.insert(np.arange(batch.count), places, 0)
            none = np.insert(np.zeros(batch.count, bool), places, np.ones(count, bool))
            woven.data = batch.data.take(pa.array(index, mask=none))
        return woven
