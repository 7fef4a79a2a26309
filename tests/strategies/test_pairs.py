"""Pairs: when it enters and leaves, what both legs are worth, and what happens when one is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from engine.config import Latency, RunConfig
from engine.model.errors import EngineError
from engine.model.kinds import InstrumentData
from engine.model.units import SECOND_NS
from engine.strategy.loader import load_strategy
from tests.helpers.logs import BTC, ETH, Message, quote
from tests.helpers.played import SAMPLE, Played, act, play
from tests.reference.markets import ALL

AT_ONCE = RunConfig(latency=Latency(0, 0, 0))
FIRST = msgspec.structs.replace(BTC, channels=("quote",))
SECOND = msgspec.structs.replace(ETH, channels=("quote",))
SMALL: dict[str, Any] = {"window": 10, "enter": 2.0, "leave": 0.5}


def ratios(*mids: int) -> list[Message]:
    """A sample a second: the first instrument at these mids (in 0.01), the second at 50.00."""
    messages = [quote(0.2, 4_999, 5_001, 5_000_000, instrument=2)]
    return messages + [quote(0.5 + n, mid - 1, mid + 1, 5_000_000) for n, mid in enumerate(mids)]


def make(mids: Sequence[int], second: InstrumentData = SECOND, later: int = 0, **parameters: Any) -> Played:
    """A run over given mids, the last one standing for `later` seconds more, in both forms."""
    messages = ratios(*mids, *[mids[-1]] * later)
    return act("pairs", messages, AT_ONCE, SMALL | parameters, (FIRST, second))


def sent(run: Played) -> list[tuple[str, int, int]]:
    """Instrument, side and size of every order."""
    return [(d.instrument[:3], d.side, d.size) for d in run.of("submit")]


CALM = [10_000, 10_002] * 5


def test_it_waits_for_a_full_window_and_for_the_threshold() -> None:
    """A jump among the first nine samples is none yet; a small one never is."""
    assert not make([10_000] * 7 + [10_100], later=1).journal
    assert not make(CALM, later=2).journal


@pytest.mark.parametrize(
    ("jump", "first", "sizes"),
    [
        (10_100, -1, (990_099, 200_000)),  # 1000 / 101 = 9.90099, 1000 / 50 = 20
        (9_900, 1, (1_010_101, 200_000)),  # 1000 / 99 = 10.10101
    ],
    ids=["dear", "cheap"],
)
def test_the_dear_one_is_sold_and_the_cheap_one_bought_for_the_same_money(
    jump: int, first: int, sizes: tuple[int, int]
) -> None:
    """Both legs in one instant, each of 1000 by its own mid, rounded down to its increment."""
    run = make([*CALM, jump], later=1)
    assert sent(run) == [("BTC", first, sizes[0]), ("ETH", -first, sizes[1])]
    assert len({d.ts for d in run.of("submit")}) == 1
    worth = [abs(run.position(f"{s}USDT.binance")) * mid for s, mid in (("BTC", jump / 100), ("ETH", 50.0))]
    assert worth == pytest.approx([1000.0, 1000.0], rel=1e-5)


def test_both_are_closed_when_the_ratio_is_back() -> None:
    """Not while it is on its way, but within half a deviation of the mean, which has followed."""
    run = make([*CALM, 10_100, 10_100, 10_060, 10_030, 10_020], later=1)
    assert sent(run)[2:] == [("BTC", 1, 990_099), ("ETH", -1, 200_000)]
    assert [run.position(f"{s}USDT.binance") for s in ("BTC", "ETH")] == [0.0, 0.0]
    run.check_money()


def test_a_leg_that_cannot_be_had_closes_the_other() -> None:
    """The second's largest order is too small: after five samples the first is bought back."""
    narrow = msgspec.structs.replace(SECOND, max_size="1")
    run = make([*CALM, 10_100], narrow, later=14, leave=0.0, patience=5)
    filled = [(d.instrument[:3], d.side, d.size) for d in run.fills]
    assert filled == [("BTC", -1, 990_099), ("BTC", 1, 990_099)]
    assert run.fills[1].ts - run.fills[0].ts == 5 * SECOND_NS
    assert run.lines == ["given up: 1 of two legs not filled"]
    assert {d.instrument[:3] for d in run.of("refused")} == {"ETH"}


def test_the_sample_is_hedged_at_every_moment_without_orders() -> None:
    """Both legs or none, of opposite sides and within 1 % of the same money, whenever nothing is working."""
    run = play("pairs", SAMPLE)
    last: dict[str, float] = {}
    hedged = 0
    for moment in run.moments():
        decision = moment.decision
        who = run.instrument(decision.instrument)
        if decision.kind == "fill":
            last[who.key] = decision.price / 10.0**who.price_decimals
        assert decision.price % who.tick == 0
        assert decision.size % who.lot == 0
        if moment.orders or not last:
            continue
        held = {
            i.key: moment.positions[i.key] / 10.0**i.size_decimals for i in run.runner.registry.instruments
        }
        btc, eth = (held[key] * last[key] for key in ("BTCUSDT.binance", "ETHUSDT.binance"))
        assert btc == pytest.approx(-eth, rel=0.01)
        assert abs(btc) <= 1010.0
        hedged += btc != 0.0
    assert hedged >= 3
    run.check_money()


def test_a_pair_is_two() -> None:
    """One instrument, or five, is an error that says what to set."""
    with pytest.raises(EngineError, match="a pair is two instruments, here are 5: --set symbols="):
        act("pairs", [], AT_ONCE, {}, ALL)
    with pytest.raises(EngineError, match="here are 1"):
        play("pairs", SAMPLE, parameters={"symbols": ["BTCUSDT"]})


@pytest.mark.parametrize("wrong", [{"leave": 3.0}, {"notional": 0.0}], ids=str)
def test_parameters_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    """Before the first event, with the names."""

    class Two:
        instruments = (1, 2)

    strategy = load_strategy("pairs", table=wrong).strategy
    with pytest.raises(ValueError, match=next(iter(wrong))):
        strategy.on_start(Two())  # type: ignore[attr-defined]
