"""Correlations while networks are trained, and how they begin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from numerics.alignment import displacement_nfa, gradient_flow, layer_matrices, two_layer
from numerics.alignment import uncentred_nfa as uncentred
from numerics.alignment.chain import ChainTask, train_on_chain
from numerics.alignment.data import chain_monomial, classification, digits
from numerics.alignment.protocol import PAPER_C, train_as_in_paper_c
from numerics.alignment.training import Training
from theory.alignment.expansion import EarlyTime, early_time

from ..plot import Data, Floats, Plot, Series
from ..style import (
    BLACK,
    BLUE,
    DASHED,
    DOTTED,
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
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LAYERS = (Look(BLUE, SOLID, "o"), Look(ORANGE, DASHED, "s"), Look(GREEN, DOTTED, "^"))
CENTRED, UNCENTRED = Look(BLACK, SOLID, "o", filled=True), Look(BLACK, SOLID, "o")


def training(
    width: int = 48,
    epochs: int = 24,
    samples: int = 640,
    steps: int = 200,
    times: int = 13,
    seed: int = 3,
) -> Plot:
    """ρ(NFM, AGOP) during training, centred and uncentred: (a) digits, (b) a chain, (c) the start.

    (a) Paper C's protocol on scikit-learn's digits, with three hidden layers and Pearson's
    correlation as in its code: SGD on centred one-hot targets; epoch 0 is after the slow epoch.
    (b) Two hidden layers learn r^{−1/2} Σ x_k x_{k+1} on a ring of three by plain SGD; cosine.
    (c) A two-layer quadratic network under gradient flow: points are measured on the integrated
    flow, lines are the predicted tangents at t = 0⁺, large crosses the predicted initial values.

    Args:
        width: Of the hidden layers in (a).
        epochs: In (a), after the slow one; even.
        samples: Training images in (a).
        steps: In (b); a multiple of 20.
        times: Moments measured in (c).
        seed: Of data, weights and batches.
    """
    data = _digits(width, epochs, samples, seed) | _chain(steps, seed) | _beginning(times, seed)
    return Plot("alignment.training", data, _paint)


def _digits(width: int, epochs: int, samples: int, seed: int) -> dict[str, Series]:
    split = classification(digits(), samples, 0, np.random.default_rng(seed))
    protocol = replace(PAPER_C, hidden=(width,) * 3, epochs=epochs, record_every=2)
    found = train_as_in_paper_c(split, torch.Generator().manual_seed(seed), protocol)[1]
    return _layers("digits", found, lambda step: step / found.steps_per_epoch - 1)


def _chain(steps: int, seed: int) -> dict[str, Series]:
    task = ChainTask(n=500, steps=steps, record_every=steps // 20)

    def make(model: torch.nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.2)

    found = train_on_chain(task, make, np.random.default_rng(seed), layers=("0", "2"))
    return _layers("chain", found, lambda step: step)


def _layers(name: str, found: Training, time: Callable[[Floats], Floats]) -> dict[str, Series]:
    curves = {}
    for number, layer in enumerate(found.records[0].layers, 1):
        for kind, curve in (("centred", found.centred), ("uncentred", found.uncentred)):
            step, values = curve(layer)
            curves[f"{name}: layer {number}, {kind}"] = Series(time(step), values)
    return curves


# A two-layer network at the start

WIDTH, DIMENSION, SAMPLES = 40, 20, 40
HORIZON = 0.004
"""Until when the flow is followed; about where the tangents stop describing it."""


def _beginning(times: int, seed: int) -> dict[str, Series]:
    rng = np.random.default_rng(seed)
    data = chain_monomial(SAMPLES, DIMENSION, 2, rng)
    W = rng.standard_normal((WIDTH, DIMENSION)) / np.sqrt(DIMENSION)
    a = rng.standard_normal(WIDTH) / np.sqrt(WIDTH)
    # From 1e-6 of the horizon on, where the displacement is small but keeps all its digits.
    t = np.linspace(0.0, HORIZON, times)
    t[0] = 1e-6 * HORIZON
    start = early_time(data.inputs, data.targets, W, a, "quadratic")
    flow = gradient_flow(
        two_layer(W, a, "quadratic"), data.inputs, data.targets, t, trained=["0.weight"]
    )
    measured = [
        (layer_matrices(flow.at(i), data.inputs, ["0"])["0"], flow.displacements(i)["0.weight"])
        for i in range(times)
    ]
    centred = np.array([displacement_nfa(m.ptk, step) for m, step in measured])
    return {
        "start: centred, flow": Series(t, centred),
        "start: uncentred, flow": Series(t, np.array([uncentred(m) for m, _ in measured])),
        **_tangents(start, t),
    }


def _tangents(start: EarlyTime, t: Floats) -> dict[str, Series]:
    predicted = {
        "centred": (start.centred_correlation, start.centred_slope),
        "uncentred": (start.uncentred_correlation, start.uncentred_slope),
    }
    origin = np.zeros(1)
    curves = {}
    for kind, (value, slope) in predicted.items():
        curves[f"start: {kind}, tangent"] = Series(t, value + slope * t)
        curves[f"start: {kind}, initial value"] = Series(origin, np.array([value]))
    return curves


# The picture


def _paint(data: Data) -> Figure:
    figure, panels = canvas(2.7, 3, share_y=True)
    _paint_layers(panels[0], data, "digits")
    _paint_layers(panels[1], data, "chain")
    _paint_start(panels[2], data)
    for index, text in enumerate(("digits", "chain monomial", "two layers, start")):
        title(panels[index], index, text)
    panels[0].set(xlabel="epoch", ylabel="correlation", ylim=(0, 1.05))
    panels[1].set(xlabel="step")
    _legend(figure)
    return figure


def _paint_layers(axes: Axes, data: Data, name: str) -> None:
    for number, look in enumerate(LAYERS, 1):
        for kind, filled in (("centred", True), ("uncentred", False)):
            series = data.get(f"{name}: layer {number}, {kind}")
            if series is None:
                continue
            line(axes, series, look)
            points(axes, series, replace(look, filled=filled, size=2.8))


def _paint_start(axes: Axes, data: Data) -> None:
    for kind, filled in (("centred", True), ("uncentred", False)):
        look = replace(LAYERS[0], filled=filled, size=2.8)
        line(axes, data[f"start: {kind}, tangent"], look)
        points(axes, data[f"start: {kind}, flow"], look)
        value = data[f"start: {kind}, initial value"]
        axes.plot(value.x, value.y, "x", color=BLACK, markersize=7, zorder=4)
    axes.set(xticks=[0, HORIZON / 2, HORIZON], xlabel=r"time $t$ of gradient flow")


def _legend(figure: Figure) -> None:
    cross = handle(Look(BLACK, SOLID, "x", size=7), r"predicted at $t = 0^+$", shows="points")
    looks = [
        *(handle(look, f"layer {number}") for number, look in enumerate(LAYERS, 1)),
        handle(CENTRED, "centred", shows="points"),
        handle(UNCENTRED, "uncentred", shows="points"),
        cross,
    ]
    legend_above(
        figure,
        looks,
        3,
        "a, b: measured while training   c: points measured, lines predicted tangents",
    )
