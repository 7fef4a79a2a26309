"""The crossing strategy, that asks about every headline if it is told to, and remembers what it is told."""

from typing import Annotated

import msgspec

import engine


class Reading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the crossing strategy wants to know of a headline."""

    sentiment: Annotated[float, msgspec.Meta(ge=-1, le=1)]
    topic: str
    risk: bool
    rationale: str


PROMPT = engine.Prompt("sentiment", 1, "<headline>{headline}</headline>", Reading)
NEUTRAL = Reading(0.0, "other", False, "")


class Asking(engine.Strategy):
    """Long 0.01 while the 50-trade exponential average is above the 500-trade one, short below it."""

    fast: int = 50  # trades
    slow: int = 500  # trades
    size: float = 0.01  # base units
    asking: bool = True

    def on_start(self, ctx):
        self.quick, self.calm = engine.Ema(self.fast), engine.Ema(self.slow)
        self.held = 0
        self.heard = 0
        self.sentiment = 0.0

    def on_trade(self, ctx, trade):
        gap = self.quick.update(trade.price) - self.calm.update(trade.price)
        if self.calm.ready:
            wanted = 1 if gap > 0 else -1
            if wanted != self.held:
                ctx.market(trade.instrument, self.size * (wanted - self.held))
                self.held = wanted

    def on_news(self, ctx, news):
        if self.asking:
            ctx.ask(PROMPT, news.instrument, default=NEUTRAL, headline=news.headline)

    def on_answer(self, ctx, answer):
        self.heard += 1
        self.sentiment = answer.value.sentiment
