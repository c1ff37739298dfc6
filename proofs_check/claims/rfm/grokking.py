"""Modular arithmetic with a quadratic kernel: what its predictor is away from the one-hot pairs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from flint import fmpq, fmpq_mat, fmpq_poly

from theory.rfm import grokking
from theory.rfm.grokking_derivation import derive_agop, derive_predictor, derive_spectrum

from ...claim import Claim, Evidence, Formulas, Hypothesis, Kind, Leg, Mutant, Setting
from ...legs import Case, derivation_leg, digits_leg
from ..shared import formula

Row = Sequence[int]
Vector = Sequence[Fraction]

KERNEL = Hypothesis("k(x, z) = (xᵀMz)², M = [[0, P], [Pᵀ, 0]], P a permutation matrix")
DATA = Hypothesis("trained on all m² pairs e_a ⊕ e_b, without ridge; m ≥ 2, prime or not")
LABELS = Hypothesis("labels T_ab, T a permutation matrix: 1[a - b = ℓ], 1[a + b = ℓ], …")

SHIFTS = {2: 1, 3: 2, 4: 1, 5: 3, 6: 5, 7: 2}
"""Modulus m, and the power of C that is P."""


# ── the definition, in fractions ─────────────────────────────────────────────────────────────────


def _shift(modulus: int, power: int) -> list[list[int]]:
    """C^power, with C_{i,i+1} = 1."""
    return [[int((b - a - power) % modulus == 0) for b in range(modulus)] for a in range(modulus)]


def _metric(block: Sequence[Row]) -> list[list[int]]:
    m = len(block)
    above = [[0] * m + list(row) for row in block]
    below = [[block[i][k] for i in range(m)] + [0] * m for k in range(m)]
    return above + below


@lru_cache(maxsize=8)
def _pairs(modulus: int) -> list[list[int]]:
    """All e_a ⊕ e_b, b running fastest."""
    one = [[int(i == a) for i in range(modulus)] for a in range(modulus)]
    return [first + second for first, second in itertools.product(one, one)]


@lru_cache(maxsize=32)
def _gram(modulus: int, power: int) -> Any:
    """The kernel matrix from its definition."""
    X, M = fmpq_mat(_pairs(modulus)), fmpq_mat(_metric(_shift(modulus, power)))
    inner = X * M * X.transpose()
    return fmpq_mat([[entry * entry for entry in row] for row in inner.tolist()])


def _labels(modulus: int, operation: str) -> Any:
    """The labels for all answers, one column each."""
    sign = -1 if operation == "difference" else 1
    pairs = itertools.product(range(modulus), repeat=2)
    return fmpq_mat(
        [[int((a + sign * b - ell) % modulus == 0) for ell in range(modulus)] for a, b in pairs]
    )


@lru_cache(maxsize=32)
def _coefficients(modulus: int, power: int, operation: str) -> Any:
    return _gram(modulus, power).solve(_labels(modulus, operation))


def _predictions(modulus: int, power: int, operation: str, x: Vector) -> list[fmpq]:
    """Σ α_i k(x, x_i) for every answer."""
    M, X = fmpq_mat(_metric(_shift(modulus, power))), fmpq_mat(_pairs(modulus))
    point = fmpq_mat([[_fmpq(entry) for entry in x]])
    inner = (point * M * X.transpose()).tolist()[0]
    kernel = fmpq_mat([[entry * entry for entry in inner]])
    return list((kernel * _coefficients(modulus, power, operation)).tolist()[0])


def _fmpq(value: Fraction | int) -> fmpq:
    return fmpq(Fraction(value).numerator, Fraction(value).denominator)


def _drawn(size: int, rng: np.random.Generator) -> list[Fraction]:
    tops, bottoms = rng.integers(-9, 10, size), rng.integers(1, 5, size)
    return [Fraction(int(a), int(b)) for a, b in zip(tops, bottoms, strict=True)]


def _claimed(
    predictor: sympy.Expr, modulus: int, answer: int, operation: str, x: Vector
) -> sympy.Expr:
    first, second = x[:modulus], x[modulus:]
    sign = -1 if operation == "difference" else 1
    bilinear = sum(
        first[a] * second[b]
        for a, b in itertools.product(range(modulus), repeat=2)
        if (a + sign * b - answer) % modulus == 0
    )
    values = {
        grokking.BILINEAR: bilinear,
        grokking.NORM_1: sum(entry**2 for entry in first),
        grokking.NORM_2: sum(entry**2 for entry in second),
        grokking.SUM_1: sum(first),
        grokking.SUM_2: sum(second),
    }
    numbers = {s: sympy.Rational(v.numerator, v.denominator) for s, v in values.items()}
    return predictor.subs({**numbers, grokking.MODULUS: modulus})


# ── legs ─────────────────────────────────────────────────────────────────────────────────────────


def _solved(formulas: Formulas, setting: Setting) -> Evidence:
    """The interpolant, solved for in fractions, at generic inputs, for every answer."""
    rng, count = setting.generator("inputs"), 0
    for (modulus, power), operation in itertools.product(SHIFTS.items(), ("difference", "sum")):
        x = _drawn(2 * modulus, rng)
        for answer, found in enumerate(_predictions(modulus, power, operation, x)):
            claimed = _claimed(formula(formulas, "predictor"), modulus, answer, operation, x)
            if claimed != sympy.Rational(int(found.p), int(found.q)):
                point = f"m = {modulus}, P = C^{power}, {operation} = {answer}"
                return Evidence(False, {"compared": count}, f"{point}: {claimed} against {found}")
            count += 1
    return Evidence(True, {"residual": 0, "compared": count})


def _printed(formulas: Formulas, setting: Setting) -> Evidence:
    """At e_1 ⊕ 0 the bilinear form is 0 for every answer, the solved interpolant is not."""
    predictor = formula(formulas, "predictor")
    figures: dict[str, str | int | float] = {"point": "e_1 ⊕ 0", "printed": 0}
    for modulus, power in SHIFTS.items():
        x = [Fraction(int(i == 0)) for i in range(2 * modulus)]
        for answer, found in enumerate(_predictions(modulus, power, "difference", x)):
            claimed = _claimed(predictor, modulus, answer, "difference", x)
            if found == 0 or claimed != sympy.Rational(int(found.p), int(found.q)):
                detail = f"m = {modulus}, ℓ = {answer}: {found} against {claimed}, printed 0"
                return Evidence(False, {}, detail)
            figures[f"m={modulus}"] = str(found)
    return Evidence(True, figures)


def _characteristic(formulas: Formulas, setting: Setting) -> Evidence:
    """det(zI - K) against the claimed polynomial, coefficient by coefficient."""
    claimed = formula(formulas, "characteristic")
    for modulus in SHIFTS:
        found = _gram(modulus, SHIFTS[modulus]).charpoly()
        expected = _polynomial(claimed.subs(grokking.MODULUS, modulus))
        if found != expected:
            return Evidence(False, {}, f"m = {modulus}: {found.factor()} against the claimed one")
    return Evidence(True, {"residual": 0, "moduli": ", ".join(map(str, SHIFTS))})


def _polynomial(expression: sympy.Expr) -> fmpq_poly | None:
    """None if it is no polynomial in z."""
    product = fmpq_poly([1])
    for factor, power in expression.as_powers_dict().items():
        if not (factor.is_polynomial(grokking.SPECTRAL) and power.is_Integer and power >= 0):
            return None
        coefficients = sympy.Poly(factor, grokking.SPECTRAL).all_coeffs()[::-1]
        product *= fmpq_poly([fmpq(int(c.p), int(c.q)) for c in coefficients]) ** int(power)
    return product


def _any_permutation(formulas: Formulas, setting: Setting) -> Evidence:
    """P and T drawn among all permutations, not only shifts: the form is the same."""
    rng, predictor, modulus = setting.generator("permutations"), formula(formulas, "predictor"), 5
    for _ in range(4):
        block, order = (rng.permutation(modulus).tolist() for _ in range(2))
        P = [[int(block[a] == b) for b in range(modulus)] for a in range(modulus)]
        x = _drawn(2 * modulus, rng)
        kernel, at = _kernels(P, x)
        labels = [[int(order[a] == b)] for a in range(modulus) for b in range(modulus)]
        found = (at * kernel.solve(fmpq_mat(labels)))[0, 0]
        moved = x[:modulus] + [x[modulus + order[a]] for a in range(modulus)]
        claimed = _claimed(predictor, modulus, 0, "difference", moved)
        if claimed != sympy.Rational(int(found.p), int(found.q)):
            return Evidence(False, {}, f"P {block}, T {order}: {claimed} against {found}")
    return Evidence(True, {"residual": 0, "pairs_of_permutations": 4, "m": modulus})


def _kernels(block: Sequence[Row], x: Vector) -> tuple[Any, Any]:
    """The kernel matrix, and the row of kernel values at x."""
    X, M = fmpq_mat(_pairs(len(block))), fmpq_mat(_metric(block))
    inner = X * M * X.transpose()
    row = fmpq_mat([[_fmpq(entry) for entry in x]]) * M * X.transpose()
    squared = [[[e * e for e in line] for line in matrix.tolist()] for matrix in (inner, row)]
    return fmpq_mat(squared[0]), fmpq_mat(squared[1])


AGOP = ("identity", "constant", "cross", "cross_constant")


def _measured_agop(formulas: Formulas, setting: Setting) -> Evidence:
    """Gradients of the solved interpolant at all pairs, averaged in fractions."""
    for modulus in (3, 4, 5):
        found = _agop(modulus, SHIFTS[modulus], answer=1)
        a, b, c, e = (formula(formulas, name).subs(grokking.MODULUS, modulus) for name in AGOP)
        T = _shift(modulus, -1)
        for i, k in itertools.product(range(modulus), repeat=2):
            claimed = (a * int(i == k) + b, c * T[i][k] + e)
            entries = found[i, k], found[i, modulus + k]
            below = found[modulus + i, modulus + k], found[modulus + k, i]
            values = [sympy.Rational(int(x.p), int(x.q)) for x in (*entries, *below)]
            if tuple(values) != (*claimed, *claimed):
                return Evidence(False, {}, f"m = {modulus}, entry {i, k}: {entries}, {claimed}")
    return Evidence(True, {"residual": 0, "moduli": "3, 4, 5"})


def _agop(modulus: int, power: int, answer: int) -> Any:
    """∇f(x) = Σ α_i 2(xᵀMx_i) Mx_i."""
    X, M = fmpq_mat(_pairs(modulus)), fmpq_mat(_metric(_shift(modulus, power)))
    alpha = _coefficients(modulus, power, "difference").tolist()
    inner = (X * M * X.transpose()).tolist()
    weights = fmpq_mat([[2 * e * row[answer] for e, row in zip(line, alpha, strict=True)]
                        for line in inner])  # fmt: skip
    gradients = weights * X * M
    return gradients.transpose() * gradients * fmpq(1, modulus**2)


def _fourier(formulas: Formulas, setting: Setting) -> Iterator[Case]:
    """theory's evaluators: T_ℓ through discrete Fourier transforms, and the solved interpolant."""
    rng = setting.generator("fourier")
    algorithm: Any = formula(formulas, "algorithm")
    for modulus in (5, 6, 7):
        x = _drawn(2 * modulus, rng)
        first, second = (np.array([float(e) for e in part]) for part in (x[:modulus], x[modulus:]))
        for operation in ("difference", "sum"):
            claimed = algorithm(first, second, operation)
            a, b = np.fft.fft(first), np.fft.fft(second)
            other = b if operation == "sum" else b.conj()
            reference = np.fft.ifft(a * other).real
            solved = _predictions(modulus, SHIFTS[modulus], operation, x)
            off = 2 * modulus + 2
            extra = sum(e**2 for e in x) - 2 * sum(x[:modulus]) * sum(x[modulus:])
            for answer in range(modulus):
                point = f"m = {modulus}, {operation} = {answer}"
                yield point, 100 + claimed[answer], 100 + reference[answer]
                exact = Fraction(int(solved[answer].p), int(solved[answer].q)) - extra / off
                yield point, 100 + claimed[answer], 100 + exact


def _other_operation(first: Any, second: Any, operation: Any = "difference") -> Any:
    """The printed title's operation in the place of the printed matrix's."""
    other: Any = "sum" if operation == "difference" else "difference"
    return grokking.multiplication_algorithm(first, second, other)


GROKKING = Claim(
    id="rfm.grokking",
    title="modular arithmetic by a quadratic kernel, on all real inputs",
    statement=(
        r"f_\ell(x_1\oplus x_2) = x_1^\top T_\ell x_2 + \frac{\|x_1\|^2+\|x_2\|^2-2(1^\top x_1)"
        r"(1^\top x_2)}{2m+2},\ T_\ell = C^{-\ell} \text{ for } a-b=\ell; \quad "
        r"\det(zI-K) = (z-2m-2)\,(z^2-(m+2)^2)^{m-1}(z-2)^{m(m-1)/2}(z+2)^{(m-1)(m-2)/2}"
    ),
    source="G, here",
    hypotheses=(KERNEL, DATA, LABELS),
    formulas={
        "predictor": grokking.PREDICTOR,
        "characteristic": grokking.CHARACTERISTIC,
        "identity": grokking.AGOP_IDENTITY,
        "constant": grokking.AGOP_CONSTANT,
        "cross": grokking.AGOP_CROSS,
        "cross_constant": grokking.AGOP_CROSS_CONSTANT,
        "algorithm": grokking.multiplication_algorithm,
    },
    legs=(
        Leg("solved in fractions", Kind.EXACT, _solved, ("predictor",)),
        Leg("the printed form at e_1 ⊕ 0", Kind.EXACT, _printed, ("predictor",)),
        Leg("any permutations", Kind.EXACT, _any_permutation, ("predictor",)),
        Leg("characteristic polynomials", Kind.EXACT, _characteristic, ("characteristic",)),
        Leg("measured AGOP", Kind.EXACT, _measured_agop, AGOP),
        derivation_leg("predictor, every modulus", derive_predictor, ("predictor",), whole=True),
        derivation_leg("spectrum, every modulus", derive_spectrum, ("characteristic",), whole=True),
        derivation_leg("AGOP, every modulus", derive_agop, AGOP, whole=True),
        digits_leg("Fourier transforms", _fourier, ("algorithm",), 12),
    ),
    mutants=(
        Mutant("predictor: the printed form, x₁ᵀTx₂ alone", {"predictor": grokking.BILINEAR}),
        Mutant("algorithm: sums and differences exchanged", {"algorithm": _other_operation}),
    ),
    refutes=(
        "the interpolant equals the Fourier multiplication algorithm, x₁ᵀC^{-ℓ}x₂, for all real "
        "x₁, x₂: at e_1 ⊕ 0 it is 1/(2m+2)"
    ),
    notes=(
        "C_{i,i+1} = 1. C^{-ℓ} belongs to differences a - b = ℓ; for sums T_ab = 1[a + b = ℓ]. How "
        "the paper words the form that is refuted could not be checked. "
        "The correction is 0 on the training pairs and the same for every ℓ, so the answer with "
        "the largest value is the algorithm's, everywhere. P drops out, and T may be any "
        "permutation matrix: every group, or Latin square. K is indefinite for every m ≥ 2, hence "
        "no minimum-norm interpolant is meant, and a ridge of 2 (m ≥ 3) or m + 2 is singular. "
        "x₁ᵀTx₂ alone would have the AGOP block 11ᵀ/m², without T."
    ),
)

CLAIMS = (GROKKING,)
