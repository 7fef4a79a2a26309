"""Strategies that do anything that is allowed, and some things that are refused, from a seed.

A trader keeps a `trace` of everything that it was given and that it read, so that two runs can be
compared in what they showed, not only in what they decided.
"""

# What each handler is called for stands in engine.strategy.api.
# ruff: noqa: D102

from __future__ import annotations

import random
from typing import Any

from engine.model.instruments import Instrument
from engine.strategy.api import Strategy


class RandomTrader(Strategy):
    """Orders, cancels, targets, timers and reads, at random."""

    def __init__(
        self,
        seed: int,
        *,
        activity: float = 0.3,
        reads: float = 0.3,
        patient: bool = False,
        series: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.chance = random.Random(seed)
        self.activity = activity
        self.reads = reads
        self.patient = patient  # rests at and behind the best prices instead of taking
        self.series = series  # of bars that it may ask for
        self.trace: list[str] = []
        self.orders = 0

    # --- what it is given ---

    def on_start(self, ctx: Any) -> None:
        self._see(ctx, "start", [str(i) for i in ctx.instruments])
        ctx.every("700ms", "pulse")
        ctx.at(0, "past")
        for instrument in ctx.instruments:
            if self.series and self.chance.random() < 0.8 and {"trade", "aggtrade"} & {*instrument.channels}:
                for every in self.chance.sample(self.series, 2):
                    self._see(ctx, every, ctx.bars(instrument, every))
        for instrument in ctx.instruments:
            self._act(ctx, instrument)

    def on_trade(self, ctx: Any, trade: Any) -> None:
        self._event(ctx, trade)

    def on_quote(self, ctx: Any, quote: Any) -> None:
        self._event(ctx, quote)

    def on_book(self, ctx: Any, update: Any) -> None:
        self._event(ctx, update)

    def on_bar(self, ctx: Any, bar: Any) -> None:
        self._event(ctx, bar)

    def on_news(self, ctx: Any, news: Any) -> None:
        self._see(ctx, "news", news.headline)

    def on_status(self, ctx: Any, status: Any) -> None:
        self._see(ctx, "status", status)

    def on_fill(self, ctx: Any, fill: Any) -> None:
        self._see(ctx, "fill", fill)
        if self.chance.random() < self.activity / 3:
            self._act(ctx, fill.instrument)

    def on_order(self, ctx: Any, update: Any) -> None:
        self._see(ctx, "order", (update.order, update.state, update.size, update.filled, update.ts))
        if update.state != "refused" and self.chance.random() < self.activity / 5:
            self._act(ctx, update.instrument)

    def on_timer(self, ctx: Any, name: str) -> None:
        self._see(ctx, "timer", name)
        if self.chance.random() < self.activity:
            self._act(ctx, self.chance.choice(ctx.instruments))

    def on_stop(self, ctx: Any) -> None:
        self._see(ctx, "stop", "")
        for instrument in ctx.instruments:
            ctx.market(instrument, 0.01)

    # --- what it does ---

    def _event(self, ctx: Any, event: Any) -> None:
        self._see(ctx, type(event).__name__, event)
        if self.chance.random() < self.reads:
            self._read(ctx, event.instrument)
        if self.chance.random() < self.activity:
            self._act(ctx, event.instrument)

    def _see(self, ctx: Any, what: str, detail: object) -> None:
        self.trace.append(f"{ctx.now} {what} {detail}")

    def _read(self, ctx: Any, instrument: Instrument) -> None:
        self._see(
            ctx,
            "read",
            (
                ctx.quote(instrument),
                ctx.book(instrument, self.chance.choice((1, 3, 10))),
                ctx.last(instrument),
                ctx.position(instrument),
                ctx.cash(),
                ctx.equity(),
                ctx.orders(instrument if self.chance.random() < 0.5 else None),
                ctx.random.random(),
            ),
        )

    def _price(self, ctx: Any, instrument: Instrument, side: int) -> float:
        quote = ctx.quote(instrument)
        middle = quote.mid if quote is not None and quote.bid and quote.ask else ctx.last(instrument) or 100.0
        away = self.chance.choice((0, 1, 1, 2, 2, 3, 6) if self.patient else (-4, -2, -1, 0, 1, 2, 3, 6))
        price: float = ctx.round_price(instrument, middle - side * 0.5 * away)
        return price

    def _size(self) -> float:
        return self.chance.choice((1, 2, 2, 3, 5, 8, 13, 40)) / 1000

    def _act(self, ctx: Any, instrument: Instrument) -> None:  # noqa: C901, PLR0912  one branch a deed
        chance = self.chance
        side = chance.choice((1, -1))
        size = side * self._size()
        dice = chance.random()
        if dice < 0.1 and not self.patient:
            self.orders = ctx.market(instrument, size)
        elif dice < 0.55:
            price = self._price(ctx, instrument, side)
            tif = chance.choice(("gtc", "gtc", "gtc", "ioc", "fok"))
            post_only = tif == "gtc" and chance.random() < 0.3
            reduce_only = chance.random() < 0.2
            self.orders = ctx.limit(instrument, size, price, tif, post_only, reduce_only)
        elif dice < 0.7:
            if self.orders:
                ctx.cancel(chance.randrange(max(1, self.orders - 5), self.orders + 1))
        elif dice < 0.72:
            ctx.cancel_all(instrument if chance.random() < 0.5 else None)
        elif dice < 0.82:
            ctx.target(instrument, chance.choice((0.0, 0.01, -0.01, 0.02, 0.0005)))
        elif dice < 0.88:
            price = self._price(ctx, instrument, side)
            ctx.target(instrument, chance.choice((0.0, 0.01, -0.01)), price)
        elif dice < 0.91:
            ctx.at(ctx.now + chance.choice((0, 1, 20_000_000, 333_000_000)), "once")
        elif dice < 0.92:
            ctx.every(chance.choice((50_000_000, 1_000_000_000)), "again")
        elif dice < 0.93:
            ctx.cancel_timer("again")
        elif dice < 0.96:
            self.orders = ctx.limit(instrument, size, self._price(ctx, instrument, side) + 0.17)
        elif dice < 0.98:
            self.orders = ctx.market(instrument, size + 0.00033)
        else:
            ctx.log("order", self.orders)


class Planner(RandomTrader):
    """Adds what waits for a price or a time, what concerns other orders, and amendments."""

    def _act(self, ctx: Any, instrument: Instrument) -> None:
        deeds = (self._stop, self._trail, self._pair, self._bracket, self._amend, self._amend, self._timed)
        if self.chance.random() < 0.3 or "bar" in instrument.channels:  # the twin plans nothing on bars
            super()._act(ctx, instrument)
        else:
            self.chance.choice(deeds)(ctx, instrument)

    def on_order(self, ctx: Any, update: Any) -> None:
        self._see(ctx, "price", update.price)
        super().on_order(ctx, update)

    def _level(self, ctx: Any, instrument: Instrument, ticks: int) -> float:
        """So many ticks above the middle; now and then off the increments."""
        quote = ctx.quote(instrument)
        middle = quote.mid if quote is not None and quote.bid and quote.ask else ctx.last(instrument) or 100.0
        odd = 0.2 if self.chance.random() < 0.01 else 0.0
        price: float = ctx.round_price(instrument, middle + 0.5 * ticks) + odd
        return price

    def _life(self, ctx: Any) -> dict[str, Any]:
        tif = self.chance.choice(("gtc", "gtc", "gtc", "gtc", "ioc", "fok", "day", "gtd", "gtd"))
        ends = ctx.now + self.chance.choice((0, 1, 2, 50, 50, 300, 2000)) * 1_000_000
        return {"tif": tif, "until": ends} if tif == "gtd" else {"tif": tif}

    def _signed(self) -> tuple[int, float]:
        side = self.chance.choice((1, -1))
        return side, side * self._size()

    def _stop(self, ctx: Any, instrument: Instrument) -> None:
        side, size = self._signed()
        away = self.chance.choice((-2, 0, 1, 1, 2, 2, 3, 5))
        stop = self._level(ctx, instrument, side * away)
        limit = None
        if self.chance.random() < 0.4:
            limit = self._level(ctx, instrument, side * (away + self.chance.choice((-3, -1, 0, 1, 3))))
        reduces = self.chance.random() < 0.2
        self.orders = ctx.stop(instrument, size, stop, limit, reduce_only=reduces, **self._life(ctx))

    def _trail(self, ctx: Any, instrument: Instrument) -> None:
        side, size = self._signed()
        distance = self.chance.choice((0.5, 0.5, 1.0, 1.5, 2.5))
        stop = None
        if self.chance.random() < 0.3:
            stop = self._level(ctx, instrument, side * self.chance.choice((-1, 1, 2, 3, 4)))
        reduces = self.chance.random() < 0.2
        self.orders = ctx.trail(instrument, size, distance, stop, reduce_only=reduces, **self._life(ctx))

    def _pair(self, ctx: Any, instrument: Instrument) -> None:
        chance = self.chance
        side, size = self._signed()
        price = self._level(ctx, instrument, -side * chance.choice((-1, 0, 0, 1, 1, 2, 3)))
        away = chance.choice((1, 1, 2, 2, 3, 4))
        limit = self._level(ctx, instrument, side * (away + chance.choice((-2, 0, 2))))
        stop = self._level(ctx, instrument, side * away)
        _, self.orders = ctx.oco(
            instrument, size, price, stop, limit if chance.random() < 0.4 else None, **self._life(ctx)
        )

    def _bracket(self, ctx: Any, instrument: Instrument) -> None:
        chance = self.chance
        side, size = self._signed()
        entry = chance.choice((-2, -1, 0, 0, 1, 1, 2))
        price = None if chance.random() < 0.3 else self._level(ctx, instrument, -side * entry)
        target = self._level(ctx, instrument, side * (chance.choice((1, 1, 2, 3)) - entry))
        below = chance.choice((1, 1, 2, 3)) + entry
        stop = self._level(ctx, instrument, -side * below)
        limit = self._level(ctx, instrument, -side * (below + chance.choice((-1, 0, 2))))
        *_, self.orders = ctx.bracket(
            instrument, size, price, target, stop, limit if chance.random() < 0.3 else None, **self._life(ctx)
        )

    def _amend(self, ctx: Any, instrument: Instrument) -> None:
        chance = self.chance
        orders = ctx.orders(instrument if chance.random() < 0.8 else None)
        working = [order for order in orders if "bar" not in order.instrument.channels]
        if not working:
            self._bracket(ctx, instrument)
            return
        order = chance.choice(working)
        changes: dict[str, float] = {}
        if chance.random() < 0.4:
            changes["size"] = (
                order.size * chance.choice((0, 0.5, 1, 2)) if chance.random() < 0.3 else self._size()
            )
            changes["size"] = ctx.round_size(instrument, changes["size"])
        if order.price is not None and chance.random() < 0.6:
            changes["price"] = self._level(ctx, order.instrument, -order.side * chance.choice((-1, 0, 1, 2)))
        if order.stop is not None and chance.random() < 0.6:
            changes["stop"] = self._level(ctx, order.instrument, order.side * chance.choice((-1, 0, 1, 2, 3)))
        if chance.random() < 0.03:
            changes["stop"] = 0.0
        if chance.random() < 0.03:
            changes["price"] = 0.0
        ctx.amend(order.order, **changes)

    def _timed(self, ctx: Any, instrument: Instrument) -> None:
        side, size = self._signed()
        price = self._level(ctx, instrument, -side * self.chance.choice((-1, 0, 1, 1, 2, 3)))
        self.orders = ctx.limit(
            instrument, size, price, post_only=self.chance.random() < 0.2, **self._life(ctx)
        )


class Gambler(RandomTrader):
    """Puts all its cash into one order, by the last price or the quote, then sells everything."""

    def _act(self, ctx: Any, instrument: Instrument) -> None:
        if ctx.orders():
            if self.chance.random() < 0.3:
                ctx.cancel_all()
            return
        position = ctx.position(instrument)
        if position:
            ctx.market(instrument, -position)
            return
        quote = ctx.quote(instrument)
        price = quote.ask if quote is not None and quote.ask else ctx.last(instrument)
        if not price:
            return
        part = self.chance.choice((0.4, 0.9, 0.98, 0.99, 0.998))
        size = ctx.round_size(instrument, part * ctx.cash() / price)
        dice = self.chance.random()
        if dice < 0.3:
            first = ctx.round_size(instrument, size / 2)
            ctx.limit(instrument, first, price - 0.5)
            ctx.market(instrument, ctx.round_size(instrument, size - first))
        elif dice < 0.7:
            ctx.market(instrument, size)
        else:
            ctx.limit(instrument, size, price + 0.5, self.chance.choice(("gtc", "ioc", "fok")))
