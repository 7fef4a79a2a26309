"""The margin account: buying power, shorts, and what borrowing them costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.config import Account, Fees, Risk, RunConfig
from engine.model.errors import UsageError
from engine.model.kinds import CorporateData, Kind, SessionData, encode_canonical
from engine.model.units import SECOND_NS
from engine.report.summary import summarise, table
from tests.helpers.logs import Message, Row, at
from tests.reference import money
from tests.reference.drive import Outcome, run_engine
from tests.reference.markets import BOOKED, QUOTED, TRADED, RandomMarket
from tests.reference.scenario import Script, book, clock, settings, whole
from tests.reference.traders import RandomTrader

DAY = 86_400
SHARE = whole("trade", "book", base="SHR")
OTHER = whole("trade", "book", key="ZZ.binance", symbol="ZZ", base="ZZ")
BOOK = book(0, bids={100: 9_000}, asks={100: 9_000}, flags=0)
MARKET = [book(0, bids={99: 9_000}, asks={101: 9_000})]  # mid 100
BORROWED = 72_000_000  # 7.2 % a year: 0.02 % a day of 360


def margin(capital: str = "1000", leverage: int = 2_000_000, rate: int = 0) -> Account:
    """A margin account."""
    return Account("margin", capital, "", leverage, rate)


def session(seconds: float, day: str, opens: float, closes: float, venue: str = "") -> Message:
    """A SESSION row; times in seconds from the scenario's beginning."""
    data = SessionData("XNYS", day, at(opens), at(closes), venue, "1")
    return Message(at(seconds), (Row(Kind.SESSION, data=encode_canonical(data)),))


def played(
    messages: list[Message], deeds: Any, account: Account, *instruments: Any, **more: Any
) -> tuple[list[str], Outcome, Script]:
    """Kinds of what was decided of orders' lives, the outcome, and the script that heard of it."""
    script = Script(deeds)
    outcome = run_engine(messages, script, settings(account=account, **more), instruments or (SHARE,))
    kinds = [d.kind for d in outcome.journal if d.kind in ("fill", "refused", "charge")]
    return kinds, outcome, script


def charges(outcome: Outcome) -> list[tuple[float, str, int, int]]:
    """Seconds, reason, signed units and amount taken of each charge."""
    return [
        ((d.ts - at(0)) / SECOND_NS, d.reason, d.side * d.size, d.fee)
        for d in outcome.journal
        if d.kind in ("charge", "adjustment")
    ]


# --- buying power ---


@pytest.mark.parametrize(
    ("leverage", "size", "decided"),
    [
        (2_000_000, 20, "fill"),  # 20 * 100 = 2,000 = twice 1,000
        (2_000_000, 21, "refused"),
        (2_000_000, -20, "fill"),  # shorts count as much
        (2_000_000, -21, "refused"),
        (1_000_000, 10, "fill"),
        (1_000_000, 11, "refused"),
        (1_550_000, 15, "fill"),
        (1_550_000, 16, "refused"),
    ],
)
def test_an_order_must_lie_within_the_buying_power(leverage: int, size: int, decided: str) -> None:
    """Equity of 1,000 times the leverage, at the mid of 100."""
    deeds = {1: lambda ctx, it: ctx.market(it, size)}
    kinds, _, _ = played([*MARKET, clock(9)], deeds, margin(leverage=leverage))
    assert kinds == [decided]


def test_the_refusal_names_limit_value_and_order() -> None:
    """In words."""
    _, _, script = played([*MARKET, clock(9)], {1: lambda ctx, it: ctx.market(it, 21)}, margin())
    assert script.words[1] == (
        "buying_power: with buying 21 positions and open orders come to 2100 USD, "
        "the buying power is 2000 USD (2 times the equity)"
    )


def test_open_orders_count_until_they_end() -> None:
    """15 are bid for at 90: five more are possible, not six; after the cancel twenty are."""
    deeds = {
        1: lambda ctx, it: ctx.limit(it, 15, 90),
        2: lambda ctx, it: ctx.limit(it, 6, 90),
        3: lambda ctx, it: ctx.limit(it, 5, 90),
        4: lambda ctx, it: ctx.cancel_all(it),
        5: lambda ctx, it: ctx.limit(it, 20, 90),
    }
    _, outcome, _ = played([*MARKET, clock(9)], deeds, margin())
    assert [d.order for d in outcome.journal if d.kind == "refused"] == [2]


def test_of_buys_and_sells_the_worse_side_counts() -> None:
    """20 bid and 20 offered can never both be held: 20 are the most."""
    deeds = {
        1: lambda ctx, it: [ctx.limit(it, 20, 90), ctx.limit(it, -20, 110)],
        2: lambda ctx, it: ctx.limit(it, -1, 110),
    }
    _, outcome, _ = played([*MARKET, clock(9)], deeds, margin())
    assert [d.order for d in outcome.journal if d.kind == "refused"] == [3]


def test_an_amendment_counts_for_what_it_adds() -> None:
    """15 are bid for; twenty are possible, the fifteen among them, and twenty-one are not."""
    deeds = {
        1: lambda ctx, it: ctx.limit(it, 15, 90),
        2: lambda ctx, _: ctx.amend(1, size=21),
        3: lambda ctx, _: ctx.amend(1, size=20),
    }
    _, outcome, script = played([*MARKET, clock(9)], deeds, margin())
    told = [(d.kind, d.size) for d in outcome.journal if d.kind.startswith("amend")]
    assert told == [("amend_rejected", 21), ("amend", 20), ("amended", 20)]
    assert "positions and open orders come to 2100 USD" in next(iter(outcome.words.values()))
    assert script.heard


def test_all_instruments_share_one_buying_power() -> None:
    """12 of one at 100 leave room for 4 of another at 200."""
    market = [*MARKET, book(0.5, bids={199: 90}, asks={201: 90}, instrument=2)]
    deeds = {
        1: lambda ctx, it: ctx.limit(it, 12, 90),
        2: lambda ctx, _: ctx.limit(ctx.instruments[1], -5, 210),
        3: lambda ctx, _: ctx.limit(ctx.instruments[1], -4, 210),
    }
    _, outcome, _ = played([*market, clock(9)], deeds, margin(), SHARE, OTHER)
    assert [d.order for d in outcome.journal if d.kind == "refused"] == [2]


def test_losses_lower_the_buying_power_and_reducing_stays_possible() -> None:
    """20 bought at 101, marked at 60: the equity is 180. Nothing more can be bought, all can be sold."""
    fall = book(2, bids={99: 0, 59: 900}, asks={101: 0, 61: 900})
    deeds = {
        1: lambda ctx, it: ctx.market(it, 19),
        3: lambda ctx, it: ctx.market(it, 1),
        4: lambda ctx, it: ctx.market(it, -19),
    }
    kinds, outcome, _ = played([*MARKET, fall, clock(9)], deeds, margin())
    assert kinds == ["fill", "refused", "fill"]
    assert outcome.runner.memory.of_instrument(0, "position") == 0


def test_a_margin_account_is_kept_in_one_currency() -> None:
    """Nothing says what a euro is worth."""
    euros = whole("book", key="EE.binance", symbol="EE", quote="EUR")
    with pytest.raises(UsageError, match="kept in USD, and the log has instruments quoted in EUR"):
        played(MARKET, {}, margin(), SHARE, euros)


@pytest.mark.parametrize(
    ("account", "words"),
    [
        (Account("margin", leverage_millionths=999_999), "between 1 and 100"),
        (Account("margin", leverage_millionths=100_000_001), "between 1 and 100"),
        (Account("cash", borrow_rate=1), "counts on a margin account; the account is cash"),
        (Account("credit"), 'no account "credit"'),
    ],
)
def test_what_is_no_account_is_said(account: Account, words: str) -> None:
    """Before the run."""
    with pytest.raises(UsageError, match=words):
        played(MARKET, {}, account)


# --- borrow fees; the scenarios begin at midnight UTC ---


def test_the_scenarios_begin_at_midnight() -> None:
    """On a Saturday, 2024-06-01: what the tables below count from."""
    assert at(0) % (DAY * SECOND_NS) == 0


def test_without_sessions_each_midnight_costs_a_day() -> None:
    """10 short at 100: 1,000 * 7.2 % / 360 = 0.20 a night; from the second day on the price is 200."""
    rise = book(DAY + 10, bids={99: 0, 199: 900}, asks={101: 0, 201: 900})
    deeds = {1: lambda ctx, it: ctx.market(it, -10), 3 * DAY + 5: lambda ctx, it: ctx.market(it, 10)}
    _, outcome, _ = played([*MARKET, rise, clock(5 * DAY)], deeds, margin("9000", rate=BORROWED))
    assert charges(outcome) == [
        (DAY, "borrow_fee", -10, 20_000_000),
        (2 * DAY, "borrow_fee", -10, 40_000_000),
        (3 * DAY, "borrow_fee", -10, 40_000_000),
    ]
    summary = summarise(outcome.runner, seconds=1.0, strategy="x")
    assert summary.borrow_fees == 1.0
    assert summary.pnl == pytest.approx(990 - 2010 - 1.0)
    assert "charges      borrow fees -1.00 USD" in table(summary)
    assert "up to 2 times the equity, shorts borrowed at 7.2 % a year" in table(summary)
    assert summary.round_trips == 1


def test_a_night_lasts_until_the_next_sessions_day() -> None:
    """Monday, Tuesday, Friday: one night, three nights, and one where the next session is not known."""
    days = [("2024-06-03", 2), ("2024-06-04", 3), ("2024-06-07", 6)]
    known = [session(1 + n, day, d * DAY + 100, d * DAY + 200) for n, (day, d) in enumerate(days)]
    deeds = {10: lambda ctx, it: ctx.market(it, -10)}
    _, outcome, _ = played([*MARKET, *known, clock(9 * DAY)], deeds, margin("9000", rate=BORROWED))
    assert charges(outcome) == [
        (2 * DAY + 200, "borrow_fee", -10, 20_000_000),
        (3 * DAY + 200, "borrow_fee", -10, 60_000_000),
        (6 * DAY + 200, "borrow_fee", -10, 20_000_000),
    ]


def test_sessions_of_one_venue_leave_the_others_to_midnight() -> None:
    """The one has sessions, the other is charged at midnight."""
    other = whole("book", key="YY.kraken", symbol="YY", venue="kraken")
    market = [*MARKET, book(0.5, bids={99: 900}, asks={101: 900}, instrument=2)]
    known = session(1, "2024-06-01", 100, 50_000, "binance")
    deeds = {10: lambda ctx, _: [ctx.market(who, -10) for who in ctx.instruments]}
    account = margin("9000", rate=BORROWED)
    _, outcome, _ = played([*market, known, clock(DAY + 50)], deeds, account, SHARE, other)
    assert [(when, units) for when, _, units, _ in charges(outcome)] == [(50_000, -10), (DAY, -10)]
    assert [d.instrument for d in outcome.journal if d.kind == "charge"] == ["XY.binance", "YY.kraken"]


def test_a_session_that_is_told_twice_costs_once() -> None:
    """Each file of a run may hold the same calendar."""
    known = [session(1 + n, "2024-06-01", 100, 50_000) for n in range(2)]
    deeds = {10: lambda ctx, it: ctx.market(it, -10)}
    _, outcome, _ = played([*MARKET, *known, clock(DAY + 9)], deeds, margin("9000", rate=BORROWED))
    assert len(charges(outcome)) == 1


def test_long_positions_and_free_loans_cost_nothing() -> None:
    """No record at all."""
    for size, rate in ((10, BORROWED), (-10, 0)):
        deeds = {10: lambda ctx, it, size=size: ctx.market(it, size)}
        _, outcome, _ = played([*MARKET, clock(3 * DAY)], deeds, margin("9000", rate=rate))
        assert charges(outcome) == []


def test_a_timer_at_midnight_sees_the_fee_taken() -> None:
    """The charge stands before timers of its time."""
    seen = []
    deeds = {
        10: lambda ctx, it: ctx.market(it, -10),
        DAY: lambda ctx, _: seen.append(ctx.cash()),
    }
    played([*MARKET, clock(DAY + 9)], deeds, margin("9000", rate=BORROWED))
    assert seen == [9000 + 990 - 0.2]


# --- random runs ---


@pytest.mark.parametrize("clock_name", ["received", "venue"])
@pytest.mark.parametrize("seed", [71, 72], ids=lambda s: f"seed{s}")
def test_random_runs_add_up_whatever_the_batches(seed: int, clock_name: str) -> None:
    """Sessions end and dividends fall in the midst of it: cash is the journal's sum, whatever the batches."""
    config = RunConfig(
        account=Account("margin", "5", leverage_millionths=1_500_000, borrow_rate=900_000_000),
        fees=Fees(300_000, 700_000, per_fill="0.0001"),
        risk=Risk(collar_millionths=30_000),
        clock=clock_name,
    )
    instruments = (BOOKED, QUOTED, TRADED)
    messages = RandomMarket(seed, instruments).messages(400)
    for n in range(1, 9):
        ts = messages[45 * n].ts
        data = encode_canonical(SessionData("XNYS", f"2024-06-{n:02}", ts, ts + 10_000_000))
        messages.insert(45 * n, Message(ts - 1, (Row(Kind.SESSION, source=0, data=data),)))
        paid = encode_canonical(CorporateData("dividend", amount="0.777777777"))
        messages.insert(45 * n + 9, Message(messages[45 * n + 9].ts - 1, (dividend(n % 3 + 1, paid),)))
    outcomes = [
        run_engine(messages, RandomTrader(seed), config, instruments, batch_rows=rows)
        for rows in (1, 7, 65_536)
    ]
    assert len({outcome.hash for outcome in outcomes}) == 1
    runner, records = outcomes[0].runner, outcomes[0].records
    summarise(runner, seconds=1.0, strategy="x")  # an InternalError where books differ
    reasons = {d.reason for d in outcomes[0].journal}
    assert {"buying_power", "borrow_fee", "dividend"} <= reasons
    moved = sum(
        int(r["fee"]) + (int(r["side"]) * notional(r) if r["kind"] == 6 else 0)
        for r in records[np.isin(records["kind"], (6, 20, 21))]
    )
    assert int(runner.memory.assets[0]["cash"]) == 5 * 10**8 - moved
    if not runner.memory.get("venue_items"):  # else fills were on their way to us when the log ended
        assert int(runner.memory.assets[0]["venue_cash"]) == 5 * 10**8 - moved


def dividend(instrument: int, data: bytes) -> Row:
    """A CORPORATE row."""
    return Row(Kind.CORPORATE, instrument=instrument, data=data)


def notional(record: Any) -> int:
    """Of a fill, by Python's own integers."""
    decimals = int(record["price_decimals"]) + int(record["size_decimals"])
    return money.notional(int(record["price"]), int(record["size"]), decimals)
