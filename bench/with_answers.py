"""What do ten thousand recorded answers cost a backtest?

W1 with 10,000 headlines between its trades. The strategy that ships for it, momentum_sentiment, asks about
each and gets every answer from a store; beside it, the same over W1 without headlines. And the least that a
strategy can do, two averages: once it asks about every headline, once it hears them and asks nothing. All are
the command as a user types it, in processes of their own, in turn. No server runs and no key is set, so that
a call would fail the run; that the library was not imported is looked at in another run.

    python -m bench.with_answers [--runs 5] [--rows 10000]
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import CACHE, ROOT, Stopwatch, alternate, arguments, engine_command, medians, show
from bench.logs import LAST, ROWS_PER_BATCH, log_of, packed_rows

HEADLINES = 10_000
SYMBOL = "BTCUSDT"
STRATEGY = ROOT / "bench" / "strategies" / "asking.py"
ANSWER = '{"rationale":"One sentence that says why it is so.","risk":false,"sentiment":0.25,"topic":"other"}'
LATENCY_NS = 180_000_000
_COUNTED = """import sys
from engine.cli.main import main

try:
    main()
finally:
    print("anthropic" in sys.modules)
"""


def headline_of(number: int) -> str:
    """Words of a synthetic headline, about as long as real ones."""
    return f"Synthetic headline {number}: an invented firm says that its invented business went on as before"


def log_with(headlines: int) -> Path:
    """W1 with so many headlines at even distances, sealed; made once."""
    from engine.log.schema import LogHeader
    from engine.log.seal import seal
    from engine.log.writer import LogWriter
    from engine.model.kinds import InstrumentData, Kind, NewsData, SourceData, encode_canonical

    path = CACHE / "logs" / f"w1-{headlines}-headlines.arrow"
    if path.exists():
        return path
    building = path.with_suffix(".building")
    building.unlink(missing_ok=True)
    packed = packed_rows("w1")
    source = SourceData(name="bench", detail={"workload": "w1 with headlines"})
    instrument = InstrumentData(
        key=f"{SYMBOL}.binance",
        symbol=SYMBOL,
        venue="binance",
        price_decimals=2,
        size_decimals=3,
        price_increment="0.01",
        size_increment="0.001",
        base="BTC",
        quote="USDT",
        channels=("trade", "news"),
    )
    cuts = np.linspace(0, len(packed), headlines + 1).astype(np.int64).tolist()
    first_ts = int(packed["ts"][0])
    with LogWriter(building, LogHeader(engine="bench", venues=("binance",))) as writer:
        writer.rows.append(first_ts - 2, Kind.SOURCE, source=1, flags=LAST, data=encode_canonical(source))
        data = encode_canonical(instrument)
        writer.rows.append(first_ts - 1, Kind.INSTRUMENT, source=1, instrument=1, flags=LAST, data=data)
        writer.flush()
        for number, (start, stop) in enumerate(pairwise(cuts)):
            trades = packed[start:stop]
            writer.rows.extend(trades, [], [])
            ts = int(trades["ts"][-1])  # times strictly increase: there is room behind a trade
            news = NewsData(f"n{number}", headline_of(number), symbols=(SYMBOL,))
            writer.rows.append(
                ts + 1, Kind.NEWS, source=1, instrument=1, flags=LAST, data=encode_canonical(news)
            )
            if writer.rows.count >= ROWS_PER_BATCH:
                writer.flush()
        writer.close(reason="end of workload", ts=int(packed["ts"][-1]) + 2)
    seal(building)
    building.replace(path)
    return path


def store_for(headlines: int) -> Path:
    """Answers to all that both strategies ask about these headlines; made once for every run of this file."""
    from engine.answers.store import AnswerStore

    folder = CACHE / f"with-answers-{headlines}"
    shutil.rmtree(folder, ignore_errors=True)
    AnswerStore(folder).add(_answers(headlines))
    return folder


def _answers(headlines: int) -> Iterator[Any]:
    import engine
    from engine.answers.requests import request_of
    from engine.answers.stored import StoredAnswer
    from engine.model.kinds import AnswerData, AttemptData

    sys.path.insert(0, str(STRATEGY.parent))
    from asking import PROMPT  # type: ignore[import-not-found]

    shipped = engine.prompt("sentiment")
    wire = json.dumps({"id": "msg_0123456789", "content": [{"type": "text", "text": ANSWER}]}).encode()
    attempts = (AttemptData(began_ns=0, took_ns=LATENCY_NS, status=200, request_id="req_0123456789"),)
    for number in range(headlines):
        headline = headline_of(number)
        fields: dict[str, object] = {"symbol": SYMBOL, "headline": headline, "summary": ""}
        for request in (request_of(PROMPT, {"headline": headline}), request_of(shipped, fields)):
            data = AnswerData(
                request.key,
                request.canonical().decode(),
                "answered",
                text=ANSWER,
                model=request.model,
                latency_ns=LATENCY_NS,
                attempts=attempts,
            )
            yield StoredAnswer(data, wire, 1_717_200_000_000_000_000 + number)


def arguments_of(log: Path, answers: Path, *strategy: str) -> list[str | Path]:
    """The backtest's own words."""
    words: list[str | Path] = ["backtest", log, "--strategy", *strategy]
    return [*words, "--answers-folder", answers, "--runs", CACHE / "runs", "--json"]


def run(arguments: list[str | Path], questions: int) -> float:
    """Seconds of the whole command, which asks so many questions."""
    with Stopwatch() as watch:
        done = subprocess.run(
            engine_command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
            cwd=ROOT,
            env=_without_key(),
        )
    figures = json.loads(done.stdout)["questions"] or {"asked": 0, "outcomes": {}}
    # The last headline is the log's end: its answer would come after it.
    if figures["asked"] != questions or figures["outcomes"].get("answered", 0) < questions - 1:
        raise SystemExit(f"{figures}: not {questions:,} answers")
    return watch.seconds


def imports_the_library(arguments: list[str | Path]) -> bool:
    """Whether a backtest that gets answers has imported the API's client."""
    done = subprocess.run(
        [sys.executable, "-c", _COUNTED, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        cwd=ROOT,
        env=_without_key(),
    )
    return done.stdout.splitlines()[-1] != "False"


def _without_key() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ANTHROPIC")}


def main() -> None:
    """Alternate, print the ratios."""
    options = arguments(__doc__).parse_args()
    count = options.rows or HEADLINES
    log, answers = log_with(count), store_for(count)
    own = ("momentum_sentiment", "--set", "size_max=0.1")
    least = str(STRATEGY)
    contenders = {
        "momentum_sentiment": (arguments_of(log, answers, *own), count),
        "momentum_sentiment without": (arguments_of(log_of("w1"), answers, *own), 0),
        "two averages": (arguments_of(log, answers, least), count),
        "two averages without": (arguments_of(log, answers, least, "--set", "asking=false"), 0),
    }
    calls: dict[str, Callable[[], float]] = {name: partial(run, *how) for name, how in contenders.items()}
    median = medians(alternate(calls, options.runs))
    rows = []
    for name in ("momentum_sentiment", "two averages"):
        with_them, without = median[name], median[f"{name} without"]
        figures = f"{with_them / without:.2f} × ({with_them:.2f} s against {without:.2f} s)"
        rows.append((f"{name}, {count:,} answers", figures, "at most 1.3 ×"))
    imported = "imported" if imports_the_library(contenders["two averages"][0]) else "not imported"
    rows.append(("the API's client", imported, "not imported"))
    show(f"W1 and {count:,} headlines, each asked about", rows)


if __name__ == "__main__":
    main()
