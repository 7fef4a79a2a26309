"""Answers for a backtest, bought while it runs: what the store lacks is asked there and then.

The loop's time stands still meanwhile: it calls `find` and gets what came of the question, and delivers it as
long after the question as the asking took. All rules are the edge's (retries, breaker, budgets, one call for
one question), which runs in an event loop of its own in the same thread. An answer is on the disk before the
loop goes on. What is no answer is kept in the run's folder, so that the run can be verified without asking.

Nothing is opened, imported or looked at before the first question that the store cannot answer.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from engine.answers.purchases import Purchases
from engine.answers.requests import Request
from engine.answers.source import RUN_ANSWERS, StoreSource, Unanswered, keep_unanswered
from engine.answers.store import AnswerStore
from engine.answers.stored import KEPT_OUTCOMES, stored
from engine.live.asking import Clocks, Edge
from engine.live.asking_client import AskingConfig
from engine.live.spending import spending_of
from engine.model.errors import EngineError, UsageError
from engine.model.kinds import AnswerData


class CallingSource(StoreSource):
    """Looks answers up, and asks for those that are not there. `close` at the end, however it comes."""

    def __init__(
        self,
        store: AnswerStore,
        config: AskingConfig,
        run: Path,
        *,
        clocks: Clocks | None = None,
    ) -> None:
        """`run` is the run's folder."""
        super().__init__(store)
        self.unanswered: list[AnswerData] = []
        self._bought = Purchases(store)
        self._mine: dict[str, AnswerData] = {}  # what was bought, by key
        self._times: dict[str, int] = {}  # by key: how often it was asked
        self._config = config
        self._clocks = clocks or Clocks()
        self._run = run
        self._edge: Edge | None = None
        self._runner = asyncio.Runner()
        self._delivered: asyncio.Future[tuple[AnswerData, bytes | None]] | None = None
        self._tickets = 0

    @property
    def bought(self) -> int:
        """How many answers were bought."""
        return len(self._bought.answers)

    @property
    def spent_nano_usd(self) -> int:
        """What was spent, on what came to nothing as well."""
        return 0 if self._edge is None else self._edge.budget.spent

    @property
    def warnings(self) -> list[str]:
        """What was asked for nothing, and that it could not be written down what was spent."""
        said = []
        if self.unanswered:
            counts: dict[str, int] = {}
            for data in self.unanswered:
                counts[data.outcome] = counts.get(data.outcome, 0) + 1
            what = ", ".join(f"{name} {count:,}" for name, count in counts.items())
            said.append(f"questions without an answer: {what}; the first: {self.unanswered[0].error}")
        if self._edge is not None and self._edge.claims.problem:
            said.append(self._edge.claims.problem)
        return said

    def find(self, request: Request) -> AnswerData:
        """What came of the question: from the store, or just now.

        Raises EngineError where nothing can be asked: no package, no key, no price; and where what was
        bought cannot be written.
        """
        key = request.key
        time_of_asking = self._times[key] = self._times.get(key, 0) + 1
        found = self._mine.get(key) or super().find(request)
        if found is not None:
            return found
        data, wire = self._runner.run(self._ask(request))
        if data.outcome in KEPT_OUTCOMES:
            answer = stored(data, wire, self._clocks.now())
            self._mine[key] = answer.data
            self._bought.put(answer)
            return answer.data
        data = msgspec.structs.replace(data, ticket=0)
        self.unanswered.append(data)
        keep_unanswered(self._run, Unanswered(time_of_asking, data, wire or b""))
        return data

    def keep(self, run: Path) -> None:
        """As a store's, with what was bought. Raises EngineError."""
        super().keep(run)
        if self._bought.answers:
            AnswerStore(run / RUN_ANSWERS).add(self._bought.answers)

    def close(self) -> None:
        """End the connection, and put what was bought into the store. Raises EngineError."""
        try:
            if self._edge is not None:
                self._runner.run(self._edge.aclose())
        finally:
            self._runner.close()
            self._bought.close()

    async def _ask(self, request: Request) -> tuple[AnswerData, bytes | None]:
        self._delivered = asyncio.get_running_loop().create_future()
        self._tickets += 1
        try:
            if self._edge is None:
                spending = spending_of(self._config)
                self._edge = Edge(self._config, self._deliver, clocks=self._clocks, spending=spending)
                self._edge.open()  # takes a while, which is no part of an answer's latency
            self._edge.ask(self._tickets, request, self._clocks.now())
        except UsageError as error:
            # Of whoever runs it, not of the strategy in which it happens.
            raise EngineError(error.message, hint=error.hint) from None
        return await self._delivered

    def _deliver(self, data: AnswerData, wire: bytes | None) -> None:
        # What was interrupted is delivered at the end, when nobody waits for it any more.
        if self._delivered is not None and not self._delivered.done() and data.ticket == self._tickets:
            self._delivered.set_result((data, wire))
