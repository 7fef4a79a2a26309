"""Latency of logs: known clocks are found, known figures come out, and what proves nothing is left out."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.cli.log_latency import WIDTH
from engine.ingest.capture import import_capture
from engine.model.kinds import BID, Flag, Kind, SourceData, StatusData, encode_canonical
from engine.model.units import MILLISECOND_NS, SECOND_NS
from engine.report.distribution import Distribution
from engine.report.envelope import Envelope
from engine.report.latency import LatencyReport, measure
from tests.helpers.command import call
from tests.helpers.latency import measured, segments, stamped
from tests.helpers.logs import BTC, ETH, START, Message, Row, at, definitions, make_log, news

ROOT = Path(__file__).resolve().parents[2]
MS = MILLISECOND_NS


@pytest.mark.parametrize("seed", range(4))
def test_percentiles_are_within_four_thousandths(seed: int) -> None:
    """Percentiles of lengths over twelve powers of ten are those of the sorted values, within 0.4 %."""
    values = (10 ** np.random.default_rng(seed).uniform(0, 12, 9_001)).astype(np.int64)
    counted = Distribution()
    for part in np.array_split(values, 7):
        counted.add(part)
    ordered = np.sort(values)
    assert (counted.least, counted.most, counted.count) == (ordered[0], ordered[-1], 9_001)
    for share in (0.01, 0.1, 0.5, 0.9, 0.99, 0.999):
        exact = int(ordered[int(np.ceil(share * 9_001)) - 1])
        assert abs(counted.quantile(share) - exact) <= 0.004 * exact


def test_small_values_are_exact() -> None:
    """Below 128 every value has a bucket of its own, zero included."""
    counted = Distribution()
    counted.add(np.arange(101, dtype=np.int64))
    assert [counted.quantile(share) for share in (0.0, 0.25, 0.5, 0.99, 1.0)] == [0, 25, 50, 99, 100]


def test_the_bars_of_a_histogram_count_everything_once() -> None:
    """Bars stand side by side from zero on, hold every value, and are at most as many as asked for."""
    counted = Distribution()
    counted.add(np.array([0, 3, 40, 999, 1_000, 5_000_000, 9_999_999_999], dtype=np.int64))
    for most in (5, 12, 40):
        bars = counted.bars(most)
        assert bars[0].low_ns == 0
        assert all(a.high_ns == b.low_ns for a, b in itertools.pairwise(bars))
        assert sum(bar.count for bar in bars) == 7
        assert len(bars) <= most


@pytest.mark.parametrize("drift_ppm", [-200.0, -4.876, 0.5, 200.0])
def test_an_envelope_finds_offset_and_drift(drift_ppm: float) -> None:
    """Of noise above a line the line is found, no point lies below it, and cuts change nothing."""
    chance = np.random.default_rng(11)
    times = START + np.sort(chance.integers(0, 3_600 * SECOND_NS, 40_000))
    times += np.arange(40_000)
    noise = chance.exponential(5 * MS, 40_000).astype(np.int64)
    offset = -1_270 * MS
    differences = offset + np.rint((times - START) * drift_ppm * 1e-6).astype(np.int64) + noise
    lines = []
    for pieces in (1, 13, 400):
        envelope = Envelope()
        for part in np.array_split(np.arange(40_000), pieces):
            envelope.add(times[part], differences[part])
        lines.append(envelope.line())
    assert lines[0] == lines[1] == lines[2]
    line = lines[0]
    assert line.drift * 1e6 == pytest.approx(drift_ppm, abs=0.05)
    assert line.offset_ns == pytest.approx(offset, abs=MS)
    assert int((differences - line.at(times)).min()) >= -2  # the line is rounded


@pytest.mark.parametrize(
    ("seconds", "count", "ppm"), [(30, 5_000, 20.0), (600, 500, 20.0), (600, 5_000, 5_000.0)]
)
def test_no_drift_is_believed_from_too_little(seconds: int, count: int, ppm: float) -> None:
    """In half a minute, from few messages, or with a drift of no clock, the smallest difference counts."""
    times = START + np.linspace(0, seconds * SECOND_NS, count).astype(np.int64)
    differences = 10 * MS + np.rint((times - START) * ppm * 1e-6).astype(np.int64)
    envelope = Envelope()
    envelope.add(times, differences)
    line = envelope.line()
    assert (line.drift, line.offset_ns) == (0.0, 10 * MS)


def test_raw_and_corrected_of_a_known_log(tmp_path: Path) -> None:
    """Messages of 5 to 104 ms, a venue clock 1.27 s ahead: raw is negative, corrected is not."""
    order = list(range(100))
    random.Random(5).shuffle(order)
    messages = [stamped(at(i / 10), (5 + order[i] - 1_270) * MS) for i in range(100)]
    report = measured(tmp_path / "a.arrow", messages)
    (clock,), (source,) = report.clocks, report.sources
    assert (clock.method, clock.offset_ns, clock.shift_ns) == ("minimum", -1_265 * MS, -1_265 * MS)
    assert source.raw is not None
    assert source.corrected is not None
    assert (source.raw.min_ns, source.raw.max_ns) == (-1_265 * MS, -1_166 * MS)
    assert source.corrected.p50_ns == pytest.approx(49 * MS, rel=0.004)
    assert source.corrected.p99_ns == pytest.approx(98 * MS, rel=0.004)
    assert source.raw.p50_ns == pytest.approx(-1_216 * MS, abs=0.004 * 50 * MS)
    assert source.raw.p99_ns == pytest.approx(-1_167 * MS, abs=0.004 * 50 * MS)
    assert (source.messages, source.measured, source.left_out) == (100, 100, {})
    assert source.arrival_p50_ns == pytest.approx(100 * MS, rel=0.004)


def test_what_proves_nothing_is_left_out_and_counted(tmp_path: Path) -> None:
    """Imported, fetched, repeated and stampless rows, and bars, are counted by reason, not measured."""
    messages = [
        stamped(at(1), 5 * MS),
        stamped(at(2), 0, flags=Flag.IMPORTED),
        stamped(at(3), 900 * MS, flags=Flag.BACKFILLED),
        stamped(at(4), 900 * MS, flags=Flag.SNAPSHOT | Flag.CLEAR, kind=Kind.BOOK),
        stamped(at(5), 900 * MS, flags=Flag.DUPLICATE),
        stamped(at(6), 60_000 * MS, kind=Kind.BAR),
        stamped(at(7), None, kind=Kind.QUOTE),
        stamped(at(8), None, kind=Kind.CONTROL),
    ]
    (source,) = measured(tmp_path / "a.arrow", messages).sources
    names = ("imported", "backfilled", "snapshot", "duplicate", "bar", "no venue time")
    assert source.left_out == dict.fromkeys(names, 1)
    assert (source.messages, source.measured) == (8, 1)
    assert source.raw is not None
    assert source.raw.max_ns == 5 * MS


def test_a_message_is_measured_by_its_latest_stamp(tmp_path: Path) -> None:
    """Three trades of one frame are one message, sent after the last of them."""
    rows = tuple(Row(Kind.TRADE, at(1) - age * MS, 1, 0, 0, 1, BID, 100, 1) for age in (30, 10, 20))
    (source,) = measured(tmp_path / "a.arrow", [Message(at(1), rows)]).sources
    assert source.raw is not None
    assert (source.measured, source.raw.min_ns, source.raw.max_ns) == (1, 10 * MS, 10 * MS)


def test_silence_gaps_and_disconnects(tmp_path: Path) -> None:
    """The longest silence is named with its beginning, gaps as their rows say, disconnects by number.

    An end that was wanted, and what lies between two recordings, are none, as in the recorder's own summary.
    """
    gap = encode_canonical(StatusData(event="gap", channel="trade", first=7, last=9))
    lost = encode_canonical(StatusData(event="disconnected", detail="gone"))
    stopped = encode_canonical(StatusData(event="disconnected", detail="stopped"))
    between = encode_canonical(StatusData(event="disconnected", detail="paused", first=1, last=2))
    messages = [
        Message(at(-1), (Row(Kind.STATUS, data=between),)),
        stamped(at(0), 5 * MS),
        stamped(at(1), 5 * MS),
        Message(at(2), (Row(Kind.STATUS, data=lost),)),
        Message(at(31.5), (Row(Kind.STATUS, instrument=1, data=gap), *stamped(at(31.5), 5 * MS).rows)),
        stamped(at(32), 5 * MS),
        Message(at(33), (Row(Kind.STATUS, data=stopped),)),
    ]
    (source,) = measured(tmp_path / "a.arrow", messages).sources
    assert source.silence is not None
    assert source.silence.ns == 30_500 * MS
    assert source.silence.began.startswith("2024-06-01T00:00:01.000")
    assert [(g.instrument, g.channel, g.first, g.last) for g in source.gaps] == [(BTC.key, "trade", 7, 9)]
    assert (source.gap_count, source.disconnects, source.messages) == (1, 1, 4)


def test_venues_and_sources_are_kept_apart(tmp_path: Path) -> None:
    """Two connections of a venue share its clock, another venue has its own; parts are kept apart."""
    others = [SourceData("binance", "binance", "wss://two.invalid"), SourceData("kraken", "kraken")]
    rows = [Row(Kind.SOURCE, source=n, data=encode_canonical(s)) for n, s in enumerate(others, start=2)]
    defined = [*definitions(), *(Message(START - 900 + i, (row,)) for i, row in enumerate(rows))]
    messages = [
        stamped(at(1), 2 * MS),
        stamped(at(2), 7 * MS, source=2, instrument=2),
        stamped(at(3), 9 * MS, source=2, instrument=2, kind=Kind.QUOTE),
        stamped(at(4), -80 * MS, source=3),
    ]
    report = measured(tmp_path / "a.arrow", messages, defined=defined)
    assert [(c.venue, c.offset_ns) for c in report.clocks] == [("binance", 2 * MS), ("kraken", -80 * MS)]
    assert [s.source for s in report.sources] == ["binance", "binance (2)", "kraken"]
    two = report.sources[1]
    assert two.corrected is not None
    assert (two.corrected.min_ns, two.corrected.max_ns) == (5 * MS, 7 * MS)
    assert [(p.instrument, p.kind, p.measured) for p in two.parts] == [
        (ETH.key, "trade", 1),
        (ETH.key, "quote", 1),
    ]


def test_files_follow_each_other(tmp_path: Path) -> None:
    """One recording in two files is one source: intervals go over the cut, each file has its own clock."""
    parts = [
        [stamped(at(1), 5 * MS), stamped(at(2), 8 * MS)],
        [stamped(at(12), -995 * MS), stamped(at(13), -990 * MS)],
    ]
    paths = segments(tmp_path, [[*definitions(), *part] for part in parts])
    report = measure([(path, path.name) for path in paths])
    (source,) = report.sources
    assert (source.messages, source.arrival_max_ns) == (4, 10 * SECOND_NS)
    assert [clock.offset_ns for clock in report.clocks] == [5 * MS, -995 * MS]
    assert source.raw is not None
    assert source.corrected is not None
    assert (source.raw.min_ns, source.raw.max_ns) == (-995 * MS, 8 * MS)
    assert source.corrected.max_ns == 5 * MS


def test_how_rows_are_batched_does_not_matter(tmp_path: Path) -> None:
    """A log of one message a batch and the same one in large batches give the same figures."""
    chance = random.Random(3)
    messages = [*definitions(), *(stamped(at(i / 50), chance.randrange(MS, 90 * MS)) for i in range(400))]
    small = measure([(make_log(tmp_path / "s.arrow", messages, with_definitions=False, per_batch=1), "x")])
    large = measure([(make_log(tmp_path / "l.arrow", messages, with_definitions=False, per_batch=300), "x")])
    assert small == large


def test_headlines_are_not_corrected(tmp_path: Path) -> None:
    """A source of headlines has raw figures, a histogram of them, and no clock."""
    defined = definitions(source=SourceData("news"))
    report = measured(tmp_path / "a.arrow", [news(1, "one"), news(5, "two")], defined=defined)
    (source,) = report.sources
    assert report.clocks == []
    assert source.corrected is None
    assert source.raw is not None
    assert sum(bar.count for bar in source.histogram) == 2


def test_the_real_capture_ran_behind_its_venue(real_data: Path, tmp_path: Path) -> None:
    """The recorder of 2024 was 1.27 s behind Binance: raw says so, corrected is that of a network."""
    files = [real_data / "binance_spot" / f"btcusdt_{day}.gz" for day in ("20240808", "20240809")]
    import_capture(files, tmp_path / "real.arrow", venue="binance")
    report = measure([(tmp_path / "real.arrow", "real.arrow")])
    (clock,) = report.clocks
    assert clock.method == "line"
    assert clock.offset_ns / SECOND_NS == pytest.approx(-1.273, abs=0.001)
    assert abs(clock.drift_ppm) < 20
    source = report.sources[0]
    assert (source.messages, source.measured) == (99_573, 26_399)
    assert source.left_out == {"no venue time": 73_174}
    assert source.raw is not None
    assert source.corrected is not None
    assert source.raw.max_ns < 0 <= source.corrected.min_ns
    assert MS < source.corrected.p50_ns < 10 * MS


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_text_fits_eighty_columns(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed of the shipped sample fits a small terminal, and an ASCII one gets ASCII."""
    monkeypatch.setattr("engine.cli.log_latency._block", lambda _: "█" if encoding == "utf-8" else "#")
    done = call("log", "latency", "recordings/2024-06-01.arrow", cwd=ROOT).ok()
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert any("raw, ms" in line for line in lines)
    assert done.out.encode(encoding)


def test_json_is_the_report(tmp_path: Path) -> None:
    """--json prints the whole report as one object."""
    make_log(tmp_path / "a.arrow", [*definitions(), stamped(at(1), 5 * MS)], with_definitions=False)
    done = call("log", "latency", "a.arrow", "--json", cwd=tmp_path).ok()
    assert msgspec.convert(done.json, LatencyReport) == measure([(tmp_path / "a.arrow", "a.arrow")])


def test_a_log_without_messages(tmp_path: Path) -> None:
    """A log of definitions alone is no error: it says that nothing came."""
    make_log(tmp_path / "a.arrow", definitions(), with_definitions=False)
    done = call("log", "latency", "a.arrow", cwd=tmp_path).ok()
    assert "no source sent a message" in done.out
