"""AGOP of a kernel machine in closed form, and what "centred" can mean for it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..validation import choice
from .checks import check_alpha, check_pair
from .kernels import Kernel

CENTRINGS = ("none", "per_output", "joint")
"""Which mean is removed from the gradients ∇f_c(x) before their outer products are averaged.

- "none": nothing.
- "per_output": each output's mean over the samples (the classic RFM's centring).
- "joint": one mean over samples and outputs together (xrfm's).
"""


def agop_of_kernel_machine(
    kernel: Kernel,
    alpha: Tensor,
    X_eval: Tensor,
    centres: Tensor,
    M: Tensor | None = None,
    self_index: Tensor | None = None,
    *,
    centring: str = "none",
    diagonal: bool = False,
) -> Tensor:
    """AGOP (1/n) Σ_x Σ_c ∇f_c(x)∇f_c(x)ᵀ of f_c(x) = Σ_i α_ic K(x, x_i), shape (d, d).

    Args:
        kernel: K.
        alpha: Coefficients, shape (m,) or (m, outputs).
        X_eval: The x, shape (n, d).
        centres: The x_i, shape (m, d).
        M: The kernel's metric.
        self_index: For each row of X_eval the centre that it equals, or −1.
        centring: "none", "per_output" or "joint"; see `CENTRINGS`.
        diagonal: Only the diagonal, shape (d,).

    Raises:
        TypeError: If a tensor is not floating, or dtypes or devices differ.
        ValueError: If shapes do not fit together, an entry is NaN or infinite, there is no point
            to evaluate at, or the centring is unknown.
    """
    choice("centring", centring, CENTRINGS)
    pair = check_pair(X_eval, centres, M, self_index)
    if not len(pair.X):
        raise ValueError("X_eval has no rows: there must be at least 1")
    blocks = kernel.raw_gradients(check_alpha(alpha, pair.Z), pair)
    alone = diagonal and (M is None or M.ndim == 1)  # a full M mixes what the diagonal needs
    agop = pull_moment(kernel, mean_outer_product(blocks, centring, alone), pair.M)
    return agop.diagonal().clone() if diagonal and not alone else agop


def pull_moment(kernel: Kernel, moment: Tensor, M: Tensor | None) -> Tensor:
    """The AGOP A S A from the mean outer product S of the raw gradients."""
    if moment.ndim == 2:
        half = kernel.pull(moment, M)
        agop = kernel.pull(half.T, M)
        return (agop + agop.T) / 2
    return kernel.pull(kernel.pull(moment, M), M)


def mean_outer_product(blocks: Iterable[Tensor], centring: str, diagonal: bool) -> Tensor:
    """Mean over samples, summed over outputs, of the gradients' outer products.

    Means are removed by first shifting every gradient by the first block's mean, and mending the
    rest at the end: the sums cancel no digits.
    """
    total: Tensor | None = None
    shift: Tensor | None = None
    samples = 0
    for block in blocks:
        if shift is None:
            shift = _mean(block, centring)
            sums = torch.zeros_like(block[0])
        moved = block - shift if centring != "none" else block
        rows = moved.reshape(-1, moved.shape[-1])
        part = rows.square().sum(dim=0) if diagonal else rows.T @ rows
        total = part if total is None else total.add_(part)
        sums += moved.sum(dim=0)
        samples += len(block)
    assert total is not None  # the caller has refused empty sets
    return total.div_(samples) - _square_of_mean(sums / samples, centring, diagonal)


def _mean(block: Tensor, centring: str) -> Tensor:
    mean = block.mean(dim=0)
    return mean.mean(dim=0, keepdim=True) if centring == "joint" else mean


def _square_of_mean(mean: Tensor, centring: str, diagonal: bool) -> Tensor:
    """What the shifted mean (outputs, d) adds to the mean outer product."""
    if centring == "none":
        return mean.new_zeros(())
    if centring == "joint":
        mean = mean.mean(dim=0, keepdim=True).expand_as(mean)
    return mean.square().sum(dim=0) if diagonal else mean.T @ mean
