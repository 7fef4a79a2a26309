"""What it means when a venue or a server says no, in words for a row and for a person: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

MOST_RETRY_AFTER_S = 3600.0
FIRST_WAIT_MOST_S = 60.0  # before anything has begun: a longer wait is the user's to decide on
FIRST_WAITS = 5
LOOPBACK = ("127.0.0.1", "::1", "localhost")
REACH_HINT = "check the address and the network; --url points a venue at another address"


class Refusal(msgspec.Struct, frozen=True):
    """Why an attempt failed, in words for a row and for a person."""

    detail: str
    hint: str
    retry_after_s: float = 0.0


class NotOpened(Exception):
    """An address that answered, but not with a WebSocket. `words`: where there is no HTTP status.

    Whichever library opens sockets, this is what its errors become.
    """

    def __init__(self, words: str = "", *, status: int = 0, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(words)
        self.words = words
        self.status = status
        self.headers: Mapping[str, str] = headers or {}


# What may come of an attempt to open a WebSocket.
OPENING_ERRORS = (OSError, TimeoutError, EOFError, ValueError, NotOpened)


def is_soon(retry_after_s: float) -> bool:
    """Whether a venue says when to come back, and that is soon enough to wait for it at the start."""
    return 0.0 < retry_after_s <= FIRST_WAIT_MOST_S


def is_loopback(url: str) -> bool:
    """Whether an address is this machine's own, which no proxy can reach."""
    return (urlsplit(url).hostname or "") in LOOPBACK


def refusal_of(error: BaseException, url: str) -> Refusal:
    """What a failed attempt to open `url` means, and what to do about it."""
    if isinstance(error, NotOpened):
        if not error.status:
            return Refusal(f"{url} {error.words}", REACH_HINT)
        page = " (an HTML page)" if "html" in error.headers.get("Content-Type", "") else ""
        detail = f"{url} answered HTTP {error.status}{page} instead of opening a WebSocket"
        return Refusal(detail, hint_of_status(error.status), retry_after_of(error.headers.get("Retry-After")))
    if isinstance(error, TimeoutError):
        return Refusal(f"{url} did not answer in time", REACH_HINT)
    return Refusal(f"{url} cannot be reached ({error or type(error).__name__})", REACH_HINT)


def hint_of_status(status: int) -> str:
    """What a person can do about an HTTP status that a venue answered."""
    if status in {418, 429}:
        return "the venue limits how often one may ask: wait, and ask for less"
    if status in {401, 403}:
        return "the venue refuses this machine's address, its country, or the keys: check both of them"
    if status == 451:
        return "the venue refuses this machine's address or country"
    if status >= 500:
        return "the venue is in trouble: try again later"
    return "the address is not this venue's, or a proxy or login page stands between"


def retry_after_of(text: str | None) -> float:
    """Seconds of a Retry-After header, an hour at most; 0 for none and for a date."""
    try:
        return min(max(0.0, float(text or 0)), MOST_RETRY_AFTER_S)
    except ValueError:
        return 0.0
