"""What a connection has asked for: what is unanswered, and what was refused, by channel and symbol."""

from __future__ import annotations

from collections.abc import Iterable

from engine.feed.parser import Notice


class Asked:
    """Requests in the order of asking."""

    __slots__ = ("_open", "_refused")

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], None] = {}
        self._refused: dict[tuple[str, str], str] = {}  # and why

    @property
    def answered(self) -> bool:
        """Whether everything has been, in one way or the other."""
        return not self._open

    def add(self, channel: str, symbols: Iterable[str]) -> None:
        """A channel has been asked for, of these symbols; ("",) for a channel that has none."""
        self._open.update(dict.fromkeys((channel, symbol) for symbol in symbols))

    def heard(self, notice: Notice) -> None:
        """Something was confirmed or refused: for its symbols, or for all of the channel's if it has none."""
        for asked in (*self._open, *self._refused):
            channel, symbol = asked
            if channel == notice.channel and (not notice.symbols or not symbol or symbol in notice.symbols):
                if notice.event == "rejected":
                    self._refused[asked] = notice.detail
                else:
                    self._refused.pop(asked, None)
                self._open.pop(asked, None)

    def words(self) -> str:
        """What is missing: "book of BTC/USD ETH/USD; refused: trade of SOL/USD (no such pair)"."""
        parts = [_listed(self._open)]
        for reason in dict.fromkeys(self._refused.values()):
            refused = [asked for asked, why in self._refused.items() if why == reason]
            parts.append(f"refused: {_listed(refused)} ({reason})")
        return "; ".join(filter(None, parts))


def _listed(asked: Iterable[tuple[str, str]]) -> str:
    channels: dict[str, list[str]] = {}
    for channel, symbol in asked:
        channels.setdefault(channel, []).append(symbol)
    return ", ".join(
        f"{channel} of {' '.join(symbols)}" if any(symbols) else channel
        for channel, symbols in channels.items()
    )
