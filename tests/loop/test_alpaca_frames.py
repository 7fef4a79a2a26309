"""A run over Alpaca's frames: several instruments in one message, revisions, halts, headlines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config import Latency, RunConfig
from engine.model.units import MILLISECOND_NS
from engine.strategy.api import Strategy
from tests.helpers import alpaca
from tests.helpers.alpaca import Message, article, bar, book, later, quote, recorded, trade
from tests.loop.logs import Ran, backtest

STOCK_CHANNELS, COIN_CHANNELS = ("trade", "quote", "bar", "updated"), ("trade", "book")
STOCKS = [msgspec.structs.replace(each, channels=STOCK_CHANNELS) for each in (alpaca.AAPL, alpaca.AMD)]
COINS = [msgspec.structs.replace(each, channels=COIN_CHANNELS) for each in (alpaca.BTC, alpaca.ETH)]
KNOWN = (*STOCKS, *COINS)
CONFIG = RunConfig(latency=Latency(MILLISECOND_NS, MILLISECOND_NS, MILLISECOND_NS))


class Listener(Strategy):
    """Writes down what it is told."""

    def on_start(self, _ctx: Any) -> None:
        """Nothing was told yet."""
        self._seen: list[tuple[Any, ...]] = []

    def on_trade(self, _ctx: Any, trade: Any) -> None:
        """A trade."""
        self._seen.append(("trade", trade.instrument.symbol, trade.price, trade.late))

    def on_quote(self, _ctx: Any, quote: Any) -> None:
        """A quote."""
        self._seen.append(("quote", quote.instrument.symbol, quote.bid, quote.bid_size, quote.ask))

    def on_book(self, ctx: Any, update: Any) -> None:
        """A book, with its best levels at this moment."""
        found = ctx.book(update.instrument)
        self._seen.append(("book", update.instrument.symbol, found.bids, found.asks))

    def on_bar(self, _ctx: Any, bar: Any) -> None:
        """A bar."""
        self._seen.append(("bar", bar.instrument.symbol, bar.close, bar.final, bar.revised))

    def on_news(self, _ctx: Any, news: Any) -> None:
        """A headline."""
        self._seen.append(("news", news.id, news.headline))

    def on_status(self, _ctx: Any, status: Any) -> None:
        """A status."""
        symbol = status.instrument.symbol if status.instrument else ""
        self._seen.append(("status", symbol, status.channel, status.detail))


def told(path: Path, frames: Sequence[Sequence[Message]]) -> list[tuple[Any, ...]]:
    """What a strategy is told of these frames."""
    listener = Listener()
    ran: Ran = backtest([recorded(path, KNOWN, frames)], listener, CONFIG)
    assert ran.hash
    seen: list[tuple[Any, ...]] = listener._seen
    return seen


def test_one_frame_of_several_instruments_is_one_step(tmp_path: Path) -> None:
    """Everything in it is told, in its order, after all of it has been applied."""
    frames = [
        [
            quote(),
            trade(1),
            quote(91.95, 91.98, S="AMD"),
            trade(2, 91.96, S="AMD"),
            {"T": "t", "S": "BTC/USD", "p": 10.5, "s": 1, "t": later(0), "i": 3, "tks": "B"},
            {"T": "zz"},
        ]
    ]
    assert told(tmp_path / "a.arrow", frames) == [
        ("quote", "AAPL", 133.85, 4.0, 135.77),
        ("trade", "AAPL", 162.92, False),
        ("quote", "AMD", 91.95, 4.0, 91.98),
        ("trade", "AMD", 91.96, False),
        ("trade", "BTC/USD", 10.5, False),
    ]


def test_books_of_one_frame_are_those_of_frame_by_frame(tmp_path: Path) -> None:
    """Pictures and changes of two books, mixed in one message: what the second picture left out is gone."""
    first = [
        book([(10, 1), (9, 2)], [(11, 1)], reset=True),
        book([(5, 1)], [(6, 1)], reset=True, S="ETH/USD"),
    ]
    mixed = [
        book([(8, 3)], [(11, 4)], reset=True, t=later(1)),
        book([(4, 7)], [(6, 2)], reset=True, S="ETH/USD", t=later(1)),
        book([(7, 1)], [(11, 0), (12, 5)], t=later(2)),
        book([(5, 3)], S="ETH/USD", t=later(2)),
    ]
    together = told(tmp_path / "a.arrow", [first, mixed])
    apart = told(tmp_path / "b.arrow", [[each] for each in (*first, *mixed)])
    assert together[-2:] == [
        ("book", "BTC/USD", ((8.0, 3.0), (7.0, 1.0)), ((12.0, 5.0),)),
        ("book", "ETH/USD", ((5.0, 3.0), (4.0, 7.0)), ((6.0, 2.0),)),
    ]
    assert {each for each in apart if each[1] == "BTC/USD"} >= {together[-2]}
    assert apart[-1] == together[-1]
    assert apart[-2] == together[-2]


def test_minute_bars_are_told_when_they_come_and_once_more_when_updated(tmp_path: Path) -> None:
    """The day so far is not told; a repeat is not told again."""
    frames = [[bar()], [bar("d")], [bar("u", 134.7)], [bar("u", 134.7)], [bar(t="2024-07-24T07:57:00Z")]]
    assert told(tmp_path / "a.arrow", frames) == [
        ("bar", "AAPL", 134.65, True, False),
        ("bar", "AAPL", 134.7, True, True),
        ("bar", "AAPL", 134.65, True, False),
    ]


def test_a_side_that_nobody_quotes_is_told_as_nothing(tmp_path: Path) -> None:
    """Size 0, and not the last size that somebody did quote."""
    frames = [[quote()], [quote(0, 135.77, bs=0, t=later(1))]]
    assert told(tmp_path / "a.arrow", frames)[1] == ("quote", "AAPL", 0.0, 0.0, 135.77)


def test_corrected_and_cancelled_trades_are_not_told_as_trades(tmp_path: Path) -> None:
    """Late ones are, as late; repeats are not."""
    correction = {"T": "c", "S": "AAPL", "x": "K", "oi": 1, "op": 162.92, "os": 3, "ci": 9, "cp": 1, "cs": 3}
    cancel = {"T": "x", "S": "AAPL", "x": "K", "i": 1, "p": 162.92, "s": 3, "a": "C"}
    frames = [
        [trade(1, t=later(5))],
        [{**correction, "t": later(6)}, {**cancel, "t": later(7)}],
        [trade(1, t=later(5)), trade(2, 162.9, t=later(3))],
    ]
    assert told(tmp_path / "a.arrow", frames) == [
        ("trade", "AAPL", 162.92, False),
        ("trade", "AAPL", 162.9, True),
    ]


def test_a_halt_reaches_the_strategy(tmp_path: Path) -> None:
    """With the instrument, and what it comes to in plain words first."""
    halt = {"T": "s", "S": "AMD", "sc": "H", "sm": "Trading Halt", "rc": "T12", "rm": "News", "t": later(0)}
    assert told(tmp_path / "a.arrow", [[halt]]) == [
        ("status", "AMD", "status", "halted: H Trading Halt (T12 News)")
    ]


def test_headlines_are_told_once_and_edits_too(tmp_path: Path) -> None:
    """A repeat is a row of the log, and nothing for a strategy."""
    edit = article(headline="Another thing", updated_at="2024-09-17T09:05:00Z")
    frames = [[article(), article(8, "More")], [article()], [edit]]
    assert told(tmp_path / "a.arrow", frames) == [
        ("news", "7", "A thing happened"),
        ("news", "8", "More"),
        ("news", "7", "Another thing"),
    ]


@pytest.mark.parametrize("size", [1, 0.123456789])
def test_a_definition_that_becomes_wider_in_the_middle_changes_no_price(tmp_path: Path, size: float) -> None:
    """What was told before and after is in the same money."""
    fine = {"T": "t", "S": "BTC/USD", "p": 10.12345, "s": size, "t": later(1), "i": 3, "tks": "B"}
    frames = [[book([(10, 1)], [(11, 1)], reset=True)], [fine, book([(10.5, 1)], t=later(2))]]
    assert told(tmp_path / "a.arrow", frames)[-2:] == [
        ("trade", "BTC/USD", 10.12345, False),
        ("book", "BTC/USD", ((10.5, 1.0), (10.0, 1.0)), ((11.0, 1.0),)),
    ]
