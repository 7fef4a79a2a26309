"""The kernel behind `quality`: trades and quotes, row by row, against the prices that came before them.

A *tick* is a trade's row, or a quote's row or two. Its prices are compared with a *window*: the last 200
prices of the same instrument and stream. Trades, aggregated trades, bids and asks are streams of their own.
A window stands in memory three times: in order of arrival, sorted (its median costs nothing then), and as sum
and sum of squares of the distances from a reference price.

    median       of an even number the lower of the middle two: a price that was there, no half mantissas
    deviation    the same of the distances from the median; looked for only when the median is far away
    score        (price - mean) / standard deviation, squared, so that no root is taken
    step         what prices of the stream move by, as far as is known: the greatest common divisor of the
                 instrument's price increment and of all prices that counted since the file began

Prices on a grid have a median deviation of 0 for as long as more than half of them are the same, and yet they
may be half a step from it in the mean: two prices next to each other, half and half. So half a step is
the least that a deviation counts as. For the distance that is DEVIATIONS / 2 steps; for the score, 2.5 and 4
standard deviations are at least 1.25 and 2 steps. A price that has fewer than 200 steps would else be
rejected for moving by one or a few of them. The increment alone is no such step: a definition may say cents
of a share that trades below a dollar, in hundredths of them, and then hardly a wrong price would be far.

The rules of rejection are compared in integers. The score is made of sequential + - * / on float64. Its sums
are exact below 2**53. Beyond, what is rounded away must not outlive what it was a part of: the sums are made
anew from the window after every 200 prices, and when a price leaves it that was far from all that stay. The
variance is then right to ten digits. Prices that are all the same have no score.

It allocates nothing and writes no text. What only Python can do it comes back for: to read a definition, to
make room for a window, to take the list of what was rejected.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.model import jit
from engine.model.kinds import Flag, Kind
from engine.model.rows import ROW
from engine.model.units import NULL_TIME

PRICES = 200  # of a window
DISTANCE_FROM, SCORE_FROM = 20, 30  # prices that the rules need
RUN = 20  # rejected prices in a row that agree: the market has moved
SHARE = 20  # a twentieth of the median, which is 5 %
DEVIATIONS = 20
STEPS = DEVIATIONS // 2  # from the median: no further is no distance
MOST_STEP = np.iinfo(np.int64).max // STEPS
STREAMS = 4
TRADES, AGGREGATES, BIDS, ASKS = 0, 1, 2, 3
WARN, STRICT = 1, 2  # modes of a source; 0: its rows are not judged

DONE, DEFINITION, NO_WINDOW, FULL = 0, 1, 2, 3  # why `judge` has come back
PRICE, SIZE, CROSSED, FAR, SCORE, REBASED = 1, 2, 3, 4, 5, 6  # what it says of a tick
UNDEFINED, WITHOUT = -2, -1  # places of what is not judged, and of a window that is not there yet

NOT_JUDGED = int(
    Flag.DUPLICATE
    | Flag.OUT_OF_ORDER
    | Flag.BACKFILLED
    | Flag.IMPORTED
    | Flag.REVISED
    | Flag.REJECTED_TICK
    | Flag.SNAPSHOT
)
_TRADE, _QUOTE, _INSTRUMENT, _SOURCE = (
    int(Kind.TRADE),
    int(Kind.QUOTE),
    int(Kind.INSTRUMENT),
    int(Kind.SOURCE),
)
_LAST, _AGGREGATE, _REJECTED = int(Flag.LAST), int(Flag.AGGREGATE), int(Flag.REJECTED_TICK)
_UNUSUAL, _EXTREME = int(Flag.UNUSUAL), int(Flag.EXTREME)
_IS_FAR, _IS_REFUSED = 1 << 16, 1 << 17  # beside a tick's flags
_FAR_OUT = 16  # times as far from the reference as the window is wide
_MOST_OF_A_TICK = 3  # one rejection, two windows

# A window's integers stand one after the other: by arrival, sorted, then its run of rejected prices.
SORTED, RUN_PRICES, RUN_IDS, SCRATCH = PRICES, 2 * PRICES, 2 * PRICES + RUN, 2 * PRICES + 2 * RUN
NUMBERS = 2 * PRICES + 3 * RUN
HEAD = np.dtype(
    [
        ("count", "<i8"),
        ("next", "<i8"),  # where the next price goes, by arrival
        ("reference", "<i8"),
        ("increment", "<i8"),  # of the instrument's prices, as a mantissa
        ("grid", "<i8"),  # the greatest common divisor of all prices since the file began; 0 of none
        ("step", "<i8"),  # ... and of the increment; not above MOST_STEP
        ("since", "<i8"),  # prices since the sums were made anew
        ("run", "<i8"),
        ("sum", "<f8"),
        ("squares", "<f8"),
    ]
)
EVENT = np.dtype(
    [
        ("row", "<i8"),  # the tick's last
        ("leg", "<i8"),  # the row that the reason is about
        ("reason", "<i8"),
        ("count", "<i8"),  # prices it was compared with
        ("median", "<i8"),
        ("deviation", "<i8"),
        ("step", "<i8"),
        ("first", "<i8"),  # of a run
        ("last", "<i8"),
        ("score", "<f8"),  # squared
    ]
)
STATE = np.dtype(
    [
        *((name, "<i8") for name in ("rows", "count", "position")),
        *((name, "<i8") for name in ("modes", "mode_count", "places", "place_count")),
        *((name, "<i8") for name in ("heads", "numbers", "windows")),
        *((name, "<i8") for name in ("events", "event_count", "event_capacity", "place")),
        *((name, "<i8") for name in ("median", "deviation")),  # what the last comparison found
        ("score", "<f8"),
    ]
)
# The log's record, with an id that does not become a float beside a signed number.
_TICK = np.dtype([(name, "<i8" if name == "id" else ROW[name].str) for name in ROW.names or ()])

_state_at = jit.records_at(STATE)
_ticks_at = jit.records_at(_TICK)
_heads_at = jit.records_at(HEAD)
_events_at = jit.records_at(EVENT)
_int64_at = jit.records_at(np.dtype("<i8"))
_int8_at = jit.records_at(np.dtype("i1"))


@jit.inlined
def _signed(value: int) -> int:
    """A column's unsigned value as a signed integer."""
    return value


@jit.helper
def _place_of(s: Any, row: Any) -> int:
    """Which window the row's price belongs to, UNDEFINED or WITHOUT; `place` is the stream's own number."""
    stream = TRADES
    if row.kind == _QUOTE:
        stream = ASKS if row.side < 0 else BIDS
    elif row.flags & _AGGREGATE:
        stream = AGGREGATES
    place = STREAMS * _signed(row.instrument) + stream
    if place >= s.place_count:
        return UNDEFINED
    s.place = place
    return int(_int64_at(s.places, s.place_count)[place])


@jit.inlined
def _numbers_of(s: Any, window: int) -> Any:
    """The integers of a window."""
    return _int64_at(s.numbers + 8 * NUMBERS * window, NUMBERS)


@jit.inlined
def _nobody(row: Any) -> bool:
    """Whether this is the side of a quote on which nobody quotes."""
    return bool(row.kind == _QUOTE and row.price == 0 and row.size == 0)


@jit.helper
def _median_deviation(numbers: Any, count: int, median: int) -> int:
    """The lower median of the distances from the median, which is one of the sorted prices."""
    middle = (count - 1) // 2
    low = middle
    high = middle + 1
    distance = 0
    for _ in range(middle + 1):
        below = numbers[SORTED + low] if low >= 0 else 0
        if low >= 0 and (high == count or median - below <= numbers[SORTED + high] - median):
            distance = median - below
            low -= 1
        else:
            distance = numbers[SORTED + high] - median
            high += 1
    return distance


@jit.helper
def _compare(s: Any, window: int, price: int, mode: int) -> int:
    """Flags that a price earns by its window, with _IS_FAR or _IS_REFUSED when it is rejected for it."""
    head = _heads_at(s.heads, s.windows)[window]
    count = head.count
    s.deviation = 0
    s.score = 0.0
    if count < DISTANCE_FROM:
        return 0
    numbers = _numbers_of(s, window)
    median = numbers[SORTED + (count - 1) // 2]
    s.median = median
    found = 0
    distance = abs(price - median)
    if distance > median // SHARE and distance > STEPS * head.step:
        deviation = _median_deviation(numbers, count, median)
        s.deviation = deviation
        # distance > DEVIATIONS * deviation, where the product might not fit
        if (distance - 1) // DEVIATIONS >= deviation:
            found = _IS_FAR
    if count >= SCORE_FROM and numbers[SORTED] != numbers[SORTED + count - 1]:
        n = float(count)
        away = n * float(price - head.reference) - head.sum
        spread = n * head.squares - head.sum * head.sum
        # Twice the least that n standard deviations count as; not squared, so that comparing is exact.
        least = n * float(head.step)
        distant = abs(away)
        if spread > 0.0 and 4.0 * away * away >= 25.0 * spread and 4.0 * distant >= 5.0 * least:
            found |= _UNUSUAL
            s.score = away * away / max(spread, 0.25 * least * least)
            if away * away >= 16.0 * spread and distant >= 2.0 * least:
                found |= _EXTREME
                if mode == STRICT:
                    found |= _IS_REFUSED
    return found


@jit.helper
def _divisor(a: int, b: int) -> int:
    """The greatest common divisor of two integers, neither of them negative."""
    while b != 0:
        rest = a % b
        a = b
        b = rest
    return a


@jit.helper
def _enter(s: Any, window: int, price: int) -> None:
    """The price is one of the window from now on; the oldest of a full one leaves it."""
    head = _heads_at(s.heads, s.windows)[window]
    numbers = _numbers_of(s, window)
    if head.count == 0:
        head.reference = price
    if head.grid != 1 and (head.grid == 0 or price % head.grid != 0):
        head.grid = _divisor(price, head.grid)
        head.step = min(_divisor(head.increment, head.grid), MOST_STEP)
    at = SORTED + head.count
    distance = 0
    if head.count == PRICES:
        old = numbers[head.next]
        distance = abs(old - head.reference)
        x = float(old - head.reference)
        head.sum -= x
        head.squares -= x * x
        low = SORTED
        high = SORTED + PRICES - 1
        while low < high:
            middle = (low + high) // 2
            if numbers[middle] < old:
                low = middle + 1
            else:
                high = middle
        at = low
        # From the place of the old price to that of the new one everything moves by one.
        while at + 1 < SORTED + PRICES and numbers[at + 1] < price:
            numbers[at] = numbers[at + 1]
            at += 1
    else:
        head.count += 1
    while at > SORTED and numbers[at - 1] > price:
        numbers[at] = numbers[at - 1]
        at -= 1
    numbers[at] = price
    numbers[head.next] = price
    head.next = (head.next + 1) % PRICES
    x = float(price - head.reference)
    head.sum += x
    head.squares += x * x
    head.since += 1
    widest = numbers[SORTED + head.count - 1] - numbers[SORTED]
    if head.since == PRICES or distance // _FAR_OUT > widest:
        head.since = 0
        head.reference = price
        head.sum = 0.0
        head.squares = 0.0
        for k in range(head.count):
            x = float(numbers[k] - price)
            head.sum += x
            head.squares += x * x


@jit.helper
def _reject(s: Any, window: int, price: int, ident: int) -> int:
    """The price joins its window's run of rejected ones; 1 when they agree and are the window from now on."""
    head = _heads_at(s.heads, s.windows)[window]
    numbers = _numbers_of(s, window)
    if head.run == RUN:
        for k in range(RUN - 1):
            numbers[RUN_PRICES + k] = numbers[RUN_PRICES + k + 1]
            numbers[RUN_IDS + k] = numbers[RUN_IDS + k + 1]
        head.run -= 1
    numbers[RUN_PRICES + head.run] = price
    numbers[RUN_IDS + head.run] = ident
    head.run += 1
    if head.run < RUN:
        return 0
    for k in range(RUN):
        at = SCRATCH + k
        value = numbers[RUN_PRICES + k]
        while at > SCRATCH and numbers[at - 1] > value:
            numbers[at] = numbers[at - 1]
            at -= 1
        numbers[at] = value
    median = numbers[SCRATCH + (RUN - 1) // 2]
    widest = max(median - numbers[SCRATCH], numbers[SCRATCH + RUN - 1] - median)
    if widest > median // SHARE and widest > STEPS * head.step:
        return 0
    head.count = 0
    head.next = 0
    head.since = 0
    head.run = 0
    head.sum = 0.0
    head.squares = 0.0
    for k in range(RUN):
        _enter(s, window, numbers[RUN_PRICES + k])
    s.median = median
    return 1


@jit.helper
def _note(s: Any, row: int, leg: int, reason: int, window: int) -> None:
    """Append to the list of what Python has to write down."""
    event = _events_at(s.events, s.event_capacity)[s.event_count]
    event.row = row
    event.leg = leg
    event.reason = reason
    event.count = 0
    event.step = 0
    if window >= 0:
        head = _heads_at(s.heads, s.windows)[window]
        event.count = head.count
        event.step = head.step
    event.median = s.median
    event.deviation = s.deviation
    event.score = s.score
    event.first = 0
    event.last = 0
    if reason == REBASED:
        numbers = _numbers_of(s, window)
        event.first = numbers[RUN_IDS]
        event.last = numbers[RUN_IDS + RUN - 1]
    s.event_count += 1


@jit.helper
def _judge_tick(s: Any, first: int, last: int, mode: int) -> int:
    """Judge the tick of rows first..last; NO_WINDOW, before anything was changed, when it needs one."""
    rows = _ticks_at(s.rows, s.count)
    reason = 0
    leg = first
    for k in range(first, last + 1):
        row = rows[k]
        window = _place_of(s, row)
        if window == UNDEFINED:
            return DONE
        if _nobody(row):
            continue
        if window == WITHOUT:
            return NO_WINDOW
        if reason == 0 and (row.price <= 0 or row.size <= 0):
            reason = PRICE if row.price <= 0 else SIZE
            leg = k
    both = last > first and not _nobody(rows[first]) and not _nobody(rows[last])
    if reason == 0 and both and rows[first].price > rows[last].price:
        reason = CROSSED
    if reason != 0:
        _note(s, last, leg, reason, -1)
        for k in range(first, last + 1):
            rows[k].flags |= _REJECTED
        return DONE
    noted = s.event_count
    flags = 0
    for k in range(first, last + 1):
        row = rows[k]
        if _nobody(row):
            continue
        window = _place_of(s, row)
        found = _compare(s, window, row.price, mode)
        flags |= found & (_UNUSUAL | _EXTREME)
        if found & (_IS_FAR | _IS_REFUSED):
            if not flags & _REJECTED:
                _note(s, last, k, FAR if found & _IS_FAR else SCORE, window)
            flags |= _REJECTED
            ident = row.id
            if ident == 0:
                ident = row.ts if row.ts_venue == NULL_TIME else row.ts_venue
            if _reject(s, window, row.price, ident):
                _note(s, last, k, REBASED, window)
    if s.event_count == noted:
        for k in range(first, last + 1):
            row = rows[k]
            if not _nobody(row):
                window = _place_of(s, row)
                _heads_at(s.heads, s.windows)[window].run = 0
                _enter(s, window, row.price)
    if flags != 0:
        for k in range(first, last + 1):
            rows[k].flags |= flags
    return DONE


@jit.operation("int64(int64)")
def judge(address: int) -> int:
    """Judge rows `position` to `count` of the buffer; DONE, or why it came back at `position` before."""
    s = _state_at(address, 1)[0]
    rows = _ticks_at(s.rows, s.count)
    modes = _int8_at(s.modes, s.mode_count)
    i = s.position
    while i < s.count:
        row = rows[i]
        kind = row.kind
        if kind == _SOURCE or kind == _INSTRUMENT:
            s.position = i
            return DEFINITION
        if kind != _TRADE and kind != _QUOTE:
            i += 1
            continue
        last = i
        if kind == _QUOTE and row.side > 0 and not row.flags & _LAST and i + 1 < s.count:
            behind = rows[i + 1]
            same = behind.kind == _QUOTE and behind.side < 0 and behind.instrument == row.instrument
            if same and behind.source == row.source and behind.id == row.id:
                if behind.ts_venue == row.ts_venue:
                    last = i + 1
        mode = modes[_signed(row.source)]
        if mode > 0 and not (row.flags | rows[last].flags) & NOT_JUDGED:
            if s.event_count + _MOST_OF_A_TICK > s.event_capacity:
                s.position = i
                return FULL
            if _judge_tick(s, i, last, mode) == NO_WINDOW:
                s.position = i
                return NO_WINDOW
        i = last + 1
    s.position = i
    return DONE
