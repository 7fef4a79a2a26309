"""What a test listens to and waits for.

Whoever sees a change sets `changed`; conditions are then looked at anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from engine.model.kinds import Kind, StatusData
from engine.model.rows import RowBuffer
from tests.helpers.rows import Row, rows_of_buffer

LIMIT_S = 15.0


class Waiting:
    """Something that changes."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; it is looked at after every change."""
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class WaitingRows(Waiting):
    """A buffer that something fills turn by turn."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = RowBuffer()

    @property
    def rows(self) -> list[Row]:
        """Everything so far."""
        return rows_of_buffer(self.buffer)

    @property
    def events(self) -> list[str]:
        """The STATUS rows' events in order."""
        return [row.event for row in self.rows if row.kind is Kind.STATUS]


class WaitingFrames(Waiting):
    """What a connection hands on: frames, STATUS rows, and how often books were lost."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[bytes] = []
        self.rows: list[StatusData] = []
        self.lost = 0

    def take_frame(self, frame: bytes) -> None:
        """Keep a frame."""
        self.frames.append(frame)
        self.changed.set()

    def take_status(self, status: StatusData) -> None:
        """Keep a row."""
        self.rows.append(status)
        self.changed.set()

    def take_loss(self) -> None:
        """Count it."""
        self.lost += 1

    @property
    def events(self) -> list[str]:
        """The rows' events in order."""
        return [row.event for row in self.rows]
