"""The ledger: exact, conserving, and of one mind with the kernel."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import Fees, Latency, RunConfig
from engine.execution.accounting import Ledger
from engine.execution.journal_kinds import JournalKind
from engine.execution.orders import Reason
from engine.execution.state import JOURNAL
from tests.reference.drive import run_engine
from tests.reference.markets import ALL, RandomMarket
from tests.reference.traders import RandomTrader

Fill = tuple[int, int, int, int, int]
# With eight decimals in all, price times size is the notional in units of 1e-8.
FILLS = st.lists(
    st.tuples(
        st.integers(0, 2),  # instrument
        st.sampled_from([1, -1]),
        st.integers(1, 10**7),  # size
        st.integers(-(10**10), 10**10),  # price
        st.integers(-(10**9), 10**9),  # fee
    ),
    max_size=60,
)


def ledger_of(fills: list[Fill]) -> Ledger:
    """A ledger that has taken these fills, in two parts."""
    records = np.zeros(len(fills), JOURNAL)
    for record, (instrument, side, size, price, fee) in zip(records, fills, strict=True):
        record["kind"], record["reason"] = JournalKind.FILL, Reason.TAKER
        record["price_decimals"], record["size_decimals"] = 5, 3
        record["instrument"], record["side"], record["size"] = instrument, side, size
        record["price"], record["fee"] = price, fee
    ledger = Ledger()
    ledger.take(records[:7])
    ledger.take(records[7:])
    return ledger


@settings(max_examples=200, deadline=None)
@given(FILLS)
def test_cash_and_positions_conserve_over_random_fills(fills: list[Fill]) -> None:
    """Nothing appears and nothing is lost: position is the sum of sizes, cash of what was paid."""
    ledger = ledger_of(fills)
    for instrument in {fill[0] for fill in fills}:
        own = [fill for fill in fills if fill[0] == instrument]
        holding = ledger.holdings[instrument]
        assert holding.position == sum(side * size for _, side, size, _, _ in own)
        assert holding.cash == sum(-side * price * size - fee for _, side, size, price, fee in own)
    assert ledger.fees == sum(fill[4] for fill in fills)
    assert ledger.turnover == sum(abs(fill[3] * fill[2]) for fill in fills)
    assert ledger.fills == sum(ledger.fills_by_reason.values()) == len(fills)


@settings(max_examples=200, deadline=None)
@given(FILLS)
def test_round_trips_are_those_of_the_definition(fills: list[Fill]) -> None:
    """Against the definition in plain Python: who won, who lost, what is in the open one."""
    position = cash = 0
    results: list[int] = []
    own = [fill for fill in fills if fill[0] == 0]
    for _, side, size, price, fee in own:
        flow, before = -side * price * size - fee, position
        position += side * size
        if before == 0 or before * side > 0 or abs(before) > size:
            cash += flow
            continue
        opening = size - abs(before)
        opened = floor(Fraction(flow * opening, size))
        results.append(cash + flow - opened)
        cash = opened
    holding = ledger_of(fills).holdings.get(0)
    assert (holding is None) == (not own)
    if holding is not None:
        assert holding.trip_cash == cash
        assert holding.trips_won == sum(r > 0 for r in results)
        assert holding.trips_lost == sum(r < 0 for r in results)
        assert holding.trips_even == sum(r == 0 for r in results)
        assert sum(results) + holding.trip_cash == holding.cash


def test_a_fill_through_zero_ends_one_trip_and_begins_the_next() -> None:
    """Bought 2 at 10, sold 3 at 12: a trip won 4 and a short of 1 that was opened with 12."""
    holding = ledger_of([(0, 1, 2, 10, 0), (0, -1, 3, 12, 0)]).holdings[0]
    assert (holding.trips_won, holding.position, holding.trip_cash, holding.cash) == (1, -1, 12, 16)


def test_sums_do_not_wrap() -> None:
    """Forty fills of 1e18 each way: more than 64 bits hold, counted exactly."""
    fills = [(0, 1 if i % 2 else -1, 10**8, 10**10, 10**17) for i in range(40)]
    holding = ledger_of(fills).holdings[0]
    assert (holding.turnover, holding.fees, holding.cash) == (40 * 10**18, 4 * 10**18, -4 * 10**18)


def test_kernel_and_ledger_agree() -> None:
    """Positions and cash of the state record are those of the ledger, fill by fill from the journal."""
    for seed in (51, 52, 53):
        config = RunConfig(latency=Latency(0, 0, 0), fees=Fees(maker=-30_000, taker=450_000))
        outcome = run_engine(RandomMarket(seed).messages(500), RandomTrader(seed), config, ALL)
        runner, memory = outcome.runner, outcome.runner.memory
        holdings = runner.ledger.holdings
        assert len(holdings) >= 3, f"seed {seed}"
        for index, holding in holdings.items():
            assert memory.of_instrument(index, "position") == holding.position
            assert memory.of_instrument(index, "venue_position") == holding.position
        for asset in range(len(memory.assets)):
            own = [i for i in holdings if memory.of_instrument(i, "asset") == asset]
            start = 100_000 * 10**8 if asset == 0 else 0
            assert memory.assets[asset]["cash"] == start + sum(holdings[i].cash for i in own)
            assert memory.assets[asset]["venue_cash"] == memory.assets[asset]["cash"]
        assert runner.ledger.fees == sum(d.fee for d in outcome.journal)
