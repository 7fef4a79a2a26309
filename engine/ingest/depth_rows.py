"""BOOK rows of a window's changes, and blocks of several kinds of rows into one order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.ingest.depth_window import Changes
from engine.ingest.tabular_blocks import Block, Packed, concatenated
from engine.model.kinds import BookData, Flag, encode_canonical

_LAST, _SNAPSHOT, _CLEAR = int(Flag.LAST), int(Flag.SNAPSHOT), int(Flag.CLEAR)
# What stands on a snapshot that shows no level at all.
EMPTY = encode_canonical(BookData(note="empty")).decode()


def in_order(blocks: list[Block], places: list[npt.NDArray[np.intp]]) -> Block:
    """Rows of several blocks in order of a place that each has, stable."""
    return concatenated(blocks).take(np.argsort(np.concatenate(places), kind="stable"))


def rows_of_changes(changes: Changes, stamps: Packed) -> tuple[Block, npt.NDArray[np.intp]]:
    """BOOK rows of window changes, and the state that each belongs to; a state's rows are one message.

    `stamps` has a row per state with all that its rows have in common.
    """
    empty = np.setdiff1d(np.flatnonzero(changes.snapshot), changes.state)
    state = np.concatenate([changes.state, empty])
    order = np.argsort(state, kind="stable")
    state = state[order]
    packed = stamps[state].copy()
    for name in ("side", "price", "size"):
        column = getattr(changes, name)
        packed[name] = np.concatenate([column, np.zeros(len(empty), column.dtype)])[order]
    first = np.ones(len(state), dtype=bool)
    first[1:] = state[1:] != state[:-1]
    last = np.append(first[1:], True)[: len(state)]
    flags = packed["flags"] & ~np.uint16(_LAST)
    flags |= np.where(changes.snapshot[state], _SNAPSHOT, 0).astype(np.uint16)
    flags |= np.where(changes.snapshot[state] & first, _CLEAR, 0).astype(np.uint16)
    packed["flags"] = flags | np.where(last, _LAST, 0).astype(np.uint16)
    if not len(empty):
        return Block(packed), state
    bare = packed["side"] == 0
    packed["data_length"][bare] = len(EMPTY)
    return Block(packed, pa.array([EMPTY if one else None for one in bare.tolist()], pa.string())), state
