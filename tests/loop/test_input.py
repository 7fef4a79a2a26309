"""What the loop decides does not depend on how its input came: batches, chunks, files, segments."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config import Latency, Risk, RunConfig
from engine.ingest.capture import import_capture
from engine.model.kinds import Flag, InstrumentData, Kind
from engine.model.units import MILLISECOND_NS
from engine.strategy.api import Strategy
from tests.helpers.logs import START, Message, Row, definitions
from tests.loop.logs import backtest, write_market, write_segments
from tests.reference.drive import run_engine
from tests.reference.markets import ALL, BOOKED, QUOTED, RandomMarket
from tests.reference.scenario import (
    DEPTH,
    QUOTES,
    TRADES,
    book,
    clock,
    quote,
    run,
    settings,
    status,
    together,
    trades,
    whole,
)
from tests.reference.traders import RandomTrader

CONFIG = RunConfig(
    latency=Latency(2 * MILLISECOND_NS, 3 * MILLISECOND_NS, 9 * MILLISECOND_NS),
    risk=Risk(collar_millionths=30_000),
)


@pytest.mark.parametrize("activity", [0.02, 0.3])
def test_batches_of_1_7_64_and_65536_rows_give_one_hash(tmp_path: Path, activity: float) -> None:
    """From a file, re-cut; and sealed."""
    messages = RandomMarket(101).messages(500)
    path = write_market(tmp_path / "a.arrow", messages)
    sealed = write_market(tmp_path / "b.arrow", messages, sealed=True)
    hashes = {
        backtest([file], RandomTrader(101, activity=activity), CONFIG, batch_rows=rows).hash
        for file, rows in itertools.product((path, sealed), (0, 1, 7, 64, 65_536))
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("seed", range(111, 115), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("activity", [0.0, 0.01, 0.05, 0.3])
def test_events_handed_out_ahead_and_one_by_one_are_the_same(seed: int, activity: float) -> None:
    """Chunks of 1, 2 and 1,024: the same decisions and the same things seen, reads of every kind included."""
    messages = RandomMarket(seed).messages(400)
    seen = []
    for chunk in (1, 2, 1024):
        trader = RandomTrader(seed, activity=activity, reads=0.5)
        outcome = run_engine(messages, trader, CONFIG, ALL, chunk=chunk)
        seen.append((outcome.journal, outcome.hash, outcome.lines, trader.trace))
    assert seen[0] == seen[1] == seen[2]


# --- segments ---


@pytest.mark.parametrize("ends", [True, False], ids=["END", "no END"])
def test_a_log_split_at_any_message_gives_the_hash_of_the_whole(tmp_path: Path, *, ends: bool) -> None:
    """Cut before every fifth message of a market in turn, with the head of each segment repeated."""
    messages = RandomMarket(121).messages(150, end=False)
    whole = backtest([write_market(tmp_path / "whole.arrow", messages)], RandomTrader(121), CONFIG)
    assert len(whole.journal) > 60
    for cut in range(1, len(messages), 5):
        folder = tmp_path / f"at{cut}"
        folder.mkdir()
        split = backtest(write_segments(folder, messages, [cut], ends=ends), RandomTrader(121), CONFIG)
        assert split.decided == whole.decided, f"cut before message {cut}"
        assert split.hash == whole.hash, f"cut before message {cut}"


def test_a_log_in_many_segments_gives_the_hash_of_the_whole(tmp_path: Path) -> None:
    """Ten segments, given in the wrong order too: files are merged by time."""
    messages = RandomMarket(122).messages(400)
    whole = backtest([write_market(tmp_path / "whole.arrow", messages)], RandomTrader(122), CONFIG)
    paths = write_segments(tmp_path, messages, range(40, 400, 40))
    assert len(paths) == 10
    assert backtest(paths, RandomTrader(122), CONFIG).hash == whole.hash
    assert backtest(paths[::-1], RandomTrader(122), CONFIG).hash == whole.hash
    assert backtest(paths, RandomTrader(122), CONFIG, batch_rows=1).hash == whole.hash


# --- no look-ahead ---


@pytest.mark.parametrize("seed", [131, 132], ids=lambda s: f"seed{s}")
def test_a_log_cut_short_decides_the_same_up_to_the_cut(seed: int) -> None:
    """At every seventh message: what was decided before the cut is decided with or without the rest."""
    messages = RandomMarket(seed).messages(400, end=False)
    whole = run_engine(messages, RandomTrader(seed), CONFIG, ALL).journal
    for stop in range(1, len(messages), 7):
        cut = run_engine(messages[:stop], RandomTrader(seed), CONFIG, ALL).journal
        last = messages[stop - 1].ts
        assert [d for d in cut if d.trigger != 4] == [
            d for d in whole if d.cause_seq < cut_seq(messages, stop) and d.ts <= last
        ], f"seed {seed}, cut after {stop} messages"


def cut_seq(messages: list[Message], stop: int) -> int:
    """Number of the first row after the first `stop` messages."""
    return 1 + len(ALL) + sum(len(message.rows) for message in messages[:stop])


# --- several files ---


def test_files_are_merged_by_time_and_then_by_their_order(tmp_path: Path) -> None:
    """Messages of one instant come in the order of the arguments, whichever file began first."""

    class Listener(Strategy):
        """Notes who came when."""

        def on_start(self, ctx: Any) -> None:
            """Before anything, all instruments are known."""
            self.seen: list[tuple[str, float]] = [("start", len(ctx.instruments))]

        def on_trade(self, _ctx: Any, trade: Any) -> None:
            """A trade."""
            self.seen.append((trade.instrument.symbol, trade.price))

    def prints(start: int, *seconds: float) -> list[Message]:
        return [trades(s, (1, start + i, 1)) for i, s in enumerate(seconds)]

    one, two = replace_key(TRADES, "ONE"), replace_key(TRADES, "TWO")
    a = write_market(tmp_path / "a.arrow", prints(10, 1, 2, 3, 7), [one], per_batch=2)
    b = write_market(tmp_path / "b.arrow", prints(20, 0.5, 2, 3, 5, 8), [two], per_batch=3)
    first, second = Listener(), Listener()
    backtest([a, b], first, settings())
    backtest([b, a], second, settings(), batch_rows=1)
    assert [p for _, p in first.seen] == [2, 20, 10, 11, 21, 12, 22, 23, 13, 24]
    assert [p for _, p in second.seen] == [2, 20, 10, 21, 11, 22, 12, 23, 13, 24]


def replace_key(data: InstrumentData, name: str) -> InstrumentData:
    """The instrument under another name."""
    return msgspec.structs.replace(data, key=f"{name}.binance", symbol=name)


def test_two_files_decide_what_one_file_of_both_decides(tmp_path: Path) -> None:
    """Two instruments recorded apart or together."""
    messages = RandomMarket(141, (BOOKED, QUOTED)).messages(400, end=False)
    apart: list[list[Message]] = [[], []]
    joint: list[Message] = []
    for message in messages:
        numbers = {row.instrument for row in message.rows}
        if numbers <= {1} or numbers <= {2}:
            joint.append(message)
            number = max(numbers)
            rows = tuple(replace(row, instrument=min(row.instrument, 1)) for row in message.rows)
            apart[max(number - 1, 0)].append(Message(message.ts, rows))
    whole = backtest(
        [write_market(tmp_path / "joint.arrow", joint, [BOOKED, QUOTED])], RandomTrader(141), CONFIG
    )
    paths = []
    for data, part in zip((BOOKED, QUOTED), apart, strict=True):
        # Heads that end where the joint one does: on_start's time is that of the last definition.
        head = [replace(m, ts=m.ts + 1) for m in definitions([data])]
        paths.append(write_market(tmp_path / f"{data.symbol}.arrow", part, [data], head=head))
    assert len(whole.journal) > 100
    assert backtest(paths, RandomTrader(141), CONFIG).decided == whole.decided


# --- whole messages ---


class Watcher(Strategy):
    """Looks at the book in every handler: it must never be crossed, whatever it is called for."""

    def on_start(self, ctx: Any) -> None:
        """Also at times of its own."""
        ctx.every("10ms", "look")
        self.looks = 0

    def _look(self, ctx: Any) -> None:
        for instrument in ctx.instruments:
            seen = ctx.book(instrument, 5)
            if seen is not None and seen.bids and seen.asks:
                assert seen.bid < seen.ask, f"{instrument} {seen}"
                self.looks += 1

    def on_trade(self, ctx: Any, _event: Any) -> None:
        """Look."""
        self._look(ctx)

    def on_book(self, ctx: Any, event: Any) -> None:
        """Look, and trade a little, so that arrivals and reports fall between messages."""
        self._look(ctx)
        if self.looks % 50 == 1 and not ctx.orders():
            ctx.target(event.instrument, 0.0 if ctx.position(event.instrument) else 0.01)

    def on_quote(self, ctx: Any, _event: Any) -> None:
        """Look."""
        self._look(ctx)

    def on_timer(self, ctx: Any, _name: str) -> None:
        """Look."""
        self._look(ctx)

    def on_fill(self, ctx: Any, _fill: Any) -> None:
        """Look."""
        self._look(ctx)

    def on_order(self, ctx: Any, _update: Any) -> None:
        """Look."""
        self._look(ctx)


def test_half_a_message_is_never_seen() -> None:
    """Each message moves the whole book by a level, one row at a time: between its rows it is crossed."""
    messages = [book(0, bids={100: 5}, asks={101: 5})]
    price = 100
    for i in range(300):
        step = 1 if i % 3 else -1
        rows = [(1, price, 0), (1, price + step, 5), (-1, price + 1, 0), (-1, price + 1 + step, 5)]
        if step > 0:
            rows = rows[1:2] + rows[:1] + rows[2:]  # the new bid meets the old ask
        message = Message(
            START + (i + 1) * 7_000_000,
            tuple(Row(Kind.BOOK, instrument=1, side=s, price=p, size=q) for s, p, q in rows),
        )
        messages += [message, trades((i + 1) * 0.007 + 0.001, (1, price, 1))]
        price += step
    for rows_per_batch, chunk in ((65_536, 1024), (1, 1)):
        watcher = Watcher()
        run_engine(messages, watcher, settings(), [DEPTH], batch_rows=rows_per_batch, chunk=chunk)
        assert watcher.looks > 600


def test_half_a_real_message_is_never_seen(real_data: Path, tmp_path: Path) -> None:
    """A real capture whose books would cross hundreds of times if its rows were applied one by one."""
    path = tmp_path / "real.arrow"
    import_capture([real_data / "binance_spot" / "btcusdt_20240808.gz"], path)
    watcher = Watcher()
    ran = backtest([path], watcher, RunConfig())
    assert watcher.looks > 10_000
    assert ran.journal


# --- rows beside each other in a message ---


def test_rows_behind_a_headline_in_one_message_are_delivered() -> None:
    """Trade, status, trade in one message and more after it, with a handler that acts on the first."""

    class Listener(Strategy):
        """Acts on the first trade, and notes all."""

        def on_start(self, _ctx: Any) -> None:
            """Nothing yet."""
            self.seen: list[object] = []

        def on_trade(self, ctx: Any, trade: Any) -> None:
            """Act once."""
            if not self.seen:
                ctx.limit(trade.instrument, 1, 1)
            self.seen.append(trade.price)

        def on_status(self, _ctx: Any, status: Any) -> None:
            """Note it."""
            self.seen.append(status.event)

    messages = [
        together(trades(1, (1, 100, 1)), status(1, "silence"), trades(1, (1, 101, 1))),
        trades(2, (1, 102, 1)),
        together(status(3, "gap", "trade"), trades(3, (1, 103, 1))),
        clock(4),
    ]
    for chunk in (1, 1024):
        listener = Listener()
        run_engine(messages, listener, settings(), [TRADES], chunk=chunk)
        assert listener.seen == [100, "silence", 101, 102, "gap", 103]


def test_only_out_of_order_rows_reach_the_strategy_and_they_say_so() -> None:
    """Of the flags that never match, the others are kept from it; a correction is no new trade."""

    class Listener(Strategy):
        """Notes prices and lateness."""

        def on_start(self, _ctx: Any) -> None:
            """Nothing yet."""
            self.seen: list[tuple[float, bool]] = []

        def on_trade(self, _ctx: Any, trade: Any) -> None:
            """Note it."""
            self.seen.append((trade.price, trade.late))

    odd = (Flag.OUT_OF_ORDER, Flag.DUPLICATE, Flag.BACKFILLED, Flag.REJECTED_TICK, Flag.REVISED)
    flags = (0, *odd, Flag.IMPORTED)
    messages = [trades(1 + i, (1, 100 + i, 1), flags=flag) for i, flag in enumerate(flags)]
    listener = Listener()
    outcome = run_engine(messages, listener, settings(), [TRADES])
    assert listener.seen == [(100, False), (101, True), (106, False)]
    assert outcome.runner.memory.last_price(0) == 106


def test_quote_of_the_quote_stream_goes_before_the_book() -> None:
    """ctx.quote is the stream's where there is one; the book's best where there is none."""
    both = whole("trade", "quote", "book")
    read: list[tuple[float, float]] = []
    deeds = {1: lambda ctx, it: read.append((ctx.quote(it).bid, ctx.book(it).bid))}
    run([book(0, bids={99: 5}, asks={101: 5}), quote(0.5, 98, 1, 102, 1)], deeds, instruments=[both])
    run([book(0, bids={99: 5}, asks={101: 5})], deeds, instruments=[both])
    assert read == [(98, 99), (98, 99), (99, 99), (99, 99)]
    nothing: list[object] = []
    run([quote(0, 98, 1, 102, 1)], {1: lambda ctx, it: nothing.append(ctx.book(it))}, instruments=[QUOTES])
    assert nothing == [None, None]
