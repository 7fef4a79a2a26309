"""What a strategy may not reach, and the three layers that keep it from there.

A run can be repeated only if the strategy knows nothing but what it was given. So it may not reach for a
clock, chance, the environment, a file, a socket or a thread, nor take the order of a set. This is no
prison for hostile code: whoever can write a strategy can also run Python. It keeps honest authors from
runs that cannot be repeated, and says at once what to use instead.

    layer      when              catches                                        misses
    lint       on load           imports and aliases, builtins, set order       names made at run time
    imports    on load, running  every import, names made at run time           set order, innards of objects
    audit      running           sockets, files, processes, whoever calls       clocks, chance, threads

What slips through all three (the text of an object without a __repr__ holds its address; a set that the
lint does not recognise) is caught by repeating the run: `engine verify`.

The loop holds `guard()` around a run, or calls `enter()` and `leave()`; nothing is done per event.
"""

from __future__ import annotations

from engine.strategy.audit import check, enter, guard, leave, shown_name, watch
from engine.strategy.imports import Importer
from engine.strategy.lint import Lint, lint, refuse_findings

__all__ = [
    "Importer",
    "Lint",
    "check",
    "enter",
    "guard",
    "leave",
    "lint",
    "refuse_findings",
    "shown_name",
    "watch",
]
