"""What an indicator may be made with: the checks of `__init__`, in the words of a user's mistake."""

from __future__ import annotations

from engine.model.errors import UsageError


def length(name: str, n: int) -> int:
    """A window's length, or UsageError."""
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise UsageError(f"{name}({n!r}): the length must be a whole number of 1 or more")
    return n
