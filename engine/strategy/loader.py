"""From what a user writes after --strategy to an instance that can run, with a fingerprint of its code.

    ema_cross                       a shipped strategy, from a source checkout or an installed wheel
    strategies/ema_cross.py         a file
    mine.py:SecondOne               a class in a file that holds several

A file is read once, linted, compiled and run in the sandbox; files beside it that it imports (also
inside functions) come under the same rules and into the same fingerprint, so that the fingerprint covers
every line of the author's that can decide anything. The same name loaded twice gives two separate modules.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import engine
from engine.model.errors import EngineError, StrategyError
from engine.strategy import sandbox
from engine.strategy.api import HANDLERS, Strategy
from engine.strategy.parameters import check_values, resolve
from engine.strategy.prompts import Shelf

_ARGUMENTS = {"on_start": 1, "on_stop": 1}  # beside self; every other handler takes ctx and an event
_CLASS_SUFFIX = re.compile(r"(?<=.):([A-Za-z_]\w*)$")
_DEEPEST_IMPORT = 100


@dataclass(frozen=True)
class LoadedStrategy:
    """A strategy that is ready to run, and what a run's record says about it.

    name           of the run: the file's name without .py, with ":Class" when one was asked for
    reference      what finds it again: a shipped name, or a path relative to where the user stands
    fingerprint    BLAKE2b of its file, the files beside it that it imports, and its prompt files, hex
    files          each of those, as shown -> BLAKE2b of its bytes, hex, the strategy's own first
    handlers       those that it implements, in the order of HANDLERS
    cpu_dependent  calls whose last bit differs between CPUs, "math.exp (line 12)"
    """

    strategy: Strategy
    name: str
    reference: str
    path: Path
    fingerprint: str
    files: dict[str, str]
    parameters: dict[str, Any]
    handlers: tuple[str, ...]
    cpu_dependent: tuple[str, ...]

    def new(self) -> Strategy:
        """A fresh instance with the same parameters."""
        return _instance(type(self.strategy), self.parameters)


@dataclass(frozen=True)
class _Source:
    name: str  # as imported: "ema_cross"
    path: Path
    shown: str
    code: CodeType
    digest: str
    siblings: tuple[str, ...]
    cpu_dependent: tuple[str, ...]
    tree: ast.Module


def load_strategy(
    reference: str,
    settings: Iterable[str] = (),
    *,
    table: Mapping[str, Any] | None = None,
    origin: str = "",
    home: Path | None = None,
) -> LoadedStrategy:
    """Find, check and run a strategy's file, and make an instance with its parameters.

    `settings` are the texts of --set; `table` holds typed values from a TOML file that `origin` names.
    `home` is the project of a run that is repeated: its prompt files come before those where the user stands.
    Raises StrategyError (the code) and UsageError (a parameter), each with file, line and what to do.
    """
    path, class_name, shipped = _find(reference)
    shown = _shown(path)
    sources = _read_all(path)
    fingerprint = blake2b(digest_size=32)
    for source in sorted(sources.values(), key=lambda s: (s.path != path, s.name)):
        fingerprint.update(f"{source.name if source.path != path else ''}\0{source.digest}\0".encode())
    shelf = Shelf(home)
    for source in sources.values():
        shelf.read(source.tree, source.shown)
    module = _run(sources, path, fingerprint.hexdigest(), shelf)
    shelf.close()
    shelf.sign(fingerprint)
    cls = _pick(module, class_name, shown, reference)
    handlers = _check_handlers(cls, shown)
    parameters = resolve(cls, settings, table, origin)
    name = path.stem if class_name is None else f"{path.stem}:{class_name}"
    own = path.stem if shipped else shown
    return LoadedStrategy(
        strategy=_instance(cls, parameters),
        name=name,
        reference=own if class_name is None else f"{own}:{class_name}",
        path=path,
        fingerprint=fingerprint.hexdigest(),
        files={**{source.shown: source.digest for source in sources.values()}, **shelf.digests()},
        parameters=parameters,
        handlers=handlers,
        cpu_dependent=tuple(
            text if source.path == path else f"{source.shown}: {text}"
            for source in sources.values()
            for text in source.cpu_dependent
        ),
    )


def shipped_folder() -> Path | None:
    """Where the shipped strategies stand: inside an installed wheel, or at the top of a checkout."""
    package = Path(engine.__file__).parent
    for folder in (package / "shipped" / "strategies", package.parent / "strategies"):
        if folder.is_dir():
            return folder
    return None


def shipped_names() -> tuple[str, ...]:
    """Names of the shipped strategies, sorted."""
    folder = shipped_folder()
    return tuple(sorted(p.stem for p in folder.glob("[!_]*.py"))) if folder else ()


def explain_failure(error: BaseException) -> str:
    """What a handler's exception says: "mine.py:12 in on_trade: ZeroDivisionError: division by zero".

    The place is the innermost line of the strategy's own; left out when none is on the stack.
    """
    place = ""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        shown = sandbox.shown_name(code.co_filename)
        if shown:
            place = f"{shown}:{trace.tb_lineno} in {code.co_name}: "
        trace = trace.tb_next
    return f"{place}{type(error).__name__}: {error}"


# -- finding


def _find(reference: str) -> tuple[Path, str | None, bool]:
    """The file, the class asked for or None, and whether it is a shipped one found by name."""
    match = _CLASS_SUFFIX.search(reference)
    class_name = match.group(1) if match else None
    name = reference[: match.start()] if match else reference
    looks_like_path = name.endswith(".py") or os.sep in name or "/" in name
    if not looks_like_path and name in shipped_names():
        folder = shipped_folder()
        assert folder is not None
        return (folder / f"{name}.py").resolve(), class_name, True
    path = Path(name)
    if path.is_dir():
        raise StrategyError(f"{name} is a folder", hint="name a strategy's file in it")
    if path.is_file():
        return path.resolve(), class_name, False
    known = ", ".join(shipped_names()) or "none"
    close = difflib.get_close_matches(Path(name).stem, shipped_names(), n=1)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    what = "no such strategy file" if looks_like_path else "no shipped strategy and no file of this name"
    raise StrategyError(f"{name}: {what}", hint=f"{hint}Shipped, found by name: {known}")


def _shown(path: Path) -> str:
    """The path as seen from where the user stands."""
    return os.path.relpath(path)


# -- reading


def _read_all(path: Path) -> dict[str, _Source]:
    """The strategy's file and every file beside it that it imports, by module name, itself first."""
    sources: dict[str, _Source] = {}
    waiting = [path.stem]
    while waiting:
        name = waiting.pop(0)
        if name in sources:
            continue
        if len(sources) >= _DEEPEST_IMPORT:
            raise StrategyError(f"{_shown(path)}: imports more than {_DEEPEST_IMPORT} files beside it")
        source = sources[name] = _read(path.with_name(f"{name}.py"))
        waiting.extend(source.siblings)
    return sources


def _read(path: Path) -> _Source:
    shown = _shown(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise StrategyError(
            f"{shown}: no such file", hint="a strategy imports it from beside itself"
        ) from None
    except OSError as error:
        raise StrategyError(f"{shown}: cannot be read: {error.strerror}") from None
    try:
        tree = ast.parse(content, filename=str(path))
        # dont_inherit: this module's own __future__ imports are not the strategy's.
        code = compile(tree, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:  # ValueError: null bytes, in some versions
        line = getattr(error, "lineno", None)
        place = f"{shown}:{line}" if line else shown
        text = (getattr(error, "text", None) or "").strip()
        raise StrategyError(
            f"{place}: {getattr(error, 'msg', error)}{f': {text}' if text else ''}",
            hint="Python cannot read this line" if line else "Python cannot read this file",
        ) from None
    beside = frozenset(p.stem for p in path.parent.glob("*.py") if p.stem not in ("engine", "numpy"))
    found = sandbox.lint(tree, beside)
    sandbox.refuse_findings(shown, found.findings)
    return _Source(
        name=path.stem,
        path=path,
        shown=shown,
        code=code,
        digest=blake2b(content, digest_size=32).hexdigest(),
        siblings=tuple(name for name in found.siblings),
        cpu_dependent=tuple(found.cpu_dependent),
        tree=tree,
    )


def _run(sources: Mapping[str, _Source], path: Path, fingerprint: str, shelf: Shelf) -> ModuleType:
    """Execute the strategy's file in the sandbox; its siblings run when it imports them."""
    own = sources[path.stem]
    sandbox.watch({str(source.path): source.shown for source in sources.values()})
    siblings = {s.name: (s.code, str(s.path)) for s in sources.values() if s is not own}
    # The name is unique to the content, so that two strategies called alike never meet in sys.modules.
    importer = sandbox.Importer(
        f"engine_strategy_{path.stem}_{fingerprint[:8]}", siblings, {"prompt": shelf.prompt}
    )
    try:
        with sandbox.guard():
            return importer.run("", own.code, str(path))
    except EngineError:
        raise
    except Exception as error:  # noqa: BLE001  whatever an author's file may raise
        raise StrategyError(
            f"{own.shown} cannot be loaded: {explain_failure(error)}",
            hint="the file's own lines failed, before any event",
        ) from None


# -- the class


def _pick(module: ModuleType, class_name: str | None, shown: str, reference: str) -> type[Strategy]:
    found = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Strategy)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }
    if class_name is not None:
        if class_name not in found:
            listed = ", ".join(found) or "none"
            raise StrategyError(f"{shown} has no strategy {class_name}", hint=f"it has {listed}")
        return found[class_name]
    if not found:
        raise StrategyError(
            f"{shown} has no strategy",
            hint="a strategy is a class that extends engine.Strategy: class Mine(engine.Strategy): …",
        )
    if len(found) > 1:
        choices = " or ".join(f"--strategy {reference}:{name}" for name in found)
        raise StrategyError(
            f"{shown} has {len(found)} strategies: {', '.join(found)}", hint=f"write {choices}"
        )
    return next(iter(found.values()))


def _check_handlers(cls: type[Strategy], shown: str) -> tuple[str, ...]:
    """The handlers that a class implements; a misspelt one would never be called, so it is an error."""
    for base in cls.__mro__[: cls.__mro__.index(Strategy)]:
        for name, value in vars(base).items():
            if name == "__init__":
                raise StrategyError(
                    f"{shown}:{_line(value)}: {cls.__name__} has an __init__",
                    hint="set up state in on_start(self, ctx), where the parameters have their values",
                )
            if name.startswith("on_") and name not in HANDLERS and callable(value):
                close = difflib.get_close_matches(name, HANDLERS, n=1)
                hint = f'did you mean "{close[0]}"? ' if close else ""
                raise StrategyError(
                    f'{shown}:{_line(value)}: {cls.__name__} has a handler "{name}" that nothing calls',
                    hint=f"{hint}Handlers are {', '.join(HANDLERS)}",
                )
    handlers = tuple(name for name in HANDLERS if hasattr(cls, name))
    if not handlers:
        raise StrategyError(
            f"{shown}: {cls.__name__} has no handler", hint=f"write at least one of {', '.join(HANDLERS)}"
        )
    for name in handlers:
        _check_arguments(cls, name, shown)
    return handlers


def _check_arguments(cls: type[Strategy], name: str, shown: str) -> None:
    handler = inspect.getattr_static(cls, name)
    wanted = 1 + _ARGUMENTS.get(name, 2)
    form = "self, ctx" if wanted == 2 else f"self, ctx, {name.removeprefix('on_')}"
    if not inspect.isfunction(handler) or inspect.isgeneratorfunction(handler):
        raise StrategyError(
            f"{shown}:{_line(handler)}: {cls.__name__}.{name} is no plain method",
            hint=f"write def {name}({form}):",
        )
    try:
        inspect.signature(handler).bind(*[None] * wanted)
    except TypeError:
        raise StrategyError(
            f"{shown}:{_line(handler)}: {cls.__name__}.{name}{inspect.signature(handler)} does not take "
            f"{wanted} arguments",
            hint=f"write def {name}({form}):",
        ) from None


def _line(value: object) -> int:
    code = getattr(value, "__code__", None)
    return code.co_firstlineno if isinstance(code, CodeType) else 0


def _instance(cls: type[Strategy], parameters: Mapping[str, Any]) -> Strategy:
    return cls(**check_values(cls, parameters))
