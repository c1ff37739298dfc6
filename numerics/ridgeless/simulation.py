"""Monte Carlo over noise and over designs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.fft import irfftn, rfftn

from ..monte_carlo import Estimate, collect, estimate
from ..validation import (
    ComplexArray,
    RealArray,
    choice,
    data,
    integer,
    nonnegative,
    positive,
)
from .designs import grid, jittered_grid, uniform_design
from .high_precision import exact_risk_mp
from .interpolation import SingularSystemError, System, factorise, kernel_matrix
from .periodic import PeriodicKernel
from .profiles import Profile, ProfileLike, as_profile
from .quadrature import cell_rule
from .risk import exact_risk
from .targets import Target, target_function

NOISES = ("gaussian", "rademacher")
METHODS = ("fft", "dense")
DESIGNS = ("grid", "jittered", "uniform")
QUADRATURE_TOLERANCE = 1e-6


# --- noise on the grid ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _GridExperiment:
    """Kernel regression on the grid, scored at the test points x = (j + δ_q)/n.

    Subclasses answer one question: which predictions at the grid moved by δ_q/n follow from given
    data on the grid. Data and predictions have shape (count, N).
    """

    profile: Profile
    n: int
    bandwidth: float
    ridge: float
    order: int

    @property
    def dimension(self) -> int:
        return self.profile.dimension

    @property
    def kernel(self) -> PeriodicKernel:
        return PeriodicKernel(self.profile, self.bandwidth)

    @cached_property
    def shifts(self) -> tuple[RealArray, RealArray]:
        """Offsets δ_q/n, shape (Q, d), and weights that sum to 1: quadrature over one cell."""
        grading = 1 if self.profile.smooth_in_distance else 3
        nodes, weights = cell_rule(self.dimension, self.order, grading)
        return nodes / self.n, weights

    def predictor(self, values: RealArray) -> Callable[[int], RealArray]:
        """The map q -> predictions from the data."""
        raise NotImplementedError

    def squared_errors(self, noise: RealArray, bias: list[ComplexArray]) -> RealArray:
        """∫ |f̂ - f*|² dx for each noise vector, shape (count,)."""
        predict = self.predictor(noise)
        total = np.zeros(len(noise))
        for q, weight in enumerate(self.shifts[1]):
            error = predict(q)
            error += bias[q].real
            squares = np.einsum("bj,bj->b", error, error) + np.sum(bias[q].imag ** 2)
            total += weight * squares / noise.shape[1]
        return total

    def biases(self, target: Target) -> list[ComplexArray]:
        """f̂ - f* without noise at the test points, one array (N,) for every shift."""
        function, x = target_function(target, self.dimension), grid(self.n, self.dimension)
        values = function(x)
        predict = self.predictor(np.stack([values.real, values.imag]))
        predictions = (predict(q) for q in range(len(self.shifts[1])))
        offsets = self.shifts[0]
        return [
            p[0] + 1j * p[1] - function(x + s) for p, s in zip(predictions, offsets, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class _Dense(_GridExperiment):
    """Build the matrices, factorise once, solve and multiply: the obvious way."""

    @cached_property
    def system(self) -> System:
        x = grid(self.n, self.dimension)
        return factorise(kernel_matrix(self.profile, x, x, self.bandwidth), self.ridge)

    @cached_property
    def rows(self) -> list[RealArray]:
        x = grid(self.n, self.dimension)
        return [kernel_matrix(self.profile, x + s, x, self.bandwidth) for s in self.shifts[0]]

    def predictor(self, values: RealArray) -> Callable[[int], RealArray]:
        coefficients = self.system.solve(values.T)
        return lambda q: np.asarray((self.rows[q] @ coefficients).T)


@dataclass(frozen=True, eq=False)
class _Circulant(_GridExperiment):
    """The same linear algebra with circulant matrices: products and solves by FFT.

    On the grid both K and the matrix (φ_h(x_i + δ - x_j))_{ij} depend on i - j mod n alone, and the
    discrete Fourier transform diagonalises such matrices, whatever the kernel.
    """

    @cached_property
    def eigenvalues(self) -> ComplexArray:
        values = self._transform(self._column(np.zeros(self.dimension)))
        smallest, largest = np.min(values.real + self.ridge), np.max(values.real + self.ridge)
        if smallest <= np.finfo(np.float64).eps * largest:
            raise SingularSystemError(
                f"K + ridge I on the grid n = {self.n} with ridge = {self.ridge!r} is singular to "
                f"working precision (eigenvalues {smallest:.1e} to {largest:.1e}): add a ridge, "
                "choose a smaller bandwidth, or use exact_risk_mp with enough digits"
            )
        return np.asarray(values.real + self.ridge)

    @cached_property
    def symbols(self) -> list[ComplexArray]:
        return [self._transform(self._column(s)) for s in self.shifts[0]]

    def predictor(self, values: RealArray) -> Callable[[int], RealArray]:
        coefficients = self._transform(values) / self.eigenvalues
        return lambda q: self._back(coefficients * self.symbols[q])

    def _column(self, shift: RealArray) -> RealArray:
        return self.kernel(grid(self.n, self.dimension) + shift)

    def _transform(self, values: RealArray) -> ComplexArray:
        axes = range(-self.dimension, 0)
        shape = (*values.shape[:-1], *[self.n] * self.dimension)
        return np.asarray(rfftn(values.reshape(shape), axes=tuple(axes)))

    def _back(self, values: ComplexArray) -> RealArray:
        axes = tuple(range(-self.dimension, 0))
        result = irfftn(values, s=[self.n] * self.dimension, axes=axes, overwrite_x=True)
        return np.asarray(result.reshape(len(values), -1))


def _experiment(
    profile: ProfileLike,
    n: int,
    dimension: int,
    bandwidth: float,
    ridge: float,
    order: int,
    method: str,
) -> _GridExperiment:
    integer("n", n, 2)
    nonnegative("ridge", ridge)
    kind = {"fft": _Circulant, "dense": _Dense}[choice("method", method, METHODS)]
    if integer("dimension", dimension, 1) > 3:
        raise ValueError(f"dimension = {dimension!r} must be 1, 2 or 3")
    used = as_profile(profile, dimension)
    return kind(used, n, positive("bandwidth", bandwidth), ridge, integer("order", order, 1))


def squared_errors(
    profile: ProfileLike,
    n: int,
    bandwidth: float,
    target: Target,
    noise: ArrayLike,
    ridge: float = 0.0,
    *,
    dimension: int = 1,
    order: int = 6,
    method: str = "fft",
) -> RealArray:
    """∫ |f̂ - f*|² dx on the grid for each of the given noise vectors.

    Args:
        profile: A Profile, a name, or a radial function.
        n: Points per side of the grid, N = n^d.
        bandwidth: h > 0 in units of the torus.
        target: f*, as for `exact_risk`.
        noise: Real noise vectors, shape (count, N).
        ridge: λ >= 0.
        dimension: d <= 3.
        order: Gauss–Legendre points per variable of the quadrature in x.
        method: "fft" (circulant matrices) or "dense" (the same numbers the obvious way).

    Returns:
        Squared errors, shape (count,).

    Raises:
        SingularSystemError: If K + λI is singular to working precision.
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, or the noise has another shape or NaN or inf.
    """
    experiment = _experiment(profile, n, dimension, bandwidth, ridge, order, method)
    vectors = data("noise", noise, len(np.atleast_1d(np.asarray(noise))))
    if vectors.shape[1:] != (n**dimension,) or np.iscomplexobj(vectors):
        raise ValueError(f"noise has shape {vectors.shape}, must be real (count, {n**dimension})")
    return experiment.squared_errors(vectors, experiment.biases(target))


@dataclass(frozen=True, eq=False)
class _NoisyErrors:
    """Draws noise and returns the squared errors."""

    experiment: _GridExperiment
    bias: list[ComplexArray]
    noise: str
    scale: float

    def __call__(self, rng: np.random.Generator, count: int) -> RealArray:
        shape = (count, self.experiment.n**self.experiment.dimension)
        if self.noise == "gaussian":
            standard = np.asarray(rng.standard_normal(shape), dtype=np.float64)
        else:
            standard = 2.0 * rng.integers(0, 2, shape).astype(np.float64) - 1.0
        return self.experiment.squared_errors(self.scale * standard, self.bias)


def monte_carlo_risk(
    profile: ProfileLike,
    n: int,
    bandwidth: float,
    target: Target,
    noise_variance: float = 1.0,
    ridge: float = 0.0,
    *,
    draws: int,
    rng: int | np.random.Generator,
    dimension: int = 1,
    noise: str = "gaussian",
    order: int = 6,
    method: str = "fft",
    block: int = 256,
    n_jobs: int = 1,
) -> Estimate:
    """Estimate the risk on the grid by drawing noise, fitting, and measuring the squared error.

    Every draw is one data set; its squared error is integrated over the torus by quadrature, so
    that the draws are independent and identically distributed.

    Args:
        profile: A Profile, a name, or a radial function.
        n: Points per side of the grid.
        bandwidth: h > 0 in units of the torus.
        target: f*, as for `exact_risk`.
        noise_variance: σ² >= 0.
        ridge: λ >= 0.
        draws: Number of data sets, at least 2.
        rng: A seed or a generator.
        dimension: d <= 3.
        noise: "gaussian" or "rademacher".
        order: Gauss–Legendre points per variable of the quadrature in x.
        method: "fft" or "dense".
        block: Data sets per block.
        n_jobs: Processes, as in joblib; the result does not depend on it.

    Raises:
        SingularSystemError: If K + λI is singular to working precision.
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range.
    """
    experiment = _experiment(profile, n, dimension, bandwidth, ridge, order, method)
    scale = nonnegative("noise_variance", noise_variance) ** 0.5
    bias = experiment.biases(target)
    draw = _NoisyErrors(experiment, bias, choice("noise", noise, NOISES), scale)
    return estimate(draw, draws, rng, block=block, n_jobs=n_jobs)


# --- random designs ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _DesignErrors:
    """Draws designs in one dimension and returns their estimation errors for σ² = 1."""

    profile: Profile
    design: str
    n_points: int
    bandwidth: float
    amount: float
    ridge: float
    dps: int | None
    logarithm: bool

    def __call__(self, rng: np.random.Generator, count: int) -> RealArray:
        values = np.array([self._estimation(self._points(rng)) for _ in range(count)])
        return np.log10(values) if self.logarithm else values

    def _points(self, rng: np.random.Generator) -> RealArray:
        if self.design == "uniform":
            return uniform_design(self.n_points, 1, rng)
        if self.design == "jittered":
            return jittered_grid(self.n_points, 1, rng, self.amount)
        return grid(self.n_points, 1)

    def _estimation(self, x: RealArray) -> float:
        if self.dps is not None:
            risk = exact_risk_mp(
                self.profile, self._exact(x), {}, self.bandwidth, 1, self.ridge, dps=self.dps
            )
            return float(risk.estimation)
        risk_double = exact_risk(self.profile, x, {}, self.bandwidth, 1.0, self.ridge)
        if risk_double.quadrature_error > QUADRATURE_TOLERANCE * risk_double.estimation:
            raise ArithmeticError(
                f"quadrature error {risk_double.quadrature_error:.1e} of an estimation error "
                f"{risk_double.estimation:.1e}: give dps, to integrate adaptively"
            )
        return risk_double.estimation

    def _exact(self, x: RealArray) -> list[Fraction]:
        if self.design == "grid":  # j/n itself, not the double next to it
            return [Fraction(j, self.n_points) for j in range(self.n_points)]
        return [Fraction(float(value)) for value in x[:, 0]]


def design_risk(
    profile: ProfileLike,
    design: str,
    n_points: int,
    bandwidth: float,
    *,
    draws: int,
    rng: int | np.random.Generator,
    amount: float = 1.0,
    ridge: float = 0.0,
    dps: int | None = None,
    logarithm: bool = False,
    block: int = 8,
    n_jobs: int = 1,
) -> Estimate:
    """Average over random designs, in one dimension, the estimation error ∫ |K^{-1} k(x)|² dx.

    The error of every design is exact in the noise (variance 1).

    Args:
        profile: A Profile, a name, or a radial function.
        design: "grid", "jittered" (one point in every cell, within `amount` of it) or "uniform"
            (independent uniform points).
        n_points: Number of points, at least 2.
        bandwidth: h > 0 in units of the torus.
        draws: Number of designs, at least 2.
        rng: A seed or a generator.
        amount: In [0, 1], for "jittered".
        ridge: λ >= 0.
        dps: Decimal digits, for systems that are singular in double precision; None for doubles.
        logarithm: Average log10 of the error instead, where the error has no mean to speak of.
        block: Designs per block.
        n_jobs: Processes, as in joblib; the result does not depend on it.

    Raises:
        SingularSystemError: If a system is singular to working precision: give (more) dps.
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range.
    """
    draw = _design_errors(
        profile, design, n_points, bandwidth, amount, ridge, dps, logarithm=logarithm
    )
    return estimate(draw, draws, rng, block=block, n_jobs=n_jobs)


def design_errors(
    profile: ProfileLike,
    design: str,
    n_points: int,
    bandwidth: float,
    *,
    draws: int,
    rng: int | np.random.Generator,
    amount: float = 1.0,
    ridge: float = 0.0,
    dps: int | None = None,
    block: int = 8,
    n_jobs: int = 1,
) -> RealArray:
    """The estimation errors that `design_risk` averages, shape (draws,): for medians and quantiles.

    Arguments and errors are those of `design_risk`.
    """
    draw = _design_errors(profile, design, n_points, bandwidth, amount, ridge, dps, logarithm=False)
    return collect(draw, draws, rng, block=block, n_jobs=n_jobs)


def _design_errors(
    profile: ProfileLike,
    design: str,
    n_points: int,
    bandwidth: float,
    amount: float,
    ridge: float,
    dps: int | None,
    *,
    logarithm: bool,
) -> _DesignErrors:
    choice("design", design, DESIGNS)
    integer("n_points", n_points, 2)
    positive("bandwidth", bandwidth)
    nonnegative("ridge", ridge)
    if nonnegative("amount", amount) > 1:
        raise ValueError(f"amount = {amount!r} must be in [0, 1]")
    if dps is not None:
        integer("dps", dps, 1)
    used = as_profile(profile, 1)
    return _DesignErrors(used, design, n_points, bandwidth, amount, ridge, dps, logarithm)
