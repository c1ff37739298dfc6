"""How samples of a class become one, layer by layer: Gram matrices of Deep RFM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..plot import Data, Floats, Plot, Series
from ..style import canvas, title
from .data import balanced_digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def gram(
    shown: Sequence[int] = (1, 3, 7, 13, 19), per_class: int = 20, width: int = 256, seed: int = 4
) -> Plot:
    """Cosines between the centred features of digits, ordered by class, in layers of Deep RFM.

    The last panel is the last of these layers without the AGOP step. Where features have collapsed,
    entries are 1 within a class and −1/9 between classes. Laplace's kernel, L = 2, λ = 1e-3, random
    ReLU features; numbers are NC1 of the same features.

    Args:
        shown: Layers, rising.
        per_class: Images of each digit.
        width: Features of each layer.
        seed: Of images and weights.
    """
    images, labels = balanced_digits(per_class, np.random.default_rng(seed))
    data: dict[str, Series] = {}
    for agop, numbers in ((True, shown), (False, shown[-1:])):
        model = _machine(shown[-1], width, seed, agop).fit(images, labels)
        for layer in model.layers(images):
            if layer.number in numbers:
                name = f"layer {layer.number}" if agop else f"layer {layer.number}, no AGOP"
                data |= _entries(name, layer.features, labels)
    return Plot("collapse.gram", data, _paint)


def _machine(depth: int, width: int, seed: int, agop: bool) -> Any:
    from numerics.collapse.estimator import DeepRFM

    return DeepRFM(depth=depth, width=width, random_state=seed, agop=agop)


def _entries(name: str, features: Floats, labels: Any) -> dict[str, Series]:
    """The matrix, row after row, and NC1."""
    from numerics.collapse.metrics import nc1

    centred = features - features.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    cosines = (unit @ unit.T).ravel()
    return {
        name: Series(np.arange(cosines.size, dtype=np.float64), cosines),
        f"{name}: NC1": Series(np.zeros(1), np.array([nc1(features, labels)])),
    }


# The picture


def _paint(data: Data) -> Figure:
    names = [name for name in data if not name.endswith(": NC1")]
    figure, panels = canvas(1.75, len(names))
    for index, (axes, name) in enumerate(zip(panels, names, strict=True)):
        size = round(len(data[name].y) ** 0.5)
        matrix = _paint_matrix(axes, data[name].y.reshape(size, size))
        axes.set_xlabel(f"NC1 {data[f'{name}: NC1'].y[0]:.1e}", fontsize=7)
        text = name.removesuffix(", no AGOP")
        title(axes, index, text if text == name else f"{text}, $M = I$")
        axes.set_title(axes.get_title(loc="left"), loc="left", fontsize=7)
    bar = figure.colorbar(matrix, ax=panels, location="bottom", shrink=0.4, aspect=30, pad=0.04)
    bar.ax.set_title("colours of all panels", fontsize=7)
    bar.ax.set_xlabel("cosine of centred features", fontsize=7)
    return figure


def _paint_matrix(axes: Axes, matrix: Floats) -> Any:
    from matplotlib.ticker import NullLocator

    axes.grid(visible=False)
    axes.xaxis.set_major_locator(NullLocator())
    axes.yaxis.set_major_locator(NullLocator())
    # One direction of lightness, so that grey keeps the order; cosines below are the darkest.
    return axes.imshow(matrix, cmap="cividis", vmin=-0.5, vmax=1, interpolation="nearest")
