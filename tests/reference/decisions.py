"""What the twin writes down: decisions, in words."""

from __future__ import annotations

from dataclasses import dataclass, fields

from engine.execution.journal_kinds import JournalKind
from engine.execution.orders import Event

JOURNAL_KIND = {
    Event.ACCEPTED: JournalKind.ACCEPTED,
    Event.FILL: JournalKind.FILL,
    Event.FILL_ALL: JournalKind.FILL,
    Event.CANCELLED: JournalKind.CANCELLED,
    Event.REJECTED: JournalKind.REJECTED,
    Event.EXPIRED: JournalKind.EXPIRED,
    Event.CANCEL_REJECTED: JournalKind.CANCEL_REJECTED,
    Event.TRIGGERED: JournalKind.TRIGGERED,
    Event.AMENDED: JournalKind.AMENDED,
    Event.AMEND_REJECTED: JournalKind.AMEND_REJECTED,
}
WORDS = {
    Event.ACCEPTED: "accepted",
    Event.TRIGGERED: "triggered",
    Event.AMENDED: "amended",
    Event.AMEND_REJECTED: "amend_rejected",
}


@dataclass(frozen=True)
class Decision:
    """One record of the journal."""

    number: int
    ts: int
    kind: str
    order: int
    instrument: str
    side: int
    price: int
    size: int
    fee: int
    order_kind: str
    tif: str
    options: int
    reason: str
    maker: int
    cause_seq: int
    trigger: int
    trigger_id: int
    terms: str = ""  # what has no column: "stop=103 group=1"

    def __str__(self) -> str:
        return " ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self))


@dataclass
class Account:
    """One asset as the strategy knows it."""

    cash: int = 0
    locked: int = 0
