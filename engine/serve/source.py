"""Where a local venue's events come from: what it needs of a source, and a recording as one.

A recording that kept Binance's frames is sent again as it was received: every market data frame, in order,
duplicates included. One without them (a tabular import), or of another venue, has its messages put together
again from the rows.

Books need care, because REST must answer with a book that fits the diffs at any moment. A log holds a book
only from its first snapshot on, and again after a gap only from the next one; so all snapshots are looked
up before the first event. The first of each symbol is given at once, although its id lies ahead of the
first diffs (those are in it already, and a client drops them, as Binance's rules say); at a gap the next
one is given before the diff that shows the gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from engine.log.reader import LogReader
from engine.log.schema import Batch
from engine.model.errors import InputError
from engine.model.kinds import Flag, InstrumentData, Kind, SourceData
from engine.serve.binance import to_microseconds
from engine.serve.rebuilt import RebuiltStreams, levels_payload, runs
from engine.serve.synthetic import SNAPSHOT, Event

_LAST = int(Flag.LAST)
_CLEAR = int(Flag.CLEAR)
_UNUSABLE = int(Flag.MAYBE_BAD_BOOK | Flag.DUPLICATE | Flag.REJECTED_TICK)
_SCAN = ("source", "kind", "flags", "instrument", "side", "price", "size", "id", "data")
_decode = msgspec.json.Decoder().decode
_decode_instrument = msgspec.json.Decoder(InstrumentData).decode
_decode_source = msgspec.json.Decoder(SourceData).decode


class Source(Protocol):
    """What the local venue needs of a source."""

    @property
    def instruments(self) -> Sequence[InstrumentData]:
        """What exchangeInfo says; `channels` are the streams that the source has itself."""
        ...

    @property
    def description(self) -> str:
        """For people: which recording, or that it is synthetic."""
        ...

    def events(self) -> Iterator[Event]:
        """All events, oldest first; `<symbol>@snapshot` sets a book and is shown to nobody."""
        ...


class RecordingSource:
    """One log file as a source. Raises InputError when it holds no instrument, DamagedLog on the way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._numbers: dict[int, InstrumentData] = {}
        self._rest: set[int] = set()  # sources that are REST answers: not streams
        self._others: set[int] = set()  # sources whose frames are in another venue's words
        self._snapshots: dict[str, list[dict[str, Any]]] = {}
        with LogReader(path, columns=_SCAN) as reader:
            self.description = reader.header.note or f"recording {path.name}"
            for batch in reader.batches():
                self._scan(batch)
            self.tail = reader.tail
        if not self._numbers:
            raise InputError(
                f"{path}: no instrument is defined in it, so there is nothing to serve",
                hint="see what it holds with: engine log info",
            )
        latest = {data.symbol: data for data in self._numbers.values()}
        self.instruments = list(latest.values())

    def events(self) -> Iterator[Event]:
        """Every market data message of the recording, at the time it was received."""
        waiting = {symbol: iter(found) for symbol, found in self._snapshots.items()}
        at: dict[str, int] = {}  # symbol: last update id given
        rebuilt = RebuiltStreams()
        first = True
        with LogReader(self.path) as reader:
            for batch in reader.batches(prefetch=2):
                if first and batch.count:
                    first = False
                    for symbol, snapshots in waiting.items():
                        yield Event(int(batch.ts[0]), symbol.lower() + SNAPSHOT, next(snapshots))
                for event in self._batch_events(batch, rebuilt):
                    payload = event.payload
                    if event.stream.endswith("@depth@100ms"):
                        symbol = payload["s"]
                        if payload["U"] > at.get(symbol, payload["U"]) + 1:
                            yield from _after_gap(event, waiting.get(symbol, iter(())))
                        at[symbol] = max(payload["u"], at.get(symbol, 0))
                    yield event

    def _batch_events(self, batch: Batch, rebuilt: RebuiltStreams) -> Iterator[Event]:
        assert batch.wire is not None
        ends = (batch.flags & _LAST).nonzero()[0].tolist()
        kept = batch.wire.is_valid().to_numpy(zero_copy_only=False)
        start = 0
        for end in ends:
            first, start = start, end + 1
            kind = int(batch.kind[first])
            if kind == Kind.INSTRUMENT:
                rebuilt.define(int(batch.instrument[first]), _decode_instrument(batch.data_at(first) or b""))
            elif kept[first] and int(batch.source[first]) in self._rest:
                continue
            elif kept[first] and int(batch.source[first]) not in self._others:
                yield from _frame_event(int(batch.ts[first]), batch.wire_at(first) or b"")
            else:
                for begin, stop in runs(batch, first, end + 1):
                    if batch.kind[begin] == Kind.INSTRUMENT:  # a definition that a message has made wider
                        data = _decode_instrument(batch.data_at(begin) or b"")
                        rebuilt.define(int(batch.instrument[begin]), data)
                    else:
                        yield from rebuilt.message(batch, begin, stop)

    def _scan(self, batch: Batch) -> None:
        for row in (batch.kind == Kind.SOURCE).nonzero()[0].tolist():
            source = _decode_source(batch.data_at(row) or b"")
            if source.endpoint:
                self._rest.add(int(batch.source[row]))
            if source.venue and not source.venue.startswith("binance"):
                self._others.add(int(batch.source[row]))
        for row in (batch.kind == Kind.INSTRUMENT).nonzero()[0].tolist():
            self._numbers[int(batch.instrument[row])] = _decode_instrument(batch.data_at(row) or b"")
        clears = (batch.kind == Kind.BOOK) & (batch.flags & _CLEAR != 0) & (batch.flags & _UNUSABLE == 0)
        for row in clears.nonzero()[0].tolist():
            end = row + int((batch.flags[row:] & _LAST).argmax()) + 1
            end = next(iter(runs(batch, row, end)))[1]
            data = self._numbers[int(batch.instrument[row])]
            payload = levels_payload(batch, row, end, data)
            payload["lastUpdateId"] = payload["lastUpdateId"] or 1  # rows without ids count from 1
            self._snapshots.setdefault(data.symbol, []).append(payload)


def _after_gap(event: Event, snapshots: Iterator[dict[str, Any]]) -> Iterator[Event]:
    """The first unused snapshot that is not older than the diff that shows the gap."""
    for snapshot in snapshots:
        if snapshot["lastUpdateId"] >= event.payload["U"]:
            symbol = event.payload["s"].lower()
            yield Event(event.time_ns, symbol + SNAPSHOT, snapshot)
            return


def _frame_event(time_ns: int, frame: bytes) -> Iterator[Event]:
    """The event in a kept frame; none in control replies and in what cannot be read."""
    try:
        message = _decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    if not isinstance(message, dict):
        return
    stream, payload = message.get("stream"), message.get("data", message)
    if not isinstance(payload, dict):
        return
    if not isinstance(stream, str):
        stream = _stream_of(payload)
    if "@" in stream:
        if stream.endswith("@depth"):
            stream += "@100ms"  # the finest diffs that this recording has
        yield Event(time_ns, stream, to_microseconds(payload))


_CHANNEL = {"trade": "trade", "aggTrade": "aggTrade", "depthUpdate": "depth@100ms"}


def _stream_of(payload: dict[str, Any]) -> str:
    """The stream that a raw payload belongs to; "" when none can be told."""
    symbol, event = payload.get("s"), payload.get("e")
    if not isinstance(symbol, str):
        return ""
    if event == "kline" and isinstance(payload.get("k"), dict):
        return f"{symbol.lower()}@kline_{payload['k'].get('i')}"
    if event is None and {"u", "b", "B", "a", "A"} <= payload.keys():
        return f"{symbol.lower()}@bookTicker"
    channel = _CHANNEL.get(event) if isinstance(event, str) else None
    return f"{symbol.lower()}@{channel}" if channel else ""
