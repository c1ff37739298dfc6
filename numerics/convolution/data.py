"""Images for convolutional kernels and networks: a local signal in noise, digits, your own files.

The synthetic sets are those of paper D, regenerated from their formulas: the same seed gives the
same bytes. Images are torch tensors of shape (n, channels, height, width), and labels the classes'
numbers. Files are read by `numerics.alignment.images`; `labelled_images` takes what it returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..alignment.data import Images, Labels, digits
from ..validation import RealArray, choice, integer, nonnegative

STAR_COLUMNS: dict[int, tuple[int, ...]] = {
    3: (10,),
    4: (9, 10, 11),
    5: (7, 8, 9, 10, 11, 12, 13),
    6: (8, 9, 10, 11, 12),
    7: (9, 10, 11),
    8: (8, 9, 10, 11, 12),
    9: (8, 9, 11, 12),
}
"""Columns of the star in each of its rows, at offset 0."""

STAR_OFFSETS = 18
"""The star's offset is one of 0, ..., 17, downwards and to the right."""

PLACEMENTS = ("added", "replaced")


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with their classes.

    Attributes:
        images: Shape (n, channels, height, width).
        labels: Number of each image's class, 0, ..., C−1, shape (n,), int64.
        names: Names of the C classes.
    """

    images: Tensor
    labels: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def onehot(self) -> Tensor:
        """The labels as unit vectors, shape (n, C), in the images' dtype."""
        return torch.eye(len(self.names), dtype=self.images.dtype)[self.labels]

    def split(self, *sizes: int) -> tuple[LabelledImages, ...]:
        """Consecutive parts of these sizes, such as training, validation and test images.

        Raises:
            TypeError: If a size is no integer.
            ValueError: If no size is given, one is below 1, or they add up to more than n.
        """
        counts = [integer("size", size, 1) for size in sizes]
        if not counts or sum(counts) > len(self):
            raise ValueError(f"sizes {sizes} must add up to at most the {len(self)} images")
        parts, start = [], 0
        for count in counts:
            part = slice(start, start + count)
            parts.append(LabelledImages(self.images[part], self.labels[part], self.names))
            start += count
        return tuple(parts)


def star_images(
    samples: int, *, seed: int, noise: float = 0.3, dtype: torch.dtype = torch.float64
) -> LabelledImages:
    """Noise N(0, noise²) on 32×32×3 pixels; half of the images show a star somewhere.

    The star's pixels have the value 1 in the first two channels, and noise in the third. Source:
    paper D.

    Args:
        samples: n, at least 1; classes differ by one image at most, in a random order.
        seed: Of labels, offsets and noise.
        noise: Standard deviation.
        dtype: Of the images.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a number is out of its range.
    """
    n, rng = integer("samples", samples, 1), _generator(seed)
    labels = _balanced(n, 2, rng)
    rows, columns = rng.integers(0, STAR_OFFSETS, (2, n))
    pixels = nonnegative("noise", noise) * rng.standard_normal((n, 3, 32, 32))
    star = np.array([(r, c) for r, across in STAR_COLUMNS.items() for c in across])
    for i in np.flatnonzero(labels):
        pixels[i, :2, star[:, 0] + rows[i], star[:, 1] + columns[i]] = 1.0
    return _labelled(pixels, labels, ("noise", "star"), dtype)


def bars(
    samples: int,
    *,
    seed: int,
    noise: float = 1.5,
    side: int = 16,
    dtype: torch.dtype = torch.float64,
) -> LabelledImages:
    """Noise N(0, noise²) on side × side pixels, and a bar of 3 × 7 or of 7 × 3 ones anywhere.

    The label is the bar's orientation: 0 lies, 1 stands. Source: paper D.

    Args:
        samples: n, at least 1; classes differ by one image at most, in a random order.
        seed: Of labels, places and noise.
        noise: Standard deviation.
        side: Of the images, at least 7.
        dtype: Of the images.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a number is out of its range.
    """
    n, size, rng = integer("samples", samples, 1), integer("side", side, 7), _generator(seed)
    labels = _balanced(n, 2, rng)
    places = rng.random((n, 2))
    pixels = nonnegative("noise", noise) * rng.standard_normal((n, 1, size, size))
    for i, label in enumerate(labels):
        height, width = (7, 3) if label else (3, 7)
        top = int(places[i, 0] * (size - height + 1))
        left = int(places[i, 1] * (size - width + 1))
        pixels[i, 0, top : top + height, left : left + width] = 1.0
    return _labelled(pixels, labels, ("lying", "standing"), dtype)


def patch_toy(
    samples: int,
    *,
    seed: int,
    noise: float = 1.0,
    rows: int = 16,
    dimension: int = 32,
    dtype: torch.dtype = torch.float64,
) -> LabelledImages:
    """Rows of noise N(0, noise/d), one of which is replaced by y·1/√d, y = ±1 the label.

    A row is one pixel with d channels, so that images have shape (n, d, rows, 1) and patches of
    side 1 are the rows. The signal's squared norm is 1, that of a row of noise `noise` on average
    (the variance of the entries is noise/d). Class 0 is y = −1. Source: paper D.

    Args:
        samples: n, at least 1; classes differ by one image at most, in a random order.
        seed: Of labels, the signal's row and noise.
        noise: d times the variance of an entry.
        rows: At least 1.
        dimension: d, at least 1.
        dtype: Of the images.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a number is out of its range.
    """
    n, rng = integer("samples", samples, 1), _generator(seed)
    count, d = integer("rows", rows, 1), integer("dimension", dimension, 1)
    labels = _balanced(n, 2, rng)
    places = rng.integers(0, count, n)
    deviation = np.sqrt(nonnegative("noise", noise) / d)
    pixels = deviation * rng.standard_normal((n, d, count, 1))
    pixels[np.arange(n), :, places, 0] = (2 * labels - 1)[:, None] / np.sqrt(d)
    return _labelled(pixels, labels, ("-1", "+1"), dtype)


def noisy_digits(
    samples: int,
    *,
    seed: int,
    side: int = 12,
    noise: float = 0.3,
    placement: str = "added",
    classes: Sequence[int] = tuple(range(10)),
    dtype: torch.dtype = torch.float64,
) -> LabelledImages:
    """scikit-learn's 8 × 8 digits, values in [0, 1], anywhere on a larger canvas of noise.

    No digit is shown twice, so that parts of one call are apart. Paper D has digits of 28 × 28 on
    42 × 42, the same proportions; the noise's law N(0, noise²) and its size are this project's.

    Args:
        samples: n, at least 1 and at most the number of digits of these classes (1797 of all ten).
        seed: Of the choice of digits, offsets and noise.
        side: Of the canvas, at least 8.
        noise: Standard deviation.
        placement: "added": noise covers the digit as well; "replaced": the digit's 8 × 8 square is
            without noise.
        classes: Which digits; they are numbered in this order.
        dtype: Of the images.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a number is out of its range.
    """
    check_dtype(dtype)
    chosen = digits_images(samples, seed=seed, classes=classes, dtype=torch.float64)
    size, rng = integer("side", side, 8), _generator(seed, 1)
    choice("placement", placement, PLACEMENTS)
    n = len(chosen)
    offsets = rng.integers(0, size - 8 + 1, (n, 2))
    pixels = nonnegative("noise", noise) * rng.standard_normal((n, 1, size, size))
    for canvas, digit, (top, left) in zip(pixels, chosen.images.numpy(), offsets, strict=True):
        square = canvas[:, top : top + 8, left : left + 8]
        square[:] = digit if placement == "replaced" else square + digit
    return LabelledImages(torch.from_numpy(pixels).to(dtype), chosen.labels, chosen.names)


def digits_images(
    samples: int | None = None,
    *,
    seed: int = 0,
    classes: Sequence[int] = tuple(range(10)),
    dtype: torch.dtype = torch.float64,
) -> LabelledImages:
    """scikit-learn's bundled digits, 8 × 8 grey values in [0, 1], in a random order.

    Args:
        samples: How many; by default all of these classes (1797 of all ten).
        seed: Of the order.
        classes: Which digits; they are numbered in this order.
        dtype: Of the images.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If there are not so many, or the classes are not different digits.
    """
    wanted = [integer("classes", digit, 0) for digit in classes]
    if not wanted or len(set(wanted)) < len(wanted) or max(wanted) > 9:
        raise ValueError(f"classes = {classes!r} must be different numbers in 0, ..., 9")
    every = labelled_images(digits(), dtype=dtype)
    number = torch.full((10,), -1)
    number[wanted] = torch.arange(len(wanted))
    places = torch.nonzero(number[every.labels] >= 0)[:, 0]
    n = len(places) if samples is None else integer("samples", samples, 1)
    if n > len(places):
        raise ValueError(f"samples = {samples!r} must be at most the {len(places)} digits")
    chosen = places[torch.from_numpy(_generator(seed).permutation(len(places))[:n])]
    names = tuple(every.names[digit] for digit in wanted)
    return LabelledImages(every.images[chosen], number[every.labels[chosen]], names)


def labelled_images(images: Images, *, dtype: torch.dtype = torch.float64) -> LabelledImages:
    """Images read from files by `numerics.alignment.images`, as tensors of shape (n, c, h, w).

    Raises:
        TypeError: If they are not such images.

    >>> labelled_images(digits()).images.shape
    torch.Size([1797, 1, 8, 8])
    """
    if not isinstance(images, Images):
        raise TypeError(
            f"images = {type(images).__name__} must be the Images that image_folder, cifar, idx or "
            "svhn of numerics.alignment return"
        )
    return _labelled(
        images.inputs.reshape(len(images), *images.shape), images.labels, images.names, dtype
    )


def _labelled(
    pixels: RealArray, labels: Labels, names: tuple[str, ...], dtype: torch.dtype
) -> LabelledImages:
    check_dtype(dtype)
    return LabelledImages(
        torch.tensor(pixels, dtype=dtype), torch.tensor(labels, dtype=torch.int64), names
    )


def check_dtype(dtype: object) -> None:
    """Refuse what is no floating dtype of torch.

    Raises:
        TypeError: If it is not.
    """
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise TypeError(f"dtype = {dtype!r} must be a floating dtype of torch")


def _balanced(n: int, classes: int, rng: np.random.Generator) -> Labels:
    labels: Labels = rng.permutation(np.arange(n) % classes)
    return labels


def _generator(seed: int, *stream: int) -> np.random.Generator:
    return np.random.default_rng([integer("seed", seed, 0), *stream])
