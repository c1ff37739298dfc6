"""Hooks on linear layers that let autograd see what flows into and out of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(eq=False)
class Tap:
    """What flows through one linear layer z = Wh + b in a forward pass, one entry for each use.

    Attributes:
        entering: h of each use, seen by the layer alone: the gradient with respect to it follows
            no path around the layer.
        leaving: z of each use.
    """

    entering: list[Tensor] = field(default_factory=list)
    leaving: list[Tensor] = field(default_factory=list)

    def clear(self) -> None:
        """Forget the last forward pass."""
        self.entering, self.leaving = [], []

    def before(self, _: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Forward pre-hook: the layer gets a copy of its input, and nobody else does."""
        h = args[0] if args else kwargs["input"]
        own = h.clone() if h.requires_grad else h.detach().clone().requires_grad_()
        self.entering.append(own)
        return (own, *args[1:]), {key: v for key, v in kwargs.items() if key != "input"}

    def after(self, _: nn.Module, __: Any, z: Tensor) -> Tensor:
        """Forward hook: keep z and hand on a copy, which activations may overwrite in place."""
        kept = z if z.requires_grad else z.detach().requires_grad_()
        self.leaving.append(kept)
        return kept.clone()


@contextmanager
def tapped(layers: Mapping[str, nn.Linear], *, inputs: bool) -> Iterator[dict[str, Tap]]:
    """Taps on these layers, with autograd switched on, while the context lasts.

    Args:
        layers: By name.
        inputs: Whether h is wanted as well as z.
    """
    taps = {name: Tap() for name in layers}
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for name, layer in layers.items():
            tap = taps[name]
            if inputs:  # appended, so that it sees what the layer sees
                hook = layer.register_forward_pre_hook(tap.before, with_kwargs=True)
                stack.callback(hook.remove)
            # prepended, so that z is the layer's own output, whatever other hooks make of it
            stack.callback(layer.register_forward_hook(tap.after, prepend=True).remove)
        yield taps
