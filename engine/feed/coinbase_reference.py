"""Coinbase's products as instrument definitions.

Decimals are those of the increments, unless a definition already known has more: decimals never become fewer.
A product that is switched off in one of several ways has the first of them as its status.

Source: Coinbase's Advanced Trade REST reference ("List Public Products").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

import msgspec

from engine.feed.increments import trimmed
from engine.feed.known import with_known
from engine.feed.parser import DECODE_FAILURES, Malformed, malformed_of
from engine.model.errors import DecimalError
from engine.model.kinds import InstrumentData
from engine.model.units import decimals_of

VENUE = "coinbase"
PRODUCTS = "products"  # the endpoint, as in SOURCE rows


class _Product(msgspec.Struct):
    product_id: str
    base_currency_id: str | None = ""
    quote_currency_id: str | None = ""
    base_increment: str | None = ""
    quote_increment: str | None = ""
    price_increment: str | None = ""
    base_min_size: str | None = ""
    base_max_size: str | None = ""
    quote_min_size: str | None = ""
    status: str | None = ""
    is_disabled: bool | None = False
    trading_disabled: bool | None = False
    cancel_only: bool | None = False
    limit_only: bool | None = False
    post_only: bool | None = False
    auction_mode: bool | None = False


class _Products(msgspec.Struct):
    products: list[_Product]


_products = msgspec.json.Decoder(_Products)


def products_path(symbols: Sequence[str]) -> str:
    """The REST path that lists these products."""
    return "/api/v3/brokerage/market/products?" + "&".join(
        f"product_ids={quote(symbol, safe='')}" for symbol in symbols
    )


def key_of(symbol: str) -> str:
    """The instrument key of a symbol of this venue."""
    return f"{symbol}.{VENUE}"


def definitions(
    body: bytes,
    symbols: Iterable[str] | None = None,
    known: Mapping[str, InstrumentData] | None = None,
) -> dict[str, InstrumentData]:
    """Definitions by symbol from a list of products; all, or those of `symbols`.

    `known` definitions keep their channels, version and any wider decimals. Raises Malformed.
    """
    try:
        answer = _products.decode(body)
    except DECODE_FAILURES as error:
        raise malformed_of(error, body) from None
    wanted = None if symbols is None else set(symbols)
    return {
        product.product_id: _definition(product, (known or {}).get(product.product_id))
        for product in answer.products
        if wanted is None or product.product_id in wanted
    }


def _definition(product: _Product, known: InstrumentData | None) -> InstrumentData:
    base, _, quote_currency = product.product_id.partition("-")
    try:
        tick = trimmed(product.price_increment or "") or trimmed(product.quote_increment or "") or "0.01"
        step = trimmed(product.base_increment or "") or "0.00000001"
        minimum, maximum = (
            trimmed(product.base_min_size or "") or "0",
            trimmed(product.base_max_size or "") or "0",
        )
        smallest = trimmed(product.quote_min_size or "") or "0"
        price_decimals = decimals_of(tick)
        size_decimals = max(decimals_of(step), decimals_of(minimum), decimals_of(maximum))
    except DecimalError as error:
        raise Malformed(error.message, field=f"products.{product.product_id}") from None
    definition = InstrumentData(
        key=key_of(product.product_id),
        symbol=product.product_id,
        venue=VENUE,
        price_decimals=price_decimals,
        size_decimals=size_decimals,
        price_increment=tick,
        size_increment=step,
        base=product.base_currency_id or base,
        quote=product.quote_currency_id or quote_currency,
        min_size=minimum,
        max_size=maximum,
        min_notional=smallest,
        status=_status(product),
    )
    return with_known(definition, known)


def _status(product: _Product) -> str:
    for name in ("is_disabled", "trading_disabled", "cancel_only", "post_only", "limit_only", "auction_mode"):
        if getattr(product, name):
            return name.removeprefix("is_").upper()
    return "TRADING" if product.status in {"", "online", None} else product.status.upper()
