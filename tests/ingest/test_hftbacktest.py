"""Event arrays of hftbacktest: what each event becomes, what is left out, what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from engine.ingest import hftbacktest_files
from engine.ingest.hftbacktest_files import (
    ADD_ORDER,
    BEST,
    BUY,
    CANCEL_ORDER,
    CLEAR,
    DEPTH,
    EVENT,
    EXCHANGE,
    FILL,
    LOCAL,
    MODIFY_ORDER,
    SELL,
    SNAPSHOT,
    TRADE,
)
from engine.ingest.tabular import ImportReport, import_tables
from engine.ingest.tabular_survey import TableOptions
from engine.ingest.tabular_units import UnitsWanted
from engine.log.check import check
from engine.model.errors import EngineError
from engine.model.kinds import Flag, Kind
from tests.helpers.books import OrderedBook, messages_of
from tests.helpers.tables import CENTS, T0, Row, flags, only, rows_of

SAMPLE = (
    Path(__file__).resolve().parents[2] / "data" / "import-samples" / "hftbacktest" / "BTCUSDT_20240601.npz"
)
BOTH = LOCAL | EXCHANGE
IMPORTED, LAST = Flag.IMPORTED, Flag.LAST
WHOLE = Flag.SNAPSHOT | Flag.CLEAR
NAN = float("nan")


def event(
    code: int,
    side: int,
    at: int,
    px: float,
    qty: float = 0.0,
    order: int = 0,
    to: int = BOTH,
    venue: int = -1,
) -> tuple[Any, ...]:
    """One event, received at T0 + `at` ns, 1 ns after the venue unless said otherwise."""
    return (code | side | to, T0 + (at - 1 if venue < 0 else venue), T0 + at, px, qty, order, 0, 0.0)


def load(
    folder: Path, events: list[tuple[Any, ...]] | npt.NDArray[Any], units: UnitsWanted = CENTS, **options: Any
) -> tuple[ImportReport, list[Row]]:
    """Import an array; the report, and the rows after the definitions."""
    path = folder / "events.npy"
    np.save(path, np.array(events, dtype=EVENT) if isinstance(events, list) else events)
    return import_file(path, folder, units, **options)


def import_file(
    path: Path, folder: Path, units: UnitsWanted, **options: Any
) -> tuple[ImportReport, list[Row]]:
    """Import a file; the report, and the rows after the definitions."""
    to = folder / "out.arrow"
    to.unlink(missing_ok=True)
    given = {"venue": "x", "symbols": ("A",), **options}
    report = import_tables([(path, path.name)], to, TableOptions(**given), units)
    return report, [r for r in rows_of(to) if r["kind"] not in {Kind.SOURCE, Kind.INSTRUMENT, Kind.END}]


def notes(report: ImportReport) -> str:
    """All warnings."""
    return "\n".join(report.warnings)


# ------------------------------------------------------------------------------------------ events


def test_the_sample(tmp_path: Path) -> None:
    """A snapshot, trades of one time, a depth message of two levels, an event that came late: once."""
    report, rows = import_file(SAMPLE, tmp_path, UnitsWanted())
    ms = 1_000_000
    assert only(rows, "kind", "ts", "ts_venue", "side", "price", "size") == [
        (Kind.BOOK, 4 * ms, 0, 1, 675124, 1250),
        (Kind.BOOK, 4 * ms, 0, 1, 675121, 800),
        (Kind.BOOK, 4 * ms, 0, -1, 675125, 162),
        (Kind.BOOK, 4 * ms, 0, -1, 675126, 900),
        (Kind.TRADE, 21 * ms, 15 * ms, 1, 675125, 100),
        (Kind.TRADE, 21 * ms + 1, 15 * ms, 1, 675125, 62),
        (Kind.BOOK, 24 * ms, 16 * ms, -1, 675125, 0),
        (Kind.BOOK, 24 * ms, 16 * ms, 1, 675122, 300),
        (Kind.TRADE, 39 * ms, 31 * ms, -1, 675124, 4),
        (Kind.BOOK, 45 * ms, 30 * ms, 1, 675124, 1246),
    ]
    snapshot = IMPORTED | Flag.SNAPSHOT
    assert [flags(row) for row in rows] == [
        snapshot | Flag.CLEAR,
        snapshot,
        snapshot,
        snapshot | LAST,
        *[IMPORTED | LAST] * 2,
        IMPORTED,
        *[IMPORTED | LAST] * 3,
    ]
    assert "1 events are for the exchange's order only" in notes(report)
    assert (report.files[0].rows, report.moved) == (12, 1)
    assert check(tmp_path / "out.arrow").rows == report.rows


def test_best_prices_become_quotes(tmp_path: Path) -> None:
    """A bid and an ask of one time are one quote."""
    _, rows = load(
        tmp_path, [event(BEST, BUY, 5, 1.5, 2), event(BEST, SELL, 5, 1.6, 3), event(BEST, BUY, 9, 1.4, 1)]
    )
    assert only(rows, "kind", "ts", "side", "price", "size") == [
        (Kind.QUOTE, 5, 1, 150, 2000),
        (Kind.QUOTE, 5, -1, 160, 3000),
        (Kind.QUOTE, 9, 1, 140, 1000),
    ]
    assert [LAST in flags(row) for row in rows] == [False, True, True]


def test_orders_become_rows_by_order(tmp_path: Path) -> None:
    """What is left of each order; a cancelled one has nothing left; each event is a message of its own."""
    _, rows = load(
        tmp_path,
        [
            event(ADD_ORDER, BUY, 5, 1.5, 2, 77),
            event(ADD_ORDER, SELL, 5, 1.6, 3, 78),
            event(MODIFY_ORDER, BUY, 6, 1.4, 1, 77),
            event(CANCEL_ORDER, SELL, 7, 1.6, 3, 78),
        ],
    )
    assert only(rows, "ts", "side", "price", "size", "id") == [
        (5, 1, 150, 2000, 77),
        (6, -1, 160, 3000, 78),
        (7, 1, 140, 1000, 77),
        (8, -1, 160, 0, 78),
    ]
    assert {flags(row) for row in rows} == {IMPORTED | LAST | Flag.BY_ORDER}
    book = OrderedBook()
    for message in messages_of(rows):
        book.apply(message)
    assert book.orders == {77: (1, 140, 1000)}


def test_an_order_event_without_side_or_price_takes_those_of_its_order(tmp_path: Path) -> None:
    """Arrays made from feeds that name only the order."""
    _, rows = load(
        tmp_path,
        [
            event(ADD_ORDER, SELL, 5, 1.5, 2, 77),
            event(FILL, 0, 6, 0.0, 1, 77),
            event(MODIFY_ORDER, 0, 7, 1.5, 1, 77),
            event(CANCEL_ORDER, 0, 8, NAN, NAN, 77),
        ],
    )
    assert only(rows, "kind", "side", "price", "size") == [
        (Kind.BOOK, -1, 150, 2000),
        (Kind.TRADE, 1, 150, 1000),  # who bought from it
        (Kind.BOOK, -1, 150, 1000),
        (Kind.BOOK, -1, 150, 0),
    ]


def test_fills_are_trades_only_where_the_array_has_none(tmp_path: Path) -> None:
    """A fill says again what a trade said; it is counted then."""
    added = event(ADD_ORDER, SELL, 5, 1.5, 2, 77)
    fill, trade = event(FILL, SELL, 6, 1.5, 1, 77), event(TRADE, BUY, 6, 1.5, 1, 0)
    report, rows = load(tmp_path, [added, trade, fill])
    assert only(rows, "kind", "side") == [(Kind.BOOK, -1), (Kind.TRADE, 1)]
    assert "1 fills were left out" in notes(report)
    report, rows = load(tmp_path, [added, fill])
    assert only(rows, "kind", "side") == [(Kind.BOOK, -1), (Kind.TRADE, 1)]


LEVELS = [event(DEPTH, BUY, 1, price, 1) for price in (1.5, 1.4, 1.3)] + [event(DEPTH, SELL, 1, 1.6, 1)]


@pytest.mark.parametrize(
    ("clears", "expected"),
    [
        pytest.param(
            [event(CLEAR, BUY, 2, 1.4), event(CLEAR, SELL, 2, 1.6), event(SNAPSHOT, BUY, 2, 1.2, 4)],
            [(1, 120, 4000, WHOLE)],
            id="both sides, then a snapshot",
        ),
        pytest.param([event(CLEAR, 0, 2, NAN)], [(0, 0, 0, WHOLE)], id="the whole book"),
        pytest.param([event(CLEAR, BUY, 2, 1.4)], [(1, 140, 0, 0), (1, 150, 0, 0)], id="bids down to 1.4"),
        pytest.param([event(CLEAR, BUY, 2, NAN)], [(1, p, 0, 0) for p in (130, 140, 150)], id="all bids"),
        pytest.param(
            [event(CLEAR, BUY, 2, 1.4), event(SNAPSHOT, BUY, 2, 1.5, 9)],
            [(1, 140, 0, 0), (1, 150, 9000, 0)],
            id="bids down to 1.4, of which 1.5 is stated again",
        ),
        pytest.param([event(CLEAR, SELL, 2, 1.5)], [], id="asks up to 1.5, of which there are none"),
        pytest.param([event(SNAPSHOT, BUY, 2, 1.5, 9)], [(1, 150, 9000, Flag.SNAPSHOT)], id="no clear"),
    ],
)
def test_clears(tmp_path: Path, clears: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> None:
    """A book with bids 1.5, 1.4, 1.3 and an ask at 1.6 is cleared in part, or as a whole."""
    _, rows = load(tmp_path, [*LEVELS, *clears])
    ours = WHOLE
    assert [
        (r["side"], r["price"], r["size"], int(flags(r) & ours)) for r in rows if r["ts"] == 2
    ] == expected


def test_an_array_that_begins_with_a_snapshot_says_how_deep_the_book_is(tmp_path: Path) -> None:
    """Its first row clears, though no clear stands before it."""
    _, rows = load(tmp_path, [event(SNAPSHOT, BUY, 1, 1.5, 1), event(SNAPSHOT, SELL, 1, 1.6, 1)])
    assert [Flag.CLEAR in flags(row) for row in rows] == [True, False]


def test_events_of_one_time_are_one_message_unless_they_are_trades(tmp_path: Path) -> None:
    """Rows stay together while both times and the nature of the events are the same."""
    _, rows = load(
        tmp_path,
        [
            event(DEPTH, BUY, 5, 1.5, 1),
            event(DEPTH, SELL, 5, 1.6, 1),
            event(DEPTH, BUY, 5, 1.4, 1, venue=3),
            event(TRADE, BUY, 5, 1.6, 1),
            event(TRADE, BUY, 5, 1.6, 2),
            event(DEPTH, SELL, 5, 1.6, 0),
        ],
    )
    assert only(rows, "ts", "kind") == [
        (5, Kind.BOOK),
        (5, Kind.BOOK),
        (6, Kind.BOOK),
        (7, Kind.TRADE),
        (8, Kind.TRADE),
        (9, Kind.BOOK),
    ]


def test_events_out_of_order_are_sorted(tmp_path: Path) -> None:
    """In order of their receipt, and counted; a message stays whole."""
    report, rows = load(
        tmp_path, [event(TRADE, BUY, 9, 1.5, 1), *[event(DEPTH, BUY, 5, p, 1) for p in (1.5, 1.4)]]
    )
    assert only(rows, "ts", "price") == [(5, 150), (5, 140), (9, 150)]
    assert report.files[0].out_of_order == 2


def test_unknown_codes_are_counted(tmp_path: Path) -> None:
    """What a newer version may have is left out, not guessed."""
    report, rows = load(tmp_path, [event(TRADE, BUY, 1, 1.5, 1), event(99, BUY, 2, 1.5, 1)])
    assert len(rows) == 1
    assert "1 events have a code that is none of hftbacktest's" in notes(report)


# ----------------------------------------------------------------------------------- units, chunks


def test_increments_are_told_from_the_numbers(tmp_path: Path) -> None:
    """The widest decimals of prices and sizes, as their shortest form shows them."""
    report, rows = load(tmp_path, [event(TRADE, BUY, 1, 61250.1, 0.003)], UnitsWanted())
    assert (report.instruments[0].price_increment, report.instruments[0].size_increment) == ("0.1", "0.001")
    assert only(rows, "price", "size") == [(612501, 3)]


@pytest.mark.parametrize("chunk", [1, 3, 7, 1000])
def test_chunks_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Messages are never cut, whatever is read at a time; partial clears remember what came before."""
    chance = np.random.default_rng(5)
    events = []
    for at in range(1, 60):
        code = (DEPTH, TRADE, SNAPSHOT, CLEAR)[int(chance.integers(4))]
        side = (BUY, SELL)[int(chance.integers(2))]
        events += [
            event(code, side, at, 1 + int(chance.integers(9)) / 100, int(chance.integers(3)))
            for _ in range(int(chance.integers(1, 5)))
        ]
    whole, _ = load(tmp_path, events)
    monkeypatch.setattr(hftbacktest_files, "_CHUNK", chunk)
    assert load(tmp_path, events)[0].chain == whole.chain


def test_npz_and_npy_are_the_same(tmp_path: Path) -> None:
    """Packed or not, and whatever the one array is called."""
    events = np.array([event(TRADE, BUY, i, 1.5, 1) for i in range(1, 9)], dtype=EVENT)
    plain, _ = load(tmp_path, events)
    for name, save in (("a.npz", np.savez), ("b.npz", np.savez_compressed)):
        save(tmp_path / name, data=events)
        assert import_file(tmp_path / name, tmp_path, CENTS)[0].instruments == plain.instruments
        rows = import_file(tmp_path / name, tmp_path, CENTS)[1]
        assert only(rows, "ts") == [(i,) for i in range(1, 9)]
    np.savez(tmp_path / "c.npz", events=events)
    assert len(import_file(tmp_path / "c.npz", tmp_path, CENTS)[1]) == 8


# ---------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([event(TRADE, BUY, 1, NAN, 1)], 'events.npy: row 1, column px: "nan" is no number'),
        ([event(TRADE, BUY, 1, 1, 1), event(DEPTH, BUY, 2, 1, -1)], 'row 2, column qty: "-1.0" is negative'),
        ([event(DEPTH, 0, 1, 1, 1)], 'row 1, column ev: "3221225473" names no side'),
        ([(TRADE | BUY | BOTH, 0, 0, 1, 1, 0, 0, 0)], 'row 1, column local_ts: "0" is no time'),
        ([event(TRADE, BUY, 1, 1.005, 1)], 'column px: "1.005" is no multiple of the increment; next to it'),
        ([event(TRADE, BUY, 1, 1, 1, to=EXCHANGE)], "events.npy: holds no events"),
        ([], "events.npy: holds no events"),
    ],
)
def test_a_value_that_is_none_is_named(tmp_path: Path, events: list[tuple[Any, ...]], expected: str) -> None:
    """File, number of the event, field and value."""
    with pytest.raises(EngineError) as caught:
        load(tmp_path, events)
    assert expected in str(caught.value)
    assert not (tmp_path / "out.arrow").exists()


def test_arrays_of_something_else_are_refused(tmp_path: Path) -> None:
    """An old version's table of floats, other fields, several arrays, a truncated file, no array at all."""
    np.save(tmp_path / "old.npy", np.zeros((3, 6)))
    np.save(tmp_path / "other.npy", np.zeros(3, dtype=[("a", "<i8")]))
    np.savez(tmp_path / "two.npz", a=np.zeros(1), b=np.zeros(1))
    np.save(tmp_path / "cut.npy", np.array([event(TRADE, BUY, i, 1, 1) for i in range(9)], dtype=EVENT))
    whole = (tmp_path / "cut.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-100])
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
    with zipfile.ZipFile(tmp_path / "csv.npz", "w") as archive:
        archive.writestr("a.csv", "x")
    for name, expected in {
        "old.npy": "it holds float64 (3, 6)",
        "other.npy": "it has the fields a",
        "two.npz": "holds 2 arrays, none of them called data",
        "cut.npy": "ends after 7 of 9 events",
        "bad.npz": "cannot be read",
    }.items():
        with pytest.raises(EngineError) as caught:
            import_file(tmp_path / name, tmp_path, CENTS)
        assert expected in str(caught.value), name


def test_an_array_needs_a_symbol(tmp_path: Path) -> None:
    """It does not say whose events it holds."""
    with pytest.raises(EngineError, match="does not say whose events these are, and --symbol names none"):
        load(tmp_path, [event(TRADE, BUY, 1, 1, 1)], symbols=())
