"""Names the command that buys an answer which a backtest missed, ready to paste."""

from __future__ import annotations

import shlex

import click
from click.core import ParameterSource

from engine.model.errors import MissingAnswer

_NOT_TAKEN_OVER = ("as_json", "logs")


def with_command(error: MissingAnswer) -> MissingAnswer:
    """The same error; its hint is `engine enrich` with the options that this command was given."""
    from engine.loop.asking import OTHER_WAYS

    return MissingAnswer(error.message, hint=f"{_enrich_command()} buys all that is missing; {OTHER_WAYS}")


def _enrich_command() -> str:
    from engine.cli.enrich import enrich

    context = click.get_current_context()
    taken = {parameter.name for parameter in enrich.params} - set(_NOT_TAKEN_OVER)
    words = ["engine", "enrich", *context.params["logs"]]
    for option in context.command.params:
        name = option.name or ""
        if name not in taken or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value, flag = context.params[name], option.opts[0]
        if value is True:
            words.append(flag)
        elif value is not False:
            for each in value if option.multiple else (value,):
                words += [flag, str(each)]
    return shlex.join(words)
