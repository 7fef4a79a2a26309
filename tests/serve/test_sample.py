"""The shipped sample: made again, row for row, and honest about what it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from engine.log.reader import LogReader
from engine.log.seal import seal
from engine.model.errors import InputError, UsageError
from engine.model.kinds import Flag, Kind
from engine.serve.sample import HEADLINES, headlines, write_sample

SAMPLE = Path(__file__).parents[2] / "recordings" / "2024-06-01.arrow"


def test_the_sample_is_made_again_with_the_same_chain(tmp_path: Path) -> None:
    """The generator's rows have the chain hash that the shipped file was sealed with."""
    with LogReader(SAMPLE, columns=("kind",)) as shipped:
        assert write_sample(tmp_path / "again.arrow") == shipped.header.sealed_chain


def test_the_sample_holds_what_its_readme_says() -> None:
    """Two symbols, trades, quotes, a synchronised book, headlines; small enough; sealed."""
    kinds = Counter[Kind]()
    with LogReader(SAMPLE) as reader:
        assert reader.sealed
        assert "synthetic market, seed 7" in reader.header.note
        bad = snapshots = kept = last = 0
        for batch in reader.batches():
            kinds.update(Kind(k) for k in batch.kind.tolist())
            bad += int((batch.flags & int(Flag.MAYBE_BAD_BOOK) != 0).sum())
            snapshots += int((batch.flags & int(Flag.CLEAR) != 0).sum())
            assert batch.wire is not None
            kept += len(batch.wire) - batch.wire.null_count
            last = int(batch.ts[-1])
    assert SAMPLE.stat().st_size <= 6_000_000
    assert (kinds[Kind.INSTRUMENT], kinds[Kind.NEWS], kinds[Kind.END], snapshots) == (2, 16, 1, 2)
    assert kinds[Kind.MALFORMED] == kinds[Kind.CONTROL] == 0
    assert min(kinds[Kind.TRADE], kinds[Kind.QUOTE], kinds[Kind.BOOK]) > 10_000
    assert bad < 20
    assert kept > 100_000
    assert 0 <= last - 1_717_236_000_000_000_000 < 100_000_000  # 10:00 UTC, and the last frame's way


def test_every_headline_says_that_it_is_invented() -> None:
    """Nobody can mistake one for news."""
    found = headlines(HEADLINES)
    assert len({news.id for _, news in found}) == len(found) == 16
    assert all(news.headline.startswith("Synthetic headline:") for _, news in found)


def test_a_short_sample_depends_on_its_seed_alone(tmp_path: Path) -> None:
    """Two runs agree, another seed differs, and sealing changes no row."""
    chains = [write_sample(tmp_path / f"{n}.arrow", seed=s, minutes=0.1) for n, s in enumerate((3, 3, 4))]
    assert chains[0] == chains[1] != chains[2]
    assert seal(tmp_path / "0.arrow").chain == chains[0]


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    """The log's own rule holds here too."""
    write_sample(tmp_path / "a.arrow", minutes=0.01)
    with pytest.raises(UsageError, match="exists already"):
        write_sample(tmp_path / "a.arrow", minutes=0.01)


def test_headlines_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """A missing file and a missing column are errors with their place."""
    with pytest.raises(InputError, match="No such file"):
        headlines(tmp_path / "none.csv")
    (tmp_path / "bad.csv").write_text("published,headline\n2024-06-01T09:00:00Z,x\n")
    with pytest.raises(InputError, match="row 2: column 'id' is missing"):
        headlines(tmp_path / "bad.csv")
