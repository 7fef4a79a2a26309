"""Orders that rest: through, queue, crossed, resync, and what is known of the queue before them."""

from __future__ import annotations

import pytest

from engine.model.kinds import Flag
from tests.helpers.logs import Message, at
from tests.reference.scenario import (
    QUOTES,
    TRADES,
    Deed,
    book,
    clock,
    play,
    quote,
    settings,
    status,
    together,
    trades,
    whole,
)

BOOK = book(0, bids={99: 5, 98: 6, 97: 1}, asks={101: 3, 102: 4})


def buy(size: int = 4, price: int = 99) -> Deed:
    """A resting buy."""
    return lambda ctx, it: ctx.limit(it, size, price)


# --- through ---


@pytest.mark.parametrize(
    ("price", "size", "expected"),
    [
        (98, 3, ["2 fill #1 3@99 through"]),
        (98, 4, ["2 fill #1 4@99 through"]),
        (97, 50, ["2 fill #1 4@99 through"]),
        (99, 5, []),
        (100, 50, []),
    ],
)
def test_a_trade_through_the_limit_fills_at_most_its_size(price: int, size: int, expected: list[str]) -> None:
    """A sell strictly below our bid, at our own limit; at the limit it only works on the queue."""
    assert play([BOOK, trades(2, (-1, price, size))], {1: buy()}) == expected


@pytest.mark.parametrize("side", [1, 0])
def test_only_a_seller_fills_a_resting_buy(side: int) -> None:
    """A buyer's trade, or one whose side is not known, fills no bid."""
    assert play([BOOK, trades(2, (side, 97, 50))], {1: buy()}) == []


def test_a_trade_through_our_ask_fills_it() -> None:
    """The mirror."""
    sell = {1: lambda ctx, it: ctx.limit(it, -4, 101)}
    assert play([BOOK, trades(2, (1, 102, 3))], sell) == ["2 fill #1 3@101 through"]


def test_one_trade_is_shared_by_all_our_orders() -> None:
    """Best price first, then first come: 7 lots for orders of 4, 2 and 3 are 4, 2 and 1."""
    deeds = {
        1: lambda ctx, it: [ctx.limit(it, 2, 99), ctx.limit(it, 4, 100), ctx.limit(it, 3, 99)],
    }
    assert play([BOOK, trades(2, (-1, 98, 7))], deeds) == [
        "2 fill #2 4@100 through",
        "2 fill #1 2@99 through",
        "2 fill #3 1@99 through",
    ]


# --- queue ---


@pytest.mark.parametrize(
    ("prints", "expected"),
    [
        ([5], []),
        ([6], ["2 fill #1 1@99 queue"]),
        ([3, 4], ["3 fill #1 2@99 queue"]),
        ([3, 1, 1, 1], ["5 fill #1 1@99 queue"]),
        ([50], ["2 fill #1 4@99 queue"]),
    ],
)
def test_only_what_exceeds_the_front_fills(prints: list[int], expected: list[str]) -> None:
    """Five lots stand before us: trades at the price eat them first."""
    market = [BOOK, *(trades(2 + i, (-1, 99, size)) for i, size in enumerate(prints))]
    assert play(market, {1: buy()}) == expected


@pytest.mark.parametrize(
    ("displayed", "trade", "filled"),
    [
        (9, 6, 1),  # more behind us: the front stays 5
        (3, 6, 3),  # two left: risk-averse min(5, 3) = 3 before us
        (3, 3, 0),
        (0, 2, 2),  # all gone: we are first
    ],
)
def test_front_is_at_most_what_is_displayed(displayed: int, trade: int, filled: int) -> None:
    """On a depth change front = min(front, new)."""
    market = [BOOK, book(2, bids={99: displayed}), trades(3, (-1, 99, trade))]
    assert play(market, {1: buy()}) == ([f"3 fill #1 {filled}@99 queue"] if filled else [])


def test_two_of_our_orders_in_one_queue_share_a_trade() -> None:
    """Both have 5 before them: of 8 lots 3 are ours, the first order's 2 and 1 of the second."""
    deeds = {1: lambda ctx, it: [ctx.limit(it, 2, 99), ctx.limit(it, 4, 99)]}
    assert play([BOOK, trades(2, (-1, 99, 8))], deeds) == ["2 fill #1 2@99 queue", "2 fill #2 1@99 queue"]


def test_a_trade_goes_through_better_prices_before_it_reaches_the_queue() -> None:
    """4 of 11 lots at 99 fill our 100; 7 meet the queue of 5 at 99, but only 11 - 5 - 4 = 2 are left."""
    deeds = {1: lambda ctx, it: [ctx.limit(it, 4, 100), ctx.limit(it, 9, 99)]}
    expected = ["2 fill #1 4@100 through", "2 fill #2 2@99 queue"]
    assert play([BOOK, trades(2, (-1, 99, 11))], deeds) == expected


def test_trades_of_one_message_run_one_by_one_in_row_order() -> None:
    """3 and 3 at the limit: the second exceeds the front by one; then one through."""
    market = [BOOK, trades(2, (-1, 99, 3), (-1, 99, 3), (-1, 98, 2))]
    assert play(market, {1: buy()}) == ["2 fill #1 1@99 queue", "2 fill #1 2@99 through"]


def test_a_partial_fill_keeps_its_place() -> None:
    """The front is zero from then on."""
    market = [BOOK, trades(2, (-1, 99, 6)), trades(3, (-1, 99, 1)), trades(4, (-1, 99, 1))]
    assert play(market, {1: buy()}) == [
        "2 fill #1 1@99 queue",
        "3 fill #1 1@99 queue",
        "4 fill #1 1@99 queue",
    ]


@pytest.mark.parametrize(("late_by", "filled"), [(0, False), (1, False), (-1, True)])
def test_a_trade_that_the_book_already_shows_moves_no_front(*, late_by: int, filled: bool) -> None:
    """Its venue time is at or before that of the last depth: it is only tested for through."""
    shown = at(2)
    market = [BOOK, book(2, bids={97: 2}, stamp=shown), trades(3, (-1, 99, 7), stamp=shown - late_by)]
    assert play(market, {1: buy()}) == (["3 fill #1 2@99 queue"] if filled else [])
    through = [*market[:2], trades(3, (-1, 98, 7), stamp=shown - late_by)]
    assert play(through, {1: buy()}) == ["3 fill #1 4@99 through"]


@pytest.mark.parametrize(
    "flag", [Flag.DUPLICATE, Flag.OUT_OF_ORDER, Flag.BACKFILLED, Flag.REJECTED_TICK, Flag.REVISED]
)
def test_flagged_rows_never_match(flag: Flag) -> None:
    """Neither a trade through us, nor a depth update that would cross us, nor one that moves the front."""
    market = [
        BOOK,
        trades(2, (-1, 90, 50), flags=flag),
        book(3, bids={99: 0}, asks={99: 9}, flags=flag),
        trades(4, (-1, 99, 5)),
        trades(5, (-1, 99, 1)),
    ]
    assert play(market, {1: buy()}) == ["5 fill #1 1@99 queue"]


def test_imported_history_matches() -> None:
    """IMPORTED is where it comes from, no fault."""
    assert play([BOOK, trades(2, (-1, 98, 1), flags=Flag.IMPORTED)], {1: buy()}) == ["2 fill #1 1@99 through"]


@pytest.mark.parametrize(
    ("channels", "expected"),
    [(("aggtrade", "book"), ["2 fill #1 4@99 through"]), (("trade", "aggtrade", "book"), [])],
)
def test_aggregates_count_only_where_plain_trades_are_absent(
    channels: tuple[str, ...], expected: list[str]
) -> None:
    """Else the same trade would come twice."""
    market = [BOOK, trades(2, (-1, 98, 9), flags=Flag.AGGREGATE)]
    assert play(market, {1: buy()}, instruments=[whole(*channels)]) == expected


# --- crossed ---


@pytest.mark.parametrize(
    ("asks", "expected"),
    [
        ({99: 3}, ["2 fill #1 3@99 crossed"]),
        ({98: 9}, ["2 fill #1 4@99 crossed"]),
        ({99: 1, 98: 2}, ["2 fill #1 3@99 crossed"]),
        ({100: 9}, []),
    ],
)
def test_an_ask_at_or_below_a_resting_buy_fills_it(asks: dict[int, int], expected: list[str]) -> None:
    """At our own limit, up to the size displayed there."""
    assert play([BOOK, book(2, bids={99: 0, 98: 0}, asks=asks)], {1: buy()}) == expected


def test_what_crossed_us_is_consumed() -> None:
    """The same ask does not fill twice; what is added to it does."""
    market = [BOOK, book(2, bids={99: 0}, asks={99: 2}), book(3, bids={97: 3}), book(4, asks={99: 3})]
    assert play(market, {1: buy()}) == ["2 fill #1 2@99 crossed", "4 fill #1 1@99 crossed"]


def test_crossing_is_seen_after_the_whole_message() -> None:
    """A row that crosses and is taken back in the same message fills nothing."""
    market = [BOOK, together(book(2, asks={99: 9}), book(2, asks={99: 0}))]
    assert play(market, {1: buy()}) == []


def test_what_crosses_fills_before_the_trades_of_the_message() -> None:
    """Depth first, then the trades."""
    market = [BOOK, together(trades(2, (-1, 98, 1)), book(2, bids={99: 0}, asks={99: 2}))]
    assert play(market, {1: buy()}) == ["2 fill #1 2@99 crossed", "2 fill #1 1@99 through"]


# --- unknown depth ---

SNAPSHOT = book(0, bids={99: 5, 98: 6}, asks={101: 3}, snapshot=True)


def test_outside_the_known_depth_the_front_is_unknown_until_the_level_is_displayed() -> None:
    """At 95 nothing fills, whatever trades there; once 95 shows 2, those 2 are before us."""
    market = [SNAPSHOT, trades(2, (-1, 95, 50)), book(3, bids={95: 2}), trades(4, (-1, 95, 3))]
    assert play(market, {1: buy(4, 95)}) == ["4 fill #1 1@95 queue"]


def test_outside_the_known_depth_a_trade_through_still_fills() -> None:
    """Whoever sells below us has passed us."""
    assert play([SNAPSHOT, trades(2, (-1, 94, 1))], {1: buy(4, 95)}) == ["2 fill #1 1@95 through"]


def test_inside_the_known_depth_an_absent_level_is_empty() -> None:
    """Between 99 and 101 there is nobody before us."""
    assert play([SNAPSHOT, trades(2, (-1, 100, 1))], {1: buy(4, 100)}) == ["2 fill #1 1@100 queue"]


def test_a_snapshot_that_covers_less_keeps_the_fronts_beyond_it() -> None:
    """97 had 1 before us; the new snapshot ends at 99: unknown again, the front is kept."""
    market = [BOOK, book(2, bids={99: 5}, asks={101: 3}, snapshot=True), trades(3, (-1, 97, 2))]
    assert play(market, {1: buy(4, 97)}) == ["3 fill #1 1@97 queue"]


def test_a_snapshot_that_changes_nothing_keeps_fronts_and_consumption() -> None:
    """The same picture again is no news: the front of 5 stays, 2 of the 3 at 101 stay taken."""
    again = book(2, bids={99: 5, 98: 6, 97: 1}, asks={101: 3, 102: 4}, snapshot=True)
    deeds = {
        1: lambda ctx, it: [ctx.limit(it, 4, 99), ctx.market(it, 2)],
        3: lambda ctx, it: ctx.limit(it, 9, 101, "ioc"),
    }
    assert play([BOOK, again, trades(4, (-1, 99, 6))], deeds) == [
        "1 fill #2 2@101 taker",
        "3 fill #3 1@101 taker",
        "3 cancelled #3 ioc_remainder",
        "4 fill #1 1@99 queue",
    ]


def test_a_level_that_a_snapshot_does_not_name_is_gone() -> None:
    """98 had 6 before us; it is not in the picture, so nobody is."""
    market = [BOOK, book(2, bids={99: 5, 97: 1}, asks={101: 3}, snapshot=True), trades(3, (-1, 98, 1))]
    assert play(market, {1: buy(4, 98)}) == ["3 fill #1 1@98 queue"]


# --- bad book and resync ---

GAP = status(2, "gap", "book", instrument=1)


def test_under_a_bad_book_nothing_matches() -> None:
    """Neither trades through us nor arrivals, until the snapshot."""
    market = [BOOK, GAP, trades(3, (-1, 90, 50)), clock(6)]
    assert play(market, {1: buy(), 4: lambda ctx, it: ctx.market(it, 1)}) == []


@pytest.mark.parametrize(
    "bad", [GAP, status(2, "disconnected"), book(2, bids={90: 1}, flags=Flag.MAYBE_BAD_BOOK)]
)
def test_what_waited_arrives_after_the_snapshot_in_the_order_it_came(bad: Message) -> None:
    """At the snapshot's time, on the new book."""
    market = [BOOK, bad, book(5, bids={100: 1}, asks={103: 2, 104: 9}, snapshot=True)]
    deeds = {
        3: lambda ctx, it: ctx.market(it, 1),
        4: lambda ctx, it: [ctx.limit(it, 9, 103, "ioc"), ctx.market(it, 1)],
    }
    expected = [
        "5 fill #1 1@103 taker",
        "5 fill #2 1@103 taker",
        "5 cancelled #2 ioc_remainder",
        "5 fill #3 1@104 taker",
    ]
    assert play(market, deeds) == expected


def test_a_waiting_order_can_be_cancelled() -> None:
    """A cancel passes under a bad book; the order never arrives, those behind it do."""
    market = [BOOK, GAP, book(6, bids={100: 1}, asks={103: 2}, snapshot=True)]
    deeds = {
        3: lambda ctx, it: [ctx.market(it, 1), ctx.market(it, 1), ctx.market(it, 1)],
        4: lambda ctx, _: ctx.cancel(2),
        5: lambda ctx, it: ctx.limit(it, -1, 103),
    }
    assert play(market, deeds) == [
        "4 cancelled #2 requested",
        "6 fill #1 1@103 taker",
        "6 fill #3 1@103 taker",
    ]


def test_a_resting_order_can_be_cancelled_under_a_bad_book() -> None:
    """Cancels always pass."""
    assert play([BOOK, GAP], {1: buy(), 3: lambda ctx, _: ctx.cancel(1)}) == ["3 cancelled #1 requested"]


def test_resync_fills_what_is_crossed_at_its_own_limit() -> None:
    """Old and new book are compared once; reason RESYNC, then arrivals match what is left."""
    market = [BOOK, GAP, book(4, bids={90: 1}, asks={98: 3, 99: 3}, snapshot=True)]
    deeds = {1: buy(), 3: lambda ctx, it: ctx.market(it, 9)}
    assert play(market, deeds) == [
        "4 fill #1 4@99 resync",
        "4 fill #2 2@99 taker",
        "4 cancelled #2 no_liquidity",
    ]


def test_resync_takes_the_smaller_front() -> None:
    """min(5, 2) before us."""
    market = [BOOK, GAP, book(4, bids={99: 2}, asks={101: 3}, snapshot=True), trades(5, (-1, 99, 3))]
    assert play(market, {1: buy()}) == ["5 fill #1 1@99 queue"]


def test_resync_forgets_consumption() -> None:
    """After a gap, 3 at 101 are 3."""
    market = [BOOK, GAP, book(4, bids={99: 2}, asks={101: 3}, snapshot=True)]
    deeds = {1: lambda ctx, it: ctx.market(it, 3), 5: lambda ctx, it: ctx.market(it, 3)}
    assert play(market, deeds) == ["1 fill #1 3@101 taker", "5 fill #2 3@101 taker"]


def test_after_a_disconnect_quotes_go_on_by_themselves() -> None:
    """A quote is a whole picture: no snapshot is waited for."""
    market = [quote(0, 99, 5, 101, 4), status(2, "disconnected"), quote(3, 97, 5, 99, 2)]
    assert play(market, {1: buy()}, instruments=[QUOTES]) == ["3 fill #1 2@99 crossed"]


# --- quotes and trades alone ---


def test_behind_the_best_quote_an_order_waits_for_it_to_come() -> None:
    """At 98 under a bid of 99 the queue is unknown; when the bid falls to 98, its size is before us."""
    market = [
        quote(0, 99, 5, 101, 4),
        trades(2, (-1, 98, 50)),
        quote(3, 98, 6, 101, 4),
        trades(4, (-1, 98, 7)),
    ]
    assert play(market, {1: buy(4, 98)}, instruments=[QUOTES]) == ["4 fill #1 1@98 queue"]


def test_before_the_best_quote_nobody_stands_before_us() -> None:
    """A bid of 100 over the venue's 99."""
    market = [quote(0, 99, 5, 101, 4), trades(2, (-1, 100, 1))]
    assert play(market, {1: buy(4, 100)}, instruments=[QUOTES]) == ["2 fill #1 1@100 queue"]


def test_on_trades_alone_only_a_trade_through_fills() -> None:
    """Nothing is known of the queue at our price."""
    market = [trades(0, (1, 100, 1)), trades(2, (-1, 99, 50)), trades(3, (-1, 98, 3))]
    assert play(market, {1: buy()}, instruments=[TRADES]) == ["3 fill #1 3@99 through"]


def test_depth_is_matched_and_quotes_are_not_where_both_are() -> None:
    """A quote that crosses us fills nothing when the log has the book."""
    both = whole("trade", "quote", "book")
    market = [BOOK, quote(2, 97, 5, 98, 50)]
    assert play(market, {1: buy()}, settings(), [both]) == []
