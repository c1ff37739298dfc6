"""Certified V(c), B(c): against closed forms, brute force and floats, and what must fail."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from flint import arb, arb_series, ctx

from theory.ridgeless import (
    Cauchy,
    Gaussian,
    Kernel,
    Laplace,
    Matern,
    Product,
    lattice_cells,
    lattice_risk,
    lattice_spectra,
    limit_risk,
)
from theory.ridgeless.lattice_risk import (
    approximation_enclosure,
    approximation_jet,
    estimation_enclosure,
    estimation_panel,
)
from theory.ridgeless.lattice_spectra import number, spectrum
from theory.ridgeless.lattice_sums import AliasSums, sums_at
from theory.ridgeless.spline_quadrature import spline_enclosure

# Closed forms in d = 1, as functions of balls or power series in c.


def laplace_line(c: arb) -> tuple[arb, arb]:
    s = 1 / c
    tau = (s / 2).tanh() / (s / 2)
    return s.coth() / s - s.csch() ** 2, 1 - 3 * tau / 2 + (s / 2).sech() ** 2 / 2


def cauchy_line(c: arb) -> tuple[arb, arb]:
    t = (arb.pi() * c).tanh()
    return t * (1 - t / (2 * arb.pi() * c)), (1 - t) ** 2 * (1 + t / 2)


LINES = [(Laplace(), laplace_line), (Cauchy(), cauchy_line)]
SPECTRA: list[Kernel] = [Laplace(2), Matern(2.5, 3), Cauchy(1), Cauchy(3)]


@pytest.mark.parametrize(("kernel", "form"), LINES)
@pytest.mark.parametrize("c", [Fraction(1, 20), Fraction(1, 3), Fraction(3, 2), 7])
def test_line_against_closed_forms(kernel: Kernel, form: object, c: Fraction | int) -> None:
    digits = 12
    V, B = estimation_enclosure(kernel, c, digits), approximation_enclosure(kernel, c, digits)
    with ctx.workprec(300):
        exact_V, exact_B = form(arb(Fraction(c).numerator) / Fraction(c).denominator)
        for ball, exact in ((V, exact_V), (B, exact_B)):
            assert ball.contains(exact)
            assert float(ball.rad()) < 10.0**-digits * float(exact)


@pytest.mark.parametrize(
    ("kernel", "c", "digits", "close"),
    [
        (Laplace(2), Fraction(1, 10), 7, 1e-11),
        (Laplace(2), 1, 7, 1e-9),
        (Laplace(2), 30, 6, 1e-9),
        (Cauchy(2), Fraction(1, 10), 6, 1e-9),
        (Cauchy(2), Fraction(3, 2), 7, 1e-9),
        (Matern(2.5, 2), 1, 6, 1e-9),
        (Matern(Fraction(1, 4), 2), 2, 5, 1e-7),
        (Matern(1.5), Fraction(1, 2), 8, 1e-10),
        (Laplace(3), 1, 4, 1e-7),
        (Cauchy(3), Fraction(1, 2), 4, 1e-7),
    ],
)
def test_against_float_quadrature(kernel: Kernel, c: Fraction, digits: int, close: float) -> None:
    V, B = estimation_enclosure(kernel, c, digits), approximation_enclosure(kernel, c, 10)
    risk = limit_risk(kernel, float(c))
    assert float(V.rad()) < 2 * 10.0**-digits * risk.estimation
    assert V.overlaps(arb(risk.estimation, close * risk.estimation))
    assert float(B.rad()) < 1e-10 * float(B.mid())
    assert abs(float(B.mid()) / risk.approximation - 1) < 1e-9


@pytest.mark.parametrize(("kernel", "alpha"), [(Laplace(2), 3), (Laplace(3), 4), (Matern(1.5), 4)])
def test_below_the_spline_constant(kernel: Kernel, alpha: int) -> None:
    limit = spline_enclosure(alpha, kernel.dimension, 4)
    near, nearer = estimation_enclosure(kernel, 5, 4), estimation_enclosure(kernel, 60, 4)
    assert near < nearer
    assert near < limit
    assert abs(float(nearer.mid()) - float(limit.mid())) < 2e-3


def test_cauchy_far_tail() -> None:
    """B = E₁² + E₂ = 2d(2d+1) e^{−4πc} up to a relative e^{−2πc·0.4}."""
    for d in (1, 2, 3):
        ball = approximation_enclosure(Cauchy(d), 20, 10)
        expected = 2 * d * (2 * d + 1) * math.exp(-80 * math.pi)
        assert abs(float(ball.mid()) / expected - 1) < 1e-10


# The sums, by brute force


def term(kernel: Kernel, c: complex, q: np.ndarray) -> np.ndarray:
    """φ̂ up to a factor, at squared frequencies q (complex ones too)."""
    if isinstance(kernel, Cauchy):
        return np.exp(-2 * np.pi * c * np.sqrt(q))
    nu = float(kernel.smoothness)
    return (nu / (2 * np.pi**2 * c * c) + q) ** -(nu + kernel.dimension / 2)


def lattice(d: int, reach: int) -> np.ndarray:
    return np.array(list(itertools.product(range(-reach, reach + 1), repeat=d)))


@pytest.mark.parametrize("kernel", [Cauchy(1), Cauchy(2), Cauchy(3), Matern(7, 1), Matern(7, 2)])
def test_alias_sums_against_brute_force(kernel: Kernel) -> None:
    c, d = Fraction(7, 10), kernel.dimension
    theta = np.array([0.3125, 0.125, 0.4375][:d])
    m = lattice(d, {1: 40, 2: 20, 3: 11}[d])
    values = term(kernel, float(c), ((theta + m) ** 2).sum(axis=1))
    own = term(kernel, float(c), (theta**2).sum())
    others = values[(m != 0).any(axis=1)] / own
    with ctx.workprec(300):
        source = spectrum(kernel, arb(7) / 10)
        sums = AliasSums.build(source, 12, arb(d).sqrt() / 2)
        found = sums_at(sums, [arb(x) for x in theta])
    for ball, power in zip(found, (1, 2), strict=True):
        direct = float((others**power).sum())
        assert float(ball.rad()) < 1e-11 * max(direct, 1)
        assert abs(float(ball.mid()) - direct) < 1e-11 * max(direct, 1)


def integrand(kernel: Kernel, c: complex, theta: np.ndarray) -> float:
    """|Q/S²| at one complex θ or c."""
    m = lattice(kernel.dimension, {1: 400, 2: 40, 3: 12}[kernel.dimension])
    values = term(kernel, c, ((theta + m) ** 2).sum(axis=1))
    return float(abs((values**2).sum() / values.sum() ** 2))


@pytest.mark.parametrize("kernel", SPECTRA)
@pytest.mark.parametrize("c", [0.3, 1.25])
def test_ellipse_bounds_hold(kernel: Kernel, c: float) -> None:
    """The bound used for the Gauss rules, at random points of random ellipses."""
    rng = np.random.default_rng(5)
    source, d, tried = spectrum(kernel, arb(c)), kernel.dimension, 0
    for _ in range(60):
        shell, kind, rho = int(rng.integers(-1, 3)), int(rng.integers(2)), 1.1 + 2 * rng.random()
        others = int(rng.integers(d))
        bound = lattice_cells._ellipse_bound(source, shell, others, kind, arb(rho))
        if bound is None:
            continue
        tried += 1
        s, angle = 2.0 ** -(shell + 2), 2 * np.pi * rng.random()
        point = rho * np.exp(1j * angle)
        z = s * (kind + 0.5 + (point + 1 / point) / 4)
        rest = [s * (1 + rng.random())] * others + [s * rng.random()] * (d - 1 - others)
        assert integrand(kernel, c, np.array([z, *rest])) <= float(bound.upper()) * (1 + 1e-9)
    assert tried > 10


@pytest.mark.parametrize("kernel", [Matern(2.5, 2), Cauchy(1), Cauchy(2)])
def test_bounds_for_complex_bandwidth_hold(kernel: Kernel) -> None:
    """The bound used for the polynomial in log c."""
    rng = np.random.default_rng(6)
    middle, half = math.log(0.7), 0.3
    found = list(lattice_risk._bounds(kernel, arb(middle), arb(half)))
    assert found
    for height, bound in found:
        eta = number(height)
        for _ in range(20):
            angle, theta = 2 * np.pi * rng.random(), rng.random(kernel.dimension)
            x = middle + math.hypot(half, eta) * np.cos(angle) + 1j * eta * np.sin(angle)
            value = integrand(kernel, np.exp(x), theta)
            assert value <= float(bound.upper()) * (1 + 1e-6)
    assert max(number(height) for height, _ in found) > 0.2


# Panels and jets


@pytest.mark.parametrize(("kernel", "form"), LINES)
def test_panel_holds_the_closed_form(kernel: Kernel, form: object) -> None:
    panel = estimation_panel(kernel, Fraction(1, 2), 1, 6)
    assert float(panel.error) < 1e-6
    with ctx.workprec(200):
        for k in range(21):
            c = arb(20 + k) / 40
            exact = form(c)[0]
            assert abs(panel.polynomial(c.log()) - exact) <= panel.error
            assert panel(c).contains(exact)
    with pytest.raises(ValueError, match="must be in"):
        panel(arb(2))


def test_panel_in_the_plane() -> None:
    panel = estimation_panel(Laplace(2), 1, Fraction(3, 2), 4)
    c = Fraction(5, 4)
    with ctx.workprec(200):
        assert panel(arb(5) / 4).overlaps(estimation_enclosure(Laplace(2), c, 7))
    assert float(panel.error) < 1e-4


def test_a_wrong_ellipse_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lattice_risk, "_bounds", lambda *_: iter([(arb(8), arb(1))]))
    panel = estimation_panel(Laplace(), Fraction(1, 2), 1, 6)
    with ctx.workprec(200):
        errors = [
            abs(panel.polynomial(c.log()) - laplace_line(c)[0])
            for c in (arb(20 + k) / 40 for k in range(21))
        ]
        assert any(error > panel.error for error in errors)


@pytest.mark.parametrize("c", [Fraction(1, 4), 1, 3])
def test_jets_against_the_closed_form(c: Fraction | int) -> None:
    with ctx.workprec(300):
        x = (arb(Fraction(c).numerator) / Fraction(c).denominator).log()
        jet = approximation_jet(Cauchy(), x, 6)
        previous, ctx.cap = ctx.cap, 6
        try:  # tanh πc = 1 − 2/(e^{2πc} + 1), without cancellation in 1 − t
            rest = 2 / ((2 * arb.pi() * arb_series([x, 1]).exp()).exp() + 1)
            exact = list((rest * rest * (3 - rest) / 2).coeffs())
        finally:
            ctx.cap = previous
        for ball, coefficient in zip(jet, exact, strict=True):
            assert ball.overlaps(coefficient)
            assert float(ball.rad()) < 1e-9 * abs(float(exact[0]))


@pytest.mark.parametrize("kernel", [Laplace(2), Matern(1.5), Cauchy(3)])
def test_wide_jets_hold_all_narrow_ones(kernel: Kernel) -> None:
    length = 12
    for radius in (0.03, 0.3):
        wide = approximation_jet(kernel, arb(-0.4, radius), length)
        for offset in (-1, -0.5, 0, 0.7, 1):
            x = arb(-0.4) + arb(offset) * arb(radius)
            narrow = approximation_jet(kernel, x.mid(), length)
            assert all(a.contains(b) for a, b in zip(wide, narrow, strict=True))
        assert float(wide[-1].rad()) * radius**length < 0.1 * (radius / 0.3)


def test_wide_bandwidths_hold_all_narrow_ones() -> None:
    wide = arb(1, 0.01)
    V, B = estimation_enclosure(Laplace(2), wide, 4), approximation_enclosure(Laplace(2), wide)
    for c in (Fraction(99, 100), 1, Fraction(101, 100)):
        assert V.overlaps(estimation_enclosure(Laplace(2), c, 6))
        assert B.contains(approximation_enclosure(Laplace(2), c))
    assert float(B.rad()) < 0.1 * float(B.mid())


# Every bound is needed: without it the ball misses the truth


def misses(kernel: Kernel, form: object, c: Fraction, digits: int) -> bool:
    ball = estimation_enclosure(kernel, c, digits)
    with ctx.workprec(300):
        return not ball.overlaps(form(arb(c.numerator) / c.denominator)[0])


@pytest.mark.parametrize(("kernel", "form"), LINES)
def test_the_step_needs_its_error(
    kernel: Kernel, form: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lattice_spectra, "_shift_factor", lambda *_: arb(0))
    assert misses(kernel, form, Fraction(1), 12)


@pytest.mark.parametrize(("kernel", "form"), LINES)
@pytest.mark.parametrize("end", ["late", "early"])
def test_the_tails_need_their_bounds(
    kernel: Kernel, form: object, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times cut off at a wrong place: with its bound the ball is wide, without it, wrong."""
    proper = lattice_spectra.covering

    def cut(steps: int, low: float, high: float) -> lattice_spectra.Grid:
        grid = proper(steps, low, high)
        first, last = grid.first, grid.last
        if end == "late":
            return lattice_spectra.Grid(steps, first, round(1.8 * steps))
        return lattice_spectra.Grid(steps, round(-0.4 * steps), last)

    monkeypatch.setattr(lattice_spectra, "covering", cut)
    c = Fraction(1)
    honest = estimation_enclosure(kernel, c, 8)
    assert honest.overlaps(estimation_line(form, c))
    assert float(honest.rad()) > 1e-8
    errors = type(spectrum(kernel, arb(1))).errors

    def silent(*args: object) -> lattice_spectra.Errors:
        full = errors(*args)
        return lattice_spectra.Errors(arb(0), full.relative, full.weighted)

    monkeypatch.setattr(type(spectrum(kernel, arb(1))), "errors", silent)
    assert misses(kernel, form, c, 8)


def estimation_line(form: object, c: Fraction) -> arb:
    with ctx.workprec(300):
        return form(arb(c.numerator) / c.denominator)[0]


@pytest.mark.parametrize("kernel", [Cauchy(1), Laplace(2), Cauchy(3)])
def test_the_rules_need_their_errors(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not Laplace in d = 1, where the integrand is affine in cos 2πθ and every rule is exact."""
    honest = estimation_enclosure(kernel, 1, 5)
    monkeypatch.setattr(lattice_cells, "_axis_rule", lambda *_: (2, arb(0)))
    assert not honest.overlaps(estimation_enclosure(kernel, 1, 5))


@pytest.mark.parametrize(("kernel", "form"), LINES)
def test_the_corner_needs_its_range(
    kernel: Kernel, form: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no rule in the corner, and the value at 0 for its range."""

    def frozen(sums: AliasSums, side: arb) -> arb:
        first, second = sums_at(sums, [arb(0)])
        return (1 + second) / (1 + first) ** 2

    proper = lattice_cells._ruled_cell
    monkeypatch.setattr(
        lattice_cells, "_ruled_cell", lambda *args: None if args[2] == 0 else proper(*args)
    )
    assert not misses(kernel, form, Fraction(1), 6)
    monkeypatch.setattr(lattice_cells, "_corner_range", frozen)
    monkeypatch.setattr(lattice_cells, "_range_is_narrow", lambda sums, shells, share: shells >= 4)
    assert misses(kernel, form, Fraction(1), 6)


# Errors


@pytest.mark.parametrize(
    ("kernel", "c", "digits", "error", "message"),
    [
        (Gaussian(2), 1, 3, TypeError, "no tail bound"),
        (Product(Laplace(), 2), 1, 3, TypeError, "no tail bound"),
        (Laplace(4), 1, 3, ValueError, "dimension 1, 2 or 3"),
        (Matern(20), 1, 3, ValueError, "nu = 20"),
        (Laplace(), 1.0, 3, TypeError, "c = 1.0"),
        (Laplace(), True, 3, TypeError, "c = True"),
        (Laplace(), 0, 3, ValueError, "finite and positive"),
        (Laplace(), arb(1, 2), 3, ValueError, "finite and positive"),
        (Laplace(), arb("inf"), 3, ValueError, "finite and positive"),
        (Laplace(), 1, 0, ValueError, "digits = 0"),
        (Laplace(), 1, 3.0, TypeError, "digits = 3.0"),
    ],
)
def test_bad_input(
    kernel: Kernel, c: object, digits: object, error: type[Exception], message: str
) -> None:
    for function in (estimation_enclosure, approximation_enclosure):
        with pytest.raises(error, match=message):
            function(kernel, c, digits)


def test_bad_panels_and_jets() -> None:
    with pytest.raises(ValueError, match="less than hi"):
        estimation_panel(Laplace(), 2, 1, 3)
    with pytest.raises(ValueError, match="length = 0"):
        approximation_jet(Laplace(), arb(0), 0)
    with pytest.raises(TypeError, match="x = 0"):
        approximation_jet(Laplace(), 0, 3)
