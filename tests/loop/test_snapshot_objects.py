"""What a strategy may hold: written, read into a fresh strategy, and written again to the same bytes."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest

import engine
from engine.log.snapshots import Snapshot
from engine.loop.snapshots.again import fill
from engine.loop.snapshots.objects import Unfit, strategy_bytes
from engine.loop.snapshots.resuming import Resume
from engine.loop.snapshots.taking import outside_changed, outside_of
from engine.model.errors import InputError, StrategyError
from engine.model.instruments import Instrument
from engine.strategy.api import Strategy, Trade

BTC = Instrument(0, "BTCUSDT.binance", "BTCUSDT", "binance", 2, 5, 1, 1)
Pair = namedtuple("Pair", "left right")  # noqa: PYI024  as authors write it


class Colour(Enum):
    """Two of them."""

    RED = 1
    BLUE = 2


@dataclass
class Bag:
    """Things by name."""

    things: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Point:
    """Cannot be changed."""

    x: int
    y: int


class Slotted:
    """Fields without a dict."""

    __slots__ = ("empty", "value")

    def __init__(self, value: float) -> None:
        self.value = value


def double(value: float) -> float:
    """A function of the module."""
    return 2 * value


class Mine(Strategy):
    """Holds what it is given."""

    size: float = 0.5

    def __init__(self) -> None:
        super().__init__()
        self.held: Any = None
        self.calls = 0

    def on_trade(self, _ctx: Any, _trade: Any) -> None:
        """Counts."""
        self.calls += 1


def again(held: Any, *, fresh: Any = None) -> Any:
    """Write a strategy that holds this, read it into a fresh one, compare what both are written as."""
    one, other = Mine(), Mine()
    one.held, other.held = held, fresh
    content = strategy_bytes(one, [BTC])
    fill(other, content, [BTC], None)
    assert strategy_bytes(other, [BTC]) == content
    return other.held


def averages() -> engine.Ema:
    """An indicator that has seen something."""
    ema = engine.Ema(3)
    for value in (1.0, 2.0, 4.0):
        ema.update(value)
    return ema


VALUES: list[Any] = [
    None,
    True,
    -(2**63),
    2**70,
    0.1,
    math.inf,
    "text",
    b"bytes",
    bytearray(b"more"),
    (1, "a", (2.5, None)),
    [1, 2.5, "x", [None]],
    {"b": 1, "a": {2: "c"}, (1, 2): 3.5},
    {3, 1, 2},
    frozenset({"b", "a"}),
    deque([1.0, 2.0], maxlen=2),
    defaultdict(list, {"a": [1]}),
    OrderedDict([("z", 1), ("a", 2)]),
    Counter("abca"),
    Pair(1, [2]),
    Colour.BLUE,
    Point(1, 2),
    Decimal("1.50"),
    Fraction(1, 3),
    date(2024, 6, 1),
    datetime(2024, 6, 1, 12, tzinfo=UTC),
    timedelta(seconds=1.5),
    np.float64(0.1),
    np.int32(-7),
    BTC,
    Trade(BTC, 1.5, 2.0, 1, 7, None, 9, 0),
    double,
    math.sqrt,
    Bag,
    int,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back(value: Any) -> None:
    """Of the same type, and equal."""
    found = again(value)
    assert type(found) is type(value)
    assert found == value
    if isinstance(value, dict):
        assert list(found) == list(value), "a dict keeps its order"


def test_a_nan_and_the_sign_of_zero_come_back() -> None:
    """Floats are kept by their bits."""
    nan, zero = again([math.nan, -0.0])
    assert math.isnan(nan)
    assert math.copysign(1.0, zero) == -1.0


@pytest.mark.parametrize("dtype", ["f8", "i4", "?", [("price", "<f8"), ("count", "<i8")]], ids=str)
def test_an_array_comes_back(dtype: Any) -> None:
    """With its type and shape; a structured one as well."""
    array = np.zeros((3, 2), dtype)
    array.flat[2] = 1 if not isinstance(dtype, list) else (1.5, 3)
    found = again(array)
    assert found.dtype == array.dtype
    assert found.shape == (3, 2)
    assert found.tobytes() == array.tobytes()


def test_an_indicator_goes_on_where_it_was() -> None:
    """The next value is that of the one that was kept."""
    ema = averages()
    found = again(ema)
    assert found.update(8.0) == ema.update(8.0)


def test_objects_come_back_with_their_fields() -> None:
    """Dataclasses and classes with slots, an empty slot included."""
    assert again(Bag({"a": 1.0})) == Bag({"a": 1.0})
    found = again(Slotted(2.5))
    assert found.value == 2.5
    assert not hasattr(found, "empty")


def test_two_fields_that_hold_one_list_hold_one_list_again() -> None:
    """So do an object that holds itself and a method of the strategy."""
    shared: list[Any] = [1]
    shared.append(shared)
    first, second = again((shared, {"same": shared}))
    assert first is second["same"]
    assert first[1] is first

    one, other = Mine(), Mine()
    one.held = [one, one.on_trade]
    fill(other, strategy_bytes(one, []), [], None)
    assert other.held[0] is other
    other.held[1](None, None)
    assert other.calls == 1


def test_what_is_there_is_filled_and_not_replaced() -> None:
    """Compiled code and other fields may hold the very same list, array or object."""
    fresh: list[Any] = [[0.0], np.zeros(2), Bag(), {"a": Bag()}]
    parts = [fresh[0], fresh[1], fresh[2], fresh[3]["a"]]
    found = again([[1.0], np.ones(2), Bag({"b": 2.0}), {"a": Bag({"c": 3.0})}], fresh=fresh)
    assert found is fresh
    assert [found[0], found[2], found[3]["a"]] == [[1.0], Bag({"b": 2.0}), Bag({"c": 3.0})]
    assert all(a is b for a, b in zip(parts, [found[0], found[1], found[2], found[3]["a"]], strict=True))


def test_one_object_is_not_filled_twice() -> None:
    """A fresh strategy holds one list twice, the kept one held two."""
    one = [0]
    first, second = again([[1], [2]], fresh=[one, one])
    assert (first, second) == ([1], [2])


def test_equal_sets_and_fields_set_in_another_order_give_the_same_bytes() -> None:
    """What has no order that counts is sorted; what has one keeps it."""
    one, other = Mine(), Mine()
    one.held, one.calls = {"a", "b", "c", "d"}, 3
    other.calls = 3
    other.held = {"d", "c", "b", "a"}
    assert strategy_bytes(one, []) == strategy_bytes(other, [])
    one.held, other.held = {"a": 1, "b": 2}, {"b": 2, "a": 1}
    assert strategy_bytes(one, []) != strategy_bytes(other, [])


def generator() -> Iterator[int]:
    """Yields one."""
    yield 1


def views() -> list[Any]:
    """An array and a part of it."""
    whole = np.zeros(4)
    return [whole, whole[1:]]


UNFIT: list[tuple[Callable[[], Any], str]] = [
    (generator, "self.held is a generator"),
    (lambda: iter([1]), "self.held is a list_iterator"),
    (lambda: {"a": [lambda: 1]}, "self.held['a'][0] is a function <lambda>"),
    (lambda: math, "self.held is a module"),
    (lambda: [1].append, "self.held is a function append"),
    (lambda: {Slotted(1.0)}, "self.held is a set of objects, which has no order"),
    (lambda: np.array([None]), "self.held is an array of objects"),
    (views, "self.held[1] shares its memory with self.held[0]"),
]


@pytest.mark.parametrize(("make", "message"), UNFIT, ids=[message for _, message in UNFIT])
def test_what_cannot_be_kept_is_named(make: Callable[[], Any], message: str) -> None:
    """The field and what it holds, in words."""
    strategy = Mine()
    strategy.held = make()
    with pytest.raises(Unfit, match="self") as caught:
        strategy_bytes(strategy, [])
    assert str(caught.value) == message


def test_a_former_definition_stays_what_it_was() -> None:
    """What a strategy keeps of an instrument says the increments of when it was kept."""
    former = msgspec.structs.replace(BTC, tick=5)
    assert again(former).tick == 5
    assert again(BTC) is BTC


class Own(Strategy):
    """Says itself what its state is."""

    def __init__(self) -> None:
        super().__init__()
        self.iterator = iter(range(10))
        self.taken = 0

    def on_trade(self, _ctx: Any, _trade: Any) -> None:
        """Takes one."""
        self.taken += 1
        next(self.iterator)

    def snapshot(self) -> dict[str, Any]:
        """How many were taken."""
        return {"taken": self.taken}

    def restore(self, state: dict[str, Any]) -> None:
        """Take as many."""
        for _ in range(state["taken"]):
            self.on_trade(None, None)


def test_a_strategy_may_keep_its_state_itself() -> None:
    """snapshot() is written, restore() gets it."""
    one, other = Own(), Own()
    for _ in range(4):
        one.on_trade(None, None)
    fill(other, strategy_bytes(one, []), [], None)
    assert (other.taken, next(other.iterator)) == (4, 4)


def test_a_restore_that_fails_says_where() -> None:
    """The author's own error, in one sentence."""
    one, other = Own(), Own()
    one.taken = 99
    with pytest.raises(StrategyError, match=r"^restore\(\) failed: StopIteration: "):
        fill(other, strategy_bytes(one, []), [], None)


class Counting(Strategy):
    """Counts on the class, where no snapshot looks."""

    seen = [0]  # noqa: RUF012  what it is about

    def on_trade(self, _ctx: Any, _trade: Any) -> None:
        """Counts."""
        type(self).seen[0] += 1


def test_state_outside_of_the_instance_is_noticed() -> None:
    """A list of the class that has changed since the run began is named."""
    strategy = Counting()
    before = outside_of(strategy)
    assert not outside_changed(strategy, before)
    strategy.on_trade(None, None)
    assert outside_changed(strategy, before).startswith("Counting.seen, which stands outside of the instance")


def test_a_snapshot_of_other_fields_is_refused() -> None:
    """An engine that keeps more, or less, does not guess."""
    rest = msgspec.msgpack.encode({"layout": "another"})
    kept = Snapshot(0, 0, 0, 0, False, "", "", "", b"", b"", b"", rest, b"")
    with pytest.raises(InputError, match="by an engine that keeps other fields"):
        Resume(kept).put_back(None)  # type: ignore[arg-type]  # it does not come to a runner
