"""The metric M of a recursive feature machine, and the distances it makes.

M is None (the identity), a vector (d,) (diagonal) or a symmetric (d, d).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

ROUNDING = 16
"""Points closer than so many units in the last place of their norm are one point."""

PAIRS = 2**21
"""Coordinates of close pairs that are gathered at a time."""


def apply_metric(X: Tensor, M: Tensor | None) -> Tensor:
    """XM along the last axis, M symmetric."""
    if M is None:
        return X
    return X * M if M.ndim == 1 else X @ M


def distinct_rows(X: Tensor) -> tuple[Tensor, Tensor | None]:
    """The different rows of X, and the place of each row among them; None if no row repeats."""
    rows, places = torch.unique(X, dim=0, return_inverse=True)
    return (X, None) if len(rows) == len(X) else (rows, places)


def map_rows(X: Tensor, root: Tensor | None) -> Tensor:
    """X M^½, in which equal rows stay equal.

    A matrix product alone does not promise that: the rounding of a row depends on where it stands,
    and 1/r of a distance r that should be 0 drowns all other terms of a gradient.
    """
    if root is None or root.ndim == 1:
        return apply_metric(X, root)
    rows, places = distinct_rows(X)
    mapped = apply_metric(rows, root)
    return mapped if places is None else mapped[places]


def map_pair(X: Tensor, Z: Tensor, root: Tensor | None) -> tuple[Tensor, Tensor]:
    """X M^½ and Z M^½; a row of X that equals one of Z stays equal to it."""
    if X is Z:
        mapped = map_rows(X, root)
        return mapped, mapped
    both = map_rows(torch.cat([X, Z]), root)
    return both[: len(X)], both[len(X) :]


def metric_root(M: Tensor | None) -> Tensor | None:
    """M^½: of a diagonal entry by entry, of a full matrix the symmetric root.

    Raises:
        ValueError: If M has an eigenvalue that is negative beyond rounding.
    """
    return None if M is None else metric_power(M, 0.5)


def metric_power(M: Tensor, power: float) -> Tensor:
    """M to a power > 0; eigenvalues that rounding made negative count as zero.

    Raises:
        ValueError: If M has an eigenvalue that is negative beyond rounding.
    """
    if M.ndim == 1:
        return M.pow(power)
    values, vectors = torch.linalg.eigh(M)
    check_spectrum(values)
    root: Tensor = (vectors * values.clamp(min=0).pow(power)) @ vectors.T
    return (root + root.T) / 2


def check_spectrum(values: Tensor) -> None:
    """Refuse a metric that is not positive semidefinite.

    Raises:
        ValueError: If the smallest (first) eigenvalue is negative beyond rounding.
    """
    rounding = 64 * len(values) * torch.finfo(values.dtype).eps * values.abs().max()
    if values[0] < -rounding:
        raise ValueError(f"M has the eigenvalue {values[0]:.3g}, must be at least 0")


def squared_distances(
    X: Tensor, Z: Tensor, M: Tensor | None = None, index: Tensor | None = None
) -> Tensor:
    """(x − z)ᵀM(x − z), shape (n, m), by one matrix product.

    ‖x‖² + ‖z‖² − 2xᵀz cancels for close points; these few pairs are computed again from x − z.

    Args:
        X: Shape (n, d).
        Z: Shape (m, d).
        M: The metric.
        index: For each row of X the row of Z at distance exactly 0, or −1.
    """
    XM = apply_metric(X, M)
    ZM = XM if Z is X else apply_metric(Z, M)
    rows, columns = (XM * X).sum(dim=1, keepdim=True), (ZM * Z).sum(dim=1, keepdim=True)
    # Two coordinates more hold the norms: adding them apart would be another pass over (n, m).
    left = torch.cat([-2 * XM, rows, torch.ones_like(rows)], dim=1)
    right = torch.cat([Z, torch.ones_like(columns), columns], dim=1)
    return _mend_close_(left @ right.T, X, Z, M, index, rows[:, 0], columns[:, 0])


def _mend_close_(
    squares: Tensor,
    X: Tensor,
    Z: Tensor,
    M: Tensor | None,
    index: Tensor | None,
    rows: Tensor,
    columns: Tensor,
) -> Tensor:
    """Replace squared distances that have lost half of their digits, by those from x − z.

    What is left between two points that differ by their own rounding is noise, whose direction a
    kernel with a kink would take for a slope: they count as one point, at distance 0. Rows
    and columns have the squared norms of X and Z.
    """
    eps = torch.finfo(squares.dtype).eps
    share = math.sqrt(eps)
    zero_at(squares, index, torch.inf)
    if squares.numel() and squares.min() < (threshold := share * (rows.max() + columns.max())):
        for flat in torch.split(_below(squares, threshold), PAIRS // X.shape[1] + 1):
            i, j = flat // len(Z), flat % len(Z)
            lossy = squares[i, j] < share * (rows[i] + columns[j])
            i, j = i[lossy], j[lossy]
            u = X[i] - Z[j]
            near = (apply_metric(u, M) * u).sum(dim=1)
            squares[i, j] = near.masked_fill_(near <= (ROUNDING * eps) ** 2 * rows[i], 0)
    return zero_at(squares, index)


def _below(matrix: Tensor, threshold: Tensor) -> Tensor:
    """Where entries are below, as indices into the flattened matrix."""
    if matrix.device.type == "cpu":  # NumPy takes a seventh of PyTorch's time
        return torch.from_numpy(np.flatnonzero(matrix.numpy() < threshold.numpy()))
    return torch.nonzero((matrix < threshold).flatten())[:, 0]


def zero_at(matrix: Tensor, index: Tensor | None, value: float = 0.0) -> Tensor:
    """Put 0 (or another value) where `index` says, for each row, that the pair is one point."""
    if index is not None:
        known = torch.nonzero(index >= 0)[:, 0]
        matrix[known, index[known]] = value
    return matrix
