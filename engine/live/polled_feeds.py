"""What can be polled, by name, and how a user writes it: `NAME:REST`, and options behind a `#`.

    news:https://host/all.json                       headlines as JSON               every 5 s
    rss:https://host/feed.xml#every=10m              RSS or Atom                     every 5 min
    coingecko:bitcoin,ethereum/usd#precision=12      prices                          every 60 s
    alpaca-news-rest:AAPL,MSFT    (or *)             Alpaca's news                   every 15 s

`every` is of all of them; `url` is another address for those that have one of their own, that of a local
server, say. A fragment is nothing that a server ever sees, so it is free for us.

Nothing is reached here; but credentials are looked for, and one that is needed and missing is a UsageError.
They travel in headers, encrypted or to this machine, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import msgspec

from engine.feed.alpaca_news import AlpacaNewsParser
from engine.feed.coingecko import CoinGeckoParser
from engine.feed.feed_xml import XmlFeedParser
from engine.live.address import Address
from engine.live.credentials import Secret, find, required
from engine.live.poller import EVERY_S, Format, PollConfig
from engine.model.errors import UsageError
from engine.model.units import MILLISECOND_NS, SECOND_NS

EVERY_MIN_S, EVERY_MAX_S = 0.1, 86_400.0
COINGECKO, COINGECKO_PRO = "https://api.coingecko.com", "https://pro-api.coingecko.com"
ALPACA = "https://data.alpaca.markets"
_COIN = re.compile(r"[a-z0-9._-]+")
_CURRENCY = re.compile(r"[a-z0-9]+")
_SYMBOL = re.compile(r"[A-Z0-9./]+")
_PRECISION = re.compile(r"full|1?[0-9]")

Options = Mapping[str, str]
Make = Callable[[str, Options], PollConfig]


class Polled(msgspec.Struct, frozen=True):
    """One name: how it is written, what it brings, which options it knows, and who makes it."""

    form: str
    brings: str
    options: tuple[str, ...]
    make: Make


def poll_config(name: str, rest: str, options: Options | None = None) -> PollConfig:
    """What a name of POLLED and its rest stand for; options as after the `#`, which count before these.

    Raises UsageError for what cannot be, and what credentials raise. No address is repeated in an error
    before it is known what of it may be shown.
    """
    polled = POLLED[name]
    rest, _, words = rest.partition("#")
    said = {**(options or {}), **_options(name, words)}
    for option in said:
        if option not in polled.options:
            raise UsageError(
                f'--feed {name}: there is no option "{option}"', hint=f"it knows {', '.join(polled.options)}"
            )
    if not rest.strip():
        raise UsageError(f"--feed {name}: from where?", hint=f"write {polled.form}")
    config = polled.make(rest.strip(), said)
    if "every" in said:
        config = msgspec.structs.replace(config, every_s=every_of(said["every"], f"--feed {name}: every"))
    return config


def every_of(text: str, option: str) -> float:
    """Seconds of "5s"; UsageError for what is no duration, or none that one can poll at."""
    from engine.config import parse_duration

    return check_every(parse_duration(text, option) // MILLISECOND_NS * MILLISECOND_NS / SECOND_NS, option)


def check_every(seconds: float, option: str) -> float:
    """The same seconds; UsageError where one cannot poll at that interval."""
    if not EVERY_MIN_S <= seconds <= EVERY_MAX_S:
        raise UsageError(f"{option} {seconds:g}s: 100ms to 24h", hint=f"{option} 5s")
    return seconds


def _options(name: str, words: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words.split(",") if words else ():
        option, equals, value = word.partition("=")
        if not equals or not value:
            raise UsageError(f"--feed {name}: #{option or '…'} is no option", hint="write #every=60s")
        if option in found:
            raise UsageError(f"--feed {name}: {option} stands there twice", hint="once is enough")
        found[option] = value
    return found


def _news(rest: str, _options: Options) -> PollConfig:
    return PollConfig(Address(rest, "--feed news"), name="news", every_s=EVERY_S)


_RSS = Format(
    XmlFeedParser,
    accept="application/atom+xml, application/rss+xml, application/xml;q=0.9, text/xml;q=0.8, */*;q=0.1",
    expected="RSS or Atom feed",
    hint="a page is none: look there for the address of its feed",
    slow=True,
)


def _rss(rest: str, _options: Options) -> PollConfig:
    return PollConfig(Address(rest, "--feed rss"), name="rss", every_s=300.0, silence_s=86_400.0, format=_RSS)


def _coingecko(rest: str, options: Options) -> PollConfig:
    coins_text, slash, currencies_text = rest.lower().partition("/")
    coins = _each(coins_text, _COIN, "coingecko", "id of a coin")
    currencies = _each(currencies_text if slash else "usd", _CURRENCY, "coingecko", "currency")
    precision = options.get("precision", "full")
    if not _PRECISION.fullmatch(precision) or (precision != "full" and int(precision) > 18):
        raise UsageError(f"--feed coingecko: precision {precision}", hint="full, or 0 to 18 decimals")
    pro, demo = find("COINGECKO_PRO_API_KEY"), find("COINGECKO_DEMO_API_KEY")
    headers = {"x-cg-pro-api-key": pro} if pro else {"x-cg-demo-api-key": demo} if demo else {}
    url = (
        f"{_base(options, COINGECKO_PRO if pro else COINGECKO, 'coingecko')}/api/v3/simple/price"
        f"?ids={','.join(coins)}&vs_currencies={','.join(currencies)}&include_last_updated_at=true"
        f"&include_24hr_vol=true&include_24hr_change=true&include_market_cap=true&precision={precision}"
    )
    return PollConfig(
        _private(url, "coingecko", headers),
        name="coingecko",
        every_s=60.0,
        format=Format(
            lambda: CoinGeckoParser(coins, currencies),
            channel="mark",
            endpoint="simple/price",
            venue="coingecko",
            expected="list of prices",
            hint="the address is not CoinGecko's, or a price has more decimals than a row: #precision=12",
        ),
        headers=headers,
    )


def _alpaca_news(rest: str, options: Options) -> PollConfig:
    symbols = () if rest == "*" else _each(rest.upper(), _SYMBOL, "alpaca-news-rest", "symbol")
    headers = {
        "APCA-API-KEY-ID": required("APCA_API_KEY_ID", "Alpaca"),
        "APCA-API-SECRET-KEY": required("APCA_API_SECRET_KEY", "Alpaca"),
    }
    names = f"symbols={','.join(symbols).replace('/', '%2F')}&" if symbols else ""
    base = _base(options, ALPACA, "alpaca-news-rest")
    return PollConfig(
        _private(f"{base}/v1beta1/news?{names}include_content=true", "alpaca-news-rest", headers),
        name="alpaca-news-rest",
        every_s=15.0,
        format=Format(
            AlpacaNewsParser,
            endpoint="v1beta1/news",
            expected="page of news",
            hint="the address is not Alpaca's",
        ),
        headers=headers,
    )


def _each(text: str, form: re.Pattern[str], feed: str, what: str) -> tuple[str, ...]:
    """What stands between commas, each once. Raises UsageError for what cannot be such a thing."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for each in found:
        if not form.fullmatch(each):
            raise UsageError(f'--feed {feed}: "{each}" is no {what}', hint=f"write {POLLED[feed].form}")
    return found


def _base(options: Options, own: str, feed: str) -> str:
    """The address without a path, that of `url=` if there is one."""
    if "url" not in options:
        return own
    address = Address(options["url"], f"--feed {feed}: url")
    if "?" in address.url:
        raise UsageError(f"--feed {feed}: url {address.shown} has a query", hint="leave it out")
    return address.url.rstrip("/")


def _private(url: str, feed: str, headers: Mapping[str, Secret]) -> Address:
    """An address that credentials may be sent to."""
    address = Address(url, f"--feed {feed}")
    if headers and address.scheme != "https" and not address.loopback:
        raise UsageError(
            f"--feed {feed}: a key must not travel to {address.host} without encryption",
            hint="write #url=https://…",
        )
    return address


POLLED: dict[str, Polled] = {
    "news": Polled("news:URL", "headlines as JSON", ("every",), _news),
    "rss": Polled("rss:URL", "headlines of an RSS or Atom feed", ("every",), _rss),
    "coingecko": Polled(
        "coingecko:bitcoin,ethereum/usd", "CoinGecko's prices", ("every", "url", "precision"), _coingecko
    ),
    "alpaca-news-rest": Polled(
        "alpaca-news-rest:AAPL,MSFT or alpaca-news-rest:*",
        "Alpaca's news, over REST",
        ("every", "url"),
        _alpaca_news,
    ),
}
