"""A strategy's fields as plain values: the same fields give the same bytes, in every process.

    None, bool, int, float, str       themselves (an int beyond 64 bits: as text)
    anything else                     a list that begins with the name of its form, see `Writer`

What is mutable is written where it is met first; later it is a reference to that place, so that two fields
that hold one list hold one list again. Dicts keep their order, because a loop over one follows it; sets have
none and are sorted. A class is written by its name and found again among the strategy's own modules, the
engine's indicators and a short list of Python's; nothing is imported, and no code is run but what makes an
object of a class from its parts.

What cannot be written (an iterator, a lambda, a module) is named with the field that holds it.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

import msgspec
import numpy as np

from engine.loop.context import LoopContext
from engine.loop.random import SeededRandom
from engine.loop.snapshots.names import name_of
from engine.model.errors import EngineError, StrategyError
from engine.model.instruments import Instrument
from engine.strategy.loader import explain_failure

MAX_DEPTH = 200
_LARGEST = 2**63
_PLAIN = {float, str, bool, type(None)}
_pack = msgspec.msgpack.Encoder(order="deterministic").encode


class Unfit(Exception):
    """A field holds what cannot be kept; the text says where and why."""


class Writer:
    """Writes one strategy's fields. `instruments` are those of the run as they are defined now."""

    def __init__(self, strategy: Any, instruments: Iterable[Instrument]) -> None:
        self._strategy = strategy
        self._instruments = list(instruments)
        self._numbers: dict[int, int] = {}  # id -> number of what was written before
        self._held: list[Any] = []  # keeps ids valid
        self._memory: list[tuple[int, int, str]] = []  # of arrays: two that share some cannot be told apart
        self._depth = 0
        self._names: dict[Any, str] = {}  # of classes and functions

    def write(self, value: Any, where: str) -> Any:  # noqa: C901, PLR0911  one branch a form
        """A value's plain form; Unfit when it has none."""
        kind = type(value)
        if value is None or kind in (bool, float, str):
            return value
        if kind is int:
            return value if -_LARGEST <= value < _LARGEST else ["int", str(value)]
        if kind is bytes:
            return ["bytes", value]
        if isinstance(value, Instrument):
            return self._instrument(value)
        if isinstance(value, np.generic):
            return ["scalar", self._dtype(value.dtype, where), value.tobytes()]
        if isinstance(value, LoopContext):
            return ["context"]
        if isinstance(value, SeededRandom):
            return ["random"]
        if isinstance(value, type):
            return ["class", self._name(value, where)]
        if isinstance(value, Enum):
            return ["member", self._name(kind, where), value.name]
        if isinstance(value, types.FunctionType | types.BuiltinFunctionType):
            return ["function", self._name(value, where)]
        number = self._numbers.get(id(value))
        if number is not None:
            return ["same", number]
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unfit(f"{where} is nested more than {MAX_DEPTH} deep")
        written = self._form(value, kind, where)
        self._depth -= 1
        return written

    def _form(self, value: Any, kind: type, where: str) -> Any:  # noqa: C901, PLR0911, PLR0912  as above
        if kind is tuple:
            return ["tuple", self._all(value, where)]
        if kind is frozenset:
            return ["frozenset", self._sorted(value, where)]
        if isinstance(value, msgspec.Struct):
            fields = [self.write(getattr(value, name), f"{where}.{name}") for name in value.__struct_fields__]
            return ["struct", self._name(kind, where), fields]
        if kind is types.MethodType:
            return ["method", self.write(value.__self__, where), value.__func__.__name__]
        self._enter(value)
        if kind is list:
            return ["list", self._all(value, where)]
        if kind is dict:
            return ["dict", self._pairs(value.items(), where)]
        if kind is set:
            return ["set", self._sorted(value, where)]
        if kind is deque:
            return ["deque", value.maxlen, self._all(value, where)]
        if kind is bytearray:
            return ["bytearray", bytes(value)]
        if kind is np.ndarray:
            return self._array(value, where)
        if isinstance(value, types.ModuleType | types.GeneratorType) or hasattr(value, "__next__"):
            raise Unfit(f"{where} is a {kind.__name__}")
        if value is self._strategy:
            return ["strategy", self._fields(value, where)]
        name = self._name(kind, where)
        if is_plain(kind):
            return ["object", name, self._fields(value, where)]
        return self._reduced(value, name, where)

    def _fields(self, value: Any, where: str) -> list[Any]:
        return [[name, self.write(item, f"{where}.{name}")] for name, item in fields_of(value)]

    def _reduced(self, value: Any, name: str, where: str) -> Any:
        try:
            reduced = value.__reduce_ex__(2)
        except TypeError as error:
            raise Unfit(f"{where} is a {type(value).__name__}: {error}") from None
        if not isinstance(reduced, tuple) or (len(reduced) > 2 and isinstance(reduced[2], tuple)):
            raise Unfit(f"{where} is a {type(value).__name__}")
        make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        if make.__name__ == "__newobj__":
            arguments = arguments[1:]
        elif make is not type(value):
            raise Unfit(f"{where} is a {type(value).__name__}")
        return [
            "new" if make is not type(value) else "call",
            name,
            self._all(arguments, where),
            None if state is None else self._pairs(sorted(state.items()), where),
            None if items is None else self._all(items, where),
            None if pairs is None else self._pairs(pairs, where),
        ]

    def _enter(self, value: Any) -> None:
        self._numbers[id(value)] = len(self._held)
        self._held.append(value)

    def _all(self, values: Iterable[Any], where: str) -> list[Any]:
        values = list(values)
        kinds = set(map(type, values))
        if kinds <= _PLAIN or (kinds == {int} and -_LARGEST <= min(values) <= max(values) < _LARGEST):
            return values
        return [self.write(value, f"{where}[{i}]") for i, value in enumerate(values)]

    def _pairs(self, items: Iterable[tuple[Any, Any]], where: str) -> list[list[Any]]:
        return [
            [self.write(key, f"a key of {where}"), self.write(value, f"{where}[{key!r}]")]
            for key, value in items
        ]

    def _sorted(self, values: Iterable[Any], where: str) -> list[Any]:
        count = len(self._held)
        written = [self.write(value, f"an item of {where}") for value in values]
        if len(self._held) != count:
            raise Unfit(f"{where} is a set of objects, which has no order")
        return sorted(written, key=_pack)

    def _array(self, value: Any, where: str) -> Any:
        if value.nbytes:
            first, last = np.lib.array_utils.byte_bounds(value)
            for start, stop, other in self._memory:
                if first < stop and start < last:
                    raise Unfit(f"{where} shares its memory with {other}")
            self._memory.append((first, last, where))
        return ["array", self._dtype(value.dtype, where), list(value.shape), value.tobytes()]

    def _dtype(self, dtype: Any, where: str) -> Any:
        if dtype.hasobject:
            raise Unfit(f"{where} is an array of objects")
        return dtype.str if dtype.names is None else [list(map(str, field)) for field in dtype.descr]

    def _instrument(self, value: Instrument) -> Any:
        if value.index < len(self._instruments) and self._instruments[value.index] is value:
            return ["instrument", value.index]
        return ["former", [getattr(value, name) for name in value.__struct_fields__]]

    def _name(self, value: Any, where: str) -> str:
        name = self._names.get(value)
        if name is None:
            name = self._names[value] = name_of(value, type(self._strategy)) or ""
        if not name:
            what = value.__name__ if isinstance(value, type) else f"function {value.__name__}"
            raise Unfit(f"{where} is a {what}")
        return name


_WAYS = ("__new__", "__reduce__", "__reduce_ex__", "__getstate__")  # what it is made of, and how


def fields_of(value: Any) -> Iterator[tuple[str, Any]]:
    """An object's fields by name, slots and all."""
    names = set(getattr(value, "__dict__", {}))
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        names |= {slots} if isinstance(slots, str) else set(slots)
    for name in sorted(names - {"__dict__", "__weakref__"}):
        try:
            yield name, getattr(value, name)
        except AttributeError:
            continue  # a slot that is empty


def is_plain(kind: type) -> bool:
    """Whether an object of this class is its fields and nothing else."""
    own = [name for name in _WAYS if getattr(kind, name) is not getattr(object, name)]
    return not own or (own == ["__getstate__"] and is_dataclass(kind))


def strategy_bytes(strategy: Any, instruments: Iterable[Instrument]) -> bytes:
    """A strategy's fields as bytes; Unfit names the first that cannot be kept.

    A strategy that is not compiled may say itself what they are: `snapshot(self)` returns it, and
    `restore(self, state)` takes it in another process.
    """
    writer = Writer(strategy, instruments)
    if has_hooks(strategy):
        try:
            state = strategy.snapshot()
        except EngineError:
            raise
        except Exception as error:
            raise StrategyError(f"snapshot() failed: {explain_failure(error)}") from error
        return _pack(["own", writer.write(state, "what snapshot() returns")])
    return _pack(["fields", writer.write(strategy, "self")])


def has_hooks(strategy: Any) -> bool:
    """Whether a strategy keeps its state itself."""
    hooks = callable(getattr(strategy, "snapshot", None)) and callable(getattr(strategy, "restore", None))
    return hooks and not strategy.__engine_compiled__
