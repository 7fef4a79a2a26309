"""How kernels are compiled: once per content, into one folder, through one kind of signature.

A kernel's entry point takes 64-bit integers only (the address of the state record, and numbers), because
crossing from Python then costs a seventh of a microsecond; arrays and records would cost several times
that. Entry points carry explicit signatures: they are compiled, or loaded from the cache, when their
module is imported, and never again for another type.

Numba's own cache looks only at the file of the function itself and would serve a stale result after an
imported helper changed. So the cache folder's name is a hash of every file that kernels are made of,
and of the versions that compile them. Helpers are compiled into each entry point and not cached.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

_ROOT = Path(__file__).resolve().parent.parent
_KERNEL_FOLDERS = ("model", "market", "execution", "loop")
_KERNEL_FILES = ("risk.py", "log/checksum.py", "strategy/compiled/operations.py")

F = TypeVar("F", bound=Callable[..., Any])


@cache
def content_key() -> str:
    """Hash of everything that decides what a kernel compiles to."""
    from importlib.metadata import version

    digest = blake2b(digest_size=12)
    for name in ("numba", "llvmlite", "numpy"):
        digest.update(f"{name}={version(name)};".encode())
    digest.update(f"{platform.python_version()};{platform.machine()};".encode())
    files = [_ROOT / name for name in _KERNEL_FILES]
    for folder in _KERNEL_FOLDERS:
        files += sorted((_ROOT / folder).glob("*.py"))
    for file in files:
        if file.exists():
            digest.update(file.read_bytes())
    return digest.hexdigest()


def cache_root() -> Path:
    """What may be deleted at any time lives here: $ENGINE_CACHE, else a folder in the user's cache."""
    base = os.environ.get("ENGINE_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "engine"


def cache_folder() -> Path:
    """Where the kernels of this very content live."""
    return cache_root() / "kernels" / content_key()


def is_compiled() -> bool:
    """Whether the kernels of this very content have been compiled on this machine before."""
    return (cache_folder() / "complete").exists()


def mark_compiled() -> None:
    """Remember that every entry point is in the cache."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "complete").touch()


@cache
def _numba() -> Any:
    import numba

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]  # numba sets its options at import
    return numba


def prepare_llvm() -> None:
    """Let Numba start LLVM for this machine; code that is compiled without Numba needs it as well."""
    _numba()
    from numba.core import registry

    assert registry.cpu_target.target_context is not None


def entry(signature: str) -> Callable[[F], F]:
    """Decorator of an entry point: explicit integer signature, cached, without the interpreter's lock."""
    options = {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    decorate: Callable[[F], F] = _numba().njit(signature, **options)
    return decorate


def operation(signature: str) -> Callable[[F], F]:
    """As `entry`, and also callable from machine code, by its address (see `address_of`)."""
    decorate: Callable[[F], F] = _numba().njit(signature, cache=True, nogil=True, error_model="numpy")
    return decorate


def address_of(compiled: Any) -> int:
    """Where the C form of an operation stands in this process's memory."""
    (only,) = compiled.overloads.values()
    return int(only.library.get_pointer_to_function(only.fndesc.llvm_cfunc_wrapper_name))


def function_at(arguments: int) -> Any:
    """A kernel function (address, *int64) -> int64 that calls the C function at an address."""
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
    exec(f"def call(typing_context, address, {names}): return signature, generate", space)  # noqa: S102
    return intrinsic(space["call"])


def helper(function: F) -> F:
    """Decorator of a function that kernels call; compiled as part of them, for one kind of integer.

    Whatever integers it is called with, literals included, it is compiled for int64 alone: Numba would
    make a version for each combination, which made the first compile several times as long.
    """
    compiled: F = _one_integer(_numba().njit(nogil=True, error_model="numpy", **_NO_WRAPPERS)(function))
    return compiled


def inlined(function: F) -> F:
    """As `helper`, inlined by LLVM where it is called: for functions of a few instructions."""
    options = {"nogil": True, "error_model": "numpy", "forceinline": True, **_NO_WRAPPERS}
    compiled: F = _one_integer(_numba().njit(**options)(function))
    return compiled


def exact_helper(function: F) -> F:
    """As `helper`, for functions over unsigned integers: compiled for the types it is called with."""
    compiled: F = _numba().njit(nogil=True, error_model="numpy", **_NO_WRAPPERS)(function)
    return compiled


def shared(function: F) -> F:
    """Decorator of a function that Python runs as it stands, and that kernels which call it compile."""
    from numba.extending import register_jitable

    _numba()
    register_jitable(nogil=True, error_model="numpy", **_NO_WRAPPERS)(function)
    return function


# Helpers are called by kernels only, never from Python or C.
_NO_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def _highest_bit() -> Any:
    """A kernel function (value) -> index of the highest set bit of a 64-bit value, which must not be 0."""
    numba = _numba()
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

    return _one_integer(numba.njit(nogil=True, forceinline=True, **_NO_WRAPPERS)(highest_bit))


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


def records_at(dtype: Any) -> Any:
    """A kernel function (address, count) -> array of `dtype` records over that memory, without a copy.

    The caller of the kernel keeps the memory alive.
    """
    numba = _numba()
    from numba.core import types
    from numba.extending import intrinsic

    pointer = types.CPointer(numba.from_dtype(dtype))
    carray = numba.carray

    @intrinsic
    def to_pointer(_typing_context: Any, _address: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(pointer))

        return pointer(types.int64), generate

    def at(address: int, count: int) -> Any:
        return carray(to_pointer(address), count)  # type: ignore[call-arg]  # Numba adds the context

    return _one_integer(numba.njit(nogil=True, forceinline=True, **_NO_WRAPPERS)(at))


highest_bit = _highest_bit()
