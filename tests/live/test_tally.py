"""What a recording says of itself while it goes on."""

from __future__ import annotations

from engine.live.tally import Tally
from engine.log.schema import batch_of_buffer
from engine.model.kinds import Flag, Kind, encode_canonical
from engine.model.rows import RowBuffer
from tests.helpers.frames import BTC


def test_a_rejected_trade_is_no_last_price() -> None:
    """The one before it stays; a batch of nothing else changes nothing."""
    rows, tally = RowBuffer(), Tally()
    last, rejected = int(Flag.LAST), int(Flag.LAST | Flag.REJECTED_TICK)
    rows.append(1, Kind.INSTRUMENT, instrument=1, flags=last, data=encode_canonical(BTC))
    rows.append(2, Kind.TRADE, instrument=1, flags=last, price=10_000)
    rows.append(3, Kind.TRADE, instrument=1, flags=rejected, price=99_999)
    tally.take(batch_of_buffer(rows, 0))
    assert tally.last_prices == {"BTCUSDT": "100"}
    rows.clear()
    rows.append(4, Kind.TRADE, instrument=1, flags=rejected, price=1)
    tally.take(batch_of_buffer(rows, 3))
    assert tally.last_prices == {"BTCUSDT": "100"}
    assert tally.kinds == {"trade": 3, "instrument": 1}
