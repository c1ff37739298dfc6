"""Kernels and alias sums against definitions: mpmath integrals, lattice sums by other formulas."""

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gamma, hyp2f1, kv

from theory.ridgeless import (
    Cauchy,
    Gaussian,
    Kernel,
    Laplace,
    Matern,
    Product,
    SpectralKernel,
    limit_risk,
    risk,
)
from theory.ridgeless.alias import alias_excess

RADIAL = [
    *[family(d) for d in (1, 2, 3) for family in (Gaussian, Laplace, Cauchy)],
    *[Matern(nu, d) for d in (1, 2, 3) for nu in (0.8, 1, 1.5, 2.5)],
]
EVERY = [*RADIAL, Product(Cauchy(), 2), Product(Matern(1.5), 3)]
SYMBOLS = sympy.symbols("x_1:4", real=True)
every_kernel = pytest.mark.parametrize("kernel", EVERY, ids=repr)


def fixed(examples):
    return settings(max_examples=examples, deadline=None, derandomize=True)


def density(profile, d, xi):
    """The radial Fourier transform ∫ φ(|x|) e^{−2πi x·ξ} dx for |ξ| = xi > 0, by its definition."""
    ctx = mpmath.MPContext()
    waves = {
        1: lambda r: 2 * ctx.cos(2 * ctx.pi * r * xi),
        2: lambda r: 2 * ctx.pi * r * ctx.besselj(0, 2 * ctx.pi * r * xi),
        3: lambda r: 2 * r / xi * ctx.sin(2 * ctx.pi * r * xi),
    }
    edges = [0, *(ctx.mpf(2) ** j for j in range(-9, 3)), 6, 9, 13, 20, 30, 45, 60]
    return ctx.quad(lambda r: profile(ctx, r) * waves[d](r), edges)


# ── the formulas and their numbers ───────────────────────────────────────────────────────────────


@every_kernel
def test_numbers_are_the_symbolic_formulas(kernel):
    d = kernel.dimension
    points = np.array([[0.25, -1.125, 0.75], [2.0, 0.5, -3.0], [0.0, 0.0078125, 0.0], [0, 0, 0]])
    where = points[:, 0] if d == 1 else points[:, :d]
    for function in (kernel.kernel, kernel.spectral_density):
        exact = [
            function(sympy.Rational(row[0]) if d == 1 else tuple(map(sympy.Rational, row[:d])))
            for row in points
        ]
        assert not function(SYMBOLS[0] if d == 1 else SYMBOLS[:d]).atoms(sympy.Float)
        assert function(where) == pytest.approx([float(e.evalf(30)) for e in exact], rel=2e-14)


@every_kernel
def test_value_at_zero_is_one_and_density_is_summable(kernel):
    origin = np.zeros(kernel.dimension) if kernel.dimension > 1 else 0.0
    assert kernel.kernel(origin) == 1.0
    assert kernel.spectral_density(origin) > 0
    # φ̂(0) = ∫φ and φ ≤ 1 falls, so φ̂ is largest at 0.
    away = origin + 0.25
    assert 0 < kernel.spectral_density(away) < kernel.spectral_density(origin)


@every_kernel
def test_log_density(kernel):
    d = kernel.dimension
    near = np.array([[0.0, 0.0, 0.0], [0.2, -0.5, 0.1], [1.0, 0.3, -0.4]])[:, :d]
    values = kernel.spectral_density(near[:, 0] if d == 1 else near)
    assert kernel.log_density(near) == pytest.approx(np.log(values), rel=1e-13, abs=1e-13)
    far = kernel.log_density(np.full((1, d), 1e6))
    assert np.isfinite(far).all()
    assert far < np.log(values[-1])


def test_log_density_where_the_density_underflows():
    """φ̂(100) of the Gaussian is e^{−197391}."""
    assert Gaussian().spectral_density(100.0) == 0.0
    expected = 0.5 * math.log(2 * math.pi) - 2 * math.pi**2 * 1e4
    assert Gaussian().log_density(np.array([[100.0]])) == pytest.approx([expected], rel=1e-15)
    expected = 2 * math.log(math.pi) - 2 * math.pi * 700
    product = Product(Cauchy(), 2).log_density(np.array([[300.0, -400.0]]))
    assert product == pytest.approx([expected], rel=1e-15)


# ── Fourier pairs ────────────────────────────────────────────────────────────────────────────────


def profile_of(kernel):
    """φ as mpmath computes it from its definition, written here anew."""
    d = kernel.dimension
    if isinstance(kernel, Gaussian):
        return lambda ctx, r: ctx.exp(-r * r / 2)
    if isinstance(kernel, Laplace):
        return lambda ctx, r: ctx.exp(-r)
    if isinstance(kernel, Cauchy):
        return lambda ctx, r: (1 + r * r) ** (-ctx.mpf(d + 1) / 2)

    def matern(ctx, r):
        nu = ctx.mpf(kernel.nu)
        z = ctx.sqrt(2 * nu) * r
        return 2 ** (1 - nu) / ctx.gamma(nu) * z**nu * ctx.besselk(nu, z)

    return matern


PAIRS = [k for k in RADIAL if not isinstance(k, Cauchy)]


@pytest.mark.parametrize("kernel", PAIRS, ids=repr)
def test_density_is_the_fourier_integral(kernel):
    d = kernel.dimension
    costly = isinstance(kernel, Matern) and float(kernel.nu) not in (0.5, 1.5, 2.5)
    profile = kernel_numbers(kernel) if costly else profile_of(kernel)
    for xi in (0.2, 0.45):
        expected = float(density(profile, d, xi))
        point = xi if d == 1 else xi * np.eye(d)[0]
        assert kernel.spectral_density(point) == pytest.approx(expected, rel=1e-9)


def kernel_numbers(kernel):
    """φ by scipy's Bessel function instead of mpmath's, which takes a millisecond a value."""
    nu = float(kernel.nu)

    def profile(ctx, r):
        z = math.sqrt(2 * nu) * float(r)
        return ctx.mpf(2 ** (1 - nu) / gamma(nu) * z**nu * kv(nu, z))

    return profile


@pytest.mark.parametrize("d", [1, 2, 3])
def test_cauchy_is_the_inverse_fourier_integral(d):
    mass = math.pi ** ((d + 1) / 2) / math.gamma((d + 1) / 2)
    for x in (0.3, 1.7):
        value = float(density(lambda ctx, r: mass * ctx.exp(-2 * ctx.pi * r), d, x))
        point = x if d == 1 else x * np.eye(d)[0]
        assert Cauchy(d).kernel(point) == pytest.approx(value, rel=1e-12)
        assert value == pytest.approx((1 + x * x) ** (-(d + 1) / 2), rel=1e-12)


@pytest.mark.parametrize("nu", [0.3, 0.5, 1, 1.5, 2.5, 3.7, 4.5, 7.5, 12])
def test_matern_by_scipy(nu):
    r = np.array([1e-4, 0.05, 0.4, 1.0, 2.5, 9.0])
    z = math.sqrt(2 * nu) * r
    assert Matern(nu).kernel(r) == pytest.approx(
        2 ** (1 - nu) / gamma(nu) * z**nu * kv(nu, z), rel=1e-12
    )


@pytest.mark.parametrize("nu", [0.3, 3, 30, 80])
def test_matern_near_zero_where_bessel_overflows(nu):
    ctx = mpmath.MPContext()
    ctx.dps = 40
    for r in (1e-300, 1e-12, 1e-5, 1e-3, 1e-2):
        z = ctx.sqrt(2 * ctx.mpf(nu)) * r
        scale = 2 ** (1 - ctx.mpf(nu)) / ctx.gamma(nu)
        expected = float(scale * z**nu * ctx.besselk(nu, z))
        assert Matern(nu).kernel(r) == pytest.approx(expected, rel=1e-12)


def test_matern_takes_its_smoothness_exactly():
    assert Matern(Fraction(1, 3)).smoothness == sympy.Rational(1, 3)
    assert Matern(0.1).smoothness == sympy.Rational(Fraction(0.1)) != sympy.Rational(1, 10)


def test_matern_of_half_integer_order_is_elementary():
    r = sympy.Symbol("r", positive=True)
    assert Laplace().kernel(r) == sympy.exp(-r)
    z = sympy.sqrt(3) * r
    assert sympy.expand(Matern(1.5).kernel(r) - (1 + z) * sympy.exp(-z)) == 0
    z = sympy.sqrt(5) * r
    assert sympy.expand(Matern(2.5).kernel(r) - (1 + z + z**2 / 3) * sympy.exp(-z)) == 0


@pytest.mark.parametrize("x", [math.nan, math.inf])
def test_points_that_are_not_finite(x):
    for kernel in (Laplace(), Matern(0.8), Product(Cauchy(), 1)):
        for function in (kernel.kernel, kernel.spectral_density):
            with pytest.raises(ValueError, match=rf"= {x} must be finite"):
                function(x)


# ── kernels given by a density ───────────────────────────────────────────────────────────────────


def laplace_density(xi):
    return 2 / (1 + 4 * np.pi**2 * xi**2)


def test_spectral_kernel_is_the_kernel():
    own = SpectralKernel(laplace_density)
    x = np.array([0.0, 0.1, 1.0, 4.0])
    assert own.kernel(x) == pytest.approx(np.exp(-x), rel=1e-7, abs=1e-8)
    assert own.spectral_density(x) == pytest.approx(Laplace().spectral_density(x), rel=1e-15)
    assert own.log_density(x[:, np.newaxis]) == pytest.approx(np.log(laplace_density(x)), rel=1e-15)


def test_spectral_kernel_in_the_plane():
    own = SpectralKernel(Gaussian(2).spectral_density, 2)
    x = np.array([[0.0, 0.0], [0.3, -1.0], [2.0, 0.5]])
    assert own.kernel(x) == pytest.approx(Gaussian(2).kernel(x), rel=1e-8)


@pytest.mark.parametrize("kernel", [Laplace(), Gaussian(), Matern(2.5), Gaussian(2), Cauchy(2)])
@pytest.mark.parametrize("c", [0.05, 0.7, 1.5])
def test_spectral_alias_sums_are_within_their_own_error(kernel, c):
    own = SpectralKernel(kernel.spectral_density, kernel.dimension)
    axes = [np.array([0.0, 0.1, 0.35])] * kernel.dimension
    found, truth = (alias_excess(k, c, axes) for k in (own, kernel))
    assert found.truncation < 1e-9
    for part in ("first", "second"):
        left, right = 1 + getattr(found, part), 1 + getattr(truth, part)
        assert np.max(np.abs(left / right - 1)) <= 1e-12 + found.truncation


# ── alias sums ───────────────────────────────────────────────────────────────────────────────────


def line_sum(s, a2, theta, own):
    """Σ_m (a2 + (θ+m)²)^{−s} for arrays a2: 2000 terms a side, the rest by Euler–Maclaurin.

    Without the term m = 0 where `own` is false.
    """
    a2 = np.asarray(a2, dtype=float)[..., np.newaxis]
    m = np.arange(-2000, 2001.0)
    terms = (a2 + (theta + m) ** 2) ** -s
    total = np.sum(terms if own else terms * (m != 0), axis=-1)
    for y in (2000.5 + theta, 2000.5 - theta):  # midpoint rule: ∫_y^∞ f + f'(y)/24
        b = a2[..., 0]
        slope = -2 * s * y * (b + y * y) ** (-s - 1)
        integral = y ** (1 - 2 * s) / (2 * s - 1) * hyp2f1(s, s - 0.5, s + 0.5, -b / y**2)
        total = total + integral + slope / 24
    return total


def power_sum(s, a2, theta, own=True):
    """Σ_{m∈Z^d} (a2 + |θ+m|²)^{−s}: nearby hyperplanes in full, far ones by their integrals.

    By Poisson's formula a hyperplane's sum is its integral up to e^{−2πA}, A ≥ 8 its distance.
    """
    if len(theta) == 1:
        return line_sum(s, a2, theta[0], own)
    head, *rest = theta
    total = sum(power_sum(s, a2 + (head + m) ** 2, rest, own or m != 0) for m in range(-8, 9))
    flat = len(rest) / 2
    constant = math.pi**flat * gamma(s - flat) / gamma(s)
    near = (np.asarray(a2)[..., np.newaxis] + (head + np.arange(-8, 9.0)) ** 2) ** (flat - s)
    return total + constant * (line_sum(s - flat, a2, head, own=True) - near.sum(axis=-1))


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("nu", [0.3, 0.5, 1.0, 2.5, 6.0])
@pytest.mark.parametrize("c", [0.05, 0.4, 3.0, 1e3])
def test_power_sums_in_every_dimension(d, nu, c):
    """Also where φ̂ decays like |ξ|^{−d−0.6} and no truncation would do."""
    theta = [0.27, 0.5, 0.04][:d]
    s, a2 = nu + d / 2, nu / (2 * (math.pi * c) ** 2)
    base = a2 + sum(x * x for x in theta)
    excess = alias_excess(Matern(nu, d), c, [np.array([x]) for x in theta])
    for part, power in ((excess.first, s), (excess.second, 2 * s)):
        expected = base**power * power_sum(power, a2, theta, own=False)
        assert part.item() == pytest.approx(float(expected), rel=1e-12)


@fixed(60)
@given(
    kernel=st.sampled_from([Laplace(), Matern(0.7), Matern(1.5), Matern(9.5)]),
    exponent=st.floats(-3, 3),
    theta=st.floats(0, 0.5),
)
def test_power_sums_over_six_decades(kernel, exponent, theta):
    c, s = 10.0**exponent, float(kernel.decay)
    a2 = float(kernel.nu) / (2 * (math.pi * c) ** 2)
    excess = alias_excess(kernel, c, [np.array([theta])])
    for part, power in ((excess.first, s), (excess.second, 2 * s)):
        scaled = 1 / (a2 + theta**2)  # in these units m = 0 is 1: nothing overflows
        expected = scaled_line_sum(power, a2, theta, scaled)
        assert part.item() == pytest.approx(expected, rel=3e-12)


def scaled_line_sum(s, a2, theta, scaled):
    m = np.concatenate([np.arange(-20000, 0.0), np.arange(1, 20001.0)])
    total = math.fsum((scaled * (a2 + (theta + m) ** 2)) ** -s)
    for y in (20000.5 + theta, 20000.5 - theta):
        integral = y / (2 * s - 1) * hyp2f1(s, s - 0.5, s + 0.5, -a2 / y**2)
        total += (scaled * y * y) ** -s * integral
        total -= 2 * s * y / (a2 + y * y) * (scaled * (a2 + y * y)) ** -s / 24
    return total


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("c", [0.003, 0.03, 0.2])
def test_narrow_cauchy_by_poisson_summation(d, c):
    """Σ_m φ̂(cm) = c^{−d} Σ_k φ(k/c), and φ(k/c) is a power of c² + |k|²."""
    mass = math.pi ** ((d + 1) / 2) / math.gamma((d + 1) / 2)
    excess = alias_excess(Cauchy(d), c, [np.zeros(1)] * d)
    # φ̂(cξ)² is φ̂(2cξ) up to a factor: the second sum is the first for twice the bandwidth.
    for part, width in ((excess.first, c), (excess.second, 2 * c)):
        images = width ** (d + 1) * power_sum((d + 1) / 2, width**2, [0.0] * d)
        expected = width**-d * images / mass
        assert 1 + part.item() == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("kernel", [Laplace(), Gaussian(), Cauchy(), Laplace(2), Cauchy(2)])
def test_alias_sums_have_the_symmetry_of_the_lattice(kernel):
    """S(θ) = φ̂(cθ) S̃(θ) has period 1 and is even: its slope across θ = ½ vanishes."""
    d, c, step = kernel.dimension, 0.7, 1e-3
    line = 0.5 - step * np.arange(4)
    axes = [line] + [np.array([0.2])] * (d - 1)
    theta = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    total = np.exp(kernel.log_density(c * theta)) * (1 + alias_excess(kernel, c, axes).first)
    f = total.ravel() / total.ravel()[0]
    slope = (11 * f[0] - 18 * f[1] + 9 * f[2] - 2 * f[3]) / (6 * step)
    assert abs(slope) < 1e-6
    assert abs(f[3] - 1) > 1e-7  # S is not constant


@pytest.mark.parametrize("kernel", [Gaussian(2), Cauchy(3), Matern(6.5), Matern(9.5, 2)])
def test_conservation(kernel):
    """Σ_k r_k = N: in every class of aliases the r_k, summed one by one, are 1."""
    d, c = kernel.dimension, 1.2
    reach = 200 if d == 1 else 8  # decay: e^{−60}, 200^{−13}, 8^{−19}, all below 1e−15
    m = np.array(list(itertools.product(range(-reach, reach + 1), repeat=d)))
    for label in ((0, 0, 0), (1, 2, 0), (4, 4, 3)):
        theta = np.array(label[:d]) / 8
        excess = alias_excess(kernel, c, [np.array([x]) for x in theta])
        ratio = np.exp(kernel.log_density(c * (theta + m)) - kernel.log_density(c * theta))
        assert math.fsum(ratio) / (1 + excess.first.item()) == pytest.approx(1.0, rel=1e-13)


# ── out of range ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kernel", [Laplace(), Gaussian(2), Cauchy(3), Matern(30), Matern(1.5, 2)])
def test_from_the_narrowest_to_the_widest_bandwidth(kernel):
    target = {(1,) * kernel.dimension: 1.0}
    for ridge in (0.0, 1e-3):
        narrow = risk(kernel, 4, 1e-30, target, 1.0, ridge)
        assert narrow.approximation == pytest.approx(1.0, rel=1e-12)
        assert narrow.estimation < 1e-29
        wide = risk(kernel, 4, 1e29, target, 1.0, ridge)
        assert 0 <= wide.approximation < 2
        assert 0 < wide.estimation <= 1


@pytest.mark.parametrize("h", [1e-300, 1e-40, 1e40, 1e300])
@pytest.mark.parametrize("kernel", [Laplace(), Gaussian(2), Cauchy(), Matern(1.5, 3)])
def test_bandwidths_out_of_the_range_of_doubles(kernel, h):
    with pytest.raises(ValueError, match=r"bandwidth × n = .* must be between 1e-30 and 1e\+30"):
        risk(kernel, 4, h, {}, 1.0)


def test_matern_too_smooth_for_doubles():
    with pytest.raises(ValueError, match=r"nu = 300 must be at most 200"):
        risk(Matern(300), 4, 0.1, {}, 1.0)


def test_a_frequency_named_twice_and_booleans():
    with pytest.raises(ValueError, match=r"target = .* names a frequency twice"):
        risk(Laplace(), 4, 0.1, {1: 1.0, (1,): 2.0}, 1.0)
    with pytest.raises(TypeError, match="frequency True must be an int"):
        risk(Laplace(), 4, 0.1, {True: 1.0}, 1.0)
    with pytest.raises(TypeError, match="coefficient True of frequency 1 must be a number"):
        risk(Laplace(), 4, 0.1, {1: True}, 1.0)


def test_an_unknown_kernel_class():
    class Own(Kernel):
        dimension = 1

        def kernel(self, x):
            return x

        def spectral_density(self, xi):
            return xi

        def log_density(self, xi):
            return xi[..., 0]

    for function in (lambda k: risk(k, 4, 0.1, {}, 1.0), lambda k: limit_risk(k, 1.0)):
        with pytest.raises(TypeError, match=r"kernel = .* is unknown; use a kernel of"):
            function(Own())
