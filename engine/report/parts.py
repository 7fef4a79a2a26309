"""Two states in words: what one has and the other has not, "left / right", in units that people read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from engine.execution.money import MONEY_DECIMALS
from engine.execution.state import ITEM_CHARGE, ITEM_TIMER
from engine.loop.snapshots.displayed import DISPLAYED
from engine.loop.snapshots.sides import LEVELS
from engine.market.book import HIGHEST_KEY, UNKNOWN
from engine.model.units import NULL_TIME, format_time, trim_decimal

_PRICES = {
    *("price", "last_price", "quote_bid", "quote_ask", "stop", "venue_stop", "trail", "mark"),
    *("known_price", "open", "high", "low", "close"),
}
_SIZES = {
    *("size", "venue_size", "venue_filled", "filled", "front", "counted", "total", "position", "consumed"),
    *("venue_position", "open_buy", "open_sell", "quote_bid_size", "quote_ask_size", "allowance"),
    *("asked_size", "ahead", "matched", "volume"),
}
_MONEY = {
    *("cash", "venue_cash", "locked", "venue_locked", "fees", "fee", "notional", "turnover"),
    *("fee_base", "venue_fee_base"),
}
_TIMES = {
    *("now", "due", "next_sample", "last_arrival", "last_heard", "instant", "depth_ts_venue", "time"),
    *("expires", "failed_at", "unfit_at", "since", "joined_stamp", "matched_stamp", "start", "end"),
}
_SIDES = ("bids", "asks", "bids that the strategy sees", "asks that the strategy sees")
_LEVELS_SHOWN = 3
_NONE = "(none)"

Decimals = tuple[int, int]  # of price and size


def engine_parts(left: bytes, right: bytes) -> list[str]:
    """What differs between two states of the engine, a line each."""
    return list(_engine(msgspec.msgpack.decode(left), msgspec.msgpack.decode(right)))


def _engine(a: dict[str, Any], b: dict[str, Any]) -> Iterator[str]:
    decimals: dict[str, Decimals] = {}
    sides = []
    for tree in (a, b):
        by_key = {one["definition"]["key"]: one for one in tree["instruments"]}
        for key, one in by_key.items():
            decimals[key] = one["definition"]["price_decimals"], one["definition"]["size_decimals"]
        sides.append(by_key)
    yield from _fields("", a["loop"], b["loop"])
    for name in _either(a["assets"], b["assets"]):
        yield from _fields(name, a["assets"].get(name), b["assets"].get(name))
    for key in _either(*sides):
        yield from _instrument(key, sides[0].get(key), sides[1].get(key), decimals[key])
    orders = [{order["number"]: order for order in tree["orders"]} for tree in (a, b)]
    for number in _either(*orders):
        left, right = orders[0].get(number), orders[1].get(number)
        units = decimals[(left or right or {})["instrument"]]
        yield from _fields(f"order {number}", left, right, units)
    yield from _agenda(a["agenda"], b["agenda"])
    timers = [{timer["number"]: timer for timer in tree["timers"]} for tree in (a, b)]
    for number in _either(*timers):
        left, right = timers[0].get(number), timers[1].get(number)
        yield from _fields(f'timer "{(left or right or {})["name"]}"', left, right)
    yield from _fields("fees of", a["fee_tables"], b["fee_tables"])
    series = [{f"bars {one['every']} of {one['instrument']}": one for one in tree["bars"]} for tree in (a, b)]
    for name in _either(*series):
        left, right = series[0].get(name), series[1].get(name)
        yield from _fields(name, left, right, decimals[(left or right or {})["instrument"]])
    for name in ("refusals", "follows", "sessions", "charges", "ledger", "rows", "venues"):
        yield from _fields(name, a.get(name), b.get(name))


def _instrument(key: str, a: Any, b: Any, units: Decimals) -> Iterator[str]:
    if a is None or b is None:
        yield f"{key}: {'only the right run' if a is None else 'only the left run'} has it"
        return
    apart = ("sides", "markets", "target", "definition", "displayed")
    yield from _fields(f"{key} definition", a["definition"], b["definition"])
    left, right = ({n: v for n, v in one.items() if n not in apart} for one in (a, b))
    yield from _fields(key, left, right, units)
    for number, (left, right) in enumerate(zip(a["markets"], b["markets"], strict=False)):
        seen = " that the strategy sees" if number else ""
        yield from _fields(f"{key} market{seen}", left, right, units)
    yield from _fields(f"{key} target", a["target"], b["target"], units)
    for name, left, right in zip(_SIDES, a["sides"], b["sides"], strict=False):
        yield from _side(f"{key} {name}", left, right, units)
    for number, (left, right) in enumerate(zip(a["displayed"], b["displayed"], strict=False)):
        seen = " that the strategy sees" if number else ""
        yield from _displayed(f"{key} displayed orders{seen}", left, right, units)


def _displayed(name: str, a: dict[str, Any], b: dict[str, Any], units: Decimals) -> Iterator[str]:
    """The orders of a book by order, by their ids, those that came first before the others."""
    orders = [{order["id"]: order for order in _records(table["orders"])} for table in (a, b)]
    ids = _either(*orders)
    different = [number for number in ids if orders[0].get(number) != orders[1].get(number)]
    if different:
        shown = "; ".join(
            f"{number % 2**64}: " + " / ".join(_order(side.get(number), units) for side in orders)
            for number in different[:_LEVELS_SHOWN]
        )
        count = len(different)
        yield f"{name}: {count} {'differ' if count > 1 else 'differs'}, {shown}" + (
            "; …" if count > _LEVELS_SHOWN else ""
        )
    left, right = ({n: v for n, v in table.items() if n != "orders"} for table in (a, b))
    yield from _fields(name, left, right)


def _records(content: bytes) -> list[dict[str, int]]:
    names = DISPLAYED.names or ()
    return [dict(zip(names, values, strict=True)) for values in np.frombuffer(content, DISPLAYED).tolist()]


def _order(order: dict[str, int] | None, units: Decimals) -> str:
    if order is None:
        return _NONE
    price, size = trim_decimal(abs(order["key"]), units[0]), trim_decimal(order["size"], units[1])
    return f"{'bid' if order['sign'] > 0 else 'ask'} {size} at {price}, place {order['arrival']}"


def _side(name: str, a: dict[str, Any], b: dict[str, Any], units: Decimals) -> Iterator[str]:
    levels = [dict(np.frombuffer(side["levels"], LEVELS).tolist()) for side in (a, b)]
    different = [key for key in sorted({*levels[0], *levels[1]}) if levels[0].get(key) != levels[1].get(key)]
    if different:
        best = different[: -_LEVELS_SHOWN - 1 : -1]
        shown = "; ".join(
            f"{trim_decimal(abs(key), units[0])}: "
            + " / ".join(_level(side.get(key), units[1]) for side in levels)
            for key in best
        )
        count = len(different)
        yield f"{name}: {count} level{'s differ' if count > 1 else ' differs'}, {shown}" + (
            "; …" if count > len(best) else ""
        )
    notes = [{note["key"]: note for note in side["notes"]} for side in (a, b)]
    for key in _either(*notes):
        where = f"{name} at {trim_decimal(abs(key), units[0])}"
        left, right = (side.get(key, {"orders": [], "consumed": 0, "key": key}) for side in notes)
        yield from _fields(where, left, right, units)
    for field in sorted(set(a) - {"levels", "notes"}):
        if a[field] != b[field]:
            shown = " / ".join(
                trim_decimal(abs(one[field]), units[0]) if abs(one[field]) < HIGHEST_KEY else _NONE
                for one in (a, b)
            )
            yield f"{name} {field.replace('_', ' ')}: {shown}"


def _level(size: int | None, decimals: int) -> str:
    return _NONE if size is None else "unknown" if size == UNKNOWN else trim_decimal(size, decimals)


def _agenda(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> Iterator[str]:
    sides = [{item["creation"]: item for item in agenda} for agenda in (a, b)]
    for creation in _either(*sides):
        left, right = sides[0].get(creation), sides[1].get(creation)
        item = left or right or {}
        about = {ITEM_TIMER: f"timer {item['id']}", ITEM_CHARGE: "a charge"}.get(
            item["kind"], f"order {item['order']}"
        )
        yield from _fields(f"agenda, {about}, due {format_time(item['due'])}", left, right)


def _fields(where: str, a: Any, b: Any, units: Decimals | None = None) -> Iterator[str]:
    """The entries of two dicts that differ; a dict that is None is not there."""
    if a == b:
        return
    if a is None or b is None:
        yield f"{where}: {'only the right run' if a is None else 'only the left run'} has it"
        return
    if not isinstance(a, dict) or not isinstance(b, dict):
        yield f"{where}: {a} / {b}"
        return
    for name in _either(a, b):
        left, right = a.get(name), b.get(name)
        if left == right:
            continue
        words = f"{where} {str(name).replace('_', ' ')}".strip()
        if isinstance(left, dict) and isinstance(right, dict):
            yield from _fields(words, left, right, units)
        else:
            yield f"{words}: {_value(str(name), left, units)} / {_value(str(name), right, units)}"


def _value(name: str, value: Any, units: Decimals | None) -> str:
    if value is None or not isinstance(value, int) or isinstance(value, bool):
        return _NONE if value is None else str(value)
    if name in _MONEY:
        return trim_decimal(value, MONEY_DECIMALS)
    if name in _TIMES and 0 < value < 2**62:
        return format_time(value)
    if units is not None and name in _PRICES:
        return trim_decimal(value, units[0])
    if units is not None and name in _SIZES:
        return trim_decimal(value, units[1])
    return _NONE if value == NULL_TIME else str(value)


def _either(a: dict[Any, Any], b: dict[Any, Any]) -> list[Any]:
    return [*a, *(name for name in b if name not in a)]


def strategy_parts(left: bytes, right: bytes) -> list[str]:
    """What differs between two strategies' fields, a line each."""
    sides = []
    for content in (left, right):
        found: dict[str, str] = {}
        kind, form = msgspec.msgpack.decode(content)
        _flatten(form, "self" if kind == "fields" else "snapshot()", found)
        sides.append(found)
    return [
        f"{name}: {sides[0].get(name, _NONE)} / {sides[1].get(name, _NONE)}"
        for name in _either(*sides)
        if sides[0].get(name) != sides[1].get(name)
    ]


def _flatten(form: Any, where: str, found: dict[str, str]) -> None:  # noqa: C901  one branch a form
    """A form's values by the place that holds them, as a strategy's author would write it."""
    if not isinstance(form, list):
        found[where] = repr(form)
        return
    kind, *rest = form
    if kind in {"strategy", "object"}:
        for name, item in rest[-1]:
            _flatten(item, f"{where}.{name}", found)
    elif kind in {"list", "tuple", "set", "frozenset", "deque", "struct"}:
        found[f"len({where})"] = str(len(rest[-1]))
        for i, item in enumerate(rest[-1]):
            _flatten(item, f"{where}[{i}]", found)
    elif kind == "dict":
        found[f"len({where})"] = str(len(rest[0]))
        for key, item in rest[0]:
            _flatten(item, f"{where}[{_key(key)}]", found)
    elif kind == "array" and isinstance(rest[0], str):
        values = np.frombuffer(rest[2], np.dtype(rest[0])).tolist()
        found[f"{where}.shape"] = str(tuple(rest[1]))
        for i, value in enumerate(values):
            found[f"{where}[{i}]"] = repr(value)
    elif kind == "scalar" and isinstance(rest[0], str):
        found[where] = repr(np.frombuffer(rest[1], np.dtype(rest[0])).tolist()[0])
    else:
        found[where] = " ".join(map(str, form))


def _key(form: Any) -> str:
    found: dict[str, str] = {}
    _flatten(form, "", found)
    return ", ".join(value for name, value in found.items() if not name.startswith("len("))
