"""Secrets planted in all three places, a server that repeats them, and a search of all that is left."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec
import pytest
from websockets.sync.server import ServerConnection, serve

from engine.log.journal import read_journal
from engine.log.reader import LogReader
from engine.model.kinds import Kind
from tests.helpers import keyrings
from tests.helpers.command import call, local_venue, warm
from tests.helpers.rows import rows_of_batch

OF_ENVIRONMENT = "PLANTED-ENVIRONMENT-KEY-4711"
OF_FILE = "planted/file+secret=0815"
OF_KEYRING = "CG-planted-keyring-1234"
OF_ADDRESS = "planted-address-token-5678"
BUSY = ("--strategy", str(Path(__file__).parents[1] / "helpers" / "strategies" / "busy.py"))
SECRETS = (OF_ENVIRONMENT, OF_FILE, OF_KEYRING, OF_ADDRESS)
GOOD = {
    "/v1beta1/news": '{"news":[{"id":1,"headline":"H"}],"next_page_token":null}',
    "/api/v3/simple/price": '{"bitcoin":{"usd":1}}',
    "/news": "[]",
    "/feed.xml": "<rss/>",
}


class Parrot(BaseHTTPRequestHandler):
    """Good answers first; then what it was sent, in every place that an answer has."""

    asked: ClassVar[Counter[str]] = Counter()
    heard: ClassVar[set[str]] = set()
    spoilt = False  # from the first question on

    def do_GET(self) -> None:
        """Answer the next of several ways."""
        path = self.path.partition("?")[0]
        sent = f"{self.path} " + " ".join(f"{name}: {value}" for name, value in self.headers.items())
        self.heard.update(secret for secret in SECRETS if secret in sent or quote(secret, safe="") in sent)
        turn = self.asked[path]
        self.asked[path] += 1
        ways: list[tuple[int, dict[str, str], str]] = [(200, {}, GOOD[path])]
        if turn or self.spoilt:
            ways = [
                (200, {}, f'[{{"headline":"what {sent.replace("/", chr(92) + "/")} brings"}}]'),
                (200, {}, f'{{"news":[{{"id":2,"headline":"{sent}"}}],"next_page_token":"{OF_FILE}"}}'),
                (200, {}, f"<rss><item><title>{sent.replace('&', '.')}</title></item></rss>"),
                (401, {}, f"the key in {sent} is no good"),
                (200, {}, f"no answer to {sent}"),
                (302, {"Location": f"https://elsewhere.example/?key={quote(sent, safe='')}"}, ""),
                (429, {"Retry-After": OF_FILE, "ETag": f'"{OF_ENVIRONMENT}"'}, sent),
                (500, {"Content-Type": "text/html"}, f"<html>{sent}"),
            ]
        status, headers, body = ways[(turn - 1) % len(ways)]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_words: Any) -> None:
        """Say nothing."""


@pytest.fixture
def parrot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The server's address; a secret in each place, and the file is readable for others."""
    monkeypatch.setenv("APCA_API_KEY_ID", OF_ENVIRONMENT)
    for name in ("APCA_API_SECRET_KEY", "COINGECKO_DEMO_API_KEY", "COINGECKO_PRO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    keyrings.use(keyrings.Keyring(COINGECKO_DEMO_API_KEY=OF_KEYRING), monkeypatch)
    (tmp_path / ".env").write_text(f"APCA_API_SECRET_KEY='{OF_FILE}'\n")
    (tmp_path / ".env").chmod(0o644)
    monkeypatch.setattr(Parrot, "asked", Counter())
    monkeypatch.setattr(Parrot, "heard", set())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Parrot)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def feeds(address: str) -> list[str]:
    """Options for one feed of each kind."""
    texts = (
        f"alpaca-news-rest:*#every=100ms,url={address}",
        f"coingecko:bitcoin/usd#every=100ms,url={address}",
        f"news:{address}/news?token={OF_ADDRESS}#every=100ms",
        f"rss:{address}/feed.xml?apikey={OF_ADDRESS}#every=100ms",
    )
    return [word for text in texts for word in ("--feed", text)]


def shown(text: str) -> list[str]:
    """The secrets that stand in a text, in one form or another."""
    return [
        secret
        for secret in SECRETS
        if any(form in text for form in (secret, quote(secret, safe=""), secret.replace("/", "\\/")))
    ]


def left_behind(folder: Path) -> list[tuple[str, list[str]]]:
    """Files of a folder in which a secret stands, in their bytes or in the rows that they hold."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".env"):
        text = path.read_bytes().decode("latin-1")
        if path.name == "journal.arrow":
            text += repr(read_journal(path).to_pylist())
        elif path.suffix == ".arrow" and path.name != "snapshots.arrow":
            with LogReader(path) as reader:
                rows = [row for batch in reader.batches() for row in rows_of_batch(batch)]
            assert {Kind.NEWS, Kind.MARK, Kind.MALFORMED, Kind.STATUS} <= {row.kind for row in rows}
            text += "".join(f"{row.data} {(row.wire or b'').decode('latin-1')}" for row in rows)
        found.append((path.name, shown(text)))
    return found


def test_a_recording_keeps_no_secret(parrot: str, tmp_path: Path) -> None:
    """Not in a row, nor in its wire, nor in the words of its troubles, nor on the terminal; all were sent."""
    options = ("--for", "4s", "--no-seal")
    done = call("record", *feeds(parrot), *options, cwd=tmp_path)
    assert done.code == 0, done
    assert Parrot.heard == set(SECRETS)
    assert all(count > 2 for count in Parrot.asked.values()), Parrot.asked
    assert shown(done.out + done.err) == []
    assert "warning: .env can be read by others" in done.err
    files = left_behind(tmp_path)
    assert files
    assert [file for file in files if file[1]] == []


def test_a_session_keeps_no_secret(parrot: str, tmp_path: Path) -> None:
    """Nor do its log, its journal, run.json and all else that a run leaves, after headlines were heard."""
    warm()
    with local_venue(tmp_path) as venue:
        live = ("live", "--paper", "--symbols", "BTCUSDT", "--url", venue, *BUSY, *feeds(parrot))
        done = call(*live, "--for", "4s", "--json", cwd=tmp_path)
    assert done.code == 0, done
    assert Parrot.heard == set(SECRETS)
    assert shown(done.out + done.err) == []
    files = dict(left_behind(tmp_path / "runs"))
    assert {"log.arrow", "journal.arrow", "run.json", "summary.json"} <= set(files)
    assert not any(files.values()), files


def test_a_command_that_fails_repeats_no_secret(
    parrot: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the first answer says, in words, in a redirect or in a header; with --debug too."""
    monkeypatch.setattr(Parrot, "spoilt", True)
    options = feeds(parrot)
    for turn in range(8):
        for at in range(0, len(options), 2):
            Parrot.asked.clear()
            Parrot.asked.update(dict.fromkeys(GOOD, turn))
            done = call("record", *options[at : at + 2], "--for", "10ms", "--no-seal", cwd=tmp_path)
            assert shown(done.out + done.err) == [], (turn, options[at])
    assert Parrot.heard == set(SECRETS)
    assert not [file for file in tmp_path.rglob("*") if file.suffix != ".arrow" and shown(file.name)]


def test_doctor_says_where_each_is_and_never_what(parrot: str, tmp_path: Path) -> None:
    """Environment, file and keyring, as text and as JSON."""
    assert parrot
    text, report = call("doctor", cwd=tmp_path), call("doctor", "--json", cwd=tmp_path)
    assert shown(text.out + text.err + report.out + report.err) == []
    names = ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY", "COINGECKO_DEMO_API_KEY")
    assert [report.json["credentials"][name] for name in names] == ["environment", ".env", "keyring"]


class TestTheStream:
    """Alpaca's stream, which is sent both keys in a message, and a server that says them back."""

    @staticmethod
    @contextmanager
    def echo(*, lets_in: bool) -> Iterator[str]:
        """A server that answers with what it heard, in words of the protocol and others."""
        packed = msgspec.msgpack.encode

        def handle(connection: ServerConnection) -> None:
            connection.send(packed([{"T": "success", "msg": "connected"}]))
            for message in connection:
                body = message.encode() if isinstance(message, str) else message
                Parrot.heard.update(secret for secret in SECRETS if secret.encode() in body)
                said = str(msgspec.msgpack.decode(body))
                if "'auth'" in said and lets_in:
                    connection.send(packed([{"T": "success", "msg": "authenticated"}]))
                    connection.send(packed([{"T": "what", "msg": said}]))
                    connection.send(b"\xc1" + said.encode())
                else:
                    connection.send(packed([{"T": "error", "code": 400, "msg": said}]))
                    connection.close(1008, f"{OF_ENVIRONMENT} {OF_FILE}")
                    return

        with serve(handle, "127.0.0.1", 0) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
            server.shutdown()
            thread.join()

    @pytest.mark.parametrize("lets_in", [True, False])
    def test_keys_that_come_back(self, parrot: str, tmp_path: Path, *, lets_in: bool) -> None:
        """In frames that are kept, in frames that are none, in refusals, in the reason of a close: stars."""
        assert parrot
        with self.echo(lets_in=lets_in) as address:
            feed = ("--feed", "alpaca-news:*", "--url", f"alpaca-news={address}")
            done = call("record", *feed, "--for", "2s", "--no-seal", cwd=tmp_path)
        assert done.code in {0, 4}, done
        assert {OF_ENVIRONMENT, OF_FILE} <= Parrot.heard
        assert shown(done.out + done.err) == []
        for path in tmp_path.glob("recordings/*.arrow"):
            with LogReader(path) as reader:
                rows = [row for batch in reader.batches() for row in rows_of_batch(batch)]
            everything = "".join(f"{row.data} {(row.wire or b'').decode('latin-1')}" for row in rows)
            assert "***" in everything
            assert shown(everything + path.read_bytes().decode("latin-1")) == []
