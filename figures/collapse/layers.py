"""NC1 and NC2 against depth, for the three maps of a layer, with the AGOP step and without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..plot import Data, Floats, Plot, Series
from ..style import (
    BLACK,
    BLUE,
    DASHED,
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
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from numerics.collapse.estimator import LayerCollapse

ARMS = {"AGOP": True, "no AGOP": False}
DASHES = {"AGOP": SOLID, "no AGOP": DASHED}
MAPS = {
    "inputs": (BLUE, "o", "$X$"),
    "mapped": (ORANGE, "s", "$XM^{1/2}$"),
    "features": (GREEN, "^", r"$\Phi(XM^{1/2})$"),
}
METRICS = {"nc1": "NC1", "nc2": "NC2"}


def depth(
    layers: int = 20, per_class: int = 25, width: int = 256, seeds: int = 3, seed: int = 6
) -> Plot:
    """Neural collapse of digits in Deep RFM against the layer: (a) NC1, (b) NC2; a line a seed.

    For the inputs at unit norm, for these times the root of the AGOP, and for the random ReLU
    features of that; without the AGOP step M is the identity and the first two are the same.
    Laplace's kernel, L = 2, λ = 1e-3. A seed's images and random features are those of both arms.

    Args:
        layers: Depth.
        per_class: Images of each digit.
        width: Features of each layer.
        seeds: Machines in each arm.
        seed: Of images and weights.
    """
    from numerics.collapse.estimator import DeepRFM

    data: dict[str, Series] = {}
    for number in range(seeds):
        images, labels = balanced_digits(per_class, np.random.default_rng([seed, number]))
        for arm, agop in ARMS.items():
            model = DeepRFM(depth=layers, width=width, agop=agop, random_state=number)
            data |= _curves(model.fit(images, labels).history_, arm, number)
    return Plot("collapse.depth", data, _paint)


def _curves(history: tuple[LayerCollapse, ...], arm: str, number: int) -> dict[str, Series]:
    x = np.array([float(layer.number) for layer in history])
    return {
        f"{metric}: {name}, {arm}, seed {number}": Series(x, _values(history, name, metric))
        for metric in METRICS
        for name in MAPS
    }


def _values(history: tuple[LayerCollapse, ...], name: str, metric: str) -> Floats:
    found: Floats = np.array([getattr(getattr(layer, name), metric) for layer in history])
    return found


# The picture


def _paint(data: Data) -> Figure:
    figure, panels = canvas(2.7, 2)
    for index, (axes, (metric, text)) in enumerate(zip(panels, METRICS.items(), strict=True)):
        for name, series in data.items():
            if name.startswith(metric):
                _paint_curve(axes, series, *name.removeprefix(f"{metric}: ").split(", ")[:2])
        axes.set(xlabel="layer", ylabel=text, yscale="log")
        title(axes, index, f"{text} of the samples")
    looks = [handle(Look(colour, SOLID, mark), text) for colour, mark, text in MAPS.values()]
    looks += [handle(Look(BLACK, DASHES[arm], ""), text, shows="line") for arm, text in _LABELS]
    legend_above(figure, looks, 5, "a line for each seed")
    return figure


_LABELS = (("AGOP", r"$M = \mathrm{AGOP}$"), ("no AGOP", "$M = I$"))


def _paint_curve(axes: Axes, series: Series, name: str, arm: str) -> None:
    colour, mark, _ = MAPS[name]
    look = Look(colour, DASHES[arm], mark, size=2.6)
    line(axes, series, look)
    some = slice(None, None, 6)  # enough to tell the lines apart without colour
    points(axes, Series(series.x[some], series.y[some]), look)
