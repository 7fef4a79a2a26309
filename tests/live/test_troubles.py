"""What is wrong with a stream, as it is learnt."""

from __future__ import annotations

from engine.feed.parser import Notice
from engine.live.troubles import Troubles


def test_refusals_last_until_they_are_confirmed() -> None:
    """By channel and symbols, however often; a confirmation of more than was asked counts as well."""
    troubles = Troubles()
    assert troubles.words == ""
    refused = Notice("rejected", channel="book", symbols=("X",))
    assert [troubles.take(refused), troubles.take(refused)] == [1, 2]
    assert troubles.take(Notice("rejected", channel="trade", symbols=("X", "Y"))) == 1
    assert troubles.take(Notice("rejected", "without saying what")) == 0
    assert troubles.words == "refused: X book, X Y trade"
    assert troubles.take(Notice("subscribed", channel="trade", symbols=("X",))) == 0
    assert troubles.words == "refused: X book, X Y trade"
    troubles.take(Notice("subscribed", channel="trade", symbols=("X", "Y", "Z")))
    troubles.take(Notice("subscribed", channel="book", symbols=("X",)))
    assert troubles.words == ""


def test_another_connection_is_another_chance() -> None:
    """What was refused or open on the old one says nothing of the new one; that we are behind does."""
    troubles = Troubles()
    troubles.take(Notice("rejected", channel="book", symbols=("X",)))
    troubles.unanswered, troubles.behind = "book Y", "much waits"
    assert troubles.words == "refused: X book; book Y; much waits"
    troubles.another()
    assert troubles.words == "much waits"
