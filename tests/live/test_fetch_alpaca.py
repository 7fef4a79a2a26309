"""Alpaca's history from end to end: exact rows of trades, quotes and bars, over midnight, behind keys."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.feed import alpaca_history
from engine.live.fetch import Fetch, Report
from engine.live.fetch_alpaca import AlpacaHistory
from engine.live.fetch_client import Answer, Client
from engine.live.fetch_plan import Request
from engine.live.rest import Refused
from engine.log.check import check
from engine.log.reader import LogReader
from engine.model.errors import UsageError
from engine.model.kinds import Flag, Kind
from engine.model.units import SECOND_NS
from engine.serve.alpaca_keys import Keys
from engine.serve.alpaca_market import AlpacaMarket
from engine.serve.alpaca_rest import REQUEST_LIMIT, AlpacaRest
from engine.serve.alpaca_source import AlpacaSource
from engine.serve.alpaca_symbols import alpaca_model
from engine.serve.http import Exchange, HttpServer
from engine.serve.news_source import read_headlines
from engine.serve.synthetic import SyntheticMarket
from tests.helpers.command import Done, call
from tests.helpers.history_venue import MIDNIGHT, NOW_S, Time

KEY, SECRET = "PKTESTKEY0123456789", "planted-secret-of-the-test"
MINUTE = 60 * SECOND_NS
BEGIN, END = MIDNIGHT - 2 * MINUTE, MIDNIGHT + 2 * MINUTE
STOCKS, COINS = ("AAPL", "MSFT"), ("BTC/USD",)


@pytest.fixture(scope="module")
def market() -> AlpacaMarket:
    """Four minutes around midnight of two stocks and a coin."""
    source = SyntheticMarket(7, [*STOCKS, *COINS], start_ns=BEGIN, model=alpaca_model)
    made = AlpacaMarket(source.instruments, seed=None)
    for event in source.events():
        if event.time_ns >= END:
            return made
        made.apply(event.time_ns, event)
    raise AssertionError


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 200, so that there are several."""
    monkeypatch.setattr(alpaca_history, "LIMIT", 200)


class Venue:
    """Transport to the venue's REST side, without a socket."""

    def __init__(self, market: AlpacaMarket, *, limit: int = REQUEST_LIMIT) -> None:
        self.api = AlpacaRest(market, Keys(KEY, SECRET), request_limit=limit)
        self.time = Time()
        self.headers: dict[str, str] = {}
        self.asked: Counter[str] = Counter()

    async def __call__(self, path: str) -> Answer:
        """One request."""
        self.asked[path.partition("?")[0]] += 1
        reply = self.api.answer("GET", path, self.headers, int(self.time.now_s * 1e9))
        return Answer(reply.status, {n.lower(): v for n, v in reply.headers}, reply.body)

    def fetch(
        self, folder: Path, name: str, symbols: tuple[str, ...], channels: tuple[str, ...], **changes: Any
    ) -> Report:
        """Fetch all of it."""
        keys = (changes.pop("key", KEY), changes.pop("secret", SECRET))
        venue = AlpacaHistory(name, *keys)
        self.headers = {n.lower(): v for n, v in venue.headers.items()}
        times = (changes.pop("begin", BEGIN), changes.pop("end", END))
        request = Request(name, symbols, channels, *times, changes.pop("interval", "1m"), "http://v.invalid")
        request, _ = venue.checked(request)
        client = Client(self, request.base, clock=self.time.clock(), weight_of=venue.weight)
        return asyncio.run(Fetch(request, venue, folder, client).run())


Row = tuple[int, int, int, Decimal, Decimal, int]


def rows_of(files: list[str], symbol: str, kind: int) -> list[Row]:
    """Part, venue time, side, price, size and id of a symbol's rows, in order."""
    found: list[Row] = []
    for file in files:
        numbers: dict[int, dict[str, Any]] = {}
        with LogReader(Path(file)) as reader:
            for batch in reader.batches():
                for row in np.flatnonzero(batch.kind == Kind.INSTRUMENT).tolist():
                    numbers[int(batch.instrument[row])] = json.loads(batch.data_at(row) or b"")
                for row in np.flatnonzero(batch.kind == kind).tolist():
                    data = numbers[int(batch.instrument[row])]
                    if data["symbol"] == symbol:
                        price = Decimal(int(batch.price[row])).scaleb(-data["price_decimals"])
                        size = Decimal(int(batch.size[row])).scaleb(-data["size_decimals"])
                        stamp, side = int(batch.ts_venue[row]), int(batch.side[row])
                        found.append((int(batch.part[row]), stamp, side, price, size, int(batch.id[row])))
    return found


def told(market: AlpacaMarket, symbol: str, what: str) -> list[dict[str, Any]]:
    """The venue's own list of trades or quotes."""
    history = market.trades(symbol) if what == "trades" else market.quotes(symbol)
    return [item for _, item in history.between(BEGIN, END - 1)]


def number(value: Any) -> Decimal:
    """A number as the venue holds it."""
    return Decimal(str(value))


@pytest.mark.parametrize(
    ("name", "symbols"), [("alpaca", STOCKS), ("alpaca-sip", STOCKS[:1]), ("alpaca-crypto", COINS)]
)
def test_trades_are_there_once(
    market: AlpacaMarket, tmp_path: Path, name: str, symbols: tuple[str, ...]
) -> None:
    """Every trade of both days, exactly, in order, with the taker's side where the venue tells it."""
    venue = Venue(market)
    report = venue.fetch(tmp_path, name, symbols, ("trade",))
    sides = {"B": 1, "S": -1}
    for symbol in symbols:
        expected = [
            (0, t["t"].ns, sides.get(t.get("tks", ""), 0), number(t["p"]), number(t["s"]), t["i"])
            for t in told(market, symbol, "trades")
        ]
        assert rows_of(report.files, symbol, Kind.TRADE) == expected
        pages = sum(math.ceil(n / 200) for n in Counter(t[1] < MIDNIGHT for t in expected).values())
        assert pages > 2
    assert [Path(file).name for file in report.files] == ["2024-06-01.arrow", "2024-06-02.arrow"]
    assert all(check(Path(file)).ok for file in report.files)


def test_quotes_are_two_rows(market: AlpacaMarket, tmp_path: Path) -> None:
    """A quote is its bid and its ask, one message, to the nanosecond."""
    report = Venue(market).fetch(tmp_path, "alpaca", ("AAPL",), ("quote",))
    expected = []
    for quote in told(market, "AAPL", "quotes"):
        expected.append((0, quote["t"].ns, 1, number(quote["bp"]), number(quote["bs"]), 0))
        expected.append((0, quote["t"].ns, -1, number(quote["ap"]), number(quote["as"]), 0))
    assert rows_of(report.files, "AAPL", Kind.QUOTE) == expected
    assert report.facts * 2 == len(expected)


def test_bars_alone_are_one_log(market: AlpacaMarket, tmp_path: Path) -> None:
    """Four minutes are four bars in one log, final, known at their ends."""
    report = Venue(market).fetch(tmp_path, "alpaca-crypto", COINS, ("bar",))
    (file,) = report.files
    with LogReader(Path(file)) as reader:
        batch = next(reader.batches())
    bars = batch.kind == Kind.BAR
    assert (batch.flags[bars] & int(Flag.FINAL | Flag.IMPORTED) == int(Flag.FINAL | Flag.IMPORTED)).all()
    assert (batch.ts[bars] - batch.ts_venue[bars] == MINUTE).all()
    assert batch.ts_venue[bars & (batch.part == 4)].tolist() == [BEGIN + i * MINUTE for i in range(4)]
    closes = [row[3] for row in rows_of(report.files, COINS[0], Kind.BAR) if row[0] == 4]
    trades = told(market, COINS[0], "trades")
    last = [[t for t in trades if t["t"].ns < BEGIN + (i + 1) * MINUTE][-1] for i in range(4)]
    assert closes == [number(t["p"]) for t in last]


def test_finished_means_nothing_is_asked(market: AlpacaMarket, tmp_path: Path) -> None:
    """Started again, a finished fetch asks nobody."""
    first = Venue(market).fetch(tmp_path, "alpaca", STOCKS, ("trade", "bar"))
    venue = Venue(market)
    again = venue.fetch(tmp_path, "alpaca", STOCKS, ("trade", "bar"))
    assert (again.finished_before, again.files, venue.asked) == (True, first.files, Counter())


def test_the_rate_is_kept(market: AlpacaMarket, tmp_path: Path) -> None:
    """With five requests a minute the fetch waits for the venue's windows and is never refused."""
    venue = Venue(market, limit=5)
    report = venue.fetch(tmp_path, "alpaca", STOCKS, ("trade",))
    assert report.retries == 0
    assert len(venue.time.waits) >= (report.requests - 1) // 5
    assert report.facts == sum(len(told(market, symbol, "trades")) for symbol in STOCKS)


def test_keys_are_asked_for(market: AlpacaMarket, tmp_path: Path) -> None:
    """Stocks without keys are refused before anybody is asked, wrong keys by the venue, and not shown."""
    venue = Venue(market)
    with pytest.raises(UsageError, match="APCA_API_KEY_ID"):
        venue.fetch(tmp_path, "alpaca", STOCKS, ("trade",), key="", secret="")
    with pytest.raises(Refused, match="HTTP 403") as refused:
        venue.fetch(tmp_path, "alpaca", STOCKS, ("trade",), secret=SECRET[::-1])
    assert SECRET[::-1] not in str(refused.value)
    assert KEY not in str(refused.value)


def test_unknown_symbols(market: AlpacaMarket, tmp_path: Path) -> None:
    """A symbol that never traded is named; one that can be none is refused at once; no folder is left."""
    venue = Venue(market)
    with pytest.raises(UsageError, match="knows nothing of NOSUCH"):
        venue.fetch(tmp_path, "alpaca", ("AAPL", "NOSUCH"), ("trade",))
    request = Request("alpaca", ("AAPL",), ("trade",), BEGIN, END, "", "http://venue.invalid")
    with pytest.raises(UsageError, match="knows nothing of AAPL"):
        AlpacaHistory("alpaca", KEY, SECRET).read(b'{"trades":null}', request)
    with pytest.raises(UsageError, match="is no symbol"):
        venue.fetch(tmp_path, "alpaca", ("BTC/USD!",), ("trade",))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("symbols", [("*",), ("BTCUSD", "ETHUSD")])
def test_news_are_headlines_at_their_last_edit(tmp_path: Path, symbols: tuple[str, ...]) -> None:
    """Every article of the time once, at its last edit, oldest first, in one log without instruments."""
    headlines = read_headlines().items[:120]
    source = AlpacaSource(
        SyntheticMarket(7, ["AAPL"], start_ns=BEGIN, model=alpaca_model), headlines, every_ns=SECOND_NS
    )
    market = AlpacaMarket(source.instruments, seed=None)
    for event in source.events():
        if event.time_ns >= END:
            break
        market.apply(event.time_ns, event)
    report = Venue(market).fetch(tmp_path, "alpaca-news", symbols, ("news",))
    (file,) = report.files
    wanted = {symbol for symbol in symbols if symbol != "*"}
    articles = [article for _, article in market.desk.articles(wanted, BEGIN, END - 1)]
    with LogReader(Path(file)) as reader:
        batch = next(reader.batches())
    rows = np.flatnonzero(batch.kind == Kind.NEWS).tolist()
    assert [json.loads(batch.data_at(row) or b"")["headline"] for row in rows] == [
        a["headline"] for a in articles
    ]
    assert [int(batch.ts[row]) // 1_000 for row in rows] == [a["updated_at"].ns // 1_000 for a in articles]
    assert [int(batch.ts_venue[row]) for row in rows] == [a["created_at"].ns for a in articles]
    assert check(Path(file)).ok
    assert len(rows) > 0


def serving(market: AlpacaMarket, run: Callable[[str], Done]) -> Done:
    """Call a command while the venue serves over HTTP."""
    api = AlpacaRest(market, Keys(KEY, SECRET))

    async def handle(exchange: Exchange) -> None:
        request = exchange.request
        target = f"{request.path}?{request.query}" if request.query else request.path
        await exchange.send(api.answer(request.method, target, request.headers, NOW_S * SECOND_NS))

    async def session() -> Done:
        async with HttpServer(handle) as server:
            return await asyncio.to_thread(run, server.url)

    return asyncio.run(session())


def test_the_command_hides_its_keys(
    market: AlpacaMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys come from the environment; they stand in no file that is left and in nothing that is printed."""
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    span = ("--from", "2024-06-01T23:58:00Z", "--to", "2024-06-02T00:02:00Z")
    arguments = ("fetch", "--venue", "alpaca", "--symbols", "aapl", *span, "--channels", "trade,quote")
    done = serving(market, lambda url: call(*arguments, "--url", url, cwd=tmp_path)).ok()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix == ".arrow"]) == 2
    for text in (KEY, SECRET):
        assert text not in done.out + done.err
        assert not [path for path in files if text.encode() in path.read_bytes()]


def test_keys_do_not_travel_in_the_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To another machine keys are sent encrypted or not at all."""
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    span = ("--from", "2024-06-01", "--to", "2024-06-02")
    done = call(
        "fetch",
        "--venue",
        "alpaca",
        "--symbols",
        "AAPL",
        *span,
        "--url",
        "http://venue.invalid",
        cwd=tmp_path,
    )
    assert done.code == 2
    assert "without encryption" in done.err
