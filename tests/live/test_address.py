"""Addresses of feeds: which are taken, and what of them is shown."""

from __future__ import annotations

import pytest

from engine.live.address import Address
from engine.model.errors import UsageError

HIDING = [
    ("https://h/news?token=abcdef", "https://h/news?token=***"),
    ("https://h/news?last=5&apikey=abc&symbol=BTC", "https://h/news?last=5&apikey=***&symbol=BTC"),
    ("https://h/?x_cg_demo_api_key=1&API-KEY=2&accessToken=3", "https://h/?x_cg_demo_api_key=***&API-KEY=***&accessToken=***"),
    ("https://h/?api%5Fkey=abc", "https://h/?api%5Fkey=***"),
    ("https://h/?sig=a&session=b&password=c&auth=d", "https://h/?sig=***&session=***&password=***&auth=***"),
    ("https://h/?keywords=bitcoin&author=x&sigma=2", "https://h/?keywords=bitcoin&author=x&sigma=2"),
    ("https://h/?token&flag=&a=b=c", "https://h/?token&flag&a=b=c"),
    ("https://h/news#token=abc", "https://h/news"),
    ("http://127.0.0.1:9445/news?token=abc", "http://127.0.0.1:9445/news?token=***"),
    ("http://news.example/all?last=10", "http://news.example/all?last=10"),
]  # fmt: skip


@pytest.mark.parametrize(("url", "shown"), HIDING)
def test_keys_are_not_shown(url: str, shown: str) -> None:
    """Values of what is named like a key are stars; all else stays, and the client gets the whole."""
    address = Address(url)
    assert address.shown == shown
    assert address.url == url.partition("#")[0]
    assert repr(address) == f"Address({shown!r})"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "news",
        "//host/news",
        "ws://host/news",
        "file:///etc/passwd",
        "https://",
        "https://h:port/",
        "https://[::1/",
        "https://h/a b",
        "https://h/ü",
        "https://h/" + "a" * 5_000,
    ],
    ids=lambda url: url[:30],
)
def test_what_is_no_address(url: str) -> None:
    """Refused with a hint."""
    with pytest.raises(UsageError, match="address") as caught:
        Address(url)
    assert caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2hunter2@h/news",
        "https://hunter2hunter2@h/news",
        "https://user:hunter2/hunter2@h/",
        "http://h/?token=hunter2hunter2",
        "ftp://h/?token=hunter2hunter2",
        "https://h/?token=hunter2hunter2&b=ü",
    ],
)
def test_no_error_shows_a_secret(url: str) -> None:
    """A password in the address, a key over plain http, a key in what is no address: refused without it."""
    with pytest.raises(UsageError) as caught:
        Address(url)
    assert "hunter2" not in str(caught.value)


def test_texts_and_bodies_are_cleaned() -> None:
    """Wherever the key stands, as written or decoded; short values are left alone in other texts."""
    address = Address("https://h/?token=abc%2Fdef%2Fghi%2Fjkl&sid=12")
    assert (
        address.clean("GET https://h/?token=abc%2Fdef%2Fghi%2Fjkl&sid=12")
        == "GET https://h/?token=***&sid=***"
    )
    assert address.clean("abc/def/ghi/jkl: 12 times") == "***: 12 times"
    assert address.clean_bytes(b'{"key":"abc%2Fdef%2Fghi%2Fjkl"}') == b'{"key":"*********************"}'
    assert Address("https://h/?key=bitcoin").clean_bytes(b"bitcoin is up") == b"bitcoin is up"


@pytest.mark.parametrize(
    ("own", "other", "allowed"),
    [
        ("http://h/a", "http://h/b", True),
        ("http://h/a", "https://h/b", True),
        ("https://h/a", "http://h/b", False),
        ("https://h/a", "https://H:8443/b", True),
        ("https://h/a", "https://sub.h/b", False),
        ("https://h/a", "https://h@evil.example/b", False),
        ("https://h/a", "https://[::1/b", False),
    ],
)
def test_where_a_redirect_may_lead(own: str, other: str, *, allowed: bool) -> None:
    """To the same host, as encrypted as before."""
    assert Address(own).allows(other) is allowed
