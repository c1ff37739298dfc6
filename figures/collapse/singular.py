"""Which part of a layer collapses the features of a network while it is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..plot import Data, Plot, Series
from ..style import (
    BLUE,
    DASHED,
    DOTTED,
    GREEN,
    ORANGE,
    SOLID,
    Look,
    canvas,
    handle,
    legend_above,
    line,
    points,
    title,
)
from .data import balanced_digits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from numerics.collapse.singular import SingularRecord

PARTS = {
    "features": (Look(BLUE, SOLID, "o", size=2.8), r"$\Phi$"),
    "singular": (Look(ORANGE, DASHED, "s", size=2.8), r"$SV^{\mathsf{T}}\Phi$"),
    "nonlinear": (Look(GREEN, DOTTED, "^", size=2.8), r"$\mathrm{ReLU}(W\Phi)$"),
}
LAYERS = ("2", "4", "6")


def training(
    epochs: int = 60, per_class: int = 40, width: int = 96, seeds: int = 3, seed: int = 9
) -> Plot:
    """NC1 in a ReLU network while it learns digits: before a layer, after SVᵀ, after the ReLU.

    W = USVᵀ is a hidden layer's weight matrix and Φ what it takes; a line for each seed. U changes
    no NC1: SVᵀΦ has that of WΦ. Four hidden layers without biases, SGD on squared errors to one-hot
    vectors; panels are the second to the fourth layer.

    Args:
        epochs: Passes through the data.
        per_class: Images of each digit.
        width: Of the hidden layers.
        seeds: Networks.
        seed: Of images, weights and batches.
    """
    data: dict[str, Series] = {}
    for number in range(seeds):
        records = _trained(epochs, per_class, width, seed, number)
        for index, layer in enumerate(LAYERS, 2):
            for part in PARTS:
                name = f"layer {index}: {part}, seed {number}"
                data[name] = _curve(records, layer, part)
    return Plot("collapse.training", data, _paint)


def _trained(
    epochs: int, per_class: int, width: int, seed: int, number: int
) -> tuple[SingularRecord, ...]:
    import torch

    from numerics.alignment.networks import mlp
    from numerics.collapse.singular import train_and_measure_collapse

    images, labels = balanced_digits(per_class, np.random.default_rng([seed, number]))
    draws = torch.Generator().manual_seed(1000 * seed + number)
    model = mlp((64, width, width, width, width, 10), scale=2**0.5, generator=draws)
    steps = epochs * int(np.ceil(len(images) / 50))
    moments = sorted({0, *(int(s) for s in np.geomspace(1, steps, 12))})
    return train_and_measure_collapse(
        model, images, labels, lr=0.1, epochs=epochs, batch_size=50, record_at=moments,
        layers=LAYERS, generator=draws,
    )  # fmt: skip


def _curve(records: tuple[SingularRecord, ...], layer: str, part: str) -> Series:
    steps = np.array([float(record.step) for record in records])
    values = [getattr(record.layers[layer], part).nc1 for record in records]
    return Series(steps, np.array(values, dtype=np.float64))


# The picture


def _paint(data: Data) -> Figure:
    figure, panels = canvas(2.5, len(LAYERS), share_y=True)
    for index, axes in enumerate(panels):
        for name, series in data.items():
            layer, part = name.split(", ")[0].split(": ")
            if layer == f"layer {index + 2}":
                line(axes, series, PARTS[part][0])
                points(axes, series, PARTS[part][0])
        axes.set_xscale("symlog", linthresh=1)
        axes.set(xlabel="step of SGD", yscale="log", xlim=(0, None))
        title(axes, index, f"layer {index + 2}")
    panels[0].set(ylabel="NC1")
    legend_above(
        figure, [handle(look, text) for look, text in PARTS.values()], 3, "a line for each seed"
    )
    return figure
