"""The Gaussian's elliptic functions, as SymPy functions of the bandwidth in grid spacings.

The Gaussian kernel on the grid leads to theta functions whose nome is p = exp(−1/(2c²)), and by
Jacobi's imaginary transformation to the complementary nome p' = exp(−2π²c²). One of the two is at
most exp(−π), so every series here converges fast and keeps relative accuracy as c → 0 and c → ∞.
Notation: k the modulus, K = K(k), K' = K(√(1−k²)), E = E(k); c² = K/(2πK').
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import sympy
from flint import arb, arb_series, ctx, fmpq

from .closed_form.jets import without_constant

# The nomes are equal at c = 1/√(2π) = 0.3989; which one is used near there does not matter.
_CROSSOVER = fmpq(2, 5)


class _FunctionOfBandwidth(sympy.Function):  # type: ignore[misc]  # SymPy is untyped
    """A positive function of c > 0 that is strictly monotone, with its evaluators."""

    nargs = 1
    symbol = ""

    def _eval_is_positive(self) -> bool | None:
        return True if self.args[0].is_positive else None

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        base = f"{{{self.symbol}}}" if "'" in self.symbol and power else self.symbol
        return rf"{base}{power}\left({printer.doprint(self.args[0])}\right)"

    @classmethod
    def _arb(cls, c: Any) -> Any:
        """Enclose the function over a ball: by its two ends, as it is monotone."""
        if not c > 0:
            return arb.nan()
        if c.is_exact():
            return cls._point(c)
        return cls._point(c.lower()).union(cls._point(c.upper()))

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        """Return the derivative, in these same functions."""
        if argindex != 1:
            raise sympy.core.function.ArgumentIndexError(self, argindex)
        return self._derivative(self.args[0])

    @staticmethod
    def _derivative(c: sympy.Expr) -> sympy.Expr:
        raise NotImplementedError

    @classmethod
    def _jet(cls, c: Any) -> Any:
        """Continue the function as a power series in whatever c is a power series in."""
        raise NotImplementedError

    @classmethod
    def _point(cls, c: Any) -> Any:
        return cls._narrow(c) if c < _CROSSOVER else cls._wide(c)

    @staticmethod
    def _narrow(c: Any) -> Any:
        raise NotImplementedError

    @staticmethod
    def _wide(c: Any) -> Any:
        raise NotImplementedError


class EllipticModulus(_FunctionOfBandwidth):
    """k(c) = ϑ₂(p)²/ϑ₃(p)², from 0 at c = 0 to 1 at c = ∞.

    Increasing: p dk/dp = 2k(1−k²)K²/π² > 0 and p increases with c.
    """

    symbol = "k"

    @classmethod
    def _jet(cls, c: Any) -> Any:
        return _series(c).k

    @staticmethod
    def _derivative(c: sympy.Expr) -> sympy.Expr:
        return _derivatives(c)[0]

    @staticmethod
    def _narrow(c: Any) -> Any:
        thetas = _thetas(c)
        root = (-1 / (4 * c * c)).exp()  # √p, the square of ϑ₂'s factor
        return root * (_theta2_tail(thetas.nome) / thetas.theta3) ** 2

    @staticmethod
    def _wide(c: Any) -> Any:
        thetas = _thetas(c, complementary=True)
        return (thetas.theta4 / thetas.theta3) ** 2

    @staticmethod
    def _mp(ctx: Any, c: Any) -> Any:
        if c < 0.4:
            q = ctx.exp(-1 / (2 * c * c))
            return (ctx.jtheta(2, 0, q) / ctx.jtheta(3, 0, q)) ** 2
        q = ctx.exp(-2 * (ctx.pi * c) ** 2)
        return (ctx.jtheta(4, 0, q) / ctx.jtheta(3, 0, q)) ** 2


class QuarterPeriod(_FunctionOfBandwidth):
    """K(c) = K(k(c)) = (π/2) ϑ₃(p)² = 2πc²K'(c); increasing, as K(k) and k(c) are."""

    symbol = "K"

    @classmethod
    def _jet(cls, c: Any) -> Any:
        return _series(c).K

    @staticmethod
    def _derivative(c: sympy.Expr) -> sympy.Expr:
        return _derivatives(c)[1]

    @staticmethod
    def _narrow(c: Any) -> Any:
        return arb.pi() / 2 * _thetas(c).theta3 ** 2

    @staticmethod
    def _wide(c: Any) -> Any:
        return 2 * arb.pi() * c * c * ComplementaryQuarterPeriod._wide(c)

    @staticmethod
    def _mp(ctx: Any, c: Any) -> Any:
        if c < 0.4:
            return ctx.pi / 2 * ctx.jtheta(3, 0, ctx.exp(-1 / (2 * c * c))) ** 2
        return 2 * ctx.pi * c * c * ComplementaryQuarterPeriod._mp(ctx, c)

    def _eval_rewrite_as_elliptic_k(self, c: sympy.Expr, **_: Any) -> sympy.Expr:
        return sympy.elliptic_k(EllipticModulus(c) ** 2)


class ComplementaryQuarterPeriod(_FunctionOfBandwidth):
    """K'(c) = K(√(1−k(c)²)) = (π/2) ϑ₃(p')²; decreasing, as K(k) and k(c) increase."""

    symbol = "K'"

    @classmethod
    def _jet(cls, c: Any) -> Any:
        return _series(c).K_prime

    @staticmethod
    def _derivative(c: sympy.Expr) -> sympy.Expr:
        return ComplementaryQuarterPeriod(c) * (_derivatives(c)[1] / QuarterPeriod(c) - 2 / c)

    @staticmethod
    def _narrow(c: Any) -> Any:
        return _thetas(c).theta3 ** 2 / (4 * c * c)

    @staticmethod
    def _wide(c: Any) -> Any:
        return arb.pi() / 2 * _thetas(c, complementary=True).theta3 ** 2

    @staticmethod
    def _mp(ctx: Any, c: Any) -> Any:
        if c < 0.4:
            return QuarterPeriod._mp(ctx, c) / (2 * ctx.pi * c * c)
        return ctx.pi / 2 * ctx.jtheta(3, 0, ctx.exp(-2 * (ctx.pi * c) ** 2)) ** 2

    def _eval_rewrite_as_elliptic_k(self, c: sympy.Expr, **_: Any) -> sympy.Expr:
        return sympy.elliptic_k(1 - EllipticModulus(c) ** 2)


class EllipticDeficit(_FunctionOfBandwidth):
    """D(c) = (K − E)/K, from 0 at c = 0 to 1 at c = ∞.

    K(K − E) = 2π² Σ n pⁿ/(1 − p²ⁿ) = 2π² (p − 4p⁴ + 9p⁹ − …)/ϑ₄(p), the second by ϑ₄''/ϑ₄.
    On the wide side Legendre's relation EK' + E'K − KK' = π/2 gives D = 1 − D' − π/(2KK').
    Increasing: E(k) decreases and K(k) increases.
    """

    symbol = "D"

    @classmethod
    def _jet(cls, c: Any) -> Any:
        return _series(c).D

    @staticmethod
    def _derivative(c: sympy.Expr) -> sympy.Expr:
        k_velocity, _, R_velocity = _derivatives(c)
        return EllipticModulus(c) * R_velocity + EllipticDeficitRatio(c) * k_velocity

    @staticmethod
    def _narrow(c: Any) -> Any:
        return _deficit(_thetas(c))

    @staticmethod
    def _wide(c: Any) -> Any:
        thetas = _thetas(c, complementary=True)
        return 1 - _deficit(thetas) - 1 / (arb.pi() * c * thetas.theta3**2) ** 2

    @staticmethod
    def _mp(ctx: Any, c: Any) -> Any:
        if c < 0.4:
            return _mp_deficit(ctx, ctx.exp(-1 / (2 * c * c)))
        K_prime = ComplementaryQuarterPeriod._mp(ctx, c)
        complement = _mp_deficit(ctx, ctx.exp(-2 * (ctx.pi * c) ** 2))
        return 1 - complement - 1 / (2 * c * K_prime) ** 2

    def _eval_rewrite_as_elliptic_k(self, c: sympy.Expr, **_: Any) -> sympy.Expr:
        m = EllipticModulus(c) ** 2
        return 1 - sympy.elliptic_e(m) / sympy.elliptic_k(m)


class EllipticDeficitRatio(_FunctionOfBandwidth):
    """R(c) = D(c)/k(c) = (K − E)/(kK), from 0 at c = 0 to 1 at c = ∞.

    One function, because on an interval of small c both D and k run over so many powers of ten
    that the quotient of the two balls says nothing. Increasing: k and D/k² = ½ + k²/16 + … do.
    """

    symbol = "R"

    @classmethod
    def _jet(cls, c: Any) -> Any:
        return _series(c).R

    @staticmethod
    def _derivative(c: sympy.Expr) -> sympy.Expr:
        return _derivatives(c)[2]

    @staticmethod
    def _narrow(c: Any) -> Any:
        return EllipticDeficit._narrow(c) / EllipticModulus._narrow(c)

    @staticmethod
    def _wide(c: Any) -> Any:
        return EllipticDeficit._wide(c) / EllipticModulus._wide(c)

    @staticmethod
    def _mp(ctx: Any, c: Any) -> Any:
        return EllipticDeficit._mp(ctx, c) / EllipticModulus._mp(ctx, c)

    def _eval_rewrite_as_elliptic_k(self, c: sympy.Expr, **_: Any) -> sympy.Expr:
        return EllipticDeficit(c).rewrite(sympy.elliptic_k) / EllipticModulus(c)


def _derivatives(c: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr, sympy.Expr]:
    """Return dk/dc, dK/dc, dR/dc."""
    K = QuarterPeriod(c)
    speed = 2 * K**2 / (sympy.pi**2 * c**3)
    return _velocities(speed, EllipticModulus(c), K, EllipticDeficitRatio(c))


def _velocities(speed: Any, k: Any, K: Any, R: Any) -> tuple[Any, Any, Any]:
    """Return dk/dc, dK/dc, dR/dc with R = (K − E)/(kK), given speed = 2K²/(π²c³).

    By p dk/dp = 2k(1−k²)K²/π², dp/dc = p/c³, k(1−k²) dK/dk = E − (1−k²)K and k dE/dk = E − K.
    """
    difference = k - R
    return speed * k * (1 - k * k), speed * K * k * difference, speed * (1 - k * R) * difference


@dataclass(frozen=True)
class _Series:
    """Power series of the five functions along one power series c(x)."""

    k: Any
    K: Any
    K_prime: Any
    D: Any
    R: Any


def _series(c: Any) -> _Series:
    coefficients = tuple((a.mid().man_exp(), a.rad().man_exp()) for a in c.coeffs())
    return _cached_series(coefficients, ctx.cap, ctx.prec)


@functools.lru_cache(maxsize=8)  # a formula asks for several functions of the same c
def _cached_series(coefficients: tuple[Any, ...], length: int, prec: int) -> _Series:
    """Choose the side by the constant term of c, which may be a wide ball."""
    with ctx.workprec(prec):
        c = arb_series([arb(mid, rad) for mid, rad in coefficients], length)
        narrow, wide = c[0] < arb(3) / 5, c[0] > arb(3) / 10  # an ample overlap
        if narrow and not (wide and c[0].mid() > arb(_CROSSOVER)):
            return _narrow_series(c)
        if wide:
            return _wide_series(c)
    nothing = arb_series([arb.nan()] * length, length)
    return _Series(nothing, nothing, nothing, nothing, nothing)


def _narrow_series(c: Any) -> _Series:
    exponent = -1 / (2 * c * c)
    theta2, theta3, theta4, moment = _theta_series(c, exponent, 1 / (2 * c[0].abs_upper() ** 2))
    root, K = (exponent / 2).exp(), arb.pi() / 2 * theta3 * theta3
    k = root * (theta2 / theta3) ** 2
    # D = 8p·moment/(ϑ₄ϑ₃⁴), and R = D/k with the powers of p cancelled by hand.
    R = 8 * root * moment / (theta4 * (theta2 * theta3) ** 2)
    return _Series(k, K, K / (2 * arb.pi() * c * c), k * R, R)


def _wide_series(c: Any) -> _Series:
    exponent = -2 * arb.pi() ** 2 * c * c
    _, theta3, theta4, moment = _theta_series(c, exponent, 2 * (arb.pi() * c[0].abs_lower()) ** 2)
    square = theta3 * theta3
    k, K_prime = (theta4 / theta3) ** 2, arb.pi() / 2 * square
    complement = 8 * exponent.exp() * moment / (theta4 * square * square)
    D = 1 - complement - (1 / (arb.pi() * c * square)) ** 2
    return _Series(k, 2 * arb.pi() * c * c * K_prime, K_prime, D, D / k)


def _theta_series(c: Any, exponent: Any, rate: Any) -> tuple[Any, Any, Any, Any]:
    """Return ϑ₂q^{−1/4}, ϑ₃, ϑ₄ and 1 − 4q³ + 9q⁸ − … along c, where q = exp(exponent).

    Args:
        c: A power series.
        exponent: −1/(2c²) or −2π²c², a power series.
        rate: The least |exponent| on the ball c[0]; at least 1.3.
    """
    last = _series_terms(rate)
    rest = _rest(c, 4 * last**2 * (-(last**2 - 1) * rate / 2).exp())
    theta2, theta3, theta4, moment = 2 + rest, 1 + rest, 1 + rest, 1 + rest
    for n in range(1, last):
        power, sign = (n * n * exponent).exp(), (-1) ** n
        theta2 += 2 * (n * (n + 1) * exponent).exp()
        theta3 += 2 * power
        theta4 += 2 * sign * power
        moment -= sign * n * n * ((n * n - 1) * exponent).exp() if n > 1 else 0
    return theta2, theta3, theta4, moment


def _series_terms(rate: Any) -> int:
    """Return an N for which the rest is about 2^−prec."""
    return 3 + math.isqrt(int(1.4 * ctx.prec / float(rate)))


def _rest(c: Any, bound: Any) -> Any:
    """Enclose the power series of what is left out of a theta series, by Cauchy's estimate.

    On the disc of radius c/4 around c the real parts of z² and 1/z² are at least half of c² and
    1/c². So the terms from n = N on, n²qⁿ²⁻¹ or less, sum there to at most the given bound
    4N² exp(−(N²−1)·rate/2): each is less than half of the one before.
    """
    radius = c[0].abs_lower() / 4
    outer = [_symmetric(bound / radius**j) for j in range(ctx.cap)]
    return arb_series(outer, ctx.cap)(without_constant(c))


@dataclass(frozen=True)
class _Thetas:
    """A nome below 1/8, with ϑ₃ and ϑ₄ there."""

    nome: Any
    theta3: Any
    theta4: Any


def _thetas(c: Any, complementary: bool = False) -> _Thetas:
    return _cached_thetas(c.man_exp(), complementary, ctx.prec)


@functools.lru_cache(maxsize=16)  # a formula asks for several functions of the same c
def _cached_thetas(c: tuple[Any, Any], complementary: bool, prec: int) -> _Thetas:
    """Return p or p' and its theta functions at an exact c."""
    with ctx.workprec(prec):
        square = arb(c) ** 2
        q = (-2 * arb.pi() ** 2 * square).exp() if complementary else (-1 / (2 * square)).exp()
        return _Thetas(q, _theta3(q), _theta3(q, alternating=True))


def _theta3(q: Any, alternating: bool = False) -> Any:
    """ϑ₃(q) = 1 + 2 Σ q^{n²}, or ϑ₄(q) with alternating signs, for 0 ≤ q < 1/8."""
    total, square, step = arb(0), q, q**3  # square = q^{n²}, step = q^{2n+1}
    for n in range(1, _terms(q)):
        total = total - square if alternating and n % 2 else total + square
        square, step = square * step, step * q * q
    # Each later term is less than 1/8 of the one before, so the rest is below 8/7 of the next.
    return 1 + 2 * (total + _symmetric(2 * square))


def _theta2_tail(q: Any) -> Any:
    """ϑ₂(q) q^{−1/4} = 2 Σ_{n≥0} q^{n(n+1)} for 0 ≤ q < 1/8."""
    total, term, step = arb(0), q * q, q**4  # term = q^{n(n+1)}, step = q^{2n+2}
    for _ in range(1, _terms(q)):
        total += term
        term, step = term * step, step * q * q
    return 2 * (1 + total + _symmetric(2 * term))


def _deficit(thetas: _Thetas) -> Any:
    """(K − E)/K = 2π² (q − 4q⁴ + 9q⁹ − …)/(ϑ₄(q) K²), with relative accuracy."""
    q = thetas.nome
    return 8 * q * _moment(q) / (thetas.theta4 * thetas.theta3**4)


def _moment(q: Any) -> Any:
    """1 − 4q³ + 9q⁸ − … = Σ (−1)ⁿ⁺¹ n² q^{n²−1} for 0 ≤ q < 1/8."""
    total, power, step = arb(0), q**3, q**5  # power = q^{n²−1}, step = q^{2n+1}
    last = 1 + _terms(q)
    for n in range(2, last):
        total += (-n * n if n % 2 == 0 else n * n) * power
        power, step = power * step, step * q * q
    # Term n+1 is less than (3/2)²/8⁵ of term n, so the rest is below twice the next.
    return 1 + total + _symmetric(2 * last**2 * power)


def _terms(q: Any) -> int:
    """Return an N with q^{N²} < 2^{−prec}, for 0 ≤ q < 1/8."""
    mantissa, exponent = q.abs_upper().man_exp()
    bits = -int(mantissa.bit_length() + exponent)  # q < 2^{−bits}
    return 1 + math.isqrt(ctx.prec // max(bits, 3) + 1)


def _symmetric(bound: Any) -> Any:
    """Return a ball around 0 that contains ±bound."""
    return arb(0, bound.abs_upper())


def _mp_deficit(ctx: Any, q: Any) -> Any:
    """(K − E)/K by the Lambert series Σ n qⁿ/(1 − q²ⁿ) = Σ_{m odd} qᵐ/(1 − qᵐ)²."""
    total, power, m = q / (1 - q) ** 2, q**3, 3
    while power > ctx.eps * q:
        total += power / (1 - power) ** 2
        power *= q * q
        m += 2
    return 8 * total / ctx.jtheta(3, 0, q) ** 4
