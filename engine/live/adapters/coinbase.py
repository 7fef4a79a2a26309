"""Coinbase Advanced Trade: public market data over its WebSocket, definitions from its public REST list.

Symbols are its product ids, BTC-USD. Products quoted in USDC are, but for two pairs of stable coins, those
quoted in USD under another name: public channels answer a subscription to BTC-USDC with BTC-USD. They are
refused here, so that a recording says what it holds.

A connection takes up to twenty products: one message that is missed costs all its books, and each snapshot
is several megabytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from engine.feed import coinbase_reference
from engine.feed.coinbase import CoinbaseParser, TradeSide
from engine.feed.coinbase_dialogue import CoinbaseDialogue
from engine.feed.coinbase_messages import VENUE_CHANNEL
from engine.feed.parser import Malformed
from engine.live.adapter import Definitions, Get, Instruments, Line, at
from engine.model.errors import UsageError, VenueError
from engine.model.kinds import CHANNELS, InstrumentData, SourceData

STREAM = "wss://advanced-trade-ws.coinbase.com"
REST = "https://api.coinbase.com"
SYMBOLS_PER_LINE = 20
SYMBOLS_PER_REQUEST = 100
_SYMBOL = re.compile(r"[^-/\s]+-[^/\s]+")
_REALLY_USDC = ("USDT-USDC", "EURC-USDC")


class CoinbaseAdapter:
    """Coinbase at its own address, or at `url`."""

    name = coinbase_reference.VENUE
    channels: tuple[str, ...] = tuple(VENUE_CHANNEL)
    usual_channels: tuple[str, ...] = ("trade", "book")
    overlapping = False  # numbers count messages of one connection only
    address_gap_s = 0.15  # it takes eight of each in a second
    life_s = 0.0

    def __init__(self, url: str = "", *, trade_side: TradeSide = "taker") -> None:
        """`trade_side`: whose side a trade's is (see engine.feed.coinbase). UsageError for a bad address."""
        self._stream, self.rest_base = at(url, STREAM, REST)
        self._trade_side: TradeSide = trade_side

    def checked_symbols(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """BTC-USD, each once; UsageError with the right spelling for what is another one."""
        wanted = tuple(dict.fromkeys(symbol.strip().upper() for symbol in symbols if symbol.strip()))
        if not wanted:
            raise UsageError("no symbol given", hint="coinbase's symbols are written BTC-USD")
        for symbol in wanted:
            if _SYMBOL.fullmatch(symbol) is None:
                example = symbol.replace("/", "-") if symbol.count("/") == 1 else "BTC-USD"
                raise UsageError(
                    f'"{symbol}" is no symbol of coinbase',
                    hint=f"it writes base and quote with a hyphen between them: {example}",
                )
            if symbol.endswith("-USDC") and symbol not in _REALLY_USDC:
                raise UsageError(
                    f'coinbase sends no market data of "{symbol}": its book is that of the pair in USD',
                    hint=f"write {symbol.removesuffix('C')}",
                )
        return wanted

    def lines(self, symbols: Sequence[str], channels: Sequence[str]) -> tuple[Line, ...]:
        """A connection for every twenty products."""
        lines = []
        for start in range(0, len(symbols), SYMBOLS_PER_LINE):
            of_line = tuple(symbols[start : start + SYMBOLS_PER_LINE])
            streams = ["heartbeats"]
            streams += [f"{VENUE_CHANNEL[channel]} {symbol}" for channel in channels for symbol in of_line]
            lines.append(Line(self._stream, of_line, tuple(channels), tuple(streams)))
        return tuple(lines)

    async def definitions(self, get: Get, symbols: Sequence[str], channels: Sequence[str]) -> Definitions:
        """Definitions from the list of products, a hundred a request."""
        source = SourceData(
            name=f"{self.name}-rest",
            venue=self.name,
            url=self.rest_base,
            endpoint=coinbase_reference.PRODUCTS,
        )
        found: dict[str, InstrumentData] = {}
        answers = []
        for start in range(0, len(symbols), SYMBOLS_PER_REQUEST):
            path = coinbase_reference.products_path(symbols[start : start + SYMBOLS_PER_REQUEST])
            body = await get(path)
            try:
                found |= coinbase_reference.definitions(body, symbols)
            except Malformed as problem:
                raise VenueError(
                    f"{self.rest_base}{path} answered what is no list of products: {problem} "
                    f"{problem.data.field}".rstrip(),
                    hint="the address is not that of this venue's REST interface",
                ) from None
            answers.append((source, body))
        for symbol in symbols:
            if symbol not in found:
                raise UsageError(
                    f'coinbase has no symbol "{symbol}"', hint="it writes BTC-USD, ETH-EUR, BTC-USDT"
                )
        carried = tuple(channel for channel in channels if channel in CHANNELS)
        return Definitions(
            {symbol: msgspec.structs.replace(found[symbol], channels=carried) for symbol in symbols},
            tuple(answers),
        )

    def parser(self, instruments: Instruments, source: int, channels: Sequence[str]) -> CoinbaseParser:
        """A parser for one line."""
        return CoinbaseParser(instruments, source, channels, trade_side=self._trade_side)

    def dialogue(self, line: Line) -> CoinbaseDialogue:
        """Our side of a new life of a line."""
        return CoinbaseDialogue(line.symbols, line.channels)
