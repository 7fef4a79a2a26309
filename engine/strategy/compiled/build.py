"""From a compiled strategy's text to the address of its function, through a cache.

The code depends on nothing but the text, the processor and LLVM (engine.model.machine_code).
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2b

from engine.model import image, machine_code

compilations = 0  # of this process; tests count them
_loaded: dict[str, int] = {}


def function_address(text: str, entry: str) -> int:
    """Address of a module's function, compiled or out of the cache."""
    global compilations  # noqa: PLW0603  a counter
    _, name = machine_code.target()
    key = blake2b(f"{name}\0{text}".encode(), digest_size=16).hexdigest()
    address = _loaded.get(key)
    if address is None:
        file = image.cache_root() / "strategies" / f"{key}.o"
        code = machine_code.read(file)
        if code is None:
            compilations += 1
            module = machine_code.parse(text)
            machine_code.optimise(module)
            code = machine_code.emit(module)
            with suppress(OSError):  # a cache that cannot be written is none
                machine_code.write(file, code)
        address = _loaded[key] = int(machine_code.load(code).get_function_address(entry))
    return address
