"""The rules that venue profiles switch, each by itself, and what the shipped profiles say."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config import Fees, Rules
from engine.profiles import load_profile, profile_names
from tests.helpers.logs import at
from tests.reference.scenario import book, play, quote, settings, status, together, trades, whole

BOOK = book(0, bids={99: 5, 98: 6}, asks={101: 3, 102: 4})
BUY = {1: lambda ctx, it: ctx.limit(it, 4, 99)}


def played(market: list[Any], deeds: Any, instruments: Any = None, **rules: Any) -> list[str]:
    """Fills and ends under the default rules but for some."""
    return play(market, deeds, settings(rules=Rules(**rules)), *([instruments] if instruments else []))


@pytest.mark.parametrize(
    ("rows", "expected"), [(False, []), (True, ["2 fill #1 4@99 crossed"])], ids=["message", "rows"]
)
def test_row_by_row_every_row_is_a_step(expected: list[str], *, rows: bool) -> None:
    """An ask that crosses us and is taken back in the same message fills only row by row."""
    market = [BOOK, together(book(2, asks={99: 9}), book(2, asks={99: 0}))]
    assert played(market, BUY, row_by_row=rows) == expected


def test_row_by_row_a_quotes_two_sides_are_two_steps() -> None:
    """The bid comes to 101: our offer there is crossed before the new ask is known."""
    market = [quote(0, 99, 5, 101, 4), quote(2, 101, 2, 103, 4)]
    deeds = {1: lambda ctx, it: ctx.limit(it, -4, 101)}
    assert played(market, deeds, [whole("quote")], row_by_row=True) == ["2 fill #1 2@101 crossed"]


def test_row_by_row_a_snapshot_is_one_step() -> None:
    """It is a picture as a whole: nothing meets us before all of it is there."""
    gap = status(2, "gap", "book", instrument=1)
    again = book(3, asks={98: 3}, bids={97: 1}, snapshot=True)
    assert played([BOOK, gap, again], BUY, row_by_row=True) == ["3 fill #1 3@99 resync"]


@pytest.mark.parametrize(("consume", "second"), [(True, "1@101"), (False, "3@101")])
def test_consume_keeps_what_we_took_of_a_level(second: str, *, consume: bool) -> None:
    """Two of the three at 101 are taken: one is left, or three again."""
    deeds = {1: lambda ctx, it: ctx.market(it, 2), 2: lambda ctx, it: ctx.limit(it, 3, 101, "ioc")}
    lines = played([BOOK], deeds, consume=consume)
    assert lines[:2] == ["1 fill #1 2@101 taker", f"2 fill #2 {second} taker"]


@pytest.mark.parametrize(("share", "second"), [(True, 1), (False, 2)])
def test_share_trades_gives_a_trade_through_us_once(second: int, *, share: bool) -> None:
    """A sale of 3 at 98 goes through a buy of 2 and another of 2."""
    deeds = {1: lambda ctx, it: [ctx.limit(it, 2, 99), ctx.limit(it, 2, 99)]}
    lines = played([BOOK, trades(2, (-1, 98, 3))], deeds, share_trades=share)
    assert lines == ["2 fill #1 2@99 through", f"2 fill #2 {second}@99 through"]


@pytest.mark.parametrize(("apart", "expected"), [(True, []), (False, ["3 fill #1 2@99 queue"])])
def test_set_apart_late_leaves_out_what_the_book_shows(expected: list[str], *, apart: bool) -> None:
    """A trade of 7 stamped like the depth before it: five were before us."""
    market = [BOOK, book(2, bids={97: 2}, stamp=at(2)), trades(3, (-1, 99, 7), stamp=at(2))]
    assert played(market, BUY, set_apart_late=apart) == expected


@pytest.mark.parametrize(("empty", "expected"), [(False, []), (True, ["2 fill #1 2@95 queue"])])
def test_unseen_is_empty_puts_nobody_before_us_outside_the_known_depth(
    expected: list[str], *, empty: bool
) -> None:
    """The snapshot ends at 98; we buy at 95, where 2 are sold."""
    market = [book(0, bids={99: 5, 98: 6}, asks={101: 3}, snapshot=True), trades(2, (-1, 95, 2))]
    assert played(market, {1: lambda ctx, it: ctx.limit(it, 4, 95)}, unseen_is_empty=empty) == expected


def test_unseen_is_empty_also_beside_an_order_of_ours() -> None:
    """98 is outside the second snapshot. Our first order there keeps its six; the second finds nobody."""
    market = [BOOK, book(2, bids={99: 5}, asks={101: 3}, snapshot=True), trades(4, (-1, 98, 1))]
    deeds = {1: lambda ctx, it: ctx.limit(it, 4, 98), 3: lambda ctx, it: ctx.limit(it, 4, 98)}
    assert played(market, deeds, unseen_is_empty=True) == ["4 fill #2 1@98 queue"]
    assert played(market, deeds) == []


@pytest.mark.parametrize(("whole_order", "size"), [(False, 1), (True, 4)])
def test_whole_through_fills_the_order_whatever_was_traded(size: int, *, whole_order: bool) -> None:
    """One lot at 98 goes through our four at 99."""
    market = [BOOK, trades(2, (-1, 98, 1))]
    assert played(market, BUY, whole_through=whole_order) == [f"2 fill #1 {size}@99 through"]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([trades(2, (-1, 99, 6))], "queue"),
        ([trades(2, (-1, 98, 1))], "through"),
        ([book(2, bids={99: 0}, asks={99: 1})], "crossed"),
    ],
)
def test_whole_fills_fills_a_resting_order_whole(messages: list[Any], reason: str) -> None:
    """One lot reaches us; all four fill."""
    assert played([BOOK, *messages], BUY, whole_fills=True) == [f"2 fill #1 4@99 {reason}"]
    assert played([BOOK, *messages], BUY) == [f"2 fill #1 1@99 {reason}"]


@pytest.mark.parametrize("tif", ["ioc", "fok", "gtc"])
def test_whole_fills_takes_all_at_the_best_price(tif: str) -> None:
    """Nine at 101, where three are displayed."""
    deeds = {1: lambda ctx, it: ctx.limit(it, 9, 101, tif)}
    assert played([BOOK], deeds, whole_fills=True) == ["1 fill #1 9@101 taker"]


@pytest.mark.parametrize(("expires", "word"), [(False, "rejected"), (True, "expired")])
def test_a_post_only_order_that_would_match_is_rejected_or_expires(word: str, *, expires: bool) -> None:
    """As the venue says it."""
    deeds = {1: lambda ctx, it: ctx.limit(it, 1, 101, post_only=True)}
    assert played([BOOK], deeds, post_only_expires=expires) == [f"1 {word} #1 post_only_would_match"]


@pytest.mark.parametrize(("expires", "word"), [(False, "cancelled"), (True, "expired")])
def test_what_an_ioc_order_leaves_is_cancelled_or_expires(word: str, *, expires: bool) -> None:
    """Three of four are there."""
    deeds = {1: lambda ctx, it: ctx.limit(it, 4, 101, "ioc")}
    assert played([BOOK], deeds, remainder_expires=expires) == [
        "1 fill #1 3@101 taker",
        f"1 {word} #1 ioc_remainder",
    ]


@pytest.mark.parametrize(
    ("name", "fees", "rules"),
    [
        ("default", Fees(1_000_000, 1_000_000), Rules()),
        ("optimistic", Fees(1_000_000, 1_000_000), Rules(queue="power3", consume=False, whole_through=True)),
        (
            "binance-spot",
            Fees(1_000_000, 1_000_000, asset="received"),
            Rules(remainder_expires=True, stop_must_wait=True),
        ),
        ("kraken-spot", Fees(2_500_000, 4_000_000), Rules()),
        (
            "alpaca-stock",
            Fees(0, 0, sell=27_800, sell_per_unit="0.000166", most_per_unit="8.30"),
            Rules(),
        ),
        (
            "hftbacktest",
            Fees(0, 0),
            Rules("risk_averse", 3, True, False, False, False, True, True, True, True, True),
        ),
    ],
)
def test_what_the_shipped_profiles_say(name: str, fees: Fees, rules: Rules) -> None:
    """Fees in 1e-9 of the notional, and the rules that are not the default's."""
    assert name in profile_names()
    profile = load_profile(name)
    assert (profile.fees, profile.rules) == (fees, rules)
