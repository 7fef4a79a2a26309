"""The market maker decides over real market data what it decided when that was last accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden.real import CASES, Case, Logs, figures, kept


@pytest.fixture(scope="module", name="logs")
def logs_of_real_data(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Logs:
    """Made once for all cases."""
    return Logs(real_data, tmp_path_factory.mktemp("real"))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_decisions_over_real_data_are_those_that_are_kept(case: Case, logs: Logs) -> None:
    """Hash, orders and fills by reason; real.py says how to accept others."""
    assert figures(logs, case) == kept()[str(case)]


def test_neither_form_nor_batches_matter_over_real_orders(logs: Logs) -> None:
    """Interpreted, and cut into batches of 1,000 rows, a book by order gives the same journal."""
    case = CASES[0]
    hashes = {
        figures(logs, case, compiled=compiled, batch_rows=batch_rows)["hash"]
        for compiled, batch_rows in ((True, 1_000), (False, 65_536))
    }
    assert hashes == {kept()[str(case)]["hash"]}


def test_every_case_is_kept_and_nothing_else() -> None:
    """A case that was taken away leaves no figures behind."""
    assert set(kept()) == {str(case) for case in CASES}
