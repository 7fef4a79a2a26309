"""Compiled handlers without a market: one strategy, its record, and calls of its timer handler."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

from engine.execution.state import STATE
from engine.loop import operations
from engine.loop.machine import Machine
from engine.loop.random import seed
from engine.model.words import word_of
from engine.strategy.api import Strategy
from engine.strategy.compiled.build import function_address
from engine.strategy.compiled.core import PLACE_SHIFT
from engine.strategy.compiled.layout import Layout
from engine.strategy.compiled.operations import H_TIMER
from engine.strategy.compiled.program import ENTRY, Program
from engine.strategy.loader import load_strategy

_FIVE = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 5)
assert Machine is not None


def load(folder: Path, text: str, name: str = "mine") -> Strategy:
    """A strategy out of its source, as the command would load it."""
    path = folder / f"{name}.py"
    path.write_text(text)
    return load_strategy(str(path)).strategy


class Bench:
    """A compiled strategy whose on_timer can be called."""

    def __init__(self, strategy: Any) -> None:
        self.strategy = strategy
        self.layout = Layout(strategy)
        self.written = Program(strategy, self.layout).write()
        self.state = np.zeros(1, STATE)
        self._table = operations.table()
        self.state[0]["operations"] = self._table.ctypes.data
        seed(self.state[0], 3)
        self._call = _FIVE(function_address(self.written.text, ENTRY))

    def timer(self, name: str = "") -> str:
        """Call on_timer; "" or how it failed. Fields are copied in before and out after."""
        self.layout.copy_in()
        address = int(self.state.ctypes.data)
        status = self._call(address, self.layout.address, H_TIMER, word_of(name), 0)
        self.layout.copy_out([])
        if not status:
            return ""
        site = self.written.sites[(status & (1 << PLACE_SHIFT) - 1) - 1]
        message = site.message
        for letter, field in (("{a}", "fail_a"), ("{b}", "fail_b")):
            message = message.replace(letter, str(int(self.state[0][field])))
        return f"{site.error}: {message}"
