"""Chunks of a file to rows of the log: one function a kind, whole columns at a time.

A trade is one row; a quote its bid row and its ask row; a bar its OPEN, HIGH, LOW and CLOSE row; a line of
a book file is one row, and which lines are one message is decided later, when they stand in order
(`tabular_order`), unless the file marks each message's last line. Every row is flagged IMPORTED.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from engine.ingest.tabular_blocks import Block
from engine.ingest.tabular_files import Chunk
from engine.ingest.tabular_lines import LAST, FilePlan, Lines
from engine.ingest.tabular_tardis import book_snapshots, derivatives
from engine.ingest.tabular_values import (
    ACTION_WORDS,
    DELETE_ACTION,
    SNAPSHOT_ACTION,
    Meaning,
    coded,
    sides,
    whole_numbers,
)
from engine.model.kinds import ASK, BID, BarData, Flag, Kind, NewsData, Part, encode_canonical
from engine.model.rows import ROW


def _trades(lines: Lines) -> Block:
    packed = lines.rows(Kind.TRADE, 1)
    packed["price"] = lines.mantissas("price")
    packed["size"] = lines.mantissas("size")
    packed["id"] = lines.ids()
    meanings: tuple[Meaning, ...] = ("side", "buyer_is_maker")
    for meaning in meanings:
        column = lines.plan.column(lines.chunk, meaning)
        if column is not None:
            packed["side"] = sides(column, meaning)
            break
    if lines.plan.layout.aggregate:
        packed["flags"] |= int(Flag.AGGREGATE)
    return Block(packed)


def _quotes(lines: Lines) -> Block:
    packed = lines.rows(Kind.QUOTE, 2)
    packed["id"] = np.repeat(lines.ids(), 2)
    for first, side, name in ((0, BID, "bid"), (1, ASK, "ask")):
        rows = packed[first::2]
        price = lines.plan.column(lines.chunk, name)
        assert price is not None
        rows["side"] = side
        rows["price"] = lines.mantissas(name, required=False)
        rows["size"] = np.where(price.absent(), 0, lines.mantissas(f"{name}_size", required=False))
    bid, ask = packed[0::2], packed[1::2]
    crossed = (bid["size"] > 0) & (ask["size"] > 0) & (bid["price"] >= ask["price"])
    if crossed.any():
        for symbol, where in lines.groups:
            tally = lines.plan.tally
            tally.add(tally.crossed, symbol, int((crossed if where is None else crossed & where).sum()))
    return Block(packed)


def _book(lines: Lines) -> Block:
    packed = lines.rows(Kind.BOOK, 1)
    packed["id"] = lines.ids()
    packed["price"] = lines.mantissas("price")
    side = lines.plan.column(lines.chunk, "side")
    assert side is not None
    packed["side"] = sides(side, "side")
    if (packed["side"] == 0).any():
        raise side.error(int((packed["side"] == 0).argmax()), "is no side", "a level is a bid or an ask")
    snapshot = lines.switch("snapshot")
    action = lines.plan.column(lines.chunk, "action")
    deleted = np.zeros(lines.count, dtype=bool)
    if action is not None:
        codes = coded(action, ACTION_WORDS, "action")
        snapshot |= codes == SNAPSHOT_ACTION
        deleted = codes == DELETE_ACTION
    sizes = lines.mantissas("size", required=False)
    size = lines.plan.column(lines.chunk, "size")
    assert size is not None
    unknown = size.absent() & ~deleted
    if unknown.any():
        raise size.error(int(unknown.argmax()), "is no value", "only a deleted level needs none")
    packed["size"] = np.where(deleted, 0, sizes)
    packed["flags"] &= ~np.uint16(LAST)
    packed["flags"] |= np.where(snapshot, int(Flag.SNAPSHOT), 0).astype(np.uint16)
    if "last" in lines.plan.layout.fields:
        packed["flags"] |= np.where(lines.switch("last"), LAST, 0).astype(np.uint16)
    return Block(packed)


def _bars(lines: Lines) -> Block:
    interval = lines.plan.column(lines.chunk, "interval_ns")
    if interval is not None:
        other = whole_numbers(interval) != lines.plan.interval_ns
        if other.any():
            raise interval.error(
                int(other.argmax()), f"is not {lines.plan.interval_ns}, the interval of the rows before it"
            )
    packed = lines.rows(Kind.BAR, 4)
    packed["flags"] |= int(Flag.FINAL)
    parts = ((Part.OPEN, "open"), (Part.HIGH, "high"), (Part.LOW, "low"), (Part.CLOSE, "close"))
    for first, (part, name) in enumerate(parts):
        packed["part"][first::4] = int(part)
        packed["price"][first::4] = lines.mantissas(name)
    packed["size"][3::4] = lines.mantissas("volume", required=False)
    packed["id"][3::4] = lines.ids("trades")
    text = encode_canonical(BarData(interval_ns=lines.plan.interval_ns)).decode()
    packed["data_length"][0::4] = len(text)
    index = np.zeros(len(packed), dtype=np.int32)
    none = np.ones(len(packed), dtype=bool)
    none[0::4] = False
    data = pa.DictionaryArray.from_arrays(pa.array(index, mask=none), pa.array([text])).dictionary_decode()
    return Block(packed, data)


_SEPARATORS = re.compile(r"[,;|\s]+")


def _news(lines: Lines) -> Block:
    packed = lines.rows(Kind.NEWS, 1)

    def texts(name: str) -> list[str]:
        column = lines.plan.column(lines.chunk, name)
        if column is None:
            return [""] * lines.count
        return ["" if v is None else str(v).strip() for v in column.values.to_pylist()]

    headline = lines.plan.column(lines.chunk, "headline")
    assert headline is not None
    headline.require()
    data = []
    fields = zip(
        *(texts(n) for n in ("headline", "summary", "source", "url", "id")), _symbols(lines), strict=True
    )
    for ts_venue, (title, summary, source, url, given, symbols) in zip(
        packed["ts_venue"], fields, strict=True
    ):
        key = given or blake2b(f"{title}\n{url}\n{ts_venue}".encode(), digest_size=8).hexdigest()
        news = NewsData(id=key, headline=title, summary=summary, source=source, url=url, symbols=symbols)
        data.append(encode_canonical(news))
    packed["data_length"] = [len(text) for text in data]
    return Block(packed, pa.array([text.decode() for text in data], pa.string()))


def _symbols(lines: Lines) -> list[tuple[str, ...]]:
    column = lines.plan.column(lines.chunk, "symbols")
    if column is None:
        return [()] * lines.count
    return [
        tuple(s for s in (_SEPARATORS.split(v) if isinstance(v, str) else map(str, v or ())) if s)
        for v in column.values.to_pylist()
    ]


_CONVERT: dict[str, Callable[[Lines], Block]] = {
    "trades": _trades,
    "quotes": _quotes,
    "book": _book,
    "bars": _bars,
    "news": _news,
    "book states": book_snapshots,
    "derivatives": derivatives,
}


def block_of(chunk: Chunk, plan: FilePlan) -> Block:
    """The rows of a chunk. InputError names file, row, column and value of the first that cannot be one."""
    lines = Lines(chunk, plan)
    if not lines.count:
        return Block(np.zeros(0, dtype=ROW))
    return _CONVERT[plan.layout.kind](lines)
