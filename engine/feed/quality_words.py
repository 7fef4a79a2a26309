"""Why a tick was rejected, and what a window was made of anew, as the STATUS row says it to a person."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from engine.feed.ticks import CROSSED, DEVIATIONS, FAR, PRICE, REBASED, RUN, SHARE, SIZE, STEPS
from engine.model.kinds import ASK, Flag, InstrumentData, Kind, StatusData
from engine.model.units import trim_decimal

_PERCENT = 100 // SHARE


def status(event: np.void, rows: Any, definition: InstrumentData, increment: int) -> StatusData:
    """What stands behind a tick; `rows` are the ones that the event speaks of. `increment`: a mantissa."""
    row = rows[event["leg"]]
    if row["kind"] == Kind.QUOTE:
        channel, what = "quote", "ask" if row["side"] == ASK else "bid"
    else:
        channel, what = ("aggtrade" if row["flags"] & Flag.AGGREGATE else "trade"), "price"
    if event["reason"] != REBASED:
        reason = _reason(event, rows, what, definition, increment)
        return StatusData(event="rejected_tick", channel=channel, detail=reason)
    median = trim_decimal(int(event["median"]), definition.price_decimals)
    return StatusData(
        event="rebased",
        channel=channel,
        detail=f"{RUN} rejected {what}s in a row agree on {median}, their median: it counts from here on",
        first=int(event["first"]) % 2**64,  # ids are unsigned
        last=int(event["last"]) % 2**64,
    )


def _reason(event: np.void, rows: Any, what: str, definition: InstrumentData, increment: int) -> str:
    """The rule, the price, and what it was compared with."""
    decimals = definition.price_decimals
    row, code = rows[event["leg"]], int(event["reason"])
    price, median = int(row["price"]), int(event["median"])
    named = f"{what} {trim_decimal(price, decimals)}"
    if code == PRICE:
        return f"{named} is not positive"
    if code == SIZE:
        return f"{named}: the size {trim_decimal(int(row['size']), definition.size_decimals)} is not positive"
    if code == CROSSED:
        return f"{named} is above ask {trim_decimal(int(rows[event['row']]['price']), decimals)}"
    of = f"{trim_decimal(median, decimals)}, the median of {event['count']} prices"
    if code == FAR:
        away = trim_decimal(abs(price - median), decimals)
        return f"{named} is {away} away from {of}; the limit is {_limit(event, decimals, increment)}"
    score = math.sqrt(float(event["score"]))
    return f"{named} has the z-score {score:.2f} beside {of}; the limit is 4 (strict)"


def _limit(event: np.void, decimals: int, increment: int) -> str:
    """The greatest of the three limits, and which it is."""
    median, deviation, step = int(event["median"]), int(event["deviation"]), int(event["step"])
    most = max(DEVIATIONS * deviation, STEPS * step)
    if median >= SHARE * most:
        return f"{trim_decimal(median * _PERCENT, decimals + 2)} ({_PERCENT} %)"
    if most > DEVIATIONS * deviation:
        named = "price increment" if step == increment else "finest step seen,"
        words = f"{STEPS} x the {named} {trim_decimal(step, decimals)}"
        return f"{trim_decimal(most, decimals)} ({words})"
    words = f"{DEVIATIONS} x the median absolute deviation {trim_decimal(deviation, decimals)}"
    return f"{trim_decimal(DEVIATIONS * deviation, decimals)} ({words})"
