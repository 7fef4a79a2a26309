"""What an import asks of a file, whatever made it: a first look, then its rows as whole messages in order.

A source knows one file (LOBSTER: a pair). The import (`tabular`) gives it a number and the instruments'
units between the two steps, and merges what several sources yield.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.ingest.tabular_blocks import Block
from engine.ingest.tabular_lines import Placed, Tally
from engine.ingest.tabular_survey import Survey

FORMATS = ("auto", "table", "tardis", "lobster", "hftbacktest", "capture")


class Source(ABC):
    """One file to be imported."""

    path: Path
    name: str  # how messages call it
    kind: str  # what it holds, in the report and in its SOURCE row
    venue: str = ""  # whose data, where the file says so
    currency: str = ""  # of its prices, where the file says so
    needs_venue: bool = True
    rows_per_line: int = 1  # about, for progress
    unused: tuple[str, ...] = ()
    number: int = 0
    feed_latency_ns: int = 0
    placed: dict[str, Placed]
    tally: Tally

    @abstractmethod
    def look(self, undefined: Callable[[str], bool], progress: Callable[[int], None]) -> Survey:
        """Look through the file once. `undefined` tells for which symbols decimals are wanted.

        Raises InputError for what cannot be taken, and for a file without rows.
        """

    @abstractmethod
    def blocks(self, work: Path) -> Iterator[Block]:
        """The file's rows in order of time, as whole messages; `work` is a folder for what needs sorting."""
