"""What goes wrong for a user: each mistake its message, its exit code, no traceback, and nothing lost."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from engine.execution.orders import Reason
from engine.log.journal import read_journal
from engine.log.reader import LogReader
from engine.log.schema import LogHeader
from engine.log.writer import file_start
from engine.model.kinds import encode_canonical
from tests.helpers.command import Done, call, engine, local_venue, run_folders
from tests.helpers.logs import make_log, market, trade
from tests.strategy.write import write_strategy

BUSY = Path(__file__).parents[1] / "helpers" / "strategies" / "busy.py"
LATE = BUSY.with_name("late.py")
DAMAGED, VENUE, USAGE = 3, 4, 2


def assert_named(done: Done, code: int, message: str, hint: str = "") -> None:
    """The exit code, the message first and alone on stderr, the hint, no traceback, nothing on stdout."""
    assert done.code == code, done
    assert done.out == ""
    assert "Traceback" not in done.err
    assert message in done.err
    assert done.err.startswith(("error: ", "Usage: ")), done.err
    assert hint in done.err


# -- logs


def other_program(path: Path) -> None:
    """An Arrow file of somebody else's."""
    table = pa.table({"time": [1, 2], "price": [1.0, 2.0]})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)


def newer(path: Path) -> None:
    """A log of a later version's."""
    header = msgspec.structs.replace(LogHeader(engine="9.1.0"), format=7)
    path.write_bytes(file_start(encode_canonical(header)))


def damaged(path: Path) -> None:
    """A sealed log with one byte changed in the middle."""
    make_log(path, market(500, seed=4), sealed=True)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


LOGS: dict[str, tuple[Callable[[Path], object], int, str, str]] = {
    "missing": (lambda _path: None, USAGE, "a.arrow: no such file", ""),
    "a folder": (lambda path: path.mkdir(), USAGE, "a.arrow: is a folder", ""),
    "empty": (lambda path: path.touch(), USAGE, "a.arrow: the file is empty", "begins with a header"),
    "no Arrow file": (
        lambda path: path.write_text("price,size\n1,2\n"),
        USAGE,
        "a.arrow: not an Arrow file, not a log",
        "engine log import",
    ),
    "another program's": (
        other_program,
        USAGE,
        "a.arrow: an Arrow file, but not a log of this engine (columns time, price",
        "engine log import",
    ),
    "newer": (newer, USAGE, "a.arrow: log format 7; this engine reads up to 1", "engine 9.1.0 wrote it"),
    "no rows": (
        lambda path: make_log(path, [], with_definitions=False, end=False),
        USAGE,
        "a.arrow: no rows to run over",
        "engine log check",
    ),
    "damaged": (damaged, DAMAGED, "a.arrow: damaged at byte", "engine log recover"),
}


@pytest.mark.parametrize(("make", "code", "message", "hint"), LOGS.values(), ids=LOGS)
def test_a_log_that_cannot_be_run(
    make: Callable[[Path], object], code: int, message: str, hint: str, tmp_path: Path
) -> None:
    """Each with its message and exit code; where nothing was run, no run is left behind."""
    make(tmp_path / "a.arrow")
    done = call("backtest", "a.arrow", cwd=tmp_path)
    assert_named(done, code, message, hint)
    assert not run_folders(tmp_path)


def test_a_pattern_that_matches_nothing(tmp_path: Path) -> None:
    """The shell left it to us, and there is no such log."""
    assert_named(call("backtest", "recordings/*.arrow", cwd=tmp_path), USAGE, "matches no log")


def test_damage_behind_decisions_keeps_the_run(tmp_path: Path) -> None:
    """What was decided on the good rows stands in the run's journal."""
    damaged(tmp_path / "a.arrow")
    path = tmp_path / "a.arrow"
    whole = make_log(tmp_path / "b.arrow", [trade(n, id=n) for n in range(1, 200)], per_batch=7)
    content = bytearray(whole.read_bytes())
    content[-3000] ^= 0xFF
    path.write_bytes(content)
    done = call("backtest", "a.arrow", "--strategy", LATE, "--json", cwd=tmp_path).ok()
    assert done.json["decisions"] >= 1
    (warning,) = [line for line in done.err.splitlines() if "not sealed" in line]
    assert warning.startswith("warning: a.arrow: not sealed; it was run up to its last good batch, ")
    assert "bytes from byte" in warning


# -- what the command is asked


VENUE_CLOCK = ("--clock", "venue", "--venue-shift")
ASKED: dict[str, tuple[tuple[str, ...], str, str]] = {
    "an unknown symbol": (("--set", "symbols=XYZ"), 'unknown symbol "XYZ"', "BTCUSDT.binance"),
    "a parameter of the wrong type": (("--set", "fast=often"), "fast", "a whole number such as 20"),
    "an unknown parameter": (("--set", "fats=20"), "fats", "fast"),
    "a setting without a value": (("--set", "fast"), "fast", ""),
    "a strategy that is not there": (("--strategy", "ema_corss"), "ema_corss", 'did you mean "ema_cross"?'),
    "a file that is not there": (("--strategy", "gone.py"), "gone.py: no such strategy file", "ema_cross"),
    "a configuration that is not there": (("--config", "gone.toml"), "gone.toml", ""),
    "a latency without a unit": (("--latency", "20"), "--latency", ""),
    "two latencies": (("--latency", "20ms,30ms"), "--latency 20ms,30ms: one duration, or three", ""),
    "a fee that is no number": (("--taker-fee-bp", "low"), "--taker-fee-bp", ""),
    "a capital that is no number": (("--capital", "much"), "--capital", ""),
    "a negative slippage": (("--slippage", "-1"), "--slippage -1", ""),
    "a negative seed": (("--seed", "-1"), "--seed -1", ""),
    "a slippage that is none": (("--slippage", "even:3"), '--slippage: "even:3" is no slippage', "random:3"),
    "slippage without measure": (("--slippage", "6000bp"), "--slippage 6000bp: must be between 0", ""),
    "an amount as a received fee": (
        ("--fee-asset", "received", "--fee-per-fill", "1"),
        "per_fill 1 with fees in the received asset",
        "use rates alone",
    ),
    "a fee a unit that is no number": (("--fee-per-unit", "-1"), "--fee-per-unit", ""),
    "a surcharge that is a rebate": (("--sell-fee-bp", "-1"), "sell: a surcharge is between 0", ""),
    "an asset that nothing values": (
        ("--fee-asset", "BNB"),
        "its fees are charged in BNB, and the log has no instrument of base BNB",
        "--fee-asset quote",
    ),
    "an asset that a cash account lacks": (
        ("--fee-asset", "BNB", "--account", "cash"),
        "a cash account has no BNB to pay fees with",
        "--fee-asset received or quote",
    ),
    "a venue's fees without a profile": (("--venue-fees", "kraken"), "--venue-fees kraken", "kraken-spot"),
    "fees of an absent venue": (("--venue-fees", "kraken=kraken-spot"), 'a venue "kraken"', "of binance"),
    "a leverage of another account": (("--leverage", "3"), "--leverage", "add --account margin"),
    "a borrow fee of another account": (("--borrow-fee", "3"), "--borrow-fee", "add --account margin"),
    "a leverage below one": (
        ("--account", "margin", "--leverage", "0.5"),
        "a leverage is between 1 and 100",
        "--leverage 2",
    ),
    "an account that is none": (("--account", "swiss"), "swiss", "research"),
    "a profile that is none": (
        ("--profile", "binance"),
        '--profile: there is no profile "binance"',
        "kraken",
    ),
    "a profile's file that is none": (("--profile", "my.toml"), "--profile my.toml: No such file", ""),
    "a queue model that is none": (("--queue", "best"), '--queue: there is no queue model "best"', "log2"),
    "a queue's power beyond measure": (("--queue", "power:21"), '"power:21": n must be 1 to 20', "power:3"),
    "a number for a model without one": (("--queue", "log:3"), "log takes no number", "write log"),
    "a clock that is none": (("--clock", "utc"), '--clock: there is no clock "utc"', "received, venue"),
    "a shift under another clock": (("--venue-shift", "binance=1ms"), "--venue-shift", "add --clock venue"),
    "a look-ahead under another clock": (("--lookahead", "1s"), "--lookahead", "add --clock venue"),
    "a shift without a venue": ((*VENUE_CLOCK, "=1ms"), "--venue-shift =1ms", "binance=-15ms"),
    "a shift that is no duration": ((*VENUE_CLOCK, "binance=1"), "--venue-shift binance", "20ms"),
    "a shift of a day": ((*VENUE_CLOCK, "binance=-24h"), "binance=-24h: an hour is the most", ""),
    "a venue shifted twice": (
        (*VENUE_CLOCK, "binance=1ms", "--venue-shift", "binance=2ms"),
        "binance has one already",
        "one for each venue",
    ),
    "a shift of an absent venue": ((*VENUE_CLOCK, "kraken=1ms"), 'a venue "kraken"', "of binance"),
    "a look-ahead of a day": (("--clock", "venue", "--lookahead", "24h"), "--lookahead 24h: an hour", ""),
    "an interval of another model": (("--interval", "--queue", "log"), "--interval has queue models", ""),
    "an option that is none": (("--sped", "10"), "No such option", "--"),
}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some seconds of an invented market."""
    return make_log(tmp_path_factory.mktemp("log") / "market.arrow", market(200, seed=8), sealed=True)


@pytest.mark.parametrize(("options", "message", "hint"), ASKED.values(), ids=ASKED)
def test_a_wish_that_cannot_be_fulfilled(
    options: tuple[str, ...], message: str, hint: str, log: Path, tmp_path: Path
) -> None:
    """Exit 2; the option and the value are named."""
    assert_named(call("backtest", log, *options, cwd=tmp_path), USAGE, message, hint)


TWO = """
import engine
class One(engine.Strategy):
    def on_trade(self, ctx, trade): pass
class Two(engine.Strategy):
    def on_trade(self, ctx, trade): pass
"""
STRATEGIES: dict[str, tuple[str, str, str]] = {
    "none in the file": ("x = 1\n", "mine.py has no strategy", "class Mine(engine.Strategy)"),
    "two in the file": (
        TWO,
        "mine.py has 2 strategies: One, Two",
        "--strategy mine.py:One or --strategy mine.py:Two",
    ),
    "a syntax error": ("import engine\nclass Mine(:\n", "mine.py:2", "Python cannot read this line"),
    "a misspelt handler": (
        "import engine\nclass Mine(engine.Strategy):\n    def on_trades(self, ctx, trade): pass\n",
        'mine.py:3: Mine has a handler "on_trades"',
        'did you mean "on_trade"?',
    ),
    "its own lines fail": ("import engine\nx = [][0]\n", "mine.py:2", "before any event"),
}


@pytest.mark.parametrize(("text", "message", "hint"), STRATEGIES.values(), ids=STRATEGIES)
def test_a_strategy_that_is_none(text: str, message: str, hint: str, log: Path, tmp_path: Path) -> None:
    """Exit 2; file and line are named."""
    (tmp_path / "mine.py").write_text(text)
    assert_named(call("backtest", log, "--strategy", "mine.py", cwd=tmp_path), USAGE, message, hint)
    assert not run_folders(tmp_path)


LIVE: dict[str, tuple[tuple[str, ...], int, str]] = {
    "without --paper": (("--symbols", "BTCUSDT"), USAGE, "real orders are not possible"),
    "neither symbols nor a log": (("--paper",), USAGE, "name --symbols to listen to, or a log to --tail"),
    "the venue's own clock": (
        ("--paper", "--symbols", "X", "--clock", "venue"),
        USAGE,
        "live, the venue's side of a moment is known only when it has been received",
    ),
    "both": (("--paper", "--symbols", "X", "--tail", "a.arrow"), USAGE, "name --symbols"),
    "a log that is not there": (("--paper", "--tail", "a.arrow"), USAGE, "a.arrow: no such file"),
    "a duration that is none": (("--paper", "--symbols", "X", "--for", "soon"), USAGE, '--for "soon"'),
    "a channel that is none": (("--paper", "--symbols", "X", "--channels", "tv"), USAGE, "tv"),
    "a venue that is none": (("--paper", "--symbols", "X", "--venue", "bourse"), USAGE, "bourse"),
    "an address that is none": (("--paper", "--symbols", "X", "--url", "nowhere"), USAGE, "nowhere"),
}


@pytest.mark.parametrize(("options", "code", "message"), LIVE.values(), ids=LIVE)
def test_a_session_that_cannot_begin(
    options: tuple[str, ...], code: int, message: str, tmp_path: Path
) -> None:
    """Named, and no run is left behind."""
    assert_named(call("live", *options, cwd=tmp_path), code, message)
    assert not run_folders(tmp_path)


# -- venues


COMMANDS: dict[str, tuple[str, ...]] = {"live": ("live", "--paper"), "record": ("record",)}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_venue_that_cannot_be_reached(command: tuple[str, ...], tmp_path: Path) -> None:
    """Exit 4, the address named, no file begun."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else can have it
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        done = call(*command, "--symbols", "BTCUSDT", "--url", url, cwd=tmp_path)
    assert_named(done, VENUE, url.removeprefix("http:"), "check the address and the network")
    assert not list(tmp_path.rglob("*.arrow"))


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A venue that answers pages."""
    with local_venue(tmp_path_factory.mktemp("html"), "--fault", "html") as url:
        yield url


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A local venue with an invented market."""
    with local_venue(tmp_path_factory.mktemp("venue")) as url:
        yield url


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_venue_that_answers_html(command: tuple[str, ...], html: str, tmp_path: Path) -> None:
    """Exit 4: a page where data was asked for, as of a proxy; no file begun."""
    done = call(*command, "--symbols", "BTCUSDT", "--url", html, cwd=tmp_path)
    assert_named(done, VENUE, "HTML")
    assert not list(tmp_path.rglob("*.arrow"))


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_symbol_that_the_venue_does_not_know(command: tuple[str, ...], venue: str, tmp_path: Path) -> None:
    """Exit 2: which of several it is, and no file begun."""
    done = call(*command, "--symbols", "BTCUSDT,XYZUSDT", "--url", venue, cwd=tmp_path)
    assert_named(done, USAGE, 'binance has no symbol "XYZUSDT"', "without a separator")
    assert not list(tmp_path.rglob("*.arrow"))


# -- a full disk


def limited(size: int) -> tuple[str, ...]:
    """Files of a process may not grow beyond `size` bytes: the disk that is full, without one."""
    return ("prlimit", f"--fsize={size}")


def test_a_disk_that_is_full_while_recording(venue: str, tmp_path: Path) -> None:
    """The file and the byte are named; every row before is there: a snapshot fits in, at any hour."""
    done = engine("record", "--symbols", "BTCUSDT", "--url", venue, cwd=tmp_path, before=limited(1_500_000))
    assert done.code == 1
    assert "File too large at byte" in done.err
    assert "Traceback" not in done.err
    (path,) = (tmp_path / "recordings").glob("*.arrow")
    with LogReader(path) as reader:
        rows = sum(batch.count for batch in reader.batches())
    assert rows > 100
    assert f"rows from {rows} on are not in the log" in done.err


def test_a_disk_that_is_full_while_trading(venue: str, tmp_path: Path) -> None:
    """The session ends with the file and the byte; what it decided is in the journal, and verifies."""
    live = ("live", "--paper", "--symbols", "BTCUSDT,ETHUSDT", "--url", venue, "--strategy", BUSY)
    done = engine(*live, cwd=tmp_path, before=limited(1_500_000))
    assert done.code == 1
    assert "Traceback" not in done.err
    assert "log.arrow: File too large at byte" in done.err
    (folder,) = run_folders(tmp_path)
    verified = call("verify", folder, "--strategy", BUSY, "--json", cwd=tmp_path).ok().json
    assert verified["same"]
    assert verified["decisions"] > 0


def test_a_disk_that_is_full_in_a_backtest(log: Path, tmp_path: Path) -> None:
    """The journal is named; what is in it can be read, and verifies."""
    arguments = ("backtest", log, "--strategy", BUSY)
    done = engine(*arguments, cwd=tmp_path, before=limited(12_000))
    assert done.code == 1
    assert_named(done, 1, "journal.arrow: the journal cannot be written: File too large", "make room")
    (folder,) = run_folders(tmp_path)
    read_journal(folder / "journal.arrow")
    assert call("verify", folder, "--strategy", BUSY, "--json", cwd=tmp_path).ok().json["same"]


# -- while it runs


OFF_THE_TICK = """
        self.count += 1
        if self.count == 1:
            ctx.limit(trade.instrument, 0.01, 60000.005)
            ctx.limit(trade.instrument, 0.0100001, 60000.0)
        if self.count == 3:
            ctx.limit(trade.instrument, 0.01, 59990.0)
"""


def test_a_price_off_the_tick_is_refused_and_the_run_goes_on(tmp_path: Path) -> None:
    """Journaled with both neighbours, delivered to on_order, counted in the table."""
    make_log(tmp_path / "a.arrow", [trade(n / 10, id=n) for n in range(1, 20)], sealed=True)
    strategy = write_strategy(tmp_path, OFF_THE_TICK)
    handler = (
        "    def on_order(self, ctx, update):\n        ctx.log(update.order, update.state, update.reason)\n"
    )
    text = strategy.read_text().replace("    def on_trade", f"    count = 0\n{handler}    def on_trade")
    strategy.write_text(text)
    result = call("backtest", "a.arrow", "--strategy", "mine.py", "--json", cwd=tmp_path).ok().json
    assert result["ends_by_reason"] == {"refused: price_increment": 1, "refused: size_increment": 1}
    assert result["orders"] == 1  # refused ones were not sent
    records: list[dict[str, Any]] = read_journal(tmp_path / result["run_dir"] / "journal.arrow").to_pylist()
    refused = {r["reason"]: r["text"] for r in records if r["kind"] == 3}
    assert "60000" in refused[Reason.PRICE_INCREMENT]
    for neighbour in ("60000.00", "60000.01"):
        assert neighbour.rstrip("0").rstrip(".") in refused[Reason.PRICE_INCREMENT]
    for neighbour in ("0.01", "0.01001"):
        assert neighbour in refused[Reason.SIZE_INCREMENT]
    heard = [r["text"] for r in records if r["kind"] == 0]
    assert heard[0] == f"1 refused {refused[Reason.PRICE_INCREMENT]}"
    assert heard[1] == f"2 refused {refused[Reason.SIZE_INCREMENT]}"
    assert heard[2].startswith("3 accepted")
    shown = call("backtest", "a.arrow", "--strategy", "mine.py", cwd=tmp_path).ok()
    assert "1 refused: price_increment, 1 refused: size_increment" in shown.out


def test_a_strategys_exception_stops_the_run(tmp_path: Path) -> None:
    """File, line, handler, the event's seq and the event itself; the journal holds what came before."""
    make_log(tmp_path / "a.arrow", [trade(n / 10, id=n) for n in range(1, 20)], sealed=True)
    body = "if trade.id == 3:\n    ctx.market(trade.instrument, 0.01)\nif trade.id == 7:\n    [][trade.id]"
    write_strategy(tmp_path, body)
    done = call("backtest", "a.arrow", "--strategy", "mine.py", cwd=tmp_path)
    assert_named(done, USAGE, "mine.py:9 in on_trade: IndexError", "its journal holds everything up to")
    assert "seq 9, 2024-06-01T00:00:00.7" in done.err  # three definitions, then trades from seq 3 on
    assert "It was given Trade(" in done.err
    assert "id=7" in done.err
    (folder,) = run_folders(tmp_path)
    verified = call("verify", folder, "--json", cwd=tmp_path).ok().json
    assert verified["same"]
    assert not verified["finished"]
    assert verified["decisions"] >= 2
    assert any("in the replay the strategy failed at seq 9" in note for note in verified["notes"])
    shown = call("why", folder, "1", cwd=tmp_path).ok()
    assert "seq 5" in shown.out


@pytest.mark.parametrize(
    "words",
    [
        ("backtest", "gone.arrow"),
        ("backtest", "a.arrow", "--strategy", "gone.py"),
        ("backtest", "a.arrow", "--from-snapshot", "gone"),
        ("verify", "gone"),
        ("why", "gone", "1"),
        ("diff", "gone", "gone"),
    ],
    ids=lambda words: f"{words[0]} {words[-1]}",
)
def test_what_is_not_there_is_said_before_anything_is_compiled(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Nobody waits for the kernels to hear of a name that is wrong, nor to read what stands in a run."""
    make_log(tmp_path / "a.arrow", [trade(1)], sealed=True)
    done = engine(*words, cwd=tmp_path, env={"ENGINE_CACHE": str(tmp_path / "empty")})
    assert done.code == USAGE, done
    assert "gone" in done.err
    assert "compil" not in done.err
    assert not list((tmp_path / "empty").rglob("*.image"))


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    """--debug, anywhere on the line, raises what is otherwise a message."""
    done = engine("backtest", "gone.arrow", "--debug", cwd=tmp_path)
    assert done.code == 2
    assert "Traceback" in done.err
    assert "gone.arrow: no such file" in done.err
