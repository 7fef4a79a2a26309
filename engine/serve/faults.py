"""Misbehaviour on request, for those who must prove that they survive it.

    disconnect:N    every connection is cut, without a close frame, after N data frames
    silence:N       every connection stays open and says nothing more after N data frames
    html            every request, WebSocket handshakes included, is answered with a web page

A fault applies to each connection anew. What a silenced connection was not sent is not in the venue's
list of sent frames either.
"""

from __future__ import annotations

import msgspec

from engine.model.errors import UsageError

_COUNTED = ("disconnect", "silence")
_FORMS = "disconnect:N, silence:N, html"

HTML_PAGE = b"""<!DOCTYPE html>
<html><head><title>Service notice</title></head>
<body><h1>We will be back soon</h1><p>This page is all that answers here.</p></body></html>
"""


class Fault(msgspec.Struct, frozen=True):
    """One fault: its name and, where it has one, its number."""

    name: str = ""
    count: int = 0


def parse_fault(text: str) -> Fault:
    """The fault that a user names; UsageError says which there are."""
    name, colon, number = text.partition(":")
    if name == "html" and not colon:
        return Fault(name)
    if name in _COUNTED and number.isdigit() and int(number) > 0:
        return Fault(name, int(number))
    raise UsageError(f'unknown fault "{text}"', hint=f"write one of {_FORMS}; N is 1 or more")
