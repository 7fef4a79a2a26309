"""What a journal's record says: the codes of its `kind` column."""

from __future__ import annotations

from typing import ClassVar


class JournalKind:
    """Codes of the journal's records; part of its format."""

    SUBMIT = 1
    CANCEL = 2
    REFUSED = 3
    ACCEPTED = 4
    REJECTED = 5
    FILL = 6
    CANCELLED = 7
    EXPIRED = 8
    CANCEL_REJECTED = 9
    AMEND = 10
    AMENDED = 11
    AMEND_REJECTED = 12
    TRIGGERED = 13
    ASK = 14  # a question to Claude: its ticket, key, deadline and default stand in `terms`
    CHARGE = 20  # money that no order moved: `fee` is what was taken (-: given), `reason` says for what
    ADJUSTMENT = (
        21  # a position that no order changed: `side` * `size`; `fee` as above, for a rest at `price`
    )
    NAMES: ClassVar[dict[int, str]] = {
        1: "submit",
        2: "cancel",
        3: "refused",
        4: "accepted",
        5: "rejected",
        6: "fill",
        7: "cancelled",
        8: "expired",
        9: "cancel_rejected",
        10: "amend",
        11: "amended",
        12: "amend_rejected",
        13: "triggered",
        14: "ask",
        20: "charge",
        21: "adjustment",
    }
