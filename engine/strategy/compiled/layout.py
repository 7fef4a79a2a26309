"""From a strategy's fields after on_start to one record of memory, and back.

Everything takes multiples of 8 bytes, so that there is no padding and a copy of the bytes is a snapshot.
Scalars stand in their object; lists, arrays, dicts and nested objects stand behind it, and are found by
their distance from the record's beginning. An object that two fields hold stands there once.

What cannot be held is no error here: a field that only on_start or on_stop uses may be anything. Compiled
code that uses it is refused with the line that does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from engine.model.errors import StrategyError
from engine.model.instruments import Instrument
from engine.model.units import MAX_INT64
from engine.model.words import text_of, word_of
from engine.strategy.compiled.kinds import (
    BOOL,
    FLOAT,
    INSTRUMENT,
    INT,
    NP_BOOL,
    NP_FLOAT,
    NP_INT,
    WORD,
    ArrayKind,
    DictKind,
    Field,
    Kind,
    ListKind,
    ObjectKind,
    RowKind,
    Scalar,
    Shape,
)

_ARRAYS = {"int64": NP_INT, "float64": NP_FLOAT, "bool": NP_BOOL}
_MISSING = object()


class _Unfit(Exception):
    """Why a value cannot be held."""


class Layout:
    """The record of one strategy: its bytes, its shapes, and the way back."""

    def __init__(self, strategy: Any) -> None:
        self._strategy = strategy
        self._words: list[int | float] = []  # the record, 8 bytes each
        self._places: dict[int, tuple[Kind, int]] = {}  # id -> kind and word, of what is held by reference
        self._held: list[Any] = []  # keeps ids valid
        self._shapes: dict[Any, Shape] = {}
        self._filled: list[tuple[Any, Any, int]] = []  # (kind, value, word) of all that was placed
        kind, _ = self._place(strategy)
        assert isinstance(kind, ObjectKind)
        self.kind = kind
        self.record = np.zeros(len(self._words), np.int64)
        self._write(self.record)

    @property
    def address(self) -> int:
        """Where the record stands."""
        return int(self.record.ctypes.data)

    # --- placing ---

    def _place(self, value: Any) -> tuple[Kind, int]:
        """Kind and word of a value that is held by reference; placed if it is not yet."""
        known = self._places.get(id(value))
        if known is not None:
            return known
        self._held.append(value)
        if isinstance(value, np.ndarray):
            kind, word = self._array(value)
        elif isinstance(value, list | tuple):
            kind, word = self._list(value)
        elif isinstance(value, dict):
            kind, word = self._dict(value)
        elif isinstance(value, msgspec.Struct):
            raise _Unfit(f"is a {type(value).__name__}: keep its numbers instead")
        elif _is_plain_object(value):
            return self._object(value)
        else:
            raise _Unfit(f"is a {type(value).__name__}")
        self._places[id(value)] = kind, word
        self._filled.append((kind, value, word))
        return kind, word

    def _take(self, words: int) -> int:
        start = len(self._words)
        self._words.extend([0] * words)
        return start

    def _object(self, value: Any) -> tuple[Kind, int]:
        fields: dict[str, Field] = {}
        names = list(_fields_of(value))
        offset = 0
        for name in names:
            fields[name] = Field(name, offset, None)
            offset += 16
        word = self._take(offset // 8)
        shape = Shape(type(value), fields, offset)
        kind = ObjectKind(shape)
        self._places[id(value)] = kind, word  # before its fields: one of them may be itself
        for name in names:
            field = fields[name]
            item = getattr(value, name)
            try:
                if item is None:
                    field.maybe = True
                elif (scalar := _scalar(item)) is not None:
                    field.kind = scalar
                else:
                    field.kind, _ = self._place(item)
            except _Unfit as unfit:
                field.refused = str(unfit)
        key = (shape.cls, tuple(field.key() for field in fields.values()))
        same = self._shapes.setdefault(key, shape)
        if same is not shape:
            for name, field in fields.items():
                same.fields[name].maybe |= field.maybe
            kind = ObjectKind(same)
            self._places[id(value)] = kind, word
        self._filled.append((kind, value, word))
        return kind, word

    def _item(self, value: Any) -> Kind:
        if value is None:
            raise _Unfit("holds None among its items")
        scalar = _scalar(value)
        return scalar if scalar is not None else self._place(value)[0]

    def _list(self, value: list[Any] | tuple[Any, ...]) -> tuple[Kind, int]:
        kinds = [self._item(item) for item in value]
        if all(kind == kinds[0] for kind in kinds):
            kind: Kind = ListKind(kinds[0] if kinds else FLOAT, isinstance(value, tuple))
            return kind, self._take(1 + len(value))
        if isinstance(value, tuple):
            return RowKind(tuple(kinds)), self._take(len(value))
        names = " and ".join(sorted({kind.name for kind in kinds}))
        raise _Unfit(
            f"is a list of {names}, of different forms" if " and " not in names else f"mixes {names}"
        )

    def _array(self, value: npt.NDArray[Any]) -> tuple[Kind, int]:
        item = _ARRAYS.get(str(value.dtype))
        if item is None or value.ndim != 1:
            raise _Unfit(f"is an array of {value.dtype} in {value.ndim} dimensions")
        return ArrayKind(item), self._take(1 + len(value))

    def _dict(self, value: dict[Any, Any]) -> tuple[Kind, int]:
        if not value or not all(isinstance(key, Instrument) for key in value):
            raise _Unfit("is a dict whose keys are not all instruments" if value else "is an empty dict")
        kinds = [self._item(item) for item in value.values()]
        if any(kind != kinds[0] for kind in kinds):
            raise _Unfit("is a dict of items that differ in form")
        places = 1 + max(key.index for key in value)
        return DictKind(kinds[0]), self._take(2 + len(value) + places + len(value))

    # --- writing and reading ---

    def _write(self, record: npt.NDArray[np.int64]) -> None:
        floats = record.view(np.float64)

        def put(word: int, kind: Kind | None, value: Any) -> None:
            if kind is None or value is None:
                return
            if kind == FLOAT:
                floats[word] = value
            elif isinstance(kind, Scalar):
                record[word] = _number(kind, value)
            else:
                record[word] = self._places[id(value)][1] * 8

        for kind, value, word in self._filled:
            if isinstance(kind, ObjectKind):
                for field in kind.shape.fields.values():
                    item = getattr(value, field.name)
                    if not field.refused:
                        put(word + field.offset // 8, field.kind, item)
                        record[word + field.offset // 8 + 1] = item is not None
            elif isinstance(kind, ArrayKind):
                record[word] = len(value)
                target = floats if kind.item == NP_FLOAT else record
                target[word + 1 : word + 1 + len(value)] = value
            elif isinstance(kind, ListKind):
                record[word] = len(value)
                for i, item in enumerate(value):
                    put(word + 1 + i, kind.item, item)
            elif isinstance(kind, RowKind):
                for i, (item_kind, item) in enumerate(zip(kind.items, value, strict=True)):
                    put(word + i, item_kind, item)
            elif isinstance(kind, DictKind):
                places = 1 + max(key.index for key in value)
                record[word], record[word + 1] = len(value), places
                keys = word + 2
                table = keys + len(value)
                for i, (key, item) in enumerate(value.items()):
                    record[keys + i] = key.index
                    record[table + key.index] = 1 + i
                    put(table + places + i, kind.item, item)

    def copy_out(self, instruments: Any) -> None:
        """Bring the strategy's fields up to the record."""
        record = self.record
        floats = record.view(np.float64)

        def get(word: int, kind: Kind, old: Any) -> Any:
            if kind == FLOAT:
                return float(floats[word])
            value = int(record[word])
            if kind == BOOL:
                return bool(value)
            if kind == WORD:
                return text_of(value)
            if kind == INSTRUMENT:  # what Python keeps stays what it was when it was kept
                return old if isinstance(old, Instrument) and old.index == value else instruments[value]
            return value

        for kind, value, word in self._filled:
            if isinstance(kind, ObjectKind):
                for field in kind.shape.fields.values():
                    if field.refused or not (field.kind is None or isinstance(field.kind, Scalar)):
                        continue
                    at = word + field.offset // 8
                    old = getattr(value, field.name)
                    new = None
                    if field.kind is not None and (record[at + 1] or not field.maybe):
                        new = get(at, field.kind, old)
                    if new is not old:
                        setattr(value, field.name, new)
            elif isinstance(kind, ArrayKind):
                source = floats if kind.item == NP_FLOAT else record
                value[:] = source[word + 1 : word + 1 + len(value)]
            elif isinstance(kind, ListKind) and not kind.is_tuple and isinstance(kind.item, Scalar):
                value[:] = [get(word + 1 + i, kind.item, old) for i, old in enumerate(value)]
            elif isinstance(kind, DictKind) and isinstance(kind.item, Scalar):
                items = word + 2 + len(value) + int(record[word + 1])
                for i, (key, old) in enumerate(value.items()):
                    value[key] = get(items + i, kind.item, old)

    def copy_in(self) -> None:
        """Bring the record up to the strategy's fields; raises StrategyError when their form has changed."""
        for kind, value, word in self._filled:
            if isinstance(kind, ObjectKind):
                for field in kind.shape.fields.values():
                    if not field.refused:
                        item = getattr(value, field.name, _MISSING)
                        at = word + field.offset // 8
                        self._check(field.kind, item, at, f"self.{field.name}", maybe=field.maybe)
            elif isinstance(kind, ListKind):
                self._check_length(value, word)
                for i, item in enumerate(value):
                    self._check(kind.item, item, word + 1 + i, "an item of a list")
            elif isinstance(kind, DictKind):
                self._check_length(value, word)
                items = word + 2 + len(value) + int(self.record[word + 1])
                for i, (key, item) in enumerate(value.items()):
                    if key.index != self.record[word + 2 + i]:
                        raise _changed("the keys of a dict")
                    self._check(kind.item, item, items + i, "an item of a dict")
        self._write(self.record)

    def _check_length(self, value: Any, word: int) -> None:
        if len(value) != self.record[word]:
            raise _changed("the length of a list or dict")

    def _check(self, kind: Kind | None, item: Any, at: int, what: str, *, maybe: bool = False) -> None:
        """Whether a place can take what Python has put there."""
        if item is None and maybe:
            return
        if kind is None or isinstance(kind, Scalar):
            try:
                scalar = _scalar(item)
            except _Unfit:
                scalar = None
            if kind is None or scalar != kind:
                raise _changed(f"{what} (to {item!r})")
        elif id(item) not in self._places or self._places[id(item)][1] * 8 != self.record[at]:
            raise _changed(what)


def _changed(what: str) -> StrategyError:
    return StrategyError(
        f"a handler that runs in Python has changed {what}, for which the compiled handlers are not made",
        hint="let on_start make lists, dicts and objects, and each field with a value of its kind; later "
        "change the numbers in them only",
    )


def _fields_of(value: Any) -> Iterator[str]:
    """Names of the fields that an object has, slots and all."""
    names = dict.fromkeys(getattr(value, "__dict__", {}))
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if getattr(value, name, _MISSING) is not _MISSING:
                names.setdefault(name)
    return iter(sorted(names))


def _scalar(value: Any) -> Scalar | None:
    """The kind of a scalar, None for anything else. Subclasses (numpy's float64 too) are something else."""
    kind = {int: INT, float: FLOAT, bool: BOOL, str: WORD, Instrument: INSTRUMENT}.get(type(value))
    if kind == INT and not -MAX_INT64 - 1 <= value <= MAX_INT64:
        raise _Unfit("is a whole number that 64 bits do not hold")
    return kind


def _number(kind: Scalar, value: Any) -> int:
    if kind == WORD:
        return word_of(value)
    return int(value.index if kind == INSTRUMENT else value)


def _is_plain_object(value: Any) -> bool:
    cls = type(value)
    return not (
        isinstance(value, type)
        or callable(value)
        or (cls.__module__.startswith("engine.") and not cls.__module__.startswith("engine.market."))
        or cls.__module__ in ("builtins", "numpy", "collections", "decimal", "fractions", "datetime")
    )
