"""Light-tailed Monte Carlo for polynomials in Gaussian rows: average the radii, draw directions.

A row is w = rho u, its radius independent of its direction u, uniform on the sphere. A trace of a
word in M = sum_i c_i w_i w_i^T is a polynomial in s_i = c_i rho_i^2, which are iid and independent
of the directions, with E s^j = E c^j tau^2j d (d + 2) ... (d + 2j - 2). Given the directions, the
mean over s is exact: the mean of s_{i_1} ... s_{i_p} is the sum over partitions of {1 ... p}
that are constant on the indices, of products of cumulants of s. What is left is a bounded function
of the directions, with the same mean: its sample mean is Gaussian, while that of the word, of
degree 16 in Gaussian variables, is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import comb, prod

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = tuple[int, ...]
"""A set partition of p blocks: the number of each block's class."""


def draw_directions(rng: np.random.Generator, count: int, width: int, size: int) -> Floats:
    """Independent uniform directions, (count, width, size)."""
    normal = rng.standard_normal((count, width, size))
    found: Floats = normal / np.linalg.norm(normal, axis=2, keepdims=True)
    return found


def circle_directions(width: int, degree: int) -> Floats:
    """Rows on all combinations of equally spaced angles, (degree^width, width, 2).

    Their mean is exact for even polynomials of degree < 2 degree in each row.
    """
    angles = np.pi * np.arange(degree) / degree
    every = np.stack(np.meshgrid(*[angles] * width, indexing="ij"), -1).reshape(-1, width)
    return np.stack([np.cos(every), np.sin(every)], axis=-1)


def class_sums(directions: Floats, letters: Sequence[Floats]) -> dict[Labels, Floats]:
    """For every set partition the sum over one row index per class, (count,) each.

    Args:
        directions: (count, k, d).
        letters: What stands behind each of the p blocks, multiplied: p matrices (d, d).
    """
    u = directions
    grams = [np.einsum("zia,ab,zjb->zij", u, letter, u, optimize=True) for letter in letters]
    return {labels: _class_sum(grams, labels) for labels in set_partitions(len(letters))}


def _class_sum(grams: Sequence[Floats], labels: Labels) -> Floats:
    names = [chr(ord("a") + label) for label in labels]
    following = names[1:] + names[:1]
    factors = ",".join("z" + x + y for x, y in zip(names, following, strict=True))
    found: Floats = np.einsum(factors + "->z", *grams, optimize=True)
    return found


def averaged_radii(sums: dict[Labels, Floats], moments: Sequence[float]) -> Floats:
    """The mean over the s_i of the word, given the directions.

    Args:
        sums: See `class_sums`.
        moments: (E s, E s^2, ...).
    """
    kappa = cumulants(moments)
    total: Floats = np.zeros(())
    for labels, values in sums.items():
        sizes = [labels.count(label) for label in set(labels)]
        total = total + prod(kappa[size - 1] for size in sizes) * values
    return total


def scaled_moments(weight_moments: Sequence[float], size: int, variance: float = 1) -> list[float]:
    """E s^j of s = c rho^2, with E rho^2j = tau^2j d (d + 2) ... (d + 2j - 2)."""
    return [
        m * variance**j * prod(range(size, size + 2 * j, 2))
        for j, m in enumerate(weight_moments, start=1)
    ]


def cumulants(moments: Sequence[float]) -> list[float]:
    """From moments: kappa_n = m_n - sum_j C(n-1, j-1) kappa_j m_{n-j}.

    >>> cumulants([1, 3, 15])
    [1, 2, 8]
    """
    kappa: list[float] = []
    for n, m in enumerate(moments, start=1):
        lower = sum(comb(n - 1, j - 1) * kappa[j - 1] * moments[n - j - 1] for j in range(1, n))
        kappa.append(m - lower)
    return kappa


def set_partitions(length: int) -> Iterator[Labels]:
    """Restricted growth strings: every label is at most one more than all before it.

    >>> list(set_partitions(2))
    [(0, 0), (0, 1)]
    """
    strings: list[Labels] = [()]
    for _ in range(length):
        strings = [(*s, x) for s in strings for x in range(max(s, default=-1) + 2)]
    yield from strings
