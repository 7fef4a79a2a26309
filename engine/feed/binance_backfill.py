"""Missing trades that the venue gives a second time: an answer of its history, read against what is missing.

The parser knows the holes in each sequence of ids (engine.feed.parser.Sequence), so the rows of an answer
follow from the frames before it and from its body, and from nobody's memory of what was asked: an entry
becomes a TRADE row flagged BACKFILLED if its id lies in a hole, and the hole is smaller by it from then on.
Every other entry (it is there already, it is newer than the latest frame or older than the first) is passed
over; `wire` has the whole body. What comes later by the stream after all is a DUPLICATE.

The shapes are those of engine.feed.binance_history, which `engine fetch` reads, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.feed.binance_history import AGGREGATES, TRADES, entries_of
from engine.feed.binance_messages import nanoseconds
from engine.feed.binance_rows import SymbolRows
from engine.feed.parser import Sequence
from engine.feed.row_words import AGGREGATE, TRADE
from engine.model.kinds import BUY, SELL, Flag
from engine.model.rows import RowBuffer

LATEST = "trades"  # the endpoint of the last thousand
CHANNEL_OF_ENDPOINT = {LATEST: "trade", TRADES: "trade", AGGREGATES: "aggtrade"}
BACKFILLED = int(Flag.BACKFILLED)


def missing_entries(endpoint: str, body: bytes, sequence: Sequence) -> list[Any]:
    """The entries of an answer whose ids are missing, by growing id. Raises Malformed."""
    holes = sorted(sequence.holes)
    found, at = [], 0
    for entry in entries_of(body, aggregate=endpoint == AGGREGATES):
        while at < len(holes) and holes[at][1] < entry.id:
            at += 1
        if at == len(holes):
            break
        if holes[at][0] <= entry.id:
            found.append(entry)
    return found


def entry_texts(entries: list[Any]) -> Iterator[tuple[str, bool, str]]:
    """Every decimal of some entries: its field, whether it is a price (else a size), its text."""
    for entry in entries:
        yield "price", True, entry.price
        yield "size", False, entry.size


def append_entries(
    entries: list[Any],
    endpoint: str,
    state: SymbolRows,
    body: bytes,
    ts: int,
    rows: RowBuffer,
    number: int,
) -> None:
    """One message of TRADE rows, at least one entry; `number` is the answer's source.

    Raises DecimalError (TooFine when a wider definition would do) before anything has changed.
    """
    sequence = state.sequence(CHANNEL_OF_ENDPOINT[endpoint])
    flags = BACKFILLED | (AGGREGATE if endpoint == AGGREGATES else 0)
    numbers = [(state.prices[entry.price], state.sizes[entry.size]) for entry in entries]
    wire: bytes | None = body
    for entry, (price, size) in zip(entries, numbers, strict=True):
        rows.append_fast(
            ts,
            nanoseconds(entry.time),
            number,
            TRADE,
            0,
            flags,
            state.number,
            SELL if entry.buyer_is_maker else BUY,
            price,
            size,
            entry.id,
            None,
            wire,
        )
        wire = None
        sequence.take(entry.id)
    rows.end_message()
