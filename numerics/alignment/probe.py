"""A forward pass on two samples: are they independent, and how much memory does each need?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .checks import as_outputs, model_device

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
        ValueError: If the first sample's output changes with the second sample, or as in
            `as_outputs`.
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

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        output = as_outputs(model(pair), pair.shape[0])
    _refuse_mixing(output, pair)
    each = max(1, sum(kept.values()) // pair.shape[0])
    return min(LARGEST, max(1, MEMORY // each))


def _refuse_mixing(output: Tensor, pair: Tensor) -> None:
    if not pair.requires_grad or pair.shape[0] < 2:
        return
    (gradient,) = torch.autograd.grad(output[0].sum(), pair, allow_unused=True)
    if gradient is not None and gradient[1].any():
        raise ValueError("samples mix: the output of one sample depends on the others in its batch")
