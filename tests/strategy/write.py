"""Writes strategies for tests."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent


def write_strategy(
    folder: Path, body: str = "", *, top: str = "", start: str = "", name: str = "mine"
) -> Path:
    """A file with one strategy: `top` stands at module level, `body` inside on_trade(self, ctx, trade).

    `start` stands inside on_start(self, ctx), if there is any.
    """
    path = folder / f"{name}.py"
    path.write_text(
        "import engine\n"
        + dedent(top).strip("\n")
        + "\n\nclass Mine(engine.Strategy):\n"
        + (f"    def on_start(self, ctx):\n{indent(dedent(start), ' ' * 8)}\n\n" if start else "")
        + "    def on_trade(self, ctx, trade):\n"
        + indent(dedent(body).strip("\n") or "pass", "        ")
        + "\n"
    )
    return path
