"""What can be read off a run's equity: how deep it fell, and how steady it rose.

The equity is sampled on the loop's clock, once a second. The drawdown is that of the samples, and the Sharpe
ratio that of one-minute simple returns, annualised over 365 days without a risk-free rate. A curve that is
too short or flat has no Sharpe ratio.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt

from engine.model.units import SECOND_NS

MINUTE_NS = 60 * SECOND_NS
MINUTES_PER_YEAR = 365 * 24 * 60
LEAST_RETURNS = 10
SHARPE_SAMPLING = "one-minute returns, annualised over 365 days"
DRAWDOWN_SAMPLING = "one-second equity"

Times = npt.NDArray[np.int64]  # ns
Curve = npt.NDArray[np.float64]  # equity, in the run's currency


def drawdown_of(curve: Curve) -> tuple[float, float]:
    """The deepest fall from a peak in money, and the deepest as a share of its peak, percent."""
    if len(curve) < 2:
        return 0.0, 0.0
    peak = np.maximum.accumulate(curve)
    fall = peak - curve
    deepest = int(np.argmax(fall))
    percent = 100.0 * float(np.max(np.divide(fall, peak, out=np.zeros_like(fall), where=peak > 0)))
    return float(fall[deepest]), percent


def sharpe_of(times: Times, curve: Curve) -> tuple[float | None, int]:
    """The ratio, and from how many returns; of whole minutes, the first from the run's beginning."""
    minutes = times // MINUTE_NS
    whole = np.arange(minutes[0], minutes[-1])  # the minute that the run ended in is not whole
    closing = np.searchsorted(minutes, whole, side="right") - 1
    # A minute without a sample has the equity of the one before: its return is zero, and counts.
    equity = np.concatenate([curve[:1], curve[closing]])
    if len(whole) < LEAST_RETURNS or (equity[:-1] <= 0).any():
        return None, len(whole)
    returns = np.diff(equity) / equity[:-1]
    deviation = float(returns.std(ddof=1))
    if deviation == 0.0:
        return None, len(whole)
    return float(returns.mean()) / deviation * sqrt(MINUTES_PER_YEAR), len(whole)
