"""Risk against bandwidth at fixed n: no bandwidth makes both parts small."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from numerics.monte_carlo import Estimate
from numerics.ridgeless import monte_carlo_risk
from numerics.ridgeless.targets import Target
from theory.ridgeless import risk

from ..plot import NUMERICS, THEORY, Data, Floats, Plot, Series
from ..style import (
    BLACK,
    DASHED,
    DOTTED,
    SKY,
    SOLID,
    VERMILLION,
    Look,
    canvas,
    handle,
    legend_above,
    line,
    points,
    title,
)
from .setting import KERNELS, NOISE_VARIANCE, SAMPLED, TARGET, Named, generators, measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = {
    "total": Look(BLACK, SOLID, "o"),
    "approximation": Look(VERMILLION, DASHED, "s"),
    "estimation": Look(SKY, DOTTED, "^"),
}
LIMITS = 0.04, 30.0
"""Bandwidths shown, in grid spacings."""


def risk_against_bandwidth(
    n: int = 64, count: int = 10, draws: int = 200, resolution: int = 80, seed: int = 1
) -> Plot:
    """The risk and its two parts against h, one panel per kernel; σ² = 1/4, ‖f*‖² = 1.

    Approximation is measured without noise, estimation without target; total is measured with both
    and on its own, not as their sum.

    Args:
        n: Grid points.
        count: Bandwidths at which numerics is run, per kernel.
        draws: Data sets per point.
        resolution: Bandwidths on the lines.
        seed: Of the noise.
    """
    data: dict[str, Series] = {}
    rngs = generators(seed)
    for named in KERNELS:
        data |= _panel(named, n, count, draws, resolution, rngs)
    return Plot("ridgeless.risk_against_bandwidth", data, partial(_paint, n))


def _panel(
    named: Named,
    n: int,
    count: int,
    draws: int,
    resolution: int,
    rngs: Iterator[np.random.Generator],
) -> dict[str, Series]:
    low, high = LIMITS[0] / n, LIMITS[1] / n
    h = np.geomspace(low, min(high, named.widest / n), count)
    fine = np.union1d(np.geomspace(low, high, resolution), h)
    series = _theory(named, n, fine)

    # Kernels far narrower than a grid spacing need many quadrature points in it.
    def measure(target: Target, variance: float, draws: int, order: int = 16) -> Series:
        def estimate(h: float) -> Estimate:
            return monte_carlo_risk(
                named.profile, n, h, target, variance, draws=draws, rng=next(rngs), order=order
            )

        return measured(h, estimate)

    series[f"{named.name}: total{NUMERICS}"] = measure(SAMPLED, NOISE_VARIANCE, draws)
    series[f"{named.name}: approximation{NUMERICS}"] = measure(SAMPLED, 0.0, 2, order=32)
    series[f"{named.name}: estimation{NUMERICS}"] = measure({}, NOISE_VARIANCE, draws)
    return series


def _theory(named: Named, n: int, h: Floats) -> dict[str, Series]:
    risks = [risk(named.kernel, n, float(value), TARGET, NOISE_VARIANCE) for value in h]
    values = {part: np.array([getattr(r, part) for r in risks]) for part in PARTS}
    return {f"{named.name}: {part}{THEORY}": Series(h, y) for part, y in values.items()}


def _paint(n: int, data: Data) -> Figure:
    figure, panels = canvas(2.45, 3, share_y=True)
    for index, (axes, named) in enumerate(zip(panels, KERNELS, strict=True)):
        for part, look in PARTS.items():
            line(axes, data[f"{named.name}: {part}{THEORY}"], look)
            points(axes, data[f"{named.name}: {part}{NUMERICS}"], look)
        title(axes, index, rf"{named.name}, $n={n}$")
        axes.set(xscale="log", xlabel=r"bandwidth $h$ (period 1)", ylim=(-0.03, 1.05))
    panels[0].set_ylabel(r"risk ($\Vert f^*\Vert^2 = 1,\ \sigma^2 = 1/4$)")
    legend_above(figure, [handle(look, part) for part, look in PARTS.items()], 3)
    return figure
