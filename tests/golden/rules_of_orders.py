"""hftbacktest's rules for orders of every form, as a program: the other half of tests/golden/rules.py.

Carries out a list of requests: any number of own orders, limits that rest, cross, or must not, market orders,
cancels and changes. Books and queue positions are those of rules.py. Written to be read, a dictionary an
order; it needs a third of a second for W3's first minute.

What a change to a larger size does (the former size is filled) is not in it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from tests.golden.fills import Fills, Requests, Rows
from tests.golden.rules import (
    DEPTH,
    HIGHEST,
    INTERVAL_NS,
    LOWEST,
    MODELS,
    NEVER,
    Floats,
    Ints,
    Venue,
    is_reached,
    market_of_rows,
    resized,
    update,
)

NEW, CANCEL, CHANGE = range(3)
GOOD_TILL_CANCELLED, POST_ONLY, FILL_OR_KILL, IMMEDIATE_OR_CANCEL = range(4)


@dataclass
class Request:
    """What the strategy asks for."""

    action: int
    order: int
    side: int  # 0 bid, 1 ask
    is_market: bool
    lasting: int
    tick: int
    lots: int


@dataclass
class Resting:
    """An own order in the exchange's book."""

    side: int
    tick: int
    lots: int
    front: float
    traded: float = 0.0


class Exchange:
    """Its book, our orders in it, and the reports it sends."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.sizes: Floats = np.zeros((2, HIGHEST - LOWEST + 1))
        self.best: Ints = np.zeros(2, np.int64)
        self.own: dict[int, Resting] = {}
        self.reports: deque[tuple[int, int, bool]] = deque()  # when, order, whether it works from now on
        self.fills: list[tuple[int, ...]] = []

    def report(self, now: int, order: int, *, works: bool) -> None:
        """Tell the strategy, which hears it later."""
        self.reports.append((now + self.venue.response_ns, order, works))

    def fill(self, now: int, order: int, side: int, tick: int, lots: int, *, maker: bool) -> None:
        """All of the order at one price."""
        told = now + self.venue.response_ns
        self.fills.append((told, now, order, 1 - 2 * side, tick, lots, int(maker)))
        self.report(now, order, works=False)

    def fill_resting(self, now: int, orders: list[int]) -> None:
        """At their own limits."""
        for order in orders:
            mine = self.own.pop(order)
            self.fill(now, order, mine.side, mine.tick, mine.lots, maker=True)

    def depth(self, now: int, side: int, tick: int, size: float) -> None:
        """A level changes: queues at it move, and a best that improved fills what it meets."""
        best_before = int(self.best[side])
        before = update(self.sizes, self.best, side, tick, size)
        for mine in self.own.values():
            if mine.side == side and mine.tick == tick:
                mine.front = resized(self.venue, mine.front, mine.traded, before, size)
                mine.traded = 0.0
        best, toward = int(self.best[side]), 1 - 2 * side
        if best and (best_before == 0 or (best - best_before) * toward > 0):
            met = [
                o for o, mine in self.own.items() if mine.side != side and (mine.tick - best) * toward <= 0
            ]
            self.fill_resting(now, met)

    def trade(self, now: int, side: int, tick: int, size: float) -> None:
        """Against our orders of this side: better ones fill, those at the price each see the whole size."""
        toward, met = 1 - 2 * side, []
        for order, mine in self.own.items():
            if mine.side != side:
                continue
            if mine.tick == tick:
                mine.front -= size
                mine.traded += size
            if (mine.tick - tick) * toward > 0 or (mine.tick == tick and is_reached(mine.front)):
                met.append(order)
        self.fill_resting(now, met)

    def handle(self, now: int, request: Request) -> None:
        """A request arrives."""
        order = request.order
        if request.action == NEW:
            self.enter(now, request)
        elif order not in self.own:
            self.reports.append((now + self.venue.response_ns, 0, False))  # refused, which changes nothing
        elif request.action == CANCEL:
            del self.own[order]
            self.report(now, order, works=False)
        elif request.tick == self.own[order].tick and request.lots <= self.own[order].lots:
            self.own[order].lots = request.lots
            self.report(now, order, works=True)
        else:
            del self.own[order]
            self.enter(now, request)

    def enter(self, now: int, request: Request) -> None:
        """As a new order: it takes all at the other side's best, expires, or rests at the back."""
        side, tick, other = request.side, request.tick, int(self.best[1 - request.side])
        crosses = other != 0 and (tick - other) * (1 - 2 * side) >= 0
        if request.is_market or (crosses and request.lasting != POST_ONLY):
            self.fill(now, request.order, side, other, request.lots, maker=False)
        elif crosses or request.lasting in {FILL_OR_KILL, IMMEDIATE_OR_CANCEL}:
            self.report(now, request.order, works=False)
        else:
            displayed = float(self.sizes[side, tick - LOWEST])
            self.own[request.order] = Resting(side, tick, request.lots, displayed)
            self.report(now, request.order, works=True)


def fills_of_requests(rows: Rows, requests: Requests, queue: str, latency_ns: int) -> Fills:
    """Every fill, ordered by report, venue's time and number."""
    market = market_of_rows(rows)
    model, power = MODELS[queue]
    exchange = Exchange(Venue(model, power, latency_ns, latency_ns))
    arriving: deque[tuple[int, Request]] = deque()
    lasting_of: dict[int, int] = {}
    works: dict[int, bool] = {}
    exch_ts, local_ts = (times.tolist() for times in (market.exch_ts, market.local_ts))
    columns = (market.kind.tolist(), market.side.tolist(), market.tick.tolist(), market.size.tolist())
    waiting = deque(zip(*(column.tolist() for column in requests), strict=True))
    row = heard = decisions = 0
    decision = min(exch_ts[0], local_ts[0]) + INTERVAL_NS
    while True:
        # Rows reach the strategy too, but what it does here does not depend on them; they only keep time.
        feed = local_ts[heard] if heard < len(local_ts) else NEVER
        report = exchange.reports[0][0] if exchange.reports else NEVER
        data = exch_ts[row] if row < len(exch_ts) else NEVER
        request = arriving[0][0] if arriving else NEVER
        now = min(feed, report, data, request)
        if now == NEVER:
            break
        if now > decision:
            decisions += 1
            while waiting and waiting[0][0] == decisions:
                _, action, order, side, kind, lasting, tick, lots = waiting.popleft()
                if action == NEW:
                    lasting_of[order] = lasting
                elif not works.get(order, False):
                    continue
                works[order] = False
                asked = Request(action, order, (1 - side) // 2, kind == 1, lasting_of[order], tick, lots)
                arriving.append((decision + latency_ns, asked))
            decision += INTERVAL_NS
        elif now == feed:
            heard += 1
        elif now == report:
            _, order, working = exchange.reports.popleft()
            works[order] = working
        elif now == data:
            kind, side, tick, size = (column[row] for column in columns)
            (exchange.depth if kind == DEPTH else exchange.trade)(now, side, tick, size)
            row += 1
        else:
            exchange.handle(now, arriving.popleft()[1])
    told, done, order, side, tick, lots, maker = (
        np.array(column, np.int64) for column in zip(*sorted(exchange.fills), strict=True)
    )
    return Fills(done, told, side, tick, lots, order, maker)
