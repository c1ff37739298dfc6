"""Paper C's protocol for fully connected networks, with the settings of its released code."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from ..validation import integer
from .checks import linear_layers
from .data import Split
from .networks import mlp
from .training import Training, mean_squared_error, train_sgd


@dataclass(frozen=True)
class Protocol:
    """How paper C's released code trains fully connected networks, with its settings.

    Bias-free ReLU layers, weights uniform in ±1/√fan_in (PyTorch's default), mean squared error
    over samples and outputs against one-hot − 1/C, plain SGD at the rate lr · C/10. One epoch at
    the rate `first_lr` · C/10 comes before the others. W₀ are the weights before any training; what
    the code's figures call "init" is *measured* after the first epoch, when W − W₀ is small but not
    zero.

    Attributes:
        hidden: Widths.
        lr: Rate for ten classes.
        first_lr: The same for the first epoch.
        epochs: Epochs after the first.
        batch_size: Samples per step.
        record_every: Epochs between records, the first of which follows the first epoch.
        kind: Correlation; the code's is Pearson's, the paper's definition the cosine.

    Raises:
        TypeError: If a number is not an integer where it must be.
        ValueError: If a number is too small, or there are no hidden layers.
    """

    hidden: tuple[int, ...] = (256,) * 5
    lr: float = 2.0
    first_lr: float = 1e-4
    epochs: int = 150
    batch_size: int = 128
    record_every: int = 25
    kind: str = "pearson"

    def __post_init__(self) -> None:
        for width in self.hidden:
            integer("hidden", width, 1)
        if not self.hidden:
            raise ValueError(f"hidden = {self.hidden!r} must hold at least one width")
        for name, minimum in (("epochs", 0), ("batch_size", 1), ("record_every", 1)):
            integer(name, getattr(self, name), minimum)


PAPER_C = Protocol()


def train_as_in_paper_c(
    split: Split,
    generator: torch.Generator,
    protocol: Protocol = PAPER_C,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> tuple[nn.Sequential, Training]:
    """Train a network by the protocol; its hidden layers are recorded.

    Args:
        split: Such as `classification` makes: targets of shape (n, C).
        generator: Draws weights and orders.
        protocol: Its settings.
        dtype: Of the network.
        device: Of the network.

    Returns:
        The trained network and the records.

    Raises:
        ValueError: If targets have not the shape (n, C), or a setting is out of its range.
    """
    if split.train.targets.ndim != 2:
        raise ValueError(f"targets have shape {split.train.targets.shape}, must be (n, C)")
    classes = split.train.targets.shape[1]
    model = mlp(
        [split.train.inputs.shape[1], *protocol.hidden, classes],
        generator=generator,
        dtype=dtype,
        device=device,
    )
    draw_uniform(model, generator)
    per_epoch = math.ceil(len(split.train) / protocol.batch_size)
    training = train_sgd(
        model,
        split.train.inputs,
        split.train.targets,
        lr=lambda epoch: (protocol.lr if epoch else protocol.first_lr) * classes / 10,
        epochs=1 + protocol.epochs,
        batch_size=protocol.batch_size,
        loss=mean_squared_error,
        generator=generator,
        record_at=[
            per_epoch * (1 + e) for e in range(0, 1 + protocol.epochs, protocol.record_every)
        ],
        layers=list(linear_layers(model))[:-1],
        kind=protocol.kind,
        test=(split.test.inputs, split.test.targets) if len(split.test) else None,
    )
    return model, training


def draw_uniform(model: nn.Module, generator: torch.Generator) -> None:
    """Draw the linear layers' weights anew, uniform in ±1/√fan_in: PyTorch's default, seeded."""
    with torch.no_grad():
        for layer in linear_layers(model).values():
            draw = torch.rand(
                layer.weight.shape,
                generator=generator,
                dtype=torch.float64,
                device=generator.device,
            )
            layer.weight.copy_((2 * draw - 1) / math.sqrt(layer.in_features))
