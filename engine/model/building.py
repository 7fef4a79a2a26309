"""Compiles kernels for their image: `python -m engine.model.building FOLDER PART PARTS`.

Numba types each function and says in LLVM's language what it does, and does no more than that here. Left
alone, it would optimise and emit every helper by itself, and once more in each of its callers: two thirds of
the time, for code that nobody calls. Instead all functions of a part are joined into one module, with the
doors through which Python calls the entry points, and that is optimised and emitted once.

Kernels own no arrays of Numba's (all memory is at addresses), and never raise: what is left of Numba's
reference counting does nothing, its `frexp` is the C library's, and code that would need Numba where it runs
is refused here.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from engine.model import image, jit, machine_code

_TYPES = {"int64": "i64", "float64": "double"}
_TAKE = {"i64": "PyLong_AsLongLong", "double": "PyFloat_AsDouble"}
_GIVE = {"i64": "PyLong_FromLongLong", "double": "PyFloat_FromDouble"}
_FAILED = {"i64": ("icmp", "-1"), "double": ("fcmp", "-1.0")}

COMMON = """
define void @NRT_incref(ptr %p) alwaysinline { ret void }
define void @NRT_decref(ptr %p) alwaysinline { ret void }
declare double @frexp(double, ptr)
define double @numba_frexp(double %x, ptr %exponent) alwaysinline {
  %mantissa = call double @frexp(double %x, ptr %exponent)
  ret double %mantissa
}
declare i64 @PyLong_AsLongLong(ptr)
declare double @PyFloat_AsDouble(ptr)
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyFloat_FromDouble(double)
declare ptr @PyErr_Occurred()
declare i32 @PyErr_BadArgument()
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
"""


def main() -> None:
    """Compile one part of the kernels into FOLDER/PART.o and name them in FOLDER/PART.json."""
    folder, part, parts = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    entries = all_entries()
    if part == 0:
        _say(f"of {len(entries)}")
    mine = shares(entries, parts)[part]
    only_translate()
    code = machine_code.emit(module_of(mine))
    (folder / f"{part}.json").write_text(json.dumps([entry.name for entry in mine]))
    (folder / f"{part}.o").write_bytes(code)


def all_entries() -> list[jit.Entry]:
    """Every entry point there is, in the order of names."""
    package = Path(image.__file__).resolve().parent.parent
    for file in image.kernel_files():
        if "@jit." in file.read_text(encoding="utf-8"):
            importlib.import_module(".".join(("engine", *file.relative_to(package).with_suffix("").parts)))
    return sorted(jit.entries, key=lambda entry: entry.name)


def shares(entries: list[jit.Entry], parts: int) -> list[list[jit.Entry]]:
    """Entry points dealt out so that all parts are about equally long, and share few helpers."""
    made_of = {entry.name: _made_of(entry) for entry in entries}
    mine: list[list[jit.Entry]] = [[] for _ in range(parts)]
    has: list[dict[int, int]] = [{} for _ in range(parts)]
    for entry in sorted(entries, key=lambda entry: -sum(made_of[entry.name].values())):
        part = min(range(parts), key=lambda part: sum((has[part] | made_of[entry.name]).values()))
        has[part] |= made_of[entry.name]
        mine[part].append(entry)
    return mine


def _made_of(entry: jit.Entry) -> dict[int, int]:
    """Size of each function that an entry point reaches, by identity."""
    found: dict[int, int] = {}
    ahead: list[jit.Function] = [entry]
    while ahead:
        function = ahead.pop()
        if id(function) in found:
            continue
        code = function.python.__code__
        found[id(function)] = len(code.co_code)
        names = function.python.__globals__
        ahead += [it for name in code.co_names if isinstance(it := names.get(name), jit.Function)]
    return found


def only_translate() -> None:
    """Let Numba stop at LLVM's language: it links, optimises and emits nothing."""
    jit.numba()
    from numba.core.codegen import CPUCodeLibrary
    from numba.core.cpu import CPUContext

    def finalize(library: Any) -> None:
        library._finalized = True  # noqa: SLF001  Numba has no other way

    def get_executable(_context: Any, _library: Any, _descriptor: Any, _environment: Any) -> Any:
        return [].append  # a built-in function of its own, as Numba's book-keeping wants; nobody calls it

    CPUCodeLibrary.finalize = finalize  # type: ignore[method-assign]
    CPUContext.get_executable = get_executable  # type: ignore[method-assign]


def module_of(entries: list[jit.Entry]) -> Any:
    """One module of entry points, their doors and all that they call, optimised."""
    binding = machine_code.llvm()
    doors, symbols = [COMMON], {}
    libraries: dict[int, Any] = {}
    for entry in entries:
        library, symbol, door = translate(entry)
        doors.append(door)
        symbols[symbol] = entry.name
        _collect(library, libraries)
        _say(entry.name)
    whole = binding.parse_assembly("")
    machine_code.settle(whole)
    for library in libraries.values():
        part = library._final_module.clone()  # noqa: SLF001
        machine_code.settle(part)
        whole.link_in(part)
    for symbol, name in symbols.items():
        whole.get_function(symbol).name = name
    whole.link_in(machine_code.parse("\n".join(doors)))
    whole.verify()
    offered = {*symbols.values(), *map(image.door_of, symbols.values())}
    for value in (*whole.functions, *whole.global_variables):
        if not value.is_declaration and value.name not in offered:
            value.linkage = "internal"
    machine_code.optimise(whole)
    refuse_what_is_not_there(whole)
    return whole


def translate(entry: jit.Entry) -> tuple[Any, str, str]:
    """Numba's library of an entry point, the symbol of its C form, and its door."""
    entry.dispatcher.compile(entry.signature)
    overload = next(iter(entry.dispatcher.overloads.values()))
    arguments = [_TYPES[str(kind)] for kind in overload.signature.args]
    result = _TYPES[str(overload.signature.return_type)]
    door = door_text(entry.name, arguments, result, long=entry.long)
    return overload.library, overload.fndesc.llvm_cfunc_wrapper_name, door


def _collect(library: Any, libraries: dict[int, Any]) -> None:
    if id(library) not in libraries and library.name != "nrt":  # Numba's reference counting: see COMMON
        libraries[id(library)] = library
        for linked in library._linking_libraries:  # noqa: SLF001
            _collect(linked, libraries)


def door_text(name: str, arguments: list[str], result: str, *, long: bool) -> str:
    """What Python calls: (self, pointer to arguments, their number) -> result, or null and an error."""
    lines = [
        f'declare {result} @"{name}"({", ".join(arguments)})',
        f'define ptr @"{image.door_of(name)}"(ptr %self, ptr %given, i64 %count) {{',
        f"  %right = icmp eq i64 %count, {len(arguments)}",
        "  br i1 %right, label %take, label %wrong",
        "take:",
    ]
    doubt = "false"
    for i, kind in enumerate(arguments):
        test, failed = _FAILED[kind]
        lines += [
            f"  %place{i} = getelementptr ptr, ptr %given, i64 {i}",
            f"  %object{i} = load ptr, ptr %place{i}",
            f"  %a{i} = call {kind} @{_TAKE[kind]}(ptr %object{i})",
            f"  %failed{i} = {test} {'eq' if test == 'icmp' else 'oeq'} {kind} %a{i}, {failed}",
            f"  %doubt{i} = or i1 {doubt}, %failed{i}",
        ]
        doubt = f"%doubt{i}"
    lines += [
        f"  br i1 {doubt}, label %ask, label %run",
        "ask:",
        "  %error = call ptr @PyErr_Occurred()",
        "  %none = icmp eq ptr %error, null",
        "  br i1 %none, label %run, label %fail",
        "fail:",
        "  ret ptr null",
        "wrong:",
        "  %refused = call i32 @PyErr_BadArgument()",
        "  ret ptr null",
        "run:",
        "  %thread = call ptr @PyEval_SaveThread()" if long else "",
        f'  %result = call {result} @"{name}"({", ".join(f"{k} %a{i}" for i, k in enumerate(arguments))})',
        "  call void @PyEval_RestoreThread(ptr %thread)" if long else "",
        f"  %answer = call ptr @{_GIVE[result]}({result} %result)",
        "  ret ptr %answer",
        "}",
    ]
    return "\n".join(lines)


def _say(line: str) -> None:
    """Tell the process that shows progress."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def refuse_what_is_not_there(module: Any) -> None:
    """Whatever the code calls must be Python's or the C library's own."""
    process = ctypes.CDLL(None)
    called = [it.name for it in (*module.functions, *module.global_variables) if it.is_declaration]
    lacking = [name for name in called if not name.startswith("llvm.") and not hasattr(process, name)]
    if lacking:
        raise SystemExit(f"kernels call what is not there without Numba: {', '.join(sorted(lacking))}")


if __name__ == "__main__":
    main()
