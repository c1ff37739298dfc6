"""The Gram recursion: its fixed points and rates against layers iterated from the definition."""

import itertools
import math
import re
from fractions import Fraction

import numpy as np
import pytest
from flint import arb, arb_mat, ctx
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from theory.collapse.fixed_points import fixed_point, fixed_point_eigenvalues
from theory.collapse.rates import angle_bound, angle_rate, eigenvalue_rate
from theory.collapse.recursion import contraction, gram_map

BITS = 800
CLOSE = 1e-6


# ── the definition, without theory ───────────────────────────────────────────────────────────────


def one_hot(n, classes):
    return np.kron(np.eye(classes), np.ones((1, n)))


def generic_gram(size, seed):
    X = np.random.default_rng(seed).standard_normal((size + 1, size))
    return X.T @ X / size


def layer(G, Y, kernel_ridge, feature_ridge, scale):
    """In doubles."""
    P = np.linalg.inv(G + kernel_ridge * np.eye(len(G))) @ G
    return scale * P.T @ Y.T @ Y @ P + feature_ridge * np.eye(len(G))


def midpoints(A):
    """Balls without their radii: floating point arithmetic of many bits."""
    return arb_mat([[x.mid() for x in row] for row in A.tolist()])


class Layers:
    """Linearised Deep RFM to many bits, with the angles to the label space."""

    def __init__(self, n, classes, kernel_ridge, feature_ridge, scale, seed):
        self.n, self.classes, self.size = n, classes, n * classes
        self.ridge, self.shift, self.scale = arb(kernel_ridge), arb(feature_ridge), arb(scale)
        self.one = arb_mat(np.eye(self.size, dtype=int).tolist())
        self.Y = arb_mat(one_hot(n, classes).astype(int).tolist())
        self.G = arb_mat(generic_gram(self.size, seed).tolist())

    def step(self):
        """One layer; returns Σ tan² of the angles of its top eigenspace, the range of V = PYᵀ."""
        V = midpoints((self.G + self.one * self.ridge).solve(self.G * self.Y.transpose()))
        self.G = V * V.transpose() * self.scale + self.one * self.shift
        means = self.Y * V * (arb(1) / self.n)
        beside = V - self.Y.transpose() * means
        tangent = beside * midpoints(means.inv())
        return sum((x**2 for row in tangent.tolist() for x in row), arb(0)).mid()

    def settle(self):
        """Layers until the angles' ratio no longer moves; returns it."""
        tangent, ratio, G = self.step(), math.inf, self.doubles()
        for _ in range(2000):
            following, after = self.step(), self.doubles()
            before, ratio = ratio, math.sqrt(float(following / tangent))
            moved = np.abs(after - G).max() / np.abs(G).max()
            if moved <= 1e-9 and abs(before - ratio) <= 1e-9 * ratio:
                return ratio
            tangent, G = following, after
        raise AssertionError("the layers do not come to rest")

    def doubles(self):
        return np.array([[float(x.mid()) for x in row] for row in self.G.tolist()])


def nc1_of(G, n, classes):
    """tr Σ_W / tr Σ_B of features: columns of a root of G."""
    values, vectors = np.linalg.eigh(G)
    X = (vectors * np.sqrt(values)).T
    groups = [X[:, c * n : (c + 1) * n] for c in range(classes)]
    means = np.stack([g.mean(axis=1) for g in groups], axis=1)
    within = np.mean([np.sum((g - g.mean(axis=1, keepdims=True)) ** 2) / n for g in groups])
    between = np.sum((means - means.mean(axis=1, keepdims=True)) ** 2) / classes
    return within / between


# ── acceptance ───────────────────────────────────────────────────────────────────────────────────

SIZES = st.tuples(st.integers(2, 4), st.integers(2, 3))
RIDGES = st.floats(0.05, 20.0)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(SIZES, RIDGES, RIDGES, st.floats(0.02, 0.95), st.integers(0, 2**20))
def test_contractive_regime(sizes, kernel_ridge, feature_ridge, q, seed):
    n, classes = sizes
    scale = q * (feature_ridge + kernel_ridge) ** 2 / (2 * n * kernel_ridge)
    parameters = {"kernel_ridge": kernel_ridge, "feature_ridge": feature_ridge, "scale": scale}
    found = fixed_point(n, classes, **parameters)
    with ctx.workprec(BITS):
        layers = Layers(n, classes, kernel_ridge, feature_ridge, scale, seed)
        ratio = layers.settle()
        G = layers.doubles()
    assert found.contractive
    assert found.contraction == pytest.approx(q, rel=1e-12)
    np.testing.assert_allclose(found.gram, G, rtol=0, atol=CLOSE * np.abs(G).max())
    assert found.signal == pytest.approx(n * G[0, 1], rel=CLOSE)
    assert found.nc1 == pytest.approx(nc1_of(G, n, classes), rel=CLOSE)
    assert angle_rate(n, **parameters) == pytest.approx(ratio, rel=CLOSE)
    assert fixed_point_eigenvalues(n, **parameters) == (found.eigenvalue,)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SIZES, RIDGES, RIDGES, st.floats(1.0, 30.0), st.integers(0, 2**20))
def test_outside_the_code_says_so(sizes, kernel_ridge, feature_ridge, q, seed):
    n, classes = sizes
    scale = 1.0001 * q * (feature_ridge + kernel_ridge) ** 2 / (2 * n * kernel_ridge)
    parameters = {"kernel_ridge": kernel_ridge, "feature_ridge": feature_ridge, "scale": scale}
    assert not contraction(n, **parameters).contractive
    roots = fixed_point_eigenvalues(n, **parameters)
    if len(roots) > 1:
        with pytest.raises(ValueError, match=r"q = .* collapsed fixed points"):
            fixed_point(n, classes, **parameters)
        with pytest.raises(ValueError, match="q = "):
            angle_rate(n, **parameters)
        return
    found = fixed_point(n, classes, **parameters)
    assert not found.contractive
    assume(max(eigenvalue_rate(n, **parameters), angle_rate(n, **parameters)) < 0.9)
    G = generic_gram(n * classes, seed)
    for _ in range(250):
        G = layer(G, one_hot(n, classes), **parameters)
    np.testing.assert_allclose(found.gram, G, rtol=0, atol=CLOSE * np.abs(G).max())


def test_three_roots():
    parameters = {"kernel_ridge": 10.0, "feature_ridge": 1.0, "scale": 12.0}
    assert fixed_point_eigenvalues(3, **parameters) == (2.0, 5.0, 10.0)
    Y, one = one_hot(3, 2), np.eye(6)
    for start, end in ((0.1, 2.0), (4.9, 2.0), (5.1, 10.0), (30.0, 10.0)):
        G = start * one
        for _ in range(300):
            G = layer(G, Y, **parameters)
        np.testing.assert_allclose(G, (end - 1) * Y.T @ Y / 3 + one, atol=1e-9)


def test_at_the_border_of_contraction():
    ridges = {"kernel_ridge": 1.0, "feature_ridge": 1.0}
    border = contraction(2, **ridges, scale=1.0)
    assert (border.constant, border.constant_on_image) == (1.0, 0.75)
    assert (border.lower, border.upper, border.contractive) == (1.0, 3.0, False)
    assert not fixed_point(2, 2, **ridges, scale=1.0).contractive
    assert contraction(2, **ridges, scale=0.99).contractive
    assert contraction(10**300, kernel_ridge=1e-60, feature_ridge=1e-60, scale=1e60).upper == (
        math.inf
    )


def test_two_roots_are_several():
    with pytest.raises(ValueError, match=r"q = 5\.76 with 2 collapsed fixed points"):
        fixed_point(32, 2, kernel_ridge=9.0, feature_ridge=1.0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 9), RIDGES, RIDGES, st.floats(1e-6, 0.02))
def test_the_signal_is_the_nearest_double(n, kernel_ridge, feature_ridge, scale):
    """The cubic changes its sign between the midpoints to the doubles on both sides."""
    s = fixed_point(
        n, 2, kernel_ridge=kernel_ridge, feature_ridge=feature_ridge, scale=scale
    ).signal

    def cubic(s):
        g = Fraction(feature_ridge) + s
        return s * (g + Fraction(kernel_ridge)) ** 2 - Fraction(scale) * n * g**2

    below, above = ((Fraction(s) + Fraction(math.nextafter(s, end))) / 2 for end in (0, math.inf))
    assert cubic(below) <= 0 <= cubic(above)


def test_few_roots_if_the_kernel_ridge_is_small():
    for strength in np.geomspace(0.1, 1e4, 40):
        ridges = {"kernel_ridge": 8.0, "feature_ridge": 1.0}
        assert len(fixed_point_eigenvalues(1, **ridges, scale=float(strength))) == 1
    assert fixed_point_eigenvalues(27, kernel_ridge=8.0, feature_ridge=1.0) == (4.0,)  # triple
    assert fixed_point_eigenvalues(32, kernel_ridge=9.0, feature_ridge=1.0) == (3.0, 9.0)  # 3 twice


@pytest.mark.parametrize(
    "parameters", [(1e-60, 1e-60, 1e-60), (1e60, 1.0, 1e-40), (1.0, 1e8, 1e-9)]
)
def test_extreme_parameters(parameters):
    kernel_ridge, feature_ridge, scale = parameters
    found = fixed_point(3, 2, kernel_ridge=kernel_ridge, feature_ridge=feature_ridge, scale=scale)
    shrunk = found.eigenvalue / (found.eigenvalue + kernel_ridge)
    assert found.signal == pytest.approx(scale * 3 * shrunk**2, rel=1e-12, abs=0)
    assert found.nc1 <= 4.0


def test_rates_of_a_small_signal_keep_their_digits():
    """g = 1 but for s = 3e-20/4; the rate is 2s/(g(g + 1)) = s, and ρ = s/2."""
    parameters = {"kernel_ridge": 1.0, "feature_ridge": 1.0, "scale": 1e-20}
    assert eigenvalue_rate(3, **parameters) == pytest.approx(0.75e-20, rel=1e-14, abs=0)
    assert angle_rate(3, **parameters) == pytest.approx(0.375e-20, rel=1e-14, abs=0)


# ── the steps ────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=50, deadline=None, derandomize=True)
@given(SIZES, RIDGES, RIDGES, st.floats(0.05, 20.0), st.integers(0, 2**20))
def test_contraction_and_bounds(sizes, kernel_ridge, feature_ridge, scale, seed):
    n, classes = sizes
    parameters = {"kernel_ridge": kernel_ridge, "feature_ridge": feature_ridge, "scale": scale}
    Y, found = one_hot(n, classes), contraction(n, **parameters)
    grams = [
        generic_gram(n * classes, seed + i) + feature_ridge * np.eye(n * classes) for i in (0, 1)
    ]
    moved = [gram_map(G, Y, **parameters) for G in grams]
    for G, T in zip(grams, moved, strict=True):
        np.testing.assert_allclose(T, layer(G, Y, **parameters), rtol=0, atol=1e-9 * found.upper)
        values = np.linalg.eigvalsh(T)
        assert values[0] >= found.lower * (1 - 1e-9)
        assert values[-1] <= found.upper * (1 + 1e-9)
    again = [gram_map(T, Y, **parameters) for T in moved]
    for pair, image, q in (
        (grams, moved, found.constant),
        (moved, again, found.constant_on_image),
    ):
        change, distance = (np.linalg.norm(a - b, 2) for a, b in (image, pair))
        assert change <= q * distance + 1e-12 * found.upper


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SIZES, RIDGES, RIDGES, st.floats(0.05, 20.0), st.integers(0, 2**20))
def test_angles_shrink_for_all_parameters(sizes, kernel_ridge, feature_ridge, scale, seed):
    n, classes = sizes
    parameters = {"kernel_ridge": kernel_ridge, "feature_ridge": feature_ridge, "scale": scale}
    bound = angle_bound(n, **parameters)
    with ctx.workprec(BITS):
        layers = Layers(n, classes, kernel_ridge, feature_ridge, scale, seed)
        tangents = [layers.step() for _ in range(8)]
    ratios = [math.sqrt(float(b / a)) for a, b in itertools.pairwise(tangents)]
    assert max(ratios) <= bound * (1 + 1e-12) < 1 + 1e-12


@pytest.mark.parametrize(
    ("kernel_ridge", "feature_ridge", "scale"), [(1.0, 1.0, 0.5), (3.0, 0.2, 60.0)]
)
def test_nc1_falls_with_the_slower_of_eigenvalues_and_squared_angles(
    kernel_ridge, feature_ridge, scale
):
    parameters = {"kernel_ridge": kernel_ridge, "feature_ridge": feature_ridge, "scale": scale}
    rates = eigenvalue_rate(2, **parameters), angle_rate(2, **parameters) ** 2
    with ctx.workprec(BITS):
        layers, seen = Layers(2, 2, kernel_ridge, feature_ridge, scale, 3), []
        for _ in range(150):
            layers.step()
            G, same = layers.G, range(2)
            diagonal = sum((G[i, i] for i in range(4)), arb(0)) / 4
            within = sum((G[2 * c + i, 2 * c + j] for c, i, j in itertools.product(same, repeat=3)),
                         arb(0)) / 8  # fmt: skip
            everything = sum((x for row in G.tolist() for x in row), arb(0)) / 16
            seen.append(((diagonal - within) / (within - everything)).mid())
        first, second, third = seen[-3:]
        factor = float((third - second) / (second - first))
    assert factor == pytest.approx(max(rates), rel=CLOSE)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────

GOOD = {"kernel_ridge": 1.0, "feature_ridge": 1.0, "scale": 1.0}


BY_SAMPLES = (contraction, fixed_point_eigenvalues, angle_rate, eigenvalue_rate, angle_bound)


@pytest.mark.parametrize("function", BY_SAMPLES)
@pytest.mark.parametrize("name", list(GOOD))
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_parameters_are_refused(function, name, value):
    with pytest.raises(ValueError, match=f"{name} = .* must be a finite number > 0"):
        function(3, **{**GOOD, name: value})
    with pytest.raises(ValueError, match="samples_per_class = 0"):
        function(0, **GOOD)
    with pytest.raises(TypeError, match=r"samples_per_class = 2\.5"):
        function(2.5, **GOOD)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="classes = 1 must be an integer >= 2"):
        fixed_point(3, 1, **GOOD)


@pytest.mark.parametrize(
    ("gram", "labels", "message"),
    [
        (np.ones((2, 3)), np.eye(2), r"gram has shape \(2, 3\)"),
        ([[1.0, 2.0], [0.0, 1.0]], np.eye(2), "gram is not symmetric"),
        ([[0.0, 1.0], [1.0, 0.0]], np.eye(2), "gram has the eigenvalue -1"),
        (np.eye(2), np.eye(3), r"labels have shape \(3, 3\); \(K, 2\) is allowed"),
        ([[np.nan, 0.0], [0.0, 1.0]], np.eye(2), "gram holds nan"),
    ],
)
def test_gram_map_refuses(gram, labels, message):
    with pytest.raises(ValueError, match=message):
        gram_map(gram, labels, 1.0, 1.0)


def test_gram_matrices_are_symmetric_and_semidefinite_up_to_rounding():
    Y = np.eye(2)
    for G, message in (
        ([[1.0, 1e-9], [0.0, 1.0]], "gram is not symmetric"),
        ([[1.0, 0.0], [0.0, -1e-8]], "gram has the eigenvalue -1e-08"),
    ):
        with pytest.raises(ValueError, match=message):
            gram_map(G, Y, 1.0, 1.0)
    near, other = ([[1.0, 0.5 + a], [0.5 - a, 1.0]] for a in (1e-12, 0.0))
    assert np.array_equal(gram_map(near, Y, 1.0, 1.0), gram_map(other, Y, 1.0, 1.0))


@pytest.mark.parametrize("name", ["kernel_ridge", "feature_ridge", "scale"])
@pytest.mark.parametrize("value", [1e-61, 1e-320, 1e61, 1e308])
def test_parameters_beyond_the_doubles_are_refused(name, value):
    arguments = {"kernel_ridge": 1.0, "feature_ridge": 1.0, "scale": 1.0, name: value}
    for function in (
        contraction,
        fixed_point_eigenvalues,
        angle_rate,
        eigenvalue_rate,
        angle_bound,
    ):
        with pytest.raises(
            ValueError, match=re.escape(f"{name} = {value!r} must be between 1e-60")
        ):
            function(3, **arguments)


@pytest.mark.parametrize("ridges", [(1e-60, 1e60), (1e60, 1e-60), (1e60, 1e60)])
@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_parameters_at_the_ends_give_numbers(ridges, scale):
    kernel_ridge, feature_ridge = ridges
    roots = fixed_point_eigenvalues(
        3, kernel_ridge=kernel_ridge, feature_ridge=feature_ridge, scale=scale
    )
    assert all(feature_ridge <= g <= feature_ridge + 3.1 * scale for g in roots)
