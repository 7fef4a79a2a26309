"""One symbol on two venues whose prices drift apart and come back: a seeded synthetic market.

A fair price walks; the difference of the two venues' mids reverts to zero (a discrete Ornstein-Uhlenbeck
process) and is pulled to zero at the end. Every 50 ms both venues change their quotes, at the same
moment; alpha is heard after 2 ms, beta after 14 ms, each with a jitter of up to 2 ms. Prices are counted
in ticks of 0.1, one basis point of a price near 1000, so that the numbers can be read at sight.
"""

from __future__ import annotations

import random
from pathlib import Path

from engine.log.schema import LogHeader
from engine.model.kinds import ASK, BID, InstrumentData, Kind
from engine.model.units import MILLISECOND_NS
from tests.helpers.logs import START, Message, Row, definitions, make_log

STEP_NS = 50 * MILLISECOND_NS
DELAYS_NS = (2 * MILLISECOND_NS, 14 * MILLISECOND_NS)  # of alpha, of beta
JITTER_US = 2_000
FAIR = 10_000  # ticks
REVERSION = 100  # steps in which the difference shrinks by a factor e
LAST_STEPS = 200  # at the end without any difference


def listed(venue: str) -> InstrumentData:
    """BTCUSDT as a venue lists it."""
    return InstrumentData(
        key=f"BTCUSDT.{venue}",
        symbol="BTCUSDT",
        venue=venue,
        price_decimals=1,
        size_decimals=3,
        price_increment="0.1",
        size_increment="0.001",
        base="BTC",
        quote="USDT",
        min_size="0.001",
        min_notional="1",
        channels=("quote",),
    )


ALPHA, BETA = listed("alpha"), listed("beta")


def quotes(steps: int, seed: int) -> list[Message]:
    """The quotes of both venues in the order in which they were received."""
    chance = random.Random(seed)
    fair, difference = float(FAIR), 0.0
    heard: list[Message] = []
    for step in range(steps):
        ts = START + (step + 1) * STEP_NS
        fair += chance.gauss(0.0, 0.7)
        difference += chance.gauss(0.0, 4.0) - difference / REVERSION
        if step > steps - LAST_STEPS:
            difference = 0.0
        for place in range(2):
            low = round(fair + (0.5 - place) * difference)
            levels = ((BID, low), (ASK, low + chance.choice((1, 1, 2))))
            received = ts + DELAYS_NS[place] + chance.randrange(JITTER_US) * 1_000
            rows = tuple(
                Row(
                    Kind.QUOTE,
                    ts_venue=ts,
                    instrument=place + 1,
                    side=side,
                    price=price,
                    size=chance.randrange(10, 120),
                )
                for side, price in levels
            )
            heard.append(Message(received, rows))
    return sorted(heard, key=lambda message: message.ts)


def two_venues(path: Path, steps: int = 6000, seed: int = 1) -> Path:
    """A sealed log of both venues."""
    header = LogHeader(engine="test", venues=("alpha", "beta"), note=f"two synthetic venues, seed {seed}")
    return make_log(
        path,
        [*definitions((ALPHA, BETA)), *quotes(steps, seed)],
        header=header,
        per_batch=500,
        sealed=True,
        with_definitions=False,
    )
