"""Words and sentence patterns with known concepts: the data from which texts are made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

SENTIMENTS = ("negative", "positive")
TENSES = ("past", "present")
NUMBERS = ("singular", "plural")

BEARS: Mapping[str, frozenset[str]] = {
    "subject": frozenset({"topic"}),
    "verb": frozenset({"topic", "tense"}),
    "object": frozenset({"topic"}),
    "copula": frozenset({"tense"}),
    "time": frozenset({"tense"}),
    "adjective": frozenset({"sentiment"}),
    "opposite": frozenset({"sentiment"}),
    "adverb": frozenset({"sentiment"}),
}
"""The slots of a pattern, and the concepts that a word in each of them shows."""

COPULAS = {
    ("present", "singular"): "is",
    ("present", "plural"): "are",
    ("past", "singular"): "was",
    ("past", "plural"): "were",
}

Words: TypeAlias = tuple[str, ...]
Kinds: TypeAlias = Mapping[str, Words]


@dataclass(frozen=True)
class Noun:
    """A noun in both numbers."""

    singular: str
    plural: str


@dataclass(frozen=True)
class Verb:
    """A verb: *they* base, *it* third, *it* past."""

    base: str
    third: str
    past: str


@dataclass(frozen=True)
class Topic:
    """The words of a topic; every subject goes with every verb, and every verb with every object.

    Attributes:
        subjects: Nouns that agree with the verb.
        verbs: Their verbs.
        objects: Nouns or phrases behind the article, in one number each.
    """

    subjects: tuple[Noun, ...]
    verbs: tuple[Verb, ...]
    objects: Words


@dataclass(frozen=True)
class Lexicon:
    """What a grammar makes sentences of. Entries are words, or phrases with single spaces.

    A pattern is words and slots with single spaces, without the full stop: "the {subject} {verb}
    the {object} {adverb}". Slots: "subject", "verb" and "object" are of the topic; "verb" and
    "copula" (is, are, was, were) agree with the sentence's tense and number; "time" is of the
    tense; "adjective" and "adverb" are of the sentiment, and "opposite" is an adjective of the
    other sentiment, to go with a negation: "the {subject} {copula} not {opposite}".

    Every pattern shows all concepts, and no entry of a slot belongs to two values of a concept, so
    that the words of a sentence tell its concepts.

    Attributes:
        topics: By name, two at least.
        adjectives: By sentiment.
        adverbs: By sentiment.
        times: By tense, such as "yesterday".
        patterns: Of the sentences.

    Raises:
        TypeError: If one string stands where several words must, or a topic is none.
        ValueError: If there are fewer than two topics or no pattern, kinds are unknown, or a
            pattern does not show every concept, has an unknown slot, two subjects or other words
            than in lower case. The rest is checked when a grammar is made.
    """

    topics: Mapping[str, Topic]
    adjectives: Kinds
    adverbs: Kinds
    patterns: Words
    times: Kinds = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_topics(self.topics)
        for name, allowed in (("adjectives", SENTIMENTS), ("adverbs", SENTIMENTS)):
            _check_kinds(name, getattr(self, name), allowed)
        _check_kinds("times", self.times, TENSES)
        _check_several("patterns", self.patterns)
        if not self.patterns:
            raise ValueError("patterns are empty, must be one at least")
        for pattern in self.patterns:
            self._check_pattern(pattern)

    def _check_pattern(self, pattern: str) -> None:
        slots = slots_of(pattern)
        for slot in slots:
            if slot not in BEARS:
                raise ValueError(f"{pattern!r} has the slot {slot!r}, must be of {list(BEARS)}")
        if slots.count("subject") > 1:
            raise ValueError(f"{pattern!r} has two subjects, must have one at most")
        shown = frozenset[str]().union(*(BEARS[slot] for slot in slots))
        for concept in ("sentiment", "tense", "topic"):
            if concept not in shown:
                raise ValueError(f"{pattern!r} does not show the {concept}, must have a slot of it")
        plain = (word[1:-1] if is_slot(word) else word for word in pattern.split(" "))
        _check_entry("patterns", " ".join(plain))


def slots_of(pattern: str) -> list[str]:
    """The names of a pattern's slots, in order.

    >>> slots_of("the {subject} {copula} {adjective}")
    ['subject', 'copula', 'adjective']
    """
    return [word[1:-1] for word in pattern.split(" ") if is_slot(word)]


def is_slot(symbol: str) -> bool:
    """Whether a symbol of a pattern is a slot."""
    return symbol.startswith("{") and symbol.endswith("}")


def _check_topics(topics: Mapping[str, Topic]) -> None:
    if not isinstance(topics, Mapping) or len(topics) < 2:
        raise ValueError(f"topics are {list(topics)}, must be two at least, by name")
    for name, topic in topics.items():
        if not isinstance(topic, Topic):
            raise TypeError(f"topics[{name!r}] = {topic!r} must be a Topic")
        for part in ("subjects", "verbs", "objects"):
            _check_several(f"{part} of the topic {name!r}", getattr(topic, part))


def _check_several(name: str, words: object) -> None:
    """A string is a sequence, of its letters; it and a lone noun are tuples without a comma."""
    if isinstance(words, str) or not isinstance(words, Sequence):
        raise TypeError(f"{name} = {words!r} must be several, as in ('well',)")


def _check_kinds(name: str, kinds: Kinds, allowed: tuple[str, ...]) -> None:
    for kind, words in kinds.items():
        _check_several(f"{name}[{kind!r}]", words)
    if not set(kinds) <= set(allowed):
        raise ValueError(f"{name} has the kinds {list(kinds)}, allowed are {list(allowed)}")


def _check_entry(name: str, entry: str) -> None:
    if not isinstance(entry, str) or not re.fullmatch(r"[a-z'-]+( [a-z'-]+)*", entry):
        raise ValueError(f"{name} holds {entry!r}, must be words in lower case, one space between")


@dataclass(frozen=True)
class Features:
    """What a word says about its sentence; None where it says nothing."""

    sentiment: str | None = None
    tense: str | None = None
    topic: str | None = None
    number: str | None = None

    def join(self, other: Features) -> Features | None:
        """Both together, or None if they contradict each other."""
        joined = []
        for mine, theirs in zip(self.values(), other.values(), strict=True):
            if mine is not None and theirs is not None and mine != theirs:
                return None
            joined.append(theirs if mine is None else mine)
        return Features(*joined)

    def values(self) -> tuple[str | None, str | None, str | None, str | None]:
        """In the order of the fields."""
        return self.sentiment, self.tense, self.topic, self.number


Entry: TypeAlias = tuple[str, Features]


def entries(lexicon: Lexicon) -> dict[str, list[Entry]]:
    """All entries of every slot with their features.

    Raises:
        ValueError: If an entry belongs to two values of a concept, or is not in lower case, or a
            slot that a pattern has is without words for a value.
    """
    found: dict[str, list[Entry]] = {slot: [] for slot in BEARS}
    for slot, entry, features in _listed(lexicon):
        _check_entry(slot, entry)
        found[slot].append((entry, features))
    for slot, listed in found.items():
        _check_unambiguous(slot, listed)
    return found


def _listed(lexicon: Lexicon) -> Iterable[tuple[str, str, Features]]:
    for (tense, number), word in COPULAS.items():
        yield "copula", word, Features(tense=tense, number=number)
    for tense, phrases in lexicon.times.items():
        for phrase in phrases:
            yield "time", phrase, Features(tense=tense)
    for sentiment, words in lexicon.adjectives.items():
        other = SENTIMENTS[1 - SENTIMENTS.index(sentiment)]
        for word in words:
            yield "adjective", word, Features(sentiment)
            yield "opposite", word, Features(other)
    for sentiment, words in lexicon.adverbs.items():
        for word in words:
            yield "adverb", word, Features(sentiment)
    for name, topic in lexicon.topics.items():
        yield from _of_topic(name, topic)


def _of_topic(name: str, topic: Topic) -> Iterable[tuple[str, str, Features]]:
    for noun in topic.subjects:
        yield "subject", noun.singular, Features(topic=name, number="singular")
        yield "subject", noun.plural, Features(topic=name, number="plural")
    for verb in topic.verbs:
        yield "verb", verb.third, Features(None, "present", name, "singular")
        yield "verb", verb.base, Features(None, "present", name, "plural")
        yield "verb", verb.past, Features(None, "past", name, "singular")
        yield "verb", verb.past, Features(None, "past", name, "plural")
    for word in topic.objects:
        yield "object", word, Features(topic=name)


def _check_unambiguous(slot: str, listed: list[Entry]) -> None:
    shown: dict[tuple[str, str], str | None] = {}
    for entry, features in listed:
        for concept in sorted(BEARS[slot]):
            value = getattr(features, concept)
            if shown.setdefault((entry, concept), value) != value:
                both = f"{shown[entry, concept]!r} and {value!r}"
                raise ValueError(f"{slot} {entry!r} is of the {concept} {both}, must be of one")
