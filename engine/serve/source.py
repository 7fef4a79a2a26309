"""Where a local venue's events come from.

A source knows its instruments (what exchangeInfo says, and in `channels` which streams it has itself) and
gives its events once, in time order, lazily. The synthetic market is one; a recording is the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from engine.model.kinds import InstrumentData
from engine.serve.synthetic import Event


class Source(Protocol):
    """What the local venue needs of a source."""

    instruments: Sequence[InstrumentData]
    description: str

    def events(self) -> Iterator[Event]:
        """All events, oldest first; `<symbol>@snapshot` sets a book and is shown to nobody."""
        ...
