"""Quadrature on cells whose corners are design points, where kernels have kinks."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np

from ..validation import RealArray


def gauss_legendre(order: int) -> tuple[RealArray, RealArray]:
    """Nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    return (nodes + 1) / 2, weights / 2


@cache
def cell_rule(dimension: int, order: int, grading: int = 1) -> tuple[RealArray, RealArray]:
    """Nodes (Q, d) in the unit cell and weights (Q,) for functions of the distances to its corners.

    The cell is cut into 2^d halves, one for each corner, and each half into d pyramids with their
    apex in the corner. On a pyramid x = u (1, v), |x| = u √(1 + |v|²) is analytic in u and v, so
    that Gauss–Legendre converges geometrically though |x| has a cone at the corner (Duffy).

    Args:
        dimension: d.
        order: Gauss–Legendre points per variable; Q = d 2^d order^d.
        grading: u = t^grading, more than 1 for profiles that are not analytic in the distance.
    """
    pyramids = [_pyramid(axis, dimension, order, grading) for axis in range(dimension)]
    x = np.concatenate([nodes for nodes, _ in pyramids])
    weights = np.concatenate([weights for _, weights in pyramids])
    corners = itertools.product((False, True), repeat=dimension)
    nodes = np.concatenate([np.where(corner, 1 - x, x) for corner in corners])
    return nodes, np.tile(weights, 2**dimension)


def _pyramid(axis: int, dimension: int, order: int, grading: int) -> tuple[RealArray, RealArray]:
    """The part of [0, 1/2]^d where x_axis is the largest coordinate."""
    t, w = gauss_legendre(order)
    u, du = t**grading, w * grading * t ** (grading - 1)
    factors = [(u, du * u ** (dimension - 1))] + [(t, w)] * (dimension - 1)
    mesh = np.meshgrid(*[nodes for nodes, _ in factors], indexing="ij")
    weights = np.prod(np.meshgrid(*[weights for _, weights in factors], indexing="ij"), axis=0)
    columns = [mesh[0].ravel() * m.ravel() for m in mesh[1:]]
    columns.insert(axis, mesh[0].ravel())
    return np.stack(columns, axis=-1) / 2, weights.ravel() / 2**dimension
