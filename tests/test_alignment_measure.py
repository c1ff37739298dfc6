"""NFM, AGOP, PTK, NTK and their correlations on many networks, against brute force by definition.

The brute force here uses no hooks: it takes one sample at a time, puts a shift before or after the
layer, and differentiates by the shift.
"""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf
from torch import nn

from numerics import alignment
from numerics.alignment import (
    RandomTwoLayer,
    alignments,
    centred_nfa,
    correlation,
    displacement_nfa,
    empirical_ntk,
    init_removed_nfa,
    initial_alignment,
    layer_matrices,
    matrix_power_psd,
    mean_initial_alignment,
    mlp,
    network_mean,
    parameter_jacobian,
    two_layer,
)
from numerics.alignment import probe as probing
from numerics.alignment.networks import activation_function
from numerics.alignment.outer_products import OuterProducts


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype)


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter and every running statistic drawn anew, so that none is 0 or 1."""
    rng = torch.Generator().manual_seed(seed)
    model = model.double()
    for parameter in model.parameters():
        with torch.no_grad():
            drawn = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
            parameter.copy_(drawn / parameter.shape[-1] ** 0.5)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand(buffer.shape, generator=rng, dtype=torch.float64) + 0.5)
    return model.eval()


class Residual(nn.Module):
    """x + V relu(W norm(x)), the activation in place."""

    def __init__(self, d: int, k: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.up = nn.Linear(d, k)
        self.down = nn.Linear(k, d)

    def forward(self, x):
        return x + self.down(torch.relu_(self.up(self.norm(x))))


class Around(nn.Module):
    """The layer's input reaches the output around it, too, and passes it by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 6)
        self.square = nn.Linear(6, 6)
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        h = torch.tanh(self.first(x))
        h = h + torch.sin(self.square(input=h)) * h
        return self.last(h)


class Attention(nn.Module):
    """A transformer block on (n, tokens, d), pooled to two outputs."""

    def __init__(self, d: int = 4) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(d, d) for _ in range(4))
        self.norms = nn.ModuleList([nn.LayerNorm(d), nn.LayerNorm(d)])
        self.feed = nn.Sequential(nn.Linear(d, 7), nn.GELU(), nn.Linear(7, d))
        self.head = nn.Linear(d, 2)

    def forward(self, x):
        h = self.norms[0](x)
        scores = self.query(h) @ self.key(h).mT / h.shape[-1] ** 0.5
        x = x + self.out(scores.softmax(-1) @ self.value(h))
        x = x + self.feed(self.norms[1](x))
        return self.head(x.mean(1))


class Twice(nn.Module):
    """One layer that acts twice in a forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(5, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.shared(torch.tanh(self.shared(x)))))


class Flattened(nn.Module):
    """Tokens folded into the batch axis, outputs of shape (n, 2, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Linear(4, 5)
        self.head = nn.Linear(15, 6, bias=False)

    def forward(self, x):
        folded = torch.tanh(self.token(x.reshape(-1, 4)))
        return self.head(folded.reshape(x.shape[0], -1)).reshape(-1, 2, 3)


class Embedded(nn.Module):
    """Integer inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return torch.tanh(self.head(self.embedding(x))).mean(1)


def normed(norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6), norm, nn.ReLU(inplace=True), nn.Linear(6, 3))


NETWORKS = {
    "relu": (mlp([5, 7, 6, 3], "relu", bias=True, generator=1), normal(8, 5)),
    "no bias": (mlp([5, 7, 1], "tanh", generator=1), normal(8, 5)),
    "deep linear": (mlp([5, 4, 6, 2], "linear", generator=1), normal(8, 5)),
    "layer norm": (randomised(normed(nn.LayerNorm(6))), normal(8, 5)),
    "batch norm": (randomised(normed(nn.BatchNorm1d(6))), normal(8, 5)),
    "residual": (
        randomised(nn.Sequential(Residual(5, 7), Residual(5, 6), nn.Linear(5, 3))),
        normal(8, 5),
    ),
    "around": (randomised(Around()), normal(8, 5)),
    "attention": (randomised(Attention()), normal(6, 3, 4)),
    "twice": (randomised(Twice()), normal(8, 5)),
    "flattened": (randomised(Flattened()), normal(6, 3, 4)),
    "embedded": (
        randomised(Embedded()),
        torch.randint(9, (6, 3), generator=torch.Generator().manual_seed(0)),
    ),
    "scalar output": (
        nn.Sequential(mlp([5, 6, 1], "gelu", generator=3), nn.Flatten(0)),
        normal(8, 5),
    ),
    "one layer": (randomised(nn.Linear(5, 3)), normal(8, 5)),
}  # fmt: skip


def apart(A: torch.Tensor, B: torch.Tensor) -> float:
    return float((A - B).norm() / B.norm())


class Shifted(nn.Module):
    """A layer with a shift before it and one after it, a fresh pair for each use."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer, self.before, self.after, self.shift = layer, [], [], 0
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, input):  # noqa: A002 - the name that torch.nn.Linear has
        input = input + self.shift  # noqa: A001
        self.before.append(torch.zeros_like(input, requires_grad=True))
        z = self.layer(input + self.before[-1])
        self.after.append(torch.zeros_like(z, requires_grad=True))
        return z + self.after[-1]


def replaced(model: nn.Module, name: str) -> tuple[nn.Module, Shifted]:
    model = copy.deepcopy(model)
    shifted = Shifted(model.get_submodule(name))
    if not name:
        return shifted, shifted
    path, _, last = name.rpartition(".")
    setattr(model.get_submodule(path), last, shifted)
    return model, shifted


def brute_force(model: nn.Module, inputs: torch.Tensor, name: str) -> tuple[torch.Tensor, ...]:
    """AGOP and K of a layer by definition: one sample, one output, one use, one position."""
    model, shifted = replaced(model, name)
    d, k = shifted.layer.in_features, shifted.layer.out_features
    agop, ptk = torch.zeros(d, d, dtype=torch.float64), torch.zeros(k, k, dtype=torch.float64)
    for x in inputs:
        shifted.before, shifted.after = [], []
        for output in model(x[None]).flatten():
            for shifts, total in ((shifted.before, agop), (shifted.after, ptk)):
                for gradient in torch.autograd.grad(output, shifts, retain_graph=True):
                    for g in gradient.reshape(-1, gradient.shape[-1]):
                        total += torch.outer(g, g) / len(inputs)
    return agop, ptk


def test_every_public_name_resolves():
    assert all(getattr(alignment, name) is not None for name in alignment.__all__)
    assert dir(alignment) == alignment.__all__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = alignment.nonsense


def test_importing_does_not_load_torch():
    code = "import sys, numerics.alignment; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


# The matrices


@pytest.mark.parametrize("name", NETWORKS)
def test_agop_from_gradients_is_wkw(name):
    model, inputs = NETWORKS[name]
    measured = layer_matrices(model, inputs, agop="gradient")
    assert measured
    for layer in measured.values():
        W = layer.weight
        assert apart(W.T @ layer.ptk @ W, layer.agop) < 1e-13
        assert apart(W.T @ W, layer.nfm) == 0


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("agop", ["ptk", "gradient"])
def test_against_brute_force(name, agop):
    model, inputs = NETWORKS[name]
    for layer, measured in layer_matrices(model, inputs, agop=agop).items():
        by_definition = brute_force(model, inputs, layer)
        assert apart(measured.agop, by_definition[0]) < 1e-13
        assert apart(measured.ptk, by_definition[1]) < 1e-13
        assert torch.equal(measured.weight, model.get_submodule(layer).weight)


@pytest.mark.parametrize(
    ("name", "layer"), [("around", "square"), ("attention", "value"), ("residual", "1.up")]
)
def test_against_finite_differences(name, layer):
    """The outputs' differences when the layer's input alone is moved; no autograd."""
    model, inputs = NETWORKS[name]
    model, shifted = replaced(model, layer)
    d, step = shifted.layer.in_features, 1e-5

    def moved(x: torch.Tensor, place: int, by: float) -> torch.Tensor:
        one = torch.eye(d * (x.numel() // x.shape[-1]), dtype=x.dtype)[place]
        shifted.shift = by * one.reshape(1, *x.shape[:-1], d)
        return model(x[None]).flatten()

    agop = torch.zeros(d, d, dtype=torch.float64)
    with torch.no_grad():
        for x in inputs:
            places = d * (x.shape[0] if x.ndim == 2 else 1)
            gradient = torch.stack(
                [(moved(x, p, step) - moved(x, p, -step)) / (2 * step) for p in range(places)]
            )
            for rows in gradient.reshape(-1, d, gradient.shape[-1]):
                agop += rows @ rows.T / len(inputs)
    assert apart(layer_matrices(*NETWORKS[name], [layer])[layer].agop, agop) < 1e-8


@settings(max_examples=30, deadline=None)
@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=6),
    activation=st.sampled_from(["relu", "erf", "linear", "tanh", "softplus", "gelu", "hermite3"]),
    bias=st.booleans(),
    samples=st.integers(1, 12),
    batch_size=st.integers(1, 13),
    seed=st.integers(0, 2**31),
)
def test_random_networks(widths, activation, bias, samples, batch_size, seed):
    model = mlp(widths, activation, bias=bias, generator=seed)
    inputs = normal(samples, widths[0], seed=seed)
    whole = layer_matrices(model, inputs, agop="gradient")
    chunks = layer_matrices(model, inputs, batch_size=batch_size)
    assert list(whole) == list(chunks) == [str(2 * i) for i in range(len(widths) - 1)]
    for name, layer in whole.items():
        scale = float(layer.agop.norm()) + 1e-300
        assert float((layer.agop - chunks[name].agop).norm()) <= 1e-13 * scale
        assert float((layer.ptk - chunks[name].ptk).norm()) <= 1e-13 * float(layer.ptk.norm())
        assert torch.equal(layer.ptk, layer.ptk.T)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch_size", [1, 3, 5, 100])
def test_chunks_do_not_change_the_result(name, batch_size):
    model, inputs = NETWORKS[name]
    whole = layer_matrices(model, inputs)
    chunks = layer_matrices(model, inputs, batch_size=batch_size, agop="gradient")
    for layer in whole:
        assert apart(chunks[layer].agop, whole[layer].agop) < 1e-13
        assert apart(chunks[layer].ptk, whole[layer].ptk) < 1e-13


def test_outputs_add_up_and_can_be_chosen():
    model, inputs = NETWORKS["flattened"]
    whole = layer_matrices(model, inputs)["token"].ptk
    parts = [layer_matrices(model, inputs, outputs=[c])["token"].ptk for c in range(6)]
    assert apart(sum(parts), whole) < 1e-14
    some = layer_matrices(model, inputs, outputs=range(2, 5))["token"].ptk
    assert apart(some, parts[2] + parts[3] + parts[4]) < 1e-14


def test_layers_can_be_chosen():
    model, inputs = NETWORKS["attention"]
    assert list(layer_matrices(model, inputs, ["head", "query"])) == ["head", "query"]
    assert len(layer_matrices(model, inputs)) == 7


def test_torchs_own_transformer_layer():
    """Its attention multiplies by the weights of `out_proj` without calling that layer."""
    block = nn.TransformerEncoderLayer(4, 2, 6, 0.0, batch_first=True, dtype=torch.float64)
    model = randomised(nn.Sequential(block, nn.Flatten(), nn.Linear(12, 2)))
    inputs = normal(6, 3, 4)
    measured = layer_matrices(model, inputs, agop="gradient")
    assert list(measured) == ["0.linear1", "0.linear2", "2"]
    for name, layer in measured.items():
        assert apart(layer.agop, brute_force(model, inputs, name)[0]) < 1e-13
    frozen = layer_matrices(model.requires_grad_(False), inputs, agop="gradient")
    assert all(apart(frozen[name].agop, measured[name].agop) < 1e-13 for name in measured)
    with pytest.raises(ValueError, match=r"layers \['0.self_attn.out_proj'\] are not called"):
        layer_matrices(model, inputs, ["2", "0.self_attn.out_proj"])


def test_parametrised_weights():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(5, 4, dtype=torch.float64))
    model = nn.Sequential(layer, nn.Tanh(), nn.Linear(4, 2, dtype=torch.float64))
    measured = layer_matrices(model, normal(7, 5), agop="gradient")["0"]
    assert apart(measured.weight.T @ measured.ptk @ measured.weight, measured.agop) < 1e-13


def test_single_and_half_precision():
    model, inputs = mlp([5, 7, 6, 3], bias=True, generator=1), normal(50, 5)
    exact = layer_matrices(model, inputs)
    for dtype, digits in ((torch.float32, 1e-6), (torch.bfloat16, 3e-2)):
        rounded = copy.deepcopy(model).to(dtype)
        for agop in ("ptk", "gradient"):
            measured = layer_matrices(rounded, inputs.to(dtype), agop=agop, batch_size=16)
            for name, layer in measured.items():
                assert layer.agop.dtype == layer.ptk.dtype == torch.float32
                assert apart(layer.agop.double(), exact[name].agop) < digits


def test_every_tensor_is_made_on_the_models_device():
    """With another default device, whatever is made without naming a device does not fit."""
    model, inputs = NETWORKS["around"]
    here = layer_matrices(model, inputs, agop="gradient")
    with torch.device("meta"):
        there = layer_matrices(model, inputs, agop="gradient")
        kernel = empirical_ntk(model, inputs, "square")
        assert list(alignments(model, inputs)) == list(here)
    assert kernel.device.type == "cpu"
    for name in here:
        assert torch.equal(here[name].agop, there[name].agop)


def test_the_matrices_are_the_callers():
    """Training on does not change what was measured."""
    model, inputs = copy.deepcopy(NETWORKS["relu"][0]), NETWORKS["relu"][1]
    measured = layer_matrices(model, inputs)["2"]
    weight = measured.weight.clone()
    with torch.no_grad():
        model[2].weight.add_(1)
    assert torch.equal(measured.weight, weight)


def test_arrays_take_the_models_precision():
    model, inputs = mlp([5, 6, 2], generator=1, dtype=torch.float32), normal(8, 5)
    taken = layer_matrices(model, inputs.numpy())["0"]
    assert torch.equal(taken.ptk, layer_matrices(model, inputs.float())["0"].ptk)


def test_gradients_switched_off_outside():
    model, inputs = copy.deepcopy(NETWORKS["around"][0]), NETWORKS["around"][1]
    usual = layer_matrices(model, inputs, agop="gradient")
    model.requires_grad_(False)
    with torch.no_grad():
        frozen = layer_matrices(model, inputs, agop="gradient")
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        inferred = layer_matrices(model, inputs.clone(), agop="gradient")
    for name in usual:
        assert torch.equal(usual[name].agop, frozen[name].agop)
        assert torch.equal(usual[name].agop, inferred[name].agop)
        assert not usual[name].agop.requires_grad


def test_the_users_hooks_stay_and_do_not_disturb():
    model, inputs = copy.deepcopy(NETWORKS["relu"][0]), NETWORKS["relu"][1]
    model[0].register_forward_hook(lambda layer, args, z: 2 * z)
    measured = layer_matrices(model, inputs, agop="gradient")["0"]
    assert apart(measured.weight.T @ measured.ptk @ measured.weight, measured.agop) < 1e-13
    assert len(model[0]._forward_hooks) == 1


class Failing(nn.Module):
    """Raises at the second forward pass of more than two samples."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.passes = nn.Linear(5, 2, dtype=torch.float64), 0

    def forward(self, x):
        self.passes += len(x) > 2
        if self.passes > 1:
            raise RuntimeError("out of order")
        return self.layer(x)


def state(model: nn.Module) -> list[object]:
    modules = list(model.modules())
    return [
        [(len(m._forward_hooks), len(m._forward_pre_hooks), m.training) for m in modules],
        [(p.requires_grad, p.grad, p._version) for p in model.parameters()],
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
    ]


@pytest.mark.parametrize("agop", ["ptk", "gradient"])
def test_the_model_is_left_as_it_was(agop):
    model, inputs = copy.deepcopy(NETWORKS["relu"][0]).train(), NETWORKS["relu"][1]
    model[2].eval()
    model[2].weight.requires_grad_(False)
    model[4].weight.grad = torch.ones_like(model[4].weight)
    before = state(model)
    layer_matrices(model, inputs, agop=agop)
    empirical_ntk(model, inputs)
    assert state(model) == before
    failing = Failing()
    failing.layer.bias.requires_grad_(False)
    before = state(failing)
    with pytest.raises(RuntimeError, match="out of order"):
        layer_matrices(failing, inputs, batch_size=3, agop=agop)
    with pytest.raises(RuntimeError, match="out of order"):
        empirical_ntk(failing, inputs)
    assert state(failing) == before
    detached = Applied(lambda z: z.argmax(1))
    before = state(detached)
    with pytest.raises(TypeError, match="not differentiable"):
        layer_matrices(detached, inputs, agop=agop)
    assert state(detached) == before


# What is refused


class Applied(nn.Module):
    """A linear layer whose output goes through a function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(5, 3, dtype=torch.float64), function

    def forward(self, x):
        return self.function(self.layer(x))


def with_weight(value: float) -> nn.Module:
    model = mlp([5, 4, 2], bias=True, generator=0)
    with torch.no_grad():
        model[2].weight[1, 2] = value
    return model


MEASURES = [layer_matrices, empirical_ntk, alignments]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("model", "error", "match"),
    [
        (with_weight(np.nan), ValueError, "parameter '2.weight' holds NaN or infinite entries"),
        (with_weight(-np.inf), ValueError, "parameter '2.weight' holds NaN or infinite entries"),
        (Applied(lambda z: z.argmax(1)), TypeError, "dtype torch.int64 and is not differentiable"),
        (Applied(lambda z: z > 0), TypeError, "dtype torch.bool and is not differentiable"),
        (Applied(lambda z: z.detach()), ValueError, "not differentiable: it is detached"),
        (Applied(lambda z: z.sum()), ValueError, r"shape \(\), its first axis must be the"),
        (Applied(lambda z: z.T), ValueError, r"shape \(3, .\), its first axis must be the"),
        (Applied(lambda z: z[:, :0]), ValueError, r"shape \(., 0\): it has no entries"),
        (Applied(lambda z: (z, z)), TypeError, "the model returned tuple, must be a tensor"),
        (Applied(lambda z: (z - 99).log()), ValueError, "the output holds NaN"),
        (normed(nn.BatchNorm1d(6)).double(), ValueError, "layer '1' .BatchNorm1d. normalises by"),
        (
            normed(nn.BatchNorm1d(6, track_running_stats=False)).double().eval(),
            ValueError,
            "statistics, so samples mix: call",
        ),
        (normed(nn.Dropout(0.5)).double(), ValueError, "layer '1' drops out at random: call"),
        (
            nn.Sequential(nn.Linear(5, 4), nn.MultiheadAttention(4, 2, 0.5)).double(),
            ValueError,
            "layer '1' drops out at random: call",
        ),
        (nn.Sequential(nn.LazyLinear(3)), ValueError, "parameter '0.weight' is not initialised"),
    ],
)  # fmt: skip
def test_models_are_refused(measure, model, error, match):
    with pytest.raises(error, match=match):
        measure(model, normal(6, 5))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("inputs", "error", "match"),
    [
        (
            torch.zeros(0, 5).double(),
            ValueError,
            r"shape \(0, 5\): there must be at least 1 sample",
        ),
        (torch.tensor(1.0).double(), ValueError, r"shape \(\): there must be at least 1 sample"),
        (torch.full((6, 5), np.nan).double(), ValueError, "inputs hold NaN or infinite entries"),
        (np.full((6, 5), np.inf), ValueError, "inputs hold NaN or infinite entries"),
        (torch.ones(6, 5), TypeError, "dtype torch.float32, the model has torch.float64"),
    ],
)
def test_inputs_are_refused(measure, inputs, error, match):
    with pytest.raises(error, match=match):
        measure(mlp([5, 4, 2], generator=0), inputs)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        ({"layers": ["1"]}, ValueError, r"no linear layer '1'; the linear layers are \['0', '2'\]"),
        ({"layers": "0"}, TypeError, r"layers = '0' must be a sequence of names, such as \['0'\]"),
        ({"layers": []}, ValueError, r"layers = \[\] names no layer; there are \['0', '2'\]"),
        ({"batch_size": 0}, ValueError, "batch_size = 0 must be an integer >= 1"),
        ({"batch_size": 2.0}, TypeError, "batch_size = 2.0 must be an integer"),
        ({"agop": "exact"}, ValueError, "agop = 'exact' must be one of 'ptk', 'gradient'"),
        ({"outputs": [2]}, ValueError, r"outputs = \[2\] must be among 0 to 1"),
        ({"outputs": []}, ValueError, r"outputs = \[\] must be among 0 to 1"),
        ({"outputs": [-1]}, ValueError, "outputs = -1 must be an integer >= 0"),
        ({"outputs": [1, 1]}, ValueError, r"outputs = \[1, 1\] must be among 0 to 1, each once"),
        ({"outputs": 1}, TypeError, "outputs = 1 must be a sequence of indices"),
        ({"layers": 0}, TypeError, "layers = 0 must be a sequence of names"),
    ],
)
def test_arguments_are_refused(call, error, match):
    with pytest.raises(error, match=match):
        layer_matrices(mlp([5, 4, 2], generator=0), normal(6, 5), **call)


def test_modules_without_linear_layers():
    with pytest.raises(ValueError, match="the model has no linear layers: Conv1d"):
        layer_matrices(nn.Conv1d(1, 1, 1), normal(6, 5))
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module"):
        layer_matrices(torch.tanh, normal(6, 5))
    with pytest.raises(ValueError, match="no linear layer '1'"):
        empirical_ntk(mlp([5, 4, 2], generator=0), normal(6, 5), "1")
    with pytest.raises(ValueError, match="the model has no parameters: Tanh"):
        empirical_ntk(nn.Tanh(), normal(6, 5))


class Unused(nn.Module):
    """A second head whose output is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.other = (nn.Linear(5, 2, dtype=torch.float64) for _ in range(2))

    def forward(self, x):
        self.other(x)
        return self.head(x)


def test_a_layer_without_influence():
    with pytest.raises(ValueError, match="the output does not depend on layer 'other'"):
        layer_matrices(Unused(), normal(6, 5))
    assert list(layer_matrices(Unused(), normal(6, 5), ["head"])) == ["head"]


class Doubled(nn.Linear):
    """Its weight is not the derivative of what it returns."""

    def forward(self, x):
        return 2 * super().forward(x)


def made_in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return mlp([5, 4, 2], generator=0)


def with_lazy_buffers() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 3), nn.LazyBatchNorm1d(affine=False)).double().eval()


@pytest.mark.parametrize(
    ("model", "error", "match"),
    [
        (Doubled(5, 3).double(), ValueError, "layer '' .Doubled. does not return Wh"),
        (nn.Linear(5, 3, dtype=torch.complex128), TypeError, "layer '' returns torch.complex128"),
        (made_in_inference_mode(), ValueError, "'0.weight' was made in inference mode"),
        (nn.Linear(5, 3, device="meta"), ValueError, "'weight' is on the device meta"),
        (with_lazy_buffers(), ValueError, "buffer '1.running_mean' is not initialised"),
    ],
)
def test_layers_that_cannot_be_measured(model, error, match):
    complex_inputs = torch.as_tensor(normal(6, 5), dtype=torch.complex128)
    with pytest.raises(error, match=match):
        layer_matrices(model, complex_inputs if error is TypeError else normal(6, 5))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("middle", "match"),
    [
        (nn.RReLU(), "the forward pass draws random numbers: call"),
        (
            nn.Sequential(
                nn.Unflatten(1, (2, 3)),
                nn.InstanceNorm1d(2, track_running_stats=True),
                nn.Flatten(),
            ),
            r"changes the buffers \['1.1.running_mean', '1.1.running_var'\]: call",
        ),
        (
            nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6)),
            "changes the buffers .*_u.*_v.*: call",
        ),
    ],
)
def test_forward_passes_that_leave_a_trace(measure, middle, match):
    model = nn.Sequential(nn.Linear(5, 6), middle, nn.Linear(6, 2)).double().train()
    buffers = copy.deepcopy(dict(model.named_buffers()))
    random = torch.get_rng_state()
    with pytest.raises(ValueError, match=match):
        measure(model, normal(6, 5))
    assert torch.equal(random, torch.get_rng_state())
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, buffers[name])
    measure(model.eval(), normal(6, 5))


@pytest.mark.parametrize(
    ("inputs", "error", "match"),
    [
        (torch.eye(5).double().to_sparse(), TypeError, "inputs have layout torch.sparse_coo"),
        (torch.ones(6, 5, device="meta"), ValueError, "inputs are on the device meta"),
        (np.ma.masked_equal(np.eye(5), 0), ValueError, "inputs have masked entries"),
        ([[1.0], [2.0, 3.0]], ValueError, "inputs cannot be made an array"),
        (None, TypeError, "inputs have dtype object, must be real numbers"),
        (
            normal(6, 5).numpy() + 1j,
            TypeError,
            "inputs have dtype complex128, must be real numbers",
        ),
        (normal(6, 4), RuntimeError, r"called on inputs of shape \(2, 4\), dtype torch.float64"),
        (np.ones((6, 5), int), RuntimeError, r"called on inputs of shape .*, dtype torch.int64"),
    ],
)
def test_inputs_that_are_no_numbers(inputs, error, match):
    with pytest.raises(error, match=match):
        layer_matrices(mlp([5, 4, 2], generator=0), inputs)


def test_inputs_of_every_make():
    model, inputs = mlp([5, 4, 2], generator=0), normal(6, 5).numpy()
    frozen = inputs.copy()
    frozen.flags.writeable = False
    with torch.inference_mode():
        inference = torch.tensor(inputs)
    expected = layer_matrices(model, torch.tensor(inputs))["0"].ptk
    made = (
        frozen,
        inputs.astype(">f8"),
        inputs[::-1],
        inputs.tolist(),
        list(map(torch.tensor, inputs)),
    )
    for each in (*made, inference, inputs.astype(np.longdouble)):
        torch.testing.assert_close(layer_matrices(model, each)["0"].ptk, expected)


def test_a_model_may_overwrite_its_inputs():
    inputs = normal(6, 5)
    before, layer = inputs.clone(), mlp([5, 2], generator=0)
    model = nn.Sequential(nn.ReLU(inplace=True), *layer)
    found = layer_matrices(model, inputs, agop="gradient")["1"]
    assert torch.equal(inputs, before)
    assert torch.equal(found.agop, layer_matrices(layer, inputs.relu(), agop="gradient")["0"].agop)
    empirical_ntk(model, inputs)
    assert torch.equal(inputs, before)


def test_integers_that_mix():
    model = Applied(lambda z: z - z.mean(0).detach())
    model.layer = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3)).double()
    with pytest.raises(ValueError, match="samples mix: the output of one sample depends"):
        layer_matrices(model, torch.arange(6))


def test_samples_that_mix_without_a_known_layer():
    centred = Applied(lambda z: z - z.mean(0))
    with pytest.raises(ValueError, match="samples mix: the output of one sample depends"):
        layer_matrices(centred, normal(6, 5))


# Memory


def test_chunks_fit_into_memory(monkeypatch):
    """A wider network sends fewer samples at a time through; the result is the same."""
    sizes = []
    forward = alignment.measure._forward
    monkeypatch.setattr(
        alignment.measure, "_forward", lambda m, x, t: (sizes.append(len(x)), forward(m, x, t))[1]
    )
    model, inputs = mlp([5, 200, 200, 2], generator=0), normal(40, 5)
    whole = layer_matrices(model, inputs)["2"]
    monkeypatch.setattr(probing, "MEMORY", 2**15)
    chunks = layer_matrices(model, inputs)["2"]
    assert sizes[0] == 40
    assert max(sizes[1:]) * 200 * 8 * 2 <= 2**15
    assert apart(chunks.ptk, whole.ptk) < 1e-13


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), st.lists(st.integers(0, 9), min_size=1, max_size=3), st.integers(0, 99))
def test_sums_of_outer_products(width, counts, seed):
    total, rows = OuterProducts(), normal(sum(counts), width, seed=seed)
    for portion in torch.split(rows, counts):
        total.add(portion)
    assert torch.equal(total.matrix(), total.matrix().T)
    torch.testing.assert_close(total.matrix(), rows.T @ rows, rtol=1e-13, atol=1e-13)


def test_nothing_to_sum():
    with pytest.raises(ValueError, match="no rows have been added"):
        OuterProducts().matrix()


# Correlations


def test_correlation_by_hand():
    A = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double()
    B = torch.tensor([[2.0, 0.0], [0.0, 1.0]]).double()
    assert correlation(A, B) == pytest.approx(6 / 150**0.5, rel=1e-15)
    pearson = np.corrcoef(A.numpy().ravel(), B.numpy().ravel())[0, 1]
    assert correlation(A, B, "pearson") == pytest.approx(pearson, rel=1e-14)
    assert correlation(A * 1e200, B * 1e-200) == pytest.approx(correlation(A, B), rel=1e-14)


@pytest.mark.parametrize(
    ("A", "B", "kind", "match"),
    [
        (torch.ones(2, 2), torch.ones(3, 3), "cosine", r"A has shape \(2, 2\), B \(3, 3\)"),
        (torch.ones(2, 2), torch.ones(2, 2), "spearman", "kind = 'spearman' must be one of"),
        (torch.zeros(2, 2), torch.ones(2, 2), "cosine", "A is zero .or constant."),
        (torch.eye(2), torch.ones(2, 2), "pearson", "B is zero .or constant."),
        (torch.eye(2), torch.full((2, 2), np.nan), "cosine", "B holds NaN or infinite"),
    ],
)
def test_correlations_that_do_not_exist(A, B, kind, match):
    with pytest.raises(ValueError, match=match):
        correlation(A, B, kind)


def test_powers():
    half = normal(6, 4)
    matrix = half @ half.T  # rank 4: rounding makes some eigenvalues negative
    root = matrix_power_psd(matrix, 0.5)
    torch.testing.assert_close(root @ root, matrix, rtol=1e-12, atol=1e-12)
    assert matrix_power_psd(matrix, 1) is matrix
    with pytest.raises(ValueError, match="power = 0 must be a finite number > 0"):
        matrix_power_psd(matrix, 0)


def test_the_ansatz_by_definition():
    model, inputs = mlp([5, 7, 6, 3], bias=True, generator=1), normal(20, 5)
    initial = mlp([5, 7, 6, 3], bias=True, generator=2)
    for given_initial in (initial, initial.state_dict()):
        found = alignments(model, inputs, given_initial)
        for name, layer in found.items():
            agop, ptk = brute_force(model, inputs, name)
            W, W0 = model.get_submodule(name).weight, initial.get_submodule(name).weight
            step = (W - W0).detach()
            W, W0 = W.detach(), W0.detach()
            assert layer.uncentred == pytest.approx(correlation(agop, W.T @ W), rel=1e-12)
            centred = correlation(step.T @ ptk @ step, step.T @ step)
            assert layer.centred == pytest.approx(centred, rel=1e-12)
            assert layer.moved == pytest.approx(float(step.norm() / W0.norm()), rel=1e-12)
            assert centred_nfa(layer.matrices, W0) == layer.centred
            assert displacement_nfa(layer.matrices.ptk, 1e-200 * step) == pytest.approx(centred)
            removed = correlation(agop, step.T @ step)
            assert init_removed_nfa(layer.matrices, W0) == pytest.approx(removed, rel=1e-12)


def test_variants_of_the_ansatz():
    model, inputs = mlp([5, 7, 3], "tanh", generator=1), normal(20, 5)
    found = alignments(model, inputs, None, ["0"], power=0.5, kind="pearson")
    assert found["0"].centred is None
    assert found["0"].moved is None
    root = matrix_power_psd(brute_force(model, inputs, "0")[0], 0.5)
    pearson = np.corrcoef(root.numpy().ravel(), found["0"].matrices.nfm.numpy().ravel())[0, 1]
    assert found["0"].uncentred == pytest.approx(pearson, rel=1e-12)


def test_centred_errors():
    model, inputs = mlp([5, 7, 3], "tanh", generator=1), normal(20, 5)
    with pytest.raises(ValueError, match="layer '0' has not moved"):
        alignments(model, inputs, model)
    dead = two_layer(np.ones((3, 5)), np.zeros(3))
    with pytest.raises(ValueError, match="layer '0' has no alignment of AGOP and NFM: A is zero"):
        alignments(dead, inputs)
    with pytest.raises(ValueError, match="initial has no weight for layer '2'; it has"):
        alignments(model, inputs, {"0.weight": model[0].weight + 1})
    with pytest.raises(ValueError, match=r"shape \(4, 5\), must be \(7, 5\)"):
        alignments(model, inputs, mlp([5, 4, 3], generator=0))
    with pytest.raises(ValueError, match="has not moved: its centred correlation is undefined"):
        centred_nfa(layer_matrices(model, inputs)["0"], model[0].weight)


# The empirical NTK


def test_ntk_of_a_two_layer_network_by_hand():
    W, a, X = normal(6, 4), normal(6, seed=1), normal(5, 4, seed=2)
    Z = X @ W.T
    slopes = a * (1 - torch.tanh(Z) ** 2)
    of_weights = (slopes @ slopes.T) * (X @ X.T)
    of_readout = torch.tanh(Z) @ torch.tanh(Z).T
    model = two_layer(W, a, "tanh")
    torch.testing.assert_close(empirical_ntk(model, X, "0"), of_weights)
    torch.testing.assert_close(empirical_ntk(model, X, "2"), of_readout)
    torch.testing.assert_close(empirical_ntk(model, X), of_weights + of_readout)
    torch.testing.assert_close(empirical_ntk(model, X[:2], other=X), (of_weights + of_readout)[:2])


def test_ntk_by_finite_differences():
    model, inputs = NETWORKS["attention"]
    model, inputs = copy.deepcopy(model).requires_grad_(False), inputs[:3]
    jacobian = parameter_jacobian(model, inputs, "value")
    assert not model.value.weight.requires_grad
    for place in range(model.value.weight.numel()):
        outputs = []
        for step in (1e-5, -1e-5):
            moved = copy.deepcopy(model)
            moved.value.weight.view(-1)[place] += step
            outputs.append(moved(inputs).flatten())
        slope = (outputs[0] - outputs[1]) / 2e-5
        torch.testing.assert_close(jacobian[:, place], slope, rtol=1e-6, atol=1e-9)


# Networks


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("relu", lambda z: np.maximum(z, 0)),
        ("erf", erf),
        ("linear", lambda z: z),
        ("quadratic", lambda z: z * z),
        ("cubic", lambda z: z * z * z),
        ("tanh", np.tanh),
        ("softplus", lambda z: np.log1p(np.exp(z))),
        ("gelu", lambda z: z * (1 + erf(z / 2**0.5)) / 2),
        *((f"hermite{p}", lambda z, p=p: np.polynomial.hermite_e.hermeval(z, [0] * p + [1])
           / np.prod(np.arange(1.0, p + 1)) ** 0.5) for p in range(8)),
    ],
)  # fmt: skip
def test_activations(name, function):
    z = np.linspace(-3, 3, 41)
    ours = activation_function(name)(torch.as_tensor(z)).numpy()
    np.testing.assert_allclose(ours, function(z), rtol=1e-13, atol=1e-14)


def test_networks_are_seeded_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    model = mlp([400, 300, 2], "erf", bias=True, scale=3.0, generator=7)
    assert torch.equal(torch.get_rng_state(), before)
    again = mlp([400, 300, 2], "erf", bias=True, scale=3.0, generator=7, dtype=torch.float32)
    for parameter, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(parameter.float(), other)
    assert model[0].weight.detach().std().item() == pytest.approx(3 / 400**0.5, rel=0.02)
    assert [type(m).__name__ for m in model] == ["Linear", "Activation", "Linear"]
    drawn = mlp([2, 2], generator=torch.Generator().manual_seed(7))
    assert torch.equal(drawn[0].weight, mlp([2, 2], generator=7)[0].weight)


def test_two_layer_networks():
    W, a = np.arange(6.0).reshape(3, 2), np.array([[1.0, 2, 3], [0, 1, 0]])
    x = np.array([[1.0, -1.0]])
    outputs = two_layer(W, a, "quadratic")(torch.as_tensor(x)).detach().numpy()
    np.testing.assert_array_equal(outputs, ((x @ W.T) ** 2) @ a.T)
    model = two_layer(W, a[0], "relu", dtype=torch.float32)
    assert model[2].weight.shape == (1, 3)
    assert model[0].weight.dtype == torch.float32
    W[0, 0] = 99.0
    assert model[0].weight[0, 0] == 0


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: mlp([3], generator=0), ValueError, r"widths = \[3\] must hold"),
        (lambda: mlp([3, 0], generator=0), ValueError, "width = 0 must be an integer >= 1"),
        (lambda: mlp([3, 2], scale=-1, generator=0), ValueError, "scale = -1 must be a finite"),
        (lambda: mlp([3, 2, 1], "sine", generator=0), ValueError, "activation = 'sine' must be"),
        (lambda: mlp([3, 2], generator="x"), TypeError, "generator = 'x' must be an integer"),
        (lambda: two_layer(np.ones((3, 2)), np.ones(2)), ValueError, r"\(k, d\) and \(k,\)"),
        (lambda: two_layer(np.ones(3), np.ones(3)), ValueError, r"weights have shape \(3,\)"),
        (lambda: activation_function("hermite"), ValueError, "'hermite<p>'"),
    ],
)
def test_networks_are_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()


# Monte Carlo


@pytest.mark.parametrize("readout", ["rademacher", "gaussian", "sparse"])
@pytest.mark.parametrize("activation", ["quadratic", "relu", "hermite3"])
@pytest.mark.parametrize("given_targets", [False, True])
def test_many_networks_at_once_against_one_by_one(readout, activation, given_targets):
    """Ẇ as minus the gradient of the loss by autograd, K as measured through hooks."""
    rng = np.random.default_rng(0)
    X, r = rng.normal(size=(7, 4)), rng.normal(size=7)
    W, a = RandomTwoLayer(4, 5, activation, readout, 0.7, 0.3).draw(rng, 6)
    key = "targets" if given_targets else "residuals"
    found = initial_alignment(W, a, X, activation, **{key: r})
    for i in range(6):
        model, inputs = two_layer(W[i], a[i], activation), torch.as_tensor(X)
        f = model(inputs)[:, 0]
        y = torch.as_tensor(r) if given_targets else f.detach() + torch.as_tensor(r)
        (slope,) = torch.autograd.grad(((f - y) ** 2).sum() / 2, model[0].weight)
        nfm = slope.T @ slope
        agop = slope.T @ layer_matrices(model, inputs)["0"].ptk @ slope
        assert found.inner[i] == pytest.approx(float((nfm * agop).sum()), rel=1e-12)
        assert found.nfm[i] == pytest.approx(float((nfm * nfm).sum()), rel=1e-12)
        assert found.agop[i] == pytest.approx(float((agop * agop).sum()), rel=1e-12)
        if found.nfm.all():  # a sparse readout may be zero
            assert found.correlation[i] == pytest.approx(correlation(nfm, agop), rel=1e-12)


def test_means_over_networks():
    """The fast path and the obvious one estimate the same mean, and the seed decides."""
    X, r = normal(6, 3).numpy(), normal(6, seed=1).numpy()
    law = RandomTwoLayer(3, 8, "relu", "rademacher")
    fast = mean_initial_alignment(law, X, 2000, 0, residuals=r)

    def draw(rng: np.random.Generator) -> nn.Module:
        W, a = law.draw(rng, 1)
        return two_layer(W[0], a[0], "relu")

    def initial_correlation(model: nn.Module) -> float:
        W, a = model[0].weight.detach().numpy(), model[2].weight.detach().numpy()
        return float(initial_alignment(W[None], a, X, "relu", residuals=r).correlation[0])

    slow = network_mean(initial_correlation, draw, 400, 1)
    spread = np.hypot(fast.standard_error, slow.standard_error)
    assert abs(fast.mean - slow.mean) < 5 * spread
    assert mean_initial_alignment(law, X, 2000, 0, residuals=r) == fast
    assert pickle.loads(pickle.dumps(law)) == law  # so that processes can share the work


@pytest.mark.parametrize("law", ["rademacher", "gaussian", "sparse"])
def test_readout_laws(law):
    _, a = RandomTwoLayer(1, 50, "linear", law).draw(np.random.default_rng(0), 20000)
    fourth = {"rademacher": 1, "gaussian": 3, "sparse": 4}[law]
    assert np.mean(a**2) == pytest.approx(1, abs=0.01)
    assert np.mean(a**4) == pytest.approx(fourth, rel=0.02)
    assert np.mean(a) == pytest.approx(0, abs=0.01)


def test_any_readout_law():
    law = RandomTwoLayer(2, 3, "relu", lambda rng, shape: np.full(shape, 5.0), readout_scale=2.0)
    W, a = law.draw(np.random.default_rng(0), 4)
    assert W.shape == (4, 3, 2)
    assert (a == 10).all()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: RandomTwoLayer(0, 3), "dimension = 0 must be an integer >= 1"),
        (lambda: RandomTwoLayer(2, 3, "sine"), "activation = 'sine' must be"),
        (lambda: RandomTwoLayer(2, 3, readout="uniform"), "readout = 'uniform' must be one of"),
        (lambda: RandomTwoLayer(2, 3, scale=0.0), "scale = 0.0 must be a finite number > 0"),
    ],
)
def test_laws_are_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({}, "give either residuals or targets"),
        ({"residuals": np.ones(4), "targets": np.ones(4)}, "give either residuals or targets"),
        ({"residuals": np.ones(3)}, r"residuals has shape \(3,\), must be \(4, ...\)"),
        ({"residuals": np.full(4, np.nan)}, "residuals holds NaN or infinite"),
        (
            {"residuals": np.ones(4), "readout": np.ones((2, 5))},
            r"must be \(m, k, d\) and \(m, k\)",
        ),
        ({"residuals": np.ones(4), "inputs": np.ones((4, 2))}, r"must be \(N, 3\)"),
    ],
)
def test_initial_alignment_errors(arguments, match):
    usual = {"weights": np.ones((2, 6, 3)), "readout": np.ones((2, 6)), "inputs": np.ones((4, 3))}
    with pytest.raises(ValueError, match=match):
        initial_alignment(**{**usual, **arguments})


def test_networks_that_do_not_move():
    still = initial_alignment(
        np.ones((1, 2, 2)), np.zeros((1, 2)), np.ones((3, 2)), residuals=np.ones(3)
    )
    with pytest.raises(ValueError, match="a network does not move"):
        _ = still.correlation
