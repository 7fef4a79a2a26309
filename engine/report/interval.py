"""One input under two queue models: what a run comes to lies between careful and hopeful.

Who of a queue leaves it is in no data by price, so that one figure would claim more than is known.
`risk_averse` assumes that nobody before us leaves while somebody behind us could; `power3:3` that who leaves
stood before us with the cube of the share that stands there. Each is a run of its own, with its folder and
its journal; here their headlines stand side by side. The interval is one of belief about queues and bounds
nothing else: latencies, fees and rules are the same in both.
"""

from __future__ import annotations

from typing import Any

from engine.config import RunConfig, parse_queue
from engine.report.summary import Summary

MODELS = {"risk_averse": "risk_averse", "power3": "power3:3"}  # name: as --queue takes it
HEADLINE = (
    "run_dir",
    "queue",
    "pnl",
    "return_percent",
    "max_drawdown",
    "max_drawdown_percent",
    "sharpe",
    "round_trips",
    "win_rate_percent",
    "turnover",
    "fees",
    "orders",
    "fills",
    "fills_by_reason",
    "hindsight",
    "position",
    "journal_hash",
)


class IntervalSummary(Summary, kw_only=True):
    """The careful run's summary, and under `interval` each model's headline figures by its name."""

    interval: dict[str, dict[str, Any]]


def configs(config: RunConfig) -> dict[str, RunConfig]:
    """The configuration of each run: the given one under another queue model."""
    from msgspec.structs import replace

    return {
        name: replace(config, rules=replace(config.rules, **parse_queue(queue, "--interval")))
        for name, queue in MODELS.items()
    }


def between(summaries: dict[str, Summary]) -> IntervalSummary:
    """The summaries of all models as one; warnings that several gave are said once."""
    from msgspec.structs import asdict

    fields = asdict(summaries["risk_averse"])
    fields["warnings"] = list(dict.fromkeys(w for each in summaries.values() for w in each.warnings))
    headlines = {
        name: {field: getattr(each, field) for field in HEADLINE} for name, each in summaries.items()
    }
    return IntervalSummary(**fields, interval=headlines)


def interval_table(summary: IntervalSummary) -> str:
    """The headlines as aligned lines: a column for each model, and what lies between."""
    money = summary.currency or "(quote currency not named: --currency)"
    each = summary.interval
    low, high = sorted(headline["pnl"] for headline in each.values())
    rows = [
        ("", [headline["queue"] for headline in each.values()]),
        ("P&L", [f"{h['pnl']:+,.2f}" for h in each.values()]),
        ("return", [f"{h['return_percent']:+.3f} %" for h in each.values()]),
        ("drawdown", [f"{h['max_drawdown']:,.2f}" for h in each.values()]),
        ("Sharpe", ["none" if h["sharpe"] is None else f"{h['sharpe']:.2f}" for h in each.values()]),
        ("round trips", [f"{h['round_trips']:,}" for h in each.values()]),
        ("turnover", [f"{h['turnover']:,.2f}" for h in each.values()]),
        ("fees", [f"{h['fees']:,.2f}" for h in each.values()]),
        ("orders", [f"{h['orders']:,}" for h in each.values()]),
        ("fills", [f"{h['fills']:,}" for h in each.values()]),
        ("files", [h["run_dir"] for h in each.values()]),
    ]
    for side, name in (("after", "P&L after cutoff"), ("before", "P&L contaminated")):
        parts = [getattr(h["hindsight"], side, None) for h in each.values()]
        if any(parts):
            rows.insert(2, (name, ["none" if part is None else f"{part.pnl:+,.2f}" for part in parts]))
    width = max(len(name) for name, _ in rows)
    column = max(len(cells[0]) for _, cells in rows)
    over = f" over {', '.join(summary.inputs)}" if summary.inputs else ""
    lines = [f"{summary.strategy}{over}: P&L {low:+,.2f} to {high:+,.2f} {money}"]
    lines += [f"  {name:<{width}}  {cells[0]:<{column}}  {cells[1]}".rstrip() for name, cells in rows]
    lines.append(f"  profile {summary.profile}, clock {summary.clock}; account {summary.account}")
    return "\n".join(lines)
