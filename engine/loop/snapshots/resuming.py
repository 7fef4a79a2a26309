"""Where a run begins that does not begin at its first row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from engine.execution.state import EQUITY
from engine.log.snapshots import Snapshot
from engine.loop.snapshots.again import fill
from engine.loop.snapshots.fields import layout
from engine.loop.snapshots.putting import put_engine
from engine.model.errors import InputError

if TYPE_CHECKING:
    from engine.loop.run import Runner


class Resume:
    """A snapshot that a run begins at.

    equity: the samples that were taken before it. parameters: of the strategy, that are others from here on;
    what on_start has made of them stays.
    """

    def __init__(
        self, snapshot: Snapshot, equity: bytes = b"", parameters: dict[str, Any] | None = None
    ) -> None:
        self.snapshot = snapshot
        self.form = snapshot.form
        self._equity: npt.NDArray[np.void] = np.frombuffer(equity, EQUITY)
        self._parameters = parameters or {}

    def put_back(self, runner: Runner) -> list[dict[str, Any]]:
        """Bring a fresh runner there; what was kept of its inputs.

        Raises StrategyError when the strategy cannot have the fields that it had, InputError when another
        engine took the snapshot.
        """
        rest = msgspec.msgpack.decode(self.snapshot.rest)
        if rest["layout"] != layout():
            raise InputError(
                "the snapshot was taken by an engine that keeps other fields",
                hint="run it from its beginning, or go on with the engine that it was run with",
            )
        put_engine(runner, msgspec.msgpack.decode(self.snapshot.engine), rest)
        runner.keeper.begin_equity(self._equity)
        strategy, instruments, context = runner.strategy, runner.registry.instruments, runner.context
        if self.form:
            fill(strategy, self.form, instruments, context)

        def fields() -> None:
            fill(strategy, self.snapshot.strategy, instruments, context)
            for name, value in self._parameters.items():
                setattr(strategy, name, value)

        runner.put_back(fields)
        return list(rest["inputs"])
