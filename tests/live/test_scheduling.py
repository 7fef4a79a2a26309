"""Short slices of processor time: asked for where the kernel has them, and nothing lost where it has not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine.live import scheduling

ASK = "from engine.live.scheduling import shorten_slices as s; print(s(), open('/proc/self/sched').read())"


@pytest.mark.skipif(not Path("/proc/self/sched").exists(), reason="the kernel shows no slices")
def test_what_the_kernel_took_is_what_it_shows() -> None:
    """In a process of its own: taken, it shows the length that was asked for; refused, it is said."""
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    taken, _, shown = done.stdout.partition(" ")
    slices = re.findall(r"se\.slice\s*:\s*(\d+)", shown)
    assert taken in {"True", "False"}
    assert not slices or taken == "False" or slices == [str(scheduling.SLICE_NS)]


def test_an_unknown_processor_asks_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call's number differs between processors: where it is not known, nothing is called."""
    monkeypatch.setattr(scheduling, "_NUMBERS", {})
    assert not scheduling.shorten_slices()
