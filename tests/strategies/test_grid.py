"""The grid: its lines, its answers, its bounds, and how it is given up."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
import pytest

from engine.config import Latency, Risk, RunConfig
from engine.model.kinds import SELL
from engine.model.units import MILLISECOND_NS
from engine.strategy.loader import load_strategy
from tests.helpers.logs import BTC, Message, quote, trade
from tests.helpers.played import SAMPLE, Played, act, play
from tests.reference.markets import QUOTED as TICKED
from tests.reference.markets import RandomMarket

MS = MILLISECOND_NS
AT_ONCE = RunConfig(latency=Latency(0, 0, 0))
QUOTED = msgspec.structs.replace(BTC, channels=("trade", "quote"))
# Two lines a side, 1 % apart: around a mid of 100.01 they are 98.01, 99.01, (100.01), 101.01, 102.01.
TWO: dict[str, Any] = {"levels": 2, "step_bp": 100.0}
FINE: dict[str, Any] = {"levels": 4, "step_bp": 8.0}
START = quote(1, 10_000, 10_002)


def make(messages: Sequence[Message], **parameters: Any) -> Played:
    """A run over quotes without latency."""
    return act("grid", messages, AT_ONCE, TWO | parameters, (QUOTED,))


def sent(run: Played) -> list[tuple[int, int]]:
    """Side and price of each order, in order."""
    return [(d.side, d.price) for d in run.of("submit")]


@cache
def sample() -> Played:
    """The sample on a grid that is fine enough to be left now and then."""
    return play("grid", SAMPLE, parameters=FINE)


LADDER = [(1, 9_901), (-1, 10_101), (1, 9_801), (-1, 10_201)]


def test_a_ladder_is_laid_around_the_mid() -> None:
    """Buys below and sells above, nearest first, the reference line empty; once, not at every second."""
    run = make([START, quote(5, 10_003, 10_005)])
    assert sent(run) == LADDER
    assert {(d.size, d.options) for d in run.of("submit")} == {(1000, 1)}


@pytest.mark.parametrize(
    ("mids", "answers"),
    [
        ([9_895], [(-1, 10_001)]),
        ([10_105], [(1, 10_001)]),
        ([9_895, 10_005], [(-1, 10_001), (1, 9_901)]),
        ([9_895, 9_795], [(-1, 10_001), (-1, 9_901)]),
        ([10_105, 10_205, 10_095], [(1, 10_001), (1, 10_101), (-1, 10_201)]),
    ],
    ids=["bought", "sold", "there and back", "two down", "two up, one down"],
)
def test_each_fill_is_answered_one_step_away(mids: list[int], answers: list[tuple[int, int]]) -> None:
    """A price that passes a line fills its order, and the opposite one stands on the next line."""
    run = make([START, *(quote(3 + n / 10, mid - 1, mid + 1) for n, mid in enumerate(mids))])
    assert sent(run)[4:] == answers
    assert {d.reason for d in run.fills} == {"crossed"}


def test_a_part_of_a_fill_is_answered_when_it_is_whole() -> None:
    """0.004 and then 0.006 of 0.01: one answer, after the second."""
    parts = [trade(3, 9_900, 400, side=SELL, id=1), trade(4, 9_900, 600, side=SELL, id=2)]
    run = make([START, *parts])
    assert [d.size for d in run.fills] == [400, 600]
    assert [(d.side, d.price, d.ts) for d in run.of("submit")][4:] == [(-1, 10_001, parts[1].ts)]


def test_a_round_trip_earns_a_step_less_its_fees() -> None:
    """Bought at 99.01, sold at 100.01: 0.01 of 1.00 less 10 bp of both."""
    run = make([START, quote(3, 9_894, 9_896), quote(4, 10_004, 10_006)])
    assert run.position("BTCUSDT.binance") == 0.0
    run.check_money()
    assert run.cash == 100_000 + Decimal("0.01") * (1 - (Decimal("99.01") + Decimal("100.01")) / 1000)


def test_a_price_beyond_the_grid_ends_it_and_a_new_one_is_laid() -> None:
    """Two bought on the way down; below 97.01 all is cancelled, sold by market, and laid anew at 96.51."""
    down = [quote(3, 9_894, 9_896), quote(4, 9_794, 9_796)]
    run = make([START, *down, *(quote(t, 9_650, 9_652) for t in (5, 6, 7, 8, 9, 10))])
    market = [d for d in run.of("submit") if d.order_kind == "market"]
    assert [(d.side, d.size) for d in market] == [(-1, 2000)]
    assert len(run.of("cancelled")) == 4
    # A step of 0.9651 is 0.97 in ticks.
    assert sent(run)[-4:] == [(1, 9_554), (-1, 9_748), (1, 9_457), (-1, 9_845)]
    assert run.position("BTCUSDT.binance") == 0.0


def test_it_stays_while_the_price_is_a_step_beyond_its_last_line() -> None:
    """97.02 is within a step of 98.01 (from 97.01 on it is left)."""
    assert not make([START, *(quote(t, 9_701, 9_703) for t in (3, 4, 5))]).of("cancel")


def test_the_sample_holds_bounds_lines_and_answers() -> None:
    """Never more orders than lines, one on each; never more than `levels` orders held or still to fill."""
    run = sample()
    most = 0
    for moment in run.moments():
        key = moment.decision.instrument
        who = run.instrument(key)
        limit = FINE["levels"] * round(0.01 * 10**who.size_decimals)
        bids, asks = moment.standing(key, 1), moment.standing(key, -1)
        resting = [order for order in (*bids, *asks) if order.price]
        assert len(resting) <= 2 * FINE["levels"]
        assert len({order.price for order in resting}) == len(resting), moment.decision
        if moment.decision.order_kind != "market":
            assert max(moment.exposed(key, 1), moment.exposed(key, -1)) <= limit, moment.decision
        assert abs(moment.positions[key]) <= limit
        assert not bids or not asks or max(o.price for o in bids) < min(o.price or 1 << 60 for o in asks)
        most = max(most, abs(moment.positions[key]))
        assert moment.decision.price % who.tick == 0
        assert moment.decision.size % who.lot == 0
    assert most > 0
    assert not run.of("refused")
    run.check_money()


def test_the_sample_leaves_a_grid_and_lays_another() -> None:
    """A position is closed by market only after the grid's orders are gone."""
    run = sample()
    markets = 0
    for moment in run.moments():
        decision = moment.decision
        if decision.kind == "submit" and decision.order_kind == "market":
            markets += 1
            assert [
                o for o in moment.orders.values() if o.instrument == decision.instrument and o.price
            ] == []
    assert markets > 0


@pytest.mark.parametrize("seed", range(1, 5), ids=lambda seed: f"seed{seed}")
def test_a_wild_market_and_slow_answers_do_not_stretch_the_bounds(seed: int) -> None:
    """Lines that fill out of turn while answers are on their way: never more than `levels` orders' worth."""
    slow = RunConfig(latency=Latency(300 * MS, 400 * MS, 900 * MS), risk=Risk(collar_millionths=0))
    wild = {"levels": 2, "step_bp": 50.0, "interval": "200ms"}
    messages = RandomMarket(seed, (TICKED,)).messages(3000)
    run = act("grid", messages, slow, wild, (TICKED,))
    for moment in run.moments():
        key, decision = TICKED.key, moment.decision
        if decision.kind == "submit" and decision.order_kind == "market":
            assert [order for order in moment.orders.values() if order.price] == [], decision
        elif decision.kind == "submit":
            assert moment.exposed(key, decision.side) <= 2000, decision
        assert abs(moment.positions.get(key, 0)) <= 2000, decision
    assert len(run.fills) > 10
    run.check_money()


def test_instruments_do_not_disturb_each_other() -> None:
    """Alone or beside ETHUSDT, the orders for BTCUSDT are the same."""

    def of_btc(run: Played) -> list[tuple[object, ...]]:
        mine = [d for d in run.journal if d.instrument == "BTCUSDT.binance"]
        return [(d.ts, d.kind, d.side, d.price, d.size, d.reason) for d in mine]

    alone = play("grid", SAMPLE, parameters=FINE | {"symbols": ["BTCUSDT"]})
    assert of_btc(alone) == of_btc(sample())


@pytest.mark.parametrize("wrong", [{"levels": 0}, {"size": 0.0}, {"step_bp": -1.0}], ids=str)
def test_parameters_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    """Before the first event, with the names."""
    strategy = load_strategy("grid", table=wrong).strategy
    with pytest.raises(ValueError, match=next(iter(wrong))):
        strategy.on_start(None)  # type: ignore[attr-defined]
