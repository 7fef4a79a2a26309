"""Bars out of trades: each kind by a table, random markets against the slow twin, money to the last digit."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.market import aggregate
from engine.market.aggregate import (
    AGGREGATE,
    DOLLAR,
    KINDS,
    MAX_MANTISSA,
    MAX_MONEY,
    NEVER,
    REFUSED,
    TICK,
    TIME,
    VOLUME,
)
from engine.model.errors import UsageError
from tests.helpers.kernels import kernel
from tests.reference.aggregate import Aggregate, DoesNotFitError

Trade = tuple[int, int, int]  # ts, price, size
SEEDS = range(30)


@kernel("int64(int64, int64, int64, int64)")
def add_trade(address: int, ts: int, price: int, size: int) -> int:
    """As the loop calls it."""
    return aggregate.add_trade(aggregate.aggregates_at(address, 1)[0], ts, price, size)


@kernel("int64(int64, int64)")
def finish_due(address: int, now: int) -> int:
    """As a timer calls it."""
    return aggregate.finish_due(aggregate.aggregates_at(address, 1)[0], now)


@kernel("int64(int64)")
def due(address: int) -> int:
    """As the agenda asks it."""
    return aggregate.due(aggregate.aggregates_at(address, 1)[0])


class Kernel:
    """A record and its bars, as rows of (start, end, open, high, low, close, volume, trades)."""

    def __init__(self, kind: int, step: int) -> None:
        self.records = np.zeros(1, AGGREGATE)
        self.record = self.records[0]
        self.address = self.records.ctypes.data
        aggregate.prepare(self.record, kind, step)
        self.bars: list[tuple[int, ...]] = []

    def add(self, ts: int, price: int, size: int) -> int:
        """Take a trade, keep the bar that it finished."""
        return self._keep(add_trade(self.address, ts, price, size))

    def timer(self, now: int) -> int:
        """Finish what is due at `now`."""
        return self._keep(finish_due(self.address, now))

    @property
    def due(self) -> int:
        """When the open bar has to be finished."""
        return due(self.address)

    @property
    def money(self) -> int:
        """Of the open bar."""
        return (int(self.record["money_high"]) << 62) + int(self.record["money_low"])

    def _keep(self, finished: int) -> int:
        if finished == 1:
            names = ("start", "end", "open", "high", "low", "close", "volume", "trades")
            self.bars.append(tuple(int(self.record[f"last_{name}"]) for name in names))
        assert self.record["count"] == len(self.bars)
        return finished


def run(kind: int, step: int, trades: list[Trade]) -> tuple[list[int], list[tuple[int, ...]]]:
    """What each trade returned, and the bars."""
    kernel = Kernel(kind, step)
    return [kernel.add(*trade) for trade in trades], kernel.bars


def test_time_bars_lie_on_the_epochs_grid_and_skip_empty_intervals() -> None:
    """Interval 100: a trade at 199 is the first bar's, one at 200 opens the next; 300 to 600 makes no bar."""
    trades = [(130, 50, 1), (150, 53, 2), (199, 49, 3), (200, 51, 4), (650, 60, 5), (705, 61, 6)]
    assert run(TIME, 100, trades) == (
        [0, 0, 0, 1, 1, 1],
        [
            # start end open high low close volume trades
            (100, 200, 50, 53, 49, 49, 6, 3),
            (200, 300, 51, 51, 51, 51, 4, 1),
            (600, 700, 60, 60, 60, 60, 5, 1),
        ],
    )


def test_a_timer_finishes_a_time_bar_when_no_trade_does() -> None:
    """Due at the interval's end, not a nanosecond before; then nothing is due until the next trade."""
    bars = Kernel(TIME, 100)
    assert bars.due == NEVER
    assert bars.timer(10**18) == 0
    bars.add(130, 50, 1)
    assert bars.due == 200
    assert [bars.timer(199), bars.timer(200), bars.timer(200)] == [0, 1, 0]
    assert bars.due == NEVER
    assert bars.add(200, 51, 2) == 0
    assert bars.due == 300
    assert bars.bars == [(100, 200, 50, 50, 50, 50, 1, 1)]


def test_tick_bars_count_trades() -> None:
    """Three a bar, finished by the third; it lasts from its first trade to its last."""
    trades = [(10, 50, 1), (20, 48, 1), (20, 49, 0), (35, 52, 1), (40, 51, 1), (41, 53, 7)]
    assert run(TICK, 3, trades) == (
        [0, 0, 1, 0, 0, 1],
        [(10, 20, 50, 50, 48, 49, 2, 3), (35, 41, 52, 53, 51, 53, 9, 3)],
    )


def test_volume_bars_are_finished_by_the_trade_that_reaches_the_step() -> None:
    """10 a bar: reached by 4 + 6, passed by 9 + 5; a trade of 35 is one bar, its rest is not split."""
    trades = [(1, 50, 4), (2, 51, 6), (3, 52, 9), (4, 53, 5), (5, 54, 35), (6, 55, 9)]
    assert run(VOLUME, 10, trades) == (
        [0, 1, 0, 1, 1, 0],
        [
            (1, 2, 50, 51, 50, 51, 10, 2),
            (3, 4, 52, 53, 52, 53, 14, 2),
            (5, 5, 54, 54, 54, 54, 35, 1),
        ],
    )


def test_dollar_bars_are_finished_by_the_money_traded() -> None:
    """1,000 a bar: 50 x 10 + 50 x 10 reaches it, 30 x 40 passes it at once, a price of -20 counts as 20."""
    trades = [(1, 50, 10), (2, 50, 10), (3, 30, 40), (4, -20, 49), (5, -20, 1)]
    assert run(DOLLAR, 1000, trades) == (
        [0, 1, 1, 0, 1],
        [
            (1, 2, 50, 50, 50, 50, 20, 2),
            (3, 3, 30, 30, 30, 30, 40, 1),
            (4, 5, -20, -20, -20, -20, 50, 2),
        ],
    )


def random_trades(seed: int) -> list[Trade]:
    """Some hundred trades, several of them at one time, with pauses; now and then an enormous one."""
    chance = random.Random(seed)
    ts, price, trades = chance.randint(0, 10**18), 10**6, []
    scale = chance.choice([1, 10**6, 10**12])
    for _ in range(400):
        ts += chance.choice([0, 0, 1, 7, 40, 400])
        price += chance.randint(-900, 900)
        size = chance.randint(0, 60) * scale
        trades.append((ts, price, size * 10**4 if chance.random() < 0.01 else size))
    return trades


def steps(kind: int, trades: list[Trade], chance: random.Random) -> int:
    """A step that makes between a few and many bars of these trades."""
    if kind == TIME:
        return chance.randint(1, 2000)
    if kind == TICK:
        return chance.randint(1, 30)
    parts = chance.randint(3, 80)
    total = sum(size * (abs(price) if kind == DOLLAR else 1) for _, price, size in trades)
    return total // parts + 1


@pytest.mark.parametrize("kind", range(4), ids=KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_kernel_makes_the_bars_of_the_slow_twin(seed: int, kind: int) -> None:
    """Bar by bar, and the open one's time and money after each trade."""
    chance, trades = random.Random(seed + 1000), random_trades(seed)
    step = steps(kind, trades, chance)
    kernel, twin = Kernel(kind, step), Aggregate(KINDS[kind], step)
    for ts, price, size in trades:
        kernel.add(ts, price, size)
        twin.add_trade(ts, price, size)
        assert kernel.due == (NEVER if twin.due is None else twin.due)
        if kind == DOLLAR and twin.current:
            assert kernel.money == twin.current.money
        if chance.random() < 0.2:
            now = ts + (chance.randint(0, 2 * step) if kind == TIME else 0)
            kernel.timer(now)
            twin.finish_due(now)
    assert kernel.bars == [bar.row for bar in twin.finished]
    assert len(kernel.bars) >= 1
    left = twin.current.trades if twin.current else []
    assert sum(bar[-1] for bar in kernel.bars) + len(left) == len(trades), "each trade is in one bar"


@pytest.mark.parametrize("seed", SEEDS)
def test_bars_do_not_depend_on_whether_timers_or_trades_finish_them(seed: int) -> None:
    """With a timer at every end that falls due before the next trade: the same bars, only earlier."""
    trades, step = random_trades(seed), 50 + seed * 30
    _, expected = run(TIME, step, trades)
    kernel = Kernel(TIME, step)
    by_timer = 0
    for ts, price, size in trades:
        if kernel.due <= ts:
            by_timer += kernel.timer(kernel.due)
        assert kernel.add(ts, price, size) == 0
    assert kernel.bars == expected
    assert by_timer == len(expected) > 1


AMOUNTS = st.one_of(st.integers(0, 1000), st.integers(0, MAX_MANTISSA))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(AMOUNTS, AMOUNTS, st.booleans()), min_size=1, max_size=8), st.integers(1, MAX_MONEY)
)
@example([(MAX_MANTISSA, MAX_MANTISSA, False)], MAX_MONEY)
@example([(MAX_MANTISSA, 1, True), (MAX_MANTISSA, MAX_MANTISSA - 1, True)], MAX_MONEY)
@example([(2**31, 2**31, False), (2**31, 2**31, False)], 2**63)
def test_money_is_exact_to_the_last_digit(trades: list[tuple[int, int, bool]], step: int) -> None:
    """Up to 124 bits, against Python's integers, and so is the moment at which a bar is full."""
    kernel, twin = Kernel(DOLLAR, step), Aggregate("dollar", step)
    for ts, (price, size, negative) in enumerate(trades):
        signed = -price if negative else price
        try:
            twin.add_trade(ts, signed, size)
        except DoesNotFitError:
            assert kernel.add(ts, signed, size) == REFUSED
        else:
            assert kernel.add(ts, signed, size) == (twin.current is None)
            if twin.current:
                assert kernel.money == twin.current.money
    assert kernel.bars == [bar.row for bar in twin.finished]


@pytest.mark.parametrize("kind", range(4), ids=KINDS)
@pytest.mark.parametrize(
    ("price", "size"),
    [(MAX_MANTISSA + 1, 1), (-MAX_MANTISSA - 1, 1), (1, MAX_MANTISSA + 1), (1, -1), (1, MAX_MANTISSA - 4)],
    ids=["price", "negative price", "size", "negative size", "volume"],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(kind: int, price: int, size: int) -> None:
    """A bar holding 5 stays what it was, byte for byte."""
    kernel = Kernel(kind, 1000)
    kernel.add(1, 7, 5)
    before = kernel.records.tobytes()
    assert kernel.add(2, price, size) == REFUSED
    assert kernel.records.tobytes() == before


def test_the_volume_of_a_bar_that_is_over_does_not_count_against_the_next() -> None:
    """A trade that would not fit into the open bar opens the next one."""
    kernel = Kernel(TIME, 1000)
    kernel.add(1, 7, 5)
    assert kernel.add(1000, 7, MAX_MANTISSA) == 1
    assert kernel.record["volume"] == MAX_MANTISSA


@pytest.mark.parametrize(
    ("kind", "step"),
    [(TIME, 0), (TICK, -1), (VOLUME, MAX_MANTISSA + 1), (DOLLAR, 0), (DOLLAR, MAX_MONEY + 1)],
)
def test_a_step_that_is_none_is_refused(kind: int, step: int) -> None:
    """The message names the kind, the step and the limits."""
    records: Any = np.zeros(1, AGGREGATE)
    with pytest.raises(UsageError, match=f"{KINDS[kind]} bars of {step}: the step must be between 1 and"):
        aggregate.prepare(records[0], kind, step)


def test_a_record_can_be_prepared_again() -> None:
    """Everything of its former life is gone."""
    kernel = Kernel(TIME, 100)
    kernel.add(130, 50, 1)
    kernel.add(230, 50, 1)
    aggregate.prepare(kernel.record, TICK, 2)
    fresh: Any = np.zeros(1, AGGREGATE)
    aggregate.prepare(fresh[0], TICK, 2)
    assert kernel.records.tobytes() == fresh.tobytes()
