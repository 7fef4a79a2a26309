"""What holds of every parser whatever arrives: checks that a venue's tests call with frames of their own.

A frame gives at least one row and whole messages, of kinds that are documented, and stands once on the first
row of its message. What breaks the protocol gives one MALFORMED row and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Protocol

from hypothesis import strategies as st

from engine.model.kinds import Flag, Kind, SourceData
from engine.model.rows import RowBuffer
from tests.helpers.frames import REST, TS, Row, rows_of

# What any frame may become, beside the kinds of the venue's data.
ANY_FRAME = frozenset({Kind.STATUS, Kind.CONTROL, Kind.MALFORMED, Kind.INSTRUMENT})

# Anything that JSON can hold.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def damaged_frames(draw: st.DrawFn, known: Iterable[bytes]) -> list[bytes]:
    """Some known frames, then one with bytes changed, cut out or put in."""
    frames = st.sampled_from(list(known))
    before, damaged = draw(st.lists(frames, max_size=3)), bytearray(draw(frames))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(damaged) - 1, 0)))
        damaged[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return [*before, bytes(damaged)]


class Fed(Protocol):
    """A parser."""

    def feed(self, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """As engine.feed.parser has it."""

    def feed_rest(self, source: SourceData, body: bytes, ts: int, rows: RowBuffer, number: int) -> None:
        """Likewise."""


def check_outcome(target: Fed, frame: bytes, documented: Collection[Kind]) -> list[Row]:
    """At least one row; whole messages; the frame once, on its message's first row. Gives the rows."""
    rows = RowBuffer()
    target.feed(frame, TS, rows)
    made = rows_of(rows)
    assert made
    assert {row.kind for row in made} <= set(documented)
    assert made[-1].flags & Flag.LAST
    assert rows.wire == [frame]
    if any(row.kind is Kind.MALFORMED for row in made):
        assert len(made) == 1
    return made


def check_cut(target: Fed, frame: bytes) -> None:
    """A frame cut at every byte is one MALFORMED row with what came."""
    for length in range(len(frame)):
        rows = RowBuffer()
        target.feed(frame[:length], TS, rows)
        (row,) = rows_of(rows)
        assert (row.kind, row.flags, row.instrument) == (Kind.MALFORMED, Flag.LAST, 0), length
        assert rows.wire == [frame[:length]]
        assert row.data["error"]


def check_refused(row: Row, source: int, said: dict[str, Any]) -> None:
    """A MALFORMED row of a source says what is wrong, and carries the frame."""
    assert (row.kind, row.flags, row.source, row.wire) == (Kind.MALFORMED, Flag.LAST, source, True)
    assert row.data == said


def check_rest(target: Fed, source: SourceData, body: bytes, documented: Collection[Kind]) -> None:
    """A REST answer that nobody can use is one row that keeps it."""
    rows = RowBuffer()
    target.feed_rest(source, body, TS, rows, REST)
    (row,) = rows_of(rows)
    assert row.kind in documented
    assert row.wire
