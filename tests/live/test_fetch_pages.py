"""Pages on the disk: whole ones are read, torn ones are cut off, and what was added afterwards is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.live.fetch_pages import PageFile

PAGES = [("/a?x=1", b'[{"a":1}]' * 40), ("/a?x=2", b""), ("/a?x=3", bytes(range(256)))]


def written(folder: Path, pages: list[tuple[str, bytes]] = PAGES) -> Path:
    """A part with these pages."""
    writer = PageFile(folder, "s").begin()
    for path, body in pages:
        writer.add(path, body)
    writer.close()
    return folder / "s.part"


def test_pages_are_what_was_added(tmp_path: Path) -> None:
    """Paths and bodies come back as they were, before and after the file is finished."""
    written(tmp_path)
    pages = PageFile(tmp_path, "s")
    assert list(pages.read()) == PAGES
    pages.finish()
    assert PageFile(tmp_path, "s").done
    assert list(PageFile(tmp_path, "s").bodies()) == [body for _, body in PAGES]
    assert [path.name for path in tmp_path.iterdir()] == ["s.pages"]


def test_nothing_is_no_pages(tmp_path: Path) -> None:
    """A stream that was never asked for has none."""
    assert list(PageFile(tmp_path, "s").read()) == []


def test_a_torn_end_is_cut_off(tmp_path: Path) -> None:
    """Cut at any byte, the whole pages before are read, and a page added then stands behind them."""
    whole = written(tmp_path).read_bytes()
    counts = set()
    for cut in range(len(whole)):
        part = tmp_path / "s.part"
        part.write_bytes(whole[:cut])
        pages = PageFile(tmp_path, "s")
        kept = list(pages.read())
        assert kept == PAGES[: len(kept)]
        writer = pages.begin(len(kept))
        writer.add("/new", b"body")
        writer.close()
        assert list(PageFile(tmp_path, "s").read()) == [*kept, ("/new", b"body")]
        counts.add(len(kept))
    assert counts == {0, 1, 2}


@pytest.mark.parametrize("count", [0, 1, 2])
def test_pages_that_are_not_wanted_any_more_are_cut_off(tmp_path: Path, count: int) -> None:
    """Going on behind the first pages takes the others away."""
    written(tmp_path)
    PageFile(tmp_path, "s").begin(count).close()
    assert list(PageFile(tmp_path, "s").read()) == PAGES[:count]


def test_a_flipped_bit_ends_the_pages(tmp_path: Path) -> None:
    """A page whose bytes are not what was written is not believed, nor is anything behind it."""
    part = written(tmp_path)
    content = bytearray(part.read_bytes())
    second = len(PAGES[0][0]) + 20 + 3  # inside the first body
    content[second + 4] ^= 1
    part.write_bytes(content)
    assert list(PageFile(tmp_path, "s").read()) == []
