"""Small markets written by hand, and a strategy that does what a table says, when it says it.

    play(
        [book(0, bids={99: 5}, asks={101: 3, 102: 4})],
        {1: lambda ctx, it: ctx.market(it, 5)},
    ) == ["1 fill #1 3@101 taker", "1 fill #1 2@102 taker"]

Prices and sizes are whole numbers, times are seconds; latencies are zero unless a config says otherwise.
Every scenario runs through the engine and through the twin, which have to agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.config import Account, Fees, Latency, Risk, Rules, RunConfig
from engine.model.instruments import Instrument
from engine.model.kinds import BarData, Flag, InstrumentData, Kind, Part, StatusData, encode_canonical
from engine.model.units import NULL_TIME, SECOND_NS
from engine.strategy.api import Strategy
from tests.helpers.logs import Message, Row, at
from tests.reference.decisions import Decision
from tests.reference.drive import Outcome, first_difference, run_engine, run_twin

Deed = Callable[[Any, Instrument], object]
Deeds = Mapping[int, Deed] | Mapping[float, Deed]
FREE = Fees(maker=0, taker=0)
NO_LATENCY = Latency(0, 0, 0)


def settings(
    *,
    latency: Latency = NO_LATENCY,
    fees: Fees = FREE,
    account: Account = Account(),  # noqa: B008  frozen
    cap: str = "",
    collar: int = 0,
    slippage_ticks: int = 1,
    rules: Rules = Rules(),  # noqa: B008  frozen
    **more: Any,
) -> RunConfig:
    """A configuration in which nothing happens that a scenario does not name."""
    return RunConfig(
        latency=latency,
        fees=fees,
        account=account,
        risk=Risk(position_cap=cap, collar_millionths=collar),
        slippage_ticks=slippage_ticks,
        rules=rules,
        **more,
    )


def whole(*channels: str, **changes: Any) -> InstrumentData:
    """An instrument in whole numbers: tick 1, lot 1."""
    fields: dict[str, Any] = {
        "key": "XY.binance",
        "symbol": "XY",
        "venue": "binance",
        "price_decimals": 0,
        "size_decimals": 0,
        "price_increment": "1",
        "size_increment": "1",
        "quote": "USD",
        "channels": channels,
    }
    return InstrumentData(**(fields | changes))


DEPTH = whole("trade", "book")
QUOTES = whole("trade", "quote")
TRADES = whole("trade")
BARS = whole("bar")


def book(
    seconds: float,
    *,
    bids: Mapping[int, int] | None = None,
    asks: Mapping[int, int] | None = None,
    snapshot: bool = False,
    flags: int = 0,
    stamp: int = NULL_TIME,
    instrument: int = 1,
) -> Message:
    """Levels as price -> size (0: gone); with `snapshot` all that there is."""
    levels = [(1, p, s) for p, s in (bids or {}).items()] + [(-1, p, s) for p, s in (asks or {}).items()]
    rows = []
    for i, (side, price, size) in enumerate(levels):
        more = (Flag.SNAPSHOT | (Flag.CLEAR if i == 0 else 0)) if snapshot else 0
        rows.append(Row(Kind.BOOK, stamp, 1, 0, flags | more, instrument, side, price, size))
    return Message(at(seconds), tuple(rows))


def quote(seconds: float, bid: int, bid_size: int, ask: int, ask_size: int, instrument: int = 1) -> Message:
    """Best bid and ask; a size of 0 is an empty side."""
    rows = (
        Row(Kind.QUOTE, instrument=instrument, side=1, price=bid, size=bid_size),
        Row(Kind.QUOTE, instrument=instrument, side=-1, price=ask, size=ask_size),
    )
    return Message(at(seconds), rows)


def trades(seconds: float, *prints: tuple[int, int, int], stamp: int = NULL_TIME, flags: int = 0) -> Message:
    """Trades of one message: (aggressor, price, size) each."""
    return Message(
        at(seconds),
        tuple(
            Row(Kind.TRADE, stamp, 1, 0, flags, instrument=1, side=side, price=price, size=size)
            for side, price, size in prints
        ),
    )


def bar(
    seconds: float,
    opened: int,
    high: int,
    low: int,
    close: int,
    *,
    start: float | None = None,
    interval: float = 60,
    volume: int = 1,
    flags: int = Flag.FINAL,
    instrument: int = 1,
    source: int = 1,
) -> Message:
    """A bar that is known at `seconds`; it began an interval earlier, unless said otherwise."""
    begun = at(seconds - interval if start is None else start)
    data = encode_canonical(BarData(round(interval * SECOND_NS)))
    prices = ((Part.OPEN, opened), (Part.HIGH, high), (Part.LOW, low), (Part.CLOSE, close))
    return Message(
        at(seconds),
        tuple(
            Row(
                Kind.BAR,
                begun,
                source,
                part,
                flags,
                instrument,
                price=price,
                size=volume if part == Part.CLOSE else 0,
                id=volume if part == Part.CLOSE else 0,
                data=data if part == Part.OPEN else None,
            )
            for part, price in prices
        ),
    )


def status(seconds: float, event: str, channel: str = "", *, instrument: int = 0) -> Message:
    """A STATUS row."""
    data = encode_canonical(StatusData(event, channel=channel))
    return Message(at(seconds), (Row(Kind.STATUS, instrument=instrument, data=data),))


def clock(seconds: float) -> Message:
    """A CLOCK row: time passes."""
    return Message(at(seconds), (Row(Kind.CLOCK, source=0),))


def together(*messages: Message) -> Message:
    """The rows of several messages as one, at the time of the first."""
    return Message(messages[0].ts, tuple(row for message in messages for row in message.rows))


class Script(Strategy):
    """Does what a table says at its times, or with the next message of a kind; remembers what it hears."""

    def __init__(self, deeds: Deeds) -> None:
        super().__init__()
        self.deeds = deeds
        self.heard: list[str] = []
        self.words: dict[int, str] = {}

    def on_start(self, ctx: Any) -> None:
        """Put every deed on the agenda."""
        for seconds in self.deeds:
            ctx.at(at(seconds), str(seconds))

    def on_timer(self, ctx: Any, name: str) -> None:
        """Do one."""
        for seconds, deed in self.deeds.items():
            if str(seconds) == name:
                deed(ctx, ctx.instruments[0])

    def on_order(self, _ctx: Any, update: Any) -> None:
        """Remember it."""
        self.heard.append(f"{_seconds(update.ts)} #{update.order} {update.state} {update.filled:g}")
        self.words[update.order] = update.reason


def run(
    messages: Sequence[Message],
    deeds: Deeds,
    config: RunConfig | None = None,
    instruments: Sequence[InstrumentData] = (DEPTH,),
    *,
    twin: bool = True,
) -> tuple[Outcome, Script]:
    """Both loops over a scenario; a difference fails the test. `twin`: False where it lacks the orders."""
    config = config or settings()
    last = max([*deeds, *((m.ts - at(0)) / SECOND_NS for m in messages)])
    messages = [*messages, clock(last + 1000)]
    ours, theirs = Script(deeds), Script(deeds)
    outcome = run_engine(messages, ours, config, instruments)
    if twin:
        other = run_twin(messages, theirs, config, instruments)
        difference = first_difference(outcome.journal, other.journal)
        assert not difference, difference
        assert ours.heard == theirs.heard
    return outcome, ours


def play(
    messages: Sequence[Message],
    deeds: Deeds,
    config: RunConfig | None = None,
    instruments: Sequence[InstrumentData] = (DEPTH,),
    *,
    commands: bool = False,
    twin: bool = True,
) -> list[str]:
    """What became of the orders: fills and ends, each "seconds kind #order size@price reason".

    With `commands` also what was sent, and the acknowledgements.
    """
    outcome, _ = run(messages, deeds, config, instruments, twin=twin)
    left_out = () if commands else ("submit", "cancel", "amend", "accepted")
    return [describe(d) for d in outcome.journal if d.kind not in left_out]


def describe(decision: Decision) -> str:
    """One decision in a line."""
    reason = "" if decision.reason == "none" else f" {decision.reason}"
    amount = f" {decision.size}@{decision.price}" if decision.kind == "fill" else ""
    return f"{_seconds(decision.ts)} {decision.kind} #{decision.order}{amount}{reason}"


def _seconds(ts: int) -> str:
    return f"{(ts - at(0)) / SECOND_NS:g}"
