"""exchangeInfo as definitions, and the names of streams and requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.feed.binance_reference import (
    definitions,
    depth_path,
    stream_names,
    subscribe_request,
)
from engine.feed.parser import Malformed
from engine.ingest.instruments import read_exchange_info
from engine.model.errors import UsageError
from engine.model.instruments import from_data
from engine.model.kinds import Flag, InstrumentData, Kind, SourceData
from tests.helpers.frames import BTC, Row, feed, feed_depth, parser, trade

EXCHANGE_INFO = SourceData(name="binance-rest", venue="binance", endpoint="exchangeInfo")
REST = 2


def symbol(name: str = "BTCUSDT", status: str = "TRADING", **filters: dict[str, str]) -> dict[str, Any]:
    """One entry of exchangeInfo."""
    return {
        "symbol": name,
        "status": status,
        "baseAsset": name[:3],
        "quoteAsset": name[3:],
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "filters": [{"filterType": kind, **values} for kind, values in filters.items()],
    }


PRICE = {"minPrice": "0.01", "maxPrice": "1000000.00000000", "tickSize": "0.01000000"}
LOT = {"minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"}


def body(*symbols: dict[str, Any]) -> bytes:
    """An exchangeInfo answer."""
    return msgspec.json.encode({"timezone": "UTC", "serverTime": 1, "symbols": symbols})


FULL = InstrumentData(
    key="BTCUSDT.binance",
    symbol="BTCUSDT",
    venue="binance",
    price_decimals=2,
    size_decimals=5,
    price_increment="0.01",
    size_increment="0.00001",
    base="BTC",
    quote="USDT",
    min_size="0.00001",
    max_size="9000",
    min_notional="5",
)


@pytest.mark.parametrize("notional", ["NOTIONAL", "MIN_NOTIONAL"])
def test_a_definition_from_filters(notional: str) -> None:
    """Increments without trailing zeros; both names that the smallest notional has had."""
    filters: dict[str, Any] = {
        "PRICE_FILTER": PRICE,
        "LOT_SIZE": LOT,
        notional: {"minNotional": "5.00000000"},
    }
    assert definitions(body(symbol(**filters))) == {"BTCUSDT": FULL}


def test_a_filter_that_is_off_means_the_finest_step() -> None:
    """A tick of zero switches the rule off; then the asset's precision is the step."""
    entry = symbol(PRICE_FILTER=PRICE | {"tickSize": "0.00000000"}, LOT_SIZE=LOT)
    definition = definitions(body(entry))["BTCUSDT"]
    assert (definition.price_increment, definition.price_decimals) == ("0.00000001", 8)


def test_only_the_symbols_asked_for() -> None:
    """What the venue does not have is absent."""
    both = body(symbol(), symbol("ETHUSDT", PRICE_FILTER=PRICE, LOT_SIZE=LOT))
    assert list(definitions(both, ["ETHUSDT", "NOSUCH"])) == ["ETHUSDT"]


def test_decimals_never_become_fewer() -> None:
    """A known definition's wider decimals, channels and version stay."""
    known = msgspec.structs.replace(FULL, size_decimals=6, channels=("trade",), version=3)
    found = definitions(body(symbol(PRICE_FILTER=PRICE, LOT_SIZE=LOT)), None, {"BTCUSDT": known})
    assert found["BTCUSDT"] == msgspec.structs.replace(known, min_notional="0")


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (b"<html>", ""),
        (b'{"symbols":[{"symbol":5}]}', "symbols[0].symbol"),
        (body(symbol(LOT_SIZE={"stepSize": "x"})), "symbols.BTCUSDT.filters"),
    ],
)
def test_what_is_no_exchange_info(document: bytes, field: str) -> None:
    """Refused with the field."""
    with pytest.raises(Malformed) as caught:
        definitions(document)
    assert caught.value.data.field == field


def test_an_unchanged_answer_is_kept_as_control() -> None:
    """The recorder asks at its start: the answer stays in the log, and defines nothing anew."""
    target = parser(FULL)
    same = body(symbol(PRICE_FILTER=PRICE, LOT_SIZE=LOT, NOTIONAL={"minNotional": "5.00"}), symbol("ETHUSDT"))
    assert feed_depth(target, same, EXCHANGE_INFO) == [
        Row(Kind.CONTROL, flags=Flag.LAST, source=REST, instrument=0, wire=True)
    ]
    assert not target.unknown


def test_a_changed_answer_is_a_new_version() -> None:
    """A halt, a wider step: INSTRUMENT rows of one message, used from then on."""
    target = parser(FULL)
    finer = LOT | {"stepSize": "0.00000100"}
    changed = body(symbol(status="HALT", PRICE_FILTER=PRICE, LOT_SIZE=finer, NOTIONAL={"minNotional": "5"}))
    (row,) = feed_depth(target, changed, EXCHANGE_INFO)
    assert (row.kind, row.flags, row.wire, row.source) == (Kind.INSTRUMENT, Flag.LAST, True, REST)
    assert (row.data["version"], row.data["status"], row.data["size_decimals"]) == (2, "HALT", 6)
    assert feed(target, trade(5, size="0.02000000"))[0].size == 20_000


def test_a_broken_answer_changes_nothing() -> None:
    """One MALFORMED row."""
    target = parser(FULL)
    (row,) = feed_depth(target, b'{"symbols":5}', EXCHANGE_INFO)
    assert (row.kind, row.data["field"]) == (Kind.MALFORMED, "symbols")
    assert target.instruments["BTCUSDT"][1] == FULL


def test_streams_and_requests() -> None:
    """As the venue spells them."""
    names = stream_names(["BTCUSDT", "ETHUSDT"], ["trade", "quote", "book", "aggtrade", "bar"])
    assert names == [
        "btcusdt@trade",
        "ethusdt@trade",
        "btcusdt@bookTicker",
        "ethusdt@bookTicker",
        "btcusdt@depth@100ms",
        "ethusdt@depth@100ms",
        "btcusdt@aggTrade",
        "ethusdt@aggTrade",
        "btcusdt@kline_1m",
        "ethusdt@kline_1m",
    ]
    assert stream_names(["BTCUSDT"], ["bar"], "1h") == ["btcusdt@kline_1h"]
    assert subscribe_request(["a@trade"], 7) == b'{"method":"SUBSCRIBE","params":["a@trade"],"id":7}'
    assert depth_path("BTCUSDT", 1_000) == "/api/v3/depth?symbol=BTCUSDT&limit=1000"
    assert parser(BTC).streams() == []


def test_an_unknown_channel_is_a_users_mistake() -> None:
    """Named, with those that exist."""
    with pytest.raises(UsageError, match='no channel "news"'):
        stream_names(["BTCUSDT"], ["news"])


def test_the_exchange_info_of_2021(real_data: Path) -> None:
    """All 1,695 symbols are valid definitions; a few as they were."""
    found = read_exchange_info(real_data / "binance_legacy" / "BINANCE.exchangeInfo.gz")
    assert len(found) == 1_695
    for index, definition in enumerate(found.values()):
        from_data(definition, index)
    btc = found["BTCUSDT"]
    assert (btc.price_increment, btc.size_increment, btc.min_notional) == ("0.01", "0.00001", "10")
    assert (found["BLZETH"].price_decimals, found["BLZETH"].size_decimals) == (8, 0)
