"""Risk against n at the best bandwidth: it stops at a floor, unless there is a ridge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from numerics.monte_carlo import Estimate
from numerics.ridgeless import monte_carlo_risk
from theory.ridgeless import optimal_bandwidth, risk

from ..plot import NUMERICS, THEORY, Data, Plot, Series
from ..style import (
    BLACK,
    DOTTED,
    GREY,
    LONG_DASHED,
    Look,
    canvas,
    handle,
    legend_above,
    line,
    points,
    title,
)
from .setting import (
    KERNELS,
    LAPLACE,
    NOISE_VARIANCE,
    SAMPLED,
    SNR,
    TARGET,
    Named,
    curve,
    generators,
    least,
    measured,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (4, 5, 6, 7, 8, 10, 12, 16, 24, 32, 64, 128, 256, 1024, 4096)
MEASURED = (4, 8, 16, 64, 256, 1024, 4096)
RIDGE_LOOK = Look(BLACK, LONG_DASHED, "D")
FLOOR_LOOK = Look(GREY, DOTTED, "")
RIDGE_BANDWIDTH = 0.25


def risk_against_n(
    sizes: tuple[int, ...] = SIZES,
    measured_at: tuple[int, ...] = MEASURED,
    draws: int = 400,
    seed: int = 2,
) -> Plot:
    """The risk at the bandwidth that is best for each n; σ² = 1/4, ‖f*‖² = 1.

    Beside it: its limit, and Laplace's kernel at a fixed bandwidth with the best ridge.

    Args:
        sizes: n.
        measured_at: Those among them at which numerics is run.
        draws: Data sets per point.
        seed: Of the noise.
    """
    rngs = generators(seed)
    data: dict[str, Series] = {}
    for named in KERNELS:
        data |= _interpolation(named, sizes, measured_at, draws, rngs)
    return Plot("ridgeless.risk_against_n", data | _ridge(sizes, measured_at, draws, rngs), _paint)


def _interpolation(
    named: Named,
    sizes: tuple[int, ...],
    measured_at: tuple[int, ...],
    draws: int,
    rngs: Iterator[np.random.Generator],
) -> dict[str, Series]:
    best = {n: _best_bandwidth(named, n) for n in sizes}

    def estimate(n: float) -> Estimate:
        h = best[int(n)][0]
        return monte_carlo_risk(
            named.profile, int(n), h, SAMPLED, NOISE_VARIANCE, draws=draws, rng=next(rngs)
        )

    n = np.array(sizes, dtype=np.float64)
    floor = NOISE_VARIANCE * optimal_bandwidth(named.kernel, SNR).risk
    return {
        f"{named.name}{THEORY}": curve(n, lambda n: best[int(n)][1]),
        f"{named.name}{NUMERICS}": measured(np.array(measured_at, dtype=np.float64), estimate),
        f"{named.name}: floor": Series(n[[0, -1]], np.full(2, floor)),
    }


def _best_bandwidth(named: Named, n: int) -> tuple[float, float]:
    """The bandwidth h that is best for this n, and its risk."""
    # The optimum lies near half a grid spacing; wider Gaussians could not be solved in doubles.
    low, high = 0.02 / n, min(named.widest, 20.0) / n
    return least(lambda h: risk(named.kernel, n, h, TARGET, NOISE_VARIANCE).total, low, high)


def _ridge(
    sizes: tuple[int, ...],
    measured_at: tuple[int, ...],
    draws: int,
    rngs: Iterator[np.random.Generator],
) -> dict[str, Series]:
    best = {n: _best_ridge(n) for n in sizes}

    def estimate(n: float) -> Estimate:
        return monte_carlo_risk(
            LAPLACE.profile,
            int(n),
            RIDGE_BANDWIDTH,
            SAMPLED,
            NOISE_VARIANCE,
            best[int(n)][0],
            draws=draws,
            rng=next(rngs),
        )

    n = np.array(sizes, dtype=np.float64)
    return {
        f"ridge{THEORY}": curve(n, lambda n: best[int(n)][1]),
        f"ridge{NUMERICS}": measured(np.array(measured_at, dtype=np.float64), estimate),
    }


def _best_ridge(n: int) -> tuple[float, float]:
    """The ridge λ that is best for Laplace's kernel at the fixed bandwidth, and its risk."""

    def total(ridge: float) -> float:
        return risk(LAPLACE.kernel, n, RIDGE_BANDWIDTH, TARGET, NOISE_VARIANCE, ridge).total

    return least(total, 1e-4, 1e3)


def _paint(data: Data) -> Figure:
    figure, panels = canvas(2.8, 2, ratios=(1.15, 1))
    for axes in panels:
        for named in KERNELS:
            line(axes, data[f"{named.name}: floor"], FLOOR_LOOK)
            line(axes, data[f"{named.name}{THEORY}"], named.look)
            points(axes, data[f"{named.name}{NUMERICS}"], named.look)
        axes.set(xscale="log", xlabel=r"grid points $n$")
    line(panels[0], data[f"ridge{THEORY}"], RIDGE_LOOK)
    points(panels[0], data[f"ridge{NUMERICS}"], RIDGE_LOOK)
    panels[0].set(yscale="log", ylabel=r"risk ($\Vert f^*\Vert^2 = 1,\ \sigma^2 = 1/4$)")
    panels[1].set(xlim=(6, 6000), ylim=(0.145, 0.205))
    title(panels[0], 0, "best bandwidth; or best ridge")
    title(panels[1], 1, "enlarged")
    kernels = [handle(named.look, named.name) for named in KERNELS]
    others = [
        handle(RIDGE_LOOK, "Laplace, ridge"),
        handle(FLOOR_LOOK, r"limit $n \to \infty$", shows="line"),
    ]
    legend_above(figure, kernels + others, 5)
    return figure
