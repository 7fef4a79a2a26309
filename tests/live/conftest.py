"""Fixtures of tests that open WebSockets."""

from __future__ import annotations

import pytest

from engine.live.transport import NAMES, VARIABLE


@pytest.fixture(params=NAMES)
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every implementation in turn."""
    name = str(request.param)
    monkeypatch.setenv(VARIABLE, name)
    return name
