"""The synthetic market: a pure function of its seed, and a market that keeps a venue's promises."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from hashlib import blake2b
from itertools import islice, pairwise, takewhile
from pathlib import Path

import msgspec
import pytest

from engine.model.errors import UsageError
from engine.serve.market import Book
from engine.serve.synthetic import Event, SyntheticMarket, model_of

# Changes only with a deliberate change of the generator: the sample is then made again, too.
FIRST_EVENTS = 20_000
HASHES = {
    7: "d6b6b6a33413e97707be98c6d730902c",
    8: "37dc41862e761653d8c1061ee935beb5",
}
SECOND_NS = 1_000_000_000


def fingerprint(seed: int, count: int = FIRST_EVENTS) -> str:
    """Hash of a market's first events, every field of them."""
    digest = blake2b(digest_size=16)
    for event in islice(SyntheticMarket(seed).events(), count):
        digest.update(msgspec.json.encode(event))
    return digest.hexdigest()


def minutes(market: SyntheticMarket, count: float) -> list[Event]:
    """The market's events of its first minutes."""
    end = market.start_ns + round(count * 60 * SECOND_NS)
    return list(takewhile(lambda e: e.time_ns < end, market.events()))


@pytest.mark.parametrize("seed", HASHES)
def test_a_seed_gives_the_same_events_for_ever(seed: int) -> None:
    """The first 20,000 events of a seed have the hash that they had when the generator was written."""
    assert fingerprint(seed) == HASHES[seed]


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_a_fresh_process_gives_the_same_events(hash_seed: str) -> None:
    """Another process with another hash seed, time zone and locale makes the very same market."""
    program = (
        "from hashlib import blake2b; from itertools import islice; import msgspec;"
        "from engine.serve.synthetic import SyntheticMarket;"
        "d = blake2b(digest_size=16);"
        f"[d.update(msgspec.json.encode(e)) for e in islice(SyntheticMarket(7).events(), {FIRST_EVENTS})];"
        "print(d.hexdigest())"
    )
    environment = dict(
        os.environ, PYTHONHASHSEED=hash_seed, TZ="Asia/Tokyo", LC_ALL="C", PYTHONPATH=str(Path.cwd())
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == HASHES[7]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rebuilt_books_show_the_best_prices_of_the_quotes(seed: int) -> None:
    """At each diff the book's best levels are those of the bookTicker with the greatest id up to it."""
    books: dict[str, Book] = {}
    quotes: dict[str, list[tuple[int, list[str]]]] = {}
    checked = 0
    for time_ns, stream, payload in minutes(SyntheticMarket(seed), 5):
        symbol, _, channel = stream.partition("@")
        if channel == "snapshot":
            books[symbol] = Book()
            books[symbol].reset(payload)
        elif channel == "bookTicker":
            quote = [payload[k] for k in ("b", "B", "a", "A")]
            quotes.setdefault(symbol, []).append((payload["u"], quote))
        elif channel == "depth@100ms":
            book = books[symbol]
            assert payload["U"] == book.last_id + 1, f"{symbol} at {time_ns}: diffs are not contiguous"
            assert book.apply(payload)
            top = book.top(1)
            best = [*top["bids"][0], *top["asks"][0]]
            expected = [quote for u, quote in quotes[symbol] if u <= payload["u"]][-1]
            quotes[symbol] = quotes[symbol][-50:]
            assert best == expected, f"{symbol} at update {payload['u']}"
            assert float(best[0]) < float(best[2]), f"{symbol} is crossed at {payload['u']}"
            checked += 1
    assert checked > 4_000


def test_books_keep_twenty_levels_and_more() -> None:
    """Over ten minutes no side of a book gets thin, and none grows without end."""
    books: dict[str, Book] = {}
    depths = Counter[int]()
    for _, stream, payload in minutes(SyntheticMarket(5), 10):
        symbol, _, channel = stream.partition("@")
        if channel == "snapshot":
            books.setdefault(symbol, Book()).reset(payload)
        elif channel == "depth@100ms":
            books[symbol].apply(payload)
            depths.update((len(books[symbol].bids), len(books[symbol].asks)))
    assert min(depths) >= 20
    assert max(depths) <= 60


def test_ids_and_times_never_go_back() -> None:
    """Trade ids count by one, update ids rise, times never fall, and no size is zero or less."""
    trades: dict[str, list[int]] = {}
    updates: dict[str, list[int]] = {}
    times: list[int] = []
    for time_ns, stream, payload in minutes(SyntheticMarket(9), 5):
        times.append(time_ns)
        if stream.endswith("@trade"):
            trades.setdefault(stream, []).append(payload["t"])
            assert payload["T"] == time_ns // 1_000 < payload["E"]
            assert float(payload["q"]) > 0
        elif stream.endswith("@bookTicker"):
            updates.setdefault(stream, []).append(payload["u"])
            assert min(float(payload["B"]), float(payload["A"])) > 0
    assert all(b >= a for a, b in pairwise(times))
    assert all(b == a + 1 for ids in trades.values() for a, b in pairwise(ids))
    assert all(b > a for ids in updates.values() for a, b in pairwise(ids))
    assert {len(ids) > 500 for ids in trades.values()} == {True}


def test_trades_happen_at_the_price_that_was_quoted() -> None:
    """A taker's first trade is at the best price of the side that it takes."""
    quote: dict[str, dict[str, str]] = {}
    time_of: dict[str, int] = {}
    checked = 0
    for time_ns, stream, payload in minutes(SyntheticMarket(11), 2):
        symbol, _, channel = stream.partition("@")
        if channel == "bookTicker":
            quote[symbol] = payload
        elif channel == "trade":
            if time_of.get(symbol) != time_ns:
                assert payload["p"] == quote[symbol]["b" if payload["m"] else "a"]
                checked += 1
            time_of[symbol] = time_ns
    assert checked > 500


def test_a_symbol_does_not_depend_on_its_neighbours() -> None:
    """ETHUSDT alone has the events that it has beside BTCUSDT and beside a symbol nobody knows."""
    alone = list(islice(SyntheticMarket(7, ["ETHUSDT"]).events(), 3_000))
    for symbols in (["BTCUSDT", "ETHUSDT"], ["ETHUSDT", "NEWUSDC"]):
        beside = SyntheticMarket(7, symbols).events()
        assert list(islice((e for e in beside if e.stream.startswith("ethusdt")), 3_000)) == alone


def test_prices_move_and_volatility_clusters() -> None:
    """An hour brings moves of some tenths of a percent, and calm and wild minutes follow their like."""
    market = SyntheticMarket(7, ["BTCUSDT"], rate=0.2)
    closes: dict[int, float] = {}
    ranges: dict[int, list[float]] = {}
    for time_ns, stream, payload in minutes(market, 60):
        if stream.endswith("@trade"):
            minute = (time_ns - market.start_ns) // (60 * SECOND_NS)
            closes[minute] = float(payload["p"])
            ranges.setdefault(minute // 5, []).append(float(payload["p"]))
    assert 0.002 < max(closes.values()) / min(closes.values()) - 1 < 0.05
    spans = sorted(max(prices) - min(prices) for prices in ranges.values())
    assert spans[-1] > 2 * spans[0]


def test_more_rate_means_more_events() -> None:
    """Rate multiplies the order flow; depth diffs stay at ten a second."""
    calm = Counter(e.stream for e in minutes(SyntheticMarket(7, ["BTCUSDT"], rate=0.5), 2))
    busy = Counter(e.stream for e in minutes(SyntheticMarket(7, ["BTCUSDT"], rate=5), 2))
    assert busy["btcusdt@trade"] > 3 * calm["btcusdt@trade"]
    assert busy["btcusdt@bookTicker"] > 4 * calm["btcusdt@bookTicker"]
    assert busy["btcusdt@depth@100ms"] <= 1_200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"symbols": ["foo"]}, '"foo" is no symbol of the synthetic market'),
        ({"symbols": ["USDT"]}, '"USDT" is no symbol of the synthetic market'),
        ({"symbols": []}, "needs one or more symbols"),
        ({"symbols": ["BTCUSDT", "BTCUSDT"]}, "each once"),
        ({"rate": 0}, "rate 0 is not between"),
        ({"seed": -1}, "seed -1 is negative"),
    ],
)
def test_impossible_markets_are_refused(arguments: dict[str, object], message: str) -> None:
    """What cannot be made is named, before anything is made."""
    with pytest.raises(UsageError, match=message):
        SyntheticMarket(**arguments)  # type: ignore[arg-type]


def test_an_unknown_symbol_gets_figures_of_its_own() -> None:
    """Any BASEQUOTE in capitals is a symbol, with a price that depends on its name alone."""
    assert model_of("ABCUSDT") == model_of("ABCUSDT")
    assert model_of("ABCUSDT").price != model_of("ABDUSDT").price
    assert model_of("ABCUSDT").instrument().key == "ABCUSDT.binance"
