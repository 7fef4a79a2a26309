"""The loop of a compiled strategy: what `advance` hands out is given to the strategy by its address.

The order is that of the interpreted runner (engine.loop.run, engine.loop.caller): a message's events one
after the other, of a report first on_fill and then on_order, then what a target still wants. Python is wanted
only for rows, room, rows that it reads itself (news, status), and failures.

The strategy's one function takes (state, record, handler, a, b): `a` and `b` are the first and the last row
of an event, or nothing. It answers 0, or the number of the place where it failed.
"""

from __future__ import annotations

from typing import Any

from engine.execution.codes import E_ACCEPTED, E_FILL, E_FILL_ALL, E_TRIGGERED
from engine.execution.orders import FIRST_FINAL
from engine.execution.state import deliveries_at, orders_at, state_at
from engine.loop.codes import (
    CALLS_AT_ONE_INSTANT,
    DELIVER,
    DRAIN_JOURNAL,
    FAILED_HANDLER,
    FIRST_SPECIAL,
    GROW_ITEMS,
    REPORT,
    STUCK,
    TIMER,
)
from engine.loop.handing import ROOM, hand
from engine.loop.target import after_report, heard
from engine.model import jit
from engine.strategy.compiled.operations import H_FILL, H_ORDER, H_TIMER

_advance = jit.function_at(2)


@jit.helper
def _deliver(s: Any, address: int) -> int:
    """Hand out what is left of the message's deliveries; 0, or what Python is wanted for."""
    while s.out_first < s.out_last:
        delivery = deliveries_at(s.deliveries, s.delivery_capacity)[s.out_first]
        if delivery.handler >= FIRST_SPECIAL:
            return DELIVER
        if s.journal_count + ROOM > s.journal_capacity:
            return DRAIN_JOURNAL
        s.out_first += 1
        if s.stopped == 0:
            number = s.out_first
            code = hand(s, address, delivery.handler, delivery.first, delivery.last)
            if code != 0:
                s.out_first = number - 1
                return code
    return 0


@jit.helper
def _tell(s: Any, address: int) -> int:
    """Tell the strategy of the report in the state record."""
    s.told_event = s.out_event
    s.told_slot = s.out_slot
    s.told_number = s.out_number
    s.told_instrument = s.out_instrument
    s.told_side = s.out_side
    s.told_size = s.out_size
    s.told_price = s.out_price
    s.told_fee = s.out_fee
    s.told_notional = s.out_notional
    s.told_reason = s.out_reason
    s.told_state = s.out_state
    s.told_filled = s.out_filled
    s.told_order_size = s.out_order_size
    s.told_maker = s.out_maker
    s.told_fee_asset = s.out_fee_asset
    s.told_order_price = orders_at(s.orders, s.order_capacity)[s.out_slot].known_price
    event = s.out_event
    instrument = s.out_instrument
    final = s.out_state >= FIRST_FINAL
    heard(s, instrument, s.out_number, event, s.out_state, s.out_reason)
    filled = event == E_FILL or event == E_FILL_ALL
    if filled:
        code = hand(s, address, H_FILL, 0, 0)
        if code != 0:
            return code
    # A part of a fill, or a cancel that came too late, changes no state that has a word.
    if event == E_FILL_ALL or event == E_ACCEPTED or event >= E_TRIGGERED or (final and not filled):
        code = hand(s, address, H_ORDER, 0, 0)
        if code != 0:
            return code
    if after_report(s, address, instrument) < 0:
        s.out_status = 0
        return FAILED_HANDLER
    return 0


@jit.entry("int64(int64)")
def run(address: int) -> int:
    """Run agenda and messages in their order, handing all to the strategy, until Python is wanted."""
    s = state_at(address, 1)[0]
    while True:
        if s.out_first < s.out_last:
            code = _deliver(s, address)
            if code != 0:
                return code
        if s.journal_count + ROOM > s.journal_capacity:
            return DRAIN_JOURNAL
        if s.item_free_count < ROOM:
            s.out_need = ROOM
            return GROW_ITEMS
        code = int(_advance(s.run_advance, address, -1))
        if code == DELIVER:
            continue
        if code == REPORT or code == TIMER:
            if s.now != s.instant:
                s.instant = s.now
                s.instant_calls = 0
            s.instant_calls += 1
            if s.instant_calls > CALLS_AT_ONE_INSTANT:
                return STUCK
            code = _tell(s, address) if code == REPORT else hand(s, address, H_TIMER, s.out_word, 0)
            if code != 0:
                return code
        else:
            return code
