"""Derivation of the quadratic kernel's predictor for modular arithmetic, for every modulus.

Coefficients are written as a matrix α with α_cd for the pair e_c ⊕ e_d, functions on the training
pairs likewise, and the kernel matrix is an operator on such matrices. Then words in P, T and
j = (1, …, 1)ᵀ stand for all moduli and all permutation matrices P and T.
"""

from __future__ import annotations

from functools import partial
from itertools import permutations, product

import sympy

from ..derivation import Derivation, Step, first_nonzero
from ..matrix_words import matrices, reduced, trace
from .grokking import (
    AGOP_CONSTANT,
    AGOP_CROSS,
    AGOP_CROSS_CONSTANT,
    AGOP_IDENTITY,
    BILINEAR,
    CHARACTERISTIC,
    MODULUS,
    NORM_1,
    NORM_2,
    PREDICTOR,
    SPECTRAL,
    SUM_1,
    SUM_2,
)

_t = sympy.transpose
P, T, j, g, r, s, x, z = matrices("P T j g r s x z")
J = j * _t(j)
_ONE = sympy.Integer(1)

_PERMUTATIONS = {
    _t(P) * P: _ONE,
    P * _t(P): _ONE,
    _t(T) * T: _ONE,
    T * _t(T): _ONE,
    P * j: j,
    _t(P) * j: j,
    T * j: j,
    _t(T) * j: j,
    _t(j) * P: _t(j),
    _t(j) * _t(P): _t(j),
    _t(j) * T: _t(j),
    _t(j) * _t(T): _t(j),
    _t(j) * j: MODULUS,
}
_COEFFICIENTS = P * _t(T) * P / 2 - J / (2 * MODULUS + 2)


def _cancelled(word: sympy.Expr) -> sympy.Expr:
    """Reduce a word by the rules of permutation matrices, and its scalar coefficients."""
    terms: dict[sympy.Expr, sympy.Expr] = {}
    for term in sympy.Add.make_args(reduced(word, _PERMUTATIONS)):
        scalars, letters = term.args_cnc()
        letter = sympy.Mul(*letters)
        terms[letter] = terms.get(letter, sympy.Integer(0)) + sympy.Mul(*scalars)
    return sympy.Add(*(sympy.cancel(scalar) * letter for letter, scalar in terms.items()))


def _kernel(function: sympy.Expr) -> sympy.Expr:
    """The kernel matrix applied to a function on the pairs, written as a matrix."""
    turned = _t(function)
    return P * turned * J + J * turned * P + 2 * P * turned * P


def _square_residual() -> sympy.Expr:
    """xᵀMz = P_ad + P_cb with entries 0 and 1."""
    return first_nonzero(
        *(
            (s + t) ** 2 - (s + t + 2 * s * t)
            for s, t in product(map(sympy.Integer, (0, 1)), repeat=2)
        )
    )


def _factors_residual() -> sympy.Expr:
    """With g = r sᵀ: Σ_cd P_ad g_cd = (Ps)_a jᵀr, Σ P_cb g_cd = jᵀs (Pᵀr)_b, and both at once."""
    first, second, ones = P * s, _t(P) * r, (_t(r) * j, _t(s) * j)
    sums = first * ones[0] * _t(j) + j * _t(ones[1]) * _t(second) + 2 * first * _t(second)
    return sympy.expand(_kernel(r * _t(s)) - sums)


def _operator_residual(size: int) -> sympy.Expr:
    """The double sum of the kernel's definition, for one modulus and all P."""
    f = sympy.Matrix(size, size, lambda a, b: sympy.Symbol(f"f{a}{b}"))
    ones = sympy.ones(size, size)
    residuals = []
    for order in permutations(range(size)):
        Q = sympy.Matrix(size, size, lambda a, b, order=order: int(order[a] == b))
        direct = sympy.Matrix(
            size,
            size,
            lambda a, b, Q=Q: sum(
                (Q[a, d] + Q[c, b]) ** 2 * f[c, d] for c, d in product(range(size), repeat=2)
            ),
        )
        claimed = Q * f.T * ones + ones * f.T * Q + 2 * Q * f.T * Q
        residuals.extend((direct - claimed).expand())
    return first_nonzero(*residuals)


def _solution_residual() -> sympy.Expr:
    return _cancelled(_kernel(_COEFFICIENTS) - T)


def _marginal_residual() -> sympy.Expr:
    share = 1 / (2 * MODULUS + 2)
    return first_nonzero(
        _cancelled(_t(j) * _COEFFICIENTS - share * _t(j)), _cancelled(_COEFFICIENTS * j - share * j)
    )


def _derived_predictor() -> sympy.Expr:
    """Σ α_cd (u_d + v_c)² with u = Pᵀx₁, v = Px₂ and equal row and column sums of α."""
    u, v, share = _t(P) * x, P * z, 1 / (2 * MODULUS + 2)
    word = share * (_t(u) * u + _t(v) * v) + 2 * _t(v) * _COEFFICIENTS * u
    values = {
        trace(_t(x) * x): NORM_1,
        trace(_t(z) * z): NORM_2,
        trace(_t(x) * T * z): BILINEAR,
        trace(_t(x) * J * z): SUM_1 * SUM_2,
    }
    return trace(_cancelled(word)).subs(values)


def _predictor_residual(claimed: sympy.Expr) -> sympy.Expr:
    return sympy.cancel(claimed - _derived_predictor())


def _on_pairs_residual(claimed: sympy.Expr) -> sympy.Expr:
    """On a one-hot pair norms and sums are 1."""
    ones = {NORM_1: 1, NORM_2: 1, SUM_1: 1, SUM_2: 1}
    return sympy.cancel(claimed.subs(ones) - BILINEAR)


_SOLVE_STEPS = (
    Step("(s + t)² = s + t + 2st for s, t in {0, 1}.", _square_residual),
    Step(
        "K[g] = Σ_cd (P_ad + P_cb + 2 P_ad P_cb) g_cd = P gᵀ J + J gᵀ P + 2 P gᵀ P, J = jjᵀ: for "
        "every m on g = r sᵀ, where the sums factorise, and every g is a sum of such.",
        _factors_residual,
    ),
    Step("The double sum itself, for m = 3 and all P.", partial(_operator_residual, 3)),
    Step("α = P Tᵀ P/2 - J/(2m+2) solves K[α] = T.", _solution_residual),
    Step("The rows and the columns of α sum to 1/(2m+2).", _marginal_residual),
)


def derive_predictor(claimed: sympy.Expr = PREDICTOR) -> Derivation:
    """Derive f(x) = x₁ᵀTx₂ + (‖x₁‖² + ‖x₂‖² - 2(1ᵀx₁)(1ᵀx₂))/(2m + 2).

    α is the only solution, as `derive_spectrum` finds no eigenvalue 0.

    Args:
        claimed: The predictor, in ``BILINEAR``, ``NORM_1``, ``NORM_2``, ``SUM_1``, ``SUM_2`` and
            ``MODULUS``.

    Source: this project.
    """
    steps = (
        *_SOLVE_STEPS,
        Step("It interpolates: on a pair f is T_ab.", partial(_on_pairs_residual, claimed)),
        Step(
            "f = Σ α_cd (u_d + v_c)², u = Pᵀx₁, v = Px₂: squares meet the sums of α.",
            partial(_predictor_residual, claimed),
        ),
    )
    return Derivation("The predictor on all real inputs, for every modulus.", steps)


# --- spectrum -----------------------------------------------------------------------------------

_CENTRED = {_t(j) * r: sympy.Integer(0), _t(r) * j: sympy.Integer(0)}
_DOUBLY_CENTRED = {word: sympy.Integer(0) for word in (_t(j) * g, g * j, _t(g) * j, _t(j) * _t(g))}


def _constant_residual() -> sympy.Expr:
    return _cancelled(_kernel(J) - (2 * MODULUS + 2) * J)


def _one_argument_residual() -> sympy.Expr:
    """R = r jᵀ and S = j (Pᵀr)ᵀ are exchanged, with the factor m + 2."""
    R, S = r * _t(j), j * _t(r) * P
    both = (_kernel(R) - (MODULUS + 2) * S, _kernel(S) - (MODULUS + 2) * R)
    return first_nonzero(*(_cancelled(reduced(_cancelled(word), _CENTRED)) for word in both))


def _rest_residual() -> sympy.Expr:
    """K² = 4 on functions without row and column sums."""
    once = reduced(_cancelled(_kernel(g)), _DOUBLY_CENTRED)
    stays = (_t(j) * once, once * j)
    twice = reduced(_cancelled(_kernel(once)), _DOUBLY_CENTRED)
    return first_nonzero(
        *(reduced(_cancelled(word), _DOUBLY_CENTRED) for word in stays), _cancelled(twice - 4 * g)
    )


def _counts() -> tuple[sympy.Expr, sympy.Expr]:
    """Multiplicities of 2 and -2: their sum is (m-1)², and the trace of K is Σ(2P_ab)² = 4m."""
    plus, minus = sympy.symbols("plus minus")
    dimension = plus + minus - (MODULUS - 1) ** 2
    total = (2 * MODULUS + 2) + 2 * plus - 2 * minus - 4 * MODULUS
    found = sympy.solve((dimension, total), (plus, minus))
    return sympy.factor(found[plus]), sympy.factor(found[minus])


def _dimension_residual() -> sympy.Expr:
    plus, minus = _counts()
    return sympy.expand(1 + 2 * (MODULUS - 1) + plus + minus - MODULUS**2)


def _characteristic_residual(claimed: sympy.Expr) -> sympy.Expr:
    plus, minus = _counts()
    m, s = MODULUS, SPECTRAL
    derived = (s - 2 * m - 2) * ((s - m - 2) * (s + m + 2)) ** (m - 1)
    derived *= (s - 2) ** plus * (s + 2) ** minus
    logarithms = (
        sympy.expand(sympy.expand_log(sympy.log(f), force=True)) for f in (claimed, derived)
    )
    found, wanted = logarithms
    return sympy.expand(found - wanted)


def derive_spectrum(claimed: sympy.Expr = CHARACTERISTIC) -> Derivation:
    """Derive the characteristic polynomial of the kernel matrix on all pairs.

    Args:
        claimed: It, in ``SPECTRAL`` and ``MODULUS``.

    Source: this project.
    """
    steps = (
        *_SOLVE_STEPS[:3],
        Step("Constants: eigenvalue 2m + 2, once.", _constant_residual),
        Step(
            "Functions of one argument, r with sum 0: K exchanges r jᵀ and j (Pᵀr)ᵀ with the "
            "factor m + 2, so ±(m + 2), m - 1 times each.",
            _one_argument_residual,
        ),
        Step("On the rest K[g] = 2 P gᵀ P, and K² = 4: eigenvalues ±2.", _rest_residual),
        Step("The dimensions add up to m².", _dimension_residual),
        Step(
            "The trace 4m tells how often 2 and -2 occur: the claimed polynomial.",
            partial(_characteristic_residual, claimed),
        ),
    )
    return Derivation("The spectrum of the kernel matrix, for every modulus.", steps)


# --- AGOP ---------------------------------------------------------------------------------------


def _gradients(predictor: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr]:
    """By x₁ and by x₂, at a one-hot pair."""
    ones = {SUM_1: 1, SUM_2: 1}
    of_B, of_n, of_s = (
        sympy.diff(predictor, symbol).subs(ones) for symbol in (BILINEAR, NORM_1, SUM_1)
    )
    return of_B * T * z + 2 * of_n * x + of_s * j, of_B * _t(T) * x + 2 * of_n * z + of_s * j


def _mean(word: sympy.Expr) -> sympy.Expr:
    """Over independent uniform one-hot x and z: E x = j/m, E xxᵀ = I/m."""
    rules = {
        x * _t(x): 1 / MODULUS,
        z * _t(z): 1 / MODULUS,
        x: j / MODULUS,
        z: j / MODULUS,
        _t(x): _t(j) / MODULUS,
        _t(z): _t(j) / MODULUS,
    }
    mean = sympy.expand(word)
    for left, right in rules.items():
        mean = sympy.expand(mean.subs(left, right))
    return _cancelled(mean)


def _diagonal_residual(identity: sympy.Expr, constant: sympy.Expr) -> sympy.Expr:
    first, second = _gradients(PREDICTOR)
    blocks = (_mean(first * _t(first)), _mean(second * _t(second)))
    return first_nonzero(*(_cancelled(block - identity - constant * J) for block in blocks))


def _cross_residual(cross: sympy.Expr, constant: sympy.Expr) -> sympy.Expr:
    first, second = _gradients(PREDICTOR)
    return _cancelled(_mean(first * _t(second)) - cross * T - constant * J)


def _without_correction_residual() -> sympy.Expr:
    first, second = _gradients(BILINEAR)
    return _cancelled(_mean(first * _t(second)) - J / MODULUS**2)


def derive_agop(
    identity: sympy.Expr = AGOP_IDENTITY,
    constant: sympy.Expr = AGOP_CONSTANT,
    cross: sympy.Expr = AGOP_CROSS,
    cross_constant: sympy.Expr = AGOP_CROSS_CONSTANT,
) -> Derivation:
    """Derive the blocks of the AGOP over all pairs, of the predictor for one answer.

    Args:
        identity: Coefficient of I in the diagonal blocks, to compare with.
        constant: Coefficient of 11ᵀ there.
        cross: Coefficient of T in the upper right block.
        cross_constant: Coefficient of 11ᵀ there.

    Source: this project.
    """
    steps = (
        Step("x₁ᵀTx₂ alone has 11ᵀ/m² beside the diagonal, no T.", _without_correction_residual),
        Step("Diagonal blocks.", partial(_diagonal_residual, identity, constant)),
        Step("The block beside.", partial(_cross_residual, cross, cross_constant)),
    )
    return Derivation("The AGOP of the modular predictor, for every modulus.", steps)
