"""What Alpaca's error codes mean for a connection, and what a person should do about each.

Before we are let in, any error makes the connection useless ("failed"); afterwards it is the answer to a
request ("rejected"), unless the venue is about to close. `fatal` says that asking again in the same way
cannot help.

Source: docs.alpaca.markets, "WebSocket stream": the table of errors (2026-01).
"""

from __future__ import annotations

import msgspec

from engine.feed.parser import Notice


class Meaning(msgspec.Struct, frozen=True):
    """Of one code, once we are let in."""

    event: str
    hint: str
    fatal: bool


_KEYS = "APCA_API_KEY_ID and APCA_API_SECRET_KEY"
MEANINGS: dict[int, Meaning] = {
    400: Meaning(
        "rejected",
        "a symbol is not spelt as the venue spells it: stocks as AAPL, crypto as BTC/USD",
        fatal=True,
    ),
    401: Meaning("failed", "the venue forgot who we are: it is asked again on a new connection", fatal=False),
    402: Meaning(
        "failed",
        f"check {_KEYS}: both of one pair, of the right account, and not regenerated since",
        fatal=True,
    ),
    403: Meaning("authenticated", "", fatal=False),  # already, which is what was wanted
    404: Meaning(
        "failed", "the keys arrived more than 10 s after the connection: check the network", fatal=False
    ),
    405: Meaning(
        "rejected",
        "ask for fewer symbols: the free plan allows 30 of trades and quotes together; bars are not limited",
        fatal=True,
    ),
    406: Meaning(
        "failed",
        "another program uses these keys; the free plan allows one connection: end it, or follow its log "
        "(engine live --tail)",
        fatal=False,
    ),
    407: Meaning(
        "failed",
        "this machine or its line reads too slowly: ask for fewer symbols or channels",
        fatal=False,
    ),
    409: Meaning(
        "rejected",
        "the account's plan does not include this feed: use alpaca (IEX), or subscribe to the plan that does",
        fatal=True,
    ),
    410: Meaning("rejected", "this feed does not have that channel: leave it out of --channels", fatal=True),
    500: Meaning("failed", "the venue has a fault of its own: it is tried again", fatal=False),
}
_OTHER = Meaning("rejected", "the venue's documentation may know this code", fatal=False)


def notice_of(code: int, words: str, *, authenticated: bool) -> Notice:
    """What an error means for the connection that it came by."""
    meaning = MEANINGS.get(code, _OTHER)
    event = meaning.event
    if event == "rejected" and not authenticated:
        event = "failed"
    return Notice(event, detail=f"{code} {words}", code=code, hint=meaning.hint, fatal=meaning.fatal)
