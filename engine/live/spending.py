"""What is spent on Claude in a day, by everybody who works in one folder: one file, and a lock beside it.

    data/spending.json   days: what is over and done with, ISO dates to nano-USD
                         open: for each session that runs, what it has spent and reserved so far

A session claims before it spends: under the lock it reads what the others took, and writes its own share with
the new claim in it, or is refused. So two sessions at once cannot pass the day's budget together, however
they take turns. A session that ends adds its share to the days. One that was killed is found by whoever
comes next, and what it had reserved counts as spent: it may be billed. A hold is the share of a batch, which
outlives the process that paid for it, until its results are there.

The file is written under another name, synced and renamed. What a server of this machine's own would cost is
no money, and never gets in here. Nothing in this module is awaited but `Claims`, which does all of it in a
thread, several claims at a time: a loop that trades never waits for a disk.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import msgspec

from engine.answers.budget import Budget, Reservation, iso_of
from engine.answers.models import usd
from engine.live.asking_client import AskingConfig
from engine.live.refusal import is_loopback
from engine.model.errors import EngineError, InputError

FILE = Path("data/spending.json")  # under where the user stands
HOLD = "batch "  # begins the name of a share that no process owns
VERSION = 1
LOCKED_WITHIN_S = 5.0
_LOCK_POLL_S = 0.002
_numbers = count(1)


class Share(msgspec.Struct):
    """What one session has spent and reserved; `pid` 0: no process owns it."""

    pid: int
    born: int  # of the process, clock ticks since the machine started: a pid comes again
    by_day: dict[str, int]


class Spent(msgspec.Struct, forbid_unknown_fields=True):
    """The file. Amounts are 1e-9 USD."""

    version: int = VERSION
    days: dict[str, int] = {}
    open: dict[str, Share] = {}

    def besides(self, name: str) -> dict[str, int]:
        """What everybody but one session took, by day."""
        taken = dict(self.days)
        for other, share in self.open.items():
            if other != name:
                _add(taken, share.by_day)
        return taken

    def fold(self, name: str) -> None:
        """A session is over: its share belongs to the days."""
        share = self.open.pop(name, None)
        if share is not None:
            _add(self.days, share.by_day)


class Spending:
    """One session's view of the file. Its methods wait for the lock and the disk."""

    def __init__(self, path: Path = FILE, *, per_day: int, born: Callable[[int], int] | None = None) -> None:
        """`per_day` is the budget of a UTC day, nano-USD; `born` says when a process was (0: it is gone)."""
        self.path = path
        self.per_day = per_day
        self._born = born or process_born
        self._name = f"session {os.getpid()}.{next(_numbers)}"

    def look(self) -> dict[str, int]:
        """What others took, by day. Raises InputError for a file that cannot be read."""
        with self._locked() as spent:
            return spent.besides(self._name)

    def claim(
        self, own: Mapping[str, int], claims: Sequence[tuple[str, int]]
    ) -> tuple[list[str], dict[str, int]]:
        """Write this session's share, claims (day, nano-USD) included as far as the day has room for them.

        Returns what stands against each claim ("" when it is granted), and what others took by day.
        Raises EngineError when the file cannot be read or written; then nothing is granted.
        """
        with self._locked() as spent:
            others = spent.besides(self._name)
            mine = dict(own)
            objections = [""] * len(claims)
            for place in reversed(range(len(claims))):  # whoever came last is refused first
                day, amount = claims[place]
                taken = others.get(day, 0) + mine.get(day, 0)
                if taken > self.per_day:
                    mine[day] = mine.get(day, 0) - amount
                    objections[place] = _objection(self.per_day, taken - amount, amount)
            spent.open[self._name] = Share(os.getpid(), self._born(os.getpid()), mine)
            self._write(spent)
        return objections, others

    def end(self, own: Mapping[str, int]) -> None:
        """The session is over, and this is what it has spent. Raises EngineError as `claim`."""
        with self._locked() as spent:
            if own:
                spent.open[self._name] = Share(0, 0, dict(own))
            elif self._name not in spent.open:
                return
            spent.fold(self._name)
            self._write(spent)

    def hold(self, name: str, day: str, nano_usd: int) -> str:
        """Take a share that outlives this process; "" or what stands against it. Raises EngineError."""
        with self._locked() as spent:
            taken = spent.besides(HOLD + name).get(day, 0)
            if taken + nano_usd > self.per_day:
                return _objection(self.per_day, taken, nano_usd)
            spent.open[HOLD + name] = Share(0, 0, {day: nano_usd})
            self._write(spent)
        return ""

    def settle(self, name: str, nano_usd: int) -> None:
        """What was held is over and cost that much, on the day of its hold. Raises EngineError."""
        with self._locked() as spent:
            share = spent.open.get(HOLD + name)
            if share is None:
                return  # it was settled before
            share.by_day = dict.fromkeys(share.by_day, nano_usd) if nano_usd else {}
            spent.fold(HOLD + name)
            self._write(spent)

    @contextmanager
    def _locked(self) -> Iterator[Spent]:
        """The file's content, shares of dead processes added to the days, while nobody else has it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(
                self.path.with_name(f"{self.path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
        except OSError as error:
            raise self._unwritten(error) from None
        try:
            self._wait_for(lock)
            spent = self._read()
            for name, share in list(spent.open.items()):
                if share.pid and self._born(share.pid) != share.born:
                    spent.fold(name)
            yield spent
        finally:
            os.close(lock)

    def _wait_for(self, lock: int) -> None:
        """Take the lock, which others have for milliseconds; one that was stopped is not waited for."""
        ends = time.monotonic() + LOCKED_WITHIN_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= ends:
                    raise EngineError(
                        f"{self.path}: another process has had its lock for {LOCKED_WITHIN_S:g} s",
                        hint="a command that was stopped (Ctrl-Z) may hold it: let it go on, or end it",
                    ) from None
                time.sleep(_LOCK_POLL_S)
            else:
                return

    def _read(self) -> Spent:
        hint = "mend it, or move it away: then the day's spending counts from nothing"
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return Spent()
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror or error}", hint=hint) from None
        try:
            spent = msgspec.json.decode(text, type=Spent)
            Budget(0, 0, spent.besides(""))  # raises where a day is none
        except (msgspec.DecodeError, ValueError) as error:
            raise InputError(f"{self.path}: no record of what was spent: {error}", hint=hint) from None
        amounts = [*spent.days.values(), *(n for one in spent.open.values() for n in one.by_day.values())]
        if spent.version != VERSION or min(amounts, default=0) < 0:
            raise InputError(
                f"{self.path}: no record of what was spent: of version {spent.version}, or below zero",
                hint=hint,
            )
        return spent

    def _write(self, spent: Spent) -> None:
        try:
            handle, name = tempfile.mkstemp(".tmp", ".spending.", self.path.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(msgspec.json.format(msgspec.json.encode(spent)) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).chmod(0o644)
                Path(name).replace(self.path)
            finally:
                with suppress(FileNotFoundError):
                    Path(name).unlink()
        except OSError as error:
            raise self._unwritten(error) from None

    def _unwritten(self, error: OSError) -> EngineError:
        return EngineError(
            f"{self.path}: what is spent cannot be written down: {error.strerror or error}",
            hint="nothing is asked that is not written down: free some space, or name another --spending",
        )


class Claims:
    """Makes the reservations of a running budget known to all: in a thread, all that wait at once."""

    def __init__(self, budget: Budget, spending: Spending | None) -> None:
        self.problem = ""  # why the file does not know the latest, in words
        self._budget = budget
        self._spending = spending
        self._waiting: list[tuple[Reservation, asyncio.Future[str]]] = []
        self._changed = False
        self._writer: asyncio.Task[None] | None = None

    async def objection(self, reservation: Reservation) -> str:
        """What stands against spending a reservation; "" once the file has it."""
        if self._spending is None:
            return ""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((reservation, future))
        self._wake()
        return await future

    def changed(self) -> None:
        """Something was settled or released: let the others know soon."""
        if self._spending is not None:
            self._changed = True
            self._wake()

    async def close(self) -> None:
        """Write the last state; `problem` says if that failed (then reservations go on counting as spent)."""
        if self._spending is None:
            return
        if self._writer is not None:
            await self._writer
        try:
            await asyncio.to_thread(self._spending.end, self._budget.own_by_day())
        except EngineError as error:
            self.problem = str(error)

    def _wake(self) -> None:
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        assert self._spending is not None
        try:
            while self._waiting or self._changed:
                # Whoever gave up waiting has released its reservation already.
                waiting = [(claim, future) for claim, future in self._waiting if not future.done()]
                self._waiting, self._changed = [], False
                claims = [(iso_of(claim.day), claim.nano_usd) for claim, _ in waiting]
                try:
                    objections, others = await asyncio.to_thread(
                        self._spending.claim, self._budget.own_by_day(), claims
                    )
                except EngineError as error:
                    self.problem = str(error)
                    objections = [error.message] * len(waiting)
                else:
                    self.problem = ""
                    self._budget.heed(others)
                for (_, future), objection in zip(waiting, objections, strict=True):
                    if not future.done():
                        future.set_result(objection)
        finally:
            self._writer = None


def spending_of(config: AskingConfig) -> Spending | None:
    """The file that a configuration names; None for a server of this machine, which costs nothing."""
    if not config.spending or is_loopback(config.base_url):
        return None
    return Spending(Path(config.spending), per_day=config.per_day_nano_usd)


def process_born(pid: int) -> int:
    """When a process began, in clock ticks since the machine started; 0 for one that is not there."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        if Path("/proc/self").exists():
            return 0
    else:
        return int(text.rpartition(")")[2].split()[19])
    try:  # no such folder on this system: that there is one of that number has to do
        os.kill(pid, 0)
    except ProcessLookupError:
        return 0
    except PermissionError:
        pass
    return 1


def _add(sums: dict[str, int], more: Mapping[str, int]) -> None:
    for day, amount in more.items():
        sums[day] = sums.get(day, 0) + amount


def _objection(limit: int, taken: int, amount: int) -> str:
    return (
        f"the budget of this day is {usd(limit)}, {usd(taken)} of it are spent or reserved, all sessions "
        f"together, and the call may cost {usd(amount)}"
    )
