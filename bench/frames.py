"""Frames of venues, made in memory: what a busy market sends, without a socket. Needs nothing but Python.

Prices walk, sizes vary and ids count up, so that no shortcut that a repeated frame would allow is taken.
"""

from __future__ import annotations

from collections.abc import Iterator

FIRST_ID = 1_000_000_001
FIRST_MS = 1_717_200_000_000
_LOW, _TURN = 6_700_000, 20_000
_TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"%d.%02d000000",'
    b'"q":"0.%05d000","T":%d,"m":%b,"M":true}}'
)


def _ticks(index: int) -> int:
    step = index % _TURN
    return _LOW + (step if step < _TURN // 2 else _TURN - step)


def binance_trades(count: int) -> Iterator[bytes]:
    """Combined-stream trades of one symbol."""
    for index in range(count):
        ticks, stamp = _ticks(index), FIRST_MS + index // 5
        size, maker = 1 + index * 7 % 9_999, b"true" if index % 3 else b"false"
        yield _TRADE % (stamp, FIRST_ID + index, ticks // 100, ticks % 100, size, stamp, maker)


_AGGREGATE = (
    b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":%d,"s":"BTCUSDT","a":%d,"p":"%d.%02d000000",'
    b'"q":"0.%05d000","f":%d,"l":%d,"T":%d,"m":%b,"M":true}}'
)


def binance_aggregates(count: int) -> Iterator[bytes]:
    """The same as aggregated trades."""
    for index in range(count):
        ticks, stamp, number = _ticks(index), FIRST_MS + index // 5, FIRST_ID + index
        size, maker = 1 + index * 7 % 9_999, b"true" if index % 3 else b"false"
        cents = (ticks // 100, ticks % 100)
        yield _AGGREGATE % (stamp, number, *cents, size, number, number, stamp, maker)
