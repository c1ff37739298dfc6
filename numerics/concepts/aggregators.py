"""From the features of all layers to one score: linear, logistic or by a feature machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from ..rfm.machine import Machine
from ..validation import choice
from .probes import logistic_path
from .rfm_probe import contiguous, predicted, tuned_machine
from .targets import Numbers, Target

SHRINKAGES = tuple(10.0**power for power in range(-5, 2))
"""λ/n of the linear aggregator, of which leaving one out chooses."""


@dataclass(frozen=True, eq=False)
class Aggregate:
    """A fitted aggregator: scores of standardised features, the projections or predictions.

    Attributes:
        kind: "linear", "logistic" or "rfm".
        centre: Mean of the features, shape (p,).
        scale: Their standard deviation, 1 where they are constant, shape (p,).
        weights: Coefficients, shape (p, c); None for "rfm".
        offset: What is added to the scores, shape (c,).
        machine: Of "rfm", in double precision.
    """

    kind: str
    centre: Numbers
    scale: Numbers
    weights: Numbers | None
    offset: Numbers
    machine: Machine | None = None

    def scores(self, features: Numbers) -> Numbers:
        """Scores, shape (n, 1) for two classes or a numeric concept, (n, C) for C > 2."""
        z = (features - self.centre) / self.scale
        if self.machine is not None:
            return predicted(self.machine, z) + self.offset
        assert self.weights is not None
        return z @ self.weights + self.offset


def fit_aggregate(
    kind: str, features: Numbers, target: Target, generator: np.random.Generator
) -> Aggregate:
    """Fit an aggregator to out-of-fold features.

    Args:
        kind: "linear": ridge regression on what `Target.outputs` says, λ chosen by leaving one
            out. "logistic": C = 1. "rfm": a recursive feature machine, tuned as the probe is.
        features: Shape (n, p).
        target: Of the n samples.
        generator: Of the part that tunes "rfm".
    """
    choice("aggregator", kind, AGGREGATORS)
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    z = (features - centre) / scale
    weights, offset, machine = FITS[kind](z, target, generator)
    return Aggregate(kind, centre, scale, weights, offset, machine)


Fitted = tuple[Numbers | None, Numbers, Machine | None]


def _linear(z: Numbers, target: Target, generator: np.random.Generator) -> Fitted:  # noqa: ARG001
    outputs = target.outputs
    offset = outputs.mean(axis=0)
    left, singular, right = np.linalg.svd(z, full_matrices=False)
    inside = left.T @ (outputs - offset)

    def left_out(shrinkage: float) -> float:
        kept = singular**2 / (singular**2 + shrinkage * len(z))
        residual = outputs - offset - left @ (kept[:, None] * inside)
        leverage = (left**2) @ kept + 1 / len(z)
        return float(np.sum((residual / np.maximum(1 - leverage, 1e-12)[:, None]) ** 2))

    best = min(reversed(SHRINKAGES), key=left_out)
    slopes = singular / (singular**2 + best * len(z))
    return np.ascontiguousarray(right.T @ (slopes[:, None] * inside)), offset, None


def _logistic(z: Numbers, target: Target, generator: np.random.Generator) -> Fitted:  # noqa: ARG001
    weights, offset = logistic_path(z, target, (1.0,))[0]
    return np.ascontiguousarray(weights.T), offset, None


def _rfm(z: Numbers, target: Target, generator: np.random.Generator) -> Fitted:
    machine, _ = tuned_machine(z, target, generator)
    return None, np.zeros(machine.alpha.shape[1]), contiguous(machine)


FITS: dict[str, Callable[[Numbers, Target, np.random.Generator], Fitted]] = {
    "linear": _linear,
    "logistic": _logistic,
    "rfm": _rfm,
}
AGGREGATORS = tuple(FITS)
"""The aggregators by name; numeric concepts have "linear" and "rfm"."""


def probabilities(kind: str, scores: NDArray[Any]) -> Numbers:
    """Probabilities of the classes, shape (n, C), whose largest is that of the predicted class.

    Of "logistic" its own; of the others, which fit by least squares and so estimate probabilities,
    the nearest probability vectors, with entries that can be exactly 0 or 1.

    Args:
        kind: Of the aggregator.
        scores: Shape (n, 1) for two classes, (n, C) for more.
    """
    if scores.shape[1] == 1:
        second = (
            expit(scores[:, 0]) if kind == "logistic" else np.clip((1 + scores[:, 0]) / 2, 0, 1)
        )
        return np.stack([1 - second, second], axis=1)
    if kind == "logistic":
        shares: Numbers = softmax(scores, axis=1)
        return shares
    # Files are read, and directions taken from them, without scikit-learn.
    from ..rfm.estimators import project_to_simplex

    return project_to_simplex(scores).astype(np.float64, copy=False)
