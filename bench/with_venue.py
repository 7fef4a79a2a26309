"""Frames of one venue from memory into a log: parsed, judged, with their bytes, checksums and the chain hash.

    python -m bench.with_venue KIND COUNT

What a recorder does with each frame, without the socket: a stamp, the parser; and after each turn (64 frames)
in which as many rows stand ready as it waits for, the quality checks and one flush. Then the file is read
again: every frame must stand in it, and none may have been refused.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.common import CACHE
from bench.frames_venues import FRAMES
from engine.feed.alpaca import AlpacaParser
from engine.feed.binance import BinanceParser
from engine.feed.kraken import KrakenParser
from engine.feed.parser import Parser
from engine.feed.quality import Quality, prepare, with_mode
from engine.live.clock import Sequencer
from engine.live.recorder import FLUSH_ROWS
from engine.log.reader import LogReader
from engine.log.schema import LogHeader
from engine.log.writer import LogWriter
from engine.model.kinds import Flag, InstrumentData, Kind, SourceData, encode_canonical

READ = 64
LAST = int(Flag.LAST)
PARSERS: dict[str, tuple[Callable[..., Parser], InstrumentData]] = {
    "binance": (
        BinanceParser,
        InstrumentData("BTCUSDT.binance", "BTCUSDT", "binance", 2, 5, "0.01", "0.00001"),
    ),
    "alpaca": (AlpacaParser, InstrumentData("AAPL.alpaca", "AAPL", "alpaca", 4, 0, "0.01", "1")),
    "kraken": (
        KrakenParser,
        InstrumentData("BTC/USD.kraken", "BTC/USD", "kraken", 1, 8, "0.1", "0.00000001"),
    ),
}
UNWANTED = {int(Kind.MALFORMED): "malformed", int(Kind.CONTROL): "control"}


def main() -> None:
    """Run, check, print one JSON object."""
    kind, count = sys.argv[1], int(sys.argv[2])
    frames: list[bytes] = list(FRAMES[kind](count))
    make, definition = PARSERS[kind.partition("-")[0]]
    path = CACHE / f"with-venue-{kind}.arrow"
    path.unlink(missing_ok=True)
    prepare()
    sequencer, quality = Sequencer(), Quality()
    parser = make({definition.symbol: (1, definition)}, 1, ("trade", "book"))
    with LogWriter(path, LogHeader(engine="bench", venues=(definition.venue,))) as writer:
        rows, stamp, feed = writer.rows, sequencer.stamp, parser.feed
        source = with_mode(SourceData(definition.venue, definition.venue), "warn")
        rows.append(stamp(), Kind.SOURCE, source=1, flags=LAST, data=encode_canonical(source))
        rows.append(stamp(), Kind.INSTRUMENT, instrument=1, flags=LAST, data=encode_canonical(definition))
        if kind == "binance-depth":
            parser.carry_book("BTCUSDT", 1_000_000_000)
        began = time.perf_counter()
        for start in range(0, len(frames), READ):
            for frame in frames[start : start + READ]:
                feed(frame, stamp(), rows)
            if rows.count >= FLUSH_ROWS:
                quality.take(rows)
                writer.flush()
        quality.take(rows)
        writer.flush()
        seconds = time.perf_counter() - began
        writer.close(reason="bench", ts=stamp())
    counted = _counts(path)
    if counted["frames"] != len(frames) or counted["unwanted"]:
        raise SystemExit(f"{kind}: {counted} of {len(frames)} frames")
    print(json.dumps({"frames": len(frames), "messages": count, "seconds": seconds, **counted}))


def _counts(path: Path) -> dict[str, int]:
    frames = unwanted = rows = 0
    with LogReader(path) as reader:
        for batch in reader.batches():
            assert batch.wire is not None
            frames += int(np.count_nonzero(batch.wire.is_valid().to_numpy(zero_copy_only=False)))
            unwanted += int(np.isin(batch.kind, list(UNWANTED)).sum())
            unwanted += int(np.count_nonzero(batch.flags & int(Flag.MAYBE_BAD_BOOK | Flag.DUPLICATE)))
            rows += batch.count
    return {"frames": frames, "rows": rows, "unwanted": unwanted}


if __name__ == "__main__":
    main()
