"""A recording that goes on from file to file: rotation, and continuation after a restart.

Whoever appends rows keeps one RowBuffer for all of it. At a rotation the file gets its END row (reason
"rotation") and the next one begins with the definitions again, since numbers are local to a file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.log.schema import Batch, LogHeader
from engine.log.segments import DAILY, ROTATION, End, Rotation, following, next_path
from engine.log.writer import LogWriter
from engine.model.rows import RowBuffer


class SegmentWriter:
    """Writes segments into a folder. `rows` stays the same buffer; `writer` is the file of the moment."""

    def __init__(
        self,
        folder: Path,
        header: LogHeader,
        *,
        stamp: Callable[[], int],
        define: Callable[[RowBuffer], None],
        closed: Callable[[Path], object] | None = None,
        rotation: Rotation = DAILY,
        previous: End | None = None,
        fsync: bool = False,
    ) -> None:
        """Begin the first segment, after `previous` if there is one (see `segments.end_of`).

        stamp: the sequencer's. define: appends the SOURCE and INSTRUMENT rows that a file begins with.
        closed: called with each file that a rotation has ended, for instance `seal_in_background`.
        Raises as LogWriter does.
        """
        self.folder = folder
        self.rotation = rotation
        self.rows = RowBuffer()
        self._stamp = stamp
        self._define = define
        self._closed = closed
        self._fsync = fsync
        self._open(header if previous is None else following(header, previous))

    def _open(self, header: LogHeader) -> None:
        self._begun = self._stamp()
        path = next_path(self.folder, self._begun, self.rotation)
        self.writer = LogWriter(path, header, fsync=self._fsync)
        self.writer.rows = self.rows
        self._define(self.rows)
        self.writer.flush()

    @property
    def path(self) -> Path:
        """The file of the moment."""
        return self.writer.path

    def flush(self) -> Batch | None:
        """As LogWriter.flush."""
        return self.writer.flush()

    def rotate_if_due(self, now: int) -> bool:
        """Go on in the next file when this one is full or its time is over; whether that happened.

        To be called between messages. What stands in `rows` still goes into the file that ends.
        """
        if not self.rotation.is_due(self._begun, now, self.writer.bytes_written):
            return False
        ended = self.writer
        ended.close(reason=ROTATION, ts=self._stamp())
        end = End(ended.path, ended.header, ended.seq, ended.chain_head)
        self._open(following(ended.header, end))
        if self._closed is not None:
            self._closed(ended.path)
        return True

    def close(self, *, reason: str, ts: int) -> None:
        """End the recording: END row, flush, fsync. Does not seal."""
        self.writer.close(reason=reason, ts=ts)
