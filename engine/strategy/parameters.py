"""A strategy's parameters: its annotated class fields, and what a user may set them to.

They come from three places, each stronger than the one before: the defaults in the class, a table in a
TOML file (`--config FILE`), and texts (`--set fast=20`). Types are strict: 20 is a valid float, 20.5 no
valid int, and the text "20" in a TOML file is no number. A wrong name or value is an error that lists
what is possible; nothing is ignored, since a misspelt parameter would mean a backtest of something else.
"""

from __future__ import annotations

import difflib
import inspect
import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_origin, get_type_hints

import msgspec

from engine.model.errors import StrategyError, UsageError
from engine.model.units import MAX_INT64

if TYPE_CHECKING:
    from engine.strategy.api import Strategy

_NAMES_OF_TYPES: dict[Any, str] = {
    int: "int",
    float: "float",
    bool: "bool",
    str: "str",
    tuple[str, ...]: "tuple[str, ...]",
}
_EXAMPLES = {
    "int": "a whole number such as 20",
    "float": "a number such as 0.5",
    "bool": "true or false",
    "str": "a text",
    "tuple[str, ...]": "texts with commas between them, such as BTCUSDT,ETHUSDT (TOML: a list of texts)",
}
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class Parameter(msgspec.Struct, frozen=True):
    """One parameter: its name, its type (also as text) and its default."""

    name: str
    type: Any
    type_name: str
    default: Any


def parameters_of(strategy: type[Strategy]) -> tuple[Parameter, ...]:
    """The parameters of a strategy class, base classes' first.

    Raises StrategyError for a field without a default, of another type, or whose default does not fit.
    """
    hints = _type_hints(strategy)
    found = []
    for name, kind in hints.items():
        if name.startswith("_") or get_origin(kind) is ClassVar or kind is ClassVar:
            continue
        where = f'{strategy.__name__}: parameter "{name}"'
        if kind not in _NAMES_OF_TYPES:
            shown = getattr(kind, "__name__", None) or str(kind)
            if get_origin(kind) is not None:
                shown = str(kind)
            raise StrategyError(
                f"{where} has type {shown}",
                hint=f"possible are {', '.join(_NAMES_OF_TYPES.values())}; for the strategy's own state "
                "assign in on_start, or begin the name with _",
            )
        if not hasattr(strategy, name):
            raise StrategyError(f"{where} has no default", hint=f"write {name}: {_NAMES_OF_TYPES[kind]} = …")
        parameter = Parameter(name, kind, _NAMES_OF_TYPES[kind], getattr(strategy, name))
        try:
            _convert(parameter, parameter.default)
        except ValueError as error:
            raise StrategyError(
                f"{where} is {parameter.type_name}, its default is {parameter.default!r}: {error}",
                hint=f"write {_EXAMPLES[parameter.type_name]}",
            ) from None
        found.append(parameter)
    return tuple(found)


def check_values(strategy: type[Strategy], values: Mapping[str, Any], origin: str = "") -> dict[str, Any]:
    """All parameters: the defaults, with `values` (typed, as from TOML or Python) in their place.

    `origin` says in errors where the values came from. Raises UsageError.
    """
    parameters = {parameter.name: parameter for parameter in parameters_of(strategy)}
    result = {name: _convert(parameter, parameter.default) for name, parameter in parameters.items()}
    for name, value in values.items():
        parameter = _find(strategy, parameters, name, origin)
        try:
            result[name] = _convert(parameter, value)
        except ValueError as error:
            raise _wrong(parameter, value, str(error), parameters.values(), origin) from None
    return result


def parse_settings(strategy: type[Strategy], texts: Iterable[str]) -> dict[str, Any]:
    """Typed values of `--set` texts ("fast=20"); a later one replaces an earlier one.

    Raises UsageError for a text without "=", a wrong name, or a text that is no value of the type.
    """
    parameters = {parameter.name: parameter for parameter in parameters_of(strategy)}
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value_text = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UsageError(f'--set "{text}" names no value', hint="write --set name=value")
        parameter = _find(strategy, parameters, name, "--set")
        try:
            values[name] = _convert(parameter, _parse(parameter, value_text.strip()))
        except ValueError as error:
            raise _wrong(parameter, value_text, str(error), parameters.values(), "--set") from None
    return values


def read_table(path: Path) -> dict[str, Any]:
    """The parameters in a TOML file: its [parameters] table, else its top-level values.

    Raises UsageError naming the file, and the line when TOML does.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file", hint="--config takes a TOML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}", hint="a TOML file holds lines such as fast = 20") from None
    table = document.get("parameters", document)
    if not isinstance(table, dict):
        raise UsageError(f"{path}: parameters is {table!r}", hint="write a [parameters] table")
    return table


def resolve(
    strategy: type[Strategy],
    texts: Iterable[str] = (),
    table: Mapping[str, Any] | None = None,
    origin: str = "",
) -> dict[str, Any]:
    """Every parameter's value: defaults, then the table (read from `origin`), then the `--set` texts."""
    values = check_values(strategy, table or {}, origin)
    values.update(parse_settings(strategy, texts))
    return values


def _type_hints(strategy: type[Strategy]) -> dict[str, Any]:
    """Annotations of the class and its bases, resolved where each was written."""
    hints: dict[str, Any] = {}
    for base in reversed(strategy.__mro__):
        annotations = inspect.get_annotations(base)
        if not annotations:
            continue
        try:
            resolved = get_type_hints(base)
        except (NameError, TypeError, SyntaxError) as error:
            raise StrategyError(
                f"{strategy.__name__}: an annotation cannot be understood: {error}",
                hint=f"parameters are of type {', '.join(_NAMES_OF_TYPES.values())}",
            ) from None
        hints.update({name: resolved[name] for name in annotations})
    return hints


def _find(strategy: type[Strategy], parameters: Mapping[str, Parameter], name: str, origin: str) -> Parameter:
    parameter = parameters.get(name)
    if parameter is not None:
        return parameter
    close = difflib.get_close_matches(name, parameters, n=1)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    raise UsageError(
        f'{_prefix(origin)}{strategy.__name__} has no parameter "{name}"',
        hint=f"{hint}It has {_listing(parameters.values())}",
    )


def _wrong(
    parameter: Parameter, value: Any, reason: str, parameters: Iterable[Parameter], origin: str
) -> UsageError:
    shown = f'"{value}"' if isinstance(value, str) else repr(value)
    return UsageError(
        f'{_prefix(origin)}parameter "{parameter.name}" is {parameter.type_name}, not {shown}: {reason}',
        hint=f"write {_EXAMPLES[parameter.type_name]}; the parameters are {_listing(parameters)}",
    )


def _prefix(origin: str) -> str:
    return f"{origin}: " if origin else ""


def _listing(parameters: Iterable[Parameter]) -> str:
    return ", ".join(f"{p.name}: {p.type_name} = {p.default!r}" for p in parameters)


def _convert(parameter: Parameter, value: Any) -> Any:
    """The value in the parameter's type; raises ValueError with the reason."""
    try:
        converted = msgspec.convert(value, parameter.type, strict=True)
    except msgspec.ValidationError as error:
        raise ValueError(_lower_first(str(error))) from None
    if isinstance(converted, float) and not math.isfinite(converted):
        raise ValueError("it must be finite")
    if isinstance(converted, int) and not -MAX_INT64 <= converted <= MAX_INT64:
        raise ValueError("it does not fit 64 bits")
    return converted


def _parse(parameter: Parameter, text: str) -> Any:
    """The value that a `--set` text means; raises ValueError with the reason."""
    if parameter.type is str:
        return text
    if parameter.type is bool:
        lowered = text.lower()
        if lowered in _TRUE:
            return True
        if lowered in _FALSE:
            return False
        raise ValueError("neither true nor false")
    if parameter.type is int:
        try:
            return int(text)
        except ValueError:
            raise ValueError("not a whole number") from None
    if parameter.type is float:
        try:
            return float(text)
        except ValueError:
            raise ValueError("not a number") from None
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
