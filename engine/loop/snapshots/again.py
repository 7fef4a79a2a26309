"""A strategy's fields out of their plain form (see `objects`): into an object that is there already.

What the object holds is filled where it can be, list by list and array by array, because compiled code and
other fields may hold the very same. Where a field holds something of another form, it gets a new one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np

from engine.loop.snapshots.names import find
from engine.model.errors import EngineError, StrategyError
from engine.model.instruments import Instrument
from engine.strategy.loader import explain_failure

_MISSING = object()
T = TypeVar("T")


class Reader:
    """Reads what a Writer wrote: one method a form, named after it; `old` is what stands there now."""

    def __init__(self, strategy: Any, instruments: Sequence[Instrument], context: Any) -> None:
        self._strategy = strategy
        self._instruments = instruments
        self._context = context
        self._made: list[Any] = []  # by number
        self._used: set[int] = set()  # ids of those: each is filled once

    def read(self, form: Any, old: Any = _MISSING) -> Any:
        """The value of a form, in place of `old` where that can be filled."""
        if not isinstance(form, list):
            return form
        read: Callable[..., Any] = getattr(self, f"read_{form[0]}")
        return read(old, *form[1:])

    def _fill(self, old: Any, kind: type[T], make: Callable[[], T], *, fits: bool = True) -> T:
        """`old`, if it can be filled, else a new one; with its number."""
        made = old if fits and type(old) is kind and id(old) not in self._used else make()
        self._used.add(id(made))
        self._made.append(made)
        return made

    def _all(self, forms: list[Any], olds: Sequence[Any] = ()) -> list[Any]:
        if not any(isinstance(form, list) for form in forms):
            return forms
        there = len(olds)
        return [self.read(form, olds[i] if i < there else _MISSING) for i, form in enumerate(forms)]

    def _named(self, name: str) -> Any:
        found = find(name, type(self._strategy))
        if found is None:
            shown = name.partition(":")[2]
            raise StrategyError(
                f"the snapshot holds {shown}, which the strategy has no more",
                hint="a run goes on from a snapshot with the strategy that it was made with",
            )
        return found

    # --- values ---

    def read_int(self, _old: Any, text: str) -> int:
        """A whole number beyond 64 bits."""
        return int(text)

    def read_bytes(self, _old: Any, content: bytes) -> bytes:
        """Bytes."""
        return content

    def read_scalar(self, _old: Any, dtype: Any, content: bytes) -> Any:
        """A scalar of NumPy's."""
        return np.frombuffer(content, _dtype(dtype))[0]

    def read_context(self, _old: Any) -> Any:
        """`ctx`."""
        return self._context

    def read_random(self, _old: Any) -> Any:
        """`ctx.random`."""
        return self._context.random

    def read_class(self, _old: Any, name: str) -> Any:
        """A class."""
        return self._named(name)

    def read_function(self, _old: Any, name: str) -> Any:
        """A function of a module."""
        return self._named(name)

    def read_member(self, _old: Any, name: str, member: str) -> Any:
        """A member of an enumeration."""
        return self._named(name)[member]

    def read_instrument(self, _old: Any, index: int) -> Instrument:
        """An instrument as it is defined now."""
        return self._instruments[index]

    def read_former(self, _old: Any, values: list[Any]) -> Instrument:
        """An instrument as it was defined when the strategy kept it."""
        names = Instrument.__struct_fields__
        return msgspec.convert(dict(zip(names, values, strict=True)), Instrument)

    def read_struct(self, _old: Any, name: str, forms: list[Any]) -> Any:
        """An event."""
        return self._named(name)(*self._all(forms))

    def read_method(self, _old: Any, form: Any, name: str) -> Any:
        """A method of an object."""
        return getattr(self.read(form), name)

    def read_same(self, _old: Any, number: int) -> Any:
        """What another field holds."""
        return self._made[number]

    # --- what holds others ---

    def read_tuple(self, old: Any, forms: list[Any]) -> tuple[Any, ...]:
        """A tuple; itself while it holds the very objects it held: compiled code knows it by its place."""
        olds = old if type(old) is tuple else ()
        made = tuple(self._all(forms, olds))
        return olds if len(olds) == len(made) and all(map(_alike, olds, made)) else made

    def read_frozenset(self, _old: Any, forms: list[Any]) -> frozenset[Any]:
        """A set that cannot change."""
        return frozenset(self._all(forms))

    def read_list(self, old: Any, forms: list[Any]) -> list[Any]:
        """A list."""
        made: list[Any] = self._fill(old, list, list)
        made[:] = self._all(forms, tuple(made))
        return made

    def read_dict(self, old: Any, pairs: list[list[Any]]) -> dict[Any, Any]:
        """A dict, in its order."""
        made: dict[Any, Any] = self._fill(old, dict, dict)
        before = dict(made)
        made.clear()
        for key_form, form in pairs:
            key = self.read(key_form)
            made[key] = self.read(form, before.get(key, _MISSING))
        return made

    def read_set(self, old: Any, forms: list[Any]) -> set[Any]:
        """A set."""
        made: set[Any] = self._fill(old, set, set)
        made.clear()
        made.update(self._all(forms))
        return made

    def read_deque(self, old: Any, most: int | None, forms: list[Any]) -> deque[Any]:
        """A deque."""
        fits = type(old) is deque and old.maxlen == most
        made: deque[Any] = self._fill(old, deque, lambda: deque(maxlen=most), fits=fits)
        values = self._all(forms, tuple(made))
        made.clear()
        made.extend(values)
        return made

    def read_bytearray(self, old: Any, content: bytes) -> bytearray:
        """Bytes that can change."""
        made = self._fill(old, bytearray, bytearray)
        made[:] = content
        return made

    def read_array(self, old: Any, dtype: Any, shape: list[int], content: bytes) -> Any:
        """An array."""
        values = np.frombuffer(content, _dtype(dtype)).reshape(shape)
        fits = type(old) is np.ndarray and (old.dtype, old.shape) == (values.dtype, values.shape)
        made = self._fill(old, np.ndarray, values.copy, fits=fits and old.flags.writeable)
        made[...] = values
        return made

    def read_strategy(self, old: Any, fields: list[list[Any]]) -> Any:
        """The strategy itself."""
        assert old is self._strategy
        return self._set_fields(self._fill(old, type(old), lambda: old), fields)

    def read_object(self, old: Any, name: str, fields: list[list[Any]]) -> Any:
        """An object that is its fields."""
        kind = self._named(name)
        return self._set_fields(self._fill(old, kind, lambda: object.__new__(kind)), fields)

    def _set_fields(self, made: Any, fields: list[list[Any]]) -> Any:
        for field, form in fields:
            before = getattr(made, field, _MISSING)
            value = self.read(form, before)
            if before is not value:
                object.__setattr__(made, field, value)
        names = {field for field, _ in fields}
        for field in [field for field in getattr(made, "__dict__", {}) if field not in names]:
            object.__delattr__(made, field)
        return made

    def read_new(self, _old: Any, name: str, arguments: list[Any], *parts: Any) -> Any:
        """An object that its class makes without calling its __init__."""
        kind = self._named(name)
        return self._complete(lambda given: kind.__new__(kind, *given), arguments, *parts)

    def read_call(self, _old: Any, name: str, arguments: list[Any], *parts: Any) -> Any:
        """An object that its class makes from arguments."""
        kind = self._named(name)
        return self._complete(lambda given: kind(*given), arguments, *parts)

    def _complete(
        self, make: Callable[[list[Any]], Any], arguments: list[Any], state: Any, items: Any, pairs: Any
    ) -> Any:
        place = len(self._made)
        self._made.append(None)  # its number; only what is in it could refer to it
        made = self._made[place] = make(self._all(arguments))
        for name, form in state or ():
            object.__setattr__(made, name, self.read(form))
        for form in items or ():
            made.append(self.read(form))
        for key, form in pairs or ():
            made[self.read(key)] = self.read(form)
        return made


def _alike(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, bool | int | float | str) and a == b)


def _dtype(written: Any) -> Any:
    return np.dtype(written if isinstance(written, str) else [tuple(field) for field in written])


def fill(strategy: Any, content: bytes, instruments: Sequence[Instrument], context: Any) -> None:
    """Give a strategy the fields that `objects.strategy_bytes` wrote.

    Raises StrategyError when they are not such as it can have.
    """
    kind, form = msgspec.msgpack.decode(content)
    reader = Reader(strategy, instruments, context)
    own = kind == "own"
    try:
        if own:
            strategy.restore(reader.read(form))
        else:
            reader.read(form, strategy)
    except EngineError:
        raise
    except Exception as error:
        what = "restore() failed" if own else "the strategy cannot have the fields that it had"
        raise StrategyError(
            f"{what}: {explain_failure(error)}",
            hint="a run goes on from a snapshot with the strategy that it was made with",
        ) from error
