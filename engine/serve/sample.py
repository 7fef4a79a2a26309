"""Makes the sample recording again, bit for bit: `python -m engine.serve.sample [FILE]`.

What a recorder would have written, had it listened to the synthetic market on the morning of 2024-06-01:
frames of two symbols, each received some milliseconds after its event, through the parser that live data
goes through; a depth snapshot for each book, asked for when the first diff came; invented headlines. No
network, no wall clock: seed, span and headlines decide every row, hence the chain hash (the file's bytes
also depend on the version of the compressor).

The header's note says that the market is synthetic, and so does every headline.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import numpy as np

from engine import __version__
from engine.feed.binance import BinanceParser
from engine.feed.parser import SnapshotWanted
from engine.log.schema import LogHeader
from engine.log.seal import seal
from engine.log.writer import LogWriter
from engine.model.errors import InputError
from engine.model.kinds import (
    Flag,
    InstrumentData,
    Kind,
    NewsData,
    SourceData,
    StatusData,
    encode_canonical,
)
from engine.model.units import MILLISECOND_NS, SECOND_NS, format_time, parse_time
from engine.serve.binance import MILLISECOND, encode_payload, wrap
from engine.serve.market import VenueMarket
from engine.serve.synthetic import SNAPSHOT, Event, SyntheticMarket

SEED = 7
MINUTES = 60
RATE = 0.25  # fewer events and more minutes: strategies need time to pass
HEADLINES = Path(__file__).parents[2] / "data" / "headlines" / "synthetic-2024-06-01.csv"
DEFAULT_PATH = Path("recordings/2024-06-01.arrow")

_LAST = int(Flag.LAST)
_SOCKET, _REFERENCE, _FIRST_DEPTH = 1, 2, 3
_ANSWER_NS = 85 * MILLISECOND_NS  # a REST answer's way
_NEWS_DELAY_NS = 1_300 * MILLISECOND_NS  # from publication to our poller
_STREAMS = ("trade", "bookTicker", "depth@100ms")


class _Recorder:
    """The rows of one recording. Times are strictly increasing by message."""

    def __init__(self, writer: LogWriter, market: SyntheticMarket) -> None:
        self.writer = writer
        self._venue = VenueMarket(market.instruments)
        self._numbered = {data.symbol: (n, data) for n, data in enumerate(market.instruments, start=1)}
        self._parser = BinanceParser(self._numbered, _SOCKET, ("trade", "quote", "book"))
        self._depth = {s: n for n, s in enumerate(self._numbered, start=_FIRST_DEPTH)}
        self._news = _FIRST_DEPTH + len(self._depth)
        self._snapshots: list[tuple[int, str]] = []  # when the answer arrives, of which symbol
        # PCG64's own words: NumPy's distributions may change between versions.
        self._words = np.random.PCG64(np.random.SeedSequence((market.seed, 3)))
        self._ts = 0
        self._flushed = 0

    def stamp(self, ts: int) -> int:
        """`ts`, or the first nanosecond after the message before."""
        self._ts = max(ts, self._ts + 1)
        return self._ts

    def begin(self, ts: int) -> None:
        """What every recording begins with: sources, instruments, the connection."""
        streams = " ".join(f"{s.lower()}@{c}" for s in self._numbered for c in _STREAMS)
        rest = SourceData(name="binance-rest", venue="binance", url="synthetic:", endpoint="exchangeInfo")
        sources = [
            SourceData(name="binance", venue="binance", url="synthetic:"),
            rest,
            *(msgspec.structs.replace(rest, endpoint="depth", symbol=s) for s in self._depth),
            SourceData(name="headlines", detail={"note": "synthetic, invented"}),
        ]
        for number, source in enumerate(sources, start=1):
            self._row(ts, Kind.SOURCE, source, number)
        for number, data in self._numbered.values():
            self._row(ts, Kind.INSTRUMENT, data, _REFERENCE, instrument=number)
        for event in ("connecting", "connected"):
            self._row(ts, Kind.STATUS, StatusData(event=event), _SOCKET)
        self._row(ts, Kind.STATUS, StatusData(event="subscribed", detail=streams), _SOCKET)

    def take(self, event: Event) -> None:
        """One event of the market, received a little later."""
        self._venue.apply(event.time_ns // 1_000, event.stream, event.payload, ())
        if event.stream.endswith(SNAPSHOT):
            return
        received = self.stamp(event.time_ns + self._delay_ns())
        self._answers(received)
        frame = wrap(event.stream, encode_payload(event.payload, MILLISECOND))
        self._parser.feed(frame, self.stamp(received), self.writer.rows)
        for want in self._parser.wants:
            if not isinstance(want, SnapshotWanted):
                continue
            data = StatusData(event="resync", channel="book", detail=want.reason)
            self._row(received, Kind.STATUS, data, self._depth[want.symbol], self._numbered[want.symbol][0])
            self._snapshots.append((received + _ANSWER_NS, want.symbol))
        self._parser.wants.clear()
        if received - self._flushed > SECOND_NS:
            self._flushed = received
            self.writer.flush()

    def headline(self, published: int, news: NewsData) -> None:
        """One headline, as a poller would have brought it."""
        self.writer.rows.append(
            self.stamp(published + _NEWS_DELAY_NS),
            Kind.NEWS,
            ts_venue=published,
            source=self._news,
            flags=_LAST,
            data=encode_canonical(news),
        )

    def end(self, ts: int) -> None:
        """The END row; the file is closed, not sealed."""
        self.writer.close(reason="end of the sample", ts=self.stamp(ts))

    def _answers(self, now: int) -> None:
        """Depth answers that have arrived by `now`. Each shows the book as the venue has it then."""
        for arrives, symbol in [s for s in self._snapshots if s[0] <= now]:
            self._snapshots.remove((arrives, symbol))
            number = self._depth[symbol]
            source = SourceData(name="binance-rest", venue="binance", endpoint="depth", symbol=symbol)
            body = msgspec.json.encode(self._venue.depth(symbol, 1_000))
            self._parser.feed_rest(source, body, self.stamp(now), self.writer.rows, number)
            if self._parser.synchronised(symbol):
                data = StatusData(event="synchronised", channel="book")
                self._row(now, Kind.STATUS, data, number, self._numbered[symbol][0])

    def _row(
        self,
        ts: int,
        kind: Kind,
        data: SourceData | InstrumentData | StatusData,
        source: int,
        instrument: int = 0,
    ) -> None:
        self.writer.rows.append(
            self.stamp(ts),
            kind,
            source=source,
            instrument=instrument,
            flags=_LAST,
            data=encode_canonical(data),
        )

    def _delay_ns(self) -> int:
        """4 to 8 ms, now and then up to 40 ms more."""
        word = self._words.random_raw()
        late = (word >> 32) % 36_000_000 if word & 63 == 0 else 0
        return 4_000_000 + (word >> 8) % 4_000_000 + late


def headlines(path: Path) -> list[tuple[int, NewsData]]:
    """Publication time and content of each row of a headlines file (columns: its README).

    Raises InputError naming the row.
    """
    found: list[tuple[int, NewsData]] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                try:
                    news = NewsData(
                        id=row["id"],
                        headline=row["headline"],
                        source=row["source"],
                        symbols=tuple(row["symbols"].split()),
                    )
                    found.append((parse_time(row["published"]), news))
                except (KeyError, AttributeError) as error:
                    raise InputError(f"{path}: row {number}: column {error} is missing") from None
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}", hint="the sample is made from a checkout of the repository"
        ) from None
    return sorted(found, key=lambda item: item[0])


def write_sample(
    path: Path,
    *,
    seed: int = SEED,
    minutes: float = MINUTES,
    rate: float = RATE,
    news: Path = HEADLINES,
) -> str:
    """Write and close the recording, unsealed; its chain head. Refuses an existing file (UsageError)."""
    market = SyntheticMarket(seed, rate=rate)
    header = LogHeader(
        engine=__version__,
        created=format_time(market.start_ns),
        venues=("binance",),
        note=f"synthetic market, seed {seed}: invented prices, sizes and headlines, no real market's data",
    )
    end_ns = market.start_ns + round(minutes * 60) * SECOND_NS
    with LogWriter(path, header) as writer:
        recorder = _Recorder(writer, market)
        recorder.begin(market.start_ns)
        for event in _merged(market, end_ns, headlines(news)):
            if isinstance(event, Event):
                recorder.take(event)
            else:
                recorder.headline(*event)
        recorder.end(end_ns)
        return writer.chain_head


def _merged(
    market: SyntheticMarket, end_ns: int, news: list[tuple[int, NewsData]]
) -> Iterator[Event | tuple[int, NewsData]]:
    """Market and headlines in the order in which they are received."""
    waiting = [item for item in news if market.start_ns <= item[0] < end_ns - _NEWS_DELAY_NS]
    for event in market.events():
        if event.time_ns >= end_ns:
            return
        while waiting and waiting[0][0] + _NEWS_DELAY_NS <= event.time_ns:
            yield waiting.pop(0)
        yield event


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=DEFAULT_PATH)
def main(path: Path) -> None:
    """Make the sample recording at PATH; one that is there is replaced."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    chain = write_sample(fresh)
    report = seal(fresh)
    fresh.replace(path)
    click.echo(f"{path}: {report.rows} rows, {path.stat().st_size} bytes, chain {chain}")


if __name__ == "__main__":
    main()
