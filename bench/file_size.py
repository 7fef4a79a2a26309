"""How large is a sealed log, against the same columns as Parquet?

The other is what pyarrow writes by default with zstd. Once for rows alone (W3), once for recordings that keep
every frame: the shipped sample and, where they are there, the Binance captures of ENGINE_TEST_DATA. A
recording is measured whole, and with its `wire` left out of both files.

    python -m bench.file_size
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from bench.common import CACHE, ROOT, engine_command, run_json, show
from bench.logs import log_of
from engine.log.reader import LogReader
from engine.log.schema import LogHeader
from engine.log.seal import seal
from engine.log.writer import LogWriter
from engine.model.rows import ROW

SAMPLE = ROOT / "recordings" / "2024-06-01.arrow"


def parquet_bytes(table: pa.Table) -> int:
    """Size of the table as zstd Parquet with pyarrow's defaults."""
    path = CACHE / "size.parquet"
    pq.write_table(table, path, compression="zstd")
    return path.stat().st_size


def without_wire(log: Path) -> Path:
    """The log with null in every `wire`, sealed anew; made if it is not there."""
    path = CACHE / "logs" / f"{log.stem}-without-wire.arrow"
    path.unlink(missing_ok=True)
    with LogWriter(path, LogHeader(engine="bench", created="2024-01-01T00:00:00Z")) as writer:
        last_ts = 0
        for batch in LogReader(log).batches():
            assert batch.data is not None
            packed = np.zeros(batch.count, ROW)
            for name in ROW.names or ():
                if hasattr(batch, name):
                    packed[name] = getattr(batch, name)
            texts = [None if value is None else value.encode() for value in batch.data.to_pylist()]
            packed["data_length"] = [-1 if text is None else len(text) for text in texts]
            packed["wire_length"] = -1
            writer.rows.extend(packed, [text for text in texts if text is not None], [])
            writer.flush()
            last_ts = int(batch.ts[-1])
        writer.close(reason="bench", ts=last_ts + 1)
    seal(path)
    return path


def ratio(log: Path) -> str:
    """A sealed log's size over that of its Parquet twin, with both."""
    with pa.memory_map(str(log)) as source:
        table = ipc.open_file(source).read_all()
        other = parquet_bytes(table)
    own = log.stat().st_size
    return f"{own / other:.3f} ({own / 1e6:.2f} MB against {other / 1e6:.2f} MB, {table.num_rows:,} rows)"


def captures() -> list[Path]:
    """The Binance captures as logs, where this machine has them."""
    folder = os.environ.get("ENGINE_TEST_DATA")
    if not folder:
        return []
    logs = []
    for capture in sorted(Path(folder).glob("binance_spot/btcusdt_2024*.gz")):
        log = CACHE / "logs" / f"{capture.stem}.arrow"
        if not log.exists():
            run_json(engine_command("log", "import", capture, "--to", log, "--json"))
        logs.append(log)
    return logs


def main() -> None:
    """Print one line per file."""
    rows = [("W3, no frames", ratio(log_of("w3")), "at most 0.95")]
    for log in (*[path for path in (SAMPLE,) if path.exists()], *captures()):
        rows.append((f"{log.name}, with wire", ratio(log), "at most 0.95"))
        rows.append((f"{log.name}, without", ratio(without_wire(log)), "at most 0.95"))
    show("Sealed log / zstd Parquet of the same columns", rows)


if __name__ == "__main__":
    main()
