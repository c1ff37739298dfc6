"""Means over windows of positions, and their adjoint.

What a convolution of random independent weights does to a covariance K_{p,p'}: at equal positions
it becomes the mean of K_{p+δ,p+δ} over the window's offsets δ. Positions are the first two axes.
"""

from __future__ import annotations

from torch import Tensor

from ..validation import choice, integer

FILTER_PADDINGS = ("valid", "circular", "zero")
"""What a window finds beyond the last position.

- "valid": windows do not reach beyond; there are fewer of them than positions.
- "circular": the positions continued periodically.
- "zero": zeros, which count in the mean.
"""

Overlap = tuple[slice, slice]
"""Windows, and the position that each of them meets at one offset."""


def windows_along(length: int, side: int, padding: str) -> int:
    """How many windows there are along an axis.

    Raises:
        TypeError: If the side is no integer.
        ValueError: If the side is below 1 or above the length, or the padding unknown.
    """
    choice("filter_padding", padding, FILTER_PADDINGS)
    if integer("filter_side", side, 1) > length:
        raise ValueError(
            f"filter_side = {side} must be at most {length}, the number of positions along an edge"
        )
    return length - side + 1 if padding == "valid" else length


def window_sum(x: Tensor, side: int, padding: str) -> Tensor:
    """Sum over each window, axis by axis; x has positions as its first two axes."""
    for axis in (0, 1):
        windows_along(length := x.shape[axis], side, padding)
        (_, first), *others = _overlaps(length, side, padding)
        total = _part(x, axis, first).clone()
        for windows, positions in others:
            _part(total, axis, windows).add_(_part(x, axis, positions))
        x = total
    return x


def window_adjoint(x: Tensor, side: int, padding: str, grid: tuple[int, int]) -> Tensor:
    """Sum over the windows that hold each position: the transpose of `window_sum`.

    Args:
        x: One entry for each window, windows as its first two axes.
        side: Of the windows.
        padding: "valid", "circular" or "zero".
        grid: Rows and columns of the positions.
    """
    for axis in (0, 1):
        shape = list(x.shape)
        shape[axis] = grid[axis]
        total = x.new_zeros(shape)
        for windows, positions in _overlaps(grid[axis], side, padding):
            _part(total, axis, positions).add_(_part(x, axis, windows))
        x = total
    return x


def _overlaps(length: int, side: int, padding: str) -> list[Overlap]:
    """The first overlap holds every window."""
    if padding == "valid":
        count = length - side + 1
        return [(slice(0, count), slice(k, k + count)) for k in range(side)]
    before = (side - 1) // 2
    offsets = sorted(range(-before, side - before), key=abs)
    inside = [(_cut(length, -k), _cut(length, k)) for k in offsets]
    if padding == "zero":
        return inside
    around = [(_rest(length, -k), _rest(length, k)) for k in offsets if k]
    return inside + around


def _cut(length: int, shift: int) -> slice:
    """Positions p for which p − shift lies inside as well."""
    return slice(max(0, shift), length + min(0, shift))


def _rest(length: int, shift: int) -> slice:
    """The other positions."""
    return slice(0, shift) if shift > 0 else slice(length + shift, length)


def _part(x: Tensor, axis: int, part: slice) -> Tensor:
    return x[part] if axis == 0 else x[:, part]
