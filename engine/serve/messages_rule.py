"""The fixed rule behind the local Messages API: a word list reads a text. No model, no chance, no learning.

Which part of a message is read: what stands between tags (`<headline>…</headline>`; those named like a label
before others), else what follows a label at the start of a line (`Headline: …`, `News about BTC: …`, up to
the next empty line or label), else all of it. So a prompt's own instructions, which speak of fraud and of
earnings as a matter of course, are not taken for news.

How: entries of `data/lexicon.toml` are found from left to right, the longest first. Each has tenths of
sentiment, turned round where a negator stands among the two words before; their sum is kept within ±10 and
divided by ten. The topic is the one with the most words. A risk word that is not negated sets the flag.
Integers until the last division, hence the same answer everywhere.

It is right about nothing but its words: a stand-in for a model where none may be called, not a poor one.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import msgspec

import engine
from engine.model.errors import InputError

BY_RULE = "Fixed word list, no model"
OTHER = "other"
_MOST_WORDS = 3  # of an entry
_MOST_SHOWN = 6  # in a rationale
_LIMIT = 10
_WORD = re.compile(r"[a-z0-9]+(?:[&'.\-][a-z0-9]+)*")
_TAGGED = re.compile(r"<([A-Za-z][\w-]*)>(.*?)</\1>", re.DOTALL)
_LABELS = "headlines?|news|article|story|body|text|summary|transcript"
_LABEL = re.compile(_LABELS, re.IGNORECASE)
_LABELLED = re.compile(
    rf"^(?:{_LABELS})(?:[ \t]*\([^)\n]*\)|[ \t](?:about|for|of|on)[ \t][\w./&-]+)?:[ \t]*"
    r"(.*?)(?=\n[ \t]*\n|\n(?-i:[A-Z])[\w ]{0,30}:|\Z)",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)


class Reading(msgspec.Struct, frozen=True):
    """What the rule makes of a text; `sentiment` is -1.0 to 1.0."""

    sentiment: float
    topic: str
    risk: bool
    rationale: str


class Lexicon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The word list as its file has it: tenths of sentiment, words by topic, risks, negators."""

    version: int
    sentiment: dict[str, int]
    topics: dict[str, list[str]]
    risks: list[str]
    negators: list[str]


class _Entry(msgspec.Struct):
    name: str
    tenths: int = 0
    topics: tuple[str, ...] = ()
    risk: bool = False


def lexicon_file() -> Path:
    """Where the list stands: inside an installed wheel, or at the top of a checkout."""
    package = Path(engine.__file__).parent
    shipped = package / "shipped" / "data" / "lexicon.toml"
    return shipped if shipped.is_file() else package.parent / "data" / "lexicon.toml"


def read_lexicon(path: Path) -> Lexicon:
    """The list of a file. Raises InputError, naming the file, where it is none."""
    try:
        lexicon = msgspec.toml.decode(path.read_bytes(), type=Lexicon)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}", hint="its form is told in its first lines") from None
    listed = [
        *lexicon.sentiment,
        *lexicon.risks,
        *(word for words in lexicon.topics.values() for word in words),
    ]
    for name in listed:
        if not 1 <= len(name.split()) <= _MOST_WORDS or name != name.lower():
            raise InputError(f'{path}: "{name}" is no entry', hint="one to three words in lower case")
    return lexicon


class WordRule:
    """A word list made ready: `read` a text."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._topics = (*lexicon.topics, OTHER)
        self._negators = frozenset(lexicon.negators)
        entries: dict[str, _Entry] = {}
        for name, tenths in lexicon.sentiment.items():
            entries.setdefault(name, _Entry(name)).tenths = tenths
        for topic, names in lexicon.topics.items():
            for name in names:
                entries.setdefault(name, _Entry(name)).topics += (topic,)
        for name in lexicon.risks:
            entries.setdefault(name, _Entry(name)).risk = True
        # What is written out wins over what is a form of something else.
        self._forms = {form: entry for name, entry in entries.items() for form in _forms(name)} | entries

    def read(self, text: str) -> Reading:
        """What the rule makes of a text, all of which is read."""
        words = _WORD.findall(text.lower().replace("\u2019", "'"))
        total = at = 0
        shown: list[str] = []
        risks: list[str] = []
        counts = dict.fromkeys(self._topics, 0)
        while at < len(words):
            length, entry = self._find(words, at)
            if entry is None:
                at += 1
                continue
            negated = any(word in self._negators for word in words[max(0, at - 2) : at])
            tenths = -entry.tenths if negated else entry.tenths
            found = ("not " if negated else "") + " ".join(words[at : at + length])
            total += tenths
            for topic in entry.topics:
                counts[topic] += 1
            if tenths:
                shown.append(f"{found} {tenths / 10:+.1f}")
            if entry.risk and not negated:
                risks.append(found)
            at += length
        topic = max(self._topics, key=lambda name: (counts[name], -self._topics.index(name)))
        topic = topic if counts[topic] else OTHER
        return Reading(
            max(-_LIMIT, min(_LIMIT, total)) / 10, topic, bool(risks), _rationale(shown, topic, risks)
        )

    def _find(self, words: list[str], at: int) -> tuple[int, _Entry | None]:
        for length in range(min(_MOST_WORDS, len(words) - at), 0, -1):
            entry = self._forms.get(" ".join(words[at : at + length]))
            if entry is not None:
                return length, entry
        return 1, None


def _rationale(shown: list[str], topic: str, risks: list[str]) -> str:
    words = ", ".join(shown[:_MOST_SHOWN]) or "none of its words has a sentiment here"
    more = f" and {len(shown) - _MOST_SHOWN} more" if len(shown) > _MOST_SHOWN else ""
    risk = f"; risk: {', '.join(dict.fromkeys(risks))}" if risks else ""
    return f"{BY_RULE}: {words}{more}; topic: {topic}{risk}."


def _forms(name: str) -> list[str]:
    """An entry with the regular endings of its first word."""
    first, space, rest = name.partition(" ")
    forms = [first, first + "s", first + "es", first + "ed", first + "ing"]
    if first.endswith("e"):
        forms += [first + "d", first[:-1] + "ing"]
    if first.endswith("y"):
        forms += [first[:-1] + "ies", first[:-1] + "ied"]
    return [form + space + rest for form in forms]


@cache
def shipped_rule() -> WordRule:
    """The rule of `data/lexicon.toml`. Raises InputError."""
    return WordRule(read_lexicon(lexicon_file()))


def subject_of(text: str) -> str:
    """The part of a message that is news: between tags, after a label, or all of it."""
    tagged = [(match.group(1), match.group(2)) for match in _TAGGED.finditer(text)]
    parts = [part for name, part in tagged if _LABEL.fullmatch(name)] or [part for _, part in tagged]
    parts = parts or [match.group(1) for match in _LABELLED.finditer(text)]
    return "\n".join(parts) if parts else text
