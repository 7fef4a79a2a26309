"""A captured market of Coinbase, put into today's messages: every level, every trade, and the best prices.

No capture of Advanced Trade exists here. This one is of the older feed (2021), whose content is the same in
other words; the test says it in today's. Its tickers are the oracle: they name the best prices of a moment.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from engine.feed.coinbase import CoinbaseParser
from engine.model.kinds import BID, Flag, InstrumentData, Kind
from engine.model.rows import RowBuffer
from tests.helpers.coinbase import message, trade
from tests.helpers.frames import SOCKET, TS, rows_of

SIDES = {"buy": "bid", "sell": "offer"}
DECIMALS = 8


def older(path: Path) -> Iterator[dict[str, Any]]:
    """The frames of the capture, "<receive time>: <frame>" a line."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            _, _, frame = line.partition(": ")
            if frame.startswith('{"type"') and " <- " not in line[:60]:
                yield msgspec.json.decode(frame)


def levels(old: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Side, price and size of what a message changes."""
    if old["type"] == "l2update":
        return [(SIDES[side], price, size) for side, price, size in old["changes"]]
    return [(side, *level) for side, name in (("bid", "bids"), ("offer", "asks")) for level in old[name]]


def today(old: dict[str, Any], number: int) -> bytes | None:
    """The same in today's words; None for what is neither a level nor a trade."""
    if old["type"] in {"snapshot", "l2update"}:
        time = old.get("time", "1970-01-01T00:00:00Z")
        updates = [
            {"side": side, "event_time": time, "price_level": price, "new_quantity": size}
            for side, price, size in levels(old)
        ]
        form = "update" if old["type"] == "l2update" else "snapshot"
        return message("l2_data", number, {"type": form, "product_id": old["product_id"], "updates": updates})
    if old["type"] == "match":
        item = trade(
            old["trade_id"],
            old["price"],
            old["size"],
            side=old["side"].upper(),
            time=old["time"],
            product_id=old["product_id"],
        )
        return message("market_trades", number, {"type": "update", "trades": [item]})
    return None


def mantissa(text: str) -> int:
    """At eight decimals, by another way than the parser's."""
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(DECIMALS, "0"))


def test_a_real_market(real_data: Path) -> None:
    """Ten books, 9,719 updates, 97 trades; books folded from the rows have the announced best prices."""
    frames = list(older(real_data / "coinbase_legacy" / "COINBASE.ws.28.0.gz"))
    symbols = sorted({frame["product_id"] for frame in frames if frame["type"] == "snapshot"})
    instruments = {
        symbol: (
            number,
            InstrumentData(f"{symbol}.coinbase", symbol, "coinbase", DECIMALS, DECIMALS, "0.01", "0.01"),
        )
        for number, symbol in enumerate(symbols, start=1)
    }
    target = CoinbaseParser(instruments, SOCKET)
    sides: dict[tuple[int, int], dict[int, int]] = {}
    sent = {"snapshot": 0, "l2update": 0, "match": 0}
    number = agreeing = compared = 0
    for frame in frames:
        if frame["type"] == "ticker":
            instrument = instruments[frame["product_id"]][0]
            bids, asks = sides.get((instrument, BID)), sides.get((instrument, -BID))
            if bids and asks:
                best = (max(bids), min(asks))
                compared += 1
                agreeing += best == (mantissa(frame["best_bid"]), mantissa(frame["best_ask"]))
            continue
        now = today(frame, number)
        if now is None:
            continue
        number += 1
        sent[frame["type"]] += 1
        rows = RowBuffer()
        target.feed(now, TS + number, rows)
        made = rows_of(rows)
        assert not any(row.flags & ~(Flag.LAST | Flag.CLEAR | Flag.SNAPSHOT) for row in made)
        if frame["type"] == "match":
            assert [row.kind for row in made] == [Kind.TRADE]  # numbered one after the other
            continue
        assert len(made) == len(levels(frame))
        for row in made:
            if row.flags & Flag.CLEAR:
                sides[row.instrument, BID], sides[row.instrument, -BID] = {}, {}
            side = sides[row.instrument, row.side]
            if row.size:
                side[row.price] = row.size
            else:
                side.pop(row.price, None)
    assert (len(symbols), sent) == (10, {"snapshot": 10, "l2update": 9_719, "match": 97})
    assert (compared, agreeing) == (107, 100)  # the channels are not in step with each other to the message
    assert not target.unknown
    assert not target.wants
