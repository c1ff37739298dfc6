"""The empirical neural tangent kernel, sample by sample and output by output."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from .checks import as_inputs, as_outputs, check_model, linear_layers, model_device
from .forward import call, leaving_no_trace


def empirical_ntk(
    model: nn.Module,
    inputs: Tensor | ArrayLike,
    layer: str | None = None,
    *,
    other: Tensor | ArrayLike | None = None,
) -> Tensor:
    """The kernel ⟨∂f_c(x_α)/∂θ, ∂f_c'(x_β)/∂θ⟩, by brute force.

    Args:
        model: Any module.
        inputs: n samples along the first axis.
        layer: The linear layer whose weight matrix is θ (its bias is not); by default θ is all
            parameters.
        other: m further samples for the columns; by default the same samples.

    Returns:
        Shape (n·o, m·o): row and column α·o + c belong to output c of sample α.

    Raises:
        TypeError: As in `layer_matrices`.
        ValueError: As in `layer_matrices`; if the model has no parameters.
    """
    rows = parameter_jacobian(model, inputs, layer)
    columns = rows if other is None else parameter_jacobian(model, other, layer)
    return rows @ columns.T


def parameter_jacobian(
    model: nn.Module, inputs: Tensor | ArrayLike, layer: str | None = None
) -> Tensor:
    """∂f_c(x_α)/∂θ with θ flattened, shape (n·o, p); arguments and errors as in `empirical_ntk`."""
    parameters = _parameters(model, layer)
    check_model(model)
    batch = as_inputs(model, inputs).to(model_device(model))
    frozen = [p for p in parameters if not p.requires_grad]
    try:
        for p in frozen:
            p.requires_grad_(True)
        with torch.inference_mode(False), torch.enable_grad():
            with leaving_no_trace(model):
                as_outputs(call(model, batch[:1]), 1)
            return torch.cat([_sample_jacobian(model, x[None], parameters) for x in batch])
    finally:
        for p in frozen:
            p.requires_grad_(False)


def _parameters(model: nn.Module, layer: str | None) -> list[Tensor]:
    if layer is not None:
        return [linear_layers(model, [layer])[layer].weight]
    parameters: list[Tensor] = list(model.parameters())
    if not parameters:
        raise ValueError(f"the model has no parameters: {type(model).__name__}")
    return parameters


def _sample_jacobian(model: nn.Module, x: Tensor, parameters: list[Tensor]) -> Tensor:
    """One sample alone, shape (o, p)."""
    output = as_outputs(call(model, x), 1)[0]
    rows = []
    for value in output:
        gradients = torch.autograd.grad(
            value, parameters, retain_graph=True, materialize_grads=True
        )
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return torch.stack(rows)
