"""Linearised Deep RFM beside its theory: how fast it collapses, and to what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..plot import Data, Floats, Plot, Series
from ..style import (
    BLUE,
    DASHED,
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
from .data import Labels, balanced_digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KERNEL_RIDGE, FEATURE_RIDGE = 1.0, 0.5
FLOOR = 1e-10
"""Sines below are left out: rounding begins to show in their ratios."""


@dataclass(frozen=True)
class _Setting:
    """κn, with its look."""

    name: str
    strength: float
    look: Look


SETTINGS = (
    _Setting("weak", 1.0, Look(BLUE, SOLID, "o", size=2.8)),
    _Setting("strong", 20.0, Look(ORANGE, DASHED, "s", size=2.8)),
)


def rate(
    layers: int = 30, per_class: int = 10, classes: int = 4, seeds: int = 3, seed: int = 8
) -> Plot:
    """Linearised Deep RFM on digits: (a) angle to the label space, (b) NC1, with the theory.

    Points are runs with explicit features and AGOPs, one colour a setting, three seeds each. Lines:
    in (a) the theory's rate per layer, drawn through each run's last point, as only the slope is
    predicted; in (b) NC1 at the fixed point. κn = 1 is in the contractive regime (q = 0.89),
    κn = 20 is not (q = 18), but its fixed point is the only one, too.

    Args:
        layers: Depth.
        per_class: n, images of each class.
        classes: K.
        seeds: Runs of each setting.
        seed: Of the images.
    """
    data: dict[str, Series] = {}
    for number in range(seeds):
        drawn = balanced_digits(per_class, np.random.default_rng([seed, number]), classes)
        for setting in SETTINGS:
            data |= _run(setting, *drawn, layers, per_class, number)
    for setting in SETTINGS:
        data |= _limit(setting, layers, per_class, classes)
    return Plot("collapse.rate", data, _paint)


def _run(
    setting: _Setting, images: Floats, labels: Labels, layers: int, n: int, number: int
) -> dict[str, Series]:
    from numerics.collapse.linearised import linearised_deep_rfm
    from theory.collapse.rates import angle_rate

    unit = images / np.linalg.norm(images, axis=1, keepdims=True)
    scale = setting.strength / n
    ridges = {"kernel_ridge": KERNEL_RIDGE, "feature_ridge": FEATURE_RIDGE}
    run = linearised_deep_rfm(unit, labels, **ridges, scale=scale, depth=layers)
    x, kept = np.arange(layers + 1.0), run.sines > FLOOR
    last = int(np.flatnonzero(kept)[-1])
    predicted = run.sines[last] * angle_rate(n, **ridges, scale=scale) ** (x[kept] - x[last])
    shown = predicted <= 1
    return {
        f"sine: {setting.name}, seed {number}": Series(x[kept], run.sines[kept]),
        f"sine: {setting.name}, rate, seed {number}": Series(x[kept][shown], predicted[shown]),
        f"NC1: {setting.name}, seed {number}": Series(x, run.nc1),
    }


def _limit(setting: _Setting, layers: int, n: int, classes: int) -> dict[str, Series]:
    from theory.collapse.fixed_points import fixed_point

    found = fixed_point(
        n, classes, kernel_ridge=KERNEL_RIDGE, feature_ridge=FEATURE_RIDGE,
        scale=setting.strength / n,
    )  # fmt: skip
    x = np.arange(layers + 1.0)
    return {f"NC1: {setting.name}, fixed point": Series(x, np.full_like(x, found.nc1))}


# The picture


def _paint(data: Data) -> Figure:
    figure, panels = canvas(2.6, 2)
    for setting in SETTINGS:
        for axes, quantity in zip(panels, ("sine", "NC1"), strict=True):
            for name, series in data.items():
                if name.startswith(f"{quantity}: {setting.name},"):
                    _paint_series(axes, name, series, setting.look)
    panels[0].set(xlabel="layer", ylabel="sine of the largest angle", yscale="log")
    panels[1].set(xlabel="layer", ylabel="NC1", yscale="log")
    title(panels[0], 0, "angle to the label space")
    title(panels[1], 1, "variability")
    looks = [handle(s.look, rf"$\kappa n = {s.strength:g}$") for s in SETTINGS]
    legend_above(
        figure,
        looks,
        2,
        "points: runs, each seed   lines: (a) the theory's rate, (b) its fixed point",
    )
    return figure


def _paint_series(axes: Axes, name: str, series: Series, look: Look) -> None:
    draw = line if "rate" in name or "fixed point" in name else points
    draw(axes, series, look)
