"""Wide quadratic networks on high-dimensional data: limits, exact finite sizes, least alignment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import permutations, product
from typing import Any

import mpmath
import numpy as np
import sympy

from numerics.alignment.wide import matrix_alignment
from theory.alignment import high_dimension as theory
from theory.alignment.high_dimension_derivation import (
    derive_alignment,
    derive_least_centred,
    derive_least_constant,
)
from theory.alignment.noncrossing import kreweras, noncrossing_partitions, set_partitions
from theory.alignment.sample_words import (
    DIMENSION,
    RATIO,
    SAMPLES,
    expected_trace,
    limiting_trace,
    loops,
)
from theory.closed_form import ClosedForm
from theory.derivation import Derivation

from ...claim import Budget, Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from ...statistics import compare_samples
from ..shared import BETA

LAWS = ("rademacher", "gaussian", "constant")
WORDS = (*theory.WORDS, "ASA", "SA")

# ── expectations at every finite size ────────────────────────────────────────────────────────────

SIZES = (1, 1), (2, 2), (3, 1), (1, 3)


def _brute_trace(word: str, n: int, d: int, moments: Sequence[Fraction]) -> Fraction:
    """E tr of a word by multiplying out the matrices and integrating every monomial."""
    names = [f"x{i}_{a}" for i in range(n) for a in range(d)] + [f"r{i}" for i in range(n)]
    ring, *symbols = sympy.ring(names, sympy.QQ)
    X, r = symbols[: n * d], symbols[n * d :]
    matrix = [[ring(int(a == b)) for b in range(d)] for a in range(d)]
    for letter in word:
        weights = r if letter == "A" else [ring(1)] * n
        factor = [
            [sum(weights[i] * X[i * d + a] * X[i * d + b] for i in range(n)) for b in range(d)]
            for a in range(d)
        ]
        matrix = [
            [sum(row[c] * factor[c][b] for c in range(d)) for b in range(d)] for row in matrix
        ]
    polynomial = sum(matrix[a][a] for a in range(d))
    return sum(
        (
            Fraction(int(coefficient)) * _expected_monomial(powers, n * d, moments)
            for powers, coefficient in polynomial.terms()
        ),
        Fraction(0),
    )


def _expected_monomial(
    powers: tuple[int, ...], gaussians: int, moments: Sequence[Fraction]
) -> Fraction:
    """E x^{2p} = (2p − 1)!! for each Gaussian variable, m_p for each residual."""
    value = Fraction(1)
    for power in powers[:gaussians]:
        value *= 0 if power % 2 else _double_factorial(power - 1)
    for power in powers[gaussians:]:
        value *= (Fraction(1), *moments)[power]
    return value


def _double_factorial(odd: int) -> int:
    return 1 if odd < 1 else odd * _double_factorial(odd - 2)


GENERIC = (Fraction(1, 3), Fraction(7, 5), Fraction(-2, 7), Fraction(11, 3))


@lru_cache(maxsize=64)
def _brute(word: str, size: tuple[int, int]) -> Fraction:
    return _brute_trace(word, *size, GENERIC)


def _small_sizes(formulas: Formulas, setting: Setting) -> Evidence:
    """The claimed expectations against multiplied-out matrices, in rationals."""
    expectation: Any = formulas["expected"]
    checked = 0
    for size in SIZES:
        for word in WORDS:
            found = expectation(word, [sympy.Rational(m) for m in GENERIC], *size)
            wanted = _brute(word, size)
            if found != sympy.Rational(wanted):
                detail = f"tr {word} at n, d = {size}: {found}, not {wanted}"
                return Evidence(False, {"points": checked}, detail)
            checked += 1
    return Evidence(True, {"points": checked, "residual": 0})


def _leading_order(formulas: Formulas, setting: Setting) -> Evidence:
    """Non-crossing sums against the leading coefficients of the exact expectations."""
    limit: Any = formulas["limit"]
    for word in WORDS:
        residual = sympy.expand(limit(word, theory.MOMENTS, RATIO) - _leading(word))
        if residual != 0:
            return Evidence(False, {}, f"tr {word} leaves {residual}")
    return Evidence(True, {"words": len(WORDS), "residual": 0})


@lru_cache(maxsize=8)
def _leading(word: str) -> sympy.Expr:
    exact = expected_trace(word, theory.MOMENTS).subs(DIMENSION, RATIO * SAMPLES)
    return sympy.Poly(sympy.expand(exact), SAMPLES).coeff_monomial(SAMPLES ** (len(word) + 1))


def _crossing_too(word: str, moments: Sequence[Any], ratio: Any) -> Any:
    """All partitions in place of the non-crossing ones."""
    return _summed_over(word, moments, ratio, tuple(set_partitions(len(word))), False)


def _transposed(word: str, moments: Sequence[Any], ratio: Any) -> Any:
    """Powers of γ for samples in place of coordinates."""
    return _summed_over(word, moments, ratio, noncrossing_partitions(len(word)), True)


def _summed_over(
    word: str,
    moments: Sequence[Any],
    ratio: Any,
    partitions: tuple[tuple[tuple[int, ...], ...], ...],
    swapped: bool,
) -> Any:
    total: Any = 0
    for blocks in partitions:
        power = len(blocks) if swapped else len(word) + 1 - len(blocks)
        counts = [sum(word[j] == "A" for j in block) for block in blocks]
        total += ratio**power * sympy.prod([(1, *moments)[count] for count in counts])
    return total


def _on_complement(word: str, moments: Sequence[Any], ratio: Any) -> Any:
    """Moments of the residuals over the complement's blocks in place of the partition's."""
    total: Any = 0
    for partition in noncrossing_partitions(len(word)):
        counts = [sum(word[j] == "A" for j in block) for block in kreweras(partition)]
        weight = sympy.prod([(1, *moments)[count] for count in counts])
        total += ratio ** (len(word) + 1 - len(partition)) * weight
    return total


def _orientable(word: str, moments: Sequence[Any], samples: Any, dimension: Any) -> Any:
    """Only pairings that pair an entry of Xᵀ with one of X, as for complex matrices."""
    m = len(word)
    counts: Counter[tuple[tuple[int, ...], int]] = Counter()
    gaps = {e: (e + (-1 if e % 2 == 0 else 1)) % (2 * m) for e in range(2 * m)}
    for image in permutations(range(m)):
        pairing = {2 * j: 2 * k + 1 for j, k in enumerate(image)}
        pairing |= {v: u for u, v in pairing.items()}
        rows = loops(pairing, {e: e ^ 1 for e in gaps})
        powers = tuple(sum(word[j] == "A" for j in {e // 2 for e in row}) for row in rows)
        counts[powers, len(loops(pairing, gaps))] += 1
    return sum(
        count * dimension**free * samples ** len(p) * sympy.prod([(1, *moments)[q] for q in p])
        for (p, free), count in counts.items()
    )


def _wrong_expectations() -> tuple[Mutant, ...]:
    wrong: dict[str, tuple[str, Callable[..., Any]]] = {
        "crossing partitions counted as well": ("limit", _crossing_too),
        "γ for samples in place of coordinates": ("limit", _transposed),
        "residuals on the complement's blocks": ("limit", _on_complement),
        "pairings within Xᵀ and within X left out": ("expected", _orientable),
        "one coordinate more": ("expected", lambda w, m, n, d: expected_trace(w, m, n, d + 1)),
    }
    return tuple(Mutant(name, {key: f}) for name, (key, f) in wrong.items())


# ── the closed forms ─────────────────────────────────────────────────────────────────────────────

DIGITS = 25
POINTS = (Fraction(1, 7), Fraction(1), Fraction(13, 4))
HUGE = 10**60
"""At n = 10^60 the exact ratio of expectations is within some 10^−60 of its limit."""


def _finite_sizes(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """ρ² against the exact ratio of expectations at n = 10^60 and d = γn."""
    for law in LAWS:
        form: Any = formulas[law]
        for gamma in POINTS:
            reference = _huge_ratio(law, gamma)
            claimed = (form.expression**2).subs(RATIO, sympy.Rational(gamma))
            yield f"{law}, γ = {gamma}", claimed, reference
    centred: Any = formulas["centred"]
    for kurtosis, gamma in ((3, Fraction(5, 2)), (1, Fraction(2, 3))):
        law = "gaussian" if kurtosis == 3 else "rademacher"
        values = {theory.KURTOSIS: kurtosis, RATIO: sympy.Rational(gamma)}
        yield f"kurtosis {kurtosis}, γ = {gamma}", centred.subs(values), _huge_ratio(law, gamma)


@lru_cache(maxsize=32)
def _huge_ratio(law: str, gamma: Fraction) -> Fraction:
    return theory.finite_alignment(28 * HUGE, int(28 * HUGE * gamma), law)


def _searched(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """Where ρ² is least and how small: numerical roots of its slope, from the exact traces."""
    for kurtosis in (Fraction(1), Fraction(9, 5), Fraction(3)):
        at, value = _least((0, 1, 0, kurtosis))
        values = {theory.KURTOSIS: sympy.Rational(kurtosis)}
        for name, reference in (("least_ratio", at), ("least_centred", value)):
            formula: Any = formulas[name]
            yield f"{name}, μ = {kurtosis}", formula.subs(values).evalf(DIGITS + 10), reference
    signs: Any = formulas["least_rademacher"]
    yield "signs", signs.evalf(DIGITS + 10), _least((0, 1, 0, Fraction(1)))[1]
    constant: Any = formulas["least_constant"]
    yield "constant", constant, _least((1, 1, 1, Fraction(1)))[1]


@lru_cache(maxsize=8)
def _least(moments: tuple[int, int, int, Fraction]) -> tuple[Any, Any]:
    mp = mpmath.MPContext()
    mp.dps = DIGITS + 25
    law = dict(zip(theory.MOMENTS, map(sympy.Rational, moments), strict=True))
    cross, nfm, agop = (
        sympy.Poly(_leading(w).subs(law) / RATIO ** _lowest(w, law), RATIO) for w in WORDS[:3]
    )
    norms = nfm * agop
    slope = 2 * cross.diff() * norms - cross * norms.diff()

    def at(polynomial: sympy.Poly, x: Any) -> Any:
        return mp.polyval([mp.mpf(int(c.p)) / int(c.q) for c in polynomial.all_coeffs()], x)

    coefficients = [mp.mpf(int(c.p)) / int(c.q) for c in slope.all_coeffs()]
    roots = mp.polyroots(coefficients, maxsteps=500, extraprec=400)
    real = [mp.re(z) for z in roots if abs(mp.im(z)) < mp.mpf(10) ** -20 and mp.re(z) > 1e-9]
    values = [(at(cross, x) ** 2 / at(norms, x), x) for x in real]
    return min(values)[1], min(values)[0]


def _lowest(word: str, law: dict[sympy.Symbol, sympy.Rational]) -> int:
    """The power of γ that all terms share."""
    return min(int(power) for (power,) in sympy.Poly(_leading(word).subs(law), RATIO).monoms())


# ── a law with a mean that aligns less ───────────────────────────────────────────────────────────

SKEWED = sympy.Rational(22069243157412025, 25016209380195264)


def _skewed_moments() -> tuple[sympy.Rational, ...]:
    """Residuals 9 with probability 1/20 and −2 with probability 19/20."""
    one = sympy.Integer(1)
    return tuple((9 * one) ** j / 20 + 19 * (-2 * one) ** j / 20 for j in range(1, 5))


def _skewed(formulas: Formulas, setting: Setting) -> Evidence:
    """At γ = 1 this law has the claimed ρ², and it lies below the least of all centred laws."""
    claimed: Any = formulas["skewed"]
    cross, nfm, agop = (_leading(word).subs(RATIO, 1) for word in WORDS[:3])
    values = dict(zip(theory.MOMENTS, _skewed_moments(), strict=True))
    found = sympy.cancel((cross**2 / (nfm * agop)).subs(values))
    below = bool(found < theory.LEAST_RADEMACHER)
    holds = bool(found == claimed) and below
    detail = "" if holds else f"ρ² = {found}, claimed {claimed}, below the least: {below}"
    return Evidence(holds, {"squared": float(found)}, detail)


# ── data matrices ────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=64)
def _measured(law: str, n: int, d: int, draws: int, seed: int) -> Any:
    """Angles arccos ρ, whose spread is more symmetric than that of ρ."""
    rng = np.random.default_rng([seed, n, d])
    return np.arccos([matrix_alignment(n, d, law, rng) for _ in range(draws)])


def _matrices_leg(
    name: str, draws: int, points: Sequence[tuple[Fraction, int]], budget: Budget
) -> Leg:
    """Measured angles at n, 2n and 4n, freed of 1/n and 1/n², against the claimed limit."""

    def run(formulas: Formulas, setting: Setting) -> Evidence:
        figures: dict[str, int | float | str] = {"samples": draws, "beta": BETA}
        for law, (gamma, n) in product(LAWS, points):
            form: Any = formulas[law]
            point = f"{law}, γ = {gamma}, n = {n} to {4 * n}"
            seed = int(setting.generator(f"{name} {point}").integers(2**31))
            once, twice, four_times = (
                _measured(law, m, int(m * gamma), draws, seed) for m in (n, 2 * n, 4 * n)
            )
            alpha = setting.alpha / (len(LAWS) * len(points))
            extrapolated = (8 * four_times - 6 * twice + once) / 3
            found = compare_samples(extrapolated, np.arccos(form(gamma)), alpha, BETA)
            figures |= {f"z {point}": found.z, f"least {point}": found.smallest_discrepancy}
            if not found.holds:
                return Evidence(False, figures, found.evidence(point).detail)
        return Evidence(True, figures)

    return Leg(name, Kind.SIMULATED, run, LAWS, budget=budget)


FAST_POINTS = (Fraction(1, 4), 64), (Fraction(1), 32)
FULL_POINTS = (Fraction(1, 10), 150), (Fraction(2), 32)


def _derive(
    rademacher: ClosedForm, gaussian: ClosedForm, constant: ClosedForm, centred: sympy.Expr
) -> Derivation:
    return derive_alignment(
        rademacher.expression, gaussian.expression, constant.expression, centred
    )


HIGH_DIMENSION = Claim(
    id="alignment.high_dimension",
    title="initial alignment of wide quadratic networks in high dimension",
    statement=(
        r"k\to\infty,\text{ then } n,d\to\infty,\ d/n\to\gamma:\ \rho^2\to"
        r"\tfrac{(\gamma^2+4\gamma+2)^2}{(\gamma+1)(\gamma+2)(\gamma^2+6\gamma+2)}\ (r=\pm1),\ "
        r"\tfrac{(3\gamma^2+6\gamma+2)^2}{(\gamma+1)(3\gamma+2)(3\gamma^2+8\gamma+2)}"
        r"\ (r\text{ Gaussian}),\ "
        r"\tfrac{(\gamma^4+10\gamma^3+20\gamma^2+10\gamma+1)^2}{(\gamma+1)^2(\gamma^2+5\gamma+1)"
        r"(\gamma^4+14\gamma^3+36\gamma^2+14\gamma+1)}\ (r\text{ constant});\ "
        r"\text{centred with kurtosis }\mu:\ \tfrac{(\mu\gamma^2+(\mu+3)\gamma+2)^2}"
        r"{(\gamma+1)(\mu\gamma+2)(\mu\gamma^2+(\mu+5)\gamma+2)},\text{ least at }"
        r"\gamma=\sqrt{2/\mu};\ \rho^2\ge\tfrac{12-4\sqrt2}{7}\text{ for every centred law, with "
        r"equality for signs at }\gamma=\sqrt2;\ \rho\to1\text{ as }\gamma\to0,\infty"
    ),
    source="C, here",
    hypotheses=(
        Hypothesis("quadratic units, first k → ∞ at fixed data, then n, d → ∞"),
        Hypothesis("rows iid N(0, I_d); residuals iid with four moments, independent of the data"),
        Hypothesis("γ > 0", lambda gamma: gamma > 0),
    ),
    formulas={
        "rademacher": theory.RADEMACHER,
        "gaussian": theory.GAUSSIAN,
        "constant": theory.CONSTANT,
        "centred": theory.CENTRED,
        "least_ratio": theory.LEAST_RATIO,
        "least_centred": theory.LEAST_CENTRED,
        "least_rademacher": theory.LEAST_RADEMACHER,
        "least_constant": theory.LEAST_CONSTANT,
        "skewed": SKEWED,
        "limit": limiting_trace,
        "expected": expected_trace,
    },
    legs=(
        derivation_leg("non-crossing partitions", _derive, (*LAWS, "centred"), whole=True),
        derivation_leg(
            "least alignment, centred",
            derive_least_centred,
            ("least_ratio", "least_centred", "least_rademacher"),
        ),
        derivation_leg("least alignment, constant", derive_least_constant, ("least_constant",)),
        Leg("small sizes", Kind.EXACT, _small_sizes, ("expected",)),
        Leg("leading order", Kind.EXACT, _leading_order, ("limit",)),
        Leg("a law with a mean", Kind.EXACT, _skewed, ("skewed",)),
        digits_leg("exact expectations at n = 10^60", _finite_sizes, (*LAWS, "centred"), DIGITS),
        digits_leg(
            "searched minima",
            _searched,
            ("least_ratio", "least_centred", "least_rademacher", "least_constant"),
            DIGITS,
        ),
        _matrices_leg("data matrices", 1500, FAST_POINTS, Budget.FAST),
        _matrices_leg("larger data matrices", 1500, FULL_POINTS, Budget.FULL),
    ),
    mutants=_wrong_expectations(),
    uses=("alignment.infinite_width",),
    notes=(
        "Simulated legs measure arccos ρ at n, 2n and 4n and extrapolate; what is left of "
        "its bias is of order 1/n³. Residuals with a mean can align less than signs: the "
        "formula 'skewed' is ρ² of residuals 9 (probability 1/20) and −2 at γ = 1."
    ),
)
