"""One kept answer: what was asked, what came back, and when it was recorded.

Two answers are the same when key and content are: whatever the API said, with the raw bytes. How long it
took, how many attempts that needed and which run's ticket it was do not belong to the content, because one
call can serve several questions of a run. Of the same answer recorded twice the earlier record counts; of
different answers to one question the earlier one is served, so that a rerun keeps getting what it got.
Order is complete (`rank`), so that nothing depends on the order in which stores were put together.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from engine.answers.requests import Request, request_from
from engine.model.errors import InputError
from engine.model.kinds import AnswerData, encode_canonical

# An answer that ended with the question asked: asking again would be another sample. What never came
# (failed, expired, budget, broken) is no answer, and the next run may ask.
KEPT_OUTCOMES = ("answered", "refused", "truncated", "malformed")

BATCH = "msgbatch_"  # begins the API's names of batches

_decode = msgspec.json.Decoder(AnswerData).decode


class StoredAnswer(msgspec.Struct, frozen=True):
    """An answer as the store has it. `data` has no ticket; `recorded` is its row's time, in ns."""

    data: AnswerData
    wire: bytes
    recorded: int

    @property
    def key(self) -> str:
        """64 hexadecimal digits."""
        return self.data.key

    @property
    def request(self) -> Request:
        """What was asked."""
        return request_from(self.data.request)

    @property
    def rank(self) -> tuple[int, bytes, bytes]:
        """Of several answers with one key the smallest is served: the earliest, then by their bytes."""
        return (self.recorded, data_text(self.data), self.wire)

    @property
    def content(self) -> tuple[bytes, bytes]:
        """What makes two records the same answer."""
        return encode_canonical(msgspec.structs.replace(self.data, ticket=0, latency_ns=0, attempts=())), (
            self.wire
        )


def stored(data: AnswerData, wire: bytes | None, recorded: int, *, where: str = "") -> StoredAnswer:
    """An answer for the store, the run's ticket taken off.

    Raises InputError, which begins with `where`, for an outcome that is no answer and for a key that is not
    its request's.
    """
    if data.outcome not in KEPT_OUTCOMES:
        raise InputError(
            f'{where}answer {data.key[:12]}: outcome "{data.outcome}" is not kept',
            hint=f"kept are {', '.join(KEPT_OUTCOMES)}",
        )
    wrong = wrong_with(data)
    if wrong:
        raise InputError(
            f"{where}answer {data.key[:12]}: {wrong}",
            hint="it was altered after it was recorded: take it from the log it came from",
        )
    return StoredAnswer(msgspec.structs.replace(data, ticket=0), wire or b"", recorded)


def from_batch(data: AnswerData) -> bool:
    """Whether an answer was bought in a batch: its request id is the batch's, and its latency is assumed."""
    return data.request_id.startswith(BATCH)


def wrong_with(data: AnswerData) -> str:
    """Why an answer does not belong to its key, in words; "" when it does."""
    text = data.request.encode()
    digest = sha256(text).hexdigest()
    if digest != data.key:
        return f"its key is {data.key}, but its request hashes to {digest}"
    try:
        request = request_from(text)
    except msgspec.DecodeError as error:
        return f"its request cannot be read: {error}"
    if not isinstance(request.body.get("model"), str):
        return 'its request has no body["model"]'
    if request.canonical() != text:
        return "its request is not in canonical form"
    return ""


def data_text(data: AnswerData) -> bytes:
    """What the column `data` holds."""
    return encode_canonical(data)


def data_from(text: bytes | memoryview) -> AnswerData:
    """What `data_text` wrote. Raises msgspec.DecodeError."""
    return _decode(text)


def versions_of(answers: list[StoredAnswer]) -> list[StoredAnswer]:
    """The different ones among answers with one key, the one that is served first."""
    if len(answers) < 2:
        return answers
    different: dict[tuple[bytes, bytes], StoredAnswer] = {}
    for answer in sorted(answers, key=lambda answer: answer.rank):
        different.setdefault(answer.content, answer)
    return list(different.values())
