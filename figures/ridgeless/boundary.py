"""The boundary of the inconsistency theorem: what interpolates and is consistent all the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from numerics.monte_carlo import Estimate
from numerics.ridgeless import monte_carlo_risk
from theory.ridgeless import limit_risk, risk
from theory.ridgeless.spiky import estimation_bound, spike_gap
from theory.ridgeless.tail_needed import variance_enclosure

from ..plot import NUMERICS, THEORY, Data, Floats, Plot, Series
from ..style import (
    BLACK,
    BLUE,
    DOTTED,
    GREEN,
    SOLID,
    Look,
    canvas,
    handle,
    legend_above,
    line,
    points,
    title,
)
from .setting import LAPLACE, curve, generators, measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BANDWIDTH, RIDGE = 0.1, 1.0
TAIL_LOOK = Look(BLUE, SOLID, "")
SPIKE_LOOK = Look(GREEN, SOLID, "o")
RATE_LOOK = Look(BLACK, DOTTED, "")
EXPONENTS = (*(k / 4 for k in range(4, 21)), *(5 * 20 ** (k / 20) for k in range(1, 21)))
"""log₁₀ n for the heavy tail, from 1 to 100."""


def boundary(
    exponents: tuple[float, ...] = EXPONENTS,
    wide_at: tuple[float, ...] = (1.0, 2.0, 3.0),
    sizes: tuple[int, ...] = (8, 32, 128, 512, 2048),
    draws: int = 200,
    resolution: int = 33,
    seed: int = 4,
) -> Plot:
    """Estimation/σ² against n: a heavy spectral tail and a spiky kernel go to 0, Laplace does not.

    (a) ĝ_k = 1/((e+|k|) log²(e+|k|)): a certified enclosure, and 1/log n. (b) Laplace's kernel at
    h = 1/10, plain and with a spike of height 1 and width 1/(2n²): the line is ridge regression
    with λ = 1, the band what the spike can change. Points are interpolants in both cases.

    Args:
        exponents: log₁₀ n for (a).
        wide_at: Those among them at which Laplace's kernel is run, at h = 1.
        sizes: n at which numerics is run in (b).
        draws: Data sets per point.
        resolution: Sizes on the lines of (b), up to 10⁵.
        seed: Of the noise.
    """
    n = np.union1d(np.rint(np.geomspace(8, 1e5, resolution)), np.array(sizes, dtype=np.float64))
    size = np.array(sizes, dtype=np.float64)
    rngs = generators(seed)
    data = _heavy_tail(np.array(exponents))
    data |= _wide(np.array(exponents), np.array(wide_at), draws, rngs)
    data |= _laplace(n, size, draws, rngs) | _spike(n, size, draws, rngs)
    return Plot("ridgeless.boundary", data, _paint)


def _heavy_tail(exponents: Floats) -> dict[str, Series]:
    balls = [variance_enclosure(_power_of_ten(float(e))) for e in exponents]
    return {
        "heavy tail: lower": Series(exponents, np.array([float(b.lower()) for b in balls])),
        "heavy tail: upper": Series(exponents, np.array([float(b.upper()) for b in balls])),
        "1/log n": Series(exponents, 1 / (exponents * np.log(10))),
    }


def _wide(
    exponents: Floats, wide_at: Floats, draws: int, rngs: Iterator[np.random.Generator]
) -> dict[str, Series]:
    """Laplace's kernel at h = 1, where c = n; its closed form holds at every n."""

    def estimate(exponent: float) -> Estimate:
        n = _power_of_ten(exponent)
        return monte_carlo_risk(LAPLACE.profile, n, 1.0, {}, draws=draws, rng=next(rngs))

    return {
        f"Laplace, h = 1{THEORY}": curve(
            exponents, lambda e: limit_risk(LAPLACE.kernel, float(_power_of_ten(e))).estimation
        ),
        f"Laplace, h = 1{NUMERICS}": measured(wide_at, estimate),
    }


def _power_of_ten(exponent: float) -> int:
    """10^exponent to six digits, as an exact integer, which floats are not beyond 2^53."""
    whole = math.floor(exponent)
    digits: int = round(10.0 ** (exponent - whole + 6))
    power: int = 10**whole
    return digits * power // 10**6


def _laplace(
    n: Floats, size: Floats, draws: int, rngs: Iterator[np.random.Generator]
) -> dict[str, Series]:
    def estimate(n: float) -> Estimate:
        return monte_carlo_risk("laplace", int(n), BANDWIDTH, {}, draws=draws, rng=next(rngs))

    return {
        f"Laplace{THEORY}": curve(n, lambda n: _estimation(n, ridge=0.0)),
        f"Laplace{NUMERICS}": measured(size, estimate),
    }


def _estimation(n: float, ridge: float) -> float:
    return risk(LAPLACE.kernel, int(n), BANDWIDTH, {}, 1.0, ridge).estimation


def _width(n: float) -> float:
    return 0.5 / n**2


def _spike(
    n: Floats, size: Floats, draws: int, rngs: Iterator[np.random.Generator]
) -> dict[str, Series]:
    def estimate(n: float) -> Estimate:
        return monte_carlo_risk(
            _Spiky(_width(n)), int(n), BANDWIDTH, {}, draws=draws, rng=next(rngs), order=32
        )

    ridge = curve(n, lambda n: _estimation(n, RIDGE))
    gap = curve(n, lambda n: float(spike_gap(int(n), _width(n), 1.0).upper()))
    root = np.sqrt(ridge.y)
    return {
        "spike: ridge": ridge,
        "spike: lower": Series(n, np.maximum(root - gap.y, 0) ** 2),
        "spike: upper": Series(n, (root + gap.y) ** 2),
        f"spike{NUMERICS}": measured(size, estimate),
        "rate": curve(n, lambda n: float(estimation_bound(int(n), BANDWIDTH, RIDGE).upper())),
    }


class _Spiky:
    """Laplace plus a spike of half-width w, divided by 1 + ρ to be 1 at the origin."""

    def __init__(self, width: float) -> None:
        self.width = width

    def __call__(self, r: Floats) -> Floats:
        spike = np.maximum(0.0, 1.0 - r * BANDWIDTH / self.width)
        return np.asarray((np.exp(-r) + RIDGE * spike) / (1 + RIDGE))


def _paint(data: Data) -> Figure:
    figure, panels = canvas(2.8, 2)
    _paint_tail(panels[0], data)
    _paint_spike(panels[1], data)
    panels[0].set_ylabel(r"estimation$\,/\sigma^2$")
    title(panels[0], 0, r"spectral tail $1/(k\,\log^2 k)$")
    title(panels[1], 1, r"Laplace, $h=1/10$, plus a spike")
    looks = [
        handle(LAPLACE.look, "Laplace"),
        handle(TAIL_LOOK, "heavy tail, enclosed", shows="line"),
        handle(SPIKE_LOOK, "spike, and its bounds"),
        handle(RATE_LOOK, r"(a) $1/\log\,n$, (b) bound", shows="line"),
    ]
    legend_above(figure, looks, 4)
    return figure


def _paint_tail(axes: Axes, data: Data) -> None:
    line(axes, data[f"Laplace, h = 1{THEORY}"], LAPLACE.look)
    points(axes, data[f"Laplace, h = 1{NUMERICS}"], LAPLACE.look)
    low, high = data["heavy tail: lower"], data["heavy tail: upper"]
    # A width, so that the band is seen where its ends are one ten-thousandth apart.
    axes.fill_between(low.x, low.y, high.y, color=TAIL_LOOK.colour, linewidth=1.0)
    line(axes, data["1/log n"], RATE_LOOK)
    axes.set(xscale="log", yscale="log", xlabel=r"$\log_{10} n$", xticks=(1, 2, 5, 10, 20, 50, 100))
    axes.set_ylim(0.003, 1.2)
    axes.set_xticks((), minor=True)
    axes.xaxis.set_major_formatter("{x:g}")


def _paint_spike(axes: Axes, data: Data) -> None:
    line(axes, data[f"Laplace{THEORY}"], LAPLACE.look)
    points(axes, data[f"Laplace{NUMERICS}"], LAPLACE.look)
    _band(axes, data, "spike", SPIKE_LOOK)
    line(axes, data["spike: ridge"], SPIKE_LOOK)
    points(axes, data[f"spike{NUMERICS}"], SPIKE_LOOK)
    line(axes, data["rate"], RATE_LOOK)
    axes.set(xscale="log", yscale="log", xlabel=r"grid points $n$")


def _band(axes: Axes, data: Data, name: str, look: Look) -> None:
    low, high = data[f"{name}: lower"], data[f"{name}: upper"]
    axes.fill_between(low.x, low.y, high.y, color=look.colour, alpha=0.25, linewidth=0)
