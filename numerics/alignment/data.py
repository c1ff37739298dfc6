"""Data for the networks of this slice: synthetic targets with a seed, and bundled digits.

Everything here is NumPy: arrays out, a `numpy.random.Generator` in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..validation import RealArray, choice, integer, nonnegative

Labels = NDArray[np.int64]

CHAINS = ("product", "ring")


@dataclass(frozen=True, eq=False)
class Sample:
    """Inputs with their targets.

    Attributes:
        inputs: Shape (n, d).
        targets: Shape (n,), or (n, o) for several outputs.
    """

    inputs: RealArray
    targets: RealArray

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, eq=False)
class Split:
    """Data to train on, and data of the same law that training never sees."""

    train: Sample
    test: Sample


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images.

    Attributes:
        inputs: Grey or colour values in [0, 1], shape (n, d); row-major over `shape`.
        labels: Index of each image's class, shape (n,).
        names: Names of the classes.
        shape: (channels, height, width), with product d.
    """

    inputs: RealArray
    labels: Labels
    names: tuple[str, ...]
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.inputs)


def power_law_spectrum(d: int, decay: float) -> RealArray:
    """The variances 1/(1+k)^α, k = 0, ..., d−1.

    Args:
        d: Dimension, at least 1.
        decay: α ≥ 0; 0 is isotropic.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If d < 1, or the decay is negative or not finite.

    >>> power_law_spectrum(3, 1.0).tolist()
    [1.0, 0.5, 0.3333333333333333]
    """
    exponent = nonnegative("decay", decay)
    spectrum: RealArray = np.arange(1, integer("d", d, 1) + 1, dtype=np.float64) ** -exponent
    return spectrum


def gaussian_inputs(n: int, d: int, rng: np.random.Generator, *, decay: float = 0.0) -> RealArray:
    """Independent rows N(0, diag(1/(1+k)^α)), shape (n, d).

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If n < 1, d < 1, or the decay is negative or not finite.
    """
    shape = (integer("n", n, 1), integer("d", d, 1))
    deviations = np.sqrt(power_law_spectrum(d, decay))
    inputs: RealArray = generator(rng).standard_normal(shape) * deviations
    return inputs


def chain_monomial(
    n: int, d: int, length: int, rng: np.random.Generator, *, kind: str = "product"
) -> Sample:
    """Isotropic Gaussian inputs whose target chains the first coordinates. Source: paper C.

    "product": y = x₀ x₁ ⋯ x_{r−1}. "ring": y = r^{−1/2} Σ_{k<r} x_k x_{k+1 mod r}, the pairs of
    neighbours on a ring. Either target has variance 1 and depends on r of the d coordinates.

    Args:
        n: Number of samples, at least 1.
        d: Dimension.
        length: r, at most d; at least 1 for a product and 3 for a ring (2 would pair x₀x₁ twice).
        rng: Generator.
        kind: "product" or "ring".

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a number is out of its range, or the kind is unknown.
    """
    shortest = 3 if choice("kind", kind, CHAINS) == "ring" else 1
    r = integer("length", length, shortest)
    if r > integer("d", d, 1):
        raise ValueError(f"length = {length!r} must be at most d = {d!r}")
    inputs = gaussian_inputs(n, d, rng)
    return Sample(inputs, _CHAIN[kind](inputs[:, :r]))


def _product(chain: RealArray) -> RealArray:
    total: RealArray = np.prod(chain, axis=1)
    return total


def _ring(chain: RealArray) -> RealArray:
    neighbours = chain * np.roll(chain, -1, axis=1)
    total: RealArray = neighbours.sum(axis=1) / np.sqrt(chain.shape[1])
    return total


_CHAIN: dict[str, Callable[[RealArray], RealArray]] = {"product": _product, "ring": _ring}


def low_rank_quadratic(n: int, d: int, rank: int, rng: np.random.Generator) -> Sample:
    """Isotropic Gaussian inputs and y = Σ_{j<r} ((u_jᵀx)² − 1)/√(2r) with random orthonormal u_j.

    The target has mean 0, variance 1, and an r-dimensional range of gradients that no coordinate
    axis marks.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If n < 1, rank < 1 or rank > d.
    """
    r = integer("rank", rank, 1)
    if r > integer("d", d, 1):
        raise ValueError(f"rank = {rank!r} must be at most d = {d!r}")
    directions, _ = np.linalg.qr(generator(rng).standard_normal((d, r)))
    inputs = gaussian_inputs(n, d, rng)
    targets: RealArray = ((inputs @ directions) ** 2 - 1).sum(axis=1) / np.sqrt(2 * r)
    return Sample(inputs, targets)


def centred_onehot(labels: ArrayLike, classes: int) -> RealArray:
    """Targets of paper C's protocol: the one-hot vector less 1/C, shape (n, C).

    Raises:
        TypeError: If the labels are not integers.
        ValueError: If they are not a vector of numbers 0, ..., C−1.

    >>> centred_onehot([1, 0], 2).tolist()
    [[-0.5, 0.5], [0.5, -0.5]]
    """
    index = np.asarray(labels)
    if index.dtype.kind not in "iu":
        raise TypeError(f"labels has dtype {index.dtype}, must be integers")
    count = integer("classes", classes, 1)
    if index.ndim != 1:
        raise ValueError(f"labels has shape {index.shape}, must be a vector")
    if (wrong := index[(index < 0) | (index >= count)]).size:
        raise ValueError(f"labels holds {wrong[0]}, must be in 0, ..., {count - 1}")
    targets: RealArray = np.eye(count)[index] - 1 / count
    return targets


def digits() -> Images:
    """scikit-learn's bundled digits: 1797 grey images of 8 × 8 pixels, ten classes."""
    from sklearn.datasets import load_digits

    bundle = load_digits()
    labels: Labels = bundle.target.astype(np.int64)
    names = tuple(str(name) for name in bundle.target_names)
    return Images(bundle.data.astype(np.float64) / 16.0, labels, names, (1, 8, 8))


def classification(
    images: Images, train: int, test: int, rng: np.random.Generator | None = None
) -> Split:
    """Split and prepare images as paper C's released code does.

    Every channel is shifted and scaled by the mean and the standard deviation of the training
    images' values in it; targets are one-hot less 1/C.

    Args:
        images: The images.
        train: How many to train on, at least 2.
        test: How many to keep apart, at least 0.
        rng: Draws the split; without it the images are taken in their order.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If there are not enough images, or a channel does not vary.
    """
    total = integer("train", train, 2) + integer("test", test, 0)
    if total > len(images):
        raise ValueError(f"train + test = {total} must be at most the {len(images)} images")
    order = np.arange(len(images)) if rng is None else generator(rng).permutation(len(images))
    inputs = _standardised(images.inputs[order[:total]], train, images.shape)
    targets = centred_onehot(images.labels[order[:total]], len(images.names))
    return Split(Sample(inputs[:train], targets[:train]), Sample(inputs[train:], targets[train:]))


def _standardised(inputs: RealArray, train: int, shape: tuple[int, int, int]) -> RealArray:
    channels = inputs.reshape(len(inputs), shape[0], -1)
    mean = channels[:train].mean(axis=(0, 2), keepdims=True)
    deviation = channels[:train].std(axis=(0, 2), keepdims=True, ddof=1)
    if not deviation.all():
        dead = int(np.flatnonzero(deviation[0, :, 0] == 0)[0])
        raise ValueError(f"channel {dead} has the same value in all training images; it must vary")
    standard: RealArray = ((channels - mean) / deviation).reshape(inputs.shape)
    return standard


def generator(rng: object) -> np.random.Generator:
    """Return the generator.

    Raises:
        TypeError: If it is none; seeds are not taken, so that nothing is drawn twice unnoticed.
    """
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng = {rng!r} must be a numpy.random.Generator")
    return rng
