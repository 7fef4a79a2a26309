"""Options that a backtest and a live session share: what a run is asked to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.strategy.loader import LoadedStrategy

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_STRATEGY = "ema_cross"

_RUN_OPTIONS = [
    click.option(
        "--strategy", default=DEFAULT_STRATEGY, show_default=True, help="A shipped name or a file.py[:Class]."
    ),
    click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a strategy parameter."),
    click.option("--config", "config_file", metavar="FILE", help="TOML file of parameters: fast = 20."),
    click.option(
        "--latency", default="20ms", show_default=True, help="All three latencies, or feed,entry,response."
    ),
    click.option(
        "--latency-table",
        default=None,
        metavar="FILE",
        help="CSV of recorded orders (sent,at the venue,answered; ns): entry and response as they were then.",
    ),
    click.option(
        "--profile",
        default="default",
        show_default=True,
        metavar="NAME|FILE",
        help="The venue's fees and rules: a shipped profile or a TOML file.",
    ),
    click.option("--maker-fee-bp", default=None, help="Maker fee, basis points of notional [profile: 10]."),
    click.option("--taker-fee-bp", default=None, help="Taker fee, basis points of notional [profile: 10]."),
    click.option(
        "--queue",
        default=None,
        metavar="MODEL",
        help="risk_averse, power:N, power2:N, power3:N, log or log2 [profile: risk_averse].",
    ),
    click.option(
        "--clock",
        default="received",
        show_default=True,
        metavar="received|venue",
        help="Rows meet orders when they were received, or when the venue stamped them.",
    ),
    click.option(
        "--venue-shift",
        "venue_shifts",
        multiple=True,
        metavar="NAME=DURATION",
        help="Clock venue: add this to a venue's stamps, binance=-15ms.",
    ),
    click.option(
        "--lookahead",
        default=None,
        metavar="DURATION",
        help="Clock venue: believe stamps up to this much older than their receipt [default: 10s].",
    ),
    click.option(
        "--account",
        type=click.Choice(["research", "cash"]),
        default="research",
        show_default=True,
        help="research: unlimited. cash: nothing goes negative.",
    ),
    click.option("--capital", default="100000", show_default=True, help="Starting cash."),
    click.option(
        "--currency", default="", help="Of the capital; default: what the first instrument is quoted in."
    ),
    click.option("--max-position", default="", metavar="SIZE", help="Position cap per symbol, base units."),
    click.option(
        "--collar",
        default="0.5",
        show_default=True,
        metavar="PERCENT",
        help="Refuse limit prices further than this beyond mid; 0: off.",
    ),
    click.option(
        "--slippage-ticks", default=1, show_default=True, help="Of a taker where only trades are known."
    ),
    click.option("--seed", default=0, show_default=True, help="Of ctx.random."),
    click.option(
        "--runs", "runs_folder", default="runs", show_default=True, help="Where the run's folder goes."
    ),
]


def run_options(function: F) -> F:
    """Decorate a command with everything that a run can be asked."""
    for option in reversed(_RUN_OPTIONS):
        function = option(function)
    return function


def run_config(options: dict[str, Any], *, with_commands: bool) -> RunConfig:
    """The configuration that the options ask for; UsageError names the option."""
    from pathlib import Path

    from msgspec.structs import replace

    from engine.config import (
        MAX_CAPITAL,
        MAX_COLLAR_PERCENT,
        MAX_LATENCY_NS,
        MAX_SLIPPAGE_TICKS,
        Account,
        Latency,
        Risk,
        RunConfig,
        parse_basis_points,
        parse_decimal_option,
        parse_duration,
        parse_latency_table,
        parse_queue,
    )
    from engine.model.errors import UsageError
    from engine.profiles import load_profile

    parts = [p.strip() for p in options["latency"].split(",")]
    if len(parts) not in (1, 3):
        raise UsageError(
            f"--latency {options['latency']}: one duration, or three", hint="--latency 5ms,10ms,10ms"
        )
    feed, entry, response = (
        parse_duration(p, "--latency") for p in (parts * 3 if len(parts) == 1 else parts)
    )
    if max(feed, entry, response) > MAX_LATENCY_NS:
        raise UsageError(f"--latency {options['latency']}: an hour is the most", hint="--latency 20ms")
    if not 0 <= options["slippage_ticks"] <= MAX_SLIPPAGE_TICKS:
        raise UsageError(
            f"--slippage-ticks {options['slippage_ticks']}: must be between 0 and {MAX_SLIPPAGE_TICKS:,}"
        )
    if not 0 <= options["seed"] < 2**63:
        raise UsageError(f"--seed {options['seed']}: must be between 0 and 2^63")
    profile = load_profile(options["profile"])
    fees, rules = profile.fees, profile.rules
    if options["maker_fee_bp"] is not None:
        fees = replace(fees, maker=parse_basis_points(options["maker_fee_bp"], "--maker-fee-bp"))
    if options["taker_fee_bp"] is not None:
        fees = replace(fees, taker=parse_basis_points(options["taker_fee_bp"], "--taker-fee-bp"))
    if options["queue"] is not None:
        rules = replace(rules, **parse_queue(options["queue"], "--queue"))
    table: tuple[tuple[int, int, int], ...] = ()
    if options["latency_table"] is not None:
        file = Path(options["latency_table"])
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UsageError(f"--latency-table {file}: {reason}") from None
        table = parse_latency_table(text, f"--latency-table {file}")
    return RunConfig(
        latency=Latency(feed, entry, response, table),
        **_clock(options),
        profile=profile.name,
        fees=fees,
        rules=rules,
        account=Account(
            options["account"],
            parse_decimal_option(options["capital"], "--capital", 8, most=MAX_CAPITAL),
            options["currency"],
        ),
        risk=Risk(
            position_cap=parse_decimal_option(options["max_position"], "--max-position", 18)
            if options["max_position"]
            else "",
            collar_millionths=int(
                parse_decimal_option(options["collar"], "--collar", 4, scale=10_000, most=MAX_COLLAR_PERCENT)
            ),
        ),
        slippage_ticks=options["slippage_ticks"],
        seed=options["seed"],
        with_commands=with_commands,
    )


def _clock(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of RunConfig that say whose time rows meet orders at."""
    from engine.config import CLOCKS, MAX_LATENCY_NS, parse_duration
    from engine.model.errors import UsageError

    clock = options["clock"]
    if clock not in CLOCKS:
        raise UsageError(f'--clock: there is no clock "{clock}"', hint=f"one of {', '.join(CLOCKS)}")
    named = "--venue-shift" if options["venue_shifts"] else "--lookahead" if options["lookahead"] else ""
    if clock != "venue":
        if named:
            raise UsageError(f"{named} counts only where stamps do", hint="add --clock venue")
        return {"clock": clock}
    fields: dict[str, Any] = {"clock": clock, "venue_shift_ns": {}}
    for text in options["venue_shifts"]:
        name, sign, duration = text.partition("=")
        if not (name and sign):
            raise UsageError(f"--venue-shift {text}: a venue and a duration", hint="binance=-15ms")
        if name in fields["venue_shift_ns"]:
            raise UsageError(f"--venue-shift {text}: {name} has one already", hint="one for each venue")
        shift = parse_duration(duration.strip().removeprefix("-").removeprefix("+"), f"--venue-shift {name}")
        if shift > MAX_LATENCY_NS:
            raise UsageError(f"--venue-shift {text}: an hour is the most", hint="binance=-15ms")
        fields["venue_shift_ns"][name] = -shift if duration.strip().startswith("-") else shift
    if options["lookahead"]:
        fields["lookahead_ns"] = parse_duration(options["lookahead"], "--lookahead")
        if fields["lookahead_ns"] > MAX_LATENCY_NS:
            raise UsageError(
                f"--lookahead {options['lookahead']}: an hour is the most", hint="--lookahead 10s"
            )
    return fields


def run_strategy(options: dict[str, Any]) -> LoadedStrategy:
    """Load the strategy that the options name, with its parameters."""
    from pathlib import Path

    from engine.strategy.loader import load_strategy
    from engine.strategy.parameters import read_table

    table = None
    if options["config_file"]:
        table = read_table(Path(options["config_file"]))
    return load_strategy(
        options["strategy"], options["settings"], table=table, origin=options["config_file"] or ""
    )


def prepare_kernels() -> None:
    """Import the kernels; the first time ever this compiles them, which is said on stderr."""
    from engine.cli.common import note
    from engine.model import jit

    if jit.is_compiled():
        import engine.loop.run
    else:
        import time

        note("compiling the engine's kernels, once for this version (about three quarters of a minute) …")
        began = time.perf_counter()
        import engine.loop.run  # noqa: F401  all of them, those that it calls included

        jit.mark_compiled()
        note(f"compiled in {time.perf_counter() - began:.1f} s into {jit.cache_folder()}")
