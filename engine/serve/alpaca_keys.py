"""Who may use the local Alpaca, and what their plan allows.

Without a planted pair any key and secret will do, as long as both are there: the local venue guards nothing.
With one, everything else is refused, which is what a client's own tests want to see. Neither is ever shown.
"""

from __future__ import annotations

import hmac

KEY_HEADER, SECRET_HEADER = "apca-api-key-id", "apca-api-secret-key"
FREE, UNLIMITED = "free", "unlimited"
PLANS = (UNLIMITED, FREE)
FREE_SYMBOLS, FREE_CONNECTIONS = 30, 1


class Keys:
    """The planted pair, if there is one, and the plan of whoever has it.

    Args:
        key, secret: the only pair that is let in; both empty: any.
        plan: `free` has one connection to a feed, 30 symbols of trades and quotes, and no SIP.
    """

    def __init__(self, key: str = "", secret: str = "", *, plan: str = UNLIMITED) -> None:
        self._pair = (key, secret) if key or secret else None
        self.is_free = plan == FREE

    def __repr__(self) -> str:
        return f"Keys({'planted' if self._pair else 'any'})"

    def knows(self, key: str, secret: str) -> bool:
        """Whether a pair is let in."""
        if self._pair is None:
            return bool(key and secret)
        given = (key.encode("utf-8", "surrogatepass"), secret.encode("utf-8", "surrogatepass"))
        right = [hmac.compare_digest(a, b.encode()) for a, b in zip(given, self._pair, strict=True)]
        return all(right)
