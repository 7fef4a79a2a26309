"""A CSV or Parquet table as a source of an import."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from engine.ingest.sources import Source
from engine.ingest.tabular_blocks import Block
from engine.ingest.tabular_lines import FilePlan
from engine.ingest.tabular_order import book_messages, sorted_blocks
from engine.ingest.tabular_rows import block_of
from engine.ingest.tabular_survey import Survey, survey
from engine.ingest.tabular_tardis import continued_snapshots
from engine.model.errors import InputError

_ROWS_PER_LINE = {"quotes": 2, "bars": 4}


class TableSource(Source):
    """One table, with everything that was settled about it in its plan."""

    def __init__(self, plan: FilePlan) -> None:
        self.plan = plan
        self.path, self.name, self.kind = plan.file.path, plan.file.name, plan.layout.kind
        self.unused = plan.layout.unused
        self.tally = plan.tally
        self.rows_per_line = _ROWS_PER_LINE.get(self.kind, 1)
        self.needs_venue = self.kind != "news"
        self.venue = "binance" if plan.file.dump else _exchange_of(plan) if plan.layout.tardis else ""
        self._sort = False

    def look(self, undefined: Callable[[str], bool], progress: Callable[[int], None]) -> Survey:
        """Survey the table; a Tardis file says whose data it holds."""
        found = survey(self.plan, undefined, progress)
        self._sort = bool(found.out_of_order)
        if self._sort and self.kind == "book states":
            raise InputError(
                f"{self.name}: {found.out_of_order} rows stand after a later one",
                hint="changes between states follow from their order: sort the file by its local_timestamp",
            )
        return found

    def blocks(self, work: Path) -> Iterator[Block]:
        """Chunks to rows, in order, as messages."""
        plan = self.plan
        plan.source, plan.placed = self.number, self.placed
        folder = work / f"sort-{self.number}"
        blocks: Iterator[Block] = (block_of(chunk, plan) for chunk in plan.file.chunks(plan.columns()))
        if self._sort:
            folder.mkdir()
            blocks = sorted_blocks(blocks, folder)
        if self.kind == "book":
            fields = plan.layout.fields
            blocks = book_messages(blocks, marked="last" in fields, name=self.name, cleared="flags" in fields)
            if plan.layout.tardis:
                blocks = continued_snapshots(blocks)
        yield from blocks
        with suppress(OSError):
            folder.rmdir()


def _exchange_of(plan: FilePlan) -> str:
    """What the first row of a Tardis file says; that the others say the same is seen later."""
    for chunk in plan.file.chunks(["exchange"]):
        if len(chunk):
            column = chunk.column("exchange")
            column.require()
            return str(column.values[0].as_py())
    raise InputError(f"{plan.file.name}: holds no rows")
