"""What a strategy author needs, and nothing else.

Names are loaded on first use, so that `engine --help` stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from engine.answers.prompt_files import prompt
    from engine.answers.prompts import Prompt
    from engine.market.indicators import (
        Atr,
        Bollinger,
        Ema,
        Macd,
        Microprice,
        OrderFlowImbalance,
        RealisedVolatility,
        RollingMax,
        RollingMin,
        RollingSum,
        RollingVwap,
        Rsi,
        Sma,
        StandardDeviation,
        Vwap,
        ZScore,
        microprice,
    )
    from engine.model.instruments import Instrument
    from engine.strategy.api import (
        Answer,
        Bar,
        Book,
        BookUpdate,
        Context,
        Corporate,
        Fill,
        News,
        OpenOrder,
        OrderUpdate,
        Quote,
        Status,
        Strategy,
        Trade,
        compiled,
    )

_HOME = {
    "Strategy": "engine.strategy.api",
    "Context": "engine.strategy.api",
    "Trade": "engine.strategy.api",
    "Answer": "engine.strategy.api",
    "Prompt": "engine.answers.prompts",
    "prompt": "engine.answers.prompt_files",
    "compiled": "engine.strategy.api",
    "Quote": "engine.strategy.api",
    "Book": "engine.strategy.api",
    "BookUpdate": "engine.strategy.api",
    "Bar": "engine.strategy.api",
    "News": "engine.strategy.api",
    "Corporate": "engine.strategy.api",
    "Status": "engine.strategy.api",
    "Fill": "engine.strategy.api",
    "OrderUpdate": "engine.strategy.api",
    "OpenOrder": "engine.strategy.api",
    "Instrument": "engine.model.instruments",
    "Atr": "engine.market.indicators",
    "Bollinger": "engine.market.indicators",
    "Ema": "engine.market.indicators",
    "Macd": "engine.market.indicators",
    "Microprice": "engine.market.indicators",
    "OrderFlowImbalance": "engine.market.indicators",
    "RealisedVolatility": "engine.market.indicators",
    "RollingMax": "engine.market.indicators",
    "RollingMin": "engine.market.indicators",
    "RollingSum": "engine.market.indicators",
    "RollingVwap": "engine.market.indicators",
    "Rsi": "engine.market.indicators",
    "Sma": "engine.market.indicators",
    "StandardDeviation": "engine.market.indicators",
    "Vwap": "engine.market.indicators",
    "ZScore": "engine.market.indicators",
    "microprice": "engine.market.indicators",
}

__all__ = [
    "Answer",
    "Atr",
    "Bar",
    "Bollinger",
    "Book",
    "BookUpdate",
    "Context",
    "Corporate",
    "Ema",
    "Fill",
    "Instrument",
    "Macd",
    "Microprice",
    "News",
    "OpenOrder",
    "OrderFlowImbalance",
    "OrderUpdate",
    "Prompt",
    "Quote",
    "RealisedVolatility",
    "RollingMax",
    "RollingMin",
    "RollingSum",
    "RollingVwap",
    "Rsi",
    "Sma",
    "StandardDeviation",
    "Status",
    "Strategy",
    "Trade",
    "Vwap",
    "ZScore",
    "compiled",
    "microprice",
    "prompt",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'engine' has no attribute '{name}'")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
