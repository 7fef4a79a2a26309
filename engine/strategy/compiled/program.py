"""A whole strategy: its handlers and all that they call, as the text of one LLVM module.

Kinds of variables, of what functions return and of fields that begin as None are found by writing: when a
later line shows one to be more than an earlier line took it for, everything is written again.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from engine.execution.state import COLUMNS, STATE
from engine.model.errors import InternalError
from engine.model.units import NULL_TIME
from engine.strategy.compiled.core import Code, Function, Site, Value
from engine.strategy.compiled.kinds import (
    BAR,
    BOOK_UPDATE,
    CONTEXT,
    FILL,
    ORDER_UPDATE,
    PTR,
    QUOTE,
    TRADE,
    WORD,
    Kind,
)
from engine.strategy.compiled.layout import Layout
from engine.strategy.compiled.operations import COMPILED_HANDLERS
from engine.strategy.compiled.prelude import prelude
from engine.strategy.compiled.source import Source, refusal, source_of
from engine.strategy.compiled.statements import Statements

ENTRY = "strategy_call"
_PASSES = 40
_COLUMN_TYPES = {
    "ts": ("i64", 8, ""),
    "ts_venue": ("i64", 8, ""),
    "source": ("i16", 2, "zext"),
    "kind": ("i8", 1, "zext"),
    "flags": ("i16", 2, "zext"),
    "instrument": ("i32", 4, "zext"),
    "side": ("i8", 1, "sext"),
    "price": ("i64", 8, ""),
    "size": ("i64", 8, ""),
    "id": ("i64", 8, ""),
}
_EVENTS: dict[str, Kind] = {
    "on_trade": TRADE,
    "on_quote": QUOTE,
    "on_book": BOOK_UPDATE,
    "on_bar": BAR,
    "on_fill": FILL,
    "on_order": ORDER_UPDATE,
    "on_timer": WORD,
}
assert set(_COLUMN_TYPES) <= set(COLUMNS)
assert STATE.fields is not None


@dataclass
class Written:
    """A module's text, and what is needed to understand what it answers."""

    text: str
    sites: tuple[Site, ...]
    logs: tuple[tuple[tuple[str, Any], ...], ...]
    handlers: int  # bits
    wants_intervals: bool
    uses_increments: bool


@dataclass
class Program:
    """A strategy that is being written."""

    strategy: Any
    layout: Layout
    changed: bool = False
    wants_intervals: bool = False
    uses_increments: bool = False
    functions: dict[Any, Function] = field(default_factory=dict)
    sites: dict[Site, int] = field(default_factory=dict)
    logs: list[tuple[tuple[str, Any], ...]] = field(default_factory=list)
    active: list[Function] = field(default_factory=list)

    def site(self, site: Site) -> int:
        """The number of a place, from 1 on."""
        return self.sites.setdefault(site, len(self.sites) + 1)

    def log_site(self, pieces: tuple[tuple[str, Any], ...]) -> int:
        """The number of a call of ctx.log."""
        self.logs.append(pieces)
        return len(self.logs) - 1

    def write(self) -> Written:
        """The module; raises StrategyError for what cannot be compiled."""
        for _ in range(_PASSES):
            self.changed = False
            self.sites.clear()
            self.logs.clear()
            for function in self.functions.values():
                function.done = False
            handlers = self._handlers()
            if not self.changed:
                break
        else:
            raise InternalError("the kinds of a compiled strategy's variables do not settle")
        texts = [function.text for function in self.functions.values() if function.done]
        entry, bits = self._entry(handlers)
        return Written(
            "\n".join([prelude(), *texts, entry]),
            tuple(self.sites),
            tuple(self.logs),
            bits,
            self.wants_intervals,
            self.uses_increments,
        )

    def _handlers(self) -> dict[str, Function]:
        cls = type(self.strategy)
        found = {}
        for name, event in _EVENTS.items():
            handler = inspect.getattr_static(cls, name, None)
            if handler is None:
                continue
            assert isinstance(handler, FunctionType), "the loader has seen to it"
            found[name] = self.function(source_of(handler), (self.layout.kind, CONTEXT, event), None, None)
        return found

    def function(
        self, source: Source, kinds: tuple[Kind, ...], caller: Code | None, node: ast.AST | None
    ) -> Function:
        """A function for these kinds of argument, written if it is not yet in this pass."""
        key = (source.function, kinds)
        function = self.functions.get(key)
        if function is None:
            name = f"f{len(self.functions)}_{source.name}"
            function = self.functions[key] = Function(name, source, kinds)
        if function in self.active:
            assert caller is not None
            assert node is not None
            raise refusal(caller.source, node, f"{source.name} calls itself", "write a loop")
        if not function.done:
            self.active.append(function)
            function.text = self._written(function)
            function.done = True
            self.active.pop()
        return function

    def _written(self, function: Function) -> str:
        code = Statements(self, function)
        spec = function.source.node.args
        if spec.vararg or spec.kwarg:
            raise refusal(function.source, function.source.node, f"{function.name}(*arguments)")
        for decorator in function.source.node.decorator_list:
            if not (isinstance(decorator, ast.Name) and decorator.id in ("property", "staticmethod")):
                raise refusal(function.source, decorator, "a decorated function", "write a plain method")
        names = [a.arg for a in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)]
        head = ["ptr %state", "ptr %record"]
        for i, (name, kind) in enumerate(zip(names, function.arguments, strict=False)):
            parts = tuple(f"%a{i}_{j}" for j in range(len(kind.parts)))
            head += [f"{part_kind} {part}" for part_kind, part in zip(kind.parts, parts, strict=True)]
            code.assign(name, Value(kind, parts), function.source.node)
        code.body(function.source.node.body)
        if not code.ended:
            from engine.strategy.compiled.kinds import NONE

            code.give_back(Value(NONE), function.source.node)
        returns = function.returns
        assert returns is not None or code.ended
        head += [f"ptr %ret{i}" for i in range(len(returns.parts) if returns is not None else 0)]
        return "\n".join(
            [
                f"define internal i64 @{function.name}({', '.join(head)}) nounwind {{",
                "entry:",
                *code.entry,
                "  br label %start",
                "start:",
                *code.lines,
                "}",
                "",
            ]
        )

    # --- the function that the loop calls ---

    def _entry(self, handlers: dict[str, Function]) -> tuple[str, int]:
        bits = 0
        cases, blocks, texts = [], [], []
        for name, function in handlers.items():
            code = COMPILED_HANDLERS[name]
            bits |= 1 << code
            cases.append(f"i64 {code}, label %{name}")
            blocks += [
                f"{name}:",
                f"  %{name}_status = call i64 @call_{name}(ptr %s, ptr %r, i64 %a, i64 %b)",
                f"  ret i64 %{name}_status",
            ]
            texts.append(_call_of(self, name, function))
        entry = [
            f"define i64 @{ENTRY}(i64 %state, i64 %record, i64 %handler, i64 %a, i64 %b) nounwind {{",
            "  %s = inttoptr i64 %state to ptr",
            "  %r = inttoptr i64 %record to ptr",
            f"  switch i64 %handler, label %none [ {' '.join(cases)} ]",
            "none:",
            "  ret i64 0",
            *blocks,
            "}",
        ]
        return "\n".join([*texts, *entry]), bits


def _call_of(program: Program, name: str, function: Function) -> str:
    """A function that makes a handler's event and calls it."""
    code = Statements(program, function)
    parts = _EVENT_PARTS[name](code)
    event = _EVENTS[name]
    given = ["ptr %state", "ptr %record", "ptr %record"]  # self is the record itself
    given += [f"{kind} {part}" for kind, part in zip(event.parts, parts, strict=True)]
    slots = [code.slot(part) for part in (function.returns.parts if function.returns else ())]
    given += [f"ptr {slot}" for slot in slots]
    status = code.make(f"call i64 @{function.name}({', '.join(given)})")
    code.end(f"ret i64 {status}")
    return "\n".join(
        [
            f"define internal i64 @call_{name}(ptr %state, ptr %record, i64 %a, i64 %b) nounwind {{",
            *code.entry,
            *code.lines,
            "}",
            "",
        ]
    )


def _column(code: Code, name: str, row: str) -> str:
    """A column's value in a row, as a whole number."""
    kind, size, widen = _COLUMN_TYPES[name]
    base = code.state(f"column_{name}", PTR)
    raw = code.load_fixed(kind, code.at(base, code.make(f"mul i64 {row}, {size}")))
    return code.make(f"{widen} {kind} {raw} to i64") if widen else raw


def _columns(code: Code, row: str, *names: str) -> list[str]:
    return [_column(code, name, row) for name in names]


def _trade(code: Code) -> list[str]:
    return _columns(code, "%a", "instrument", "price", "size", "side", "ts", "ts_venue", "id", "flags")


def _quote(code: Code) -> list[str]:
    bid = _columns(code, "%a", "instrument", "price", "size")
    ask = _columns(code, "%b", "price", "size")
    return [*bid, *ask, *_columns(code, "%a", "ts", "ts_venue", "id", "flags")]


def _book(code: Code) -> list[str]:
    return _columns(code, "%b", "instrument", "ts", "ts_venue", "id", "flags")


def _bar(code: Code) -> list[str]:
    rows = ["%a", *(code.make(f"add i64 %a, {i}") for i in (1, 2, 3))]
    stamp = _column(code, "ts_venue", "%a")
    none = code.make(f"icmp eq i64 {stamp}, {NULL_TIME}")
    ours = code.make(f"icmp eq i64 {_column(code, 'source', '%a')}, 0")  # see engine.loop.made_bars
    interval = "0"  # reading it costs a pass over the texts of all bars
    if code.program.wants_intervals:
        base = code.state("column_interval", PTR)
        interval = code.load("i64", code.at(base, code.make("mul i64 %a, 8")))
    return [
        _column(code, "instrument", "%a"),
        code.select(none, "i64", "0", stamp),
        interval,
        *(_column(code, "price", row) for row in rows),
        *_columns(code, rows[3], "size", "id"),
        *_columns(code, "%a", "ts", "flags"),
        code.select(ours, "i64", _column(code, "id", "%a"), "0"),
    ]


def _told(code: Code, *names: str) -> list[str]:
    return [code.state(f"told_{name}") for name in names]


def _fill(code: Code) -> list[str]:
    told = _told(code, "instrument", "number", "side", "price", "size", "fee", "maker", "reason")
    return [*told, code.instrument(told[0], "position"), code.state("now"), *_told(code, "fee_asset")]


def _order(code: Code) -> list[str]:
    first = _told(
        code, "instrument", "number", "state", "side", "order_size", "filled", "order_price", "reason"
    )
    return [*first, code.state("now"), *_told(code, "event")]


def _timer(_code: Code) -> list[str]:
    return ["%a"]


_EVENT_PARTS = {
    "on_trade": _trade,
    "on_quote": _quote,
    "on_book": _book,
    "on_bar": _bar,
    "on_fill": _fill,
    "on_order": _order,
    "on_timer": _timer,
}
