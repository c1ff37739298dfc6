"""A small signal anywhere in noise: accuracy round by round, and the patch that is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..plot import Data, Floats, Plot, Series
from ..style import (
    BLUE,
    DASHED,
    GREY,
    ORANGE,
    SOLID,
    Look,
    canvas,
    handle,
    legend_above,
    line,
    title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

    from numerics.convolution.conv_rfm import ConvMachine
    from numerics.convolution.data import LabelledImages

RIDGE = 1e-3
FIXED = Look(ORANGE, DASHED, "")
MEAN = Look(BLUE, SOLID, "")
ONE = Look(GREY, SOLID, "o", size=2.4)
CHOSEN = Look(BLUE, SOLID, "o", filled=True, size=3.6)


@dataclass(frozen=True)
class _Task:
    """Images, the kernel's patches, and how many images train, choose the round and test."""

    name: str
    label: str
    side: int
    depth: int
    channels: int
    sizes: tuple[int, int, int]


STAR = _Task("star", "star", 11, 1, 3, (50, 50, 100))
DIGITS = _Task("digits", "noisy 0 or 1", 5, 2, 1, (120, 80, 160))


def local_signal(
    star_seeds: Sequence[int] = (0, 1, 2),
    digit_seeds: Sequence[int] = (0, 1, 2, 3, 4),
    counts: tuple[int, int] = (2, 3),
) -> Plot:
    """Test accuracy of convolutional recursive feature machines against the round, seed by seed.

    (a) Is there a star somewhere in the noise (50 training images of 32 × 32 × 3, patches of 11)?
    (b) Is the digit somewhere in the noise 0 or 1 (120 training images of 12 × 12, patches of 5)?
    Round 0 is the fixed convolutional kernel, continued by the dashed line; filled points are the
    rounds that 50 or 80 validation images choose; λ = 1e-3. In a later round the metric may look at
    too little and lose what an earlier one had found. (c, d) The leading eigenvector of the chosen
    round's patch-AGOP for the first seed, (c) in the first channel: patches hold the star anywhere,
    so that it is a blot and no star; (d) an edge detector.

    Args:
        star_seeds: Of images in (a).
        digit_seeds: Of images in (b).
        counts: Rounds after round 0 in (a) and (b).
    """
    from numerics.convolution.data import noisy_digits, star_images

    data: dict[str, Series] = {}
    for seed in star_seeds:
        drawn = star_images(sum(STAR.sizes), seed=seed, dtype=_single())
        data |= _fitted(STAR, drawn, seed, counts[0], shown=seed == star_seeds[0])
    for seed in digit_seeds:
        drawn = noisy_digits(sum(DIGITS.sizes), seed=seed, classes=(0, 1), dtype=_single())
        data |= _fitted(DIGITS, drawn, seed, counts[1], shown=seed == digit_seeds[0])
    for task in (STAR, DIGITS):
        mean = np.mean([series.y for series in _seeds(data, task)], axis=0)
        numbers = np.arange(len(mean), dtype=np.float64)
        data[f"{task.name}: mean"] = Series(numbers, mean)
        data[f"{task.name}: fixed kernel"] = Series(numbers, np.full(len(mean), mean[0]))
    return Plot("convolution.local_signal", data, _paint)


def _single() -> Any:
    import torch

    return torch.float32


def _fitted(
    task: _Task, drawn: LabelledImages, seed: int, count: int, *, shown: bool
) -> dict[str, Series]:
    machine, accuracies = _machine(task, drawn, count)
    numbers = np.arange(len(accuracies), dtype=np.float64)
    chosen = machine.round.number
    found = {
        f"{task.name}: seed {seed}": Series(numbers, accuracies),
        f"{task.name}: chosen, seed {seed}": Series(
            numbers[chosen : chosen + 1], accuracies[chosen : chosen + 1]
        ),
    }
    if shown:
        from numerics.convolution.eigenpatches import leading_patches

        patch = leading_patches(machine.patch_agop, (task.channels, task.side, task.side), 1)
        entries: Floats = patch[0].double().flatten().numpy()
        found[f"{task.name}: patch"] = Series(np.arange(len(entries), dtype=np.float64), entries)
    return found


def _machine(task: _Task, drawn: LabelledImages, count: int) -> tuple[ConvMachine, Floats]:
    """The machine of the round that validation images choose, and every round's test accuracy.

    Test images go through the same predictions, but the score leaves them out.
    """
    import torch

    from numerics.convolution.cntk import ConvolutionalNTK
    from numerics.convolution.conv_rfm import ConvRecipe, fit_conv_rfm
    from numerics.convolution.patches import Patches

    train, validation, test = drawn.split(*task.sizes)
    recipe = ConvRecipe(
        ConvolutionalNTK(Patches(task.side), depth=task.depth), ridges=(RIDGE,), rounds=count
    )
    accuracies = []

    def score(outputs: Tensor, targets: Tensor) -> float:
        right = (outputs.argmax(1) == targets.argmax(1)).double()
        accuracies.append(float(right[len(validation) :].mean()))
        return 1 - float(right[: len(validation)].mean())

    others = torch.cat([validation.images, test.images])
    targets = torch.cat([validation.onehot(), test.onehot()])
    machine = fit_conv_rfm(
        train.images, train.onehot() - 0.5, recipe, validation=(others, targets), score=score
    )
    return machine, np.array(accuracies)


def _seeds(data: Data, task: _Task) -> list[Series]:
    return [series for name, series in data.items() if name.startswith(f"{task.name}: seed ")]


# The picture


def _paint(data: Data) -> Figure:
    figure, panels = canvas(2.3, 4, ratios=(1.5, 1.5, 1, 1))
    for axes, task in zip(panels, (STAR, DIGITS), strict=False):
        _paint_rounds(axes, data, task)
    for axes, task in zip(panels[2:], (STAR, DIGITS), strict=True):
        shown = _paint_patch(axes, data, task)
    bar = figure.colorbar(shown, ax=panels[2:], location="bottom", shrink=0.8, aspect=25, pad=0.04)
    bar.ax.set_title("colours of c, d", fontsize=7)
    bar.ax.set_xlabel("entry over the largest", fontsize=7)
    for index, text in enumerate((STAR.label, DIGITS.label, "its patch", "its patch")):
        title(panels[index], index, text)
    panels[0].set_ylabel("test accuracy")
    _legend(figure)
    return figure


def _paint_rounds(axes: Axes, data: Data, task: _Task) -> None:
    from matplotlib.ticker import MaxNLocator

    line(axes, data[f"{task.name}: fixed kernel"], FIXED)
    for series in _seeds(data, task):
        axes.plot(series.x, series.y, color=GREY, linewidth=0.6, marker="o", markersize=1.8)
    for name, series in data.items():
        if name.startswith(f"{task.name}: chosen"):
            axes.plot(series.x, series.y, "o", color=CHOSEN.colour, markersize=CHOSEN.size)
    line(axes, data[f"{task.name}: mean"], MEAN)
    axes.set(xlabel="round", ylim=(0.55, 1.02))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _paint_patch(axes: Axes, data: Data, task: _Task) -> Any:
    from matplotlib.ticker import NullLocator

    patch = data[f"{task.name}: patch"].y.reshape(task.channels, task.side, task.side)[0]
    axes.grid(visible=False)
    axes.xaxis.set_major_locator(NullLocator())
    axes.yaxis.set_major_locator(NullLocator())
    axes.set_xlabel(f"{task.side} × {task.side} pixels")
    # One direction of lightness, so that grey keeps the order.
    return axes.imshow(patch / np.abs(patch).max(), cmap="cividis", vmin=-1, vmax=1)


def _legend(figure: Figure) -> None:
    legend_above(
        figure,
        [
            handle(ONE, "one seed"),
            handle(MEAN, "mean", shows="line"),
            handle(FIXED, "fixed kernel, mean", shows="line"),
            handle(CHOSEN, "chosen by validation", shows="points"),
        ],
        4,
        "",
    )
