"""What the first convolution looks for: leading eigenvectors as patches, a digit through them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..plot import Data, Floats, Plot, Series
from ..style import canvas, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

COVARIANCE, AGOP = "filter covariance", "patch-AGOP"
SIDE, SHOWN, PIXELS = 5, 4, 8
DIGIT = 3
"""The digit that is shown, from the test images."""


def filters(seed: int = 0, train: int = 1000, epochs: int = 20) -> Plot:
    """Leading eigenvectors of the first convolution's matrices, and a digit filtered by them.

    A network with three convolutions (16 filters, 5 × 5, tanh) trained on scikit-learn's digits.
    The four leading eigenvectors of (a) the filter covariance and (b) the patch-AGOP, row after
    row, the first at the upper left; (c) a digit that training never saw; (d) the same through
    (b)'s patches. The patches are near blind to constant brightness: they detect edges.
    An eigenvector's sign is free; those of (a) have the sign of their partners in (b).

    The data also hold the share of each patch's squared norm in its mean, the cosines of
    partners, and the shares of the trace.

    Args:
        seed: Of images, weights and batches.
        train: Training images.
        epochs: Passes through them.
    """
    from numerics.convolution.cnn import DIGITS, train_on_digits
    from numerics.convolution.data import digits_images
    from numerics.convolution.eigenpatches import filtered, leading_patches

    protocol = replace(DIGITS, side=SIDE, train=train, epochs=epochs)
    measured = train_on_digits(seed, protocol).after["0"]
    agop = leading_patches(measured.patch_agop, measured.patch, SHOWN)
    covariance = _same_signs(
        leading_patches(measured.filter_covariance, measured.patch, SHOWN), agop
    )
    _, test = digits_images(train + protocol.test, seed=seed, dtype=agop.dtype).split(
        train, protocol.test
    )
    digit = test.images[test.labels == DIGIT][:1]
    through = filtered(_padded(digit), agop)
    data = {"digit": _entries(digit)}
    data |= _patches(COVARIANCE, covariance) | _patches(AGOP, agop)
    for i in range(SHOWN):
        data[f"filtered: {i}"] = _entries(through[0, i])
    cosines = (covariance * agop).sum(dim=(1, 2, 3))
    data["cosines"] = _entries(cosines)
    data["mean share"] = _entries(agop.sum(dim=(1, 2, 3)).square() / SIDE**2)
    for name, matrix in ((COVARIANCE, measured.filter_covariance), (AGOP, measured.patch_agop)):
        data[f"{name}: spectrum"] = _spectrum(matrix)
    return Plot("convolution.filters", data, _paint)


def _same_signs(patches: Tensor, partners: Tensor) -> Tensor:
    products = (patches * partners).sum(dim=(1, 2, 3), keepdim=True)
    return patches * products.sign()


def _padded(image: Tensor) -> Tensor:
    """Zeros around the image, as the network's convolution adds them."""
    from torch.nn import functional

    return functional.pad(image, (SIDE // 2,) * 4)


def _entries(values: Tensor) -> Series:
    flat: Floats = values.detach().double().flatten().numpy()
    return Series(np.arange(len(flat), dtype=np.float64), flat)


def _patches(name: str, patches: Tensor) -> dict[str, Series]:
    return {f"{name}: {i}": _entries(patch) for i, patch in enumerate(patches)}


def _spectrum(matrix: Tensor) -> Series:
    """Eigenvalues over their sum, the largest first."""
    import torch

    values = torch.linalg.eigvalsh(matrix.double()).flip(0)
    return _entries(values / values.sum())


# The picture


def _paint(data: Data) -> Figure:
    figure, panels = canvas(2.35, 4)
    for axes, name in ((panels[0], COVARIANCE), (panels[1], AGOP)):
        _paint_signed(axes, _montage(data, name, SIDE))
        share = data[f"{name}: spectrum"].y[:SHOWN].sum()
        axes.set_xlabel(f"{share:.0%} of the trace")
    panels[2].imshow(data["digit"].y.reshape(PIXELS, PIXELS), cmap="cividis")
    panels[2].set_xlabel("not trained on")
    shown = _paint_signed(panels[3], _montage(data, "filtered", PIXELS))
    panels[3].set_xlabel("digit through b")
    bar = figure.colorbar(shown, ax=panels, location="bottom", shrink=0.4, aspect=30, pad=0.04)
    bar.ax.set_title("colours of a, b, d", fontsize=7)
    bar.ax.set_xlabel("entry over the patch's or image's largest", fontsize=7)
    for index, text in enumerate((COVARIANCE, AGOP, "digit", "filtered")):
        _bare(panels[index])
        title(panels[index], index, text)
    return figure


def _montage(data: Data, name: str, side: int) -> Floats:
    """Four images in two rows, each over its largest entry, with a gap between them."""
    gap = 1
    whole: Floats = np.full((2 * side + gap, 2 * side + gap), np.nan)
    for i in range(SHOWN):
        top, left = (i // 2) * (side + gap), (i % 2) * (side + gap)
        entries = data[f"{name}: {i}"].y.reshape(side, side)
        whole[top : top + side, left : left + side] = entries / np.abs(entries).max()
    return whole


def _paint_signed(axes: Axes, montage: Floats) -> Any:
    # One direction of lightness, so that grey keeps the order.
    return axes.imshow(montage, cmap="cividis", vmin=-1, vmax=1, interpolation="nearest")


def _bare(axes: Axes) -> None:
    from matplotlib.ticker import NullLocator

    axes.grid(visible=False)
    axes.xaxis.set_major_locator(NullLocator())
    axes.yaxis.set_major_locator(NullLocator())
    for spine in axes.spines.values():
        spine.set_visible(False)
