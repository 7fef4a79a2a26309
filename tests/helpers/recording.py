"""A recorder in a process of its own that says, after each flush, how many rows of which file are safe.

    python -m tests.helpers.recording URL FOLDER [--rotate ROTATION]

Each line on stdout is "<file name> <rows acknowledged>", written with one system call right after the flush
returned: whoever reads a line may rely on those rows, whatever happens to this process afterwards.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from engine.live.recorder import Recorder, RecorderConfig
from engine.live.tap import TapConfig
from engine.log.schema import Batch
from engine.log.writer import LogWriter

_flush = LogWriter.flush


def _acknowledging(writer: LogWriter) -> Batch | None:
    batch = _flush(writer)
    if batch is not None:
        os.write(1, f"{writer.path.name} {writer.seq}\n".encode())
    return batch


async def main(url: str, folder: str, rotate: str) -> None:
    """Record until SIGTERM."""
    tap = TapConfig(symbols=("BTCUSDT", "ETHUSDT"), url=url)
    recorder = Recorder(
        RecorderConfig(taps=(tap,), folder=Path(folder), rotate=rotate, flush_ms=1.0, seal=False)
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, recorder.stop, "SIGTERM")
    await recorder.record()


if __name__ == "__main__":
    LogWriter.flush = _acknowledging  # type: ignore[method-assign,assignment]
    asyncio.run(main(*sys.argv[1:4]))
