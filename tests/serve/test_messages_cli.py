"""`engine serve --as messages` as a user meets it."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anthropic
import httpx2
import pytest

from engine.cli.main import main
from tests.helpers.messages import body

PATIENCE_S = 30.0
ENGINE = [sys.executable, "-c", "from engine.cli.main import run; run()", "serve", "--as", "messages"]


@contextmanager
def serving(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`engine serve --as messages …` on a free port, once it has said something."""
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2]))
    process = subprocess.Popen(
        [*ENGINE, "--port", "0", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            assert selector.select(PATIENCE_S), "it printed nothing"
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    """Its address, what it is, the line to paste; it answers; then exit code 0 and silence on stderr."""
    with serving() as process:
        address, _, rest = line(process).partition("  ")
        assert address.startswith("http://127.0.0.1:")
        assert rest == "speaks messages · answers by a fixed word list, no model"
        assert line(process) == f"export ANTHROPIC_BASE_URL={address}"
        with (
            httpx2.Client(trust_env=False) as http,
            anthropic.Anthropic(base_url=address, api_key="any", max_retries=0, http_client=http) as client,
        ):
            (block,) = client.messages.create(**body("Shares surge")).content
            assert block.type == "text"
            assert block.text.startswith("Fixed word list, no model: surge +0.7")
            process.send_signal(number)
            assert process.wait(PATIENCE_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_json_and_faults() -> None:
    """--json prints one object with the address, the faults and the line; the faults are in force."""
    with serving("--json", "--fault", "529:first1", "--fault", "latency:1ms", "--seed", "3") as process:
        result = json.loads(line(process))
        assert result == {
            "http": f"http://127.0.0.1:{result['port']}",
            "port": result["port"],
            "as": "messages",
            "source": "a fixed word list, no model",
            "faults": ["529:first1", "latency:1ms"],
            "export": f"export ANTHROPIC_BASE_URL=http://127.0.0.1:{result['port']}",
        }
        with (
            httpx2.Client(trust_env=False) as http,
            anthropic.Anthropic(
                base_url=result["http"], api_key="any", max_retries=0, http_client=http
            ) as client,
        ):
            with pytest.raises(anthropic.OverloadedError):
                client.messages.create(**body())
            client.messages.create(**body())


ERRORS: list[tuple[list[str], str]] = [
    (["--fault", "fire"], 'unknown fault "fire"'),
    (["--fault", "latency"], 'fault "latency": how long?'),
    (["--fault", "529", "--fault", "disconnect:3"], 'unknown fault "disconnect:3"'),
    (["--synthetic"], "was given --synthetic: it serves no market"),
    (["--keep-times"], "was given --keep-times"),
    (["--speed", "1"], "was given --speed"),
    (["some.arrow"], "was given LOG"),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS, ids=[" ".join(each[0]) for each in ERRORS])
def test_mistakes_are_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each mistake its message and exit code 2; nothing on stdout, no traceback."""
    assert main(["serve", "--as", "messages", *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
    assert "Traceback" not in printed.err


def test_a_markets_faults_are_not_those_of_messages(capsys: pytest.CaptureFixture[str]) -> None:
    """What only the Messages API can do wrong is refused where there is a market."""
    assert main(["serve", "--synthetic", "--fault", "gap", "--fault", "refusal:first1"]) == 2
    assert 'unknown fault "refusal:first1"' in capsys.readouterr().err


def test_serving_imports_no_client() -> None:
    """The server is not made of the package that it stands in for."""
    code = (
        "import sys, engine.cli.serve_messages, engine.serve.messages;"
        "sys.exit(bool({'anthropic', 'numba', 'httpx2'} & set(sys.modules)))"
    )
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2]))
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
