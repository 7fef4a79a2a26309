"""When a venue wants to hear of us again (Retry-After), whoever of us was told.

A venue that limits, limits an address: what one request or one handshake was told holds for all, and who
comes sooner makes the wait of all others longer. One object for each venue of a log.
"""

from __future__ import annotations

import asyncio
import math

MARGIN_S = 0.05  # who comes back too soon is made to wait for longer


class Ban:
    """Until when; by the event loop's clock."""

    def __init__(self) -> None:
        self._until_s = 0.0

    def note(self, retry_after_s: float) -> None:
        """One of us was told to come back after so long; 0: it was told nothing."""
        if retry_after_s > 0:
            until_s = asyncio.get_running_loop().time() + retry_after_s + MARGIN_S
            self._until_s = max(self._until_s, until_s)

    @property
    def left_s(self) -> float:
        """How much longer; 0 when there is none."""
        return max(0.0, self._until_s - asyncio.get_running_loop().time())

    async def over(self, patience_s: float = math.inf) -> bool:
        """Wait until it is over, also if it grows meanwhile; False once it would take longer than that."""
        while 0 < (left_s := self.left_s) <= patience_s:  # noqa: ASYNC110  time has no event
            await asyncio.sleep(left_s)
        return left_s == 0
