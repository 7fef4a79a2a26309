"""`engine answers import | export | verify`: answers into the store and out, and whether they are whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from engine.cli.answers_list import SHOWN, folder_option, many, store_in
from engine.cli.common import emit, json_option, relative, warn
from engine.model.errors import UsageError

if TYPE_CHECKING:
    from engine.answers.checking import StoreReport
    from engine.answers.stored import StoredAnswer
    from engine.ingest.answers import FileReport, ImportReport


# -------------------------------------------------------------------------------------------- import


@click.command("import")
@click.argument("logs", nargs=-1, required=True, metavar="LOG...")
@folder_option
@json_option
def import_(logs: tuple[str, ...], folder: Path, *, as_json: bool) -> None:
    """Add the answers of logs, or of files that export wrote, to the store.

    What is there already is not added again; the logs stay as they are.
    """
    from engine.ingest.answers import import_answers
    from engine.log.segments import expand

    report = import_answers(store_in(folder), [(path, relative(path)) for path in expand(logs)])
    report.folder, report.files = relative(report.folder), [relative(path) for path in report.files]
    for log in report.logs:
        if log.tail:
            warn(f"{log.file}: {log.tail}")
    emit(
        {**msgspec.to_builtins(report), "added": report.added},
        as_json=as_json,
        text=lambda: _import_text(report),
    )


def _import_text(report: ImportReport) -> str:
    lines = [_log_text(log) for log in report.logs]
    lines += [f"written to {path}" for path in report.files]
    if not report.files:
        lines.append(f"{report.folder}: nothing to add")
    return "\n".join(lines)


def _log_text(log: FileReport) -> str:
    text = f"{log.file}: {many(log.answers, 'answer')}, {log.added:,} added, {log.known:,} known already"
    if log.doubles:
        text += f", {log.doubles:,} beside another answer to the same question"
    if log.left_out:
        left = ", ".join(f"{name} {count:,}" for name, count in sorted(log.left_out.items()))
        text += f"; not answers: {left}"
    return text


# -------------------------------------------------------------------------------------------- export


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@folder_option
@click.option("--prompt", default="", metavar="NAME", help="Of this prompt only.")
@json_option
def export(file: Path, folder: Path, prompt: str, *, as_json: bool) -> None:
    """Write all answers into one new file, which import takes, and polars and DuckDB read."""
    from engine.answers.files import SUFFIX, write_answers

    if file.suffix != SUFFIX:
        raise UsageError(f"{file}: does not end in {SUFFIX}", hint=f"name it {file.with_suffix(SUFFIX)}")
    if file.exists():
        raise UsageError(f"{relative(file)}: exists already", hint="an export makes a new file: name another")
    if file.parent.resolve() == folder.resolve():
        raise UsageError(
            f"{relative(file)}: lies in the store itself, which would then have every answer twice",
            hint="name a file elsewhere",
        )
    store, written = store_in(folder), 0

    def chosen() -> Iterator[StoredAnswer]:
        nonlocal written
        for versions in store.each():
            if not prompt or versions[0].request.prompt == prompt:
                written += len(versions)
                yield from versions

    if write_answers(file.parent, chosen(), name=file.name) is None:
        of = f" to a prompt {prompt}" if prompt else ""
        raise UsageError(f"{relative(folder)}: has no answer{of}", hint="engine answers list")
    result = {"file": relative(file), "answers": written, "bytes": file.stat().st_size}
    emit(
        result,
        as_json=as_json,
        text=f"{result['file']}: {many(written, 'answer')}, {result['bytes']:,} bytes",
    )


# -------------------------------------------------------------------------------------------- verify


@click.command()
@folder_option
@json_option
def verify(folder: Path, *, as_json: bool) -> int:
    """Check every file, row and key, and report questions with several answers.

    Exit code 1 when something is wrong. Several answers to one question are no error: all are kept, the
    earliest is served.
    """
    from engine.answers.checking import check_store

    report = check_store(folder)
    report.folder = relative(folder)
    emit(
        {**msgspec.to_builtins(report), "good": report.good},
        as_json=as_json,
        text=lambda: _verify_text(report),
    )
    return 0 if report.good else 1


def _verify_text(report: StoreReport) -> str:
    from engine.model.units import format_time

    counts = (
        many(report.files, "file"),
        many(report.rows, "row"),
        many(report.answers, "different answer"),
    )
    lines = [f"{report.folder}: {', '.join(counts)}"]
    for double in report.doubles:
        times = ", ".join(format_time(time) for time in double.recorded)
        lines.append(f"double: {double.key[:SHOWN]} ({double.prompt}), answered at {times}: the first counts")
    lines += [f"wrong: {problem}" for problem in report.problems]
    if report.count > len(report.problems):
        lines.append(f"and {report.count - len(report.problems):,} more")
    lines.append(
        "every key is its request's, every row is as it was written"
        if report.good
        else f"{many(report.count, 'problem')}: move such files away and import their logs again"
    )
    return "\n".join(lines)
