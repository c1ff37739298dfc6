"""Patch-AGOP of a convolutional kernel machine, in closed form.

For f_c(x) = Σ_i α_ic K(x, x_i), with the patches u_p of x as variables of their own,

    ∇_{u_p} f_c(x) = M^½ (Σ_i α_ic G_p(x, x_i) M^½u_p(x_i) + 2 Σ_i α_ic H_p(x, x_i) M^½u_p(x))/d

where G = ∂K/∂K¹ and H = ∂K/∂a¹ come by one pass backwards through the recursion of `cntk`:

    ∂K'/∂K = J₀,  ∂K'/∂a = √(b/a) sin θ/2π,  ∂Θ'/∂Θ = J₀,
    ∂Θ'/∂K = Θ/(√(ab) π sin θ),  ∂Θ'/∂a = −Θ ρ/(2a π sin θ).

The last two jump where θ = 0 or π: K has a cone there, whose two-sided derivative is 0, and so they
count as 0. Such pairs are an image with itself, and images that share a patch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..rfm.checks import check_alpha
from ..rfm.metric import apply_metric, metric_root
from .cntk import ConvolutionalNTK, arc_cosines_, check_pair_of_images, scaled_, sine
from .prepared import Prepared, Source, tiles

CONE = 64
"""Angles whose sin²θ is below so many units of rounding count as 0 or π."""


def patch_agop_of_kernel_machine(
    kernel: ConvolutionalNTK,
    alpha: Tensor,
    X_eval: Tensor,
    centres: Tensor,
    M: Tensor | None = None,
    self_index: Tensor | None = None,
) -> Tensor:
    """Patch-AGOP (1/n) Σ_x Σ_p Σ_c ∇_{u_p}f_c(x) ∇_{u_p}f_c(x)ᵀ, shape (d, d).

    The gradients are those with respect to the patches before the metric, d = channels·side·side.

    Args:
        kernel: K.
        alpha: Coefficients, shape (m,) or (m, outputs).
        X_eval: The images x, shape (n, channels, height, width).
        centres: The images x_i, shape (m, channels, height, width).
        M: The kernel's metric: None, (d,) or (d, d).
        self_index: For each image of X_eval the centre that it equals, or −1, shape (n,). What is
            not named is still found by its angles, which rounding may hide in single precision.

    Raises:
        TypeError: If a tensor is not floating, or dtypes or devices differ.
        ValueError: If shapes do not fit together, images are smaller than a patch, or an entry is
            NaN or infinite.
    """
    alpha, X, Z = _checked(kernel, alpha, X_eval, centres, M, self_index)
    return pulled(mapped_moment(kernel, alpha, X, Z, self_index), X.root)


def gradients_of_kernel_machine(
    kernel: ConvolutionalNTK,
    alpha: Tensor,
    X_eval: Tensor,
    centres: Tensor,
    M: Tensor | None = None,
    self_index: Tensor | None = None,
) -> Tensor:
    """∇_{u_p}f_c(x), shape (n, positions, outputs, d); arguments and errors as for the AGOP."""
    alpha, X, Z = _checked(kernel, alpha, X_eval, centres, M, self_index)
    blocks = list(_raw_gradients(kernel, alpha, X, Z, self_index))
    return apply_metric(torch.cat(blocks, dim=1).transpose(0, 1), X.root)


def mapped_moment(
    kernel: ConvolutionalNTK,
    alpha: Tensor,
    X: Source,
    Z: Source,
    self_index: Tensor | None,
) -> Tensor:
    """Patch-AGOP with respect to the patches after M^½, (d, d)."""
    d = X.images.shape[1] * kernel.patches.side**2
    moment = X.images.new_zeros(d, d)
    for block in _raw_gradients(kernel, alpha, X, Z, self_index):
        rows = block.reshape(-1, d)
        moment.addmm_(rows.T, rows)
    return moment.div_(len(X))


def pulled(moment: Tensor, root: Tensor | None) -> Tensor:
    """M^½ S M^½: the AGOP before the metric from the one after."""
    half = apply_metric(moment, root)
    agop = apply_metric(half.T, root)
    return (agop + agop.T) / 2


def _checked(
    kernel: ConvolutionalNTK,
    alpha: Tensor,
    X: Tensor,
    Z: Tensor,
    M: Tensor | None,
    index: Tensor | None,
) -> tuple[Tensor, Source, Source]:
    X, centres, M = check_pair_of_images(kernel.patches, X, Z, M)
    if centres is None:
        raise TypeError("centres must be a floating torch tensor, is NoneType")
    if index is not None:
        check_index(index, X, centres)
    root, alpha = metric_root(M), check_alpha(alpha, centres)
    left = kernel.source(X, root)
    return alpha, left, left if centres is X else kernel.source(centres, root)


def _raw_gradients(
    kernel: ConvolutionalNTK,
    alpha: Tensor,
    X: Source,
    Z: Source,
    index: Tensor | None,
) -> Iterator[Tensor]:
    """Gradients by the patches after M^½, (positions, images, outputs, d), tile by tile."""
    for whole, left in X.parts(alpha.shape[1]):
        sums = [Sums(kernel, left.part(rows), alpha) for rows in tiles(left)]
        for columns, right in Z.parts():
            for total, rows in zip(sums, tiles(left), strict=True):
                start = whole.start + rows.start
                known = None if index is None else index[start : start + len(total.left)]
                for some in tiles(right):
                    centres = slice(columns.start + some.start, columns.start + some.stop)
                    total.add(right.part(some), alpha[centres], _meeting(known, centres))
        for total in sums:
            yield total.gradients()


def _meeting(index: Tensor | None, centres: slice) -> tuple[Tensor, Tensor] | None:
    """Which images of the rows are which centre of a slice."""
    if index is None:
        return None
    rows = torch.nonzero((index >= centres.start) & (index < centres.stop))[:, 0]
    return rows, index[rows] - centres.start


@dataclass(frozen=True, eq=False)
class Layer:
    """What the pass backwards needs of one layer in a block, each of shape (rows, columns, n, m).

    Attributes:
        rho: Cosines ρ.
        slope: J₀(ρ).
        theta: Θ.
    """

    rho: Tensor
    slope: Tensor
    theta: Tensor


class Sums:
    """The sums over the centres for a tile of images.

    Attributes:
        direct: Σ_i α_ic G_p √b_ip û_p(x_i), shape (positions, n, outputs, d).
        own: For each layer Σ_i α_ic ∂K/∂√a, shape (rows, columns, n, outputs).
    """

    def __init__(self, kernel: ConvolutionalNTK, left: Prepared, alpha: Tensor) -> None:
        self.kernel, self.left = kernel, left
        positions, n, d = left.unit.shape
        outputs = alpha.shape[1]
        self.direct = left.unit.new_zeros(positions, n, outputs, d)
        self.own = [a.new_zeros(*a.shape, outputs) for a in left.deviations]

    def add(
        self, right: Prepared, alpha: Tensor, same: tuple[Tensor, Tensor] | None = None
    ) -> None:
        """Add the terms of some centres with their coefficients, shape (m, outputs)."""
        G = self._backward(self._forward(right, same), right, alpha)
        deviations = right.deviations[0].flatten(0, 1)
        for c, coefficients in enumerate(alpha.unbind(1)):
            weights = (deviations * coefficients)[:, None, :]
            self.direct[:, :, c] += torch.bmm(G * weights, right.unit)

    def gradients(self) -> Tensor:
        """∇ with respect to the patches after M^½, (positions, n, outputs, d); ends the sums."""
        shape, total = self.kernel.shape, self.own[-1]
        for layer in reversed(range(len(self.own) - 1)):
            # total is ∂f/∂√a of the layer above; ∂f/∂a = that/(2√a), and a is a mean of those below
            outer = total * self.left.inverses[layer + 1][..., None]
            below = self.left.deviations[layer]
            spread = shape.mean_adjoint(outer, (below.shape[0], below.shape[1]))
            total = self.own[layer] + spread * below[..., None]
        own = total.flatten(0, 1)[..., None] * self.left.unit[:, :, None, :]
        return (self.direct + own).div_(math.sqrt(self.left.unit.shape[2]))

    def _forward(self, right: Prepared, same: tuple[Tensor, Tensor] | None) -> list[Layer]:
        kernel, left, layers = self.kernel, self.left, []
        rho = left.cosines(right)
        if same is not None:
            rho[..., same[0], same[1]] = (left.deviations[0][..., same[0]] > 0).to(rho.dtype)
        theta = scaled_(rho.clone(), left.deviations[0], right.deviations[0])
        for layer in range(kernel.depth):
            rho = meeting_angles(rho)
            slope, value = arc_cosines_(rho)
            layers.append(Layer(rho, slope, theta))
            if layer < kernel.depth - 1:
                value = scaled_(value, left.deviations[layer], right.deviations[layer])
                K = kernel.shape.mean(value)
                theta = kernel.shape.mean(theta * slope).add_(K)
                rho = scaled_(K, left.inverses[layer + 1], right.inverses[layer + 1])
        return layers

    def _backward(self, layers: list[Layer], right: Prepared, alpha: Tensor) -> Tensor:
        """∂K/∂K¹ in full, shape (positions, n, m); adds to `own` on the way."""
        last = layers[-1].rho
        by_value = by_theta = torch.full_like(last, 1 / (last.shape[0] * last.shape[1]))
        for number in reversed(range(len(layers))):
            layer = layers[number]
            height, cone = _sine_and_cone(layer, by_theta)
            self._add_own(number, by_value * height, cone * layer.rho, right, alpha)
            inverses = self.left.inverses[number], right.inverses[number]
            through_value = (by_value * layer.slope).add_(scaled_(cone, *inverses))
            through_theta = by_theta * layer.slope
            both = through_value.add_(through_theta)
            if number:
                rows, columns = layers[number - 1].rho.shape[:2]
                by_value = self.kernel.shape.mean_adjoint(both, (rows, columns))
                by_theta = self.kernel.shape.mean_adjoint(through_theta, (rows, columns))
        return both.flatten(0, 1)

    def _add_own(
        self, number: int, smooth: Tensor, cone: Tensor, right: Prepared, alpha: Tensor
    ) -> None:
        """∂K/∂√a = √b (∂/∂K' sin θ/π) − (1/√a) (∂/∂Θ' Θ ρ/(π sin θ)), summed with α."""
        weighted = right.deviations[number][..., None] * alpha
        self.own[number] += smooth @ weighted
        self.own[number] -= (cone @ alpha) * self.left.inverses[number][..., None]


def meeting_angles(rho: Tensor) -> Tensor:
    """ρ, made ±1 where it is within rounding: half of the digits of such an angle are noise."""
    limit = 1 - CONE / 2 * torch.finfo(rho.dtype).eps
    return torch.where(rho.abs() > limit, rho.sign(), rho)


def _sine_and_cone(layer: Layer, by_theta: Tensor) -> tuple[Tensor, Tensor]:
    """sin θ/π, and (∂K/∂Θ') Θ/(π sin θ), which is 0 where the sine is."""
    height = sine(layer.rho)
    cone = torch.where(height > 0, by_theta * layer.theta / height, 0.0)
    return height.div_(math.pi), cone.div_(math.pi)


def check_index(index: Tensor, X: Tensor, centres: Tensor) -> None:
    """Refuse a self index that does not fit.

    Raises:
        TypeError: If it does not hold 64-bit integers.
        ValueError: If its length is another, or it names a centre that is not there.
    """
    if not isinstance(index, Tensor) or index.dtype != torch.int64:
        raise TypeError("self_index must be a tensor of dtype torch.int64")
    if index.shape != (len(X),):
        raise ValueError(f"self_index has shape {tuple(index.shape)}, must be ({len(X)},)")
    if not (int(index.min()) >= -1 and int(index.max()) < len(centres)):
        raise ValueError(f"self_index must be in -1, ..., {len(centres) - 1}")
