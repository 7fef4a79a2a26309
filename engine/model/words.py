"""Words: texts as integers, so that kernels and compiled strategies can hold and compare them.

A Word is a hash of its text, the same in every process, hence fit for code that is kept in a cache. Who makes
one notes its text, so that it can be given back to people.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b

from engine.model.errors import InternalError

UNKNOWN = -1  # a text that has no Word, such as a refusal's own words

_texts: dict[int, str] = {}


@cache
def word_of(text: str) -> int:
    """The Word of a text, from 1 on."""
    word = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") >> 1 | 1
    if _texts.setdefault(word, text) != text:
        raise InternalError(f'the texts "{text}" and "{_texts[word]}" have the same hash')
    return word


def text_of(word: int) -> str:
    """The text of a Word that was made in this process."""
    return _texts[word]
