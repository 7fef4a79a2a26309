"""Momentum with sentiment: the steps of written markets, what each answer makes of them, and who is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine.answers.requests import Request
from engine.config import RunConfig
from engine.loop.backtest import run_backtest
from engine.model.instruments import Instrument
from engine.model.kinds import AnswerData, Kind, NewsData, encode_canonical
from engine.serve.messages_rule import shipped_rule, subject_of
from engine.serve.messages_schema import fill
from engine.strategy.loader import load_strategy
from tests.helpers.logs import BTC, ETH, Message, Row, at, trade
from tests.helpers.played import SAMPLE
from tests.reference.decisions import Decision
from tests.reference.drive import ListedJournal, Outcome, run_engine
from tests.reference.scenario import clock, settings

FIRST = msgspec.structs.replace(BTC, channels=("trade",), max_size="1000")
SECOND = msgspec.structs.replace(ETH, channels=("trade",))


def said(sentiment: float = 0.0, *, risk: bool = False, after_ms: int = 50, **more: Any) -> AnswerData:
    """An answer as a store has it."""
    text = json.dumps({"rationale": "r", "sentiment": sentiment, "topic": "other", "risk": risk})
    return AnswerData(
        "", "", more.pop("outcome", "answered"), text=text, latency_ns=after_ms * 1_000_000, **more
    )


class Store:
    """Answers by headline; remembers who was asked about."""

    def __init__(self, answers: Mapping[str, AnswerData]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str]] = []

    def find(self, request: Request) -> AnswerData | None:
        """The answer to a headline."""
        text = str(request.body["messages"][0]["content"])
        headline = text.partition("<headline>")[2].partition("</headline>")[0]
        self.asked.append((headline, text.partition("<instrument>")[2].partition("</instrument>")[0]))
        return self.answers.get(headline)


def prices(*pairs: tuple[float, float], instrument: int = 1) -> list[Message]:
    """Trades at (second, price)."""
    return [trade(second, round(price * 100), 100_000, instrument=instrument) for second, price in pairs]


def news(
    second: float, headline: str, symbols: Sequence[str] = ("BTC",), *, instrument: int = 0, **more: str
) -> Message:
    """A NEWS message, by default about the first instrument."""
    data = NewsData(id="1", headline=headline, symbols=tuple(symbols), **more)
    return Message(
        at(second), (Row(Kind.NEWS, at(second), instrument=instrument, data=encode_canonical(data)),)
    )


def play(
    messages: Sequence[Message],
    answers: Mapping[str, AnswerData] | None = None,
    *,
    instruments: Any = (FIRST,),
    config: RunConfig | None = None,
    **parameters: Any,
) -> tuple[Outcome, Store]:
    """A run of the strategy over messages in the order of their times."""
    strategy = load_strategy("momentum_sentiment", table=parameters).strategy
    store = Store(answers or {})
    rows = sorted(messages, key=lambda message: message.ts)
    config = config or msgspec.structs.replace(settings(), answers="default")
    return run_engine(
        [*rows, clock(rows[-1].ts / 1e9 - at(0) / 1e9 + 1)], strategy, config, instruments, answers=store
    ), store


def second_of(decision: Decision) -> float:
    return round((decision.ts - at(0)) / 1e9, 3)


def orders(outcome: Outcome, symbol: str = "BTC") -> list[tuple[float, float]]:
    """When each order was sent, in seconds, and its signed size in units."""
    places = 5 if symbol == "BTC" else 4
    return [
        (second_of(d), float(Decimal(d.side * d.size).scaleb(-places)))
        for d in outcome.journal
        if d.kind == "submit" and d.instrument.startswith(symbol)
    ]


def named(outcome: Outcome) -> list[str]:
    """The terms of each order: the questions that it names."""
    return [d.terms for d in outcome.journal if d.kind == "submit"]


# --- prices alone ---

FLAT = ((0, 100.0), (300, 100.0))
STEPS: list[tuple[str, tuple[tuple[float, float], ...], list[tuple[float, float]]]] = [
    ("no window yet", ((0, 100), (299, 110)), []),
    ("exactly 0.2 % is not beyond", (*FLAT, (310, 100.2), (320, 99.8)), []),
    ("up", (*FLAT, (310, 100.21)), [(310, 10)]),
    ("down", (*FLAT, (310, 99.79)), [(310, -10)]),
    ("a move counts once", (*FLAT, (310, 100.3), (320, 100.3), (330, 100.5)), [(310, 10)]),
    ("then from the step's price", (*FLAT, (310, 100.3), (320, 100.51)), [(310, 10), (320, 10)]),
    ("a turn at once", (*FLAT, (310, 100.3), (311, 100.09)), [(310, 10), (311, -10)]),
    ("a jump is one step", (*FLAT, (310, 105.0)), [(310, 10)]),
    (
        "the step's price is left when it is old",
        (*FLAT, (310, 100.3), (400, 100.45), (611, 100.45), (700, 100.6), (701, 100.66)),
        [(310, 10), (701, 10)],  # 100.66 is 0.359 % above the step, and 0.209 % above the price at 400
    ),
    ("what lies longer back does not count", ((0, 100), (200, 100.15), (501, 100.3)), []),
    ("a pause keeps the last price before it", ((0, 100), (10, 101), (9000, 101.3)), [(9000, 10)]),
]


@pytest.mark.parametrize(
    ("market", "expected"), [case[1:] for case in STEPS], ids=[case[0] for case in STEPS]
)
def test_steps(market: tuple[tuple[float, float], ...], expected: list[tuple[float, float]]) -> None:
    """A tenth of the maximum for each move of more than 0.2 % within five minutes or since the last step."""
    outcome, store = play(prices(*market))
    assert orders(outcome) == expected
    assert named(outcome) == [""] * len(expected)
    assert store.asked == []


def test_one_sample_a_second_is_kept() -> None:
    """Of a busy second the last price; the one that a move is measured from is never replaced."""
    busy = [(300 + n / 10, 100.0 + n / 100) for n in range(10)]  # 100.00 to 100.09 within one second
    outcome, _ = play(prices((0, 100), *busy, (601, 100.28), (602, 100.3)))
    assert orders(outcome) == [(602, 10)]  # 0.2098 % above 100.09
    strategy = load_strategy("momentum_sentiment").strategy
    many = [(n / 20, 100.0) for n in range(20 * 700)]
    run_engine(prices(*many), strategy, settings(), (FIRST,))
    (watch,) = strategy.watches.values()  # type: ignore[attr-defined]
    assert 300 <= len(watch.samples) <= 303


def ladder(count: int, factor: float = 1.003) -> list[tuple[float, float]]:
    """After five minutes a trend: a move of 0.3 % every ten seconds."""
    pairs, price = [(0.0, 100.0), (300.0, 100.0)], 100.0
    for n in range(count):
        price = round(price * factor, 2)
        pairs.append((310.0 + 10 * n, price))
    return pairs


@pytest.mark.parametrize(("factor", "side"), [(1.003, 1), (0.997, -1)])
def test_the_position_is_capped(factor: float, side: int) -> None:
    """Ten steps to the maximum, then nothing; the first turn takes a step back."""
    market = ladder(13, factor)
    turn = (500.0, round(market[-1][1] * (1 - side * 0.003), 2))
    outcome, _ = play(prices(*market, turn))
    assert orders(outcome) == [(310 + 10 * n, 10 * side) for n in range(10)] + [(500, -10 * side)]


def test_a_last_step_is_cut_at_the_cap() -> None:
    """With 40 units a step, the third one is 20."""
    outcome, _ = play(prices(*ladder(4)), step=0.4)
    assert [size for _, size in orders(outcome)] == [40, 40, 20]


def test_a_step_starts_from_what_is_held() -> None:
    """An order that the venue's largest size keeps from being sent is not added to the next one."""
    small = msgspec.structs.replace(FIRST, max_size="8")
    outcome, _ = play(prices(*ladder(3)), instruments=(small,))
    refused = [d.size / 10**5 for d in outcome.journal if d.kind == "refused"]
    assert (orders(outcome), refused) == ([], [10.0, 10.0, 10.0])


def test_instruments_are_apart() -> None:
    """Each has its own window, steps and sentiment."""
    second = prices((0, 50), (305, 50), (316, 49.8), instrument=2)
    outcome, _ = play([*prices(*FLAT, (310, 100.3)), *second], instruments=(FIRST, SECOND))
    assert (orders(outcome), orders(outcome, "ETH")) == ([(310, 10)], [(316, -10)])


def test_parameters_change_the_rule() -> None:
    """Threshold, window, step and maximum."""
    market = prices((0, 100), (60, 100), (70, 100.15))
    outcome, _ = play(market, threshold=0.001, window_minutes=1.0, step=0.25, size_max=8.0)
    assert orders(outcome) == [(70, 2)]


@pytest.mark.parametrize("wrong", [{"threshold": 0.0}, {"window_minutes": -1.0}, {"boost": -0.1}], ids=str)
def test_parameters_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    """Before the first event, with the name."""
    strategy: Any = load_strategy("momentum_sentiment", table=wrong).strategy
    with pytest.raises(ValueError, match=next(iter(wrong))):
        strategy.on_start(None)


# --- answers ---

UP = (*FLAT, (310, 100.3))
MOODS: list[tuple[str, AnswerData | None, float, bool]] = [
    # what came back, the step after it, whether the order names the question
    ("very good", said(0.61), 15, True),
    ("good", said(0.6), 10, False),
    ("bad", said(-0.6), 10, False),
    ("very bad", said(-0.61), 5, True),
    ("neutral", said(0.0), 10, False),
    ("none", None, 10, False),
    ("late, after the step", said(0.9, after_ms=20_000), 10, False),
    ("late, before the step", said(0.9, after_ms=8_000), 15, True),
    ("refused", said(0.9, outcome="refused"), 10, False),
    ("out of range", said(1.1), 10, False),
]


@pytest.mark.parametrize(("answer", "size", "names"), [c[1:] for c in MOODS], ids=[c[0] for c in MOODS])
def test_the_mood_makes_the_step(answer: AnswerData | None, size: float, *, names: bool) -> None:
    """Beyond +-0.6 half as long again, or half; the order names the question where it has changed it."""
    outcome, _ = play([*prices(*UP), news(301, "h")], {"h": answer} if answer else {})
    assert orders(outcome) == [(310, size)]
    assert named(outcome) == ['{"because":[1]}' if names else ""]


def test_the_mood_counts_on_either_side() -> None:
    """Good news make a step down longer too: the rule is about its length."""
    outcome, _ = play([*prices(*FLAT, (310, 99.7)), news(301, "h")], {"h": said(0.9)})
    assert orders(outcome) == [(310, -15)]


def test_a_mood_grows_old() -> None:
    """An hour after the question it counts no more; `max_age_minutes` says how long."""
    market = [*prices((0, 100), (3000, 100), (3900, 100), (3901.5, 100.3)), news(301, "h")]
    answers = {"h": said(0.9)}
    assert orders(play(market, answers)[0]) == [(3901.5, 10)]
    assert orders(play(market, answers, max_age_minutes=61.0)[0]) == [(3901.5, 15)]


def test_the_newest_question_counts() -> None:
    """An older one's answer that comes after a newer one's is no news; a newer one's default is neutral."""
    market = [*prices(*FLAT, (320, 100.3)), news(301, "old"), news(302, "new")]
    late = said(0.9, after_ms=5_000)
    assert orders(play(market, {"old": late, "new": said(-0.9)})[0]) == [(320, 5)]
    assert orders(play(market, {"old": said(0.9)})[0]) == [(320, 10)]
    assert orders(play(market, {"old": said(-0.9), "new": late})[0]) == [(320, 15)]


def test_boost_damp_and_strong_are_parameters() -> None:
    """Twice and nothing, beyond 0.3."""
    market = [*prices(*UP), news(301, "h")]
    changed: dict[str, Any] = {"strong": 0.3, "boost": 2.0, "damp": 0.0}
    assert orders(play(market, {"h": said(0.4)}, **changed)[0]) == [(310, 20)]
    assert orders(play(market, {"h": said(-0.4)}, **changed)[0]) == []


# --- risks ---


def test_a_risk_flag_closes_at_once_and_bars_steps() -> None:
    """The order leaves when the answer comes, and names it; no step follows while the flag stands."""
    market = [*prices(*UP, (330, 101.0), (340, 102.0)), news(320, "theft")]
    outcome, _ = play(market, {"theft": said(-0.9, risk=True)})
    assert orders(outcome) == [(310, 10), (320.05, -10)]
    assert named(outcome) == ["", '{"because":[1]}']
    flat = [d for d in outcome.journal if d.kind == "submit"][1]
    assert (flat.trigger, flat.trigger_id) == (5, 1)


LIFTS: list[tuple[str, AnswerData | None, list[tuple[float, float]]]] = [
    ("an answer without risk", said(0.0), [(350, 10)]),
    ("another risk", said(0.0, risk=True), []),
    ("a default", None, []),
    ("a refusal", said(0.0, outcome="refused"), []),
    ("a late answer, when it comes", said(0.0, after_ms=10_000), [(350, 10)]),
    ("a late answer, not before", said(0.0, after_ms=40_000), []),
]


@pytest.mark.parametrize(("answer", "expected"), [c[1:] for c in LIFTS], ids=[c[0] for c in LIFTS])
def test_what_lifts_a_risk_flag(answer: AnswerData | None, expected: list[tuple[float, float]]) -> None:
    """The answer to a later question that sees no risk; nothing that is not an answer."""
    market = [*prices(*FLAT, (325, 100), (350, 100.3)), news(320, "theft"), news(330, "later")]
    answers = {"theft": said(0.0, risk=True), **({"later": answer} if answer else {})}
    assert orders(play(market, answers)[0]) == expected


def test_an_earlier_question_lifts_nothing_and_can_still_warn() -> None:
    """Asked before the one that saw the risk, answered after it; and the other way round."""
    market = [*prices(*FLAT, (350, 100.3)), news(319, "before"), news(320, "theft")]
    risk, calm = said(0.0, risk=True), said(0.0, after_ms=5_000)
    assert orders(play(market, {"before": calm, "theft": risk})[0]) == []
    late_risk = said(0.0, risk=True, after_ms=5_000)
    assert orders(play(market, {"before": late_risk, "theft": said(0.0)})[0]) == []


def test_a_flag_ends_after_its_time() -> None:
    """An hour, or `hold_minutes`."""
    market = [*prices(*FLAT, (315, 100), (3000, 100), (3916, 100.3), (3921, 100.3)), news(320, "theft")]
    answers = {"theft": said(0.0, risk=True)}
    assert orders(play(market, answers)[0]) == [(3921, 10)]
    assert orders(play(market, answers, hold_minutes=59.0)[0]) == [(3916, 10)]
    assert orders(play(market, answers, hold_minutes=61.0)[0]) == []


def test_what_is_on_its_way_is_closed_too() -> None:
    """With a second of latency the step is not filled when the risk is seen; in the end nothing is held."""
    latency = msgspec.structs.replace(settings().latency, entry_ns=1_000_000_000)
    config = msgspec.structs.replace(settings(), answers="default", latency=latency)
    market = [*prices(*UP, (312, 100.3), (314, 100.3), (316, 100.3)), news(310.1, "theft")]
    outcome, _ = play(market, {"theft": said(0.0, risk=True)}, config=config)
    assert orders(outcome) == [(310, 10), (310.15, -10)]
    assert sum(d.side * d.size for d in outcome.journal if d.kind == "fill") == 0


def test_what_could_not_be_closed_is_tried_again_every_second() -> None:
    """The venue takes 8 at most: 4 steps of 5 cannot be closed at once; no trade asks twice a second."""
    small = msgspec.structs.replace(FIRST, max_size="8")
    market = ladder(4)
    last = market[-1][1]
    after = [(351 + n / 4, last) for n in range(12)]
    outcome, _ = play(
        [*prices(*market, *after), news(350, "theft")],
        {"theft": said(0.0, risk=True)},
        instruments=(small,),
        step=0.05,
    )
    tried = [second_of(d) for d in outcome.journal if d.kind == "refused"]
    assert tried == [350.05, 351.25, 352.25, 353.25]
    assert {d.terms for d in outcome.journal if d.kind == "refused"} == {'{"because":[1]}'}


# --- news ---

NAMES: list[tuple[tuple[str, ...], int, list[str]]] = [
    (("BTCUSDT",), 0, ["BTCUSDT"]),
    (("btc",), 0, ["BTCUSDT"]),
    (("BTCUSDT.binance", "BTC"), 0, ["BTCUSDT"]),
    (("BTC", "ETH"), 0, ["BTCUSDT", "ETHUSDT"]),
    ((), 2, ["ETHUSDT"]),
    (("BTC",), 2, ["BTCUSDT", "ETHUSDT"]),
    ((), 0, []),
    (("SOL", "BT", ""), 0, []),
]


@pytest.mark.parametrize(("symbols", "instrument", "expected"), NAMES)
def test_whom_news_are_about(symbols: tuple[str, ...], instrument: int, expected: list[str]) -> None:
    """By the instrument of the row, or a symbol, base or key among its symbols; else nobody is asked."""
    nameless = msgspec.structs.replace(SECOND, base="ETH")
    market = [*prices(*FLAT), news(1, "h", symbols, instrument=instrument)]
    _, store = play(market, instruments=(FIRST, nameless))
    assert store.asked == [("h", symbol) for symbol in expected]


def test_a_headline_is_asked_about_once() -> None:
    """The same one again, with another summary too, is no question; an edited one is."""
    market = [
        news(1, "h"),
        news(2, "h"),
        news(3, "h", summary="more"),
        news(4, "h, corrected"),
        *prices(*FLAT),
    ]
    _, store = play(market)
    assert store.asked == [("h", "BTCUSDT"), ("h, corrected", "BTCUSDT")]


def test_old_news_are_not_asked_about() -> None:
    """A session's first headlines may have been published long before; an hour is the limit."""
    hour = 3600.0
    market = [
        Message(message.ts, (replace(message.rows[0], ts_venue=at(stamp)),))
        for message, stamp in (
            (news(1, "old"), 0.9 - hour),
            (news(2, "fresh"), 2 - hour),
            (news(3, "odd"), 9.0),
        )
    ]
    _, store = play([*market, *prices(*FLAT)])
    assert [headline for headline, _ in store.asked] == ["fresh", "odd"]


def test_headlines_are_not_kept_for_ever() -> None:
    """The thousand that were asked last; the first of more than these would be asked again."""
    market = [news(n, f"h{n}") for n in range(1001)] + [
        news(2000, "h1000"),
        news(2001, "h0"),
        *prices((2002, 1)),
    ]
    _, store = play(market)
    assert [headline for headline, _ in store.asked[1001:]] == ["h0"]


# --- the sample ---


class ByRule:
    """Answers everything by the word list, a tenth of a second after it was asked."""

    def __init__(self) -> None:
        self.risks = 0

    def find(self, request: Request) -> AnswerData | None:
        """The rule's answer."""
        reading = shipped_rule().read(subject_of(request.body["messages"][0]["content"]))
        self.risks += reading.risk
        text = json.dumps(fill(request.body["output_config"]["format"]["schema"], reading))
        return AnswerData("", "", "answered", text=text, latency_ns=100_000_000)


def test_the_sample_with_answers() -> None:
    """Every headline of the sample is asked once for each instrument that it names; the cap holds."""
    loaded = load_strategy("momentum_sentiment", ["threshold=0.001"])
    journal, source = ListedJournal(), ByRule()
    run_backtest([SAMPLE], RunConfig(), loaded, journal, answers=source)
    asked = [d for d in journal.decisions if d.kind == "ask"]
    assert len(asked) == 21  # of 16 headlines 5 name two instruments
    assert source.risks > 0
    shaped = [d for d in journal.decisions if d.kind == "submit" and d.terms]
    assert shaped
    held: dict[str, int] = {}
    for d in journal.decisions:
        if d.kind == "fill":
            held[d.instrument] = held.get(d.instrument, 0) + d.side * d.size
            who: Instrument = next(i for i in loaded.strategy.watches if i.key == d.instrument)  # type: ignore[attr-defined]
            assert abs(held[d.instrument]) <= 100 * 10**who.size_decimals


def test_the_sample_without_any_answer_is_momentum_alone() -> None:
    """With defaults the orders are those of a run in which there are no questions at all."""
    asking, silent = ListedJournal(), ListedJournal()
    config = msgspec.structs.replace(RunConfig(), answers="default")
    run_backtest([SAMPLE], config, load_strategy("momentum_sentiment"), asking, answers=Store({}))
    loaded = load_strategy("momentum_sentiment")
    type(loaded.strategy).on_news = lambda *_: None  # type: ignore[attr-defined]
    run_backtest([SAMPLE], config, loaded, silent, answers=Store({}))

    def sent(journal: ListedJournal) -> list[tuple[int, str, int, int]]:
        return [(d.ts, d.instrument, d.side, d.size) for d in journal.decisions if d.kind == "submit"]

    assert sent(asking) == sent(silent)
    assert len(sent(asking)) == 16
