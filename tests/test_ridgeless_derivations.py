"""The derivations hold, mutants of the claimed formulas fail, and the definitions agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import pytest
import sympy
from flint import acb, arb, ctx, fmpq

from theory.derivation import Derivation
from theory.ridgeless import cauchy, design, gaussian, gaussian_series, laplace, products
from theory.theta import EllipticDeficit

DPS = 45
MP = mpmath.MPContext()
MP.dps = DPS + 10

Derive = Callable[..., Derivation]

ONE_DIMENSIONAL = [
    (module.__name__.rpartition(".")[2], quantity, getattr(module, f"derive_{quantity}"), form)
    for module in (laplace, cauchy, gaussian)
    for quantity in ("estimation", "approximation", "own_weight", "weight_energy")
    for form in [getattr(module, quantity.upper()).expression]
]
CASES: dict[str, tuple[Derive, sympy.Expr]] = {
    **{f"{kernel}.{quantity}": (derive, e) for kernel, quantity, derive, e in ONE_DIMENSIONAL},
    "laplace.estimation.rate": (
        laplace.derive_estimation,
        laplace.ESTIMATION_IN_RATE.expression,
    ),
    "laplace.estimation.equation": (
        laplace.derive_estimation_by_equation,
        laplace.ESTIMATION.expression,
    ),
    "laplace.approximation.equation": (
        laplace.derive_approximation_by_equation,
        laplace.APPROXIMATION.expression,
    ),
    "cauchy.estimation.scaled": (
        cauchy.derive_estimation,
        cauchy.ESTIMATION_IN_SCALED.expression,
    ),
    "cauchy.estimation.n2": (
        lambda claimed=None: cauchy.derive_finite_estimation(2, claimed),
        cauchy.finite_estimation(2).expression,
    ),
    "gaussian.estimation.modulus": (
        gaussian.derive_estimation,
        gaussian.ESTIMATION_IN_MODULUS.expression,
    ),
    "gaussian.approximation.modulus": (
        gaussian.derive_approximation,
        gaussian.APPROXIMATION_IN_MODULUS.expression,
    ),
    "gaussian.estimation.series": (
        gaussian_series.derive_estimation_by_series,
        gaussian.ESTIMATION.expression,
    ),
    "gaussian.estimation.series.modulus": (
        gaussian_series.derive_estimation_by_series,
        gaussian.ESTIMATION_IN_MODULUS.expression,
    ),
    "products.estimation": (products.derive_estimation, products.ESTIMATION),
    "products.approximation": (products.derive_approximation, products.APPROXIMATION),
    "design.estimation": (design.derive_estimation, design.ESTIMATION.expression),
    "design.eigenlearning": (design.derive_eigenlearning, design.EIGENLEARNING.expression),
    "design.wide_limit": (design.derive_wide_limit, design.WIDE_LIMIT),
}


def mutants(expression: sympy.Expr) -> dict[sympy.Expr, str]:
    """Wrong formulas: rescaled, negated, each term or factor dropped, signs and powers moved."""
    wrong = {expression * sympy.Rational(51, 50): "51/50", -expression: "sign"}
    for node in sympy.preorder_traversal(expression):
        if isinstance(node, sympy.Pow):
            wrong[expression.xreplace({node: node.base ** (node.exp + 1)})] = f"power of {node}"
        if not isinstance(node, sympy.Add | sympy.Mul):
            continue
        for index, argument in enumerate(node.args):
            before, after = node.args[:index], node.args[index + 1 :]
            dropped, flipped = node.func(*before, *after), node.func(*before, -argument, *after)
            wrong[expression.xreplace({node: dropped})] = f"{argument} dropped from {node}"
            wrong[expression.xreplace({node: flipped})] = f"{argument} negated in {node}"
    return {mutant: name for mutant, name in wrong.items() if mutant != expression}


@pytest.mark.parametrize("case", CASES)
def test_every_step_holds(case: str) -> None:
    derive, _ = CASES[case]
    results = derive().check()
    assert len(results) >= 2
    assert [(r.idea, r.residual) for r in results if not r.holds] == []


@pytest.mark.parametrize("case", CASES)
def test_the_formula_itself_passes_and_its_mutants_fail(case: str) -> None:
    derive, expression = CASES[case]
    assert derive(expression).steps[-1].check().holds
    wrong = mutants(expression)
    assert len(wrong) >= 2
    survivors = [name for mutant, name in wrong.items() if derive(mutant).steps[-1].check().holds]
    assert survivors == []


def content(residual: Any) -> tuple[Any, ...]:
    """What a residual computes, so that two partial applications can be compared."""
    return (getattr(residual, "func", residual), getattr(residual, "args", ()))


@pytest.mark.parametrize("case", CASES)
def test_only_the_last_step_looks_at_the_claim(case: str) -> None:
    """So that checking the last step of a mutant is enough, and the others do not lean on it."""
    derive, expression = CASES[case]
    right, wrong = (
        [content(step.residual) for step in derive(claimed).steps]
        for claimed in (expression, 2 * expression)
    )
    assert right[:-1] == wrong[:-1]
    assert right[-1] != wrong[-1]


# --- the definitions by brute force, at high precision ----------------------------------------


def transform(kernel: str, xi: Any) -> Any:
    if kernel == "laplace":
        return 2 / (1 + (2 * MP.pi * xi) ** 2)
    if kernel == "cauchy":
        return MP.pi * MP.exp(-2 * MP.pi * abs(xi))
    return MP.sqrt(2 * MP.pi) * MP.exp(-2 * (MP.pi * xi) ** 2)


def lattice(kernel: str, c: Any, theta: Any, power: int) -> Any:
    """sum_m phihat(c(theta + m))^power: directly, for Laplace with an Euler-Maclaurin tail."""
    cut = {"laplace": 40, "cauchy": int(20 / c) + 2, "gaussian": int(3 / c) + 2}[kernel]

    def term(m: Any) -> Any:
        return transform(kernel, c * (theta + m)) ** power

    total = MP.fsum(term(m) for m in range(-cut, cut + 1))
    if kernel == "laplace":
        total += rational_tail(c, theta + cut + 1, power) + rational_tail(c, cut + 1 - theta, power)
    return total


def rational_tail(c: Any, start: Any, power: int) -> Any:
    """sum_{m>=0} phihat(c(start + m))^power by its expansion in Hurwitz zeta functions."""
    # phihat^p = 2^p (2 pi c x)^{-2p} (1 + (2 pi c x)^{-2})^{-p}, expanded in 1/x.
    w = 2 * MP.pi * c
    terms = (
        MP.binomial(-power, j) * w ** (-2 * (power + j)) * MP.zeta(2 * (power + j), start)
        for j in range(14)  # each is 10^{-3.5} of the one before, or less
    )
    return 2**power * MP.fsum(terms)


def value(form: Any, x: Any) -> Any:
    """Evaluate a closed form to 40 digits, as a number of this module's context."""
    return MP.mpf(form.mp(x, DPS))


def energy(kernel: str, c: Any, theta: Any) -> Any:
    return lattice(kernel, c, theta, 2) / lattice(kernel, c, theta, 1) ** 2


def trapezoid(kernel: str, c: Any, points: int, offset: Any) -> Any:
    """Mean over a grid: for a periodic analytic integrand exact up to e^{-const points}."""
    return (
        MP.fsum(energy(kernel, c, (MP.mpf(index) + offset) / points) for index in range(points))
        / points
    )


def close(value: Any, expected: Any, digits: int = 40) -> bool:
    return bool(abs(MP.mpf(value) - expected) <= MP.mpf(10) ** -digits * abs(expected))


FORMS = {"laplace": laplace, "cauchy": cauchy, "gaussian": gaussian}
BANDWIDTHS = ["3/10", "4/5", "17/10"]


def exact(c: str) -> Any:
    numerator, denominator = c.split("/")
    return MP.mpf(int(numerator)) / int(denominator)


@pytest.mark.parametrize("c", BANDWIDTHS)
@pytest.mark.parametrize("kernel", FORMS)
def test_bias_and_weights_by_their_definitions(kernel: str, c: str) -> None:
    module, bandwidth = FORMS[kernel], exact(c)
    own = transform(kernel, MP.mpf(0)) / lattice(kernel, bandwidth, MP.mpf(0), 1)
    total = energy(kernel, bandwidth, MP.mpf(0))
    assert close(value(module.OWN_WEIGHT, c), own)
    assert close(value(module.WEIGHT_ENERGY, c), total)
    # B cancels at large c: compare to the digits that the brute force has left.
    assert close(value(module.APPROXIMATION, c) + 1, 2 - 2 * own + total)


@pytest.mark.parametrize("c", BANDWIDTHS)
def test_laplace_noise_by_its_definition(c: str) -> None:
    expected = value(laplace.ESTIMATION, c)
    for points in (2, 5):  # exact at every grid size, the ratio being affine in cos
        assert close(trapezoid("laplace", exact(c), points, 0), expected)
    # An offset grid samples the same integral: only an affine function of cos allows that.
    assert close(trapezoid("laplace", exact(c), 3, MP.mpf(2) / 7), expected)
    assert not close(trapezoid("laplace", exact(c), 1, 0), expected, 2)


@pytest.mark.parametrize("c", BANDWIDTHS)
def test_cauchy_noise_by_its_definition(c: str) -> None:
    assert close(value(cauchy.finite_estimation(7), c), trapezoid("cauchy", exact(c), 7, 0))
    # Analytic on 0 <= theta <= 1 and even about 1/2, but with a kink at the lattice points.
    with MP.workdps(36):
        half = MP.quad(
            lambda x: energy("cauchy", exact(c), x), [0, 0.25, 0.5], method="gauss-legendre"
        )
    assert close(value(cauchy.ESTIMATION, c), 2 * half, 32)


@pytest.mark.parametrize("c", BANDWIDTHS)
def test_gaussian_noise_by_its_definition(c: str) -> None:
    # The integrand is analytic up to 1/(4 pi c^2) off the real axis: the error is e^{-N/(2c^2)}.
    points = int(200 * exact(c) ** 2) + 10
    expected = trapezoid("gaussian", exact(c), points, 0)
    assert close(value(gaussian.ESTIMATION, c), expected)


def test_laplace_noise_by_solving_the_kernel_system() -> None:
    """n = 3: build the kernel matrix, invert it and integrate the squared cardinal functions."""
    n, c = 3, MP.mpf(4) / 5
    nodes = [MP.mpf(j) / n for j in range(n)]

    def kernel(x: Any) -> Any:
        return MP.fsum(MP.exp(-abs(x + m) * n / c) for m in range(-45, 46))

    inverse = MP.matrix([[kernel(a - b) for b in nodes] for a in nodes]) ** -1

    def squares(x: Any) -> Any:
        weights = MP.matrix([[kernel(x - b) for b in nodes]]) * inverse
        return MP.fsum(w**2 for w in weights)

    integral = MP.quad(squares, [0, MP.mpf(1) / n], maxdegree=5, method="gauss-legendre") * n
    assert close(value(laplace.ESTIMATION, "4/5"), integral, 30)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("kernel", FORMS)
def test_products_by_the_sum_over_the_plane(kernel: str, dimension: int) -> None:
    module, c = FORMS[kernel], "4/5"
    forms = products.product_forms(
        module.ESTIMATION, module.OWN_WEIGHT, module.WEIGHT_ENERGY, dimension
    )
    own = transform(kernel, MP.mpf(0)) / lattice(kernel, exact(c), MP.mpf(0), 1)
    total = energy(kernel, exact(c), MP.mpf(0))
    bias = 1 - 2 * own**dimension + total**dimension
    assert close(value(forms.approximation, c), bias, 30)
    assert close(value(forms.estimation, c), value(module.ESTIMATION, c) ** dimension)
    assert forms.estimation.name == f"ridgeless.{kernel}.estimation.d{dimension}"


def test_a_two_dimensional_lattice_sum_without_factoring() -> None:
    """Gaussian, d = 2: sum over Z^2 and mean over a grid of the square, no product used."""
    c, box, points = MP.mpf(2) / 5, range(-6, 7), 24
    angles = [MP.mpf(index) / points for index in range(points)]

    def term(x: Any, y: Any) -> Any:
        return MP.exp(-2 * (MP.pi * c) ** 2 * (x * x + y * y))

    # The integrand is even and symmetric in the coordinates, so a triangle of the grid suffices.
    total = MP.mpf(0)
    for i in range(points // 2 + 1):
        for j in range(i + 1):
            values = [term(angles[i] + m, angles[j] + n) for m in box for n in box]
            S, Q = MP.fsum(values), MP.fsum(v * v for v in values)
            orbit = (1 if i == j else 2) * (1 if 2 * i % points == 0 else 2)
            total += orbit * (1 if 2 * j % points == 0 else 2) * Q / S**2
    forms = products.product_forms(
        gaussian.ESTIMATION, gaussian.OWN_WEIGHT, gaussian.WEIGHT_ENERGY, 2
    )
    assert close(value(forms.estimation, "2/5"), total / points**2, 30)


def test_modulus_and_bandwidth_are_inverse() -> None:
    assert gaussian.modulus_from_bandwidth(0.3) == pytest.approx(0.24491165319690356, rel=1e-15)
    for k in ("1e-300", "1e-10", "1/2", "0.999999999999"):
        c = gaussian.bandwidth_from_modulus(k)
        in_modulus = gaussian.ESTIMATION_IN_MODULUS(k)
        assert gaussian.ESTIMATION(c) == pytest.approx(in_modulus, rel=1e-13)
        in_modulus = gaussian.OWN_WEIGHT_IN_MODULUS(k)
        assert gaussian.OWN_WEIGHT(c) == pytest.approx(in_modulus, rel=1e-13)
        in_modulus = gaussian.WEIGHT_ENERGY_IN_MODULUS(k)
        assert gaussian.WEIGHT_ENERGY(c) == pytest.approx(in_modulus, rel=1e-13)


# --- the elliptic identity in balls -----------------------------------------------------------


@pytest.mark.parametrize("c", ["1/5", "2/5", "2/3", "1"])
@pytest.mark.parametrize("theta", ["0", "1/3", "2/7"])
def test_elliptic_identity(theta: str, c: str) -> None:
    residual = gaussian.elliptic_identity(theta, c, prec=400)
    assert residual.contains(0)
    assert residual.abs_upper() < arb(2) ** -250


def test_elliptic_identity_off_the_real_axis_and_against_a_wrong_point() -> None:
    with ctx.workprec(400):
        z: Any = acb(arb(fmpq(1, 5)), arb(fmpq(1, 9)))
        residual = gaussian.elliptic_identity(z, "1/2", prec=400)
        assert residual.contains(0)
        assert residual.abs_upper() < arb(2) ** -250
        # With f moved by 1/100 the ball must exclude 0, or containing 0 would say nothing.
        tau = acb(0, 2) / arb.pi()  # i/(2 pi c^2) at c = 1/2
        here, there = (
            x.modular_theta(tau / 2)[2] / x.modular_theta(tau)[2] ** 2
            for x in (z, z + arb(fmpq(1, 100)))
        )
        assert not (residual + there - here).contains(0)


def test_series_reaches_the_order_it_states() -> None:
    """A formula that is right up to x^67 and wrong at x^68 must be caught at order 72."""
    c = gaussian.BANDWIDTH
    close_miss = gaussian.ESTIMATION.expression * (1 + EllipticDeficit(c) ** 34)
    late = gaussian_series.derive_estimation_by_series(close_miss, order=72)
    early = gaussian_series.derive_estimation_by_series(close_miss, order=66)
    assert early.steps[-1].check().holds
    assert not late.steps[-1].check().holds


# --- random design ----------------------------------------------------------------------------


@pytest.mark.parametrize("c", BANDWIDTHS)
def test_iid_noise_is_the_mean_over_exponential_spacings(c: str) -> None:
    def integrand(g: Any) -> Any:
        s = g / exact(c)
        # 2 int_0^s sinh^2/(s sinh(s)^2) directly; near 0 by its leading term 2/3.
        law = (MP.sinh(2 * s) / 2 - s) / (s * MP.sinh(s) ** 2)
        return g * MP.exp(-g) * law

    with MP.workdps(DPS + 60):  # the law cancels near 0
        integral = MP.quad(integrand, [0, 1, 4, 16, 64, 160])
    assert close(value(design.ESTIMATION, c), integral, 30)


@pytest.mark.parametrize(("c", "n"), [(0.5, 2), (0.5, 3), (1.5, 10), (0.25, 1000)])
def test_finite_iid_noise_by_quadrature_over_the_spacing(c: float, n: int) -> None:
    ball = design.finite_estimation(c, n, prec=100)
    h = MP.mpf(c) / n

    def integrand(x: Any) -> Any:
        s = x / h
        law = (MP.sinh(2 * s) / 2 - s) / (s * MP.sinh(s) ** 2)
        return n * x * law * (n - 1) * (1 - x) ** (n - 2)

    cuts = [MP.mpf(0), MP.mpf(1) / n, MP.mpf(8) / n, MP.mpf(40) / n, MP.mpf(1)]
    with MP.workdps(DPS + 60):
        integral = MP.quad(integrand, sorted({min(cut, MP.mpf(1)) for cut in cuts}))
    assert close(ball.str(40, radius=False), integral, 25)
    assert ball.rel_accuracy_bits() >= 100


def test_finite_iid_noise_tends_to_its_limit() -> None:
    limit = design.ESTIMATION(1.5)
    gaps = [abs(float(design.finite_estimation(1.5, n)) - limit) for n in (100, 1000, 10000)]
    assert gaps[0] > 8 * gaps[1] > 64 * gaps[2] > 0  # the error is of order 1/n


def test_eigenlearning_is_off_by_half_for_wide_kernels() -> None:
    ratio = design.EIGENLEARNING.ball(10**6) / design.ESTIMATION.ball(10**6)
    assert ratio > arb("1.4999")
    assert ratio < arb("1.5001")
    assert sympy.limit(design.EIGENLEARNING.expression, design.BANDWIDTH, sympy.oo) == 1


def test_eigenlearning_solves_the_finite_equations() -> None:
    """Solve sum_k L_k = n by bisection over many modes, at c = 1 and n = 200."""
    n, c = 200, 1.0
    h = MP.mpf(c) / n

    def totals(kappa: Any) -> tuple[Any, Any]:
        # sum_k 1/(a + b k^2) = pi/sqrt(ab) coth(pi sqrt(a/b)), and minus its derivative in a.
        a, b = 1 + kappa, (2 * MP.pi * h) ** 2 * kappa

        def first(x: Any) -> Any:
            return MP.pi / MP.sqrt(x * b) * MP.coth(MP.pi * MP.sqrt(x / b))

        return first(a), -MP.diff(first, a)

    kappa = MP.findroot(lambda k: totals(k)[0] - n, (0.1, 1.0), solver="anderson")
    _, squares = totals(kappa)
    assert close(value(design.EIGENLEARNING, 1), n / (n - squares) - 1, 25)


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("dimension", [0, -1])
def test_product_refuses_a_dimension(dimension: int) -> None:
    with pytest.raises(ValueError, match=f"dimension = {dimension}"):
        products.product_forms(
            laplace.ESTIMATION, laplace.OWN_WEIGHT, laplace.WEIGHT_ENERGY, dimension
        )


def test_product_refuses_forms_in_different_variables() -> None:
    with pytest.raises(ValueError, match="variables"):
        products.product_forms(
            laplace.ESTIMATION, laplace.OWN_WEIGHT_IN_RATE, laplace.WEIGHT_ENERGY, 2
        )


def test_sizes_and_bandwidths_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="points = 0"):
        cauchy.finite_estimation(0)
    with pytest.raises(ValueError, match="points = 1"):
        design.finite_estimation(1.0, 1)
    with pytest.raises(ValueError, match="bandwidth = -1"):
        design.finite_estimation(-1.0, 3)
    with pytest.raises(ValueError, match="order = 2"):
        gaussian_series.derive_estimation_by_series(order=2)
