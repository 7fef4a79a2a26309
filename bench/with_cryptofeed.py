"""cryptofeed's handler of Binance trades, frames from memory: from bytes to a callback that counts.

It takes the venue's aggregated trades, so it is given those. Nothing is stored. Runs in an environment of its
own (bench.venues).

    python bench/with_cryptofeed.py COUNT
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from cryptofeed.defines import BINANCE, TRADES
from cryptofeed.exchanges import Binance
from cryptofeed.symbols import Symbols

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.frames import binance_aggregates


async def main() -> None:
    """Handle all of them, print one JSON object."""
    count = int(sys.argv[1])
    seen = 0

    async def counted(_trade: Any, _receipt: float) -> None:
        nonlocal seen
        seen += 1

    Symbols.set(BINANCE, {"BTC-USDT": "BTCUSDT"}, {"instrument_type": {}})
    feed = Binance(symbols=["BTC-USDT"], channels=[TRADES], callbacks={TRADES: counted})
    frames = [frame.decode() for frame in binance_aggregates(count)]
    began = time.perf_counter()
    for frame in frames:
        await feed.message_handler(frame, None, 0.0)
    seconds = time.perf_counter() - began
    print(json.dumps({"frames": seen, "seconds": seconds}))


if __name__ == "__main__":
    asyncio.run(main())
