"""`engine serve --as messages`: the local Messages API until Ctrl-C."""

from __future__ import annotations

from engine.cli.common import emit
from engine.cli.serving import serve_until_signal

DEFAULT_PORT = 9444


def serve_messages(*, host: str, port: int | None, faults: tuple[str, ...], seed: int, as_json: bool) -> None:
    """Serve until a signal. Raises UsageError for a fault that is none, VenueError where it cannot listen."""
    from engine.serve.messages import LocalMessages

    api = LocalMessages(host=host, port=DEFAULT_PORT if port is None else port, faults=faults, seed=seed)

    def say() -> None:
        export = f"export ANTHROPIC_BASE_URL={api.url}"
        result = {
            "http": api.url,
            "port": api.port,
            "as": "messages",
            "source": "a fixed word list, no model",
            "faults": list(faults),
            "export": export,
        }
        told = f" · faults: {', '.join(faults)}" if faults else ""
        text = f"{api.url}  speaks messages · answers by a fixed word list, no model{told}\n{export}"
        emit(result, as_json=as_json, text=text)

    serve_until_signal(api, say)
