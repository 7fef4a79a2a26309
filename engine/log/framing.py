r"""The bytes of a log file: where each Arrow message begins and ends, and whether it is what was written.

    ARROW1\0\0                                     8 bytes
    schema message                               header (LogHeader), then
    record batch message, again and again        whole messages of the log each
    end of stream, footer, its length, ARROW1    sealed files only

    message = ff ff ff ff · length of the head (int32) · head (flatbuffer) · body

Arrow has no checksum of its own, so every message carries one in its own head: the text

    message-crc32:HHHHHHHH:BBBBBBBB

B is the CRC32 of the body, H that of everything before the body with H itself as zeros. The footer has
`footer-crc32:FFFFFFFF` over the bytes from the end of stream to the end of the file. So each byte of a
file stands under exactly one checksum, and a head is verified before a single number in it is believed.

Nothing here opens files or knows rows; it reads and makes bytes.
"""

from __future__ import annotations

import zlib
from struct import Struct
from struct import error as StructError  # noqa: N812  an exception, named like one
from typing import NamedTuple

MAGIC = b"ARROW1\x00\x00"
END_MAGIC = b"ARROW1"
CONTINUATION = b"\xff\xff\xff\xff"
END_OF_STREAM = CONTINUATION + b"\x00\x00\x00\x00"
PREFIX_BYTES = 8  # continuation marker and length
MAX_HEAD_BYTES = 16 << 20  # a length beyond this is damage, not a head

SCHEMA_MESSAGE, BATCH_MESSAGE = 1, 3  # of the flatbuffer's header type

CHECKSUM_KEY = b"checksum"
CHECKSUM_EMPTY = b"message-crc32:00000000:00000000"
# The length in front is binary, which no text can imitate: JSON writes a zero byte as an escape.
_MARKER = len(CHECKSUM_EMPTY).to_bytes(4, "little") + b"message-crc32:"
_HEAD_AT = len(_MARKER)
_BODY_AT = _HEAD_AT + 9
_ZEROS = b"00000000"
FOOTER_KEY = b"checksum"
FOOTER_EMPTY = b"footer-crc32:00000000"
_FOOTER_MARKER = len(FOOTER_EMPTY).to_bytes(4, "little") + b"footer-crc32:"

_INT32 = Struct("<i")
_UINT32 = Struct("<I")
_INT64 = Struct("<q")
_UINT16 = Struct("<H")


class Damage(Exception):
    """Bytes at `offset` are not what a writer wrote, or are not all there (`torn`).

    It never leaves engine.log: readers turn it into a DamagedLog or a tail.
    """

    def __init__(self, offset: int, reason: str, *, torn: bool = False) -> None:
        super().__init__(reason)
        self.offset = offset
        self.reason = reason
        self.torn = torn


class Layout(NamedTuple):
    """Where a batch's head has what differs from batch to batch.

    All batches of a writer have heads of one layout, so parsing one of them is parsing all: `fixed` are the
    parts that another head has to share for that to hold.
    """

    fixed: tuple[tuple[int, int, bytes], ...]  # start, stop, what stands there
    length: int  # where the body's length stands
    checksum: int
    values: dict[bytes, slice]  # custom metadata

    def fits(self, head: bytes) -> bool:
        """Whether this head, of the same length, is laid out like that."""
        return all(head[start:stop] == content for start, stop, content in self.fixed)


class Message(NamedTuple):
    """One verified message: bytes offset..body are prefix and head, body..end the body."""

    offset: int
    body: int
    end: int
    kind: int
    body_crc: int
    head: bytes
    values: dict[bytes, slice]

    def value(self, key: bytes) -> bytes | None:
        """The custom metadata of this key, or None."""
        place = self.values.get(key)
        return None if place is None else self.head[place]


_layouts: dict[int, Layout] = {}  # by length of head; what was parsed once is not parsed again
_MAX_LAYOUTS = 16


def read_message(source: memoryview, offset: int) -> Message | None:
    """The message that begins at `offset`, its head verified, its body not; None at the end of stream.

    Raises Damage, with `torn` when the bytes merely end too early (a write that was cut short).
    """
    head = _whole_head(source, offset)
    if head is None:
        return None
    layout = _layouts.get(len(head))
    known = layout is not None and layout.fits(head)
    at = layout.checksum if layout is not None and known else head.find(_MARKER)
    if at < 0:
        raise Damage(offset, "the message head carries no checksum")
    crc_at = at + _HEAD_AT
    actual = zlib.crc32(head[crc_at + 8 :], zlib.crc32(_ZEROS, zlib.crc32(head[:crc_at])))
    if b"%08x" % actual != head[crc_at : crc_at + 8]:
        raise Damage(offset, "the checksum of the message head does not fit")
    # From here on the head is what was written.
    try:
        if layout is not None and known:
            kind, length, values = BATCH_MESSAGE, layout.length, layout.values
        else:
            kind, length, values = _parse_head(head, at)
        body_bytes = _INT64.unpack_from(head, length)[0] if length else 0
        body_crc = int(head[at + _BODY_AT : at + _BODY_AT + 8], 16)
    except (StructError, ValueError, IndexError):
        raise Damage(offset, "the message head is not an Arrow message") from None
    body = offset + len(head)
    end = body + body_bytes
    if not body <= end <= len(source):
        there = len(source) - offset
        raise Damage(offset, f"a message of {end - offset} bytes, of which {there} are there", torn=True)
    return Message(offset, body, end, kind, body_crc, head, values)


def _whole_head(source: memoryview, offset: int) -> bytes | None:
    prefix = bytes(source[offset : offset + PREFIX_BYTES])
    if len(prefix) < PREFIX_BYTES:
        raise Damage(offset, f"{len(prefix)} bytes that are no whole message", torn=True)
    if prefix == END_OF_STREAM:
        return None
    if prefix[:4] != CONTINUATION:
        if prefix == bytes(PREFIX_BYTES):
            raise Damage(offset, "zero bytes where a message should begin", torn=True)
        raise Damage(offset, f"no message begins here (bytes {prefix.hex(' ')})")
    head_bytes = _INT32.unpack_from(prefix, 4)[0]
    if not 0 < head_bytes <= MAX_HEAD_BYTES or head_bytes % 8:
        raise Damage(offset, f"a message head of {head_bytes} bytes cannot be")
    head = bytes(source[offset : offset + PREFIX_BYTES + head_bytes])
    there = len(head) - PREFIX_BYTES
    if there < head_bytes:
        raise Damage(offset, f"a message head of {head_bytes} bytes, of which {there} are there", torn=True)
    return head


def verify_body(source: memoryview, message: Message) -> None:
    """Raise Damage when the body's bytes are not those written."""
    if zlib.crc32(source[message.body : message.end]) != message.body_crc:
        raise Damage(message.offset, "the checksum of the message body does not fit")


def buffer_start(message: Message, number: int) -> int:
    """Where the body's buffer of this number begins, from the body's beginning on."""
    head, size = message.head, message.end - message.body
    batch = _target(head, _field(head, _target(head, PREFIX_BYTES), 2))
    vector = _target(head, _field(head, batch, 2))
    if number >= _UINT32.unpack_from(head, vector)[0]:
        return size
    return min(int(_INT64.unpack_from(head, vector + 4 + 16 * number)[0]), size)


def _parse_head(head: bytes, checksum: int) -> tuple[int, int, dict[bytes, slice]]:
    """Kind, where the body's length stands (0: nowhere), custom metadata. Remembers a batch's layout."""
    # Flatbuffers: a table begins with the distance back to its vtable, which lists its fields' offsets.
    table = _target(head, PREFIX_BYTES)
    kind_at = _field(head, table, 1)
    kind = head[kind_at] if kind_at else 0
    length = _field(head, table, 3)
    values: dict[bytes, slice] = {}
    pairs = _field(head, table, 4)
    if pairs:
        vector = _target(head, pairs)
        for i in range(_UINT32.unpack_from(head, vector)[0]):
            pair = _target(head, vector + 4 + 4 * i)
            values[head[_text(head, _field(head, pair, 0))]] = _text(head, _field(head, pair, 1))
    if kind == BATCH_MESSAGE and length:
        batch = _target(head, _field(head, table, 2))
        count = _field(head, batch, 0)
        varying = [slice(length, length + 8), slice(count, count + 8), *values.values()]
        for field in (1, 2):  # nodes and buffers, two int64 each
            vector = _target(head, _field(head, batch, field))
            varying.append(slice(vector + 4, vector + 4 + 16 * _UINT32.unpack_from(head, vector)[0]))
        if len(_layouts) >= _MAX_LAYOUTS:
            _layouts.clear()
        _layouts[len(head)] = Layout(_between(head, varying), length, checksum, values)
    return kind, length, values


def _between(head: bytes, varying: list[slice]) -> tuple[tuple[int, int, bytes], ...]:
    """The parts of a head that lie between the varying ones; its marker is part of the checksum's text."""
    fixed = []
    start = PREFIX_BYTES
    for part in sorted(varying, key=lambda part: part.start):
        if part.start > start:
            fixed.append((start, part.start, head[start : part.start]))
        start = max(start, part.stop)
    fixed.append((start, len(head), head[start:]))
    return tuple(fixed)


def _field(head: bytes, table: int, number: int) -> int:
    vtable = table - int(_INT32.unpack_from(head, table)[0])
    slot = 4 + 2 * number
    if slot >= _UINT16.unpack_from(head, vtable)[0]:
        return 0
    offset = int(_UINT16.unpack_from(head, vtable + slot)[0])
    return table + offset if offset else 0


def _target(head: bytes, at: int) -> int:
    return at + int(_UINT32.unpack_from(head, at)[0])


def _text(head: bytes, at: int) -> slice:
    if not at:
        return slice(0, 0)
    start = _target(head, at)
    return slice(start + 4, start + 4 + _UINT32.unpack_from(head, start)[0])


def sign_message(buffer: bytearray, offset: int = 0) -> None:
    """Fill in both checksums of the message at `offset`, which is the last thing in `buffer`."""
    body = offset + PREFIX_BYTES + _INT32.unpack_from(buffer, offset + 4)[0]
    at = buffer.index(_MARKER, offset, body)
    with memoryview(buffer) as view:
        body_crc = zlib.crc32(view[body:])
        buffer[at + _BODY_AT : at + _BODY_AT + 8] = b"%08x" % body_crc
        crc = zlib.crc32(view[offset:body])
    buffer[at + _HEAD_AT : at + _HEAD_AT + 8] = b"%08x" % crc


def sign_footer(tail: bytearray) -> None:
    """Fill in the footer's checksum; `tail` is everything from the end of stream to the end of the file."""
    at = tail.rindex(_FOOTER_MARKER) + len(_FOOTER_MARKER)
    tail[at : at + 8] = b"%08x" % zlib.crc32(tail)


def verify_footer(source: memoryview, offset: int) -> None:
    """Check everything from the end of stream at `offset` to the end of the file; raises Damage."""
    tail = bytes(source[offset:])
    after = offset + len(END_OF_STREAM)
    if len(tail) < len(END_OF_STREAM) + 4 + len(END_MAGIC) or not tail.endswith(END_MAGIC):
        raise Damage(after, "the footer is not whole", torn=True)
    at = tail.rfind(_FOOTER_MARKER)
    if at < 0:
        raise Damage(after, "the footer carries no checksum")
    at += len(_FOOTER_MARKER)
    if b"%08x" % zlib.crc32(tail[at + 8 :], zlib.crc32(_ZEROS, zlib.crc32(tail[:at]))) != tail[at : at + 8]:
        raise Damage(after, "the checksum of the footer does not fit")
    footer_bytes = _INT32.unpack_from(tail, len(tail) - 10)[0]
    if footer_bytes != len(tail) - len(END_OF_STREAM) - 4 - len(END_MAGIC):
        raise Damage(after, f"a footer of {footer_bytes} bytes cannot be")
