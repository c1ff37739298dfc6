r"""The quadratic discriminant: two Gaussian classes with different covariances.

With A± = Σ±⁻¹, D = A₋ − A₊ and Δ = μ₊ − μ₋ the logit has the gradient Dx + b, which is A₋Δ at μ₊
and A₊Δ at μ₋, so that under the mixture, exactly,

    AGOP(ℓ) = D(π₊Σ₊ + π₋Σ₋)D + π₊A₋ΔΔᵀA₋ + π₋A₊ΔΔᵀA₊.

Its range is range D + span(A₊Δ), and so is that of the posterior's AGOP, for all priors. So the
rank is one if and only if D = 0 ≠ Δ, or D = σvvᵀ ≠ 0 and A₊Δ = sv (s = 0 included); then the
logit's AGOP is [σ²vᵀ(π₊Σ₊ + π₋Σ₋)v + π₊(s + σvᵀΔ)² + π₋s²]vvᵀ.

In Σ₊ = I, Σ₋ = diag(1, 4), Δ = (1, 0) every linear discriminant is e₁, but the AGOP is
diag(1, 45/32) at equal priors: its top eigenvector e₂ separates nothing linearly (AUC ½).
"""

from __future__ import annotations

from functools import partial

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced, trace
from ..rfm.doubles import representable
from .class_moments import positive_definite, probability


def quadratic_logit_agop(
    first_mean: ArrayLike,
    second_mean: ArrayLike,
    first_covariance: ArrayLike,
    second_covariance: ArrayLike,
    prior: float = 0.5,
) -> RealArray:
    """Return E[∇ℓ∇ℓᵀ] of the Bayes logit under the mixture, shape (d, d).

    Args:
        first_mean: μ₊, shape (d,).
        second_mean: μ₋, likewise.
        first_covariance: Σ₊, shape (d, d), symmetric positive definite.
        second_covariance: Σ₋, likewise.
        prior: π₊ of the first class.

    Raises:
        TypeError: If entries or the prior are not real numbers.
        ValueError: If shapes do not fit, an entry is NaN or infinite, a covariance is not symmetric
            positive definite, or the prior is outside (0, 1).
        OverflowError: If a number on the way is larger than every double.

    Source: this project.

    Example:
        >>> quadratic_logit_agop([1, 0], [0, 0], np.eye(2), np.diag([1.0, 4.0]))
        array([[1.     , 0.     ],
               [0.     , 1.40625]])
    """
    difference, S, T = _classes(first_mean, second_mean, first_covariance, second_covariance)
    weight = probability("prior", prior)
    with np.errstate(over="ignore", invalid="ignore"):  # what is infinite is refused by name
        A, B = np.linalg.inv(S), np.linalg.inv(T)
        D, g, h = B - A, B @ difference, A @ difference
        pooled = weight * S + (1 - weight) * T
        agop = D @ pooled @ D.T + weight * np.outer(g, g) + (1 - weight) * np.outer(h, h)
        return representable("the AGOP", np.asarray(agop / 2 + agop.T / 2))


def quadratic_logit_space(
    first_mean: ArrayLike,
    second_mean: ArrayLike,
    first_covariance: ArrayLike,
    second_covariance: ArrayLike,
) -> RealArray:
    """Return an orthonormal basis of range D + span(A₊Δ), the range of the AGOP, shape (d, r).

    The AGOPs of the logit and of the posterior have this range, for every prior. Parts of D below
    1e-12 of the largest entry of A± count as none, so that well-conditioned covariances are needed.

    Args:
        first_mean: μ₊, as `quadratic_logit_agop`.
        second_mean: μ₋, likewise.
        first_covariance: Σ₊, likewise.
        second_covariance: Σ₋, likewise.

    Raises:
        TypeError: As `quadratic_logit_agop`.
        ValueError: As `quadratic_logit_agop`.
        OverflowError: If an inverse of a covariance is larger than every double.

    Source: this project.

    Example:
        >>> quadratic_logit_space([1, 0], [0, 0], np.eye(2), np.eye(2)).shape
        (2, 1)
    """
    difference, S, T = _classes(first_mean, second_mean, first_covariance, second_covariance)
    with np.errstate(over="ignore", invalid="ignore"):
        A, B = (representable("Σ⁻¹", np.asarray(np.linalg.inv(X))) for X in (S, T))
    size = max(np.abs(A).max(), np.abs(B).max())
    parts = (B / size - A / size, _unit(A / size @ _unit(difference))[:, np.newaxis])
    left, singular, _ = np.linalg.svd(np.hstack(parts), full_matrices=False)
    return np.asarray(left[:, singular > 1e-12])


def _unit(vector: RealArray) -> RealArray:
    largest = float(np.abs(vector).max())
    scaled = vector / largest if largest else vector  # squares neither overflow nor vanish
    return scaled / (float(np.linalg.norm(scaled)) or 1.0)


def _classes(
    first_mean: ArrayLike,
    second_mean: ArrayLike,
    first_covariance: ArrayLike,
    second_covariance: ArrayLike,
) -> tuple[RealArray, RealArray, RealArray]:
    m, n = finite_array("first_mean", first_mean), finite_array("second_mean", second_mean)
    if m.ndim != 1 or m.shape != n.shape:
        raise ValueError(
            f"first_mean has shape {m.shape}, second_mean {n.shape}; (d,) twice is allowed"
        )
    with np.errstate(over="ignore"):  # what is infinite is refused by name
        difference = m - n
    return (
        finite_array("first_mean - second_mean", difference),
        positive_definite("first_covariance", first_covariance, len(m)),
        positive_definite("second_covariance", second_covariance, len(m)),
    )


# --- derivation -------------------------------------------------------------------------------

_T = sympy.transpose
A, B, S, T, M, N = matrices("A B S T mu nu")
FIRST_PRIOR = sympy.Symbol("pi", positive=True)

AGOP_WORD = (
    (B - A) * (FIRST_PRIOR * S + (1 - FIRST_PRIOR) * T) * (B - A)
    + FIRST_PRIOR * B * (M - N) * _T(M - N) * B
    + (1 - FIRST_PRIOR) * A * (M - N) * _T(M - N) * A
)
"""A, B are the inverses of the covariances S, T of the classes with means μ, ν."""

EXAMPLE = (sympy.Integer(1), sympy.Rational(45, 32))
"""The AGOP's eigenvalues along the linear discriminant and across it, in the example."""

_RULES = {_T(A): A, _T(B): B, _T(S): S, _T(T): T}


def _gradient_residual() -> sympy.Expr:
    """ℓ(x + h) − ℓ(x) = (Dx + b)ᵀh + ½hᵀDh, which is the gradient Dx + Aμ − Bν."""
    x, h = matrices("x h")

    def logit(point: sympy.Expr) -> sympy.Expr:
        first = -_T(point - M) * A * (point - M) / 2
        return first + _T(point - N) * B * (point - N) / 2

    gradient = (B - A) * x + A * M - B * N
    rest = logit(x + h) - logit(x) - _T(gradient) * h - _T(h) * (B - A) * h / 2
    word = sympy.expand(rest)
    return sympy.expand(trace(reduced(word + _T(word), _RULES)))


def _class_residual() -> sympy.Expr:
    """At μ the gradient is BΔ, at ν it is AΔ; they differ by DΔ, which lies in range D."""
    difference = M - N
    gradient = [(B - A) * point + A * M - B * N for point in (M, N)]
    return first_nonzero(
        sympy.expand(gradient[0] - B * difference),
        sympy.expand(gradient[1] - A * difference),
        sympy.expand(gradient[0] - gradient[1] - (B - A) * difference),
    )


def _agop_residual(word: sympy.Expr) -> sympy.Expr:
    """Within a class x = μ + s, E ssᵀ = S: the mean of (g + Ds)(g + Ds)ᵀ is ggᵀ + DSD."""
    s = matrices("s")[0]

    def mean(centre: sympy.Expr, covariance: sympy.Expr) -> sympy.Expr:
        gradient = (B - A) * (centre + s) + A * M - B * N
        outer = reduced(gradient * _T(gradient), _RULES)
        even = reduced(outer, {s * _T(s): covariance})
        return sympy.Add(
            *(term for term in sympy.Add.make_args(even) if not term.has(s))
        )  # odd terms have mean 0

    derived = FIRST_PRIOR * mean(M, S) + (1 - FIRST_PRIOR) * mean(N, T)
    return sympy.expand(reduced(sympy.expand(derived - word), _RULES))


def _example_residual(word: sympy.Expr, along: sympy.Expr, across: sympy.Expr) -> sympy.Expr:
    """S = I, T = diag(1, 4), Δ = (1, 0): the claimed word with these matrices is diagonal."""
    values = {
        A: sympy.eye(2),
        B: sympy.diag(1, sympy.Rational(1, 4)),
        S: sympy.eye(2),
        T: sympy.diag(1, 4),
        M: sympy.Matrix([1, 0]),
        N: sympy.Matrix([0, 0]),
    }
    found = _with_matrices(word.subs(FIRST_PRIOR, sympy.Rational(1, 2)), values)
    return first_nonzero(found[0, 1], found[1, 0], found[0, 0] - along, found[1, 1] - across)


def _with_matrices(word: sympy.Expr, values: dict[sympy.Symbol, sympy.Matrix]) -> sympy.Matrix:
    total = sympy.zeros(2, 2)
    for term in sympy.Add.make_args(sympy.expand(word)):
        scalars, letters = term.args_cnc()
        product = sympy.eye(2)
        for letter in letters:
            base, power = letter.as_base_exp()
            matrix = values[base] if base in values else values[base.args[0]].T
            for _ in range(int(power)):
                product = product * matrix
        total += sympy.prod(scalars) * product
    return total


def _rank_residual() -> sympy.Expr:
    """DSD = (S^{1/2}D)ᵀ(S^{1/2}D) has the kernel of S^{1/2}D, which is that of D, as S ≻ 0."""
    root, D = matrices("R D")
    rules = {_T(root): root, _T(D): D}
    return sympy.expand(reduced(_T(root * D) * root * D - D * root**2 * D, rules))


def _line_residual() -> sympy.Expr:
    """D = vwᵀ = Dᵀ, applied to v, gives w·vᵀv = v·wᵀv: w ∥ v, so that D = σvvᵀ."""
    v, w = matrices("v w")
    symmetry = {v * _T(w): w * _T(v)}
    return sympy.expand(reduced(v * _T(w) * v, symmetry) - w * _T(v) * v)


def _rank_one_residual() -> sympy.Expr:
    """With B = A + σvvᵀ and AΔ = sv all three terms of the AGOP are multiples of vvᵀ."""
    v = matrices("v")[0]
    sigma, s = sympy.symbols("sigma s", real=True)
    pooled = FIRST_PRIOR * S + (1 - FIRST_PRIOR) * T
    steep = s * v + sigma * v * _T(v) * (M - N)
    claimed = (
        sigma**2 * v * _T(v) * pooled * v * _T(v)
        + FIRST_PRIOR * steep * _T(steep)
        + (1 - FIRST_PRIOR) * s**2 * v * _T(v)
    )
    rules = {_T(A): A, A * M: s * v + A * N, _T(M) * A: s * _T(v) + _T(N) * A}
    difference = AGOP_WORD.subs(B, A + sigma * v * _T(v)) - claimed
    return sympy.expand(reduced(sympy.expand(difference), rules))


def derive_quadratic_logit(
    word: sympy.Expr = AGOP_WORD,
    along: sympy.Expr = EXAMPLE[0],
    across: sympy.Expr = EXAMPLE[1],
) -> Derivation:
    """Derive the AGOP of the quadratic discriminant's logit, for all sizes, means and priors.

    A symmetric D of rank one is vwᵀ and so σvvᵀ; a range of rank one holds both range D and AΔ.
    The range of a sum of positive semidefinite matrices is the sum of the ranges: that of DSD is
    range D, and AΔ differs from BΔ by an element of it. The posterior's AGOP has the positive
    weight η²(1−η)² in the mean: its kernel is that of all Dx + b, too.

    Args:
        word: The AGOP in ``A``, ``B``, ``S``, ``T``, ``M``, ``N``, ``FIRST_PRIOR``, to compare.
        along: The AGOP's eigenvalue along the linear discriminant in the example, likewise.
        across: That across it, likewise.

    Source: this project.
    """
    steps = (
        Step("∇ℓ = Dx + b.", _gradient_residual),
        Step("∇ℓ is BΔ at μ and AΔ at ν.", _class_residual),
        Step("DSD is a Gram matrix of S^{1/2}D.", _rank_residual),
        Step("D = vwᵀ is symmetric for w ∥ v only.", _line_residual),
        Step("D = σvvᵀ and AΔ = sv: rank one.", _rank_one_residual),
        Step("The example.", partial(_example_residual, AGOP_WORD, along, across)),
        Step("The AGOP.", partial(_agop_residual, word)),
    )
    cites = ("the range of a sum of positive semidefinite matrices is the sum of their ranges",)
    return Derivation("AGOP(ℓ) = DPD + π₊A₋ΔΔᵀA₋ + π₋A₊ΔΔᵀA₊.", steps, cites)
