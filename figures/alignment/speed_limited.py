"""Speed-limited optimisation beside plain gradient descent, on the chain monomial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from numerics.alignment import SpeedLimitedSGD
from numerics.alignment.chain import ChainTask, train_on_chain
from numerics.alignment.speed_limited import layer_groups
from numerics.alignment.training import Record, Training

from ..plot import Data, Floats, Plot, Series
from ..style import (
    BLACK,
    BLUE,
    DASHED,
    DOTTED,
    ERROR_BARS,
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

RATE, RAISED, PLAIN_RATE = 0.04, 5.0, 0.2
LOSSES = (0.7, 0.5, 0.35, 0.25, 0.18, 0.12)
"""Training losses at which the optimisers are compared; the target's variance is 1."""


@dataclass(frozen=True)
class _Method:
    """An optimiser with its name and its look."""

    name: str
    make: Callable[[torch.nn.Module], torch.optim.Optimizer]
    look: Look
    label: str


def _limited(speed: float) -> Callable[[torch.nn.Module], torch.optim.Optimizer]:
    return lambda model: SpeedLimitedSGD(layer_groups(model, {"0": speed}), lr=RATE)


METHODS = (
    _Method("raised", _limited(RAISED), Look(BLUE, SOLID, "o", filled=True), r"$C_1 = 5$"),
    _Method("equal speeds", _limited(1.0), Look(ORANGE, DASHED, "s"), r"$C_1 = 1$"),
    _Method(
        "plain",
        lambda model: torch.optim.SGD(model.parameters(), lr=PLAIN_RATE),
        Look(BLACK, DOTTED, "^"),
        "plain gradient descent",
    ),
)


def speed_limited(
    seeds: int = 5, kind: str = "ring", n: int = 500, steps: int = 200, seed: int = 11
) -> Plot:
    """First layer's ρ(NFM, AGOP) and test loss: speed-limited with C_1 = 5 and 1, and plain SGD.

    (a) Correlation and (b) test loss against steps, (c) correlation when the training loss first
    falls to a given value. Lines are means over seeds, bars ± 2 standard errors, bands reach from
    the smallest to the largest seed. For one seed, data, initial weights and batches are the same
    for all optimisers: two hidden ReLU layers of 64, the chain of three in 20 dimensions, η = 0.04
    and ε = 0.1; plain SGD has the rate 0.2, with which it reaches about the same training loss.

    Args:
        seeds: Runs of each optimiser, at least 2.
        kind: The chain: "ring" or "product".
        n: Training samples.
        steps: A multiple of 20 and of n/100.
        seed: Of all runs.
    """
    task = ChainTask(kind, n=n, steps=steps, record_every=steps // 20)
    data: dict[str, Series] = {}
    for method in METHODS:
        runs = [
            train_on_chain(task, method.make, np.random.default_rng([seed, number]))
            for number in range(seeds)
        ]
        data |= _curves(method.name, runs) | _at_equal_loss(method.name, runs)
    return Plot("alignment.speed_limited", data, _paint)


def _correlation(record: Record) -> float:
    return record.layers["0"].uncentred


def _test_loss(record: Record) -> float:
    return np.nan if record.test_loss is None else record.test_loss


def _curves(name: str, runs: Sequence[Training]) -> dict[str, Series]:
    steps = np.array([record.step for record in runs[0].records], dtype=np.float64)
    return {
        **_summary(f"{name}: correlation", steps, _table(runs, _correlation)),
        **_summary(f"{name}: test loss", steps, _table(runs, _test_loss)),
    }


def _table(runs: Sequence[Training], value: Callable[[Record], float]) -> Floats:
    return np.array([[value(record) for record in run.records] for run in runs])


def _at_equal_loss(name: str, runs: Sequence[Training]) -> dict[str, Series]:
    """Correlations where every seed reaches the loss."""
    found = [[run.first_below(loss) for run in runs] for loss in LOSSES]
    reached = {
        loss: [_correlation(r) for r in records if r is not None]
        for loss, records in zip(LOSSES, found, strict=True)
        if None not in records
    }
    table = np.array(list(reached.values())).reshape(len(reached), len(runs)).T
    return _summary(f"{name}: at equal loss", np.array(list(reached)), table)


def _summary(name: str, x: Floats, table: Floats) -> dict[str, Series]:
    """Mean with standard error, lowest and highest over the rows."""
    error = table.std(axis=0, ddof=1) / np.sqrt(len(table))
    return {
        name: Series(x, table.mean(axis=0), error),
        f"{name}, lowest": Series(x, table.min(axis=0)),
        f"{name}, highest": Series(x, table.max(axis=0)),
    }


def _paint(data: Data) -> Figure:
    figure, panels = canvas(2.6, 3)
    quantities = ("correlation", "test loss", "at equal loss")
    for axes, quantity in zip(panels, quantities, strict=True):
        for method in METHODS:
            _paint_method(axes, data, f"{method.name}: {quantity}", method.look)
    for index, text in enumerate(("first layer", "test loss", "at equal loss")):
        title(panels[index], index, text)
    panels[0].set(xlabel="step", ylabel=r"$\rho(\mathrm{NFM}, \mathrm{AGOP})$")
    panels[1].set(xlabel="step", ylabel="mean squared error", yscale="log")
    panels[2].set(xlabel="training loss", ylabel=r"$\rho(\mathrm{NFM}, \mathrm{AGOP})$")
    panels[2].set(xscale="log", ylim=panels[0].get_ylim())
    panels[2].invert_xaxis()
    _plain_ticks(panels)
    _legend(figure)
    return figure


def _paint_method(axes: Axes, data: Data, name: str, look: Look) -> None:
    low, high = data[f"{name}, lowest"], data[f"{name}, highest"]
    axes.fill_between(low.x, low.y, high.y, color=look.colour, alpha=0.18, linewidth=0)
    line(axes, data[name], look)
    mean = data[name]
    every = max(1, len(mean.x) // 7)
    error = None if mean.error is None else mean.error[::every]
    points(axes, Series(mean.x[::every], mean.y[::every], error), look)


def _plain_ticks(panels: Sequence[Axes]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    ticks = (0.1, 0.2, 0.5, 1.0)
    for axis in (panels[1].yaxis, panels[2].xaxis):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _legend(figure: Figure) -> None:
    legend_above(
        figure,
        [handle(method.look, method.label) for method in METHODS],
        3,
        f"means over seeds, bars ± {ERROR_BARS:g} standard errors, bands: all seeds",
    )
