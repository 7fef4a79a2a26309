"""Prices and sizes as scaled integers, and nothing lost on the way in or out.

A decimal `d` of an instrument with `decimals = n` is the integer mantissa `d * 10**n`. Text becomes a
mantissa exactly or not at all; a mantissa becomes text exactly, and a float as the float64 nearest to
it. Times are integer nanoseconds since 1970-01-01 UTC. Nothing here rounds silently.
"""

from __future__ import annotations

from datetime import UTC, datetime

from engine.model.errors import DecimalError

MAX_INT64 = 2**63 - 1
MAX_DECIMALS = 18
NULL_TIME = -(2**63)  # "no venue stamp" in int64 columns

SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000
MICROSECOND_NS = 1_000

POWERS_OF_TEN: tuple[int, ...] = tuple(10**n for n in range(MAX_DECIMALS + 1))


def parse_decimal(text: str, decimals: int) -> int:
    """Mantissa of a plain decimal text at `decimals` places; exact.

    Raises DecimalError when the text is no plain decimal ("1e5", "1,000", "", "nan"), has non-zero
    digits beyond `decimals`, or does not fit 64 bits.
    """
    whole, point, fraction = text.partition(".")
    if point and (not fraction or whole in {"", "-"}):
        _check_digits(text)
    if len(fraction) > decimals:
        if fraction[decimals:].strip("0"):
            _check_digits(text)
            raise DecimalError(
                f'"{text}" has more than {decimals} decimals',
                hint="the instrument's definition allows no more; a new version of it is needed",
            )
        _check_digits(text)
        fraction = fraction[:decimals]
    digits = whole + fraction
    # str.isdigit accepts other scripts' digits; isascii keeps them out.
    unsigned = digits[1:] if digits[:1] == "-" else digits
    if not (unsigned.isdigit() and unsigned.isascii()):
        _check_digits(text)
    mantissa = int(digits) * POWERS_OF_TEN[decimals - len(fraction)]
    if not -MAX_INT64 <= mantissa <= MAX_INT64:
        raise DecimalError(f'"{text}" at {decimals} decimals does not fit 64 bits')
    return mantissa


def _check_digits(text: str) -> None:
    body = text[1:] if text[:1] == "-" else text
    whole, point, fraction = body.partition(".")
    digits = whole + fraction
    ok = digits.isdigit() and digits.isascii() and whole != "" and not (point and not fraction)
    if not ok:
        raise DecimalError(f'"{text}" is not a decimal number')


def decimals_of(text: str) -> int:
    """How many decimals a plain decimal text needs, trailing zeros aside ("0.0100" needs 2)."""
    _check_digits(text)
    return len(text.partition(".")[2].rstrip("0"))


def format_decimal(mantissa: int, decimals: int) -> str:
    """The exact decimal text of a mantissa, with all `decimals` places."""
    if decimals == 0:
        return str(mantissa)
    sign = "-" if mantissa < 0 else ""
    digits = str(abs(mantissa)).rjust(decimals + 1, "0")
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"


def trim_decimal(mantissa: int, decimals: int) -> str:
    """The exact decimal text of a mantissa without trailing zeros ("0.01", "5")."""
    text = format_decimal(mantissa, decimals)
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_float(mantissa: int, decimals: int) -> float:
    """The float64 nearest to the decimal (Python's int / int is correctly rounded)."""
    return mantissa / POWERS_OF_TEN[decimals]


def format_time(ts: int) -> str:
    """ISO 8601 in UTC with nanoseconds, for people and for logs' metadata."""
    seconds, nanoseconds = divmod(ts, SECOND_NS)
    stamp = datetime.fromtimestamp(seconds, UTC)
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def parse_time(text: str) -> int:
    """Nanoseconds of an RFC 3339 time with any number of fraction digits up to 9.

    Raises DecimalError with the text when it is none; a time without a zone is refused.
    """
    body = text.strip()
    zone = "+00:00"
    if body.endswith(("Z", "z")):
        body = body[:-1]
    elif len(body) > 6 and body[-6] in "+-" and body[-3] == ":":
        body, zone = body[:-6], body[-6:]
    else:
        raise DecimalError(f'"{text}" is not a time with a zone', hint="write 2024-06-01T12:00:00.5Z")
    seconds_text, _, fraction = body.partition(".")
    try:
        whole = datetime.fromisoformat(seconds_text.replace(" ", "T") + zone)
        nanoseconds = int(fraction.ljust(9, "0")) if fraction else 0
    except ValueError:
        raise DecimalError(f'"{text}" is not a time', hint="write 2024-06-01T12:00:00.5Z") from None
    if len(fraction) > 9:
        raise DecimalError(f'"{text}" has more than nine digits of a second')
    return int(whole.timestamp()) * SECOND_NS + nanoseconds
