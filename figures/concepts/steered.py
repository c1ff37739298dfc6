"""A small transformer that was trained on a grammar's texts, and what it writes when steered.

What is trained, read and written is kept, so that figures of the same sizes share it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..plot import Floats

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from numerics.concepts.grammar import Tally
    from numerics.concepts.states import Layer
    from numerics.concepts.sweeps import Writer

VALUES = {"sentiment": "positive", "tense": "past"}
"""The concepts, and the value of each that is counted."""
KINDS = ("v", "Σv")
"""The detecting direction itself, and the shift along the covariance."""
TEMPERATURE = 0.8


@dataclass(frozen=True)
class Sizes:
    """Of training, reading and writing.

    Attributes:
        texts: To train on.
        steps: Of training.
        width: Of the hidden states.
        beginnings: Of texts, from whose states the directions are learned.
        written: Texts for each coefficient.
        seed: Of everything.
    """

    texts: int
    steps: int
    width: int
    beginnings: int
    written: int
    seed: int


@dataclass(frozen=True, eq=False)
class Reading:
    """Hidden states where a concept is about to show, and whether it will have its value."""

    states: Mapping[str, Tensor]
    labels: NDArray[np.bool_]

    def last(self) -> Floats:
        """The last block's states."""
        layer = list(self.states.values())[-1]
        return np.asarray(layer.double().numpy())


@lru_cache(maxsize=2)
def writer(sizes: Sizes) -> Writer:
    """A transformer of two blocks, trained on texts of two sentences."""
    from numerics.concepts.character_training import Schedule
    from numerics.concepts.grammar import Grammar
    from numerics.concepts.short_words import SHORT_WORDS
    from numerics.concepts.sweeps import train_writer

    grammar = Grammar(SHORT_WORDS, sentences=2)
    sample = grammar.sample(sizes.texts, np.random.default_rng([sizes.seed, 0]))
    return train_writer(
        grammar, [t.text for t in sample], Schedule(sizes.steps, lr=8e-3),
        width=sizes.width, seed=sizes.seed,
    )  # fmt: skip


@lru_cache(maxsize=8)
def reading(sizes: Sizes, concept: str, n: int, stream: int) -> Reading:
    """States at the ends of n beginnings, which are drawn anew for each stream."""
    author = writer(sizes)
    rng = np.random.default_rng([sizes.seed, stream])
    texts = author.grammar.beginnings(concept, n, rng)
    labels = np.array([getattr(t.concepts, concept) == VALUES[concept] for t in texts])
    return Reading(author.states(texts), labels)


def learned_from(sizes: Sizes, concept: str) -> Reading:
    """What the directions are learned from."""
    return reading(sizes, concept, sizes.beginnings, 1)


@lru_cache(maxsize=64)
def directions(sizes: Sizes, concept: str, probe: str, kind: str) -> Mapping[str, Floats]:
    """By block the unit vector v of a probe, or Σv with the covariance within classes."""
    from numerics.concepts.detector import ConceptDetector
    from numerics.concepts.shifts import along_covariance

    told = learned_from(sizes, concept)
    if kind == "Σv":
        found = along_covariance(directions(sizes, concept, probe, "v"), told.states, told.labels)
        return {name: vector.double().numpy() for name, vector in found.items()}
    arrays: dict[Layer, NDArray[Any]] = {name: layer.numpy() for name, layer in told.states.items()}
    detector = ConceptDetector(probe, folds=2, random_state=0).fit(arrays, told.labels)
    return {str(name): v for name, v in detector.directions().items()}


@lru_cache(maxsize=2)
def bare(sizes: Sizes) -> Tally:
    """What is written without steering."""
    import torch

    from numerics.concepts.generation import generate

    author = writer(sizes)
    generator = torch.Generator().manual_seed(_seed(sizes, "bare"))
    texts = generate(
        author.model, author.vocabulary, sizes.written, generator=generator, temperature=TEMPERATURE
    )
    return author.grammar.tally(texts)


@lru_cache(maxsize=512)
def tally(sizes: Sizes, concept: str, probe: str, kind: str, coefficient: float) -> Tally:
    """What is written under steering of both blocks with a coefficient other than 0.

    A direction is as long as the standard deviation of its block's states. Texts of different
    arguments are independent.
    """
    from numerics.concepts.shifts import in_deviations
    from numerics.concepts.sweeps import sweep

    states = learned_from(sizes, concept).states
    vectors = in_deviations(directions(sizes, concept, probe, kind), states)
    seed = _seed(sizes, f"{concept}, {probe}, {kind}, {coefficient!r}")
    swept = sweep(
        writer(sizes), vectors, (coefficient,), sizes.written, seed=seed, temperature=TEMPERATURE
    )
    return swept.tallies[0]


def _seed(sizes: Sizes, stream: str) -> int:
    """A seed of its own for every name."""
    return int(
        np.random.SeedSequence([sizes.seed, zlib.crc32(stream.encode())]).generate_state(1)[0]
    )
