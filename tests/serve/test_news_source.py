"""Headlines from tables and logs; faults from words; and what is wrong with either."""

from __future__ import annotations

from pathlib import Path

import pytest

import engine
from engine.log.schema import LogHeader
from engine.log.writer import LogWriter
from engine.model.errors import InputError, UsageError
from engine.model.kinds import Flag, Kind, NewsData, encode_canonical
from engine.model.units import MILLISECOND_NS, SECOND_NS
from engine.serve.news_faults import NewsFault, parse_news_fault, parse_news_faults
from engine.serve.news_source import SHIPPED, read_headlines, shipped_headlines

SAMPLE = Path(__file__).parents[2] / "recordings" / "2024-06-01.arrow"


def test_the_shipped_headlines() -> None:
    """All of the file, in order, each said to be synthetic."""
    found = read_headlines()
    assert found.description == f"{len(found.items)} invented headlines"
    assert len(found.items) == 16
    assert all(item.news.headline.startswith("Synthetic headline:") for item in found.items)
    assert shipped_headlines().parts[-2] == "headlines"


def test_the_shipped_headlines_of_an_installed_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There they stand inside the package; where they are missing, the error says what to do."""
    package = tmp_path / "engine"
    monkeypatch.setattr(engine, "__file__", str(package / "__init__.py"))
    with pytest.raises(InputError, match="is not installed") as caught:
        read_headlines()
    assert "--from" in caught.value.hint
    inside = package / "shipped" / "data" / "headlines" / SHIPPED
    inside.parent.mkdir(parents=True)
    inside.write_text("published,headline\n2024-06-01T00:00:00Z,A\n", encoding="utf-8")
    assert shipped_headlines() == inside
    assert len(read_headlines().items) == 1


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    """Any order of rows and columns; what is not there is empty; ids are made."""
    path = tmp_path / "own.CSV"
    path.write_text(
        "\ufeffheadline,published,url,symbols,summary\n"
        '"Later, with a comma",2024-06-01T00:00:02Z,https://a.example/1,BTC ETH,More\n'
        "Earlier,2024-06-01T02:00:01+02:00,,,\n",
        encoding="utf-8",
    )
    found = read_headlines(path)
    assert found.description == "2 headlines of own.CSV"
    first, second = (item.news for item in found.items)
    assert first == NewsData(id="line-2", headline="Earlier")
    assert second == NewsData(
        id="line-1",
        headline="Later, with a comma",
        summary="More",
        url="https://a.example/1",
        symbols=("BTC", "ETH"),
    )
    assert found.items[1].at_ns - found.items[0].at_ns == SECOND_NS


def test_the_headlines_of_a_log() -> None:
    """The sample's NEWS rows, in the distances in which they were received."""
    found = read_headlines(SAMPLE)
    table = read_headlines()
    assert [item.news for item in found.items] == [item.news for item in table.items]
    assert [item.published_ns for item in found.items] == [item.published_ns for item in table.items]
    delays = {(item.at_ns - item.published_ns) // MILLISECOND_NS for item in found.items}
    assert delays == {1_300}


TABLES = [
    ("", "no column published and no column headline"),
    ("headline,source\nA,b\n", "no column published"),
    ("published,headline\n", "it holds no headline"),
    ("published,headline\n2024-06-01T00:00:00Z,\n", "line 2: the headline is empty"),
    ("published,headline\n2024-06-01T00:00:00Z\n", "line 2: the headline is empty"),
    ("published,headline\nyesterday,A\n", 'line 2: published: "yesterday"'),
    ("published,headline\n2024-06-01T00:00:00,A\n", "is not a time with a zone"),
    ('published,headline\n2024-06-01T00:00:00Z,"A\n', "it is no CSV"),
    (f"published,headline\n2024-06-01T00:00:00Z,{'a' * 200_000}\n", "it is no CSV"),
    ("published,headline\n2024-06-01T00:00:00Z,\udcff\n", "is not UTF-8"),
]


@pytest.mark.parametrize(("text", "words"), TABLES, ids=[words for _, words in TABLES])
def test_tables_that_are_none(text: str, words: str, tmp_path: Path) -> None:
    """The file, the line and what to do."""
    path = tmp_path / "own.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=words) as caught:
        read_headlines(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """A table and a log, by name."""
    for name in ("no.csv", "no.arrow"):
        with pytest.raises(InputError, match=name):
            read_headlines(tmp_path / name)


def test_a_log_without_headlines(tmp_path: Path) -> None:
    """Nothing could be served; and a row that is no headline is named."""
    for number, data in enumerate((None, b'{"id":1}')):
        path = tmp_path / f"{number}.arrow"
        with LogWriter(path, LogHeader()) as writer:
            if data is not None:
                writer.rows.append(1, Kind.NEWS, flags=int(Flag.LAST), data=data)
            writer.close(reason="test", ts=2)
        with pytest.raises(
            InputError, match="it holds no headline" if data is None else "row 0: its headline"
        ):
            read_headlines(path)


def test_a_log_that_revises(tmp_path: Path) -> None:
    """A REVISED row comes after the one that it revises, under the same id."""
    path = tmp_path / "a.arrow"
    with LogWriter(path, LogHeader()) as writer:
        for ts, text in ((5, "old"), (9, "new")):
            data = encode_canonical(NewsData(id="x", headline=text))
            writer.rows.append(ts, Kind.NEWS, flags=int(Flag.LAST), data=data)
        writer.close(reason="test", ts=10)
    assert [(item.at_ns, item.published_ns, item.news.headline) for item in read_headlines(path).items] == [
        (5, 5, "old"),
        (9, 9, "new"),
    ]


FAULTS = [
    ("429", NewsFault("429", SECOND_NS)),
    ("429:2s", NewsFault("429", 2 * SECOND_NS)),
    ("429:1.5s:every3", NewsFault("429", 1_500 * MILLISECOND_NS, every=3)),
    ("500:0.25", NewsFault("500", chance=0.25)),
    ("malformed:first2", NewsFault("malformed", first=2)),
    ("stall", NewsFault("stall")),
    ("stall:200ms:first1", NewsFault("stall", 200 * MILLISECOND_NS, first=1)),
    ("edit", NewsFault("edit", 5 * SECOND_NS)),
    (" edit:1s ", NewsFault("edit", SECOND_NS)),
]


@pytest.mark.parametrize(("text", "fault"), FAULTS, ids=[text for text, _ in FAULTS])
def test_faults_in_words(text: str, fault: NewsFault) -> None:
    """Each form is what it says."""
    assert parse_news_fault(text) == fault


@pytest.mark.parametrize(
    "text",
    [
        "",
        "503",
        "429:",
        "429:2",
        "500:2s",
        "429:every0",
        "429:2s:3s",
        "429:0.5:every2",
        "edit:1s:2s:3s",
        "500:2",
        "500:nan",
    ],
)
def test_words_that_are_no_fault(text: str) -> None:
    """Refused, with the forms that there are."""
    with pytest.raises(UsageError, match="fault") as caught:
        parse_news_fault(text)
    assert caught.value.hint


def test_when_a_fault_strikes() -> None:
    """Every so many, the first few, or by a seeded chance that depends on nothing else."""
    every, first, chance = (parse_news_fault(f"500:{when}") for when in ("every3", "first2", "0.3"))
    assert [n for n in range(1, 10) if every.strikes(n, 7)] == [3, 6, 9]
    assert [n for n in range(1, 10) if first.strikes(n, 7)] == [1, 2]
    struck = [n for n in range(1, 1_001) if chance.strikes(n, 7)]
    assert 250 < len(struck) < 350
    assert struck == [n for n in range(1, 1_001) if chance.strikes(n, 7)]
    assert struck != [n for n in range(1, 1_001) if chance.strikes(n, 8)]


def test_edits_are_kept_apart() -> None:
    """They are of headlines; all others are of requests."""
    requests, edits = parse_news_faults(("500", "edit", "429:2s"))
    assert [fault.name for fault in requests] == ["500", "429"]
    assert [fault.name for fault in edits] == ["edit"]
