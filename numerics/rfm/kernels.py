"""Kernels with a Mahalanobis metric M: their matrices, and the gradients of their machines.

A kernel machine is f_c(x) = Σ_i α_ic K(x, x_i), and every kernel here has

    Σ_i α_ic ∂K(x, x_i)/∂x = A Σ_i α_ic w(x, x_i) v(x, x_i)

with weights w that come, as K does, from one pairwise matrix (squared distances, inner products),
so that this matrix is computed once and serves both. For a function of the Mahalanobis distance
v = x − x_i and A = M: the sum is two matrix products, and no (n, m, d) array is formed.

M is None (the identity), a vector (d,) (diagonal) or a symmetric positive semidefinite (d, d).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..validation import choice, integer, nonnegative, positive
from .checks import Pair, check_alpha, check_pair
from .metric import apply_metric, map_pair, metric_root, squared_distances, zero_at

BLOCK = 2**21
"""Entries of the pairwise matrix that are worked on at a time where it need not be kept."""

SMALLEST = 1e-150
"""Smallest bandwidth; the largest is its inverse."""

LANES = 8
"""Matrix products with whole multiples of so many columns are up to a fifth faster."""

WEIGHTED = 2**26
"""Entries of the weighted centres, (m, outputs, d), that are held at a time."""


@dataclass(frozen=True)
class Kernel(ABC):
    """A kernel with a metric.

    Attributes:
        bandwidth: L > 0, in the units of the metric's distance.
    """

    bandwidth: float = 10.0

    def __post_init__(self) -> None:
        self._set("bandwidth", positive("bandwidth", self.bandwidth))
        if not SMALLEST <= self.bandwidth <= 1 / SMALLEST:
            raise ValueError(
                f"bandwidth = {self.bandwidth!r} must be in [{SMALLEST:g}, {1 / SMALLEST:g}]: "
                "rescale the samples"
            )

    def _set(self, name: str, value: float) -> None:
        """Keep a number as Python's own: NumPy's integers, as grids hold them, have no x⁻²."""
        object.__setattr__(self, name, value)

    @property
    def affine(self) -> bool:
        """Whether its machines are affine in x, with one gradient everywhere."""
        return False

    def matrix(
        self,
        X: Tensor,
        Z: Tensor | None = None,
        M: Tensor | None = None,
        *,
        self_index: Tensor | None = None,
    ) -> Tensor:
        """K(x_i, z_j), shape (n, m).

        Args:
            X: Shape (n, d).
            Z: Shape (m, d); by default X itself.
            M: The metric: None, (d,) or (d, d).
            self_index: For each row of X the row of Z that it equals, or −1, shape (n,). Distances
                of such pairs are exactly 0, which rounding would not make them.

        Raises:
            TypeError: If X is not a floating tensor, or dtypes or devices differ.
            ValueError: If shapes do not fit together, or an entry is NaN or infinite.
        """
        return self.values_(self.pairs(self.centred(check_pair(X, Z, M, self_index))))

    def gradients(
        self,
        alpha: Tensor,
        X_eval: Tensor,
        centres: Tensor,
        M: Tensor | None = None,
        self_index: Tensor | None = None,
    ) -> Tensor:
        """∇f_c(x) = Σ_i α_ic ∂K(x, x_i)/∂x, shape (n, outputs, d), or (n, d) if α is a vector.

        Terms at distance 0, where kernels such as Laplace's have no gradient, are 0.

        Args:
            alpha: Coefficients, shape (m,) or (m, outputs).
            X_eval: Where to evaluate, shape (n, d).
            centres: The x_i, shape (m, d).
            M: The metric: None, (d,) or (d, d).
            self_index: For each row of X_eval the centre that it equals, or −1, shape (n,).

        Raises:
            TypeError: If a tensor is not floating, or dtypes or devices differ.
            ValueError: If shapes do not fit together, or an entry is NaN or infinite.
        """
        pair = check_pair(X_eval, centres, M, self_index)
        weights = check_alpha(alpha, pair.Z)
        n, d = pair.X.shape
        gradients = pair.X.new_empty(n, weights.shape[1], d)
        for outputs in output_groups(weights, pair.Z):
            start = 0
            for raw in self.raw_gradients(weights[:, outputs], pair):
                gradients[start : start + len(raw), outputs] = self.pull(raw, pair.M)
                start += len(raw)
        return gradients[:, 0] if alpha.ndim == 1 else gradients

    def raw_gradients(self, alpha: Tensor, pair: Pair) -> Iterator[Tensor]:
        """The gradients before `pull`, for one block of rows of X after the other."""
        near = self.centred(pair)
        rows, weighted = max(1, BLOCK // len(near.Z)), self.weighted(alpha, near.Z)
        for start in range(0, len(near.X), rows):
            block = near.rows(slice(start, start + rows))
            sums = self.sums(len(block.X), weighted, near.Z)
            self.add_terms_(sums, self.slopes_(self.pairs(block)), weighted, block)
            yield self.combined(sums, block.X)

    def centred(self, pair: Pair) -> Pair:
        """The points in the coordinates where the sums are taken; `pull` belongs to the metric."""
        return pair

    @abstractmethod
    def pairs(self, pair: Pair) -> Tensor:
        """The pairwise matrix from which values and slopes come, shape (n, m), newly made."""

    @abstractmethod
    def values_(self, pairs: Tensor) -> Tensor:
        """K, in the place of the pairwise matrix."""

    @abstractmethod
    def slopes_(self, pairs: Tensor) -> Tensor:
        """The weights w of the gradient, in the place of the pairwise matrix."""

    @abstractmethod
    def weighted(self, alpha: Tensor, Z: Tensor) -> Tensor:
        """What the weights w are multiplied with, made once for all x: one row for each centre."""

    def sums(self, n: int, weighted: Tensor, Z: Tensor) -> Tensor:  # noqa: ARG002
        """Zeros, to which `add_terms_` adds: one row for each of n points x."""
        return weighted.new_zeros(n, weighted.shape[1])

    def add_terms_(self, sums: Tensor, slopes: Tensor, weighted: Tensor, pair: Pair) -> None:  # noqa: ARG002
        """Add the terms of these centres to the sums over all centres."""
        sums.addmm_(slopes, weighted)

    def combined(self, sums: Tensor, X: Tensor) -> Tensor:
        """Σ_i α_ic w(x, z_i) v(x, z_i), shape (n, outputs, d), from the sums."""
        return sums.view(len(sums), -1, X.shape[1])

    def pull(self, raw: Tensor, M: Tensor | None) -> Tensor:
        """A applied to the last axis: M, unless the kernel says otherwise."""
        return apply_metric(raw, M)


class RadialKernel(Kernel):
    """φ(r) with r² = (x − z)ᵀM(x − z); its pairwise matrix is r², its weight φ'(r)/r."""

    def centred(self, pair: Pair) -> Pair:
        """Shifted by the median of some of Z: no distance changes, and fewer digits cancel.

        From the mean, which one stray point moves far away, the others would lose theirs.
        """
        some = pair.Z[:: len(pair.Z) // 256 + 1]
        return pair.shifted(some.median(dim=0).values)

    def pairs(self, pair: Pair) -> Tensor:
        """r², with cancellation mended where points are close, and 0 for the pairs in `index`."""
        return squared_distances(pair.X, pair.Z, pair.M, pair.index)

    def weighted(self, alpha: Tensor, Z: Tensor) -> Tensor:
        """α_ic beside −α_ic z_i, shape (m, outputs + outputs d), and zeros up to whole `LANES`."""
        columns = [alpha, _products(alpha, Z).neg_()]
        if Z.shape[1] >= LANES:  # then the number of outputs can still be read off
            missing = -alpha.shape[1] * (1 + Z.shape[1]) % LANES
            columns.append(alpha.new_zeros(len(alpha), missing))
        return torch.cat(columns, dim=1)

    def combined(self, sums: Tensor, X: Tensor) -> Tensor:
        """Σ_i α_ic w(x, z_i)(x − z_i)."""
        outputs, d = sums.shape[1] // (1 + X.shape[1]), X.shape[1]
        centres = sums[:, outputs : outputs * (1 + d)].view(len(sums), outputs, d)
        return torch.addcmul(centres, sums[:, :outputs, None], X[:, None, :])


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


class InnerProductKernel(Kernel):
    """g(t) with t = xᵀMz/L²; its pairwise matrix is t, its weight g'(t)/L²."""

    def pairs(self, pair: Pair) -> Tensor:
        """Inner products xᵀMz/L²."""
        return (apply_metric(pair.X, pair.M) @ pair.Z.T).mul_(self.bandwidth**-2)

    def weighted(self, alpha: Tensor, Z: Tensor) -> Tensor:
        """α_ic z_i, shape (m, outputs d)."""
        return _products(alpha, Z)


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


def output_groups(alpha: Tensor, Z: Tensor) -> list[slice]:
    """The outputs in groups whose weighted centres are held at a time."""
    group = max(1, WEIGHTED // max(1, Z.numel()))
    return [slice(c, min(c + group, alpha.shape[1])) for c in range(0, alpha.shape[1], group)]


def _products(alpha: Tensor, Z: Tensor) -> Tensor:
    """α_ic z_i, shape (m, outputs d)."""
    return (alpha[:, :, None] * Z[:, None, :]).flatten(1)


def _drop_zeros_(pairs: Tensor) -> Tensor:
    """Send zero distances to infinity, where every weight is 0: their terms have no gradient."""
    if pairs.numel() and pairs.min() == 0:
        pairs.masked_fill_(pairs == 0, torch.inf)
    return pairs
