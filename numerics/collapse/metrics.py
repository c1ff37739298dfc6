"""Neural collapse of features: NC1, their variability, and NC2, the geometry of the class means.

With class means μ_c, the mean μ of the K class means, and n samples in all,

- tr Σ_W = (1/n) Σ_i ‖x_i − μ_c(i)‖², every sample alike;
- tr Σ_B = (1/K) Σ_c ‖μ_c − μ‖², every class alike;
- NC1 = tr Σ_W / tr Σ_B ("standard"), or the same over K ("released": paper B's script);
- NC2 is the mean squared entry of ŨŨᵀ − E, with rows ũ_c = (μ_c − μ)/‖μ_c − μ‖ and the Gram
  matrix E of the simplex frame: 1 on the diagonal and −1/(K − 1) off it.

Only traces are computed, never a (d, d) covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..alignment.checks import as_tensor
from ..validation import choice
from .moments import ClassMoments

NORMALISATIONS = ("standard", "released")
"""How NC1 is normalised; the released script of paper B divides by the number of classes."""

Labels: TypeAlias = ArrayLike | Tensor


@dataclass(frozen=True)
class Collapse:
    """How collapsed features are.

    Attributes:
        within: tr Σ_W.
        between: tr Σ_B.
        nc1: tr Σ_W / tr Σ_B; None where all class means coincide, so that it is infinite.
        nc2: Distance of the class means from a simplex frame; None where a class mean is the mean
            of all, so that it has no direction.
    """

    within: float
    between: float
    nc1: float | None
    nc2: float | None


def nc1(
    features: Tensor | ArrayLike,
    labels: Labels,
    *,
    normalisation: str = "standard",
    classes: Sequence[Any] | None = None,
) -> float:
    """tr Σ_W / tr Σ_B: the variability within classes against that between them.

    Besides the features themselves it needs memory for a block of rows and the class means.

    Args:
        features: Shape (n, d), NumPy or torch.
        labels: The class of each sample, shape (n,): numbers or strings.
        normalisation: "standard", or "released": divided by the number of classes.
        classes: All classes, if it is to be refused that one of them has no sample.

    Raises:
        TypeError: If features are not real numbers.
        ValueError: If shapes do not fit together, an entry is NaN or infinite, there is one class
            only, a class has no sample, or all class means coincide.

    >>> nc1([[0.0], [2.0], [10.0], [12.0]], ["a", "a", "b", "b"])  # 1 within, 25 between
    0.04
    """
    choice("normalisation", normalisation, NORMALISATIONS)
    moments = class_moments(features, labels, classes)
    found = collapse_from(moments)
    if found.nc1 is None:
        raise ValueError(f"all {moments.classes} class means coincide: NC1 is infinite")
    return found.nc1 if normalisation == "standard" else found.nc1 / moments.classes


def nc2(
    features: Tensor | ArrayLike, labels: Labels, *, classes: Sequence[Any] | None = None
) -> float:
    """The mean squared entry of ŨŨᵀ − E: 0 if the centred class means are a simplex frame.

    Of two classes it is always 0.

    Args:
        features: Shape (n, d), NumPy or torch.
        labels: The class of each sample, shape (n,): numbers or strings.
        classes: All classes, if it is to be refused that one of them has no sample.

    Raises:
        TypeError: If features are not real numbers.
        ValueError: As in `nc1`, and if a class mean is the mean of all class means.

    >>> nc2(np.eye(3), [0, 1, 2]) < 1e-30
    True
    """
    found = collapse_from(class_moments(features, labels, classes))
    if found.nc2 is None:
        raise ValueError(
            "a class mean coincides with the mean of all class means: it has no direction, and "
            "NC2 is undefined"
        )
    return found.nc2


def collapse_of(
    features: Tensor | ArrayLike, labels: Labels, *, classes: Sequence[Any] | None = None
) -> Collapse:
    """Both metrics and the traces, from one pass; what is undefined is None.

    Args:
        features: Shape (n, d), NumPy or torch.
        labels: The class of each sample, shape (n,): numbers or strings.
        classes: All classes, if it is to be refused that one of them has no sample.

    Raises:
        TypeError: If features are not real numbers.
        ValueError: As in `nc1`, except where class means coincide.
    """
    return collapse_from(class_moments(features, labels, classes))


def class_moments(
    features: Tensor | ArrayLike, labels: Labels, classes: Sequence[Any] | None = None
) -> ClassMoments:
    """Means and scatter of the classes; arguments and errors as in `collapse_of`."""
    matrix = as_tensor("features", features)
    if matrix.is_complex():
        raise TypeError(f"features have dtype {matrix.dtype}, must be real numbers")
    if matrix.ndim != 2 or not matrix.numel():
        raise ValueError(f"features have shape {tuple(matrix.shape)}, must be (n, d), d >= 1")
    index, count = class_index(labels, len(matrix), classes)
    moments = ClassMoments(count)
    moments.add(matrix, index)
    return moments


def class_index(
    labels: Labels, samples: int, classes: Sequence[Any] | None = None
) -> tuple[Tensor, int]:
    """The number of each sample's class, and how many classes there are.

    Raises:
        ValueError: If there is not one label for each sample, a label is NaN or not among the
            classes, there is one class only, a class has no sample, or one is given twice.
    """
    given = _label_array(labels)
    if given.shape != (samples,):
        raise ValueError(f"labels have shape {given.shape}, features have {samples} samples")
    known, index = np.unique(given, return_inverse=True)
    if classes is not None:
        known, index = _among(classes, known, index)
    if len(known) < 2:
        raise ValueError(f"labels hold 1 class, {known[0]!r}; there must be at least 2")
    return torch.from_numpy(index.astype(np.int64)), len(known)


def _label_array(labels: Labels) -> NDArray[Any]:
    if isinstance(labels, Tensor):
        plain = labels.detach().cpu()
        array = (plain.float() if plain.dtype is torch.bfloat16 else plain).numpy()
    else:
        array = np.asarray(labels)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("labels hold NaN or infinite entries, must be finite")
    return array


def _among(
    classes: Sequence[Any], found: NDArray[Any], index: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The classes in their given order, and the samples' numbers among them."""
    given, present = list(classes), found.tolist()
    if twice := [label for i, label in enumerate(given) if label in given[:i]]:
        raise ValueError(f"classes = {given} must be different, {twice[0]!r} is there twice")
    if strange := [label for label in present if label not in given]:
        raise ValueError(f"labels hold {strange[0]!r}, which is not among classes = {given}")
    if empty := [label for label in given if label not in present]:
        raise ValueError(f"class {empty[0]!r} has no sample")
    places = np.array([given.index(label) for label in present])
    return np.array(given), places[index]


def collapse_from(moments: ClassMoments) -> Collapse:
    """The metrics of moments to which all samples have been added."""
    centred = moments.means - moments.means.mean(dim=0)
    squares = centred.square().sum(dim=1)
    n = float(moments.counts.sum())
    within, between = moments.scatter / n, float(squares.mean())
    # Means that agree to rounding: 32 units in the last place of the features' typical size.
    rounding = (32 * torch.finfo(torch.float64).eps) ** 2 * moments.size / n
    first = within / between if between > rounding else None
    second = _to_simplex(centred / squares.sqrt()[:, None]) if squares.min() > rounding else None
    return Collapse(within, between, first, second)


def _to_simplex(directions: Tensor) -> float:
    """NC2 of unit vectors, shape (K, d)."""
    count = len(directions)
    frame = torch.full((count, count), -1 / (count - 1), dtype=torch.float64)
    frame.fill_diagonal_(1.0)
    gram = directions @ directions.T
    return float((gram - frame.to(gram.device)).square().mean())
