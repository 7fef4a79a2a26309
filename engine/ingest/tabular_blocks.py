"""Packed rows with their texts, as they go from one step of an import to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Packed = npt.NDArray[np.void]  # of model.rows.ROW


@dataclass(frozen=True)
class Block:
    """Packed rows of whole lines, and their `data` texts (null where a row has none; None: no row has)."""

    packed: Packed
    data: pa.StringArray | None = None

    def __len__(self) -> int:
        return len(self.packed)

    @property
    def ts(self) -> npt.NDArray[np.int64]:
        """The rows' times."""
        times: npt.NDArray[np.int64] = self.packed["ts"]
        return times

    def take(self, order: npt.NDArray[Any] | slice) -> Block:
        """These rows, in this order."""
        if isinstance(order, slice):
            return Block(self.packed[order], None if self.data is None else self.data[order])
        return Block(self.packed[order], None if self.data is None else self.data.take(pa.array(order)))

    def texts(self) -> list[bytes]:
        """The non-null texts, in row order."""
        return [] if self.data is None else self.data.drop_null().cast(pa.binary()).to_pylist()


def concatenated(blocks: list[Block]) -> Block:
    """Several blocks as one."""
    if len(blocks) == 1:
        return blocks[0]
    packed = np.concatenate([block.packed for block in blocks])
    if all(block.data is None for block in blocks):
        return Block(packed)
    parts = [pa.nulls(len(b), pa.string()) if b.data is None else b.data for b in blocks]
    return Block(packed, pa.concat_arrays(parts))
