"""Data for recursive feature machines: targets of low rank, and images altered on purpose.

Everything here is NumPy: arrays out, a `numpy.random.Generator` in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..alignment.data import Images, Labels, Sample, Split, gaussian_inputs, generator
from ..validation import RealArray, integer


@dataclass(frozen=True, eq=False)
class MultiIndex:
    """Samples of a target y = g(Uᵀx) that depends on a few directions of its input alone.

    Attributes:
        inputs: Shape (n, d).
        targets: Shape (n,), or (n, o) for several outputs.
        directions: U, shape (d, r): an orthonormal basis of the span of the target's gradients,
            which is the central subspace.
    """

    inputs: RealArray
    targets: RealArray
    directions: RealArray

    def __len__(self) -> int:
        return len(self.inputs)

    def split(self, train: int) -> Split:
        """The first samples to train on, the others to test on; they share one target.

        Raises:
            TypeError: If the number is no integer.
            ValueError: If it is not in 1, ..., n−1.
        """
        if integer("train", train, 1) >= len(self):
            raise ValueError(f"train = {train!r} must be below the number of samples {len(self)}")
        return Split(
            Sample(self.inputs[:train], self.targets[:train]),
            Sample(self.inputs[train:], self.targets[train:]),
        )


def product(n: int, rng: np.random.Generator, *, d: int = 100) -> MultiIndex:
    """x ~ N(0, I_d) and y = x₀x₁, of mean 0 and variance 1. Source: paper E.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If n < 1 or d < 2.
    """
    x = gaussian_inputs(n, integer("d", d, 2), rng)
    return MultiIndex(x, x[:, 0] * x[:, 1], _axes(d, 0, 1))


def gated_low_rank(n: int, rng: np.random.Generator, *, d: int = 20) -> MultiIndex:
    """x ~ N(0, ¼ I_d) and y = x₀x₁·1[x₅ > 0], of mean 0 and variance 1/32. Source: paper E.

    The central subspace has three dimensions, but gradients exist along two of them only: y jumps
    where x₅ changes sign, and its derivative along x₅ is zero everywhere else.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If n < 1 or d < 6.
    """
    x = gaussian_inputs(n, integer("d", d, 6), rng) / 2
    return MultiIndex(x, x[:, 0] * x[:, 1] * (x[:, 5] > 0), _axes(d, 0, 1, 5))


def two_thresholds(n: int, rng: np.random.Generator, *, d: int = 100) -> MultiIndex:
    """x ~ N(0, I_d) and y = (1[x₀ > 0], 1[x₁ < ½]), two outputs. Source: paper E.

    The paper's text leaves the law of the inputs open; the standard normal law is this project's.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If n < 1 or d < 2.
    """
    x = gaussian_inputs(n, integer("d", d, 2), rng)
    targets = np.stack([x[:, 0] > 0, x[:, 1] < 0.5], axis=1).astype(np.float64)
    return MultiIndex(x, targets, _axes(d, 0, 1))


def quadratic_low_rank(
    n: int, rng: np.random.Generator, *, d: int = 128, rank: int = 5
) -> MultiIndex:
    """y = 1[wᵀz + qᵀz² + ε/4 > 0] with z = Ux, U of entries N(0, 1/d), ε ~ N(0, 1).

    The inputs, w and q are standard normal (this project's choice for w and q). U, w and q are
    drawn first, so that a generator of the same seed gives one target whatever n is. Source:
    paper E.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If n < 1, rank < 1 or rank > d.
    """
    r = integer("rank", rank, 1)
    if r > integer("d", d, 1):
        raise ValueError(f"rank = {rank!r} must be at most d = {d!r}")
    U = generator(rng).standard_normal((r, d)) / np.sqrt(d)
    w, q = rng.standard_normal((2, r))
    x = gaussian_inputs(n, d, rng)
    z = x @ U.T
    score = z @ w + z**2 @ q + rng.standard_normal(n) / 4
    return MultiIndex(x, (score > 0).astype(np.float64), np.linalg.qr(U.T)[0])


def _axes(d: int, *chosen: int) -> RealArray:
    basis: RealArray = np.eye(d)[:, chosen]
    return basis


# Images


def choose_classes(images: Images, *classes: int) -> Images:
    """The images of some classes, renumbered 0, 1, ... in the given order.

    Raises:
        TypeError: If a class is no integer.
        ValueError: If fewer than two are given, one twice, or one that is not there.
    """
    if len(set(classes)) < len(classes) or len(classes) < 2:
        raise ValueError(f"classes = {classes!r} must be two or more different numbers")
    if max(integer("classes", c, 0) for c in classes) >= len(images.names):
        raise ValueError(f"classes = {classes!r} must be among 0, ..., {len(images.names) - 1}")
    new = np.full(len(images.names), -1)
    new[list(classes)] = np.arange(len(classes))
    labels: Labels = new[images.labels]
    kept = labels >= 0
    names = tuple(images.names[c] for c in classes)
    return Images(images.inputs[kept], labels[kept], names, images.shape)


def spurious_square(images: Images, *, side: int = 5, labels: Labels | None = None) -> Images:
    """Set the upper left side × side square of every image to c/(C−1), c its class of C.

    The square alone tells the class: the "grokking" data of paper E, where it is 5 × 5.

    Args:
        images: At least two classes.
        side: Of the square, at most the images' height and width.
        labels: Classes that the squares show instead of the images' own, to break the correlation
            in test data.

    Raises:
        TypeError: If the side is no integer.
        ValueError: If the square does not fit, there is one class only, or the labels are not one
            of the classes per image.
    """
    _, height, width = images.shape
    if integer("side", side, 1) > min(height, width):
        raise ValueError(f"side = {side!r} must be at most {min(height, width)}, the images' size")
    count = len(images.names)
    if count < 2:
        raise ValueError(f"there is {count} class; the square needs at least two to tell apart")
    shown = images.labels if labels is None else np.asarray(labels)
    if shown.shape != images.labels.shape or shown.min() < 0 or shown.max() >= count:
        raise ValueError(f"labels must be {len(images)} numbers in 0, ..., {count - 1}")
    pixels = images.inputs.reshape(len(images), *images.shape).copy()
    pixels[:, :, :side, :side] = (shown / (count - 1))[:, None, None, None]
    return Images(pixels.reshape(len(images), -1), images.labels, images.names, images.shape)


def side_by_side(
    left: Images, right: Images, n: int, rng: np.random.Generator, *, agree: bool = True
) -> Images:
    """Pairs of images of the same label next to each other: either half tells the class.

    The label is balanced and drawn first; each half is then drawn with replacement from its
    images of that label. Source: paper E's data for simplicity bias.

    Args:
        left: The left halves.
        right: The right halves: as many classes, channels and rows.
        n: Number of pairs, at least 1.
        rng: Generator.
        agree: Whether the right half has the label. If not, its label is drawn independently, and
            the pair is labelled by the left half: test data that show which half was used.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If n < 1, or classes, channels or rows differ.
    """
    if len(left.names) != len(right.names) or left.shape[:2] != right.shape[:2]:
        raise ValueError(
            f"left has {len(left.names)} classes of shape {left.shape}, right {len(right.names)} "
            f"of {right.shape}; classes, channels and heights must be equal"
        )
    labels = generator(rng).permutation(np.arange(integer("n", n, 1)) % len(left.names))
    others = labels if agree else rng.permutation(labels)
    halves = [_drawn(left, labels, rng), _drawn(right, others, rng)]
    channels, height, width = left.shape
    shape = (channels, height, width + right.shape[2])
    names = tuple(f"{a}|{b}" for a, b in zip(left.names, right.names, strict=True))
    return Images(np.concatenate(halves, axis=3).reshape(n, -1), labels, names, shape)


def _drawn(images: Images, labels: Labels, rng: np.random.Generator) -> RealArray:
    """An image for every label, shape (n, channels, height, width)."""
    chosen = np.empty(len(labels), dtype=np.intp)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        chosen[places] = rng.choice(np.flatnonzero(images.labels == label), len(places))
    return images.inputs[chosen].reshape(len(labels), *images.shape)
