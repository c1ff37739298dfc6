"""Recursive feature machines: kernel ridge regression whose metric is the AGOP of the last round.

Round t solves (K_M + λI)α = Y, and the AGOP of f(x) = Σ_i α_i K_M(x, x_i) becomes the next M;
round 0 has M = I. With validation data the best round is kept, round 0 being a candidate; without,
the last.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ..validation import choice, integer, nonnegative, positive
from .bandwidths import median_bandwidth
from .blocks import slices
from .checks import Pair, check_points, check_targets
from .kernel_agop import CENTRINGS
from .kernel_base import InnerProductKernel, Kernel
from .kernels import Laplace
from .learned_metric import NORMALISATIONS, Metric, identity_metric, metric_from_agop
from .metric import distinct_rows
from .systems import SOLVERS, System, system_by_name

Score = Callable[[Tensor, Tensor], float]
"""From predictions and targets, both (n, outputs), to an error; smaller is better."""


@dataclass(frozen=True)
class Recipe:
    """How a recursive feature machine is fitted.

    Attributes:
        kernel: K, with its bandwidth.
        median_bandwidth: In each round the bandwidth is the median distance under that round's M,
            so that the normalisation of M plays no role.
        ridge: λ ≥ 0, added to the diagonal, not scaled by n.
        rounds: How many metrics are learned; 0 is kernel ridge regression.
        diagonal: Learn a diagonal M.
        centring: Which mean is removed from the gradients; see `CENTRINGS`.
        normalisation: What the AGOP is divided by; see `NORMALISATIONS`.
        exponent: Power of the AGOP, > 0.
        patience: Stop after so many rounds without a better validation error; None never stops.
        solver: "exact" or "iterative"; see `SOLVERS`.

    Raises:
        TypeError: If an attribute has the wrong type.
        ValueError: If a number is out of its range or a name unknown.
    """

    kernel: Kernel = field(default_factory=Laplace)
    median_bandwidth: bool = False
    ridge: float = 1e-3
    rounds: int = 5
    diagonal: bool = False
    centring: str = "none"
    normalisation: str = "largest_entry"
    exponent: float = 1.0
    patience: int | None = None
    solver: str = "exact"

    def __post_init__(self) -> None:
        if not isinstance(self.kernel, Kernel):
            raise TypeError(f"kernel = {self.kernel!r} must be a Kernel; see kernel_by_name")
        # Numbers become Python's own: torch knows no fractions.
        object.__setattr__(self, "ridge", nonnegative("ridge", self.ridge))
        object.__setattr__(self, "exponent", positive("exponent", self.exponent))
        integer("rounds", self.rounds, 0)
        choice("centring", self.centring, CENTRINGS)
        choice("normalisation", self.normalisation, NORMALISATIONS)
        choice("solver", self.solver, SOLVERS)
        if self.patience is not None:
            integer("patience", self.patience, 1)


@dataclass(frozen=True, eq=False)
class Round:
    """What one round found.

    Attributes:
        number: 0 for M = I.
        error: On the validation data; None without.
        bandwidth: L of this round's kernel.
        spectrum: Eigenvalues of this round's M, largest first, shape (d,).
    """

    number: int
    error: float | None
    bandwidth: float
    spectrum: np.ndarray[tuple[int], np.dtype[np.floating]]


@dataclass(frozen=True, eq=False)
class Machine:
    """A fitted recursive feature machine.

    Attributes:
        kernel: Of the chosen round.
        alpha: Coefficients, shape (n, outputs).
        centres: Training points, shape (n, d).
        metric: M of the chosen round.
        agop: AGOP of this predictor at the training points, (d, d), or (d,) if M is diagonal.
        chosen: Number of the round.
        history: All rounds.
    """

    kernel: Kernel
    alpha: Tensor
    centres: Tensor
    metric: Metric
    agop: Tensor
    chosen: int
    history: tuple[Round, ...] = ()

    def predict(self, X: Tensor) -> Tensor:
        """f(x), shape (n, outputs), for X of shape (n, d).

        Raises:
            TypeError: If X is not a floating tensor of the centres' dtype.
            ValueError: If the dimension is another, an entry is NaN or infinite, or squared
                distances overflow.
        """
        check_points("X", X)
        if X.dtype != self.centres.dtype:
            raise TypeError(f"X is {X.dtype}, the training points are {self.centres.dtype}")
        if X.shape[1] != self.centres.shape[1]:
            raise ValueError(f"X has shape {tuple(X.shape)}, must be (n, {self.centres.shape[1]})")
        near = self.kernel.centred(Pair(X, self.centres))
        seen, centres = self.metric.map(near.X), self.metric.map(near.Z)
        values = _values(self.kernel, seen, centres, self.alpha)
        if not torch.isfinite(values).all():
            raise ValueError(
                f"predictions are beyond the range of {X.dtype}, as entries of X reach "
                f"{float(X.abs().max()):.3g}: they are too far from the training points"
            )
        return values

    def to(self, device: torch.device | str) -> Machine:
        """The same machine on another device."""
        alpha, centres, agop = (t.to(device) for t in (self.alpha, self.centres, self.agop))
        metric = self.metric.to(device)
        return replace(self, alpha=alpha, centres=centres, metric=metric, agop=agop)


def mean_squared_error(predictions: Tensor, targets: Tensor) -> float:
    """Mean over samples and outputs of (f − y)²."""
    return float((predictions - targets).square().mean())


def fit_rfm(
    X: Tensor,
    Y: Tensor,
    recipe: Recipe | None = None,
    *,
    validation: tuple[Tensor, Tensor] | None = None,
    score: Score = mean_squared_error,
    seed: int = 0,
    progress: Callable[[Round], object] | None = None,
) -> Machine:
    """Fit a recursive feature machine.

    If an AGOP is zero (a constant predictor), there is no next metric and the rounds end.

    Args:
        X: Training points, shape (n, d).
        Y: Targets, shape (n,) or (n, outputs).
        recipe: How; by default Laplace's kernel, L = 10, λ = 1e-3, 5 rounds.
        validation: Points and targets by which the round is chosen.
        score: The validation error.
        seed: Of what is drawn: points for the median, landmarks of the iterative solver.
        progress: Called with each round when it is over.

    Raises:
        TypeError: If a tensor is not floating, or dtypes or devices differ.
        ValueError: If shapes do not fit together, an entry is NaN or infinite, or kernel values, an
            AGOP or a metric are beyond the range of their dtype.
        numpy.linalg.LinAlgError: If a round's matrix is singular; the message names what mends it.
        MemoryError: If the exact solver's matrix does not fit into memory.
    """
    recipe = Recipe() if recipe is None else recipe
    X, Y = _check_sample("X", X, Y)
    if validation is not None:
        validation = _check_sample("X_val", *validation)
        _check_alike(X, Y, *validation)
    # The machine keeps a copy of X, so that it is safe from what is done to X later.
    return _Fit(recipe, X.clone(), Y, validation, score, seed).run(progress)


class _Fit:
    """The state of one fit: data that stay, and the best machine so far."""

    def __init__(
        self,
        recipe: Recipe,
        X: Tensor,
        Y: Tensor,
        validation: tuple[Tensor, Tensor] | None,
        score: Score,
        seed: int,
    ) -> None:
        self.recipe, self.X, self.Y = recipe, X, Y
        self.validation, self.score = validation, score
        self.generator = torch.Generator().manual_seed(seed)
        self.system: System = system_by_name(recipe.solver, X, seed)
        near = recipe.kernel.centred(Pair(X if validation is None else validation[0], X))
        self.near_validation = near.X
        self.distinct, self.places = distinct_rows(near.Z)
        self.history: list[Round] = []
        self.best: Machine
        self.lowest = float("inf")

    def run(self, progress: Callable[[Round], object] | None) -> Machine:
        metric: Metric | None = identity_metric(self.X)
        for number in range(self.recipe.rounds + 1):
            if metric is None:
                break
            machine, error = self._round(number, metric)
            self._keep(machine, error)
            if progress is not None:
                progress(self.history[-1])
            if self._stalled():
                break
            metric = metric_from_agop(
                machine.agop,
                exponent=self.recipe.exponent,
                normalisation=self.recipe.normalisation,
            )
        return replace(self.best, history=tuple(self.history))

    def _round(self, number: int, metric: Metric) -> tuple[Machine, float | None]:
        recipe, points = self.recipe, self._mapped(metric)
        kernel = self._kernel(points)
        _check_range(kernel, points, number)
        self.system.fill(kernel, points, recipe.ridge)
        try:
            alpha = self.system.solve(self.Y, recipe.ridge)
        except np.linalg.LinAlgError as error:
            raise np.linalg.LinAlgError(f"round {number}: {error}") from None
        agop = metric.pull(self.system.agop(alpha, recipe.centring, recipe.diagonal))
        if not torch.isfinite(agop).all():
            raise ValueError(
                f"round {number}: the AGOP is beyond the range of {agop.dtype}: rescale the "
                "targets or the samples, or use float64"
            )
        machine = Machine(kernel, alpha, self.X, metric, agop, number)
        return machine, self._error(machine, points)

    def _mapped(self, metric: Metric) -> Tensor:
        """The points in the metric's coordinates; equal ones stay equal, see `map_rows`."""
        mapped = metric.map(self.distinct)
        return mapped if self.places is None else mapped[self.places]

    def _kernel(self, points: Tensor) -> Kernel:
        kernel = self.recipe.kernel
        if not self.recipe.median_bandwidth:
            return kernel
        return replace(kernel, bandwidth=median_bandwidth(kernel, points, self.generator))

    def _error(self, machine: Machine, points: Tensor) -> float | None:
        if self.validation is None:
            return None
        seen = machine.metric.map(self.near_validation)
        return self.score(_values(machine.kernel, seen, points, machine.alpha), self.validation[1])

    def _keep(self, machine: Machine, error: float | None) -> None:
        spectrum = machine.metric.spectrum.cpu().numpy()
        self.history.append(Round(machine.chosen, error, machine.kernel.bandwidth, spectrum))
        if error is None or error < self.lowest or not machine.chosen:
            self.best = machine
            self.lowest = float("inf") if error is None or math.isnan(error) else error

    def _stalled(self) -> bool:
        patience = self.recipe.patience
        if patience is None or self.validation is None:
            return False
        return len(self.history) - 1 - self.best.chosen >= patience


def _check_range(kernel: Kernel, points: Tensor, number: int) -> None:
    """Refuse points whose kernel values overflow: the largest ones are those of K(x, x)."""
    norms = points.square().sum(dim=1)
    if isinstance(kernel, InnerProductKernel):
        norms = kernel.values_(norms * kernel.bandwidth**-2)
    if not torch.isfinite(4 * norms.max()):
        raise ValueError(
            f"round {number}: the kernel matrix is beyond the range of {points.dtype}, as entries "
            f"of X reach {float(points.abs().max()):.3g}: rescale the samples"
        )


def _values(kernel: Kernel, X: Tensor, Z: Tensor, alpha: Tensor) -> Tensor:
    """K(X, Z)α block by block; the metric is the identity."""
    values = X.new_zeros(len(X), alpha.shape[1])
    for rows in slices(len(X), X.device):
        for columns in slices(len(Z), X.device):
            block = kernel.values_(kernel.pairs(Pair(X[rows], Z[columns])))
            values[rows].addmm_(block, alpha[columns])
    return values


def _check_sample(name: str, X: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
    X = check_points(name, X)
    return X, check_targets(name, X, Y)


def _check_alike(X: Tensor, Y: Tensor, X_val: Tensor, Y_val: Tensor) -> None:
    if X_val.dtype != X.dtype or X_val.device != X.device:
        raise TypeError(f"X is {X.dtype} on {X.device}, X_val {X_val.dtype} on {X_val.device}")
    if X_val.shape[1] != X.shape[1] or Y_val.shape[1] != Y.shape[1]:
        raise ValueError(
            f"X_val has shape {tuple(X_val.shape)} and Y_val {tuple(Y_val.shape)}, must have "
            f"{X.shape[1]} features and {Y.shape[1]} outputs"
        )
