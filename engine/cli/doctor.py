"""`engine doctor`: what this machine is, for a person who wonders why something is slow, or differs.

It looks and reports; it changes nothing, asks no server and prints no secret: of credentials only their
names and where they are set. Home directories are shown as ~, so that the text can be posted.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
from importlib.metadata import PackageNotFoundError, requires, version
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from engine import __version__
from engine.cli.common import emit, json_option
from engine.model.errors import EngineError, UsageError

PACKAGES = ("numpy", "numba", "llvmlite", "pyarrow", "polars", "duckdb", "msgspec", "websockets")
EXTRAS = ("anthropic", "ccxt", "exchange_calendars", "keyring", "picows")
DISK_WARNING = 0.10  # of the file system, as the recorder warns
_PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;]+)$")


@click.command()
@json_option
def doctor(*, as_json: bool) -> int:
    """Show versions, CPU, caches, disk, clock and credentials of this machine.

    Ends with 1 when something is missing that the engine cannot do without.
    """
    report = examine(Path.cwd())
    emit(report, as_json=as_json, text=lambda: render(report))
    return 1 if report["problems"] else 0


def examine(folder: Path) -> dict[str, Any]:
    """The whole report, as printed by --json; `folder` is where recordings and runs would go."""
    report: dict[str, Any] = {
        "engine": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "extras": {name: _version(name) for name in EXTRAS},
        "cpu": _cpu(),
        "cache": _cache(),
        "decoded": _decoded(),
        "disk": _disk(folder),
        "clock": _clock(),
    }
    report["credentials"], troubles = _credentials(folder)
    report["problems"], report["warnings"] = _judge(report)
    report["warnings"] += troubles
    return report


def render(report: dict[str, Any]) -> str:
    """The report as lines for people."""
    cpu, cache, disk, clock = report["cpu"], report["cache"], report["disk"], report["clock"]
    lines = [
        _line("engine", report["engine"]),
        _line("Python", f"{report['python']} on {report['platform']}"),
        *(_line(name, found or "missing") for name, found in report["packages"].items()),
        *(_line(name, found or "not installed (an extra)") for name, found in report["extras"].items()),
        _line("CPU", f"{cpu['model']}, {cpu['usable']} of {cpu['count']} cores usable"),
        _line("compiles for", cpu["llvm_name"] or "unknown: llvmlite is missing"),
        _line("kernel cache", _cache_text(cache)),
        _line("decoded logs", _decoded_text(report["decoded"])),
        _line("free disk", f"{_size(disk['free_bytes'])} of {_size(disk['total_bytes'])}, where you stand"),
        _line("wall clock", f"{clock['wall']}, steps of {clock['wall_step_ns']} ns seen"),
        _line("monotonic", f"{clock['monotonic']}, steps of {clock['monotonic_step_ns']} ns seen"),
        _line("NTP", clock["synchronised"]),
        *(_line(name, found or "not set") for name, found in report["credentials"].items()),
    ]
    lines += [f"warning: {text}" for text in report["warnings"]]
    lines += [f"problem: {text}" for text in report["problems"]]
    return "\n".join(lines or ["nothing"])


def _line(name: str, text: str) -> str:
    return f"{name:<20} {text}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> dict[str, Any]:
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        usable = os.cpu_count() or 1
    return {
        "model": _cpu_model(),
        "count": os.cpu_count() or 1,
        "usable": usable,
        "llvm_name": _llvm_name(),
    }


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1).strip() if match else platform.machine()


def _llvm_name() -> str | None:
    """What the compiler takes this CPU for; NUMBA_CPU_NAME overrides it."""
    try:
        from llvmlite import binding
    except ImportError:
        return None
    return os.environ.get("NUMBA_CPU_NAME") or str(binding.get_host_cpu_name())


def _cache() -> dict[str, Any]:
    from engine.model import image

    try:
        current = image.cache_folder()
    except PackageNotFoundError:  # its name holds the versions of what is missing
        return {"path": None, "bytes": 0, "compiled": False, "other_versions": 0, "other_bytes": 0}
    others = [f for f in current.parent.glob("*") if f.is_dir() and f != current]
    return {
        "path": _home(current),
        "bytes": _bytes_below(current),
        "compiled": image.is_compiled(),
        "other_versions": len(others),
        "other_bytes": sum(_bytes_below(f) for f in others),
    }


def _cache_text(cache: dict[str, Any]) -> str:
    state = "compiled" if cache["compiled"] else "not compiled yet: the first run takes some seconds longer"
    text = f"{cache['path']}, {_size(cache['bytes'])}, {state}"
    if cache["other_versions"]:
        text += (
            f"; {cache['other_versions']} of other versions, {_size(cache['other_bytes'])}, may be deleted"
        )
    return text


def _decoded() -> dict[str, Any]:
    """Decoded columns of logs that were read before, and how much of them is kept at most."""
    from engine.log import cache_folder

    folder = cache_folder.decoded_folder()
    there = cache_folder.usage(folder)
    try:
        limit, problem = cache_folder.limit_bytes(folder, there.total_bytes), ""
    except UsageError as error:
        limit, problem = 0, error.message
    return {
        "path": _home(folder),
        "logs": len(there.logs),
        "bytes": there.total_bytes,
        "limit_bytes": limit,
        "problem": problem,
    }


def _decoded_text(decoded: dict[str, Any]) -> str:
    if decoded["problem"]:
        return str(decoded["problem"])
    most = f"at most {_size(decoded['limit_bytes'])} (ENGINE_CACHE_BYTES)"
    if not decoded["logs"]:
        return f"none in {decoded['path']}, {most}"
    count = f"{decoded['logs']} log{'s' if decoded['logs'] > 1 else ''}"
    return (
        f"{count} in {decoded['path']}, {_size(decoded['bytes'])}, {most}; "
        f"may be deleted at any time: rm -r {decoded['path']}"
    )


def _bytes_below(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except OSError:  # another process is clearing up
            continue
    return total


def _disk(folder: Path) -> dict[str, Any]:
    usage = shutil.disk_usage(folder)
    return {"free_bytes": usage.free, "total_bytes": usage.total}


def _clock() -> dict[str, Any]:
    return {
        "wall": time.get_clock_info("time").implementation,
        "wall_step_ns": _smallest_step(time.time_ns),
        "monotonic": time.get_clock_info("monotonic").implementation,
        "monotonic_step_ns": _smallest_step(time.monotonic_ns),
        "synchronised": "not known: doctor asks neither the system's daemon nor a server",
    }


def _smallest_step(read: Any) -> int:
    """The smallest difference seen between two readings that differ, ns; 0 when none differed."""
    readings = [read() for _ in range(2000)]
    steps = [b - a for a, b in pairwise(readings) if b > a]
    return min(steps, default=0)


def _credentials(folder: Path) -> tuple[dict[str, str | None], list[str]]:
    """Where each is set ("environment", ".env", "keyring"), None where it is not; and what is wrong there."""
    from engine.live.credentials import NAMES, Credentials, exposed_text

    credentials = Credentials(folder=folder)
    places: dict[str, str | None] = {}
    troubles: list[str] = []
    for name in (name for names in NAMES.values() for name in names):
        try:
            found = credentials.look(name)
        except EngineError as error:
            places[name] = None
            troubles.append(error.message)
        else:
            places[name] = None if found is None else found.place
    if credentials.path is not None and credentials.exposed():
        troubles.append(exposed_text(credentials.path))
    return places, list(dict.fromkeys(troubles))


def _judge(report: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What is wrong, and what is worth knowing."""
    problems = [f"{name} is missing" for name, found in report["packages"].items() if found is None]
    warnings = []
    for name, pinned in _pins().items():
        found = report["packages"].get(name)
        if found is not None and found != pinned:
            warnings.append(f"{name} is {found}, the engine was tested with {pinned}: runs may not verify")
    if report["decoded"]["problem"]:
        problems.append(report["decoded"]["problem"])
    disk = report["disk"]
    if disk["free_bytes"] < DISK_WARNING * disk["total_bytes"]:
        warnings.append(f"less than {DISK_WARNING:.0%} of the disk is free")
    return problems, warnings


def _pins() -> dict[str, str]:
    """The exact versions that the installed engine asks for; none when it is not installed."""
    try:
        requirements = requires("engine") or []
    except PackageNotFoundError:
        return {}
    matches = (_PIN.match(text) for text in requirements)
    return {match.group(1).lower(): match.group(2) for match in matches if match}


def _home(path: Path) -> str:
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(path)


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
