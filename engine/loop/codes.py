"""Codes that the loop's kernels and its Python side share."""

from __future__ import annotations

from engine.execution.journal_kinds import JournalKind
from engine.execution.orders import TABLE, Event
from engine.model.kinds import Flag, Kind, Part

# What `advance` and `catch_up` return.
NEED_ROWS, DELIVER, REPORT, TIMER, NEED_VENUE = 0, 1, 2, 3, 4
NEVER = 2**62
GROW_LEVELS, GROW_ITEMS, DRAIN_JOURNAL, DRAIN_EQUITY, GROW_NOTES, BROKEN = 10, 11, 12, 13, 14, 20
GROW_ORDERS = -1
CALLS_AT_ONE_INSTANT = 200_000  # of reports and timers, after which a strategy is stopped
GROW_TIMERS = 15
GROW_ORDER_TABLE = 18  # of a book by order
STUCK, FAILED_HANDLER = 21, 22
CHARGE = 30  # what Python put on the agenda is due: a charge, a deadline, an answer

# Handlers a delivery may go to; the runner's own come last.
H_TRADE, H_QUOTE, H_BOOK, H_BAR, H_NEWS, H_STATUS, H_ENGINE = 1, 2, 3, 4, 5, 6, 7
FIRST_SPECIAL = H_NEWS  # from here on Python has to read the row

TRADE, QUOTE, BOOK, BAR, NEWS = (
    int(Kind.TRADE),
    int(Kind.QUOTE),
    int(Kind.BOOK),
    int(Kind.BAR),
    int(Kind.NEWS),
)
SOURCE, SESSION, MARK = int(Kind.SOURCE), int(Kind.SESSION), int(Kind.MARK)
CORPORATE, ANSWER = int(Kind.CORPORATE), int(Kind.ANSWER)
STATUS, INSTRUMENT, COMMAND, END = int(Kind.STATUS), int(Kind.INSTRUMENT), int(Kind.COMMAND), int(Kind.END)
LAST, SNAPSHOT, CLEAR, FINAL = int(Flag.LAST), int(Flag.SNAPSHOT), int(Flag.CLEAR), int(Flag.FINAL)
MAYBE_BAD, AGGREGATE, REVISED = int(Flag.MAYBE_BAD_BOOK), int(Flag.AGGREGATE), int(Flag.REVISED)
BY_ORDER = int(Flag.BY_ORDER)
OUT_OF_ORDER = int(Flag.OUT_OF_ORDER)
# Rows with one of these neither match nor are delivered ...
IGNORED = int(Flag.DUPLICATE | Flag.BACKFILLED | Flag.REJECTED_TICK)
# ... and with one of these never match. A trade that corrects an earlier one is none that happens now.
NEVER_MATCH = IGNORED | OUT_OF_ORDER | REVISED
# Rows that the fast path leaves to the general one.
NOT_PLAIN = int(
    NEVER_MATCH | Flag.CLEAR | Flag.SNAPSHOT | Flag.MAYBE_BAD_BOOK | Flag.AGGREGATE | Flag.BY_ORDER
)
OPEN, HIGH, LOW, CLOSE = int(Part.OPEN), int(Part.HIGH), int(Part.LOW), int(Part.CLOSE)

S_SUBMITTED, S_CANCELLING = 1, 3
EV_REFUSED, EV_CANCEL_SENT = int(Event.REFUSED), int(Event.CANCEL_SENT)
J_SUBMIT, J_CANCEL, J_REFUSED = JournalKind.SUBMIT, JournalKind.CANCEL, JournalKind.REFUSED
J_ACCEPTED, J_REJECTED, J_FILL = JournalKind.ACCEPTED, JournalKind.REJECTED, JournalKind.FILL
J_CANCELLED, J_EXPIRED = JournalKind.CANCELLED, JournalKind.EXPIRED
J_CANCEL_REJECTED = JournalKind.CANCEL_REJECTED
J_AMEND, J_AMENDED, J_AMEND_REJECTED = JournalKind.AMEND, JournalKind.AMENDED, JournalKind.AMEND_REJECTED
J_TRIGGERED = JournalKind.TRIGGERED

ORDER_TABLE = TABLE
