"""Gradient flow of a network's parameters, by a high-order integrator in double precision."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from ..validation import RealArray, choice, integer, nonnegative, positive
from .checks import as_double, as_inputs, check_deterministic, check_parameters, model_device
from .forward import call, own_random_numbers
from .losses import Loss, as_loss, loss_function

METHODS = ("DOP853", "RK45", "RK23", "Radau", "BDF", "LSODA")
"""The integrators of scipy.integrate.solve_ivp."""


@dataclass(frozen=True, eq=False)
class Flow:
    """A network's parameters along gradient flow.

    Attributes:
        times: Shape (T,).
        names: The parameters that move.
        start: The network at t = 0, in double precision.
        moved: θ(t) - θ(0) of all of them, flattened in the order of `names`, shape (T, p).
        losses: The loss (with the penalty, if there is one) at each time, shape (T,).
    """

    times: RealArray
    names: tuple[str, ...]
    start: nn.Module
    moved: RealArray
    losses: RealArray

    def displacements(self, i: int) -> dict[str, Tensor]:
        """θ(t_i) - θ(0) by parameter name: accurate even where it is tiny beside θ(0)."""
        own = dict(self.start.named_parameters())
        parts = _unflatten(self.moved[i], [own[name] for name in self.names])
        return dict(zip(self.names, parts, strict=True))

    def at(self, i: int) -> nn.Module:
        """The network at time t_i."""
        model = copy.deepcopy(self.start)
        own = dict(model.named_parameters())
        with torch.no_grad():
            for name, step in self.displacements(i).items():
                own[name].add_(step)
        return model


def gradient_flow(
    model: nn.Module,
    inputs: Tensor | ArrayLike,
    targets: Tensor | ArrayLike,
    times: ArrayLike,
    *,
    loss: str | Loss = "mse",
    weight_decay: float = 0.0,
    trained: Sequence[str] | None = None,
    rtol: float = 1e-10,
    atol: float = 1e-12,
    method: str = "DOP853",
    max_evaluations: int = 20_000,
) -> Flow:
    """Follow θ' = -∇(loss + (λ/2)‖θ‖²) from the model's parameters.

    What is integrated is the displacement θ(t) - θ(0), so that it keeps its digits at t = 1e-6.
    The model itself is not changed.

    Args:
        model: Any module; a copy in double precision is trained.
        inputs: All samples, shape (n, …).
        targets: Shape of the outputs, or (n,) for outputs of shape (n, 1); classes (n,) for
            "cross_entropy".
        times: Increasing, from 0 on.
        loss: "mse" = ½ Σ (f - y)², "cross_entropy", "logistic" = Σ log(1 + e^{-yf}), each summed
            over samples and outputs, or a function of outputs and targets.
        weight_decay: λ >= 0, on the parameters that move.
        trained: Names of the parameters that move, as in `model.named_parameters()`; by default
            all that require gradients.
        rtol: Relative tolerance of the integrator.
        atol: Tolerance relative to the size of the displacement.
        method: Integrator of scipy.integrate.solve_ivp.
        max_evaluations: Gradients to spend. Where the gradient jumps (a neuron of a ReLU network
            that is pushed back onto its kink from both sides) steps become ever smaller, and no
            number suffices.

    Raises:
        ValueError: If times do not increase from 0, a name is unknown, shapes disagree, or entries
            are NaN or infinite; if the loss is another when it is computed again.
        ArithmeticError: If the flow leaves the finite numbers, or takes too many evaluations; the
            message says when.
    """
    moments = _times(times)
    choice("method", method, METHODS)
    nonnegative("weight_decay", weight_decay)
    check_parameters(model)
    check_deterministic(model)
    tolerances = positive("rtol", rtol), positive("atol", atol)
    allowed = integer("max_evaluations", max_evaluations, 1)
    device = model_device(model)
    labels = as_double("targets", targets).to(device)
    if not torch.isfinite(labels).all():
        raise ValueError("targets hold NaN or infinite entries, must be finite")
    with torch.inference_mode(False), own_random_numbers(device):
        start = copy.deepcopy(model).double()
        batch = as_inputs(start, as_double("inputs", inputs)).to(device)
        names = _names(start, trained)
        field = _Field(
            copy.deepcopy(start), names, batch, labels, loss_function(loss), weight_decay
        )
        field.check_repeatable()
        field.allowed = allowed
        moved = _integrate(field, moments, *tolerances, method)
        losses = np.array([field.loss(step) for step in moved])
    return Flow(moments, names, start, moved, losses)


class _Field:
    """The vector field -∇(loss + penalty) as a function of the displacement."""

    def __init__(
        self,
        model: nn.Module,
        names: Sequence[str],
        inputs: Tensor,
        targets: Tensor,
        loss: Loss,
        weight_decay: float,
    ) -> None:
        own = dict(model.named_parameters())
        for name, parameter in own.items():
            parameter.requires_grad_(name in names)
        self.model = model
        self.parameters = [own[name] for name in names]
        self.origin = [parameter.detach().clone() for parameter in self.parameters]
        self.inputs = inputs
        self.targets = targets
        self.criterion = loss
        self.weight_decay = weight_decay
        self.size = sum(parameter.numel() for parameter in self.parameters)
        self.allowed = 0

    def objective(self, displacement: RealArray) -> Tensor:
        steps = _unflatten(displacement, self.parameters)
        with torch.no_grad():
            for parameter, origin, step in zip(self.parameters, self.origin, steps, strict=True):
                parameter.copy_(origin + step)
        value = as_loss(self.criterion(call(self.model, self.inputs), self.targets))
        if self.weight_decay:
            squares = sum((p.square().sum() for p in self.parameters), torch.zeros_like(value))
            value = value + self.weight_decay / 2 * squares
        return value

    def loss(self, displacement: RealArray) -> float:
        return float(self.objective(displacement).detach())

    def check_repeatable(self) -> None:
        first, again = (self.loss(np.zeros(self.size)) for _ in range(2))
        if abs(first - again) > 1e-12 * abs(first):
            raise ValueError(
                f"the loss is {first!r} and then {again!r} at the same parameters: the model is "
                "random or changes its buffers, call model.eval()"
            )

    def __call__(self, time: float, displacement: RealArray) -> RealArray:
        self.allowed -= 1
        if self.allowed < 0:
            raise ArithmeticError(
                f"gradient flow has used up max_evaluations at t = {time:.6g}: it is stiff, or its "
                "gradient jumps there (kinks of the activation)"
            )
        with torch.enable_grad():
            value = self.objective(displacement)
            if not value.requires_grad:
                raise ValueError("the loss is not differentiable: it is detached")
            gradients = torch.autograd.grad(value, self.parameters, materialize_grads=True)
        return -np.concatenate([g.detach().cpu().numpy().ravel() for g in gradients])


def _integrate(field: _Field, times: RealArray, rtol: float, atol: float, method: str) -> RealArray:
    """Displacements at all times, each stretch with a tolerance of its own scale."""
    moved = np.zeros((len(times), field.size))
    now, here = 0.0, np.zeros(field.size)
    for i, then in enumerate(times):
        if then > now:
            here = _stretch(field, (now, float(then)), here, rtol, atol, method)
            now = float(then)
        moved[i] = here
    return moved


def _stretch(
    field: _Field,
    span: tuple[float, float],
    here: RealArray,
    rtol: float,
    atol: float,
    method: str,
) -> RealArray:
    slope = _largest(field(span[0], here))
    scale = max(_largest(here), min(slope * (span[1] - span[0]), 1.0))
    tolerance = max(atol * scale, 1e-290)  # a network at rest moves by nothing
    solution = solve_ivp(field, span, here, method, rtol=rtol, atol=tolerance)
    end: RealArray = solution.y[:, -1]
    if solution.status != 0 or not np.isfinite(end).all():
        raise ArithmeticError(
            f"gradient flow cannot be followed beyond t = {solution.t[-1]:.6g}: the parameters "
            f"have moved by up to {_largest(end):.3g} ({solution.message})"
        )
    return end


def _largest(values: RealArray) -> float:
    return float(np.max(np.abs(values), initial=0.0))


def _times(times: ArrayLike) -> RealArray:
    moments = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if moments.ndim != 1 or not moments.size or not np.isfinite(moments).all():
        raise ValueError(f"times = {times!r} must be finite numbers, shape (T,)")
    if moments[0] < 0 or (np.diff(moments) <= 0).any():
        raise ValueError(f"times = {times!r} must increase strictly, from 0 on")
    return moments


def _names(model: nn.Module, trained: Sequence[str] | None) -> tuple[str, ...]:
    own = dict(model.named_parameters())
    if trained is None:
        trained = [name for name, parameter in own.items() if parameter.requires_grad]
    if isinstance(trained, str):
        raise TypeError(f"trained = {trained!r} must be a sequence of names, such as [{trained!r}]")
    for name in trained:
        if name not in own:
            raise ValueError(f"no parameter {name!r}; the parameters are {list(own)}")
    if len(set(trained)) < len(trained):
        raise ValueError(f"trained = {list(trained)} must hold each name once")
    if not trained:
        raise ValueError("no parameter is trained: name some, or let them require gradients")
    return tuple(trained)


def _unflatten(flat: RealArray, like: Sequence[Tensor]) -> list[Tensor]:
    """The stretches of a flat vector in the shapes of these tensors, on their device."""
    ends = np.cumsum([tensor.numel() for tensor in like])
    parts = np.split(flat, ends[:-1])
    return [
        torch.tensor(part, dtype=tensor.dtype, device=tensor.device).reshape(tensor.shape)
        for part, tensor in zip(parts, like, strict=True)
    ]
