"""Files of Tardis.dev: what their columns mean, and the two kinds that no other table is like.

They all begin with exchange, symbol, timestamp, local_timestamp (microseconds), which is how they are
recognised; the exchange is the venue, `local_timestamp` is when the row was received.

    trades, quotes, book_ticker     as any table of trades and quotes
    incremental_book_L2             lines of one local_timestamp are one message. Only a snapshot line that
                                    follows another clears the book, so one snapshot may come in several
                                    messages. What stands before the first is kept, as MAYBE_BAD_BOOK
    book_snapshot_5, _25            states of the best levels: the changes between them (`depth_window`)
    derivative_ticker               a MARK row for the mark price, a FUNDING row for the rate

Format: https://docs.tardis.dev/downloadable-csv-files/data-types
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from engine.ingest.depth_rows import in_order, rows_of_changes
from engine.ingest.depth_window import DepthWindow
from engine.ingest.tabular_blocks import Block
from engine.ingest.tabular_columns import Layout, layout_of, normalised
from engine.ingest.tabular_lines import LAST, Lines
from engine.ingest.tabular_values import mantissas
from engine.model.errors import UsageError
from engine.model.kinds import Flag, FundingData, Kind, encode_canonical
from engine.model.units import MAX_DECIMALS, NULL_TIME

_HEAD = ("exchange", "symbol", "timestamp", "local_timestamp")
_SNAPSHOT, _CLEAR, _BAD = int(Flag.SNAPSHOT), int(Flag.CLEAR), int(Flag.MAYBE_BAD_BOOK)


def is_tardis(columns: tuple[str, ...]) -> bool:
    """Whether a table's header is one of theirs."""
    return columns[:4] == _HEAD


def tardis_layout(file: str, columns: tuple[str, ...], kind: str, renamed: dict[str, str]) -> Layout:
    """What the columns of one of their files mean. UsageError for a kind that no row here can hold."""
    shared = {"ts": "local_timestamp", "ts_venue": "timestamp", "symbol": "symbol", "exchange": "exchange"}
    rest = columns[4:]
    if "asks[0].price" in columns:
        levels = _level_fields(rest)
        fields = {**shared, **levels}
        whole = {
            f"{s}_{w}_{i}" for i in range(len(levels) // 4) for s in ("ask", "bid") for w in ("price", "size")
        }
        if set(levels) != whole:
            raise UsageError(
                f"{file}: its levels are not whole: {', '.join(rest)}",
                hint="each level has asks[i].price, asks[i].amount, bids[i].price and bids[i].amount",
            )
        return Layout("book states", fields, tuple(c for c in rest if c not in fields.values()), tardis=True)
    if "funding_rate" in columns:
        fields = shared | {
            name: column
            for name, column in (
                ("mark", "mark_price"),
                ("funding_rate", "funding_rate"),
                ("funding_ts", "funding_timestamp"),
            )
            if column in columns
        }
        return Layout("derivatives", fields, tuple(c for c in rest if c not in fields.values()), tardis=True)
    try:
        found = layout_of(file, columns, kind, {"ts": "local_timestamp", "ts_venue": "timestamp", **renamed})
    except UsageError as error:
        raise UsageError(
            f"{file}: a Tardis file of a kind that a log does not hold: {', '.join(rest)}",
            hint="trades, incremental_book_L2, quotes, book_ticker, book_snapshot_5, book_snapshot_25 and "
            "derivative_ticker can be imported",
        ) from error
    unused = tuple(c for c in found.unused if c != "exchange")
    return Layout(found.kind, {**found.fields, "exchange": "exchange"}, unused, textual_ids=True, tardis=True)


def _level_fields(columns: tuple[str, ...]) -> dict[str, str]:
    fields = {}
    for column in columns:
        words = normalised(column).split("_")  # asks[0].price
        if len(words) == 3 and words[0] in {"asks", "bids"} and words[2] in {"price", "amount"}:
            what = "price" if words[2] == "price" else "size"
            fields[f"{words[0][:-1]}_{what}_{words[1]}"] = column
    return fields


def book_snapshots(lines: Lines) -> Block:
    """Lines of book states to the rows that say what changed; a block of whole messages."""
    levels = sum(name.startswith("bid_price_") for name in lines.plan.layout.fields)
    stamps = lines.rows(Kind.BOOK, 1)
    sides = {
        side: tuple(
            np.stack([lines.mantissas(f"{side}_{what}_{i}", required=False) for i in range(levels)], axis=1)
            for what in ("price", "size")
        )
        for side in ("bid", "ask")
    }
    blocks, of_line = [], []
    for symbol, where in lines.groups:
        index = np.arange(lines.count) if where is None else np.flatnonzero(where)
        window = lines.plan.windows.setdefault(symbol, DepthWindow(levels))
        bids, asks = (tuple(values[index] for values in sides[side]) for side in ("bid", "ask"))
        changes = window.apply((bids[0], bids[1]), (asks[0], asks[1]))
        lines.plan.tally.add(lines.plan.tally.crossed, symbol, changes.crossed)
        block, state = rows_of_changes(changes, stamps[index])
        blocks.append(block)
        of_line.append(index[state])
    return blocks[0] if len(blocks) == 1 else in_order(blocks, of_line)


def derivatives(lines: Lines) -> Block:
    """Lines of a derivative ticker: a MARK row, a FUNDING row, or both as one message."""
    plan, chunk = lines.plan, lines.chunk
    stamps = lines.rows(Kind.MARK, 1)
    stamps["flags"] &= ~np.uint16(LAST)
    lines.on_increments = False
    blocks, places = [], []
    mark = plan.column(chunk, "mark")
    if mark is not None:
        there = np.flatnonzero(~mark.absent())
        rows = stamps[there].copy()
        rows["price"] = lines.mantissas("mark", required=False)[there]
        blocks.append(Block(rows))
        places.append(there)
    rate = plan.column(chunk, "funding_rate")
    if rate is not None:
        there = np.flatnonzero(~rate.absent())
        mantissas(rate, MAX_DECIMALS, option="")  # refuses what is no number
        due = plan.column(chunk, "funding_ts")
        times = None if due is None else plan.times["funding_ts"].read(due, required=False)[there].tolist()
        texts = rate.values.take(pa.array(there)).to_pylist()
        data = _funding_texts(texts, times or [NULL_TIME] * len(texts))
        rows = stamps[there].copy()
        rows["kind"] = int(Kind.FUNDING)
        rows["data_length"] = [len(text) for text in data]
        blocks.append(Block(rows, pa.array(data, pa.string())))
        places.append(there)
    block = in_order(blocks, places)
    if len(block):
        place = np.sort(np.concatenate(places), kind="stable")
        block.packed["flags"] |= np.where(np.append(place[1:] != place[:-1], True), LAST, 0).astype(np.uint16)
    return block


def _funding_texts(rates: list[str], due: list[int]) -> list[str]:
    known: dict[tuple[str, int], str] = {}
    for pair in zip(rates, due, strict=True):
        if pair not in known:
            rate, ts = pair
            data = FundingData(rate=str(rate).strip(), due=0 if ts == NULL_TIME else ts)
            known[pair] = encode_canonical(data).decode()
    return [known[pair] for pair in zip(rates, due, strict=True)]


def continued_snapshots(blocks: Iterable[Block]) -> Iterator[Block]:
    """Book messages whose snapshots may be spread: only the first after an update clears the book.

    Rows of an instrument before its first snapshot become MAYBE_BAD_BOOK.
    """
    in_snapshot: dict[int, bool] = {}  # by instrument; absent: none was seen yet
    for block in blocks:
        rows = block.packed
        number = rows["instrument"]
        snapshot = (rows["flags"] & _SNAPSHOT) != 0
        for instrument in np.unique(number).tolist():
            index = np.flatnonzero(number == instrument)
            mine = snapshot[index]
            before = np.append(in_snapshot.get(instrument, False), mine[:-1])
            rows["flags"][index[before]] &= ~np.uint16(_CLEAR)
            if instrument not in in_snapshot:
                first = int(mine.argmax()) if mine.any() else len(mine)
                rows["flags"][index[:first]] |= np.uint16(_BAD)
                if first == len(mine):
                    continue
            in_snapshot[instrument] = bool(mine[-1])
        yield block
