"""What parsers share whose venue sends everything over one stream: books whole, bars, trades.

A message is worked on in three steps. Its times are read, which may be refused; its decimals are read, which
may be refused; then it is applied, which cannot fail. So what is refused has changed nothing. Decimals finer
than their instrument's definition are no reason to refuse: an INSTRUMENT message with version + 1 goes before
the frame's own, one nanosecond earlier, and the decimals are read again. (Times come first, because after
that message there is no way back.)

See engine.feed.parser for what all parsers promise, engine.feed.parser_base for what they have in common.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from engine.feed.decimals import TooFine
from engine.feed.instrument_rows import InstrumentRows
from engine.feed.parser import Malformed
from engine.feed.parser_base import ParserBase
from engine.feed.stamps import Stamps
from engine.model.errors import DecimalError
from engine.model.kinds import InstrumentData
from engine.model.rows import RowBuffer

# What a number that is none does to a table of decimals: a list cannot even be looked up.
NOT_CONVERTED = (DecimalError, TypeError)

RowsT = TypeVar("RowsT", bound=InstrumentRows)
Text = tuple[str, RowsT, bool, Any]  # path in the frame, whose, whether a price (else a size), the number


class StreamParser(ParserBase[RowsT]):
    """One connection's frames into rows. Subclasses say what the frames are."""

    def __init__(
        self,
        instruments: Mapping[str, tuple[int, InstrumentData]],
        source: int,
        channels: Sequence[str] = (),
    ) -> None:
        self.stamps = Stamps()
        super().__init__(instruments, source, channels)

    def lose(self, state: RowsT) -> None:
        """As every instrument of these venues does."""
        state.connection_lost()

    @abstractmethod
    def definitions_of(self, body: bytes) -> dict[str, InstrumentData]:
        """Those of our instruments in a REST answer about definitions. Raises Malformed."""

    def carry_book(self, symbol: str, last: int) -> None:
        """The symbol's book is in step: it was carried over from an earlier file."""

    def widen(self, texts: Iterable[Text[RowsT]], ts: int, rows: RowBuffer) -> None:
        """Give the instruments the decimals that a message needs; Malformed if one of its numbers is none."""
        numbers = list(texts)
        needed: dict[str, list[int]] = {}
        for path, state, is_price, number in numbers:
            old = state.definition
            decimals = needed.setdefault(old.symbol, [old.price_decimals, old.size_decimals])
            try:
                (state.prices if is_price else state.sizes)[number]
            except TooFine as error:
                decimals[not is_price] = max(decimals[not is_price], error.decimals)
            except NOT_CONVERTED as error:
                raise _refused(path, number, error) from None
        for path, state, is_price, number in numbers:
            decimals = needed[state.definition.symbol]
            try:
                state.mantissas(decimals[not is_price])[number]
            except DecimalError as error:
                raise _refused(path, number, error) from None
        start = rows.count
        for symbol, (price_decimals, size_decimals) in needed.items():
            state = self.symbols[symbol]
            old = state.definition
            if (price_decimals, size_decimals) != (old.price_decimals, old.size_decimals):
                wider = msgspec.structs.replace(
                    old, price_decimals=price_decimals, size_decimals=size_decimals
                )
                self.change(state, wider, None, ts - 1, rows, self.source)
        if rows.count > start:
            rows.end_message()


def _refused(path: str, number: Any, error: Exception) -> Malformed:
    shown = number if isinstance(number, str) else json.dumps(number)
    words = error.message if isinstance(error, DecimalError) else "not a number"
    return Malformed(words, field=path, value=shown)
