"""Attributes, items and lengths: what is read of events, views, instruments and the strategy's objects."""

from __future__ import annotations

import ast
import difflib
import inspect
from abc import abstractmethod
from types import FunctionType, MemberDescriptorType
from typing import Any

from engine.execution.codes import FEE_ASSETS
from engine.execution.orders import REASON_NAMES, Event, Reason, State, reason_name
from engine.model.kinds import Flag
from engine.model.units import NULL_TIME
from engine.model.words import UNKNOWN, word_of
from engine.strategy.compiled.arithmetic import Arithmetic
from engine.strategy.compiled.core import Value
from engine.strategy.compiled.kinds import (
    BAR,
    BIT,
    FLOAT,
    INSTRUMENT,
    INSTRUMENTS,
    INT,
    NONE,
    OPEN_ORDER,
    PTR,
    RANDOM,
    REASON,
    STORED,
    WORD,
    ArrayKind,
    BookKind,
    DictKind,
    Field,
    Kind,
    LevelsKind,
    ListKind,
    Maybe,
    ObjectKind,
    OrdersKind,
    Pointer,
    RowKind,
    Scalar,
    Struct,
    TupleKind,
)
from engine.strategy.compiled.source import Source, source_of

BAR_INTERVAL = 2  # the part of a bar
_FLAGS = {
    "late": Flag.OUT_OF_ORDER,
    "doubtful": Flag.MAYBE_BAD_BOOK,
    "final": Flag.FINAL,
    "revised": Flag.REVISED,
}
_OPEN_STATES = {
    int(State.SUBMITTED): "submitted",
    int(State.WORKING): "working",
    int(State.CANCELLING): "cancelling",
}
# By event and state, as engine.loop.caller words them.
_FINAL_STATES = {
    int(State.FILLED): "filled",
    int(State.CANCELLED): "cancelled",
    int(State.REJECTED): "rejected",
    int(State.EXPIRED): "expired",
    int(State.REFUSED): "refused",
}
_EVENT_WORDS = {
    int(Event.ACCEPTED): "accepted",
    int(Event.TRIGGERED): "triggered",
    int(Event.AMENDED): "amended",
    int(Event.AMEND_REJECTED): "amend_rejected",
}
CONTEXT_NAMES = (
    *("now", "random", "instruments", "instrument"),
    *("market", "limit", "stop", "trail", "oco", "bracket", "amend"),
    *("cancel", "cancel_all", "target", "orders"),
    *("position", "owned", "cash", "equity", "quote", "book", "last"),
    *("at", "every", "cancel_timer", "log", "round_price", "round_size"),
)


class Values(Arithmetic):
    """Reading."""

    # --- attributes ---

    def attribute(self, value: Value, name: str, node: ast.AST) -> Value:
        """value.name."""
        value = self.certain(value, node, "AttributeError", f"'NoneType' object has no attribute '{name}'")
        kind = value.kind
        if isinstance(kind, Struct):
            found = kind.attribute(name)
            if found is not None:
                return self._made(value, *found)
        elif isinstance(kind, ObjectKind):
            return self._member(value, kind, name, node)
        elif kind == INSTRUMENT:
            return self._of_instrument(value, name, node)
        elif isinstance(kind, BookKind):
            made = self._of_book(value, name)
            if made is not None:
                return made
        elif kind.name == "Context":
            if name == "now":
                return Value(INT, (self.state("now"),))
            if name == "random":
                return Value(RANDOM)
            if name == "instruments":
                return Value(INSTRUMENTS)
            close = difflib.get_close_matches(name, CONTEXT_NAMES, n=1)
            if name not in CONTEXT_NAMES:
                self.refuse(
                    node,
                    f"ctx has no {name}",
                    f'did you mean "{close[0]}"' if close else "see docs/strategies.md",
                )
        self.refuse(node, f"{kind.name}.{name}", _way_to_attribute(kind))

    def _made(self, value: Value, part: int, how: str) -> Value:
        """An attribute of an event, from its parts."""
        parts = value.parts
        raw, who = parts[part], parts[0]
        if value.kind is BAR and (how == "bar_end" or part == BAR_INTERVAL):
            self.program.wants_intervals = True
        if how == "int":
            return Value(INT, (raw,))
        if how == "instrument":
            return Value(INSTRUMENT, (raw,))
        if how in ("price", "size"):
            return self.decimal(raw, who, f"{how}_decimals")
        if how == "time":
            there = self.make(f"icmp ne i64 {raw}, {NULL_TIME}")
            return Value(Maybe(INT), (there, raw))
        if how == "limit":
            there = self.make(f"icmp ne i64 {raw}, 0")
            return Value(Maybe(FLOAT), (there, *self.decimal(raw, who, "price_decimals").parts))
        if how == "money":
            amount = self.make(f"sitofp i64 {raw} to double")
            return Value(FLOAT, (self.make(f"fdiv double {amount}, 1.0e8"),))
        if how == "bool":
            return self.boolean(self.make(f"icmp ne i64 {raw}, 0"))
        if how in _FLAGS:
            masked = self.make(f"and i64 {raw}, {int(_FLAGS[how])}")
            return self.boolean(self.make(f"icmp ne i64 {masked}, 0"))
        if how in ("mid", "spread"):
            bid, ask = (self.decimal(parts[i], who, "price_decimals").parts[0] for i in (1, 3))
            if how == "spread":
                return Value(FLOAT, (self.make(f"fsub double {ask}, {bid}"),))
            total = self.make(f"fadd double {bid}, {ask}")
            return Value(FLOAT, (self.make(f"fdiv double {total}, 2.0"),))
        if how == "bar_end":
            return Value(INT, (self.make(f"add i64 {parts[1]}, {parts[2]}"),))
        if how == "open_state":
            return self._chosen(raw, _OPEN_STATES, UNKNOWN)
        if how == "fill_reason":
            return self._chosen(raw, {int(r): REASON_NAMES[int(r)] for r in Reason}, UNKNOWN)
        if how == "fee_in":
            return self._chosen(raw, dict(enumerate(FEE_ASSETS)), UNKNOWN)
        if how == "update_state":
            event = parts[9]
            word = self._chosen(raw, _FINAL_STATES, word_of(""))
            return self._chosen(event, _EVENT_WORDS, word.parts[0])
        assert how == "update_reason"
        # Of a fill: none. Of what our own risk refused: words of its own, which are no Word.
        filled = self.make(f"icmp eq i64 {parts[2]}, {int(State.FILLED)}")
        amended = self.make(f"icmp eq i64 {parts[9]}, {int(Event.AMEND_REJECTED)}")
        ours = self.make(f"icmp sge i64 {raw}, {int(Reason.HALTED)}")
        refused = self.make(f"icmp eq i64 {parts[2]}, {int(State.REFUSED)}")
        refused = self.make(f"or i1 {refused}, {self.make(f'and i1 {amended}, {ours}')}")
        names = {int(r): reason_name(int(r)) for r in Reason if r}
        word = self._chosen(raw, names, word_of(""))
        own = self.select(refused, "i64", str(UNKNOWN), word.parts[0])
        return Value(REASON, (self.select(filled, "i64", str(word_of("")), own),))

    def _chosen(self, code: str, names: dict[int, str], otherwise: int | str) -> Value:
        """The Word of a code."""
        word = str(otherwise)
        for number, text in names.items():
            word = self.select(self.make(f"icmp eq i64 {code}, {number}"), "i64", str(word_of(text)), word)
        return Value(WORD, (word,))

    def _of_instrument(self, value: Value, name: str, node: ast.AST) -> Value:
        index = value.parts[0]
        if name == "index":
            return Value(INT, (index,))
        if name in ("price_increment", "size_increment"):
            self.program.uses_increments = True
            own = ("tick", "price_decimals") if name == "price_increment" else ("lot", "size_decimals")
            return self.decimal(self.instrument(index, own[0]), index, own[1])
        self.refuse(
            node,
            f"Instrument.{name}",
            "keep what you need of it in a field, in on_start, or compare instruments",
        )

    def _of_book(self, value: Value, name: str) -> Value | None:
        index, depth = value.parts
        if name == "instrument":
            return Value(INSTRUMENT, (index,))
        if name in ("bids", "asks"):
            return Value(LevelsKind(1 if name == "bids" else -1), (index, depth))
        if name in ("bid", "ask"):
            return self._best(index, 1 if name == "bid" else -1)
        if name == "mid":
            bid, ask = self._best(index, 1), self._best(index, -1)
            both = self.make(f"and i1 {bid.parts[0]}, {ask.parts[0]}")
            total = self.make(f"fadd double {bid.parts[1]}, {ask.parts[1]}")
            return Value(Maybe(FLOAT), (both, self.make(f"fdiv double {total}, 2.0")))
        return None

    def _best(self, index: str, sign: int) -> Value:
        there, price, _ = self.level(index, sign, "0")
        return Value(Maybe(FLOAT), (self.make(f"icmp ne i64 {there}, 0"), price))

    def level(self, index: str, sign: int, number: str) -> tuple[str, str, str]:
        """Whether there is a level, its price and its size."""
        out = self.slot("[2 x i64]")
        place = self.make(f"ptrtoint ptr {out} to i64")
        there = self.operation("level", f"i64 {index}", f"i64 {sign}", f"i64 {number}", f"i64 {place}")
        price = self.decimal(self.load("i64", out), index, "price_decimals").parts[0]
        size = self.decimal(self.load("i64", self.at(out, 8)), index, "size_decimals").parts[0]
        return there, price, size

    # --- the strategy's objects ---

    def _member(self, value: Value, kind: ObjectKind, name: str, node: ast.AST) -> Value:
        field = kind.shape.fields.get(name)
        if field is not None:
            return self.field(value, field, node)
        found = inspect.getattr_static(kind.shape.cls, name, None)
        if isinstance(found, property) and isinstance(found.fget, FunctionType):
            return self.call_function(source_of(found.fget), [value], node)
        if found is None or isinstance(found, MemberDescriptorType):
            known = ", ".join(sorted(kind.shape.fields)) or "none"
            self.refuse(
                node,
                f"{kind.name} has no field {name} after on_start",
                f"declare it there: self.{name} = 0.0 (its fields: {known})",
            )
        constant = self.constant(found)
        if constant is None:
            self.refuse(
                node, f"{kind.name}.{name} is a {type(found).__name__}", "call it, or make it a field"
            )
        return constant

    def field(self, value: Value, field: Field, node: ast.AST) -> Value:
        """A field of an object."""
        if field.refused:
            way_out = (
                "a field holds numbers, texts, instruments, lists and tuples of them, dicts by instrument, "
                "arrays, and objects of such fields"
            )
            if "dict" in field.refused:
                way_out = "make it by instrument, whole, in on_start: dict.fromkeys(ctx.instruments, 0.0)"
            self.refuse(node, f"self.{field.name} {field.refused}", way_out)
        if field.kind is None:
            return Value(NONE)
        at = self.at(value.parts[0], field.offset)
        if not isinstance(field.kind, Scalar):
            return Value(field.kind, (self.at("%record", self.load_fixed("i64", at)),))
        read = self.cell(field.kind, at)
        if not field.maybe:
            return read
        there = self.make(f"icmp ne i64 {self.load('i64', self.at(at, 8))}, 0")
        return Value(Maybe(field.kind), (there, *read.parts))

    def cell(self, kind: Kind, at: str) -> Value:
        """What a place of 8 bytes holds."""
        if isinstance(kind, Scalar):
            if kind.part == BIT:
                return Value(kind, (self.make(f"icmp ne i64 {self.load('i64', at)}, 0"),))
            return Value(kind, (self.load(kind.part, at),))
        assert isinstance(kind, Pointer)
        return Value(kind, (self.at("%record", self.load_fixed("i64", at)),))

    def put(self, value: Value, at: str) -> None:
        """Write a scalar into a place of 8 bytes."""
        assert isinstance(value.kind, Scalar)
        if value.kind.part == BIT:
            self.store("i64", self.make(f"zext i1 {value.parts[0]} to i64"), at)
        else:
            self.store(value.kind.part, value.parts[0], at)

    def set_field(self, value: Value, name: str, new: Value, node: ast.AST) -> None:
        """value.name = new."""
        kind = value.kind
        if not isinstance(kind, ObjectKind):
            self.refuse(node, f"assigning to {kind.name}.{name}", "events and views are what they are")
        field = kind.shape.fields.get(name)
        if field is None:
            self.refuse(
                node,
                f"{kind.name} has no field {name} after on_start",
                f"declare it there, with a value of the kind that it will hold: self.{name} = 0.0",
            )
        if field.refused or (field.kind is not None and not isinstance(field.kind, Scalar)):
            self.refuse(
                node,
                f"self.{name} holds a {field.kind.name if field.kind else 'value'} that a handler replaces",
                "make it in on_start, and change what is in it",
            )
        if new.kind != NONE and field.kind is None:
            inner = new.kind.inner if isinstance(new.kind, Maybe) else new.kind
            if inner not in STORED:
                self.mismatch_field(node, name, new.kind)
            field.kind, self.program.changed = inner, True
        if (new.kind == NONE or isinstance(new.kind, Maybe)) and not field.maybe:
            field.maybe, self.program.changed = True, True
        at = self.at(value.parts[0], field.offset)
        if field.kind is None:
            return
        wanted: Kind = Maybe(field.kind) if field.maybe else field.kind
        fitted = self.fit(new, wanted, node, f"self.{name}")
        if field.maybe:
            bit = self.make(f"zext i1 {fitted.parts[0]} to i64")
            self.store("i64", bit, self.at(at, 8))
            fitted = Value(field.kind, fitted.parts[1:])
        self.put(fitted, at)

    def mismatch_field(self, node: ast.AST, name: str, kind: Kind) -> None:
        """Refuse a kind that no field holds."""
        way_out = "keep its numbers in fields of their own"
        if kind.name.startswith("numpy."):
            way_out = "write float(...) or int(...) around it"
        self.refuse(node, f"self.{name} = a {kind.name}", way_out)

    def constant(self, found: Any) -> Value | None:
        """A number, text, None or tuple of them that stands in a class or a module."""
        if found is None:
            return Value(NONE)
        if type(found) is bool:
            return self.boolean("true" if found else "false")
        if type(found) is int and abs(found) < 2**63:
            return self.integer(found)
        if type(found) is float:
            return self.floating(found)
        if type(found) is str:
            return self.word(found)
        if type(found) is tuple:
            items = [self.constant(item) for item in found]
            if all(item is not None for item in items):
                return self.tuple_of([item for item in items if item is not None])
        return None

    def tuple_of(self, items: list[Value]) -> Value:
        """A tuple of values."""
        return Value(
            TupleKind(tuple(item.kind for item in items)),
            tuple(part for item in items for part in item.parts),
        )

    # --- items ---

    def length(self, value: Value, node: ast.AST) -> str:
        """len(value)."""
        kind = value.kind
        if isinstance(kind, ListKind | ArrayKind | DictKind):
            return self.load_fixed("i64", value.parts[0])
        if isinstance(kind, RowKind | TupleKind):
            return str(len(kind.items))
        if kind is INSTRUMENTS:
            return self.state("visible_count")
        if isinstance(kind, OrdersKind):
            return self.operation("order_count", f"i64 {value.parts[0]}", f"i64 {value.parts[1]}")
        if isinstance(kind, LevelsKind):
            index, depth = value.parts
            return self.operation("level_count", f"i64 {index}", f"i64 {kind.sign}", f"i64 {depth}")
        self.refuse(node, f"len() of {kind.name}")

    def item(self, value: Value, index: str, node: ast.AST) -> Value:
        """The item at an index that is within the length."""
        kind = value.kind
        if isinstance(kind, ListKind | ArrayKind):
            place = self.make(f"add i64 {self.make(f'shl i64 {index}, 3')}, 8")
            return self.cell(kind.item, self.at(value.parts[0], place))
        if kind is INSTRUMENTS:
            base = self.state("visible", PTR)
            return Value(INSTRUMENT, (self.load("i64", self.at(base, self.make(f"shl i64 {index}, 3"))),))
        if isinstance(kind, LevelsKind):
            _, price, size = self.level(value.parts[0], kind.sign, index)
            return self.tuple_of([Value(FLOAT, (price,)), Value(FLOAT, (size,))])
        if isinstance(kind, OrdersKind):
            return self._order_at(value, index)
        if isinstance(kind, TupleKind | RowKind):
            items = self.unpacked(value)
            if items and all(item.kind == items[0].kind for item in items):
                return self._picked(items, index)
            self.refuse(node, "an index into a tuple of different kinds", "write the index as a number")
        self.refuse(node, f"{kind.name} is no sequence")

    def _picked(self, items: list[Value], index: str) -> Value:
        """One of several values."""
        parts = items[-1].parts
        for i, item in reversed(list(enumerate(items[:-1]))):
            bit = self.make(f"icmp eq i64 {index}, {i}")
            parts = tuple(
                self.select(bit, kind, yes, no)
                for kind, yes, no in zip(item.kind.parts, item.parts, parts, strict=True)
            )
        return Value(items[0].kind, parts)

    def unpacked(self, value: Value) -> list[Value]:
        """The items of a tuple whose length is known."""
        if isinstance(value.kind, RowKind):
            return [
                self.cell(kind, self.at(value.parts[0], 8 * i)) for i, kind in enumerate(value.kind.items)
            ]
        return self.items_of(value)

    def _order_at(self, value: Value, index: str) -> Value:
        """The order at a place of the list, counted from the oldest."""
        only, last, _ = value.parts
        slot, count = self.slot("i64"), self.slot("i64")
        self.store("i64", self.next_order("-1", only, last), slot)
        self.store("i64", index, count)
        again, on, out = self.label("again"), self.label("on"), self.label("out")
        self.begin(again)
        left = self.load("i64", count)
        self.branch(self.make(f"icmp sgt i64 {left}, 0"), on, out)
        self.begin(on)
        self.store("i64", self.next_order(self.load("i64", slot), only, last), slot)
        self.store("i64", self.make(f"sub i64 {left}, 1"), count)
        self.end(f"br label %{again}")
        self.begin(out)
        return self.open_order(self.load("i64", slot), value)

    def next_order(self, slot: str, only: str, last: str) -> str:
        """Slot of the order after a slot."""
        return self.operation("next_order", f"i64 {slot}", f"i64 {only}", f"i64 {last}")

    def open_order(self, slot: str, orders: Value) -> Value:
        """What is known of the order in a slot."""
        from engine.execution.state import ORDER

        fields = ORDER.fields
        assert fields is not None
        base = self.at(self.state("orders", PTR), self.make(f"mul i64 {slot}, {ORDER.itemsize}"))

        def read(name: str) -> str:
            dtype, offset = fields[name][:2]
            bits = 8 * dtype.itemsize
            raw = self.load(f"i{bits}", self.at(base, int(offset)))
            if bits == 64:
                return raw
            return self.make(f"{'sext' if dtype.kind == 'i' else 'zext'} i{bits} {raw} to i64")

        state = self.operation("order_state", f"i64 {slot}", f"i64 {orders.parts[2]}")
        names = ("instrument", "number", "side", "size", "filled", "known_price", "stop")
        return Value(OPEN_ORDER, (*(read(name) for name in names), state))

    # --- what functions need of those above ---

    @abstractmethod
    def call_function(self, source: Source, arguments: list[Value], node: ast.AST) -> Value:
        """Call a function of the author's, or of the engine's that may be compiled."""


def _way_to_attribute(kind: Kind) -> str:
    if isinstance(kind, ListKind):
        return "lists keep the length that on_start gave them; use an index"
    if isinstance(kind, DictKind):
        return "a dict keeps the keys that on_start gave it; read and write its items"
    return ""
