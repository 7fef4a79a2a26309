"""What a strategy is given: the events it receives, the context it acts through, the class it extends.

A strategy is a class with handlers. It implements those it wants and is called for nothing else:

    on_start(ctx)             once, before the first event; every instrument is known
    on_trade(ctx, trade)      Trade            on_fill(ctx, fill)        Fill, an own order's execution
    on_quote(ctx, quote)      Quote            on_order(ctx, update)     OrderUpdate, an own order's state
    on_book(ctx, update)      BookUpdate       on_timer(ctx, name)       the name given to at() or every()
    on_bar(ctx, bar)          Bar              on_status(ctx, status)    Status: gaps, disconnects, resyncs
    on_news(ctx, news)        News             on_answer(ctx, answer)    an answer of Claude
    on_corporate(ctx, action) Corporate: a split or a dividend has taken effect
    on_stop(ctx)              once, after the last event; orders are refused here

Nothing here reaches a clock, a file, a network or chance: what a strategy may know comes through its
context, and that only knows what has been delivered. Light on purpose: msgspec and the model alone.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol

from engine.answers.prompts import Prompt
from engine.model.instruments import Instrument
from engine.strategy.chance import Random
from engine.strategy.events import (
    Answer,
    Bar,
    Book,
    BookUpdate,
    Corporate,
    Fill,
    News,
    OpenOrder,
    OrderUpdate,
    Quote,
    Status,
    Trade,
)

__all__ = [
    "HANDLERS",
    "Answer",
    "Bar",
    "Book",
    "BookUpdate",
    "Context",
    "Corporate",
    "Fill",
    "News",
    "OpenOrder",
    "OrderUpdate",
    "Quote",
    "Status",
    "Strategy",
    "Trade",
    "compiled",
]

HANDLERS = (
    "on_start",
    "on_trade",
    "on_quote",
    "on_book",
    "on_bar",
    "on_news",
    "on_answer",
    "on_fill",
    "on_order",
    "on_timer",
    "on_status",
    "on_corporate",
    "on_stop",
)


class Context(Protocol):
    """What a strategy sees and does, during a handler. It can read nothing that has not been delivered.

    Sizes given to orders are signed: positive buys, negative sells. A price or size must lie on the
    instrument's increments (`round_price`, `round_size`), else the order is refused and `on_order` says
    so. An order call returns the order's number at once; what becomes of it comes to `on_order` and
    `on_fill`.
    """

    @property
    def now(self) -> int:
        """The loop's time, ns: the event's `ts`, or a timer's due time. It never stands on a clock."""

    @property
    def random(self) -> Random:
        """Seeded chance (`--seed`)."""

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """What this strategy follows: those named by `symbols`, or all of the log."""

    def instrument(self, name: str) -> Instrument:
        """By key ("BTCUSDT.binance") or by a symbol that only one venue has. Call it in on_start."""

    def bars(self, instrument: Instrument, every: str) -> int:
        """Have bars made of the trades; on_bar gets them. Call it in on_start. Returns the series' number.

        `every` is a time ("1m"), a number of trades ("500t"), an amount of base units ("10v") or of money
        traded ("100000d"). `bar.series` says which series a bar is of. No order fills on such bars.
        """

    def market(self, instrument: Instrument, size: float) -> int:
        """Buy (size > 0) or sell (size < 0) at what the market offers; returns the order's number."""

    def limit(
        self,
        instrument: Instrument,
        size: float,
        price: float,
        tif: str = "gtc",
        post_only: bool = False,  # noqa: FBT001, FBT002  authors name it
        reduce_only: bool = False,  # noqa: FBT001, FBT002  likewise
        until: int | None = None,
    ) -> int:
        """Buy or sell at `price` or better; returns the order's number.

        `tif` is "gtc", "ioc", "fok", "day" (until the session ends) or "gtd" (until the time `until`, ns).
        """

    def stop(
        self,
        instrument: Instrument,
        size: float,
        stop: float,
        limit: float | None = None,
        tif: str = "gtc",
        reduce_only: bool = False,  # noqa: FBT001, FBT002  likewise
        until: int | None = None,
    ) -> int:
        """Buy at the market once the price is at `stop` or above, sell at or below; with `limit`, no worse.

        Returns the order's number.
        """

    def trail(
        self,
        instrument: Instrument,
        size: float,
        distance: float,
        stop: float | None = None,
        tif: str = "gtc",
        reduce_only: bool = False,  # noqa: FBT001, FBT002  likewise
        until: int | None = None,
    ) -> int:
        """A stop that follows the price at a distance, never away from it; it begins there, or at `stop`."""

    def oco(
        self,
        instrument: Instrument,
        size: float,
        price: float,
        stop: float,
        limit: float | None = None,
        tif: str = "gtc",
        until: int | None = None,
    ) -> tuple[int, int]:
        """A limit order and a stop of which one cancels the other; their numbers.

        A part that one of them fills is taken off the other. `limit` is the stop's.
        """

    def bracket(
        self,
        instrument: Instrument,
        size: float,
        price: float | None,
        target: float,
        stop: float,
        limit: float | None = None,
        tif: str = "gtc",
        until: int | None = None,
    ) -> tuple[int, int, int]:
        """An entry, and behind it a limit order at `target` and a stop that wait for its fills; the numbers.

        The entry is a market order when `price` is None. What of it fills, target and stop are good for;
        they cancel each other, and go when the entry ends without a fill. `limit` is the stop's.
        """

    def amend(
        self,
        order: int,
        size: float | None = None,
        price: float | None = None,
        stop: float | None = None,
    ) -> None:
        """Ask for another size (unsigned, what has filled included), limit or stop of an own order.

        A smaller size alone keeps the place in the queue. Of an order that is final or being cancelled,
        nothing happens; `on_order` says "amended" or "amend_rejected".
        """

    def cancel(self, order: int) -> None:
        """Ask for an order to be cancelled; of one that is final or being cancelled, nothing happens."""

    def cancel_all(self, instrument: Instrument | None = None) -> None:
        """Cancel every open order, or those of one instrument."""

    def target(self, instrument: Instrument, size: float, price: float | None = None) -> None:
        """Bring the position to `size`, by a market order, or by a limit order when given a price.

        Compares with the position plus the unfilled part of the own target order: when equal, nothing
        happens, so it may be called at every event. When different, the old target order is cancelled
        and, once that is final, one order is sent for the rest; below the minimum size, nothing.
        """

    def position(self, instrument: Instrument) -> float:
        """Signed position, base units."""

    def owned(self, instrument: Instrument) -> float:
        """The position less fees that were charged in it, rounded down: what a cash account can sell."""

    def cash(self) -> float:
        """Cash in the run's currency."""

    def equity(self) -> float:
        """Cash plus every position at its mid, else at its last price."""

    def orders(self, instrument: Instrument | None = None) -> tuple[OpenOrder, ...]:
        """Own orders that are not final yet, oldest first."""

    def quote(self, instrument: Instrument) -> Quote | None:
        """The latest quote; from the quote stream if the log has one, else the book's best levels."""

    def book(self, instrument: Instrument, depth: int = 10) -> Book | None:
        """The best `depth` levels of each side; None when the log has no book of it or none has come."""

    def last(self, instrument: Instrument) -> float | None:
        """Price of the last trade, None before the first."""

    def at(self, ts: int, name: str) -> None:
        """Call on_timer(ctx, name) once at `ts` (ns); a time that has passed is due at once."""

    def every(self, interval: int | str, name: str) -> None:
        """Call on_timer(ctx, name) again and again; an interval in ns or as text: "250ms", "1s", "5m"."""

    def cancel_timer(self, name: str) -> None:
        """Forget the timers of that name."""

    def ask(
        self,
        prompt: Prompt,
        about: Instrument | None = None,
        timeout: int | str = "200ms",
        default: object = None,
        sample: int = 0,
        **fields: object,
    ) -> int:
        """Ask Claude, and go on; returns the question's ticket.

        `fields` fill the places of the prompt's text. on_answer hears of what came: the answer, or at the
        deadline the `default`, and then what comes later as late. The same question is asked once, and
        known again in every later run; another `sample` is another question.
        """

    def because(self, *tickets: int) -> AbstractContextManager[None]:
        """`with ctx.because(answer.ticket): ctx.market(...)`: the order names the question in the journal.

        `engine why` then leads from the order to what was asked, and to what Claude said.
        """

    def log(self, *values: object) -> None:
        """Write a line into the run's journal (it is not part of the journal's hash)."""

    def round_price(self, instrument: Instrument, price: float) -> float:
        """The nearest valid price."""

    def round_size(self, instrument: Instrument, size: float) -> float:
        """The nearest valid size towards zero, sign kept; one that is valid but for float noise stays."""


def compiled(cls: type[Strategy]) -> type[Strategy]:
    """Mark a strategy to run at the speed of the machine: `@engine.compiled` above its class.

    The class stays what it is, and decides what it decided before. Its on_start and on_stop run in Python,
    on_start once; the fields that it has then are all that it will have. What cannot be compiled is refused
    before the run, with its line.
    """
    cls.__engine_compiled__ = True
    return cls


class Strategy:
    """Base of every strategy. Annotated class fields with defaults are its parameters.

        class Mine(engine.Strategy):
            fast: int = 20          # --set fast=30

    int, float, bool, str and tuple[str, ...] are possible. `symbols` is a parameter of every strategy:
    empty means every instrument of the log. A field whose name begins with "_" is the strategy's own.
    """

    symbols: tuple[str, ...] = ()
    __engine_compiled__: ClassVar[bool] = False

    def __init__(self, **parameters: Any) -> None:
        """With the defaults, and what is given by name; raises UsageError for a wrong name or type."""
        from engine.strategy.parameters import check_values

        for name, value in check_values(type(self), parameters).items():
            setattr(self, name, value)
