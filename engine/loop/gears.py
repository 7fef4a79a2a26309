"""The two gears in which a strategy is handed its events; they give the same decisions.

- With nothing at the venue and no timer due, events go to the strategy straight from the columns, a
  chunk at a time, and the state follows when somebody looks at it or the chunk ends;
- otherwise the kernel is asked for the next thing that happens, one after the other.

A compiled strategy has one: kernels call it by its address, and come here for what only Python can do.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from engine.log.schema import Batch
from engine.loop import dispatch, kernels
from engine.loop.asking import Asking
from engine.loop.caller import Caller
from engine.loop.charges import Charges
from engine.loop.chunk import Chunk
from engine.loop.codes import (
    CALLS_AT_ONE_INSTANT,
    CHARGE,
    DELIVER,
    FAILED_HANDLER,
    FIRST_SPECIAL,
    NEED_ROWS,
    NEED_VENUE,
    REPORT,
    STUCK,
    TIMER,
)
from engine.loop.context import LoopContext
from engine.loop.keeping import Keeper
from engine.loop.machine import Machine
from engine.loop.memory import FIELD, Memory
from engine.loop.special import SpecialRows
from engine.model.instruments import Registry

_ROW, _NEXT, _COUNT = FIELD["row"], FIELD["delivery_next"], FIELD["delivery_count"]
_VENUE_ITEMS, _LIVE, _AGENDA = FIELD["venue_items"], FIELD["live_orders"], FIELD["agenda_count"]
_TRIGGER, _TRIGGER_ID = FIELD["trigger"], FIELD["trigger_id"]
_OUT_FIRST, _OUT_LAST, _OUT_WORD = FIELD["out_first"], FIELD["out_last"], FIELD["out_word"]
_NOW, _INSTANT, _CALLS = FIELD["now"], FIELD["instant"], FIELD["instant_calls"]


class Gears:
    """What the runner does between two batches. It has these, and brings them."""

    memory: Memory
    keeper: Keeper
    registry: Registry
    context: LoopContext
    special: SpecialRows
    _caller: Caller
    charges: Charges
    asking: Asking
    _machine: Machine | None
    _batch: Batch
    _chunk: Chunk | None
    _chunk_size: int
    _wants_venue: int
    _arrives_at_once: bool

    def _run(self) -> None:
        if self._machine is not None:
            self._run_compiled(self._machine)
        else:
            self._run_interpreted()

    def _run_interpreted(self) -> None:
        scalars = self.memory.scalars
        address = self.memory.address
        while True:
            if not scalars[_VENUE_ITEMS] and not scalars[_LIVE] and self._run_ahead():
                continue
            code = kernels.advance(address, -1)
            if code in {REPORT, TIMER}:
                self._count_at_one_instant()
            if code == DELIVER:
                for number in range(scalars[_OUT_FIRST], scalars[_OUT_LAST]):
                    self._deliver(number)
            elif code == REPORT:
                self._caller.report()
            elif code == TIMER:
                self._caller.timer(scalars[_OUT_WORD])
            elif code == NEED_ROWS:
                return
            elif code == NEED_VENUE:
                self._wants_venue = self.memory.get("out_slot")
                return
            else:
                self._help(code)

    def _help(self, code: int) -> None:
        """Do what a kernel cannot."""
        if code == CHARGE:
            due = self.memory.get("out_due")
            self.charges.due(due)
            self.asking.due(due)
        else:
            self.keeper.make_room(code)

    def _run_compiled(self, machine: Machine) -> None:
        """The same for a compiled strategy: the kernels call it, and Python does what only Python can."""
        scalars = self.memory.scalars
        address = self.memory.address
        while True:
            code = dispatch.run(address)
            if code == NEED_ROWS:
                return
            if code == NEED_VENUE:
                self._wants_venue = self.memory.get("out_slot")
                return
            self._chunk = None  # the list of deliveries is another one for each message
            if code == DELIVER:
                number = scalars[_OUT_FIRST]
                self._deliver(number)
                scalars[_OUT_FIRST] = number + 1
            elif code == FAILED_HANDLER:
                raise machine.error(self._caller, self._event_in_hand)
            elif code == STUCK:
                raise self._caller.stuck()
            else:
                self._help(code)

    def _event_in_hand(self) -> Any:
        """What a compiled handler of market events was given when it failed."""
        number = self.memory.scalars[_OUT_FIRST]
        chunk = self._chunk_at(number)
        return chunk.event(number - chunk.first)

    def _count_at_one_instant(self) -> None:
        """A strategy that answers each report or timer at once, for ever, must be stopped by somebody."""
        scalars = self.memory.scalars
        now = scalars[_NOW]
        if now != scalars[_INSTANT]:
            scalars[_INSTANT] = now
            scalars[_CALLS] = 0
        scalars[_CALLS] += 1
        if scalars[_CALLS] > CALLS_AT_ONE_INSTANT:
            raise self._caller.stuck()

    def _run_ahead(self) -> bool:
        """Hand out events from the columns; whether there may be more that can be."""
        scalars = self.memory.scalars
        first = scalars[_NEXT]
        if first >= scalars[_COUNT] or self._arrives_at_once:
            return False
        chunk = self._chunk_at(first)
        low, high = first - chunk.first, chunk.last - chunk.first
        if chunk.special:
            place = bisect_left(chunk.special, low)
            if place < len(chunk.special):
                high = chunk.special[place]
                # A message that Python has to read a row of is applied and delivered whole, not ahead.
                while high > low and chunk.end(high - 1) == chunk.end(high):
                    high -= 1
        if scalars[_AGENDA]:
            high = chunk.before(kernels.next_due(self.memory.address), low, high)
        if high <= low:
            return False
        self._trigger(0, 0)
        count = self._hand_out(chunk, low, high)
        scalars[_NEXT] = first + count
        # What ended it where it did is for the kernels; behind the chunk is another one.
        return count < high - low or high == chunk.last - chunk.first

    def _hand_out(self, chunk: Chunk, low: int, high: int) -> int:
        """Give events to the strategy until it acts; how many it took."""
        context = self.context
        market = self._caller.market
        if chunk.uniform:
            delivery, events = chunk.ahead(low, high)
        else:
            delivery, pairs = chunk.ahead_mixed(low, high, market)
        context.ahead(delivery)
        try:
            if chunk.uniform:
                handler = market[chunk.uniform]
                assert handler is not None, "only wanted events are indexed"
                for event in events:
                    handler(context, event)
            else:
                for handler, event in pairs:
                    handler(context, event)
        except Exception as error:
            place = delivery.place
            self._catch_up(chunk.end(place) + 1)
            raise self._caller.failure(error, chunk.event(place)) from error
        finally:
            context.ahead(None)
        return delivery.count

    def _chunk_at(self, number: int) -> Chunk:
        """The chunk that holds a delivery, made if it is another than the last one."""
        chunk = self._chunk
        if chunk is None or not chunk.first <= number < chunk.last:
            count = self.memory.scalars[_COUNT]
            deliveries = self.memory.deliveries
            last = min(number + self._chunk_size, count)
            # A message's deliveries stay together: it is handed out whole.
            while last < count and deliveries[last]["end"] == deliveries[last - 1]["end"]:
                last += 1
            chunk = Chunk(self._batch, deliveries[number:last], number, last, self.registry.instruments)
            self._chunk = chunk
        return chunk

    def _deliver(self, number: int) -> None:
        """Hand out one delivery; the state is where it belongs."""
        chunk = self._chunk_at(number)
        place = number - chunk.first
        code = chunk.code(place)
        if code >= FIRST_SPECIAL:
            self.special.read(code, chunk.row(place))
            return
        handler = self._caller.market[code]
        if handler is not None:
            self._caller.call(handler, chunk.event(place))

    def _trigger(self, what: int, number: int) -> None:
        scalars = self.memory.scalars
        scalars[_TRIGGER] = what
        scalars[_TRIGGER_ID] = number

    def _catch_up(self, stop: int) -> None:
        scalars = self.memory.scalars
        while scalars[_ROW] < stop:
            code = kernels.advance(self.memory.address, stop)
            if code:
                self.keeper.make_room(code)
