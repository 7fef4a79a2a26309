"""`engine why RUN --trades`: every fill with what it was decided on, as lines, one object, or CSV."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from engine.cli.common import emit, note, relative
from engine.model.errors import EngineError, UsageError


def show_trades(run: Path, order: int | None, target: str, *, as_json: bool) -> None:
    """Print the trades of a run, or write them as CSV to a new file, or "-".

    Raises UsageError for options that do not go together and a file that is there already.
    """
    if order is not None:
        raise UsageError(
            f"--trades is of the whole run: {order} is one order",
            hint=f"engine why RUN {order}, or --trades without it",
        )
    if target == "-" and as_json:
        raise UsageError("--csv - and --json both print to stdout", hint="give one of them, or --csv FILE")
    path = None if target in ("", "-") else Path(target)
    if path is not None and path.exists():
        raise UsageError(f"{relative(path)}: exists already", hint="an export makes a new file: name another")
    from engine.report.trades import trades_of
    from engine.report.trades_text import csv_lines, trades_text

    trades = trades_of(run)
    for problem in trades.notes:
        note(f"note: {problem}")
    if path is not None:
        _write(path, csv_lines(trades.rows()))
        result = {"run": trades.run, "fills": trades.fills, "file": relative(path), "notes": trades.notes}
        fills = f"{trades.fills:,} fill{'' if trades.fills == 1 else 's'}"
        emit(result, as_json=as_json, text=f"{relative(path)}: {fills}")
    elif target:
        emit(None, as_json=False, text=lambda: "".join(csv_lines(trades.rows())))
    else:
        emit(
            {"run": trades.run, "notes": trades.notes, "trades": list(trades.rows()) if as_json else []},
            as_json=as_json,
            text=lambda: "\n".join(trades_text(trades.rows())) or "no fills",
        )


def _write(path: Path, parts: Iterator[str]) -> None:
    """A file that is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", newline="") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise EngineError(
            f"{relative(path)}: cannot be written: {error.strerror or error}",
            hint="name a file in a folder that is there and can be written to",
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
