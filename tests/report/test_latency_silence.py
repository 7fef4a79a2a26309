"""How long nothing came: between messages, before the first, after the last, and never between recordings."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.model.kinds import Kind, encode_canonical
from engine.model.units import MILLISECOND_NS, SECOND_NS, format_time
from engine.report.latency import LatencyReport, measure
from engine.report.latency_counts import Silence
from tests.helpers.latency import measured, segments, stamped
from tests.helpers.logs import SOURCE, START, Message, Row, at, definitions, make_log

HOUR = 3_600


def clocks(first: int, last: int) -> list[Message]:
    """What a recorder writes each minute while nothing comes; times in seconds."""
    return [Message(at(second), (Row(Kind.CLOCK, source=0),)) for second in range(first, last + 1, 60)]


def trades(first: int, count: int, **columns: int) -> list[Message]:
    """One trade a second."""
    return [stamped(at(first + n), 5 * MILLISECOND_NS, **columns) for n in range(count)]


def silences(report: LatencyReport) -> list[tuple[int, str] | None]:
    """Of each source: seconds, and the time of day at which they began."""
    return [
        None
        if source.silence is None
        else (round(source.silence.ns / SECOND_NS), source.silence.began[11:19])
        for source in report.sources
    ]


@pytest.mark.parametrize(
    ("messages", "silence"),
    [
        (trades(0, 10), (1, "00:00:00")),
        ([*trades(0, 10), *clocks(60, HOUR)], (HOUR - 9, "00:00:09")),
        ([*clocks(0, HOUR), *trades(HOUR + 1, 10)], (HOUR + 1, "23:59:59")),
        ([*trades(0, 2), *clocks(60, 600), *trades(601, 2), *clocks(660, 1_000)], (600, "00:00:01")),
    ],
    ids=["busy", "dead at the end", "late at the beginning", "between"],
)
def test_a_silence_may_be_anywhere(messages: list[Message], silence: tuple[int, str], tmp_path: Path) -> None:
    """A feed that dies is silent until the recording ends, one that comes late from where it begins."""
    report = measured(tmp_path / "a.arrow", messages)
    assert silences(report) == [silence]
    (part,) = report.sources[0].parts
    assert part.silence is not None
    assert round(part.silence.ns / SECOND_NS) == silence[0]
    assert report.sources[0].arrival_max_ns == (600 if silence[0] == 600 else 1) * SECOND_NS


def test_two_recordings_are_not_one(tmp_path: Path) -> None:
    """What lies between files that do not name each other is nobody's silence, and no interval."""
    paths = [
        make_log(
            tmp_path / f"{hour}.arrow", [*defined_at(hour), *trades(hour * HOUR, 10)], with_definitions=False
        )
        for hour in (0, 5)
    ]
    report = measure([(path, path.name) for path in paths])
    assert silences(report) == [(1, "00:00:00")]
    assert (report.sources[0].messages, report.sources[0].arrival_max_ns) == (20, SECOND_NS)
    assert report.sources[0].parts[0].silence == report.sources[0].silence


def test_files_of_one_recording_are_one(tmp_path: Path) -> None:
    """A feed that dies in one file and comes again in the third was silent all that time."""
    parts = [
        [*definitions(), *trades(0, 10), *clocks(60, HOUR)],
        [*defined_at(1), *clocks(HOUR + 60, 2 * HOUR)],
        [*defined_at(2), *clocks(2 * HOUR + 60, 2 * HOUR + 120), *trades(2 * HOUR + 129, 10)],
    ]
    paths = [(path, path.name) for path in segments(tmp_path, parts)]
    report = measure(paths)
    assert silences(report) == [(2 * HOUR + 120, "00:00:09")]
    assert report.sources[0].arrival_max_ns == (2 * HOUR + 120) * SECOND_NS
    # Without the one between them the others are recordings of their own.
    assert silences(measure([paths[0], paths[2]])) == [(HOUR - 9, "00:00:09")]


def test_a_recording_without_a_message_is_silence(tmp_path: Path) -> None:
    """A source that a second recording defines, and hears nothing of, was silent all through it."""
    first = make_log(tmp_path / "a.arrow", [*definitions(), *trades(0, 10)], with_definitions=False)
    quiet = [*defined_at(5), *clocks(5 * HOUR + 60, 5 * HOUR + 600)]
    second = make_log(tmp_path / "b.arrow", quiet, with_definitions=False)
    report = measure([(first, "a"), (second, "b")])
    assert silences(report) == [(600, "05:00:00")]
    assert report.sources[0].parts[0].silence == Silence(format_time(START), SECOND_NS)


def test_what_is_defined_later_is_not_missed_before(tmp_path: Path) -> None:
    """Silence begins where a source, or an instrument, could have come from on."""
    late = Message(at(HOUR), (definitions()[0].rows[0], definitions()[2].rows[0]))
    defined = [*definitions()[1:2], *clocks(60, HOUR - 60), late]
    report = measured(tmp_path / "a.arrow", trades(HOUR + 7, 2, instrument=2), defined=defined)
    assert silences(report) == [(7, "01:00:00")]
    assert report.sources[0].parts[0].silence == report.sources[0].silence


def test_who_has_to_be_asked_is_not_silent(tmp_path: Path) -> None:
    """Of answers to requests only the time between them is known."""
    source = msgspec.structs.replace(SOURCE, endpoint="depth")
    messages = [*clocks(0, HOUR), *trades(HOUR + 1, 3), *clocks(HOUR + 60, 3 * HOUR)]
    report = measured(tmp_path / "a.arrow", messages, defined=definitions(source=source))
    assert silences(report) == [(1, "01:00:01")]


def defined_at(hour: int) -> list[Message]:
    """Definitions as the first rows of a file that begins then."""
    return [Message(at(hour * HOUR), message.rows) for message in definitions()]


def test_an_unknown_source_is_missed_from_the_first_row(tmp_path: Path) -> None:
    """A number without a definition, and a definition of another one: the file's beginning counts."""
    other = Message(at(0), (Row(Kind.SOURCE, source=1, data=encode_canonical(SOURCE)),))
    report = measured(tmp_path / "a.arrow", trades(30, 2, source=9, instrument=7), defined=[other])
    assert silences(report) == [(30, "00:00:00")]
