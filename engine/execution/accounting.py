"""From decisions to round trips, profit and the figures of a run; exact.

The loop's kernels keep cash and positions; this keeps what a report needs beside them, and recomputes both
from the journal's records, so that a disagreement is found rather than believed. Money is in units of
10**-MONEY_DECIMALS; sums of it are kept in two words, so that none can overflow.

A round trip begins when a position leaves zero and ends when it is zero again or changes sign; a fill
that does both is split in proportion to its size, with its remainders going to the trip that ends. Of a long
position of which fees took a part, the trip ends when no more is left than they took. A trip's money counts
fees in the base asset at the fill's price, and none in a named asset: the journal has no price of it.
Dividends, borrow fees and what a split paid out for a rest belong to the trip that is open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.execution.fees import owned
from engine.execution.journal_kinds import JournalKind
from engine.execution.money import MONEY_DECIMALS, OVERFLOW, divide_wide, multiply_wide, notional_of
from engine.execution.orders import REASON_NAMES, Reason, reason_name
from engine.execution.state import FEE_BASE, FEE_QUOTE, JOURNAL, int64_at, journal_at
from engine.model import jit

_SUMS = (
    "cash",
    "trip_cash",
    "fees",
    "fees_base",
    "fees_named",
    "turnover",
    "borrow_fees",
    "dividends",
    "payouts",
)
HOLDING = np.dtype(
    [(f"{name}_{part}", "<i8") for name in _SUMS for part in ("high", "low")]
    + [(name, "<i8") for name in ("position", "trips_won", "trips_lost", "trips_even", "fills")]
)
_LOW_BITS = 60  # of a sum's low word; the rest is in the high one
_LOW_MASK = 2**_LOW_BITS - 1

_REASONS = max(Reason) + 1
_KINDS = max(JournalKind.NAMES) + 1
_FILL, _CHARGE, _ADJUSTMENT = JournalKind.FILL, JournalKind.CHARGE, JournalKind.ADJUSTMENT
_BORROW_FEE, _DIVIDEND = int(Reason.BORROW_FEE), int(Reason.DIVIDEND)
_ENDS = {
    JournalKind.CANCELLED: "cancelled",
    JournalKind.REJECTED: "rejected",
    JournalKind.EXPIRED: "expired",
    JournalKind.REFUSED: "refused",
}

holdings_at = jit.records_at(HOLDING)


@jit.inlined
def _plus(high: int, low: int, value: int) -> Any:
    """A sum in two words, and a value more."""
    low += value
    return high + (low >> _LOW_BITS), low & _LOW_MASK


@jit.helper
def _share(flow: int, part: int, whole: int) -> int:
    """The floor of flow * part / whole, through 128 bits; 0 <= part < whole."""
    high, low = multiply_wide(np.uint64(abs(flow)), np.uint64(part))
    quotient, remainder = divide_wide(high, low, np.uint64(whole))
    share = np.int64(quotient)
    if flow >= 0:
        return share  # type: ignore[return-value]  # int() would stay unsigned
    return -share - (1 if remainder != np.uint64(0) else 0)  # type: ignore[return-value]  # as above


@jit.helper
def _end_trip(holding: Any, result_high: int, result_low: int) -> None:
    if result_high < 0:
        holding.trips_lost += 1
    elif result_high > 0 or result_low > 0:
        holding.trips_won += 1
    else:
        holding.trips_even += 1


@jit.inlined
def _flat(holding: Any, position: int, size_decimals: int) -> bool:
    """Whether a position is over: nothing is left, or of a long one no more than fees took."""
    if position <= 0:
        return bool(position == 0)
    taken = (holding.fees_base_high << _LOW_BITS) + holding.fees_base_low  # the kernels keep it in one word
    return bool(owned(position, taken, size_decimals) <= 0)


@jit.helper
def apply_fill(
    holding: Any, side: int, size: int, notional: int, fee: int, fee_asset: int, worth: int, decimals: int
) -> None:
    """Take one fill. `worth`: of a fee in the base asset, in money; `decimals`: of the size."""
    change = side * size
    flow = -side * notional
    holding.fills += 1
    was_flat = _flat(holding, holding.position, decimals)
    if fee_asset == FEE_QUOTE:
        flow -= fee
        holding.fees_high, holding.fees_low = _plus(holding.fees_high, holding.fees_low, fee)
    elif fee_asset == FEE_BASE:
        holding.fees_base_high, holding.fees_base_low = _plus(
            holding.fees_base_high, holding.fees_base_low, fee
        )
    else:
        holding.fees_named_high, holding.fees_named_low = _plus(
            holding.fees_named_high, holding.fees_named_low, fee
        )
    holding.turnover_high, holding.turnover_low = _plus(
        holding.turnover_high, holding.turnover_low, abs(notional)
    )
    holding.cash_high, holding.cash_low = _plus(holding.cash_high, holding.cash_low, flow)
    before = holding.position
    after = before + change
    holding.position = after
    flow -= worth
    high, low = _plus(holding.trip_cash_high, holding.trip_cash_low, flow)
    over = _flat(holding, after, decimals)
    if was_flat or (before > 0) == (change > 0) or ((before > 0) == (after > 0) and not over):
        holding.trip_cash_high = high  # begun, added to, or reduced and still open
        holding.trip_cash_low = low
        return
    opening = 0 if over else size - abs(before)
    opened = _share(flow, opening, size) if opening > 0 else 0
    high, low = _plus(high, low, -opened)
    _end_trip(holding, high, low)
    holding.trip_cash_high, holding.trip_cash_low = _plus(0, 0, opened)


@jit.helper
def apply_charge(holding: Any, change: int, fee: int, reason: int, decimals: int) -> None:
    """Take what no order did: `fee` of money taken (-: given), `change` of the position."""
    holding.cash_high, holding.cash_low = _plus(holding.cash_high, holding.cash_low, -fee)
    if reason == _BORROW_FEE:
        holding.borrow_fees_high, holding.borrow_fees_low = _plus(
            holding.borrow_fees_high, holding.borrow_fees_low, fee
        )
    elif reason == _DIVIDEND:
        holding.dividends_high, holding.dividends_low = _plus(
            holding.dividends_high, holding.dividends_low, -fee
        )
    else:
        holding.payouts_high, holding.payouts_low = _plus(holding.payouts_high, holding.payouts_low, -fee)
    was_flat = _flat(holding, holding.position, decimals)
    if was_flat and change == 0:
        return  # of fills that have not been heard of
    holding.position += change
    high, low = _plus(holding.trip_cash_high, holding.trip_cash_low, -fee)
    if not was_flat and _flat(holding, holding.position, decimals):
        _end_trip(holding, high, low)
        high = 0
        low = 0
    holding.trip_cash_high = high
    holding.trip_cash_low = low


@jit.entry("int64(int64,int64,int64,int64,int64)")
def _take(holdings: int, count: int, counts: int, journal: int, records: int) -> int:
    """Take journal records: fills into holdings, all of them into counts by kind and reason."""
    held = holdings_at(holdings, count)
    entries = journal_at(journal, records)
    counted = int64_at(counts, _KINDS * _REASONS)
    for i in range(records):
        entry = entries[i]
        counted[entry.kind * _REASONS + entry.reason] += 1
        if entry.kind == _FILL:
            decimals = int(entry.price_decimals) + int(entry.size_decimals)
            notional = notional_of(entry.price, entry.size, decimals)
            worth = 0
            if entry.fee_asset == FEE_BASE:
                worth = notional_of(entry.price, abs(entry.fee), entry.price_decimals + MONEY_DECIMALS)
                if worth == OVERFLOW:
                    worth = 0
                elif entry.fee < 0:
                    worth = -worth
            apply_fill(
                held[entry.instrument],
                entry.side,
                entry.size,
                notional,
                entry.fee,
                entry.fee_asset,
                worth,
                entry.size_decimals,
            )
        elif entry.kind == _CHARGE or entry.kind == _ADJUSTMENT:
            apply_charge(
                held[entry.instrument],
                entry.side * entry.size if entry.kind == _ADJUSTMENT else 0,
                entry.fee,
                entry.reason,
                entry.size_decimals,
            )
    return 0


class Holding:
    """One instrument's position and the money that moved for it, read from its record."""

    def __init__(self, record: Any) -> None:
        self._record = record

    def _sum(self, name: str) -> int:
        return (int(self._record[f"{name}_high"]) << _LOW_BITS) + int(self._record[f"{name}_low"])

    @property
    def position(self) -> int:
        """Mantissa."""
        return int(self._record["position"])

    @property
    def cash(self) -> int:
        """Money paid (-) and received (+), with fees in the quote currency and charges."""
        return self._sum("cash")

    @property
    def trip_cash(self) -> int:
        """Of the round trip that is open."""
        return self._sum("trip_cash")

    @property
    def fees(self) -> int:
        """Of all fills, those in the quote currency."""
        return self._sum("fees")

    @property
    def fees_base(self) -> int:
        """Fees in the base asset, units of 1e-8."""
        return self._sum("fees_base")

    @property
    def fees_named(self) -> int:
        """Fees in the asset that the configuration names, units of 1e-8."""
        return self._sum("fees_named")

    @property
    def borrow_fees(self) -> int:
        """Paid for units that were borrowed to be sold."""
        return self._sum("borrow_fees")

    @property
    def dividends(self) -> int:
        """Received, less those paid for short positions."""
        return self._sum("dividends")

    @property
    def payouts(self) -> int:
        """Received for what splits left of a lot."""
        return self._sum("payouts")

    @property
    def turnover(self) -> int:
        """Notional of all fills, unsigned."""
        return self._sum("turnover")

    @property
    def trips_won(self) -> int:
        """Finished round trips that made money after fees."""
        return int(self._record["trips_won"])

    @property
    def trips_lost(self) -> int:
        """Finished round trips that lost money after fees."""
        return int(self._record["trips_lost"])

    @property
    def trips_even(self) -> int:
        """Finished round trips that did neither."""
        return int(self._record["trips_even"])


class Ledger:
    """What has happened to a run's money and orders."""

    def __init__(self) -> None:
        self._holdings = np.zeros(0, HOLDING)
        self._counts = np.zeros((_KINDS, _REASONS), np.int64)

    def take(self, records: npt.NDArray[np.void]) -> None:
        """Take journal records, in order."""
        if not len(records):
            return
        assert records.dtype == JOURNAL
        most = int(records["instrument"].max())
        if most >= len(self._holdings):
            more = np.zeros(most + 1 - len(self._holdings), HOLDING)
            self._holdings = np.append(self._holdings, more)
        records = np.ascontiguousarray(records)
        _take(
            self._holdings.ctypes.data,
            len(self._holdings),
            self._counts.ctypes.data,
            records.ctypes.data,
            len(records),
        )

    def kept(self, keys: Sequence[str]) -> dict[str, Any]:
        """All of it as plain values; `keys` are those of the instruments."""
        names = HOLDING.names or ()
        held = {
            keys[i]: dict(zip(names, record, strict=True))
            for i, record in enumerate(self._holdings.tolist())
            if any(record)
        }
        places = np.argwhere(self._counts)
        counts = [[*place, int(self._counts[tuple(place)])] for place in places.tolist()]
        return {"holdings": held, "counts": counts}

    def put_back(self, kept: dict[str, Any], keys: Sequence[str]) -> None:
        """Take what `kept` gave in another process."""
        self._holdings = np.zeros(len(keys), HOLDING)
        for key, record in kept["holdings"].items():
            for name, value in record.items():
                self._holdings[keys.index(key)][name] = value
        for kind, reason, count in kept["counts"]:
            self._counts[kind, reason] = count

    def rescale(self, instrument: int, factor: int) -> None:
        """The instrument has gained size decimals."""
        if instrument < len(self._holdings):
            self._holdings[instrument]["position"] *= factor

    @property
    def holdings(self) -> dict[int, Holding]:
        """Of the instruments that had a fill, by run-wide index."""
        return {i: Holding(record) for i, record in enumerate(self._holdings) if record["fills"]}

    @property
    def orders(self) -> int:
        """Orders that were sent."""
        return int(self._counts[JournalKind.SUBMIT].sum())

    @property
    def fills(self) -> int:
        """Executions."""
        return int(self._counts[_FILL].sum())

    @property
    def fills_by_reason(self) -> dict[str, int]:
        """Executions by their reason: "QUEUE"."""
        return {REASON_NAMES[r]: n for r, n in enumerate(self._counts[_FILL].tolist()) if n}

    @property
    def ends_by_reason(self) -> dict[str, int]:
        """Ends of orders that are no fill: "refused: price_collar"."""
        return {
            f"{name}: {reason_name(reason)}" if reason else name: number
            for kind, name in _ENDS.items()
            for reason, number in enumerate(self._counts[kind].tolist())
            if number
        }

    @property
    def fees(self) -> int:
        """Fees of all fills, as far as they are in quote currencies."""
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
