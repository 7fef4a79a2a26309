"""A tick that was rejected when it was recorded is kept from the strategy, its orders and its bars.

Its message ends with a STATUS row that says why, as tick quality writes it; that row is told.
"""

from __future__ import annotations

from typing import Any

import pytest

from engine.config import Rules
from engine.model.kinds import Flag
from engine.strategy.api import Strategy
from tests.helpers.logs import Message, Row
from tests.reference.drive import run_engine
from tests.reference.scenario import (
    DEPTH,
    QUOTES,
    TRADES,
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

REJECTED = Flag.REJECTED_TICK | Flag.UNUSUAL | Flag.EXTREME
BOOK = book(0, bids={99: 5}, asks={101: 5}, snapshot=True)


def rejected(message: Message, channel: str = "trade") -> Message:
    """The tick as the log has it: flagged, with its reason behind it."""
    rows = tuple(Row(**{**vars(row), "flags": row.flags | REJECTED}) for row in message.rows)
    return together(Message(message.ts, rows), status(0, "rejected_tick", channel, instrument=1))


class Listener(Strategy):
    """Notes what it is told, and what the quote is when it is told of a status."""

    def on_start(self, ctx: Any) -> None:
        """Ask for bars of one trade."""
        self.seen: list[object] = []
        if "trade" in ctx.instruments[0].channels:
            ctx.bars(ctx.instruments[0], "1t")

    def on_trade(self, _ctx: Any, trade: Any) -> None:
        """Note its price."""
        self.seen.append(trade.price)

    def on_quote(self, _ctx: Any, quote: Any) -> None:
        """Note both sides."""
        self.seen.append((quote.bid, quote.ask))

    def on_bar(self, _ctx: Any, bar: Any) -> None:
        """Note the close."""
        self.seen.append(f"bar {bar.close:g}")

    def on_status(self, ctx: Any, status: Any) -> None:
        """Note what has happened, and what counts as the market then."""
        now = ctx.quote(status.instrument) if "quote" in status.instrument.channels else None
        self.seen.append(status.event if now is None else (status.event, now.bid, now.ask))


@pytest.mark.parametrize("clock_of", ["received", "venue"])
@pytest.mark.parametrize("chunk", [1, 1024])
def test_a_rejected_trade_is_told_by_its_status_alone(chunk: int, clock_of: str) -> None:
    """No trade, no bar of it, and the last price stays; an extreme one that was let through is a trade."""
    messages = [
        trades(1, (1, 100, 1)),
        rejected(trades(2, (1, 900, 1))),
        trades(3, (1, 101, 1), flags=Flag.UNUSUAL | Flag.EXTREME),
        rejected(trades(4, (1, 1, 1))),
        clock(5),
    ]
    listener = Listener()
    outcome = run_engine(messages, listener, settings(clock=clock_of), [TRADES], chunk=chunk)
    assert listener.seen == [100, "bar 100", "rejected_tick", 101, "bar 101", "rejected_tick"]
    assert outcome.runner.memory.last_price(0) == 101


@pytest.mark.parametrize("chunk", [1, 1024])
def test_a_rejected_quote_is_not_the_quote(chunk: int) -> None:
    """Neither told nor what `ctx.quote` gives."""
    only = whole("quote")
    messages = [quote(1, 99, 5, 101, 5), rejected(quote(2, 500, 5, 400, 5), "quote"), quote(3, 98, 5, 102, 5)]
    listener = Listener()
    run_engine(messages, listener, settings(), [only], chunk=chunk)
    assert listener.seen == [(99, 101), ("rejected_tick", 99, 101), (98, 102)]


def test_some_of_a_message_may_be_rejected() -> None:
    """A frame of several trades: what stands around the bad one is told."""
    messages = [
        together(trades(1, (1, 100, 1)), rejected(trades(1, (1, 900, 1))), trades(1, (1, 102, 1))),
        trades(2, (1, 103, 1)),
    ]
    for chunk in (1, 1024):
        listener = Listener()
        run_engine(messages, listener, settings(), [TRADES], chunk=chunk)
        told = [it for it in listener.seen if not str(it).startswith("bar")]
        assert told == [100, "rejected_tick", 102, 103]


def test_a_rejected_trade_fills_nothing() -> None:
    """A price through our order would have filled it; the next good one does."""
    deeds = {1: lambda ctx, it: ctx.limit(it, 2, 98)}
    bad, good = rejected(trades(2, (-1, 50, 9))), trades(3, (-1, 97, 9))
    assert play([BOOK, bad, clock(4)], deeds, instruments=[DEPTH]) == []
    assert play([BOOK, bad, good], deeds, instruments=[DEPTH]) == ["3 fill #1 2@98 through"]


def test_a_rejected_quote_fills_nothing() -> None:
    """On quotes alone, an ask below our bid would have filled it; and a market order pays the good ask."""
    bad = rejected(quote(2, 49, 9, 50, 9), "quote")
    market = [quote(0, 99, 5, 101, 5), bad, clock(5)]
    assert play(market, {1: lambda ctx, it: ctx.limit(it, 2, 98)}, instruments=[QUOTES]) == []
    assert play(market, {3: lambda ctx, it: ctx.market(it, 2)}, instruments=[QUOTES]) == [
        "3 fill #1 2@101 taker"
    ]


@pytest.mark.parametrize("source", ["last", "bid_ask"])
def test_a_rejected_tick_triggers_no_stop(source: str) -> None:
    """Neither the last price nor bid and ask have been there."""
    tick = quote(2, 49, 9, 50, 9) if source == "bid_ask" else trades(2, (-1, 50, 9))
    config = settings(rules=Rules(stop_source=source))
    deeds = {1: lambda ctx, it: ctx.stop(it, -2, 90)}
    for message, triggered in ((rejected(tick), False), (tick, True)):
        market = [quote(0, 99, 5, 101, 5), trades(0.5, (1, 100, 1)), message, clock(5)]
        decided = play(market, deeds, config, instruments=[QUOTES])
        assert any("fill" in decision for decision in decided) == triggered
