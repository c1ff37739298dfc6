r"""The expected initial alignment of quadratic networks at finite width and dimension.

For f = a^T (W x)^2 with W of iid N(0, tau^2) entries, iid readout a and residuals that do not
depend on W, the three moments E tr(Wdot^T Wdot Wdot^T K Wdot), E|Wdot^T Wdot|^2 and
E|Wdot^T K Wdot|^2 are expectations of one word each (`wick`), in M = 4 W^T diag(a^2) W, A = X^T R X
and Sigma = X^T X. Residuals y - f(x) that contain the network's own random output are none such:
subtract that output at the start, or read the formulas as the leading order in the scale of W.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache, partial
from math import prod, sqrt
from typing import Any

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..derivation import Derivation, Step
from ..validation import integer
from .quadratic import EARLY_AGOP, EARLY_NFM, LETTER_A, LETTER_M, LETTER_SIGMA, SAMPLES
from .wick import (
    SPREAD,
    WIDTH,
    Number,
    expectation,
    symmetric_letters,
    trace_symbol,
    weight_moment,
    word_traces,
)

CROSS_WORD = "MAAMΣMAA"
NFM_WORD = "MAAMAA"
AGOP_WORD = "MΣMAAMΣMAA"

MOMENTS = 4
"""How many even moments of the readout the three expectations need: up to E a^8."""


def readout_moment(order: int) -> sympy.Symbol:
    """The symbol mu_2j = E a^(2j), for j = order."""
    return sympy.Symbol(f"mu_{2 * order}", positive=True)


@dataclass(frozen=True)
class AlignmentMoments:
    """The three exact moments as SymPy polynomials, or as numbers.

    Attributes:
        cross: E tr(Wdot^T Wdot Wdot^T K Wdot).
        nfm: E|Wdot^T Wdot|_F^2.
        agop: E|Wdot^T K Wdot|_F^2.
    """

    cross: Any
    nfm: Any
    agop: Any

    @property
    def squared_alignment(self) -> Any:
        """cross^2 / (nfm agop): an exact fraction or expression if the moments are exact."""
        return self.cross**2 / (self.nfm * self.agop)

    @property
    def alignment(self) -> float:
        """cross / sqrt(nfm agop) as a float."""
        return sqrt(float(self.squared_alignment)) * (1 if self.cross >= 0 else -1)


@lru_cache(maxsize=1)
def alignment_moments() -> AlignmentMoments:
    """The three moments as polynomials in k, tau, mu_2j, 1/n and traces of words in A and Σ.

    Source: this project.

    Example:
        >>> print(alignment_moments().nfm / SPREAD**4)
        16*k**2*mu_2**2*tr(AAAA) - 16*k*mu_2**2*tr(AAAA) + 16*k*mu_4*tr(AA)**2 + 32*k*mu_4*tr(AAAA)
    """
    return AlignmentMoments(
        in_readout_moments(expectation(CROSS_WORD).expression()) / SAMPLES,
        in_readout_moments(expectation(NFM_WORD).expression()),
        in_readout_moments(expectation(AGOP_WORD).expression()) / SAMPLES**2,
    )


def in_readout_moments(expression: sympy.Expr) -> sympy.Expr:
    """Replace m_j = E c^j by 4^j mu_2j, for the weights c = 4 a^2 of the quadratic network."""
    values = {weight_moment(j): 4**j * readout_moment(j) for j in range(1, MOMENTS + 1)}
    factors = (sympy.expand(f.subs(values)) for f in sympy.Mul.make_args(expression))
    return sympy.Mul(*factors)


# --- numbers -----------------------------------------------------------------------------------


def readout_moments(law: str, density: Number = Fraction(1, 4)) -> tuple[Number, ...]:
    """Return (E a^2, E a^4, E a^6, E a^8) of a named readout with E a^2 = 1.

    Args:
        law: "rademacher" (a = ±1, each with probability 1/2), "gaussian" (standard), or "sparse"
            (a = ±1/sqrt(p), each with probability p/2, and 0 else).
        density: p of the sparse readout, in (0, 1].

    Raises:
        ValueError: If the law is unknown, or p is not in (0, 1].

    Example:
        >>> readout_moments("gaussian")
        (Fraction(1, 1), Fraction(3, 1), Fraction(15, 1), Fraction(105, 1))
    """
    if not 0 < density <= 1:
        raise ValueError(f"density = {density!r} must be a probability in (0, 1]")
    laws: dict[str, Callable[[int], Number]] = {
        "rademacher": lambda _: Fraction(1),
        "gaussian": lambda j: Fraction(prod(range(1, 2 * j, 2))),
        "sparse": lambda j: 1 / density ** (j - 1),
    }
    if law not in laws:
        raise ValueError(f"moments = {law!r} must be one of {', '.join(laws)}, or a sequence")
    return tuple(laws[law](j) for j in range(1, MOMENTS + 1))


def expected_moments(
    width: int,
    A: ArrayLike,
    Sigma: ArrayLike,
    moments: str | Sequence[Number] = "rademacher",
    *,
    density: Number = Fraction(1, 4),
    variance: Number = 1,
    samples: int = 1,
) -> AlignmentMoments:
    """Return the three moments for given matrices; exact fractions if all that is given is exact.

    Args:
        width: k >= 1.
        A: (d, d), X^T diag(residuals) X.
        Sigma: (d, d), X^T X.
        moments: The name of a readout (see `readout_moments`) or (E a^2, E a^4, E a^6, E a^8).
        density: The share of non-zero entries of the sparse readout.
        variance: tau^2, of an entry of W.
        samples: n.

    Raises:
        TypeError: If width or samples is not an integer, or variance or an entry no real number.
        ValueError: If a matrix is not symmetric, finite and of the common size, the moments are
            those of no law, or the variance is not positive and finite.

    Source: this project.
    """
    n = integer("samples", samples, 1)
    even = readout_moments(moments, density) if isinstance(moments, str) else _checked(moments)
    weights = [4**j * mu for j, mu in enumerate(even, start=1)]
    letters = {"A": A, "Σ": Sigma}

    def value(word: str) -> Any:
        return expectation(word).value(letters, width, weights, variance)

    share = Fraction(1, n)
    return AlignmentMoments(value(CROSS_WORD) * share, value(NFM_WORD), value(AGOP_WORD) * share**2)


def expected_alignment(
    width: int,
    A: ArrayLike,
    Sigma: ArrayLike,
    moments: str | Sequence[Number] = "rademacher",
    *,
    density: Number = Fraction(1, 4),
) -> float:
    """Return E tr(Wdot^T Wdot Wdot^T K Wdot) / sqrt(E|Wdot^T Wdot|^2 E|Wdot^T K Wdot|^2).

    It is the ratio of exact expectations, not the expectation of the ratio. Both tend to
    `wide_alignment` as the width grows, because M / k tends to a multiple of the identity. At
    finite width they differ, and far if the readout has heavy tails: few networks with a large a
    dominate the moments. Neither the scale of W nor that of a matters.

    Args:
        width: k >= 1.
        A: (d, d), X^T diag(residuals) X; `quadratic.input_matrices(X, residuals)` gives both.
        Sigma: (d, d), X^T X.
        moments: The name of a readout (see `readout_moments`) or (E a^2, E a^4, E a^6, E a^8).
        density: The share of non-zero entries of the sparse readout.

    Raises:
        TypeError: If width is not an integer.
        ValueError: As `expected_moments`, or A or A Sigma A is 0, so that nothing moves.

    Source: this project.

    Example:
        >>> round(expected_alignment(3, [[2, 1], [1, -1]], [[3, 1], [1, 2]], "gaussian"), 6)
        0.731339
    """
    unit = _unit_letters(A, Sigma)
    found = expected_moments(width, unit["A"], unit["Sigma"], moments, density=density)
    return _moving(found).alignment


def wide_alignment(A: ArrayLike, Sigma: ArrayLike) -> float:
    """Return the limit of the alignment as the width grows: that of A^2 and A Sigma A.

    Args:
        A: (d, d), X^T diag(residuals) X.
        Sigma: (d, d), X^T X.

    Raises:
        ValueError: If a matrix is not symmetric, finite and of the common size, or A or A Sigma A
            is 0.

    Source: paper C.
    """
    words = (("A",) * 4 + ("Σ",), ("A",) * 4, ("A", "A", "Σ") * 2)
    unit = _unit_letters(A, Sigma)
    traces = word_traces(set(words), {"A": unit["A"], "Σ": unit["Sigma"]})
    return _moving(AlignmentMoments(*(traces[word] for word in words))).alignment


def _unit_letters(A: ArrayLike, Sigma: ArrayLike) -> dict[str, Any]:
    """Both matrices with a largest entry of 1, so that no power of theirs overflows."""
    letters = symmetric_letters({"A": A, "Sigma": Sigma})
    largest = {name: abs(matrix).max() for name, matrix in letters.items()}
    if not all(largest.values()):
        raise ValueError(_STILL)
    return {
        name: matrix
        * (1 / Fraction(largest[name]) if matrix.dtype == object else 1 / largest[name])
        for name, matrix in letters.items()
    }


def _moving(found: AlignmentMoments) -> AlignmentMoments:
    if found.nfm == 0 or found.agop == 0:
        raise ValueError(_STILL)
    return found


_STILL = "A or A Sigma A is 0: one that is not is allowed, else the first layer stands still"


def _checked(moments: Sequence[Number]) -> tuple[Number, ...]:
    """Refuse moments that no random a^2 has (Stieltjes: both Hankel matrices are nonnegative)."""
    even = tuple(moments)
    if len(even) != MOMENTS:
        raise ValueError(f"moments has {len(even)} entries; E a^2, E a^4, E a^6, E a^8 are needed")
    if any(mu - mu != 0 or mu <= 0 for mu in even):
        raise ValueError(f"moments = {even!r} must be finite numbers > 0")
    scaled = [1.0] + [float(mu / even[0] ** j) for j, mu in enumerate(even, start=1)]
    for first, size in ((0, 3), (1, 2)):
        hankel = np.array([[scaled[first + i + j] for j in range(size)] for i in range(size)])
        least = np.linalg.eigvalsh(hankel / np.sqrt(np.outer(hankel.diagonal(), hankel.diagonal())))
        if least[0] < -1e-12:
            raise ValueError(f"moments = {even!r} must be those of a law: no a has such moments")
    return even


# --- derivation --------------------------------------------------------------------------------

WIDE_LIMIT = (
    trace_symbol(("A", "A", "A", "A", "Σ")) ** 2
    / trace_symbol(("A",) * 4)
    / trace_symbol(("A", "A", "Σ") * 2)
)
"""The squared alignment in the limit of infinite width."""


def printed_rule(word: str) -> sympy.Expr:
    """The expectation if every row loop through j blocks carried k E c^j, whatever the others do.

    Right for readouts of constant modulus, wrong for all others.
    """

    def rows(loops: Sequence[int], width: Any, moment: Callable[[int], Any]) -> Any:
        return prod(width * moment(j) for j in loops)

    found = expectation(word)
    return in_readout_moments(replace(found, rows=rows).expression())


SHARED_ROW = (16 * WIDTH * SPREAD**4 * (readout_moment(2) - readout_moment(1) ** 2)) * trace_symbol(
    ("A",) * 4
)
"""What the rule k E a^(2j) per loop misses of E|Wdot^T Wdot|^2: two loops may share a row."""


def derive_shared_row(claimed: sympy.Expr = SHARED_ROW) -> Derivation:
    """Derive what two row loops contribute when they share a row.

    Args:
        claimed: The formula to compare with.

    Source: this project.
    """

    def residual() -> sympy.Expr:
        return sympy.expand(alignment_moments().nfm - printed_rule(NFM_WORD) - claimed)

    step = Step("E p_1^2 = k mu_4 + k (k - 1) mu_2^2, not k^2 mu_2^2.", residual)
    return Derivation("What the rule of independent row loops misses.", (step,))


def _words_residual() -> sympy.Expr:
    """The words are what the three traces of A M A and A M Sigma M A are, up to rotation."""
    nfm, agop = EARLY_NFM, SAMPLES * EARLY_AGOP
    pairs = ((CROSS_WORD, nfm * agop), (NFM_WORD, nfm * nfm), (AGOP_WORD, agop * agop))
    gaps = (_rotation_gap(word, sympy.expand(squared)) for word, squared in pairs)
    return sympy.Add(*(sympy.Abs(gap) for gap in gaps))


def _rotation_gap(word: str, expression: sympy.Expr) -> sympy.Expr:
    letters = {"A": LETTER_A, "Σ": LETTER_SIGMA, "M": LETTER_M}
    rotations = (word[s:] + word[:s] for s in range(len(word)))
    gaps = (expression - sympy.Mul(*(letters[x] for x in rotated)) for rotated in rotations)
    return min(gaps, key=lambda gap: gap != 0)


def derive_words() -> Derivation:
    """Derive the three words from A M A and A M Sigma M A / n."""
    step = Step("Traces may be rotated.", _words_residual)
    return Derivation("Each of the three moments is the expectation of one word.", (step,))


def derive_wide_limit(claimed: sympy.Expr = WIDE_LIMIT) -> Derivation:
    """Derive the squared alignment at infinite width, for every readout.

    Args:
        claimed: The formula to compare with.

    Source: paper C.
    """

    def leading(expression: sympy.Expr, degree: int) -> sympy.Expr:
        return sympy.expand(expression).coeff(WIDTH, degree)

    def degree_residual() -> sympy.Expr:
        found = alignment_moments()
        pairs = ((found.cross, 3), (found.nfm, 2), (found.agop, 4))
        return sympy.Add(*(abs(sympy.degree(sympy.expand(e), WIDTH) - n) for e, n in pairs))

    def limit_residual() -> sympy.Expr:
        found = alignment_moments()
        cross, nfm, agop = leading(found.cross, 3), leading(found.nfm, 2), leading(found.agop, 4)
        return sympy.cancel(cross**2 / (nfm * agop) - claimed)

    steps = (
        Step("Degrees 3, 2 and 4 in the width, so that the ratio has a limit.", degree_residual),
        Step("The ratio of the leading coefficients.", partial(limit_residual)),
    )
    cites = ("the limit of a ratio of polynomials of equal degree",)
    return Derivation("The squared alignment as the width grows.", steps, cites)
