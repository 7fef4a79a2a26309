"""RFC 3339 stamps to nanoseconds, fast: most stamps of a busy market share their second.

"2026-08-16T23:37:05.723653Z" is split after the second: what stands before is looked up, what stands behind
is a number. What has another form is parsed by the book (engine.model.units.parse_time). Venues write 1970,
or Go's year 1, where they have no time; both are none here.
"""

from __future__ import annotations

from engine.feed.parser import Malformed
from engine.model.errors import DecimalError
from engine.model.units import MAX_INT64, NULL_TIME, POWERS_OF_TEN, parse_time

REMEMBERED = 1 << 12  # seconds
_SECOND = len("2026-08-16T23:37:05")


class Stamps:
    """Texts to ns since 1970-01-01 UTC. What it remembers are facts about texts."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds: dict[str, int] = {}

    def ns(self, text: str, field: str) -> int:
        """The stamp in ns; NULL_TIME for "" and for a time in or before 1970's first second.

        Raises Malformed, naming `field`, for what is no time with a zone, or one after 2262.
        """
        second = self._seconds.get(text[:_SECOND])
        if second is not None and text[_SECOND : _SECOND + 1] == "." and text[-1] == "Z":
            digits = text[_SECOND + 1 : -1]
            if len(digits) <= 9 and digits.isdigit() and digits.isascii():
                return second + int(digits) * POWERS_OF_TEN[9 - len(digits)]
        return self._parse(text, field) if text else NULL_TIME

    def _parse(self, text: str, field: str) -> int:
        whole, point, rest = text.partition(".")
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        if point and not digits:
            raise Malformed(f'"{text}" is not a time', field=field, value=text)
        try:
            stamp = parse_time(text)
            second = parse_time(whole + rest[len(digits) :])
        except (DecimalError, OverflowError) as error:
            words = error.message if isinstance(error, DecimalError) else f'"{text}" is not a time'
            raise Malformed(words, field=field, value=text) from None
        if stamp > MAX_INT64:
            raise Malformed(f'"{text}" is after the year 2262', field=field, value=text)
        if second <= 0:
            return NULL_TIME
        if len(whole) == _SECOND and text[-1] == "Z":
            if len(self._seconds) >= REMEMBERED:
                self._seconds.clear()
            self._seconds[whole] = second
        return stamp
