"""The certified floor: the least limiting risk of interpolation, against the ratio SNR."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from numerics.monte_carlo import Estimate
from numerics.ridgeless import monte_carlo_risk
from theory.ridgeless import Cauchy, Floor, Gaussian, Laplace, null_threshold
from theory.ridgeless import floor as certified_floor

from ..plot import NUMERICS, THEORY, Data, Floats, Plot, Series
from ..style import (
    BLACK,
    DOTTED,
    GREEN,
    GREY,
    LONG_DASHED,
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
from .setting import KERNELS, Named, generators, measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLANE = Named("Gaussian, $d=2$", Gaussian(2), "gaussian", Look(PURPLE, LONG_DASHED, "D"), 2.0)
SPACE = Named("Gaussian, $d=3$", Gaussian(3), "gaussian", Look(GREY, SOLID, "v"), 2.0)
CURVES = (*KERNELS, PLANE, SPACE)
LATTICES = (
    Named("Laplace, $d=2$", Laplace(2), "laplace", Look(ORANGE, SOLID, "P"), math.inf),
    Named("Laplace, $d=3$", Laplace(3), "laplace", Look(ORANGE, DOTTED, "X"), math.inf),
    Named("Cauchy, $d=2$", Cauchy(2), "cauchy", Look(GREEN, SOLID, "<"), 8.0),
    Named("Cauchy, $d=3$", Cauchy(3), "cauchy", Look(GREEN, DOTTED, ">"), 8.0),
)
"""Kernels whose noise term has no closed form; certified coarsely, at few ratios."""
NULL_LOOK = Look(BLACK, DOTTED, "")
THRESHOLD_LOOK = Look(BLACK, DOTTED, "*", filled=True, size=5.5)
RANGE = 1e-2, 1e4
SIDES = {1: 256, 2: 16, 3: 6}
DIGITS = 12
COARSE = {"Cauchy, $d=3$": 1}
"""Digits of a kernel without a closed form; 2 where nothing is said."""


def floor(resolution: int = 31, count: int = 5, draws: int = 200, seed: int = 3) -> Plot:
    """The infimum over c of SNR·B(c) + V(c) against SNR, in units of σ², and the best c.

    Lines: certified bounds, between which no eye can see; their relative distance is drawn for
    itself. Kernels without a closed form are certified to 2 digits (Cauchy in d = 3: one, where two
    take a minute), at every second ratio of the points. Points: the risk for a constant target at
    the best bandwidth, on 256 grid points (16 × 16, 6 × 6 × 6), where approximation is the limit's
    and estimation differs by less than the eye or the error bars can see.

    Args:
        resolution: Ratios on the lines.
        count: Ratios at which numerics is run, from 1 to 10⁴.
        draws: Data sets per point.
        seed: Of the noise.
    """
    snr = np.geomspace(1.0, RANGE[1], count)
    fine = np.unique(np.concatenate([np.geomspace(*RANGE, resolution), snr, _near_thresholds()]))
    asked = Series(fine, np.full_like(fine, 10.0**-DIGITS))
    data = {"zero function": Series(fine, fine), "asked": asked}
    rngs = generators(seed)
    for named in CURVES:
        data |= _curve(named, fine, snr, draws, rngs)
    for named in LATTICES:
        data |= _certified(named, {s: _coarse(named, s) for s in snr[::2]})
    return Plot("ridgeless.floor", data, _paint)


def _coarse(named: Named, snr: float) -> Floor:
    return certified_floor(named.kernel, snr, COARSE.get(named.name, 2))


def _near_thresholds() -> Floats:
    """Ratios just above s*, where the best bandwidth falls to 0."""
    thresholds = {float(null_threshold(named.kernel)) for named in CURVES}
    return np.ravel(np.outer(sorted(thresholds), 1 + 10.0 ** np.arange(-4, 0)))


def _curve(
    named: Named, fine: Floats, snr: Floats, draws: int, rngs: Iterator[np.random.Generator]
) -> dict[str, Series]:
    best = {float(s): certified_floor(named.kernel, float(s), DIGITS) for s in fine}
    return _certified(named, best) | {
        f"{named.name}{NUMERICS}": measured(
            snr, lambda s: _measure(named, _middle(best[s]), s, draws, next(rngs))
        )
    }


def _certified(named: Named, best: dict[float, Floor]) -> dict[str, Series]:
    """The upper bounds, the best bandwidths, and how far the lower bounds are."""
    found = {s: bounds for s, bounds in best.items() if not bounds.null}
    above = np.array(list(found))
    threshold = np.array([float(null_threshold(named.kernel))])
    bandwidths = np.array([_middle(bounds) for bounds in found.values()])
    widths = np.array([_relative_width(bounds) for bounds in found.values()])
    return {
        f"{named.name}{THEORY}": Series(
            np.array(list(best)), np.array([b.upper for b in best.values()])
        ),
        f"{named.name}: threshold": Series(threshold, threshold),
        f"{named.name}: bandwidth": Series(above, bandwidths),
        f"{named.name}: band": Series(above, widths),
    }


def _middle(bounds: Floor) -> float:
    """The middle of the interval that contains the best bandwidth."""
    assert bounds.bandwidth is not None
    low, high = bounds.bandwidth
    return (low + high) / 2 if math.isfinite(high) else low


def _relative_width(bounds: Floor) -> float:
    """Twice the ball's radius over its middle, before it is rounded to doubles."""
    return float(2 * bounds.enclosure.rad() / bounds.enclosure.mid())


def _measure(named: Named, c: float, s: float, draws: int, rng: np.random.Generator) -> Estimate:
    """The risk for σ² = 1 and a constant target of height √SNR."""
    d = named.kernel.dimension
    return monte_carlo_risk(
        named.profile,
        SIDES[d],
        c / SIDES[d],
        {(0,) * d: math.sqrt(s)},
        draws=draws,
        rng=rng,
        dimension=d,
        order=6 if d == 1 else 4,
    )


def _paint(data: Data) -> Figure:
    figure, panels = canvas(2.6, 3)
    for named in (*CURVES, *LATTICES):
        line(panels[0], data[f"{named.name}{THEORY}"], named.look)
        if f"{named.name}{NUMERICS}" in data:
            points(panels[0], data[f"{named.name}{NUMERICS}"], named.look)
        if named not in LATTICES:  # two digits of the risk hardly tell where it is attained
            line(panels[1], data[f"{named.name}: bandwidth"], named.look)
        points(panels[2], data[f"{named.name}: band"], named.look)
    line(panels[2], data["asked"], NULL_LOOK)
    _mark_null(panels[0], data)
    for axes in panels:
        axes.set(xscale="log", yscale="log", xlim=(RANGE[0], 1.6 * RANGE[1]))
        axes.set_xlabel(r"SNR $= \Vert f^*\Vert^2/\sigma^2$")
    panels[0].set(ylim=(0.008, 2.0), ylabel=r"least risk, in units of $\sigma^2$")
    panels[1].set(ylim=(0.03, 100), ylabel=r"best bandwidth $c$, in grid spacings")
    panels[2].set(ylim=(1e-26, 1e0), ylabel="relative width of the certified band")
    title(panels[0], 0, "floor")
    title(panels[1], 1, "where attained")
    title(panels[2], 2, "proved to within")
    looks = [handle(named.look, named.name) for named in (*CURVES, *LATTICES)]
    null = handle(NULL_LOOK, "zero function", shows="line")
    star = handle(THRESHOLD_LOOK, r"threshold $s^*$", shows="points")
    legend_above(figure, [*looks, null, star], 3)
    return figure


def _mark_null(axes: Axes, data: Data) -> None:
    """The risk of predicting zero, and where interpolation begins to beat it."""
    line(axes, data["zero function"], NULL_LOOK)
    for named in CURVES:
        points(axes, data[f"{named.name}: threshold"], THRESHOLD_LOOK)
