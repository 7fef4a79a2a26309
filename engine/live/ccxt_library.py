"""The library ccxt, an extra: one venue of it made ready, and what its errors mean to a user.

It is imported here alone, late and beside the event loop: that takes most of a second. Numbers are taken as
the venue's own texts where the library lets them be (`number = str`), and never as floats of ours.

`url` puts one host in the place of all of a venue's addresses and leaves their paths alone, so that a local
server stands in for the venue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from engine.feed.plain import plain
from engine.live.redact import KNOWN
from engine.live.refusal import REACH_HINT
from engine.live.rest import Refused
from engine.model.errors import DecimalError, EngineError, UsageError, VenueError
from engine.model.kinds import InstrumentData
from engine.model.units import MAX_DECIMALS, decimals_of

PREFIX = "ccxt:"  # of venues' names
METHODS = {"trade": "watchTrades", "book": "watchOrderBook", "quote": "watchTicker"}
BEST = "watchBidsAsks"  # better than a ticker, where a venue has it
_DECIMALS = 8  # where a venue does not say: the first finer number widens them
_TICK_SIZE, _DECIMAL_PLACES = 4, 2  # the library's ways to say how fine a price is
_SHOWN = 300  # characters of its words that a row repeats
_SCHEMES = {"ws": "http", "http": "http", "wss": "https", "https": "https"}


async def exchange_of(venue: str, url: str = "") -> Any:
    """An exchange of `ccxt.pro` by its name there. UsageError without the package or such a venue."""
    if find_spec("ccxt") is None:
        raise UsageError(
            f"venue {PREFIX}{venue} needs the package ccxt, which is not installed",
            hint='pip install "engine[ccxt]"',
        )
    pro = await asyncio.to_thread(_library)
    if venue not in pro.exchanges:
        near = get_close_matches(venue, pro.exchanges, 3)
        raise UsageError(
            f'ccxt has no streams of a venue "{venue}"',
            hint=f"did you mean {' or '.join(near)}?" if near else "ccxt.pro.exchanges lists those it has",
        )
    exchange = getattr(pro, venue)({"enableRateLimit": True})
    exchange.number = str
    exchange.newUpdates = True  # trades that were not handed over before, instead of the latest thousand
    exchange.has["fetchCurrencies"] = False  # of accounts: nothing for market data
    if url:
        _move(exchange, url)
    return exchange


def _library() -> Any:
    import ccxt.pro

    return ccxt.pro


def _move(exchange: Any, url: str) -> None:
    """All of a venue's addresses to one host."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.netloc:
        raise UsageError(f'--url "{url}" is not an address', hint="write ws://127.0.0.1:8080 or wss://host")
    http = _SCHEMES[parts.scheme]
    tail = f"{parts.netloc}{parts.path}".rstrip("/")

    def moved(address: Any) -> Any:
        if isinstance(address, dict):
            return {name: moved(each) for name, each in address.items()}
        if not isinstance(address, str) or "://" not in address:
            return address
        scheme, _, rest = address.partition("://")
        path = rest.partition("/")[2]
        kind = http.replace("http", "ws") if scheme in {"ws", "wss"} else http
        return f"{kind}://{tail}/{path}".rstrip("/")

    exchange.urls["api"] = moved(exchange.urls["api"])
    if (
        "fetchMarkets" in exchange.options
    ):  # of Binance: its other markets are other hosts, which are not here
        exchange.options["fetchMarkets"] = {"types": ["spot"]}


def method_of(exchange: Any, channel: str) -> str:
    """What brings a channel; UsageError where nothing does."""
    method = BEST if channel == "quote" and exchange.has.get(BEST) else METHODS.get(channel, "")
    if not method or not exchange.has.get(method):
        has = [name for name, one in METHODS.items() if exchange.has.get(one)]
        raise UsageError(
            f'{PREFIX}{exchange.id} has no channel "{channel}"', hint=f"it has {', '.join(has) or 'none'}"
        )
    return method


def definition_of(exchange: Any, symbol: str, channels: Sequence[str]) -> InstrumentData:
    """What the library says of a symbol; UsageError where it knows none."""
    market = (exchange.markets or {}).get(symbol)
    if market is None:
        near = get_close_matches(symbol, exchange.markets or {}, 3, 0.5)
        raise UsageError(
            f'{PREFIX}{exchange.id} has no symbol "{symbol}"',
            hint=f"did you mean {' or '.join(near)}?" if near else "ccxt writes symbols as BTC/USDT",
        )
    precision, limits = market.get("precision") or {}, market.get("limits") or {}
    price = _increment(precision.get("price"), exchange.precisionMode)
    size = _increment(precision.get("amount"), exchange.precisionMode)
    amounts, costs = limits.get("amount") or {}, limits.get("cost") or {}
    venue = f"{PREFIX}{exchange.id}"
    return InstrumentData(
        key=f"{symbol}.{venue}",
        symbol=symbol,
        venue=venue,
        price_decimals=decimals_of(price),
        size_decimals=decimals_of(size),
        price_increment=price,
        size_increment=size,
        base=str(market.get("base") or ""),
        quote=str(market.get("quote") or ""),
        min_size=_decimal(amounts.get("min")) or "0",
        max_size=_decimal(amounts.get("max")) or "0",
        min_notional=_decimal(costs.get("min")) or "0",
        channels=tuple(channels),
        status="BREAK" if market.get("active") is False else "TRADING",
    )


def words_of(error: BaseException) -> str:
    """What an error of the library says, without secrets, in one line."""
    text = " ".join(KNOWN.text(str(error)).split())
    return f"{type(error).__name__}: {text}"[:_SHOWN].rstrip(": ")


def refusal_of(error: BaseException, venue: str) -> EngineError:
    """What an error of a first contact means, and what to do."""
    import ccxt

    said = f"{PREFIX}{venue}: {words_of(error)}"
    if isinstance(error, (ccxt.BadSymbol, ccxt.NotSupported, ccxt.ArgumentsRequired)):
        return UsageError(said, hint="symbols and channels are named as ccxt names them: docs/feeds.md")
    if isinstance(error, ccxt.AuthenticationError):
        return VenueError(said, hint="the venue wants an account for this; name other channels")
    if isinstance(error, (ccxt.RateLimitExceeded, ccxt.DDoSProtection)):
        return Refused(
            said, hint="the venue limits how often one may ask: wait, and ask for less", status=429
        )
    if isinstance(error, ccxt.OnMaintenance):
        return Refused(said, hint="the venue is in trouble: try again later", status=503)
    if isinstance(error, ccxt.OperationFailed):
        return Refused(said, hint=REACH_HINT)
    return VenueError(said, hint="these are the library's words; another version of ccxt may know better")


def _increment(said: Any, mode: int) -> str:
    """The smallest step of a number as a decimal text."""
    text = _decimal(said)
    if mode == _TICK_SIZE and text and text.strip("0."):
        return _trimmed(text)
    decimals = int(text) if mode == _DECIMAL_PLACES and text.isdigit() else _DECIMALS
    decimals = min(decimals, MAX_DECIMALS)
    return f"0.{'1'.rjust(decimals, '0')}" if decimals else "1"


def _decimal(said: Any) -> str:
    """A number of the library's as a plain decimal; "" for none."""
    try:
        return "" if said is None else _trimmed(plain(str(said)))
    except DecimalError:
        return ""


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
