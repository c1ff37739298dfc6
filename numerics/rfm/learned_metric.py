"""From the AGOP to the next metric M: exponent, normalisation, root and spectrum."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..validation import choice, positive
from .metric import apply_metric

NORMALISATIONS = ("largest_entry", "trace", "frobenius", "none")
"""What the AGOP is divided by; each of them leaves the identity as it is.

- "largest_entry": the largest entry, which lies on the diagonal (xrfm, Deep RFM).
- "trace": the mean of the diagonal.
- "frobenius": the Frobenius norm over √d.
- "none": nothing (the first scripts, which average over the samples).

It is not cosmetic: K_{cM, L} = K_{M, L/√c}, so that a factor changes the effective bandwidth.
"""


@dataclass(frozen=True, eq=False)
class Metric:
    """A metric with what its use needs.

    Attributes:
        M: None (the identity), (d,) or (d, d).
        root: M^½, in the same form.
        spectrum: Eigenvalues of M, largest first, shape (d,).
    """

    M: Tensor | None
    root: Tensor | None
    spectrum: Tensor

    def map(self, X: Tensor) -> Tensor:
        """Points in the coordinates in which this metric is the identity."""
        return apply_metric(X, self.root)

    def pull(self, moment: Tensor) -> Tensor:
        """The AGOP from the AGOP in those coordinates, (d, d) or (d,)."""
        if moment.ndim == 1:
            return moment if self.M is None else moment * self.M
        agop = apply_metric(apply_metric(moment, self.root).T, self.root)
        agop = (agop + agop.T) / 2
        agop.diagonal().clamp_(min=0)  # as rounding can leave it where no gradient points
        return agop

    def to(self, device: torch.device | str) -> Metric:
        """The same on another device."""
        M = None if self.M is None else self.M.to(device)
        root = None if self.root is None else self.root.to(device)
        return Metric(M, root, self.spectrum.to(device))


def identity_metric(points: Tensor) -> Metric:
    """M = I, for points of shape (n, d)."""
    return Metric(None, None, points.new_ones(points.shape[1]))


def metric_from_agop(
    agop: Tensor, *, exponent: float = 1.0, normalisation: str = "largest_entry"
) -> Metric | None:
    """M = AGOP^exponent, normalised; None if the AGOP is zero.

    Args:
        agop: Shape (d, d), or (d,) for a diagonal metric.
        exponent: Power of the AGOP, > 0.
        normalisation: "largest_entry", "trace", "frobenius" or "none"; see `NORMALISATIONS`.

    Raises:
        ValueError: If the exponent is not a finite number > 0, the normalisation is unknown, or M
            or the AGOP is beyond the range of its dtype.

    >>> metric_from_agop(torch.tensor([4.0, 1.0]), exponent=0.5).M
    tensor([1.0000, 0.5000])
    """
    positive("exponent", exponent)
    choice("normalisation", normalisation, NORMALISATIONS)
    largest = agop.abs().max()
    if largest == 0:
        return None
    if not torch.isfinite(largest):
        raise ValueError(f"the AGOP is beyond the range of {agop.dtype}")
    # Powers of the AGOP at unit size: they neither overflow nor underflow.
    unit = agop / largest
    scale = _power(float(largest), exponent, agop) if normalisation == "none" else None
    if agop.ndim == 1:
        return _diagonal(unit.clamp(min=0).pow(exponent), normalisation, scale)
    unit.diagonal().clamp_(min=0)
    values, vectors = torch.linalg.eigh(unit)
    powers = values.clamp(min=0).pow(exponent)
    M = unit if exponent == 1 else _rebuilt(vectors, powers)
    factor = _factor(M, normalisation) if scale is None else scale
    root = _rebuilt(vectors, (powers * factor).sqrt())
    return Metric(M * factor, root, (powers * factor).flip(0))


def _power(largest: float, exponent: float, agop: Tensor) -> float:
    """The largest entry of AGOP^exponent, about; refused if it overflows or underflows."""
    bounds = torch.finfo(agop.dtype)
    if not math.log(bounds.tiny) < exponent * math.log(largest) < math.log(bounds.max):
        raise ValueError(
            f"the AGOP's power {exponent:g} is beyond the range of {agop.dtype}, as its entries "
            f"reach {largest:.3g}: rescale the targets, or take a normalisation, not 'none'"
        )
    return float(largest**exponent)


def _diagonal(powers: Tensor, normalisation: str, scale: float | None) -> Metric:
    M = powers * (_factor(powers, normalisation) if scale is None else scale)
    return Metric(M, M.sqrt(), M.sort(descending=True).values)


def _rebuilt(vectors: Tensor, values: Tensor) -> Tensor:
    matrix = (vectors * values) @ vectors.T
    return (matrix + matrix.T) / 2


def _factor(M: Tensor, normalisation: str) -> float:
    d = len(M)
    if normalisation == "largest_entry":
        return 1 / float(M.abs().max())
    if normalisation == "trace":
        return d / float(M.sum() if M.ndim == 1 else M.trace())
    return float(d**0.5 / torch.linalg.vector_norm(M))
