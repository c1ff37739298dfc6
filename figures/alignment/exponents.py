"""Exponents of deep linear networks: under balance, without it, and the modes of two layers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from numerics.alignment import Flow, correlation, gradient_flow, layer_matrices
from theory.alignment.balanced import balanced_exponent, balanced_weights
from theory.alignment.modes import linear_modes

from ..plot import NUMERICS, THEORY, Data, Floats, Plot, Series
from ..style import (
    BLACK,
    BLUE,
    DASH_DOT,
    DASHED,
    DOTTED,
    GREEN,
    ORANGE,
    PURPLE,
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEPTH_LOOKS = {
    2: Look(BLUE, SOLID, "o"),
    3: Look(ORANGE, DASHED, "s"),
    4: Look(GREEN, DASH_DOT, "^"),
}
MODES_LOOK = DEPTH_LOOKS[2]
SMALL_LOOK = Look(BLACK, DOTTED, "x", size=3.0)
UNBALANCED_LOOK = Look(PURPLE, DASHED, "v")
DECAYED_LOOK = Look(VERMILLION, DASH_DOT, "D", size=3.0)
IMBALANCE_LOOK = Look(BLACK, DOTTED, "p")

WIDTHS = {2: (6, 5, 3), 3: (6, 5, 4, 3), 4: (6, 5, 4, 5, 3)}
SINGULAR_VALUES = (1.1, 0.8, 0.5)
SAMPLES = 20
SMALL = 0.3
WEIGHT_DECAY = 5.0
START = 0.01

Start = Callable[[Sequence[int], np.random.Generator], Sequence[Floats]]


def exponents(
    depths: Sequence[int] = (2, 3, 4),
    seeds: int = 4,
    times: int = 7,
    resolution: int = 80,
    seed: int = 3,
) -> Plot:
    """Exponents e of NFM = AGOP^e on trained deep linear networks, and ρ along the modes.

    (a) After gradient flow, layer by layer: from balanced starts (on the line 1/(L − ℓ + 1) to
    rounding) and, as crosses, from Gaussian starts at 0.3 of the standard size. (b) Two layers
    from a standard Gaussian start against time: how far the first is from the law,
    ‖NFM² − AGOP‖/(‖NFM²‖ + ‖AGOP‖), without and with weight decay 5, and the imbalance that the
    latter forgets as e^{−10t}. (c) ρ(NFM, AGOP) of the first of two layers on whitened
    inputs, all modes from strength 0.01. The exponent is the slope of the log eigenvalues.

    Args:
        depths: L, among 2, 3, 4.
        seeds: Networks per point.
        times: Moments in (b) and (c), at least 2.
        resolution: Moments on the line in (c).
        seed: Of the networks and their data.

    Raises:
        ValueError: If a depth is not among 2, 3, 4.
    """
    for depth in depths:
        if depth not in WIDTHS:
            raise ValueError(f"depths = {tuple(depths)} must be among {tuple(WIDTHS)}")
    data = _after_training(depths, seeds, seed) | _during_training(seeds, times, seed)
    return Plot("alignment.exponents", data | _modes(times, resolution, seed), _paint)


# ── starts ───────────────────────────────────────────────────────────────────────────────────────


def _balanced(widths: Sequence[int], rng: np.random.Generator) -> Sequence[Floats]:
    return balanced_weights(widths, SINGULAR_VALUES, rng)


def _gaussian(widths: Sequence[int], rng: np.random.Generator) -> Sequence[Floats]:
    return [rng.standard_normal((up, low)) / low**0.5 for low, up in itertools.pairwise(widths)]


def _small(widths: Sequence[int], rng: np.random.Generator) -> Sequence[Floats]:
    return [SMALL * W for W in _gaussian(widths, rng)]


# ── measuring ────────────────────────────────────────────────────────────────────────────────────


def _network(weights: Sequence[Floats]) -> nn.Module:
    layers = [nn.Linear(W.shape[1], W.shape[0], bias=False, dtype=torch.float64) for W in weights]
    with torch.no_grad():
        for layer, W in zip(layers, weights, strict=True):
            layer.weight.copy_(torch.tensor(np.asarray(W)))
    return nn.Sequential(*layers)


def _slopes(model: nn.Module, inputs: Floats) -> Floats:
    """The exponent of every layer: slope of its NFM's log eigenvalues against its AGOP's."""
    measured = layer_matrices(model, inputs, agop="gradient").values()
    return np.array([_slope(m.nfm.numpy(), m.agop.numpy()) for m in measured])


def _slope(nfm: NDArray[np.float64], agop: NDArray[np.float64]) -> float:
    x, y = (np.log(np.linalg.eigvalsh(A)[-len(SINGULAR_VALUES) :]) for A in (agop, nfm))
    return float(np.polyfit(x, y, 1)[0])


def _distance(model: nn.Module, inputs: Floats) -> float:
    """‖NFM² − AGOP‖/(‖NFM²‖ + ‖AGOP‖) of the first of two layers."""
    first = next(iter(layer_matrices(model, inputs, agop="gradient").values()))
    square = first.nfm @ first.nfm
    size = torch.linalg.norm(square) + torch.linalg.norm(first.agop)
    return float(torch.linalg.norm(square - first.agop) / size)


def _imbalance(model: nn.Module) -> float:
    """‖W_2ᵀW_2 − W_1W_1ᵀ‖."""
    lower, upper = (p.detach() for p in model.parameters())
    return float(torch.linalg.norm(upper.T @ upper - lower @ lower.T))


def _flow(
    start: Start, depth: int, times: Floats, seed: tuple[int, int], weight_decay: float = 0.0
) -> tuple[Flow, Floats]:
    """Gradient flow of one network on data of its own, and the inputs."""
    rng = np.random.default_rng((*seed, depth))
    X = rng.standard_normal((SAMPLES, 6))
    Y = X @ rng.standard_normal((6, 3)) / 2
    model = _network(start(WIDTHS[depth], rng))
    path = gradient_flow(model, X, Y, times, weight_decay=weight_decay, rtol=1e-9)
    return path, X


def _end_slopes(start: Start, depth: int, seed: tuple[int, int]) -> Floats:
    path, X = _flow(start, depth, np.array([0.4]), seed)
    return _slopes(path.at(0), X)


def _mean(x: Floats, samples: Floats) -> Series:
    """Means over the first axis with standard errors."""
    return Series(x, samples.mean(axis=0), samples.std(axis=0, ddof=1) / len(samples) ** 0.5)


def _after_training(depths: Sequence[int], seeds: int, seed: int) -> dict[str, Series]:
    data = {}
    for depth in depths:
        layers = np.arange(1.0, depth + 1)
        law = np.array([float(balanced_exponent(depth, int(layer))) for layer in layers])
        exact, small = (
            np.array([_end_slopes(start, depth, (seed, i)) for i in range(seeds)])
            for start in (_balanced, _small)
        )
        data[f"L = {depth}{THEORY}"] = Series(layers, law)
        data[f"L = {depth}{NUMERICS}"] = Series(layers, exact.mean(axis=0), np.zeros(depth))
        data[f"L = {depth}, small start"] = _mean(layers, small)
    return data


def _during_training(seeds: int, times: int, seed: int) -> dict[str, Series]:
    moments = np.linspace(0.0, 1.0, times)
    data = {}
    for name, decay in (("unbalanced", 0.0), ("unbalanced, weight decay", WEIGHT_DECAY)):
        flows = [_flow(_gaussian, 2, moments, (seed, i), decay) for i in range(seeds)]
        distances = [[_distance(path.at(i), X) for i in range(times)] for path, X in flows]
        data[name] = _mean(moments, np.array(distances))
    path = flows[0][0]
    left = np.array([_imbalance(path.at(i)) for i in range(times)])
    law = np.exp(-2 * WEIGHT_DECAY * moments)
    return {
        **data,
        f"imbalance{THEORY}": Series(moments, law),
        f"imbalance{NUMERICS}": Series(moments, left / left[0], np.zeros(times)),
    }


# ── modes ────────────────────────────────────────────────────────────────────────────────────────


def _modes(times: int, resolution: int, seed: int) -> dict[str, Series]:
    """ρ along the logistic modes of a two-layer network of width 7, weights balanced."""
    rng = np.random.default_rng(seed)
    n, d, o, width = 30, 5, 3, 7
    X = np.linalg.qr(rng.standard_normal((n, d)))[0] * n**0.5
    left, _, right = np.linalg.svd(rng.standard_normal((o, d)), full_matrices=False)
    Y = X @ (left * np.array([2.0, 1.0, 0.4]) @ right).T
    middle = np.linalg.qr(rng.standard_normal((width, o)))[0]
    start = [START**0.5 * middle @ right, START**0.5 * left @ middle.T]
    moments = np.geomspace(0.005, 1.0, times)
    path = gradient_flow(_network(start), X, Y, moments)
    pairs = [next(iter(layer_matrices(path.at(i), X).values())) for i in range(times)]
    measured = np.array([correlation(m.nfm, m.agop) for m in pairs])
    rho = linear_modes(X, Y, START).correlation
    fine = np.union1d(moments, np.geomspace(moments[0], moments[-1], resolution))
    return {
        f"modes{THEORY}": Series(fine, np.array([rho(float(t)) for t in fine])),
        f"modes{NUMERICS}": Series(moments, measured, np.zeros(times)),
    }


# ── drawing ──────────────────────────────────────────────────────────────────────────────────────


def _paint(data: Data) -> Figure:
    figure, panels = canvas(2.6, 3)
    depths = [depth for depth in DEPTH_LOOKS if f"L = {depth}{THEORY}" in data]
    _paint_layers(panels[0], data, depths)
    _paint_times(panels[1], data)
    _paint_modes(panels[2], data)
    title(panels[0], 0, "after training")
    title(panels[1], 1, r"$L = 2$, first layer")
    title(panels[2], 2, r"$L = 2$, whitened")
    looks = [handle(DEPTH_LOOKS[depth], f"$L = {depth}$") for depth in depths]
    looks += [
        handle(SMALL_LOOK, "small start", shows="points"),
        handle(UNBALANCED_LOOK, "unbalanced", shows="points"),
        handle(DECAYED_LOOK, r"unbalanced, $\lambda = 5$", shows="points"),
        handle(IMBALANCE_LOOK, r"imbalance, $\lambda = 5$"),
    ]
    legend_above(figure, looks, 4)
    return figure


def _paint_layers(axes: Axes, data: Data, depths: Sequence[int]) -> None:
    for depth in depths:
        look = DEPTH_LOOKS[depth]
        line(axes, data[f"L = {depth}{THEORY}"], look)
        points(axes, data[f"L = {depth}{NUMERICS}"], look)
        small = data[f"L = {depth}, small start"]
        shifted = Series(small.x + 0.12, small.y, small.error)
        points(axes, shifted, Look(look.colour, look.dashes, SMALL_LOOK.marker, size=3.0))
    axes.set(xlabel=r"layer $\ell$", ylabel="exponent", ylim=(0, 1.1))
    axes.set_xticks(range(1, max(depths) + 1))


def _paint_times(axes: Axes, data: Data) -> None:
    line(axes, data[f"imbalance{THEORY}"], IMBALANCE_LOOK)
    points(axes, data[f"imbalance{NUMERICS}"], IMBALANCE_LOOK)
    for name, look in (
        ("unbalanced", UNBALANCED_LOOK),
        ("unbalanced, weight decay", DECAYED_LOOK),
    ):
        points(axes, data[name], look)
    axes.set(yscale="log", xlabel=r"time $t$", ylabel="distance from the law")


def _paint_modes(axes: Axes, data: Data) -> None:
    line(axes, data[f"modes{THEORY}"], MODES_LOOK)
    points(axes, data[f"modes{NUMERICS}"], MODES_LOOK)
    axes.set(xscale="log", xlabel=r"time $t$", ylabel=r"$\rho$(NFM, AGOP)")
