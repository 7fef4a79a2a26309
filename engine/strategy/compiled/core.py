"""Writing one function: instructions, variables, values, failures. What the parts above build on.

A function takes the state, the record and its arguments, writes what it returns through pointers, and answers
0 or the number of the place (`Site`) at which it failed: an error goes up by being returned.
"""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from engine.execution.state import INSTRUMENT, MARKET
from engine.strategy.compiled.kinds import (
    BIT,
    BOOL,
    F64,
    FLOAT,
    INT,
    NONE,
    PTR,
    Kind,
    Maybe,
    TupleKind,
)
from engine.strategy.compiled.prelude import offset_of
from engine.strategy.compiled.source import Source, refusal

if TYPE_CHECKING:
    from engine.strategy.compiled.program import Program

INSTRUMENT_SIZE = INSTRUMENT.itemsize
# Fields of the state record that stay what they are while a handler runs.
_FIXED = ("now", "instruments", "markets", "seen", "visible", "visible_count", "log_line", "assets")
PLACE_SHIFT = 32  # a status is the failing site, and above it the site of the strategy's own line


@dataclass
class Value:
    """A value: its kind, its parts, and what it is if that is known now."""

    kind: Kind
    parts: tuple[str, ...] = ()
    known: Any = None  # of literals: the number or text itself


class Site(NamedTuple):
    """A place that may fail, and what its failure says. `details`: how fail_a and fail_b are shown."""

    file: str
    line: int
    function: str
    error: str
    message: str
    details: str = ""


@dataclass
class Variable:
    """A local variable: its kind so far, and where its parts and its "bound" bit are kept."""

    kind: Kind
    line: int
    slots: tuple[str, ...] = ()
    bound: str = ""


@dataclass
class Loop:
    """Where continue and break go."""

    again: str
    after: str


@dataclass
class Function:
    """One function for one list of argument kinds, across the passes of a program."""

    name: str
    source: Source
    arguments: tuple[Kind, ...]
    variables: dict[str, tuple[Kind, int]] = field(default_factory=dict)  # kind, line of the first assignment
    returns: Kind | None = None
    text: str = ""
    done: bool = False  # in this pass


class Code(ABC):
    """The instructions of a function that is being written."""

    def __init__(self, program: Program, function: Function) -> None:
        self.program = program
        self.function = function
        self.source = function.source
        self.entry: list[str] = []
        self.lines: list[str] = []
        self.variables: dict[str, Variable] = {}
        self.loops: list[Loop] = []
        self.ended = False  # the block has its last instruction
        self.locals = _locals_of(function.source.node)
        self._count = 0

    # --- instructions ---

    def name(self) -> str:
        """A new name."""
        self._count += 1
        return f"%v{self._count}"

    def label(self, stem: str) -> str:
        """A new label."""
        self._count += 1
        return f"{stem}{self._count}"

    def say(self, text: str) -> None:
        """An instruction without a result."""
        if not self.ended:
            self.lines.append(f"  {text}")

    def make(self, text: str) -> str:
        """An instruction with a result; its name."""
        name = self.name()
        self.say(f"{name} = {text}")
        return name

    def end(self, text: str) -> None:
        """The last instruction of a block."""
        self.say(text)
        self.ended = True

    def begin(self, label: str) -> None:
        """Begin a block; the one before goes on into it."""
        if not self.ended:
            self.lines.append(f"  br label %{label}")
        self.lines.append(f"{label}:")
        self.ended = False

    def branch(self, bit: str, yes: str, no: str) -> None:
        """End the block by a choice."""
        self.end(f"br i1 {bit}, label %{yes}, label %{no}")

    def slot(self, kind: str) -> str:
        """Memory of the function's own."""
        name = self.name()
        self.entry.append(f"  {name} = alloca {kind}")
        return name

    def load(self, kind: str, pointer: str) -> str:
        """Read memory."""
        return self.make(f"load {kind}, ptr {pointer}")

    def load_fixed(self, kind: str, pointer: str) -> str:
        """Read memory that nothing changes while a handler runs, so that it need not be read again."""
        return self.make(f"load {kind}, ptr {pointer}, !invariant.load !0")

    def store(self, kind: str, value: str, pointer: str) -> None:
        """Write memory."""
        self.say(f"store {kind} {value}, ptr {pointer}")

    def at(self, pointer: str, offset: int | str) -> str:
        """An address so many bytes further."""
        return self.make(f"getelementptr i8, ptr {pointer}, i64 {offset}")

    # --- the engine's memory ---

    def state(self, name: str, kind: str = "i64") -> str:
        """A field of the state record."""
        read = self.load_fixed if name in _FIXED or name.startswith(("column_", "told_")) else self.load
        return read(kind, self.at("%state", offset_of(name)))

    def instrument(self, index: str, name: str) -> str:
        """A field of an instrument's record."""
        fields = INSTRUMENT.fields
        assert fields is not None
        base = self.state("instruments", PTR)
        record = self.at(base, self.make(f"mul i64 {index}, {INSTRUMENT_SIZE}"))
        read = self.load if name == "position" else self.load_fixed
        return read("i64", self.at(record, int(fields[name][1])))

    def market(self, index: str, name: str) -> str:
        """A field of what the strategy knows of an instrument's market."""
        fields = MARKET.fields
        assert fields is not None
        place = self.make(f"lshr i64 {self.state('seen')}, 1")
        number = self.make(f"add i64 {self.make(f'shl i64 {index}, 1')}, {place}")
        base = self.state("markets", PTR)
        record = self.at(base, self.make(f"mul i64 {number}, {MARKET.itemsize}"))
        return self.load("i64", self.at(record, int(fields[name][1])))

    def decimal(self, mantissa: str, index: str, places: str) -> Value:
        """A mantissa of an instrument as a float; `places`: price_decimals or size_decimals."""
        decimals = self.instrument(index, places)
        return Value(FLOAT, (self.make(f"call double @decimal(ptr %state, i64 {mantissa}, i64 {decimals})"),))

    def operation(self, name: str, *arguments: str, result: str = "i64") -> str:
        """Call one of the loop's operations; arguments with their types."""
        return self.make(f"call {result} @op_{name}({', '.join(('ptr %state', *arguments))})")

    def select(self, bit: str, kind: str, yes: str, no: str) -> str:
        """One of two values."""
        return self.make(f"select i1 {bit}, {kind} {yes}, {kind} {no}")

    # --- failures ---

    def refuse(self, node: ast.AST, what: str, way_out: str = "") -> NoReturn:
        """Raise the refusal of a construct."""
        raise refusal(self.source, node, what, way_out)

    def status(self, node: ast.AST, error: str, message: str, details: str = "") -> int:
        """The status of a failure at a node."""
        line = getattr(node, "lineno", self.source.node.lineno)
        site = Site(self.source.shown, line, self.source.name, error, message, details)
        number = self.program.site(site)
        return number | (number << PLACE_SHIFT if self.source.shown else 0)

    def fail(
        self, node: ast.AST, error: str, message: str, details: str = "", a: str = "0", b: str = "0"
    ) -> None:
        """Leave the function with an error."""
        if details:
            self.store("i64", a, self.at("%state", offset_of("fail_a")))
            self.store("i64", b, self.at("%state", offset_of("fail_b")))
        self.end(f"ret i64 {self.status(node, error, message, details)}")

    def fail_if(
        self, bit: str, node: ast.AST, error: str, message: str, details: str = "", a: str = "0", b: str = "0"
    ) -> None:
        """Leave the function with an error when a bit is set."""
        bad, good = self.label("bad"), self.label("good")
        self.branch(bit, bad, good)
        self.begin(bad)
        self.fail(node, error, message, details, a, b)
        self.begin(good)

    def pass_on(self, status: str, node: ast.AST, *, own: bool) -> None:
        """After a call: hand its failure up; that of the engine's own code gets this line as its place."""
        bad, good = self.label("bad"), self.label("good")
        self.branch(self.make(f"icmp ne i64 {status}, 0"), bad, good)
        self.begin(bad)
        if self.source.shown and not own:
            here = self.status(node, "", "") >> PLACE_SHIFT << PLACE_SHIFT
            status = self.make(f"or i64 {status}, {here}")
        self.end(f"ret i64 {status}")
        self.begin(good)

    # --- values ---

    def integer(self, number: int) -> Value:
        """A whole number that is known."""
        return Value(INT, (str(number),), number)

    def floating(self, number: float) -> Value:
        """A float that is known."""
        import struct

        bits = struct.unpack("<Q", struct.pack("<d", number))[0]
        return Value(FLOAT, (f"0x{bits:016X}",), number)

    def boolean(self, bit: str) -> Value:
        """A truth."""
        return Value(BOOL, (bit,))

    def known_bit(self, value: Value) -> bool | None:
        """A truth that is known, None when it is not."""
        if value.kind == BOOL and value.parts[0] in ("true", "false"):
            return value.parts[0] == "true"
        return None

    def absent(self, kind: Kind) -> tuple[str, ...]:
        """Parts that stand for nothing."""
        zero = {F64: "0.0", PTR: "null", BIT: "false"}
        return tuple(zero.get(part, "0") for part in kind.parts)

    def fit(self, value: Value, kind: Kind, node: ast.AST, what: str) -> Value:
        """The value as that kind, which Python would not see; refused when it would."""
        if value.kind == kind:
            return value
        if isinstance(kind, Maybe):
            if value.kind == NONE:
                return Value(kind, ("false", *self.absent(kind.inner)))
            if value.kind == kind.inner:
                return Value(kind, ("true", *value.parts))
        own = value.kind
        if isinstance(kind, TupleKind) and isinstance(own, TupleKind) and len(kind.items) == len(own.items):
            items = zip(self.items_of(value), kind.items, strict=True)
            fitted = [self.fit(item, wanted, node, what) for item, wanted in items]
            return Value(kind, tuple(part for item in fitted for part in item.parts))
        self.mismatch(node, what, kind, value.kind)

    def mismatch(self, node: ast.AST, what: str, kind: Kind, other: Kind) -> NoReturn:
        """Refuse a value of another kind than before."""
        way_out = f"let it be {kind.name} everywhere"
        if {kind.name, other.name} <= {"int", "float", "int | None", "float | None"}:
            way_out = (
                "write 0.0, not 0, or float(...) where a float is meant, int(...) where a whole number is"
            )
        elif other.name.startswith("numpy."):
            way_out = f"write {other.name.removeprefix('numpy.').removesuffix('64')}(...) around it"
        self.refuse(node, f"{what} is {kind.name}, and {other.name} here", way_out)

    def items_of(self, value: Value) -> list[Value]:
        """The items of a tuple that was made in a handler."""
        assert isinstance(value.kind, TupleKind)
        items, start = [], 0
        for kind in value.kind.items:
            size = len(kind.parts)
            items.append(Value(kind, value.parts[start : start + size]))
            start += size
        return items

    def joined(self, a: Kind, b: Kind) -> Kind | None:
        """The kind that holds both, None when there is none."""
        if a == b:
            return a
        if a == NONE:
            return b if isinstance(b, Maybe) else Maybe(b)
        if b == NONE:
            return a if isinstance(a, Maybe) else Maybe(a)
        if isinstance(a, Maybe) and a.inner == b:
            return a
        if isinstance(b, Maybe) and b.inner == a:
            return b
        if isinstance(a, TupleKind) and isinstance(b, TupleKind) and len(a.items) == len(b.items):
            items = [self.joined(x, y) for x, y in zip(a.items, b.items, strict=True)]
            if all(item is not None for item in items):
                return TupleKind(tuple(item for item in items if item is not None))
        return None

    # --- variables ---

    def assign(self, name: str, value: Value, node: ast.AST) -> None:
        """Give a local variable a value."""
        line = getattr(node, "lineno", 0)
        known = self.function.variables.get(name)
        if known is None:
            kind: Kind = value.kind
            self.function.variables[name] = kind, line
        else:
            joined = self.joined(known[0], value.kind)
            if joined is None:
                self.mismatch(node, f'"{name}" (line {known[1]})', known[0], value.kind)
            kind = joined
            if kind != known[0]:
                self.function.variables[name] = kind, known[1]
                self.program.changed = True
        variable = self._variable(name, kind, line)
        fitted = self.fit(value, kind, node, f'"{name}"')
        for part, content, slot in zip(kind.parts, fitted.parts, variable.slots, strict=True):
            self.store(part, content, slot)
        self.store(BIT, "true", variable.bound)

    def _variable(self, name: str, kind: Kind, line: int) -> Variable:
        variable = self.variables.get(name)
        if variable is None or variable.kind != kind:
            variable = Variable(kind, line, tuple(self.slot(part) for part in kind.parts), self.slot(BIT))
            self.entry.append(f"  store i1 false, ptr {variable.bound}")
            self.variables[name] = variable
        return variable

    def read(self, name: str, node: ast.AST) -> Value:
        """The value of a local variable."""
        known = self.function.variables.get(name)
        if known is None:
            self.refuse(node, f'"{name}" is used before it has a value')
        variable = self._variable(name, known[0], known[1])
        bound = self.load(BIT, variable.bound)
        self.fail_if(
            self.make(f"xor i1 {bound}, true"),
            node,
            "UnboundLocalError",
            f"cannot access local variable '{name}' where it is not associated with a value",
        )
        parts = tuple(
            self.load(part, slot) for part, slot in zip(known[0].parts, variable.slots, strict=True)
        )
        return Value(known[0], parts)

    # --- written above ---

    @abstractmethod
    def expression(self, node: ast.expr) -> Value:
        """The value of an expression."""

    @abstractmethod
    def truth(self, value: Value, node: ast.AST) -> str:
        """Whether Python takes a value for true."""


def _locals_of(node: ast.FunctionDef) -> frozenset[str]:
    """Names that are a function's own: its arguments, and what it assigns."""
    spec = node.args
    names = {a.arg for a in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)}
    names |= {
        inner.id
        for inner in ast.walk(node)
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
    }
    return frozenset(names)
