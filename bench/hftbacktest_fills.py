"""Which fills does hftbacktest give the market maker of W3, under every queue model and latency?

Started by `bench.golden` in an environment that has hftbacktest and nothing of ours, from the repository's
root:

    python -m bench.hftbacktest_fills FOLDER_OF_WORKLOADS OUTPUT.npz CASE

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
from hftbacktest import FILLED, ROIVectorMarketDepthBacktest
from hftbacktest.order import CANCELED, EXPIRED
from numba import njit

from bench.with_hftbacktest import DECIDES_EVERY_NS, asset_of, decide, events_of, make_market

END_OF_DATA = 1
MOST_ORDERS = 200_000
MS = 1_000_000

# Whether rows reach the strategy later than the venue, and the latency of requests and of reports.
LATENCIES: dict[str, tuple[bool, int, int]] = {
    "none": (False, 0, 0),
    "orders": (False, 1 * MS, 1 * MS),
    "feed_and_orders": (True, 1 * MS, 1 * MS),
}

Table = npt.NDArray[np.int64]
COLUMNS = ("exch_ts", "local_ts", "side", "price_tick", "size_lots", "order", "maker")


@njit
def record(hbt: Any, response_ns: int, fills: Table, counts: Table) -> tuple[int, int]:
    """Run to the end of the data, one row of `fills` per fill; returns the orders sent and the fills.

    `counts` (int64[2]) takes the orders that are known to have expired and to be cancelled.
    """
    done = np.zeros(MOST_ORDERS, np.bool_)
    orders = bid = ask = filled = 0
    hbt.elapse(0)  # sets the clock to the first row
    decision = hbt.current_timestamp + DECIDES_EVERY_NS
    while True:
        status = 0
        while status != END_OF_DATA and hbt.current_timestamp < decision:
            status = hbt.wait_next_feed(True, decision - hbt.current_timestamp)
            if hbt.state_values(0).num_trades == filled:
                continue
            own = hbt.orders(0).values()
            while own.has_next():
                order = own.get().arr[0]
                if order.status != FILLED or done[order.order_id]:
                    continue
                done[order.order_id] = True
                fills[filled, 0] = order.exch_timestamp
                # When data ends, the clock stays where it was.
                ended = status == END_OF_DATA
                fills[filled, 1] = order.exch_timestamp + response_ns if ended else hbt.current_timestamp
                fills[filled, 2] = order.side
                fills[filled, 3] = order.exec_price_tick
                fills[filled, 4] = round(order.exec_qty * 1000.0)
                fills[filled, 5] = order.order_id
                fills[filled, 6] = order.maker
                filled += 1
        own = hbt.orders(0).values()
        while own.has_next():
            order = own.get().arr[0]
            expired = order.status == EXPIRED
            if not done[order.order_id] and (expired or order.status == CANCELED):
                done[order.order_id] = True
                counts[0 if expired else 1] += 1
        if status == END_OF_DATA:
            return orders, filled
        orders, bid, ask = decide(hbt, orders, bid, ask)
        decision += DECIDES_EVERY_NS


def totals(hbt: Any, orders: int) -> dict[str, float]:
    """What a run came to, for comparison."""
    state = hbt.state_values(0)
    return {
        "orders": orders,
        "fills": int(state.num_trades),
        "position": float(hbt.position(0)),
        "balance": float(state.balance),
        "fee": float(state.fee),
    }


def check(fills: Table, recorded: dict[str, float], plain: dict[str, float]) -> None:
    """Every fill is there, and recording them changed nothing."""
    if recorded != plain:
        raise SystemExit(f"recording changed the run: {recorded}, without {plain}")
    if len(fills) != recorded["fills"]:
        raise SystemExit(f"{len(fills)} fills were seen, the account counted {recorded['fills']}")
    position = int((fills[:, 2] * fills[:, 4]).sum())
    if position != round(recorded["position"] * 1000):
        raise SystemExit(f"the fills add up to {position} lots, the account holds {recorded['position']}")


def run(folder: Path, queue: str, latency: str) -> tuple[Table, dict[str, Any]]:
    """The fills of one case in order of report (then of exchange time, then of number), and its totals."""
    feed_latency, entry_ns, response_ns = LATENCIES[latency]
    events, _ = events_of("w3", folder, feed_latency=feed_latency)
    hbt = ROIVectorMarketDepthBacktest([asset_of("w3", events, queue, entry_ns, response_ns)])
    fills, counts = np.zeros((MOST_ORDERS, len(COLUMNS)), np.int64), np.zeros(2, np.int64)
    orders, filled = record(hbt, response_ns, fills, counts)
    recorded = totals(hbt, orders)
    fills = fills[:filled]
    fills = fills[np.lexsort((fills[:, 5], fills[:, 0], fills[:, 1]))]
    hbt = ROIVectorMarketDepthBacktest([asset_of("w3", events, queue, entry_ns, response_ns)])
    _, orders = make_market(hbt)
    check(fills, recorded, totals(hbt, orders))
    return fills, {**recorded, "expired": int(counts[0]), "cancelled": int(counts[1])}


def main() -> None:
    """One or more cases, `queue:latency`, into one file."""
    folder, output, cases = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    tables: dict[str, Table] = {}
    summaries: dict[str, dict[str, Any]] = {}
    for case in cases:
        queue, latency = case.split(":")
        tables[case], summaries[case] = run(folder, queue, latency)
        print(f"{case}: {summaries[case]}", file=sys.stderr, flush=True)
    np.savez_compressed(output, **tables)  # type: ignore[arg-type]
    print(json.dumps(summaries))


if __name__ == "__main__":
    main()
