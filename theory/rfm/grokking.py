r"""Modular arithmetic by a quadratic kernel: the predictor on all real inputs, in closed form.

An input is x = x₁ ⊕ x₂ in R^{2m}, m the modulus. Training inputs are all m² pairs e_a ⊕ e_b; the
label for the answer ℓ is the entry T_ab of a permutation matrix T: T = C^{-ℓ} for a - b = ℓ, where
C_{i,i+1} = 1, and T_ab = 1[a + b = ℓ] for sums. The kernel is k(x, z) = (xᵀMz)² with
M = [[0, P], [Pᵀ, 0]], P a permutation matrix (a power of C in the paper).

The interpolant on this kernel is not the bilinear form x₁ᵀTx₂ of the Fourier multiplication
algorithm, but that plus a quadratic form which is 0 on the training pairs and the same for every
answer. P has no influence on it. The kernel matrix is invertible and indefinite.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..validation import integer
from .doubles import representable

Operation: TypeAlias = Literal["difference", "sum"]

MODULUS = sympy.Symbol("m", integer=True, positive=True)
BILINEAR, NORM_1, NORM_2, SUM_1, SUM_2 = sympy.symbols("B n_1 n_2 s_1 s_2", real=True)
SPECTRAL = sympy.Symbol("z")

PREDICTOR = BILINEAR + (NORM_1 + NORM_2 - 2 * SUM_1 * SUM_2) / (2 * MODULUS + 2)
"""f(x), with B = x₁ᵀTx₂, n_i = ‖x_i‖² and s_i = 1ᵀx_i."""

CHARACTERISTIC = (
    (SPECTRAL - 2 * MODULUS - 2)
    * (SPECTRAL - MODULUS - 2) ** (MODULUS - 1)
    * (SPECTRAL + MODULUS + 2) ** (MODULUS - 1)
    * (SPECTRAL - 2) ** (MODULUS * (MODULUS - 1) / 2)
    * (SPECTRAL + 2) ** ((MODULUS - 1) * (MODULUS - 2) / 2)
)
"""det(zI - K) of the kernel matrix on all m² pairs."""

AGOP_IDENTITY = (1 + 1 / (MODULUS + 1) ** 2) / MODULUS
"""The coefficient of I in the diagonal blocks of the AGOP over all pairs."""

AGOP_CONSTANT = -(MODULUS**2 + 2 * MODULUS - 2) / (MODULUS * (MODULUS + 1)) ** 2
"""The coefficient of 11ᵀ in the diagonal blocks."""

AGOP_CROSS = 2 / (MODULUS * (MODULUS + 1))
"""The coefficient of T in the upper right block."""

AGOP_CROSS_CONSTANT = (2 - 2 * MODULUS) / (MODULUS * (MODULUS + 1)) ** 2
"""The coefficient of 11ᵀ in the upper right block."""


def answer_matrix(modulus: int, answer: int, operation: Operation = "difference") -> RealArray:
    """Return T, shape (m, m): T_ab = 1 where a - b (or a + b) is the answer modulo m.

    Args:
        modulus: m >= 2, prime or not.
        answer: 0 <= ℓ < m.
        operation: "difference" (then T = C^{-ℓ} with C_{i,i+1} = 1) or "sum".

    Raises:
        TypeError: If modulus or answer is not an integer.
        ValueError: If one of them is out of range, or the operation is unknown.

    Source: paper G.

    Example:
        >>> answer_matrix(3, 1, "sum")
        array([[0., 1., 0.],
               [1., 0., 0.],
               [0., 0., 1.]])
    """
    m, residue = integer("modulus", modulus, 2), integer("answer", answer, 0)
    if residue >= m:
        raise ValueError(f"answer = {answer!r} must be below the modulus {m}")
    if operation not in get_args(Operation):
        raise ValueError(f"operation = {operation!r} must be one of 'difference', 'sum'")
    a, b = np.ogrid[:m, :m]
    found = (a - b) % m if operation == "difference" else (a + b) % m
    return np.asarray(found == residue, dtype=np.float64)


def multiplication_algorithm(
    first: ArrayLike, second: ArrayLike, operation: Operation = "difference"
) -> RealArray:
    """Return x₁ᵀT_ℓx₂ for every answer ℓ: the Fourier multiplication algorithm, without Fourier.

    It is a circular correlation (difference) or convolution (sum): what the transforms of x₁ and
    x₂, multiplied and transformed back, give. `modular_predictor` says what the kernel adds.

    Args:
        first: x₁, shape (m,) or (samples, m).
        second: x₂, the same shape.
        operation: "difference" or "sum".

    Returns:
        Shape (m,) or (samples, m), one value for each answer.

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If the shapes differ or have no room for a modulus of 2, or an entry is NaN or
            infinite, or the operation is unknown.
        OverflowError: If a value is larger than every double.

    Source: paper G.

    Example:
        >>> multiplication_algorithm([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
        array([0., 0., 1.])
    """
    x, z = _parts(first, second)
    m = x.shape[-1]
    answers = [answer_matrix(m, answer, operation) for answer in range(m)]
    with np.errstate(over="ignore", invalid="ignore"):
        values = [np.einsum("...a,ab,...b->...", x, T, z) for T in answers]
    return representable("the bilinear form", np.stack(values, axis=-1))


def modular_predictor(
    first: ArrayLike, second: ArrayLike, operation: Operation = "difference"
) -> RealArray:
    """Return the quadratic kernel's predictions for every answer, on and off the one-hot pairs.

    x₁ᵀT_ℓx₂ + [‖x₁‖² + ‖x₂‖² - 2(1ᵀx₁)(1ᵀx₂)]/(2m + 2). The second term does not depend on ℓ:
    the largest answer is that of `multiplication_algorithm`.

    Arguments, shapes and errors are those of `multiplication_algorithm`.

    Source: this project (the correction of paper G's form).

    Example:
        >>> modular_predictor([1.0, 0.0, 0.0], [0.0, 0.0, 0.0])
        array([0.125, 0.125, 0.125])
    """
    bilinear = multiplication_algorithm(first, second, operation)
    x, z = _parts(first, second)
    m = x.shape[-1]
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.sum(x**2, axis=-1) + np.sum(z**2, axis=-1)
        sums = np.sum(x, axis=-1) * np.sum(z, axis=-1)
        correction = (squares - 2 * sums) / (2 * m + 2)
        return representable("the predictor", bilinear + correction[..., np.newaxis])


def modular_kernel_spectrum(modulus: int) -> dict[int, int]:
    """Return the eigenvalues of the kernel matrix on all m² pairs, with their multiplicities.

    Args:
        modulus: m >= 2.

    Raises:
        TypeError: If the modulus is not an integer.
        ValueError: If it is less than 2.

    Source: this project.

    Example:
        >>> modular_kernel_spectrum(7)
        {-9: 6, -2: 15, 2: 21, 9: 6, 16: 1}
    """
    m = integer("modulus", modulus, 2)
    negative = (m - 1) * (m - 2) // 2
    spectrum = {-m - 2: m - 1, -2: negative, 2: negative + m - 1, m + 2: m - 1, 2 * m + 2: 1}
    return {value: count for value, count in spectrum.items() if count}


def modular_agop(modulus: int, answer: int, operation: Operation = "difference") -> RealArray:
    """Return the AGOP over all one-hot pairs of the predictor for one answer, shape (2m, 2m).

    Its blocks are multiples of I and 11ᵀ on the diagonal, of T and 11ᵀ beside it. The bilinear
    form alone would have no T there, only 11ᵀ/m²: what makes the AGOP show the answer's circulant
    is the term that the printed form lacks.

    Args:
        modulus: m >= 2.
        answer: 0 <= ℓ < m.
        operation: "difference" or "sum".

    Raises:
        TypeError: If modulus or answer is not an integer.
        ValueError: If one of them is out of range, or the operation is unknown.

    Source: this project.
    """
    T = answer_matrix(modulus, answer, operation)
    names = (AGOP_IDENTITY, AGOP_CONSTANT, AGOP_CROSS, AGOP_CROSS_CONSTANT)
    identity, constant, cross, shift = (float(name.subs(MODULUS, len(T))) for name in names)
    diagonal = identity * np.eye(len(T)) + constant
    beside = cross * T + shift
    return np.block([[diagonal, beside], [beside.T, diagonal]])


def _parts(first: ArrayLike, second: ArrayLike) -> tuple[RealArray, RealArray]:
    x, z = finite_array("first", first), finite_array("second", second)
    if x.shape != z.shape or x.ndim not in (1, 2) or x.shape[-1] < 2:
        raise ValueError(
            f"first has shape {x.shape}, second {z.shape}; "
            "both must be (m,) or (samples, m), m >= 2"
        )
    return x, z
