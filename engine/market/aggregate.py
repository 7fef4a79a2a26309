"""Bars made of trades while they come in: by time, by number of trades, by volume, by money traded.

One AGGREGATE record is one stream of bars of one instrument: the bar that is open, and the last one that was
finished, all of it int64. Prices and sizes are mantissas; nothing here is a float and nothing is rounded.

- A time bar covers [k * interval, (k + 1) * interval) of the loop's time since the epoch. It is finished
  by the first trade at or after its end, or by a timer at `due`: so the loop can hand it out on time when no
  trade follows. Both make the same bar. An interval without trades makes none.
- A tick, volume or dollar bar is finished by the trade with which it reaches its step or goes beyond; that
  trade belongs to it whole, and the next bar begins with nothing. So a huge trade finishes one bar, not
  several. (Lopez de Prado, Advances in Financial Machine Learning, 2018, section 2.3: the common practice.)
  Such a bar begins at its first trade's time and ends at its last one's; `due` is NEVER.
- A bar that is open when the data end is no bar.

The money of a dollar bar is the sum of |price| * size in products of the mantissas, exactly, as two words:
high * 2**62 + low. With prices and sizes below 2**62 and a step below 2**124 it cannot overflow. What does
not fit is REFUSED and changes nothing; it is never wrapped.

The caller decides which trades count: no duplicates, none out of order. Time never goes back; should it, the
trade joins the bar that is open. Bars made here are for strategies to see, and never execute anything.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.model import jit
from engine.model.errors import UsageError

TIME, TICK, VOLUME, DOLLAR = 0, 1, 2, 3
KINDS = ("time", "tick", "volume", "dollar")
NEVER = 2**63 - 1
REFUSED = -1
MAX_MANTISSA = 2**62 - 1
MAX_MONEY = 2**124 - 1

_WORD = 62
_WORD_MASK = 2**62 - 1
_HALF = 31
_HALF_MASK = 2**31 - 1

_BAR = ("start", "end", "open", "high", "low", "close", "volume", "trades", "money_high", "money_low")
AGGREGATE = np.dtype(
    [
        ("kind", "<i8"),  # index into KINDS
        ("step", "<i8"),  # ns, trades or size mantissa; of dollar bars the high word
        ("step_low", "<i8"),  # of dollar bars
        ("due", "<i8"),  # when the open bar has to be finished, NEVER: no such time
        ("count", "<i8"),  # bars finished so far
        *((name, "<i8") for name in _BAR),  # the open bar; trades = 0: none is open
        *((f"last_{name}", "<i8") for name in _BAR),  # the last finished one
    ]
)

aggregates_at = jit.records_at(AGGREGATE)


def prepare(record: Any, kind: int, step: int) -> None:
    """Make a record ready for its first trade.

    Args:
        record: an element of an array of AGGREGATE.
        kind: TIME, TICK, VOLUME or DOLLAR.
        step: of a bar: ns, trades, a size mantissa, or money as price mantissa times size mantissa.

    Raises:
        UsageError: the step is not positive, or too large.
    """
    greatest = MAX_MONEY if kind == DOLLAR else MAX_MANTISSA
    if not 0 < step <= greatest:
        raise UsageError(f"{KINDS[kind]} bars of {step}: the step must be between 1 and {greatest}")
    for name in AGGREGATE.names or ():
        record[name] = 0
    record["kind"] = kind
    record["step"] = step >> _WORD if kind == DOLLAR else step
    record["step_low"] = step & _WORD_MASK if kind == DOLLAR else 0
    record["due"] = NEVER


@jit.inlined
def due(record: Any) -> int:
    """When a timer has to call `finish_due`; NEVER while no time bar is open."""
    return record.due  # type: ignore[no-any-return]


@jit.helper
def _finish(record: Any) -> None:
    """The open bar becomes the last finished one."""
    record.last_start = record.start
    record.last_end = record.end
    record.last_open = record.open
    record.last_high = record.high
    record.last_low = record.low
    record.last_close = record.close
    record.last_volume = record.volume
    record.last_trades = record.trades
    record.last_money_high = record.money_high
    record.last_money_low = record.money_low
    record.count += 1
    record.trades = 0
    record.due = NEVER


@jit.helper
def finish_due(record: Any, now: int) -> int:
    """Finish the time bar that ends at or before `now`; the number of finished bars, 0 or 1."""
    if record.due > now:
        return 0
    _finish(record)
    return 1


@jit.helper
def _add_money(record: Any, price: int, size: int) -> None:
    """Add |price| * size to the two words, by halves of 31 bits: every term fits 63."""
    amount = price if price >= 0 else -price
    amount_high = amount >> _HALF
    amount_low = amount & _HALF_MASK
    size_high = size >> _HALF
    size_low = size & _HALF_MASK
    cross = amount_high * size_low + amount_low * size_high
    low = ((cross & _HALF_MASK) << _HALF) + amount_low * size_low
    high = amount_high * size_high + (cross >> _HALF) + (low >> _WORD)
    low = (low & _WORD_MASK) + record.money_low
    record.money_high += high + (low >> _WORD)
    record.money_low = low & _WORD_MASK


@jit.inlined
def _is_full(record: Any) -> bool:
    """Whether the open bar has reached its step; a time bar never has."""
    kind = record.kind
    if kind == TICK:
        return record.trades >= record.step  # type: ignore[no-any-return]
    if kind == VOLUME:
        return record.volume >= record.step  # type: ignore[no-any-return]
    if kind == DOLLAR:
        if record.money_high != record.step:
            return record.money_high > record.step  # type: ignore[no-any-return]
        return record.money_low >= record.step_low  # type: ignore[no-any-return]
    return False


@jit.helper
def add_trade(record: Any, ts: int, price: int, size: int) -> int:
    """Take a trade at the loop's time `ts`; the number of bars that it finished, 0 or 1.

    The finished bar is in the record's `last_` fields until the next one is. A time bar is finished by a
    trade that lies beyond it, the others by one of their own. A trade of size 0 is a trade. REFUSED, with
    nothing changed, when price, size or the bar's volume is beyond MAX_MANTISSA, or the size negative.
    """
    if price < -MAX_MANTISSA or price > MAX_MANTISSA or size < 0 or size > MAX_MANTISSA:
        return REFUSED
    if record.trades > 0 and record.due > ts and record.volume > MAX_MANTISSA - size:
        return REFUSED
    finished = finish_due(record, ts)
    if record.trades == 0:
        record.start = ts
        if record.kind == TIME:
            record.start = ts - ts % record.step
            record.due = record.start + record.step
        record.open = price
        record.high = price
        record.low = price
        record.volume = 0
        record.money_high = 0
        record.money_low = 0
    if price > record.high:
        record.high = price
    if price < record.low:
        record.low = price
    record.close = price
    record.volume += size
    record.trades += 1
    record.end = record.due if record.kind == TIME else ts
    if record.kind == DOLLAR:
        _add_money(record, price, size)
    if _is_full(record):
        _finish(record)
        finished += 1
    return finished
