"""Every field of the loop's records is state or left out of it, and somebody has decided which."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.execution import state
from engine.loop import made_bars, tables
from engine.loop.snapshots.fields import LEFT_OUT, RECORDS, kept_fields
from engine.market import aggregate, book, orders_book

# What a snapshot holds by name. A field that is in neither list fails the test below: a number, a price, a
# time or a flag that decides something belongs here. An address, a slot or a free list belongs into LEFT_OUT
# of engine/loop/snapshots/fields.py; what a slot refers to is kept as a number by capture.py and putting.py.
STATE_FIELDS = {
    "STATE": """now last_arrival last_heard live_orders waiting_orders agenda_count venue_items creation
        order_number decisions trading_state next_sample timer_numbers stopped random_high random_low
        random_step_high random_step_low instant instant_calls linked_orders stop_orders
        slippage_high slippage_low slippage_step_high slippage_step_low bar_orders""",
    "INSTRUMENT": """quote_bid quote_bid_size quote_ask quote_ask_size quote_seen position venue_position
        open_buy open_sell resting stops watch_above watch_below fee_price fee_base venue_fee_base""",
    "MARKET": "last_price depth_ts_venue depth_id book_bad resynchronise touched mark",
    "ASSET": "cash venue_cash locked venue_locked fees",
    "ORDER": """number price size venue_size venue_filled filled front locked venue_locked counted
        queue_front queue_traded kind tif post_only reduce_only state venue_state resting side stop
        venue_stop trail expires parent group allowance asked_size known_price amendments accepted
        triggered linked reduced parent_over refused ahead joined joined_stamp matched matched_stamp
        matched_message blind hidden since""",
    "TRACK": "cancel_decision state_before",
    "ITEM": "due creation size price total fee notional id reason rank kind event maker fee_asset",
    "WISH": """asked asked_price unfit unfit_price unfit_at size price order failed_at known settled failed
        changing due unfit_known""",
    "TIMER": "number interval",
    "SIDE": "known_key own_key",
    "LEVEL": "key size",
    "NOTE": "consumed",
    "ENTRY": "id key size arrival sign",
    "TABLE": "arrivals strangers",
    "AGGREGATE": """step step_low due count start end open high low close volume trades
        money_high money_low""",
    "FEE_TABLE": "turnover tier",
    "HOLDING": """cash_high cash_low trip_cash_high trip_cash_low fees_high fees_low turnover_high
        turnover_low position trips_won trips_lost trips_even fills fees_base_high fees_base_low
        fees_named_high fees_named_low borrow_fees_high borrow_fees_low dividends_high dividends_low
        payouts_high payouts_low""",
    **dict.fromkeys(
        ("NUMBER", "REFUSAL", "JOURNAL", "TERMS", "EQUITY", "DELIVERY", "STREAM", "FEE_TIER", "MADE"), ""
    ),
}


@pytest.mark.parametrize("record", RECORDS)
def test_a_new_field_is_decided_about(record: str) -> None:
    """Kept are the very fields that are listed here; what is left out is a field that there is."""
    assert set(kept_fields(record)) == set(STATE_FIELDS[record].split())
    there = {"*", *(RECORDS[record].names or ())}
    named = [name for names in LEFT_OUT[record].values() for name in names]
    assert set(named) <= there, set(named) - there
    assert len(named) == len(set(named))


def test_no_record_is_forgotten() -> None:
    """Every record that the loop's modules define is looked at."""
    defined = set()
    for module in (state, tables, book, orders_book, aggregate, made_bars):
        text = Path(str(module.__file__)).read_text(encoding="utf-8")
        defined |= set(re.findall(r"^([A-Z_]+) = np\.dtype", text, re.MULTILINE))
    assert defined <= set(RECORDS)
