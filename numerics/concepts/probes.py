"""Concept vectors of one layer: what direction in its states goes with a label.

- "rfm": the top eigenvectors of the AGOP of a recursive feature machine (paper A).
- "linear": the coefficients of a ridge regression.
- "logistic": the coefficients of a logistic regression.
- "mean_difference": the mean of a class less the mean of the others.
- "pca": the top eigenvectors of E ΔΔᵀ, Δ the difference of two states of different classes, over
  all such pairs. It is not centred, as the differences' mean is what is sought.

What a probe says of a state is its projections onto these vectors, or the probe's own prediction.
The two differ for "rfm", whose machine is not a function of a few projections, and by a factor and
a constant for "linear" and "logistic"; "mean_difference" and "pca" have projections only.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgWarning

from ..rfm.machine import Machine
from ..validation import choice
from .axes import settled, signed
from .rfm_probe import contiguous, predicted, tuned_machine
from .targets import Numbers, Target, two_parts

VECTORS = 5
"""Vectors of a layer where a probe finds as many as one likes."""
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""λ of the linear probe: (XᵀX + λI)w = XᵀY with centred X and Y, as in paper A's code."""
PENALTIES = (1e3, 1e2, 1e1, 1.0, 1e-1, 1e-2)
"""C of the logistic probe, as in paper A's code."""
ASIDE = 0.2
"""Share of the samples that chooses parameters, apart from those that vectors are learned from."""

FEATURES = ("projections", "predictions")
"""What a probe says of a state."""


@dataclass(frozen=True, eq=False)
class Found:
    """What a finder finds.

    Attributes:
        vectors: Of any length and sign, shape (k, d).
        spectrum: Their eigenvalues, shape (k,), if they are eigenvectors.
        chosen: The parameters that validation chose.
        intercepts: Shape (k,), if the vectors are coefficients of predictions.
        machine: Of "rfm".
    """

    vectors: Numbers
    spectrum: Numbers | None = None
    chosen: Mapping[str, Any] = field(default_factory=dict)
    intercepts: Numbers | None = None
    machine: Machine | None = None


@dataclass(frozen=True, eq=False)
class Probe:
    """The concept in one layer.

    Attributes:
        vectors: Unit vectors, shape (k, d), signed by what is detected; see `axes.signed`.
        directions: One unit vector for two classes or a numeric concept, shape (1, d), that of the
            second class or of larger numbers; for C > 2 one for each class, shape (C, d).
        axes: What states are projected onto, shape (k, d): the vectors, or settled axes of their
            span, see `axes.settled`; for predictions the coefficients of "linear" and "logistic".
        mean: The states' mean, shape (d,), which is taken off before.
        offset: What is added to the projections, shape (k,).
        chosen: The parameters that validation chose.
        machine: For predictions that of "rfm", which holds a copy of the states it was fitted to.
    """

    vectors: Numbers
    directions: Numbers
    axes: Numbers
    mean: Numbers
    offset: Numbers
    chosen: Mapping[str, Any] = field(default_factory=dict)
    machine: Machine | None = None

    @property
    def width(self) -> int:
        """How many features there are."""
        return len(self.axes) if self.machine is None else self.machine.alpha.shape[1]

    def features(self, X: NDArray[Any]) -> Numbers:
        """Projections or predictions, shape (n, width)."""
        if self.machine is not None:
            return predicted(self.machine, X)
        features: Numbers = (X.astype(np.float64) - self.mean) @ self.axes.T + self.offset
        return features


def fit_probe(
    kind: str,
    X: NDArray[Any],
    target: Target,
    vectors: int | None,
    generator: np.random.Generator,
    *,
    settle: bool = True,
    features: str = "projections",
) -> Probe:
    """Learn the vectors of one layer.

    Args:
        kind: See `PROBES`.
        X: States, shape (n, d).
        target: Of the n samples.
        vectors: How many vectors "rfm" and "pca" give, d at most; by default `VECTORS`.
        generator: Of the parts that choose parameters.
        settle: Whether states are projected onto settled axes; False takes the vectors themselves.
        features: See `FEATURES`.
    """
    finder = FINDERS[choice("probe", kind, PROBES)]
    predicts = choice("features", features, FEATURES) == "predictions"
    found = finder(X, target, vectors or VECTORS, generator)
    unit = signed(_unit(found.vectors), X, target)
    axes, offset = unit, np.zeros(len(unit))
    if settle and found.spectrum is not None:
        axes = settled(unit, found.spectrum, X, target)
    if predicts and found.intercepts is not None:
        axes, offset = found.vectors, found.intercepts
    mean = X.mean(axis=0, dtype=np.float64)
    directions = _directions(unit, X, target, eigen=found.spectrum is not None)
    unit, directions, axes = map(np.ascontiguousarray, (unit, directions, axes))
    machine = contiguous(found.machine) if predicts and found.machine is not None else None
    return Probe(unit, directions, axes, mean, offset, found.chosen, machine)


def _unit(vectors: NDArray[Any]) -> Numbers:
    rows = np.asarray(vectors, dtype=np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    rows = rows / np.where(largest > 0, largest, 1)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def _directions(unit: Numbers, X: NDArray[Any], target: Target, *, eigen: bool) -> Numbers:
    """The first vector; for C > 2 each class's own vector, or its mean's shift in their span.

    A class's own vector is signed by that class, and not by one with which it correlates more.
    """
    if target.classes <= 2:
        return unit[:1]
    shifts = _mean_shifts(X, target)
    if not eigen:
        return unit * np.where((shifts * unit).sum(axis=1) < 0, -1.0, 1.0)[:, None]
    return _unit(shifts @ unit.T @ unit)


def _mean_shifts(X: NDArray[Any], target: Target) -> Numbers:
    """Mean of each class less that of all others, shape (C, d); for two classes the second's."""
    shape = (max(target.classes, 2), X.shape[1])
    means, counts = np.zeros(shape), np.bincount(target.index, minlength=shape[0])
    for c in range(len(means)):
        means[c] = X[target.index == c].mean(axis=0, dtype=np.float64)
    total = counts @ means
    rest = (total - counts[:, None] * means) / (len(X) - counts)[:, None]
    shifts = means - rest
    return shifts[1:] if target.classes == 2 else shifts


def _rfm(X: NDArray[Any], target: Target, k: int, generator: np.random.Generator) -> Found:
    machine, chosen = tuned_machine(X, target, generator)
    agop = machine.agop.double().cpu().numpy()
    values, vectors = np.linalg.eigh(agop)
    top = slice(None, -min(k, len(values)) - 1, -1)
    return Found(vectors.T[top], values[top], chosen, machine=machine)


def _mean_difference(
    X: NDArray[Any],
    target: Target,
    k: int,  # noqa: ARG001
    generator: np.random.Generator,  # noqa: ARG001
) -> Found:
    return Found(_mean_shifts(X, target))


def _pca(
    X: NDArray[Any],
    target: Target,
    k: int,
    generator: np.random.Generator,  # noqa: ARG001
) -> Found:
    """From rows F with FᵀF = E ΔΔᵀ over the pairs of different classes."""
    k = min(k, X.shape[1])
    rows = _pair_rows(X.astype(np.float64), target)
    if len(rows) >= X.shape[1]:
        values, vectors = np.linalg.eigh(rows.T @ rows)
        return Found(vectors.T[: -k - 1 : -1], values[: -k - 1 : -1])
    _, singular, right = np.linalg.svd(rows, full_matrices=False)
    k = min(k, len(right))
    return Found(right[:k], singular[:k] ** 2)


def _pair_rows(X: Numbers, target: Target) -> Numbers:
    """E ΔΔᵀ = Σ_c w_c Cov_c + Σ_{c<e} w_ce (m_c − m_e)(m_c − m_e)ᵀ as a product of rows."""
    groups = [X[target.index == c] for c in range(target.classes)]
    sizes = np.array([len(group) for group in groups], dtype=np.float64)
    pairs = (len(X) ** 2 - (sizes**2).sum()) / 2
    means = [group.mean(axis=0) for group in groups]
    rows = [
        (group - mean) * np.sqrt((len(X) - size) / pairs)
        for group, mean, size in zip(groups, means, sizes, strict=True)
    ]
    for c in range(len(groups)):
        for e in range(c):
            rows.append(((means[c] - means[e]) * np.sqrt(sizes[c] * sizes[e] / pairs))[None])
    return np.concatenate(rows)


def _linear(
    X: NDArray[Any],
    target: Target,
    k: int,  # noqa: ARG001
    generator: np.random.Generator,
) -> Found:
    def fit(X: Numbers, target: Target, ridges: tuple[float, ...]) -> list[Fit]:
        return ridge_path(X, target.outputs, ridges)

    return _tuned(fit, X, target, RIDGES, "ridge", generator)


def _logistic(
    X: NDArray[Any],
    target: Target,
    k: int,  # noqa: ARG001
    generator: np.random.Generator,
) -> Found:
    return _tuned(logistic_path, X, target, PENALTIES, "C", generator)


Fit = tuple[Numbers, Numbers]
"""Coefficients (c, d) and intercepts (c,)."""
Path = Callable[[Numbers, Target, tuple[float, ...]], list[Fit]]
"""From centred states and their target to the fit of each parameter."""


def _tuned(
    path: Path,
    X: NDArray[Any],
    target: Target,
    grid: tuple[float, ...],
    name: str,
    generator: np.random.Generator,
) -> Found:
    """Coefficients on all samples with the parameter that is best on some of them; else the middle.

    Of equally good parameters the one that shrinks most is taken.
    """
    X = X.astype(np.float64)
    best = grid[len(grid) // 2]
    if target.smallest_class() > 1:
        kept, aside = two_parts(target, ASIDE, generator)
        origin, judge = X[kept].mean(axis=0), target.rows(aside)
        fits = path(X[kept] - origin, target.rows(kept), grid)
        errors = [judge.error((X[aside] - origin) @ w.T + b) for w, b in fits]
        shrinking = sorted(range(len(grid)), key=lambda i: grid[i], reverse=name == "ridge")
        best = grid[min(shrinking, key=lambda i: errors[i])]
    coefficients, intercepts = path(X - X.mean(axis=0), target, (best,))[0]
    return Found(coefficients, None, {name: best}, intercepts)


def ridge_path(X: Numbers, Y: Numbers, ridges: tuple[float, ...]) -> list[Fit]:
    """Ridge regressions on centred states, one for each λ.

    One eigendecomposition, of XᵀX or XXᵀ, whichever is smaller, serves all.
    """
    mean = Y.mean(axis=0)
    Y = Y - mean
    if X.shape[1] <= len(X):
        values, vectors = np.linalg.eigh(X.T @ X)
        inside = vectors.T @ (X.T @ Y)
        return [((vectors @ _shrunk(inside, values, ridge)).T, mean) for ridge in ridges]
    values, vectors = np.linalg.eigh(X @ X.T)
    inside = vectors.T @ Y
    return [((X.T @ (vectors @ _shrunk(inside, values, ridge))).T, mean) for ridge in ridges]


def _shrunk(inside: Numbers, values: Numbers, ridge: float) -> Numbers:
    return inside / (values.clip(min=0) + ridge)[:, None]


def logistic_path(X: Numbers, target: Target, penalties: tuple[float, ...]) -> list[Fit]:
    """Logistic regressions on centred states, one for each penalty.

    The solution lies in the span of the states: with more dimensions than samples the fit is done
    in the coordinates of that span, which is the same.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    basis, unit = None, _unit_of(X)
    X = X / unit
    if X.shape[1] > len(X):
        _, _, basis = np.linalg.svd(X, full_matrices=False)
        X = X @ basis.T
    solver = "newton-cholesky" if target.classes == 2 else "lbfgs"
    fits = []
    for C in penalties:
        model = LogisticRegression(C=C * unit**2, solver=solver, max_iter=300)
        with warnings.catch_warnings():
            # A slack C that has not converged competes with the others as it is.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", LinAlgWarning)
            model.fit(X, target.index)
        weights = model.coef_ if basis is None else model.coef_ @ basis
        fits.append((weights / unit, model.intercept_))
    return fits


def _unit_of(X: Numbers) -> float:
    """1, or the magnitude of large states, in which the solver keeps its precision."""
    largest = float(np.abs(X).max())
    return largest if largest > 1e3 else 1.0


FINDERS: dict[str, Callable[[NDArray[Any], Target, int, np.random.Generator], Found]] = {
    "rfm": _rfm,
    "linear": _linear,
    "logistic": _logistic,
    "mean_difference": _mean_difference,
    "pca": _pca,
}
PROBES = tuple(FINDERS)
"""The probes by name; numeric concepts have "rfm" and "linear"."""
