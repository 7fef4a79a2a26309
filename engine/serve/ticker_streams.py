"""The streams that sum a market up, as it is pushed each second: which of them, and of whom.

    @ticker  @miniTicker                  the last 24 hours
    @ticker_1h  @ticker_4h  @ticker_1d    the last one, four, twenty-four hours
    !miniTicker@arr  !ticker_1h@arr …     the same in a list, of the symbols that have changed
    @avgPrice                             the average price of the last five minutes

A ticker comes when something has traded since the one before, the average price every second. There is no
`!ticker@arr`: the venue has given it up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from engine.serve.tickers import (
    DAY_US,
    average_payload,
    average_price,
    ticker_payload,
    window_payload,
)

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Container, Iterable, Iterator

    from engine.serve.candles import CandleSeries

_HOUR_US = 3_600_000_000
_WINDOWS_US = {"1h": _HOUR_US, "4h": 4 * _HOUR_US, "1d": DAY_US}
_DAYS = ("ticker", "miniTicker")
_NAMES = (*_DAYS, *(f"ticker_{window}" for window in _WINDOWS_US))
_LISTS = _NAMES[1:]


class Traded(Protocol):
    """A symbol, as far as it is summed up here."""

    name: str
    prefix: str
    candles: CandleSeries
    trades: deque[dict[str, Any]]

    def statistics(self, now_us: int, window_us: int) -> dict[str, Any]:
        """A window that ends now; see engine.serve.tickers."""
        ...


class TickerStreams:
    """Every such stream of a market. Nothing is sent from here."""

    def __init__(self, symbols: Iterable[Traded]) -> None:
        self._symbols = list(symbols)
        self._pushed: dict[tuple[str, str], int] = {}  # stream, symbol: changes when pushed

    def push(self, now_us: int, wanted: Container[str]) -> Iterator[tuple[str, Any]]:
        """What is due in this second."""
        for symbol in self._symbols:
            for name in _NAMES:
                stream = f"{symbol.prefix}@{name}"
                if stream in wanted and self._has_changed(stream, symbol):
                    yield stream, _payload(symbol, name, now_us)
            stream = symbol.prefix + "@avgPrice"
            if stream in wanted and symbol.trades:
                price = average_price(symbol.candles.candles("1m"), now_us)
                yield stream, average_payload(symbol.name, price, symbol.trades[-1]["T"], now_us)
        for name in _LISTS:
            stream = f"!{name}@arr"
            if stream in wanted:
                changed = [symbol for symbol in self._symbols if self._has_changed(stream, symbol)]
                if changed:
                    yield stream, [_payload(symbol, name, now_us) for symbol in changed]

    def _has_changed(self, stream: str, symbol: Traded) -> bool:
        key, changes = (stream, symbol.prefix), symbol.candles.changes
        before, self._pushed[key] = self._pushed.get(key, 0), changes
        return before != changes


def _payload(symbol: Traded, name: str, now_us: int) -> dict[str, Any]:
    if name in _DAYS:
        return ticker_payload(symbol.statistics(now_us, DAY_US), mini=name == "miniTicker")
    window = name.removeprefix("ticker_")
    return window_payload(symbol.statistics(now_us, _WINDOWS_US[window]), window)
