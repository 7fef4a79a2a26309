"""The poller against a scripted endpoint: what it asks, what it writes, how long it waits."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from typing import Any

import msgspec
import pytest

from engine.live import polling
from engine.live.address import Address
from engine.live.clock import Sequencer
from engine.live.machine import BackOff
from engine.live.poller import PollConfig, Poller
from engine.live.rest import Refused
from engine.model.errors import VenueError
from engine.model.kinds import Flag, Kind
from engine.model.rows import RowBuffer
from engine.serve.http import HttpRequest
from engine.serve.rest import Reply
from tests.helpers.endpoint import LIMIT_S, Endpoint, Polled, fails, item, poll, shows
from tests.helpers.rows import Row

BEGIN = ["connecting", "connected", "subscribed"]
SLOW = BackOff(base_s=2.0, cap_s=10.0, stable_s=60.0)


def statuses(polled: Polled, event: str) -> list[Row]:
    return [row for row in polled.rows if row.event == event]


def test_what_is_new_is_written_as_it_comes() -> None:
    """Status rows of a connection, then headlines, oldest first, each once; all of our source."""
    polled = poll(Endpoint(shows(2, 1), shows(3, 2, 1), shows(3, 2, 1), shows(5, 4, 3)), 3)
    assert polled.story == [*BEGIN, "1", "2", "3", "4", "5", "disconnected"]
    assert {row.source for row in polled.rows} == {3}
    assert {row.data["channel"] for row in polled.rows if row.event} == {"news"}
    assert [row.ts for row in polled.rows] == sorted({row.ts for row in polled.rows})
    assert polled.rows[-1].data["detail"] == "stopped"
    assert polled.waits == [5.0, 5.0, 5.0]
    assert polled.poller.answers == 4


def test_an_edit_between_two_polls() -> None:
    """The edited headline is a row with REVISED."""
    edited = Reply(200, [], msgspec.json.encode([item(1, headline="Headline 1b")]))
    polled = poll(Endpoint(shows(1), edited, edited), 2)
    assert polled.story == [*BEGIN, "1", "1b", "disconnected"]
    assert polled.rows[4].flags == Flag.LAST | Flag.REVISED


def test_it_asks_only_for_what_is_new() -> None:
    """Both validators of the latest good list come back; 304 is nothing, and keeps them."""
    first = shows(1, headers={"ETag": '"a"', "Last-Modified": "Sat, 01 Jun 2024 00:00:00 GMT"})
    script = (
        first,
        fails(304, body=b""),
        fails(304, body=b""),
        shows(2, headers={"ETag": 'W/"b"'}),
        shows(3),
    )
    endpoint = Endpoint(*script)
    polled = poll(endpoint, 5)
    assert polled.story == [*BEGIN, "1", "2", "3", "disconnected"]
    sent = [
        (request.headers.get("if-none-match"), request.headers.get("if-modified-since"))
        for request in endpoint.requests
    ]
    both = ('"a"', "Sat, 01 Jun 2024 00:00:00 GMT")
    assert sent == [(None, None), both, both, both, ('W/"b"', None), (None, None)]
    assert {request.headers["accept-encoding"] for request in endpoint.requests} == {"identity"}


def test_a_304_that_nobody_asked_for_is_trouble() -> None:
    """Without validators there is nothing that could be unchanged."""
    polled = poll(Endpoint(shows(1), fails(304, body=b"")), 1)
    assert "answered HTTP 304" in statuses(polled, "disconnected")[0].data["detail"]


def test_the_interval_is_kept_whatever_an_answer_takes() -> None:
    """The wait is what is left of the interval since the request began, and never negative."""

    async def run() -> list[float]:
        endpoint = Endpoint(shows(1))
        async with endpoint.server:
            polled = Polled(endpoint.server.url, 3, every_s=2.0)
            asking = polled.poller._asking.ask

            async def slow(query: str = "") -> polling.Answer:
                polled.now_s += [0.5, 5.0, 0.25][len(polled.waits) % 3]
                return await asking(query)

            polled.poller._asking.ask = slow  # type: ignore[method-assign]
            await polled.poller.contact()
            polled.poller.begin(1)
            running = asyncio.ensure_future(polled.poller.run())
            async with asyncio.timeout(LIMIT_S):
                await polled.done.wait()
            await polled.poller.stop()
            await running
        return polled.waits

    assert asyncio.run(run()) == [1.5, 0.0, 1.75]


def test_trouble_waits_longer_and_longer() -> None:
    """Twice as long each time up to the cap, a row with reason, attempt and wait; then as before."""
    script = (shows(1), *([fails(500)] * 4), shows(2, 1), shows(3, 2, 1))
    polled = poll(Endpoint(*script), 6, back_off=SLOW)
    trouble = ["disconnected", "connecting"]
    assert polled.story == [
        *BEGIN, "1", *trouble * 4, "connected", "subscribed", "2", "3", "disconnected",
    ]  # fmt: skip
    assert polled.waits == [5.0, 2.0, 4.0, 8.0, 10.0, 5.0]
    rows = statuses(polled, "disconnected")
    assert [row.data.get("wait_ns") for row in rows] == [2 * 10**9, 4 * 10**9, 8 * 10**9, 10**10, None]
    assert rows[0].data["detail"].endswith("/news answered HTTP 500")
    assert [row.data["attempt"] for row in statuses(polled, "connecting")] == [1, 2, 3, 4, 5]


def test_trouble_is_no_reason_to_ask_more_often() -> None:
    """Unless told otherwise the wait begins at the interval; two good answers in a row end the trouble."""
    again = (fails(500), shows(1))
    polled = poll(Endpoint(shows(1), *again, *again, *[shows(1)] * 2, *again, *again), 10, every_s=20.0)
    assert polled.waits == [20.0, 20.0, 20.0, 40.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0]
    assert poll(Endpoint(shows(1), *[fails(500)] * 9), 9, every_s=0.5).waits[-2:] == [64.0, 128.0]
    assert poll(Endpoint(shows(1), *[fails(500)] * 12), 12).waits[-2:] == [300.0, 300.0]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("said", "wait"),
    [
        ("7", 7.0),
        ("0.5", 2.0),
        ("1e9", 3_600.0),
        ("inf", 3_600.0),
        ("nan", 2.0),
        ("-5", 2.0),
        ("soon", 2.0),
        ("", 2.0),
    ],
    ids=repr,
)
def test_a_server_that_says_when_is_believed(status: int, said: str, wait: float) -> None:
    """Retry-After in seconds, at most an hour; never less than our own wait, and nonsense is none."""
    polled = poll(Endpoint(shows(1), fails(status, {"Retry-After": said}), shows(1)), 2, back_off=SLOW)
    assert polled.waits == [5.0, wait]
    assert f"answered HTTP {status}" in statuses(polled, "disconnected")[0].data["detail"]


def test_retry_after_may_be_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its distance from the wall clock counts."""
    endpoint = Endpoint(shows(1), fails(503, {"Retry-After": formatdate(1_000_030, usegmt=True)}), shows(1))
    conditional = polling.Conditional.__init__

    def fixed(self: polling.Conditional, *args: Any, **options: Any) -> None:
        conditional(self, *args, **options, wall_s=lambda: 1_000_000.0)

    monkeypatch.setattr(polling.Conditional, "__init__", fixed)
    assert poll(endpoint, 2).waits == [5.0, 30.0]


@pytest.mark.parametrize(
    "body", [b"<html>Sign in</html>", b'{"error":"no"}', b"", b'[{"headline":'], ids=repr
)
def test_what_is_no_list_is_kept_and_is_trouble(body: bytes) -> None:
    """A MALFORMED row with the bytes, once, a row with the reason; its validators are not believed."""
    bad = Reply(200, [("ETag", '"bad"')], body)
    endpoint = Endpoint(shows(1, headers={"ETag": '"good"'}), bad, bad, shows(2, 1))
    polled = poll(endpoint, 3, back_off=SLOW)
    again = ["connecting", "connected", "subscribed"]
    assert polled.story == [
        *BEGIN, "1", "MALFORMED", "disconnected", *again, "disconnected", *again, "2", "disconnected",
    ]  # fmt: skip
    assert polled.rows[4].wire == body
    assert "no list of headlines" in polled.rows[5].data["detail"]
    assert polled.waits == [5.0, 2.0, 4.0]
    assert endpoint.requests[-1].headers["if-none-match"] == '"good"'


def test_a_broken_item_is_no_trouble() -> None:
    """It is a MALFORMED row among the others; the endpoint is well."""
    mixed = Reply(200, [], b'[{"headline":7},' + msgspec.json.encode(item(1)) + b"]")
    polled = poll(Endpoint(mixed), 2)
    assert [row.kind for row in polled.rows[3:-1]] == [Kind.NEWS, Kind.MALFORMED]
    assert len(statuses(polled, "disconnected")) == 1


def test_a_body_that_is_too_long_is_given_up() -> None:
    """Said with the limit; nothing of it is written."""
    polled = poll(Endpoint(shows(1), shows(*range(100)), shows(1, 2)), 2, most_bytes=2_000)
    assert polled.story == [*BEGIN, "1", "disconnected", *BEGIN, "2", "disconnected"]
    assert "more than 2,000 bytes" in statuses(polled, "disconnected")[0].data["detail"]


def test_an_answer_that_never_comes() -> None:
    """Given up after the time that is allowed, with a row that says so."""
    polled = poll(Endpoint(shows(1), None, shows(2)), 2, timeout_s=0.05)
    assert polled.story == [*BEGIN, "1", "disconnected", *BEGIN, "2", "disconnected"]
    assert "did not answer within 0.05 s" in statuses(polled, "disconnected")[0].data["detail"]


def moved(location: str, status: int = 302) -> Reply:
    return Reply(status, [("Location", location)], b"")


def test_a_redirect_on_the_host_is_followed() -> None:
    """Also several times, and with a relative address; each poll begins at the address that was named."""
    endpoint = Endpoint(moved("/there"), moved("over?a=1", 307), shows(1), moved("/here", 308), shows(2))
    polled = poll(endpoint, 1)
    assert polled.story == [*BEGIN, "1", "2", "disconnected"]
    assert [request.path for request in endpoint.requests] == ["/news", "/there", "/over", "/news", "/here"]


@pytest.mark.parametrize(
    ("location", "words"),
    [
        (
            "http://localhost:1/news?token=abcdefgh",
            "redirects to http://localhost:1/news, which is not followed",
        ),
        ("//news.example/a", "redirects to http://news.example/a, which"),
        ("ftp://127.0.0.1/a", "redirects to ftp://127.0.0.1/a, which"),
        ("/news", "redirects more than 5 times"),
    ],
)
def test_other_redirects_are_not(location: str, words: str) -> None:
    """Not to another host, not to another scheme, not for ever."""
    endpoint = Endpoint(moved(location))
    with pytest.raises(Refused, match="redirects") as caught:
        poll(endpoint, 0)
    assert words in caught.value.message
    assert caught.value.hint
    assert len(endpoint.requests) == (6 if "times" in words else 1)


def test_silence_is_a_row() -> None:
    """An endpoint that answers and has nothing new: said once, and again after something was new."""
    same = [shows(1)] * 4
    polled = poll(Endpoint(*same, shows(2, 1), shows(2, 1), shows(2, 1), shows(2, 1)), 7, silence_s=10.0)
    assert polled.story == [*BEGIN, "1", "silence", "2", "resumed", "silence", "disconnected"]
    assert polled.rows[4].data["detail"] == "nothing new for 10 s"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (fails(404), "answered HTTP 404"),
        (fails(401), "answered HTTP 401"),
        (Reply(503, [("Content-Type", "text/html")], b"<html>"), "answered HTTP 503 with an HTML page"),
        (Reply(200, [], b"<html>Sign in</html>"), "answered what is no list of headlines"),
        (Reply(200, [], b"{}"), "answered what is no list of headlines"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_first_contact_that_fails_ends_it(reply: Reply, words: str) -> None:
    """A VenueError with the address, what came and what to do; nothing is written."""
    with pytest.raises(VenueError) as caught:
        poll(Endpoint(reply), 0)
    assert words in caught.value.message
    assert "http://127.0.0.1:" in caught.value.message
    assert caught.value.hint


def test_nobody_there() -> None:
    """An address where nobody listens is a VenueError."""
    poller = Poller(PollConfig(Address("http://127.0.0.1:1/")), Sequencer(), RowBuffer(), lambda: None)
    with pytest.raises(VenueError, match=r"http://127\.0\.0\.1:1/ cannot be reached"):
        asyncio.run(poller.contact())


def test_a_proxy_of_the_environment_is_not_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is asked directly, whatever the environment says."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert poll(Endpoint(shows(1)), 0).story == [*BEGIN, "1", "disconnected"]


def test_a_key_is_sent_and_never_shown() -> None:
    """It stands in the request alone: in no row, also where a server repeats it."""
    key = "s3cr3t-s3cr3t-s3cr3t"
    echo = Reply(200, [], b'{"error":"the key ' + key.encode() + b' is no good"}')
    endpoint = Endpoint(shows(1), fails(500), moved(f"https://elsewhere.example/?token={key}"), echo)
    polled = poll(endpoint, 3, path=f"/news?last=5&token={key}&symbol=BTC")
    assert endpoint.requests[0].query == f"last=5&token={key}&symbol=BTC"
    assert polled.poller.source.url.endswith("/news?last=5&token=***&symbol=BTC")
    everything = repr(polled.rows) + repr(polled.config) + repr(polled.poller.source)
    assert key not in everything
    assert f"the key {'*' * len(key)} is no good" in everything


def test_a_stop_interrupts_a_request() -> None:
    """Also while an answer is awaited; the poller ends with its row, and stays ended."""

    async def run() -> list[str]:
        endpoint = Endpoint(shows(1), None)
        async with endpoint.server:
            polled = Polled(endpoint.server.url, 99)
            await polled.poller.contact()
            polled.poller.begin(1)
            running = asyncio.ensure_future(polled.poller.run())
            async with asyncio.timeout(LIMIT_S):
                while len(endpoint.requests) < 2:  # noqa: ASYNC110  the endpoint has no event
                    await asyncio.sleep(0)
                await polled.poller.stop()
                await running
                await polled.poller.stop()
                await polled.poller.run()
        return polled.story

    assert asyncio.run(run()) == [*BEGIN, "1", "disconnected"]


def test_an_odd_validator_is_not_sent_back() -> None:
    """A header that no request can hold is forgotten instead of failing every poll after it."""

    def odd(_request: HttpRequest) -> Reply:
        return shows(1, headers={"ETag": '"é"', "Last-Modified": "x" * 2_000})

    endpoint = Endpoint(odd)
    polled = poll(endpoint, 2)
    assert polled.story == [*BEGIN, "1", "disconnected"]
    assert "if-none-match" not in endpoint.requests[-1].headers
