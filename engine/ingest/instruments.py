"""Definitions of instruments for data that does not carry them.

In order of authority: the venue's own answer (an exchangeInfo file), then `data/instruments`, then the
widest decimals seen in the data itself, which is a guess that the caller must say aloud. A guess takes one
unit of the last decimal for the increment: too fine a step refuses no order that the venue would take, but
lets some pass that it would not.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

import engine
from engine.feed.binance_messages import Message, decimal_texts
from engine.feed.binance_reference import definitions
from engine.feed.parser import Malformed
from engine.model.errors import DecimalError, InputError
from engine.model.instruments import from_data
from engine.model.kinds import InstrumentData
from engine.model.units import decimals_of, trim_decimal

_list = msgspec.json.Decoder(list[InstrumentData])
_GZIP = b"\x1f\x8b"


def instruments_folder() -> Path | None:
    """Where the shipped definitions stand: inside an installed wheel, or at the top of a checkout."""
    package = Path(engine.__file__).parent
    for data in (package / "shipped" / "data", package.parent / "data"):
        if (data / "instruments").is_dir():
            return data / "instruments"
    return None


def known_instruments(venue: str, folder: Path | None = None) -> dict[str, InstrumentData]:
    """Definitions of `<folder>/<venue>.json` by symbol; none when there is no such file.

    Raises InputError, naming the file and the entry, when it is not what README.md there says.
    """
    where = folder or instruments_folder()
    path = where / f"{venue}.json" if where else None
    if path is None or not path.is_file():
        return {}
    try:
        entries = _list.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}", hint="its form is described in README.md beside it") from None
    for entry in entries:
        try:
            from_data(entry, 0)
        except InputError as error:
            raise InputError(f"{path}: {error.message}", hint=error.hint) from None
        if entry.venue != venue or entry.key != f"{entry.symbol}.{venue}":
            raise InputError(
                f'{path}: key "{entry.key}" and venue "{entry.venue}" do not belong to symbol {entry.symbol}',
                hint=f"write {entry.symbol}.{venue} and {venue}",
            )
    return {entry.symbol: entry for entry in entries}


def read_exchange_info(
    path: Path, symbols: Iterable[str] | None = None, known: Mapping[str, InstrumentData] | None = None
) -> dict[str, InstrumentData]:
    """Definitions from a saved answer of GET /api/v3/exchangeInfo, plain or gzip.

    The answer may stand on a line of its own behind `<url> -> <time>: `, as capture tools write it.
    Raises InputError.
    """
    try:
        content = path.read_bytes()
        if content[:2] == _GZIP:
            content = gzip.decompress(content)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    body = content[max(content.find(b"{"), 0) :]
    first, _, _ = body.partition(b"\n")
    try:
        return definitions(first if first.rstrip().endswith(b"}") else body, symbols, known)
    except Malformed as problem:
        where = f", {problem.data.field}" if problem.data.field else ""
        raise InputError(
            f"{path}: not an exchangeInfo answer: {problem}{where}",
            hint="save it with: curl https://api.binance.com/api/v3/exchangeInfo > exchangeInfo.json",
        ) from None


class Widest:
    """The most decimals seen in one instrument's prices and sizes."""

    __slots__ = ("price_decimals", "size_decimals")

    def __init__(self) -> None:
        self.price_decimals = 0
        self.size_decimals = 0

    def see_all(self, message: Message) -> None:
        """Take every decimal of a message; a text that is none says nothing."""
        for _, is_price, text in decimal_texts(message):
            try:
                decimals = decimals_of(text)
            except DecimalError:
                continue
            if is_price:
                self.price_decimals = max(self.price_decimals, decimals)
            else:
                self.size_decimals = max(self.size_decimals, decimals)

    def join(self, other: Widest) -> None:
        """Take what the other has seen."""
        self.price_decimals = max(self.price_decimals, other.price_decimals)
        self.size_decimals = max(self.size_decimals, other.size_decimals)

    def guess(self, symbol: str, venue: str) -> InstrumentData:
        """A definition whose increments are one unit of the last decimal seen."""
        return InstrumentData(
            key=f"{symbol}.{venue}",
            symbol=symbol,
            venue=venue,
            price_decimals=self.price_decimals,
            size_decimals=self.size_decimals,
            price_increment=trim_decimal(1, self.price_decimals),
            size_increment=trim_decimal(1, self.size_decimals),
        )
