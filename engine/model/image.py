"""The kernels' machine code: made once per content, kept in one file, and called from Python and by address.

Kernels are written in Python and compiled by Numba, but only where they are built (engine.model.building):
a process that finds their file here loads it with LLVM alone, in milliseconds, and never imports Numba.

The file is keyed by every source file that kernels are made of, by the versions that compile them, and by
the processor. A change to any of them builds another one; nothing in it can be stale.

What Python calls is a door: machine code beside the kernel that takes Python's numbers apart. It costs a
third of what Numba's own costs. Beside the doors stand the kernels under their own names, whose addresses
other machine code calls.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.model import machine_code
from engine.model.errors import EngineError, InternalError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).resolve().parent.parent
_KERNEL_FOLDERS = ("model", "market", "execution", "loop")
_KERNEL_FILES = ("risk.py", "feed/ticks.py", "log/checksum.py", "strategy/compiled/operations.py")
BUILDING = "ENGINE_BUILDS_KERNELS"  # set in the processes that build
_BUILDER = "engine.model.building"
_MOST_BUILDERS = 4
_WORDS = 8  # bytes of a length in the file
_FASTCALL = 0x0080

Progress = Callable[[int, int], None]  # kernels built, kernels in all


def kernel_files() -> list[Path]:
    """Every source file that decides what a kernel compiles to."""
    files = [_ROOT / name for name in _KERNEL_FILES]
    for folder in _KERNEL_FOLDERS:
        files += sorted((_ROOT / folder).glob("*.py"))
    return [file for file in files if file.exists()]


@cache
def content_key() -> str:
    """Hash of everything but the processor that decides what a kernel compiles to."""
    from importlib.metadata import version

    digest = blake2b(digest_size=12)
    for name in ("numba", "llvmlite", "numpy"):
        digest.update(f"{name}={version(name)};".encode())
    digest.update(f"{sys.version_info[:3]};".encode())
    for file in kernel_files():
        digest.update(file.read_bytes())
    return digest.hexdigest()


def cache_root() -> Path:
    """What may be deleted at any time lives here: $ENGINE_CACHE, else a folder in the user's cache."""
    base = os.environ.get("ENGINE_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "engine"


def cache_folder() -> Path:
    """Where the kernels of this very content live."""
    return cache_root() / "kernels" / content_key()


def image_file() -> Path:
    """The kernels of this very content, for this processor."""
    _, name = machine_code.target()
    return cache_folder() / f"{blake2b(name.encode(), digest_size=6).hexdigest()}.image"


def is_compiled() -> bool:
    """Whether the kernels of this very content have been compiled on this machine before."""
    return image_file().exists()


class Image:
    """Kernels in this process's memory, by their full names."""

    def __init__(self, content: bytes) -> None:
        length = int.from_bytes(content[:_WORDS], "little")
        place = _WORDS + length
        self._doors: dict[str, int] = {}
        self._code: dict[str, int] = {}
        for part in json.loads(content[_WORDS:place]):
            engine = machine_code.load(content[place : place + part["bytes"]])
            place += part["bytes"]
            for name in part["kernels"]:
                self._code[name] = engine.get_function_address(name)
                self._doors[name] = engine.get_function_address(door_of(name))

    def function(self, name: str) -> Any:
        """A kernel as Python calls it; its `__self__` is the address at which machine code calls it."""
        if name not in self._doors:
            raise InternalError(f"the kernels' file lacks {name}")
        return _callable(name, self._doors[name], self._code[name])


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("method", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("documentation", ctypes.c_char_p),
    )


_definitions: list[_MethodDef] = []  # Python's functions point at them


def _callable(name: str, door: int, code: int) -> Any:
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = (ctypes.POINTER(_MethodDef), ctypes.py_object, ctypes.py_object)
    definition = _MethodDef(name.rpartition(".")[2].encode(), door, _FASTCALL, None)
    _definitions.append(definition)
    return make(ctypes.byref(definition), code, name.rpartition(".")[0])


def door_of(name: str) -> str:
    """Symbol of the machine code through which Python calls a kernel."""
    return f"door of {name}"


@cache
def image() -> Image:
    """The kernels, built first if they are not there."""
    content = machine_code.read(image_file())
    return Image(content if content is not None else build())


def build(progress: Progress | None = None) -> bytes:
    """Compile the kernels in processes of their own, side by side, and keep them.

    Of several processes that want them at once, one builds. Raises EngineError where the cache cannot be
    written.
    """
    file = image_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(file.parent):
            content = machine_code.read(file)
            if content is None:
                content = _built(progress)
                machine_code.write(file, content)
    except OSError as error:
        raise EngineError(
            f"the compiled kernels cannot be kept in {cache_root()}: {error.strerror}",
            hint="set ENGINE_CACHE to a folder that can be written",
        ) from None
    return content


def _built(progress: Progress | None) -> bytes:
    """The content of the file."""
    parts = min(_processors(), _MOST_BUILDERS)
    with tempfile.TemporaryDirectory() as scratch:
        ours, theirs = os.pipe()
        # They find the package that this process runs, whatever folder they are started in.
        path = os.pathsep.join(filter(None, (str(_ROOT.parent), os.environ.get("PYTHONPATH"))))
        builders = []
        for part in range(parts):
            with (Path(scratch) / f"{part}.err").open("wb") as said:
                builders.append(
                    subprocess.Popen(  # noqa: S603  this very Python, and a module of ours
                        [sys.executable, "-m", _BUILDER, scratch, str(part), str(parts)],
                        env={**os.environ, BUILDING: "1", "PYTHONPATH": path},
                        stdin=subprocess.DEVNULL,
                        stdout=theirs,
                        stderr=said,
                    )
                )
        os.close(theirs)
        try:
            _follow(ours, progress)
        finally:  # on Ctrl-C, too, nobody goes on in a folder that is about to go
            codes = [_end(builder) for builder in builders]
        for part, code in enumerate(codes):
            if code != 0:
                words = (Path(scratch) / f"{part}.err").read_text(encoding="utf-8", errors="replace")
                raise InternalError(f"the kernels could not be compiled: {words.strip()[-2000:]}")
        return joined(
            [
                (json.loads(file.with_suffix(".json").read_text()), file.read_bytes())
                for file in (Path(scratch) / f"{part}.o" for part in range(parts))
            ]
        )


def _end(builder: subprocess.Popen[bytes]) -> int:
    """The exit code of a builder that has closed its output, or is stopped now."""
    try:
        return builder.wait(timeout=5)
    except subprocess.TimeoutExpired:
        builder.kill()
        return builder.wait()


def joined(parts: list[tuple[list[str], bytes]]) -> bytes:
    """The content of a file: for each part the names of its kernels, and its object file."""
    index = json.dumps([{"kernels": names, "bytes": len(code)} for names, code in parts]).encode()
    return len(index).to_bytes(_WORDS, "little") + index + b"".join(code for _, code in parts)


def _follow(pipe: int, progress: Progress | None) -> None:
    """Read what the builders say, until they have gone: how many there are, and one line for each kernel."""
    done, total = 0, 0
    with os.fdopen(pipe, encoding="ascii") as lines:
        for line in lines:
            if line.startswith("of "):
                total = int(line[3:])
            else:
                done += 1
            if progress is not None:
                progress(done, total)


def _processors() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Wait until no other process builds here."""
    import fcntl

    with (folder / "building").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
