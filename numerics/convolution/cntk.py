"""The neural tangent kernel of an infinitely wide convolutional network over patches.

The network: each patch through independent Gaussian filters (a convolution of stride = side over
the patches laid side by side), √2·ReLU, `depth` − 1 times a further convolution and √2·ReLU, then
all positions and channels into one dense output; weights N(0, 1) over the root of the fan-in, no
biases, no pooling.

Without pooling, the output adds up positions, and a convolution couples equal offsets only: of the
covariances K_{p,p'} between the pre-activations at positions p, p' of two images, the diagonal
p = p' is all that is needed. For images x, z with variances a_p = K_pp(x, x), b_p = K_pp(z, z),

    K¹ = ⟨u_p(x), u_p(z)⟩/d,  Θ¹ = K¹              (u_p: the patch, d entries, after M^½)
    ρ = K/√(ab),  K' = √(ab) J₁(ρ),  Θ' = Θ J₀(ρ)   (√2·ReLU: the arc-cosine kernels)
    Kˡ⁺¹ = mean of K' over a window,  Θˡ⁺¹ = mean of K' + Θ'
    output: mean of K' + Θ' over all positions

with θ = arccos ρ, J₀ = 1 − θ/π, J₁ = (sin θ + (π − θ) cos θ)/π. Where a variance is 0, ρ is 0: it
is multiplied by zeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..rfm.checks import check_metric
from ..rfm.metric import metric_root
from ..validation import choice, integer
from .patches import Patches, check_images
from .prepared import Prepared, Shape, Source, tiles
from .windows import FILTER_PADDINGS


@dataclass(frozen=True)
class ConvolutionalNTK:
    """The kernel, whose metric M acts on the patches.

    Attributes:
        patches: What the first convolution sees.
        depth: Number of convolutions, at least 1.
        filter_side: Positions that a filter of the further convolutions sees along each edge.
        filter_padding: What it finds beyond the edge: "valid", "circular" or "zero".

    Raises:
        TypeError: If an attribute has the wrong type.
        ValueError: If a number is out of its range or a name unknown.

    >>> kernel = ConvolutionalNTK(Patches(2), depth=1)
    >>> kernel.matrix(torch.ones(1, 1, 2, 2))  # one position of variance 1: 1 for each layer
    tensor([[2.]])
    """

    patches: Patches = field(default_factory=Patches)
    depth: int = 2
    filter_side: int = 3
    filter_padding: str = "circular"

    def __post_init__(self) -> None:
        if not isinstance(self.patches, Patches):
            raise TypeError(f"patches = {self.patches!r} must be Patches(side, stride, padding)")
        integer("depth", self.depth, 1)
        integer("filter_side", self.filter_side, 1)
        choice("filter_padding", self.filter_padding, FILTER_PADDINGS)

    @property
    def shape(self) -> Shape:
        """The windows of the network."""
        return Shape(self.patches, self.depth, self.filter_side, self.filter_padding)

    def matrix(self, X: Tensor, Z: Tensor | None = None, M: Tensor | None = None) -> Tensor:
        """K(x_i, z_j), shape (n, m).

        Args:
            X: Images, shape (n, channels, height, width).
            Z: Images, (m, channels, height, width); by default X itself.
            M: Metric of the patches: None, (d,) or (d, d), d = channels·side·side.

        Raises:
            TypeError: If images or M are not floating tensors, or dtypes or devices differ.
            ValueError: If shapes do not fit together, images are smaller than a patch, an entry is
                NaN or infinite, or M is not symmetric positive semidefinite.
        """
        X, Z, M = check_pair_of_images(self.patches, X, Z, M)
        root = metric_root(M)
        return self.gram(self.source(X, root), None if Z is None else self.source(Z, root))

    def diagonal(self, X: Tensor, M: Tensor | None = None) -> Tensor:
        """K(x_i, x_i), shape (n,); arguments and errors as in `matrix`."""
        X, _, M = check_pair_of_images(self.patches, X, None, M)
        parts = self.source(X, metric_root(M)).parts()
        return torch.cat([part.own(self.shape) for _, part in parts])

    def source(self, X: Tensor, root: Tensor | None) -> Source:
        """Checked images, and the root of M, as `gram` takes them.

        Raises:
            ValueError: If the images are smaller than a patch, or the positions than a filter.
        """
        self.shape.grids(*X.shape[2:])
        return Source(X, root, self.shape)

    def gram(self, X: Source, Z: Source | None = None) -> Tensor:
        """`matrix` of two sources; if Z is None every pair of X with itself is taken once."""
        K = X.images.new_empty(len(X), len(X if Z is None else Z))
        for rows, left in X.parts():
            for columns, right in (X if Z is None else Z).parts():
                if Z is None and columns.start < rows.start:
                    K[rows, columns] = K[columns, rows].T
                else:
                    self._fill(K[rows, columns], left, right, Z is None and rows == columns)
        return K

    def _fill(self, K: Tensor, left: Prepared, right: Prepared, symmetric: bool) -> None:
        for rows in tiles(left):
            for columns in tiles(right):
                if symmetric and columns.start < rows.start:
                    K[rows, columns] = K[columns, rows].T
                else:
                    K[rows, columns] = self._block(left.part(rows), right.part(columns))
        if symmetric:
            for part in tiles(left):  # rounding may differ between (x, z) and (z, x)
                K[part, part] = (K[part, part] + K[part, part].T) / 2
            # exact, where arccos near 1 loses half of the digits
            K.diagonal().copy_(left.own(self.shape))

    def _block(self, left: Prepared, right: Prepared) -> Tensor:
        """K of two small sets of images."""
        shape = self.shape
        rho = left.cosines(right)
        theta = scaled_(rho.clone(), left.deviations[0], right.deviations[0])
        for layer in range(self.depth):
            last = layer == self.depth - 1
            rows, columns = rho.shape[:2]
            share = 1 / (rows * columns if last else self.filter_side**2)
            slope, value = arc_cosines_(rho, share)
            value = scaled_(value, left.deviations[layer], right.deviations[layer])
            theta.mul_(slope)
            if last:
                break
            K = shape.total(value)
            theta = shape.total(theta).add_(K)
            rho = scaled_(K, left.inverses[layer + 1], right.inverses[layer + 1])
        return value.add_(theta).sum(dim=(0, 1))


def arc_cosines_(rho: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """J₀(ρ) and J₁(ρ) times a scale; ρ is first brought into [−1, 1], in its place."""
    rho.clamp_(-1, 1)
    slope = torch.acos(rho).mul_(-scale / math.pi).add_(scale)
    return slope, (slope * rho).add_(sine(rho), alpha=scale / math.pi)


def sine(rho: Tensor) -> Tensor:
    """sin θ = √((1 − ρ)(1 + ρ)): the factors keep the digits that 1 − ρ² loses near 1."""
    below = torch.rsub(rho, 1)
    return below.addcmul_(below, rho).sqrt_()


def scaled_(x: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """x times a factor for each image of the rows, and one for each of the columns, in its place.

    Args:
        x: Shape (rows, columns, n, m).
        left: Shape (rows, columns, n).
        right: Shape (rows, columns, m).
    """
    return x.mul_(left[..., :, None]).mul_(right[..., None, :])


def check_pair_of_images(
    patches: Patches, X: Tensor, Z: Tensor | None, M: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Two sets of images and a metric of their patches that fit together.

    Raises:
        TypeError: If one is not a floating tensor, or dtypes or devices differ.
        ValueError: If shapes do not fit together, images are smaller than a patch, an entry is NaN
            or infinite, or M is not symmetric.
    """
    X = check_images("X", X)
    patches.grid(*X.shape[2:])
    if Z is not None:
        Z = check_images("Z", Z)
        check_like("Z", Z, X)
    d = X.shape[1] * patches.side**2
    return X, Z, check_metric(M, X.new_empty(0, d))


def check_like(name: str, Z: Tensor, X: Tensor) -> None:
    """Refuse images that differ in kind from others.

    Raises:
        TypeError: If dtypes or devices differ.
        ValueError: If channels, heights or widths differ.
    """
    if Z.dtype != X.dtype or Z.device != X.device:
        raise TypeError(f"X is {X.dtype} on {X.device}, {name} {Z.dtype} on {Z.device}")
    if Z.shape[1:] != X.shape[1:]:
        raise ValueError(
            f"{name} has shape {tuple(Z.shape)}, must be (m, {X.shape[1]}, {X.shape[2]}, "
            f"{X.shape[3]}) as X has"
        )
