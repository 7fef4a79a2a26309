"""`engine serve` as a user meets it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from engine.cli.main import main
from engine.serve.sample import write_sample

PATIENCE_S = 20.0
ENGINE = [sys.executable, "-c", "from engine.cli.main import run; run()"]


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`engine serve …` in a process of its own, and the line that it printed."""
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2]))
    process = subprocess.Popen(
        [*ENGINE, "serve", *arguments],
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
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    """One line with both addresses; a client is told; exit code 0 and silence on stderr."""

    async def listen(address: str) -> list[str]:
        frames: list[str] = []
        async with asyncio.timeout(PATIENCE_S), connect(f"{address}/ws/btcusdt@bookTicker") as connection:
            try:
                while True:
                    frames.append(str(await connection.recv()))
                    if len(frames) == 5:
                        process.send_signal(number)
            except ConnectionClosed:
                return frames

    with serving("--synthetic", "--port", "0", "--speed", "20") as (process, line):
        websocket, http = line.split()[:2]
        assert http == websocket.replace("ws:", "http:")
        assert "synthetic market, seed 7" in line
        frames = asyncio.run(listen(websocket))
        assert "serverShutdown" in frames[-1]
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_faults_are_told_with_their_seed() -> None:
    """The line and the JSON object say what is done wrong, and which seed repeats it; and it is done."""

    async def listen(address: str) -> list[int]:
        ids: list[int] = []
        async with asyncio.timeout(PATIENCE_S), connect(f"{address}/ws/btcusdt@trade") as connection:
            while len(ids) < 5:
                ids.append(json.loads(await connection.recv())["t"])
        return ids

    options = ("--synthetic", "--port", "0", "--speed", "50", "--fault", "gap:every2", "--fault", "429,slow")
    with serving(*options) as (_, line):
        assert line.strip().endswith("· faults: gap:every2, 429,slow (seed 0)")
    with serving(*options[:-2], "--fault-seed", "5", "--json") as (_, line):
        told = json.loads(line)
        assert (told["faults"], told["fault_seed"]) == (["gap:every2"], 5)
        ids = asyncio.run(listen(told["ws"]))
        assert [b - a for a, b in itertools.pairwise(ids)] == [2, 2, 2, 2]


def test_a_recording_is_served_to_its_end(tmp_path: Path) -> None:
    """--json prints one object; --exit-at-end ends by itself when all has been sent."""
    path = tmp_path / "short.arrow"
    write_sample(path, minutes=0.05)

    async def listen(address: str) -> int:
        count = 0
        async with asyncio.timeout(PATIENCE_S), connect(f"{address}/ws/btcusdt@depth@100ms") as connection:
            async for _ in connection:
                count += 1
        return count

    with serving(str(path), "--port", "0", "--speed", "max", "--json", "--exit-at-end") as (process, line):
        result = json.loads(line)
        assert result["ws"] == f"ws://127.0.0.1:{result['port']}"
        assert result["symbols"] == ["BTCUSDT", "ETHUSDT"]
        assert asyncio.run(listen(result["ws"])) > 10
        assert process.wait(PATIENCE_S) == 0


def test_alpaca_says_how_its_own_client_comes() -> None:
    """Lines more: the streams' and the history's addresses; a client logs in and hears of the market."""

    async def listen(address: str) -> str:
        headers = {"APCA-API-KEY-ID": "any", "APCA-API-SECRET-KEY": "any"}
        async with (
            asyncio.timeout(PATIENCE_S),
            connect(f"{address}/v2/iex", additional_headers=headers, proxy=None) as connection,
        ):
            await connection.send('{"action":"subscribe","quotes":["*"]}')
            return [str(await connection.recv()) for _ in range(4)][-1]

    with serving("--synthetic", "--as", "alpaca", "--port", "0", "--past", "5s") as (process, line):
        websocket, http = line.split()[:2]
        assert "speaks alpaca" in line
        assert process.stdout is not None
        assert (
            process.stdout.readline() == f'StockDataStream("any", "any", url_override="{websocket}/v2/iex")\n'
        )
        assert f'url_override="{http}"' in process.stdout.readline()
        assert '"T":"q"' in asyncio.run(listen(websocket))


def test_a_recording_of_coins_is_announced_as_coins(tmp_path: Path) -> None:
    """Symbols by the names that Alpaca's clients have to use, and only the clients that will hear of them."""
    path = tmp_path / "short.arrow"
    write_sample(path, minutes=0.05)
    with serving(str(path), "--as", "alpaca", "--port", "0", "--json") as (_, line):
        result = json.loads(line)
        assert result["symbols"] == ["BTC/USDT", "ETH/USDT"]
        assert result["clients"] == [
            f'CryptoDataStream("any", "any", url_override="{result["ws"]}/v1beta3/crypto/us")',
            f'CryptoHistoricalDataClient("any", "any", url_override="{result["http"]}")',
        ]


def test_planted_keys_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """--check-keys lets in one pair, and says neither of it."""
    monkeypatch.setenv("APCA_API_KEY_ID", "planted-key")
    monkeypatch.setenv("APCA_API_SECRET_KEY", "planted-secret")

    async def listen(address: str, key: str) -> str:
        headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": "planted-secret"}
        async with (
            asyncio.timeout(PATIENCE_S),
            connect(f"{address}/v2/iex", additional_headers=headers, proxy=None) as connection,
        ):
            return [str(await connection.recv()) for _ in range(2)][-1]

    arguments = ("--synthetic", "--as", "alpaca", "--port", "0", "--past", "0s", "--check-keys", "--json")
    with serving(*arguments) as (_, line):
        assert "planted" not in line
        address = json.loads(line)["ws"]
        assert "authenticated" in asyncio.run(listen(address, "planted-key"))
        assert "auth failed" in asyncio.run(listen(address, "other"))


ERRORS: list[tuple[list[str], int, str]] = [
    ([], 2, "neither a recording nor --synthetic"),
    (["x.arrow", "--synthetic"], 2, "a recording and --synthetic"),
    (["no-such-file.arrow"], 2, "no such file"),
    (["--synthetic", "--symbols", "foo"], 2, '"foo" is no symbol'),
    (["--synthetic", "--speed", "fast"], 2, "--speed fast"),
    (["--synthetic", "--speed", "0"], 2, "--speed 0"),
    (["--synthetic", "--rate", "0"], 2, "rate 0.0"),
    (["--synthetic", "--seed", "-3"], 2, "seed -3"),
    (["--synthetic", "--fault", "fire"], 2, 'unknown fault "fire"'),
    (["--synthetic", "--fault", "gap,stall:3"], 2, '"3" is no part of stall'),
    (["--synthetic", "--fault", "gap", "--fault", "gap"], 2, '"gap" is named twice'),
    (["--synthetic", "--fault-seed", "-1"], 2, "--fault-seed"),
    (["--as", "news", "--fault-seed", "1"], 2, "was given --fault-seed"),
    (["--synthetic", "--as", "nowhere"], 2, "'nowhere' is not one of 'binance', 'alpaca', 'messages'"),
    (["--synthetic", "--port", "99999"], 2, "99999"),
    (["--synthetic", "--plan", "free"], 2, "--as binance was given --plan"),
    (["--synthetic", "--past", "soon"], 2, '--past: "soon" is no duration'),
    (["--synthetic", "--past", "999h"], 2, "at most 7 days"),
    (["--synthetic", "--as", "alpaca", "--symbols", "btc"], 2, '"btc" is no symbol of the local Alpaca'),
    (["--synthetic", "--as", "alpaca", "--repeat"], 2, "--as alpaca was given --repeat"),
    (["--synthetic", "--as", "alpaca", "--check-keys"], 2, "APCA_API_KEY_ID and APCA_API_SECRET_KEY"),
    (["--synthetic", "--as", "alpaca", "--headline-every", "1ns"], 2, "--headline-every 1ns: 10ms to 24h"),
    (["--as", "alpaca"], 2, "neither a recording nor --synthetic"),
    (["--synthetic", "--host", "192.0.2.1", "--port", "0"], 4, "cannot listen on 192.0.2.1"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "message"), ERRORS, ids=[" ".join(e[0]) or "none" for e in ERRORS]
)
def test_mistakes_are_named(
    arguments: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each mistake its message and exit code; nothing on stdout, no traceback."""
    monkeypatch.delenv("APCA_API_KEY_ID", raising=False)
    monkeypatch.delenv("APCA_API_SECRET_KEY", raising=False)
    assert main(["serve", *arguments]) == code
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
    assert "Traceback" not in printed.err


def test_a_file_that_is_no_log_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another kind of file is an error that says so."""
    path = tmp_path / "prices.csv"
    path.write_text("price,size\n1,2\n")
    assert main(["serve", str(path)]) == 2
    assert "not a log" in capsys.readouterr().err
