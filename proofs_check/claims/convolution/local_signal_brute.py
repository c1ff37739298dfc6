"""The recursive feature machine over patches, from its definition.

The kernel is evaluated position by position, with the recursion as it stands in the paper's
reference and with complex arithmetic, so that a complex step differentiates it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[Any]

STEP = 1e-20
"""Of the complex step: derivatives have no error of difference."""


@dataclass(frozen=True, eq=False)
class Machine:
    """f(x) = Σ_i α_i K_M(x, x_i) on patches.

    Attributes:
        patches: u_p(x_i), shape (n, rows, columns, d).
        targets: What α was solved for, shape (n,).
        coefficients: α, shape (n,).
        metric: M, (d, d).
        depth: Convolutions.
        side: Of the further convolutions' windows, which are circular.
    """

    patches: Floats
    targets: Floats
    coefficients: Floats
    metric: Floats
    depth: int
    side: int


def kernel_value(u: Numbers, v: Numbers, metric: Floats, depth: int, side: int) -> Any:
    """K of two images that share no patch; the arithmetic may be complex."""
    K = np.einsum("rca,ab,rcb->rc", u, metric, v) / u.shape[2]
    a = np.einsum("rca,ab,rcb->rc", u, metric, u) / u.shape[2]
    b = np.einsum("rca,ab,rcb->rc", v, metric, v) / u.shape[2]
    theta = K
    for layer in range(depth):
        size = np.sqrt(a * b)
        rho = K / size
        slope = 1 - np.arccos(rho) / np.pi
        value, theta = size * (np.sqrt(1 - rho**2) / np.pi + slope * rho), theta * slope
        if layer < depth - 1:
            K, a, b = (window_mean(x, side) for x in (value, a, b))
            theta = window_mean(theta, side) + K
    return (value + theta).mean()


def own_value(u: Numbers, metric: Floats, depth: int, side: int) -> Any:
    """K of an image with itself: all angles are 0."""
    a = np.einsum("rca,ab,rcb->rc", u, metric, u) / u.shape[2]
    theta = a
    for _ in range(depth - 1):
        a = window_mean(a, side)
        theta = window_mean(theta, side) + a
    return (a + theta).mean()


def window_mean(x: Numbers, side: int) -> Numbers:
    """Mean over circular windows around each position."""
    offsets = range(-((side - 1) // 2), side - (side - 1) // 2)
    shifted = [np.roll(x, (-i, -j), (0, 1)) for i in offsets for j in offsets]
    return np.asarray(np.mean(shifted, axis=0))


def kernel_matrix(patches: Floats, metric: Floats, depth: int, side: int) -> Floats:
    """K of all pairs."""
    own = [own_value(u, metric, depth, side) for u in patches]
    return np.array(
        [
            [own[i] if i == j else kernel_value(u, v, metric, depth, side).real
             for j, v in enumerate(patches)]
            for i, u in enumerate(patches)
        ]
    )  # fmt: skip


def solved(
    patches: Floats, targets: Floats, metric: Floats, ridge: float, depth: int, side: int
) -> Machine:
    """α = (K/κ + λI)⁻¹y/κ, κ the largest entry of K."""
    K = kernel_matrix(patches, metric, depth, side)
    scale = K.max()
    alpha = np.linalg.solve(K / scale + ridge * np.eye(len(K)), targets) / scale
    return Machine(patches, targets, alpha, metric, depth, side)


def patch_gradients(machine: Machine) -> Floats:
    """∇_{u_p} f at the images themselves, (n, rows·columns, d), by complex steps.

    K(x, z) has a cone at x = z, whose two-sided derivative is 0; what is left there is half of the
    derivative of K(x, x), as K is symmetric.
    """
    found = [_gradient_at(machine, number) for number in range(len(machine.patches))]
    return np.array(found)


def _gradient_at(machine: Machine, number: int) -> Floats:
    here = machine.patches[number].astype(complex)
    gradient = np.empty(here.shape)
    for place in np.ndindex(*here.shape):
        moved = here.copy()
        moved[place] += 1j * STEP
        gradient[place] = _value(machine, number, moved).imag / STEP
    return gradient.reshape(-1, here.shape[2])


def _value(machine: Machine, number: int, moved: Numbers) -> Any:
    M, depth, side = machine.metric, machine.depth, machine.side
    total = machine.coefficients[number] * own_value(moved, M, depth, side) / 2
    for i, v in enumerate(machine.patches):
        if i != number:
            total = total + machine.coefficients[i] * kernel_value(moved, v, M, depth, side)
    return total


Gradients = Callable[[Machine], Floats]


def mean_outer_product(gradients: Floats) -> Floats:
    """(1/n) Σ_images Σ_positions ∇∇ᵀ."""
    total: Floats = np.einsum("npa,npb->ab", gradients, gradients) / len(gradients)
    return total


def power_over_largest(features: Floats, exponent: float) -> Floats:
    """AGOP^s over its largest entry; eigenvalues that rounding made negative are 0."""
    values, vectors = np.linalg.eigh(features)
    power: Floats = (vectors * np.clip(values, 0, None) ** exponent) @ vectors.T
    power /= np.abs(power).max()
    return power
