"""Indicators: numbers in, one number out, no history read; the same bits interpreted and compiled.

What they have in common, so that a compiled strategy can hold any of them in its record and compile
`update` from the source that Python runs:

- every attribute is an int, a float, a bool, a list of floats whose length never changes, or another
  indicator, and is set in `__init__`;
- `update` takes floats and returns the new `value`: sequential + - * / and sqrt on float64 in a fixed order,
  no exceptions (a division by zero would raise in Python and not in a kernel: it is tested for);
- `ready` says that a full window has been seen; before it, `value` is of what there is.

Long runs: no error may collect. Windows never subtract what leaves them (`windows`), averages that decay
forget their errors, and what adds up for ever carries the rounding error of its sum along (`Vwap`).
"""

from engine.market.indicators.averages import Ema, Sma
from engine.market.indicators.flow import Microprice, OrderFlowImbalance, RollingVwap, Vwap, microprice
from engine.market.indicators.oscillators import Macd, Rsi
from engine.market.indicators.volatility import Atr, Bollinger, RealisedVolatility, ZScore
from engine.market.indicators.windows import RollingMax, RollingMin, RollingSum, StandardDeviation

__all__ = [
    "Atr",
    "Bollinger",
    "Ema",
    "Macd",
    "Microprice",
    "OrderFlowImbalance",
    "RealisedVolatility",
    "RollingMax",
    "RollingMin",
    "RollingSum",
    "RollingVwap",
    "Rsi",
    "Sma",
    "StandardDeviation",
    "Vwap",
    "ZScore",
    "microprice",
]
