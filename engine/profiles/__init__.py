"""Venue profiles: named sets of fees and matching rules, as data.

A profile is a TOML file. What it does not say is as in `default`, the conservative rules that headlines are
reported under; nothing in the engine asks for a profile by name.

    note = "what it stands for, and where its figures are from"
    [fees]            # basis points of notional, as texts; negative is a rebate
    maker_bp = "10"
    [rules]           # the fields of engine.config.Rules
    queue = "power3"
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.config import MAX_QUEUE_POWER, QUEUES, STOP_SOURCES, Fees, Rules, parse_basis_points
from engine.model.errors import UsageError

FOLDER = Path(__file__).resolve().parent


class _FeeTable(msgspec.Struct, forbid_unknown_fields=True):
    maker_bp: str = "10"
    taker_bp: str = "10"


class _File(msgspec.Struct, forbid_unknown_fields=True):
    note: str
    fees: _FeeTable = msgspec.field(default_factory=_FeeTable)
    rules: Rules = Rules()


class Profile(msgspec.Struct, frozen=True):
    """What a profile says."""

    name: str
    note: str
    fees: Fees
    rules: Rules


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
            hint="note, [fees] maker_bp and taker_bp, and [rules] with the fields of docs/orders.md",
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
    fees = Fees(
        parse_basis_points(read.fees.maker_bp, f"--profile {reference}: maker_bp"),
        parse_basis_points(read.fees.taker_bp, f"--profile {reference}: taker_bp"),
    )
    return Profile(path.stem, read.note, fees, read.rules)
