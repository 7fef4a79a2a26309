"""ChannelDecoder frames apart at venues whose messages name their channel, and what is wrong with one named.

Nearly every frame is a message of a known channel, and one decoding pass is all it takes. Only what fails
there is looked at again, for its outline: it is a message of a known channel that is not as it should be, or
something else, which may be good.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Generic, Literal, Protocol, TypeVar

import msgspec
from msgspec import UnsetType

from engine.feed.parser import DECODE_FAILURES, malformed_of

Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Form = Literal["snapshot", "update"]


class Outline(Protocol):
    """What is read of a frame that is no message of a known channel."""

    channel: str | UnsetType


MessageT = TypeVar("MessageT")
OutlineT = TypeVar("OutlineT", bound=Outline)
OtherT = TypeVar("OtherT")


class ChannelDecoder(Generic[MessageT, OutlineT, OtherT]):
    """`messages` decodes what is of `channels`; `other` tells by outline and frame what anything else is.

    What `other` raises while it decodes is a refusal of the frame.
    """

    def __init__(
        self,
        messages: msgspec.json.Decoder[MessageT],
        channels: Collection[str],
        outlines: msgspec.json.Decoder[OutlineT],
        other: Callable[[OutlineT, bytes], OtherT],
    ) -> None:
        self._decode = messages.decode
        self._channels = channels
        self._outlines = outlines
        self._other = other

    def decode(self, frame: bytes) -> MessageT | OtherT:
        """Tell what a frame is and decode it; raises Malformed, naming byte, field and value."""
        try:
            return self._decode(frame)
        except DECODE_FAILURES as error:
            refused = error
        try:
            outline = self._outlines.decode(frame)
            if outline.channel in self._channels:
                raise malformed_of(refused, frame)
            return self._other(outline, frame)
        except DECODE_FAILURES as error:
            raise malformed_of(error, frame) from None
