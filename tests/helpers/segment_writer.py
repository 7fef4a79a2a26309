"""A recorder without a venue: writes from file to file, rotates, and goes on after a restart.

Whoever appends rows keeps one RowBuffer for all of it. At a rotation the file gets its END row (reason
"rotation") and the next one begins with the definitions again, since numbers are local to a file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.log.reader import LogReader
from engine.log.schema import Batch, LogHeader
from engine.log.segments import DAILY, ROTATION, End, Rotation, following, next_path, segment_order
from engine.log.writer import LogWriter
from engine.model.errors import InputError
from engine.model.rows import RowBuffer


def end_of(path: Path) -> End:
    """Rows and chain head of a file's good part, sealed or not; a torn tail is not part of it.

    Raises InputError when the file is no log, DamagedLog when it is damaged.
    """
    reader = LogReader(path, ("flags",))
    if reader.sealed:
        return End(path, reader.header, reader.header.sealed_rows, reader.header.sealed_chain)
    for _batch in reader.batches():
        pass
    return End(path, reader.header, reader.next_seq, reader.chain_head)


def latest_end(folder: Path) -> End | None:
    """Where the newest readable recording in a folder ends; a file without a whole header is passed over."""
    for path in sorted(folder.glob("*.arrow"), key=segment_order, reverse=True):
        try:
            return end_of(path)
        except InputError:
            continue
    return None


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
        """Begin the first segment, after `previous` if there is one (see `end_of`).

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
