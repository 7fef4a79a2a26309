"""Fixtures that every test folder shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.model import image


def pytest_configure() -> None:
    """The kernels are there before the first module of the engine is imported, in every process of a run."""
    if not image.is_compiled():
        image.build()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real captures, or a skip where this machine has none."""
    folder = os.environ.get("ENGINE_TEST_DATA")
    if not folder:
        pytest.skip("ENGINE_TEST_DATA is not set: no captured market data on this machine")
    return Path(folder)
