"""NFM, AGOP and PTK feature matrix of the linear layers of any network, by hooks and autograd.

For a layer z = Wh + b and the outputs f_c of sample α, autograd gives k_αc = ∂f_c(x_α)/∂z. Then

- NFM = WᵀW, shape (d, d);
- PTK feature matrix K = (1/n) Σ_α Σ_c k_αc k_αcᵀ, shape (k, k);
- AGOP = (1/n) Σ_α Σ_c g_αc g_αcᵀ, shape (d, d), where g_αc = ∂f_c(x_α)/∂h is the gradient with
  respect to the layer's input *through the layer alone*: paths around it (residual connections) do
  not count.

A layer that acts on several positions of a sample (tokens, patches, repeated use) has one k for
each, and the sums run over all of them: mean over samples, sum over outputs, positions and uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ..validation import choice, integer
from .checks import (
    as_inputs,
    as_outputs,
    check_model,
    chosen_outputs,
    linear_layers,
    model_device,
)
from .forward import call
from .outer_products import OuterProducts
from .probe import probe
from .taps import Tap, check_called, output_gradients, tapped

Sums = dict[tuple[str, str], OuterProducts]
"""Sums of outer products for each (layer, "ptk") and, if wanted, (layer, "agop")."""


@dataclass(frozen=True, eq=False)
class LayerMatrices:
    """A linear layer's weight and the three matrices measured on it.

    Attributes:
        weight: W, shape (k, d).
        nfm: WᵀW, shape (d, d).
        agop: Average gradient outer product, shape (d, d).
        ptk: K, the PTK feature matrix, shape (k, k).
    """

    weight: Tensor
    nfm: Tensor
    agop: Tensor
    ptk: Tensor


def layer_matrices(
    model: nn.Module,
    inputs: Tensor | ArrayLike,
    layers: Sequence[str] | None = None,
    *,
    batch_size: int | None = None,
    agop: str = "ptk",
    outputs: Sequence[int] | None = None,
) -> dict[str, LayerMatrices]:
    """Measure NFM, AGOP and PTK feature matrix of a network's linear layers.

    The model's parameters, their `.grad` and `requires_grad`, its hooks and its training flags are
    left as they were, also when an error is raised, and so are buffers and torch's generators.

    Args:
        model: Any module; its layers of type torch.nn.Linear are measured.
        inputs: Samples along the first axis; they are moved to the model's device in chunks.
        layers: Names as in `model.named_modules()`; by default all linear layers that the forward
            pass calls.
        batch_size: Samples per forward pass: memory against speed, the result is the same. By
            default what fits into a quarter of a GiB, and 1024 at most.
        agop: "ptk" takes the AGOP as WᵀKW, which costs nothing beyond K; "gradient" takes it from
            the gradients with respect to the layer's input, independently of K.
        outputs: Which outputs to sum over, as indices of the flattened output; by default all.

    Returns:
        The matrices of each layer, by name.

    Raises:
        TypeError: If the model is not a module, does not return one floating tensor, or the inputs'
            dtype is not the model's.
        ValueError: If there is no such linear layer, no sample, NaN in inputs, parameters or
            outputs; if samples mix (batch normalisation in training mode), outputs are random
            (dropout in training mode), not differentiable, or not one per sample; if the forward
            pass changes buffers, or a layer overrides the forward pass of torch.nn.Linear by
            another than Wh + b.
    """
    choice("agop", agop, ("ptk", "gradient"))
    modules = linear_layers(model, layers)
    check_model(model)
    batch = as_inputs(model, inputs)
    sums: Sums = {}
    with tapped(modules, inputs=agop == "gradient") as taps:
        fitting = probe(model, batch[:2])
        size = fitting if batch_size is None else integer("batch_size", batch_size, 1)
        for chunk in torch.split(batch, size):
            flat = _forward(model, chunk, taps)
            check_called(taps, "linear layer", named=layers is not None)
            _backward(flat, taps, chosen_outputs(outputs, flat.shape[1]), sums)
    called = {name: layer for name, layer in modules.items() if (name, "ptk") in sums}
    return {name: _matrices(called[name], name, sums, len(batch)) for name in called}


def _forward(model: nn.Module, chunk: Tensor, taps: Mapping[str, Tap]) -> Tensor:
    for tap in taps.values():
        tap.clear()
    return as_outputs(call(model, chunk.to(model_device(model))), chunk.shape[0])


def _backward(flat: Tensor, taps: Mapping[str, Tap], chosen: Sequence[int], sums: Sums) -> None:
    """Add the outer products of one chunk."""
    places = [((name, "ptk"), z) for name, tap in taps.items() for z in tap.leaving]
    places += [((name, "agop"), h) for name, tap in taps.items() for h in tap.entering]
    tensors = [(place[0], tensor) for place, tensor in places]
    for number, gradient in output_gradients(flat, chosen, tensors):
        sums.setdefault(places[number][0], OuterProducts()).add(gradient)


def _matrices(layer: nn.Linear, name: str, sums: Sums, samples: int) -> LayerMatrices:
    ptk = sums[name, "ptk"].matrix() / samples
    W = layer.weight.detach().to(ptk.dtype, copy=True)
    if (name, "agop") in sums:
        return LayerMatrices(W, W.T @ W, sums[name, "agop"].matrix() / samples, ptk)
    return LayerMatrices(W, W.T @ W, W.T @ ptk @ W, ptk)
