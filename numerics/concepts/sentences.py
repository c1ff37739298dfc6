"""Labelled sentences: no word that tells a concept in the held-out text is in the training text.

Each sentence has a sentiment, a tense and a topic, and an intensity as a number. The lexicon is
cut in two, slot by slot; all that the two halves share is "the" and prepositions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..validation import choice, integer
from .grammar import Grammar
from .lexicon import SENTIMENTS, TENSES, Lexicon, Noun, Topic, Verb

Labels: TypeAlias = NDArray[np.int64]
Slots: TypeAlias = Mapping[str, Sequence[str]]

FACTORS = ("sentiment", "tense", "topic")
"""The concepts with two values each, independent of each other."""

PRODUCTS = ("sentiment*tense", "sentiment*topic", "tense*topic")
"""Products of ±1, 1 if the two factors are both 1 or both 0: neither factor alone tells them."""

INTENSITY = "intensity"
"""The numeric concept: 1, 2, 3 or 4, of the word before the adjective."""

POSITIVE = {"sentiment": "positive", "tense": "past", "topic": "music"}
"""The value of each factor that the label 1 stands for."""

SHARED = frozenset({"the", "in", "near", "at", "behind", "by", "beside", "on", "outside"})
"""The words that both halves may use."""

TOPICS = ("food", "music")
LEVELS = ("1", "2", "3", "4")

_WORDS = {
    "food subject": (
        "chef sommelier waiter butcher farmer grocer brewer innkeeper caterer fishmonger winemaker "
        "gardener"
    ),
    "music subject": (
        "pianist violinist tenor drummer bassist conductor guitarist organist soprano cellist "
        "trumpeter harpist"
    ),
    "food verb": (
        "serve/serves/served bake/bakes/baked fry/fries/fried roast/roasts/roasted "
        "boil/boils/boiled season/seasons/seasoned slice/slices/sliced taste/tastes/tasted "
        "grill/grills/grilled eat/eats/ate freeze/freezes/froze chew/chews/chewed"
    ),
    "music verb": (
        "play/plays/played sing/sings/sang compose/composes/composed rehearse/rehearses/rehearsed "
        "record/records/recorded perform/performs/performed hum/hums/hummed "
        "arrange/arranges/arranged write/writes/wrote whistle/whistles/whistled "
        "improvise/improvises/improvised practise/practises/practised"
    ),
    "food object": (
        "soup cake stew salad bread omelette pudding sausage curry pie cheese pancake lobster pasta"
    ),
    "music object": (
        "sonata song symphony melody ballad waltz concerto anthem overture lullaby hymn quartet "
        "tango serenade"
    ),
    "negative adjective": (
        "terrible awful dreadful horrible disgusting appalling miserable mediocre dismal atrocious "
        "unpleasant lousy ghastly hideous disappointing pathetic"
    ),
    "positive adjective": (
        "wonderful superb excellent delightful marvellous splendid lovely charming brilliant "
        "magnificent fabulous pleasant exquisite glorious beautiful fantastic"
    ),
    "1 degree": "slightly somewhat mildly faintly",
    "2 degree": "fairly rather quite reasonably",
    "3 degree": "very really truly highly",
    "4 degree": "extremely incredibly astonishingly utterly",
    "origin": (
        "local foreign northern southern eastern western rural coastal italian french spanish "
        "german danish turkish greek polish"
    ),
    "place": (
        "in/village near/harbour at/station behind/church by/river in/capital beside/castle "
        "on/island near/market at/museum outside/palace by/lake in/valley near/bridge "
        "behind/school at/airport"
    ),
}


@dataclass(frozen=True, eq=False)
class LabelledText:
    """Sentences with their concepts.

    Attributes:
        texts: n sentences.
        factors: 0 or 1 for each of "sentiment", "tense" and "topic", shape (n,) each.
        intensity: 1, 2, 3 or 4, shape (n,).
    """

    texts: tuple[str, ...]
    factors: Mapping[str, Labels]
    intensity: Labels

    def label(self, concept: str) -> Labels:
        """The labels of a concept, shape (n,).

        Args:
            concept: One of `FACTORS` or `PRODUCTS` (0 or 1), or "intensity" (1, ..., 4).

        Raises:
            ValueError: If there is no such concept.
        """
        choice("concept", concept, (*FACTORS, *PRODUCTS, INTENSITY))
        if concept == INTENSITY:
            return self.intensity
        values = [self.factors[name] for name in concept.split("*")]
        return values[0] if len(values) == 1 else (values[0] == values[1]).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Half:
    """One half of the words.

    Attributes:
        grammar: Makes and recognises its sentences.
        degrees: Its words of degree, with the intensity that each stands for.
    """

    grammar: Grammar
    degrees: Mapping[str, int]

    def sample(self, n: int, rng: np.random.Generator) -> LabelledText:
        """Draw n sentences; each of the factors' 8 combinations has n/8 of them, up to rounding.

        Args:
            n: How many.
            rng: Random numbers.

        Raises:
            TypeError: If `n` is not an integer.
            ValueError: If `n` is less than 8.
        """
        cells = list(product(SENTIMENTS, TENSES, TOPICS))
        each, rest = divmod(integer("n", n, len(cells)), len(cells))
        counts = each + (rng.permutation(len(cells)) < rest)
        drawn = [
            sentence
            for count, values in zip(counts, cells, strict=True)
            for sentence in self.grammar.sample(
                int(count), rng, **dict(zip(FACTORS, values, strict=True))
            )
        ]
        order = [drawn[i] for i in rng.permutation(len(drawn))]
        texts = tuple(sentence.text for sentence in order)
        factors = {
            name: _factor(name, [getattr(x.concepts, name) for x in order]) for name in FACTORS
        }
        return LabelledText(texts, factors, np.array([self._intensity(text) for text in texts]))

    def _intensity(self, text: str) -> int:
        """That of the one word of degree."""
        (found,) = [self.degrees[word] for word in text.split(" ") if word in self.degrees]
        return found


def _factor(name: str, values: Sequence[str]) -> Labels:
    return np.array([value == POSITIVE[name] for value in values], dtype=np.int64)


def halves(rng: np.random.Generator) -> tuple[Half, Half]:
    """Cut the words of every slot in two at random: for training, and held out.

    >>> import numpy as np
    >>> train, held_out = halves(np.random.default_rng(0))
    >>> print(train.sample(8, np.random.default_rng(0)).texts[0])
    by the river the danish tenor played the utterly pathetic anthem.
    """
    slots = {slot: _cut(words, rng) for slot, words in _WORDS.items()}
    first, second = ({slot: both[side] for slot, both in slots.items()} for side in (0, 1))
    return _half(first), _half(second)


def _cut(words: str, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    listed = words.split(" ")
    order = [listed[i] for i in rng.permutation(len(listed))]
    return order[: len(order) // 2], order[len(order) // 2 :]


def _half(slots: Slots) -> Half:
    degrees = {word: int(level) for level in LEVELS for word in slots[f"{level} degree"]}
    adjectives = {
        kind: tuple(f"{degree} {word}" for word in slots[f"{kind} adjective"] for degree in degrees)
        for kind in SENTIMENTS
    }
    topics = {name: _topic(slots, name) for name in TOPICS}
    return Half(Grammar(Lexicon(topics, adjectives, {}, tuple(_patterns(slots)))), degrees)


def _topic(slots: Slots, name: str) -> Topic:
    return Topic(
        subjects=tuple(Noun(word, f"{word}s") for word in slots[f"{name} subject"]),
        verbs=tuple(Verb(*forms.split("/")) for forms in slots[f"{name} verb"]),
        objects=tuple(slots[f"{name} object"]),
    )


def _patterns(slots: Slots) -> list[str]:
    """The core, with a place before or behind it, and an origin of either noun, or of none."""
    found = []
    for preposition, noun in (place.split("/") for place in slots["place"]):
        where = f"{preposition} the {noun}"
        for origin in slots["origin"]:
            for core in (
                "the {subject} {verb} the {adjective} {object}",
                f"the {origin} {{subject}} {{verb}} the {{adjective}} {{object}}",
                f"the {{subject}} {{verb}} the {{adjective}} {origin} {{object}}",
            ):
                found += [f"{where} {core}", f"{core} {where}"]
    return found
