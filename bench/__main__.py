"""What are all the figures, on this machine, today?

    python -m bench        every measurement in turn, each in a process of its own; most of an hour

Alone on the machine: whatever else runs is measured along with it. `bench.day` is apart: a day of recording
takes it more than an hour.
"""

from __future__ import annotations

import subprocess
import sys

from bench.common import ROOT

MEASUREMENTS = (
    "startup",
    "file_size",
    "read_rate",
    "python_strategy",
    "memory",
    "record_rate",
    "venues",
    "many",
    "tick_to_order",
    "peers",
    "market_making",
    "scaling",
    "bars",
    "answers",
    "with_answers",
    "tick_to_order_asking",
)


def main() -> int:
    """Run them all; 1 when one failed."""
    failed = [
        name
        for name in MEASUREMENTS
        if subprocess.run(
            [sys.executable, "-m", f"bench.{name}", *sys.argv[1:]], cwd=ROOT, check=False
        ).returncode
    ]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
