"""The least alignment, data that attain it, when NFM and AGOP agree, and where they cannot."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from theory.alignment import bound, equivalence, orthant, reversal
from theory.alignment.bound import alignment_bound, condition_number_on_range, extremal_pair
from theory.alignment.correlations import correlation, matrix_power_psd
from theory.alignment.reversal import reversed_alignment, reversing_data, reversing_label_ratio

seeds = st.integers(0, 10_000)
sizes = st.integers(1, 6)
kappas = st.floats(1, 1e8)
few = settings(max_examples=60, deadline=None)


def alignment(W, K):
    return correlation(W.T @ W, W.T @ K @ W)


def rotation(n, seed):
    Q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    return Q


DERIVATIONS = {
    "bound": bound.derive_bound,
    "sharpness": bound.derive_sharpness,
    "reversal": reversal.derive_reversal,
    "alignment": equivalence.derive_alignment,
    "power": equivalence.derive_power,
    "counterexample": orthant.derive_counterexample,
}


@pytest.mark.parametrize("name", DERIVATIONS)
def test_every_step_of_the_derivations_holds(name):
    results = DERIVATIONS[name]().check()
    assert [r.idea for r in results if not r.holds] == []


# ── bound ────────────────────────────────────────────────────────────────────────────────────────


@given(k=sizes, d=sizes, rank=sizes, features=sizes, spread=st.floats(0, 3), seed=seeds)
@few
def test_no_pair_is_below_the_bound(k, d, rank, features, spread, seed):
    """Of any rank: K may be singular on the range of W, and is elsewhere."""
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((k, rank)) * 10 ** rng.uniform(-spread, 0, rank)
    W = W @ rng.standard_normal((rank, d))
    J = rng.standard_normal((features, k)) * 10 ** rng.uniform(-spread, 0, k)
    kappa = condition_number_on_range(W, J.T @ J)
    assert alignment(W, J.T @ J) >= alignment_bound(kappa) * (1 - 1e-9)


@given(kappa=kappas, a=st.integers(1, 4), b=st.integers(1, 4), more=sizes, seed=seeds)
@few
def test_the_extremal_pair_attains_the_bound(kappa, a, b, more, seed):
    rng = np.random.default_rng(seed)
    W, K = extremal_pair(kappa, (a, b), width=a + b + more, dimension=a + b + 1, rng=rng)
    assert W.shape == (a + b + more, a + b + 1)
    assert alignment(W, K) == pytest.approx(alignment_bound(kappa), rel=1e-7)
    assert condition_number_on_range(W, K) == pytest.approx(kappa, rel=1e-6)


@given(kappa=st.floats(1.5, 1e4), change=st.sampled_from(["weights", "middle", "turned"]))
@few
def test_equality_needs_all_three_conditions(kappa, change):
    """The weights at the two ends, no eigenvalue between them, and WWᵀ commuting with K."""
    W, K = extremal_pair(kappa, (1, 1), width=3, dimension=3)
    if change == "weights":
        W[0, 0] *= 1.05
    elif change == "middle":
        W[2, 2], K[2, 2] = 0.3 * W[0, 0], kappa**0.5
    else:
        c, s = math.cos(0.05), math.sin(0.05)
        W[:2, :2] = np.array([[c, -s], [s, c]]) @ W[:2, :2]
    assert condition_number_on_range(W, K) == pytest.approx(kappa)
    assert alignment(W, K) > alignment_bound(kappa) * (1 + 1e-6)


def test_the_condition_number_is_that_on_the_range_of_the_weights():
    W = np.eye(3)[:, :2] @ np.diag([2.0, 0.5])
    K = np.diag([8.0, 2.0, 1e9])
    assert condition_number_on_range(W, K) == 4.0
    assert condition_number_on_range(W, np.diag([1.0, 0.0, 1.0])) == math.inf
    assert condition_number_on_range(W[:, :1], K) == 1.0
    assert alignment(W[:, :1], K) == 1.0
    # Compressed, not restricted: K is singular, and yet not on this range.
    diagonal = np.array([[1.0], [1.0], [1.0]])
    assert condition_number_on_range(diagonal, np.diag([1.0, 0.0, 0.0])) == 1.0


def test_at_infinite_condition_the_infimum_is_not_attained():
    K = np.diag([1.0, 0.0])
    assert alignment_bound(math.inf) == 0
    found = [alignment(np.diag([s, 1.0]), K) for s in (1.0, 0.1, 1e-3, 1e-6)]
    np.testing.assert_allclose(found, [1 / 2**0.5, 0.01 / 1.0001**0.5, 1e-6, 1e-12], rtol=1e-6)


def test_an_indefinite_matrix_can_be_below_every_bound():
    """Without K ⪰ 0 the statement is false, not just unproved."""
    assert alignment(np.diag([1.0, 1.1]), np.diag([1.0, -1.0])) < 0


def test_values_of_the_bound():
    assert [alignment_bound(x) for x in (1, 4, 9.0, 16)] == [1.0, 0.8, 0.6, 8 / 17]
    assert alignment_bound(1e300) == pytest.approx(2e-150)


@pytest.mark.parametrize("value", [0.5, -1.0, math.nan, 0])
def test_condition_numbers_below_one_are_refused(value):
    for function in (alignment_bound, extremal_pair):
        with pytest.raises(ValueError, match=r"condition_number = .* must be a number >= 1"):
            function(value)


@pytest.mark.parametrize(
    ("W", "K", "message"),
    [
        (np.ones((2, 3)), np.eye(3), r"ptk has shape \(3, 3\), weights have shape \(2, 3\)"),
        (np.zeros((2, 3)), np.eye(2), "weights are zero"),
        (np.eye(2)[:, :1], np.diag([0.0, 1.0]), "ptk is zero on the range of the weights"),
        (np.eye(2), np.diag([1.0, -1.0]), r"ptk has the eigenvalue -1\.0 on the range"),
        (np.eye(2), [[math.nan, 0], [0, 1]], "ptk holds nan"),
    ],
)
def test_pairs_without_a_condition_number_are_refused(W, K, message):
    with pytest.raises(ValueError, match=message):
        condition_number_on_range(W, K)


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="approached but not attained"):
        extremal_pair(math.inf)
    with pytest.raises(ValueError, match="counts = 0 must be an integer >= 1"):
        extremal_pair(2.0, (0, 1))
    with pytest.raises(ValueError, match=r"width, dimension = 2 must be an integer >= 3"):
        extremal_pair(2.0, (1, 2), width=2)
    with pytest.raises(TypeError, match=r"counts = 1\.5 must be an integer"):
        extremal_pair(2.0, (1.5, 1))


# ── reversal ─────────────────────────────────────────────────────────────────────────────────────

ratios = st.floats(1e-3, 1e3)
counts = st.tuples(st.integers(1, 3), st.integers(1, 3))
activations = st.sampled_from(["quadratic", "cubic"])
POWER = {"quadratic": 2, "cubic": 3}


def measured_at_start(data):
    """ρ(ẆᵀẆ, ẆᵀKẆ) and K's condition on the range of Ẇ, with finite sums and no formula."""
    p = POWER[data.activation]
    z = data.inputs @ data.weights.T
    features = data.readout * p * z ** (p - 1)
    residuals = data.targets - z**p @ data.readout
    speed = (features * residuals[:, np.newaxis]).T @ data.inputs
    speed /= np.abs(speed).max()
    ptk = features.T @ features / len(features)
    return alignment(speed, ptk), condition_number_on_range(speed, ptk)


@given(kappa=st.floats(0.01, 100), y=ratios, sizes=counts, name=activations, seed=seeds)
@few
def test_the_closed_form_is_that_of_the_network(kappa, y, sizes, name, seed):
    Q = rotation(sum(sizes), seed)
    data = reversing_data(kappa, y, counts=sizes, activation=name, rotation=Q)
    found, _ = measured_at_start(data)
    assert found == pytest.approx(data.alignment, rel=1e-9)
    assert reversed_alignment(kappa, -y, counts=sizes, activation=name) == data.alignment
    assert data.alignment >= alignment_bound(data.condition_number) * (1 - 1e-12)


@given(kappa=st.floats(1, 1e3), sizes=counts, name=activations, seed=seeds)
@few
def test_the_worst_labels_attain_the_universal_bound(kappa, sizes, name, seed):
    Q = rotation(sum(sizes), seed)
    data = reversing_data(kappa, counts=sizes, activation=name, rotation=Q)
    found, condition = measured_at_start(data)
    assert found == pytest.approx(alignment_bound(kappa), rel=1e-8)
    assert condition == pytest.approx(kappa, rel=1e-8)
    assert data.alignment == pytest.approx(found, rel=1e-8)


@pytest.mark.parametrize("name", ["quadratic", "cubic"])
def test_the_worst_label_ratio_is_where_a_minimiser_finds_it(name):
    def objective(log_y):
        return reversed_alignment(30.0, math.exp(log_y), counts=(2, 5), activation=name)

    worst = reversing_label_ratio(30.0, counts=(2, 5), activation=name)
    bounds = math.log(worst) - 3, math.log(worst) + 2
    found = minimize_scalar(objective, bounds=bounds, method="bounded", options={"xatol": 1e-10})
    assert math.exp(found.x) == pytest.approx(worst, rel=1e-6)


def test_the_alignment_becomes_as_small_as_one_likes_and_nothing_overflows():
    values = [reversing_data(10.0**e).alignment for e in range(0, 12, 2)]
    assert np.all(np.diff(values) < 0)
    assert values[-1] == pytest.approx(2e-5, rel=1e-6)
    assert reversed_alignment(1e150, 1.0) == pytest.approx(1, abs=1e-12)
    assert reversed_alignment(1e-200, 1e200) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", ["quadratic", "cubic"])
def test_gradient_flow_of_the_network_starts_at_the_bound(name):
    torch_room = pytest.importorskip("numerics.alignment")
    data = reversing_data(20.0, counts=(2, 1), activation=name, rotation=rotation(3, 1))
    model = torch_room.two_layer(data.weights, data.readout, data.activation)
    time = 1e-6 / np.abs(data.targets).max()
    flow = torch_room.gradient_flow(model, data.inputs, data.targets, [time])
    ptk = torch_room.layer_matrices(flow.at(0), data.inputs)["0"].ptk
    step = flow.displacements(0)["0.weight"]
    found = torch_room.displacement_nfa(ptk, step)
    assert found == pytest.approx(alignment_bound(20.0), rel=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reversed_alignment(0.0, 1.0), r"condition_number = 0\.0 must be a finite"),
        (lambda: reversed_alignment(2.0, 0.0), r"the size of label_ratio = 0\.0"),
        (lambda: reversing_label_ratio(math.inf), "condition_number = inf"),
        (lambda: reversing_data(2.0, activation="relu"), "must be one of 'quadratic', 'cubic'"),
        (lambda: reversing_data(2.0, counts=(1, 0)), "counts = 0 must be an integer >= 1"),
        (lambda: reversing_data(2.0, counts=(1, 2, 3)), r"counts = \(1, 2, 3\) must be two"),
        (lambda: reversing_data(2.0, rotation=np.eye(3)), r"rotation has shape \(3, 3\); \(2, 2\)"),
        (lambda: reversing_data(2.0, rotation=np.ones((2, 2))), "rotation is not orthogonal"),
    ],
)
def test_data_that_cannot_be_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ── equivalence ──────────────────────────────────────────────────────────────────────────────────


@given(k=sizes, d=sizes, seed=seeds)
@few
def test_the_defect_is_one_minus_the_squared_correlation(k, d, seed):
    rng = np.random.default_rng(seed)
    W, J = rng.standard_normal((k, d)), rng.standard_normal((k + 1, k))
    rho = alignment(W, J.T @ J)
    assert equivalence.alignment_defect(W, J.T @ J) == pytest.approx(1 - rho**2, abs=1e-12)
    singular, C = equivalence.compressed_features(W, J.T @ J)
    S = np.diag(singular)
    assert correlation(S @ S, S @ C @ S) == pytest.approx(rho, abs=1e-12)


def test_the_defect_keeps_its_digits_where_the_correlation_rounds_to_one():
    K = np.diag([1.0, 1.0 + 1e-12])
    assert alignment(np.eye(2), K) == pytest.approx(1, abs=4e-16)
    assert equivalence.alignment_defect(np.eye(2), K) == pytest.approx(2.5e-25, rel=1e-3)


@given(s=st.floats(0.2, 3), rank=st.integers(2, 4), seed=seeds, scale=st.floats(0.1, 10))
@few
def test_only_these_features_align_a_power_of_the_agop(s, rank, seed, scale):
    rng = np.random.default_rng(seed)
    singular = rng.uniform(0.7, 1.5, rank)
    U, V = rotation(rank + 1, seed)[:, :rank], rotation(rank + 2, seed + 1)[:, :rank]
    W = (U * singular) @ V.T
    C = scale * equivalence.aligning_features(singular, s)
    assert power_alignment(W, U @ C @ U.T, s) == pytest.approx(1, abs=1e-10)
    other = C + 0.3 * np.diag(np.diag(C)) @ np.diag(np.arange(rank) % 2)
    assert power_alignment(W, U @ other @ U.T, s) < 1 - 1e-7
    J = rng.standard_normal((rank, rank))
    mixed = C + 0.3 * np.linalg.norm(C) * J @ J.T
    assert power_alignment(W, U @ mixed @ U.T, s) < 1 - 1e-7


def power_alignment(W, K, s):
    return correlation(W.T @ W, matrix_power_psd(W.T @ K @ W, s))


def test_identity_features_align_the_agop_itself():
    W = np.random.default_rng(0).standard_normal((4, 3))
    assert alignment(W, 3 * np.eye(4)) == pytest.approx(1, abs=1e-14)
    assert equivalence.alignment_defect(W, 3 * np.eye(4)) < 1e-28
    np.testing.assert_allclose(equivalence.aligning_features([1.0, 2.0], 1), np.eye(2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: equivalence.compressed_features(np.zeros((2, 2)), np.eye(2)), "weights are zero"),
        (lambda: equivalence.alignment_defect(np.eye(2), np.zeros((2, 2))), "ptk is zero"),
        (lambda: equivalence.alignment_defect(np.eye(2), np.eye(3)), r"ptk has shape \(3, 3\)"),
        (lambda: equivalence.aligning_features([1.0, 0.0], 1), "must be positive, shape"),
        (lambda: equivalence.aligning_features([1.0], 0), "exponent = 0 must be a finite number"),
    ],
)
def test_agreement_that_is_not_defined_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ── counterexample ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_counterexample_by_autograd(d):
    torch_room = pytest.importorskip("numerics.alignment")
    inputs = np.random.default_rng(d).uniform(0.1, 2, (3 * d, d))
    example = orthant.counterexample(inputs)
    model = torch_room.two_layer(example.weights, example.readout, "relu")
    found = torch_room.layer_matrices(model, inputs, agop="gradient")["0"]
    np.testing.assert_allclose(found.agop.numpy(), np.ones((d, d)), rtol=1e-14)
    for s in (0.1, 0.5, 1.0, 4.0):
        power = matrix_power_psd(found.agop.numpy(), s)
        assert correlation(found.nfm.numpy(), power) == pytest.approx(example.alignment, rel=1e-12)
    flow = torch_room.gradient_flow(model, inputs, example.targets, [1.0])
    assert flow.losses[0] < 1e-28
    assert np.abs(flow.moved).max() < 1e-13
    np.testing.assert_array_equal(np.sum(example.weights**2, axis=1), example.readout**2)


def test_it_is_balanced_as_relu_networks_are_and_not_as_linear_ones():
    example = orthant.counterexample(np.ones((1, 4)))
    gap = example.weights @ example.weights.T - np.outer(example.readout, example.readout)
    np.testing.assert_array_equal(np.diag(gap), np.zeros(4))
    assert np.abs(gap).max() == 1
    norm = np.sum(example.weights**2) + np.sum(example.readout**2)
    neuron = 4**-0.25 * np.ones(4), 4**0.25  # the fit of least norm
    np.testing.assert_allclose(neuron[1] * neuron[0], np.ones(4))
    assert np.sum(neuron[0] ** 2) + neuron[1] ** 2 == pytest.approx(norm / 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: orthant.counterexample([[1.0, 0.0]]), r"least entry 0\.0: \(n, d\), all"),
        (lambda: orthant.counterexample([1.0, 2.0]), r"inputs of shape \(2,\)"),
        (lambda: orthant.counterexample([[math.inf]]), "inputs holds inf"),
        (lambda: orthant.counterexample_alignment(0), "dimension = 0 must be an integer"),
        (lambda: orthant.counterexample_alignment(4, -1), "exponent = -1 must be a finite"),
    ],
)
def test_counterexamples_that_cannot_be_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_its_alignment_does_not_depend_on_the_exponent():
    assert {orthant.counterexample_alignment(9, s) for s in (0.1, 1, 7)} == {1 / 3}


@pytest.mark.parametrize("seed", range(8))
def test_a_ptk_that_is_singular_up_to_rounding_is_singular(seed):
    """K of rank 2 on a range of dimension 3: its least eigenvalue is some ±1e-17, not 0."""
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((4, 2))
    assert condition_number_on_range(rng.standard_normal((4, 3)), factor @ factor.T) == np.inf
