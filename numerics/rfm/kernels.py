"""The kernels by name: of distances under a metric, of p-norms, and of inner products."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..validation import choice, integer, nonnegative, positive
from .checks import Pair
from .kernel_base import InnerProductKernel, Kernel, RadialKernel
from .metric import apply_metric, map_pair, metric_root, zero_at


class Laplace(RadialKernel):
    """exp(−r/L)."""

    def values_(self, pairs: Tensor) -> Tensor:
        """exp(−r/L)."""
        return pairs.sqrt_().mul_(-1 / self.bandwidth).exp_()

    def slopes_(self, pairs: Tensor) -> Tensor:
        """−exp(−r/L)/(L r)."""
        r = _drop_zeros_(pairs).sqrt_()
        return torch.exp(r * (-1 / self.bandwidth)).div_(r).mul_(-1 / self.bandwidth)


class Gaussian(RadialKernel):
    """exp(−r²/(2L²))."""

    def values_(self, pairs: Tensor) -> Tensor:
        """exp(−r²/(2L²))."""
        return pairs.mul_(-0.5 / self.bandwidth**2).exp_()

    def slopes_(self, pairs: Tensor) -> Tensor:
        """−exp(−r²/(2L²))/L²."""
        return self.values_(pairs).mul_(-1 / self.bandwidth**2)


class Matern32(RadialKernel):
    """(1 + s)exp(−s), s = √3 r/L."""

    def values_(self, pairs: Tensor) -> Tensor:
        """(1 + s)exp(−s)."""
        s = pairs.sqrt_().mul_(math.sqrt(3) / self.bandwidth)
        return torch.exp(-s).mul_(s.add_(1))

    def slopes_(self, pairs: Tensor) -> Tensor:
        """−(3/L²)exp(−s)."""
        s = pairs.sqrt_().mul_(-math.sqrt(3) / self.bandwidth)
        return s.exp_().mul_(-3 / self.bandwidth**2)


class Matern52(RadialKernel):
    """(1 + s + s²/3)exp(−s), s = √5 r/L."""

    def values_(self, pairs: Tensor) -> Tensor:
        """(1 + s + s²/3)exp(−s)."""
        s = pairs.sqrt_().mul_(math.sqrt(5) / self.bandwidth)
        return (s / 3).add_(1).mul_(s).add_(1).mul_(s.neg_().exp_())

    def slopes_(self, pairs: Tensor) -> Tensor:
        """−(5/(3L²))(1 + s)exp(−s)."""
        s = pairs.sqrt_().mul_(math.sqrt(5) / self.bandwidth)
        return torch.exp(-s).mul_(s.add_(1)).mul_(-5 / (3 * self.bandwidth**2))


@dataclass(frozen=True)
class PowerExponential(RadialKernel):
    """exp(−(r/L)^q), positive definite for 0 < q ≤ 2.

    Attributes:
        power: q.
    """

    power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_power(2.0, self.power)
        self._set("power", float(self.power))

    def values_(self, pairs: Tensor) -> Tensor:
        """exp(−(r/L)^q)."""
        return pairs.mul_(self.bandwidth**-2).pow_(self.power / 2).neg_().exp_()

    def slopes_(self, pairs: Tensor) -> Tensor:
        """−(q/L²)(r/L)^(q−2) exp(−(r/L)^q)."""
        squares = (pairs if self.power == 2 else _drop_zeros_(pairs)).mul_(self.bandwidth**-2)
        decay = squares.pow(self.power / 2).neg_().exp_()
        growth = squares.pow_(self.power / 2 - 1)
        return growth.mul_(decay).mul_(-self.power / self.bandwidth**2)


@dataclass(frozen=True)
class LpExponential(Kernel):
    """exp(−(‖M^½(x − z)‖_p/L)^q), positive definite for 0 < q ≤ p ≤ 2; the root is symmetric.

    Its gradients take one pass over the pairwise matrix for each coordinate.

    Attributes:
        norm: p, from 1 to 2.
        power: q.
    """

    norm: float = 1.0
    power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_power(self.norm, self.power)
        self._set("norm", float(self.norm))
        self._set("power", float(self.power))

    def centred(self, pair: Pair) -> Pair:
        """In the coordinates M^½x, mapped once for all blocks; equal points stay equal."""
        if pair.M is None:
            return pair
        X, Z = map_pair(pair.X, pair.Z, metric_root(pair.M))
        return Pair(X, Z, None, pair.index)

    def pairs(self, pair: Pair) -> Tensor:
        """‖M^½(x − z)‖_p."""
        root = metric_root(pair.M)
        U, V = apply_metric(pair.X, root), apply_metric(pair.Z, root)
        return zero_at(torch.cdist(U, V, p=self.norm), pair.index)

    def values_(self, pairs: Tensor) -> Tensor:
        """exp(−(N/L)^q)."""
        return pairs.mul_(1 / self.bandwidth).pow_(self.power).neg_().exp_()

    def slopes_(self, pairs: Tensor) -> Tensor:
        """−(q/L^q) N^(q−p) exp(−(N/L)^q)."""
        N = pairs if self.power == self.norm else _drop_zeros_(pairs)
        decay = N.mul(1 / self.bandwidth).pow_(self.power).neg_().exp_()
        growth = N.pow_(self.power - self.norm)
        return growth.mul_(decay).mul_(-self.power * self.bandwidth**-self.power)

    def weighted(self, alpha: Tensor, Z: Tensor) -> Tensor:  # noqa: ARG002
        """α itself: the terms are no products with the centres."""
        return alpha

    def sums(self, n: int, weighted: Tensor, Z: Tensor) -> Tensor:
        """Zeros, shape (n, outputs d)."""
        return weighted.new_zeros(n, weighted.shape[1] * Z.shape[1])

    def add_terms_(self, sums: Tensor, slopes: Tensor, weighted: Tensor, pair: Pair) -> None:
        """Σ_i α_ic w_i sign(u_ik)|u_ik|^(p−1), u_i = M^½(x − z_i)."""
        root = metric_root(pair.M)
        U, V = apply_metric(pair.X, root), apply_metric(pair.Z, root)
        by_coordinate = sums.view(len(sums), -1, U.shape[1])
        for k in range(U.shape[1]):
            u = U[:, k, None] - V[None, :, k]
            power = u.sign() if self.norm == 1 else u.sign().mul_(u.abs_().pow_(self.norm - 1))
            by_coordinate[:, :, k] += power.mul_(slopes) @ weighted

    def pull(self, raw: Tensor, M: Tensor | None) -> Tensor:
        """M^½ applied to the last axis."""
        return apply_metric(raw, metric_root(M))


class Linear(InnerProductKernel):
    """xᵀMz/L²."""

    @property
    def affine(self) -> bool:
        """Yes."""
        return True

    def values_(self, pairs: Tensor) -> Tensor:
        """The inner products themselves."""
        return pairs

    def slopes_(self, pairs: Tensor) -> Tensor:
        """1/L²."""
        return pairs.fill_(self.bandwidth**-2)


@dataclass(frozen=True)
class Polynomial(InnerProductKernel):
    """(offset + xᵀMz/L²)^degree.

    Attributes:
        degree: At least 1.
        offset: At least 0.
    """

    degree: int = 2
    offset: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("degree", integer("degree", self.degree, 1))
        self._set("offset", nonnegative("offset", self.offset))

    @property
    def affine(self) -> bool:
        """For degree 1."""
        return self.degree == 1

    def values_(self, pairs: Tensor) -> Tensor:
        """(offset + t)^degree."""
        return pairs.add_(self.offset).pow_(self.degree)

    def slopes_(self, pairs: Tensor) -> Tensor:
        """degree (offset + t)^(degree−1)/L²."""
        pairs.add_(self.offset).pow_(self.degree - 1)
        return pairs.mul_(self.degree / self.bandwidth**2)


def _generalised(bandwidth: float, norm: float = 2.0, power: float = 1.0) -> Kernel:
    check_power(norm, power)
    if norm == 2:
        return PowerExponential(bandwidth, power)
    return LpExponential(bandwidth, norm, power)


KERNELS: dict[str, Callable[..., Kernel]] = {
    "laplace": Laplace,
    "gaussian": Gaussian,
    "matern32": Matern32,
    "matern52": Matern52,
    "generalised": _generalised,
    "linear": Linear,
    "polynomial": Polynomial,
}
"""The kernels by name."""


def kernel_by_name(name: str, bandwidth: float = 10.0, **options: float) -> Kernel:
    """The kernel of this name.

    Args:
        name: "laplace", "gaussian", "matern32", "matern52", "generalised", "linear", "polynomial".
        bandwidth: L > 0.
        options: `norm` (p) and `power` (q) of "generalised"; `degree` and `offset` of "polynomial".

    Raises:
        TypeError: If the kernel has no such option, or an option has the wrong type.
        ValueError: If no kernel has this name, or a number is out of its range.

    >>> kernel_by_name("generalised", 2.0, norm=1.0, power=1.0)
    LpExponential(bandwidth=2.0, norm=1.0, power=1.0)
    """
    make = KERNELS[choice("kernel", name, tuple(KERNELS))]
    try:
        return make(bandwidth, **options)
    except TypeError as error:
        if "unexpected keyword" in str(error):
            raise TypeError(f"kernel {name!r} has no option among {sorted(options)}") from error
        raise


def check_power(norm: float, power: float) -> None:
    """Refuse exponents with which exp(−‖u‖_p^q) is not a positive definite kernel, or p < 1.

    Raises:
        TypeError: If one is not a number.
        ValueError: If not 1 ≤ p ≤ 2 and 0 < q ≤ p.
    """
    if not 1 <= positive("norm", norm) <= 2:
        raise ValueError(f"norm = {norm!r} must be in [1, 2]")
    if positive("power", power) > norm:
        raise ValueError(f"power = {power!r} must be in (0, norm], norm = {norm!r}")


def _drop_zeros_(pairs: Tensor) -> Tensor:
    """Send zero distances to infinity, where every weight is 0: their terms have no gradient."""
    if pairs.numel() and pairs.min() == 0:
        pairs.masked_fill_(pairs == 0, torch.inf)
    return pairs
