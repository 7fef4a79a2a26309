"""Writing a decision down: a journal record, and beside it what has no column there."""

from __future__ import annotations

from typing import Any

from engine.execution.state import instruments_at, journal_at, orders_at, terms_at
from engine.model import jit


@jit.helper
def record(s: Any, kind: int, slot: int) -> Any:
    """Append a decision about an order; the caller has made sure of room."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    entry = journal_at(s.journal, s.journal_capacity)[s.journal_count]
    s.journal_count += 1
    s.decisions += 1
    entry.number = s.decisions
    entry.ts = s.now
    entry.order = order.number
    entry.price = order.known_price
    entry.size = order.size
    entry.fee = 0
    entry.cause_seq = s.cause_seq
    entry.trigger_id = s.trigger_id
    entry.instrument = order.instrument
    entry.file = s.file
    entry.reason = 0
    entry.kind = kind
    entry.order_kind = order.kind
    entry.tif = order.tif
    entry.options = order.post_only | (order.reduce_only << 1)
    entry.trigger = s.trigger
    entry.price_decimals = instrument.price_decimals
    entry.size_decimals = instrument.size_decimals
    entry.side = order.side
    entry.maker = 0
    entry.fee_asset = 0
    return entry


@jit.helper
def record_terms(s: Any, slot: int) -> None:
    """Beside the decision just recorded: what the order was sent with that has no column."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    if order.stop | order.trail | order.expires | order.parent | order.group == 0:
        return
    entry = terms_at(s.terms, s.journal_capacity)[s.terms_count]
    s.terms_count += 1
    entry.decision = s.decisions
    entry.stop = order.stop
    entry.trail = order.trail
    entry.expires = order.expires
    entry.parent = order.parent
    entry.group = order.group
