"""Expectations from their definition, in rational arithmetic: expand, replace, add up.

Everything is one polynomial in all entries of W and in all weights of the readout. Its monomials
are replaced by their moments, E w^e = (e - 1)!! tau^e for even e. No pairing, no trace of a word
in the letters and no code of `theory` is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import Any

from flint import Ordering, fmpq, fmpq_mpoly_ctx

Matrix = tuple[tuple[Fraction, ...], ...]
Vector = tuple[Fraction, ...]
Polynomials = list[list[Any]]


@lru_cache(maxsize=64)
def expected_words(
    words: tuple[str, ...],
    letters: tuple[tuple[str, Matrix], ...],
    width: int,
    weight_moments: Vector,
    variance: Fraction = Fraction(1),
) -> Fraction:
    """E prod tr(word), "M" in a word standing for sum_i c_i w_i w_i^T.

    Args:
        words: The words.
        letters: (letter, matrix) pairs.
        width: The number of rows.
        weight_moments: (E c, E c^2, ...).
        variance: tau^2.
    """
    size = len(letters[0][1])
    context = _context(width * (size + 1))
    one = context.constant(1)
    matrices = {
        name: [[one * _flint(x) for x in row] for row in matrix] for name, matrix in letters
    }
    total = _words(words, matrices, width, context)
    return _expected(total, width * size, variance, lambda e: weight_moments[e - 1])


@lru_cache(maxsize=8)
def expected_words_symbolic(
    word: str, letters: tuple[str, ...], size: int, width: int
) -> dict[tuple[int, ...], Fraction]:
    """E tr(word) for tau = 1 with symbols for all entries of the letters and for all moments.

    Returns:
        Coefficients by exponents: of the entries (a, b), a <= b, of each letter in turn, then of
        the moments E c, E c^2, ...
    """
    entries = [(a, b) for a in range(size) for b in range(a, size)]
    variables = width * (size + 1)
    context = _context(variables + len(letters) * len(entries))
    matrices = {}
    for number, name in enumerate(letters):
        first = variables + number * len(entries)
        symbols = dict(zip(entries, context.gens()[first : first + len(entries)], strict=True))
        matrices[name] = [[symbols[min(a, b), max(a, b)] for b in range(size)] for a in range(size)]
    found: dict[tuple[int, ...], Fraction] = {}
    for exponents, coefficient in _words((word,), matrices, width, context).to_dict().items():
        powers, rest = exponents[: width * size], exponents[width * size :]
        if all(e % 2 == 0 for e in powers):
            gaussian = prod(_double_factorial(int(e) - 1) for e in powers)
            moments = [list(rest[:width]).count(j) for j in range(1, word.count("M") + 1)]
            key = (*map(int, rest[width:]), *moments)
            found[key] = found.get(key, Fraction(0)) + int(coefficient.p) * gaussian
    return found


def _words(
    words: tuple[str, ...], matrices: dict[str, Polynomials], width: int, context: Any
) -> Any:
    size, one = len(next(iter(matrices.values()))), context.constant(1)
    w, c = _split(context.gens(), width, size)
    block = [
        [sum((c[i] * w[i][a] * w[i][b] for i in range(width)), 0 * one) for b in range(size)]
        for a in range(size)
    ]
    total = one
    for word in words:
        total = total * _trace(_word(word, {**matrices, "M": block}, one))
    return total


@lru_cache(maxsize=64)
def expected_network(
    X: Matrix, residuals: Vector, width: int, even_moments: Vector, variance: Fraction
) -> tuple[Fraction, Fraction, Fraction]:
    """The three moments of f = a^T (W x)^2 from derivatives of f, for residuals that are given.

    Wdot = sum_alpha r_alpha df(x_alpha)/dW, and K is the mean of k k^T with k = df/dz.

    Args:
        X: Inputs, one per row.
        residuals: r.
        width: k.
        even_moments: (E a^2, E a^4, ...).
        variance: tau^2.

    Returns:
        E tr(Wdot^T Wdot Wdot^T K Wdot), E|Wdot^T Wdot|^2 and E|Wdot^T K Wdot|^2.
    """
    size = len(X[0])
    context = _context(width * (size + 1))
    w, a = _split(context.gens(), width, size)
    flow, ptk = _network_matrices(X, residuals, w, a, context)
    nfm = _product(_transposed(flow), flow)
    agop = _product(_transposed(flow), _product(ptk, flow))
    pairs = ((nfm, agop), (nfm, nfm), (agop, agop))
    cross, squared_nfm, squared_agop = (
        _expected(
            sum((x * y for r, s in zip(p, q, strict=True) for x, y in zip(r, s, strict=True)), 0),
            width * size,
            variance,
            lambda e: _even(even_moments, e),
        )
        for p, q in pairs
    )
    return cross, squared_nfm, squared_agop


def _network_matrices(
    X: Matrix, residuals: Vector, w: Polynomials, a: list[Any], context: Any
) -> tuple[Polynomials, Polynomials]:
    """Wdot, and K by the derivative of f along every pre-activation."""
    width, size, zero = len(w), len(w[0]), context.constant(0)
    flow = [[zero for _ in range(size)] for _ in range(width)]
    ptk = [[zero for _ in range(width)] for _ in range(width)]
    share = fmpq(1, len(X))
    for x, residual in zip(X, residuals, strict=True):
        z = [sum((w[i][b] * _flint(x[b]) for b in range(size)), zero) for i in range(width)]
        output = sum((a[i] * z[i] ** 2 for i in range(width)), zero)
        # df/dz_i: the slope of a_i (z_i + s)^2 in the shift s, by a difference exact for squares
        k = [(a[i] * (z[i] + 1) ** 2 - a[i] * (z[i] - 1) ** 2) * fmpq(1, 2) for i in range(width)]
        for i in range(width):
            for b in range(size):
                flow[i][b] += output.derivative(i * size + b) * _flint(residual)
            for j in range(width):
                ptk[i][j] += k[i] * k[j] * share
    return flow, ptk


def _context(variables: int) -> Any:
    return fmpq_mpoly_ctx.get(tuple(f"x{i}" for i in range(variables)), Ordering.lex)


def _split(generators: Sequence[Any], width: int, size: int) -> tuple[Polynomials, list[Any]]:
    rows = [list(generators[i * size : (i + 1) * size]) for i in range(width)]
    return rows, list(generators[width * size : width * (size + 1)])


def _flint(number: Fraction) -> fmpq:
    return fmpq(number.numerator, number.denominator)


def _word(word: str, matrices: dict[str, Polynomials], one: Any) -> Polynomials:
    size = len(next(iter(matrices.values())))
    found = [[one if a == b else 0 * one for b in range(size)] for a in range(size)]
    for letter in word:
        found = _product(found, matrices[letter])
    return found


def _product(p: Polynomials, q: Polynomials) -> Polynomials:
    columns = list(zip(*q, strict=True))
    return [[sum(x * y for x, y in zip(r, s, strict=True)) for s in columns] for r in p]


def _transposed(p: Polynomials) -> Polynomials:
    return [list(row) for row in zip(*p, strict=True)]


def _trace(p: Polynomials) -> Any:
    return sum(p[i][i] for i in range(len(p)))


def _expected(
    polynomial: Any, gaussians: int, variance: Fraction, moment: Callable[[int], Fraction]
) -> Fraction:
    """Replace every monomial: the first variables are Gaussian, the others have given moments."""
    total = Fraction(0)
    for exponents, coefficient in polynomial.to_dict().items():
        powers, weights = exponents[:gaussians], exponents[gaussians:]
        if all(e % 2 == 0 for e in powers):
            gaussian = prod(_double_factorial(int(e) - 1) for e in powers)
            others = prod((moment(int(e)) for e in weights if e), start=Fraction(1))
            value = Fraction(int(coefficient.p), int(coefficient.q))
            total += value * gaussian * others * variance ** (int(sum(powers)) // 2)
    return total


def _double_factorial(number: int) -> int:
    return prod(range(number, 0, -2))


def _even(even_moments: Vector, exponent: int) -> Fraction:
    if exponent % 2:
        raise ValueError(f"the readout occurs with the odd exponent {exponent}")
    return even_moments[exponent // 2 - 1]
