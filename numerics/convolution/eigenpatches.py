"""The leading directions of a filter covariance or patch-AGOP: as patches, and as filters."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..validation import integer
from .patches import check_images


def leading_patches(matrix: Tensor, patch: tuple[int, int, int], count: int) -> Tensor:
    """The eigenvectors of the largest eigenvalues, as patches of unit norm.

    An eigenvector's sign is free: here the entry of largest size is positive.

    Args:
        matrix: Symmetric, shape (P, P), P = channels · height · width.
        patch: (channels, height, width).
        count: How many, 1 to P.

    Returns:
        Shape (count, channels, height, width), from the largest eigenvalue on.

    Raises:
        TypeError: If a number is no integer.
        ValueError: If the matrix has another shape, is not finite or not symmetric, or there are
            not so many eigenvectors.
    """
    channels, height, width = (integer("patch", side, 1) for side in patch)
    dimension = channels * height * width
    if matrix.shape != (dimension, dimension):
        raise ValueError(
            f"matrix has shape {tuple(matrix.shape)}, must be ({dimension}, {dimension}) for "
            f"patches of shape {tuple(patch)}"
        )
    if integer("count", count, 1) > dimension:
        raise ValueError(f"count = {count!r} must be at most {dimension}, the patches' dimension")
    if not torch.isfinite(matrix).all():
        raise ValueError("matrix holds NaN or infinite entries, must be finite")
    near = torch.finfo(matrix.dtype).eps ** 0.5
    if not torch.allclose(matrix, matrix.T, near, near * float(matrix.abs().max())):
        raise ValueError("matrix is not symmetric")
    vectors = torch.linalg.eigh((matrix + matrix.T) / 2).eigenvectors.flip(1)[:, :count].T
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    signed: Tensor = vectors * largest.sign()
    return signed.reshape(count, channels, height, width)


def filtered(images: Tensor, patches: Tensor) -> Tensor:
    """The images' inner products with the patches, at every position inside the image.

    Args:
        images: Shape (n, channels, height, width).
        patches: Shape (count, channels, height', width').

    Returns:
        Shape (n, count, height − height' + 1, width − width' + 1).

    Raises:
        TypeError: If one is no floating tensor.
        ValueError: If one is not of this shape or not finite, the channels differ, or images are
            smaller than the patches.
    """
    shown, filters = check_images("images", images), check_images("patches", patches)
    if shown.shape[1] != filters.shape[1]:
        raise ValueError(f"images have {shown.shape[1]} channels, patches {filters.shape[1]}")
    if any(s < p for s, p in zip(shown.shape[2:], filters.shape[2:], strict=True)):
        raise ValueError(
            f"images of {shown.shape[2]} × {shown.shape[3]} pixels are smaller than the patches, "
            f"{filters.shape[2]} × {filters.shape[3]}"
        )
    return functional.conv2d(shown, filters.to(shown))
