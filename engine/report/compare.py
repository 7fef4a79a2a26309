"""In what two runs were asked different things: the first place to look when their decisions part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from engine.report.runs import read_run


def settings_that_differ(left: Path, right: Path) -> list[str]:
    """One line per setting: strategy, parameters, configuration, inputs. Empty when all are the same."""
    return differences(*(msgspec.to_builtins(_asked(folder)) for folder in (left, right)))


def differences(left: Any, right: Any) -> list[str]:
    """One line per entry of two nested dicts that is not the same: "latency feed_ns: 1 / 2"."""
    sides = [_flat(left), _flat(right)]
    names = list(dict.fromkeys([*sides[0], *sides[1]]))
    return [
        f"{name}: {sides[0].get(name, '(none)')} / {sides[1].get(name, '(none)')}"
        for name in names
        if sides[0].get(name) != sides[1].get(name)
    ]


def _asked(folder: Path) -> dict[str, Any]:
    record = read_run(folder)
    return {
        "strategy": record.strategy.reference,
        "strategy code": record.strategy.fingerprint[:12],
        "parameter": record.strategy.parameters,
        "config": msgspec.to_builtins(record.config),
        "input": {str(n): entry.chain[:12] or entry.path for n, entry in enumerate(record.inputs, start=1)},
        "engine code": record.code[:12],
    }


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if not isinstance(value, dict):
        return {prefix: str(value)}
    flat: dict[str, str] = {}
    for name, inner in value.items():
        flat.update(_flat(inner, f"{prefix} {name}".strip()))
    return flat
