"""The market maker of the golden fills, as a strategy of the engine."""

# What each handler is called for stands in engine.strategy.api.
# ruff: noqa: ARG002, D102

from typing import Any

import engine


@engine.compiled
class Maker(engine.Strategy):
    """Every 100 ms after `begin`: cancel what works, then quote both best prices within the limit."""

    begin: int = 0  # ns: the first row's earlier time
    size: float = 0.01
    limit: float = 0.0499

    def on_start(self, ctx: Any) -> None:
        self.who = ctx.instruments[0]
        ctx.at(self.begin + 100_000_000, "decide")

    def on_timer(self, ctx: Any, name: str) -> None:
        ctx.at(ctx.now + 100_000_000, "decide")
        for order in ctx.orders(self.who):
            if order.state == "working":
                ctx.cancel(order.order)
        quote = ctx.quote(self.who)
        position = ctx.position(self.who)
        if position < self.limit:
            ctx.limit(self.who, self.size, quote.bid, post_only=True)
        if position > -self.limit:
            ctx.limit(self.who, -self.size, quote.ask, post_only=True)
