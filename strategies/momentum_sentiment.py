"""Momentum in steps, and what Claude makes of the news decides how long they are.

When the price has moved by more than 0.2 % in five minutes, the position is moved by a tenth of its maximum
in that direction, as often as that happens and never beyond the maximum. If the latest sentiment of the
instrument is above 0.6, the step is half as long again, below -0.6 it is half as long, whatever its
direction: good news make it bolder, bad ones more careful. A risk flag closes the position at once.

A move counts once. After a step the change is measured from the price of that step until that is five minutes
old: a trend that goes on makes a step every 0.2 %, a turn is seen at once, and nothing is paid for twice. (To
wait for a while instead would sit out just the fastest moves.) The price five minutes ago is that of the last
trade by then, of which one a second is kept. A step starts from what is held and on its way, so an order that
was refused, or filled in part, is not chased by the next one.

Claude is asked once for each headline and instrument that it names, and answers in its own time; what was
published more than an hour ago, as the first of a session may be, is not asked about. The answer to the
newest question counts, from when it comes, for an hour since it was asked. Where it takes longer than
`timeout`, or fails, the default is neutral: sentiment 0, no risk; what comes late counts from then on. A risk
flag ends with the answer to a later question that sees no risk, or after an hour; a default lifts nothing.
Until then there are no steps, and what could not be closed is tried again every second.

Orders that an answer has changed name it: `engine why RUN ORDER` leads to the headline and to Claude's words.
Without news it is momentum alone.
"""

from collections import deque

import engine

SENTIMENT = engine.prompt("sentiment")
NEUTRAL = SENTIMENT.answer(rationale="", sentiment=0.0, topic="other", risk=False)
SECOND = 1_000_000_000  # ns
HEADLINES_KEPT = 1000
NOISE = 1e-12  # of a price ratio: 100.2 is 0.2 % above 100, and not beyond


class Watch:
    """What is known of one instrument."""

    def __init__(self) -> None:
        # (ts, price), one a second; a move is measured from the first
        self.samples: deque[tuple[int, float]] = deque()
        self.stepped = False  # the first of them is a step's price
        self.ticket = 0  # of the question that the sentiment is the answer to
        self.sentiment = 0.0
        self.asked = 0  # ns, when
        self.flagged = False
        self.risk_ticket = 0  # of the question whose answer raised the flag
        self.flag_ends = 0  # ns
        self.next_try = 0  # ns, of closing what is held


class MomentumSentiment(engine.Strategy):
    """Steps with the 5-minute change, longer or shorter by the sentiment of the news; out on a risk flag."""

    threshold: float = 0.002  # of the price: 0.2 %
    window_minutes: float = 5.0
    step: float = 0.1  # of size_max
    size_max: float = 100.0  # base units
    strong: float = 0.6  # a sentiment beyond it, on either side, changes the step
    boost: float = 1.5
    damp: float = 0.5
    max_age_minutes: float = 60.0  # of a sentiment, and of a headline that is asked about
    hold_minutes: float = 60.0  # of a risk flag that no answer lifts
    timeout: str = "200ms"  # for an answer, until it is neutral

    def on_start(self, ctx):
        for name in ("threshold", "window_minutes", "step", "size_max"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} must be positive")
        for name in ("strong", "boost", "damp", "max_age_minutes", "hold_minutes"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"{name} must not be negative")
        self.window = int(self.window_minutes * 60 * SECOND)
        self.max_age = int(self.max_age_minutes * 60 * SECOND)
        self.hold = int(self.hold_minutes * 60 * SECOND)
        self.watches = {instrument: Watch() for instrument in ctx.instruments}
        self.headlines = {}  # (headline, key of the instrument) -> its ticket, those asked last

    # --- prices ---

    def on_trade(self, ctx, trade):
        instrument, price = trade.instrument, trade.price
        if trade.late or price <= 0.0:
            return
        if instrument not in self.watches:  # defined after the start
            self.watches[instrument] = Watch()
        watch = self.watches[instrument]
        change = self.change(watch, trade.ts, price)
        if watch.flagged:
            if ctx.now < watch.flag_ends:
                if ctx.now >= watch.next_try:
                    self.close(ctx, instrument, watch.risk_ticket)
                return
            watch.flagged = False
        if abs(change) > self.threshold + NOISE:
            self.take_step(ctx, instrument, 1.0 if change > 0.0 else -1.0)
            self.measure_from(watch, trade.ts, price)

    def change(self, watch, ts, price):
        """Of the price in the window or since the last step, as a part of it; 0 while there is no window."""
        samples = watch.samples
        before = ts - self.window
        while len(samples) > 1 and samples[1][0] <= before:
            samples.popleft()
            watch.stepped = False
        change = 0.0
        if samples and (watch.stepped or samples[0][0] <= before):
            change = price / samples[0][1] - 1.0
        if len(samples) > 1 and samples[-1][0] // SECOND == ts // SECOND:
            samples[-1] = (ts, price)
        else:
            samples.append((ts, price))
        return change

    def measure_from(self, watch, ts, price):
        """The move so far has been acted upon."""
        watch.samples.clear()
        watch.samples.append((ts, price))
        watch.stepped = True

    # --- orders ---

    def take_step(self, ctx, instrument, direction):
        """One step, as long as the mood has it, within the limits."""
        watch = self.watches[instrument]
        mood = watch.sentiment if ctx.now - watch.asked <= self.max_age else 0.0
        factor = self.boost if mood > self.strong else self.damp if mood < -self.strong else 1.0
        held = self.exposure(ctx, instrument)
        wanted = held + direction * factor * self.step * self.size_max
        wanted = max(-self.size_max, min(self.size_max, wanted))
        size = ctx.round_size(instrument, wanted - held)
        if size == 0.0:
            return
        if factor == 1.0:
            ctx.market(instrument, size)
        else:
            with ctx.because(watch.ticket):
                ctx.market(instrument, size)

    def close(self, ctx, instrument, ticket):
        """Nothing of it any more, because of an answer; the next try is a second away."""
        self.watches[instrument].next_try = ctx.now + SECOND
        size = ctx.round_size(instrument, -self.exposure(ctx, instrument))
        if size != 0.0:
            with ctx.because(ticket):
                ctx.market(instrument, size)

    def exposure(self, ctx, instrument):
        """What is held, and what is on its way."""
        total = ctx.position(instrument)
        for order in ctx.orders(instrument):
            total += order.side * (order.size - order.filled)
        return total

    # --- news ---

    def on_news(self, ctx, news):
        if news.ts_venue is not None and news.ts - news.ts_venue > self.max_age:
            return
        named = {name.upper() for name in news.symbols}
        for instrument in self.watches:
            names = (instrument.symbol.upper(), instrument.base.upper(), instrument.key.upper())
            if instrument != news.instrument and not any(name and name in named for name in names):
                continue
            asked = (news.headline, instrument.key)
            if asked in self.headlines:
                continue
            ticket = ctx.ask(
                SENTIMENT,
                instrument,
                timeout=self.timeout,
                default=NEUTRAL,
                symbol=instrument.symbol,
                headline=news.headline,
                summary=news.summary,
            )
            self.headlines[asked] = ticket
            if len(self.headlines) > HEADLINES_KEPT:
                del self.headlines[next(iter(self.headlines))]

    def on_answer(self, ctx, answer):
        instrument = answer.about
        watch = self.watches[instrument]
        if answer.ticket >= watch.ticket:  # what an older question brings by now is no news
            watch.ticket = answer.ticket
            watch.sentiment = answer.value.sentiment
            watch.asked = answer.asked
        if answer.outcome != "answered":
            return
        if answer.value.risk:
            watch.flagged = True
            watch.risk_ticket = max(watch.risk_ticket, answer.ticket)
            watch.flag_ends = ctx.now + self.hold
            self.close(ctx, instrument, answer.ticket)
            last = ctx.last(instrument)
            if last is not None:
                self.measure_from(watch, ctx.now, last)
        elif answer.ticket > watch.risk_ticket:
            watch.flagged = False
