"""The twin's account at the venue: what fills cost, what open orders hold back, what is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.reference import money

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.model.instruments import Instrument
    from tests.reference.orders import Order


@dataclass
class Execution:
    """The numbers of one fill."""

    price: int
    size: int
    notional: int
    fee: int
    maker: bool
    asset: str = "quote"  # of the fee, or "base"

    @property
    def in_quote(self) -> int:
        """The fee, as far as the quote currency pays it."""
        return self.fee if self.asset == "quote" else 0


@dataclass
class Purse:
    """One asset's cash at the venue."""

    cash: int = 0
    locked: int = 0


class Accounts:
    """Cash and positions as the venue has them."""

    if TYPE_CHECKING:
        config: RunConfig
        cash_account: bool
        instruments: list[Instrument]
        purses: list[Purse]
        positions: list[int]
        base_fees: list[int]

    def _rate(self, *, maker: bool) -> int:
        return self.config.fees.maker if maker else self.config.fees.taker

    def execution(self, order: Order, price: int, size: int, *, maker: bool) -> Execution:
        """What a fill moves; DoesNotFitError when it cannot be counted."""
        who = self.instruments[order.instrument]
        amount = money.notional(price, size, who.price_decimals + who.size_decimals)
        rate = self._rate(maker=maker)
        fee, asset = money.charge(self.config.fees, rate, who, amount, size, order.side)
        return Execution(price, size, amount, fee, maker, asset)

    def cost(self, order: Order, price: int, size: int) -> int:
        """What `size` may cost at a price: notional and the dearer of the two fees."""
        who = self.instruments[order.instrument]
        amount = money.notional(price, size, who.price_decimals + who.size_decimals)
        dearer = max(self.config.fees.maker, self.config.fees.taker, 0)
        fee, asset = money.charge(self.config.fees, dearer, who, amount, size, 1)
        return amount + (fee if asset == "quote" else 0)

    def lock(self, order: Order, size: int) -> int:
        """What a waiting buy of `size` holds back, at its limit or stop; a pair's second nothing."""
        if not self.cash_account or order.side < 0 or order.is_second:
            return 0
        return self.cost(order, order.price or order.stop, size)

    def hold(self, order: Order) -> bool:
        """Lock what the order may cost; whether it is there."""
        lock = self.lock(order, order.open)
        if lock and lock > self.free(order):
            return False
        order.venue_lock = lock
        self.purses[order.instrument].locked += lock
        return True

    def hold_at_most(self, order: Order) -> None:
        """Give back what the order holds and cannot cost any more."""
        if order.venue_lock:
            keep = min(order.venue_lock, self.cost(order, order.price or order.stop, order.open))
            self.purses[order.instrument].locked -= order.venue_lock - keep
            order.venue_lock = keep

    def release(self, order: Order) -> None:
        """It holds nothing back any more."""
        self.purses[order.instrument].locked -= order.venue_lock
        order.venue_lock = 0

    def free(self, order: Order) -> int:
        """Cash that nothing holds back."""
        purse = self.purses[order.instrument]
        return purse.cash - purse.locked

    def owned(self, order: Order) -> int:
        """What of the position no fee has taken."""
        index = order.instrument
        return money.owned(self.positions[index], self.base_fees[index], self.instruments[index])

    def lacks(self, order: Order, what: Execution) -> bool:
        """Whether a sale brings less than its fee, and there is not as much besides."""
        return what.in_quote - what.notional > max(0, self.free(order))
