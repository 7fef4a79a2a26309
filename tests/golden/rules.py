"""hftbacktest's rules in our own words, as a program: what the golden fills are explained by.

The market maker of W3 against the exchange without partial fills, written down from the rules alone: which of
four kinds of event comes first at one time, what a request meets, what a row of data fills, how a queue
position moves. It has one own order per side, as that market maker has, keeps no account, and knows nothing
of the engine. That it gives every golden fill says that the rules are complete; a fill in which the engine
differs can then be followed here, number by number.

Sizes are floats of the base unit, as there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np
import numpy.typing as npt

from tests.golden.fills import Fills, Rows

Function = TypeVar("Function", bound=Callable[..., Any])
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

INTERVAL_NS = 100_000_000
TICK, LOT, SIZE, SIZE_LOTS, MOST_LOTS = 0.1, 0.001, 0.01, 10, 49  # a position below 0.0499 is at most 49 lots
LOWEST, HIGHEST = 400_000, 800_000  # the ticks that are kept
NEVER = np.iinfo(np.int64).max
CAPACITY = 200_000

DEPTH, TRADE = 1, 2  # kind of a row
BID, ASK = 0, 1  # side of a row: the book's, or the one that was hit

# Queue models.
RISK_AVERSE, POWER, POWER2, POWER3, LOG, LOG2 = range(6)
MODELS = {
    "risk_averse": (RISK_AVERSE, 0.0),
    "power_2": (POWER, 2.0),
    "power_3": (POWER, 3.0),
    "power2_3": (POWER2, 3.0),
    "power3_3": (POWER3, 3.0),
    "log": (LOG, 0.0),
    "log2": (LOG2, 0.0),
}

# What travels: requests one way, reports the other. A parcel is (arrival, what, side, tick, order, exch_ts).
NEW, CANCEL = 0, 1
ACCEPTED, EXPIRED, FILLED, CANCELLED, REFUSED = range(5)
ARRIVAL, WHAT, SIDE_OF, TICK_OF, ORDER, EXCH_TS = range(6)

# State of our last order of a side, as the strategy knows it.
SENT, WORKING, DONE = range(3)


class Market(NamedTuple):
    """Rows of data, in order: their two times, kind, side, tick and size."""

    exch_ts: Ints
    local_ts: Ints
    kind: Ints
    side: Ints
    tick: Ints
    size: Floats


class Venue(NamedTuple):
    """How the venue is simulated."""

    model: int
    power: float
    entry_ns: int
    response_ns: int


def market_of(events: npt.NDArray[Any]) -> Market:
    """The event array that hftbacktest reads; a trade's side becomes that of the orders it hits."""
    flags = events["ev"].astype(np.int64)
    kind = flags & 0xFF
    buy = (flags >> 29) & 1
    side = np.where(kind == DEPTH, 1 - buy, buy)
    tick = np.rint(events["px"] / TICK).astype(np.int64)
    return Market(events["exch_ts"].copy(), events["local_ts"].copy(), kind, side, tick, events["qty"].copy())


def market_of_rows(rows: Rows) -> Market:
    """The same from rows of W3."""
    side = np.where(rows.kind == 0, rows.side - 1, 2 - rows.side)
    return Market(rows.exch_ts, rows.local_ts, rows.kind + 1, side, rows.price_tick, rows.size_lots / 1000.0)


def fills_of(market: Market, queue: str, latency_ns: int) -> Fills:
    """Every fill of the market maker, with this latency of requests and of reports."""
    model, power = MODELS[queue]
    replayed = _replay(market, Venue(model, power, latency_ns, latency_ns))
    exch_ts, local_ts, side, price_tick, size_lots, order = replayed.T
    return Fills(exch_ts, local_ts, side, price_tick, size_lots, order, maker=np.ones_like(order))


def njit(function: Function) -> Function:
    """Compiled; numba's own types know no function that returns a number."""
    compiled: Function = numba.njit(function)
    return compiled


@njit
def probability(model: int, n: float, front: float, back: float) -> float:
    """That what left the level stood behind us; outside 0 to 1, infinite or nan where front is negative."""
    p: float
    if model == POWER:
        p = back**n / (back**n + front**n)
    elif model == POWER2:
        p = back**n / (back + front) ** n
    elif model == POWER3:
        p = 1.0 - (front / (front + back)) ** n
    elif model == LOG:
        p = np.log(1.0 + back) / (np.log(1.0 + back) + np.log(1.0 + front))
    else:
        p = np.log(1.0 + back) / np.log(1.0 + (back + front))
    return p


@njit
def least(a: float, b: float) -> float:
    """The smaller; of a number and nan the number."""
    if np.isnan(a):
        return b
    return a if np.isnan(b) or a < b else b


@njit
def resized(venue: Venue, front: float, traded: float, before: float, after: float) -> float:
    """The front after its level changed from `before` to `after`, `traded` of it by trades seen already."""
    if venue.model == RISK_AVERSE:
        return least(front, after)
    change = before - after
    change -= traded
    if change < 0.0:
        return least(front, after)
    back = before - front
    p = probability(venue.model, venue.power, front, back)
    if np.isinf(p):
        p = 1.0
    return least(front - (1.0 - p) * change + least(back - p * change, 0.0), after)


@njit
def is_reached(front: float) -> bool:
    """Whether at least half a lot has gone past us, half being away from zero."""
    return bool(np.floor(-front / LOT + 0.5) >= 1.0)


@njit
def update(sizes: Floats, best: Ints, side: int, tick: int, size: float) -> float:
    """Set a level of a book (`sizes[side, tick]`) and move its best prices; returns what stood there."""
    before: float = sizes[side, tick - LOWEST]
    sizes[side, tick - LOWEST] = size
    away = -1 if side == BID else 1
    if np.rint(size / LOT) == 0:
        if tick == best[side]:
            best[side] = next_level(sizes, side, tick + away)
    elif best[side] == 0 or (tick - best[side]) * away < 0:
        best[side] = tick
        other = best[1 - side]
        if other != 0 and (other - tick) * away >= 0:  # the newer side wins; what it crossed is hidden
            best[1 - side] = next_level(sizes, 1 - side, tick - away)
    return before


@njit
def next_level(sizes: Floats, side: int, tick: int) -> int:
    """The first displayed level of a side from `tick` on, away from the market; 0 where there is none."""
    away = -1 if side == BID else 1
    while LOWEST <= tick <= HIGHEST:
        if sizes[side, tick - LOWEST] > 0.0:
            return tick
        tick += away
    return 0


@njit
def post(bus: Ints, count: int, parcel: tuple[int, int, int, int, int, int]) -> int:
    """Put a parcel at the end of a bus: it never arrives before the one ahead of it."""
    bus[count] = parcel
    if count > 0:
        bus[count, ARRIVAL] = max(bus[count, ARRIVAL], bus[count - 1, ARRIVAL])
    return count + 1


@njit
def _replay(market: Market, venue: Venue) -> Ints:  # noqa: C901, PLR0912, PLR0915  one loop, one branch per kind of event
    """Every fill, in order of report: exch_ts, local_ts, side (1, −1), price_tick, size_lots, order."""
    rows = len(market.kind)
    fills = np.zeros((CAPACITY, 6), np.int64)
    requests, reports = np.zeros((4 * CAPACITY, 6), np.int64), np.zeros((4 * CAPACITY, 6), np.int64)
    sent = taken = reported = read = filled = 0
    here, there = np.zeros((2, HIGHEST - LOWEST + 1)), np.zeros((2, HIGHEST - LOWEST + 1))
    best_here, best_there = np.zeros(2, np.int64), np.zeros(2, np.int64)
    local_row = exch_row = 0
    # Our order at the venue, per side: number (0: none), tick, front, traded since the level changed.
    number, limit, front, traded = np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros(2), np.zeros(2)
    # Our last order of a side, as the strategy knows it.
    last, last_state = np.zeros(2, np.int64), np.full(2, DONE)
    orders = position = 0
    decision = min(market.local_ts[0], market.exch_ts[0]) + INTERVAL_NS
    while True:
        # The next event: the earliest, and at one time in this order.
        now, what = NEVER, -1
        if local_row < rows:
            now, what = market.local_ts[local_row], 0
        if read < reported and reports[read, ARRIVAL] < now:
            now, what = reports[read, ARRIVAL], 1
        if exch_row < rows and market.exch_ts[exch_row] < now:
            now, what = market.exch_ts[exch_row], 2
        if taken < sent and requests[taken, ARRIVAL] < now:
            now, what = requests[taken, ARRIVAL], 3
        if now == NEVER:
            return fills[:filled]
        if now > decision:  # everything at the very time of the decision came before it
            arrival = decision + venue.entry_ns
            for side in range(2):
                if last_state[side] == WORKING:
                    sent = post(requests, sent, (arrival, CANCEL, side, 0, last[side], 0))
            for side in range(2):
                if (position if side == BID else -position) <= MOST_LOTS:
                    orders += 1
                    last[side], last_state[side] = orders, SENT
                    sent = post(requests, sent, (arrival, NEW, side, best_here[side], orders, 0))
            decision += INTERVAL_NS
            continue
        if what == 0:  # a row reaches the strategy
            if market.kind[local_row] == DEPTH:
                side, tick = market.side[local_row], market.tick[local_row]
                update(here, best_here, side, tick, market.size[local_row])
            local_row += 1
        elif what == 1:  # a report reaches the strategy
            _, outcome, side, tick, order, exch_ts = reports[read]
            read += 1
            if outcome == FILLED:
                sign = 1 if side == BID else -1
                position += sign * SIZE_LOTS
                fills[filled] = (exch_ts, now, sign, tick, SIZE_LOTS, order)
                filled += 1
            if last[side] == order:
                last_state[side] = WORKING if outcome == ACCEPTED else DONE
        elif what == 2:  # a row reaches the venue
            side, tick, size = market.side[exch_row], market.tick[exch_row], market.size[exch_row]
            toward = 1 if side == BID else -1  # away from the market is further down for a bid
            met = -1  # the side of ours that this row fills
            if market.kind[exch_row] == DEPTH:
                best_before = best_there[side]
                before = update(there, best_there, side, tick, size)
                if number[side] and limit[side] == tick:
                    front[side] = resized(venue, front[side], traded[side], before, size)
                    traded[side] = 0.0
                best, other = best_there[side], 1 - side
                improved = best != 0 and (best_before == 0 or (best - best_before) * toward > 0)
                if improved and number[other] and (limit[other] - best) * toward <= 0:
                    met = other
            elif number[side]:  # a trade against this side: through our limit, or at it
                if (limit[side] - tick) * toward > 0:
                    met = side
                elif limit[side] == tick:
                    front[side] -= size
                    traded[side] += size
                    met = side if is_reached(front[side]) else -1
            if met >= 0:
                parcel = (now + venue.response_ns, FILLED, met, limit[met], number[met], now)
                reported = post(reports, reported, parcel)
                number[met] = 0
            exch_row += 1
        else:  # a request reaches the venue
            _, wish, side, tick, order, _ = requests[taken]
            taken += 1
            other, toward = best_there[1 - side], 1 if side == BID else -1
            if wish == CANCEL:
                outcome = CANCELLED if number[side] == order else REFUSED
                if outcome == CANCELLED:
                    number[side] = 0
            elif other != 0 and (tick - other) * toward >= 0:
                outcome = EXPIRED  # post-only, and would have matched
            else:
                assert number[side] == 0, "two own orders of one side"
                outcome = ACCEPTED
                number[side], limit[side] = order, tick
                front[side], traded[side] = there[side, tick - LOWEST], 0.0
            parcel = (now + venue.response_ns, outcome, side, tick, order, now)
            reported = post(reports, reported, parcel)
