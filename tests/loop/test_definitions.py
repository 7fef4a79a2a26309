"""A definition that gains decimals: everything is multiplied up exactly, and nothing is decided otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config import Account, Latency, Risk, RunConfig
from engine.model.errors import EngineError, InputError
from engine.model.kinds import Flag, InstrumentData, Kind, encode_canonical
from engine.model.units import MILLISECOND_NS
from engine.strategy.api import Strategy
from tests.helpers.logs import Message, Row, at, definitions
from tests.loop.logs import backtest, write_market
from tests.reference.decisions import Decision
from tests.reference.drive import run_engine
from tests.reference.markets import BOOKED, QUOTED, RandomMarket
from tests.reference.order_markets import ORDERED, RandomOrderMarket
from tests.reference.scenario import DEPTH, QUOTES, Script, book, clock, quote, settings, trades
from tests.reference.traders import RandomTrader

MORE_PRICE, MORE_SIZE = 100, 1000
MARKET_ROWS = (Kind.TRADE, Kind.QUOTE, Kind.BOOK)


def widened(data: InstrumentData) -> InstrumentData:
    """Two more decimals of price, three of size; the increments stay what they are."""
    return msgspec.structs.replace(
        data, price_decimals=data.price_decimals + 2, size_decimals=data.size_decimals + 3, version=2
    )


def definition(message: Message, number: int, data: InstrumentData) -> Message:
    """An INSTRUMENT row just after a message."""
    return Message(message.ts + 1, (Row(Kind.INSTRUMENT, instrument=number, data=encode_canonical(data)),))


def scaled(message: Message) -> Message:
    """The message in the wider decimals."""
    return Message(
        message.ts,
        tuple(
            replace(row, price=row.price * MORE_PRICE, size=row.size * MORE_SIZE)
            if row.kind in MARKET_ROWS
            else row
            for row in message.rows
        ),
    )


def in_wide(journal: Sequence[Decision], narrow_until: int) -> list[Decision]:
    """Decisions with the prices and sizes of those before `narrow_until` multiplied up."""
    return [
        replace(d, price=d.price * MORE_PRICE, size=d.size * MORE_SIZE) if d.ts <= narrow_until else d
        for d in journal
    ]


@pytest.mark.parametrize("seed", range(161, 167), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("data", [BOOKED, QUOTED, ORDERED], ids=lambda d: d.symbol)
@pytest.mark.parametrize("account", ["research", "cash"])
def test_more_decimals_on_the_way_decide_what_they_decide_from_the_start(
    data: InstrumentData, seed: int, account: str
) -> None:
    """Orders on their way, resting, waiting and half filled when the definition changes; targets too."""
    config = RunConfig(
        latency=Latency(20 * MILLISECOND_NS, 90 * MILLISECOND_NS, 150 * MILLISECOND_NS),
        risk=Risk(position_cap="0.05", collar_millionths=40_000),
        account=Account(account, "30"),
    )
    messages = RandomOrderMarket(seed, (data,)).messages(300, end=False)
    wide = widened(data)
    half = 100 + 10 * (seed % 7)
    redefined = definition(messages[half - 1], 1, wide)
    narrow_first = [*messages[:half], redefined, *map(scaled, messages[half:])]
    wide_first = [*map(scaled, messages[:half]), redefined, *map(scaled, messages[half:])]

    ours, theirs = RandomTrader(seed, activity=0.5), RandomTrader(seed, activity=0.5)
    a = run_engine(narrow_first, ours, config, (data,))
    b = run_engine(wide_first, theirs, config, (wide,))
    assert any(d.ts > redefined.ts and d.kind == "fill" for d in b.journal)
    assert in_wide(a.journal, messages[half - 1].ts) == b.journal
    assert [decimal_view(x) for x in ours.trace] == [decimal_view(x) for x in theirs.trace]
    assert a.runner.memory.instruments[0]["position"] == b.runner.memory.instruments[0]["position"]
    assert a.runner.memory.assets[0] == b.runner.memory.assets[0]


def decimal_view(line: str) -> str:
    """A line of a trace without the text of instruments, which names the definition."""
    return "".join(part.split("version=", 1)[-1][2:] for part in line.split("Instrument("))


def test_what_cannot_be_multiplied_up_is_an_error() -> None:
    """A size of 10**12 in nine more decimals does not fit 64 bits: said with the field and the factor."""
    wide = msgspec.structs.replace(DEPTH, size_decimals=9, version=2)
    first = book(0, bids={99: 10**12}, asks={101: 5})
    with pytest.raises(EngineError, match=r"XY\.binance: size 1000000000000 times 1000000000"):
        run_engine([first, definition(first, 1, wide)], Script({}), settings(), [DEPTH])


def test_an_order_that_cannot_be_multiplied_up_is_an_error() -> None:
    """Of a book by order, too: its size, and never a wrapped one."""
    narrow = msgspec.structs.replace(DEPTH, channels=("trade", "orders"))
    wide = msgspec.structs.replace(narrow, size_decimals=9, version=2)
    row = Row(Kind.BOOK, flags=Flag.BY_ORDER, instrument=1, side=1, price=99, size=10**12, id=7)
    first = Message(at(0), (row,))
    with pytest.raises(EngineError, match=r"XY\.binance: .*size.* times 1000000000"):
        run_engine([first, definition(first, 1, wide)], Script({}), settings(), [narrow])


def test_fewer_decimals_are_an_error() -> None:
    """A definition may only gain decimals within a run."""
    wide = msgspec.structs.replace(DEPTH, price_decimals=2, version=2)
    first = book(0, bids={9900: 5})
    narrow = msgspec.structs.replace(DEPTH, version=3)
    with pytest.raises(InputError, match="fewer decimals"):
        run_engine([first, definition(first, 1, narrow)], Script({}), settings(), [wide])


def test_a_status_that_changes_is_obeyed_from_its_row_on() -> None:
    """A halt in a new definition refuses what comes after it; orders that are there stay."""
    halted = msgspec.structs.replace(DEPTH, status="BREAK", version=2)
    first = book(0, bids={99: 5}, asks={101: 5})
    messages = [
        first,
        definition(book(2, bids={99: 5}), 1, halted),
        trades(4, (-1, 98, 1)),
        clock(5),
    ]
    deeds = {1: lambda ctx, it: ctx.limit(it, 2, 99), 3: lambda ctx, it: ctx.limit(it, 2, 99)}
    outcome = run_engine(messages, Script(deeds), settings(), [DEPTH])
    assert [(d.kind, d.reason) for d in outcome.journal] == [
        ("submit", "none"),
        ("accepted", "none"),
        ("refused", "not_tradable"),
        ("fill", "through"),
    ]


@pytest.mark.parametrize("seed", [171, 172, 173], ids=lambda s: f"seed{s}")
def test_files_that_count_in_different_decimals_are_one_market(tmp_path: Path, seed: int) -> None:
    """The book in a file with more decimals, trades in another that begins later: as if from one file."""
    config = RunConfig(latency=Latency(0, 5 * MILLISECOND_NS, 0), risk=Risk(collar_millionths=40_000))
    data = msgspec.structs.replace(BOOKED, channels=("trade", "book"))
    wide = widened(data)
    messages = RandomMarket(seed, (data,)).messages(400, end=False)
    begun = messages[60].ts
    books, prints, both = [], [], []
    for message in messages:
        kinds = {row.kind for row in message.rows if row.kind in MARKET_ROWS}
        if kinds == {Kind.BOOK}:
            books.append(scaled(message))
        elif kinds == {Kind.TRADE} and message.ts > begun:
            prints.append(message)
        else:
            continue
        both.append(scaled(message))
    only_trades = msgspec.structs.replace(data, channels=("trade",))
    head = [Message(begun - 10 + i, m.rows) for i, m in enumerate(definitions([only_trades]))]
    paths = [
        write_market(tmp_path / "book.arrow", books, [msgspec.structs.replace(wide, channels=("book",))]),
        write_market(tmp_path / "trades.arrow", prints, [only_trades], head=head),
    ]
    joint = backtest(
        [write_market(tmp_path / "whole.arrow", both, [wide])], RandomTrader(seed, activity=0.5), config
    )
    assert len(joint.journal) > 100
    for order in (paths, paths[::-1]):
        assert backtest(order, RandomTrader(seed, activity=0.5), config).decided == joint.decided


def test_a_file_with_more_decimals_may_begin_later(tmp_path: Path) -> None:
    """Trades in whole numbers, quotes in hundredths from 2 s on: a price of 101 stays 101."""
    wide = msgspec.structs.replace(QUOTES, channels=("quote",), price_decimals=2)
    narrow = msgspec.structs.replace(QUOTES, channels=("trade",))
    head = [Message(at(2) + i, message.rows) for i, message in enumerate(definitions([wide]))]
    prints = [trades(seconds, (1, price, 1)) for seconds, price in ((1, 100), (3, 101), (5, 102))]
    stream = [quote(2.5, 9950, 7, 10050, 7), quote(4, 9950, 7, 10050, 7)]
    paths = [
        write_market(tmp_path / "trades.arrow", prints, [narrow]),
        write_market(tmp_path / "quotes.arrow", stream, [wide], head=head),
    ]

    class Listener(Strategy):
        """Buys at 1.5 with a limit that rests; notes prices."""

        def on_start(self, ctx: Any) -> None:
            """Nothing yet."""
            self.seen: list[float] = []
            ctx.at(at(1.5), "buy")

        def on_timer(self, ctx: Any, _name: str) -> None:
            """Rest below the market."""
            ctx.limit(ctx.instruments[0], 2, 90)

        def on_trade(self, ctx: Any, trade: Any) -> None:
            """Note the trade and the order."""
            self.seen += [trade.price, *(order.price for order in ctx.orders())]

        def on_quote(self, _ctx: Any, tick: Any) -> None:
            """Note the bid."""
            self.seen.append(tick.bid)

    for order in (paths, paths[::-1]):
        listener = Listener()
        backtest(order, listener, settings())
        assert listener.seen == [100, 99.5, 101, 90, 99.5, 102, 90]


def test_a_mantissa_that_another_files_decimals_cannot_hold_is_an_error(tmp_path: Path) -> None:
    """Never a wrapped price."""
    wide = msgspec.structs.replace(DEPTH, price_decimals=12)
    paths = [
        write_market(tmp_path / "wide.arrow", [book(0, bids={99: 5})], [wide]),
        write_market(tmp_path / "narrow.arrow", [trades(1, (1, 10**8, 1))], [DEPTH]),
    ]
    with pytest.raises(InputError, match=r"narrow\.arrow: row 2: price 100000000 times 1000000000000"):
        backtest(paths, Script({}), settings())
