"""Instruments: who they are (a key), and in what units their prices and sizes are counted.

Numbers in the `instrument` column are local to a file; the key is the identity. `Instrument` is what a
strategy holds; `Registry` gives run-wide indexes to keys and says what changed when a key is defined
again.
"""

from __future__ import annotations

import msgspec

from engine.model.errors import DecimalError, InputError, UsageError
from engine.model.kinds import InstrumentData
from engine.model.units import MAX_DECIMALS, POWERS_OF_TEN, parse_decimal


class Instrument(msgspec.Struct, frozen=True, gc=False, eq=False):
    """One instrument as the engine and strategies see it. Increments and limits are mantissas."""

    index: int  # run-wide, by first definition; the loop's arrays are addressed by it
    key: str
    symbol: str
    venue: str
    price_decimals: int
    size_decimals: int
    tick: int
    lot: int
    base: str = ""
    quote: str = ""
    min_size: int = 0
    max_size: int = 0
    min_notional: str = "0"
    channels: tuple[str, ...] = ()
    status: str = "TRADING"
    version: int = 1

    @property
    def price_increment(self) -> float:
        """Smallest price step, as a float."""
        return self.tick / POWERS_OF_TEN[self.price_decimals]

    @property
    def size_increment(self) -> float:
        """Smallest size step, as a float."""
        return self.lot / POWERS_OF_TEN[self.size_decimals]

    def __hash__(self) -> int:
        return self.index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Instrument) and other.index == self.index

    def __str__(self) -> str:
        return self.key

    def __repr__(self) -> str:
        return f"<{self.key}>"


def from_data(data: InstrumentData, index: int) -> Instrument:
    """The Instrument of a definition; raises InputError when the definition contradicts itself."""
    where = f"instrument {data.key}"
    for name, decimals in (("price_decimals", data.price_decimals), ("size_decimals", data.size_decimals)):
        if not 0 <= decimals <= MAX_DECIMALS:
            raise InputError(f"{where}: {name} is {decimals}", hint=f"0 to {MAX_DECIMALS} are possible")
    try:
        tick = parse_decimal(data.price_increment, data.price_decimals)
        lot = parse_decimal(data.size_increment, data.size_decimals)
        min_size = parse_decimal(data.min_size, data.size_decimals)
        max_size = parse_decimal(data.max_size, data.size_decimals)
    except DecimalError as error:
        raise InputError(f"{where}: {error.message}", hint=error.hint) from None
    if tick <= 0 or lot <= 0:
        raise InputError(
            f"{where}: increments {data.price_increment} and {data.size_increment} must be positive"
        )
    return Instrument(
        index=index,
        key=data.key,
        symbol=data.symbol,
        venue=data.venue,
        price_decimals=data.price_decimals,
        size_decimals=data.size_decimals,
        tick=tick,
        lot=lot,
        base=data.base,
        quote=data.quote,
        min_size=min_size,
        max_size=max_size,
        min_notional=data.min_notional,
        channels=data.channels,
        status=data.status,
        version=data.version,
    )


class Registry:
    """All instruments of a run, by key, in order of first definition."""

    def __init__(self) -> None:
        self.instruments: list[Instrument] = []
        self.revision = 0  # grows with every definition
        self._by_key: dict[str, int] = {}

    def define(self, data: InstrumentData) -> tuple[Instrument, Instrument | None]:
        """Take a definition; the instrument now in force, and the one before it if it existed.

        Channels add up: a second file may carry what the first did not.
        """
        self.revision += 1
        index = self._by_key.get(data.key)
        if index is None:
            instrument = from_data(data, len(self.instruments))
            self._by_key[data.key] = instrument.index
            self.instruments.append(instrument)
            return instrument, None
        before = self.instruments[index]
        channels = before.channels + tuple(c for c in data.channels if c not in before.channels)
        instrument = from_data(msgspec.structs.replace(data, channels=channels), index)
        self.instruments[index] = instrument
        return instrument, before

    def put_back(self, instrument: Instrument) -> None:
        """Take an instrument as it was in another process; they come in the order of their indexes."""
        self.revision += 1
        self._by_key[instrument.key] = instrument.index
        self.instruments.append(instrument)

    def known(self, key: str) -> Instrument | None:
        """The instrument of that very key, None when it is not defined."""
        index = self._by_key.get(key)
        return None if index is None else self.instruments[index]

    def find(self, name: str) -> Instrument:
        """By key ("BTCUSDT.binance") or by a symbol that only one venue has; else UsageError."""
        index = self._by_key.get(name)
        if index is not None:
            return self.instruments[index]
        matches = [i for i in self.instruments if i.symbol == name]
        if len(matches) == 1:
            return matches[0]
        known = ", ".join(i.key for i in self.instruments) or "none"
        if matches:
            raise UsageError(f'symbol "{name}" is ambiguous', hint=f"write one of {known}")
        raise UsageError(f'unknown symbol "{name}"', hint=f"the log has {known}")
