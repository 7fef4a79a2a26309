"""Arbitrage: fees before the signal, two legs, and what happens when one of them fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config import Latency, RunConfig
from engine.log.reader import LogReader
from engine.model.errors import EngineError
from engine.model.units import MILLISECOND_NS
from tests.helpers.logs import ETH, Message, quote
from tests.helpers.played import SAMPLE, Played, act, play
from tests.helpers.two_venues import ALPHA, BETA, two_venues

MS = MILLISECOND_NS
VENUES = (ALPHA, BETA)
AT_ONCE = RunConfig(latency=Latency(0, 0, 0))
LATE = RunConfig(latency=Latency(0, 100 * MS, 0))
KEYS = ("BTCUSDT.alpha", "BTCUSDT.beta")


def alpha(seconds: float, bid: int, ask: int, size: int = 50) -> Message:
    """A quote of the first venue; prices in ticks of 0.1, sizes in 0.001."""
    return quote(seconds, bid, ask, size, instrument=1)


def beta(seconds: float, bid: int, ask: int, size: int = 50) -> Message:
    """A quote of the second."""
    return quote(seconds, bid, ask, size, instrument=2)


def make(messages: Sequence[Message], config: RunConfig = AT_ONCE, **parameters: Any) -> Played:
    """A run over written-out quotes, in both forms."""
    return act("arbitrage", messages, config, parameters, VENUES)


def sent(run: Played) -> list[tuple[str, int, int, int, str]]:
    """Every order: instrument, side, price, size, kind."""
    return [(d.instrument, d.side, d.price, d.size, d.order_kind) for d in run.of("submit")]


def net(run: Played) -> float:
    """What is not hedged at the end."""
    return run.position(KEYS[0]) + run.position(KEYS[1])


@pytest.mark.parametrize(
    ("fees", "bid", "orders"),
    [
        ((10.0, 10.0), 10_020, 0),  # 1002.0 - 1.002 - 1000 - 1 = -0.002
        ((10.0, 10.0), 10_021, 0),  # 0.098, less than 1 bp of 1000
        ((10.0, 10.0), 10_022, 2),  # 0.198
        ((10.0, 2.0), 10_013, 0),  # 1001.3 - 0.20026 - 1001 = 0.0997
        ((10.0, 2.0), 10_014, 2),
        ((2.0, 10.0), 10_014, 2),
        ((0.0, 0.0), 10_000, 0),
        ((0.0, 0.0), 10_002, 2),
    ],
)
def test_both_fees_are_deducted_before_a_signal(fees: tuple[float, float], bid: int, orders: int) -> None:
    """Bought at 1000.0 on alpha, sold at beta's bid, and turned about: what either fee leaves counts."""
    run = make([alpha(1, 9_999, 10_000), beta(2, bid, bid + 1)], first_fee_bp=fees[0], second_fee_bp=fees[1])
    assert len(run.of("submit")) == orders
    turned = make(
        [alpha(1, bid, bid + 1), beta(2, 9_999, 10_000)], first_fee_bp=fees[1], second_fee_bp=fees[0]
    )
    assert len(turned.of("submit")) == orders


def test_both_legs_leave_together_at_the_prices_that_were_seen() -> None:
    """The smaller of the two sizes, IOC, in one instant; the mirror image the other way round."""
    run = make([alpha(1, 9_999, 10_000, 40), beta(2, 10_030, 10_031, 30)])
    assert sent(run) == [(KEYS[0], 1, 10_000, 30, "limit"), (KEYS[1], -1, 10_030, 30, "limit")]
    assert {(d.tif, d.ts) for d in run.of("submit")} == {("ioc", run.journal[0].ts)}
    mirrored = make([alpha(1, 10_030, 10_031, 40), beta(2, 9_999, 10_000, 30)])
    assert sent(mirrored) == [(KEYS[0], -1, 10_030, 30, "limit"), (KEYS[1], 1, 10_000, 30, "limit")]


def test_a_price_is_taken_once() -> None:
    """Another signal needs new prices of both venues, not one of them again."""
    signal = [alpha(1, 9_999, 10_000), beta(2, 10_030, 10_031)]
    assert len(sent(make([*signal, beta(3, 10_040, 10_041)]))) == 2
    assert len(sent(make([*signal, beta(3, 10_040, 10_041), alpha(4, 9_998, 9_999)]))) == 4


def test_holdings_stay_within_the_limit_and_the_other_direction_unwinds_them() -> None:
    """0.05 + 0.03 to a limit of 0.08, nothing more, and then all the way to the other side."""
    there = [m for t in (1, 3, 5) for m in (alpha(t, 9_999 - t, 10_000 - t), beta(t + 1, 10_030 + t, 10_099))]
    back = [
        m for t in (7, 9, 11, 13) for m in (alpha(t, 10_030 + t, 10_099), beta(t + 1, 9_990 - t, 10_000 - t))
    ]
    run = make([*there, *back], limit=0.08)
    assert [(d.side, d.size) for d in run.of("submit") if d.instrument == KEYS[0]] == [
        (1, 50),
        (1, 30),
        *[(-1, 50)] * 3,
        (-1, 10),
    ]
    assert net(run) == 0.0


def test_a_leg_that_finds_no_price_is_undone_at_once_by_market() -> None:
    """Beta has moved when the order arrives: what alpha filled is sold there again; then a pause."""
    run = make(
        [
            alpha(1, 9_999, 10_000),
            beta(2, 10_030, 10_031),
            beta(2.05, 10_000, 10_001),
            alpha(2.5, 9_997, 9_999),
            beta(2.6, 10_040, 10_041),  # a signal, within the second after the failure
            alpha(3.0, 9_996, 9_998),
            alpha(3.2, 9_996, 9_998),
        ],
        LATE,
    )
    first, second, repair, *again = run.of("submit")
    assert (first.instrument, second.instrument) == KEYS
    assert [(d.instrument, d.side, d.size) for d in run.fills[:2]] == [(KEYS[0], 1, 50), (KEYS[0], -1, 50)]
    assert (repair.instrument, repair.side, repair.size, repair.order_kind) == (KEYS[0], -1, 50, "market")
    assert repair.ts - first.ts == 100 * MS  # the instant in which both legs were final
    assert [d.ts - repair.ts for d in again] == [1_100 * MS] * 2
    assert run.lines == ["a leg failed: 0.05 and 0.0 of 0.05"]


def test_of_a_leg_that_fills_in_part_the_rest_of_the_other_is_undone() -> None:
    """Beta still shows 0.02 of 0.05: 0.03 go back on alpha, 0.02 stay as a hedged pair."""
    smaller, later = beta(2.05, 10_030, 10_031, 20), alpha(2.5, 9_999, 10_000)
    run = make([alpha(1, 9_999, 10_000), beta(2, 10_030, 10_031), smaller, later], LATE)
    assert [(d.instrument, d.side, d.size) for d in run.fills] == [
        (KEYS[0], 1, 50),
        (KEYS[1], -1, 20),
        (KEYS[0], -1, 30),
    ]
    assert [run.position(key) for key in KEYS] == [0.02, -0.02]


def test_a_repair_that_the_market_cannot_take_is_tried_again() -> None:
    """Nobody bids on alpha when the repair comes: after the pause, when somebody does, it is sent anew."""
    asked = alpha(2.15, 9_999, 10_000)
    empty = Message(asked.ts, (replace(asked.rows[0], size=0), asked.rows[1]))
    run = make(
        [
            alpha(1, 9_999, 10_000),
            beta(2, 10_030, 10_031),
            beta(2.05, 10_000, 10_001),
            empty,
            alpha(2.5, 9_990, 9_992),  # within the pause
            alpha(4.0, 9_990, 9_992),
            alpha(5.0, 9_990, 9_992),
        ],
        LATE,
    )
    repairs = [d for d in run.of("submit") if d.order_kind == "market"]
    assert [(d.instrument, d.side, d.size) for d in repairs] == [(KEYS[0], -1, 50)] * 2
    assert [d.reason for d in run.of("rejected")] == ["empty_side"]
    assert repairs[1].ts == alpha(4.0, 1, 2).ts
    assert net(run) == 0.0


def test_what_is_too_small_for_the_venue_is_not_sent() -> None:
    """Below the smallest size or the smallest notional there is no signal."""
    large = tuple(msgspec.structs.replace(data, min_size="0.04") for data in VENUES)
    dear = tuple(msgspec.structs.replace(data, min_notional="40") for data in VENUES)
    signal = [alpha(1, 9_999, 10_000, 39), beta(2, 10_030, 10_031)]
    for instruments in (large, dear):
        assert not act("arbitrage", signal, AT_ONCE, {}, instruments).journal


def test_a_log_without_two_venues_is_refused() -> None:
    """The sample has two symbols on one venue: said before anything runs."""
    with pytest.raises(
        EngineError, match="arbitrage needs one symbol on two venues; the instruments are BTC"
    ):
        play("arbitrage", SAMPLE)
    with pytest.raises(EngineError, match="needs one symbol"):
        act("arbitrage", [], AT_ONCE, {}, (ALPHA, ETH))


@pytest.fixture(scope="module")
def venues(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five minutes of the two synthetic venues, seed 1."""
    return two_venues(tmp_path_factory.mktemp("venues") / "seed1.arrow")


@cache
def over(log: Path, milliseconds: int, clock: str = "received") -> Played:
    """A run with all three latencies alike; a venue with its own clock tells by its delays when."""
    latency = milliseconds * MS
    feed = 0 if clock == "venue" else latency
    return play("arbitrage", log, RunConfig(latency=Latency(feed, latency, latency), clock=clock))


RUNS = [(0, "received"), (0, "venue"), (20, "venue"), (300, "received"), (300, "venue")]


@pytest.mark.parametrize(("milliseconds", "clock"), RUNS)
def test_whatever_the_latency_money_and_holdings_are_kept(
    venues: Path, milliseconds: int, clock: str
) -> None:
    """Cash to the last decimal, limits at every fill, limits kept by every order, hedged at the end."""
    run = over(venues, milliseconds, clock)
    run.check_money()
    legs = {d.order: d.price for d in run.of("submit") if d.order_kind == "limit"}
    for fill in run.fills:
        if fill.order in legs:
            assert fill.side * fill.price <= fill.side * legs[fill.order]
    for moment in run.moments():
        assert max(map(abs, moment.positions.values()), default=0) <= 200, moment.decision
        assert len(moment.orders) <= 2, moment.decision
    assert net(run) == pytest.approx(0.0, abs=1e-12)
    assert not run.of("refused")


def test_without_latency_it_earns_more_than_its_fees(venues: Path) -> None:
    """A little is lost on legs that find what was taken before; the rest is the venues' difference."""
    run = over(venues, 0)
    fees = sum(d.fee for d in run.fills) / 1e8
    assert run.equity > 100_000.0 + 1.0
    assert fees > 10.0


def test_with_latency_legs_fail_and_are_mended(venues: Path) -> None:
    """At 300 ms half of the attempts or more have a leg that fails; each is followed by its repair."""
    quick, slow = over(venues, 0), over(venues, 300)

    def failed(run: Played) -> float:
        return len(run.lines) / (sum(d.order_kind == "limit" for d in run.of("submit")) / 2)

    assert failed(quick) < 0.1
    assert failed(slow) > 0.5
    repairs = [d for d in slow.of("submit") if d.order_kind == "market"]
    assert len(repairs) > 20
    assert slow.equity < quick.equity


def test_the_synthetic_venues_are_what_they_say(venues: Path, tmp_path: Path) -> None:
    """The same seed, the same rows; venues heard after their delays, and prices that come back."""
    again = two_venues(tmp_path / "again.arrow")
    with LogReader(venues) as one, LogReader(again) as other:
        assert one.header.sealed_chain == other.header.sealed_chain
        delays: dict[int, list[int]] = {1: [], 2: []}
        bids: dict[int, list[int]] = {1: [], 2: []}
        for batch in one.batches():
            for row in range(batch.count):
                if batch.side[row] > 0:
                    who = int(batch.instrument[row])
                    delays[who].append(int(batch.ts[row] - batch.ts_venue[row]))
                    bids[who].append(int(batch.price[row]))
    assert 2 * MS <= min(delays[1]) < max(delays[1]) < 4 * MS
    assert 14 * MS <= min(delays[2]) < max(delays[2]) < 16 * MS
    difference = [a - b for a, b in zip(bids[1], bids[2], strict=True)]
    assert (min(difference) < -30, max(difference) > 30) == (True, True)
    assert set(difference[-190:]) == {0}
