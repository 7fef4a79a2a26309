"""A run's trades as CSV and as lines.

CSV will be opened in a spreadsheet, which takes a cell that begins with = + - @ for a formula, whoever wrote
it. So a cell that can hold others' words gets an apostrophe before such a beginning; numbers and times stay
as they are. There a lone carriage return begins a row as well, so a cell with one stands in quotes: not every
Python's own writer does that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from engine.report.trades import COLUMNS

# The engine's own; a negative fee is no formula.
_OWN = frozenset(
    (
        *(
            "order",
            "fill",
            "decision",
            "time",
            "side",
            "size",
            "price",
            "fee",
            "liquidity",
            "decided",
            "trigger",
        ),
        *(
            "message_seq",
            "code",
            "parameters",
            "ticket",
            "asked",
            "published",
            "received",
            "prompt_version",
            "key",
        ),
    )
)
_SPECIAL = re.compile('[,"\r\n]')
_UNSEEN = "".join(map(chr, (*range(9), *range(14, 33), 127, 0xA0, 0x200B, 0xFEFF)))  # before a beginning
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def csv_lines(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A header and a line for each row; a line has line breaks where a cell has."""
    yield ",".join(COLUMNS) + "\n"
    for row in rows:
        cells = (str(row[name]) if name in _OWN else harmless(str(row[name])) for name in COLUMNS)
        yield ",".join(_quoted(cell) for cell in cells) + "\n"


def _quoted(cell: str) -> str:
    """A cell in quotes, where it needs them."""
    return '"' + cell.replace('"', '""') + '"' if _SPECIAL.search(cell) else cell


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip(_UNSEEN).startswith(_FORMULA) else text


def trades_text(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A line for each fill, and lines below it for each question that shaped its order."""
    fill = None
    for row in rows:
        if row["decision"] != fill:
            fill = row["decision"]
            yield (
                f"{row['time']}  order {row['order']} fill {row['fill']}  {row['instrument']}  {row['side']} "
                f"{row['size']} @ {row['price']}  {row['liquidity']}  fee {row['fee']} {row['fee_asset']}  "
                f"decided {row['decided'] or 'unknown'} on {_cause(row)}"
            )
        if row["ticket"] != "":
            said = _said("", row["rationale"] or row["answer"])
            yield (
                f"    question {row['ticket']}, prompt {row['prompt']} version {row['prompt_version']}"
                f"{_said(' on', row['headline'])}: {row['outcome']}{said}"
            )


def _cause(row: dict[str, Any]) -> str:
    if row["message_seq"] == "":
        return str(row["trigger"] or "nothing known")
    return f"{row['trigger']} ({row['message_file']} seq {row['message_seq']})"


def _said(before: str, text: str) -> str:
    """Others' words on one line, without what a terminal would obey."""
    if not text:
        return ""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return f'{before} "{line}"'
