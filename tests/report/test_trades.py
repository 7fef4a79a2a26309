"""Trades for a compliance file: every fill and question, exact, and harmless to a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from engine.answers.prompt_files import find_prompt
from engine.answers.requests import request_of
from engine.answers.source import Unanswered, keep_unanswered
from engine.answers.store import AnswerStore
from engine.answers.stored import StoredAnswer
from engine.execution.journal_kinds import JournalKind
from engine.log.journal import read_journal
from engine.model.kinds import BUY, AnswerData, Kind, NewsData, encode_canonical
from engine.report.trades import COLUMNS, trades_of
from engine.report.trades_text import csv_lines, harmless, trades_text
from tests.helpers.answers import answer_to, wire_of
from tests.helpers.command import call
from tests.helpers.logs import BTC, Message, Row, at, definitions, make_log, trade

STRATEGY = """
import engine

SENTIMENT = engine.prompt("sentiment")
CALM = SENTIMENT.answer(rationale="", sentiment=0.0, topic="other", risk=False)


class Mine(engine.Strategy):
    def on_start(self, ctx):
        self.tickets = []

    def on_news(self, ctx, news):
        words = {"symbol": "BTCUSDT", "headline": news.headline, "summary": news.summary}
        self.tickets.append(ctx.ask(SENTIMENT, ctx.instruments[0], default=CALM, **words))

    def on_answer(self, ctx, answer):
        if answer.value.sentiment > 0.5:
            ctx.market(answer.about, 0.00012)

    def on_trade(self, ctx, trade):
        if trade.id == 1:
            ctx.market(trade.instrument, -0.5)
        if trade.id == 2:
            with ctx.because(*self.tickets):
                ctx.market(trade.instrument, 1.25)
"""
HEADLINES = {
    "plain": 0.0,
    '=HYPERLINK("http://example.invalid","a, ""b""")': 0.9,
    "two\nlines": 0.2,
    "late": 0.1,
    "unanswered": None,
}
LATE_NS = 3_000_000_000


class Ran(NamedTuple):
    """A folder and a run in it."""

    cwd: Path
    run: str

    @property
    def folder(self) -> Path:
        """The run's."""
        return self.cwd / self.run

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The run's trades."""
        return list(trades_of(self.folder).rows())


def kept(headline: str, sentiment: float) -> StoredAnswer:
    """An answer of the store; one takes three seconds."""
    words: dict[str, object] = {"symbol": "BTCUSDT", "headline": headline, "summary": ""}
    request = request_of(find_prompt("sentiment").prompt, words)
    said = {"rationale": f"+because of {headline}", "sentiment": sentiment, "topic": "other", "risk": False}
    text = msgspec.json.encode(said).decode()
    latency = LATE_NS if headline == "late" else 50_000_000
    answer = answer_to(
        request, text, latency_ns=latency, request_id=f"req_{headline[:5]}", model="claude-haiku-5-5"
    )
    return StoredAnswer(answer, wire_of(text), at(0))


def market() -> list[Message]:
    """Trades with headlines between them, two in one message; published a second before."""
    head = list(HEADLINES)
    messages = [trade(n / 2, 6_000_000 + n, 200_000, side=BUY, id=100 + n) for n in range(1, 40)]
    for second, headlines in ((1.2, head[:2]), (2.2, head[2:3]), (6.2, head[3:])):
        rows = [
            Row(Kind.NEWS, at(second - 1), data=encode_canonical(NewsData(id=str(n), headline=text)))
            for n, text in enumerate(headlines)
        ]
        messages.append(Message(at(second), tuple(rows)))
    messages += [trade(0.7, id=1, size=200_000), trade(6.7, id=2, size=300_000)]
    return sorted(messages, key=lambda message: message.ts)


def write(path: Path) -> None:
    """The log: an instrument that is matched on its trades."""
    who = msgspec.structs.replace(BTC, channels=("trade",))
    make_log(path, [*definitions((who,)), *market()], sealed=True, with_definitions=False)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A sale on a trade, a purchase on an answer, and one because of five questions."""
    cwd = tmp_path_factory.mktemp("ran")
    write(cwd / "market.arrow")
    (cwd / "mine.py").write_text(STRATEGY)
    AnswerStore(cwd / "data" / "answers").add(
        [kept(headline, mood) for headline, mood in HEADLINES.items() if mood is not None]
    )
    asked = ("--strategy", "mine.py", "--answers", "default", "--json")
    done = call("backtest", "market.arrow", *asked, cwd=cwd).ok()
    assert done.json["fills"] >= 3
    return Ran(cwd, done.json["run_dir"])


def test_every_fill_has_its_row_and_every_question_its_own(ran: Ran) -> None:
    """One order without questions, one that an answer caused, one that names all five."""
    journal = read_journal(ran.folder / "journal.arrow").to_pylist()
    fills = [entry["number"] for entry in journal if entry["kind"] == JournalKind.FILL]
    rows = ran.rows
    assert sorted({row["decision"] for row in rows}) == fills
    assert trades_of(ran.folder).fills == len(fills)
    tickets = {order: [row["ticket"] for row in rows if row["order"] == order] for order in (1, 2, 3)}
    of_three = len({row["decision"] for row in rows if row["order"] == 3})
    assert tickets == {1: [""] * tickets[1].count(""), 2: [2], 3: [1, 2, 3, 4, 5] * of_three}
    assert all(list(row) == list(COLUMNS) for row in rows)


def test_a_row_leads_to_the_message_and_to_the_answer(ran: Ran) -> None:
    """Of the order that the answer to the second headline caused: every cell that can be known beforehand."""
    (row,) = [row for row in ran.rows if row["order"] == 2]
    expected = {
        "fill": 1,
        "instrument": "BTCUSDT.binance",
        "side": "buy",
        "size": "0.00012",
        "fee_asset": "USDT",
        "liquidity": "taker",
        "decided": "2024-06-01T00:00:01.250000000Z",  # the answer took 50 ms
        "trigger": "answer to question 2",
        "message_file": "market.arrow",
        "ticket": 2,
        "asked": "2024-06-01T00:00:01.200000000Z",
        "headline": list(HEADLINES)[1],
        "published": "2024-06-01T00:00:00.200000000Z",
        "received": "2024-06-01T00:00:01.200000000Z",
        "prompt": "sentiment",
        "prompt_version": 1,
        "model": "claude-haiku-5-5",
        "outcome": "answered",
        "rationale": f"+because of {list(HEADLINES)[1]}",
        "request_id": "req_=HYPE",
    }
    assert {name: row[name] for name in expected} == expected
    assert json.loads(row["answer"])["sentiment"] == 0.9
    assert len(row["key"]) == 64
    assert row["strategy"].endswith("mine.py")


def test_decimals_are_exact(ran: Ran) -> None:
    """Sizes, prices and fees are the journal's integers, to the last digit, as texts."""
    fills = {
        entry["number"]: entry
        for entry in read_journal(ran.folder / "journal.arrow").to_pylist()
        if entry["kind"] == JournalKind.FILL
    }
    for row in ran.rows:
        fill = fills[row["decision"]]
        assert Decimal(row["size"]) == Decimal(fill["size"]).scaleb(-fill["size_decimals"])
        assert Decimal(row["price"]) == Decimal(fill["price"]).scaleb(-fill["price_decimals"])
        assert Decimal(row["fee"]) == Decimal(fill["fee"]).scaleb(-8)


def test_what_came_after_the_decision_shaped_nothing(ran: Ran) -> None:
    """At 6.7 s a late answer has not come: its default was taken, as of a question without any answer."""
    of_three = {row["ticket"]: row for row in ran.rows if row["order"] == 3}
    assert [of_three[ticket]["outcome"] for ticket in range(1, 6)] == ["answered"] * 3 + ["deadline"] * 2
    for ticket in (4, 5):
        assert {of_three[ticket][name] for name in ("answer", "rationale", "request_id", "model")} == {""}


def test_two_headlines_of_one_message_are_told_apart(ran: Ran) -> None:
    """Each has the one that stands in its question; without an answer that is not known, and not guessed."""
    headlines = {row["ticket"]: row["headline"] for row in ran.rows if row["order"] == 3}
    assert [headlines[ticket] for ticket in (1, 2, 3)] == list(HEADLINES)[:3]
    assert [headlines[ticket] for ticket in (4, 5)] == ["late", ""]


def test_csv_says_the_same_and_obeys_nobody(ran: Ran) -> None:
    """Read back, it has every cell; what could be a formula has an apostrophe before it."""
    text = call("why", ran.run, "--trades", "--csv", "-", cwd=ran.cwd).ok().out
    back = list(csv.DictReader(io.StringIO(text)))
    assert list(back[0]) == list(COLUMNS)
    for row, cells in zip(ran.rows, back, strict=True):
        for name in COLUMNS:
            wanted = str(row[name])
            assert cells[name] in {wanted, f"'{wanted}"}
    formulas = [cells for cells in back if "HYPERLINK" in cells["headline"]]
    assert formulas
    for cells in formulas:
        assert cells["headline"].startswith("'=")
        assert cells["rationale"].startswith("'+")
    assert {cells["headline"] for cells in back} >= {"two\nlines"}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "\uff1d1"])
def test_a_formula_is_a_text(text: str) -> None:
    """Whatever a spreadsheet might begin to calculate."""
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "plain", "a=1", "'=1", '{"a":1}', "1-2", "x\t=1"])
def test_a_text_stays_a_text(text: str) -> None:
    """Nothing is changed that needs it not."""
    assert harmless(text) == text


def test_a_carriage_return_begins_no_row() -> None:
    """It stands in quotes: outside of them a spreadsheet would begin a row there, with a formula in it."""
    row = {**dict.fromkeys(COLUMNS, ""), "headline": 'up\r=1+1, "so"\n'}
    text = "".join(csv_lines([row]))
    assert '"up\r=1+1, ""so""\n"' in text
    (cells,) = csv.DictReader(io.StringIO(text, newline=""))
    assert cells["headline"] == row["headline"]


def test_a_rebate_is_a_number() -> None:
    """A fee below zero is the engine's own figure, not a formula."""
    row = {**dict.fromkeys(COLUMNS, ""), "fee": "-0.25", "headline": "-0.25"}
    (cells,) = csv.DictReader(io.StringIO("".join(csv_lines([row]))))
    assert (cells["fee"], cells["headline"]) == ("-0.25", "'-0.25")


def test_as_lines_others_words_stay_on_their_line(ran: Ran) -> None:
    """A fill is a line; what shaped it stands below, without breaks and without what a terminal obeys."""
    text = call("why", ran.run, "--trades", cwd=ran.cwd).ok().out
    lines = text.splitlines()
    fills = len({row["decision"] for row in ran.rows})
    assert [line[:4] == "    " for line in lines].count(False) == fills
    assert ' on "two lines": answered "+because of two lines"' in text
    row = {**ran.rows[-1], "ticket": 1, "headline": "a\x1b[31m\u202eb", "outcome": "answered"}
    assert "".join(trades_text([row])).isprintable()


def test_as_json_it_is_one_object(ran: Ran) -> None:
    """With the rows as they are."""
    found = call("why", ran.run, "--trades", "--json", cwd=ran.cwd).ok().json
    assert found["trades"] == ran.rows
    assert (found["run"], found["notes"]) == (ran.folder.name, [])


def test_a_file_is_new_and_whole(ran: Ran, tmp_path: Path) -> None:
    """It says how many fills it has; one that is there already is left, and nothing else stays behind."""
    target = tmp_path / "trades.csv"
    export = ("why", ran.run, "--trades", "--csv", target, "--json")
    done = call(*export, cwd=ran.cwd).ok()
    assert done.json["fills"] == trades_of(ran.folder).fills
    content = target.read_bytes()
    assert content.decode() == "".join(csv_lines(ran.rows))
    again = call(*export, cwd=ran.cwd)
    assert (again.code, "exists already" in again.err, target.read_bytes()) == (2, True, content)
    nowhere = call("why", ran.run, "--trades", "--csv", tmp_path / "none" / "a.csv", cwd=ran.cwd)
    assert "cannot be written: No such file" in nowhere.err
    assert [path.name for path in tmp_path.iterdir()] == ["trades.csv"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("1", "--trades"), "--trades is of the whole run"),
        (("--csv", "a.csv"), "only trades are written as CSV"),
        (("--trades", "--csv", "-", "--json"), "both print to stdout"),
    ],
)
def test_options_that_do_not_go_together(ran: Ran, options: tuple[str, ...], said: str) -> None:
    """Are an error that says which, and write nothing."""
    done = call("why", ran.run, *options, cwd=ran.cwd)
    assert (done.code, said in done.err, done.out) == (2, True, "")
    assert not (ran.cwd / "a.csv").exists()


def test_without_the_log_the_fills_remain(ran: Ran, tmp_path: Path) -> None:
    """What the journal and the run's answers know is told, the rest is empty, and a note says why."""
    log = ran.cwd / "market.arrow"
    log.rename(tmp_path / "away.arrow")
    try:
        done = call("why", ran.run, "--trades", "--csv", "-", cwd=ran.cwd).ok()
    finally:
        (tmp_path / "away.arrow").rename(log)
    assert "note: not all is known: " in done.err
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert len(rows) == len(ran.rows)
    assert {row["headline"] for row in rows} == {""}
    assert {row["fee_asset"] for row in rows} == {"quote"}
    assert {row["outcome"] for row in rows if row["order"] == "2"} == {"answered"}


ON_TIMER = """
import engine

SENTIMENT = engine.prompt("sentiment")
CALM = SENTIMENT.answer(rationale="", sentiment=0.0, topic="other", risk=False)


class Later(engine.Strategy):
    def on_start(self, ctx):
        self.tickets = []
        self.told = None
        ctx.every("300ms", "ask")

    def on_news(self, ctx, news):
        self.told = news.headline

    def on_timer(self, ctx, name):
        if self.told is not None and len(self.tickets) < 2:
            headline = ("two\\nlines", self.told)[len(self.tickets)]
            words = {"symbol": "BTCUSDT", "headline": headline, "summary": ""}
            self.tickets.append(ctx.ask(SENTIMENT, default=CALM, timeout="5ms", **words))

    def on_answer(self, ctx, answer):
        pass

    def on_trade(self, ctx, trade):
        if trade.id == 2:
            with ctx.because(*self.tickets):
                ctx.market(ctx.instruments[0], 0.25)
"""


def test_a_question_of_a_timer_has_only_the_headline_that_stands_in_it(tmp_path: Path) -> None:
    """The last message by then may be a headline that it has nothing to do with."""
    head = [Row(Kind.NEWS, at(1.25), data=encode_canonical(NewsData(id="1", headline="plain")))]
    messages = [*market()[:3], Message(at(1.25), tuple(head)), trade(3, id=2, size=300_000), trade(4)]
    who = msgspec.structs.replace(BTC, channels=("trade",))
    messages = [each for each in messages if each.ts != at(1.2)]
    log = tmp_path / "market.arrow"
    make_log(log, [*definitions((who,)), *messages], sealed=True, with_definitions=False)
    (tmp_path / "later.py").write_text(ON_TIMER)
    AnswerStore(tmp_path / "data" / "answers").add([kept("plain", 0.0), kept("two\nlines", 0.0)])
    run = call("backtest", log, "--strategy", "later.py", "--json", cwd=tmp_path).ok().json["run_dir"]
    rows = list(trades_of(tmp_path / run).rows())
    assert {(row["ticket"], row["headline"]) for row in rows} == {(1, ""), (2, "plain")}
    said = call("why", run, rows[0]["order"], cwd=tmp_path).ok().out
    assert "asked on timer" in said


def test_a_run_without_fills_has_a_header(tmp_path: Path) -> None:
    """And as lines it says so."""
    write(tmp_path / "market.arrow")
    quiet = (
        "import engine\nclass Quiet(engine.Strategy):\n    def on_trade(self, ctx, trade):\n        pass\n"
    )
    (tmp_path / "quiet.py").write_text(quiet)
    run = (
        call("backtest", "market.arrow", "--strategy", "quiet.py", "--json", cwd=tmp_path)
        .ok()
        .json["run_dir"]
    )
    assert call("why", run, "--trades", "--csv", "-", cwd=tmp_path).ok().out == ",".join(COLUMNS) + "\n"
    assert call("why", run, "--trades", cwd=tmp_path).ok().out == "no fills\n"


def test_an_answer_has_no_rationale_where_it_has_none() -> None:
    """A text that is no JSON, no object, or says no why, leaves the place empty."""
    from engine.report.trades import _rationale

    assert [_rationale(text) for text in ("", "no", "[1]", '{"a":1}', '{"rationale":5}')] == [""] * 5
    assert _rationale('{"a":1,"explanation":"so"}') == "so"
    assert AnswerData("k", "r", "refused").text == ""


def test_a_call_that_failed_is_told_as_such(ran: Ran, tmp_path: Path) -> None:
    """What a run that called was told instead lies beside its answers, by how often it had asked."""
    folder = tmp_path / "runs" / ran.folder.name
    shutil.copytree(ran.folder, folder)
    shutil.copy(ran.cwd / "market.arrow", tmp_path)
    words: dict[str, object] = {"symbol": "BTCUSDT", "headline": "unanswered", "summary": ""}
    request = request_of(find_prompt("sentiment").prompt, words)
    failed = answer_to(request, "", outcome="failed", error="529", request_id="", latency_ns=100_000_000)
    for time, data in ((2, msgspec.structs.replace(failed, outcome="budget")), (1, failed)):
        keep_unanswered(folder, Unanswered(time, data))
    told = {row["ticket"]: row for row in trades_of(folder).rows() if row["order"] == 3}
    assert [told[ticket]["outcome"] for ticket in (4, 5)] == ["deadline", "failed"]
    assert (told[5]["headline"], told[5]["answer"], told[5]["rationale"]) == ("unanswered", "", "")
