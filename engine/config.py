"""What a run was asked to do, as frozen records: written to run.json, and enough to run it again.

Latencies are nanoseconds, fee rates integers of 1e-9 of the notional, money decimal texts. Nothing here
depends on the machine.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

import msgspec

from engine.model.errors import UsageError
from engine.model.units import MILLISECOND_NS, SECOND_NS

BEHAVIOUR_VERSION = 2  # grows when the loop decides differently on purpose

# What nobody means, and what would not fit into the loop's integers.
MAX_LATENCY_NS = 3600 * SECOND_NS
MAX_COLLAR_PERCENT = 100
MAX_SLIPPAGE_TICKS = 1_000_000
MAX_SLIPPAGE_RATE = 500_000_000  # half of the price
MAX_LEVERAGE = 100
MAX_BORROW_PERCENT = 1_000
MAX_FEE_AMOUNT = 1_000_000  # per unit or fill
MAX_FEE_RATE = 1_000_000_000
MAX_DIGITS = 18  # before the point of an amount
MAX_CAPITAL = 90_000_000_000  # in units of 1e-8 an int64


class Latency(msgspec.Struct, frozen=True):
    """Three latencies, ns: venue to us, us to venue, venue to us with an answer.

    `table` holds recorded orders (sent, at the venue, answered), by time; with it the last two are read off
    it by straight lines, and `entry_ns` and `response_ns` are not used.
    """

    feed_ns: int = 20 * MILLISECOND_NS
    entry_ns: int = 20 * MILLISECOND_NS
    response_ns: int = 20 * MILLISECOND_NS
    table: tuple[tuple[int, int, int], ...] = ()


class FeeTier(msgspec.Struct, frozen=True):
    """Rates from a notional on, a decimal text in the run's currency, that the run itself has traded."""

    notional: str
    maker: int
    taker: int


class Fees(msgspec.Struct, frozen=True):
    """What fills are charged. Rates on notional in 1e-9 (100_000 is a basis point), amounts decimal texts.

    maker, taker     rates; negative is a rebate
    tiers            rates in their place once the run has traded so much
    buy, sell        surcharges on the notional of one side
    per_unit         amount a base unit
    sell_per_unit    the same, of sales only, beside it
    most_per_unit    the most that these two come to in one fill; "0": no limit
    per_fill         amount a fill
    asset            what is charged: "quote", "received", or an asset by its name
    """

    maker: int = 1_000_000
    taker: int = 1_000_000
    tiers: tuple[FeeTier, ...] = ()
    buy: int = 0
    sell: int = 0
    per_unit: str = "0"
    sell_per_unit: str = "0"
    most_per_unit: str = "0"
    per_fill: str = "0"
    asset: str = "quote"


ACCOUNTS = ("research", "cash", "margin")


class Account(msgspec.Struct, frozen=True):
    """`research`: unlimited, shorts included. `cash`: nothing goes negative; open orders lock funds.

    `margin`: positions and open orders, shorts included, up to `leverage_millionths` of the equity; what is
    sold short is borrowed, at `borrow_rate` a year (1e-9 of its worth).
    """

    type: str = "research"  # of ACCOUNTS
    capital: str = "100000"
    currency: str = ""  # "": the quote currency of the first instrument
    leverage_millionths: int = 2_000_000
    borrow_rate: int = 0


class Risk(msgspec.Struct, frozen=True):
    """Limits before anything leaves. `position_cap` is in base units, "" for none."""

    position_cap: str = ""
    collar_millionths: int = 5_000


CLOCKS = ("received", "venue")
QUEUES = ("risk_averse", "power", "power2", "power3", "log", "log2")
STOP_SOURCES = ("last", "bid_ask", "mark")
MAX_QUEUE_POWER = 20
MAX_LATENCY_ROWS = 10_000  # they stand in the run's configuration


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the simulated venue matches. The defaults are the conservative ones; profiles choose others.

    queue, queue_power    the model of what stands before a resting order, and its n
    row_by_row            every row is a step of the matching; else a message is one
    consume               what we took of a displayed size stays taken while it is displayed
    share_trades          one trade's size is shared by our resting orders
    set_apart_late        a trade that the book already shows moves no queue
    unseen_is_empty       a price that the venue never showed has nothing before us; else nobody knows
    whole_through         a trade beyond our price fills the whole order; else at most its own size
    whole_fills           every match fills the whole order, whatever was displayed or traded
    post_only_expires     a post-only order that would match expires; else it is rejected
    remainder_expires     what an IOC order leaves expires; else it is cancelled
    stop_source           what triggers a stop: the "last" trade, "bid_ask" (the side it would take), "mark"
    stop_must_wait        a stop that would trigger on arrival is rejected; else it triggers
    """

    queue: str = "risk_averse"
    queue_power: int = 3
    row_by_row: bool = False
    consume: bool = True
    share_trades: bool = True
    set_apart_late: bool = True
    unseen_is_empty: bool = False
    whole_through: bool = False
    whole_fills: bool = False
    post_only_expires: bool = False
    remainder_expires: bool = False
    stop_source: str = "last"
    stop_must_wait: bool = False


class RunConfig(msgspec.Struct, frozen=True):
    """Everything but strategy and input that decides what a run does."""

    behaviour: int = BEHAVIOUR_VERSION
    latency: Latency = Latency()
    bar_latency: bool = False  # it was asked for: it holds for orders on bars as well, which else have none
    fees: Fees = Fees()
    account: Account = Account()
    risk: Risk = Risk()
    profile: str = "default"  # by name: what it says stands in `fees` and `rules`
    rules: Rules = Rules()
    clock: str = "received"  # of CLOCKS; "venue": rows meet orders at the venue's own time
    venue_shift_ns: dict[str, int] = {}  # by venue: added to its stamps, which ran ahead or behind
    lookahead_ns: int = 10 * SECOND_NS  # a stamp is taken to be that old at most
    venue_fees: dict[str, Fees] = {}  # by venue, in place of `fees`
    # Of a taker where the data do not say what stood there: engine.execution.slippage.
    slippage_ticks: int = 1
    slippage_rate: int = 0  # 1e-9 of the price; in place of ticks when it is not 0
    slippage_drawn: bool = False  # evenly between nothing and that
    seed: int = 0
    with_commands: bool = False
    # What a question is that no answer is recorded for: "error", "default" at its deadline, or "call": asked
    # during the run. "log": answers are rows of the log, as in the session that wrote it.
    answers: str = "error"


def check_fees(fees: Fees, what: str) -> None:
    """UsageError when a table of fees says what cannot be; `what` names it."""
    for name in ("per_unit", "sell_per_unit", "most_per_unit", "per_fill"):
        parse_decimal_option(getattr(fees, name), f"{what}: {name}", 8, most=MAX_FEE_AMOUNT)
        if fees.asset == "received" and Decimal(getattr(fees, name)):
            raise UsageError(
                f"{what}: {name} {getattr(fees, name)} with fees in the received asset",
                hint="no amount of money can be taken of a base asset: use rates alone, or another asset",
            )
    for name in ("buy", "sell"):
        if not 0 <= getattr(fees, name) <= MAX_FEE_RATE:
            raise UsageError(f"{what}: {name}: a surcharge is between 0 and 10,000 basis points")
    if not fees.asset or not re.fullmatch(r"[A-Za-z0-9._-]+", fees.asset):
        raise UsageError(
            f'{what}: asset "{fees.asset}" is none', hint='write "quote", "received", or an asset: "BNB"'
        )
    least = Decimal(0)
    for tier in fees.tiers:
        parse_decimal_option(tier.notional, f"{what}: tier", 8, most=MAX_CAPITAL)
        if Decimal(tier.notional) <= least:
            raise UsageError(
                f"{what}: the tier from {tier.notional} does not lie above {least}",
                hint="each tier begins above the one before, the first above zero",
            )
        least = Decimal(tier.notional)


def check_config(config: RunConfig) -> RunConfig:
    """The configuration; UsageError when it asks for what the engine has not, or contradicts itself."""
    check_fees(config.fees, "fees")
    for venue, fees in config.venue_fees.items():
        check_fees(fees, f"fees of {venue}")
    account = config.account
    if account.type not in ACCOUNTS:
        raise UsageError(f'there is no account "{account.type}"', hint=f"one of {', '.join(ACCOUNTS)}")
    if account.type != "margin" and account.borrow_rate:
        raise UsageError(
            f"a borrow fee counts on a margin account; the account is {account.type}",
            hint="add --account margin",
        )
    if not 1_000_000 <= account.leverage_millionths <= MAX_LEVERAGE * 1_000_000:
        raise UsageError(f"a leverage is between 1 and {MAX_LEVERAGE}", hint="write --leverage 2")
    return config


def parse_slippage(text: str, what: str) -> dict[str, Any]:
    """The slippage fields of RunConfig that "1", "2bp", "random:3" or "random:2bp" stands for."""
    word, colon, amount = text.strip().partition(":")
    drawn = bool(colon)
    if drawn and word != "random":
        raise UsageError(
            f'{what}: "{text}" is no slippage', hint="write 1 (ticks), 2bp, random:3 or random:2bp"
        )
    amount = (amount if drawn else word).strip()
    if amount.endswith("bp"):
        rate = parse_basis_points(amount.removesuffix("bp"), what)
        if not 0 <= rate <= MAX_SLIPPAGE_RATE:
            raise UsageError(f"{what} {text}: must be between 0 and {MAX_SLIPPAGE_RATE // 100_000:,} bp")
        return {"slippage_ticks": 0, "slippage_rate": rate, "slippage_drawn": drawn and rate > 0}
    if not amount.isdecimal() or int(amount) > MAX_SLIPPAGE_TICKS:
        raise UsageError(
            f"{what} {text}: must be between 0 and {MAX_SLIPPAGE_TICKS:,} ticks",
            hint="write 1 (ticks), 2bp, random:3 or random:2bp",
        )
    return {"slippage_ticks": int(amount), "slippage_rate": 0, "slippage_drawn": drawn and int(amount) > 0}


def slippage_text(config: RunConfig) -> str:
    """The model in words, as --slippage takes it: "1 tick", "2 bp", "random:3 ticks"."""
    amount = f"{config.slippage_ticks} tick{'' if config.slippage_ticks == 1 else 's'}"
    if config.slippage_rate:
        amount = f"{Decimal(config.slippage_rate) / 100_000:f} bp"
    return f"random, up to {amount}" if config.slippage_drawn else amount


_UNITS = {
    "ns": 1,
    "us": 1_000,
    "ms": MILLISECOND_NS,
    "s": SECOND_NS,
    "m": 60 * SECOND_NS,
    "h": 3600 * SECOND_NS,
}


@lru_cache(maxsize=64)  # strategies name the same few again and again
def parse_duration(text: str, what: str = "duration") -> int:
    """Nanoseconds of "20ms", "1.5s", "0"; UsageError otherwise."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)?", text.strip())
    if match is None or (match[2] is None and Decimal(match[1]) != 0):
        raise UsageError(f'{what}: "{text}" is no duration', hint="write 20ms, 1.5s, 5m, or 0")
    return int(Decimal(match[1]) * _UNITS[match[2] or "ns"])


def parse_basis_points(text: str, what: str) -> int:
    """A rate in 1e-9 of a number of basis points ("10", "-0.5"); UsageError otherwise."""
    value = _decimal(text)
    if value is None:
        raise UsageError(f'{what}: "{text}" is no number of basis points', hint="write 10 for 0.1 %")
    # The size first: of 1e999999 neither a product nor an integer is to be made.
    rate = value * 100_000 if abs(value) <= 10_000 else None
    if rate is None or rate != int(rate):
        raise UsageError(f'{what}: "{text}" basis points cannot be', hint="four decimals, at most 10,000")
    return int(rate)


def parse_latency_table(text: str, what: str) -> tuple[tuple[int, int, int], ...]:
    """Rows "sent,at the venue,answered" of a CSV text, ns; a header line is passed over.

    Raises UsageError naming line, field and value; times must grow from row to row, and along a row.
    """
    rows: list[tuple[int, int, int]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = [field.strip() for field in line.split(",")]
        if not line.strip() or (number == 1 and not fields[0].lstrip("-").isdecimal()):
            continue
        where = f"{what}: line {number}"
        if len(fields) != 3:
            raise UsageError(f"{where}: {len(fields)} fields", hint="sent,at the venue,answered in ns")
        for name, field in zip(("sent", "at the venue", "answered"), fields, strict=True):
            if not field.isdecimal() or int(field) >= 2**62:
                raise UsageError(
                    f'{where}: {name}: "{field}" is no time', hint="ns since 1970, a whole number"
                )
        sent, venue, answered = (int(field) for field in fields)
        if not sent <= venue <= answered:
            raise UsageError(f"{where}: {sent}, {venue}, {answered} do not follow each other in time")
        if rows and (sent <= rows[-1][0] or venue <= rows[-1][1]):
            raise UsageError(f"{where}: not later than the row before", hint="sort the rows by the time sent")
        rows.append((sent, venue, answered))
    if not 1 <= len(rows) <= MAX_LATENCY_ROWS:
        raise UsageError(f"{what}: {len(rows):,} rows", hint=f"1 to {MAX_LATENCY_ROWS:,} are possible")
    return tuple(rows)


def parse_queue(text: str, what: str) -> dict[str, Any]:
    """The fields of Rules that "power3:2" or "log" stands for; UsageError otherwise."""
    name, _, power = text.strip().partition(":")
    if name not in QUEUES:
        raise UsageError(f'{what}: there is no queue model "{name}"', hint=f"one of {', '.join(QUEUES)}")
    if not name.startswith("power"):
        if power:
            raise UsageError(f'{what}: "{text}": {name} takes no number', hint=f"write {name}")
        return {"queue": name}
    if power and not (power.isdecimal() and 1 <= int(power) <= MAX_QUEUE_POWER):
        raise UsageError(f'{what}: "{text}": n must be 1 to {MAX_QUEUE_POWER}', hint=f"write {name}:3")
    return {"queue": name, "queue_power": int(power or 3)}


def parse_decimal_option(
    text: str, what: str, decimals: int, scale: int = 1, most: int = 10**MAX_DIGITS - 1
) -> str:
    """A decimal text from 0 to `most` with at most `decimals` places, times `scale`, as plain text."""
    value = _decimal(text)
    if value is None:
        raise UsageError(f'{what}: "{text}" is no number', hint="write it plainly, as 0.5")
    exponent = value.as_tuple().exponent
    if value < 0 or not isinstance(exponent, int) or -exponent > decimals:
        raise UsageError(f'{what}: "{text}" must be a number from 0 on with at most {decimals} decimals')
    if value > most:
        raise UsageError(f'{what}: "{text}" is too much', hint=f"at most {most:,}")
    return f"{value * scale:f}".partition(".")[0] if scale != 1 else f"{value:f}"


def _decimal(text: str) -> Decimal | None:
    """The finite number that a text is; None when it is none (nan, an infinity, words)."""
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        return None
    return value if value.is_finite() else None
