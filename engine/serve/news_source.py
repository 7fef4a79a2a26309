"""Where the local news endpoint's headlines come from: a table, or the NEWS rows of a log.

A table is a CSV file as `data/headlines` has them: `published` and `headline`, and if it likes `id`,
`source`, `symbols` (between spaces), `summary` and `url`. A log's headlines keep the order and the distances
in which they were received; a row that revises an earlier one is an edit of it.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import msgspec

import engine
from engine.model.errors import DecimalError, InputError
from engine.model.kinds import Kind, NewsData
from engine.model.units import NULL_TIME, parse_time

SHIPPED = "synthetic-2024-06-01.csv"
_NEEDED = ("published", "headline")
_ROWS_HINT = "its columns are described in data/headlines/README.md"


class Headline(NamedTuple):
    """One headline: when it came, when it was published, and what it says."""

    at_ns: int
    published_ns: int
    news: NewsData


class Headlines(NamedTuple):
    """All of them in the order in which they come, and what they are, for people."""

    items: list[Headline]
    description: str
    warning: str = ""


def shipped_headlines() -> Path:
    """The file that comes with the engine: inside an installed wheel, or at the top of a checkout."""
    package = Path(engine.__file__).parent
    for data in (package / "shipped" / "data", package.parent / "data"):
        if (data / "headlines" / SHIPPED).is_file():
            return data / "headlines" / SHIPPED
    raise InputError(f"data/headlines/{SHIPPED} is not installed", hint="name a file with --from")


def read_headlines(path: Path | None = None) -> Headlines:
    """The headlines of a table or a log; of the shipped table when none is named.

    Raises InputError, naming row and column, when there are none or they cannot be read.
    """
    if path is None:
        items = _of_table(shipped_headlines())
        return Headlines(items, f"{len(items)} invented headlines")
    if path.suffix.lower() == ".csv":
        items, warning = _of_table(path), ""
    else:
        items, warning = _of_log(path)
    if not items:
        raise InputError(f"{path}: it holds no headline", hint="engine log info says what a log holds")
    return Headlines(items, f"{len(items)} headlines of {path.name}", warning)


def _of_table(path: Path) -> list[Headline]:
    items: list[Headline] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, strict=True)
            missing = [name for name in _NEEDED if name not in (table.fieldnames or ())]
            if missing:
                raise InputError(
                    f"{path}: there is no column {' and no column '.join(missing)}", hint=_ROWS_HINT
                )
            for row in table:
                items.append(_of_row(row, f"{path}: line {table.line_num}", len(items) + 1))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8", hint="save it as UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path}: it is no CSV: {error}", hint=_ROWS_HINT) from None
    return sorted(items, key=lambda item: item.at_ns)


def _of_row(row: dict[str, str | None], where: str, number: int) -> Headline:
    def text(name: str) -> str:
        return (row.get(name) or "").strip()

    if not text("headline"):
        raise InputError(f"{where}: the headline is empty", hint=_ROWS_HINT)
    try:
        published = parse_time(text("published"))
    except DecimalError as error:
        raise InputError(f"{where}: published: {error.message}", hint=error.hint) from None
    news = NewsData(
        id=text("id") or f"line-{number}",
        headline=text("headline"),
        summary=text("summary"),
        source=text("source"),
        url=text("url"),
        symbols=tuple(text("symbols").split()),
    )
    return Headline(published, published, news)


def _of_log(path: Path) -> tuple[list[Headline], str]:
    from engine.log.reader import LogReader

    items: list[Headline] = []
    with LogReader(path, columns=("ts", "ts_venue", "kind", "data")) as reader:
        for batch in reader.batches():
            for row in (batch.kind == Kind.NEWS).nonzero()[0].tolist():
                try:
                    news = msgspec.json.decode(batch.data_at(row) or b"", type=NewsData)
                except msgspec.DecodeError as error:
                    raise InputError(
                        f"{path}: row {batch.first_seq + row}: its headline cannot be read: {error}",
                        hint="engine log check says whether the log is what was written",
                    ) from None
                ts, stamp = int(batch.ts[row]), int(batch.ts_venue[row])
                items.append(Headline(ts, ts if stamp == NULL_TIME else stamp, news))
        return items, reader.tail
