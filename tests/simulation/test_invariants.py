"""What holds of every run, whatever the market, the strategy, the rules and the clock; seeds are shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from hypothesis import given, note, settings
from hypothesis import strategies as st

from engine.config import QUEUES, Latency, Rules, RunConfig
from engine.model.kinds import Flag, Kind
from tests.helpers.logs import Message
from tests.reference.decisions import Decision
from tests.reference.drive import run_engine
from tests.reference.markets import BOOKED, ELSEWHERE, QUOTED, RandomMarket
from tests.reference.traders import RandomTrader
from tests.simulation.test_agreement import AGES, LATENCIES, SWITCHES, WIDE, switched

SEEDS = st.integers(0, 2**32)
RULES = st.builds(
    lambda names, queue: switched(*names, queue=queue),
    st.sets(st.sampled_from(SWITCHES)).map(sorted),
    st.sampled_from(QUEUES),
)
CLOCKS = st.sampled_from(("received", "venue"))


def journal_of(
    seed: int, rules: Rules, clock: str, latency: Latency, *, batch_rows: int = 65_536
) -> tuple[list[Decision], Sequence[Message], RunConfig]:
    """A patient trader's run on three books."""
    config = RunConfig(latency=latency, risk=WIDE, rules=rules, clock=clock)
    note(f"seed {seed} {config}")
    instruments = (BOOKED, QUOTED, ELSEWHERE)
    messages = RandomMarket(seed, instruments, ages=AGES).messages(200)
    outcome = run_engine(
        messages, RandomTrader(seed, patient=True), config, instruments, batch_rows=batch_rows
    )
    assets = outcome.runner.memory.assets
    fills = [d for d in outcome.journal if d.kind == "fill"]
    heard = 100_000 * 10**8 - sum(d.price * d.size * 10 * d.side + d.fee for d in fills)
    assert int(assets["cash"][0]) == heard, "cash is what it was, less what fills cost"
    for who in outcome.runner.registry.instruments:
        position = int(outcome.runner.memory.of_instrument(who.index, "position"))
        assert position == sum(d.size * d.side for d in fills if d.instrument == who.key)
    return outcome.journal, messages, config


@settings(max_examples=25, deadline=None)
@given(SEEDS, RULES, CLOCKS, st.sampled_from(sorted(LATENCIES)))
def test_orders_live_as_they_may(seed: int, rules: Rules, clock: str, latency: str) -> None:
    """Never more than was ordered, never before it can have come back, never after the end; sums agree."""
    journal, _, config = journal_of(seed, rules, clock, LATENCIES[latency])
    waits = config.latency.entry_ns + config.latency.response_ns
    if clock == "received":
        after = max(0, config.latency.response_ns - config.latency.feed_ns)
        waits = config.latency.feed_ns + config.latency.entry_ns + after
    sent: dict[int, Decision] = {}
    filled: dict[int, int] = defaultdict(int)
    ended: set[int] = set()
    for d in journal:
        if d.kind == "submit":
            sent[d.order] = d
        elif d.kind == "fill":
            assert d.order not in ended, d
            assert d.ts >= sent[d.order].ts + waits, d
            filled[d.order] += d.size
            assert filled[d.order] <= sent[d.order].size, d
            limit = sent[d.order].price
            assert not limit or d.price * d.side <= limit * d.side, d
            assert not d.maker or d.price == limit, d
        elif d.kind in ("cancelled", "rejected", "expired", "refused"):
            assert d.order not in ended, d
            ended.add(d.order)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from(QUEUES), CLOCKS)
def test_fills_never_exceed_what_was_displayed_or_traded(seed: int, queue: str, clock: str) -> None:
    """Taken and crossed at a price: no more than every increase there; by trades: no more than they sold."""
    journal, messages, _ = journal_of(seed, Rules(queue=queue), clock, LATENCIES["zero"])
    offered: dict[tuple[str, int], int] = defaultdict(int)
    traded: dict[str, int] = defaultdict(int)
    keys = {1: BOOKED.key, 2: QUOTED.key, 3: ELSEWHERE.key}
    for message in messages:
        for row in message.rows:
            if row.kind == Kind.BOOK and not row.flags & Flag.MAYBE_BAD_BOOK:
                offered[keys[row.instrument], -row.side] += row.size
            elif row.kind == Kind.TRADE:
                traded[keys[row.instrument]] += row.size
    took: dict[tuple[str, int], int] = defaultdict(int)
    given_by_trades: dict[str, int] = defaultdict(int)
    for d in journal:
        if d.kind != "fill" or d.instrument == QUOTED.key:
            continue
        if d.reason in ("taker", "crossed", "resync"):
            took[d.instrument, d.side] += d.size
        else:
            given_by_trades[d.instrument] += d.size
    assert all(size <= offered[key] for key, size in took.items())
    assert all(size <= traded[key] for key, size in given_by_trades.items())


@settings(max_examples=12, deadline=None)
@given(SEEDS, RULES, st.sampled_from(sorted(LATENCIES)), st.sampled_from((1, 5, 50)))
def test_batches_do_not_matter_in_the_venues_clock(
    seed: int, rules: Rules, latency: str, batch_rows: int
) -> None:
    """Row by row, or all at once: the same journal."""
    whole, _, _ = journal_of(seed, rules, "venue", LATENCIES[latency])
    parts, _, _ = journal_of(seed, rules, "venue", LATENCIES[latency], batch_rows=batch_rows)
    assert parts == whole
