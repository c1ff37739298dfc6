"""Refusing points, coefficients and metrics that do not fit together, by name."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Pair:
    """Two sets of points and a metric, fit together.

    Attributes:
        X: Where one evaluates, shape (n, d).
        Z: The centres, shape (m, d).
        M: The metric: None, (d,) or (d, d).
        index: For each row of X the centre that it equals, or −1; None if there are none.
    """

    X: Tensor
    Z: Tensor
    M: Tensor | None = None
    index: Tensor | None = None

    def rows(self, part: slice) -> Pair:
        """Some rows of X with all centres."""
        index = None if self.index is None else self.index[part]
        return replace(self, X=self.X[part], index=index)

    def shifted(self, origin: Tensor) -> Pair:
        """The same points seen from another origin."""
        Z = self.Z - origin
        return replace(self, X=Z if self.X is self.Z else self.X - origin, Z=Z)


def check_alpha(alpha: Tensor, centres: Tensor) -> Tensor:
    """The coefficients as a matrix (m, outputs).

    Raises:
        TypeError: If they are not a tensor of the centres' dtype and device.
        ValueError: If their length is not that of the centres, or an entry is NaN or infinite.
    """
    if not isinstance(alpha, Tensor) or alpha.dtype != centres.dtype:
        raise TypeError(f"alpha must be a tensor of dtype {centres.dtype}, as the centres are")
    if alpha.ndim not in (1, 2) or len(alpha) != len(centres):
        raise ValueError(
            f"alpha has shape {tuple(alpha.shape)}, must be ({len(centres)},) or "
            f"({len(centres)}, outputs)"
        )
    if not torch.isfinite(alpha).all():
        raise ValueError("alpha holds NaN or infinite entries, must be finite")
    return alpha[:, None] if alpha.ndim == 1 else alpha


def check_points(name: str, X: Tensor) -> Tensor:
    """Points as a floating (n, d) matrix of finite numbers.

    Raises:
        TypeError: If they are not a floating tensor.
        ValueError: If they are not a matrix, or an entry is NaN or infinite.
    """
    if not isinstance(X, Tensor) or not X.is_floating_point():
        raise TypeError(f"{name} must be a floating torch tensor, is {type(X).__name__}")
    if X.ndim != 2 or X.shape[1] == 0:
        raise ValueError(f"{name} has shape {tuple(X.shape)}, must be (n, d) with d >= 1")
    if not torch.isfinite(X).all():
        raise ValueError(f"{name} holds NaN or infinite entries, must be finite")
    return X.detach()


def check_targets(name: str, X: Tensor, Y: Tensor) -> Tensor:
    """The targets of samples as a matrix (n, outputs).

    Args:
        name: Of the samples, with an X; the targets' has a Y instead.
        X: The samples, along the first axis.
        Y: Shape (n,) or (n, outputs).

    Raises:
        TypeError: If Y is not a tensor of X's dtype and device.
        ValueError: If its shape does not fit, or an entry is NaN or infinite.
    """
    target = name.replace("X", "Y")
    if not isinstance(Y, Tensor) or Y.dtype != X.dtype or Y.device != X.device:
        raise TypeError(f"{target} must be a tensor of dtype {X.dtype} on {X.device}, as {name} is")
    if Y.ndim not in (1, 2) or len(Y) != len(X) or not Y.numel():
        raise ValueError(
            f"{name} has shape {tuple(X.shape)}, {target} {tuple(Y.shape)}: must be (n,) or "
            "(n, outputs) with n >= 1"
        )
    if not torch.isfinite(Y).all():
        raise ValueError(f"{target} holds NaN or infinite entries, must be finite")
    return (Y[:, None] if Y.ndim == 1 else Y).detach()


def check_pair(X: Tensor, Z: Tensor | None, M: Tensor | None, index: Tensor | None) -> Pair:
    """Two sets of points, a metric and the self index that fit together.

    Raises:
        TypeError: If dtypes or devices differ, or the index does not hold integers.
        ValueError: If shapes do not fit together, or an entry is NaN or infinite.
    """
    X = check_points("X", X)
    if Z is None and index is None:
        index = torch.arange(len(X), device=X.device)
    Z = X if Z is None else check_points("centres", Z)
    if Z.dtype != X.dtype or Z.device != X.device:
        raise TypeError(f"X is {X.dtype} on {X.device}, centres {Z.dtype} on {Z.device}")
    if Z.shape[1] != X.shape[1] or not len(Z):
        raise ValueError(f"X has shape {tuple(X.shape)}, centres {tuple(Z.shape)}: same d, m >= 1")
    if index is not None:
        _check_index(index, X, Z)
    return Pair(X, Z, check_metric(M, X), index)


def _check_index(index: Tensor, X: Tensor, Z: Tensor) -> None:
    if not isinstance(index, Tensor) or index.dtype != torch.int64:
        raise TypeError("self_index must be a tensor of dtype torch.int64")
    if index.shape != (len(X),):
        raise ValueError(f"self_index has shape {tuple(index.shape)}, must be ({len(X)},)")
    if len(index) and not (int(index.min()) >= -1 and int(index.max()) < len(Z)):
        raise ValueError(f"self_index must be in -1, ..., {len(Z) - 1}")


def check_metric(M: Tensor | None, X: Tensor) -> Tensor | None:
    """The metric, if it fits the points.

    Raises:
        TypeError: If it is not a tensor of the points' dtype and device.
        ValueError: If its shape is neither (d,) nor (d, d), an entry is NaN or infinite, the matrix
            is not symmetric, or a diagonal entry is negative.
    """
    if M is None:
        return None
    if not isinstance(M, Tensor) or M.dtype != X.dtype or M.device != X.device:
        raise TypeError(f"M must be a tensor of dtype {X.dtype} on {X.device}, as the points are")
    d = X.shape[1]
    if M.shape not in ((d,), (d, d)):
        raise ValueError(f"M has shape {tuple(M.shape)}, must be ({d},) or ({d}, {d})")
    if not torch.isfinite(M).all():
        raise ValueError("M holds NaN or infinite entries, must be finite")
    diagonal = M if M.ndim == 1 else M.diagonal()
    if diagonal.min() < 0:
        raise ValueError(f"M has the diagonal entry {diagonal.min():.3g}, must be at least 0")
    if M.ndim == 2 and (M - M.T).abs().max() > 64 * torch.finfo(M.dtype).eps * diagonal.max():
        raise ValueError("M is not symmetric")
    return M.detach()
