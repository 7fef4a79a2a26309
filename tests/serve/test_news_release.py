"""Headlines over time, on a clock that is a number: when each appears, what edits do, how it begins again."""

from __future__ import annotations

import pytest

from engine.model.errors import UsageError
from engine.model.kinds import NewsData
from engine.model.units import SECOND_NS
from engine.serve.news_faults import parse_news_faults
from engine.serve.news_release import SHOWN_MAX, Releases
from engine.serve.news_source import Headline

BEGAN = 1_000_000 * SECOND_NS


def headline(second: float, name: str, text: str = "", symbols: tuple[str, ...] = ()) -> Headline:
    """A headline that came at a second; published two seconds before."""
    at = int(second * SECOND_NS)
    return Headline(at, at - 2 * SECOND_NS, NewsData(id=name, headline=text or name, symbols=symbols))


THREE = [
    headline(100, "a", symbols=("BTCUSDT", "ETHUSDT")),
    headline(110, "b"),
    headline(140, "c", symbols=("ETHUSDT",)),
]


def texts(releases: Releases, second: float, most: int = 10, symbol: str = "") -> list[str]:
    """What is shown so many seconds after the beginning."""
    releases.advance(BEGAN)  # the first call is the beginning; later ones in the past change nothing
    releases.advance(BEGAN + int(second * SECOND_NS))
    return [shown.news.headline for shown in releases.newest(most, symbol)]


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({}, (10.0, 40.0)),
        ({"speed": 10.0}, (1.0, 4.0)),
        ({"every_ns": 3 * SECOND_NS}, (3.0, 6.0)),
    ],
    ids=str,
)
def test_each_appears_in_its_time(options: dict[str, float], times: tuple[float, float]) -> None:
    """The first at once; the others not a nanosecond early; newest first; the time is that of appearing."""
    releases = Releases(THREE, **options)  # type: ignore[arg-type]
    assert texts(releases, 0) == ["a"]
    for count, second in enumerate(times, start=1):
        assert len(texts(releases, second - 1e-6)) == count
        assert texts(releases, second) == ["c", "b", "a"][2 - count :]
    assert releases.over
    expected = [BEGAN + int(second * SECOND_NS) for second in (times[1], times[0], 0)]
    assert [shown.datetime_ns for shown in releases.newest(10)] == expected


def test_all_at_once() -> None:
    """With an infinite speed everything is there with the first request."""
    releases = Releases(THREE, speed=float("inf"))
    assert texts(releases, 0) == ["c", "b", "a"]
    assert releases.over


def test_times_may_be_kept() -> None:
    """Then they are those of the publication."""
    releases = Releases(THREE, keep_times=True)
    texts(releases, 100)
    assert [shown.datetime_ns // SECOND_NS for shown in releases.newest(10)] == [138, 108, 98]


def test_of_one_symbol_and_so_many() -> None:
    """By any of its symbols, in any case; at most as many as are asked for."""
    releases = Releases(THREE, speed=float("inf"))
    assert texts(releases, 0, symbol="ethusdt") == ["c", "a"]
    assert texts(releases, 0, 1, symbol="ETHUSDT") == ["c"]
    assert texts(releases, 0, symbol="XRP") == []
    assert texts(releases, 0, 2) == ["c", "b"]


def test_a_list_begins_again_under_other_names() -> None:
    """After the average distance; ids and addresses are new, texts are the same, places are kept."""
    releases = Releases(THREE, repeat=True)
    assert texts(releases, 59.9) == ["c", "b", "a"]
    assert texts(releases, 60) == ["a", "c", "b", "a"]
    assert texts(releases, 999)[:3] == ["b", "a", "c"]
    assert not releases.over
    shown = releases.newest(SHOWN_MAX)
    assert releases.released == len(shown) == 50
    assert len({each.news.id for each in shown}) == len({each.news.url for each in shown}) == 50
    assert shown[-1].news.url == "https://news.example/a"
    assert shown[-4].news.id == "a-2"
    assert shown[-4].news.url == "https://news.example/a?round=2"


def test_a_long_list_keeps_its_newest() -> None:
    """So that a session of weeks needs no more memory than one of minutes."""
    releases = Releases([headline(1, "only")], every_ns=SECOND_NS, repeat=True)
    texts(releases, 10_000)
    assert releases.released == 10_001
    assert len(releases.newest(10**9)) == SHOWN_MAX


def test_repeating_at_once_for_ever_is_refused() -> None:
    """It would never end."""
    with pytest.raises(UsageError, match="--repeat with --speed max"):
        Releases(THREE, speed=float("inf"), repeat=True)


def test_repeating_what_takes_no_time_goes_on_slowly() -> None:
    """A list without distances: a minute between the rounds."""
    releases = Releases([headline(1, "x"), headline(1, "y")], repeat=True)
    assert len(texts(releases, 59)) == 2
    assert len(texts(releases, 60)) == 4


def test_a_row_of_an_earlier_id_is_an_edit() -> None:
    """It keeps place and time, and counts as changed when it came."""
    releases = Releases([*THREE[:2], headline(120, "a", "a, corrected"), THREE[2]])
    assert texts(releases, 20) == ["b", "a, corrected"]
    edited = releases.newest(2)[1]
    assert (edited.datetime_ns, edited.changed_ns) == (BEGAN, BEGAN + 20 * SECOND_NS)


def test_edits_on_request() -> None:
    """The fault corrects each second headline, so long after it appeared."""
    _, edits = parse_news_faults(("edit:4s:every2",))
    releases = Releases(THREE, edits=edits)
    assert texts(releases, 13.9) == ["b", "a"]
    assert texts(releases, 14) == ["b (corrected)", "a"]
    assert texts(releases, 1_000) == ["c", "b (corrected)", "a"]
    assert releases.newest(2)[1].datetime_ns == BEGAN + 10 * SECOND_NS


def test_a_late_request_finds_the_same() -> None:
    """Whoever comes late sees what everybody sees: each change has its own time."""
    _, edits = parse_news_faults(("edit:4s",))
    early, late = (Releases(THREE, repeat=True, edits=edits) for _ in range(2))
    late.advance(BEGAN)
    for second in range(0, 300, 7):
        texts(early, second)
    assert texts(late, 294) == texts(early, 294)
    assert late.newest(99) == early.newest(99)
