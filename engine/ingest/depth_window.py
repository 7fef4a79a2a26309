"""States of a book's best N levels, one after the other, to the changes between them.

What such data shows is a window: the N best levels of each side. A level that is not in the next state has
either gone, or been pushed out of the window by a better one, and then nobody knows what becomes of it. A
size of 0 would say that it is empty, and whoever waits there would stand first in its queue. So:

    in both states, another size      a row with the size
    new in the window                 a row with the size
    gone, inside the new window       a row with size 0: every level up to the window's edge is shown
    gone, beyond the new window       unknown: the message is the whole window as a snapshot

A snapshot says how deep the book is known: up to its worst level on each side. So the window is also given
whole when it covers less than the last snapshot did, when a side's best price leaves what that covered, and
for the first state. A side with fewer than N levels is shown whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.model.kinds import ASK, BID

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
_LOWEST = -(2**63)


@dataclass(frozen=True)
class Changes:
    """Rows in order of state; `state` counts from the first given. Sides +1 bid, -1 ask; size 0: gone."""

    state: npt.NDArray[np.intp]
    side: npt.NDArray[np.int8]
    price: Integers
    size: Integers
    snapshot: Booleans  # per state: its rows are the whole window
    crossed: int  # states in which the best bid is not below the best ask


@dataclass
class _Side:
    """One side's window as it stood last; keys are prices times the sign: greater is better."""

    sign: int
    keys: Integers
    sizes: Integers
    known: int = _LOWEST  # worst key of the last snapshot
    edge: int = _LOWEST  # worst key in view where more may be beyond it


class DepthWindow:
    """One instrument's window, state after state, in as many calls as it takes."""

    def __init__(self, levels: int) -> None:
        self._levels = levels
        self._sides = tuple(
            _Side(sign, np.zeros(levels, np.int64), np.zeros(levels, np.int64)) for sign in (BID, ASK)
        )
        self._begun = False

    def apply(self, bids: tuple[Integers, Integers], asks: tuple[Integers, Integers]) -> Changes:
        """The changes these states make; a side is its prices and sizes, (states, levels); size 0: none."""
        count = len(bids[0])
        compared = [
            _compare(side, prices * side.sign, sizes)
            for side, (prices, sizes) in zip(self._sides, (bids, asks), strict=True)
        ]
        snapshot = self._snapshots(compared, count)
        best_bid, best_ask = (c.best for c in compared)
        both = (best_bid != _LOWEST) & (best_ask != _LOWEST)
        crossed = int((both & (best_bid >= -np.where(best_ask == _LOWEST, 0, best_ask))).sum())
        parts: list[tuple[Any, ...]] = []
        for side, one in zip(self._sides, compared, strict=True):
            whole = snapshot[:, None]
            for chosen, keys, sizes in (
                (one.deleted & ~whole, one.before, None),
                (np.where(whole, one.valid, one.changed), one.keys, one.sizes),
            ):
                state, level = np.nonzero(chosen)
                size = np.zeros(len(state), np.int64) if sizes is None else sizes[state, level]
                parts.append(
                    (state, np.full(len(state), side.sign, np.int8), keys[state, level] * side.sign, size)
                )
        state, sign, price, size = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(state, kind="stable")
        return Changes(state[order], sign[order], price[order], size[order], snapshot, crossed)

    def _snapshots(self, compared: list[_Compared], count: int) -> Booleans:
        """Which states must be given whole. A state's snapshot decides what the next ones may leave out."""
        snapshot = np.zeros(count, dtype=bool)
        if not count:
            return snapshot
        dropped = compared[0].dropped | compared[1].dropped
        if not self._begun:
            dropped[0] = self._begun = True
        bid, ask = self._sides
        bid_best, ask_best = (c.best.tolist() for c in compared)
        bid_worst, ask_worst = (c.worst.tolist() for c in compared)
        bid_edge, ask_edge = (c.edge.tolist() for c in compared)
        must = dropped.tolist()
        # Only where a best price moves away, a level leaves or the window narrows is there a decision.
        moved = dropped | compared[0].moved | compared[1].moved
        for i in np.flatnonzero(moved).tolist():
            beyond = _LOWEST < bid_best[i] < bid.known or _LOWEST < ask_best[i] < ask.known
            narrower = bid_edge[i] > bid.known or ask_edge[i] > ask.known
            if must[i] or beyond or narrower:
                snapshot[i] = True
                bid.known, ask.known = bid_worst[i], ask_worst[i]
        return snapshot


@dataclass(frozen=True)
class _Compared:
    """One side of all states beside the states before them."""

    keys: Integers
    sizes: Integers
    valid: Booleans
    before: Integers  # keys of the state before
    changed: Booleans  # levels that are new or have another size
    deleted: Booleans  # levels of the state before that have gone from inside the window
    dropped: Booleans  # per state: a level left the window
    best: Integers
    worst: Integers
    edge: Integers  # worst key where the window is full, else the lowest of all
    moved: Booleans  # per state: the best price is worse than before, or the edge better


def _compare(side: _Side, keys: Integers, sizes: Integers) -> _Compared:
    before_keys = np.concatenate([side.keys[None], keys[:-1]])[: len(keys)]
    before_sizes = np.concatenate([side.sizes[None], sizes[:-1]])[: len(keys)]
    valid, was = sizes > 0, before_sizes > 0
    best = np.where(valid, keys, _LOWEST).max(axis=1, initial=_LOWEST)
    worst = np.where(valid, keys, np.int64(2**63 - 1)).min(axis=1, initial=2**63 - 1)
    worst = np.where(valid.any(axis=1), worst, _LOWEST)
    edge = np.where(valid.all(axis=1), worst, _LOWEST)
    changed, deleted = np.zeros_like(valid), np.zeros_like(valid)
    dropped = np.zeros(len(keys), dtype=bool)
    best_before = np.where(was, before_keys, _LOWEST).max(axis=1, initial=_LOWEST)
    differs = np.flatnonzero((keys != before_keys).any(axis=1) | (sizes != before_sizes).any(axis=1))
    if len(differs):
        k, s, v = keys[differs], sizes[differs], valid[differs]
        old_k, old_s, old_v = before_keys[differs], before_sizes[differs], was[differs]
        same = (old_k[:, :, None] == k[:, None, :]) & old_v[:, :, None] & v[:, None, :]
        unchanged = (same & (old_s[:, :, None] == s[:, None, :])).any(axis=1)
        gone = old_v & ~same.any(axis=2)
        inside = old_k >= edge[differs, None]
        changed[differs] = v & ~unchanged
        deleted[differs] = gone & inside
        dropped[differs] = (gone & ~inside).any(axis=1)
    edge_before = np.append(side.edge, edge[:-1])[: len(keys)]
    if len(keys):
        side.edge = int(edge[-1])
        side.keys, side.sizes = keys[-1].copy(), sizes[-1].copy()
    moved = (best < best_before) | (edge > edge_before)
    return _Compared(keys, sizes, valid, before_keys, changed, deleted, dropped, best, worst, edge, moved)
