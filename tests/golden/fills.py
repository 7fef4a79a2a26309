"""Reading the golden fills of hftbacktest, and saying where a list of ours differs from them.

What the files hold and how they are made again: tests/golden/hftbacktest/README.md.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

FOLDER = Path(__file__).resolve().parent / "hftbacktest"
QUEUES = ("risk_averse", "power_2", "power_3", "power2_3", "power3_3", "log", "log2")
LATENCIES = ("none", "orders", "feed_and_orders")
FILES = {"maker": "", "requests": "requests_"}  # who trades, and how the names of its files begin
CASES = [(queue, latency) for latency in LATENCIES for queue in QUEUES]
ORDER_LATENCY_NS = {
    "none": 0,
    "orders": 1_000_000,
    "feed_and_orders": 1_000_000,
}  # of a request, and of a report

Ints = npt.NDArray[np.int64]


class Fills(NamedTuple):
    """Fills in the order of their reports, one array each."""

    exch_ts: Ints  # when the venue filled
    local_ts: Ints  # when the strategy was told
    side: Ints  # 1 bought, −1 sold
    price_tick: Ints
    size_lots: Ints
    order: Ints  # running number of submission, from 1; of one decision the bid before the ask
    maker: Ints  # 1 maker, 0 taker

    def until(self, exch_ts: int) -> Fills:
        """Those that the venue filled at this time or before."""
        early = self.exch_ts <= exch_ts
        return Fills(*(column[early] for column in self))


class Requests(NamedTuple):
    """What the list of requests says, in the order of sending."""

    decision: Ints  # sent at the first row's earlier time + 100 ms × this
    action: Ints  # 0 new, 1 cancel, 2 change; the last two only for an order known to be working
    order: Ints
    side: Ints  # 1 buy, −1 sell
    kind: Ints  # 0 limit, 1 market; of a new order only, as is what follows
    lasting: Ints  # 0 good till cancelled, 1 post-only, 2 fill or kill, 3 immediate or cancel
    price_tick: Ints  # of a change too
    size_lots: Ints  # of a change too


class Totals(NamedTuple):
    """What hftbacktest's account said at the end of a case, and what became of the orders."""

    orders: int
    fills: int
    position: float
    balance: float
    fee: float
    expired: int
    cancelled: int


class Rows(NamedTuple):
    """The first minute of W3, row by row."""

    exch_ts: Ints
    local_ts: Ints
    kind: Ints  # 0 a level of the book, 1 a trade
    side: Ints  # 1 bid or buyer, 2 ask or seller
    price_tick: Ints
    size_lots: Ints  # of a level: what is displayed now; 0 deletes it
    last: Ints  # 1 where a message ends


@functools.cache
def _table(name: str) -> Any:
    return pq.read_table(FOLDER / f"{name}.parquet")


def _ints(table: Any, name: str) -> Ints:
    return np.asarray(table[name].to_numpy(), np.int64)


def golden(queue: str, latency: str, trader: str = "maker") -> Fills:
    """Every fill of one case: of the market maker over W3, or of the requests over its first minute."""
    table = _table(FILES[trader] + latency)
    table = table.filter(table[queue].is_valid())
    exch_ts, order = _ints(table, "exch_ts"), _ints(table, queue)
    side, price_tick, size_lots, maker = (
        _ints(table, name) for name in ("side", "price_tick", "size_lots", "maker")
    )
    return Fills(exch_ts, exch_ts + _ints(table, "report_ns"), side, price_tick, size_lots, order, maker)


def totals(queue: str, latency: str, trader: str = "maker") -> Totals:
    """What one case came to."""
    record = json.loads((FOLDER / "totals.json").read_text(encoding="utf-8"))
    return Totals(**record["cases"][f"{trader}:{queue}:{latency}"])


def requests() -> Requests:
    """The list that the trader of `requests` carries out."""
    table = _table("requests")
    return Requests(*(_ints(table, name) for name in Requests._fields))


def first_minute(*, feed_latency: bool) -> Rows:
    """The rows of W3's first minute; without feed latency the venue's time is that of receipt, too."""
    table = _table("first_minute")
    rows = Rows(*(_ints(table, name) for name in Rows._fields))
    return rows if feed_latency else rows._replace(exch_ts=rows.local_ts)


def differences(ours: Fills, theirs: Fills, most: int = 5) -> list[str]:
    """One line for each fill that only one side has, in order of time: so many at most, then a count."""
    mine = {tuple(map(int, fill)) for fill in zip(*ours, strict=True)}
    golden_ones = {tuple(map(int, fill)) for fill in zip(*theirs, strict=True)}
    lonely = sorted(
        [(fill, "only ours") for fill in mine - golden_ones]
        + [(fill, "only hftbacktest's") for fill in golden_ones - mine]
    )
    lines = [
        f"{whose}: " + ", ".join(f"{name} {value}" for name, value in zip(Fills._fields, fill, strict=True))
        for fill, whose in lonely[:most]
    ]
    if len(lonely) > most:
        lines.append(f"and {len(lonely) - most} more")
    if not lonely and len(ours.order) != len(theirs.order):
        lines.append(
            f"ours has {len(ours.order)} fills, hftbacktest {len(theirs.order)}: some are there twice"
        )
    return lines
