"""hftbacktest's rules, as we understand them, give every one of its fills."""

from __future__ import annotations

import numpy as np
import pytest

from tests.golden.fills import CASES, ORDER_LATENCY_NS, differences, first_minute, golden, requests
from tests.golden.rules import fills_of, market_of, market_of_rows
from tests.golden.rules_of_orders import fills_of_requests

# Half a second a case: two models always, the others with what is long.
SOME_CASES = [
    case if case[0] in {"risk_averse", "log"} else pytest.param(*case, marks=pytest.mark.long)
    for case in CASES
]


@pytest.mark.parametrize(("queue", "latency"), CASES)
def test_the_rules_give_every_fill_of_the_first_minute(queue: str, latency: str) -> None:
    """Same times, side, price, size and order number, for every queue model and latency."""
    rows = first_minute(feed_latency=latency == "feed_and_orders")
    ours = fills_of(market_of_rows(rows), queue, ORDER_LATENCY_NS[latency])
    assert differences(ours, golden(queue, latency).until(int(rows.exch_ts[-1]))) == []


@pytest.mark.long
@pytest.mark.parametrize(("queue", "latency"), CASES)
def test_the_rules_give_every_fill_of_the_hour(queue: str, latency: str) -> None:
    """The same over the whole of W3, about 40,000 to 56,000 fills a case."""
    from bench.workloads import workload

    name = "w3_hft_lat.npy" if latency == "feed_and_orders" else "w3_hft.npy"
    ours = fills_of(market_of(np.load(workload("w3") / name)), queue, ORDER_LATENCY_NS[latency])
    assert differences(ours, golden(queue, latency)) == []


@pytest.mark.parametrize(("queue", "latency"), SOME_CASES)
def test_the_rules_give_every_fill_of_the_requests(queue: str, latency: str) -> None:
    """Orders of every form, many at a time, are filled as there, takers included."""
    rows = first_minute(feed_latency=latency == "feed_and_orders")
    ours = fills_of_requests(rows, requests(), queue, ORDER_LATENCY_NS[latency])
    assert differences(ours, golden(queue, latency, "requests")) == []
