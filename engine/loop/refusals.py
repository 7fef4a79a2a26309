"""What a refusal says: the limit, the value, and what would have passed, in words.

The kernel decides by a code and notes the numbers (`REFUSAL`); the words are made from them later, for the
strategy, the journal and `engine why`. They decide nothing and are in no hash.
"""

from __future__ import annotations

from typing import Any

from engine.execution.money import MONEY_DECIMALS
from engine.execution.orders import Reason, reason_name
from engine.loop.increments import BETWEEN, NOT_FINITE
from engine.loop.memory import Memory
from engine.model.instruments import Instrument
from engine.model.units import format_decimal, parse_decimal, trim_decimal

# Which of an order's floats lay off the increments, by the record's `what`.
_FLOATS = ("", "size", "price", "stop", "distance", "target", "stop", "limit")


_PLAIN_WORDS = {
    Reason.HALTED: "no new orders while trading is halted",
    Reason.TIME_PASSED: "the time until which it lasts has passed",
    Reason.ENTRY_REFUSED: "the order that it belongs to was refused",
    Reason.LINKED_SIZE: (
        "the size of an order that others depend on follows their fills; cancel it and send a new one"
    ),
    Reason.LEGS_CROSSED: "target and stop lie on the wrong sides of each other",
}


def words_of(memory: Memory, who: Instrument, refusal: Any) -> str:
    """Words for one REFUSAL record; `who` is its instrument as it is defined now."""
    reason = Reason(int(refusal["reason"]))
    said = _float_words(who, refusal) if refusal["what"] else _limit_words(memory, who, reason, refusal)
    return f"{reason_name(reason)}: {said}"


def _float_words(who: Instrument, refusal: Any) -> str:
    """Words for a float that lay off the increments."""
    what = _FLOATS[int(refusal["what"])]
    size = what == "size"
    decimals, increment = (who.size_decimals, who.lot) if size else (who.price_decimals, who.tick)
    if refusal["problem"] == NOT_FINITE:
        problem = "not a finite number"
    elif refusal["problem"] == BETWEEN:
        below = int(refusal["below"])
        neighbours = format_decimal(below, decimals), format_decimal(below + increment, decimals)
        problem = f"{neighbours[0]} and {neighbours[1]} are the nearest"
    else:
        problem = "more than 64 bits hold"
    return f"{what} {float(refusal['value'])!r}: {problem}"


def _limit_words(  # noqa: C901, PLR0912  one branch a limit
    memory: Memory, who: Instrument, reason: Reason, refusal: Any
) -> str:
    side, size, price = (int(refusal[name]) for name in ("side", "size", "price"))
    deed = "buying" if side > 0 else "selling"

    def lots(mantissa: int) -> str:
        return trim_decimal(int(mantissa), who.size_decimals)

    def level(mantissa: int) -> str:
        return trim_decimal(int(mantissa), who.price_decimals)

    def money(amount: int) -> str:
        return f"{trim_decimal(int(amount), MONEY_DECIMALS)} {who.quote}".rstrip()

    if reason == Reason.NOT_TRADABLE:
        said = f"{who.key} is {who.status}, its log has {', '.join(who.channels) or 'no market data'}"
    elif reason in _PLAIN_WORDS:
        said = _PLAIN_WORDS[reason]
    elif reason == Reason.NO_SESSION:
        said = f"no session of {who.key} is known that ends after now: its log has no such SESSION rows"
    elif reason == Reason.NO_TRIGGER_PRICE:
        said = f"stops look at mark prices here, and none of {who.key} has come"
    elif reason == Reason.PRICE_INCREMENT:
        said = f"a price of it is no positive multiple of {level(who.tick)}"
        if price % who.tick or price < 0:
            said = f"{level(price)} is not a positive multiple of {level(who.tick)}"
    elif reason == Reason.SIZE_INCREMENT:
        said = f"{lots(size)} is not a multiple of {lots(who.lot)}"
    elif reason == Reason.MIN_SIZE:
        said = f"{lots(size)} is below {lots(max(who.min_size, who.lot))}"
    elif reason == Reason.MAX_SIZE:
        said = f"{lots(size)} is above {lots(who.max_size)}"
    elif reason == Reason.MIN_NOTIONAL:
        least = parse_decimal(who.min_notional, MONEY_DECIMALS)
        said = f"{money(refusal['notional'])} is below {money(least)}"
    elif reason == Reason.NO_REFERENCE_PRICE:
        said = f"no price of {who.key} has been seen yet"
    elif reason == Reason.PRICE_COLLAR:
        share = trim_decimal(memory.get("collar_millionths"), 4)
        said = f"{deed} at {level(price)} is more than {share} % beyond {level(refusal['reference'])}"
    elif reason == Reason.POSITION_CAP:
        cap = memory.of_instrument(who.index, "position_cap")
        said = (
            f"{deed} {lots(size)} with {lots(refusal['open'])} open and a position of "
            f"{lots(refusal['position'])} passes {lots(cap)}"
        )
    elif reason == Reason.NO_FEE_PRICE:
        pricing = memory.fee_plans.pricing_of(who)
        asset = memory.fee_plans.of(who).asset
        name = pricing.key if pricing else asset
        said = f"its fee is charged in {asset}, and no price of {name} has been seen yet"
    elif reason == Reason.BUYING_POWER:
        times = trim_decimal(memory.get("leverage_millionths"), 6)
        said = (
            f"with {deed} {lots(size)} positions and open orders come to {money(refusal['notional'])}, the "
            f"buying power is {money(refusal['free'])} ({times} times the equity)"
        )
    elif reason == Reason.CASH and side > 0:
        said = f"it may cost {money(refusal['notional'])}, {money(refusal['free'])} are free"
    elif reason == Reason.CASH:
        held = int(refusal["position"]) - int(refusal["open"])
        said = f"selling {lots(size)}, {lots(held)} are held and not on sale"
    else:
        said = "more than 64 bits hold"
    return said
