"""Which part of a layer collapses its features: the weights' singular structure, or the ReLU.

With W = USVᵀ, a layer takes Φ to SVᵀΦ, rotates that to WΦ = U(SVᵀΦ), which changes no distance,
and applies its nonlinearity. Source: paper B.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ..alignment.checks import as_inputs
from ..alignment.networks import activation_function
from ..alignment.training import Rate, train_sgd
from ..validation import RealArray
from .hooks import Visit, chosen_modules, watch
from .layers import BATCH, add_features, refuse_missing
from .metrics import Collapse, Labels, class_index, collapse_from
from .moments import ClassMoments

PARTS = ("features", "singular", "linear", "nonlinear")


@dataclass(frozen=True)
class SingularCollapse:
    """How collapsed a linear layer's samples are, on their way through it.

    Attributes:
        features: Of Φ, what goes in.
        singular: Of SVᵀΦ.
        linear: Of WΦ + b, what comes out; equal to `singular`.
        nonlinear: Of φ(WΦ + b).
    """

    features: Collapse
    singular: Collapse
    linear: Collapse
    nonlinear: Collapse


def singular_map(weight: Tensor) -> Tensor:
    """SVᵀ of W = USVᵀ, shape (min(k, d), d), for W of shape (k, d).

    In single precision at least.
    """
    single = torch.promote_types(weight.dtype, torch.float32)  # none in half precision
    _, values, vectors = torch.linalg.svd(weight.detach().to(single), full_matrices=False)
    rotation: Tensor = values[:, None] * vectors
    return rotation


def singular_collapse(
    model: nn.Module,
    inputs: Tensor | ArrayLike,
    labels: Labels,
    layers: Sequence[str] | None = None,
    *,
    activation: str = "relu",
    batch_size: int = BATCH,
) -> dict[str, SingularCollapse]:
    """Measure the collapse of Φ, SVᵀΦ, WΦ + b and φ(WΦ + b) at a network's linear layers.

    The model is left as it was, as in `collapse_of_layers`. What a layer does to several positions
    of a sample counts as one long feature vector.

    Args:
        model: Any module; its layers of type torch.nn.Linear are measured.
        inputs: Samples along the first axis.
        labels: The class of each sample, shape (n,): numbers or strings.
        layers: Names as in `model.named_modules()`; by default all linear layers that are called.
        activation: φ by name, whatever the model itself applies.
        batch_size: Samples per forward pass.

    Raises:
        TypeError: If the model is not a module, or an argument has the wrong type.
        ValueError: If there is no such linear layer, a layer is called twice, a named one or all of
            them never, the activation is unknown, or as in `collapse_of_layers`.
    """
    phi = activation_function(activation)
    modules = chosen_modules(model, layers, nn.Linear)
    rotations = {name: singular_map(_weight(layer)) for name, layer in modules.items()}
    batch = as_inputs(model, inputs)
    index, classes = class_index(labels, len(batch))
    found: dict[str, tuple[ClassMoments, ...]] = {}

    def visit(part: slice) -> Visit:
        def at(name: str, before: int, args: tuple[Any, ...], z: Any) -> None:
            if before:
                raise ValueError(f"layer {name!r} is called twice in the forward pass")
            own = found.setdefault(name, tuple(ClassMoments(classes) for _ in PARTS))
            h = args[0]
            rotated = h.to(rotations[name].dtype) @ rotations[name].T
            for moments, values in zip(own, (h, rotated, z, phi(z)), strict=True):
                add_features(moments, values, index[part], name)

        return at

    watch(model, batch, modules, batch_size, visit)
    refuse_missing(list(modules) if layers is not None or not found else [], found)
    return {name: SingularCollapse(*map(collapse_from, own)) for name, own in found.items()}


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"the weight is {type(weight).__name__}, must be a tensor")
    return weight


@dataclass(frozen=True)
class SingularRecord:
    """A network at one moment of training.

    Attributes:
        step: Steps taken so far.
        loss: On all training data.
        layers: By the layers' names.
    """

    step: int
    loss: float
    layers: dict[str, SingularCollapse]


def train_and_measure_collapse(
    model: nn.Module,
    inputs: Tensor | ArrayLike,
    labels: Labels,
    *,
    lr: Rate,
    epochs: int,
    batch_size: int | None = None,
    record_at: Sequence[int],
    layers: Sequence[str] | None = None,
    activation: str = "relu",
    generator: torch.Generator,
) -> tuple[SingularRecord, ...]:
    """Train a network in place to the classes' one-hot vectors, and measure collapse on the way.

    Stochastic gradient descent on ½ Σ_c (f_c − y_c)², averaged over the batch.

    Args:
        model: Any module with one output for each class, without dropout or batch normalisation.
        inputs: Samples along the first axis.
        labels: The class of each sample, shape (n,): numbers or strings; outputs are in the order
            of the sorted labels.
        lr: Learning rate, or a function of the epoch.
        epochs: Passes through the data.
        batch_size: Samples per step; None is full-batch.
        record_at: Steps after which to measure; 0 is before the first.
        layers: Names of linear layers to measure; by default all.
        activation: φ by name, applied to what the layers give out.
        generator: Draws the orders of the samples.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: As in `singular_collapse` and `train_sgd`.
        ArithmeticError: If the loss leaves the finite numbers.
    """
    batch = as_inputs(model, inputs)
    index, classes = class_index(labels, len(batch))
    targets: RealArray = torch.nn.functional.one_hot(index, classes).double().numpy()
    measured: dict[int, dict[str, SingularCollapse]] = {}

    def record(step: int, now: nn.Module) -> None:
        measured[step] = singular_collapse(now, batch, labels, layers, activation=activation)

    training = train_sgd(
        model, batch, targets, lr=lr, epochs=epochs, batch_size=batch_size,
        loss=_mean_loss, generator=generator, record_at=record_at, layers=layers, callback=record,
    )  # fmt: skip
    return tuple(SingularRecord(r.step, r.loss, measured[r.step]) for r in training.records)


def _mean_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().sum() / (2 * len(outputs))
