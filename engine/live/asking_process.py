"""Asks Claude from a process of its own, so that a question costs the session's loop next to nothing.

Making a call is some milliseconds of work in the library, a hundred of them at once most of a second; for
that long no market message would be seen. So the edge (`asking`) runs in another process
(`asking_worker`), and what is left here is a frame out for a question and a frame in for its answer.

Every question is delivered exactly once, also when that process ends before its time: what is open then is
delivered as failed, with how it ended, and what is asked later likewise. Calls that were under way may be
billed and stand in nobody's books then; the message says so.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256

import msgspec

from engine.answers.models import profile_of
from engine.answers.requests import Request
from engine.live.asking_client import AskingConfig, check_asking, check_package, key_for
from engine.live.asking_wire import Ask, Begin, Close, Closed, Frames, Ready, frame, of_asker
from engine.model.errors import InternalError
from engine.model.kinds import AnswerData

Deliver = Callable[[AnswerData, bytes | None], None]
READY_WITHIN_S = 60.0
CLOSE_WITHIN_S = 10.0  # how long its last words are waited for
_IN_TIME = f"within {CLOSE_WITHIN_S:g} s"
EXIT_WITHIN_S = 1.0  # and then its end: nothing is lost with it any more
_READ_BYTES = 1 << 18


class AskingProcess:
    """Asks Claude for one session. Call `aclose` at its end: it delivers what is still open."""

    def __init__(self, config: AskingConfig, deliver: Deliver) -> None:
        """`deliver` is called in the event loop, never from within `ask`.

        The process starts at once; `wait_until_ready` says when its first question would leave at once.
        Raises UsageError where the configuration cannot be carried out: no package, no key, no address.
        """
        config = check_asking(config)
        check_package()
        key = key_for(config)
        self.failure: Exception | None = None  # of the asker or of `deliver`; `aclose` raises it
        self._deliver = deliver
        self._open: dict[int, Ask] = {}
        self._frames = Frames()
        self._unsent = bytearray()
        self._listening = False
        self._ready = False
        self._closed = asyncio.Event()
        self._ended = ""  # how the process ended before its time
        self._hurried = asyncio.Event()
        ours, theirs = socket.socketpair()
        self._socket = ours
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  our own
                [sys.executable, "-m", "engine.live.asking_worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                process_group=0,  # the keyboard's signals are the session's, also while Python starts there
            )
        ours.setblocking(False)
        self._write(frame(Begin(msgspec.structs.replace(config, api_key=None), key.reveal())))

    @property
    def pid(self) -> int:
        """Of the process that asks."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Block until the library is imported there: a second. Raises InternalError if that fails."""
        ends = time.monotonic() + READY_WITHIN_S
        while not self._ready and not self._ended:
            with selectors.DefaultSelector() as selector:
                selector.register(self._socket, selectors.EVENT_READ)
                if not selector.select(ends - time.monotonic()):
                    self._process.kill()
                    self._end(f"it was not ready within {READY_WITHIN_S:g} s")
                else:
                    self._readable()
        if self._ended:
            self._socket.close()
            self._process.wait()
            raise InternalError(self._ended)

    @property
    def open(self) -> int:
        """Questions whose answers have not come."""
        return len(self._open)

    def ask(self, ticket: int, request: Request, loop_time_ns: int) -> None:
        """Take a question, and return at once. Raises UsageError for a model without a price."""
        profile_of(request.model)
        self._listen()
        question = Ask(ticket, request.canonical(), loop_time_ns)
        self._open[ticket] = question
        if self._ended:
            asyncio.get_running_loop().call_soon(self._fail_open)
            return
        self._write(frame(question))

    def hurry(self) -> None:
        """Wait for nobody any more: a user has asked twice."""
        self._hurried.set()

    async def aclose(self) -> None:
        """End every call, and deliver what is open as failed; calls under way stay paid for.

        Raises InternalError if the process, or `deliver`, has failed before.
        """
        self._listen()
        if not self._ended:
            self._write(frame(Close()))
            ends = [asyncio.ensure_future(each.wait()) for each in (self._closed, self._hurried)]
            await asyncio.wait(ends, timeout=CLOSE_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
            if not self._closed.is_set():
                self._process.kill()
                patience = "before one stopped waiting" if self._hurried.is_set() else _IN_TIME
                self._end(f"the process that asks Claude did not end {patience}")
        self._fail_open()
        self._stop_listening()
        self._socket.close()
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._process.wait, EXIT_WITHIN_S)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self.failure is not None:
            raise InternalError(f"asking Claude failed in the engine itself: {self.failure}")

    # --- the stream ---

    def _listen(self) -> None:
        """From the first question on: the session's event loop runs by then."""
        if not self._listening and not self._ended:
            self._listening = True
            loop = asyncio.get_running_loop()
            loop.add_reader(self._socket, self._readable)
            if self._unsent:
                loop.add_writer(self._socket, self._writable)

    def _stop_listening(self) -> None:
        if self._listening:
            self._listening = False
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)

    def _write(self, data: bytes) -> None:
        """Send what the socket takes now, the rest when it takes more."""
        sent = 0
        if not self._unsent:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                pass
            except OSError:
                self._end("")
                return
        if sent < len(data):
            self._unsent += data[sent:]
            if self._listening:
                asyncio.get_running_loop().add_writer(self._socket, self._writable)

    def _writable(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self._end("")
            return
        del self._unsent[:sent]
        if not self._unsent:
            asyncio.get_running_loop().remove_writer(self._socket)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # what it had not read yet is lost with it
        if not data:
            self._end("")
            return
        for body in self._frames.feed(data):
            message = of_asker(body)
            if isinstance(message, Ready):
                self._ready = True
                continue
            if isinstance(message, Closed):
                if message.failure:
                    self.failure = self.failure or InternalError(message.failure)
                self._stop_listening()
                self._closed.set()
                return
            if self._open.pop(message.data.ticket, None) is not None:
                self._hand_over(message.data, message.wire)

    def _hand_over(self, data: AnswerData, wire: bytes | None) -> None:
        try:
            self._deliver(data, wire)
        except Exception as error:  # noqa: BLE001  kept, and raised by `aclose`
            self.failure = self.failure or error

    # --- its end ---

    def _end(self, words: str) -> None:
        """The process is gone, or out of reach, before it was told to end."""
        if self._ended or self._closed.is_set():
            return
        self._stop_listening()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.05)
        code = self._process.poll()
        how = words or ("it ended" if code is None else f"it ended with {_code_text(code)}")
        self._ended = f"the process that asks Claude is gone: {how}; what was under way may be billed"
        self.failure = self.failure or InternalError(self._ended)
        self._closed.set()
        if self._open:  # not from within `ask`, which may be what found out
            asyncio.get_running_loop().call_soon(self._fail_open)

    def _fail_open(self) -> None:
        """Deliver what will never be answered."""
        words = self._ended or "the session ended before an answer came"
        for question in list(self._open.values()):
            if self._open.pop(question.ticket, None) is None:
                continue
            key, text = sha256(question.request).hexdigest(), question.request.decode()
            self._hand_over(AnswerData(key, text, "failed", ticket=question.ticket, error=words), None)


def _code_text(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
