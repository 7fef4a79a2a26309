"""What Alpaca's local venue knows at this moment, and the messages that follow from its source's events.

A source gives trades, best prices and book changes in Binance's words; here they become Alpaca's: trades
(`t`), quotes (`q`, stocks in round lots), books of coins (`o`), minute, daily and updated bars (`b`, `d`,
`u`), price bands (`l`), headlines (`n`). Everything is kept for REST as well.

An invented market has, seldom and by its seed, what real stocks have: trades that are reported late (with
their own stamp, hence behind younger ones, and outside of the bar that is already out), corrections and
cancellations (`c`, `x`; REST then marks the trade, bars stay as they are), a short halt (`s`), in which
nothing trades. A recording is shown as it is.

Stamps of one symbol's trades, and of its quotes, never repeat: nanoseconds tell them apart.
Pure: time comes in with each event (nanoseconds, as shown to clients), nothing is sent from here.
"""

from __future__ import annotations

import heapq
import zlib
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.model.units import SECOND_NS
from engine.serve.alpaca_bars import MINUTE_NS, BarSeries
from engine.serve.alpaca_history import History
from engine.serve.alpaca_news import NEWS_STREAM, NewsDesk
from engine.serve.alpaca_symbols import CRYPTO, STOCKS, Listing, exchange_of, listing_of
from engine.serve.alpaca_wire import Stamp, number
from engine.serve.candles import scaled
from engine.serve.market import Book

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.model.kinds import InstrumentData
    from engine.serve.synthetic import Event

_HALF_NS = MINUTE_NS // 2
_DAY_NS = 1_440 * MINUTE_NS
_ROUND_LOT = 100
# One in so many trades, or minutes, of a stock; and how long after.
_LATE, _CORRECTED, _CANCELLED, _HALTED = 61, 389, 499, 17
_LATE_NS, _AMENDED_NS, _HALT_NS = 4 * SECOND_NS, 2 * SECOND_NS, 5 * SECOND_NS
_HALT_WORDS = {
    True: (("H", "Trading Halt"), ("T", "Trading Resumption"), ("T1", "News Pending")),
    False: (("2", "Trading Halt"), ("3", "Resume"), ("D", "News Dissemination")),
}


class Message(NamedTuple):
    """One message: the stream it belongs to, its content, and what tells it apart."""

    stream: str  # "trades@AAPL"
    body: dict[str, Any]
    id: int
    stamp_ns: int
    also: tuple[str, ...] = ()  # further streams that it belongs to; nobody gets it twice


class _Symbol:
    """Everything kept of one symbol."""

    def __init__(self, listing: Listing, *, has_quotes: bool, lot: int) -> None:
        self.listing = listing
        self.lot = lot  # shares in what a quote counts
        self.has_quotes = has_quotes
        self.bars = BarSeries(listing.kind)
        self.trades, self.quotes = History(), History()
        self.book = Book()
        self.book_ns = 0
        self.price = 0
        self.last_ns = {"t": 0, "q": 0}
        self.numbers = count(1)
        self.halted = False

    def stamp(self, kind: str, time_ns: int) -> int:
        """A stamp for the next message of a kind, later than the one before."""
        self.last_ns[kind] = max(time_ns, self.last_ns[kind] + 1)
        return self.last_ns[kind]


class _Due(NamedTuple):
    """Something that happens later."""

    at_ns: int
    number: int
    symbol: _Symbol
    what: str  # "late", "correct", "cancel", "resume"
    key: tuple[int, int]
    trade: dict[str, Any]


class AlpacaMarket:
    """The venue's state. `apply` takes the source's events in order and gives what is to be sent.

    Args:
        instruments: of the source.
        seed: of what happens seldom; None: nothing of the sort happens.
        keep_times: headlines keep the times of their publication.
    """

    def __init__(
        self, instruments: Sequence[InstrumentData], *, seed: int | None = 7, keep_times: bool = False
    ) -> None:
        self._symbols: dict[str, _Symbol] = {}
        self._prefixes: dict[str, _Symbol] = {}
        for data in instruments:
            # What was recorded here counts lots already; whatever else, shares.
            lot = 1 if seed is None and data.venue.startswith("alpaca") else _ROUND_LOT
            symbol = _Symbol(listing_of(data), has_quotes="quote" in data.channels, lot=lot)
            self._symbols[symbol.listing.symbol] = self._prefixes[data.symbol.lower()] = symbol
        self.desk = NewsDesk(keep_times=keep_times)
        self._seed = seed
        self._next_ns = 0  # the next half minute
        self._due: list[_Due] = []  # a heap
        self._numbers = count()

    def symbols(self, kind: str) -> list[str]:
        """The symbols of a feed."""
        return [name for name, symbol in self._symbols.items() if symbol.listing.kind == kind]

    def kind(self, symbol: str) -> str:
        """The feed of a symbol; "" when there is no such symbol."""
        return self._symbols[symbol].listing.kind if symbol in self._symbols else ""

    def trades(self, symbol: str) -> History:
        """What has been traded, as REST shows it."""
        return self._symbols[symbol].trades

    def quotes(self, symbol: str) -> History:
        """The best prices, as REST shows them."""
        return self._symbols[symbol].quotes

    def bars(self, symbol: str) -> BarSeries:
        """The symbol's bars."""
        return self._symbols[symbol].bars

    def orderbook(self, symbol: str, depth: int = 100) -> dict[str, Any]:
        """A coin's whole book."""
        top, at = self._symbols[symbol].book.top(depth), self._symbols[symbol].book_ns
        return {"t": Stamp(at), "b": _levels(top["bids"]), "a": _levels(top["asks"])}

    def apply(self, now_ns: int, event: Event) -> list[Message]:
        """One event of the source: the messages that it causes, in order, whoever wants them."""
        out: list[Message] = []
        prefix, _, channel = event.stream.partition("@")
        symbol = self._prefixes.get(prefix)
        if channel == "snapshot":
            if symbol is not None:
                self._reset(symbol, event.payload, now_ns, out)
            return out  # no time passes: the first books are there before it begins
        if now_ns >= self._next_ns:
            self._pass_time(now_ns, out)
        while self._due and self._due[0].at_ns <= now_ns:
            self._carry_out(heapq.heappop(self._due), now_ns, out)
        if event.stream == NEWS_STREAM:
            article, streams = self.desk.publish(event.payload, now_ns)
            body = {"T": "n", **article}
            first, *others = streams
            out.append(Message(first, body, article["id"], article["updated_at"].ns, tuple(others)))
            return out
        if symbol is None:
            return out
        if channel == "trade":
            self._trade(symbol, event, now_ns, out)
        elif channel == "bookTicker":
            p = event.payload
            self._quote(symbol, (p["b"], p["B"]), (p["a"], p["A"]), now_ns, out)
        elif channel == "depth@100ms" and symbol.book.apply(event.payload):
            self._diff(symbol, event.payload, now_ns, out)
        return out

    # Trades.

    def _trade(self, symbol: _Symbol, event: Event, now_ns: int, out: list[Message]) -> None:
        if symbol.halted:
            return
        payload, kind = event.payload, symbol.listing.kind
        behind_ns = event.time_ns - payload["T"] * 1_000
        at_ns = symbol.stamp("t", now_ns if 0 <= behind_ns < 1_000 else now_ns - behind_ns)
        item: dict[str, Any] = {"t": Stamp(at_ns), "p": number(payload["p"]), "s": number(payload["q"])}
        trade_id = payload["t"]
        if kind == CRYPTO:
            item |= {"i": trade_id, "tks": "S" if payload["m"] else "B"}
        else:
            odd = item["s"] % _ROUND_LOT != 0 or item["s"] < _ROUND_LOT
            item |= {
                "x": exchange_of(trade_id),
                "c": ["@", "I"] if odd else ["@"],
                "i": trade_id,
                "z": symbol.listing.tape,
            }
        if self._strikes(symbol, trade_id, _LATE):
            wait_ns = _LATE_NS * (1 + trade_id % 4)
            self._later(now_ns + wait_ns, symbol, "late", (at_ns, trade_id), item)
        else:
            self._report(symbol, (at_ns, trade_id), item, now_ns, out)

    def _report(
        self, symbol: _Symbol, key: tuple[int, int], item: dict[str, Any], now_ns: int, out: list[Message]
    ) -> None:
        at_ns, trade_id = key
        symbol.trades.add(key, item)
        symbol.price = _scaled(item["p"])
        symbol.bars.take(at_ns, symbol.price, _scaled(item["s"]))
        name = symbol.listing.symbol
        out.append(Message(f"trades@{name}", {"T": "t", "S": name, **item}, trade_id, at_ns))
        for what, rarity in (("correct", _CORRECTED), ("cancel", _CANCELLED)):
            if self._strikes(symbol, trade_id, rarity):
                self._later(now_ns + _AMENDED_NS, symbol, what, key, item)
                return

    def _correct(self, due: _Due, now_ns: int, out: list[Message]) -> None:
        symbol, (at_ns, trade_id), old = due.symbol, due.key, due.trade
        new_id = trade_id + 10**12  # no other trade's
        new = old | {"p": round(old["p"] + 0.01, 2), "i": new_id, "u": "corrected"}
        symbol.trades.add(due.key, old | {"u": "incorrect"})
        symbol.trades.add((at_ns, new_id), new)
        body = {
            "T": "c",
            "S": symbol.listing.symbol,
            "x": old["x"],
            "z": symbol.listing.tape,
            "t": Stamp(now_ns),
        }
        for prefix, trade in (("o", old), ("c", new)):
            body |= {prefix + name: trade[name] for name in "ipsc"}
        out.append(Message(f"corrections@{symbol.listing.symbol}", body, trade_id, now_ns))

    def _cancel(self, due: _Due, now_ns: int, out: list[Message]) -> None:
        symbol, old = due.symbol, due.trade
        symbol.trades.add(due.key, old | {"u": "canceled"})
        body = {"T": "x", "S": symbol.listing.symbol, **{n: old[n] for n in ("i", "x", "p", "s", "z")}}
        body |= {"a": "C", "t": Stamp(now_ns)}
        out.append(Message(f"cancelErrors@{symbol.listing.symbol}", body, old["i"], now_ns))

    # Quotes and books.

    def _quote(
        self,
        symbol: _Symbol,
        bid: tuple[str, str],
        ask: tuple[str, str],
        now_ns: int,
        out: list[Message],
    ) -> None:
        at_ns = symbol.stamp("q", now_ns)
        symbol.bars.middle = (scaled(bid[0]) + scaled(ask[0])) // 2
        sizes = (number(bid[1]), number(ask[1]))
        item: dict[str, Any] = {"bp": number(bid[0]), "ap": number(ask[0])}
        sequence = next(symbol.numbers)
        if symbol.listing.kind == CRYPTO:
            item |= {"bs": sizes[0], "as": sizes[1]}
        else:
            item |= {
                "bs": _lots(sizes[0], symbol.lot),
                "as": _lots(sizes[1], symbol.lot),
                "bx": exchange_of(sequence),
                "ax": exchange_of(sequence // 3),
                "c": ["R"],
                "z": symbol.listing.tape,
            }
        item["t"] = Stamp(at_ns)
        symbol.quotes.add((at_ns, sequence), item)
        name = symbol.listing.symbol
        out.append(Message(f"quotes@{name}", {"T": "q", "S": name, **item}, 0, at_ns))

    def _reset(self, symbol: _Symbol, snapshot: dict[str, Any], now_ns: int, out: list[Message]) -> None:
        symbol.book.reset(snapshot)
        symbol.book_ns = now_ns
        if symbol.listing.kind == CRYPTO:
            out.append(self.book_reset(symbol.listing.symbol))

    def book_reset(self, name: str) -> Message:
        """The message with a coin's whole book: what a client gets first."""
        book = self.orderbook(name)
        return Message(f"orderbooks@{name}", {"T": "o", "S": name, **book, "r": True}, 0, book["t"].ns)

    def _diff(self, symbol: _Symbol, diff: dict[str, Any], now_ns: int, out: list[Message]) -> None:
        symbol.book_ns = now_ns
        book = symbol.book
        if not symbol.has_quotes and book.bids and book.asks:
            bid, ask = max(book.bids, key=Decimal), min(book.asks, key=Decimal)
            self._quote(symbol, (bid, book.bids[bid]), (ask, book.asks[ask]), now_ns, out)
        if symbol.listing.kind == CRYPTO:
            name = symbol.listing.symbol
            body = {"T": "o", "S": name, "t": Stamp(now_ns), "b": _levels(diff["b"]), "a": _levels(diff["a"])}
            out.append(Message(f"orderbooks@{name}", body, 0, now_ns))

    # Time.

    def _pass_time(self, now_ns: int, out: list[Message]) -> None:
        if now_ns - self._next_ns > _DAY_NS:  # the first event, or one after a long silence
            self._next_ns = now_ns - now_ns % _HALF_NS
        while self._next_ns <= now_ns:
            at_ns, self._next_ns = self._next_ns, self._next_ns + _HALF_NS
            for symbol in self._symbols.values():
                if at_ns % MINUTE_NS:
                    self._half_minute(symbol, at_ns, out)
                else:
                    self._minute(symbol, at_ns, out)

    def _minute(self, symbol: _Symbol, at_ns: int, out: list[Message]) -> None:
        name = symbol.listing.symbol
        bar = symbol.bars.close_minute(at_ns)
        if bar is not None:
            out.append(Message(f"bars@{name}", {"T": "b", "S": name, **bar.shown()}, 0, bar.start_ns))
            day = symbol.bars.today(at_ns)
            if day is not None:
                out.append(Message(f"dailyBars@{name}", {"T": "d", "S": name, **day.shown()}, 0, at_ns))
        if bar is not None and self._strikes(symbol, at_ns // MINUTE_NS, _HALTED):
            symbol.halted = True
            out.append(_status(symbol, at_ns, resumes=False))
            self._later(at_ns + _HALT_NS, symbol, "resume", (at_ns, 0), {})

    def _half_minute(self, symbol: _Symbol, at_ns: int, out: list[Message]) -> None:
        name, listing = symbol.listing.symbol, symbol.listing
        out += [
            Message(f"updatedBars@{name}", {"T": "u", "S": name, **bar.shown()}, 0, bar.start_ns)
            for bar in symbol.bars.revisions()
        ]
        if listing.kind == STOCKS and symbol.price and self._seed is not None:
            band = symbol.price // 20
            up, down = (round((symbol.price + band) / 10**8, 2), round((symbol.price - band) / 10**8, 2))
            body = {"T": "l", "S": name, "u": up, "d": down, "i": "B", "z": listing.tape, "t": Stamp(at_ns)}
            out.append(Message(f"lulds@{name}", body, 0, at_ns))

    def _later(
        self, at_ns: int, symbol: _Symbol, what: str, key: tuple[int, int], trade: dict[str, Any]
    ) -> None:
        heapq.heappush(self._due, _Due(at_ns, next(self._numbers), symbol, what, key, trade))

    def _carry_out(self, due: _Due, now_ns: int, out: list[Message]) -> None:
        if due.what == "late":
            self._report(due.symbol, due.key, due.trade, now_ns, out)
        elif due.what == "correct":
            self._correct(due, now_ns, out)
        elif due.what == "cancel":
            self._cancel(due, now_ns, out)
        else:
            due.symbol.halted = False
            out.append(_status(due.symbol, now_ns, resumes=True))

    def _strikes(self, symbol: _Symbol, event: int, rarity: int) -> bool:
        """Whether one of the seldom things happens to a trade, or in a minute, of a stock."""
        if self._seed is None or symbol.listing.kind != STOCKS:
            return False
        word = f"{self._seed}:{symbol.listing.symbol}:{event}:{rarity}"
        return zlib.crc32(word.encode()) % rarity == 0


def _status(symbol: _Symbol, at_ns: int, *, resumes: bool) -> Message:
    listing = symbol.listing
    *words, reason = _HALT_WORDS[listing.tape == "C"]
    code, text = words[resumes]
    body: dict[str, Any] = {
        "T": "s",
        "S": listing.symbol,
        "sc": code,
        "sm": text,
        "rc": reason[0],
        "rm": reason[1],
    }
    body |= {"z": listing.tape, "t": Stamp(at_ns)}
    return Message(f"statuses@{listing.symbol}", body, 0, at_ns)


def _lots(shares: float, lot: int) -> int:
    """Whole lots; a side that somebody quotes has one at least."""
    return max(1, int(shares) // lot) if shares else 0


def _scaled(value: float) -> int:
    return round(Decimal(str(value)) * 10**8)


def _levels(levels: Sequence[Sequence[str]]) -> list[dict[str, int | float]]:
    return [{"p": number(price), "s": number(size)} for price, size in levels]
