"""The loop's kernels: the entry points that Python calls with the address of the state.

    index     which rows of a batch will be delivered, to which handler
    advance   messages and agenda, in their order, until Python is wanted; or messages only, up to a row:
              while nothing is working and nothing due, Python runs ahead on the columns and brings the
              state up to date when somebody looks at it
    submit, cancel    what the strategy asks for (called by engine.loop.sending)

Compiled when this module is imported the first time, loaded from the cache afterwards.
"""

from __future__ import annotations

from typing import Any

from engine.execution.agenda import first_due, push
from engine.execution.codes import E_AMEND_REJECTED, K_STOP, T_DAY, T_GTD
from engine.execution.latency import arrival
from engine.execution.money import notional_of
from engine.execution.orders import Reason
from engine.execution.state import (
    ITEM_AMEND,
    ITEM_CANCEL,
    ITEM_ORDER,
    ITEM_REPORT,
    RANK_ARRIVAL,
    RANK_REPORT,
    VENUE_DONE,
    VENUE_TRAVELLING,
    deliveries_at,
    instruments_at,
    int8_at,
    int64_at,
    orders_at,
    state_at,
    stream_at,
    uint8_at,
    uint16_at,
    uint32_at,
)
from engine.loop.codes import (
    AGGREGATE,
    BAR,
    BOOK,
    COMMAND,
    DELIVER,
    DRAIN_JOURNAL,
    END,
    EV_CANCEL_SENT,
    EV_REFUSED,
    FINAL,
    GROW_ITEMS,
    GROW_LEVELS,
    GROW_ORDERS,
    H_BAR,
    H_BOOK,
    H_ENGINE,
    H_NEWS,
    H_QUOTE,
    H_STATUS,
    H_TRADE,
    IGNORED,
    INSTRUMENT,
    J_AMEND,
    J_AMEND_REJECTED,
    J_CANCEL,
    J_REFUSED,
    J_SUBMIT,
    LAST,
    MAYBE_BAD,
    NEED_ROWS,
    NEED_VENUE,
    NEVER,
    NEWS,
    ORDER_TABLE,
    QUOTE,
    REVISED,
    S_CANCELLING,
    S_SUBMITTED,
    SESSION,
    SNAPSHOT,
    SOURCE,
    STATUS,
    TRADE,
)
from engine.loop.plain import run_plain
from engine.loop.steps import (
    lock_price,
    message_end,
    record,
    record_terms,
    recount,
    room_for,
    run_item,
    step,
)
from engine.loop.tables import track
from engine.model import jit
from engine.model.units import NULL_TIME
from engine.risk import R_MIN_NOTIONAL, check, check_terms, lock_of, reference_price

R_TIME_PASSED, R_NO_SESSION, R_LINKED_SIZE = (
    int(Reason.TIME_PASSED),
    int(Reason.NO_SESSION),
    int(Reason.LINKED_SIZE),
)


@jit.entry("int64(int64)")
def index(address: int) -> int:
    """Fill the delivery list for this batch; returns 0, or the capacity it needs."""
    s = state_at(address, 1)[0]
    n = s.rows
    kinds = uint8_at(s.column_kind, n)
    flags = uint16_at(s.column_flags, n)
    numbers = uint32_at(s.column_instrument, n)
    sides = int8_at(s.column_side, n)
    sources = uint16_at(s.column_source, n)
    instruments = instruments_at(s.instruments, s.instrument_count)
    out = deliveries_at(s.deliveries, s.delivery_capacity)
    wanted = False
    for k in range(s.instrument_count):
        wanted = wanted or instruments[k].want != 0
    count = 0
    i = 0
    while i < n:
        if not wanted:
            # Nothing of the market is: look for the few other rows, and for where their messages begin.
            j = i
            while j < n and kinds[j] < NEWS:
                j += 1
            if j == n:
                break
            i = j
            while i > 0 and not flags[i - 1] & LAST:
                i -= 1
        end = i
        while end < n - 1 and not flags[end] & LAST:
            end += 1
        j = i
        while j <= end:
            kind = kinds[j]
            handler = 0
            first = j
            if kind == TRADE:
                instrument = instruments[numbers[j]]
                if (
                    (instrument.want >> H_TRADE) & 1
                    and not flags[j] & IGNORED
                    and not (flags[j] & AGGREGATE and instrument.has_trades)
                ):
                    handler = H_TRADE
            elif kind == BOOK:
                while j < end and kinds[j + 1] == BOOK and numbers[j + 1] == numbers[j]:
                    j += 1
                # Source 0 is the engine itself, which only restates a book at the head of a segment.
                told = sources[j] != 0 and not flags[j] & (IGNORED | MAYBE_BAD)
                if (instruments[numbers[j]].want >> H_BOOK) & 1 and told:
                    handler = H_BOOK
            elif kind == QUOTE:
                if j < end and kinds[j + 1] == QUOTE and numbers[j + 1] == numbers[j] and sides[j] > 0:
                    j += 1
                if (instruments[numbers[j]].want >> H_QUOTE) & 1 and not flags[j] & IGNORED:
                    handler = H_QUOTE
            elif kind == BAR:
                while j < end and kinds[j + 1] == BAR and numbers[j + 1] == numbers[j]:
                    j += 1
                if (instruments[numbers[j]].want >> H_BAR) & 1 and flags[j] & (FINAL | REVISED):
                    handler = H_BAR
            elif kind == NEWS:
                handler = H_NEWS
            elif kind == STATUS:
                handler = H_STATUS
            elif kind == INSTRUMENT or kind == SOURCE or kind == COMMAND or kind == SESSION:
                handler = H_ENGINE
            if handler:
                if count < s.delivery_capacity:
                    entry = out[count]
                    entry.handler = handler
                    entry.first = first
                    entry.last = j
                    entry.end = end
                count += 1
            j += 1
        i = end + 1
    s.delivery_count = count
    s.delivery_next = 0
    return count if count > s.delivery_capacity else 0


@jit.helper
def next_time(v: Any) -> int:
    """When a stream's next row happens; NEVER when it has none."""
    return int(int64_at(v.column_time, v.rows)[v.row]) if v.row < v.rows else NEVER


@jit.helper
def run_venues(s: Any, until: int) -> int:
    """Let the venues' own streams run, up to the time `until` or to a match; 0, or what is needed first."""
    streams = stream_at(s.venue_streams, s.venue_stream_count)
    now = s.now
    items = s.agenda_count
    while s.agenda_count == items:
        first = 0
        time = NEVER
        other = until
        for k in range(s.venue_stream_count):
            at = next_time(streams[k])
            if at == NEVER and not streams[k].ended and streams[k].known_until < until:
                s.out_slot = k
                s.now = now
                return NEED_VENUE
            if at < time:
                if time < other:
                    other = time
                time = at
                first = k
            elif at < other:
                other = at
        if time >= until:
            break
        v = streams[first]
        came = v.row
        run_plain(s, v, v.rows, other if other > time else time + 1, 0)
        if v.row > came:
            continue
        code = 0
        end = message_end(s, v, v.row)
        if end < 0:
            code = GROW_LEVELS
        if code == 0:
            code = room_for(s, s.message_trades)
        if code == 0:
            code = step(s, v, end)
        if code != 0:
            s.now = now
            return code
    s.now = now
    return 0


@jit.entry("int64(int64,int64)")
def advance(address: int, stop: int) -> int:
    """Run agenda and messages in their order until Python is wanted; says for what.

    With `stop` of 0 or more: messages only, until row `stop` is the next (nothing is due before it).
    """
    s = state_at(address, 1)[0]
    told = stream_at(address, 1)[0]
    n = s.rows
    times = int64_at(s.column_time, n)
    kinds = uint8_at(s.column_kind, n)
    catching_up = stop >= 0
    deliveries = deliveries_at(s.deliveries, s.delivery_capacity)
    while True:
        if catching_up and s.row >= stop:
            return NEED_ROWS
        code = room_for(s, 1)
        if code:
            return code
        more = s.row < n
        # As far as the next message that is delivered, without looking back.
        before = n
        if catching_up:
            before = stop
        elif s.delivery_next < s.delivery_count and (s.strategy == 0 or s.own_clock):
            before = deliveries[s.delivery_next].first
        if s.own_clock and not catching_up and n > 0:
            # Whatever the venues do until we can act again; what they tell us comes back by the agenda.
            until = times[before] + 1 if before < n else times[n - 1] + 1
            if s.agenda_count > 0 and first_due(s) < until:
                until = first_due(s)
            count = s.agenda_count
            code = run_venues(s, until)
            if code:
                return code
            if s.agenda_count != count:
                continue
        if s.agenda_count > 0 and not catching_up:
            due = first_due(s)
            if due <= s.now or (more and kinds[s.row] != END and due <= times[s.row]):
                if s.journal_count + 2 > s.journal_capacity:
                    return DRAIN_JOURNAL
                code = run_item(s)
                if code:
                    return code
                continue
        if not more:
            return NEED_ROWS
        if s.row < before:
            came = s.row
            horizon = s.next_sample
            if s.agenda_count > 0 and first_due(s) < horizon:
                horizon = first_due(s)
            code = run_plain(s, told, before, horizon, address if s.strategy != 0 and not s.own_clock else 0)
            if code != 0:
                return code
            if s.row > came:
                continue
        end = message_end(s, told, s.row)
        if end < 0:
            return GROW_LEVELS
        code = room_for(s, s.message_trades)
        if code:
            return code
        code = step(s, told, end)
        if code:
            return code
        if not catching_up and s.delivery_next < s.delivery_count:
            if deliveries[s.delivery_next].end == end:
                s.out_first = s.delivery_next
                d = s.delivery_next + 1
                while d < s.delivery_count and deliveries[d].end == end:
                    d += 1
                s.delivery_next = d
                s.out_last = d
                s.trigger = 0
                s.trigger_id = 0
                return DELIVER


@jit.entry("int64(int64,int64,int64,int64,int64,int64)")
def venue_times(
    address: int, feed_latency: int, shift: int, lookahead: int, row_by_row: int, marks: int
) -> int:
    """Write when each row of a stream happened at its venue; `marks`: how many stamps were held back, up."""
    v = stream_at(address, 1)[0]
    n = v.rows
    times = int64_at(v.column_time, n)
    received = int64_at(v.column_ts, n)
    stamps = int64_at(v.column_ts_venue, n)
    flags = uint16_at(v.column_flags, n)
    counts = int64_at(marks, 2)
    last = v.last_time
    begin = -1
    for i in range(n):
        ts = received[i]
        at = ts - feed_latency
        if stamps[i] != NULL_TIME:
            at = stamps[i] + shift
            if at > ts:
                at = ts
                counts[0] += 1
            elif at < ts - lookahead:
                at = ts - lookahead
                counts[1] += 1
        if at < last:
            at = last
        last = at
        times[i] = at
        if begin < 0 and (not row_by_row or flags[i] & SNAPSHOT):
            begin = i
        if flags[i] & LAST:
            while begin >= 0 and begin < i:  # what is applied together happens with its last row
                times[begin] = at
                begin += 1
            begin = -1
    v.last_time = last
    return 0


@jit.helper
def note_limits(s: Any, refusal: int, instrument: int, side: int, size: int, costs: int) -> None:
    """What risk said of an order, and what the words for it need beside the state."""
    s.out_reason = refusal
    if refusal == 0:
        return
    s.out_price = reference_price(s, instrument)
    if refusal == R_MIN_NOTIONAL:
        decimals = instruments_at(s.instruments, s.instrument_count)[instrument].decimals
        worth = costs if costs > 0 else s.out_price
        s.out_notional = notional_of(worth, size, decimals)
    else:
        s.out_notional = lock_of(s, instrument, side, size, costs)


@jit.helper
def session_end(instrument: Any, now: int) -> int:
    """When the session that goes on at `now`, or else the next one, ends; 0 when none is known."""
    times = int64_at(instrument.sessions, 2 * instrument.session_count)
    for i in range(instrument.session_count):
        if times[2 * i + 1] > now:
            return int(times[2 * i + 1])
    return 0


@jit.entry("int64(int64,int64,int64,int64,int64,int64,int64,int64,int64)")
def submit(
    address: int,
    instrument: int,
    side: int,
    size: int,
    price: int,
    kind: int,
    tif: int,
    options: int,
    refusal: int,
) -> int:
    """Decide an order: risk, journal, agenda. Returns its slot, or GROW_ORDERS / -DRAIN_… to be retried.

    `options`: bit 0 post-only, bit 1 reduce-only. `refusal`: a Reason found before this call, or 0. What else
    it is sent with stands in the state record's `next_` fields, which are zero again afterwards.
    """
    s = state_at(address, 1)[0]
    if s.order_free < 0:
        return GROW_ORDERS
    if s.journal_count + 2 > s.journal_capacity:
        return -DRAIN_JOURNAL
    if s.item_free_count < 4:
        s.out_need = 64
        return -GROW_ITEMS
    slot = s.order_free
    order = orders_at(s.orders, s.order_capacity)[slot]
    target = instruments_at(s.instruments, s.instrument_count)[instrument]
    s.order_free = order.next
    s.live_orders += 1
    s.order_number += 1
    if kind >= K_STOP:
        s.stop_orders += 1
    order.number = s.order_number
    order.price = price
    order.size = size
    order.venue_size = size
    order.venue_filled = 0
    order.filled = 0
    order.front = 0
    order.locked = 0
    order.venue_locked = 0
    order.counted = 0
    order.stop = s.next_stop
    order.venue_stop = s.next_stop
    order.trail = s.next_trail
    order.expires = s.next_expires
    order.parent = s.next_parent
    order.group = s.next_group
    order.allowance = 0
    order.asked_size = 0
    order.instrument = instrument
    order.next = -1
    order.previous = -1
    order.partner = -1
    order.child = -1
    order.amendments = 0
    order.kind = kind
    order.tif = tif
    order.post_only = options & 1
    order.reduce_only = (options >> 1) & 1
    order.state = S_SUBMITTED
    order.venue_state = VENUE_TRAVELLING
    order.resting = 0
    order.side = side
    order.accepted = 0
    order.triggered = 0
    order.linked = 0
    order.in_links = 0
    order.reduced = 0
    order.parent_over = 0
    order.refused = 0
    s.next_stop = 0
    s.next_trail = 0
    s.next_expires = 0
    s.next_parent = 0
    s.next_group = 0
    track(s, slot)
    s.out_reason = 0
    if tif == T_DAY:
        order.expires = session_end(target, s.now)
        if order.expires == 0 and refusal == 0:
            refusal = R_NO_SESSION
            s.out_reason = refusal
    elif tif == T_GTD and order.expires <= s.now and refusal == 0:
        refusal = R_TIME_PASSED
        s.out_reason = refusal
    if refusal == 0:
        if order.parent > 0:
            refusal = check_terms(s, instrument, side, size, price, kind, order.stop, order.trail)
        else:
            pair = order.group > 0 and order.group != order.number  # only the first of a pair counts
            own = size if pair else 0
            freed = lock_of(s, instrument, side, size, lock_price(order)) if pair else 0
            refusal = check(s, instrument, side, size, price, kind, order.stop, order.trail, own, freed)
        note_limits(s, refusal, instrument, side, size, lock_price(order))
    if refusal != 0:
        order.refused = 1
        order.venue_state = VENUE_DONE
        entry = record(s, J_REFUSED, slot)
        entry.reason = refusal
        record_terms(s, slot)
        item = push(s, s.now, RANK_REPORT, ITEM_REPORT)
        item.slot = slot
        item.generation = order.generation
        item.event = EV_REFUSED
        item.reason = refusal
        return int(slot)
    record(s, J_SUBMIT, slot)
    record_terms(s, slot)
    if order.parent == 0:
        recount(s, slot)
    item = push(s, arrival(s), RANK_ARRIVAL, ITEM_ORDER)
    item.slot = slot
    item.generation = order.generation
    return int(slot)


@jit.entry("int64(int64,int64,int64,int64,int64,int64)")
def amend(address: int, slot: int, size: int, price: int, stop: int, refusal: int) -> int:
    """Send an amendment of the live order in `slot`; 0, 1 when it is too late, or -DRAIN_… to be retried.

    Size (what is filled included), limit and stop as they shall be; `refusal`: a Reason found before, or 0.
    """
    s = state_at(address, 1)[0]
    if s.journal_count + 2 > s.journal_capacity:
        return -DRAIN_JOURNAL
    if s.item_free_count < 4:
        s.out_need = 64
        return -GROW_ITEMS
    order = orders_at(s.orders, s.order_capacity)[slot]
    if order.state == S_CANCELLING or order.refused:
        return 1
    s.out_reason = refusal
    left = size - order.filled
    if refusal == 0 and order.linked and size != order.size:
        refusal = R_LINKED_SIZE
        s.out_reason = refusal
    elif refusal == 0 and left > 0:
        costs = price if price > 0 else stop
        if order.counted == 0 and order.linked:  # counted with its partner or, a child, not at all
            refusal = check_terms(s, order.instrument, order.side, left, price, order.kind, stop, order.trail)
        else:
            refusal = check(
                s,
                order.instrument,
                order.side,
                left,
                price,
                order.kind,
                stop,
                order.trail,
                order.counted,
                order.locked,
            )
        note_limits(s, refusal, order.instrument, order.side, left, costs)
    entry = record(s, J_AMEND if refusal == 0 else J_AMEND_REJECTED, slot)
    entry.price = price
    entry.size = size
    if stop != order.stop:
        before = order.stop
        order.stop = stop
        record_terms(s, slot)
        order.stop = before
    if refusal != 0:
        entry.reason = refusal
        item = push(s, s.now, RANK_REPORT, ITEM_REPORT)
        item.slot = slot
        item.generation = order.generation
        item.event = E_AMEND_REJECTED
        item.reason = refusal
        item.total = order.size
        return 0
    if order.amendments == 0 or size > order.asked_size:
        order.asked_size = size
    order.amendments += 1
    recount(s, slot)
    item = push(s, arrival(s), RANK_ARRIVAL, ITEM_AMEND)
    item.slot = slot
    item.generation = order.generation
    item.size = size
    item.price = price
    item.id = stop
    return 0


@jit.entry("int64(int64,int64)")
def cancel(address: int, slot: int) -> int:
    """Send a cancel for the live order in `slot`; 0, 1 when one is on its way, or -DRAIN_… to be retried."""
    s = state_at(address, 1)[0]
    if s.journal_count + 2 > s.journal_capacity:
        return -DRAIN_JOURNAL
    if s.item_free_count < 4:
        s.out_need = 64
        return -GROW_ITEMS
    order = orders_at(s.orders, s.order_capacity)[slot]
    # What the venue has done with it meanwhile must not be asked here.
    if order.state == S_CANCELLING or order.refused:
        return 1
    state = ORDER_TABLE[order.state, EV_CANCEL_SENT]
    if state < 0:
        return 1
    order.state = state
    record(s, J_CANCEL, slot)
    item = push(s, arrival(s), RANK_ARRIVAL, ITEM_CANCEL)
    item.slot = slot
    item.generation = order.generation
    return 0


@jit.entry("int64(int64)")
def next_due(address: int) -> int:
    """When the first item of the agenda is due, or NULL_TIME when there is none."""
    s = state_at(address, 1)[0]
    return int(first_due(s)) if s.agenda_count > 0 else NULL_TIME
