"""Gradients and AGOP of kernel machines in closed form, one step, and the linear machine."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from theory.rfm.kernel_derivation import derive_gradients
from theory.rfm.kernel_profiles import INNER_PRODUCTS, RADIAL, kernel, polynomial_kernel
from theory.rfm.linear_machine import derive_linear_machine, linear_agop, ridge_vector
from theory.rfm.machine_gradients import kernel_agop, kernel_gradients
from theory.rfm.one_step import derive_one_step, first_step
from theory.rfm.words import exact_value, rational_matrix

seeds = st.integers(0, 10_000)
few = settings(max_examples=25, deadline=None)

PROFILES = {
    "laplace": lambda r: np.exp(-r),
    "gaussian": lambda r: np.exp(-(r**2) / 2),
    "matern32": lambda r: (1 + math.sqrt(3) * r) * np.exp(-math.sqrt(3) * r),
    "matern52": lambda r: (1 + math.sqrt(5) * r + 5 * r**2 / 3) * np.exp(-math.sqrt(5) * r),
    "linear": lambda t: t,
    "exponential": np.exp,
}
NAMES = tuple(PROFILES)


def problem(seed, outputs, n=9, d=4, q=5):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((d, d)) / 2
    X, alpha = rng.standard_normal((n, d)), rng.standard_normal((n, outputs))
    Z = np.concatenate([rng.standard_normal((q - 2, d)), X[:2]])
    return X, alpha, Z, root.T @ root


def predict(name, X, alpha, Z, M, L):
    U = Z[:, None] - X[None]
    u = Z @ M @ X.T / L**2
    if name in RADIAL:
        u = np.sqrt(np.maximum(np.einsum("qni,ij,qnj->qn", U, M, U), 0)) / L
    return PROFILES[name](u) @ alpha


def central(name, X, alpha, Z, M, L, step=2.0**-11):
    """Central differences, extrapolated once, as steep kernels need."""
    columns = []
    for e in np.eye(X.shape[1]):
        wide, near = (
            (predict(name, X, alpha, Z + h * e, M, L) - predict(name, X, alpha, Z - h * e, M, L))
            / (2 * h)
            for h in (step, step / 2)
        )
        columns.append((4 * near - wide) / 3)
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("derive", [derive_gradients, derive_one_step, derive_linear_machine])
def test_every_step_of_the_derivations_holds(derive):
    assert [r.idea for r in derive().check() if not r.holds] == []


# ── kernel machines ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", NAMES)
def test_profiles_are_the_definitions(name):
    for u in (0.3, 1.7):
        assert kernel(name).profile(u) == pytest.approx(PROFILES[name](u), rel=1e-14)


@given(
    name=st.sampled_from(NAMES), outputs=st.sampled_from([1, 3]), L=st.floats(0.8, 3), seed=seeds
)
@example(name="exponential", outputs=3, L=0.8125, seed=1241)
@few
def test_gradients_are_central_differences_also_at_training_points(name, outputs, L, seed):
    X, alpha, Z, M = problem(seed, outputs)
    found = kernel_gradients(name, X, alpha, Z, bandwidth=L, metric=M)
    reference = central(name, X, alpha, Z, M, L)
    assert found.shape == (5, outputs, 4)
    assert np.abs(found - reference).max() < 1e-8 * max(1, np.abs(reference).max())


def test_a_laplace_machine_has_a_kink_at_its_training_points():
    X, alpha, _, M = problem(3, 1)
    v, h = np.array([1.0, -2.0, 0.5, 0.0]), 1e-7
    at = [predict("laplace", X, alpha, X[:1] + s * h * v, M, 2.0)[0, 0] for s in (0, 1, -1)]
    right, left = (at[1] - at[0]) / h, (at[0] - at[2]) / h
    slope = kernel_gradients("laplace", X, alpha, X[:1], bandwidth=2.0, metric=M)[0, 0] @ v
    jump = -alpha[0, 0] * math.sqrt(v @ M @ v) / 2.0
    assert right == pytest.approx(slope + jump, abs=1e-5)
    assert left == pytest.approx(slope - jump, abs=1e-5)


def test_a_centre_given_twice_is_one_with_both_coefficients():
    X, alpha, Z, M = problem(8, 1)
    twice = np.concatenate([X, X[:1]]), np.concatenate([alpha, [[0.7]]])
    once = alpha.copy()
    once[0] += 0.7
    found = kernel_gradients("laplace", *twice, Z, metric=M)
    assert found == pytest.approx(kernel_gradients("laplace", X, once, Z, metric=M))


@given(name=st.sampled_from(NAMES), c=st.floats(0.1, 10), seed=seeds)
@few
def test_scaling_the_metric_is_scaling_the_bandwidth(name, c, seed):
    X, alpha, Z, M = problem(seed, 2)
    left = kernel_gradients(name, X, alpha, Z, bandwidth=1.5, metric=c * M)
    right = kernel_gradients(name, X, alpha, Z, bandwidth=1.5 / math.sqrt(c), metric=M)
    assert np.allclose(left, right, rtol=1e-9, atol=1e-9 * np.abs(right).max())


@given(name=st.sampled_from(NAMES), seed=seeds)
@few
def test_rotations_of_the_data_rotate_the_agop(name, seed):
    X, alpha, Z, M = problem(seed, 2)
    Q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((4, 4)))
    turned = kernel_agop(name, X @ Q.T, alpha, Z @ Q.T, metric=Q @ M @ Q.T)
    agop = kernel_agop(name, X, alpha, Z, metric=M)
    assert np.allclose(turned, Q @ agop @ Q.T, rtol=1e-8, atol=1e-9 * np.abs(agop).max())


def test_the_agop_sums_outputs_and_averages_inputs():
    X, alpha, Z, M = problem(5, 3)
    kernel_cubed = polynomial_kernel(3, 0.5)
    G = kernel_gradients(kernel_cubed, X, alpha, Z, metric=M)
    expected = sum(np.outer(g, g) for at in G for g in at) / len(Z)
    assert kernel_agop(kernel_cubed, X, alpha, Z, metric=M) == pytest.approx(expected)


def test_a_diagonal_metric_may_be_a_vector_and_one_output_a_vector():
    X, alpha, Z, M = problem(6, 1)
    diagonal = np.diag(M)
    left = kernel_agop("gaussian", X, alpha[:, 0], Z, metric=diagonal)
    assert left == pytest.approx(kernel_agop("gaussian", X, alpha, Z, metric=np.diag(diagonal)))


def test_a_singular_metric_ignores_its_kernel():
    X, alpha, Z, _ = problem(7, 1)
    M = np.diag([1.0, 1.0, 0.0, 0.0])
    far = X.copy()
    far[:, 2:] += 5.0
    found = kernel_gradients("laplace", far, alpha, Z, metric=M)
    assert found == pytest.approx(kernel_gradients("laplace", X, alpha, Z, metric=M))
    assert not found[:, :, 2:].any()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"kernel_name": "cauchy"}, ValueError, "kernel = 'cauchy'; allowed: laplace"),
        ({"kernel_name": 3}, TypeError, "kernel = 3"),
        ({"bandwidth": 0.0}, ValueError, "bandwidth = 0.0"),
        ({"centres": [[1.0, np.nan]]}, ValueError, "centres holds nan"),
        ({"centres": [["a", "b"]]}, TypeError, "centres has dtype"),
        ({"inputs": [[1.0]]}, ValueError, r"centres have shape \(1, 2\), inputs \(1, 1\)"),
        ({"inputs": np.zeros((0, 2))}, ValueError, r"inputs has shape \(0, 2\)"),
        ({"coefficients": [1.0, 2.0]}, ValueError, r"coefficients have shape \(2,\)"),
        ({"centres": [[1.0], [1.0, 2.0]]}, ValueError, "centres has rows of unequal length"),
        ({"centres": [[True, False]]}, TypeError, "centres has dtype bool"),
        ({"coefficients": np.zeros((1, 0))}, ValueError, r"coefficients has shape \(1, 0\)"),
        ({"metric": [[1.0, 1e-6], [0.0, 1.0]]}, ValueError, "metric is not symmetric"),
        ({"metric": [1.0, -1e-6]}, ValueError, "metric has the eigenvalue -1e-06"),
        ({"metric": np.eye(3)}, ValueError, r"metric has shape \(3, 3\)"),
        ({"metric": [[1.0, 2.0], [0.0, 1.0]]}, ValueError, "metric is not symmetric"),
        ({"metric": [1.0, -1.0]}, ValueError, r"metric has the eigenvalue -1.0"),
    ],
)
def test_bad_input_is_refused_by_name(change, error, message):
    arguments = {
        "kernel_name": "laplace",
        "centres": [[1.0, 2.0]],
        "coefficients": [1.0],
        "inputs": [[0.0, 0.0]],
    }
    with pytest.raises(error, match=message):
        kernel_agop(**{**arguments, **change})


def test_an_overflowing_slope_is_refused():
    with pytest.raises(OverflowError, match="exponential overflows at τ = 1e\\+03"):
        kernel_gradients("exponential", [[1e3]], [1.0], [[1.0]])


def test_a_metric_that_is_symmetric_up_to_rounding_is_allowed():
    M = np.array([[2.0, 1.0 + 1e-15], [1.0, 2.0]])
    found = kernel_gradients("linear", [[1.0, 2.0]], [1.0], [[1.0, 1.0]], metric=M)
    assert found == pytest.approx(np.array([[[4.0, 5.0]]]))


@pytest.mark.parametrize("name", RADIAL)
def test_far_points_have_no_pull(name):
    """A bandwidth, or a distance, whose square no double holds."""
    for near, far, L in ((0.0, 1.0, 1e-200), (0.0, 1e200, 1.0)):
        found = kernel_gradients(name, [[near, far]], [1.0], [[1.0, 2.0]], bandwidth=L)
        assert not found.any()


def test_near_points_pull_as_the_derivative_says():
    """Points at 1e-6, not 0, from each other: Laplace's slope is 1/L there."""
    found = kernel_gradients("laplace", [[0.0]], [1.0], [[1e-6]], bandwidth=2.0)
    assert found[0, 0, 0] == pytest.approx(-0.5, rel=1e-5)


def test_overflows_are_refused():
    with pytest.raises(OverflowError, match="the AGOP overflows"):
        kernel_agop("linear", [[3.0, 1.0]], [1e200], [[1.0, 2.0]])
    with pytest.raises(OverflowError, match="the gradient overflows"):
        kernel_gradients("linear", [[1.0, 2.0]], [1e308], [[1.0, 2.0]], bandwidth=1e-3)


def test_polynomial_kernels_are_the_definition():
    k = polynomial_kernel(3, 0.5)
    assert k.profile(0.7) == pytest.approx(1.2**3, rel=1e-14)
    assert k.slope(0.7) == pytest.approx(3 * 1.2**2, rel=1e-14)


@pytest.mark.parametrize("name", RADIAL)
def test_kinks_are_the_slopes_at_zero(name):
    step = 2.0**-30
    slope = (PROFILES[name](step) - 1) / step
    assert float(kernel(name).kink) == pytest.approx(slope, abs=1e-7)


def test_polynomials_refuse_bad_degrees():
    with pytest.raises(ValueError, match="degree = 0"):
        polynomial_kernel(0)
    with pytest.raises(ValueError, match="offset = -1"):
        polynomial_kernel(2, -1)
    assert set(INNER_PRODUCTS) == {"linear", "exponential"}


# ── one step ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("activation", ["tanh", "softplus", "gelu", "cubic"])
@pytest.mark.parametrize("biased", [False, True])
def test_first_step_is_the_step(activation, biased):
    import torch

    act = {
        "tanh": torch.tanh,
        "softplus": torch.nn.functional.softplus,
        "gelu": torch.nn.functional.gelu,
        "cubic": lambda z: z**3,
    }[activation]
    rng = torch.Generator().manual_seed(4)
    X, y, a, b = (torch.randn(s, generator=rng).double() for s in ((6, 3), 6, 5, 5))
    b = b * biased
    arrays = [t.numpy() for t in (X, y, a)]
    if activation == "cubic" and not biased:
        with pytest.raises(ValueError, match="W rests at 0"):
            first_step(*arrays, activation, 0.1, bias=b.numpy())
        return
    W = torch.zeros(5, 3, dtype=torch.float64, requires_grad=True)
    ((act(X @ W.T + b) @ a - y) ** 2).sum().div(2).backward()
    W1, x = -0.1 * W.grad, X.clone().requires_grad_()
    (G,) = torch.autograd.grad((act(x @ W1.T + b) @ a).sum(), x)
    found = first_step(*arrays, activation, 0.1, bias=b.numpy())
    assert found.nfm == pytest.approx((W1.T @ W1).numpy(), rel=1e-10)
    assert found.agop == pytest.approx((G.T @ G / 6).numpy(), rel=1e-9)


def test_the_direction_is_that_of_the_residuals():
    """Softplus starts from f_0 ≠ 0, so that the direction is not Σ y_i x_i."""
    X, y, a = np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([1.0, 0.0]), np.ones(1)
    found = first_step(X, y, a, "softplus", 0.1)
    assert found.initial_output == pytest.approx(math.log(2))
    assert found.direction == pytest.approx(y @ X - math.log(2) * X.sum(axis=0))
    centred = X - X.mean(axis=0)
    assert first_step(centred, y, a, "softplus", 0.1).direction == pytest.approx(y @ centred)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": [1.0, 2.0]}, r"targets \(2,\)"),
        ({"bias": [1.0, 2.0]}, r"bias \(2,\)"),
        ({"rate": 0.0}, "rate = 0.0"),
        ({"activation": "step"}, "activation = 'step'"),
        ({"activation": "relu"}, "W rests at 0"),
        ({"inputs": [[np.nan]]}, "inputs holds nan"),
        ({"targets": [np.inf]}, "targets holds inf"),
        ({"inputs": [[1.0], [1.0, 2.0]]}, "inputs has rows of unequal length"),
    ],
)
def test_first_step_refuses_bad_input(change, message):
    arguments = {"inputs": [[1.0]], "targets": [1.0], "readout": [1.0], "activation": "tanh"}
    with pytest.raises(ValueError, match=message):
        first_step(**{**arguments, "rate": 0.1, **change})


def test_first_step_refuses_overflows():
    step = first_step([[1.0]], [1e200], [1.0], "linear", 0.1)
    with pytest.raises(OverflowError, match="the NFM overflows"):
        _ = step.nfm
    with pytest.raises(OverflowError, match="the AGOP overflows"):
        _ = step.agop
    with pytest.raises(OverflowError, match="the step overflows"):
        first_step([[1.0]], [1.0], [1.0], "cubic", 1e200, bias=[1.0])


# ── linear machine ───────────────────────────────────────────────────────────────────────────────


@given(n=st.integers(1, 9), d=st.integers(1, 6), o=st.integers(1, 3), seed=seeds)
@few
def test_linear_agop_is_that_of_the_kernel_machine(n, d, o, seed):
    rng = np.random.default_rng(seed)
    X, y, root = (rng.standard_normal(shape) for shape in ((n, d), (n, o), (d, d)))
    M = root.T @ root
    alpha = np.linalg.solve(X @ M @ X.T + 0.3 * np.eye(n), y)
    reference = kernel_agop("linear", X, alpha, rng.standard_normal((3, d)), metric=M)
    found = linear_agop(X, y, 0.3, metric=M)
    assert np.allclose(found, reference, rtol=1e-7, atol=1e-8 * np.abs(reference).max())
    assert np.linalg.matrix_rank(found, tol=1e-8 * np.abs(found).max()) <= o


def test_the_ridge_vector_is_that_of_ridge_regression():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((8, 3)), rng.standard_normal(8)
    expected = np.linalg.solve(X.T @ X + 0.7 * np.eye(3), X.T @ y)
    assert ridge_vector(X, y, 0.7) == pytest.approx(expected)


def test_orthogonal_targets_give_no_direction():
    assert not linear_agop([[1.0, 0.0], [1.0, 0.0]], [1.0, -1.0], 1.0).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ridge": 0.0}, "ridge = 0.0"),
        ({"targets": [1.0, 2.0, 3.0]}, r"targets \(3,\)"),
        ({"inputs": [1.0, 2.0]}, r"inputs have shape \(2,\)"),
        ({"metric": np.eye(2)}, r"metric has shape \(2, 2\)"),
        ({"targets": np.zeros((2, 0))}, r"targets has shape \(2, 0\)"),
        ({"inputs": [[1.0], [1.0, 2.0]]}, "inputs has rows of unequal length"),
        ({"inputs": [[1.0, 1 / 3], [3.0, 1.0]], "ridge": 1e-30}, "ridge = 1e-30 is too small"),
        ({"inputs": [[1.0, 1.0, 3.0]] * 2, "ridge": 1e-30}, "ridge = 1e-30 is too small"),
    ],
)
def test_the_linear_machine_refuses_bad_input(change, message):
    arguments = {"inputs": [[1.0], [2.0]], "targets": [1.0, 2.0], "ridge": 1.0}
    with pytest.raises(ValueError, match=message):
        linear_agop(**{**arguments, **change})


def test_the_linear_machine_refuses_overflows():
    """In place of the ridge vector 0, where 1e-200 is right."""
    with pytest.raises(OverflowError, match="the system overflows"):
        ridge_vector([[1e200]], [1.0], 1.0)
    with pytest.raises(OverflowError, match="the AGOP overflows"):
        linear_agop([[1.0]], [1e200], 1.0)


def test_a_small_ridge_is_allowed_where_the_system_is_regular():
    assert ridge_vector(np.eye(2), [1.0, 2.0], 1e-300) == pytest.approx([1.0, 2.0])


def test_words_have_the_values_of_matrix_algebra():
    import sympy

    A, c = sympy.Symbol("A", commutative=False), sympy.Symbol("c")
    values = {A: rational_matrix([[1, 2], [0, 3]]), c: rational_matrix([[3]])[0, 0]}
    found = exact_value(c + (A - 2 * c) ** -2 * A, values)
    matrix = sympy.Matrix([[1, 2], [0, 3]])
    expected = 3 * sympy.eye(2) + (matrix - 6 * sympy.eye(2)) ** -2 * matrix
    assert [str(v) for row in found.tolist() for v in row] == [str(v) for v in expected]


def test_words_refuse_what_they_cannot_evaluate():
    import sympy

    A = sympy.Symbol("A", commutative=False)
    with pytest.raises(ValueError, match="no sum, product or integer power"):
        exact_value(sympy.sqrt(A), {A: rational_matrix([[4]])})
