"""A request's target, taken apart as a server takes it: it is a path and a query, never an address.

The URL parser of the standard library reads a host out of `//x` and refuses some of them; a server that
trusted it would end a connection over what is only a path that it does not have.
"""

from __future__ import annotations


def path_and_query(target: str) -> tuple[str, str]:
    """The two parts, still percent-encoded; a fragment, which no client should send, belongs to neither."""
    path, _, query = target.partition("#")[0].partition("?")
    return path, query
