"""Random feature maps Φ of Deep RFM: a layer of random weights with ReLU, or Fourier features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..validation import choice, integer, positive

FEATURE_MAPS = ("relu", "fourier")
"""The feature maps by name.

- "relu": Φ(x) = ReLU(Wx), the entries of W uniform on ±1/√d.
- "fourier": Φ(x) = √(2/D) cos(Ωx + u), u uniform on [0, 2π), the entries of Ω from Cauchy's law of
  scale γ: then E Φ(x)ᵀΦ(z) = exp(−γ‖x − z‖₁).
"""


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """A feature map with its random numbers.

    Attributes:
        weights: W or Ω, shape (D, d).
        phases: u, shape (D,); None for "relu".
    """

    weights: Tensor
    phases: Tensor | None = None

    def __call__(self, X: Tensor) -> Tensor:
        """Φ of each row, shape (n, D)."""
        if self.phases is None:
            return (X @ self.weights.T).clamp_(min=0)
        features = torch.addmm(self.phases, X, self.weights.T).cos_()
        return features.mul_(math.sqrt(2 / len(self.weights)))

    def to(self, device: torch.device | str) -> FeatureMap:
        """The same map on another device."""
        phases = None if self.phases is None else self.phases.to(device)
        return FeatureMap(self.weights.to(device), phases)


def draw_feature_map(
    name: str, d: int, width: int, generator: torch.Generator, *, frequency: float = 0.1
) -> FeatureMap:
    """Draw a feature map, in float64 on the CPU.

    Args:
        name: "relu" or "fourier".
        d: Dimension of the inputs.
        width: D, the dimension of the features.
        generator: Draws the weights row by row, then the phases.
        frequency: γ > 0 of "fourier"; the other map has none.

    Raises:
        TypeError: If a dimension is not an integer.
        ValueError: If a number is out of its range, or the name unknown.

    >>> draw_feature_map("relu", 3, 5, torch.Generator().manual_seed(0))(torch.ones(2, 3).double())
    tensor([[0.7358, 0.9895, 0.0000, 0.0000, 0.0000],
            [0.7358, 0.9895, 0.0000, 0.0000, 0.0000]], dtype=torch.float64)
    """
    choice("feature_map", name, FEATURE_MAPS)
    shape = (integer("width", width, 1), integer("d", d, 1))
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    if name == "relu":
        return FeatureMap((2 * uniform - 1) / math.sqrt(d))
    scale = positive("frequency", frequency)
    phases = torch.rand(width, generator=generator, dtype=torch.float64).mul_(2 * math.pi)
    return FeatureMap((uniform - 0.5).mul_(math.pi).tan_().mul_(scale), phases)
