"""Which venues there are, and what a user may ask of them. Text only: nothing is opened here."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from engine.live.adapter import Adapter
from engine.model.errors import UsageError

# name: module under engine.live.adapters, and the function there that makes it of a --url ("" for its own).
_MAKERS = {
    "binance": ("binance", "binance"),
    "binanceus": ("binance", "binanceus"),
    "kraken": ("kraken", "KrakenAdapter"),
    "coinbase": ("coinbase", "CoinbaseAdapter"),
    "alpaca": ("alpaca", "alpaca"),
    "alpaca-sip": ("alpaca", "alpaca_sip"),
    "alpaca-crypto": ("alpaca", "alpaca_crypto"),
    "alpaca-news": ("alpaca", "alpaca_news"),
    "alpaca-test": ("alpaca", "alpaca_test"),
}
VENUES = tuple(_MAKERS)


def is_venue(name: str) -> bool:
    """Whether a name is a venue's; of those that come by ccxt nobody knows before it is asked."""
    return name in _MAKERS or name.startswith("ccxt:")


def adapter_of(name: str, url: str = "") -> Adapter:
    """A venue by name, at another address if `url` is given; UsageError for what is neither."""
    maker = _MAKERS.get(name)
    if maker is None:
        raise UsageError(f'unknown venue "{name}"', hint=f"known are {', '.join(VENUES)}")
    module, function = maker
    adapter: Adapter = getattr(import_module(f"engine.live.adapters.{module}"), function)(url)
    return adapter


def checked_symbols(adapter: Adapter, symbols: Sequence[str]) -> tuple[str, ...]:
    """Symbols as the venue spells them, each once; UsageError when there is none, or one is no text."""
    for symbol in symbols:
        if not symbol.isprintable():  # bytes of a command line that are no UTF-8 are not, either
            raise UsageError(
                f"{adapter.name}: {symbol!a} is no symbol", hint="it has signs that no symbol has"
            )
    wanted = adapter.checked_symbols(symbols)
    if not wanted:
        raise UsageError("no symbol given", hint="--symbols BTCUSDT,ETHUSDT")
    return wanted


def checked_channels(adapter: Adapter, channels: Sequence[str] | None) -> tuple[str, ...]:
    """Channels, each once, or the usual ones for None; UsageError for one that the venue does not have."""
    if channels is None:
        return adapter.usual_channels
    wanted = tuple(dict.fromkeys(channel.strip().lower() for channel in channels if channel.strip()))
    if not wanted:
        raise UsageError("no channel given", hint=f"--channels {','.join(adapter.usual_channels)}")
    for channel in wanted:
        if channel not in adapter.channels:
            raise UsageError(
                f'{adapter.name} has no channel "{channel}"', hint=f"it has {', '.join(adapter.channels)}"
            )
    return wanted
