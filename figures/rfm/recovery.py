"""How fast recursive feature machines find the plane on which a target depends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh

from numerics.rfm.data import MultiIndex, product

from ..plot import Data, Floats, Plot, Series
from ..style import (
    DASH_DOT,
    ERROR_BARS,
    GREY,
    PURPLE,
    Look,
    canvas,
    handle,
    legend_above,
    line,
    points,
    title,
)
from .methods import RIDGE_LOOK, ROOT, WHOLE, Method, cut, kernel_ridge_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIXED = Method("fixed", {}, Look(PURPLE, DASH_DOT, "^"), r"$M = I$")
ROUNDS = {FIXED: 0, WHOLE: 5, ROOT: 6}
FIT = Look(GREY, (0, (1, 1.2)), "")
VALIDATION, TEST = 200, 1000


def recovery(
    sizes: Sequence[int] = (100, 150, 225, 340, 500), d: int = 20, seeds: int = 5, seed: int = 2
) -> Plot:
    """The plane of y = x₀x₁ in d dimensions, found from n samples: (a) angle, (b) test error.

    (a) Sine of the largest principal angle between the two top eigenvectors of the AGOP and the
    plane, for a machine with M = I and for recursive feature machines; grey lines are least squares
    fits of log sine against log n over the upper half of the sizes, whose slopes the legend gives.
    (b) Test error of the same machines, and of kernel ridge regression with bandwidth and ridge
    chosen on validation data. Means over seeds, bars ± 2 standard errors between seeds.

    Args:
        sizes: Numbers of training samples, rising, at least two.
        d: Dimension, at least 2.
        seeds: Data sets, at least 2.
        seed: Of the data.
    """
    sines: dict[Method, list[Floats]] = {method: [] for method in ROUNDS}
    errors: dict[Method, list[Floats]] = {method: [] for method in ROUNDS}
    ridge = []
    for number in range(seeds):
        rng = np.random.default_rng([seed, number])
        target = product(sizes[-1] + VALIDATION + TEST, rng, d=d)
        for method in ROUNDS:
            sine, error = np.array([_measured(method, target, n) for n in sizes]).T
            sines[method].append(sine)
            errors[method].append(error)
        ridge.append(np.array([_kernel_ridge(target, n) for n in sizes]))
    return Plot("rfm.recovery", _series(np.array(sizes, float), sines, errors, ridge), _paint)


def _measured(method: Method, target: MultiIndex, n: int) -> tuple[float, float]:
    split = target.split(len(target) - VALIDATION - TEST)
    train, test = cut(split.train, n)[0], cut(split.test, VALIDATION)[1]
    machine = method.machine(rounds=ROUNDS[method]).fit(train.inputs, train.targets)
    error = np.mean((machine.predict(test.inputs) - test.targets) ** 2)
    return _sine(np.asarray(machine.agop_, np.float64), target.directions), float(error)


def _sine(agop: Floats, directions: Floats) -> float:
    d, r = directions.shape
    found = eigh(agop, subset_by_index=[d - r, d - 1])[1]
    return float(np.linalg.norm(directions - found @ (found.T @ directions), 2))


def _kernel_ridge(target: MultiIndex, n: int) -> float:
    split = target.split(len(target) - VALIDATION - TEST)
    return kernel_ridge_error(cut(split.train, n)[0], *cut(split.test, VALIDATION))


def _series(
    n: Floats,
    sines: dict[Method, list[Floats]],
    errors: dict[Method, list[Floats]],
    ridge: list[Floats],
) -> dict[str, Series]:
    data = {"error: kernel ridge": _mean(n, ridge)}
    for method in ROUNDS:
        data[f"sine: {method.name}"] = _mean(n, sines[method])
        data[f"error: {method.name}"] = _mean(n, errors[method])
        if method is not FIXED:
            data[f"sine: {method.name}, fit"] = _fit(data[f"sine: {method.name}"])
    return data


def _mean(n: Floats, values: list[Floats]) -> Series:
    table = np.array(values)
    return Series(n, table.mean(axis=0), table.std(axis=0, ddof=1) / np.sqrt(len(table)))


def _fit(series: Series) -> Series:
    """A power law through the upper half of the sizes."""
    half = slice(min(len(series.x) // 2, len(series.x) - 2), None)
    x = series.x[half]
    law = np.polyfit(np.log(x), np.log(series.y[half]), 1)
    return Series(x, np.exp(np.polyval(law, np.log(x))))


def slope(fit: Series) -> float:
    """The exponent of a power law, from its ends."""
    return float(np.log(fit.y[-1] / fit.y[0]) / np.log(fit.x[-1] / fit.x[0]))


def _paint(data: Data) -> Figure:
    figure, panels = canvas(2.7, 2)
    for method in ROUNDS:
        for axes, quantity in zip(panels, ("sine", "error"), strict=True):
            _paint_curve(axes, data[f"{quantity}: {method.name}"], method.look)
        if method is not FIXED:
            line(panels[0], data[f"sine: {method.name}, fit"], FIT)
    _paint_curve(panels[1], data["error: kernel ridge"], RIDGE_LOOK)
    for index, text in enumerate((r"the plane of $x_0x_1$", "test error")):
        title(panels[index], index, text)
    panels[0].set(xlabel="samples $n$", ylabel="sine of the largest angle")
    panels[1].set(xlabel="samples $n$", ylabel="mean squared error")
    _logarithmic(panels, data["sine: fixed"].x)
    _legend(figure, data)
    return figure


def _paint_curve(axes: Axes, series: Series, look: Look) -> None:
    line(axes, series, look)
    points(axes, series, look)


def _logarithmic(panels: Sequence[Axes], sizes: Floats) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    for axes in panels:
        axes.set(xscale="log", yscale="log")
        axes.xaxis.set_major_locator(FixedLocator(list(sizes)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _legend(figure: Figure, data: Data) -> None:
    looks = [
        handle(m.look, f"{m.label}: $n^{{{slope(data[f'sine: {m.name}, fit']):.1f}}}$")
        for m in (WHOLE, ROOT)
    ]
    looks = [handle(FIXED.look, FIXED.label), *looks, handle(RIDGE_LOOK, "kernel ridge, tuned")]
    legend_above(figure, looks, 4, f"means over seeds, bars ± {ERROR_BARS:g} standard errors")
