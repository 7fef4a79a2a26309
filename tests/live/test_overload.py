"""At twice the rate that a recorder sustains: the venue cuts it off, and the log names what it missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.many import run, sustained


def test_twice_what_is_sustained_costs_what_the_log_says(tmp_path: Path) -> None:
    """Measured first, then doubled: connections are lost and found, and every trade is a row or in a gap."""
    rate = 2 * sustained(tmp_path / "measured", 150_000)
    result = run(rate, 2.0, 1.0, tmp_path / "doubled")
    sender, log = result["sender"], result["log"]
    if not sender["closed"]:
        pytest.skip(f"the sender could not send {rate:,.0f} messages a second on this machine")
    assert log["unaccounted"] == 0
    assert log["disconnects"] >= 1
    assert log["in_gaps"] > 0
    assert log["trades"] + log["in_gaps"] == sum(sender["ids"])
