"""The process that asks Claude for a session: the edge, and a pair of sockets to the session.

    python -m engine.live.asking_worker FD

It lives as long as the session: Close, or the end of the stream when the session was killed, ends it. Signals
from the keyboard go to the session, which ends this process in its own time. It has less
priority than the session, because a market message is never to wait for a question.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress

import msgspec

from engine.answers.requests import request_from
from engine.live.asking import Edge
from engine.live.asking_wire import Answered, Ask, Begin, Closed, Frames, Ready, frame, of_session
from engine.live.credentials import Secret
from engine.live.scheduling import shorten_slices
from engine.live.spending import spending_of
from engine.model.errors import EngineError, InternalError
from engine.model.kinds import AnswerData

_NICE = 5
_READ_BYTES = 1 << 20


class Worker:
    """Reads questions, lets an edge ask them, writes what came of each."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._edge: Edge | None = None

    async def run(self) -> None:
        """Until the session closes the stream or says Close."""
        frames = Frames()
        failure = ""
        try:
            while data := await self._reader.read(_READ_BYTES):
                if not all(self._take(body) for body in frames.feed(data)):
                    break
        finally:
            if self._edge is not None:
                try:
                    await self._edge.aclose()
                except InternalError as error:
                    failure = str(error)
        self._writer.write(frame(Closed(failure)))
        await self._writer.drain()

    def _take(self, body: bytes) -> bool:
        """Do what the session says; False when it wants no more."""
        message = of_session(body)
        if isinstance(message, Begin):
            config = msgspec.structs.replace(message.config, api_key=Secret(message.key))
            self._edge = Edge(config, self._deliver, spending=spending_of(config))
            self._edge.open()
            shorten_slices()
            os.nice(_NICE)  # not before: a session waits until the library is there
            self._writer.write(frame(Ready()))
        elif isinstance(message, Ask):
            assert self._edge is not None, "Begin comes first"
            self._edge.ask(message.ticket, request_from(message.request), message.loop_time_ns)
        else:
            return False
        return True

    def _deliver(self, data: AnswerData, wire: bytes | None) -> None:
        self._writer.write(frame(Answered(data, wire)))


async def _main(stream: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=stream)
    try:
        await Worker(reader, writer).run()
    finally:
        writer.close()
        with suppress(OSError):  # the session is gone
            await writer.wait_closed()  # or the last words are lost that the socket has no room for


def main() -> int:
    """Serve the session at the other end of the file descriptor that the command line names."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        asyncio.run(_main(socket.socket(fileno=int(sys.argv[1]))))
    except (ConnectionError, BrokenPipeError):
        return 0  # the session is gone, and nobody is left to be told
    except EngineError as error:
        sys.stderr.write(f"error: the process that asks Claude: {error}\n")
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
