r"""The derivation of `high_dimension`: from Isserlis' theorem to the closed forms and their minima.

Nothing is taken from random matrix theory but the concentration of the traces: that the pairings
of the highest order are the non-crossing partitions, each once, is enumerated for the words that
are needed, which have four, five and six letters.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import sympy

from ..derivation import Derivation, Step
from .high_dimension import (
    CENTRED,
    CONSTANT,
    GAUSSIAN,
    KURTOSIS,
    LAWS,
    LEAST_CENTRED,
    LEAST_CONSTANT,
    LEAST_RADEMACHER,
    LEAST_RATIO,
    MOMENTS,
    RADEMACHER,
    WORDS,
    squared_alignment,
)
from .noncrossing import Partition, kreweras, noncrossing_partitions
from .sample_words import (
    DIMENSION,
    RATIO,
    SAMPLES,
    expected_trace,
    limiting_trace,
    pairing_counts,
)

_CITES = (
    "Isserlis: the expectation of a product of Gaussian variables is a sum over pairings",
    "law of large numbers: 𝒦/k → E[a²] κ as k → ∞ at fixed data (alignment.infinite_width)",
    "concentration: traces of words in Gaussian matrices have covariances of lower order than the "
    "products of their means (Mingo and Speicher), so that ρ converges in probability",
)


# --- the wide network -------------------------------------------------------------------------


def _wide_residual() -> sympy.Expr:
    """With 𝒦 = XXᵀ, and X, Xᵀ, R that do not commute: XᵀR𝒦RX = A², XᵀR𝒦²RX = AΣA."""
    X, Xt, R = sympy.symbols("X X^T R", commutative=False)
    A, S, kernel = Xt * R * X, Xt * X, X * Xt
    nfm = sympy.expand(Xt * R * kernel * R * X - A**2)
    return nfm if nfm != 0 else sympy.expand(Xt * R * kernel**2 * R * X - A * S * A)


def _words_residual() -> sympy.Integer:
    """The words, up to cyclic order, of the three inner products of N = AA and G = ASA."""
    nfm, agop = "AA", "ASA"
    products = (nfm + agop, nfm + nfm, agop + agop)
    return sympy.Integer(sum(_least(p) != _least(w) for p, w in zip(products, WORDS, strict=True)))


def _least(word: str) -> str:
    return min(word[i:] + word[:i] for i in range(len(word)))


# --- leading order ----------------------------------------------------------------------------


def _genus_residual(letters: int) -> sympy.Integer:
    """Count the pairings beyond the highest order, and those at it that are not as claimed."""
    found: Counter[tuple[Partition, int]] = Counter()
    beyond = 0
    for (partition, coordinates), count in pairing_counts(letters).items():
        order = len(partition) + coordinates
        beyond += count * (order > letters + 1)
        if order == letters + 1:
            found[partition, coordinates] += count
    wanted = Counter((p, len(kreweras(p))) for p in noncrossing_partitions(letters))
    return sympy.Integer(beyond + (found - wanted).total() + (wanted - found).total())


def _leading_residual(word: str) -> sympy.Expr:
    """The leading coefficient in n of the exact expectation at d = γn, and the limit."""
    exact = expected_trace(word, MOMENTS).subs(DIMENSION, RATIO * SAMPLES)
    polynomial = sympy.Poly(sympy.expand(exact), SAMPLES)
    wrong_degree = polynomial.degree() - len(word) - 1
    difference = sympy.expand(polynomial.LC() - limiting_trace(word, MOMENTS))
    return difference if wrong_degree == 0 else sympy.Integer(wrong_degree)


_LIMIT_STEPS = (
    Step("𝒦 ∝ XXᵀ for quadratic units, so ẆᵀẆ ∝ A² and ẆᵀKẆ ∝ AΣA.", _wide_residual),
    Step("ρ takes the traces of A⁴Σ, A⁴ and A²ΣA²Σ.", _words_residual),
    *(
        Step(
            f"{m} letters: no pairing has more than {m + 1} free indices, and those that have are "
            "the non-crossing partitions with their complements, each once.",
            partial(_genus_residual, m),
        )
        for m in (4, 5, 6)
    ),
    *(
        Step(
            f"tr {word}: n^{len(word) + 1} times the non-crossing sum is the leading term of the "
            "exact expectation, for any moments.",
            partial(_leading_residual, word),
        )
        for word in WORDS
    ),
)


# --- the three laws, and the centred ones -----------------------------------------------------


def _law_residual(claimed: sympy.Expr, moments: tuple[sympy.Expr, ...]) -> sympy.Expr:
    """Compare ρ with N/√(P Q), whose squares agree, with the sign at γ = 1."""
    squares = sympy.cancel(sympy.together(claimed**2 - squared_alignment(moments)))
    negative = claimed.subs({RATIO: 1, KURTOSIS: 1}).is_positive is not True
    return squares if squares != 0 else sympy.Integer(negative)


def _squared_residual(claimed: sympy.Expr, moments: tuple[sympy.Expr, ...]) -> sympy.Expr:
    return sympy.cancel(sympy.together(claimed - squared_alignment(moments)))


def _ends_residual() -> sympy.Expr:
    """ρ → 1 at both ends for any law: the outer coefficients of N² and of PQ coincide."""
    mean, centred = MOMENTS, (0, *MOMENTS[1:])
    return (
        abs(_outer_ratio(mean, 0) - 1)
        + abs(_outer_ratio(mean, -1) - 1)
        + abs(_outer_ratio(centred, -1) - 1)
    )


def _outer_ratio(moments: tuple[sympy.Expr, ...], end: int) -> sympy.Expr:
    """The ratio of the coefficients at the highest (0) or lowest (−1) power; 0 if these differ."""
    numerator, denominator = sympy.fraction(squared_alignment(moments))
    (top,), above = sympy.Poly(numerator, RATIO).terms()[end]
    (bottom,), below = sympy.Poly(denominator, RATIO).terms()[end]
    return sympy.cancel(above / below) if top == bottom else sympy.Integer(0)


def derive_alignment(
    rademacher: sympy.Expr = RADEMACHER.expression,
    gaussian: sympy.Expr = GAUSSIAN.expression,
    constant: sympy.Expr = CONSTANT.expression,
    centred: sympy.Expr = CENTRED,
) -> Derivation:
    """Derive ρ for the three named laws and ρ² for centred ones.

    Args:
        rademacher: The claimed ρ(γ) for residuals ±1.
        gaussian: The claimed ρ(γ) for Gaussian residuals.
        constant: The claimed ρ(γ) for equal residuals.
        centred: The claimed ρ² for centred residuals with kurtosis μ.

    Source: this project.
    """
    claims = {"rademacher": rademacher, "gaussian": gaussian, "constant": constant}
    compared = (
        Step(f"{name}: the claimed ρ.", partial(_law_residual, claimed, LAWS[name]))
        for name, claimed in claims.items()
    )
    kurtosis_law = (sympy.Integer(0), sympy.Integer(1), MOMENTS[2], KURTOSIS)
    steps = (
        *_LIMIT_STEPS,
        Step("ρ → 1 as γ → 0 and as γ → ∞, whatever the law.", _ends_residual),
        Step("Centred: the claimed ρ².", partial(_squared_residual, centred, kurtosis_law)),
        *compared,
    )
    goal = "The alignment of wide quadratic networks in high dimension."
    return Derivation(goal, steps, _CITES)


# --- minima -----------------------------------------------------------------------------------


def _least_in_t(t: sympy.Expr) -> sympy.Expr:
    return (t + 3) ** 2 / ((t + 2) * (t + 5))


def _substitution_residual() -> sympy.Expr:
    """ρ² is a function of t = μ + μγ + 2/γ alone."""
    t = KURTOSIS + KURTOSIS * RATIO + 2 / RATIO
    return sympy.cancel(sympy.together(CENTRED - _least_in_t(t)))


def _square_residual() -> sympy.Expr:
    """t − t* = (√(μγ) − √(2/γ))² with t* = μ + 2√(2μ)."""
    root = sympy.sqrt(KURTOSIS * RATIO) - sympy.sqrt(2 / RATIO)
    t = KURTOSIS + KURTOSIS * RATIO + 2 / RATIO
    return sympy.simplify(sympy.expand(root**2) - (t - KURTOSIS - 2 * sympy.sqrt(2 * KURTOSIS)))


def _slope_residual() -> sympy.Expr:
    """The slope in t is (t − 1)(t + 3)/((t + 2)(t + 5))², positive beyond t = 1."""
    t = sympy.Symbol("t", positive=True)
    slope = (t - 1) * (t + 3) / ((t + 2) * (t + 5)) ** 2
    return sympy.cancel(sympy.diff(_least_in_t(t), t) - slope)


def _location_residual(claimed: sympy.Expr) -> sympy.Expr:
    """The square vanishes at the claimed γ, so t = t* there."""
    root = sympy.sqrt(KURTOSIS) * claimed - sympy.sqrt(2)
    return sympy.simplify(root)


def _value_residual(claimed: sympy.Expr) -> sympy.Expr:
    least = _least_in_t(KURTOSIS + 2 * sympy.sqrt(2 * KURTOSIS))
    root = sympy.Symbol("x", positive=True)  # √(2μ), so that both sides are rational
    return sympy.cancel(sympy.together((claimed - least).subs(KURTOSIS, root**2 / 2)))


def _increasing_in_kurtosis_residual() -> sympy.Expr:
    """dt*/dμ = 1 + √(2/μ)."""
    least = KURTOSIS + 2 * sympy.sqrt(2 * KURTOSIS)
    return sympy.simplify(sympy.diff(least, KURTOSIS) - 1 - sympy.sqrt(2 / KURTOSIS))


def _signs_residual(claimed: sympy.Expr) -> sympy.Expr:
    return sympy.simplify(sympy.radsimp(_least_in_t(1 + 2 * sympy.sqrt(2))) - claimed)


def derive_least_centred(
    ratio: sympy.Expr = LEAST_RATIO,
    squared: sympy.Expr = LEAST_CENTRED,
    signs: sympy.Expr = LEAST_RADEMACHER,
) -> Derivation:
    """Derive where a centred law aligns least, how much, and which law aligns least of all.

    Args:
        ratio: The claimed γ, in the kurtosis μ.
        squared: The claimed ρ² there.
        signs: The claimed ρ² there for residuals ±1, the least over all centred laws.

    Source: this project.
    """
    steps = (
        Step("ρ² depends on t = μ + μγ + 2/γ alone.", _substitution_residual),
        Step("t exceeds t* = μ + 2√(2μ) by a square.", _square_residual),
        Step("ρ² increases with t for t > 1, and t* > 1 as μ ≥ 1.", _slope_residual),
        Step("The square vanishes at the claimed γ.", partial(_location_residual, ratio)),
        Step("ρ² at t* is as claimed.", partial(_value_residual, squared)),
        Step("t* increases with μ, so μ = 1 is the least.", _increasing_in_kurtosis_residual),
        Step("At μ = 1 it is as claimed.", partial(_signs_residual, signs)),
    )
    cites = ("Cauchy–Schwarz: m_4 ≥ m_2², so μ ≥ 1, with equality for residuals ±c alone",)
    return Derivation("The least alignment of centred residuals.", steps, cites)


def _symmetry_residual() -> sympy.Expr:
    """Constant residuals: ρ² as a function of s = γ + 1/γ."""
    s = RATIO + 1 / RATIO
    return sympy.cancel(sympy.together(CONSTANT.expression**2 - _constant_in_s(s)))


def _constant_in_s(s: sympy.Expr) -> sympy.Expr:
    return (s**2 + 10 * s + 18) ** 2 / ((s + 2) * (s + 5) * (s**2 + 14 * s + 34))


def _increasing_residual() -> sympy.Integer:
    """The slope in s, shifted to s = 2 + u, u ≥ 0, has a numerator with positive coefficients."""
    u = sympy.Symbol("u", nonnegative=True)
    slope = sympy.diff(_constant_in_s(2 + u), u)
    numerator, denominator = sympy.fraction(sympy.cancel(slope))
    coefficients = [
        c for part in (numerator, denominator) for c in sympy.Poly(part, u).all_coeffs()
    ]
    return sympy.Integer(sum(c.is_negative is True for c in coefficients))


def _shift_residual() -> sympy.Expr:
    """γ + 1/γ − 2 = (1 − γ)²/γ."""
    return sympy.cancel(RATIO + 1 / RATIO - 2 - (1 - RATIO) ** 2 / RATIO)


def derive_least_constant(squared: sympy.Expr = LEAST_CONSTANT) -> Derivation:
    """Derive that constant residuals align least at γ = 1, where d = n.

    Args:
        squared: The claimed ρ² there.

    Source: this project.
    """
    steps = (
        Step("ρ² depends on s = γ + 1/γ alone.", _symmetry_residual),
        Step("s exceeds 2 by a square that vanishes at γ = 1 alone.", _shift_residual),
        Step("ρ² increases with s for s ≥ 2.", _increasing_residual),
        Step("At s = 2 it is as claimed.", lambda: _constant_in_s(sympy.Integer(2)) - squared),
    )
    return Derivation("The least alignment of constant residuals.", steps)
