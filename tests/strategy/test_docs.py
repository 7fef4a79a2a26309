"""The page on writing strategies cannot rot: its examples load, its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import engine
from engine.strategy.api import HANDLERS, Context
from engine.strategy.loader import load_strategy, shipped_names

PAGE = (Path(__file__).parents[2] / "docs" / "strategies.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_every_example_is_a_strategy(tmp_path: Path, number: int) -> None:
    """Each block can be copied into a file and loaded."""
    path = tmp_path / "example.py"
    path.write_text(EXAMPLES[number], encoding="utf-8")
    assert load_strategy(str(path)).handlers


def test_the_first_example_is_the_shipped_default(tmp_path: Path) -> None:
    """What the page shows first has the shipped one's parameters and handlers."""
    path = tmp_path / "example.py"
    path.write_text(EXAMPLES[0], encoding="utf-8")
    shown, shipped = load_strategy(str(path)), load_strategy("ema_cross")
    assert (shown.parameters, shown.handlers) == (shipped.parameters, shipped.handlers)


@pytest.mark.parametrize("name", [h for h in HANDLERS if h != "on_answer"])
def test_every_handler_has_its_line(name: str) -> None:
    """The table of handlers is complete (answers are not delivered yet)."""
    assert f"| `{name}(self, ctx" in PAGE


@pytest.mark.parametrize("name", [n for n in vars(Context) if not n.startswith("_")])
def test_every_method_of_the_context_is_named(name: str) -> None:
    """The table of ctx is complete."""
    assert f"ctx.{name}" in PAGE


@pytest.mark.parametrize(
    "event", ["Trade", "Quote", "BookUpdate", "Bar", "News", "Status", "Fill", "OrderUpdate"]
)
def test_the_fields_it_names_exist(event: str) -> None:
    """A field in the table of handlers is a field or property of the event."""
    match = re.search(rf"`{event}`: ([^|]+)", PAGE)
    assert match
    names = [n for part in re.findall(r"`([^`]+)`", match.group(1)) for n in re.findall(r"[a-z_]+", part)]
    assert names
    assert [n for n in names if not hasattr(getattr(engine, event), n)] == []


def test_every_shipped_strategy_is_named() -> None:
    """Whoever adds one adds it to the page."""
    assert [name for name in shipped_names() if f"`{name}`" not in PAGE] == []
