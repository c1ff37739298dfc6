"""Random designs beside the grid, and what eigenlearning predicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from numerics.monte_carlo import Estimate
from numerics.ridgeless import design_errors, design_risk, exact_risk_mp
from theory.ridgeless import limit_risk, risk
from theory.ridgeless.design import EIGENLEARNING, ESTIMATION

from ..plot import NUMERICS, THEORY, Data, Floats, Plot, Series
from ..style import (
    BLACK,
    BLUE,
    DASH_DOT,
    DASHED,
    DOTTED,
    ORANGE,
    PURPLE,
    SOLID,
    Look,
    canvas,
    handle,
    legend_above,
    line,
    points,
    title,
)
from .setting import GAUSSIAN, LAPLACE, curve, generators, measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRID_LOOK = Look(BLUE, SOLID, "o")
IID_LOOK = Look(ORANGE, DASHED, "s")
JITTERED_LOOK = Look(PURPLE, DOTTED, "^")
EIGENLEARNING_LOOK = Look(BLACK, DASH_DOT, "")
RANGE = 0.1, 30.0
GAUSSIAN_BANDWIDTH = 0.125
DIGITS = 40
"""Decimal digits for Gaussian systems on random points, which doubles cannot solve."""


def design(
    n: int = 16,
    count: int = 5,
    draws: int = 24,
    sizes: tuple[int, ...] = (4, 10, 16),
    designs: int = 7,
    resolution: int = 60,
    seed: int = 5,
) -> Plot:
    """Estimation/σ²: (a) Laplace against c on three designs, (b) Gaussian at h = 1/8 against n.

    Theory for the grid is exact at every n, for independent points the limit n → ∞ (at n = 16 two
    per cent higher at most). Each dot in (b) is one random design, solved with 40 digits; squares
    are medians.

    Args:
        n: Points of the designs in (a).
        count: Bandwidths at which numerics is run.
        draws: Designs per bandwidth.
        sizes: n in (b) for random designs.
        designs: Designs per n in (b).
        resolution: Bandwidths on the lines.
        seed: Of the designs.
    """
    rngs = generators(seed)
    data = _laplace(n, count, draws, resolution, rngs) | _gaussian(sizes, designs, rngs)
    return Plot("ridgeless.design", data, _paint)


def _laplace(
    n: int, count: int, draws: int, resolution: int, rngs: Iterator[np.random.Generator]
) -> dict[str, Series]:
    c = np.geomspace(*RANGE, count)
    fine = np.union1d(np.geomspace(*RANGE, resolution), c)

    def on(design: str, draws: int) -> Series:
        def estimate(c: float) -> Estimate:
            return design_risk(LAPLACE.profile, design, n, c / n, draws=draws, rng=next(rngs))

        return measured(c, estimate)

    return {
        f"Laplace, grid{THEORY}": curve(fine, lambda c: limit_risk(LAPLACE.kernel, c).estimation),
        f"Laplace, grid{NUMERICS}": on("grid", 2),
        f"Laplace, iid{THEORY}": curve(fine, ESTIMATION),
        f"Laplace, iid{NUMERICS}": on("uniform", draws),
        f"Laplace, jittered{NUMERICS}": on("jittered", draws),
        "Laplace, eigenlearning": curve(fine, EIGENLEARNING),
    }


def _gaussian(
    sizes: tuple[int, ...], designs: int, rngs: Iterator[np.random.Generator]
) -> dict[str, Series]:
    n = np.array(sizes, dtype=np.float64)
    errors = [
        design_errors(
            GAUSSIAN.profile,
            "uniform",
            size,
            GAUSSIAN_BANDWIDTH,
            draws=designs,
            rng=next(rngs),
            dps=DIGITS,
        )
        for size in sizes
    ]
    return {
        **_gaussian_grid(n),
        "Gaussian, iid: designs": Series(np.repeat(n, designs), np.concatenate(errors)),
        "Gaussian, iid: medians": Series(n, np.array([np.median(e) for e in errors])),
    }


def _gaussian_grid(sizes: Floats) -> dict[str, Series]:
    def theory(n: float) -> float:
        return risk(GAUSSIAN.kernel, int(n), GAUSSIAN_BANDWIDTH, {}, 1.0).estimation

    def numerics(n: float) -> float:
        h = GAUSSIAN_BANDWIDTH
        return float(exact_risk_mp(GAUSSIAN.profile, int(n), {}, h, dps=DIGITS).estimation)

    solved = curve(sizes, numerics)
    return {
        f"Gaussian, grid{THEORY}": curve(np.arange(sizes[0], sizes[-1] + 1), theory),
        f"Gaussian, grid{NUMERICS}": Series(sizes, solved.y, np.zeros(len(sizes))),
    }


def _paint(data: Data) -> Figure:
    figure, panels = canvas(2.8, 2)
    _paint_laplace(panels[0], data)
    _paint_gaussian(panels[1], data)
    title(panels[0], 0, "Laplace")
    title(panels[1], 1, r"Gaussian, $h = 1/8$ (dots: single designs)")
    looks = [
        handle(GRID_LOOK, "grid"),
        handle(IID_LOOK, "independent"),
        handle(JITTERED_LOOK, "jittered", shows="points"),
        handle(EIGENLEARNING_LOOK, "eigenlearning", shows="line"),
    ]
    legend_above(figure, looks, 4)
    return figure


def _paint_laplace(axes: Axes, data: Data) -> None:
    line(axes, data["Laplace, eigenlearning"], EIGENLEARNING_LOOK)
    for design, look in (("grid", GRID_LOOK), ("iid", IID_LOOK)):
        line(axes, data[f"Laplace, {design}{THEORY}"], look)
        points(axes, data[f"Laplace, {design}{NUMERICS}"], look)
    points(axes, data[f"Laplace, jittered{NUMERICS}"], JITTERED_LOOK)
    axes.set(xscale="log", xlabel=r"bandwidth $c = hn$, in mean spacings")
    axes.set(ylim=(0, 1.03), ylabel=r"estimation$\,/\sigma^2$")


def _paint_gaussian(axes: Axes, data: Data) -> None:
    line(axes, data[f"Gaussian, grid{THEORY}"], GRID_LOOK)
    points(axes, data[f"Gaussian, grid{NUMERICS}"], GRID_LOOK)
    cloud, medians = data["Gaussian, iid: designs"], data["Gaussian, iid: medians"]
    axes.plot(cloud.x, cloud.y, ".", color=IID_LOOK.colour, markersize=2.5)
    points(axes, medians, IID_LOOK)
    axes.set(yscale="log", xlabel=r"points $n$", ylabel=r"estimation$\,/\sigma^2$")
