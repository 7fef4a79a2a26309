"""A limit order book with an exact queue, from a seed: what it sends, and the truth about orders of ours.

Buyers and sellers come, wait, cancel a part or all, ask for more, move, and are hit, first come first served.
Every change is sent as rows by order. An order of ours is a `Phantom` in it: it has a place in the queue of
its price and takes nothing from anybody, since what is recorded happened without it. Its fills are those that
the queue would have given: of what comes to its price or beyond, all that exceeds the displayed orders
before it.

Bids stay below MID and asks above it, so that the sides never meet and every fill is by queue or through.
Nothing here knows of the engine but the form of a row.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from engine.model.kinds import Flag, Kind
from engine.model.units import NULL_TIME
from tests.helpers.logs import START, Message, Row

MID = 100
FAR = 50
_ID_STEP = 1_000_003
STYLES = ("a message an order hit", "a message a taker", "trades first", "book first")
STEP_NS = 1_000_000


@dataclass(eq=False)
class Waiting:
    """A displayed order."""

    id: int
    side: int
    price: int
    size: int


@dataclass(eq=False)
class Phantom:
    """An order of ours: after event `after` it joined its price."""

    number: int
    side: int
    price: int
    size: int
    after: int
    filled: int = 0
    fronts: dict[int, int] = field(default_factory=dict)  # after each event, while it waits
    fills: list[tuple[int, int]] = field(default_factory=list)  # event, size

    @property
    def open(self) -> int:
        """What is not filled."""
        return self.size - self.filled


class OrderFlow:
    """Events one after the other; `messages` is what was sent, `ends` when each event's last one was."""

    def __init__(self, seed: int, style: str = STYLES[0], *, stamped: bool = True) -> None:
        self.chance = random.Random(seed)
        self.style = style
        self.stamped = stamped
        self.queues: dict[tuple[int, int], list[Waiting | Phantom]] = {}
        self.orders: dict[int, Waiting] = {}
        self.phantoms: list[Phantom] = []
        self.messages: list[Message] = []
        self.ends: list[int] = []
        self.ts = START
        self.anchors: set[int] = set()
        self._ids = 0

    # --- the market ---

    def opening(self) -> None:
        """The first event: a snapshot of a full book."""
        rows = []
        for _ in range(20):
            side = self.chance.choice((1, -1))
            rows.append(self._put(side, self._price(side), self._size(), Flag.SNAPSHOT))
        for side in (1, -1):  # far away, so that a snapshot covers all prices that matter
            rows.append(self._put(side, MID - side * FAR, 1, Flag.SNAPSHOT))
            self.anchors.add(self._ids * _ID_STEP)
        rows[0] = Row(**{**vars(rows[0]), "flags": rows[0].flags | Flag.CLEAR})
        self._send(rows)
        self._end()

    def event(self) -> None:
        """Somebody does something."""
        chance = self.chance
        dice = chance.random()
        if dice < 0.36 or len(self.orders) < 8:
            side = chance.choice((1, -1))
            self._send([self._put(side, self._price(side), self._size())])
        elif dice < 0.66:
            self._hit(chance.choice((1, -1)), chance.randrange(1, 30))
        else:
            order = self.orders[chance.choice(sorted(self.orders.keys() - self.anchors))]
            if dice < 0.78:
                self._send([self._leave(order)])
            elif dice < 0.88:
                order.size -= chance.randrange(0, order.size)
                self._send([self._row(order)])
            elif dice < 0.94:
                self._again(order, order.price, order.size + chance.randrange(1, 9))
            else:
                self._again(order, self._price(order.side), max(1, order.size - chance.randrange(0, 3)))
        if chance.random() < 0.02:
            self._picture()
        self._end()

    def join(self, side: int, price: int, size: int) -> Phantom:
        """An order of ours comes to the back of a price, after the last event; one a side at a time."""
        assert not any(p.open and p.side == side for p in self.phantoms)
        phantom = Phantom(len(self.phantoms) + 1, side, price, size, len(self.ends) - 1)
        self.phantoms.append(phantom)
        self.queues.setdefault((side, price), []).append(phantom)
        return phantom

    def prices(self, side: int) -> list[int]:
        """Displayed prices of a side, best first."""
        shown = {o.price for o in self.orders.values() if o.side == side and o.id not in self.anchors}
        return sorted(shown, key=lambda price: -price * side)

    def _hit(self, side: int, size: int) -> None:  # noqa: C901, PLR0912  one branch a style
        """A taker sells to the bids (side 1), or buys from the asks, until it has enough."""
        hits: list[tuple[Waiting, int]] = []
        left = size
        for price in self.prices(side):
            queue = [o for o in self.queues[side, price] if isinstance(o, Waiting)]
            for order in queue:
                part = min(left, order.size)
                if part:
                    hits.append((order, part))
                    left -= part
        total = sum(part for _, part in hits)
        for phantom in self.phantoms:
            if phantom.side == side and phantom.open:
                self._fill(phantom, hits)
        trades, rows = [], []
        for order, part in hits:
            trades.append(Row(Kind.TRADE, self._stamp(), 1, 0, 0, 1, -side, order.price, part, id=order.id))
            if part == order.size:
                rows.append(self._leave(order))
            else:
                order.size -= part
                rows.append(self._row(order))
        assert total <= size
        if self.style == STYLES[0]:
            for trade, row in zip(trades, rows, strict=True):
                self._send([trade, row])
        elif self.style == STYLES[1]:
            self._send([*trades, *rows])
        else:
            for row in [*trades, *rows] if self.style == STYLES[2] else [*rows, *trades]:
                self._send([row])

    def _fill(self, phantom: Phantom, hits: list[tuple[Waiting, int]]) -> None:
        """What of a taker's orders the queue would have given to us: reached is what came to our price."""
        mine = phantom.price * phantom.side
        reached = sum(part for order, part in hits if order.price * order.side <= mine)
        part = min(phantom.open, max(0, reached - self.front(phantom)))
        if part:
            phantom.filled += part
            phantom.fills.append((len(self.ends), part))

    def front(self, phantom: Phantom) -> int:
        """What stands before an order of ours."""
        queue = self.queues[phantom.side, phantom.price]
        place = queue.index(phantom)
        return sum(o.size for o in queue[:place] if isinstance(o, Waiting))

    # --- one order ---

    def _price(self, side: int) -> int:
        return MID - side * self.chance.choice((1, 1, 1, 2, 2, 3, 4, 6))

    def _size(self) -> int:
        return self.chance.randrange(1, 13)

    def _put(self, side: int, price: int, size: int, flags: int = 0) -> Row:
        self._ids += 1
        order = Waiting(self._ids * _ID_STEP, side, price, size)
        self.orders[order.id] = order
        self.queues.setdefault((side, price), []).append(order)
        return self._row(order, flags)

    def _leave(self, order: Waiting) -> Row:
        self.queues[order.side, order.price].remove(order)
        del self.orders[order.id]
        gone = Waiting(order.id, order.side, order.price, 0)
        return self._row(gone)

    def _again(self, order: Waiting, price: int, size: int) -> None:
        """An order grows or moves: it has lost its place; within its price and smaller it keeps it."""
        if price != order.price or size > order.size:
            self.queues[order.side, order.price].remove(order)
            order.price = price
            self.queues.setdefault((order.side, price), []).append(order)
        order.size = size
        self._send([self._row(order)])

    def _picture(self) -> None:
        """A snapshot of all there is, in the order of places."""
        rows = []
        for queue in self.queues.values():
            rows += [self._row(o, Flag.SNAPSHOT) for o in queue if isinstance(o, Waiting)]
        rows[0] = Row(**{**vars(rows[0]), "flags": rows[0].flags | Flag.CLEAR})
        self._send(rows)

    # --- what is sent ---

    def _stamp(self) -> int:
        return START + len(self.ends) * STEP_NS if self.stamped else NULL_TIME

    def _row(self, order: Waiting, flags: int = 0) -> Row:
        flags |= Flag.BY_ORDER
        return Row(Kind.BOOK, self._stamp(), 1, 0, flags, 1, order.side, order.price, order.size, id=order.id)

    def _send(self, rows: list[Row]) -> None:
        if rows:
            self.ts += 1
            self.messages.append(Message(self.ts, tuple(rows)))

    def _end(self) -> None:
        for phantom in self.phantoms:
            if phantom.open and self.messages[-1].ts == self.ts:  # a taker of an empty side sends nothing
                phantom.fronts[len(self.ends)] = self.front(phantom)
        self.ends.append(self.ts)
        self.ts = START + len(self.ends) * STEP_NS + 5
