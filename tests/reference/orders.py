"""What the twin keeps of an order: the venue's side and what the strategy has heard."""

from __future__ import annotations

from dataclasses import dataclass

FINAL = ("filled", "cancelled", "rejected", "expired", "refused")


@dataclass(eq=False)
class Order:
    """One order, for the whole run."""

    number: int
    instrument: int
    side: int
    kind: str  # "market", "limit"
    tif: str
    price: int
    size: int
    post_only: bool
    reduce_only: bool
    # at the venue
    at_venue: str = "travelling"  # then "waiting", "working", "resting", "done"
    done: int = 0  # filled there
    front: float | None = 0  # what stands before it; None: not known
    traded: float = 0.0  # at its price since the level last changed
    # in a book by order
    before: set[int] | None = None  # the displayed orders before it; None: out of sight
    blind: bool = False  # placed behind the best price
    matched: int = 0  # traded and not yet shown; below 0: shown and not yet traded
    matched_stamp: int | None = None
    matched_message: int = 0
    joined_stamp: int | None = None
    venue_lock: int = 0
    since: int = 0  # on bars: when it arrived
    # as heard
    state: str = "submitted"
    filled: int = 0
    known_size: int = 0  # the size as the last report gave it
    lock: int = 0
    counted: int = 0

    @property
    def open(self) -> int:
        """What the venue has not filled."""
        return self.size - self.done
