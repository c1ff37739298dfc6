"""Hooks on linear layers that let autograd see what flows into and out of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(eq=False)
class Tap:
    """What flows through one linear layer z = Wh + b in a forward pass, one entry for each use.

    Attributes:
        name: Of the layer.
        entering: h of each use, seen by the layer alone: the gradient with respect to it follows
            no path around the layer.
        leaving: z of each use.
    """

    name: str
    entering: list[Tensor] = field(default_factory=list)
    leaving: list[Tensor] = field(default_factory=list)

    def clear(self) -> None:
        """Forget the last forward pass."""
        self.entering, self.leaving = [], []

    def before(self, _: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Forward pre-hook: the layer gets a copy of its input, and nobody else does."""
        h = self._input(args, kwargs)
        own = h.clone() if h.requires_grad else h.detach().clone().requires_grad_()
        self.entering.append(own)
        return (own, *args[1:]), {key: v for key, v in kwargs.items() if key != "input"}

    def after(self, layer: nn.Linear, args: Any, kwargs: Any, z: Any) -> Tensor:
        """Forward hook: keep z and hand on a copy, which activations may overwrite in place."""
        if not isinstance(z, Tensor) or not z.is_floating_point():
            found = z.dtype if isinstance(z, Tensor) else type(z).__name__
            raise TypeError(f"layer {self.name!r} returns {found}, must be real and a tensor")
        if getattr(layer.forward, "__func__", None) is not nn.Linear.forward:
            self._check_affine(layer, self._input(args, kwargs), z)
        kept = z if z.requires_grad else z.detach().requires_grad_()
        self.leaving.append(kept)
        return kept.clone()

    def _input(self, args: Any, kwargs: Any) -> Tensor:
        h = args[0] if args else kwargs.get("input")
        if not isinstance(h, Tensor):
            raise TypeError(f"layer {self.name!r} is given {type(h).__name__}, must be a tensor")
        return h

    def _check_affine(self, layer: nn.Linear, h: Tensor, z: Tensor) -> None:
        """Refuse subclasses whose weight is not the derivative of their output."""
        with torch.no_grad():
            own = nn.functional.linear(h, layer.weight, layer.bias)
            near = torch.finfo(own.dtype).eps ** 0.5
            size = float(own.abs().amax()) if own.numel() else 0.0
            if own.shape != z.shape or not torch.allclose(own, z, near, near * size):
                raise ValueError(
                    f"layer {self.name!r} ({type(layer).__name__}) does not return Wh + b, of its "
                    "own weight and bias: it cannot be measured as a linear layer"
                )


@contextmanager
def tapped(layers: Mapping[str, nn.Linear], *, inputs: bool) -> Iterator[dict[str, Tap]]:
    """Taps on these layers, with autograd switched on, while the context lasts.

    Args:
        layers: By name.
        inputs: Whether h is wanted as well as z.
    """
    taps = {name: Tap(name) for name in layers}
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if "torch._dynamo" in sys.modules:  # compiled graphs would bypass the hooks
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for name, layer in layers.items():
            tap = taps[name]
            if inputs:  # appended, so that it sees what the layer sees
                hook = layer.register_forward_pre_hook(tap.before, with_kwargs=True)
                stack.callback(hook.remove)
            # prepended, so that z is the layer's own output, whatever other hooks make of it
            hook = layer.register_forward_hook(tap.after, prepend=True, with_kwargs=True)
            stack.callback(hook.remove)
        yield taps


def check_called(taps: Mapping[str, Tap], noun: str, *, named: bool) -> None:
    """Refuse a forward pass that called none of the layers, or not all of those asked for.

    Raises:
        ValueError: If so.
    """
    called = [name for name, tap in taps.items() if tap.leaving]
    if not called:
        raise ValueError(f"none of the {noun}s {list(taps)} is called in the forward pass")
    if named and len(called) < len(taps):
        missing = [name for name in taps if name not in called]
        raise ValueError(f"layers {missing} are not called in the forward pass")


def output_gradients(
    flat: Tensor, chosen: Sequence[int], places: Sequence[tuple[str, Tensor]]
) -> Iterator[tuple[int, Tensor]]:
    """Gradients of each output with respect to what flows at some places, one pass an output.

    Args:
        flat: Outputs, shape (samples, outputs).
        chosen: Outputs to differentiate.
        places: A layer's name and a tensor, whose first axis are the samples.

    Yields:
        The number of a place, and the gradient there.

    Raises:
        ValueError: If an output does not depend on what flows at a place.
    """
    tensors = [tensor for _, tensor in places]
    for i, c in enumerate(chosen):
        # Samples do not mix, so that row α of the sum's gradient is the gradient of sample α.
        gradients = torch.autograd.grad(
            flat[:, c].sum(), tensors, retain_graph=i + 1 < len(chosen), allow_unused=True
        )
        for number, gradient in enumerate(gradients):
            if gradient is None:
                name = places[number][0]
                raise ValueError(f"the output does not depend on layer {name!r}: detached?")
            yield number, gradient
