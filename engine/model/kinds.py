"""Codes of the log's rows, and the shape of `data` for each kind. Part of the format's version.

`data` is canonical JSON (sorted keys, UTF-8, no spaces) of the Struct named beside the kind. Decoding is
lenient about fields it does not know, so that a newer minor version stays readable.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

import msgspec

FORMAT_VERSION = 1


class Kind(IntEnum):
    """What a row states. The tens group them: market, text, trading, reference, engine."""

    TRADE = 1
    QUOTE = 2
    BOOK = 3
    BAR = 4
    MARK = 5
    FUNDING = 6
    NEWS = 20
    ANSWER = 21
    ORDER = 30
    FILL = 31
    ACCOUNT = 32
    INSTRUMENT = 40
    SOURCE = 41
    SESSION = 42
    CORPORATE = 43
    CLOCK = 50
    STATUS = 51
    COMMAND = 52
    CONTROL = 53
    MALFORMED = 54
    END = 55


class Flag(IntFlag):
    """Bits of a row's `flags`."""

    LAST = 1  # the message's last row
    SNAPSHOT = 1 << 1  # the row is part of a full picture
    CLEAR = 1 << 2  # forget the instrument's book before this row (first row of a snapshot)
    FINAL = 1 << 3  # of a bar: it will not change any more
    REVISED = 1 << 4  # corrects an earlier fact
    MAYBE_BAD_BOOK = 1 << 5  # the book between a gap and the next snapshot: not applied
    DUPLICATE = 1 << 6
    OUT_OF_ORDER = 1 << 7
    BACKFILLED = 1 << 8
    IMPORTED = 1 << 9
    REJECTED_TICK = 1 << 10
    LOSSY = 1 << 11  # the source may have merged updates
    AGGREGATE = 1 << 12  # several trades of one taker at one price, as the venue reports them
    BY_ORDER = 1 << 13  # of a BOOK row: `id` is one order of the venue's, `size` what is left of it
    UNUSUAL = 1 << 14  # a tick at least 2.5 standard deviations from the mean of those before it
    EXTREME = 1 << 15  # ... at least 4; such a tick is UNUSUAL, too


class Part(IntEnum):
    """Which price of a bar a BAR row holds."""

    NONE = 0
    OPEN = 1
    HIGH = 2
    LOW = 3
    CLOSE = 4


BID = BUY = 1
ASK = SELL = -1
NO_SIDE = 0

# What an instrument's log may carry, as users name it with --channels.
# "orders" is a book by order (level 3), "book" one by price.
CHANNELS = ("trade", "aggtrade", "quote", "book", "orders", "bar", "news")


class Data(msgspec.Struct, omit_defaults=True, frozen=True):
    """Base of the `data` structs."""


class InstrumentData(Data, frozen=True):
    """INSTRUMENT: defines the number in the row's `instrument` column for this file.

    Increments and limits are decimal texts. `channels` says what this log carries of the instrument,
    which decides what the simulated venue matches against. `version` grows when a definition changes.
    """

    key: str  # "BTCUSDT.binance"
    symbol: str  # "BTCUSDT", the venue's own spelling
    venue: str  # "binance"
    price_decimals: int
    size_decimals: int
    price_increment: str
    size_increment: str
    base: str = ""
    quote: str = ""
    min_size: str = "0"
    max_size: str = "0"  # 0: no limit
    min_notional: str = "0"
    channels: tuple[str, ...] = ()
    status: str = "TRADING"
    version: int = 1


class SourceData(Data, frozen=True):
    """SOURCE: defines the number in the `source` column: one connection, request or imported file."""

    name: str  # "binance", "binance-rest", "import"
    venue: str = ""
    url: str = ""
    endpoint: str = ""  # of a REST source: "depth", "exchangeInfo"
    symbol: str = ""  # of a REST source that answers for one symbol without naming it
    symbols: tuple[
        str, ...
    ] = ()  # of a connection: only these of its venue's; (): all. Of answers: about these
    detail: dict[str, str] = {}

    def brings(self, venue: str, symbol: str) -> bool:
        """Whether an instrument is one of those that this connection is for."""
        return venue == self.venue and (not self.symbols or symbol in self.symbols)


class StatusData(Data, frozen=True):
    """STATUS: something happened to a connection, a book or the clock. See STATUS_EVENTS."""

    event: str
    channel: str = ""
    detail: str = ""
    first: int = 0  # of a gap: first and last id or time that is missing
    last: int = 0
    attempt: int = 0
    wait_ns: int = 0


STATUS_EVENTS = (
    "connecting",
    "connected",
    "authenticated",
    "subscribed",
    "disconnected",
    "stopped",  # we left where no socket was open
    "gap",
    "renumbered",  # a new connection counts anew: `first` came, after `last` on the one before
    "resync",  # a snapshot has been asked for
    "synchronised",  # the snapshot arrived, the book is good
    "backfill",  # missing trades have been asked for: `first` to `last`
    "backfilled",  # what of them came: `first` to `last`, none at 0; `detail` says what is still missing
    "server_shutdown",
    "silence",
    "resumed",  # frames come again
    "degraded",  # the stream flows, but something that was asked for is missing, or we fall behind
    "recovered",
    "renewing",  # a second connection is being opened, which will take the place of this one
    "renewed",  # it has: nothing was missed
    "kept",  # it could not be opened: the old one goes on
    "clock_offset",
    "disk_low",
    "rejected",  # the venue refused a request
    "rejected_tick",  # the tick before it in its message is implausible; `detail` says why
    "rebased",  # so many rejected ticks agreed that they are the market now; `first`, `last`: which
    "session",
)


class MalformedData(Data, frozen=True):
    """MALFORMED: bytes that are not what the venue's protocol says. `wire` keeps them."""

    error: str
    field: str = ""
    value: str = ""
    byte: int = -1


class CommandData(Data, frozen=True):
    """COMMAND: an operator's word, Ctrl-C included."""

    command: str  # "stop"
    reason: str = ""  # "SIGINT", "SIGTERM", "--for", ...


class NewsData(Data, frozen=True):
    """NEWS: one headline. The row's `ts_venue` is its publication time, `ts` when it reached us."""

    id: str
    headline: str
    summary: str = ""
    source: str = ""
    url: str = ""
    symbols: tuple[str, ...] = ()


class AttemptData(msgspec.Struct, omit_defaults=True, frozen=True):
    """One call of the Messages API: when it began after the request was made, and what came of it."""

    began_ns: int
    took_ns: int
    status: int = 0  # HTTP; 0: none came
    error: str = ""
    waited_ns: int = 0  # before it, because of the one before
    request_id: str = ""


class AnswerData(Data, frozen=True):
    """ANSWER: what became of a question. The row's `wire` is the API's answer as it came, if one came.

    `outcome` is one of ANSWER_OUTCOMES; only "answered" has a text that the prompt's answer can be read from.
    `request` is the whole request in canonical JSON, so that a log can fill a store without anything else.
    """

    key: str  # SHA-256 of `request`
    request: str
    outcome: str
    ticket: int = 0  # of the run that asked; 0: of none, it was bought ahead
    text: str = ""  # what the model wrote: JSON by the prompt's schema, when all is well
    error: str = ""
    model: str = ""  # as the API names it
    request_id: str = ""
    latency_ns: int = 0  # from the loop's question to this row
    attempts: tuple[AttemptData, ...] = ()
    input_tokens: int = 0  # all of them, those written to and read from a cache included
    output_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_read_tokens: int = 0
    cost_nano_usd: int = 0  # 1e-9 US dollars


ANSWER_OUTCOMES = (
    "answered",
    "refused",  # by the model
    "truncated",  # at max_tokens
    "malformed",  # what came is not a message
    "failed",  # errors to the end of patience; `error` and `attempts` say which
    "expired",  # the edge's own limit
    "budget",  # nothing was sent: it might have cost too much
    "broken",  # nothing was sent: too many calls had failed
)


class BarData(Data, frozen=True):
    """BAR: on the bar's OPEN row, what has no column."""

    interval_ns: int
    close_time: int = 0


class TradeData(Data, frozen=True):
    """TRADE: on a row flagged REVISED, what became of the trade whose `id` the row has.

    The row's price and size are those that hold now; a cancelled trade has size 0.
    """

    note: str = ""  # "corrected", "cancelled"
    was_price: str = ""  # decimal texts, as the venue gave them before
    was_size: str = ""
    new_id: int = 0  # under which the venue goes on with the trade, if it is another


class BookData(Data, frozen=True):
    """BOOK: on the first row of a message that carries no levels, why there are none."""

    note: str = ""


class FundingData(Data, frozen=True):
    """FUNDING: what holders of the row's perpetual pay. `rate` is a decimal text, a share of the value."""

    rate: str
    due: int = 0  # when it is paid next, ns since 1970-01-01 UTC; 0: not said


class SessionData(Data, frozen=True):
    """SESSION: one trading session of a calendar, known ahead. Times are ns since 1970-01-01 UTC."""

    calendar: str  # "XNYS"
    day: str  # "2024-06-03", the session's own date
    opens: int
    closes: int
    venue: str = ""  # whose instruments it is for; "": all of the file
    version: str = ""  # of the calendar's source
    early: bool = False  # it closes before its usual hour


class CorporateData(Data, frozen=True):
    """CORPORATE: a split or a cash dividend of the row's instrument, effective at the row's `ts_venue`.

    A split multiplies sizes by numerator / denominator and divides prices by it. A dividend pays `amount`,
    a decimal text, a unit held.
    """

    action: str  # "split", "dividend"
    numerator: int = 1
    denominator: int = 1
    amount: str = "0"
    currency: str = ""


class EndData(Data, frozen=True):
    """END: the recording ends here on purpose."""

    reason: str = ""


DATA_OF_KIND: dict[Kind, type[Data]] = {
    Kind.TRADE: TradeData,
    Kind.BAR: BarData,
    Kind.BOOK: BookData,
    Kind.FUNDING: FundingData,
    Kind.NEWS: NewsData,
    Kind.ANSWER: AnswerData,
    Kind.SESSION: SessionData,
    Kind.CORPORATE: CorporateData,
    Kind.INSTRUMENT: InstrumentData,
    Kind.SOURCE: SourceData,
    Kind.STATUS: StatusData,
    Kind.COMMAND: CommandData,
    Kind.MALFORMED: MalformedData,
    Kind.END: EndData,
}

_encoder = msgspec.json.Encoder(order="sorted")


def encode_canonical(value: object) -> bytes:
    """Canonical JSON: msgspec's with sorted keys, UTF-8, no spaces."""
    return _encoder.encode(value)
