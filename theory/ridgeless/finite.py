"""The exact risk of kernel (ridgeless) regression on the grid, at every finite n.

`theory.ridgeless.fourier` derives the formulas that are evaluated here: with S_l, Q_l the alias
sums of ĝ_k = h^d φ̂(hk), r_k = ĝ_k/(S_[k] + λ/N) and F_l the sum of the target over class l,

    estimation    = (σ²/N) Σ_l Q_l / (S_l + λ/N)²,
    approximation = Σ_k |f*_k − r_k F_[k]|².
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Complex, Integral
from typing import TypeAlias

import numpy as np

from ..validation import integer, nonnegative, positive
from .alias import alias_excess
from .kernels import Floats, Kernel

Frequency: TypeAlias = tuple[int, ...]
Target: TypeAlias = Mapping[int, complex] | Mapping[Frequency, complex]

# Alias classes are handled in slabs of about this many, so that memory stays bounded.
SLAB = 2**21


@dataclass(frozen=True)
class Risk:
    """Expected squared error over test point and noise.

    Attributes:
        approximation: ∫ |E f̂ − f*|² dx, the part that noise-free data would leave.
        estimation: E ∫ |f̂ − E f̂|² dx, the part that the noise causes.
        truncation: Bound of the relative error that truncated alias sums cause in each part
            (rounding excluded); an estimate if the spectral density is the user's own.
    """

    approximation: float
    estimation: float
    truncation: float

    @property
    def total(self) -> float:
        """approximation + estimation."""
        return self.approximation + self.estimation


def risk(
    kernel: Kernel,
    n: int,
    bandwidth: float,
    target: Target,
    noise_variance: float,
    ridge: float = 0.0,
) -> Risk:
    """Return the exact risk of the kernel predictor on the grid j/n of the unit torus.

    The data are y_j = f*(x_j) + ξ_j at the N = n^d grid points, the predictor solves
    (K + ridge·I) α = y with the periodised kernel Σ_m φ((x + m)/bandwidth).

    Args:
        kernel: φ, of dimension d.
        n: Points per axis, n ≥ 2.
        bandwidth: h > 0, in units of the torus' length 1.
        target: f*(x) = Σ_k f*_k e^{2πi k·x} as a mapping from integer frequency (an int, or a
            tuple of d ints) to complex coefficient.
        noise_variance: σ² ≥ 0.
        ridge: λ ≥ 0, added to the kernel matrix.

    Returns:
        The two parts of the risk and a bound of the truncation error.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a number is out of range or a frequency has the wrong dimension.

    Source: paper F; the ridge and the exactness at finite n, this project.

    Examples:
        >>> from theory.ridgeless import Laplace, risk
        >>> found = risk(Laplace(), n=64, bandwidth=0.5, target={1: 1.0}, noise_variance=1.0)
        >>> round(found.total, 4)
        0.6666
    """
    if not isinstance(kernel, Kernel):
        raise TypeError(f"kernel = {kernel!r} must be a kernel of theory.ridgeless")
    integer("n", n, 2)
    h = positive("bandwidth", bandwidth)
    grid = _Grid(kernel, int(n), h, nonnegative("ridge", ridge))
    coefficients = read_target(target, kernel.dimension)
    variance = nonnegative("noise_variance", noise_variance)
    estimation, truncation = grid.estimation()
    return Risk(grid.approximation(coefficients), variance * estimation, truncation)


def read_target(target: Target, dimension: int) -> dict[Frequency, complex]:
    """Return the target with tuples for frequencies.

    Raises:
        TypeError: If it is no mapping, or a frequency is no integer (tuple), or a coefficient is
            no number.
        ValueError: If a frequency has not `dimension` entries or comes twice, or a coefficient is
            not finite.
    """
    if not isinstance(target, Mapping):
        raise TypeError(f"target = {target!r} must map integer frequencies to coefficients")
    coefficients = {_frequency(k, dimension): _coefficient(k, f) for k, f in target.items()}
    if len(coefficients) < len(target):
        raise ValueError(f"target = {target!r} names a frequency twice, as int and as tuple")
    return coefficients


def _frequency(k: object, dimension: int) -> Frequency:
    entries = k if isinstance(k, tuple) else (k,)
    if len(entries) != dimension:
        raise ValueError(f"target frequency {k!r} must have {dimension} entries")
    if any(isinstance(entry, bool) or not isinstance(entry, Integral) for entry in entries):
        raise TypeError(f"target frequency {k!r} must be an int or a tuple of ints")
    return tuple(int(entry) for entry in entries)


def _coefficient(k: object, value: object) -> complex:
    if isinstance(value, bool) or not isinstance(value, Complex):
        raise TypeError(f"target coefficient {value!r} of frequency {k!r} must be a number")
    coefficient = complex(value)
    if not (math.isfinite(coefficient.real) and math.isfinite(coefficient.imag)):
        raise ValueError(f"target coefficient {value!r} of frequency {k!r} must be finite")
    return coefficient


@dataclass(frozen=True)
class _Grid:
    """The alias classes of a grid of n^d points under a kernel of bandwidth h, with ridge λ."""

    kernel: Kernel
    n: int
    bandwidth: float
    ridge: float

    @property
    def spacing(self) -> float:
        return self.bandwidth * self.n

    def loading(self, axes: Sequence[Floats]) -> Floats | float:
        """λ/N in units of the nearest term: λ / (c^d φ̂(cθ)); inf where φ̂ underflows."""
        if self.ridge == 0:
            return 0.0
        theta = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        log_density = self.kernel.log_density(self.spacing * theta)
        exponent = math.log(self.ridge) - len(axes) * math.log(self.spacing) - log_density
        with np.errstate(over="ignore"):  # inf: the ridge drowns this class
            return np.exp(exponent)

    def estimation(self) -> tuple[float, float]:
        """Return (1/N) Σ_l Q_l/(S_l + λ/N)² and the truncation bound; l and −l count together."""
        half = np.arange(self.n // 2 + 1)
        multiplicity = np.where((half == 0) | (2 * half == self.n), 1.0, 2.0) / self.n
        total, truncation = [], 0.0
        for rows in _slabs(half.size, self.kernel.dimension):
            axes = [half[rows] / self.n, *[half / self.n] * (self.kernel.dimension - 1)]
            excess = alias_excess(self.kernel, self.spacing, axes)
            with np.errstate(over="ignore"):  # an infinite loading means r = 0
                values = (1 + excess.second) / (1 + excess.first + self.loading(axes)) ** 2
            for _ in axes[1:]:
                values = values @ multiplicity
            total.append(float(values @ multiplicity[rows]))
            truncation = max(truncation, excess.truncation)
        return math.fsum(total), 3 * truncation

    def approximation(self, target: Mapping[Frequency, complex]) -> float:
        """Return Σ_l Σ_{k∈[l]} |f*_k − r_k F_l|², class by class."""
        classes: dict[Frequency, dict[Frequency, complex]] = defaultdict(dict)
        for k, coefficient in target.items():
            classes[tuple(_nearest(entry, self.n) for entry in k)][k] = coefficient
        return math.fsum(self._class_error(near, members) for near, members in classes.items())

    def _class_error(self, near: Frequency, members: Mapping[Frequency, complex]) -> float:
        """Σ_{k∈[near]} |f_k − r_k F|²; off the target's frequencies this is |F|² r_k²."""
        axes = [np.array([abs(entry) / self.n]) for entry in near]
        excess = alias_excess(self.kernel, self.spacing, axes)
        loading = float(np.ravel(self.loading(axes))[0])
        first, second = float(excess.first.ravel()[0]) + loading, float(excess.second.ravel()[0])
        ratios = {k: self._ratio(k, near) for k in members}
        total = sum(members.values())
        rest = 1 + second - math.fsum(g**2 for g in ratios.values())
        if near in members:  # the same without subtracting 1 from 1
            rest = second - math.fsum(g**2 for k, g in ratios.items() if k != near)
        # Divided twice: the square overflows where the ridge drowns the class.
        error = abs(total) ** 2 * max(rest, 0.0) / (1 + first) / (1 + first)
        for k, coefficient in members.items():
            own = ratios[k] / (1 + first)
            missed = _complement(first) if k == near else 1 - own  # 1 − r_k, with all its digits
            error += abs(coefficient * missed - own * (total - coefficient)) ** 2
        return float(error)

    def _ratio(self, k: Frequency, near: Frequency) -> float:
        """φ̂(hk)/φ̂(h·near) for the nearest frequency of k's class, without underflow of both."""
        pair = self.bandwidth * np.array([k, near], dtype=np.float64)
        log_far, log_near = self.kernel.log_density(pair)
        return math.exp(log_far - log_near)


def _complement(excess: float) -> float:
    """E/(1 + E) for E in [0, inf]."""
    return 1.0 if math.isinf(excess) else excess / (1 + excess)


def _nearest(k: int, n: int) -> int:
    """The representative of k + nZ of least absolute value."""
    return (k + n // 2) % n - n // 2


def _slabs(size: int, dimension: int) -> Iterator[slice]:
    """Cut the first axis so that a slab of the size^dimension grid holds about SLAB classes."""
    rows = max(1, SLAB // size ** (dimension - 1))
    starts = itertools.count(0, rows)
    return (slice(start, start + rows) for start in itertools.takewhile(size.__gt__, starts))
