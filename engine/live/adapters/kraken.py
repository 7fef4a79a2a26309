"""Kraken: WebSocket v2 for market data, the public REST list of pairs for definitions.

Symbols are those of v2, BTC/USD. The list of all pairs is asked for, a megabyte or so: then an unknown symbol
can be answered with the ones that there are, and the venue's older names need no translation in the request.

A connection takes up to a hundred symbols: a lost one takes as many books with it, and the venue limits how
often one may connect rather than how much one connection carries.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

import msgspec

from engine.feed import kraken_reference
from engine.feed.kraken import KrakenParser
from engine.feed.kraken_book import DEPTHS
from engine.feed.kraken_dialogue import KrakenDialogue
from engine.feed.kraken_messages import VENUE_CHANNEL
from engine.feed.parser import Malformed
from engine.live.adapter import Definitions, Get, Instruments, Line, at
from engine.model.errors import UsageError, VenueError
from engine.model.kinds import CHANNELS, SourceData

STREAM = "wss://ws.kraken.com"
REST = "https://api.kraken.com"
PATH = "/v2"
SYMBOLS_PER_LINE = 100
USUAL_DEPTH = 100
_SYMBOL = re.compile(r"[^/\s]+/[^/\s]+")


class KrakenAdapter:
    """Kraken at its own address, or at `url`."""

    name = kraken_reference.VENUE
    channels: tuple[str, ...] = tuple(VENUE_CHANNEL)
    usual_channels: tuple[str, ...] = ("trade", "book")
    overlapping = False  # a book message names no place in a sequence
    address_gap_s = 0.0
    life_s = 0.0

    def __init__(self, url: str = "", *, depth: int = USUAL_DEPTH) -> None:
        """Raises UsageError for an address that is none, or a depth that the venue does not have."""
        if depth not in DEPTHS:
            raise UsageError(
                f"kraken has no books of {depth} levels",
                hint=f"it has {', '.join(str(known) for known in DEPTHS)}",
            )
        self._stream, self.rest_base = at(url, STREAM, REST)
        self._depth = depth

    def checked_symbols(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """BTC/USD, each once; UsageError with the right spelling for what is another one.

        What is written in small letters throughout is taken in capitals; a few names have both (AAPLx/USD).
        """
        given = [symbol.strip() for symbol in symbols if symbol.strip()]
        wanted = tuple(dict.fromkeys(s.upper() if s == s.lower() else s for s in given))
        if not wanted:
            raise UsageError("no symbol given", hint="kraken's symbols are written BTC/USD")
        for symbol in wanted:
            if _SYMBOL.fullmatch(symbol) is None:
                raise UsageError(
                    f'"{symbol}" is no symbol of kraken',
                    hint="it writes base and quote with a slash between them: BTC/USD",
                )
            today = kraken_reference.symbol_of(symbol)
            if today != symbol:
                raise UsageError(f'kraken writes "{symbol}" otherwise today', hint=f"write {today}")
        return wanted

    def lines(self, symbols: Sequence[str], channels: Sequence[str]) -> tuple[Line, ...]:
        """A connection for every hundred symbols; each hears of reference data, for its own symbols."""
        lines = []
        for start in range(0, len(symbols), SYMBOLS_PER_LINE):
            of_line = tuple(symbols[start : start + SYMBOLS_PER_LINE])
            streams = []
            for channel in channels:
                named = [""] if channel == "instrument" else [f" {symbol}" for symbol in of_line]
                depth = f" {self._depth}" if channel == "book" else ""
                streams += [f"{VENUE_CHANNEL[channel]}{depth}{symbol}" for symbol in named]
            lines.append(Line(f"{self._stream}{PATH}", of_line, tuple(channels), tuple(streams)))
        return tuple(lines)

    async def definitions(self, get: Get, symbols: Sequence[str], channels: Sequence[str]) -> Definitions:
        """Definitions from the list of all pairs."""
        path = kraken_reference.ASSET_PAIRS_PATH
        body = await get(path)
        try:
            found = kraken_reference.definitions(body, symbols)
        except Malformed as problem:
            words = " ".join(part for part in (str(problem), problem.data.field, problem.data.value) if part)
            raise VenueError(
                f"{self.rest_base}{path} answered what is no list of pairs: {words}",
                hint="the address is not that of this venue's REST interface, or the venue is not available",
            ) from None
        for symbol in symbols:
            if symbol not in found:
                raise _unknown(symbol, kraken_reference.symbols_of(body))
        carried = tuple(channel for channel in channels if channel in CHANNELS)
        source = SourceData(
            name=f"{self.name}-rest",
            venue=self.name,
            url=self.rest_base,
            endpoint=kraken_reference.ASSET_PAIRS,
        )
        return Definitions(
            {symbol: msgspec.structs.replace(found[symbol], channels=carried) for symbol in symbols},
            ((source, body),),
        )

    def parser(self, instruments: Instruments, source: int, channels: Sequence[str]) -> KrakenParser:
        """A parser for one line."""
        return KrakenParser(instruments, source, channels)

    def dialogue(self, line: Line) -> KrakenDialogue:
        """Our side of a new life of a line."""
        return KrakenDialogue(line.symbols, line.channels, self._depth)


def _unknown(symbol: str, known: Sequence[str]) -> UsageError:
    """An error with what may have been meant."""
    near = [each for each in known if each.upper() == symbol.upper()]
    near = near or difflib.get_close_matches(symbol, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "it writes BTC/USD, ETH/EUR"
    return UsageError(f'kraken has no symbol "{symbol}"', hint=hint)
