"""Detection of concepts in the blocks of a sentence encoder, one by one and aggregated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..plot import Data, Floats, Plot, Series
from ..style import (
    DASHED,
    DOTTED,
    GREY,
    SOLID,
    TEXT_WIDTH,
    VERMILLION,
    Look,
    handle,
    legend_above,
    line,
    points,
)
from .held_out import CONCEPTS, PROBES, detector, score_moments

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from numerics.concepts.text_states import SplitStates

MEASURES = {
    "AUC": Look(PROBES["rfm"][1].colour, SOLID, "o", filled=True, size=3.2),
    "accuracy": Look(VERMILLION, DASHED, "s", size=3.2),
}


def layers(
    splits: int = 3,
    train: int = 192,
    held_out: int = 96,
    blocks: Sequence[int] = (1, 3, 4),
    probes: Sequence[str] = tuple(PROBES),
    dimension: int = 16,
    seed: int = 0,
) -> Plot:
    """AUC and accuracy of five probes on sentences of other words, block by block and aggregated.

    Top row: sentiment. Bottom row: sentiment × tense, of which neither factor tells anything.
    all-MiniLM-L6-v2, mean over tokens, principal axes of the training states. Points are means over
    splits of the words, bars ± 2 standard errors between them. Lines are Φ(√2 r) and the accuracy
    of the best threshold, for Gaussian scores whose means and variances in the two classes are
    those of the held-out scores; the detectors themselves use the thresholds of the training text.
    By default few sentences and three of the six blocks are drawn, in seconds; probes learn more
    from more.

    Args:
        splits: At least 2.
        train: Sentences to learn from.
        held_out: Sentences of the other words.
        blocks: Counted from 0 here, from 1 in the picture.
        probes: Of `numerics.concepts.ConceptDetector`.
        dimension: Principal axes.
        seed: Of words, sentences and folds.

    Raises:
        ImportError: If the optional extra "concepts" is not installed.
    """
    from numerics.concepts.encoder import SentenceEncoder
    from numerics.concepts.text_states import split_states

    encoder = SentenceEncoder()
    tables: dict[str, list[Floats]] = {}
    for number in range(splits):
        states = split_states(
            encoder, np.random.default_rng([seed, number]), train=train, held_out=held_out,
            layers=list(blocks), dimension=dimension,
        )  # fmt: skip
        for concept in CONCEPTS:
            for probe in probes:
                found = _measured(states, probe, concept, seed + number)
                tables.setdefault(f"{concept}: {probe}", []).append(found)
    places = np.array([*(block + 1.0 for block in blocks), max(blocks) + 2.5])
    data = {
        f"{name}, {key}": series
        for name, found in tables.items()
        for key, series in _series(places, np.array(found)).items()
    }
    return Plot("concepts.layers", data, _paint)


def _measured(states: SplitStates, probe: str, concept: str, seed: int) -> Floats:
    """Shape (4, blocks + 1): AUC and accuracy as measured, then as predicted."""
    model = detector(states, probe, concept, seed)
    labels = states.held_out_text.label(concept)
    scores = [*model.layer_scores(states.held_out).T, model.decision_function(states.held_out)]
    return np.array([_four(column, labels) for column in scores]).T


def _four(scores: Floats, labels: NDArray[np.int64]) -> list[float]:
    from numerics.concepts.targets import auc
    from theory.concepts.auc import predicted_auc
    from theory.concepts.thresholds import predicted_accuracy

    m = score_moments(scores, labels)
    law = [1.0], m.half_difference, m.covariance, m.negative_covariance
    return [
        auc(scores, labels == 1),
        float(np.mean((scores > 0) == (labels == 1))),
        predicted_auc(*law),
        predicted_accuracy(*law, prior=m.prior),
    ]


def _series(places: Floats, found: Floats) -> Mapping[str, Series]:
    """From an array (splits, 4, blocks + 1)."""
    mean, error = found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(len(found))
    data = {}
    for row, measure in enumerate(MEASURES):
        data[f"{measure}: measured"] = Series(places, mean[row], error[row])
        data[f"{measure}: Gaussian"] = Series(places, mean[row + 2])
    return data


# The picture


def _paint(data: Data) -> Figure:
    from matplotlib.figure import Figure

    probes = list(dict.fromkeys(key.split(": ")[1].split(", ")[0] for key in data))
    figure = Figure(figsize=(TEXT_WIDTH, 3.6), layout="constrained")
    grid = figure.subplots(2, len(probes), sharey=True, squeeze=False)
    for row, (concept, text) in enumerate(CONCEPTS.items()):
        for column, probe in enumerate(probes):
            axes = grid[row, column]
            _paint_probe(axes, data, f"{concept}: {probe}")
            letter = "abcdefghij"[row * len(probes) + column]
            axes.set_title(rf"$\mathbf{{{letter}}}$  {PROBES[probe][0]}")
        grid[row, 0].set_ylabel(f"{text}\nAUC, accuracy")
    looks = [handle(look, text) for text, look in MEASURES.items()]
    looks.append(handle(_CHANCE, "chance", shows="line"))
    legend_above(figure, looks, 3)
    return figure


_CHANCE = Look(GREY, DOTTED, "")


def _paint_probe(axes: Axes, data: Data, name: str) -> None:
    for measure, look in MEASURES.items():
        measured, law = (data[f"{name}, {measure}: {what}"] for what in ("measured", "Gaussian"))
        line(axes, Series(law.x[:-1], law.y[:-1]), look)
        line(axes, Series(law.x[-1] + np.array([-0.4, 0.4]), np.repeat(law.y[-1], 2)), look)
        points(axes, measured, look)
    places = data[f"{name}, AUC: measured"].x
    axes.axhline(0.5, color=GREY, linestyle=DOTTED, linewidth=0.8)
    axes.set(xlabel="block", xlim=(places[0] - 0.6, places[-1] + 0.8), ylim=(0.3, 1.03))
    axes.set_xticks(places, [*(f"{place:.0f}" for place in places[:-1]), "all"])
