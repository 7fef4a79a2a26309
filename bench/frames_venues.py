"""Frames of more venues, made in memory: Binance depth, Alpaca trades, Kraken books with their checksums.

Each comes with what the engine has to know beforehand: instruments, and the first frames that begin a book.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterator

import msgspec

from bench.frames import FIRST_ID, FIRST_MS, binance_trades

SEED = 7
LEVELS = 10  # that a depth update changes on each side
_DEPTH = (
    b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":%d,"s":"BTCUSDT","U":%d,"u":%d,'
    b'"b":[%b],"a":[%b]}}'
)
_LEVEL = b'["%d.%02d000000","%d.%05d000"]'


def binance_depth(count: int) -> Iterator[bytes]:
    """Updates of ten levels a side around a price that moves; the first follows the update FIRST_ID - 1."""
    chance = random.Random(SEED)
    for index in range(count):
        mid = 6_700_000 + chance.randrange(-50, 50)
        sides = []
        for sign in (-1, 1):
            ticks = [mid + sign * (1 + step) for step in range(LEVELS)]
            levels = [
                _LEVEL % (tick // 100, tick % 100, chance.randrange(3), chance.randrange(100_000))
                for tick in ticks
            ]
            sides.append(b",".join(levels))
        stamp = FIRST_MS + 100 * index
        first = FIRST_ID + 3 * index
        yield _DEPTH % (stamp, first, first + 2, sides[0], sides[1])


def alpaca_trades(count: int, per_frame: int = 1) -> Iterator[bytes]:
    """Arrays of stock trades in MessagePack, times as its Timestamp extension, to the nanosecond."""
    encode = msgspec.msgpack.Encoder().encode
    second, nano = FIRST_MS // 1_000, 1
    for index in range(0, count, per_frame):
        messages = []
        for number in range(index, min(index + per_frame, count)):
            nano += 1_234_567
            second, nano = second + nano // 10**9, nano % 10**9
            messages.append(
                {
                    "T": "t",
                    "S": "AAPL",
                    "i": FIRST_ID + number,
                    "x": "V",
                    "p": 190 + (number * 7 % 997) / 100,
                    "s": 1 + number * 13 % 400,
                    "c": ["@", "I"],
                    "z": "C",
                    "t": msgspec.msgpack.Ext(-1, struct.pack(">Q", (nano << 34) | second)),
                }
            )
        yield encode(messages)


def kraken_books(count: int, depth: int = 10) -> Iterator[bytes]:
    """A snapshot, then updates of one or two levels, each with the checksum of the venue's book after it."""
    chance = random.Random(SEED)
    bids = {600_000 - step: chance.randrange(1, 10**9) for step in range(1, depth + 1)}
    asks = {600_000 + step: chance.randrange(1, 10**9) for step in range(1, depth + 1)}
    yield _kraken_frame("snapshot", bids, asks, bids, asks, 0)
    for index in range(1, count):
        changed: list[dict[int, int]] = [{}, {}]
        for _ in range(1 + index % 2):
            side = chance.randrange(2)
            book = asks if side else bids
            price = chance.choice(sorted(book))
            changed[side][price] = book[price] = chance.randrange(1, 10**9)
        yield _kraken_frame("update", changed[0], changed[1], bids, asks, index)


def _kraken_frame(
    kind: str, bids: dict[int, int], asks: dict[int, int], all_bids: dict[int, int], all_asks: dict[int, int],
    index: int,
) -> bytes:  # fmt: skip
    tokens = [
        f"{price}{size}"
        for book, reverse in ((all_asks, False), (all_bids, True))
        for price, size in sorted(book.items(), reverse=reverse)[:10]
    ]
    checksum = zlib.crc32("".join(tokens).encode())
    sides = [
        ",".join(
            f'{{"price":{_decimal(price, 1)},"qty":{_decimal(size, 8)}}}' for price, size in side.items()
        )
        for side in (bids, asks)
    ]
    milliseconds = f"{index // 1_000 % 60:02d}.{index % 1_000:03d}000"
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"BTC/USD","bids":[{sides[0]}],"asks":[{sides[1]}],'
        f'"checksum":{checksum},"timestamp":"2024-06-01T00:{index // 60_000 % 60:02d}:{milliseconds}Z"}}]}}'
    ).encode()


def _decimal(mantissa: int, decimals: int) -> str:
    text = f"{mantissa:0{decimals + 1}d}"
    return f"{text[:-decimals]}.{text[-decimals:]}"


FRAMES: dict[str, Callable[[int], Iterator[bytes]]] = {
    "binance-trade": binance_trades,
    "binance-depth": binance_depth,
    "alpaca-trade": alpaca_trades,
    "alpaca-trade-x10": lambda count: alpaca_trades(count, 10),
    "kraken-book": kraken_books,
}
