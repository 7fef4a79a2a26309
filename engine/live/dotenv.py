"""A `.env` file: KEY=value, one a line, and nothing that would make it a program.

    # a comment
    APCA_API_KEY_ID=PK123                  as it is, up to white space and a comment
    export COINGECKO_PRO_API_KEY="CG-1"    `export` is passed over; double quotes know escapes
    OTHER='as $it is'                      nothing is special between single quotes

No variable is put into another, no command is run, no value goes over lines: what a shell would make of such
a line is not guessed. It is an error with file and line, in which no value is repeated.
"""

from __future__ import annotations

import re

from engine.model.errors import InputError

_LINE = re.compile(r"(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)", re.DOTALL)
_SINGLE = re.compile(r"'(?P<value>[^']*)'[ \t]*(?:#.*)?", re.DOTALL)
_DOUBLE = re.compile(r'"(?P<value>(?:[^"\\]|\\.)*)"[ \t]*(?:#.*)?', re.DOTALL)
_BARE = re.compile(r"(?P<value>[^\s'\"#][^\s'\"]*)?[ \t]*(?:(?<=\s)#.*)?", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


def parse_dotenv(body: bytes, name: str) -> dict[str, str]:
    """Names and values of a file that is called `name` in errors. Raises InputError."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = body.count(b"\n", 0, error.start) + 1
        raise InputError(f"{name} line {number}: not UTF-8", hint="save it as UTF-8") from None
    found: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, each in enumerate(text.split("\n"), start=1):
        line = each.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise InputError(
                f"{name} line {number}: is not KEY=value", hint="no space around =; comments begin with #"
            )
        key = match["name"]
        if key in found:
            raise InputError(
                f"{name} line {number}: {key} stands in line {lines[key]} already", hint="keep one of them"
            )
        found[key] = _value(match["value"], f"{name} line {number}: {key}")
        lines[key] = number
    return found


def _value(text: str, where: str) -> str:
    if match := _SINGLE.fullmatch(text):
        return match["value"]
    if match := _DOUBLE.fullmatch(text):
        return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[0]), match["value"])
    if (match := _BARE.fullmatch(text)) and "\0" not in text:
        return match["value"] or ""
    raise InputError(
        f"{where}: its value is not whole, or has white space or quotes in it",
        hint="put it between single quotes",
    )
