"""`engine verify`, `diff` and `why`: is it the same again, where does it part, what caused it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.common import emit, json_option, printable_text, relative
from engine.model.errors import UsageError

if TYPE_CHECKING:
    from engine.report.states import StateComparison

_PARTS_SHOWN = 20


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--strategy", default="", metavar="FILE", help="Where its strategy is now, if it was moved.")
@click.option("--batch-rows", default=0, hidden=True, help="Re-cut the input; results do not depend on it.")
@json_option
def verify(run: Path, *, strategy: str, batch_rows: int, as_json: bool) -> int:
    """Run RUN again from its log and compare every decision; exit code 1 when one differs."""
    from engine.cli.options import prepare_kernels
    from engine.report.runs import input_paths, read_run
    from engine.report.verify import verify_run

    input_paths(run, read_run(run))  # before anything is compiled
    prepare_kernels()
    found = verify_run(run, strategy=strategy, batch_rows=batch_rows)
    result: dict[str, Any] = {
        "run": relative(run),
        "same": found.same,
        "finished": found.finished,
        "complete": found.complete,
        "decisions": found.decisions,
        "recorded_hash": found.recorded_hash,
        "replayed_hash": found.replayed_hash,
        "notes": found.notes,
        "divergence": _divergence_record(found.divergence),
    }

    def text() -> str:
        lines = [f"note: {note}" for note in found.notes]
        if found.same:
            lines.append(
                f"{relative(run)}: the same, {found.decisions:,} decisions, hash {found.replayed_hash}"
                if found.complete
                else f"{relative(run)}: the same as far as it goes, {found.decisions:,} decisions"
            )
        else:
            lines.append(f"{relative(run)}: NOT the same")
            lines.append(f"  recorded {found.recorded_hash}\n  replayed {found.replayed_hash}")
            if found.divergence is not None:
                lines.append(_divergence_text(found.divergence, "recorded", "replayed"))
        return "\n".join(lines)

    emit(result, as_json=as_json, text=text)
    return 0 if found.same else 1


@click.command()
@click.argument("left", type=click.Path(path_type=Path))
@click.argument("right", type=click.Path(path_type=Path))
@json_option
def diff(left: Path, right: Path, *, as_json: bool) -> int:
    """Say when the states of two runs part and in what, then which decision differs first, and its cause."""
    from engine.report.compare import settings_that_differ
    from engine.report.states import compare_states
    from engine.report.verify import diff_runs

    found = diff_runs(left, right)
    settings = settings_that_differ(left, right)
    states = compare_states(left, right)
    result = {
        "left": relative(left),
        "right": relative(right),
        "same": found is None,
        "settings": settings,
        "divergence": _divergence_record(found),
        "states": states,
    }

    def text() -> str:
        lines = ["the runs differ in:", *(f"  {line}" for line in settings)] if settings else []
        lines += _states_text(states)
        if found is not None:
            lines.append(_divergence_text(found, relative(left), relative(right)))
        same = states.engine is None and states.strategy is None
        where = f"{states.compared:,} snapshot{'' if states.compared == 1 else 's'}"
        if found is None:
            known = same and states.compared
            lines.append("the same decisions" + (f", and the same states at {where}" if known else ""))
        elif same and states.compared:
            lines.append(f"  note: the states are the same at {where}")
        return "\n".join([*lines, *(f"note: {note}" for note in states.notes)])

    emit(result, as_json=as_json, text=text)
    return 0 if found is None else 1


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("order", type=int, required=False)
@click.option("--trades", is_flag=True, help="Every fill with what it was decided on, answers included.")
@click.option("--csv", "target", default="", metavar="FILE", help="--trades as a new CSV file; - is stdout.")
@json_option
def why(run: Path, order: int | None, target: str, *, trades: bool, as_json: bool) -> None:
    """Lead an ORDER of a RUN back to the message that caused it, bytes included.

    Without ORDER: everything that the run decided, and what its strategy logged, a line each.
    """
    if trades:
        from engine.cli.why_trades import show_trades

        show_trades(run, order, target, as_json=as_json)
        return
    if target:
        raise UsageError(
            f"--csv {target}: only trades are written as CSV", hint="engine why RUN --trades --csv FILE"
        )
    from engine.report.why import everything, everything_text, explain_order, why_record, why_text

    if order is None:
        records = everything(run)
        emit(
            {"run": relative(run), "decisions": records},
            as_json=as_json,
            text=lambda: printable_text(everything_text(records)),
        )
        return
    story = explain_order(run, order)
    emit(why_record(story), as_json=as_json, text=lambda: printable_text(why_text(story)))


def _states_text(states: StateComparison) -> list[str]:
    """When the states part and in what, a line each."""
    lines = []
    for name, parting in (("the engine's state", states.engine), ("the strategy's fields", states.strategy)):
        if parting is not None:
            lines.append(f"{name}: {parting.when}")
            lines += [f"  {part}" for part in parting.parts[:_PARTS_SHOWN]]
            if len(parting.parts) > _PARTS_SHOWN:
                lines.append(f"  and {len(parting.parts) - _PARTS_SHOWN:,} more: --json has them all")
    return lines


def _divergence_record(found: Any) -> dict[str, Any] | None:
    if found is None:
        return None
    from engine.report.explain import message_record

    return {
        "decision": found.number,
        "left": found.left,
        "right": found.right,
        "fields": list(found.fields),
        "causes": [message_record(cause) for cause in found.causes],
        "notes": found.notes,
    }


def _divergence_text(found: Any, left: str, right: str) -> str:
    from engine.report.explain import decision_text, message_text

    width = max(len(left), len(right))
    lines = [
        f"the first difference is decision {found.number}"
        + (f": {', '.join(found.fields)}" if found.fields else "")
    ]
    for name, record in ((left, found.left), (right, found.right)):
        lines.append(f"  {name:<{width}}  {decision_text(record) if record else '(no such decision)'}")
    lines += ["  cause\n" + message_text(cause, "    ") for cause in found.causes]
    lines += [f"  note: {note}" for note in found.notes]
    return "\n".join(lines)
