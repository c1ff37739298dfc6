r"""Initial alignment of wide quadratic networks on high-dimensional Gaussian data.

f = aᵀ(Wx)² with k hidden units, rows x ~ N(0, I_d), residuals iid and independent of the data.
First k → ∞ at fixed n and d: the pre-activation kernel is proportional to XXᵀ, so that
ẆᵀẆ ∝ A² and ẆᵀKẆ ∝ AΣA with A = Xᵀ diag(r) X and Σ = XᵀX. Then n, d → ∞ with d/n → γ: traces of
words in A and Σ converge to sums over non-crossing partitions, and with them

    ρ² = (tr A⁴Σ)² / (tr A⁴ · tr A²ΣA²Σ).

The limit depends on the law of the residuals through its first four moments, up to scale; for a
centred law through its kurtosis alone.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import sympy

from ..closed_form import ClosedForm
from ..closed_form.arguments import exact
from ..validation import integer
from .sample_words import RATIO, expected_trace, limiting_trace

KURTOSIS = sympy.Symbol("mu", positive=True)
MOMENTS = sympy.symbols("m_1:5", real=True)

WORDS = ("AAAAS", "AAAA", "AASAAS")
"""tr(A² · AΣA), ‖A²‖² and ‖AΣA‖²."""

LAWS: dict[str, tuple[int, int, int, int]] = {
    "rademacher": (0, 1, 0, 1),
    "gaussian": (0, 1, 0, 3),
    "constant": (1, 1, 1, 1),
}
"""The first four moments of the named laws."""

_g, _mu = RATIO, KURTOSIS

RADEMACHER = ClosedForm(
    "alignment.high_dimension.rademacher",
    (_g**2 + 4 * _g + 2) / sympy.sqrt((_g + 1) * (_g + 2) * (_g**2 + 6 * _g + 2)),
    RATIO,
    (0, sympy.oo),
)
GAUSSIAN = ClosedForm(
    "alignment.high_dimension.gaussian",
    (3 * _g**2 + 6 * _g + 2) / sympy.sqrt((_g + 1) * (3 * _g + 2) * (3 * _g**2 + 8 * _g + 2)),
    RATIO,
    (0, sympy.oo),
)
CONSTANT = ClosedForm(
    "alignment.high_dimension.constant",
    (_g**4 + 10 * _g**3 + 20 * _g**2 + 10 * _g + 1)
    / (_g + 1)
    / sympy.sqrt((_g**2 + 5 * _g + 1) * (_g**4 + 14 * _g**3 + 36 * _g**2 + 14 * _g + 1)),
    RATIO,
    (0, sympy.oo),
)

CENTRED = (_mu * _g**2 + (_mu + 3) * _g + 2) ** 2 / (
    (_g + 1) * (_mu * _g + 2) * (_mu * _g**2 + (_mu + 5) * _g + 2)
)
"""ρ² for a centred law with kurtosis μ = m_4/m_2²; skewness does not enter."""

LEAST_RATIO = sympy.sqrt(2 / _mu)
"""γ at which a centred law with kurtosis μ aligns least."""

_excess = _mu + 2 * sympy.sqrt(2 * _mu)
LEAST_CENTRED = (_excess + 3) ** 2 / ((_excess + 2) * (_excess + 5))
"""ρ² there. It increases with μ ≥ 1, so that signs ±1 align least among all centred laws."""

LEAST_RADEMACHER = (12 - 4 * sympy.sqrt(2)) / 7
"""ρ² of signs ±1 at γ = √2: the least over all centred laws and all γ."""

LEAST_CONSTANT = sympy.Rational(21, 22)
"""ρ² of equal residuals at γ = 1, their least."""

_NAMED = {"rademacher": RADEMACHER, "gaussian": GAUSSIAN, "constant": CONSTANT}


@dataclass(frozen=True)
class LeastAlignment:
    """Where a law of residuals aligns least.

    Attributes:
        ratio: γ = d/n, an algebraic number.
        squared: ρ² there, an algebraic number.
    """

    ratio: sympy.Expr
    squared: sympy.Expr

    @property
    def correlation(self) -> float:
        """ρ as a float."""
        return float(sympy.sqrt(self.squared).evalf(30))


def high_dimensional_alignment(
    gamma: Any, residuals: str = "rademacher", *, moments: Sequence[Any] | None = None
) -> Any:
    """Return the limiting correlation ρ of ẆᵀẆ and ẆᵀKẆ as k → ∞ and then n, d → ∞.

    Args:
        gamma: lim d/n > 0: int, float, Fraction or str, taken exactly, or a real array.
        residuals: "rademacher", "gaussian" or "constant"; not used where moments are given.
        moments: (m_1, m_2, m_3, m_4) of any other law of residuals, taken exactly.

    Returns:
        A float, correctly rounded, or an array, within 4 ulp.

    Raises:
        TypeError: If an argument is no real number.
        ValueError: If gamma is not finite and positive, the law is unknown, or the moments are
            those of no law or of the law at 0.

    Source: paper C (that alignment occurs), this project (the formulas).

    >>> high_dimensional_alignment(1)
    0.9525793444156804
    """
    return alignment_form(residuals, moments=moments)(gamma)


def alignment_form(
    residuals: str = "rademacher", *, moments: Sequence[Any] | None = None
) -> ClosedForm:
    """Return ρ as a closed form in γ.

    Arguments and errors are those of `high_dimensional_alignment`.
    """
    if moments is not None:
        return _form_of_moments(check_moments(moments))
    return _NAMED[_law(residuals)]


def squared_alignment(moments: Sequence[Any] = MOMENTS, ratio: Any = RATIO) -> sympy.Expr:
    """Return ρ² from its non-crossing partitions, for symbolic or numeric moments.

    Args:
        moments: m_1 to m_4.
        ratio: γ.
    """
    cross, nfm, agop = (limiting_trace(word, moments, ratio) for word in WORDS)
    return cross**2 / (nfm * agop)


def finite_alignment(
    samples: int,
    dimension: int,
    residuals: str = "rademacher",
    *,
    moments: Sequence[Any] | None = None,
) -> Fraction:
    """Return (E tr A⁴Σ)² / (E‖A²‖² · E‖AΣA‖²) at finite n and d, exactly.

    This is the ratio of the expectations; it differs from E ρ² by O(1/n).

    Args:
        samples: n >= 1.
        dimension: d >= 1.
        residuals: As in `high_dimensional_alignment`.
        moments: As in `high_dimensional_alignment`.

    Raises:
        TypeError: If a size is not an integer, or a moment no real number.
        ValueError: If a size is less than 1, or as in `high_dimensional_alignment`.

    >>> finite_alignment(1, 1)
    Fraction(9, 11)
    """
    n, d = integer("samples", samples, 1), integer("dimension", dimension, 1)
    law = LAWS[_law(residuals)] if moments is None else check_moments(moments)
    cross, nfm, agop = (_fraction(expected_trace(word, law, n, d)) for word in WORDS)
    return cross**2 / (nfm * agop)


def least_alignment(
    residuals: str = "rademacher", *, moments: Sequence[Any] | None = None
) -> LeastAlignment:
    """Return where over all γ the alignment is smallest, and how small it is there.

    The candidates are the positive roots of an exact polynomial; ρ tends to 1 at both ends.

    Arguments and errors are those of `high_dimensional_alignment`.

    >>> least_alignment("rademacher").ratio, least_alignment("constant").squared
    (sqrt(2), 21/22)
    """
    law = LAWS[_law(residuals)] if moments is None else check_moments(moments)
    squared = sympy.cancel(squared_alignment([_rational(m) for m in law]))
    found = [root for root in _critical_points(squared) if root.is_positive]
    ratio = min(found, key=lambda root: squared.subs(RATIO, root).evalf(50))
    return LeastAlignment(ratio, sympy.radsimp(squared.subs(RATIO, ratio)))


def check_moments(moments: Sequence[Any]) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    """Return four moments as exact rationals, or say why they are those of no law.

    The matrix of (m_{i+j}), i, j ≤ 2, must have no negative principal minor (beyond 1e-12 of its
    largest term, for moments that were rounded), and m_2 must be positive.

    Raises:
        TypeError: If a moment is no real number.
        ValueError: If there are not four, or no law has them.
    """
    if isinstance(moments, str) or len(moments) != 4:
        raise ValueError(f"moments = {moments!r} must be four numbers, m_1 to m_4")
    m1, m2, m3, m4 = (exact(m, f"moments[{i}]") for i, m in enumerate(moments))
    if m2 <= 0:
        raise ValueError(f"moments = {moments!r}: m_2 must be positive, residuals are not all 0")
    determinant = m2 * m4 + 2 * m1 * m2 * m3 - m2**3 - m3**2 - m1**2 * m4
    minors = {
        "m_2 − m_1²": (m2 - m1**2, m2),
        "m_4 − m_2²": (m4 - m2**2, abs(m4)),
        "m_2 m_4 − m_3²": (m2 * m4 - m3**2, m2 * abs(m4)),
        "the determinant of (m_{i+j})": (determinant, m2 * abs(m4)),
    }
    for name, (minor, scale) in minors.items():
        if minor < -scale / 10**12:
            raise ValueError(f"moments = {moments!r} belong to no law: {name} must not be negative")
    return m1, m2, m3, m4


def _law(residuals: object) -> str:
    if not isinstance(residuals, str) or residuals not in LAWS:
        raise ValueError(f"residuals = {residuals!r} must be one of {', '.join(LAWS)}, or moments")
    return residuals


@functools.lru_cache(maxsize=64)
def _form_of_moments(moments: tuple[Fraction, ...]) -> ClosedForm:
    law = [_rational(m) for m in moments]
    cross, nfm, agop = (_without_powers(limiting_trace(word, law)) for word in WORDS)
    name = "alignment.high_dimension." + ",".join(map(str, moments))
    return ClosedForm(name, cross / sympy.sqrt(nfm * agop), RATIO, (0, sympy.oo))


def _without_powers(trace: sympy.Expr) -> sympy.Expr:
    """Divide by the power of γ that all terms share; in ρ these powers cancel."""
    polynomial = sympy.Poly(trace, RATIO)
    lowest = min(power for (power,) in polynomial.monoms())
    return sympy.horner(sympy.expand(trace / RATIO**lowest), wrt=RATIO)


def _critical_points(squared: sympy.Expr) -> list[sympy.Expr]:
    numerator, _ = sympy.fraction(sympy.cancel(sympy.diff(squared, RATIO)))
    roots = sympy.Poly(numerator, RATIO, domain="QQ").real_roots(multiple=False)
    return [root for root, _ in roots]


def _rational(number: Any) -> sympy.Rational:
    return sympy.Rational(number.numerator, number.denominator)


def _fraction(number: sympy.Rational) -> Fraction:
    return Fraction(int(number.p), int(number.q))
