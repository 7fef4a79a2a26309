"""Asking from a process of its own: what the session sees of it, and what is left when either dies."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from engine.live.asking_client import AskingConfig, check_asking
from engine.live.asking_process import AskingProcess
from engine.live.asking_wire import (
    Answered,
    Ask,
    Begin,
    Close,
    Closed,
    Frames,
    Ready,
    frame,
    of_asker,
    of_session,
)
from engine.live.credentials import Secret
from engine.model.errors import InternalError, UsageError
from engine.model.kinds import AnswerData
from tests.helpers.asking import NOON, PROMPT, WELL, question
from tests.helpers.scripted_api import Act, ScriptedApi, answers, waits_for

KEY = "sk-test-0123456789abcdef"
PARENT = """
import asyncio, sys
from engine.live.asking_client import AskingConfig
from engine.live.asking_process import AskingProcess
from tests.helpers.asking import question

async def main():
    asking = AskingProcess(AskingConfig(base_url=sys.argv[1]), lambda data, wire: None)
    asking.ask(1, question(), 0)
    print(asking.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


class Heard:
    """What was delivered, and a wait for it."""

    def __init__(self) -> None:
        self.answers: list[tuple[AnswerData, bytes | None]] = []
        self._more = asyncio.Event()

    def __call__(self, data: AnswerData, wire: bytes | None) -> None:
        """Keep an answer."""
        self.answers.append((data, wire))
        self._more.set()

    async def until(self, count: int) -> list[AnswerData]:
        """The answers, once there are so many."""
        async with asyncio.timeout(30):
            while len(self.answers) < count:
                self._more.clear()
                await self._more.wait()
        return [data for data, _ in self.answers]


Story = Callable[[AskingProcess, ScriptedApi, Heard], Awaitable[None]]


def play(acts: list[Act], story: Story, **settings: Any) -> Heard:
    """A story of a process in front of a server that does these acts."""

    async def main() -> Heard:
        heard = Heard()
        async with ScriptedApi(acts) as api:
            asking = AskingProcess(AskingConfig(**{"base_url": api.url, **settings}), heard)
            await story(asking, api, heard)
        return heard

    return asyncio.run(main())


def test_questions_go_out_and_answers_come_back_whole() -> None:
    """Data and raw bytes are those that the API sent; the same question twice is one call."""

    async def story(asking: AskingProcess, api: ScriptedApi, heard: Heard) -> None:
        for ticket, headline in enumerate(("A", "B", "A"), 1):
            asking.ask(ticket, question(headline), NOON)
        assert (asking.open, heard.answers) == (3, [])  # never from within the call
        await heard.until(3)
        assert (asking.open, len(api.heard)) == (0, 2)
        await asking.aclose()

    heard = play([answers(WELL)], story)
    found = {data.ticket: (data, wire) for data, wire in heard.answers}
    assert {(data.outcome, data.text) for data, _ in found.values()} == {("answered", '{"score":0.5}')}
    assert found[1][0].key == found[3][0].key == question("A").key
    assert found[2][0].request == question("B").canonical().decode()
    assert {wire for _, wire in found.values()} == {WELL}


def test_a_session_can_wait_for_it() -> None:
    """Ready means that the library is imported there; waiting twice is no wait."""

    async def story(asking: AskingProcess, _api: ScriptedApi, heard: Heard) -> None:
        await asyncio.to_thread(asking.wait_until_ready)
        asking.wait_until_ready()
        asking.ask(1, question(), NOON)
        await heard.until(1)
        await asking.aclose()

    play([answers(WELL)], story)


def test_a_process_that_cannot_begin_is_an_error_at_once() -> None:
    """Killed before it was ready: the wait raises how it ended, and leaves nothing behind."""
    asking = AskingProcess(AskingConfig(base_url="http://127.0.0.1:9"), lambda *_: None)
    os.kill(asking.pid, signal.SIGKILL)
    with pytest.raises(InternalError, match="is gone: it ended with signal 9"):
        asking.wait_until_ready()


def test_its_end_delivers_what_is_open() -> None:
    """A call under way is failed and stays paid for; the process is gone afterwards."""

    async def story(asking: AskingProcess, api: ScriptedApi, heard: Heard) -> None:
        asking.ask(1, question(), NOON)
        await api.arrived(1)
        await asking.aclose()
        (data,) = [data for data, _ in heard.answers]
        assert (data.outcome, data.error) == ("failed", "the session ended before an answer came")
        assert data.cost_nano_usd > 0
        with pytest.raises(ProcessLookupError):
            os.kill(asking.pid, 0)

    play([waits_for(asyncio.Event(), answers(WELL))], story)


def test_who_asks_twice_for_the_end_need_not_wait() -> None:
    """A process that hangs is killed when its session is stopped again; what was open has failed."""

    async def story(asking: AskingProcess, api: ScriptedApi, heard: Heard) -> None:
        asking.ask(1, question(), NOON)
        await api.arrived(1)
        os.kill(asking.pid, signal.SIGSTOP)
        ending = asyncio.ensure_future(asking.aclose())
        await asyncio.sleep(0)
        asking.hurry()
        with pytest.raises(InternalError, match="did not end before one stopped waiting"):
            await ending
        assert [data.outcome for data, _ in heard.answers] == ["failed"]

    play([waits_for(asyncio.Event(), answers(WELL))], story)


def test_a_process_that_dies_leaves_no_question_without_an_answer() -> None:
    """What is open fails at once with how it ended, what is asked later as well, and the end raises it."""

    async def story(asking: AskingProcess, api: ScriptedApi, heard: Heard) -> None:
        asking.ask(1, question("A"), NOON)
        await api.arrived(1)
        os.kill(asking.pid, signal.SIGKILL)
        await heard.until(1)
        asking.ask(2, question("B"), NOON)
        assert len(heard.answers) == 1
        await heard.until(2)
        with pytest.raises(InternalError, match="the process that asks Claude is gone"):
            await asking.aclose()

    heard = play([waits_for(asyncio.Event(), answers(WELL))], story)
    for number, (data, _) in enumerate(heard.answers, 1):
        assert (data.ticket, data.outcome, data.key) == (number, "failed", question("AB"[number - 1]).key)
        assert "it ended with signal 9; what was under way may be billed" in data.error


def test_a_process_that_died_before_the_first_question_is_noticed_but_not_within_the_call() -> None:
    """The question that finds out is answered once, afterwards: who asks is in the middle of a turn."""

    async def story(asking: AskingProcess, _api: ScriptedApi, heard: Heard) -> None:
        await asyncio.to_thread(asking.wait_until_ready)
        os.kill(asking.pid, signal.SIGKILL)
        await asyncio.to_thread(os.waitid, os.P_PID, asking.pid, os.WEXITED | os.WNOWAIT)
        asking.ask(1, question("A"), NOON)
        asking.ask(2, question("B"), NOON)
        assert heard.answers == []
        await heard.until(2)
        with pytest.raises(InternalError, match="the process that asks Claude is gone"):
            await asking.aclose()

    heard = play([answers(WELL)], story)
    assert [(data.ticket, data.outcome) for data, _ in heard.answers] == [(1, "failed"), (2, "failed")]


def test_its_last_words_are_whole_however_slowly_they_are_read() -> None:
    """A session that is busy has a full socket: what does not fit into it is waited for."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        words = [sys.executable, "-m", "engine.live.asking_worker", str(theirs.fileno())]
        with subprocess.Popen(words, pass_fds=(theirs.fileno(),)) as process:
            theirs.close()
            request = question("long " * 10_000).canonical()
            begin = Begin(check_asking(AskingConfig(base_url="http://127.0.0.1:9")), "local")
            ours.sendall(frame(begin) + frame(Ask(1, request, NOON)) + frame(Close()))
            frames = Frames()
            said: list[Any] = []
            while data := ours.recv(512):
                said += map(of_asker, frames.feed(data))
    assert process.returncode == 0
    ready, answered, closed = said
    assert (ready, closed) == (Ready(), Closed())
    assert isinstance(answered, Answered)
    assert answered.data.error == "the session ended before an answer came"
    assert answered.data.request == request.decode()


def test_a_session_that_dies_takes_it_along() -> None:
    """The stream ends with the session, and the process with the stream."""

    async def main() -> None:
        async with ScriptedApi([waits_for(asyncio.Event(), answers(WELL))]) as api:
            root = Path(__file__).parents[2]
            session = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                PARENT,
                api.url,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=root,
            )
            assert session.stdout is not None
            assert int(await session.stdout.readline()) > 0
            await api.arrived(1)
            session.kill()
            await session.wait()
            assert session.stderr is not None
            async with asyncio.timeout(20):
                await session.stderr.read()  # which both of them have: its end is the end of both

    asyncio.run(main())


def test_a_key_is_on_no_command_line() -> None:
    """It is sent to the API, and stands in no argument and no environment of the process."""
    said: list[bytes] = []

    async def story(asking: AskingProcess, api: ScriptedApi, heard: Heard) -> None:
        asking.ask(1, question(), NOON)
        await heard.until(1)
        said.extend(Path(f"/proc/{asking.pid}/{part}").read_bytes() for part in ("cmdline", "environ"))  # noqa: ASYNC240
        assert api.heard[0][0]["authorization"] == f"Bearer {KEY}"
        await asking.aclose()

    play([answers(WELL)], story, api_key=Secret(KEY))
    assert b"asking_worker" in said[0]
    assert KEY.encode() not in said[0] + said[1]


def test_what_cannot_be_asked_is_said_before_a_process_is_started() -> None:
    """No key for a server elsewhere: a UsageError, as without a process."""
    os.environ.pop("ANTHROPIC_API_KEY", None)
    with pytest.raises(UsageError, match="needs a key"):
        AskingProcess(AskingConfig(base_url="https://example.invalid"), lambda *_: None)


def test_a_model_without_a_price_is_not_asked() -> None:
    """The error comes from the call, in the session's own process."""

    async def story(asking: AskingProcess, api: ScriptedApi, heard: Heard) -> None:
        import msgspec

        from engine.answers.requests import request_of

        strange = msgspec.structs.replace(PROMPT, model="claude-poet-9")
        with pytest.raises(UsageError, match='no model "claude-poet-9"'):
            asking.ask(1, request_of(strange, {"headline": "x"}), NOON)
        await asking.aclose()
        assert (api.heard, heard.answers) == ([], [])

    play([answers(WELL)], story)


def test_a_failure_of_whoever_takes_the_answers_is_not_swallowed() -> None:
    """The other answers are delivered all the same, and the end of the session raises what happened."""
    heard: list[int] = []

    def deliver(data: AnswerData, _: bytes | None) -> None:
        heard.append(data.ticket)
        raise ValueError("full")

    async def main() -> None:
        async with ScriptedApi([waits_for(asyncio.Event(), answers(WELL))]) as api:
            asking = AskingProcess(AskingConfig(base_url=api.url), deliver)
            asking.wait_until_ready()
            asking.ask(1, question("A"), NOON)
            asking.ask(2, question("B"), NOON)
            with pytest.raises(InternalError, match="asking Claude failed in the engine itself: full"):
                await asking.aclose()

    asyncio.run(main())
    assert sorted(heard) == [1, 2]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_frames_come_out_whole_however_they_are_cut(size: int) -> None:
    """Any number of bytes at a time."""
    sent = [Ask(1, b"{}", 5), Close()]
    back = [
        Answered(AnswerData("k", "r", "answered"), b"wire"),
        Answered(AnswerData("k", "r", "failed"), None),
    ]
    ways: list[tuple[list[Any], Any]] = [(sent, of_session), (back, of_asker)]
    for messages, read in ways:
        stream = b"".join(frame(each) for each in messages)
        frames = Frames()
        cut = [stream[start : start + size] for start in range(0, len(stream), size)]
        assert [read(body) for piece in cut for body in frames.feed(piece)] == messages


def test_a_stream_out_of_step_is_an_error() -> None:
    """A length that no message has is not waited for."""
    with pytest.raises(InternalError, match="a frame of 4,294,967,295 bytes"):
        list(Frames().feed(b"\xff\xff\xff\xff"))
