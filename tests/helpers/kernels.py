"""Kernels of a test's own: helpers have no way in from Python, these call them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from engine.model import jit

F = TypeVar("F", bound=Callable[..., Any])


def kernel(signature: str | None = None) -> Callable[[F], F]:
    """Decorator: compiled here and now, as the engine's kernels are, for this process alone."""

    def decorate(function: F) -> F:
        njit = jit.numba().njit
        return cast(
            "F", (njit(signature, error_model="numpy") if signature else njit(error_model="numpy"))(function)
        )

    return decorate
