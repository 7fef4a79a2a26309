"""Questions to Claude inside the loop: what was asked, when patience ends, and what came of it.

The loop never waits. A question is a decision like any other: it is in the journal, its key in the journal's
hash. What comes back is an event. Until then time goes on; at the deadline, which stands on the agenda, the
strategy gets the default that it named, and what comes later is delivered as late.

Where answers come from is one of two things, and the loop does not know more of them:

- rows (live, and any run of a session's own log again): an ANSWER row names the ticket and the key;
- a source, asked when the question is: its answer is delivered as long after the question as it took when it
  was recorded. What a source lacks is an error, or the default at the deadline, as the run is configured.

An answer is believed only as far as the prompt's type goes: whatever is not exactly that becomes the default,
with the reason in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from engine.answers.prompts import Prompt
from engine.answers.requests import Request, request_of
from engine.execution.journal_kinds import JournalKind
from engine.loop import adjusting
from engine.loop.caller import Caller
from engine.loop.keeping import Keeper
from engine.loop.memory import Memory
from engine.model.errors import MissingAnswer, UsageError
from engine.model.instruments import Instrument, Registry
from engine.model.kinds import AnswerData, encode_canonical
from engine.model.units import SECOND_NS
from engine.strategy.api import Answer

TRIGGER_ANSWER = 5
DEADLINE, MISSING, INVALID, ANSWERED = "deadline", "missing", "invalid", "answered"
OTHER_WAYS = (
    "engine answers import SESSION_LOG brings in what a session was answered; --answers default lets the "
    "strategy have its default"
)
_LONGEST_NS = 86_400 * SECOND_NS
_SHOWN = 120  # characters of a question's field in a message


class AnswerSource(Protocol):
    """Where a backtest's answers come from."""

    def find(self, request: Request) -> AnswerData | None:
        """The answer that is recorded for a request, None when there is none."""


@dataclass(frozen=True)
class Question:
    """What leaves the loop: for whoever asks Claude."""

    ticket: int
    request: Request
    asked_ns: int


@dataclass
class _Open:
    """A question that has no answer yet."""

    ticket: int
    prompt: Prompt
    key: str
    about: Instrument | None
    default: Any
    asked_ns: int
    found: bool = False  # in the source
    expired: bool = False


class Figures(msgspec.Struct):
    """What the questions of a run came to."""

    asked: int = 0
    models: dict[str, int] = {}  # how often each was asked
    outcomes: dict[str, int] = {}  # what the strategy was told first: the answer's, or "deadline"
    late: int = 0  # answers after the default
    cost_nano_usd: int = 0  # of the answers that came, when they were bought
    unasked: int = 0  # ANSWER rows that answer no open question of this run
    lacking: int = 0  # questions that the source had no answer to


class Asking:
    """The questions of one run."""

    def __init__(
        self,
        caller: Caller,
        memory: Memory,
        registry: Registry,
        keeper: Keeper,
        *,
        name: str,
        source: AnswerSource | None,
        missing: str,
    ) -> None:
        """`missing` is "error" or "default": what a question is that the source has no answer to."""
        self.outbox: list[Question] = []  # without a source: questions that nobody has taken yet
        self.figures = Figures()
        self._caller = caller
        self._memory = memory
        self._registry = registry
        self._keeper = keeper
        self._name = name
        self._source = source
        self._missing = missing
        self._on_answer = caller.handler("on_answer")
        self._open: dict[int, _Open] = {}
        self._due: dict[int, list[tuple[int, AnswerData | None]]] = {}  # None: the deadline

    @property
    def open(self) -> int:
        """Questions that have no answer yet."""
        return len(self._open)

    # --- asking ---

    def ask(
        self,
        prompt: Prompt,
        fields: dict[str, object],
        *,
        about: Instrument | None,
        timeout_ns: int,
        default: Any,
        sample: int,
    ) -> int:
        """Ask, and go on; the ticket. The state stands where the strategy's event is."""
        if self._on_answer is None:
            raise UsageError(
                f"ask({prompt.name}): the strategy has no on_answer",
                hint="def on_answer(self, ctx, answer): ...",
            )
        if not self._registry.instruments:
            raise UsageError(f"ask({prompt.name}): no instrument is known yet")
        if not 0 < timeout_ns <= _LONGEST_NS:
            raise UsageError(
                f"ask({prompt.name}, timeout=...): a timeout is positive, and a day at most",
                hint='timeout="200ms"',
            )
        request = request_of(prompt, fields, sample=sample)
        figures = self.figures
        figures.asked += 1
        figures.models[prompt.model] = figures.models.get(prompt.model, 0) + 1
        now = self._memory.get("now")
        one = _Open(figures.asked, prompt, request.key, about, default, now)
        self._record(one, timeout_ns)
        self._open[one.ticket] = one
        found = None if self._source is None else self._source.find(request)
        if found is None or found.latency_ns >= timeout_ns:  # or the deadline would find nothing to do
            self._schedule(now + timeout_ns, one.ticket, None)
        if self._source is None:
            self.outbox.append(Question(one.ticket, request, now))
            return one.ticket
        if found is not None:
            one.found = True
            self._schedule(now + max(1, found.latency_ns), one.ticket, found)
            return one.ticket
        figures.lacking += 1
        if self._missing == "error":
            words = ", ".join(f'{name} "{_short(str(value))}"' for name, value in fields.items())
            where = "" if about is None else f" about {about.key}"
            raise MissingAnswer(
                f"no answer is recorded for what {self._name} asked{where}: prompt {prompt.name} "
                f"version {prompt.version}, sample {sample}: {words}",
                hint=f"engine enrich LOG --strategy {self._name} buys all that is missing; {OTHER_WAYS}",
            )
        return one.ticket

    def _record(self, one: _Open, timeout_ns: int) -> None:
        """A decision; what it says stands in its terms."""
        try:
            default = msgspec.to_builtins(one.default)
            terms = {
                "about": "" if one.about is None else one.about.key,
                "default": default,
                "key": one.key,
                "prompt": one.prompt.name,
                "ticket": one.ticket,
                "timeout": timeout_ns,
                "version": one.prompt.version,
            }
            text = encode_canonical(terms).decode()
        except TypeError as error:
            raise UsageError(
                f"ask({one.prompt.name}, default={one.default!r}): {error}",
                hint="a number, a text, or an instance of the prompt's answer",
            ) from None
        memory = self._memory
        if memory.get("journal_count") >= memory.get("journal_capacity") - 1:
            self._keeper.drain_journal()
        index = 0 if one.about is None else one.about.index
        adjusting.note(memory.address, JournalKind.ASK, index)
        self._keeper.say_terms(memory.get("decisions"), text)

    def _schedule(self, due: int, ticket: int, data: AnswerData | None) -> None:
        memory = self._memory
        if due not in self._due:
            if memory.get("item_free_count") < 4:
                memory.grow_items(64)
            adjusting.schedule(memory.address, due)
        self._due.setdefault(due, []).append((ticket, data))

    # --- answers ---

    def due(self, now: int) -> None:
        """Deliver what was scheduled for this time, in the order in which it was."""
        for ticket, data in self._due.pop(now, ()):
            one = self._open.get(ticket)
            if one is None:
                continue
            if data is not None:
                self._deliver(one, data)
            elif not one.expired:
                one.expired = True
                if self._source is not None and not one.found:
                    del self._open[ticket]  # what is recorded nowhere cannot come later
                self._call(one, one.default, DEADLINE, "no answer by the deadline", late=False)

    def row(self, data: AnswerData) -> None:
        """An ANSWER row. One that answers nothing that is open here is counted and left."""
        one = self._open.get(data.ticket)
        if self._source is not None or one is None or one.key != data.key:
            self.figures.unasked += 1
            return
        self._deliver(one, data)

    def _deliver(self, one: _Open, data: AnswerData) -> None:
        del self._open[one.ticket]
        self.figures.cost_nano_usd += data.cost_nano_usd
        value, outcome, reason = read_answer(one.prompt, data, one.default)
        self._call(one, value, outcome, reason, late=one.expired)

    def _call(self, one: _Open, value: Any, outcome: str, reason: str, *, late: bool) -> None:
        assert self._on_answer is not None
        memory = self._memory
        if late:
            self.figures.late += 1
        else:
            self.figures.outcomes[outcome] = self.figures.outcomes.get(outcome, 0) + 1
        memory.set("trigger", TRIGGER_ANSWER)
        memory.set("trigger_id", one.ticket)
        now = memory.get("now")
        answer = Answer(
            one.ticket, one.about, value, outcome, reason, late, one.prompt.name, one.key, one.asked_ns, now
        )
        self._caller.call(self._on_answer, answer)

    # --- snapshots ---

    def kept(self) -> dict[str, Any]:
        """Their figures, as plain values; open ones cannot be kept (`open`)."""
        kept: dict[str, Any] = msgspec.to_builtins(self.figures)
        return kept

    def put_back(self, kept: dict[str, Any]) -> None:
        """Take what `kept` gave in another process."""
        self.figures = msgspec.convert(kept, Figures)


def read_answer(prompt: Prompt, data: AnswerData, default: Any) -> tuple[Any, str, str]:
    """What an answer is worth to the strategy: value, outcome, and why it is the default, if so."""
    if data.outcome != ANSWERED:
        return default, data.outcome, data.error
    try:
        return msgspec.json.decode(data.text, type=prompt.answer), ANSWERED, ""
    except msgspec.DecodeError as error:  # a value outside its range, too
        return default, INVALID, str(error)


def _short(text: str) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
