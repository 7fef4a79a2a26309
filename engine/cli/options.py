"""Options that a backtest and a live session share: what a run is asked to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from engine.config import Fees, RunConfig
    from engine.strategy.loader import LoadedStrategy

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_STRATEGY = "ema_cross"
DEFAULT_LATENCY = "20ms"

_RUN_OPTIONS = [
    click.option(
        "--strategy", default=DEFAULT_STRATEGY, show_default=True, help="A shipped name or a file.py[:Class]."
    ),
    click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a strategy parameter."),
    click.option("--config", "config_file", metavar="FILE", help="TOML file of parameters: fast = 20."),
    click.option(
        "--latency",
        default=None,
        metavar="DURATION",
        help="All three latencies, or feed,entry,response [20ms; on bars none, unless it is given].",
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
        "--buy-fee-bp", default=None, help="Surcharge on what is bought, basis points [profile: 0]."
    ),
    click.option("--sell-fee-bp", default=None, help="Surcharge on what is sold, basis points [profile: 0]."),
    click.option("--fee-per-unit", default=None, metavar="AMOUNT", help="Fee a base unit [profile: 0]."),
    click.option("--fee-per-fill", default=None, metavar="AMOUNT", help="Fee a fill [profile: 0]."),
    click.option(
        "--fee-asset",
        default=None,
        metavar="quote|received|NAME",
        help="What fees are charged in; an asset by name is valued at its last price [profile: quote].",
    ),
    click.option(
        "--venue-fees",
        "venue_fees",
        multiple=True,
        metavar="VENUE=PROFILE",
        help="Fees of one venue of the run, as another profile has them.",
    ),
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
        type=click.Choice(["research", "cash", "margin"]),
        default="research",
        show_default=True,
        help="research: unlimited. cash: nothing goes negative. margin: up to a multiple of the equity.",
    ),
    click.option(
        "--leverage",
        default=None,
        metavar="NUMBER",
        help="Account margin: buying power over equity [default: 2].",
    ),
    click.option(
        "--borrow-fee",
        default=None,
        metavar="PERCENT",
        help="Account margin: a year, of what short positions are worth [default: 0].",
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
        "--slippage",
        default="1",
        show_default=True,
        metavar="TICKS|Nbp|random:...",
        help="Of a taker where the data do not say what stood there: 1, 2bp, random:3, random:2bp.",
    ),
    click.option("--seed", default=0, show_default=True, help="Of ctx.random, and of random slippage."),
    click.option(
        "--runs", "runs_folder", default="runs", show_default=True, help="Where the run's folder goes."
    ),
]


def run_options(function: F) -> F:
    """Decorate a command with everything that a run can be asked."""
    for option in reversed(_RUN_OPTIONS):
        function = option(function)
    return function


def deciding_options(function: F) -> F:
    """As `run_options`, for a command that leaves no run's folder."""
    for option in reversed(_RUN_OPTIONS[:-1]):
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
        Account,
        Latency,
        Risk,
        RunConfig,
        check_config,
        parse_decimal_option,
        parse_duration,
        parse_latency_table,
        parse_queue,
        parse_slippage,
    )
    from engine.model.errors import UsageError
    from engine.profiles import load_profile

    latency = options["latency"] or DEFAULT_LATENCY
    parts = [p.strip() for p in latency.split(",")]
    if len(parts) not in (1, 3):
        raise UsageError(f"--latency {latency}: one duration, or three", hint="--latency 5ms,10ms,10ms")
    feed, entry, response = (
        parse_duration(p, "--latency") for p in (parts * 3 if len(parts) == 1 else parts)
    )
    if max(feed, entry, response) > MAX_LATENCY_NS:
        raise UsageError(f"--latency {latency}: an hour is the most", hint="--latency 20ms")
    if not 0 <= options["seed"] < 2**63:
        raise UsageError(f"--seed {options['seed']}: must be between 0 and 2^63")
    profile = load_profile(options["profile"])
    rules = profile.rules
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
    config = RunConfig(
        latency=Latency(feed, entry, response, table),
        bar_latency=options["latency"] is not None or options["latency_table"] is not None,
        **_clock(options),
        profile=profile.name,
        fees=_fees(options, profile.fees),
        venue_fees=_venue_fees(options, profile.venue_fees),
        rules=rules,
        account=Account(
            options["account"],
            parse_decimal_option(options["capital"], "--capital", 8, most=MAX_CAPITAL),
            options["currency"],
            **_margin(options),
        ),
        risk=Risk(
            position_cap=parse_decimal_option(options["max_position"], "--max-position", 18)
            if options["max_position"]
            else "",
            collar_millionths=int(
                parse_decimal_option(options["collar"], "--collar", 4, scale=10_000, most=MAX_COLLAR_PERCENT)
            ),
        ),
        **parse_slippage(options["slippage"], "--slippage"),
        seed=options["seed"],
        with_commands=with_commands,
        answers=options.get("answers") or ("log" if with_commands else "error"),
    )
    check_config(config)
    return config


def _fees(options: dict[str, Any], fees: Fees) -> Fees:
    """The profile's fees with what the options say in their place."""
    from msgspec.structs import replace

    from engine.config import MAX_FEE_AMOUNT, parse_basis_points, parse_decimal_option

    for field in ("maker", "taker", "buy", "sell"):
        name = f"{field}_fee_bp"
        if options[name] is not None:
            rate = parse_basis_points(options[name], f"--{field}-fee-bp")
            # A rate that was asked for is the rate, whatever has been traded.
            fees = replace(fees, **{field: rate}, **({"tiers": ()} if field in ("maker", "taker") else {}))
    for field in ("per_unit", "per_fill"):
        if options[f"fee_{field}"] is not None:
            option = f"--fee-{field.replace('_', '-')}"
            text = parse_decimal_option(options[f"fee_{field}"], option, 8, most=MAX_FEE_AMOUNT)
            fees = replace(fees, **{field: text})
    return fees if options["fee_asset"] is None else replace(fees, asset=options["fee_asset"])


def _venue_fees(options: dict[str, Any], of_profile: dict[str, Fees]) -> dict[str, Fees]:
    """Fees by venue: the profile's, and those that --venue-fees takes from others."""
    from engine.model.errors import UsageError
    from engine.profiles import load_profile

    found = dict(of_profile)
    for text in options["venue_fees"]:
        venue, sign, reference = text.partition("=")
        if not (venue and sign and reference):
            raise UsageError(f"--venue-fees {text}: a venue and a profile", hint="kraken=kraken-spot")
        found[venue] = load_profile(reference).fees
    return found


def _margin(options: dict[str, Any]) -> dict[str, int]:
    """The fields of Account that only a margin account has."""
    from engine.config import MAX_BORROW_PERCENT, MAX_LEVERAGE, parse_decimal_option
    from engine.model.errors import UsageError

    fields = {}
    for name, option, field, scale, most in (
        ("leverage", "--leverage", "leverage_millionths", 1_000_000, MAX_LEVERAGE),
        ("borrow_fee", "--borrow-fee", "borrow_rate", 10_000_000, MAX_BORROW_PERCENT),
    ):
        if options[name] is None:
            continue
        if options["account"] != "margin":
            raise UsageError(f"{option} counts on a margin account", hint="add --account margin")
        decimals = 6 if name == "leverage" else 4
        fields[field] = int(parse_decimal_option(options[name], option, decimals, scale=scale, most=most))
    return fields


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
    """The first time ever, compile the kernels, which is said on stderr; afterwards they are there."""
    from engine.model import image

    if image.is_compiled():
        return
    import sys
    import time

    from engine.cli.common import note

    def progress(done: int, total: int) -> None:
        if total and sys.stderr.isatty():
            sys.stderr.write(f"\r{done} of {total}" if done < total else "\r\x1b[K")
            sys.stderr.flush()

    note("compiling the engine's kernels, once for this version (some twenty seconds) …")
    began = time.perf_counter()
    image.build(progress)
    note(f"compiled in {time.perf_counter() - began:.1f} s into {image.cache_folder()}")
