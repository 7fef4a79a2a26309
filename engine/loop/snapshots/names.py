"""Classes and functions by name, so that a strategy's state can speak of them in any process.

    strategy:Mine             a name of the strategy's own file
    strategy.helper:Thing     of a file beside it
    engine.market.…:Ema       an indicator
    collections:OrderedDict   one of the few of Python's own that are listed here

The module of a strategy's file is called after its content; the name here is not, so that a comment in it
changes no state's hash.
"""

from __future__ import annotations

import sys
import types
from functools import lru_cache
from typing import Any

from engine.strategy.api import Strategy

_LISTED = frozenset(
    {
        *("collections:Counter", "collections:OrderedDict", "collections:defaultdict"),
        *("datetime:date", "datetime:datetime", "datetime:time", "datetime:timedelta", "datetime:timezone"),
        *("engine.strategy.imports:SandboxedDate", "engine.strategy.imports:SandboxedDatetime"),
        *("decimal:Decimal", "fractions:Fraction"),
        *(f"builtins:{name}" for name in ("int", "float", "str", "bool", "bytes", "list", "dict", "set")),
        *(f"builtins:{name}" for name in ("tuple", "frozenset", "complex", "abs", "len", "max", "min")),
        *(f"builtins:{name}" for name in ("round", "sum", "sorted", "bytearray", "object")),
        *(f"math:{name}" for name in ("sqrt", "floor", "ceil", "fabs", "exp", "log", "hypot", "copysign")),
    }
)
_SHOWN = ("engine.market.", "engine.strategy.api", "engine.strategy.events", "engine.model.instruments")
_OWN = "strategy"


def name_of(value: Any, strategy: type) -> str | None:
    """The name of a class or function, None when it has none that another process would know."""
    module, name = getattr(value, "__module__", None) or "", getattr(value, "__qualname__", "")
    if "<" in name or not name:
        return None
    for alias, found in modules_of(strategy).items():
        if found.__name__ == module:
            text = f"{alias}:{name}"
            return text if find(text, strategy) is value else None
    text = f"{module}:{name}"
    return text if _listed(text) and find(text, strategy) is value else None


def find(text: str, strategy: type) -> Any:
    """The class or function of a name; None when there is none."""
    module_name, _, path = text.partition(":")
    found: Any = modules_of(strategy).get(module_name)
    if found is None:
        found = sys.modules.get(module_name) if _listed(text) else None
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def _listed(text: str) -> bool:
    return text in _LISTED or text.startswith(_SHOWN)


def modules_of(strategy: type) -> dict[str, types.ModuleType]:
    """The modules that a strategy's class and those it extends stand in, and what they import beside them."""
    return _modules_of(strategy, len(sys.modules))


@lru_cache(maxsize=8)
def _modules_of(strategy: type, _modules: int) -> dict[str, types.ModuleType]:
    own = strategy.__module__
    found = {_OWN: sys.modules[own]}
    for cls in strategy.__mro__[: strategy.__mro__.index(Strategy)]:
        if cls.__module__ != own:
            found[f"{_OWN}.{cls.__module__.removeprefix(f'{own}.')}"] = sys.modules[cls.__module__]
    prefix = f"{own}."
    if own.startswith("engine_strategy_"):
        found |= {
            f"{_OWN}.{name.removeprefix(prefix)}": module
            for name, module in sys.modules.copy().items()  # another thread may be importing
            if name.startswith(prefix) and isinstance(module, types.ModuleType)
        }
    return found
