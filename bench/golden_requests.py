"""What does a trader do that meets every rule of hftbacktest's exchange within a minute?

The market maker of W3 has one post-only order a side. These requests, drawn from a fixed seed for the first
minute of W3, have the rest: many own orders, several at one price, behind, at and through the best; sizes
from a lot to several times what is displayed; limits that cross and have to rest or not, market orders;
cancels, smaller sizes and other prices. They are a list that any engine can carry out as it stands: when,
what, at which price. Left out are changes to a larger size, after which hftbacktest fills the former one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

INTERVAL_NS = 100_000_000
COLUMNS = ("decision", "action", "order", "side", "kind", "lasting", "price_tick", "size_lots")
NEW, CANCEL, CHANGE = range(3)  # action
LIMIT, MARKET = range(2)  # kind
GTC, GTX, FOK, IOC = range(4)  # lasting, numbered as hftbacktest does
REST = 2  # decisions between two requests for one order, so that the first has been answered

_READ = ("local_ts", "kind", "side", "price_tick", "size_lots")

Table = npt.NDArray[np.int64]


def best_prices(rows: Any, times: list[int]) -> list[tuple[int, int]]:
    """Best bid and ask, in ticks, after all rows received until each of the times."""
    sizes: tuple[dict[int, int], dict[int, int]] = ({}, {})
    found, row = [], 0
    local_ts, kind, side, tick, size = (rows[name].tolist() for name in _READ)
    for time in times:
        while row < len(local_ts) and local_ts[row] <= time:
            if kind[row] == 0:
                sizes[side[row] - 1][tick[row]] = size[row]
            row += 1
        bids, asks = ([at for at, shown in levels.items() if shown] for levels in sizes)
        found.append((max(bids), min(asks)))
    return found


def draw(rows: dict[str, Table]) -> Table:
    """The requests, one row each in the order of sending, columns as in COLUMNS."""
    rng = np.random.default_rng(505)
    begin, end = int(rows["local_ts"][0]), int(rows["local_ts"][-1])
    times = list(range(begin + INTERVAL_NS, end - INTERVAL_NS, INTERVAL_NS))
    requests: list[tuple[int, ...]] = []
    asked: dict[int, tuple[int, int, int, int]] = {}  # order: decision of its last request, side, tick, lots
    orders = 0
    for decision, (bid, ask) in enumerate(best_prices(rows, times), start=1):
        for order, (since, side, tick, lots) in list(asked.items()):
            luck = rng.random()
            if decision - since < REST or luck >= 0.10:
                continue
            if luck < 0.06:
                requests.append((decision, CANCEL, order, side, 0, 0, 0, 0))
                del asked[order]
                continue
            smaller = luck < 0.08 and lots > 1
            there = tick if smaller else tick + int(rng.integers(-2, 3))
            left = int(rng.integers(1, lots)) if smaller else lots
            requests.append((decision, CHANGE, order, side, 0, 0, there, left))
            asked[order] = (decision, side, there, left)
        for _ in range(rng.integers(0, 4)):
            orders += 1
            side = 1 if rng.random() < 0.5 else -1
            kind = MARKET if rng.random() < 0.05 else LIMIT
            lasting = int(rng.choice([GTC, GTX, FOK, IOC], p=[0.55, 0.25, 0.10, 0.10]))
            behind = int(rng.integers(-1, 5)) if lasting in {GTC, GTX} else int(rng.integers(-2, 2))
            tick = bid - behind if side > 0 else ask + behind
            lots = int(min(rng.lognormal(5.0, 1.5) + 1, 5_000))
            requests.append((decision, NEW, orders, side, kind, lasting, tick, lots))
            if kind == LIMIT and lasting in {GTC, GTX}:
                asked[orders] = (decision, side, tick, lots)
    return np.array(requests, np.int64)
