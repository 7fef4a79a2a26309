"""The calls of `ctx` that send something: orders of every kind, amendments, cancels."""

from __future__ import annotations

from engine.execution.orders import OrderKind, TimeInForce
from engine.loop import operations
from engine.loop.memory import FIELD
from engine.loop.standing import Standing
from engine.model.errors import UsageError
from engine.model.instruments import Instrument
from engine.strategy.orders import time_in_force

_LIVE = FIELD["live_orders"]
_MARKET, _LIMIT, _STOP = int(OrderKind.MARKET), int(OrderKind.LIMIT), int(OrderKind.STOP)
_STOP_LIMIT, _TRAILING = int(OrderKind.STOP_LIMIT), int(OrderKind.TRAILING)
_IOC = int(TimeInForce.IOC)
_NONE = float("nan")  # a stop without a limit


class Ordering(Standing):
    """See engine.strategy.api.Context for what each method promises."""

    def market(self, instrument: Instrument | str, size: float) -> int:
        """Send a market order."""
        who = self.resolve(instrument)
        self._act()
        return self._sent(
            operations.order(self.memory.address, who.index, float(size), 0.0, _MARKET, _IOC, 0)
        )

    def limit(
        self,
        instrument: Instrument | str,
        size: float,
        price: float,
        tif: str = "gtc",
        post_only: bool = False,  # noqa: FBT001, FBT002  authors name it
        reduce_only: bool = False,  # noqa: FBT001, FBT002  likewise
        until: int | None = None,
    ) -> int:
        """Send a limit order."""
        code, expires = time_in_force("limit", tif, until)
        who = self.resolve(instrument)
        self._act()
        options = (1 if post_only else 0) | (2 if reduce_only else 0)
        limit = float(price)
        if not expires:
            return self._sent(
                operations.order(self.memory.address, who.index, float(size), limit, _LIMIT, code, options)
            )
        return self._send_with(who, (size, limit, 0.0, 0.0), _LIMIT, code, options, expires)

    def stop(
        self,
        instrument: Instrument | str,
        size: float,
        stop: float,
        limit: float | None = None,
        tif: str = "gtc",
        reduce_only: bool = False,  # noqa: FBT001, FBT002  authors name it
        until: int | None = None,
    ) -> int:
        """Send a stop, with a limit or without one."""
        code, expires = time_in_force("stop", tif, until)
        kind = _STOP if limit is None else _STOP_LIMIT
        who = self.resolve(instrument)
        self._act()
        price = 0.0 if limit is None else float(limit)
        options = 2 if reduce_only else 0
        return self._send_with(who, (size, price, float(stop), 0.0), kind, code, options, expires)

    def trail(
        self,
        instrument: Instrument | str,
        size: float,
        distance: float,
        stop: float | None = None,
        tif: str = "gtc",
        reduce_only: bool = False,  # noqa: FBT001, FBT002  authors name it
        until: int | None = None,
    ) -> int:
        """Send a trailing stop."""
        code, expires = time_in_force("trail", tif, until)
        who = self.resolve(instrument)
        self._act()
        options = 2 if reduce_only else 0
        first = 0.0 if stop is None else float(stop)
        return self._send_with(who, (size, 0.0, first, float(distance)), _TRAILING, code, options, expires)

    def _send_with(
        self,
        who: Instrument,
        numbers: tuple[float, float, float, float],  # size, limit, stop, distance
        kind: int,
        tif: int,
        options: int,
        expires: int,
    ) -> int:
        size, price, stop, distance = numbers
        return self._sent(
            operations.order_with(
                self.memory.address,
                who.index,
                float(size),
                price,
                kind,
                tif,
                options,
                stop,
                distance,
                expires,
            )
        )

    def _sent(self, number: int) -> int:
        self._check(number)
        return number

    def oco(
        self,
        instrument: Instrument | str,
        size: float,
        price: float,
        stop: float,
        limit: float | None = None,
        tif: str = "gtc",
        until: int | None = None,
    ) -> tuple[int, int]:
        """Send a limit order and a stop of which one cancels the other."""
        code, expires = time_in_force("oco", tif, until)
        who = self.resolve(instrument)
        self._act()
        number = self._sent(
            operations.pair(
                self.memory.address,
                who.index,
                float(size),
                float(price),
                float(stop),
                _NONE if limit is None else float(limit),
                code,
                0,
                expires,
            )
        )
        return number, number + 1

    def bracket(
        self,
        instrument: Instrument | str,
        size: float,
        price: float | None,
        target: float,
        stop: float,
        limit: float | None = None,
        tif: str = "gtc",
        until: int | None = None,
    ) -> tuple[int, int, int]:
        """Send an entry with a target and a stop behind it."""
        code, expires = time_in_force("bracket", tif, until)
        who = self.resolve(instrument)
        self._act()
        number = self._sent(
            operations.bracket(
                self.memory.address,
                who.index,
                float(size),
                0.0 if price is None else float(price),
                _MARKET if price is None else _LIMIT,
                code,
                0,
                expires,
                float(target),
                float(stop),
                _NONE if limit is None else float(limit),
            )
        )
        return number, number + 1, number + 2

    def amend(
        self,
        order: int,
        size: float | None = None,
        price: float | None = None,
        stop: float | None = None,
    ) -> None:
        """Send an amendment; nothing happens when the order is final or being cancelled."""
        if not 1 <= order <= self.memory.get("order_number"):
            raise UsageError(f"amend({order}): no such order", hint="order calls return the number")
        if not self.memory.scalars[_LIVE]:
            return
        self._act()
        given = (size is not None) | (price is not None) << 1 | (stop is not None) << 2
        total, limit, trigger = (0.0 if value is None else float(value) for value in (size, price, stop))
        self._check(operations.amend(self.memory.address, order, total, limit, trigger, given))

    def cancel(self, order: int) -> None:
        """Send a cancel; nothing happens when the order is final or being cancelled already."""
        if not 1 <= order <= self.memory.get("order_number"):
            raise UsageError(f"cancel({order}): no such order", hint="order calls return the number")
        if self.memory.scalars[_LIVE]:
            self._act()
            self._check(operations.cancel(self.memory.address, order))

    def cancel_all(self, instrument: Instrument | str | None = None) -> None:
        """Cancel every open order, or those of one instrument."""
        index = -1 if instrument is None else self.resolve(instrument).index
        if self.memory.scalars[_LIVE]:
            self._act()
            self._check(operations.cancel_all(self.memory.address, index))
