"""The operations of the loop that compiled strategies call by address: names, results and arguments.

In LLVM's types: i64 and double. The first argument of those marked so is the state's address. The order is
that of the table in the state record.
"""

from __future__ import annotations

from typing import NamedTuple

I, F = "i64", "double"

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
    "order": Operation(I, (I, I, F, F, I, I, I)),
    "cancel": Operation(I, (I, I)),
    "cancel_all": Operation(I, (I, I)),
    "aim": Operation(I, (I, I, F, F, I)),
    "add_timer": Operation(I, (I, I, I, I)),
    "cancel_timer": Operation(I, (I, I)),
    "quote": Operation(I, (I, I, I)),
    "book": Operation(I, (I, I, I)),
    "level": Operation(I, (I, I, I, I, I)),
    "level_count": Operation(I, (I, I, I, I)),
    "imbalance": Operation(F, (I, I, I)),
    "equity": Operation(F, (I,)),
    "round_price": Operation(F, (I, I, F)),
    "round_size": Operation(F, (I, I, F)),
    "divide": Operation(F, (I, I), pure=True),
    "next_order": Operation(I, (I, I, I, I)),
    "order_count": Operation(I, (I, I, I)),
    "order_state": Operation(I, (I, I, I)),
    "random_float": Operation(F, (I,)),
    "random_integer": Operation(I, (I, I, I)),
    "random_normal": Operation(F, (I, F, F)),
}
