"""The shipped strategies' own logic, on prices that are written out."""

from __future__ import annotations

from typing import Any

import pytest

from engine.model.instruments import Instrument
from engine.model.kinds import Flag
from engine.strategy.loader import load_strategy, shipped_names
from tests.strategy.fake_context import FakeContext, make_instrument

# They act on timers, quotes and answers, or on two instruments together: each has a file of tests of its own.
ELSEWHERE = ("arbitrage", "grid", "market_maker", "momentum_sentiment", "pairs")
BTC, ETH = make_instrument("BTCUSDT", 0), make_instrument("ETHUSDT", 1)


def run(name: str, equity: float = 100_000.0, **parameters: Any) -> FakeContext:
    """A started strategy over two instruments."""
    loaded = load_strategy(name, table=parameters)
    context = FakeContext(loaded.strategy, [BTC, ETH], equity)
    context.start()
    return context


@pytest.mark.parametrize("name", [name for name in shipped_names() if name not in ELSEWHERE])
def test_every_shipped_strategy_keeps_instruments_apart(name: str) -> None:
    """What happens on one instrument changes no order of the other: interleaved or alone, the same."""

    def feed(context: FakeContext, instrument: Instrument, step: int) -> None:
        price = 100.0 + (step * 7 % 11) * (1 if instrument is BTC else -3)
        if hasattr(context.strategy, "on_book"):
            size = float(step % 5)
            context.show_book(instrument, [(price - 1, size + 0.1)], [(price + 1, 4.1 - size)])
            context.drop_cancelled()
        else:
            context.trade(instrument, price)

    both, alone = run(name), run(name)
    for step in range(1200):
        feed(both, BTC, step)
        feed(both, ETH, step)
        feed(alone, BTC, step)

    def of_btc(context: FakeContext) -> list[Any]:
        targets = [size for symbol, size in context.targets if symbol == "BTCUSDT"]
        return targets + [(o.side, o.size, o.price) for o in context.placed if o.instrument is BTC]

    assert of_btc(alone)
    assert of_btc(both) == of_btc(alone)


class TestEmaCross:
    """Long above, short below, silent until the slow average is ready."""

    def test_it_waits_for_the_slow_average(self) -> None:
        """No order before `slow` trades of that instrument."""
        context = run("ema_cross", fast=1, slow=3)
        context.trade(BTC, 1.0, 2.0)
        context.trade(ETH, 1.0)
        assert context.targets == []
        context.trade(BTC, 3.0)
        assert context.targets == [("BTCUSDT", 0.01)]

    def test_it_turns_with_the_cross_and_keeps_still_between(self) -> None:
        """One target per cross, on both sides."""
        context = run("ema_cross", fast=1, slow=3, size=2.0)
        context.trade(BTC, 10.0, 11.0, 12.0, 13.0, 14.0, 5.0, 4.0, 3.0, 20.0)
        assert context.targets == [("BTCUSDT", 2.0), ("BTCUSDT", -2.0), ("BTCUSDT", 2.0)]


class TestMomentum:
    """Two averages for the direction, the stop for the size."""

    # Twenty trades at 100, then the price moves: (after, targets).
    @pytest.mark.parametrize(
        ("moves", "targets"),
        [
            ((100.0,) * 5, []),
            ((100.1,) * 3, []),  # 100.06 / 100.015 is 0.045 % above: inside the threshold
            ((101.0,), [0.99]),  # 100.2 / 100.05: 0.15 % above. 100,000 * 2 % / (101 * 2 %), rounded down
            ((99.0,), [-1.010]),
        ],
    )
    def test_the_signal_needs_a_tenth_of_a_percent(
        self, moves: tuple[float, ...], targets: list[float]
    ) -> None:
        """Above and below by more than 0.1 %: a position whose stop costs 2 % of the portfolio."""
        context = run("momentum", equity=100.0)
        context.trade(BTC, *[100.0] * 20, *moves)
        assert [size for _, size in context.targets] == targets

    @pytest.mark.parametrize(
        ("equity", "size"), [(100_000.0, 990.099), (1e9, 1000.0), (0.0, None), (-5.0, None)]
    )
    def test_the_size_follows_the_portfolio_up_to_a_thousand_units(
        self, equity: float, size: float | None
    ) -> None:
        """Size is equity * 2 % / (price * 2 %), at most 1,000 units, nothing without equity."""
        context = run("momentum", equity=equity)
        context.trade(BTC, *[100.0] * 20, 101.0)
        assert [s for _, s in context.targets] == ([] if size is None else [size])

    def test_the_stop_closes_and_waits_for_the_other_side(self) -> None:
        """2 % below the entry: out; no new long while the signal has not turned; then short."""
        context = run("momentum", equity=100.0)
        context.trade(BTC, *[100.0] * 20, 101.0)
        context.trade(BTC, 98.99)  # the stop is at 98.98
        assert len(context.targets) == 1
        context.trade(BTC, 98.98)
        assert context.targets[-1] == ("BTCUSDT", 0.0)
        context.trade(BTC, *[103.0] * 5)  # long again by the signal, but stopped out of it
        assert len(context.targets) == 2
        context.trade(BTC, *[90.0] * 4)
        assert context.targets[2][1] < 0

    def test_a_short_is_stopped_above_its_entry(self) -> None:
        """The stop mirrors: 2 % above the entry of a short."""
        context = run("momentum", equity=100.0)
        context.trade(BTC, *[100.0] * 20, 99.0)
        context.trade(BTC, 100.9)
        assert len(context.targets) == 1
        context.trade(BTC, 100.99)
        assert context.targets[-1] == ("BTCUSDT", 0.0)


class TestMaBand:
    """Against the jump, out at the average."""

    def test_it_buys_below_and_closes_at_the_average(self) -> None:
        """2 % below the mean of 20 (97.9 against 99.895): long until the price is back at the mean."""
        context = run("ma_band", size=1.0)
        context.trade(BTC, *[100.0] * 19)
        context.trade(BTC, 97.9)
        assert context.targets == []  # 97.9 > 99.895 * 0.98 = 97.897
        context.trade(BTC, 97.7)  # mean 99.78, band from 97.784
        assert context.targets == [("BTCUSDT", 1.0)]
        context.trade(BTC, 99.0)
        assert len(context.targets) == 1
        context.trade(BTC, 100.0)
        assert context.targets[1:] == [("BTCUSDT", 0.0)]

    def test_it_sells_above(self) -> None:
        """A jump of 3 % up: short, and closed below the mean."""
        context = run("ma_band", size=1.0)
        context.trade(BTC, *[100.0] * 20, 103.0, 100.0)
        assert context.targets == [("BTCUSDT", -1.0), ("BTCUSDT", 0.0)]


class TestImbalance:
    """Orders on the heavier side of the book."""

    def test_a_passive_order_joins_the_best_price_of_its_side(self) -> None:
        """Heavy bids: a post-only bid at the best bid; the other side mirrors."""
        context = run("imbalance", threshold=0.5)
        context.show_book(BTC, [(99.0, 9.0), (98.0, 1.0)], [(101.0, 1.0)])
        context.show_book(ETH, [(99.0, 1.0)], [(101.0, 9.0)])
        assert [(o.instrument.symbol, o.side, o.size, o.price) for o in context.placed] == [
            ("BTCUSDT", 1, 0.01, 99.0),
            ("ETHUSDT", -1, 0.01, 101.0),
        ]

    def test_it_follows_the_price_with_one_order_at_a_time(self) -> None:
        """The best bid moves: the order is cancelled once, and placed anew only when that is done."""
        context = run("imbalance", threshold=0.5)
        context.show_book(BTC, [(99.0, 9.0)], [(101.0, 1.0)])
        for _ in range(3):
            context.show_book(BTC, [(99.5, 9.0)], [(101.0, 1.0)])
        assert (len(context.placed), context.cancelled) == (1, [1])
        context.drop_cancelled()
        context.show_book(BTC, [(99.5, 9.0)], [(101.0, 1.0)])
        assert [o.price for o in context.placed] == [99.0, 99.5]

    def test_a_filled_position_turns_by_twice_its_size(self) -> None:
        """Long 0.01, then heavy asks: an ask of 0.02 to be short 0.01; at rest when it has what it wants."""
        context = run("imbalance", threshold=0.5)
        context.show_book(BTC, [(99.0, 9.0)], [(101.0, 1.0)])
        context.fill_working(BTC)
        context.show_book(BTC, [(99.0, 9.0)], [(101.0, 1.0)])
        assert len(context.placed) == 1
        context.show_book(BTC, [(99.0, 1.0)], [(101.0, 9.0)])
        assert [(o.side, o.size, o.price) for o in context.placed[1:]] == [(-1, 0.02, 101.0)]

    def test_it_takes_its_order_back_when_the_book_is_balanced(self) -> None:
        """Between the thresholds nothing waits at the venue."""
        context = run("imbalance", threshold=0.5)
        context.show_book(BTC, [(99.0, 9.0)], [(101.0, 1.0)])
        context.show_book(BTC, [(99.0, 1.0)], [(101.0, 1.0)])
        assert context.cancelled == [1]

    @pytest.mark.parametrize(
        ("bids", "asks", "flags"),
        [
            ([(99.0, 9.0)], [(101.0, 1.0)], int(Flag.LAST | Flag.MAYBE_BAD_BOOK)),
            ([(99.0, 9.0)], [], int(Flag.LAST)),
            ([], [], int(Flag.LAST)),
        ],
    )
    def test_it_does_nothing_on_a_book_it_cannot_trust(
        self, bids: list[tuple[float, float]], asks: list[tuple[float, float]], flags: int
    ) -> None:
        """A doubtful book, or one with an empty side, moves no order."""
        context = run("imbalance", threshold=0.5)
        context.show_book(BTC, bids, asks, flags)
        assert (context.placed, context.cancelled, context.targets) == ([], [], [])

    def test_it_takes_instead_when_told_to(self) -> None:
        """passive=false: market orders through target()."""
        context = run("imbalance", threshold=0.5, passive=False)
        context.show_book(BTC, [(99.0, 9.0)], [(101.0, 1.0)])
        context.show_book(BTC, [(99.0, 1.0)], [(101.0, 1.0)])
        context.show_book(BTC, [(99.0, 1.0)], [(101.0, 9.0)])
        assert context.targets == [("BTCUSDT", 0.01), ("BTCUSDT", -0.01)]
        assert context.placed == []
