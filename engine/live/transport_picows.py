"""A `picows` connection: frames are found in the read buffer by compiled code and handed on from there.

What the library leaves to its user is done here: joining fragments, and refusing those that do not fit,
answering a close, waiting for pongs. It answers pings itself. When a frame breaks the protocol, it closes the
connection and, if the frame before it came in the same read, does not hand that one on either; it counts as
lost with the connection then.

Source: picows.readthedocs.io (2.3).
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Callable
from contextlib import suppress

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSInvalidMessageError,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,
)
from picows.url import WSParsedURL
from python_socks import ProxyError
from websockets.datastructures import Headers
from websockets.exceptions import WebSocketException
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from engine import __version__
from engine.live.refusal import NotOpened, is_loopback
from engine.live.transport import FRAME_BYTES_MAX, broken_words, closed_words

_TEXT, _BINARY = WSMsgType.TEXT, WSMsgType.BINARY
_DATA = (_TEXT, _BINARY)
_STATUS = re.compile(rb"HTTP/1\.1 ([1-5]\d\d) ")
_PIECES_MAX = 4096  # of a message, as `websockets` allows; empty ones fill the memory, too
_NO_CODE = 1005  # what a close without a code counts as (RFC 6455, 7.1.5)
_log = logging.getLogger("engine.picows")
_log.addHandler(logging.NullHandler())  # everything that it says is said by rows and errors
_log.propagate = False


class PicowsSocket(WSListener):
    """See engine.live.transport.Socket."""

    def __init__(self, close_s: float) -> None:
        super().__init__()
        self.close_s = close_s
        self._socket: WSTransport | None = None
        self._early: list[bytes] = []  # what came before it was received
        self._keep = self._take = self._early.append
        self._listener: Callable[[bytes], None] = _nobody
        self._parts: list[bytes] = []  # of a message in fragments
        self._pongs: set[asyncio.Future[bool]] = set()
        self._closed = ""  # the venue's close, in words
        self._failure: BaseException | None = None

    @property
    def transport(self) -> asyncio.Transport:
        """The transport underneath."""
        return self._open.underlying_transport

    @property
    def _open(self) -> WSTransport:
        assert self._socket is not None, "it is opened before anybody has it"
        return self._socket

    def listen(self, take: Callable[[bytes], None]) -> None:
        """From now on messages go to `take`."""
        self._listener = take
        if self._take is not self._keep and self._failure is None:
            self._take = take

    async def receive(self) -> str:
        """Hand on what came before, then wait for the end."""
        self._take = self._listener
        for frame in self._early:
            self._hand_on(frame)
        self._early.clear()
        words = ""
        try:
            await self._open.wait_disconnected()
        except WSError as error:  # the venue broke the protocol
            words = broken_words(error)
        if self._failure is not None:
            raise self._failure
        return words or self._closed or broken_words("")

    async def say(self, message: str | bytes) -> bool:
        """Send."""
        if self._open.is_disconnected or self._open.is_close_frame_sent:
            return False
        self._open.send(_TEXT if isinstance(message, str) else _BINARY, message)
        return True

    async def answers(self, pong_s: float) -> bool:
        """Ping, and wait for a pong."""
        if self._open.is_disconnected:
            return False
        pong = asyncio.get_running_loop().create_future()
        self._pongs.add(pong)
        self._open.send_ping()
        try:
            async with asyncio.timeout(pong_s):
                return bool(await pong)
        except TimeoutError:
            return False
        finally:
            self._pongs.discard(pong)

    async def leave(self, patience_s: float | None = None) -> None:
        """Close, or abort when that takes too long."""
        self.close_s = self.close_s if patience_s is None else patience_s
        if not self._open.is_close_frame_sent:
            self._open.send_close(WSCloseCode.OK)
        try:
            async with asyncio.timeout(self.close_s):
                await self._ended()
        except TimeoutError:
            self._open.disconnect(False)
            await self._ended()

    async def _ended(self) -> None:
        with suppress(WSError):  # `receive` says it
            await self._open.wait_disconnected()

    # --- called by picows ---

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        self._socket = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A message, a part of one, a pong, or the end."""
        kind = frame.msg_type
        if kind in _DATA:
            if frame.fin and not self._parts and not frame.rsv1:
                self._hand_on(frame.get_payload_as_bytes())
            else:
                self._join(transport, frame, begins=True)
        elif kind == WSMsgType.CONTINUATION:
            self._join(transport, frame, begins=False)
        elif kind == WSMsgType.PONG:
            self._answer_pings(answered=True)
        elif kind == WSMsgType.CLOSE:
            self._close(transport, frame.get_payload_as_bytes())

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002  there is but one
        """Nothing comes any more."""
        self._answer_pings(answered=False)

    def _hand_on(self, frame: bytes) -> None:
        try:
            self._take(frame)
        except Exception as error:  # noqa: BLE001  raised again by `receive`
            self._take, self._failure = _nobody, error
            self._open.disconnect(False)

    def _join(self, transport: WSTransport, frame: WSFrame, *, begins: bool) -> None:
        if self._closed:
            return
        fits = begins != bool(self._parts)
        self._parts.append(frame.get_payload_as_bytes())
        if frame.rsv1 or not fits:
            words = "fragments that do not fit together" if not fits else "a compressed message"
            self._refuse(transport, WSCloseCode.PROTOCOL_ERROR, words)
        elif sum(map(len, self._parts)) > FRAME_BYTES_MAX:
            words = f"a message of more than {FRAME_BYTES_MAX:,} bytes"
            self._refuse(transport, WSCloseCode.MESSAGE_TOO_BIG, words)
        elif len(self._parts) > _PIECES_MAX:
            words = f"a message of more than {_PIECES_MAX:,} fragments"
            self._refuse(transport, WSCloseCode.MESSAGE_TOO_BIG, words)
        elif frame.fin:
            parts, self._parts = self._parts, []
            self._hand_on(b"".join(parts))

    def _refuse(self, transport: WSTransport, code: WSCloseCode, words: str) -> None:
        self._take, self._parts = _nobody, []
        self._closed = broken_words(words)
        transport.send_close(code)
        transport.disconnect()

    def _close(self, transport: WSTransport, payload: bytes) -> None:
        code = int.from_bytes(payload[:2], "big") if payload else _NO_CODE
        self._closed = self._closed or closed_words(code, payload[2:].decode("utf-8", "replace"))
        if not transport.is_close_frame_sent:
            transport.send_close(WSCloseCode.OK)
        transport.disconnect()
        self._take = _nobody
        # What is still to be sent may never be taken.
        asyncio.get_running_loop().call_later(self.close_s, transport.disconnect, False)

    def _answer_pings(self, *, answered: bool) -> None:
        for pong in self._pongs:
            if not pong.done():
                pong.set_result(answered)


def _nobody(_frame: bytes) -> None:
    """Nobody listens any more."""


class _Dial:
    """Makes the TCP connection, and can end it: picows leaves one open whose handshake is cancelled."""

    def __init__(self) -> None:
        self._connected: socket.socket | None = None

    async def connect(self, url: WSParsedURL) -> socket.socket:
        """A socket that is connected to the first of the host's addresses that answers. Raises OSError."""
        loop, refusal = asyncio.get_running_loop(), OSError("the host has no address")
        self._connected = None  # after a redirect there was another one
        for family, kind, protocol, _, address in await loop.getaddrinfo(
            url.host, url.port, type=socket.SOCK_STREAM
        ):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:  # a family that this machine does not have
                refusal = error
                continue
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, address)
            except OSError as error:
                sock.close()
                refusal = error
            except BaseException:
                sock.close()
                raise
            else:
                self._connected = sock
                return sock
        raise refusal

    async def give_up(self, opening: asyncio.Future[PicowsSocket]) -> None:
        """End an attempt; nothing of it is left when this returns."""
        if self._connected is None:
            opening.cancel()
        else:
            with suppress(OSError):  # it has ended by itself
                self._connected.shutdown(socket.SHUT_RDWR)
        opening.add_done_callback(_abandon)  # should we be cancelled once more
        await asyncio.wait((opening,))
        if not opening.cancelled() and opening.exception() is None:
            await opening.result().leave(0.0)


def _abandon(opening: asyncio.Future[PicowsSocket]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().transport.abort()


async def open_socket(url: str, headers: dict[str, str], *, open_s: float, close_s: float) -> PicowsSocket:
    """One attempt to open a WebSocket; raises one of engine.live.refusal's `OPENING_ERRORS`."""
    dial = _Dial()
    opening = asyncio.ensure_future(_handshake(url, headers, close_s, dial))
    try:
        async with asyncio.timeout(open_s):
            return await asyncio.shield(opening)
    except BaseException:
        await dial.give_up(opening)  # it may have succeeded just now, and nobody would have it
        raise


async def _handshake(url: str, headers: dict[str, str], close_s: float, dial: _Dial) -> PicowsSocket:
    try:
        _, listener = await ws_connect(
            lambda: PicowsSocket(close_s),
            url,
            websocket_handshake_timeout=None,
            logger_name=_log,
            max_frame_size=FRAME_BYTES_MAX,
            extra_headers={"User-Agent": f"engine/{__version__}"} | headers,
            proxy=None if is_loopback(url) else get_proxy(parse_uri(url)),
            socket_factory=dial.connect,
        )
    except WSInvalidMessageError as error:
        raise _refused(error) from None
    except WSHandshakeError as error:
        if error.response is not None and error.response.status != 101:
            raise NotOpened(status=int(error.response.status), headers=error.response.headers) from None
        raise NotOpened(f"refused the WebSocket ({error})") from None
    except ProxyError as error:
        raise NotOpened(f"refused the WebSocket ({error})") from None
    except (WSError, WebSocketException, ValueError) as error:
        raise NotOpened(f"cannot be reached ({error})") from None
    if not isinstance(listener, PicowsSocket):
        raise NotOpened("does not speak HTTP (it hung up during the handshake)")
    return listener


def _refused(error: WSInvalidMessageError) -> NotOpened:
    """Its status, which picows does not take for one if the registry of statuses has no name for it (520)."""
    lines = (error.raw_header or b"").split(b"\r\n")
    if (found := _STATUS.match(lines[0])) is None:
        return NotOpened(f"does not speak HTTP ({error})")
    headers = Headers()
    for line in lines[1:]:
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip()] = value.strip()
    return NotOpened(status=int(found[1]), headers=headers)
