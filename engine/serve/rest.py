"""Binance's REST market data, the venue's side: a request target in, status, headers and body out.

What a client needs to begin, and to fetch what it has missed: ping, time, exchangeInfo, depth, trades,
historicalTrades and aggTrades (which page by id), klines (which page by time), tickers; each with its request
weight, which is counted per minute and announced in `X-MBX-USED-WEIGHT-1M`, and with the venue's own
JSON errors. Depth answers stand at the update id that the diff stream has reached, so that a client's
synchronisation works at any moment. Nothing here reads a clock; `now_us` comes in.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from engine.serve.candles import INTERVAL_SECONDS, kline_row
from engine.serve.targets import path_and_query
from engine.serve.tickers import AVERAGE_MINUTES, MINI_NAMES, average_price, quote_volume

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from engine.model.kinds import InstrumentData
    from engine.serve.market import VenueMarket

WEIGHT_LIMIT = 6_000  # per minute
_MINUTE_US = 60_000_000
_OK, _BAD, _NOT_FOUND, _WRONG_METHOD, _TOO_MANY = 200, 400, 404, 405, 429
_SYMBOL = re.compile(r"[A-Z0-9\-_.]{1,20}")
_STATUSES = frozenset({"TRADING", "END_OF_DAY", "HALT", "BREAK", "CANCEL_ONLY"})
_PERMISSIONS = frozenset({"SPOT"})
_ORDERS = re.compile(r"/api/v3/(sor/)?(order|openOrders?|allOrders?)(List)?(/|$)")
_DIGITS = re.compile(r"[0-9]{1,20}")
_DEPTH_WEIGHTS = ((100, 5), (500, 25), (1_000, 50), (5_000, 250))
_DAY_WEIGHTS = ((20, 2), (100, 40))  # by symbols asked for
_DAY_WEIGHT_MOST = 80
_encode = msgspec.json.Encoder().encode


class Reply(NamedTuple):
    """One HTTP answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class _Refused(Exception):
    """A request that gets one of the venue's errors; never leaves this module."""

    def __init__(self, code: int, text: str, status: int = _BAD) -> None:
        super().__init__(text)
        self.status = status
        self.body = _encode({"code": code, "msg": text})


class RestApi:
    """Answers requests from a VenueMarket."""

    def __init__(self, market: VenueMarket, *, weight_limit: int = WEIGHT_LIMIT) -> None:
        self._market = market
        self._weight_limit = weight_limit
        self._minute = -1
        self._used = 0
        # path: (parameters it reads, its answer)
        self._paths: dict[str, tuple[tuple[str, ...], Callable[[_Request], Any]]] = {
            "/api/v3/ping": ((), self._ping),
            "/api/v3/time": ((), self._time),
            "/api/v3/exchangeInfo": (
                ("symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"),
                self._exchange_info,
            ),
            "/api/v3/depth": (("symbol", "limit"), self._depth),
            "/api/v3/trades": (("symbol", "limit"), self._trades),
            "/api/v3/aggTrades": (
                ("symbol", "fromId", "startTime", "endTime", "limit"),
                self._aggregate_trades,
            ),
            "/api/v3/historicalTrades": (("symbol", "fromId", "limit"), self._historical_trades),
            "/api/v3/klines": (("symbol", "interval", "limit", "startTime", "endTime"), self._klines),
            "/api/v3/avgPrice": (("symbol",), self._average_price),
            "/api/v3/ticker/24hr": (("symbol", "symbols", "type", "symbolStatus"), self._day),
            "/api/v3/ticker/price": (("symbol", "symbols", "symbolStatus"), self._prices),
            "/api/v3/ticker/bookTicker": (("symbol", "symbols", "symbolStatus"), self._best_prices),
            "/sapi/v1/system/status": ((), self._status),
        }

    def answer(self, method: str, target: str, headers: Mapping[str, str], now_us: int) -> Reply:
        """The answer to one request. `headers` must be looked up without regard to case."""
        if now_us // _MINUTE_US != self._minute:
            self._minute, self._used = now_us // _MINUTE_US, 0
        try:
            status, body = _OK, _encode(self._result(method, target, headers, now_us))
        except _Refused as refusal:
            status, body = refusal.status, refusal.body
        answered = [
            ("Content-Type", "application/json;charset=UTF-8"),
            ("X-MBX-USED-WEIGHT", str(self._used)),
            ("X-MBX-USED-WEIGHT-1M", str(self._used)),
        ]
        if status == _TOO_MANY:
            answered.append(("Retry-After", str(60 - now_us // 1_000_000 % 60)))
        return Reply(status, answered, body)

    def _result(self, method: str, target: str, headers: Mapping[str, str], now_us: int) -> Any:
        path, query = path_and_query(target)
        entry = self._paths.get(path)
        if entry is None and _ORDERS.match(path):
            text = "This operation is not supported: this local venue takes no orders and has no accounts."
            raise _Refused(-1020, text)
        if entry is None:
            raise _Refused(-1000, f"Path {method} {path} is not part of this local venue.", _NOT_FOUND)
        if method != "GET":
            raise _Refused(-1000, f"Method {method} is not supported on {path}.", _WRONG_METHOD)
        if self._used >= self._weight_limit:
            self._used += 1
            raise _Refused(
                -1003,
                f"Too much request weight used; current limit is {self._weight_limit} request weight per"
                " 1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API.",
                _TOO_MANY,
            )
        known, result = entry
        sent = parse_qsl(query, keep_blank_values=True)
        request = _Request(dict(sent), headers, now_us)
        if len(sent) != len(request.params):
            raise self._refuse(1, -1101, "Duplicate values for a parameter detected.")
        if not known and sent:
            raise self._refuse(1, -1101, f"Too many parameters; expected '0' and received '{len(sent)}'.")
        read = [name for name, _ in sent if name in known]
        if len(read) != len(sent):
            text = (
                f"Not all sent parameters were read; read '{len(read)}' parameter(s)"
                f" but was sent '{len(sent)}'."
            )
            raise self._refuse(1, -1104, text)
        try:
            return result(request)
        except _Refused:
            self._used += 1
            raise

    def _refuse(self, weight: int, code: int, text: str) -> _Refused:
        self._used += weight
        return _Refused(code, text)

    def _ping(self, _: _Request) -> Any:
        self._used += 1
        return {}

    def _time(self, request: _Request) -> Any:
        self._used += 1
        return {"serverTime": request.stamp(request.now_us)}

    def _depth(self, request: _Request) -> Any:
        symbol = self._symbol(request)
        limit = min(request.limit(100, 5_000), 5_000)
        self._used += next(weight for most, weight in _DEPTH_WEIGHTS if limit <= most)
        return self._market.depth(symbol, limit)

    def _trades(self, request: _Request) -> Any:
        symbol = self._symbol(request)
        limit = request.limit(500, 1_000)
        self._used += 25
        return [_trade(trade, request) for trade in self._market.trades(symbol, limit)]

    def _historical_trades(self, request: _Request) -> Any:
        symbol = self._symbol(request)
        limit, first = request.limit(500, 1_000), request.number("fromId")
        self._used += 25
        if first is None:
            return [_trade(trade, request) for trade in self._market.trades(symbol, limit)]
        found = (trade for trade in self._market.trades(symbol, 0) if trade["t"] >= first)
        return [_trade(trade, request) for trade in islice(found, limit)]

    def _aggregate_trades(self, request: _Request) -> Any:
        symbol = self._symbol(request)
        limit, first = request.limit(500, 1_000), request.number("fromId")
        begin, end = request.time("startTime"), request.time("endTime")
        found = self._market.aggregates(symbol)
        if first is not None:
            found = [a for a in found if a["a"] >= first]
        if begin is not None:
            found = [a for a in found if a["T"] >= begin]
        if end is not None:
            found = [a for a in found if a["T"] <= end]
        self._used += 4
        chosen = found[-limit:] if first is None and begin is None else found[:limit]
        names = ("a", "p", "q", "f", "l", "T", "m", "M")
        return [{n: request.stamp(a[n]) if n == "T" else a[n] for n in names} for a in chosen]

    def _klines(self, request: _Request) -> Any:
        symbol = self._symbol(request)
        interval = request.mandatory("interval")
        if interval not in INTERVAL_SECONDS:
            raise _Refused(-1120, "Invalid interval.")
        limit = request.limit(500, 1_000)
        begin, end = request.time("startTime"), request.time("endTime")
        candles = self._market.candles(symbol).filled(interval, request.now_us // 1_000_000)
        if begin is not None:
            candles = [c for c in candles if c.start * 1_000_000 >= begin]
        if end is not None:
            candles = [c for c in candles if c.start * 1_000_000 <= end]
        self._used += 2
        chosen = candles[:limit] if begin is not None else candles[-limit:]
        rows = [kline_row(candle, interval) for candle in chosen]
        return [[request.stamp(r[0]), *r[1:6], request.stamp(r[6]), *r[7:]] for r in rows]

    def _average_price(self, request: _Request) -> Any:
        symbol = self._symbol(request)
        self._used += 2
        trades = self._market.trades(symbol, 1)
        minutes = self._market.candles(symbol).candles("1m")
        return {
            "mins": AVERAGE_MINUTES,
            "price": average_price(minutes, request.now_us),
            "closeTime": request.stamp(trades[-1]["T"] if trades else request.now_us),
        }

    def _day(self, request: _Request) -> Any:
        kind = request.params.get("type", "FULL")
        if kind not in {"FULL", "MINI"}:
            raise _Refused(
                -1100, "Illegal characters found in parameter 'type'; legal values are FULL, MINI."
            )
        names, several = self._asked(request)
        given = bool({"symbol", "symbols"} & request.params.keys())
        most = (weight for count, weight in _DAY_WEIGHTS if given and len(names) <= count)
        self._used += next(most, _DAY_WEIGHT_MOST)
        found = []
        for name in names:
            day = self._market.statistics(name, request.now_us)
            day = {n: day[n] for n in MINI_NAMES} if kind == "MINI" else day
            stamps = {n: request.stamp(day[n]) for n in ("openTime", "closeTime")}
            found.append(day | stamps)
        return found if several else found[0]

    def _prices(self, request: _Request) -> Any:
        names, several = self._asked(request)
        self._used += 4 if several else 2
        days = (self._market.statistics(name, request.now_us) for name in names)
        found = [{"symbol": day["symbol"], "price": day["lastPrice"]} for day in days]
        return found if several else found[0]

    def _best_prices(self, request: _Request) -> Any:
        names, several = self._asked(request)
        self._used += 4 if several else 2
        days = (self._market.statistics(name, request.now_us) for name in names)
        wanted = ("symbol", "bidPrice", "bidQty", "askPrice", "askQty")
        found = [{n: day[n] for n in wanted} for day in days]
        return found if several else found[0]

    def _status(self, _: _Request) -> Any:
        self._used += 1
        return {"status": 0, "msg": "normal"}

    def _exchange_info(self, request: _Request) -> Any:
        permissions = request.params.get("permissions")
        one = {"symbol", "symbols"} & request.params.keys()
        if one and (permissions is not None or "symbolStatus" in request.params):
            raise _Refused(-1128, "Combination of optional parameters invalid.")
        names, _ = self._asked(request)
        if permissions is not None and not _PERMISSIONS & set(_permission_list(permissions)):
            names = []
        known = self._market.instruments
        self._used += 20
        return {
            "timezone": "UTC",
            "serverTime": request.stamp(request.now_us),
            "rateLimits": [
                _rate_limit("REQUEST_WEIGHT", "MINUTE", 1, self._weight_limit),
                _rate_limit("ORDERS", "SECOND", 10, 50),
                _rate_limit("ORDERS", "DAY", 1, 160_000),
                _rate_limit("RAW_REQUESTS", "MINUTE", 5, 300_000),
            ],
            "exchangeFilters": [],
            "symbols": [exchange_symbol(known[name]) for name in names],
        }

    def _asked(self, request: _Request) -> tuple[list[str], bool]:
        """The symbols that are asked for, all without a name; and whether the answer is a list."""
        known = self._market.instruments
        one, several = request.params.get("symbol"), request.params.get("symbols")
        if one is not None and several is not None:
            raise _Refused(-1128, "Combination of optional parameters invalid.")
        status = request.params.get("symbolStatus")
        if status is not None and status not in _STATUSES:
            raise _Refused(-1122, "Invalid symbolStatus.")
        if one is not None:
            name = self._symbol(request)
            if status not in (None, known[name].status):
                raise _Refused(-1220, "The symbol's status does not match the requested symbolStatus.")
            return [name], False
        names = list(known) if several is None else _symbol_list(several)
        if any(name not in known for name in names):
            raise _Refused(-1121, "Invalid symbol.")
        return [name for name in names if status in (None, known[name].status)], True

    def _symbol(self, request: _Request) -> str:
        symbol = request.mandatory("symbol")
        if not _SYMBOL.fullmatch(symbol):
            raise _Refused(
                -1100,
                "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'.",
            )
        if symbol not in self._market.instruments:
            raise _Refused(-1121, "Invalid symbol.")
        return symbol


class _Request(NamedTuple):
    """What an answer reads of a request."""

    params: dict[str, str]
    headers: Mapping[str, str]
    now_us: int

    def mandatory(self, name: str) -> str:
        value = self.params.get(name, "")
        if not value:
            raise _Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return value

    def number(self, name: str) -> int | None:
        text = self.params.get(name)
        if text is None:
            return None
        if not text:
            raise _Refused(-1105, f"Parameter '{name}' was empty.")
        if not _DIGITS.fullmatch(text):
            raise _Refused(
                -1100,
                f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.",
            )
        return int(text)

    def limit(self, default: int, most: int) -> int:
        value = self.number("limit")
        if value is None:
            return default
        if value == 0:
            raise _Refused(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(value, most)

    def time(self, name: str) -> int | None:
        """A time parameter in microseconds; the venue takes both units."""
        value = self.number(name)
        return value if value is None or value >= 10**15 else value * 1_000

    def stamp(self, time_us: int) -> int:
        unit = self.headers.get("X-MBX-TIME-UNIT", "").lower()
        return time_us if unit == "microsecond" else time_us // 1_000


def _trade(trade: Mapping[str, Any], request: _Request) -> dict[str, Any]:
    return {
        "id": trade["t"],
        "price": trade["p"],
        "qty": trade["q"],
        "quoteQty": quote_volume(trade["p"], trade["q"]),
        "time": request.stamp(trade["T"]),
        "isBuyerMaker": trade["m"],
        "isBestMatch": True,
    }


def _symbol_list(text: str) -> list[str]:
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise _Refused(
            -1100, "Illegal characters found in parameter 'symbols'; legal range is a JSON array of symbols."
        )
    if len(set(names)) != len(names):
        raise _Refused(-1151, "Symbol is present multiple times in the list.")
    return names


def _permission_list(text: str) -> list[str]:
    """One permission, or a JSON list of some."""
    try:
        names = json.loads(text) if text.startswith("[") else [text]
    except (ValueError, RecursionError):
        names = None
    if not names or not all(isinstance(name, str) and _SYMBOL.fullmatch(name) for name in names):
        raise _Refused(-1100, "Illegal characters found in parameter 'permissions'.")
    return list(names)


def _rate_limit(kind: str, interval: str, count: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}


def exchange_symbol(data: InstrumentData) -> dict[str, Any]:
    """One entry of exchangeInfo's `symbols`."""
    return {
        "symbol": data.symbol,
        "status": data.status,
        "baseAsset": data.base,
        "baseAssetPrecision": 8,
        "quoteAsset": data.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": [
            "LIMIT",
            "LIMIT_MAKER",
            "MARKET",
            "STOP_LOSS",
            "STOP_LOSS_LIMIT",
            "TAKE_PROFIT",
            "TAKE_PROFIT_LIMIT",
        ],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": _filters(data),
        "permissions": [],
        "permissionSets": [sorted(_PERMISSIONS)],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }


def _filters(data: InstrumentData) -> list[dict[str, Any]]:
    most = data.max_size if data.max_size != "0" else "9000"
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": _eight(data.price_increment),
            "maxPrice": "1000000.00000000",
            "tickSize": _eight(data.price_increment),
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": _eight(data.min_size if data.min_size != "0" else data.size_increment),
            "maxQty": _eight(most),
            "stepSize": _eight(data.size_increment),
        },
        {"filterType": "ICEBERG_PARTS", "limit": 100},
        {
            "filterType": "NOTIONAL",
            "minNotional": _eight(data.min_notional),
            "applyMinToMarket": True,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
    ]


def _eight(text: str) -> str:
    """A decimal text with at least the eight places that the venue writes; never fewer digits."""
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(8, '0')}"
