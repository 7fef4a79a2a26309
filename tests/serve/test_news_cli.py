"""`engine serve --as news` as a user meets it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import msgspec
import pytest

from engine.cli.main import main
from tests.helpers.command import running

SERVE = ("serve", "--as", "news", "--port", "0")
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    """Its address, what it serves, the line to paste; it answers; then exit code 0 and silence on stderr."""
    with running(*SERVE, cwd=tmp_path) as server:
        address, _, rest = server.line().rstrip("\n").partition("  ")
        assert rest == "speaks news · 16 invented headlines"
        assert server.process.stdout is not None
        # Not waited for: it came with the first line, so it stands in the stream's buffer.
        assert server.process.stdout.readline() == f"engine record --feed news:{address}\n"
        (first,) = httpx2.get(address, trust_env=False).json()
        assert first["headline"].startswith("Synthetic headline:")
        server.send(number)
        done = server.end().ok()
    assert (done.out, done.err) == ("", "")


def test_json_and_its_options(tmp_path: Path) -> None:
    """--json is one object; the headlines of a log, all at once, in their own times, with a fault."""
    log = str(ROOT / "recordings" / "2024-06-01.arrow")
    options = ("--from", log, "--speed", "max", "--keep-times", "--fault", "500:first1", "--json")
    with running(*SERVE, *options, cwd=tmp_path) as server:
        result = msgspec.json.decode(server.line())
        address = result["http"]
        assert result == {
            "http": address,
            "port": result["port"],
            "as": "news",
            "source": "16 headlines of 2024-06-01.arrow",
            "faults": ["500:first1"],
            "record": f"engine record --feed news:{address}",
        }
        assert address == f"http://127.0.0.1:{result['port']}/news"
        assert httpx2.get(address, trust_env=False).status_code == 500
        items = httpx2.get(f"{address}?last=100", trust_env=False).json()
        assert len(items) == 16
        assert items[-1]["datetime"] == 1_717_232_500_000


ERRORS: list[tuple[list[str], str]] = [
    (["--fault", "fire"], 'unknown fault "fire"'),
    (["--fault", "500", "--fault", "html"], 'unknown fault "html"'),
    (["--from", "no.csv"], "no.csv: No such file"),
    (["--from", "no.arrow"], "no.arrow"),
    (["--speed", "fast"], "--speed fast is neither"),
    (["--speed", "0"], "--speed 0 is neither"),
    (["--speed", "inf"], "--speed inf is neither"),
    (["--speed", "max", "--repeat"], "--repeat with --speed max"),
    (["--headline-every", "often"], '--headline-every: "often" is no duration'),
    (["--headline-every", "0"], "--headline-every 0: 10ms to 24h"),
    (["--headline-every", "25h"], "--headline-every 25h: 10ms to 24h"),
    (["--speed", "1e-300"], "--speed 1e-300 is neither"),
    (["--headline-every", "5s", "--speed", "2"], "one pace, not two"),
    (["--synthetic"], "--as news was given --synthetic: it serves no market"),
    (["--exit-at-end"], "was given --exit-at-end"),
    (["some.arrow"], "was given LOG"),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS, ids=[" ".join(each[0]) for each in ERRORS])
def test_mistakes_are_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each mistake its message and exit code 2; nothing on stdout, no traceback."""
    assert main([*SERVE, *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--synthetic", "--repeat"], "--as binance was given --repeat: it serves no headlines"),
        (["--synthetic", "--from", "a.csv"], "--as binance was given --from"),
        (["--as", "messages", "--headline-every", "5s"], "--as messages was given --headline-every"),
    ],
)
def test_others_do_not_take_its_options(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What would silently do nothing is refused."""
    assert main(["serve", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_serving_imports_no_client() -> None:
    """The server is not made of the packages that stand on the other side."""
    code = (
        "import sys, engine.cli.serve_news, engine.serve.news;"
        "sys.exit(bool({'httpx2', 'numba', 'engine.live'} & set(sys.modules)))"
    )
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
