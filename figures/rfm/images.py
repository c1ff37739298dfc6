"""What recursive feature machines look at: diag(M) as images, on digits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from numerics.alignment.data import Images, digits
from numerics.rfm.data import choose_classes, side_by_side, spurious_square
from numerics.rfm.estimators import RFMClassifier

from ..plot import Data, Floats, Plot, Series
from ..style import BLUE, DASHED, GREY, ORANGE, SOLID, Look, canvas, handle, line, points, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHAPES = {"digits": (8, 8), "square": (8, 8), "pairs": (8, 16)}
"""Height and width of the images in the first three panels."""

SIDE = 2
"""Of the square; paper E's is 5 × 5 on larger images."""

ORDERS = {
    "kept by M": Look(BLUE, SOLID, "o"),
    "kept at random": Look(ORANGE, DASHED, "s"),
}
ALL_PIXELS = Look(GREY, (0, (1, 1.2)), "")


def images(
    n: int = 300, test: int = 400, kept: tuple[int, ...] = (2, 4, 8, 16, 32, 64), seed: int = 4
) -> Plot:
    """diag(M) after three rounds on scikit-learn's digits, 8 × 8 pixels, and what it is good for.

    (a) All ten digits. (b) 3 against 8, with a 2 × 2 square at the upper left that tells the class:
    the machine looks at the square and at little else. (c) Pairs that show 0 or 1 on the left and 3
    or 8 on the right, either of which tells the class: the machine looks at the simpler left.
    (d) Lottery ticket: test accuracy of kernel machines (M = I) that see some of the pixels of (a)
    only, those with the largest diag(M) or as many at random (mean of five draws, bars ± 2 standard
    errors). Laplace's kernel, L = 10, λ = 1e-3; images (a–c) are divided by their largest entry.

    The data also hold accuracies: of (b) with the square's class right, and of images whose squares
    show the other class; of (c) by the label of the left half, when the right half is independent.

    Args:
        n: Training images of each panel.
        test: Test images in (a), (c) and (d), at most.
        kept: Numbers of pixels in (d), rising up to 64.
        seed: Of all draws.
    """
    rng = np.random.default_rng(seed)
    ten = _shuffled(digits(), rng)
    train, held_out = _cut(ten, n)
    held_out = _cut(held_out, test)[0]
    whole = _fitted(train)
    data = {"digits: M": _pixels(whole)}
    data |= _square(rng, n) | _pairs(rng, n, test)
    data |= _lottery(train, held_out, whole, kept, rng)
    return Plot("rfm.images", data, _paint)


def _fitted(train: Images, rounds: int = 3) -> RFMClassifier:
    return RFMClassifier(rounds=rounds, progress=False).fit(train.inputs, train.labels)


def _accuracy(machine: RFMClassifier, test: Images) -> Series:
    share = float(np.mean(machine.predict(test.inputs) == test.labels))
    return Series(np.zeros(1), np.array([share]))


def _pixels(machine: RFMClassifier) -> Series:
    """diag(M) over its largest entry, pixel by pixel, row after row."""
    diagonal = np.diagonal(machine.M_).astype(np.float64)
    return Series(np.arange(len(diagonal), dtype=np.float64), diagonal / diagonal.max())


def _square(rng: np.random.Generator, n: int) -> dict[str, Series]:
    train, test = _cut(_shuffled(choose_classes(digits(), 3, 8), rng), min(n, 250))
    machine = _fitted(spurious_square(train, side=SIDE))
    right = spurious_square(test, side=SIDE)
    wrong = spurious_square(test, side=SIDE, labels=1 - test.labels)
    return {
        "square: M": _pixels(machine),
        "square: accuracy": _accuracy(machine, right),
        "square: accuracy, other class shown": _accuracy(machine, wrong),
    }


def _pairs(rng: np.random.Generator, n: int, test: int) -> dict[str, Series]:
    left, right = (choose_classes(digits(), *pair) for pair in ((0, 1), (3, 8)))
    machine = _fitted(side_by_side(left, right, n, rng))
    apart = side_by_side(left, right, test, rng, agree=False)
    return {"pairs: M": _pixels(machine), "pairs: accuracy, left half": _accuracy(machine, apart)}


def _lottery(
    train: Images,
    test: Images,
    whole: RFMClassifier,
    kept: tuple[int, ...],
    rng: np.random.Generator,
) -> dict[str, Series]:
    ranked = np.argsort(-np.diagonal(whole.M_), kind="stable")
    numbers = np.array(kept, dtype=np.float64)
    best = np.array([_seeing(train, test, ranked[:k]) for k in kept])
    drawn = np.array(
        [[_seeing(train, test, rng.permutation(64)[:k]) for k in kept] for _ in range(5)]
    )
    error = drawn.std(axis=0, ddof=1) / np.sqrt(len(drawn))
    return {
        "kept by M": Series(numbers, best),
        "kept at random": Series(numbers, drawn.mean(axis=0), error),
        "all pixels": Series(numbers, np.full(len(kept), _seeing(train, test, ranked))),
    }


def _seeing(train: Images, test: Images, pixels: Any) -> float:
    """Test accuracy of a kernel machine that sees these pixels only."""
    machine = RFMClassifier(rounds=0, progress=False).fit(train.inputs[:, pixels], train.labels)
    return float(np.mean(machine.predict(test.inputs[:, pixels]) == test.labels))


def _shuffled(images: Images, rng: np.random.Generator) -> Images:
    return _chosen(images, rng.permutation(len(images)))


def _cut(images: Images, n: int) -> tuple[Images, Images]:
    everyone = np.arange(len(images))
    return _chosen(images, everyone[:n]), _chosen(images, everyone[n:])


def _chosen(images: Images, which: Any) -> Images:
    return Images(images.inputs[which], images.labels[which], images.names, images.shape)


# The picture


def _paint(data: Data) -> Figure:
    figure, panels = canvas(2.0, 4, ratios=(1, 1, 2, 1.9))
    for axes, (name, shape) in zip(panels, SHAPES.items(), strict=False):
        shown = _paint_image(axes, data[f"{name}: M"].y.reshape(shape))
    bar = figure.colorbar(shown, ax=panels[:3], location="bottom", shrink=0.5, aspect=30, pad=0.04)
    bar.ax.set_title("colours of a–c", fontsize=7)
    bar.ax.set_xlabel("share of the largest entry", fontsize=7)
    for name, look in ORDERS.items():
        line(panels[3], data[name], look)
        points(panels[3], data[name], look)
    line(panels[3], data["all pixels"], ALL_PIXELS)
    for index, text in enumerate(("ten digits", "square", "pairs", "some pixels only")):
        title(panels[index], index, text)
    _label(panels[3])
    return figure


def _paint_image(axes: Axes, pixels: Floats) -> Any:
    from matplotlib.ticker import NullLocator

    axes.grid(visible=False)
    axes.xaxis.set_major_locator(NullLocator())
    axes.yaxis.set_major_locator(NullLocator())
    axes.set_xlabel(r"$\mathrm{diag}(M)$")
    if pixels.shape[1] > pixels.shape[0]:
        axes.axvline(pixels.shape[0] - 0.5, color=GREY, linewidth=0.8)
    return axes.imshow(pixels, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")


def _label(axes: Axes) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    axes.set(xlabel="pixels kept", ylabel="accuracy", xscale="log", ylim=(0, 1.05))
    axes.xaxis.set_major_locator(FixedLocator([2, 4, 8, 16, 32, 64]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    looks = [handle(look, name.removeprefix("kept ")) for name, look in ORDERS.items()]
    axes.legend(handles=[*looks, handle(ALL_PIXELS, "all", shows="line")], loc="lower right")
