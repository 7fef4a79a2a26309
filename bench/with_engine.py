"""How many rows a second does a run of the engine take, its columns being in memory?

Started by the measurements beside it, in a fresh process:

    python -m bench.with_engine LOG --strategy FILE [--set NAME=VALUE] [--clock venue] [--latency 0,1ms,1ms]
        [--profile hftbacktest] [--fees MAKER,TAKER] [--skip-rows N] [--interpreted]

What counts begins with batches in memory, as kernels read them, and ends when all of the journal is hashed
and written to its file. Not in it are reading the log, numbering its instruments, the strategy's
compilation (a run over the first rows has done it) and the last fsync of the journal; the same is left out
of the peers' figures, who keep no journal. `--skip-rows` leaves the first batches out as well, to look at
what comes after a strategy has placed its orders. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import tempfile
from pathlib import Path
from typing import Any

from bench.common import Stopwatch
from engine.config import Fees, Latency, Risk, RunConfig, parse_basis_points, parse_duration
from engine.log.journal_thread import BackgroundJournal
from engine.log.reader import LogReader
from engine.log.schema import Batch
from engine.loop.run import Runner
from engine.loop.source import NEEDED, Numbering
from engine.model.kinds import Flag
from engine.profiles import load_profile
from engine.strategy.loader import load_strategy

ROWS_OF_WARM_UP = 2_000


def parse() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("log", type=Path)
    parser.add_argument("--strategy", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--clock", default="received")
    parser.add_argument("--latency", default="0,0,0")
    parser.add_argument("--profile", default="default")
    parser.add_argument("--fees", default="0,1", help="basis points of maker and taker")
    parser.add_argument("--skip-rows", type=int, default=0)
    parser.add_argument("--interpreted", action="store_true")
    return parser.parse_args()


def config_of(options: argparse.Namespace) -> RunConfig:
    """The run's configuration; no collar, which the peers do not have either."""
    feed, entry, response = (parse_duration(part, "--latency") for part in options.latency.split(","))
    maker, taker = (parse_basis_points(part, "--fees") for part in options.fees.split(","))
    profile = load_profile(options.profile)
    return RunConfig(
        latency=Latency(feed, entry, response),
        profile=profile.name,
        fees=Fees(maker, taker),
        rules=profile.rules,
        risk=Risk(collar_millionths=0),
        clock=options.clock,
    )


def run(options: argparse.Namespace, journal: Path, most_rows: int = 0) -> dict[str, Any]:
    """One run over the log, or over its first rows."""
    written = BackgroundJournal(journal)
    loaded = load_strategy(str(options.strategy), options.settings)
    runner = Runner(config_of(options), loaded, written, interpreted=options.interpreted)
    numbering = Numbering(str(options.log), runner.define, runner.registry)
    parts: list[Batch] = []
    rows = 0
    for batch in LogReader(options.log, NEEDED).batches():
        for part in numbering.split(batch):
            # The strategy begins, and is compiled, with the first row of the market: it stands alone.
            edge = _first_message(part) if part.count > 1 and not rows else 0
            parts += [part.slice(0, edge), part.slice(edge, part.count)] if 0 < edge < part.count else [part]
            rows += part.count if part.count > 1 else 0
        if most_rows and rows >= most_rows:
            parts[-1] = parts[-1].slice(0, _whole(parts[-1], most_rows))
            break
    skipped = 0
    while parts and (skipped <= options.skip_rows or not runner.started):
        skipped += parts[0].count
        runner.feed(parts.pop(0), 0)
    rows = sum(part.count for part in parts)
    gc.collect()
    with Stopwatch() as watch:
        for part in parts:
            runner.feed(part, 0)
        runner.finish()
        written.flush()
    written.close()
    return {
        "rows": rows,
        "seconds": watch.seconds,
        "orders": runner.ledger.orders,
        "fills": runner.ledger.fills,
        "decisions": written.records,
        "open_orders": runner.memory.get("live_orders"),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _first_message(part: Batch) -> int:
    return int((part.flags & int(Flag.LAST) > 0).argmax()) + 1


def _whole(part: Batch, rows: int) -> int:
    """Rows of whole messages, about so many."""
    ends = (part.flags[:rows] & int(Flag.LAST)).nonzero()[0]
    return int(ends[-1]) + 1 if len(ends) else part.count


def main() -> None:
    """Once over the first rows, once over all."""
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        skip, options.skip_rows = options.skip_rows, 0
        run(options, Path(folder) / "warm-up.arrow", ROWS_OF_WARM_UP)
        options.skip_rows = skip
        print(json.dumps(run(options, Path(folder) / "journal.arrow")))


if __name__ == "__main__":
    main()
