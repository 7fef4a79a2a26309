"""Entry points for what no order does: charges, positions that a split changes, orders that it ends.

Decided in Python (engine.loop.charges), which makes sure of room; here it becomes part of the state and of
the journal.
"""

from __future__ import annotations

from engine.execution.agenda import push
from engine.execution.arrival import leave
from engine.execution.codes import E_CANCELLED, R_CORPORATE
from engine.execution.fills import finish
from engine.execution.links import settle
from engine.execution.order_rows import begin_picture, end_picture, table_at
from engine.execution.resting import begin_snapshot, end_snapshot, set_best
from engine.execution.state import (
    ITEM_CHARGE,
    MATCH_BOOK,
    MATCH_QUOTES,
    RANK_ANSWER,
    SIDES_EACH,
    VENUE_DONE,
    assets_at,
    instruments_at,
    journal_at,
    markets_at,
    orders_at,
    state_at,
)
from engine.loop.tables import tracks_at
from engine.market.book import LOWEST_KEY, sides_at
from engine.model import jit


@jit.entry("int64(int64,int64,int64,int64,int64,int64,int64,int64)")
def adjust(
    address: int, kind: int, instrument: int, units: int, change: int, fee: int, price: int, reason: int
) -> int:
    """Take `fee` of money (-: give it), change the position by `change`, and say so in the journal.

    `units` is the signed position that it was reckoned from. The journal's next record is all zeros.
    """
    s = state_at(address, 1)[0]
    record = instruments_at(s.instruments, s.instrument_count)[instrument]
    asset = assets_at(s.assets, s.asset_count)[record.asset]
    asset.cash -= fee
    asset.venue_cash -= fee
    record.position += change
    record.venue_position += change
    entry = journal_at(s.journal, s.journal_capacity)[s.journal_count]
    s.journal_count += 1
    s.decisions += 1
    entry.number = s.decisions
    entry.ts = s.now
    entry.price = price
    entry.size = abs(change) if change != 0 else abs(units)
    entry.fee = fee
    entry.cause_seq = s.cause_seq
    entry.instrument = instrument
    entry.file = s.file
    entry.reason = reason
    entry.kind = kind
    entry.trigger = s.trigger
    entry.trigger_id = s.trigger_id
    entry.price_decimals = record.price_decimals
    entry.size_decimals = record.size_decimals
    entry.side = 1 if (change if change != 0 else units) > 0 else -1
    return 0


@jit.operation("int64(int64,int64,int64)")
def note(address: int, kind: int, instrument: int) -> int:
    """Say in the journal that something was decided that is no order."""
    s = state_at(address, 1)[0]
    record = instruments_at(s.instruments, s.instrument_count)[instrument]
    entry = journal_at(s.journal, s.journal_capacity)[s.journal_count]
    s.journal_count += 1
    s.decisions += 1
    entry.number = s.decisions
    entry.ts = s.now
    entry.order = 0
    entry.price = 0
    entry.size = 0
    entry.fee = 0
    entry.cause_seq = s.cause_seq
    entry.trigger_id = s.trigger_id
    entry.instrument = instrument
    entry.file = s.file
    entry.reason = 0
    entry.kind = kind
    entry.order_kind = 0
    entry.tif = 0
    entry.options = 0
    entry.trigger = s.trigger
    entry.price_decimals = record.price_decimals
    entry.size_decimals = record.size_decimals
    entry.side = 0
    entry.maker = 0
    entry.fee_asset = 0
    return 0


@jit.entry("int64(int64,int64)")
def end_orders(address: int, instrument: int) -> int:
    """Orders of an instrument that are on their way to the venue, or at it, end by a corporate action."""
    s = state_at(address, 1)[0]
    slot = s.live_head
    while slot >= 0:
        following = tracks_at(s.tracks, s.order_capacity)[slot].next
        order = orders_at(s.orders, s.order_capacity)[slot]
        if order.instrument == instrument and order.venue_state != VENUE_DONE:
            leave(s, slot)
            finish(s, slot, E_CANCELLED, R_CORPORATE)
        slot = following
    settle(s)
    return 0


@jit.entry("int64(int64,int64)")
def forget_prices(address: int, instrument: int) -> int:
    """Book and quotes of an instrument are of other units than those to come."""
    s = state_at(address, 1)[0]
    record = instruments_at(s.instruments, s.instrument_count)[instrument]
    record.quote_seen = 0
    for place in range(2 if s.own_clock else 1):
        market = markets_at(s.markets, 2 * s.instrument_count)[2 * instrument + place]
        first_side = SIDES_EACH * instrument + 2 * place
        if record.match_on == MATCH_BOOK:
            doubtful = market.book_bad
            market.book_bad = 0
            if record.by_order:
                table = table_at(s, instrument, 2 * place)
                begin_picture(s, table, market, first_side)
                end_picture(s, table, first_side)
                table.touched = 0
                s.message_number += 1
            else:
                begin_snapshot(s, market, first_side)
            end_snapshot(s, market, first_side)
            market.book_bad = doubtful
        elif record.match_on == MATCH_QUOTES:
            sides = sides_at(s.sides, SIDES_EACH * s.instrument_count)
            set_best(s, sides[first_side], LOWEST_KEY, 0)
            set_best(s, sides[first_side + 1], LOWEST_KEY, 0)
    return 0


@jit.entry("int64(int64,int64)")
def schedule(address: int, due: int) -> int:
    """Come back to Python at `due`, behind reports and before timers of that time."""
    s = state_at(address, 1)[0]
    item = push(s, due, RANK_ANSWER, ITEM_CHARGE)
    item.id = due
    return 0
