"""The address of a feed: checked once, used as it is, and shown without what should not be seen.

Vendors take keys in the query (`?token=…`), and an address is shown in many places: in STATUS and SOURCE
rows, in errors, on the terminal. So the address knows how it may be shown: values of parameters that are
named like a key are replaced, in the address and in any text that somebody else made of it. What hides must
err on the safe side: `session=` and `sig=` are hidden too. Short values are hidden in the address, but not
looked for in other texts (engine.live.redact).

A user and a password in an address are refused, because they would be sent with everything; a key is not sent
unencrypted to another machine.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from engine.live.redact import HIDDEN, KNOWN, Redactor
from engine.live.refusal import is_loopback
from engine.model.errors import UsageError

LENGTH_MAX = 4_096
_LIKE_A_KEY = re.compile(
    r"(?:.*(?:key|token|secret|signature|password|passwd|pwd|jwt|bearer|credentials?|authorization)"
    r"|pass|auth|sig|sid|session|session_?id)",
    re.IGNORECASE,
)


class Address:
    """An http or https address. `url` is for the client alone; everybody else takes `shown`."""

    __slots__ = ("_secrets", "host", "loopback", "scheme", "shown", "url")

    def __init__(self, url: str, name: str = "the address") -> None:
        """Raises UsageError, in whose words nothing secret stands, for what is no such address."""
        hint = "write https://host/path, or http://127.0.0.1:PORT/news"
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            # What is wrong may be a password with a slash in it: nothing of it is repeated.
            raise UsageError(f"{name} is no address", hint=hint) from None
        if parts.username is not None or parts.password is not None:
            raise UsageError(
                f"{name} at {host} has a user or a password in it",
                hint="leave it out: the address is written into logs",
            )
        self._secrets = Redactor(*_secrets_of(parts.query))
        self.shown = urlunsplit(parts._replace(query=_hidden(parts.query), fragment=""))
        if parts.scheme not in {"http", "https"} or not host:
            raise UsageError(f'{name} "{self.shown}" is no address', hint=hint)
        if len(url) > LENGTH_MAX or not (url.isascii() and url.isprintable()) or " " in url:
            raise UsageError(
                f'{name} "{self.shown[:200]}" has characters that no address has, or too many of them',
                hint=f"at most {LENGTH_MAX} of ASCII; others are written as %XX",
            )
        self.url = urlunsplit(parts._replace(fragment=""))
        self.host, self.scheme = host, parts.scheme
        self.loopback = is_loopback(self.url)
        if self._secrets and parts.scheme == "http" and not self.loopback:
            raise UsageError(
                f"{name} {self.shown}: what looks like a key must not travel without encryption",
                hint="write https://…",
            )

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and other.url == self.url

    def __hash__(self) -> int:
        return hash(self.url)

    def with_query(self, query: str) -> str:
        """The address for the client, with this beside its own query."""
        mark = "" if not query else "&" if "?" in self.url else "?"
        return f"{self.url}{mark}{query}"

    def clean(self, text: str) -> str:
        """A text that somebody made knowing the address, without its secrets."""
        return KNOWN.text(self._secrets.text(text.replace(self.url, self.shown)))

    def clean_bytes(self, body: bytes) -> bytes:
        """The same for what a server answered: some repeat the key that they were given."""
        return KNOWN.body(self._secrets.body(body))

    def allows(self, other: str) -> bool:
        """Whether a redirect to another address stays on this host, and as encrypted as it was."""
        try:
            parts = urlsplit(other)
        except ValueError:
            return False
        return parts.hostname == self.host and parts.scheme in {"https", self.scheme}


def _pairs(query: str) -> list[tuple[str, str]]:
    """Names and values as they are written, not decoded."""
    return [(name, value) for name, _, value in (part.partition("=") for part in query.split("&"))]


def _hidden(query: str) -> str:
    parts = []
    for name, value in _pairs(query):
        shown = HIDDEN if value and _LIKE_A_KEY.fullmatch(unquote_plus(name)) else value
        parts.append(f"{name}={shown}" if value else name)
    return "&".join(parts)


def _secrets_of(query: str) -> tuple[str, ...]:
    """Values of what is named like a key, as they are written."""
    return tuple(value for name, value in _pairs(query) if _LIKE_A_KEY.fullmatch(unquote_plus(name)))
