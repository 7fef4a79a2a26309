"""How kernels are written: Python functions, marked here for what they are to machine code.

An entry point (`entry`, `operation`) takes numbers only: the address of the state record, other 64-bit
integers, floats. Crossing from Python then costs a twentieth of a microsecond; arrays and records would cost
a hundred times that. Entry points carry explicit signatures. What stands behind the name in a running
process is machine code out of the kernels' image (engine.model.image), and Numba is not there at all.

Helpers are what entry points are made of. They have no life of their own: Numba sees them where an entry
point is built (engine.model.building), or where a test compiles a kernel of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, cached_property
from typing import Any, TypeVar, cast

from engine.model import image

F = TypeVar("F", bound=Callable[..., Any])

# Helpers are called by kernels only, never from Python or C.
_NO_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_COMMON = {"nogil": True, "error_model": "numpy"}


class Function:
    """A Python function that Numba, when it comes, compiles as a part of kernels.

    Whatever integers it is called with, literals included, it is compiled for int64 alone, unless it is
    `exact`: Numba would make a version for each combination, which made compiling several times as long.
    """

    def __init__(
        self, make: Callable[[], Callable[..., Any]], *, exact: bool = False, **options: Any
    ) -> None:
        self._make = make
        self._exact = exact
        self._options = options

    @cached_property
    def python(self) -> Callable[..., Any]:
        """What it is written as."""
        return self._make()

    @cached_property
    def dispatcher(self) -> Any:
        """What it is to Numba."""
        dispatcher = numba().njit(**_COMMON, **self._options)(self.python)
        return dispatcher if self._exact else _one_integer(dispatcher)

    @property
    def _numba_type_(self) -> Any:
        """Numba asks a value in a kernel's module for its type through this name."""
        return self.dispatcher._numba_type_


class Entry(Function):
    """An entry point while kernels are built. `long` ones leave the interpreter to other threads."""

    def __init__(self, function: Callable[..., Any], signature: str, *, long: bool) -> None:
        super().__init__(lambda: function, no_cpython_wrapper=True)
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.signature = signature
        self.long = long


class Late:
    """An entry point before there is an image, which its first call builds, or a look at its address."""

    def __init__(self, name: str) -> None:
        self._name = name

    @cached_property
    def _function(self) -> Any:
        return image.image().function(self._name)

    @property
    def __self__(self) -> int:
        return int(self._function.__self__)

    def __call__(self, *arguments: float) -> Any:
        """As the entry point itself."""
        return self._function(*arguments)


entries: list[Entry] = []  # while kernels are built: all that were met
_building = image.BUILDING in os.environ
_shared: list[Callable[..., Any]] = []
_numba_came = False


@cache
def numba() -> Any:
    """Numba, knowing the functions that Python and kernels share."""
    global _numba_came  # noqa: PLW0603  once
    import numba

    _numba_came = True
    for function in _shared:
        _register(function)
    return numba


def entry(signature: str) -> Callable[[F], F]:
    """Decorator of an entry point that may run for long: other threads go on meanwhile."""
    return _entry(signature, long=True)


def operation(signature: str) -> Callable[[F], F]:
    """As `entry`, for what is short: it keeps the interpreter's lock, to give it up would cost more."""
    return _entry(signature, long=False)


def _entry(signature: str, *, long: bool) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        if _building:
            made = Entry(function, signature, long=long)
            entries.append(made)
            return cast("F", made)
        name = f"{function.__module__}.{function.__qualname__}"
        # Who only reads what stands beside a kernel should not wait for kernels to be compiled.
        return cast("F", image.image().function(name) if image.is_compiled() else Late(name))

    return decorate


def address_of(compiled: Any) -> int:
    """Where an entry point's code stands in this process's memory, as machine code calls it."""
    return int(compiled.__self__)


def helper(function: F) -> F:
    """Decorator of a function that kernels call; compiled as part of them, for one kind of integer."""
    return cast("F", Function(lambda: function, **_NO_WRAPPERS))


def inlined(function: F) -> F:
    """As `helper`, inlined by LLVM where it is called: for functions of a few instructions."""
    return cast("F", Function(lambda: function, forceinline=True, **_NO_WRAPPERS))


def exact_helper(function: F) -> F:
    """As `helper`, for functions over unsigned integers: compiled for the types it is called with."""
    return cast("F", Function(lambda: function, exact=True, **_NO_WRAPPERS))


def shared(function: F) -> F:
    """Decorator of a function that Python runs as it stands, and that kernels which call it compile."""
    _shared.append(function)
    if _numba_came:
        _register(function)
    return function


def _register(function: Callable[..., Any]) -> None:
    from numba.extending import register_jitable

    register_jitable(**_COMMON, **_NO_WRAPPERS)(function)


def function_at(arguments: int) -> Any:
    """A kernel function (address, *int64) -> int64 that calls the C function at an address."""

    def make() -> Callable[..., Any]:
        from llvmlite import ir
        from numba.core import types
        from numba.extending import intrinsic

        signature = types.int64(types.int64, *[types.int64] * arguments)
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word] * arguments)

        def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            return builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])

        # An intrinsic's arguments are counted by its Python function.
        names = ", ".join(f"a{i}" for i in range(arguments))
        space: dict[str, Any] = {"signature": signature, "generate": generate}
        exec(f"def at(context, address, {names}): return signature, generate", space)  # noqa: S102
        space["at"] = intrinsic(space["at"])
        exec(f"def call(address, {names}): return at(address, {names})", space)  # noqa: S102
        made: Callable[..., Any] = space["call"]
        return made

    return Function(make, forceinline=True, **_NO_WRAPPERS)


def records_at(dtype: Any) -> Any:
    """A kernel function (address, count) -> array of `dtype` records over that memory, without a copy.

    The caller of the kernel keeps the memory alive.
    """

    def make() -> Callable[..., Any]:
        from numba.core import types
        from numba.extending import intrinsic

        pointer = types.CPointer(numba().from_dtype(dtype))
        carray = numba().carray

        @intrinsic
        def to_pointer(_typing_context: Any, _address: Any) -> Any:
            def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
                return builder.inttoptr(arguments[0], context.get_value_type(pointer))

            return pointer(types.int64), generate

        def at(address: int, count: int) -> Any:
            return carray(to_pointer(address), count)  # type: ignore[call-arg]  # Numba adds the context

        return at

    return Function(make, forceinline=True, **_NO_WRAPPERS)


def _highest_bit() -> Callable[..., Any]:
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def leading_zeros(_typing_context: Any, _value: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))

        return types.int64(types.int64), generate

    def highest_bit(value: int) -> int:
        return 63 - leading_zeros(value)  # type: ignore[call-arg]  # Numba adds the context

    return highest_bit


# A kernel function (value) -> index of the highest set bit of a 64-bit value, which must not be 0.
highest_bit: Any = Function(_highest_bit, forceinline=True, **_NO_WRAPPERS)


def _one_integer(dispatcher: Any) -> Any:
    from numba.core import types

    original = dispatcher.get_call_template

    def normalised(kind: Any) -> Any:
        kind = types.unliteral(kind)
        return types.int64 if isinstance(kind, types.Integer) else kind

    def get_call_template(arguments: Any, keywords: Any) -> Any:
        return original(
            tuple(normalised(kind) for kind in arguments),
            {name: normalised(kind) for name, kind in keywords.items()},
        )

    dispatcher.get_call_template = get_call_template
    return dispatcher
