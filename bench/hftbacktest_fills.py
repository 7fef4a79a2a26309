"""Which fills does hftbacktest give on W3, under every queue model and latency?

Started by `bench.golden` in an environment that has hftbacktest and nothing of ours, from the repository's
root:

    python -m bench.hftbacktest_fills FOLDER_OF_WORKLOADS REQUESTS.npz OUTPUT.npz CASE...

A case is `maker:QUEUE:LATENCY`, the market maker over the hour, or `requests:QUEUE:LATENCY`, the list of
REQUESTS.npz over as many rows as it says (bench/golden_requests.py).

hftbacktest's recorder samples the account but keeps no fills. They are read off the orders instead: between
two decisions the clock is moved from row to row and report to report, which changes nothing of what happens,
and whenever the account has counted another trade, the orders are looked through. Three checks say that none
is missed and that looking changed nothing: the account's number of trades is the number of fills kept, their
sizes add up to its position, and a plain run, which moves its clock by the interval alone, ends with the same
orders, trades, position, balance and fee. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hftbacktest import FILLED, LIMIT, MARKET, ROIVectorMarketDepthBacktest
from hftbacktest.order import CANCELED, EXPIRED
from numba import njit

from bench.with_hftbacktest import DECIDES_EVERY_NS, TICK, asset_of, decide, events_of

END_OF_DATA = 1
MOST_ORDERS = 200_000
MS = 1_000_000
TICK_W3 = TICK["w3"]

# Whether rows reach the strategy later than the venue, and the latency of requests and of reports.
LATENCIES: dict[str, tuple[bool, int, int]] = {
    "none": (False, 0, 0),
    "orders": (False, 1 * MS, 1 * MS),
    "feed_and_orders": (True, 1 * MS, 1 * MS),
}

Table = npt.NDArray[np.int64]
COLUMNS = ("exch_ts", "local_ts", "side", "price_tick", "size_lots", "order", "maker")


@njit
def carry_out(hbt: Any, requests: Table, at: int, decision: int) -> tuple[int, int]:
    """Send the requests of one decision, from row `at` on; returns the next row, and the new orders sent.

    A cancel or a change is sent only for an order that is known to be working.
    """
    sent = 0
    while at < len(requests) and requests[at, 0] == decision:
        _, action, number, side, kind, lasting, tick, lots = requests[at]
        at += 1
        price = tick * TICK_W3
        size = lots / 1000.0
        if action == 0:
            what = LIMIT if kind == 0 else MARKET
            sent += 1
            if side > 0:
                hbt.submit_buy_order(0, number, price, size, lasting, what, False)
            else:
                hbt.submit_sell_order(0, number, price, size, lasting, what, False)
            continue
        order = hbt.orders(0).get(number)
        if order is not None and order.cancellable:
            if action == 1:
                hbt.cancel(0, number, False)
            else:
                hbt.modify(0, number, price, size, False)
    hbt.clear_inactive_orders(0)
    return at, sent


@njit
def act(hbt: Any, requests: Table, decision: int, state: Table) -> None:
    """One decision, the market maker's unless there are requests; `state`: orders, bid, ask, next row."""
    if len(requests) > 0:
        state[3], sent = carry_out(hbt, requests, state[3], decision)
        state[0] += sent
    else:
        state[0], state[1], state[2] = decide(hbt, state[0], state[1], state[2])


@njit
def run_plainly(hbt: Any, requests: Table) -> int:
    """Run to the end of the data; returns the orders sent."""
    state = np.zeros(4, np.int64)
    decisions = 0
    while hbt.elapse(DECIDES_EVERY_NS) == 0:
        decisions += 1
        act(hbt, requests, decisions, state)
    return int(state[0])


@njit
def collect(hbt: Any, done: Any, told: int, response_ns: int, fills: Table, filled: int) -> int:
    """Take down orders newly filled, told at `told` (0: as late as a report takes); returns how many now."""
    own = hbt.orders(0).values()
    while own.has_next():
        order = own.get().arr[0]
        if order.status != FILLED or done[order.order_id]:
            continue
        done[order.order_id] = True
        fills[filled, 0] = order.exch_timestamp
        fills[filled, 1] = told if told > 0 else order.exch_timestamp + response_ns
        fills[filled, 2] = order.side
        fills[filled, 3] = order.exec_price_tick
        fills[filled, 4] = round(order.exec_qty * 1000.0)
        fills[filled, 5] = order.order_id
        fills[filled, 6] = order.maker
        filled += 1
    return filled


@njit
def record(hbt: Any, requests: Table, response_ns: int, fills: Table, counts: Table) -> tuple[int, int]:
    """Run to the end of the data, one row of `fills` per fill; returns the orders sent and the fills.

    `counts` (int64[2]) takes the orders that are known to have expired and to be cancelled.
    """
    done = np.zeros(MOST_ORDERS, np.bool_)
    state = np.zeros(4, np.int64)
    filled = decisions = 0
    hbt.elapse(0)  # sets the clock to the first row
    decision = hbt.current_timestamp + DECIDES_EVERY_NS
    while True:
        status = 0
        while status != END_OF_DATA and hbt.current_timestamp < decision:
            status = hbt.wait_next_feed(True, decision - hbt.current_timestamp)
            if hbt.state_values(0).num_trades != filled:
                # When data ends, the clock stays where it was.
                told = 0 if status == END_OF_DATA else hbt.current_timestamp
                filled = collect(hbt, done, told, response_ns, fills, filled)
        own = hbt.orders(0).values()
        while own.has_next():
            order = own.get().arr[0]
            expired = order.status == EXPIRED
            if not done[order.order_id] and (expired or order.status == CANCELED):
                done[order.order_id] = True
                counts[0 if expired else 1] += 1
        if status == END_OF_DATA:
            return state[0], filled
        decisions += 1
        act(hbt, requests, decisions, state)
        decision += DECIDES_EVERY_NS


def totals(hbt: Any, orders: int) -> dict[str, float]:
    """What a run came to, as far as the order of additions leaves it sure."""
    state = hbt.state_values(0)
    return {
        "orders": orders,
        "fills": int(state.num_trades),
        "position": round(hbt.position(0), 6),
        "balance": round(state.balance, 6),
        "fee": round(state.fee, 6),
    }


def check(fills: Table, recorded: dict[str, float], plain: dict[str, float]) -> None:
    """Every fill is there, and watching for them changed nothing."""
    if recorded != plain:
        raise SystemExit(f"recording changed the run: {recorded}, without {plain}")
    if len(fills) != recorded["fills"]:
        raise SystemExit(f"{len(fills)} fills were seen, the account counted {recorded['fills']}")
    position = int((fills[:, 2] * fills[:, 4]).sum())
    if position != round(recorded["position"] * 1000):
        raise SystemExit(f"the fills add up to {position} lots, the account holds {recorded['position']}")


def run(folder: Path, requests: Table, rows: int, queue: str, latency: str) -> tuple[Table, dict[str, Any]]:
    """The fills of one case in order of report (then of exchange time, then of number), and its totals."""
    feed_latency, entry_ns, response_ns = LATENCIES[latency]
    events, _ = events_of("w3", folder, rows, feed_latency=feed_latency)
    fills, counts = np.zeros((MOST_ORDERS, len(COLUMNS)), np.int64), np.zeros(2, np.int64)

    def fresh() -> Any:
        return ROIVectorMarketDepthBacktest([asset_of("w3", events, queue, entry_ns, response_ns)])

    hbt = fresh()
    orders, filled = record(hbt, requests, response_ns, fills, counts)
    recorded, fills = totals(hbt, orders), fills[:filled]
    hbt = fresh()
    check(fills, recorded, totals(hbt, run_plainly(hbt, requests)))
    fills = fills[np.lexsort((fills[:, 5], fills[:, 0], fills[:, 1]))]
    return fills, {**recorded, "expired": int(counts[0]), "cancelled": int(counts[1])}


def main() -> None:
    """Some cases into one file."""
    folder, output, cases = Path(sys.argv[1]), Path(sys.argv[3]), sys.argv[4:]
    with np.load(sys.argv[2]) as given:
        requests, rows = given["requests"], int(given["rows"])
    tables: dict[str, Table] = {}
    summaries: dict[str, dict[str, Any]] = {}
    for case in cases:
        trader, queue, latency = case.split(":")
        told = (requests, rows) if trader == "requests" else (requests[:0], 0)
        tables[case], summaries[case] = run(folder, *told, queue, latency)
        print(f"{case}: {summaries[case]}", file=sys.stderr, flush=True)
    np.savez_compressed(output, **tables)  # type: ignore[arg-type]
    print(json.dumps(summaries))


if __name__ == "__main__":
    main()
