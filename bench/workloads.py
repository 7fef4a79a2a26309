"""What are the workloads that every engine is measured on?

    W1   2,000,000 trades of one symbol
    W2   2,000,000 quotes and 1,000,000 trades of one symbol, in order of receipt
    W3   about 5,400,000 level-2 changes and trades of one symbol, within one hour, as whole messages
    W4   1,000,000 one-minute bars

All of it is made up from fixed seeds, so every machine has the same files; each is written as Parquet, and
as the arrays that hftbacktest reads. Changing a draw changes every published figure: the order of calls to
the generator is the definition.

    python -m bench.workloads [FOLDER]     writes what is missing
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bench.common import CACHE, Stopwatch

njit: Any = numba.njit  # numba's own types know no function that returns a number

DAY_NS = 86_400_000_000_000
HOUR_NS = 3_600_000_000_000
SECOND_NS = 1_000_000_000
FIRST_DAY = 1_704_067_200_000_000_000  # 2024-01-01T00:00:00Z
BARS_BEGIN = 1_577_836_800_000_000_000  # 2020-01-01T00:00:00Z

# hftbacktest's event record and the bits of its `ev`.
HFT_EVENT = np.dtype(
    [
        ("ev", "u8"),
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("order_id", "u8"),
        ("ival", "i8"),
        ("fval", "f8"),
    ],
    align=True,
)
HFT_DEPTH, HFT_TRADE = 1, 2
HFT_EXCHANGE, HFT_LOCAL, HFT_BUY, HFT_SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28

BUYER, SELLER = 1, 2  # `side` of a trade: who took
W3_TRADE = 1  # `kind` in W3; 0 is a level of the book
W3_LEVELS = 20

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]


def strictly_increasing(times: Ints) -> Ints:
    """The same times, each at least one above the one before."""
    index = np.arange(len(times), dtype=np.int64)
    increasing: Ints = np.maximum.accumulate(times - index) + index
    return increasing


def draw_times(rng: np.random.Generator, count: int, span_ns: int) -> tuple[Ints, Ints]:
    """`count` event times over the span, and their times of receipt 1 to 20 ms later, both in order."""
    elapsed = np.cumsum(rng.exponential(1.0, count))
    event = strictly_increasing(FIRST_DAY + (elapsed / elapsed[-1] * (span_ns - SECOND_NS)).astype(np.int64))
    delayed = event + rng.integers(1_000_000, 20_000_001, count)
    return event, strictly_increasing(np.maximum.accumulate(delayed))


def _write(path: Path, **columns: npt.NDArray[np.generic]) -> None:
    pq.write_table(pa.table(columns), path, compression="zstd")


def write_w1(folder: Path) -> None:
    """w1_trades.parquet."""
    rng = np.random.default_rng(101)
    count = 2_000_000
    event, received = draw_times(rng, count, DAY_NS)
    tick = 6_000_000 + np.cumsum(np.rint(rng.normal(0, 5, count)).astype(np.int64))
    _write(
        folder / "w1_trades.parquet",
        ts_event=event,
        ts_recv=received,
        price=np.round(tick * 0.01, 2),
        size=np.round(rng.lognormal(-3, 1.2, count) + 0.02, 3),
        side=rng.integers(1, 3, count).astype(np.uint8),
        trade_id=np.arange(1, count + 1),
    )


def write_w2(folder: Path) -> None:
    """w2_l1.parquet and w2_hft.npy."""
    rng = np.random.default_rng(202)
    count = 3_000_000
    event, received = draw_times(rng, count, DAY_NS)
    is_trade = np.zeros(count, np.uint8)
    is_trade[rng.permutation(count - 1)[:1_000_000] + 1] = 1  # the first row is a quote
    step = np.where(is_trade == 1, 0, np.rint(rng.normal(0, 4, count))).astype(np.int64)
    bid = 6_000_000 + np.cumsum(step)
    spread = rng.integers(1, 6, count)
    quote = np.maximum.accumulate(np.where(is_trade == 0, np.arange(count), 0))  # the one in force
    ask = bid + spread[quote]
    bid_size = np.round(rng.lognormal(0, 0.7, count) + 0.5, 3)[quote]
    ask_size = np.round(rng.lognormal(0, 0.7, count) + 0.5, 3)[quote]
    side = rng.integers(1, 3, count).astype(np.uint8)
    price = np.where(side == BUYER, ask, bid)
    size = np.round(rng.lognormal(-3, 1.2, count) + 0.02, 3)
    _write(
        folder / "w2_l1.parquet",
        ts_event=event,
        ts_recv=received,
        is_trade=is_trade,
        bid_px=np.round(bid * 0.01, 2),
        bid_sz=bid_size,
        ask_px=np.round(ask * 0.01, 2),
        ask_sz=ask_size,
        price=np.round(price * 0.01, 2),
        size=size,
        side=side,
        id=np.arange(1, count + 1),
    )
    capacity = count * 4
    kind, source, tick = (np.zeros(capacity, np.int64) for _ in range(3))
    quantity = np.zeros(capacity)
    rows = _w2_levels(is_trade, bid, ask, bid_size, ask_size, price, size, side, kind, source, tick, quantity)
    kind, source, tick = kind[:rows], source[:rows], tick[:rows]
    events = np.zeros(rows, HFT_EVENT)
    events["ev"] = kind.astype(np.uint64) | np.uint64(HFT_EXCHANGE | HFT_LOCAL)
    events["exch_ts"] = events["local_ts"] = received[source]
    events["px"] = np.round(tick * 0.01, 2)
    events["qty"] = quantity[:rows]
    np.save(folder / "w2_hft.npy", events)


@njit
def _w2_levels(  # noqa: PLR0913  one column each, one branch per side
    is_trade: Bytes,
    bid: Ints,
    ask: Ints,
    bid_size: Floats,
    ask_size: Floats,
    price: Ints,
    size: Floats,
    side: Bytes,
    kind: Ints,
    source: Ints,
    tick: Ints,
    quantity: Floats,
) -> int:
    """Quotes as changes of a one-level book, into the last four arrays; returns how many."""
    rows = 0
    last_bid = last_ask = -1
    for i in range(len(bid)):
        if is_trade[i]:
            kind[rows] = HFT_TRADE | (HFT_BUY if side[i] == BUYER else HFT_SELL)
            source[rows] = i
            tick[rows] = price[i]
            quantity[rows] = size[i]
            rows += 1
            continue
        for turn in range(2):
            # The side that retreats moves first, so that the book is never crossed.
            asks = (turn == 0) if bid[i] > last_bid else (turn == 1)
            if asks:
                if last_ask >= 0 and last_ask != ask[i]:
                    kind[rows] = HFT_DEPTH | HFT_SELL
                    source[rows] = i
                    tick[rows] = last_ask
                    rows += 1
                kind[rows] = HFT_DEPTH | HFT_SELL
                source[rows] = i
                tick[rows] = ask[i]
                quantity[rows] = ask_size[i]
                rows += 1
            else:
                if last_bid >= 0 and last_bid != bid[i]:
                    kind[rows] = HFT_DEPTH | HFT_BUY
                    source[rows] = i
                    tick[rows] = last_bid
                    rows += 1
                kind[rows] = HFT_DEPTH | HFT_BUY
                source[rows] = i
                tick[rows] = bid[i]
                quantity[rows] = bid_size[i]
                rows += 1
        last_bid = bid[i]
        last_ask = ask[i]
    return rows


@njit
def _w3_book(  # noqa: PLR0913, PLR0915  a market's whole life is one loop
    depth_rows: int,
    chance: Floats,
    level: Ints,
    amount: Floats,
    draw_side: Ints,
    kind: Bytes,
    side: Bytes,
    action: Bytes,
    tick: Ints,
    quantity: Floats,
    step: Ints,
) -> tuple[int, int]:
    """A book of 20 + 20 levels, hit, cancelled, improved and resized by the draws.

    Fills the last six arrays; returns the rows and the steps. A step is a message: the rows of one step
    belong together. kind 0 level, 1 trade; side 1 bid or buyer, 2 ask or seller; action 1 add, 2 change,
    3 delete.
    """
    bid_tick = np.empty(W3_LEVELS, np.int64)
    ask_tick = np.empty(W3_LEVELS, np.int64)
    bid_size = np.empty(W3_LEVELS)
    ask_size = np.empty(W3_LEVELS)
    row = depth = steps = 0
    for i in range(W3_LEVELS):
        bid_tick[i] = 600_000 - i
        ask_tick[i] = 600_001 + i
        bid_size[i] = amount[2 * i]
        ask_size[i] = amount[2 * i + 1]
        for asks in range(2):
            side[row] = 1 + asks
            action[row] = 1
            tick[row] = ask_tick[i] if asks else bid_tick[i]
            quantity[row] = ask_size[i] if asks else bid_size[i]
            row += 1
            depth += 1
    draw = 2 * W3_LEVELS
    while depth < depth_rows:
        steps += 1
        luck = chance[draw]
        fresh = amount[draw]
        asks = draw_side[draw] == 1
        at = level[draw]
        draw += 1
        ticks = ask_tick if asks else bid_tick
        sizes = ask_size if asks else bid_size
        book_side = 2 if asks else 1
        away = 1 if asks else -1
        if luck < 0.10 or luck >= 0.94:  # the best level is hit by a trade, or cancelled
            trade = luck < 0.10
            taken = min(round(fresh * 0.6 + 0.001, 3), sizes[0]) if trade else sizes[0]
            if trade:
                kind[row] = W3_TRADE
                side[row] = 1 if asks else 2
                tick[row] = ticks[0]
                quantity[row] = taken
                step[row] = steps
                row += 1
            left = round(sizes[0] - taken, 3)
            side[row] = book_side
            tick[row] = ticks[0]
            step[row] = steps
            depth += 1
            if left > 0:
                sizes[0] = left
                action[row] = 2
                quantity[row] = left
                row += 1
            else:
                action[row] = 3
                row += 1
                for i in range(W3_LEVELS - 1):
                    ticks[i] = ticks[i + 1]
                    sizes[i] = sizes[i + 1]
                ticks[W3_LEVELS - 1] += away
                sizes[W3_LEVELS - 1] = fresh
                side[row] = book_side
                action[row] = 1
                tick[row] = ticks[W3_LEVELS - 1]
                quantity[row] = fresh
                step[row] = steps
                row += 1
                depth += 1
        elif ask_tick[0] - bid_tick[0] > 1 and luck < 0.55:  # a wide market is improved from one side
            side[row] = book_side
            action[row] = 3
            tick[row] = ticks[W3_LEVELS - 1]
            step[row] = steps
            row += 1
            for i in range(W3_LEVELS - 1, 0, -1):
                ticks[i] = ticks[i - 1]
                sizes[i] = sizes[i - 1]
            ticks[0] -= away
            sizes[0] = fresh
            side[row] = book_side
            action[row] = 1
            tick[row] = ticks[0]
            quantity[row] = fresh
            step[row] = steps
            row += 1
            depth += 2
        else:  # one level is resized, more often near the top
            sizes[at] = fresh
            side[row] = book_side
            action[row] = 2
            tick[row] = ticks[at]
            quantity[row] = fresh
            step[row] = steps
            row += 1
            depth += 1
    return row, steps


def write_w3(folder: Path) -> None:
    """w3_l2.parquet, w3_hft.npy (no latency) and w3_hft_lat.npy (event and receive times apart)."""
    rng = np.random.default_rng(303)
    depth_rows = 5_000_000
    capacity = depth_rows * 2
    chance = rng.random(capacity)
    level = np.minimum(rng.geometric(0.18, capacity) - 1, W3_LEVELS - 1)
    amount = np.round(rng.lognormal(0, 1, capacity) + 0.001, 3)
    draw_side = rng.integers(0, 2, capacity)
    kind, side, action = (np.zeros(capacity, np.uint8) for _ in range(3))
    tick, step = np.zeros(capacity, np.int64), np.zeros(capacity, np.int64)
    quantity = np.zeros(capacity)
    rows, steps = _w3_book(
        depth_rows, chance, level, amount, draw_side, kind, side, action, tick, quantity, step
    )
    kind, side, action, tick, step = kind[:rows], side[:rows], action[:rows], tick[:rows], step[:rows]
    quantity = quantity[:rows]
    event, received = draw_times(rng, steps + 1, HOUR_NS)
    price = np.round(tick * 0.1, 1)
    _write(
        folder / "w3_l2.parquet",
        ts_event=event[step],
        ts_recv=received[step],
        kind=kind,
        side=side,
        action=action,
        price=price,
        size=quantity,
        last=np.append(step[1:] != step[:-1], True).astype(np.uint8),
    )
    events = np.zeros(rows, HFT_EVENT)
    what = np.where(kind == W3_TRADE, HFT_TRADE, HFT_DEPTH) | np.where(side == 1, HFT_BUY, HFT_SELL)
    events["ev"] = what.astype(np.uint64) | np.uint64(HFT_EXCHANGE | HFT_LOCAL)
    events["px"] = price
    events["qty"] = quantity
    events["exch_ts"] = events["local_ts"] = received[step]
    np.save(folder / "w3_hft.npy", events)
    events["exch_ts"] = event[step]
    np.save(folder / "w3_hft_lat.npy", events)


def write_w4(folder: Path) -> None:
    """w4_bars.parquet."""
    rng = np.random.default_rng(404)
    count = 1_000_000
    close = np.round(60000 * np.exp(np.cumsum(rng.normal(0, 4e-4, count))), 2)
    opened = np.round(np.append(60000.0, close[:-1]) + rng.normal(0, 1, count), 2)
    high = np.round(np.maximum(opened, close) + rng.exponential(8, count), 2)
    low = np.round(np.minimum(opened, close) - rng.exponential(8, count), 2)
    _write(
        folder / "w4_bars.parquet",
        ts=BARS_BEGIN + np.arange(1, count + 1, dtype=np.int64) * 60 * SECOND_NS,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=np.round(rng.lognormal(3, 1, count) + 1, 3),
    )


# The file that is written last says that a workload is whole.
WORKLOADS: dict[str, tuple[Callable[[Path], None], str]] = {
    "w1": (write_w1, "w1_trades.parquet"),
    "w2": (write_w2, "w2_hft.npy"),
    "w3": (write_w3, "w3_hft_lat.npy"),
    "w4": (write_w4, "w4_bars.parquet"),
}


def workload(name: str, folder: Path = CACHE / "workloads") -> Path:
    """The folder that holds workload `name`, made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    write, last_file = WORKLOADS[name]
    if not (folder / last_file).exists():
        with Stopwatch() as watch:
            write(folder)
        print(f"{name} written in {watch.seconds:.1f} s", flush=True)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=CACHE / "workloads")
    for each in WORKLOADS:
        workload(each, parser.parse_args().folder)
