"""Reads a strategy's source before it runs and refuses what would make two runs differ.

It follows names through imports and their aliases (`from time import time as t`, `np.random`), finds
calls of refused builtins, loops over sets, coroutines, and attributes that lead into Python's innards.
It reads; it does not run: what is assembled at run time (`getattr(numpy, "ran" + "dom")`) is left to the
imports and the audit hook, and what those miss to `engine verify`.

Sets: iterating one of text differs with every process. The lint knows a set from its literal,
comprehension, constructor, operators and annotations, in local names (the latest assignment decides)
and in attributes; len, min, max, any, all, sorted and `in` are fine, since they do not see the order.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from engine.model.errors import StrategyError
from engine.strategy.rules import (
    ADDRESS,
    BESIDE,
    BUILTINS_REFUSED,
    CLOCK,
    CPU_DEPENDENT,
    EMPTY,
    INNARDS,
    PYTHON,
    SET_ORDER,
    Refusal,
    module_refusal,
    name_refusal,
)

NOT_BESIDE = Refusal("leaves the strategy's folder", "put the file beside the strategy: import helper")

_SHOWN_MAX = 10
_SET_OPERATORS = (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)
_SET_METHODS = frozenset(("union", "intersection", "difference", "symmetric_difference", "copy"))
# Calls that see the order of what they are given.
_ORDERED_CALLS = frozenset(
    ("list", "tuple", "iter", "next", "enumerate", "zip", "map", "filter", "reversed", "sum", "dict", "str")
) | {"repr", "format", "print"}
_KEYED_CALLS = frozenset(("min", "max"))  # ties are settled by order when there is a key


@dataclass(frozen=True)
class Finding:
    """One refused construct: where, what, why and what to use instead."""

    line: int
    what: str
    refusal: Refusal


@dataclass
class Lint:
    """What reading one file found: refusals, files beside it that it imports, CPU-dependent calls."""

    findings: list[Finding] = field(default_factory=list)
    siblings: list[str] = field(default_factory=list)
    cpu_dependent: list[str] = field(default_factory=list)


def lint(tree: ast.Module, siblings: frozenset[str] = frozenset()) -> Lint:
    """Read one module; `siblings` are the names of importable files beside it."""
    reader = _Reader(siblings)
    reader.visit(tree)
    reader.result.findings.sort(key=lambda finding: finding.line)
    return reader.result


def refuse_findings(shown: str, findings: list[Finding]) -> None:
    """Raise StrategyError naming every finding by file and line; nothing when there are none."""
    if not findings:
        return
    lines = [f"{shown}:{f.line}: {f.what} {f.refusal.why}" for f in findings[:_SHOWN_MAX]]
    if len(findings) > _SHOWN_MAX:
        lines.append(f"… and {len(findings) - _SHOWN_MAX} more")
    hints = dict.fromkeys(finding.refusal.instead for finding in findings[:_SHOWN_MAX])
    raise StrategyError("\n".join(lines), hint="; ".join(hints))


class _Reader(ast.NodeVisitor):
    def __init__(self, siblings: frozenset[str]) -> None:
        self.result = Lint()
        self.siblings = siblings
        self.aliases: dict[str, str] = {}  # local name -> dotted name of a module or a name in one
        self.scopes: list[dict[str, bool]] = [{}]  # name -> is it a set, innermost scope last
        self.bound: list[set[str]] = [set()]  # names that the module binds itself, by scope
        self.set_attributes: set[str] = set()

    # -- the frame

    def visit_Module(self, node: ast.Module) -> None:
        for inner in ast.walk(node):  # attributes first: a handler may stand above the assignment
            if isinstance(inner, ast.Assign | ast.AnnAssign):
                targets = inner.targets if isinstance(inner, ast.Assign) else [inner.target]
                value = inner.value
                annotated = isinstance(inner, ast.AnnAssign) and _annotates_set(inner.annotation)
                if annotated or (value is not None and self._is_set(value)):
                    for target in targets:
                        if isinstance(target, ast.Attribute):
                            self.set_attributes.add(target.attr)
                        elif isinstance(inner, ast.AnnAssign) and isinstance(target, ast.Name):
                            self.set_attributes.add(target.id)  # a class field
            if isinstance(inner, ast.FunctionDef | ast.ClassDef):
                self.bound[0].add(inner.name)
        self.generic_visit(node)

    def _add(self, node: ast.AST, what: str, refusal: Refusal) -> None:
        finding = Finding(getattr(node, "lineno", 0), what, refusal)
        if finding not in self.result.findings:
            self.result.findings.append(finding)

    # -- what is imported, and names that mean it

    def visit_Import(self, node: ast.Import) -> None:
        for item in node.names:
            self._import(node, item.name)
            if item.asname:
                self.aliases[item.asname] = item.name
            else:
                top = item.name.partition(".")[0]
                self.aliases[top] = top

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if node.level or module in self.siblings:
            for name in [module] if module else [item.name for item in node.names]:
                self._import_sibling(node, name, node.level)
            return
        refusal = module_refusal(module)
        for item in node.names:
            dotted = f"{module}.{item.name}"
            if item.name == "*":
                self._add(node, f"from {module} import *", Refusal("hides what is imported", "name it"))
                continue
            if refusal is not None:
                self._add(node, dotted, refusal)
            else:
                self._use(node, dotted)
            self.aliases[item.asname or item.name] = dotted

    def _import(self, node: ast.stmt, name: str) -> None:
        if name in self.siblings:
            self._import_sibling(node, name)
            return
        refusal = module_refusal(name)
        if refusal is not None:
            self._add(node, f"import {name}", refusal)

    def _import_sibling(self, node: ast.stmt, name: str, level: int = 0) -> None:
        if level > 1 or "." in name:
            self._add(node, f"import {'.' * level}{name}", NOT_BESIDE)
        elif name not in self.result.siblings:
            self.result.siblings.append(name)

    def _dotted(self, node: ast.AST) -> str | None:
        """The dotted name that an expression means, when it begins with an imported name."""
        if isinstance(node, ast.Name):
            return self.aliases.get(node.id)
        if isinstance(node, ast.Attribute):
            head = self._dotted(node.value)
            return f"{head}.{node.attr}" if head else None
        if isinstance(node, ast.Call):
            literal = _literal_getattr(node)
            head = self._dotted(node.args[0]) if literal else None
            return f"{head}.{literal}" if head else None
        return None

    def _use(self, node: ast.AST, dotted: str) -> None:
        if dotted.partition(".")[0] in self.siblings:
            return
        refusal = name_refusal(dotted)
        if refusal is not None:
            self._add(node, dotted, refusal)
            return
        parts = dotted.split(".")
        if any(".".join(parts[:end]) in CPU_DEPENDENT for end in range(2, len(parts) + 1)):
            self._note(node, dotted)

    def _note(self, node: ast.AST, what: str) -> None:
        text = f"{what} (line {getattr(node, 'lineno', 0)})"
        if text not in self.result.cpu_dependent:
            self.result.cpu_dependent.append(text)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in INNARDS:
            self._add(node, f".{node.attr}", PYTHON)
        dotted = self._dotted(node)
        if dotted:
            self._use(node, dotted)
            if node.attr == "__dict__":
                self._add(node, dotted, PYTHON)
        else:
            self.visit(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            return
        if node.id in INNARDS:
            self._add(node, node.id, PYTHON)
        elif node.id in BUILTINS_REFUSED and not self._is_bound(node.id):
            self._add(node, f"{node.id}()", BUILTINS_REFUSED[node.id])

    def _is_bound(self, name: str) -> bool:
        return name in self.aliases or any(name in scope for scope in self.bound)

    # -- calls

    def visit_Call(self, node: ast.Call) -> None:
        dotted = self._dotted(node)
        if dotted:
            self._use(node, dotted)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "getattr" and not dotted and node.args and self._dotted(node.args[0]):
            self._add(node, f"getattr on {self._dotted(node.args[0])}", PYTHON)
        if name == "getattr" and (_literal_getattr(node) or "") in INNARDS:
            self._add(node, f"getattr(…, {_literal_getattr(node)!r})", PYTHON)
        function = self._dotted(node.func)
        if function == "numpy.ndarray":
            self._add(node, "numpy.ndarray()", EMPTY)
        if function == "numpy.datetime64" and any(
            isinstance(a, ast.Constant) and a.value in ("now", "today") for a in node.args
        ):
            self._add(node, 'numpy.datetime64("now")', CLOCK)
        self._check_order_of(node, name)
        self.generic_visit(node)

    def _check_order_of(self, node: ast.Call, name: str) -> None:
        keyed = name in _KEYED_CALLS and any(k.arg == "key" for k in node.keywords)
        function = node.func
        takes_order = name in _ORDERED_CALLS or keyed
        if isinstance(function, ast.Attribute):
            takes_order = function.attr in ("join", "fromkeys", "extend", "appendleft", "deque", "array")
            if function.attr == "pop" and not node.args and self._is_set(function.value):
                self._add(node, "pop() of a set", SET_ORDER)
        for argument in node.args:
            if takes_order and self._is_set(argument):
                label = name or (function.attr if isinstance(function, ast.Attribute) else "")
                self._add(node, f"{label}() of a set", SET_ORDER)

    # -- sets

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        if self._is_set(node.iter):
            self._add(node, "for over a set", SET_ORDER)
        self._bind(node.target)
        for statement in [*node.body, *node.orelse]:
            self.visit(statement)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        if self._is_set(node.iter):
            self._add(node.iter, "a comprehension over a set", SET_ORDER)
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        if self._is_set(node.value):
            self._add(node, "* of a set", SET_ORDER)
        self.generic_visit(node)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> None:
        if self._is_set(node.value):
            self._add(node.value, "the text of a set", SET_ORDER)
        self.generic_visit(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        # What a set is made of has no order; a set made from a set is fine.
        for generator in node.generators:
            for part in (generator.iter, *generator.ifs):
                self.visit(part)
        self.visit(node.elt)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        is_set = self._is_set(node.value)
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._bind(target, is_set=is_set, alias=self._dotted(node.value))
            else:
                if isinstance(target, ast.Tuple | ast.List) and is_set:
                    self._add(target, "unpacking a set", SET_ORDER)
                self._bind(target)
                self.visit(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
        is_set = _annotates_set(node.annotation) or (node.value is not None and self._is_set(node.value))
        if isinstance(node.target, ast.Name):
            self._bind(node.target, is_set=is_set)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self._bind(node.target, is_set=self._is_set(node.value), alias=self._dotted(node.value))

    def _bind(self, target: ast.expr, *, is_set: bool = False, alias: str | None = None) -> None:
        if isinstance(target, ast.Name):
            self.scopes[-1][target.id] = is_set
            self.bound[-1].add(target.id)
            if alias:
                self.aliases[target.id] = alias
        elif isinstance(target, ast.Tuple | ast.List):
            for element in target.elts:
                self._bind(element)

    def _is_set(self, node: ast.AST) -> bool:  # noqa: PLR0911  one line per form
        if isinstance(node, ast.Set | ast.SetComp):
            return True
        if isinstance(node, ast.Name):
            return next((scope[node.id] for scope in reversed(self.scopes) if node.id in scope), False)
        if isinstance(node, ast.Attribute):
            return node.attr in self.set_attributes
        if isinstance(node, ast.BinOp) and isinstance(node.op, _SET_OPERATORS):
            sides = (node.left, node.right)
            return any(self._is_set(side) or _is_keys_view(side) for side in sides)
        if isinstance(node, ast.IfExp):
            return self._is_set(node.body) or self._is_set(node.orelse)
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                return node.func.id in ("set", "frozenset")
            if isinstance(node.func, ast.Attribute):
                return node.func.attr in _SET_METHODS and self._is_set(node.func.value)
        return False

    # -- functions and the rest

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name == "__del__":
            self._add(node, "__del__", Refusal("runs when memory is freed, at no fixed place", "use on_stop"))
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for default in [*node.args.defaults, *(d for d in node.args.kw_defaults if d), *node.decorator_list]:
            self.visit(default)
        self.scopes.append(
            {a.arg: a.annotation is not None and _annotates_set(a.annotation) for a in arguments}
        )
        self.bound.append({a.arg for a in arguments})
        if node.name == "__hash__":
            self.bound[-1].add("hash")  # Python calls it for a dict's keys: no order comes of it
        for statement in node.body:
            self.visit(statement)
        self.scopes.pop()
        self.bound.pop()

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._add(node, f"async def {node.name}", BESIDE)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        self.scopes.append({a.arg: False for a in arguments})
        self.bound.append({a.arg for a in arguments})
        self.visit(node.body)
        self.scopes.pop()
        self.bound.pop()

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.MatMult):
            self._note(node, "the @ operator")
        elif isinstance(node.op, ast.Pow) and not (_is_int(node.left) and _is_int(node.right)):
            self._note(node, "the ** operator")
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg == "key" and isinstance(node.value, ast.Name) and node.value.id in ("id", "hash"):
            self._add(node.value, f"key={node.value.id}", ADDRESS)
            return
        self.visit(node.value)


def _literal_getattr(node: ast.Call) -> str | None:
    """The attribute's name in getattr(x, "name"), None when the call is something else."""
    if (
        isinstance(node.func, ast.Name)
        and node.func.id == "getattr"
        and len(node.args) >= 2
        and isinstance(node.args[1], ast.Constant)
        and isinstance(node.args[1].value, str)
    ):
        return node.args[1].value
    return None


def _annotates_set(annotation: ast.expr) -> bool:
    base = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return isinstance(base, ast.Name) and base.id in ("set", "frozenset")


def _is_keys_view(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("keys", "items")
        and not node.args
    )


def _is_int(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int)
