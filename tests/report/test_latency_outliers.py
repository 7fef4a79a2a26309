"""Raw figures are right whatever a few wrong stamps say, and a wrong stamp proposes no shift."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from engine.model.units import MILLISECOND_NS, SECOND_NS
from engine.report.latency import LatencyReport
from engine.report.raw_times import Middle, Raw
from tests.helpers.command import call
from tests.helpers.latency import measured, stamped
from tests.helpers.logs import Message, at, definitions, make_log

MS = MILLISECOND_NS
HOUR_NS = 3_600 * SECOND_NS
SHARES = (0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999)
Column = np.ndarray[tuple[int], np.dtype[np.int64]]


def differences(seed: int, outliers: int, count: int = 30_000) -> Column:
    """Raw differences of a network 1.27 s behind its venue; so many are wrong by up to two hours."""
    chance = np.random.default_rng(seed)
    values = -1_270 * MS + chance.exponential(3 * MS, count).astype(np.int64)
    wrong = chance.choice(count, outliers, replace=False)
    values[wrong] = chance.integers(-2 * HOUR_NS, 2 * HOUR_NS, outliers)
    return values


def exact(values: Column, share: float) -> int:
    """The smallest value that this share does not exceed."""
    return int(np.sort(values)[max(1, int(np.ceil(share * len(values) - 1e-9))) - 1])


def middle_of(values: Column, pieces: int) -> int:
    """What `Middle` finds, given the column in so many pieces."""
    middle = Middle()
    for part in np.array_split(values, pieces):
        middle.add(part)
    return middle.value()


@pytest.mark.parametrize("outliers", [0, 1, 3_000])
@pytest.mark.parametrize("count", [1, 2, 3, 8_191, 8_192, 8_193, 30_000])
def test_the_middle_is_between_the_quartiles(count: int, outliers: int) -> None:
    """Whatever the outliers are, and however the column comes."""
    values = differences(5, min(outliers, count // 4), count)
    found = {middle_of(values, pieces) for pieces in (1, 2, 7, 100)}
    assert len(found) == 1
    (middle,) = found
    assert exact(values, 0.25) <= middle <= exact(values, 0.75)


@pytest.mark.parametrize("shape", ["ascending", "descending", "two clocks"])
def test_the_middle_of_ordered_columns(shape: str) -> None:
    """The worst that a median of medians can be given: all small values come first, or last."""
    values = np.sort(differences(5, 3_000, 100_000))
    values = {"ascending": values, "descending": values[::-1].copy()}.get(shape, values)
    if shape == "two clocks":
        values[: len(values) // 3] -= HOUR_NS
    assert exact(values, 0.25) <= middle_of(values, 10) <= exact(values, 0.75)


@pytest.mark.parametrize("outliers", [0, 1, 20, 3_000])
@pytest.mark.parametrize("seed", range(3))
def test_raw_percentiles_are_right_whatever_the_outliers(seed: int, outliers: int) -> None:
    """Within 0.4 % of their distance from the middle; the ends are exact, and files are put together."""
    raw, everything, middles = Raw(), [], []
    for file, apart in enumerate((0, 995 * MS, -20 * MS)):
        values = differences(seed + 10 * file, outliers) + apart
        middles.append(middle_of(values, 3))
        raw.begin(middles[-1])
        for part in np.array_split(values, 4):
            raw.add(part)
        everything.append(values)
        together = np.concatenate(everything)
        for share in SHARES:
            true = exact(together, share)
            furthest = max(abs(true - middle) for middle in middles)
            assert abs(raw.quantile(share) - true) <= 0.004 * furthest + 1
        assert (raw.least, raw.most, raw.count) == (together.min(), together.max(), len(together))


def test_raw_of_nothing_and_of_little() -> None:
    """A file of which nothing counts changes nothing; few values are exact."""
    raw = Raw()
    assert (raw.count, raw.least, raw.most, raw.bars(5)) == (0, 0, 0, [])
    raw.begin(-7)
    raw.begin(5 * MS)
    raw.add(np.array([5 * MS, 9 * MS, 5 * MS - 60], dtype=np.int64))
    assert [raw.quantile(share) for share in (0.1, 0.5, 1.0)] == [5 * MS - 60, 5 * MS, 9 * MS]
    assert sum(bar.count for bar in raw.bars(5)) == 3
    raw.begin(-3)
    raw.add(np.array([-3], dtype=np.int64))
    assert raw.bars(5) == []


@pytest.mark.parametrize("outliers", [0, 30])
def test_raw_of_many_files_is_as_right_in_the_same_memory(outliers: int) -> None:
    """800 files, whose clocks drift apart by 0.8 seconds: 0.6 % of the distance, or half a common cell."""
    raw, everything, middles, sizes = Raw(), [], [], []
    for file in range(800):
        values = differences(file, outliers, 100) + file * MS
        middles.append(middle_of(values, 1))
        raw.begin(middles[-1])
        raw.add(values)
        everything.append(values)
        sizes.append(len(raw._table.values))
    assert max(sizes) <= 1 << 15
    assert any(after < before for before, after in itertools.pairwise(sizes))
    together = np.concatenate(everything)
    assert (raw.least, raw.most, raw.count) == (together.min(), together.max(), len(together))
    for share in SHARES:
        true = exact(together, share)
        nearest, furthest = min(middles), max(middles)
        away = max(abs(true - nearest), abs(true - furthest))
        within = nearest - 20 * MS < true < furthest + 20 * MS
        assert abs(raw.quantile(share) - true) <= (MS // 2 if within else 0.006 * away)


def test_raw_of_many_files_of_one_clock_is_as_right_as_of_one() -> None:
    """Where the middles are the same the buckets are, too, and no cell is needed."""
    many, one = Raw(), Raw()
    one.begin(-1_267 * MS)
    for file in range(100):
        values = differences(file, 0, 3_000)
        many.begin(-1_267 * MS)
        many.add(values)
        one.add(values)
    for share in SHARES:
        assert abs(many.quantile(share) - one.quantile(share)) <= 0.004 * abs(
            one.quantile(share) + 1_267 * MS
        )


def calm(seconds: int, base_ns: int = 5 * MS) -> list[Message]:
    """Ten messages a second, of up to a millisecond more than this."""
    return [stamped(at(n / 10), base_ns + n * 7919 % 1000 * 1_000) for n in range(10 * seconds)]


def test_one_wrong_stamp_leaves_the_raw_figures_as_they_are(tmp_path: Path) -> None:
    """A message stamped an hour ahead is the smallest; the percentiles of 5,000 others do not move."""
    good = measured(tmp_path / "a.arrow", calm(500)).sources[0].raw
    with_wrong = measured(tmp_path / "b.arrow", [*calm(500), stamped(at(501), -HOUR_NS)]).sources[0].raw
    assert good is not None
    assert with_wrong is not None
    assert with_wrong.min_ns == -HOUR_NS
    for name in ("p50_ns", "p90_ns", "p99_ns", "max_ns"):
        assert getattr(with_wrong, name) == pytest.approx(getattr(good, name), abs=5_000)


@pytest.mark.parametrize(
    ("seconds", "wrong_ns", "place"),
    [
        (500, -HOUR_NS, 501.0),
        (500, -HOUR_NS, -1.0),
        (20, -HOUR_NS, 7.05),  # all in one minute: no other one says how far it is
        (5_000, -1_500 * MS, 5_001.0),  # a drift that a clock may have would explain it
        (500, -4 * SECOND_NS, 250.05),
    ],
)
def test_a_wrong_stamp_proposes_no_shift(seconds: int, wrong_ns: int, place: float, tmp_path: Path) -> None:
    """It is named instead, with how far it is from the others."""
    messages = sorted([*calm(seconds), stamped(at(place), wrong_ns)], key=lambda message: message.ts)
    report = measured(tmp_path / "a.arrow", messages)
    (clock,) = report.clocks
    assert clock.shift_ns == 0
    assert clock.outlier_ns == pytest.approx(5 * MS - wrong_ns, rel=0.005)
    (warning,) = report.warnings
    assert warning.startswith("a.arrow: binance: the smallest receive - venue time is ")


def clean(report: LatencyReport) -> bool:
    """Whether nothing is said of an outlier."""
    return not report.warnings and not any(clock.outlier_ns for clock in report.clocks)


def test_a_venue_ahead_is_no_outlier(tmp_path: Path) -> None:
    """Where all messages say so the clock is an hour ahead, and the shift is proposed, drift or not."""
    for name, drift in (("flat", 0), ("drifting", 40_000)):
        messages = [stamped(at(n), -HOUR_NS + n * drift + n * 7919 % 1000 * 1_000) for n in range(3_000)]
        report = measured(tmp_path / f"{name}.arrow", messages)
        assert clean(report)
        assert report.clocks[0].shift_ns == -HOUR_NS


def test_a_standstill_is_no_outlier(tmp_path: Path) -> None:
    """Minutes in which everything came five seconds late make the worst minute, not the smallest, strange."""
    late = [stamped(at(200 + n / 10), 5 * SECOND_NS) for n in range(1_200)]
    before, after = calm(200, -900 * MS), [stamped(at(330 + n / 10), -900 * MS) for n in range(2_000)]
    report = measured(tmp_path / "a.arrow", [*before, *late, *after])
    assert clean(report)
    assert report.clocks[0].worst_minute_ns > 5 * SECOND_NS
    assert report.clocks[0].shift_ns == -900 * MS


def test_a_venue_that_is_asked_now_and_then_has_no_outlier(tmp_path: Path) -> None:
    """Ages spread from 0 to a minute are what such stamps are."""
    chance = np.random.default_rng(3)
    ages = chance.integers(-SECOND_NS, 60 * SECOND_NS, 500).tolist()
    assert clean(measured(tmp_path / "a.arrow", [stamped(at(30 * n), age) for n, age in enumerate(ages)]))


@pytest.mark.parametrize("set_by_ns", [0, HOUR_NS])
def test_a_clock_that_was_set_makes_the_shift_doubtful(set_by_ns: int, tmp_path: Path) -> None:
    """Half of the messages say so: it is no outlier, and the proposal says what else it may be."""
    ages = [-2 * HOUR_NS + (set_by_ns if n > 300 else 0) for n in range(600)]
    messages = [*definitions(), *(stamped(at(n), age) for n, age in enumerate(ages))]
    make_log(tmp_path / "a.arrow", messages, with_definitions=False, per_batch=50)
    done = call("log", "latency", "a.arrow", cwd=tmp_path).ok()
    assert "--venue-shift binance=-7200000ms" in done.out
    assert ("unless a clock was set in between" in done.out) == (set_by_ns > 0)
    assert "stamped wrong" not in done.err


def test_the_command_warns(tmp_path: Path) -> None:
    """On the error output; the text proposes no --venue-shift."""
    messages = [*definitions(), *calm(60), stamped(at(61), -HOUR_NS)]
    make_log(tmp_path / "a.arrow", messages, with_definitions=False)
    done = call("log", "latency", "a.arrow", cwd=tmp_path).ok()
    assert "a few were stamped wrong" in done.err
    assert "--venue-shift" not in done.out
