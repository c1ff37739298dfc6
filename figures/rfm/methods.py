"""Variants of the recursive feature machine that several figures show, and kernel ridge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from numerics.alignment.data import Sample
from numerics.rfm.estimators import RFMRegressor

from ..style import BLACK, BLUE, DASHED, DOTTED, GREEN, ORANGE, SOLID, Dashes, Look

RIDGE_LOOK = Look(BLACK, DOTTED, "D")


@dataclass(frozen=True, eq=False)
class Method:
    """A recursive feature machine's options, with its name, its look and its label."""

    name: str
    options: Mapping[str, Any]
    look: Look
    label: str

    def machine(self, **more: Any) -> RFMRegressor:
        """The estimator, without an intercept: targets of these figures have mean 0."""
        return RFMRegressor(**self.options, **more, fit_intercept=False, progress=False)


def _method(
    name: str, options: Mapping[str, Any], colour: str, dashes: Dashes, mark: str, label: str
) -> Method:
    return Method(name, options, Look(colour, dashes, mark), label)


WHOLE = _method("AGOP", {}, BLUE, SOLID, "o", r"$M = \mathrm{AGOP}$")
ROOT = _method("root", {"exponent": 0.5}, ORANGE, DASHED, "s", r"$M = \mathrm{AGOP}^{1/2}$")
DIAGONAL = _method(
    "diagonal", {"diagonal": True}, GREEN, (0, (5, 1.2, 1, 1.2)), "^",
    r"$M = \mathrm{diag}(\mathrm{AGOP})$",
)  # fmt: skip

BANDWIDTHS, RIDGES = (10.0, 100.0), (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def kernel_ridge_error(train: Sample, validation: Sample, test: Sample) -> float:
    """Test error of kernel ridge regression; its bandwidth and ridge are chosen on validation."""
    found = []
    for bandwidth in BANDWIDTHS:
        kernel = [_laplace(s.inputs, train.inputs, bandwidth) for s in (train, validation, test)]
        values, vectors = np.linalg.eigh(kernel[0])
        rotated = vectors.T @ train.targets
        for ridge in RIDGES:
            alpha = vectors @ (rotated / (values + ridge))
            errors = [
                float(np.mean((k @ alpha - s.targets) ** 2))
                for k, s in zip(kernel[1:], (validation, test), strict=True)
            ]
            found.append((errors[0], errors[1]))
    return min(found)[1]


def _laplace(X: Any, Z: Any, bandwidth: float) -> Any:
    from scipy.spatial.distance import cdist

    return np.exp(-cdist(X, Z) / bandwidth)


def cut(sample: Sample, n: int) -> tuple[Sample, Sample]:
    """The first n samples, and the others."""
    return (
        Sample(sample.inputs[:n], sample.targets[:n]),
        Sample(sample.inputs[n:], sample.targets[n:]),
    )
