"""What the loop decides does not depend on the decoded cache: without it, while it is made, and from it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from engine.config import RunConfig
from engine.log import cache, cache_folder
from engine.model.errors import DamagedLog
from tests.helpers.sealed import batches_of, decoded_columns
from tests.loop.logs import backtest, write_market
from tests.reference.markets import RandomMarket
from tests.reference.traders import RandomTrader


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, that takes the shortest log."""
    monkeypatch.setattr(cache_folder, "decoded_folder", lambda: tmp_path / "decoded")
    monkeypatch.setattr(cache, "LEAST_ROWS", 1)
    return tmp_path / "decoded"


@pytest.mark.parametrize("seed", [581, 582], ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("activity", [0.02, 0.3])
def test_one_hash_without_while_made_and_from_the_cache(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, seed: int, activity: float
) -> None:
    """Over two logs merged by time, and with a column's file lost between two runs."""
    markets = [RandomMarket(seed).messages(400), RandomMarket(seed + 100).messages(300)]
    with batches_of(120):
        paths = [
            write_market(tmp_path / f"{i}.arrow", messages, sealed=True) for i, messages in enumerate(markets)
        ]

    def ran() -> str:
        return backtest(paths, RandomTrader(seed, activity=activity), RunConfig()).hash

    monkeypatch.setenv(cache_folder.VARIABLE, "0")
    without = ran()
    assert not folder.exists()
    monkeypatch.delenv(cache_folder.VARIABLE)
    assert ran() == without  # while it is made
    assert len(list(folder.iterdir())) == len(paths)
    with decoded_columns() as decoded:
        assert ran() == without  # from it
    assert decoded == []
    for file in itertools.islice(folder.glob("*/price.column"), 1):
        file.unlink()
    with decoded_columns() as decoded:
        assert ran() == without
    assert set(decoded) == {"price"}


def test_a_run_ends_at_damage_in_its_log_with_a_cache_as_without(tmp_path: Path, folder: Path) -> None:
    """A log that was damaged after it had been kept: the rows before it, and the error."""
    with batches_of(120):
        path = write_market(tmp_path / "a.arrow", RandomMarket(583).messages(400), sealed=True)
    whole = path.read_bytes()
    backtest([path], RandomTrader(583), RunConfig())
    assert folder.exists()
    changed = bytearray(whole)
    changed[len(whole) * 2 // 3] ^= 1
    path.write_bytes(changed)
    with pytest.raises(DamagedLog, match=r"damaged at byte \d+") as kept:
        backtest([path], RandomTrader(583), RunConfig())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache_folder.VARIABLE, "0")
        with pytest.raises(DamagedLog) as plain:
            backtest([path], RandomTrader(583), RunConfig())
    assert kept.value.message == plain.value.message
