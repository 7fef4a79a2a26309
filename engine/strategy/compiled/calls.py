"""Calls: Python's own functions that have an exact form, the author's functions, and methods of objects."""

from __future__ import annotations

import ast
import builtins
import difflib
import inspect
import math
from abc import abstractmethod
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from engine.strategy.compiled.arithmetic import NUMBERS, TOO_LARGE
from engine.strategy.compiled.core import Value
from engine.strategy.compiled.kinds import (
    BOOL,
    FLOAT,
    INT,
    NONE,
    NP_BOOL,
    NP_FLOAT,
    NP_INT,
    ArrayKind,
    BookKind,
    ListKind,
    Maybe,
    ObjectKind,
)
from engine.strategy.compiled.source import Source, source_of
from engine.strategy.compiled.values import CONTEXT_NAMES, Values

MISSING = object()
_CPU_DEPENDENT = "its last bit differs from CPU to CPU"
_LARGEST_FLOAT = "9223372036854775808.0"


class Calls(Values):
    """Calling."""

    # --- what a name stands for ---

    def static(self, node: ast.expr) -> Any:
        """The Python object that a name of the module stands for; MISSING when it is none."""
        if isinstance(node, ast.Name):
            if node.id in self.locals:
                return MISSING
            space = self.source.function.__globals__
            if node.id in space:
                return space[node.id]
            own = space.get("__builtins__", builtins)
            names = own if isinstance(own, dict) else vars(own)
            # What the sandbox has replaced is refused by name below.
            return getattr(builtins, node.id, MISSING) if node.id in names else MISSING
        if isinstance(node, ast.Attribute):
            base = self.static(node.value)
            if isinstance(base, ModuleType):
                return getattr(base, node.attr, MISSING)
            if isinstance(base, type):
                return inspect.getattr_static(base, node.attr, MISSING)
        return MISSING

    def name_value(self, node: ast.Name) -> Value:
        """The value of a name."""
        if node.id in self.locals:
            return self.read(node.id, node)
        found = self.static(node)
        if found is MISSING:
            self.refuse(node, f'"{node.id}" is used before it has a value, or is not known here')
        return self.global_value(found, node.id, node)

    def global_value(self, found: Any, name: str, node: ast.AST) -> Value:
        """A value that stands in a module."""
        constant = self.constant(found)
        if constant is None:
            self.refuse(
                node,
                f"{name} is a {type(found).__name__} outside the strategy",
                "numbers and texts of the module can be used; anything else is a field that on_start makes",
            )
        return constant

    # --- calls ---

    def call(self, node: ast.Call) -> Value:
        """function(...)."""
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                self.refuse(argument, "*arguments", "write them one by one")
        for keyword in node.keywords:
            if keyword.arg is None:
                self.refuse(keyword.value, "**arguments", "write them one by one")
        found = self.static(node.func)
        if found is not MISSING:
            return self._call_object(found, node)
        if isinstance(node.func, ast.Attribute):
            base = self.expression(node.func.value)
            return self._call_method(base, node.func.attr, node)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        self.refuse(node, f"calling {name or 'the result of an expression'}", "call a function by its name")

    def _call_object(self, found: Any, node: ast.Call) -> Value:
        name = ast.unparse(node.func)
        found = found.__func__ if isinstance(found, staticmethod) else found
        own = _BUILTINS.get(found) if _hashable(found) else None
        if own is not None:
            if node.keywords:
                self.refuse(node, f"{name}() with keywords", "write it out")
            return own(self, [self.expression(a) for a in node.args], node)
        if isinstance(found, FunctionType) and found.__module__ != "engine.strategy.imports":
            source = source_of(found)
            if source.shown or found.__module__.startswith("engine.market."):
                return self.call_function(source, self.bound(source, [], node), node)
        if found is print:
            self.refuse(node, "print()", "write ctx.log(...)")
        if found is sum:
            self.refuse(node, "sum()", "add in a loop: not every Python adds floats alike")
        if isinstance(found, type):
            self.refuse(node, f"making a {found.__name__}", "make it in on_start and keep it in a field")
        module = getattr(found, "__module__", "") or ""
        if module == "math":
            self.refuse(
                node,
                f"{name}(): {_CPU_DEPENDENT}, or it has no compiled form",
                "math.sqrt, floor, ceil are exact",
            )
        if module.startswith("numpy") or type(found).__module__.startswith("numpy"):
            self.refuse(node, f"{name}(): NumPy adds and rounds in an order of its own", "write the loop")
        self.refuse(node, f"{name}() has no compiled form", "write it out with loops and numbers")

    def _call_method(self, base: Value, name: str, node: ast.Call) -> Value:
        kind = base.kind
        if kind.name == "Context":
            if name in {"ask", "because"}:
                where = "ask in on_news, on_status or on_answer, which run in Python"
                self.refuse(node, f"ctx.{name}() has no compiled form", where)
            if name not in CONTEXT_NAMES:
                close = difflib.get_close_matches(name, CONTEXT_NAMES, n=1)
                self.refuse(node, f"ctx has no {name}()", f'did you mean "{close[0]}"' if close else "")
            return self.context_call(name, node)
        if kind.name == "Random":
            return self.random_call(name, node)
        base = self.certain(base, node, "AttributeError", f"'NoneType' object has no attribute '{name}'")
        kind = base.kind
        if isinstance(kind, ObjectKind):
            found = inspect.getattr_static(kind.shape.cls, name, None)
            if isinstance(found, FunctionType):
                source = source_of(found)
                return self.call_function(source, self.bound(source, [base], node), node)
            if isinstance(found, staticmethod) and isinstance(found.__func__, FunctionType):
                source = source_of(found.__func__)
                return self.call_function(source, self.bound(source, [], node), node)
            close = difflib.get_close_matches(name, dir(kind.shape.cls), n=1)
            self.refuse(
                node,
                f"{kind.name} has no method {name}",
                f'did you mean "{close[0]}"' if found is None and close else "write it as a plain method",
            )
        if isinstance(kind, BookKind) and name == "imbalance":
            return self._imbalance(base, node)
        way_out = "a list keeps the length that on_start gave it: write into its items"
        if not isinstance(kind, ListKind | ArrayKind):
            way_out = "numbers only: keep words for ctx.log" if kind.name == "str" else ""
        self.refuse(node, f"{kind.name}.{name}()", way_out)

    def _imbalance(self, base: Value, node: ast.Call) -> Value:
        index, depth = base.parts
        (levels,) = self.given(node, (("levels", 5),))
        wanted = self.whole(levels, node)
        self.fail_if(
            self.make(f"icmp slt i64 {wanted}, 0"),
            node,
            "ValueError",
            "imbalance(levels): levels is negative",
        )
        fewer = self.make(f"icmp slt i64 {wanted}, {depth}")
        most = self.select(fewer, "i64", wanted, depth)
        return Value(FLOAT, (self.operation("imbalance", f"i64 {index}", f"i64 {most}", result="double"),))

    def given(self, node: ast.Call, names: tuple[tuple[str, Any], ...]) -> list[Value]:
        """A call's arguments by position; a default of `...` must be given."""
        if len(node.args) > len(names):
            self.refuse(node, f"{ast.unparse(node.func)}() takes {len(names)} arguments")
        found: dict[str, Value] = {
            name: self.expression(argument) for (name, _), argument in zip(names, node.args, strict=False)
        }
        for keyword in node.keywords:
            if keyword.arg in found or keyword.arg not in dict(names):
                self.refuse(node, f"{ast.unparse(node.func)}({keyword.arg}=...)", "see its signature")
            found[str(keyword.arg)] = self.expression(keyword.value)
        values = []
        for name, default in names:
            if name in found:
                values.append(found[name])
            elif default is ...:
                self.refuse(node, f"{ast.unparse(node.func)}() lacks {name}")
            else:
                constant = self.constant(default)
                assert constant is not None
                values.append(constant)
        return values

    def bound(self, source: Source, first: list[Value], node: ast.Call) -> list[Value]:
        """A call's arguments in the order of an author's function."""
        spec = source.node.args
        if spec.vararg or spec.kwarg:
            self.refuse(node, f"{source.name}(*arguments)", "name the arguments")
        positional = [a.arg for a in (*spec.posonlyargs, *spec.args)]
        names = positional + [a.arg for a in spec.kwonlyargs]
        values: dict[str, Value] = dict(zip(positional, first, strict=False))
        rest = positional[len(first) :]
        if len(node.args) > len(rest):
            self.refuse(node, f"{source.name}() is given too many arguments")
        for name, argument in zip(rest, node.args, strict=False):
            values[name] = self.expression(argument)
        for keyword in node.keywords:
            if keyword.arg not in names or keyword.arg in values:
                self.refuse(node, f"{source.name}({keyword.arg}=...)", "see its signature")
            values[str(keyword.arg)] = self.expression(keyword.value)
        defaults = source.function.__defaults__ or ()
        known = dict(zip(positional[len(positional) - len(defaults) :], defaults, strict=True))
        known.update(source.function.__kwdefaults__ or {})
        for name in names:
            if name in values:
                continue
            if name not in known:
                self.refuse(node, f"{source.name}() lacks {name}")
            constant = self.constant(known[name])
            if constant is None:
                self.refuse(node, f"{source.name}(): the default of {name} is no number")
            values[name] = constant
        return [values[name] for name in names]

    def call_function(self, source: Source, arguments: list[Value], node: ast.AST) -> Value:
        """Call a function of the author's, or of the engine's that may be compiled."""
        function = self.program.function(source, tuple(value.kind for value in arguments), self, node)
        given = ["ptr %state", "ptr %record"]
        for value in arguments:
            given += [f"{kind} {part}" for kind, part in zip(value.kind.parts, value.parts, strict=True)]
        returns = function.returns or NONE
        slots = [self.slot(part) for part in returns.parts]
        given += [f"ptr {slot}" for slot in slots]
        status = self.make(f"call i64 @{function.name}({', '.join(given)})")
        self.pass_on(status, node, own=bool(source.shown))
        return Value(
            returns, tuple(self.load(part, slot) for part, slot in zip(returns.parts, slots, strict=True))
        )

    # --- numbers ---

    def number(self, value: Value, node: ast.AST, what: str = "float") -> str:
        """A number as a float, as float(...) makes one."""
        message = f"{what}() argument must be a string or a real number, not 'NoneType'"
        value = self.certain(value, node, "TypeError", message)
        if value.kind not in (*NUMBERS, NP_FLOAT, NP_INT, NP_BOOL):
            self.refuse(node, f"{what}({value.kind.name})", "give a number")
        return self.as_float(value)

    def whole(self, value: Value, node: ast.AST) -> str:
        """A whole number where nothing else will do."""
        value = self.certain(
            value, node, "TypeError", "'NoneType' object cannot be interpreted as an integer"
        )
        if value.kind not in (INT, BOOL, NP_INT):
            self.refuse(node, f"a {value.kind.name} where a whole number is needed", "write int(...)")
        return self.as_int(value)

    def truncated(self, x: str, node: ast.AST) -> str:
        """A float without a fraction as a whole number; fails as Python's int() does."""
        unordered = self.make(f"fcmp uno double {x}, 0.0")
        self.fail_if(unordered, node, "ValueError", "cannot convert float NaN to integer")
        size = self.make(f"call double @llvm.fabs.f64(double {x})")
        endless = self.make(f"fcmp oeq double {size}, 0x7FF0000000000000")
        self.fail_if(endless, node, "OverflowError", "cannot convert float infinity to integer")
        large = self.make(f"fcmp oge double {size}, {_LARGEST_FLOAT}")
        self.fail_if(large, node, "OverflowError", TOO_LARGE)
        return self.make(f"fptosi double {x} to i64")

    @abstractmethod
    def context_call(self, name: str, node: ast.Call) -> Value:
        """ctx.name(...)."""

    @abstractmethod
    def random_call(self, name: str, node: ast.Call) -> Value:
        """ctx.random.name(...)."""


# --- Python's own ---


def _one(code: Calls, values: list[Value], node: ast.Call) -> Value:
    if len(values) != 1:
        code.refuse(node, f"{ast.unparse(node.func)}() with {len(values)} arguments")
    return values[0]


def _abs(code: Calls, values: list[Value], node: ast.Call) -> Value:
    value = code.certain(
        _one(code, values, node), node, "TypeError", "bad operand type for abs(): 'NoneType'"
    )
    if value.kind in (FLOAT, NP_FLOAT):
        return Value(value.kind, (code.make(f"call double @llvm.fabs.f64(double {value.parts[0]})"),))
    if value.kind not in (INT, BOOL):
        code.refuse(node, f"abs() of {value.kind.name}")
    whole = code.as_int(value)
    code.fail_if(code.make(f"icmp eq i64 {whole}, {-(2**63)}"), node, "OverflowError", TOO_LARGE)
    return Value(INT, (code.make(f"call i64 @llvm.abs.i64(i64 {whole}, i1 true)"),))


def _extreme(operator: ast.cmpop) -> Callable[[Calls, list[Value], ast.Call], Value]:
    def made(code: Calls, values: list[Value], node: ast.Call) -> Value:
        name = ast.unparse(node.func)
        if len(values) < 2:
            if values and isinstance(values[0].kind, ListKind):
                code.refuse(node, f"{name}() of a list", "write the loop")
            code.refuse(node, f"{name}() with {len(values)} arguments")
        best = values[0]
        for value in values[1:]:
            if isinstance(best.kind, Maybe) or isinstance(value.kind, Maybe):
                best, value = code.operands(best, value, node, "<" if name == "min" else ">")  # noqa: PLW2901
            if best.kind != value.kind or best.kind not in (INT, FLOAT):
                code.refuse(
                    node,
                    f"{name}() of {best.kind.name} and {value.kind.name}",
                    "give numbers of one kind: 0.0 beside floats",
                )
            bit = code.compare(operator, value, best, node)
            best = Value(best.kind, (code.select(bit, best.kind.parts[0], value.parts[0], best.parts[0]),))
        return best

    return made


def _len(code: Calls, values: list[Value], node: ast.Call) -> Value:
    value = code.certain(
        _one(code, values, node), node, "TypeError", "object of type 'NoneType' has no len()"
    )
    return Value(INT, (code.length(value, node),))


def _int(code: Calls, values: list[Value], node: ast.Call) -> Value:
    message = "int() argument must be a string, a bytes-like object or a real number, not 'NoneType'"
    value = code.certain(_one(code, values, node), node, "TypeError", message)
    if value.kind in (FLOAT, NP_FLOAT):
        return Value(INT, (code.truncated(value.parts[0], node),))
    if value.kind not in (INT, BOOL, NP_INT, NP_BOOL):
        code.refuse(node, f"int() of {value.kind.name}")
    return Value(INT, (code.as_int(value),), value.known if value.kind == INT else None)


def _float(code: Calls, values: list[Value], node: ast.Call) -> Value:
    return Value(FLOAT, (code.number(_one(code, values, node), node),))


def _bool(code: Calls, values: list[Value], node: ast.Call) -> Value:
    return code.boolean(code.truth(_one(code, values, node), node))


def _round(code: Calls, values: list[Value], node: ast.Call) -> Value:
    if len(values) != 1:
        code.refuse(
            node,
            "round() to a number of digits",
            "ctx.round_price and ctx.round_size round to an instrument's increments",
        )
    value = code.certain(values[0], node, "TypeError", "type NoneType doesn't define __round__ method")
    if value.kind in (INT, BOOL):
        return Value(INT, (code.as_int(value),))
    if value.kind != FLOAT:
        code.refuse(node, f"round() of {value.kind.name}")
    rounded = code.make(f"call double @llvm.roundeven.f64(double {value.parts[0]})")
    return Value(INT, (code.truncated(rounded, node),))


def _towards(name: str) -> Callable[[Calls, list[Value], ast.Call], Value]:
    def made(code: Calls, values: list[Value], node: ast.Call) -> Value:
        value = code.certain(_one(code, values, node), node, "TypeError", "must be real number, not NoneType")
        if value.kind in (INT, BOOL):
            return Value(INT, (code.as_int(value),))
        if value.kind != FLOAT:
            code.refuse(node, f"math.{name}() of {value.kind.name}")
        return Value(
            INT, (code.truncated(code.make(f"call double @llvm.{name}.f64(double {value.parts[0]})"), node),)
        )

    return made


def _real(code: Calls, values: list[Value], node: ast.Call) -> str:
    value = code.certain(_one(code, values, node), node, "TypeError", "must be real number, not NoneType")
    return code.number(value, node)


def _sqrt(code: Calls, values: list[Value], node: ast.Call) -> Value:
    x = _real(code, values, node)
    code.fail_if(code.make(f"fcmp olt double {x}, 0.0"), node, "ValueError", "math domain error")
    return Value(FLOAT, (code.make(f"call double @llvm.sqrt.f64(double {x})"),))


def _fabs(code: Calls, values: list[Value], node: ast.Call) -> Value:
    return Value(FLOAT, (code.make(f"call double @llvm.fabs.f64(double {_real(code, values, node)})"),))


def _isnan(code: Calls, values: list[Value], node: ast.Call) -> Value:
    return code.boolean(code.make(f"fcmp uno double {_real(code, values, node)}, 0.0"))


def _finite(operator: str) -> Callable[[Calls, list[Value], ast.Call], Value]:
    def made(code: Calls, values: list[Value], node: ast.Call) -> Value:
        size = code.make(f"call double @llvm.fabs.f64(double {_real(code, values, node)})")
        return code.boolean(code.make(f"fcmp {operator} double {size}, 0x7FF0000000000000"))

    return made


def _copysign(code: Calls, values: list[Value], node: ast.Call) -> Value:
    if len(values) != 2:
        code.refuse(node, f"math.copysign() with {len(values)} arguments")
    x, y = code.number(values[0], node), code.number(values[1], node)
    return Value(FLOAT, (code.make(f"call double @llvm.copysign.f64(double {x}, double {y})"),))


_BUILTINS: dict[Any, Callable[[Calls, list[Value], ast.Call], Value]] = {
    abs: _abs,
    min: _extreme(ast.Lt()),
    max: _extreme(ast.Gt()),
    len: _len,
    int: _int,
    float: _float,
    bool: _bool,
    round: _round,
    math.floor: _towards("floor"),
    math.ceil: _towards("ceil"),
    math.trunc: _towards("trunc"),
    math.sqrt: _sqrt,
    math.fabs: _fabs,
    math.isnan: _isnan,
    math.isfinite: _finite("olt"),
    math.isinf: _finite("oeq"),
    math.copysign: _copysign,
}


def _hashable(found: Any) -> bool:
    return isinstance(found, type) or callable(found)
