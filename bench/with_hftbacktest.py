"""How many events a second does hftbacktest take, on the workloads, with a strategy compiled by Numba?

Started by `bench.peers` in an environment that has hftbacktest and nothing of ours:

    python bench/with_hftbacktest.py w1|w2|w3 FOLDER [ROWS]

Prints one JSON object. The strategy looks at every event as it comes, takes the trades, and keeps to the
same crossing rule as everybody else's. `compile_seconds` is spent in every process anew, since hftbacktest
caches nothing; it is not part of `seconds`. Latency is zero, fees are the workload's, and depth is kept in
the range-of-interest vector (in W1, which has no book, in the hash map; its orders fill at a level that
stands there for them).
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from hftbacktest import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    GTC,
    LOCAL_EVENT,
    MARKET,
    SELL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
    ROIVectorMarketDepthBacktest,
    event_dtype,
)
from numba import njit

LOT = 0.01
READY = 500  # updates of the slow average
FOREVER_NS = 10**18
FEED = 2  # what wait_next_feed returns for an event
TICK = {"w1": 0.01, "w2": 0.01, "w3": 0.1}
ROWS_OF_WARM_UP = 2_000


@njit
def cross(hbt: Any) -> tuple[int, int]:
    """Run to the end of the data; returns the trades seen and the orders sent."""
    quick = 0.0
    calm = 0.0
    trades = 0
    orders = 0
    held = 0
    while hbt.wait_next_feed(False, FOREVER_NS) == FEED:
        for trade in hbt.last_trades(0):
            if trades == 0:
                quick = trade.px
                calm = trade.px
            else:
                quick += 2.0 / 51.0 * (trade.px - quick)
                calm += 2.0 / 501.0 * (trade.px - calm)
            trades += 1
            if trades < READY:
                continue
            wanted = 1 if quick > calm else -1
            if wanted == held:
                continue
            orders += 1
            size = LOT * abs(wanted - held)
            if wanted > 0:
                hbt.submit_buy_order(0, orders, trade.px, size, GTC, MARKET, False)
            else:
                hbt.submit_sell_order(0, orders, trade.px, size, GTC, MARKET, False)
            held = wanted
        hbt.clear_last_trades(0)
        if orders % 64 == 0:
            hbt.clear_inactive_orders(0)
    return trades, orders


def events_of(workload: str, folder: Path, rows: int) -> tuple[Any, int]:
    """The event array, and how many of the workload's rows are in it."""
    if workload == "w1":
        import polars as pl

        table = pl.read_parquet(folder / "w1_trades.parquet")
        table = table.head(rows) if rows else table
        events = np.zeros(len(table) + 2, event_dtype)
        both = EXCH_EVENT | LOCAL_EVENT
        side = np.where(table["side"].to_numpy() == 1, BUY_EVENT, SELL_EVENT)
        events["ev"][2:] = both | TRADE_EVENT | side
        events["px"][2:] = table["price"].to_numpy()
        events["qty"][2:] = table["size"].to_numpy()
        events["local_ts"][2:] = events["exch_ts"][2:] = table["ts_recv"].to_numpy()
        # A level to fill at, on either side, out of the trades' way.
        events["ev"][:2] = both | DEPTH_EVENT | BUY_EVENT, both | DEPTH_EVENT | SELL_EVENT
        events["px"][:2] = 1.0, 1_000_000.0
        events["qty"][:2] = 1e6
        events["local_ts"][:2] = events["exch_ts"][:2] = events["exch_ts"][2] - 1
        return events, len(table)
    events = np.load(folder / f"{workload}_hft.npy")
    events = events[:rows].copy() if rows else events
    # W2's quotes are up to four changes of a level each: what is counted are the workload's own rows.
    return events, 3_000_000 if workload == "w2" and not rows else len(events)


def asset_of(workload: str, events: Any) -> Any:
    """An asset with zero latency and the workload's fees; `events` must outlive it."""
    asset = (
        BacktestAsset()
        .data(events)
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0001)
        .tick_size(TICK[workload])
        .lot_size(0.001)
        .last_trades_capacity(1000)
    )
    return asset if workload == "w1" else asset.roi_lb(40_000.0).roi_ub(80_000.0)


def main() -> None:
    """Load, compile on the first rows, run, print."""
    workload, folder = sys.argv[1], Path(sys.argv[2])
    rows = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    events, count = events_of(workload, folder, rows)
    backtest = HashMapMarketDepthBacktest if workload == "w1" else ROIVectorMarketDepthBacktest
    first_rows = events[:ROWS_OF_WARM_UP].copy()
    began = time.perf_counter()
    cross(backtest([asset_of(workload, first_rows)]))
    compiling = time.perf_counter() - began
    hbt = backtest([asset_of(workload, events)])
    began = time.perf_counter()
    trades, orders = cross(hbt)
    seconds = time.perf_counter() - began
    print(
        json.dumps(
            {
                "events": count,
                "seconds": seconds,
                "compile_seconds": compiling,
                "trades": trades,
                "orders": orders,
                "position": hbt.position(0),
                "balance": hbt.state_values(0).balance,
                "fee": hbt.state_values(0).fee,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
