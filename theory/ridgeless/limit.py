"""The risk as n → ∞ at a fixed bandwidth c in grid spacings, and the best such bandwidth.

approximation/‖f*‖² → B(c) = (1 − r_0(0))² + Σ_{l≠0} r_l(0)² and estimation/σ² → V(c) =
∫_{[0,1]^d} Σ_l r_l(θ)² dθ. In closed form where there is one, else by Gauss–Legendre quadrature of
the alias sums on panels graded towards both ends of [0, ½], where Σ_l r_l² varies over lengths 1/c.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize

from ..validation import positive
from .alias import alias_excess
from .kernels import Cauchy, Floats, Gaussian, Kernel, Laplace, Matern, Product
from .products import ProductForms, product_forms

# Nodes per panel of the quadrature, and of the coarser rule that it is compared with; by dimension.
FINE = {1: 12, 2: 12, 3: 8}
COARSE = {1: 8, 2: 8, 3: 6}


@dataclass(frozen=True)
class LimitRisk:
    """The two parts of the limiting risk, each in its own unit.

    Attributes:
        approximation: B(c), per unit ‖f*‖² = Σ_k |f*_k|².
        estimation: V(c), per unit σ².
        error: 0.0 if both are correctly rounded closed forms, else the difference between two
            quadrature rules for V, plus the alias sums' truncation: an estimate, not a bound.
    """

    approximation: float
    estimation: float
    error: float

    def total(self, snr: float) -> float:
        """SNR·B + V, the risk in units of σ², for SNR = ‖f*‖²/σ²."""
        return snr * self.approximation + self.estimation


@dataclass(frozen=True)
class OptimalBandwidth:
    """The bandwidth that minimises SNR·B(c) + V(c).

    Attributes:
        spacing_bandwidth: The minimiser c; 0.0 if no interpolant beats the zero function, whose
            risk SNR the infimum then is, approached as c → 0.
        risk: The infimum, in units of σ²; a float minimisation, accurate to about 1e-9.
        null: Whether the zero function is at least as good as every interpolant.
    """

    spacing_bandwidth: float
    risk: float
    null: bool


def limit_risk(kernel: Kernel, spacing_bandwidth: float) -> LimitRisk:
    """Return B(c) and V(c), the limits of the risk's two parts as n → ∞ with bandwidth·n = c.

    Args:
        kernel: φ, of dimension d.
        spacing_bandwidth: c = bandwidth × n > 0.

    Returns:
        The closed forms' values, correctly rounded, for Laplace, Cauchy, Matérn 3/2 and 5/2 in
        d = 1, Gaussian, and coordinate products of these; for every other kernel quadrature.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If c is not finite and positive.

    Source: paper F for the limit; the closed forms, this project.

    Examples:
        >>> from theory.ridgeless import Laplace, limit_risk
        >>> limit_risk(Laplace(), 1.0).estimation
        0.5889736245330208
    """
    if not isinstance(kernel, Kernel):
        raise TypeError(f"kernel = {kernel!r} must be a kernel of theory.ridgeless")
    c = positive("spacing_bandwidth", spacing_bandwidth)
    forms = limit_forms(kernel)
    if forms is not None:
        return LimitRisk(forms.approximation(c), forms.estimation(c), 0.0)
    estimation, error = _estimation_by_quadrature(kernel, c)
    return LimitRisk(_approximation(kernel, c), estimation, error)


@lru_cache(maxsize=64)
def _product_forms_of_line(kernel: Kernel, dimension: int) -> ProductForms | None:
    """The closed forms of the d-fold product of a one-dimensional kernel, if it has them."""
    from . import cauchy, gaussian, laplace, matern_line

    if isinstance(kernel, Gaussian):
        line = (gaussian.ESTIMATION, gaussian.OWN_WEIGHT, gaussian.WEIGHT_ENERGY)
    elif isinstance(kernel, Cauchy):
        line = (cauchy.ESTIMATION, cauchy.OWN_WEIGHT, cauchy.WEIGHT_ENERGY)
    elif isinstance(kernel, Matern) and kernel.smoothness == Laplace().smoothness:
        line = (laplace.ESTIMATION, laplace.OWN_WEIGHT, laplace.WEIGHT_ENERGY)
    elif isinstance(kernel, Matern) and kernel.smoothness in matern_line.SMOOTHNESSES:
        forms = matern_line.matern_forms(kernel.smoothness)
        line = (forms.estimation, forms.own_weight, forms.weight_energy)
    else:
        return None
    return product_forms(*line, dimension)


def limit_forms(kernel: Kernel) -> ProductForms | None:
    """Return the closed forms of V(c) and B(c), or None if this kernel has none.

    Returns:
        `.estimation` and `.approximation` as `theory.closed_form.ClosedForm` in c.
    """
    if isinstance(kernel, Product):
        return _product_forms_of_line(kernel.factor, kernel.dimension)
    if isinstance(kernel, Gaussian):
        return _product_forms_of_line(Gaussian(), kernel.dimension)
    return _product_forms_of_line(kernel, 1) if kernel.dimension == 1 else None


def _approximation(kernel: Kernel, c: float) -> float:
    """B = (E₁² + E₂)/(1 + E₁)² at θ = 0, without cancellation."""
    excess = alias_excess(kernel, c, [np.zeros(1)] * kernel.dimension)
    first, second = excess.first.item(), excess.second.item()
    return (first**2 + second) / (1 + first) ** 2


def _estimation_by_quadrature(kernel: Kernel, c: float) -> tuple[float, float]:
    """Return V(c) and the difference to a coarser rule."""
    d = min(kernel.dimension, 3)
    fine, truncation = _integrate(kernel, c, FINE[d])
    coarse, _ = _integrate(kernel, c, COARSE[d])
    return fine, abs(fine - coarse) + 3 * truncation * fine


def _integrate(kernel: Kernel, c: float, count: int) -> tuple[float, float]:
    """∫_{[0,1]^d} Q/S² dθ by the tensor rule with `count` nodes per panel; even in each θ_i."""
    theta, weights = _graded_rule(c, count)
    excess = alias_excess(kernel, c, [theta] * kernel.dimension)
    values = (1 + excess.second) / (1 + excess.first) ** 2
    for _ in range(kernel.dimension):
        values = values @ (2 * weights)
    return float(values), excess.truncation


def _graded_rule(c: float, count: int) -> tuple[Floats, Floats]:
    """Gauss–Legendre on [0, ½], on panels that halve towards 0 and ½ down to the length ~1/c."""
    levels = 6 + max(0, math.ceil(math.log2(c)))
    towards_zero = 0.25 * 0.5 ** np.arange(levels, -1, -1.0)
    edges = np.concatenate([[0.0], towards_zero, 0.5 - towards_zero[-2::-1], [0.5]])
    nodes, weights = np.polynomial.legendre.leggauss(count)
    length = np.diff(edges)[:, np.newaxis]
    theta = edges[:-1, np.newaxis] + length * (1 + nodes) / 2
    return theta.ravel(), (length * weights / 2).ravel()


def optimal_bandwidth(kernel: Kernel, snr: float) -> OptimalBandwidth:
    """Return the bandwidth c that minimises the limiting risk SNR·B(c) + V(c), in units of σ².

    Args:
        kernel: φ.
        snr: ‖f*‖²/σ² > 0.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If snr is not finite and positive.

    Source: this project.
    """
    if not isinstance(kernel, Kernel):
        raise TypeError(f"kernel = {kernel!r} must be a kernel of theory.ridgeless")
    ratio = positive("snr", snr)

    def risk_at(log_c: float) -> float:
        return _total(kernel, math.exp(log_c), ratio, COARSE[min(kernel.dimension, 3)])

    best = optimize.minimize_scalar(
        risk_at, bounds=_bracket(kernel, ratio), method="bounded", options={"xatol": 1e-9}
    )
    c = math.exp(best.x)
    least = limit_risk(kernel, c).total(ratio)
    null = least >= ratio
    return OptimalBandwidth(0.0, ratio, null) if null else OptimalBandwidth(c, least, null)


def _bracket(kernel: Kernel, snr: float) -> tuple[float, float]:
    """An interval of log c around the least value of a scan; the risk can have two minima."""
    decay = 2 * float(kernel.decay) if isinstance(kernel, Matern) else 2.0
    # B ~ c^{−2α} and V(∞) − V ~ c^{−α} balance at c ~ SNR^{1/α}; a hundredfold margin below.
    scan = np.linspace(math.log(1e-4 if kernel.dimension == 1 else 1e-2), 0, 30)
    scan = np.concatenate([scan, np.linspace(0, math.log(10 + 10 * snr ** (1 / decay)), 30)[1:]])
    values = [_total(kernel, math.exp(log_c), snr, count=4) for log_c in scan]
    least = min(max(int(np.argmin(values)), 1), scan.size - 2)
    return float(scan[least - 1]), float(scan[least + 1])


def _total(kernel: Kernel, c: float, snr: float, count: int) -> float:
    """SNR·B + V, where there is no closed form with `count` nodes per panel."""
    if limit_forms(kernel) is not None:
        return limit_risk(kernel, c).total(snr)
    return snr * _approximation(kernel, c) + _integrate(kernel, c, count)[0]
