"""How long does it take to find an answer in a store of a million, and does memory grow with it?

Keys are those of a million different questions, answers are small; every look-up verifies the row's checksum
and decodes it. In a fresh process: the store is opened, then 100,000 random hits and as many misses are timed
one by one: in a store of one file, of 2, and of 40. Memory is what the process allocated by then (RssAnon);
the mapped files are left out, the system takes their pages back whenever it likes.

    python -m bench.answers [--rows 1000000]
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.common import CACHE, Stopwatch, arguments, percentile, run_json, show
from bench.memory import anonymous_bytes

ANSWERS = 1_000_000
LOOKUPS = 100_000
FILES = 40
MODEL = "claude-haiku-5-5"
_BLOCK = 25_000


def key_of(number: int) -> tuple[str, str]:
    """Canonical request and key of a synthetic question."""
    from engine.answers.requests import Request

    asked = f"Headline: number {number} of a synthetic market"
    body = {"model": MODEL, "max_tokens": 512, "messages": [{"role": "user", "content": asked}]}
    request = Request("sentiment", 1, 0, body)
    return request.canonical().decode(), request.key


def made(numbers: range) -> Iterator[Any]:
    """Answers to these questions."""
    from engine.answers.stored import StoredAnswer
    from engine.model.kinds import AnswerData, AttemptData

    text = (
        '{"rationale":"One sentence that says why it is so.","risk":false,"sentiment":0.25,"topic":"other"}'
    )
    wire = json.dumps({"id": "msg_0123456789", "content": [{"type": "text", "text": text}]}).encode()
    for number in numbers:
        request, key = key_of(number)
        attempts = (
            AttemptData(began_ns=0, took_ns=180_000_000, status=200, request_id=f"req_{number:012d}"),
        )
        data = AnswerData(key, request, "answered", text=text, model=MODEL, attempts=attempts)
        yield StoredAnswer(data, wire, 1_717_200_000_000_000_000 + number)


def store_of(answers: int, files: int) -> Path:
    """A folder with so many answers in so many files, made once."""
    from engine.answers.files import STORE_VERSION, write_answers

    folder = CACHE / f"answers-{STORE_VERSION}-{answers}-{files}"
    if len(list(folder.glob("*.arrow"))) == files:
        return folder
    print(f"making {answers:,} answers in {files} files", file=sys.stderr, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    share = answers // files
    for file in range(files):
        numbers = sorted(range(file * share, (file + 1) * share), key=lambda number: key_of(number)[1])
        answers_of_file = (answer for number in numbers for answer in made(range(number, number + 1)))
        write_answers(folder, answers_of_file)
    return folder


def measure(folder: Path, answers: int, lookups: int) -> dict[str, float]:
    """Times of random look-ups in this process, in microseconds, and its memory in MB."""
    from engine.answers.store import AnswerStore

    chance = random.Random(1)
    hits = [key_of(chance.randrange(answers))[1] for _ in range(lookups)]
    misses = [key_of(answers + number)[1] for number in range(lookups)]
    before = anonymous_bytes(os.getpid())
    with Stopwatch() as opening:
        store = AnswerStore(folder)
        store.get(hits[0])
    figures: dict[str, float] = {"opening_ms": opening.seconds * 1e3}
    for name, keys, found in (("hit", hits, True), ("miss", misses, False)):
        for key in keys[:2000]:
            store.get(key)
        gc.collect()
        took = []
        for key in keys:
            began = time.perf_counter_ns()
            answer = store.get(key)
            took.append(time.perf_counter_ns() - began)
            if (answer is not None) != found or (answer is not None and answer.key != key):
                raise SystemExit(f"{folder}: look-up of {key} went wrong")
        took.sort()
        figures[f"{name}_us"] = percentile(took, 0.5) / 1e3
        figures[f"{name}_p99_us"] = percentile(took, 0.99) / 1e3
    figures["memory_mb"] = (anonymous_bytes(os.getpid()) - before) / 1e6
    return figures


def main() -> None:
    """Each store in a process of its own."""
    parser = arguments(__doc__)
    parser.add_argument("--measure", type=Path, help="(what the fresh process does)")
    options = parser.parse_args()
    answers = options.rows or ANSWERS
    lookups = min(LOOKUPS, answers)
    if options.measure:
        print(json.dumps(measure(options.measure, answers, lookups)))
        return
    rows = []
    for files in (1, 2, FILES):
        folder = store_of(answers, files)
        command = [sys.executable, "-m", "bench.answers", "--rows", str(answers), "--measure", str(folder)]
        figures = run_json(command)
        name = "one file" if files == 1 else f"{files} files"
        for kind in ("hit", "miss"):
            median, late = figures[f"{kind}_us"], figures[f"{kind}_p99_us"]
            rows.append((f"{name}, {kind}: median, p99", f"{median:.1f}, {late:.1f} µs", "at most 20 µs"))
        rows.append((f"{name}, opening and the first", f"{figures['opening_ms']:.0f} ms", "—"))
        rows.append((f"{name}, memory", f"{figures['memory_mb']:.0f} MB", "at most 16 bytes an answer"))
    show(f"Look-ups among {answers:,} answers", rows)


if __name__ == "__main__":
    main()
