"""What is wrong with a stream that flows, in words: refused, not confirmed, or more than we read.

A socket may live on, with heartbeats in it, without the book that it was opened for; so what was refused is
remembered until it is confirmed, by channel and symbols, with how often it was refused. It decides nothing
and knows no clock: the connection says that its stream is degraded as long as there are `words`.
"""

from __future__ import annotations

from engine.feed.parser import Notice

What = tuple[str, tuple[str, ...]]  # channel, symbols


class Troubles:
    """Of one stream, over all connections that bring it one after the other."""

    def __init__(self) -> None:
        self.refused: dict[What, int] = {}  # how often
        self.unanswered = ""  # in a dialogue's words
        self.behind = ""

    @property
    def words(self) -> str:
        """All of it; "" when all is well."""
        names = [f"{' '.join(symbols)} {channel}".strip() for channel, symbols in self.refused]
        refused = f"refused: {', '.join(names)}" if names else ""
        return "; ".join(filter(None, (refused, self.unanswered, self.behind)))

    def another(self) -> None:
        """The stream comes by another connection: what was refused on the old one was not on this."""
        self.refused.clear()
        self.unanswered = ""

    def take(self, notice: Notice) -> int:
        """Learn of an answer; how often that has been refused by now, 0 for what was not."""
        what = (notice.channel, notice.symbols)
        if notice.event == "rejected" and notice.channel:
            self.refused[what] = self.refused.get(what, 0) + 1
            return self.refused[what]
        if notice.event == "subscribed":
            for channel, symbols in list(self.refused):
                if channel == notice.channel and set(symbols) <= set(notice.symbols):
                    del self.refused[channel, symbols]
        return 0
