"""From a module's text to machine code in this process, through a cache.

The cache is keyed by the text itself, the processor that it is for and the LLVM that compiles it: there is
nothing else that the result could depend on, so that nothing in it can be stale. Files in it may be deleted
at any time; one that was cut short is made again.
"""

from __future__ import annotations

import os
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from engine.model import jit

compilations = 0  # of this process; tests count them
_alive: list[Any] = []  # code that may be called must not be freed
_loaded: dict[str, int] = {}
_LEVEL = 2


@cache
def _target() -> tuple[Any, str]:
    """The machine that code is made for, and its name; $NUMBA_CPU_NAME is obeyed as by the kernels."""
    import llvmlite
    import llvmlite.binding as llvm
    from numba.core import config

    jit.prepare_llvm()
    name = config.CPU_NAME or llvm.get_host_cpu_name()  # type: ignore[attr-defined]
    features = config.CPU_FEATURES  # type: ignore[attr-defined]
    if features is None:
        features = "" if config.CPU_NAME else llvm.get_host_cpu_features().flatten()  # type: ignore[attr-defined]
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=name, features=features, opt=_LEVEL, reloc="pic"
    )
    version = ".".join(map(str, llvm.llvm_version_info))
    return machine, f"{llvmlite.__version__};{version};{machine.triple};{name};{features}"


def function_address(text: str, entry: str) -> int:
    """Address of a module's function, compiled or out of the cache."""
    _, name = _target()
    key = blake2b(f"{name}\0{text}".encode(), digest_size=16).hexdigest()
    address = _loaded.get(key)
    if address is None:
        file = jit.cache_root() / "strategies" / f"{key}.o"
        code = _read(file)
        if code is None:
            code = _compile(text)
            _write(file, code)
        address = _loaded[key] = _load(code, entry)
    return address


def _compile(text: str) -> bytes:
    import llvmlite.binding as llvm

    global compilations  # noqa: PLW0603  a counter
    compilations += 1
    machine, _ = _target()
    module = llvm.parse_assembly(text)
    module.verify()
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(_LEVEL))
    builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))


def _load(code: bytes, entry: str) -> int:
    import llvmlite.binding as llvm

    machine, _ = _target()
    empty = llvm.parse_assembly("")
    empty.triple = machine.triple
    engine = llvm.create_mcjit_compiler(
        empty, llvm.Target.from_default_triple().create_target_machine(opt=_LEVEL, reloc="pic")
    )
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _alive.append(engine)
    return int(engine.get_function_address(entry))


def _read(file: Path) -> bytes | None:
    """What a file of the cache holds, None when there is none or it is damaged."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    digest, code = content[:16], content[16:]
    return code if blake2b(code, digest_size=16).digest() == digest else None


def _write(file: Path, code: bytes) -> None:
    """Keep code; a cache that cannot be written is none."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f"{file.name}.{os.getpid()}")
        temporary.write_bytes(blake2b(code, digest_size=16).digest() + code)
        temporary.replace(file)
    except OSError:
        return
