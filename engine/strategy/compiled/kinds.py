"""The kinds of value that compiled strategies know, and what each is in machine code.

Every kind is a fixed list of parts, LLVM values that travel together. Nothing is converted from one kind to
another unless Python would: what is a whole number stays one, and what may be None says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

I64, F64, BIT, PTR = "i64", "double", "i1", "ptr"


class Kind:
    """Base of all kinds. `name` is what Python calls it, for messages."""

    name: str

    @property
    def parts(self) -> tuple[str, ...]:
        """LLVM types of the parts."""
        return ()


@dataclass(frozen=True)
class Scalar(Kind):
    """One number, truth, text or instrument."""

    name: str
    part: str

    @property
    def parts(self) -> tuple[str, ...]:
        """The one."""
        return (self.part,)


INT = Scalar("int", I64)
FLOAT = Scalar("float", F64)
BOOL = Scalar("bool", BIT)
WORD = Scalar("str", I64)  # see engine.model.words
REASON = Scalar("reason of an update", I64)  # a Word, or UNKNOWN for the words of a refusal
INSTRUMENT = Scalar("Instrument", I64)  # its run-wide index
NP_FLOAT = Scalar("numpy.float64", F64)  # an array's element: NumPy's rules, not Python's
NP_INT = Scalar("numpy.int64", I64)
NP_BOOL = Scalar("numpy.bool", BIT)
STORED = (INT, FLOAT, BOOL, WORD, INSTRUMENT)  # what a field may hold


@dataclass(frozen=True)
class Nothing(Kind):
    """None, the context and other values without parts."""

    name: str


NONE = Nothing("NoneType")
CONTEXT = Nothing("Context")
RANDOM = Nothing("Random")
INSTRUMENTS = Nothing("tuple")  # ctx.instruments


@dataclass(frozen=True)
class Maybe(Kind):
    """A value that may be None: a bit, then the parts."""

    inner: Kind

    @property
    def name(self) -> str:  # type: ignore[override]
        """As annotated."""
        return f"{self.inner.name} | None"

    @property
    def parts(self) -> tuple[str, ...]:
        """The bit is set when there is a value."""
        return (BIT, *self.inner.parts)


@dataclass(frozen=True)
class TupleKind(Kind):
    """A tuple made in a handler, its items side by side."""

    items: tuple[Kind, ...]
    name: str = "tuple"

    @property
    def parts(self) -> tuple[str, ...]:
        """All items' parts."""
        return tuple(part for item in self.items for part in item.parts)


@dataclass(frozen=True)
class Struct(Kind):
    """An event or a view: integers side by side, from which attributes are made when they are read.

    `attributes` are name -> (part, how it is made); the first part is the instrument, if there is one.
    """

    name: str
    size: int
    attributes: tuple[tuple[str, int, str], ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """Whole numbers."""
        return (I64,) * self.size

    def attribute(self, name: str) -> tuple[int, str] | None:
        """Part and conversion of an attribute."""
        for known, part, how in self.attributes:
            if known == name:
                return part, how
        return None


@dataclass(frozen=True)
class Pointer(Kind):
    """Something that stands in the strategy's record, by its address."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The address."""
        return (PTR,)


@dataclass(frozen=True)
class ObjectKind(Pointer):
    """An object with fields, the strategy itself included."""

    shape: Shape

    @property
    def name(self) -> str:  # type: ignore[override]
        """Its class."""
        return self.shape.cls.__name__


@dataclass(frozen=True)
class ListKind(Pointer):
    """A list (or a tuple of one kind) of fixed length: the length, then the items, 8 bytes each."""

    item: Kind
    is_tuple: bool = False

    @property
    def name(self) -> str:  # type: ignore[override]
        """As Python calls it."""
        return "tuple" if self.is_tuple else "list"


@dataclass(frozen=True)
class RowKind(Pointer):
    """A tuple whose items differ in kind, 8 bytes each."""

    items: tuple[Kind, ...]
    name: str = "tuple"


@dataclass(frozen=True)
class ArrayKind(Pointer):
    """A NumPy array of one dimension: the length, then the items, 8 bytes each."""

    item: Scalar
    name: str = "numpy.ndarray"


@dataclass(frozen=True)
class DictKind(Pointer):
    """A dict by instrument with fixed keys.

    The number of keys, the number of places, the keys in order, then for each instrument's index a place
    that holds 1 + the position of its item (0: no such key), then the items.
    """

    item: Kind
    name: str = "dict"


@dataclass(frozen=True)
class OrdersKind(Kind):
    """`ctx.orders()`: instrument or -1, last number, decisions made, when it was asked for."""

    name: str = "tuple"

    @property
    def parts(self) -> tuple[str, ...]:
        """Three whole numbers."""
        return (I64, I64, I64)


@dataclass(frozen=True)
class BookKind(Kind):
    """`ctx.book()`: instrument and depth."""

    name: str = "Book"

    @property
    def parts(self) -> tuple[str, ...]:
        """Two whole numbers."""
        return (I64, I64)


@dataclass(frozen=True)
class LevelsKind(Kind):
    """`book.bids` or `book.asks`: instrument and depth."""

    sign: int
    name: str = "tuple"

    @property
    def parts(self) -> tuple[str, ...]:
        """Two whole numbers."""
        return (I64, I64)


@dataclass
class Field:
    """One field of an object: where it stands from the object's address, and what it holds.

    A scalar has two places: the value, and a bit that is set while it is not None (used only if `maybe`).
    Anything else has one, the distance of what it holds from the record's beginning.
    """

    name: str
    offset: int
    kind: Kind | None  # None: None so far, and nothing else has been seen
    maybe: bool = False
    refused: str = ""  # why compiled code may not use it

    def key(self) -> tuple[Any, ...]:
        """What makes two fields alike."""
        return (self.name, self.offset, self.kind, self.refused)


@dataclass(eq=False)
class Shape:
    """The fields of a class's objects; one for all objects of the class with the same kinds of field."""

    cls: type
    fields: dict[str, Field] = field(default_factory=dict)
    size: int = 0


BOOK, ORDERS = BookKind(), OrdersKind()

TRADE = Struct(
    "Trade",
    8,
    (
        ("instrument", 0, "instrument"),
        ("price", 1, "price"),
        ("size", 2, "size"),
        ("side", 3, "int"),
        ("ts", 4, "int"),
        ("ts_venue", 5, "time"),
        ("id", 6, "int"),
        ("flags", 7, "int"),
        ("late", 7, "late"),
    ),
)
QUOTE = Struct(
    "Quote",
    9,
    (
        ("instrument", 0, "instrument"),
        ("bid", 1, "price"),
        ("bid_size", 2, "size"),
        ("ask", 3, "price"),
        ("ask_size", 4, "size"),
        ("ts", 5, "int"),
        ("ts_venue", 6, "time"),
        ("id", 7, "int"),
        ("flags", 8, "int"),
        ("mid", 0, "mid"),
        ("spread", 0, "spread"),
    ),
)
BOOK_UPDATE = Struct(
    "BookUpdate",
    5,
    (
        ("instrument", 0, "instrument"),
        ("ts", 1, "int"),
        ("ts_venue", 2, "time"),
        ("id", 3, "int"),
        ("flags", 4, "int"),
        ("doubtful", 4, "doubtful"),
    ),
)
BAR = Struct(
    "Bar",
    12,
    (
        ("instrument", 0, "instrument"),
        ("start", 1, "int"),
        ("interval_ns", 2, "int"),
        ("open", 3, "price"),
        ("high", 4, "price"),
        ("low", 5, "price"),
        ("close", 6, "price"),
        ("volume", 7, "size"),
        ("trades", 8, "int"),
        ("ts", 9, "int"),
        ("flags", 10, "int"),
        ("series", 11, "int"),
        ("end", 0, "bar_end"),
        ("final", 10, "final"),
        ("revised", 10, "revised"),
    ),
)
FILL = Struct(
    "Fill",
    11,
    (
        ("instrument", 0, "instrument"),
        ("order", 1, "int"),
        ("side", 2, "int"),
        ("price", 3, "price"),
        ("size", 4, "size"),
        ("fee", 5, "money"),
        ("maker", 6, "bool"),
        ("reason", 7, "fill_reason"),
        ("position", 8, "size"),
        ("ts", 9, "int"),
        ("fee_in", 10, "fee_in"),
    ),
)
ORDER_UPDATE = Struct(
    "OrderUpdate",
    10,
    (
        ("instrument", 0, "instrument"),
        ("order", 1, "int"),
        ("state", 2, "update_state"),
        ("side", 3, "int"),
        ("size", 4, "size"),
        ("filled", 5, "size"),
        ("price", 6, "limit"),
        ("reason", 7, "update_reason"),
        ("ts", 8, "int"),
    ),
)
OPEN_ORDER = Struct(
    "OpenOrder",
    8,
    (
        ("instrument", 0, "instrument"),
        ("order", 1, "int"),
        ("side", 2, "int"),
        ("size", 3, "size"),
        ("filled", 4, "size"),
        ("price", 5, "limit"),
        ("stop", 6, "limit"),
        ("state", 7, "open_state"),
    ),
)
