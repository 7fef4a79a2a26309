"""As echo: answers every trade with a market order; and keeps as many questions to Claude open as told."""

import msgspec

import engine


class Reading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is wanted of a headline."""

    sentiment: float
    topic: str
    risk: bool
    rationale: str


PROMPT = engine.Prompt("sentiment", 1, "<headline>{headline}</headline>", Reading)


class EchoAsking(engine.Strategy):
    """A market order of 0.001 on every trade, and `open` questions under way at any time."""

    size: float = 0.001  # base units
    open: int = 100

    def on_start(self, ctx):
        self.sign = 1
        self.asked = 0
        self.heard = 0

    def on_trade(self, ctx, trade):
        ctx.market(trade.instrument, self.size * self.sign)
        self.sign = -self.sign
        if self.asked < self.open:
            self.ask(ctx)

    def on_answer(self, ctx, answer):
        self.heard += answer.outcome == "answered"
        self.ask(ctx)

    def ask(self, ctx):
        self.asked += 1
        ctx.ask(PROMPT, timeout="60s", headline=f"Synthetic headline {self.asked}: an invented firm went on")
