"""Averages over random networks, by sampling networks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..monte_carlo import Estimate, estimate
from ..validation import RealArray, choice, data, integer, points, positive
from .networks import activation_function

ReadoutLaw = Callable[[np.random.Generator, tuple[int, ...]], RealArray]
"""Draws independent readout entries of the given shape."""

SPARSITY = 0.25
"""The share of entries of a "sparse" readout that are not zero."""


def _rademacher(rng: np.random.Generator, shape: tuple[int, ...]) -> RealArray:
    return rng.choice([-1.0, 1.0], shape)


def _gaussian(rng: np.random.Generator, shape: tuple[int, ...]) -> RealArray:
    return rng.standard_normal(shape)


def _sparse(rng: np.random.Generator, shape: tuple[int, ...]) -> RealArray:
    """±2 with probability ¼, else 0: variance 1, E a^{2j} = 4^{j-1}."""
    kept = rng.random(shape) < SPARSITY
    return np.asarray(kept * _rademacher(rng, shape) / np.sqrt(SPARSITY))


READOUTS: dict[str, ReadoutLaw] = {
    "rademacher": _rademacher,
    "gaussian": _gaussian,
    "sparse": _sparse,
}


@dataclass(frozen=True)
class RandomTwoLayer:
    """The law of a random two-layer network f(x) = aᵀφ(Wx) with one output.

    Attributes:
        dimension: d.
        width: k.
        activation: φ by name.
        readout: Law of the entries of a, of variance 1: "rademacher", "gaussian", "sparse" (±2 with
            probability ¼, else 0), or a function of generator and shape.
        scale: W has independent N(0, scale²) entries.
        readout_scale: Multiplies a.
    """

    dimension: int
    width: int
    activation: str = "relu"
    readout: str | ReadoutLaw = "rademacher"
    scale: float = 1.0
    readout_scale: float = 1.0

    def __post_init__(self) -> None:
        integer("dimension", self.dimension, 1)
        integer("width", self.width, 1)
        positive("scale", self.scale)
        positive("readout_scale", self.readout_scale)
        activation_function(self.activation)
        if not callable(self.readout):
            choice("readout", self.readout, list(READOUTS))

    def draw(self, rng: np.random.Generator, count: int) -> tuple[RealArray, RealArray]:
        """W and a of independent networks, shapes (count, k, d) and (count, k)."""
        law = self.readout if callable(self.readout) else READOUTS[self.readout]
        W = self.scale * rng.standard_normal((count, self.width, self.dimension))
        return W, self.readout_scale * law(rng, (count, self.width))


def network_mean(
    statistic: Callable[[nn.Module], float],
    draw: Callable[[np.random.Generator], nn.Module],
    samples: int,
    rng: int | np.random.Generator,
    *,
    block: int = 256,
    n_jobs: int = 1,
) -> Estimate:
    """The mean of any statistic over any random networks, one network at a time.

    Args:
        statistic: Of one network.
        draw: Returns one network from a generator.
        samples: How many networks.
        rng: A seed or a generator.
        block: As in `numerics.monte_carlo.estimate`.
        n_jobs: As in `numerics.monte_carlo.estimate`.

    Raises:
        ValueError: As in `numerics.monte_carlo.estimate`.
    """
    one_by_one = functools.partial(_each, statistic, draw)
    return estimate(one_by_one, samples, rng, block=block, n_jobs=n_jobs)


def _each(
    statistic: Callable[[nn.Module], float],
    draw: Callable[[np.random.Generator], nn.Module],
    rng: np.random.Generator,
    count: int,
) -> RealArray:
    return np.array([statistic(draw(rng)) for _ in range(count)])


@dataclass(frozen=True, eq=False)
class InitialAlignment:
    """At the start of gradient flow, for m networks; each entry has shape (m,).

    With Ẇ the velocity of the first layer and K its PTK feature matrix: the displacement after a
    short time t is tẆ, so that the centred correlation starts at ρ(ẆᵀẆ, ẆᵀKẆ).

    Attributes:
        inner: tr(ẆᵀẆ · ẆᵀKẆ).
        nfm: ‖ẆᵀẆ‖².
        agop: ‖ẆᵀKẆ‖².
    """

    inner: RealArray
    nfm: RealArray
    agop: RealArray

    @property
    def correlation(self) -> RealArray:
        """ρ(ẆᵀẆ, ẆᵀKẆ)."""
        norms = np.sqrt(self.nfm) * np.sqrt(self.agop)
        if not norms.all():
            raise ValueError("a network does not move: its centred correlation is undefined")
        return np.asarray(self.inner / norms)


def initial_alignment(
    weights: RealArray,
    readout: RealArray,
    inputs: RealArray,
    activation: str = "relu",
    *,
    residuals: RealArray | None = None,
    targets: RealArray | None = None,
) -> InitialAlignment:
    """Measure the start of gradient flow on ½ Σ (f - y)² for many two-layer networks at once.

    Args:
        weights: W of m networks, shape (m, k, d).
        readout: a, shape (m, k).
        inputs: X, shape (n, d).
        activation: φ by name.
        residuals: r = y - f, shape (n,), the same for all networks; or
        targets: y, shape (n,), from which each network's own residuals follow.

    Raises:
        ValueError: If shapes disagree, entries are NaN or infinite, or not exactly one of
            residuals and targets is given.
    """
    if (residuals is None) == (targets is None):
        raise ValueError("give either residuals or targets")
    X = points("inputs", inputs, np.shape(weights)[-1])
    r = data("residuals" if targets is None else "targets", _either(residuals, targets), len(X))
    W, a = _networks(weights, readout)
    f, k = _gradients(W, a, torch.as_tensor(X), activation)
    residual = torch.as_tensor(r) - (0 if targets is None else f)
    velocity = (residual[..., None] * k).mT @ torch.as_tensor(X)  # Ẇ = Σ r_α k_α x_αᵀ
    feature = k.mT @ k / len(X)
    nfm, agop = velocity.mT @ velocity, velocity.mT @ feature @ velocity
    return InitialAlignment(_inner(nfm, agop), _inner(nfm, nfm), _inner(agop, agop))


def mean_initial_alignment(
    law: RandomTwoLayer,
    inputs: RealArray,
    samples: int,
    rng: int | np.random.Generator,
    *,
    statistic: str = "correlation",
    residuals: RealArray | None = None,
    targets: RealArray | None = None,
    block: int = 256,
    n_jobs: int = 1,
) -> Estimate:
    """The mean over random networks of one of the statistics of `InitialAlignment`.

    Args:
        law: The law of the networks.
        inputs: X, shape (n, d).
        samples: How many networks.
        rng: A seed or a generator.
        statistic: "correlation", "inner", "nfm" or "agop". With the same seed, all of them are
            taken on the same networks.
        residuals: As in `initial_alignment`.
        targets: As in `initial_alignment`.
        block: Networks at once; as in `numerics.monte_carlo.estimate`.
        n_jobs: As in `numerics.monte_carlo.estimate`.

    Raises:
        ValueError: As in `initial_alignment` and `numerics.monte_carlo.estimate`.
    """
    choice("statistic", statistic, ("correlation", "inner", "nfm", "agop"))
    X = points("inputs", inputs, law.dimension)
    draw = functools.partial(_draw, law, X, residuals, targets, statistic)
    return estimate(draw, samples, rng, block=block, n_jobs=n_jobs)


def _draw(
    law: RandomTwoLayer,
    X: RealArray,
    residuals: RealArray | None,
    targets: RealArray | None,
    statistic: str,
    rng: np.random.Generator,
    count: int,
) -> RealArray:
    W, a = law.draw(rng, count)
    found = initial_alignment(W, a, X, law.activation, residuals=residuals, targets=targets)
    return np.asarray(getattr(found, statistic))


def _networks(weights: RealArray, readout: RealArray) -> tuple[Tensor, Tensor]:
    W, a = torch.as_tensor(weights).double(), torch.as_tensor(readout).double()
    if W.ndim != 3 or a.shape != W.shape[:2]:
        raise ValueError(
            f"weights have shape {tuple(W.shape)} and readout {tuple(a.shape)}, "
            "must be (m, k, d) and (m, k)"
        )
    return W, a


def _gradients(W: Tensor, a: Tensor, X: Tensor, activation: str) -> tuple[Tensor, Tensor]:
    """Outputs f, shape (m, n), and ∂f/∂z, shape (m, n, k), by autograd."""
    with torch.enable_grad():
        z = (X @ W.mT).requires_grad_()
        f = torch.einsum("mk,mnk->mn", a, activation_function(activation)(z))
        (k,) = torch.autograd.grad(f.sum(), z)
    return f.detach(), k


def _inner(A: Tensor, B: Tensor) -> RealArray:
    return np.asarray((A * B).sum((-2, -1)).numpy())


def _either(first: RealArray | None, second: RealArray | None) -> RealArray:
    found = second if first is None else first
    assert found is not None
    return found
