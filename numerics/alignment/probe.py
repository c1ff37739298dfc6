"""A forward pass on two samples: are they independent, and how much memory does each need?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .checks import as_outputs, model_device
from .forward import call, leaving_no_trace

MEMORY = 2**28
"""Bytes that one chunk of samples may keep for its backward passes."""

LARGEST = 1024
"""Samples per chunk at most: larger ones leave the processor's caches."""


def probe(model: nn.Module, pair: Tensor) -> int:
    """How many samples to send through the model at once.

    Args:
        model: With autograd switched on.
        pair: The first two samples, or the only one.

    Raises:
        ValueError: If the first sample's output changes with the second sample, as in
            `leaving_no_trace`, or as in `as_outputs`.
    """
    pair = pair.to(model_device(model)).clone()
    pair.requires_grad_(pair.is_floating_point())
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def remember(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    saved = torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor)
    with leaving_no_trace(model), saved:
        output = as_outputs(call(model, pair), pair.shape[0])
    if pair.shape[0] == 2:
        _refuse_mixing(output[0], pair, as_outputs(call(model, pair[[0, 0]]), 2)[0])
    each = max(1, sum(kept.values()) // pair.shape[0])
    return min(LARGEST, max(1, MEMORY // each))


def _refuse_mixing(first: Tensor, pair: Tensor, beside_itself: Tensor) -> None:
    near = torch.finfo(first.dtype).eps ** 0.5
    mixing = bool((first - beside_itself).abs().amax() > near * first.abs().amax())
    if pair.requires_grad:
        (gradient,) = torch.autograd.grad(first.sum(), pair, allow_unused=True)
        mixing |= gradient is not None and bool(gradient[1].any())
    if mixing:
        raise ValueError("samples mix: the output of one sample depends on the others in its batch")
