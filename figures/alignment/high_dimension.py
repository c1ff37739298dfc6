"""Initial alignment of wide quadratic networks on high-dimensional data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numerics.alignment.wide import draw_data, matrix_alignment, network_alignment
from theory.alignment.high_dimension import (
    CONSTANT,
    GAUSSIAN,
    RADEMACHER,
    LeastAlignment,
    least_alignment,
)

from ..plot import NUMERICS, THEORY, Data, Floats, Plot, Series
from ..style import (
    BLACK,
    BLUE,
    DASH_DOT,
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

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from theory.closed_form import ClosedForm


@dataclass(frozen=True)
class Law:
    """A law of residuals: its name in both rooms and in the legend, its curve, its look."""

    name: str
    label: str
    form: ClosedForm
    look: Look


LAWS = (
    Law("rademacher", "residuals ±1", RADEMACHER, Look(BLUE, SOLID, "o")),
    Law("gaussian", "Gaussian", GAUSSIAN, Look(ORANGE, DASHED, "s")),
    Law("constant", "constant", CONSTANT, Look(GREEN, DASH_DOT, "^")),
)
NETWORK_LOOK = Look(BLACK, "none", "x", size=4.2)
LEAST = Look(BLACK, "none", "|", size=9.0)
RANGE = 1 / 64, 64.0
LEVELS = (1, 2, 4)
WEIGHTS = np.array([1.0, -6.0, 8.0]) / 3
"""The combination of the means at n, 2n and 4n in which 1/n and 1/n² cancel."""


def high_dimension(
    smaller: int = 24,
    exponents: tuple[int, ...] = (-4, -2, 0, 1, 3),
    draws: int = 100,
    width: int = 4096,
    networks: int = 6,
    resolution: int = 120,
    seed: int = 9,
) -> Plot:
    """ρ(ẆᵀẆ, ẆᵀKẆ) at t = 0 against γ = d/n for three laws of residuals.

    Lines are the limits k → ∞ and then n, d → ∞. Points are actual data matrices at three sizes,
    extrapolated in 1/n; crosses are actual networks of finite width and size, for residuals ±1.
    Bars across the lines mark the least alignment.

    Args:
        smaller: The smaller of n and d at the first of the three sizes, which are doubled twice.
        exponents: Powers of 2 that are the γ of the points, in ascending order.
        draws: Data matrices per point and size.
        width: Units of the networks.
        networks: Networks per cross.
        resolution: Points on the lines.
        seed: Of data and networks.
    """
    gamma = 2.0 ** np.array(exponents)
    fine = np.union1d(np.geomspace(*RANGE, resolution), gamma)
    rngs = iter(np.random.default_rng(seed).spawn(len(LAWS) * len(exponents) + len(exponents)))
    data: dict[str, Series] = {}
    for law in LAWS:
        data[law.name + THEORY] = Series(fine, law.form(fine))
        estimates = [_extrapolated(law.name, g, smaller, draws, next(rngs)) for g in gamma]
        data[law.name + NUMERICS] = _series(gamma, estimates)
        data[f"{law.name}: least"] = _marked(least_alignment(law.name))
    measured = [_networks(g, 2 * smaller, width, networks, next(rngs)) for g in gamma]
    data["rademacher: networks"] = _series(gamma, measured)
    return Plot("alignment.high_dimension", data, _paint)


def sizes(gamma: float, smaller: int) -> tuple[int, int]:
    """Return n and d with d/n = γ, a power of 2, and the smaller of them as given."""
    return (smaller, round(smaller * gamma)) if gamma >= 1 else (round(smaller / gamma), smaller)


def _extrapolated(
    law: str, gamma: float, smaller: int, draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Mean and standard error of the combination of three sizes."""
    n, d = sizes(gamma, smaller)
    return _estimate(
        lambda: sum(
            weight * matrix_alignment(level * n, level * d, law, rng)
            for weight, level in zip(WEIGHTS, LEVELS, strict=True)
        ),
        draws,
    )


def _networks(
    gamma: float, smaller: int, width: int, count: int, rng: np.random.Generator
) -> tuple[float, float]:
    def draw() -> float:
        X, residuals = draw_data(*sizes(gamma, smaller), "rademacher", rng)
        return network_alignment(X, residuals, width, "quadratic", rng)

    return _estimate(draw, count)


def _estimate(draw: Callable[[], float], count: int) -> tuple[float, float]:
    values = np.array([draw() for _ in range(count)])
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(count))


def _series(gamma: Floats, estimates: list[tuple[float, float]]) -> Series:
    means, errors = np.array(estimates).T
    return Series(gamma, means, errors)


def _marked(least: LeastAlignment) -> Series:
    return Series(np.array([float(least.ratio)]), np.array([least.correlation]))


def _paint(data: Data) -> Figure:
    figure, (axes,) = canvas(3.0, 1)
    for law in LAWS:
        line(axes, data[law.name + THEORY], law.look)
        points(axes, data[f"{law.name}: least"], LEAST)
        points(axes, data[law.name + NUMERICS], law.look)
    points(axes, data["rademacher: networks"], NETWORK_LOOK)
    axes.set(xscale="log", xlabel=r"$\gamma = d/n$")
    axes.set(ylabel=r"$\rho(\dot W^\top\!\dot W,\ \dot W^\top\!K\dot W)$")
    title(axes, 0, "quadratic units, initial alignment")
    entries = [handle(law.look, law.label) for law in LAWS]
    entries += [
        handle(NETWORK_LOOK, "networks (±1)", shows="points"),
        handle(LEAST, "least alignment", shows="points"),
    ]
    legend_above(figure, entries, 3)
    return figure
