"""How many events a second does nautilus_trader take, on the workloads, with a Python strategy?

Started by `bench.peers` in an environment that has nautilus_trader and nothing of ours:

    python bench/with_nautilus.py w1|w2|w3 FOLDER [ROWS]

Prints one JSON object. `seconds` is `BacktestEngine.run` alone; making objects of the arrays before it
(0.8 to 0.9 million a second) is `loading_seconds` and counted nowhere. In W3 the venue keeps the level-2
book while the strategy takes only the trades; the changes of one message are handed over together as one
OrderBookDeltas, which is nautilus' quickest form of them.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.common.config import LoggingConfig
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import OrderBookDelta, OrderBookDeltas, QuoteTick, TradeTick
from nautilus_trader.model.enums import (
    AccountType,
    AggressorSide,
    BookAction,
    BookType,
    OmsType,
    OrderSide,
    RecordFlag,
)
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TradeId, TraderId, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import FIXED_SCALAR, Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy, StrategyConfig

INSTRUMENT = InstrumentId(Symbol("BTCUSDT"), Venue("SIM"))
LOT = 0.01
READY = 500  # updates of the slow average


class CrossConfig(StrategyConfig, frozen=True):  # type: ignore[misc, call-arg]  # nautilus has no types here
    """Nothing but the defaults."""


class Cross(Strategy):  # type: ignore[misc]
    """Long 0.01 while the 50-trade exponential average is above the 500-trade one, short below."""

    def on_start(self) -> None:
        """Ask for the trades and nothing else."""
        self.instrument = self.cache.instrument(INSTRUMENT)
        self.quick = self.calm = 0.0
        self.count = 0
        self.held = 0
        self.orders = 0
        self.subscribe_trade_ticks(INSTRUMENT)

    def on_trade_tick(self, tick: Any) -> None:
        """Update both averages; change sides with one market order when they cross."""
        price = tick.price.as_double()
        if self.count == 0:
            self.quick = self.calm = price
        else:
            self.quick += 2.0 / 51.0 * (price - self.quick)
            self.calm += 2.0 / 501.0 * (price - self.calm)
        self.count += 1
        if self.count < READY:
            return
        wanted = 1 if self.quick > self.calm else -1
        if wanted == self.held:
            return
        self.submit_order(
            self.order_factory.market(
                INSTRUMENT,
                OrderSide.BUY if wanted > 0 else OrderSide.SELL,
                self.instrument.make_qty(LOT * abs(wanted - self.held)),
            )
        )
        self.held = wanted
        self.orders += 1


def instrument(price_decimals: int) -> CurrencyPair:
    """BTCUSDT: taker 1 bp, maker free."""
    return CurrencyPair(
        instrument_id=INSTRUMENT,
        raw_symbol=Symbol("BTCUSDT"),
        base_currency=BTC,
        quote_currency=USDT,
        price_precision=price_decimals,
        size_precision=3,
        price_increment=Price(10**-price_decimals, price_decimals),
        size_increment=Quantity(0.001, 3),
        lot_size=None,
        max_quantity=None,
        min_quantity=None,
        max_notional=None,
        min_notional=None,
        max_price=None,
        min_price=None,
        margin_init=Decimal(0),
        margin_maint=Decimal(0),
        maker_fee=Decimal(0),
        taker_fee=Decimal("0.0001"),
        ts_event=0,
        ts_init=0,
    )


def trade_ticks(
    columns: dict[str, np.ndarray[Any, Any]], ids: np.ndarray[Any, Any], decimals: int
) -> list[Any]:
    """TradeTick objects of the columns."""
    ticks: list[Any] = TradeTick.from_raw_arrays_to_list(
        INSTRUMENT,
        decimals,
        3,
        columns["price"],
        columns["size"],
        np.where(columns["side"] == 1, AggressorSide.BUYER, AggressorSide.SELLER).astype(np.uint8),
        [str(i) for i in ids],
        columns["ts_event"].astype(np.uint64),
        columns["ts_recv"].astype(np.uint64),
    )
    return ticks


def columns_of(path: Path, rows: int) -> dict[str, np.ndarray[Any, Any]]:
    """The file's columns, the first `rows` rows of them (0: all)."""
    table = pq.read_table(path)
    table = table.slice(0, rows) if rows else table
    return {name: table[name].to_numpy().copy() for name in table.column_names}


def load_w1(folder: Path, rows: int) -> tuple[list[Any], int]:
    """Trades."""
    columns = columns_of(folder / "w1_trades.parquet", rows)
    return trade_ticks(columns, columns["trade_id"], 2), len(columns["price"])


def load_w2(folder: Path, rows: int) -> tuple[list[Any], int]:
    """Quotes and trades."""
    columns = columns_of(folder / "w2_l1.parquet", rows)
    is_trade = columns["is_trade"] == 1
    trades = {name: values[is_trade] for name, values in columns.items()}
    quotes = {name: values[~is_trade] for name, values in columns.items()}
    data = trade_ticks(trades, trades["id"], 2)
    data += QuoteTick.from_raw_arrays_to_list(
        INSTRUMENT,
        2,
        3,
        quotes["bid_px"],
        quotes["ask_px"],
        quotes["bid_sz"],
        quotes["ask_sz"],
        quotes["ts_event"].astype(np.uint64),
        quotes["ts_recv"].astype(np.uint64),
    )
    data.sort(key=lambda item: item.ts_init)
    return data, len(columns["price"])


def load_w3(folder: Path, rows: int) -> tuple[list[Any], int]:
    """Whole messages: a trade by itself, then the changes of the book."""
    columns = columns_of(folder / "w3_l2.parquet", rows)
    actions = {1: BookAction.ADD, 2: BookAction.UPDATE, 3: BookAction.DELETE}
    data: list[Any] = []
    message: list[Any] = []
    names = ("ts_event", "ts_recv", "kind", "side", "action", "price", "size", "last")
    each = zip(*(columns[name].tolist() for name in names), strict=True)
    for number, (event, received, kind, side, action, price, size, last) in enumerate(each):
        raw_size = int(size * 1000 + 0.5) * int(FIXED_SCALAR) // 1000
        raw_price = int(price * 10 + 0.5) * int(FIXED_SCALAR) // 10
        if kind == 1:
            aggressor = AggressorSide.BUYER if side == 1 else AggressorSide.SELLER
            data.append(
                TradeTick.from_raw(
                    INSTRUMENT, raw_price, 1, raw_size, 3, aggressor, TradeId(str(number)), event, received
                )
            )
        else:
            message.append(
                OrderBookDelta.from_raw(
                    INSTRUMENT,
                    actions[action],
                    OrderSide.BUY if side == 1 else OrderSide.SELL,
                    raw_price,
                    1,
                    raw_size,
                    3,
                    0,
                    RecordFlag.F_LAST if last else 0,
                    number,
                    event,
                    received,
                )
            )
        if last and message:
            data.append(OrderBookDeltas(INSTRUMENT, message))
            message = []
    return data, len(columns["price"])


LOADERS = {"w1": load_w1, "w2": load_w2, "w3": load_w3}


def main() -> None:
    """Load, run, print."""
    workload, folder = sys.argv[1], Path(sys.argv[2])
    rows = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    began = time.perf_counter()
    data, events = LOADERS[workload](folder, rows)
    loading = time.perf_counter() - began
    engine = BacktestEngine(
        BacktestEngineConfig(
            trader_id=TraderId("BENCH-001"),
            logging=LoggingConfig(bypass_logging=True),
            run_analysis=False,
        )
    )
    engine.add_venue(
        Venue("SIM"),
        OmsType.NETTING,
        AccountType.MARGIN,
        [Money(1_000_000, USDT)],
        base_currency=USDT,
        book_type=BookType.L2_MBP if workload == "w3" else BookType.L1_MBP,
        trade_execution=workload == "w1",
    )
    engine.add_instrument(instrument(1 if workload == "w3" else 2))
    engine.add_data(data, sort=False)
    strategy = Cross(CrossConfig())
    engine.add_strategy(strategy)
    began = time.perf_counter()
    engine.run()
    seconds = time.perf_counter() - began
    balance = engine.portfolio.account(Venue("SIM")).balance_total(USDT)
    print(
        json.dumps(
            {
                "events": events,
                "seconds": seconds,
                "loading_seconds": loading,
                "orders": strategy.orders,
                "position": float(engine.portfolio.net_position(INSTRUMENT)),
                "balance": balance.as_double(),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
