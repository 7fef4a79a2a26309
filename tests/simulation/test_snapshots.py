"""A state that is kept is the whole state: one however the run came there, and the run goes on from it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import pytest

from engine.config import QUEUES, Account, Rules, RunConfig
from engine.loop.snapshots.taking import Interval
from engine.model.kinds import InstrumentData
from engine.model.units import MILLISECOND_NS
from engine.report.states import compare_snapshots
from engine.strategy.api import Strategy
from tests.helpers.logs import Message
from tests.helpers.snapshots import KeptTrader, Played, play
from tests.reference.markets import ALL, BOOKED, QUOTED, RandomMarket
from tests.simulation.test_agreement import (
    AGES,
    CONFIGS,
    LATENCIES,
    ONE_VENUE,
    SHORT,
    SWITCHES,
    TWO_VENUES,
    WIDE,
    own_clock,
    switched,
)

OFTEN = Interval(rows=31)
Make = Callable[[], Strategy]


def assert_same_states(whole: Played, other: Played, what: str, since: int = 0) -> None:
    """Both were kept at the same rows since the given one, and are the same there; else say in what not."""
    rows = [row for row in whole.at if row > since]
    assert rows == [row for row in other.at if row > since], what
    pairs = [(whole.at[row], other.at[row]) for row in rows]
    pairs.append((whole.snapshots[-1], other.snapshots[-1]))
    assert all(a.strategy_hash and b.strategy_hash for a, b in pairs), [a.refused for a, _ in pairs]
    found = compare_snapshots(pairs)
    for parting in (found.engine, found.strategy):
        assert parting is None, f"{what}: {parting.when}: {parting.parts[:5]}"


def assert_same_run(whole: Played, other: Played, what: str) -> None:
    """The same decisions, the same things seen, the same figures."""
    assert other.journal == whole.journal, what
    assert other.trace == whole.trace, what
    a, b = whole.runner, other.runner
    assert (a.rows, a.messages, a.first_ts, a.last_ts) == (b.rows, b.messages, b.first_ts, b.last_ts), what
    assert a.keeper.equity_curve().tobytes() == b.keeper.equity_curve().tobytes(), what
    if a.venue_clock is not None and b.venue_clock is not None:
        assert (a.venue_clock.ahead, a.venue_clock.behind) == (b.venue_clock.ahead, b.venue_clock.behind)


def check(
    messages: Sequence[Message],
    make: Make,
    config: RunConfig,
    instruments: Sequence[InstrumentData],
    *,
    label: str,
    every: Interval = OFTEN,
    step: int = 5,
) -> Played:
    """One run; the same cut otherwise; and from every `step`-th snapshot on."""
    whole = play(messages, make(), config, instruments, every)
    assert len(whole.at) > 3, label
    for batch_rows, chunk, room in ((1, 1, 0), (7, 3, 4096), (64, 1024, 0)):
        what = f"{label}, batches of {batch_rows}"
        other = play(
            messages, make(), config, instruments, every, batch_rows=batch_rows, chunk=chunk, room=room
        )
        assert_same_run(whole, other, what)
        assert_same_states(whole, other, what)
    for row, kept in list(whole.at.items())[::step]:
        what = f"{label}, from row {row}"
        rest = play(
            messages, make(), config, instruments, every, begin=kept, before=whole, batch_rows=1 + row % 64
        )
        assert_same_run(whole, rest, what)
        assert_same_states(whole, rest, what, since=row)
    return whole


@pytest.mark.parametrize("seed", [1, 2, 3], ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_goes_on_from_its_snapshots(name: str, seed: int) -> None:
    """Five instruments, every kind of data and order: snapshot and rest are the whole, wherever it is cut."""
    activity = 0.05 if seed == 2 else 0.3
    messages = RandomMarket(seed, ALL).messages(180)
    whole = check(
        messages,
        lambda: KeptTrader(seed, activity=activity, patient=seed == 3),
        CONFIGS[name],
        ALL,
        label=f"seed {seed}",
    )
    assert len(whole.journal) > 10


@pytest.mark.parametrize("seed", [4, 5], ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("instruments", [ONE_VENUE, TWO_VENUES], ids=["one venue", "two venues"])
@pytest.mark.parametrize("latency", LATENCIES)
def test_a_run_by_the_venues_clock_goes_on_from_its_snapshots(
    latency: str, instruments: tuple[InstrumentData, ...], seed: int
) -> None:
    """Venues that are ahead of the strategy by different amounts go on from where each of them was."""
    check(
        RandomMarket(seed, instruments, ages=AGES).messages(140),
        lambda: KeptTrader(seed, activity=0.3, patient=True),
        own_clock(LATENCIES[latency]),
        instruments,
        label=f"seed {seed}",
    )


@pytest.mark.parametrize("queue", QUEUES)
def test_places_in_a_queue_go_on(queue: str) -> None:
    """Fronts in float64 are kept to the bit."""
    config = RunConfig(latency=SHORT, risk=WIDE, rules=Rules(queue=queue))
    whole = check(
        RandomMarket(6, (BOOKED, QUOTED)).messages(300),
        lambda: KeptTrader(6, patient=True),
        config,
        (BOOKED, QUOTED),
        label=f"{queue}, seed 6",
    )
    assert sum(decision.maker for decision in whole.journal) > 3


@pytest.mark.parametrize("every", [1, 7, 1000])
def test_a_snapshot_can_stand_after_any_message(every: int) -> None:
    """Rows by number: the message that holds the row is finished first."""
    messages = RandomMarket(7, ALL).messages(120)
    config = CONFIGS["slow answers"]
    whole = play(messages, KeptTrader(7), config, ALL, Interval(rows=every))
    ends, rows = [], len(whole.runner.registry.instruments) + 1  # definitions and a source
    for message in messages:
        rows += len(message.rows)
        ends.append(rows)
    assert rows == whole.runner.rows
    due = {min(end for end in ends if end >= count) for count in range(every, rows + 1, every) if count > 6}
    assert set(whole.at) - due <= set(range(7)), "no snapshot stands elsewhere"
    assert due <= set(whole.at)


def test_snapshots_by_time_stand_before_the_first_message_of_an_interval() -> None:
    """Every 50 ms of the loop's time: each is the last state of the interval, whatever the batches."""
    messages = RandomMarket(8, ALL).messages(200)
    interval = 50 * MILLISECOND_NS
    whole = check(
        messages,
        lambda: KeptTrader(8),
        CONFIGS["default latency"],
        ALL,
        label="seed 8",
        every=Interval(ns=interval),
        step=5,
    )
    times = sorted({message.ts // interval for message in messages})
    assert len(whole.at) == len(times) - 1


@pytest.mark.parametrize("form", ["whole", "rest"])
def test_two_strategies_that_differ_have_different_states(form: str) -> None:
    """The hashes are no constants: another seed is another state, and the comparison says in what."""
    messages = RandomMarket(9, ALL).messages(150)
    config = CONFIGS["default latency"]
    runs = [play(messages, KeptTrader(seed), config, ALL, OFTEN) for seed in (9, 10)]
    row = next(iter(runs[0].at))
    if form == "rest":
        runs[1] = play(messages, KeptTrader(9), config, ALL, OFTEN, begin=runs[1].at[row], before=runs[1])
    later = [r for r in runs[0].at if r > row]
    found = compare_snapshots([(runs[0].at[r], runs[1].at[r]) for r in later])
    assert found.engine is not None
    assert found.strategy is not None
    assert any("decisions" in part or "order" in part for part in found.engine.parts)
    assert any(part.startswith("self.chance.state: ") for part in found.strategy.parts)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3000, 3040), ids=lambda s: f"seed{s}")
def test_snapshots_of_many_seeds(seed: int) -> None:
    """Random rules, accounts, latencies, clocks and intervals."""
    chance = random.Random(seed)
    for _ in range(3):
        rules = switched(*(n for n in SWITCHES if chance.random() < 0.4), queue=chance.choice(QUEUES))
        latency = LATENCIES[chance.choice(list(LATENCIES))]
        account = chance.choice((Account(), Account("cash", "4.5")))
        config = RunConfig(latency=latency, account=account, risk=WIDE, rules=rules)
        instruments: tuple[InstrumentData, ...] = chance.choice((ALL, (BOOKED,), TWO_VENUES))
        ages: tuple[int, ...] = ()
        if chance.random() < 0.5:
            clock = own_clock(latency, rules, lookahead_ns=chance.choice((10, 10_000)) * MILLISECOND_NS)
            config, ages = msgspec.structs.replace(clock, account=account), AGES
        patient, activity = chance.random() < 0.6, chance.choice((0.03, 0.3))
        check(
            RandomMarket(seed, instruments, ages=ages).messages(300),
            partial(KeptTrader, seed, activity=activity, patient=patient),
            config,
            instruments,
            label=f"seed {seed}",
            every=chance.choice((Interval(rows=23), Interval(rows=80), Interval(ns=90 * MILLISECOND_NS))),
            step=2,
        )
