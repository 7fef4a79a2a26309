"""The operations of the loop that compiled strategies call by address: names, results and arguments.

In LLVM's types: i64 and double. The first argument of those marked so is the state's address. The order is
that of the table in the state record.
"""

from __future__ import annotations

from typing import NamedTuple

WHOLE, REAL = "i64", "double"

# Handlers as the strategy's function is called for them; the first four are the loop's own codes.
H_TRADE, H_QUOTE, H_BOOK, H_BAR, H_FILL, H_ORDER, H_TIMER = 1, 2, 3, 4, 10, 11, 12
COMPILED_HANDLERS = {
    "on_trade": H_TRADE,
    "on_quote": H_QUOTE,
    "on_book": H_BOOK,
    "on_bar": H_BAR,
    "on_fill": H_FILL,
    "on_order": H_ORDER,
    "on_timer": H_TIMER,
}


class Operation(NamedTuple):
    """One signature."""

    result: str
    arguments: tuple[str, ...]
    pure: bool = False  # of its arguments alone: may be left out when nobody looks at the result


OPERATIONS: dict[str, Operation] = {
    "order": Operation(WHOLE, (WHOLE, WHOLE, REAL, REAL, WHOLE, WHOLE, WHOLE)),
    "order_with": Operation(WHOLE, (WHOLE, WHOLE, REAL, REAL, WHOLE, WHOLE, WHOLE, REAL, REAL, WHOLE)),
    "pair": Operation(WHOLE, (WHOLE, WHOLE, REAL, REAL, REAL, REAL, WHOLE, WHOLE, WHOLE)),
    "bracket": Operation(WHOLE, (WHOLE, WHOLE, REAL, REAL, WHOLE, WHOLE, WHOLE, WHOLE, REAL, REAL, REAL)),
    "amend": Operation(WHOLE, (WHOLE, WHOLE, REAL, REAL, REAL, WHOLE)),
    "cancel": Operation(WHOLE, (WHOLE, WHOLE)),
    "cancel_all": Operation(WHOLE, (WHOLE, WHOLE)),
    "aim": Operation(WHOLE, (WHOLE, WHOLE, REAL, REAL, WHOLE)),
    "add_timer": Operation(WHOLE, (WHOLE, WHOLE, WHOLE, WHOLE)),
    "cancel_timer": Operation(WHOLE, (WHOLE, WHOLE)),
    "quote": Operation(WHOLE, (WHOLE, WHOLE, WHOLE)),
    "book": Operation(WHOLE, (WHOLE, WHOLE, WHOLE)),
    "level": Operation(WHOLE, (WHOLE, WHOLE, WHOLE, WHOLE, WHOLE)),
    "level_count": Operation(WHOLE, (WHOLE, WHOLE, WHOLE, WHOLE)),
    "imbalance": Operation(REAL, (WHOLE, WHOLE, WHOLE)),
    "equity": Operation(REAL, (WHOLE,)),
    "owned": Operation(WHOLE, (WHOLE, WHOLE)),
    "round_price": Operation(REAL, (WHOLE, WHOLE, REAL)),
    "round_size": Operation(REAL, (WHOLE, WHOLE, REAL)),
    "divide": Operation(REAL, (WHOLE, WHOLE), pure=True),
    "next_order": Operation(WHOLE, (WHOLE, WHOLE, WHOLE, WHOLE)),
    "order_count": Operation(WHOLE, (WHOLE, WHOLE, WHOLE)),
    "order_state": Operation(WHOLE, (WHOLE, WHOLE, WHOLE)),
    "random_float": Operation(REAL, (WHOLE,)),
    "random_integer": Operation(WHOLE, (WHOLE, WHOLE, WHOLE)),
    "random_normal": Operation(REAL, (WHOLE, REAL, REAL)),
}
