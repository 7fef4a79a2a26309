"""Options of a session whose strategy asks Claude, and the edge that they describe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from engine.model.errors import UsageError

if TYPE_CHECKING:
    from engine.live.asking_client import AskingConfig
    from engine.live.asking_process import AskingProcess, Deliver
    from engine.strategy.loader import LoadedStrategy

F = TypeVar("F", bound=Callable[..., Any])
ADDRESS_VARIABLE = "ANTHROPIC_BASE_URL"
_NANO_DECIMALS = 9

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
        "--asking-limit", default=30.0, show_default=True, help="How long one question is pursued, seconds."
    ),
]


def asking_options(function: F) -> F:
    """Decorate a command with what can be said about asking Claude."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def asking_config(options: dict[str, Any], loaded: LoadedStrategy) -> AskingConfig | None:
    """How the strategy's questions are asked, None when it asks none.

    Raises UsageError where they cannot be: no package, no key, no address.
    """
    if "on_answer" not in loaded.handlers:
        return None
    from engine.config import parse_decimal_option
    from engine.live import asking_client as client

    limit = int(parse_decimal_option(options["budget"], "--budget", _NANO_DECIMALS, scale=10**_NANO_DECIMALS))
    if limit <= 0:
        raise UsageError(f"--budget {options['budget']}: nothing could be asked", hint="--budget 0.50")
    config = client.check_asking(
        client.AskingConfig(
            base_url=options["claude_url"],
            limit_s=options["asking_limit"],
            per_run_nano_usd=limit,
        )
    )
    client.check_package()
    client.key_for(config)
    return config


def edge_for(config: AskingConfig) -> Callable[[Deliver], AskingProcess]:
    """Starts the process that asks, once it is known where answers go."""
    from engine.live.asking_process import AskingProcess

    def make(deliver: Deliver) -> AskingProcess:
        asking = AskingProcess(config, deliver)
        asking.wait_until_ready()
        return asking

    return make
