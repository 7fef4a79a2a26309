"""The market maker: where it quotes, what it never does, and real depth that it is run over."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec
import pytest

from engine.config import Latency, RunConfig
from engine.ingest.capture import import_capture
from engine.model.kinds import ASK, BID, SELL, Kind, StatusData, encode_canonical
from engine.strategy.loader import load_strategy
from tests.helpers.logs import BTC, Message, Row, at, book, quote, trade
from tests.helpers.played import SAMPLE, Played, act, play

AT_ONCE = RunConfig(latency=Latency(0, 0, 0))
QUOTED = msgspec.structs.replace(BTC, channels=("trade", "quote"))
# Of BTCUSDT on 2024-08-08 and 09, from Binance. To update after a change of rules that is meant to change it:
# run the test and write the hash that it shows here.
REAL_HASH = "2514dd9f93f10b9081a2204c3b0860949269127ec7d3cb5f82a7463c2a7dce3d"

Order = tuple[str, int, int]  # submit or cancel, side, price in ticks (0 of a cancel)


def told(run: Played) -> list[Order]:
    """What the strategy asked for, in order."""
    return [(d.kind, d.side, d.price) for d in run.journal if d.kind in {"submit", "cancel"}]


def make(messages: Sequence[Message], **parameters: float) -> Played:
    """A run over quotes without latency, on the numbers of this file."""
    return act("market_maker", messages, AT_ONCE, parameters, (QUOTED,))


@cache
def sample() -> Played:
    """The sample with the defaults."""
    return play("market_maker", SAMPLE)


def test_it_quotes_half_a_spread_to_either_side_of_the_microprice() -> None:
    """100.00 by 100.02, equal sizes: 100.01, less and plus 5 bp (0.050005), to the nearest tick."""
    run = make([quote(1, 10_000, 10_002)])
    assert told(run) == [("submit", 1, 9_996), ("submit", -1, 10_006)]
    assert {(d.size, d.order_kind, d.tif, d.options) for d in run.of("submit")} == {(1000, "limit", "gtc", 1)}


def test_both_quotes_lean_against_the_position() -> None:
    """Long a fifth of the limit: a fifth of 5 bp lower, the filled bid and the standing ask alike."""
    sale = trade(1.5, 9_900, 1000, side=SELL)
    run = make([quote(1, 10_000, 10_002), sale, quote(1.6, 10_000, 10_002)], tolerance_bp=0.0)
    assert [(d.side, d.price, d.reason) for d in run.fills] == [(1, 9_996, "through")]
    assert told(run)[2:] == [("cancel", -1, 10_006), ("submit", 1, 9_995), ("submit", -1, 10_005)]


def test_a_small_move_waits_for_the_timer_and_a_larger_one_does_not() -> None:
    """Within 1 bp (a tick of 0.01) nothing happens until the second is full; 3 ticks are followed at once."""
    start, near, far = quote(1.2, 10_000, 10_002), quote(1.3, 10_001, 10_003), quote(1.3, 10_003, 10_005)
    assert len(told(make([start, near]))) == 2
    assert told(make([start, near, quote(2.5, 10_001, 10_003)]))[2:] == [
        ("cancel", 1, 9_996),
        ("cancel", -1, 10_006),
        ("submit", 1, 9_997),
        ("submit", -1, 10_007),
    ]
    assert len(told(make([start, far]))) == 6


def test_without_a_tolerance_a_tick_is_enough() -> None:
    """tolerance_bp=0: requoted when the price moves by a tick, kept when it moves by less."""
    start, near = quote(1.2, 10_000, 10_002), quote(1.3, 10_001, 10_003)
    assert len(told(make([start, near], tolerance_bp=0.0))) == 6
    assert len(told(make([start, quote(1.3, 10_000, 10_002)], tolerance_bp=0.0))) == 2


def test_it_never_quotes_into_the_other_side() -> None:
    """A spread wider than its own: its bid stays a tick below the ask; wholly leaning, too."""
    run = make([quote(1, 10_000, 10_002)], half_spread_bp=0.01, tolerance_bp=0.0)
    bid, ask = (price for _, _, price in told(run))
    assert (bid, ask) == (10_001, 10_002)


def test_silence_and_a_disconnect_take_the_quotes_back() -> None:
    """No price for five seconds, or a lost connection: nothing stands until the next price."""
    silent = make([quote(1, 10_000, 10_002), trade(9, 10_001), quote(10, 10_000, 10_002)])
    assert [kind for kind, *_ in told(silent)] == ["submit", "submit", "cancel", "cancel", "submit", "submit"]
    lost = encode_canonical(StatusData(event="disconnected"))
    status = Message(at(1.5), (Row(Kind.STATUS, source=1, data=lost),))
    cut = make([quote(1, 10_000, 10_002), status, trade(3, 10_001), quote(4, 10_000, 10_002)])
    assert [kind for kind, *_ in told(cut)] == ["submit", "submit", "cancel", "cancel", "submit", "submit"]


def test_news_that_are_cut_off_cost_no_quotes() -> None:
    """What happens to a feed of headlines is no trouble of the venue."""
    lost = encode_canonical(StatusData(event="disconnected", channel="news"))
    status = Message(at(1.5), (Row(Kind.STATUS, source=2, data=lost),))
    assert [kind for kind, _, _ in told(make([quote(1, 10_000, 10_002), status]))] == ["submit", "submit"]


def test_a_gap_in_the_book_takes_the_quotes_back_until_it_is_whole() -> None:
    """Quotes of the market that go on do not count while the book that orders meet is unknown."""
    whole = ((BID, 10_000, 5000), (ASK, 10_002, 5000))
    gap = encode_canonical(StatusData(event="gap", channel="book"))
    messages = [
        book(1, *whole, snapshot=True),
        Message(at(1.1), (Row(Kind.STATUS, source=1, instrument=1, data=gap),)),
        quote(1.2, 10_000, 10_002),
        book(1.7, *whole, snapshot=True),
    ]
    run = act("market_maker", messages, AT_ONCE, {}, (BTC,))
    assert [(d.kind, d.ts - at(1)) for d in run.journal if d.kind in {"submit", "cancel"}] == [
        ("submit", 0),
        ("submit", 0),
        ("cancel", 100_000_000),
        ("cancel", 100_000_000),
        ("submit", 700_000_000),
        ("submit", 700_000_000),
    ]


def test_all_orders_of_the_sample_stand_on_increments() -> None:
    """Prices and sizes are multiples, and no order was refused for its numbers."""
    run = sample()
    assert len(run.of("submit")) > 1000
    for order in run.of("submit"):
        who = run.instrument(order.instrument)
        assert order.price % who.tick == 0
        assert order.size % who.lot == 0
    assert {d.reason for d in run.of("refused")} <= {"no_reference_price"}


def test_no_sequence_of_fills_leads_beyond_the_limit() -> None:
    """At every decision the position and all that may still fill, being cancelled or not, are within it."""
    run = sample()
    limits = {i.key: round(0.05 * 10**i.size_decimals) for i in run.runner.registry.instruments}
    most = dict.fromkeys(limits, 0)
    for moment in run.moments():
        key = moment.decision.instrument
        exposed = max(moment.exposed(key, 1), moment.exposed(key, -1))
        most[key] = max(most[key], exposed)
        assert exposed <= limits[key], moment.decision
    assert most == limits  # it came to that


def test_there_is_one_order_a_side_and_own_quotes_never_cross() -> None:
    """Beside those being cancelled; and every execution was as a maker."""
    run = sample()
    for moment in run.moments():
        key = moment.decision.instrument
        bids, asks = moment.standing(key, 1), moment.standing(key, -1)
        assert max(len(bids), len(asks)) <= 1, moment.decision
        assert not (bids and asks) or bids[0].price < asks[0].price, moment.decision
    assert {d.maker for d in run.fills} == {1}
    run.check_money()


def test_instruments_do_not_disturb_each_other() -> None:
    """Alone or beside ETHUSDT, the orders for BTCUSDT are the same."""

    def of_btc(run: Played) -> list[tuple[object, ...]]:
        mine = [d for d in run.journal if d.instrument == "BTCUSDT.binance"]
        return [(d.ts, d.kind, d.side, d.price, d.size, d.reason) for d in mine]

    assert of_btc(play("market_maker", SAMPLE, parameters={"symbols": ["BTCUSDT"]})) == of_btc(sample())


@pytest.mark.parametrize("wrong", [{"size": 0.0}, {"limit": -1.0}, {"tolerance_bp": 5.0}], ids=str)
def test_parameters_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    """Before the first event, with the names."""
    strategy = load_strategy("market_maker", table=wrong).strategy
    with pytest.raises(ValueError, match=next(iter(wrong))):
        strategy.on_start(None)  # type: ignore[attr-defined]


def test_real_depth_gives_the_hash_that_is_kept(real_data: Path, tmp_path: Path) -> None:
    """Binance's trades, quotes and depth of some minutes: both forms, cut anyhow, decide the same."""
    log = tmp_path / "real.arrow"
    names = ("btcusdt_20240808.gz", "btcusdt_20240809.gz")  # the snapshot is in the first
    import_capture([real_data / "binance_spot" / name for name in names], log, symbol="BTCUSDT")
    # The market moves little in so short a time: quotes close enough to be met.
    near = {"half_spread_bp": 0.5, "tolerance_bp": 0.1, "skew_bp": 0.5}
    run = play("market_maker", log, parameters=near)
    assert play("market_maker", log, parameters=near, compiled=False).hash == run.hash
    assert play("market_maker", log, parameters=near, batch_rows=1000).hash == run.hash
    assert len(run.of("submit")) > 100
    run.check_money()
    assert run.hash == REAL_HASH
