"""SQL over logs: exact values, only the columns touched are read, and errors that help."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.ingest.tabular import import_tables
from engine.ingest.tabular_survey import TableOptions
from engine.ingest.tabular_units import UnitsWanted
from engine.log.reader import JOIN_ROWS, LogReader
from engine.log.schema import Batch
from engine.model.errors import DamagedLog, EngineError, UsageError
from engine.model.kinds import ASK, BID, Flag, Kind, StatusData, encode_canonical
from engine.report.query import QUERY_VIEWS, Query, as_table
from tests.helpers.logs import Message, Row, at, book, make_log, market, news, quote, trade

Opened = list[tuple[str, ...]]


@contextmanager
def recorded(*logs: Path) -> Iterator[tuple[Query, Opened]]:
    """A query over logs, and the log columns that each scan opened."""
    opened: Opened = []

    def open_log(path: Path, columns: Sequence[str]) -> LogReader:
        opened.append(tuple(columns))
        return LogReader(path, columns)

    with Query([(path, path.name) for path in logs], open_log) as query:
        yield query, opened


def ask(sql: str, *logs: Path) -> list[list[Any]]:
    """The rows of an answer."""
    with recorded(*logs) as (query, _):
        return query.run(sql).rows


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A sealed log of a few messages of every kind but bars."""
    messages = [
        trade(1, 6_000_001, 1_000, id=1),
        quote(2),
        book(3, (BID, 5_999_999, 10), (ASK, 6_000_001, 20), snapshot=True, id=7),
        trade(4, 6_000_003, 2_500, side=-1, id=2, instrument=2),
        news(5, "Hello", symbols=("BTC", "ETH")),
    ]
    return make_log(tmp_path / "a.arrow", messages, sealed=True)


def test_prices_are_exact_decimals_and_symbols_have_names(log: Path) -> None:
    """BTC has five decimals of size, ETH four: both show exactly."""
    assert ask("SELECT symbol, side, price, size, id FROM trades ORDER BY seq", log) == [
        ["BTCUSDT", "buy", "60000.01", "0.01000", 1],
        ["ETHUSDT", "sell", "60000.03", "0.25000", 2],
    ]


def test_arithmetic_on_prices_stays_exact(log: Path) -> None:
    """A sum of decimals is the decimal sum."""
    assert ask("SELECT sum(price) FROM trades", log) == [["120000.04"]]


def test_times_are_utc_and_keep_their_nanoseconds(tmp_path: Path) -> None:
    """Comparisons, truncation and output work on UTC, whatever the machine's zone."""
    log = make_log(tmp_path / "a.arrow", [trade(0.000000001), trade(90)])
    assert ask("SELECT ts FROM trades WHERE ts < '2024-06-01 00:00:01'", log) == [
        ["2024-06-01 00:00:00.000000001"]
    ]
    assert ask("SELECT date_trunc('minute', ts)::text FROM trades ORDER BY 1 DESC LIMIT 1", log) == [
        ["2024-06-01 00:01:00"]
    ]


def test_every_view_answers(log: Path) -> None:
    """Each view has lines of its own kind; messages and rows have all."""
    with recorded(log) as (query, _):
        counts = {view: len(query.run(f"FROM {view}").rows) for view in QUERY_VIEWS}
    assert counts == {"trades": 2, "quotes": 1, "book": 2, "bars": 0, "news": 1, "messages": 9, "rows": 11}


def test_messages_show_what_was_received(log: Path) -> None:
    """Kind, first seq, rows and wire of a message."""
    assert ask("SELECT kind, seq, rows, wire FROM messages WHERE rows = 2 ORDER BY seq", log) == [
        ["QUOTE", 4, 2, '{"e":"quote"}'],
        ["BOOK", 6, 2, '{"e":"depthUpdate"}'],
    ]


def test_news_can_be_searched_by_symbol(log: Path) -> None:
    """Symbols are a list."""
    assert ask("SELECT headline, symbols FROM news WHERE list_contains(symbols, 'ETH')", log) == [
        ["Hello", ["BTC", "ETH"]]
    ]


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT count(*) FROM trades", {"kind"}),
        ("SELECT ts, price FROM trades", {"kind", "ts", "price", "instrument"}),
        ("SELECT max(price) FROM trades WHERE symbol = 'BTCUSDT'", {"kind", "price", "instrument"}),
        ("SELECT seq FROM trades WHERE side = 'buy'", {"kind", "side"}),
        ("SELECT avg(ask - bid) FROM quotes", {"kind", "side", "flags", "instrument", "price", "size"}),
        ("SELECT kind, count(*) FROM messages GROUP BY kind", {"kind", "flags"}),
        ("SELECT headline FROM news", {"kind", "data"}),
    ],
)
def test_only_the_columns_that_a_query_touches_are_read(tmp_path: Path, sql: str, columns: set[str]) -> None:
    """Projection and filter reach the log's reader: no query reads `wire` unless it asks for it."""
    log = make_log(tmp_path / "a.arrow", market(100, seed=2), sealed=True)
    with recorded(log) as (query, opened):
        query.run(sql)
    assert [set(each) for each in opened] == [columns]


def test_asking_for_wire_reads_it(tmp_path: Path) -> None:
    """The recorder of the test above does see `wire` when it is read."""
    log = make_log(tmp_path / "a.arrow", market(10, seed=2), sealed=True)
    with recorded(log) as (query, opened):
        query.run("SELECT wire FROM messages")
    assert "wire" in opened[0]


def test_a_limit_stops_reading_early(tmp_path: Path) -> None:
    """The first rows of a long log do not cost the whole of it."""
    table = pa.table(
        {"time": np.arange(10**18, 10**18 + 400_000), "price": [1] * 400_000, "size": [1] * 400_000}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    log = tmp_path / "a.arrow"
    options = TableOptions(venue="x", symbols=("A",))
    import_tables([(tmp_path / "t.parquet", "t")], log, options, UnitsWanted("1", "1"))
    read = 0

    class Counting(LogReader):
        """Counts the batches that are taken from it."""

        def batches(
            self, prefetch: int = 0, join_rows: int = JOIN_ROWS, first_seq: int = 0
        ) -> Iterator[Batch]:
            nonlocal read
            for batch in super().batches(min(prefetch, 0), join_rows, first_seq):
                read += 1
                yield batch

    with Query([(log, "a")], Counting) as query:
        assert len(query.run("FROM trades", limit=3).rows) == 3
        early = read
        assert query.run("SELECT sum(size) FROM trades").rows == [["400000"]]
    assert 0 < early < read - early


def test_filters_and_joins_agree_with_python(tmp_path: Path) -> None:
    """A filtered self-join over random trades finds what a loop finds."""
    log = make_log(tmp_path / "a.arrow", market(1_200, seed=4), per_batch=50)
    trades = ask("SELECT seq, symbol, price FROM trades ORDER BY seq", log)
    expected = sum(
        1
        for a in trades
        for b in trades
        if a[1] == b[1] == "ETHUSDT" and float(a[2]) > 60_000 and a[2] == b[2] and a[0] < b[0]
    )
    sql = """SELECT count(*) FROM trades a JOIN trades b ON a.price = b.price AND a.symbol = b.symbol
             WHERE a.symbol = 'ETHUSDT' AND a.price > 60000 AND a.seq < b.seq"""
    assert ask(sql, log) == [[expected]]
    assert expected > 0


def test_several_logs_are_one_table_with_their_names(tmp_path: Path) -> None:
    """`file` says which log a row is from, and can be filtered by."""
    logs = [make_log(tmp_path / f"{n}.arrow", [trade(i) for i in range(1, n + 1)]) for n in (2, 3)]
    assert ask("SELECT file, count(*) FROM trades GROUP BY file ORDER BY file", *logs) == [
        ["2.arrow", 2],
        ["3.arrow", 3],
    ]
    assert ask("SELECT count(*) FROM trades WHERE file = '3.arrow'", *logs) == [[3]]


def test_an_unsealed_log_answers_up_to_its_last_good_batch(tmp_path: Path) -> None:
    """What is torn at the end is not read, and said."""
    log = make_log(tmp_path / "a.arrow", [trade(n) for n in range(1, 5)], end=False)
    log.write_bytes(log.read_bytes()[:-10])
    with recorded(log) as (query, _):
        assert query.run("SELECT count(*) FROM trades").rows == [[3]]
        assert "are not used" in query.warnings[0]


def test_a_damaged_log_is_named_not_read(tmp_path: Path) -> None:
    """Damage in a column that a query needs is a DamagedLog, not an SQL error."""
    log = make_log(tmp_path / "a.arrow", market(3_000, seed=6), sealed=True)
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    with pytest.raises(DamagedLog, match="damaged at byte"):
        ask(
            "SELECT m.*, t.*, b.* FROM messages m, trades t, book b WHERE m.seq = t.seq AND b.seq = m.seq",
            log,
        )


@pytest.mark.parametrize(
    ("sql", "message", "hint"),
    [
        (
            "SELECT nope FROM trades",
            'Referenced column "nope" not found',
            "trades has seq, ts, ts_venue, symbol",
        ),
        (
            "SELECT * FROM tardes",
            "Table with name tardes does not exist",
            "the views are trades, quotes, book",
        ),
        ("SELEC 1", "syntax error", "the views are trades"),
        ("SELECT price + 'x' FROM trades", "x", "trades has"),
    ],
)
def test_a_mistake_in_sql_is_one_error_with_the_columns(log: Path, sql: str, message: str, hint: str) -> None:
    """The error says what is wrong, the hint which views or columns there are."""
    with pytest.raises(UsageError, match=message) as error:
        ask(sql, log)
    assert hint in error.value.hint
    assert error.value.exit_code == 2


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    """The reader's own words, before any SQL."""
    (tmp_path / "x.arrow").write_text("hello")
    with pytest.raises(EngineError, match="not an Arrow file"):
        ask("SELECT 1", tmp_path / "x.arrow")


def test_the_table_is_aligned_and_says_when_there_is_more(log: Path) -> None:
    """Numbers stand to the right; a limit is visible."""
    with recorded(log) as (query, _):
        text = as_table(query.run("SELECT symbol, price FROM trades ORDER BY seq", limit=1))
        empty = as_table(query.run("SELECT symbol FROM bars"))
    assert text.splitlines() == [
        "symbol      price",
        "───────  ────────",
        "BTCUSDT  60000.01",
        "(1 row; there are more: --limit 0 shows all)",
    ]
    assert empty.splitlines() == ["symbol", "──────", "(0 rows)"]


def test_csv_is_streamed_with_exact_values(log: Path) -> None:
    """Header and rows; a limit cuts."""
    with recorded(log) as (query, _):
        out = io.StringIO()
        assert query.write_csv("SELECT symbol, size, ts_venue FROM trades ORDER BY seq", out) == 2
        assert out.getvalue().splitlines() == [
            "symbol,size,ts_venue",
            "BTCUSDT,0.01000,2024-06-01 00:00:00.995000000",
            "ETHUSDT,0.25000,2024-06-01 00:00:03.995000000",
        ]
        assert query.write_csv("SELECT seq FROM messages", io.StringIO(), limit=4) == 4


def test_rejected_ticks_are_found_by_their_flag_and_their_reason(tmp_path: Path) -> None:
    """By bit 10 among the trades, and word for word among the rows."""
    reason = StatusData("rejected_tick", "trade", "price 0 is not positive")
    bad = Row(Kind.TRADE, instrument=1, side=1, price=0, size=1, id=7, flags=int(Flag.REJECTED_TICK))
    why = Row(Kind.STATUS, instrument=1, id=7, data=encode_canonical(reason))
    log = make_log(tmp_path / "a.arrow", [trade(1), Message(at(2), (bad, why)), trade(3)])
    assert ask("SELECT id FROM trades WHERE flags & 1024 != 0", log) == [[7]]
    reasons = "SELECT symbol, id, data->>'detail' FROM rows WHERE kind = 'STATUS'"
    assert ask(reasons, log) == [["BTCUSDT", 7, "price 0 is not positive"]]
