"""Speed-limited optimisation: every parameter moves at most so fast, whatever its gradient.

W_ℓ ← W_ℓ − η C_ℓ ∇_ℓL / (‖∇_ℓL‖ + ε). Away from critical points every tensor travels η C_ℓ per
step, so the speeds C_ℓ, and not the sizes of the gradients, decide which layers change most.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

import torch
from torch import Tensor, nn

from ..validation import nonnegative, positive

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]]


class SpeedLimitedSGD(torch.optim.Optimizer):
    """Gradient descent whose step has length η C ‖∇‖/(‖∇‖ + ε) < η C for every parameter tensor.

    The norm is Euclidean, over the entries of one tensor: a weight and its bias are limited
    separately. `lr`, `speed`, `eps` and `maximize` are options of parameter groups, so that one
    layer can be given another speed (`layer_groups`). Source: paper C.

    Args:
        params: Tensors, or groups of them as dictionaries.
        lr: Step size η ≥ 0, common to all layers; schedulers change it.
        speed: C ≥ 0, one layer's own factor; 0 freezes it.
        eps: ε > 0, the gradient's norm below which steps shrink with the gradient.
        maximize: Ascend instead.

    Raises:
        TypeError: An option is not a number.
        ValueError: An option is out of its range, or there are no parameters.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        *,
        speed: float = 1.0,
        eps: float = 0.1,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "speed": speed, "eps": eps, "maximize": maximize}
        _check_options(defaults)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters with options of its own.

        Raises:
            TypeError: An option is not a number.
            ValueError: An option is out of its range.
        """
        _check_options({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state, with the defaults for what another optimiser's groups do not have."""
        super().__setstate__(state)
        for group in self.param_groups:
            for name in ("lr", "speed", "eps", "maximize"):
                group.setdefault(name, self.defaults[name])

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; no parameter is changed if any gradient is refused.

        Args:
            closure: Evaluates the loss anew and its gradients, as in all optimisers.

        Returns:
            The closure's loss, if there is one.

        Raises:
            RuntimeError: A gradient is sparse.
            ValueError: A gradient holds NaN or infinite entries, or its norm overflows; an option
                has been set to what is not allowed.
        """
        for group in self.param_groups:
            _check_options(group)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moving = [
            (parameter, parameter.grad, group)
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        norms = [_norm(gradient) for _, gradient, _ in moving]
        _check_norms(moving, norms)
        for (parameter, gradient, group), norm in zip(moving, norms, strict=True):
            # Where the norm is zero nothing moves, even if ε is zero in the gradient's precision.
            scale = torch.where(norm > 0, _signed_rate(group) / (norm + group["eps"]), 0.0)
            parameter.sub_(scale * gradient)
        return loss


def layer_groups(
    model: nn.Module, speeds: Mapping[str, float], *, default: float = 1.0
) -> list[dict[str, Any]]:
    """Group a model's parameters by layer, each layer with its speed C.

    The parameters behind a parametrised weight belong to its layer, and a parameter that layers
    share to the first of them.

    Args:
        model: Any module.
        speeds: Speed of each layer that is to differ from the default, by its name in
            `model.named_modules()`.
        default: Speed of all others.

    Returns:
        Parameter groups for `SpeedLimitedSGD`, with the layer's name under "layer".

    Raises:
        ValueError: The model has no layer of that name with parameters of its own.

    >>> network = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> [(g["layer"], g["speed"]) for g in layer_groups(network, {"0": 5.0})]
    [('0', 5.0), ('2', 1.0)]
    """
    owned: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        owned.setdefault(_owner(name), []).append(parameter)
    for name in speeds:
        if name not in owned:
            raise ValueError(
                f"speeds names the layer {name!r}; layers with parameters: {', '.join(owned)}"
            )
    return [
        {"params": parameters, "layer": name, "speed": speeds.get(name, default)}
        for name, parameters in owned.items()
    ]


def _owner(parameter: str) -> str:
    """The layer's name: "0" for "0.bias" as for "0.parametrizations.weight.original"."""
    parts = parameter.split(".")[:-1]
    return ".".join(itertools.takewhile(lambda part: part != "parametrizations", parts))


def _signed_rate(group: Mapping[str, Any]) -> float:
    rate: float = group["lr"] * group["speed"]
    return -rate if group["maximize"] else rate


def _norm(gradient: Tensor) -> Tensor:
    if gradient.layout is not torch.strided:
        raise RuntimeError(
            f"SpeedLimitedSGD was given a gradient with layout {gradient.layout}; "
            "dense gradients (torch.strided) are allowed"
        )
    single = torch.promote_types(gradient.dtype, torch.float32)  # half precision would overflow
    norm: Tensor = torch.linalg.vector_norm(gradient, dtype=single)
    return norm


def _check_norms(moving: list[tuple[Tensor, Tensor, dict[str, Any]]], norms: list[Tensor]) -> None:
    # One question for all tensors, as on an accelerator every answer waits for it.
    if not norms or bool(torch.stack([n.isfinite().to(norms[0].device) for n in norms]).all()):
        return
    index, norm = next((i, n) for i, n in enumerate(norms) if not bool(n.isfinite()))
    layer = moving[index][2].get("layer", f"number {index}")
    raise ValueError(
        f"the gradient of the parameter {layer}, shape {tuple(moving[index][0].shape)}, has norm "
        f"{float(norm)}; finite gradients are allowed"
    )


def _check_options(options: Mapping[str, Any]) -> None:
    nonnegative("lr", options["lr"])
    nonnegative("speed", options["speed"])
    positive("eps", options["eps"])
    if not isinstance(options["maximize"], bool):
        raise TypeError(f"maximize = {options['maximize']!r} must be True or False")
