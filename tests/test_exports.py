"""What `import engine` offers, to whom, and at what price."""

from __future__ import annotations

import subprocess
import sys

import pytest

import engine

# A strategy author's names. Adding one is a promise, removing one breaks strategies: change it here too.
EXPORTS = [
    "Answer",
    "Atr",
    "Bar",
    "Bollinger",
    "Book",
    "BookUpdate",
    "Context",
    "Corporate",
    "Ema",
    "Fill",
    "Instrument",
    "Macd",
    "Microprice",
    "News",
    "OpenOrder",
    "OrderFlowImbalance",
    "OrderUpdate",
    "Prompt",
    "Quote",
    "RealisedVolatility",
    "RollingMax",
    "RollingMin",
    "RollingSum",
    "RollingVwap",
    "Rsi",
    "Sma",
    "StandardDeviation",
    "Status",
    "Strategy",
    "Trade",
    "Vwap",
    "ZScore",
    "compiled",
    "microprice",
    "prompt",
]
HEAVY = (
    "duckdb",
    "numba",
    "numpy",
    "polars",
    "pyarrow",
    "rich",
    "websockets",
    "asyncio",
    "httpx2",
    "anthropic",
)


def modules_after(program: str) -> set[str]:
    """Top-level modules that a fresh Python has loaded after running `program`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sorted(sys.modules), file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in done.stderr.split()}


def test_the_front_door_has_these_names_and_no_others() -> None:
    """`engine.__all__` is the list above."""
    assert engine.__all__ == EXPORTS


@pytest.mark.parametrize("name", EXPORTS)
def test_every_name_is_there(name: str) -> None:
    """Each exported name can be taken from the package and is documented."""
    value = getattr(engine, name)
    assert value.__doc__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """A misspelt name fails as on any module."""
    with pytest.raises(AttributeError, match="Strateggy"):
        _ = engine.Strateggy


@pytest.mark.parametrize(
    "program",
    [
        "import engine",
        "from engine.cli.main import main; main(['--help'])",
        "from engine.cli.main import main; main(['log', '--help'])",
    ],
    ids=["import engine", "engine --help", "engine log --help"],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(program: str) -> None:
    """Importing the package or asking for help loads none of the heavy libraries."""
    assert not modules_after(program) & set(HEAVY)
