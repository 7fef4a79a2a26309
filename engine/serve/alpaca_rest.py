"""Alpaca's historical market data over REST, the venue's side: a request target in, an answer out.

    /v2/stocks/{trades,quotes,bars}                 symbols, start, end, limit, page_token, sort, timeframe
    /v2/stocks/{symbol}/{trades,quotes,bars}        the same of one symbol
    /v2/stocks/{trades,quotes,bars}/latest
    /v1beta3/crypto/us/{trades,quotes,bars}, /v1beta3/crypto/us/latest/{trades,quotes,bars,orderbooks}
    /v1beta1/news                                   symbols, start, end, limit, sort, page_token

A page holds at most `limit` items of all symbols together, symbol by symbol in the order of the alphabet,
each by time; `next_page_token` says where the next one goes on, and is null on the last. Without a start it
is the running day's, without an end it is now. Stocks and news need a key, coins do not; every key has so
many requests in a minute, and each answer says how many are left.

Nothing here reads a clock; `now_ns` comes in.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from engine.model.errors import DecimalError
from engine.model.units import SECOND_NS, parse_time
from engine.serve.alpaca_bars import MINUTE_NS, Timeframe, timeframe_of
from engine.serve.alpaca_history import Key
from engine.serve.alpaca_keys import KEY_HEADER, SECRET_HEADER, Keys
from engine.serve.alpaca_symbols import CRYPTO, NEWS, STOCKS, is_symbol, kind_of
from engine.serve.alpaca_wire import JSON, encode
from engine.serve.rest import Reply
from engine.serve.targets import path_and_query

if TYPE_CHECKING:
    from engine.serve.alpaca_market import AlpacaMarket

REQUEST_LIMIT = 200  # in a minute, of a free account
MOST_ITEMS, MOST_NEWS = 10_000, 50
_ITEMS, _NEWS_ITEMS = 1_000, 10
_MINUTE, _DAY = Timeframe(1, "Min"), Timeframe(1, "Day")
_RECENT_NS = 15 * MINUTE_NS  # what a free account does not see of SIP
_OK, _BAD, _UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY = 200, 400, 401, 403, 404, 429
_PREFIXES = {"/v2/stocks/": STOCKS, "/v1beta3/crypto/us/": CRYPTO, "/v1beta1/news": NEWS}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WHAT = ("trades", "quotes", "bars")
_FEEDS = ("iex", "sip", "delayed_sip", "otc", "boats", "overnight")


class _Refused(Exception):
    """A request that gets one of the venue's errors; never leaves this module."""

    def __init__(self, text: str, status: int = _BAD) -> None:
        super().__init__(text)
        self.status = status


class AlpacaRest:
    """Answers requests from an AlpacaMarket.

    Args:
        keys: who may ask, and what their plan allows.
        request_limit: per key and minute.
    """

    def __init__(self, market: AlpacaMarket, keys: Keys, *, request_limit: int = REQUEST_LIMIT) -> None:
        self._market = market
        self._keys = keys
        self._limit = request_limit
        self._minute = -1
        self._used: dict[str, int] = {}

    def answer(self, method: str, target: str, headers: Mapping[str, str], now_ns: int) -> Reply:
        """The answer to one request; names of headers in lower case."""
        if now_ns // MINUTE_NS != self._minute:
            self._minute, self._used = now_ns // MINUTE_NS, {}
        key = headers.get(KEY_HEADER, "")
        used = self._used[key] = self._used.get(key, 0) + 1
        resets_s = (self._minute + 1) * 60
        answered = [
            ("Content-Type", "application/json; charset=UTF-8"),
            ("X-RateLimit-Limit", str(self._limit)),
            ("X-RateLimit-Remaining", str(max(0, self._limit - used))),
            ("X-RateLimit-Reset", str(resets_s)),
        ]
        if used > self._limit:
            answered.append(("Retry-After", str(resets_s - now_ns // SECOND_NS)))
            return Reply(_TOO_MANY, answered, encode({"message": "too many requests."}, JSON))
        status, body = _OK, {}
        try:
            body = self._result(method, target, headers, now_ns)
        except _Refused as refusal:
            status, body = refusal.status, {"message": str(refusal)}
        return Reply(status, answered, encode(body, JSON))

    def _result(self, method: str, target: str, headers: Mapping[str, str], now_ns: int) -> dict[str, Any]:
        raw_path, query = path_and_query(target)
        path = unquote(raw_path)
        if method != "GET":
            raise _Refused("method not allowed", 405)
        prefix = next((p for p in _PREFIXES if path.startswith(p)), "")
        if not prefix:
            raise _Refused("endpoint not found.", _NOT_FOUND)
        kind = _PREFIXES[prefix]
        self._admit(headers, needed=kind != CRYPTO)
        request = _Request(dict(parse_qsl(query, keep_blank_values=True)), now_ns)
        match path.removeprefix(prefix).split("/"):
            case [""] if kind == NEWS:
                return self._news(request)
            case [what] if what in _WHAT:
                return self._history(kind, what, request)
            case [what, "latest"] if what in _WHAT and kind == STOCKS:
                return self._latest(kind, what, request)
            case ["latest", what] if kind == CRYPTO and (what in _WHAT or what == "orderbooks"):
                return self._latest(kind, what, request)
            case [symbol, what] if what in _WHAT and kind == STOCKS:
                found = self._history(kind, what, request.of(symbols=symbol))
                return found | {"symbol": symbol, what: found[what].get(symbol, [])}
        raise _Refused("endpoint not found.", _NOT_FOUND)

    def _admit(self, headers: Mapping[str, str], *, needed: bool) -> None:
        key, secret = headers.get(KEY_HEADER, ""), headers.get(SECRET_HEADER, "")
        if not (key or secret) and not needed:
            return
        if not (key and secret):
            raise _Refused("unauthorized.", _UNAUTHORISED)
        if not self._keys.knows(key, secret):
            raise _Refused("forbidden.", _FORBIDDEN)

    def _history(self, kind: str, what: str, request: _Request) -> dict[str, Any]:
        symbols = request.symbols(kind)
        start, end = request.between(self._start_of_day(kind, request.now_ns))
        limit = request.limit(_ITEMS, MOST_ITEMS)
        descending = request.descending(default=False)
        recent = request.now_ns - end < _RECENT_NS
        if kind == STOCKS and request.feed() == "sip" and self._keys.is_free and recent:
            raise _Refused("subscription does not permit querying recent SIP data", _FORBIDDEN)
        timeframe = request.timeframe() if what == "bars" else None
        resume, after = request.page(symbols)

        def items() -> Iterator[tuple[str, Key, dict[str, Any]]]:
            for symbol in symbols:
                if symbol >= resume and self._market.kind(symbol):
                    last = after if symbol == resume else None
                    span = _Span(start, end, last, descending, request.now_ns)
                    for key, item in self._items(symbol, timeframe, what, span):
                        yield symbol, key, item

        page = list(islice(items(), limit + 1))
        found: dict[str, list[dict[str, Any]]] = {}
        for symbol, _, item in page[:limit]:
            found.setdefault(symbol, []).append(item)
        more = len(page) > limit
        return {what: found, "next_page_token": _token(*page[limit - 1][:2]) if more else None}

    def _items(
        self, symbol: str, timeframe: Timeframe | None, what: str, span: _Span
    ) -> Iterator[tuple[Key, dict[str, Any]]]:
        start, end, after, descending, now_ns = span
        if timeframe is None:
            history = self._market.trades(symbol) if what == "trades" else self._market.quotes(symbol)
            yield from history.between(start, end, after, descending=descending)
            return
        bars = self._market.bars(symbol).bars(timeframe, start, end, now_ns)
        for bar in reversed(bars) if descending else bars:
            key = (bar.start_ns, 0)
            if after is None or (key < after if descending else key > after):
                yield key, bar.shown()

    def _latest(self, kind: str, what: str, request: _Request) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for symbol in request.symbols(kind):
            if not self._market.kind(symbol):
                continue
            if what == "orderbooks":
                found[symbol] = self._market.orderbook(symbol)
                continue
            if what == "bars":
                minutes = self._market.bars(symbol).bars(_MINUTE, 0, request.now_ns, request.now_ns)
                item = minutes[-1].shown() if minutes else None
            else:
                history = self._market.trades(symbol) if what == "trades" else self._market.quotes(symbol)
                item = history.last()
            if item is not None:
                found[symbol] = item
        return {what: found}

    def _news(self, request: _Request) -> dict[str, Any]:
        start, end = request.between(0)
        limit = request.limit(_NEWS_ITEMS, MOST_NEWS)
        descending = request.descending(default=True)
        _, after = request.page([""])
        found = self._market.desk.articles(request.news_symbols(), start, end)
        if descending:
            found.reverse()
        if after is not None:
            found = [item for item in found if (item[0] < after if descending else item[0] > after)]
        page = [article | {"images": []} for _, article in found[:limit]]
        if request.params.get("include_content", "false") != "true":
            page = [article | {"content": ""} for article in page]
        more = len(found) > limit
        return {"news": page, "next_page_token": _token("", found[limit - 1][0]) if more else None}

    def _start_of_day(self, kind: str, now_ns: int) -> int:
        symbols = self._market.symbols(kind)
        return self._market.bars(symbols[0]).start_of(now_ns, _DAY) if symbols else 0


class _Span(NamedTuple):
    """What is asked for of one symbol."""

    start: int
    end: int
    after: Key | None
    descending: bool
    now_ns: int


class _Request:
    """A request's parameters, read one by one."""

    def __init__(self, params: dict[str, str], now_ns: int) -> None:
        self.params = params
        self.now_ns = now_ns

    def of(self, **params: str) -> _Request:
        return _Request(self.params | params, self.now_ns)

    def symbols(self, kind: str) -> list[str]:
        names = sorted({name.strip() for name in self.params.get("symbols", "").split(",")} - {""})
        if not names:
            raise _Refused("symbols is required")
        for name in names:
            if not is_symbol(name) or (kind_of(name) == CRYPTO) != (kind == CRYPTO):
                raise _Refused(f"invalid symbol: {name}")
        return names

    def news_symbols(self) -> set[str]:
        return {name.strip() for name in self.params.get("symbols", "").split(",")} - {"", "*"}

    def between(self, default_start: int) -> tuple[int, int]:
        end = self._time("end", self.now_ns)
        start = self._time("start", min(default_start, end))
        if start > end:
            raise _Refused("end should not be before start")
        return start, min(end, self.now_ns)

    def limit(self, default: int, most: int) -> int:
        text = self.params.get("limit", "")
        if not text:
            return default
        if not (text.isascii() and text.isdecimal() and len(text) <= 9 and 1 <= int(text) <= most):
            raise _Refused(f"invalid limit: {text[:20]} (it is 1 to {most})")
        return int(text)

    def descending(self, *, default: bool) -> bool:
        text = self.params.get("sort", "") or ("desc" if default else "asc")
        if text not in {"asc", "desc"}:
            raise _Refused(f"invalid sort: {text[:20]}")
        return text == "desc"

    def timeframe(self) -> Timeframe:
        text = self.params.get("timeframe", "")
        if not text:
            raise _Refused("timeframe is required")
        timeframe = timeframe_of(text)
        if timeframe is None:
            raise _Refused(f"invalid timeframe: {text[:20]}")
        return timeframe

    def feed(self) -> str:
        feed = self.params.get("feed", "") or "iex"
        if feed not in _FEEDS:
            raise _Refused(f"invalid feed: {feed[:20]}")
        return feed

    def page(self, symbols: list[str]) -> tuple[str, Key | None]:
        """Where the page before ended: symbol and key."""
        token = self.params.get("page_token", "")
        if not token:
            return "", None
        try:
            symbol, at_ns, number = base64.urlsafe_b64decode(token.encode()).decode().split("|")
            key = (int(at_ns), int(number))
        except (ValueError, binascii.Error):
            raise _Refused("invalid page_token") from None
        if symbol not in symbols:
            raise _Refused("invalid page_token for the symbols requested")
        return symbol, key

    def _time(self, name: str, default: int) -> int:
        text = self.params.get(name, "")
        if not text:
            return default
        if _DATE.fullmatch(text):
            text += "T00:00:00Z"
        try:
            return parse_time(text)
        except DecimalError:
            raise _Refused(f"invalid {name}: {text[:40]}") from None


def _token(symbol: str, key: Key) -> str:
    return base64.urlsafe_b64encode(f"{symbol}|{key[0]}|{key[1]}".encode()).decode()
