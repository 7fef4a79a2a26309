"""Venue profiles: named sets of fees and matching rules, as data.

A profile is a TOML file. What it does not say is as in `default`, the conservative rules that headlines are
reported under; nothing in the engine asks for a profile by name.

    note = "what it stands for, and where its figures are from"
    [fees]            # the fields of engine.config.Fees; rates in basis points of notional, all as texts
    maker_bp = "10"   # negative is a rebate
    [[fees.tiers]]    # rates from a traded notional on
    notional = "1000000"
    maker_bp = "9"
    taker_bp = "10"
    [venues.kraken]   # the same fields: what one venue charges in a run over several
    [rules]           # the fields of engine.config.Rules
    queue = "power3"
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.config import (
    MAX_QUEUE_POWER,
    QUEUES,
    STOP_SOURCES,
    Fees,
    FeeTier,
    Rules,
    check_fees,
    parse_basis_points,
)
from engine.model.errors import UsageError

FOLDER = Path(__file__).resolve().parent


class _Tier(msgspec.Struct, forbid_unknown_fields=True):
    notional: str
    maker_bp: str
    taker_bp: str


class _FeeTable(msgspec.Struct, forbid_unknown_fields=True):
    maker_bp: str = "10"
    taker_bp: str = "10"
    buy_bp: str = "0"
    sell_bp: str = "0"
    per_unit: str = "0"
    sell_per_unit: str = "0"
    most_per_unit: str = "0"
    per_fill: str = "0"
    asset: str = "quote"
    tiers: tuple[_Tier, ...] = ()


class _File(msgspec.Struct, forbid_unknown_fields=True):
    note: str
    fees: _FeeTable = msgspec.field(default_factory=_FeeTable)
    venues: dict[str, _FeeTable] = {}
    rules: Rules = Rules()


class Profile(msgspec.Struct, frozen=True):
    """What a profile says."""

    name: str
    note: str
    fees: Fees
    rules: Rules
    venue_fees: dict[str, Fees] = {}


def profile_names() -> tuple[str, ...]:
    """The profiles that come with the engine."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load_profile(reference: str) -> Profile:
    """A shipped profile by name, or one of a file; UsageError says what is wrong with it."""
    path = Path(reference)
    if path.suffix != ".toml":
        if reference not in profile_names():
            raise UsageError(
                f'--profile: there is no profile "{reference}"',
                hint=f"one of {', '.join(profile_names())}, or a file.toml",
            )
        path = FOLDER / f"{reference}.toml"
    try:
        read = msgspec.toml.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise UsageError(f"--profile {reference}: {error.strerror or error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--profile {reference}: {error}",
            hint="note, [fees], [venues.NAME] and [rules] with the fields of docs/orders.md",
        ) from None
    if read.rules.queue not in QUEUES or not 1 <= read.rules.queue_power <= MAX_QUEUE_POWER:
        raise UsageError(
            f'--profile {reference}: queue "{read.rules.queue}", queue_power {read.rules.queue_power}',
            hint=f"a queue is one of {', '.join(QUEUES)}, its power 1 to {MAX_QUEUE_POWER}",
        )
    if read.rules.stop_source not in STOP_SOURCES:
        raise UsageError(
            f'--profile {reference}: stop_source "{read.rules.stop_source}"',
            hint=f"one of {', '.join(STOP_SOURCES)}",
        )
    where = f"--profile {reference}"
    return Profile(
        path.stem,
        read.note,
        _fees(read.fees, where),
        read.rules,
        {venue: _fees(table, f"{where}: {venue}") for venue, table in read.venues.items()},
    )


def _fees(table: _FeeTable, where: str) -> Fees:
    """A table of fees as the configuration has it; UsageError names the field."""

    def rate(holder: object, name: str) -> int:
        return parse_basis_points(getattr(holder, f"{name}_bp"), f"{where}: {name}_bp")

    fees = Fees(
        maker=rate(table, "maker"),
        taker=rate(table, "taker"),
        tiers=tuple(FeeTier(t.notional, rate(t, "maker"), rate(t, "taker")) for t in table.tiers),
        buy=rate(table, "buy"),
        sell=rate(table, "sell"),
        per_unit=table.per_unit,
        sell_per_unit=table.sell_per_unit,
        most_per_unit=table.most_per_unit,
        per_fill=table.per_fill,
        asset=table.asset,
    )
    check_fees(fees, where)
    return fees
