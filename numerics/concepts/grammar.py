"""English texts with known concepts: a seeded generator and an exact recogniser."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from ..validation import choice, integer
from .lexicon import (
    BEARS,
    NUMBERS,
    SENTIMENTS,
    TENSES,
    Entry,
    Features,
    Lexicon,
    entries,
    is_slot,
    slots_of,
)
from .rates import Rate

CONCEPTS = ("sentiment", "tense", "topic")
VALUES = {"sentiment": SENTIMENTS, "tense": TENSES}


@dataclass(frozen=True)
class Parse:
    """The concepts of a text, which all its sentences share."""

    sentiment: str
    tense: str
    topic: str


@dataclass(frozen=True)
class Text:
    """A text and the concepts that it was made from."""

    text: str
    concepts: Parse


@dataclass(frozen=True)
class Tally:
    """What the recogniser found in a batch of texts.

    Attributes:
        total: Number of texts.
        parses: Of those that are grammatical.
    """

    total: int
    parses: tuple[Parse, ...]

    def grammatical(self, confidence: float = 0.95) -> Rate:
        """The share of texts that the grammar derives."""
        return Rate.of(len(self.parses), self.total, confidence)

    def rate(self, concept: str, value: str, confidence: float = 0.95) -> Rate:
        """The share of texts with this value of a concept among the grammatical ones.

        Raises:
            ValueError: If there is no such concept, sentiment or tense, or no grammatical text.
        """
        choice("concept", concept, CONCEPTS)
        if concept in VALUES:
            choice(concept, value, VALUES[concept])
        hits = sum(getattr(parse, concept) == value for parse in self.parses)
        return Rate.of(hits, len(self.parses), confidence)


class Grammar:
    """Texts of a fixed number of sentences that share sentiment, tense and topic.

    A text draws its concepts independently with the given probabilities, and each of its sentences
    a pattern, a number and its words, each uniformly. Its language is the set of all such texts:
    sentences that differ in a concept, or words within a sentence that do not agree, make a text
    ungrammatical. A sentence is its words, one space between, and a full stop; one space follows
    it if there is another one.

    Args:
        lexicon: Words and patterns.
        sentences: How many a text has.
        positive: Probability of the positive sentiment.
        past: Probability of the past tense.
        topics: Probabilities of topics by name; by default all the same.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If probabilities are not in [0, 1], do not sum to 1 or name no topic, or the
            lexicon lacks words for a slot that it uses.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        *,
        sentences: int = 1,
        positive: float = 0.5,
        past: float = 0.5,
        topics: Mapping[str, float] | None = None,
    ) -> None:
        if not isinstance(lexicon, Lexicon):
            raise TypeError(f"lexicon = {lexicon!r} must be a Lexicon")
        self.lexicon = lexicon
        self.sentences = integer("sentences", sentences, 1)
        names = tuple(lexicon.topics)
        shares = dict.fromkeys(names, 1 / len(names)) if topics is None else topics
        self.probabilities: Mapping[str, Mapping[str, float]] = {
            "sentiment": _binary("positive", positive, SENTIMENTS[1], SENTIMENTS[0]),
            "tense": _binary("past", past, TENSES[0], TENSES[1]),
            "topic": _shares(shares, names),
        }
        self._entries = entries(lexicon)
        self._patterns = [tuple(pattern.split(" ")) for pattern in lexicon.patterns]
        self._words = {slot: _by_words(listed) for slot, listed in self._entries.items()}
        self._choices = {slot: self._chosen_by(slot) for slot in BEARS}

    # The generator

    def sample(self, n: int, rng: np.random.Generator, **fixed: str) -> list[Text]:
        """Draw n texts; the concepts named in `fixed` have the value given there.

        Raises:
            TypeError: If `n` is not an integer, or `rng` no generator.
            ValueError: If there is no such concept or value.
        """
        _check_rng(rng)
        for concept, value in fixed.items():
            choice("concept", concept, CONCEPTS)
            choice(concept, value, tuple(self.probabilities[concept]))
        count = integer("n", n, 0)
        drawn = {concept: self._draw(concept, count, rng, fixed) for concept in CONCEPTS}
        parses = [Parse(*values) for values in zip(*drawn.values(), strict=True)]
        return [Text(self._text(parse, rng), parse) for parse in parses]

    def _draw(
        self, concept: str, n: int, rng: np.random.Generator, fixed: Mapping[str, str]
    ) -> list[str]:
        shares = self.probabilities[concept]
        drawn = [str(v) for v in rng.choice(list(shares), n, p=list(shares.values()))]
        return [fixed[concept]] * n if concept in fixed else drawn

    def text(self, concepts: Parse, rng: np.random.Generator) -> str:
        """Draw a text with these concepts.

        Raises:
            TypeError: If `concepts` are no `Parse`, or `rng` no generator.
            ValueError: If there is no such value.
        """
        _check_rng(rng)
        if not isinstance(concepts, Parse):
            raise TypeError(f"concepts = {concepts!r} must be a Parse")
        for concept in CONCEPTS:
            choice(concept, getattr(concepts, concept), tuple(self.probabilities[concept]))
        return self._text(concepts, rng)

    def _text(self, concepts: Parse, rng: np.random.Generator) -> str:
        return " ".join(self._sentence(concepts, rng) for _ in range(self.sentences))

    def beginnings(self, concept: str, n: int, rng: np.random.Generator) -> list[Text]:
        """Draw n beginnings of texts, each up to where it is about to show a concept once more.

        The earlier sentences tell the concept already. The last one is drawn twice from the same
        random numbers, with the concept's value and with the next one; the beginning ends with the
        last character that the two have in common. All combinations of concepts come equally often,
        as far as n allows, so that no concept tells anything about another one.

        Args:
            concept: "sentiment", "tense" or "topic".
            n: How many.
            rng: Draws them.

        Raises:
            TypeError: If `n` is not an integer, or `rng` no generator.
            ValueError: If there is no such concept, or a text has one sentence only.
        """
        _check_rng(rng)
        choice("concept", concept, CONCEPTS)
        count = integer("n", n, 0)
        if self.sentences < 2:
            raise ValueError("sentences = 1, must be 2 at least, so that an earlier one can tell")
        every = itertools.product(*(self.probabilities[name] for name in CONCEPTS))
        around = itertools.islice(itertools.cycle(every), count)
        return [self._beginning(concept, Parse(*values), rng) for values in around]

    def _beginning(self, concept: str, told: Parse, rng: np.random.Generator) -> Text:
        values = list(self.probabilities[concept])
        following = values[(values.index(getattr(told, concept)) + 1) % len(values)]
        earlier = [self._sentence(told, rng) for _ in range(self.sentences - 1)]
        start = rng.bit_generator.state
        other = self._sentence(replace(told, **{concept: following}), rng)
        rng.bit_generator.state = start
        shared = _common_beginning(other, self._sentence(told, rng))
        return Text(" ".join([*earlier, shared]), told)

    def _sentence(self, concepts: Parse, rng: np.random.Generator) -> str:
        pattern = self._patterns[rng.integers(len(self._patterns))]
        number = NUMBERS[rng.integers(len(NUMBERS))]
        key = (concepts.sentiment, concepts.tense, concepts.topic, number)
        words = []
        for symbol in pattern:
            options = self._choices[symbol[1:-1]][key] if is_slot(symbol) else [symbol]
            words.append(options[rng.integers(len(options))] if len(options) > 1 else options[0])
        return " ".join(words) + "."

    def _chosen_by(self, slot: str) -> dict[tuple[str, str, str, str], list[str]]:
        """The entries that a slot may take, for every value of the concepts and the number."""
        used = any(slot in slots_of(pattern) for pattern in self.lexicon.patterns)
        found = {}
        for key in self._keys() if used else ():
            fitting = [e for e, features in self._entries[slot] if features.join(Features(*key))]
            if not fitting:
                raise ValueError(f"lexicon has no {slot} for {key}, must have one at least")
            found[key] = fitting
        return found

    def _keys(self) -> Iterator[tuple[str, str, str, str]]:
        for sentiment in SENTIMENTS:
            for tense in TENSES:
                for topic in self.lexicon.topics:
                    for number in NUMBERS:
                        yield sentiment, tense, topic, number

    # The recogniser

    def parse(self, text: str) -> Parse | None:
        """The concepts of a text; None if the grammar does not derive it.

        Raises:
            TypeError: If `text` is not a string.
            ValueError: If two derivations disagree about the concepts.
        """
        if not isinstance(text, str):
            raise TypeError(f"text = {text!r} must be a string")
        sentences = text.split(". ")
        if len(sentences) != self.sentences or not sentences[-1].endswith("."):
            return None
        sentences[-1] = sentences[-1][:-1]
        shared = set.intersection(*(self._read(sentence) for sentence in sentences))
        if len(shared) > 1:
            raise ValueError(f"{text!r} has several readings: {sorted(map(str, shared))}")
        return shared.pop() if shared else None

    def tally(self, texts: Sequence[str]) -> Tally:
        """Recognise a batch of texts.

        Raises:
            TypeError: If `texts` is one string, or as `parse`.
            ValueError: If there are none, or as `parse`.
        """
        if isinstance(texts, str):
            raise TypeError(f"texts = {texts!r} must be a sequence of strings")
        if not len(texts):
            raise ValueError("texts are empty, must be one at least")
        found = (self.parse(text) for text in texts)
        return Tally(len(texts), tuple(parse for parse in found if parse is not None))

    def _read(self, sentence: str) -> set[Parse]:
        words = tuple(sentence.split(" "))
        return {
            Parse(str(found.sentiment), str(found.tense), str(found.topic))
            for pattern in self._patterns
            for found in self._derivations(pattern, words, Features())
        }

    def _derivations(
        self, symbols: tuple[str, ...], words: tuple[str, ...], known: Features
    ) -> Iterator[Features]:
        if not symbols or not words:
            if not symbols and not words:
                yield known
            return
        for length, features in self._beginnings(symbols[0], words):
            joined = known.join(features)
            if joined is not None:
                yield from self._derivations(symbols[1:], words[length:], joined)

    def _beginnings(self, symbol: str, words: tuple[str, ...]) -> Iterator[tuple[int, Features]]:
        """The entries with which the words may begin if the symbol stands there."""
        if not is_slot(symbol):
            if words[0] == symbol:
                yield 1, Features()
            return
        for length, listed in self._words[symbol[1:-1]].items():
            for features in listed.get(words[:length], ()):
                yield length, features


def _common_beginning(a: str, b: str) -> str:
    pairs = zip(a, b, strict=False)
    return "".join(x for x, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _by_words(listed: Sequence[Entry]) -> dict[int, dict[tuple[str, ...], list[Features]]]:
    """The entries by their number of words, then by these words."""
    found: dict[int, dict[tuple[str, ...], list[Features]]] = {}
    for entry, features in listed:
        words = tuple(entry.split(" "))
        found.setdefault(len(words), {}).setdefault(words, []).append(features)
    return found


def _binary(name: str, share: object, value: str, other: str) -> dict[str, float]:
    p = _probability(name, share)
    return {value: p, other: 1 - p}


def _shares(shares: object, names: tuple[str, ...]) -> dict[str, float]:
    if not isinstance(shares, Mapping):
        raise TypeError(f"topics = {shares!r} must be a mapping from names to probabilities")
    known = {
        choice("topic", name, names): _probability(f"topics[{name!r}]", share)
        for name, share in shares.items()
    }
    if abs(sum(known.values()) - 1) > 1e-9:
        raise ValueError(f"topics = {known} sum to {sum(known.values())}, must sum to 1")
    return {name: known.get(name, 0.0) for name in names}


def _probability(name: str, share: object) -> float:
    if isinstance(share, bool) or not isinstance(share, Real):
        raise TypeError(f"{name} = {share!r} must be a probability in [0, 1]")
    p = float(share)
    if not 0 <= p <= 1:
        raise ValueError(f"{name} = {share!r} must be a probability in [0, 1]")
    return p


def _check_rng(rng: object) -> None:
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng = {rng!r} must be a numpy.random.Generator")
