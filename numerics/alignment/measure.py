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

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ..validation import choice, integer
from .checks import (
    as_inputs,
    as_outputs,
    check_deterministic,
    check_parameters,
    check_separate,
    linear_layers,
    model_device,
)

BATCH = 512
"""Samples per forward pass unless the caller says otherwise."""


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
    left as they were, also when an error is raised.

    Args:
        model: Any module; its layers of type torch.nn.Linear are measured.
        inputs: Samples along the first axis; they are moved to the model's device in chunks.
        layers: Names as in `model.named_modules()`; by default all linear layers that the forward
            pass calls.
        batch_size: Samples per forward pass: memory against speed, the result is the same.
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
            (dropout in training mode), not differentiable, or not one per sample.
    """
    choice("agop", agop, ("ptk", "gradient"))
    size = BATCH if batch_size is None else integer("batch_size", batch_size, 1)
    modules = linear_layers(model, layers)
    check_parameters(model)
    check_separate(model)
    check_deterministic(model)
    batch = as_inputs(model, inputs)
    with _taps(modules, agop == "gradient") as taps:
        _refuse_mixing(model, batch[:2])
        for chunk in torch.split(batch, size):
            _accumulate(model, chunk, taps, outputs, named=layers is not None)
    return {name: tap.matrices(batch.shape[0]) for name, tap in taps.items() if tap.called}


@dataclass(eq=False)
class _Tap:
    """What flows through one layer in a forward pass, and the sums over all of them."""

    layer: nn.Linear
    entering: list[Tensor] = field(default_factory=list)
    leaving: list[Tensor] = field(default_factory=list)
    sums: dict[str, Tensor] = field(default_factory=dict)
    called: bool = False

    def before(self, _: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Hand the layer a copy of its input, which lies on no other path to the output."""
        h = args[0] if args else kwargs["input"]
        copy = h.clone() if h.requires_grad else h.detach().clone().requires_grad_()
        self.entering.append(copy)
        return (copy, *args[1:]), {k: v for k, v in kwargs.items() if k != "input"}

    def after(self, _: nn.Module, __: Any, z: Tensor) -> Tensor:
        """Keep z and hand on a copy, which activations may overwrite in place."""
        kept = z if z.requires_grad else z.detach().requires_grad_()
        self.leaving.append(kept)
        return kept.clone()

    def add(self, kind: str, gradient: Tensor) -> None:
        """Add the outer products of the gradient's rows."""
        rows = gradient.reshape(-1, gradient.shape[-1])
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        if kind in self.sums:
            self.sums[kind].addmm_(rows.T, rows)
        else:
            self.sums[kind] = rows.T @ rows

    def matrices(self, samples: int) -> LayerMatrices:
        """The matrices of the layer, once all samples are summed."""
        ptk = self.sums["ptk"] / samples
        W = self.layer.weight.detach().to(ptk.dtype, copy=True)
        agop = self.sums["agop"] / samples if "agop" in self.sums else W.T @ ptk @ W
        return LayerMatrices(W, W.T @ W, agop, ptk)


@contextmanager
def _taps(modules: Mapping[str, nn.Linear], inputs: bool) -> Iterator[dict[str, _Tap]]:
    """Hooks on the layers while the context lasts, with autograd switched on."""
    taps = {name: _Tap(module) for name, module in modules.items()}
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for tap in taps.values():
            if inputs:
                hook = tap.layer.register_forward_pre_hook(tap.before, with_kwargs=True)
                stack.callback(hook.remove)
            stack.callback(tap.layer.register_forward_hook(tap.after, prepend=True).remove)
        yield taps


def _refuse_mixing(model: nn.Module, pair: Tensor) -> None:
    """The first sample's output must not change with the second sample."""
    if not pair.is_floating_point() or pair.shape[0] < 2:
        return
    pair = pair.to(model_device(model)).clone().requires_grad_()
    output = as_outputs(model(pair), 2)
    (gradient,) = torch.autograd.grad(output[0].sum(), pair, allow_unused=True)
    if gradient is not None and gradient[1].any():
        raise ValueError("samples mix: the output of one sample depends on the others in its batch")


def _accumulate(
    model: nn.Module,
    chunk: Tensor,
    taps: Mapping[str, _Tap],
    outputs: Sequence[int] | None,
    named: bool,
) -> None:
    """Add one chunk's outer products to the sums: one backward pass for each output."""
    for tap in taps.values():
        tap.entering, tap.leaving = [], []
    flat = as_outputs(model(chunk.to(model_device(model))), chunk.shape[0])
    places = _places(taps, named)
    chosen = _chosen(outputs, flat.shape[1])
    for c in chosen:
        gradients = torch.autograd.grad(
            flat[:, c].sum(),
            [p[2] for p in places],
            retain_graph=c != chosen[-1],
            allow_unused=True,
        )
        for (name, kind, _), gradient in zip(places, gradients, strict=True):
            if gradient is None:
                raise ValueError(f"the output does not depend on layer {name!r} (detached?)")
            taps[name].add(kind, gradient)


def _places(taps: Mapping[str, _Tap], named: bool) -> list[tuple[str, str, Tensor]]:
    """The tensors to differentiate by: layer, matrix they count for, tensor."""
    places = []
    for name, tap in taps.items():
        tap.called = tap.called or bool(tap.leaving)
        if named and not tap.leaving:
            raise ValueError(f"layer {name!r} is not called in the forward pass")
        places += [(name, "ptk", z) for z in tap.leaving]
        places += [(name, "agop", h) for h in tap.entering]
    if not places:
        raise ValueError(f"none of the linear layers {list(taps)} is called in the forward pass")
    return places


def _chosen(outputs: Sequence[int] | None, count: int) -> list[int]:
    if outputs is None:
        return list(range(count))
    chosen = [integer("outputs", c, 0) for c in outputs]
    if not chosen or max(chosen) >= count:
        raise ValueError(f"outputs = {list(outputs)} must be among 0, …, {count - 1}")
    return chosen
