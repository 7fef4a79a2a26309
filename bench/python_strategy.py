"""How much of Python's own speed is left to a Python strategy inside the engine?

W1 through the engine, against the same callback in a bare loop: once over positional values, once over the
very objects that the engine hands out. Then W1 and W3 against nautilus_trader, whose strategies are Python
too; in W3 the strategy takes only the trades while the book is kept.

    python -m bench.python_strategy [--runs 5]
"""

from __future__ import annotations

import sys

from bench.common import alternate, arguments, medians, run_json, show
from bench.peers import EVENTS, rates, run_ours


def bare(form: str) -> float:
    """Events a second of one bare loop, in a fresh process."""
    result = run_json([sys.executable, "-m", "bench.bare", form])
    return float(result["events"] / result["seconds"])


def ours() -> float:
    """Events a second of W1 through the engine."""
    return float(EVENTS["w1"] / run_ours("w1")["seconds"])


def against(mine: float, other: float) -> str:
    """A ratio and both of its sides."""
    return f"{mine / other:.2f} ({mine:,.0f} events/s against {other:,.0f})"


def main() -> None:
    """Alternate, print the ratios."""
    options = arguments(__doc__).parse_args()
    loop = medians(
        alternate(
            {"ours": ours, "values": lambda: bare("values"), "objects": lambda: bare("objects")}, options.runs
        )
    )
    rows = [
        ("W1 / bare loop over positional values", against(loop["ours"], loop["values"]), "at least 0.6"),
        ("W1 / bare loop over the same objects", against(loop["ours"], loop["objects"]), "at least 0.8"),
    ]
    for work, wanted in (("w1", "at least 10"), ("w3", "at least 25")):
        rate = rates(work, options.runs, ("ours", "nautilus_trader"))
        rows.append(
            (f"{work.upper()} / nautilus_trader", against(rate["ours"], rate["nautilus_trader"]), wanted)
        )
    show("A Python strategy", rows)


if __name__ == "__main__":
    main()
