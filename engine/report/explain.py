"""Leads decisions back to messages: reads single messages out of logs, and puts them into words."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from engine.execution.journal_kinds import JournalKind
from engine.execution.money import MONEY_DECIMALS
from engine.execution.orders import OrderKind, Reason, TimeInForce, reason_name
from engine.log.reader import LogReader
from engine.model.errors import InputError
from engine.model.kinds import Flag, InstrumentData, Kind, SourceData
from engine.model.rows import kind_name
from engine.model.units import NULL_TIME, format_time, trim_decimal

_TRIGGERS = {0: "message", 1: "report on order", 2: "timer", 3: "start", 4: "stop", 5: "answer to question"}
_FEE_ASSETS = {0: "", 1: " of the base asset", 2: " of the fees' asset"}


@dataclass
class FoundMessage:
    """One message of a log: its rows in words, and the bytes as they came."""

    file: str
    first_seq: int
    last_seq: int
    ts: int
    source: str = ""
    rows: list[str] = field(default_factory=list)
    wire: bytes | None = None


def find_messages(path: Path, seqs: Iterable[int]) -> dict[int, FoundMessage]:
    """The messages that hold these rows of one log; one pass over it, stopping after the last."""
    found: dict[int, FoundMessage] = {}
    _find(path, seqs, found)
    return found


def look_up(path: Path, seqs: Iterable[int]) -> tuple[dict[int, FoundMessage], str]:
    """What `find_messages` finds as far as the log is there and good, and what is wrong with it ("")."""
    found: dict[int, FoundMessage] = {}
    try:
        _find(path, seqs, found)
    except InputError as error:
        return found, f"messages cannot be shown: {error.message}"
    return found, ""


def _find(path: Path, seqs: Iterable[int], found: dict[int, FoundMessage]) -> None:
    wanted = sorted(set(seqs))
    instruments: dict[int, InstrumentData] = {}
    sources: dict[int, str] = {}
    with LogReader(path) as reader:
        for batch in reader.batches():
            if not wanted:
                break
            definitions = np.flatnonzero(
                np.isin(batch.kind, (int(Kind.INSTRUMENT), int(Kind.SOURCE)))
            ).tolist()
            end = batch.first_seq + batch.count
            while wanted and wanted[0] < end:
                row = max(0, wanted[0] - batch.first_seq)
                # A message is told in the definitions of its own time, not in later ones.
                while definitions and definitions[0] <= row:
                    _define(path, batch, definitions.pop(0), instruments, sources)
                found[wanted.pop(0)] = _message(path, batch, row, instruments, sources)
            for row in definitions:
                _define(path, batch, row, instruments, sources)


def _define(
    path: Path, batch: Any, row: int, instruments: dict[int, InstrumentData], sources: dict[int, str]
) -> None:
    text = batch.data_at(row) or b"{}"
    try:
        if batch.kind[row] == Kind.INSTRUMENT:
            instruments[int(batch.instrument[row])] = msgspec.json.decode(text, type=InstrumentData)
        else:
            sources[int(batch.source[row])] = msgspec.json.decode(text, type=SourceData).name
    except msgspec.DecodeError as error:
        raise InputError(
            f"{path}: row {batch.first_seq + row}: its definition cannot be read: {error}"
        ) from None


def _message(
    path: Path, batch: Any, row: int, instruments: dict[int, InstrumentData], sources: dict[int, str]
) -> FoundMessage:
    first = row
    while first > 0 and not int(batch.flags[first - 1]) & Flag.LAST:
        first -= 1
    last = row
    while last < batch.count - 1 and not int(batch.flags[last]) & Flag.LAST:
        last += 1
    return FoundMessage(
        file=path.name,
        first_seq=batch.first_seq + first,
        last_seq=batch.first_seq + last,
        ts=int(batch.ts[first]),
        source=sources.get(int(batch.source[first]), ""),
        rows=[_row(batch, i, instruments) for i in range(first, last + 1)],
        wire=batch.wire_at(first),
    )


def _row(batch: Any, row: int, instruments: dict[int, InstrumentData]) -> str:
    who = instruments.get(int(batch.instrument[row]))
    parts = [f"seq {batch.first_seq + row}", kind_name(int(batch.kind[row]))]
    if who is not None:
        parts.append(who.key)
    side = int(batch.side[row])
    if side:
        parts.append("bid/buy" if side > 0 else "ask/sell")
    if who is not None and (int(batch.price[row]) or int(batch.size[row])):
        price = trim_decimal(int(batch.price[row]), who.price_decimals)
        size = trim_decimal(int(batch.size[row]), who.size_decimals)
        parts.append(f"{size} @ {price}")
    if int(batch.id[row]):
        parts.append(f"id {int(batch.id[row])}")
    if int(batch.ts_venue[row]) != NULL_TIME:
        parts.append(f"venue time {format_time(int(batch.ts_venue[row]))}")
    flags = Flag(int(batch.flags[row])) & ~Flag.LAST
    if flags:
        parts.append(str(flags.name or flags))
    text = batch.data_at(row)
    if text:
        parts.append(text.decode("utf-8", "backslashreplace"))
    return "  ".join(parts)


def _terms_words(record: dict[str, Any]) -> list[str]:
    """What an order was sent with."""
    kind = OrderKind(record["order_kind"])
    terms = json.loads(record.get("terms") or "{}")

    def level(mantissa: int) -> str:
        return trim_decimal(mantissa, record["price_decimals"])

    because = [f"because of question {', '.join(map(str, terms['because']))}"] if "because" in terms else []
    if kind == OrderKind.MARKET:
        return ["market", *because]
    if record["kind"] == JournalKind.TRIGGERED:
        return [f"at {level(record['price'])}"]
    said = {
        "trailing by": "trail" in terms and level(terms["trail"]),
        "stop": "stop" in terms and level(terms["stop"]),
        "limit": record["price"] and level(record["price"]),
        TimeInForce(record["tif"]).name: "expires" not in terms or f"until {format_time(terms['expires'])}",
        "post-only": record["options"] & 1 > 0,
        "reduce-only": record["options"] & 2 > 0,
        "when filled: order": terms.get("parent"),
        "one of the pair": terms.get("group"),
    }
    return [name if what is True else f"{name} {what}" for name, what in said.items() if what] + because


def decision_text(record: dict[str, Any]) -> str:
    """A journal record in one line."""
    kind = JournalKind.NAMES.get(record["kind"], f"kind {record['kind']}")
    side = "buy" if record["side"] > 0 else "sell"
    size = trim_decimal(record["size"], record["size_decimals"])
    words = [
        f"#{record['number']}",
        format_time(record["ts"]),
        kind,
        f"order {record['order']}",
        record["instrument"],
        side,
        size,
    ]
    if record["kind"] in (JournalKind.CHARGE, JournalKind.ADJUSTMENT):
        sign = "" if record["side"] > 0 else "-"
        changed = record["kind"] == JournalKind.ADJUSTMENT
        words[3:] = [
            record["instrument"],
            reason_name(record["reason"]),
            f"position {'changed by' if changed else 'of'} {sign}{size}",
            f"{'given' if record['fee'] < 0 else 'taken'} {trim_decimal(abs(record['fee']), MONEY_DECIMALS)}",
        ]
        return "  ".join(words)
    if record["kind"] == JournalKind.ASK:
        terms = json.loads(record["terms"])
        about = f" about {terms['about']}" if terms["about"] else ""
        words[3:] = [
            f"question {terms['ticket']}{about}",
            f"prompt {terms['prompt']} version {terms['version']}",
            f"answer by {format_time(record['ts'] + terms['timeout'])}",
            f"key {terms['key'][:16]}…",
        ]
        return "  ".join(words)
    if record["kind"] == JournalKind.FILL:
        words.append(f"@ {trim_decimal(record['price'], record['price_decimals'])}")
        words.append("maker" if record["maker"] else "taker")
        asset = _FEE_ASSETS[record.get("fee_asset", 0)]
        words.append(f"fee {trim_decimal(record['fee'], MONEY_DECIMALS)}{asset}")
    else:
        words += _terms_words(record)
    if record["reason"]:
        name = Reason(record["reason"])
        words.append(name.name if record["kind"] == JournalKind.FILL else reason_name(name))
    if record.get("text"):
        words.append(f"({record['text']})")
    return "  ".join(words)


def trigger_text(record: dict[str, Any]) -> str:
    """What the strategy was called for when it decided this."""
    what = _TRIGGERS.get(record["trigger"], "?")
    number = record["trigger_id"]
    return f"{what} {number}" if record["trigger"] in (1, 2, 5) else what


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """A journal table as dictionaries."""
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def message_text(message: FoundMessage, indent: str = "  ") -> str:
    """A message as indented lines, its bytes last."""
    lines = [
        f"{message.file} seq {message.first_seq}"
        + (f"..{message.last_seq}" if message.last_seq != message.first_seq else "")
        + f", received {format_time(message.ts)}"
        + (f" from {message.source}" if message.source else "")
    ]
    shown = (
        message.rows if len(message.rows) <= 12 else [*message.rows[:11], f"… {len(message.rows) - 11} more"]
    )
    lines += [indent + row for row in shown]
    if message.wire is not None:
        text = message.wire.decode("utf-8", "backslashreplace")
        lines.append(
            indent + "wire  " + (text if len(text) <= 2000 else text[:2000] + f"… {len(text)} characters")
        )
    return "\n".join(indent + line for line in lines)


def message_record(message: FoundMessage) -> dict[str, Any]:
    """A message as an object for --json."""
    return {
        "file": message.file,
        "first_seq": message.first_seq,
        "last_seq": message.last_seq,
        "ts": format_time(message.ts),
        "source": message.source,
        "rows": message.rows,
        "wire": None if message.wire is None else message.wire.decode("utf-8", "backslashreplace"),
    }
