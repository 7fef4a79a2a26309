"""Splits and dividends in a run: position, cash, orders, prices, and what the strategy hears."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config import Account, Latency
from engine.model.errors import InputError
from engine.model.kinds import CorporateData, Flag, Kind, encode_canonical
from engine.model.units import MILLISECOND_NS, NULL_TIME, SECOND_NS
from engine.report.explain import decision_text
from engine.report.summary import summarise, table
from engine.strategy.api import Corporate
from tests.execution.test_by_order import orders
from tests.helpers.logs import Message, Row, at
from tests.reference.drive import Outcome, run_engine
from tests.reference.scenario import Script, book, clock, quote, settings, trades, whole

SHARE = whole("trade", "book", base="SHR")
QUOTED = whole("trade", "quote", base="SHR")
TRADED = whole("trade", base="SHR")
BY_ORDER = whole("trade", "orders", base="SHR")
HUNDREDTHS = whole("trade", base="SHR", size_decimals=2, size_increment="0.01")
BOOK = book(0, bids={99: 900}, asks={101: 900})


class Listener(Script):
    """Remembers corporate actions as well."""

    def __init__(self, deeds: Any) -> None:
        super().__init__(deeds)
        self.actions: list[Corporate] = []
        self.seen: list[Any] = []

    def on_corporate(self, ctx: Any, action: Corporate) -> None:
        """Remember it, and what the account looks like by then."""
        self.actions.append(action)
        self.seen.append((ctx.position(action.instrument), ctx.cash(), ctx.equity()))


def corporate(seconds: float, *, stamp: int | None = None, flags: int = 0, **fields: Any) -> Message:
    """A CORPORATE row; `stamp`: seconds at which it counts, its own time unless given."""
    data = encode_canonical(CorporateData(**fields))
    venue = NULL_TIME if stamp is None else at(stamp)
    return Message(at(seconds), (Row(Kind.CORPORATE, venue, 1, 0, flags, instrument=1, data=data),))


def split(seconds: float, numerator: int, denominator: int = 1, **more: Any) -> Message:
    """A split of numerator for denominator."""
    return corporate(seconds, action="split", numerator=numerator, denominator=denominator, **more)


def dividend(seconds: float, amount: str, **more: Any) -> Message:
    """A dividend of `amount` a unit."""
    return corporate(seconds, action="dividend", amount=amount, **more)


def played(
    messages: list[Message], deeds: Any, instrument: Any = SHARE, **more: Any
) -> tuple[Outcome, Listener]:
    """A run of the engine."""
    script = Listener(deeds)
    return run_engine([*messages, clock(900)], script, settings(**more), (instrument,)), script


def adjusted(outcome: Outcome) -> list[tuple[str, int, int]]:
    """Kind, signed size and amount taken, of what no order did."""
    return [(d.kind, d.side * d.size, d.fee) for d in outcome.journal if d.kind in ("charge", "adjustment")]


def account(outcome: Outcome) -> tuple[int, float]:
    """Position and cash, the same as reported and at the venue."""
    memory = outcome.runner.memory
    assert memory.of_instrument(0, "position") == memory.of_instrument(0, "venue_position")
    assert memory.assets[0]["cash"] == memory.assets[0]["venue_cash"]
    summarise(outcome.runner, seconds=1.0, strategy="x")  # an InternalError where the ledger differs
    return memory.of_instrument(0, "position"), int(memory.assets[0]["cash"]) / 10**8


# --- splits; bought or sold at 100, the last price is 100 ---


@pytest.mark.parametrize(
    ("held", "ratio", "position", "paid"),
    [
        (10, (4, 1), 40, 0),
        (-10, (4, 1), -40, 0),
        (10, (1, 2), 5, 0),
        (11, (1, 2), 5, 100),  # half a new share, worth 200: one old one
        (-11, (1, 2), -5, -100),  # who is short pays for it
        (10, (3, 2), 15, 0),
        (11, (3, 2), 16, 100 / 3),  # half a new one at 66.67: 33.33333333
        (1, (1, 10), 0, 100),  # nothing is left but money
        (7, (2, 3), 4, 100),  # 4 2/3: two thirds of a new share at 150
    ],
)
def test_a_split_multiplies_the_position_and_pays_out_what_fills_no_lot(
    held: int, ratio: tuple[int, int], position: int, paid: float
) -> None:
    """At the last price, exact to 1e-8."""
    market = [trades(0, (1, 100, 1)), split(2, *ratio)]
    deeds = {1: lambda ctx, it: ctx.market(it, held)}
    outcome, script = played(market, deeds, TRADED, slippage_ticks=0)
    now, cash = account(outcome)
    assert now == position
    assert cash == pytest.approx(100_000 - 100 * held + round(paid, 8), abs=1e-12)
    assert [(a.action, a.ratio, a.amount, a.position) for a in script.actions] == [
        ("split", ratio[0] / ratio[1], 0.0, position)
    ]


def test_a_lot_of_a_hundredth_keeps_hundredths() -> None:
    """1.01 split 1:3 are 0.33 and two thirds of a hundredth, which at 300 is 2.00."""
    market = [trades(0, (1, 100, 100)), split(2, 1, 3)]
    deeds = {1: lambda ctx, it: ctx.market(it, 1.01)}
    outcome, _ = played(market, deeds, HUNDREDTHS, slippage_ticks=0)
    assert account(outcome) == (33, 100_000 - 101 + 2)


def test_a_split_is_in_the_journal_and_in_words() -> None:
    """An adjustment of the position, with what was paid out."""
    market = [trades(0, (1, 100, 1)), split(2, 3, 2)]
    outcome, _ = played(market, {1: lambda ctx, it: ctx.market(it, 11)}, TRADED, slippage_ticks=0)
    assert adjusted(outcome) == [("adjustment", 5, -3_333_333_333)]
    record = outcome.records[outcome.records["kind"] == 21][0]
    fields = {name: int(record[name]) for name in record.dtype.names} | {"instrument": "XY.binance"}
    assert decision_text(fields) == (
        "#4  2024-06-01T00:00:02.000000000Z  adjustment  XY.binance  split  position changed by 5  "
        "given 33.33333333"
    )
    summary = summarise(outcome.runner, seconds=1.0, strategy="x")
    assert summary.split_payouts == 33.33333333
    assert "splits paid out +33.33 USD" in table(summary)


def test_the_equity_does_not_jump_at_a_split() -> None:
    """Until the next print the last price counts divided: 40 at 25 are 10 at 100; prices of rows stay raw."""
    market = [trades(0, (1, 100, 1)), split(5, 4), clock(8), trades(9, (1, 26, 1)), clock(12)]
    outcome, script = played(market, {1: lambda ctx, it: ctx.market(it, 10)}, TRADED, slippage_ticks=0)
    assert script.seen == [(40.0, 99_000.0, 100_000.0)]
    curve = outcome.runner.keeper.equity_curve()
    seconds = (curve["ts"] - at(0)) // SECOND_NS
    assert {float(e) for s, e in zip(seconds, curve["equity"], strict=True) if 2 <= s < 9} == {100_000.0}
    assert outcome.runner.memory.last_price(0) == 26


@pytest.mark.parametrize(
    ("instrument", "before", "after"),
    [
        (SHARE, BOOK, book(9, bids={24: 5}, asks={26: 5})),
        (QUOTED, quote(0, 99, 9, 101, 9), quote(9, 24, 5, 26, 5)),
    ],
    ids=["book", "quotes"],
)
def test_prices_of_before_are_forgotten(instrument: Any, before: Message, after: Message) -> None:
    """The book is empty after the split, so a market order finds nothing; then it holds new rows alone."""
    seen: list[Any] = []

    def look_and_buy(ctx: Any, it: Any) -> None:
        found = ctx.quote(it)
        seen.append(found.bid if found else None)
        ctx.market(it, 1)

    market = [before, trades(1, (1, 100, 1)), split(2, 4), after]
    outcome, _ = played(market, {4: look_and_buy, 10: look_and_buy}, instrument)
    assert seen == [None, 24.0]
    said = [(d.kind, d.reason, d.price) for d in outcome.journal if d.kind in ("rejected", "fill")]
    assert said == [("rejected", "empty_side", 0), ("fill", "taker", 26)]


def test_displayed_orders_of_before_are_forgotten_too() -> None:
    """By order: a row of one that was there with 5 and has 9 now displays 9, not the 4 that are more."""
    seen: list[Any] = []
    market = [
        orders(0, (11, 1, 99, 5), (12, 1, 98, 3), (21, -1, 101, 3), snapshot=True),
        trades(1, (1, 100, 1)),
        split(2, 2),
        orders(3, (11, 1, 99, 9)),
    ]
    outcome, _ = played(market, {4: lambda ctx, it: seen.append(ctx.book(it, 5))}, BY_ORDER)
    assert [(level[0], level[1]) for level in seen[0].bids] == [(99.0, 9.0)]
    assert not seen[0].asks
    assert outcome.runner.memory.order_tables.orders(0) == [(11, 1, 99, 9)]


def test_orders_end_with_the_action_that_changes_their_units() -> None:
    """At rest, on its way to the venue, and waiting under a bad book: cancelled; and none of them fills."""
    deeds = {
        1: lambda ctx, it: [ctx.limit(it, 4, 90), ctx.limit(it, -3, 120)],
        4.95: lambda ctx, it: ctx.market(it, 2),
    }
    market = [BOOK, split(5, 2), book(6, bids={44: 9}, asks={45: 9}), trades(7, (-1, 44, 50))]
    latency = Latency(0, 100 * MILLISECOND_NS, 30 * MILLISECOND_NS)
    outcome, script = played(market, deeds, latency=latency)
    ends = [(d.order, d.kind, d.reason, d.ts - at(5)) for d in outcome.journal if d.kind == "cancelled"]
    heard = 30 * MILLISECOND_NS
    assert ends == [(n, "cancelled", "corporate_action", heard) for n in (1, 2, 3)]
    assert not [d for d in outcome.journal if d.kind == "fill"]
    assert script.words[1] == "corporate_action"
    assert outcome.runner.context.live == 0


def test_stops_pairs_and_brackets_end_as_well() -> None:
    """A stop before its trigger, a pair that cancels each other, an entry with its children."""
    deeds = {
        1: lambda ctx, it: [
            ctx.market(it, 9),
            ctx.stop(it, -2, 80),
            ctx.oco(it, -3, 120, 70),
            ctx.bracket(it, 4, 90, 130, 60),
        ]
    }
    market = [BOOK, split(5, 2), book(6, bids={30: 9}, asks={31: 9}), trades(7, (-1, 30, 50))]
    outcome, _ = played(market, deeds)
    ends = [(d.order, d.reason) for d in outcome.journal if d.kind == "cancelled"]
    assert sorted(ends) == [(n, "corporate_action") for n in range(2, 8)]
    assert [d.order for d in outcome.journal if d.kind == "fill"] == [1]
    assert outcome.runner.context.live == 0
    assert account(outcome)[0] == 18


def test_a_dividend_leaves_orders_alone() -> None:
    """Only units that change end them."""
    market = [BOOK, dividend(5, "1"), trades(7, (-1, 89, 50))]
    outcome, _ = played(market, {1: lambda ctx, it: ctx.limit(it, 4, 90)})
    assert [(d.kind, d.size) for d in outcome.journal if d.kind in ("fill", "cancelled")] == [("fill", 4)]


def test_a_fill_that_is_not_heard_yet_is_split_as_well() -> None:
    """Filled at the venue at 1.0, split at 2.0, heard at 3.0: 40 in the end, and reported 30 in between."""
    seen: list[float] = []
    deeds = {1: lambda ctx, it: ctx.market(it, 10), 2.5: lambda ctx, it: seen.append(ctx.position(it))}
    market = [trades(0, (1, 100, 1)), split(2, 4)]
    latency = Latency(0, 0, 2 * SECOND_NS)
    outcome, _ = played(market, deeds, TRADED, latency=latency, slippage_ticks=0)
    assert seen == [30.0]
    assert account(outcome) == (40, 99_000.0)


def test_a_target_of_before_is_forgotten() -> None:
    """A wish for 10 does not sell what the split made of them."""
    market = [trades(0, (1, 100, 1)), split(2, 4), trades(3, (1, 25, 1)), trades(4, (1, 25, 1))]
    outcome, _ = played(market, {1: lambda ctx, it: ctx.target(it, 10)}, TRADED, slippage_ticks=0)
    assert account(outcome)[0] == 40
    again = {1: lambda ctx, it: ctx.target(it, 10), 3.5: lambda ctx, it: ctx.target(it, 10)}
    outcome, _ = played(market, again, TRADED, slippage_ticks=0)
    assert account(outcome)[0] == 10


# --- dividends ---


@pytest.mark.parametrize("kind", ["research", "cash", "margin"])
def test_who_holds_receives_a_dividend(kind: str) -> None:
    """10 at 0.24 are 2.40, whatever the account."""
    market = [trades(0, (1, 100, 1)), dividend(2, "0.24", currency="USD")]
    deeds = {1: lambda ctx, it: ctx.market(it, 10)}
    outcome, script = played(market, deeds, TRADED, slippage_ticks=0, account=Account(kind, "2000"))
    assert adjusted(outcome) == [("charge", 10, -240_000_000)]
    assert account(outcome) == (10, 1_002.4)
    assert [(a.action, a.ratio, a.amount) for a in script.actions] == [("dividend", 1.0, 0.24)]
    assert summarise(outcome.runner, seconds=1.0, strategy="x").dividends == 2.4


@pytest.mark.parametrize("kind", ["research", "margin"])
def test_who_is_short_pays_a_dividend(kind: str) -> None:
    """10 short at 0.24: 2.40 are taken, and the round trip's result has it."""
    market = [trades(0, (1, 100, 1)), dividend(2, "0.24")]
    deeds = {1: lambda ctx, it: ctx.market(it, -10), 3: lambda ctx, it: ctx.market(it, 10)}
    outcome, _ = played(market, deeds, TRADED, slippage_ticks=0, account=Account(kind, "2000"))
    assert adjusted(outcome) == [("charge", -10, 240_000_000)]
    assert account(outcome) == (0, 1_997.6)
    assert outcome.runner.ledger.holdings[0].trips_lost == 1


def test_a_dividend_is_rounded_once_half_to_even() -> None:
    """5 at a tenth of the smallest amount are half of it: nothing; 15 are one and a half: two."""
    for held, given in ((5, 0), (15, 2)):
        market = [trades(0, (1, 100, 1)), dividend(2, "0.000000001")]
        deeds = {1: lambda ctx, it, held=held: ctx.market(it, held)}
        outcome, _ = played(market, deeds, TRADED, slippage_ticks=0)
        assert [-fee for _, _, fee in adjusted(outcome)] == ([given] if given else [])


def test_without_a_position_the_strategy_hears_of_it_and_nothing_is_booked() -> None:
    """It may rescale its history all the same."""
    outcome, script = played([BOOK, dividend(2, "1"), split(3, 2)], {})
    assert adjusted(outcome) == []
    assert [a.action for a in script.actions] == ["dividend", "split"]


# --- when ---


def test_an_action_that_is_told_ahead_counts_at_its_own_time() -> None:
    """Told at 2, effective at 5: the position is split at 5."""
    seen: list[float] = []
    deeds = {
        1: lambda ctx, it: ctx.market(it, 10),
        4: lambda ctx, it: seen.append(ctx.position(it)),
        6: lambda ctx, it: seen.append(ctx.position(it)),
    }
    market = [trades(0, (1, 100, 1)), split(2, 4, stamp=5)]
    outcome, script = played(market, deeds, TRADED, slippage_ticks=0)
    assert seen == [10.0, 40.0]
    assert script.actions[0].ts == at(5)
    assert account(outcome)[0] == 40


def test_the_same_action_of_two_files_counts_once() -> None:
    """A row flagged as a duplicate counts not at all."""
    market = [trades(0, (1, 100, 1)), split(2, 4, stamp=2), split(3, 4, stamp=2)]
    market.append(split(4, 4, flags=int(Flag.DUPLICATE)))
    outcome, _ = played(market, {1: lambda ctx, it: ctx.market(it, 10)}, TRADED, slippage_ticks=0)
    assert account(outcome)[0] == 40


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"action": "merger"}, 'has the action "merger"'),
        ({"action": "split", "numerator": 0}, "splits 0:1"),
        ({"action": "dividend", "amount": "much"}, 'pays "much", which is no amount'),
        (
            {"action": "dividend", "amount": "1", "currency": "EUR"},
            "pays EUR, and XY.binance is quoted in USD",
        ),
    ],
)
def test_a_row_that_cannot_be_followed_is_named(fields: dict[str, Any], words: str) -> None:
    """By its place in the log."""
    with pytest.raises(InputError, match=f"row 4 of the run's log 1 {words}"):
        played([BOOK, corporate(2, **fields)], {})


@pytest.mark.parametrize("clock_name", ["received", "venue"])
def test_actions_do_not_depend_on_batches(clock_name: str) -> None:
    """One journal, cut into 1, 7 and all rows, by either clock."""
    market = [BOOK, *(trades(n / 10, (1 if n % 2 else -1, 100 + n % 3, 5)) for n in range(1, 20))]
    market += [split(2, 3, 2), dividend(2.5, "0.11"), book(3, bids={66: 90}, asks={67: 90}), split(4, 1, 7)]
    deeds = {
        1: lambda ctx, it: [ctx.market(it, 11), ctx.limit(it, 5, 90)],
        3.5: lambda ctx, it: ctx.market(it, 4),
    }
    config = settings(clock=clock_name, latency=Latency(0, 10 * MILLISECOND_NS, 10 * MILLISECOND_NS))
    hashes = {
        run_engine([*market, clock(900)], Listener(deeds), config, (SHARE,), batch_rows=rows).hash
        for rows in (1, 7, 65_536)
    }
    assert len(hashes) == 1
