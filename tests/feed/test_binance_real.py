"""Real captures of 2021, 2023 and 2024: every frame parses, and the books are the venue's.

Oracles: counts of messages by stream, and the best bid and ask that the venue itself announced
(bookTicker) beside the one that the rebuilt book shows after each depth update.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from pathlib import Path

import pytest

from engine.feed.binance import BinanceParser
from engine.ingest.capture_lines import Line, read_lines
from engine.model.kinds import BID, Flag, InstrumentData, Kind, SourceData
from engine.model.rows import RowBuffer
from tests.helpers.frames import BTC

LAST, CLEAR, SNAPSHOT = int(Flag.LAST), int(Flag.CLEAR), int(Flag.SNAPSHOT)
BAD, DUPLICATE = int(Flag.MAYBE_BAD_BOOK), int(Flag.DUPLICATE)


def parse(
    lines: list[Line], definitions: list[InstrumentData], only: str = ""
) -> tuple[BinanceParser, RowBuffer]:
    """All rows of some lines."""
    target = BinanceParser({d.symbol: (n, d) for n, d in enumerate(definitions, start=1)}, 1)
    rows = RowBuffer()
    for line in lines:
        if line.endpoint:
            symbol = line.symbol or only
            source = SourceData(name="binance-rest", venue="binance", endpoint=line.endpoint, symbol=symbol)
            target.feed_rest(source, line.frame, line.ts, rows, 2)
        elif line.frame:
            target.feed(line.frame, line.ts, rows)
    return target, rows


def counts(rows: RowBuffer) -> dict[str, int]:
    """Messages by the kind of their last row."""
    view = rows.view()
    kinds = view["kind"][(view["flags"] & LAST) != 0]
    return {Kind(kind).name: count for kind, count in sorted(Counter(kinds.tolist()).items())}


# messages: trade, bookTicker, depth (and the snapshot); the one definition that has become wider
CAPTURES = [
    ("btcusdt_20230405.dat.gz", {"TRADE": 3_144, "QUOTE": 8_015, "BOOK": 3_929, "INSTRUMENT": 1}),
    ("btcusdt_20240808.gz", {"TRADE": 9_757, "QUOTE": 28_040, "BOOK": 3_451 + 1, "INSTRUMENT": 1}),
    ("btcusdt_20240809.gz", {"TRADE": 10_147, "QUOTE": 45_134, "BOOK": 3_044, "INSTRUMENT": 1}),
]


@pytest.mark.parametrize(("name", "messages"), CAPTURES, ids=[c[0] for c in CAPTURES])
def test_every_frame_of_a_capture_parses(real_data: Path, name: str, messages: dict[str, int]) -> None:
    """As many messages of each kind as the capture has; no gap, no duplicate, nothing malformed."""
    lines = list(read_lines(real_data / "binance_spot" / name))
    target, rows = parse(lines, [BTC], "BTCUSDT")
    assert counts(rows) == messages
    assert not target.unknown
    trades = rows.view()[rows.view()["kind"] == int(Kind.TRADE)]
    assert set(trades["flags"].tolist()) == {LAST}
    assert target.instruments["BTCUSDT"][1].size_decimals == 6
    assert [len(rows.wire), rows.wire] == [len(lines), [line.frame for line in lines]]


def test_every_frame_of_2021_parses(real_data: Path) -> None:
    """Four symbols, five kinds of streams, and the REST snapshots that belong to them."""
    folder = real_data / "binance_legacy"
    lines = [*read_lines(folder / "BINANCE.http.0.0"), *read_lines(folder / "BINANCE.ws.1.0")]
    symbols = ("NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR")
    wide = [InstrumentData(f"{s}.binance", s, "binance", 8, 8, "0.00000001", "0.00000001") for s in symbols]
    target, rows = parse(sorted(lines, key=lambda line: line.ts), wide)
    assert counts(rows) == {"TRADE": 2, "QUOTE": 84, "BOOK": 177 + 4, "BAR": 2}
    assert not target.unknown
    assert all(target.synchronised(symbol) for symbol in symbols)
    assert not [row for row in rows.view() if row["kind"] == int(Kind.STATUS)]


class Oracle:
    """A book as a log's reader keeps it, and the best prices that the venue announced."""

    def __init__(self) -> None:
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.best: list[tuple[int, int, int, int, int]] = []  # update id; bid, size, ask, size of the book
        self.quotes: dict[int, tuple[int, int, int, int]] = {}
        self.crossed = 0

    def apply(self, rows: RowBuffer) -> None:
        """Take all rows, noting the best levels after each depth message in force."""
        view = rows.view()
        columns = [view[name].tolist() for name in ("kind", "flags", "side", "price", "size", "id")]
        bid: tuple[int, int] = (0, 0)
        for kind, flags, side, price, size, update in zip(*columns, strict=True):
            if kind == Kind.INSTRUMENT:
                self.bids = {p: s * 10 for p, s in self.bids.items()}
                self.asks = {p: s * 10 for p, s in self.asks.items()}
                self.quotes = {u: (b, bs * 10, a, as_ * 10) for u, (b, bs, a, as_) in self.quotes.items()}
                self.best = [(u, b, bs * 10, a, as_ * 10) for u, b, bs, a, as_ in self.best]
            elif kind == Kind.QUOTE:
                if side == BID:
                    bid = (price, size)
                else:
                    self.quotes[update] = (*bid, price, size)
            elif kind == Kind.BOOK and not flags & (BAD | DUPLICATE):
                if flags & CLEAR:
                    self.bids, self.asks = {}, {}
                levels = self.bids if side == BID else self.asks
                if size:
                    levels[price] = size
                else:
                    levels.pop(price, None)
                if flags & LAST:
                    self._note(update, snapshot=bool(flags & SNAPSHOT))

    def _note(self, update: int, *, snapshot: bool) -> None:
        bid, ask = max(self.bids), min(self.asks)
        self.crossed += bid >= ask
        if not snapshot:
            self.best.append((update, bid, self.bids[bid], ask, self.asks[ask]))

    def agreeing(self) -> int:
        """Depth messages after which the book's best is the quote with the greatest id up to theirs."""
        ids = sorted(self.quotes)
        return sum(
            self.quotes[ids[bisect_right(ids, u) - 1]] == (b, bs, a, as_) for u, b, bs, a, as_ in self.best
        )


def test_the_book_is_the_venues(real_data: Path) -> None:
    """In 6,490 of 6,492 depth messages of the two contiguous files; and it never crosses."""
    folder = real_data / "binance_spot"
    names = ("btcusdt_20240808.gz", "btcusdt_20240809.gz")
    lines = [line for name in names for line in read_lines(folder / name)]
    target, rows = parse(lines, [BTC], "BTCUSDT")
    assert target.synchronised("BTCUSDT")
    oracle = Oracle()
    oracle.apply(rows)
    assert len(oracle.best) == 6_492
    assert oracle.agreeing() == 6_490
    assert oracle.crossed == 0


def test_real_frames_cut_anywhere_are_malformed(real_data: Path) -> None:
    """One frame of each stream and year, at every byte; the parser then takes the whole one."""
    files = [
        *sorted((real_data / "binance_spot").glob("btcusdt_*")),
        real_data / "binance_legacy" / "BINANCE.ws.1.0",
    ]
    symbols = ("BTCUSDT", "NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR")
    wide = [InstrumentData(f"{s}.binance", s, "binance", 8, 8, "0.00000001", "0.00000001") for s in symbols]
    seen = set()
    for path in files:
        for line in read_lines(path):
            stream = (path.name, line.frame[:40].partition(b",")[0])
            if stream not in seen and line.frame and not line.endpoint:
                seen.add(stream)
                cut_everywhere(line, wide)
    assert len(seen) == 20


def cut_everywhere(line: Line, definitions: list[InstrumentData]) -> None:
    """Feed a frame's every beginning, then the frame: as if nothing had been before."""
    whole = parse([line], definitions)[1]
    target = parse([], definitions)[0]
    rows = RowBuffer()
    for length in range(len(line.frame)):
        target.feed(line.frame[:length], line.ts, rows)
    assert rows.count == len(line.frame)
    assert set(rows.view()["kind"].tolist()) == {int(Kind.MALFORMED)}
    assert rows.wire == [line.frame[:length] for length in range(len(line.frame))]
    rows.clear()
    target.feed(line.frame, line.ts, rows)
    assert rows.view().tobytes() == whole.view().tobytes()
