"""What a model may have known: every result of a run that asked is split at its knowledge cutoff.

A model that has read what happened next does not foresee it, it remembers, and neither masking names nor
asking it to forget changes that. So what a run earned on data before the cutoff is labelled contaminated, and
what it earned after stands beside it; only the second says anything about tomorrow. Of several models the
latest cutoff counts. A model that no profile is known of may have read everything.

The cut goes through the equity's samples: profit before and after add up to the run's own. A position that is
held over the cut belongs to both sides, each with what it earned there.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.answers.models import profile_of, usd
from engine.execution.journal_kinds import JournalKind
from engine.log.journal import read_journal
from engine.loop.asking import Figures
from engine.loop.run import Runner
from engine.model.errors import UsageError
from engine.model.units import format_time
from engine.report.curve import Curve, Times, drawdown_of, sharpe_of

_TOLD = {"deadline": "by default at the deadline"}
Decisions = tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]
_NEVER = 2**63 - 1  # a cutoff that no time comes after


class Part(msgspec.Struct):
    """One side of the cutoff. Money in the run's currency."""

    contaminated: bool
    first: str
    last: str
    pnl: float
    return_percent: float
    max_drawdown: float
    max_drawdown_percent: float
    sharpe: float | None
    sharpe_returns: int
    orders: int | None = None  # None: the run kept no journal
    fills: int | None = None
    questions: int | None = None


class Hindsight(msgspec.Struct):
    """A result before and after the knowledge cutoff of the models that were asked."""

    cutoff: str  # the last day that a model can know of; "": not known of one of them
    models: list[str]
    before: Part | None  # None: no data on that side
    after: Part | None


def hindsight_of(runner: Runner, times: Times, curve: Curve) -> Hindsight:
    """The split of a finished run. `times` and `curve`: samples of the equity, the end's as the last."""
    models = sorted(runner.asking.figures.models)
    cut, day = _cutoff(models)
    at = int(np.searchsorted(times, cut))  # the first sample that is after the cutoff
    capital = float(runner.config.account.capital)
    journal = _decisions(runner)
    before = after = None
    if runner.first_ts < cut:
        # Of the samples, the last before the cutoff is where one side ends and the other begins.
        before = _part(times[:at], curve[:at], capital, journal, (0, cut), contaminated=True)
        before.first, before.last = format_time(runner.first_ts), format_time(min(runner.last_ts, cut - 1))
    if runner.last_ts >= cut:
        base = float(curve[at - 1]) if at else capital
        after = _part(times[at:], curve[at:], base, journal, (cut, _NEVER), contaminated=False)
        after.first, after.last = format_time(max(runner.first_ts, cut)), format_time(runner.last_ts)
    return Hindsight(day, models, before, after)


def _cutoff(models: list[str]) -> tuple[int, str]:
    """The first instant that none of the models can have read about, and the day before it."""
    profiles = []
    for model in models:
        try:
            profiles.append(profile_of(model))
        except UsageError:
            return _NEVER, ""
    latest = max(profiles, key=lambda profile: profile.known_before_ns)
    return latest.known_before_ns, latest.knowledge_cutoff.isoformat()


def _part(
    times: Times,
    curve: Curve,
    base: float,
    journal: Decisions | None,
    span: tuple[int, int],
    *,
    contaminated: bool,
) -> Part:
    """Figures of the samples on one side. `base`: the equity that it begins with."""
    whole = np.concatenate([[base], curve])
    drawdown, percent = drawdown_of(whole)
    sharpe, returns = sharpe_of(times, curve) if len(curve) else (None, 0)
    pnl = float(whole[-1]) - base
    counts: list[int | None] = [None, None, None]
    if journal is not None:
        times_of, kinds = journal
        inside = kinds[(times_of >= span[0]) & (times_of < span[1])]
        wanted = (JournalKind.SUBMIT, JournalKind.FILL, JournalKind.ASK)
        counts = [int(np.count_nonzero(inside == kind)) for kind in wanted]
    return Part(
        contaminated=contaminated,
        first="",
        last="",
        pnl=pnl,
        return_percent=100.0 * pnl / base if base else 0.0,
        max_drawdown=drawdown,
        max_drawdown_percent=percent,
        sharpe=sharpe,
        sharpe_returns=returns,
        orders=counts[0],
        fills=counts[1],
        questions=counts[2],
    )


def _decisions(runner: Runner) -> Decisions | None:
    """Times and kinds of what was decided; None for a run that kept no journal."""
    path = runner.journal.path
    if path is None:
        return None
    table = read_journal(path)
    return _integers(table["ts"], np.int64), _integers(table["kind"], np.uint8)


def _integers(column: pa.ChunkedArray, kind: Any) -> npt.NDArray[Any]:
    """A column as an array, off its buffers: other ways import pandas, if there is one, for 0.2 seconds."""
    size = np.dtype(kind).itemsize
    parts = [
        np.frombuffer(part.buffers()[1], kind, len(part), part.offset * size)
        for part in column.chunks
        if len(part)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, kind)


def hindsight_rows(hindsight: Hindsight, money: str) -> list[tuple[str, str]]:
    """Both sides as lines of a run's table."""
    who = ", ".join(hindsight.models)
    until = f"up to {hindsight.cutoff}" if hindsight.cutoff else "at any time"
    rows = []
    if hindsight.before is not None:
        words = _figures(hindsight.before, money)
        rows.append(("contaminated", f"{words}: {who} may have read what happened {until}"))
        after = "nothing: no data is later than what the model may have read"
    if hindsight.after is not None:
        after = f"{_figures(hindsight.after, money)}: later than {hindsight.cutoff}, nothing to remember"
    return [*rows, ("after cutoff", after)]


def _figures(part: Part, money: str) -> str:
    words = f"{part.pnl:+,.2f} {money} ({part.return_percent:+.3f} %), drawdown {part.max_drawdown:,.2f}"
    if part.sharpe is not None:
        words += f", Sharpe {part.sharpe:.2f}"
    return words + ("" if part.fills is None else f", {part.fills:,} fill{'' if part.fills == 1 else 's'}")


def questions_text(figures: Figures) -> str:
    """What the questions came to, in a line."""
    models = ", ".join(figures.models)
    told = ", ".join(
        f"{count:,} {_TOLD.get(outcome, outcome)}" for outcome, count in sorted(figures.outcomes.items())
    )
    still = figures.asked - sum(figures.outcomes.values())
    words = f"{figures.asked:,} to {models}: {told or 'none answered'}"
    words += f", {still:,} still open" if still else ""
    words += f"; {figures.late:,} answers came late" if figures.late else ""
    return f"{words}; {usd(figures.cost_nano_usd)} when they were asked"


def question_warnings(figures: Figures, hindsight: Hindsight | None, *, answers: str) -> list[str]:
    """What whoever reads the result has to know of its answers. `answers`: where they came from."""
    words = []
    if hindsight is not None and hindsight.before is not None:
        who = ", ".join(hindsight.models)
        until = f"before {hindsight.cutoff} was over" if hindsight.cutoff else "at any time"
        words.append(
            f"contaminated: {who} may have read what happened {until}; what this run earned on such data "
            f"({hindsight.before.pnl:+,.2f}) may be memory, and says little about tomorrow"
        )
    if figures.lacking:
        words.append(
            f"{figures.lacking:,} questions have no recorded answer: the strategy got its default "
            "(engine enrich buys what is missing)"
        )
    if figures.unasked and answers == "log":  # a run that has them from elsewhere passes the log's over
        words.append(
            f"{figures.unasked:,} answers of the log belong to no question of this run: the strategy or its "
            "prompts are not those of the session"
        )
    return words
