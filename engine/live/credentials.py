"""Credentials: found in the environment, in a `.env` file or in a keyring; never on the command line.

    environment ──► .env ──► keyring            the first that has the name counts

A variable that is set to nothing is as good as not set. The `.env` is the first one in the working directory
or above it, up to the folder with `.git` or `pyproject.toml`; without such a folder, the working directory's
alone. (A file in somebody's home is not meant for whatever happens to run below it.) The keyring is the
system's, through the package `keyring`, an extra; entries stand under the service "engine":

    keyring set engine APCA_API_KEY_ID          (it asks for the value)

A secret that is found is known to `engine.live.redact.KNOWN` from then on, which takes it out of whatever is
written. It shows itself to nobody, and there is no way to write one down but `reveal`.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import msgspec

from engine.live.dotenv import parse_dotenv
from engine.live.redact import HIDDEN, KNOWN
from engine.model.errors import InputError, UsageError

FILE = ".env"
SERVICE = "engine"  # of entries in the keyring
NAMES: dict[str, tuple[str, ...]] = {  # what each venue asks for
    "binance": ("BINANCE_API_KEY", "BINANCE_API_SECRET"),
    "alpaca": ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"),
    "coingecko": ("COINGECKO_DEMO_API_KEY", "COINGECKO_PRO_API_KEY"),
    "claude": ("ANTHROPIC_API_KEY",),
}
_ROOTS = (".git", "pyproject.toml")
_MOST_BYTES = 1 << 20
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

Place = Literal["environment", ".env", "keyring"]
_warned: set[Path] = set()


class Secret:
    """A text that shows itself to nobody: not in repr, not in an f-string, not in a file of settings.

    JSON and pickle refuse it with a TypeError: a star in the place of a key would only fail later.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text
        KNOWN.add(text)

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return HIDDEN

    def __format__(self, _spec: str) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a secret is not written down")


class Found(msgspec.Struct, frozen=True):
    """A credential, and where it stood."""

    secret: Secret
    place: Place


class Credentials:
    """Looks in all three places. Reads the file once, and asks the keyring only for what is nowhere else."""

    def __init__(self, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> None:
        """The process's environment and working directory, unless others are given."""
        self.path = dotenv_of(Path.cwd() if folder is None else folder)
        self.trouble = ""  # why the keyring could not be asked
        self._environment = os.environ if environment is None else environment
        self._in_file: dict[str, str] | None = None

    def look(self, variable: str) -> Found | None:
        """A credential by its name, or None.

        Raises InputError for a `.env` that cannot be read, UsageError for a value that can be no key; the
        value stands in neither.
        """
        place: Place = "environment"
        value = self._environment.get(variable, "").strip()
        if not value:
            place, value = ".env", self._file().get(variable, "").strip()
        if not value:
            place, value = "keyring", self._keyring(variable).strip()
        if not value:
            return None
        if not (value.isascii() and value.isprintable()) or " " in value:
            raise UsageError(
                f"{variable} ({place}) has characters that no key has", hint="copy it again, in one line"
            )
        return Found(Secret(value), place)

    def exposed(self) -> bool:
        """Whether others than its owner may read the `.env`."""
        return self.path is not None and os.name == "posix" and bool(self.path.stat().st_mode & _OTHERS)

    def _file(self) -> dict[str, str]:
        if self._in_file is None:
            self._in_file = {} if self.path is None else _read(self.path)
        return self._in_file

    def _keyring(self, variable: str) -> str:
        if self.trouble or find_spec("keyring") is None:
            return ""
        import keyring
        import keyring.errors

        try:
            return keyring.get_password(SERVICE, variable) or ""
        except keyring.errors.NoKeyringError:
            self.trouble = "there is none on this system"
        except Exception as error:  # noqa: BLE001  backends raise what they like, and it may show what they were asked
            self.trouble = f"it could not be asked ({type(error).__name__})"
        return ""


def find(
    variable: str, *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Secret | None:
    """A credential by the name of its variable, or None. Raises what `Credentials.look` raises."""
    found = _look(Credentials(environment, folder), variable)
    return None if found is None else found.secret


def required(
    variable: str, whose: str, *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Secret:
    """The same; UsageError that names the three places where there is none. `whose`: "Alpaca", say."""
    credentials = Credentials(environment, folder)
    found = _look(credentials, variable)
    if found is not None:
        return found.secret
    keyring = f"keyring set {SERVICE} {variable}"
    if find_spec("keyring") is None:
        keyring += ' (pip install "engine[keyring]")'
    elif credentials.trouble:
        keyring += f" (but {credentials.trouble})"
    raise UsageError(
        f"{whose} needs a key, and {variable} is not set",
        hint=f"export {variable}=…, or write {variable}=… into {FILE}, or {keyring}",
    )


def dotenv_of(folder: Path) -> Path | None:
    """The `.env` that counts for who stands in this folder, or None."""
    above = [folder, *folder.parents]
    root = next((n for n, each in enumerate(above) if any((each / name).exists() for name in _ROOTS)), 0)
    # A folder of that name is a virtual environment, as some make them.
    return next((path for each in above[: root + 1] if (path := each / FILE).is_file()), None)


def _look(credentials: Credentials, variable: str) -> Found | None:
    found = credentials.look(variable)
    if found is not None and found.place == FILE and credentials.exposed():
        _warn(credentials.path)
    return found


def _warn(path: Path | None) -> None:
    """Say once for each file that others can read it."""
    if path is not None and path not in _warned:
        _warned.add(path)
        sys.stderr.write(f"warning: {exposed_text(path)}\n")


def exposed_text(path: Path) -> str:
    """What is said of a file that others can read."""
    return f"{_shown(path)} can be read by others: chmod 600 {_shown(path)}"


def _shown(path: Path) -> str:
    return os.path.relpath(path)


def _read(path: Path) -> dict[str, str]:
    try:
        body = path.read_bytes() if path.stat().st_size <= _MOST_BYTES else None
    except OSError as error:
        raise InputError(
            f"{_shown(path)} cannot be read: {error.strerror or error}",
            hint="it holds credentials: chmod 600",
        ) from None
    if body is None:
        raise InputError(
            f"{_shown(path)} has more than {_MOST_BYTES:,} bytes", hint="KEY=value lines are few"
        )
    return parse_dotenv(body, _shown(path))
