"""A market that never existed: a seed in, a venue's events out, the same on every machine.

Every symbol has a level-2 book that is kept as order flow: makers add, join, improve and pull, takers
walk the levels. What they follow is a fair price that moves ten times a second: a common part that all
symbols share and a part of the symbol's own, each with a drift that changes now and then and a volatility
that clusters. So quotes move because levels are eaten or pulled, never because a price was drawn.

    path (integers) ── fair price ──► order flow ──► book ──► trade, bookTicker at once; depth every 100 ms

Update ids count book changes. A `bookTicker` carries the id of the change that caused it, and a depth
diff closes at an id at which the book is whole; hence the best prices of a book rebuilt up to id u are
those of the bookTicker with the greatest id <= u.

Only integers: raw 64-bit words of PCG64 (whose stream NumPy promises to keep, unlike its
distributions), tables made with `decimal` and `isqrt`. No libm, no clock, no dict order that depends on a
hash. A symbol's events depend on the seed and its own name, not on which other symbols are asked for.

It never claims to be any real market: prices begin near round figures, everything after is invention.
"""

from __future__ import annotations

import heapq
import zlib
from bisect import insort
from decimal import Context, Decimal
from functools import cache
from math import isqrt
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from engine.model.errors import UsageError
from engine.model.kinds import InstrumentData
from engine.model.units import format_decimal, trim_decimal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT")
DEFAULT_START_NS = 1_717_232_400_000_000_000  # 2024-06-01T09:00:00Z
WINDOW_NS = 100_000_000  # one depth diff, one step of the fair price
SNAPSHOT = "@snapshot"  # suffix of the one stream that no client sees: a whole book

_FEWEST_LEVELS, _MOST_LEVELS = 25, 50
_MAKER_SIZES = 6  # a small maker's order in small takers' orders
_PRICE_DECIMALS = 2
_VENUE_DECIMALS = 8  # Binance writes eight, whatever the increments
_FAIR_SHIFT = 16  # the fair price counts 1/65,536 of a tick
_PATH_SHIFT = 40  # a path's increment is a 2**-40 part of the price
_STEP_NS = 33_000_000  # mean time between two orders at rate 1
_BEHIND = 4  # bit of a maker's word: not at the touch, but behind the fair price
_TRADE_LATENCY_US = 400  # from the match (T) to the event's own stamp (E)


class Event(NamedTuple):
    """What a venue says at one moment. Times in the payload are microseconds; it is not to be changed."""

    time_ns: int
    stream: str  # "btcusdt@trade"
    payload: dict[str, Any]


class SymbolModel(msgspec.Struct, frozen=True):
    """What distinguishes one invented symbol: mantissas in ticks and lots."""

    symbol: str
    base: str
    quote: str
    price: int
    size_decimals: int
    spacing: int  # ticks between two neighbouring levels, typically
    size: int  # a small taker's order, in lots; makers show more
    venue: str = "binance"

    def instrument(self) -> InstrumentData:
        """Its definition, as a venue's exchangeInfo would give it."""
        return InstrumentData(
            key=f"{self.symbol}.{self.venue}",
            symbol=self.symbol,
            venue=self.venue,
            price_decimals=_PRICE_DECIMALS,
            size_decimals=self.size_decimals,
            price_increment=trim_decimal(1, _PRICE_DECIMALS),
            size_increment=trim_decimal(1, self.size_decimals),
            base=self.base,
            quote=self.quote,
            min_size=trim_decimal(1, self.size_decimals),
            max_size="9000",
            min_notional="5",
            channels=("trade", "quote", "book"),
        )


_KNOWN = {
    "BTCUSDT": SymbolModel("BTCUSDT", "BTC", "USDT", 6_750_000, 5, 60, 180),
    "ETHUSDT": SymbolModel("ETHUSDT", "ETH", "USDT", 378_000, 4, 4, 320),
}
_QUOTE_ASSETS = ("USDT", "USDC", "FDUSD", "EUR", "BTC", "ETH")


def model_of(symbol: str) -> SymbolModel:
    """The model behind a symbol; an unknown one gets invented figures that depend on its name alone.

    Raises UsageError for a name that does not end with a known quote asset.
    """
    if symbol in _KNOWN:
        return _KNOWN[symbol]
    quote = next((q for q in _QUOTE_ASSETS if symbol.endswith(q) and len(symbol) > len(q)), None)
    if quote is None or not (symbol.isalnum() and symbol.isascii() and symbol == symbol.upper()):
        raise UsageError(
            f'"{symbol}" is no symbol of the synthetic market',
            hint=f"write BASE and QUOTE in capitals, QUOTE one of {', '.join(_QUOTE_ASSETS)}",
        )
    price = 10_000 + zlib.crc32(symbol.encode()) % 90_000  # 100.00 to 1000.00
    return SymbolModel(symbol, symbol[: -len(quote)], quote, price, 3, 1 + price // 80_000, 600)


class SyntheticMarket:
    """Several symbols in one endless, lazily made stream of events; a source of the local venue.

    `rate` multiplies the order flow (1 is about 40 events per second and symbol), `start_ns` is the first
    event's time, `model` knows what is behind a name. Two instances with equal arguments give equal events.
    """

    def __init__(
        self,
        seed: int = 7,
        symbols: Sequence[str] = DEFAULT_SYMBOLS,
        *,
        start_ns: int = DEFAULT_START_NS,
        rate: float = 1.0,
        model: Callable[[str], SymbolModel] = model_of,
    ) -> None:
        if not symbols or len(set(symbols)) != len(symbols):
            raise UsageError("the synthetic market needs one or more symbols, each once")
        if not 0.01 <= rate <= 10_000:
            raise UsageError(f"rate {rate} is not between 0.01 and 10000")
        if seed < 0:
            raise UsageError(f"seed {seed} is negative", hint="a seed is 0 or more")
        self.seed = seed
        self.models = [model(symbol) for symbol in symbols]
        self.instruments = [model.instrument() for model in self.models]
        self.start_ns = start_ns
        self.description = f"synthetic market, seed {seed}"
        self._step_ns = max(1, round(_STEP_NS / rate))

    def events(self) -> Iterator[Event]:
        """All events from the beginning, in time order; never ends. First a snapshot of each book."""
        streams = [
            _SymbolMarket(self.seed, model, self.start_ns, self._step_ns).events() for model in self.models
        ]
        if len(streams) == 1:
            return streams[0]
        return heapq.merge(*streams, key=itemgetter(0))


def _words(*entropy: int) -> Iterator[int]:
    """Endless 64-bit words of PCG64."""
    bits = np.random.PCG64(np.random.SeedSequence(entropy))
    while True:
        yield from bits.random_raw(4096).tolist()


@cache
def _exponential() -> list[int]:
    """256 quantiles of an exponential variable with mean 1, in 2**-16; correctly rounded logarithms."""
    context = Context(prec=24)
    return [int(context.multiply(-context.ln(Decimal(2 * i + 1) / 512), Decimal(65_536))) for i in range(256)]


@cache
def _heavy_tail() -> list[int]:
    """1,024 quantiles of a Pareto variable (alpha 2) from 32 to 1,024."""
    return [isqrt((1 << 20) // (i + 1)) for i in range(1024)]


def _centred(word: int) -> int:
    """Sum of four bytes, centred: nearly normal, standard deviation 147.8."""
    return (word & 255) + (word >> 8 & 255) + (word >> 16 & 255) + (word >> 24 & 255) - 510


class _Path:
    """Increments of a price, one per window, in 2**-40 of the price: drift regimes, clustered volatility."""

    def __init__(self, calm: int, *entropy: int) -> None:
        self._words = _words(*entropy)
        self._calm = calm  # standard deviation of a quiet window
        self.sigma = calm
        self._drift = 0

    def step(self) -> int:
        word = next(self._words)
        if word >> 32 & 511 == 0:  # about once in 51 s: a new regime
            self._drift = (_centred(next(self._words)) * self._calm) >> 11
        if word >> 41 & 255 == 0:  # about once in 26 s: a burst
            self.sigma += self._calm + (self._calm * (word >> 49 & 3))
        self.sigma += (self._calm - self.sigma) // 64
        return (_centred(word) * self.sigma) // 148 + self._drift


class _Side:
    """One side of a book: sizes by price, and the prices, best first. `sign` is +1 for bids."""

    __slots__ = ("keys", "sign", "sizes")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []  # -sign * price, ascending
        self.sizes: dict[int, int] = {}

    def best(self) -> int:
        return -self.sign * self.keys[0]

    def add(self, price: int, size: int) -> int:
        """Add to a level, making it where there is none; the level's size then."""
        before = self.sizes.get(price, 0)
        if not before:
            insort(self.keys, -self.sign * price)
        self.sizes[price] = before + size
        return before + size

    def reduce(self, price: int, size: int) -> int:
        """Take away from a level, removing it at zero; the level's size then."""
        left = self.sizes[price] - size
        if left > 0:
            self.sizes[price] = left
            return left
        del self.sizes[price]
        self.keys.remove(-self.sign * price)
        return 0


class _SymbolMarket:
    """One symbol's order flow. `events` is the only thing to call."""

    def __init__(self, seed: int, model: SymbolModel, start_ns: int, step_ns: int) -> None:
        name = zlib.crc32(model.symbol.encode())
        self._model = model
        self._words = _words(seed, name, 1)
        self._common = _Path(9_000_000, seed, 0)  # 8 millionths a window
        self._own = _Path(5_000_000, seed, name, 2)
        self._fair = model.price << _FAIR_SHIFT
        self._bids, self._asks = _Side(+1), _Side(-1)
        self._start_ns, self._step_ns = start_ns, step_ns
        self._update_id = 40_000_000_000 + (name & 0xFFFF) * 1_000
        self._closed_id = self._update_id
        self._trade_id = 3_000_000_000 + (name & 0xFFFF)
        self._changed: dict[tuple[int, int], int] = {}
        self._quote: tuple[int, int, int, int] = (0, 0, 0, 0)
        self._out: list[Event] = []
        prefix = model.symbol.lower()
        self._trade_stream = prefix + "@trade"
        self._quote_stream = prefix + "@bookTicker"
        self._depth_stream = prefix + "@depth@100ms"
        self._snapshot_stream = prefix + SNAPSHOT

    def events(self) -> Iterator[Event]:
        """Endless."""
        time = self._start_ns
        window_end = time + WINDOW_NS
        exponential = _exponential()
        out = self._out
        self._open_book()
        yield Event(time, self._snapshot_stream, self._snapshot())
        self._emit_quote(time)
        while True:
            word = next(self._words)
            # Busier when the market is volatile: the gap shrinks as sigma grows.
            gap = (exponential[word & 255] * self._step_ns) >> 16
            time += 1_000 + gap * 9_000_000 // self._common.sigma
            while time >= window_end:
                self._close_window(window_end)
                window_end += WINDOW_NS
            self._order(time, word >> 8)
            self._emit_quote(time)
            yield from out
            out.clear()

    def _open_book(self) -> None:
        fair = self._fair >> _FAIR_SHIFT
        for side in (self._bids, self._asks):
            distance = 1
            for _ in range(40):
                word = next(self._words)
                side.add(fair - side.sign * distance, self._draw_size(word, _MAKER_SIZES))
                distance += 1 + (word >> 20) % (2 * self._model.spacing)

    def _close_window(self, end_ns: int) -> None:
        """Fill up thin sides, emit the window's changes, then let the fair price move."""
        fair = self._fair >> _FAIR_SHIFT
        for side in (self._bids, self._asks):
            while len(side.keys) < _FEWEST_LEVELS:
                self._make(side, fair, _BEHIND | next(self._words))
        self._emit_quote(end_ns)
        if self._changed:
            bids: list[list[str]] = []
            asks: list[list[str]] = []
            for (sign, price), size in sorted(self._changed.items(), key=_best_first):
                (bids if sign > 0 else asks).append([self._price(price), self._size(size)])
            payload = {
                "e": "depthUpdate",
                "E": end_ns // 1_000,
                "s": self._model.symbol,
                "U": self._closed_id + 1,
                "u": self._update_id,
                "b": bids,
                "a": asks,
            }
            self._out.append(Event(end_ns, self._depth_stream, payload))
            self._changed.clear()
            self._closed_id = self._update_id
        self._fair += (self._fair * (self._common.step() + self._own.step())) >> _PATH_SHIFT

    def _order(self, time: int, word: int) -> None:
        """One order: a taker's when the fair price has left the spread, else drawn."""
        fair = self._fair >> _FAIR_SHIFT
        choice, word = word & 255, word >> 8
        if self._bids.best() > fair:
            self._stale(time, self._bids, fair, choice)
        elif self._asks.best() < fair:
            self._stale(time, self._asks, fair, choice)
        elif choice < 12:
            self._take(time, self._bids if word & 1 else self._asks, self._draw_size(word >> 1, 1), 0)
        elif choice < 90:
            self._pull(self._bids if word & 1 else self._asks, word >> 1)
        else:
            self._make(self._bids if word & 1 else self._asks, fair, word >> 1)

    def _stale(self, time: int, side: _Side, fair: int, choice: int) -> None:
        """Levels beyond the fair price: somebody takes them, or their makers pull and quote anew."""
        if choice & 3 == 0:
            size = sum(s for p, s in side.sizes.items() if side.sign * (p - fair) > 0)
            self._take(time, side, size - size * (choice >> 2) // 100, fair)
            return
        while side.sign * (side.best() - fair) > 0:
            if len(side.keys) < _FEWEST_LEVELS:
                self._make(side, fair, _BEHIND | next(self._words))
            self._change(side, side.best(), -side.sizes[side.best()])

    def _take(self, time: int, side: _Side, size: int, limit: int) -> None:
        """A market order of `size` lots against `side`, not beyond `limit` (0: none)."""
        while size > 0 and len(side.keys) > 1:
            price = side.best()
            if limit and side.sign * (price - limit) <= 0:
                return
            filled = min(size, side.sizes[price])
            # A level is several orders: now and then one taker trades with two of them.
            first = filled // 3 if filled % 4 == 1 else 0
            for part in (first, filled - first):
                if part:
                    self._emit_trade(time, price, part, taker_sells=side.sign > 0)
            self._change(side, price, -filled)
            size -= filled

    def _pull(self, side: _Side, word: int) -> None:
        """A maker cancels a level or a part of it, mostly near the best price."""
        if len(side.keys) < _FEWEST_LEVELS:
            return
        index = _heavy_tail()[word & 1023] // 32 - 1
        price = -side.sign * side.keys[index % len(side.keys)]
        size = side.sizes[price]
        self._change(side, price, -(size if word >> 10 & 1 else 1 + size // 2))

    def _make(self, side: _Side, fair: int, word: int) -> None:
        """A maker adds: at the best price, inside the spread, or further out."""
        other = self._asks if side.sign > 0 else self._bids
        kind, word = word & 7, word >> 3
        nearest = other.best() - side.sign  # the best price that does not cross
        if kind == 0:
            price = side.best()
        elif kind < _BEHIND:
            price = fair - side.sign * (word & 1)
        else:
            steps = _heavy_tail()[word & 1023] - 32
            price = fair - side.sign * (1 + steps * self._model.spacing // 24 + (word >> 10 & 3))
        if side.sign * (price - nearest) > 0:
            price = nearest
        self._change(side, price, self._draw_size(word >> 14, _MAKER_SIZES))
        if len(side.keys) > _MOST_LEVELS:
            worst = -side.sign * side.keys[-1]
            self._change(side, worst, -side.sizes[worst])

    def _change(self, side: _Side, price: int, size: int) -> None:
        left = side.add(price, size) if size > 0 else side.reduce(price, -size)
        self._update_id += 1
        self._changed[side.sign, price] = left

    def _draw_size(self, word: int, times: int) -> int:
        """A size in lots: heavy-tailed, at times a round figure."""
        size = times * self._model.size * _heavy_tail()[word & 1023] // 32
        if word >> 10 & 7 == 0:
            return max(1, size // 1_000) * 1_000
        return size + (word >> 13 & 63)

    def _emit_trade(self, time: int, price: int, size: int, *, taker_sells: bool) -> None:
        self._trade_id += 1
        micros = time // 1_000
        payload = {
            "e": "trade",
            "E": micros + _TRADE_LATENCY_US,
            "s": self._model.symbol,
            "t": self._trade_id,
            "p": self._price(price),
            "q": self._size(size),
            "T": micros,
            "m": taker_sells,
            "M": True,
        }
        self._out.append(Event(time, self._trade_stream, payload))

    def _emit_quote(self, time: int) -> None:
        bid, ask = self._bids.best(), self._asks.best()
        quote = (bid, self._bids.sizes[bid], ask, self._asks.sizes[ask])
        if quote == self._quote:
            return
        self._quote = quote
        payload = {
            "u": self._update_id,
            "s": self._model.symbol,
            "b": self._price(bid),
            "B": self._size(quote[1]),
            "a": self._price(ask),
            "A": self._size(quote[3]),
        }
        self._out.append(Event(time, self._quote_stream, payload))

    def _snapshot(self) -> dict[str, Any]:
        return {
            "lastUpdateId": self._update_id,
            "bids": self._levels(self._bids),
            "asks": self._levels(self._asks),
        }

    def _levels(self, side: _Side) -> list[list[str]]:
        prices = (-side.sign * key for key in side.keys)
        return [[self._price(p), self._size(side.sizes[p])] for p in prices]

    def _price(self, mantissa: int) -> str:
        return f"{mantissa // 100}.{mantissa % 100:02d}000000"

    def _size(self, mantissa: int) -> str:
        if mantissa == 0:
            return "0.00000000"
        return format_decimal(mantissa * 10 ** (_VENUE_DECIMALS - self._model.size_decimals), _VENUE_DECIMALS)


def _best_first(item: tuple[tuple[int, int], int]) -> tuple[int, int]:
    (sign, price), _ = item
    return sign, -sign * price
