"""A run's folder, `runs/<id>/`: what was asked, what was decided, what came of it.

    run.json        configuration, strategy, inputs and fingerprints: enough to run it again
    journal.arrow   every decision, in order
    snapshots.arrow the state now and then; missing when none was kept
    summary.json    the figures; missing when the run did not end
    log*.arrow      of a live run: everything that arrived

Nothing in it names a host, a user or an absolute path: inputs are given relative to the folder, and so is
the strategy's file, unless it stands somewhere else altogether: then only its name is kept.
"""

from __future__ import annotations

import os
import platform
import re
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import engine
from engine.config import RunConfig
from engine.log.journal import canonical
from engine.log.reader import LogReader
from engine.log.schema import LogHeader
from engine.model.errors import EngineError, InputError
from engine.model.units import SECOND_NS, format_time
from engine.strategy.loader import LoadedStrategy

if TYPE_CHECKING:
    from engine.loop.backtest import Input

RUN_FILE, JOURNAL_FILE, SUMMARY_FILE = "run.json", "journal.arrow", "summary.json"
SNAPSHOT_FILE = "snapshots.arrow"


class InputRecord(msgspec.Struct, frozen=True):
    """A log that a run read: where it was, and the chain head that proves that it is the same."""

    path: str  # relative to the run's folder
    rows: int = 0
    chain: str = ""
    note: str = ""


class StrategyRecord(msgspec.Struct, frozen=True):
    """The strategy: what finds it again, its parameters, and the fingerprint of its code."""

    reference: str  # a shipped name, or a file (and its class): see `_seen_from`
    fingerprint: str
    parameters: dict[str, Any]
    files: dict[str, str]
    cpu_dependent: tuple[str, ...] = ()


class RunRecord(msgspec.Struct, frozen=True):
    """run.json."""

    id: str
    mode: str  # "backtest" or "paper"
    began: str
    config: RunConfig
    strategy: StrategyRecord
    inputs: tuple[InputRecord, ...] = ()
    engine: str = ""
    code: str = ""  # fingerprint of the engine's own source
    environment: dict[str, str] = {}
    snapshot_every: str = ""  # rows, or "900s" of the loop's time; "": the state was not kept
    began_at: str = ""  # the run and the row of the snapshot that it began at, "": at the first row


def new_run_folder(parent: Path, strategy: str, began_ns: int) -> Path:
    """Create runs/<UTC second>-<strategy>-<counter>; counters begin at 1 within a second."""
    stamp = re.sub(r"[-:]", "", format_time(began_ns // SECOND_NS * SECOND_NS)[:19])
    name = re.sub(r"[^A-Za-z0-9_.]+", "_", strategy)
    for counter in range(1, 10_000):
        folder = parent / f"{stamp}-{name}-{counter}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise EngineError(f"{folder}: cannot be created: {error.strerror}") from None
        return folder
    raise EngineError(f"{parent}: ten thousand runs of {strategy} in one second")


def strategy_record(loaded: LoadedStrategy, folder: Path) -> StrategyRecord:
    """What run.json says of a loaded strategy, seen from the run's folder."""
    _, suffix, class_name = loaded.reference.rpartition(".py")
    return StrategyRecord(
        reference=f"{_seen_from(folder, loaded.path)}{class_name}" if suffix else loaded.reference,
        fingerprint=loaded.fingerprint,
        parameters=dict(loaded.parameters),
        # Code stands beside the strategy, prompts in data/prompts: their folder, which may be a user's home,
        # says nothing more.
        files={Path(name).name: digest for name, digest in loaded.files.items()},
        cpu_dependent=tuple(loaded.cpu_dependent),
    )


def _seen_from(folder: Path, file: Path) -> str:
    """A strategy's file from a run's folder: found again wherever the user stands by then.

    A way that leads out of the project and down again (../../../home/alice/…) would name what is nobody's
    business: of such a file only the name is given.
    """
    file, here, project = file.resolve(), Path.cwd(), folder.resolve().parent.parent
    below = file.is_relative_to(project) or (file.is_relative_to(here) and project.is_relative_to(here))
    return os.path.relpath(file, folder.resolve()) if below else file.name


def log_header(path: Path) -> LogHeader:
    """A log's header; InputError when it is no log."""
    with LogReader(path, ("ts",)) as reader:
        return reader.header


def input_before(path: Path, header: LogHeader, folder: Path) -> InputRecord:
    """What run.json says of an input before it was read: of a sealed log, all there is to say."""
    return InputRecord(os.path.relpath(path, folder), header.sealed_rows, header.sealed_chain, header.note)


def input_record(entry: Input, folder: Path) -> InputRecord:
    """What run.json says of an input, seen from the run's folder."""
    return InputRecord(
        path=os.path.relpath(entry.path, folder), rows=entry.rows, chain=entry.chain, note=entry.header.note
    )


def strategy_reference(folder: Path, record: RunRecord, instead: str = "") -> str:
    """What loads the run's strategy again, from where the user stands; `instead`: the file that it is now.

    Raises InputError when only the file's name is known, and there is none of that name here.
    """
    file, suffix, class_name = record.strategy.reference.rpartition(".py")
    if instead:
        return instead + class_name if suffix and instead.endswith(".py") else instead
    if not suffix:
        return record.strategy.reference
    place = os.path.relpath(os.path.normpath(folder / f"{file}.py"))
    if os.sep not in file:
        place = f"{file}.py"
        if not Path(place).is_file():
            raise InputError(
                f"{folder / RUN_FILE}: its strategy {place} stood outside the project, and none is here",
                hint=f"go to the folder of {place}, or say where it is: engine verify RUN --strategy FILE",
            )
    return place + class_name


def code_fingerprint() -> str:
    """BLAKE2b over the engine's own source files, in order of their names."""
    root = Path(engine.__file__).parent
    digest = blake2b(digest_size=16)
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def environment() -> dict[str, str]:
    """What may matter when a run is repeated elsewhere: versions and the kind of processor."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        **{name: version(name) for name in ("numpy", "numba", "llvmlite", "pyarrow", "msgspec")},
    }


def write_run(folder: Path, record: RunRecord) -> None:
    """Write run.json, whole or not at all."""
    _write(folder / RUN_FILE, canonical(record))


def write_summary(folder: Path, summary: msgspec.Struct) -> None:
    """Write summary.json, whole or not at all."""
    _write(folder / SUMMARY_FILE, canonical(summary))


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise EngineError(
            f"{path}: cannot be written: {error.strerror}", hint="make room; what was there before is kept"
        ) from None


def read_run(folder: Path) -> RunRecord:
    """run.json of a run's folder; InputError when it is none."""
    path = folder / RUN_FILE
    if not path.is_file():
        raise InputError(f"{folder}: not a run (no {RUN_FILE} in it)", hint="name a folder like runs/<id>")
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunRecord)
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: {error}", hint="was it written by another version?") from None


def recorded_hash(folder: Path) -> str:
    """The journal hash that a finished run wrote; "" when it did not finish."""
    path = folder / SUMMARY_FILE
    if not path.is_file():
        return ""
    try:
        found = msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: {error}") from None
    return str(found.get("journal_hash", ""))


def input_places(folder: Path, record: RunRecord) -> list[Path]:
    """Where the run's inputs were, whether they are still there or not."""
    return [Path(os.path.normpath(folder / entry.path)) for entry in record.inputs]


def input_paths(folder: Path, record: RunRecord) -> list[Path]:
    """The run's inputs as paths; InputError when one is not there any more."""
    paths = input_places(folder, record)
    for entry, path in zip(record.inputs, paths, strict=True):
        if not path.exists():
            raise InputError(
                f"{folder / RUN_FILE}: its input {entry.path} is not there",
                hint="put the log back where it was, relative to the run's folder",
            )
    return paths
