"""What a for statement walks over: ranges, sequences, dicts, orders, levels, and several of them together."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import NamedTuple

from engine.strategy.compiled.contexts import Contexts
from engine.strategy.compiled.core import Value
from engine.strategy.compiled.kinds import (
    INSTRUMENT,
    INSTRUMENTS,
    INT,
    ArrayKind,
    DictKind,
    LevelsKind,
    ListKind,
    Maybe,
    OrdersKind,
    RowKind,
    TupleKind,
)


class Walk(NamedTuple):
    """How to go on: is there one more, which, and the step to the next."""

    more: Callable[[], str]
    take: Callable[[], Value]
    step: Callable[[], None]


class Iteration(Contexts):
    """Walking."""

    def walk(self, node: ast.expr) -> Walk:
        """Begin walking over what an expression gives."""
        if isinstance(node, ast.Call):
            found = self.static(node.func)
            if found is range:
                return self._range(node)
            if found is enumerate:
                return self._enumerate(node)
            if found is zip:
                return self._zip(node)
            if found is reversed and len(node.args) == 1:
                return self._sequence(self.expression(node.args[0]), node, backwards=True)
            if isinstance(node.func, ast.Attribute) and node.func.attr in ("items", "values", "keys"):
                base = self.expression(node.func.value)
                if isinstance(base.kind, DictKind) and not node.args and not node.keywords:
                    return self._dict(base, base.kind, node.func.attr)
                self.refuse(node, f"{base.kind.name}.{node.func.attr}()")
        return self._sequence(self.expression(node), node)

    def _counter(self, start: str) -> str:
        slot = self.slot("i64")
        self.store("i64", start, slot)
        return slot

    def _onward(self, slot: str) -> None:
        self.store("i64", self.make(f"add i64 {self.load('i64', slot)}, 1"), slot)

    def _range(self, node: ast.Call) -> Walk:
        if node.keywords or not 1 <= len(node.args) <= 3:
            self.refuse(node, "range() in this form", "write range(start, stop, step)")
        values = [self.whole(self.expression(a), node) for a in node.args]
        start, stop = (values[0], values[1]) if len(values) > 1 else ("0", values[0])
        step = values[2] if len(values) > 2 else "1"
        if len(values) > 2:
            zero = self.make(f"icmp eq i64 {step}, 0")
            self.fail_if(zero, node, "ValueError", "range() arg 3 must not be zero")
        slot = self._counter(start)
        over = self.slot("i1")
        self.store("i1", "false", over)

        def more() -> str:
            at = self.load("i64", slot)
            up = self.make(f"icmp sgt i64 {step}, 0")
            below, above = self.make(f"icmp slt i64 {at}, {stop}"), self.make(f"icmp sgt i64 {at}, {stop}")
            within = self.select(up, "i1", below, above)
            return self.make(f"and i1 {within}, {self.negated(self.load('i1', over))}")

        def forward() -> None:
            at = self.load("i64", slot)
            pair = self.make(f"call {{ i64, i1 }} @llvm.sadd.with.overflow.i64(i64 {at}, i64 {step})")
            self.store("i64", self.make(f"extractvalue {{ i64, i1 }} {pair}, 0"), slot)
            self.store("i1", self.make(f"extractvalue {{ i64, i1 }} {pair}, 1"), over)

        return Walk(more, lambda: Value(INT, (self.load("i64", slot),)), forward)

    def _enumerate(self, node: ast.Call) -> Walk:
        if not 1 <= len(node.args) <= 2 or node.keywords:
            self.refuse(node, "enumerate() in this form", "write enumerate(items, start)")
        inner = self.walk(node.args[0])
        start = self.whole(self.expression(node.args[1]), node) if len(node.args) > 1 else "0"
        slot = self._counter(start)

        def forward() -> None:
            inner.step()
            self._onward(slot)

        return Walk(
            inner.more,
            lambda: self.tuple_of([Value(INT, (self.load("i64", slot),)), inner.take()]),
            forward,
        )

    def _zip(self, node: ast.Call) -> Walk:
        if not node.args or node.keywords:
            self.refuse(node, "zip() in this form", "write zip(a, b)")
        inner = [self.walk(argument) for argument in node.args]

        def more() -> str:
            bit = "true"
            for one in inner:
                bit = self.make(f"and i1 {bit}, {one.more()}")
            return bit

        def forward() -> None:
            for one in inner:
                one.step()

        return Walk(more, lambda: self.tuple_of([one.take() for one in inner]), forward)

    def _dict(self, base: Value, kind: DictKind, what: str) -> Walk:
        pointer = base.parts[0]
        count = self.load("i64", pointer)
        places = self.load("i64", self.at(pointer, 8))
        items = self.make(f"add i64 {self.make(f'add i64 {count}, {places}')}, 2")
        slot = self._counter("0")

        def at(start: str) -> str:
            place = self.make(f"add i64 {start}, {self.load('i64', slot)}")
            return self.at(pointer, self.make(f"shl i64 {place}, 3"))

        def take() -> Value:
            key = Value(INSTRUMENT, (self.load("i64", at("2")),))
            if what == "keys":
                return key
            item = self.cell(kind.item, at(items))
            return item if what == "values" else self.tuple_of([key, item])

        return Walk(
            lambda: self.make(f"icmp slt i64 {self.load('i64', slot)}, {count}"),
            take,
            lambda: self._onward(slot),
        )

    def _orders(self, value: Value) -> Walk:
        only, last, _ = value.parts
        slot = self._counter("-1")

        def forward() -> None:
            self.store("i64", self.next_order(self.load("i64", slot), only, last), slot)

        forward()
        return Walk(
            lambda: self.make(f"icmp sge i64 {self.load('i64', slot)}, 0"),
            lambda: self.open_order(self.load("i64", slot), value),
            forward,
        )

    def _sequence(self, value: Value, node: ast.AST, *, backwards: bool = False) -> Walk:
        kind = value.kind
        if isinstance(kind, Maybe):
            value = self.certain(value, node, "TypeError", "'NoneType' object is not iterable")
            kind = value.kind
        if isinstance(kind, DictKind) and not backwards:
            return self._dict(value, kind, "keys")
        if isinstance(kind, OrdersKind) and not backwards:
            return self._orders(value)
        sequences = ListKind | ArrayKind | RowKind | TupleKind | LevelsKind
        if not isinstance(kind, sequences) and kind is not INSTRUMENTS:
            self.refuse(
                node, f"a loop over a {kind.name}", "loop over a range, a list, a tuple or a dict of on_start"
            )
        count = self.length(value, node)
        slot = self._counter("0")

        def take() -> Value:
            place = self.load("i64", slot)
            if backwards:
                place = self.make(f"sub i64 {self.make(f'sub i64 {count}, {place}')}, 1")
            return self.item(value, place, node)

        return Walk(
            lambda: self.make(f"icmp slt i64 {self.load('i64', slot)}, {count}"),
            take,
            lambda: self._onward(slot),
        )
