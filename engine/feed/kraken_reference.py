"""Kraken's pairs as instrument definitions, from the REST list and from the stream's instrument channel.

WebSocket v2 writes BTC/USD. The REST list (GET /0/public/AssetPairs) writes XBT/USD in `wsname` and has
names of its own for everything else; two old codes are translated, in either place of a pair.

Decimals are those of the increments and of the precision that the wire has, unless a definition already known
has more: decimals never become fewer.

Source: Kraken's REST reference ("Get Tradable Asset Pairs") and its instrument channel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from engine.feed.increments import trimmed
from engine.feed.known import with_known
from engine.feed.kraken_messages import Pair
from engine.feed.kraken_numbers import Texts, plain
from engine.feed.parser import DECODE_FAILURES, Malformed, malformed_of
from engine.model.errors import DecimalError
from engine.model.kinds import InstrumentData
from engine.model.units import MAX_DECIMALS, decimals_of, trim_decimal

VENUE = "kraken"
ASSET_PAIRS = "AssetPairs"  # the endpoint, as in SOURCE rows
ASSET_PAIRS_PATH = "/0/public/AssetPairs"
NEW_NAMES = {"XBT": "BTC", "XDG": "DOGE"}


class _AssetPair(msgspec.Struct):
    wsname: str = ""
    pair_decimals: int = 0
    lot_decimals: int = 8
    ordermin: Any = "0"
    costmin: Any = "0"
    tick_size: Any = ""
    status: str = "online"


class _AssetPairs(msgspec.Struct):
    error: list[str] = []
    result: dict[str, _AssetPair] = {}


_asset_pairs = msgspec.json.Decoder(_AssetPairs, float_hook=Texts().__getitem__)


def key_of(symbol: str) -> str:
    """The instrument key of a symbol of this venue."""
    return f"{symbol}.{VENUE}"


def symbol_of(wsname: str) -> str:
    """The v2 symbol of a REST `wsname`: XBT/USD is BTC/USD."""
    return "/".join(NEW_NAMES.get(asset, asset) for asset in wsname.split("/"))


def symbols_of(body: bytes) -> tuple[str, ...]:
    """All symbols of the body of GET /0/public/AssetPairs. Raises Malformed."""
    return tuple(filter(None, (symbol_of(entry.wsname) for entry in _entries(body))))


def definitions(
    body: bytes,
    symbols: Iterable[str] | None = None,
    known: Mapping[str, InstrumentData] | None = None,
) -> dict[str, InstrumentData]:
    """Definitions by symbol from the body of GET /0/public/AssetPairs; all, or those of `symbols`.

    `known` definitions keep their channels, version and any wider decimals. Raises Malformed, also for an
    answer that only says what went wrong.
    """
    wanted = None if symbols is None else set(symbols)
    found = {}
    for entry in _entries(body):
        symbol = symbol_of(entry.wsname)
        if symbol and (wanted is None or symbol in wanted):
            pair = _pair_of(entry, symbol)
            found[symbol] = definition_of(pair, (known or {}).get(symbol), f"result.{symbol}")
    return found


def _entries(body: bytes) -> Iterable[_AssetPair]:
    try:
        answer = _asset_pairs.decode(body)
    except DECODE_FAILURES as error:
        raise malformed_of(error, body) from None
    if answer.error and not answer.result:
        raise Malformed("the venue refused the request", field="error", value="; ".join(answer.error))
    return answer.result.values()


def _pair_of(entry: _AssetPair, symbol: str) -> Pair:
    base, _, quote = symbol.partition("/")
    return Pair(
        symbol=symbol,
        status=entry.status,
        base=base,
        quote=quote,
        price_precision=entry.pair_decimals,
        qty_precision=entry.lot_decimals,
        price_increment=entry.tick_size or 0,
        qty_min=entry.ordermin,
        cost_min=entry.costmin,
    )


def definition_of(pair: Pair, known: InstrumentData | None, field: str) -> InstrumentData:
    """A pair's definition. Raises Malformed, naming `field`, for a number that is none."""
    try:
        tick = trimmed(plain(pair.price_increment)) or _finest(pair.price_precision)
        step = trimmed(plain(pair.qty_increment)) or _finest(pair.qty_precision)
        minimum, smallest = trimmed(plain(pair.qty_min)) or "0", trimmed(plain(pair.cost_min)) or "0"
        price_decimals = max(decimals_of(tick), _bounded(pair.price_precision))
        size_decimals = max(decimals_of(step), decimals_of(minimum), _bounded(pair.qty_precision))
    except DecimalError as error:
        raise Malformed(error.message, field=field) from None
    base, _, quote = pair.symbol.partition("/")
    definition = InstrumentData(
        key=key_of(pair.symbol),
        symbol=pair.symbol,
        venue=VENUE,
        price_decimals=price_decimals,
        size_decimals=size_decimals,
        price_increment=tick,
        size_increment=step,
        base=pair.base or base,
        quote=pair.quote or quote,
        min_size=minimum,
        min_notional=smallest,
        status="TRADING" if pair.status == "online" else pair.status.upper(),
    )
    return with_known(definition, known)


def _bounded(decimals: int) -> int:
    return min(max(decimals, 0), MAX_DECIMALS)


def _finest(decimals: int) -> str:
    return trim_decimal(1, _bounded(decimals))
