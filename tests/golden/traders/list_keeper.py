"""Carries out the list of requests of the golden fills, which a file beside it holds.

Changes of an order do not exist in the engine yet: they are not in the list, and orders that are changed in
hftbacktest's runs stay as they were here.
"""

# What each handler is called for stands in engine.strategy.api.
# ruff: noqa: ARG002, D102

from typing import Any

from asked import REQUESTS  # type: ignore[import-not-found]  # written by the test

import engine

NEW, MARKET, POST_ONLY = 0, 1, 1
LASTING = ("gtc", "gtc", "fok", "ioc")
TICK, LOT = 0.1, 0.001


class ListKeeper(engine.Strategy):
    """Sends what the list says, at 100 ms, 200 ms, … after `begin`."""

    begin: int = 0  # ns: the first row's earlier time

    def on_start(self, ctx: Any) -> None:
        self.who = ctx.instruments[0]
        self.done = self.decision = 0
        ctx.at(self.begin + 100_000_000, "decide")

    def on_timer(self, ctx: Any, name: str) -> None:
        ctx.at(ctx.now + 100_000_000, "decide")
        self.decision += 1
        while self.done < len(REQUESTS) and REQUESTS[self.done][0] == self.decision:
            _, action, order, side, kind, lasting, tick, lots = REQUESTS[self.done]
            self.done += 1
            if action == NEW:
                self.send(ctx, order, side * lots * LOT, kind, lasting, tick * TICK)
            elif any(mine.order == order and mine.state == "working" for mine in ctx.orders(self.who)):
                ctx.cancel(order)

    def send(self, ctx: Any, order: int, size: float, kind: int, lasting: int, price: float) -> None:
        if kind == MARKET:
            sent = ctx.market(self.who, size)
        else:
            sent = ctx.limit(self.who, size, price, LASTING[lasting], post_only=lasting == POST_ONLY)
        if sent != order:
            raise ValueError(f"order {order} of the list became {sent}")
