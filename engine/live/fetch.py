"""A venue's history into logs, so that it can be killed at any moment and started again.

    FOLDER/fetch.json                   what was asked for
    FOLDER/2024-06-01.arrow             a finished day: sealed, checked, renamed into its place
    FOLDER/.parts/reference.pages       what the venue said of the symbols
    FOLDER/.parts/2024-06-02/           the day in hand: a file of pages for each stream (fetch_pages), and
                                        what the day before ended with (carried.json)
    FOLDER/.parts/2024-06-02/log/       its log in the making

The state is what is on the disk, and nothing else: a stream is given the pages that are there and says which
one is next. Each step either is done or is done again with the same outcome, in this order: pages of every
stream, each finished by a rename; what they end with, into the next day's folder; the log, made, sealed and
moved into place by a rename; the day's pages are deleted. When every log is there, the fetch is finished, and
starting it again says so and asks nobody. A lock keeps a second process away.

Logs are segments of one recording: each names the chain head of the one before.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from urllib.parse import quote

import msgspec

from engine.feed.history import Stream
from engine.feed.parser import Malformed
from engine.ingest.history import Part, write_history
from engine.live.fetch_client import Client
from engine.live.fetch_count import counted
from engine.live.fetch_pages import PageFile
from engine.live.fetch_plan import HistoryVenue, Reference, Request, Span, check_times, folder_name, spans
from engine.log.writer import is_full, sync_folder
from engine.model.errors import EngineError, UsageError
from engine.model.kinds import SourceData
from engine.model.units import format_time

_ROOM = "make room and start it again: what has come is kept, and it goes on there"
PARTS, REQUEST, LOCK, CARRIED = ".parts", "fetch.json", ".lock", "carried.json"


class Progress(msgspec.Struct):
    """How far a fetch is. `share` counts time covered, of all streams, from 0 to 1."""

    share: float = 0.0
    span: str = ""
    stream: str = ""
    requests: int = 0
    facts: int = 0
    used_weight: int = 0
    weight_limit: int = 0
    waiting_s: float = 0.0


class Report(msgspec.Struct):
    """What a fetch came to; the object that `--json` prints.

    It speaks of all its logs, whichever run wrote them; `requests` and `retries` are of this run.
    """

    folder: str
    files: list[str]
    rows: int
    facts: int  # trades, bars and so on
    holes: int
    bars_possible: int  # of each symbol in this time; 0: not known, or bars were not asked for
    bars_missing: dict[str, int]  # how many fewer there are, of symbols with fewer
    requests: int
    retries: int
    finished_before: bool  # there was nothing left to do
    venue: str
    symbols: tuple[str, ...]
    channels: tuple[str, ...]
    first: str
    last: str
    notes: list[str]


class Fetch:
    """One request. `run` brings it to its end, from wherever it stands."""

    def __init__(
        self,
        request: Request,
        venue: HistoryVenue,
        root: Path,
        client: Client,
        *,
        notes: Iterable[str] = (),
        show: Callable[[Progress], None] = lambda _progress: None,
    ) -> None:
        """`request` as `venue.checked` gave it; `root`: where its folder goes."""
        self.request, self.venue, self.client = request, venue, client
        self.folder = root / folder_name(request)
        self.progress = Progress()
        self._parts = self.folder / PARTS
        self._spans = spans(request)
        self._notes = list(notes)
        self._show = show
        client.on_wait = self._waiting

    def log_of(self, span: Span) -> Path:
        """Where a span's log goes."""
        return self.folder / f"{span.stem}.arrow"

    @property
    def finished(self) -> bool:
        """Whether every log is there."""
        return all(self.log_of(span).exists() for span in self._spans)

    def _any_log(self) -> bool:
        return any(self.log_of(span).exists() for span in self._spans)

    async def run(self) -> Report:
        """Fetch what is missing. Raises UsageError, VenueError, EngineError; what has come is kept."""
        check_times(self.request, int(self.client.clock.now_s() * 1e9))
        self._claim_folder()
        lock = _locked(self.folder / LOCK)
        try:
            before = self.finished
            if not before:
                await self._fetch()
            shutil.rmtree(self._parts, ignore_errors=True)
            return self._report(before=before)
        except UsageError:
            # It never began: what cannot be fetched leaves no folder behind.
            if not PageFile(self._parts, "reference").done and not self._any_log():
                shutil.rmtree(self.folder, ignore_errors=True)
            raise
        finally:
            os.close(lock)

    def _claim_folder(self) -> None:
        path = self.folder / REQUEST
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if path.exists():
                known = msgspec.json.decode(path.read_bytes(), type=Request)
                if known != self.request:
                    raise UsageError(
                        f"{self.folder} holds another fetch: {_difference(known, self.request)}",
                        hint="take another --to-folder, or move that one away",
                    )
            else:
                _write_whole(path, msgspec.json.format(msgspec.json.encode(self.request)) + b"\n")
        except msgspec.DecodeError:
            raise UsageError(f"{path} cannot be read", hint="delete it to go on with the folder") from None
        except OSError as error:
            raise EngineError(f"{self.folder}: {error.strerror or error}") from None

    async def _fetch(self) -> None:
        reference = await self._reference()
        self.client.allowance.weight_limit = self.progress.weight_limit = reference.weight_limit
        previous: Path | None = None
        for number, span in enumerate(self._spans):
            log = self.log_of(span)
            if not log.exists():
                await self._fetch_span(number, span)
                self._make_log(number, span, reference, log, previous)
            shutil.rmtree(self._parts / span.stem, ignore_errors=True)
            previous = log

    async def _reference(self) -> Reference:
        """What the venue says of the symbols, once for all days."""
        kept = PageFile(self._parts, "reference")
        for _, body in kept.read() if kept.done else ():
            try:
                return self.venue.read(body, self.request)
            except Malformed as problem:  # of an older version of this program
                raise EngineError(
                    f"{self._parts}: {problem}", hint="delete that folder: what is in it is asked for anew"
                ) from None
        body = await self.venue.reference(self.client, self.request)
        reference = self.venue.read(body, self.request)
        if reference.now:
            self.client.allowance.ahead_s = reference.now / 1e9 - self.client.clock.now_s()
            check_times(self.request, reference.now)
        writer = kept.begin()
        writer.add("", body)
        writer.close()
        kept.finish()
        return reference

    # One span: its pages.

    def _streams(self) -> list[tuple[str, str, str]]:
        """File name, symbol and channel of each stream, in the order that decides between equal times."""
        return [
            (f"{channel}-{quote(symbol, safe='')}".rstrip("-"), symbol, channel)
            for symbol, channel in self.venue.streams(self.request)
        ]

    async def _fetch_span(self, number: int, span: Span) -> None:
        carried = self._carried(span)
        streams = self._streams()
        for index, (name, symbol, channel) in enumerate(streams):
            pages = PageFile(self._parts / span.stem, name)
            if pages.done:
                continue
            stream = self.venue.stream(self.request, symbol, channel, span, carried.get(name, ""))
            self.progress.span, self.progress.stream = span.stem, f"{symbol} {channel}".strip()
            await self._fetch_stream(stream, pages, span, (number * len(streams) + index, len(streams)))

    async def _fetch_stream(
        self, stream: Stream, pages: PageFile, span: Span, place: tuple[int, int]
    ) -> None:
        whole = 0
        for path, body in pages.read():
            # A program that asked otherwise may have left the file: what is behind is asked for anew.
            if path != stream.next():
                break
            try:
                self._taken(stream, body)
            except Malformed:
                break
            whole += 1
        writer = pages.begin(whole)
        try:
            while (wanted := stream.next()) is not None:
                self._shown(stream, span, place)
                body = await self.client.get(wanted, partial(self._taken, stream))
                writer.add(wanted, body)
        finally:
            writer.close()
        self._shown(stream, span, place)
        pages.finish()

    def _taken(self, stream: Stream, body: bytes) -> None:
        self.progress.facts += len(stream.take(body).items)

    def _shown(self, stream: Stream, span: Span, place: tuple[int, int]) -> None:
        progress, done = self.progress, (stream.at - span.begin) / max(span.end - span.begin, 1)
        index, count = place
        progress.share = (index + min(max(done, 0.0), 1.0)) / (len(self._spans) * count)
        progress.requests = self.client.requests
        progress.used_weight = self.client.allowance.used
        self._show(progress)

    def _waiting(self, seconds: float) -> None:
        self.progress.waiting_s = seconds
        self._show(self.progress)

    def _carried(self, span: Span) -> dict[str, str]:
        path = self._parts / span.stem / CARRIED
        try:
            found: dict[str, str] = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            raise EngineError(f"{path}: {error}", hint="delete it; the day is then found by time") from None
        return found

    # One span: its log.

    def _make_log(
        self, number: int, span: Span, reference: Reference, log: Path, previous: Path | None
    ) -> None:
        """Write it, or say what to do. A log that was begun is of no use: the next start makes it anew."""
        try:
            self._write_log(number, span, reference, log, previous)
        except Malformed as problem:  # pages of an older version of this program
            folder = self._parts / span.stem
            raise EngineError(
                f"{folder}: {problem}", hint="delete that folder: the day is asked for anew"
            ) from None
        except OSError as error:
            words = f"{error.filename or self._parts}: {error.strerror or error}"
            raise EngineError(words, hint=_ROOM if is_full(error) else "") from None

    def _write_log(
        self, number: int, span: Span, reference: Reference, log: Path, previous: Path | None
    ) -> None:
        carried = self._carried(span)
        parts, ends = [], dict(carried)
        for name, symbol, channel in self._streams():
            pages = PageFile(self._parts / span.stem, name)
            make = partial(self.venue.stream, self.request, symbol, channel, span, carried.get(name, ""))
            source = SourceData(
                name="fetch",
                venue=self.venue.name,
                url=self.request.base,
                endpoint=make().endpoint,
                symbol=symbol,
                detail={"interval": self.request.interval} if channel == "bar" else {},
            )
            parts.append(Part(make, pages.bodies, source, symbol))
            if not span.last:
                stream = make()
                for body in pages.bodies():
                    stream.take(body)
                ends[name] = stream.carried
        if not span.last:
            following = self._parts / self._spans[number + 1].stem
            following.mkdir(parents=True, exist_ok=True)
            _write_whole(following / CARRIED, msgspec.json.encode({k: v for k, v in ends.items() if v}))
        work = self._parts / span.stem / "log"
        shutil.rmtree(work, ignore_errors=True)
        self.progress.stream = "writing the log"
        self._show(self.progress)
        try:
            write_history(
                work / log.name,
                parts,
                reference.definitions,
                begin=span.begin,
                feed_latency_ns=self.request.feed_latency_ns,
                previous=previous,
            )
        except EngineError as error:
            if not is_full(error.__cause__):
                raise
            # Without room the log's own hint is for who records or seals one.
            raise EngineError(error.message, hint=_ROOM) from None
        (work / log.name).replace(log)
        sync_folder(self.folder)

    def _report(self, *, before: bool) -> Report:
        logs = [self.log_of(span) for span in self._spans]
        found = counted(logs)
        possible = self.venue.possible_bars(self.request) if "bar" in self.request.channels else 0
        fewer = {  # instruments are numbered in the order of the request
            symbol: possible - found.bars.get(number, 0)
            for number, symbol in enumerate(self.request.symbols, start=1)
        }
        return Report(
            folder=str(self.folder),
            files=[str(log) for log in logs],
            rows=found.rows,
            facts=found.facts,
            holes=found.holes,
            bars_possible=possible,
            bars_missing={symbol: count for symbol, count in fewer.items() if count > 0},
            requests=self.client.requests,
            retries=self.client.retries,
            finished_before=before,
            venue=self.request.venue,
            symbols=self.request.symbols,
            channels=self.request.channels,
            first=format_time(self.request.begin),
            last=format_time(self.request.end),
            notes=self._notes,
        )


def _locked(path: Path) -> int:
    """A lock that ends with the process, however it ends."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise UsageError(
            f"{path.parent}: another process is fetching this", hint="wait for it, or end it"
        ) from None
    return handle


def _write_whole(path: Path, text: bytes) -> None:
    """A file is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.write_bytes(text)
    temporary.replace(path)


def _difference(known: Request, asked: Request) -> str:
    shown = {"begin": "--from", "end": "--to", "base": "--url", "feed_latency_ns": "--feed-latency"}
    for field in Request.__struct_fields__:
        was, now = getattr(known, field), getattr(asked, field)
        if was != now:
            words = [",".join(v) if isinstance(v, tuple) else v for v in (was, now)]
            return f"{shown.get(field, '--' + field)} was {words[0]}, and is {words[1]}"
    return "it differs"
