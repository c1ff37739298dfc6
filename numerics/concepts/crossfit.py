"""Cross-fitting: every sample's features come from probes that never saw its label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from .probes import Probe, fit_probe
from .states import Array, Layer
from .targets import Indices, Numbers, Target


@dataclass(frozen=True)
class Plan:
    """How the probes of all layers are fitted.

    Attributes:
        probe: Kind of probe; see `probes.PROBES`.
        vectors: How many vectors "rfm" and "pca" give; None for the default.
        folds: Number of parts, at least 2.
        seed: Of the folds and of the parts that choose parameters.
        settle: Whether eigenvectors are settled; see `axes`. False is for comparison.
        features: Projections or predictions; see `probes.FEATURES`.
    """

    probe: str
    vectors: int | None
    folds: int
    seed: int
    settle: bool = True
    features: str = "projections"


@dataclass(frozen=True, eq=False)
class CrossFit:
    """What cross-fitting gives.

    Attributes:
        probes: Fitted to all samples, by layer.
        features: Of each sample by the probes of the other folds, (n, width) by layer.
    """

    probes: Mapping[Layer, Probe]
    features: Mapping[Layer, Numbers]


def cross_fit(
    layers: Mapping[Layer, Array],
    target: Target,
    plan: Plan,
    folds: Sequence[tuple[Indices, Indices]] | None = None,
) -> CrossFit:
    """Fit the probes of every layer, once for each fold's complement and once to all samples.

    The folds are shuffled, and hold each class in its proportion. The labels of a fold change
    nothing in its own samples' features: not the vectors, nor their number, order or signs, nor the
    predictions, nor the parameters that validation chose for them.

    Args:
        layers: States (n, d) by layer.
        target: Of the n samples.
        plan: How.
        folds: Positions of the other folds' samples and of each fold's own; by default `parts`,
            which looks at the labels only to share the classes out.
    """
    folds = list(parts(target, plan)) if folds is None else folds
    probes, features = {}, {}
    for number, (name, X) in enumerate(layers.items()):
        probes[name] = _fit(X, target, plan, number, 0)
        held_out = np.empty((len(X), probes[name].width))
        for fold, (train, test) in enumerate(folds, 1):
            probe = _fit(X[train], target.rows(train), plan, number, fold)
            # With fewer samples than vectors a fold may span less than all samples do.
            held_out[test] = _padded(probe.features(X[test]), held_out.shape[1])
        features[name] = held_out
    return CrossFit(probes, features)


def parts(target: Target, plan: Plan) -> Iterator[tuple[Indices, Indices]]:
    """Positions of the other folds' samples and of each fold's own.

    Raises:
        ValueError: If a class, or a numeric concept, has fewer samples than there are folds.
    """
    kind = StratifiedKFold if target.classes else KFold
    splitter = kind(plan.folds, shuffle=True, random_state=plan.seed)
    yield from splitter.split(np.empty((len(target), 1)), target.index if target.classes else None)


def _fit(X: Any, target: Target, plan: Plan, layer: int, fold: int) -> Probe:
    generator = np.random.default_rng([plan.seed, layer, fold])
    return fit_probe(
        plan.probe,
        X,
        target,
        plan.vectors,
        generator,
        settle=plan.settle,
        features=plan.features,
    )


def _padded(features: Numbers, width: int) -> Numbers:
    missing = max(0, width - features.shape[1])
    return np.pad(features, ((0, 0), (0, missing)))[:, :width]
