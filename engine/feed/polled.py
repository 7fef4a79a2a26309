"""What whoever polls an address asks of the reader of its answers, whatever their format.

    body ──read──► what it says, or Malformed          pure; may run beside the event loop
                         │
                       take ──► rows: what is new      in the event loop, in the order of the answers

Reading is separate from taking because it may be long: a megabyte of XML keeps nobody from the market then.

A reader also says what is to be asked next, in the words of a query: where there is more of this answer, or
from when on something new is wanted. Most need no more than the address.

What the address answers is written once: an answer that says what the one before it said gives no row. A body
that cannot be read is one MALFORMED row, for as long as it is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from engine.feed.parser import Malformed, append_malformed
from engine.model.kinds import InstrumentData
from engine.model.rows import RowBuffer

_DIGEST_BYTES = 16


class Taken(msgspec.Struct):
    """What one answer came to, in rows. `readable`: it was what the format says."""

    new: int = 0
    revised: int = 0
    unchanged: int = 0
    malformed: int = 0
    other: int = 0  # rows about the answer: what is missing from it, a definition
    readable: bool = True
    more: bool = False  # the next query brings the rest of this answer

    @property
    def rows(self) -> int:
        """Rows that were appended."""
        return self.new + self.revised + self.malformed + self.other


class PolledParser(Protocol):
    """One address's answers, one after the other. Not for several threads but for `read`; reads no clock."""

    source: int  # the number of the SOURCE row that all rows name

    @property
    def instruments(self) -> Mapping[str, tuple[int, InstrumentData]]:
        """The definitions now in force, by symbol, each with its number in the log; of headlines, none."""

    def read(self, body: bytes) -> Any:
        """What an answer says. Raises Malformed, and nothing else, whatever an address can answer."""

    def contact(self, read: Any) -> None:
        """Take the very first answer as a proof that all is well; appends nothing. Raises UsageError."""

    def number(self, source: int, instrument: int) -> None:
        """Take a source's number, and the first one of the instruments."""

    def take(self, read: Any, body: bytes, stamp: Callable[[], int], rows: RowBuffer) -> Taken:
        """Append what is new; `stamp` gives each message its time."""

    def refuse(self, problem: Malformed, body: bytes, stamp: Callable[[], int], rows: RowBuffer) -> Taken:
        """Append the row of an answer that `read` refused."""

    def remember(self, data: bytes, ts_venue: int) -> None:
        """Know a row that an earlier recorder wrote. What is no such row is passed over."""

    def query(self) -> str:
        """What is to be asked beside what the address says: "" or `a=1&b=2`."""

    def lost(self) -> None:
        """A request failed: the next one asks anew, whatever there was more of."""


class Refusals:
    """Broken answers that were written down, so that none is written twice."""

    REMEMBERED = 64

    def __init__(self) -> None:
        self._seen: dict[bytes, None] = {}

    def refuse(
        self, problem: Malformed, body: bytes, source: int, stamp: Callable[[], int], rows: RowBuffer
    ) -> int:
        """Rows that were appended: one MALFORMED row, or none."""
        key = digest(b"malformed", body)
        known = key in self._seen
        self._seen.pop(key, None)
        self._seen[key] = None
        if len(self._seen) > self.REMEMBERED:
            del self._seen[next(iter(self._seen))]
        if known:
            return 0
        append_malformed(problem, body, stamp(), source, rows)
        return 1


def digest(kind: bytes, content: bytes) -> bytes:
    """Sixteen bytes that stand for a content; contents of several kinds do not meet."""
    return blake2b(content, digest_size=_DIGEST_BYTES, key=kind).digest()
