"""What happens to an account without an order: borrow fees, dividends, splits.

All arithmetic here is exact and rounded once, half to even, to 1e-8; every amount is a record of the journal.

- A split multiplies position by numerator / denominator. Money spent stays what it was, so the cost of a unit
  follows. What does not fill a lot is paid out at the last price. Prices of rows stay raw: book and quotes of
  before are forgotten, and until the next price the last one counts, divided. Orders of the instrument, also
  those on their way, are cancelled; what `ctx.target` pursued is forgotten.
- A dividend pays its amount for each unit held, and takes it for each unit short.
- Who has sold short pays a day's share, a 360th, of the yearly rate on what the position is worth, for each
  night from one session's day to the next one's; without sessions in the log for each midnight UTC. On a
  margin account alone.

Fills that the strategy has not heard of yet count: both the venue's account and the reported one change by
what the venue's position asks for, so they agree as soon as the reports are in.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import msgspec

from engine.config import RunConfig
from engine.execution.journal_kinds import JournalKind
from engine.execution.money import MAX_BALANCE, MONEY_DECIMALS
from engine.execution.orders import Reason
from engine.loop import adjusting
from engine.loop.caller import Caller
from engine.loop.keeping import Keeper
from engine.loop.memory import Memory
from engine.model.errors import InputError
from engine.model.instruments import Instrument, Registry
from engine.model.kinds import CorporateData, SessionData
from engine.model.units import POWERS_OF_TEN
from engine.strategy.api import Corporate

DAY_NS = 86_400_000_000_000
DAYS_A_YEAR = 360  # of borrow fees
_UNIT = 10**MONEY_DECIMALS
_RATE = 10**9


class Charges:
    """Does to the account what rows and the calendar say."""

    def __init__(
        self, config: RunConfig, caller: Caller, memory: Memory, registry: Registry, keeper: Keeper
    ) -> None:
        self._rate = config.account.borrow_rate if config.account.type == "margin" else 0
        self._caller = caller
        self._memory = memory
        self._registry = registry
        self._keeper = keeper
        self._on_corporate = caller.handler("on_corporate")
        self._due: dict[int, list[Any]] = {}  # at a time: sessions that end, None for a midnight, actions
        self._sessions: dict[tuple[str, str], dict[str, SessionData]] = {}  # by venue and calendar, by day
        self._acted: set[tuple[int, int, CorporateData]] = set()  # several files may say the same
        self._charged: dict[int, str] = {}  # instrument -> last day it was charged for

    def kept(self) -> dict[str, Any]:
        """What is known of sessions and actions, and what is due, as plain values."""
        sessions = [data for known in self._sessions.values() for data in known.values()]
        acted = [[index, effective, msgspec.to_builtins(data)] for index, effective, data in self._acted]
        return {
            "due": [[time, [_plain(what) for what in self._due[time]]] for time in sorted(self._due)],
            "sessions": sorted(map(msgspec.to_builtins, sessions), key=_order),
            "acted": sorted(acted, key=_order),
            "charged": sorted([index, day] for index, day in self._charged.items()),
        }

    def put_back(self, kept: dict[str, Any]) -> None:
        """Take what `kept` gave in another process; what is due is on the agenda already."""
        for plain in kept["sessions"]:
            data = msgspec.convert(plain, SessionData)
            self._sessions.setdefault((data.venue, data.calendar), {})[data.day] = data
        for index, effective, plain in kept["acted"]:
            self._acted.add((index, effective, msgspec.convert(plain, CorporateData)))
        self._due = {time: [_from_plain(what) for what in due] for time, due in kept["due"]}
        self._charged = dict(kept["charged"])

    # --- borrow fees ---

    def begin(self, now: int) -> None:
        """The run begins: where units are borrowed at a price, midnights count."""
        if self._rate:
            self._schedule(now - now % DAY_NS + DAY_NS, None)

    def session(self, data: SessionData) -> None:
        """A session is known."""
        known = self._sessions.setdefault((data.venue, data.calendar), {})
        if data.day in known:
            return
        known[data.day] = data
        if self._rate and data.closes > self._memory.get("now"):
            self._schedule(data.closes, data)

    def _schedule(self, due: int, what: Any) -> None:
        memory = self._memory
        if due not in self._due:
            if memory.get("item_free_count") < 4:
                memory.grow_items(64)
            adjusting.schedule(memory.address, due)
        self._due.setdefault(due, []).append(what)

    def due(self, now: int) -> None:
        """What was scheduled for this time, if anything was."""
        self._memory.set("trigger", 2)
        self._memory.set("trigger_id", 0)
        for what in self._due.pop(now, ()):
            if isinstance(what, SessionData):
                self._end_of_session(what)
            elif what is None:
                for who in self._registry.instruments:
                    if not self._has_sessions(who):
                        self._borrow(who, 1)
                self._schedule(now + DAY_NS, None)
            else:
                self.act(*what)

    def _has_sessions(self, who: Instrument) -> bool:
        return any(venue in ("", who.venue) for venue, _ in self._sessions)

    def _end_of_session(self, data: SessionData) -> None:
        later = [day for day in self._sessions[data.venue, data.calendar] if day > data.day]
        nights = (date.fromisoformat(min(later)) - date.fromisoformat(data.day)).days if later else 1
        for who in self._registry.instruments:
            if data.venue in ("", who.venue) and self._charged.get(who.index) != data.day:
                self._charged[who.index] = data.day
                self._borrow(who, nights)

    def _borrow(self, who: Instrument, nights: int) -> None:
        held = self._memory.of_instrument(who.index, "venue_position")
        mark = self._mark(who)
        if held >= 0 or not mark:
            return
        worth = Fraction(-held, 10**who.size_decimals) * mark
        fee = round(worth * self._rate * nights * _UNIT / (_RATE * DAYS_A_YEAR))
        if fee:
            price = int(mark * 10**who.price_decimals)
            self._book(who, JournalKind.CHARGE, held, 0, fee, price, Reason.BORROW_FEE)

    def _mark(self, who: Instrument) -> Fraction:
        """Mid of what the strategy sees, else the last price, else 0."""
        best = [self._memory.best_levels(who.index, sign, 1) for sign in (1, -1)]
        if all(best):
            return Fraction(best[0][0][0] + best[1][0][0], 2 * 10**who.price_decimals)
        return Fraction(self._memory.last_price(who.index), 10**who.price_decimals)

    # --- corporate actions ---

    def announce(self, data: CorporateData, index: int, effective: int, where: str) -> None:
        """A CORPORATE row has come: it counts now, or when it says."""
        if not 0 <= index < len(self._registry.instruments):
            raise InputError(f"{where} is of no instrument of the log")
        if (index, effective, data) in self._acted:
            return
        self._acted.add((index, effective, data))
        if effective > self._memory.get("now"):
            self._schedule(effective, (data, index, where))
        else:
            self.act(data, index, where)

    def act(self, data: CorporateData, index: int, where: str) -> None:
        """Do what an action says, and tell the strategy."""
        who = self._registry.instruments[index]
        amount = Fraction(0)
        if data.action == "split":
            self._split(who, data.numerator, data.denominator, where)
        elif data.action == "dividend":
            amount = self._dividend(who, data, where)
        else:
            raise InputError(
                f'{where} has the action "{data.action}"', hint='it can be "split" or "dividend"'
            )
        context = self._caller.context
        if self._on_corporate is None or context.stopped or who not in context.visible:
            return
        event = Corporate(
            who,
            data.action,
            data.numerator / data.denominator,
            float(amount),
            self._memory.of_instrument(index, "position") / POWERS_OF_TEN[who.size_decimals],
            self._memory.get("now"),
        )
        self._caller.call(self._on_corporate, event)

    def _dividend(self, who: Instrument, data: CorporateData, where: str) -> Fraction:
        try:
            amount = Fraction(Decimal(data.amount))
        except (InvalidOperation, ValueError, OverflowError):
            raise InputError(f'{where} pays "{data.amount}", which is no amount') from None
        if data.currency and who.quote and data.currency != who.quote:
            raise InputError(
                f"{where} pays {data.currency}, and {who.key} is quoted in {who.quote}",
                hint=f"import it with what it is worth in {who.quote}",
            )
        held = self._memory.of_instrument(who.index, "venue_position")
        paid = round(amount * held * _UNIT / 10**who.size_decimals)
        if paid:
            self._book(who, JournalKind.CHARGE, held, 0, -paid, 0, Reason.DIVIDEND)
        return amount

    def _split(self, who: Instrument, numerator: int, denominator: int, where: str) -> None:
        if numerator <= 0 or denominator <= 0:
            raise InputError(f"{where} splits {numerator}:{denominator}", hint="both are whole, above zero")
        memory = self._memory
        if memory.of_instrument(who.index, "venue_fee_base"):
            raise InputError(
                f"{where} splits {who.key}, of which fees were taken",
                hint="choose --fee-asset quote",
            )
        self._end_orders(who)
        held = memory.of_instrument(who.index, "venue_position")
        last = memory.last_price(who.index)
        lots, rest = divmod(abs(held) * numerator, denominator * who.lot)
        sign = 1 if held > 0 else -1
        worth = Fraction(rest * last * _UNIT, numerator * 10 ** (who.price_decimals + who.size_decimals))
        change = sign * lots * who.lot - held
        if change or rest:
            self._book(who, JournalKind.ADJUSTMENT, held, change, -sign * round(worth), last, Reason.SPLIT)
        adjusting.forget_prices(memory.address, who.index)
        for market in memory.markets[2 * who.index : 2 * who.index + 2]:
            before = int(market["last_price"])
            if before > 0:
                after = before * denominator // numerator
                market["last_price"] = max(after - after % who.tick, who.tick)
            market["mark"] = int(market["mark"]) * denominator // numerator
        wish = memory.tables.wishes[who.index]
        for name in ("known", "settled", "failed", "due", "unfit_known"):
            wish[name] = 0
        self._caller.context.redefine(who)

    def _end_orders(self, who: Instrument) -> None:
        memory = self._memory
        live = memory.get("live_orders")
        if memory.get("item_free_count") < live + 4:
            memory.grow_items(live + 64)
        adjusting.end_orders(memory.address, who.index)

    def _book(
        self, who: Instrument, kind: int, units: int, change: int, fee: int, price: int, reason: Reason
    ) -> None:
        memory = self._memory
        asset = memory.assets[memory.of_instrument(who.index, "asset")]
        balances = [int(asset[name]) - fee for name in ("cash", "venue_cash")]
        positions = [
            memory.of_instrument(who.index, name) + change for name in ("position", "venue_position")
        ]
        if max(map(abs, balances + positions)) > MAX_BALANCE:
            raise InputError(f"{who.key}: a {reason.name.lower()} of what is held does not fit 64 bits")
        if memory.get("journal_count") + 2 > memory.get("journal_capacity"):
            self._keeper.drain_journal()
        memory.journal[memory.get("journal_count")] = 0
        adjusting.adjust(memory.address, kind, who.index, units, change, fee, price, int(reason))


def _plain(what: Any) -> list[Any]:
    """Something that is due: a midnight, a session's end, an action with its instrument and its place."""
    if what is None:
        return []
    if isinstance(what, SessionData):
        return [msgspec.to_builtins(what)]
    data, index, where = what
    return [msgspec.to_builtins(data), index, where]


def _from_plain(plain: list[Any]) -> Any:
    if not plain:
        return None
    if len(plain) == 1:
        return msgspec.convert(plain[0], SessionData)
    return (msgspec.convert(plain[0], CorporateData), *plain[1:])


def _order(plain: Any) -> bytes:
    return msgspec.json.encode(plain, order="sorted")
