"""Numbers and truths: Python's operators on the kinds that have them, each exactly or not at all."""

from __future__ import annotations

import ast

from engine.strategy.compiled.core import Code, Value
from engine.strategy.compiled.kinds import (
    BOOL,
    FLOAT,
    INSTRUMENT,
    INT,
    NONE,
    NP_BOOL,
    NP_FLOAT,
    NP_INT,
    REASON,
    WORD,
    DictKind,
    Kind,
    LevelsKind,
    ListKind,
    Maybe,
    ObjectKind,
    OrdersKind,
    Pointer,
    RowKind,
    Struct,
    TupleKind,
)

_SYMBOLS: dict[type, str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "** or pow()",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.MatMult: "@",
}
_COMPARISONS: dict[type, tuple[str, str]] = {
    ast.Lt: ("lt", "<"),
    ast.LtE: ("le", "<="),
    ast.Gt: ("gt", ">"),
    ast.GtE: ("ge", ">="),
    ast.Eq: ("eq", "=="),
    ast.NotEq: ("ne", "!="),
}
_OF_FLOATS = {"lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "eq": "oeq", "ne": "une"}
_OF_WHOLE = {"lt": "slt", "le": "sle", "gt": "sgt", "ge": "sge", "eq": "eq", "ne": "ne"}
_MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
_CHECKED = {"+": "sadd", "-": "ssub", "*": "smul"}
_OF_DOUBLES = {"+": "fadd", "-": "fsub", "*": "fmul"}
NUMBERS = (INT, FLOAT, BOOL)
_NUMPY = (NP_FLOAT, NP_INT, NP_BOOL)
TOO_LARGE = "a whole number that 64 bits do not hold"
_LARGEST_POWER = 64
_EXACT = 2**53


def _said(expression: str) -> str:
    """What this Python says when it evaluates an expression that fails."""
    try:
        eval(expression)  # noqa: S307  one of ours
    except ZeroDivisionError as error:
        return str(error)
    raise AssertionError(expression)


_ZERO_DIVISIONS = {
    ("/", "int"): _said("1 / 0"),
    ("/", "float"): _said("1.0 / 0.0"),
    ("//", "int"): _said("1 // 0"),
    ("//", "float"): _said("1.0 // 0.0"),
    ("%", "int"): _said("1 % 0"),
    ("%", "float"): _said("1.0 % 0.0"),
}


class Arithmetic(Code):
    """Operators."""

    # --- what may be None ---

    def certain(self, value: Value, node: ast.AST, error: str, message: str) -> Value:
        """The value without its None: that fails as Python does."""
        if not isinstance(value.kind, Maybe):
            return value
        self.fail_if(self.make(f"xor i1 {value.parts[0]}, true"), node, error, message)
        return Value(value.kind.inner, value.parts[1:])

    def operands(self, left: Value, right: Value, node: ast.AST, symbol: str) -> tuple[Value, Value]:
        """Both operands, certain; says what Python says when one is None."""

        def kind_of(value: Value, *, nothing: bool) -> str:
            kind = value.kind
            return "NoneType" if nothing else kind.inner.name if isinstance(kind, Maybe) else kind.name

        comparing = symbol in ("<", "<=", ">", ">=")
        for first in (True, False):
            value = left if first else right
            if value.kind == NONE or isinstance(value.kind, Maybe):
                a, b = kind_of(left, nothing=first), kind_of(right, nothing=not first)
                message = (
                    f"'{symbol}' not supported between instances of '{a}' and '{b}'"
                    if comparing
                    else f"unsupported operand type(s) for {symbol}: '{a}' and '{b}'"
                )
                if value.kind == NONE:
                    self.refuse(node, f"{symbol} with None: {message}", "it would always fail")
                value = self.certain(value, node, "TypeError", message)
                left, right = (value, right) if first else (left, value)
        return left, right

    # --- conversions ---

    def as_int(self, value: Value) -> str:
        """A whole number, or a truth as one."""
        if value.kind in (BOOL, NP_BOOL):
            return self.make(f"zext i1 {value.parts[0]} to i64")
        return value.parts[0]

    def as_float(self, value: Value) -> str:
        """A number as a float, as Python turns it into one."""
        if value.kind in (FLOAT, NP_FLOAT):
            return value.parts[0]
        if isinstance(value.known, int) and not isinstance(value.known, bool):
            return self.floating(float(value.known)).parts[0]
        return self.make(f"sitofp i64 {self.as_int(value)} to double")

    def checked(self, what: str, a: str, b: str, node: ast.AST) -> str:
        """Sum, difference or product of whole numbers that fits 64 bits."""
        pair = self.make(f"call {{ i64, i1 }} @llvm.{what}.with.overflow.i64(i64 {a}, i64 {b})")
        result = self.make(f"extractvalue {{ i64, i1 }} {pair}, 0")
        self.fail_if(self.make(f"extractvalue {{ i64, i1 }} {pair}, 1"), node, "OverflowError", TOO_LARGE)
        return result

    # --- two operands ---

    def binary(self, operator: ast.operator, left: Value, right: Value, node: ast.AST) -> Value:
        """Left operator right."""
        symbol = _SYMBOLS[type(operator)]
        said = f"{symbol.split(' ')[0]}=" if isinstance(node, ast.AugAssign) else symbol
        left, right = self.operands(left, right, node, said)
        if left.kind in _NUMPY or right.kind in _NUMPY:
            return self._numpy(symbol, left, right, node)
        if left.kind not in NUMBERS or right.kind not in NUMBERS:
            way_out = "use ctx.log for words" if WORD in (left.kind, right.kind) else ""
            self.refuse(node, f"{left.kind.name} {symbol} {right.kind.name}", way_out)
        if symbol in ("&", "|", "^", "<<", ">>"):
            return self._bits(symbol, left, right, node)
        if isinstance(operator, ast.Pow):
            return self._power(left, right, node)
        if symbol == "@":
            self.refuse(node, "the operator @", "write the loop")
        if FLOAT in (left.kind, right.kind):
            return self._floats(symbol, self.as_float(left), self.as_float(right), node)
        return self._whole(symbol, self.as_int(left), self.as_int(right), node)

    def _floats(self, symbol: str, a: str, b: str, node: ast.AST) -> Value:
        if symbol in _OF_DOUBLES:
            return Value(FLOAT, (self.make(f"{_OF_DOUBLES[symbol]} double {a}, {b}"),))
        zero = self.make(f"fcmp oeq double {b}, 0.0")
        self.fail_if(zero, node, "ZeroDivisionError", _ZERO_DIVISIONS[symbol, "float"])
        if symbol == "/":
            return Value(FLOAT, (self.make(f"fdiv double {a}, {b}"),))
        function = "float_floor" if symbol == "//" else "float_rest"
        return Value(FLOAT, (self.make(f"call double @{function}(double {a}, double {b})"),))

    def _whole(self, symbol: str, a: str, b: str, node: ast.AST) -> Value:
        if symbol in _CHECKED:
            return Value(INT, (self.checked(_CHECKED[symbol], a, b, node),))
        zero = self.make(f"icmp eq i64 {b}, 0")
        self.fail_if(zero, node, "ZeroDivisionError", _ZERO_DIVISIONS[symbol, "int"])
        least = -(2**63)
        if symbol == "/":
            either = self.make(
                f"or i1 {self.make(f'icmp eq i64 {a}, {least}')}, {self.make(f'icmp eq i64 {b}, {least}')}"
            )
            self.fail_if(either, node, "OverflowError", TOO_LARGE)
            return Value(FLOAT, (self.make(f"call double @int_divide(ptr %state, i64 {a}, i64 {b})"),))
        if symbol == "//":
            both = self.make(
                f"and i1 {self.make(f'icmp eq i64 {a}, {least}')}, {self.make(f'icmp eq i64 {b}, -1')}"
            )
            self.fail_if(both, node, "OverflowError", TOO_LARGE)
            return Value(INT, (self.make(f"call i64 @int_floor(i64 {a}, i64 {b})"),))
        return Value(INT, (self.make(f"call i64 @int_rest(i64 {a}, i64 {b})"),))

    def _numpy(self, symbol: str, left: Value, right: Value, node: ast.AST) -> Value:
        kinds = {left.kind, right.kind}
        if kinds <= {NP_INT, INT} and symbol in _CHECKED:  # where NumPy would wrap, and warn, this fails
            whole = self.checked(_CHECKED[symbol], left.parts[0], right.parts[0], node)
            return Value(NP_INT, (whole,))
        if kinds <= {NP_FLOAT, FLOAT, NP_INT, INT} and symbol in _OF_DOUBLES:
            a, b = self.as_float(left), self.as_float(right)
            return Value(NP_FLOAT, (self.make(f"{_OF_DOUBLES[symbol]} double {a}, {b}"),))
        self.refuse(
            node,
            f"{left.kind.name} {symbol} {right.kind.name} follows NumPy's rules, which do not raise",
            "write float(...), int(...) or bool(...) around an array's item",
        )

    def _bits(self, symbol: str, left: Value, right: Value, node: ast.AST) -> Value:
        if FLOAT in (left.kind, right.kind):
            self.refuse(node, f"{left.kind.name} {symbol} {right.kind.name}", "it would always fail")
        if symbol in ("&", "|", "^"):
            word = {"&": "and", "|": "or", "^": "xor"}[symbol]
            if left.kind == BOOL and right.kind == BOOL:
                return self.boolean(self.make(f"{word} i1 {left.parts[0]}, {right.parts[0]}"))
            return Value(INT, (self.make(f"{word} i64 {self.as_int(left)}, {self.as_int(right)}"),))
        a, b = self.as_int(left), self.as_int(right)
        self.fail_if(self.make(f"icmp slt i64 {b}, 0"), node, "ValueError", "negative shift count")
        far = self.make(f"icmp sgt i64 {b}, 63")
        if symbol == ">>":
            most = self.select(far, "i64", "63", b)
            return Value(INT, (self.make(f"ashr i64 {a}, {most}"),))
        by = self.select(far, "i64", "0", b)
        moved = self.make(f"shl i64 {a}, {by}")
        back = self.make(f"ashr i64 {moved}, {by}")
        lost = self.make(f"icmp ne i64 {back}, {a}")
        some = self.make(f"icmp ne i64 {a}, 0")
        gone = self.make(f"or i1 {lost}, {self.make(f'and i1 {far}, {some}')}")
        self.fail_if(gone, node, "OverflowError", TOO_LARGE)
        return Value(INT, (moved,))

    def _power(self, left: Value, right: Value, node: ast.AST) -> Value:
        exponent = right.known
        if left.kind == FLOAT or type(exponent) is not int or not 0 <= exponent < _LARGEST_POWER:
            self.refuse(
                node,
                f"{left.kind.name} ** {right.kind.name} may differ in the last bit from CPU to CPU",
                "multiply: x * x; for a root math.sqrt(x)",
            )
        result = "1"
        for _ in range(exponent or 0):
            result = self.checked("smul", result, self.as_int(left), node)
        return Value(INT, (result,))

    # --- one operand ---

    def unary(self, operator: ast.unaryop, value: Value, node: ast.AST) -> Value:
        """Operator value."""
        if isinstance(operator, ast.Not):
            return self.boolean(self.negated(self.truth(value, node)))
        sign = "-" if isinstance(operator, ast.USub) else "+" if isinstance(operator, ast.UAdd) else "~"
        if value.kind == NONE or isinstance(value.kind, Maybe):
            value = self.certain(value, node, "TypeError", f"bad operand type for unary {sign}: 'NoneType'")
        if value.kind == NP_FLOAT and sign == "-":
            return Value(NP_FLOAT, (self.make(f"fneg double {value.parts[0]}"),))
        if value.kind not in NUMBERS:
            self.refuse(node, f"{sign} of {value.kind.name}", "")
        if value.kind == FLOAT:
            if sign == "~":
                self.refuse(node, "~ of float", "it would always fail")
            if sign == "+":
                return value
            if value.known is not None:
                return self.floating(-value.known)
            return Value(FLOAT, (self.make(f"fneg double {value.parts[0]}"),))
        whole = self.as_int(value)
        if sign == "+":
            return Value(INT, (whole,), value.known)
        if sign == "~":
            return Value(INT, (self.make(f"xor i64 {whole}, -1"),))
        if isinstance(value.known, int):
            return self.integer(-value.known)
        return Value(INT, (self.checked("ssub", "0", whole, node),))

    def negated(self, bit: str) -> str:
        """Not."""
        known = {"true": "false", "false": "true"}.get(bit)
        return known or self.make(f"xor i1 {bit}, true")

    # --- comparing ---

    def compare(self, operator: ast.cmpop, left: Value, right: Value, node: ast.AST) -> str:
        """Left operator right, as a bit."""
        if isinstance(operator, ast.Is | ast.IsNot):
            same = self._is(left, right, node)
            return same if isinstance(operator, ast.Is) else self.negated(same)
        name, symbol = _COMPARISONS[type(operator)]
        if name in ("eq", "ne"):
            same = self.equal(left, right, node)
            return same if name == "eq" else self.negated(same)
        left, right = self.operands(left, right, node, symbol)
        return self._ordered(name, symbol, left, right, node)

    def _ordered(self, name: str, symbol: str, left: Value, right: Value, node: ast.AST) -> str:
        plain = {NP_FLOAT: FLOAT, NP_INT: INT, NP_BOOL: BOOL}
        a, b = plain.get(left.kind, left.kind), plain.get(right.kind, right.kind)  # type: ignore[call-overload]
        if a not in NUMBERS or b not in NUMBERS:
            self.refuse(node, f"{left.kind.name} {symbol} {right.kind.name}", "compare numbers")
        exact = (a == FLOAT and _is_exact(right)) or (b == FLOAT and _is_exact(left))
        if exact or (a == FLOAT and b == FLOAT):
            x, y = self.as_float(left), self.as_float(right)
            return self.make(f"fcmp {_OF_FLOATS[name]} double {x}, {y}")
        if a == FLOAT:
            return self.make(
                f"call i1 @mixed_{_MIRRORED[name]}(i64 {self.as_int(right)}, double {left.parts[0]})"
            )
        if b == FLOAT:
            return self.make(f"call i1 @mixed_{name}(i64 {self.as_int(left)}, double {right.parts[0]})")
        return self.make(f"icmp {_OF_WHOLE[name]} i64 {self.as_int(left)}, {self.as_int(right)}")

    def equal(self, left: Value, right: Value, node: ast.AST) -> str:
        """Left == right, as a bit."""
        if NONE in (left.kind, right.kind):
            return self._is(left, right, node)
        a, b = left.kind, right.kind
        if isinstance(a, Maybe) or isinstance(b, Maybe):
            has_left = left.parts[0] if isinstance(a, Maybe) else "true"
            has_right = right.parts[0] if isinstance(b, Maybe) else "true"
            inner_left = Value(a.inner, left.parts[1:]) if isinstance(a, Maybe) else left
            inner_right = Value(b.inner, right.parts[1:]) if isinstance(b, Maybe) else right
            same = self.equal(inner_left, inner_right, node)
            both = self.make(f"and i1 {has_left}, {has_right}")
            none = self.negated(self.make(f"or i1 {has_left}, {has_right}"))
            return self.make(f"or i1 {none}, {self.make(f'and i1 {both}, {same}')}")
        texts = {a, b} <= {WORD, REASON}
        if texts or (a == b and a == INSTRUMENT):
            if texts:
                self.check_words(left, right, node)
            return self.make(f"icmp eq i64 {left.parts[0]}, {right.parts[0]}")
        if isinstance(a, TupleKind) and isinstance(b, TupleKind) and len(a.items) == len(b.items):
            bit = "true"
            for x, y in zip(self.items_of(left), self.items_of(right), strict=True):
                bit = self.make(f"and i1 {bit}, {self.equal(x, y, node)}")
            return bit
        if WORD in (a, b) or INSTRUMENT in (a, b):
            self.refuse(node, f"{a.name} == {b.name} is never true", "compare values of one kind")
        return self._ordered("eq", "==", left, right, node)

    def check_words(self, left: Value, right: Value, node: ast.AST) -> None:
        """Refuse comparing with a text that nothing here can be equal to."""
        for value in (left, right):
            if isinstance(value.known, str) and ": " in value.known:
                self.refuse(
                    node,
                    "comparing with a refusal's own words",
                    "compare numbers, or write them with ctx.log",
                )

    def _is(self, left: Value, right: Value, node: ast.AST) -> str:
        if NONE not in (left.kind, right.kind):
            self.refuse(node, '"is" between values', "write ==")
        other = right if left.kind == NONE else left
        if other.kind == NONE:
            return "true"
        return self.negated(other.parts[0]) if isinstance(other.kind, Maybe) else "false"

    # --- truth ---

    def truth(self, value: Value, node: ast.AST) -> str:
        """Whether Python takes a value for true."""
        kind = value.kind
        if isinstance(kind, Maybe):
            parts = value.parts[1:]
            if isinstance(kind.inner, Pointer):  # there is no memory behind a None
                parts = (self.select(value.parts[0], "ptr", parts[0], "%record"),)
            inner = self.truth(Value(kind.inner, parts), node)
            return self.make(f"and i1 {value.parts[0]}, {inner}")
        if kind == NONE:
            return "false"
        if kind in (BOOL, NP_BOOL):
            return value.parts[0]
        if kind in (INT, NP_INT):
            return self.make(f"icmp ne i64 {value.parts[0]}, 0")
        if kind in (FLOAT, NP_FLOAT):
            return self.make(f"fcmp une double {value.parts[0]}, 0.0")
        if kind in (WORD, REASON):
            return self.make(f"icmp ne i64 {value.parts[0]}, {self.word('').parts[0]}")
        if isinstance(kind, ListKind | DictKind):
            return self.make(f"icmp ne i64 {self.load('i64', value.parts[0])}, 0")
        if isinstance(kind, RowKind) or kind == INSTRUMENT or isinstance(kind, Struct):
            return "true"
        if isinstance(kind, TupleKind):
            return "true" if kind.items else "false"
        if isinstance(kind, OrdersKind):
            only, last, _ = value.parts
            first = self.operation("next_order", "i64 -1", f"i64 {only}", f"i64 {last}")
            return self.make(f"icmp sge i64 {first}, 0")
        if isinstance(kind, LevelsKind):
            index, depth = value.parts
            count = self.operation("level_count", f"i64 {index}", f"i64 {kind.sign}", f"i64 {depth}")
            return self.make(f"icmp sgt i64 {count}, 0")
        if isinstance(kind, ObjectKind) and not (
            hasattr(kind.shape.cls, "__bool__") or hasattr(kind.shape.cls, "__len__")
        ):
            return "true"
        self.refuse(node, f"the truth of {_article(kind)}", "compare it with something")

    def word(self, text: str) -> Value:
        """A text as a Word."""
        from engine.model.words import word_of

        return Value(WORD, (str(word_of(text)),), text)


def _is_exact(value: Value) -> bool:
    """Whether a number is known, whole, and the same as a float."""
    return type(value.known) is int and abs(value.known) <= _EXACT


def _article(kind: Kind) -> str:
    return f"{'an' if kind.name[:1].lower() in 'aeiou' else 'a'} {kind.name}"
