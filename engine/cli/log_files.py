"""`engine log info | check | recover | seal | head`: files as a whole, and their first rows.

Where several files are named, --json prints one object, {"logs": […]}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from engine.cli.common import emit, gap_span, json_option, relative
from engine.model.errors import CheckFailed, DamagedLog

if TYPE_CHECKING:
    from engine.log.check import CheckReport
    from engine.log.decoded import DecodedRow
    from engine.log.recover import RecoverReport
    from engine.log.seal import SealReport
    from engine.log.summary import Summary

_T = TypeVar("_T")
_GAPS_SHOWN = 10
_TEXT_SHOWN = 60

logs_argument = click.argument("logs", nargs=-1, required=True, metavar="LOG…")


@click.command()
@logs_argument
@json_option
def info(logs: tuple[str, ...], *, as_json: bool) -> int:
    """What is in a log: venue, instruments, span, rows per kind and per flag, gaps, size."""
    from engine.log.summary import summarise

    summaries = _each(logs, summarise)
    _emit_each(summaries, _info_text, as_json=as_json)
    return _damage_code(summary.damage_offset is not None and summary.sealed for summary in summaries)


@click.command()
@logs_argument
@json_option
def check(logs: tuple[str, ...], *, as_json: bool) -> int:
    """Verify every byte, row and hash of a log.

    Exit code 3 when bytes are not what was written, 1 when rows break a rule of the format.
    """
    from engine.log.check import check as verify

    reports = _each(logs, lambda path: _checked(verify, path))
    _emit_each(reports, _check_text, as_json=as_json)
    if any(report.damage for report in reports):
        return DamagedLog.exit_code
    return CheckFailed.exit_code if any(report.broken_rules for report in reports) else 0


@click.command()
@click.argument("log", metavar="LOG", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The new file (default: NAME.recovered.arrow).")
@json_option
def recover(log: Path, out: Path | None, *, as_json: bool) -> None:
    """Save every whole batch of a damaged log into a new, sealed one; the original stays as it is."""
    from engine.log.recover import recover as save

    report = save(log, out)
    shown = msgspec.structs.replace(report, path=relative(report.path), out=relative(report.out))
    emit(shown, as_json=as_json, text=lambda: _recover_text(shown))


@click.command()
@logs_argument
@json_option
def seal(logs: tuple[str, ...], *, as_json: bool) -> None:
    """Compress and close a finished log, in place; its rows and its chain stay the same."""
    from engine.log.seal import seal as close

    _emit_each(_each(logs, close), _seal_text, as_json=as_json)


@click.command()
@click.argument("log", metavar="LOG", type=click.Path(path_type=Path))
@click.option(
    "-n", "--rows", default=10, show_default=True, type=click.IntRange(min=1), help="How many rows."
)
@click.option("--from", "start", default=0, type=click.IntRange(min=0), help="The seq to begin at.")
@json_option
def head(log: Path, rows: int, start: int, *, as_json: bool) -> None:
    """Print the first rows, decoded: symbols, decimal prices, flags by name."""
    shown = _rows_from(log, start, rows)
    result = {"path": relative(log), "rows": shown}
    emit(result, as_json=as_json, text=lambda: _head_text(shown))


def _each(patterns: tuple[str, ...], work: Callable[[Path], _T]) -> list[_T]:
    from engine.log.segments import expand

    return [work(path) for path in expand(patterns)]


def _emit_each(results: list[Any], text: Callable[[Any], str], *, as_json: bool) -> None:
    shown = [_with_relative_path(result) for result in results]
    whole = shown[0] if len(shown) == 1 else {"logs": shown}
    emit(whole, as_json=as_json, text=lambda: "\n".join(text(result).rstrip() + "\n" for result in shown))


def _with_relative_path(result: Any) -> Any:
    return msgspec.structs.replace(result, path=relative(result.path))


def _damage_code(damaged: Any) -> int:
    return DamagedLog.exit_code if any(damaged) else 0


def _checked(verify: Callable[[Path], CheckReport], path: Path) -> CheckReport:
    """The report, also of a file whose header is damaged."""
    from engine.log.check import CheckReport

    try:
        return verify(path)
    except DamagedLog as error:
        size = path.stat().st_size
        return CheckReport(
            str(path), sealed=False, bytes=size, damage=error.message, damage_offset=error.offset
        )


def _rows_from(path: Path, start: int, count: int) -> list[DecodedRow]:
    from engine.log.decoded import Definitions, decoded_rows
    from engine.log.reader import LogReader

    definitions = Definitions()
    shown: list[DecodedRow] = []
    for batch in LogReader(path).batches():
        skip = min(max(start - batch.first_seq, 0), batch.count)
        definitions.take(batch.slice(0, skip))
        for row in decoded_rows(batch.slice(skip, batch.count), definitions):
            shown.append(row)
            if len(shown) == count:
                return shown
    return shown


# ── what people see ──────────────────────────────────────────────────────────────────────────────────


def _info_text(summary: Summary) -> str:
    state = "sealed" if summary.sealed else "not sealed"
    facts = [
        ("note", summary.note),
        ("venue", ", ".join(summary.venues)),
        ("written by", f"engine {summary.engine}" if summary.engine else ""),
        ("created", summary.created),
        ("size", f"{_size(summary.bytes)}, {state}"),
        ("segment", f"{summary.segment}, after {summary.previous_file}" if summary.previous_file else ""),
        ("from", summary.first_ts or ""),
        ("to", f"{summary.last_ts}  ({_duration(summary.span_ns)})" if summary.last_ts else ""),
        ("rows", f"{summary.rows:,} in {summary.messages:,} messages"),
        ("sources", ", ".join(summary.sources.values())),
        ("ended", summary.ended if summary.ended is not None else "not on purpose: no END row"),
        ("gaps", f"{summary.gap_count:,}" if summary.gap_count else "none"),
        ("chain", summary.chain),
        ("damage" if summary.sealed else "tail", summary.tail),
    ]
    lines = [summary.path]
    lines += [f"  {name:<11} {value}" for name, value in facts if value]
    if summary.instruments:
        cells = [("instrument", "rows", "price step", "size step", "channels")]
        cells += [
            (i.key, f"{i.rows:,}", i.price_increment, i.size_increment, ",".join(i.channels))
            for i in summary.instruments
        ]
        lines += ["", *_table(cells, right={1, 2, 3})]
    if summary.kinds:
        kinds = [("kind", "rows", "messages")]
        kinds += [(name, f"{n.rows:,}", f"{n.messages:,}") for name, n in summary.kinds.items()]
        lines += ["", *_table(kinds, right={1, 2})]
    if summary.status:
        events = [("status", "times"), *((name, f"{n:,}") for name, n in sorted(summary.status.items()))]
        lines += ["", *_table(events, right={1})]
    if summary.flags:
        flags = [("flag", "rows"), *((name, f"{n:,}") for name, n in summary.flags.items())]
        lines += ["", *_table(flags, right={1})]
    if summary.gaps:
        gaps = [("gap at", "seq", "channel", "instrument", "missing", "")]
        gaps += [
            (
                gap.ts,
                str(gap.seq),
                gap.channel,
                gap.instrument,
                gap_span(gap.first, gap.last, "–"),
                gap.detail,
            )
            for gap in summary.gaps[:_GAPS_SHOWN]
        ]
        lines += ["", *_table(gaps, right={1})]
        if summary.gap_count > _GAPS_SHOWN:
            lines.append(f"  … and {summary.gap_count - _GAPS_SHOWN:,} more (--json lists them)")
    return "\n".join(lines)


def _check_text(report: CheckReport) -> str:
    state = "sealed" if report.sealed else "not sealed"
    batches = "1 batch" if report.batches == 1 else f"{report.batches:,} batches"
    what = f"{report.rows:,} rows in {report.messages:,} messages and {batches}"
    if report.ok:
        end = "" if report.ended else "; no END row: it was not ended on purpose"
        return f"{report.path}: good. {what}, {state}, {_size(report.bytes)}{end}\n  chain {report.chain}"
    lines = []
    if report.damage:
        lines.append(f"{report.path}: DAMAGED at byte {report.damage_offset:,}: {report.damage}")
        lines.append(f"  good before that: {what}, {state}, {_size(report.bytes)} in all")
        lines.append(f"  hint: save them with: engine log recover {report.path}")
    if report.broken_rules:
        lines.append(f"{report.path}: rows that break the format's rules:")
        lines += [f"  seq {broken.seq}: {broken.rule}" for broken in report.broken_rules]
        if report.more_broken_rules:
            lines.append(f"  … and {report.more_broken_rules:,} more")
    return "\n".join(lines)


def _recover_text(report: RecoverReport) -> str:
    of = f" of {report.rows_stated:,}" if report.rows_stated > report.rows else ""
    lines = [f"{report.out}: {report.rows:,} rows{of} saved and sealed; {report.path} is as it was"]
    if report.header_lost:
        lines.append("  its header was damaged: venue, note and the link to the segment before are lost")
    if report.offset is None:
        lines.append("  nothing is lost")
    else:
        lines.append(
            f"  not taken over: {report.lost_bytes:,} of {report.bytes:,} bytes, "
            f"from byte {report.offset:,} on: {report.reason}"
        )
    if report.later_batches:
        lines.append(
            f"  behind the damage stand {report.later_batches:,} whole batches, from seq "
            f"{report.later_first_seq:,} on; a log has no holes, so they are left"
        )
    return "\n".join(lines)


def _seal_text(report: SealReport) -> str:
    if report.already_sealed:
        return f"{report.path}: is sealed already ({report.rows:,} rows)"
    share = report.bytes_after / report.bytes_before
    return (
        f"{report.path}: sealed. {report.rows:,} rows, {_size(report.bytes_before)} to "
        f"{_size(report.bytes_after)} ({share:.0%})\n  chain {report.chain}"
    )


def _head_text(rows: list[DecodedRow]) -> str:
    if not rows:
        return "no rows"
    cells = [("seq", "time (UTC)", "kind", "instrument", "side", "price", "size", "id", "flags", "text")]
    for row in rows:
        text = row.wire if row.data is None else msgspec.json.encode(row.data).decode()
        cells.append(
            (
                str(row.seq),
                row.ts,
                f"{row.kind} {row.part}".strip(),
                row.instrument or row.source,
                row.side,
                row.price or "",
                row.size or "",
                str(row.id) if row.id else "",
                ",".join(flag for flag in row.flags if flag != "LAST") + ("." if "LAST" in row.flags else ""),
                _shortened(text or ""),
            )
        )
    return "\n".join([*_table(cells, right={0, 5, 6, 7}, indent=""), "", ". ends a message"])


def _table(cells: Sequence[tuple[str, ...]], *, right: set[int], indent: str = "  ") -> list[str]:
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return [
        indent
        + "  ".join(
            text.rjust(width) if i in right else text.ljust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TEXT_SHOWN else line[: _TEXT_SHOWN - 1] + "…"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{count} bytes" if unit == "bytes" else f"{size:,.1f} {unit}"


def _duration(span_ns: int) -> str:
    seconds = span_ns / 1e9
    if seconds < 60:
        return f"{seconds:.3f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min {seconds} s" if hours else f"{minutes} min {seconds} s"
