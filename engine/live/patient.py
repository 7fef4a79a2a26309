"""One REST answer that fills a gap, asked for until it comes or asking again is no use.

A refusal is no error: whoever asks is told of it and writes a row. A few are outlived, with back-off and no
sooner than the venue says (Retry-After); what will not change, or would take minutes, is given up. Books go
first: half of a minute's request weight is theirs alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from engine.live.machine import BackOff
from engine.live.rest import Refused, Rest

ATTEMPTS = 4
PATIENCE_S = 120.0  # a longer wait is not worth it: the latest trades are others by then
REQUESTS_AT_ONCE = 2
SHARE = 0.5  # of a minute's request weight
_AGAIN = frozenset({408, 418, 429})  # refusals that pass; others of 4xx do not


class GaveUp(Exception):
    """Asking again is no use; says why. Never leaves the live side."""


class Patient:
    """Asks one venue, no more than `REQUESTS_AT_ONCE` questions at a time."""

    def __init__(self, rest: Rest, back_off: BackOff, chance: Callable[[], float]) -> None:
        self.base = rest.base
        self._rest = rest
        self._back_off = back_off
        self._chance = chance
        self._at_once = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def get(
        self,
        path: str,
        headers: Mapping[str, str],
        take: Callable[[bytes], bool],
        on_refusal: Callable[[str, int, float], None],
    ) -> None:
        """Ask until `take` says that the body is what was asked for. Raises GaveUp.

        `on_refusal` is told the words, which attempt that was, and how long it is waited (s).
        """
        attempt = 0
        while True:
            retry_after_s, lasting = 0.0, False
            try:
                async with self._at_once:
                    await self._rest.spare(SHARE)
                    ban = self._rest.ban
                    if not await ban.over(PATIENCE_S):
                        raise GaveUp(f"the venue asks to wait for {ban.left_s:,.0f} s")
                    body = await self._rest.get(path, headers)
            except Refused as refusal:
                words, retry_after_s = refusal.message, refusal.retry_after_s
                lasting = 400 <= refusal.status < 500 and refusal.status not in _AGAIN
            else:
                if take(body):
                    return
                words = f"{self.base}{path} answered what nobody asked for"
            attempt += 1
            wait_s = max(self._back_off.wait_s(attempt, self._chance()), retry_after_s)
            if lasting or attempt >= ATTEMPTS or wait_s > PATIENCE_S:
                raise GaveUp(words)
            on_refusal(words, attempt, wait_s)
            await asyncio.sleep(wait_s)
