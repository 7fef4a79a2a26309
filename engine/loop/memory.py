"""The loop's memory: the arrays behind the state record, how they begin and how they grow.

Kernels know addresses only; this object keeps the arrays alive, replaces one by a larger copy when a
kernel asks for it, and offers the scalar fields to Python as fast integer reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.config import ACCOUNTS, QUEUES, Rules, RunConfig, check_config
from engine.execution import slippage
from engine.execution.money import MONEY_DECIMALS, OVERFLOW
from engine.execution.state import (
    ASSET,
    COLUMNS,
    DELIVERY,
    EQUITY,
    INSTRUMENT,
    ITEM,
    JOURNAL,
    MARKET,
    MATCH_BARS,
    MATCH_BOOK,
    MATCH_NONE,
    MATCH_QUOTES,
    MATCH_TRADES,
    ORDER,
    SIDES_EACH,
    STATE,
    STOP_BARS,
    STOP_BID_ASK,
    STOP_LAST,
    STOP_MARK,
    TERMS,
)
from engine.execution.stops import NEVER_ABOVE, NEVER_BELOW
from engine.log.schema import Batch
from engine.loop import operations
from engine.loop.books import Books
from engine.loop.fee_plans import FeePlans
from engine.loop.order_tables import OrderTables
from engine.loop.pieces import place
from engine.loop.tables import Tables
from engine.model.errors import EngineError, InputError, UsageError
from engine.model.instruments import Instrument
from engine.model.rows import ROW
from engine.model.units import SECOND_NS, parse_decimal

FIELD = {name: i for i, name in enumerate(STATE.names or ())}
INSTRUMENT_FIELD = {name: i for i, name in enumerate(INSTRUMENT.names or ())}
INSTRUMENT_WIDTH = len(INSTRUMENT_FIELD)

_SEQS = FIELD["seqs"]
SMALL_ROWS = 256
_FAR = 2**62
RULES = tuple(name for name in Rules.__struct_fields__ if name not in ("queue", "stop_source"))
_ORDER_SIZES = ("size", "venue_size", "venue_filled", "filled", "counted", "allowance", "asked_size")
_STOP_SOURCES = {"last": STOP_LAST, "bid_ask": STOP_BID_ASK, "mark": STOP_MARK}


class Memory:
    """All arrays of one run. `scalars[FIELD["now"]]` reads a field of the state record."""

    def __init__(self, config: RunConfig, *, sample_ns: int = SECOND_NS) -> None:
        self.config = check_config(config)
        self.state = np.zeros(1, STATE)
        self.address = int(self.state.ctypes.data)
        self.scalars = memoryview(self.state.view(np.int64))  # type: ignore[arg-type]  # it has the buffer
        self.instruments = np.zeros(0, INSTRUMENT)
        self.instrument_view = memoryview(b"")
        self.markets = np.zeros(0, MARKET)
        self.books = Books(self.state[0])
        self.order_tables = OrderTables(self.state[0])
        self.assets = np.zeros(0, ASSET)
        self.asset_names: list[str] = []
        self._quotes: dict[str, int] = {}  # quote currency -> its asset
        self.fee_plans = FeePlans(self)
        self.orders = np.zeros(0, ORDER)
        self.items = np.zeros(0, ITEM)
        self.heap = np.zeros(0, np.int32)
        self.journal = np.zeros(8192, JOURNAL)
        self.terms = np.zeros(len(self.journal), TERMS)
        self.equity = np.zeros(8192, EQUITY)
        self.deliveries = np.zeros(0, DELIVERY)
        self.columns: tuple[Any, ...] = ()
        self._small = tuple(np.zeros(SMALL_ROWS, ROW.fields[name][0]) for name in COLUMNS)  # type: ignore[index]
        self._at_home = False
        self._sessions: dict[str, set[tuple[int, int]]] = {}  # by venue: opens, closes
        self._session_times: dict[int, np.ndarray] = {}  # by instrument, kept alive for the kernels
        state = self.state[0]
        for name in ("order_free", "item_free", "link_head", "link_tail"):
            state[name] = -1
        state["here"] = self.address
        place(state)
        self._latencies = np.array(config.latency.table, np.int64).reshape(-1)  # alive for the kernels
        self._settle(config)
        state["sample_ns"] = sample_ns
        state["next_sample"] = _FAR
        state["cause_seq"], state["message_number"] = -1, 1
        state["journal"], state["journal_capacity"] = self.journal.ctypes.data, len(self.journal)
        state["terms"] = self.terms.ctypes.data
        state["equity"], state["equity_capacity"] = self.equity.ctypes.data, len(self.equity)
        self.tables = Tables(state, self.address)
        self.grow_orders()
        self.grow_items(64)
        self.grow_deliveries(4096)

    def _settle(self, config: RunConfig) -> None:
        """What the configuration decides, into the state record."""
        state = self.state[0]
        latency, own_clock = config.latency, config.clock == "venue"
        state["own_clock"] = own_clock
        state["told"], state["matches"] = 1, not own_clock
        state["seen"] = state["offset"] = SIDES_EACH // 2 if own_clock else 0
        state["feed_latency"] = 0 if own_clock else latency.feed_ns
        state["entry_latency"], state["response_latency"] = latency.entry_ns, latency.response_ns
        state["latency_table"], state["latency_rows"] = self._latencies.ctypes.data, len(latency.table)
        state["bar_latency"] = config.bar_latency
        state["account_type"] = ACCOUNTS.index(config.account.type)
        state["leverage_millionths"] = config.account.leverage_millionths
        slippage.begin(state, config.slippage_rate, config.seed, drawn=config.slippage_drawn)
        state["collar_millionths"] = config.risk.collar_millionths
        for name in RULES:
            state[name] = getattr(config.rules, name)
        state["queue_model"] = QUEUES.index(config.rules.queue)

    # --- input ---

    def take_columns(self, batch: Batch) -> None:
        """Let the kernels see a batch's columns; they stay alive until the next call.

        Small batches are copied to where the last ones stood, so that no address changes: a live session
        has thousands of them a second.
        """
        count = batch.count
        self.scalars[_SEQS] = 0
        if count <= SMALL_ROWS:
            for name, home in zip(COLUMNS, self._small, strict=True):
                home[:count] = getattr(batch, name)
            if self._at_home:
                return
            columns = self._small
        else:
            columns = tuple(np.ascontiguousarray(getattr(batch, name)) for name in COLUMNS)
        self._at_home = count <= SMALL_ROWS
        self.columns = columns
        state = self.state[0]
        for name, column in zip(COLUMNS, columns, strict=True):
            state[f"column_{name}"] = column.ctypes.data
        state["column_time"] = state["column_ts"]

    # --- instruments ---

    def define(self, instrument: Instrument, before: Instrument | None) -> None:
        """Make room for an instrument, or take a new definition of one that is there."""
        if before is None:
            self._add(instrument)
        elif (before.price_decimals, before.size_decimals) != (
            instrument.price_decimals,
            instrument.size_decimals,
        ):
            self._rescale(before, instrument)
        self._describe(instrument)
        self.fee_plans.define(instrument)

    def _add(self, instrument: Instrument) -> None:
        n = len(self.instruments)
        self.instruments = np.append(self.instruments, np.zeros(1, INSTRUMENT))
        record = self.instruments[n]
        record["asset"] = self._asset(instrument.quote)
        record["fee_priced_by"] = -1
        record["waiting_head"] = record["waiting_tail"] = -1
        record["stop_head"] = record["stop_tail"] = -1
        record["watch_above"], record["watch_below"] = NEVER_ABOVE, NEVER_BELOW
        record["bar_head"] = record["bar_tail"] = -1
        self.markets = np.append(self.markets, np.zeros(2, MARKET))
        self.markets[-2:]["depth_ts_venue"] = OVERFLOW
        self.tables.add_instrument()
        self.books.add(instrument.tick)
        self.order_tables.add()
        state = self.state[0]
        state["instruments"] = self.instruments.ctypes.data
        state["markets"] = self.markets.ctypes.data
        state["instrument_count"] = n + 1
        self.instrument_view = memoryview(self.instruments.view(np.int64))  # type: ignore[arg-type]

    def _asset(self, name: str) -> int:
        if name not in self._quotes:
            account = self.config.account
            first = not self._quotes
            if account.currency and first and name != account.currency:
                name_of_run = account.currency
                if name:
                    raise UsageError(
                        f"--currency {account.currency}: the first instrument is quoted in {name}",
                        hint=f"write --currency {name}, or leave it out",
                    )
                name = name_of_run
            if account.type == "margin" and not first and name not in self._quotes:
                raise UsageError(
                    f"--account margin is kept in {next(iter(self._quotes))}, and the log has instruments "
                    f"quoted in {name}",
                    hint="run logs of one currency, or another account",
                )
            if name not in self._quotes:
                self._quotes[name] = self.add_asset(name)
            if first:
                capital = parse_decimal(account.capital, MONEY_DECIMALS)
                self.assets[0]["cash"] = self.assets[0]["venue_cash"] = capital
        return self._quotes[name]

    def add_asset(self, name: str) -> int:
        """Room for one asset's cash; its number."""
        self.asset_names.append(name)
        self.assets = np.append(self.assets, np.zeros(1, ASSET))
        self.state[0]["assets"] = self.assets.ctypes.data
        self.state[0]["asset_count"] = len(self.assets)
        return len(self.assets) - 1

    def _describe(self, instrument: Instrument) -> None:
        record = self.instruments[instrument.index]
        record["tick"] = instrument.tick
        record["lot"] = instrument.lot
        record["min_size"] = instrument.min_size
        record["max_size"] = instrument.max_size
        record["min_notional"] = parse_decimal(instrument.min_notional, MONEY_DECIMALS)
        record["price_decimals"] = instrument.price_decimals
        record["size_decimals"] = instrument.size_decimals
        record["decimals"] = instrument.price_decimals + instrument.size_decimals
        channels = instrument.channels
        record["match_on"] = match_class(channels)
        record["has_trades"] = "trade" in channels
        record["stop_source"] = stop_source(self.config.rules.stop_source, channels)
        self._hand_sessions(instrument)
        record["by_order"] = "orders" in channels
        record["tradable"] = instrument.status == "TRADING"
        record["slippage_ticks"] = self.config.slippage_ticks
        cap = self.config.risk.position_cap
        record["position_cap"] = parse_decimal(cap, instrument.size_decimals) if cap else 0

    def _rescale(self, before: Instrument, after: Instrument) -> None:
        """More decimals: multiply everything up exactly. Fewer, or an overflow, is an error."""
        price_steps = after.price_decimals - before.price_decimals
        size_steps = after.size_decimals - before.size_decimals
        if price_steps < 0 or size_steps < 0:
            raise InputError(
                f"instrument {after.key}: version {after.version} has fewer decimals than "
                f"version {before.version}",
                hint="a definition may only gain decimals within a run",
            )
        price, size = 10**price_steps, 10**size_steps
        record = self.instruments[after.index]
        _scale(record, ("quote_bid", "quote_ask"), price, after.key)
        _scale(record, ("watch_above",), price, after.key, unknown=NEVER_ABOVE)
        _scale(record, ("watch_below",), price, after.key, unknown=NEVER_BELOW)
        for market in self.markets[2 * after.index : 2 * after.index + 2]:
            _scale(market, ("last_price", "mark"), price, after.key)
        sizes = ("quote_bid_size", "quote_ask_size", "position", "venue_position", "open_buy", "open_sell")
        _scale(record, sizes, size, after.key)
        for k in range(SIDES_EACH * after.index, SIDES_EACH * (after.index + 1)):
            self.books.rescale(k, price, size, after.key)
        self.order_tables.rescale(after.index, price, size, after.key)
        self.tables.rescale(after.index, price, size)
        self.fee_plans.rescale(after.index, price)
        slots = set()
        for slot in range(len(self.orders)):
            order = self.orders[slot]
            if order["state"] and order["instrument"] == after.index:
                slots.add(slot)
                _scale(order, ("price", "known_price", "stop", "venue_stop", "trail"), price, after.key)
                _scale(order, _ORDER_SIZES, size, after.key)
                _scale(order, ("front",), size, after.key, unknown=-1)
                _scale(order, ("ahead", "matched"), size, after.key)
        for i in range(int(self.state[0]["agenda_count"])):
            item = self.items[self.heap[i]]
            slot = int(item["slot"])
            # Of an order that is over, its slot says nothing.
            if slot in slots and item["generation"] == self.orders[slot]["generation"]:
                _scale(item, ("price", "id"), price, after.key)
                _scale(item, ("size", "total"), size, after.key)

    def add_session(self, venue: str, opens: int, closes: int, instruments: Sequence[Instrument]) -> None:
        """A trading session of a venue's instruments, or of all ("")."""
        self._sessions.setdefault(venue, set()).add((opens, closes))
        for instrument in instruments:
            if venue in ("", instrument.venue):
                self._hand_sessions(instrument)

    @property
    def sessions(self) -> list[tuple[str, int, int]]:
        """The sessions that have been added: venue, opens, closes."""
        return sorted((venue, *times) for venue, known in self._sessions.items() for times in known)

    def _hand_sessions(self, instrument: Instrument) -> None:
        known = self._sessions.get("", set()) | self._sessions.get(instrument.venue, set())
        if not known:
            return
        times = np.array(sorted(known, key=lambda session: session[1]), np.int64)
        self.tables.retire(self._session_times.get(instrument.index))
        self._session_times[instrument.index] = times
        record = self.instruments[instrument.index]
        record["sessions"] = times.ctypes.data
        record["session_count"] = len(times)

    # --- growth ---

    def grow_orders(self) -> None:
        """Twice the order slots, the new ones on the free list."""
        n = len(self.orders)
        grown = np.zeros(max(64, 2 * n), ORDER)
        grown[:n] = self.orders
        state = self.state[0]
        for slot in range(n, len(grown)):
            grown[slot]["next"] = slot + 1 if slot + 1 < len(grown) else state["order_free"]
        state["order_free"] = n
        self.tables.retire(self.orders)
        self.orders = grown
        state["orders"] = grown.ctypes.data
        state["order_capacity"] = len(grown)
        self.tables.grow_orders()

    def grow_items(self, need: int) -> None:
        """Agenda room for at least `need` more items."""
        n = len(self.items)
        state = self.state[0]
        size = max(2 * n, n + need)
        grown = np.zeros(size, ITEM)
        grown[:n] = self.items
        grown["next"][n:] = np.arange(n + 1, size + 1)
        grown["next"][size - 1] = state["item_free"]
        state["item_free"] = n
        state["item_free_count"] += size - n
        heap = np.zeros(size, np.int32)
        heap[:n] = self.heap
        self.tables.retire((self.items, self.heap))
        self.items, self.heap = grown, heap
        state["items"] = grown.ctypes.data
        state["heap"] = heap.ctypes.data
        state["item_capacity"] = size

    def grow_deliveries(self, need: int) -> None:
        """Room for `need` deliveries of one batch."""
        self.deliveries = np.zeros(max(need, 2 * len(self.deliveries)), DELIVERY)
        state = self.state[0]
        state["deliveries"] = self.deliveries.ctypes.data
        state["delivery_capacity"] = len(self.deliveries)

    def take_equity(self, count: int) -> npt.NDArray[np.void]:
        """The samples of the equity so far, which leave; there is room for as many again."""
        taken = self.equity[:count]
        self.equity = np.empty(len(self.equity), EQUITY)
        state = self.state[0]
        state["equity"] = self.equity.ctypes.data
        state["equity_count"] = 0
        return taken

    # --- reads ---

    def best_levels(self, index: int, sign: int, depth: int) -> list[tuple[int, int]]:
        """Price and size, mantissas, of the best `depth` levels that the strategy sees of a side."""
        out = np.zeros(2 * depth, np.int64)
        count = operations.levels(self.address, index, sign, depth, out.ctypes.data)
        values = out[: 2 * count].tolist()
        return list(zip(values[::2], values[1::2], strict=True))

    def last_price(self, index: int) -> int:
        """Price of the last trade that the strategy knows of, 0 before the first."""
        return int(self.markets[2 * index + self.get("seen") // 2]["last_price"])

    def doubt_book(self, index: int, *, at_venue: bool = True) -> None:
        """Rows are missing: the book waits for a snapshot; not `at_venue`: only the strategy's does."""
        self.markets[2 * index + (not at_venue) : 2 * index + 2]["book_bad"] = 1

    def has_book(self, instrument: Instrument) -> bool:
        """Whether depth of this instrument has been applied."""
        k = SIDES_EACH * instrument.index + self.get("seen")
        laid = not (self.books.empty(k) and self.books.empty(k + 1))
        return self.of_instrument(instrument.index, "match_on") == MATCH_BOOK and laid

    def get(self, name: str) -> int:
        """A field of the state record."""
        return int(self.scalars[FIELD[name]])

    def set(self, name: str, value: int) -> None:
        """Set a field of the state record."""
        self.scalars[FIELD[name]] = value

    def of_instrument(self, index: int, name: str) -> int:
        """A field of an instrument's record."""
        return int(self.instrument_view[index * INSTRUMENT_WIDTH + INSTRUMENT_FIELD[name]])

    def set_of_instrument(self, index: int, name: str, value: int) -> None:
        """Set a field of an instrument's record."""
        self.instrument_view[index * INSTRUMENT_WIDTH + INSTRUMENT_FIELD[name]] = value


def match_class(channels: tuple[str, ...]) -> int:
    """What the simulated venue matches an instrument on: depth, else quotes, else trades, else bars."""
    if "book" in channels or "orders" in channels:
        return MATCH_BOOK
    if "quote" in channels:
        return MATCH_QUOTES
    if "trade" in channels or "aggtrade" in channels:
        return MATCH_TRADES
    if "bar" in channels:
        return MATCH_BARS
    return MATCH_NONE


def stop_source(rule: str, channels: tuple[str, ...]) -> int:
    """What stops of an instrument look at: what the rule says, or the nearest that its log has."""
    matched = match_class(channels)
    if matched == MATCH_BARS:
        return STOP_BARS
    source = _STOP_SOURCES[rule]
    if source == STOP_BID_ASK and matched == MATCH_TRADES:
        return STOP_LAST
    if source == STOP_LAST and "trade" not in channels and "aggtrade" not in channels:
        return STOP_BID_ASK
    return source


def _scale(record: Any, names: tuple[str, ...], factor: int, key: str, unknown: int | None = None) -> None:
    if factor == 1:
        return
    for name in names:
        value = int(record[name])
        if value == unknown:
            continue
        if abs(value) * factor >= 2**63:
            raise EngineError(f"instrument {key}: {name} {value} times {factor} does not fit 64 bits")
        record[name] = value * factor
