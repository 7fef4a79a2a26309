"""How much worse than the price in the data a taker fills where the data do not say: slippage.

On trades or bars alone nobody knows what stood in the book, and on quotes nobody knows what stood behind the
best price. The model says how far from the known price such a fill lies: a number of ticks, a share of the
price, or either of them drawn evenly between nothing and that. A price is always moved by whole ticks,
against the order, a share rounded up to them, and never below one tick.

Draws come from a PCG64 stream of their own, begun from the run's seed, one draw a fill: the chance that the
strategy has is the same whatever the model, and so are the draws wherever the input is cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.execution.money import RATE_UNIT
from engine.execution.pcg import following, word_of_state, words_of_seed
from engine.model import jit

STREAM = 1  # beside the seed: the strategy's own stream is that of the seed alone
_FIELDS = ("slippage_high", "slippage_low", "slippage_step_high", "slippage_step_low")
_ZERO, _ONE = np.uint64(0), np.uint64(1)


@jit.helper
def _drawn(s: Any, most: int) -> int:
    """A whole number from 0 to `most`, every one equally likely."""
    span = np.uint64(most) + _ONE
    over = (_ZERO - span) % span  # 2**64 % span
    high, low = np.uint64(s.slippage_high), np.uint64(s.slippage_low)
    step_high, step_low = np.uint64(s.slippage_step_high), np.uint64(s.slippage_step_low)
    while True:
        high, low = following(high, low, step_high, step_low)
        word = word_of_state(high, low)
        if over == _ZERO or word < _ZERO - over:
            break
    s.slippage_high = np.int64(high)
    s.slippage_low = np.int64(low)
    return np.int64(word % span)  # type: ignore[return-value]  # int() would stay unsigned


@jit.helper
def slipped_price(s: Any, instrument: Any, price: int, side: int) -> int:
    """The price (mantissa) that a taker of `side` (+1 buys) fills at where `price` is what is known.

    `instrument` is the INSTRUMENT record. With a drawn slippage this draws: call it once a fill.
    """
    tick = instrument.tick
    amount = s.slippage_rate if s.slippage_rate > 0 else instrument.slippage_ticks
    if s.slippage_drawn != 0:
        amount = _drawn(s, amount)
    ticks = amount
    if s.slippage_rate > 0:
        share = _share_up(price, amount)
        ticks = -(-share // tick)
    return int(max(price + side * ticks * tick, tick))


@jit.inlined
def _share_up(price: int, rate: int) -> int:
    """The smallest whole number that is not less than price * rate / 1e9."""
    # In two parts, so that no product overflows: no rate is above one.
    return int(price // RATE_UNIT * rate - -(price % RATE_UNIT * rate) // RATE_UNIT)


def begin(state: Any, rate: int, seed: int, *, drawn: bool) -> None:
    """Write the model, but for its ticks, into a run's STATE record, and begin the stream of its seed."""
    state["slippage_rate"], state["slippage_drawn"] = rate, drawn
    for name, word in zip(_FIELDS, words_of_seed((seed, STREAM)), strict=True):
        state[name] = word
