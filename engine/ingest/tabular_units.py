"""In what units an imported instrument is counted: its increments, and where they were found.

In order: what the user says, the venue's exchangeInfo, the definitions in `data/instruments`, and last the
widest decimals that the files hold, with a warning, because a file whose prices all happen to end in .0
says little. A definition's decimals are those of its increments, or more where its limits need them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.ingest.instruments import known_instruments, read_exchange_info
from engine.model.errors import DecimalError, UsageError
from engine.model.kinds import InstrumentData
from engine.model.units import MAX_DECIMALS, decimals_of, parse_decimal, trim_decimal

GUESSED = "widest decimals seen"


@dataclass(frozen=True)
class Definition:
    """An instrument's definition, and where its increments are from."""

    data: InstrumentData
    origin: str


@dataclass(frozen=True)
class UnitsWanted:
    """What the user says about units; empty texts and None where nothing."""

    price_increment: str = ""
    size_increment: str = ""
    exchange_info: Path | None = None
    instruments: Path | None = None  # a folder like data/instruments; None: that one


class UnitsBook:
    """Definitions that can be looked up before any file is read."""

    def __init__(self, wanted: UnitsWanted, venue: str) -> None:
        """Reads exchangeInfo and the folder of definitions; InputError when they are none."""
        self._venue = venue
        self._wanted = wanted
        _check_increment("--price-increment", wanted.price_increment)
        _check_increment("--size-increment", wanted.size_increment)
        known = known_instruments(venue, wanted.instruments)
        self._known = {symbol: Definition(data, "data/instruments") for symbol, data in known.items()}
        if wanted.exchange_info is not None:
            for symbol, data in read_exchange_info(wanted.exchange_info, known=known).items():
                ours = msgspec.structs.replace(data, key=f"{symbol}.{venue}", venue=venue)
                self._known[symbol] = Definition(ours, "exchangeInfo")

    def find(self, symbol: str) -> Definition | None:
        """The definition, if options and files suffice for one; None when the data have to be asked."""
        known = self._known.get(symbol)
        price, size = self._wanted.price_increment, self._wanted.size_increment
        if not (price or size):
            return known
        if known is None:
            return self.define(symbol, 0, 0) if price and size else None
        return Definition(_with_increments(known.data, price, size), "options")

    def define(self, symbol: str, price_decimals: int, size_decimals: int) -> Definition:
        """A definition of an instrument that only the data tell of, by the widest decimals in them."""
        blank = InstrumentData(
            key=f"{symbol}.{self._venue}",
            symbol=symbol,
            venue=self._venue,
            price_decimals=price_decimals,
            size_decimals=size_decimals,
            price_increment=trim_decimal(1, price_decimals),
            size_increment=trim_decimal(1, size_decimals),
        )
        price, size = self._wanted.price_increment, self._wanted.size_increment
        return Definition(_with_increments(blank, price, size), "options" if price and size else GUESSED)


def _with_increments(data: InstrumentData, price: str, size: str) -> InstrumentData:
    """The definition with these increments in place of its own, where they are given."""
    price_decimals, size_decimals = data.price_decimals, data.size_decimals
    if price:
        price_decimals = decimals_of(price)
    if size:
        size_decimals = max(decimals_of(size), decimals_of(data.min_size), decimals_of(data.max_size))
    return msgspec.structs.replace(
        data,
        price_increment=price or data.price_increment,
        size_increment=size or data.size_increment,
        price_decimals=price_decimals,
        size_decimals=size_decimals,
    )


def _check_increment(option: str, text: str) -> None:
    if not text:
        return
    try:
        mantissa = parse_decimal(text, MAX_DECIMALS)
    except DecimalError as error:
        raise UsageError(f"{option} {text}: {error.message}", hint="write it like 0.01") from None
    if mantissa <= 0:
        raise UsageError(f"{option} {text}: an increment is positive", hint="write it like 0.01")
