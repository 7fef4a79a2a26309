"""Orders with an end: good till a time, and for the day."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config import Latency
from engine.model.errors import EngineError
from engine.model.kinds import Kind, SessionData, encode_canonical
from engine.model.units import MILLISECOND_NS
from tests.helpers.logs import Message, Row, at
from tests.reference.scenario import Deed, book, clock, play, run, settings, status, trades

BOOK = book(0, bids={99: 5, 98: 6, 97: 1}, asks={101: 3, 102: 4, 110: 9})


def until(seconds: float, size: int = 4, price: int = 99) -> Deed:
    """A resting buy that ends at a time."""
    return lambda ctx, it: ctx.limit(it, size, price, tif="gtd", until=at(seconds))


def day(size: int = 4, price: int = 99) -> Deed:
    """A resting buy for the day."""
    return lambda ctx, it: ctx.limit(it, size, price, tif="day")


def session(opens: float, closes: float, seconds: float = 0, venue: str = "") -> Message:
    """A SESSION row."""
    data = encode_canonical(SessionData("XNYS", "2024-06-01", at(opens), at(closes), venue))
    return Message(at(seconds), (Row(Kind.SESSION, data=data),))


@pytest.mark.parametrize(
    ("sold_at", "expected"),
    [
        (2.9, ["2.9 fill #1 4@99 through"]),
        (3, ["3 expired #1 time"]),
        (3.1, ["3 expired #1 time"]),
    ],
)
def test_good_till_a_time_ends_at_it(sold_at: float, expected: list[str]) -> None:
    """A trade of that very time comes too late."""
    assert play([BOOK, trades(sold_at, (-1, 98, 9))], {1: until(3)}) == expected


def test_the_time_is_the_venues() -> None:
    """Received 10 ms late, the venue's 3 is our 3.01; heard of another 10 ms later."""
    config = settings(latency=Latency(10 * MILLISECOND_NS, 30 * MILLISECOND_NS, 20 * MILLISECOND_NS))
    assert play([BOOK, clock(9)], {1: until(3)}, config) == ["3.02 expired #1 time"]


def test_an_order_that_arrives_after_its_end_expires_on_arrival() -> None:
    """On its way for 2 seconds, good for one."""
    config = settings(latency=Latency(0, 2000 * MILLISECOND_NS, 0))
    assert play([BOOK, clock(9)], {1: until(2)}, config) == ["3 expired #1 time"]


def test_a_time_that_has_passed_is_refused() -> None:
    """Before it leaves."""
    assert play([BOOK, clock(9)], {1: until(1)}) == ["1 refused #1 time_passed"]


def test_a_part_that_filled_stays_filled() -> None:
    """2 of 4, then the time."""
    assert play([BOOK, trades(2, (-1, 98, 2)), clock(9)], {1: until(3)}) == [
        "2 fill #1 2@99 through",
        "3 expired #1 time",
    ]


def test_orders_expire_while_they_wait_and_before_they_trigger() -> None:
    """Under a bad book, and armed."""
    deeds = {
        1: until(3),
        1.5: lambda ctx, it: ctx.stop(it, 3, 103, tif="gtd", until=at(3)),
    }
    messages = [BOOK, trades(0, (1, 100, 1)), trades(4, (1, 104, 1))]
    assert play(messages, deeds) == ["3 expired #1 time", "3 expired #2 time"]
    gap = [BOOK, trades(0, (1, 100, 1)), status(0.5, "gap", "book", instrument=1), clock(9)]
    assert play(gap, deeds) == ["3 expired #1 time", "3 expired #2 time"]


def test_a_day_order_ends_with_the_session_that_goes_on() -> None:
    """Opened at -5, closes at 6."""
    messages = [session(-5, 6), session(90, 99), BOOK, trades(7, (-1, 98, 9))]
    assert play(messages, {1: day()}) == ["6 expired #1 time"]


def test_a_day_order_between_sessions_is_for_the_next_one() -> None:
    """The last one ended at 0.5; the next ends at 99."""
    messages = [session(-5, 0.5), session(90, 99), BOOK, clock(200)]
    assert play(messages, {1: day()}) == ["99 expired #1 time"]


def test_sessions_of_another_venue_end_nothing() -> None:
    """The order is refused as if there were none."""
    assert play([session(-5, 6, venue="elsewhere"), BOOK], {1: day()}) == ["1 refused #1 no_session"]
    assert play([session(-5, 6, venue="binance"), BOOK, clock(9)], {1: day()}) == ["6 expired #1 time"]


def test_without_sessions_a_day_order_is_refused_with_words() -> None:
    """They say what the log lacks."""
    outcome, script = run([BOOK], {1: day()})
    assert [d.reason for d in outcome.journal] == ["no_session"]
    assert "SESSION" in script.words[1]


def test_the_end_of_a_recording_ends_no_order() -> None:
    """Nothing fires because the input is over."""
    outcome, _ = run([BOOK], {1: until(5000)})
    assert [d.kind for d in outcome.journal] == ["submit", "accepted"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"tif": "gtd"}, "gtd"),
        ({"tif": "gtc", "until": 5}, "gtd"),
        ({"tif": "forever"}, "day"),
    ],
)
def test_an_end_that_does_not_fit_is_the_authors_mistake(more: dict[str, Any], words: str) -> None:
    """Said with the way out."""
    with pytest.raises(EngineError) as failure:
        run([BOOK], {1: lambda ctx, it: ctx.limit(it, 4, 99, **more)})
    assert words in f"{failure.value.message} {failure.value.hint}"
