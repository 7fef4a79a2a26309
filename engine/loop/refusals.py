"""What a refusal by risk says: the limit, the value, and what would have passed, in words.

The kernel decides by a code; the words are made from the same state right afterwards, for the strategy, the
journal and `engine why`. They decide nothing and are in no hash.
"""

from __future__ import annotations

from engine.execution.money import MONEY_DECIMALS
from engine.execution.orders import Reason, reason_name
from engine.loop.memory import Memory
from engine.model.instruments import Instrument
from engine.model.units import trim_decimal


def words_of(  # noqa: C901, PLR0912  one branch a limit
    memory: Memory, who: Instrument, side: int, size: int, price: int
) -> str:
    """Words for the refusal that the kernel has just handed back."""
    reason = Reason(memory.get("out_reason"))
    deed = "buying" if side > 0 else "selling"

    def lots(mantissa: int) -> str:
        return trim_decimal(mantissa, who.size_decimals)

    def level(mantissa: int) -> str:
        return trim_decimal(mantissa, who.price_decimals)

    def money(amount: int) -> str:
        return f"{trim_decimal(amount, MONEY_DECIMALS)} {who.quote}".rstrip()

    def of(name: str) -> int:
        return memory.of_instrument(who.index, name)

    if reason == Reason.HALTED:
        said = "no new orders while trading is halted"
    elif reason == Reason.NOT_TRADABLE:
        said = f"{who.key} is {who.status}, its log has {', '.join(who.channels) or 'no market data'}"
    elif reason == Reason.BAR_ONLY:
        said = f"the log has only bars of {who.key}, and this version fills nothing on bars"
    elif reason == Reason.PRICE_INCREMENT:
        said = f"{level(price)} is not a positive multiple of {level(who.tick)}"
    elif reason == Reason.SIZE_INCREMENT:
        said = f"{lots(size)} is not a multiple of {lots(who.lot)}"
    elif reason == Reason.MIN_SIZE:
        said = f"{lots(size)} is below {lots(max(who.min_size, who.lot))}"
    elif reason == Reason.MAX_SIZE:
        said = f"{lots(size)} is above {lots(who.max_size)}"
    elif reason == Reason.MIN_NOTIONAL:
        said = f"{money(memory.get('out_notional'))} is below {money(of('min_notional'))}"
    elif reason == Reason.NO_REFERENCE_PRICE:
        said = f"no price of {who.key} has been seen yet"
    elif reason == Reason.PRICE_COLLAR:
        share = trim_decimal(memory.get("collar_millionths"), 4)
        said = f"{deed} at {level(price)} is more than {share} % beyond {level(memory.get('out_price'))}"
    elif reason == Reason.POSITION_CAP:
        open_size = of("open_buy" if side > 0 else "open_sell")
        said = (
            f"{deed} {lots(size)} with {lots(open_size)} open and a position of {lots(of('position'))} "
            f"passes {lots(of('position_cap'))}"
        )
    elif reason == Reason.CASH and side > 0:
        asset = memory.assets[of("asset")]
        free = money(int(asset["cash"]) - int(asset["locked"]))
        said = f"it may cost {money(memory.get('out_notional'))}, {free} are free"
    elif reason == Reason.CASH:
        said = f"selling {lots(size)}, {lots(of('position') - of('open_sell'))} are held and not on sale"
    else:
        said = "more than 64 bits hold"
    return f"{reason_name(reason)}: {said}"
