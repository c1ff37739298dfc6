"""The same brute force in arbitrary precision, in one dimension, for ill-conditioned systems."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational, Real
from typing import Any

from mpmath.ctx_mp import MPContext

from ..validation import integer, nonnegative, positive
from .interpolation import SingularSystemError
from .profiles import ProfileLike, as_profile
from .targets import Frequency, frequencies

GUARD = 15
"""Digits carried beyond those asked for."""
MOST_POINTS = 64

Exact = int | float | str | Fraction
"""A number taken exactly: an integer, a float, a fraction, or a decimal or 'p/q' in a string."""


@dataclass(frozen=True)
class HighPrecisionRisk:
    """A risk as in `Risk`, its parts mpmath numbers.

    Attributes:
        approximation: ∫ |f̂ - f*|² dx without noise.
        estimation: σ² ∫ |(K + λI)^{-1} k(x)|² dx.
        total: Their sum.
        quadrature_error: The larger of their changes at the last refinement of the quadrature.
        condition_number: ‖K + λI‖ ‖(K + λI)^{-1}‖ in the 1-norm.
    """

    approximation: Any
    estimation: Any
    total: Any
    quadrature_error: Any
    condition_number: Any


def periodised_mp(profile: ProfileLike, x: Exact, bandwidth: Exact, dps: int) -> Any:
    """φ_h(x) in one dimension to about `dps` digits after the point, as an mpmath number.

    Gaussian and Matérn images are summed directly, those of Laplace and half-integer Matérn
    kernels as geometric series and their derivatives, Cauchy images by the Euler–Maclaurin formula
    with a remainder below 10^{-dps}.

    Args:
        profile: A Profile of dimension 1 or a name; no function of your own.
        x: Point.
        bandwidth: h > 0.
        dps: Decimal digits, at least 1.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If h <= 0, the profile has another dimension or is your own, or dps < 1.
    """
    ctx = _context(dps)
    return _kernel(ctx, profile, _exact(ctx, "bandwidth", bandwidth))(_exact(ctx, "x", x))


def exact_risk_mp(
    profile: ProfileLike,
    design: int | Sequence[Exact],
    target: Mapping[Frequency, complex],
    bandwidth: Exact,
    noise_variance: Exact = 1,
    ridge: Exact = 0,
    *,
    dps: int = 50,
    digits: int = 20,
) -> HighPrecisionRisk:
    """The risk of kernel regression in one dimension, with every step in arbitrary precision.

    The kernel matrix is inverted as it stands. Gaussian and Cauchy integrands are analytic on the
    circle, where the trapezoidal rule converges geometrically: its nodes are doubled until
    `digits` digits stand. Laplace and Matérn integrands are integrated between design points by
    Gauss–Legendre of rising degree.

    Args:
        profile: A Profile of dimension 1 or a name; no function of your own.
        design: n, for the grid j/n, taken exactly; or points.
        target: {frequency k: coefficient of e^{2πi k x}}, coefficients taken as doubles.
        bandwidth: h > 0, taken exactly.
        noise_variance: σ² >= 0.
        ridge: λ >= 0.
        dps: Decimal digits carried; must exceed those of the condition number.
        digits: Relative accuracy asked of the quadrature.

    Raises:
        SingularSystemError: If the condition number leaves fewer than `digits` of `dps` digits.
        ArithmeticError: If the quadrature does not converge.
        TypeError: If an argument has the wrong type.
        ValueError: If fewer than 2 or more than 64 points, h <= 0, σ² < 0 or λ < 0.
    """
    ctx = _context(dps)
    x, function = _design(ctx, design), _target(ctx, target)
    kernel = _kernel(ctx, profile, _exact(ctx, "bandwidth", bandwidth))
    nonnegative("noise_variance", float(_exact(ctx, "noise_variance", noise_variance)))
    nonnegative("ridge", float(_exact(ctx, "ridge", ridge)))
    inverse, condition = _invert(ctx, kernel, x, _exact(ctx, "ridge", ridge), dps, digits)
    errors = _pointwise(ctx, kernel, x, inverse, function)
    analytic = as_profile(profile, 1).name in ("gaussian", "cauchy")
    integrate = _trapezoidal if analytic else _between_points
    (approximation, estimation), change = integrate(ctx, errors, x, ctx.mpf(10) ** -digits)
    variance = _exact(ctx, "noise_variance", noise_variance)
    error = max(change[0], variance * change[1])
    total = approximation + variance * estimation
    return HighPrecisionRisk(approximation, variance * estimation, total, error, condition)


# --- the pieces --------------------------------------------------------------------------------

Pair = tuple[Any, Any]
Pointwise = Callable[[Any], Pair]
"""x -> |f̂(x) - f*(x)|² without noise, |(K + λI)^{-1} k(x)|²."""


def _context(dps: int) -> Any:
    # A context of our own: the precision of mpmath.mp belongs to the caller.
    ctx = MPContext()
    ctx.dps = integer("dps", dps, 1) + GUARD
    return ctx


def _exact(ctx: Any, name: str, value: object) -> Any:
    if isinstance(value, str):
        value = Fraction(value)
    if isinstance(value, Rational) and not isinstance(value, bool):
        return ctx.mpf(int(value.numerator)) / int(value.denominator)
    if isinstance(value, bool) or not isinstance(value, Real | ctx.mpf):
        raise TypeError(f"{name} = {value!r} must be an integer, float, Fraction or string")
    number = ctx.mpf(value)
    if not ctx.isfinite(number):
        raise ValueError(f"{name} = {value!r} must be finite")
    return number


def _design(ctx: Any, design: int | Sequence[Exact]) -> list[Any]:
    if isinstance(design, int):
        n = integer("design", design, 2)
        x = [ctx.mpf(j) / n for j in range(n)]
    else:
        x = [_exact(ctx, "design", value) for value in design]
    if not 2 <= len(x) <= MOST_POINTS:
        raise ValueError(f"design has {len(x)} points, must have 2 to {MOST_POINTS}")
    return x


def _target(ctx: Any, target: Mapping[Frequency, complex]) -> Callable[[Any], Any]:
    if not isinstance(target, Mapping):
        raise TypeError(f"target = {target!r} must be a mapping from frequencies")
    terms = [(k, ctx.mpc(c)) for (k,), c in frequencies(target, 1).items()]
    return lambda x: ctx.fsum(c * ctx.expjpi(2 * k * x) for k, c in terms)


def _invert(
    ctx: Any, kernel: Callable[[Any], Any], x: list[Any], ridge: Any, dps: int, digits: int
) -> Pair:
    n = len(x)
    K = ctx.matrix(n, n)
    for i in range(n):
        for j in range(i + 1):
            K[i, j] = K[j, i] = kernel(x[i] - x[j]) + (ridge if i == j else 0)
    try:
        inverse = K**-1
    except ZeroDivisionError as error:
        raise SingularSystemError(_message(n, "infinite", dps)) from error
    condition = ctx.mnorm(K, 1) * ctx.mnorm(inverse, 1)
    if condition > ctx.mpf(10) ** (dps - digits):
        raise SingularSystemError(_message(n, ctx.nstr(condition, 3), dps))
    return inverse, condition


def _message(size: int, condition: str, dps: int) -> str:
    return (
        f"K + ridge I of size {size} has condition number {condition}, too much for dps = {dps}: "
        "raise dps, add a ridge, choose a smaller bandwidth, or remove repeated points"
    )


def _pointwise(
    ctx: Any,
    kernel: Callable[[Any], Any],
    x: list[Any],
    inverse: Any,
    function: Callable[[Any], Any],
) -> Pointwise:
    n = len(x)
    rows = [[inverse[i, j] for j in range(n)] for i in range(n)]
    values = [function(point) for point in x]
    coefficients = [ctx.fdot(row, values) for row in rows]

    def errors(t: Any) -> Pair:
        k = [kernel(t - point) for point in x]
        bias = ctx.fdot(k, coefficients) - function(t)
        weights = [ctx.fdot(row, k) for row in rows]
        return abs(bias) ** 2, ctx.fdot(weights, weights)

    return errors


def _trapezoidal(ctx: Any, errors: Pointwise, x: list[Any], tolerance: Any) -> tuple[Pair, Pair]:
    """Means over equidistant nodes, doubled until both stand."""
    nodes = 2 * len(x)
    mean = _mean(ctx, errors, nodes, ctx.zero)
    for _ in range(10):
        between = _mean(ctx, errors, nodes, ctx.mpf(1) / 2)
        change = tuple(abs(a - b) / 2 for a, b in zip(mean, between, strict=True))
        mean = tuple((a + b) / 2 for a, b in zip(mean, between, strict=True))
        nodes *= 2
        if all(c <= tolerance * m for c, m in zip(change, mean, strict=True)):
            return (mean[0], mean[1]), (change[0], change[1])
    raise ArithmeticError(f"the trapezoidal rule did not converge with {nodes} nodes")


def _mean(ctx: Any, errors: Pointwise, nodes: int, shift: Any) -> Pair:
    values = [errors((j + shift) / nodes) for j in range(nodes)]
    return ctx.fsum(v[0] for v in values) / nodes, ctx.fsum(v[1] for v in values) / nodes


def _between_points(ctx: Any, errors: Pointwise, x: list[Any], tolerance: Any) -> tuple[Pair, Pair]:
    """Gauss–Legendre on every gap, with 6, 12, 24, ... nodes until both integrals stand."""
    left = sorted(point - ctx.floor(point) for point in x)
    gaps = list(zip(left, [*left[1:], left[0] + 1], strict=True))
    rule = ctx._gauss_legendre
    before = _composite(ctx, errors, gaps, rule.calc_nodes(2, ctx.prec))
    for degree in range(3, 8):
        integral = _composite(ctx, errors, gaps, rule.calc_nodes(degree, ctx.prec))
        change = abs(integral[0] - before[0]), abs(integral[1] - before[1])
        if all(c <= tolerance * m for c, m in zip(change, integral, strict=True)):
            return integral, change
        before = integral
    raise ArithmeticError("Gauss–Legendre between the design points did not converge")


def _composite(ctx: Any, errors: Pointwise, gaps: list[Pair], rule: list[Pair]) -> Pair:
    first, second = [], []
    for a, b in gaps:
        for node, weight in rule:  # on [-1, 1]
            pair = errors((a + b) / 2 + (b - a) / 2 * node)
            first.append(weight * (b - a) / 2 * pair[0])
            second.append(weight * (b - a) / 2 * pair[1])
    return ctx.fsum(first), ctx.fsum(second)


# --- kernels -----------------------------------------------------------------------------------


def _kernel(ctx: Any, profile: ProfileLike, h: Any) -> Callable[[Any], Any]:
    """The map x -> φ_h(x), remembering the values that it has computed."""
    positive("bandwidth", float(h))
    used = as_profile(profile, 1)
    if used.radial is not None:
        raise ValueError(f"profile {used.name!r} is your own, must be one of the named ones")
    sums = {"gaussian": _gaussian, "laplace": _laplace, "cauchy": _cauchy}
    if used.nu is None:
        images = sums[used.name](ctx, h)
    elif (used.nu - 0.5).is_integer() and used.nu < 20:
        images = _half_integer_matern(ctx, h, round(used.nu - 0.5))
    else:
        images = _matern(ctx, h, ctx.mpf(used.nu))
    known: dict[Any, Any] = {}

    def evaluate(x: Any) -> Any:
        t = abs(x - ctx.nint(x))
        if t not in known:
            known[t] = images(t)
        return known[t]

    return evaluate


def _gaussian(ctx: Any, h: Any) -> Callable[[Any], Any]:
    # Beyond |m| <= M the images are below e^{-(M+1/2)²/(2h²)} = 10^{-dps} and fall off at once.
    M = int(ctx.ceil(h * ctx.sqrt(2 * (ctx.dps + 3) * ctx.log(10)))) + 1
    return lambda x: ctx.fsum(ctx.exp(-(((x + m) / h) ** 2) / 2) for m in range(-M, M + 1))


def _laplace(ctx: Any, h: Any) -> Callable[[Any], Any]:
    # Images to the right of 0 <= x <= 1/2 and to its left are geometric series with ratio e^{-1/h}.
    q = ctx.exp(-1 / h)
    return lambda x: (ctx.exp(-x / h) + q * ctx.exp(x / h)) / (1 - q)


def _matern(ctx: Any, h: Any, order: Any) -> Callable[[Any], Any]:
    scale, constant = ctx.sqrt(2 * order) / h, 2 ** (1 - order) / ctx.gamma(order)
    # z^ν K_ν(z) <= polynomial times e^{-z}: twice the logarithm of the polynomial is to spare.
    reach = (ctx.dps + 3) * ctx.log(10)
    M = int(ctx.ceil((reach + 2 * order * ctx.log(reach + order)) / scale)) + 1

    def one(z: Any) -> Any:
        return constant * z**order * ctx.besselk(order, z) if z else ctx.one

    return lambda x: ctx.fsum(one(abs(x + m) * scale) for m in range(-M, M + 1))


def _half_integer_matern(ctx: Any, h: Any, p: int) -> Callable[[Any], Any]:
    """ν = p + ½: φ = e^{−z} Σ_j a_j z^j, so that the images on one side are Σ m^i q^m, all > 0."""
    scale = ctx.sqrt(2 * p + 1) / h
    q = ctx.exp(-scale)
    sums = [1 / (1 - q)]  # Σ_{m≥0} m^i q^m, from Σ m^i q^m = q Σ (m+1)^i q^m for i ≥ 1
    for i in range(1, p + 1):
        sums.append(q / (1 - q) * ctx.fsum(ctx.binomial(i, k) * sums[k] for k in range(i)))
    a = [
        ctx.mpf(2) ** j * ctx.binomial(p, j) * ctx.factorial(2 * p - j) / ctx.factorial(2 * p)
        for j in range(p + 1)
    ]

    def one_side(x: Any) -> Any:
        powers = (
            a[j] * scale**j * ctx.binomial(j, i) * x ** (j - i) * sums[i]
            for j in range(p + 1)
            for i in range(j + 1)
        )
        return ctx.exp(-scale * x) * ctx.fsum(powers)

    return lambda x: one_side(x) + one_side(1 - x)


def _cauchy(ctx: Any, h: Any) -> Callable[[Any], Any]:
    """Σ_m h²/(h² + (x+m)²): |m| <= M directly, the rest by Euler–Maclaurin.

    f(t) = h²/(h² + t²) = h Im 1/(t - ih) has f^{(i)}(t)/i! = (-1)^i h Im (t - ih)^{-i-1}, so that
    with p Bernoulli terms the remainder is at most |B_{2p}| h t^{-2p}/(2p).
    """
    M = ctx.dps // 2 + 2
    p = _bernoulli_terms(ctx, M)
    bernoulli = [ctx.bernoulli(2 * j) / (2 * j) for j in range(1, p + 1)]

    def tail(t: Any) -> Any:
        z = 1 / ctx.mpc(t, -h)
        power, square, total = z * z, z * z, ctx.zero
        for b in bernoulli:  # f^{(2j-1)}/(2j-1)! = -h Im z^{2j}
            total += b * power.imag
            power *= square
        return h * (ctx.atan2(h, t) + z.imag / 2 + total)

    def images(x: Any) -> Any:
        direct = ctx.fsum(h * h / (h * h + (x + m) ** 2) for m in range(-M, M + 1))
        return direct + tail(M + 1 + x) + tail(M + 1 - x)

    return images


def _bernoulli_terms(ctx: Any, M: int) -> int:
    start, goal = M + ctx.mpf(1) / 2, ctx.mpf(10) ** -ctx.dps
    for p in range(1, 4 * M):
        if abs(ctx.bernoulli(2 * p)) * start ** (-2 * p) / (2 * p) <= goal:
            return p
    raise ArithmeticError(f"no Euler–Maclaurin formula from {M} reaches {ctx.dps} digits")
