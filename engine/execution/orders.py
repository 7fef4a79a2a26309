"""The life of an order, as a table, and the names of everything that can happen to it.

An order lives twice: at the venue, and, later by the latencies, in what the strategy knows. The table
below is the strategy's side: (state, event) -> state. A pair that is not in it is an error of the
engine's, never ignored.

    submitted --accepted--> working --fill--> working / filled
        |                      |  \
        +--rejected            |   triggered, amended: still working
                               +--cancelled, expired
    refused by risk: an order that never left
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class OrderKind(IntEnum):
    """How an order names its price. The even ones have a limit; from STOP on, it waits for a trigger."""

    MARKET = 1
    LIMIT = 2
    STOP = 3
    STOP_LIMIT = 4
    TRAILING = 5


class TimeInForce(IntEnum):
    """How long an order lives."""

    GTC = 1
    IOC = 2
    FOK = 3
    GTD = 4  # until a time
    DAY = 5  # until the session's end


class State(IntEnum):
    """An order as the strategy knows it."""

    NONE = 0
    SUBMITTED = 1  # on its way
    WORKING = 2
    CANCELLING = 3  # a cancel is on its way
    FILLED = 4
    CANCELLED = 5
    REJECTED = 6  # by the venue
    EXPIRED = 7
    REFUSED = 8  # by risk: it never left


class Event(IntEnum):
    """What a report, or the strategy itself, says of an order."""

    ACCEPTED = 1
    FILL = 2  # some of it
    FILL_ALL = 3  # the rest of it
    CANCELLED = 4
    REJECTED = 5
    EXPIRED = 6
    REFUSED = 7
    CANCEL_SENT = 8
    CANCEL_REJECTED = 9
    TRIGGERED = 10  # of a stop
    AMENDED = 11  # to another price or size, as asked for or by the fill of an order that it is linked to
    AMEND_REJECTED = 12


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.SUBMITTED, Event.ACCEPTED): State.WORKING,
    (State.SUBMITTED, Event.REJECTED): State.REJECTED,
    (State.SUBMITTED, Event.REFUSED): State.REFUSED,
    # A taker's fills, and what is left of it, may be the first that is heard of it.
    (State.SUBMITTED, Event.FILL): State.WORKING,
    (State.SUBMITTED, Event.FILL_ALL): State.FILLED,
    (State.SUBMITTED, Event.CANCELLED): State.CANCELLED,
    (State.SUBMITTED, Event.EXPIRED): State.EXPIRED,
    (State.SUBMITTED, Event.CANCEL_SENT): State.CANCELLING,
    (State.WORKING, Event.FILL): State.WORKING,
    (State.WORKING, Event.FILL_ALL): State.FILLED,
    (State.WORKING, Event.CANCELLED): State.CANCELLED,
    (State.WORKING, Event.EXPIRED): State.EXPIRED,
    (State.WORKING, Event.CANCEL_SENT): State.CANCELLING,
    (State.WORKING, Event.TRIGGERED): State.WORKING,
    (State.WORKING, Event.AMENDED): State.WORKING,
    (State.WORKING, Event.AMEND_REJECTED): State.WORKING,
    # Risk may refuse an amendment before the venue has said anything of the order.
    (State.SUBMITTED, Event.AMEND_REJECTED): State.SUBMITTED,
    # Orders that the venue holds back, or that wait for a snapshot, are amended before they are accepted.
    (State.SUBMITTED, Event.AMENDED): State.SUBMITTED,
    # While a cancel travels, everything else may still arrive.
    (State.CANCELLING, Event.ACCEPTED): State.CANCELLING,
    (State.CANCELLING, Event.REJECTED): State.REJECTED,
    (State.CANCELLING, Event.FILL): State.CANCELLING,
    (State.CANCELLING, Event.FILL_ALL): State.FILLED,
    (State.CANCELLING, Event.CANCELLED): State.CANCELLED,
    (State.CANCELLING, Event.EXPIRED): State.EXPIRED,
    (State.CANCELLING, Event.CANCEL_REJECTED): State.CANCELLING,
    (State.CANCELLING, Event.TRIGGERED): State.CANCELLING,
    (State.CANCELLING, Event.AMENDED): State.CANCELLING,
    (State.CANCELLING, Event.AMEND_REJECTED): State.CANCELLING,
}

FINAL_STATES = (State.FILLED, State.CANCELLED, State.REJECTED, State.EXPIRED, State.REFUSED)
FIRST_FINAL = int(State.FILLED)

ILLEGAL = -1
TABLE = np.full((max(State) + 1, max(Event) + 1), ILLEGAL, dtype=np.int64)
for (_state, _event), _next in TRANSITIONS.items():
    TABLE[_state, _event] = _next


class Reason(IntEnum):
    """Why: of a fill, a rejection, an end, or a refusal by risk. The codes are part of the journal."""

    NONE = 0
    # fills
    TAKER = 1
    CROSSED = 2
    THROUGH = 3
    QUEUE = 4
    RESYNC = 5
    BAR = 6
    # ends at the venue
    REQUESTED = 10
    NO_LIQUIDITY = 11
    EMPTY_SIDE = 12
    IOC_REMAINDER = 13
    FOK_UNFILLABLE = 14
    POST_ONLY_WOULD_MATCH = 15
    INSUFFICIENT_FUNDS = 16
    REDUCE_ONLY = 17
    UNKNOWN_ORDER = 18
    TIME = 19  # its time, or its session, is over
    LINKED = 20  # an order that it is linked to filled or ended
    PARENT = 21  # of a bracket: its entry filled or ended
    WOULD_TRIGGER = 22
    COLLAR_AT_TRIGGER = 23
    CORPORATE_ACTION = 24
    # refusals by risk
    HALTED = 30
    NOT_TRADABLE = 31
    PRICE_INCREMENT = 32
    SIZE_INCREMENT = 33
    MIN_SIZE = 34
    MAX_SIZE = 35
    MIN_NOTIONAL = 36
    PRICE_COLLAR = 37
    NO_REFERENCE_PRICE = 38
    POSITION_CAP = 39
    CASH = 40
    BAR_ONLY = 41  # of runs before orders on bars
    OVERFLOW = 42
    NOT_FINITE = 43
    TIME_PASSED = 44
    NO_SESSION = 45
    ENTRY_REFUSED = 46
    NO_TRIGGER_PRICE = 47
    LINKED_SIZE = 48
    LEGS_CROSSED = 49
    NO_FEE_PRICE = 60
    BUYING_POWER = 61
    # charges and adjustments
    BORROW_FEE = 80
    DIVIDEND = 81
    SPLIT = 82


FILL_REASONS = (
    Reason.TAKER,
    Reason.CROSSED,
    Reason.THROUGH,
    Reason.QUEUE,
    Reason.RESYNC,
    Reason.BAR,
)


# Looking a member up costs more than a fill's whole bookkeeping: the names stand ready.
REASON_NAMES = {int(reason): reason.name for reason in Reason}
_LOWER_NAMES = {code: name.lower() for code, name in REASON_NAMES.items()}


def reason_name(code: int) -> str:
    """The reason's name as strategies, journals and reports spell it; fills use REASON_NAMES."""
    return _LOWER_NAMES[code]
