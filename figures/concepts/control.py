"""What a transformer writes when it is steered, against the coefficient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..plot import Data, Plot, Series
from ..style import (
    DASH_DOT,
    DASHED,
    DOTTED,
    ERROR_BARS,
    GREY,
    LONG_DASHED,
    SOLID,
    TEXT_WIDTH,
    Dashes,
    Look,
    handle,
    legend_above,
    line,
    points,
    title,
)
from .held_out import PROBES
from .steered import VALUES, Sizes, bare, tally

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from numerics.concepts.grammar import Tally

DASHES: dict[str, Dashes] = {
    "rfm": SOLID,
    "linear": DASHED,
    "logistic": DOTTED,
    "mean_difference": DASH_DOT,
    "pca": LONG_DASHED,
}
ENOUGH = 0.9
"""Share of grammatical texts that steering should leave."""


def control(
    coefficients: Sequence[float] = (-0.25, -0.125, 0.0, 0.125, 0.25),
    probes: Sequence[str] = tuple(PROBES),
    texts: int = 8000,
    steps: int = 900,
    width: int = 64,
    beginnings: int = 408,
    written: int = 120,
    seed: int = 7,
) -> Plot:
    """Steering with five probes' directions: (a, b) concept rates, (c, d) grammatical texts.

    A transformer of two blocks spells texts of two sentences that share sentiment and tense. A
    probe learns its direction v from states at the ends of beginnings, where the second sentence is
    about to show the concept; εv, v as long as the states' standard deviation, is then added to
    both blocks' states at every token. The rate is that among the grammatical texts; where there
    are none, there is no point. Bars are ± 2 binomial standard errors.

    Args:
        coefficients: ε; at 0 all probes share their texts.
        probes: Of `numerics.concepts.ConceptDetector`.
        texts: To train on.
        steps: Of training.
        width: Of the hidden states, a multiple of 4.
        beginnings: To learn directions from; of a multiple of 12 half are in each class.
        written: Texts for each coefficient.
        seed: Of everything.
    """
    sizes = Sizes(texts, steps, width, beginnings, written, seed)
    data: dict[str, Series] = {}
    for concept in VALUES:
        for probe in probes:
            data |= _curves(sizes, concept, probe, coefficients)
    return Plot("concepts.control", data, _paint)


def _curves(
    sizes: Sizes, concept: str, probe: str, coefficients: Sequence[float]
) -> dict[str, Series]:
    found = {
        float(e): tally(sizes, concept, probe, "v", float(e)) if e else bare(sizes)
        for e in sorted(coefficients)
    }
    return {
        f"{concept}: {probe}, rate": _rates(found, concept),
        f"{concept}: {probe}, grammatical": _grammatical(found),
    }


def _rates(found: dict[float, Tally], concept: str) -> Series:
    """The concept's rates where there are grammatical texts."""
    some = {e: texts.rate(concept, VALUES[concept]) for e, texts in found.items() if texts.parses}
    return Series(
        np.array([*some], dtype=float),
        np.array([rate.share for rate in some.values()]),
        np.array([rate.error for rate in some.values()]),
    )


def _grammatical(found: dict[float, Tally]) -> Series:
    shares = [texts.grammatical() for texts in found.values()]
    return Series(
        np.array([*found]),
        np.array([rate.share for rate in shares]),
        np.array([rate.error for rate in shares]),
    )


# The picture


def _paint(data: Data) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(TEXT_WIDTH, 4.3), layout="constrained")
    grid = figure.subplots(2, 2, sharey="row", height_ratios=(1.5, 1))
    for column, (concept, value) in enumerate(VALUES.items()):
        upper, lower = grid[:, column]
        _paint_curves(upper, data, f"{concept}: ", "rate")
        _paint_curves(lower, data, f"{concept}: ", "grammatical")
        upper.set_xlim(lower.get_xlim())
        lower.axhline(ENOUGH, color=GREY, linestyle=DASHED, linewidth=0.9)
        title(upper, column, f"{concept}: {value}")
        title(lower, column + 2, f"grammatical, steered by {concept}")
    grid[0, 0].set(ylabel="concept rate", ylim=(-0.03, 1.03))
    grid[1, 0].set(ylabel="share of texts", ylim=_range(data))
    _legend(figure, data)
    return figure


def _range(data: Data) -> tuple[float, float]:
    """From well below the lowest bar, and the line at 90 %, to 1."""
    lowest = [
        (series.y - ERROR_BARS * series.error).min()
        for name, series in data.items()
        if name.endswith("grammatical") and series.error is not None
    ]
    return max(-0.04, min(0.84, *lowest) - 0.02), 1.03


def _look(probe: str) -> Look:
    return replace(PROBES[probe][1], dashes=DASHES[probe])


def _paint_curves(axes: Axes, data: Data, start: str, measure: str) -> None:
    for name, series in data.items():
        if name.startswith(start) and name.endswith(measure):
            look = _look(name.removeprefix(start).split(", ")[0])
            line(axes, series, look)
            points(axes, series, look)
    axes.set(xlabel=r"coefficient $\epsilon$")


def _legend(figure: Figure, data: Data) -> None:
    probes = dict.fromkeys(name.split(": ")[1].split(", ")[0] for name in data)
    looks = [handle(_look(probe), PROBES[probe][0]) for probe in probes]
    looks.append(handle(Look(GREY, DASHED, ""), "90 %", shows="line"))
    legend_above(
        figure,
        looks,
        3,
        f"points: measured, bars ± {ERROR_BARS:g} standard errors, joined by lines",
    )
