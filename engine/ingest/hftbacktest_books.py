"""What some arrays of hftbacktest leave to a reader who keeps books: partial clears, bare order events.

Most arrays need none of this, and then nothing of it runs. It goes event by event, in Python.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.ingest.hftbacktest_files import (
    ADD_ORDER,
    CANCEL_ORDER,
    CLEAR,
    DEPTH,
    FILL,
    MODIFY_ORDER,
    SNAPSHOT,
)
from engine.ingest.tabular_blocks import Packed
from engine.ingest.tabular_values import Integers
from engine.model.kinds import ASK, BID, Flag

Booleans = npt.NDArray[np.bool_]
_EVERYTHING = np.iinfo(np.int64).max


class Clears:
    """Clears of one side: up to a price (from the best one on), or all of it. Rows delete its levels.

    A level that the same message states again is not deleted.
    """

    def __init__(self) -> None:
        self._levels: dict[int, dict[int, int]] = {BID: {}, ASK: {}}

    @staticmethod
    def is_full(codes: Integers, sides: npt.NDArray[np.int8] | Integers) -> bool:
        """Whether a message clears the whole book."""
        cleared = set(sides[codes == CLEAR].tolist())
        return 0 in cleared or cleared == {BID, ASK}

    @staticmethod
    def needed(codes: Integers, sides: Integers, starts: npt.NDArray[np.intp]) -> bool:
        """Whether any message clears one side only."""
        stops = np.append(starts[1:], len(codes))
        of_clears = np.unique(np.searchsorted(starts, np.flatnonzero(codes == CLEAR), side="right") - 1)
        return not all(
            Clears.is_full(codes[starts[i] : stops[i]], sides[starts[i] : stops[i]])
            for i in of_clears.tolist()
        )

    def apply(
        self,
        packed: Packed,
        codes: Integers,
        message: Integers,
        limits: Integers,
        keep: Booleans,
        bare: Booleans,
    ) -> tuple[Packed, Booleans, Booleans, Integers, int]:
        """Rows with the deletions among them; `limits` are the clears' prices. Last: the number of clears."""
        made = 0
        extra: list[tuple[int, int]] = []  # position, price
        position = 0
        while position < len(packed):
            stop = int(np.searchsorted(message, message[position], side="right"))
            mine = codes[position:stop]
            if (mine == CLEAR).any():
                full = self.is_full(mine, packed["side"][position:stop])
                restated = {
                    (int(packed["side"][i]), int(packed["price"][i]))
                    for i in range(position, stop)
                    if codes[i] == SNAPSHOT
                }
                for i in range(position, stop):
                    if codes[i] == CLEAR and not full:
                        made += 1
                        extra += self._gone(i, int(packed["side"][i]), int(limits[i]), restated)
                if full:
                    self._levels = {BID: {}, ASK: {}}
                else:
                    packed["flags"][position:stop] &= ~np.uint16(Flag.SNAPSHOT)
            for i in range(position, stop):
                if codes[i] in {DEPTH, SNAPSHOT}:
                    side, price, size = (int(packed[n][i]) for n in ("side", "price", "size"))
                    if size:
                        self._levels[side][price] = size
                    else:
                        self._levels[side].pop(price, None)
            position = stop
        if not extra:
            return packed, keep, bare, message, made
        places = np.array([place for place, _ in extra], dtype=np.intp)
        rows = packed[places].copy()
        rows["price"] = [price for _, price in extra]
        rows["size"] = 0
        order = np.argsort(np.concatenate([np.arange(len(packed)), places]), kind="stable")
        return (
            np.concatenate([packed, rows])[order],
            np.concatenate([keep, np.ones(len(rows), dtype=bool)])[order],
            np.concatenate([bare, np.zeros(len(rows), dtype=bool)])[order],
            np.concatenate([message, message[places]])[order],
            made,
        )

    def _gone(
        self, place: int, side: int, limit: int, restated: set[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        levels = self._levels[side]
        within = sorted(p for p in levels if limit == _EVERYTHING or p * side >= limit * side)
        for price in within:
            del levels[price]
        return [(place, price) for price in within if (side, price) not in restated]


class Orders:
    """Where orders stand, for events that name an order and neither its side nor its price."""

    def __init__(self) -> None:
        self._where: dict[int, tuple[int, int]] = {}  # order -> side, price

    @staticmethod
    def needed(codes: Integers, sides: Integers, prices: npt.NDArray[np.float64]) -> bool:
        """Whether any order event lacks its side or its price."""
        later = (codes > ADD_ORDER) & (codes <= FILL)
        return bool((later & ((sides == 0) | ~np.isfinite(prices) | (prices == 0))).any())

    def complete(self, packed: Packed, codes: Integers, prices: npt.NDArray[np.float64]) -> None:
        """Fill in what an event lacks, in place, as far as the order was added."""
        for i in np.flatnonzero((codes >= ADD_ORDER) & (codes <= FILL)).tolist():
            code, order = int(codes[i]), int(packed["id"][i])
            side, price = self._where.get(order, (0, 0))
            if code == FILL:
                side = -side  # the row says who took
            if packed["side"][i] == 0:
                packed["side"][i] = side
            if not np.isfinite(prices[i]) or prices[i] == 0:
                packed["price"][i] = price
            if code in {ADD_ORDER, MODIFY_ORDER}:
                self._where[order] = (int(packed["side"][i]), int(packed["price"][i]))
            elif code == CANCEL_ORDER:
                self._where.pop(order, None)
