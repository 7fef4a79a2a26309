"""`engine answers list | show`: what was asked of Claude, and what came back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from engine.cli.common import emit, json_option, note, printable, relative
from engine.model.errors import InputError, UsageError

if TYPE_CHECKING:
    from engine.answers.store import AnswerStore
    from engine.answers.stored import StoredAnswer
    from engine.model.kinds import AnswerData

SHOWN = 12  # digits of a key
SHOWN_ROWS = 50
_SHOWN_TEXT = 60
_DIGITS = frozenset("0123456789abcdef")
_NANO = 1_000_000_000

folder_option = click.option(
    "--answers-folder",
    "folder",
    default="data/answers",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where the answer store lies.",
)


# ---------------------------------------------------------------------------------------------- list


class Count(msgspec.Struct):
    """The answers of one version of a prompt by one model."""

    prompt: str
    version: int
    model: str
    answers: int = 0
    outcomes: dict[str, int] = {}
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0
    first: str = ""
    last: str = ""


class Line(msgspec.Struct, frozen=True):
    """One answer of `list --each`."""

    key: str
    recorded: str
    prompt: str
    version: int
    sample: int
    outcome: str
    text: str


class Listing(msgspec.Struct):
    """What `list` says of a store. An answer that stands in it twice counts once."""

    folder: str
    files: int
    answers: int
    questions: int
    cost_nano_usd: int
    first: str
    last: str
    prompts: list[Count]
    each: list[Line]


@click.command("list")
@folder_option
@click.option("--prompt", default="", metavar="NAME", help="Of this prompt only.")
@click.option("--each", is_flag=True, help="Also one line an answer, in the order of their recording.")
@click.option(
    "--limit",
    default=SHOWN_ROWS,
    show_default=True,
    type=click.IntRange(min=0),
    help="Lines of --each, 0: all.",
)
@json_option
def list_(folder: Path, prompt: str, limit: int, *, each: bool, as_json: bool) -> None:
    """How many answers there are, of which prompts and models, what they cost, and their span."""
    listing = _listing(store_in(folder), prompt, each=each)
    emit(listing, as_json=as_json, text=lambda: _list_text(listing, limit))


def _listing(store: AnswerStore, prompt: str, *, each: bool) -> Listing:
    from engine.model.units import format_time

    counts: dict[tuple[str, int, str], Count] = {}
    lines: list[Line] = []
    answers_found = questions = 0
    for versions in store.each():
        request = versions[0].request
        if prompt and request.prompt != prompt:
            continue
        questions += 1
        group = (request.prompt, request.version, request.model)
        count = counts.setdefault(group, Count(*group, outcomes={}))
        for answer in versions:
            data, recorded = answer.data, format_time(answer.recorded)
            answers_found += 1
            count.answers += 1
            count.outcomes[data.outcome] = count.outcomes.get(data.outcome, 0) + 1
            count.input_tokens += data.input_tokens
            count.output_tokens += data.output_tokens
            count.cost_nano_usd += data.cost_nano_usd
            count.first = min(count.first or recorded, recorded)
            count.last = max(count.last, recorded)
            if each:
                said = data.text or data.error
                lines.append(Line(data.key, recorded, *group[:2], request.sample, data.outcome, said))
    if prompt and not counts:
        raise UsageError(
            f"{relative(store.folder)}: has no answer to a prompt {prompt}", hint="engine answers list"
        )
    prompts = [counts[group] for group in sorted(counts)]
    return Listing(
        relative(store.folder),
        len(store.files),
        answers_found,
        questions,
        sum(count.cost_nano_usd for count in prompts),
        min((count.first for count in prompts), default=""),
        max((count.last for count in prompts), default=""),
        prompts,
        sorted(lines, key=lambda line: (line.recorded, line.key)),
    )


def _list_text(listing: Listing, limit: int) -> str:
    if not listing.answers:
        return f"{listing.folder}: no answers\nfill it with: engine answers import LOG"
    doubles = listing.answers - listing.questions
    lines = [
        f"{listing.folder}: {many(listing.answers, 'answer')} in {many(listing.files, 'file')}, "
        f"{usd(listing.cost_nano_usd)}" + (f", {many(doubles, 'double')}" if doubles else ""),
        f"  {listing.first} to {listing.last}",
        "",
    ]
    rows: list[tuple[str, ...]] = [
        ("prompt", "version", "model", "answers", "tokens in", "out", "cost", "outcomes")
    ]
    rows += [
        (
            count.prompt,
            str(count.version),
            count.model,
            f"{count.answers:,}",
            f"{count.input_tokens:,}",
            f"{count.output_tokens:,}",
            usd(count.cost_nano_usd),
            ", ".join(f"{name} {number:,}" for name, number in sorted(count.outcomes.items())),
        )
        for count in listing.prompts
    ]
    lines += _aligned(rows, right={1, 3, 4, 5, 6})
    if listing.each:
        shown = listing.each[: limit or None]
        rows = [("key", "recorded", "prompt", "sample", "outcome", "text")]
        rows += [
            (
                line.key[:SHOWN],
                line.recorded,
                f"{line.prompt} {line.version}",
                str(line.sample),
                line.outcome,
                _short(line.text),
            )
            for line in shown
        ]
        lines += ["", *_aligned(rows, right={3})]
        if len(shown) < len(listing.each):
            lines.append(f"({len(listing.each) - len(shown):,} more: --limit 0 shows all)")
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------- show


@click.command()
@click.argument("key", metavar="KEY")
@folder_option
@json_option
def show(key: str, folder: Path, *, as_json: bool) -> None:
    """One answer: the request, the text, attempts, tokens, cost. KEY may be cut short while it is unique."""
    store = store_in(folder)
    versions = store.versions(_key_of(store, key))
    emit(
        {"key": versions[0].key, "answers": [_whole(answer) for answer in versions]},
        as_json=as_json,
        text=lambda: "\n\n".join(
            _show_text(answer, number, len(versions)) for number, answer in enumerate(versions)
        ),
    )


def _key_of(store: AnswerStore, text: str) -> str:
    wanted = text.lower()
    if not wanted or len(wanted) > 64 or not set(wanted) <= _DIGITS:
        raise UsageError(
            f'KEY "{text}": is not made of at most 64 hexadecimal digits',
            hint="keys are listed by: engine answers list --each",
        )
    found = store.keys_with(wanted, 3)
    if not found:
        raise InputError(
            f"{relative(store.folder)}: no answer has a key that begins with {wanted}",
            hint="keys are listed by: engine answers list --each",
        )
    if len(found) > 1:
        some = ", ".join(key[: max(SHOWN, len(wanted) + 4)] for key in found)
        raise UsageError(f'KEY "{text}": begins several keys: {some}', hint="give more of its digits")
    return found[0]


def _whole(answer: StoredAnswer) -> dict[str, Any]:
    from engine.answers.stored import from_batch
    from engine.model.units import format_time

    data: dict[str, Any] = msgspec.to_builtins(answer.data)
    data["request"] = msgspec.to_builtins(answer.request)
    data["bought_in_batch"] = from_batch(answer.data)
    return {"recorded": format_time(answer.recorded), **data, "wire": answer.wire.decode(errors="replace")}


def _show_text(answer: StoredAnswer, number: int, many: int) -> str:
    from engine.answers.stored import from_batch
    from engine.model.units import format_time

    data, request = answer.data, answer.request
    lines = []
    waited = f"{data.latency_ns / 1e6:,.3f} ms after the question"
    if from_batch(data):
        waited = f"bought in a batch, latency assumed: {data.latency_ns / 1e6:,.3f} ms"
    if many > 1:
        lines.append(f"answer {number + 1} of {many}" + (", the one that is served" if not number else ""))
    lines += [
        f"key       {data.key}",
        f"prompt    {request.prompt}, version {request.version}, sample {request.sample}",
        f"model     {request.model}"
        + (f" (answered by {data.model})" if data.model not in {"", request.model} else ""),
        f"recorded  {format_time(answer.recorded)}, {waited}",
        f"outcome   {data.outcome}" + (f": {data.error}" if data.error else ""),
        f"request   {data.request_id or 'without an id'}",
        f"tokens    {_tokens(data)}",
        f"cost      {usd(data.cost_nano_usd)}",
    ]
    for i, attempt in enumerate(data.attempts, 1):
        said = attempt.error or ("" if attempt.status else "no answer")
        lines.append(
            f"attempt {i}: began {attempt.began_ns / 1e6:,.3f} ms, took {attempt.took_ns / 1e6:,.3f} ms, "
            + (f"status {attempt.status}" if attempt.status else "no status")
            + (f", {said}" if said else "")
            + (f", {attempt.request_id}" if attempt.request_id else "")
        )
    lines = [printable(line) for line in lines]
    lines += [
        "",
        "asked:",
        _indented(_asked(request.body)),
        "",
        "answered:",
        _indented(data.text or "(nothing)"),
    ]
    return "\n".join(lines)


def _tokens(data: AnswerData) -> str:
    cached = f"{data.cache_creation_tokens:,} written to a cache, {data.cache_read_tokens:,} read from one"
    return f"{data.input_tokens:,} in ({cached}), {data.output_tokens:,} out"


def _asked(body: dict[str, Any]) -> str:
    """A request's system text and messages; the body as it is where it is of another shape."""
    messages = body.get("messages")
    texts = [f"[system] {body['system']}"] if body.get("system") else []
    for message in messages if isinstance(messages, list) else []:
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            return msgspec.json.format(msgspec.json.encode(body)).decode()
        texts.append(f"[{message.get('role', '')}] {message['content']}")
    return "\n".join(texts) or msgspec.json.format(msgspec.json.encode(body)).decode()


# --------------------------------------------------------------------------------------------- shown


def usd(nano: int) -> str:
    """Nano-dollars as dollars, exactly, with at least two decimals."""
    whole, rest = divmod(nano, _NANO)
    fraction = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"${whole:,}.{fraction}"


def store_in(folder: Path) -> AnswerStore:
    """The store of a folder, with what runs had bought for it when they were killed.

    Reading it imports Arrow, so only commands that need it do.
    """
    from engine.answers.purchases import recover
    from engine.answers.store import AnswerStore

    if found := recover(folder):
        note(f"{relative(folder)}: took in {many(found, 'answer')} that a killed run had bought")
    return AnswerStore(folder)


def many(count: int, noun: str) -> str:
    """A number and its noun: 1 answer, 2 answers."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _short(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= _SHOWN_TEXT else line[: _SHOWN_TEXT - 1] + "…"


def _indented(text: str) -> str:
    return "\n".join(f"  {printable(line)}".rstrip() for line in text.splitlines())


def _aligned(rows: list[tuple[str, ...]], right: set[int]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            text.rjust(width) if i in right else text.ljust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
