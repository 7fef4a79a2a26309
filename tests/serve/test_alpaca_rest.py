"""Alpaca's REST history as tables: pages, times, bars, latest, refusals, limits."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from engine.serve.alpaca_keys import Keys
from engine.serve.alpaca_market import AlpacaMarket
from engine.serve.alpaca_rest import AlpacaRest
from engine.serve.alpaca_source import AlpacaSource
from engine.serve.alpaca_symbols import alpaca_model
from engine.serve.alpaca_wire import rfc3339
from engine.serve.news_source import read_headlines
from engine.serve.rest import Reply
from engine.serve.synthetic import SyntheticMarket

SECOND = 1_000_000_000
T0 = 1_717_232_400 * SECOND  # 2024-06-01 09:00 UTC
NOW = T0 + 190 * SECOND
HEADERS = {"apca-api-key-id": "k", "apca-api-secret-key": "s"}
DAY = "start=2024-06-01"


@pytest.fixture(scope="module")
def market() -> AlpacaMarket:
    """A little more than three minutes, of two stocks and a coin."""
    symbols = ["AAPL", "MSFT", "BTC/USD"]
    news = read_headlines().items[:12]
    source = AlpacaSource(SyntheticMarket(7, symbols, model=alpaca_model), news, every_ns=10 * SECOND)
    made = AlpacaMarket(source.instruments)
    for event in source.events():
        if event.time_ns > NOW:
            break
        made.apply(event.time_ns, event)
    return made


def get(market: AlpacaMarket, target: str, *, headers: dict[str, str] | None = None, now: int = NOW) -> Reply:
    return AlpacaRest(market, Keys()).answer("GET", target, HEADERS if headers is None else headers, now)


def body(market: AlpacaMarket, target: str, **how: Any) -> Any:
    reply = get(market, target, **how)
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


def pages(market: AlpacaMarket, target: str, what: str) -> list[dict[str, list[Any]]]:
    found: list[dict[str, list[Any]]] = []
    token = ""
    while True:
        answer = body(market, target + (f"&page_token={quote(token)}" if token else ""))
        found.append(answer[what])
        token = answer["next_page_token"]
        if not token:
            return found


@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize("limit", [7, 100, 10_000])
@pytest.mark.parametrize(
    ("path", "what", "symbols"),
    [
        ("/v2/stocks/trades", "trades", "MSFT,AAPL"),
        ("/v2/stocks/quotes", "quotes", "AAPL"),
        ("/v1beta3/crypto/us/trades", "trades", "BTC/USD"),
    ],
)
def test_pages_fit_together(
    market: AlpacaMarket, path: str, what: str, symbols: str, limit: int, sort: str
) -> None:
    """Every item once, symbol by symbol, by time; no page longer than its limit."""
    end = rfc3339(T0 + 30 * SECOND)
    found = pages(market, f"{path}?symbols={symbols}&{DAY}&end={end}&limit={limit}&sort={sort}", what)
    assert max(sum(map(len, page.values())) for page in found) <= limit
    names = [name for page in found for name, items in page.items() for _ in items]
    assert names == sorted(names)
    for symbol in symbols.split(","):
        kept = market.trades(symbol) if what == "trades" else market.quotes(symbol)
        expected = [rfc3339(key[0]) for key, _ in kept.between(T0, T0 + 30 * SECOND)]
        got = [item["t"] for page in found for item in page.get(symbol, [])]
        assert got == (expected if sort == "asc" else expected[::-1])
        assert len(got) > 20


def test_a_span_is_closed_at_both_ends(market: AlpacaMarket) -> None:
    """Start and end themselves belong to it, to the nanosecond."""
    all_of_them = body(market, f"/v2/stocks/trades?symbols=AAPL&{DAY}&limit=5")["trades"]["AAPL"]
    first, last = all_of_them[1]["t"], all_of_them[3]["t"]
    some = body(market, f"/v2/stocks/trades?symbols=AAPL&start={first}&end={last}")["trades"]["AAPL"]
    assert [item["i"] for item in some] == [item["i"] for item in all_of_them[1:4]]


def test_without_times_it_is_today_until_now(market: AlpacaMarket) -> None:
    """A later now shows more; nothing of the future is shown."""
    now = T0 + 5 * SECOND
    shown = body(market, "/v2/stocks/trades?symbols=AAPL", now=now)["trades"]["AAPL"]
    assert len(shown) >= 1
    assert all(item["t"] <= rfc3339(now) for item in shown)


def test_bars_are_those_of_minutes_that_are_over(market: AlpacaMarket) -> None:
    """Three whole minutes, the fourth is running; five of them make one."""
    bars = body(market, f"/v2/stocks/bars?symbols=AAPL,MSFT&timeframe=1Min&{DAY}")["bars"]
    starts = [rfc3339(T0 + minute * 60 * SECOND) for minute in range(3)]
    assert {symbol: [bar["t"] for bar in found] for symbol, found in bars.items()} == {
        "AAPL": starts,
        "MSFT": starts,
    }
    (five,) = body(market, f"/v2/stocks/bars?symbols=AAPL&timeframe=5Min&{DAY}")["bars"]["AAPL"]
    minutes = bars["AAPL"]
    assert (five["o"], five["c"]) == (minutes[0]["o"], minutes[-1]["c"])
    assert five["v"] == sum(bar["v"] for bar in minutes)
    assert (five["h"], five["l"]) == (max(b["h"] for b in minutes), min(b["l"] for b in minutes))


def test_bars_have_pages(market: AlpacaMarket) -> None:
    """Two at a time, up and down."""
    target = f"/v1beta3/crypto/us/bars?symbols=BTC/USD&timeframe=1Min&{DAY}&limit=2"
    for sort in ("asc", "desc"):
        found = [
            bar["t"] for page in pages(market, f"{target}&sort={sort}", "bars") for bar in page["BTC/USD"]
        ]
        assert found == sorted(found, reverse=sort == "desc")
        assert len(found) == 3


def test_one_symbol_has_a_path_of_its_own(market: AlpacaMarket) -> None:
    """A list instead of lists by symbol, and pages too."""
    first = body(market, f"/v2/stocks/AAPL/trades?{DAY}&limit=3")
    assert (first["symbol"], len(first["trades"])) == ("AAPL", 3)
    token = quote(first["next_page_token"])
    second = body(market, f"/v2/stocks/AAPL/trades?{DAY}&limit=3&page_token={token}")
    assert second["trades"][0]["t"] > first["trades"][-1]["t"]


@pytest.mark.parametrize(
    "target",
    [
        "/v2/stocks/trades/latest?symbols=AAPL",
        "/v2/stocks/quotes/latest?symbols=AAPL",
        "/v2/stocks/bars/latest?symbols=AAPL",
        "/v1beta3/crypto/us/latest/trades?symbols=BTC/USD",
        "/v1beta3/crypto/us/latest/quotes?symbols=BTC/USD",
        "/v1beta3/crypto/us/latest/bars?symbols=BTC/USD",
        "/v1beta3/crypto/us/latest/orderbooks?symbols=BTC/USD",
    ],
)
def test_the_latest_of_each(market: AlpacaMarket, target: str) -> None:
    """One item per symbol."""
    answer = body(market, target)
    (found,) = answer.values()
    ((symbol, item),) = found.items()
    assert target.endswith(symbol)
    assert "t" in item


def test_news_page_newest_first(market: AlpacaMarket) -> None:
    """All articles once; by symbol; content only where it is asked for."""
    ids: list[int] = []
    token = ""
    while True:
        answer = body(market, "/v1beta1/news?limit=5" + (f"&page_token={quote(token)}" if token else ""))
        ids += [article["id"] for article in answer["news"]]
        token = answer["next_page_token"]
        if not token:
            break
    assert len(ids) == len(set(ids)) == 12
    ether = body(market, "/v1beta1/news?symbols=ETHUSD&limit=50")["news"]
    assert 1 <= len(ether) < 12
    assert all("ETHUSD" in article["symbols"] for article in ether)
    assert ether[0]["content"] == ""
    full = body(market, "/v1beta1/news?limit=1&include_content=true&sort=asc")["news"][0]
    assert full["content"].startswith("<p>")
    assert full["id"] == ids[-1]


REFUSALS = [
    ("/v2/stocks/trades", 400, "symbols is required"),
    ("/v2/stocks/trades?symbols=,", 400, "symbols is required"),
    ("/v2/stocks/trades?symbols=aapl", 400, "invalid symbol: aapl"),
    ("/v2/stocks/trades?symbols=BTC/USD", 400, "invalid symbol: BTC/USD"),
    ("/v1beta3/crypto/us/trades?symbols=AAPL", 400, "invalid symbol: AAPL"),
    ("/v2/stocks/trades?symbols=AAPL&limit=0", 400, "invalid limit"),
    ("/v2/stocks/trades?symbols=AAPL&limit=10001", 400, "invalid limit"),
    ("/v2/stocks/trades?symbols=AAPL&limit=x", 400, "invalid limit"),
    ("/v2/stocks/trades?symbols=AAPL&start=yesterday", 400, "invalid start: yesterday"),
    ("/v2/stocks/trades?symbols=AAPL&end=2024-99-01", 400, "invalid end"),
    ("/v2/stocks/trades?symbols=AAPL&start=2024-06-02&end=2024-06-01", 400, "end should not be before start"),
    ("/v2/stocks/trades?symbols=AAPL&sort=up", 400, "invalid sort"),
    ("/v2/stocks/trades?symbols=AAPL&feed=nyse", 400, "invalid feed"),
    ("/v2/stocks/trades?symbols=AAPL&page_token=x", 400, "invalid page_token"),
    ("/v2/stocks/trades?symbols=AAPL&page_token=TVNGVHwxfDE=", 400, "invalid page_token for"),
    ("/v2/stocks/bars?symbols=AAPL", 400, "timeframe is required"),
    ("/v2/stocks/bars?symbols=AAPL&timeframe=1Century", 400, "invalid timeframe"),
    ("/v1beta1/news?limit=51", 400, "invalid limit"),
    ("/v2/stocks/options", 404, "endpoint not found"),
    ("/v2/stocks/AAPL/options", 404, "endpoint not found"),
    ("/v1beta3/crypto/eu/trades?symbols=BTC/USD", 404, "endpoint not found"),
    ("/", 404, "endpoint not found"),
]


@pytest.mark.parametrize(("target", "status", "text"), REFUSALS, ids=[each[0] for each in REFUSALS])
def test_mistakes_are_named(market: AlpacaMarket, target: str, status: int, text: str) -> None:
    """A status and a message, as the venue gives them."""
    reply = get(market, target)
    assert reply.status == status
    assert json.loads(reply.body)["message"].startswith(text)


def test_other_methods_are_refused(market: AlpacaMarket) -> None:
    """History is only read."""
    assert AlpacaRest(market, Keys()).answer("POST", "/v1beta1/news", HEADERS, NOW).status == 405


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/v2/stocks/trades?symbols=AAPL", {}, 401),
        ("/v2/stocks/trades?symbols=AAPL", {"apca-api-key-id": "right"}, 401),
        ("/v2/stocks/trades?symbols=AAPL", HEADERS, 403),
        ("/v2/stocks/trades?symbols=AAPL", {"apca-api-key-id": "right", "apca-api-secret-key": "pair"}, 200),
        ("/v1beta1/news", {}, 401),
        ("/v1beta3/crypto/us/trades?symbols=BTC/USD", {}, 200),
        ("/v1beta3/crypto/us/trades?symbols=BTC/USD", HEADERS, 403),
    ],
)
def test_keys_are_asked_for(market: AlpacaMarket, target: str, headers: dict[str, str], status: int) -> None:
    """Coins go without; wrong ones are refused everywhere."""
    rest = AlpacaRest(market, Keys("right", "pair"))
    assert rest.answer("GET", target, headers, NOW).status == status


def test_a_free_plan_does_not_see_recent_sip(market: AlpacaMarket) -> None:
    """The last quarter of an hour is refused; iex is not, nor is what is older."""
    rest = AlpacaRest(market, Keys(plan="free"))

    def status(query: str, now: int = NOW) -> int:
        return rest.answer("GET", f"/v2/stocks/trades?symbols=AAPL&{query}", HEADERS, now).status

    assert status("feed=sip") == 403
    assert status("feed=iex") == 200
    assert status(f"feed=sip&start=2024-06-01&end={rfc3339(NOW)}", NOW + 16 * 60 * SECOND) == 200


def test_every_key_has_so_many_requests_a_minute(market: AlpacaMarket) -> None:
    """The answers count down; then 429 says when to come again; another key and another minute are free."""
    rest = AlpacaRest(market, Keys(), request_limit=3)
    target = "/v2/stocks/trades?symbols=AAPL&limit=1"
    answers = [rest.answer("GET", target, HEADERS, NOW) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    left = [dict(answer.headers)["X-RateLimit-Remaining"] for answer in answers]
    assert left == ["2", "1", "0", "0"]
    last = dict(answers[-1].headers)
    assert (last["X-RateLimit-Limit"], last["Retry-After"]) == ("3", "50")
    assert int(last["X-RateLimit-Reset"]) == NOW // SECOND + 50
    other = {"apca-api-key-id": "other", "apca-api-secret-key": "s"}
    assert rest.answer("GET", target, other, NOW).status == 200
    assert rest.answer("GET", target, HEADERS, NOW + 50 * SECOND).status == 200
