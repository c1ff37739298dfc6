r"""Gradients and AGOP of a kernel machine f_c(x) = Σ_i α_ic k_M(x, x_i), in closed form.

    ∇f_c(x) = M u_c(x),  u_c(x) = (1/L²) Σ_i α_ic ω(ρ_i) (x − x_i)  (radial kernels)
                             or   (1/L²) Σ_i α_ic g'(τ_i) x_i      (inner-product kernels),
    AGOP = (1/q) Σ_x Σ_c ∇f_c ∇f_cᵀ = M [ (1/q) Σ_x Σ_c u_c u_cᵀ ] M.

Where x is a training point of a radial kernel, its own term is 0: exactly so for the Gaussian and
the Matérn kernels. For Laplace's, which has a kink there, that is the mean of the one-sided slopes
in every direction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ..arrays import finite_array
from ..closed_form import ClosedForm
from ..validation import positive
from .doubles import representable
from .kernel_profiles import Kernel, RadialKernel, kernel

RealArray: TypeAlias = NDArray[np.float64]

_FARTHEST = 1e150
"""Distances whose squares overflow count as this one: ω is 0 there, and not ∞ · 0."""


def kernel_gradients(
    kernel_name: str | Kernel,
    centres: ArrayLike,
    coefficients: ArrayLike,
    inputs: ArrayLike,
    *,
    bandwidth: float = 1.0,
    metric: ArrayLike | None = None,
) -> RealArray:
    """Return ∇f_c at every input, shape (q, o, d).

    Args:
        kernel_name: A name or a kernel, as for `kernel`.
        centres: The training points x_i, shape (n, d).
        coefficients: α, shape (n,) for one output or (n, o).
        inputs: Where the gradients are taken, shape (q, d).
        bandwidth: L > 0.
        metric: M, symmetric positive semidefinite, shape (d, d), or its diagonal, shape (d,); the
            identity if it is not given.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If shapes do not fit, an entry is not finite, L is not positive, M is not
            symmetric or has a negative eigenvalue, or the kernel is unknown.
        OverflowError: If g' of an inner-product kernel, or the result, is larger than every double.

    Source: E.

    Example:
        >>> kernel_gradients("laplace", [[0.0, 0.0]], [1.0], [[0.0, 0.0], [3.0, 4.0]]).round(6)
        array([[[ 0.      ,  0.      ]],
        <BLANKLINE>
               [[-0.004043, -0.00539 ]]])
    """
    machine = _machine(kernel_name, centres, coefficients, inputs, bandwidth, metric)
    return representable("the gradient", np.stack([machine.gradients(x) for x in machine.inputs]))


def kernel_agop(
    kernel_name: str | Kernel,
    centres: ArrayLike,
    coefficients: ArrayLike,
    inputs: ArrayLike,
    *,
    bandwidth: float = 1.0,
    metric: ArrayLike | None = None,
) -> RealArray:
    """Return the AGOP (1/q) Σ_x Σ_c ∇f_c ∇f_cᵀ, shape (d, d), symmetric.

    The outputs are summed, the inputs averaged. Arguments and errors as for `kernel_gradients`.

    Source: E.

    Example:
        >>> kernel_agop("linear", [[1.0, 2.0]], [1.0], [[5.0, 7.0]])
        array([[1., 2.],
               [2., 4.]])
    """
    machine = _machine(kernel_name, centres, coefficients, inputs, bandwidth, metric)
    total = np.zeros((machine.metric.shape[0],) * 2)
    with np.errstate(over="ignore", invalid="ignore"):
        for x in machine.inputs:
            G = machine.gradients(x)
            total += G.T @ G
    return representable("the AGOP", total / len(machine.inputs))


@dataclass(frozen=True, eq=False)
class _Machine:
    kernel: Kernel
    centres: RealArray
    coefficients: RealArray
    inputs: RealArray
    bandwidth: float
    metric: RealArray

    def gradients(self, x: RealArray) -> RealArray:
        """∇f_c(x), shape (o, d). Differences are taken first: a distance to itself is exactly 0."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (x - self.centres if self._radial else self.centres) / self.bandwidth
            pull = scaled @ self.metric
            products = np.sum((scaled if self._radial else x / self.bandwidth) * pull, 1)
            factor = profile_factors(self.kernel, products)
            return (self.coefficients * factor[:, None]).T @ pull / self.bandwidth

    @property
    def _radial(self) -> bool:
        return isinstance(self.kernel, RadialKernel)


def profile_factors(kernel: Kernel, products: RealArray) -> RealArray:
    """Return ω(ρ) of ρ², with 0 at ρ = 0, or g'(τ) of τ, entry by entry.

    Raises:
        OverflowError: If g' is larger than every double.
    """
    if isinstance(kernel, RadialKernel):
        return _weights(kernel, np.sqrt(np.clip(products, 0.0, _FARTHEST**2)))
    with np.errstate(over="ignore", invalid="ignore"):
        factor = _floats(kernel.slope)(products)
    if not np.isfinite(factor).all():
        raise OverflowError(
            f"the slope of {kernel.name} overflows at τ = {products.max():.3g}; take a larger "
            "bandwidth"
        )
    return factor


def _weights(kernel: RadialKernel, distances: RealArray) -> RealArray:
    """ω(ρ), and 0 at ρ = 0, where M(x − z) is 0 and the kernel's own term with it."""
    factor, apart = np.zeros_like(distances), distances > 0
    factor[apart] = _floats(kernel.weight)(distances[apart])
    return factor


@lru_cache(maxsize=64)
def _floats(form: ClosedForm) -> Callable[[RealArray], RealArray]:
    compiled = sympy.lambdify(form.variable, form.expression, "numpy")
    return lambda x: np.broadcast_to(np.asarray(compiled(x), dtype=np.float64), x.shape)


def _machine(
    kernel_name: str | Kernel,
    centres: ArrayLike,
    coefficients: ArrayLike,
    inputs: ArrayLike,
    bandwidth: float,
    metric: ArrayLike | None,
) -> _Machine:
    X, Z = _matrix("centres", centres), _matrix("inputs", inputs)
    if X.shape[1] != Z.shape[1]:
        raise ValueError(f"centres have shape {X.shape}, inputs {Z.shape}: columns must agree")
    alpha = checked_coefficients(coefficients, len(X))
    M, L = checked_metric(metric, X.shape[1]), positive("bandwidth", bandwidth)
    return _Machine(kernel(kernel_name), X, alpha, Z, L, M)


def checked_coefficients(coefficients: ArrayLike, centres: int) -> RealArray:
    """Return α as a matrix (n, o), or refuse it.

    Raises:
        TypeError: If its entries are not real numbers.
        ValueError: If its shape is not (n,) or (n, o), or an entry is not finite.
    """
    alpha = finite_array("coefficients", coefficients)
    alpha = alpha[:, None] if alpha.ndim == 1 else alpha
    if alpha.ndim != 2 or len(alpha) != centres:
        raise ValueError(
            f"coefficients have shape {np.shape(coefficients)}; ({centres},) or ({centres}, o) is "
            "allowed, one row for each centre"
        )
    return alpha


def checked_metric(metric: ArrayLike | None, dimension: int) -> RealArray:
    """Return M as a matrix (d, d), or refuse it.

    Raises:
        TypeError: If its entries are not real numbers.
        ValueError: If its shape is not (d, d) or (d,), an entry is not finite, it is not symmetric,
            or it has a negative eigenvalue.
    """
    if metric is None:
        return np.eye(dimension)
    M = finite_array("metric", metric)
    M = np.diag(M) if M.ndim == 1 else M
    if M.shape != (dimension, dimension):
        raise ValueError(
            f"metric has shape {np.shape(metric)}; ({dimension}, {dimension}) or ({dimension},) is "
            "allowed"
        )
    rounding = 1e-12 * float(np.abs(M).max())
    if float(np.abs(M - M.T).max()) > rounding:
        raise ValueError("metric is not symmetric: it must be symmetric positive semidefinite")
    M = (M + M.T) / 2
    if (least := float(np.linalg.eigvalsh(M)[0])) < -rounding * dimension:
        raise ValueError(f"metric has the eigenvalue {least}; it must be positive semidefinite")
    return M


def _matrix(name: str, value: ArrayLike) -> RealArray:
    array = finite_array(name, value)
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}; a matrix with at least one row and "
                         "one column is allowed")  # fmt: skip
    return array
