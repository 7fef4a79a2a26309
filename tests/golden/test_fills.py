"""The golden fills of hftbacktest agree with themselves, with its account, and with what is known of it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.golden.fills import (
    CASES,
    FILES,
    LATENCIES,
    ORDER_LATENCY_NS,
    QUEUES,
    Fills,
    differences,
    first_minute,
    golden,
    requests,
    totals,
)

# queue, latency, orders, fills, position, balance: as measured apart from these files.
KNOWN = [
    ("power_2", "none", 70_071, 55_654, 0.0, 2.921),
    ("risk_averse", "none", 70_016, 55_275, -0.010, 602.225),
    ("risk_averse", "feed_and_orders", 69_218, 38_993, 0.030, -1_798.970),
]


@pytest.mark.parametrize("trader", FILES)
@pytest.mark.parametrize(("queue", "latency"), CASES)
def test_the_fills_add_up_to_the_account(queue: str, latency: str, trader: str) -> None:
    """Count, position, balance and fee follow from the fills, in whole lots and ticks."""
    fills, account = golden(queue, latency, trader), totals(queue, latency, trader)
    assert len(fills.order) == account.fills
    signed = fills.side * fills.size_lots
    assert int(signed.sum()) == round(account.position * 1_000)
    assert -int((signed * fills.price_tick).sum()) == round(account.balance * 10_000)
    taken = int((fills.size_lots * fills.price_tick)[fills.maker == 0].sum())
    assert account.fee == pytest.approx(taken * 1e-4 * 1e-4, abs=1e-6)


@pytest.mark.parametrize(("queue", "latency"), CASES)
def test_every_order_has_one_end(queue: str, latency: str) -> None:
    """An order is filled at most once; all but the last two or fewer were filled, expired or cancelled."""
    fills, account = golden(queue, latency), totals(queue, latency)
    assert len(np.unique(fills.order)) == len(fills.order)
    assert 1 <= fills.order.min() <= fills.order.max() <= account.orders
    assert 0 <= account.orders - account.fills - account.expired - account.cancelled <= 2
    assert (account.expired == 0) == (latency == "none")


@pytest.mark.parametrize("trader", FILES)
@pytest.mark.parametrize(("queue", "latency"), CASES)
def test_times_increase_and_reports_come_after_the_response_latency(
    queue: str, latency: str, trader: str
) -> None:
    """Fills are in order, no two of the market maker's at once, and told as much later as a report takes."""
    fills = golden(queue, latency, trader)
    assert np.diff(fills.exch_ts).min() >= (1 if trader == "maker" else 0)
    assert (fills.local_ts - fills.exch_ts == ORDER_LATENCY_NS[latency]).all()


@pytest.mark.parametrize(("queue", "latency"), CASES)
def test_every_fill_is_one_whole_order_within_the_position_allowed(queue: str, latency: str) -> None:
    """Ten lots each, as maker, and the position is never more than one order beyond what is allowed."""
    fills = golden(queue, latency)
    assert set(fills.size_lots.tolist()) == {10}
    assert set(fills.maker.tolist()) == {1}
    assert set(fills.side.tolist()) == {1, -1}
    assert np.abs(np.cumsum(fills.side * fills.size_lots)).max() <= 60


@pytest.mark.parametrize(("queue", "latency"), CASES)
def test_an_order_that_nobody_changed_fills_whole_and_within_its_limit(queue: str, latency: str) -> None:
    """A maker of the list of requests at the limit itself, a taker at it or better."""
    asked, fills = requests(), golden(queue, latency, "requests")
    new = asked.action == 0
    limit, size, kind = (
        dict(zip(asked.order[new].tolist(), column[new].tolist(), strict=True))
        for column in (asked.price_tick, asked.size_lots, asked.kind)
    )
    changed = set(asked.order[asked.action == 2].tolist())
    takers = 0
    for _, _, side, tick, lots, order, maker in zip(*(column.tolist() for column in fills), strict=True):
        takers += maker == 0
        if order in changed:
            continue
        assert lots == size[order]
        better = (limit[order] - tick) * side
        assert better == 0 if maker else better >= 0 or kind[order] == 1
    assert 100 < takers < len(fills.order) - 100


@pytest.mark.parametrize(("queue", "latency", "orders", "filled", "position", "balance"), KNOWN)
def test_known_totals_are_met(
    queue: str, latency: str, orders: int, filled: int, position: float, balance: float
) -> None:
    """Three results that were measured by another script are in these files."""
    account = totals(queue, latency)
    assert (account.orders, account.fills) == (orders, filled)
    assert account.position == pytest.approx(position, abs=1e-9)
    assert account.balance == pytest.approx(balance, abs=1e-6)


@pytest.mark.parametrize("latency", LATENCIES)
def test_queue_models_differ_and_the_careful_one_fills_least(latency: str) -> None:
    """No two models have the same fills, and none has fewer than risk_averse."""
    counts = {queue: totals(queue, latency).fills for queue in QUEUES}
    assert min(counts, key=counts.__getitem__) == "risk_averse"
    assert len({golden(queue, latency).exch_ts.tobytes() for queue in QUEUES}) == len(QUEUES)


@pytest.mark.parametrize(("queue", "latency"), CASES)
def test_a_fill_happens_at_a_row_of_its_price(queue: str, latency: str) -> None:
    """In the first minute, a trade or a level of the other side came to its price at that very time."""
    rows = first_minute(feed_latency=latency == "feed_and_orders")
    fills = golden(queue, latency).until(int(rows.exch_ts[-1]))
    assert len(fills.order) > 500
    for exch_ts, side, tick in zip(fills.exch_ts, fills.side, fills.price_tick, strict=True):
        here = slice(*np.searchsorted(rows.exch_ts, [exch_ts, exch_ts + 1]))
        against = rows.side[here] == (2 if side > 0 else 1)  # a seller's trade, or an ask, for what we bought
        reaches = (rows.price_tick[here] - tick) * side <= 0
        assert (against & reaches & (rows.size_lots[here] > 0)).any()


def test_the_first_minute_is_whole_messages_in_order() -> None:
    """Both times only rise, a message has one of each, and the last row ends one."""
    rows = first_minute(feed_latency=True)
    starts = np.append(True, rows.last[:-1] == 1)
    assert rows.last[-1] == 1
    for times in (rows.exch_ts, rows.local_ts):
        assert ((np.diff(times) > 0) == starts[1:]).all()
    assert (rows.local_ts > rows.exch_ts).all()
    assert rows.exch_ts[-1] - rows.exch_ts[0] <= 60_000_000_000


def some_fills() -> Fills:
    """Three fills of the golden data."""
    return Fills(*(column[:3].copy() for column in golden("risk_averse", "none")))


def test_equal_fills_have_no_differences() -> None:
    """A list compared with itself gives nothing to say."""
    assert differences(some_fills(), some_fills()) == []


@pytest.mark.parametrize("field", Fills._fields)
def test_a_fill_that_differs_in_one_number_is_named(field: str) -> None:
    """Both versions of it are shown, whichever number it is."""
    ours = some_fills()
    getattr(ours, field)[1] += 1
    lines = differences(ours, some_fills())
    assert len(lines) == 2
    assert {line.split(":")[0] for line in lines} == {"only ours", "only hftbacktest's"}
    assert all(f"{field} " in line for line in lines)


def test_a_fill_that_is_there_twice_is_a_difference() -> None:
    """Lists of unequal length are never equal."""
    theirs = some_fills()
    ours = Fills(*(np.append(column, column[-1]) for column in theirs))
    assert differences(ours, theirs) == ["ours has 4 fills, hftbacktest 3: some are there twice"]


def test_many_differences_are_counted() -> None:
    """Beyond the first few only their number is given."""
    ours = golden("risk_averse", "none")
    lines = differences(ours, golden("log", "none"), most=3)
    assert len(lines) == 4
    assert lines[-1].startswith("and ")
