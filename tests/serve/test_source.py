"""A recording as a source: the frames that were received, again; and books that fit them at any moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.feed.binance import BinanceParser
from engine.log.reader import LogReader
from engine.log.schema import LogHeader
from engine.log.seal import seal
from engine.log.writer import LogWriter
from engine.model.errors import DamagedLog, InputError
from engine.model.kinds import (
    ASK,
    BID,
    BarData,
    Flag,
    InstrumentData,
    Kind,
    Part,
    SourceData,
    encode_canonical,
)
from engine.serve.market import VenueMarket
from engine.serve.sample import write_sample
from engine.serve.source import RecordingSource
from engine.serve.synthetic import SNAPSHOT, Event, model_of

T0 = 1_717_232_400_000_000_000
LAST = int(Flag.LAST)
BTC = model_of("BTCUSDT").instrument()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quarter of a minute of the sample's market, unsealed."""
    path = tmp_path_factory.mktemp("recording") / "short.arrow"
    write_sample(path, minutes=0.25, rate=1.0)
    return path


def shown(path: Path) -> list[Event]:
    return [e for e in RecordingSource(path).events() if not e.stream.endswith(SNAPSHOT)]


def frames(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Receive time and content of every stream frame that the log kept."""
    kept: list[tuple[int, dict[str, Any]]] = []
    for batch in LogReader(path).batches():
        for row in range(batch.count):
            wire = batch.wire_at(row)
            if wire is not None and b'"stream"' in wire:
                kept.append((int(batch.ts[row]), json.loads(wire)))
    return kept


@pytest.mark.parametrize("sealed", [False, True])
def test_a_recording_is_sent_again_as_it_was_received(
    recording: Path, tmp_path: Path, *, sealed: bool
) -> None:
    """Every kept frame, at its receive time, in order, sealed or not; stamps in microseconds inside."""
    path = tmp_path / "copy.arrow"
    path.write_bytes(recording.read_bytes())
    if sealed:
        seal(path)
    events, kept = shown(path), frames(path)
    assert len(events) == len(kept) > 500
    for event, (ts, frame) in zip(events, kept, strict=True):
        payload = dict(event.payload)
        for name in ("E", "T"):
            if name in payload:
                assert payload[name] % 1_000 == 0
                payload[name] //= 1_000
        assert (event.time_ns, event.stream, payload) == (ts, frame["stream"], frame["data"])


def test_a_recording_knows_its_instruments(recording: Path) -> None:
    """Definitions and the header's note come out of the log."""
    source = RecordingSource(recording)
    assert [data.symbol for data in source.instruments] == ["BTCUSDT", "ETHUSDT"]
    assert "synthetic market, seed 7" in source.description


def test_the_books_fit_the_diffs_at_any_moment(recording: Path) -> None:
    """From the first event on the venue has a book, and every later diff continues it."""
    source = RecordingSource(recording)
    market = VenueMarket(source.instruments)
    continued = 0
    for event in source.events():
        if (
            event.stream == "btcusdt@depth@100ms"
            and event.payload["u"] > market.depth("BTCUSDT", 1)["lastUpdateId"]
        ):
            assert event.payload["U"] <= market.depth("BTCUSDT", 1)["lastUpdateId"] + 1
            continued += 1
        market.apply(event.time_ns // 1_000, event.stream, event.payload, ())
        assert market.depth("BTCUSDT", 1)["bids"] or event.stream.startswith("ethusdt")
    assert continued > 100


def feed(path: Path, *messages: tuple[str, Any]) -> None:
    """A log of Binance frames ("ws") and depth answers ("rest"), through the parser."""
    rest = SourceData(name="binance-rest", venue="binance", endpoint="depth", symbol="BTCUSDT")
    with LogWriter(path, LogHeader()) as writer:
        header = [
            (Kind.SOURCE, 1, 0, SourceData(name="binance")),
            (Kind.SOURCE, 2, 0, rest),
            (Kind.INSTRUMENT, 2, 1, BTC),
        ]
        for number, (kind, source, instrument, data) in enumerate(header):
            writer.rows.append(
                T0 + number,
                kind,
                source=source,
                instrument=instrument,
                flags=LAST,
                data=encode_canonical(data),
            )
        parser = BinanceParser({"BTCUSDT": (1, BTC)}, 1, ("book",))
        for number, (kind_of, content) in enumerate(messages, start=10):
            body = json.dumps(content, separators=(",", ":")).encode()
            if kind_of == "ws":
                parser.feed(body, T0 + number, writer.rows)
            else:
                parser.feed_rest(rest, body, T0 + number, writer.rows, 2)
        writer.close(reason="test", ts=T0 + 1_000)


def depth(first: int, last: int, price: str, size: str) -> dict[str, Any]:
    """A raw depth update that changes one bid."""
    change = {"U": first, "u": last, "b": [[price, size]], "a": []}
    return {"e": "depthUpdate", "E": 1_717_232_400_000, "s": "BTCUSDT", **change}


def snapshot(last: int, *prices: str) -> dict[str, Any]:
    return {
        "lastUpdateId": last,
        "bids": [[p, "1.00000000"] for p in prices],
        "asks": [["200.00000000", "1.00000000"]],
    }


def test_a_gap_brings_the_next_snapshot(tmp_path: Path) -> None:
    """At a gap in the diffs the venue's book becomes the one that the recorder got next."""
    path = tmp_path / "gap.arrow"
    feed(
        path,
        ("ws", depth(1, 5, "100.00000000", "1.00000000")),
        ("rest", snapshot(5, "100.00000000")),
        ("ws", depth(6, 6, "101.00000000", "2.00000000")),
        ("ws", depth(50, 51, "102.00000000", "3.00000000")),  # 7 to 49 are missing
        ("rest", snapshot(51, "102.00000000", "90.00000000")),
        ("ws", depth(52, 52, "103.00000000", "4.00000000")),
    )
    source = RecordingSource(path)
    market = VenueMarket(source.instruments)
    seen: list[tuple[str, int, list[str]]] = []
    for event in source.events():
        market.apply(event.time_ns // 1_000, event.stream, event.payload, ())
        book = market.depth("BTCUSDT", 9)
        seen.append((event.stream, book["lastUpdateId"], [p for p, _ in book["bids"]]))
    stream = "btcusdt@depth@100ms"
    assert seen == [
        ("btcusdt@snapshot", 5, ["100.00000000"]),
        (stream, 5, ["100.00000000"]),
        (stream, 6, ["101.00000000", "100.00000000"]),
        ("btcusdt@snapshot", 51, ["102.00000000", "90.00000000"]),
        (stream, 51, ["102.00000000", "90.00000000"]),
        (stream, 52, ["103.00000000", "102.00000000", "90.00000000"]),
    ]


def test_control_replies_and_broken_frames_are_not_sent(tmp_path: Path) -> None:
    """Only market data goes out again; raw payloads find their stream by their content."""
    path = tmp_path / "mixed.arrow"
    quote = {"u": 1, "s": "BTCUSDT", "b": "1.00", "B": "1.0", "a": "2.00", "A": "1.0"}
    trade = {
        "e": "trade",
        "E": 1,
        "s": "BTCUSDT",
        "t": 1,
        "p": "1.00",
        "q": "1.0",
        "T": 1,
        "m": True,
        "M": True,
    }
    feed(
        path,
        ("ws", {"result": None, "id": 1}),
        ("ws", quote),
        ("ws", ["odd"]),
        ("ws", trade),
        ("ws", {"e": "new"}),
    )
    assert [(e.stream, e.payload["s"]) for e in shown(path)] == [
        ("btcusdt@bookTicker", "BTCUSDT"),
        ("btcusdt@trade", "BTCUSDT"),
    ]


Row = dict[str, Any]


def tabular(path: Path, messages: list[list[Row]]) -> list[Event]:
    """The events of a log without frames: each message a list of rows."""
    data = InstrumentData(
        "X.import", "XUSDT", "import", 2, 3, "0.01", "0.001", channels=("trade", "quote", "book")
    )
    with LogWriter(path, LogHeader()) as writer:
        writer.rows.append(T0, Kind.INSTRUMENT, instrument=1, flags=LAST, data=encode_canonical(data))
        for number, rows in enumerate(messages, start=1):
            for row in rows:
                writer.rows.append(T0 + number * 1_000_000, instrument=1, **row)
            writer.rows.end_message()
        writer.close(reason="test", ts=T0 + 10**12)
    return list(RecordingSource(path).events())


def test_trades_and_quotes_are_rebuilt_from_rows(tmp_path: Path) -> None:
    """A trade each row, a quote from its two sides; a side that is missing is the one last known."""
    events = tabular(
        tmp_path / "t.arrow",
        [
            [{"kind": Kind.TRADE, "side": -1, "price": 10_050, "size": 1_500, "id": 7, "ts_venue": T0}],
            [{"kind": Kind.QUOTE, "side": BID, "price": 10_000, "size": 1}],
            [{"kind": Kind.QUOTE, "side": ASK, "price": 10_100, "size": 2, "id": 9}],
        ],
    )
    assert [e.stream for e in events] == ["xusdt@trade", "xusdt@bookTicker"]
    assert events[0].payload == {
        "e": "trade", "E": T0 // 1_000, "s": "XUSDT", "t": 7, "p": "100.50000000", "q": "1.50000000",
        "T": T0 // 1_000, "m": True, "M": True,
    }  # fmt: skip
    assert events[1].payload == {
        "u": 9, "s": "XUSDT", "b": "100.00000000", "B": "0.00100000", "a": "101.00000000", "A": "0.00200000",
    }  # fmt: skip


def test_rejected_ticks_are_not_sent(tmp_path: Path) -> None:
    """Nor the reasons behind them; the good ones of the same message are."""
    rejected = int(Flag.REJECTED_TICK)
    why = {"kind": Kind.STATUS, "data": b'{"event":"rejected_tick"}'}
    events = tabular(
        tmp_path / "t.arrow",
        [
            [
                {"kind": Kind.TRADE, "price": 1, "size": 1, "id": 1, "flags": rejected},
                why,
                {"kind": Kind.TRADE, "price": 2, "size": 1, "id": 2},
                {"kind": Kind.TRADE, "price": 3, "size": 1, "id": 3, "flags": rejected},
                why,
            ],
            [
                {"kind": Kind.QUOTE, "side": BID, "price": 9, "size": 1, "id": 4, "flags": rejected},
                {"kind": Kind.QUOTE, "side": ASK, "price": 8, "size": 1, "id": 4, "flags": rejected},
                why,
            ],
            [
                {"kind": Kind.QUOTE, "side": BID, "price": 7, "size": 1, "id": 5},
                {"kind": Kind.QUOTE, "side": ASK, "price": 8, "size": 1, "id": 5},
            ],
        ],
    )
    assert [(event.stream, event.payload.get("t", event.payload.get("u"))) for event in events] == [
        ("xusdt@trade", 2),
        ("xusdt@bookTicker", 5),
    ]


def test_a_second_snapshot_becomes_the_diff_that_leads_to_it(tmp_path: Path) -> None:
    """Books without ids: they count on, and what a later snapshot lacks is deleted for the client."""
    clear = int(Flag.CLEAR | Flag.SNAPSHOT)
    level = {"kind": Kind.BOOK, "side": BID}
    events = tabular(
        tmp_path / "b.arrow",
        [
            [level | {"price": 1_000, "size": 5, "flags": clear}, level | {"price": 900, "size": 6}],
            [level | {"price": 1_000, "size": 0}],
            [level | {"price": 800, "size": 7, "flags": clear}],
        ],
    )
    assert [e.stream for e in events] == ["xusdt@snapshot", "xusdt@snapshot"] + ["xusdt@depth@100ms"] * 2
    assert [(e.payload["U"], e.payload["u"], e.payload["b"]) for e in events[2:]] == [
        (2, 2, [["10.00000000", "0.00000000"]]),
        (3, 3, [["9.00000000", "0.00000000"], ["8.00000000", "0.00700000"]]),
    ]


def test_bars_become_klines(tmp_path: Path) -> None:
    """Four rows of a bar are one kline with its interval's name and bounds."""
    data = encode_canonical(BarData(interval_ns=60_000_000_000))
    prices = {Part.OPEN: 100, Part.HIGH: 120, Part.LOW: 90, Part.CLOSE: 110}
    rows: list[Row] = [
        {"kind": Kind.BAR, "part": part, "price": price, "ts_venue": T0, "flags": int(Flag.FINAL)}
        for part, price in prices.items()
    ]
    rows[0]["data"] = data
    rows[-1] |= {"size": 5_000, "id": 42}
    (event,) = tabular(tmp_path / "k.arrow", [rows])
    k = event.payload["k"]
    assert event.stream == "xusdt@kline_1m"
    assert [k[name] for name in ("o", "h", "l", "c", "v")] == [
        "1.00000000", "1.20000000", "0.90000000", "1.10000000", "5.00000000",
    ]  # fmt: skip
    assert (k["t"], k["T"], k["n"], k["x"]) == (T0 // 1_000, T0 // 1_000 + 59_999_999, 42, True)


def test_a_log_without_instruments_is_refused(tmp_path: Path) -> None:
    """There is nothing to serve, and the error says where to look."""
    with LogWriter(tmp_path / "e.arrow", LogHeader()) as writer:
        writer.close(reason="test", ts=T0)
    with pytest.raises(InputError, match="no instrument is defined"):
        RecordingSource(tmp_path / "e.arrow")


def test_damage_in_a_sealed_recording_is_an_error(recording: Path, tmp_path: Path) -> None:
    """A flipped byte in the rows is DamagedLog, never a wrong price."""
    path = tmp_path / "damaged.arrow"
    path.write_bytes(recording.read_bytes())
    seal(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedLog):
        list(RecordingSource(path).events())
