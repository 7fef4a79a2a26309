"""The engine's live path with the order written to a socket instead of staying in the simulated venue.

    python -m bench.live_loop PORT LOG [CLAUDE_URL OPEN]

With an address of Claude the strategy also keeps so many questions open there.

Intake, log writer, runner and journal as a paper session puts them together: after every read of the socket
the new rows are flushed to the log, the loop steps over them, what it decided is written out, journal first.
Ends when the venue closes. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from bench.common import ROOT
from engine.config import Latency, RunConfig
from engine.execution.journal_kinds import JournalKind
from engine.live.asking_client import AskingConfig
from engine.live.asking_process import AskingProcess
from engine.live.clock import Sequencer
from engine.live.intake import Intake
from engine.live.scheduling import shorten_slices
from engine.live.tap import TapConfig
from engine.log.journal import Journal
from engine.log.schema import Batch, LogHeader
from engine.log.writer import LogWriter
from engine.loop.run import Runner
from engine.loop.source import Numbering
from engine.model.kinds import AnswerData, Flag, Kind, encode_canonical
from engine.model.rows import RowBuffer
from engine.strategy.loader import load_strategy

LAST = int(Flag.LAST)


class NotedJournal(Journal):
    """A journal that remembers which rows caused new orders, until they have been written out."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.causes: list[int] = []

    def append(
        self,
        records: npt.NDArray[np.void],
        keys: Sequence[str],
        terms: npt.NDArray[np.void] | None = None,
        said: dict[int, str] | None = None,
    ) -> None:
        """Take decided records, and note the orders among them."""
        super().append(records, keys, terms, said)
        self.causes += records["cause_seq"][records["kind"] == int(JournalKind.SUBMIT)].tolist()


class LiveLoop:
    """One session: rows in from the tap, orders out to a socket."""

    def __init__(
        self, port: str, log: Path, orders: ClientConnection, claude_url: str = "", open_questions: int = 0
    ) -> None:
        self._rows = RowBuffer()
        self._log = log
        self._writer: LogWriter | None = None
        self._orders = orders
        self.journal = NotedJournal(log.with_suffix(".journal"))
        config = RunConfig(latency=Latency(0, 0, 0))
        strategies = ROOT / "bench" / "strategies"
        self._edge: AskingProcess | None = None
        if claude_url:
            loaded = load_strategy(str(strategies / "echo_asking.py"), [f"open={open_questions}"])
            asking = AskingConfig(claude_url, concurrency=open_questions, limit_s=60.0, read_s=60.0)
            self._edge = AskingProcess(asking, self._answered)
            self._edge.wait_until_ready()
        else:
            loaded = load_strategy(str(strategies / "echo.py"))
        self.most_open = 0
        self.runner = Runner(config, loaded, self.journal)
        self._numbering = Numbering(log.name, self.runner.define)
        self.orders_sent = 0
        tap = TapConfig(symbols=("BTCUSDT",), channels=("trade",), url=f"ws://127.0.0.1:{port}")
        self._sequencer = Sequencer()
        self._intake = Intake((tap,), (), self._sequencer, self._rows, self._take)

    async def run(self) -> None:
        """Until the venue closes; the tap would come back, so its loss is the end here."""
        header = LogHeader(engine="bench", created="2024-01-01T00:00:00Z", venues=("binance",))
        with LogWriter(self._log, header) as self._writer:
            self._writer.rows = self._rows
            await self._intake.start()
            running = asyncio.ensure_future(self._intake.run())
            await self._orders.wait_closed()
            if self._edge is not None:
                await self._edge.aclose()
            await self._intake.stop()
            await running
            self._writer.close(reason="bench", ts=self._sequencer.stamp())
        self.runner.finish()

    def _take(self) -> None:
        """Log, step, journal, send: in that order."""
        assert self._writer is not None
        self._intake.judge()
        batch = self._writer.flush()
        if batch is None:
            return
        for part in self._numbering.split(batch):
            self.runner.feed(part)
        self.runner.flush_journal()
        if self.journal.causes:
            self._send(batch)
        outbox = self.runner.asking.outbox
        if outbox and self._edge is not None:
            for question in outbox:
                self._edge.ask(question.ticket, question.request, question.asked_ns)
            outbox.clear()
        if self._edge is not None:
            self.most_open = max(self.most_open, self._edge.open)

    def _answered(self, data: AnswerData, wire: bytes | None) -> None:
        """An answer becomes a row, and a turn of the loop."""
        if self._orders.state is State.OPEN:
            text = encode_canonical(data)
            self._rows.append(self._sequencer.stamp(), Kind.ANSWER, flags=LAST, data=text, wire=wire)
            self._take()

    def _send(self, batch: Batch) -> None:
        ids = batch.id[np.array(self.journal.causes) - batch.first_seq].tolist()
        self.orders_sent += len(ids)
        self.journal.causes.clear()
        text = ",".join(map(str, ids)).encode()
        self._orders.transport.write(Frame(Opcode.TEXT, text).serialize(mask=True))


async def main() -> None:
    """Connect the order socket, run, print."""
    port, log = sys.argv[1], Path(sys.argv[2])
    shorten_slices()  # as `engine live` does
    options: dict[str, Any] = {"compression": None, "ping_interval": None, "proxy": None}
    async with connect(f"ws://127.0.0.1:{port}/orders", **options) as orders:
        asking = (sys.argv[3], int(sys.argv[4])) if len(sys.argv) > 3 else ()
        loop = LiveLoop(port, log, orders, *asking)
        await loop.run()
    figures = loop.runner.asking.figures
    print(
        json.dumps(
            {
                "events": loop.runner.rows,
                "orders": loop.orders_sent,
                "asked": figures.asked,
                "answered": figures.outcomes.get("answered", 0),
                "most_open": loop.most_open,
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
