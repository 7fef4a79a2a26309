"""`engine answers prompts`: the prompt files that `engine.prompt` finds, and what one of them asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from engine.cli.common import emit, json_option
from engine.model.errors import EngineError

if TYPE_CHECKING:
    from typing import Any

    from engine.answers.prompt_files import PromptFile


class Line(msgspec.Struct, frozen=True):
    """One prompt file of the list; of one that is none, only its name and what is wrong with it."""

    name: str
    version: int = 0
    model: str = ""
    places: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    file: str = ""
    origin: str = ""  # "own": under where you stand; "shipped"
    description: str = ""
    problem: str = ""


@click.command()
@click.argument("name", default="")
@json_option
def prompts(name: str, *, as_json: bool) -> int:
    """The prompt files in data/prompts, yours and those that are shipped; with a NAME, one of them whole.

    Exit code 1 when a file in the list is no prompt.
    """
    from engine.answers.prompt_files import find_prompt, prompt_names

    if name:
        found = find_prompt(name)
        emit(_record(found), as_json=as_json, text=lambda: _text(found))
        return 0
    lines = [_line(each) for each in prompt_names()]
    emit({"prompts": lines}, as_json=as_json, text=lambda: _list_text(lines))
    return 1 if any(line.problem for line in lines) else 0


def _line(name: str) -> Line:
    from engine.answers.prompt_files import find_prompt

    try:
        found = find_prompt(name)
    except EngineError as error:
        return Line(name, problem=error.message)
    made = found.prompt
    return Line(
        name,
        made.version,
        made.model,
        made.places,
        made.answer.__struct_fields__,
        found.shown,
        found.origin,
        found.description,
    )


def _list_text(lines: list[Line]) -> str:
    if not lines:
        return "no prompt file"
    wide = max(len(line.name) for line in lines)
    said = []
    for line in lines:
        if line.problem:
            said.append(f"{line.name:<{wide}}  wrong: {line.problem}")
            continue
        said.append(f"{line.name:<{wide}}  version {line.version}  {line.model}  {line.origin}: {line.file}")
        said += [f"{'':<{wide}}  {line.description}"] if line.description else []
        said.append(f"{'':<{wide}}  asked with {', '.join(line.places) or 'nothing'}")
    return "\n".join(said)


def _record(found: PromptFile) -> dict[str, Any]:
    """A prompt as one object."""
    from engine.answers.prompts import schema_of

    made = found.prompt
    return {
        **{name: getattr(made, name) for name in ("name", "version", "model", "max_tokens")},
        "description": found.description,
        "file": found.shown,
        "origin": found.origin,
        "blake2b": found.digest,
        "places": made.places,
        "quoted": made.quoted,
        "system": made.system,
        "text": made.text,
        "schema": schema_of(made.answer),
    }


def _text(found: PromptFile) -> str:
    from engine.answers.prompts import schema_of

    made = found.prompt
    places = ", ".join(f"{place} (quoted)" if place in made.quoted else place for place in made.places)
    schema = msgspec.json.format(msgspec.json.encode(schema_of(made.answer)), indent=2).decode()
    return "\n".join(
        [
            f"{made.name}, version {made.version}, {made.model}, at most {made.max_tokens} tokens",
            f"{found.origin}: {found.shown}",
            *([found.description] if found.description else []),
            f"places: {places or 'none'}",
            "",
            "system",
            *(f"  {line}" for line in (made.system or "none").splitlines()),
            "",
            "text",
            *(f"  {line}" for line in made.text.splitlines()),
            "",
            "answer",
            *(f"  {line}" for line in schema.splitlines()),
        ]
    )
