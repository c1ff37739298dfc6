"""Digits, as the figures of this slice take them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..plot import Floats

Labels = NDArray[np.int64]


def balanced_digits(
    per_class: int, rng: np.random.Generator, classes: int = 10
) -> tuple[Floats, Labels]:
    """Some of scikit-learn's digits, ordered by class, pixels in [0, 1].

    Args:
        per_class: Images of each class, at most 174.
        rng: Chooses them.
        classes: The first so many digits.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(n_class=classes, return_X_y=True)
    chosen = [rng.permutation(np.flatnonzero(labels == c))[:per_class] for c in range(classes)]
    order = np.concatenate(chosen)
    return images[order] / 16, labels[order].astype(np.int64)
