"""Parameters: what a user may set, in which form, and what an error says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from engine.model.errors import EngineError, StrategyError, UsageError
from engine.strategy.api import Strategy
from engine.strategy.parameters import check_values, parameters_of, parse_settings, read_table, resolve


class Every(Strategy):
    """One parameter of each type."""

    fast: int = 50
    size: float = 0.01
    loud: bool = False
    label: str = "a"
    others: tuple[str, ...] = ("X",)
    limit_of_all: ClassVar[int] = 9
    _own: int = 3


class Child(Every):
    """Adds one, and another default."""

    slow: int = 500
    fast: int = 20


def test_parameters_are_the_annotated_public_fields() -> None:
    """Annotated fields are parameters, in order; ClassVar and underscore names are not."""
    assert [(p.name, p.type_name, p.default) for p in parameters_of(Every)] == [
        ("symbols", "tuple[str, ...]", ()),
        ("fast", "int", 50),
        ("size", "float", 0.01),
        ("loud", "bool", False),
        ("label", "str", "a"),
        ("others", "tuple[str, ...]", ("X",)),
    ]


def test_a_subclass_inherits_parameters_and_may_change_defaults() -> None:
    """The base's parameters come first; the nearer default counts."""
    assert resolve(Child) == {
        "symbols": (),
        "fast": 20,
        "size": 0.01,
        "loud": False,
        "label": "a",
        "others": ("X",),
        "slow": 500,
    }


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("fast=20", "fast", 20),
        (" fast = -7 ", "fast", -7),
        ("size=1", "size", 1.0),
        ("size=2.5e-3", "size", 0.0025),
        ("loud=true", "loud", True),
        ("loud=No", "loud", False),
        ("label=x=y", "label", "x=y"),
        ("label=", "label", ""),
        ("others=A, B", "others", ("A", "B")),
        ("others=", "others", ()),
        ("symbols=BTCUSDT,ETHUSDT", "symbols", ("BTCUSDT", "ETHUSDT")),
    ],
)
def test_a_set_text_becomes_a_value_of_its_type(text: str, name: str, value: object) -> None:
    """--set texts are read in the parameter's own type."""
    found = parse_settings(Every, [text])
    assert found == {name: value}
    assert type(found[name]) is type(value)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("fsat=3", '--set: Every has no parameter "fsat"', 'did you mean "fast"?'),
        (
            "zzz=3",
            '--set: Every has no parameter "zzz"',
            "It has symbols: tuple[str, ...] = (), fast: int = 50",
        ),
        ("_own=3", '--set: Every has no parameter "_own"', "It has"),
        ("fast", '--set "fast" names no value', "write --set name=value"),
        ("fast=2.5", '--set: parameter "fast" is int, not "2.5": not a whole number', "such as 20"),
        ("fast=", '--set: parameter "fast" is int, not "": not a whole number', "such as 20"),
        ("size=big", '--set: parameter "size" is float, not "big": not a number', "such as 0.5"),
        ("size=nan", '--set: parameter "size" is float, not "nan": it must be finite', "such as 0.5"),
        ("size=1e999", '--set: parameter "size" is float, not "1e999": it must be finite', "such as 0.5"),
        (
            "loud=maybe",
            '--set: parameter "loud" is bool, not "maybe": neither true nor false',
            "true or false",
        ),
        ("fast=" + "9" * 30, "it does not fit 64 bits", "such as 20"),
    ],
)
def test_a_wrong_set_text_is_an_error_that_says_what_is_possible(text: str, message: str, hint: str) -> None:
    """Errors name the parameter, the value, the type, and list what there is."""
    with pytest.raises(UsageError) as caught:
        resolve(Every, [text])
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"fast": "20"}, 'my.toml: parameter "fast" is int, not "20": expected `int`, got `str`'),
        ({"fast": 20.5}, 'my.toml: parameter "fast" is int, not 20.5: expected `int`, got `float`'),
        ({"fast": True}, 'my.toml: parameter "fast" is int, not True: expected `int`, got `bool`'),
        ({"loud": 1}, 'my.toml: parameter "loud" is bool, not 1: expected `bool`, got `int`'),
        ({"others": "A"}, 'my.toml: parameter "others" is tuple[str, ...], not "A": expected `array`'),
        ({"size": float("inf")}, 'my.toml: parameter "size" is float, not inf: it must be finite'),
    ],
)
def test_toml_values_are_taken_strictly(table: dict[str, Any], message: str) -> None:
    """A value of another type is refused, also where Python would convert it."""
    with pytest.raises(UsageError) as caught:
        check_values(Every, table, "my.toml")
    assert message in caught.value.message


def test_set_is_stronger_than_the_file_and_the_file_than_the_default(tmp_path: Path) -> None:
    """Default, TOML, --set: each replaces the one before, the last --set wins."""
    path = tmp_path / "my.toml"
    path.write_text('[parameters]\nfast = 7\nsize = 2\nothers = ["A", "B"]\n')
    values = resolve(Every, ["fast=8", "fast=9"], read_table(path), "my.toml")
    assert (values["fast"], values["size"], values["others"], values["label"]) == (9, 2.0, ("A", "B"), "a")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("fast == 3", "line 1"),
        ("parameters = 3", "parameters is 3"),
        (None, "no such file"),
    ],
)
def test_an_unreadable_toml_file_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    """The file stands in the error, and the line when TOML knows it."""
    path = tmp_path / "my.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError) as caught:
        read_table(path)
    assert "my.toml" in caught.value.message
    assert message in caught.value.message


def test_a_strategy_made_in_python_checks_its_parameters_too() -> None:
    """Every(fast=3) sets, Every(fats=3) is an error: the same rules as on the command line."""
    assert Every(fast=3).fast == 3
    with pytest.raises(UsageError, match='did you mean "fast"'):
        Every(fats=3)


class NoDefault(Strategy):
    """A field without a value."""

    fast: int


class OtherType(Strategy):
    """A list is no parameter."""

    levels: list[int] = []  # noqa: RUF012


class WrongDefault(Strategy):
    """The default is of another type."""

    fast: int = 2.5  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (NoDefault, 'NoDefault: parameter "fast" has no default'),
        (OtherType, 'OtherType: parameter "levels" has type list[int]'),
        (WrongDefault, 'WrongDefault: parameter "fast" is int, its default is 2.5'),
    ],
)
def test_a_class_whose_fields_are_no_parameters_is_refused(strategy: type[Strategy], message: str) -> None:
    """The author's own mistakes are named by class and field, with what to write."""
    with pytest.raises(StrategyError) as caught:
        parameters_of(strategy)
    assert message in caught.value.message
    assert isinstance(caught.value, EngineError)
    assert caught.value.hint
