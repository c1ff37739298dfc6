"""What detectors say of held-out text: every block, the one that training text chooses, and all.

The steps are those of `numerics.concepts.ConceptDetector`, which keeps no out-of-fold scores; a
test compares the two bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from numerics.concepts.encoder import SentenceEncoder
    from numerics.concepts.text_states import SplitStates

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

FOLDS = 3
AGGREGATOR = "logistic"


@dataclass(frozen=True)
class Sample:
    """A split of the words and its sentences.

    Attributes:
        seed: Of words, sentences and folds.
        train: Sentences to learn from.
        held_out: Sentences of other words.
        blocks: Of the encoder.
    """

    seed: int
    train: int
    held_out: int
    blocks: tuple[int, ...]

    @property
    def states(self) -> SplitStates:
        """In the chosen blocks."""
        found = split(self.seed, self.train, self.held_out)
        names = [f"encoder.layer.{block}" for block in self.blocks]
        return replace(
            found,
            train={name: found.train[name] for name in names},
            held_out={name: found.held_out[name] for name in names},
        )


@dataclass(frozen=True, eq=False)
class Reading:
    """What one detector says of the m held-out sentences.

    Attributes:
        whole: Aggregated scores, shape (m,).
        layers: Each block's own scores, shape (m, blocks).
        chosen: Number of the block whose out-of-fold scores on the training text have the largest
            area.
        directions: Of each block, shape (blocks, d).
    """

    whole: Floats
    layers: Floats
    chosen: int
    directions: Floats


@lru_cache(maxsize=1)
def _encoder() -> SentenceEncoder:
    from numerics.concepts.encoder import SentenceEncoder

    return SentenceEncoder()


@lru_cache(maxsize=6)
def split(seed: int, train: int, held_out: int) -> SplitStates:
    """All blocks' states; a mutant meets the states that the claim met."""
    from numerics.concepts.text_states import split_states

    rng = np.random.default_rng(seed)
    return split_states(_encoder(), rng, train=train, held_out=held_out)


def area(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """Share of the pairs in which the positive sample is above, straight from the definition."""
    difference = scores[positive][:, None] - scores[~positive]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def reading(sample: Sample, probe: str, labels: Labels) -> Reading:
    """Learn labels from the training sentences; the same labels are learned once.

    Args:
        sample: The sentences.
        probe: Of "rfm" the aggregator sees predictions, of the others projections.
        labels: 0 or 1, shape (n,).
    """
    return _reading(sample, probe, labels.astype(np.int64).tobytes())


@lru_cache(maxsize=256)
def _reading(sample: Sample, probe: str, labels: bytes) -> Reading:
    return read(sample.states, probe, np.frombuffer(labels, np.int64), sample.seed % 2**31)


def read(states: SplitStates, probe: str, labels: Labels, seed: int) -> Reading:
    """Learn labels from the training sentences."""
    from numerics.concepts.aggregators import fit_aggregate
    from numerics.concepts.crossfit import Plan, cross_fit
    from numerics.concepts.targets import Target

    features = "predictions" if probe == "rfm" else "projections"
    target = Target(labels.astype(np.float64), 2)
    fitted = cross_fit(states.train, target, Plan(probe, None, FOLDS, seed, features=features))
    seen = {name: p.features(states.held_out[name]) for name, p in fitted.probes.items()}

    def scores(names: list[Any]) -> tuple[Floats, Floats]:
        """Out of fold, and of the held-out sentences."""
        inside, outside = (
            np.concatenate([part[name] for name in names], axis=1)
            for part in (fitted.features, seen)
        )
        model = fit_aggregate(AGGREGATOR, inside, target, np.random.default_rng(seed))
        return model.scores(inside)[:, 0], model.scores(outside)[:, 0]

    alone = [scores([name]) for name in seen]
    return Reading(
        whole=scores(list(seen))[1],
        layers=np.stack([outside for _, outside in alone], axis=1),
        chosen=int(np.argmax([area(inside, labels == 1) for inside, _ in alone])),
        directions=np.stack([p.directions[0] for p in fitted.probes.values()]),
    )
