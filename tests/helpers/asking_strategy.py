"""A strategy that asks about prices, and asks on when it likes the answer; and a world without sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.log.journal import read_journal

SAMPLE = Path(__file__).parents[2] / "recordings" / "2024-06-01.arrow"
NAME = "asking.py"
# Its first questions are the same whatever comes; the follow-ups depend on the answers.
TEXT = """
from typing import Annotated

import engine
import msgspec


class Sentiment(msgspec.Struct):
    sentiment: Annotated[float, msgspec.Meta(ge=-1, le=1)]
    rationale: str


FIRST = engine.Prompt("first", 1, "Headline: profit rises, the {n}th time", Sentiment)
MORE = engine.Prompt("more", 1, "Headline: is that so, the {n}th time, after {before}?", Sentiment)


class Asking(engine.Strategy):
    questions: int = 4
    follow: bool = False

    def on_start(self, ctx):
        self.asked = 0

    def on_trade(self, ctx, trade):
        if self.asked < self.questions:
            self.asked += 1
            ctx.ask(
                FIRST, trade.instrument, timeout="30s", default=Sentiment(0.0, ""), n=(self.asked + 1) // 2
            )

    def on_answer(self, ctx, answer):
        ctx.log(answer.ticket, answer.outcome, answer.ts - answer.asked)
        if answer.value.sentiment > 0.1:
            ctx.market(answer.about, 0.01)
            if self.follow and answer.prompt == "first":
                ctx.ask(
                    MORE,
                    answer.about,
                    timeout="30s",
                    default=Sentiment(0.0, ""),
                    n=answer.ticket,
                    before=answer.value.sentiment,
                )
"""


def lines_of(run: Path) -> list[list[str]]:
    """What the strategy wrote down of each answer: ticket, outcome, wait."""
    return [r["text"].split() for r in read_journal(run / "journal.arrow").to_pylist() if r["kind"] == 0]


@contextmanager
def no_sockets() -> Iterator[None]:
    """Whoever reaches for the network fails."""

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("somebody reached for the network")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto", "sendmsg"):
            patch.setattr(socket.socket, name, forbidden)
        patch.setattr(socket, "create_connection", forbidden)
        yield
