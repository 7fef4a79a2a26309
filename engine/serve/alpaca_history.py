"""What Alpaca's REST answers page through: items of one symbol in the order of their times, up to a limit.

An item's key is its stamp and a number that tells items of one stamp apart. A late item stands where its
stamp belongs. A page ends with the key of its last item, and the next begins after that key, so that pages
fit together although items come and go meanwhile. The oldest tenth is forgotten when there are too many.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Any

Key = tuple[int, int]  # stamp in nanoseconds, number
KEPT = 50_000


class History:
    """One symbol's items of one kind."""

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._keys: list[Key] = []
        self._items: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: Key, item: dict[str, Any]) -> None:
        """Keep an item; one with a key that is there already takes its place."""
        if not self._keys or key > self._keys[-1]:
            self._keys.append(key)
            self._items.append(item)
        else:
            at = bisect_left(self._keys, key)
            if at < len(self._keys) and self._keys[at] == key:
                self._items[at] = item
                return
            self._keys.insert(at, key)
            self._items.insert(at, item)
        if len(self._keys) > self._most:
            gone = self._most // 10 or 1
            del self._keys[:gone], self._items[:gone]

    def find(self, key: Key) -> dict[str, Any] | None:
        """The item under a key."""
        at = bisect_left(self._keys, key)
        return self._items[at] if at < len(self._keys) and self._keys[at] == key else None

    def last(self) -> dict[str, Any] | None:
        """The item with the greatest key."""
        return self._items[-1] if self._items else None

    def between(
        self, start_ns: int, end_ns: int, after: Key | None = None, *, descending: bool = False
    ) -> Iterator[tuple[Key, dict[str, Any]]]:
        """Items with start <= stamp <= end, from behind the key `after` on, in the order asked for."""
        low, high = bisect_left(self._keys, (start_ns, -1)), bisect_right(self._keys, (end_ns, 1 << 63))
        if after is not None and descending:
            high = min(high, bisect_left(self._keys, after))
        elif after is not None:
            low = max(low, bisect_right(self._keys, after))
        places = range(high - 1, low - 1, -1) if descending else range(low, high)
        for place in places:
            yield self._keys[place], self._items[place]
