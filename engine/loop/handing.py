"""Handing an event to a compiled strategy, by its address.

The strategy's one function takes (state, record, handler, a, b): `a` and `b` are the first and the last row
of an event, or nothing. It answers 0, or the number of the place where it failed.
"""

from __future__ import annotations

from typing import Any

from engine.loop.codes import FAILED_HANDLER
from engine.model import jit

ROOM = 256  # decisions and agenda items that a handler finds without asking

_call = jit.function_at(5)


@jit.helper
def hand(s: Any, address: int, handler: int, a: int, b: int) -> int:
    """Call a handler if the strategy has it; 0, or FAILED_HANDLER."""
    if (s.strategy_handlers >> handler) & 1 == 0:
        return 0
    status = _call(s.strategy, address, s.strategy_record, handler, a, b)
    if status == 0:
        return 0
    s.out_status = status
    s.out_handler = handler
    return FAILED_HANDLER


@jit.inlined
def has_room(s: Any) -> bool:
    """Whether a handler finds the room that it need not ask for."""
    return bool(s.journal_count + ROOM <= s.journal_capacity and s.item_free_count >= ROOM)
