"""How long an order lives, as authors write it: for the interpreted context and the compiler alike."""

from __future__ import annotations

from engine.execution.orders import TimeInForce
from engine.model.errors import UsageError

TIMES_IN_FORCE = {tif.name.lower(): int(tif) for tif in TimeInForce}
UNTIL = "gtd"


def time_in_force(call: str, tif: str, until: int | None) -> tuple[int, int]:
    """The code of a time in force, and the time (ns) until which it lasts, 0 without one; UsageError."""
    code = TIMES_IN_FORCE.get(tif)
    if code is None:
        raise UsageError(
            f'{call}(tif="{tif}"): no such time in force', hint=f"one of {', '.join(TIMES_IN_FORCE)}"
        )
    if (tif == UNTIL) != (until is not None):
        given = "" if until is None else ", until=..."
        raise UsageError(
            f'{call}(tif="{tif}"{given}): only "{UNTIL}" has an end, and needs one',
            hint=f'write tif="{UNTIL}", until=ctx.now + 60_000_000_000',
        )
    return code, 0 if until is None else int(until)
