"""How fast messages go out to a venue: one after the other, no closer together than the venue allows.

Venues count what they are sent, some for each connection, some for an address; so a pace is of one connection
or of several, and remembers when its last message went, whoever sent it.
"""

from __future__ import annotations

import asyncio


class Pace:
    """Turns, `gap_s` apart at least."""

    def __init__(self, gap_s: float) -> None:
        self._gap_s = gap_s
        self._next_s = 0.0

    async def turn(self) -> None:
        """Wait for the next free turn. Turns are given in the order in which they are asked for."""
        now_s = asyncio.get_running_loop().time()
        mine_s = max(now_s, self._next_s)
        self._next_s = mine_s + self._gap_s
        if mine_s > now_s:
            await asyncio.sleep(mine_s - now_s)
