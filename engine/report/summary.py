"""What a run came to: one record for machines, one table for people.

Money is exact until the last step: cash and positions are integers, a position is marked at mid, else at
the last trade, and only the sum becomes a float. What is read off the equity's samples stands in `curve`,
what a model may have known before in `hindsight`.
"""

from __future__ import annotations

from fractions import Fraction

import msgspec
import numpy as np

from engine.config import slippage_text
from engine.execution.money import MONEY_DECIMALS
from engine.execution.state import MATCH_BARS
from engine.loop.asking import Figures
from engine.loop.run import Runner
from engine.model.errors import InternalError
from engine.model.instruments import Instrument
from engine.model.units import SECOND_NS, format_time, parse_decimal, trim_decimal
from engine.report.curve import DRAWDOWN_SAMPLING, SHARPE_SAMPLING, drawdown_of, sharpe_of
from engine.report.hindsight import Hindsight, hindsight_of, hindsight_rows, question_warnings, questions_text


class Summary(msgspec.Struct, kw_only=True):
    """A run's figures. Money in the run's currency, sizes in base units, times in seconds or ISO."""

    run_dir: str = ""
    strategy: str = ""
    events: int = 0  # rows
    messages: int = 0
    seconds: float = 0.0
    events_per_second: float = 0.0
    orders: int = 0  # sent; what risk refused is counted beside them
    refused: int = 0
    fills: int = 0
    fees: float = 0.0  # of all fills, those in other assets at their last price
    fees_by_asset: dict[str, float] = {}  # as they were charged
    pnl: float = 0.0
    position: dict[str, float] = {}
    journal_hash: str = ""
    state_hash: str = ""  # of the engine's state at the end; "": it was not kept
    decisions: int = 0
    account: str = ""
    leverage: float | None = None  # of a margin account
    borrow_percent: float | None = None  # a year
    borrow_fees: float = 0.0
    dividends: float = 0.0  # received less paid
    split_payouts: float = 0.0  # for what splits left of a lot
    currency: str = ""
    capital: float = 0.0
    equity: float = 0.0
    return_percent: float = 0.0
    max_drawdown_percent: float = 0.0
    max_drawdown: float = 0.0
    drawdown_sampling: str = DRAWDOWN_SAMPLING
    sharpe: float | None = None
    sharpe_returns: int = 0  # how many returns it was made from
    sharpe_sampling: str = SHARPE_SAMPLING
    round_trips: int = 0
    win_rate_percent: float | None = None
    turnover: float = 0.0
    fills_by_reason: dict[str, int] = {}
    ends_by_reason: dict[str, int] = {}
    latency_ms: dict[str, float] = {}
    bars_at_once: bool = False  # orders on instruments that have only bars had no latency
    latency_rows: int = 0  # recorded orders that entry and response were read off; 0: they are constant
    profile: str = ""
    fee_asset: str = ""  # "quote", "received", or a name; those of venues beside it
    slippage: str = ""
    queue: str = ""
    clock: str = ""
    stamps_ahead: int = 0  # clock `venue`: rows stamped after their receipt, held back to it
    stamps_behind: int = 0  # and those stamped before the look-ahead, taken to be as old as that
    questions: Figures | None = None  # to Claude; None: nothing was asked
    hindsight: Hindsight | None = None  # before and after what the models that were asked can have read
    first: str = ""
    last: str = ""
    inputs: list[str] = []
    warnings: list[str] = []
    stopped_by: str = ""


def summarise(runner: Runner, *, seconds: float, strategy: str) -> Summary:
    """The summary of a finished runner; files and warnings are the caller's to add."""
    ledger = runner.ledger
    config = runner.config
    unit = 10**MONEY_DECIMALS
    assets = runner.memory.assets
    # Without an instrument there is no currency yet, and nothing has become of the capital.
    begun = len(assets) > 0
    cash = int(assets[0]["cash"] if begun else Fraction(config.account.capital) * unit)
    _check_books(runner)
    ours = [
        holding
        for index, holding in ledger.holdings.items()
        if runner.memory.of_instrument(index, "asset") == 0
    ]
    capital = Fraction(config.account.capital)
    worth = Fraction(cash, unit)
    fees, charged, warnings = _fees(runner)
    worth -= charged
    position: dict[str, float] = {}
    for instrument in runner.registry.instruments:
        held = runner.memory.of_instrument(instrument.index, "position")
        if not held:
            continue
        size = Fraction(held, 10**instrument.size_decimals)
        position[instrument.key] = float(size)
        mark = mark_of(runner, instrument)
        if mark is None:
            warnings.append(f"{instrument.key}: no price to mark the position of {float(size)} at")
        elif runner.memory.of_instrument(instrument.index, "asset") == 0:
            worth += size * mark
    of_fees = set(runner.memory.fee_plans.assets.values())
    foreign = [
        f"{name} {trim_decimal(int(asset['cash']), MONEY_DECIMALS)}"
        for number, (name, asset) in enumerate(zip(runner.memory.asset_names, assets, strict=True))
        if number and number not in of_fees and int(asset["cash"])
    ]
    if foreign:
        others = ", ".join(foreign)
        warnings.append(
            f"the figures are those of {runner.memory.asset_names[0]} alone; other cash: {others}"
        )
    samples = runner.keeper.equity_curve()
    curve = np.append(samples["equity"], float(worth))
    times = np.append(samples["ts"], runner.last_ts)
    drawdown, drawdown_percent = drawdown_of(curve)
    sharpe, returns = sharpe_of(times, curve)
    warnings += _silences(runner)
    ahead, behind = (
        (runner.venue_clock.ahead, runner.venue_clock.behind) if runner.venue_clock is not None else (0, 0)
    )
    warnings += _held_back(runner, ahead, behind)
    asked = runner.asking.figures
    hindsight = hindsight_of(runner, times, curve) if asked.asked else None
    warnings += question_warnings(asked, hindsight, answers=config.answers)
    strangers = runner.memory.order_tables.strangers
    if strangers:
        warnings.append(
            f"{strangers:,} rows end an order that the input has never shown: they change nothing, and its "
            "level was shown without it"
        )
    trips = ledger.round_trips
    return Summary(
        strategy=strategy,
        events=runner.rows,
        messages=runner.messages,
        seconds=round(seconds, 6),
        events_per_second=round(runner.rows / seconds) if seconds > 0 else 0,
        orders=ledger.orders,
        refused=sum(n for name, n in ledger.ends_by_reason.items() if name.startswith("refused")),
        fills=ledger.fills,
        fees=float(Fraction(sum(h.fees for h in ours), unit) + charged),
        fees_by_asset={name: float(Fraction(amount, unit)) for name, amount in fees.items()},
        pnl=float(worth - capital),
        position=position,
        journal_hash=runner.journal.hash.head(),
        decisions=runner.journal.records,
        account=config.account.type,
        leverage=config.account.leverage_millionths / 1e6 if config.account.type == "margin" else None,
        borrow_percent=config.account.borrow_rate / 1e7 if config.account.type == "margin" else None,
        borrow_fees=float(Fraction(sum(h.borrow_fees for h in ours), unit)),
        dividends=float(Fraction(sum(h.dividends for h in ours), unit)),
        split_payouts=float(Fraction(sum(h.payouts for h in ours), unit)),
        currency=runner.memory.asset_names[0] if runner.memory.asset_names else config.account.currency,
        capital=float(capital),
        equity=float(worth),
        return_percent=float((worth / capital - 1) * 100) if capital else 0.0,
        max_drawdown=drawdown,
        max_drawdown_percent=drawdown_percent,
        sharpe=sharpe,
        sharpe_returns=returns,
        round_trips=trips,
        win_rate_percent=100.0 * ledger.won / trips if trips else None,
        turnover=float(Fraction(sum(h.turnover for h in ours), unit)),
        fills_by_reason=dict(sorted(ledger.fills_by_reason.items())),
        ends_by_reason=dict(sorted(ledger.ends_by_reason.items())),
        latency_ms={
            name: getattr(config.latency, f"{name}_ns") / 1e6
            for name in (("feed",) if config.latency.table else ("feed", "entry", "response"))
        },
        latency_rows=len(config.latency.table),
        bars_at_once=not config.bar_latency
        and any(
            runner.memory.of_instrument(i.index, "match_on") == MATCH_BARS
            for i in runner.registry.instruments
        ),
        profile=config.profile,
        queue=_queue(runner),
        fee_asset=", ".join(
            [config.fees.asset, *(f"{name} {fees.asset}" for name, fees in config.venue_fees.items())]
        ),
        slippage=slippage_text(config),
        clock=config.clock,
        stamps_ahead=ahead,
        stamps_behind=behind,
        questions=asked if asked.asked else None,
        hindsight=hindsight,
        first=format_time(runner.first_ts),
        last=format_time(runner.last_ts),
        warnings=warnings,
    )


def _check_books(runner: Runner) -> None:
    """Two books are kept, by the kernel and by the ledger: a disagreement is a bug, and is said."""
    paid: dict[int, int] = {}
    for index, holding in runner.ledger.holdings.items():
        held = runner.memory.of_instrument(index, "position")
        if held != holding.position:
            raise InternalError(
                f"{runner.registry.instruments[index].key}: the kernel holds {held}, the fills add up to "
                f"{holding.position}"
            )
        if runner.memory.of_instrument(index, "fee_base") != holding.fees_base:
            raise InternalError(
                f"{runner.registry.instruments[index].key}: fees of the kernel and of the fills differ"
            )
        asset = runner.memory.of_instrument(index, "asset")
        paid[asset] = paid.get(asset, 0) + holding.cash
        asset = runner.memory.of_instrument(index, "fee_asset")
        if holding.fees_named:
            paid[asset] = paid.get(asset, 0) - holding.fees_named
    for asset, name in enumerate(runner.memory.asset_names):
        capital = parse_decimal(runner.config.account.capital, MONEY_DECIMALS) if asset == 0 else 0
        cash = int(runner.memory.assets[asset]["cash"])
        if cash != capital + paid.get(asset, 0):
            raise InternalError(
                f"{name}: the kernel has {cash}, the fills leave {capital + paid.get(asset, 0)}"
            )


def _fees(runner: Runner) -> tuple[dict[str, int], Fraction, list[str]]:
    """Fees by asset in units of 1e-8; what those in other assets than the run's are worth in it; warnings."""
    memory, unit = runner.memory, 10**MONEY_DECIMALS
    fees: dict[str, int] = {}
    worth = Fraction(0)
    unpriced: set[str] = set()
    for index, holding in runner.ledger.holdings.items():
        who = runner.registry.instruments[index]
        mark = mark_of(runner, who)
        amounts = [(memory.asset_names[memory.of_instrument(index, "asset")], holding.fees)]
        amounts.append((who.base or who.symbol, holding.fees_base))
        amounts.append((memory.fee_plans.of(who).asset, holding.fees_named))
        for name, amount in amounts:
            if amount:
                fees[name or "quote"] = fees.get(name or "quote", 0) + amount
        if holding.fees_base and memory.of_instrument(index, "asset") == 0:
            if mark is None:
                unpriced.add(who.base)
            else:
                worth += Fraction(holding.fees_base, unit) * mark
    for name, number in memory.fee_plans.assets.items():
        owed = -int(memory.assets[number]["cash"])
        by = int(memory.assets[number]["priced_by"]) - 1
        mark = mark_of(runner, runner.registry.instruments[by]) if by >= 0 else None
        if owed and mark is None:
            unpriced.add(name)
        elif owed and mark is not None:
            worth += Fraction(owed, unit) * mark
    words = [
        f"fees in {name} are in no figure: nothing values {name} in the run's currency" for name in unpriced
    ]
    return fees, worth, sorted(words)


def mark_of(runner: Runner, instrument: Instrument) -> Fraction | None:
    """Mid of the matching book, else the last trade, else None; exact."""
    prices = []
    scale = 10**instrument.price_decimals
    for sign in (1, -1):
        found = runner.memory.best_levels(instrument.index, sign, 1)
        prices += [price for price, _ in found]
    if len(prices) == 2:
        return Fraction(sum(prices), 2 * scale)
    last = runner.memory.last_price(instrument.index)
    return Fraction(last, scale) if last else None


_NEEDS = {
    "on_trade": ("trade", "aggtrade"),
    "on_quote": ("quote",),
    "on_book": ("book", "orders"),
    "on_bar": ("bar",),
}


def _silences(runner: Runner) -> list[str]:
    """Handlers of market events that the input had nothing for: the usual reason for a run without orders."""
    there = {channel for instrument in runner.context.visible for channel in instrument.channels}
    missing = [
        name
        for name, channels in _NEEDS.items()
        if name in runner.loaded.handlers and not there.intersection(channels)
    ]
    if not missing or not runner.context.visible:
        return []
    words = ", ".join(sorted(there)) or "nothing"
    return [f"{runner.loaded.name} has {', '.join(missing)}, but the input carries {words}: never called"]


def _queue(runner: Runner) -> str:
    """The queue model: rows by order leave nothing to believe, whatever model was asked for."""
    rules = runner.config.rules
    model = rules.queue + (f":{rules.queue_power}" if rules.queue.startswith("power") else "")
    kinds = {"orders" in i.channels for i in runner.registry.instruments if i.channels}
    if True not in kinds:
        return model
    return f"{model}, fifo by order" if False in kinds else "fifo by order"


def _held_back(runner: Runner, ahead: int, behind: int) -> list[str]:
    """Stamps of the venue's clock that were not believed, each kind with its cure."""
    config = runner.config
    name = next((i.venue for i in runner.registry.instruments), "VENUE")
    words = []
    if ahead:
        words.append(
            f"{ahead:,} rows are stamped after their receipt and were taken to have happened then: the "
            f"venue's clock runs ahead of the recorder's; --venue-shift {name}=-20ms takes 20 ms off them"
        )
    if behind:
        seconds = config.lookahead_ns / SECOND_NS
        words.append(
            f"{behind:,} rows are stamped more than the look-ahead of {seconds:g} s before their receipt and "
            f"were taken to be that old: --lookahead {3 * seconds:g}s believes older ones, --venue-shift "
            f"{name}=20ms adds 20 ms to stamps that run behind"
        )
    return words


def table(summary: Summary) -> str:
    """The summary as aligned lines for people."""
    s = summary
    money = s.currency or "(quote currency not named: --currency)"
    rows: list[tuple[str, str]] = [
        ("P&L", f"{s.pnl:+,.2f} {money}" + (f" ({s.return_percent:+.3f} %)" if s.capital else "")),
        (
            "drawdown",
            f"{s.max_drawdown:,.2f} {money} ({s.max_drawdown_percent:.3f} %), of {s.drawdown_sampling}",
        ),
        (
            "Sharpe",
            f"{s.sharpe:.2f} from {s.sharpe_returns} {s.sharpe_sampling}"
            if s.sharpe is not None
            else "none: too short or flat a curve",
        ),
        (
            "round trips",
            f"{s.round_trips}, {s.win_rate_percent:.1f} % won"
            if s.win_rate_percent is not None
            else f"{s.round_trips}",
        ),
        ("turnover", f"{s.turnover:,.2f} {money}, fees {s.fees:,.2f} {money}{_fee_note(s)}"),
        ("orders", f"{s.orders:,} sent, {s.refused:,} refused{_counts(s.ends_by_reason)}"),
        ("fills", f"{s.fills:,}{_counts(s.fills_by_reason)}"),
        ("position", ", ".join(f"{key} {size:g}" for key, size in s.position.items()) or "flat"),
        ("account", f"{s.account}, capital {s.capital:,.2f} {money}" + _account_note(s)),
        (
            "latency",
            ", ".join(f"{name} {value:g} ms" for name, value in s.latency_ms.items())
            + " (assumed)"
            + (f", entry and response of {s.latency_rows:,} recorded orders" if s.latency_rows else "")
            + (", none on bars" if s.bars_at_once else ""),
        ),
        ("venue", f"profile {s.profile}, queue {s.queue}, clock {s.clock}, slippage {s.slippage}"),
        ("span", f"{s.first} to {s.last}"),
        (
            "events",
            (
                f"{s.events:,} rows in {s.messages:,} messages, {s.seconds:.3f} s, "
                f"{s.events_per_second:,.0f} rows/s"
            ),
        ),
        ("journal", f"{s.decisions:,} decisions, hash {s.journal_hash[:16]}…"),
    ]
    if s.borrow_fees or s.dividends or s.split_payouts:
        said = (
            ("borrow fees", -s.borrow_fees),
            ("dividends", s.dividends),
            ("splits paid out", s.split_payouts),
        )
        words = ", ".join(f"{name} {amount:+,.2f} {money}" for name, amount in said if amount)
        rows.insert(5, ("charges", words))
    if s.questions is not None:
        rows.insert(-1, ("questions", questions_text(s.questions)))
    if s.hindsight is not None:
        rows[1:1] = hindsight_rows(s.hindsight, money)
    if s.run_dir:
        rows.append(("files", s.run_dir))
    width = max(len(name) for name, _ in rows)
    lines = [f"{s.strategy} over {', '.join(s.inputs)}" if s.inputs else s.strategy]
    lines += [f"  {name:<{width}}  {text}" for name, text in rows]
    return "\n".join(lines)


def _counts(counts: dict[str, int]) -> str:
    return f" ({', '.join(f'{n:,} {name}' for name, n in counts.items())})" if counts else ""


def _account_note(s: Summary) -> str:
    if s.account == "margin":
        return f", up to {s.leverage:g} times the equity, shorts borrowed at {s.borrow_percent:g} % a year"
    return ", unlimited: shorts and credit cost nothing" if s.account == "research" else ""


def _fee_note(s: Summary) -> str:
    if all(name in ("quote", s.currency) for name in s.fees_by_asset):
        return ""
    return f" ({', '.join(f'{amount:,.8f} {name}' for name, amount in s.fees_by_asset.items())})"
