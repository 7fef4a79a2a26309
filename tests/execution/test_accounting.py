"""The ledger: exact, conserving, and of one mind with the kernel."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import Fees, Latency, RunConfig
from engine.execution.accounting import Holding, Ledger
from engine.execution.orders import Reason
from tests.reference.drive import run_engine
from tests.reference.markets import ALL, RandomMarket
from tests.reference.traders import RandomTrader

FILLS = st.lists(
    st.tuples(
        st.integers(0, 2),  # instrument
        st.sampled_from([1, -1]),
        st.integers(1, 10**12),  # size
        st.integers(-(10**15), 10**15),  # notional
        st.integers(-(10**9), 10**9),  # fee
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(FILLS)
def test_cash_and_positions_conserve_over_random_fills(fills: list[tuple[int, int, int, int, int]]) -> None:
    """Nothing appears and nothing is lost: position is the sum of sizes, cash of what was paid."""
    ledger = Ledger()
    for instrument, side, size, notional, fee in fills:
        ledger.fill(instrument, side, size, notional, fee, Reason.TAKER)
    for instrument in range(3):
        own = [fill for fill in fills if fill[0] == instrument]
        holding = ledger.holdings.get(instrument, Holding())
        assert holding.position == sum(side * size for _, side, size, _, _ in own)
        assert holding.cash == sum(-side * notional - fee for _, side, _, notional, fee in own)
    assert ledger.fees == sum(fill[4] for fill in fills)
    assert ledger.turnover == sum(abs(fill[3]) for fill in fills)
    assert ledger.fills == sum(ledger.fills_by_reason.values()) == len(fills)


@settings(max_examples=200, deadline=None)
@given(FILLS)
def test_the_results_of_round_trips_add_up_to_the_cash(fills: list[tuple[int, int, int, int, int]]) -> None:
    """Whatever a fill is split into, the parts are the whole: finished trips plus the open one are all."""
    finished: list[int] = []

    class Watched(Holding):
        """Notes what each trip made."""

        def _end_trip(self, result: int) -> None:
            finished.append(result)
            super()._end_trip(result)

    holding = Watched()
    for _, side, size, notional, fee in fills:
        holding.apply(side, size, notional, fee)
    assert sum(finished) + holding.trip_cash == holding.cash
    assert holding.trips_won + holding.trips_lost + holding.trips_even == len(finished)
    if holding.position == 0:
        assert holding.trip_cash == 0


def test_a_fill_through_zero_ends_one_trip_and_begins_the_next() -> None:
    """Bought 2 at 10, sold 3 at 12: a trip won 4 and a short of 1 that was opened with 12."""
    holding = Holding()
    holding.apply(1, 2, 20, 0)
    holding.apply(-1, 3, 36, 0)
    assert (holding.trips_won, holding.position, holding.trip_cash, holding.cash) == (1, -1, 12, 16)


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
