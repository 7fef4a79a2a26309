"""What removes secrets from texts and bytes before they are written.

A server may repeat the key that it was given: in the words of an error, in a page, in the answer itself.
Whatever is shown or written goes through a `Redactor` first: an address has one for the keys in its query,
and `KNOWN` holds every credential that this process has found (engine.live.credentials).

A secret is looked for as it is, and as a query or a JSON text writes it. In bytes it is replaced by as many
stars, so that a message with lengths in it (MessagePack) stays one.

Short values are left alone: one of five characters would black out half of an error, and it takes sixteen
before an answer is touched, or an address with `key=bitcoin` would take the word out of the news. What is
known as a credential is no word: eight are enough there.
"""

from __future__ import annotations

import json
import re
from urllib.parse import quote, quote_plus, unquote_plus

HIDDEN = "***"
TEXT_CHARACTERS = 6  # shorter values are not looked for in texts,
BODY_CHARACTERS = 16  # and shorter ones than this not in bytes,
CREDENTIAL_CHARACTERS = 8  # unless they are known as a credential
_PERCENT = re.compile("%[0-9A-F]{2}")
_ESCAPED = ("<>&", "<>&'+", "<>&'+/=")  # what writers of JSON write by number


class Redactor:
    """Texts that must not be seen, and how to remove them. Never shows what it holds."""

    __slots__ = ("_least", "_texts", "in_bytes")

    def __init__(self, *secrets: str, least: int = BODY_CHARACTERS) -> None:
        """`least`: characters of what is looked for in bytes."""
        self._least = least
        self._texts: tuple[str, ...] = ()  # in every form, longest first
        # The same, and their stars; empty while there is nothing that `body` would have to look for.
        self.in_bytes: tuple[tuple[bytes, bytes], ...] = ()
        self.add(*secrets)

    def __bool__(self) -> bool:
        """Whether there is anything to hide."""
        return bool(self._texts)

    def __repr__(self) -> str:
        return f"Redactor({len(self._texts)} texts)"

    def add(self, *secrets: str) -> None:
        """Hide these as well from now on."""
        found = set(self._texts)
        for secret in secrets:
            found.update(form for form in _forms(secret) if len(form) >= TEXT_CHARACTERS)
        if len(found) == len(self._texts):
            return
        self._texts = tuple(sorted(found, key=lambda text: (-len(text), text)))
        long = (text.encode() for text in self._texts if len(text) >= self._least)
        self.in_bytes = tuple((secret, b"*" * len(secret)) for secret in long)

    def text(self, text: str) -> str:
        """A text without them."""
        for secret in self._texts:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        return text

    def body(self, body: bytes) -> bytes:
        """Bytes without them, and as many."""
        for secret, stars in self.in_bytes:
            if secret in body:
                body = body.replace(secret, stars)
        return body


def _forms(secret: str) -> set[str]:
    """A secret as it may stand in a text: as it is, decoded, percent-encoded, in JSON."""
    plain = {secret, unquote_plus(secret)}
    encoded = {form(text) for text in plain for form in (_quoted, quote_plus)}
    encoded |= {_PERCENT.sub(lambda found: found[0].lower(), text) for text in encoded}
    written = {json.dumps(text)[1:-1] for text in plain}
    escaped = {_escaped(text, those, form) for text in written for those in _ESCAPED for form in ("x", "X")}
    return plain | encoded | written | escaped | {text.replace("/", "\\/") for text in plain | written}


def _escaped(text: str, those: str, form: str) -> str:
    """A JSON text with some characters written by their numbers, which writers do for the sake of HTML."""
    return "".join(f"\\u{ord(each):04{form}}" if each in those else each for each in text)


def _quoted(text: str) -> str:
    return quote(text, safe="")


KNOWN = Redactor(least=CREDENTIAL_CHARACTERS)  # every credential that this process has found
