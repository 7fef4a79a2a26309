"""The strategy's own `import` and its own builtins: what it asks for is served from a list.

A module that is allowed is served as a copy of its public names, without the modules that it happens to
have imported itself (`statistics.random`, `dataclasses.sys`), so that no allowed name leads to a refused
one. `datetime` is served with classes that know no clock and no local zone; numpy without its random
module, its files and uninitialised memory. A file beside the strategy is loaded under the same rules.

This layer catches aliases, names assembled at run time, and imports inside functions. The model is
temporalio's workflow sandbox, whose docstring explains why reloading everything was given up there; here
nothing is reloaded: the real modules are shared, only the names differ.
"""

from __future__ import annotations

import builtins
import datetime as dt
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, ModuleType
from typing import Any, NoReturn

from engine.strategy.audit import refuse
from engine.strategy.rules import (
    BUILTINS_REFUSED,
    CLOCK,
    MODULES_ALLOWED,
    NAMES_REFUSED,
    Refusal,
    module_refusal,
    name_refusal,
)


class Served(ModuleType):
    """A module as a strategy sees it: chosen names of a real one. Refused names raise StrategyError."""

    def __getattr__(self, name: str) -> Any:
        dotted = f"{self.__name__}.{name}"
        refusal = name_refusal(dotted)
        if refusal is not None:
            raise refuse(dotted, refusal)
        if self.__name__ == "numpy" and dotted in MODULES_ALLOWED:
            module = _serve(dotted)
            self.__dict__[name] = module
            return module
        raise AttributeError(f"module {self.__name__!r} serves no {name!r} to strategies")


class SandboxedDate(dt.date):
    """A date that cannot ask what day it is."""

    @classmethod
    def today(cls) -> NoReturn:
        """Refused."""
        raise refuse("datetime.date.today", CLOCK)


_ZONE = Refusal(
    "depends on the machine's time zone", "give a zone: datetime.fromtimestamp(ctx.now / 1e9, timezone.utc)"
)


class SandboxedDatetime(dt.datetime):
    """A datetime that cannot ask what time it is, nor in which zone the machine stands."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> NoReturn:  # noqa: ARG003
        """Refused."""
        raise refuse("datetime.datetime.now", CLOCK)

    @classmethod
    def utcnow(cls) -> NoReturn:
        """Refused."""
        raise refuse("datetime.datetime.utcnow", CLOCK)

    @classmethod
    def today(cls) -> NoReturn:
        """Refused."""
        raise refuse("datetime.datetime.today", CLOCK)

    @classmethod
    def fromtimestamp(cls, timestamp: float, tz: dt.tzinfo | None = None) -> SandboxedDatetime:
        """As usual, but only with a zone."""
        if tz is None:
            raise refuse("datetime.fromtimestamp without a zone", _ZONE)
        return super().fromtimestamp(timestamp, tz)

    def timestamp(self) -> float:
        """As usual, but only of a time with a zone."""
        if self.tzinfo is None:
            raise refuse("timestamp() of a time without a zone", _ZONE)
        return super().timestamp()

    def astimezone(self, tz: dt.tzinfo | None = None) -> SandboxedDatetime:
        """As usual, but only from a zone to a zone."""
        if tz is None or self.tzinfo is None:
            raise refuse("astimezone() without a zone", _ZONE)
        return super().astimezone(tz)


class Importer:
    """Serves one strategy's imports. `siblings` are its compiled files by module name, run when asked for.

    own   names of `engine` that are this strategy's own
    """

    def __init__(
        self,
        package: str,
        siblings: Mapping[str, tuple[CodeType, str]],
        own: Mapping[str, object] | None = None,
    ) -> None:
        self._package = package  # registered names are "<package>.<sibling>"
        self._siblings = siblings
        self._own = own
        self._engine: Served | None = None
        self._loaded: dict[str, ModuleType] = {}
        self.builtins = _builtins(self.import_module)

    def run(self, name: str, code: CodeType, path: str) -> ModuleType:
        """Execute compiled source as a module of the strategy."""
        module = ModuleType(f"{self._package}.{name}" if name else self._package)
        module.__file__ = path
        module.__dict__["__builtins__"] = self.builtins
        # dataclasses, enum and typing look a class's module up by its name.
        sys.modules[module.__name__] = module
        self._loaded[name] = module
        exec(code, module.__dict__)  # noqa: S102  running the strategy is the purpose
        return module

    def import_module(
        self,
        name: str,
        _globals: Mapping[str, Any] | None = None,
        _locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """What `import` means to the strategy; the signature is Python's own."""
        if isinstance(fromlist, list):
            # Native code that a handler called (numpy, datetime) imports its own helpers through the
            # caller's builtins. Python marks it by a list, takes the module from sys.modules and drops what
            # is returned here: so a strategy that imitates it holds an empty module.
            importlib.import_module(name)
            return ModuleType(name)
        if level and not name:  # from . import helper
            home = ModuleType(self._package)
            for item in fromlist or ():
                home.__dict__[item] = self._sibling(item)
            return home
        if level or name in self._siblings:
            return self._sibling(name)
        refusal = module_refusal(name)
        if refusal is not None:
            raise refuse(f"import {name}", refusal)
        served = self._own_engine() if name == "engine" and self._own else _serve(name)
        for item in fromlist or ():
            submodule = f"{name}.{item}"
            if submodule in MODULES_ALLOWED:
                setattr(served, item, _serve(submodule))
        if fromlist or "." not in name:
            return served
        top, _, rest = name.partition(".")
        module = _serve(top)
        setattr(module, rest, served)
        return module

    def _own_engine(self) -> Served:
        """`engine` with the strategy's own names in it; one module, however often it is imported."""
        if self._engine is None:
            self._engine = Served("engine", _serve("engine").__doc__)
            self._engine.__dict__.update({**vars(_serve("engine")), **(self._own or {})})
        return self._engine

    def _sibling(self, name: str) -> ModuleType:
        loaded = self._loaded.get(name)
        if loaded is not None:
            return loaded
        if name not in self._siblings:
            raise refuse(f"import {name}", Refusal("finds no such file beside the strategy", "name it there"))
        code, path = self._siblings[name]
        return self.run(name, code, path)


_served: dict[str, Served] = {}


def _serve(name: str) -> Served:
    known = _served.get(name)
    if known is None:
        known = _served[name] = _copy(importlib.import_module(name), name)
    return known


def _copy(module: ModuleType, name: str) -> Served:
    served = Served(name, module.__doc__)
    listed = getattr(module, "__all__", None)
    names = listed if listed is not None else [n for n in vars(module) if not n.startswith("_")]
    for item in names:
        dotted = f"{name}.{item}"
        if dotted in NAMES_REFUSED:
            continue
        value = getattr(module, item, None)
        if isinstance(value, ModuleType):
            continue  # submodules that are allowed are served when asked for
        served.__dict__[item] = value
    if name == "datetime":
        served.__dict__["datetime"] = SandboxedDatetime
        served.__dict__["date"] = SandboxedDate
    if name == "collections":
        served.__dict__["abc"] = _serve("collections.abc")
    served.__dict__["__all__"] = [n for n in served.__dict__ if not n.startswith("_")]
    return served


def _builtins(import_module: Callable[..., ModuleType]) -> dict[str, Any]:
    names = dict(vars(builtins))
    for name, refusal in BUILTINS_REFUSED.items():
        names[name] = _refused(name, refusal)
    names["hash"] = _hash
    names["print"] = _print
    names["__import__"] = import_module
    return names


def _refused(name: str, refusal: Refusal) -> Callable[..., NoReturn]:
    def call(*_arguments: object, **_named: object) -> NoReturn:
        raise refuse(f"{name}()", refusal)

    call.__name__ = name
    return call


def _hash(value: object) -> int:
    """Only inside a __hash__ method, a dataclass's included: a dict's keys need it, and keep their order."""
    if sys._getframe(1).f_code.co_name != "__hash__":  # noqa: SLF001  who asks decides
        raise refuse("hash()", BUILTINS_REFUSED["hash"])
    return hash(value)


def _print(*values: object, sep: str = " ", end: str = "\n", **_named: object) -> None:
    """Goes to stderr: stdout belongs to the command's result."""
    sys.stderr.write((sep or "").join(map(str, values)) + (end or ""))
