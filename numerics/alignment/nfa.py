"""The neural feature ansatz (NFA), NFM ∝ AGOP, measured in every layer of a network at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from .checks import linear_layers
from .correlations import displacement_nfa, moved_by, uncentred_nfa
from .measure import LayerMatrices, layer_matrices


@dataclass(frozen=True, eq=False)
class LayerAlignment:
    """How well the neural feature ansatz holds in one layer.

    Attributes:
        uncentred: UC-NFA, ρ(WᵀKW, WᵀW).
        centred: C-NFA, ρ(W̄ᵀKW̄, W̄ᵀW̄) with W̄ = W - W₀; None where no initial weights are given.
        moved: ‖W - W₀‖/‖W₀‖; None where no initial weights are given.
        matrices: The layer's weight, NFM, AGOP and PTK feature matrix.
    """

    uncentred: float
    centred: float | None
    moved: float | None
    matrices: LayerMatrices


def alignments(
    model: nn.Module,
    inputs: Tensor | ArrayLike,
    initial: nn.Module | Mapping[str, Tensor] | None = None,
    layers: Sequence[str] | None = None,
    *,
    power: float = 1.0,
    kind: str = "cosine",
    batch_size: int | None = None,
) -> dict[str, LayerAlignment]:
    """Measure the neural feature ansatz in a network's linear layers.

    Args:
        model: Any module.
        inputs: Samples along the first axis.
        initial: The network at initialisation, or its `state_dict()`, for the centred correlation.
        layers: Names as in `model.named_modules()`; by default all linear layers in use.
        power: Of the AGOP: 1 in paper C, ½ in E and B, 1/L in deep linear networks.
        kind: "cosine" or "pearson".
        batch_size: As in `layer_matrices`.

    Returns:
        The alignment of each layer, by name.

    Raises:
        TypeError: As in `layer_matrices`.
        ValueError: As in `layer_matrices`; if a layer's gradient or weight is zero, or it has not
            moved from its initial weight, or has none there.

    Example:
        >>> import copy
        >>> from numerics.alignment import mlp
        >>> model = mlp([8, 32, 32, 1], "relu", bias=True, generator=0)
        >>> inputs = torch.randn(64, 8, generator=torch.Generator().manual_seed(1)).double()
        >>> initial = copy.deepcopy(model)
        >>> optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
        >>> for _ in range(100):
        ...     loss = ((model(inputs)[:, 0] - inputs[:, 0] * inputs[:, 1]) ** 2).mean()
        ...     optimiser.zero_grad(); loss.backward(); optimiser.step()
        >>> for name, layer in alignments(model, inputs, initial).items():
        ...     print(f"{name}: {layer.uncentred:.2f} {layer.centred:.2f}")
        0: 0.82 0.90
        2: 0.43 0.82
        4: 1.00 1.00
    """
    weights = None if initial is None else _weights(initial)
    measured = layer_matrices(model, inputs, layers, batch_size=batch_size)
    return {
        name: _aligned(name, matrices, weights, power, kind) for name, matrices in measured.items()
    }


def _aligned(
    name: str,
    matrices: LayerMatrices,
    weights: Mapping[str, Tensor] | None,
    power: float,
    kind: str,
) -> LayerAlignment:
    try:
        uncentred = uncentred_nfa(matrices, power=power, kind=kind)
    except ValueError as error:
        raise ValueError(f"layer {name!r} has no alignment of AGOP and NFM: {error}") from error
    if weights is None:
        return LayerAlignment(uncentred, None, None, matrices)
    if name not in weights:
        raise ValueError(f"initial has no weight for layer {name!r}; it has {list(weights)}")
    step = moved_by(matrices, weights[name])
    if not step.any():
        raise ValueError(f"layer {name!r} has not moved: its centred correlation is undefined")
    moved = torch.linalg.vector_norm(step) / torch.linalg.vector_norm(weights[name])
    centred = displacement_nfa(matrices.ptk, step, power=power, kind=kind)
    return LayerAlignment(uncentred, centred, float(moved), matrices)


def _weights(initial: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the name of their layer."""
    if isinstance(initial, nn.Module):
        return {name: layer.weight.detach() for name, layer in linear_layers(initial).items()}
    ending = "weight"
    return {
        name.removesuffix(ending).removesuffix("."): weight.detach()
        for name, weight in initial.items()
        if name == ending or name.endswith("." + ending)
    }
