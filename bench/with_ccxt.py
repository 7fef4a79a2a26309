"""ccxt.pro's handler of Binance trades, frames from memory: decoded by `json`, handed to `handle_message`.

Nothing is stored but ccxt's own cache of the last trades. Runs in an environment of its own (bench.venues).

    python bench/with_ccxt.py COUNT
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import ccxt.pro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.frames import binance_trades

MARKET: dict[str, Any] = {
    "id": "BTCUSDT",
    "lowercaseId": "btcusdt",
    "symbol": "BTC/USDT",
    "base": "BTC",
    "quote": "USDT",
    "baseId": "BTC",
    "quoteId": "USDT",
    "type": "spot",
    "spot": True,
    "margin": False,
    "swap": False,
    "future": False,
    "option": False,
    "contract": False,
    "linear": None,
    "inverse": None,
    "active": True,
    "precision": {"amount": 0.00001, "price": 0.01},
    "limits": {},
    "info": {},
}


async def main() -> None:
    """Handle all of them, print one JSON object."""
    count = int(sys.argv[1])
    exchange = ccxt.pro.binance()
    exchange.set_markets([MARKET])
    client = exchange.client("wss://stream.binance.com:9443/ws/0")
    frames = [frame.decode() for frame in binance_trades(count)]
    seen = 0
    client.resolve = lambda *_: None
    began = time.perf_counter()
    for frame in frames:
        exchange.handle_message(client, json.loads(frame)["data"])
        seen += 1
    seconds = time.perf_counter() - began
    last = exchange.trades["BTC/USDT"][-1]["id"]
    await exchange.close()
    print(json.dumps({"frames": seen, "seconds": seconds, "last": last}))


if __name__ == "__main__":
    asyncio.run(main())
