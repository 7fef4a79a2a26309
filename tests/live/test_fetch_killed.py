"""A fetch that is killed, at each of its steps and by a real SIGKILL: no hole, no double."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.feed import binance_history
from engine.ingest import history
from engine.live import fetch
from engine.live.fetch_pages import PageFile, PageWriter
from engine.log.check import check
from tests.helpers.command import ENGINE
from tests.helpers.history_venue import Past, Scripted, Time

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0


class Killed(BaseException):
    """The process ends here: nothing in the program expects it."""


class Axe:
    """Counts the steps at which something on the disk changes, and kills at one of them."""

    def __init__(self, at: int = -1) -> None:
        self.at = at
        self.steps = 0

    def step(self) -> None:
        """One more step."""
        self.steps += 1
        if self.steps == self.at:
            raise Killed

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, with a step before and a step after."""

        def wrapped(*arguments: Any, **named: Any) -> Any:
            self.step()
            result = function(*arguments, **named)
            self.step()
            return result

        return wrapped

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Stand at every change of the disk."""
        whole = PageWriter.add

        def torn(writer: PageWriter, path: str, body: bytes) -> None:
            self.step()
            before = writer.path.stat().st_size
            whole(writer, path, body)
            try:
                self.step()
            except Killed:
                os.truncate(writer.path, (before + writer.path.stat().st_size) // 2)  # half of it arrived
                raise
            self.step()

        patch.setattr(PageWriter, "add", torn)
        patch.setattr(PageFile, "finish", self.around(PageFile.finish))
        for module, name in (
            (fetch, "_write_whole"),
            (fetch, "write_history"),
            (fetch, "sync_folder"),
            (history, "seal"),
        ):
            patch.setattr(module, name, self.around(getattr(module, name)))
        patch.setattr(shutil, "rmtree", self.around(shutil.rmtree))


def run(past: Past, folder: Path, axe: Axe) -> tuple[list[str], Scripted]:
    """One life of a fetch: chains of its logs, and what it asked for. Raises Killed."""
    transport = Scripted(past, Time())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binance_history, "LIMIT", 250)
        axe.install(patch)
        report = asyncio.run(past.fetch(folder, transport, channels=("aggtrade", "bar")).run())
    return [check(Path(file)).chain for file in report.files], transport


@pytest.fixture(scope="module")
def past() -> Past:
    """Half a minute before midnight, and half a minute after."""
    return Past(minutes=1.0, symbols=("BTCUSDT",))


def test_killed_at_every_step(past: Past, tmp_path: Path) -> None:
    """Wherever a fetch ends, the next one makes the same logs, and asks for no page that was kept."""
    axe = Axe()
    chains, transport = run(past, tmp_path / "whole", axe)
    whole = transport.paths
    assert axe.steps > 30
    for at in range(1, axe.steps + 1):
        folder = tmp_path / str(at)
        with pytest.raises(Killed):
            run(past, folder, Axe(at))
        again, rest = run(past, folder, Axe())
        assert again == chains, f"killed at step {at}"
        # What the first life had kept is a beginning of the pages, so the second asked for the others.
        assert rest.paths == whole[len(whole) - len(rest.paths) :], f"killed at step {at}"
        assert not list(folder.rglob("*.part"))


def test_killed_again_and_again(past: Past, tmp_path: Path) -> None:
    """Killed a step later in each life, it comes to its end all the same."""
    chains, _ = run(past, tmp_path / "whole", Axe())
    folder = tmp_path / "again"
    for at in range(1, 200):
        try:
            found, _ = run(past, folder, Axe(at % 9 + 1))
        except Killed:
            continue
        assert found == chains
        return
    pytest.fail("it never came to its end")


def test_sigkill(past: Past, tmp_path: Path) -> None:
    """A real process, killed with SIGKILL in the middle of a request, again and again: nothing is missing."""

    async def live(url: str, folder: Path, processes: list[asyncio.subprocess.Process]) -> int:
        arguments = ["fetch", "--symbols", "BTCUSDT", "--channels", "aggtrade,bar", "--url", url]
        arguments += ["--from", "2024-06-01T23:59:30Z", "--to", "2024-06-02T00:00:30Z"]
        process = await asyncio.create_subprocess_exec(
            *ENGINE, *arguments, "--to-folder", str(folder), cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
        )
        processes.append(process)
        return await asyncio.wait_for(process.wait(), PATIENCE_S)

    async def lives() -> list[int]:
        processes: list[asyncio.subprocess.Process] = []
        left = [0]  # requests until the kill; 0: none

        def asked(_target: str) -> None:
            left[0] -= 1
            if left[0] == 0:
                processes[-1].send_signal(signal.SIGKILL)

        codes = []
        async with past.serving(asked) as url:
            codes.append(await live(url, tmp_path / "whole", processes))
            for left[0] in (1, 2, 2, 3, 0):
                codes.append(await live(url, tmp_path / "killed", processes))
        return codes

    assert asyncio.run(lives()) == [0, *[-signal.SIGKILL] * 4, 0]
    whole, killed = (
        [check(log).chain for log in sorted((tmp_path / name).rglob("*.arrow"))]
        for name in ("whole", "killed")
    )
    assert len(whole) == 2
    assert killed == whole
