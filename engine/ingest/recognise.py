"""Which reader a file is for: told by its name or its first bytes where that is certain, else by --format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from engine.ingest.corporate import CorporateSource
from engine.ingest.hftbacktest import HftbacktestSource
from engine.ingest.hftbacktest_files import is_array_file, open_events
from engine.ingest.lobster import LobsterSource
from engine.ingest.lobster_files import Pair, is_lobster, pairs_of
from engine.ingest.sources import FORMATS, Source
from engine.ingest.tabular_columns import layout_of
from engine.ingest.tabular_files import open_table
from engine.ingest.tabular_source import TableSource
from engine.ingest.tabular_survey import TableOptions, plan_of
from engine.ingest.tabular_tardis import is_tardis
from engine.model.errors import UsageError


def open_sources(
    paths: Iterable[tuple[Path, str]], options: TableOptions, warn: Callable[[str], None]
) -> list[Source]:
    """A source for each file (LOBSTER: each pair), in the order they were named.

    Raises UsageError for a format that is none, or does not fit the file, InputError for a file that
    cannot be read.
    """
    if options.format not in FORMATS:
        raise UsageError(f"--format {options.format}: is no format", hint=f"known are {', '.join(FORMATS)}")
    given = list(paths)
    auto = options.format == "auto" and options.kind == "auto"  # a kind is one of a table
    lobster = [
        (path, name) for path, name in given if options.format == "lobster" or (auto and is_lobster(path))
    ]
    if options.by_order and not lobster:
        raise UsageError(
            "--by-order is for files of LOBSTER", hint="other files say themselves whether rows are orders"
        )
    sources: list[Source] = []
    for path, name in given:
        if (path, name) not in lobster:
            sources.append(_open_one(path, name, options, warn))
        elif (path, name) == lobster[0]:
            sources += [_lobster(pair, options) for pair in pairs_of(lobster)]
    return sources


def _lobster(pair: Pair, options: TableOptions) -> Source:
    if options.symbols and pair.symbol not in options.symbols:
        raise UsageError(
            f"{pair.messages.name}: is of {pair.symbol}, and --symbol names {', '.join(options.symbols)}",
            hint="the name says whose data these are: leave --symbol away",
        )
    return LobsterSource(pair, by_order=options.by_order)


def _open_one(path: Path, name: str, options: TableOptions, warn: Callable[[str], None]) -> Source:
    auto = options.format == "auto" and options.kind == "auto"
    if options.format == "hftbacktest" or (auto and is_array_file(path)):
        return HftbacktestSource(open_events(path, name), options.symbols)
    file = open_table(path, name)
    if options.format != "tardis" and not file.dump and not is_tardis(file.columns):
        layout = None
        if options.kind in {"auto", "corporate"}:
            layout = layout_of(name, file.columns, options.kind, options.columns)
        if layout is not None and layout.kind == "corporate":
            return CorporateSource(file, layout, options)
    return TableSource(plan_of(file, options, warn))
