"""Options of a session whose strategy asks Claude, and the edge that they describe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from engine.model.errors import UsageError

if TYPE_CHECKING:
    from engine.answers.source import StoreSource
    from engine.live.asking_client import AskingConfig
    from engine.live.asking_process import AskingProcess, Deliver
    from engine.strategy.loader import LoadedStrategy

F = TypeVar("F", bound=Callable[..., Any])
ADDRESS_VARIABLE = "ANTHROPIC_BASE_URL"
DEFAULT_LIMIT_S = 30.0
_NANO_DECIMALS = 9
_OPTIONS_OF_ASKING = ("claude_url", "budget", "budget_day", "spending", "asking_limit")

_OPTIONS = [
    click.option(
        "--claude-url",
        default="",
        help=f"Where Claude is asked: {ADDRESS_VARIABLE}, else the API itself; a local one is `engine serve "
        "--as messages`.",
    ),
    click.option(
        "--budget", default="1", show_default=True, help="The most that a run's questions may cost, USD."
    ),
    click.option(
        "--budget-day",
        default="5",
        show_default=True,
        help="The most that a UTC day may cost, all runs together, USD; a local server costs nothing.",
    ),
    click.option(
        "--spending",
        default="data/spending.json",
        show_default=True,
        metavar="FILE",
        help="Where what was spent is written down, day by day, for all runs.",
    ),
    click.option(
        "--asking-limit",
        default=DEFAULT_LIMIT_S,
        show_default=True,
        help="How long one question is pursued, seconds.",
    ),
]


def asking_options(function: F) -> F:
    """Decorate a command with what can be said about asking Claude."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def buying_options(function: F) -> F:
    """The same for a command that asks in batches, where no single question is pursued."""
    for option in reversed(_OPTIONS[:-1]):
        function = option(function)
    return function


def asking_config(options: dict[str, Any], loaded: LoadedStrategy) -> AskingConfig | None:
    """How the strategy's questions are asked, None when it asks none.

    Raises UsageError where they cannot be: no package, no key, no address.
    """
    if "on_answer" not in loaded.handlers:
        return None
    from engine.live import asking_client as client

    config = asking_settings(options)
    client.check_package()
    client.key_for(config)
    return config


def asking_settings(options: dict[str, Any], *, dry: bool = False) -> AskingConfig:
    """How questions are asked, if any are: neither the package nor a key is looked for.

    Raises UsageError, and InputError when what was spent cannot be read (`dry`: nobody looks).
    """
    from engine.live import asking_client as client
    from engine.live.spending import spending_of

    config = client.check_asking(
        client.AskingConfig(
            base_url=options["claude_url"],
            limit_s=options.get("asking_limit", DEFAULT_LIMIT_S),
            per_run_nano_usd=_budget(options, "budget"),
            per_day_nano_usd=_budget(options, "budget_day"),
            spending=options["spending"],
        )
    )
    spending = None if dry else spending_of(config)
    if spending is not None:
        spending.look()
    return config


def _budget(options: dict[str, Any], name: str) -> int:
    """A budget in nano-USD. Raises UsageError."""
    from engine.config import parse_decimal_option

    option = f"--{name.replace('_', '-')}"
    nano = int(parse_decimal_option(options[name], option, _NANO_DECIMALS, scale=10**_NANO_DECIMALS))
    if nano <= 0:
        raise UsageError(f"{option} {options[name]}: nothing could be asked", hint=f"{option} 0.50")
    return nano


def edge_for(config: AskingConfig) -> Callable[[Deliver], AskingProcess]:
    """Starts the process that asks, once it is known where answers go."""
    from engine.live.asking_process import AskingProcess

    def make(deliver: Deliver) -> AskingProcess:
        asking = AskingProcess(config, deliver)
        asking.wait_until_ready()
        return asking

    return make


def check_asking_options(*, asked: bool) -> None:
    """UsageError for an option of asking on a command that will not ask."""
    from click.core import ParameterSource

    context = click.get_current_context()
    for option in _OPTIONS_OF_ASKING:
        if not asked and context.get_parameter_source(option) is ParameterSource.COMMANDLINE:
            raise UsageError(
                f"--{option.replace('_', '-')} counts where Claude is asked", hint="--answers call"
            )


def end_answers(answers: StoreSource, folder: Path) -> None:
    """The run is over, however it ended: keep what it was answered with it, what it bought in the store."""
    from engine.answers.models import usd
    from engine.cli.answers_list import many
    from engine.cli.common import note

    try:
        answers.keep(folder)  # first: as the store was while it was asked
    finally:
        answers.close()
        bought = getattr(answers, "bought", 0)
        spent = getattr(answers, "spent_nano_usd", 0)
        if bought or spent:
            note(f"bought {many(bought, 'answer')} for {usd(spent)}")
