"""Orders in compiled code: each call of ctx as the interpreted context has it, by the same operations."""

from __future__ import annotations

import ast

from engine.execution.orders import OrderKind, TimeInForce
from engine.model.errors import UsageError
from engine.strategy.compiled.calls import Calls
from engine.strategy.compiled.core import Value
from engine.strategy.compiled.kinds import INSTRUMENT, INT, NONE, WORD, Maybe
from engine.strategy.orders import time_in_force

_MARKET, _LIMIT, _STOP = int(OrderKind.MARKET), int(OrderKind.LIMIT), int(OrderKind.STOP)
_STOP_LIMIT, _TRAILING = int(OrderKind.STOP_LIMIT), int(OrderKind.TRAILING)
_IOC = int(TimeInForce.IOC)
_NAN = "0x7FF8000000000000"  # a stop without a limit
NO_ROOM = "no room"  # the error of a site where the runner knows what went wrong


class Orders(Calls):
    """Calls of ctx that send something."""

    def _which(self, value: Value, node: ast.AST) -> str:
        """The index of an instrument that is given to ctx."""
        value = self.certain(value, node, "AttributeError", "'NoneType' object has no attribute 'index'")
        if value.kind == WORD:
            self.refuse(
                node, "an instrument by its name", "look it up in on_start: self.btc = ctx.instrument(...)"
            )
        if value.kind != INSTRUMENT:
            self.refuse(node, f"a {value.kind.name} where an instrument is needed")
        return value.parts[0]

    def _which_or_all(self, value: Value, node: ast.AST) -> str:
        """The index of an instrument, -1 for None."""
        if value.kind == NONE:
            return "-1"
        if isinstance(value.kind, Maybe) and value.kind.inner == INSTRUMENT:
            return self.select(value.parts[0], "i64", value.parts[1], "-1")
        return self._which(value, node)

    def _answered(self, answer: str, node: ast.AST) -> str:
        self.fail_if(self.make(f"icmp slt i64 {answer}, 0"), node, NO_ROOM, "")
        return answer

    def _price(self, value: Value, node: ast.AST) -> tuple[str, str]:
        """A bit that is set when there is a price, and the price."""
        if value.kind == NONE:
            return "false", "0.0"
        if isinstance(value.kind, Maybe):
            inner = Value(value.kind.inner, value.parts[1:])
            price = self.number(inner, node)
            return value.parts[0], self.select(value.parts[0], "double", price, "0.0")
        return "true", self.number(value, node)

    def _ctx_market(self, node: ast.Call) -> Value:
        who, size = self.given(node, (("instrument", ...), ("size", ...)))
        return self._order(node, who, size, "0.0", str(_MARKET), _IOC, "0")

    def _ctx_limit(self, node: ast.Call) -> Value:
        who, size, price, tif, post, reduce, until = self.given(
            node,
            (
                ("instrument", ...),
                ("size", ...),
                ("price", ...),
                ("tif", "gtc"),
                ("post_only", False),
                ("reduce_only", False),
                ("until", None),
            ),
        )
        code, expires = self._time_in_force("limit", tif, until, node)
        bits = [self.make(f"zext i1 {self.truth(value, node)} to i64") for value in (post, reduce)]
        options = self.make(f"or i64 {bits[0]}, {self.make(f'shl i64 {bits[1]}, 1')}")
        limit = self.number(price, node)
        if expires == "0":
            return self._order(node, who, size, limit, str(_LIMIT), code, options)
        numbers = (self.number(size, node), limit, "0.0", "0.0")
        return self._order_with(node, who, numbers, str(_LIMIT), code, options, expires)

    def _time_in_force(self, call: str, tif: Value, until: Value, node: ast.AST) -> tuple[int, str]:
        """The code, and the time until which it lasts."""
        if not isinstance(tif.known, str):
            self.refuse(node, f"{call}(tif=...) that is not written out", 'write it as a text: tif="ioc"')
        there = until.kind != NONE
        try:
            code, _ = time_in_force(call, tif.known, 1 if there else None)
        except UsageError as error:
            self.refuse(node, error.message, error.hint)
        return code, self.whole(until, node) if there else "0"

    def _order(
        self, node: ast.Call, who: Value, size: Value, price: str, kind: str, tif: int, options: str
    ) -> Value:
        number = self.operation(
            "order",
            f"i64 {self._which(who, node)}",
            f"double {self.number(size, node)}",
            f"double {price}",
            f"i64 {kind}",
            f"i64 {tif}",
            f"i64 {options}",
        )
        return Value(INT, (self._answered(number, node),))

    def _order_with(
        self,
        node: ast.Call,
        who: Value,
        numbers: tuple[str, str, str, str],  # size, limit, stop, distance
        kind: str,
        tif: int,
        options: str,
        expires: str,
    ) -> Value:
        size, price, stop, distance = numbers
        number = self.operation(
            "order_with",
            f"i64 {self._which(who, node)}",
            f"double {size}",
            f"double {price}",
            f"i64 {kind}",
            f"i64 {tif}",
            f"i64 {options}",
            f"double {stop}",
            f"double {distance}",
            f"i64 {expires}",
        )
        return Value(INT, (self._answered(number, node),))

    def _reduce_only(self, value: Value, node: ast.AST) -> str:
        return self.make(f"shl i64 {self.make(f'zext i1 {self.truth(value, node)} to i64')}, 1")

    def _ctx_stop(self, node: ast.Call) -> Value:
        who, size, stop, limit, tif, reduce, until = self.given(
            node,
            (
                ("instrument", ...),
                ("size", ...),
                ("stop", ...),
                ("limit", None),
                ("tif", "gtc"),
                ("reduce_only", False),
                ("until", None),
            ),
        )
        code, expires = self._time_in_force("stop", tif, until, node)
        there, price = self._price(limit, node)
        kind = self.select(there, "i64", str(_STOP_LIMIT), str(_STOP))
        options = self._reduce_only(reduce, node)
        numbers = (self.number(size, node), price, self.number(stop, node), "0.0")
        return self._order_with(node, who, numbers, kind, code, options, expires)

    def _ctx_trail(self, node: ast.Call) -> Value:
        who, size, distance, stop, tif, reduce, until = self.given(
            node,
            (
                ("instrument", ...),
                ("size", ...),
                ("distance", ...),
                ("stop", None),
                ("tif", "gtc"),
                ("reduce_only", False),
                ("until", None),
            ),
        )
        code, expires = self._time_in_force("trail", tif, until, node)
        _, first = self._price(stop, node)
        options = self._reduce_only(reduce, node)
        numbers = (self.number(size, node), "0.0", first, self.number(distance, node))
        return self._order_with(node, who, numbers, str(_TRAILING), code, options, expires)

    def _or_nan(self, value: Value, node: ast.AST) -> str:
        there, price = self._price(value, node)
        return price if there == "true" else self.select(there, "double", price, _NAN)

    def _numbers(self, first: str, count: int) -> Value:
        """The numbers of orders that were sent together."""
        numbers = [first, *(self.make(f"add i64 {first}, {i}") for i in range(1, count))]
        return self.tuple_of([Value(INT, (number,)) for number in numbers])

    def _ctx_oco(self, node: ast.Call) -> Value:
        who, size, price, stop, limit, tif, until = self.given(
            node,
            (
                ("instrument", ...),
                ("size", ...),
                ("price", ...),
                ("stop", ...),
                ("limit", None),
                ("tif", "gtc"),
                ("until", None),
            ),
        )
        code, expires = self._time_in_force("oco", tif, until, node)
        number = self.operation(
            "pair",
            f"i64 {self._which(who, node)}",
            *(f"double {self.number(value, node)}" for value in (size, price, stop)),
            f"double {self._or_nan(limit, node)}",
            f"i64 {code}",
            "i64 0",
            f"i64 {expires}",
        )
        return self._numbers(self._answered(number, node), 2)

    def _ctx_bracket(self, node: ast.Call) -> Value:
        who, size, price, target, stop, limit, tif, until = self.given(
            node,
            (
                ("instrument", ...),
                ("size", ...),
                ("price", ...),
                ("target", ...),
                ("stop", ...),
                ("limit", None),
                ("tif", "gtc"),
                ("until", None),
            ),
        )
        code, expires = self._time_in_force("bracket", tif, until, node)
        there, entry = self._price(price, node)
        kind = str(_LIMIT) if there == "true" else self.select(there, "i64", str(_LIMIT), str(_MARKET))
        number = self.operation(
            "bracket",
            f"i64 {self._which(who, node)}",
            f"double {self.number(size, node)}",
            f"double {entry}",
            f"i64 {kind}",
            f"i64 {code}",
            "i64 0",
            f"i64 {expires}",
            *(f"double {self.number(value, node)}" for value in (target, stop)),
            f"double {self._or_nan(limit, node)}",
        )
        return self._numbers(self._answered(number, node), 3)

    def _ctx_amend(self, node: ast.Call) -> Value:
        order, *values = self.given(node, (("order", ...), ("size", None), ("price", None), ("stop", None)))
        number = self.whole(order, node)
        numbers, given = [], "0"
        for i, value in enumerate(values):
            there, number_of = self._price(value, node)
            numbers.append(f"double {number_of}")
            given = self.make(f"or i64 {given}, {self.select(there, 'i64', str(1 << i), '0')}")
        answer = self._answered(self.operation("amend", f"i64 {number}", *numbers, f"i64 {given}"), node)
        self._known(answer, "amend", number, node)
        return Value(NONE)

    def _known(self, answer: str, call: str, number: str, node: ast.AST) -> None:
        self.fail_if(
            self.make(f"icmp ne i64 {answer}, 0"),
            node,
            "UsageError",
            call + "({a}): no such order\nhint: order calls return the number",
            "i",
            number,
        )

    def _ctx_cancel(self, node: ast.Call) -> Value:
        (order,) = self.given(node, (("order", ...),))
        number = self.whole(order, node)
        answer = self._answered(self.operation("cancel", f"i64 {number}"), node)
        self._known(answer, "cancel", number, node)
        return Value(NONE)

    def _ctx_cancel_all(self, node: ast.Call) -> Value:
        (who,) = self.given(node, (("instrument", None),))
        self._answered(self.operation("cancel_all", f"i64 {self._which_or_all(who, node)}"), node)
        return Value(NONE)

    def _ctx_target(self, node: ast.Call) -> Value:
        who, size, price = self.given(node, (("instrument", ...), ("size", ...), ("price", None)))
        index, wanted = self._which(who, node), self.number(size, node)
        there, limit = self._price(price, node)
        priced = self.make(f"zext i1 {there} to i64")
        answer = self.operation("aim", f"i64 {index}", f"double {wanted}", f"double {limit}", f"i64 {priced}")
        self._answered(answer, node)
        return Value(NONE)
