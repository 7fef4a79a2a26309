"""`engine log rebuild | import | export | query`: data into logs, out of logs, and questions to them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.common import emit, json_option, relative, warn
from engine.model.errors import InputError, UsageError

if TYPE_CHECKING:
    from engine.ingest.capture import CaptureReport
    from engine.ingest.rebuild import RebuildReport
    from engine.ingest.tabular import ImportReport

TABLE_KINDS = ("trades", "quotes", "book", "bars", "news")
VIEW_NAMES = (*TABLE_KINDS, "messages", "rows")
SHOWN_ROWS = 50
_path = click.Path(path_type=Path)


class _ProgressLine:
    """One line on stderr that is written over; nothing where stderr is no terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self._on = not quiet and sys.stderr.isatty()
        self._width = 0

    def show(self, text: str) -> None:
        """Replace what stands on the line."""
        if self._on:
            sys.stderr.write("\r" + text.ljust(self._width))
            sys.stderr.flush()
            self._width = len(text)

    def clear(self) -> None:
        """Remove the line."""
        if self._on and self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()


# ------------------------------------------------------------------------------------------- rebuild


@click.command()
@click.argument("logs", nargs=-1, required=True, metavar="LOG...")
@click.option("--to", "out", type=_path, help="Write the rows as today's parser makes them to this new log.")
@json_option
def rebuild(logs: tuple[str, ...], out: Path | None, *, as_json: bool) -> int:
    """Parse the kept frames again and compare every row with the log.

    Several logs are segments of one recording. Exit code 1 when a row differs.
    """
    from engine.ingest.rebuild import rebuild as rebuild_rows
    from engine.log.segments import expand

    report = rebuild_rows(expand(logs), out)
    emit({**_as_dict(report), "same": report.same}, as_json=as_json, text=lambda: _rebuild_text(report))
    return 0 if report.same else 1


def _rebuild_text(report: RebuildReport) -> str:
    lines = [f"warning: {warning}" for warning in report.warnings]
    lines.append(
        f"{report.frames:,} frames made {report.rows - report.carried:,} rows again; "
        f"{report.carried:,} rows without a frame were taken as they are"
    )
    if report.unparsed:
        what = "polled feeds, and venues that nobody here knows"
        lines.append(f"{report.unparsed:,} messages are carried over as they are: {what}")
    if report.same:
        lines.append("every row is as it is in the log")
    else:
        columns = ", ".join(f"{name} {count:,}" for name, count in report.columns.items())
        lines.append(f"{report.count:,} differences: {columns}")
        lines += [f"  seq {d.seq}  {d.column}: {d.was!r} is now {d.now!r}" for d in report.differences]
    if report.out:
        lines.append(f"written to {relative(report.out)}")
    return "\n".join(lines)


# -------------------------------------------------------------------------------------------- import


@click.command("import")
@click.argument("files", nargs=-1, type=_path, metavar="[FILE...]")
@click.option("--to", "to", required=True, type=_path, help="The new log, or a folder for it.")
@click.option(
    "--kind",
    default="auto",
    show_default=True,
    type=click.Choice([*TABLE_KINDS, "corporate", "capture", "auto"]),
)
@click.option(
    "--format",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "table", "tardis", "lobster", "hftbacktest", "capture"]),
    help="Whose files these are, where their names and first bytes do not say it.",
)
@click.option("--venue", default="", help="Whose data these are (binance for its own dumps and captures).")
@click.option("--symbol", default="", help="Whose data, where no column says it; else which to take: A,B.")
@click.option(
    "--time-unit", default="auto", show_default=True, type=click.Choice(["auto", "s", "ms", "us", "ns"])
)
@click.option("--zone", default="", help="Of times that name none: UTC, America/New_York.")
@click.option("--price-increment", default="", metavar="DECIMAL", help="The price step, like 0.01.")
@click.option("--size-increment", default="", metavar="DECIMAL", help="The size step, like 0.001.")
@click.option("--exchange-info", type=_path, help="A saved exchangeInfo answer, for increments.")
@click.option("--instruments", type=_path, help="A folder of definitions in place of data/instruments.")
@click.option(
    "--feed-latency", default="0ms", show_default=True, help="Added to the venue's time where no other is."
)
@click.option("--interval", default="", help="How long a bar is: 1m, 1h, 1d.")
@click.option(
    "--column", "columns", multiple=True, metavar="FIELD=NAME", help="Which column a field is; - for none."
)
@click.option("--by-order", is_flag=True, help="Of LOBSTER: rows by order in place of rows by price.")
@click.option(
    "--calendar", default="", metavar="NAME", help="Write this exchange's sessions: XNYS, XNAS, XLON."
)
@click.option("--from", "since", default="", metavar="DAY", help="Without files: the first session's day.")
@click.option("--until", default="", metavar="DAY", help="Without files: the last session's day.")
@json_option
def import_(files: tuple[Path, ...], **options: Any) -> int:
    """Bring other people's files into a new, sealed log.

    CSV and Parquet tables, captures, LOBSTER's pairs, hftbacktest's arrays, Tardis's CSV; docs/importing.md
    lists the columns of each kind and the names they may have.
    """
    line = _ProgressLine(quiet=options["as_json"])
    try:
        if _is_capture(files, options):
            capture = _import_capture(files, options, line)
            line.clear()
            emit(capture, as_json=options["as_json"], text=lambda: _capture_text(capture))
        else:
            report = _import_tables(files, options, line)
            line.clear()
            emit(report, as_json=options["as_json"], text=lambda: _import_text(report))
    finally:
        line.clear()
    return 0


def _is_capture(files: tuple[Path, ...], options: dict[str, Any]) -> bool:
    if options["format"] != "auto":
        return bool(options["format"] == "capture")
    if options["kind"] != "auto" or not files:
        return bool(options["kind"] == "capture")
    captures = [looks_like_capture(path) for path in files]
    if any(captures) and not all(captures):
        capture, other = (relative(files[captures.index(kind)]) for kind in (True, False))
        raise UsageError(
            f"{capture} is a capture, {other} is not",
            hint="import them one after the other, each into its own log",
        )
    return all(captures)


def looks_like_capture(path: Path) -> bool:
    """Whether a file begins like a capture: a receive time and a JSON frame, or an address."""
    from engine.ingest.capture_lines import read_lines

    try:
        first = next(read_lines(path), None)
    except InputError:
        return False
    return first is not None and (first.frame[:1] in {b"{", b"["} or bool(first.url))


def _import_capture(files: tuple[Path, ...], options: dict[str, Any], line: _ProgressLine) -> CaptureReport:
    import msgspec

    from engine.ingest.capture import import_capture
    from engine.ingest.tabular import check_target
    from engine.log.segments import next_path
    from engine.model.units import parse_time

    used = ("price_increment", "size_increment", "interval", "columns", "zone", "calendar", "by_order")
    for option in used:
        if options[option]:
            raise UsageError(f"--{option.replace('_', '-')} is of no use with captures: frames say it all")
    to: Path = options["to"]
    check_target(to)
    folder = to if to.suffix != ".arrow" else to.parent
    if to.suffix == ".arrow" and to.exists():
        raise UsageError(
            f"{relative(to)}: exists already", hint="an import makes a new log: name another file"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=folder) as work:
        made = Path(work) / "capture.arrow"
        report = import_capture(
            files,
            made,
            venue=options["venue"] or "binance",
            time_unit=options["time_unit"],
            exchange_info=options["exchange_info"],
            symbol=options["symbol"],
            progress=lambda done, total: line.show(f"{done:,} of {total:,} frames"),
        )
        target = to if to.suffix == ".arrow" else next_path(to, parse_time(report.first))
        made.rename(target)
    return msgspec.structs.replace(report, path=relative(target))


def _import_tables(files: tuple[Path, ...], options: dict[str, Any], line: _ProgressLine) -> ImportReport:
    from engine.config import parse_duration
    from engine.ingest.tabular import Progress, import_tables
    from engine.ingest.tabular_survey import TableOptions, interval_of
    from engine.ingest.tabular_units import UnitsWanted

    def show(phase: str, done: int, total: int) -> None:
        words = {
            "look": f"looking through {done:,} rows",
            "write": f"{done:,} of {total:,} rows",
            "seal": "sealing",
        }
        line.show(words[phase])

    report = import_tables(
        [(path, relative(path)) for path in files],
        options["to"],
        TableOptions(
            kind=options["kind"],
            venue=options["venue"],
            symbols=tuple(s for s in options["symbol"].split(",") if s),
            time_unit=options["time_unit"],
            zone=options["zone"],
            feed_latency_ns=parse_duration(options["feed_latency"], "--feed-latency"),
            interval_ns=interval_of(options["interval"]),
            columns=_columns(options["columns"]),
            format=options["format"],
            by_order=options["by_order"],
            calendar=options["calendar"],
            since=options["since"],
            until=options["until"],
        ),
        UnitsWanted(
            price_increment=options["price_increment"],
            size_increment=options["size_increment"],
            exchange_info=options["exchange_info"],
            instruments=options["instruments"],
        ),
        Progress(show),
    )
    report.path = relative(report.path)
    return report


def _columns(texts: tuple[str, ...]) -> dict[str, str]:
    from engine.ingest.tabular_columns import FIELDS

    known = sorted({name for fields in FIELDS.values() for name in fields})
    columns = {}
    for text in texts:
        field, _, name = text.partition("=")
        if field not in known or not name:
            raise UsageError(
                f"--column {text}: is not FIELD=NAME with a known field",
                hint=f"fields are {', '.join(known)}",
            )
        columns[field] = name
    return columns


def _import_text(report: ImportReport) -> str:
    for warning in report.warnings:
        warn(warning)
    lines = [
        f"{report.path}: {report.rows:,} rows, {report.messages:,} messages, {report.bytes:,} bytes, sealed"
    ]
    lines.append(f"  {report.first} to {report.last}")
    for file in report.files:
        extra = f", {file.out_of_order:,} out of order (sorted)" if file.out_of_order else ""
        extra += f", {file.skipped:,} left out" if file.skipped else ""
        unused = f"; not used: {', '.join(file.unused_columns)}" if file.unused_columns else ""
        lines.append(f"  {file.file}: {file.rows:,} rows of {file.kind}{extra}{unused}")
    lines += [
        f"  {i.key}: increments {i.price_increment} and {i.size_increment} ({i.origin})"
        for i in report.instruments
    ]
    if report.sessions:
        lines.append(f"  {report.sessions:,} sessions")
    if report.moved:
        lines.append(f"  messages at the time of the one before, moved 1 ns behind it: {report.moved:,}")
    lines += [f"  chain {report.chain}", f"next: engine log info {report.path}"]
    return "\n".join(lines)


def _capture_text(report: CaptureReport) -> str:
    for warning in report.warnings:
        warn(warning)
    kinds = ", ".join(f"{name} {count:,}" for name, count in report.kinds.items())
    lines = [
        f"{report.path}: {report.rows:,} rows, {report.messages:,} messages, {report.bytes:,} bytes, sealed",
        f"  {report.frames:,} frames, {report.gaps:,} gaps, {report.malformed:,} malformed",
        f"  {report.first} to {report.last}",
        f"  {', '.join(report.instruments)}: {kinds}",
    ]
    if report.unknown:
        lines.append("  unknown types: " + ", ".join(f"{k} {v:,}" for k, v in report.unknown.items()))
    if report.moved:
        lines.append(
            f"  {report.moved:,} receive times that did not increase moved 1 ns behind the one before"
        )
    if report.untimed:
        lines.append(f"  {report.untimed:,} lines without a receive time took that of the line before")
    lines += [f"  chain {report.chain}", f"next: engine log info {report.path}"]
    return "\n".join(lines)


# -------------------------------------------------------------------------------------------- export


@click.command()
@click.argument("log", type=_path)
@click.option("--to", required=True, type=_path, help="A new file that ends in .parquet or .csv.")
@click.option("--kind", default="", help=f"{', '.join(VIEW_NAMES)}; default: the only one the log has.")
@click.option("--from", "since", default="", metavar="TIME", help="From this time on: 2024-06-01T12:00:00Z.")
@click.option("--until", default="", metavar="TIME", help="Up to this time, without it.")
@json_option
def export(log: Path, to: Path, kind: str, since: str, until: str, *, as_json: bool) -> int:
    """Write a log's rows as Parquet or CSV, with exact decimals and symbol names."""
    from engine.ingest.export import export_log

    line = _ProgressLine(quiet=as_json)
    try:
        report = export_log(
            log,
            to,
            kind,
            _time(since, "--from"),
            _time(until, "--until"),
            lambda rows: line.show(f"{rows:,} rows"),
        )
    finally:
        line.clear()
    report.log, report.to = relative(log), relative(to)
    if report.tail:
        warn(f"{report.log}: {report.tail}")
    emit(
        report,
        as_json=as_json,
        text=f"{report.to}: {report.rows:,} rows of {report.kind}, {report.bytes:,} bytes",
    )
    return 0


def _time(text: str, option: str) -> int | None:
    from engine.model.errors import DecimalError
    from engine.model.units import parse_time

    if not text:
        return None
    try:
        return parse_time(text)
    except DecimalError as error:
        raise UsageError(f"{option}: {error.message}", hint=error.hint) from None


# --------------------------------------------------------------------------------------------- query


@click.command()
@click.argument("words", nargs=-1, required=True, metavar='LOG... "SQL"')
@click.option(
    "--limit", type=click.IntRange(min=0), help=f"Rows to show; a table shows {SHOWN_ROWS}. 0: all."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@json_option
def query(words: tuple[str, ...], limit: int | None, *, as_csv: bool, as_json: bool) -> int:
    """Ask logs questions in SQL.

    The views are trades, quotes, book, bars, news, messages and rows; prices are decimals, times UTC. Several
    logs are one table with a column `file`.

    Example: engine log query LOG "SELECT symbol, count(*) FROM trades GROUP BY symbol"
    """
    from engine.log.segments import expand
    from engine.report.query import Query, as_table

    *patterns, sql = words
    if not patterns:
        raise UsageError(
            "a log and a question are needed", hint='engine log query LOG "SELECT * FROM trades LIMIT 10"'
        )
    if as_csv and as_json:
        raise UsageError("--csv and --json cannot both be")
    wanted = (SHOWN_ROWS if limit is None and not (as_csv or as_json) else limit) or None
    with Query([(path, relative(path)) for path in expand(patterns)]) as asked:
        for warning in asked.warnings:
            warn(warning)
        if as_csv:
            asked.write_csv(sql, sys.stdout, wanted)
            sys.stdout.flush()
            return 0
        result = asked.run(sql, wanted)
    emit(result, as_json=as_json, text=lambda: as_table(result))
    return 0


def _as_dict(report: Any) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(report)
    return plain
