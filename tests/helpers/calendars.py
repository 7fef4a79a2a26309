"""What a calendar says, put into a random market: sessions, splits, dividends."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from engine.model.kinds import CorporateData, InstrumentData, Kind, SessionData, encode_canonical
from engine.model.units import MILLISECOND_NS, NULL_TIME
from tests.helpers.logs import Message, Row

SESSION_NS = 700 * MILLISECOND_NS  # of the tests: they come quickly
_DAYS = ("2024-06-03", "2024-06-04", "2024-06-05", "2024-06-06", "2024-06-07", "2024-06-10", "2024-06-11")


def sessions(begin: int, *, venue: str = "", calendar: str = "XTST") -> list[Message]:
    """Seven sessions, told at their beginning; the third is told of twice."""
    made = []
    for number, day in enumerate((*_DAYS[:3], *_DAYS[2:])):
        opens = begin + _DAYS.index(day) * (SESSION_NS + 200 * MILLISECOND_NS)
        data = SessionData(calendar, day, opens, opens + SESSION_NS, venue=venue)
        told = begin if number < 4 else opens  # the later ones are told in time
        made.append(Message(told, (Row(Kind.SESSION, source=1, data=encode_canonical(data)),)))
    return made


def actions(
    messages: Sequence[Message], instruments: Sequence[InstrumentData], seed: int, *, splits: bool = True
) -> list[Message]:
    """Dividends and splits, some told ahead, some told twice."""
    chance = random.Random(seed)
    made = []
    for place in range(5, len(messages) - 5, max(1, len(messages) // 12)):
        ts = messages[place].ts
        number = chance.randrange(1, len(instruments) + 1)
        fields: dict[str, Any] = {"action": "dividend", "amount": chance.choice(("0.013", "1", "0"))}
        if splits and chance.random() < 0.5:
            ratio = chance.choice(((2, 1), (3, 2), (1, 2), (2, 3)))
            fields = {"action": "split", "numerator": ratio[0], "denominator": ratio[1]}
        stamp = chance.choice((NULL_TIME, ts, ts + 40 * MILLISECOND_NS, ts + 900 * MILLISECOND_NS))
        row = Row(Kind.CORPORATE, stamp, 1, 0, 0, number, data=encode_canonical(CorporateData(**fields)))
        made.append(Message(ts, (row,)))
        if stamp != NULL_TIME and chance.random() < 0.5:
            again = messages[min(len(messages) - 2, place + chance.choice((3, 40)))].ts
            made.append(Message(again, (row,)))
    return made


def together(*lists: Sequence[Message]) -> list[Message]:
    """Messages of several lists by their times, those of an earlier list first."""
    return sorted((message for messages in lists for message in messages), key=lambda message: message.ts)
