"""What a strategy sees of the market: levels, quotes, marks; read from the state, for both forms."""

from __future__ import annotations

from typing import Any

from engine.execution.fills import seen_market_of, seen_side_of
from engine.execution.money import divide_exactly
from engine.execution.state import MATCH_BOOK, assets_at, instruments_at, int64_at
from engine.loop.increments import POWERS
from engine.market.book import LOWEST_KEY, best_key, find, next_shown, size_of
from engine.model import jit


@jit.helper
def read_levels(s: Any, index: int, sign: int, depth: int, out: int) -> int:
    """Write price and size of the best `depth` displayed levels, mantissas, to `out`; how many."""
    side = seen_side_of(s, index, sign)
    found = int64_at(out, 2 * depth)
    count = 0
    key = best_key(side)
    while key != LOWEST_KEY and count < depth:
        found[2 * count] = key * sign
        found[2 * count + 1] = size_of(side, find(side, key))
        count += 1
        key = next_shown(side, key)
    return count


@jit.helper
def level(s: Any, index: int, sign: int, number: int) -> Any:
    """Price and size of the displayed level `number` (0: best) of a side; size 0 when there is none."""
    side = seen_side_of(s, index, sign)
    key = best_key(side)
    while key != LOWEST_KEY and number > 0:
        number -= 1
        key = next_shown(side, key)
    if key == LOWEST_KEY:
        return 0, 0
    return key * sign, size_of(side, find(side, key))


@jit.helper
def level_count(s: Any, index: int, sign: int, depth: int) -> int:
    """How many displayed levels a side has, up to `depth`."""
    side = seen_side_of(s, index, sign)
    count = 0
    key = best_key(side)
    while key != LOWEST_KEY and count < depth:
        count += 1
        key = next_shown(side, key)
    return count


@jit.helper
def quote(s: Any, index: int, out: int) -> int:
    """Write bid, bid size, ask, ask size, mantissas, to `out`; 0 when there is no quote."""
    record = instruments_at(s.instruments, s.instrument_count)[index]
    found = int64_at(out, 4)
    if record.quote_seen != 0:
        found[0] = record.quote_bid
        found[1] = record.quote_bid_size
        found[2] = record.quote_ask
        found[3] = record.quote_ask_size
        return 1
    bid, bid_size = level(s, index, 1, 0)
    ask, ask_size = level(s, index, -1, 0)
    if bid_size == 0 or ask_size == 0:
        return 0
    found[0] = bid
    found[1] = bid_size
    found[2] = ask
    found[3] = ask_size
    return 1


@jit.helper
def book_is_there(s: Any, index: int, depth: int) -> int:
    """1 when depth of the instrument has come and a side of it shows a level."""
    if instruments_at(s.instruments, s.instrument_count)[index].match_on != MATCH_BOOK or depth <= 0:
        return 0
    return 1 if level(s, index, 1, 0)[1] > 0 or level(s, index, -1, 0)[1] > 0 else 0


@jit.helper
def imbalance(s: Any, index: int, depth: int) -> float:
    """(bid size - ask size) / (bid size + ask size) over the best `depth` levels, 0 when empty."""
    scale = POWERS[instruments_at(s.instruments, s.instrument_count)[index].size_decimals]
    total_bid = 0.0
    total_ask = 0.0
    for sign in (1, -1):
        side = seen_side_of(s, index, sign)
        total = 0.0
        count = 0
        key = best_key(side)
        while key != LOWEST_KEY and count < depth:
            total += divide_exactly(size_of(side, find(side, key)), scale)
            count += 1
            key = next_shown(side, key)
        if sign > 0:
            total_bid = total
        else:
            total_ask = total
    total = total_bid + total_ask
    return (total_bid - total_ask) / total if total > 0.0 else 0.0


@jit.helper
def mark(s: Any, index: int) -> float:
    """Mid of the displayed best prices, else the last price, else 0."""
    record = instruments_at(s.instruments, s.instrument_count)[index]
    scale = POWERS[record.price_decimals]
    bid, bid_size = level(s, index, 1, 0)
    ask, ask_size = level(s, index, -1, 0)
    if bid_size > 0 and ask_size > 0:
        return (divide_exactly(bid, scale) + divide_exactly(ask, scale)) / 2.0
    return divide_exactly(seen_market_of(s, index).last_price, scale)


@jit.helper
def equity(s: Any) -> float:
    """Cash plus every position at its mark; what the run's currency counts."""
    total = 0.0
    if s.asset_count > 0:
        total = divide_exactly(assets_at(s.assets, s.asset_count)[0].cash, 100_000_000)
    for i in range(1, s.asset_count):
        asset = assets_at(s.assets, s.asset_count)[i]
        if asset.cash != 0 and asset.priced_by > 0:
            total += divide_exactly(asset.cash, 100_000_000) * mark(s, asset.priced_by - 1)
    for i in range(s.instrument_count):
        record = instruments_at(s.instruments, s.instrument_count)[i]
        if record.position != 0 and record.asset == 0:
            total += divide_exactly(record.position, POWERS[record.size_decimals]) * mark(s, i)
        if record.fee_base != 0 and record.asset == 0:
            total -= divide_exactly(record.fee_base, 100_000_000) * mark(s, i)
    return total
