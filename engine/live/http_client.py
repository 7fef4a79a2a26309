"""The HTTP client of everything that asks over HTTP: made in one place, because making one can fail.

It takes its proxy from the environment (HTTPS_PROXY, ALL_PROXY, …), where a user may have written what no
client understands; that is said with the variable's name and never with its value, in which a password may
stand. Loopback is never behind a proxy, whatever the environment says of the rest of the world.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.model.errors import UsageError

if TYPE_CHECKING:
    import httpx2

_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


def http_client(
    *,
    timeout_s: float,
    loopback: bool,
    follow_redirects: bool = False,
    headers: Mapping[str, str] | None = None,
) -> httpx2.AsyncClient:
    """A client; its owner closes it. Raises UsageError for a proxy in the environment that cannot be used."""
    import httpx2

    try:
        return httpx2.AsyncClient(
            timeout=timeout_s,
            trust_env=not loopback,
            follow_redirects=follow_redirects,
            headers=dict(headers or {}),
        )
    except ImportError:
        what = "is a SOCKS proxy, which is not supported"
    except (httpx2.InvalidURL, ValueError):
        what = "is no address of a proxy"
    raise UsageError(
        f"{_named()} in the environment {what}", hint="write http://host:port there, or unset it"
    ) from None


def _named() -> str:
    """Which of the variables are set, by their names."""
    found = [name for name in os.environ if name.upper() in _VARIABLES]
    return " or ".join(sorted(found)) or "the system's proxy, though nothing is set"
