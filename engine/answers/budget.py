"""Budgets for calls: what may be spent in a run and in a day, and who has a claim on it.

A call's cost is known only after it. So the most that it can cost is reserved before, and settled or released
after; what is spent and what is reserved together never pass a limit, however many calls are under way:

    reserve ──► settle    it was answered: what it cost is spent, the rest is free again
            └─► release   it was not made, or certainly not billed: all of it is free again

A call whose end nobody saw (a timeout, a lost connection) is settled at its full reservation: it may be
billed. If a call costs more than was reserved, the truth is written down, and nothing more is reserved.

Amounts are integers of 1e-9 USD. A day is a UTC day; a reservation belongs to the day on which it was made.
No clock, no file: times are arguments, what other runs spent comes in as a value and goes out as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import msgspec

from engine.answers.models import usd
from engine.model.errors import InternalError
from engine.model.units import SECOND_NS

_DAY_NS = 86_400 * SECOND_NS
_EPOCH = date(1970, 1, 1)


class Reservation(msgspec.Struct, frozen=True):
    """A claim on the budget: hand it back with `settle` or `release`, once."""

    number: int
    day: int  # since 1970-01-01 UTC
    nano_usd: int


class Budget:
    """Limits of one run and of its UTC days, nano-USD. Not for several threads."""

    def __init__(self, per_run: int, per_day: int, spent_by_day: Mapping[str, int] | None = None) -> None:
        """`spent_by_day`: what others, earlier runs or such beside this one, took: ISO dates to nano-USD."""
        self.per_run = per_run
        self.per_day = per_day
        self.spent = 0  # in this run
        self.reserved = 0
        self._elsewhere_on: dict[int, int] = {}
        self._spent_on: dict[int, int] = {}
        self._reserved_on: dict[int, int] = {}
        self._open: dict[int, Reservation] = {}
        self._count = 0
        self.heed(spent_by_day or {})

    def heed(self, spent_by_day: Mapping[str, int]) -> None:
        """What others took is now this, in place of what it was."""
        self._elsewhere_on = {day_of(day): nano_usd for day, nano_usd in spent_by_day.items()}

    def reserve(self, nano_usd: int, now_ns: int) -> Reservation | None:
        """A claim on that much, or None where a limit would be passed; `objection` says which."""
        if nano_usd < 0:
            raise InternalError(f"a reservation of {nano_usd} nano-USD")
        if self.objection(nano_usd, now_ns):
            return None
        self._count += 1
        reservation = Reservation(self._count, now_ns // _DAY_NS, nano_usd)
        self._open[reservation.number] = reservation
        self.reserved += nano_usd
        self._reserved_on[reservation.day] = self._reserved_on.get(reservation.day, 0) + nano_usd
        return reservation

    def objection(self, nano_usd: int, now_ns: int) -> str:
        """Why so much cannot be reserved now; "" where it can."""
        for limit, taken, name in (
            (self.per_run, self.spent + self.reserved, "run"),
            (self.per_day, self.taken_on(now_ns), "day"),
        ):
            if taken + nano_usd > limit:
                return (
                    f"the budget of this {name} is {usd(limit)}, {usd(taken)} of it are spent or reserved, "
                    f"and the call may cost {usd(nano_usd)}"
                )
        return ""

    def settle(self, reservation: Reservation, cost_nano_usd: int) -> None:
        """The call is over and cost that much. Raises InternalError for a claim that is not open."""
        self._take_back(reservation)
        if cost_nano_usd < 0:
            raise InternalError(f"a call that cost {cost_nano_usd} nano-USD")
        self.spent += cost_nano_usd
        self._spent_on[reservation.day] = self._spent_on.get(reservation.day, 0) + cost_nano_usd

    def release(self, reservation: Reservation) -> None:
        """The call was not made, or is not billed. Raises InternalError for a claim that is not open."""
        self._take_back(reservation)

    def taken_on(self, now_ns: int) -> int:
        """Spent and reserved on the UTC day of a time, by others as well."""
        day = now_ns // _DAY_NS
        return self._own_on(day) + self._elsewhere_on.get(day, 0)

    def by_day(self) -> dict[str, int]:
        """What the next run has to take as spent, by others as well: ISO dates to nano-USD, in order.

        Open reservations count as spent: whoever is killed now never learns what they cost.
        """
        return self._listed({*self._elsewhere_on, *self._days()}, elsewhere=True)

    def own_by_day(self) -> dict[str, int]:
        """The same of this run alone."""
        return self._listed(self._days(), elsewhere=False)

    def _listed(self, days: set[int], *, elsewhere: bool) -> dict[str, int]:
        return {
            iso_of(day): self._own_on(day) + (self._elsewhere_on.get(day, 0) if elsewhere else 0)
            for day in sorted(days)
        }

    def _days(self) -> set[int]:
        return {*self._spent_on, *(day for day, amount in self._reserved_on.items() if amount)}

    def _own_on(self, day: int) -> int:
        return self._spent_on.get(day, 0) + self._reserved_on.get(day, 0)

    def _take_back(self, reservation: Reservation) -> None:
        if self._open.pop(reservation.number, None) != reservation:
            raise InternalError(f"reservation {reservation.number} was settled or released before")
        self.reserved -= reservation.nano_usd
        self._reserved_on[reservation.day] -= reservation.nano_usd


def day_of(iso: str) -> int:
    """Days since 1970-01-01 of an ISO date."""
    return (datetime.fromisoformat(iso).replace(tzinfo=UTC).date() - _EPOCH).days


def iso_of(day: int) -> str:
    """The ISO date of a day that is counted from 1970-01-01."""
    return (_EPOCH + timedelta(days=day)).isoformat()


def today(now_ns: int) -> str:
    """The ISO date of the UTC day of a time."""
    return iso_of(now_ns // _DAY_NS)
