"""LOBSTER's pairs: what each type of message becomes, by price and by order; what is refused; a real day."""

from __future__ import annotations

import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.ingest.lobster_files import is_lobster, midnight_of
from engine.ingest.lobster_orders import REST
from engine.ingest.tabular import ImportReport, import_tables
from engine.ingest.tabular_survey import TableOptions
from engine.ingest.tabular_units import UnitsWanted
from engine.log.check import check
from engine.model.errors import EngineError
from engine.model.kinds import Flag, InstrumentData, Kind, StatusData
from tests.helpers.books import OrderedBook, PlainBook, messages_of
from tests.helpers.tables import Row, flags, only, rows_of

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "import-samples" / "lobster"
NAME = "EXMP_2024-06-03_34200000_34210000_{}_{}.csv"
OPEN = (2 * 86_400 + 5_400) * 10**9  # 09:30 in New York on 2024-06-03, counted from T0
IMPORTED, LAST = Flag.IMPORTED, Flag.LAST


def imported(
    folder: Path, messages: str, book: str, levels: int = 1, **options: Any
) -> tuple[ImportReport, list[Row]]:
    """Import a pair given by content; the report, and the rows after the definitions."""
    for what, content in (("message", messages), ("orderbook", book)):
        (folder / NAME.format(what, levels)).write_text(content, encoding="utf-8")
    return imported_pair(folder / NAME.format("message", levels), folder, **options)


def imported_pair(path: Path, folder: Path, **options: Any) -> tuple[ImportReport, list[Row]]:
    """Import the pair that a file belongs to."""
    to = folder / "out.arrow"
    to.unlink(missing_ok=True)
    report = import_tables([(path, path.name)], to, TableOptions(**options), UnitsWanted())
    rows = [row for row in rows_of(to) if row["kind"] not in {Kind.SOURCE, Kind.INSTRUMENT, Kind.END}]
    return report, rows


def failure(folder: Path, messages: str, book: str, **options: Any) -> str:
    """The error of an import that fails; nothing is left behind."""
    with pytest.raises(EngineError) as caught:
        imported(folder, messages, book, **options)
    assert not (folder / "out.arrow").exists()
    return str(caught.value)


# ------------------------------------------------------------------------------------- the sample


def test_a_pair_by_price(tmp_path: Path) -> None:
    """The sample, line by line: snapshots where a level leaves view, changes, trades before their book."""
    report, rows = imported_pair(SAMPLES / NAME.format("message", 2), tmp_path)
    whole = [(1, 1000000, 300), (1, 999900, 200), (-1, 1000200, 100), (-1, 1000300, 400)]
    better = [(1, 1000100, 50), (1, 1000000, 300), (-1, 1000200, 100), (-1, 1000300, 400)]
    assert only(rows, "kind", "side", "price", "size", "id") == [
        *[(Kind.BOOK, *level, 1) for level in whole],
        *[(Kind.BOOK, *level, 2) for level in better],  # 99.99 is out of view: nobody knows of it
        (Kind.TRADE, -1, 1000100, 20, 12),
        (Kind.BOOK, 1, 1000100, 30, 3),
        (Kind.TRADE, -1, 1000100, 30, 12),
        (Kind.BOOK, 1, 1000100, 0, 4),
        (Kind.BOOK, 1, 999900, 200, 4),
        (Kind.TRADE, 1, 1000150, 10, 0),  # a hidden order between the ticks; the book does not change
        (Kind.BOOK, -1, 1000200, 50, 6),
        (Kind.BOOK, 1, 1000000, 200, 7),
        (Kind.STATUS, 0, 0, 0, 0),
        (Kind.TRADE, 0, 1000100, 1000, 0),
    ]
    first = Flag.CLEAR | Flag.SNAPSHOT | IMPORTED
    assert [flags(row) for row in rows[:4]] == [
        first,
        *[Flag.SNAPSHOT | IMPORTED] * 2,
        Flag.SNAPSHOT | IMPORTED | LAST,
    ]
    assert flags(rows[4]) == first
    assert [flags(row) for row in rows[8:13]] == [IMPORTED | LAST] * 3 + [IMPORTED, IMPORTED | LAST]
    assert msgspec.json.decode(rows[-2]["data"], type=StatusData) == StatusData("session", detail="halted")
    (instrument,) = report.instruments
    assert (instrument.key, instrument.price_increment, instrument.off_increment) == (
        "EXMP.nasdaq",
        "0.01",
        1,
    )
    assert check(tmp_path / "out.arrow").rows == report.rows


def test_times_are_the_exchange_s_own_day_to_the_nanosecond(tmp_path: Path) -> None:
    """Seconds after midnight in New York; the book behind a trade is 1 ns later and has no venue time."""
    _, rows = imported_pair(SAMPLES / NAME.format("message", 2), tmp_path)
    times = [(row["ts"] - OPEN, None if row["ts_venue"] is None else row["ts_venue"] - OPEN) for row in rows]
    assert times[0] == (1, 1)
    second = 1_100_000_002
    assert times[8:13] == [
        (second, second),
        (second + 1, None),
        (second + 2, second),
        (second + 3, None),
        (second + 3, None),
    ]
    assert times[15] == (4_000_000_009, 4_000_000_009)


def test_a_rest_that_grows_is_another_order(tmp_path: Path) -> None:
    """Of 300 at 100.00 nobody is known. 40 more than the new order of 60 are another rest, the last there.

    An execution of an unknown order takes from the oldest rest, a cancellation from the youngest.
    """
    first, second = REST + 2_000_000, REST + 2**44 + 2_000_000
    text = "34200,3,7,1,990000,1\n34201,1,8,60,1000000,1\n34202,4,9,50,1000000,1\n34203,2,9,10,1000000,1\n"
    book = "".join(f"1000200,100,1000000,{size}\n" for size in (300, 400, 350, 340))
    _, rows = imported(tmp_path, text, book, by_order=True)
    assert only([row for row in rows if row["kind"] == Kind.BOOK and row["side"] > 0], "id", "size") == [
        (first, 300),
        (second, 40),
        (8, 60),
        (first, 250),
        (second, 30),
    ]


def test_what_comes_into_sight_again_is_part_of_a_picture(tmp_path: Path) -> None:
    """100.00 is behind 100.01 for a while; that it then displays 20 more may have been so for long."""
    text = "34200,1,7,50,1000000,1\n34201,1,8,5,1000100,1\n34202,3,8,5,1000100,1\n"
    states = ("1000000,50", "1000100,5", "1000000,70")
    _, rows = imported(tmp_path, text, "".join(f"1000200,100,{s}\n" for s in states), by_order=True)
    bids = [row for row in rows if row["side"] > 0]
    assert only(bids, "id", "size") == [(7, 50), (8, 5), (REST + 2_000_000, 20), (8, 0)]
    pictures = [bool(flags(row) & Flag.SNAPSHOT) for row in bids]
    assert pictures == [True, False, True, False]
    assert Flag.CLEAR not in flags(bids[2])


def test_a_pair_by_order(tmp_path: Path) -> None:
    """Orders with what is left of them; the opening book stands as one order a price, before the known."""
    report, rows = imported_pair(SAMPLES / NAME.format("message", 2), tmp_path, by_order=True)

    def rest(side: int, price: int) -> int:
        return REST + 2 * price + (side < 0)

    assert only([row for row in rows if row["kind"] == Kind.BOOK], "side", "price", "size", "id") == [
        (1, 1000000, 200, rest(1, 1000000)),
        (1, 999900, 200, rest(1, 999900)),
        (-1, 1000200, 100, rest(-1, 1000200)),
        (-1, 1000300, 400, rest(-1, 1000300)),
        (1, 1000000, 100, 11),
        (1, 1000100, 50, 12),
        (1, 1000100, 30, 12),
        (1, 1000100, 0, 12),
        (-1, 1000200, 50, rest(-1, 1000200)),  # 50 of an order that was there before the file began
        (1, 1000000, 0, 11),
    ]
    book = [flags(row) for row in rows if row["kind"] == Kind.BOOK]
    assert all(Flag.BY_ORDER in flag for flag in book)
    assert [Flag.CLEAR in flag for flag in book] == [True] + [False] * 9
    assert [Flag.SNAPSHOT in flag for flag in book] == [True] * 5 + [False] * 5
    assert [row["id"] for row in rows if row["kind"] == Kind.TRADE] == [12, 12, 0, 0]
    assert any("1 messages name an order that no message added" in w for w in report.warnings)
    data = next(row["data"] for row in rows_of(tmp_path / "out.arrow") if row["kind"] == Kind.INSTRUMENT)
    definition = msgspec.json.decode(data, type=InstrumentData)
    assert (definition.channels, definition.price_decimals, definition.quote) == (
        ("trade", "orders"),
        4,
        "USD",
    )


# ---------------------------------------------------------------------------------- single messages

BOOK = "1000200,100,1000000,300\n"


@pytest.mark.parametrize(
    ("message", "after", "kind", "side", "size"),
    [
        ("4,5,20,1000000,1", "1000200,100,1000000,280", Kind.TRADE, -1, 20),
        ("4,5,20,1000200,-1", "1000200,80,1000000,300", Kind.TRADE, 1, 20),
        ("5,0,7,1000100,1", "1000200,100,1000000,300", Kind.TRADE, -1, 7),
        ("6,-1,900,1000100,-1", "1000200,100,1000000,300", Kind.TRADE, 0, 900),
        ("7,0,0,-1,-1", "1000200,100,1000000,300", Kind.STATUS, 0, 0),
        ("2,5,20,1000000,1", "1000200,100,1000000,280", Kind.BOOK, 1, 280),
        ("3,5,300,1000000,1", "1000200,100,-9999999999,0", Kind.BOOK, 1, 0),
        ("1,5,50,1000200,-1", "1000200,150,1000000,300", Kind.BOOK, -1, 150),
    ],
    ids=["sell", "buy", "hidden", "cross", "halt", "reduced", "deleted", "added"],
)
def test_each_type_of_message(
    tmp_path: Path, message: str, after: str, kind: Kind, side: int, size: int
) -> None:
    """The aggressor is against the resting order's side; a cross has none; the rest changes the book."""
    text = f"34200,1,1,100,1000000,1\n34201,{message}\n"
    _, rows = imported(tmp_path, text, f"{BOOK}{after}\n")
    row = rows[2]  # after the first line's two levels
    assert (row["kind"], row["side"], row["size"]) == (kind, side, size)


@pytest.mark.parametrize(("price", "word"), [(-1, "halted"), (0, "quoting"), (1, "trading")])
def test_a_halt_says_what_it_is(tmp_path: Path, price: int, word: str) -> None:
    """The price of a type 7 message is a code."""
    _, rows = imported(tmp_path, f"34200,7,0,0,{price},-1\n", BOOK)
    assert msgspec.json.decode(rows[0]["data"], type=StatusData).detail == word


def test_an_empty_book_clears(tmp_path: Path) -> None:
    """A state without any level is a snapshot of nothing, which says so."""
    text = "34200,1,1,100,1000000,1\n34201,3,1,100,1000000,1\n"
    empty = "9999999999,0,-9999999999,0\n"
    _, rows = imported(tmp_path, text, f"{empty}{empty}")
    assert [(row["side"], flags(row), row["data"]) for row in rows] == [
        (0, Flag.CLEAR | Flag.SNAPSHOT | IMPORTED | LAST, b'{"note":"empty"}')
    ]


def test_messages_that_change_nothing_in_view_are_counted(tmp_path: Path) -> None:
    """An order deeper than the file's levels makes no row."""
    text = "34200,1,1,100,1000000,1\n34201,1,2,100,990000,1\n"
    report, rows = imported(tmp_path, text, BOOK + BOOK)
    assert len(rows) == 2
    assert any("1 messages change nothing" in w for w in report.warnings)


def test_options_hold_for_pairs_too(tmp_path: Path) -> None:
    """--venue, --feed-latency and coarse increments; prices keep their four decimals whatever the tick."""
    text = "34200,1,1,100,1000050,1\n34200.5,5,0,1,1000051,1\n"
    book = "1000200,100,1000050,300\n"
    for what, content in (("message", text), ("orderbook", book + book)):
        (tmp_path / NAME.format(what, 1)).write_text(content)
    report = import_tables(
        [(tmp_path / NAME.format("orderbook", 1), "o")],
        tmp_path / "o.arrow",
        TableOptions(venue="x", feed_latency_ns=7),
        UnitsWanted("0.01", "1"),
    )
    rows = [row for row in rows_of(tmp_path / "o.arrow") if row["kind"] in {Kind.BOOK, Kind.TRADE}]
    assert only(rows, "price", "ts", "ts_venue")[1:] == [
        (1000200, OPEN + 7, OPEN),
        (1000051, OPEN + 500_000_007, OPEN + 500_000_000),
    ]
    assert report.instruments[0].key == "EXMP.x"
    assert (tmp_path / "o.arrow").exists()


def test_both_halves_may_be_named_and_count_once(tmp_path: Path) -> None:
    """A shell's * names messages and book; the pair is one file of the import."""
    paths = [(path, path.name) for path in sorted(SAMPLES.glob("*.csv"))]
    report = import_tables(paths, tmp_path / "o.arrow", TableOptions(), UnitsWanted())
    assert [file.file for file in report.files] == [NAME.format("message", 2)]
    assert all(is_lobster(path) for path, _ in paths)


@pytest.mark.parametrize(("day", "hours"), [("2012-06-21", 4), ("2012-12-21", 5), ("2024-03-10", 4)])
def test_midnight_follows_new_york_s_clock(day: str, hours: int) -> None:
    """Summer and winter time; on the day of a change, that of the trading hours."""
    from engine.model.units import parse_time

    assert midnight_of(day, "f") == parse_time(f"{day}T{hours:02}:00:00Z")


# ---------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("messages", "book", "expected"),
    [
        ("34200,1,1,100,1000000,1\nx,1,2,1,1,1\n", BOOK * 2, 'message_1.csv: row 2, column time: "x" is not'),
        ("34200,9,1,100,1000000,1\n", BOOK, 'row 1, column type: "9" is no type of message: they are 1 to 7'),
        ("34200,1,1,0,1000000,1\n", BOOK, 'row 1, column size: "0" is no number of shares'),
        ("34200,1,1,1,-5,1\n", BOOK, 'row 1, column price: "-5" is no price'),
        ("34200,1,1,1,1000000,2\n", BOOK, 'row 1, column direction: "2" is neither 1 (a buy order)'),
        ("34200,1,-3,1,1000000,1\n", BOOK, 'row 1, column order_id: "-3" is no order id'),
        ("86400,1,1,1,1000000,1\n", BOOK, 'row 1, column time: "86400" is not within a day'),
        ("34201,1,1,1,1,1\n34200,1,2,1,1,1\n", BOOK * 2, 'row 2, column time: "34200" is earlier than'),
        ("34200,1,1,1,1,1\n", "1000200,x,1,1\n", 'orderbook_1.csv: row 1, column ask_size_1: "x" is not'),
        ("34200,1,1,1,1,1\n", "1000200,-1,1,1\n", 'column ask_size_1: "-1" is no number of shares'),
        ("34200,1,1,1,1,1\n", "1000200,1,1\n", "orderbook_1.csv: row 1 has 3 columns, not 4"),
        ("34200,1,1,1,1,1\n", BOOK * 2, "orderbook_1.csv: row 2 and what follows have no line in EXMP"),
        ("34200,1,1,1,1,1\n" * 3, BOOK * 2, "message_1.csv: row 3 and what follows have no line in EXMP"),
        ("", BOOK, "message_1.csv: is empty"),
    ],
)
def test_a_value_that_is_none_is_named(tmp_path: Path, messages: str, book: str, expected: str) -> None:
    """File, row, column and value; a half with more lines than the other is refused."""
    assert expected in failure(tmp_path, messages, book)


def test_half_a_pair_is_refused(tmp_path: Path) -> None:
    """The book is needed, by order too."""
    name = NAME.format("message", 1)
    (tmp_path / name).write_text("34200,1,1,1,1,1\n")
    with pytest.raises(EngineError, match=r"_orderbook_1\.csv beside it"):
        import_tables([(tmp_path / name, name)], tmp_path / "o.arrow", TableOptions(), UnitsWanted())


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("t.csv", {"format": "lobster"}, "t.csv: is not named like a file of LOBSTER"),
        ("t.csv", {"by_order": True, "venue": "x", "symbols": ("A",)}, "--by-order is for files of LOBSTER"),
        (NAME.format("message", 1), {"symbols": ("A",)}, "is of EXMP, and --symbol names A"),
        (NAME.format("message", 1), {"kind": "trades"}, "the first line holds no column names"),
        (NAME.format("message", 1).replace("06-03", "06-33"), {}, '"2024-06-33" in its name is not a day'),
    ],
)
def test_options_and_names_that_do_not_fit(
    tmp_path: Path, name: str, options: dict[str, Any], expected: str
) -> None:
    """What the name does not say cannot be known; what no other file has is refused there."""
    for file in (name, name.replace("message", "orderbook")):
        (tmp_path / file).write_text("34200,1,1,1,1,1\n")
    with pytest.raises(EngineError) as caught:
        import_tables([(tmp_path / name, name)], tmp_path / "o.arrow", TableOptions(**options), UnitsWanted())
    assert expected in str(caught.value)


# ------------------------------------------------------------------------------------ whole days


def states_of(path: Path, rows: list[Row], book: PlainBook | OrderedBook, levels: int) -> int:
    """How many states a log's book goes through; they are those of the pair's other file, in order."""
    lines = path.with_name(path.name.replace("message", "orderbook")).read_text().splitlines()
    expected: list[Any] = []
    for line in lines:
        cells = [int(value) for value in line.split(",")]
        state = [
            [(cells[i], cells[i + 1]) for i in range(first, len(cells), 4) if cells[i + 1]]
            for first in (2, 0)
        ]
        if expected[-1:] != [state]:
            expected.append(state)
    reached: list[Any] = []
    for message in messages_of(row for row in rows if row["kind"] == Kind.BOOK):
        book.apply(message)
        state = [book.best(side, levels) for side in (1, -1)]
        if reached[-1:] != [state]:
            reached.append(state)
    assert reached == expected
    return len(reached)


def random_day(folder: Path, seed: int, levels: int) -> Path:
    """A pair made from a book by order that is wholly known here, and of which the file shows `levels`."""
    chance = random.Random(seed)
    book = OrderedBook()
    messages, states = [], []

    def put(order: int, side: int, price: int, size: int) -> None:
        book.apply([{"id": order, "side": side, "price": price, "size": size, "flags": Flag.BY_ORDER}])

    for order in range(1, 30):  # the opening book, which no message adds
        side = chance.choice((1, -1))
        put(order, side, 1_000_000 - side * 100 * chance.randrange(1, 9), chance.randrange(1, 5) * 100)
    for number in range(600):
        before = [book.best(side, levels) for side in (1, -1)]
        if chance.random() < 0.5 or not book.orders:
            order, side, size = 1000 + number, chance.choice((1, -1)), chance.randrange(1, 5) * 100
            price = 1_000_000 - side * 100 * chance.randrange(1, 9)
            put(order, side, price, size)
            line = f"1,{order},{size},{price},{side}"
        else:
            order = chance.choice(sorted(book.orders))
            side, price, left = book.orders[order]
            size = chance.choice((left, chance.randrange(1, left + 1)))
            kind = chance.choice((3, 4)) if size == left else chance.choice((2, 4))
            put(order, side, price, left - size)
            line = f"{kind},{order},{size},{price},{side}"
        after = [book.best(side, levels) for side in (1, -1)]
        if after == before:
            continue  # LOBSTER's files hold what changes the levels they show
        messages.append(f"{34_200 + number},{line}")
        cells = []
        for level in range(levels):
            for one, absent in ((after[1], 9999999999), (after[0], -9999999999)):
                cells += list(one[level]) if level < len(one) else [absent, 0]
        states.append(",".join(map(str, cells)))
    (folder / NAME.format("orderbook", levels)).write_text("\n".join(states) + "\n")
    path = folder / NAME.format("message", levels)
    path.write_text("\n".join(messages) + "\n")
    return path


@pytest.mark.parametrize("by_order", [False, True], ids=["by price", "by order"])
@pytest.mark.parametrize("levels", [1, 3, 20])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_rows_of_a_random_day_give_its_states_again(
    tmp_path: Path, seed: int, levels: int, *, by_order: bool
) -> None:
    """Whatever goes on out of sight, the best levels are those of the file at every line."""
    path = random_day(tmp_path, seed, levels)
    _, rows = imported_pair(path, tmp_path, by_order=by_order)
    book = OrderedBook() if by_order else PlainBook()
    assert states_of(path, rows, book, levels) > 50


def test_pieces_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read 64 lines at a time, a day gives the same rows, by price and by order."""
    path = random_day(tmp_path, 4, 3)
    whole = [imported_pair(path, tmp_path, by_order=by_order)[0].chain for by_order in (False, True)]
    monkeypatch.setattr("engine.ingest.lobster_files._STATES", 1)
    pieces = [imported_pair(path, tmp_path, by_order=by_order)[0].chain for by_order in (False, True)]
    assert pieces == whole


@pytest.fixture(scope="module")
def real_pair(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The free sample's message file, unpacked beside its book."""
    folder = tmp_path_factory.mktemp("lobster")
    (packed,) = (real_data / "lobster").glob("*.zip")
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(folder)
    (path,) = folder.glob("*_message_1.csv")
    return path


@pytest.mark.parametrize(
    ("by_order", "book_rows"), [(False, 69_654), (True, 59_736)], ids=["by price", "by order"]
)
def test_a_real_day_gives_its_states_again(
    real_pair: Path, tmp_path: Path, book_rows: int, *, by_order: bool
) -> None:
    """49,482 messages of one share: every trade, and the best prices and sizes after each line."""
    report, rows = imported_pair(real_pair, tmp_path, by_order=by_order)
    kinds = [row["kind"] for row in rows]
    assert (report.files[0].rows, kinds.count(Kind.TRADE)) == (49_482, 11_678)
    assert kinds.count(Kind.BOOK) == book_rows
    assert sum(row["size"] for row in rows if row["kind"] == Kind.TRADE) == sum(
        int(cells[3])
        for cells in (line.split(",") for line in real_pair.read_text().splitlines())
        if cells[1] in {"4", "5"}
    )
    book = OrderedBook() if by_order else PlainBook()
    assert states_of(real_pair, rows, book, 1) > 10_000
    if by_order:
        assert any("4,923 messages name an order that no message added" in w for w in report.warnings)


def test_a_packed_pair_is_read_as_it_is(tmp_path: Path) -> None:
    """Both halves may be .gz; the other half is found by the same ending."""
    import gzip

    _, rows = imported_pair(SAMPLES / NAME.format("message", 2), tmp_path)
    for what in ("message", "orderbook"):
        plain = SAMPLES / NAME.format(what, 2)
        with gzip.open(tmp_path / f"{plain.name}.gz", "wb") as packed, plain.open("rb") as source:
            shutil.copyfileobj(source, packed)
    _, packed_rows = imported_pair(tmp_path / f"{NAME.format('message', 2)}.gz", tmp_path)
    assert packed_rows == rows
