"""Patches of images: which there are, and the images as rows of them.

Images are (n, channels, height, width) tensors, patches (n, positions, channels·side·side):
channel by channel, row by row, as `torch.nn.functional.unfold` gives them and as the filters of a
`torch.nn.Conv2d` are flattened.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..validation import choice, integer

PATCH_PADDINGS = ("valid", "circular")
"""Where the patches lie.

- "valid": inside the image.
- "circular": around every pixel, the image continued periodically.
"""

IMAGE_NORMALISATIONS = ("none", "unit_norm", "standardised")
"""What is done to each image before anything else.

- "none": nothing.
- "unit_norm": divided by its Euclidean norm, which an image of zeros has not.
- "standardised": its mean removed, divided by its standard deviation: no constant image has one.
"""


@dataclass(frozen=True)
class Patches:
    """Square patches at regular positions.

    Attributes:
        side: Pixels of a patch along each edge.
        stride: Pixels from one position to the next.
        padding: "valid" or "circular"; see `PATCH_PADDINGS`.

    Raises:
        TypeError: If a number is no integer.
        ValueError: If a number is below 1, the patches are not square, or the padding is unknown.

    >>> Patches(3).extract(torch.ones(2, 1, 5, 4)).shape
    torch.Size([2, 6, 9])
    """

    side: int = 3
    stride: int = 1
    padding: str = "valid"

    def __post_init__(self) -> None:
        if isinstance(self.side, tuple | list):
            raise ValueError(f"side = {self.side!r} must be one integer: patches are square")
        integer("side", self.side, 1)
        integer("stride", self.stride, 1)
        choice("padding", self.padding, PATCH_PADDINGS)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of positions in an image of this size.

        Raises:
            ValueError: If the image is smaller than a patch.
        """
        if min(height, width) < self.side:
            raise ValueError(
                f"images of {height} × {width} pixels are smaller than the patches, "
                f"{self.side} × {self.side}: take larger images or a smaller side"
            )
        lost = self.side - 1 if self.padding == "valid" else 0
        return (height - lost - 1) // self.stride + 1, (width - lost - 1) // self.stride + 1

    def extract(self, images: Tensor) -> Tensor:
        """The patches, shape (n, positions, channels·side·side).

        Raises:
            TypeError: If the images are not a floating tensor.
            ValueError: If they are not (n, channels, height, width), hold NaN or infinite entries,
                or are smaller than a patch.
        """
        check_images("images", images)
        self.grid(*images.shape[2:])
        return self.cut(images)

    def cut(self, images: Tensor) -> Tensor:
        """The same of images that have been checked."""
        if self.padding == "circular":
            before, after = (self.side - 1) // 2, self.side // 2
            images = functional.pad(images, (before, after, before, after), mode="circular")
        return functional.unfold(images, self.side, stride=self.stride).transpose(1, 2)


def check_images(name: str, images: Tensor) -> Tensor:
    """Images as a floating (n, channels, height, width) tensor of finite numbers.

    Raises:
        TypeError: If they are not a floating tensor.
        ValueError: If the shape is another, an axis is empty, or an entry is NaN or infinite.
    """
    if not isinstance(images, Tensor) or not images.is_floating_point():
        raise TypeError(f"{name} must be a floating torch tensor, is {type(images).__name__}")
    if images.ndim != 4 or not images.numel():
        raise ValueError(
            f"{name} has shape {tuple(images.shape)}, must be (n, channels, height, width) with "
            "no empty axis"
        )
    if not torch.isfinite(images).all():
        raise ValueError(f"{name} holds NaN or infinite entries, must be finite")
    return images.detach()


def normalise_images(images: Tensor, how: str, *, name: str = "images") -> Tensor:
    """Each image brought to a common scale.

    Args:
        images: Shape (n, channels, height, width).
        how: "none", "unit_norm" or "standardised"; see `IMAGE_NORMALISATIONS`.
        name: What errors call the images.

    Raises:
        TypeError: If the images are not a floating tensor.
        ValueError: If `how` is unknown, the images are no images, or one of them is constant (for
            "unit_norm": zero), so that it has no scale.
    """
    choice("image_normalisation", how, IMAGE_NORMALISATIONS)
    check_images(name, images)
    if how == "none":
        return images
    centred = how == "standardised"
    if (flat := _without_scale(images, centred)).numel():
        state = "constant" if centred else "zero everywhere"
        raise ValueError(
            f"{name}[{int(flat[0])}] is {state}, so that image_normalisation = {how!r} is "
            f"undefined; {flat.numel()} of {len(images)} images are"
        )
    images = _within_range(images)
    if centred:
        images = images - images.mean(dim=(1, 2, 3), keepdim=True)
        return images / images.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    norms: Tensor = torch.linalg.vector_norm(images, dim=(1, 2, 3), keepdim=True)
    return images / norms


def _within_range(images: Tensor) -> Tensor:
    """The images, those at unit size whose squares would leave the range of the dtype."""
    bounds, largest = torch.finfo(images.dtype), images.abs().amax(dim=(1, 2, 3), keepdim=True)
    beyond = (largest > bounds.max**0.25) | (largest < bounds.tiny**0.25)
    return images / torch.where(beyond, largest, torch.ones_like(largest))


def _without_scale(images: Tensor, centred: bool) -> Tensor:
    """Numbers of the images whose entries are all equal, or all zero."""
    pixels = images.flatten(1)
    same = (pixels == (pixels[:, :1] if centred else 0)).all(dim=1)
    return torch.nonzero(same)[:, 0]
