"""A fetch that cannot go on: words and a hint, never a traceback; and keys that a server repeats."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engine.feed.parser import Malformed
from engine.live import fetch as fetch_module
from engine.live.credentials import Secret
from engine.live.fetch_client import ATTEMPTS, Answer, Client
from engine.live.fetch_plan import Request, check_times, time_of
from engine.live.rest import Refused
from engine.log.reader import LogReader
from engine.model.errors import DecimalError, EngineError, UsageError, VenueError
from engine.model.units import SECOND_NS
from engine.serve.http import Exchange, HttpServer
from engine.serve.rest import Reply
from tests.helpers.command import call
from tests.helpers.history_venue import MIDNIGHT, NOW_S, Past, Scripted, Time

KEY, SECRET = "PKPLANTED0123456789", "planted/secret+of-the-test"
STARS = "*" * len(KEY)
ARTICLE = {
    "id": 1,
    "headline": f"your key {KEY} and {SECRET}",
    "created_at": "2024-06-03T14:00:00Z",
    "updated_at": "2024-06-03T14:00:00Z",
    "url": f"https://example.invalid/{KEY}",
    "symbols": ["AAPL"],
}


@pytest.fixture(scope="module")
def past() -> Past:
    """Two minutes around a midnight."""
    return Past(minutes=2, symbols=("BTCUSDT",))


def test_keys_in_a_good_answer_stand_in_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An article that quotes the keys it was asked with is in the log with stars in their place."""
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    body = json.dumps({"news": [ARTICLE], "next_page_token": None}).encode()

    async def handle(exchange: Exchange) -> None:
        await exchange.send(Reply(200, [], body))

    async def session(*arguments: str) -> str:
        async with HttpServer(handle) as server:
            done = await asyncio.to_thread(call, *arguments, "--url", server.url, cwd=tmp_path)
        return done.ok().out + done.err

    span = ("--from", "2024-06-03", "--to", "2024-06-04")
    said = asyncio.run(session("fetch", "--venue", "alpaca-news", "--symbols", "*", *span))
    (log,) = tmp_path.rglob("*.arrow")
    with LogReader(log) as reader:
        texts = [batch.data_at(row) or b"" for batch in reader.batches() for row in range(batch.count)]
    shown = b"\n".join(texts).decode() + said
    assert KEY not in shown
    assert SECRET not in shown
    assert f"your key {STARS} and {'*' * len(SECRET)}" in shown


def asking(answers: Callable[[], Answer]) -> tuple[Client, list[str]]:
    """A client of a venue that answers so, and what it says of trouble."""

    async def transport(_path: str) -> Answer:
        return answers()

    client = Client(transport, "http://venue.invalid", clock=Time().clock())
    said: list[str] = []
    client.on_trouble = said.append
    return client, said


def test_pages_are_kept_without_keys() -> None:
    """What is understood and what is written is the answer with stars."""
    Secret(KEY)
    taken: list[bytes] = []
    client, _ = asking(lambda: Answer(200, {}, f'["{KEY}"]'.encode()))
    body = asyncio.run(client.get("/p", taken.append))
    assert [body] == taken == [f'["{STARS}"]'.encode()]


def test_keys_in_a_trouble_are_not_said() -> None:
    """Neither in the note of what is tried again nor in the error at its end, whoever put it into words."""
    Secret(KEY)

    def refuse(body: bytes) -> None:
        raise Malformed("no such page", field="p", value=body.decode())

    def broken() -> Answer:
        raise OSError(f"illegal header: {KEY}")

    for answers in (broken, lambda: Answer(200, {}, KEY.encode())):
        client, said = asking(answers)
        with pytest.raises(VenueError, match=f"tried {ATTEMPTS} times") as end:
            asyncio.run(client.get("/p", refuse))
        assert KEY not in str(end.value) + "".join(said)
        assert len(said) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"msg":"\xff\xfe"}',
        b"\xff\xfe",
        b'{"x":' + b"[" * 100_000,
        b'{"code":99999999999999999999,"msg":"a"}',
        b'{"code":-1.5,"msg":"a"}',
        b'{"code":-1,"msg":"\\ud800"}',
        b"[]",
        b"",
    ],
)
def test_errors_that_no_venue_would_send_are_refusals(body: bytes) -> None:
    """Whatever stands in the body of an error, it is one in words that can be printed."""
    client, _ = asking(lambda: Answer(400, {}, body))
    with pytest.raises(Refused, match=r"answered HTTP 400: \S") as refused:
        asyncio.run(client.get("/p", bytes))
    assert len(str(refused.value).encode()) < 500


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59-05:00",
        "2024-06-01T00:00:00.0000009",
        "2024-06-01T00:00:00.0000009Z",
        "2024-06-01T00:00:00,1230001",
        "2024-06-01T00:00:00.0001",
    ],
)
def test_times_out_of_reach_or_too_fine_are_refused(text: str) -> None:
    """Before the first year, after the last, finer than a millisecond by however little."""
    with pytest.raises(UsageError, match="is not a whole millisecond between 1970 and 2200") as refused:
        time_of(text, "--from")
    assert "write 2024-06-01" in refused.value.hint


@pytest.mark.parametrize("text", ["2024-06-02T00:00:00.000", "2024-06-02T00:00:00.000000000Z"])
def test_noughts_are_not_too_fine(text: str) -> None:
    """Digits that say nothing are let through."""
    assert time_of(text, "--from") == MIDNIGHT


@pytest.mark.parametrize("latency", ["99999999999s", "9" * 5_000 + "h"])
def test_a_latency_of_ages_is_refused_at_once(tmp_path: Path, latency: str) -> None:
    """Rows of such times fit no log: said before anybody is asked, and no folder is left."""
    span = ("--from", "2024-06-01", "--to", "2024-06-02")
    url = ("--url", "http://127.0.0.1:1")
    done = call("fetch", "--symbols", "BTCUSDT", *span, "--feed-latency", latency, *url, cwd=tmp_path)
    assert (done.code, "--feed-latency is too long" in done.err, "hint: " in done.err) == (2, True, True)
    assert list(tmp_path.rglob("*")) == []


def test_the_longest_latency() -> None:
    """Odd ones can be written; the first that cannot is refused."""
    left = 7_289_654_400 * SECOND_NS - MIDNIGHT  # until 2201-01-01
    request = Request("binance", (), (), MIDNIGHT - 1, MIDNIGHT, "", "", feed_latency_ns=left)
    check_times(request, NOW_S * SECOND_NS)
    with pytest.raises(UsageError, match="--feed-latency"):
        check_times(msgspec.structs.replace(request, feed_latency_ns=left + 1), NOW_S * SECOND_NS)


def fails(patch: pytest.MonkeyPatch, name: str, part: str, number: int = errno.ENOSPC) -> None:
    """A function of the system fails so for files whose path has this part."""
    known = getattr(os, name)

    def fail(handle: int, *arguments: bytes) -> object:
        if part in str(Path(f"/proc/self/fd/{handle}").readlink()):
            raise OSError(number, os.strerror(number))
        return known(handle, *arguments)

    patch.setattr(os, name, fail)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize(("name", "part"), [("write", "/log/"), ("fsync", ".arrow.tmp")])
def test_a_full_disk_is_said_as_it_concerns_a_fetch(
    past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, part: str, number: int
) -> None:
    """Make room and start again, whether writing or sealing failed; the day is not asked for again."""
    first = Scripted(past, Time())
    with monkeypatch.context() as patch:
        fails(patch, name, part, number)
        with pytest.raises(EngineError, match=os.strerror(number)) as refused:
            asyncio.run(past.fetch(tmp_path, first).run())
    assert refused.value.hint.startswith("make room and start it again")
    second = Scripted(past, Time())
    report = asyncio.run(past.fetch(tmp_path, second).run())
    assert report.facts == len(past.aggregates("BTCUSDT", past.begin, past.end))
    assert not set(first.paths[:2]) & set(second.paths)  # the symbols; the day's first page


def test_a_full_disk_between_two_days(past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the next day begins with cannot be written: the same words."""
    write_whole = fetch_module._write_whole

    def full(path: Path, text: bytes) -> None:
        if path.name == fetch_module.CARRIED:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write_whole(path, text)

    monkeypatch.setattr(fetch_module, "_write_whole", full)
    with pytest.raises(EngineError, match=r"carried\.json: No space left on device") as refused:
        asyncio.run(past.fetch(tmp_path, Scripted(past, Time())).run())
    assert refused.value.hint.startswith("make room and start it again")


@pytest.mark.parametrize("kind", [DecimalError, EngineError])
def test_other_errors_of_a_log_keep_their_hints(
    past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[EngineError]
) -> None:
    """What has nothing to do with room is said as it was, of whichever kind it is."""

    def refuse(*_arguments: object, **_more: object) -> None:
        raise kind("a price", hint="another hint")

    monkeypatch.setattr(fetch_module, "write_history", refuse)
    with pytest.raises(kind) as refused:
        asyncio.run(past.fetch(tmp_path, Scripted(past, Time())).run())
    assert refused.value.hint == "another hint"


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize(
    ("name", "part"), [("write", "/log/"), ("fsync", ".arrow.tmp"), ("write", "aggtrade-BTCUSDT")]
)
def test_nobody_is_told_to_make_room_where_there_is_some(
    past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, part: str, number: int
) -> None:
    """A disk that fails, or may not be written, is said as what it is, of a log, its seal and a page."""
    fails(monkeypatch, name, part, number)
    with pytest.raises(EngineError, match=os.strerror(number)) as refused:
        asyncio.run(past.fetch(tmp_path, Scripted(past, Time())).run())
    assert "room" not in refused.value.hint


def test_a_log_that_cannot_be_created(past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that may only be read, no hint speaks of room; without room, it does."""
    known = os.open
    number = errno.EROFS

    def refuse(path: str, flags: int, *arguments: int, **more: int) -> int:
        if flags & os.O_CREAT and "/log/" in str(path):
            raise OSError(number, os.strerror(number), str(path))
        return known(path, flags, *arguments, **more)

    monkeypatch.setattr(os, "open", refuse)
    for number in (errno.EROFS, errno.ENOSPC):
        with pytest.raises(EngineError, match=f"cannot be created: {os.strerror(number)}") as refused:
            asyncio.run(past.fetch(tmp_path, Scripted(past, Time())).run())
        assert refused.value.hint.startswith("make room and start it again") == (number == errno.ENOSPC)
