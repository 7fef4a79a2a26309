"""A fetch from end to end: what the venue has is in the logs, exactly, and can be run over."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.feed import binance_history
from engine.live.fetch import PARTS, Fetch, Report
from engine.live.fetch_binance import BinanceHistory
from engine.live.fetch_client import Answer, Client, Http
from engine.live.fetch_pages import PageFile
from engine.live.fetch_plan import Request, folder_name, spans, time_of
from engine.log.check import check
from engine.log.reader import LogReader
from engine.log.summary import summarise
from engine.model.errors import EngineError, InputError, UsageError, VenueError
from engine.model.kinds import Flag, Kind, SourceData
from engine.model.units import MILLISECOND_NS, SECOND_NS, format_decimal
from engine.serve.server import LocalVenue
from engine.serve.source import RecordingSource
from engine.serve.synthetic import SyntheticMarket
from tests.helpers.command import call, warm
from tests.helpers.history_venue import MIDNIGHT, NOW_S, Past, Scripted, Time, replaced

MINUTE = 60 * SECOND_NS


@pytest.fixture(scope="module")
def past() -> Past:
    """Four minutes around a midnight."""
    return Past()


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 300, so that there are several."""
    monkeypatch.setattr(binance_history, "LIMIT", 300)


def fetched(fetch: Fetch) -> Report:
    """Run a fetch to its end."""
    return asyncio.run(fetch.run())


def trades_of(paths: list[str], symbol: str) -> list[tuple[int, int, str, str, int]]:
    """Id, venue time in us, price, size and side of every trade of a symbol, in order of the logs."""
    found = []
    for path in paths:
        with LogReader(Path(path)) as reader:
            for batch in reader.batches():
                for row in range(batch.count):
                    if batch.kind[row] == Kind.INSTRUMENT:
                        data = msgspec.json.decode(batch.data_at(row) or b"")
                        if data["symbol"] == symbol:
                            number, units = int(batch.instrument[row]), data
                    elif batch.kind[row] == Kind.TRADE and int(batch.instrument[row]) == number:
                        found.append(
                            (
                                int(batch.id[row]),
                                int(batch.ts_venue[row]) // 1_000,
                                format_decimal(int(batch.price[row]), units["price_decimals"]),
                                format_decimal(int(batch.size[row]), units["size_decimals"]),
                                int(batch.side[row]),
                            )
                        )
    return found


def expected(past: Past, symbol: str, begin: int, end: int) -> list[tuple[int, int, str, str, int]]:
    """The same of the venue's own list."""
    decimals = 5 if symbol == "BTCUSDT" else 4
    return [
        (a["a"], a["T"], a["p"][:-6], a["q"][: len(a["q"]) - 8 + decimals], -1 if a["m"] else 1)
        for a in past.aggregates(symbol, begin, end)
    ]


def test_every_aggregate_trade_is_there_once(past: Past, tmp_path: Path) -> None:
    """Two days of two symbols: each trade exactly, in order; sealed, checked, chained, nothing left over."""
    transport = Scripted(past, Time())
    report = fetched(past.fetch(tmp_path, transport))
    for symbol in past.trades:
        assert trades_of(report.files, symbol) == expected(past, symbol, past.begin, past.end)
    assert [Path(f).name for f in report.files] == ["2024-06-01.arrow", "2024-06-02.arrow"]
    assert all(check(Path(file)).ok for file in report.files)
    first, second = (LogReader(Path(file)).header for file in report.files)
    assert (second.previous_file, second.previous_chain) == ("2024-06-01.arrow", first.sealed_chain)
    assert (report.holes, report.finished_before) == (0, False)
    assert not (Path(report.folder) / PARTS).exists()
    assert transport.counted()["exchangeInfo"] == 1


def test_rows_are_imported_and_their_times_derived(past: Past, tmp_path: Path) -> None:
    """Every row is flagged IMPORTED, `ts` is the venue's time and the latency asked for, strictly growing."""
    latency = 25 * MILLISECOND_NS
    fetch = past.fetch(
        tmp_path, Scripted(past, Time()), channels=("aggtrade", "bar"), feed_latency_ns=latency
    )
    last = 0
    kinds = set()
    for file in fetched(fetch).files:
        with LogReader(Path(file)) as reader:
            for batch in reader.batches():
                market = (batch.kind == Kind.TRADE) | (batch.kind == Kind.BAR)
                assert (batch.flags[market] & Flag.IMPORTED != 0).all()
                trades = batch.kind == Kind.TRADE
                late = batch.ts[trades] - batch.ts_venue[trades]
                assert int(late.min()) == latency
                assert int(late.max()) < latency + MILLISECOND_NS  # moved behind others of the same time
                bars = batch.kind == Kind.BAR
                assert ((batch.ts[bars] - batch.ts_venue[bars]) // MILLISECOND_NS == 60_025).all()
                assert int(batch.ts[0]) > last
                last = int(batch.ts[-1])
                kinds |= set(batch.kind.tolist())
                assert batch.wire is not None
                assert batch.wire.null_count == batch.count
    assert kinds == {Kind.TRADE, Kind.BAR, Kind.SOURCE, Kind.INSTRUMENT, Kind.END}


def test_sources_say_who_was_asked(past: Past, tmp_path: Path) -> None:
    """A SOURCE row for each symbol and endpoint, with the address."""
    report = fetched(past.fetch(tmp_path, Scripted(past, Time()), channels=("aggtrade", "bar")))
    with LogReader(Path(report.files[0])) as reader:
        batch = next(reader.batches())
        rows = [r for r in range(batch.count) if batch.kind[r] == Kind.SOURCE]
        found = [msgspec.json.decode(batch.data_at(r) or b"", type=SourceData) for r in rows]
    assert [(s.endpoint, s.symbol, s.url, s.venue) for s in found] == [
        (endpoint, symbol, "http://venue.invalid", "binance")
        for symbol in ("BTCUSDT", "ETHUSDT")
        for endpoint in ("aggTrades", "klines")
    ]


def test_single_trades_with_a_key(past: Past, tmp_path: Path) -> None:
    """With a key, historicalTrades gives every trade, each once, in both days."""
    report = fetched(past.fetch(tmp_path, Scripted(past, Time()), channels=("trade",), key="k"))
    for symbol, trades in past.trades.items():
        ids = [row[0] for row in trades_of(report.files, symbol)]
        assert ids == [t["t"] for t in trades if past.begin <= t["T"] * 1_000 < past.end]


def test_single_trades_without_a_key_become_aggregates(past: Past, tmp_path: Path) -> None:
    """Without a key aggregate trades are fetched, the log says so, and each row is flagged."""
    fetch = past.fetch(tmp_path, Scripted(past, Time()), channels=("trade",))
    assert fetch.request.channels == ("aggtrade",)
    report = fetched(fetch)
    assert summarise(Path(report.files[0])).instruments[0].channels == ("aggtrade",)


def test_bars_alone_are_one_log(past: Past, tmp_path: Path) -> None:
    """Bars of two days stand in one log, each whole bar in the time asked for once."""
    report = fetched(past.fetch(tmp_path, Scripted(past, Time()), channels=("bar",)))
    assert [Path(file).name for file in report.files] == ["2024-06-01.arrow"]
    with LogReader(Path(report.files[0])) as reader:
        batch = next(reader.batches())
        starts = batch.ts_venue[(batch.part == 4) & (batch.instrument == 1)].tolist()
    assert starts == [past.begin + i * MINUTE for i in range(4)]


def test_finished_means_nothing_is_asked(past: Past, tmp_path: Path) -> None:
    """Started again, a finished fetch says so, asks nobody, and changes no file."""
    report = fetched(past.fetch(tmp_path, Scripted(past, Time())))
    before = {path: path.stat().st_mtime_ns for path in Path(report.folder).iterdir()}
    transport = Scripted(past, Time())
    again = fetched(past.fetch(tmp_path, transport))
    assert (again.finished_before, again.requests, transport.paths) == (True, 0, [])
    assert {path: path.stat().st_mtime_ns for path in Path(report.folder).iterdir()} == before
    assert (again.files, again.rows) == (report.files, report.rows)


def without(ids: set[int]) -> Any:
    """A venue that has forgotten some aggregate trades."""

    def spoil(path: str, answer: Answer) -> Answer:
        if "/aggTrades" not in path:
            return answer
        return replaced(answer, [a for a in json.loads(answer.body) if a["a"] not in ids])

    return spoil


def test_ids_that_are_missing_are_gap_rows(past: Past, tmp_path: Path) -> None:
    """What the venue has not is said with first and last id; everything else is there."""
    known = [a["a"] for a in past.aggregates("BTCUSDT", past.begin, past.end)]
    lost = set(known[100:120]) | {known[450]}
    transport = Scripted(past, Time(), spoil=without(lost))
    report = fetched(past.fetch(tmp_path, transport, symbols=("BTCUSDT",)))
    gaps = [(g.first, g.last) for file in report.files for g in summarise(Path(file)).gaps]
    assert gaps == [(known[100], known[119]), (known[450], known[450])]
    assert report.holes == 2
    assert [row[0] for row in trades_of(report.files, "BTCUSDT")] == [i for i in known if i not in lost]
    assert all(check(Path(file)).ok for file in report.files)


def test_a_hole_around_midnight_is_said_once(past: Past, tmp_path: Path) -> None:
    """Ids missing on both sides of the cut between two logs are one hole, in the first of them."""
    before = [a["a"] for a in past.aggregates("BTCUSDT", past.begin, MIDNIGHT)]
    lost = set(range(before[-1] - 4, before[-1] + 6))
    transport = Scripted(past, Time(), spoil=without(lost))
    report = fetched(past.fetch(tmp_path, transport, symbols=("BTCUSDT",)))
    gaps = [[(g.first, g.last) for g in summarise(Path(file)).gaps] for file in report.files]
    assert gaps == [[(min(lost), max(lost))], []]


def test_short_pages_lose_nothing(past: Past, tmp_path: Path) -> None:
    """A venue that gives fewer than it was asked for is asked on, and no hole is invented."""

    def shorten(path: str, answer: Answer) -> Answer:
        if "/aggTrades" not in path:
            return answer
        items = json.loads(answer.body)
        return replaced(answer, items[: 1 + len(items) // 3])

    whole = fetched(past.fetch(tmp_path / "whole", Scripted(past, Time())))
    short = fetched(past.fetch(tmp_path / "short", Scripted(past, Time(), spoil=shorten)))
    assert short.requests > whole.requests
    assert [check(Path(f)).chain for f in short.files] == [check(Path(f)).chain for f in whole.files]


def test_limits_are_kept(past: Past, tmp_path: Path) -> None:
    """With a small weight limit the fetch waits for the venue's minutes and is never refused."""
    poor = Past()
    poor.weight_limit = 60
    time = Time()
    transport = Scripted(poor, time)
    fetch = poor.fetch(tmp_path, transport)
    report = fetched(fetch)
    assert report.retries == 0
    assert len(time.waits) > 0
    assert report.facts == sum(len(past.aggregates(s, past.begin, past.end)) for s in past.trades)


def test_bans_in_between_change_nothing(past: Past, tmp_path: Path) -> None:
    """429 with Retry-After on every third request: the same logs, later."""
    count = 0

    def refuse(_path: str, answer: Answer) -> Answer:
        nonlocal count
        count += 1
        return Answer(429, {"retry-after": "2"}, b"{}") if count % 3 == 0 else answer

    time = Time()
    whole = fetched(past.fetch(tmp_path / "whole", Scripted(past, Time())))
    late = fetched(past.fetch(tmp_path / "late", Scripted(past, time, spoil=refuse)))
    assert [check(Path(f)).chain for f in late.files] == [check(Path(f)).chain for f in whole.files]
    assert set(time.waits) == {2.0}


def test_finer_decimals_widen_the_definition(past: Past, tmp_path: Path) -> None:
    """A price finer than today's increment is kept exactly, in a definition with more decimals."""
    special = past.aggregates("BTCUSDT", past.begin, MIDNIGHT)[50]["a"]

    def refine(path: str, answer: Answer) -> Answer:
        if "/aggTrades" not in path:
            return answer
        items = json.loads(answer.body)
        return replaced(answer, [{**a, "p": "67000.01234000"} if a["a"] == special else a for a in items])

    transport = Scripted(past, Time(), spoil=refine)
    report = fetched(past.fetch(tmp_path, transport, symbols=("BTCUSDT",)))
    prices = {row[0]: row[2] for row in trades_of(report.files, "BTCUSDT")}
    assert prices[special] == "67000.01234"
    assert all(check(Path(file)).ok for file in report.files)


def test_a_price_that_no_log_can_hold(past: Past, tmp_path: Path) -> None:
    """A price beyond 64 bits is an error that names instrument and text, not a wrong number."""

    def inflate(path: str, answer: Answer) -> Answer:
        if "/aggTrades" not in path:
            return answer
        return replaced(answer, [{**a, "p": "9999999999999999999.00"} for a in json.loads(answer.body)])

    transport = Scripted(past, Time(), spoil=inflate)
    with pytest.raises(
        InputError, match=r'BTCUSDT\.binance: "9999999999999999999\.00" .* does not fit 64 bits'
    ):
        fetched(past.fetch(tmp_path, transport))


@pytest.mark.parametrize("finished", [False, True])
def test_pages_that_this_version_does_not_understand(past: Past, tmp_path: Path, finished: bool) -> None:  # noqa: FBT001
    """Unfinished, they are asked for anew; finished, the error says what to delete."""
    fetch = past.fetch(tmp_path, Scripted(past, Time()), symbols=("BTCUSDT",))
    folder = fetch.folder / PARTS / "2024-06-01"
    pages = PageFile(folder, "aggtrade-BTCUSDT")
    stream = fetch.venue.stream(fetch.request, "BTCUSDT", "aggtrade", spans(fetch.request)[0], "")
    writer = pages.begin()
    writer.add(stream.next() or "", b'{"of":"another version"}')
    writer.close()
    if finished:
        pages.finish()
        with pytest.raises(EngineError, match="2024-06-01: ") as refused:
            fetched(fetch)
        assert "delete that folder" in refused.value.hint
        shutil.rmtree(folder)
    report = fetched(past.fetch(tmp_path, Scripted(past, Time()), symbols=("BTCUSDT",)))
    assert trades_of(report.files, "BTCUSDT") == expected(past, "BTCUSDT", past.begin, past.end)


def test_a_local_venue_is_fetched_from_and_served_again(tmp_path: Path) -> None:
    """`engine serve`'s own venue has a past that can be fetched, and what was fetched can be served."""
    now = time.time_ns() // SECOND_NS * SECOND_NS
    begin, end = now - 180 * SECOND_NS, now - 30 * SECOND_NS

    async def run() -> tuple[Report, list[int]]:
        async with LocalVenue(SyntheticMarket(7, ["BTCUSDT"]), past_s=240.0) as venue:
            known = [a["a"] for a in venue.market.aggregates("BTCUSDT") if begin <= a["T"] * 1_000 < end]
            own = BinanceHistory("binance")
            request = Request("binance", ("BTCUSDT",), ("aggtrade",), begin, end, "", venue.http_url)
            http = Http(request.base, own.headers)
            client = Client(http, request.base, weight_of=own.weight)
            report = await Fetch(request, own, tmp_path, client).run()
            await http.close()
        return report, known

    report, known = asyncio.run(run())
    assert [row[0] for row in trades_of(report.files, "BTCUSDT")] == known
    assert len(known) > 100
    events = [event for file in report.files for event in RecordingSource(Path(file)).events()]
    assert [e.payload["a"] for e in events if e.stream == "btcusdt@aggTrade"] == known


def test_unknown_symbols_are_named(past: Past, tmp_path: Path) -> None:
    """A symbol that does not exist is an error that names it and no other; no log is left."""
    fetch = past.fetch(tmp_path, Scripted(past, Time()), symbols=("BTCUSDT", "NOSUCH"))
    with pytest.raises(UsageError, match=r"binance has no symbol NOSUCH\n"):
        fetched(fetch)
    assert list(tmp_path.iterdir()) == []


def test_a_venue_that_gives_nonsense_ends_with_an_error(past: Past, tmp_path: Path) -> None:
    """An answer that stays malformed is an error; what came before is kept for the next time."""
    count = 0

    def spoil(path: str, answer: Answer) -> Answer:
        nonlocal count
        count += "fromId" in path
        return replaced(answer, [{"a": "x"}]) if count > 2 else answer

    with pytest.raises(VenueError, match="no such page"):
        fetched(past.fetch(tmp_path, Scripted(past, Time(), spoil=spoil)))
    whole, rest = Scripted(past, Time()), Scripted(past, Time())
    fetched(past.fetch(tmp_path / "other", whole))
    report = fetched(past.fetch(tmp_path, rest))
    assert len(rest.paths) < len(whole.paths)
    assert trades_of(report.files, "BTCUSDT") == expected(past, "BTCUSDT", past.begin, past.end)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"begin": MIDNIGHT, "end": MIDNIGHT}, "is not before --to"),
        ({"begin": MIDNIGHT + MINUTE, "end": MIDNIGHT}, "is not before --to"),
        ({"end": (NOW_S + 60) * SECOND_NS}, "is in the future"),
    ],
)
def test_times_that_cannot_be(past: Past, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    """An end before the beginning, or in the future, is refused before anybody is asked."""
    transport = Scripted(past, Time())
    with pytest.raises(UsageError, match=words):
        fetched(past.fetch(tmp_path, transport, **changes))
    assert transport.paths == []


def test_the_venues_clock_decides_what_is_future(past: Past, tmp_path: Path) -> None:
    """Where our clock is ahead, an end that the venue has not reached is refused."""
    ahead = Time()
    transport = Scripted(past, Time())
    fetch = past.fetch(tmp_path, transport, begin=MIDNIGHT, end=(NOW_S + 100) * SECOND_NS)
    ahead.now_s = NOW_S + 3_600
    fetch.client.clock = ahead.clock()
    with pytest.raises(UsageError, match="is in the future"):
        fetched(fetch)


def test_a_folder_of_another_fetch_is_left_alone(past: Past, tmp_path: Path) -> None:
    """The same folder for another address is an error that says in what they differ."""
    fetched(past.fetch(tmp_path, Scripted(past, Time())))
    with pytest.raises(UsageError, match=r"--url was http://venue\.invalid, and is http://other\.invalid"):
        fetched(past.fetch(tmp_path, Scripted(past, Time()), base="http://other.invalid"))


def test_two_at_a_time_are_refused(past: Past, tmp_path: Path) -> None:
    """While one process fetches, another one of the same is told so."""
    refused: list[EngineError] = []

    def other(_path: str, answer: Answer) -> Answer:
        if not refused:
            second = past.fetch(tmp_path, Scripted(past, Time()))
            coroutine = second.run()
            try:
                coroutine.send(None)
            except EngineError as error:
                refused.append(error)
        return answer

    fetched(past.fetch(tmp_path, Scripted(past, Time(), spoil=other)))
    assert "another process is fetching this" in refused[0].message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2024-06-02", MIDNIGHT // SECOND_NS),
        ("2024-06-02T00:00:01Z", MIDNIGHT // SECOND_NS + 1),
        ("2024-06-02T00:00:01", MIDNIGHT // SECOND_NS + 1),
        ("2024-06-02T02:00:00+02:00", MIDNIGHT // SECOND_NS),
    ],
)
def test_times_of_options(text: str, seconds: int) -> None:
    """Days and times; without a zone they are UTC."""
    assert time_of(text, "--from") == seconds * SECOND_NS


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2024-13-01", "2024-06-01T00:00:00.0001Z", "1960-01-01", "9999-01-01"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """Anything else is an error that names the option."""
    with pytest.raises(UsageError, match="--from"):
        time_of(text, "--from")


def test_spans_and_names() -> None:
    """A request is cut at midnights; its folder is named by what is in it."""
    request = Request(
        "binance",
        ("A", "B", "C", "D"),
        ("aggtrade", "bar"),
        MIDNIGHT - 1_000_000,
        MIDNIGHT + MINUTE,
        "1m",
        "",
    )
    assert [(s.stem, s.end - s.begin, s.last) for s in spans(request)] == [
        ("2024-06-01", 1_000_000, False),
        ("2024-06-02", MINUTE, True),
    ]
    name = "binance-A-B-C-and-1-more-aggtrade-bar-1m-2024-06-01T235959.999Z-2024-06-02T000100Z"
    assert folder_name(request) == name


def test_the_command_and_a_backtest_over_what_it_fetched(past: Past, tmp_path: Path) -> None:
    """`engine fetch` over HTTP, then `engine backtest` over its logs: trades reach the strategy."""
    warm()

    async def run() -> Any:
        arguments = ["fetch", "--symbols", "btcusdt,ETHUSDT", "--from", "2024-06-01T23:58:00Z"]
        arguments += ["--to", "2024-06-02T00:02:00Z", "--channels", "aggtrade,bar", "--json"]
        async with past.serving() as url:
            return await asyncio.to_thread(call, *arguments, "--url", url, cwd=tmp_path)

    report = asyncio.run(run()).ok().json
    assert report["facts"] == sum(len(past.aggregates(s, past.begin, past.end)) for s in past.trades) + 8
    done = call(
        "backtest", *report["files"], "--set", "fast=5", "--set", "slow=20", "--json", cwd=tmp_path
    ).ok()
    assert done.json["fills"] > 0


def test_errors_of_the_command(tmp_path: Path) -> None:
    """Wrong channels, symbols, intervals and addresses are refused with the option's name, exit code 2."""
    good = {"--symbols": "BTCUSDT", "--from": "2024-06-01", "--to": "2024-06-02"}
    for changes, words in (
        ({"--channels": "book"}, 'no history of "book"'),
        ({"--symbols": " , "}, "no symbol given"),
        ({"--channels": "bar", "--interval": "7m"}, '--interval "7m"'),
        ({"--url": "nonsense"}, "--url is not an address"),
        ({"--from": "2024-06-02"}, "--from 2024-06-02 is not before --to 2024-06-02"),
        ({"--to": "2199-01-01"}, "is in the future"),
        ({"--feed-latency": "fast"}, "--feed-latency"),
    ):
        arguments = [word for pair in {**good, **changes}.items() for word in pair]
        done = call("fetch", *arguments, cwd=tmp_path)
        assert (done.code, words in done.err) == (2, True), done
    assert list(tmp_path.rglob("*.arrow")) == []
