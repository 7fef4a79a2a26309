"""A journal whose hashing and writing run beside the loop, in one thread, in the order they were handed over.

For runs over recordings, where nothing outside waits for a decision to be on disk. A live session writes
before anything takes effect and uses Journal itself. The hash and the bytes are the same: it is the same
journal, only called by another thread. What fails there is raised at the next call, and at the latest by
`flush` and `close`, which wait for all that was handed over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.log.journal import Journal

_WAITING = 8  # calls that may wait; a loop that is faster than the disk waits, too

Call = tuple[Callable[..., Any], tuple[Any, ...]]


class BackgroundJournal(Journal):
    """A Journal with the same promises, but for when its bytes are with the operating system."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._calls: Queue[Call | None] = Queue(_WAITING)
        self._raised: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                if self._raised is None:
                    call[0](*call[1])
            except BaseException as error:  # noqa: BLE001  raised again by whoever calls next
                self._raised = error
            finally:
                self._calls.task_done()
        self._calls.task_done()

    def _hand_over(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._fail()
        self._calls.put((function, arguments))

    def _fail(self) -> None:
        if self._raised is not None:
            raise self._raised

    def explain(self, number: int, text: str) -> None:
        """As Journal.explain."""
        self._hand_over(super().explain, number, text)

    def line(self, ts: int, file: int, cause_seq: int, text: str) -> None:
        """As Journal.line."""
        self._hand_over(super().line, ts, file, cause_seq, text)

    def append(
        self,
        records: npt.NDArray[np.void],
        keys: Sequence[str],
        terms: npt.NDArray[np.void] | None = None,
        said: dict[int, str] | None = None,
    ) -> None:
        """As Journal.append; the records are this journal's from now on."""
        if len(records):
            self._hand_over(super().append, records, tuple(keys), terms, said)

    def mark(self, take: Callable[[int, int, str], None]) -> None:
        """As Journal.mark; `take` is called by the thread."""
        self._hand_over(super().mark, take)

    def begin_with(self, table: pa.Table) -> None:
        """As Journal.begin_with."""
        self._hand_over(super().begin_with, table)

    def flush(self) -> None:
        """As Journal.flush, after everything that was handed over."""
        self._hand_over(super().flush)
        self._calls.join()
        self._fail()

    def close(self) -> str:
        """As Journal.close, after everything that was handed over."""
        self._calls.put(None)
        self._thread.join()
        raised, self._raised = self._raised, None
        head = super().close()
        if raised is not None:
            raise raised
        return head
