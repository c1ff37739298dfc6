"""Correlation of matrices, and the neural feature ansatz (NFA) in each of its variants."""

from __future__ import annotations

import torch
from torch import Tensor

from ..validation import choice, positive
from .measure import LayerMatrices


def correlation(A: Tensor, B: Tensor, kind: str = "cosine") -> float:
    """How parallel two matrices are as vectors of their entries.

    Args:
        A: Any shape.
        B: The same shape.
        kind: "cosine": tr(AᵀB)/(‖A‖‖B‖); "pearson": the same after each matrix's mean entry is
            removed.

    Raises:
        ValueError: If the shapes differ, an entry is NaN or infinite, or a matrix is zero (for
            "pearson": constant), so that the correlation is undefined.

    >>> round(correlation(torch.eye(2), torch.ones(2, 2)) * 2**0.5, 6)
    1.0
    """
    choice("kind", kind, ("cosine", "pearson"))
    if A.shape != B.shape:
        raise ValueError(f"A has shape {tuple(A.shape)}, B {tuple(B.shape)}, must be the same")
    if kind == "pearson":
        A, B = A - A.mean(), B - B.mean()
    a, b = _unit("A", A.flatten()), _unit("B", B.flatten())
    return min(1.0, max(-1.0, float(a @ b)))


def _unit(name: str, entries: Tensor) -> Tensor:
    """The vector at unit length, safe from overflow and underflow of its square."""
    if not torch.isfinite(entries).all():
        raise ValueError(f"{name} holds NaN or infinite entries, must be finite")
    largest = entries.abs().max()
    if largest == 0:
        raise ValueError(f"{name} is zero (or constant): its correlation is undefined")
    scaled = entries / largest
    unit: Tensor = scaled / torch.linalg.vector_norm(scaled)
    return unit


def matrix_power_psd(matrix: Tensor, power: float) -> Tensor:
    """The power of a symmetric positive semidefinite matrix, shape (d, d).

    Eigenvalues within rounding of zero count as zero: a small power would make them large.

    Raises:
        ValueError: If the power is not a finite number > 0, or the matrix is not square, not
            finite, or has an eigenvalue that is negative beyond rounding.
    """
    positive("power", power)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"matrix has shape {tuple(matrix.shape)}, must be (d, d)")
    if not torch.isfinite(matrix).all():
        raise ValueError("matrix holds NaN or infinite entries, must be finite")
    if power == 1:
        return matrix
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    rounding = 4 * len(values) * torch.finfo(values.dtype).eps * values.abs().max()
    if values[0] < -16 * rounding:
        raise ValueError(f"matrix has the eigenvalue {values[0]:.3g}, must be at least 0")
    kept = torch.where(values > rounding, values, 0)
    root: Tensor = (vectors * kept**power) @ vectors.T
    return root


def uncentred_nfa(measured: LayerMatrices, *, power: float = 1.0, kind: str = "cosine") -> float:
    """UC-NFA: ρ(AGOP^power, NFM) = ρ((WᵀKW)^power, WᵀW) (paper C; power ½ in E and B)."""
    return correlation(matrix_power_psd(measured.agop, power), measured.nfm, kind)


def centred_nfa(
    measured: LayerMatrices, initial: Tensor, *, power: float = 1.0, kind: str = "cosine"
) -> float:
    """C-NFA: ρ((W̄ᵀKW̄)^power, W̄ᵀW̄), W̄ = W - W₀ and K at the current weights (paper C).

    Args:
        measured: The layer now.
        initial: W₀, shape (k, d).
        power: Of the AGOP.
        kind: "cosine" or "pearson".

    Raises:
        ValueError: If W₀ has another shape, or the layer has not moved.
    """
    return displacement_nfa(measured.ptk, moved_by(measured, initial), power=power, kind=kind)


def displacement_nfa(
    ptk: Tensor, displacement: Tensor, *, power: float = 1.0, kind: str = "cosine"
) -> float:
    """C-NFA from W̄ = W - W₀ itself, where the difference of the two would lose its digits.

    Args:
        ptk: K, shape (k, k).
        displacement: W̄, shape (k, d).
        power: Of the AGOP.
        kind: "cosine" or "pearson".

    Raises:
        ValueError: If the displacement is zero.
    """
    largest = displacement.abs().max()
    if largest == 0:
        raise ValueError("the layer has not moved: its centred correlation is undefined")
    step = displacement / largest  # the correlation does not change, and squares do not underflow
    agop = matrix_power_psd(step.T @ ptk.to(step.dtype) @ step, power)
    return correlation(agop, step.T @ step, kind)


def init_removed_nfa(
    measured: LayerMatrices, initial: Tensor, *, power: float = 1.0, kind: str = "cosine"
) -> float:
    """ρ(AGOP^power, W̄ᵀW̄): the displacement's NFM against the whole network's AGOP (paper E).

    Raises:
        ValueError: If W₀ has another shape, or the layer has not moved.
    """
    step = moved_by(measured, initial)
    return correlation(matrix_power_psd(measured.agop, power), step.T @ step, kind)


def moved_by(measured: LayerMatrices, initial: Tensor) -> Tensor:
    """W̄ = W - W₀.

    Raises:
        ValueError: If W₀ has another shape.
    """
    if initial.shape != measured.weight.shape:
        raise ValueError(
            f"initial weight has shape {tuple(initial.shape)}, "
            f"must be {tuple(measured.weight.shape)}"
        )
    return measured.weight - initial.detach().to(measured.weight)
