"""`engine doctor`: complete, quiet about secrets, one JSON object on request."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from engine import __version__
from engine.cli import doctor as module
from engine.cli.doctor import PACKAGES, doctor, examine, render
from engine.live.credentials import NAMES
from tests.helpers import keyrings

SECRET = "sk-planted-value-4711"  # noqa: S105  planted, to be looked for


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, without credentials and with its own cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    keyrings.use_none(monkeypatch)
    for names in NAMES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_json_is_one_object_with_everything(folder: Path) -> None:
    """Versions, CPU, cache, disk, clock and credentials, and nothing else on stdout."""
    assert folder.exists()
    result = CliRunner().invoke(doctor, ["--json"], standalone_mode=False)
    assert result.return_value == 0
    report = json.loads(result.stdout)
    assert report["engine"] == __version__
    assert set(report["packages"]) == set(PACKAGES)
    assert None not in report["packages"].values()
    assert report["cpu"]["usable"] >= 1
    assert report["cache"]["compiled"] is False
    assert report["disk"]["free_bytes"] > 0
    assert report["clock"]["monotonic_step_ns"] > 0
    assert "not known" in report["clock"]["synchronised"]
    assert report["problems"] == []


def test_credentials_are_named_and_never_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set in the environment, in .env, empty, or not at all: told apart without a value."""
    monkeypatch.setenv("BINANCE_API_KEY", SECRET)
    (folder / ".env").write_text(f"# mine\nexport ANTHROPIC_API_KEY={SECRET}\nAPCA_API_KEY_ID=\n")
    (folder / ".env").chmod(0o600)
    for arguments in (["--json"], []):
        result = CliRunner().invoke(doctor, arguments, standalone_mode=False)
        assert SECRET not in result.output
        assert "BINANCE_API_KEY" in result.output
    report = examine(folder)
    assert {name: place for name, place in report["credentials"].items() if place} == {
        "BINANCE_API_KEY": "environment",
        "ANTHROPIC_API_KEY": ".env",
    }
    assert {name for names in NAMES.values() for name in names} == set(report["credentials"])
    assert not [text for text in report["warnings"] if ".env" in text]


def test_a_file_of_credentials_is_looked_at(folder: Path) -> None:
    """A line that is none, and a mode that lets others read it, are warnings; nothing of a line is shown."""
    (folder / ".env").write_text(f"ANTHROPIC_API_KEY = {SECRET}\n")
    (folder / ".env").chmod(0o644)
    warnings = [text for text in examine(folder)["warnings"] if ".env" in text]
    assert warnings == [".env line 1: is not KEY=value", ".env can be read by others: chmod 600 .env"]


def test_what_is_missing_is_a_problem_and_the_exit_code_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that the engine needs and cannot find: named, and exit code 1."""
    monkeypatch.setattr(module, "PACKAGES", (*PACKAGES, "no-such-package"))
    result = CliRunner().invoke(doctor, [], standalone_mode=False)
    assert result.return_value == 1
    assert "problem: no-such-package is missing" in result.stdout
    assert folder.exists()


def test_other_versions_than_pinned_are_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs verify under the versions that they were made with."""
    monkeypatch.setattr(
        module, "requires", lambda _name: ["numpy==1.0.0", "rich==15.0.0", 'x==1 ; extra == "dev"']
    )
    report = examine(folder)
    assert [text.partition(",")[2] for text in report["warnings"] if text.startswith("numpy is")] == [
        " the engine was tested with 1.0.0: runs may not verify"
    ]


def test_the_cache_is_measured_and_old_versions_are_pointed_out(folder: Path) -> None:
    """Bytes of this content's kernels, and of other contents' that may go."""
    from engine.model import image

    file = image.image_file()
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x" * 1500)
    old = image.cache_folder().parent / "old"
    old.mkdir()
    (old / "b.nbc").write_bytes(b"x" * 700)
    cache = examine(folder)["cache"]
    assert (cache["bytes"], cache["compiled"], cache["other_versions"], cache["other_bytes"]) == (
        1500,
        True,
        1,
        700,
    )


def test_decoded_logs_are_counted_with_the_way_to_clear_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many logs, how large, how much at most, and the command; a limit that is none is a problem."""
    assert examine(folder)["decoded"]["logs"] == 0
    log = folder / "cache" / "decoded" / "0123"
    log.mkdir(parents=True)
    (log / "ts.column").write_bytes(b"x" * 1500)
    monkeypatch.setenv("ENGINE_CACHE_BYTES", "5000000")
    report = examine(folder)
    assert report["decoded"] == {
        "path": str(log.parent),
        "logs": 1,
        "bytes": 1500,
        "limit_bytes": 5_000_000,
        "problem": "",
    }
    text = render(report)
    assert "1 log in " in text
    assert "1.5 kB, at most 5.0 MB (ENGINE_CACHE_BYTES)" in text
    assert f"rm -r {log.parent}" in text
    monkeypatch.setenv("ENGINE_CACHE_BYTES", "lots")
    assert examine(folder)["problems"] == ['ENGINE_CACHE_BYTES="lots" is no number of bytes']


def test_a_full_disk_is_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below a tenth free: the same line at which the recorder warns."""

    class Usage:
        free, total = 9, 100

    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage)
    assert "less than 10% of the disk is free" in examine(folder)["warnings"]


def test_people_see_sizes_they_can_read(folder: Path) -> None:
    """The text has one line per fact, and home directories as ~."""
    report: dict[str, Any] = examine(folder)
    report["disk"] |= {"free_bytes": 1_234_567_890, "total_bytes": 10**13}
    text = render(report)
    assert "1.2 GB of 10.0 TB" in text
    assert str(Path.home()) + "/" not in text
