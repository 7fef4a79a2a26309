"""Statements and expressions of a function: each has its method here, and what has none is refused."""

from __future__ import annotations

import ast
import builtins
from typing import Any, NoReturn

from engine.strategy.compiled.calls import MISSING
from engine.strategy.compiled.core import Loop, Value
from engine.strategy.compiled.items import Items
from engine.strategy.compiled.kinds import (
    NONE,
    Kind,
    ListKind,
    RowKind,
    TupleKind,
)

_WAYS_OUT = {
    "Try": ("try", "test before you act: let nothing fail"),
    "With": ("with", ""),
    "Global": ("global", "keep it in a field: self.count"),
    "Nonlocal": ("nonlocal", "keep it in a field: self.count"),
    "Lambda": ("lambda", "write a method"),
    "FunctionDef": ("a function inside a function", "write a method"),
    "ClassDef": ("a class inside a function", "write it at the top of the file"),
    "ListComp": ("a list comprehension", "loop over it, or make the list in on_start"),
    "SetComp": ("a set", "make a list of flags in on_start"),
    "DictComp": ("a dict comprehension", "make the dict in on_start"),
    "GeneratorExp": ("a generator", "write the loop"),
    "List": ("making a list", "make it in on_start and write into its items"),
    "Set": ("making a set", "make a list of flags in on_start"),
    "Dict": ("making a dict", "make it in on_start, by instrument"),
    "Yield": ("yield", ""),
    "YieldFrom": ("yield", ""),
    "Await": ("await", ""),
    "Delete": ("del", "assign another value"),
    "Import": ("import inside a function", "import at the top of the file"),
    "ImportFrom": ("import inside a function", "import at the top of the file"),
    "NamedExpr": ("an assignment inside an expression", "write it on a line of its own"),
    "Match": ("match", "write if and elif"),
    "JoinedStr": ("making a text", "give the parts to ctx.log"),
    "Starred": ("a starred expression", "write the items one by one"),
    "Slice": ("a slice", "loop over a range"),
}


class Statements(Items):
    """Whole functions."""

    def body(self, statements: list[ast.stmt]) -> None:
        """Statements one after the other; what follows a return is not reached."""
        for statement in statements:
            if self.ended:
                return
            method: Any = getattr(self, f"_do_{type(statement).__name__}", self._unknown)
            method(statement)

    def _unknown(self, node: ast.AST) -> NoReturn:
        name = type(node).__name__
        what, way_out = _WAYS_OUT.get(name, (name.lower(), ""))
        self.refuse(
            node,
            f"a compiled strategy has no {what}"
            if not what.startswith(("making", "a ", "an ", "import"))
            else what,
            way_out,
        )

    # --- statements ---

    def _do_Pass(self, _node: ast.Pass) -> None:
        return

    def _do_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.expression(node.value)

    def _do_Assign(self, node: ast.Assign) -> None:
        value = self.expression(node.value)
        for target in node.targets:
            self._assign_to(target, value)

    def _do_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assign_to(node.target, self.expression(node.value))

    def _do_AugAssign(self, node: ast.AugAssign) -> None:
        target = node.target
        if isinstance(target, ast.Name):
            old = self.read(target.id, target)
            self.assign(target.id, self.binary(node.op, old, self.expression(node.value), node), node)
        elif isinstance(target, ast.Attribute):
            base = self.expression(target.value)
            old = self.attribute(base, target.attr, target)
            self.set_field(
                base, target.attr, self.binary(node.op, old, self.expression(node.value), node), node
            )
        else:
            base, index = self.expression(target.value), self.expression(target.slice)
            old = self.item_of(base, index, target)
            self.set_item(base, index, self.binary(node.op, old, self.expression(node.value), node), target)

    def _assign_to(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self.assign(target.id, value, target)
        elif isinstance(target, ast.Attribute):
            self.set_field(self.expression(target.value), target.attr, value, target)
        elif isinstance(target, ast.Subscript):
            self.set_item(self.expression(target.value), self.expression(target.slice), value, target)
        elif isinstance(target, ast.Tuple | ast.List):
            for part, item in zip(target.elts, self._unpack(value, len(target.elts), target), strict=True):
                self._assign_to(part, item)
        else:
            self._unknown(target)

    def _unpack(self, value: Value, count: int, node: ast.AST) -> list[Value]:
        value = self.certain(value, node, "TypeError", "cannot unpack non-iterable NoneType object")
        kind = value.kind
        if isinstance(kind, TupleKind | RowKind):
            if len(kind.items) != count:
                self.refuse(node, f"unpacking {len(kind.items)} values into {count} names")
            return self.unpacked(value)
        if isinstance(kind, ListKind):
            length = self.length(value, node)
            fewer = self.make(f"icmp slt i64 {length}, {count}")
            message = f"not enough values to unpack (expected {count}, got {{a}})"
            self.fail_if(fewer, node, "ValueError", message, "i", length)
            more = self.make(f"icmp sgt i64 {length}, {count}")
            self.fail_if(more, node, "ValueError", f"too many values to unpack (expected {count})")
            return [self.item(value, str(i), node) for i in range(count)]
        self.refuse(node, f"unpacking a {kind.name}", "read its attributes")

    def _do_If(self, node: ast.If) -> None:
        yes, no, out = self.label("then"), self.label("else"), self.label("endif")
        self.condition(node.test, yes, no)
        ends = True
        for label, statements in ((yes, node.body), (no, node.orelse)):
            self.begin(label)
            self.body(statements)
            if not self.ended:
                ends = False
                self.end(f"br label %{out}")
        if not ends:
            self.begin(out)

    def _do_While(self, node: ast.While) -> None:
        if node.orelse:
            self.refuse(node, "while with else", "use a flag")
        again, inside, after = self.label("again"), self.label("inside"), self.label("after")
        self.begin(again)
        self.condition(node.test, inside, after)
        self._loop(Loop(again, after), inside, node.body)
        self.end(f"br label %{again}")
        endless = isinstance(node.test, ast.Constant) and node.test.value is True
        if endless and not any(isinstance(inner, ast.Break) for inner in ast.walk(node)):
            self.lines.append(f"{after}:\n  unreachable")
            self.ended = True
        else:
            self.begin(after)

    def _do_For(self, node: ast.For) -> None:
        if node.orelse:
            self.refuse(node, "for with else", "use a flag")
        walk = self.walk(node.iter)
        again, inside = self.label("again"), self.label("inside")
        further, after = self.label("further"), self.label("after")
        self.begin(again)
        self.branch(walk.more(), inside, after)
        self.begin(inside)
        self._assign_to(node.target, walk.take())
        self._loop(Loop(further, after), "", node.body)
        self.begin(further)
        walk.step()
        self.end(f"br label %{again}")
        self.begin(after)

    def _loop(self, loop: Loop, label: str, statements: list[ast.stmt]) -> None:
        if label:
            self.begin(label)
        self.loops.append(loop)
        self.body(statements)
        self.loops.pop()

    def _do_Break(self, _node: ast.Break) -> None:
        self.end(f"br label %{self.loops[-1].after}")

    def _do_Continue(self, _node: ast.Continue) -> None:
        self.end(f"br label %{self.loops[-1].again}")

    def _do_Return(self, node: ast.Return) -> None:
        self.give_back(Value(NONE) if node.value is None else self.expression(node.value), node)

    def give_back(self, value: Value, node: ast.AST) -> None:
        """Return a value."""
        function = self.function
        kind: Kind | None = value.kind
        if function.returns is not None:
            kind = self.joined(function.returns, value.kind)
            if kind is None:
                self.mismatch(node, f"what {self.source.name} returns", function.returns, value.kind)
        if kind != function.returns:
            self.program.changed = self.program.changed or function.returns is not None
            function.returns = kind
        assert kind is not None
        fitted = self.fit(value, kind, node, "what is returned")
        for i, (part, content) in enumerate(zip(kind.parts, fitted.parts, strict=True)):
            self.store(part, content, f"%ret{i}")
        self.end("ret i64 0")

    def _do_Assert(self, node: ast.Assert) -> None:
        message = ""
        if node.msg is not None:
            if not isinstance(node.msg, ast.Constant):
                self.refuse(node, "assert with a computed message", "write the text out")
            message = str(getattr(node.msg, "value", ""))
        good, bad = self.label("holds"), self.label("fails")
        self.condition(node.test, good, bad)
        self.begin(bad)
        self.fail(node, "AssertionError", message)
        self.begin(good)

    def _do_Raise(self, node: ast.Raise) -> None:
        call = node.exc
        name, arguments = "", []
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            name, arguments = call.func.id, call.args
        elif isinstance(call, ast.Name):
            name = call.id
        known = getattr(builtins, name, None)
        texts = [a.value for a in arguments if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        if not (isinstance(known, type) and issubclass(known, Exception)) or len(texts) != len(arguments):
            self.refuse(
                node, "raise of anything but an exception of Python's with a text", 'raise ValueError("...")'
            )
        if len(texts) > 1 or known is KeyError or node.cause is not None:
            self.refuse(node, "raise in this form", 'raise ValueError("...")')
        self.fail(node, name, texts[0] if texts else "")

    # --- conditions ---

    def condition(self, node: ast.expr, yes: str, no: str) -> None:
        """Go where the truth of an expression says; and, or and not only look as far as they must."""
        if isinstance(node, ast.BoolOp):
            for value in node.values[:-1]:
                further = self.label("further")
                if isinstance(node.op, ast.And):
                    self.condition(value, further, no)
                else:
                    self.condition(value, yes, further)
                self.begin(further)
            self.condition(node.values[-1], yes, no)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.condition(node.operand, no, yes)
        else:
            self.branch(self.truth(self.expression(node), node), yes, no)

    # --- expressions ---

    def expression(self, node: ast.expr) -> Value:
        """The value of an expression."""
        method: Any = getattr(self, f"_of_{type(node).__name__}", self._unknown)
        made: Value = method(node)
        return made

    def _of_Constant(self, node: ast.Constant) -> Value:
        constant = self.constant(node.value)
        if constant is None:
            self.refuse(node, f"the value {node.value!r}", "use numbers that 64 bits hold, texts and None")
        return constant

    def _of_Name(self, node: ast.Name) -> Value:
        return self.name_value(node)

    def _of_Attribute(self, node: ast.Attribute) -> Value:
        found = self.static(node)
        if found is not MISSING:
            return self.global_value(found, ast.unparse(node), node)
        return self.attribute(self.expression(node.value), node.attr, node)

    def _of_Call(self, node: ast.Call) -> Value:
        return self.call(node)

    def _of_BinOp(self, node: ast.BinOp) -> Value:
        left = self.expression(node.left)
        return self.binary(node.op, left, self.expression(node.right), node)

    def _of_UnaryOp(self, node: ast.UnaryOp) -> Value:
        return self.unary(node.op, self.expression(node.operand), node)

    def _of_Tuple(self, node: ast.Tuple) -> Value:
        return self.tuple_of([self.expression(item) for item in node.elts])

    def _of_Compare(self, node: ast.Compare) -> Value:
        left = self.expression(node.left)
        if len(node.ops) == 1:
            return self.boolean(self._compared(node.ops[0], left, node.comparators[0], node)[0])
        result = self.slot("i1")
        out = self.label("compared")
        for i, (operator, comparator) in enumerate(zip(node.ops, node.comparators, strict=True)):
            bit, left = self._compared(operator, left, comparator, node)
            self.store("i1", bit, result)
            if i < len(node.ops) - 1:
                further = self.label("further")
                self.branch(bit, further, out)
                self.begin(further)
        self.begin(out)
        return self.boolean(self.load("i1", result))

    def _compared(
        self, operator: ast.cmpop, left: Value, comparator: ast.expr, node: ast.AST
    ) -> tuple[str, Value]:
        right = self.expression(comparator)
        if isinstance(operator, ast.In | ast.NotIn):
            bit = self.contains(right, left, node)
            return (bit if isinstance(operator, ast.In) else self.negated(bit)), right
        return self.compare(operator, left, right, node), right

    def _of_BoolOp(self, node: ast.BoolOp) -> Value:
        values: list[tuple[Value, str]] = []
        out = self.label("decided")
        ends: list[str] = []
        for i, part in enumerate(node.values):
            value = self.expression(part)
            here = self.label("here")
            self.begin(here)
            values.append((value, here))
            if i == len(node.values) - 1:
                self.end(f"br label %{out}")
            else:
                bit = self.truth(value, part)
                # The truth may have made blocks of its own.
                last = self.label("last")
                self.begin(last)
                values[-1] = (value, last)
                further = self.label("further")
                yes, no = (further, out) if isinstance(node.op, ast.And) else (out, further)
                self.branch(bit, yes, no)
                self.begin(further)
            ends.append(values[-1][1])
        self.begin(out)
        return self._met(values, node)

    def _met(self, values: list[tuple[Value, str]], node: ast.AST) -> Value:
        """One of several values, by the block that it comes from; all of one kind."""
        kind = values[0][0].kind
        for value, _ in values:
            if value.kind != kind:
                self.refuse(
                    node,
                    f'"and" or "or" between {kind.name} and {value.kind.name} as a value',
                    "write a if condition else b",
                )
        parts = []
        for i, part in enumerate(kind.parts):
            pairs = ", ".join(f"[ {value.parts[i]}, %{block} ]" for value, block in values)
            parts.append(self.make(f"phi {part} {pairs}"))
        return Value(kind, tuple(parts))

    def _of_IfExp(self, node: ast.IfExp) -> Value:
        yes, no, out = self.label("then"), self.label("else"), self.label("chosen")
        self.condition(node.test, yes, no)
        made: list[tuple[Value, list[str]]] = []
        for label, part in ((yes, node.body), (no, node.orelse)):
            self.begin(label)
            value = self.expression(part)
            self.end(f"br label %{out}")
            made.append((value, self.lines))
            self.lines = []
        a, b = made[0][0], made[1][0]
        kind = self.joined(a.kind, b.kind)
        if kind is None:
            self.mismatch(node, "this", a.kind, b.kind)
        slots = [self.slot(part) for part in kind.parts]
        # What each gives is known only now: it is kept before the jump that ends its block.
        for value, lines in made:
            closing = lines.pop()
            self.lines, self.ended = lines, False
            fitted = self.fit(value, kind, node, "this")
            for llvm, content, slot in zip(kind.parts, fitted.parts, slots, strict=True):
                self.store(llvm, content, slot)
            self.lines.append(closing)
        self.lines = made[0][1] + made[1][1]
        self.ended = True
        self.begin(out)
        return Value(kind, tuple(self.load(part, slot) for part, slot in zip(kind.parts, slots, strict=True)))

    def _of_Subscript(self, node: ast.Subscript) -> Value:
        base = self.expression(node.value)
        if isinstance(node.slice, ast.Slice):
            self.refuse(node, "a slice", "loop over a range")
        return self.item_of(base, self.expression(node.slice), node)
