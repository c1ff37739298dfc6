"""Labels and numeric concepts as what the probes fit, and by what they are judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Numbers: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Target:
    """What is to be detected.

    Attributes:
        numbers: The number of each sample's class, or the numeric concept itself, shape (n,).
        classes: How many classes there are; 0 for a numeric concept.
    """

    numbers: Numbers
    classes: int = 0

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def index(self) -> Indices:
        """The classes' numbers as integers, shape (n,)."""
        return self.numbers.astype(np.intp)

    @property
    def outputs(self) -> Numbers:
        """What is fitted, shape (n, outputs).

        ±1 for two classes, the one-hot vector less 1/C for more; a numeric concept in units of its
        standard deviation from its mean, both of these samples.
        """
        if not self.classes:
            spread = self.numbers.std()
            units: Numbers = (self.numbers - self.numbers.mean()) / (spread or 1.0)
            return units[:, None]
        if self.classes == 2:
            return 2 * self.numbers[:, None] - 1
        shares: Numbers = np.eye(self.classes)[self.index] - 1 / self.classes
        return shares

    @property
    def indicators(self) -> Numbers:
        """What the directions are signed by: the second of two classes, each of more, the number.

        Shape (n, 1) or (n, C).
        """
        return self.numbers[:, None] if self.classes <= 2 else np.eye(self.classes)[self.index]

    def rows(self, part: Indices) -> Target:
        """The target of some samples."""
        return replace(self, numbers=self.numbers[part])

    def smallest_class(self) -> int:
        """Number of samples of the rarest class; of all samples for a numeric concept."""
        if not self.classes:
            return len(self)
        return int(np.bincount(self.index, minlength=self.classes).min())

    def error(self, predictions: NDArray[Any]) -> float:
        """1 − AUC, averaged over classes if there are more than two; else 1 − the correlation.

        Args:
            predictions: Shape (n, outputs).
        """
        if not self.classes:
            return 1 - correlation(predictions[:, 0], self.numbers)
        if self.classes == 2:
            return 1 - auc(predictions[:, 0], self.index == 1)
        areas = [auc(predictions[:, c], self.index == c) for c in np.unique(self.index)]
        return 1 - float(np.mean(areas))


def class_number(target: Any, classes: list[Any]) -> int:
    """Which of the classes a target is.

    Raises:
        ValueError: If it is none of them.
    """
    if np.ndim(target) or target not in classes:
        raise ValueError(f"target = {target!r} must be one of the classes {classes}")
    return classes.index(target)


def auc(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Chance that a positive sample's score is above a negative one's, ties counting half.

    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    n = int(positive.sum())
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(scores) - n)))


def correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Pearson's correlation; 0 if one of the two is constant."""
    a, b = a - a.mean(dtype=np.float64), b - b.mean(dtype=np.float64)
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0


def two_parts(
    target: Target, share: float, generator: np.random.Generator
) -> tuple[Indices, Indices]:
    """Positions of a random part and of the rest, class by class.

    Args:
        target: Of the samples.
        share: Of the second part. Each class has at least one sample there, and, if it has two, at
            least one in the first.
        generator: Draws the second part.
    """
    groups = [np.arange(len(target))]
    if target.classes:
        groups = [np.flatnonzero(target.index == c) for c in np.unique(target.index)]
    kept, aside = [], []
    for group in groups:
        order = generator.permutation(group)
        cut = min(max(1, round(share * len(group))), max(1, len(group) - 1))
        aside.append(order[:cut])
        kept.append(order[cut:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(aside))
