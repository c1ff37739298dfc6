"""How parallel filter covariance and patch-AGOP are, layer by layer, before and after training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..plot import Data, Plot, Series
from ..style import (
    BLUE,
    DASHED,
    GREY,
    ORANGE,
    SOLID,
    Look,
    canvas,
    handle,
    legend_above,
    line,
    title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEFORE, AFTER = "before", "after"
LOOKS = {
    BEFORE: Look(ORANGE, DASHED, "s"),
    AFTER: Look(BLUE, SOLID, "o", filled=True),
}
THRESHOLD = 0.7
"""What trained layers must exceed; fixed before the networks were trained."""

THRESHOLD_LOOK = Look(GREY, DASHED, "")
SPREAD = 0.09
"""Between the points of two seeds."""


@dataclass(frozen=True)
class _Panel:
    """An activation and a power of the patch-AGOP."""

    activation: str
    power: float
    label: str


PANELS = (
    _Panel("tanh", 1.0, "tanh, patch-AGOP"),
    _Panel("tanh", 0.5, "tanh, its square root"),
    _Panel("relu", 1.0, "ReLU, patch-AGOP"),
)


def correlations(
    seeds: Sequence[int] = (0, 1, 2, 3, 4), relu_seeds: Sequence[int] = (0, 1, 2, 3, 4)
) -> Plot:
    """Correlation of filter covariance and patch-AGOP in each convolution, seed by seed.

    Networks with three convolutions of 16 filters, 3 × 3, trained on 1000 of scikit-learn's digits;
    each pair of points is one layer of one network at initialisation and after training. Cosine of
    the filter covariance (a) with the patch-AGOP, (b) with its square root; (c) as (a), with ReLU
    in place of tanh: there the first layer's correlation is high without any training, because
    ReLU's random gates make the gradients near isotropic. The settings were fixed on other seeds.

    Args:
        seeds: Of the networks with tanh.
        relu_seeds: Of those with ReLU.
    """
    from numerics.convolution.cnn import DIGITS, RELU, train_on_digits

    data: dict[str, Series] = {}
    for activation, protocol, chosen in (("tanh", DIGITS, seeds), ("relu", RELU, relu_seeds)):
        for seed in chosen:
            network = train_on_digits(seed, protocol)
            for panel in PANELS:
                if panel.activation == activation:
                    pairs = list(network.correlations(power=panel.power).values())
                    data |= _series(panel, seed, np.array(pairs))
            test = np.array([network.test_accuracy])
            data[f"{activation}: accuracy, seed {seed}"] = Series(np.zeros(1), test)
    data["threshold"] = Series(np.array([0.5, 3.5]), np.full(2, THRESHOLD))
    return Plot("convolution.correlations", data, _paint)


def _series(panel: _Panel, seed: int, pairs: np.ndarray) -> dict[str, Series]:
    layers = np.arange(1, len(pairs) + 1, dtype=np.float64)
    return {
        f"{panel.activation}, power {panel.power:g}: seed {seed}, {when}": Series(layers, values)
        for when, values in zip((BEFORE, AFTER), pairs.T, strict=True)
    }


# The picture


def _paint(data: Data) -> Figure:
    figure, panels = canvas(2.5, 3, share_y=True)
    for index, (axes, panel) in enumerate(zip(panels, PANELS, strict=True)):
        line(axes, data["threshold"], THRESHOLD_LOOK)
        networks = list(_networks(data, panel))
        for number, (before, after) in enumerate(networks):
            _paint_network(axes, before, after, SPREAD * (number - (len(networks) - 1) / 2))
        title(axes, index, panel.label)
        axes.set(xlabel="convolution", xlim=(0.5, 3.5), xticks=[1, 2, 3])
    panels[0].set(ylabel=r"$\rho$", ylim=(0.4, 1.02))
    _legend(figure)
    return figure


def _networks(data: Data, panel: _Panel) -> Iterator[tuple[Series, Series]]:
    start = f"{panel.activation}, power {panel.power:g}: "
    for name, before in data.items():
        if name.startswith(start) and name.endswith(BEFORE):
            yield before, data[name.removesuffix(BEFORE) + AFTER]


def _paint_network(axes: Axes, before: Series, after: Series, shift: float) -> None:
    axes.vlines(before.x + shift, before.y, after.y, color=GREY, linewidth=0.6)
    for series, look in ((before, LOOKS[BEFORE]), (after, LOOKS[AFTER])):
        axes.plot(
            series.x + shift,
            series.y,
            color=look.colour,
            linestyle="none",
            marker=look.marker,
            markerfacecolor=look.face,
            markeredgewidth=0.8,
            markersize=look.size,
        )


def _legend(figure: Figure) -> None:
    legend_above(
        figure,
        [
            handle(LOOKS[BEFORE], "at initialisation", shows="points"),
            handle(LOOKS[AFTER], "after training", shows="points"),
            handle(THRESHOLD_LOOK, f"{THRESHOLD}", shows="line"),
        ],
        3,
        "each pair of points: one layer of one network",
    )
