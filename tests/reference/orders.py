"""What the twin keeps of an order: the venue's side and what the strategy has heard."""

from __future__ import annotations

from dataclasses import dataclass, field

FINAL = ("filled", "cancelled", "rejected", "expired", "refused")
STOPS = ("stop", "stop_limit", "trailing")


@dataclass(eq=False)
class Order:
    """One order, for the whole run."""

    number: int
    instrument: int
    side: int
    kind: str  # "market", "limit", or one of STOPS
    tif: str
    price: int  # its limit, 0: none
    size: int
    post_only: bool
    reduce_only: bool
    stop: int = 0  # what triggers it; of one that trails 0 until a price makes it
    trail: int = 0
    expires: int = 0  # in the venue's time, 0: never
    parent: int = 0  # number of its bracket's entry
    group: int = 0  # number of the first of a pair
    # at the venue
    at_venue: str = "travelling"  # then "held", "waiting", "armed", "working", "resting", "done"
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
    accepted: bool = False
    triggered: bool = False
    partner: Order | None = None  # they cancel each other
    children: list[Order] = field(default_factory=list)  # of a bracket's entry
    entry: Order | None = None  # of a bracket's child
    allowance: int = 0  # what the entry has filled, as far as a child has been told
    entry_over: bool = False
    reduced: bool = False  # by its partner's fill, which has not been reported
    # as heard
    state: str = "submitted"
    filled: int = 0
    known_size: int = 0  # size, limit and stop as the last report gave them
    known_price: int = 0
    known_stop: int = 0
    lock: int = 0
    counted: int = 0
    refused: bool = False
    amendments: int = 0  # on their way
    asked_size: int = 0  # the largest that they ask for

    def __post_init__(self) -> None:
        self.known_size, self.known_price, self.known_stop = self.size, self.price, self.stop

    @property
    def open(self) -> int:
        """What the venue has not filled."""
        return self.size - self.done

    @property
    def limited(self) -> bool:
        """Whether its price is a limit."""
        return self.kind in ("limit", "stop_limit")

    @property
    def is_stop(self) -> bool:
        """Whether it waits for a trigger."""
        return self.kind in STOPS

    @property
    def linked(self) -> bool:
        """Whether others follow what becomes of it."""
        return self.partner is not None or bool(self.children)

    @property
    def is_second(self) -> bool:
        """Of a pair that cancel each other: whether the first of them counts for both."""
        return bool(self.group) and self.group != self.number
