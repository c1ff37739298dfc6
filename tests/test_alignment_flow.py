"""Gradient flow against closed solutions, a fixed-step integrator and conservation laws."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from torch import nn

from numerics.alignment import gradient_flow, mlp, two_layer
from numerics.alignment.losses import cross_entropy, logistic, loss_function, squared_error


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def linear(W: np.ndarray) -> nn.Module:
    model = nn.Sequential(nn.Linear(W.shape[1], W.shape[0], bias=False, dtype=torch.float64))
    with torch.no_grad():
        model[0].weight.copy_(torch.as_tensor(W))
    return model


def regression(W: np.ndarray, X: np.ndarray, Y: np.ndarray, t: float, decay: float) -> np.ndarray:
    """W(t) - W(0) for W' = -(WXᵀ - Yᵀ)X - λW: one matrix exponential, without cancellation."""
    d = W.shape[1]
    A = X.T @ X + decay * np.eye(d)
    slope = Y.T @ X - W @ A  # the displacement D has D' = slope - DA
    block = expm(t * np.block([[-A, np.eye(d)], [np.zeros((d, d)), np.zeros((d, d))]]))
    return slope @ block[:d, d:]  # ∫₀ᵗ e^{-As} ds


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_linear_regression_in_closed_form(decay):
    W, X, Y = normal(2, 4), normal(7, 4, seed=1), normal(7, 2, seed=2)
    times = [1e-9, 1e-6, 1e-3, 0.1, 1.0, 10.0]
    flow = gradient_flow(linear(W), X, Y, times, weight_decay=decay)
    for i, t in enumerate(times):
        exact = regression(W, X, Y, t, decay)
        moved = flow.displacements(i)["0.weight"].numpy()
        assert np.linalg.norm(moved - exact) < 1e-9 * np.linalg.norm(exact)
        residual = X @ (W + exact).T - Y
        loss = (residual**2).sum() / 2 + decay / 2 * ((W + exact) ** 2).sum()
        assert flow.losses[i] == pytest.approx(loss, rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    exponent=st.floats(-12, -3),
    scale=st.floats(-3, 3),
    seed=st.integers(0, 2**31),
)
def test_tiny_times_keep_their_digits(exponent, scale, seed):
    W, X, Y = 10**scale * normal(2, 3, seed=seed), normal(5, 3, seed=seed + 1), normal(5, 2)
    t = 10**exponent
    flow = gradient_flow(linear(W), X, Y, [t])
    exact = regression(W, X, Y, t, 0.0)
    moved = flow.displacements(0)["0.weight"].numpy()
    assert np.linalg.norm(moved - exact) < 1e-10 * np.linalg.norm(exact)


def test_intermediate_times_do_not_matter():
    model, X, Y = mlp([3, 6, 2], "erf", bias=True, generator=0), normal(5, 3), normal(5, 2)
    direct = gradient_flow(model, X, Y, [2.0])
    stops = gradient_flow(model, X, Y, np.geomspace(1e-6, 2.0, 9))
    np.testing.assert_allclose(direct.moved[0], stops.moved[-1], rtol=1e-8, atol=1e-9)


def runge_kutta(gradient, start: list[np.ndarray], end: float, steps: int) -> list[np.ndarray]:
    """The classical fourth-order method with equal steps."""
    h, y = end / steps, start

    def ahead(slope: list[np.ndarray], by: float) -> list[np.ndarray]:
        return [a + by * s for a, s in zip(y, slope, strict=True)]

    for _ in range(steps):
        k1 = gradient(y)
        k2 = gradient(ahead(k1, h / 2))
        k3 = gradient(ahead(k2, h / 2))
        k4 = gradient(ahead(k3, h))
        y = [
            a + h / 6 * (p + 2 * q + 2 * r + s)
            for a, p, q, r, s in zip(y, k1, k2, k3, k4, strict=True)
        ]
    return y


def two_layer_slopes(X, Y, loss, decay):
    """-∇(loss + penalty) of f = tanh(XWᵀ)aᵀ, worked out by hand."""

    def errors(f):
        if loss == "mse":
            return f - Y
        if loss == "logistic":
            return -Y / (1 + np.exp(Y * f))
        likely = np.exp(f - f.max(1, keepdims=True))
        return likely / likely.sum(1, keepdims=True) - Y

    def slopes(parameters):
        W, a = parameters
        hidden = np.tanh(X @ W.T)
        error = errors(hidden @ a.T)
        back = (error @ a) * (1 - hidden**2)
        return [-back.T @ X - decay * W, -error.T @ hidden - decay * a]

    return slopes


@pytest.mark.parametrize("loss", ["mse", "logistic", "cross_entropy"])
@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_against_fixed_steps(loss, decay):
    X, W, a = normal(6, 4), normal(5, 4, seed=1), normal(3, 5, seed=2)
    Y = {
        "mse": normal(6, 3, seed=3),
        "logistic": np.sign(normal(6, 3, seed=3)),
        "cross_entropy": np.eye(3)[[0, 1, 2, 0, 1, 1]],
    }[loss]
    flow = gradient_flow(two_layer(W, a, "tanh"), X, Y, [0.5], loss=loss, weight_decay=decay)
    W1, a1 = runge_kutta(two_layer_slopes(X, Y, loss, decay), [W, a], 0.5, 2000)
    end = dict(flow.at(0).named_parameters())
    np.testing.assert_allclose(end["0.weight"].detach(), W1, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(end["2.weight"].detach(), a1, rtol=1e-9, atol=1e-10)


def test_classes_are_one_hot_probabilities():
    model, X, classes = mlp([4, 5, 3], "tanh", generator=0), normal(6, 4), [0, 1, 2, 0, 1, 1]
    by_class = gradient_flow(model, X, np.array(classes), [0.5], loss="cross_entropy")
    by_share = gradient_flow(model, X, np.eye(3)[classes], [0.5], loss="cross_entropy")
    np.testing.assert_allclose(by_class.moved, by_share.moved, rtol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.4])
def test_homogeneous_layers_keep_their_balance(decay):
    """d/dt (‖a_i‖² - ‖w_i‖²) = -2λ(‖a_i‖² - ‖w_i‖²) for every ReLU neuron, kinks included."""
    model, X, Y = mlp([4, 6, 2], "relu", generator=4), normal(4, 4), normal(4, 2)
    times = np.array([0.01, 0.1, 0.3])
    flow = gradient_flow(model, X, Y, times, weight_decay=decay)

    def balance(network: nn.Module) -> torch.Tensor:
        W, a = (network[i].weight.detach() for i in (0, 2))
        return (a**2).sum(0) - (W**2).sum(1)

    for i, t in enumerate(times):
        expected = math.exp(-2 * decay * t) * balance(model)
        torch.testing.assert_close(balance(flow.at(i)), expected, rtol=1e-8, atol=1e-8)


def test_the_loss_falls():
    model, X, Y = mlp([4, 6, 6, 2], "gelu", generator=3), normal(9, 4), normal(9, 2)
    flow = gradient_flow(model, X, Y, [0, 0.1, 0.2, 0.4, 1, 2])
    assert (np.diff(flow.losses) < 0).all()
    start = ((model(torch.as_tensor(X)).detach().numpy() - Y) ** 2).sum() / 2
    assert flow.losses[0] == pytest.approx(start, rel=1e-14)
    assert not flow.moved[0].any()


def test_only_trained_parameters_move():
    model, X, Y = mlp([4, 6, 2], "tanh", bias=True, generator=3), normal(9, 4), normal(9, 2)
    flow = gradient_flow(model, X, Y, [0.5], trained=["2.bias", "0.weight"])
    assert flow.names == ("2.bias", "0.weight")
    assert flow.moved.shape == (1, 2 + 24)
    start, end = dict(model.named_parameters()), dict(flow.at(0).named_parameters())
    for name in start:
        step = (end[name] - start[name]).detach()
        if name in flow.names:
            torch.testing.assert_close(flow.displacements(0)[name], step, rtol=0, atol=1e-15)
            assert step.abs().min() > 0
        else:
            assert not step.any()
    model[0].weight.requires_grad_(False)
    assert gradient_flow(model, X, Y, [0.5]).names == ("0.bias", "2.weight", "2.bias")


def test_the_model_is_left_as_it_was():
    model = mlp([4, 6, 2], "tanh", generator=3, dtype=torch.float32)
    model[2].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    flow = gradient_flow(model, normal(9, 4), normal(9, 2), [0.5])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert [p.requires_grad for p in model.parameters()] == [True, False]
    assert [p.requires_grad for p in flow.at(0).parameters()] == [True, False]
    assert all(p.dtype == torch.float64 for p in flow.at(0).parameters())
    assert all(p.grad is None for p in model.parameters())


def test_one_output_takes_a_vector_of_targets():
    model, X, y = mlp([4, 6, 1], "tanh", generator=3), normal(9, 4), normal(9)
    flat = gradient_flow(model, X, y, [0.5]).moved
    np.testing.assert_array_equal(flat, gradient_flow(model, X, y[:, None], [0.5]).moved)
    squeezed = nn.Sequential(*model, nn.Flatten(0))
    np.testing.assert_allclose(flat, gradient_flow(squeezed, X, y, [0.5]).moved, rtol=1e-12)


def test_a_loss_of_ones_own():
    model, X, Y = mlp([4, 6, 2], "tanh", generator=3), normal(9, 4), normal(9, 2)
    own = gradient_flow(model, X, Y, [0.5], loss=lambda f, y: ((f - y) ** 2).sum() / 2)
    np.testing.assert_allclose(own.moved, gradient_flow(model, X, Y, [0.5]).moved, rtol=1e-12)


def test_a_network_at_rest():
    model = two_layer(np.zeros((3, 2)), np.zeros(3), "tanh")
    assert not gradient_flow(model, normal(5, 2), normal(5), [1.0, 5.0]).moved.any()


def test_gradients_switched_off_outside():
    model, X, Y = mlp([4, 6, 2], "tanh", generator=3), normal(9, 4), normal(9, 2)
    with torch.no_grad():
        off = gradient_flow(model, X, Y, [0.5]).moved
    np.testing.assert_array_equal(off, gradient_flow(model, X, Y, [0.5]).moved)


def test_every_tensor_is_made_on_the_models_device():
    model = mlp([4, 6, 2], "tanh", generator=3)
    X, Y = (torch.as_tensor(normal(9, d)) for d in (4, 2))
    here = gradient_flow(model, X, Y, [0.5])
    with torch.device("meta"):
        there = gradient_flow(model, X, Y, [0.5])
        assert there.at(0)[0].weight.device.type == "cpu"
    np.testing.assert_array_equal(here.moved, there.moved)


# What is refused

MODEL, X, Y = mlp([4, 6, 2], "tanh", generator=3), normal(9, 4), normal(9, 2)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"times": []}, ValueError, r"times = \[\] must be finite numbers"),
        ({"times": [1, np.nan]}, ValueError, "must be finite numbers, shape"),
        ({"times": [1, np.inf]}, ValueError, "must be finite numbers, shape"),
        ({"times": [[1, 2]]}, ValueError, "must be finite numbers, shape"),
        ({"times": [1, 1]}, ValueError, r"times = \[1, 1\] must increase strictly, from 0 on"),
        ({"times": [-1, 1]}, ValueError, "must increase strictly, from 0 on"),
        ({"trained": ["1.weight"]}, ValueError, r"no parameter '1.weight'; the parameters are"),
        ({"trained": []}, ValueError, "no parameter is trained"),
        ({"loss": "hinge"}, ValueError, "loss = 'hinge' must be one of 'mse', 'cross_entropy'"),
        ({"targets": normal(9)}, ValueError, r"targets have shape \(9,\), must be \(9, 2\)"),
        ({"targets": normal(8, 2)}, ValueError, r"targets have shape \(8, 2\), must be \(9, 2\)"),
        ({"targets": np.full((9, 2), np.nan)}, ValueError, "targets hold NaN or infinite"),
        ({"inputs": np.full((9, 4), np.inf)}, ValueError, "inputs hold NaN or infinite"),
        ({"inputs": normal(0, 4)}, ValueError, "at least 1 sample"),
        ({"weight_decay": -1.0}, ValueError, "weight_decay = -1.0 must be a finite number >= 0"),
        ({"rtol": 0}, ValueError, "rtol = 0 must be a finite number > 0"),
        ({"atol": -1}, ValueError, "atol = -1 must be a finite number > 0"),
        ({"max_evaluations": 0}, ValueError, "max_evaluations = 0 must be an integer >= 1"),
        ({"max_evaluations": 1}, ArithmeticError, "used up max_evaluations at t = 0:"),
        ({"method": "Heun"}, ValueError, "method = 'Heun' must be one of"),
        ({"loss": lambda f, y: f - y}, ValueError, r"loss has shape \(9, 2\), must be one number"),
        ({"loss": lambda f, y: f.detach().sum()}, ValueError, "loss is not differentiable"),
        ({"loss": "logistic"}, ValueError, "targets of the logistic loss must be 1 or -1"),
        (
            {"loss": "cross_entropy", "targets": normal(9, 3)},
            ValueError,
            r"classes \(n,\) or probabilities \(n, o\)",
        ),
        (
            {"model": nn.Sequential(MODEL, nn.Dropout(0.5))},
            ValueError,
            "layer '1' drops out at random",
        ),
    ],
)
def test_bad_input_is_refused(changes, error, match):
    usual = {"model": MODEL, "inputs": X, "targets": Y, "times": [0.1]}
    with pytest.raises(error, match=match):
        gradient_flow(**{**usual, **changes})


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_flow_that_blows_up_says_when():
    """θ' = θ³ from θ = 1 reaches infinity at t = 1/2."""
    model, one = linear(np.ones((1, 1))), np.ones((1, 1))
    with pytest.raises(ArithmeticError, match=r"cannot be followed beyond t = 0\.5: .* moved by"):
        gradient_flow(model, one, one, [0.1, 1.0], loss=lambda f, _: -(f**4).sum() / 4)


def test_a_neuron_that_slides_along_its_kink():
    """Both sides push w·x₂ to zero: no step is short enough, and the error says where."""
    inputs, targets = np.array([[1.0, 0.0], [1.0, -1.0]]), np.array([3.0, -10.0])
    model = two_layer([[1.0, 1.05]], [1.0], "relu")
    start = gradient_flow(model, inputs, targets, [0.02], trained=["0.weight"])
    exact = 2 * (1 - math.exp(-0.02))  # before the kink only w₁ moves: w₁' = 3 - w₁
    np.testing.assert_allclose(start.moved, [[exact, 0]], rtol=1e-10)
    with pytest.raises(ArithmeticError, match=r"used up max_evaluations at t = 0\.0253"):
        gradient_flow(
            model, inputs, targets, [1.0], trained=["0.weight"], max_evaluations=2000
        )  # w₁ reaches 1.05 at t = -log(1.95/2) = 0.0253


# Losses


def test_losses_by_definition():
    f, y = torch.as_tensor(normal(5, 3)), torch.as_tensor(normal(5, 3, seed=1))
    assert float(squared_error(f, y)) == pytest.approx(((f - y).numpy() ** 2).sum() / 2)
    sign = y.sign()
    expected = np.log1p(np.exp(-(sign * f).numpy())).sum()
    assert float(logistic(f, sign)) == pytest.approx(expected)
    classes = torch.tensor([0, 1, 2, 2, 1])
    log_softmax = f.numpy() - np.log(np.exp(f.numpy()).sum(1, keepdims=True))
    expected = -log_softmax[range(5), classes.numpy()].sum()
    assert float(cross_entropy(f, classes)) == pytest.approx(expected)
    assert float(cross_entropy(f, classes.double())) == pytest.approx(expected)
    assert loss_function("mse") is squared_error
    assert loss_function(logistic) is logistic


def test_targets_never_broadcast():
    with pytest.raises(ValueError, match=r"targets have shape \(5,\), must be \(5, 5\)"):
        squared_error(torch.zeros(5, 5), torch.zeros(5))
    with pytest.raises(ValueError, match=r"targets have shape \(5, 1\), must be \(5,\)"):
        squared_error(torch.zeros(5), torch.zeros(5, 1))
    with pytest.raises(ValueError, match=r"classes must be integers from 0 to 2"):
        cross_entropy(torch.zeros(2, 3), torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"classes must be integers from 0 to 2"):
        cross_entropy(torch.zeros(2, 3), torch.tensor([0, 0.5]))


def test_models_that_are_not_functions_of_their_parameters_are_refused():
    model = nn.Sequential(nn.Linear(3, 4), nn.RReLU(), nn.Linear(4, 1)).double()
    random = torch.get_rng_state()
    with pytest.raises(ValueError, match="at the same parameters: the model is random"):
        gradient_flow(model, normal(5, 3), normal(5), [1.0])
    assert torch.equal(random, torch.get_rng_state())


def test_a_model_may_overwrite_its_inputs():
    inputs, targets = torch.tensor(normal(5, 3)), normal(5, seed=1)
    before, layer = inputs.clone(), linear(normal(1, 3, seed=2))
    flow = gradient_flow(nn.Sequential(nn.Tanh(), *layer), inputs, targets, [0.1])
    overwriting = nn.Sequential(nn.Hardtanh(-1e3, 1e3, inplace=True), *layer)
    plain = gradient_flow(layer, inputs, targets, [0.1])
    assert np.array_equal(gradient_flow(overwriting, inputs, targets, [0.1]).moved, plain.moved)
    assert not np.array_equal(flow.moved, plain.moved)
    assert torch.equal(inputs, before)


def test_inside_inference_mode():
    model, inputs, targets = mlp([3, 4, 1], generator=0), normal(5, 3), normal(5)
    expected = gradient_flow(model, inputs, targets, [0.1]).moved
    with torch.inference_mode():
        found = gradient_flow(model, torch.tensor(inputs), torch.tensor(targets), [0.1]).moved
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"trained": "0.weight"}, TypeError, "trained = '0.weight' must be a sequence of names"),
        ({"trained": ["0.weight"] * 2}, ValueError, "must hold each name once"),
        ({"loss": lambda f, y: 1.0}, TypeError, "loss returned float, must be a real tensor"),
        ({"loss": lambda f, y: f.sum() + 0j}, TypeError, "loss returned torch.complex128"),
        ({"targets": ["a"] * 5}, TypeError, "targets have dtype <U1, must be real numbers"),
    ],
)
def test_more_bad_input_is_refused(changes, error, match):
    arguments = {"inputs": normal(5, 3), "targets": normal(5), "times": [0.1], **changes}
    with pytest.raises(error, match=match):
        gradient_flow(mlp([3, 4, 1], generator=0), **arguments)
