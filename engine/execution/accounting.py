"""From fills to round trips, profit and the figures of a run; exact, in Python integers.

The kernel keeps cash and positions; this keeps what a report needs beside them, and recomputes both, so
that a disagreement is found rather than believed. Money is in units of 10**-MONEY_DECIMALS.

A round trip begins when a position leaves zero and ends when it is zero again or changes sign; a fill
that does both is split in proportion to its size, with its remainders going to the trip that ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.execution.orders import REASON_NAMES, reason_name


@dataclass
class Holding:
    """One instrument's position and the money that moved for it."""

    position: int = 0  # mantissa
    cash: int = 0  # money paid (-) and received (+), fees included
    trip_cash: int = 0  # of the round trip that is open
    fees: int = 0
    turnover: int = 0
    trips_won: int = 0
    trips_lost: int = 0
    trips_even: int = 0

    def apply(self, side: int, size: int, notional: int, fee: int) -> None:
        """Take one fill."""
        change = side * size
        flow = -side * notional - fee
        self.fees += fee
        self.turnover += abs(notional)
        self.cash += flow
        before = self.position
        after = before + change
        self.position = after
        if before == 0 or (before > 0) == (change > 0):
            self.trip_cash += flow
            return
        if (before > 0) == (after > 0) and after != 0:
            self.trip_cash += flow  # reduced, still open
            return
        closing = abs(before)
        opening = size - closing
        opened = flow * opening // size if opening else 0
        self._end_trip(self.trip_cash + flow - opened)
        self.trip_cash = opened

    def _end_trip(self, result: int) -> None:
        if result > 0:
            self.trips_won += 1
        elif result < 0:
            self.trips_lost += 1
        else:
            self.trips_even += 1


@dataclass
class Ledger:
    """What has happened to a run's money and orders."""

    holdings: dict[int, Holding] = field(default_factory=dict)
    fills: int = 0
    orders: int = 0
    fills_by_reason: dict[str, int] = field(default_factory=dict)
    ends_by_reason: dict[str, int] = field(default_factory=dict)

    def fill(self, instrument: int, side: int, size: int, notional: int, fee: int, reason: int) -> None:
        """Take a fill of a run-wide instrument index."""
        holding = self.holdings.get(instrument)
        if holding is None:
            holding = self.holdings[instrument] = Holding()
        holding.apply(side, size, notional, fee)
        self.fills += 1
        name = REASON_NAMES[reason]
        self.fills_by_reason[name] = self.fills_by_reason.get(name, 0) + 1

    def rescale(self, instrument: int, factor: int) -> None:
        """The instrument has gained size decimals."""
        holding = self.holdings.get(instrument)
        if holding is not None:
            holding.position *= factor

    def end(self, state: str, reason: int) -> None:
        """Count an order's end that is no fill: "refused: price_collar"."""
        name = f"{state}: {reason_name(reason)}" if reason else state
        self.ends_by_reason[name] = self.ends_by_reason.get(name, 0) + 1

    @property
    def fees(self) -> int:
        """Fees of all fills."""
        return sum(h.fees for h in self.holdings.values())

    @property
    def turnover(self) -> int:
        """Notional of all fills."""
        return sum(h.turnover for h in self.holdings.values())

    @property
    def round_trips(self) -> int:
        """Finished round trips."""
        return sum(h.trips_won + h.trips_lost + h.trips_even for h in self.holdings.values())

    @property
    def won(self) -> int:
        """Finished round trips that made money after fees."""
        return sum(h.trips_won for h in self.holdings.values())
