"""The kernels that other kernels call by their address: each is compiled once, wherever it is called from.

LLVM would copy what a kernel calls into it, and again into each kernel that calls that one: compiling them
all took twice as long. The addresses stand in the state record and are of this process alone.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from engine.execution.arrival import enter_market, trigger
from engine.execution.fills import execute
from engine.execution.links import settle_links
from engine.execution.matching import fill_by_trade, fill_crossed
from engine.loop.bar_rows import meet_bars
from engine.loop.deciding import amend, submit
from engine.loop.kernels import advance
from engine.loop.plain import plain
from engine.loop.plain_orders import apply_orders
from engine.loop.steps import apply, run_due
from engine.loop.valuing import take_sample
from engine.model import jit

_PIECES = {
    "run_advance": advance,
    "run_plain": plain,
    "run_step": apply,
    "run_due": run_due,
    "run_enter": enter_market,
    "run_links": settle_links,
    "run_crossed": fill_crossed,
    "run_trade": fill_by_trade,
    "run_stops": trigger,
    "run_fill": execute,
    "run_bars": meet_bars,
    "run_orders": apply_orders,
    "run_sample": take_sample,
    "run_submit": submit,
    "run_amend": amend,
}


@cache
def _addresses() -> dict[str, int]:
    return {name: jit.address_of(function) for name, function in _PIECES.items()}


def place(state: Any) -> None:
    """Write the addresses into a STATE record."""
    for name, address in _addresses().items():
        state[name] = address
