"""Credentials: three places, their order, strict lines, and texts that show themselves to nobody."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest

from engine.live import credentials
from engine.live.credentials import Credentials, Secret, dotenv_of, find, required
from engine.live.dotenv import parse_dotenv
from engine.live.redact import KNOWN, Redactor
from engine.model.errors import EngineError, InputError, UsageError
from tests.helpers import keyrings

NAME = "APCA_API_SECRET_KEY"
KEY = "planted/Value+4711=0815"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is a repository's root, and no keyring."""
    keyrings.use_none(monkeypatch)
    (tmp_path / ".git").mkdir()
    return tmp_path


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def test_the_first_place_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment, then .env, then keyring; what is set to nothing is not set."""
    keyring = keyrings.Keyring(**{NAME: "of-the-keyring"})
    monkeypatch.undo()
    keyrings.use(keyring, monkeypatch)
    write(folder / ".env", f"{NAME}=of-the-file\n")
    environment = {NAME: " of-the-environment\n"}

    def place_and_value() -> tuple[str, str]:
        found = Credentials(environment, folder).look(NAME)
        assert found is not None
        return found.place, found.secret.reveal()

    assert place_and_value() == ("environment", "of-the-environment")
    environment[NAME] = ""
    assert place_and_value() == (".env", "of-the-file")
    assert keyring.asked == []
    write(folder / ".env", f"{NAME}=\n")
    assert place_and_value() == ("keyring", "of-the-keyring")
    assert keyring.asked == [("engine", NAME)]
    assert find("BINANCE_API_KEY", environment=environment, folder=folder) is None


def test_an_error_names_all_places(folder: Path) -> None:
    """What is missing, whose it is, and the three ways to give it, with what has to be installed."""
    with pytest.raises(UsageError) as caught:
        required(NAME, "Alpaca", environment={}, folder=folder)
    assert caught.value.message == f"Alpaca needs a key, and {NAME} is not set"
    assert caught.value.hint == (
        f"export {NAME}=…, or write {NAME}=… into .env, or keyring set engine {NAME} "
        '(pip install "engine[keyring]")'
    )


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (keyrings.NoKeyringError("x"), "there is none on this system"),
        (RuntimeError(KEY), "it could not be asked (RuntimeError)"),
    ],
    ids=["none", "broken"],
)
def test_a_keyring_that_does_not_answer_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception, said: str
) -> None:
    """Nothing is found there, it is asked once only, and whoever needs the key is told why."""
    monkeypatch.undo()
    keyring = keyrings.Keyring()
    keyring.failure = failure
    keyrings.use(keyring, monkeypatch)
    found = Credentials({}, folder)
    assert [found.look(name) for name in (NAME, "BINANCE_API_KEY")] == [None, None]
    assert len(keyring.asked) == 1
    with pytest.raises(UsageError) as caught:
        required(NAME, "Alpaca", environment={}, folder=folder)
    assert caught.value.hint.endswith(f"(but {said})")


def test_the_file_is_that_of_the_project(tmp_path: Path) -> None:
    """The nearest one up to the root; none above it; without a root, that of the folder alone."""
    project, below = tmp_path / "project", tmp_path / "project" / "a" / "b"
    below.mkdir(parents=True)
    write(tmp_path / ".env", "A=1")
    assert dotenv_of(below) is None
    (project / "pyproject.toml").touch()
    assert dotenv_of(below) is None
    write(project / ".env", "A=2")
    assert dotenv_of(below) == project / ".env"
    assert dotenv_of(project) == project / ".env"
    (below / ".env").mkdir()  # a virtual environment
    assert dotenv_of(below) == project / ".env"
    write(below.parent / ".env", "A=3")
    assert dotenv_of(below) == below.parent / ".env"


LINES = [
    ("A=b", {"A": "b"}),
    ("export A=b", {"A": "b"}),
    ("  A=b  ", {"A": "b"}),
    ("A=b # c", {"A": "b"}),
    ("A=b#c", {"A": "b#c"}),
    ("A=", {"A": ""}),
    ("A= # c", {"A": ""}),
    ("A='b # $c \"'", {"A": 'b # $c "'}),
    ("A='b' # c", {"A": "b"}),
    (r'A="b \" \\ \$ \n \x #" # c', {"A": 'b " \\ $ \n \\x #'}),
    ("A=b=c==", {"A": "b=c=="}),
    ("A=$HOME", {"A": "$HOME"}),
    ("# A=b\n\n \t\nB_1=c\r\n", {"B_1": "c"}),
    ("\ufeffA=b", {"A": "b"}),
    ("", {}),
]


@pytest.mark.parametrize(("text", "found"), LINES, ids=lambda value: repr(value)[:40])
def test_lines_of_a_file(text: str, found: dict[str, str]) -> None:
    """What each line says."""
    assert parse_dotenv(text.encode(), ".env") == found


WRONG = [
    ("A", "line 1: is not KEY=value"),
    ("A = planted", "line 1: is not KEY=value"),
    ("1A=planted", "line 1: is not KEY=value"),
    ("B=1\n\nset A=planted", "line 3: is not KEY=value"),
    ("A= planted", "line 1: A: its value is not whole"),
    ("A=planted two", "line 1: A: its value is not whole"),
    ("A='planted", "line 1: A: its value is not whole"),
    ('A="planted\\"', "line 1: A: its value is not whole"),
    ("A='planted' two", "line 1: A: its value is not whole"),
    ("A=plan'ted'", "line 1: A: its value is not whole"),
    ("A=plan\0ted", "line 1: A: its value is not whole"),
    ("A=1\nexport A=planted", "line 2: A stands in line 1 already"),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=lambda value: repr(value)[:40])
def test_lines_that_are_none(text: str, said: str) -> None:
    """File, line and name; never the value, and nothing is guessed."""
    with pytest.raises(InputError) as caught:
        parse_dotenv(text.encode(), "x/.env")
    assert str(caught.value).startswith(f"x/.env {said}")
    assert "plan" not in str(caught.value)
    assert caught.value.hint


def test_a_file_that_cannot_be_read(folder: Path) -> None:
    """Not UTF-8, too large, or not allowed: an error that names it."""
    write(folder / ".env", "A=1\n")
    (folder / ".env").write_bytes(b"A=1\nB=\xff\n")
    with pytest.raises(InputError, match=r"\.env line 2: not UTF-8"):
        find(NAME, environment={}, folder=folder)
    (folder / ".env").write_bytes(b"#" * (2 << 20))
    with pytest.raises(InputError, match="more than 1,048,576 bytes"):
        find(NAME, environment={}, folder=folder)


@pytest.mark.parametrize("value", ["with space", "schlüssel", "two\nlines"])
def test_a_value_that_can_be_no_key(folder: Path, value: str) -> None:
    """It would break a header; the error does not show it."""
    with pytest.raises(UsageError, match=rf"{NAME} \(environment\) has characters") as caught:
        find(NAME, environment={NAME: value}, folder=folder)
    assert value not in str(caught.value)


def test_a_file_that_others_can_read_is_warned_of_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When a credential was taken out of it, not before, and not again."""
    monkeypatch.chdir(folder)
    write(folder / ".env", f"{NAME}={KEY}\n", 0o640)
    assert find("BINANCE_API_KEY", environment={}) is None
    assert capsys.readouterr().err == ""
    assert find(NAME, environment={}) is not None
    assert find(NAME, environment={}) is not None
    assert capsys.readouterr().err == "warning: .env can be read by others: chmod 600 .env\n"


def test_a_secret_shows_itself_to_nobody() -> None:
    """Neither repr, nor str, nor any format; JSON and pickle refuse it."""
    secret = Secret(KEY)
    assert f"{secret} {secret!r} {secret:>40} {[secret]}" == "*** *** *** [***]"
    assert str(secret) == repr(secret) == "***"
    assert secret.reveal() == KEY
    assert (secret == Secret(KEY), secret == KEY, hash(secret) == hash(Secret(KEY))) == (True, False, True)
    for write_down in (json.dumps, msgspec.json.encode, msgspec.msgpack.encode, pickle.dumps):
        with pytest.raises(TypeError) as caught:
            write_down(secret)
        assert KEY not in str(caught.value)


def test_what_was_found_is_taken_out_of_texts_and_bytes() -> None:
    """As it is, as a query writes it, as JSON does; as many stars as bytes, so that lengths still fit."""
    Secret(KEY)
    assert KNOWN.text(f"key {KEY} is wrong") == "key *** is wrong"
    assert KNOWN.text("?key=planted%2FValue%2B4711%3D0815") == "?key=***"
    assert KNOWN.body(b'{"key":"planted\\/Value+4711=0815"}') == b'{"key":"' + b"*" * 24 + b'"}'
    packed = msgspec.msgpack.encode({"key": KEY, "n": 1})
    assert msgspec.msgpack.decode(KNOWN.body(packed)) == {"key": "*" * len(KEY), "n": 1}
    assert KEY not in repr(KNOWN)


@pytest.mark.parametrize(
    "secret", ['ab"cdefghijklmnop', "ab&cdefgh<ijklmnop>", "abcd+efgh/ijkl==", "a\\bcdefgh'i"]
)
def test_every_way_of_writing_a_secret_is_known(secret: str) -> None:
    """As JSON writes it, what matters to HTML by number, and percent-encoded; each in either case."""
    text = json.dumps(secret)[1:-1]
    by_number = {"<": "3c", ">": "3e", "&": "26", "+": "2b", "'": "27"}
    ways = [secret, text, text.replace("/", "\\/"), quote(secret, safe=""), quote(secret, safe="").lower()]
    for those in ("<>&", "<>&'+"):
        lower = "".join(f"\\u00{by_number[each]}" if each in those else each for each in text)
        ways += [lower, re.sub(r"(?<=u00)..", lambda found: found[0].upper(), lower)]
    redactor = Redactor(secret, least=8)
    for way in ways:
        assert redactor.text(f"key {way}.") == "key ***."
        assert redactor.body(way.encode()) == b"*" * len(way), way


def test_short_values_are_words() -> None:
    """They are left alone: in texts below six characters, in bytes below what was asked for."""
    redactor = Redactor("bitcoin", "key")
    assert redactor.text("the key of bitcoin") == "the key of ***"
    assert redactor.body(b"bitcoin") == b"bitcoin"
    assert Redactor("bitcoin", least=7).body(b"bitcoin") == b"*******"
    assert (bool(redactor), bool(Redactor("key"))) == (True, False)


def test_longer_secrets_are_taken_out_first() -> None:
    """Of one that begins with another nothing stays."""
    assert Redactor("abcdefgh", "abcdefghijklm").text("abcdefghijklm abcdefgh") == "*** ***"


def test_credentials_are_looked_for_without_anything_heavy() -> None:
    """Neither the keyring's package nor an HTTP client is imported by importing it."""
    program = "import sys, engine.live.credentials; print({'keyring', 'httpx2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_no_option_takes_a_credential() -> None:
    """Of no command: they would stand in the list of processes and in the shell's history."""
    import click

    from engine.cli.main import COMMANDS, cli

    context = click.Context(cli)
    names = {name.lower().replace("_", "-") for each in credentials.NAMES.values() for name in each}
    for command in COMMANDS:
        found = cli.get_command(context, command)
        assert found is not None
        options = {text.lstrip("-") for parameter in found.params for text in parameter.opts}
        assert not {text for text in options if text in names or text.endswith(("-key", "secret", "token"))}


def test_every_error_is_one_of_the_engines() -> None:
    """Whatever bytes stand in the file: it is read, or refused with a hint."""
    hints = set()
    for at in range(256):
        body = bytes([65, 61, at, 34, at, 10, at])
        try:
            assert isinstance(parse_dotenv(body, ".env"), dict)
        except EngineError as error:
            hints.add(error.hint)
    assert hints == {
        "save it as UTF-8", "no space around =; comments begin with #", "put it between single quotes"
    }  # fmt: skip
