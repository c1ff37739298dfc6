"""The exact risk against brute force, over kernels, grids, bandwidths, targets and ridges.

The brute force solves the kernel system and integrates the squared error; it knows no Fourier
transform. In doubles its error grows with the system's condition number: agreement to
1e-9 + 20·eps·cond is asked where it is small (on lines cond < 10⁴, else the quadrature cannot
tell 10 digits). Beyond, the same system is solved in mpmath with as many digits as it takes. No
example is skipped. Bandwidths span six decades; the Gaussian's end at h = 1, where 7 points
already have a condition number of 10^77.
"""

import cmath
import itertools
import math

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from numerics.ridgeless import Profile, SingularSystemError, exact_risk, exact_risk_mp, grid
from theory.ridgeless import (
    Cauchy,
    Gaussian,
    Laplace,
    Matern,
    Product,
    SpectralKernel,
    limit_risk,
    risk,
)
from theory.ridgeless.alias import alias_excess

EPS = np.finfo(float).eps
WELL_CONDITIONED = {1: 1e4, 2: 1e6}
RELATIVE = 1e-9

LINES = {
    "laplace": (Laplace(), Profile("laplace"), (1e-3, 1e3)),
    "cauchy": (Cauchy(), Profile("cauchy"), (1e-5, 10.0)),
    "gaussian": (Gaussian(), Profile("gaussian"), (1e-6, 1.0)),
    "matern 3/2": (Matern(1.5), Profile("matern", nu=1.5), (1e-3, 1e3)),
    "matern 5/2": (Matern(2.5), Profile("matern", nu=2.5), (1e-3, 1e3)),
}
PLANES = {
    "laplace": (Laplace(2), Profile("laplace", 2)),
    "cauchy": (Cauchy(2), Profile("cauchy", 2)),
    "gaussian": (Gaussian(2), Profile("gaussian", 2)),
    "matern 3/2": (Matern(1.5, 2), Profile("matern", 2, nu=1.5)),
    "product": (Product(Laplace(), 2), Profile("laplace", 2, product=True)),
}
SPACES = {
    "laplace": (Laplace(3), Profile("laplace", 3)),
    "cauchy": (Cauchy(3), Profile("cauchy", 3)),
    "gaussian": (Gaussian(3), Profile("gaussian", 3)),
    "product": (Product(Cauchy(), 3), Profile("cauchy", 3, product=True)),
}

coefficient = st.complex_numbers(min_magnitude=0.1, max_magnitude=3, allow_nan=False)
ridges = st.one_of(st.just(0.0), st.floats(1e-3, 10.0))


def targets(dimension):
    frequency = st.tuples(*[st.integers(-9, 9)] * dimension)
    return st.dictionaries(frequency, coefficient, min_size=1, max_size=4)


def bandwidths(low, high):
    return st.floats(math.log10(low), math.log10(high)).map(lambda e: 10.0**e)


def fixed(examples):
    # No shrinking: one brute-force solve is slow, and the message names the drawn problem.
    phases = (Phase.explicit, Phase.generate)
    return settings(max_examples=examples, deadline=None, derandomize=True, phases=phases)


def solved_in_doubles(profile, n, target, h, noise, ridge):
    """The brute force, its quadrature refined on lines until it says to know 11 digits."""
    points = np.arange(n) / n if profile.dimension == 1 else grid(n, profile.dimension)
    orders = (32, 128, 512, 2048) if profile.dimension == 1 else (20,)
    for order in orders:
        try:
            truth = exact_risk(profile, points, target, h, noise, ridge, order=order)
        except SingularSystemError:
            return None
        if truth.condition_number > WELL_CONDITIONED[1]:
            break
        if truth.quadrature_error < 1e-11 * min(truth.approximation, truth.estimation):
            break
    return truth


def solved_in_mpmath(profile, n, target, h, noise, ridge):
    """The same with rising precision, until the condition number leaves 15 digits."""
    line = {k: complex(f) for (k,), f in target.items()}
    for dps in (60, 240, 960):
        try:
            return exact_risk_mp(profile, n, line, h, noise, ridge, dps=dps, digits=15)
        except SingularSystemError:
            continue
    raise AssertionError(f"{profile}, n = {n}, h = {h} needs more than 960 digits")


def assert_equal_parts(found, truth, relative, slack=0.0):
    scale = float(truth.approximation + truth.estimation)
    for part in ("approximation", "estimation"):
        left, right = getattr(found, part), float(getattr(truth, part))
        bound = relative * abs(right) + 1e-14 * scale + slack
        assert abs(left - right) <= bound, (part, left, right, bound)


@pytest.mark.parametrize("name", LINES)
@fixed(25)
@given(data=st.data())
def test_line(name, data):
    kernel, profile, decades = LINES[name]
    n = data.draw(st.integers(2, 7), "n")
    h = data.draw(bandwidths(*decades), "h")
    target, ridge = data.draw(targets(1), "target"), data.draw(ridges, "ridge")
    found = risk(kernel, n, h, target, 0.7, ridge)
    truth = solved_in_doubles(profile, n, target, h, 0.7, ridge)
    if truth is None or truth.condition_number > WELL_CONDITIONED[1]:
        truth = solved_in_mpmath(profile, n, target, h, 0.7, ridge)
        conditioning = 0.0
    else:
        conditioning = 20 * EPS * truth.condition_number
    assert truth.quadrature_error < 1e-10 * truth.total
    assert_equal_parts(found, truth, RELATIVE + conditioning)


@pytest.mark.parametrize("name", PLANES)
@settings(max_examples=12, deadline=None, derandomize=True, phases=[Phase.generate])
@given(data=st.data())
def test_plane(name, data):
    kernel, profile = PLANES[name]
    n = data.draw(st.integers(2, 3), "n")
    c = data.draw(st.floats(0.25, 0.8), "c")
    target, ridge = data.draw(targets(2), "target"), data.draw(ridges, "ridge")
    found = risk(kernel, n, c / n, target, 0.7, ridge)
    truth = solved_in_doubles(profile, n, target, c / n, 0.7, ridge)
    assert truth.condition_number < WELL_CONDITIONED[2]
    conditioning = 20 * EPS * truth.condition_number
    # What the quadrature says of itself must still let a relative error of 1e-5 be seen.
    assert truth.quadrature_error < 1e-5 * truth.total
    assert_equal_parts(found, truth, RELATIVE + conditioning, slack=truth.quadrature_error)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("ridge", [0.0, 0.4])
def test_space(name, ridge):
    kernel, profile = SPACES[name]
    target = {(0, 1, -1): 1 - 0.5j, (3, 0, 1): 0.3}
    found = risk(kernel, 2, 0.3, target, 0.7, ridge)
    truth = exact_risk(profile, grid(2, 3), target, 0.3, 0.7, ridge, order=8)
    assert truth.quadrature_error < 1e-4 * truth.total
    assert_equal_parts(found, truth, RELATIVE, slack=truth.quadrature_error)


@pytest.mark.parametrize("h", [0.25, 0.5, 1.0])
def test_ill_conditioned_gaussian_planes_and_spaces(h):
    """Condition numbers up to 1e170: the ridgeless noise term is a power of the line's."""
    line = solved_in_mpmath(Profile("gaussian"), 5, {(0,): 1.0}, h, 1.0, 0.0).estimation
    for d in (2, 3):
        found = risk(Gaussian(d), 5, h, {}, 1.0)
        assert found.estimation == pytest.approx(float(line**d), rel=1e-12)


# ── invariances ──────────────────────────────────────────────────────────────────────────────────

kernels = st.sampled_from([Laplace(), Cauchy(), Gaussian(), Matern(2.5), Laplace(2), Cauchy(2)])
problems = st.tuples(kernels, st.integers(2, 9), bandwidths(1e-4, 1e2), ridges)


def one_target(dimension):
    rest = (0,) * (dimension - 1)
    return {(1,) * dimension: 1 - 0.5j, (2, *rest): 0.4j, (-7, *rest): 0.3}


@fixed(40)
@given(problem=problems, shift=st.integers(1, 8))
def test_translation_by_a_grid_step(problem, shift):
    kernel, n, h, ridge = problem
    target = one_target(kernel.dimension)
    moved = {k: f * cmath.exp(2j * math.pi * k[0] * shift / n) for k, f in target.items()}
    first, second = (risk(kernel, n, h, t, 1.0, ridge) for t in (target, moved))
    assert second.approximation == pytest.approx(first.approximation, rel=1e-11)
    assert second.estimation == first.estimation


@fixed(40)
@given(problem=problems, scale=st.floats(0.1, 10))
def test_scaling_of_target_and_noise(problem, scale):
    kernel, n, h, ridge = problem
    target = one_target(kernel.dimension)
    unit = risk(kernel, n, h, target, 1.0, ridge)
    scaled = risk(kernel, n, h, {k: scale * f for k, f in target.items()}, scale, ridge)
    assert scaled.approximation == pytest.approx(scale**2 * unit.approximation, rel=1e-12)
    assert scaled.estimation == pytest.approx(scale * unit.estimation, rel=1e-12)


@pytest.mark.parametrize("kernel", [Laplace(3), Cauchy(3), Gaussian(3), Product(Laplace(), 3)])
def test_permutation_of_axes(kernel):
    target = {(1, 0, 2): 1.0, (0, 3, -1): 0.5j}
    values = [
        risk(kernel, 4, 0.2, {tuple(k[i] for i in p): f for k, f in target.items()}, 1.0, 0.1)
        for p in itertools.permutations(range(3))
    ]
    assert [v.approximation for v in values] == pytest.approx([values[0].approximation] * 6, 1e-12)


@fixed(30)
@given(n=st.integers(2, 9), h=bandwidths(1e-4, 1e2), d=st.integers(2, 3))
def test_product_structure(n, h, d):
    for line in (Laplace(), Cauchy(), Gaussian(), Matern(1.5)):
        power = risk(line, n, h, {}, 1.0).estimation ** d
        assert risk(Product(line, d), n, h, {}, 1.0).estimation == pytest.approx(power, rel=1e-12)


@fixed(30)
@given(n=st.integers(2, 9), h=bandwidths(1e-4, 1e2), ridge=ridges)
def test_one_kernel_by_several_names(n, h, ridge):
    target = one_target(2)
    for left, right in ((Gaussian(2), Product(Gaussian(), 2)), (Laplace(2), Matern(0.5, 2))):
        first, second = (risk(kernel, n, h, target, 1.0, ridge) for kernel in (left, right))
        assert first.estimation == pytest.approx(second.estimation, rel=1e-12)
        assert first.approximation == pytest.approx(second.approximation, rel=1e-10)


@fixed(20)
@given(n=st.integers(2, 9), h=bandwidths(1e-3, 1e2), ridge=ridges)
def test_a_users_density(n, h, ridge):
    own = SpectralKernel(lambda xi: 2 / (1 + 4 * math.pi**2 * xi**2), 1)
    found, truth = (risk(k, n, h, one_target(1), 1.0, ridge) for k in (own, Laplace()))
    allowed = 1e-12 + 3 * found.truncation
    assert found.truncation < 1e-9
    assert found.estimation == pytest.approx(truth.estimation, rel=allowed)
    assert found.approximation == pytest.approx(truth.approximation, rel=1e-8)


@fixed(40)
@given(problem=problems)
def test_more_ridge_less_noise(problem):
    kernel, n, h, _ = problem
    values = [risk(kernel, n, h, {}, 1.0, ridge).estimation for ridge in (0.0, 1e-3, 0.1, 10.0)]
    assert all(a > b for a, b in itertools.pairwise(values))


@pytest.mark.parametrize("kernel", [Laplace(), Cauchy(2), Gaussian(3), Matern(2.5)])
def test_limits_where_nothing_is_learned(kernel):
    target = one_target(kernel.dimension)
    power = sum(abs(f) ** 2 for f in target.values())
    for h, ridge in ((1e-7, 0.0), (0.3, 1e12)):
        found = risk(kernel, 5, h, target, 1.0, ridge)
        assert found.approximation == pytest.approx(power, rel=1e-5)
        assert found.estimation < 1e-5
    assert risk(kernel, 5, 0.3, target, 1.0, 1e-13).total == pytest.approx(
        risk(kernel, 5, 0.3, target, 1.0).total, rel=1e-6
    )


def test_a_class_that_the_ridge_drowns():
    """φ̂ underflows at the target's frequency, so that λ/φ̂ and its square leave the doubles."""
    found = risk(Gaussian(2), 5, 10.0**0.6, one_target(2), 1.0, 6.3)
    power = sum(abs(f) ** 2 for f in one_target(2).values())
    assert found.approximation == pytest.approx(power, rel=1e-12)


def test_an_alias_counts_as_its_nearest_frequency():
    """The data cannot tell f from f': the noise-free prediction for 1 and 1 + n is the same."""
    n, h = 6, 0.2
    alone = risk(Laplace(), n, h, {1: 1.0}, 1.0).approximation
    aliased = risk(Laplace(), n, h, {1 + n: 1.0}, 1.0).approximation
    excess = alias_excess(Laplace(), n * h, [np.array([1 / n])])
    weight = 1 / (1 + excess.first.item())
    # |1 − r|² and |r|² change places, and so do those of the alias.
    far = (1 + (2 * math.pi * h) ** 2) / (1 + (2 * math.pi * h * (1 + n)) ** 2)
    assert aliased - alone == pytest.approx(2 * weight * (1 - far), rel=1e-12)


@pytest.mark.parametrize("kernel", [Laplace(), Gaussian(), Laplace(2), Matern(1.5, 2)])
@pytest.mark.parametrize("c", [0.3, 1.0, 4.0])
def test_large_grids_reach_the_limit(kernel, c):
    """Analytic densities only: the mean over the grid converges geometrically."""
    n = 4096 if kernel.dimension == 1 else 512
    found, limit = risk(kernel, n, c / n, {}, 1.0), limit_risk(kernel, c)
    assert found.estimation == pytest.approx(limit.estimation, rel=1e-12)


@pytest.mark.parametrize("kernel", [Laplace(), Matern(2.5), Cauchy(), Gaussian()])
def test_long_lines_are_interpolated_without_loss(kernel):
    theta = np.linspace(0, 0.5, 1001)
    for c in (0.01, 1.0, 100.0):
        long = alias_excess(kernel, c, [theta])
        short = [alias_excess(kernel, c, [part]) for part in np.array_split(theta, 5)]
        for part in ("first", "second"):
            pieces = np.concatenate([getattr(piece, part) for piece in short])
            assert 1 + getattr(long, part) == pytest.approx(1 + pieces, rel=1e-13)


@pytest.mark.parametrize("kernel", [Gaussian(2), Cauchy(2), Cauchy(3), Gaussian(3)])
@pytest.mark.parametrize("c", [0.4, 1.5, 5.0, 8.0])
def test_alias_sums_against_plain_loops(kernel, c):
    d = kernel.dimension
    theta = np.array([0.11, 0.37, 0.5][:d])
    reach = 16 if d == 2 else 14
    m = np.array([k for k in itertools.product(range(-reach, reach + 1), repeat=d) if any(k)])
    ratio = np.exp(kernel.log_density(c * (theta + m)) - kernel.log_density(c * theta))
    excess = alias_excess(kernel, c, [np.array([x]) for x in theta])
    assert 1 + excess.first.item() == pytest.approx(1 + math.fsum(ratio), rel=1e-13)
    assert 1 + excess.second.item() == pytest.approx(1 + math.fsum(ratio**2), rel=1e-13)
