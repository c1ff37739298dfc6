"""Calling a user's model: it may overwrite what it is given, and must leave no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .checks import model_device


def call(model: nn.Module, inputs: Tensor) -> Any:
    """The model's outputs on a copy of the inputs; errors say what it was called on."""
    try:
        return model(inputs.clone())
    except Exception as error:
        error.add_note(
            f"while the model was called on inputs of shape {tuple(inputs.shape)}, "
            f"dtype {inputs.dtype}"
        )
        raise


@contextmanager
def leaving_no_trace(model: nn.Module) -> Iterator[None]:
    """Refuse forward passes that draw random numbers or change buffers, and undo what they did.

    Raises:
        ValueError: If the context's forward passes do one of the two.
    """
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    with own_random_numbers(model_device(model)) as state:
        before = state()
        try:
            yield
            drawn = not torch.equal(before, state())
        finally:
            changed = _restore(model, buffers)
    if drawn:
        raise ValueError("the forward pass draws random numbers: call model.eval()")
    if changed:
        raise ValueError(f"the forward pass changes the buffers {changed}: call model.eval()")


@contextmanager
def own_random_numbers(device: torch.device) -> Iterator[Any]:
    """Torch's global generators as they were afterwards; yields how to read the device's state."""
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        yield lambda: torch.cuda.get_rng_state(device) if on_cuda else torch.get_rng_state()


def _restore(model: nn.Module, buffers: dict[str, Tensor]) -> list[str]:
    now = dict(model.named_buffers())
    changed = [name for name, then in buffers.items() if not _same(now[name], then)]
    with torch.no_grad():
        for name in changed:
            now[name].copy_(buffers[name])
    return changed


def _same(now: Tensor, then: Tensor) -> bool:
    return bool(((now == then) | ((now != now) & (then != then))).all())
