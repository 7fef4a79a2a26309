"""Which failed call is made again, when, and what it may have cost: a table, without any I/O.

| what came                                   | again | trouble of the other side | may be billed |
|---------------------------------------------|-------|---------------------------|---------------|
| 400, 401, 402, 403, 404, 413, all below 500 | no    | no                        | no            |
| 429, also one that says: not so fast a rise | yes   | no                        | no            |
| 429 with another error code: a spend limit  | no    | no                        | no            |
| 408, 504: it was given up on the other side | yes   | yes                       | yes           |
| other 5xx, 529 among them                   | yes   | yes                       | no            |
| no answer in time, the connection was lost  | yes   | yes                       | yes           |
| no connection came about                    | yes   | yes                       | no            |

The wait doubles from call to call up to a cap, and half of it is chance, so that many callers do not come
back at once. Who says when to come back (Retry-After) is believed, up to a cap of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from engine.model.errors import DecimalError
from engine.model.units import MILLISECOND_NS, SECOND_NS, parse_decimal, parse_time

_RAMP = "ramp_limit_exceeded"  # usage grows too fast: the one code that time alone cures
_LIMIT_HEADER = "anthropic-ratelimit-"


class Failure(msgspec.Struct, frozen=True):
    """A call that brought no message. `status` 0: nothing came back at all."""

    status: int = 0
    error: str = ""  # in words
    error_code: str = ""  # the API's own, of a 429
    sent: bool = True  # the other side may have got it
    retry_after_ns: int = 0


class BackOff(msgspec.Struct, frozen=True):
    """Waits between the calls of one question, ns."""

    base_ns: int = 500 * MILLISECOND_NS
    cap_ns: int = 8 * SECOND_NS
    retry_after_cap_ns: int = 60 * SECOND_NS


def is_retried(failure: Failure) -> bool:
    """Whether the same call may succeed later."""
    if failure.status == 429:
        return failure.error_code in {"", _RAMP}
    return failure.status in {0, 408} or failure.status >= 500


def is_trouble(failure: Failure) -> bool:
    """Whether it counts for the circuit breaker: the other side did not do its work."""
    return failure.status in {0, 408} or failure.status >= 500


def may_be_billed(failure: Failure) -> bool:
    """Whether the model may have worked for it, although nothing came of it."""
    return failure.sent if failure.status == 0 else failure.status in {408, 504}


def wait_ns(back_off: BackOff, attempt: int, chance: Callable[[], float], retry_after_ns: int = 0) -> int:
    """How long to wait after the `attempt`-th call (from 1); `chance` draws from [0, 1)."""
    full = min(back_off.cap_ns, back_off.base_ns << min(attempt - 1, 40))
    half = full // 2
    return max(half + int(half * chance()), min(retry_after_ns, back_off.retry_after_cap_ns))


def retry_after_ns(headers: Mapping[str, str]) -> int:
    """What Retry-After says, in seconds; 0 for none and for what is no number (our own wait does)."""
    try:
        return max(0, parse_decimal(headers.get("retry-after", ""), 9))
    except DecimalError:
        return 0


def hold_ns(headers: Mapping[str, str], now_ns: int, cap_ns: int) -> int:
    """How long no call makes sense: until the latest reset of a limit of which nothing remains.

    `headers` have lower-case names; `now_ns` is the time of day, UTC. Headers that say nothing that can be
    read hold nobody back: the answer to the next call will say it again.
    """
    until = now_ns
    for name, value in headers.items():
        if name.startswith(_LIMIT_HEADER) and name.endswith("-remaining") and value.strip() == "0":
            try:
                until = max(until, parse_time(headers.get(name.removesuffix("remaining") + "reset", "")))
            except DecimalError:
                continue
    return min(until - now_ns, cap_ns)
