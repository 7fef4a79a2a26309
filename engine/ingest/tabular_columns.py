"""Which column of a file means what: fields, the names they go by, and files that bring no names.

A name is compared in lower case with everything but letters and digits as "_". The first name of a
field's list that the file has is taken; the others stay unused and are reported. `docs/importing.md` shows
these tables (a test compares them), so this module is the one place to add a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.model.errors import UsageError

KINDS = ("trades", "quotes", "book", "bars", "news", "corporate")

_RECEIVED = (
    "ts",
    "ts_recv",
    "recv_ts",
    "received",
    "received_at",
    "receive_time",
    "local_timestamp",
    "local_ts",
    "receipt_timestamp",
)
_VENUE = (
    "ts_venue",
    "ts_event",
    "event_time",
    "exchange_timestamp",
    "exchange_time",
    "exch_ts",
    "transaction_time",
    "transact_time",
    "trade_time",
    "timestamp",
    "time",
    "datetime",
    "date",
)
_SYMBOL = ("symbol", "instrument", "ticker", "pair", "product_id", "instrument_id")
_UPDATE_ID = ("id", "update_id", "last_update_id", "final_update_id", "sequence", "seq_num", "u")

# kind -> field -> names, the best first. The field's own name is the one that is documented and exported.
FIELDS: dict[str, dict[str, tuple[str, ...]]] = {
    "trades": {
        "ts": _RECEIVED,
        "ts_venue": _VENUE,
        "price": ("price", "px", "trade_price", "last_price", "p", "rate"),
        "size": ("size", "qty", "quantity", "amount", "volume", "vol", "sz", "trade_size", "last_size", "q"),
        "side": ("side", "aggressor", "aggressor_side", "taker_side", "taker", "direction"),
        "buyer_is_maker": ("is_buyer_maker", "isbuyermaker", "buyer_is_maker", "buyer_maker"),
        "id": ("id", "trade_id", "tradeid", "tid", "agg_trade_id", "aggregate_trade_id"),
        "symbol": _SYMBOL,
    },
    "quotes": {
        "ts": _RECEIVED,
        "ts_venue": _VENUE,
        "bid": ("bid", "bid_price", "bid_px", "best_bid", "best_bid_price", "bid_px_00"),
        "ask": (
            "ask",
            "ask_price",
            "ask_px",
            "best_ask",
            "best_ask_price",
            "ask_px_00",
            "offer",
            "offer_price",
        ),
        "bid_size": (
            "bid_size",
            "bid_qty",
            "bid_sz",
            "bid_amount",
            "bid_volume",
            "best_bid_qty",
            "bid_sz_00",
        ),
        "ask_size": (
            "ask_size",
            "ask_qty",
            "ask_sz",
            "ask_amount",
            "ask_volume",
            "best_ask_qty",
            "ask_sz_00",
            "offer_size",
        ),
        "id": _UPDATE_ID,
        "symbol": _SYMBOL,
    },
    "book": {
        "ts": _RECEIVED,
        "ts_venue": _VENUE,
        "side": ("side", "book_side"),
        "price": ("price", "px", "price_level", "level_price"),
        "size": ("size", "qty", "quantity", "amount", "volume", "sz", "new_quantity"),
        "action": ("action", "update_type", "change_type"),
        "snapshot": ("snapshot", "is_snapshot"),
        "last": ("last", "is_last", "end_of_message"),
        "id": _UPDATE_ID,
        "symbol": _SYMBOL,
    },
    "bars": {
        "ts": _RECEIVED,
        "start": ("start", "open_time", "start_time", "bar_start", "interval_begin", *_VENUE),
        "open": ("open", "o", "open_price"),
        "high": ("high", "h", "high_price"),
        "low": ("low", "l", "low_price"),
        "close": ("close", "c", "close_price"),
        "volume": ("volume", "v", "vol", "base_volume"),
        "trades": ("trades", "trade_count", "count", "number_of_trades", "n"),
        "interval_ns": ("interval_ns",),
        "symbol": _SYMBOL,
    },
    "corporate": {
        "ts": ("ts", "effective", "effective_at"),
        "date": ("date", "ex_date", "day"),
        "symbol": _SYMBOL,
        "action": ("action", "type", "event"),
        "ratio": ("ratio", "split_ratio"),
        "numerator": ("numerator", "split_to"),
        "denominator": ("denominator", "split_from"),
        "amount": ("amount", "dividend", "cash_amount"),
        "currency": ("currency",),
    },
    "news": {
        "ts": _RECEIVED,
        "ts_venue": (
            "published",
            "published_at",
            "created_at",
            "time_published",
            "publication_time",
            *_VENUE,
        ),
        "headline": ("headline", "headlines", "title"),
        "summary": ("summary", "description", "abstract", "body"),
        "symbols": ("symbols", "symbol", "tickers", "ticker", "related"),
        "url": ("url", "link"),
        "source": ("source", "publisher", "provider"),
        "id": ("id", "news_id", "guid"),
    },
}
_REQUIRED: dict[str, tuple[str, ...]] = {
    "trades": ("price", "size"),
    "quotes": ("bid", "ask", "bid_size", "ask_size"),
    "book": ("side", "price", "size"),
    "bars": ("open", "high", "low", "close"),
    "news": ("headline",),
    "corporate": ("action",),
}
_FLAGGED = ("trades", "quotes", "book", "bars")
TIME_FIELDS = ("ts", "ts_venue", "start", "funding_ts")
_LEVEL = re.compile("^(bid|ask)_(price|size)_[0-9]+$")  # fields of book states
PRICE_FIELDS = ("price", "bid", "ask", "open", "high", "low", "close")
SIZE_FIELDS = ("size", "bid_size", "ask_size", "volume")


def is_price(field: str) -> bool:
    """Whether a field holds prices in the instrument's increments; a mark price is none."""
    return field in PRICE_FIELDS or (bool(_LEVEL.match(field)) and "price" in field)


def is_size(field: str) -> bool:
    """Whether a field holds sizes."""
    return field in SIZE_FIELDS or (bool(_LEVEL.match(field)) and "size" in field)


@dataclass(frozen=True)
class Layout:
    """What a file's columns mean: a kind, and field -> column name."""

    kind: str
    fields: dict[str, str]
    unused: tuple[str, ...] = ()
    aggregate: bool = False  # a row is several trades of one taker
    tardis: bool = False  # a file of Tardis.dev
    textual_ids: bool = False  # ids that are no numbers are left out


@dataclass(frozen=True)
class Dump:
    """A file of data.binance.vision without a header: what its columns are called there."""

    name: str
    kind: str
    columns: tuple[str, ...]
    aggregate: bool = False


_SWITCH = frozenset({"true", "false"})
_TRADES = ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker", "is_best_match")
_AGG_TRADES = (
    "agg_trade_id",
    "price",
    "qty",
    "first_id",
    "last_id",
    "time",
    "is_buyer_maker",
    "is_best_match",
)
_KLINES = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)
DUMPS = (
    Dump("Binance spot trades", "trades", _TRADES),
    Dump("Binance futures trades", "trades", _TRADES[:6]),
    Dump("Binance spot aggTrades", "trades", _AGG_TRADES, aggregate=True),
    Dump("Binance futures aggTrades", "trades", _AGG_TRADES[:7], aggregate=True),
    Dump("Binance klines", "bars", _KLINES),
)
_DUMP_FILE = re.compile(
    r"^(?P<symbol>[A-Z0-9]+)-(?P<what>trades|aggTrades|bookTicker|(?P<interval>\d+[smhdw]))-\d{4}-\d{2}(-\d{2})?\."
)


def dump_of(first_row: list[str]) -> Dump | None:
    """The Binance dump whose rows look like this one, or None. The switches' places tell them apart."""
    switches = tuple(i for i, text in enumerate(first_row) if text.strip().lower() in _SWITCH)
    if not all(_is_number(text) for i, text in enumerate(first_row) if i not in switches):
        return None
    for dump in DUMPS:
        expected = tuple(i for i, name in enumerate(dump.columns) if name.startswith("is_"))
        if len(first_row) == len(dump.columns) and switches == expected:
            return dump
    return None


def symbol_and_interval_of(file_name: str) -> tuple[str, str]:
    """What a Binance dump's own name says: ("BTCUSDT", "1m"); empty texts where it says nothing."""
    found = _DUMP_FILE.match(file_name)
    return (found["symbol"], found["interval"] or "") if found else ("", "")


def looks_like_header(first_row: list[str]) -> bool:
    """Whether a CSV file's first row holds names: none of them a number, none empty."""
    return all(text.strip() and not _is_number(text) for text in first_row)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def normalised(name: str) -> str:
    """A column's name as it is compared: lower case, "_" for anything but letters and digits."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def layout_of(file: str, columns: tuple[str, ...], kind: str, renamed: dict[str, str]) -> Layout:
    """What the columns mean. `kind` may be "auto"; `renamed` is field -> column ("-": none) as the user said.

    Raises UsageError that names what is missing and what the file has.
    """
    if kind == "auto":
        kind = _kind_of(file, columns, renamed)
    fields = _fields_of(file, columns, kind, renamed)
    missing = [field for field in _REQUIRED[kind] if field not in fields]
    if not any(field in fields for field in (*TIME_FIELDS, "date")):
        missing.insert(0, {"bars": "start", "corporate": "date"}.get(kind, "ts_venue"))
    if missing:
        raise UsageError(
            f"{file}: no column for {', '.join(missing)}, which {kind} need; it has {', '.join(columns)}",
            hint=f"name it: --column {missing[0]}=NAME (docs/importing.md lists the names that are known)",
        )
    if kind in _FLAGGED and columns[:2] == ("seq", "ts") and "flags" in columns:
        fields["flags"] = "flags"  # an export of ours; elsewhere flags are anything
    taken = set(fields.values())
    aggregate = normalised(fields.get("id", "")) in ("agg_trade_id", "aggregate_trade_id")
    return Layout(kind, fields, tuple(c for c in columns if c not in taken), aggregate=aggregate)


def _kind_of(file: str, columns: tuple[str, ...], renamed: dict[str, str]) -> str:
    def has(kind: str, *wanted: str) -> bool:
        fields = _fields_of(file, columns, kind, {k: v for k, v in renamed.items() if k in FIELDS[kind]})
        return all(field in fields for field in wanted)

    action = has("corporate", "action") and (has("corporate", "ratio") or has("corporate", "amount"))
    levels = has("book", *_REQUIRED["book"])
    told = any(has("book", f) for f in ("action", "snapshot", "last"))
    tests = (
        ("corporate", action and not has("trades", "price")),
        ("news", has("news", *_REQUIRED["news"])),
        ("bars", has("bars", *_REQUIRED["bars"])),
        ("quotes", has("quotes", "bid", "ask")),
        ("book", levels and (told or "update_id" in map(normalised, columns))),
        ("trades", has("trades", *_REQUIRED["trades"])),
    )
    for kind, is_it in tests:
        if is_it:
            return kind
    raise UsageError(
        f"{file}: its columns are those of no kind of data: {', '.join(columns)}",
        hint=f"say what it holds, --kind {', '.join(KINDS)}, and name columns with --column FIELD=NAME",
    )


def _fields_of(file: str, columns: tuple[str, ...], kind: str, renamed: dict[str, str]) -> dict[str, str]:
    by_name: dict[str, str] = {}
    for column in columns:
        by_name.setdefault(normalised(column), column)
    fields: dict[str, str] = {}
    for field, names in FIELDS[kind].items():
        if field in renamed:
            if renamed[field] == "-":
                continue
            if renamed[field] not in columns:
                raise UsageError(
                    f"{file}: --column {field}={renamed[field]}: there is no such column",
                    hint=f"it has {', '.join(columns)}",
                )
            fields[field] = renamed[field]
            continue
        for name in names:
            if name in by_name and by_name[name] not in fields.values():
                fields[field] = by_name[name]
                break
    return fields
