"""The table of a book's orders: what comes and goes in it is what a dictionary holds, whatever the ids."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from engine.model.kinds import Flag, Kind
from engine.strategy.api import Strategy
from tests.helpers.logs import Message, Row, at
from tests.reference.drive import run_engine
from tests.reference.scenario import settings, whole

ORDERS = whole("trade", "orders")
IDS: dict[str, Callable[[int], int]] = {
    "counted": lambda i: i,
    "of one low half": lambda i: i << 40,
    "near the end": lambda i: 2**64 - 1 - i,
    "of one slot": lambda i: (
        i * 0xF1DE83E19937733D % 2**64
    ),  # their products with the table's constant: 0, 1, 2 …
}


class Idle(Strategy):
    """Looks on."""


def changes(seed: int, name: str, count: int) -> tuple[list[Message], dict[int, tuple[int, int, int]]]:
    """Messages of one to five rows that put, shrink, grow, move and end orders; what is left of them."""
    chance = random.Random(seed)
    there: dict[int, tuple[int, int, int]] = {}
    made, messages = 0, []
    for n in range(count):
        rows = []
        for _ in range(chance.randrange(1, 6)):
            if not there or chance.random() < (0.7 if n < count // 2 else 0.4):
                made += 1
                order, left = IDS[name](made), chance.randrange(1, 9)
            else:
                order, left = chance.choice(list(there)), chance.randrange(9) * chance.randrange(2)
            side = chance.choice((1, -1))
            price = 1000 - side * chance.choice((1, 2, 3, 50, 3000))
            if order in there and chance.random() < 0.7:
                side, price, _ = there[order]
            if left:
                there[order] = (side, price, left)
            else:
                there.pop(order, None)
            rows.append(Row(Kind.BOOK, 0, 1, 0, Flag.BY_ORDER, 1, side, price, left, id=order))
        messages.append(Message(at(n), tuple(rows)))
    return messages, there


@pytest.mark.parametrize("seed", [1, 2], ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("name", IDS)
def test_a_table_holds_what_a_dictionary_holds(name: str, seed: int) -> None:
    """Thousands of orders, also where all ids want the same slots; levels are their sums."""
    messages, there = changes(seed, name, 2_000)
    assert len(there) > 500
    memory = run_engine(messages, Idle(), settings(), (ORDERS,)).runner.memory
    found = memory.order_tables.orders(0)
    assert {order: rest for order, *rest in found} == {order: list(rest) for order, rest in there.items()}
    for side in (1, -1):
        sums: dict[int, int] = {}
        for sign, price, size in there.values():
            if sign == side:
                sums[price] = sums.get(price, 0) + size
        best = sorted(sums.items(), key=lambda level: -level[0] * side)
        assert memory.best_levels(0, side, 100) == best


def test_orders_are_listed_in_the_order_of_their_places() -> None:
    """Who came first comes first; what grew has come anew."""

    def row(order: int, size: int) -> Row:
        return Row(Kind.BOOK, 0, 1, 0, Flag.BY_ORDER, 1, 1, 99, size, id=order)

    messages = [Message(at(0), (row(1, 5), row(2, 5), row(3, 5))), Message(at(1), (row(1, 6), row(2, 4)))]
    memory = run_engine(messages, Idle(), settings(), (ORDERS,)).runner.memory
    assert memory.order_tables.orders(0) == [(2, 1, 99, 4), (3, 1, 99, 5), (1, 1, 99, 6)]


def test_more_than_can_be_counted_is_a_great_deal() -> None:
    """Two orders of 2**62: their level does not wrap into nothing."""
    rows = [Row(Kind.BOOK, 0, 1, 0, Flag.BY_ORDER, 1, 1, 99, 2**62, id=order) for order in (1, 2)]
    memory = run_engine([Message(at(0), tuple(rows))], Idle(), settings(), (ORDERS,)).runner.memory
    assert memory.best_levels(0, 1, 1) == [(99, 2**62)]
