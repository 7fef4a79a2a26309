"""Strategies for both forms: one does everything that ctx offers, by chance; others one thing each."""

# What each handler is called for stands in engine.strategy.api.
# ruff: noqa: D102, C901, PLR0912

from __future__ import annotations

import math
from typing import Any

import numpy as np

import engine

MODULUS = 1_000_003
STEPS = (0, 1, 1, 2, 2, 3, 6)
SIZES = (0.001, 0.002, 0.002, 0.003, 0.005, 0.008, 0.013, 0.04)


def folded(digest: int, value: float) -> int:
    """What was seen, mixed into a number."""
    if not math.isfinite(value):
        return digest
    return (digest * 31 + int(value * 1000.0)) % MODULUS


class Tally:
    """Counts per state, an object of the strategy's own."""

    def __init__(self) -> None:
        self.count = 0
        self.average = engine.Ema(5)
        self.last: float | None = None

    def add(self, x: float) -> None:
        self.count += 1
        self.average.update(x)
        self.last = x

    @property
    def mean(self) -> float:
        return self.average.value


@engine.compiled
class Everything(engine.Strategy):
    """Does and reads all that ctx offers, at random."""

    activity: float = 0.3
    patient: bool = False

    def on_start(self, ctx: Any) -> None:
        self.digest = 7
        self.order = 0
        self.calls = 0
        self.tallies = {who: Tally() for who in ctx.instruments}
        self.prices = dict.fromkeys(ctx.instruments, 0.0)
        self.seen = [0, 0, 0, 0, 0, 0]
        self.ring = np.zeros(8)
        self.marks = np.zeros(4, dtype=np.int64)
        self.pairs = [(engine.Sma(3), engine.Sma(7)) for _ in range(2)]
        self.first = ctx.instruments[0]
        self.word = "none"
        self.bid: float | None = None
        ctx.every("700ms", "pulse")
        ctx.at(0, "past")
        for who in ctx.instruments:
            ctx.limit(who, 0.01, 99.5)

    def on_trade(self, ctx: Any, trade: Any) -> None:
        self.seen[0] += 1
        self.tallies[trade.instrument].add(trade.price)
        self.prices[trade.instrument] = trade.price
        self.see(trade.size)
        self.see(trade.side)
        if trade.late:
            self.digest += 1
        stamp = trade.ts_venue
        if stamp is not None:
            self.see((trade.ts - stamp) / 1_000_000)
        self.ring[self.calls % 8] = trade.price
        self.event(ctx, trade.instrument)

    def on_quote(self, ctx: Any, quote: Any) -> None:
        self.seen[1] += 1
        self.see(quote.mid)
        self.see(quote.spread)
        self.see(quote.bid_size - quote.ask_size)
        self.bid = quote.bid if quote.bid < quote.ask else None
        self.event(ctx, quote.instrument)

    def on_book(self, ctx: Any, update: Any) -> None:
        self.seen[2] += 1
        if update.doubtful:
            self.digest += 3
        self.event(ctx, update.instrument)

    def on_bar(self, ctx: Any, bar: Any) -> None:
        self.seen[3] += 1
        self.see(bar.high - bar.low)
        self.see(bar.open + bar.close * bar.volume)
        self.see((bar.end - bar.start) // 1_000_000)
        self.see(bar.series)
        self.see(bar.trades)
        if bar.final and not bar.revised:
            self.digest += 5
        self.event(ctx, bar.instrument)

    def on_fill(self, ctx: Any, fill: Any) -> None:
        self.seen[4] += 1
        self.see(fill.price * fill.size * fill.side)
        self.see(fill.fee)
        if fill.fee_in == "base":
            self.digest += 13
        self.see(fill.position)
        if fill.reason == "QUEUE" or fill.maker:
            self.digest += 11
        if ctx.random.random() < self.activity / 3:
            self.act(ctx, fill.instrument)
        self.see(fill.order)

    def on_order(self, ctx: Any, update: Any) -> None:
        self.seen[5] += 1
        self.word = update.state
        self.see(update.size - update.filled)
        limit = update.price
        self.see(-1.0 if limit is None else limit)
        if update.reason == "post_only_would_match":
            self.digest += 13
        elif update.reason == "":
            self.digest += 17
        ctx.log("order", update.order, update.state, update.reason)
        if update.state != "refused" and ctx.random.random() < self.activity / 5:
            self.act(ctx, update.instrument)
        self.see(update.filled)

    def on_timer(self, ctx: Any, name: str) -> None:
        if name == "pulse":
            self.digest += 19
        if ctx.random.random() < self.activity:
            self.act(ctx, ctx.random.choice(ctx.instruments))

    def on_news(self, _ctx: Any, news: Any) -> None:
        self.digest += len(news.headline)
        self.tallies[self.first].count += 1

    def on_status(self, ctx: Any, status: Any) -> None:
        self.digest += len(status.event)
        if status.event == "gap":
            ctx.cancel_all()

    def on_stop(self, ctx: Any) -> None:
        ctx.log("end", self.digest, self.calls, self.word, self.bid)
        for who in ctx.instruments:
            ctx.market(who, 0.01)

    def see(self, value: float) -> None:
        self.digest = folded(self.digest, value + 0.0)

    def event(self, ctx: Any, who: Any) -> None:
        self.calls += 1
        self.marks[self.calls % 4] += 1
        short, long = self.pairs[self.calls % 2]
        self.see(short.update(self.prices[who]) - long.update(self.tallies[who].mean))
        if ctx.random.random() < 0.3:
            self.read(ctx, who)
        if ctx.random.random() < self.activity:
            self.act(ctx, who)

    def read(self, ctx: Any, who: Any) -> None:
        quote = ctx.quote(who)
        if quote is not None:
            self.see(quote.bid + quote.ask_size)
            self.see(quote.mid)
        depth = ctx.random.choice((1, 3, 10))
        book = ctx.book(who, depth)
        if book is not None:
            self.see(book.imbalance(3))
            for place, (price, size) in enumerate(book.bids):
                self.see(price * size + place)
            for price, size in book.asks:
                self.see(price - size)
            self.see(len(book.bids) * 10 + len(book.asks))
            if book.mid is not None and book.bid is not None:
                self.see(book.mid - book.bid)
            if book.asks:
                self.see(book.asks[0][0] - book.asks[-1][1])
        last = ctx.last(who)
        self.see(last if last is not None else -2.0)
        self.see(ctx.position(who))
        self.see(ctx.owned(who))
        self.see(ctx.cash())
        self.see(ctx.equity())
        self.see(ctx.now % 1_000_000_007)
        self.see(ctx.random.normal(1.0, 2.0))
        total = 0.0
        for value in self.ring:
            total += float(value)
        self.see(total)
        self.see(max(total, 1.0) / min(self.calls + 1, 9))

    def look(self, ctx: Any, who: Any) -> None:
        working = ctx.orders(who if ctx.random.random() < 0.5 else None)
        self.see(len(working))
        for order in working:
            self.see(order.order + order.side * (order.size - order.filled))
            price = order.price
            if price is not None:
                self.see(price)
            if order.state == "cancelling":
                self.digest += 23
            elif order.state == "submitted":
                self.digest += 29
        if working:
            ctx.cancel(working[-1].order)
            if working[-1].state == "cancelling":
                self.digest += 31
            self.see(working[0].order)

    def price_near(self, ctx: Any, who: Any, side: int) -> float:
        quote = ctx.quote(who)
        middle = 100.0
        if quote is not None and quote.bid and quote.ask:
            middle = quote.mid
        else:
            last = ctx.last(who)
            if last:
                middle = last
        away = ctx.random.choice(STEPS)
        if not self.patient:
            away -= 3
        rounded: float = ctx.round_price(who, middle - side * 0.5 * away)
        return rounded

    def act(self, ctx: Any, who: Any) -> None:
        self.look(ctx, who)
        chance = ctx.random
        side = 1 if chance.random() < 0.5 else -1
        size = side * chance.choice(SIZES)
        dice = chance.random()
        if dice < 0.1 and not self.patient:
            self.order = ctx.market(who, size)
        elif dice < 0.5:
            price = self.price_near(ctx, who, side)
            if chance.random() < 0.6:
                self.order = ctx.limit(who, size, price, post_only=chance.random() < 0.3)
            elif chance.random() < 0.5:
                self.order = ctx.limit(who, size, price, "ioc", False, chance.random() < 0.2)
            else:
                self.order = ctx.limit(who, size, price, tif="fok", reduce_only=chance.random() < 0.2)
        elif dice < 0.7:
            if self.order:
                ctx.cancel(chance.integers(max(1, self.order - 5), self.order + 1))
        elif dice < 0.72:
            ctx.cancel_all(who if chance.random() < 0.5 else None)
        elif dice < 0.82:
            ctx.target(who, chance.choice((0.0, 0.01, -0.01, 0.02, 0.0005)))
        elif dice < 0.88:
            ctx.target(who, chance.choice((0.0, 0.01, -0.01)), self.price_near(ctx, who, side))
        elif dice < 0.91:
            ctx.at(ctx.now + chance.choice((0, 1, 20_000_000, 333_000_000)), "once")
        elif dice < 0.92:
            ctx.every(chance.choice((50_000_000, 1_000_000_000)), "again")
        elif dice < 0.93:
            ctx.cancel_timer("again")
        elif dice < 0.96:
            self.order = ctx.limit(who, size, self.price_near(ctx, who, side) + 0.17)
        elif dice < 0.98:
            self.order = ctx.market(who, size + 0.00033)
        else:
            ctx.log("order", self.order, f"at {size:+.4f} of {who}", self.bid, chance.random() < 0.5)


@engine.compiled
class Plans(engine.Strategy):
    """Stops, trailing stops, pairs, brackets, amendments and orders with an end, at random."""

    activity: float = 0.3

    def on_start(self, ctx: Any) -> None:
        self.digest = 7
        self.last = 0
        self.word = ""
        ctx.every("300ms", "pulse")

    def on_trade(self, ctx: Any, trade: Any) -> None:
        self.event(ctx, trade.instrument)

    def on_quote(self, ctx: Any, quote: Any) -> None:
        self.event(ctx, quote.instrument)

    def on_book(self, ctx: Any, update: Any) -> None:
        self.event(ctx, update.instrument)

    def on_timer(self, ctx: Any, _name: str) -> None:
        self.event(ctx, ctx.random.choice(ctx.instruments))

    def on_fill(self, ctx: Any, fill: Any) -> None:
        self.see(fill.price * fill.size)
        if ctx.random.random() < 0.1:
            self.amend(ctx, fill.instrument)

    def on_order(self, ctx: Any, update: Any) -> None:
        self.word = update.state
        limit = update.price
        self.see(update.size + (-1.0 if limit is None else limit))
        ctx.log("order", update.order, update.state, update.reason)
        if update.state in ("triggered", "amended"):
            self.digest += 3
            if ctx.random.random() < 0.1:
                self.act(ctx, update.instrument)
        elif update.state == "amend_rejected":
            self.digest += 5

    def on_stop(self, ctx: Any) -> None:
        ctx.log("end", self.digest, self.last, self.word)

    def see(self, value: float) -> None:
        self.digest = folded(self.digest, value + 0.0)

    def event(self, ctx: Any, who: Any) -> None:
        if ctx.random.random() < self.activity:
            self.act(ctx, who)

    def level(self, ctx: Any, who: Any, ticks: int) -> float:
        quote = ctx.quote(who)
        middle = 100.0
        if quote is not None and quote.bid and quote.ask:
            middle = quote.mid
        rounded: float = ctx.round_price(who, middle + 0.5 * ticks)
        if ctx.random.random() < 0.01:
            rounded += 0.2
        return rounded

    def amend(self, ctx: Any, who: Any) -> None:
        chance = ctx.random
        for order in ctx.orders(who):
            if chance.random() < 0.6:
                continue
            stop = order.stop
            self.see(-3.0 if stop is None else stop)
            price = order.price
            if stop is not None and chance.random() < 0.6:
                ctx.amend(order.order, stop=self.level(ctx, who, order.side * chance.integers(-1, 4)))
            elif price is not None and chance.random() < 0.7:
                ctx.amend(order.order, price=self.level(ctx, who, -order.side * chance.integers(-1, 3)))
            else:
                ctx.amend(order.order, chance.choice(SIZES), None if chance.random() < 0.5 else price)

    def act(self, ctx: Any, who: Any) -> None:
        chance = ctx.random
        side = 1 if chance.random() < 0.5 else -1
        size = side * chance.choice(SIZES)
        dice = chance.random()
        until = ctx.now + chance.choice((0, 1_000_000, 50_000_000, 900_000_000))
        near = self.level(ctx, who, -side * chance.integers(-1, 3))
        far = self.level(ctx, who, side * chance.integers(1, 5))
        further = self.level(ctx, who, side * chance.integers(2, 6))
        if dice < 0.12:
            self.last = ctx.stop(who, size, far)
        elif dice < 0.2:
            self.last = ctx.stop(who, size, far, further, reduce_only=chance.random() < 0.2)
        elif dice < 0.25:
            self.last = ctx.stop(who, size, far, None, "gtd", False, until)
        elif dice < 0.33:
            self.last = ctx.trail(who, size, 0.5 * chance.integers(0, 4))
        elif dice < 0.38:
            self.last = ctx.trail(who, size, 1.0, stop=far, tif="day")
        elif dice < 0.46:
            first, second = ctx.oco(who, size, near, far)
            self.last = second
            self.see(first)
        elif dice < 0.5:
            numbers = ctx.oco(who, size, near, far, limit=further, tif="gtd", until=until)
            self.last = numbers[1]
        elif dice < 0.6:
            entry, target, stop = ctx.bracket(who, size, near, far, self.level(ctx, who, -side * 4))
            self.see(entry + target)
            self.last = stop
        elif dice < 0.66:
            low = self.level(ctx, who, -side * 3)
            self.last = ctx.bracket(who, size, None, far, low, low)[0]
        elif dice < 0.8:
            self.amend(ctx, who)
        elif dice < 0.86:
            if self.last:
                ctx.cancel(chance.integers(max(1, self.last - 5), self.last + 1))
        elif dice < 0.92:
            self.last = ctx.limit(who, size, near, tif="gtd", until=until)
        elif dice < 0.96:
            self.last = ctx.limit(who, size, near, "day")
        else:
            self.last = ctx.market(who, size)
