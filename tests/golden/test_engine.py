"""The engine under profile `hftbacktest` gives hftbacktest's fills, one by one."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from tests.golden.engine_fills import (
    TRADERS,
    rows_of_workload,
    run_case,
    write_log,
    write_trader,
)
from tests.golden.fills import CASES, Fills, differences, first_minute, golden, requests, totals

# Each case in every clock that can say it: with feed latency the venue sees a row before the strategy.
RUNS = [
    (queue, latency, clock)
    for queue, latency in CASES
    for clock in (("venue",) if latency == "feed_and_orders" else ("received", "venue"))
]
COMPILED = [
    ("risk_averse", "none", "received"),
    ("power3_3", "orders", "received"),
    ("log", "feed_and_orders", "venue"),
]


@pytest.fixture(scope="module", name="logs")
def two_logs(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[Path, int]]:
    """The first minute as a log, without and with feed latency, and when its decisions are counted from."""
    folder = tmp_path_factory.mktemp("logs")
    found = {}
    for feed_latency in (False, True):
        rows = first_minute(feed_latency=feed_latency)
        begin = int(min(rows.exch_ts[0], rows.local_ts[0]))
        found[feed_latency] = (write_log(folder / f"{feed_latency}.arrow", rows), begin)
    return found


def of_unchanged_orders(fills: Fills) -> Fills:
    """Those of orders that no request changes: only these have the same life in the engine."""
    asked = requests()
    kept = ~np.isin(fills.order, asked.order[asked.action == 2])
    return Fills(*(column[kept] for column in fills))


def of_the_minute(fills: Fills, feed_latency: bool) -> Fills:  # noqa: FBT001  a case's
    """Those that the first minute's rows brought, and that were told before the last of them."""
    rows = first_minute(feed_latency=feed_latency)
    early = (fills.exch_ts <= rows.exch_ts[-1]) & (fills.local_ts <= rows.local_ts[-1])
    return Fills(*(column[early] for column in fills))


@pytest.mark.parametrize("case", RUNS, ids="-".join)
def test_the_market_maker_is_filled_as_by_hftbacktest(
    case: tuple[str, str, str], logs: dict[bool, tuple[Path, int]], tmp_path: Path
) -> None:
    """Same times, side, price, size and order number, whatever queue model and latency."""
    queue, latency, _ = case
    feed_latency = latency == "feed_and_orders"
    ours, _ = run_case(logs[feed_latency][0], TRADERS / "maker.py", logs[feed_latency][1], case, tmp_path)
    theirs = of_the_minute(golden(queue, latency), feed_latency)
    assert len(theirs.order) > 500
    assert differences(of_the_minute(ours, feed_latency), theirs) == []


@pytest.mark.parametrize("case", COMPILED, ids="-".join)
def test_the_compiled_market_maker_is_filled_the_same(
    case: tuple[str, str, str], logs: dict[bool, tuple[Path, int]], tmp_path: Path
) -> None:
    """Machine code of the same source meets the same venue."""
    queue, latency, _ = case
    feed_latency = latency == "feed_and_orders"
    log, begin = logs[feed_latency]
    ours, _ = run_case(log, TRADERS / "maker.py", begin, case, tmp_path, interpreted=False)
    theirs = of_the_minute(golden(queue, latency), feed_latency)
    assert differences(of_the_minute(ours, feed_latency), theirs) == []


@pytest.mark.parametrize("case", RUNS, ids="-".join)
def test_orders_of_every_form_are_filled_as_by_hftbacktest(
    case: tuple[str, str, str], logs: dict[bool, tuple[Path, int]], tmp_path: Path
) -> None:
    """Crossing limits, IOC, FOK, market, post-only, cancels, many at a price: all that nobody changes."""
    queue, latency, _ = case
    feed_latency = latency == "feed_and_orders"
    log, begin = logs[feed_latency]
    ours, _ = run_case(log, write_trader(tmp_path, requests()), begin, case, tmp_path)
    theirs = of_unchanged_orders(of_the_minute(golden(queue, latency, "requests"), feed_latency))
    assert min(np.count_nonzero(theirs.maker == maker) for maker in (0, 1)) > 100
    assert differences(of_unchanged_orders(of_the_minute(ours, feed_latency)), theirs) == []


@pytest.fixture(scope="module", name="hours")
def whole_logs(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[Path, int]]:
    """W3 as logs, as `logs` has its first minute."""
    from bench.workloads import workload

    folder = tmp_path_factory.mktemp("hours")
    found = {}
    for feed_latency in (False, True):
        rows = rows_of_workload(workload("w3"), feed_latency=feed_latency)
        begin = int(min(rows.exch_ts[0], rows.local_ts[0]))
        found[feed_latency] = (write_log(folder / f"{feed_latency}.arrow", rows), begin)
    return found


@pytest.mark.long
@pytest.mark.parametrize("case", RUNS, ids="-".join)
def test_the_market_maker_is_filled_as_by_hftbacktest_for_an_hour(
    case: tuple[str, str, str], hours: dict[bool, tuple[Path, int]], tmp_path: Path
) -> None:
    """All of W3: 39,000 to 56,000 fills a case, and hftbacktest's count of orders."""
    queue, latency, _ = case
    gc.collect()  # runs before this one hold maps of the whole log in cycles of objects
    log, begin = hours[latency == "feed_and_orders"]
    ours, run = run_case(log, TRADERS / "maker.py", begin, case, tmp_path, interpreted=False)
    assert differences(ours, golden(queue, latency)) == []
    assert run.runner.ledger.orders == totals(queue, latency).orders
