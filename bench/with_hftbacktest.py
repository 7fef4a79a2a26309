"""How many events a second does hftbacktest take, on the workloads, with a strategy compiled by Numba?

Started by `bench.peers` in an environment that has hftbacktest and nothing of ours:

    python bench/with_hftbacktest.py w1|w2|w3 FOLDER [ROWS]             the crossing strategy
    python bench/with_hftbacktest.py w3 FOLDER --strategy maker         the market maker of W3
        [--queue NAME] [--entry-ns N --response-ns N] [--feed-latency]  how the venue is simulated
        [--npz FILE]                                                    end to end, see below

Prints one JSON object. The crossing strategy looks at every event as it comes, takes the trades, and keeps to
the same rule as everybody else's. The market maker decides every 100 ms of its own clock: it cancels its bid
and its ask, if they can be cancelled, and sends a post-only bid and ask of 0.01 at the best prices as long as
the position allows.

`compile_seconds` is spent in every process anew, since hftbacktest caches nothing; it is not part of
`seconds`. With `--npz` nothing is compiled ahead and hftbacktest loads its own file: what counts then is the
life of the whole process, which the caller measures. Fees are the workload's, and depth is kept in the
range-of-interest vector (in W1, which has no book, in the hash map; its orders fill at a level that stands
there for them). `--feed-latency` takes the data in which a row reaches the strategy later than the venue.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from hftbacktest import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    GTC,
    GTX,
    LIMIT,
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

# The market maker's.
DECIDES_EVERY_NS = 100_000_000
HELD_MOST = 0.0499

# Every queue model: the method of the asset that selects it, and its arguments.
QUEUES: dict[str, tuple[str, tuple[float, ...]]] = {
    "risk_averse": ("risk_adverse_queue_model", ()),
    "power_2": ("power_prob_queue_model", (2.0,)),
    "power_3": ("power_prob_queue_model", (3.0,)),
    "power2_3": ("power_prob_queue_model2", (3.0,)),
    "power3_3": ("power_prob_queue_model3", (3.0,)),
    "log": ("log_prob_queue_model", ()),
    "log2": ("log_prob_queue_model2", ()),
}


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


@njit
def make_market(hbt: Any) -> tuple[int, int]:
    """Run to the end of the data; returns the decisions made and the orders sent."""
    decisions = orders = bid = ask = 0
    while hbt.elapse(DECIDES_EVERY_NS) == 0:
        decisions += 1
        orders, bid, ask = decide(hbt, orders, bid, ask)
    return decisions, orders


@njit
def decide(hbt: Any, orders: int, bid: int, ask: int) -> tuple[int, int, int]:
    """One decision of the market maker; takes and returns the orders sent, and the ids of the last of a side.

    An order's id is its running number, the bid's before the ask's.
    """
    own = hbt.orders(0)
    if bid > 0:
        order = own.get(bid)
        if order is not None and order.cancellable:
            hbt.cancel(0, bid, False)
    if ask > 0:
        order = own.get(ask)
        if order is not None and order.cancellable:
            hbt.cancel(0, ask, False)
    hbt.clear_inactive_orders(0)
    position = hbt.position(0)
    depth = hbt.depth(0)
    if position < HELD_MOST:
        orders += 1
        bid = orders
        hbt.submit_buy_order(0, bid, depth.best_bid, LOT, GTX, LIMIT, False)
    if position > -HELD_MOST:
        orders += 1
        ask = orders
        hbt.submit_sell_order(0, ask, depth.best_ask, LOT, GTX, LIMIT, False)
    return orders, bid, ask


def events_of(workload: str, folder: Path, rows: int = 0, *, feed_latency: bool = False) -> tuple[Any, int]:
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
    events = np.load(folder / f"{workload}_hft{'_lat' if feed_latency else ''}.npy")
    events = events[:rows].copy() if rows else events
    # W2's quotes are up to four changes of a level each: what is counted are the workload's own rows.
    return events, 3_000_000 if workload == "w2" and not rows else len(events)


def asset_of(
    workload: str, events: Any, queue: str = "risk_averse", entry_ns: int = 0, response_ns: int = 0
) -> Any:
    """An asset with the workload's fees; `events` (an array, or a file's name) must outlive it."""
    select, arguments = QUEUES[queue]
    asset = (
        getattr(BacktestAsset().data(events), select)(*arguments)
        .linear_asset(1.0)
        .constant_order_latency(entry_ns, response_ns)
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0001)
        .tick_size(TICK[workload])
        .lot_size(0.001)
        .last_trades_capacity(1000)
    )
    return asset if workload == "w1" else asset.roi_lb(40_000.0).roi_ub(80_000.0)


def parse() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("workload", choices=tuple(TICK))
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", type=int, nargs="?", default=0)
    parser.add_argument("--strategy", choices=("cross", "maker"), default="cross")
    parser.add_argument("--queue", choices=tuple(QUEUES), default="risk_averse")
    parser.add_argument("--entry-ns", type=int, default=0)
    parser.add_argument("--response-ns", type=int, default=0)
    parser.add_argument("--feed-latency", action="store_true")
    parser.add_argument("--npz", type=Path)
    return parser.parse_args()


def main() -> None:
    """Load, compile on the first rows, run, print."""
    options = parse()
    workload = options.workload
    backtest = HashMapMarketDepthBacktest if workload == "w1" else ROIVectorMarketDepthBacktest
    run = make_market if options.strategy == "maker" else cross
    venue = (options.queue, options.entry_ns, options.response_ns)
    compiling = 0.0
    events: Any
    count = 0
    if options.npz:
        events = str(options.npz)
    else:
        events, count = events_of(workload, options.folder, options.rows, feed_latency=options.feed_latency)
        first_rows = events[:ROWS_OF_WARM_UP].copy()
        began = time.perf_counter()
        run(backtest([asset_of(workload, first_rows, *venue)]))
        compiling = time.perf_counter() - began
    hbt = backtest([asset_of(workload, events, *venue)])
    began = time.perf_counter()
    seen, orders = run(hbt)
    seconds = time.perf_counter() - began
    state = hbt.state_values(0)
    print(
        json.dumps(
            {
                "events": count,
                "seconds": seconds,
                "compile_seconds": compiling,
                "decisions" if options.strategy == "maker" else "trades": seen,
                "orders": orders,
                "fills": state.num_trades,
                "position": hbt.position(0),
                "balance": state.balance,
                "fee": state.fee,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
