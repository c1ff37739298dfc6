"""Detectors' scores on held-out sentences, class by class, with the Gaussian laws of the theory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..plot import Data, Floats, Plot, Series
from ..style import (
    BLUE,
    DASHED,
    ERROR_BARS,
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
from .held_out import CONCEPTS, PROBES, detector, score_moments

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from numerics.concepts.text_states import SplitStates

CLASSES = {
    0: ("without the concept", Look(VERMILLION, DASHED, "s")),
    1: ("with the concept", Look(BLUE, SOLID, "o", filled=True)),
}
RESOLUTION = 8  # points of a line in each bin


def scores(
    train: int = 240,
    held_out: int = 480,
    blocks: Sequence[int] = (2, 3, 4),
    shown: Sequence[tuple[str, str]] = (
        ("mean_difference", "sentiment"),
        ("rfm", "sentiment"),
        ("linear", "sentiment*tense"),
        ("rfm", "sentiment*tense"),
    ),
    bins: int = 16,
    seed: int = 0,
) -> Plot:
    """Densities of the aggregated scores of sentences of other words, for two concepts.

    Scores are in units of their standard deviation about their mean over both classes. Points are
    histograms, bars ± 2 binomial standard errors. Lines are the densities of Gaussian scores with
    the class's own mean and variance, vᵀ(m ± μ) and vᵀΣ_±v, from which the theory takes its AUC.

    Args:
        train: Sentences to learn from.
        held_out: Sentences of the other words.
        blocks: Aggregated ones.
        shown: Probe and concept of each panel.
        bins: Between -3.2 and 3.2.
        seed: Of words, sentences and folds.

    Raises:
        ImportError: If the optional extra "concepts" is not installed.
    """
    from numerics.concepts.encoder import SentenceEncoder
    from numerics.concepts.text_states import split_states

    states = split_states(
        SentenceEncoder(), np.random.default_rng(seed), train=train, held_out=held_out,
        layers=list(blocks),
    )  # fmt: skip
    data: dict[str, Series] = {}
    for probe, concept in shown:
        data |= _panel(states, probe, concept, bins, seed)
    return Plot("concepts.scores", data, _paint)


def _panel(
    states: SplitStates, probe: str, concept: str, bins: int, seed: int
) -> dict[str, Series]:
    from numerics.concepts.targets import auc
    from theory.concepts.auc import predicted_auc

    raw = detector(states, probe, concept, seed).decision_function(states.held_out)
    labels = states.held_out_text.label(concept)
    units = (raw - raw.mean()) / raw.std()
    m = score_moments(units, labels)
    name, edges = f"{concept}: {probe}", np.linspace(-3.2, 3.2, bins + 1)
    area = predicted_auc([1.0], m.half_difference, m.covariance, m.negative_covariance)
    data = {
        f"{name}, AUC: measured": _one(auc(units, labels == 1)),
        f"{name}, AUC: Gaussian": _one(area),
    }
    for value, sign, covariance in ((0, -1, m.negative_covariance), (1, 1, m.covariance)):
        mean = float(m.midpoint[0] + sign * m.half_difference[0])
        spread = float(np.sqrt(covariance[0, 0]))
        data[f"{name}, class {value}: measured"] = histogram(units[labels == value], edges)
        data[f"{name}, class {value}: Gaussian"] = _density(edges, mean, spread)
    return data


def _one(value: float) -> Series:
    return Series(np.array([0.0]), np.array([value]))


def histogram(values: Floats, edges: Floats) -> Series:
    """Densities in bins, with binomial standard errors at the shares (count + ½)/(n + 1).

    These are not 0 where the count is.
    """
    n, width = len(values), np.diff(edges)
    counts, _ = np.histogram(values, edges)
    share = (counts + 0.5) / (n + 1)
    error = np.sqrt(share * (1 - share) / n)
    return Series((edges[:-1] + edges[1:]) / 2, counts / n / width, error / width)


def _density(edges: Floats, mean: float, spread: float) -> Series:
    x = np.linspace(edges[0], edges[-1], RESOLUTION * (len(edges) - 1) + 1)
    z = (x - mean) / spread
    return Series(x, np.exp(-(z**2) / 2) / (spread * math.sqrt(2 * math.pi)))


# The picture


def _paint(data: Data) -> Figure:
    names = list(dict.fromkeys(key.split(", ")[0] for key in data))
    figure, panels = canvas(2.4, len(names), share_y=True)
    top = max(
        float((s.y + ERROR_BARS * s.error).max()) for s in data.values() if s.error is not None
    )
    for index, (axes, name) in enumerate(zip(panels, names, strict=True)):
        for value, (_, look) in CLASSES.items():
            line(axes, data[f"{name}, class {value}: Gaussian"], look)
            points(axes, data[f"{name}, class {value}: measured"], look)
        concept, probe = name.split(": ")
        title(axes, index, PROBES[probe][0])
        measured, law = (data[f"{name}, AUC: {what}"].y[0] for what in ("measured", "Gaussian"))
        axes.set(xlabel=f"score, {CONCEPTS[concept]}", ylim=(0, 1.25 * top))
        axes.set_xticks([-2, 0, 2])
        axes.text(
            0.03, 0.97, f"AUC {measured:.3f}\nGaussian {law:.3f}",
            transform=axes.transAxes, va="top", fontsize=6.5,
        )  # fmt: skip
    panels[0].set_ylabel("density")
    legend_above(figure, [handle(look, text) for text, look in CLASSES.values()], 2)
    return figure
