"""Designs: where the data are taken on the torus."""

from __future__ import annotations

import numpy as np

from ..validation import RealArray, integer, nonnegative


def grid(n: int, dimension: int) -> RealArray:
    """The points j/n, j in {0, ..., n-1}^d, shape (n^d, d), last coordinate fastest.

    Raises:
        TypeError: If n or the dimension is not an integer.
        ValueError: If n < 2 or dimension < 1.

    >>> grid(2, 2).tolist()
    [[0.0, 0.0], [0.0, 0.5], [0.5, 0.0], [0.5, 0.5]]
    """
    axis = np.arange(integer("n", n, 2)) / n
    axes = np.meshgrid(*[axis] * integer("dimension", dimension, 1), indexing="ij")
    return np.stack([a.ravel() for a in axes], axis=-1)


def uniform_design(n_points: int, dimension: int, rng: np.random.Generator) -> RealArray:
    """Independent uniform points, shape (n_points, d).

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If n_points < 2 or dimension < 1.
    """
    _check_generator(rng)
    shape = (integer("n_points", n_points, 2), integer("dimension", dimension, 1))
    return rng.random(shape)


def jittered_grid(n: int, dimension: int, rng: np.random.Generator, amount: float) -> RealArray:
    """The grid with each point moved uniformly within `amount` of its cell, shape (n^d, d).

    Args:
        n: Points per side.
        dimension: d.
        rng: Generator.
        amount: In [0, 1]: 0 is the grid, 1 is stratified sampling, one point in every cell.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If n < 2, dimension < 1 or the amount is outside [0, 1].
    """
    _check_generator(rng)
    if nonnegative("amount", amount) > 1:
        raise ValueError(f"amount = {amount!r} must be in [0, 1]")
    points = grid(n, dimension)
    moved: RealArray = (points + amount * (rng.random(points.shape) - 0.5) / n) % 1.0
    return moved


def _check_generator(rng: object) -> None:
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng = {rng!r} must be a numpy.random.Generator")
