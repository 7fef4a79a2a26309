"""What a message's rows do to a market of the twin, one row at a time."""

from __future__ import annotations

from collections.abc import Sequence

from engine.model.kinds import Flag, Kind
from engine.model.units import NULL_TIME
from tests.helpers.logs import Row
from tests.reference.book import Market
from tests.reference.order_book import OrderedMarket

NEVER_MATCH = Flag.DUPLICATE | Flag.BACKFILLED | Flag.REJECTED_TICK | Flag.OUT_OF_ORDER | Flag.REVISED


def apply_depth(row: Row, market: Market) -> bool:
    """Whether a depth row has changed the book."""
    if row.flags & Flag.MAYBE_BAD_BOOK:
        market.bad = True
        return False
    if row.flags & NEVER_MATCH:
        return False
    if bool(row.flags & Flag.BY_ORDER) != isinstance(market, OrderedMarket):
        return False
    if isinstance(market, OrderedMarket):
        market.take(row)
        return True
    if row.flags & Flag.CLEAR:
        market.begin_snapshot()
    if row.side:
        market.set(row.side, row.price, row.size)
    if row.ts_venue != NULL_TIME:
        market.depth_ts_venue = row.ts_venue
    return True


def brings_book(rows: Sequence[Row], trade: Row, market: Market) -> bool:
    """Whether a trade's message also changes its book."""
    return any(
        row.kind == Kind.BOOK
        and row.instrument == trade.instrument
        and not row.flags & (NEVER_MATCH | Flag.MAYBE_BAD_BOOK)
        and bool(row.flags & Flag.BY_ORDER) == isinstance(market, OrderedMarket)
        for row in rows
    )
