"""`engine demo`: the whole path on one machine, offline, in a minute or two.

A local venue with an invented market is started, later a local news endpoint and a local Messages API that
answers by a word list; no key is needed, and nothing leaves the machine. Everything else is what a user would
type, run as commands of their own, so that the demo shows the product and nothing made for it.
"""

from __future__ import annotations

import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import msgspec

from engine.cli.common import emit, json_option, note, relative
from engine.model.errors import EngineError, UsageError

STARTS_WITHIN_S = 20.0
SPEED = "10"  # the market runs ten times as fast, so that a few seconds hold something to trade on
QUERY = "SELECT symbol, count(*), min(price), max(price) FROM trades GROUP BY symbol"
STRATEGY = ("--strategy", "ema_cross", "--set", "fast=10", "--set", "slow=40")
# Windows and thresholds of seconds: nothing moves by 0.2 % while one watches.
READER = (
    *("--strategy", "momentum_sentiment", "--set", "size_max=0.2"),
    *("--set", "window_minutes=0.02", "--set", "threshold=0.0001"),
)
CLAUDE = ("--as", "messages", "--fault", "latency:20ms-250ms")
SHOWN = 3  # orders that an answer shaped


@click.command()
@click.option("--folder", default="demo", show_default=True, help="Where its recordings and runs go.")
@click.option("--seconds", default=8, show_default=True, type=click.IntRange(2, 600), help="Of each session.")
@click.option("--seed", default=7, show_default=True, help="Of the invented market.")
@json_option
def demo(*, folder: str, seconds: int, seed: int, as_json: bool) -> int:
    """Record, backtest, paper-trade and verify against a local venue with an invented market."""
    from engine.cli.options import prepare_kernels

    base = Path(folder)
    _make_way(base)
    began = time.perf_counter()
    prepare_kernels()
    recordings, runs = base / "recordings", base / "runs"
    with _serving(base / "venue.log", "--synthetic", "--seed", str(seed), "--speed", SPEED) as address:
        note(f"1/6 a local venue is listening at {address['ws']} (an invented market, seed {seed})")
        note(f"2/6 recording it for {seconds} s …")
        listen = ("--symbols", "BTCUSDT,ETHUSDT", "--url", address["http"])
        paper = ("live", "--paper", *listen, "--for", f"{seconds}s", "--runs", str(runs))
        recorded = _engine("record", *listen, "--for", f"{seconds}s", "--to", str(recordings))
        log = recorded["files"][0]
        note("3/6 backtesting the recording …")
        tested = _engine("backtest", log, *STRATEGY, "--runs", str(runs))
        note(f"4/6 paper-trading for {seconds} s …")
        traded = _engine(*paper, *STRATEGY)
        runs_made = {"backtest": tested, "paper": traded}
        if find_spec("anthropic") is None:
            note('5/6 left out: asking Claude needs the package anthropic (pip install "engine[claude]")')
        else:
            note(f"5/6 paper-trading invented news for {seconds} s, with answers of a local Messages API …")
            runs_made["news"] = _read_news(base, paper)
    note("6/6 running all of it again in other processes, decision by decision …")
    # Exit code 1 is a verdict, which the table shows.
    proofs = [_engine("verify", run["run_dir"], codes=(0, 1)) for run in runs_made.values()]
    total = time.perf_counter() - began
    result = {
        "seconds": round(total, 1),
        "recording": recorded,
        **runs_made,
        "verified": [proof["same"] for proof in proofs],
        "shaped": _shaped(runs_made["news"]["run_dir"]) if "news" in runs_made else [],
    }
    emit(result, as_json=as_json, text=lambda: _text(result, total))
    return 0 if all(proof["same"] for proof in proofs) else 1


def _read_news(base: Path, paper: tuple[str, ...]) -> dict[str, Any]:
    """A paper session that reads news and asks about them, each from a server of this machine."""
    news = ("--as", "news", "--from", str(_headlines()), "--repeat")
    with _serving(base / "news.log", *news) as feed, _serving(base / "claude.log", *CLAUDE) as claude:
        read = ("--feed", f"news:{feed['http']}", "--news-every", "500ms", "--claude-url", claude["http"])
        return _engine(*paper, *read, *READER)


def _headlines() -> Path:
    """The demo's own headlines, which have something to say."""
    from engine.serve.sample import HEADLINES

    return HEADLINES.with_name("demo.csv")


def _shaped(run: str) -> list[dict[str, Any]]:
    """The first fill of each of the first orders that an answer shaped."""
    fills = _engine("why", run, "--trades")["trades"]
    orders = {
        fill["order"]: fill for fill in reversed(fills) if fill["ticket"] and fill["outcome"] == "answered"
    }
    return [orders[order] for order in sorted(orders)[:SHOWN]]


def _make_way(base: Path) -> None:
    """Each demo starts anew; only a folder that a demo made is taken away."""
    marker = base / "made-by-engine-demo"
    if base.exists():
        if not marker.exists():
            raise UsageError(f"{relative(base)}: exists, and no demo made it", hint="name another --folder")
        shutil.rmtree(base)
    base.mkdir(parents=True)
    marker.touch()


@contextmanager
def _serving(words: Path, *arguments: str) -> Iterator[dict[str, Any]]:
    """`engine serve` in a process of its own; its address. What it says goes into the file `words`."""
    command = [sys.executable, "-m", "engine", "serve", *arguments, "--port", "0", "--json"]
    with words.open("wb") as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said)  # noqa: S603  our own
    try:
        yield msgspec.json.decode(_first_line(process, words))
    finally:
        process.terminate()
        try:
            process.communicate(timeout=STARTS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _first_line(process: subprocess.Popen[bytes], words: Path) -> bytes:
    """What it prints when it listens; EngineError when it ends or keeps silent instead."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if selector.select(STARTS_WITHIN_S) else b""
    if not line:
        raise EngineError(f"engine serve did not start: {words.read_text(errors='replace').strip()}")
    return line


def _engine(*arguments: str, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """Run one command as a user would, with --json; any other exit code than these is the demo's error."""
    done = subprocess.run(  # noqa: S603  our own command
        [sys.executable, "-m", "engine", *arguments, "--json"], capture_output=True, check=False
    )
    if not done.stdout or done.returncode not in codes:
        words = " ".join(arguments)
        raise EngineError(f"engine {words} failed:\n{done.stderr.decode().strip()}")
    found: dict[str, Any] = msgspec.json.decode(done.stdout)
    return found


def _why_news(news: dict[str, Any] | None, shaped: list[dict[str, Any]]) -> list[str]:
    if news is None:
        return []
    order = shaped[0]["order"] if shaped else 1
    return [f"  engine why {news['run_dir']} {order}", f"  engine why {news['run_dir']} --trades --csv -"]


def _text(result: dict[str, Any], total: float) -> str:
    recorded, news = result["recording"], result.get("news")
    rows = [("", "rows", "orders", "fills", "P&L", "verified", "files")]
    rows.append(("recording", f"{recorded['rows']:,}", "", "", "", "", recorded["files"][0]))
    names = [name for name in ("backtest", "paper", "news") if name in result]
    for name, same in zip(names, result["verified"], strict=True):
        run = result[name]
        rows.append(
            (
                name,
                f"{run['events']:,}",
                f"{run['orders']:,}",
                f"{run['fills']:,}",
                f"{run['pnl']:+,.2f} {run['currency']}",
                "the same" if same else "NOT the same",
                run["run_dir"],
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    log, tested, paper = recorded["files"][0], result["backtest"], result["paper"]
    for fill in result["shaped"]:
        lines += [
            "",
            f"order {fill['order']} of news, {fill['side']} {fill['instrument']}, was shaped by an answer on",
            f"  {fill['headline']}",
            f"  {fill['answer']}",
        ]
    lines += [
        "",
        f"{total:.0f} s in all. The market is invented; the loss is mostly fees, as it should be. Try next:",
        f"  engine log info {log}",
        f'  engine log query {log} "{QUERY}"',
        f"  engine backtest {log} --strategy imbalance",
        f"  engine why {tested['run_dir']} 1",
        *_why_news(news, result["shaped"]),
        f"  engine diff {tested['run_dir']} {paper['run_dir']}",
        "  engine backtest recordings/2024-06-01.arrow --set fast=20",
    ]
    return "\n".join(lines)
