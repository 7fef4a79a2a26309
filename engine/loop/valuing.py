"""What the account is worth at a moment, for the equity curve: floats, which decide nothing.

A position counts at the mid, else at the last price. Fees that were charged in a base asset or in a named
one are owed, and count at that asset's price.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.execution.fills import seen_market_of
from engine.execution.matching import best_price
from engine.execution.state import assets_at, equity_at, instruments_at, state_at
from engine.model import jit

_SCALES = np.cumprod(np.array([1.0] + [10.0] * 40))  # 10**n, as multiplying makes it


@jit.helper
def equity_now(s: Any) -> float:
    """Cash and positions in the run's currency, at mid, else last; a float, for curves only."""
    total = 0.0
    if s.asset_count > 0:
        total = float(assets_at(s.assets, s.asset_count)[0].cash) / 1e8
    if s.asset_count > 1:
        total += others_now(s)
    for i in range(s.instrument_count):
        instrument = instruments_at(s.instruments, s.instrument_count)[i]
        if instrument.position != 0 and instrument.asset == 0:
            total += float(instrument.position) * mark_now(s, i) / _SCALES[instrument.decimals]
        if instrument.fee_base != 0 and instrument.asset == 0:
            total -= float(instrument.fee_base) / 1e8 * unit_price(s, i)
    return total


@jit.helper
def mark_now(s: Any, index: int) -> float:
    """Mid, else the last price, as a float of the mantissa."""
    bid = best_price(s, index, 1)
    ask = best_price(s, index, -1)
    if bid > 0 and ask > 0:
        return (float(bid) + float(ask)) / 2.0
    return float(seen_market_of(s, index).last_price)


@jit.helper
def unit_price(s: Any, index: int) -> float:
    """The same as a price of one base unit."""
    decimals = instruments_at(s.instruments, s.instrument_count)[index].price_decimals
    return float(mark_now(s, index) / _SCALES[decimals])


@jit.helper
def others_now(s: Any) -> float:
    """What assets besides the run's currency, of which fees were charged, are worth in it."""
    total = 0.0
    assets = assets_at(s.assets, s.asset_count)
    for i in range(1, s.asset_count):
        if assets[i].cash != 0 and assets[i].priced_by > 0:
            total += float(assets[i].cash) / 1e8 * unit_price(s, assets[i].priced_by - 1)
    return total


_sample = jit.function_at(2)


@jit.inlined
def sample_equity(s: Any, ts: int) -> None:
    """Call `take_sample` where it stands."""
    _sample(s.run_sample, s.here, ts)


@jit.operation("int64(int64,int64)")
def take_sample(state: int, ts: int) -> int:
    """Note the equity as it stood before a message of time `ts`, once per sampling interval."""
    s = state_at(state, 1)[0]
    entry = equity_at(s.equity, s.equity_capacity)[s.equity_count]
    s.equity_count += 1
    entry.ts = s.next_sample
    entry.equity = equity_now(s)
    if ts - s.next_sample < s.sample_ns:  # where rows are far apart, a division for each would be felt
        s.next_sample += s.sample_ns
    else:
        s.next_sample += ((ts - s.next_sample) // s.sample_ns + 1) * s.sample_ns
    return 0
