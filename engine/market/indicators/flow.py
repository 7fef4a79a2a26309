"""What is traded and what is offered: volume-weighted prices, order flow at the best prices, microprice."""

from __future__ import annotations

from engine.market.indicators.checks import length
from engine.market.indicators.windows import RollingSum


class Vwap:
    """Volume-weighted average price of all trades since the start, or since `reset`.

    Both sums carry the rounding error of their additions beside them (Knuth's two-sum), so that the average
    is as good after 100 million trades as after ten. `ready` once anything has been traded.
    """

    __slots__ = ("notional", "notional_rest", "ready", "value", "volume", "volume_rest")

    def __init__(self) -> None:
        self.notional = 0.0
        self.notional_rest = 0.0
        self.volume = 0.0
        self.volume_rest = 0.0
        self.value = 0.0
        self.ready = False

    def update(self, price: float, size: float) -> float:
        """Take a trade; the average price with it."""
        added = price * size
        before = self.notional
        total = before + added
        part = total - before
        self.notional = total
        self.notional_rest += (before - (total - part)) + (added - part)

        before = self.volume
        total = before + size
        part = total - before
        self.volume = total
        self.volume_rest += (before - (total - part)) + (size - part)

        if self.volume > 0.0:
            self.value = (self.notional + self.notional_rest) / (self.volume + self.volume_rest)
            self.ready = True
        return self.value

    def reset(self) -> None:
        """Begin anew, as at a session's start. `value` stays until the next trade."""
        self.notional = 0.0
        self.notional_rest = 0.0
        self.volume = 0.0
        self.volume_rest = 0.0
        self.ready = False


class RollingVwap:
    """Volume-weighted average price of the last n trades. `ready` from the n-th on."""

    __slots__ = ("notional", "ready", "value", "volume")

    def __init__(self, n: int) -> None:
        self.notional = RollingSum(length("RollingVwap", n))
        self.volume = RollingSum(n)
        self.value = 0.0
        self.ready = False

    def update(self, price: float, size: float) -> float:
        """Take a trade; the average price with it."""
        notional = self.notional.update(price * size)
        volume = self.volume.update(size)
        if volume > 0.0:
            self.value = notional / volume
        self.ready = self.volume.ready
        return self.value


class OrderFlowImbalance:
    """Order flow at the best prices, summed over the last n changes: pressure to buy > 0, to sell < 0.

    Cont, Kukanov and Stoikov, The price impact of order book events (2014). From one state of the best prices
    and sizes to the next,

        event = [bid >= bid before] bid size  - [bid <= bid before] bid size before
              - [ask <= ask before] ask size  + [ask >= ask before] ask size before

    so a better bid counts with its whole size, a worse one with all that was there, the same price with the
    difference; the ask likewise, with the other sign. `event` is the last one, in base units, `value` the
    sum. The first state has nothing to be compared with: `ready` from the n-th event on, update n + 1.
    """

    __slots__ = ("ask", "ask_size", "bid", "bid_size", "count", "event", "events", "ready", "value")

    def __init__(self, n: int) -> None:
        self.events = RollingSum(length("OrderFlowImbalance", n))
        self.bid = 0.0
        self.bid_size = 0.0
        self.ask = 0.0
        self.ask_size = 0.0
        self.event = 0.0
        self.value = 0.0
        self.count = 0
        self.ready = False

    def update(self, bid: float, bid_size: float, ask: float, ask_size: float) -> float:
        """Take the best prices and sizes; the imbalance with them."""
        if self.count > 0:
            event = 0.0
            if bid >= self.bid:
                event += bid_size
            if bid <= self.bid:
                event -= self.bid_size
            if ask <= self.ask:
                event -= ask_size
            if ask >= self.ask:
                event += self.ask_size
            self.event = event
            self.value = self.events.update(event)
            self.ready = self.events.ready
        self.count += 1
        self.bid = bid
        self.bid_size = bid_size
        self.ask = ask
        self.ask_size = ask_size
        return self.value


def microprice(bid: float, bid_size: float, ask: float, ask_size: float) -> float:
    """The mid weighted by size: bid + (ask - bid) * bid size / (bid size + ask size); the mid without sizes.

    The more is bid, the nearer to the ask. This is the weighted mid that goes by that name in practice, not
    the estimator of Stoikov, The micro-price (2018), whose adjustment is fitted to data.
    """
    total = bid_size + ask_size
    if total > 0.0:
        return bid + (ask - bid) * (bid_size / total)
    return bid + (ask - bid) * 0.5


class Microprice:
    """`microprice` as an indicator: keeps the last `value`; `ready` from the first update on."""

    __slots__ = ("ready", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self.ready = False

    def update(self, bid: float, bid_size: float, ask: float, ask_size: float) -> float:
        """Take the best prices and sizes; the microprice of them."""
        total = bid_size + ask_size
        share = 0.5
        if total > 0.0:
            share = bid_size / total
        self.value = bid + (ask - bid) * share
        self.ready = True
        return self.value
