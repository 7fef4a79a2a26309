"""What a connection has asked for and not been answered, by channel and symbol, in the order of asking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Asked:
    """Open requests. Falsy when everything has been answered."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], None] = {}

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, channel: str, symbols: Iterable[str]) -> None:
        """A channel has been asked for, of these symbols; ("",) for a channel that has none."""
        self._open.update(dict.fromkeys((channel, symbol) for symbol in symbols))

    def answered(self, channel: str, symbols: Sequence[str]) -> None:
        """It was confirmed or refused, for these symbols; () for all of them. No channel: for nothing."""
        for asked in list(self._open):
            if asked[0] == channel and (not symbols or not asked[1] or asked[1] in symbols):
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
