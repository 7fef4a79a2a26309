"""One WebSocket from opened to closed: frames in, what our side says out. What it means is the connection's.

Frames go to whoever listens, and who that is may change between two frames: a successor is listened to by
a `Holder` until it takes its predecessor's place. Messages go out one after the other with a pause in
between, because venues count what they are sent. A message may hold credentials, so nothing that was sent
is ever written or repeated in an error.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from engine.feed.dialogue import Dialogue, Message, Phase
from engine.feed.parser import Notice
from engine.live.pace import Pace
from engine.live.transport import Socket

HELD_BYTES_MAX = 64 << 20


class Life:
    """A socket and its dialogue. `begin`, then await `receiving`, which ends with the words for why."""

    def __init__(self, socket: Socket, dialogue: Dialogue, pace: Pace) -> None:
        self.socket = socket
        self.dialogue = dialogue
        self.receiving: asyncio.Task[str] | None = None
        self._pace = pace
        self._close_s = socket.close_s
        self._outbox: deque[Message] = deque()
        self._sending: asyncio.Task[None] | None = None

    def begin(self, take: Callable[[bytes], None]) -> None:
        """Receive, and say what is said first."""
        self.listen(take)
        self.receiving = asyncio.ensure_future(self.socket.receive())
        self.say(self.dialogue.opened())

    def listen(self, take: Callable[[bytes], None]) -> None:
        """From now on frames go to `take`."""
        self.socket.listen(take)

    def say(self, messages: Iterable[Message]) -> None:
        """Send, in order, with pauses."""
        self._outbox.extend(messages)
        if self._outbox and (self._sending is None or self._sending.done()):
            self._sending = asyncio.ensure_future(self._send())

    @property
    def talking(self) -> bool:
        """Whether something is still to be sent."""
        return bool(self._outbox)

    async def close(self, patience_s: float | None = None) -> None:
        """Close the socket (engine.live.transport.Socket.leave)."""
        await self.socket.leave(self._close_s if patience_s is None else patience_s)

    async def drain(self, taken: Callable[[], int], patience_s: float, idle_s: float) -> None:
        """Close, and give the last frames `patience_s`, but no longer than `idle_s` to each of them.

        `taken` counts those that have been handed on.
        """
        closing = asyncio.ensure_future(self.close(patience_s))
        try:
            seen = -1
            while not closing.done() and seen != taken():
                seen = taken()
                await asyncio.wait((closing,), timeout=idle_s)
        finally:
            closing.cancel()
        await self.close(0.0)

    async def end(self) -> None:
        """Close, and wait until nothing of this life runs any more; its outcome is thrown away."""
        if self._sending is not None:
            self._sending.cancel()
        await self.close()
        tasks = [task for task in (self._sending, self.receiving) if task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self) -> None:
        while self._outbox:
            await self._pace.turn()
            if not await self.socket.say(self._outbox.popleft()):
                self._outbox.clear()
                return  # the receiving side says why


class Holder:
    """Keeps a successor's frames until it may take over, and lets its dialogue go on meanwhile.

    `notices_of` reads a frame without leaving a trace; it is asked only while something is unconfirmed.
    """

    def __init__(self, life: Life, notices_of: Callable[[bytes], list[Notice]]) -> None:
        self.frames: list[bytes] = []
        self.ready = asyncio.Event()  # everything is subscribed: from here on nothing can be missed
        self.full = asyncio.Event()  # more than one wants to keep
        self.refusal = ""
        self._bytes = 0
        self._life = life
        self._notices_of = notices_of

    def begin(self) -> None:
        """Listen."""
        self._life.begin(self.take)
        self._look()

    def take(self, frame: bytes) -> None:
        """Keep a frame."""
        self.frames.append(frame)
        self._bytes += len(frame)
        if self._bytes > HELD_BYTES_MAX:
            self.full.set()
        if not self.ready.is_set():
            for notice in self._notices_of(frame):
                if notice.event in {"failed", "rejected", "shutdown"}:
                    self.refusal = self.refusal or notice.detail or notice.event
                self._life.say(self._life.dialogue.heard(notice))
            self._look()

    def _look(self) -> None:
        if self._life.dialogue.phase is Phase.STREAMING:
            self.ready.set()
