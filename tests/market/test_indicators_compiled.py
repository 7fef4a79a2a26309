"""Every indicator, compiled from the source of its `update`, gives the bits that Python gives.

The compilation here is the smallest that can be: an instance becomes a NumPy record (lists are fixed arrays,
indicators nested records), `update` a function over it, calls of a nested `update` calls of that function.
So whoever compiles a strategy can rely on what the package promises: attributes of these kinds, no more.
"""

from __future__ import annotations

import ast
import inspect
import math
import random
import textwrap
from typing import Any

import numpy as np
import pytest

import engine
from tests.helpers.kernels import kernel

SEED = 20
COUNT = 700

INDICATORS: dict[str, tuple[Any, int]] = {  # made anew for each test; how many arguments `update` takes
    "Ema": (lambda: engine.Ema(9), 1),
    "Sma": (lambda: engine.Sma(9), 1),
    "Rsi": (lambda: engine.Rsi(14), 1),
    "Macd": (lambda: engine.Macd(5, 12, 4), 1),
    "Atr": (lambda: engine.Atr(14), 3),
    "Bollinger": (lambda: engine.Bollinger(20, 2.5), 1),
    "Vwap": (engine.Vwap, 2),
    "RollingVwap": (lambda: engine.RollingVwap(17), 2),
    "ZScore": (lambda: engine.ZScore(30), 1),
    "RealisedVolatility": (lambda: engine.RealisedVolatility(25), 1),
    "OrderFlowImbalance": (lambda: engine.OrderFlowImbalance(10), 4),
    "Microprice": (engine.Microprice, 4),
    "RollingSum": (lambda: engine.RollingSum(8), 1),
    "RollingMin": (lambda: engine.RollingMin(8), 1),
    "RollingMax": (lambda: engine.RollingMax(8), 1),
    "StandardDeviation": (lambda: engine.StandardDeviation(8), 1),
}


def inputs(arguments: int) -> list[tuple[float, ...]]:
    """Seeded prices, bars, trades or quotes, each a walk of cents with sizes in thousandths."""
    chance = random.Random(SEED)
    price, rows = 5_000, []
    for _ in range(COUNT):
        price += chance.randint(-40, 40)
        up, down = chance.randint(0, 30), chance.randint(1, 30)
        size, other = chance.randint(0, 9000) / 1000, chance.randint(1, 9000) / 1000
        rows.append(
            {
                1: (price / 100,),
                2: (price / 100, size),
                3: ((price + up) / 100, (price - down) / 100, price / 100),
                4: ((price - down) / 100, size, (price + up) / 100, other),
            }[arguments]
        )
    return rows


def layout(indicator: Any) -> list[tuple[Any, ...]]:
    """Record fields of an instance."""
    fields: list[tuple[Any, ...]] = []
    for name in indicator.__slots__:
        value = getattr(indicator, name)
        if isinstance(value, list):
            assert all(type(item) is float for item in value), name
            fields.append((name, "<f8", (len(value),)))
        elif type(value) in {bool, int, float}:
            fields.append((name, {bool: "?", int: "<i8", float: "<f8"}[type(value)]))
        else:
            fields.append((name, layout(value)))
    return fields


def fill(record: Any, indicator: Any) -> None:
    """Copy an instance's fields into its record."""
    for name in indicator.__slots__:
        value = getattr(indicator, name)
        if isinstance(value, list | bool | int | float):
            record[name] = value
        else:
            fill(record[name], value)


def fields_of(indicator: Any) -> list[Any]:
    """All fields of an instance or of its record, nested ones in place."""
    slots = getattr(indicator, "__slots__", None) or indicator.dtype.names
    found: list[Any] = []
    for name in slots:
        value = getattr(indicator, name) if hasattr(indicator, "__slots__") else indicator[name]
        if isinstance(value, list | np.ndarray):
            found += [float(item).hex() for item in value]
        elif isinstance(value, bool | np.bool_ | int | np.integer):
            found.append(int(value))
        elif isinstance(value, float | np.floating):
            found.append(float(value).hex())
        else:
            found += fields_of(value)
    return found


class Calls(ast.NodeTransformer):
    """`self.part.update(x)` becomes `part_update(self.part, x)`."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Rewrite one call."""
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "update":
            part = node.func.value
            assert isinstance(part, ast.Attribute)
            return ast.Call(ast.Name(f"{part.attr}_update", ast.Load()), [part, *node.args], [])
        return node


def compiled_update(indicator: Any) -> Any:
    """The kernel function of an instance's `update`, made of its source."""
    names: dict[str, Any] = {"math": math}
    for name in indicator.__slots__:
        part = getattr(indicator, name)
        if hasattr(part, "update"):
            names[f"{name}_update"] = compiled_update(part)
    tree = ast.parse(textwrap.dedent(inspect.getsource(type(indicator).update)))
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.returns = None
    for argument in function.args.args:
        argument.annotation = None
    exec(compile(ast.fix_missing_locations(Calls().visit(tree)), "<update>", "exec"), names)  # noqa: S102
    return kernel()(names["update"])


@pytest.mark.parametrize("name", INDICATORS)
def test_the_compiled_indicator_has_the_same_bits(name: str) -> None:
    """Every value on the way, and every field at the end, after 700 updates (seed 20)."""
    make, arguments = INDICATORS[name]
    indicator = make()
    rows = inputs(arguments)
    records = np.zeros(1, np.dtype(layout(indicator)))
    fill(records[0], indicator)
    update = compiled_update(indicator)
    call = ", ".join(f"rows[i, {k}]" for k in range(arguments))
    source = (
        f"def run(records, rows, out):\n for i in range(len(rows)):\n  out[i] = update(records[0], {call})"
    )
    names: dict[str, Any] = {"update": update}
    exec(source, names)  # noqa: S102
    out = np.zeros(len(rows))
    kernel()(names["run"])(records, np.array(rows), out)
    values = [indicator.update(*row) for row in rows]
    assert [float(x).hex() for x in out] == [value.hex() for value in values]
    assert len(set(values)) > COUNT // 20, "the series says nothing about the indicator"
    assert fields_of(records[0]) == fields_of(indicator)


@pytest.mark.parametrize("name", INDICATORS)
def test_an_update_sets_no_field_that_init_did_not_and_keeps_their_kinds(name: str) -> None:
    """What a record needs: the same fields of the same types and lengths, before and after."""
    make, arguments = INDICATORS[name]
    indicator = make()
    before = layout(indicator)
    for row in inputs(arguments):
        indicator.update(*row)
    assert layout(indicator) == before
    assert not hasattr(indicator, "__dict__")


def test_every_exported_indicator_is_here() -> None:
    """A new indicator joins the table above."""
    exported = {name for name in engine.__all__ if hasattr(getattr(engine, name), "update")}
    assert exported == set(INDICATORS)
