"""Asking for history: limits are kept, bans obeyed, troubles tried again, and refusals said at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine.feed.parser import Malformed
from engine.live.fetch_client import ATTEMPTS, Answer, Client, Http, base_of
from engine.live.rest import Refused
from engine.model.errors import EngineError, UsageError, VenueError
from engine.serve.http import Exchange, HttpServer
from engine.serve.rest import Reply
from tests.helpers.history_venue import NOW_S, Time

GOOD = Answer(200, {}, b"[1]")


def answer(status: int, body: bytes = b"{}", **headers: str) -> Answer:
    """An answer with headers, underscores for dashes."""
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


class Script:
    """A transport that answers from a list, and then well."""

    def __init__(self, *answers: Answer | BaseException) -> None:
        self.answers = list(answers)
        self.time = Time()
        self.asked = 0
        self.troubles: list[str] = []

    async def __call__(self, _path: str) -> Answer:
        """The next answer of the list."""
        self.asked += 1
        found = self.answers.pop(0) if self.answers else GOOD
        if isinstance(found, BaseException):
            raise found
        return found

    def get(self, take: Any = lambda _body: None, *, limit: int = 0, times: int = 1) -> bytes:
        """Ask so many times; the last body."""
        client = Client(self, "http://v.invalid", clock=self.time.clock(), weight_of=lambda _path: 10)
        client.on_trouble = self.troubles.append
        client.allowance.weight_limit = limit

        async def ask() -> bytes:
            body = b""
            for _ in range(times):
                body = await client.get("/p", take)
            return body

        return asyncio.run(ask())


@pytest.mark.parametrize("status", [429, 418])
def test_a_ban_is_waited_for(status: int) -> None:
    """Retry-After is waited for to the second, and then the answer is taken."""
    script = Script(answer(status, retry_after="17"), answer(status, retry_after="3"))
    assert script.get() == b"[1]"
    assert script.time.waits == [17.0, 3.0]


def test_a_ban_without_a_time_is_a_minute() -> None:
    """A venue that does not say how long is left alone for a minute."""
    script = Script(answer(429))
    script.get()
    assert script.time.waits == [60.0]


def test_a_long_ban_ends_it() -> None:
    """A ban of days is no reason to sit and wait: the error says how long it is."""
    with pytest.raises(Refused, match="259,200") as refused:
        Script(answer(418, retry_after="259200")).get()
    assert "start it again" in refused.value.hint


@pytest.mark.parametrize(
    "trouble",
    [
        answer(500),
        answer(503, b"<html>"),
        TimeoutError(),
        OSError("connection refused"),
    ],
    ids=["500", "503", "timeout", "refused"],
)
def test_troubles_that_pass_are_tried_again(trouble: Answer | BaseException) -> None:
    """A failing network or server is asked again, later and later, and gives its answer in the end."""
    script = Script(*[trouble] * (ATTEMPTS - 1))
    assert script.get() == b"[1]"
    assert len(script.troubles) == 1  # said when it begins, not at each attempt
    assert script.troubles[0].startswith("http://v.invalid/p ")
    assert len(script.time.waits) == ATTEMPTS - 1
    assert all(0.5 * min(2**i, 60) <= wait <= min(2**i, 60) for i, wait in enumerate(script.time.waits))


def test_patience_ends_with_a_clear_error() -> None:
    """What never passes is an error that names address and attempts, and says how to go on."""
    script = Script(*[OSError("no route")] * ATTEMPTS)
    with pytest.raises(
        VenueError, match=rf"http://v.invalid/p cannot be reached \(no route\); tried {ATTEMPTS}"
    ) as end:
        script.get()
    assert "start it again" in end.value.hint
    assert script.asked == ATTEMPTS


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (answer(400, b'{"code":-1121,"msg":"Invalid symbol."}'), r"400: Invalid symbol. \(code -1121\)"),
        (answer(403, b'{"message":"forbidden."}'), "HTTP 403: forbidden"),
        (answer(404, b"nothing here"), "HTTP 404: nothing here"),
        (answer(302, b"", location="http://elsewhere.invalid"), "HTTP 302"),
        (answer(200, b"<!doctype html>", content_type="text/html"), "HTML page"),
    ],
)
def test_refusals_are_final(refusal: Answer, words: str) -> None:
    """What asking again cannot change is said at once, with the venue's own words."""
    script = Script(refusal)
    with pytest.raises(Refused, match=words):
        script.get()
    assert (script.asked, script.time.waits) == (1, [])


def test_an_answer_that_is_no_page_is_tried_again() -> None:
    """A page that breaks the protocol counts as a trouble, with field and value named when it stays."""
    seen = []

    def take(body: bytes) -> None:
        seen.append(body)
        if len(seen) < 3:
            raise Malformed("no such page", field="p", value="x")

    assert Script().get(take) == b"[1]"
    assert len(seen) == 3

    def refuse(_body: bytes) -> None:
        raise Malformed("no such page", field="p", value="x")

    with pytest.raises(VenueError, match=r"no such page \(p: x\)"):
        Script().get(refuse)


def test_weight_is_left_to_others() -> None:
    """Before four fifths of the venue's weight would be exceeded, its next minute is waited for."""
    script = Script(answer(200, b"[1]", x_mbx_used_weight_1m="75"))
    script.time.now_s = NOW_S + 42.0
    script.get(limit=100, times=2)
    assert script.time.waits == [pytest.approx(18.05)]
    calm = Script(answer(200, b"[1]", x_mbx_used_weight_1m="70"))
    calm.get(limit=100, times=2)
    assert calm.time.waits == []


def test_a_window_that_is_used_up_is_waited_for() -> None:
    """Where a venue says how many requests are left and when there are more again, that is obeyed."""
    script = Script(answer(200, b"[1]", x_ratelimit_remaining="0", x_ratelimit_reset=str(NOW_S + 30)))
    script.get(times=2)
    assert script.time.waits == [pytest.approx(30.05)]


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("", "https://own.invalid"),
        ("ws://127.0.0.1:9443", "http://127.0.0.1:9443"),
        ("wss://host/x/", "https://host/x"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_addresses(given: str, base: str) -> None:
    """--url may name the stream's scheme; nothing means the venue's own address."""
    assert base_of(given, "https://own.invalid") == base


@pytest.mark.parametrize(
    "url",
    ["host", "ftp://host", "http://", "http://user:secretword@host", "http://h?key=secretword", "http://h:x"],
)
def test_what_is_no_address_is_refused_without_showing_it(url: str) -> None:
    """An address with a key or password in it is refused, and what stood in it is not repeated."""
    with pytest.raises(UsageError) as refused:
        base_of(url, "")
    assert "secretword" not in str(refused.value)


def test_over_a_real_socket() -> None:
    """Status, headers and body come through; headers of ours go out; a redirect takes them nowhere."""
    seen: list[str] = []

    async def handle(exchange: Exchange) -> None:
        seen.append(exchange.request.headers.get("x-key", ""))
        away = exchange.request.path == "/away"
        headers = [("X-Some", "1"), *([("Location", "http://127.0.0.1:1/")] if away else [])]
        await exchange.send(Reply(302 if away else 200, headers, b"[2]"))

    async def run() -> list[Answer]:
        async with HttpServer(handle) as server:
            http = Http(server.url, {"X-Key": "k"})
            found = [await http("/here"), await http("/away")]
            await http.close()
        return found

    here, away = asyncio.run(run())
    assert (here.status, here.headers["x-some"], here.body) == (200, "1", b"[2]")
    assert (away.status, seen) == (302, ["k", "k"])


def test_nobody_there() -> None:
    """An address where nobody listens is in the end an error of the venue."""

    async def run() -> None:
        http = Http("http://127.0.0.1:1", {})
        time = Time()
        try:
            await Client(http, http.base, clock=time.clock()).get("/p", lambda _body: None)
        finally:
            await http.close()

    with pytest.raises(EngineError, match="cannot be reached"):
        asyncio.run(run())
