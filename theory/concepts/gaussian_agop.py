r"""Average gradient outer products of Bayes predictors for Gaussian classes with one covariance.

Two classes N(m ± μ, Σ): the AGOP is c·Σ⁻¹μμᵀΣ⁻¹ (see `bayes_scale` for c), of rank one along the
linear discriminant Σ⁻¹μ. It is *not* along the difference 2μ of the means unless μ is an
eigenvector of Σ. C classes N(μ_k, Σ): with J = diag(p) − ppᵀ of the posteriors p, the AGOP of p is
Σ⁻¹Mᵀ E[J²] MΣ⁻¹, the rows of M being the means; its range is Σ⁻¹span(μ_i − μ_j), its rank the
dimension of the means' affine hull, because J ⪰ 0 vanishes on constant vectors only. At C = 2 it is
twice the AGOP of the one posterior η, as p = (η, 1 − η).
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced, trace
from ..rfm.doubles import representable
from .bayes_scale import agop_scale
from .class_moments import positive_definite


def bayes_agop(half_difference: ArrayLike, covariance: ArrayLike, prior: float = 0.5) -> RealArray:
    """Return E[∇η∇ηᵀ] = c·Σ⁻¹μμᵀΣ⁻¹ of the posterior η under the mixture, shape (d, d).

    Args:
        half_difference: μ, half the difference of the class means, shape (d,); zero is allowed.
        covariance: Σ of both classes, shape (d, d), symmetric positive definite.
        prior: π of the class with mean m + μ.

    Raises:
        TypeError: If entries or the prior are not real numbers.
        ValueError: If shapes do not fit, an entry is NaN or infinite, Σ is not symmetric positive
            definite, π is outside (0, 1), or μ is not zero and δ outside [1e-60, 1e60].
        OverflowError: If an entry of Σ⁻¹μ or of the result is larger than every double.

    Source: this project.

    Example:
        >>> bayes_agop([1.0, 0.0], np.eye(2)).round(6)
        array([[0.079139, 0.      ],
               [0.      , 0.      ]])
    """
    v, delta = _discriminant(half_difference, covariance)
    root = math.sqrt(agop_scale(delta if v.any() else 1.0, prior))  # π is checked for μ = 0, too
    return _outer(root * v)


def logit_agop(half_difference: ArrayLike, covariance: ArrayLike) -> RealArray:
    """Return 4Σ⁻¹μμᵀΣ⁻¹, the AGOP of the Bayes logit for every prior, shape (d, d).

    Args:
        half_difference: μ, as `bayes_agop`.
        covariance: Σ, likewise.

    Raises:
        TypeError: As `bayes_agop`.
        ValueError: As `bayes_agop`, but for δ.
        OverflowError: As `bayes_agop`.

    Source: this project.

    Example:
        >>> logit_agop([1.0, 1.0], [[1.0, 0.0], [0.0, 2.0]])
        array([[4., 2.],
               [2., 1.]])
    """
    v, _ = _discriminant(half_difference, covariance)
    return _outer(2 * v)


def discriminant_space(means: ArrayLike, covariance: ArrayLike) -> RealArray:
    """Return an orthonormal basis of Σ⁻¹span(μ_i − μ_j), the AGOP's range, shape (d, r).

    r is the dimension of the affine hull of the means, as far as doubles can tell (singular values
    below 1e-12 of the largest count as zero). The priors have no effect.

    Args:
        means: The class means, shape (C, d), C >= 2.
        covariance: Σ of all classes, shape (d, d), symmetric positive definite.

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If shapes do not fit, there are fewer than 2 classes, an entry is NaN or
            infinite, or Σ is not symmetric positive definite.

    Source: this project.

    Example:
        >>> discriminant_space([[0, 0], [2, 2], [-3, -3]], [[1.0, 0.0], [0.0, 2.0]]).shape
        (2, 1)
    """
    M = finite_array("means", means)
    if M.ndim != 2 or len(M) < 2:
        raise ValueError(f"means have shape {M.shape}; (C, d) with C >= 2 is allowed")
    S = positive_definite("covariance", covariance, M.shape[1])
    M = M / max(float(np.abs(M).max()), float(np.finfo(np.float64).tiny))  # no overflow below
    left, singular, _ = np.linalg.svd((M[1:] - M[0]).T, full_matrices=False)
    spread = left[:, singular > 1e-12 * max(singular[0], np.finfo(np.float64).tiny)]
    basis, _ = np.linalg.qr(np.linalg.solve(S, spread))
    return np.asarray(basis)


def _discriminant(half_difference: ArrayLike, covariance: ArrayLike) -> tuple[RealArray, float]:
    """Σ⁻¹μ and δ."""
    mu = finite_array("half_difference", half_difference)
    if mu.ndim != 1:
        raise ValueError(f"half_difference has shape {mu.shape}; (d,) is allowed")
    S = positive_definite("covariance", covariance, len(mu))
    size = float(np.abs(mu).max()) or 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        unit: RealArray = np.asarray(np.linalg.solve(S, mu / size), dtype=np.float64)
        v = representable("Σ⁻¹μ", np.asarray(size * unit))
    return v, size * math.sqrt(max(float(mu / size @ unit), 0.0))


def _outer(vector: RealArray) -> RealArray:
    with np.errstate(over="ignore"):
        return representable("the AGOP", np.asarray(np.outer(vector, vector)))


# --- derivation -------------------------------------------------------------------------------

JACOBIAN, MEANS, INVERSE = matrices("J M A")
_T = sympy.transpose

AGOP_WORD = INVERSE * _T(MEANS) * JACOBIAN**2 * MEANS * INVERSE
"""∇p's outer product at one point, summed over the classes; rows of M are means, A = Σ⁻¹."""

TRAP_COSINE = sympy.Rational(4, 5)
"""Of the angle between Σ⁻¹μ and μ for Σ = diag(1, 4), μ = (1, 2): Kantorovich's bound at κ = 4."""


def _softmax_residual(classes: int) -> sympy.Expr:
    """∂p_k/∂ℓ_j = p_k(1[k = j] − p_j), for a number of classes."""
    logits = sympy.symbols(f"l0:{classes}", real=True)
    total = sympy.Add(*(sympy.exp(logit) for logit in logits))
    p = [sympy.exp(logit) / total for logit in logits]
    return first_nonzero(
        *(
            sympy.simplify(sympy.diff(p[k], logits[j]) - p[k] * ((1 if j == k else 0) - p[j]))
            for j in range(classes)
            for k in range(classes)
        )
    )


def _softmax_any_size_residual() -> sympy.Expr:
    """Any C: p_k = e^{ℓ_k}/(e^{ℓ_k} + e^{ℓ_j} + rest), by ℓ_k and by another ℓ_j."""
    k, j, rest = sympy.symbols("k j r", positive=True)  # the three exponentials
    p_k, p_j = k / (k + j + rest), j / (k + j + rest)
    return first_nonzero(
        sympy.simplify(k * sympy.diff(p_k, k) - p_k * (1 - p_k)),
        sympy.simplify(j * sympy.diff(p_k, j) + p_k * p_j),
    )


def _logits_residual() -> sympy.Expr:
    """−½(x − m)ᵀA(x − m), less −½xᵀAx, which the softmax does not see, has the gradient Am."""
    x, h, m = matrices("x h m")

    def logit(point: sympy.Expr) -> sympy.Expr:
        return (_T(point) * INVERSE * point - _T(point - m) * INVERSE * (point - m)) / 2

    word = sympy.expand(logit(x + h) - logit(x) - _T(m) * INVERSE * h)
    return sympy.expand(trace(reduced(word + _T(word), {_T(INVERSE): INVERSE})))


def _word_residual(word: sympy.Expr) -> sympy.Expr:
    """∇p = JMA, J and A symmetric."""
    gradient = JACOBIAN * MEANS * INVERSE
    rules = {_T(JACOBIAN): JACOBIAN, _T(INVERSE): INVERSE}
    return sympy.expand(reduced(_T(gradient) * gradient - word, rules))


def _kernel_residual() -> sympy.Expr:
    """vᵀJv = ½Σ p_ip_j(v_i − v_j)², in S_r = Σ p_i v_i^r: zero for constant v only, as p > 0."""
    v, w, s0, s1, s2 = sympy.symbols("v_i v_j S0 S1 S2", real=True)
    pairs = sympy.Poly(sympy.expand((v - w) ** 2), v, w)
    sums = (s0, s1, s2)
    double = sum(c * sums[a] * sums[b] for (a, b), c in pairs.terms())
    return sympy.expand((double / 2 - (s2 - s1**2)).subs(s0, 1))


def _trap_residual(cosine: sympy.Expr) -> sympy.Expr:
    mu, precision = sympy.Matrix([1, 2]), sympy.diag(1, sympy.Rational(1, 4))
    v = precision * mu
    squared = (mu.T * v)[0] ** 2 / ((mu.T * mu)[0] * (v.T * v)[0])
    return squared - cosine**2 if cosine.is_positive else squared


def derive_range(word: sympy.Expr = AGOP_WORD, trap_cosine: sympy.Expr = TRAP_COSINE) -> Derivation:
    """Derive the AGOP's range for C classes with one covariance, for all C, d and priors.

    vᵀ AGOP v = E‖JMAv‖² is zero if and only if JMAv = 0 almost everywhere, that is (J ⪰ 0, and its
    kernel the constants, at every x) if MAv is constant: Av is orthogonal to all μ_i − μ_j. So the
    kernel is the orthogonal complement of A·span(μ_i − μ_j): both inclusions.

    Args:
        word: The outer product at one point, to compare with.
        trap_cosine: The cosine of Σ⁻¹μ and μ in the example, likewise.

    Source: this project.
    """
    steps = (
        Step("Softmax of three logits has the Jacobian J.", partial(_softmax_residual, 3)),
        Step("So it has for any number of classes.", _softmax_any_size_residual),
        Step("The logits have the gradients Aμ_k, but for what they share.", _logits_residual),
        Step("vᵀJv = ½Σ p_ip_j(v_i − v_j)².", _kernel_residual),
        Step("Σ = diag(1, 4), μ = (1, 2).", partial(_trap_residual, trap_cosine)),
        Step("The AGOP of p is E AMᵀJ²MA.", partial(_word_residual, word)),
    )
    cites = ("the kernel of a symmetric matrix is the complement of its range",)
    return Derivation("range AGOP(p) = Σ⁻¹span(μ_i − μ_j).", steps, cites)
