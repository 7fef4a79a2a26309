"""When a planned fault strikes, as users write it: the end of NAME[:DURATION][:WHEN]."""

from __future__ import annotations

import re

_COUNTED = re.compile(r"(every|first)([1-9][0-9]{0,8})")


def when_of(text: str) -> dict[str, int | float] | None:
    """`every` or `first` of "every3" and "first1", `chance` of "0.3"; None for anything else."""
    if counted := _COUNTED.fullmatch(text):
        return {counted[1]: int(counted[2])}
    try:
        chance = float(text)
    except ValueError:
        return None
    return {"chance": chance} if 0 <= chance <= 1 else None
