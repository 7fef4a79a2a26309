"""`--from-snapshot`: what a run is asked that goes on where another one kept its state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from engine.cli.common import warn
from engine.cli.options import run_config, run_strategy

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.report.continuing import Start
    from engine.strategy.loader import LoadedStrategy

# What says where a run goes and how it is run; all other options are its configuration.
_STRATEGY = ("strategy", "settings", "config_file")
_NO_CONFIGURATION = (
    *_STRATEGY,
    *("logs", "runs_folder", "interpreted", "batch_rows", "as_json", "interval"),
    *("snapshot_every", "from_snapshot", "changed_strategy"),
    *("answers_folder", "claude_url", "budget", "budget_day", "spending", "asking_limit"),
)


def start_of(
    paths: list[Path], options: dict[str, Any], *, with_commands: bool
) -> tuple[Start, RunConfig, LoadedStrategy]:
    """The snapshot, the configuration and the strategy that the options ask for.

    What is not said is that of the run. What is said has to be; UsageError and InputError name what is not.
    `options` get the run's interval of snapshots, where they say none.
    """
    from engine.report.continuing import check_config, check_inputs, check_strategy, find_start
    from engine.report.runs import code_fingerprint, strategy_reference
    from engine.strategy.loader import load_strategy

    start = find_start(options["from_snapshot"])
    config = start.record.config
    given = _given()
    if given - set(_NO_CONFIGURATION):
        check_config(start, run_config(options, with_commands=with_commands))
    if given & set(_STRATEGY):
        if "strategy" not in given:
            options = {**options, "strategy": strategy_reference(start.folder, start.record)}
        loaded = run_strategy(options)
    else:
        reference = strategy_reference(start.folder, start.record)
        loaded = load_strategy(reference, table=start.record.strategy.parameters)
    check_strategy(start, loaded, changed=options["changed_strategy"])
    check_inputs(start, paths)
    if start.record.code and start.record.code != code_fingerprint():
        warn("the engine's code is not that of the run")
    if "snapshot_every" not in given:
        options["snapshot_every"] = start.record.snapshot_every or "0"
    return start, config, loaded


def _given() -> set[str]:
    """The options that stand on the command line."""
    context = click.get_current_context()
    return {
        name
        for name in context.params
        if context.get_parameter_source(name) not in (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
    }
