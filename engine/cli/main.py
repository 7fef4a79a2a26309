"""`engine`: finds the command, runs it, and turns errors into messages and exit codes.

Nothing heavy is imported here; a command's module is loaded when the command is called, and the one
line of help shown in the list stands in the table so that the list needs none of them.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Any

import click

from engine import __version__
from engine.model.errors import EngineError

# command -> (module, object in it, one line of help)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": ("engine.cli.demo", "demo", "The whole path, offline, in a minute or two."),
    "record": ("engine.cli.record", "record", "Record a venue's market data into a log."),
    "fetch": ("engine.cli.fetch", "fetch", "Fetch a venue's history into logs; it can be resumed."),
    "backtest": ("engine.cli.backtest", "backtest", "Run a strategy over recorded logs."),
    "enrich": ("engine.cli.enrich", "enrich", "Buy the answers that a backtest would miss, at half price."),
    "live": ("engine.cli.live", "live", "Run a strategy on live data (--paper: simulated venue)."),
    "verify": ("engine.cli.verify", "verify", "Run a run again and compare, decision by decision."),
    "diff": ("engine.cli.verify", "diff", "Name the first difference between two runs."),
    "why": ("engine.cli.verify", "why", "Lead an order back to the message that caused it."),
    "log": ("engine.cli.log", "log", "Look at logs, check, seal, import and query them."),
    "answers": ("engine.cli.answers", "answers", "What was asked of Claude: list, import, export, verify."),
    "serve": ("engine.cli.serve", "serve", "A local venue that speaks a venue's own protocol."),
    "doctor": ("engine.cli.doctor", "doctor", "Versions, CPU, cache, clock: what this machine is."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def __init__(self, *args: Any, table: dict[str, tuple[str, str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Names, in the order of the table."""
        return list(self.table)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module and take the command out of it."""
        entry = self.table.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(importlib.import_module(entry[0]), entry[1])
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in self.table.items()])


@click.command(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="engine")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def cli(ctx: click.Context, *, debug: bool) -> None:
    """Record, backtest, paper-trade and trade with one event-sourced engine."""
    ctx.obj = {"debug": debug}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code (0, 1, 2, 3, 4 or 130)."""
    arguments = sys.argv[1:] if argv is None else argv
    debug = "--debug" in arguments
    if debug:  # accepted anywhere on the line
        arguments = ["--debug", *(a for a in arguments if a != "--debug")]
    try:
        code = cli.main(args=arguments, prog_name="engine", standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except (EngineError, OSError) as error:
        sys.stderr.write(_clean(traceback.format_exc() if debug else f"error: {_words(error)}\n"))
        return error.exit_code if isinstance(error, EngineError) else 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except SystemExit:
        # How click answers when the reader of our output went away (| head): not an error of ours.
        return 0
    return code if isinstance(code, int) else 0


def _words(error: EngineError | OSError) -> str:
    text = str(error)
    if not isinstance(error, EngineError):
        # The last resort: whoever opens a file says more than this.
        where = f"{error.filename}: " if error.filename else ""
        text = f"{where}{error.strerror or error}"
    return text


def _clean(text: str) -> str:
    """A text without keys: an error may repeat what a server has said, and a traceback the error."""
    redact = sys.modules.get("engine.live.redact")  # whoever found a credential has imported it
    return text if redact is None else str(redact.KNOWN.text(text))


def run() -> None:
    """The console entry point."""
    try:
        code = main()
    except Exception:  # noqa: BLE001  a bug, whose words may repeat a key as well
        sys.stderr.write(_clean(traceback.format_exc()))
        code = 1
    sys.exit(code)
