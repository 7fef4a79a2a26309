"""`engine log latency`: how old messages were when they came, how evenly, and where they stopped.

What is computed, and how the clocks are compared, stands in engine.report.latency; here it becomes tables and
a histogram of 80 columns, in characters that the terminal has.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from engine.cli.common import emit, gap_span, json_option, printable_text, relative, warn

if TYPE_CHECKING:
    from engine.report.distribution import Bar
    from engine.report.latency import ClockOffset, LatencyReport
    from engine.report.latency_counts import Figures, PartLatency, SourceLatency

WIDTH = 80
_BAR_WIDTH = 34
_GAPS_SHOWN = 5
_PARTS_SHOWN = 20
_DOUBTFUL_NS = 1_000_000_000  # no minute of an ordinary network is that slow throughout
_UNITS = ((10_000_000, "us", 1_000, 1), (10_000_000_000, "ms", 1_000_000, 3))


@click.command()
@click.argument("logs", nargs=-1, required=True, metavar="LOG…")
@json_option
def latency(logs: tuple[str, ...], *, as_json: bool) -> int:
    """How old messages were when they came, how evenly they came, gaps and silence: of each source.

    Receive − venue time is shown as it is, and above the fastest message, since nobody knows how two clocks
    stood to each other. Several logs are taken one after the other.
    """
    from engine.log.segments import expand
    from engine.report.latency import measure

    quiet = as_json or not sys.stderr.isatty()

    def show(name: str, rows: int) -> None:
        if not quiet:
            sys.stderr.write(f"\r\x1b[K{rows:,} rows of {name}"[: WIDTH + 4])
            sys.stderr.flush()

    try:
        report = measure([(path, relative(path)) for path in expand(logs)], show)
    finally:
        if not quiet:
            sys.stderr.write("\r\x1b[K")
    for warning in report.warnings:
        warn(warning)
    emit(report, as_json=as_json, text=lambda: _text(report, _block(sys.stdout.encoding)))
    return 0


def _block(encoding: str | None) -> str:
    """What bars are drawn with: a block, or # where the output cannot show one."""
    try:
        "█".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#"
    return "█"


def _text(report: LatencyReport, block: str) -> str:
    lines = _clock_lines(report.clocks, several=len(report.files) > 1)
    for source in report.sources:
        lines += ["", *_source_lines(source, block)]
    if not report.sources:
        lines += ["no source sent a message in it"]
    return printable_text("\n".join(lines).lstrip("\n"))


def _clock_lines(clocks: Sequence[ClockOffset], *, several: bool) -> list[str]:
    if not clocks:
        return ["no message has a venue's stamp that says when it was sent: no clocks to compare"]
    lines = [
        "clocks: receive - venue time of the fastest messages. It holds their trip, so",
        "corrected figures say how much longer than the fastest a message took.",
    ]
    for clock in clocks:
        where = f"{clock.venue} in {clock.file}" if several else clock.venue
        messages = f"{clock.measured:,} messages"
        how = f"a line below {messages}" if clock.method == "line" else f"the smallest of {messages}"
        drift = f", drifting {clock.drift_ppm:+.3f} ppm" if clock.drift_ppm else ""
        lines += [f"  {where}", f"    {_one(clock.offset_ns)}{drift} ({how})"]
        lines += [f"    worst minute: the fastest message came {_one(clock.worst_minute_ns)} above that"]
        if clock.shift_ns:
            lines += [
                "    the venue's clock was AHEAD of ours by that at least: raw figures are",
                "    negative, though nothing arrives before it is sent. In a backtest with",
                f"    --clock venue: --venue-shift {clock.venue}={clock.shift_ns // 1_000_000}ms",
            ]
            if clock.worst_minute_ns > _DOUBTFUL_NS:
                lines += ["    unless a clock was set in between: the worst minute is far above that"]
    return lines


def _source_lines(source: SourceLatency, block: str) -> list[str]:
    noun = "message" if source.messages == 1 else "messages"
    lines = [f"{source.source}: {source.messages:,} {noun}, {source.measured:,} measured"]
    if source.left_out:
        reasons = ", ".join(f"{count:,} {name}" for name, count in source.left_out.items())
        lines.append(f"  left out     {reasons}")
    if source.raw is not None:
        lines.append("               " + "".join(f"{n:>13}" for n in ("min", "p50", "p90", "p99", "max")))
        lines.append(_figures_line("raw", source.raw))
        if source.corrected is not None:
            lines.append(_figures_line("corrected", source.corrected))
        else:
            lines.append("  corrected    by nothing: whoever stamps headlines has no clock to compare")
    if source.messages > 1:
        lines.append(
            f"  intervals    p50 {_one(source.arrival_p50_ns)}, p99 {_one(source.arrival_p99_ns)}, "
            f"max {_one(source.arrival_max_ns)}"
        )
    if source.silence is not None:
        lines.append(f"  silence      {_one(source.silence.ns)} from {source.silence.began}")
    lines += _gap_lines(source)
    if source.histogram:
        lines += ["", *_histogram(source.histogram, block, corrected=source.corrected is not None)]
    if len(source.parts) > 1:
        lines += ["", *_part_lines(source.parts)]
    return lines


def _gap_lines(source: SourceLatency) -> list[str]:
    disconnects = f"; {source.disconnects:,} disconnects" if source.disconnects else ""
    if not source.gap_count:
        return [f"  gaps         none{disconnects}"]
    lines = [f"  gaps         {source.gap_count:,}{disconnects}"]
    for gap in source.gaps[:_GAPS_SHOWN]:
        what = " ".join(word for word in (gap.instrument, gap.channel) if word)
        missing = gap_span(gap.first, gap.last, " to ")
        lines.append(f"    {gap.ts[:23]}Z {what}: {missing} {gap.detail}".rstrip()[:WIDTH])
    if source.gap_count > _GAPS_SHOWN:
        lines.append(f"    and {source.gap_count - _GAPS_SHOWN:,} more (--json, engine log info)")
    return lines


def _histogram(bars: Sequence[Bar], block: str, *, corrected: bool) -> list[str]:
    total, most = sum(bar.count for bar in bars), max(bar.count for bar in bars)
    lines = ["  how much longer than the fastest" if corrected else "  receive - venue time"]
    for bar in bars:
        length = round(_BAR_WIDTH * bar.count / most)
        drawn = block * (length or int(bar.count > 0))
        low, high = _round(bar.low_ns) if bar.low_ns else "", _round(bar.high_ns)
        share = f"{100 * bar.count / total:.1f} %"
        lines.append(f"  {low:>6} - {high:>6}  {drawn:<{_BAR_WIDTH}} {share:>8} {bar.count:>13,}".rstrip())
    return lines


def _part_lines(parts: Sequence[PartLatency]) -> list[str]:
    names = [f"{part.instrument} {part.kind}".strip() for part in parts[:_PARTS_SHOWN]]
    width = min(max(len(name) for name in (*names, "instrument")), 24)
    lines = [f"  {'instrument':<{width}}{'messages':>11}{'p50':>14}{'p99':>14}{'silence':>14}"]
    for name, part in zip(names, parts, strict=False):
        p50, p99 = (_one(part.corrected.p50_ns), _one(part.corrected.p99_ns)) if part.corrected else ("", "")
        silence = _one(part.silence.ns) if part.silence else ""
        lines.append(f"  {name[:width]:<{width}}{part.messages:>11,}{p50:>14}{p99:>14}{silence:>14}")
    if len(parts) > _PARTS_SHOWN:
        lines.append(f"  and {len(parts) - _PARTS_SHOWN:,} more (--json lists them)")
    return lines


def _figures_line(name: str, figures: Figures) -> str:
    values = (figures.min_ns, figures.p50_ns, figures.p90_ns, figures.p99_ns, figures.max_ns)
    largest = max(abs(value) for value in values)
    unit, size, decimals = _unit(largest)
    return f"  {name + ', ' + unit:<13}" + "".join(f"{v / size:>13,.{decimals}f}" for v in values)


def _unit(largest_ns: int) -> tuple[str, int, int]:
    for limit, unit, size, decimals in _UNITS:
        if largest_ns < limit:
            return unit, size, decimals
    return "s", 1_000_000_000, 3


def _one(ns: int) -> str:
    """One length of time, in the unit that fits it."""
    unit, size, decimals = _unit(abs(ns))
    return f"{ns / size:,.{decimals}f} {unit}"


def _round(ns: int) -> str:
    """A bar's bound, which is a round number."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("us", 1_000)):
        if ns >= size:
            return f"{ns // size:g} {unit}"
    return f"{ns} ns"
