"""Slippage: ticks, a share of the price, and both of them drawn from the run's seed."""

from __future__ import annotations

from typing import Any

import pytest
from numpy.random import PCG64

from engine.config import Account, RunConfig, parse_slippage, slippage_text
from engine.model.errors import UsageError
from tests.reference.drive import run_engine
from tests.reference.markets import ALL, RandomMarket
from tests.reference.scenario import QUOTES, TRADES, Script, clock, quote, settings, trades, whole
from tests.reference.traders import RandomTrader

COARSE = whole("trade", price_increment="5")


def fills(messages: list[Any], deeds: Any, slippage: str, *instruments: Any, **more: Any) -> list[int]:
    """Prices of the fills."""
    config = settings(**parse_slippage(slippage, "--slippage"), **more)
    outcome = run_engine([*messages, clock(1000)], Script(deeds), config, instruments or (TRADES,))
    return [d.price for d in outcome.journal if d.kind == "fill"]


def draws(seed: int, most: int, count: int) -> list[int]:
    """What the stream beside a seed gives, by NumPy's own generator."""
    generator = PCG64((seed, 1))
    return [int(generator.random_raw()) % (most + 1) for _ in range(count)]


@pytest.mark.parametrize(
    ("slippage", "last", "bought", "sold"),
    [
        ("0", 10_000, 10_000, 10_000),
        ("3", 10_000, 10_003, 9_997),
        ("2bp", 10_000, 10_002, 9_998),
        ("2bp", 10_001, 10_004, 9_998),  # 2.0002 are three whole ticks
        ("0.5bp", 10_000, 10_001, 9_999),
        ("0bp", 10_000, 10_000, 10_000),
        ("5000bp", 10_001, 15_002, 5_000),
        ("9", 4, 13, 1),  # never below a tick
    ],
)
def test_a_taker_pays_slippage_from_the_last_price(slippage: str, last: int, bought: int, sold: int) -> None:
    """A share of the price is rounded up to whole ticks, against the order."""
    deeds = {1: lambda ctx, it: [ctx.market(it, 1), ctx.market(it, -1)]}
    assert fills([trades(0, (1, last, 1))], deeds, slippage) == [bought, sold]


def test_a_share_of_the_price_is_rounded_to_the_instruments_tick() -> None:
    """2 bp of 10,000 are 2: with a tick of 5 that is one tick, and of 30,000 they are 6, two ticks."""
    for last, bought in ((10_000, 10_005), (30_000, 30_010)):
        market = [trades(0, (1, last, 1))]
        assert fills(market, {1: lambda ctx, it: ctx.market(it, 1)}, "2bp", COARSE) == [bought]


@pytest.mark.parametrize(("slippage", "price"), [("0", 10_100), ("4", 10_104), ("1bp", 10_102)])
def test_on_quotes_what_is_not_displayed_fills_with_slippage(slippage: str, price: int) -> None:
    """Three are offered at 10,100, the other two fill worse by the model."""
    deeds = {1: lambda ctx, it: ctx.market(it, 5)}
    assert fills([quote(0, 10_000, 3, 10_100, 3)], deeds, slippage, QUOTES) == [10_100, price]


@pytest.mark.parametrize("seed", [0, 7])
def test_random_slippage_is_drawn_from_a_stream_of_its_own(seed: int) -> None:
    """Zero to three ticks, one draw a fill, the same that NumPy's generator gives beside the seed."""
    deeds = {n: lambda ctx, it: ctx.market(it, 1) for n in range(1, 41)}
    prices = fills([trades(0, (1, 100, 1))], deeds, "random:3", seed=seed)
    drawn = draws(seed, 3, 40)
    assert prices == [100 + ticks for ticks in drawn]
    assert set(drawn) == {0, 1, 2, 3}


def test_random_basis_points_are_drawn_finer_than_ticks() -> None:
    """Between nothing and 2 bp of 1,000,000, which are 200 ticks."""
    deeds = {n: lambda ctx, it: ctx.market(it, 1) for n in range(1, 21)}
    prices = fills([trades(0, (1, 1_000_000, 1))], deeds, "random:2bp")
    assert prices == [1_000_000 - -rate // 1_000 for rate in draws(0, 200_000, 20)]


@pytest.mark.parametrize("account", ["research", "cash"])
def test_looking_whether_it_can_be_paid_draws_nothing(account: str) -> None:
    """A fill-or-kill order asks for its price before it takes: the fills' prices are those of the draws."""
    deeds = {n: lambda ctx, it: ctx.limit(it, 1, 150, "fok") for n in range(1, 9)}
    prices = fills([trades(0, (1, 100, 1))], deeds, "random:9", account=Account(account, "5000"))
    assert prices == [100 + ticks for ticks in draws(0, 9, 8)]


def test_a_limit_bounds_a_drawn_price() -> None:
    """A limit of 101 is the worst that a draw of up to 9 ticks comes to."""
    deeds = {n: lambda ctx, it: ctx.limit(it, 1, 101, "ioc") for n in range(1, 9)}
    prices = fills([trades(0, (1, 100, 1))], deeds, "random:9")
    assert prices == [100 + min(1, ticks) for ticks in draws(0, 9, 8)]


def test_the_strategys_chance_is_not_disturbed() -> None:
    """What ctx.random gives is the same under every model."""
    seen = []
    for slippage in ("1", "random:9", "random:3bp"):
        drawn: list[float] = []
        deeds = {
            n: lambda ctx, it, drawn=drawn: [ctx.market(it, 1), drawn.append(ctx.random.random())]
            for n in range(1, 9)
        }
        fills([trades(0, (1, 100, 1))], deeds, slippage, seed=5)
        seen.append(drawn)
    assert seen[0] == seen[1] == seen[2]
    assert len(set(seen[0])) == 8


@pytest.mark.parametrize("clock_name", ["received", "venue"])
def test_random_slippage_does_not_depend_on_batches(clock_name: str) -> None:
    """The same journal by either clock, whole or cut into 1 and 7 rows; another seed gives another one."""
    messages = list(RandomMarket(65).messages(300))
    drawn = parse_slippage("random:4", "--slippage")

    def journal(rows: int, seed: int) -> str:
        config = RunConfig(clock=clock_name, seed=seed, **drawn)
        return run_engine(messages, RandomTrader(65), config, ALL, batch_rows=rows).hash

    assert len({journal(rows, 1) for rows in (1, 7, 65_536)}) == 1
    assert journal(65_536, 1) != journal(65_536, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1", "1 tick"),
        ("3", "3 ticks"),
        ("0", "0 ticks"),
        ("2bp", "2 bp"),
        ("0.5bp", "0.5 bp"),
        ("random:3", "random, up to 3 ticks"),
        ("random:2bp", "random, up to 2 bp"),
        ("random:0", "0 ticks"),
    ],
)
def test_the_model_in_words(text: str, words: str) -> None:
    """As reports print it."""
    assert slippage_text(RunConfig(**parse_slippage(text, "--slippage"))) == words


@pytest.mark.parametrize(
    "text", ["-1", "x", "", "1.5", "random", "random:", "even:3", "2 pips", "-1bp", "6000bp"]
)
def test_what_is_no_slippage_is_said(text: str) -> None:
    """With the option's name."""
    with pytest.raises(UsageError, match="--slippage"):
        parse_slippage(text, "--slippage")
