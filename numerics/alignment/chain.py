"""Small networks trained on chain monomials with any optimiser, from one generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..validation import integer
from .data import Sample, chain_monomial
from .networks import mlp
from .training import Training, mean_squared_error, train_sgd

MakeOptimiser = Callable[[nn.Module], torch.optim.Optimizer]


@dataclass(frozen=True)
class ChainTask:
    """A chain monomial and the network that is to learn it.

    Attributes:
        kind: "product" or "ring", as in `chain_monomial`.
        length: Coordinates in the chain.
        d: Coordinates altogether.
        n: Training samples; as many are kept for testing.
        hidden: Widths of the ReLU layers; one output, no biases.
        scale: Weights are N(0, scale²/fan_in); 1/√3 is the variance of PyTorch's default.
        batch_size: Samples per step; it divides n.
        steps: Steps, whole epochs of them.
        record_every: Steps between records.

    Raises:
        TypeError: If a number is not an integer where it must be.
        ValueError: If batches do not make up the data, or steps no whole epochs.
    """

    kind: str = "ring"
    length: int = 3
    d: int = 20
    n: int = 1000
    hidden: tuple[int, ...] = (64, 64)
    scale: float = 3**-0.5
    batch_size: int = 100
    steps: int = 400
    record_every: int = 20

    def __post_init__(self) -> None:
        for name in ("n", "batch_size", "steps", "record_every"):
            integer(name, getattr(self, name), 1)
        if self.n % self.batch_size:
            raise ValueError(f"batch_size = {self.batch_size} must divide n = {self.n}")
        if self.steps % (self.n // self.batch_size):
            raise ValueError(
                f"steps = {self.steps} must be a multiple of the {self.n // self.batch_size} "
                "steps of an epoch"
            )

    @property
    def last(self) -> str:
        """The name of the readout layer; the first layer's is "0"."""
        return str(2 * len(self.hidden))


def train_on_chain(
    task: ChainTask,
    make: MakeOptimiser,
    rng: np.random.Generator,
    *,
    layers: Sequence[str] = ("0",),
) -> Training:
    """Train one network, and record its first layer (or others), training and test loss.

    Runs from equal generators share data, initial weights and the batches' order: they differ by
    the optimiser alone, and can be compared in pairs.

    Args:
        task: What is learnt.
        make: Makes the optimiser of the network.
        rng: Draws data, weights and orders.
        layers: The layers to record.

    Raises:
        ValueError: If a setting is out of its range.
        ArithmeticError: If the loss leaves the finite numbers.
    """
    both = chain_monomial(2 * task.n, task.d, task.length, rng, kind=task.kind)
    train, test = (Sample(both.inputs[i::2], both.targets[i::2]) for i in range(2))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    model = mlp([task.d, *task.hidden, 1], scale=task.scale, generator=generator)
    return train_sgd(
        model,
        train.inputs,
        train.targets,
        epochs=task.steps * task.batch_size // task.n,
        batch_size=task.batch_size,
        loss=mean_squared_error,
        optimizer=make(model),
        generator=generator,
        record_at=range(0, task.steps + 1, task.record_every),
        layers=layers,
        test=(test.inputs, test.targets),
    )
