"""News as a user records and trades on them: `--feed news:URL`, beside a venue and alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.log.journal import read_journal
from engine.log.reader import LogReader
from engine.model.kinds import Flag, Kind
from tests.helpers.command import call, local_venue, run_folders, running, until
from tests.helpers.rows import Row, rows_of_batch

BUSY = ("--strategy", str(Path(__file__).parents[1] / "helpers" / "strategies" / "busy.py"))
OFTEN = ("--news-every", "100ms")


@contextmanager
def local_news(cwd: Path, *arguments: str) -> Iterator[str]:
    """`engine serve --as news` in a process of its own; the address for --feed."""
    with running("serve", "--as", "news", "--port", "0", "--json", *arguments, cwd=cwd) as server:
        yield str(msgspec.json.decode(server.line())["http"])
        server.send(signal.SIGTERM)
        server.end().ok()


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A local venue with an invented market, for all tests of this file."""
    with local_venue(tmp_path_factory.mktemp("venue")) as address:
        yield address


def read(path: Path) -> list[Row]:
    """Every row of a log."""
    with LogReader(path) as reader:
        return [row for batch in reader.batches() for row in rows_of_batch(batch)]


def headlines(rows: list[Row]) -> list[str]:
    return [row.data["headline"] for row in rows if row.kind is Kind.NEWS]


def heard(cwd: Path) -> list[str]:
    """What the newest run's strategy has logged of headlines by now."""
    folders = run_folders(cwd)
    if not folders or not (folders[-1] / "journal.arrow").exists():
        return []
    rows = read_journal(folders[-1] / "journal.arrow").to_pylist()
    return [text for row in rows if "headline" in (text := str(row.get("text") or row.get("data") or ""))]


def assert_same_again(cwd: Path, result: dict[str, Any]) -> None:
    """`verify` says the same, and a backtest over the session's own log gives the same hash."""
    log = f"{result['run_dir']}/log.arrow"
    verified = call("verify", result["run_dir"], *BUSY, "--json", cwd=cwd).ok().json
    assert verified["same"]
    again = call("backtest", log, *BUSY, "--with-commands", "--runs", "again", "--json", cwd=cwd).ok().json
    assert again["journal_hash"] == result["journal_hash"] == verified["replayed_hash"]


def test_a_session_hears_the_news_and_is_verified(venue: str, tmp_path: Path) -> None:
    """on_news hears each headline as it comes, edits too; verify and a backtest give the same hash."""
    serving = (
        "--headline-every",
        "150ms",
        "--repeat",
        "--fault",
        "edit:200ms:every3",
        "--fault",
        "500:every9",
    )
    with local_news(tmp_path, *serving) as news:
        live = ("live", "--paper", "--symbols", "BTCUSDT,ETHUSDT", "--url", venue, "--feed", f"news:{news}")
        with running(*live, *OFTEN, *BUSY, "--json", cwd=tmp_path) as session:
            until(lambda: len(heard(tmp_path)) >= 12, "it hears headlines")
            session.send(signal.SIGINT)
            result = session.end().ok().json
    rows = read(tmp_path / result["run_dir"] / "log.arrow")
    stop = next(row.ts for row in rows if row.kind is Kind.COMMAND)
    before = headlines([row for row in rows if row.ts < stop])
    assert len(before) >= 12
    assert len(heard(tmp_path)) == len(before)
    assert any(text.endswith("(corrected)") for text in before)
    assert any(row.flags & Flag.REVISED for row in rows if row.kind is Kind.NEWS)
    assert result["orders"] > 0
    assert_same_again(tmp_path, result)


def test_a_session_that_follows_a_recording_hears_them_too(venue: str, tmp_path: Path) -> None:
    """The recorder listens to venue and news; whoever follows its log gets both, and is verified."""
    with local_news(tmp_path, "--headline-every", "150ms", "--repeat") as news:
        record = (
            "record",
            "--symbols",
            "BTCUSDT",
            "--url",
            venue,
            "--feed",
            f"news:{news}",
            *OFTEN,
            "--json",
        )
        with running(*record, cwd=tmp_path) as recorder:
            folder = tmp_path / "recordings"
            until(lambda: [p for p in folder.glob("*.arrow") if p.stat().st_size > 2_000], "it records")
            live = ("live", "--paper", "--tail", next(folder.glob("*.arrow")), *BUSY, "--json")
            with running(*live, cwd=tmp_path) as session:
                until(lambda: len(heard(tmp_path)) >= 5, "it hears headlines")
                recorder.send(signal.SIGINT)
                recorded = recorder.end().ok().json
                result = session.end().ok().json
    original = headlines(read(tmp_path / recorded["files"][0]))
    assert headlines(read(tmp_path / result["run_dir"] / "log.arrow")) == original
    assert recorded["kinds"]["news"] == len(original) >= 5
    assert_same_again(tmp_path, result)


def test_news_alone(tmp_path: Path) -> None:
    """A recording without a venue: checked, shown, and served again."""
    with local_news(tmp_path, "--speed", "max") as news:
        record = ("record", "--feed", f"news:{news}?last=16", "--for", "300ms", "--json")
        result = call(*record, cwd=tmp_path).ok().json
        text = call(*record[:-1], "--to", "text", cwd=tmp_path).ok().out
    assert (result["kinds"]["news"], result["sealed"]) == (16, True)
    assert "16 news" in text
    (path,) = result["files"]
    call("log", "check", path, cwd=tmp_path).ok()
    found = call("log", "query", path, "SELECT headline FROM news", "--json", cwd=tmp_path).ok().json
    assert len(found["rows"]) == 16
    with local_news(tmp_path, "--from", path, "--speed", "max") as again:
        second = call(
            "record", "--feed", f"news:{again}?last=16", "--for", "100ms", "--to", "b", "--json", cwd=tmp_path
        )
    rows = read(tmp_path / path)
    assert headlines(read(tmp_path / second.ok().json["files"][0])) == headlines(rows)
    with LogReader(tmp_path / path) as reader:
        assert reader.header.venues == ("news",)


def test_a_recording_made_again_from_its_frames(venue: str, tmp_path: Path) -> None:
    """`engine log rebuild` takes the headlines as they are, and finds no difference."""
    with local_news(tmp_path) as news:
        record = (
            "record",
            "--symbols",
            "BTCUSDT",
            "--url",
            venue,
            "--feed",
            f"news:{news}",
            "--for",
            "1s",
            "--json",
        )
        result = call(*record, cwd=tmp_path).ok().json
    assert result["kinds"]["news"] == 1
    report = call("log", "rebuild", result["files"][0], "--json", cwd=tmp_path).ok().json
    assert (report["count"], report["unparsed"]) == (0, 1)


def test_a_key_is_nowhere(tmp_path: Path) -> None:
    """Not on the terminal and not in any byte of the recording."""
    key = "s3cr3t-s3cr3t-s3cr3t"
    with local_news(tmp_path) as news:
        record = ("record", "--feed", f"news:{news}?token={key}", "--for", "100ms", "--no-seal")
        done = call(*record, cwd=tmp_path).ok()
    (path,) = (tmp_path / "recordings").glob("*.arrow")
    written = path.read_bytes()
    assert b"token=***" in written
    assert key.encode() not in written
    refused = call("record", "--feed", f"news:http://127.0.0.1:1/?token={key}", cwd=tmp_path)
    assert refused.code == 4
    assert "token=***" in refused.err
    assert key not in done.out + done.err + refused.out + refused.err


RECORD = [
    ((), "there is nothing to record"),
    (
        ("--url", "ws://127.0.0.1:1", "--feed", "news:http://127.0.0.1:1/"),
        "--url is an address of binance, which is not listened to",
    ),
    (
        ("--url", "ws://127.0.0.1:1", "--feed", "kraken:BTC/USD", "--feed", "coinbase:BTC-USD"),
        "--url ws://127.0.0.1:1: of which venue?",
    ),
    (("--feed", "prices:http://h/"), 'there is no feed "prices"'),
    (("--feed", "https://user:hunter2@h/"), 'there is no feed "https"'),
    (("--feed", "news"), "--feed news: from where?"),
    (("--feed", "news:"), "--feed news: from where?"),
    (("--feed", "news:nowhere"), 'news "nowhere" is no address'),
    (("--feed", "news:https://user:hunter2@h/"), "has a user or a password in it"),
    (("--feed", "news:http://news.example/?token=hunter2"), "must not travel without encryption"),
    (("--feed", "news:https://h/", "--feed", "news:https://h/"), "is named twice"),
    (("--feed", "news:https://h/", "--news-every", "5"), '--news-every: "5" is no duration'),
    (("--feed", "news:https://h/", "--news-every", "10ms"), "--news-every 0.01s: 100ms to 24h"),
    (("--symbols", "BTCUSDT", "--news-every", "5s"), "--news-every is of a news feed"),
]


@pytest.mark.parametrize(("arguments", "words"), RECORD, ids=[" ".join(each[0]) for each in RECORD])
def test_mistakes_of_recording(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    """Each its words, a hint, exit code 2, nothing on stdout, no file, no secret."""
    done = call("record", *arguments, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert "\nhint: " in done.err
    assert "hunter2" not in done.err
    assert list(tmp_path.iterdir()) == []


def test_an_address_without_a_name_is_that_of_the_only_venue(tmp_path: Path) -> None:
    """`--feed kraken:… --url ADDRESS` asks there, and the error names it."""
    feeds = ("--feed", "kraken:BTC/USD", "--feed", "news:http://127.0.0.1:1/")
    done = call("record", *feeds, "--url", "ws://127.0.0.1:1", cwd=tmp_path)
    assert done.code == 4
    assert "http://127.0.0.1:1/" in done.err
    done = call("record", *feeds[:2], "--url", "ws://127.0.0.1:1", cwd=tmp_path)
    assert done.code == 4
    assert "http://127.0.0.1:1/0/public/AssetPairs cannot be reached" in done.err


LIVE = [
    (("--feed", "news:https://h/"), "name --symbols to listen to, or a log to --tail"),
    (("--tail", "a.arrow", "--feed", "news:https://h/"), "a followed log brings its own feeds"),
    (("--symbols", "BTCUSDT", "--feed", "tv:1"), 'there is no feed "tv"'),
]


@pytest.mark.parametrize(("arguments", "words"), LIVE, ids=[" ".join(each[0]) for each in LIVE])
def test_mistakes_of_a_session(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    """Each its words, exit code 2, and no run folder."""
    done = call("live", "--paper", *arguments, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert run_folders(tmp_path) == []


def test_an_endpoint_that_is_none_leaves_nothing(venue: str, tmp_path: Path) -> None:
    """The venue is there and the feed is not: exit code 4, the address, no folder of a run."""
    live = ("live", "--paper", "--symbols", "BTCUSDT", "--url", venue, "--feed", f"news:{venue}/api/v3/ping")
    done = call(*live, cwd=tmp_path)
    assert done.code == 4
    assert "answered what is no list of headlines" in done.err
    assert run_folders(tmp_path) == []
