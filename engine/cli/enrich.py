"""`engine enrich`: buys, in batches at half the price, the answers that a backtest would miss.

What is missing is found by running the backtest, with the strategy's defaults in place of what is not there.
An answer may lead to other questions: so it is run again with what was bought, until nothing is missing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from engine.cli.asking import asking_settings, buying_options
from engine.cli.common import emit, json_option, note, relative, warn
from engine.cli.options import deciding_options, prepare_kernels, run_config, run_strategy
from engine.model.errors import EngineError, UsageError

if TYPE_CHECKING:
    from engine.answers.plan import Plan
    from engine.answers.requests import Request
    from engine.live.asking_client import AskingConfig
    from engine.live.batches import Bought, Buyer, Failed

ROUNDS = 5


class Enriched(msgspec.Struct):
    """What it came to."""

    asked: int = 0  # questions of the last run over the logs
    missing: int = 0  # answers that it still lacked
    bought: int = 0
    cost_nano_usd: int = 0
    plans: list[Plan] = []  # of each round
    batches: list[str] = []
    failed: list[Failed] = []
    dry_run: bool = False

    def take(self, everything: list[Bought]) -> None:
        """What became of batches."""
        for one in everything:
            self.bought += one.answers
            self.cost_nano_usd += one.cost_nano_usd
            self.batches.append(one.batch)
            self.failed += one.failed


@click.command()
@click.argument("logs", nargs=-1, metavar="LOG...")
@deciding_options
@click.option("--with-commands", is_flag=True, help="Obey the log's COMMAND rows, as the backtest will.")
@buying_options
@click.option(
    "--answers-folder", default="data/answers", show_default=True, help="The store that gets the answers."
)
@click.option(
    "--answer-latency",
    default="1s",
    show_default=True,
    metavar="DURATION",
    help="How long after its question an answer is taken to come: a batch does not know.",
)
@click.option(
    "--rounds",
    default=ROUNDS,
    show_default=True,
    type=click.IntRange(min=1),
    help="How often to buy, since answers lead to other questions.",
)
@click.option("--yes", is_flag=True, help="Buy without asking whether to.")
@click.option("--dry-run", is_flag=True, help="Only show what is missing and what it would cost.")
@click.option("--resume", is_flag=True, help="Only finish what was interrupted.")
@json_option
def enrich(logs: tuple[str, ...], *, as_json: bool, **options: Any) -> int:
    """Buy the answers that a backtest over LOG... would miss, through the Batches API at half the price.

    It shows how many there are and what they can cost, and asks before it buys. What was interrupted is
    finished first. Exit code 1 when answers are still missing.
    """
    if options["resume"] == bool(logs):
        raise UsageError(
            "a log to find questions in, or --resume to finish what was interrupted", hint="one of the two"
        )
    if options["dry_run"] and options["resume"]:
        raise UsageError("--dry-run shows what a log's backtest would miss", hint="leave out --resume")
    done = Enriched(plans=[], batches=[], failed=[], dry_run=options["dry_run"])
    settings = asking_settings(options, dry=options["dry_run"])
    if logs:
        questions = _Questions(logs, options)
    try:
        with _buying(settings, options) as (runner, buyer):
            _resume(runner, buyer, settings, done)
            if logs:
                _rounds(runner, buyer, settings, questions, options, done)
    except EngineError:
        if done.batches:  # what was bought before is shown all the same
            emit(done, as_json=as_json, text=lambda: _text(done, options))
        raise
    emit(done, as_json=as_json, text=lambda: _text(done, options))
    return 1 if done.failed or (done.missing and not done.dry_run) else 0


class _Questions:
    """Runs the backtest, as often as one wants to know what it misses."""

    def __init__(self, logs: tuple[str, ...], options: dict[str, Any]) -> None:
        from msgspec.structs import replace

        from engine.config import MAX_LATENCY_NS, parse_duration
        from engine.log.segments import expand
        from engine.report.runs import log_header

        self.latency_ns = parse_duration(options["answer_latency"], "--answer-latency")
        if not 0 < self.latency_ns <= MAX_LATENCY_NS:
            raise UsageError(
                f"--answer-latency {options['answer_latency']}: more than nothing, an hour at most",
                hint="--answer-latency 1s",
            )
        self._options = options
        self._paths = expand(list(logs))
        for path in self._paths:  # before anything is compiled
            log_header(path)
        config = run_config(options, with_commands=options["with_commands"])
        self._config = replace(config, answers="default")
        loaded = run_strategy(options)
        if "on_answer" not in loaded.handlers:
            raise UsageError(f"--strategy {options['strategy']}: asks nothing: it has no on_answer")
        prepare_kernels()

    def missing(self) -> tuple[int, dict[str, Request]]:
        """How many questions are asked, and those that the store has no answer to, by key, as they come."""
        from engine.answers.source import MissingSource
        from engine.answers.store import AnswerStore
        from engine.log.journal import Journal
        from engine.loop.backtest import run_backtest

        source = MissingSource(AnswerStore(Path(self._options["answers_folder"])))
        # A strategy has a state: each run begins with a fresh one.
        run_backtest(self._paths, self._config, run_strategy(self._options), Journal(), answers=source)
        return source.asked, source.missing


@contextmanager
def _buying(settings: AskingConfig, options: dict[str, Any]) -> Iterator[tuple[asyncio.Runner, Buyer]]:
    """The one who buys, alone in the store's folder, and the event loop that it does so in."""
    from engine.cli.answers_list import store_in
    from engine.live.batches import Buyer
    from engine.live.spending import spending_of

    folder = Path(options["answers_folder"])
    store_in(folder)  # with what killed runs had bought
    buyer = Buyer(settings, folder, spending_of(settings), say=_Progress().show)
    if options["dry_run"]:
        with asyncio.Runner() as runner:
            yield runner, buyer
        return
    with buyer.pending.alone(), asyncio.Runner() as runner:
        try:
            yield runner, buyer
        except BaseException:
            with suppress(EngineError):  # that is said already
                if buyer.left()[0]:
                    note("what has been bought goes on without us: engine enrich --resume fetches it")
            raise
        finally:
            runner.run(buyer.close())


def _resume(runner: asyncio.Runner, buyer: Buyer, settings: AskingConfig, done: Enriched) -> None:
    """Finish what was interrupted; of a dry run, and of other addresses, only say that there is something."""
    mine, others = buyer.left()
    for pending in others:
        warn(f"{relative(pending.path)}: is being bought at {pending.intent.address}: --claude-url, --resume")
    if mine and done.dry_run:
        warn(f"{relative(mine[0].path.parent)}: bought and not fetched yet: engine enrich --resume")
    elif mine:
        _check_key(settings)
        note(f"finishing what was interrupted: {len(mine):,} of {relative(mine[0].path.parent)}")
        done.take(runner.run(buyer.resume()))


def _rounds(
    runner: asyncio.Runner,
    buyer: Buyer,
    settings: AskingConfig,
    questions: _Questions,
    options: dict[str, Any],
    done: Enriched,
) -> None:
    """Look what is missing, buy it, and look again."""
    from engine.answers.plan import plan_of

    spent = 0
    for number in range(options["rounds"] + 1):
        done.asked, missing = questions.missing()
        done.missing = len(missing)
        failed = {one.key for one in done.failed}  # the next run may buy them
        requests = [request for key, request in missing.items() if key not in failed]
        if not requests or number == options["rounds"]:
            return
        plan = plan_of(requests)
        done.plans.append(plan)
        note(plan.text() if number == 0 else f"round {number + 1}: {plan.text()}")
        if done.dry_run:
            return
        _check_budget(plan, settings.per_run_nano_usd - spent, options)
        if not _agreed(plan, options):
            note("nothing was bought")
            return
        _check_key(settings)
        bought = runner.run(buyer.buy(requests, questions.latency_ns))
        spent += sum(one.cost_nano_usd for one in bought)
        done.take(bought)


def _check_budget(plan: Plan, left: int, options: dict[str, Any]) -> None:
    from engine.answers.models import usd

    if plan.most_nano_usd > left:
        raise UsageError(
            f"--budget {options['budget']}: {usd(max(left, 0))} of it are left, and these answers can cost "
            f"{usd(plan.most_nano_usd)}",
            hint="nothing of it was bought; name a larger --budget, or a log with fewer questions",
        )


def _agreed(plan: Plan, options: dict[str, Any]) -> bool:
    """Whether the user wants it. Raises UsageError where nobody can be asked."""
    from engine.answers.models import usd
    from engine.cli.answers_list import many

    if options["yes"]:
        return True
    if not sys.stdin.isatty():
        raise UsageError(
            "without a terminal nobody can be asked whether to buy",
            hint="--yes buys, --dry-run only shows",
        )
    question = f"buy {many(plan.questions, 'answer')} for at most {usd(plan.most_nano_usd)}?"
    return click.confirm(question, default=False, err=True)


def _check_key(settings: AskingConfig) -> None:
    from engine.live.asking_client import check_package, key_for

    check_package()
    key_for(settings)


def _text(done: Enriched, options: dict[str, Any]) -> str:
    from engine.answers.models import usd
    from engine.cli.answers_list import many
    from engine.cli.common import printable

    lines = []
    if done.bought or done.batches:
        lines.append(f"bought {many(done.bought, 'answer')} for {usd(done.cost_nano_usd)}")
    lines += [
        f'failed: {one.key[:12]} {one.prompt} "{printable(one.question)}": {printable(one.error)}'
        for one in done.failed
    ]
    if options["resume"]:
        return "\n".join(lines or ["nothing was interrupted"])
    if not done.missing:
        lines.append(f"nothing is missing: {many(done.asked, 'question')}, all of them answered")
    elif not done.dry_run:
        lines.append(f"still missing: {many(done.missing, 'answer')}; the same command buys what is left")
    else:
        lines.append("nothing was bought")
    return "\n".join(lines)


class _Progress:
    """How far batches have come, on stderr: one line that changes on a terminal, else what is new."""

    def __init__(self) -> None:
        self._said = ""

    def show(self, words: str) -> None:
        """Say it, if it is news."""
        if words != self._said:
            note(words)
        self._said = words
