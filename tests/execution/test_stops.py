"""Stops: what triggers them, when, and what they become."""

from __future__ import annotations

import pytest

from engine.config import Account, Latency, Rules
from engine.model.kinds import BUY, Flag, Kind
from engine.model.units import MILLISECOND_NS
from tests.helpers.logs import Message, Row, at
from tests.reference.scenario import (
    QUOTES,
    TRADES,
    Deed,
    book,
    clock,
    play,
    quote,
    run,
    settings,
    status,
    together,
    trades,
    whole,
)

BOOK = book(0, bids={99: 5, 98: 6, 97: 1}, asks={101: 3, 102: 4, 110: 9})
MARKED = whole("trade", "book")


def stop(size: int, price: int, **more: object) -> Deed:
    """A stop order."""
    return lambda ctx, it: ctx.stop(it, size, price, **more)


def trail(size: int, distance: int, **more: object) -> Deed:
    """A trailing stop."""
    return lambda ctx, it: ctx.trail(it, size, distance, **more)


def mark(seconds: float, price: int) -> Message:
    """A MARK row."""
    return Message(at(seconds), (Row(Kind.MARK, instrument=1, price=price),))


# --- the trigger ---


@pytest.mark.parametrize(
    ("size", "at_price", "last", "expected"),
    [
        (4, 103, 102, []),
        (4, 103, 103, ["2 triggered #1", "2 fill #1 3@101 taker", "2 fill #1 1@102 taker"]),
        (4, 103, 104, ["2 triggered #1", "2 fill #1 3@101 taker", "2 fill #1 1@102 taker"]),
        (-4, 97, 98, []),
        (-4, 97, 97, ["2 triggered #1", "2 fill #1 4@99 taker"]),
        (-4, 97, 90, ["2 triggered #1", "2 fill #1 4@99 taker"]),
    ],
)
def test_a_buy_triggers_at_or_above_its_stop_and_a_sell_at_or_below(
    size: int, at_price: int, last: int, expected: list[str]
) -> None:
    """Then it takes what the book offers, whatever the trade's own price was."""
    assert (
        play([BOOK, trades(0, (1, 100, 1)), trades(2, (1, last, 1))], {1: stop(size, at_price)}) == expected
    )


def test_a_trigger_has_no_latency_of_its_own() -> None:
    """Entry 30 ms, response 20 ms, feed 10 ms: it matches with the trade, and is heard of 10 ms later."""
    config = settings(latency=Latency(10 * MILLISECOND_NS, 30 * MILLISECOND_NS, 20 * MILLISECOND_NS))
    assert play([BOOK, trades(0, (1, 100, 1)), trades(2, (1, 103, 1))], {1: stop(3, 103)}, config) == [
        "2.01 triggered #1",
        "2.01 fill #1 3@101 taker",
    ]


def test_a_stop_that_is_still_under_way_is_not_triggered_by_what_passed_before_it_arrived() -> None:
    """Sent at 1, there at 1.04; the trade at 1.02 counts as the last price when it arrives."""
    config = settings(latency=Latency(10 * MILLISECOND_NS, 30 * MILLISECOND_NS, 10 * MILLISECOND_NS))
    prints = [trades(0, (1, 100, 1)), trades(1.02, (1, 103, 1)), trades(1.03, (1, 100, 1))]
    assert play([BOOK, *prints], {1: stop(3, 103)}, config) == []


def test_what_triggers_at_once_takes_at_once_or_is_rejected() -> None:
    """A stop whose price is there already when it arrives; `stop_must_wait` is the other way."""
    market = [BOOK, trades(0, (1, 104, 1))]
    assert play(market, {1: stop(3, 103)}) == ["1 triggered #1", "1 fill #1 3@101 taker"]
    waiting = settings(rules=Rules(stop_must_wait=True))
    assert play(market, {1: stop(3, 103)}, waiting) == ["1 rejected #1 would_trigger"]


def test_trades_that_never_match_trigger_nothing() -> None:
    """Late, repeated, rejected: the last price stays what it was."""
    for flag in (Flag.OUT_OF_ORDER, Flag.DUPLICATE, Flag.REJECTED_TICK, Flag.BACKFILLED, Flag.REVISED):
        assert (
            play([BOOK, trades(0, (1, 100, 1)), trades(2, (1, 104, 1), flags=flag)], {1: stop(3, 103)}) == []
        )


def test_one_trade_triggers_first_and_fills_resting_orders_then() -> None:
    """A sale at 97 triggers the stop, which takes the bid, before it goes through the resting buy at 98."""
    deeds = {1: lambda ctx, it: [ctx.limit(it, 2, 98), ctx.stop(it, -3, 97)]}
    assert play([BOOK, trades(0, (1, 100, 1)), trades(2, (-1, 97, 5))], deeds) == [
        "2 triggered #2",
        "2 fill #2 3@99 taker",
        "2 fill #1 2@98 through",
    ]


def test_stops_of_one_price_go_in_the_order_of_their_arrival() -> None:
    """The second finds what the first has left."""
    deeds = {1: lambda ctx, it: [ctx.stop(it, 2, 105), ctx.stop(it, 4, 103)]}
    assert play([BOOK, trades(0, (1, 100, 1)), trades(2, (1, 106, 1))], deeds) == [
        "2 triggered #1",
        "2 fill #1 2@101 taker",
        "2 triggered #2",
        "2 fill #2 1@101 taker",
        "2 fill #2 3@102 taker",
    ]


@pytest.mark.parametrize(
    ("source", "messages", "expected"),
    [
        ("last", [trades(2, (1, 103, 1))], ["2 triggered #1", "2 fill #1 3@101 taker"]),
        ("last", [book(2, asks={101: 0, 102: 0}), mark(3, 105)], []),
        ("bid_ask", [trades(2, (1, 103, 1)), mark(3, 105)], []),
        ("bid_ask", [book(2, asks={101: 0, 102: 0, 103: 3})], ["2 triggered #1", "2 fill #1 3@103 taker"]),
        ("mark", [trades(2, (1, 103, 1)), book(3, asks={101: 0, 102: 0, 103: 3})], []),
        ("mark", [mark(2, 103)], ["2 triggered #1", "2 fill #1 3@101 taker"]),
    ],
)
def test_a_rule_says_what_triggers(source: str, messages: list[Message], expected: list[str]) -> None:
    """The last trade, the side that it would take, or the venue's mark; never two of them."""
    config = settings(rules=Rules(stop_source=source))
    before = [BOOK, trades(0, (1, 100, 1)), mark(0, 100)]
    assert play([*before, *messages], {1: stop(3, 103)}, config, [MARKED]) == expected


def test_marks_have_two_times_as_all_rows_have() -> None:
    """The venue's clock: a mark of 103, stamped 2 and received at 3, triggers at 2."""
    config = settings(rules=Rules(stop_source="mark"), clock="venue")
    late = Message(at(3), (Row(Kind.MARK, ts_venue=at(2), instrument=1, price=103),))
    market = [BOOK, trades(0, (1, 100, 1)), mark(0, 100), late]
    assert play(market, {1: stop(3, 103), 2.5: stop(1, 103)}, config) == [
        "2 triggered #1",
        "2 fill #1 3@101 taker",
        "2.5 triggered #2",
        "2.5 fill #2 1@102 taker",
    ]
    assert play([BOOK, trades(0, (1, 100, 1)), late], {2.5: stop(1, 103)}, config) == [
        "2.5 refused #1 no_trigger_price"
    ]


def test_without_a_mark_a_stop_on_marks_is_refused() -> None:
    """The words say what is missing."""
    config = settings(rules=Rules(stop_source="mark"))
    outcome, script = run([BOOK, trades(0, (1, 100, 1))], {1: stop(3, 103)}, config)
    assert [d.kind for d in outcome.journal] == ["refused"]
    assert "mark prices" in script.words[1]


def test_where_there_are_no_trades_bid_and_ask_trigger() -> None:
    """An instrument with quotes alone: a buy looks at the ask."""
    only = whole("quote")
    assert play([quote(0, 99, 5, 101, 5), quote(2, 99, 5, 103, 5)], {1: stop(3, 103)}, None, [only]) == [
        "2 triggered #1",
        "2 fill #1 3@103 taker",
    ]


def test_on_trades_alone_a_triggered_stop_pays_the_slippage() -> None:
    """The last trade is the price, one tick worse."""
    assert play([trades(0, (1, 100, 1)), trades(2, (1, 105, 1))], {1: stop(3, 103)}, None, [TRADES]) == [
        "2 triggered #1",
        "2 fill #1 3@106 taker",
    ]


def test_on_quotes_a_triggered_stop_takes_the_best_and_then_a_tick_worse() -> None:
    """As a market order does there."""
    messages = [quote(0, 99, 5, 101, 2), trades(0, (1, 100, 1)), trades(2, (1, 103, 1))]
    assert play(messages, {1: stop(3, 103)}, None, [QUOTES]) == [
        "2 triggered #1",
        "2 fill #1 2@101 taker",
        "2 fill #1 1@102 taker",
    ]


def test_under_a_bad_book_a_triggered_stop_waits_for_the_snapshot() -> None:
    """Triggered by the trade, matched with what the snapshot shows."""
    messages = [
        BOOK,
        trades(0, (1, 100, 1)),
        status(2, "gap", "book", instrument=1),
        trades(3, (1, 103, 1)),
        book(4, bids={104: 2}, asks={106: 9}, snapshot=True),
    ]
    assert play(messages, {1: stop(3, 103)}) == ["3 triggered #1", "4 fill #1 3@106 taker"]


def test_a_stop_that_arrives_under_a_bad_book_waits_with_the_others() -> None:
    """It is armed with the snapshot, and a trade triggers it then."""
    messages = [
        BOOK,
        trades(0, (1, 100, 1)),
        status(0.5, "gap", "book", instrument=1),
        book(4, bids={99: 2}, asks={101: 9}, snapshot=True),
        trades(5, (1, 103, 1)),
    ]
    assert play(messages, {1: stop(3, 103)}) == ["5 triggered #1", "5 fill #1 3@101 taker"]


# --- with a limit ---


def test_a_stop_limit_takes_up_to_its_limit_and_rests() -> None:
    """Triggered at 103 with a limit of 101: 3 are taken, 1 rests and fills as maker."""
    messages = [BOOK, trades(0, (1, 100, 1)), trades(2, (1, 103, 1)), trades(3, (-1, 100, 9))]
    assert play(messages, {1: stop(4, 103, limit=101)}) == [
        "2 triggered #1",
        "2 fill #1 3@101 taker",
        "3 fill #1 1@101 through",
    ]


@pytest.mark.parametrize(
    ("tif", "expected"),
    [
        ("ioc", ["2 triggered #1", "2 fill #1 3@101 taker", "2 cancelled #1 ioc_remainder"]),
        ("fok", ["2 triggered #1", "2 expired #1 fok_unfillable"]),
    ],
)
def test_its_time_in_force_counts_from_the_trigger(tif: str, expected: list[str]) -> None:
    """It waits for the trigger as long as it takes, then it fills at once or not at all."""
    messages = [BOOK, trades(0, (1, 100, 1)), trades(2, (1, 103, 1))]
    assert play(messages, {1: stop(4, 103, limit=101, tif=tif)}) == expected


def test_the_collar_is_measured_when_it_triggers() -> None:
    """5 %: a limit of 120 may wait beyond a price of 100, and is cancelled at the trigger."""
    messages = [BOOK, trades(0, (1, 100, 1)), trades(2, (1, 103, 1))]
    assert play(messages, {1: stop(4, 103, limit=120)}, settings(collar=50_000)) == [
        "2 triggered #1",
        "2 cancelled #1 collar_at_trigger",
    ]
    assert play(messages, {1: stop(3, 103, limit=105)}, settings(collar=50_000)) == [
        "2 triggered #1",
        "2 fill #1 3@101 taker",
    ]


# --- trailing ---


@pytest.mark.parametrize(
    ("size", "prints", "expected"),
    [
        # sells 3 below the highest: 97, then 101 after 104, then triggered by 101
        (-2, [102, 104, 102, 101], ["5 triggered #1", "5 fill #1 2@99 taker"]),
        (-2, [104, 102, 103, 102], []),
        # buys 3 above the lowest: 103, then 99 after 96
        (2, [96, 98, 99], ["4 triggered #1", "4 fill #1 2@101 taker"]),
        (2, [96, 98, 97, 98], []),
        # from 100 it stands at 97, and does not move away
        (-2, [98, 97], ["3 triggered #1", "3 fill #1 2@99 taker"]),
    ],
)
def test_a_trailing_stop_follows_the_price_and_never_moves_away(
    size: int, prints: list[int], expected: list[str]
) -> None:
    """A distance of 3 from the best price since it was armed at 100."""
    messages = [trades(2 + i, (1, price, 1)) for i, price in enumerate(prints)]
    assert play([BOOK, trades(0, (1, 100, 1)), *messages], {1: trail(size, 3)}) == expected


def test_one_price_does_not_move_a_trailing_stop_and_trigger_it() -> None:
    """Tested against 97 first, where it stood; then moved to 117."""
    messages = [
        BOOK,
        trades(0, (1, 100, 1)),
        trades(2, (1, 120, 1)),
        trades(3, (1, 118, 1)),
        trades(4, (1, 117, 1)),
    ]
    assert play(messages, {1: trail(-2, 3)}) == ["4 triggered #1", "4 fill #1 2@99 taker"]


def test_a_trailing_stop_may_begin_where_it_is_told() -> None:
    """At 95, and at 98 once the price is 101."""
    messages = [
        BOOK,
        trades(0, (1, 100, 1)),
        trades(2, (1, 96, 1)),
        trades(3, (1, 101, 1)),
        trades(4, (1, 98, 1)),
    ]
    assert play(messages, {1: trail(-2, 3, stop=95)}) == ["4 triggered #1", "4 fill #1 2@99 taker"]


def test_the_first_price_makes_a_trailing_stop_that_found_none() -> None:
    """No trade before it: 100 puts it at 97."""
    messages = [BOOK, trades(2, (1, 100, 1)), trades(3, (1, 98, 1)), trades(4, (1, 97, 1))]
    assert play(messages, {1: trail(-2, 3)}) == ["4 triggered #1", "4 fill #1 2@99 taker"]


def test_a_trailing_stop_on_bid_and_ask_follows_its_own_side() -> None:
    """A sell follows the bid: 99, 104, and is triggered by 101."""
    messages = [
        book(2, bids={104: 5}, asks={101: 0, 102: 0}),
        book(3, bids={104: 0, 99: 0, 101: 4, 98: 0, 97: 0}),
    ]
    config = settings(rules=Rules(stop_source="bid_ask"))
    assert play([BOOK, *messages], {1: trail(-2, 3)}, config) == [
        "3 triggered #1",
        "3 fill #1 2@101 taker",
    ]


# --- cancel, reduce-only, money ---


def test_a_cancelled_stop_is_not_triggered() -> None:
    """Cancelled at 2, the trade comes at 3."""
    deeds = {1: stop(3, 103), 2: lambda ctx, _: ctx.cancel(1)}
    messages = [BOOK, trades(0, (1, 100, 1)), clock(2.5), trades(3, (1, 103, 1))]
    assert play(messages, deeds) == ["2 cancelled #1 requested"]


def test_reduce_only_looks_at_the_position_when_it_triggers() -> None:
    """A sale of 5 with a position of 2 is one of 2; with none, it is cancelled."""
    buy = {1: lambda ctx, it: [ctx.market(it, 2), ctx.stop(it, -5, 97, reduce_only=True)]}
    messages = [BOOK, trades(0, (1, 100, 1)), trades(2, (-1, 97, 1))]
    assert play(messages, buy) == ["1 fill #1 2@101 taker", "2 triggered #2", "2 fill #2 2@99 taker"]
    alone = {1: stop(-5, 97, reduce_only=True)}
    assert play(messages, alone) == ["2 triggered #1", "2 cancelled #1 reduce_only"]


@pytest.mark.parametrize(
    ("capital", "expected"),
    [
        ("309", ["2 triggered #1", "2 fill #1 3@101 taker"]),
        ("308", ["1 refused #1 cash"]),
    ],
)
def test_in_a_cash_account_a_stop_locks_what_it_would_cost_at_its_stop(
    capital: str, expected: list[str]
) -> None:
    """3 at 103 are 309."""
    config = settings(account=Account(type="cash", capital=capital))
    messages = [BOOK, trades(0, (1, 100, 1)), trades(2, (1, 103, 1))]
    assert play(messages, {1: stop(3, 103)}, config) == expected


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        (stop(3, 0), "price_increment"),
        (stop(3, -5), "price_increment"),
        (stop(3, 103, limit=0), "price_increment"),
        (trail(3, 0), "price_increment"),
        (trail(3, -1), "price_increment"),
        (lambda ctx, it: ctx.stop(it, 3, 103.5), "price_increment"),
        (lambda ctx, it: ctx.trail(it, 3, float("nan")), "not_finite"),
    ],
)
def test_a_stop_off_the_increments_is_refused(deed: Deed, reason: str) -> None:
    """Like any order; nothing leaves."""
    assert play([BOOK, trades(0, (BUY, 100, 1))], {1: deed}) == [f"1 refused #1 {reason}"]


# --- a trade that brings its book ---


@pytest.mark.parametrize(
    ("together_with_its_book", "fills"),
    [(True, ["2 fill #1 2@102 taker"]), (False, ["2 fill #1 2@101 taker"])],
)
def test_a_stop_takes_from_what_the_trade_has_left(fills: list[str], *, together_with_its_book: bool) -> None:
    """The trade at 101 took all 3 there, as its message says; without that word they are still displayed."""
    took = trades(2, (BUY, 101, 3))
    left = book(2, asks={101: 0})
    messages = [BOOK, together(took, left) if together_with_its_book else took]
    assert play(messages, {1: stop(2, 101)}) == ["2 triggered #1", *fills]


def test_a_mark_that_comes_with_a_book_triggers_after_it() -> None:
    """The mark says 105, and the ask at 101 has gone in the same message."""
    both = together(mark(2, 105), book(2, asks={101: 0}))
    config = settings(rules=Rules(stop_source="mark"))
    assert play([BOOK, mark(0.5, 100), both], {1: stop(2, 104)}, config, (MARKED,)) == [
        "2 triggered #1",
        "2 fill #1 2@102 taker",
    ]
