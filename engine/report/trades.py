"""Every fill of a run with what it was decided on, for a compliance file: a row for each fill and question.

The journal is read once, as columns, and each log at most once, so a run of a hundred thousand fills takes
seconds. Decimals are texts, exact. Of an answer a row says what was known when the order was sent: one that
came later shaped nothing, and its place is empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from engine.answers.prompts import quoted_text
from engine.answers.requests import request_from
from engine.answers.source import RUN_ANSWERS, unanswered_in
from engine.answers.store import AnswerStore
from engine.execution.journal_kinds import JournalKind
from engine.execution.money import MONEY_DECIMALS
from engine.log.journal import canonical
from engine.model.kinds import AnswerData
from engine.model.units import format_time, trim_decimal
from engine.report.explain import trigger_text
from engine.report.log_facts import Headline, LogFacts, facts_of
from engine.report.questions import tickets_of
from engine.report.runs import RunRecord, input_places, read_run
from engine.report.verify import decisions_of

COLUMNS = (
    *("run", "order", "fill", "decision", "time", "instrument", "side", "size", "price", "fee", "fee_asset"),
    *("liquidity", "decided", "trigger", "message_file", "message_seq", "strategy", "code", "parameters"),
    *("ticket", "asked", "headline", "published", "received", "prompt", "prompt_version", "model", "outcome"),
    *("answer", "rationale", "request_id", "key"),
)
_FILL = ("number", "ts", "order", "instrument", "side", "size", "size_decimals", "price", "price_decimals")
_FEE = ("fee", "fee_asset", "maker")
_SENT = ("number", "ts", "order", "kind", "file", "cause_seq", "trigger", "trigger_id", "terms")
_RATIONALES = ("rationale", "reason", "reasoning", "explanation")
_ON_MESSAGE = 0  # a decision's trigger
_COMPARED = 200  # characters of a headline
_KINDS_SENT = (JournalKind.SUBMIT, JournalKind.AMEND)


@dataclass
class _Order:
    """What an order's fills have in common, and which decisions about it name which questions."""

    cells: dict[str, Any] = field(default_factory=dict)
    shaped: list[tuple[int, int, int]] = field(default_factory=list)  # ticket, decision's number, its time


@dataclass
class _Question:
    """A question as the journal has it, and what the logs and the store know besides."""

    decision: dict[str, Any]
    terms: dict[str, Any]
    time: int  # of asking this very question in the run
    headline: Headline | None = None
    answer: AnswerData | None = None


@dataclass
class Trades:
    """The fills of a run. `notes` say in words what could not be found."""

    run: str
    fills: int
    notes: list[str]
    _table: pa.Table
    _orders: dict[int, _Order]
    _questions: dict[int, _Question]
    _assets: dict[str, tuple[str, str, str]]  # what fees are charged in, by instrument and code

    def rows(self) -> Iterator[dict[str, Any]]:
        """By COLUMNS, in the journal's order; what is not known is "". May be called again."""
        counts: dict[int, int] = {}
        nothing = dict.fromkeys(COLUMNS, "")
        columns = [self._table[name].to_pylist() for name in (*_FILL, *_FEE)]
        for number, ts, order, key, side, size, size_at, price, price_at, fee, asset, maker in zip(
            *columns, strict=True
        ):
            counts[order] = counts.get(order, 0) + 1
            sent = self._orders.get(order) or _Order()
            row: dict[str, Any] = {
                **nothing,
                "run": self.run,
                "order": order,
                "fill": counts[order],
                "decision": number,
                "time": format_time(ts),
                "instrument": key,
                "side": "buy" if side > 0 else "sell",
                "size": trim_decimal(size, size_at),
                "price": trim_decimal(price, price_at),
                "fee": trim_decimal(fee, MONEY_DECIMALS),
                "fee_asset": self._assets[key][asset],
                "liquidity": "maker" if maker else "taker",
                **sent.cells,
            }
            shaped = {ticket: decided for ticket, at, decided in sent.shaped if at < number}
            if not shaped:
                yield row
            for ticket, decided in shaped.items():
                yield {**row, "ticket": ticket, **_cells(self._questions.get(ticket), decided)}


def trades_of(folder: Path) -> Trades:
    """A run's fills and what they were decided on. Raises InputError when the folder is no run."""
    record = read_run(folder)
    journal = decisions_of(folder)
    kinds = journal["kind"]
    places = input_places(folder, record)
    fills = journal.filter(pc.equal(kinds, JournalKind.FILL))
    sent = journal.filter(pc.is_in(kinds, pa.array(_KINDS_SENT, pa.uint8())))
    orders = _orders(sent, record, [path.name for path in places])
    wanted = {ticket for order in orders.values() for ticket, _, _ in order.shaped}
    questions = _questions(journal.filter(pc.equal(kinds, JournalKind.ASK)), wanted) if wanted else {}
    keys = pc.unique(fills["instrument"]).to_pylist()
    facts = facts_of(
        places,
        {(q.decision["file"], q.decision["cause_seq"]) for q in questions.values()},
        {t: q.terms["key"] for t, q in questions.items()} if record.config.answers == "log" else {},
        set(keys),
    )
    _answer(questions, facts, folder, record)
    assets = {key: _assets(key, facts, record) for key in keys}
    return Trades(record.id, fills.num_rows, facts.notes, fills, orders, questions, assets)


def _orders(table: pa.Table, record: RunRecord, files: list[str]) -> dict[int, _Order]:
    """By number, from the decisions that sent and amended them."""
    same = {
        "strategy": record.strategy.reference,
        "code": record.strategy.fingerprint[:16],
        "parameters": blake2b(canonical(record.strategy.parameters), digest_size=8).hexdigest(),
    }
    orders: dict[int, _Order] = {}
    columns = [table[name].to_pylist() for name in _SENT]
    for values in zip(*columns, strict=True):
        entry = dict(zip(_SENT, values, strict=True))
        order = orders.setdefault(entry["order"], _Order())
        if entry["kind"] == JournalKind.SUBMIT:
            known = entry["cause_seq"] >= 0 and entry["file"] < len(files)
            order.cells = {
                **same,
                "decided": format_time(entry["ts"]),
                "trigger": trigger_text(entry),
                "message_file": files[entry["file"]] if known else "",
                "message_seq": entry["cause_seq"] if known else "",
            }
        order.shaped += [(ticket, entry["number"], entry["ts"]) for ticket in tickets_of(entry)]
    return orders


def _questions(table: pa.Table, wanted: set[int]) -> dict[int, _Question]:
    found = {}
    times: dict[str, int] = {}
    for decision in table.select(["ts", "file", "cause_seq", "trigger", "terms"]).to_pylist():
        terms = json.loads(decision["terms"])
        times[terms["key"]] = times.get(terms["key"], 0) + 1
        if terms["ticket"] in wanted:
            found[terms["ticket"]] = _Question(decision, terms, times[terms["key"]])
    return found


def _answer(questions: dict[int, _Question], facts: LogFacts, folder: Path, record: RunRecord) -> None:
    """Give the questions their answers and the headlines that they were asked on."""
    rows = record.config.answers == "log" or not questions
    store, unanswered = (None, {}) if rows else (AnswerStore(folder / RUN_ANSWERS), unanswered_in(folder))
    for ticket, question in questions.items():
        if store is None:
            question.answer = facts.answers.get(ticket)
        else:
            key = question.terms["key"]
            kept = unanswered.get((key, question.time)) or store.get(key)
            question.answer = None if kept is None else kept.data
        place = (question.decision["file"], question.decision["cause_seq"])
        question.headline = _asked_on(
            facts.headlines.get(place, []), question.answer, question.decision["trigger"]
        )


def _asked_on(headlines: list[Headline], answer: AnswerData | None, trigger: int) -> Headline | None:
    """Which of a message's headlines a question was asked on: of several, that which stands in it.

    A question that was asked on a timer, a report or an answer comes after some message that it may have
    nothing to do with: then the only one must stand in it as well.
    """
    certain = len(headlines) == 1 and trigger == _ON_MESSAGE
    if headlines and not certain and answer is not None:
        asked = str(request_from(answer.request).body["messages"][0]["content"])
        for one in headlines:
            begins = one.text[:_COMPARED]  # a prompt may cut it
            if begins in asked or quoted_text(begins) in asked:
                return one
    return headlines[0] if certain else None


def _assets(key: str, facts: LogFacts, record: RunRecord) -> tuple[str, str, str]:
    """Names of what fees are charged in, by the journal's code: quote, base, another asset."""
    who = facts.instruments.get(key)
    fees = record.config.venue_fees.get(key.rpartition(".")[2], record.config.fees)
    return (who and who.quote) or "quote", (who and who.base) or "base", fees.asset


def _cells(question: _Question | None, decided: int) -> dict[str, Any]:
    """A question's part of a row, as things stood when the order was sent."""
    if question is None:
        return {}
    asked, terms, answer = question.decision["ts"], question.terms, question.answer
    cells: dict[str, Any] = {
        "asked": format_time(asked),
        "prompt": terms["prompt"],
        "prompt_version": terms["version"],
        "key": terms["key"],
    }
    if (headline := question.headline) is not None:
        cells["headline"] = headline.text
        cells["published"] = "" if headline.published is None else format_time(headline.published)
        cells["received"] = format_time(headline.received)
    expired = decided >= asked + terms["timeout"]
    arrived = None if answer is None else asked + max(1, answer.latency_ns)
    if answer is None or arrived is None or arrived > decided:
        return {**cells, "outcome": "deadline" if expired else "open"}
    late = arrived >= asked + terms["timeout"]  # at that very time the default is first
    return {
        **cells,
        "model": answer.model or request_from(answer.request).model,
        "outcome": f"{answer.outcome}, late" if late else answer.outcome,
        "answer": answer.text,
        "rationale": _rationale(answer.text),
        "request_id": answer.request_id,
    }


def _rationale(text: str) -> str:
    """The sentence of an answer that says why; "" when it has none."""
    try:
        said = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return ""
    found = [said[name] for name in _RATIONALES if name in said] if isinstance(said, dict) else []
    return found[0] if found and isinstance(found[0], str) else ""
