"""What a strategy is told: trades, quotes, books, bars, news, answers, its orders and fills.

Events are frozen structs, in the form of values: keeping one (`self.last = trade`) is safe. Prices and
sizes are float64 nearest to the decimal; inside the engine they are exact integers. Times are integer
nanoseconds since 1970-01-01 UTC; `ts` is when the engine took the event in, `ts_venue` the venue's own
stamp or None. The fields' order is part of the contract: the loop builds events by position.
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.model.instruments import Instrument
from engine.model.kinds import Flag

# Plain integers: `&` with an IntFlag member builds an enum object at every call.
_REVISED = int(Flag.REVISED)
_FINAL = int(Flag.FINAL)
_OUT_OF_ORDER = int(Flag.OUT_OF_ORDER)
_MAYBE_BAD_BOOK = int(Flag.MAYBE_BAD_BOOK)


class Trade(msgspec.Struct, frozen=True, gc=False):
    """A trade on the venue. `side` is the aggressor's: +1 a buyer took, -1 a seller took, 0 unknown."""

    instrument: Instrument
    price: float
    size: float
    side: int
    ts: int
    ts_venue: int | None
    id: int
    flags: int

    @property
    def late(self) -> bool:
        """It came after a later one of its channel."""
        return self.flags & _OUT_OF_ORDER != 0


class Quote(msgspec.Struct, frozen=True, gc=False):
    """The best bid and ask with their sizes, as the venue's quote stream gives them."""

    instrument: Instrument
    bid: float
    bid_size: float
    ask: float
    ask_size: float
    ts: int
    ts_venue: int | None
    id: int
    flags: int

    @property
    def mid(self) -> float:
        """Halfway between bid and ask."""
        return (self.bid + self.ask) / 2.0

    @property
    def spread(self) -> float:
        """Ask minus bid."""
        return self.ask - self.bid


class BookUpdate(msgspec.Struct, frozen=True, gc=False):
    """A book has changed, by a whole message. Its levels are read with `ctx.book(instrument)`."""

    instrument: Instrument
    ts: int
    ts_venue: int | None
    id: int
    flags: int

    @property
    def doubtful(self) -> bool:
        """Updates are missing and the book waits for a snapshot; its levels are the last good ones."""
        return self.flags & _MAYBE_BAD_BOOK != 0


class Book(msgspec.Struct, frozen=True, gc=False):
    """The levels of a book at one moment: (price, size) pairs, best first; a side may be empty."""

    instrument: Instrument
    bids: tuple[tuple[float, float], ...]
    asks: tuple[tuple[float, float], ...]

    @property
    def bid(self) -> float | None:
        """Best bid price, None when the side is empty."""
        return self.bids[0][0] if self.bids else None

    @property
    def ask(self) -> float | None:
        """Best ask price, None when the side is empty."""
        return self.asks[0][0] if self.asks else None

    @property
    def mid(self) -> float | None:
        """Halfway between the best prices, None when a side is empty."""
        if not self.bids or not self.asks:
            return None
        return (self.bids[0][0] + self.asks[0][0]) / 2.0

    def imbalance(self, levels: int = 5) -> float:
        """(bid size - ask size) / (bid size + ask size) over the best `levels`: -1 to +1, 0 when empty."""
        bid_size = ask_size = 0.0
        for _, size in self.bids[:levels]:
            bid_size += size
        for _, size in self.asks[:levels]:
            ask_size += size
        total = bid_size + ask_size
        return (bid_size - ask_size) / total if total > 0.0 else 0.0


class Bar(msgspec.Struct, frozen=True, gc=False):
    """A finished bar over [start, end); `volume` in base units, `trades` how many made it.

    series   0 for a bar of the log; else it was made of trades, and this is what `ctx.bars` answered
    """

    instrument: Instrument
    start: int
    interval_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int
    ts: int
    flags: int
    series: int = 0

    @property
    def end(self) -> int:
        """The first nanosecond after the bar."""
        return self.start + self.interval_ns

    @property
    def final(self) -> bool:
        """It will not change any more, short of a revision."""
        return self.flags & _FINAL != 0

    @property
    def revised(self) -> bool:
        """It corrects a bar that was delivered before; nothing executes on it."""
        return self.flags & _REVISED != 0


class News(msgspec.Struct, frozen=True, gc=False):
    """A headline. `ts` is when it reached us, `ts_venue` when it says that it was published."""

    id: str
    headline: str
    summary: str
    source: str
    url: str
    symbols: tuple[str, ...]
    instrument: Instrument | None
    ts: int
    ts_venue: int | None


class Answer(msgspec.Struct, frozen=True):
    """What came of a question.

    value    the prompt's answer, or the default that the question named
    outcome  "answered", "deadline" (there was none in time), "invalid" (not what the prompt's type
             allows), or what kept Claude from answering: "refused", "truncated", "malformed", "failed",
             "expired", "budget", "broken"
    reason   why the value is the default, in words
    late     the default was delivered before, at the deadline
    """

    ticket: int
    about: Instrument | None
    value: Any
    outcome: str
    reason: str
    late: bool
    prompt: str
    key: str
    asked: int
    ts: int


class Status(msgspec.Struct, frozen=True, gc=False):
    """Something happened to a connection or a book: "gap", "disconnected", "synchronised" and so on."""

    event: str
    channel: str
    detail: str
    instrument: Instrument | None
    ts: int


class Corporate(msgspec.Struct, frozen=True, gc=False):
    """A split or a cash dividend has taken effect; prices and sizes of before a split are of old units.

    action    "split" or "dividend"
    ratio     of a split, new units for one old: sizes kept from before times it, prices divided by it; else 1
    amount    of a dividend, paid for a unit; else 0
    position  after it, base units
    """

    instrument: Instrument
    action: str
    ratio: float
    amount: float
    position: float
    ts: int


class OrderUpdate(msgspec.Struct, frozen=True, gc=False):
    """An own order's new state. `size` and `filled` are unsigned, `side` is +1 or -1.

    state    accepted, rejected (by the venue), refused (by risk, or before it), cancelled, expired, filled,
             triggered (a stop), amended, amend_rejected (the order stays as it was)
    reason   why, in words that name the limit and the value; "" when there is nothing to explain
    price    the limit, None of a market order
    """

    order: int
    instrument: Instrument
    state: str
    side: int
    size: float
    filled: float
    price: float | None
    reason: str
    ts: int


class Fill(msgspec.Struct, frozen=True, gc=False):
    """An execution of an own order. `size` is unsigned, `position` the signed position after it.

    fee      what was charged; negative is a rebate
    fee_in   of what: "quote" (the instrument's quote currency), "base", or "named" (the asset of --fee-asset)
    reason   TAKER, CROSSED, THROUGH, QUEUE, RESYNC or BAR: why the simulated venue filled it
    """

    order: int
    instrument: Instrument
    side: int
    price: float
    size: float
    fee: float
    maker: bool
    reason: str
    position: float
    ts: int
    fee_in: str = "quote"


class OpenOrder(msgspec.Struct, frozen=True, gc=False):
    """An own order that is not final yet, as `ctx.orders()` lists it. `size` and `filled` unsigned.

    price    the limit, None of an order without one
    stop     the price that triggers it as last reported, None of an order that is no stop
    state    submitted (on its way), working (accepted by the venue), cancelling (the cancel is on its way)
    """

    order: int
    instrument: Instrument
    side: int
    size: float
    filled: float
    price: float | None
    stop: float | None
    state: str
