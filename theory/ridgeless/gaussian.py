r"""Interpolation with the Gaussian kernel e^{-x^2/2} on the circle: exact risk in closed form.

The lattice sums are theta functions of nome p = e^{-1/(2c^2)}, so that V is the mean of an
elliptic function with one double pole and no residue. In the modulus k, with complete elliptic
integrals K, K', E and c^2 = K/(2 pi K'):

    V = (1/2) sqrt(pi/((1+k)K')) (1 + (K-E)/(kK)),
    B = 1 - sqrt(2 pi/K') + (1/2) sqrt(pi (1+k)/K').

V is derived by Liouville's theorem; `gaussian_series` checks it a second time, by formal power
series in exact arithmetic, and `elliptic_identity` is the key identity in ball arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import sympy
from flint import acb, arb, ctx, fmpq

from ..closed_form import ClosedForm
from ..derivation import Derivation, Step, first_nonzero
from ..theta import (
    ComplementaryQuarterPeriod,
    EllipticDeficit,
    EllipticDeficitRatio,
    EllipticModulus,
    QuarterPeriod,
)

BANDWIDTH = sympy.Symbol("c", positive=True)
MODULUS = sympy.Symbol("k", positive=True)
NOME = sympy.Symbol("p", positive=True)

_EVERYWHERE = (sympy.Integer(0), sympy.oo)
_UNIT = (sympy.Integer(0), sympy.Integer(1))
_HALF = sympy.Rational(1, 2)


def _estimation(k: sympy.Expr, K_prime: sympy.Expr, ratio: sympy.Expr) -> sympy.Expr:
    """V, where ratio = (K - E)/(kK)."""
    return _HALF * sympy.sqrt(sympy.pi / ((1 + k) * K_prime)) * (1 + ratio)


def _own_weight(K_prime: sympy.Expr) -> sympy.Expr:
    return sympy.sqrt(sympy.pi / (2 * K_prime))


def _weight_energy(k: sympy.Expr, K_prime: sympy.Expr) -> sympy.Expr:
    return _HALF * sympy.sqrt(sympy.pi * (1 + k) / K_prime)


def _approximation(k: sympy.Expr, K_prime: sympy.Expr) -> sympy.Expr:
    return 1 - 2 * _own_weight(K_prime) + _weight_energy(k, K_prime)


def _in_modulus(quantity: str, expression: sympy.Expr) -> ClosedForm:
    return ClosedForm(f"ridgeless.gaussian.{quantity}_in_modulus", expression, MODULUS, _UNIT)


def _in_bandwidth(quantity: str, expression: sympy.Expr) -> ClosedForm:
    return ClosedForm(f"ridgeless.gaussian.{quantity}", expression, BANDWIDTH, _EVERYWHERE)


# In the modulus k, with (K - E)/K written out.
_K = sympy.elliptic_k(MODULUS**2)
_K_PRIME = sympy.elliptic_k(1 - MODULUS**2)
_E = sympy.elliptic_e(MODULUS**2)

ESTIMATION_IN_MODULUS = _in_modulus(
    "estimation", _estimation(MODULUS, _K_PRIME, (_K - _E) / (MODULUS * _K))
)
OWN_WEIGHT_IN_MODULUS = _in_modulus("own_weight", _own_weight(_K_PRIME))
WEIGHT_ENERGY_IN_MODULUS = _in_modulus("weight_energy", _weight_energy(MODULUS, _K_PRIME))
APPROXIMATION_IN_MODULUS = _in_modulus("approximation", _approximation(MODULUS, _K_PRIME))
BANDWIDTH_FROM_MODULUS = ClosedForm(
    "ridgeless.gaussian.bandwidth", sympy.sqrt(_K / (2 * sympy.pi * _K_PRIME)), MODULUS, _UNIT
)

# In c, as for every kernel of this slice; these keep their digits where k is 1e-300 or 1 - 1e-300.
_K_OF_C = EllipticModulus(BANDWIDTH)
_K_PRIME_OF_C = ComplementaryQuarterPeriod(BANDWIDTH)

ESTIMATION = _in_bandwidth(
    "estimation", _estimation(_K_OF_C, _K_PRIME_OF_C, EllipticDeficitRatio(BANDWIDTH))
)
OWN_WEIGHT = _in_bandwidth("own_weight", _own_weight(_K_PRIME_OF_C))
WEIGHT_ENERGY = _in_bandwidth("weight_energy", _weight_energy(_K_OF_C, _K_PRIME_OF_C))
APPROXIMATION = _in_bandwidth("approximation", _approximation(_K_OF_C, _K_PRIME_OF_C))
MODULUS_FROM_BANDWIDTH = _in_bandwidth("modulus", _K_OF_C)


def modulus_from_bandwidth(bandwidth: float | str) -> float:
    """Return the modulus k in (0, 1) with c^2 = K/(2 pi K'), correctly rounded.

    Args:
        bandwidth: c > 0, in grid spacings; a string such as "1/3" is taken exactly.

    Raises:
        ValueError: If ``bandwidth`` is not a positive number.

    Source: this project.
    """
    return float(MODULUS_FROM_BANDWIDTH(bandwidth))


def bandwidth_from_modulus(modulus: float | str) -> float:
    """Return c = sqrt(K/(2 pi K')), in grid spacings, correctly rounded.

    Args:
        modulus: k in (0, 1); a string such as "1e-300" is taken exactly.

    Raises:
        ValueError: If ``modulus`` is not in (0, 1).

    Source: this project.
    """
    return float(BANDWIDTH_FROM_MODULUS(modulus))


# --- theta functions by their terms -----------------------------------------------------------
# A statement about theta functions is proved by a change of the summation index, and checked on
# the general term. Periods: pi and pi tau with e^{i pi tau} = p.

_N = sympy.Symbol("n", integer=True)
_Z = sympy.Symbol("z")
_QUASI_PERIOD = -sympy.I * sympy.log(NOME)  # pi tau
_ZERO = sympy.pi / 2 + _QUASI_PERIOD / 2  # where theta_3 vanishes


def _term(n: sympy.Expr, z: sympy.Expr, nome: sympy.Expr) -> sympy.Expr:
    """General term of theta_3(z, nome) = sum_n nome^{n^2} e^{2 i n z}."""
    return nome ** (n**2) * sympy.exp(2 * sympy.I * n * z)


def _term4(n: sympy.Expr, z: sympy.Expr, nome: sympy.Expr) -> sympy.Expr:
    """General term of theta_4(z, nome) = theta_3(z + pi/2, nome)."""
    return (-1) ** n * _term(n, z, nome)


def _quotient_residual(left: sympy.Expr, right: sympy.Expr) -> sympy.Expr:
    """Return left/right - 1 for two products of powers, 0 iff they agree."""
    quotient = sympy.powsimp(sympy.expand(left / right, power_exp=True), force=True)
    return sympy.simplify(quotient - 1)


def _fourier_transform(xi: sympy.Expr) -> sympy.Expr:
    return sympy.sqrt(2 * sympy.pi) * sympy.exp(-2 * sympy.pi**2 * xi**2)


def _bell_transform(a: sympy.Expr, xi: sympy.Expr) -> sympy.Expr:
    """Fourier transform of e^{-a x^2} at the frequency xi."""
    return sympy.sqrt(sympy.pi / a) * sympy.exp(-(sympy.pi**2) * xi**2 / a)


def _transform_residual() -> sympy.Expr:
    x, xi = sympy.symbols("x xi", real=True)
    a = sympy.Symbol("a", positive=True)
    shifted = -a * (x + sympy.I * sympy.pi * xi / a) ** 2 - sympy.pi**2 * xi**2 / a
    square = sympy.expand(-a * x**2 - 2 * sympy.pi * sympy.I * x * xi - shifted)
    return first_nonzero(
        square, sympy.simplify(_bell_transform(_HALF, xi) - _fourier_transform(xi))
    )


def _poisson_residual() -> sympy.Expr:
    a = 2 * sympy.pi**2 * BANDWIDTH**2  # phihat(c x) = sqrt(2 pi) e^{-a x^2}
    coefficient = sympy.sqrt(2 * sympy.pi) * _bell_transform(a, _N)
    nome = sympy.exp(-1 / (2 * BANDWIDTH**2))
    return sympy.simplify(coefficient - _term(_N, sympy.Integer(0), nome) / BANDWIDTH)


def _square_residual() -> sympy.Expr:
    xi = sympy.Symbol("xi", real=True)
    wider = sympy.sqrt(2 * sympy.pi) * _fourier_transform(sympy.sqrt(2) * xi)
    nome = sympy.exp(-1 / (2 * BANDWIDTH**2))
    root = nome.subs(BANDWIDTH, sympy.sqrt(2) * BANDWIDTH) ** 2 / nome
    return first_nonzero(
        sympy.simplify(_fourier_transform(xi) ** 2 - wider), sympy.simplify(root - 1)
    )


def _prefactor_residual() -> sympy.Expr:
    S, Q = 1 / BANDWIDTH, sympy.sqrt(2 * sympy.pi) / (sympy.sqrt(2) * BANDWIDTH)
    return sympy.simplify(Q / S**2 - BANDWIDTH * sympy.sqrt(sympy.pi))


def _period_residual() -> sympy.Expr:
    shift, root = _Z + sympy.pi, sympy.sqrt(NOME)
    return first_nonzero(
        _quotient_residual(_term(_N, shift, NOME), _term(_N, _Z, NOME)),
        _quotient_residual(_term4(_N, shift, NOME), _term4(_N, _Z, NOME)),
        _quotient_residual(_term(_N, shift, root), _term(_N, _Z, root)),
    )


def _quasi_period_residual() -> sympy.Expr:
    shift, root = _Z + _QUASI_PERIOD, sympy.sqrt(NOME)
    below = sympy.exp(-2 * sympy.I * _Z) / NOME
    above = sympy.exp(-4 * sympy.I * _Z) / NOME**2
    return first_nonzero(
        _quotient_residual(_term(_N, shift, NOME), below * _term(_N + 1, _Z, NOME)),
        _quotient_residual(_term4(_N, shift, NOME), -below * _term4(_N + 1, _Z, NOME)),
        _quotient_residual(_term(_N, shift, root), above * _term(_N + 2, _Z, root)),
        sympy.simplify(above / below**2 - 1),
    )


def _parity_residual() -> sympy.Expr:
    """At z0 + w: e^{iw} theta_3 is odd in w, e^{iw} theta_4 and e^{2iw} theta_3(., sqrt p) even."""
    w = sympy.Symbol("w")
    wave, root = sympy.exp(sympy.I * w), sympy.sqrt(NOME)
    denominator = partial(_centred, wave, _term, NOME, w)
    comparison = partial(_centred, wave, _term4, NOME, w)
    numerator = partial(_centred, wave**2, _term, root, w)
    return first_nonzero(
        _quotient_residual(denominator(-1 - _N).subs(w, -w), -denominator(_N)),
        _quotient_residual(comparison(-1 - _N).subs(w, -w), comparison(_N)),
        _quotient_residual(numerator(-2 - _N).subs(w, -w), numerator(_N)),
    )


def _centred(
    factor: sympy.Expr,
    term: Callable[[sympy.Expr, sympy.Expr, sympy.Expr], sympy.Expr],
    nome: sympy.Expr,
    w: sympy.Symbol,
    n: sympy.Expr,
) -> sympy.Expr:
    return factor * term(n, _ZERO + w, nome)


def _count_residual() -> sympy.Expr:
    # The logarithmic derivative drops by 2i from the lower to the upper side of the cell, of
    # length pi, and the two other sides cancel: (1/2 pi i) pi 2i zeros.
    multiplier = sympy.exp(-2 * sympy.I * _Z) / NOME
    drop = -sympy.simplify(sympy.diff(multiplier, _Z) / multiplier)
    return sympy.simplify(sympy.pi * drop / (2 * sympy.pi * sympy.I) - 1)


def _landen_residual() -> sympy.Expr:
    """Check (m, n) = (a + b, a - b), a and b both integers or both half-integers."""
    a, b = sympy.symbols("a b")
    exponent = sympy.expand(((a + b) ** 2 + (a - b) ** 2) / 2 - a**2 - b**2)
    return first_nonzero(exponent, _pairing_residual())


def _pairing_residual() -> sympy.Expr:
    """Check that the map is a bijection: it and its inverse take integers where they should."""
    i, j, m, n = sympy.symbols("i j m n", integer=True)
    images = [(i + j + 2 * e, (i + e) - (j + e)) for e in (sympy.Integer(0), _HALF)]
    not_integral = [x for pair in images for x in pair if not x.is_integer]
    a, b = (m + n) / 2, (m - n) / 2
    same_class = a - b - n  # a - b is the integer n, so a and b are of the same class
    return first_nonzero(*not_integral, same_class, sympy.expand(a + b - m))


def _landen_sign_residual() -> sympy.Expr:
    i, j = sympy.symbols("i j", integer=True)
    # (-1)^{m+n} = (-1)^{2a}: 1 for integer a = i, -1 for a = i + 1/2.
    together = (sympy.simplify((-1) ** (2 * i) - 1), sympy.simplify((-1) ** (2 * i + 1) + 1))
    # (-1)^n = (-1)^{a-b} splits into a factor for a and one for b; over half-integers the sum
    # in i is odd under i -> -1 - i and vanishes.
    split = _quotient_residual((-1) ** (i - j), (-1) ** i * (-1) ** j)
    summand = (-1) ** i * NOME ** ((i + _HALF) ** 2)
    odd = _quotient_residual(summand.subs(i, -1 - i), -summand)
    return first_nonzero(*together, split, odd)


# --- the elliptic function and its mean -------------------------------------------------------
# Symbols: R = sqrt(1 + k), T = theta_3(0, p). Writing k = R^2 - 1 keeps everything rational.

ROOT_SYMBOL, THETA_SYMBOL = sympy.symbols("R T", positive=True)
_MODULUS_BY_ROOT = ROOT_SYMBOL**2 - 1
_VALUE_AT_0 = ROOT_SYMBOL / THETA_SYMBOL  # f(0) = theta_3(0, sqrt p)/theta_3^2
_VALUE_AT_HALF = 1 / (ROOT_SYMBOL * THETA_SYMBOL)  # f(pi/2) = theta_4(0, sqrt p)/theta_4^2


def _constants_from_landen_residual() -> sympy.Expr:
    theta2, theta4 = sympy.symbols("theta2 theta4", positive=True)
    k, k_prime_squared = theta2**2 / THETA_SYMBOL**2, theta4**4 / THETA_SYMBOL**4
    complement = k_prime_squared - (1 - k**2)  # must follow from theta4^4 = theta3^4 - theta2^4
    jacobi = complement.subs(theta4, (THETA_SYMBOL**4 - theta2**4) ** sympy.Rational(1, 4))
    at_0 = (THETA_SYMBOL**2 + theta2**2) / THETA_SYMBOL**4 - (_VALUE_AT_0**2).subs(
        ROOT_SYMBOL, sympy.sqrt(1 + k)
    )
    at_half = (THETA_SYMBOL**2 - theta2**2) / (THETA_SYMBOL**4 - theta2**4)
    half = at_half - (_VALUE_AT_HALF**2).subs(ROOT_SYMBOL, sympy.sqrt(1 + k))
    return first_nonzero(*(sympy.simplify(x) for x in (jacobi, at_0, half)))


def _liouville_constants() -> tuple[sympy.Expr, sympy.Expr]:
    """Alpha and beta of f = alpha + beta nd^2, from nd^2 = 1 at 0 and 1/k'^2 at K."""
    alpha, beta = sympy.symbols("alpha beta")
    complement = 1 - _MODULUS_BY_ROOT**2
    equations = (alpha + beta - _VALUE_AT_0, alpha + beta / complement - _VALUE_AT_HALF)
    solution = sympy.solve(equations, (alpha, beta), dict=True)[0]
    return sympy.factor(solution[alpha]), sympy.factor(solution[beta])


def _constants_residual() -> sympy.Expr:
    alpha, beta = _liouville_constants()
    k = _MODULUS_BY_ROOT
    return first_nonzero(
        sympy.cancel(alpha - ROOT_SYMBOL / (k * THETA_SYMBOL)),
        sympy.cancel(beta + (1 - k**2) / (k * ROOT_SYMBOL * THETA_SYMBOL)),
    )


def _mean_of_nd2_residual() -> sympy.Expr:
    """Check d/du [E(am u) - k^2 sn cn/dn] = k'^2/dn^2 from the derivatives of sn, cn and dn."""
    sn, cn, dn, k = sympy.symbols("sn cn dn k")
    fraction = sn * cn / dn
    slopes = {sn: cn * dn, cn: -sn * dn, dn: -(k**2) * sn * cn}
    slope = sum(sympy.diff(fraction, x) * slopes[x] for x in (sn, cn, dn))
    identity = sympy.together(dn**2 - k**2 * slope - (1 - k**2) / dn**2)
    numerator = sympy.expand(sympy.numer(identity))
    return sympy.rem(
        sympy.rem(numerator, dn**2 - (1 - k**2 * sn**2), dn), cn**2 - (1 - sn**2), cn
    ).expand()


# Square roots of K and K' as symbols make every formula here rational.
K_ROOT, K_PRIME_ROOT, DEFICIT_SYMBOL = sympy.symbols("sqrt_K sqrt_K_prime D", positive=True)


def _mean() -> sympy.Expr:
    """Mean of f over a period, in R, T and D = (K - E)/K: the mean of nd^2 is E/(k'^2 K)."""
    alpha, beta = _liouville_constants()
    return sympy.cancel(alpha + beta * (1 - DEFICIT_SYMBOL) / (1 - _MODULUS_BY_ROOT**2))


def by_symbols(formula: sympy.Expr) -> sympy.Expr:
    """Write a formula in c or in k by the symbols R = sqrt(1+k), sqrt(K), sqrt(K'), D = (K - E)/K.

    Args:
        formula: In ``BANDWIDTH`` through the functions of `theory.theta`, or in ``MODULUS`` through
            complete elliptic integrals. What is none of these stays as it is.

    Source: this project.
    """
    c, k = BANDWIDTH, MODULUS
    named = {
        EllipticModulus(c): _MODULUS_BY_ROOT,
        ComplementaryQuarterPeriod(c): K_PRIME_ROOT**2,
        QuarterPeriod(c): K_ROOT**2,
        EllipticDeficit(c): DEFICIT_SYMBOL,
        EllipticDeficitRatio(c): DEFICIT_SYMBOL / _MODULUS_BY_ROOT,
        sympy.elliptic_k(k**2): K_ROOT**2,
        sympy.elliptic_k(1 - k**2): K_PRIME_ROOT**2,
        sympy.elliptic_e(k**2): K_ROOT**2 * (1 - DEFICIT_SYMBOL),
        THETA_SYMBOL: sympy.sqrt(2 / sympy.pi) * K_ROOT,
    }
    bandwidth = K_ROOT / (sympy.sqrt(2 * sympy.pi) * K_PRIME_ROOT)
    return formula.xreplace(named).subs({c: bandwidth, k: _MODULUS_BY_ROOT})


def _claim_residual(claimed: sympy.Expr, derived: sympy.Expr) -> sympy.Expr:
    return sympy.cancel(sympy.together(by_symbols(claimed) - by_symbols(derived)))


_TRANSFORM_STEPS = (
    Step(
        "Completing the square, e^{-a x^2} has the transform sqrt(pi/a) e^{-pi^2 xi^2/a}; for "
        "a = 1/2 this is sqrt(2 pi) e^{-2 pi^2 xi^2}.",
        _transform_residual,
    ),
    Step(
        "By Poisson summation S = theta_3(pi theta, p)/c with p = e^{-1/(2c^2)}.",
        _poisson_residual,
    ),
    Step(
        "phihat^2 is sqrt(2 pi) times phihat at bandwidth sqrt(2) c, whose nome is sqrt(p).",
        _square_residual,
    ),
    Step(
        "Hence Q/S^2 = c sqrt(pi) f(pi theta), f(z) = theta_3(z, sqrt p)/theta_3(z, p)^2.",
        _prefactor_residual,
    ),
)
_LANDEN_STEPS = (
    Step(
        "Landen: (m, n) = (a + b, a - b) makes (m^2 + n^2)/2 = a^2 + b^2, with a, b both integers "
        "or both half-integers, so theta_3(sqrt p)^2 = theta_3^2 + theta_2^2.",
        _landen_residual,
    ),
    Step(
        "With signs: theta_4(sqrt p)^2 = theta_3^2 - theta_2^2, and "
        "theta_3(sqrt p) theta_4(sqrt p) = theta_4^2, since the half-integers cancel in pairs.",
        _landen_sign_residual,
    ),
    Step(
        "With k = theta_2^2/theta_3^2 and k' = theta_4^2/theta_3^2: k'^2 = 1 - k^2, "
        "f(0) = sqrt(1+k)/theta_3 and f(pi/2) = 1/(sqrt(1+k) theta_3).",
        _constants_from_landen_residual,
    ),
)
_ELLIPTIC_STEPS = (
    Step("The theta functions have period pi, term by term.", _period_residual),
    Step(
        "Shifting z by pi tau multiplies theta_3(z, p) by e^{-2iz}/p, theta_4(z, p) by minus "
        "that and theta_3(z, sqrt p) by its square: f = theta_3(z, sqrt p)/theta_3(z, p)^2 and "
        "nd^2 = theta_4^2/(k' theta_3^2) are elliptic.",
        _quasi_period_residual,
    ),
    Step(
        "At z0 = pi/2 + pi tau/2 the index n -> -1 - n makes e^{iw} theta_3(z0 + w) odd, hence 0 "
        "at w = 0; numerators are even by n -> -2 - n and -1 - n. So f and nd^2 are even about "
        "z0, and without residue there.",
        _parity_residual,
    ),
    Step(
        "That zero is simple and the only one in a cell: the logarithmic derivative counts one.",
        _count_residual,
    ),
)
_MEAN_STEPS = (
    Step(
        "Subtract the multiple of nd^2 that removes the double pole: by Liouville the rest is "
        "constant, f = alpha + beta nd^2. The values at 0 and pi/2 give alpha and beta.",
        _constants_residual,
    ),
    Step(
        "(E(am u) - k^2 sn cn/dn)' = k'^2 nd^2; over the period 2K, where E(am u) grows by 2E and "
        "sn returns to 0, nd^2 has the mean E/(k'^2 K).",
        _mean_of_nd2_residual,
    ),
)
_JACOBI = (
    "the Gaussian integral is sqrt(pi/a), also along a shifted line",
    "Poisson summation formula",
    "theta_3(0, p) and theta_4(0, p) are positive for 0 < p < 1 (Jacobi's triple product)",
    "Jacobi: theta_3(0, p)^2 = 2K/pi and c^2 = K/(2 pi K') for p = e^{-pi K'/K}",
)
_LIOUVILLE = (
    "argument principle",
    "Liouville: an elliptic function without poles is constant",
    "Jacobi: dn(2Kz/pi) = sqrt(k') theta_3(z)/theta_4(z); sn' = cn dn, cn' = -sn dn, "
    "dn' = -k^2 sn cn; E(am u) is the integral of dn^2",
)


def derive_estimation(claimed: sympy.Expr = ESTIMATION.expression) -> Derivation:
    """Derive V(c), the mean of an elliptic function with one double pole.

    Args:
        claimed: The formula to compare with, in the symbol ``BANDWIDTH`` through the functions of
            `theory.theta`, or in the symbol ``MODULUS`` through complete elliptic integrals.

    Source: this project.
    """
    derived = BANDWIDTH * sympy.sqrt(sympy.pi) * _mean()
    last = Step(
        "V = c sqrt(pi) (alpha + beta E/(k'^2 K)) is the claimed formula.",
        partial(_claim_residual, claimed, derived),
    )
    steps = (*_TRANSFORM_STEPS, *_ELLIPTIC_STEPS, *_LANDEN_STEPS, *_MEAN_STEPS, last)
    goal = "V(c) = (1/2) sqrt(pi/((1+k)K')) (1 + (K-E)/(kK)) for the Gaussian kernel."
    return Derivation(goal, steps, (*_JACOBI, *_LIOUVILLE))


def _derived_own_weight() -> sympy.Expr:
    return _fourier_transform(sympy.Integer(0)) * BANDWIDTH / THETA_SYMBOL  # phihat(0)/S(0)


def _derived_energy() -> sympy.Expr:
    return BANDWIDTH * sympy.sqrt(sympy.pi) * _VALUE_AT_0


def derive_own_weight(claimed: sympy.Expr = OWN_WEIGHT.expression) -> Derivation:
    """Derive r_0(0) = phihat(0)/S(0) = sqrt(pi/(2K')).

    Args:
        claimed: The formula to compare with, as in `derive_estimation`.

    Source: this project.
    """
    residual = partial(_claim_residual, claimed, _derived_own_weight())
    last = Step("r_0(0) = phihat(0)/S(0) = c sqrt(2 pi)/theta_3(0, p).", residual)
    goal = "r_0(0) = sqrt(pi/(2K')) for the Gaussian kernel."
    return Derivation(goal, (*_TRANSFORM_STEPS, last), _JACOBI)


def derive_weight_energy(claimed: sympy.Expr = WEIGHT_ENERGY.expression) -> Derivation:
    """Derive sum_l r_l(0)^2 = (1/2) sqrt(pi (1+k)/K').

    Args:
        claimed: The formula to compare with, as in `derive_estimation`.

    Source: this project.
    """
    residual = partial(_claim_residual, claimed, _derived_energy())
    last = Step("The energy is c sqrt(pi) f(0).", residual)
    goal = "sum_l r_l(0)^2 = (1/2) sqrt(pi (1+k)/K') for the Gaussian kernel."
    return Derivation(goal, (*_TRANSFORM_STEPS, *_LANDEN_STEPS, last), _JACOBI)


def derive_approximation(claimed: sympy.Expr = APPROXIMATION.expression) -> Derivation:
    """Derive B(c) = 1 - 2 r_0(0) + sum_l r_l(0)^2.

    Args:
        claimed: The formula to compare with, as in `derive_estimation`.

    Source: this project.
    """
    derived = 1 - 2 * _derived_own_weight() + _derived_energy()
    last = Step("B = 1 - 2 r_0 + sum_l r_l^2.", partial(_claim_residual, claimed, derived))
    goal = "B(c) = 1 - sqrt(2 pi/K') + (1/2) sqrt(pi (1+k)/K') for the Gaussian kernel."
    return Derivation(goal, (*_TRANSFORM_STEPS, *_LANDEN_STEPS, last), _JACOBI)


# --- the key identity in ball arithmetic ------------------------------------------------------


def elliptic_identity(theta: Any, bandwidth: Any, prec: int = 256) -> Any:
    """Enclose f(z) - alpha - beta nd(2Kz/pi)^2 at z = pi theta, which is 0.

    Args:
        theta: Where, an ``acb`` or a string such as "1/3"; complex values are allowed.
        bandwidth: c > 0, an ``arb`` or a string such as "2/3".
        prec: Working precision in bits.

    Returns:
        An ``acb`` ball that contains 0.

    Source: this project.
    """
    with ctx.workprec(prec):
        c = bandwidth if isinstance(bandwidth, arb) else arb(fmpq(bandwidth))
        z = theta if isinstance(theta, acb) else acb(arb(fmpq(theta)))
        tau = acb(0, 1) / (2 * arb.pi() * c * c)
        theta2, theta3, theta4 = _thetas(acb(0), tau)
        k = (theta2 / theta3) ** 2
        root = (1 + k).sqrt()
        alpha, beta = root / (k * theta3), -(1 - k * k) / (k * root * theta3)
        _, numerator, _ = _thetas(z, tau / 2)
        _, at_z, shifted = _thetas(z, tau)
        nd2 = (shifted * theta3 / (at_z * theta4)) ** 2
        return numerator / at_z**2 - alpha - beta * nd2


def _thetas(z: Any, tau: Any) -> tuple[Any, Any, Any]:
    _, theta2, theta3, theta4 = z.modular_theta(tau)
    return theta2, theta3, theta4
