"""(K_M + λI)α = Y by preconditioned conjugate gradients, where no (n, n) matrix fits.

The preconditioner is a random Nyström approximation of K from a few landmarks S,

    P = BBᵀ + μI,  BBᵀ = K_nS K_SS⁻¹ K_Sn ≤ K,  μ = λ + 3 times the mean diagonal of K − BBᵀ.

Then P⁻¹(K + λI) has no eigenvalue above max(1, (λ + ‖K − BBᵀ‖)/μ): what the landmarks explain is
moved to 1, and the rest keeps its own, smaller, spread (Frangella, Tropp and Udell, "Randomized
Nyström preconditioning", 2023; with the mean for the shift, which needs no eigenvalues). Landmarks
are drawn in a few blocks, each with probabilities in proportion to what the ones before it leave of
the diagonal (Díaz, Epperly, Frangella, Tropp and Webber, "Robust, randomized preconditioning for
kernel ridge regression", 2023).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..alignment.outer_products import OuterProducts
from ..validation import integer, nonnegative, positive
from .blocks import slices
from .kernel_base import Kernel
from .tiles import TiledKernel

MEMORY = 2**31
"""Bytes that the preconditioner's matrix B may take, unless its rank is given."""

BLOCKS = 4
"""In how many blocks landmarks are drawn."""

LIFT = 3.0
"""Shift in units of the mean that the landmarks leave: fewest steps in a scan from 0.03 to 10."""

DOUBLED = 2**19
"""Entries of B that are turned into double precision at a time: what stays in the cache."""

SLACK = 0.9
"""Conjugate gradients go this much below the tolerance, so that rounding does not undo it."""


class ConvergenceError(RuntimeError):
    """The residual asked for was not reached; the message says what was, and how to mend it."""


@dataclass(frozen=True)
class SolveInfo:
    """How a system was solved.

    Attributes:
        residual: ‖Y_c − (K + λI)α_c‖ / ‖Y_c‖ of the worst output c, measured at the returned α.
        residuals: What conjugate gradients took for it after each of their steps.
        products: Products with K, those that measured the residual included.
        rank: Number of landmarks of the preconditioner.
        shift: μ of the preconditioner.
    """

    residual: float
    residuals: tuple[float, ...]
    products: int
    rank: int
    shift: float


def solve(
    kernel: Kernel,
    X: Tensor,
    Y: Tensor,
    M: Tensor | None = None,
    ridge: float = 1e-3,
    *,
    tolerance: float = 1e-3,
    max_products: int = 200,
    rank: int | None = None,
    generator: int | torch.Generator = 0,
    progress: Callable[[float], object] | None = None,
) -> tuple[Tensor, SolveInfo]:
    """Coefficients α with (K_M + λI)α = Y, up to a relative residual, without an (n, n) matrix.

    Kernel values are made in X's precision, sums and vectors are in double precision. The residual
    cannot fall below rounding, about ε‖K‖‖α‖/‖Y‖ with ε = 6e-8 in single precision.

    Args:
        kernel: K.
        X: Points, shape (n, d), float32 or float64.
        Y: Targets, shape (n,) or (n, outputs).
        M: The metric: None, (d,) or (d, d).
        ridge: λ, not scaled by n.
        tolerance: The relative residual to reach, for every output.
        max_products: Products with K, of n² kernel values each, before giving up.
        rank: Landmarks; by default 6√n, less if they would take more than 2 GiB. More of them cost
            memory, 4 n rank bytes in single precision, and time, n rank², and save steps.
        generator: A seed, or a generator on the CPU, for the choice of landmarks.
        progress: Called with the relative residual after each step.

    Returns:
        α in X's precision and Y's shape, and how it was found.

    Raises:
        TypeError: If X or Y is not a floating tensor, or dtypes or devices differ.
        ValueError: If shapes do not fit together, an entry is NaN or infinite, or a number is out
            of its range.
        ConvergenceError: If the residual is not reached.
    """
    nonnegative("ridge", ridge)
    positive("tolerance", tolerance)
    integer("max_products", max_products, 2)
    K = TiledKernel.under_metric(kernel, X, M)
    targets, sizes = _unit_size(_check_targets(Y, X))
    P = NystromPreconditioner(K, ridge, _rank(rank, X), _generator(generator))
    system = _System(K, ridge, targets, P, progress)
    alpha, residual = system.solve(tolerance, max_products)
    alpha = alpha * sizes.to(alpha.dtype)
    info = SolveInfo(residual, tuple(system.residuals), system.products, P.B.shape[1], P.shift)
    return alpha.reshape(Y.shape), info


class NystromPreconditioner:
    """P⁻¹ for P = BBᵀ + μI; B is kept in the points' precision, the rest in double precision.

    Whatever rounding did to B, P is symmetric and positive definite: it can be slow, not wrong.
    """

    def __init__(self, K: TiledKernel, ridge: float, rank: int, rng: torch.Generator) -> None:
        """Draw the landmarks, build B from their columns, and factor μI + BᵀB.

        Raises:
            ConvergenceError: If the kernel is not positive definite on the landmarks.
        """
        self.B = K.points.new_empty(len(K), rank)
        self.landmarks = torch.empty(0, dtype=torch.int64, device=K.points.device)
        missing = K.diagonal().double()
        noise = torch.finfo(K.points.dtype).eps * (float(missing.max()) or 1.0)
        edges = [rank * i // BLOCKS for i in range(BLOCKS + 1)]
        for start, stop in itertools.pairwise(edges):
            if start < stop:
                chosen = self._draw(missing.clamp(min=noise), stop - start, rng)
                missing -= self._extend(K, chosen, slice(start, stop), noise)
        self.shift = ridge + LIFT * max(float(missing.mean()), 10 * noise)
        gram = OuterProducts()
        for rows in slices(len(K), K.points.device):
            gram.add(self.B[rows].double())
        moved = gram.matrix()
        moved.diagonal().add_(self.shift)
        self.factor = torch.linalg.cholesky(moved)

    def _draw(self, weights: Tensor, count: int, rng: torch.Generator) -> Tensor:
        """New landmarks, with probabilities in proportion to the weights."""
        weights[self.landmarks] = 0
        drawn = torch.multinomial(weights.cpu(), count, generator=rng)
        return drawn.to(weights.device)

    def _extend(self, K: TiledKernel, chosen: Tensor, block: slice, noise: float) -> Tensor:
        """The columns of B for these landmarks; returns what they explain of K's diagonal."""
        before = self.B[:, : block.start]
        known = before[chosen]
        for rows, values in K.columns(chosen):
            self.B[rows, block] = values.addmm_(before[rows], known.T, alpha=-1)
        root = _root(self.B[chosen, block], noise * self.B.shape[1])
        explained = torch.empty(len(K), dtype=torch.float64, device=self.B.device)
        for rows in slices(len(K), self.B.device):
            columns = torch.linalg.solve_triangular(root, self.B[rows, block].T, upper=False)
            self.B[rows, block] = columns.T
            explained[rows] = columns.double().square().sum(dim=0)
        self.landmarks = torch.cat([self.landmarks, chosen])
        return explained

    def solve(self, vectors: Tensor) -> Tensor:
        """P⁻¹v = (v − B(μI + BᵀB)⁻¹Bᵀv)/μ for vectors in double precision, shape (n, m)."""
        inner = vectors.new_zeros(self.B.shape[1], vectors.shape[1])
        for rows, block in self._doubled():
            inner.addmm_(block.T, vectors[rows])
        inner = torch.cholesky_solve(inner, self.factor)
        found = vectors.clone()
        for rows, block in self._doubled():
            found[rows].addmm_(block, inner, alpha=-1)
        return found.div_(self.shift)

    def _doubled(self) -> Iterator[tuple[slice, Tensor]]:
        """B in double precision, some rows after the other, all in one place."""
        n, rank = self.B.shape
        entries = DOUBLED if self.B.device.type == "cpu" else 64 * DOUBLED
        count = max(1, entries // rank)
        place = torch.empty(min(n, count), rank, dtype=torch.float64, device=self.B.device)
        for start in range(0, n, count):
            rows = slice(start, min(start + count, n))
            yield rows, place[: rows.stop - start].copy_(self.B[rows])


class _System:
    """(K + λI)α = Y with its preconditioner, and a count of what was spent on it."""

    def __init__(
        self,
        K: TiledKernel,
        ridge: float,
        Y: Tensor,
        preconditioner: NystromPreconditioner,
        progress: Callable[[float], object] | None,
    ) -> None:
        self.K, self.ridge, self.Y, self.P = K, ridge, Y, preconditioner
        norms = torch.linalg.vector_norm(Y, dim=0)
        self.norms = torch.where(norms > 0, norms, 1)
        self.progress = progress
        self.residuals: list[float] = []
        self.products = 0

    def solve(self, tolerance: float, max_products: int) -> tuple[Tensor, float]:
        """α in the points' precision, and its true residual; CG start anew where they drifted."""
        alpha, left = torch.zeros_like(self.Y), self.Y
        reached = self.relative(left)
        while reached > tolerance:
            step = self.conjugate_gradients(left, SLACK * tolerance, max_products - 1)
            alpha = (alpha + step).to(self.K.points.dtype).double()
            left = self.Y - self.product(alpha)
            before, reached = reached, self.relative(left)
            if reached > tolerance and (self.products >= max_products - 1 or reached > before / 2):
                raise ConvergenceError(self.failure(reached, tolerance))
        return alpha.to(self.K.points.dtype), reached

    def conjugate_gradients(self, left: Tensor, tolerance: float, max_products: int) -> Tensor:
        """What to add to α so that the residual `left` falls below the tolerance, if it does.

        The outputs are separate systems that share the products; one that is done stands still.
        """
        step, r = torch.zeros_like(left), left.clone()
        z = self.P.solve(r)
        p, rz = z, (r * z).sum(dim=0)
        while self.products < max_products:
            q = self.product(p)
            curvature = (p * q).sum(dim=0)
            if not (curvature[rz > 0] > 0).all():
                break
            length = torch.where(rz > 0, rz / curvature, 0)
            step += length * p
            r -= length * q
            if self.note(r) <= tolerance:
                break
            z = self.P.solve(r)
            rz, before = (r * z).sum(dim=0), rz
            p = z + torch.where(before > 0, rz / before, 0) * p
        return step

    def product(self, vectors: Tensor) -> Tensor:
        """(K + λI)v."""
        self.products += 1
        return self.K.product(vectors) + self.ridge * vectors

    def relative(self, left: Tensor) -> float:
        """The largest residual of an output, relative to its targets."""
        return float((torch.linalg.vector_norm(left, dim=0) / self.norms).max())

    def note(self, left: Tensor) -> float:
        """The relative residual, remembered and told."""
        self.residuals.append(self.relative(left))
        if self.progress is not None:
            self.progress(self.residuals[-1])
        return self.residuals[-1]

    def failure(self, reached: float, tolerance: float) -> str:
        """What was reached, and how to mend it."""
        precision = "" if self.K.points.dtype == torch.float64 else ", use float64"
        return (
            f"the relative residual is {reached:.3g} after {self.products} kernel products, asked "
            f"for was tolerance = {tolerance:.3g}: raise the ridge ({self.ridge:.3g}), the rank "
            f"({self.P.B.shape[1]}) or max_products{precision}, or accept a larger tolerance"
        )


def _check_targets(Y: Tensor, X: Tensor) -> Tensor:
    if not isinstance(Y, Tensor) or not Y.is_floating_point() or Y.device != X.device:
        raise TypeError(f"Y must be a floating torch tensor on {X.device}, as X is")
    if Y.ndim not in (1, 2) or len(Y) != len(X) or not Y.numel():
        raise ValueError(
            f"Y has shape {tuple(Y.shape)}, must be ({len(X)},) or ({len(X)}, outputs)"
        )
    if not torch.isfinite(Y).all():
        raise ValueError("Y holds NaN or infinite entries, must be finite")
    return Y.detach().double().reshape(len(Y), -1)


def _unit_size(Y: Tensor) -> tuple[Tensor, Tensor]:
    """Targets of a size whose squares neither overflow nor underflow, and the powers of 2 taken."""
    exponents = torch.frexp(Y.abs().amax(dim=0)).exponent
    sizes = torch.ldexp(torch.ones_like(Y[0]), exponents - 1)  # 2^1024 is beyond the range
    return Y / sizes, sizes


def _rank(rank: int | None, X: Tensor) -> int:
    n = len(X)
    if rank is None:
        return max(1, min(n, round(6 * math.sqrt(n)), MEMORY // (n * X.element_size())))
    if integer("rank", rank, 1) > n:
        raise ValueError(f"rank = {rank!r} must be at most the number of points, {n}")
    return rank


def _generator(generator: int | torch.Generator) -> torch.Generator:
    if isinstance(generator, torch.Generator):
        return generator
    return torch.Generator().manual_seed(integer("generator", generator, 0))


def _root(values: Tensor, noise: float) -> Tensor:
    """A Cholesky factor, with as much added to the diagonal as rounding asks for."""
    double = values.double()
    double = (double + double.T) / 2
    diagonal = double.diagonal().clone()
    for power in range(6):
        shifted = double.diagonal_scatter(diagonal + noise * 10**power)
        result = torch.linalg.cholesky_ex(shifted)
        if not result.info:
            factor: Tensor = result.L.to(values.dtype)
            return factor
    raise ConvergenceError(
        "the kernel is not positive definite on the landmarks, or M is not: use float64"
    )
