"""Test error of recursive feature machines, round after round, on targets of low rank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numerics.rfm.data import MultiIndex, gated_low_rank, product

from ..plot import Data, Plot, Series
from ..style import BLACK, SOLID, Look, canvas, handle, legend_above, line, points, title
from .methods import DIAGONAL, RIDGE_LOOK, ROOT, WHOLE, cut, kernel_ridge_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = (WHOLE, ROOT, DIAGONAL)
VALIDATION, TEST = 200, 1000
GATED_REPORTED = (0.0123, 0.0063, 0.0032, 0.0024, 0.0021)
"""Paper E's test errors of rounds 0 to 4, at n = 4000."""
GATED_VARIANCE = 1 / 32


@dataclass(frozen=True)
class _Target:
    """A target, with its variance and its panel's title."""

    name: str
    draw: Callable[[int, np.random.Generator, int], MultiIndex]
    variance: float
    label: str


def _gated(n: int, rng: np.random.Generator, d: int) -> MultiIndex:
    return gated_low_rank(n, rng, d=d)


def _product(n: int, rng: np.random.Generator, d: int) -> MultiIndex:
    return product(n, rng, d=d)


TARGETS = (
    _Target("product", _product, 1.0, r"$x_0x_1$"),
    _Target("gated", _gated, GATED_VARIANCE, r"$x_0x_1\,1[x_5>0]$"),
    _Target("too few", _product, 1.0, r"$x_0x_1$, too few samples"),
)


def rounds(
    n: int = 900,
    dimensions: tuple[int, int, int] = (50, 20, 300),
    count: int = 8,
    seed: int = 5,
) -> Plot:
    """Test error over the target's variance against the round; round 0 has M = I.

    (a) y = x₀x₁ and (b) the gated product, where learned features help; (c) y = x₀x₁ in a dimension
    in which n samples do not suffice to find the plane and features hurt, unless only axes are
    sought: the diagonal metric finds them after a plateau. The dotted line is
    kernel ridge regression with bandwidth and ridge chosen on 200 points of their own. Crosses in
    (b) are paper E's errors, with 4000 samples. Laplace's kernel, L = 10, λ = 1e-3.

    Args:
        n: Training samples.
        dimensions: Of the three panels; the second at least 6.
        count: Rounds after round 0.
        seed: Of the data.
    """
    data: dict[str, Series] = {}
    for number, (target, d) in enumerate(zip(TARGETS, dimensions, strict=True)):
        drawn = target.draw(n + VALIDATION + TEST, np.random.default_rng([seed, number]), d)
        data |= _errors(target, drawn, n, count)
    reported = np.array(GATED_REPORTED) / GATED_VARIANCE
    data["gated: reported"] = Series(np.arange(len(reported), dtype=np.float64), reported)
    return Plot("rfm.rounds", data, _paint)


def _errors(target: _Target, drawn: MultiIndex, n: int, count: int) -> dict[str, Series]:
    split = drawn.split(n)
    validation, test = cut(split.test, VALIDATION)
    numbers = np.arange(count + 1, dtype=np.float64)
    ridge = kernel_ridge_error(split.train, validation, test) / target.variance
    found = {f"{target.name}: kernel ridge": Series(numbers, np.full(count + 1, ridge))}
    for method in METHODS:
        machine = method.machine(rounds=count)
        machine.fit(split.train.inputs, split.train.targets, test.inputs, test.targets)
        errors = np.array([round_.error for round_ in machine.history_]) / target.variance
        found[f"{target.name}: {method.name}"] = Series(numbers, errors)
    return found


def _paint(data: Data) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure, panels = canvas(2.6, 3, share_y=True)
    for index, (axes, target) in enumerate(zip(panels, TARGETS, strict=True)):
        line(axes, data[f"{target.name}: kernel ridge"], RIDGE_LOOK)
        for method in METHODS:
            series = data[f"{target.name}: {method.name}"]
            line(axes, series, method.look)
            points(axes, series, method.look)
        title(axes, index, target.label)
        axes.set(xlabel="round", yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    reported = data["gated: reported"]
    panels[1].plot(reported.x, reported.y, "x", color=RIDGE_LOOK.colour, markersize=5)
    panels[0].set(ylabel="test error / variance")
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    looks = [handle(method.look, method.label) for method in METHODS]
    looks.append(handle(RIDGE_LOOK, "kernel ridge", shows="line"))
    looks.append(handle(Look(BLACK, SOLID, "x", size=5), "paper E, n = 4000", shows="points"))
    legend_above(figure, looks, 3, "")
