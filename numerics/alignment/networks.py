"""Fully connected networks with known weights: activations by name, any depth, no hidden seeds."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ..validation import integer, nonnegative

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "erf": torch.erf,
    "linear": lambda z: z,
    "quadratic": lambda z: z**2,
    "cubic": lambda z: z**3,
    "tanh": torch.tanh,
    "softplus": nn.functional.softplus,
    "gelu": nn.functional.gelu,
}
"""The activations φ by name; besides these, "hermite<p>" is He_p(z)/√p! (probabilists')."""


def hermite(order: int, z: Tensor) -> Tensor:
    """The normalised Hermite polynomial He_p(z)/√p!, by its three-term recursion.

    >>> hermite(2, torch.tensor([0.0, 1.0, 3.0])) * math.sqrt(2)  # z² - 1
    tensor([-1.0000,  0.0000,  8.0000])
    """
    before, current = torch.zeros_like(z), torch.ones_like(z)
    for p in range(order):
        step = (z * current - math.sqrt(p) * before) / math.sqrt(p + 1)
        before, current = current, step
    return current


def activation_function(name: str) -> Callable[[Tensor], Tensor]:
    """The function φ of this name.

    Raises:
        ValueError: If no activation has this name.
    """
    order = re.fullmatch(r"hermite(\d+)", name) if isinstance(name, str) else None
    if order:
        return lambda z: hermite(int(order[1]), z)
    if name not in ACTIVATIONS:
        allowed = ", ".join(map(repr, ACTIVATIONS))
        raise ValueError(f"activation = {name!r} must be one of {allowed}, 'hermite<p>'")
    return ACTIVATIONS[name]


class Activation(nn.Module):
    """The activation of this name, applied to every entry.

    Raises:
        ValueError: If no activation has this name.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        activation_function(name)
        self.name = name

    def forward(self, z: Tensor) -> Tensor:
        """φ(z), entry by entry."""
        return activation_function(self.name)(z)

    def extra_repr(self) -> str:
        """The activation's name, for printing."""
        return repr(self.name)


def mlp(
    widths: Sequence[int],
    activation: str = "relu",
    *,
    bias: bool = False,
    scale: float = 1.0,
    generator: int | torch.Generator,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> nn.Sequential:
    """A fully connected network; its linear layers are named "0", "2", "4" and so on.

    Args:
        widths: Input dimension, hidden widths, number of outputs: at least two numbers.
        activation: Between the layers, by name; "linear" makes a deep linear network.
        bias: Whether the layers have biases; they are drawn like the weights.
        scale: Entries are N(0, scale²/fan_in).
        generator: A seed, or the generator that draws the weights, layer by layer. The numbers are
            drawn in float64 on the generator's device: they do not depend on `dtype` and `device`.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        TypeError: If a width or the seed is not an integer.
        ValueError: If there are fewer than two widths, one is below 1, the scale is negative or
            not finite, or no activation has this name.

    >>> mlp([3, 5, 1], "tanh", generator=0)
    Sequential(
      (0): Linear(in_features=3, out_features=5, bias=False)
      (1): Activation('tanh')
      (2): Linear(in_features=5, out_features=1, bias=False)
    )
    """
    if len(widths) < 2:
        raise ValueError(f"widths = {widths!r} must hold the input dimension and the outputs")
    sizes = [integer("width", width, 1) for width in widths]
    nonnegative("scale", scale)
    rng = as_generator(generator)
    modules: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        deviation = scale / math.sqrt(fan_in)
        weight = _normal((fan_out, fan_in), rng) * deviation
        offset = _normal((fan_out,), rng) * deviation if bias else None
        modules += [_linear(weight, offset, dtype, device), Activation(activation)]
    return nn.Sequential(*modules[:-1])


def two_layer(
    weights: ArrayLike | Tensor,
    readout: ArrayLike | Tensor,
    activation: str = "relu",
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> nn.Sequential:
    """The network f(x) = readout · φ(Wx), without biases; outputs have shape (n, o).

    Args:
        weights: W, shape (k, d): the layer named "0".
        readout: Shape (k,) for one output, or (o, k): the layer named "2".
        activation: φ by name.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: If the shapes do not fit together, or no activation has this name.

    >>> two_layer([[1.0, 2.0]], [3.0], "quadratic")(torch.ones(1, 2, dtype=torch.float64)).item()
    27.0
    """
    W = torch.as_tensor(weights, dtype=torch.float64)
    a = torch.as_tensor(readout, dtype=torch.float64)
    a = a[None] if a.ndim == 1 else a
    if W.ndim != 2 or a.ndim != 2 or a.shape[1] != W.shape[0]:
        raise ValueError(
            f"weights have shape {tuple(W.shape)} and readout {tuple(a.shape)}, "
            "must be (k, d) and (k,) or (o, k)"
        )
    first, last = (_linear(matrix, None, dtype, device) for matrix in (W, a))
    return nn.Sequential(first, Activation(activation), last)


def as_generator(generator: int | torch.Generator) -> torch.Generator:
    """The generator itself, or a new one from a seed.

    Raises:
        TypeError: If it is neither a torch.Generator nor an integer.
        ValueError: If the seed is negative.
    """
    if isinstance(generator, torch.Generator):
        return generator
    return torch.Generator().manual_seed(integer("generator", generator, 0))


def _normal(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng, dtype=torch.float64, device=rng.device)


def _linear(
    weight: Tensor, bias: Tensor | None, dtype: torch.dtype, device: torch.device | str
) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")  # draws nothing
    layer.weight = nn.Parameter(weight.to(device, dtype, copy=True))
    if bias is not None:
        layer.bias = nn.Parameter(bias.to(device, dtype, copy=True))
    return layer
