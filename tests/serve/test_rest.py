"""REST answers as tables: content, weights, units, and the venue's errors."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from engine.serve.market import VenueMarket
from engine.serve.rest import Reply, RestApi
from engine.serve.synthetic import SyntheticMarket, model_of

NOW = 1_717_232_405_000_000  # five seconds into a minute


@pytest.fixture(scope="module")
def market() -> VenueMarket:
    """Two seconds of the synthetic market."""
    source = SyntheticMarket(7, rate=5)
    made = VenueMarket(source.instruments)
    for time_ns, stream, payload in source.events():
        if time_ns > source.start_ns + 2_000_000_000:
            break
        made.apply(time_ns // 1_000, stream, payload, ())
    return made


def get(market: VenueMarket, target: str, *, method: str = "GET", unit: str = "") -> Reply:
    headers = {"X-MBX-TIME-UNIT": unit} if unit else {}
    return RestApi(market).answer(method, target, headers, NOW)


def body(market: VenueMarket, target: str, **how: str) -> Any:
    reply = get(market, target, **how)
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


def test_ping_and_time(market: VenueMarket) -> None:
    """An empty object, and the time that came in, in the unit that was asked for."""
    assert body(market, "/api/v3/ping") == {}
    assert body(market, "/api/v3/time") == {"serverTime": NOW // 1_000}
    assert body(market, "/api/v3/time", unit="MICROSECOND") == {"serverTime": NOW}


@pytest.mark.parametrize(
    ("query", "symbols"),
    [
        ("", ["BTCUSDT", "ETHUSDT"]),
        ("?symbol=ETHUSDT", ["ETHUSDT"]),
        ('?symbols=["ETHUSDT","BTCUSDT"]', ["ETHUSDT", "BTCUSDT"]),
        ("?symbols=%5B%22BTCUSDT%22%5D", ["BTCUSDT"]),
        ("?symbolStatus=TRADING", ["BTCUSDT", "ETHUSDT"]),
        ("?symbolStatus=HALT", []),
        ("?permissions=SPOT", ["BTCUSDT", "ETHUSDT"]),
        ('?permissions=["MARGIN","SPOT"]', ["BTCUSDT", "ETHUSDT"]),
        ("?permissions=MARGIN", []),
        ("?permissions=SPOT&symbolStatus=BREAK", []),
    ],
)
def test_exchange_info_names_the_symbols(market: VenueMarket, query: str, symbols: list[str]) -> None:
    """All symbols, one, or those of a JSON list, of a status, or of a permission."""
    info = body(market, "/api/v3/exchangeInfo" + query)
    assert [s["symbol"] for s in info["symbols"]] == symbols
    assert {limit["rateLimitType"] for limit in info["rateLimits"]} >= {"REQUEST_WEIGHT", "ORDERS"}


def test_exchange_info_gives_increments_with_eight_decimals(market: VenueMarket) -> None:
    """Filters carry tick, lot and minimum as the venue writes them."""
    (entry,) = body(market, "/api/v3/exchangeInfo?symbol=ETHUSDT")["symbols"]
    filters = {f["filterType"]: f for f in entry["filters"]}
    assert (entry["baseAsset"], entry["quoteAsset"], entry["status"]) == ("ETH", "USDT", "TRADING")
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00010000"
    assert filters["NOTIONAL"]["minNotional"] == "5.00000000"


def test_depth_is_sorted_and_limited(market: VenueMarket) -> None:
    """Best prices first, at most `limit` of each side, at the last update id."""
    whole = body(market, "/api/v3/depth?symbol=BTCUSDT&limit=5000")
    few = body(market, "/api/v3/depth?symbol=BTCUSDT&limit=3")
    assert few["bids"] == whole["bids"][:3]
    assert few["lastUpdateId"] == whole["lastUpdateId"] > 0
    prices = [float(p) for p, _ in whole["bids"]]
    assert prices == sorted(prices, reverse=True)
    assert prices[0] < float(whole["asks"][0][0])


def test_trades_are_the_last_ones(market: VenueMarket) -> None:
    """Oldest first, ids contiguous, the quote quantity the exact product."""
    trades = body(market, "/api/v3/trades?symbol=BTCUSDT&limit=3")
    assert [t["id"] for t in trades] == list(range(trades[0]["id"], trades[0]["id"] + 3))
    assert float(trades[0]["quoteQty"]) == pytest.approx(float(trades[0]["price"]) * float(trades[0]["qty"]))
    assert (
        trades[0]["time"]
        < 10**13
        < body(market, "/api/v3/trades?symbol=BTCUSDT", unit="microsecond")[0]["time"]
    )


def test_aggregate_trades_have_a_range(market: VenueMarket) -> None:
    """Ids contiguous; fromId, startTime, endTime and limit restrict; fields as the venue names them."""
    found = body(market, "/api/v3/aggTrades?symbol=BTCUSDT")
    ids = [a["a"] for a in found]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert list(found[0]) == ["a", "p", "q", "f", "l", "T", "m", "M"]
    assert all(later["f"] == earlier["l"] + 1 for earlier, later in pairwise(found))
    assert body(market, f"/api/v3/aggTrades?symbol=BTCUSDT&fromId={ids[3]}&limit=2") == found[3:5]
    assert body(market, "/api/v3/aggTrades?symbol=BTCUSDT&limit=2") == found[-2:]
    assert body(market, f"/api/v3/aggTrades?symbol=BTCUSDT&endTime={found[0]['T'] - 1}") == []


def test_klines_have_twelve_fields_and_a_range(market: VenueMarket) -> None:
    """Rows of the interval, restricted by startTime, endTime and limit."""
    rows = body(market, "/api/v3/klines?symbol=BTCUSDT&interval=1s")
    assert {len(row) for row in rows} == {12}
    first = rows[0][0]
    assert body(market, f"/api/v3/klines?symbol=BTCUSDT&interval=1s&endTime={first}") == rows[:1]
    assert body(market, f"/api/v3/klines?symbol=BTCUSDT&interval=1s&startTime={first + 1}") == rows[1:]
    assert body(market, "/api/v3/klines?symbol=BTCUSDT&interval=1s&limit=1") == rows[-1:]
    assert body(market, "/api/v3/klines?symbol=BTCUSDT&interval=1M")[0][0] == 1_717_200_000_000


def test_tickers_of_a_status_leave_out_the_others(market: VenueMarket) -> None:
    """No symbol is halted, so none is told of; all are trading, so all are."""
    assert body(market, "/api/v3/ticker/price?symbolStatus=HALT") == []
    assert body(market, "/api/v3/ticker/price?symbolStatus=TRADING") == body(market, "/api/v3/ticker/price")


def test_klines_have_no_holes(market: VenueMarket) -> None:
    """Seconds in which nothing traded are rows too, flat and empty, up to the one that is now."""
    rows = body(market, "/api/v3/klines?symbol=BTCUSDT&interval=1s")
    assert [row[0] for row in rows] == list(range(rows[0][0], NOW // 1_000 + 1, 1_000))
    last = rows[-1]
    assert last[1:6] == [rows[-2][4]] * 4 + ["0.00000000"]
    assert last[7:11] == ["0.00000000", 0, "0.00000000", "0.00000000"]


MISSING = "Mandatory parameter '{}' was not sent, was empty/null, or malformed."
ERRORS: list[tuple[str, int, int, str]] = [
    ("/api/v3/depth", 400, -1102, MISSING.format("symbol")),
    ("/api/v3/depth?symbol=", 400, -1102, MISSING.format("symbol")),
    ("/api/v3/depth?symbol=NOPE", 400, -1121, "Invalid symbol."),
    ("/api/v3/trades?symbol=NOPE", 400, -1121, "Invalid symbol."),
    ("/api/v3/exchangeInfo?symbol=NOPE", 400, -1121, "Invalid symbol."),
    ('/api/v3/exchangeInfo?symbols=["BTCUSDT","NOPE"]', 400, -1121, "Invalid symbol."),
    ("/api/v3/exchangeInfo?symbols=BTCUSDT", 400, -1100, "Illegal characters found in parameter 'symbols'"),
    ('/api/v3/exchangeInfo?symbols=["BTCUSDT","BTCUSDT"]', 400, -1151, "Symbol is present multiple times"),
    (
        "/api/v3/exchangeInfo?symbol=BTCUSDT&symbols=[]",
        400,
        -1128,
        "Combination of optional parameters invalid.",
    ),
    ("/api/v3/depth?symbol=btcusdt", 400, -1100, "Illegal characters found in parameter 'symbol'"),
    ("/api/v3/depth?symbol=BTCUSDT&limit=many", 400, -1100, "Illegal characters found in parameter 'limit'"),
    ("/api/v3/depth?symbol=BTCUSDT&limit=0", 400, -1130, "Data sent for parameter 'limit' is not valid."),
    ("/api/v3/depth?symbol=BTCUSDT&limit=", 400, -1105, "Parameter 'limit' was empty."),
    ("/api/v3/depth?symbol=BTCUSDT&x=1", 400, -1104, "read '1' parameter(s) but was sent '2'."),
    ("/api/v3/depth?symbol=BTCUSDT&symbol=ETHUSDT", 400, -1101, "Duplicate values for a parameter detected."),
    ("/api/v3/ping?x=1", 400, -1101, "Too many parameters; expected '0' and received '1'."),
    ("/api/v3/klines?symbol=BTCUSDT", 400, -1102, MISSING.format("interval")),
    ("/api/v3/klines?symbol=BTCUSDT&interval=7m", 400, -1120, "Invalid interval."),
    ("/api/v3/exchangeInfo?symbolStatus=DOZING", 400, -1122, "Invalid symbolStatus."),
    (
        "/api/v3/exchangeInfo?permissions=[]",
        400,
        -1100,
        "Illegal characters found in parameter 'permissions'",
    ),
    (
        "/api/v3/exchangeInfo?permissions=[[",
        400,
        -1100,
        "Illegal characters found in parameter 'permissions'",
    ),
    ("/api/v3/exchangeInfo?symbol=BTCUSDT&permissions=SPOT", 400, -1128, "Combination of optional"),
    ("/api/v3/exchangeInfo?symbol=BTCUSDT&symbolStatus=TRADING", 400, -1128, "Combination of optional"),
    ("/api/v3/exchangeInfo?symbols=" + "[" * 3_000, 400, -1100, "Illegal characters found in parameter"),
    ("/api/v3/ticker/price?symbol=BTCUSDT&symbolStatus=HALT", 400, -1220, "does not match the requested"),
    ("//[x", 404, -1000, "is not part of this local venue"),
    ("/api/v3/order", 400, -1020, "this local venue takes no orders"),
    ("/api/v3/orderList/oco", 400, -1020, "this local venue takes no orders"),
    ("/api/v3/account", 404, -1000, "is not part of this local venue"),
]


@pytest.mark.parametrize(("target", "status", "code", "message"), ERRORS, ids=[e[0] for e in ERRORS])
def test_errors_are_the_venues_own(
    market: VenueMarket, target: str, status: int, code: int, message: str
) -> None:
    """Status, code and text of every request that cannot be answered."""
    reply = get(market, target)
    assert (reply.status, json.loads(reply.body)["code"]) == (status, code)
    assert message in json.loads(reply.body)["msg"]


def test_other_methods_are_refused(market: VenueMarket) -> None:
    """Market data is read with GET."""
    assert get(market, "/api/v3/ping", method="POST").status == 405


@pytest.mark.parametrize(
    ("target", "weight"),
    [
        ("/api/v3/ping", 1),
        ("/api/v3/time", 1),
        ("/api/v3/exchangeInfo", 20),
        ("/api/v3/depth?symbol=BTCUSDT", 5),
        ("/api/v3/depth?symbol=BTCUSDT&limit=101", 25),
        ("/api/v3/depth?symbol=BTCUSDT&limit=1000", 50),
        ("/api/v3/depth?symbol=BTCUSDT&limit=9999", 250),
        ("/api/v3/trades?symbol=BTCUSDT", 25),
        ("/api/v3/aggTrades?symbol=BTCUSDT", 4),
        ("/api/v3/klines?symbol=BTCUSDT&interval=1m", 2),
        ("/api/v3/depth?symbol=NOPE", 1),
    ],
)
def test_weights_are_counted(market: VenueMarket, target: str, weight: int) -> None:
    """Each request costs what the venue documents, and the header says so."""
    assert dict(get(market, target).headers)["X-MBX-USED-WEIGHT-1M"] == str(weight)


def test_too_much_weight_is_refused_until_the_minute_is_over(market: VenueMarket) -> None:
    """429 with Retry-After to the end of the minute; then the count begins anew."""
    api = RestApi(market, weight_limit=3)
    statuses = [api.answer("GET", "/api/v3/ping", {}, NOW).status for _ in range(4)]
    refused = api.answer("GET", "/api/v3/ping", {}, NOW)
    assert statuses == [200, 200, 200, 429]
    assert json.loads(refused.body)["code"] == -1003
    assert dict(refused.headers)["Retry-After"] == "55"
    assert api.answer("GET", "/api/v3/ping", {}, NOW + 55_000_000).status == 200


def test_a_venue_without_events_still_answers() -> None:
    """Before the first event a book is empty, trades and klines are empty lists."""
    empty = VenueMarket([model_of("BTCUSDT").instrument()])
    assert body(empty, "/api/v3/depth?symbol=BTCUSDT") == {"lastUpdateId": 0, "bids": [], "asks": []}
    assert body(empty, "/api/v3/trades?symbol=BTCUSDT") == []
    assert body(empty, "/api/v3/klines?symbol=BTCUSDT&interval=1d") == []


def test_the_last_day_is_the_trades_in_sum(market: VenueMarket) -> None:
    """ticker/24hr: first, last, highest and lowest price, ids and volume are those of all trades so far."""
    trades = body(market, "/api/v3/trades?symbol=BTCUSDT&limit=1000")
    day = body(market, "/api/v3/ticker/24hr?symbol=BTCUSDT")
    prices = [Decimal(trade["price"]) for trade in trades]
    shown = [Decimal(day[name]) for name in ("openPrice", "highPrice", "lowPrice", "lastPrice")]
    assert shown == [prices[0], max(prices), min(prices), prices[-1]]
    assert Decimal(day["volume"]) == sum(Decimal(trade["qty"]) for trade in trades)
    assert (day["firstId"], day["lastId"], day["count"]) == (trades[0]["id"], trades[-1]["id"], len(trades))
    assert Decimal(day["priceChange"]) == prices[-1] - prices[0]
    assert day["closeTime"] - day["openTime"] == 86_400_000
    assert min(prices) <= Decimal(day["weightedAvgPrice"]) <= max(prices)


@pytest.mark.parametrize(
    ("path", "weight"),
    [
        ("ticker/24hr?symbol=BTCUSDT", 2),
        ('ticker/24hr?symbols=["BTCUSDT"]', 2),
        ("ticker/24hr", 80),
        ("ticker/price?symbol=BTCUSDT", 2),
        ("ticker/price", 4),
        ("ticker/bookTicker?symbol=BTCUSDT", 2),
        ("ticker/bookTicker", 4),
        ("avgPrice?symbol=BTCUSDT", 2),
        ("historicalTrades?symbol=BTCUSDT", 25),
    ],
)
def test_tickers_have_their_weights_and_forms(market: VenueMarket, path: str, weight: int) -> None:
    """One symbol gives an object, several a list; each costs what the venue says."""
    reply = get(market, "/api/v3/" + path)
    assert reply.status == 200
    assert dict(reply.headers)["X-MBX-USED-WEIGHT-1M"] == str(weight)
    several = "symbol=" not in path or path.startswith("historicalTrades")
    assert isinstance(json.loads(reply.body), list) == several


def test_a_short_ticker_leaves_out_best_prices(market: VenueMarket) -> None:
    """The type MINI has no bid and no ask; another type is refused."""
    assert "bidPrice" not in body(market, "/api/v3/ticker/24hr?symbol=BTCUSDT&type=MINI")
    assert get(market, "/api/v3/ticker/24hr?symbol=BTCUSDT&type=TINY").status == 400


def test_a_market_without_trades_has_a_ticker_of_zeros() -> None:
    """Before the first trade: prices 0, ids -1, no percentage of nothing."""
    day = body(VenueMarket([model_of("BTCUSDT").instrument()]), "/api/v3/ticker/24hr?symbol=BTCUSDT")
    assert (day["lastPrice"], day["firstId"], day["count"]) == ("0.00000000", -1, 0)
    assert day["priceChangePercent"] == "0.000"


def test_old_trades_are_paged_by_id(market: VenueMarket) -> None:
    """Trades from an id on are the next ones, oldest first, until there are none."""
    known = [trade["id"] for trade in body(market, "/api/v3/trades?symbol=BTCUSDT&limit=1000")]
    paged: list[int] = []
    while True:
        first = paged[-1] + 1 if paged else known[0]
        page = body(market, f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={first}&limit=7")
        if not page:
            break
        paged += [trade["id"] for trade in page]
    assert paged == known
