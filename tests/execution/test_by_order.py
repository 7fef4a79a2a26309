"""Books by order, rule by rule: who stands before us, and what a row, a trade or a snapshot does to that.

At 99 stand A with 5 and B with 3, then our buy of 4, then C with 7; the best ask is 101. What a later sale at
99 fills tells the front: all of it that exceeds what stands before us.
"""

from __future__ import annotations

from typing import Any

import pytest

from engine.config import QUEUES, Rules
from engine.model.kinds import Flag, Kind
from engine.model.units import NULL_TIME
from tests.helpers.logs import Message, Row, at
from tests.reference.scenario import Deed, book, play, run, settings, status, together, trades, whole

ORDERS = whole("trade", "orders")
A, B, C, D, ASK, DEEP = 11, 12, 13, 14, 21, 31


def orders(
    seconds: float,
    *changes: tuple[int, int, int, int],
    snapshot: bool = False,
    flags: int = 0,
    stamp: int = NULL_TIME,
) -> Message:
    """What is left of orders: (id, side, price, size) each; with `snapshot` all that there are."""
    flags |= Flag.BY_ORDER
    rows = []
    for i, (order, side, price, size) in enumerate(changes):
        more = (Flag.SNAPSHOT | (Flag.CLEAR if i == 0 else 0)) if snapshot else 0
        rows.append(Row(Kind.BOOK, stamp, 1, 0, flags | more, 1, side, price, size, id=order))
    return Message(at(seconds), tuple(rows))


OPENING = orders(0, (DEEP, 1, 90, 50), (A, 1, 99, 5), (B, 1, 99, 3), (ASK, -1, 101, 3), snapshot=True)
BEHIND = orders(1.5, (C, 1, 99, 7))


def buy(size: int = 4, price: int = 99) -> Deed:
    """A resting buy."""
    return lambda ctx, it: ctx.limit(it, size, price)


def fills(*messages: Message, deed: Deed | None = None, **rules: Any) -> list[str]:
    """What becomes of our buy when these messages follow the opening."""
    config = settings(rules=Rules(**rules))
    return play([OPENING, BEHIND, *messages], {1: deed or buy()}, config, (ORDERS,))


def sale(seconds: float, size: int, price: int = 99, **fields: Any) -> Message:
    """Somebody sells."""
    return trades(seconds, (-1, price, size), **fields)


# --- who stands before us ---


@pytest.mark.parametrize(("size", "filled"), [(8, 0), (9, 1), (11, 3), (12, 4), (50, 4)])
def test_the_front_is_the_sum_of_the_orders_that_came_before(size: int, filled: int) -> None:
    """5 and 3 stand before us, C's 7 behind: of a sale all beyond 8 is ours."""
    assert fills(sale(2, size)) == ([f"2 fill #1 {filled}@99 queue"] if filled else [])


@pytest.mark.parametrize(
    ("change", "front"),
    [
        ((A, 1, 99, 0), 3),  # A goes
        ((B, 1, 99, 0), 5),  # B goes
        ((C, 1, 99, 0), 8),  # C goes, from behind us
        ((C, 1, 99, 1), 8),
        ((A, 1, 99, 2), 5),  # A shrinks and keeps its place
        ((A, 1, 99, 6), 3),  # A grows: to the back
        ((C, 1, 99, 9), 8),
        ((A, 1, 98, 5), 3),  # A moves away
        ((A, -1, 102, 5), 3),  # and to the other side
        ((ASK, 1, 99, 2), 8),  # comes from elsewhere: to the back
        ((D, 1, 99, 4), 8),  # comes
        ((D, 1, 99, 0), 8),  # goes, and was never there
        ((A, 1, 99, 5), 8),  # says nothing new
    ],
)
def test_what_a_row_does_to_the_front(change: tuple[int, int, int, int], front: int) -> None:
    """An order that shrinks keeps its place; one that grows or moves is last at its price."""
    assert fills(orders(2, change), sale(3, front)) == []
    assert fills(orders(2, change), sale(3, front + 1)) == ["3 fill #1 1@99 queue"]


def test_an_order_that_left_and_came_back_stands_behind_us() -> None:
    """A goes to 98 and returns: 3 are before us."""
    moves = [orders(2, (A, 1, 98, 5)), orders(2.5, (A, 1, 99, 5))]
    assert fills(*moves, sale(3, 4)) == ["3 fill #1 1@99 queue"]


def test_an_order_that_shrank_is_still_before_us() -> None:
    """A goes from 5 to 2, then to nothing: 8, 5, 3."""
    rows = [orders(2, (A, 1, 99, 2)), orders(2.5, (A, 1, 99, 0))]
    assert fills(*rows, sale(3, 4)) == ["3 fill #1 1@99 queue"]


def test_a_row_of_an_order_that_nobody_added_makes_it_one() -> None:
    """What is left of an unknown order stands last at its price: one of ours that comes now is behind it."""
    messages = [orders(2, (D, 1, 98, 6)), orders(4, (D, 1, 98, 2)), sale(5, 3, 98)]
    config = settings()
    assert play([OPENING, *messages], {3: buy(4, 98)}, config, (ORDERS,)) == ["5 fill #1 1@98 queue"]


@pytest.mark.parametrize("flag", [Flag.DUPLICATE, Flag.OUT_OF_ORDER, Flag.BACKFILLED, Flag.REJECTED_TICK])
def test_flagged_rows_move_nothing(flag: Flag) -> None:
    """A's end was flagged: 8 are before us."""
    assert fills(orders(2, (A, 1, 99, 0), flags=flag), sale(3, 9)) == ["3 fill #1 1@99 queue"]


@pytest.mark.parametrize("queue", QUEUES)
def test_no_queue_model_is_asked(queue: str) -> None:
    """Whatever `--queue` says, 8 are before us; after A's end, 3."""
    assert fills(orders(2, (C, 1, 99, 1)), sale(3, 9), queue=queue) == ["3 fill #1 1@99 queue"]
    assert fills(orders(2, (A, 1, 99, 0)), sale(3, 4), queue=queue) == ["3 fill #1 1@99 queue"]


def test_one_trade_is_shared_by_our_orders_in_queue_order() -> None:
    """8 before both of ours; of 11 two go to the first, one to the second."""
    both: Deed = lambda ctx, it: [ctx.limit(it, 2, 99), ctx.limit(it, 4, 99)]  # noqa: E731
    assert fills(sale(2, 11), deed=both) == ["2 fill #1 2@99 queue", "2 fill #2 1@99 queue"]


# --- a trade and the decrease that it is ---


def test_a_trade_and_its_decrease_in_one_message_move_the_front_once() -> None:
    """4 of A's 5 are sold: 4 stay before us, and of 5 one is ours."""
    both = together(sale(2, 4), orders(2, (A, 1, 99, 1)))
    assert fills(both, sale(3, 5)) == ["3 fill #1 1@99 queue"]


def test_the_order_of_rows_in_a_message_does_not_matter() -> None:
    """The decrease may stand before the trade."""
    both = together(orders(2, (A, 1, 99, 1)), sale(2, 4))
    assert fills(both, sale(3, 5)) == ["3 fill #1 1@99 queue"]


def test_what_exceeds_the_front_in_a_message_is_ours() -> None:
    """10 are sold: A's 5 and B's 3, and 2 that C got, who was behind us."""
    changes = orders(2, (A, 1, 99, 0), (B, 1, 99, 0), (C, 1, 99, 5))
    assert fills(together(sale(2, 10), changes)) == ["2 fill #1 2@99 queue"]


@pytest.mark.parametrize("stamped", [True, False])
def test_a_trade_before_its_decrease_moves_the_front_once(*, stamped: bool) -> None:
    """In two messages; the next sale of 5 finds 4 before us, whether A's row has come by then or not."""
    stamp = at(2) if stamped else NULL_TIME
    first, row = sale(2, 4, stamp=stamp), orders(2.1, (A, 1, 99, 1), stamp=stamp)
    then = at(2.2) if stamped else NULL_TIME
    assert fills(first, row, sale(2.2, 5, stamp=then)) == ["2.2 fill #1 1@99 queue"]
    assert fills(first, sale(2.2, 5, stamp=then)) == ["2.2 fill #1 1@99 queue"]


def test_a_trade_after_its_decrease_is_told_by_the_venues_time() -> None:
    """A's row and the trade have one stamp: 4 are before us. With a later one it is another trade."""
    row = orders(2, (A, 1, 99, 1), stamp=at(2))
    same, other = sale(2.1, 4, stamp=at(2)), sale(2.1, 4, stamp=at(2.05))
    assert fills(row, same, sale(3, 5, stamp=at(3))) == ["3 fill #1 1@99 queue"]
    assert fills(row, other, sale(3, 5, stamp=at(3))) == ["3 fill #1 4@99 queue"]


def test_a_trade_after_its_decrease_gives_us_what_exceeds_it() -> None:
    """A and B went at the trade's time; of the 10 that were sold 2 are ours."""
    row = orders(2, (A, 1, 99, 0), (B, 1, 99, 0), stamp=at(2))
    assert fills(row, sale(2.1, 10, stamp=at(2))) == ["2.1 fill #1 2@99 queue"]


def test_a_sweep_at_one_time_is_told_apart() -> None:
    """Two trades and their rows, a message each, all of one time: 5 and 3 before us, 2 more are ours."""
    first = together(sale(2, 5, stamp=at(2)), orders(2, (A, 1, 99, 0), stamp=at(2)))
    second = together(sale(2.1, 3, stamp=at(2)), orders(2.1, (B, 1, 99, 0), stamp=at(2)))
    third = together(sale(2.2, 2, stamp=at(2)), orders(2.2, (C, 1, 99, 5), stamp=at(2)))
    assert fills(first, second, third) == ["2.2 fill #1 2@99 queue"]


def test_a_trade_that_took_nothing_displayed_moves_nothing() -> None:
    """A hidden order's 4; when the book has gone past its time, 8 are before us as ever."""
    hidden = sale(2, 4, stamp=at(2))
    later = orders(2.5, (ASK, -1, 101, 2), stamp=at(2.5))
    assert fills(hidden, later, sale(3, 9, stamp=at(3))) == ["3 fill #1 1@99 queue"]


def test_a_trade_that_an_earlier_message_shows_moves_nothing() -> None:
    """Its time lies before the book's: it is tested for going through us only."""
    row = orders(2, (A, 1, 99, 1), stamp=at(2))
    assert fills(row, sale(2.5, 50, stamp=at(1.9))) == []
    assert fills(row, sale(2.5, 3, 98, stamp=at(1.9))) == ["2.5 fill #1 3@99 through"]


def test_a_trade_of_the_time_at_which_we_came_was_before_us() -> None:
    """The book showed the time 1 when our order joined it; a trade of that time is not for us."""
    row = orders(0.9, (DEEP, 1, 90, 49), stamp=at(1))
    late = sale(2, 50, stamp=at(1))
    assert play([OPENING, row, late], {1: buy()}, settings(), (ORDERS,)) == []


# --- through and crossed ---


def test_a_trade_below_our_price_fills_at_most_its_size() -> None:
    """3 of our 4, at our limit."""
    assert fills(sale(2, 3, 98)) == ["2 fill #1 3@99 through"]


def test_an_ask_at_our_price_fills_what_it_displays() -> None:
    """Two orders of 1 and 2 come to 99 when the bids there have gone."""
    gone = orders(2, (A, 1, 99, 0), (B, 1, 99, 0), (C, 1, 99, 0))
    assert fills(gone, orders(3, (D, -1, 99, 1), (41, -1, 99, 2))) == ["3 fill #1 3@99 crossed"]


def test_taking_finds_levels_that_are_sums_of_orders() -> None:
    """3 and 2 at 101, 4 at 102: a buy of 7."""
    more = orders(0.5, (D, -1, 101, 2), (41, -1, 102, 4))
    deed: Deed = lambda ctx, it: ctx.market(it, 7)  # noqa: E731
    expected = ["1 fill #1 5@101 taker", "1 fill #1 2@102 taker"]
    assert play([OPENING, more], {1: deed}, settings(), (ORDERS,)) == expected


def test_what_we_took_shrinks_with_its_level_once_a_message() -> None:
    """We took all 3 at 101. In one message that order goes and another of 3 comes: nothing is left for us.

    With 5 in its place, 2 are; when the level was empty after a message, all 3.
    """
    deeds = {1: lambda ctx, it: ctx.market(it, 3), 3: lambda ctx, it: ctx.limit(it, 9, 101, "ioc")}
    taken = "1 fill #1 3@101 taker"

    def then(*messages: Message) -> list[str]:
        played = play([OPENING, *messages], deeds, settings(), (ORDERS,))
        assert played[0] == taken
        return [line for line in played[1:] if " fill " in line]

    gone = (ASK, -1, 101, 0)
    assert then(orders(2, gone, (D, -1, 101, 3))) == []
    assert then(orders(2, gone, (D, -1, 101, 5))) == ["3 fill #2 2@101 taker"]
    assert then(orders(2, gone), orders(2.5, (D, -1, 101, 3))) == ["3 fill #2 3@101 taker"]


def test_the_strategy_sees_levels() -> None:
    """ctx.book adds the orders of each price up."""
    seen: list[Any] = []
    deed: Deed = lambda ctx, it: seen.append(ctx.book(it, 2))  # noqa: E731
    run([OPENING, BEHIND], {2: deed}, settings(), (ORDERS,))
    for view in seen:
        assert list(view.bids) == [(99, 15), (90, 50)]
        assert list(view.asks) == [(101, 3)]


def test_rows_by_price_are_not_applied_to_a_book_by_order() -> None:
    """In a log that has both, orders count and levels do not; without orders it is the other way round."""
    level = book(2, bids={99: 1})
    both = (whole("trade", "book", "orders"),)
    assert play([OPENING, BEHIND, level, sale(3, 9)], {1: buy()}, settings(), both) == [
        "3 fill #1 1@99 queue"
    ]
    by_price = (whole("trade", "book"),)
    opening = book(0, bids={99: 8, 90: 50}, asks={101: 3})
    row = orders(2, (A, 1, 99, 1))
    assert play([opening, row, sale(3, 9)], {1: buy()}, settings(), by_price) == ["3 fill #1 1@99 queue"]


# --- snapshots ---

FULL = ((DEEP, 1, 90, 50), (ASK, -1, 101, 3))


@pytest.mark.parametrize(
    ("named", "front"),
    [
        (((A, 1, 99, 5), (B, 1, 99, 3), (C, 1, 99, 7)), 8),
        (
            ((C, 1, 99, 7), (B, 1, 99, 3), (A, 1, 99, 5)),
            8,
        ),  # their places are known: rows may be in any order
        (((A, 1, 99, 2), (C, 1, 99, 7)), 2),  # A has shrunk, B has gone
        (((A, 1, 99, 9), (B, 1, 99, 3)), 3),  # A has grown
        (((A, 1, 98, 5), (D, 1, 99, 6)), 0),  # A has moved, D has come since
        ((), 0),
    ],
)
@pytest.mark.parametrize("doubted", [False, True])
def test_a_snapshot_keeps_the_places_of_what_it_names(
    named: tuple[tuple[int, int, int, int], ...], front: int, *, doubted: bool
) -> None:
    """What it does not name has gone; what it names for the first time has come after us."""
    doubt = [status(1.8, "gap", "orders", instrument=1)] if doubted else []
    again = orders(2, *FULL, *named, snapshot=True)
    assert fills(*doubt, again, sale(3, front)) == []
    assert fills(*doubt, again, sale(3, front + 1)) == ["3 fill #1 1@99 queue"]


def test_nothing_matches_on_a_book_in_doubt() -> None:
    """Until the snapshot no trade fills, and an order that arrives waits; then it joins behind all."""
    doubt = orders(1.8, (A, 1, 99, 0), flags=Flag.MAYBE_BAD_BOOK)
    again = orders(3, *FULL, (A, 1, 99, 5), snapshot=True)
    messages = [OPENING, doubt, sale(1.9, 50), sale(2.5, 50, 98), again, sale(4, 6)]
    assert play(messages, {2: buy()}, settings(), (ORDERS,)) == ["4 fill #1 1@99 queue"]


def test_an_order_beyond_the_snapshot_waits_for_its_level_to_be_shown() -> None:
    """The snapshot reaches to 90: at 89 nobody knows. 6 and 2 are shown there, and stand before us."""
    shown = orders(2, (D, 1, 89, 6), (41, 1, 89, 2))
    messages = [OPENING, sale(1.5, 30, 89), shown, sale(3, 9, 89)]
    assert play(messages, {1: buy(4, 89)}, settings(), (ORDERS,)) == ["3 fill #1 1@89 queue"]


def test_a_level_that_a_snapshot_does_not_reach_keeps_its_front() -> None:
    """8 before us at 99, then a snapshot that ends at 100; when 20 are shown again, 8 are before us still."""
    short = orders(2, (D, 1, 100, 1), (ASK, -1, 101, 3), snapshot=True)
    shown = orders(3, (A, 1, 99, 13), (C, 1, 99, 7))
    gone = orders(3.5, (D, 1, 100, 0))
    assert fills(short, shown, gone, sale(4, 9)) == ["4 fill #1 1@99 queue"]
    fewer = orders(3, (C, 1, 99, 7))
    assert fills(short, fewer, gone, sale(4, 9)) == ["4 fill #1 2@99 queue"]


@pytest.mark.parametrize(("price", "front"), [(99, 8), (98, 6)])
def test_an_order_that_comes_into_sight_stood_before_ours_behind_the_best_price(
    price: int, front: int
) -> None:
    """A row of a picture without CLEAR: 6 at our price, which were there before they were shown.

    At the best price, 99, we would have seen them: they came after us. At 98 they count as before us.
    """
    picture = orders(2, (D, 1, price, 6), flags=Flag.SNAPSHOT)
    messages = [OPENING, BEHIND, picture, sale(3, front + 1, price)]
    played = play(messages, {1: buy(4, price)}, settings(), (ORDERS,))
    assert played == [f"3 fill #1 1@{price} queue"]
