"""A keyring of a test's own in the place of the package `keyring`, installed or not."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest


class Keyring:
    """What stands in it, what it was asked, and what it raises instead of an answer."""

    def __init__(self, **entries: str) -> None:
        self.entries = entries
        self.asked: list[tuple[str, str]] = []
        self.failure: Exception | None = None

    def get_password(self, service: str, name: str) -> str | None:
        """As the package's own function."""
        self.asked.append((service, name))
        if self.failure is not None:
            raise self.failure
        return self.entries.get(name)


class NoKeyringError(Exception):
    """What the package raises where a system has no keyring."""


def use(keyring: Keyring, patch: pytest.MonkeyPatch) -> None:
    """Put it in the place of the package, until the test is over."""
    package, errors = ModuleType("keyring"), ModuleType("keyring.errors")
    package.__spec__ = ModuleSpec("keyring", None)
    package.get_password = keyring.get_password  # type: ignore[attr-defined]
    package.errors = errors  # type: ignore[attr-defined]
    errors.NoKeyringError = NoKeyringError  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "keyring", package)
    patch.setitem(sys.modules, "keyring.errors", errors)


def use_none(patch: pytest.MonkeyPatch) -> None:
    """The package is not installed."""
    patch.setattr("engine.live.credentials.find_spec", lambda _name: None)
