"""Where definitions come from when the data does not carry them."""

from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import pytest

from engine.ingest.instruments import (
    Widest,
    instruments_folder,
    known_instruments,
    read_exchange_info,
)
from engine.model.errors import InputError
from engine.model.instruments import from_data
from engine.model.units import decimals_of

NARROW = (
    b'{"key":"A.b","symbol":"A","venue":"b","price_decimals":1,"size_decimals":0,'
    b'"price_increment":"0.01","size_increment":"1"}'
)
INFO = b'{"symbols":[{"symbol":"BTCUSDT","filters":[{"filterType":"PRICE_FILTER","tickSize":"0.0100"}]}]}'


def test_the_shipped_definitions_are_valid() -> None:
    """Decimals hold the increments, keys belong to symbols, and BTCUSDT is as its captures show it."""
    known = known_instruments("binance")
    assert {"BTCUSDT", "ETHUSDT"} <= set(known)
    for definition in known.values():
        assert from_data(definition, 0).lot >= 1
        assert definition.price_decimals >= decimals_of(definition.price_increment)
        assert definition.size_decimals >= decimals_of(definition.size_increment)
    btc, eth = known["BTCUSDT"], known["ETHUSDT"]
    assert (btc.price_increment, btc.size_increment, btc.size_decimals) == ("0.01", "0.00001", 6)
    assert (eth.price_increment, eth.size_increment) == ("0.01", "0.0001")


def test_the_folder_explains_itself() -> None:
    """README.md beside the definitions names every field that they use."""
    folder = instruments_folder()
    assert folder is not None
    text = (folder / "README.md").read_text()
    for entry in msgspec.json.decode((folder / "binance.json").read_bytes()):
        for field in entry:
            assert f"`{field}`" in text


def test_a_venue_without_a_file_has_none(tmp_path: Path) -> None:
    """That is no error."""
    assert known_instruments("nowhere") == {}
    assert known_instruments("binance", tmp_path) == {}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (b"{}", "missing required field `key`"),
        (b'{"symbol":"BTCUSDT"}', "missing required field `key`"),
        (
            NARROW,
            'instrument A.b: "0.01" has more than 1 decimals',
        ),
        (
            NARROW.replace(b'decimals":1', b'decimals":2'),
            'key "A.b" and venue "b" do not belong to symbol A',
        ),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, entry: bytes, message: str) -> None:
    """With the entry and what is wrong with it."""
    (tmp_path / "binance.json").write_bytes(b"[" + entry + b"]")
    with pytest.raises(InputError) as caught:
        known_instruments("binance", tmp_path)
    assert "binance.json" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        INFO,
        INFO + b"\n",
        gzip.compress(INFO, mtime=0),
        b"https://api.example/api/v3/exchangeInfo -> 1633998511.1: " + INFO + b"\nconfiguration: {}\n",
        msgspec.json.format(INFO, indent=2),
    ],
    ids=["plain", "newline", "gzip", "captured", "formatted"],
)
def test_exchange_info_files(tmp_path: Path, content: bytes) -> None:
    """As saved by curl, by a capture tool, or by an editor."""
    path = tmp_path / "info"
    path.write_bytes(content)
    assert read_exchange_info(path)["BTCUSDT"].price_increment == "0.01"


@pytest.mark.parametrize("content", [b"", b"<html>", b"{}", gzip.compress(INFO, mtime=0)[:-9]])
def test_what_is_no_exchange_info_file(tmp_path: Path, content: bytes) -> None:
    """Refused with the file's name."""
    path = tmp_path / "info"
    path.write_bytes(content)
    with pytest.raises(InputError, match="info: "):
        read_exchange_info(path)
    with pytest.raises(InputError, match="no such file"):
        read_exchange_info(tmp_path / "none")


def test_the_widest_decimals_of_several() -> None:
    """Joined, they are the wider of each."""
    one, other = Widest(), Widest()
    one.price_decimals, other.price_decimals, other.size_decimals = 4, 2, 3
    one.join(other)
    guess = one.guess("XYZUSDT", "binance")
    assert (guess.key, guess.price_increment, guess.size_increment) == ("XYZUSDT.binance", "0.0001", "0.001")
