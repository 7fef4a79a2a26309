"""The fees of a run as kernels read them: which instrument pays by which table, in what, valued by whom.

A venue's fees are those that the configuration has under its name, else those for all. What is said there
once is written into each INSTRUMENT record; tiers stand in arrays of their own, and move the rates of all
instruments of their table (engine.execution.fees).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.config import Fees, FeeTier
from engine.execution.money import MONEY_DECIMALS
from engine.execution.state import (
    FEE_IN_BASE,
    FEE_IN_NAMED,
    FEE_IN_QUOTE,
    FEE_IN_RECEIVED,
    FEE_TABLE,
    FEE_TIER,
)
from engine.model.errors import UsageError
from engine.model.instruments import Instrument
from engine.model.units import parse_decimal

if TYPE_CHECKING:
    from engine.loop.memory import Memory

_MOST_SIZE_DECIMALS = 17  # of a size that pays fees in itself: a rate has one decimal more than money


class FeePlans:
    """The tables, and the assets that nothing but fees is charged in."""

    def __init__(self, memory: Memory) -> None:
        config = memory.config
        self._memory = memory
        self._known: list[Instrument] = []  # as they are defined now
        self.assets: dict[str, int] = {}  # by name: number of the ASSET record
        self.tables, self.tiers = _tables([config.fees, *config.venue_fees.values()])
        state = memory.state[0]
        state["fee_tables"], state["fee_table_count"] = self.tables.ctypes.data, len(self.tables)
        state["fee_tiers"], state["fee_tier_count"] = self.tiers.ctypes.data, len(self.tiers)

    def of(self, instrument: Instrument) -> Fees:
        """What the configuration says of an instrument's venue."""
        config = self._memory.config
        return config.venue_fees.get(instrument.venue, config.fees)

    def define(self, instrument: Instrument) -> None:
        """Write an instrument's fees into its record; UsageError where its account cannot pay them."""
        known = self._known
        self._known = [*known[: instrument.index], instrument, *known[instrument.index + 1 :]]
        fees = self.of(instrument)
        mode = self._mode(instrument, fees)
        record = self._memory.instruments[instrument.index]
        venues = list(self._memory.config.venue_fees)
        number = 1 + venues.index(instrument.venue) if instrument.venue in venues else 0
        tier = self.tiers[int(self.tables[number]["tier"])]
        record["fee_table"], record["maker_rate"], record["taker_rate"] = number, tier["maker"], tier["taker"]
        per_unit, sell_per_unit, most, per_fill = (
            parse_decimal(text, MONEY_DECIMALS)
            for text in (fees.per_unit, fees.sell_per_unit, fees.most_per_unit, fees.per_fill)
        )
        record["buy_rate"], record["sell_rate"] = fees.buy, fees.sell
        record["buy_unit_fee"], record["sell_unit_fee"] = per_unit, per_unit + sell_per_unit
        record["most_unit_fee"], record["fill_fee"] = most, per_fill
        record["fee_mode"] = mode
        plain = Fees(fees.maker, fees.taker, asset=fees.asset)
        record["fee_plan"] = int(mode != FEE_IN_QUOTE or fees != plain)
        if mode == FEE_IN_NAMED:
            if fees.asset not in self.assets:
                self.assets[fees.asset] = self._memory.add_asset(fees.asset)
            record["fee_asset"] = self.assets[fees.asset]
        self._value()

    def _mode(self, instrument: Instrument, fees: Fees) -> int:
        account = self._memory.config.account.type
        mode = FEE_IN_NAMED
        if fees.asset in ("quote", instrument.quote):
            mode = FEE_IN_QUOTE
        elif fees.asset == "received":
            mode = FEE_IN_RECEIVED
        elif fees.asset == instrument.base:
            mode = FEE_IN_BASE
        if account == "margin" and mode != FEE_IN_QUOTE:
            raise UsageError(
                f"{instrument.key}: a margin account pays fees in its currency, these are in {fees.asset}",
                hint="choose --fee-asset quote",
            )
        if account == "cash" and mode in (FEE_IN_NAMED, FEE_IN_BASE):
            raise UsageError(
                f"{instrument.key}: a cash account has no {fees.asset} to pay fees with",
                hint="choose --fee-asset received or quote, or --account research",
            )
        if mode == FEE_IN_RECEIVED and instrument.size_decimals > _MOST_SIZE_DECIMALS:
            raise UsageError(
                f"{instrument.key}: of sizes with {instrument.size_decimals} decimals no fee can be taken",
                hint="choose --fee-asset quote",
            )
        return mode

    def _value(self) -> None:
        """Find the instruments that value the assets in which fees are charged."""
        memory = self._memory
        for who in self._known:
            record = memory.instruments[who.index]
            if record["fee_mode"] == FEE_IN_BASE:
                record["fee_priced_by"] = who.index
            elif record["fee_mode"] == FEE_IN_NAMED:
                record["fee_priced_by"] = self._pricing(self.of(who).asset, who.quote, who.venue)
        for name, number in self.assets.items():
            memory.assets[number]["priced_by"] = 1 + self._pricing(name, memory.asset_names[0], "")

    def _pricing(self, asset: str, quote: str, venue: str) -> int:
        """The instrument that is `asset` in `quote`, of the venue itself if it can be; -1: none."""
        found = [who for who in self._known if who.base == asset and who.quote == quote and _has_price(who)]
        own = [who for who in found if who.venue == venue]
        return (own or found)[0].index if found else -1

    def check_prices(self, instruments: Iterable[Instrument]) -> None:
        """UsageError when a fee of one of these could not be valued, because no row can bring the price."""
        for who in instruments:
            record = self._memory.instruments[who.index]
            if record["fee_mode"] == FEE_IN_NAMED and record["fee_priced_by"] < 0:
                asset = self.of(who).asset
                raise UsageError(
                    f"{who.key}: its fees are charged in {asset}, and the log has no instrument of base "
                    f"{asset} and quote currency {who.quote or '(none)'} to value them by",
                    hint=f"record {asset}{who.quote} as well, or choose --fee-asset quote",
                )

    def pricing_of(self, instrument: Instrument) -> Instrument | None:
        """Who values the named asset that an instrument's fees are charged in; None: nobody."""
        index = int(self._memory.instruments[instrument.index]["fee_priced_by"])
        return self._known[index] if index >= 0 else None

    def rescale(self, index: int, price: int) -> None:
        """An instrument's prices are counted finer: so are those that were noted of it."""
        records = self._memory.instruments
        records["fee_price"][records["fee_priced_by"] == index] *= price


def _has_price(who: Instrument) -> bool:
    return any(channel in who.channels for channel in ("book", "quote", "trade", "aggtrade", "bar"))


def _tables(fees: Sequence[Fees]) -> tuple[Any, Any]:
    """FEE_TABLE records of tables of fees, and the FEE_TIER records of all of them, from nothing on."""
    tables = np.zeros(len(fees), FEE_TABLE)
    tiers: list[tuple[int, int, int]] = []
    for table, each in zip(tables, fees, strict=True):
        table["tier"] = len(tiers)
        tiers += [
            (parse_decimal(tier.notional, MONEY_DECIMALS), tier.maker, tier.taker)
            for tier in (FeeTier("0", each.maker, each.taker), *each.tiers)
        ]
        table["tier_end"] = len(tiers)
    return tables, np.array(tiers, FEE_TIER)
