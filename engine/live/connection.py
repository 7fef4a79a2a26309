"""One connection of a venue over all its lives: the driver that does what the table says.

    open ──► Life ──frames──► owner ──notices──► heard ──► the dialogue, the machine
              ▲                                    │ "shutdown", or its time is up
              └── handover ◄── successor, held ◄───┘

It opens the socket, lets the dialogue authenticate and subscribe, hands every data frame on as bytes, notices
silence and a queue that grows, and tells the `Machine` what happened; the machine says what is next and which
rows it is worth. What this never does: look into a frame, or lose one.

Silence: a WebSocket may be open and dead. No data for `silence_s` makes the stream quiet: a row and a ping.
No pong, or still no frame after five times as long: the connection is given up. (An instrument that nobody
trades is silent and well; its socket answers, or the venue's heartbeats come, so it is left alone.) Pings of
the venue are answered by the library itself.

Falling behind: frames never stay in a queue of ours, so what we do not read waits in the kernel, and then at
the venue, which will cut us off one day. `most_waiting_bytes` is how much there was, looked at every second;
when it stays above `behind_bytes` the stream is degraded, which is a row.

Renewal, where frames carry numbers (`rehearsal` is given): before a connection's time is up, or when the
venue says that it will close, a second one is opened beside it. Its frames are held while the first one still
streams; when it has been subscribed for a while, the first one is closed, its last frames are taken, and then
those that were held, most of which came twice and are marked as such by their numbers. So nothing is missed,
and nothing seems to be missing. Should the first one die on the way, the second takes over at once; at a
stop it does so, too, for the sake of what was held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import msgspec

from engine.feed.dialogue import Dialogue, Phase, Spoken
from engine.feed.parser import Notice
from engine.live.ban import Ban
from engine.live.life import Holder, Life
from engine.live.machine import STOPPED, BackOff, Event, Machine, State
from engine.live.pace import Pace
from engine.live.refusal import FIRST_WAITS, OPENING_ERRORS, REACH_HINT, is_soon, refusal_of
from engine.live.tasks import to_its_end
from engine.live.transport import Socket, open_socket, unread_bytes
from engine.live.troubles import Troubles, What
from engine.model.errors import VenueError
from engine.model.kinds import StatusData

_FLOWING = (State.STREAMING, State.QUIET, State.DEGRADED)


class Timeouts(msgspec.Struct, frozen=True):
    """How long a connection waits for what, in seconds."""

    open_s: float = 10.0
    phase_s: float = 10.0  # for the answers to authentication, and to all subscriptions
    silence_s: float = 60.0  # without data: a row and a ping
    pong_s: float = 10.0
    patience: int = 5  # silences after which a socket that still answers is given up
    message_gap_s: float = 0.25  # between our messages: venues take about five a second
    close_s: float = 1.0
    drain_s: float = 30.0  # for the last frames of a connection whose successor is there
    drain_idle_s: float = 3.0  # for the next one of them: what is held meanwhile becomes old
    overlap_s: float = 2.0  # how long a successor runs beside its predecessor
    queue_s: float = 1.0  # how often it is looked at how far behind we are
    behind_bytes: int = 1 << 20
    refused_s: float = 30.0  # until what was refused is asked for again; doubles up to sixteen minutes


class Hooks(msgspec.Struct, frozen=True):
    """What a connection tells its owner."""

    on_frame: Callable[[bytes], None]  # every data frame, in order
    on_status: Callable[[StatusData], None]  # a row to write
    on_lost: Callable[[], None]  # the stream is interrupted; what came meanwhile is unknown
    # Makes a reader of frames that leaves no trace; None where two connections cannot run side by side.
    rehearsal: Callable[[], Callable[[bytes], list[Notice]]] | None = None


class Target(msgspec.Struct, frozen=True):
    """Where a connection goes, and what is said there. `dialogue` makes our side of one life."""

    url: str
    dialogue: Callable[[], Dialogue] = Spoken
    headers: dict[str, str] = {}  # of the handshake
    subscribed: str = ""  # the row's words for all of it
    life_s: float = 0.0  # renewed after so long; 0: never
    ban: Ban | None = None  # the venue's, for all its connections and requests
    pace: Pace | None = None  # of our messages, where the venue counts those of all connections


class Connection:
    """One connection over all its lives. `run` ends after `stop`, or when the first attempt fails."""

    def __init__(
        self,
        target: Target,
        machine: Machine,
        hooks: Hooks,
        *,
        timeouts: Timeouts | None = None,
        back_off: BackOff | None = None,
    ) -> None:
        """`back_off` is for successors that cannot be opened; the machine has its own."""
        self.url = target.url
        self.machine = machine
        self.frames = 0  # received, over all lives
        self.heartbeats = 0  # of them, that say nothing but that the socket lives
        self.most_waiting_bytes = 0
        self.opened = asyncio.Event()  # set when everything has been subscribed for the first time
        self._hooks = hooks
        self._target = target
        self._timeouts = timeouts or Timeouts()
        self._back_off = back_off or BackOff()
        self._life: Life | None = None
        self._next: tuple[Life, Holder] | None = None  # a successor that is subscribed
        self._renewing: asyncio.Task[None] | None = None
        self._began_s = 0.0
        self._troubles = Troubles()
        self._said = ""
        self._leaving: tuple[Event, str] | None = None  # why we close the socket ourselves
        self._closing: asyncio.Task[None] | None = None
        self._hint = ""
        self._retry_after_s = 0.0
        self._ban = target.ban or Ban()
        self._first_waits = FIRST_WAITS  # how often a venue that limits is waited for before anything began
        self._failure: BaseException | None = None  # a bug in one of our tasks
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Connect, stream and reconnect until `stop`.

        Raises VenueError when the very first attempt fails, unless the venue says when to come back, within a
        minute; later ones are repeated for ever.
        """
        self._tell(Event.START, self.url)
        while True:
            socket = await self._open()
            if socket is not None:
                await self._live(self._life_of(socket))
            if self.machine.state is State.STOPPED:
                return
            await self._wait(self.machine.wait_s)
            if self._stopping.is_set():
                self._tell(Event.STOP)
                return
            self._tell(Event.WAITED, self.url)

    def stop(self) -> None:
        """End the connection; `run` returns soon after, with the last frames handed on."""
        self._stopping.set()
        self._leave(Event.STOP, STOPPED)

    def heard(self, notices: Iterable[Notice]) -> None:
        """Take what the frame that was handed on said of the connection itself."""
        life = self._life
        if life is None:
            return
        for notice in notices:
            if notice.event == "heartbeat":
                self.heartbeats += 1
            elif notice.event == "shutdown":
                self.renew(notice.detail or "the venue will close the connection")
            elif notice.event == "failed":
                self._hint = notice.hint
                self._retry_after_s = self._back_off.cap_s if notice.fatal else 0.0
                self._leave(Event.LOST, notice.detail)
            else:
                self._hint = notice.hint or self._hint
                self._note_answer(notice)
                life.say(life.dialogue.heard(notice))
        self._advance(life)

    def _note_answer(self, notice: Notice) -> None:
        """What was refused, and may be granted another time, is asked for again, ever less often."""
        times = self._troubles.take(notice)
        if times and not notice.fatal:
            what = (notice.channel, notice.symbols)
            wait_s = self._timeouts.refused_s * 2.0 ** min(times - 1, 5)
            asyncio.get_running_loop().call_later(wait_s, self._ask_refused, what, self._life)

    def _ask_refused(self, what: What, life: Life | None) -> None:
        if life is not None and life is self._life and what in self._troubles.refused:
            life.say(life.dialogue.anew(*what))

    @property
    def talking(self) -> bool:
        """Whether some of what we have to say has not been said yet."""
        return self._life is not None and self._life.talking

    def ask_again(self, symbols: Iterable[str]) -> None:
        """Have the venue send these symbols' books anew, where the stream brings them."""
        if self._life is not None:
            self._life.say(self._life.dialogue.again(list(symbols)))

    def renew(self, reason: str) -> None:
        """Open a successor, or, where frames carry no numbers, leave and come back at once."""
        if self._hooks.rehearsal is None:
            self._leave(Event.SHUTDOWN, reason)
        elif self._renewing is None and self._leaving is None and self.machine.state in _FLOWING:
            self._renewing = self._watched(self._renew(reason))

    # --- one life ---

    def _life_of(self, socket: Socket) -> Life:
        return Life(socket, self._target.dialogue(), self._target.pace or Pace(self._timeouts.message_gap_s))

    async def _live(self, life: Life) -> None:
        """One life of the stream: from opened until it is interrupted, over handovers."""
        self._leaving, self._life = None, life
        self._troubles = Troubles()
        self._retry_after_s = 0.0
        self._began_s = self._now_s()
        locked = life.dialogue.phase is Phase.AUTHENTICATING
        self._tell(Event.LOCKED if locked else Event.OPENED, self.url)
        watches: list[asyncio.Task[None]] = []
        words = ""
        try:
            life.begin(self._take)
            self._advance(life)
            if self._stopping.is_set():
                self._leave(Event.STOP, STOPPED)
            works = (self._watch_phases(), self._watch_silence(), self._watch_queue(), self._watch_age())
            watches = [self._watched(work) for work in works]
            words = await self._receive(life)
        finally:
            for task in (*watches, *([self._renewing] if self._renewing else [])):
                task.cancel()
            if self._renewing is not None:
                await asyncio.wait((self._renewing,))
                self._renewing = None
            if self._next is not None:
                await self._next[0].end()
                self._next = None
            current, self._life = self._life, None
            if current is not None:
                await current.end()
            self._hooks.on_lost()
        if self._failure is not None:
            raise self._failure
        event, words = self._leaving or (Event.LOST, words)
        if event is Event.LOST and not self.opened.is_set() and not self._stopping.is_set():
            raise VenueError(f"{self.url}: {words}", hint=self._hint or REACH_HINT)
        self._tell(event, words, retry_after_s=max(self._retry_after_s, self._ban.left_s))

    async def _receive(self, life: Life) -> str:
        """Receive until the stream is interrupted; the words for why."""
        while True:
            assert life.receiving is not None
            words = await life.receiving  # raises a bug behind a frame
            if self._next is None or self._failure is not None:
                return words
            (life, holder), self._next = self._next, None
            if self._leaving is not None:
                words = self._leaving[1]
            stopping = self._stopping.is_set()
            if not stopping:  # whatever was wrong with the first one, it is not with the second
                self._leaving, self._retry_after_s = None, 0.0
            predecessor, self._life = self._life, life
            self._began_s = self._now_s()
            self._troubles.another()
            self._tell(
                Event.RENEWED, f"{words}; {len(holder.frames):,} frames of the new connection were held"
            )
            life.listen(self._take)
            renewing, self._renewing = self._renewing, None  # a held frame may ask for the next renewal
            for frame in holder.frames:
                self._take(frame)
            self._advance(life)
            if renewing is not None:
                renewing.cancel()
                await asyncio.wait((renewing,))
            if predecessor is not None:
                await predecessor.end()
            if stopping:
                await life.close()

    def _take(self, frame: bytes) -> None:
        self.frames += 1
        self._hooks.on_frame(frame)

    def _advance(self, life: Life) -> None:
        """Follow the dialogue: authenticated, subscribed, or something still missing."""
        phase = life.dialogue.phase
        if self.machine.state is State.AUTHENTICATING and phase is not Phase.AUTHENTICATING:
            self._tell(Event.AUTHENTICATED)
        if self.machine.state is State.SUBSCRIBING and phase is Phase.STREAMING:
            self._tell(Event.SUBSCRIBED, self._target.subscribed)
            self.opened.set()
        if phase is Phase.STREAMING:
            self._troubles.unanswered = life.dialogue.unanswered()
        self._settle()

    def _settle(self) -> None:
        """Say that the stream is degraded, or that it is not any more."""
        words, state = self._troubles.words, self.machine.state
        if words and (state is State.STREAMING or (state is State.DEGRADED and words != self._said)):
            self._tell(Event.TROUBLED, words)
        elif not words and state is State.DEGRADED:
            self._tell(Event.MENDED)
        self._said = words

    # --- its successor ---

    async def _renew(self, reason: str) -> None:
        attempt = 0
        while True:
            attempt += 1
            self._tell(Event.RENEW, reason)
            words = await self._succeed()
            if not words:
                return
            self._tell(Event.KEPT, words)
            self._settle()
            await asyncio.sleep(max(self._back_off.wait_s(attempt, 0.5), self._ban.left_s))
            if self._leaving is not None:
                return

    async def _succeed(self) -> str:
        """Bring a successor to the point where it may take over, and close the present life; or why not."""
        life: Life | None = None
        try:
            life = self._life_of(await self._attempt())
            holder = await self._hold(life)
        except OPENING_ERRORS as error:
            refusal = refusal_of(error, self.url)
            self._ban.note(refusal.retry_after_s)
            return refusal.detail
        finally:
            if life is not None and self._next is None:
                await to_its_end(life.end())
        if holder.refusal:
            return f"the new connection is of no use: {holder.refusal}"
        assert life.receiving is not None
        timeouts, full = self._timeouts, asyncio.ensure_future(holder.full.wait())
        try:
            await asyncio.wait(
                (full, life.receiving), timeout=timeouts.overlap_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            full.cancel()
        if self._life is None or self._life is life:
            return ""
        if life.receiving.done():  # the present one streams on, and is not left for one that is gone
            self._next = None
            await life.end()
            return f"the new connection ended: {life.receiving.result()}"
        await self._life.drain(lambda: self.frames, timeouts.drain_s, timeouts.drain_idle_s)
        return ""

    async def _hold(self, life: Life) -> Holder:
        """Listen to a successor until it is subscribed, from where on it may take over at any moment."""
        assert self._hooks.rehearsal is not None
        holder = Holder(life, self._hooks.rehearsal())
        holder.begin()
        assert life.receiving is not None
        ready = asyncio.ensure_future(holder.ready.wait())
        try:
            await asyncio.wait(
                (ready, life.receiving), timeout=self._timeouts.phase_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ready.cancel()
        if not holder.ready.is_set():
            ended = life.receiving.result() if life.receiving.done() else ""
            holder.refusal = holder.refusal or ended or f"no answer within {self._timeouts.phase_s:g} s"
        if not holder.refusal:
            self._next = (life, holder)
        return holder

    # --- watching ---

    async def _watch_phases(self) -> None:
        """Give up a connection whose authentication or subscriptions are not answered."""
        while True:
            state = self.machine.state
            await asyncio.sleep(self._timeouts.phase_s)
            life = self._life
            if self.machine.state is not state or self.talking:
                continue  # each phase has its own time, and an answer's begins when all has been said
            if self.machine.state in {State.AUTHENTICATING, State.SUBSCRIBING} and life is not None:
                what = life.dialogue.unanswered() or self.machine.state.value
                self._leave(Event.LOST, f"no answer within {self._timeouts.phase_s:g} s: {what}")
            if self.machine.state in _FLOWING:
                return

    async def _watch_silence(self) -> None:
        """Notice a stream that has gone silent, and give up one that stays so."""
        seen, beats, silences = self.frames - self.heartbeats, self.heartbeats, 0
        while True:
            await asyncio.sleep(self._timeouts.silence_s)
            life, data = self._life, self.frames - self.heartbeats
            if data != seen or life is None or self.machine.state not in _FLOWING:
                if data != seen and self.machine.state is State.QUIET:
                    self._tell(Event.FRAME)
                    self._settle()
                seen, beats, silences = data, self.heartbeats, 0
                continue
            silences += 1
            words = f"no frame for {self._timeouts.silence_s * silences:g} s"
            if self.machine.state is not State.QUIET:
                self._tell(Event.SILENT, words)
            life.say(life.dialogue.ping())
            answers = await life.socket.answers(self._timeouts.pong_s)
            patient = silences < self._timeouts.patience or self.heartbeats != beats
            if (
                self.machine.state is State.QUIET
                and self.frames - self.heartbeats == seen
                and not (answers and patient)
            ):
                suffix = "" if answers else ", and no answer to a ping"
                self._leave(Event.DEAD, f"silence: {words}{suffix}")
                return

    async def _watch_queue(self) -> None:
        """Notice that frames come faster than they are taken."""
        times = 0
        while True:
            await asyncio.sleep(self._timeouts.queue_s)
            waiting = 0 if self._life is None else unread_bytes(self._life.socket.transport)
            self.most_waiting_bytes = max(self.most_waiting_bytes, waiting)
            times = times + 1 if waiting >= self._timeouts.behind_bytes else 0
            if times == 2 and self._leaving is None:
                self._troubles.behind = f"{waiting:,} bytes have arrived and wait to be read"
                self._settle()
            elif waiting < self._timeouts.behind_bytes // 4 and self._troubles.behind:
                self._troubles.behind = ""
                self._settle()

    async def _watch_age(self) -> None:
        """Renew the connection before the venue ends it."""
        while self._target.life_s:
            left = self._began_s + self._target.life_s - self._now_s()
            if left <= 0 and self._renewing is None:
                self.renew(f"it is {self._target.life_s / 3_600:.1f} h old")
            await asyncio.sleep(max(left, 1.0))

    # --- parts ---

    def _watched(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task whose bug ends the connection instead of being printed at the end of the program."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            self._leave(Event.LOST, "error")

    def _tell(self, event: Event, detail: str = "", *, retry_after_s: float = 0.0) -> None:
        for status in self.machine.on(event, self._now_s(), detail, retry_after_s=retry_after_s):
            self._hooks.on_status(status)

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def _attempt(self) -> Socket:
        """One attempt to open the socket."""
        open_s, close_s = self._timeouts.open_s, self._timeouts.close_s
        if self._target.pace is not None:
            await self._target.pace.turn()
        return await open_socket(self.url, self._target.headers, open_s=open_s, close_s=close_s)

    async def _open(self) -> Socket | None:
        """The open socket, or None when the attempt failed or was stopped; the machine knows which."""
        opening = asyncio.ensure_future(self._attempt())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not opening.done():
            opening.cancel()
            await asyncio.wait((opening,))
        if opening.cancelled():
            self._tell(Event.STOP)
            return None
        try:
            return opening.result()
        except OPENING_ERRORS as error:
            refusal = refusal_of(error, self.url)
            if not self.opened.is_set() and not (self._first_waits and is_soon(refusal.retry_after_s)):
                raise VenueError(refusal.detail, hint=refusal.hint) from None
            self._first_waits -= 1
            self._ban.note(refusal.retry_after_s)
            self._tell(Event.REFUSED, refusal.detail, retry_after_s=self._ban.left_s)
            return None

    def _leave(self, event: Event, detail: str) -> None:
        if self._life is not None and self._leaving is None:
            self._leaving = (event, detail)
            # The receiving side goes on until the socket is closed: what has arrived is not lost.
            self._closing = asyncio.ensure_future(self._life.close())

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
