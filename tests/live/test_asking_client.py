"""How Claude is reached: settings, the key, the library, the way there."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.live import asking_client
from engine.live.asking_client import (
    AskingConfig,
    Called,
    Caller,
    check_asking,
    check_package,
    key_for,
    open_client,
)
from engine.live.credentials import Secret
from engine.model.errors import UsageError
from tests.helpers import keyrings
from tests.helpers.scripted_api import ScriptedApi, answers, message, text

KEY = "sk-ant-test-0123456789abcdef"
BODY = {"model": "claude-haiku-5-5", "max_tokens": 8, "messages": [{"role": "user", "content": "x"}]}
LOCAL = "http://127.0.0.1:9"

WRONG = [
    ({"base_url": "api.anthropic.com"}, 'the address of Claude, "api.anthropic.com", is none'),
    ({"base_url": "ftp://x"}, "is none"),
    ({"base_url": "http://api.anthropic.com"}, "a key must not travel without encryption"),
    ({"base_url": "https://me:pass@host"}, "a user or a password"),
    ({"concurrency": 0}, "asking: concurrency 0"),
    ({"attempts": 21}, "asking: attempts 21"),
    ({"limit_s": 0.0}, r"asking: limit_s 0\.0"),
    ({"read_s": float("nan")}, "asking: read_s nan"),
    ({"per_day_nano_usd": -1}, "asking: per_day_nano_usd -1"),
]


@pytest.mark.parametrize(("settings", "said"), WRONG, ids=lambda v: str(v)[:40])
def test_settings_that_cannot_be_carried_out_are_refused(settings: dict[str, Any], said: str) -> None:
    """Each names the setting and its value; a password in an address is not repeated."""
    with pytest.raises(UsageError, match=said) as caught:
        check_asking(AskingConfig(**settings), {})
    assert "pass@" not in str(caught.value)


def test_the_address_comes_from_the_environment() -> None:
    """Of the configuration first, then of the environment, then Anthropic's own."""
    environment = {"ANTHROPIC_BASE_URL": "https://gateway.example"}
    assert check_asking(AskingConfig(base_url=LOCAL), environment).base_url == LOCAL
    assert check_asking(AskingConfig(), environment).base_url == "https://gateway.example"
    assert check_asking(AskingConfig(), {}).base_url == "https://api.anthropic.com"


def test_the_key_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the configuration first, then of the environment or a .env; else an error that says what to set."""
    monkeypatch.chdir(tmp_path)
    keyrings.use_none(monkeypatch)
    environment = {"ANTHROPIC_API_KEY": f" {KEY}\n"}
    assert key_for(check_asking(AskingConfig(), {}), environment).reveal() == KEY
    assert key_for(AskingConfig(api_key=Secret("other")), environment).reveal() == "other"
    with pytest.raises(UsageError, match="ANTHROPIC_API_KEY is not set") as caught:
        key_for(check_asking(AskingConfig(), {}), {})
    assert "export ANTHROPIC_API_KEY" in caught.value.hint
    (tmp_path / ".env").write_text(f"ANTHROPIC_API_KEY={KEY}")
    (tmp_path / ".env").chmod(0o600)
    assert key_for(check_asking(AskingConfig(), {}), {}).reveal() == KEY


def test_a_local_server_never_sees_the_real_key() -> None:
    """On loopback any key will do, so the one that costs money stays at home."""
    assert key_for(AskingConfig(base_url=LOCAL), {"ANTHROPIC_API_KEY": KEY}).reveal() == "local"


@pytest.mark.parametrize("key", ["with space", "schlüssel", "two\nlines"])
def test_a_key_with_impossible_characters_is_not_repeated(key: str) -> None:
    """It would break the header; the error does not show it."""
    with pytest.raises(UsageError, match="characters that no key has") as caught:
        key_for(check_asking(AskingConfig(), {}), {"ANTHROPIC_API_KEY": key})
    assert key not in str(caught.value)


def test_a_secret_is_not_written_down() -> None:
    """Neither repr, nor f-strings, nor JSON, nor pickle give it away."""
    config = AskingConfig(api_key=Secret(KEY))
    assert KEY not in f"{config} {config!r} {config.api_key}"
    with pytest.raises(TypeError):
        msgspec.json.encode(config)
    with pytest.raises(TypeError):
        pickle.dumps(config)


def test_without_the_package_the_hint_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setattr(asking_client, "find_spec", lambda _: None)
    with pytest.raises(UsageError) as caught:
        check_package()
    assert caught.value.hint == 'pip install "engine[claude]"'


def test_the_library_is_imported_by_nobody_who_does_not_ask() -> None:
    """Importing the edge imports neither anthropic nor httpx2."""
    program = "import sys, engine.live.asking; print({'anthropic', 'httpx2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_one_call_is_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """No retry of the library's own, no proxy for this machine, no redirect followed."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, LOCAL)
    acts = [
        answers(b"", 500),
        answers(b"", 307, location="/v1/messages"),
        answers(message(text("hello")), 200, x_note="N"),
    ]

    async def main() -> None:
        async with ScriptedApi(acts) as api:
            caller = Caller(AskingConfig(base_url=api.url))
            called = [await caller.call(BODY) for _ in acts]
            await caller.close()
            assert [c.failure.status if c.failure else 200 for c in called] == [500, 307, 200]
            assert called[0].failure is not None
            assert called[0].failure.error == "HTTP 500: (nothing)"
            assert (called[0].body, called[2].body) == (None, message(text("hello")))
            assert (called[2].request_id, called[2].headers["x-note"]) == ("req_1", "N")
            assert [body for _, body in api.heard] == [BODY, BODY, BODY]

    asyncio.run(main())


def test_the_environment_decides_about_proxies_elsewhere() -> None:
    """An address beyond this machine is reached as the environment says, this machine's never is."""

    async def main() -> None:
        trusts = []
        for base_url in (LOCAL, "https://api.anthropic.com"):
            client = open_client(AskingConfig(base_url=base_url), Secret(KEY))
            trusts.append(client._client.trust_env)
            assert client.max_retries == 0
            await client.close()
        assert trusts == [False, True]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (f"key {KEY}!", "key ***!"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("b'Bearer tok-1'", "b'Bearer ***'"),
        ("sk-proj-abcdefghij", "***"),
        ("a risk-off day, local news", "a risk-off day, local news"),
    ],
)
def test_scrubbing(monkeypatch: pytest.MonkeyPatch, words: str, shown: str) -> None:
    """The key itself and whatever looks like one are hidden, ordinary words are not."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    caller = Caller(AskingConfig(base_url="https://api.anthropic.com"))
    caller.check()
    assert caller.scrub(words) == shown


@pytest.mark.parametrize("status", [200, 400])
def test_a_request_id_that_repeats_the_key_is_scrubbed(status: int) -> None:
    """It is written down with every attempt, and a server may say in it what it likes."""

    async def main() -> Called:
        async with ScriptedApi([answers(b"{}", status, request_id=KEY)]) as api:
            caller = Caller(AskingConfig(base_url=api.url, api_key=Secret(KEY)))
            called = await caller.call(BODY)
            await caller.close()
            return called

    assert asyncio.run(main()).request_id == "***"


def test_a_local_server_never_sees_headers_that_others_have_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment has for a company's own proxy goes to no server of this machine."""
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "x-corp-secret: CORPSECRET123")
    config = check_asking(AskingConfig(base_url="http://127.0.0.1:9"))
    client = open_client(config, key_for(config))
    assert "CORPSECRET123" not in str(client.default_headers)
    asyncio.run(client.close())
