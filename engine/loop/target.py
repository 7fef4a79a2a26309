"""`ctx.target`: a wished-for position, pursued with one order at a time.

It compares the wish with the position and its own unfilled target order, cancels when the wish has changed,
waits until that is final, then sends one order for the rest. A target whose order was refused, rejected or
ended by the venue is not tried again before a second of loop time has passed or another size is asked for;
one whose order the strategy itself cancelled, not before it is asked for again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.execution.orders import OrderKind, Reason, TimeInForce
from engine.loop.increments import to_increments
from engine.model.instruments import Instrument
from engine.model.units import SECOND_NS

if TYPE_CHECKING:
    from engine.loop.context import LoopContext

RETRY_NS = SECOND_NS
_MARKET, _LIMIT = int(OrderKind.MARKET), int(OrderKind.LIMIT)


class Wish:
    """What is wanted of one instrument, and the order that is out for it."""

    __slots__ = ("changing", "due", "failed_at", "order", "price", "settled", "size", "unfit", "unfit_at")

    def __init__(self) -> None:
        self.size: int | None = None
        self.price: int = 0
        self.order = 0  # number of the target order that is out, 0: none
        self.settled: tuple[float, float | None] | None = None  # asked for, and nothing left to do
        self.failed_at: int | None = None
        self.changing = False  # its order is being cancelled because the wish has changed
        self.due = False  # its order has ended, and the wish is to be looked at again
        self.unfit: tuple[float, float | None] | None = None  # asked for, off the increments
        self.unfit_at = 0


class Targets:
    """The wishes of one run."""

    def __init__(self, context: LoopContext) -> None:
        self._context = context
        self._wishes: dict[Instrument, Wish] = {}

    def aim(self, instrument: Instrument | str, size: float, price: float | None = None) -> None:
        """Bring the position to `size`; cheap when nothing has changed since it was asked last."""
        wish = self._wishes.get(instrument)  # type: ignore[arg-type]  # a str is not in it
        if wish is not None and wish.settled == (size, price):
            return
        self._retarget(self._context.resolve(instrument), size, price)

    def _retarget(self, instrument: Instrument, size: float, price: float | None) -> None:
        wish = self._wishes.get(instrument)
        if wish is None:
            wish = self._wishes[instrument] = Wish()
        lots, problem = to_increments(abs(size), instrument.lot, instrument.size_decimals)
        mantissa = 0
        if price is not None and not problem:
            mantissa, problem = to_increments(price, instrument.tick, instrument.price_decimals)
        if problem:
            # The order call words the refusal, journals and delivers it.
            if wish.unfit != (size, price) or self._context.now >= wish.unfit_at + RETRY_NS:
                wish.unfit, wish.unfit_at = (size, price), self._context.now
                self._context.order(instrument, size, price, "gtc", post_only=False, reduce_only=False)
            return
        wanted = lots if size >= 0 else -lots
        if (wish.size, wish.price) != (wanted, mantissa):
            wish.size, wish.price, wish.failed_at = wanted, mantissa, None
        if self._pursue(instrument, wish):
            wish.settled = (size, price)

    def _pursue(self, instrument: Instrument, wish: Wish) -> bool:
        """Do what the wish needs now; True when asking again cannot change anything until a report."""
        if wish.size is None:
            return True
        memory = self._context.memory
        position = memory.of_instrument(instrument.index, "position")
        live = self._context.live.get(wish.order)
        if live is None:
            wish.order = 0
            rest = wish.size - position
            if abs(rest) < max(instrument.lot, instrument.min_size):
                return True
            if wish.failed_at is not None and self._context.now < wish.failed_at + RETRY_NS:
                return False
            side = 1 if rest > 0 else -1
            kind = _LIMIT if wish.price else _MARKET
            tif = int(TimeInForce.GTC if wish.price else TimeInForce.IOC)
            wish.changing = False
            wish.order = self._context.send(instrument, side, abs(rest), wish.price, kind, tif, 0)
            return True
        pending = live.side * (live.size - live.filled)
        same = abs(position + pending - wish.size) < instrument.lot and live.price == wish.price
        if not same:
            wish.changing = True
            self._context.cancel(live.number)  # nothing, when a cancel is on its way already
        return True

    def redefine(self, instrument: Instrument, price: int, size: int) -> None:
        """Count a wish in the increments of a new definition."""
        wish = self._wishes.get(instrument)
        if wish is not None:
            wish.price *= price
            wish.size = None if wish.size is None else wish.size * size
            wish.settled = None

    def heard(self, number: int, instrument: Instrument, *, filled: bool, reason: int) -> None:
        """A report is coming to the handlers: what was settled may not be any more, and a failure counts."""
        wish = self._wishes.get(instrument)
        if wish is None:
            return
        wish.settled = None
        if number != wish.order or number in self._context.live:
            return
        wish.order = 0
        if wish.changing or filled:
            wish.changing, wish.due = False, True
        elif reason != Reason.REQUESTED:
            wish.failed_at = self._context.now

    def after_report(self, instrument: Instrument) -> None:
        """The handlers have had their say: send for the rest, where the end of an order left one."""
        wish = self._wishes.get(instrument)
        if wish is not None and wish.due:
            wish.due = False
            wish.settled = None
            if not self._context.stopped:
                self._pursue(instrument, wish)
