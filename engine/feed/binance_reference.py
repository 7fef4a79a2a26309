"""Binance's exchangeInfo as instrument definitions, and the addresses and requests of its market data.

Decimals are those of the increments, unless a definition already known has more: old orders may still
rest in a book at a finer step than the venue takes today, and decimals never become fewer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from engine.feed.known import with_known
from engine.feed.parser import DECODE_FAILURES, Malformed, malformed_of
from engine.model.errors import DecimalError, UsageError
from engine.model.kinds import InstrumentData
from engine.model.units import MAX_DECIMALS, decimals_of, parse_decimal, trim_decimal

VENUE = "binance"
# The stream of each channel, as users name channels.
STREAM_OF = {
    "trade": "trade",
    "aggtrade": "aggTrade",
    "quote": "bookTicker",
    "book": "depth@100ms",
    "bar": "kline_1m",
}


class _Filter(msgspec.Struct):
    filterType: str = ""  # noqa: N815  the venue's names
    tickSize: str = "0"  # noqa: N815
    stepSize: str = "0"  # noqa: N815
    minQty: str = "0"  # noqa: N815
    maxQty: str = "0"  # noqa: N815
    minNotional: str = "0"  # noqa: N815


class _Symbol(msgspec.Struct):
    symbol: str
    status: str = "TRADING"
    baseAsset: str = ""  # noqa: N815
    quoteAsset: str = ""  # noqa: N815
    filters: list[_Filter] = []
    baseAssetPrecision: int = 8  # noqa: N815
    quotePrecision: int = 8  # noqa: N815


class _Limit(msgspec.Struct):
    rateLimitType: str = ""  # noqa: N815
    interval: str = ""
    intervalNum: int = 1  # noqa: N815
    limit: int = 0


class _ExchangeInfo(msgspec.Struct):
    symbols: list[_Symbol]


class _Limits(msgspec.Struct):
    rateLimits: list[_Limit] = []  # noqa: N815


_exchange_info = msgspec.json.Decoder(_ExchangeInfo)
_limits = msgspec.json.Decoder(_Limits)


def weight_per_minute(body: bytes) -> int:
    """The request weight that one address may use in a minute, by exchangeInfo; 0 when it does not say.

    Raises Malformed.
    """
    try:
        limits = _limits.decode(body).rateLimits
    except DECODE_FAILURES as error:
        raise malformed_of(error, body) from None
    of_minute = [
        each.limit
        for each in limits
        if each.rateLimitType == "REQUEST_WEIGHT" and (each.interval, each.intervalNum) == ("MINUTE", 1)
    ]
    return min(of_minute, default=0)


def definitions(
    body: bytes,
    symbols: Iterable[str] | None = None,
    known: Mapping[str, InstrumentData] | None = None,
    venue: str = VENUE,
) -> dict[str, InstrumentData]:
    """Definitions by symbol from the body of GET /api/v3/exchangeInfo; all, or those of `symbols`.

    `known` definitions keep their channels, version and any wider decimals. Symbols that the body does not
    have are absent from the result. Raises Malformed.
    """
    try:
        info = _exchange_info.decode(body)
    except DECODE_FAILURES as error:
        raise malformed_of(error, body) from None
    wanted = None if symbols is None else set(symbols)
    return {
        entry.symbol: _definition(entry, (known or {}).get(entry.symbol), venue)
        for entry in info.symbols
        if wanted is None or entry.symbol in wanted
    }


def _definition(entry: _Symbol, known: InstrumentData | None, venue: str) -> InstrumentData:
    filters = {each.filterType: each for each in entry.filters}
    price, size = filters.get("PRICE_FILTER", _Filter()), filters.get("LOT_SIZE", _Filter())
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or _Filter()
    try:
        # A zero increment switches the venue's rule off; prices are then as fine as the asset.
        tick = _clean(price.tickSize) or _finest(entry.quotePrecision)
        step = _clean(size.stepSize) or _finest(entry.baseAssetPrecision)
        price_decimals, size_decimals = decimals_of(tick), decimals_of(step)
        minimum, maximum = _clean(size.minQty) or "0", _clean(size.maxQty) or "0"
        size_decimals = max(size_decimals, decimals_of(minimum), decimals_of(maximum))
        smallest = _clean(notional.minNotional) or "0"
    except DecimalError as error:
        raise Malformed(error.message, field=f"symbols.{entry.symbol}.filters") from None
    if known is not None:
        venue = known.venue
    definition = InstrumentData(
        key=f"{entry.symbol}.{venue}",
        symbol=entry.symbol,
        venue=venue,
        price_decimals=price_decimals,
        size_decimals=size_decimals,
        price_increment=tick,
        size_increment=step,
        base=entry.baseAsset,
        quote=entry.quoteAsset,
        min_size=minimum,
        max_size=maximum,
        min_notional=smallest,
        status=entry.status,
    )
    return with_known(definition, known)


def _clean(text: str) -> str:
    """The decimal without trailing zeros; "" for zero."""
    decimals = decimals_of(text)
    mantissa = parse_decimal(text, decimals)
    return trim_decimal(mantissa, decimals) if mantissa else ""


def _finest(decimals: int) -> str:
    return trim_decimal(1, min(max(decimals, 0), MAX_DECIMALS))


def stream_names(symbols: Sequence[str], channels: Sequence[str], interval: str = "1m") -> list[str]:
    """The venue's stream names for symbols and channels; UsageError for a channel it does not have."""
    names = []
    for channel in channels:
        stream = f"kline_{interval}" if channel == "bar" else STREAM_OF.get(channel)
        if stream is None:
            raise UsageError(f'binance has no channel "{channel}"', hint=f"it has {', '.join(STREAM_OF)}")
        names += [f"{symbol.lower()}@{stream}" for symbol in symbols]
    return names


def subscribe_request(streams: Sequence[str], number: int, method: str = "SUBSCRIBE") -> bytes:
    """The frame that asks for streams; the venue answers {"result":null,"id":number}."""
    return msgspec.json.encode({"method": method, "params": list(streams), "id": number})


def depth_path(symbol: str, limit: int = 5_000) -> str:
    """The REST path of a book snapshot."""
    return f"/api/v3/depth?symbol={symbol}&limit={limit}"
