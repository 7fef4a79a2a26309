"""`engine record` as a user runs it: in a process of its own, ended by signals, judged by exit codes."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.log.reader import LogReader
from tests.helpers.rows import rows_of_batch, wires
from tests.helpers.venue import FakeVenue

LIMIT_S = 30.0
ROOT = Path(__file__).resolve().parents[2]


async def start(folder: Path, *arguments: str, **pipes: Any) -> asyncio.subprocess.Process:
    """`engine record` with these arguments, standing in `folder`."""
    pipes.setdefault("stdout", asyncio.subprocess.PIPE)
    pipes.setdefault("stderr", asyncio.subprocess.PIPE)
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from engine.cli.main import run; run()",
        "record",
        *arguments,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **pipes,
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    async with asyncio.timeout(LIMIT_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, (out or b"").decode(), (err or b"").decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM: exit 0, one JSON object on stdout, a sealed file with everything sent."""

    async def run() -> tuple[int, str, str, list[str]]:
        venue = FakeVenue()
        async with venue.running():
            process = await start(
                tmp_path, "--symbols", "BTCUSDT,ETHUSDT", "--url", venue.url, "--to", "here", "--json"
            )
            await venue.connected()
            for symbol in venue.symbols:
                await venue.send(venue.trade(symbol), venue.depth(symbol), venue.quote(symbol))
            await venue.asked("/api/v3/depth", 2)
            process.send_signal(number)
            return *await ended(process), venue.sent

    code, out, err, sent = asyncio.run(run())
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    result = msgspec.json.decode(out)
    assert result["reason"] == number.name
    assert result["kinds"]["trade"] == 2
    assert result["sealed"] is True
    assert set(result["last_prices"]) == {"BTCUSDT", "ETHUSDT"}
    (name,) = result["files"]
    assert name.startswith("here/"), "shown as seen from where the user stands"
    with LogReader(tmp_path / name) as reader:
        rows = [row for batch in reader.batches() for row in rows_of_batch(batch)]
        assert reader.sealed
    assert wires(rows, 1) == sent
    assert (result["rows"], result["bytes"]) == (len(rows), (tmp_path / name).stat().st_size)


def test_for_so_long_and_no_longer(tmp_path: Path) -> None:
    """--for: exit 0 by itself; the text says what there is and what to do next."""

    async def run() -> tuple[int, str, str]:
        venue = FakeVenue()
        async with venue.running():
            return await ended(
                await start(
                    tmp_path, "--symbols", "btcusdt", "--url", venue.url, "--for", "300ms", "--no-seal"
                )
            )

    code, out, err = asyncio.run(run())
    assert (code, err) == (0, "")
    assert "ended by --for" in out
    assert "not sealed" in out
    assert "next: engine log info recordings/" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--symbols", "BTCUSDT,NOSUCH"], 2, 'binance has no symbol "NOSUCH"'),
        (["--symbols", "BTCUSDT", "--channels", "trades"], 2, 'binance has no channel "trades"'),
        (["--symbols", " , "], 2, "no symbol given"),
        (["--symbols", "BTCUSDT", "--venue", "nyse"], 2, 'unknown venue "nyse"'),
        (["--symbols", "BTCUSDT", "--for", "soon"], 2, '--for "soon" is not a length of time'),
        (["--symbols", "BTCUSDT", "--for", "0s"], 2, '--for "0s" is not a length of time'),
        (["--symbols", "BTCUSDT", "--rotate", "weekly"], 2, '"weekly" is no rotation'),
        (["--symbols", "BTCUSDT", "--url", "ftp://x"], 2, '--url "ftp://x" is not an address'),
        (["--symbols", "BTCUSDT", "--url", "ws://127.0.0.1:1"], 4, "http://127.0.0.1:1/api/v3/exchangeInfo"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_told_in_words(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    """Each mistake: its exit code, a message, a hint, no traceback, nothing on stdout, no file."""

    async def run() -> tuple[int, str, str]:
        venue = FakeVenue()
        async with venue.running():
            url = [] if "--url" in arguments else ["--url", venue.url]
            return await ended(await start(tmp_path, *arguments, *url))

    actual, out, err = asyncio.run(run())
    assert (actual, out) == (code, "")
    assert words in err
    assert "\nhint: " in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_venue_that_answers_html(tmp_path: Path) -> None:
    """A login page in the venue's place: exit 4, the address, and that it was HTML."""

    async def run() -> tuple[int, str, str]:
        venue = FakeVenue()
        venue.html = True
        async with venue.running():
            return await ended(await start(tmp_path, "--symbols", "BTCUSDT", "--url", venue.url))

    code, out, err = asyncio.run(run())
    assert (code, out) == (4, "")
    assert "answered HTTP 200 with an HTML page instead of JSON" in err
    assert "http://127.0.0.1:" in err


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A file stands where the folder should be: named, no traceback."""
    (tmp_path / "taken").write_text("")

    async def run() -> tuple[int, str, str]:
        venue = FakeVenue()
        async with venue.running():
            return await ended(
                await start(tmp_path, "--symbols", "BTCUSDT", "--url", venue.url, "--to", "taken")
            )

    code, out, err = asyncio.run(run())
    assert (code, out) == (1, "")
    assert "taken" in err
    assert "Traceback" not in err


def test_a_terminal_shows_a_status_line(tmp_path: Path) -> None:
    """With a terminal as stderr: time, rows, rate, gaps and last prices, rewritten in place."""

    async def run() -> str:
        venue = FakeVenue()
        master, slave = pty.openpty()
        shown = ""
        async with venue.running():
            process = await start(tmp_path, "--symbols", "BTCUSDT", "--url", venue.url, stderr=slave)
            os.close(slave)
            await venue.connected()
            await venue.send(venue.trade("BTCUSDT"))
            try:
                async with asyncio.timeout(LIMIT_S):
                    while "BTCUSDT" not in shown:
                        shown += (await asyncio.to_thread(os.read, master, 4_096)).decode()
                process.send_signal(signal.SIGINT)
                assert (await ended(process))[0] == 0
            finally:
                os.close(master)
        return shown

    shown = asyncio.run(run())
    assert "messages/s" in shown
    assert "0 gaps" in shown
    assert "\r" in shown
