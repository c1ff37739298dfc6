"""Detect with one direction, steer with the other: what each does well, and what shifts cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..plot import Data, Floats, Plot, Series
from ..style import (
    BLACK,
    ERROR_BARS,
    GREY,
    SOLID,
    TEXT_WIDTH,
    Look,
    handle,
    legend_above,
    line,
    points,
    title,
)
from .held_out import PROBES
from .steered import KINDS, VALUES, Sizes, directions, reading, tally

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from theory.concepts.class_moments import ClassMoments

FRONT = Look(GREY, SOLID, "")
TICKS = (0.0, 0.25, 0.5, 1, 2, 4, 8, 16, 32)
FRESH = 2
"""Stream of the beginnings that no direction was learned from."""


def trade_off(
    coefficient: float = 0.25,
    probes: Sequence[str] = tuple(PROBES),
    texts: int = 8000,
    steps: int = 900,
    width: int = 64,
    beginnings: int = 408,
    written: int = 120,
    fresh: int = 1000,
    resolution: int = 41,
    seed: int = 7,
) -> Plot:
    """Detection and steering by v and Σv: (a, b) what each does, (c, d) what v costs.

    The writer, the directions and the texts steered by v are those of `control` at the same sizes.

    (a, b) Separation against effect. The separation r = vᵀμ/√(vᵀΣv) is that of fresh beginnings'
    states in the last block; the AUC would be Φ(√2 r) of Gaussian ones, and is 1 to three digits
    along most directions of sentiment. The effect is the rate at ε less the rate at −ε, in both
    blocks. Theory, for Gaussian classes of equal covariance: Σ⁻¹μ detects best, and of the shifts
    that change its score alike Σ·Σ⁻¹μ = μ has the least KL. A direction is left out where no text
    at one of ±ε is grammatical.

    (c, d) The shift along v that changes the Gaussian Bayes logit by a given amount, in the last
    block: its norm over the least norm, its KL over the least KL, neither of which depends on the
    amount. Σ, μ are the moments of the states that v was learned from, Σ with 1e-12 of its largest
    eigenvalue added. The line is the front of the shifts along (I + λΣ)⁻¹μ, from λ = ∞ to λ = 0;
    no shift is below or left of it. The ridge probe of n states, half of each class, with penalty ρ
    is on it, at λ = (n − 2)/ρ. A direction that lowers this logit is left out.

    Args:
        coefficient: ε.
        probes: Of `numerics.concepts.ConceptDetector`.
        texts: To train on.
        steps: Of training.
        width: Of the hidden states, a multiple of 4.
        beginnings: To learn directions from; of a multiple of 12 half are in each class.
        written: Texts for each coefficient.
        fresh: Beginnings to measure the separation on.
        resolution: Points of the front between its ends.
        seed: Of everything.
    """
    sizes = Sizes(texts, steps, width, beginnings, written, seed)
    data: dict[str, Series] = {}
    for concept in VALUES:
        held_out = _moments(sizes, concept, fresh, FRESH)
        for probe in probes:
            for kind in KINDS:
                r = _separation(held_out, _last(sizes, concept, probe, kind))
                effect = _effect(sizes, concept, probe, kind, coefficient)
                data[f"{concept}: {probe}, {kind}"] = _points([(r, *found) for found in effect])
    for concept in VALUES:
        data |= _costs(sizes, concept, probes, resolution)
    return Plot("concepts.trade_off", data, _paint)


def _moments(sizes: Sizes, concept: str, n: int, stream: int) -> ClassMoments:
    from theory.concepts.class_moments import moments_of_states

    read = reading(sizes, concept, n, stream)
    return moments_of_states(read.last(), read.labels.astype(float))


def _last(sizes: Sizes, concept: str, probe: str, kind: str) -> Floats:
    found: Floats = list(directions(sizes, concept, probe, kind).values())[-1]
    return found


def _separation(m: ClassMoments, v: Floats) -> float:
    from theory.concepts.auc import direction_separation

    return direction_separation(v, m.half_difference, m.covariance, m.negative_covariance)


def _effect(
    sizes: Sizes, concept: str, probe: str, kind: str, coefficient: float
) -> list[tuple[float, float]]:
    """How much the rate rises from −ε to ε, and its standard error, if it can be measured."""
    low, high = (tally(sizes, concept, probe, kind, sign * coefficient) for sign in (-1, 1))
    if not (low.parses and high.parses):
        return []
    below, above = (texts.rate(concept, VALUES[concept]) for texts in (low, high))
    return [(above.share - below.share, float(np.hypot(above.error, below.error)))]


def _points(rows: Sequence[tuple[float, float, float]]) -> Series:
    x, y, error = np.array(rows, dtype=float).reshape(-1, 3).T
    return Series(x, y, error)


def _costs(sizes: Sizes, concept: str, probes: Sequence[str], resolution: int) -> dict[str, Series]:
    from theory.concepts.steering import shift_effect, steering_shift

    m = _moments(sizes, concept, sizes.beginnings, 1)
    mu, sigma = m.half_difference, m.mean_covariance
    values = np.linalg.eigvalsh(sigma)
    sigma = sigma + 1e-12 * values[-1] * np.eye(len(mu))
    ends = 1e-2 / values[-1], 1e2 / max(values[0], 1e-12 * values[-1])
    penalties = [np.inf, *np.geomspace(*ends, resolution)[::-1], 0.0]
    shifts = [steering_shift(mu, sigma, 1.0, penalty) for penalty in penalties]
    front = np.array([_cost(t, mu, sigma) for t in shifts])
    least = np.array([front[0, 0], front[-1, 1]])
    data = {f"{concept}: front": Series(front[:, 0] / least[0], front[:, 1] / least[1])}
    for probe in probes:
        v = _last(sizes, concept, probe, "v")
        raises = shift_effect(v, mu, sigma).change > 0
        rows = [(*(_cost(v, mu, sigma) / least), 0.0)] if raises else []
        data[f"{concept}: {probe}, cost"] = _points(rows)
    return data


def _cost(t: Floats, mu: Floats, sigma: Floats) -> Floats:
    """Norm and KL of the shift along t that changes the logit by 1."""
    from theory.concepts.steering import shift_effect

    effect = shift_effect(t, mu, sigma)
    return np.array([effect.norm / effect.change, effect.divergence / effect.change**2])


# The picture


def _paint(data: Data) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(TEXT_WIDTH, 4.6), layout="constrained")
    grid = figure.subplots(2, 2, sharey="row")
    for column, (concept, value) in enumerate(VALUES.items()):
        _paint_effects(grid[0, column], data, concept)
        _paint_costs(grid[1, column], data, concept)
        title(grid[0, column], column, f"{concept}: {value}")
        title(grid[1, column], column + 2, f"{concept}: cost of $v$ for a change of the logit")
    grid[0, 0].set(ylabel=r"rate at $\epsilon$ less rate at $-\epsilon$", ylim=_range(data))
    grid[1, 0].set(ylabel="KL / least KL")
    _legend(figure, data)
    return figure


def _paint_effects(axes: Axes, data: Data, concept: str) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    for name, series in data.items():
        if not name.startswith(f"{concept}: ") or not name.endswith(", v"):
            continue
        shifted = data[name.removesuffix("v") + "Σv"]
        look = PROBES[_probe(name)][1]
        points(axes, series, replace(look, filled=True))
        points(axes, shifted, replace(look, filled=False))
        if len(series.x) and len(shifted.x):
            _arrow(axes, series, shifted, look.colour)
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.set_xscale("symlog", linthresh=TICKS[1], linscale=0.3)
    axes.xaxis.set_major_locator(FixedLocator(TICKS))  # set_xticks would widen the range
    axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in TICKS]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="separation $r$ of fresh states", xlim=_separations(data, concept))


def _separations(data: Data, concept: str) -> tuple[float, float]:
    """A little more than those of the concept, if there are any."""
    found = [
        series.x
        for name, series in data.items()
        if name.startswith(f"{concept}: ") and name.endswith("v")
    ]
    r = np.concatenate(found)
    low, high = (r.min(), r.max()) if len(r) else TICKS[1:3]
    return float(low / 1.5 if low > 0 else low - 0.2), 1.5 * float(max(high, TICKS[1]))


def _range(data: Data) -> tuple[float, float]:
    """All bars, and at least from 0 to one half."""
    bars = [
        (series.y - ERROR_BARS * series.error, series.y + ERROR_BARS * series.error)
        for name, series in data.items()
        if name.endswith("v") and series.error is not None and len(series.y)
    ]
    ends = np.array([*bars, ([-0.02], [0.5])]).ravel()
    return float(ends.min()) - 0.05, float(ends.max()) + 0.05


def _probe(name: str) -> str:
    return name.split(": ")[1].split(", ")[0]


def _arrow(axes: Axes, start: Series, end: Series, colour: str) -> None:
    axes.annotate(
        "",
        (end.x[0], end.y[0]),
        (start.x[0], start.y[0]),
        arrowprops={
            "arrowstyle": "->",
            "color": colour,
            "linewidth": 0.8,
            "shrinkA": 3,
            "shrinkB": 3,
        },
    )


def _paint_costs(axes: Axes, data: Data, concept: str) -> None:
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    line(axes, data[f"{concept}: front"], FRONT)
    for name, series in data.items():
        if name.startswith(f"{concept}: ") and name.endswith("cost"):
            points(axes, series, replace(PROBES[_probe(name)][1], filled=True))
    axes.set(xlabel="norm / least norm", xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())


def _legend(figure: Figure, data: Data) -> None:
    probes = dict.fromkeys(_probe(name) for name in data if ", " in name)
    looks = [
        handle(replace(PROBES[probe][1], filled=True), PROBES[probe][0], shows="points")
        for probe in probes
    ]
    looks.append(handle(Look(BLACK, SOLID, "o"), r"$\Sigma v$, arrows from $v$", shows="points"))
    looks.append(handle(FRONT, r"theory: shifts along $(I + \lambda\Sigma)^{-1}\mu$", shows="line"))
    legend_above(figure, looks, 4, f"a, b: bars ± {ERROR_BARS:g} standard errors")
