"""Training by stochastic gradient descent, with the correlations recorded layer by layer.

The shuffles come from the generator that is passed in, and dropout from its seed: the same seed
gives the same bytes, and torch's global generators stay as they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ..validation import RealArray, choice, integer, nonnegative
from .checks import as_inputs, as_tensor, check_parameters, linear_layers, model_device
from .correlations import centred_nfa, uncentred_nfa
from .forward import call, own_random_numbers
from .losses import Loss, as_loss, loss_function
from .measure import LayerMatrices, layer_matrices

CENTRES = ("initialisation", "first epoch")
Rate = float | Callable[[int], float]
"""A learning rate, or a function from the epoch, counted from 0, to the learning rate."""


@dataclass(frozen=True)
class LayerRecord:
    """One layer at one moment of training.

    Attributes:
        uncentred: ρ(NFM, AGOP).
        centred: ρ(W̄ᵀW̄, W̄ᵀKW̄) with W̄ = W − W₀; None while the layer has not moved.
        moved: ‖W − W₀‖/‖W‖.
    """

    uncentred: float
    centred: float | None
    moved: float


@dataclass(frozen=True)
class Record:
    """The network at one moment of training.

    Attributes:
        step: Steps taken so far.
        loss: On all training data, in evaluation mode.
        test_loss: On the test data; None without them.
        layers: By the layers' names.
    """

    step: int
    loss: float
    test_loss: float | None
    layers: Mapping[str, LayerRecord]


@dataclass(frozen=True, eq=False)
class Training:
    """What was recorded while a network was trained.

    Attributes:
        records: In the order of steps.
        batch_losses: The loss of every step's batch before the step, shape (steps,).
        steps_per_epoch: How many steps one pass through the data takes.
    """

    records: tuple[Record, ...]
    batch_losses: RealArray
    steps_per_epoch: int

    def uncentred(self, layer: str) -> tuple[RealArray, RealArray]:
        """Steps and uncentred correlations of a layer.

        Raises:
            KeyError: If the layer was not recorded.
        """
        return self._curve((r.step, r.layers[layer].uncentred) for r in self.records)

    def centred(self, layer: str) -> tuple[RealArray, RealArray]:
        """Steps and centred correlations of a layer, from where it has moved.

        Raises:
            KeyError: If the layer was not recorded.
        """
        return self._curve((r.step, r.layers[layer].centred) for r in self.records)

    def first_below(self, loss: float) -> Record | None:
        """The first record whose training loss is at most `loss`, to compare runs fairly."""
        return next((r for r in self.records if r.loss <= loss), None)

    @staticmethod
    def _curve(pairs: Iterator[tuple[int, float | None]]) -> tuple[RealArray, RealArray]:
        kept = np.array([(s, v) for s, v in pairs if v is not None], dtype=np.float64)
        steps, values = kept.reshape(-1, 2).T
        return steps, values


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of (f − y)² over samples *and* outputs: the loss of paper C's released code.

    It is 2/(n o) times the loss "mse", so that its learning rates grow with the number of outputs.

    Raises:
        ValueError: If the shapes do not fit.
    """
    return loss_function("mse")(outputs, targets) * (2 / outputs.numel())


def train_sgd(
    model: nn.Module,
    inputs: Tensor | ArrayLike,
    targets: Tensor | ArrayLike,
    *,
    lr: Rate | None = None,
    epochs: int,
    batch_size: int | None = None,
    loss: str | Loss = "mse",
    optimizer: torch.optim.Optimizer | None = None,
    generator: torch.Generator,
    record_at: Sequence[int] = (),
    layers: Sequence[str] | None = None,
    kind: str = "cosine",
    centre: str = "initialisation",
    test: tuple[Tensor | ArrayLike, Tensor | ArrayLike] | None = None,
    callback: Callable[[int, nn.Module], None] | None = None,
) -> Training:
    """Train a model in place, and record the correlations of its linear layers on the way.

    Args:
        model: Any module; it stays on its device and in its dtype, and the data follow it.
        inputs: Shape (n, …).
        targets: As the loss takes them.
        lr: Learning rate of plain gradient descent, or a function of the epoch. Leave it out if
            there is an optimiser.
        epochs: Passes through the data, each in an order of its own.
        batch_size: Samples per step; None is full-batch. The last batch of an epoch may be smaller.
        loss: As in `gradient_flow` (these sum over the batch), or a function such as
            `mean_squared_error`.
        optimizer: Any optimiser of this model's parameters, such as `SpeedLimitedSGD`.
        generator: Draws the orders.
        record_at: Steps after which to record; 0 is before the first.
        layers: Linear layers to record; by default all.
        kind: "cosine" or "pearson".
        centre: W₀ is taken at the "initialisation" or after the "first epoch".
        test: Inputs and targets whose loss is recorded, too.
        callback: Called as callback(step, model) after each record.

    Returns:
        Records, and the losses of the batches.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If there are both a learning rate and an optimiser or neither, a step to record
            at is not reached, numbers of inputs and targets differ, or entries are NaN.
        ArithmeticError: If the loss leaves the finite numbers; the message says at which step.
    """
    batch, labels = _data(model, inputs, targets)
    size = len(batch) if batch_size is None else integer("batch_size", batch_size, 1)
    per_epoch = math.ceil(len(batch) / size)
    moments = _moments(record_at, per_epoch * integer("epochs", epochs, 0))
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator = {generator!r} must be a torch.Generator")
    descent, rate = _descent(model, lr, optimizer)
    criterion = loss_function(loss)
    recorder = _Recorder(model, batch, labels, test, criterion, layers, kind)
    recorder.centre_at = 0 if choice("centre", centre, CENTRES) == CENTRES[0] else per_epoch
    losses = []
    with _running(generator, batch.device):
        recorder.visit(0, moments, callback)
        for step, epoch, chosen in _batches(len(batch), size, epochs, generator, batch.device):
            if rate is not None:
                _set_rate(descent, rate(epoch))
            losses.append(_step(model, descent, criterion, batch[chosen], labels[chosen], step))
            recorder.visit(step + 1, moments, callback)
    return Training(tuple(recorder.records), np.array(losses), per_epoch)


class _Recorder:
    """Measures the model at the moments that are asked for."""

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor,
        targets: Tensor,
        test: tuple[Tensor | ArrayLike, Tensor | ArrayLike] | None,
        loss: Loss,
        layers: Sequence[str] | None,
        kind: str,
    ) -> None:
        self.model, self.inputs, self.targets, self.loss = model, inputs, targets, loss
        if test is not None and len(test) != 2:
            raise ValueError(f"test holds {len(test)} objects, must be inputs and targets")
        self.test = None if test is None else _data(model, *test)
        self.layers = list(linear_layers(model, layers)) if layers is not None else None
        self.kind = choice("kind", kind, ("cosine", "pearson"))
        self.centre_at = 0
        self.initial: dict[str, Tensor] = {}
        self.records: list[Record] = []

    def visit(
        self,
        step: int,
        moments: frozenset[int],
        callback: Callable[[int, nn.Module], None] | None,
    ) -> None:
        if step == self.centre_at and moments:
            self.initial = _weights(self.model)
        if step in moments:
            with _evaluating(self.model):
                self.records.append(self._record(step))
            if callback is not None:
                callback(step, self.model)

    def _record(self, step: int) -> Record:
        matrices = layer_matrices(self.model, self.inputs, self.layers)
        layers = {}
        for name, measured in matrices.items():
            initial = self.initial.get(name, measured.weight).to(measured.weight)
            distance = float((measured.weight - initial).norm())
            centred = centred_nfa(measured, initial, kind=self.kind) if distance else None
            size = float(measured.weight.norm())
            moved = distance / size if size else 0.0
            layers[name] = LayerRecord(self._uncentred(name, measured, step), centred, moved)
        with torch.no_grad():
            loss = self._loss(self.inputs, self.targets)
            test = None if self.test is None else self._loss(*self.test)
        return Record(step, loss, test, layers)

    def _uncentred(self, name: str, measured: LayerMatrices, step: int) -> float:
        try:
            return uncentred_nfa(measured, kind=self.kind)
        except ValueError as error:
            raise ValueError(
                f"layer {name!r} at step {step}, A = AGOP, B = NFM: {error}"
            ) from error

    def _loss(self, inputs: Tensor, targets: Tensor) -> float:
        return float(as_loss(self.loss(call(self.model, inputs), targets)))


def _batches(
    n: int, size: int, epochs: int, generator: torch.Generator, device: torch.device
) -> Iterator[tuple[int, int, Tensor]]:
    """Step, epoch and indices of every batch."""
    step = 0
    for epoch in range(epochs):
        order = torch.randperm(n, generator=generator, device=generator.device).to(device)
        for chosen in torch.split(order, size):
            yield step, epoch, chosen
            step += 1


def _step(
    model: nn.Module,
    descent: torch.optim.Optimizer,
    loss: Loss,
    inputs: Tensor,
    targets: Tensor,
    step: int,
) -> float:
    def closure() -> float:
        descent.zero_grad()
        value = as_loss(loss(call(model, inputs), targets))
        number = float(value.detach())
        if not math.isfinite(number):
            raise ArithmeticError(
                f"training diverged: the loss is {number} at step {step}; lower the learning rate"
            )
        if not value.requires_grad:
            raise ValueError("the loss is not differentiable: it is detached from all parameters")
        torch.autograd.backward(value)
        return number

    return float(descent.step(closure))


def _data(
    model: nn.Module, inputs: Tensor | ArrayLike, targets: Tensor | ArrayLike
) -> tuple[Tensor, Tensor]:
    check_parameters(model)
    device = model_device(model)
    batch = as_inputs(model, inputs).to(device)
    labels = as_tensor("targets", targets).to(device)
    if labels.ndim == 0 or len(labels) != len(batch):
        raise ValueError(f"there are {len(batch)} inputs and targets of shape {labels.shape}")
    if labels.is_floating_point():
        labels = labels.to(next((p.dtype for p in model.parameters()), labels.dtype))
        if not torch.isfinite(labels).all():
            raise ValueError("targets hold NaN or infinite entries, must be finite")
    return batch, labels


def _moments(record_at: Sequence[int], last: int) -> frozenset[int]:
    if not isinstance(record_at, Iterable):
        raise TypeError(f"record_at = {record_at!r} must be a sequence of steps")
    moments = frozenset(integer("record_at", step, 0) for step in record_at)
    if moments and max(moments) > last:
        raise ValueError(f"record_at holds {max(moments)}, training ends after {last} steps")
    return moments


def _descent(
    model: nn.Module, lr: Rate | None, optimizer: torch.optim.Optimizer | None
) -> tuple[torch.optim.Optimizer, Callable[[int], float] | None]:
    """The optimiser, and the learning rate as a function of the epoch if it is ours to set."""
    if (lr is None) == (optimizer is None):
        given = "neither" if lr is None else "both"
        raise ValueError(f"lr and optimizer: one of the two must be given, there are {given}")
    own = {id(p) for p in model.parameters()}
    if not own:
        raise ValueError(f"the model has no parameters: {type(model).__name__}")
    if optimizer is not None:
        if own.isdisjoint(id(p) for group in optimizer.param_groups for p in group["params"]):
            raise ValueError("optimizer holds no parameter of this model, must hold at least one")
        return optimizer, None
    rate = lr if callable(lr) else _constant(nonnegative("lr", lr))
    return torch.optim.SGD(model.parameters(), lr=0.0), rate


@contextmanager
def _running(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Autograd on; what draws from torch's global generators is seeded, and leaves no trace."""
    with torch.inference_mode(False), torch.enable_grad(), own_random_numbers(device):
        torch.manual_seed(generator.initial_seed())
        yield


def _constant(value: float) -> Callable[[int], float]:
    return lambda _: value


def _set_rate(descent: torch.optim.Optimizer, value: float) -> None:
    for group in descent.param_groups:
        group["lr"] = nonnegative("lr", value)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: m.weight.detach().clone() for name, m in linear_layers(model).items()}


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode while the context lasts, for every module as it was before afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
