"""Prompts as files, `data/prompts/NAME.toml`: questions are data, to be read, reviewed and changed.

A file says what is asked and what may be answered. The answer's type is made of it, the same in every
process, so the same file with the same places filled is the same question. It is looked for under where the
user stands first, then among those that are shipped: one's own takes the place of a shipped one.

    name = "mood"                    the file's own name
    version = 1                      counts from 1; belongs to the key of what is asked
    model, max_tokens                as of engine.Prompt, unless given
    quoted = ["headline"]            places that hold others' words
    system = "…"
    text = "<headline>{headline}</headline>"

    [answer.mood]                    a field of the answer
    type = "number"                  number, integer, text, flag, choice, list (of texts)
    range = [-1, 1]                  of a number or an integer, both ends included
    choices = ["up", "down"]         of a choice
    max_length = 200                 characters of a text, or of each text of a list
    max_items = 5                    of a list
    description = "…"                what the model is told of the field

Nothing is guessed: a key that is not here, or a value of another type, is an error with its place.
"""

from __future__ import annotations

import difflib
import keyword
import os
import re
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

import engine
from engine.answers.prompts import Prompt, schema_of
from engine.model.errors import InputError, UsageError

FOLDER = Path("data") / "prompts"
SUFFIX = ".toml"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_KEYS: dict[str, type] = {
    **dict.fromkeys(("name", "model", "description", "system", "text"), str),
    **dict.fromkeys(("version", "max_tokens"), int),
    "quoted": list,
    "answer": dict,
}
_NEEDED = ("name", "version", "text", "answer")
# Of a field: what its type takes beside `type` and `description`, and what of it must be there.
_TYPES: dict[str, tuple[tuple[str, ...], str]] = {
    "number": (("range",), ""),
    "integer": (("range",), ""),
    "text": (("max_length",), ""),
    "flag": ((), ""),
    "choice": (("choices",), "choices"),
    "list": (("max_length", "max_items"), ""),
}
_FIELD_KEYS: dict[str, type] = {
    **dict.fromkeys(("type", "description"), str),
    **dict.fromkeys(("range", "choices"), list),
    **dict.fromkeys(("max_length", "max_items"), int),
}
_MOST = 1_000_000
_EXACT = 2**53  # whole numbers that JSON's readers agree on
_WORDS = {str: "a text", int: "a whole number", list: "a list", dict: "a table"}


class PromptFile(msgspec.Struct, frozen=True):
    """A prompt and the file that it was made of.

    shown        the file as people name it; of a shipped one too, which stands elsewhere
    origin       "own": under where the user stands; "shipped"
    digest       BLAKE2b of its bytes, hex
    description  what it is for, in its own words
    """

    prompt: Prompt
    shown: str
    origin: str
    digest: str
    description: str


def prompt(name: str) -> Prompt:
    """The prompt of `data/prompts/NAME.toml`, your own or a shipped one; `.answer` is its answer's type.

    Raises UsageError for a name that is not there, InputError for a file that is no prompt.
    """
    return find_prompt(name).prompt


def find_prompt(name: str, home: Path | None = None) -> PromptFile:
    """The file of a prompt, looked for under `home` before all.

    Raises UsageError with near misses, InputError for a file that is none.
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        for folder, origin in _folders(home):
            path = folder / f"{name}{SUFFIX}"
            if path.is_file():
                return read_prompt(path, origin)
    known = prompt_names()
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    raise UsageError(
        f"there is no prompt {name!r}: no {FOLDER / f'{name}{SUFFIX}'} here, and none is shipped",
        hint=f"{hint}Prompts are {', '.join(known) or 'none'}",
    )


def prompt_names() -> list[str]:
    """The names of all prompt files, own and shipped, sorted."""
    return sorted(
        {
            path.stem
            for folder, _ in _folders()
            for path in folder.glob(f"*{SUFFIX}")
            if path.is_file() and not path.name.startswith(".")
        }
    )


def shipped_folder() -> Path:
    """Where the shipped files stand: inside an installed wheel, or at the top of a checkout."""
    package = Path(engine.__file__).parent
    shipped = package / "shipped" / FOLDER
    return shipped if shipped.is_dir() else package.parent / FOLDER


def _folders(home: Path | None = None) -> Iterator[tuple[Path, str]]:
    shipped = shipped_folder()
    for folder in (FOLDER,) if home is None else (Path(os.path.relpath(home)) / FOLDER, FOLDER):
        if folder.is_dir() and folder.resolve() != shipped.resolve():
            yield folder, "own"
    yield shipped, "shipped"


def read_prompt(path: Path, origin: str = "own") -> PromptFile:
    """A prompt out of its file. Raises InputError with the file, the table, the key and what to do."""
    shown = str(FOLDER / path.name) if origin == "shipped" else str(path)
    try:
        content = path.read_bytes()
        raw: dict[str, Any] = msgspec.toml.decode(content)
    except OSError as error:
        raise InputError(f"{shown}: cannot be read: {error.strerror or error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{shown}: is no TOML: {error}", hint="texts of several lines stand between triple quotes"
        ) from None
    _check_keys(shown, "", raw, _KEYS)
    for key in _NEEDED:
        if key not in raw:
            raise InputError(f"{shown}: has no {key}", hint=f"it needs {', '.join(_NEEDED)}")
    if raw["name"] != path.stem:
        raise InputError(
            f'{shown}: name = "{raw["name"]}" is not the file\'s own name',
            hint=f'write name = "{path.stem}", or call the file {raw["name"]}{SUFFIX}',
        )
    quoted = raw.pop("quoted", [])
    if not all(isinstance(place, str) for place in quoted):
        raise InputError(f"{shown}: quoted = {quoted!r}", hint='names of places: quoted = ["headline"]')
    description = raw.pop("description", "")
    answer = _answer(shown, raw.pop("name"), raw.pop("answer"))
    try:
        made = Prompt(name=path.stem, answer=answer, quoted=tuple(quoted), **raw)
        schema_of(answer)
    except UsageError as error:
        raise InputError(f"{shown}: {error.message}", hint=error.hint) from None
    return PromptFile(made, shown, origin, blake2b(content, digest_size=32).hexdigest(), description)


def _check_keys(shown: str, table: str, values: dict[str, Any], known: dict[str, Any]) -> None:
    """Every key is one that is known, and its value of the key's type."""
    place = f"{shown}: [{table}]" if table else shown
    for key, value in values.items():
        kind = known.get(key)
        if kind is None:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f'did you mean "{close[0]}"? ' if close else ""
            raise InputError(f'{place}: unknown key "{key}"', hint=f"{hint}Keys are {', '.join(known)}")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise InputError(f"{place}: {key} = {value!r} is not {_WORDS[kind]}")
        if kind is int and abs(value) > _MOST:
            raise InputError(f"{place}: {key} = {value} is too much", hint=f"at most {_MOST:,}")


def _answer(shown: str, name: str, fields: dict[str, Any]) -> type[msgspec.Struct]:
    """The answer's type."""
    if not fields:
        raise InputError(f"{shown}: [answer] has no field", hint='[answer.sentiment] with type = "number"')
    made = []
    for field, values in fields.items():
        table = f"answer.{field}"
        if not field.isidentifier() or keyword.iskeyword(field) or field.startswith("_"):
            raise InputError(
                f"{shown}: [{table}]: no name that Python can have",
                hint="letters, digits and _, a letter first",
            )
        if not isinstance(values, dict):
            raise InputError(
                f"{shown}: [answer]: {field} = {values!r} is no field", hint=f'[{table}] with type = "text"'
            )
        made.append((field, _field(shown, table, values)))
    title = "".join(part[:1].upper() + part[1:] for part in re.split(r"[_-]+", name))
    return msgspec.defstruct(f"{title}Answer", made, frozen=True, forbid_unknown_fields=True)


def _field(shown: str, table: str, values: dict[str, Any]) -> Any:
    """A field's annotation."""
    place = f"{shown}: [{table}]"
    _check_keys(shown, table, values, _FIELD_KEYS)
    kind = values.get("type", "")
    if kind not in _TYPES:
        said = f'type = "{kind}" is none' if kind else "has no type"
        raise InputError(f"{place}: {said}", hint=f"one of {', '.join(_TYPES)}")
    taken, needed = _TYPES[kind]
    for key in values:
        if key not in (*taken, "type", "description"):
            raise InputError(
                f"{place}: a {kind} takes no {key}",
                hint=f"it takes {', '.join(taken)}" if taken else "only a description",
            )
    if needed and needed not in values:
        raise InputError(f"{place}: a {kind} needs {needed}", hint='choices = ["up", "down"]')
    annotation, bounds = _type(place, kind, values)
    if values.get("description"):
        bounds["description"] = values["description"]
    return Annotated[annotation, msgspec.Meta(**bounds)] if bounds else annotation


def _type(place: str, kind: str, values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A field's type, and the bounds of it."""
    for key in ("max_length", "max_items"):
        if values.get(key, 1) < 1:
            raise InputError(f"{place}: {key} = {values[key]}: nothing could be answered", hint="1 or more")
    length = {"max_length": values["max_length"]} if "max_length" in values else {}
    if kind == "text":
        return str, length
    if kind == "list":
        item: Any = Annotated[str, msgspec.Meta(**length)] if length else str
        return list[item], {"max_length": values["max_items"]} if "max_items" in values else {}
    if kind == "flag":
        return bool, {}
    if kind == "choice":
        return Literal[_choices(place, values["choices"])], {}
    return (int if kind == "integer" else float), _range(place, kind, values.get("range"))


def _choices(place: str, choices: list[Any]) -> tuple[str, ...]:
    texts = [choice for choice in choices if isinstance(choice, str) and choice]
    if not texts or len(texts) != len(choices) or len(set(texts)) != len(texts):
        raise InputError(
            f"{place}: choices = {choices!r}", hint="different texts, none of them empty, at least one"
        )
    return tuple(texts)


def _range(place: str, kind: str, bounds: list[Any] | None) -> dict[str, Any]:
    """Both ends as the field's own type, so that -1 and -1.0 in a file are the same question."""
    if bounds is None:
        return {}
    whole = kind == "integer"
    good = len(bounds) == 2 and all(
        isinstance(bound, int if whole else int | float) and not isinstance(bound, bool) for bound in bounds
    )
    if not good or not abs(bounds[0]) <= _EXACT >= abs(bounds[1]) or bounds[0] > bounds[1]:
        raise InputError(
            f"{place}: range = {bounds!r}",
            hint=f"the least and the most, as {'whole ' if whole else ''}numbers: range = [-1, 1]",
        )
    least, most = (bounds[0], bounds[1]) if whole else (float(bounds[0]), float(bounds[1]))
    return {"ge": least, "le": most}
