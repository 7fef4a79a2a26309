"""Trading sessions of an exchange, from the library exchange_calendars, as SESSION rows.

A run never asks a calendar: what it has to know of sessions stands in its log, with the version of the
library that said so, because a calendar of next year changes when an exchange decides it. A break at noon
is part of its session here. The library is an extra; it is imported when a calendar is wanted.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import Any

from engine.model.errors import UsageError
from engine.model.kinds import SessionData
from engine.model.units import SECOND_NS

DAYS_AFTER = 10  # sessions known ahead: an order for the day has to know when the next one ends
_MARGIN = timedelta(
    days=3
)  # a session may begin on the day before its date, or on the day before that in UTC
_SEARCH = timedelta(days=30)  # no exchange is closed for longer than this without closing for good


def day_of(text: str, option: str) -> date:
    """A day as users write it; UsageError for another text."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f'{option}: "{text}" is not a day', hint="write it like 2024-06-03") from None


class Calendar:
    """One exchange's sessions. `name` is the library's own for the calendar, `version` the library's."""

    def __init__(self, name: str) -> None:
        """Raises UsageError when the library is not there, or knows no such calendar."""
        try:
            import exchange_calendars
        except ImportError:
            raise UsageError(
                "--calendar needs the library exchange_calendars, which is not installed",
                hint='install it: pip install "engine[calendars]"',
            ) from None
        self._library: Any = exchange_calendars
        self.version = str(exchange_calendars.__version__)
        try:
            self.name = str(exchange_calendars.resolve_alias(name))
        except exchange_calendars.errors.InvalidCalendarName:
            raise UsageError(
                f'--calendar "{name}" is no calendar of exchange_calendars {self.version}',
                hint="names are those of ISO 10383: XNYS, XNAS, XLON, XTKS",
            ) from None

    def sessions(self, first: date, last: date, venue: str = "") -> list[SessionData]:
        """The sessions dated `first` to `last`, both included. UsageError where the library ends."""
        if last < first:
            raise UsageError(f"{self.name}: {last} is before {first}", hint="name the earlier day first")
        with warnings.catch_warnings():
            # Of the library's own making, about versions of pandas that are still to come.
            warnings.simplefilter("ignore", DeprecationWarning)
            return self._between(first, last, venue)

    def _between(self, first: date, last: date, venue: str) -> list[SessionData]:
        errors = self._library.errors
        try:
            calendar = self._library.get_calendar(
                self.name, start=str(first - _MARGIN), end=str(last + _MARGIN)
            )
        except errors.NoSessionsError:
            return []
        except (errors.CalendarError, ValueError) as error:
            raise UsageError(
                f"{self.name}: exchange_calendars {self.version} has none from {first} to {last}: {error}"
            ) from None
        early = {stamp.date() for stamp in calendar.early_closes}
        found = []
        for stamp, row in calendar.schedule.iterrows():
            day = stamp.date()
            if first <= day <= last:
                opens, closes = (int(row[name].as_unit("ns").value) for name in ("open", "close"))
                found.append(
                    SessionData(self.name, day.isoformat(), opens, closes, venue, self.version, day in early)
                )
        return found

    def touched(self, first_ts: int, last_ts: int, venue: str = "") -> list[SessionData]:
        """The sessions that a time touches, and those of the ten days after it."""
        first, last = (datetime.fromtimestamp(ts // SECOND_NS, UTC).date() for ts in (first_ts, last_ts))
        found = self.sessions(first - timedelta(days=1), last + timedelta(days=DAYS_AFTER), venue)
        return [session for session in found if session.closes > first_ts]

    def opens_on(self, days: Collection[date]) -> dict[date, int]:
        """When the sessions of some days open, or the next ones': ns since 1970."""
        sessions = self.sessions(min(days), max(days) + _SEARCH)
        dates = [date.fromisoformat(session.day) for session in sessions]
        opens = {}
        for day in days:
            index = bisect_left(dates, day)
            if index == len(dates):
                raise UsageError(f"{self.name} has no session from {day} to {max(days) + _SEARCH}")
            opens[day] = sessions[index].opens
        return opens
