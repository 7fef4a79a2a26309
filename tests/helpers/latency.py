"""Logs of messages whose age is known, and what is measured of them."""

from __future__ import annotations

from pathlib import Path

from engine.log.schema import LogHeader
from engine.log.segments import End, following
from engine.model.kinds import BID, Kind
from engine.model.units import NULL_TIME
from engine.report.latency import LatencyReport, measure
from tests.helpers.logs import Message, Row, definitions, make_log, write_log


def stamped(
    ts: int,
    latency_ns: int | None,
    *,
    kind: int = Kind.TRADE,
    flags: int = 0,
    source: int = 1,
    instrument: int = 1,
) -> Message:
    """A message of one row, received at `ts`, stamped so much earlier (None: without a stamp)."""
    stamp = NULL_TIME if latency_ns is None else ts - latency_ns
    return Message(ts, (Row(kind, stamp, source, 0, flags, instrument, BID, 100, 1),))


def segments(folder: Path, parts: list[list[Message]]) -> list[Path]:
    """One recording: files of which each names the one before."""
    header, paths = LogHeader(), []
    for number, messages in enumerate(parts):
        writer = write_log(folder / f"{number}.arrow", messages, header=header, with_definitions=False)
        writer.close(reason="rotation", ts=messages[-1].ts + 1)
        writer.abandon()
        header = following(header, End(writer.path, header, writer.seq, writer.chain_head))
        paths.append(writer.path)
    return paths


def measured(path: Path, messages: list[Message], *, defined: list[Message] | None = None) -> LatencyReport:
    """Write a log of these messages and measure it."""
    make_log(path, [*(defined or definitions()), *messages], with_definitions=False, per_batch=50)
    return measure([(path, path.name)])
