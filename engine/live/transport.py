"""What a connection needs of a WebSocket, whoever implements it, and which of two implementations is used.

`websockets` is always there. `picows` comes with the extra `fast`, takes a seventh of the time for a frame
and is used wherever it is installed. ENGINE_TRANSPORT names one of the two for who wants to know which.
Both hand frames on where they arrive, without a queue, and say the same of how a socket ended; what is said
in handshakes that fail is one exception, `NotOpened` (engine.live.refusal). The tests of connections run with
either.

What picows does not understand when a socket is opened, websockets tries as well.

Implementations are imported when a socket is opened; importing `websockets` takes a tenth of a second.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import os
import termios
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Protocol

from engine.live.refusal import NotOpened
from engine.model.errors import UsageError

VARIABLE = "ENGINE_TRANSPORT"
NAMES = ("websockets", "picows")
FRAME_BYTES_MAX = 64 << 20  # a whole book in one frame may be several MB


class Socket(Protocol):
    """An open WebSocket, of one life. Frames are whole messages, as bytes, of text and binary alike."""

    close_s: float  # how long a close may take

    @property
    def transport(self) -> asyncio.Transport:
        """What it stands on."""

    def listen(self, take: Callable[[bytes], None]) -> None:
        """From now on frames go to `take`, in order; those that came before anyone listened go first."""

    async def receive(self) -> str:
        """Serve frames until the socket has ended; the words for why. Raises what `take` raised."""

    async def say(self, message: str | bytes) -> bool:
        """Send text or binary; False if the socket has ended."""

    async def answers(self, pong_s: float) -> bool:
        """Whether the other side answers a ping in time."""

    async def leave(self, patience_s: float | None = None) -> None:
        """Close; what comes before the other side's own close is still handed on.

        `patience_s`: how long that may take from now, if not `close_s`; a close that is under way gets no
        more than that either.
        """


def chosen() -> str:
    """Which implementation is used here. Raises UsageError for a name that is none, or is not installed."""
    named = os.environ.get(VARIABLE, "")
    there = find_spec("picows") is not None
    if not named:
        return "picows" if there else "websockets"
    if named not in NAMES:
        raise UsageError(f'{VARIABLE}="{named}" is no transport', hint=f"write {' or '.join(NAMES)}")
    if named == "picows" and not there:
        raise UsageError(f"{VARIABLE}=picows, and picows is not installed", hint="pip install 'engine[fast]'")
    return named


async def open_socket(url: str, headers: dict[str, str], *, open_s: float, close_s: float) -> Socket:
    """One attempt to open a WebSocket; raises engine.live.refusal's `OPENING_ERRORS`, and UsageError."""
    if chosen() == "picows":
        try:
            from engine.live import transport_picows
        except ImportError as error:
            raise UsageError(
                f"picows is installed and cannot be used ({error})",
                hint=f"install it again: pip install 'engine[fast]'; or set {VARIABLE}=websockets",
            ) from None

        try:
            return await transport_picows.open_socket(url, headers, open_s=open_s, close_s=close_s)
        except NotOpened as refusal:
            if refusal.status:
                raise
            # It knows fewer forms of handshakes and of proxies: the other one says whether this is wrong.
    from engine.live import transport_websockets

    return await transport_websockets.open_socket(url, headers, open_s=open_s, close_s=close_s)


def unread_bytes(transport: asyncio.Transport) -> int:
    """Bytes that the kernel has received and nobody has read; 0 when it cannot tell."""
    sock: Any = transport.get_extra_info("socket")
    count = array.array("i", [0])
    try:
        fcntl.ioctl(sock.fileno(), termios.FIONREAD, count)
    except (AttributeError, OSError, ValueError):  # it has been closed
        return 0
    return count[0]


def closed_words(code: int, reason: str) -> str:
    """The venue's own close, in words."""
    return f"the venue closed: {code} {reason}".rstrip()


def broken_words(cause: object) -> str:
    """An end without a word from the venue."""
    return f"the connection broke off ({cause})" if cause else "the connection broke off"
