"""What a connection has asked for and not been answered, by channel and symbol, in the order of asking."""

from __future__ import annotations

from collections.abc import Iterable

from engine.feed.parser import Notice


class Asked:
    """Open requests."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], None] = {}

    @property
    def answered(self) -> bool:
        """Whether everything has been, in one way or the other."""
        return not self._open

    def add(self, channel: str, symbols: Iterable[str]) -> None:
        """A channel has been asked for, of these symbols; ("",) for a channel that has none."""
        self._open.update(dict.fromkeys((channel, symbol) for symbol in symbols))

    def heard(self, notice: Notice) -> None:
        """Something was confirmed or refused: for its symbols, or for all of the channel's if it has none."""
        for asked in list(self._open):
            channel, symbol = asked
            if channel == notice.channel and (not notice.symbols or not symbol or symbol in notice.symbols):
                del self._open[asked]

    def words(self) -> str:
        """What is open: "book of BTC/USD ETH/USD, trade of BTC/USD"."""
        channels: dict[str, list[str]] = {}
        for channel, symbol in self._open:
            channels.setdefault(channel, []).append(symbol)
        return ", ".join(
            f"{channel} of {' '.join(symbols)}" if any(symbols) else channel
            for channel, symbols in channels.items()
        )
