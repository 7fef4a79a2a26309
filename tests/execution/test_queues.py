"""Queue models: what stands before our order after a trade, and after each kind of change of the level.

A buy of 20 at 99 is accepted behind 10; 10 more come behind it. What a trade then fills tells the front.
"""

from __future__ import annotations

import math

import pytest

from engine.config import QUEUES, Rules
from engine.model.instruments import Registry
from engine.model.kinds import Flag
from tests.helpers.logs import Message, at
from tests.reference import queues
from tests.reference.scenario import DEPTH, Deed, book, play, settings, status, trades

OURS = {1: lambda ctx, it: ctx.limit(it, 20, 99)}
BEHIND_TEN = [book(0, bids={99: 10}, asks={101: 3}), book(2, bids={99: 20})]


def filled(
    messages: list[Message], queue: str, *, power: int = 3, ours: dict[int, Deed] | None = None
) -> int:
    """How much of our order at 99 is filled in the end."""
    config = settings(rules=Rules(queue=queue, queue_power=power))
    lines = play(messages, ours or OURS, config)
    return sum(int(line.split()[3].split("@")[0]) for line in lines if " fill " in line)


@pytest.mark.parametrize(
    ("queue", "power", "expected"),
    [
        # f = b = 10, of which 8 leave without a trade; a trade of 11 then fills 11 - front.
        ("risk_averse", 3, 1),  # 10 before us still
        ("power", 3, 5),  # p = 1000 / 2000, front 10 - 0.5 * 8 = 6
        ("power", 1, 5),  # p = 10 / 20
        ("power2", 3, 8),  # p = 1000 / 8000, front 10 - 0.875 * 8 = 3
        ("power2", 1, 5),  # p = 10 / 20
        ("power3", 3, 2),  # p = 1 - 1 / 8, front 10 - 0.125 * 8 = 9
        ("power3", 1, 5),  # p = 1 - 1 / 2
        ("log", 3, 5),  # p = ln 11 / 2 ln 11
        ("log2", 3, 3),  # p = ln 11 / ln 21 = 0.7876, front 8.30: 2.70 beyond, rounded to 3
    ],
)
def test_a_decrease_that_no_trade_explains(queue: str, power: int, expected: int) -> None:
    """Front - (1 - p) * change."""
    market = [*BEHIND_TEN, book(3, bids={99: 12}), trades(4, (-1, 99, 11))]
    assert filled(market, queue, power=power) == expected


@pytest.mark.parametrize("queue", QUEUES)
def test_a_trade_takes_from_the_front(queue: str) -> None:
    """10 - 4 = 6 are left; a trade of 8 exceeds them by 2."""
    assert filled([*BEHIND_TEN, trades(3, (-1, 99, 4)), trades(4, (-1, 99, 8))], queue) == 2


@pytest.mark.parametrize("queue", QUEUES)
def test_a_decrease_that_a_trade_explains_moves_nothing_more(queue: str) -> None:
    """The trade of 4 is the decrease from 20 to 16: 6 are left."""
    market = [*BEHIND_TEN, trades(3, (-1, 99, 4)), book(3.5, bids={99: 16}), trades(4, (-1, 99, 8))]
    assert filled(market, queue) == 2


@pytest.mark.parametrize("queue", QUEUES)
def test_an_increase_stands_behind_us(queue: str) -> None:
    """Ten more come: 10 stay before us."""
    market = [*BEHIND_TEN, book(3, bids={99: 30}), trades(4, (-1, 99, 11))]
    assert filled(market, queue) == 1


@pytest.mark.parametrize("queue", QUEUES)
def test_the_front_is_never_more_than_what_is_displayed(queue: str) -> None:
    """Three are left of twenty: a trade of 5 exceeds them by 2 at least."""
    market = [*BEHIND_TEN, book(3, bids={99: 3}), trades(4, (-1, 99, 5))]
    assert filled(market, queue) >= 2


@pytest.mark.parametrize("queue", QUEUES)
def test_a_level_that_went_leaves_us_first(queue: str) -> None:
    """Nobody is before us; who comes later stands behind."""
    market = [*BEHIND_TEN, book(3, bids={99: 0}), book(4, bids={99: 50}), trades(5, (-1, 99, 2))]
    assert filled(market, queue) == 2


# One is before us, 19 come behind, 15 leave: p = ln 20 / (ln 20 + ln 2) = 0.8121, front 1 - 2.8187 = -1.8187.
BELOW_ZERO = [
    book(0, bids={99: 1}, asks={101: 3}),
    book(2, bids={99: 20}),
    book(3, bids={99: 5}),
]


def test_a_front_below_zero_fills_no_more_than_was_traded() -> None:
    """-1.82 - 1 is three lots, but only one was sold."""
    assert filled([*BELOW_ZERO, trades(4, (-1, 99, 1))], "log") == 1
    assert filled([*BELOW_ZERO, trades(4, (-1, 99, 1)), trades(5, (-1, 99, 1))], "log") == 2


def test_a_probability_that_is_no_number_puts_us_last() -> None:
    """ln(1 - 1.82) is none: all 3 that are displayed stand before us, and a trade of 4 leaves 1."""
    assert filled([*BELOW_ZERO, book(4, bids={99: 3}), trades(5, (-1, 99, 4))], "log") == 1


@pytest.mark.parametrize(
    ("queue", "front", "traded", "before", "now", "expected"),
    [
        ("power", -2.0, 0.0, 0.0, 0.0, -2.0),  # 8 / (8 - 8): infinite, so 1
        ("power2", -2.0, 0.0, 0.0, 0.0, -2.0),  # 8 / 0
        ("power3", -2.0, 0.0, 0.0, 0.0, -2.0),  # 1 - (-2 / 0)
        ("power", 0.0, 0.0, 0.0, 0.0, 0.0),  # 0 / 0
        ("log", -1.0, 0.0, 4.0, 3.0, -2.0),  # ln 6 / (ln 6 - inf) is -0: all that left was before us
        ("log", -2.0, 0.0, 10.0, 6.0, 6.0),  # ln -1
        ("power3", 5.0, 3.0, 10.0, 7.0, 5.0),  # explained: nothing changes
        ("power3", 5.0, 1.0, 10.0, 7.0, 4.75),  # 2 unexplained, p = 1 - 1/8
        ("power3", 5.0, 4.0, 10.0, 7.0, 5.0),  # one came
    ],
)
def test_the_formula_at_its_edges(
    queue: str, front: float, traded: float, before: float, now: float, expected: float
) -> None:
    """Of the twin, which the engine has to equal; infinite is 1, what is no number is the very back."""
    registry = Registry()
    registry.define(DEPTH)
    rules = Rules(queue=queue)
    assert queues.believed(rules, registry.instruments[0], front, traded, before, now) == expected


def test_division_is_that_of_the_standard() -> None:
    """By zero too."""
    assert [queues.divided(a, 0.0) for a in (1.0, -1.0)] == [math.inf, -math.inf]
    assert math.isnan(queues.divided(0.0, 0.0))


@pytest.mark.parametrize("queue", ["risk_averse", "power3"])
@pytest.mark.parametrize(("shared", "second"), [(True, 1), (False, 2)])
def test_one_trade_is_shared_by_our_orders_in_queue_order(queue: str, second: int, *, shared: bool) -> None:
    """Both have 10 before them; of 12 two are ours: one for the first order, one is left. Else two each."""
    deeds = {1: lambda ctx, it: [ctx.limit(it, 1, 99), ctx.limit(it, 4, 99)]}
    config = settings(rules=Rules(queue=queue, share_trades=shared))
    market = [*BEHIND_TEN, trades(3, (-1, 99, 12))]
    assert play(market, deeds, config) == ["3 fill #1 1@99 queue", f"3 fill #2 {second}@99 queue"]


@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize(("apart", "expected"), [(True, 1), (False, 8)])
def test_a_late_trade_moves_neither_front_nor_what_was_traded(
    queue: str, expected: int, *, apart: bool
) -> None:
    """Seven printed before the depth of 2: ten stay before us, eleven fill one; counted, they fill eight."""
    depth = book(2, bids={99: 20}, stamp=at(2))
    market = [BEHIND_TEN[0], depth, trades(3, (-1, 99, 7), stamp=at(1.9)), trades(4, (-1, 99, 11))]
    config = settings(rules=Rules(queue=queue, set_apart_late=apart))
    assert play(market, OURS, config) == [f"4 fill #1 {expected}@99 queue"]


GAP = status(2.5, "gap", "book", instrument=1)


@pytest.mark.parametrize("queue", QUEUES)
def test_after_a_book_in_doubt_old_and_new_are_compared_once(queue: str) -> None:
    """Front = min(10, 12), whatever the model; a trade before the gap explains nothing any more."""
    again = book(3, bids={99: 12}, asks={101: 3}, snapshot=True)
    assert filled([*BEHIND_TEN, GAP, again, trades(4, (-1, 99, 11))], queue) == 1
    smaller = book(3, bids={99: 4}, asks={101: 3}, snapshot=True)
    assert filled([*BEHIND_TEN, GAP, smaller, trades(4, (-1, 99, 5))], queue) == 1
    traded = [*BEHIND_TEN, trades(2.2, (-1, 99, 4)), GAP, again]
    assert filled([*traded, book(3.5, bids={99: 12}), trades(4, (-1, 99, 7))], queue) == 1


@pytest.mark.parametrize("queue", QUEUES)
def test_no_queue_moves_while_the_book_is_in_doubt(queue: str) -> None:
    """A depth row under doubt says 2; the snapshot says 15: ten stay before us."""
    doubtful = [book(2.6, bids={99: 2}), book(2.7, bids={99: 1}, flags=Flag.MAYBE_BAD_BOOK)]
    again = book(3, bids={99: 15}, asks={101: 3}, snapshot=True)
    assert filled([*BEHIND_TEN, GAP, *doubtful, again, trades(4, (-1, 99, 11))], queue) == 1


@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize("last", ["a row of another kind", "two trades"])
def test_a_level_named_twice_in_one_message_moves_the_queue_twice_not_more(queue: str, last: str) -> None:
    """20, 12, 20 in one message, together with rows that take the general way: as if it were alone.

    All within a millisecond: the engine's fast path ends where the equity is sampled.
    """
    rows = book(2.0001, bids={99: 12}).rows + book(2.0001, bids={99: 20}).rows
    odd = book(2.0001, bids={90: 1}, flags=Flag.SNAPSHOT)
    more = trades(2.0001, (1, 101, 1), (1, 101, 1)) if last == "two trades" else odd
    end = trades(2.0002, (-1, 99, 11))
    alone = filled([*BEHIND_TEN, Message(at(2.0001), rows), end], queue)
    assert filled([*BEHIND_TEN, Message(at(2.0001), rows + more.rows), end], queue) == alone
    assert alone == {"risk_averse": 1, "power": 5, "power2": 8, "power3": 2, "log": 5, "log2": 3}[queue]


def test_the_depth_of_a_message_with_a_trade_is_stamped_by_its_depth() -> None:
    """Depth stamped 2.0001 and a trade stamped 2.0002 in one message: the trade is not in the book yet."""
    depth = book(2.0003, bids={97: 2}, stamp=at(2.0001))
    both = Message(at(2.0003), depth.rows + trades(2.0003, (-1, 99, 12), stamp=at(2.0002)).rows)
    assert filled([*BEHIND_TEN, both], "risk_averse") == 2


def test_depth_stamps_count_though_the_last_row_has_none() -> None:
    """The message's first row is stamped 2.0003: a trade of 2.0002 is late."""
    rows = book(2.0003, bids={97: 2}, stamp=at(2.0003)).rows + book(2.0003, bids={96: 2}).rows
    late = trades(2.0004, (-1, 99, 12), stamp=at(2.0002))
    assert filled([*BEHIND_TEN, Message(at(2.0003), rows), late], "risk_averse") == 0
