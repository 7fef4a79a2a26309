"""Codes of orders, events and reasons as kernels see them."""

from __future__ import annotations

from engine.execution.orders import Event, OrderKind, Reason, TimeInForce

# Kernels see plain integers: an enum member would be boxed.
E_ACCEPTED, E_FILL, E_FILL_ALL = int(Event.ACCEPTED), int(Event.FILL), int(Event.FILL_ALL)
E_CANCELLED, E_REJECTED, E_EXPIRED = int(Event.CANCELLED), int(Event.REJECTED), int(Event.EXPIRED)
E_CANCEL_REJECTED = int(Event.CANCEL_REJECTED)
E_TRIGGERED, E_AMENDED, E_AMEND_REJECTED = (
    int(Event.TRIGGERED),
    int(Event.AMENDED),
    int(Event.AMEND_REJECTED),
)
K_MARKET, K_LIMIT, K_STOP = int(OrderKind.MARKET), int(OrderKind.LIMIT), int(OrderKind.STOP)
K_STOP_LIMIT, K_TRAILING = int(OrderKind.STOP_LIMIT), int(OrderKind.TRAILING)
T_GTC, T_IOC, T_FOK = int(TimeInForce.GTC), int(TimeInForce.IOC), int(TimeInForce.FOK)
T_GTD, T_DAY = int(TimeInForce.GTD), int(TimeInForce.DAY)
R_NONE, R_TAKER, R_CROSSED, R_THROUGH = 0, int(Reason.TAKER), int(Reason.CROSSED), int(Reason.THROUGH)
R_QUEUE, R_RESYNC = int(Reason.QUEUE), int(Reason.RESYNC)
R_BAR = int(Reason.BAR)
R_REQUESTED, R_NO_LIQUIDITY, R_EMPTY = (
    int(Reason.REQUESTED),
    int(Reason.NO_LIQUIDITY),
    int(Reason.EMPTY_SIDE),
)
R_IOC, R_FOK, R_POST_ONLY = (
    int(Reason.IOC_REMAINDER),
    int(Reason.FOK_UNFILLABLE),
    int(Reason.POST_ONLY_WOULD_MATCH),
)
R_FUNDS, R_REDUCE, R_UNKNOWN = (
    int(Reason.INSUFFICIENT_FUNDS),
    int(Reason.REDUCE_ONLY),
    int(Reason.UNKNOWN_ORDER),
)
R_OVERFLOW = int(Reason.OVERFLOW)
R_TIME, R_LINKED, R_PARENT = int(Reason.TIME), int(Reason.LINKED), int(Reason.PARENT)
R_WOULD_TRIGGER, R_COLLAR_AT_TRIGGER = int(Reason.WOULD_TRIGGER), int(Reason.COLLAR_AT_TRIGGER)
FEE_ASSETS = ("quote", "base", "named")  # by code: what a fill's fee is charged in
R_CORPORATE = int(Reason.CORPORATE_ACTION)
