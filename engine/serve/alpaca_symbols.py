"""What Alpaca's local venue trades: invented shares and coins under well-known names.

A stock has no slash in its name and trades whole shares in cents; a coin is BASE/QUOTE and trades fractions;
FAKEPACA is the one symbol of the test stream. Names of recorded symbols are put into this form: what was
BTCUSDT elsewhere is BTC/USDT here.

Prices begin near round figures that have nothing to do with any company.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, NamedTuple

from engine.model.errors import UsageError
from engine.serve.synthetic import SymbolModel

if TYPE_CHECKING:
    from engine.model.kinds import InstrumentData

STOCKS, CRYPTO, TEST, NEWS = "stocks", "crypto", "test", "news"
FAKE = "FAKEPACA"
DEFAULT_ALPACA_SYMBOLS = ("AAPL", "MSFT", "SPY", "BTC/USD", "ETH/USD")
_STOCK = re.compile(r"[A-Z]{1,8}(\.[A-Z]{1,2})?")
_PAIR = re.compile(r"[A-Z0-9]{2,8}/[A-Z]{2,5}")
_QUOTES = ("USD", "USDT", "USDC", "BTC")
_KNOWN = {
    "AAPL": (18_000, 2),
    "MSFT": (41_000, 3),
    "SPY": (52_500, 1),
    FAKE: (13_400, 4),
    "BTC/USD": (6_750_000, 60),
    "ETH/USD": (378_000, 4),
}
_TAPES = "ABC"
_EXCHANGES = "KPQVZD"  # letters that the documentation's examples use
IEX = "V"


class Listing(NamedTuple):
    """A symbol as Alpaca shows it."""

    symbol: str
    kind: str
    tape: str = ""


def kind_of(symbol: str) -> str:
    """Which of the feeds a symbol belongs to."""
    if symbol == FAKE:
        return TEST
    return CRYPTO if "/" in symbol else STOCKS


def is_symbol(text: str, kind: str = NEWS) -> bool:
    """Whether a client may ask a feed for it, whether or not there is such a symbol; headlines have all."""
    stock, pair = _STOCK.fullmatch(text) is not None, _PAIR.fullmatch(text) is not None
    return pair if kind == CRYPTO else stock or (pair and kind == NEWS)


def alpaca_model(symbol: str) -> SymbolModel:
    """The model behind a symbol; an unknown one gets figures that depend on its name alone.

    Raises UsageError for what is neither a stock's nor a pair's name.
    """
    pair = _PAIR.fullmatch(symbol) is not None and symbol.partition("/")[2] in _QUOTES
    if not pair and _STOCK.fullmatch(symbol) is None:
        raise UsageError(
            f'"{symbol}" is no symbol of the local Alpaca',
            hint=f"write a stock as AAPL, a coin as BTC/USD with one of {', '.join(_QUOTES)}",
        )
    invented = 2_000 + zlib.crc32(symbol.encode()) % 48_000  # 20.00 to 500.00
    price, spacing = _KNOWN.get(symbol, (invented, 1 + invented // 20_000))
    if pair:
        base, _, quote = symbol.partition("/")
        decimals, size = (5, 180) if price > 1_000_000 else (4, 320)
        return SymbolModel(symbol, base, quote, price, decimals, spacing, size, venue="alpaca")
    return SymbolModel(symbol, symbol, "USD", price, 0, spacing, 40, venue="alpaca")


def listing_of(data: InstrumentData) -> Listing:
    """A source's instrument as Alpaca lists it."""
    symbol = data.symbol
    if "/" not in symbol and data.base and data.quote and symbol == data.base + data.quote:
        symbol = f"{data.base}/{data.quote}"
    kind = kind_of(symbol)
    return Listing(symbol, kind, "" if kind == CRYPTO else _TAPES[zlib.crc32(symbol.encode()) % 3])


def exchange_of(number: int) -> str:
    """The exchange of a trade or quote, drawn by its number."""
    return _EXCHANGES[number % 7 % len(_EXCHANGES)]
