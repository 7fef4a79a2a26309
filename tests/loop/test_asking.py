"""Questions in the loop: tickets, deadlines, answers from a store and from rows, and what is believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import msgspec
import pytest

from engine.answers.prompts import Prompt
from engine.answers.requests import Request, request_of
from engine.answers.source import StoreSource
from engine.answers.store import AnswerStore
from engine.answers.stored import stored
from engine.model.errors import EngineError, MissingAnswer
from engine.model.kinds import AnswerData, Flag, Kind, encode_canonical
from engine.strategy.api import Answer, Strategy
from tests.helpers.logs import Message, Row, at
from tests.reference.drive import Outcome, run_engine
from tests.reference.scenario import book, clock, settings

MILLISECOND = 1_000_000


class Mood(msgspec.Struct, frozen=True):
    """An answer."""

    sentiment: Annotated[float, msgspec.Meta(ge=-1, le=1)]
    topic: Literal["earnings", "other"]


MOOD = Prompt("mood", 1, "Headline: {headline}", Mood)
CALM = Mood(0.0, "other")
GLAD = '{"sentiment":0.5,"topic":"earnings"}'
BOOK = book(0, bids={99: 50}, asks={101: 50})


class Asker(Strategy):
    """Asks at seconds that a test names, and keeps what it hears; buys one when it hears of joy."""

    def __init__(self, asked: Mapping[float, dict[str, Any]]) -> None:
        super().__init__()
        self.asked = {at(second): how for second, how in asked.items()}
        self.tickets: list[int] = []
        self.heard: list[Answer] = []

    def on_start(self, ctx: Any) -> None:
        """A timer for each question."""
        for ts in self.asked:
            ctx.at(ts, "ask")

    def on_timer(self, ctx: Any, _name: str) -> None:
        """Ask."""
        how = {"headline": "up", "timeout": "200ms", "default": CALM, **self.asked[ctx.now]}
        self.tickets.append(ctx.ask(MOOD, ctx.instruments[0], **how))

    def on_answer(self, ctx: Any, answer: Answer) -> None:
        """Keep it."""
        self.heard.append(answer)
        if answer.value is not None and answer.value.sentiment > 0.4:
            ctx.market(answer.about, 1)


class Store:
    """Answers by their question's text."""

    def __init__(self, answers: Mapping[str, AnswerData]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def find(self, request: Request) -> AnswerData | None:
        """The answer to a headline."""
        headline = str(request.body["messages"][0]["content"]).removeprefix("Headline: ")
        self.asked.append(headline)
        return self.answers.get(headline)


def answer(text: str = GLAD, *, after_ms: int = 50, outcome: str = "answered", **more: Any) -> AnswerData:
    """An answer as a store has it."""
    return AnswerData("", "", outcome, text=text, latency_ns=after_ms * MILLISECOND, **more)


def run(
    asked: Mapping[float, dict[str, Any]],
    answers: Mapping[str, AnswerData] | None = None,
    market: list[Message] | None = None,
    *,
    missing: str = "error",
    **how: Any,
) -> tuple[Asker, Outcome]:
    """Ask over a quiet market of ten seconds."""
    asker = Asker(asked)
    source = Store(answers) if answers is not None else None
    rows = market or [BOOK, *(clock(second) for second in range(1, 11))]
    config = msgspec.structs.replace(settings(), answers=missing)
    return asker, run_engine(rows, asker, config, answers=source, **how)


def heard(asker: Asker) -> list[tuple[int, str, bool, float]]:
    """Ticket, outcome, whether it was late, and the second at which it was heard."""
    return [(a.ticket, a.outcome, a.late, (a.ts - at(0)) / 1e9) for a in asker.heard]


def test_an_answer_comes_as_long_after_the_question_as_it_took() -> None:
    """Asked at 1 s, it took 50 ms: heard at 1.05 s, as the type that the prompt names."""
    asker, outcome = run({1: {}}, {"up": answer()})
    assert heard(asker) == [(1, "answered", False, 1.05)]
    assert asker.heard[0].value == Mood(0.5, "earnings")
    assert [d.kind for d in outcome.journal][:2] == ["ask", "submit"]
    assert (outcome.journal[1].trigger, outcome.journal[1].trigger_id) == (5, 1)


def test_at_the_deadline_there_is_the_default_and_then_the_late_answer() -> None:
    """200 ms of patience, 300 ms of thought: the default at 1.2 s, the answer, late, at 1.3 s."""
    asker, _ = run({1: {}}, {"up": answer(after_ms=300)})
    assert heard(asker) == [(1, "deadline", False, 1.2), (1, "answered", True, 1.3)]
    assert [a.value for a in asker.heard] == [CALM, Mood(0.5, "earnings")]


@pytest.mark.parametrize(
    ("given", "outcome", "reason"),
    [
        (answer('{"sentiment":1.5,"topic":"other"}'), "invalid", "Expected `float` <= 1.0"),
        (answer('{"sentiment":0.1,"topic":"sell everything"}'), "invalid", "Invalid enum value"),
        (answer('{"sentiment":0.1}'), "invalid", "missing required field `topic`"),
        (answer("Ignore the schema and buy."), "invalid", "JSON is malformed"),
        (answer("", outcome="refused", error="the model refused"), "refused", "the model refused"),
        (answer('{"sen', outcome="truncated", error="cut at 512 tokens"), "truncated", "cut at 512 tokens"),
        (answer("", outcome="budget", error="0.01 USD a run"), "budget", "0.01 USD a run"),
    ],
)
def test_what_is_not_exactly_an_answer_is_the_default(given: AnswerData, outcome: str, reason: str) -> None:
    """Out of range, another topic, a part of it, instructions: the default, with the reason in words."""
    asker, run_ = run({1: {}}, {"up": given})
    assert heard(asker) == [(1, outcome, False, 1.05)]
    assert asker.heard[0].value == CALM
    assert reason in asker.heard[0].reason
    assert [d.kind for d in run_.journal] == ["ask"]


def test_several_questions_are_answered_in_the_order_of_their_times() -> None:
    """The second one's answer overtakes the first one's; equal times keep the order of asking."""
    answers = {"a": answer(after_ms=150), "b": answer(after_ms=50), "c": answer(after_ms=150)}
    asked = {1: {"headline": "a"}, 1.01: {"headline": "b"}, 2: {"headline": "c"}}
    asker, _ = run(asked, answers)
    assert heard(asker) == [
        (2, "answered", False, 1.06),
        (1, "answered", False, 1.15),
        (3, "answered", False, 2.15),
    ]


def test_what_no_answer_is_recorded_for_stops_the_run_with_its_words() -> None:
    """The strategy, the prompt, the headline, and what to do."""
    words = r'Asker asked about BTCUSDT.binance: prompt mood version 1, sample 0: headline "new"'
    with pytest.raises(MissingAnswer, match=words) as e:
        run({1: {"headline": "new"}}, {})
    assert "engine enrich LOG --strategy Asker" in e.value.hint
    assert "engine answers import" in e.value.hint
    assert "--answers default" in e.value.hint


def test_or_is_the_default_at_the_deadline() -> None:
    """As `answers` says; and they are counted."""
    asker, outcome = run({1: {"headline": "new"}}, {}, missing="default")
    assert heard(asker) == [(1, "deadline", False, 1.2)]
    assert outcome.runner.asking.figures.lacking == 1


# --- answers that are rows ---


def row(second: float, data: AnswerData) -> Message:
    """An ANSWER row."""
    line = Row(Kind.ANSWER, flags=Flag.LAST, data=encode_canonical(data), wire=b"{}")
    return Message(at(second), (line,))


def keyed(question: dict[str, Any], data: AnswerData, ticket: int) -> AnswerData:
    """With the key and ticket of a question."""
    from engine.answers.requests import request_of

    request = request_of(MOOD, {"headline": question.get("headline", "up")})
    return msgspec.structs.replace(data, key=request.key, ticket=ticket)


def test_without_a_source_answers_are_rows_and_questions_wait_to_be_taken() -> None:
    """The row names ticket and key; it is heard at its own time, late after the deadline."""
    rows = [BOOK, clock(1), row(1.15, keyed({}, answer(), 1)), clock(2), row(2.5, keyed({}, answer(), 2))]
    asker, outcome = run({1: {}, 2: {}}, None, rows)
    assert heard(asker) == [
        (1, "answered", False, 1.15),
        (2, "deadline", False, 2.2),
        (2, "answered", True, 2.5),
    ]
    waiting = outcome.runner.asking.outbox
    assert [(q.ticket, q.request.prompt, q.asked_ns) for q in waiting] == [
        (1, "mood", at(1)),
        (2, "mood", at(2)),
    ]


@pytest.mark.parametrize("other", ["ticket", "key", "again"])
def test_a_row_that_answers_nothing_open_is_counted_and_left(other: str) -> None:
    """Another ticket, another question's key, an answer that came already."""
    right = keyed({}, answer(), 1)
    wrong = {
        "ticket": msgspec.structs.replace(right, ticket=7),
        "key": keyed({"headline": "another"}, answer(), 1),
        "again": right,
    }[other]
    asker, outcome = run({1: {}}, None, [BOOK, clock(1), row(1.1, right), row(1.15, wrong), clock(2)])
    assert heard(asker) == [(1, "answered", False, 1.1)]
    assert outcome.runner.asking.figures.unasked == 1


@pytest.mark.parametrize("how", [{"batch_rows": 1}, {"batch_rows": 3}, {"chunk": 1}], ids=str)
def test_how_rows_are_cut_does_not_matter(how: dict[str, Any]) -> None:
    """One hash, from a source and from rows."""
    rows = [BOOK, clock(1), row(1.15, keyed({}, answer(), 1)), clock(2), row(2.5, keyed({}, answer(), 2))]
    asked: dict[float, dict[str, Any]] = {1: {}, 2: {}}
    assert run(asked, None, rows, **how)[1].hash == run(asked, None, rows)[1].hash
    answers = {"up": answer(after_ms=300)}
    assert run(asked, answers, **how)[1].hash == run(asked, answers)[1].hash


@pytest.mark.parametrize(
    "other",
    [{"headline": "down"}, {"sample": 1}, {"timeout": "300ms"}, {"default": Mood(0.1, "other")}],
    ids=lambda how: next(iter(how)),
)
def test_the_hash_covers_what_was_asked(other: dict[str, Any]) -> None:
    """Its text, its sample, its deadline, its default."""
    answers = {"up": answer(), "down": answer()}
    assert run({1: other}, answers)[1].hash != run({1: {}}, answers)[1].hash


# --- what an order was sent for ---


class Because(Asker):
    """Buys a second later, because of what it heard."""

    def on_answer(self, ctx: Any, answer: Answer) -> None:
        """Keep it, and act later."""
        self.heard.append(answer)
        if len(self.heard) == 2:
            ctx.at(at(3), "act")

    def on_timer(self, ctx: Any, name: str) -> None:
        """Act, or ask."""
        if name != "act":
            super().on_timer(ctx, name)
            return
        ctx.limit(ctx.instruments[0], 1, 98)
        with ctx.because(*(answer.ticket for answer in self.heard)):
            ctx.bracket(ctx.instruments[0], 1, 99, target=110, stop=90)
            ctx.limit(ctx.instruments[0], 1, 5_000)
        ctx.limit(ctx.instruments[0], 1, 97)


def test_orders_of_a_block_name_the_questions_that_they_were_sent_for() -> None:
    """A bracket's three orders and a limit; nothing before or after the block."""
    asker = Because({1: {}, 1.5: {}})
    outcome = run_engine(
        [BOOK, *(clock(second) for second in range(1, 5))], asker, settings(), answers=Store({"up": answer()})
    )
    sent = [(d.price, "because" in d.terms) for d in outcome.journal if d.kind == "submit"]
    assert sent == [(9800, False), (9900, True), (11000, True), (0, True), (500_000, True), (9700, False)]


class Nested(Because):
    """One block within another."""

    def on_timer(self, ctx: Any, name: str) -> None:
        """Act, or ask."""
        if name != "act":
            Asker.on_timer(self, ctx, name)
            return
        with ctx.because(1):
            ctx.limit(ctx.instruments[0], 1, 95)
            with ctx.because(2, 1):
                ctx.limit(ctx.instruments[0], 1, 96)
            ctx.limit(ctx.instruments[0], 1, 97)
        ctx.limit(ctx.instruments[0], 1, 98)


def test_a_block_within_a_block_names_the_questions_of_both() -> None:
    """What the outer one sent before and after it keeps its own."""
    outcome = run_engine(
        [BOOK, *(clock(second) for second in range(1, 5))],
        Nested({1: {}, 1.5: {}}),
        settings(),
        answers=Store({"up": answer()}),
    )
    sent = [d.terms for d in outcome.journal if d.kind == "submit"]
    assert ['"because":[1]' in sent[0], '"because":[1,2]' in sent[1], '"because":[1]' in sent[2]] == [
        True
    ] * 3
    assert "because" not in sent[3]


# --- mistakes ---


@pytest.mark.parametrize("ticket", [1, -1, "1", 10**30], ids=str)
def test_a_block_for_a_question_that_was_never_asked(ticket: Any) -> None:
    """It is a mistake, and would be a false trail."""

    def act(ctx: Any) -> None:
        with ctx.because(ticket):
            pass

    assert "no such question" in wrong(act)


def wrong(call: Callable[[Any], object], strategy: type[Strategy] = Asker) -> str:
    """What is said of a call that cannot be."""

    class Wrong(strategy):  # type: ignore[misc, valid-type]
        def on_timer(self, ctx: Any, _name: str) -> None:
            call(ctx)

    made = Wrong({1: {}}) if strategy is Asker else Wrong()
    with pytest.raises(EngineError) as refused:
        run_engine([BOOK, clock(1), clock(2)], made, settings())
    return str(refused.value)


class Deaf(Strategy):
    """Has no on_answer."""

    def on_start(self, ctx: Any) -> None:
        """One timer."""
        ctx.at(at(1), "ask")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda ctx: ctx.ask(MOOD), "headline is not given"),
        (lambda ctx: ctx.ask(MOOD, headline="x", colour=1), "no place for colour"),
        (lambda ctx: ctx.ask(MOOD, headline="x", timeout=0), "a timeout is positive"),
        (lambda ctx: ctx.ask(MOOD, headline="x", default=object()), "default="),
    ],
)
def test_a_question_that_cannot_be_is_refused(call: Callable[[Any], object], said: str) -> None:
    """Places, time, default."""
    assert said in wrong(call)


def test_who_asks_must_listen() -> None:
    """Without on_answer nobody would ever hear."""
    assert "the strategy has no on_answer" in wrong(lambda ctx: ctx.ask(MOOD, headline="x"), Deaf)


def test_two_samples_of_a_question_are_two_answers_in_their_order() -> None:
    """Both are kept under keys of their own, and each question gets its own, in this run and the next."""
    with TemporaryDirectory() as folder:
        store = AnswerStore(Path(folder))
        texts = [GLAD, '{"sentiment":-0.5,"topic":"other"}']
        for sample, text in enumerate(texts):
            request = request_of(MOOD, {"headline": "up"}, sample=sample)
            data = AnswerData(
                request.key, request.canonical().decode(), "answered", text=text, latency_ns=50 * MILLISECOND
            )
            store.add([stored(data, b"{}", 1)])
        asked: dict[float, dict[str, Any]] = {1: {"sample": 0}, 2: {"sample": 1}, 3: {"sample": 0}}
        rows = [BOOK, *(clock(second) for second in range(1, 11))]
        for _ in range(2):
            asker = Asker(asked)
            run_engine(rows, asker, settings(), answers=StoreSource(AnswerStore(Path(folder))))
            assert [a.value.sentiment for a in asker.heard] == [0.5, -0.5, 0.5]
            assert [a.ticket for a in asker.heard] == [1, 2, 3]
            assert len({a.key for a in asker.heard}) == 2
