"""What users write behind --feed, what is then asked, and pollers of each format against a local server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from engine.live.address import Address
from engine.live.clock import Sequencer
from engine.live.credentials import Secret
from engine.live.feeds import parse_feeds
from engine.live.intake import Intake
from engine.live.polled_feeds import POLLED, poll_config
from engine.live.poller import PollConfig, Poller
from engine.live.rest import Refused
from engine.model.errors import UsageError, VenueError
from engine.model.kinds import Flag, Kind
from engine.model.rows import RowBuffer
from engine.serve.http import HttpRequest
from engine.serve.rest import Reply
from tests.helpers import keyrings
from tests.helpers.endpoint import LIMIT_S, Endpoint, fails
from tests.helpers.rows import Row, rows_of_buffer

KEYS = {"APCA_API_KEY_ID": "PLANTED-KEY-0123456789", "APCA_API_SECRET_KEY": "planted/secret/0123456789"}
PRICES = "simple/price"


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credential anywhere."""
    monkeypatch.chdir(tmp_path)
    keyrings.use_none(monkeypatch)
    for name in (*KEYS, "COINGECKO_DEMO_API_KEY", "COINGECKO_PRO_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_each_feed_has_its_pace_and_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name; `every` says otherwise."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    gecko = "https://api.coingecko.com/api/v3/simple/price?ids={}&include_last_updated_at=true"
    gecko += "&include_24hr_vol=true&include_24hr_change=true&include_market_cap=true&precision={}"
    paces = {
        "news:https://h/all.json": ("https://h/all.json", 5.0),
        "rss:https://h/feed.xml#every=10m": ("https://h/feed.xml", 600.0),
        "coingecko:Bitcoin,ethereum/usd,EUR#precision=12,every=2m": (
            gecko.format("bitcoin,ethereum&vs_currencies=usd,eur", 12), 120.0
        ),
        "coingecko:bitcoin": (gecko.format("bitcoin&vs_currencies=usd", "full"), 60.0),
        "alpaca-news-rest:*": ("https://data.alpaca.markets/v1beta1/news?include_content=true", 15.0),
        "alpaca-news-rest:aapl,BTC/USD": (
            "https://data.alpaca.markets/v1beta1/news?symbols=AAPL,BTC%2FUSD&include_content=true", 15.0
        ),
    }  # fmt: skip
    configs = parse_feeds(list(paces)).polled
    assert [(config.address.url, config.every_s) for config in configs] == list(paces.values())
    assert not any(value in repr(configs) for value in KEYS.values())


WRONG = [
    ("rss:", "from where?"),
    ("rss:#every=5s", "from where?"),
    ("rss:feed.xml", "is no address"),
    ("rss:https://h/#every", "#every is no option"),
    ("rss:https://h/#every=", "#every is no option"),
    ("rss:https://h/#every=5s,every=6s", "every stands there twice"),
    ("rss:https://h/#often=5s", 'there is no option "often"'),
    ("rss:https://h/#every=50ms", "100ms to 24h"),
    ("rss:https://h/#every=25h", "100ms to 24h"),
    ("rss:https://h/#every=often", "every"),
    ("coingecko:bitcoin,/usd", '"" is no id of a coin'),
    ("coingecko:bit coin/usd", '"bit coin" is no id'),
    ("coingecko:bitcoin/us-d", '"us-d" is no currency'),
    ("coingecko:bitcoin/", '"" is no currency'),
    ("coingecko:bitcoin&x=1/usd", "is no id"),
    ("coingecko:bitcoin#precision=19", "precision 19"),
    ("coingecko:bitcoin#precision=fine", "precision fine"),
    ("coingecko:bitcoin#url=nowhere", "is no address"),
    ("coingecko:bitcoin#url=http://127.0.0.1/?a=1", "has a query"),
    ("alpaca-news-rest:*", "Alpaca needs a key, and APCA_API_KEY_ID is not set"),
    ("alpaca-news-rest:AAPL;MSFT", '"AAPL;MSFT" is no symbol'),
    ("iex:x", 'there is no feed "iex"'),
]


@pytest.mark.parametrize(("text", "words"), WRONG, ids=lambda value: value[:40])
def test_what_cannot_be(text: str, words: str) -> None:
    """A UsageError that names the feed, with a hint."""
    with pytest.raises(UsageError) as caught:
        parse_feeds([text])
    assert words in caught.value.message
    assert caught.value.hint


def test_a_key_goes_to_its_host_and_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo key to the public host, the pro key to its own; neither in the clear to another machine."""
    monkeypatch.setenv("COINGECKO_DEMO_API_KEY", "CG-planted-demo")
    config = poll_config("coingecko", "bitcoin")
    assert config.headers == {"x-cg-demo-api-key": Secret("CG-planted-demo")}
    assert config.address.host == "api.coingecko.com"
    monkeypatch.setenv("COINGECKO_PRO_API_KEY", "CG-planted-pro")
    config = poll_config("coingecko", "bitcoin")
    assert config.headers == {"x-cg-pro-api-key": Secret("CG-planted-pro")}
    assert config.address.host == "pro-api.coingecko.com"
    with pytest.raises(UsageError, match="must not travel"):
        poll_config("coingecko", "bitcoin#url=http://h")
    assert poll_config("coingecko", "bitcoin#url=http://127.0.0.1:1").headers


def test_every_feed_says_how_it_is_written() -> None:
    """The form begins with the name, and is what parses."""
    for name, polled in POLLED.items():
        assert polled.form.startswith(f"{name}:")
        assert "every" in polled.options


class Session:
    """A poller whose waits end at once, through so many polls."""

    def __init__(self, config: PollConfig, polls: int) -> None:
        self.buffer = RowBuffer()
        self.waits: list[float] = []
        self.polls = polls
        self.done = asyncio.Event()
        self.poller = Poller(
            config, Sequencer(), self.buffer, lambda: None, chance=lambda: 1.0, sleep=self._sleep
        )

    async def _sleep(self, seconds: float) -> None:
        if len(self.waits) == self.polls:
            self.done.set()
            await asyncio.Event().wait()
        self.waits.append(round(seconds))
        await asyncio.sleep(0)

    async def play(self) -> list[Row]:
        """First contact, numbers, header, the polls, stop; the rows."""
        async with asyncio.timeout(LIMIT_S):
            await self.poller.contact()
            self.poller.number(5, 9)
            self.poller.header()
            self.poller.begin()
            running = asyncio.ensure_future(self.poller.run())
            await self.done.wait()
            await self.poller.stop()
            await running
        return rows_of_buffer(self.buffer)


def play(endpoint: Endpoint, feed: str, polls: int) -> tuple[list[Row], Session]:
    """Poll an endpoint as `--feed` says, with URL in the place of its address."""

    async def run() -> tuple[list[Row], Session]:
        async with endpoint.server:
            name, rest = feed.replace("URL", endpoint.server.url).split(":", 1)
            session = Session(poll_config(name, rest), polls)
            return await session.play(), session

    return asyncio.run(run())


def story(rows: list[Row]) -> list[str]:
    return [row.event or row.data.get("headline") or row.kind.name for row in rows]


BEGIN = ["connecting", "connected", "subscribed"]
TROUBLE = ["disconnected", "connecting"]


def gecko(price: str, time: int) -> Reply:
    return Reply(200, [], f'{{"bitcoin":{{"usd":{price},"last_updated_at":{time}}}}}'.encode())


def test_prices_through_all_kinds_of_trouble() -> None:
    """Header rows with the numbers given, marks, 429 with its wait, a page of HTML, and marks again."""
    endpoint = Endpoint(
        gecko("67187.33", 100),
        gecko("67187.33", 100),
        gecko("67190.125", 160),
        fails(429, {"Retry-After": "90"}),
        Reply(200, [("Content-Type", "text/html")], b"<html>"),
        gecko("67191", 220),
    )
    rows, session = play(endpoint, "coingecko:bitcoin/usd#url=URL", 5)
    again = ["connected", "subscribed"]
    assert story(rows) == [
        "SOURCE", "INSTRUMENT", *BEGIN, "MARK", "INSTRUMENT", "MARK",
        *TROUBLE, *again, "MALFORMED", *TROUBLE, *again, "MARK", "disconnected",
    ]  # fmt: skip
    assert [row.price for row in rows if row.kind is Kind.MARK] == [6_718_733, 67_190_125, 67_191_000]
    assert {row.source for row in rows} == {0, 5}
    assert [row.source for row in rows if row.kind is Kind.INSTRUMENT] == [0, 5]  # ours, the parser's
    assert {row.instrument for row in rows if row.kind in {Kind.MARK, Kind.INSTRUMENT}} == {9}
    assert {row.data["channel"] for row in rows if row.event} == {"mark"}
    assert session.waits[2:4] == [60, 90]
    source = rows[0].data
    assert (source["name"], source["venue"], source["endpoint"]) == ("coingecko", "coingecko", PRICES)
    asked = parse_qs(endpoint.requests[0].query)
    assert (asked["ids"], asked["vs_currencies"], asked["precision"]) == (["bitcoin"], ["usd"], ["full"])


def test_a_first_contact_that_says_what_is_wrong() -> None:
    """An unknown coin is the user's, an answer that is none is the address's; nothing has been written."""
    with pytest.raises(UsageError, match="no price of btc/usd"):
        play(Endpoint(Reply(200, [], b"{}")), "coingecko:btc/usd#url=URL", 0)
    with pytest.raises(VenueError, match="answered what is no list of prices") as caught:
        play(Endpoint(gecko("1e-30", 1)), "coingecko:bitcoin/usd#url=URL", 0)
    assert "precision" in caught.value.hint
    with pytest.raises(Refused, match="HTTP 429"):
        play(Endpoint(fails(429)), "coingecko:bitcoin/usd#url=URL", 0)
    with pytest.raises(VenueError, match="no RSS or Atom feed"):
        play(Endpoint(Reply(200, [], b"<html></html>")), "rss:URL/", 0)


def feed_of(*numbers: int, etag: str = "") -> Reply:
    items = "".join(f"<item><title>Headline {n}</title><guid>{n}</guid></item>" for n in numbers)
    body = f"<rss><channel>{items}</channel></rss>".encode()
    return Reply(200, [("ETag", etag)] if etag else [], body)


def test_a_feed_of_headlines_is_asked_for_what_is_new() -> None:
    """Items once, the ETag comes back, garbage and half a feed are trouble and leave the memory alone."""
    endpoint = Endpoint(
        feed_of(2, 1, etag='"a"'),
        fails(304, body=b""),
        Reply(200, [], b"<rss><channel>"),
        None,
        feed_of(3, 2, 1),
    )

    async def run() -> list[Row]:
        async with endpoint.server:
            config = poll_config("rss", f"{endpoint.server.url}/feed.xml")
            config = msgspec.structs.replace(config, timeout_s=0.1)
            return await Session(config, 4).play()

    rows = asyncio.run(run())
    again = ["connected", "subscribed"]
    assert story(rows) == [
        "SOURCE", *BEGIN, "Headline 1", "Headline 2", "MALFORMED", *TROUBLE, *TROUBLE,
        *again, "Headline 3", "disconnected",
    ]  # fmt: skip
    assert [request.headers.get("if-none-match") for request in endpoint.requests] == [None, *['"a"'] * 4]
    assert "application/rss+xml" in endpoint.requests[0].headers["accept"]


def article(number: int, minute: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "headline": f"Headline {number}",
        "updated_at": f"2024-06-01T12:{minute:02}:00Z",
        "symbols": ["AAPL"],
        **changes,
    }


def page(*articles: dict[str, Any], following: str | None = None) -> Reply:
    return Reply(200, [], msgspec.json.encode({"news": articles, "next_page_token": following}))


def test_pages_of_news_in_one_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials in the headers alone; pages at once, one after the other; edits are rows with REVISED."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    endpoint = Endpoint(
        page(article(1, 10)),
        page(article(2, 11), following="p2"),
        page(article(3, 12), following="p3"),
        page(article(1, 13, headline="Headline 1b")),
        fails(500),
        page(article(4, 14)),
    )
    rows, session = play(endpoint, "alpaca-news-rest:AAPL#url=URL", 3)
    assert story(rows) == [
        "SOURCE", *BEGIN, "Headline 1", "Headline 2", "Headline 3", "Headline 1b",
        *TROUBLE, "connected", "subscribed", "Headline 4", "disconnected",
    ]  # fmt: skip
    assert [row.flags for row in rows if row.data.get("headline") == "Headline 1b"] == [
        Flag.LAST | Flag.REVISED
    ]
    assert len(session.waits) == 3
    asked = [parse_qs(request.query) for request in endpoint.requests]
    assert [query.get("page_token") for query in asked] == [None, None, ["p2"], ["p3"], None, None]
    assert [query["sort"] for query in asked] == [["desc"], *[["asc"]] * 5]
    assert {query["symbols"][0] for query in asked} == {"AAPL"}
    for request in endpoint.requests:
        assert request.headers["apca-api-key-id"] == KEYS["APCA_API_KEY_ID"]
        assert request.headers["apca-api-secret-key"] == KEYS["APCA_API_SECRET_KEY"]
    assert rows[0].data.get("venue", "") == ""  # its trouble is not that of the venue's books


def test_an_intake_numbers_the_instruments_of_feeds() -> None:
    """One after the other over all feeds, with the definitions of now again in the next segment's header."""

    async def run() -> list[Row]:
        rows = RowBuffer()
        first, second = Endpoint(gecko("1.25", 1), gecko("1.125", 2)), Endpoint(gecko("2", 1))
        async with first.server, second.server, asyncio.timeout(LIMIT_S):
            configs = [
                poll_config("coingecko", f"bitcoin#every=100ms,url={endpoint.server.url}")
                for endpoint in (first, second)
            ]
            intake = Intake((), tuple(configs), Sequencer(), rows, lambda: None)
            await intake.start()
            running = asyncio.ensure_future(intake.run())
            while len(first.requests) < 3:  # noqa: ASYNC110  the endpoint has no event
                await asyncio.sleep(0.01)
            await intake.stop()
            await running
            intake.header()
            assert sorted(intake.instruments) == [1, 2]
        return rows_of_buffer(rows)

    rows = asyncio.run(run())
    defined = [(row.instrument, row.data.get("version", 1)) for row in rows if row.kind is Kind.INSTRUMENT]
    assert defined == [(1, 1), (2, 1), (1, 2), (1, 2), (2, 1)]
    assert [row.source for row in rows if row.kind is Kind.SOURCE] == [1, 2, 1, 2]
    prices = [(row.source, row.instrument, row.price) for row in rows if row.kind is Kind.MARK]
    assert prices == [(1, 1, 125), (2, 2, 200), (1, 1, 1_125)]


def test_with_credentials_no_redirect_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even on the host: nobody else is to be shown them."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)

    def moved(_request: HttpRequest) -> Reply:
        return Reply(302, [("Location", "/elsewhere")], b"")

    endpoint = Endpoint(moved)
    with pytest.raises(Refused, match="which is not followed"):
        play(endpoint, "alpaca-news-rest:*#url=URL", 0)
    assert len(endpoint.requests) == 1


def test_a_server_that_repeats_credentials_is_not_quoted() -> None:
    """In bodies they are stars, in the words of errors too."""
    secret = Secret("planted-secret-of-nobody")

    async def run() -> list[Row]:
        endpoint = Endpoint(
            Reply(200, [], b'[{"headline":"planted-secret-of-nobody is wrong"}]'),
            Reply(200, [], b"planted-secret-of-nobody"),
        )
        async with endpoint.server:
            config = PollConfig(Address(endpoint.server.url), headers={"x-key": secret})
            rows = await Session(config, 1).play()
            assert {request.headers["x-key"] for request in endpoint.requests} == {secret.reveal()}
            return rows

    rows = asyncio.run(run())
    assert secret.reveal() not in repr(rows)
    assert "*" * 24 + " is wrong" in repr(rows)
