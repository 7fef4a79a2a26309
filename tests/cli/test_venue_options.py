"""`engine backtest`: whose rules, whose clock, and one input under two queue models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.model.kinds import ASK, BID, Flag, Kind
from engine.profiles import load_profile, profile_names
from tests.helpers.command import call, run_folders
from tests.helpers.logs import BTC, ETH, Message, Row, at, book, definitions, make_log, trade
from tests.strategy.write import write_strategy

SELL = -1
# Ours goes to the back of 10 units at 100; then 10 more queue up, 10 leave, and 9.5 are sold there.
QUEUE = [
    book(1, (BID, 10_000, 1_000_000), (ASK, 10_010, 1_000_000), snapshot=True, id=1),
    book(2, (BID, 10_000, 2_000_000), id=2),
    book(3, (BID, 10_000, 1_000_000), id=3),
    trade(4, 10_000, 950_000, side=SELL, id=4),
    trade(5, 10_005, 1, id=5),
]
ONCE = f"""
import engine

class Mine(engine.Strategy):
    def on_book(self, ctx, update):
        if ctx.now < {at(1.5)}:
            ctx.limit(update.instrument, 9.0, 100.0)
"""


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    """A folder with a log in which queue models differ, and a strategy that rests one order in it."""
    make_log(tmp_path / "queue.arrow", QUEUE, sealed=True)
    (tmp_path / "mine.py").write_text(ONCE)
    return tmp_path


def run(cwd: Path, *options: str, log: str = "queue.arrow") -> dict[str, Any]:
    """One backtest of the folder's strategy, at zero latency."""
    done = call("backtest", log, "--strategy", "mine.py", "--latency", "0", "--json", *options, cwd=cwd)
    result: dict[str, Any] = done.ok().json
    return result


def test_the_summary_names_profile_queue_and_clock(queue: Path) -> None:
    """In the object and in the table, as they were asked, or by default."""
    plain = run(queue)
    assert (plain["profile"], plain["queue"], plain["clock"]) == ("default", "risk_averse", "received")
    asked = run(queue, "--profile", "optimistic", "--queue", "log", "--clock", "venue")
    assert (asked["profile"], asked["queue"], asked["clock"]) == ("optimistic", "log", "venue")
    text = call("backtest", "queue.arrow", "--strategy", "mine.py", "--queue", "power:2", cwd=queue).ok().out
    assert "profile default, queue power:2, clock received" in text


@pytest.mark.parametrize(
    ("model", "filled"),
    # Before us 10 of 20, and 10 leave: (1 − p) × 10 of them from before us. Then 9.5 are sold.
    [
        ("risk_averse", 0.0),  # 10 stay
        ("power:1", 4.5),  # p = 1/2: 5 stay
        ("power2:3", 8.25),  # p = 1/8: 1.25 stay
        ("power3:3", 0.75),  # p = 7/8: 8.75 stay
        ("log", 4.5),  # p = 1/2
        ("log2", 1.6239),  # p = ln 11 / ln 21 = 0.78761, 7.8761 stay
    ],
)
def test_a_queue_model_decides_what_a_trade_leaves_for_us(model: str, filled: float, queue: Path) -> None:
    """The same rows; what stood before us is a matter of belief."""
    result = run(queue, "--queue", model)
    assert sum(result["position"].values()) == pytest.approx(filled, abs=1e-9)


def test_an_interval_is_two_runs_side_by_side(queue: Path) -> None:
    """Each with a folder of its own, and decided as a run under that model is."""
    alone = {name: run(queue, "--queue", name) for name in ("risk_averse", "power3:3")}
    both = run(queue, "--interval")
    assert list(both["interval"]) == ["risk_averse", "power3"]
    for headline in both["interval"].values():
        single = alone[headline["queue"]]
        for field in ("journal_hash", "pnl", "fills", "orders", "fees", "return_percent", "position"):
            assert headline[field] == single[field]
        kept = msgspec.json.decode((queue / headline["run_dir"] / "summary.json").read_bytes())
        assert kept["queue"] == headline["queue"]
        assert "interval" not in kept
        assert call("verify", headline["run_dir"], cwd=queue).code == 0
    assert [headline["fills"] for headline in both["interval"].values()] == [0, 1]
    assert (both["queue"], both["fills"]) == ("risk_averse", 0)
    assert len(run_folders(queue)) == 4


def test_an_interval_is_shown_as_such(queue: Path) -> None:
    """The first line has both ends; a line for each figure has a column for each model."""
    options = ("--strategy", "mine.py", "--latency", "0", "--interval")
    lines = call("backtest", "queue.arrow", *options, cwd=queue).ok().out.splitlines()
    # 0.75 bought at 100, marked at mid 100.05, for 10 basis points of 75
    assert lines[0] == "mine over queue.arrow: P&L -0.04 to +0.00 USDT"
    assert ["fills", "0", "1"] in [line.split() for line in lines]
    assert [line.split()[0] for line in lines[2:4]] == ["P&L", "return"]


def stamped(offset_s: float) -> list[Message]:
    """Fifty trades, one a second, whose stamps lie so far after their receipt."""
    messages = []
    for n in range(1, 51):
        message = trade(n, id=n)
        (row,) = message.rows
        messages.append(replace(message, rows=(replace(row, ts_venue=at(n + offset_s)),)))
    return messages


@pytest.mark.parametrize(
    ("offset_s", "field", "words", "cure"),
    [
        (
            0.015,
            "stamps_ahead",
            "50 rows are stamped after their receipt",
            ("--venue-shift", "binance=-20ms"),
        ),
        (
            -12.0,
            "stamps_behind",
            "50 rows are stamped more than the look-ahead of 10 s",
            ("--lookahead", "30s"),
        ),
        (-12.0, "stamps_behind", "more than the look-ahead", ("--venue-shift", "binance=+5s")),
    ],
)
def test_stamps_that_are_not_believed_are_counted_with_their_cure(
    offset_s: float, field: str, words: str, cure: tuple[str, str], tmp_path: Path
) -> None:
    """The warning names an option; with it there is none, nor is there under the clock `received`."""
    make_log(tmp_path / "a.arrow", stamped(offset_s))
    write_strategy(tmp_path, "pass")
    counted = run(tmp_path, "--clock", "venue", log="a.arrow")
    assert counted[field] == 50
    (warning,) = [line for line in counted["warnings"] if "stamped" in line]
    assert words in warning
    assert cure[0] in warning
    for options in (("--clock", "venue", *cure), ()):
        clean = run(tmp_path, *options, log="a.arrow")
        assert (clean["stamps_ahead"], clean["stamps_behind"]) == (0, 0)
        assert not [line for line in clean["warnings"] if "stamped" in line]


# -- profiles


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_says_what_it_stands_for(name: str) -> None:
    """It can be read, and has a note."""
    profile = load_profile(name)
    assert profile.name == name
    assert profile.note.endswith(".")


def test_a_profile_of_ones_own_says_what_differs(queue: Path) -> None:
    """What it leaves out is as in `default`; the run keeps what it said, not where it lay."""
    (queue / "mine.toml").write_text(
        'note = "Mine."\n[fees]\nmaker_bp = "-1"\n[rules]\nqueue = "power3"\nqueue_power = 2\n'
    )
    result = run(queue, "--profile", "mine.toml", "--taker-fee-bp", "7")
    assert (result["profile"], result["queue"]) == ("mine", "power3:2")
    # p = 3/4: 7.5 stay, 2 of 9.5 are ours; a rebate of a basis point of 200
    assert result["fees"] == pytest.approx(-0.02)
    config = msgspec.json.decode((queue / result["run_dir"] / "run.json").read_bytes())["config"]
    assert (config["fees"]["maker"], config["fees"]["taker"]) == (-100_000, 700_000)
    assert config["rules"]["consume"] is True


BROKEN = {
    "no note": ("[fees]\n", "note"),
    "a field that is none": ('note = "x"\n[rules]\nqueues = "log"\n', "queues"),
    "a wrong type": ('note = "x"\n[rules]\nconsume = "yes"\n', "consume"),
    "a queue that is none": ('note = "x"\n[rules]\nqueue = "best"\n', 'queue "best"'),
    "a power beyond measure": ('note = "x"\n[rules]\nqueue_power = 99\n', "queue_power 99"),
    "a fee that is no number": ('note = "x"\n[fees]\ntaker_bp = "low"\n', "taker_bp"),
    "no TOML": ("note: x\n", "mine.toml"),
}


@pytest.mark.parametrize(("text", "words"), BROKEN.values(), ids=BROKEN)
def test_a_profile_that_cannot_be_read(text: str, words: str, queue: Path) -> None:
    """The file and the field are named, and nothing is run."""
    (queue / "mine.toml").write_text(text)
    done = call("backtest", "queue.arrow", "--strategy", "mine.py", "--profile", "mine.toml", cwd=queue)
    assert done.code == 2
    assert done.err.startswith("error: --profile mine.toml")
    assert words in done.err
    assert not run_folders(queue)


def by_order(seconds: float, *changes: tuple[int, int, int]) -> Message:
    """What is left of bids at 100: (id, price, size) each; the first message has an ask."""
    rows = [
        Row(Kind.BOOK, flags=Flag.BY_ORDER, instrument=1, side=BID, price=price, size=size, id=order)
        for order, price, size in changes
    ]
    return Message(at(seconds), tuple(rows))


def test_rows_by_order_leave_no_choice_of_a_queue_model(tmp_path: Path) -> None:
    """5 of 10 before us leave: of 9.5 sold 4.5 are ours, whatever --queue says; a stranger is counted.

    The summary says so, also of a log whose other instrument is by price.
    """
    (tmp_path / "mine.py").write_text(ONCE)
    ask = Row(Kind.BOOK, flags=Flag.BY_ORDER, instrument=1, side=ASK, price=10_010, size=1_000_000, id=9)
    first = by_order(1, (1, 10_000, 500_000), (2, 10_000, 500_000))
    messages = [
        Message(first.ts, (*first.rows, ask)),
        by_order(2, (3, 10_000, 1_000_000), (77, 10_000, 0)),
        by_order(3, (2, 10_000, 0)),
        trade(4, 10_000, 950_000, side=SELL, id=4),
        trade(5, 10_005, 1, id=5),
    ]
    ordered = msgspec.structs.replace(BTC, channels=("trade", "orders"))
    for name, more in (("one", ()), ("two", (ETH,))):
        everything = [*definitions((ordered, *more)), *messages]
        make_log(tmp_path / f"{name}.arrow", everything, sealed=True, with_definitions=False)
    for options in ((), ("--queue", "power2:3")):
        found = run(tmp_path, *options, log="one.arrow")
        assert found["queue"] == "fifo by order"
        assert found["position"] == {"BTCUSDT.binance": 4.5}
        assert any("1 rows end an order that the input has never shown" in w for w in found["warnings"])
    assert run(tmp_path, log="two.arrow")["queue"] == "risk_averse, fifo by order"
