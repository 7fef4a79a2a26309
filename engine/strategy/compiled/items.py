"""Items: reading and writing them, dicts by instrument, and whether something is among others."""

from __future__ import annotations

import ast

from engine.strategy.compiled.core import Value
from engine.strategy.compiled.iteration import Iteration
from engine.strategy.compiled.kinds import (
    BOOL,
    FLOAT,
    INSTRUMENT,
    INSTRUMENTS,
    INT,
    NP_BOOL,
    NP_FLOAT,
    NP_INT,
    ArrayKind,
    DictKind,
    LevelsKind,
    ListKind,
    Maybe,
    OrdersKind,
    RowKind,
    Scalar,
    TupleKind,
)

_ARRAY_ITEMS = {NP_FLOAT: FLOAT, NP_INT: INT, NP_BOOL: BOOL}


class Items(Iteration):
    """Items of sequences and dicts."""

    def item_of(self, base: Value, index: Value, node: ast.AST) -> Value:
        """base[index]."""
        base = self.certain(base, node, "TypeError", "'NoneType' object is not subscriptable")
        kind = base.kind
        if isinstance(kind, DictKind):
            return self.cell(kind.item, self._dict_place(base, index, node))
        if isinstance(kind, TupleKind | RowKind) and type(index.known) is int:
            items = self.unpacked(base)
            if not -len(items) <= index.known < len(items):
                self.refuse(node, f"index {index.known} of {len(items)} items", "it would always fail")
            return items[index.known]
        sequences = ListKind | ArrayKind | OrdersKind | LevelsKind | TupleKind | RowKind
        if not isinstance(kind, sequences) and kind is not INSTRUMENTS:
            self.refuse(node, f"an index into a {kind.name}")
        return self.item(base, self._index(base, index, node, ""), node)

    def _index(self, base: Value, index: Value, node: ast.AST, doing: str) -> str:
        """The index of an item that is there, counted from the beginning."""
        number = self.whole(index, node)
        count = self.length(base, node)
        negative = self.make(f"icmp slt i64 {number}, 0")
        turned = self.make(f"add i64 {number}, {count}")
        place = self.select(negative, "i64", turned, number)
        outside = self.make(f"icmp uge i64 {place}, {count}")
        if isinstance(base.kind, ArrayKind):
            message = "index {a} is out of bounds for axis 0 with size {b}"
            self.fail_if(outside, node, "IndexError", message, "ii", number, count)
        else:
            self.fail_if(outside, node, "IndexError", f"{base.kind.name}{doing} index out of range")
        return place

    def _place_of(self, base: Value, index: str) -> str:
        """1 + the position of an instrument's item in a dict, 0 when it has none."""
        pointer = base.parts[0]
        count, places = self.load("i64", pointer), self.load("i64", self.at(pointer, 8))
        within = self.make(f"icmp ult i64 {index}, {places}")
        safe = self.select(within, "i64", index, "0")
        at = self.make(f"add i64 {self.make(f'add i64 {count}, {safe}')}, 2")
        place = self.load("i64", self.at(pointer, self.make(f"shl i64 {at}, 3")))
        return self.select(within, "i64", place, "0")

    def _dict_place(self, base: Value, key: Value, node: ast.AST, *, setting: bool = False) -> str:
        if key.kind != INSTRUMENT:
            self.refuse(node, f"a {key.kind.name} as the key of a dict by instrument", "give an instrument")
        place = self._place_of(base, key.parts[0])
        missing = self.make(f"icmp eq i64 {place}, 0")
        if setting:
            message = "{a}: a compiled strategy's dict keeps the keys that on_start gave it"
            self.fail_if(missing, node, "KeyError", message, "n", key.parts[0])
        else:
            self.fail_if(missing, node, "KeyError", "{a}", "n", key.parts[0])
        pointer = base.parts[0]
        count, places = self.load("i64", pointer), self.load("i64", self.at(pointer, 8))
        start = self.make(f"add i64 {self.make(f'add i64 {count}, {places}')}, 1")
        at = self.make(f"add i64 {start}, {place}")
        return self.at(pointer, self.make(f"shl i64 {at}, 3"))

    def set_item(self, base: Value, index: Value, value: Value, node: ast.AST) -> None:
        """base[index] = value."""
        base = self.certain(base, node, "TypeError", "'NoneType' object does not support item assignment")
        kind = base.kind
        if isinstance(kind, DictKind):
            item, at = kind.item, self._dict_place(base, index, node, setting=True)
        elif isinstance(kind, ListKind | ArrayKind) and not getattr(kind, "is_tuple", False):
            place = self._index(base, index, node, " assignment" if isinstance(kind, ListKind) else "")
            item = kind.item
            at = self.at(base.parts[0], self.make(f"add i64 {self.make(f'shl i64 {place}, 3')}, 8"))
        else:
            self.refuse(node, f"assigning to an item of a {kind.name}")
        if not isinstance(item, Scalar):
            self.refuse(node, f"replacing the {item.name} in a {kind.name}", "change what is in it")
        self.put(self._as_item(value, item, node), at)

    def _as_item(self, value: Value, item: Scalar, node: ast.AST) -> Value:
        """The value as a list's or an array's item; an array makes floats of whole numbers, as NumPy does."""
        plain = _ARRAY_ITEMS.get(item)
        if plain is None:
            return self.fit(value, item, node, "this item")
        if value.kind in (item, plain):
            return Value(item, value.parts)
        if item == NP_FLOAT and value.kind in (INT, BOOL, NP_INT):
            return Value(item, (self.as_float(value),))
        what = value.kind.inner if isinstance(value.kind, Maybe) else value.kind
        self.mismatch(node, "an array's item", plain, what)

    def contains(self, items: Value, wanted: Value, node: ast.AST) -> str:
        """Wanted in items, as a bit."""
        kind = items.kind
        if FLOAT in (wanted.kind, getattr(wanted.kind, "inner", None)):
            self.refuse(node, '"in" with a float', "compare with ==")
        if isinstance(kind, TupleKind):
            bit = "false"
            for item in self.items_of(items):
                if item.kind == FLOAT:
                    self.refuse(node, '"in" with a float', "compare with ==")
                bit = self.make(f"or i1 {bit}, {self.equal(wanted, item, node)}")
            return bit
        if isinstance(kind, DictKind):
            if wanted.kind != INSTRUMENT:
                self.refuse(node, f"a {wanted.kind.name} in a dict by instrument", "look for an instrument")
            return self.make(f"icmp ne i64 {self._place_of(items, wanted.parts[0])}, 0")
        if isinstance(kind, ListKind) or kind is INSTRUMENTS:
            return self._searched(items, wanted, node)
        self.refuse(node, f'"in" with a {kind.name}', "write the loop")

    def _searched(self, items: Value, wanted: Value, node: ast.AST) -> str:
        found, slot = self.slot("i1"), self.slot("i64")
        self.store("i1", "false", found)
        self.store("i64", "0", slot)
        count = self.length(items, node)
        again, inside, out = self.label("again"), self.label("inside"), self.label("out")
        self.begin(again)
        at = self.load("i64", slot)
        left = self.make(f"icmp slt i64 {at}, {count}")
        missing = self.make(f"xor i1 {self.load('i1', found)}, true")
        self.branch(self.make(f"and i1 {left}, {missing}"), inside, out)
        self.begin(inside)
        self.store("i1", self.equal(wanted, self.item(items, at, node), node), found)
        self.store("i64", self.make(f"add i64 {at}, 1"), slot)
        self.end(f"br label %{again}")
        self.begin(out)
        return self.load("i1", found)
