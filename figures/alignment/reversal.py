"""Data that reverse the alignment, beside the universal lower bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from numerics.alignment import displacement_nfa, gradient_flow, layer_matrices, two_layer
from theory.alignment.bound import alignment_bound
from theory.alignment.reversal import reversed_alignment, reversing_data, reversing_label_ratio

from ..plot import NUMERICS, THEORY, Data, Floats, Plot, Series
from ..style import (
    BLUE,
    DASH_DOT,
    DASHED,
    DOTTED,
    GREEN,
    GREY,
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
    from matplotlib.figure import Figure

COUNTS = (2, 3)
"""Samples in the two blocks."""

LOOKS = (
    Look(BLUE, SOLID, "o"),
    Look(ORANGE, DASHED, "s"),
    Look(GREEN, DASH_DOT, "^"),
    Look(PURPLE, (0, (8, 2)), "D"),
)
BOUND_LOOK = Look(GREY, DOTTED, "")
REVERSING_LOOK, EQUAL_LOOK = Look(VERMILLION, SOLID, "v"), Look(BLUE, DASHED, "o")
RATIOS, SPAN = (0.5, 1e4), 6.0
"""Label ratios shown; networks are measured within this factor of the worst one."""
TIME = 1e-5
"""Of the flow, over the largest target; a second time removes the next order in t."""


def reversal(
    condition_numbers: Sequence[float] = (4.0, 25.0, 200.0),
    count: int = 7,
    resolution: int = 120,
    seed: int = 6,
) -> Plot:
    """Alignment at the start of training against the data, closed form and measured.

    Left, for quadratic networks on two blocks of orthogonal data: against the ratio of the
    targets, for several condition numbers κ, each with its bound 2√κ/(1 + κ). Right: against κ,
    with equal targets and with those that attain the bound.

    Args:
        condition_numbers: κ of the left panel, at most four.
        count: Networks per curve.
        resolution: Abscissas per curve.
        seed: Of the rotations of the data.

    Raises:
        ValueError: If there are more than four condition numbers, or one is less than 1.

    Source: this project (that data can reverse the alignment: paper C).
    """
    if len(condition_numbers) > len(LOOKS):
        raise ValueError(f"condition_numbers = {condition_numbers!r}; at most {len(LOOKS)}")
    rng = np.random.default_rng(seed)
    data: dict[str, Series] = {}
    for kappa in condition_numbers:
        worst = reversing_label_ratio(kappa, counts=COUNTS)
        measured_at = worst * np.geomspace(1 / SPAN, SPAN, count)
        ratios = np.union1d(np.geomspace(*RATIOS, resolution), measured_at)
        measure = partial(_measured, kappa, rng=rng)
        data[f"κ = {kappa:g}{THEORY}"] = _line(ratios, kappa)
        data[f"κ = {kappa:g}{NUMERICS}"] = _dots(measured_at, measure)
        bound = np.full(2, alignment_bound(kappa))
        data[f"κ = {kappa:g}: bound"] = Series(ratios[[0, -1]], bound)
    return Plot("alignment.reversal", data | _against_condition(count, resolution, rng), _paint)


def _against_condition(count: int, resolution: int, rng: np.random.Generator) -> dict[str, Series]:
    measured_at = np.geomspace(1.0, 1000.0, count)
    kappas = np.union1d(np.geomspace(1.0, 1000.0, resolution), measured_at)
    bound = np.array([alignment_bound(kappa) for kappa in kappas])
    equal = np.array([reversed_alignment(kappa, 1.0, counts=COUNTS) for kappa in kappas])
    return {
        f"reversing{THEORY}": Series(kappas, bound),
        f"reversing{NUMERICS}": _dots(measured_at, lambda kappa: _measured(kappa, None, rng=rng)),
        f"equal{THEORY}": Series(kappas, equal),
        f"equal{NUMERICS}": _dots(measured_at, lambda kappa: _measured(kappa, 1.0, rng=rng)),
    }


def _line(ratios: Floats, kappa: float) -> Series:
    y = np.array([reversed_alignment(kappa, ratio, counts=COUNTS) for ratio in ratios])
    return Series(ratios, y)


def _dots(x: Floats, measure: Callable[[float], float]) -> Series:
    return Series(x, np.array([measure(float(value)) for value in x]), np.zeros(len(x)))


def _measured(kappa: float, label_ratio: float | None, *, rng: np.random.Generator) -> float:
    """The centred correlation of an actual network as t → 0, from two short times."""
    n = sum(COUNTS)
    Q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    data = reversing_data(kappa, label_ratio, counts=COUNTS, rotation=Q)
    model = two_layer(data.weights, data.readout, data.activation)
    time = TIME / np.abs(data.targets).max()
    flow = gradient_flow(model, data.inputs, data.targets, [time, 2 * time])
    first, second = (
        displacement_nfa(
            layer_matrices(flow.at(i), data.inputs)["0"].ptk, flow.displacements(i)["0.weight"]
        )
        for i in range(2)
    )
    return 2 * first - second


def _paint(data: Data) -> Figure:
    figure, (left, right) = canvas(2.6, 2, share_y=True)
    names = [name.removesuffix(THEORY) for name in data if name.startswith("κ") and THEORY in name]
    for name, look in zip(names, LOOKS, strict=False):
        line(left, data[f"{name}: bound"], BOUND_LOOK)
        line(left, data[name + THEORY], look)
        points(left, data[name + NUMERICS], look)
    for name, look in (("reversing", REVERSING_LOOK), ("equal", EQUAL_LOOK)):
        line(right, data[name + THEORY], look)
        points(right, data[name + NUMERICS], look)
    for axes, label in ((left, r"label ratio $y_2/y_1$"), (right, r"condition number $\kappa$")):
        axes.set_xscale("log")
        axes.set_xlabel(label)
    left.set_ylabel(r"centred correlation, $t \to 0^+$")
    left.set_ylim(0, 1.03)
    title(left, 0, "targets at a given condition number")
    title(right, 1, "equal and worst targets")
    handles = [handle(look, rf"$\kappa$ = {name.removeprefix('κ = ')}")
               for name, look in zip(names, LOOKS, strict=False)]  # fmt: skip
    bound = handle(BOUND_LOOK, r"bound $2\sqrt{\kappa}/(1+\kappa)$", shows="line")
    worst = handle(REVERSING_LOOK, "targets that attain the bound")
    legend_above(figure, [*handles, bound, handle(EQUAL_LOOK, "equal targets"), worst], 3)
    return figure
