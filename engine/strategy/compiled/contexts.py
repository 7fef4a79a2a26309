"""`ctx` in compiled code: each method as the interpreted context has it, through the same operations."""

from __future__ import annotations

import ast
from typing import Any

from engine.config import parse_duration
from engine.execution.money import MONEY_DECIMALS
from engine.execution.state import ASSET
from engine.model.errors import UsageError
from engine.model.units import NULL_TIME
from engine.strategy.compiled.core import Value
from engine.strategy.compiled.kinds import (
    BOOK,
    BOOL,
    FLOAT,
    INSTRUMENT,
    INSTRUMENTS,
    INT,
    NONE,
    NP_BOOL,
    NP_FLOAT,
    NP_INT,
    ORDERS,
    PTR,
    QUOTE,
    REASON,
    WORD,
    ArrayKind,
    Kind,
    ListKind,
    Maybe,
    RowKind,
    Scalar,
    TupleKind,
)
from engine.strategy.compiled.orders import NO_ROOM, Orders
from engine.strategy.compiled.prelude import offset_of

_MONEY = 10**MONEY_DECIMALS
_LOGGED = {FLOAT: "f", INT: "i", BOOL: "b", WORD: "w", REASON: "w", INSTRUMENT: "n"}


class Contexts(Orders):
    """Calls of ctx."""

    def context_call(self, name: str, node: ast.Call) -> Value:
        """ctx.name(...)."""
        made: Value = getattr(self, f"_ctx_{name}")(node)
        return made

    def _ctx_orders(self, node: ast.Call) -> Value:
        (who,) = self.given(node, (("instrument", None),))
        only = self._which_or_all(who, node)
        return Value(ORDERS, (only, self.state("order_number"), self.state("decisions")))

    # --- what is known ---

    def _ctx_position(self, node: ast.Call) -> Value:
        (who,) = self.given(node, (("instrument", ...),))
        index = self._which(who, node)
        return self.decimal(self.instrument(index, "position"), index, "size_decimals")

    def _ctx_owned(self, node: ast.Call) -> Value:
        (who,) = self.given(node, (("instrument", ...),))
        index = self._which(who, node)
        return self.decimal(self.operation("owned", f"i64 {index}"), index, "size_decimals")

    def _ctx_cash(self, node: ast.Call) -> Value:
        self.given(node, ())
        fields = ASSET.fields
        assert fields is not None
        none = self.make(f"icmp eq i64 {self.state('asset_count')}, 0")
        base = self.select(none, "ptr", "%state", self.state("assets", PTR))
        cash = self.load("i64", self.at(base, int(fields["cash"][1])))
        amount = self.make(f"call double @int_divide(ptr %state, i64 {cash}, i64 {_MONEY})")
        return Value(FLOAT, (self.select(none, "double", "0.0", amount),))

    def _ctx_equity(self, node: ast.Call) -> Value:
        self.given(node, ())
        return Value(FLOAT, (self.operation("equity", result="double"),))

    def _ctx_quote(self, node: ast.Call) -> Value:
        (who,) = self.given(node, (("instrument", ...),))
        index = self._which(who, node)
        out = self.slot("[4 x i64]")
        for i in range(4):
            self.store("i64", "0", self.at(out, 8 * i))
        place = self.make(f"ptrtoint ptr {out} to i64")
        there = self.make(f"icmp ne i64 {self.operation('quote', f'i64 {index}', f'i64 {place}')}, 0")
        numbers = [self.load("i64", self.at(out, 8 * i)) for i in range(4)]
        return Value(Maybe(QUOTE), (there, index, *numbers, self.state("now"), str(NULL_TIME), "0", "0"))

    def _ctx_book(self, node: ast.Call) -> Value:
        who, depth = self.given(node, (("instrument", ...), ("depth", 10)))
        index, levels = self._which(who, node), self.whole(depth, node)
        there = self.operation("book", f"i64 {index}", f"i64 {levels}")
        return Value(Maybe(BOOK), (self.make(f"icmp ne i64 {there}, 0"), index, levels))

    def _ctx_last(self, node: ast.Call) -> Value:
        (who,) = self.given(node, (("instrument", ...),))
        index = self._which(who, node)
        mantissa = self.market(index, "last_price")
        price = self.decimal(mantissa, index, "price_decimals")
        return Value(Maybe(FLOAT), (self.make(f"icmp ne i64 {mantissa}, 0"), price.parts[0]))

    def _ctx_instrument(self, node: ast.Call) -> Value:
        self.refuse(node, "ctx.instrument()", "look it up in on_start: self.btc = ctx.instrument(...)")

    def _ctx_instruments(self, node: ast.Call) -> Value:
        self.refuse(node, "ctx.instruments()", "it is no method: ctx.instruments")

    _ctx_now = _ctx_random = _ctx_instruments

    def _ctx_bars(self, node: ast.Call) -> Value:
        self.refuse(node, "ctx.bars()", "ask for bars in on_start: self.minutes = ctx.bars(...)")

    # --- timers ---

    def _name(self, value: Value, node: ast.AST) -> str:
        if value.kind != WORD:
            self.refuse(node, f"a timer's name that is a {value.kind.name}", "give it a text")
        return value.parts[0]

    def _ctx_at(self, node: ast.Call) -> Value:
        ts, name = self.given(node, (("ts", ...), ("name", ...)))
        due = self.truncated(ts.parts[0], node) if ts.kind == FLOAT else self.whole(ts, node)
        word = self._name(name, node)
        self._answered(self.operation("add_timer", f"i64 {due}", "i64 0", f"i64 {word}"), node)
        return Value(NONE)

    def _ctx_every(self, node: ast.Call) -> Value:
        interval, name = self.given(node, (("interval", ...), ("name", ...)))
        word = self._name(name, node)
        if isinstance(interval.known, str):
            try:
                step = str(parse_duration(interval.known, "every"))
            except UsageError as error:
                self.refuse(node, error.message, error.hint)
        else:
            step = self.whole(interval, node)
        shown = repr(name.known) if name.known is not None else "..."
        value = repr(interval.known) if isinstance(interval.known, str) else "{a}"
        self.fail_if(
            self.make(f"icmp sle i64 {step}, 0"),
            node,
            "UsageError",
            f"every({value}, {shown}): the interval must be positive",
            "i",
            step,
        )
        due = self.checked("sadd", self.state("now"), step, node)
        self._answered(self.operation("add_timer", f"i64 {due}", f"i64 {step}", f"i64 {word}"), node)
        return Value(NONE)

    def _ctx_cancel_timer(self, node: ast.Call) -> Value:
        (name,) = self.given(node, (("name", ...),))
        self.operation("cancel_timer", f"i64 {self._name(name, node)}")
        return Value(NONE)

    # --- rounding ---

    def _ctx_round_price(self, node: ast.Call) -> Value:
        return self._rounded("round_price", "price", node)

    def _ctx_round_size(self, node: ast.Call) -> Value:
        return self._rounded("round_size", "size", node)

    def _rounded(self, operation: str, what: str, node: ast.Call) -> Value:
        who, value = self.given(node, (("instrument", ...), (what, ...)))
        index, number = self._which(who, node), self.number(value, node)
        rounded = self.operation(operation, f"i64 {index}", f"double {number}", result="double")
        endless = self.make(f"fcmp uno double {rounded}, 0.0")
        bits = self.make(f"bitcast double {number} to i64")
        message = f"{operation}: {{a}} has no valid {what} near it"
        self.fail_if(endless, node, "ValueError", message, "f", bits)
        return Value(FLOAT, (rounded,))

    # --- chance ---

    def random_call(self, name: str, node: ast.Call) -> Value:
        """ctx.random.name(...)."""
        if name == "random":
            self.given(node, ())
            return Value(FLOAT, (self.operation("random_float", result="double"),))
        if name == "normal":
            mean, deviation = self.given(node, (("mean", 0.0), ("deviation", 1.0)))
            numbers = [f"double {self.number(value, node)}" for value in (mean, deviation)]
            return Value(FLOAT, (self.operation("random_normal", *numbers, result="double"),))
        if name == "integers":
            low, high = self.given(node, (("low", ...), ("high", ...)))
            return Value(INT, (self._drawn(self.whole(low, node), self.whole(high, node), node),))
        if name == "choice":
            (items,) = self.given(node, (("items", ...),))
            sequences = ListKind | TupleKind | RowKind | ArrayKind
            if not isinstance(items.kind, sequences) and items.kind is not INSTRUMENTS:
                self.refuse(node, f"choice() of {items.kind.name}", "give a list or a tuple")
            return self.item(items, self._drawn("0", self.length(items, node), node), node)
        self.refuse(node, f"ctx.random has no {name}", "random, integers, choice, normal")

    def _drawn(self, low: str, high: str, node: ast.AST) -> str:
        empty = self.make(f"icmp sge i64 {low}, {high}")
        message = "integers({a}, {b}): no number is in there"
        self.fail_if(empty, node, "ValueError", message, "ii", low, high)
        return self.operation("random_integer", f"i64 {low}", f"i64 {high}")

    # --- words ---

    def _ctx_log(self, node: ast.Call) -> Value:
        if node.keywords:
            self.refuse(node, "ctx.log() with keywords")
        pieces: list[tuple[str, Any]] = []
        words: list[str] = []
        for i, argument in enumerate(node.args):
            if i:
                pieces.append(("text", " "))
            if isinstance(argument, ast.JoinedStr):
                for part in argument.values:
                    if isinstance(part, ast.Constant):
                        pieces.append(("text", str(part.value)))
                    else:
                        assert isinstance(part, ast.FormattedValue)
                        pieces.append(self._formatted(part, words))
            else:
                value = self.expression(argument)
                if isinstance(value.known, str):
                    pieces.append(("text", value.known))
                else:
                    pieces.append((self._logged(value, argument, words), ("", "")))
        out = self.slot(f"[{max(1, len(words))} x i64]")
        for i, word in enumerate(words):
            self.store("i64", word, self.at(out, 8 * i))
        number = self.program.log_site(tuple(pieces))
        function = self.load(PTR, self.at("%state", offset_of("log_line")))
        here = self.make("ptrtoint ptr %state to i64")
        place = self.make(f"ptrtoint ptr {out} to i64")
        status = self.make(f"call i64 {function}(i64 {here}, i64 {number}, i64 {place})")
        self.fail_if(self.make(f"icmp ne i64 {status}, 0"), node, NO_ROOM, "")
        return Value(NONE)

    def _formatted(self, part: ast.FormattedValue, words: list[str]) -> tuple[str, Any]:
        spec = ""
        if isinstance(part.format_spec, ast.JoinedStr):
            for piece in part.format_spec.values:
                if not isinstance(piece, ast.Constant):
                    self.refuse(part, "a computed format", "write the format out: {x:.2f}")
                spec += str(getattr(piece, "value", ""))
        conversion = chr(part.conversion) if part.conversion > 0 else ""
        value = self.expression(part.value)
        return self._logged(value, part, words), (spec, conversion)

    def _logged(self, value: Value, node: ast.AST, words: list[str]) -> str:
        """Hand a value over as whole words; the letters that say what it is."""
        kind: Kind = value.kind
        if kind == NONE:
            return "0"
        letter = ""
        parts = value.parts
        if isinstance(kind, Maybe):
            words.append(self.make(f"zext i1 {parts[0]} to i64"))
            letter, kind, parts = "?", kind.inner, parts[1:]
        plain = {NP_FLOAT: "F", NP_INT: "I", NP_BOOL: "B"}
        found = {**_LOGGED, **plain}.get(kind) if isinstance(kind, Scalar) else None
        if found is None:
            self.refuse(node, f"ctx.log() of a {kind.name}", "log its numbers")
        part = parts[0]
        if kind.parts[0] == "double":
            part = self.make(f"bitcast double {part} to i64")
        elif kind.parts[0] == "i1":
            part = self.make(f"zext i1 {part} to i64")
        words.append(part)
        return letter + found
