"""One symbol's klines as streams: when which bar is pushed, and that each of them closes once.

An open bar that has changed is pushed two seconds after the last push (`1s`: a second). A bar closes when the
venue's time has left it, whether anything traded in it or not, and is pushed once more with `x` true. That is
its end: if the time should be set back, nothing is pushed until it is there again. A stream that nobody
listens to has no memory: who comes back begins with the bar that is open then.

`@kline_1d@+08:00` is the same by a clock that is eight hours ahead: its days begin at 16:00 UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.serve.candles import (
    INTERVAL_SECONDS,
    CandleSeries,
    earliest_start,
    interval_end,
    interval_start,
    kline_payload,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

_ZONES_S = {"": 0, "@+08:00": 8 * 3_600}
_SLOW_SECONDS = 2
_MOST_CLOSED = 1_000  # after a leap of the time: the last ones


class KlineStreams:
    """The kline streams of one symbol. Nothing is sent from here."""

    def __init__(self, symbol: str, candles: CandleSeries) -> None:
        self._symbol = symbol
        self._candles = candles
        self._streams = {
            f"{symbol.lower()}@kline_{interval}{suffix}": (interval, zone_s)
            for interval in INTERVAL_SECONDS
            for suffix, zone_s in _ZONES_S.items()
        }
        self._pushed: dict[str, tuple[int, int, int]] = {}  # stream: bar's start; a push's changes, second

    def forget(self, stream: str) -> None:
        """Whoever listens to the stream from now on begins with the bar that is open then."""
        self._pushed.pop(stream, None)

    def push(self, seconds: int, now_us: int, wanted: Container[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """What is due at a second (Unix time) of the venue; `now_us` is what the messages show as theirs."""
        for stream, (interval, zone_s) in self._streams.items():
            if stream not in wanted:
                self._pushed.pop(stream, None)
                continue
            start = interval_start(seconds, interval, zone_s)
            left, changes, pushed_s = self._pushed.get(stream, (start, 0, seconds - _SLOW_SECONDS))
            if start < left:
                continue
            left = max(left, earliest_start(start, interval, _MOST_CLOSED, zone_s))
            while left < start:
                yield from self._message(stream, left, now_us, closed=True)
                left = interval_end(left, interval, zone_s)
            waits = interval != "1s" and 0 <= seconds - pushed_s < _SLOW_SECONDS
            if changes != self._candles.changes and not waits:
                changes, pushed_s = self._candles.changes, seconds
                yield from self._message(stream, start, now_us, closed=False)
            self._pushed[stream] = (start, changes, pushed_s)

    def _message(
        self, stream: str, start: int, now_us: int, *, closed: bool
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The bar that began at `start`; nothing before the first trade."""
        interval, zone_s = self._streams[stream]
        candle = self._candles.at(interval, start, zone_s)
        if candle is not None:
            yield (
                stream,
                kline_payload(candle, self._symbol, interval, now_us, closed=closed, zone_s=zone_s),
            )
