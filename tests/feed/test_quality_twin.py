"""The kernel does what the description says: compared with a twin that looks at every window anew.

And it does it to rows, not to batches: wherever a recording is cut, the same rows come out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.model.kinds import Flag, Kind
from tests.helpers.real_ticks import datasets
from tests.helpers.ticks import LAST, Judged, judged, message_ends, quote, trade
from tests.reference.quality import Fact, Twin

INSTRUMENTS = 3
REAL_ROWS = 12_000  # of each capture that the twin, which takes its time, goes through


def compare(facts: Sequence[Fact], mode: str, instruments: int = 0) -> Judged:
    """Both ways; `instruments` are defined ahead, with two decimals."""
    head = [Fact(Kind.INSTRUMENT, n, decimals=2) for n in range(1, instruments + 1)]
    result = judged(facts, mode, definitions=instruments)
    flags, said = Twin(mode).run([*head, *facts])
    differing = [n for n, (a, b) in enumerate(zip(result.flags, flags[instruments:], strict=True)) if a != b]
    assert not differing, f"row {differing[0]} is {result.flags[differing[0]]!r}"
    assert result.said == [each._replace(row=each.row - instruments) for each in said]
    return result


def market(seed: int, count: int) -> list[Fact]:
    """Random walks of several instruments with all that goes wrong: every rule is broken somewhere."""
    chance = random.Random(seed)
    step = chance.choice((0.0, 0.0003, 0.003, 0.02))
    price = [chance.choice((100, 12_345, 6_000_000, 10**11)) for _ in range(INSTRUMENTS)]
    facts: list[Fact] = []
    while len(facts) < count:
        which = chance.randrange(INSTRUMENTS)
        if chance.random() < 0.002:
            price[which] = max(int(price[which] * chance.choice((0.8, 1.07, 1.5))), 50)  # a level shift
        price[which] = max(int(price[which] * (1 + chance.gauss(0, step))), 50)
        now = price[which]
        if chance.random() < 0.02:
            now = chance.choice((0, -now, now // 2, now * 3, int(now * 1.06), now + 1))
        size = chance.choice((0, -1)) if chance.random() < 0.005 else chance.randrange(1, 1_000)
        flags = LAST if chance.random() < 0.8 else Flag(0)
        if chance.random() < 0.05:
            flags |= chance.choice((Flag.DUPLICATE, Flag.SNAPSHOT, Flag.AGGREGATE, Flag.LOSSY, Flag.IMPORTED))
        number = chance.choice((0, len(facts) + 1))
        what = chance.random()
        if what < 0.5:
            facts.append(trade(now, size, number=number, instrument=which + 1, flags=flags))
        elif what < 0.9:
            spread = chance.choice((1, 1, 2, 0, -1)) if chance.random() < 0.1 else 1 + now // 5_000
            nobody = chance.random()
            bid = (0, 0) if nobody < 0.02 else (now, size)
            ask = (0, 0) if 0.01 < nobody < 0.03 else (now + spread, 1)
            pair = quote(bid[0], ask[0], bid[1], ask[1], number=number, flags=flags)
            if chance.random() < 0.05:
                pair = pair[1:] if chance.random() < 0.5 else pair[:1]
            facts += [row._replace(instrument=which + 1) for row in pair]
        else:
            facts.append(Fact(Kind.BOOK, which + 1, side=1, price=1, flags=flags))
    facts[-1] = facts[-1]._replace(flags=facts[-1].flags | LAST)
    return [fact._replace(ts=n) for n, fact in enumerate(facts)]


@pytest.mark.parametrize("mode", ["warn", "strict"])
@pytest.mark.parametrize("seed", range(8))
def test_random_markets_are_judged_as_described(seed: int, mode: str) -> None:
    """Flags of every row, every rejection with its rule, every window that was made anew."""
    compare(market(seed, 4_000), mode, INSTRUMENTS)


def test_the_random_markets_break_every_rule() -> None:
    """What is compared there happens there."""
    rules = {
        said.rule for seed in range(8) for said in compare(market(seed, 4_000), "strict", INSTRUMENTS).said
    }
    assert rules == {"price", "size", "crossed", "far", "score", ""}


def few_increments(seed: int, count: int) -> list[Fact]:
    """Instruments of 2 to 40 increments, which change now and then; they stand, walk and jump.

    Of every third the prices lie between increments, too: a few of them, or all.
    """
    chance = random.Random(seed)
    facts: list[Fact] = []
    level, step, instrument, between = 15, 1, 0, 0.0
    while len(facts) < count:
        if len(facts) % 250 == 0:
            if len(facts) % 500 == 0:
                instrument += 1
                between = chance.choice((0.01, 0.5)) if instrument % 3 == 0 else 0.0
            text, step = chance.choice((("0.01", 1), ("0.05", 5), ("0.001", 1), ("7", 700), ("1", 100)))
            facts.append(Fact(Kind.INSTRUMENT, instrument, decimals=2, increment=text))
        if chance.random() < 0.02:
            level = max(1, level + chance.choice((-1, 1)))
        if chance.random() < 0.004:
            level = chance.randrange(2, 40)
        away = chance.choice((-11, -10, -2, 2, 3, 10, 11, 12)) if chance.random() < 0.02 else 0
        price = step * (level + away + chance.randrange(2))
        price += chance.choice((step // 2, step // 5)) if chance.random() < between else 0
        facts.append(trade(price, number=len(facts), instrument=instrument))
    return facts


@pytest.mark.parametrize("mode", ["warn", "strict"])
@pytest.mark.parametrize("seed", range(4))
def test_prices_of_few_increments_are_judged_as_described(seed: int, mode: str) -> None:
    """All limits of which increments are a part, at them and one beyond."""
    result = compare(few_increments(seed, 4_000), mode)
    assert {said.rule for said in result.said} >= {"far", "", *(("score",) if mode == "strict" else ())}


@pytest.mark.parametrize("mode", ["warn", "strict"])
def test_real_ticks_are_judged_as_described(real_data: Path, mode: str) -> None:
    """The first ticks of every capture, as the twin judges them."""
    for facts in datasets(real_data).values():
        part = facts[:REAL_ROWS]
        part[-1] = part[-1]._replace(flags=part[-1].flags | LAST)
        compare(part, mode)


@pytest.mark.parametrize("seed", range(3))
def test_flags_do_not_depend_on_batches(seed: int) -> None:
    """Cut before every message, one after the other, and before all of them."""
    facts = market(seed, 300)
    facts = facts[:1] * 25 + facts  # something to be judged by
    whole = judged(facts, "strict", definitions=INSTRUMENTS)
    ends = message_ends(facts)
    for cuts in ([cut] for cut in ends):
        assert judged(facts, "strict", cuts=cuts, definitions=INSTRUMENTS).rows == whole.rows
    assert judged(facts, "strict", cuts=ends, definitions=INSTRUMENTS).rows == whole.rows


@pytest.mark.parametrize("seed", range(4))
def test_flags_do_not_depend_on_cuts_at_random(seed: int) -> None:
    """Longer markets, with definitions that widen, in batches of any size."""
    chance = random.Random(seed)
    facts: list[Fact] = []
    for decimals in (2, 3, 6):
        factor = 10 ** (decimals - 2)
        facts += [Fact(Kind.INSTRUMENT, n, decimals=decimals) for n in range(1, INSTRUMENTS + 1)]
        facts += [fact._replace(price=fact.price * factor) for fact in market(seed, 1_500)]
    ends = message_ends(facts)
    whole = judged(facts, "warn", definitions=INSTRUMENTS)
    for count in (3, 30, 300):
        cuts = chance.sample(ends, count)
        assert judged(facts, "warn", cuts=cuts, definitions=INSTRUMENTS).rows == whole.rows


@pytest.mark.parametrize("seed", range(4))
def test_wider_definitions_are_judged_as_described(seed: int) -> None:
    """Definitions in the middle of everything, runs of rejected prices included."""
    facts: list[Fact] = []
    for n, decimals in enumerate((2, 3, 3, 5)):
        factor = 10 ** (decimals - 2)
        facts += [Fact(Kind.INSTRUMENT, number, decimals=decimals) for number in range(1, INSTRUMENTS + 1)]
        facts += [fact._replace(price=fact.price * factor) for fact in market(seed, 4_000)[n * 700 :][:705]]
        facts[-1] = facts[-1]._replace(flags=facts[-1].flags | LAST)
    compare(facts, "strict", INSTRUMENTS)
