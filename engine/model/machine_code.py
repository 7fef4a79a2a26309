"""From LLVM's language to machine code in this process, and the files that keep it.

A file is keyed by everything that its code depends on: the text that it is made of, the processor that it is
for, and the LLVM that compiles it. So nothing in a cache can be stale, and its files may be deleted at any
time; one that was cut short, or altered, is not executed but made again.
"""

from __future__ import annotations

import os
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

LEVEL = 3
_DIGEST_BYTES = 16
_alive: list[Any] = []  # code that may be called must not be freed


@cache
def llvm() -> Any:
    """LLVM, ready to make code for this machine."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


@cache
def target() -> tuple[Any, str]:
    """The machine that code is made for, and its name; $NUMBA_CPU_NAME and $NUMBA_CPU_FEATURES are obeyed."""
    import llvmlite

    # `jit`: code that reaches however far memory was to be had for it, in a process of any size.
    binding = llvm()
    given = os.environ.get("NUMBA_CPU_NAME")
    name = given or binding.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        features = "" if given else binding.get_host_cpu_features().flatten()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=name, features=features, opt=LEVEL, jit=True
    )
    version = ".".join(map(str, binding.llvm_version_info))
    return machine, f"{llvmlite.__version__};{version};{machine.triple};{name};{features};far"


def parse(text: str) -> Any:
    """A module of LLVM's, checked, for this machine."""
    module = llvm().parse_assembly(text)
    module.verify()
    settle(module)
    return module


def settle(module: Any) -> None:
    """Say in a module which machine it is for."""
    machine, _ = target()
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)


def optimise(module: Any) -> None:
    """Run LLVM's passes over a module."""
    machine, _ = target()
    builder = llvm().create_pass_builder(machine, llvm().create_pipeline_tuning_options(LEVEL))
    builder.getModulePassManager().run(module, builder)


def emit(module: Any) -> bytes:
    """An optimised module as an object file."""
    machine, _ = target()
    return bytes(machine.emit_object(module))


def load(code: bytes) -> Any:
    """An engine that holds an object file's code; ask it for addresses (`get_function_address`)."""
    binding = llvm()
    machine, _ = target()
    empty = binding.parse_assembly("")
    empty.triple = machine.triple
    engine = binding.create_mcjit_compiler(
        empty, binding.Target.from_default_triple().create_target_machine(opt=LEVEL, jit=True)
    )
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _alive.append(engine)
    return engine


def read(file: Path) -> bytes | None:
    """What a file of the cache holds, None when there is none or it is damaged."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    digest, code = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return code if blake2b(code, digest_size=_DIGEST_BYTES).digest() == digest else None


def write(file: Path, code: bytes) -> None:
    """Keep code, whole or not at all. Raises OSError where the file cannot be written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    temporary.write_bytes(blake2b(code, digest_size=_DIGEST_BYTES).digest() + code)
    temporary.replace(file)
