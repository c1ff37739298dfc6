"""Exact legs of the Wick moments: expanded polynomials, parts, and the laws of the readouts."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from theory.alignment import expected, quadratic
from theory.alignment.loop_equations import loop_equation_expectation
from theory.alignment.wick import SPREAD, WIDTH

from ...claim import Evidence, Formulas, Setting
from ..rationals import differ, evaluated, fraction, number, objects, rational
from ..shared import formula
from .wick_brute import expected_network, expected_words, expected_words_symbolic

TAU = Fraction(3, 5)
NAMES = ("cross", "nfm", "agop")
WORDS = {"cross": expected.CROSS_WORD, "nfm": expected.NFM_WORD, "agop": expected.AGOP_WORD}
SIZES = ((1, 1), (1, 3), (2, 1), (2, 2), (2, 3), (2, 4), (3, 2), (3, 3))
SAMPLES = 3

# E a^2j of a² = 1/2 with probability 1/3, else 5/3: every moment differs from every other law's.
GENERIC = tuple((Fraction(1, 2) ** j + 2 * Fraction(5, 3) ** j) / 3 for j in range(1, 6))

GENERIC_WORDS: tuple[tuple[tuple[str, ...], int, int], ...] = (
    (("MA",), 2, 3),
    (("MA", "MΣ"), 2, 2),
    (("MAMΣMAΣ",), 2, 3),
    (("MAM", "MΣ", "MAΣM"), 2, 2),
    (("MAΣMΣMΣAA", "AΣ"), 3, 2),
    (("MΣMAAMΣMAAMΣ",), 2, 4),
    (("MAMΣM", "MAΣM"), 3, 3),
    (("MMAMMΣM",), 3, 2),
)


def _letters(size: int) -> tuple[tuple[str, Any], ...]:
    found = []
    for place, name in enumerate("AΣ"):
        half = objects(rational(size, size, 31 * size + place))
        found.append((name, tuple(map(tuple, half + half.T))))
    return tuple(found)


def _data(size: int) -> tuple[Any, Any]:
    return rational(SAMPLES, size, 40 + size), rational(1, SAMPLES, 50 + size)[0]


def _input_matrices(size: int) -> dict[str, Any]:
    X, residuals = map(objects, _data(size))
    return {"A": X.T @ np.diag(residuals) @ X, "Σ": X.T @ X}


def _truth(size: int, width: int) -> dict[str, Fraction]:
    found = expected_network(*_data(size), width, GENERIC[:4], TAU**2)
    return dict(zip(NAMES, found, strict=True))


def _value(
    expression: sympy.Expr, letters: Mapping[str, Any], width: int, mu: Any = GENERIC
) -> Any:
    """The claimed polynomial at a width, for given letters and even moments of the readout."""
    values: dict[sympy.Symbol, Any] = {WIDTH: width, SPREAD: TAU, quadratic.SAMPLES: SAMPLES}
    values |= {expected.readout_moment(j): mu[j - 1] for j in range(1, 5)}
    for symbol in expression.free_symbols - set(values):
        values[symbol] = _trace(symbol.name[3:-1], letters)
    return evaluated(expression, {s: Fraction(v) for s, v in values.items()})


def _trace(word: str, letters: Mapping[str, Any]) -> Fraction:
    product = np.eye(len(letters["A"]), dtype=object)
    for letter in word:
        product = product @ letters[letter]
    return Fraction(product.trace())


def brute_network(formulas: Formulas, setting: Setting) -> Evidence:
    """The claimed polynomials against the network's own polynomials, expanded and averaged."""
    for size, width in SIZES:
        truth, letters = _truth(size, width), _input_matrices(size)
        for name in NAMES:
            found = _value(formula(formulas, name), letters, width)
            if found != truth[name]:
                return differ(f"d, k = {size}, {width}: {name}", found, truth[name])
    return Evidence(True, {"sizes": len(SIZES), "residual": 0})


def brute_function(formulas: Formulas, setting: Setting) -> Evidence:
    """`expected_moments` in fractions against the same."""
    compute: Any = formulas["moments"]
    for size, width in SIZES:
        letters, truth = _input_matrices(size), _truth(size, width)
        options = {"variance": TAU**2, "samples": SAMPLES}
        found = compute(width, letters["A"], letters["Σ"], GENERIC[:4], **options)
        for name in NAMES:
            if getattr(found, name) != truth[name]:
                return differ(f"d, k = {size}, {width}: {name}", found, truth[name])
    return Evidence(True, {"sizes": len(SIZES), "residual": 0})


def brute_words(formulas: Formulas, setting: Setting) -> Evidence:
    """The pairing engine on words of up to 5 blocks, in one and in several traces."""
    engine: Any = formulas["expectation"]
    for words, size, width in GENERIC_WORDS:
        letters = _letters(size)
        truth = expected_words(words, letters, width, GENERIC, TAU**2)
        matrices = {name: objects(matrix) for name, matrix in letters}
        found = engine(*words).value(matrices, width, GENERIC, TAU**2)
        if found != truth:
            return differ(f"{words}, d, k = {size}, {width}", found, truth)
    return Evidence(True, {"words": len(GENERIC_WORDS), "most_blocks": 5, "residual": 0})


def parts_words(formulas: Formulas, setting: Setting) -> Evidence:
    """The pairing engine against integration by parts: polynomials for all d and k."""
    engine: Any = formulas["expectation"]
    for words, _, _ in GENERIC_WORDS:
        found = engine(*words).expression()
        gap = sympy.expand(found - loop_equation_expectation(*words))
        if gap != 0:
            return differ(str(words), gap, 0)
    return Evidence(True, {"words": len(GENERIC_WORDS), "residual": 0})


def brute_symbolic(formulas: Formulas, setting: Setting) -> Evidence:
    """Entries of A², Σ and moments as symbols, d = 2, k = 2 and 3: equal polynomials."""
    for name, width in ((name, width) for name in NAMES for width in (2, 3)):
        gap = _symbolic_gap(formula(formulas, name), WORDS[name], width)
        if gap != 0:
            return differ(f"{name}, k = {width}", gap, 0)
    return Evidence(True, {"polynomials": 6, "residual": 0})


def _symbolic_gap(claimed: sympy.Expr, word: str, width: int) -> sympy.Expr:
    """In B = A², every entry a symbol."""
    entries = sympy.symbols("b_0:3 s_0:3")
    square, sigma = (sympy.Matrix([[x, y], [y, z]]) for x, y, z in (entries[:3], entries[3:]))
    matrices = {"B": square, "Σ": sigma}
    blocks = word.count("M")
    values = {WIDTH: sympy.Integer(width), SPREAD: sympy.Integer(1)}
    values |= {quadratic.SAMPLES: sympy.Integer(1)}
    mu = [expected.readout_moment(j) for j in range(1, blocks + 1)]
    for symbol in claimed.free_symbols - set(values) - set(mu):
        product = sympy.eye(2)
        for letter in symbol.name[3:-1].replace("AA", "B"):
            product = product * matrices[letter]
        values[symbol] = product.trace()
    brute = expected_words_symbolic(word.replace("AA", "B"), ("B", "Σ"), 2, width)
    scaled = {key: number(value) * 4**blocks for key, value in brute.items()}
    truth = sympy.Poly.from_dict(scaled, *entries, *mu)
    return sympy.Poly(claimed.xreplace(values), *entries, *mu) - truth


def shared_row(formulas: Formulas, setting: Setting) -> Evidence:
    """Truth minus the rule k E a^2j per loop is the claimed gap, and not 0 unless a² is constant.

    For two blocks the three pairings are written out: loops (1, 1) with tr A⁴, and twice a loop
    of 2, with (tr A²)² and with tr A⁴.
    """
    gap: Any = formulas["shared_row"]
    figures: dict[str, int | float | str] = {}
    for law, even in (("gaussian", (1, 3, 15, 105)), ("sparse", (1, 4, 16, 64)), ("±1", (1,) * 4)):
        for size, width in ((1, 1), (2, 3)):
            letters, mu = _input_matrices(size), tuple(map(Fraction, even))
            _, truth, _ = expected_network(*_data(size), width, mu, TAU**2)
            square, fourth = _trace("AA", letters), _trace("AAAA", letters)
            loops = width**2 * mu[0] ** 2 * fourth + width * mu[1] * (square**2 + fourth)
            printed = 16 * TAU**4 * loops
            claimed = _value(gap, letters, width, mu)
            if claimed != truth - printed or (truth == printed) is not (law == "±1"):
                return differ(f"{law}, d, k = {size}, {width}", claimed, truth - printed)
            figures[f"printed_over_true {law} ({size},{width})"] = str(printed / truth)
    return Evidence(True, figures)


def named_readouts(formulas: Formulas, setting: Setting) -> Evidence:
    """E a^2j of the named readouts from their laws: sums, and an integral for the Gaussian."""
    named: Any = formulas["readouts"]
    x, p = sympy.Symbol("x", real=True), Fraction(2, 7)
    density = sympy.exp(-(x**2) / 2) / sympy.sqrt(2 * sympy.pi)
    for j in range(1, 5):
        truth = {
            "rademacher": Fraction(1, 2) + Fraction(1, 2) * (-1) ** (2 * j),
            "gaussian": fraction(sympy.integrate(x ** (2 * j) * density, (x, -sympy.oo, sympy.oo))),
            "sparse": p * (1 / p) ** j,
        }
        for law, value in truth.items():
            found = named(law, p)[j - 1]
            if found != value:
                return differ(f"{law}: E a^{2 * j}", found, value)
    return Evidence(True, {"moments": 12, "residual": 0})
