"""A context for tests of strategies: fills at once at the last price, and remembers what was asked.

It promises nothing about venues, risk or latency; it only lets a strategy's own logic be seen.
"""

# The context's methods are documented, and their arguments decided, in engine.strategy.api.
# ruff: noqa: D102, FBT001, FBT002

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from msgspec import structs

from engine.answers.prompts import Prompt
from engine.model.instruments import Instrument, from_data
from engine.model.kinds import InstrumentData
from engine.model.units import POWERS_OF_TEN
from engine.strategy.api import Book, BookUpdate, Fill, OpenOrder, Quote, Strategy, Trade

Item = TypeVar("Item")


def make_instrument(symbol: str = "BTCUSDT", index: int = 0) -> Instrument:
    """An instrument with a tick of 0.1 and a lot of 0.001."""
    data = InstrumentData(
        key=f"{symbol}.binance",
        symbol=symbol,
        venue="binance",
        price_decimals=1,
        size_decimals=3,
        price_increment="0.1",
        size_increment="0.001",
    )
    return from_data(data, index)


def make_trade(instrument: Instrument, price: float, ts: int = 1) -> Trade:
    """A trade of one unit."""
    return Trade(instrument, price, 1.0, 1, ts, ts, 1, 1)


class NoRandom:
    """Chance that nobody should need here."""

    def random(self) -> float:
        raise AssertionError("a strategy under test drew a number")

    def integers(self, low: int, high: int) -> int:
        raise AssertionError(f"a strategy under test drew a number in [{low}, {high})")

    def choice(self, items: Sequence[Item]) -> Item:
        raise AssertionError(f"a strategy under test chose from {items}")

    def normal(self, mean: float = 0.0, deviation: float = 1.0) -> float:
        raise AssertionError(f"a strategy under test drew from N({mean}, {deviation})")


class FakeContext:
    """Immediate fills at the last price; passive orders rest until the test fills them.

    `targets` are the target calls that changed something, `placed` the limit orders, `cancelled` numbers.
    """

    def __init__(
        self, strategy: Strategy, instruments: Sequence[Instrument], equity: float = 100_000.0
    ) -> None:
        self.strategy = strategy
        self.instruments = tuple(instruments)
        self.now = 0
        self.random = NoRandom()
        self.targets: list[tuple[str, float]] = []
        self.placed: list[OpenOrder] = []
        self.cancelled: list[int] = []
        self.lines: list[str] = []
        self._equity = equity
        self._positions = dict.fromkeys(self.instruments, 0.0)
        self._last: dict[Instrument, float] = {}
        self._books: dict[Instrument, Book] = {}
        self._working: list[OpenOrder] = []
        self._number = 0
        self.series: list[tuple[Instrument, str]] = []  # of bars that were asked for

    # What a test does.

    def start(self) -> None:
        """Call on_start."""
        self._call("on_start")

    def trade(self, instrument: Instrument, *prices: float) -> None:
        """Deliver trades."""
        for price in prices:
            self.now += 1
            self._last[instrument] = price
            self._call("on_trade", make_trade(instrument, price, self.now))

    def show_book(
        self,
        instrument: Instrument,
        bids: Sequence[tuple[float, float]],
        asks: Sequence[tuple[float, float]],
        flags: int = 1,
    ) -> None:
        """Deliver a book update."""
        self.now += 1
        self._books[instrument] = Book(instrument, tuple(bids), tuple(asks))
        self._call("on_book", BookUpdate(instrument, self.now, None, 1, flags))

    def fill_working(self, instrument: Instrument) -> None:
        """Fill every resting order of an instrument at its price."""
        for order in self.orders(instrument):
            self._working.remove(order)
            assert order.price is not None
            self._fill(instrument, order.side * order.size, order.price, maker=True)

    def drop_cancelled(self) -> None:
        """Let the cancels take effect."""
        self._working = [order for order in self._working if order.order not in self.cancelled]

    # What a strategy does.

    def instrument(self, name: str) -> Instrument:
        return next(i for i in self.instruments if name in (i.key, i.symbol))

    def bars(self, instrument: Instrument, every: str) -> int:
        self.series.append((instrument, every))
        return len(self.series)

    def market(self, instrument: Instrument, size: float) -> int:
        self._number += 1
        self._fill(instrument, size, self._last[instrument], maker=False)
        return self._number

    def limit(
        self,
        instrument: Instrument,
        size: float,
        price: float,
        tif: str = "gtc",
        post_only: bool = False,
        reduce_only: bool = False,
        until: int | None = None,
    ) -> int:
        assert tif == "gtc"
        assert until is None
        assert post_only
        assert not reduce_only
        self._number += 1
        side = 1 if size > 0 else -1
        order = OpenOrder(self._number, instrument, side, abs(size), 0.0, price, None, "working")
        self._working.append(order)
        self.placed.append(order)
        return self._number

    def stop(self, instrument: Instrument, size: float, stop: float, *_: Any, **__: Any) -> int:
        raise AssertionError(f"no stops here: {instrument} {size} {stop}")

    def trail(self, instrument: Instrument, size: float, distance: float, *_: Any, **__: Any) -> int:
        raise AssertionError(f"no stops here: {instrument} {size} {distance}")

    def oco(
        self, instrument: Instrument, size: float, price: float, stop: float, *_: Any, **__: Any
    ) -> tuple[int, int]:
        raise AssertionError(f"no pairs here: {instrument} {size} {price} {stop}")

    def bracket(
        self,
        instrument: Instrument,
        size: float,
        price: float | None,
        target: float,
        stop: float,
        *_: Any,
        **__: Any,
    ) -> tuple[int, int, int]:
        raise AssertionError(f"no brackets here: {instrument} {size} {price} {target} {stop}")

    def amend(self, order: int, *_: Any, **__: Any) -> None:
        raise AssertionError(f"no amendments here: {order}")

    def cancel(self, order: int) -> None:
        self.cancelled.append(order)
        self._working = [
            structs.replace(o, state="cancelling") if o.order == order else o for o in self._working
        ]

    def cancel_all(self, instrument: Instrument | None = None) -> None:
        for order in self.orders(instrument):
            self.cancel(order.order)

    def target(self, instrument: Instrument, size: float, price: float | None = None) -> None:
        assert price is None
        missing = size - self._positions[instrument]
        if abs(missing) > 1e-9:
            self.targets.append((instrument.symbol, size))
            self._fill(instrument, missing, self._last.get(instrument, 100.0), maker=False)

    def position(self, instrument: Instrument) -> float:
        return self._positions[instrument]

    def owned(self, instrument: Instrument) -> float:
        return self._positions[instrument]

    def cash(self) -> float:
        return self._equity

    def equity(self) -> float:
        return self._equity

    def orders(self, instrument: Instrument | None = None) -> tuple[OpenOrder, ...]:
        return tuple(o for o in self._working if instrument is None or o.instrument == instrument)

    def quote(self, instrument: Instrument) -> Quote | None:
        raise AssertionError(f"no quotes of {instrument} here")

    def book(self, instrument: Instrument, depth: int = 10) -> Book | None:
        book = self._books.get(instrument)
        return book and Book(instrument, book.bids[:depth], book.asks[:depth])

    def last(self, instrument: Instrument) -> float | None:
        return self._last.get(instrument)

    def at(self, ts: int, name: str) -> None:
        raise AssertionError(f"no timers here: {name} at {ts}")

    def every(self, interval: int | str, name: str) -> None:
        raise AssertionError(f"no timers here: {name} every {interval}")

    def cancel_timer(self, name: str) -> None:
        raise AssertionError(f"no timers here: {name}")

    def ask(
        self,
        prompt: Prompt,
        about: Instrument | None = None,
        timeout: int | str = "200ms",
        default: object = None,
        sample: int = 0,
        **fields: object,
    ) -> int:
        raise AssertionError(
            f"no questions here: {prompt.name} {about} {timeout} {default} {sample} {fields}"
        )

    def because(self, *tickets: int) -> AbstractContextManager[None]:
        raise AssertionError(f"no questions: {tickets}")

    def log(self, *values: object) -> None:
        self.lines.append(" ".join(map(str, values)))

    def round_price(self, instrument: Instrument, price: float) -> float:
        return round(price / instrument.price_increment) * instrument.price_increment

    def round_size(self, instrument: Instrument, size: float) -> float:
        lots = int(abs(size) / instrument.size_increment + 1e-6)
        mantissa = lots if size > 0 else -lots
        return mantissa / POWERS_OF_TEN[instrument.size_decimals]

    def _fill(self, instrument: Instrument, size: float, price: float, *, maker: bool) -> None:
        position = round(self._positions[instrument] + size, 9)
        self._positions[instrument] = position
        side = 1 if size > 0 else -1
        reason = "QUEUE" if maker else "TAKER"
        self._call(
            "on_fill",
            Fill(self._number, instrument, side, price, abs(size), 0.0, maker, reason, position, self.now),
        )

    def _call(self, name: str, *event: object) -> None:
        handler = getattr(self.strategy, name, None)
        if handler is not None:
            handler(self, *event)
