"""How many rows a second come out of a sealed log as the kernels' columns?

W3 (5.4 million rows of depth and trades), every column that a backtest asks for, read the way a backtest
reads: batches decoded ahead, each verified before it is handed out. Once decompressed from the file, once
from the decoded cache that the first reading left; in turn. The columns that a compiled market maker needs,
the others blank, are measured beside them. The file is in the page cache each time.

    python -m bench.read_rate
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.common import Stopwatch, alternate, arguments, medians, show
from bench.logs import log_of
from engine.log.cache import open_log
from engine.log.reader import LogReader
from engine.loop.backtest import PREFETCH
from engine.loop.source import NEEDED

BLANK = ("ts_venue", "source", "part", "id")


def rate(opened: Callable[[], LogReader]) -> float:
    """Rows a second, from opening the log to its last batch."""
    with Stopwatch() as watch:
        log = opened()
        rows = sum(batch.count for batch in log.batches(prefetch=PREFETCH))
    log.close()
    return rows / watch.seconds


def building(log: Path) -> float:
    """Rows a second of the first reading, which writes the cache, until all of it is written."""
    from engine.log import cache_folder

    shutil.rmtree(cache_folder.decoded_folder(), ignore_errors=True)
    with Stopwatch() as watch, open_log(log, NEEDED, least_rows=0) as reader:
        rows = sum(batch.count for batch in reader.batches(prefetch=PREFETCH))
    return rows / watch.seconds


def main() -> None:
    """Five rounds of each."""
    options = arguments(__doc__).parse_args()
    log = log_of("w3", options.rows)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ENGINE_CACHE"] = folder  # the user's own stays as it is
        first = medians(alternate({"first": lambda: building(log)}, options.runs))["first"]
        rates = medians(
            alternate(
                {
                    "file": lambda: rate(lambda: LogReader(log, NEEDED)),
                    "cache": lambda: rate(lambda: open_log(log, NEEDED, least_rows=0)),
                    "few from file": lambda: rate(lambda: LogReader(log, NEEDED, blank=BLANK)),
                    "few from cache": lambda: rate(lambda: open_log(log, NEEDED, blank=BLANK, least_rows=0)),
                },
                options.runs,
            )
        )

    def shown(value: float) -> str:
        return f"{value / 1e6:.1f} M rows/s"

    show(
        "Reading a sealed log into the kernels' columns",
        [
            ("sealed zstd file, all columns of a run", shown(rates["file"]), "at least 25 M"),
            ("decoded cache, all columns of a run", shown(rates["cache"]), "at least 60 M"),
            (f"sealed zstd file, {', '.join(BLANK)} blank", shown(rates["few from file"]), ""),
            (f"decoded cache, {', '.join(BLANK)} blank", shown(rates["few from cache"]), ""),
            ("first reading, the cache written", shown(first), ""),
        ],
    )


if __name__ == "__main__":
    main()
